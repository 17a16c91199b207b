//! Fitting: one penalty, or a path of them.

use super::derivative::FitDerivative;
use super::descent::{Point, descend, working_set};
use super::gram::check_order;
use super::penalty::Penalty;
use super::polish::{Factored, Rounding, polish};
use super::regression::SparseRegression;
use super::settings::{FitSettings, Route};
use super::twin::{ConicFit, Twin};
use crate::derivative::Derivative;
use crate::error::{Error, Result};
use crate::kink::{Knot, Warning};
use crate::limit;
use crate::pattern::check_finite;
use crate::program::check_length;
use std::sync::Arc;

/// Within this factor of the knot's threshold a margin is worth a remark.
const NEAR: f64 = 1e3;

/// Sweeps between looks at the duality gap.
const SWEEPS: usize = 100;

/// From this relative gap on the active set is tried; before, only once the support stays, and after these sweeps and twice as many,
/// again and again: where columns are nearly dependent coordinate descent alone takes forever.
const TRY: f64 = 1e-6;
const FIRST_TRY: usize = 500;

/// Changes of the support the active set may make, besides two for each column of it.
const CHANGES: usize = 50;

/// A fitted sparse regression: the coefficients, and what decides their derivatives. Cloning shares the data.
///
/// ```
/// use conediff::systems::lasso::{Design, FitSettings, Loss, Penalty, Route, SparseRegression};
/// use conediff::{DenseMatrix, Knot};
/// let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// assert_eq!(regression.loss(), Loss::Squares);
/// // At lambda = 1 the second coefficient is about to enter: a knot of the path.
/// let fit = regression.fit(&Penalty::lasso(1.0), &FitSettings::default())?;
/// assert_eq!((fit.support(), fit.correlations()), ([0].as_slice(), [1.0, 1.0].as_slice()));
/// assert_eq!(fit.knot().map(|k: &Knot| k.columns.clone()), Some(vec![1]));
/// // The same regression as a cone program.
/// let conic = regression.fit(&Penalty::lasso(0.5), &FitSettings::default().with_route(Route::Conic))?;
/// assert!((conic.beta()[0] - 2.5).abs() < 1e-9 && (conic.beta()[1] - 0.5).abs() < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fit {
    pub(super) regression: SparseRegression,
    pub(super) penalty: Penalty,
    pub(super) settings: FitSettings,
    pub(super) point: Point,
    support: Vec<usize>,
    knot: Option<Knot>,
    near: Option<Knot>,
    gap: f64,
    sweeps: usize,
    is_exact: bool,
    /// H on the support, where the active set left it.
    pub(super) factor: Option<Factored>,
    pub(super) conic: Option<Arc<ConicFit>>,
}

impl SparseRegression {
    /// The solution for one penalty, from beta = 0.
    ///
    /// # Errors
    /// [`Error::Penalty`], [`Error::Dimension`], [`Error::Setting`]; [`Error::NotConverged`] if the duality gap stays; by the conic
    /// route those of [`crate::solve`] and [`Derivative::new`].
    pub fn fit(&self, penalty: &Penalty, settings: &FitSettings) -> Result<Fit> {
        self.fit_from(penalty, settings, &vec![0.0; self.design().columns()])
    }

    /// The same from a start, p: the coefficients of a penalty nearby. The conic route does not use it.
    ///
    /// # Errors
    /// Those of [`SparseRegression::fit`]; [`Error::Dimension`], [`Error::NonFinite`] for the start.
    pub fn fit_from(
        &self,
        penalty: &Penalty,
        settings: &FitSettings,
        start: &[f64],
    ) -> Result<Fit> {
        settings.validate()?;
        penalty.check(self.design().columns())?;
        check_length("start", self.design().columns(), start.len())?;
        check_finite("start", start)?;
        let found = match settings.route {
            Route::CoordinateDescent => self.descend_from(penalty, settings, start)?,
            Route::Conic => {
                let conic = Twin::new(self, penalty)?.solve(&settings.conic)?;
                Found {
                    point: Point::new(self, penalty, conic.beta()),
                    sweeps: 0,
                    is_exact: true,
                    factor: None,
                    conic: Some(Arc::new(conic)),
                }
            }
        };
        Ok(Fit::new(self, penalty, settings, found))
    }

