//! Failure bundles: what went wrong as one file, and its replay.

use crate::error::{detached, exception};
use conediff::{Bundle, ConeProgram, Derivative, Error, LayerSettings, Result, SolutionTangent};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};

/// Writes an item that failed, or a derivative with its cotangent if there is one.
pub fn write(
    item: Result<&Derivative>,
    program: Option<&ConeProgram>,
    settings: &LayerSettings,
    cotangent: Option<&SolutionTangent>,
    path: &Path,
) -> Result<()> {
    let bundle = match (item, cotangent) {
        (Err(error), _) => match program {
            Some(program) => Bundle::failed_solve(program, &settings.settings, &error),
            // Data that are refused have computed nothing.
            None => return Err(error),
        },
        (Ok(derivative), None) => Bundle::derivative(derivative)?,
        (Ok(derivative), Some(cotangent)) => {
            let outcome = derivative.vjp(cotangent);
            Bundle::vjp(derivative, cotangent, &outcome)?
        }
    };
    bundle.with_layer_settings(settings).write_to(path)
}

/// A bundle computed again: whether all bits are the same, whether the build is, the comparison as JSON and as text.
#[pyfunction]
pub fn replay(py: Python<'_>, path: PathBuf) -> PyResult<(bool, bool, String, String)> {
    let found = detached(py, || {
        let replay = Bundle::read_from(&path)?.replay();
        let json = serde_json::to_string(&replay).unwrap_or_default();
        Ok((
            replay.matches_bits(),
            replay.is_same_build(),
            json,
            replay.to_string(),
        ))
    })?;
    found.map_err(|e: Error| exception(py, &e))
}
