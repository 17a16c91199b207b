//! Choices, each with its default and the reason for it. Tolerances are relative to data of order one.

use crate::error::{Error, Result};
use crate::memory::MOST_DENSE_BYTES;

/// How the program is solved.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Error, interior_point};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::SolveSettings;
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let few = SolveSettings { max_iterations: 2, ..SolveSettings::default() };
/// assert!(matches!(interior_point(&program, &few), Err(Error::NotSolved { iterations: 2, .. })));
/// // A looser tolerance takes fewer iterations.
/// let loose = SolveSettings { tolerance: 1e-2, ..SolveSettings::default() };
/// let iterations = |settings| Ok::<_, Error>(interior_point(&program, settings)?.iterations);
/// assert!(iterations(&loose)? < iterations(&SolveSettings::default())?);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SolveSettings {
    /// Clarabel's gap, feasibility and infeasibility tolerance. Default 1e-8, Clarabel's own: refinement does the rest.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Interior-point iterations. Default 200, Clarabel's own.
    pub max_iterations: u32,
    /// Seconds of the solver's runs, which end with [`Error::NotSolved`] and their last point; default infinity. For all that is done
    /// with a program see [`crate::Budget`].
    #[serde(with = "crate::exact::number")]
    pub time_limit: f64,
}

impl Default for SolveSettings {
    fn default() -> Self {
        Self {
            tolerance: 1e-8,
            max_iterations: 200,
            time_limit: f64::INFINITY,
        }
    }
}

impl SolveSettings {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn validate(&self) -> Result<()> {
        check_fraction("solve.tolerance", self.tolerance)?;
        check_count("solve.max_iterations", self.max_iterations as usize)?;
        if self.time_limit.is_nan() || self.time_limit <= 0.0 {
            return Err(Error::Setting {
                name: "solve.time_limit",
                value: self.time_limit,
                allowed: "positive seconds, or infinity",
            });
        }
        Ok(())
    }
}

/// Refuses a number that is not positive and finite.
pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "positive and finite",
    })
}

fn check_fraction(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "in (0, 1)",
    })
}

fn check_count(name: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value: 0.0,
        allowed: "at least 1",
    })
}

/// How the solver's point is refined by semismooth Newton steps.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::{RefineSettings, Warning};
/// // minimize 1/2 x^2 - x subject to x <= 1/4, to the solver's own accuracy
/// let refine = RefineSettings { enabled: false, ..RefineSettings::default() };
/// let settings = Settings { refine, ..Settings::default() };
/// let solution = solve(&program, &settings)?;
/// assert!(solution.refinement.is_none() && (solution.x[0] - 0.25).abs() < 1e-6);
/// assert!(Derivative::new(&program, &solution, &settings)?.warnings().contains(&Warning::Unrefined));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefineSettings {
    /// Default true: a derivative at an unrefined point is off by 1e-8 to 1e-3.
    pub enabled: bool,
    /// The relative residual at which a refined point is accepted. Default 1e-9: in all measurements a residual below it
    /// went with a derivative right to 1e-8, and every wrong one had a residual of 1e-7 or more.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Newton steps. Default 40: one to three do, a wrong active set takes a few more, a margin of 1e-7 up to 35.
    pub max_steps: usize,
}

impl Default for RefineSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            tolerance: 1e-9,
            max_steps: 40,
        }
    }
}

/// The method of the linear step.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Method, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::LinearSolver;
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// for (solver, method) in [
///     (LinearSolver::Ldl, Method::Ldl), (LinearSolver::Lu, Method::Lu), (LinearSolver::Lsqr, Method::Lsqr),
/// ] {
///     let settings = Settings::default().with_linear_solver(solver);
///     let gradient = Derivative::new(&program, &solve(&program, &settings)?, &settings)?.vjp(&seed)?;
///     assert!(gradient.evidence.method == method && (gradient.value.b[0] - 1.0).abs() < 1e-9);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearSolver {
    /// LDL', then LDL' with less regularization, then LU, then the minimum-norm solution of a singular system; the
    /// first that meets the tolerance.
    #[default]
    Auto,
    /// LDL' of the reduced symmetric system.
    Ldl,
    /// LU with partial pivoting of the unreduced system.
    Lu,
    /// LSQR on the unreduced system, matrix-free. Slow and for systems too large to factor.
    Lsqr,
}

