//! Cross-validation: the mean of the hold-out errors over folds.

use super::folds::Folds;
use super::hold_out::HoldOut;
use super::{Criterion, Evaluation, Term};
use crate::error::Result;
use crate::program::check_length;
use crate::systems::lasso::penalty::Penalty;
use crate::systems::lasso::regression::SparseRegression;
use crate::systems::lasso::settings::FitSettings;

/// The mean over folds of the hold-out error ([`HoldOut`]), each fold held out once: a fit and a derivative for each.
///
/// The loss is a sum over samples, so that the fit on a part of them has a smaller lambda for the same effect: with `scaled` true each
/// fold's lambda (and ridge) is multiplied by its share of the samples, as in programs that divide the loss by n.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::{Criterion, CrossValidation, Design, FitSettings, Folds, Penalty, SparseRegression};
/// let x = DenseMatrix { rows: 4, cols: 1, data: vec![1.0, 1.0, 1.0, 1.0] };
/// let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 3.0, 3.0, 3.0])?;
/// let folds = Folds::in_order(4, 2)?;
/// let mut criterion = CrossValidation::new(&regression, &folds, true, FitSettings::default())?;
/// // alpha = 1/4 on two samples: beta = 3 - 1/4.
/// let found = criterion.evaluate(&Penalty::lasso(1.0))?;
/// assert!((found.value - 1.0 / 16.0).abs() < 1e-12 && (found.gradient.value[0] - 0.125).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CrossValidation {
    /// Each with the factor of its penalty.
    folds: Vec<(HoldOut, f64)>,
}

impl CrossValidation {
    /// From a regression and the folds of its samples.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] for folds of another number of samples.
    pub fn new(
        regression: &SparseRegression,
        folds: &Folds,
        scaled: bool,
        settings: FitSettings,
    ) -> Result<Self> {
        let n = regression.y().len();
        check_length("samples of the folds", n, folds.samples())?;
        let fold = |part: &Vec<usize>| {
            let share = (n - part.len()) as f64 / n as f64;
            let factor = if scaled { share } else { 1.0 };
            Ok((HoldOut::split(regression, part, settings)?, factor))
        };
        Ok(Self {
            folds: folds.parts().iter().map(fold).collect::<Result<_>>()?,
        })
    }
}

impl Criterion for CrossValidation {
    fn evaluate(&mut self, penalty: &Penalty) -> Result<Evaluation> {
        let share = 1.0 / self.folds.len() as f64;
        let mut value = 0.0;
        let mut terms = Vec::with_capacity(self.folds.len());
        for (fold, factor) in &mut self.folds {
            let parameters: Vec<f64> = penalty.parameters().iter().map(|t| t * *factor).collect();
            let own = penalty.with_parameters(&parameters)?;
            let (fit, error, mut gradient) = fold.score(&own)?;
            value += share * error;
            gradient.iter_mut().for_each(|g| *g *= share);
            terms.push(Term { fit, gradient });
        }
        Evaluation::new(penalty, value, terms)
    }
}
