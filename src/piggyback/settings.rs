//! Choices of a run.

use crate::error::{Error, Result};
use crate::memory::check_bytes;

/// What a [`Tape`](super::Tape) keeps of each step.
///
/// ```
/// # use conediff::SparseMatrix;
/// # use conediff::piggyback::{GradientDescent, LeastSquares, Piggyback, PiggybackSettings};
/// # let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// # let descent = GradientDescent::new(loss, 0.4)?;
/// use conediff::piggyback::Storage;
/// // More memory or more time: the gradient is the same to the last bit.
/// let gradient = |storage| {
///     let settings = PiggybackSettings { storage, ..PiggybackSettings::default() };
///     Piggyback::new(&descent, &[0.0], &[1.0, 3.0], settings)?.tape()?.gradient(&[1.0])
/// };
/// assert_eq!(gradient(Storage::Elements)?, gradient(Storage::Iterates)?);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// The element [A B], the default: about n numbers for the steps with thresholds or boxes, about 2 k^2 for a projection onto PSD
    /// matrices of order k.
    #[default]
    Elements,
    /// The iterate only, n numbers: every step is computed again in reverse.
    Iterates,
}

/// Choices of a [`Piggyback`](super::Piggyback) run.
///
/// ```
/// use conediff::piggyback::PiggybackSettings;
/// let settings = PiggybackSettings { max_iterations: 500, ..PiggybackSettings::default() };
/// assert!(settings.validate().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PiggybackSettings {
    /// Steps at most. Default 10,000.
    pub max_iterations: usize,
    /// The iterates have settled when |x_{k+1} - x_k| < this (1 + |x|) in three steps one after the other. Default 1e-12; 0 never
    /// stops. What is left is about rate / (1 - rate) times that: [`Trend::remaining`](super::Trend::remaining).
    #[serde(with = "crate::exact::number")]
    pub iterate_tolerance: f64,
    /// The same for |J_{k+1} - J_k|, Frobenius; a forward run stops when both have settled. Default 1e-10: where B moves with x
    /// the derivatives come k rate^k behind.
    #[serde(with = "crate::exact::number")]
    pub derivative_tolerance: f64,
    /// Iterates larger than this (1 + |x_0|) are an error, derivatives larger than this (1 + |J_1|) end the run. Default 1e10.
    #[serde(with = "crate::exact::number")]
    pub divergence: f64,
    /// What a tape keeps. Default the elements.
    pub storage: Storage,
    /// Dense objects above this are refused: J, the matrices of the limit, a tape's iterates. Default 1 GiB.
    pub max_dense_bytes: u64,
}

impl Default for PiggybackSettings {
    fn default() -> Self {
        Self {
            max_iterations: 10_000,
            iterate_tolerance: 1e-12,
            derivative_tolerance: 1e-10,
            divergence: 1e10,
            storage: Storage::Elements,
            max_dense_bytes: 1 << 30,
        }
    }
}

impl PiggybackSettings {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn validate(&self) -> Result<()> {
        let fail = |name, value, allowed| {
            Err(Error::Setting {
                name,
                value,
                allowed,
            })
        };
        for (name, value) in [
            ("piggyback.iterate_tolerance", self.iterate_tolerance),
            ("piggyback.derivative_tolerance", self.derivative_tolerance),
        ] {
            if !(0.0..1.0).contains(&value) {
                return fail(name, value, "in [0, 1)");
            }
        }
        if !(self.divergence > 1.0 && self.divergence.is_finite()) {
            return fail(
                "piggyback.divergence",
                self.divergence,
                "above 1 and finite",
            );
        }
        Ok(())
    }

    /// [`Error::TooLarge`] for a matrix above the limit.
    pub(super) fn check_size(&self, what: &'static str, rows: usize, cols: usize) -> Result<()> {
        check_bytes(what, 8, rows as u128 * cols as u128, self.max_dense_bytes)
    }
}
