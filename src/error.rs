//! What can go wrong, one variant per thing the caller can do about it.

use std::fmt;

/// The result of every fallible call of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// How a solve ended. The names are those of the command-line tool's JSON.
///
/// ```
/// # use conediff::{Cone, ConeProgram, SolveSettings, interior_point};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::{Error, Status};
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// assert_eq!(interior_point(&program, &SolveSettings::default())?.status, Status::Solved);
/// let hurried = SolveSettings { max_iterations: 2, ..SolveSettings::default() };
/// let Err(Error::NotSolved { status, .. }) = interior_point(&program, &hurried) else { panic!() };
/// assert_eq!((status, status.to_string().as_str()), (Status::MaxIterations, "iteration limit reached"));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The interior-point method met its tolerances.
    Solved,
    /// It met only its reduced tolerances; refinement then brought the residual down.
    AlmostSolved,
    /// No x satisfies the constraints; a certificate z was found.
    PrimalInfeasible,
    /// The objective is unbounded below (or the dual is infeasible); a certificate x was found.
    DualInfeasible,
    /// The iteration limit came first.
    MaxIterations,
    /// The time limit came first.
    MaxTime,
    /// The interior-point method broke down numerically.
    NumericalError,
    /// The interior-point method stopped making progress.
    InsufficientProgress,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Solved => "solved",
            Status::AlmostSolved => "almost solved",
            Status::PrimalInfeasible => "primal infeasible",
            Status::DualInfeasible => "dual infeasible",
            Status::MaxIterations => "iteration limit reached",
            Status::MaxTime => "time limit reached",
            Status::NumericalError => "numerical error",
            Status::InsufficientProgress => "insufficient progress",
        })
    }
}

/// The last point of a solve that did not finish. x: n; z, s: m.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Settings, Solution, SolveSettings, interior_point, refine};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::{Error, Iterate};
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let hurried = SolveSettings { max_iterations: 2, ..SolveSettings::default() };
/// let Err(Error::NotSolved { last, .. }) = interior_point(&program, &hurried) else { panic!() };
/// // Where it stopped may be close enough for Newton's method.
/// let Iterate { x, z, s } = *last;
/// let solution = refine(&program, &Solution::given(&program, x, z, s)?, &Settings::default())?;
/// assert!((solution.x[0] - 0.25).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Iterate {
    /// Primal variables, n.
    #[serde(with = "crate::exact::numbers")]
    pub x: Vec<f64>,
    /// Dual variables, m.
    #[serde(with = "crate::exact::numbers")]
    pub z: Vec<f64>,
    /// Slacks, m.
    #[serde(with = "crate::exact::numbers")]
    pub s: Vec<f64>,
}

