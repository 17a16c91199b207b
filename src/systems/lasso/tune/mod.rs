//! Descent on the logarithms of a penalty's parameters, to a point where 0 is a derivative or between two.

mod line;
mod many;

use super::criterion::{Criterion, Evaluation};
use super::penalty::Penalty;
use crate::error::{Error, Result};
use crate::settings::check_positive;

/// Choices of [`tune`].
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, HoldOut, Penalty, SparseRegression, TuneStop, tune};
/// # let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// # let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// # let mut criterion = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// use conediff::systems::lasso::TuneSettings;
/// // Two evaluations, one short step apart
/// let settings = TuneSettings { max_evaluations: 2, first_step: 0.1, ..TuneSettings::default() };
/// let mut tried = Vec::new();
/// let found = tune(&mut criterion, &Penalty::lasso(0.2), &settings, |step| tried.push(step.penalty.logs()[0]))?;
/// assert_eq!((found.stop, found.evaluations), (TuneStop::Limit, 2));
/// assert!((tried[1] - tried[0] - 0.1).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TuneSettings {
    /// Stops where the derivative in log lambda is below this times the criterion, or times a thousandth of its value at the start if that
    /// is more. Default 1e-9: lambda is then right to about 1e-9, and the criterion to 1e-18 of itself.
    pub tolerance: f64,
    /// Evaluations of the criterion. Default 60.
    pub max_evaluations: usize,
    /// Length of the first step in log lambda. Default 0.5; later steps are at most three times the one before.
    pub first_step: f64,
}

impl Default for TuneSettings {
    fn default() -> Self {
        Self {
            tolerance: 1e-9,
            max_evaluations: 60,
            first_step: 0.5,
        }
    }
}

impl TuneSettings {
    /// The derivative that counts as 0.
    fn small(&self, value: f64, first: f64) -> f64 {
        self.tolerance * value.abs().max(1e-3 * first.abs())
    }

    fn validate(&self) -> Result<()> {
        check_positive("tolerance", self.tolerance)?;
        check_positive("first_step", self.first_step)?;
        check_positive("max_evaluations", self.max_evaluations as f64)
    }
}

/// One evaluation of [`tune`].
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, HoldOut, Penalty, SparseRegression, TuneSettings, tune};
/// # let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// # let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// # let mut criterion = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// use conediff::systems::lasso::TuneStep;
/// // beta = 3 - lambda and the hold-out error (2 - beta)^2, from lambda = 1/2
/// let mut steps: Vec<TuneStep> = Vec::new();
/// tune(&mut criterion, &Penalty::lasso(0.5), &TuneSettings::default(), |step| steps.push(step.clone()))?;
/// let first = &steps[0];
/// assert!(first.accepted && (first.value - 0.25).abs() < 1e-12 && (first.gradient[0] + 0.5).abs() < 1e-12);
/// // The steps taken descend.
/// let taken: Vec<f64> = steps.iter().filter(|step| step.accepted).map(|step| step.value).collect();
/// assert!(taken.is_sorted_by(|a, b| a >= b));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TuneStep {
    /// Evaluations so far, from 1.
    pub evaluations: usize,
    /// The penalty tried.
    pub penalty: Penalty,
    /// The criterion there.
    pub value: f64,
    /// Its gradient in the logarithms, an element at a knot.
    pub gradient: Vec<f64>,
    /// Left and right derivative, for a penalty with one parameter.
    pub one_sided: Option<[f64; 2]>,
    /// True if the step was taken: the criterion fell enough, or it is the first point.
    pub accepted: bool,
}

