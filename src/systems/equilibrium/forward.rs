//! Finding the equilibrium by operator splitting.
//!
//! ```text
//! forward-backward     z <- prox_a( z - a ((I - W) z - c) ),                               a < 2 m / |I - W|^2 suffices
//! Peaceman-Rachford    y <- (I + a (I - W))^-1 (2 z - u + a c),  u <- u + 2 (y - z),  z <- prox_a(u),       any a > 0
//! ```
//!
//! with c = Ux + b and prox_a the proximal map of a times the activation's function.
//!
//! # References
//! Winston, Kolter, Monotone operator equilibrium networks, 2020, Algorithms 1 and 2.

use super::layer::{EquilibriumLayer, complement, to_dense};
use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use crate::limit;
use crate::settings::check_positive;
use faer::Mat;
use faer::linalg::solvers::Solve;

/// The splitting, with its step a.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer, EquilibriumSettings};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// # let w = dense(2, 2, &[-9.0, 0.0, 0.0, 0.0]);
/// # let layer = EquilibriumLayer::from_operator(w, dense(2, 1, &[1.0, 1.0]), vec![0.0; 2], Activation::Relu)?;
/// # let x = dense(1, 1, &[1.0]);
/// use conediff::systems::equilibrium::Iteration;
/// // I - W = diag(10, 1): z = (1/10, 1) for x = 1
/// let forward = |iteration| layer.forward(&x, &EquilibriumSettings { iteration, ..EquilibriumSettings::default() });
/// let plain = forward(Iteration::ForwardBackward { step: None })?;
/// let solved = forward(Iteration::PeacemanRachford { step: None })?;
/// assert!((plain.z.data[1] - 1.0).abs() < 1e-6 && (solved.z.data[1] - 1.0).abs() < 1e-6);
/// assert!(solved.iterations < plain.iterations);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Iteration {
    /// One product with W an iteration. Without a step, m / |I - W|^2, which always converges.
    ForwardBackward {
        /// Positive.
        step: Option<f64>,
    },
    /// One solve with a factorization made once: fewer iterations, and convergence with any step. Without one, 1 / |I - W|.
    PeacemanRachford {
        /// Positive.
        step: Option<f64>,
    },
}

/// How the equilibrium is found.
///
/// ```
/// # use conediff::{DenseMatrix, Error};
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// # let w = dense(2, 2, &[-9.0, 0.0, 0.0, 0.0]);
/// # let layer = EquilibriumLayer::from_operator(w, dense(2, 1, &[1.0, 1.0]), vec![0.0; 2], Activation::Relu)?;
/// # let x = dense(1, 1, &[1.0]);
/// use conediff::systems::equilibrium::EquilibriumSettings;
/// // z = relu(W z + x) with I - W = diag(10, 1)
/// let iterations = |tolerance| {
///     let settings = EquilibriumSettings { tolerance, ..EquilibriumSettings::default() };
///     layer.forward(&x, &settings).map(|equilibrium| equilibrium.iterations)
/// };
/// assert!(iterations(1e-3)? < iterations(1e-10)?);
/// let few = EquilibriumSettings { max_iterations: 2, ..EquilibriumSettings::default() };
/// assert!(matches!(layer.forward(&x, &few), Err(Error::NotConverged { iterations: 2, .. })));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EquilibriumSettings {
    /// Default Peaceman-Rachford.
    pub iteration: Iteration,
    /// The change of z in one iteration, relative to z, at which every column must arrive. Default 1e-10.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Default 10000: m = 0.1 takes some hundreds.
    pub max_iterations: usize,
}

impl Default for EquilibriumSettings {
    fn default() -> Self {
        Self {
            iteration: Iteration::PeacemanRachford { step: None },
            tolerance: 1e-10,
            max_iterations: 10_000,
        }
    }
}

/// z with how it was found.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer, EquilibriumSettings};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// # let layer = EquilibriumLayer::from_operator(dense(1, 1, &[0.5]), dense(1, 1, &[1.0]), vec![0.0], Activation::Relu)?;
/// use conediff::systems::equilibrium::Equilibrium;
/// // z = relu(z / 2 + x), for x = 3 and x = -1: 2 x and 0
/// let Equilibrium { z, change, .. } = layer.forward(&dense(1, 2, &[3.0, -1.0]), &EquilibriumSettings::default())?;
/// assert!((z.data[0] - 6.0).abs() < 1e-8 && z.data[1] == 0.0);
/// assert!(change <= 1e-10);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Equilibrium {
    /// n x the columns of x.
    pub z: DenseMatrix,
    /// Iterations, those of the slowest column.
    pub iterations: usize,
    /// The largest relative change of a column in the last one.
    pub change: f64,
}

