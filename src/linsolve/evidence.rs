//! What is known about an answer of the linear step.

/// The method that made an answer.
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
}

/// Why refinement stopped.
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
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// The method.
    pub method: Method,
    /// Relative residual of the unreduced system.
    pub residual: f64,
    /// True if it met the tolerance.
    pub converged: bool,
    /// Refinement steps.
    pub refinement_steps: usize,
    /// Why they stopped.
    pub stop: StopReason,
    /// Condition estimate: of the equilibrated reduced matrix (LDL'), the scaled Jacobian (LU), LSQR's own. Infinite if singular.
    pub condition: f64,
    /// The last correction relative to the answer: an estimate of the answer's relative error before it.
    pub correction: f64,
    /// Estimated relative error of the answer. From [`crate::Prepared`]: condition times residual. From [`crate::Derivative`] that of the
    /// derivative, the uncertainty of the solution it is taken at included.
    pub error: f64,
    /// What a policy's approximation changes in the answer, relative to it: estimated for Tikhonov, NaN where it is not known (smoothing,
    /// perturbed solves), 0 for everything else.
    pub bias: f64,
    /// LSQR iterations over all steps; 0 for direct methods.
    pub iterations: usize,
}
