//! X'WX on the columns met so far: an active set that changes by a column computes one row.

use super::cholesky::{Cholesky, Dependency, Symmetric};
use super::regression::SparseRegression;
use crate::error::Result;
use crate::memory::{MOST_DENSE_BYTES, check_bytes};

/// Inner products X_i'WX_j of the columns asked for, kept.
#[derive(Debug)]
pub(super) struct Gram<'a> {
    regression: &'a SparseRegression,
    /// W's diagonal, nothing for the identity.
    weights: Option<&'a [f64]>,
    /// The row of each column, p; `NONE` for one not met.
    place: Vec<usize>,
    columns: Vec<usize>,
    /// Lower triangle, row by row.
    rows: Vec<Vec<f64>>,
    /// W X_j of the column at work, n.
    work: Vec<f64>,
}

const NONE: usize = usize::MAX;

/// [`crate::Error::TooLarge`] for a triangle of more than 4 GiB: kept once, and once factored.
pub(super) fn check_order(columns: usize) -> Result<()> {
    let entries = columns as u128 * (columns as u128 + 1);
    check_bytes("H on the support", 8, entries, MOST_DENSE_BYTES)
}

impl<'a> Gram<'a> {
    pub(super) fn new(regression: &'a SparseRegression, weights: Option<&'a [f64]>) -> Self {
        let design = regression.design();
        Self {
            regression,
            weights,
            place: vec![NONE; design.columns()],
            columns: Vec::new(),
            rows: Vec::new(),
            work: vec![0.0; design.rows()],
        }
    }

    fn add(&mut self, j: usize) {
        let design = self.regression.design();
        match self.weights {
            None => design.scatter(j, 1.0, &mut self.work),
            Some(w) => design.for_each(j, |i, x| self.work[i] = w[i] * x),
        }
        self.place[j] = self.columns.len();
        self.columns.push(j);
        let row = self.columns.iter().map(|&k| design.gather(k, &self.work));
        self.rows.push(row.collect());
        design.for_each(j, |i, _| self.work[i] = 0.0);
    }

    /// The factorization of X_E'WX_E + ridge I.
    ///
    /// # Errors
    /// [`crate::Error::DependentColumns`]; [`crate::Error::TooLarge`].
    pub(super) fn factor(&mut self, columns: &[usize], ridge: f64) -> Result<Cholesky> {
        check_order(columns.len())?;
        let found = self.try_factor(columns, ridge);
        found.map_err(|dependency| dependency.error(columns))
    }

    /// The same, or a null vector.
    pub(super) fn try_factor(
        &mut self,
        columns: &[usize],
        ridge: f64,
    ) -> std::result::Result<Cholesky, Dependency> {
        for &j in columns {
            if self.place[j] == NONE {
                self.add(j);
            }
        }
        let entry = |i: usize, j: usize| {
            let (a, b) = (self.place[columns[i]], self.place[columns[j]]);
            let ridge = if i == j { ridge } else { 0.0 };
            self.rows[a.max(b)][a.min(b)] + ridge
        };
        Cholesky::new(Symmetric::new(columns.len(), entry))
    }
}