/// The factorization Clarabel uses for its own linear systems.
///
/// ```
/// # use conediff::{Cone, ConicLayer, Generator, LayerData, LayerSettings};
/// # let program = Generator::new(6, vec![Cone::SecondOrder(4), Cone::Nonnegative(4)]).generate()?.program().clone();
/// use conediff::{ClarabelLinearSolver, ForwardSolver, LinearBackend};
/// // With nothing left to be timed, two layers give the same bits.
/// let mut settings = LayerSettings {
///     clarabel: ClarabelLinearSolver::Qdldl,
///     ..LayerSettings::default().with_forward(ForwardSolver::Clarabel)
/// };
/// settings.settings.linear.backend = LinearBackend::Dense;
/// let solve = || ConicLayer::new(&program, settings.clone())?.forward(&LayerData::default()).cloned();
/// assert_eq!(solve()?, solve()?);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClarabelLinearSolver {
    /// Both are timed on the first forward and the faster one is kept. Clarabel's own choice by operation counts takes the slower one
    /// on small dense systems.
    #[default]
    Auto,
    /// Entry by entry: sparse factors, and small ones.
    Qdldl,
    /// By dense blocks: large factors.
    Faer,
}

impl ClarabelLinearSolver {
    /// Clarabel's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Qdldl => "qdldl",
            Self::Faer => "faer",
        }
    }
}

/// How the factor of LDL' is kept.
///
/// ```
/// # use conediff::{Cone, Derivative, Generator, Settings, solve};
/// # let generated = Generator::new(6, vec![Cone::SecondOrder(4), Cone::Nonnegative(4)]).generate()?;
/// # let program = generated.program();
/// use conediff::LinearBackend;
/// let (tangent, known) = generated.known_jvp(1);
/// for backend in [LinearBackend::Dense, LinearBackend::Simplicial, LinearBackend::Supernodal] {
///     let mut settings = Settings::default();
///     settings.linear.backend = backend;
///     let jvp = Derivative::new(program, &solve(program, &settings)?, &settings)?.jvp(&tangent)?;
///     assert!(jvp.trusted && (jvp.value.x[0] - known.x[0]).abs() < 1e-9);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearBackend {
    /// The one predicted to be fastest from the factor's size; a [`crate::ConicLayer`] measures instead, once. The answers of two back
    /// ends differ in rounding: fix one where runs must agree bit for bit.
    #[default]
    Auto,
    /// Dense, on the active rows alone: small or dense systems.
    Dense,
    /// Sparse, entry by entry: very sparse factors.
    Simplicial,
    /// Sparse, by dense blocks: the rest.
    Supernodal,
}

/// How linear systems with the residual map's Jacobian are solved.
///
/// ```
/// # use conediff::{Cone, Derivative, Generator, Settings, solve};
/// # let generated = Generator::new(6, vec![Cone::SecondOrder(4), Cone::Nonnegative(4)]).generate()?;
/// # let (program, tangent) = (generated.program(), generated.known_jvp(1).0);
/// use conediff::{LinearSettings, Warning};
/// // No residual is that small: every derivative says that it missed the tolerance.
/// let linear = LinearSettings { tolerance: 1e-30, ..LinearSettings::default() };
/// let settings = Settings { linear, ..Settings::default() };
/// let jvp = Derivative::new(program, &solve(program, &settings)?, &settings)?.jvp(&tangent)?;
/// assert!(!jvp.trusted && jvp.evidence.residual > 1e-30);
/// assert!(matches!(jvp.warnings[..], [Warning::LinearResidual { tolerance: 1e-30, .. }]));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearSettings {
    /// The method. Default `Auto`.
    pub solver: LinearSolver,
    /// How LDL' keeps its factor. Default `Auto`.
    pub backend: LinearBackend,
    /// The relative residual a derivative must reach to be trusted. Default 1e-12, which refinement reaches on every regular
    /// problem measured.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Steps of iterative refinement. Default 30: two to four do unless the system is nearly singular.
    pub max_refinement: usize,
    /// LSQR iterations in one call. Default 20000; reaching it is reported.
    pub lsqr_max_iterations: usize,
}

impl Default for LinearSettings {
    fn default() -> Self {
        Self {
            solver: LinearSolver::Auto,
            backend: LinearBackend::Auto,
            tolerance: 1e-12,
            max_refinement: 30,
            lsqr_max_iterations: 20_000,
        }
    }
}

