//! The only file that calls Clarabel.
//!
//! Presolve and chordal decomposition stay off: the first drops rows that a derivative needs, the second returned a wrong
//! optimum as solved (SDPLIB control1). One thread: two are slower on all but large problems.
//!
//! # References
//! Goulart, Chen, Clarabel: An interior-point solver for conic programs with quadratic objectives, 2024.

use crate::cone::{Cone, summing_to_one};
use crate::error::{Error, Iterate, Result, Status};
use crate::limit;
use crate::memory::{MOST_FACTOR_BYTES, check_bytes, check_room};
use crate::pattern::SparseMatrix;
use crate::program::ConeProgram;
use crate::projection::Projection;
use crate::settings::{ClarabelLinearSolver, SolveSettings};
use crate::solution::Solution;
use crate::tangent::{dot, norm_max};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolution, DefaultSolver, IPSolver, SolverStatus, SupportedConeT,
};
use std::time::Instant;

/// Solves with Clarabel alone. The status of the result is `Solved` or `AlmostSolved`; [`crate::solve`] refines it and rejects
/// an almost solved point that does not refine. After numerical trouble or the iteration limit a second run is made at unit
/// scale; each run has the iteration limit, both together the time limit.
/// ```
/// use conediff::{Cone, ConeProgram, Error, Iterate, SolveSettings, Status, interior_point};
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let found = interior_point(&program, &SolveSettings::default())?;
/// assert!((found.x[0] - 0.25).abs() < 1e-6 && found.refinement.is_none());
///
/// // A limit that comes too early is an error with the last point.
/// let hasty = SolveSettings { max_iterations: 1, ..SolveSettings::default() };
/// let Err(Error::NotSolved { status, last, .. }) = interior_point(&program, &hasty) else { panic!() };
/// let Iterate { x, z, s } = *last;
/// assert_eq!((status, x.len(), z.len(), s.len()), (Status::MaxIterations, 1, 1, 1));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::PrimalInfeasible`] and [`Error::DualInfeasible`] with certificates, [`Error::NotSolved`] with the last iterate,
/// [`Error::Solver`] if Clarabel refuses the data or panics; [`Error::TimeLimit`] and [`Error::Cancelled`] in a
/// [`crate::Budget`].
pub fn interior_point(program: &ConeProgram, settings: &SolveSettings) -> Result<Solution> {
    settings.validate()?;
    limit::check("the interior-point method")?;
    check_size(program)?;
    if program.n() == 0 {
        return without_variables(program);
    }
    let start = Instant::now();
    let first = attempt(
        program,
        settings,
        unit_of_small(program),
        DefaultSettings::<f64>::default().max_step_fraction,
    );
    let unit = size(program);
    let is_doubtful = match &first {
        Err(Error::TimeLimit { .. } | Error::Cancelled { .. }) => return first,
        Err(Error::Solver { .. }) => true,
        Err(Error::NotSolved { status, .. }) => *status != Status::MaxTime,
        // A part of the infeasibility test is absolute: at 1e6 most feasible programs fail it.
        Err(Error::PrimalInfeasible { .. } | Error::DualInfeasible { .. }) => unit > LARGE,
        _ => false,
    };
    if !is_doubtful {
        return first;
    }
    // (x, z, s) is homogeneous of degree one in (q, b), and unit size alone removed 322 of 323 failures in 15,000 random programs;
    // shorter steps break the rare cycle.
    let remaining = SolveSettings {
        time_limit: settings.time_limit - start.elapsed().as_secs_f64(),
        ..*settings
    };
    if remaining.time_limit <= 0.0 {
        return first;
    }
    let unit = if unit > 0.0 { unit } else { 1.0 };
    match attempt(program, &remaining, unit, SHORT_STEP) {
        Err(spent @ (Error::TimeLimit { .. } | Error::Cancelled { .. })) => Err(spent),
        second => second.or(first),
    }
}

/// Bytes Clarabel takes for each entry of its system, as matrix, permuted, mapped and factored: 102 and 105 were seen with PSD
/// cones of order 161 and 100.
const BYTES_OF_ENTRY: u128 = 104;

/// [`Error::TooLarge`] where Clarabel's system is: it holds a dense block, rows by rows, for each PSD cone. What its factor fills in
/// beside those is not counted.
fn check_size(program: &ConeProgram) -> Result<()> {
    let block = |c: &Cone| match c {
        Cone::PsdTriangle(_) => c.rows() as u128 * (c.rows() as u128 + 1) / 2,
        _ => 0,
    };
    let dense: u128 = program.cones().iter().map(block).sum();
    // An index and a value each.
    let what = "Clarabel's system for the PSD cones";
    check_bytes(what, 16, dense, MOST_FACTOR_BYTES)?;
    let sparse = program.p().nnz() + program.a().nnz() + program.n() + program.m();
    check_room(
        "Clarabel's system",
        BYTES_OF_ENTRY * (dense + sparse as u128),
    )
}

