//! One item's forward: warm start, cheap forward, full solve, each accepted by the residual alone.

use super::settings::{ForwardSolver, LayerSettings, WarmStart};
use crate::cone::Cone;
use crate::dense_qp::DenseQp;
use crate::derivative::{Derivative, DerivativeWorkspace};
use crate::error::{Error, Result, Status};
use crate::limit;
use crate::linsolve::Structure;
use crate::newton::{Newton, Point};
use crate::point::point_of;
use crate::program::{ConeProgram, NO_BOUND};
use crate::refine::{NEAR_START, distance, refine_at, solve_with};
use crate::settings::{ClarabelLinearSolver, RefineSettings, Settings};
use crate::solution::Solution;
use crate::solve::{ReusedSolver, Setup};
use crate::tangent::norm_max;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Newton steps from a warm start and from a cheap point. Each active set met on the way takes one; a solve from scratch is cheaper than
/// many.
const FEW_STEPS: usize = 12;

/// A start whose refinement is this many times as large has run away, as points do where no solution exists.
const RUN_AWAY: f64 = 1e2;

/// Up to this many variables and equalities the dense interior-point method is considered.
const DENSE_QP_LIMIT: usize = 600;

/// Clarabel's entry-by-entry factorization is not timed on PSD cones above this order: one would take seconds.
const QDLDL_PSD_LIMIT: usize = 50;

/// Trials of each solver, and the seconds from which one will do.
const TRIALS: usize = 2;
const LONG: f64 = 0.05;

/// Tolerances that are tried beside the cheap one: the tight one may save more Newton steps than it costs, the loose one fewer. From the
/// loose one linear programs end at wrong vertices; curved cones do not.
const TIGHT: f64 = 1e-8;
const LOOSE: f64 = 1e-4;

/// How a forward found its answer.
///
/// ```
/// # use conediff::{Cone, ConeProgram, ConicLayer, LayerData, LayerSettings, WarmStart};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::ForwardPath;
/// // minimize 1/2 x^2 - x subject to x <= b
/// let mut layer = ConicLayer::new(&program, LayerSettings::default().with_warm_start(WarmStart::Previous))?;
/// let mut paths = Vec::new();
/// for b in [0.25, 0.3, f64::NAN] {
///     let is_solved = layer.forward(&LayerData::default().with_b(&[b])).is_ok();
///     assert_eq!(is_solved, layer.path(0).is_some());
///     paths.push(layer.path(0));
/// }
/// // The first has no solution to start from, the last no answer.
/// assert!(paths[0].is_some_and(|path| path != ForwardPath::Warm));
/// assert_eq!(paths[1..], [Some(ForwardPath::Warm), None]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardPath {
    /// Newton from the warm start.
    Warm,
    /// The dense interior-point method and Newton.
    DenseQp,
    /// Clarabel at the cheap tolerance and Newton.
    Cheap,
    /// A fresh Clarabel at full settings and Newton: what is cheaper had missed the residual test, or was switched off.
    Full,
}

/// The solver of a structure's cheap forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Engine {
    DenseQp,
    Clarabel(Setup),
}

/// What all items and threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) program: ConeProgram,
    pub(super) settings: LayerSettings,
    /// Of the patterns alone: the layer's own values may be those of no item.
    pub(super) structure: Arc<Structure>,
    /// For values that `structure` does not suit.
    pub(super) for_any_values: OnceLock<Arc<Structure>>,
    pub(super) engine: OnceLock<Engine>,
}

impl Shared {
    /// A copy of the program, if it has the layer's patterns and cones.
    pub(super) fn same_structure(&self, program: &ConeProgram) -> Result<ConeProgram> {
        if self.program.has_structure_of(program) {
            Ok(program.clone())
        } else {
            Err(Error::PatternMismatch {
                what: "the program",
            })
        }
    }

    fn structure(&self, program: &ConeProgram) -> Result<&Arc<Structure>> {
        if self.structure.suits(program) {
            return Ok(&self.structure);
        }
        if let Some(made) = self.for_any_values.get() {
            return Ok(made);
        }
        let made = Arc::new(Structure::with_variables(&self.program, false)?);
        Ok(self.for_any_values.get_or_init(|| made))
    }
}

