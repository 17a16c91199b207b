//! What is known about an answer of the linear step.

/// The method that made an answer.
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
/// use conediff::{Method, Policy};
/// // minimize 1/2 x^2 - 2 x subject to x <= 1, twice: the system is singular, and the policy says what to do
/// for (policy, method) in [
///     (Policy::Flag, Method::MinimumNorm),
///     (Policy::Tikhonov { rho: 1e-4 }, Method::Ldl),
///     (Policy::Lagrangian { tau: 1e-3 }, Method::Differences),
/// ] {
///     let settings = Settings::default().with_policy(policy);
///     let gradient = Derivative::new(&program, &solve(&program, &settings)?, &settings)?.vjp(&seed)?;
///     assert_eq!(gradient.evidence.method, method);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// LDL' of the reduced symmetric system.
    Ldl,
    /// LU of the unreduced system.
    Lu,
    /// LSQR on the unreduced system.
    Lsqr,
    /// Minimum-norm least-squares solution of a singular reduced system.
    MinimumNorm,
    /// Differences of perturbed solves: no linear system.
    Differences,
    /// Products with a given matrix: no linear system.
    Product,
}

/// Why refinement stopped.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::StopReason;
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let mut seed = SolutionTangent::zeros(&program);
/// assert_eq!(derivative.vjp(&seed)?.evidence.stop, StopReason::ZeroRightHandSide);
/// seed.x[0] = 1.0;
/// assert_eq!(derivative.vjp(&seed)?.evidence.stop, StopReason::Converged);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The right-hand side is zero; so is the answer.
    ZeroRightHandSide,
    /// The residual is at the level of rounding, or below the tolerance and no longer falling.
    Converged,
    /// The residual stopped falling above the tolerance.
    Stagnated,
    /// The step limit came first.
    StepLimit,
    /// The method gave a number that is not finite.
    NotFinite,
    /// LSQR's iteration limit came first.
    IterationLimit,
    /// The system is singular: a least-squares answer of least norm.
    LeastSquares,
}

/// How right an answer of the linear step is.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::{Evidence, Method};
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let evidence: Evidence = derivative.vjp(&seed)?.evidence;
/// assert!(evidence.method == Method::Ldl && evidence.converged);
/// // The two numbers that a derivative is trusted by.
/// assert!(evidence.residual <= settings.linear.tolerance && evidence.error <= settings.accuracy);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// The method.
    pub method: Method,
    /// Relative residual of the unreduced system.
    #[serde(with = "crate::exact::number")]
    pub residual: f64,
    /// True if it met the tolerance.
    pub converged: bool,
    /// Refinement steps.
    pub refinement_steps: usize,
    /// Why they stopped.
    pub stop: StopReason,
    /// Condition estimate: of the equilibrated reduced matrix (LDL'), the scaled Jacobian (LU), LSQR's own. Infinite if singular.
    #[serde(with = "crate::exact::number")]
    pub condition: f64,
    /// The last correction relative to the answer: an estimate of the answer's relative error before it.
    #[serde(with = "crate::exact::number")]
    pub correction: f64,
    /// Estimated error of the answer, relative to its largest entry: of (dx, dz, ds), or of the gradient in q and b. A part whose entries
    /// are smaller is known to fewer digits. From [`crate::Prepared`]: condition times residual. From [`crate::Derivative`] that of the
    /// derivative, the uncertainty of the solution it is taken at included; judged in fifty digits it was never more than 3.7 times too
    /// small (docs/robustness.md).
    #[serde(with = "crate::exact::number")]
    pub error: f64,
    /// What a policy's approximation changes in the answer, relative to it: estimated for Tikhonov, NaN where it is not known (smoothing,
    /// perturbed solves), 0 for everything else.
    #[serde(with = "crate::exact::number")]
    pub bias: f64,
    /// LSQR iterations over all steps; 0 for direct methods.
    pub iterations: usize,
}

impl Evidence {
    /// Of an answer that took no linear system.
    pub(crate) fn of_product() -> Self {
        Self {
            method: Method::Product,
            residual: 0.0,
            converged: true,
            refinement_steps: 0,
            stop: StopReason::Converged,
            condition: 1.0,
            correction: 0.0,
            error: 0.0,
            bias: 0.0,
            iterations: 0,
        }
    }

    /// Of two answers that are used together: the larger of each number, the method and the reason of the larger residual.
    pub(crate) fn worst(self, other: Self) -> Self {
        // NaN is the worst.
        let larger = |a: f64, b: f64| if a.is_nan() { a } else { a.max(b) };
        let larger = |a: f64, b: f64| if b.is_nan() { b } else { larger(a, b) };
        let told = if self.method == Method::Product
            || other.residual > self.residual
            || other.residual.is_nan()
        {
            other
        } else {
            self
        };
        Self {
            converged: self.converged && other.converged,
            condition: larger(self.condition, other.condition),
            correction: larger(self.correction, other.correction),
            error: larger(self.error, other.error),
            bias: larger(self.bias, other.bias),
            iterations: self.iterations.max(other.iterations),
            ..told
        }
    }
}
