//! conediff's errors as Python's exceptions, with their numbers as attributes (classes in conediff/errors.py).

use conediff::{Error, Iterate};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The exception for an error.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).unwrap_or_else(|failed| failed)
}

/// Runs without the interpreter's lock. A panic, which would be a bug, becomes an exception as well.
pub fn detached<T: Send>(py: Python<'_>, run: impl FnOnce() -> T + Send) -> PyResult<T> {
    let result = py.detach(|| catch_unwind(AssertUnwindSafe(run)));
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let message = words.or(panic.downcast_ref::<&str>().copied());
        let message = message.unwrap_or("no message").to_string();
        let attributes = PyDict::new(py);
        raise(py, "InternalError", &message, &attributes).unwrap_or_else(|failed| failed)
    })
}

fn raise(
    py: Python<'_>,
    class: &str,
    message: &str,
    attributes: &Bound<'_, PyDict>,
) -> PyResult<PyErr> {
    let class = py.import("conediff.errors")?.getattr(class)?;
    let exception = class.call1((message,))?;
    for (name, value) in attributes {
        exception.setattr(name.cast::<pyo3::types::PyString>()?, value)?;
    }
    Ok(PyErr::from_value(exception))
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let attributes = PyDict::new(py);
    macro_rules! set {
        ($($name:ident = $value:expr),* $(,)?) => {
            $(attributes.set_item(stringify!($name), $value.into_py_any(py)?)?;)*
        };
    }
    let class = match error {
        Error::Dimension {
            what,
            expected,
            found,
        } => {
            set!(what = what, expected = expected, found = found);
            "DimensionError"
        }
        Error::Empty { what } => {
            set!(what = what);
            "DimensionError"
        }
        Error::Pattern {
            matrix,
            outer,
            reason,
        } => {
            set!(matrix = matrix, outer = outer, reason = reason);
            "PatternError"
        }
        Error::PatternMismatch { what } => {
            set!(what = what);
            "PatternError"
        }
        Error::NotUpperTriangular { row, column } => {
            set!(matrix = "P", row = row, column = column);
            "NotSymmetricError"
        }
        Error::NotSymmetric {
            row,
            column,
            value,
            mirror,
        } => {
            set!(row = row, column = column, value = value, mirror = mirror);
            "NotSymmetricError"
        }
        Error::NotConvex {
            index,
            value,
            reason,
        } => {
            set!(index = index, value = value, reason = reason);
            "NotConvexError"
        }
        Error::NonFinite { what, index, value } => {
            set!(what = what, index = index, value = value);
            "NonFiniteError"
        }
        Error::Bound { row, value } => {
            set!(row = row, value = value);
            "BoundError"
        }
        Error::Cone { index, reason } => {
            set!(cone = index, reason = reason);
            "ConeError"
        }
        Error::ConeRows { cones, rows } => {
            set!(cones = cones, rows = rows);
            "ConeError"
        }
        Error::Selection {
            cone,
            selection,
            reason,
        } => {
            set!(cone = cone, selection = selection, reason = *reason);
            "SettingError"
        }
        Error::Setting {
            name,
            value,
            allowed,
        } => {
            set!(name = name, value = value, allowed = allowed);
            "SettingError"
        }
        Error::Threads { threads, .. } => {
            set!(name = "threads", value = threads);
            "SettingError"
        }
        Error::PrimalInfeasible { certificate, value } => {
            set!(
                certificate = numpy::PyArray1::from_slice(py, certificate),
                value = value
            );
            "PrimalInfeasibleError"
        }
        Error::DualInfeasible { certificate, value } => {
            set!(
                certificate = numpy::PyArray1::from_slice(py, certificate),
                value = value
            );
            "DualInfeasibleError"
        }
        Error::NotSolved {
            status,
            iterations,
            primal_residual,
            dual_residual,
            last,
        } => {
            set!(
                status = status.to_string(),
                iterations = iterations,
                primal_residual = primal_residual,
                dual_residual = dual_residual,
                x = numpy::PyArray1::from_slice(py, &last.x),
                z = numpy::PyArray1::from_slice(py, &last.z),
                s = numpy::PyArray1::from_slice(py, &last.s),
            );
            "NotSolvedError"
        }
        Error::TimeLimit {
            elapsed,
            limit,
            step,
            last,
        } => {
            let part = |of: fn(&Iterate) -> &Vec<f64>| {
                last.as_ref()
                    .map(|l| numpy::PyArray1::from_slice(py, of(l)))
            };
            set!(
                elapsed = elapsed,
                limit = limit,
                step = *step,
                status = "time limit reached",
                x = part(|l| &l.x),
                z = part(|l| &l.z),
                s = part(|l| &l.s),
            );
            "TimeLimitError"
        }
        Error::Cancelled { elapsed, step } => {
            set!(elapsed = elapsed, step = *step);
            "CancelledError"
        }
        Error::NotTrusted {
            reasons,
            residual,
            margin,
        } => {
            set!(reasons = reasons, residual = residual, margin = margin);
            "NotTrustedError"
        }
        Error::NotRegular { reason } => {
            set!(reason = reason);
            "DerivativeError"
        }
        Error::Factorization { method } => {
            set!(method = method);
            "FactorizationError"
        }
        Error::NoForward { .. } => "DerivativeError",
        Error::TooLarge { what, bytes, limit } => {
            set!(what = what, bytes = bytes, limit = limit);
            "TooLargeError"
        }
        Error::Solver { .. } => "SolveError",
        _ => "Error",
    };
    raise(py, class, &error.to_string(), &attributes)
}