/// One thread's solvers.
#[derive(Debug, Default)]
pub(super) struct Worker {
    dense: Option<DenseQp>,
    clarabel: Option<ReusedSolver>,
}

/// One item's answer, with what its derivatives need.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) derivative: Option<Derivative>,
    pub(super) work: Option<DerivativeWorkspace>,
    pub(super) path: Option<ForwardPath>,
    /// True if a warm start was tried and missed.
    pub(super) missed_warm: bool,
    /// The point of a derivative that was handed over, where the next forward may start from it.
    start: Option<(Vec<f64>, Vec<f64>, Vec<f64>)>,
}

impl Item {
    /// Hands over the derivative; the point stays if a forward may start from it.
    pub(super) fn take_derivative(&mut self, keep_start: bool) -> Option<Derivative> {
        let derivative = self.derivative.take();
        if let Some(derivative) = derivative.as_ref().filter(|_| keep_start) {
            let projection = derivative.projection();
            let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
            self.start = Some((derivative.solution().x.clone(), z, s));
        }
        derivative
    }

    /// Solves the program and prepares its derivative. On an error the item is empty.
    pub(super) fn forward(
        &mut self,
        shared: &Shared,
        worker: &mut Worker,
        program: &ConeProgram,
    ) -> Result<()> {
        let settings = &shared.settings.settings;
        self.path = None;
        self.missed_warm = false;
        let mut newton = Newton::new(shared.structure(program)?, settings.linear);
        let mut start = self.start.take();
        if let Some(previous) = self.derivative.take() {
            let (x, z, s, prepared) = previous.into_parts();
            let keep = shared.settings.warm_start != WarmStart::Off;
            newton = newton.with_prepared(prepared, keep);
            start = Some((x, z, s));
        }
        let warm = match &shared.settings.warm_start {
            WarmStart::Off => None,
            WarmStart::Previous => start,
            WarmStart::Given(solution) => {
                let mut start = Solution::clone(solution);
                // A row that had no bound there: 1 is a guess, 1e20 is none.
                for s in start.s.iter_mut().filter(|s| **s >= NO_BOUND) {
                    *s = 1.0;
                }
                start.check(program)?;
                Some((start.x, start.z, start.s))
            }
        };
        if let Some(start) = warm.filter(|_| settings.refine.enabled) {
            if let Some((solution, point)) = from_start(program, start, settings, &mut newton)? {
                return self.finish(point, newton, solution, settings, ForwardPath::Warm);
            }
            self.missed_warm = true;
        }
        if settings.refine.enabled
            && let Some((solution, point, path)) = worker.cheap(shared, program, &mut newton)
        {
            return self.finish(point, newton, solution, settings, path);
        }
        let (solution, point) = solve_with(program, settings, &mut newton)?;
        self.finish(point, newton, solution, settings, ForwardPath::Full)
    }

    fn finish(
        &mut self,
        point: Point,
        mut newton: Newton,
        solution: Solution,
        settings: &Settings,
        path: ForwardPath,
    ) -> Result<()> {
        newton.calibrate(&point);
        let derivative = Derivative::at(point, newton, solution, settings)?;
        limit::check("the use of the item's answer")?;
        match &mut self.work {
            Some(work) => derivative.fit(work),
            None => self.work = Some(derivative.workspace()),
        }
        self.derivative = Some(derivative);
        self.path = Some(path);
        Ok(())
    }
}

/// Newton from a guess; `None` if it does not get there.
fn from_start(
    program: &ConeProgram,
    (x, z, s): (Vec<f64>, Vec<f64>, Vec<f64>),
    settings: &Settings,
    newton: &mut Newton,
) -> Result<Option<(Solution, Point)>> {
    let mut v: Vec<f64> = z.iter().zip(&s).map(|(z, s)| z - s).collect();
    for &i in program.unbounded() {
        v[i] = -1.0;
    }
    let size = norm_max(&x).max(norm_max(&v));
    let Ok(start) = Point::new(program, x, v, (z, s)) else {
        return Ok(None);
    };
    let refine = RefineSettings {
        max_steps: settings.refine.max_steps.min(FEW_STEPS),
        ..settings.refine
    };
    let (point, refinement) = newton.run_from_guess(start, &refine)?;
    let grown = norm_max(&point.x).max(norm_max(&point.v));
    if !refinement.accepted || grown > RUN_AWAY * (1.0 + size) {
        return Ok(None);
    }
    let projection = point.jacobian.projection();
    let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
    let mut solution = Solution::given(program, point.x.clone(), z, s)?;
    solution.refinement = Some(refinement);
    Ok(Some((solution, point)))
}