/// Which element of the conservative Jacobian is taken at a kink. Where the point is smooth there is no choice.
///
/// At a kink z and s vanish along some directions: a weakly active row, the normal of a curved boundary, the zero eigenvalues of a PSD
/// block. Every element is 0 <= M <= I there. All of them give elements of one conservative Jacobian of the solution map if, and
/// only if, the point is certified ([`crate::Derivative::regularity`]).
///
/// ```
/// # use conediff::{Cone, ConeProgram, DataTangent, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![1.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::Selection;
/// // minimize 1/2 x^2 - x subject to x <= b at its kink b = 1: dx/db from the right, from the left, and between
/// let db = DataTangent { b: vec![1.0], ..DataTangent::zeros(&program) };
/// for (selection, slope) in [(Selection::Inactive, 0.0), (Selection::Active, 1.0), (Selection::Half, 0.5)] {
///     let dx = derivative.with_selection(selection)?.jvp(&db)?.value.x[0];
///     assert!((dx - slope).abs() < 1e-12);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// M = I: z moves, s stays. Weakly active rows hold.
    Active,
    /// M = 0: s moves, z stays. Weakly active rows let go.
    Inactive,
    /// M = I/2.
    Half,
    /// A random element for each block, the same for the same seed.
    Random(u64),
    /// The first of inactive, active and half whose linear system is nonsingular: if none is, every element is singular. The
    /// default.
    #[default]
    NonsingularFirst,
    /// Inactive, and the minimum-norm least-squares answer where that is singular: no search.
    MinimumNorm,
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selection::Active => f.write_str("active"),
            Selection::Inactive => f.write_str("inactive"),
            Selection::Half => f.write_str("half"),
            Selection::Random(seed) => write!(f, "random ({seed})"),
            Selection::NonsingularFirst => f.write_str("nonsingular first"),
            Selection::MinimumNorm => f.write_str("minimum norm"),
        }
    }
}

/// What a derivative is where the solution map is not certified: at singular points, and at kinks some of whose elements are singular.
/// Where it is certified, every policy gives the exact derivative, or the selected element of the conservative Jacobian.
///
/// | policy | what it computes | bias | cost beside the derivative |
/// |---|---|---|---|
/// | `Flag` | the selected element; least squares of minimum norm if singular | none if nonsingular, unbounded else | none |
/// | `MinimumNorm` | the least-squares answer of minimum norm at the inactive element | the null space's part is lost | one factorization |
/// | `Tikhonov` | the derivative of the proximal program | reported with each derivative | one factorization, two solves |
/// | `Smoothing` | the derivative of the central path at mu | O(mu) at regular points | Newton steps and one factorization |
/// | `Lagrangian` | a chord of the gradient of the optimal value | O(tau^2) at regular points | two solves a derivative |
///
/// ```
/// # use conediff::{Derivative, ProgramBuilder, Settings, SolutionTangent, solve};
/// # let mut builder = ProgramBuilder::new(1);
/// # builder.quadratic(0, 0, 1.0);
/// # builder.linear(0, -2.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # let program = builder.build()?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::Policy;
/// // minimize 1/2 x^2 - 2 x subject to x <= 1, twice: one active row more than x has to hold
/// for policy in [Policy::MinimumNorm, Policy::Tikhonov { rho: 1e-4 }] {
///     let settings = Settings::default().with_policy(policy);
///     let gradient = Derivative::new(&program, &solve(&program, &settings)?, &settings)?.vjp(&seed)?;
///     // The rows share what one of them would have, and the answer says what it is.
///     assert!(gradient.value.b.iter().all(|b| (b - 0.5).abs() < 1e-3) && gradient.meaning.is_surrogate());
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Policy {
    /// Return it with its warnings.
    #[default]
    Flag,
    /// The least-squares answer of minimum norm.
    MinimumNorm,
    /// Proximal terms rho/2 |x - x^|^2 and rho/2 |z - z^|^2 around the solution, which they leave where it is:
    /// J_rho = [[P + rho I, A'D], [-A, I - D + rho D]] is always nonsingular.
    Tikhonov {
        /// Weight of the proximal terms, positive.
        #[serde(with = "crate::exact::number")]
        rho: f64,
    },
    /// The projection smoothed by the cone's barrier: z o s = mu e, the central path.
    Smoothing {
        /// The barrier's weight, positive.
        #[serde(with = "crate::exact::number")]
        mu: f64,
    },
    /// Lagrangian proximal gradient: the program is solved again with the loss in its objective.
    Lagrangian {
        /// Size of the perturbation relative to the data, positive.
        #[serde(with = "crate::exact::number")]
        tau: f64,
    },
}

