//! What is known of derivatives, a row each.

use crate::error::exception;
use conediff::{Checked, Meaning, Result, Warning};
use numpy::PyArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

/// What is known of a row.
struct RowEvidence {
    meaning: Meaning,
    evidence: conediff::Evidence,
    trusted: bool,
    warnings: Vec<conediff::Warning>,
}

/// How right derivatives are, a row each; the error of a row that has none.
#[pyclass(frozen, module = "conediff._core")]
pub struct Evidence {
    rows: Vec<Result<RowEvidence>>,
    items: Vec<usize>,
}

impl Evidence {
    pub fn new<T>(rows: Vec<Result<Checked<T>>>, items: &[usize]) -> Self {
        let of = |row: Result<Checked<T>>| {
            row.map(|checked| RowEvidence {
                meaning: checked.meaning,
                evidence: checked.evidence,
                trusted: checked.trusted,
                warnings: checked.warnings,
            })
        };
        Self {
            rows: rows.into_iter().map(of).collect(),
            items: items.to_vec(),
        }
    }

    fn numbers<'py>(
        &self,
        py: Python<'py>,
        of: impl Fn(&RowEvidence) -> f64,
    ) -> Bound<'py, PyArray1<f64>> {
        let numbers = self.rows.iter().map(|r| r.as_ref().map_or(f64::NAN, &of));
        PyArray1::from_vec(py, numbers.collect())
    }

    fn row(&self, row: usize) -> PyResult<&Result<RowEvidence>> {
        let found = self.rows.get(row);
        found.ok_or_else(|| PyIndexError::new_err(format!("row {row} of {}", self.rows.len())))
    }
}

#[pymethods]
impl Evidence {
    /// Which rows are trusted.
    fn trusted<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        let trusted = self
            .rows
            .iter()
            .map(|r| r.as_ref().is_ok_and(|r| r.trusted));
        PyArray1::from_vec(py, trusted.collect())
    }

    /// True if every row is.
    fn all_trusted(&self) -> bool {
        self.rows
            .iter()
            .all(|r| r.as_ref().is_ok_and(|r| r.trusted))
    }

    /// Relative residuals of the linear step.
    fn residual<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.numbers(py, |r| r.evidence.residual)
    }

    /// Estimated relative errors.
    fn error<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.numbers(py, |r| r.evidence.error)
    }

    /// Condition estimates.
    fn condition<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.numbers(py, |r| r.evidence.condition)
    }

    /// The first row without a derivative whose item was solved: its number, its item and the exception.
    fn failure(&self, py: Python<'_>) -> Option<(usize, usize, Py<PyAny>)> {
        let failed = |(row, outcome): (usize, &Result<RowEvidence>)| {
            let error = outcome.as_ref().err()?;
            let value = exception(py, error).into_value(py).into_any();
            Some((row, self.items[row], value))
        };
        self.rows.iter().enumerate().find_map(failed)
    }

    /// The first row that is not trusted though it has a derivative: its number, its item and the reasons.
    fn doubt(&self) -> Option<(usize, usize, Vec<String>)> {
        let doubtful = |(row, outcome): (usize, &Result<RowEvidence>)| match outcome {
            Ok(found) if !found.trusted => {
                Some((row, self.items[row], Warning::sentences(&found.warnings)))
            }
            _ => None,
        };
        self.rows.iter().enumerate().find_map(doubtful)
    }

    /// The warnings of a row, in sentences.
    fn warnings(&self, row: usize) -> PyResult<Vec<String>> {
        Ok(match self.row(row)? {
            Ok(found) => sentences(&found.warnings),
            Err(error) => vec![error.to_string()],
        })
    }

    /// Everything known of a row's linear step, as JSON; null if it has none.
    fn evidence(&self, row: usize) -> PyResult<String> {
        let json = match self.row(row)? {
            Ok(found) => serde_json::to_value(found.evidence).unwrap_or_default(),
            Err(_) => serde_json::Value::Null,
        };
        Ok(json.to_string())
    }

    /// What a row is, in words.
    fn meaning(&self, row: usize) -> PyResult<String> {
        Ok(match self.row(row)? {
            Ok(found) => found.meaning.to_string(),
            Err(_) => "nothing".into(),
        })
    }
}

/// Warnings in words.
pub fn sentences(warnings: &[conediff::Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