    /// The fits for one penalty after another, each from the one before: for a path, from large lambda to small.
    ///
    /// # Errors
    /// Those of [`SparseRegression::fit`], at the first penalty that fails.
    pub fn path(&self, penalties: &[Penalty], settings: &FitSettings) -> Result<Vec<Fit>> {
        let mut beta = vec![0.0; self.design().columns()];
        penalties
            .iter()
            .map(|penalty| {
                let fit = self.fit_from(penalty, settings, &beta)?;
                beta.copy_from_slice(fit.beta());
                Ok(fit)
            })
            .collect()
    }

    fn descend_from(
        &self,
        penalty: &Penalty,
        settings: &FitSettings,
        start: &[f64],
    ) -> Result<Found> {
        let zeros = vec![0.0; self.y().len()];
        let scale = self.loss().value(&zeros, self.y()).max(f64::MIN_POSITIVE);
        let mut point = Point::new(self, penalty, start.to_vec());
        let (mut tolerance, mut sweeps) = (1e-2, 0);
        let mut before: Option<Vec<usize>> = None;
        let mut next_try = FIRST_TRY;
        loop {
            limit::check("a sweep of coordinate descent")?;
            let (gap, t) = point.gap(self, penalty);
            let relative = gap / scale;
            let support = nonzero(&point.beta);
            let is_time =
                relative <= TRY || before.as_ref() == Some(&support) || sweeps >= next_try;
            if sweeps >= next_try {
                next_try *= 2;
            }
            if is_time
                && check_order(support.len()).is_ok()
                && let Some(polished) = polish(self, penalty, &point, CHANGES + 2 * support.len())
            {
                return Ok(Found {
                    point: polished.point,
                    sweeps,
                    is_exact: true,
                    factor: polished.factor,
                    conic: None,
                });
            }
            if relative <= settings.gap {
                return Ok(Found {
                    point,
                    sweeps,
                    is_exact: false,
                    factor: None,
                    conic: None,
                });
            }
            if sweeps >= settings.max_sweeps || relative.is_nan() {
                return Err(Error::NotConverged {
                    method: "coordinate descent (relative duality gap)",
                    iterations: sweeps,
                    reached: relative,
                    tolerance: settings.gap,
                });
            }
            let set = working_set(self, penalty, &point, t);
            let limit = SWEEPS.min(settings.max_sweeps - sweeps);
            sweeps += descend(self, penalty, &mut point, &set, tolerance, limit);
            point = Point::new(self, penalty, point.beta);
            tolerance = (0.1 * tolerance).max(1e-14);
            before = Some(support);
        }
    }
}

struct Found {
    point: Point,
    sweeps: usize,
    is_exact: bool,
    factor: Option<Factored>,
    conic: Option<Arc<ConicFit>>,
}

fn nonzero(beta: &[f64]) -> Vec<usize> {
    (0..beta.len()).filter(|&j| beta[j] != 0.0).collect()
}

/// The columns within `factor` of the knot's threshold, and their least margin.
fn knot(columns: &[(usize, f64, f64)], factor: f64) -> Option<Knot> {
    let within: Vec<_> = columns
        .iter()
        .filter(|(_, m, r)| *m <= factor * r)
        .collect();
    let margin = within.iter().map(|c| c.1).fold(f64::INFINITY, f64::min);
    (!within.is_empty()).then(|| Knot {
        columns: within.iter().map(|c| c.0).collect(),
        margin,
    })
}

