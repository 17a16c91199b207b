//! Semismooth Newton refinement of a solution, and solving with it.
//!
//! An interior-point answer with a gap of 1e-8 fixes v = z - s only to about 1e-4, and the active set can be wrong. Newton steps on
//! F(x, v) = 0 with an element of its Jacobian take the residual to rounding. Steps are plain: a monotone safeguard
//! stops steps that change the active set, which are the useful ones. The point with the least residual is kept.
//!
//! # References
//! Busseti, Moursi, Boyd, Solution refinement at regular points of conic problems, 2019, Algorithm 1 (with LSQR there).
//! Qi, Sun, A nonsmooth version of Newton's method, 1993.

use crate::error::{Error, Iterate, Result, Status};
use crate::linsolve::{Prepared, Structure};
use crate::program::ConeProgram;
use crate::projection::Projection;
use crate::residual::{ResidualJacobian, relative_residual, residual_into};
use crate::settings::Settings;
use crate::solution::{Refinement, Solution};
use crate::solve::interior_point;
use crate::tangent::norm_max;
use std::sync::Arc;

/// Below this the residual is rounding.
const ROUNDING: f64 = 1e-15;

/// How far refinement may move a point that the solver gave up at, relative to its size.
const NEAR_START: f64 = 0.1;

/// A Newton step solved to this relative residual is good; a worse one is tried again with less regularization.
const GOOD_STEP: f64 = 1e-8;

/// A Newton step whose relative residual is above this is not taken: the system was singular.
const USABLE_STEP: f64 = 1e-3;

/// Solves with Clarabel and refines.
///
/// ```
/// use conediff::{Cone, ConeProgram, Settings, solve};
/// // minimize 1/2 x^2 - x subject to x <= 1/4: x = 1/4 with multiplier 3/4
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let solution = solve(&program, &Settings::default())?;
/// assert!((solution.x[0] - 0.25).abs() < 1e-12 && (solution.z[0] - 0.75).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// Those of [`interior_point`]; [`Error::NotSolved`] with [`Status::AlmostSolved`] if an almost solved point does not refine to
/// the tolerance (one where the solver met numerical trouble and that does refine counts as almost solved);
/// [`Error::Setting`].
pub fn solve(program: &ConeProgram, settings: &Settings) -> Result<Solution> {
    settings.validate()?;
    let (solution, failure) = match interior_point(program, &settings.solve) {
        Ok(solution) => (solution, None),
        // Clarabel often gives up at a point that is good enough to start from: only the residual decides.
        Err(error) if settings.refine.enabled => (last_iterate(program, &error)?, Some(error)),
        Err(error) => return Err(error),
    };
    let start = solution;
    let solution = if settings.refine.enabled {
        refine(program, &start, settings)?
    } else {
        start.clone()
    };
    let mut accepted = solution.refinement.is_some_and(|r| r.accepted);
    if failure.is_some() {
        // Where no solution exists, points run away and any residual is small beside them: a rescued point must lie near its start.
        accepted &= distance(&solution, &start) <= NEAR_START;
    }
    if solution.status == Status::AlmostSolved && !accepted {
        return Err(failure.unwrap_or_else(|| Error::NotSolved {
            status: Status::AlmostSolved,
            iterations: solution.iterations,
            primal_residual: solution.refinement.map_or(f64::NAN, |r| r.before),
            dual_residual: solution.refinement.map_or(f64::NAN, |r| r.after),
            last: Box::new(Iterate {
                x: solution.x,
                z: solution.z,
                s: solution.s,
            }),
        }));
    }
    Ok(solution)
}

/// The largest change of x, z and s relative to 1 + the start's largest entry.
fn distance(solution: &Solution, start: &Solution) -> f64 {
    let change = |a: &[f64], b: &[f64]| {
        let d: Vec<f64> = a
            .iter()
            .zip(b)
            .map(|(a, b)| if a == b { 0.0 } else { a - b })
            .collect();
        norm_max(&d) / (1.0 + norm_max(b))
    };
    change(&solution.x, &start.x)
        .max(change(&solution.z, &start.z))
        .max(change(&solution.s, &start.s))
}

