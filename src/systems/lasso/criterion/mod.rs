//! Criteria for choosing a penalty: a value, and its gradient in the logarithms of the parameters.
//!
//! ```text
//! C(t) = F(b_1(t), ..., b_k(t)),    dC/dlog t = t sum_i (db_i/dt)' dF/db_i
//! ```
//!
//! One fit for the hold-out error, one for each fold of cross-validation, two for SURE.

mod cross_validation;
mod folds;
mod hold_out;
mod sure;

pub use cross_validation::CrossValidation;
pub use folds::Folds;
pub use hold_out::HoldOut;
pub use sure::{Degrees, Sure};

use super::derivative::FitTangent;
use super::design::Design;
use super::fit::Fit;
use super::penalty::Penalty;
use crate::derivative::Checked;
use crate::error::{Error, Result};
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::program::check_length;
use crate::tangent::dot;

/// Something to be made small by choosing a penalty.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, HoldOut, SparseRegression, TuneSettings, tune};
/// # let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// # let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// # let hold_out = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// use conediff::systems::lasso::{Criterion, Evaluation, Penalty};
/// /// Another criterion that notes every lambda it is asked for.
/// struct Noted<C>(C, Vec<f64>);
/// impl<C: Criterion> Criterion for Noted<C> {
///     fn evaluate(&mut self, penalty: &Penalty) -> conediff::Result<Evaluation> {
///         self.1.extend(penalty.parameters());
///         self.0.evaluate(penalty)
///     }
/// }
/// // beta = 3 - lambda, the hold-out error (2 - beta)^2
/// let mut criterion = Noted(hold_out, Vec::new());
/// let found = tune(&mut criterion, &Penalty::lasso(0.2), &TuneSettings::default(), |_| ())?;
/// assert!(criterion.1[0] == 0.2 && criterion.1.len() == found.evaluations);
/// # Ok::<(), conediff::Error>(())
/// ```
pub trait Criterion {
    /// The value at a penalty and its gradient. Fits start from those of the last call.
    ///
    /// # Errors
    /// Those of [`super::SparseRegression::fit`] and [`Fit::derivative`].
    fn evaluate(&mut self, penalty: &Penalty) -> Result<Evaluation>;
}

/// A criterion at one penalty.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::{Criterion, Design, FitSettings, HoldOut, Penalty, SparseRegression};
/// // beta = 3 - lambda; the hold-out error (2 - beta)^2 is least at lambda = 1.
/// let x = || Design::dense(DenseMatrix { rows: 1, cols: 1, data: vec![1.0] });
/// let training = SparseRegression::least_squares(x()?, vec![3.0])?;
/// let mut criterion = HoldOut::new(training, x()?, vec![2.0], FitSettings::default())?;
/// let found = criterion.evaluate(&Penalty::lasso(2.0))?;
/// // dC/dlog(lambda) = lambda 2 (lambda - 1)
/// assert!((found.value - 1.0).abs() < 1e-12 && (found.gradient.value[0] - 4.0).abs() < 1e-12);
/// assert!(found.gradient.trusted);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The penalty.
    pub penalty: Penalty,
    /// The criterion.
    pub value: f64,
    /// Its gradient in the logarithms of the penalty's parameters. At a knot an element of its conservative gradient: the parts of all
    /// fits with the coefficients there held at 0. Trusted if that of every fit is; the evidence is that of the least accurate one.
    pub gradient: Checked<Vec<f64>>,
    terms: Vec<Term>,
}

/// A fit and the criterion's gradient in its coefficients.
#[derive(Debug, Clone)]
struct Term {
    fit: Fit,
    gradient: Vec<f64>,
}