/// The size of q and b.
fn size(program: &ConeProgram) -> f64 {
    norm_max(program.q()).max(norm_max(program.effective_b()))
}

/// The size of q and b if they are smaller than one, else one. Clarabel's tests are in part absolute: on data of size 1e-4 it stops
/// far from the solution.
fn unit_of_small(program: &ConeProgram) -> f64 {
    let unit = size(program);
    if unit > 0.0 && unit < 1.0 { unit } else { 1.0 }
}

/// As [`unit_of_small`]; the smaller of the sizes of q and b if both are large: many feasible programs fail the absolute part of the
/// infeasibility test there. The larger one would leave nothing of a small q beside a bound far away.
fn unit_of_small_or_large(program: &ConeProgram) -> f64 {
    let sizes = [norm_max(program.q()), norm_max(program.effective_b())];
    let smaller = sizes.into_iter().filter(|s| *s > 0.0).reduce(f64::min);
    match smaller {
        Some(smaller) if smaller > LARGE => smaller,
        _ => unit_of_small(program),
    }
}

/// Above this size of q and b infeasibility is tried again at unit scale, and a reused solver is given data of unit size.
const LARGE: f64 = 1e2;

/// The step fraction of the second run; Clarabel's own is 0.99.
const SHORT_STEP: f64 = 0.9;

/// v / unit.
fn scaled(v: &[f64], unit: f64) -> Vec<f64> {
    v.iter().map(|x| x / unit).collect()
}

/// One run of Clarabel on the program with q and b divided by `unit`.
fn attempt(
    program: &ConeProgram,
    settings: &SolveSettings,
    unit: f64,
    step_fraction: f64,
) -> Result<Solution> {
    let mut clarabel = clarabel_settings(settings);
    clarabel.max_step_fraction = step_fraction;
    // Clarabel 0.11 panics on some inputs at extreme scales: its panic must not become the caller's.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut solver = DefaultSolver::new(
            &csc(program.p()),
            &scaled(program.q(), unit),
            &csc(program.effective_a()),
            &scaled(program.effective_b(), unit),
            &program.cones().iter().map(supported).collect::<Vec<_>>(),
            clarabel,
        )
        .map_err(|e| Error::Solver {
            message: e.to_string(),
        })?;
        obey_budget(&mut solver);
        solver.solve();
        Ok(Found::new(&solver.solution, unit))
    }));
    if let Err(mut spent) = limit::check(ANSWER) {
        if let (Error::TimeLimit { last, .. }, Ok(Ok(found))) = (&mut spent, outcome) {
            let Found { x, z, s, .. } = found;
            *last = Some(Box::new(Iterate { x, z, s }));
        }
        return Err(spent);
    }
    match outcome {
        Ok(result) => interpret(program, result?),
        Err(panic) => Err(Error::Solver {
            message: panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()))
                .unwrap_or_else(|| "Clarabel panicked".to_string()),
        }),
    }
}

/// What a reused solver is set up with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Setup {
    /// Gap, feasibility and infeasibility tolerance.
    pub(crate) tolerance: f64,
    pub(crate) max_iterations: u32,
    pub(crate) linear: ClarabelLinearSolver,
    /// Clarabel's own iterative refinement of its linear solves.
    pub(crate) inner_refinement: bool,
}

/// Clarabel set up once for a structure, its data updated in place.
///
/// Its equilibration stays that of the first data, so that the answer to a program does not depend on the ones before it. The first
/// data too are given by an update: scaled all at once, not pass by pass, they differ in rounding.
pub(crate) struct ReusedSolver {
    setup: Setup,
    first: ConeProgram,
    /// The program whose data the solver has; `None` before the first.
    current: Option<ConeProgram>,
    /// `None` after a panic.
    solver: Option<DefaultSolver<f64>>,
}

impl std::fmt::Debug for ReusedSolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReusedSolver")
            .field("setup", &self.setup)
            .finish_non_exhaustive()
    }
}