/// A point that met the residual test.
type Found = (Solution, Point, ForwardPath);

impl Worker {
    /// The cheap forward; `None` if its solver did not end well or the residual test was missed.
    fn cheap(
        &mut self,
        shared: &Shared,
        program: &ConeProgram,
        newton: &mut Newton,
    ) -> Option<Found> {
        match shared.engine.get() {
            Some(&engine) => self.run(shared, engine, program, f64::INFINITY, newton),
            None => self.choose(shared, program, newton),
        }
    }

    fn run(
        &mut self,
        shared: &Shared,
        engine: Engine,
        program: &ConeProgram,
        time_limit: f64,
        newton: &mut Newton,
    ) -> Option<Found> {
        let settings = &shared.settings.settings;
        let time_limit = time_limit.min(settings.solve.time_limit);
        self.set_up(shared, engine);
        let (mut solution, path) = match engine {
            Engine::DenseQp => {
                // Its iterations are cheap and the active set is worth the last few.
                let tolerance = shared.settings.tolerance.min(settings.solve.tolerance);
                let limit = settings.solve.max_iterations;
                let dense = self.dense.as_mut()?;
                let solution = dense.solve(program, tolerance, limit, time_limit)?;
                (solution, ForwardPath::DenseQp)
            }
            Engine::Clarabel(_) => {
                let solution = self.clarabel.as_mut()?.solve(program, time_limit)?;
                (solution, ForwardPath::Cheap)
            }
        };
        let start = solution.clone();
        let point = point_of(program, &solution).ok()?;
        let mut few = *settings;
        few.refine.max_steps = few.refine.max_steps.min(FEW_STEPS);
        let point = refine_at(&mut solution, point, &few, newton).ok()?;
        // Where no solution exists, points run away and any residual is small beside them.
        let farthest = match start.status {
            Status::Solved => RUN_AWAY,
            _ => NEAR_START,
        };
        let is_accepted = solution.refinement.is_some_and(|r| r.accepted)
            && distance(&solution, &start) <= farthest;
        is_accepted.then_some((solution, point, path))
    }

    /// Times what the settings leave open and keeps the fastest for the layer: which solver, then whether Clarabel needs its inner
    /// refinement where it expands cones, then its tolerance.
    fn choose(
        &mut self,
        shared: &Shared,
        program: &ConeProgram,
        newton: &mut Newton,
    ) -> Option<Found> {
        let mut best = None;
        let engines = engines(shared);
        if let [engine] = engines[..] {
            // Chosen by the settings: no clock plays a part.
            let _ = shared.engine.set(engine);
            return self.run(shared, engine, program, f64::INFINITY, newton);
        }
        for &engine in &engines {
            self.try_out(shared, engine, program, newton, &mut best);
        }
        if best.is_none() {
            // Degenerate programs need the tight tolerance to find their active set.
            for engine in &engines {
                if let Engine::Clarabel(setup) = *engine {
                    let tolerance = setup.tolerance.min(TIGHT);
                    let engine = Engine::Clarabel(Setup { tolerance, ..setup });
                    self.try_out(shared, engine, program, newton, &mut best);
                }
            }
        }
        if let Some((_, Engine::Clarabel(setup), _)) = best
            && setup.inner_refinement
        {
            let engine = Engine::Clarabel(Setup {
                inner_refinement: false,
                ..setup
            });
            self.try_out(shared, engine, program, newton, &mut best);
        }
        if let Some((_, Engine::Clarabel(setup), _)) = best {
            let is_polyhedral = program.cones().iter().all(is_polyhedral);
            let others = [TIGHT, LOOSE]
                .into_iter()
                .take(if is_polyhedral { 1 } else { 2 });
            for tolerance in others.filter(|t| *t != setup.tolerance) {
                let engine = Engine::Clarabel(Setup { tolerance, ..setup });
                self.try_out(shared, engine, program, newton, &mut best);
            }
        }
        if limit::is_over() {
            // What did not end in a spent budget is no slow solver.
            return None;
        }
        // Where none ends well, one will do to try first from now on. Another thread may have measured too: the first verdict stands.
        let engine = best.as_ref().map_or(engines.last().copied()?, |b| b.1);
        let _ = shared.engine.set(engine);
        best.map(|b| b.2)
    }

