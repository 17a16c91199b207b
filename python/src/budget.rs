//! What a call may take: the layer's time limit, and until Ctrl-C.

use crate::error::detached;
use conediff::{Budget, Cancel};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Runs without the interpreter's lock, within the time limit and until a signal's handler raises: that exception is the call's then.
pub fn within_budget<T: Send>(
    py: Python<'_>,
    time_limit: Option<Duration>,
    run: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    let raised: Arc<Mutex<Option<PyErr>>> = Arc::default();
    let found = Arc::clone(&raised);
    // Handlers run on Python's main thread; asked on another one, Python says that there is nothing.
    let signal = Cancel::when(move || match Python::attach(|py| py.check_signals()) {
        Ok(()) => false,
        Err(error) => {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            true
        }
    });
    let mut budget = Budget::default().with_cancel(&signal);
    if let Some(limit) = time_limit {
        budget = budget.with_time_limit(limit);
    }
    let result = detached(py, || budget.run(run))?;
    match raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(error),
        None => Ok(result),
    }
}