/// Everything that can go wrong, with the numbers it is about.
///
/// ```
/// # use conediff::{ProgramBuilder, Settings, solve};
/// # let mut builder = ProgramBuilder::new(1);
/// # builder.inequality(&[(0, 1.0)], -1.0);
/// # builder.inequality(&[(0, -1.0)], -1.0);
/// # let program = builder.build()?;
/// use conediff::Error;
/// // x <= -1 and x >= 1: the sum of the rows, 0 <= -2, is the proof that no x is left
/// match solve(&program, &Settings::default()) {
///     Err(Error::PrimalInfeasible { certificate: z, value }) => {
///         assert!(value < 0.0 && z[0] > 0.0 && (z[0] - z[1]).abs() < 1e-6 * z[0]);
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, thiserror::Error, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Error {
    /// A vector or matrix has the wrong size.
    #[error("{what}: expected length {expected}, found {found}")]
    Dimension {
        /// The object.
        what: &'static str,
        /// The size it must have.
        expected: usize,
        /// The size it has.
        found: usize,
    },
    /// A list that must hold something holds nothing.
    #[error("{what} is empty; give at least one")]
    Empty {
        /// The list.
        what: &'static str,
    },
    /// A compressed sparse structure is malformed. `outer` is the column (CSC) or row (CSR).
    #[error("{matrix}: {reason} (column or row {outer}); indices must be sorted and unique")]
    Pattern {
        /// "P", "A" or the map to a part of the data.
        matrix: &'static str,
        /// The column of a CSC matrix, the row of a CSR one.
        outer: usize,
        /// What is wrong there.
        reason: String,
    },
    /// P holds an entry below its diagonal.
    #[error(
        "P has an entry at row {row}, column {column}, below the diagonal; give the upper triangle, or use from_symmetric"
    )]
    NotUpperTriangular {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
    },
    /// A full P is not symmetric.
    #[error(
        "P is not symmetric: entry ({row}, {column}) is {value} but its mirror is {mirror}; symmetrize it as (P + P')/2"
    )]
    NotSymmetric {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
        /// Its value.
        #[serde(with = "crate::exact::number")]
        value: f64,
        /// The value at (column, row), zero if not stored.
        #[serde(with = "crate::exact::number")]
        mirror: f64,
    },
    /// P has a negative direction: the program is not convex.
    #[error(
        "P is not positive semidefinite: {reason} at index {index} ({value:e}); the program is not convex"
    )]
    NotConvex {
        /// Row of the pivot or diagonal entry.
        index: usize,
        /// The pivot or entry.
        #[serde(with = "crate::exact::number")]
        value: f64,
        /// What was seen.
        reason: &'static str,
    },
    /// P + P' has a negative direction: the operator x -> Px is not monotone.
    #[error(
        "P + P' is not positive semidefinite: {reason} at index {index} ({value:e}); the variational inequality is not monotone"
    )]
    NotMonotone {
        /// Row of the pivot or diagonal entry.
        index: usize,
        /// The pivot or entry of (P + P')/2.
        #[serde(with = "crate::exact::number")]
        value: f64,
        /// What was seen.
        reason: &'static str,
    },
    /// A number is NaN or infinite where it may not be.
    #[error("{what}[{index}] is {value}; every entry must be finite")]
    NonFinite {
        /// The vector, or a matrix's stored values.
        what: &'static str,
        /// Position in it (stored order).
        index: usize,
        /// The value.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// An inequality row that no point satisfies: b = -1e20 or below.
    #[error("b[{row}] is {value}: no point satisfies this row; +1e20 or more means no bound")]
    Bound {
        /// The row.
        row: usize,
        /// Its right-hand side.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// A cone's parameters make no sense.
    #[error("cone {index}: {reason}")]
    Cone {
        /// Position in the list of cones.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// The cones' rows do not add up to the rows of A.
    #[error("the cones have {cones} rows, A and b have {rows}")]
    ConeRows {
        /// Sum of the cones' rows.
        cones: usize,
        /// Rows of A.
        rows: usize,
    },
    /// The threads of a layer cannot be made.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// Threads asked for, 0 for one for each processor.
        threads: usize,
        /// What the operating system said.
        message: String,
    },
    /// A derivative was asked of a layer's item without a solution.
    #[error(
        "item {item} has no solution to differentiate: run forward first, and look at its error"
    )]
    NoForward {
        /// Position in the batch.
        item: usize,
    },
    /// The structure differs from the one prepared.
    #[error("{what}: the sparsity pattern differs from the one given first")]
    PatternMismatch {
        /// The object.
        what: &'static str,
    },
    /// A setting is out of range.
    #[error("setting {name} = {value}: must be {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        #[serde(with = "crate::exact::number")]
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// No x satisfies the constraints: A'z = 0, z in K*, b'z < 0.
    #[error(
        "primal infeasible: a certificate z with b'z = {value:e} was found; loosen the constraints"
    )]
    PrimalInfeasible {
        /// The certificate z, m.
        #[serde(with = "crate::exact::numbers")]
        certificate: Vec<f64>,
        /// b'z, negative.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// Unbounded below: Px = 0, Ax + s = 0 with s in K, q'x < 0.
    #[error(
        "dual infeasible (unbounded): a direction x with q'x = {value:e} was found; bound the variables"
    )]
    DualInfeasible {
        /// The direction x, n.
        #[serde(with = "crate::exact::numbers")]
        certificate: Vec<f64>,
        /// q'x, negative.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// A selection that does not fit the kinks there are.
    #[error("selection {selection} for cone {cone}: {reason}")]
    Selection {
        /// The cone it was given for.
        cone: usize,
        /// The selection, by its name.
        selection: String,
        /// Why it does not fit.
        reason: &'static str,
    },
    /// A one-sided derivative was asked for where the solution map is not known to have one.
    #[error("not strongly regular: {reason}; see Derivative::regularity")]
    NotRegular {
        /// What fails.
        reason: &'static str,
    },
    /// The solver stopped without a solution.
    #[error(
        "not solved: {status} after {iterations} iterations, primal residual {primal_residual:e}, dual residual {dual_residual:e}; raise the limit or rescale the data"
    )]
    NotSolved {
        /// How the solver ended.
        status: Status,
        /// Its iterations.
        iterations: u32,
        /// Relative primal residual at the last point.
        #[serde(with = "crate::exact::number")]
        primal_residual: f64,
        /// Relative dual residual at the last point.
        #[serde(with = "crate::exact::number")]
        dual_residual: f64,
        /// The last point.
        last: Box<Iterate>,
    },
    /// An iteration stopped at its limit, or left the finite numbers.
    #[error(
        "{method}: not converged after {iterations} iterations, at {reached:e} of {tolerance:e}; raise the limit, rescale the data or take a smaller step"
    )]
    NotConverged {
        /// The iteration.
        method: &'static str,
        /// How many there were.
        iterations: usize,
        /// What it reached: the last relative change, or the gap; infinite if it diverged.
        #[serde(with = "crate::exact::number")]
        reached: f64,
        /// What it had to reach.
        #[serde(with = "crate::exact::number")]
        tolerance: f64,
    },
    /// The interior-point solver refused the problem or panicked; its own words.
    #[error("the solver failed: {message}")]
    Solver {
        /// The solver's message.
        message: String,
    },
    /// A matrix that must be factored is singular, its factors are not finite, or its eigenvalues were not found.
    #[error(
        "{method}: broke down; rescale the data where their sizes are far apart, and leave the solver at LinearSolver::Auto"
    )]
    Factorization {
        /// The method.
        method: &'static str,
    },
    /// A matrix of an iteration that must be inverted is singular.
    #[error("{what} is singular to rounding (least pivot {pivot:e} of the largest): {remedy}")]
    Singular {
        /// The matrix.
        what: &'static str,
        /// Its least pivot over the largest.
        #[serde(with = "crate::exact::number")]
        pivot: f64,
        /// What to do.
        remedy: &'static str,
    },
    /// An iteration grows without bound.
    #[error(
        "{what} diverges: size {size:e} after {iterations} iterations, growing {rate}-fold in each; shorten the step"
    )]
    Diverged {
        /// What grows.
        what: &'static str,
        /// Steps taken.
        iterations: usize,
        /// Its norm.
        #[serde(with = "crate::exact::number")]
        size: f64,
        /// The factor from one change to the next; NaN after too few steps to tell.
        #[serde(with = "crate::exact::number")]
        rate: f64,
    },
    /// An iteration made a number that is NaN or infinite.
    #[error(
        "{what} after {iterations} iterations: entry {index} is {value}; shorten the step, or start nearer"
    )]
    NonFiniteIterate {
        /// The iterate or its derivative.
        what: &'static str,
        /// Steps taken, this one included.
        iterations: usize,
        /// Position in it (matrices column by column).
        index: usize,
        /// The value.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// A weight of a penalty is not positive and finite.
    #[error(
        "penalty parameter {index} is {value}; every lambda and ridge must be positive and finite"
    )]
    Penalty {
        /// Position among the penalty's parameters.
        index: usize,
        /// Its value.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// A column of a design matrix holds nothing.
    #[error(
        "column {column} of X is zero: its coefficient is 0 for every lambda; leave the column out"
    )]
    ZeroColumn {
        /// The column.
        column: usize,
    },
    /// The data ask for no coefficient at all.
    #[error(
        "X'r is zero at beta = 0 (is y zero?): every coefficient is 0 for every lambda, and there is nothing to fit"
    )]
    NoSignal,
    /// The label of a point is neither -1 nor 1.
    #[error("label {index} is {value}; labels are -1 and 1")]
    Label {
        /// The point.
        index: usize,
        /// Its label.
        #[serde(with = "crate::exact::number")]
        value: f64,
    },
    /// Columns of a design matrix that depend on each other decide the solution: it is not unique, or not differentiable.
    #[error(
        "columns {columns:?} of X are linearly dependent (relative pivot {pivot:e}) and all reach their lambda: add a ridge, or leave one out"
    )]
    DependentColumns {
        /// The columns of one dependency.
        columns: Vec<usize>,
        /// Squared relative distance of the last one from the others.
        #[serde(with = "crate::exact::number")]
        pivot: f64,
    },
    /// Something is asked for that another loss than the regression's has.
    #[error("{what} needs the loss of {needed}")]
    Loss {
        /// What is asked for.
        what: &'static str,
        /// The loss it is defined for.
        needed: &'static str,
    },
    /// Folds that do not fit the data.
    #[error("fold {fold}: {reason}")]
    Fold {
        /// Position of the fold.
        fold: usize,
        /// What is wrong.
        reason: String,
    },
    /// A dense object would be too large.
    #[error("{what} needs {bytes} bytes, and there is room for {limit}; ask for parts of it")]
    TooLarge {
        /// The object.
        what: &'static str,
        /// Its size.
        #[serde(serialize_with = "crate::exact::size")]
        bytes: u128,
        /// The limit, or what the machine has, to within a factor of two.
        #[serde(serialize_with = "crate::exact::size")]
        limit: u128,
    },
    /// A budget's time is spent.
    #[error(
        "time limit: {elapsed:.3e} s of {limit:.3e} s are spent before {step}; give a larger budget, or look at the data's scale"
    )]
    TimeLimit {
        /// Seconds since the budget began.
        elapsed: f64,
        /// Seconds it had.
        limit: f64,
        /// What was to be done next.
        step: &'static str,
        /// The interior-point method's last point, if a fresh run of it was what the time ended.
        last: Option<Box<Iterate>>,
    },
    /// A budget's handle was cancelled.
    #[error("cancelled after {elapsed:.3e} s, before {step}; run it again with a fresh handle")]
    Cancelled {
        /// Seconds since the budget began.
        elapsed: f64,
        /// What was to be done next.
        step: &'static str,
    },
    /// `strict` was asked for and a derivative is not trusted.
    #[error("derivative not trusted: {reasons}")]
    NotTrusted {
        /// Every reason, in sentences.
        reasons: String,
        /// Relative residual of the linear step.
        #[serde(with = "crate::exact::number")]
        residual: f64,
        /// Least margin over the cones.
        #[serde(with = "crate::exact::number")]
        margin: f64,
    },
    /// A problem file is not Clarabel's JSON.
    #[error("not a problem in Clarabel's JSON: {reason}")]
    Json {
        /// Line of the fault.
        line: usize,
        /// Column of the fault.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// A failure bundle cannot be made or read.
    #[error("failure bundle: {reason}")]
    Bundle {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        message: String,
    },
    /// A finite-difference check could not be made.
    #[error("gradcheck: {reason}")]
    Check {
        /// Why.
        reason: String,
    },
}