    /// Runs an engine to the refined point, and takes it if it is faster than the best.
    fn try_out(
        &mut self,
        shared: &Shared,
        engine: Engine,
        program: &ConeProgram,
        newton: &mut Newton,
        best: &mut Option<(f64, Engine, Found)>,
    ) {
        self.set_up(shared, engine);
        if best.is_none() {
            let start = Instant::now();
            let Some(found) = self.run(shared, engine, program, f64::INFINITY, newton) else {
                return;
            };
            let time = start.elapsed().as_secs_f64();
            // The linear step's own choices first: they are part of what is timed.
            newton.calibrate(&found.1);
            if time > LONG {
                *best = Some((time, engine, found));
                return;
            }
        }
        for _ in 0..TRIALS {
            let limit = best.as_ref().map_or(f64::INFINITY, |b| b.0);
            let start = Instant::now();
            let Some(found) = self.run(shared, engine, program, limit, newton) else {
                return;
            };
            let time = start.elapsed().as_secs_f64();
            if time < limit {
                *best = Some((time, engine, found));
            }
            if time > LONG {
                return;
            }
        }
    }

    /// What is done once for a structure.
    fn set_up(&mut self, shared: &Shared, engine: Engine) {
        match engine {
            Engine::DenseQp if self.dense.is_none() => {
                self.dense = DenseQp::new(&shared.program);
            }
            Engine::Clarabel(setup)
                if self.clarabel.as_ref().is_none_or(|c| c.setup() != setup) =>
            {
                let mut solver = ReusedSolver::new(&shared.program, setup);
                solver.set_up();
                self.clarabel = Some(solver);
            }
            _ => {}
        }
    }
}

fn is_polyhedral(cone: &Cone) -> bool {
    matches!(cone, Cone::Zero(_) | Cone::Nonnegative(_))
}

/// The solvers the settings and the structure leave open.
fn engines(shared: &Shared) -> Vec<Engine> {
    let (program, settings) = (&shared.program, &shared.settings);
    let cones = program.cones();
    let equalities = cones.iter().filter(|c| matches!(c, Cone::Zero(_)));
    let equalities: usize = equalities.map(Cone::rows).sum();
    let can_be_dense = program.n() > 0 && cones.iter().all(is_polyhedral);
    let is_small = program.n() + equalities <= DENSE_QP_LIMIT;
    let mut engines = Vec::new();
    match settings.forward {
        ForwardSolver::DenseQp if can_be_dense => return vec![Engine::DenseQp],
        ForwardSolver::Auto if can_be_dense && is_small => engines.push(Engine::DenseQp),
        _ => {}
    }
    // Clarabel expands these cones, and needs its refinement there more often than not.
    let is_expanded = |c: &Cone| match c {
        Cone::SecondOrder(d) => *d > 4,
        Cone::GeneralizedPower(..) => true,
        _ => false,
    };
    let clarabel = |linear| {
        Engine::Clarabel(Setup {
            tolerance: settings.tolerance.max(settings.settings.solve.tolerance),
            max_iterations: settings.settings.solve.max_iterations,
            linear,
            inner_refinement: cones.iter().any(is_expanded),
        })
    };
    let is_large = |c: &Cone| matches!(c, Cone::PsdTriangle(k) if *k > QDLDL_PSD_LIMIT);
    match settings.clarabel {
        ClarabelLinearSolver::Auto => {
            engines.push(clarabel(ClarabelLinearSolver::Faer));
            if !cones.iter().any(is_large) {
                engines.push(clarabel(ClarabelLinearSolver::Qdldl));
            }
        }
        chosen => engines.push(clarabel(chosen)),
    }
    engines
}