impl ReusedSolver {
    pub(crate) fn new(first: &ConeProgram, setup: Setup) -> Self {
        Self {
            setup,
            first: first.clone(),
            current: None,
            solver: None,
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        self.setup
    }

    /// Makes the solver if it is not there; `false` if Clarabel refuses.
    pub(crate) fn set_up(&mut self) -> bool {
        if self.solver.is_some() {
            return true;
        }
        if check_size(&self.first).is_err() {
            return false;
        }
        let (first, setup) = (&self.first, self.setup);
        let made = std::panic::catch_unwind(|| {
            DefaultSolver::new(
                &csc(first.p()),
                first.q(),
                &csc(first.effective_a()),
                first.effective_b(),
                &first.cones().iter().map(supported).collect::<Vec<_>>(),
                DefaultSettings {
                    iterative_refinement_enable: setup.inner_refinement,
                    direct_solve_method: setup.linear.name().to_string(),
                    ..clarabel_settings(&SolveSettings {
                        tolerance: setup.tolerance,
                        max_iterations: setup.max_iterations,
                        ..SolveSettings::default()
                    })
                },
            )
        });
        self.solver = made.ok().and_then(|m| m.ok());
        self.current = None;
        self.solver.is_some()
    }

    /// Solves a program of the structure. A point where Clarabel gave up counts as almost solved, since it is often good enough to
    /// start Newton from; what a loose tolerance says of infeasibility is for a run at full settings to confirm.
    pub(crate) fn solve(&mut self, program: &ConeProgram, time_limit: f64) -> Option<Solution> {
        if program.n() == 0 || !self.set_up() {
            return None;
        }
        let mut solver = self.solver.take()?;
        let unit = unit_of_small_or_large(program);
        let current = self.current.as_ref();
        let same = (
            current.is_some_and(|c| program.p().is_same(c.p())),
            current.is_some_and(|c| program.effective_a().is_same(c.effective_a())),
        );
        // A panic leaves no solver behind.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let timed = DefaultSettings {
                time_limit,
                ..solver.settings().clone()
            };
            solver.update_settings(timed).ok()?;
            obey_budget(&mut solver);
            if !same.0 {
                solver.update_P(&program.p().values().to_vec()).ok()?;
            }
            if !same.1 {
                solver
                    .update_A(&program.effective_a().values().to_vec())
                    .ok()?;
            }
            solver.update_q(&scaled(program.q(), unit)).ok()?;
            solver.update_b(&scaled(program.effective_b(), unit)).ok()?;
            solver.solve();
            let found = Found::new(&solver.solution, unit);
            Some((solver, found))
        }));
        let (solver, found) = outcome.ok()??;
        self.solver = Some(solver);
        self.current = Some(program.clone());
        limit::check(ANSWER).ok()?;
        match interpret(program, found) {
            Ok(solution) => Some(solution),
            Err(error) => last_iterate(program, &error).ok(),
        }
    }
}

/// The point where the solver met numerical trouble, as an almost solved one; any other failure is given back.
pub(crate) fn last_iterate(program: &ConeProgram, failure: &Error) -> Result<Solution> {
    match failure {
        Error::NotSolved {
            status: Status::NumericalError | Status::InsufficientProgress,
            iterations,
            last,
            ..
        } => {
            let (x, z, s) = (last.x.clone(), last.z.clone(), last.s.clone());
            let mut solution = Solution::given(program, x, z, s).map_err(|_| failure.clone())?;
            solution.status = Status::AlmostSolved;
            solution.iterations = *iterations;
            Ok(solution)
        }
        _ => Err(failure.clone()),
    }
}

/// What a budget is asked before.
const ANSWER: &str = "the use of the interior-point method's answer";

/// Looks at the thread's budget before each iteration.
fn obey_budget(solver: &mut DefaultSolver<f64>) {
    if limit::is_set() {
        solver.set_termination_callback(|_| limit::is_over());
    } else {
        solver.unset_termination_callback();
    }
}

fn clarabel_settings(settings: &SolveSettings) -> DefaultSettings<f64> {
    DefaultSettings {
        verbose: false,
        max_threads: 1,
        presolve_enable: false,
        chordal_decomposition_enable: false,
        max_iter: settings.max_iterations,
        time_limit: settings.time_limit,
        tol_gap_abs: settings.tolerance,
        tol_gap_rel: settings.tolerance,
        tol_feas: settings.tolerance,
        tol_infeas_abs: settings.tolerance,
        tol_infeas_rel: settings.tolerance,
        ..DefaultSettings::default()
    }
}

fn csc(matrix: &SparseMatrix) -> CscMatrix<f64> {
    CscMatrix::new(
        matrix.rows(),
        matrix.cols(),
        matrix.pattern().indptr().to_vec(),
        matrix.pattern().indices().to_vec(),
        matrix.values().to_vec(),
    )
}