/// The point where the solver met numerical trouble, as an almost solved one; any other failure is given back.
fn last_iterate(program: &ConeProgram, failure: &Error) -> Result<Solution> {
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

struct Point {
    x: Vec<f64>,
    v: Vec<f64>,
    projection: Projection,
    residual: Vec<f64>,
    relative: f64,
}

impl Point {
    fn new(program: &ConeProgram, x: Vec<f64>, v: Vec<f64>) -> Result<Self> {
        let projection = Projection::new(program.cones(), &v)?;
        let mut residual = vec![0.0; x.len() + v.len()];
        residual_into(program, &x, projection.z(), projection.s(), &mut residual);
        let relative = relative_residual(program, &x, projection.z(), projection.s(), &residual);
        Ok(Self {
            x,
            v,
            projection,
            residual,
            relative,
        })
    }
}

/// Refines a solution by semismooth Newton steps. The result's `refinement` says what happened; when the residual does not reach
/// the tolerance the point comes back as it was. Each step costs one projection, one factorization and its solves.
///
/// # Errors
/// [`Error::Setting`]; [`Error::Dimension`] and [`Error::NonFinite`] for a solution that does not fit the program.
pub fn refine(program: &ConeProgram, solution: &Solution, settings: &Settings) -> Result<Solution> {
    settings.validate()?;
    solution.check(program)?;
    let structure = Arc::new(Structure::new(program));
    let mut point = Point::new(program, solution.x.clone(), solution.v(program))?;
    let before = point.relative;
    let mut best: Option<Point> = None;
    let mut best_relative = before;
    let (mut steps, mut last_step, mut best_step) = (0, 0.0, 0.0);
    while steps < settings.refine.max_steps && (best_relative.is_nan() || best_relative > ROUNDING)
    {
        let jacobian = ResidualJacobian::from_parts(program.clone(), point.projection.clone());
        let Some(step) = newton_step(&structure, &jacobian, &point.residual, settings) else {
            break;
        };
        let size = 1.0 + norm_max(&point.x).max(norm_max(&point.v));
        last_step = norm_max(&step) / size;
        let (dx, dv) = step.split_at(program.n());
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + d).collect::<Vec<f64>>();
        let Ok(next) = Point::new(program, add(&point.x, dx), add(&point.v, dv)) else {
            break;
        };
        steps += 1;
        let settled = point.relative <= settings.refine.tolerance.min(1e-10)
            && next.relative > 0.1 * point.relative;
        if next.relative < best_relative {
            best_relative = next.relative;
            best_step = last_step;
            best = Some(Point {
                projection: next.projection.clone(),
                x: next.x.clone(),
                v: next.v.clone(),
                residual: Vec::new(),
                relative: next.relative,
            });
        }
        if settled || !next.relative.is_finite() {
            break;
        }
        point = next;
    }
    let accepted = best_relative <= settings.refine.tolerance;
    let refinement = Some(Refinement {
        before,
        after: if accepted { best_relative } else { before },
        steps,
        last_step: if best.is_some() { best_step } else { last_step },
        accepted,
    });
    let mut refined = solution.clone();
    refined.refinement = refinement;
    if !accepted {
        return Ok(refined);
    }
    let best = match best {
        Some(best) => best,
        // The solver's point was exact already; its projection makes z and s exactly complementary.
        None => Point::new(program, solution.x.clone(), solution.v(program))?,
    };
    refined.objective = program.objective(&best.x)?;
    refined.x = best.x;
    refined.z = best.projection.z().to_vec();
    refined.s = best.projection.s().to_vec();
    refined.free_rows(program);
    Ok(refined)
}

/// -J^-1 F, or the least-squares step where J is singular; `None` if there is no usable one.
fn newton_step(
    structure: &Arc<Structure>,
    jacobian: &ResidualJacobian,
    residual: &[f64],
    settings: &Settings,
) -> Option<Vec<f64>> {
    let rhs: Vec<f64> = residual.iter().map(|r| -r).collect();
    let mut best: Option<(f64, Vec<f64>)> = None;
    for regularization in [1e-6, 1e-9] {
        let Ok(prepared) =
            Prepared::for_newton(structure, jacobian, regularization, settings.linear)
        else {
            continue;
        };
        let mut step = vec![0.0; rhs.len()];
        let mut work = prepared.workspace(jacobian);
        let evidence = prepared.solve(jacobian, &rhs, &mut step, &mut work).ok()?;
        let missed = evidence.residual;
        if missed <= GOOD_STEP {
            return Some(step);
        }
        if missed <= USABLE_STEP && best.as_ref().is_none_or(|b| missed < b.0) {
            best = Some((missed, step));
        }
    }
    if let Some((_, step)) = best {
        return Some(step);
    }
    let prepared = Prepared::for_singular_newton(structure, jacobian, settings.linear).ok()?;
    let mut step = vec![0.0; rhs.len()];
    let mut work = prepared.workspace(jacobian);
    prepared.solve(jacobian, &rhs, &mut step, &mut work).ok()?;
    norm_max(&step).is_finite().then_some(step)
}