impl EquilibriumLayer {
    /// z for every column of x (p x columns), from z = 0.
    ///
    /// # Errors
    /// [`Error::NotConverged`] with the iterations and the last change; [`Error::Setting`], [`Error::Dimension`],
    /// [`Error::NonFinite`].
    pub fn forward(&self, x: &DenseMatrix, settings: &EquilibriumSettings) -> Result<Equilibrium> {
        check_positive("tolerance", settings.tolerance)?;
        let c = self.injected(x)?;
        let (n, columns) = (self.n(), x.cols);
        let (method, step) = match settings.iteration {
            Iteration::ForwardBackward { step } => {
                let own = self.modulus() / (self.lipschitz() * self.lipschitz());
                ("forward-backward", step.unwrap_or(own))
            }
            Iteration::PeacemanRachford { step } => {
                ("Peaceman-Rachford", step.unwrap_or(1.0 / self.lipschitz()))
            }
        };
        if n == 0 {
            return Ok(Equilibrium {
                z: to_dense(&Mat::zeros(n, columns)),
                iterations: 0,
                change: 0.0,
            });
        }
        check_positive("step", step)?;
        let monotone = complement(&self.w);
        let resolvent = Mat::from_fn(n, n, |i, j| {
            let identity = if i == j { 1.0 } else { 0.0 };
            identity + step * monotone[(i, j)]
        });
        let factored = match settings.iteration {
            Iteration::PeacemanRachford { .. } => Some(resolvent.partial_piv_lu()),
            Iteration::ForwardBackward { .. } => None,
        };
        let mut z = Mat::<f64>::zeros(n, columns);
        let mut u = z.clone();
        let mut change = f64::INFINITY;
        for iteration in 1..=settings.max_iterations {
            limit::check("an iteration of the equilibrium")?;
            let before_prox = match &factored {
                Some(lu) => {
                    let rhs = Mat::from_fn(n, columns, |i, j| {
                        2.0 * z[(i, j)] - u[(i, j)] + step * c[(i, j)]
                    });
                    let y = lu.solve(&rhs);
                    u = Mat::from_fn(n, columns, |i, j| u[(i, j)] + 2.0 * (y[(i, j)] - z[(i, j)]));
                    u.clone()
                }
                None => {
                    let product = &monotone * &z;
                    Mat::from_fn(n, columns, |i, j| {
                        z[(i, j)] - step * (product[(i, j)] - c[(i, j)])
                    })
                }
            };
            let next = Mat::from_fn(n, columns, |i, j| {
                self.activation.prox(before_prox[(i, j)], step)
            });
            change = (0..columns).fold(0.0, |m: f64, j| worse(m, column_change(&z, &next, j)));
            z = next;
            if change <= settings.tolerance {
                return Ok(Equilibrium {
                    z: to_dense(&z),
                    iterations: iteration,
                    change,
                });
            }
            if change.is_nan() {
                // It left the numbers there are.
                return Err(not_converged(method, iteration, f64::INFINITY, settings));
            }
        }
        let iterations = settings.max_iterations;
        Err(not_converged(method, iterations, change, settings))
    }
}

fn not_converged(
    method: &'static str,
    iterations: usize,
    change: f64,
    settings: &EquilibriumSettings,
) -> Error {
    Error::NotConverged {
        method,
        iterations,
        reached: change,
        tolerance: settings.tolerance,
    }
}

fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// |next - z| / |next| in column j; 0 where nothing changed.
fn column_change(z: &Mat<f64>, next: &Mat<f64>, j: usize) -> f64 {
    let sum = |f: &dyn Fn(usize) -> f64| (0..z.nrows()).map(|i| f(i).powi(2)).sum::<f64>().sqrt();
    let change = sum(&|i| next[(i, j)] - z[(i, j)]);
    if change == 0.0 {
        return 0.0;
    }
    let size = sum(&|i| next[(i, j)]);
    if change.is_infinite() || size.is_infinite() {
        return f64::NAN;
    }
    change / size
}
