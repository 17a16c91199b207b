//! The alternating direction method of multipliers for a regularized least-squares problem.

use super::dense::{Lu, gram};
use super::map::{ParametricMap, check, check_positive, check_transpose, split, split_mut, sum};
use super::splitting::check_prox;
use crate::error::Result;
use crate::pattern::SparseMatrix;
use crate::program::check_length;

/// ADMM for a regularizer of a linear map: the generalized Lasso, with D of second differences trend filtering.
///
/// ```text
/// minimize 1/2 |X x - y|^2 + lambda g(D x):
/// x+ = M^-1 (X'y + rho D'(z - u)),   M = X'X + rho D'D
/// z+ = prox_{lambda g / rho}(D x+ + u),   u+ = u + D x+ - z+
/// ```
///
/// X: m x n, D: r x n; the state is (x, z, u): n + 2 r; theta = (lambda, y): 1 + m. With [P d] for the proximal map, dz+ = P (D dx+ + du) +
/// d dlambda / rho. O(n^3) once, O(n^2 + nnz(X) + nnz(D)) for each operation.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{Admm, Piggyback, PiggybackSettings, SoftThreshold};
/// // minimize 1/2 |x - y|^2 + lambda |x2 - x1|
/// let x = SparseMatrix::from_csc("X", 2, 2, &[0, 1, 2], &[0, 1], &[1.0, 1.0])?;
/// let d = SparseMatrix::from_csc("D", 1, 2, &[0, 1, 2], &[0, 0], &[-1.0, 1.0])?;
/// let admm = Admm::new(x, d, SoftThreshold::new(vec![1.0])?, 1.0)?;
/// let run = Piggyback::new(&admm, &[0.0; 4], &[0.5, 0.0, 3.0], PiggybackSettings::default())?.jacobian()?;
/// assert!((run.x[0] - 0.5).abs() < 1e-9 && (run.x[1] - 2.5).abs() < 1e-9);
/// // dx / dlambda = (1, -1)
/// assert!((run.jacobian.data[0] - 1.0).abs() < 1e-8 && (run.jacobian.data[1] + 1.0).abs() < 1e-8);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022. Boyd et al., Distributed
/// optimization and statistical learning via ADMM, 2011, section 6.4.1.
#[derive(Debug, Clone)]
pub struct Admm<P> {
    x: SparseMatrix,
    d: SparseMatrix,
    prox: P,
    rho: f64,
    factors: Lu,
}

/// The parts of a state (x, z, u).
fn parts(state: &[f64], n: usize, r: usize) -> (&[f64], &[f64], &[f64]) {
    let (x, rest) = state.split_at(n);
    let (z, u) = rest.split_at(r);
    (x, z, u)
}

fn parts_mut(state: &mut [f64], n: usize, r: usize) -> (&mut [f64], &mut [f64], &mut [f64]) {
    let (x, rest) = state.split_at_mut(n);
    let (z, u) = rest.split_at_mut(r);
    (x, z, u)
}

impl<P: ParametricMap> Admm<P> {
    /// With X (m x n), D (r x n), the proximal map on r coordinates and rho.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension); [`Error::Setting`](crate::Error::Setting) unless rho is positive and finite;
    /// [`Error::Singular`](crate::Error::Singular) if a vector has X v = 0 and D v = 0; [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn new(x: SparseMatrix, d: SparseMatrix, prox: P, rho: f64) -> Result<Self> {
        check_length("columns of D", x.cols(), d.cols())?;
        check_prox(d.rows(), &prox)?;
        check_positive("rho", rho)?;
        let matrix = gram(&x, 0.0)? + faer::Scale(rho) * gram(&d, 0.0)?;
        let remedy = "X and D must not vanish on the same vector";
        let factors = Lu::new(&matrix, "X'X + rho D'D", remedy)?;
        Ok(Self {
            x,
            d,
            prox,
            rho,
            factors,
        })
    }

    /// x+ from (z - u) and y, and D x+ + u.
    fn first(&self, z: &[f64], u: &[f64], y: &[f64], x: &mut [f64]) -> Vec<f64> {
        x.fill(0.0);
        self.x.multiply_transpose_add(1.0, y, x);
        self.d.multiply_transpose_add(self.rho, &sum(z, -1.0, u), x);
        self.factors.solve(x);
        let mut moved = u.to_vec();
        self.d.multiply_add(1.0, x, &mut moved);
        moved
    }
}

impl<P: ParametricMap> ParametricMap for Admm<P> {
    type Element = P::Element;

    fn dimension(&self) -> usize {
        self.d
            .cols()
            .saturating_add(self.d.rows().saturating_mul(2))
    }
    fn parameters(&self) -> usize {
        self.x.rows().saturating_add(1)
    }

    fn value(
        &self,
        number: usize,
        state: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<Self::Element> {
        check(self, state, theta, out)?;
        let (n, r) = (self.d.cols(), self.d.rows());
        let (lambda, y) = split(theta)?;
        let (_, z, u) = parts(state, n, r);
        let (x, next, dual) = parts_mut(out, n, r);
        let moved = self.first(z, u, y, x);
        let element = self
            .prox
            .value(number, &moved, &[lambda / self.rho], next)?;
        dual.copy_from_slice(&sum(&moved, -1.0, next));
        Ok(element)
    }

    fn apply(
        &self,
        e: &Self::Element,
        dstate: &[f64],
        dtheta: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        check(self, dstate, dtheta, out)?;
        let (n, r) = (self.d.cols(), self.d.rows());
        let (dlambda, dy) = split(dtheta)?;
        let (_, z, u) = parts(dstate, n, r);
        let (x, next, dual) = parts_mut(out, n, r);
        let moved = self.first(z, u, dy, x);
        self.prox.apply(e, &moved, &[dlambda / self.rho], next)?;
        dual.copy_from_slice(&sum(&moved, -1.0, next));
        Ok(())
    }

    fn apply_transpose(
        &self,
        e: &Self::Element,
        w: &[f64],
        dstate: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dstate, dtheta)?;
        let (n, r) = (self.d.cols(), self.d.rows());
        let (dlambda, dy) = split_mut(dtheta)?;
        let (wx, wz, wu) = parts(w, n, r);
        let (dx, dz, du) = parts_mut(dstate, n, r);
        let mut weight = [0.0];
        self.prox
            .apply_transpose(e, &sum(wz, -1.0, wu), du, &mut weight)?;
        *dlambda = weight[0] / self.rho;
        // To D x+ + u.
        du.iter_mut().zip(wu).for_each(|(d, w)| *d += w);
        let mut solved = wx.to_vec();
        self.d.multiply_transpose_add(1.0, du, &mut solved);
        self.factors.solve(&mut solved);
        dy.fill(0.0);
        self.x.multiply_add(1.0, &solved, dy);
        dz.fill(0.0);
        self.d.multiply_add(self.rho, &solved, dz);
        du.iter_mut().zip(&*dz).for_each(|(d, z)| *d -= z);
        dx.fill(0.0);
        Ok(())
    }
}