fn supported(cone: &Cone) -> SupportedConeT<f64> {
    match cone {
        Cone::Zero(d) => SupportedConeT::ZeroConeT(*d),
        Cone::Nonnegative(d) => SupportedConeT::NonnegativeConeT(*d),
        Cone::SecondOrder(d) => SupportedConeT::SecondOrderConeT(*d),
        Cone::PsdTriangle(k) => SupportedConeT::PSDTriangleConeT(*k),
        Cone::Exponential => SupportedConeT::ExponentialConeT(),
        Cone::Power(a) => SupportedConeT::PowerConeT(*a),
        Cone::GeneralizedPower(a, d) => SupportedConeT::GenPowerConeT(summing_to_one(a), *d),
    }
}

/// How Clarabel ended.
struct Found {
    x: Vec<f64>,
    z: Vec<f64>,
    s: Vec<f64>,
    status: SolverStatus,
    iterations: u32,
    r_prim: f64,
    r_dual: f64,
}

impl Found {
    /// What was found for q and b divided by `unit`. Certificates have no size.
    fn new(found: &DefaultSolution<f64>, unit: f64) -> Self {
        let is_certificate = matches!(
            found.status,
            SolverStatus::PrimalInfeasible
                | SolverStatus::AlmostPrimalInfeasible
                | SolverStatus::DualInfeasible
                | SolverStatus::AlmostDualInfeasible
        );
        let unit = if is_certificate { 1.0 } else { unit };
        let times = |v: &[f64]| v.iter().map(|x| unit * x).collect::<Vec<f64>>();
        Self {
            x: times(&found.x),
            z: times(&found.z),
            s: times(&found.s),
            status: found.status,
            iterations: found.iterations,
            r_prim: found.r_prim,
            r_dual: found.r_dual,
        }
    }
}

fn interpret(program: &ConeProgram, mut found: Found) -> Result<Solution> {
    let finite = [&found.x, &found.z, &found.s]
        .iter()
        .all(|v| norm_max(v).is_finite());
    // On rows without a bound Clarabel saw 0'x + s = 1: its small z would meet the caller's b = 1e20.
    for &i in program.unbounded() {
        found.z[i] = 0.0;
        found.s[i] = program.b()[i];
    }
    let status = match found.status {
        SolverStatus::Solved => Status::Solved,
        SolverStatus::AlmostSolved => Status::AlmostSolved,
        SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
            return Err(Error::PrimalInfeasible {
                value: dot(program.effective_b(), &found.z),
                certificate: found.z,
            });
        }
        SolverStatus::DualInfeasible | SolverStatus::AlmostDualInfeasible => {
            return Err(Error::DualInfeasible {
                value: dot(program.q(), &found.x),
                certificate: found.x,
            });
        }
        SolverStatus::MaxIterations => Status::MaxIterations,
        SolverStatus::MaxTime | SolverStatus::CallbackTerminated => Status::MaxTime,
        SolverStatus::NumericalError | SolverStatus::Unsolved => Status::NumericalError,
        SolverStatus::InsufficientProgress => Status::InsufficientProgress,
    };
    if !finite || !matches!(status, Status::Solved | Status::AlmostSolved) {
        return Err(Error::NotSolved {
            status: if finite {
                status
            } else {
                Status::NumericalError
            },
            iterations: found.iterations,
            primal_residual: found.r_prim,
            dual_residual: found.r_dual,
            last: Box::new(Iterate {
                x: found.x,
                z: found.z,
                s: found.s,
            }),
        });
    }
    let mut solution = Solution::given(program, found.x, found.z, found.s)?;
    solution.status = status;
    solution.iterations = found.iterations;
    Ok(solution)
}

/// n = 0: s = b, and z = 0 if b lies in K; otherwise z = Pi(-b) certifies infeasibility, b'z = -|z|^2.
fn without_variables(program: &ConeProgram) -> Result<Solution> {
    let b = program.effective_b();
    let v: Vec<f64> = b.iter().map(|x| -x).collect();
    let z = Projection::new(program.cones(), &v)?.z().to_vec();
    if norm_max(&z) > 1e-9 * (1.0 + norm_max(b)) {
        return Err(Error::PrimalInfeasible {
            value: dot(b, &z),
            certificate: z,
        });
    }
    Solution::given(
        program,
        Vec::new(),
        vec![0.0; b.len()],
        program.b().to_vec(),
    )
}
