//! Keyword arguments to settings. Names and defaults are the library's; conediff/layer.py documents them.

use crate::error::exception;
use conediff::{
    ClarabelLinearSolver, Error, ForwardSolver, LayerSettings, LinearBackend, LinearSolver, Policy,
    Selection, WarmStart,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The settings of a layer, and the time of each of its calls, where that is limited.
pub fn settings(
    py: Python<'_>,
    keywords: &Bound<'_, PyDict>,
) -> PyResult<(LayerSettings, Option<Duration>)> {
    let mut settings = LayerSettings::default();
    for (name, value) in keywords {
        let name: String = name.extract()?;
        set(&mut settings, &name, &value).map_err(|e| describe(py, &name, &value, e))?;
    }
    settings.validate().map_err(|e| exception(py, &e))?;
    // The call's, which the solver then need not watch by itself. Infinity, or more than a clock counts, is no limit.
    let seconds = std::mem::replace(&mut settings.settings.solve.time_limit, f64::INFINITY);
    Ok((settings, Duration::try_from_secs_f64(seconds).ok()))
}

fn set(all: &mut LayerSettings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let settings = &mut all.settings;
    match name {
        "tolerance" => settings.solve.tolerance = value.extract()?,
        "max_iterations" => settings.solve.max_iterations = value.extract()?,
        "time_limit" => settings.solve.time_limit = value.extract()?,
        "refine" => settings.refine.enabled = value.extract()?,
        "refine_tolerance" => settings.refine.tolerance = value.extract()?,
        "refine_max_steps" => settings.refine.max_steps = value.extract()?,
        "linear_solver" => settings.linear.solver = named::<LinearSolver>(value)?,
        "linear_backend" => settings.linear.backend = named::<LinearBackend>(value)?,
        "linear_tolerance" => settings.linear.tolerance = value.extract()?,
        "max_refinement" => settings.linear.max_refinement = value.extract()?,
        "lsqr_max_iterations" => settings.linear.lsqr_max_iterations = value.extract()?,
        "ambiguity" => settings.ambiguity = value.extract()?,
        "accuracy" => settings.accuracy = value.extract()?,
        "selection" => settings.selection = selection(value)?,
        "policy" => settings.policy = policy(value)?,
        "strict" => settings.strict = value.extract()?,
        "max_dense_bytes" => settings.max_dense_bytes = value.extract()?,
        "forward_solver" => all.forward = named::<ForwardSolver>(value)?,
        "clarabel_solver" => all.clarabel = named::<ClarabelLinearSolver>(value)?,
        "cheap_tolerance" => all.tolerance = value.extract()?,
        "warm_start" => {
            all.warm_start = if value.extract()? {
                WarmStart::Previous
            } else {
                WarmStart::Off
            }
        }
        "threads" => all.threads = value.extract()?,
        _ => {
            return Err(PyTypeError::new_err(format!(
                "unknown setting '{name}'; see conediff.ConicLayer"
            )));
        }
    }
    Ok(())
}

/// A number out of a setting's type, or a name that is none of its names, is an error of the setting.
fn describe(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if error.to_string().contains("unknown setting") {
        return error;
    }
    let message = format!("setting {name} = {value}: {}", error.value(py));
    let make = || -> PyResult<PyErr> {
        let class = py.import("conediff.errors")?.getattr("SettingError")?;
        let exception = class.call1((message,))?;
        exception.setattr("name", name)?;
        exception.setattr("value", value)?;
        Ok(PyErr::from_value(exception))
    };
    make().unwrap_or_else(|failed| failed)
}

/// One of an enumeration's names.
fn named<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    let name: String = value.extract()?;
    serde_json::from_value(serde_json::Value::String(name))
        .map_err(|e| PyTypeError::new_err(e.to_string()))
}

/// A name, or ("random", seed).
fn selection(value: &Bound<'_, PyAny>) -> PyResult<Selection> {
    if let Ok((name, seed)) = value.extract::<(String, u64)>() {
        return match name.as_str() {
            "random" => Ok(Selection::Random(seed)),
            _ => Err(PyTypeError::new_err("only 'random' takes a number")),
        };
    }
    named(value)
}

/// A name, or a name and its parameter.
fn policy(value: &Bound<'_, PyAny>) -> PyResult<Policy> {
    if let Ok((name, number)) = value.extract::<(String, f64)>() {
        return match name.as_str() {
            "tikhonov" => Ok(Policy::Tikhonov { rho: number }),
            "smoothing" => Ok(Policy::Smoothing { mu: number }),
            "lagrangian" => Ok(Policy::Lagrangian { tau: number }),
            _ => Err(PyTypeError::new_err(format!(
                "'{name}' is none of 'tikhonov', 'smoothing', 'lagrangian'"
            ))),
        };
    }
    match value.extract::<String>()?.as_str() {
        "flag" => Ok(Policy::Flag),
        "minimum_norm" => Ok(Policy::MinimumNorm),
        name => Err(PyTypeError::new_err(format!(
            "'{name}' is none of 'flag', 'minimum_norm', ('tikhonov', rho), ('smoothing', mu), ('lagrangian', tau)"
        ))),
    }
}

/// A cone as Python hands it over: its name and its parameters.
#[derive(FromPyObject)]
pub enum ConeArgument {
    /// ("generalized_power", exponents, rows of w).
    General(String, Vec<f64>, usize),
    /// ("power", exponent); an order or a number of rows is a number too.
    Number(String, f64),
}

impl ConeArgument {
    /// The cone, or why it is none.
    pub fn cone(&self, index: usize) -> Result<conediff::Cone, Error> {
        use conediff::Cone;
        match self {
            ConeArgument::General(name, exponents, rows) if name == "generalized_power" => {
                Ok(Cone::GeneralizedPower(exponents.clone(), *rows))
            }
            ConeArgument::General(name, ..) => Err(unknown(index, name)),
            ConeArgument::Number(name, number) => {
                let rows = *number as usize;
                match name.as_str() {
                    "zero" => Ok(Cone::Zero(rows)),
                    "nonnegative" => Ok(Cone::Nonnegative(rows)),
                    "second_order" => Ok(Cone::SecondOrder(rows)),
                    "psd_triangle" => Ok(Cone::PsdTriangle(rows)),
                    "exponential" => Ok(Cone::Exponential),
                    "power" => Ok(Cone::Power(*number)),
                    _ => Err(unknown(index, name)),
                }
            }
        }
    }
}

fn unknown(index: usize, name: &str) -> Error {
    Error::Cone {
        index,
        reason: format!("'{name}' is no cone"),
    }
}
