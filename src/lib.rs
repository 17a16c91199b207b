//! Differentiate any cone program.
//!
//! conediff solves
//!
//! ```text
//! minimize 1/2 x'Px + q'x   subject to   Ax + s = b,  s in K        (dual: z in K*, Px + A'z + q = 0)
//! ```
//!
//! for K a product of zero, nonnegative, second-order, PSD, exponential, power and generalized power cones, and
//! gives the derivatives of x, z and s with respect to P, q, A and b, forward ([`Derivative::jvp`]) and reverse
//! ([`Derivative::vjp`]). Every derivative says how right it is: its linear residual, a condition estimate, and
//! whether the solution map is differentiable there at all ([`Checked`]).
//!
//! # Quick start
//!
//! ```
//! use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
//!
//! // minimize 1/2 |x|^2 - x1 - x2 subject to x1 + x2 <= 1
//! let program = ConeProgram::from_csc(
//!     (&[0, 1, 2], &[0, 1], &[1.0, 1.0]), vec![-1.0, -1.0],
//!     (&[0, 1, 2], &[0, 0], &[1.0, 1.0]), vec![1.0],
//!     vec![Cone::Nonnegative(1)],
//! )?;
//! let settings = Settings::default();
//! let solution = solve(&program, &settings)?;
//! let derivative = Derivative::new(&program, &solution, &settings)?;
//!
//! // The gradient of x1 in the data: d x1 / d b = 1/2.
//! let mut seed = SolutionTangent::zeros(&program);
//! seed.x[0] = 1.0;
//! let gradient = derivative.vjp(&seed)?;
//! assert!(gradient.trusted && gradient.evidence.residual < 1e-12);
//! assert!((gradient.value.b[0] - 0.5).abs() < 1e-12);
//! # Ok::<(), conediff::Error>(())
//! ```
//!
//! # Conventions
//!
//! * Shapes: x: n; z, s, b: m; P: n x n, upper triangle stored; A: m x n. Rows follow the cones' order.
//! * PSD rows are the upper triangle column by column, off-diagonals times sqrt 2 ([`svec`]).
//! * Gradients come back on the stored patterns in the caller's order, explicit zeros included. An entry of P off the
//!   diagonal stands for both mirrored copies; its gradient is with respect to that stored value.
//! * A nonnegative row with b >= 1e20 or infinite is no constraint: z = 0, s = b, its gradients are zero.
//! * The library is unit-free; tolerances are relative to data of order one.
//!
//! # How it works
//!
//! With v = z - s the optimality conditions are one equation F(x, v) = 0 built from the projection onto K*
//! (mod `residual`). The solver's point is refined by semismooth Newton on F to rounding ([`refine()`]); an element J
//! of F's conservative Jacobian then gives the derivative by one linear solve, LDL' of a reduced symmetric system
//! refined against J itself ([`Prepared`]). When every element of the conservative Jacobian is invertible this is the
//! derivative in the sense of nonsmooth implicit differentiation; at a kink or a singular point the result says so, and
//! [`Derivative::regularity`] tests that hypothesis exactly. What can be done where it fails is in docs/nonsmooth.md: selections
//! ([`Selection`]), one-sided derivatives ([`Derivative::directional`]), policies ([`Policy`]).
//!
//! # Guides
//!
//! [`guide::mathematics`] has the equations and their hypotheses, [`guide::choosing`] says which interface, method and setting to take,
//! [`guide::untrusted`] what to do about each warning, [`guide::verifying`] how to check a derivative, and [`guide::limitations`] what is
//! not supported. docs/architecture.md is for those who change the crate.
//!
//! # Crate layout, in the order data flows
//!
//! | file | subject |
//! |---|---|
//! | `exact`, `error`, `limit`, `memory` | numbers in JSON, bit for bit; everything that can go wrong; budgets of time, and a handle to stop; room for what is large |
//! | `cone`, `svec`, `pattern` | cones and their rows; the scaled triangle; validated sparse structure |
//! | `program`, `ridge`, `builder`, `json` | the problem; with a ridge; building it block by block; Clarabel's JSON |
//! | `settings`, `solution`, `tangent`, `random` | choices; results; directions in data and solution; random numbers by seed |
//! | `projection/` | projection onto K*, element of its Jacobian, margin; smoothed projections; one file for each cone |
//! | `solve`, `lapack` | the only call of Clarabel; the BLAS and LAPACK symbols its PSD cone needs |
//! | `dense_qp/` | a dense interior-point method for small quadratic programs |
//! | `residual` | F, its Jacobian, its derivative in the data |
//! | `linsolve/` | J u = r and J'w = g: LDL', LU, LSQR, refinement, evidence |
//! | `newton`, `kink`, `point`, `refine` | semismooth Newton; kinks and warnings; the point's own error; solving and refining |
//! | `meaning`, `selection` | what a derivative is; which element of the conservative Jacobian is taken at a kink |
//! | `response`, `certificate` | how the system answers along a kink's directions; is every element invertible |
//! | `smoothing`, `lagrangian` | points of the central path; finite steps of the optimal value's gradient |
//! | `derivative/`, `jacobian` | JVP and VJP, the verdict on them, what singular points leave open, policies; the Jacobian |
//! | `ambiguity`, `directional`, `regularity` | other elements at a kink; one-sided derivatives; the report |
//! | `parametrization` | affine maps from parameters to data, there and back |
//! | `layer/` | one structure, many data: cheap forwards, warm starts, batches |
//! | `bundle/` | a failure as one file, to be computed again elsewhere |
//! | `gradcheck`, `generate` | finite differences done right; random programs with known derivatives |
//! | `hull` | the least-norm element of the hull of gradients: stationarity at a kink |
//! | `spectrum`, `operator`, `chain` | extreme eigenvalues; linear maps known by their products; the chain rule with its verdict |
//! | `implicit/` | the implicit function theorem for a user's own equation F(x, y) = 0: derivatives and hypothesis |
//! | `variational/` | variational inequalities: a monotone P that need not be symmetric |
//! | `cycle`, `monitor` | what can be seen of trouble in training: jumps, kinks, rows about to switch, cycles |
//! | `piggyback/` | derivatives along a fixed-point iteration, and at its limit |
//! | `systems/` | built on all this: monotone equilibrium layers, sparse regressions and the tuning of their penalties |
//! | `integration/` | layers on the tensors of burn and candle (features of those names) |
//! | `guide` | the guides of docs/, as pages of this documentation |
//! | `bin/conediff` | the command-line tool (feature `cli`) |
//!
//! Imports run down this list, never up; a test holds the sources to it.
//!
//! # References
//!
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021.
//! Busseti, Moursi, Boyd, Solution refinement at regular points of conic problems, 2019. Agrawal, Barratt, Boyd, Busseti,
//! Moursi, Differentiating through a cone program, 2019. Healey, Nobel, Boyd, Differentiating through a quadratic cone
//! program, 2025. Goulart, Chen, Clarabel, 2024.

