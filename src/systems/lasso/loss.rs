//! The loss f of the fitted values u = X b: squares or logistic.

/// The loss of a sparse regression, as a function of the fitted values u = X b.
///
/// ```
/// # use conediff::{DenseMatrix, Error};
/// # use conediff::systems::lasso::{Design, FitSettings, SparseRegression, Sure};
/// # let x = || Design::dense(DenseMatrix { rows: 2, cols: 1, data: vec![1.0, 2.0] });
/// use conediff::systems::lasso::Loss;
/// let squares = SparseRegression::least_squares(x()?, vec![0.3, 0.7])?;
/// let logistic = SparseRegression::logistic(x()?, vec![-1.0, 1.0])?;
/// assert_eq!((squares.loss(), logistic.loss()), (Loss::Squares, Loss::Logistic));
/// // SURE is for squares.
/// let refused = Sure::new(logistic, 0.1, 0, FitSettings::default());
/// assert!(matches!(refused, Err(Error::Loss { needed: "squares", .. })));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// f(u) = 1/2 |u - y|^2.
    Squares,
    /// f(u) = sum_i log(1 + exp(-y_i u_i)) with labels y_i = -1 or 1.
    Logistic,
}

/// 1 / (1 + exp(m)).
fn wrong(m: f64) -> f64 {
    if m >= 0.0 {
        let e = (-m).exp();
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + m.exp())
    }
}

/// log(1 + exp(-m)).
fn log_loss(m: f64) -> f64 {
    if m >= 0.0 {
        (-m).exp().ln_1p()
    } else {
        -m + m.exp().ln_1p()
    }
}

impl Loss {
    pub(super) fn value(self, u: &[f64], y: &[f64]) -> f64 {
        let pairs = u.iter().zip(y);
        match self {
            Self::Squares => 0.5 * pairs.map(|(u, y)| (u - y) * (u - y)).sum::<f64>(),
            Self::Logistic => pairs.map(|(u, y)| log_loss(y * u)).sum(),
        }
    }

    /// r = -f'(u).
    pub(super) fn residual(self, u: &[f64], y: &[f64]) -> Vec<f64> {
        let pairs = u.iter().zip(y);
        match self {
            Self::Squares => pairs.map(|(u, y)| y - u).collect(),
            Self::Logistic => pairs.map(|(u, y)| y * wrong(y * u)).collect(),
        }
    }

    /// f''(u), or nothing where it is one.
    pub(super) fn curvature(self, u: &[f64], y: &[f64]) -> Option<Vec<f64>> {
        let of = |(u, y): (&f64, &f64)| wrong(y * u) * wrong(-y * u);
        match self {
            Self::Squares => None,
            Self::Logistic => Some(u.iter().zip(y).map(of).collect()),
        }
    }

    /// -f*(-t r), the loss's part of the dual objective at the feasible multiple t of the residual, t in [0, 1].
    pub(super) fn dual(self, r: &[f64], y: &[f64], t: f64) -> f64 {
        let pairs = r.iter().zip(y);
        match self {
            Self::Squares => pairs.map(|(r, y)| t * r * (y - 0.5 * t * r)).sum(),
            Self::Logistic => {
                let entropy = |q: f64| if q > 0.0 { q * q.ln() } else { 0.0 };
                let of = |(r, y): (&f64, &f64)| -> f64 {
                    let q = t * r * y;
                    entropy(q) + entropy(1.0 - q)
                };
                -pairs.map(of).sum::<f64>()
            }
        }
    }
}
