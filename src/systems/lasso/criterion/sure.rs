//! Stein's unbiased risk estimate, with degrees of freedom by a finite difference.

use super::{Criterion, Evaluation, Term, in_coefficients};
use crate::error::{Error, Result};
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::random::Random;
use crate::settings::check_positive;
use crate::systems::lasso::loss::Loss;
use crate::systems::lasso::penalty::Penalty;
use crate::systems::lasso::regression::SparseRegression;
use crate::systems::lasso::settings::FitSettings;
use crate::tangent::dot;

/// SURE for y with independent normal errors of standard deviation sigma:
///
/// ```text
/// |y - X b|^2 - n sigma^2 + 2 sigma^2 df,    df = <X (b(y + epsilon d) - b(y)), d> / epsilon
/// ```
///
/// The finite difference in a random direction d makes the degrees of freedom a function with a derivative; the exact ones are piecewise
/// constant in lambda. epsilon = 2 sigma / n^0.3.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::{Criterion, Degrees, Design, FitSettings, Penalty, SparseRegression, Sure};
/// let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, -0.2])?;
/// let mut sure = Sure::with_direction(regression, 0.1, vec![1.0, -1.0], FitSettings::default())?;
/// let found = sure.evaluate(&Penalty::lasso(1.0))?;
/// // One coefficient: lambda^2 + 0.2^2 - 2 sigma^2 + 2 sigma^2
/// assert!((found.value - 1.04).abs() < 1e-12 && (found.gradient.value[0] - 2.0).abs() < 1e-12);
/// let degrees: Degrees = sure.degrees_of_freedom(&found)?;
/// assert!((degrees.difference - 1.0).abs() < 1e-12 && degrees.exact == 1.0);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Deledalle, Vaiter, Fadili, Peyre, Stein unbiased gradient estimator of the risk (SUGAR) for multiple parameter selection, 2014. Zou,
/// Hastie, Tibshirani, On the degrees of freedom of the lasso, 2007.
#[derive(Debug, Clone)]
pub struct Sure {
    /// Of y, and of y + epsilon d.
    regressions: [SparseRegression; 2],
    sigma: f64,
    direction: Vec<f64>,
    epsilon: f64,
    settings: FitSettings,
    last: [Vec<f64>; 2],
}

/// Degrees of freedom of a fit.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Criterion, Design, FitSettings, Penalty, SparseRegression, Sure};
/// # let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, -0.2])?;
/// use conediff::systems::lasso::Degrees;
/// // One coefficient, halved by the ridge: beta = (3 - 1) / (1 + ridge)
/// let mut sure = Sure::with_direction(regression, 0.1, vec![1.0, -1.0], FitSettings::default())?;
/// let found = sure.evaluate(&Penalty::elastic_net(1.0, 1.0))?;
/// let Degrees { difference, exact } = sure.degrees_of_freedom(&found)?;
/// assert!((difference - 0.5).abs() < 1e-9 && (exact - 0.5).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Degrees {
    /// By the finite difference in SURE.
    pub difference: f64,
    /// The exact ones at y: the size of the support for the Lasso.
    pub exact: f64,
}

impl Sure {
    /// With a random normal direction of the seed.
    ///
    /// # Errors
    /// [`Error::Setting`] for sigma; [`Error::Loss`] unless the loss is that of squares.
    pub fn new(
        regression: SparseRegression,
        sigma: f64,
        seed: u64,
        settings: FitSettings,
    ) -> Result<Self> {
        let direction = Random::new(seed).normals(regression.y().len());
        Self::with_direction(regression, sigma, direction, settings)
    }

    /// With a direction d, n.
    ///
    /// # Errors
    /// Those of [`Sure::new`]; [`Error::Dimension`], [`Error::NonFinite`] for the direction.
    pub fn with_direction(
        regression: SparseRegression,
        sigma: f64,
        direction: Vec<f64>,
        settings: FitSettings,
    ) -> Result<Self> {
        let n = regression.y().len();
        check_positive("sigma", sigma)?;
        check_length("direction", n, direction.len())?;
        check_finite("direction", &direction)?;
        if regression.loss() != Loss::Squares {
            return Err(Error::Loss {
                what: "SURE",
                needed: "squares",
            });
        }
        let epsilon = 2.0 * sigma / (n as f64).powf(0.3);
        let pairs = regression.y().iter().zip(&direction);
        let moved = regression.with_y(pairs.map(|(y, d)| y + epsilon * d).collect());
        let zeros = vec![0.0; regression.design().columns()];
        Ok(Self {
            regressions: [regression, moved],
            sigma,
            direction,
            epsilon,
            settings,
            last: [zeros.clone(), zeros],
        })
    }

    /// The degrees of freedom behind an evaluation of this criterion. By the conic route with a ridge the exact ones are NaN.
    ///
    /// # Errors
    /// [`Error::Dimension`] for an evaluation of another criterion.
    pub fn degrees_of_freedom(&self, at: &Evaluation) -> Result<Degrees> {
        let fits: Vec<_> = at.fits().collect();
        let &[fit, moved] = fits.as_slice() else {
            return Err(Error::Dimension {
                what: "fits of the evaluation",
                expected: 2,
                found: fits.len(),
            });
        };
        check_length("fitted values", self.direction.len(), fit.fitted().len())?;
        Ok(Degrees {
            difference: self.difference(fit.fitted(), moved.fitted()),
            exact: fit.derivative()?.degrees_of_freedom(),
        })
    }

    fn difference(&self, fitted: &[f64], moved: &[f64]) -> f64 {
        let change: Vec<f64> = fitted.iter().zip(moved).map(|(a, b)| b - a).collect();
        dot(&change, &self.direction) / self.epsilon
    }
}

impl Criterion for Sure {
    fn evaluate(&mut self, penalty: &Penalty) -> Result<Evaluation> {
        let mut fits = Vec::with_capacity(2);
        for (regression, last) in self.regressions.iter().zip(&mut self.last) {
            let fit = regression.fit_from(penalty, &self.settings, last)?;
            last.copy_from_slice(fit.beta());
            fits.push(fit);
        }
        let design = self.regressions[0].design();
        let (r, variance) = (fits[0].residual(), self.sigma * self.sigma);
        let degrees = self.difference(fits[0].fitted(), fits[1].fitted());
        let n = r.len() as f64;
        let value = dot(r, r) - n * variance + 2.0 * variance * degrees;
        let weight = 2.0 * variance / self.epsilon;
        let of_y: Vec<f64> = r
            .iter()
            .zip(&self.direction)
            .map(|(r, d)| -2.0 * r - weight * d)
            .collect();
        let of_moved: Vec<f64> = self.direction.iter().map(|d| weight * d).collect();
        let terms = fits.into_iter().zip([of_y, of_moved]).map(|(fit, outer)| {
            let gradient = in_coefficients(design, &fit, &outer);
            Term { fit, gradient }
        });
        Evaluation::new(penalty, value, terms.collect())
    }
}
