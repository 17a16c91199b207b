//! Sparse regressions and the tuning of their penalties.
//!
//! ```text
//! minimize f(X b) + sum_j lambda_j |b_j| + ridge/2 |b|^2,     f = 1/2 |X b - y|^2  or  sum_i log(1 + exp(-y_i x_i'b))
//! ```
//!
//! The Lasso, the weighted Lasso, the elastic net and sparse logistic regression; their derivatives in lambda, the ridge, y and X.
//!
//! # The derivative
//!
//! With c = -X'f'(X b) - ridge b and E = { j : |c_j| = lambda_j }, the solution is unique and has a conservative Jacobian where
//! H = X_E'WX_E + ridge I is positive definite, W = f''(X b):
//!
//! ```text
//! db/dlambda in { -[I - diag(k)(I - H)]^-1 diag(k) sign(c) : k = 1 on the support, k in [0, 1] on the rest of E, k = 0 elsewhere }
//! ```
//!
//! It is one element, the derivative, except at the knots of the path, where a coefficient enters or leaves the support. There the
//! one-sided derivatives differ, and a least value of a criterion can lie: 0 then is between them, and is neither of them.
//!
//! # References
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, section 4.2.
//! Bertrand, Klopfenstein, Massias, Blondel, Vaiter, Gramfort, Salmon, Implicit differentiation for fast hyperparameter selection in
//! non-smooth convex learning, 2022.

mod cholesky;
mod criterion;
mod derivative;
mod descent;
mod design;
mod fit;
mod gram;
mod knots;
mod loss;
mod penalty;
mod polish;
mod regression;
mod settings;
mod tune;
mod twin;

pub use criterion::{Criterion, CrossValidation, Degrees, Evaluation, Folds, HoldOut, Sure};
pub use derivative::{FitCotangent, FitDerivative, FitTangent};
pub use design::Design;
pub use fit::Fit;
pub use loss::Loss;
pub use penalty::Penalty;
pub use regression::SparseRegression;
pub use settings::{FitSettings, Route};
pub use tune::{TuneSettings, TuneStep, TuneStop, Tuned, tune};