impl Fit {
    fn new(
        regression: &SparseRegression,
        penalty: &Penalty,
        settings: &FitSettings,
        found: Found,
    ) -> Self {
        let mut point = found.point;
        // (column, margin, threshold) near a knot.
        let mut near = Vec::new();
        let rounding = Rounding::new(regression, penalty, &point);
        for j in (0..point.beta.len()).filter(|&j| regression.square(j) > 0.0) {
            let (b, c, lambda) = (point.beta[j], point.correlations[j], penalty.lambda(j));
            let radius = settings.knot.max(4.0 * rounding.of(j) / lambda);
            let margin = if b == 0.0 {
                (lambda - c.abs()).max(0.0) / lambda
            } else {
                b.abs() * (regression.square(j) + penalty.ridge()) / lambda
            };
            if margin <= NEAR * radius {
                near.push((j, margin, radius));
            }
        }
        let at = knot(&near, 1.0);
        for &j in at.iter().flat_map(|k| &k.columns) {
            point.beta[j] = 0.0;
        }
        let is_near = |c: &(usize, f64, f64)| c.1 > c.2;
        let near: Vec<_> = near.into_iter().filter(is_near).collect();
        let zeros = vec![0.0; regression.y().len()];
        let scale = regression.loss().value(&zeros, regression.y());
        let (gap, _) = point.gap(regression, penalty);
        Self {
            support: nonzero(&point.beta),
            knot: at,
            near: knot(&near, NEAR),
            gap: gap / scale.max(f64::MIN_POSITIVE),
            sweeps: found.sweeps,
            is_exact: found.is_exact,
            factor: found.factor,
            conic: found.conic,
            regression: regression.clone(),
            penalty: penalty.clone(),
            settings: *settings,
            point,
        }
    }

    /// The coefficients, p. Those off the support are exactly 0.
    pub fn beta(&self) -> &[f64] {
        &self.point.beta
    }
    /// X b, n.
    pub fn fitted(&self) -> &[f64] {
        &self.point.fitted
    }
    /// r = -f'(X b), n: y - X b for squares.
    pub fn residual(&self) -> &[f64] {
        &self.point.residual
    }
    /// c = X'r - ridge b, p: lambda_j sign(b_j) on the support, in [-lambda_j, lambda_j] elsewhere.
    pub fn correlations(&self) -> &[f64] {
        &self.point.correlations
    }
    /// The columns with nonzero coefficients, in increasing order.
    pub fn support(&self) -> &[usize] {
        &self.support
    }
    /// The columns whose coefficients are 0 and whose correlations are at their bounds, if there are any: the solution is at a knot
    /// of its path, and has two one-sided derivatives in lambda.
    pub fn knot(&self) -> Option<&Knot> {
        self.knot.as_ref()
    }
    /// Duality gap relative to f(0): rounding if the fit is exact.
    pub fn gap(&self) -> f64 {
        self.gap
    }
    /// Sweeps of coordinate descent; 0 by the conic route.
    pub fn sweeps(&self) -> usize {
        self.sweeps
    }
    /// True if the active set (or Newton on the cone program) ended at the solution; false if coordinate descent's own point was kept,
    /// which happens where columns depend on each other. Its derivatives are then not trusted.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }
    /// The objective.
    pub fn objective(&self) -> f64 {
        self.point.value(&self.regression, &self.penalty)
    }
    /// The regression.
    pub fn regression(&self) -> &SparseRegression {
        &self.regression
    }
    /// The penalty.
    pub fn penalty(&self) -> &Penalty {
        &self.penalty
    }
    /// The derivative of the cone program, by the conic route.
    pub fn conic(&self) -> Option<&Derivative> {
        self.conic.as_ref().map(|c| &c.derivative)
    }

    /// What is doubtful about the point.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.is_exact {
            warnings.push(Warning::NotRefined { residual: self.gap });
        }
        warnings.extend(self.knot.clone().map(Warning::AtKnot));
        warnings.extend(self.near.clone().map(Warning::NearKnot));
        warnings
    }

    /// The derivative of the coefficients in the penalty, y and X.
    ///
    /// # Errors
    /// [`Error::DependentColumns`] where X_E'WX_E + ridge I is singular on the columns E that reach their lambda: the solution is not
    /// unique, or not differentiable.
    pub fn derivative(&self) -> Result<FitDerivative<'_>> {
        FitDerivative::new(self)
    }
}
