//! The error on samples held out.

use super::{Criterion, Evaluation, Term, in_coefficients};
use crate::error::{Error, Result};
use crate::program::check_length;
use crate::systems::lasso::design::Design;
use crate::systems::lasso::fit::Fit;
use crate::systems::lasso::loss::Loss;
use crate::systems::lasso::penalty::Penalty;
use crate::systems::lasso::regression::SparseRegression;
use crate::systems::lasso::settings::FitSettings;

/// The mean loss of a fit on other samples:
///
/// ```text
/// squares    1/m |X_v b - y_v|^2                       logistic    1/m sum_i log(1 + exp(-y_i x_i'b))
/// ```
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Criterion, Design, FitSettings, Penalty, SparseRegression};
/// # let x = DenseMatrix { rows: 4, cols: 1, data: vec![1.0; 4] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 3.0, 2.0, 2.0])?;
/// use conediff::systems::lasso::HoldOut;
/// // X = (1 ; 1 ; 1 ; 1), y = (3, 3, 2, 2), the last two held out: beta = 3 - lambda / 2
/// let mut criterion = HoldOut::split(&regression, &[2, 3], FitSettings::default())?;
/// assert_eq!(criterion.training().y(), [3.0, 3.0]);
/// let found = criterion.evaluate(&Penalty::lasso(1.0))?;
/// assert!((found.value - 0.25).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HoldOut {
    training: SparseRegression,
    validation: SparseRegression,
    settings: FitSettings,
    last: Vec<f64>,
}

impl HoldOut {
    /// From a regression and the samples held out: a design with the same columns, and y (or labels) with an entry for each of its
    /// rows.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::Label`]; [`Error::Empty`] without a sample.
    pub fn new(
        training: SparseRegression,
        design: Design,
        y: Vec<f64>,
        settings: FitSettings,
    ) -> Result<Self> {
        let columns = training.design().columns();
        check_length("columns of the samples held out", columns, design.columns())?;
        let validation = SparseRegression::held_out(design, y, training.loss())?;
        Ok(Self::from_parts(training, validation, settings))
    }

    /// The rows listed of a regression are held out, the others fitted.
    ///
    /// # Errors
    /// [`Error::Dimension`] for a row that is not below n; [`Error::Empty`] if one of the parts is.
    pub fn split(
        regression: &SparseRegression,
        rows: &[usize],
        settings: FitSettings,
    ) -> Result<Self> {
        let validation = regression.select(rows)?;
        let mut is_out = vec![false; regression.y().len()];
        rows.iter().for_each(|&i| is_out[i] = true);
        let kept: Vec<usize> = (0..is_out.len()).filter(|i| !is_out[*i]).collect();
        for (what, part) in [
            ("the samples held out", rows),
            ("the samples fitted", &kept),
        ] {
            if part.is_empty() {
                return Err(Error::Empty { what });
            }
        }
        Ok(Self::from_parts(
            regression.select(&kept)?,
            validation,
            settings,
        ))
    }

    fn from_parts(
        training: SparseRegression,
        validation: SparseRegression,
        settings: FitSettings,
    ) -> Self {
        let last = vec![0.0; training.design().columns()];
        Self {
            training,
            validation,
            settings,
            last,
        }
    }

    /// The regression that is fitted.
    pub fn training(&self) -> &SparseRegression {
        &self.training
    }

    /// The fit, the error and its gradient in the coefficients.
    pub(super) fn score(&mut self, penalty: &Penalty) -> Result<(Fit, f64, Vec<f64>)> {
        let fit = self
            .training
            .fit_from(penalty, &self.settings, &self.last)?;
        self.last.copy_from_slice(fit.beta());
        let (design, y, loss) = (
            self.validation.design(),
            self.validation.y(),
            self.validation.loss(),
        );
        let fitted = design.product(fit.beta());
        // The loss of squares has a factor 1/2, the mean squared error none.
        let factor = match loss {
            Loss::Squares => 2.0 / y.len() as f64,
            Loss::Logistic => 1.0 / y.len() as f64,
        };
        let value = factor * loss.value(&fitted, y);
        let mut outer = loss.residual(&fitted, y);
        outer.iter_mut().for_each(|r| *r *= -factor);
        let gradient = in_coefficients(design, &fit, &outer);
        Ok((fit, value, gradient))
    }
}

impl Criterion for HoldOut {
    fn evaluate(&mut self, penalty: &Penalty) -> Result<Evaluation> {
        let (fit, value, gradient) = self.score(penalty)?;
        Evaluation::new(penalty, value, vec![Term { fit, gradient }])
    }
}