/// Why [`tune`] stopped.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, HoldOut, Penalty, SparseRegression, TuneSettings, tune};
/// # let x = || Design::dense(DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] });
/// # let training = SparseRegression::least_squares(x()?, vec![3.0, 1.0])?;
/// use conediff::systems::lasso::TuneStop;
/// // beta = (3 - lambda, max(1 - lambda, 0)) held against (5/2, -1): the mean error falls up to the knot and grows from there
/// let mut criterion = HoldOut::new(training, x()?, vec![2.5, -1.0], FitSettings::default())?;
/// let found = tune(&mut criterion, &Penalty::lasso(0.5), &TuneSettings::default(), |_| ())?;
/// let TuneStop::Knot { left, right } = found.stop else { panic!("{:?}", found.stop) };
/// assert!((left + 0.5).abs() < 1e-9 && (right - 0.5).abs() < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TuneStop {
    /// The derivative is 0 to the tolerance.
    Stationary,
    /// At a knot, with 0 between the left and the right derivative: a kink of the criterion is its least value here.
    Knot {
        /// Derivative in log lambda to the left, at most 0.
        left: f64,
        /// To the right, at least 0.
        right: f64,
    },
    /// No step descends any more, and this is the norm of the least-norm element of the hull of the gradients
    /// met within the last step. Small beside the gradients if the point is stationary.
    Stalled {
        /// Norm of that element.
        hull: f64,
    },
    /// The limit of evaluations came first.
    Limit,
}

/// What [`tune`] found.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, HoldOut, Penalty, SparseRegression, TuneSettings, tune};
/// # let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// # let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// # let mut criterion = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// use conediff::systems::lasso::Tuned;
/// // beta = 3 - lambda, the hold-out error (2 - beta)^2
/// let found: Tuned = tune(&mut criterion, &Penalty::lasso(0.5), &TuneSettings::default(), |_| ())?;
/// assert!(found.is_converged() && found.best.value < 1e-12);
/// // The fits at the best penalty come with it.
/// let beta: Vec<f64> = found.best.fits().map(|fit| fit.beta()[0]).collect();
/// assert!(beta.len() == 1 && (beta[0] - 2.0).abs() < 1e-6);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The best point, with its fits.
    pub best: Evaluation,
    /// Why it stopped.
    pub stop: TuneStop,
    /// Evaluations of the criterion.
    pub evaluations: usize,
}

impl Tuned {
    /// True unless the limit of evaluations came first.
    pub fn is_converged(&self) -> bool {
        self.stop != TuneStop::Limit
    }
}

/// Descends from a penalty on the logarithms of its parameters; `on_step` hears of every evaluation.
///
/// With one parameter: gradient steps with the curvature of a secant, accepted if the criterion falls by a part of what the derivative
/// promises. Once the least value is between two points, secant and bisection close in; where the pieces on both sides meet at a
/// knot, the knot itself is tried, and taken if 0 is between its one-sided derivatives. With several: BFGS with backtracking.
///
/// The criterion need not be convex: what is found is a local minimum. Start below lambda_max, above which the derivative is 0.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::{
///     Design, FitSettings, HoldOut, Penalty, SparseRegression, TuneSettings, TuneStep, TuneStop, Tuned, tune,
/// };
/// // beta = 3 - lambda; the hold-out error (2 - beta)^2 is least at lambda = 1.
/// let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// let mut criterion = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// let mut evaluations = 0;
/// let count = |_: &TuneStep| evaluations += 1;
/// let found: Tuned = tune(&mut criterion, &Penalty::lasso(0.2), &TuneSettings::default(), count)?;
/// assert!(found.stop == TuneStop::Stationary && found.evaluations == evaluations);
/// assert!((found.best.penalty.parameters()[0] - 1.0).abs() < 1e-8);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`]; those of [`Criterion::evaluate`] and [`Evaluation::one_sided`].
///
/// # References
/// Bertrand et al., Implicit differentiation for fast hyperparameter selection in non-smooth convex learning, 2022, section 4.
pub fn tune(
    criterion: &mut dyn Criterion,
    start: &Penalty,
    settings: &TuneSettings,
    mut on_step: impl FnMut(&TuneStep),
) -> Result<Tuned> {
    settings.validate()?;
    match start.count() {
        0 => Err(Error::Empty {
            what: "the penalty's parameters",
        }),
        1 => line::descend(criterion, start, settings, &mut on_step),
        _ => many::descend(criterion, start, settings, &mut on_step),
    }
}