impl Policy {
    fn validate(self) -> Result<()> {
        let (name, value) = match self {
            Policy::Flag | Policy::MinimumNorm => return Ok(()),
            Policy::Tikhonov { rho } => ("policy.tikhonov.rho", rho),
            Policy::Smoothing { mu } => ("policy.smoothing.mu", mu),
            Policy::Lagrangian { tau } => ("policy.lagrangian.tau", tau),
        };
        check_positive(name, value)
    }
}

/// Everything there is to choose.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Solving.
    pub solve: SolveSettings,
    /// Refining.
    pub refine: RefineSettings,
    /// The linear step.
    pub linear: LinearSettings,
    /// A point whose distance to a kink is below this times (1 + the size of its row's terms) is ambiguous. Default 1e-9:
    /// after refinement weakly active rows stand at 1e-15, the others at 1e-6 or more.
    #[serde(with = "crate::exact::number")]
    pub ambiguity: f64,
    /// The estimated relative error a derivative may have and still be trusted. Default 2e-6: in 785 derivatives of hostile
    /// programs with smaller estimates the largest error was 1.5e-6.
    #[serde(with = "crate::exact::number")]
    pub accuracy: f64,
    /// The element taken at a kink. Default: the first nonsingular one.
    pub selection: Selection,
    /// What a derivative is where the solution map is not certified. Default: flagged.
    pub policy: Policy,
    /// Make every derivative that is not trusted an error. Default false: it comes back with its warnings.
    pub strict: bool,
    /// The largest dense object made on request (a Jacobian, the program of a one-sided derivative), in bytes: more is
    /// [`Error::TooLarge`] before anything is allocated. Default 2^32, 4 GiB: a Jacobian of 23,000 x 23,000, which takes 23,000
    /// solves.
    pub max_dense_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            solve: SolveSettings::default(),
            refine: RefineSettings::default(),
            linear: LinearSettings::default(),
            ambiguity: 1e-9,
            accuracy: 2e-6,
            selection: Selection::default(),
            policy: Policy::default(),
            strict: false,
            max_dense_bytes: MOST_DENSE_BYTES,
        }
    }
}

impl Settings {
    /// The same settings with `strict` set.
    pub fn with_strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// The same settings with another selection.
    pub fn with_selection(self, selection: Selection) -> Self {
        Self { selection, ..self }
    }

    /// The same settings with another policy.
    ///
    /// ```
    /// use conediff::{LinearSettings, LinearSolver, Policy, RefineSettings, Selection, Settings, SolveSettings};
    /// let settings = Settings {
    ///     solve: SolveSettings { max_iterations: 50, ..SolveSettings::default() },
    ///     refine: RefineSettings { max_steps: 10, ..RefineSettings::default() },
    ///     linear: LinearSettings { solver: LinearSolver::Ldl, ..LinearSettings::default() },
    ///     ..Settings::default()
    /// };
    /// let settings = settings
    ///     .with_selection(Selection::Active)
    ///     .with_policy(Policy::Tikhonov { rho: 1e-4 });
    /// assert!(settings.validate().is_ok());
    /// // A mistake is named with its number.
    /// let error = settings.with_policy(Policy::Smoothing { mu: -1.0 }).validate().unwrap_err();
    /// assert_eq!(error.to_string(), "setting policy.smoothing.mu = -1: must be positive and finite");
    /// ```
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same settings with another linear solver.
    pub fn with_linear_solver(mut self, solver: LinearSolver) -> Self {
        self.linear.solver = solver;
        self
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`] with the name, the value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.solve.validate()?;
        self.policy.validate()?;
        check_fraction("refine.tolerance", self.refine.tolerance)?;
        check_fraction("linear.tolerance", self.linear.tolerance)?;
        check_fraction("ambiguity", self.ambiguity)?;
        check_fraction("accuracy", self.accuracy)?;
        check_count("refine.max_steps", self.refine.max_steps)?;
        check_count("linear.max_refinement", self.linear.max_refinement)?;
        check_count(
            "linear.lsqr_max_iterations",
            self.linear.lsqr_max_iterations,
        )
    }
}
