//! A square sparse matrix prepared for solves with it and with its transpose: LU with refinement, and LSQR's answer of minimum norm
//! where it is singular.
//!
//! The relative residual is the largest entry of r - B u over the largest sum of absolute terms, rows in units of their largest entry.
//!
//! # References
//! Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 7.1 (backward error), chapter 12 (refinement).

use super::lu::Lu;
use super::{Evidence, LsqrSettings, Method, ROUNDING, SINGULAR, StopReason, lsqr};
use crate::error::Result;
use crate::limit;
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::check_length;
use crate::residual::ResidualJacobian;
use crate::settings::LinearSettings;
use crate::tangent::norm_max;
use faer::dyn_stack::MemBuffer;

/// B, its LU factors unless it is singular, and its condition.
#[derive(Debug)]
pub(crate) struct Square {
    matrix: SparseMatrix,
    lu: Option<Lu>,
    condition: f64,
    /// One over the largest entry of each row, and of each column.
    rows: Vec<f64>,
    columns: Vec<f64>,
    settings: LinearSettings,
}

impl Square {
    /// Factors B (n x n) and estimates its condition; a singular one is kept for least squares. If B holds J of a residual map, that J
    /// tells which of its terms are rounded.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] unless B is square.
    pub(crate) fn new(
        matrix: SparseMatrix,
        jacobian: Option<&ResidualJacobian>,
        settings: LinearSettings,
    ) -> Result<Self> {
        let n = matrix.rows();
        check_length("columns of B", n, matrix.cols())?;
        limit::check("a factorization")?;
        let (mut rows, mut columns) = (vec![0.0_f64; n], vec![0.0_f64; n]);
        for (j, column) in columns.iter_mut().enumerate() {
            let (indices, values) = matrix.column(j);
            for (&i, v) in indices.iter().zip(values) {
                rows[i] = rows[i].max(v.abs());
                *column = column.max(v.abs());
            }
        }
        // A row or column of zeros needs no factorization to be singular.
        let has_zero = rows.iter().chain(&columns).any(|x| *x == 0.0);
        for x in rows.iter_mut().chain(&mut columns).filter(|x| **x > 0.0) {
            *x = 1.0 / *x;
        }
        let lu = if n == 0 || has_zero {
            None
        } else {
            Lu::of(&matrix, jacobian).ok()
        };
        let condition = match &lu {
            Some(lu) => lu.condition(&mut MemBuffer::new(lu.scratch())),
            None if n == 0 => 1.0,
            None => f64::INFINITY,
        };
        Ok(Self {
            matrix,
            lu: lu.filter(|_| condition <= SINGULAR),
            condition,
            rows,
            columns,
            settings,
        })
    }

    /// n.
    pub(crate) fn dim(&self) -> usize {
        self.rows.len()
    }
    /// B.
    pub(crate) fn matrix(&self) -> &SparseMatrix {
        &self.matrix
    }
    /// Of the scaled matrix, infinite if its factorization broke down.
    pub(crate) fn condition(&self) -> f64 {
        self.condition
    }
    /// True if solves are least-squares answers.
    pub(crate) fn is_singular(&self) -> bool {
        self.lu.is_none() && self.dim() > 0
    }
    /// One over the largest entry of each row; 0 for a row of zeros.
    pub(crate) fn row_scale(&self) -> &[f64] {
        &self.rows
    }

    /// B^-1 rhs, or B^-T rhs; n values.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`] for the right-hand side.
    pub(crate) fn solve(&self, rhs: &[f64], transpose: bool) -> Result<(Vec<f64>, Evidence)> {
        check_length("right-hand side", self.dim(), rhs.len())?;
        check_finite("right-hand side", rhs)?;
        limit::check("a linear solve")?;
        let mut evidence = Evidence {
            method: Method::Lu,
            stop: StopReason::ZeroRightHandSide,
            condition: self.condition,
            ..Evidence::of_product()
        };
        let size = norm_max(rhs);
        if size == 0.0 {
            return Ok((vec![0.0; rhs.len()], evidence));
        }
        // In units of the largest entry: a seed of any size is solved with the same digits.
        let scaled: Vec<f64> = rhs.iter().map(|r| r / size).collect();
        let mut out = match &self.lu {
            Some(lu) => self.refined(lu, &scaled, transpose, &mut evidence),
            None => {
                let found = self.least_squares(&scaled, transpose, &mut evidence);
                // It may have been interrupted.
                limit::check("the use of LSQR's answer")?;
                found
            }
        };
        evidence.converged = evidence.residual <= self.settings.tolerance;
        if evidence.converged && evidence.stop != StopReason::LeastSquares {
            evidence.stop = StopReason::Converged;
        }
        evidence.error = self.condition * evidence.residual.max(f64::EPSILON);
        for x in &mut out {
            *x *= size;
        }
        Ok((out, evidence))
    }