#![deny(unsafe_code)]
#![warn(missing_docs)]
// Nothing a caller can pass panics.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented
    )
)]

mod ambiguity;
mod builder;
mod bundle;
mod certificate;
mod chain;
mod cone;
mod cycle;
mod dense_qp;
mod derivative;
mod directional;
mod error;
mod exact;
mod generate;
mod gradcheck;
pub mod guide;
mod hull;
mod implicit;
#[cfg(any(feature = "burn", feature = "candle"))]
pub mod integration;
mod jacobian;
mod json;
mod kink;
mod lagrangian;
#[cfg(not(feature = "system-lapack"))]
mod lapack;
mod layer;
mod limit;
mod linsolve;
mod meaning;
mod memory;
mod monitor;
mod newton;
mod operator;
mod parametrization;
mod pattern;
pub mod piggyback;
mod point;
mod program;
mod projection;
mod random;
mod refine;
mod regularity;
mod residual;
mod response;
mod ridge;
mod selection;
mod settings;
mod smoothing;
mod solution;
mod solve;
mod spectrum;
pub mod svec;
pub mod systems;
mod tangent;
mod variational;

pub use ambiguity::Ambiguity;
pub use builder::{Affine, ProgramBuilder};
pub use bundle::{Build, Bundle, Difference, Replay};
pub use certificate::{Certificate, Uniqueness, Witness};
pub use chain::{Chain, DerivativeMap, Smooth};
pub use cone::{Cone, row_ranges};
pub use cycle::CycleReturn;
pub use derivative::{Checked, Derivative, DerivativeWorkspace, Indeterminate};
pub use error::{Error, Iterate, Result, Status};
pub use generate::{Generated, Generator};
pub use gradcheck::{
    BlockCheck, FunctionCheck, GradcheckReport, GradcheckSettings, Verdict, gradcheck,
    gradcheck_at, gradcheck_function,
};
pub use hull::{HullElement, least_norm_in_hull};
pub use implicit::{
    Elements, FamilyCertificate, ImplicitFunction, Invertibility, Linearization, SelectionFamily,
    SingularElement,
};
pub use jacobian::{DataCoordinate, DenseMatrix, SolutionCoordinate};
pub use kink::{Kink, Knot, RowState, Warning};
pub use lagrangian::{Differenced, Envelope, lagrangian_jvp, lagrangian_vjp};
pub use layer::{
    ConicLayer, ForwardPath, ForwardSolver, LayerCounts, LayerData, LayerSettings,
    ParametrizedLayer, WarmStart,
};
pub use limit::{Budget, Cancel, Running};
pub use linsolve::{
    Evidence, LsqrReport, LsqrSettings, LsqrStop, Method, Prepared, StopReason, Workspace, lsqr,
};
pub use meaning::Meaning;
pub use monitor::{Monitor, MonitorSettings, MonitorTotals, Observation};
pub use operator::{FnOperator, LinearOperator};
pub use parametrization::Parametrization;
pub use pattern::{Pattern, SparseMatrix};
pub use program::{ConeProgram, Csc, NO_BOUND};
pub use projection::{Block, Diagonal, KinkKind, Margin, Projection, Psd, SecondOrder, Spectral};
pub use refine::{refine, solve};
pub use regularity::{Definability, Regularity, regularity};
pub use residual::{ResidualJacobian, Wanted, embedding_residual, residual};
pub use settings::{
    ClarabelLinearSolver, LinearBackend, LinearSettings, LinearSolver, Policy, RefineSettings,
    Selection, Settings, SolveSettings,
};
pub use solution::{Refinement, Solution};
pub use solve::interior_point;
pub use tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};
pub use variational::{SplittingSettings, VariationalDerivative, VariationalInequality};

/// The README's code, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The layer guide's code, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/layer.md")]
struct LayerGuide;

/// How to send a failure, its code run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/bundles.md")]
struct BundleGuide;

/// The guide to kinks, its code run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/nonsmooth.md")]
struct NonsmoothGuide;

/// The guide to derivatives along iterations, its code run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/iterations.md")]
struct IterationsGuide;

/// The guide to limits, its code run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/limits.md")]
struct LimitsGuide;

/// The guide to sparse regressions, its code run as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/lasso.md")]
struct LassoGuide;

/// The guide to other frameworks' tensors, its code run as a test.
#[cfg(all(doctest, feature = "burn", feature = "candle"))]
#[doc = include_str!("../docs/frameworks.md")]
struct FrameworksGuide;
