//! The implicit derivative at a fixed point, what propagated derivatives tend to.

use super::dense::Lu;
use super::forward::{Piggyback, columns, identity};
use super::map::ParametricMap;
use crate::cycle::distance;
use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use crate::pattern::check_finite;
use crate::program::check_length;
use faer::Mat;

/// The derivative of a fixed point x = G(x, theta) by the implicit function theorem.
///
/// ```text
/// J = (I - A)^-1 B,   [A B] the element of G at (x, theta)
/// ```
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{ForwardBackward, LeastSquares, Piggyback, PiggybackSettings, SoftThreshold};
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 2, 2, &[0, 1, 2], &[0, 1], &[1.0, 1.0])?);
/// let lasso = ForwardBackward::new(loss, SoftThreshold::new(vec![1.0; 2])?, 0.5)?;
/// let run = Piggyback::new(&lasso, &[0.0; 2], &[1.0, 3.0, 0.5], PiggybackSettings::default())?;
/// let limit = run.limit(&[2.0, 0.0])?;
/// assert_eq!(limit.jacobian.data, [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
/// assert_eq!((limit.spectral_radius, limit.moved), (0.5, 0.0));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Theorem 2.
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022 (it is where the iteration's
/// derivatives go).
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LimitDerivative {
    /// J, n x p, or J d, n x directions.
    pub jacobian: DenseMatrix,
    /// The largest absolute eigenvalue of A: the rate at which iterates and derivatives settle near x. 1 or more: they need not.
    #[serde(with = "crate::exact::number")]
    pub spectral_radius: f64,
    /// |G(x, theta) - x|: how much of a fixed point x is.
    #[serde(with = "crate::exact::number")]
    pub moved: f64,
    /// The largest entry of (I - A) J - B over 1 + that of J: rounding if all is well.
    #[serde(with = "crate::exact::number")]
    pub residual: f64,
    /// The least pivot of I - A over the largest: small where I - A is nearly singular.
    #[serde(with = "crate::exact::number")]
    pub pivot: f64,
}

impl<M: ParametricMap> Piggyback<'_, M> {
    /// The implicit derivative at x (n), n x p, instead of an iteration's: give the last iterate of any method.
    ///
    /// The element of step 0 is taken. n + p `apply`, O(n^3 + n^2 p) time for dense factors and eigenvalues, memory 3 n^2 + 2 n p.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::TooLarge`]; [`Error::Singular`] if I - A is; [`Error::Factorization`] if the
    /// eigenvalues are not found; those of the map.
    pub fn limit(&self, x: &[f64]) -> Result<LimitDerivative> {
        let p = self.theta.len();
        self.settings.check_size("the directions", p, p)?;
        self.limit_along(x, &identity(p))
    }

    /// The implicit derivative in the directions given, p x r.
    ///
    /// # Errors
    /// Those of [`Piggyback::limit`].
    pub fn limit_along(&self, x: &[f64], directions: &DenseMatrix) -> Result<LimitDerivative> {
        let (n, p) = (self.start.len(), self.theta.len());
        check_length("x", n, x.len())?;
        check_finite("x", x)?;
        check_length("directions", p, directions.rows)?;
        let entries = p.saturating_mul(directions.cols);
        check_length("directions", entries, directions.data.len())?;
        self.settings
            .check_size("I - A and B", n, n.saturating_add(directions.cols))?;
        let mut image = vec![0.0; n];
        let element = self.map.value(0, x, &self.theta, &mut image)?;
        check_finite("G(x, theta)", &image)?;
        let moved = distance(&image, x);

        let mut a = Mat::zeros(n, n);
        let (none, mut unit) = (vec![0.0; p], vec![0.0; n]);
        for j in 0..n {
            crate::limit::check("a column of A")?;
            unit[j] = 1.0;
            self.map.apply(&element, &unit, &none, &mut image)?;
            check_finite("A", &image)?;
            unit[j] = 0.0;
            for (i, value) in image.iter().enumerate() {
                a[(i, j)] = *value;
            }
        }
        crate::limit::check("the eigenvalues of A")?;
        let spectral_radius = largest_eigenvalue(&a)?;
        let difference = Mat::<f64>::identity(n, n) - &a;
        let remedy = "the fixed point has no implicit derivative; its problem needs a unique solution without kinks";
        let factors = Lu::new(&difference, "I - A", remedy)?;
        let mut data = Vec::with_capacity(n * directions.cols);
        let (mut residual, mut largest) = (0.0_f64, 0.0_f64);
        for direction in columns(directions) {
            self.map.apply(&element, &unit, direction, &mut image)?;
            let b = image.clone();
            factors.solve(&mut image);
            check_finite("(I - A)^-1 B", &image)?;
            for (i, b) in b.iter().enumerate() {
                let product: f64 = (0..n).map(|j| difference[(i, j)] * image[j]).sum();
                residual = residual.max((product - b).abs());
            }
            largest = largest.max(crate::tangent::norm_max(&image));
            data.extend_from_slice(&image);
        }
        Ok(LimitDerivative {
            jacobian: DenseMatrix {
                rows: n,
                cols: directions.cols,
                data,
            },
            spectral_radius,
            moved,
            residual: residual / (1.0 + largest),
            pivot: factors.pivot,
        })
    }
}

fn largest_eigenvalue(a: &Mat<f64>) -> Result<f64> {
    if a.nrows() == 0 {
        return Ok(0.0);
    }
    let values = a.eigenvalues().map_err(|_| Error::Factorization {
        method: "eigenvalues of A",
    })?;
    Ok(values.iter().fold(0.0, |m: f64, l| m.max(l.re.hypot(l.im))))
}
