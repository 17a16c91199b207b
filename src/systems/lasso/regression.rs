//! The problem: data, loss, and its largest lambda.

use super::design::Design;
use super::loss::Loss;
use crate::error::{Error, Result};
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::tangent::{dot, norm_max};
use std::sync::Arc;

/// A sparse regression: the data of
///
/// ```text
/// minimize f(X b) + sum_j lambda_j |b_j| + ridge/2 |b|^2
/// ```
///
/// with f half the squared distance to y, or the logistic loss of the labels y. There is no intercept: center y and the columns of X
/// for one. Note that 1/2 |X b - y|^2 is not divided by n: lambda is n times scikit-learn's alpha. Cloning shares the data.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::{Design, FitSettings, Penalty, SparseRegression};
/// // X = I: soft thresholding of y.
/// let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, -0.5])?;
/// assert_eq!(regression.lambda_max(), 3.0);
/// let fit = regression.fit(&Penalty::lasso(1.0), &FitSettings::default())?;
/// assert_eq!(fit.beta(), [2.0, 0.0]);
/// // beta_1 = 3 - lambda
/// assert_eq!(fit.derivative()?.in_parameter(0)?.value, vec![-1.0, 0.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Tibshirani, Regression shrinkage and selection via the Lasso, 1996. Zou, Hastie, Regularization and variable selection via the
/// elastic net, 2005.
#[derive(Debug, Clone)]
pub struct SparseRegression {
    design: Design,
    y: Arc<[f64]>,
    loss: Loss,
    /// |X_j|^2.
    squares: Arc<[f64]>,
}

impl SparseRegression {
    /// f = 1/2 |X b - y|^2, y: n. With [`crate::systems::lasso::Penalty::lasso`] the Lasso, with `weighted` the weighted (adaptive) one,
    /// with `elastic_net` the elastic net.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`] (squares that overflow included), [`Error::Empty`] without a column; [`Error::ZeroColumn`]; [`Error::NoSignal`] if
    /// X'y = 0.
    pub fn least_squares(design: Design, y: Vec<f64>) -> Result<Self> {
        Self::new(design, y, Loss::Squares)
    }

    /// f = sum_i log(1 + exp(-y_i x_i'b)), labels y_i = -1 or 1: n.
    ///
    /// # Errors
    /// Those of [`SparseRegression::least_squares`]; [`Error::Label`].
    pub fn logistic(design: Design, labels: Vec<f64>) -> Result<Self> {
        Self::new(design, labels, Loss::Logistic)
    }

    fn new(design: Design, y: Vec<f64>, loss: Loss) -> Result<Self> {
        let made = Self::held_out(design, y, loss)?;
        // Their squares decide what is rounding.
        check_finite("squared length of a column of X", &made.squares)?;
        check_finite("squared length of y", &[dot(&made.y, &made.y)])?;
        if let Some(column) = made.squares.iter().position(|s| *s == 0.0) {
            return Err(Error::ZeroColumn { column });
        }
        if made.lambda_max() == 0.0 {
            return Err(Error::NoSignal);
        }
        Ok(made)
    }

    /// Samples to be predicted: a column may be zero there, and y.
    pub(super) fn held_out(design: Design, y: Vec<f64>, loss: Loss) -> Result<Self> {
        check_length("y", design.rows(), y.len())?;
        check_finite("y", &y)?;
        if design.columns() == 0 || design.rows() == 0 {
            return Err(Error::Empty {
                what: "the design matrix",
            });
        }
        let wrong = y.iter().position(|y| y.abs() != 1.0);
        match wrong.filter(|_| loss == Loss::Logistic) {
            Some(index) => Err(Error::Label {
                index,
                value: y[index],
            }),
            None => Ok(Self::unchecked(design, y, loss)),
        }
    }

    /// Some samples of a regression: a column may be zero there, and y.
    pub(super) fn unchecked(design: Design, y: Vec<f64>, loss: Loss) -> Self {
        let square = |j: usize| {
            let mut sum = 0.0;
            design.for_each(j, |_, x| sum += x * x);
            sum
        };
        let squares = (0..design.columns()).map(square).collect();
        Self {
            design,
            y: y.into(),
            loss,
            squares,
        }
    }

    /// The same regression of another y.
    pub(super) fn with_y(&self, y: Vec<f64>) -> Self {
        Self {
            y: y.into(),
            ..self.clone()
        }
    }

    /// The samples listed.
    pub(super) fn select(&self, rows: &[usize]) -> Result<Self> {
        let design = self.design.select_rows(rows)?;
        let y = rows.iter().map(|&i| self.y[i]).collect();
        Ok(Self::unchecked(design, y, self.loss))
    }

    /// X.
    pub fn design(&self) -> &Design {
        &self.design
    }
    /// y: n.
    pub fn y(&self) -> &[f64] {
        &self.y
    }
    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }
    /// |X_j|^2.
    pub(super) fn square(&self, j: usize) -> f64 {
        self.squares[j]
    }

    /// The largest lambda with a nonzero coefficient below it: max_j |X_j'r|, r = -f'(0), which is y for squares and y/2 for the
    /// logistic loss.
    pub fn lambda_max(&self) -> f64 {
        let r = self.loss.residual(&vec![0.0; self.y.len()], &self.y);
        norm_max(&self.design.correlations(&r))
    }

    /// `count` values of lambda from [`SparseRegression::lambda_max`] down to `ratio` times it, equally spaced in their logarithms.
    ///
    /// # Errors
    /// [`Error::Setting`] unless ratio is in (0, 1) and count at least 2.
    pub fn lambda_grid(&self, ratio: f64, count: usize) -> Result<Vec<f64>> {
        if !(ratio > 0.0 && ratio < 1.0) {
            return Err(Error::Setting {
                name: "ratio",
                value: ratio,
                allowed: "in (0, 1)",
            });
        }
        if count < 2 {
            return Err(Error::Setting {
                name: "count",
                value: count as f64,
                allowed: "at least 2",
            });
        }
        let (largest, steps) = (self.lambda_max(), (count - 1) as f64);
        Ok((0..count)
            .map(|k| largest * ratio.powf(k as f64 / steps))
            .collect())
    }
}