impl Evaluation {
    /// From the fits, and the gradient in the coefficients of each.
    fn new(penalty: &Penalty, value: f64, terms: Vec<Term>) -> Result<Self> {
        let mut total = vec![0.0; penalty.count()];
        let (mut warnings, mut meaning) = (Vec::new(), Meaning::Derivative);
        let mut evidence: Option<Evidence> = None;
        let mut trusted = true;
        for Term { fit, gradient } in &terms {
            let found = fit.derivative()?.vjp(gradient)?;
            // A fold's parameters are multiples of the penalty's: their logarithms move alike.
            let parameters = fit.penalty().parameters();
            for ((sum, g), t) in total.iter_mut().zip(&found.value.penalty).zip(&parameters) {
                *sum += g * t;
            }
            trusted &= found.trusted;
            warnings.extend(found.warnings);
            if meaning == Meaning::Derivative {
                meaning = found.meaning;
            }
            let is_worse = |e: &Evidence| found.evidence.error > e.error;
            if evidence.as_ref().is_none_or(is_worse) {
                evidence = Some(found.evidence);
            }
        }
        let evidence = evidence.ok_or(Error::Empty { what: "the fits" })?;
        Ok(Self {
            penalty: penalty.clone(),
            value,
            gradient: Checked {
                value: total,
                meaning,
                evidence,
                trusted,
                warnings,
            },
            terms,
        })
    }

    /// The fits behind it: one for the hold-out error, one for each fold, those of y and of y + epsilon d for SURE.
    pub fn fits(&self) -> impl Iterator<Item = &Fit> {
        self.terms.iter().map(|t| &t.fit)
    }

    /// True if one of the fits is at a knot: the criterion has two one-sided derivatives there.
    pub fn is_at_knot(&self) -> bool {
        self.fits().any(|fit| fit.knot().is_some())
    }

    /// The one-sided derivative along a direction in the logarithms of the parameters.
    ///
    /// # Errors
    /// [`Error::Dimension`]; those of [`super::FitDerivative::directional`].
    pub fn directional(&self, direction: &[f64]) -> Result<f64> {
        check_length("direction", self.penalty.count(), direction.len())?;
        let mut sum = 0.0;
        for Term { fit, gradient } in &self.terms {
            let tangent = tangent(fit, direction);
            sum += dot(gradient, &fit.derivative()?.directional(&tangent)?.value);
        }
        Ok(sum)
    }

    /// The left and the right derivative where all logarithms grow together; for one parameter, in its logarithm. Equal off knots. If 0
    /// is between them, left <= 0 <= right, the point is a local minimum along this line.
    ///
    /// # Errors
    /// Those of [`Evaluation::directional`].
    pub fn one_sided(&self) -> Result<[f64; 2]> {
        let count = self.penalty.count();
        let right = self.directional(&vec![1.0; count])?;
        let left = -self.directional(&vec![-1.0; count])?;
        Ok([left, right])
    }

    /// How far all logarithms can fall, and grow, together before a fit meets a knot: to first order, exact for the Lasso.
    ///
    /// # Errors
    /// Those of [`super::FitDerivative::reach`].
    pub fn reach(&self) -> Result<[f64; 2]> {
        let count = self.penalty.count();
        let mut reach = [f64::INFINITY; 2];
        for (reach, sign) in reach.iter_mut().zip([-1.0, 1.0]) {
            for fit in self.fits() {
                // lambda (1 + sign step)
                let step = fit.derivative()?.reach(&tangent(fit, &vec![sign; count]))?;
                let moved = (1.0 + sign * step).max(0.0).ln().abs();
                *reach = reach.min(moved);
            }
        }
        Ok(reach)
    }
}

/// X'v on the columns whose coefficients move, 0 elsewhere: a pass over few columns.
fn in_coefficients(design: &Design, fit: &Fit, v: &[f64]) -> Vec<f64> {
    if fit.conic().is_some() {
        // Its kinks are its own.
        return design.correlations(v);
    }
    let mut out = vec![0.0; design.columns()];
    let at_knot = fit.knot().into_iter().flat_map(|k| &k.columns);
    for &j in fit.support().iter().chain(at_knot) {
        out[j] = design.gather(j, v);
    }
    out
}

/// The direction in a fit's parameters that a direction in their logarithms is.
fn tangent(fit: &Fit, direction: &[f64]) -> FitTangent {
    let parameters = fit.penalty().parameters();
    let scaled = parameters.iter().zip(direction).map(|(t, d)| t * d);
    FitTangent {
        penalty: scaled.collect(),
        ..FitTangent::default()
    }
}
