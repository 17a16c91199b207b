//! The penalty and its parameters.

use crate::error::{Error, Result};
use crate::program::check_length;

/// The penalty of a sparse regression and the parameters it is differentiated in:
///
/// ```text
/// sum_j lambda_j |b_j| + ridge/2 |b|^2
/// ```
///
/// Its parameters are, in this order, lambda (one for all columns, or one for each) and the ridge if there is one.
///
/// ```
/// use conediff::systems::lasso::Penalty;
/// assert_eq!(Penalty::lasso(0.5).parameters(), vec![0.5]);
/// assert_eq!(Penalty::weighted(vec![0.5, 2.0]).parameters(), vec![0.5, 2.0]);
/// assert_eq!(Penalty::elastic_net(0.5, 0.1).parameters(), vec![0.5, 0.1]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Penalty {
    l1: L1,
    ridge: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum L1 {
    Uniform(f64),
    Each(Vec<f64>),
}

impl Penalty {
    /// lambda |b|_1: one parameter.
    pub fn lasso(lambda: f64) -> Self {
        Self {
            l1: L1::Uniform(lambda),
            ridge: None,
        }
    }

    /// sum_j lambda_j |b_j|: p parameters.
    pub fn weighted(lambda: Vec<f64>) -> Self {
        Self {
            l1: L1::Each(lambda),
            ridge: None,
        }
    }

    /// lambda |b|_1 + ridge/2 |b|^2: two parameters.
    pub fn elastic_net(lambda: f64, ridge: f64) -> Self {
        Self::lasso(lambda).with_ridge(ridge)
    }

    /// With ridge/2 |b|^2 besides, whose weight becomes the last parameter.
    pub fn with_ridge(self, ridge: f64) -> Self {
        Self {
            ridge: Some(ridge),
            ..self
        }
    }

    /// The parameters.
    pub fn parameters(&self) -> Vec<f64> {
        let mut all = match &self.l1 {
            L1::Uniform(lambda) => vec![*lambda],
            L1::Each(lambda) => lambda.clone(),
        };
        all.extend(self.ridge);
        all
    }

    /// The same penalty with other parameters.
    ///
    /// # Errors
    /// [`Error::Dimension`].
    pub fn with_parameters(&self, parameters: &[f64]) -> Result<Self> {
        check_length("parameters", self.count(), parameters.len())?;
        let of_l1 = self.l1_count();
        Ok(Self {
            l1: match self.l1 {
                L1::Uniform(_) => L1::Uniform(parameters[0]),
                L1::Each(_) => L1::Each(parameters[..of_l1].to_vec()),
            },
            ridge: self.ridge.map(|_| parameters[of_l1]),
        })
    }

    /// The logarithms of the parameters.
    pub fn logs(&self) -> Vec<f64> {
        self.parameters().iter().map(|t| t.ln()).collect()
    }

    /// The same penalty with the exponentials of these parameters.
    ///
    /// # Errors
    /// [`Error::Dimension`].
    pub fn with_logs(&self, logs: &[f64]) -> Result<Self> {
        let parameters: Vec<f64> = logs.iter().map(|t| t.exp()).collect();
        self.with_parameters(&parameters)
    }

    /// The number of parameters.
    pub fn count(&self) -> usize {
        self.l1_count() + usize::from(self.ridge.is_some())
    }

    /// lambda_j. Column j must be one of the columns.
    pub(super) fn lambda(&self, j: usize) -> f64 {
        match &self.l1 {
            L1::Uniform(lambda) => *lambda,
            L1::Each(lambda) => lambda[j],
        }
    }

    pub(super) fn ridge(&self) -> f64 {
        self.ridge.unwrap_or(0.0)
    }

    /// The parameter that is lambda_j.
    pub(super) fn parameter_of(&self, j: usize) -> usize {
        match self.l1 {
            L1::Uniform(_) => 0,
            L1::Each(_) => j,
        }
    }

    /// The parameter that is the ridge.
    pub(super) fn ridge_parameter(&self) -> Option<usize> {
        self.ridge.map(|_| self.l1_count())
    }

    fn l1_count(&self) -> usize {
        match &self.l1 {
            L1::Uniform(_) => 1,
            L1::Each(lambda) => lambda.len(),
        }
    }

    /// [`Error::Dimension`] for a lambda for each of other columns; [`Error::Penalty`].
    pub(super) fn check(&self, columns: usize) -> Result<()> {
        if let L1::Each(lambda) = &self.l1 {
            check_length("lambda", columns, lambda.len())?;
        }
        let wrong = |t: &f64| !(*t > 0.0 && t.is_finite());
        let parameters = self.parameters();
        match parameters.iter().position(wrong) {
            Some(index) => Err(Error::Penalty {
                index,
                value: parameters[index],
            }),
            None => Ok(()),
        }
    }

    /// sum_j lambda_j |b_j| + ridge/2 |b|^2.
    pub(super) fn value(&self, beta: &[f64]) -> f64 {
        let of = |(j, b): (usize, &f64)| self.lambda(j) * b.abs() + 0.5 * self.ridge() * b * b;
        let nonzero = beta.iter().enumerate().filter(|(_, b)| **b != 0.0);
        nonzero.map(of).sum()
    }
}
