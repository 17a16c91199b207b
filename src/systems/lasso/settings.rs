//! Choices of a fit.

use crate::error::Result;
use crate::settings::{Settings, check_positive};

/// How a regression is solved and differentiated.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, Penalty, SparseRegression};
/// # let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// use conediff::systems::lasso::Route;
/// // beta = (3 - lambda, max(1 - lambda, 0)), by both
/// for route in [Route::CoordinateDescent, Route::Conic] {
///     let fit = regression.fit(&Penalty::lasso(2.0), &FitSettings::default().with_route(route))?;
///     assert!((fit.beta()[0] - 1.0).abs() < 1e-9 && fit.beta()[1].abs() < 1e-9);
///     assert_eq!(fit.conic().is_some(), route == Route::Conic);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// Coordinate descent on working sets, then an exact active set; derivatives by one Cholesky factorization of the support. The
    /// default: a thousand columns take milliseconds.
    #[default]
    CoordinateDescent,
    /// As a cone program with b = b+ - b-, by [`crate::solve`] and [`crate::Derivative`]: an independent answer to compare with.
    Conic,
}

/// Choices of a fit.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, Penalty, SparseRegression};
/// # let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// use conediff::systems::lasso::FitSettings;
/// // beta = (3 - lambda, max(1 - lambda, 0)), just above the knot at lambda = 1
/// let fit = |settings: &FitSettings| regression.fit(&Penalty::lasso(1.001), settings);
/// assert!(fit(&FitSettings::default())?.knot().is_none());
/// // With what counts as the knot made wider
/// let wide = FitSettings { knot: 0.01, ..FitSettings::default() };
/// assert!(fit(&wide)?.knot().is_some_and(|knot| knot.columns == [1]));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSettings {
    /// The route. Default: coordinate descent.
    pub route: Route,
    /// Duality gap relative to f(0) at which coordinate descent may stop if the active set fails. Default 1e-10: the active set nearly
    /// always makes it exact before.
    pub gap: f64,
    /// Sweeps of coordinate descent. Default 100,000.
    pub max_sweeps: usize,
    /// A column is at a knot if its correlation is this close to its bound, relative to it, or its coefficient as close to 0. Default
    /// 1e-10: knots are found to about 1e-13.
    pub knot: f64,
    /// The estimated relative error a derivative may have and still be trusted. Default 2e-6, as in [`Settings`].
    pub accuracy: f64,
    /// Choices of the conic route.
    pub conic: Settings,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            route: Route::CoordinateDescent,
            gap: 1e-10,
            max_sweeps: 100_000,
            knot: 1e-10,
            accuracy: 2e-6,
            conic: Settings::default(),
        }
    }
}

impl FitSettings {
    /// With another route.
    pub fn with_route(self, route: Route) -> Self {
        Self { route, ..self }
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_positive("gap", self.gap)?;
        check_positive("knot", self.knot)?;
        check_positive("accuracy", self.accuracy)?;
        check_positive("max_sweeps", self.max_sweeps as f64)?;
        self.conic.validate()
    }
}
