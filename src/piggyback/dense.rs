//! Dense matrices of a step: X'X and its factors.

use super::settings::PiggybackSettings;
use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use faer::linalg::solvers::{PartialPivLu, Solve};
use faer::{Mat, MatMut};

/// LU factors with partial pivoting.
#[derive(Debug, Clone)]
pub(super) struct Lu {
    factors: PartialPivLu<f64>,
    /// The least pivot over the largest.
    pub(super) pivot: f64,
}

impl Lu {
    /// Factors a square matrix. O(n^3).
    ///
    /// # Errors
    /// [`Error::Singular`], with the name and the remedy given.
    pub(super) fn new(matrix: &Mat<f64>, what: &'static str, remedy: &'static str) -> Result<Self> {
        let n = matrix.nrows();
        let factors = matrix.partial_piv_lu();
        let (mut least, mut largest) = (f64::INFINITY, 0.0_f64);
        for i in 0..n {
            let size = factors.U()[(i, i)].abs();
            // NaN must not pass.
            least = if size < least { size } else { least.min(size) };
            largest = largest.max(size);
            if !size.is_finite() {
                least = f64::NAN;
                break;
            }
        }
        let pivot = if n == 0 { 1.0 } else { least / largest };
        if pivot > f64::EPSILON * n as f64 {
            return Ok(Self { factors, pivot });
        }
        Err(Error::Singular {
            what,
            pivot,
            remedy,
        })
    }

    /// y <- M^-1 y.
    pub(super) fn solve(&self, y: &mut [f64]) {
        let len = y.len();
        if len > 0 {
            self.factors
                .solve_in_place(MatMut::from_column_major_slice_mut(y, len, 1));
        }
    }
}

/// shift I + X'X.
///
/// # Errors
/// [`Error::TooLarge`] above 1 GiB.
pub(super) fn gram(x: &SparseMatrix, shift: f64) -> Result<Mat<f64>> {
    let n = x.cols();
    PiggybackSettings::default().check_size("X'X", n, n)?;
    let mut out = Mat::zeros(n, n);
    let (mut dense, mut column) = (vec![0.0; x.rows()], vec![0.0; n]);
    for j in 0..n {
        let (rows, values) = x.column(j);
        crate::pattern::scatter(rows, values, 1.0, &mut dense);
        column.fill(0.0);
        x.multiply_transpose_add(1.0, &dense, &mut column);
        for (i, c) in column.iter().enumerate() {
            out[(i, j)] = *c;
        }
        out[(j, j)] += shift;
        dense.fill(0.0);
    }
    Ok(out)
}