    fn refined(&self, lu: &Lu, rhs: &[f64], transpose: bool, evidence: &mut Evidence) -> Vec<f64> {
        let mut memory = MemBuffer::new(lu.scratch());
        let (mut out, mut left) = (vec![0.0; rhs.len()], rhs.to_vec());
        evidence.residual = 1.0;
        evidence.stop = StopReason::StepLimit;
        for step in 0..=self.settings.max_refinement {
            let mut next = left.clone();
            lu.solve_in_place(&mut next, transpose, &mut memory);
            let correction = norm_max(&next);
            if !correction.is_finite() {
                evidence.stop = StopReason::NotFinite;
                break;
            }
            next.iter_mut().zip(&out).for_each(|(n, o)| *n += o);
            let (residual, relative) = self.residual(rhs, &next, transpose);
            if relative.is_nan() || (step > 0 && relative >= evidence.residual) {
                evidence.stop = StopReason::Stagnated;
                break;
            }
            let stuck = step > 0 && relative > 0.5 * evidence.residual;
            (out, left) = (next, residual);
            evidence.residual = relative;
            evidence.refinement_steps = step;
            evidence.correction = correction / norm_max(&out).max(f64::MIN_POSITIVE);
            if relative <= ROUNDING || stuck {
                evidence.stop = StopReason::Stagnated;
                break;
            }
        }
        out
    }

    fn least_squares(&self, rhs: &[f64], transpose: bool, evidence: &mut Evidence) -> Vec<f64> {
        let mut out = vec![0.0; rhs.len()];
        let settings = LsqrSettings {
            tolerance: 1e-14,
            max_iterations: self.settings.lsqr_max_iterations,
            max_condition: SINGULAR,
        };
        let report = lsqr(
            |u, out| self.multiply(u, out, transpose),
            |u, out| self.multiply(u, out, !transpose),
            rhs,
            &mut out,
            settings,
        );
        evidence.method = Method::Lsqr;
        evidence.stop = StopReason::LeastSquares;
        evidence.iterations = report.iterations;
        evidence.residual = self.residual(rhs, &out, transpose).1;
        out
    }

    /// out = B u or B'u.
    pub(crate) fn multiply(&self, u: &[f64], out: &mut [f64], transpose: bool) {
        out.fill(0.0);
        if transpose {
            self.matrix.multiply_transpose_add(1.0, u, out);
        } else {
            self.matrix.multiply_add(1.0, u, out);
        }
    }

    /// rhs - B u and its relative size.
    fn residual(&self, rhs: &[f64], u: &[f64], transpose: bool) -> (Vec<f64>, f64) {
        let n = rhs.len();
        let (mut left, mut terms) = (vec![0.0; n], vec![0.0; n]);
        self.multiply(u, &mut left, transpose);
        let units = if transpose {
            self.matrix.absolute_multiply_transpose_add(u, &mut terms);
            &self.columns
        } else {
            self.matrix.absolute_multiply_add(u, &mut terms);
            &self.rows
        };
        let (mut largest, mut size) = (0.0_f64, 0.0_f64);
        let mut is_nan = false;
        for (i, (left, rhs)) in left.iter_mut().zip(rhs).enumerate() {
            *left = rhs - *left;
            // Nothing acts on a row of zeros: its residual is measured as it is.
            let unit = if units[i] > 0.0 { units[i] } else { 1.0 };
            largest = largest.max(left.abs() * unit);
            size = size.max((terms[i] + rhs.abs()) * unit);
            is_nan |= left.is_nan();
        }
        let relative = if is_nan { f64::NAN } else { largest / size };
        (
            left,
            if largest == 0.0 && !is_nan {
                0.0
            } else {
                relative
            },
        )
    }
}
