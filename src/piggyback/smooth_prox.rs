//! Smooth proximal maps of data terms, with a step of their own and the data as parameters.

use super::dense::{Lu, gram};
use super::map::{ParametricMap, check, check_positive, check_transpose};
use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::projection::{compose, eigen_decreasing};
use crate::svec::{smat, svec};
use faer::{Mat, MatRef};

/// A proximal map prox_{step f}(z; y) that knows its step.
///
/// ```
/// use conediff::piggyback::{LogDetProx, ParametricMap, ProximalStep};
/// /// How far a proximal map is from solving (z - x) / step = f'(x), for a derivative of f given at x.
/// fn mismatch(prox: &impl ProximalStep, z: f64, y: f64, slope: impl Fn(f64) -> f64) -> conediff::Result<f64> {
///     let mut x = [0.0];
///     prox.value(0, &[z], &[y], &mut x)?;
///     Ok((z - x[0]) / prox.step() - slope(x[0]))
/// }
/// // f(x) = s x - log x at s = 1
/// let prox = LogDetProx::new(1, 0.5)?;
/// assert!(mismatch(&prox, 2.0, 1.0, |x| 1.0 - 1.0 / x)?.abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
pub trait ProximalStep: ParametricMap {
    /// The step.
    fn step(&self) -> f64;
}

/// The proximal map of least squares.
///
/// ```text
/// f(x; y) = 1/2 |X x - y|^2,   prox_{step f}(z; y) = M^-1 (X'y + z / step),   M = X'X + I / step
/// A = M^-1 / step,   B = M^-1 X'
/// ```
///
/// X: m x n, z: n, y: m, the parameters. O(n^3 + n nnz(X)) once, O(n^2 + nnz(X)) for each operation.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{LeastSquaresProx, ParametricMap, ProximalStep};
/// let prox = LeastSquaresProx::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?, 0.5)?;
/// let mut out = [0.0];
/// prox.value(0, &[3.0], &[6.0], &mut out)?;
/// assert_eq!((out, prox.step()), ([4.0], 0.5));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LeastSquaresProx {
    x: SparseMatrix,
    step: f64,
    factors: Lu,
}

impl LeastSquaresProx {
    /// With the design matrix X, m x n, and the step.
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::TooLarge`] above 1 GiB; [`Error::Singular`] if the step is so long that M is singular.
    pub fn new(x: SparseMatrix, step: f64) -> Result<Self> {
        check_positive("step", step)?;
        let matrix = gram(&x, 1.0 / step)?;
        let factors = Lu::new(&matrix, "X'X + I / step", "take a shorter step")?;
        Ok(Self { x, step, factors })
    }
}

impl ProximalStep for LeastSquaresProx {
    fn step(&self) -> f64 {
        self.step
    }
}

impl ParametricMap for LeastSquaresProx {
    type Element = ();

    fn dimension(&self) -> usize {
        self.x.cols()
    }
    fn parameters(&self) -> usize {
        self.x.rows()
    }

    fn value(&self, _number: usize, z: &[f64], y: &[f64], out: &mut [f64]) -> Result<()> {
        self.apply(&(), z, y, out)
    }

    fn apply(&self, _element: &(), dz: &[f64], dy: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dz, dy, out)?;
        for (out, dz) in out.iter_mut().zip(dz) {
            *out = dz / self.step;
        }
        self.x.multiply_transpose_add(1.0, dy, out);
        self.factors.solve(out);
        Ok(())
    }

    fn apply_transpose(
        &self,
        _element: &(),
        w: &[f64],
        dz: &mut [f64],
        dy: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dz, dy)?;
        dz.copy_from_slice(w);
        // M is symmetric.
        self.factors.solve(dz);
        dy.fill(0.0);
        self.x.multiply_add(1.0, dz, dy);
        dz.iter_mut().for_each(|dz| *dz /= self.step);
        Ok(())
    }
}

/// The proximal map of a Gaussian log-likelihood.
///
/// ```text
/// f(X; S) = -log det X + trace(S X)
/// prox_{step f}(Z; S) = U diag(phi(d)) U',   Z - step S = U diag(d) U',   phi(d) = (d + r) / 2,   r = sqrt(d^2 + 4 step)
/// A H = U (W o U'HU) U',   W_ij = (phi_i + phi_j) / (r_i + r_j),   B = -step A
/// ```
///
/// Symmetric matrices of order k as [`svec`](crate::svec) of k (k + 1) / 2 numbers, Z and the parameters S alike. O(k^3) for
/// each operation. X is positive definite whatever Z.
///
/// ```
/// use conediff::piggyback::{LogDetProx, ParametricMap, Rotated};
/// let mut out = [0.0];
/// // Order 1: x - z + (s - 1 / x) = 0.
/// let element: Rotated = LogDetProx::new(1, 1.0)?.value(0, &[2.5], &[1.0], &mut out)?;
/// assert_eq!(out, [2.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Boyd et al., Distributed optimization and statistical learning via ADMM, 2011, section 6.5.
#[derive(Debug, Clone)]
pub struct LogDetProx {
    order: usize,
    step: f64,
}

/// An element that is a weighting of pairs of eigenvectors.
///
/// ```
/// use conediff::piggyback::{LogDetProx, ParametricMap, Rotated};
/// // Order 1, step 1, s = 0: x = (z + r) / 2 with r = sqrt(z^2 + 4) = 5/2, so dx/dz = (1 + z / r) / 2 = 4/5
/// let (prox, mut x) = (LogDetProx::new(1, 1.0)?, [0.0]);
/// let element: Rotated = prox.value(0, &[1.5], &[0.0], &mut x)?;
/// let mut dx = [0.0];
/// prox.apply(&element, &[1.0], &[0.0], &mut dx)?;
/// assert!((x[0] - 2.0).abs() < 1e-14 && (dx[0] - 0.8).abs() < 1e-14);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rotated {
    vectors: Mat<f64>,
    weights: Mat<f64>,
}

