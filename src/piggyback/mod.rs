//! Derivatives along nonsmooth fixed-point iterations.
//!
//! ```text
//! x_{k+1} = G(x_k, theta),   J_{k+1} = A_k J_k + B_k,   [A_k B_k] an element of the conservative Jacobian of G at (x_k, theta)
//! ```
//!
//! x: n, theta: p, J: n x p, A: n x n, B: n x p. Where every A is a contraction, in one norm for all, the J_k converge linearly
//! to elements of a conservative Jacobian of the limit x(theta), and where that is differentiable to its derivative
//! (I - A)^-1 B. Where A is no contraction they may diverge although the iterates converge: every run is measured.
//!
//! * A [`ParametricMap`] is G, or a part of it: its value and one element of its Jacobian as an operator.
//! * [`Piggyback`] runs it: [`Piggyback::jacobian`] and [`Piggyback::along`] forward, [`Piggyback::tape`] in reverse,
//!   [`Piggyback::limit`] for the implicit derivative at the limit.
//! * [`Trend`]: the rate at which iterates and derivatives settle; [`Verdict`]: whether the derivative is that of the limit.
//! * Steps ready to use: [`GradientDescent`], [`HeavyBall`], [`ForwardBackward`], [`DouglasRachford`], [`Admm`], put together from gradients
//!   ([`LeastSquares`], [`AsymmetricSquares`]) and proximal maps ([`SoftThreshold`], [`BoxProjection`], [`ConeProjection`],
//!   [`LeastSquaresProx`], [`LogDetProx`]). Their parameters are theta = (lambda, y): the regularization's weight, then those of the data term.
//!
//! # References
//! Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022: contractive steps and their limit,
//! the splitting algorithms, the heavy ball's failure. Gilbert, Automatic differentiation and iterative processes, 1992: the
//! smooth case.

mod admm;
mod dense;
mod descent;
mod forward;
mod kink_weight;
mod limit;
mod loss;
mod map;
mod prox;
mod reverse;
mod settings;
mod smooth_prox;
mod splitting;
mod trend;

pub use admm::Admm;
pub use descent::{Descended, GradientDescent, HeavyBall};
pub use forward::{Piggyback, Propagated, Stop, Verdict};
pub use kink_weight::KinkWeight;
pub use limit::LimitDerivative;
pub use loss::{AsymmetricSquares, LeastSquares};
pub use map::ParametricMap;
pub use prox::{BoxProjection, ConeProjection, SoftThreshold, Thresholded};
pub use reverse::{ReverseGradient, Tape};
pub use settings::{PiggybackSettings, Storage};
pub use smooth_prox::{LeastSquaresProx, LogDetProx, ProximalStep, Rotated};
pub use splitting::{DouglasRachford, ForwardBackward};
pub use trend::{Tendency, Trend};