impl LogDetProx {
    /// For matrices of the given order, with the step.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(order: usize, step: f64) -> Result<Self> {
        check_positive("step", step)?;
        Ok(Self { order, step })
    }
}

impl Rotated {
    /// out = svec(U (W o U'HU) U'), symmetric in h and out; h has as many entries as the matrix that was rotated.
    fn apply(&self, h: &[f64], out: &mut [f64]) -> Result<()> {
        let k = self.vectors.nrows();
        let full = smat(h)?;
        crate::program::check_length("element's matrix", k * k, full.len())?;
        let h = MatRef::from_column_major_slice(&full, k, k);
        let inner = self.vectors.transpose() * h * &self.vectors;
        let inner = Mat::from_fn(k, k, |i, j| self.weights[(i, j)] * inner[(i, j)]);
        let outer = &self.vectors * inner * self.vectors.transpose();
        let columns = (0..k).flat_map(|j| (0..k).map(move |i| (i, j)));
        let full: Vec<f64> = columns.map(|at| outer[at]).collect();
        out.copy_from_slice(&svec(&full, k)?);
        Ok(())
    }
}

impl ProximalStep for LogDetProx {
    fn step(&self) -> f64 {
        self.step
    }
}

impl ParametricMap for LogDetProx {
    type Element = Rotated;

    fn dimension(&self) -> usize {
        crate::cone::triangular(self.order)
    }
    fn parameters(&self) -> usize {
        self.dimension()
    }

    fn value(&self, _number: usize, z: &[f64], s: &[f64], out: &mut [f64]) -> Result<Rotated> {
        check(self, z, s, out)?;
        let k = self.order;
        if k == 0 {
            return Ok(Rotated {
                vectors: Mat::zeros(0, 0),
                weights: Mat::zeros(0, 0),
            });
        }
        let shifted = super::map::sum(z, -self.step, s);
        crate::pattern::check_finite("Z - step S", &shifted)?;
        let (values, vectors) = eigen_decreasing(k, &shifted).ok_or(Error::Factorization {
            method: "eigenvalues of Z - step S",
        })?;
        let roots: Vec<f64> = values
            .iter()
            .map(|d| d.hypot(2.0 * self.step.sqrt()))
            .collect();
        // d + r without cancellation.
        let phi: Vec<f64> = values
            .iter()
            .zip(&roots)
            .map(|(d, r)| {
                if *d > 0.0 {
                    (d + r) / 2.0
                } else {
                    2.0 * self.step / (r - d)
                }
            })
            .collect();
        compose(vectors.as_ref(), &phi, out);
        let weights = Mat::from_fn(k, k, |i, j| (phi[i] + phi[j]) / (roots[i] + roots[j]));
        Ok(Rotated { vectors, weights })
    }

    fn apply(&self, e: &Rotated, dz: &[f64], ds: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dz, ds, out)?;
        e.apply(&super::map::sum(dz, -self.step, ds), out)
    }

    fn apply_transpose(
        &self,
        e: &Rotated,
        w: &[f64],
        dz: &mut [f64],
        ds: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dz, ds)?;
        e.apply(w, dz)?;
        for (ds, dz) in ds.iter_mut().zip(dz) {
            *ds = -self.step * *dz;
        }
        Ok(())
    }
}
