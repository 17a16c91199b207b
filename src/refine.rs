//! Solving with refinement: an interior-point answer with a gap of 1e-8 fixes v = z - s only to about 1e-4, and the active set can be
//! wrong. Newton steps on F(x, v) = 0 with an element of its Jacobian take the residual to rounding.
//!
//! # References
//! Busseti, Moursi, Boyd, Solution refinement at regular points of conic problems, 2019, Algorithm 1 (with LSQR there).

use crate::error::{Error, Iterate, Result, Status};
use crate::linsolve::Structure;
use crate::newton::{Newton, Point};
use crate::point::{point_of, take_point};
use crate::program::ConeProgram;
use crate::settings::{Settings, SolveSettings};
use crate::solution::Solution;
use crate::solve::{interior_point, last_iterate};
use crate::tangent::norm_max;
use std::sync::Arc;
use std::time::Instant;

/// How far refinement may move a point that the solver gave up at, relative to its size.
pub(crate) const NEAR_START: f64 = 0.1;

/// Where Newton does not get from a solved point to the solution, the interior-point method goes on to this tolerance: where margins are
/// small, a gap of 1e-8 does not tell the active set.
const TIGHT: f64 = 1e-12;

/// Solves with Clarabel and refines; where refinement fails, once more from a tighter solve.
///
/// ```
/// use conediff::{Cone, ConeProgram, Refinement, Settings, Solution, Status, solve};
/// // minimize 1/2 x^2 - x subject to x <= 1/4: x = 1/4 with multiplier 3/4
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let solution: Solution = solve(&program, &Settings::default())?;
/// assert!((solution.x[0] - 0.25).abs() < 1e-12 && (solution.z[0] - 0.75).abs() < 1e-12);
/// assert_eq!(solution.status, Status::Solved);
/// assert!(solution.refinement.is_some_and(|r: Refinement| r.accepted && r.after < 1e-14));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// Those of [`interior_point`]; [`Error::NotSolved`] with [`Status::AlmostSolved`] if an almost solved point does not refine to
/// the tolerance (one where the solver met numerical trouble and that does refine counts as almost solved);
/// [`Error::Setting`]; [`Error::TimeLimit`] and [`Error::Cancelled`] in a [`crate::Budget`].
pub fn solve(program: &ConeProgram, settings: &Settings) -> Result<Solution> {
    settings.validate()?;
    let mut newton = Newton::new(&Arc::new(Structure::new(program)?), settings.linear);
    Ok(solve_with(program, settings, &mut newton)?.0)
}

/// [`solve`] on a given Newton's method; the point as well.
pub(crate) fn solve_with(
    program: &ConeProgram,
    settings: &Settings,
    newton: &mut Newton,
) -> Result<(Solution, Point)> {
    let begun = Instant::now();
    let (start, failure) = match interior_point(program, &settings.solve) {
        Ok(solution) => (solution, None),
        // Clarabel often gives up at a point that is good enough to start from: only the residual decides.
        Err(error) if settings.refine.enabled => (last_iterate(program, &error)?, Some(error)),
        Err(error) => return Err(error),
    };
    let mut solution = start.clone();
    let mut point = point_of(program, &start)?;
    if settings.refine.enabled {
        point = refine_at(&mut solution, point, settings, newton)?;
    }
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
    if settings.refine.enabled && !accepted {
        let spent = begun.elapsed().as_secs_f64();
        if let Some(tighter) = solve_tightly(program, settings, newton, spent)? {
            return Ok(tighter);
        }
    }
    Ok((solution, point))
}

/// The interior-point method to [`TIGHT`], and refinement from there; `None` if that does not meet its tolerance either.
fn solve_tightly(
    program: &ConeProgram,
    settings: &Settings,
    newton: &mut Newton,
    spent: f64,
) -> Result<Option<(Solution, Point)>> {
    let tight = SolveSettings {
        tolerance: TIGHT,
        time_limit: settings.solve.time_limit - spent,
        ..settings.solve
    };
    if tight.time_limit <= 0.0 || settings.solve.tolerance <= TIGHT {
        return Ok(None);
    }
    let start = match interior_point(program, &tight) {
        Ok(start) => start,
        Err(spent @ (Error::TimeLimit { .. } | Error::Cancelled { .. })) => return Err(spent),
        // It often ends above that tolerance, and nearer than before all the same.
        Err(error) => match last_iterate(program, &error) {
            Ok(start) => start,
            Err(_) => return Ok(None),
        },
    };
    let mut solution = start;
    // What it was asked for first it has met.
    solution.status = Status::Solved;
    let point = point_of(program, &solution)?;
    let point = refine_at(&mut solution, point, settings, newton)?;
    let is_refined = solution.refinement.is_some_and(|r| r.accepted);
    Ok(is_refined.then_some((solution, point)))
}

/// Refines a solution from its point, and gives the point it ends at.
pub(crate) fn refine_at(
    solution: &mut Solution,
    point: Point,
    settings: &Settings,
    newton: &mut Newton,
) -> Result<Point> {
    let (point, refinement) = newton.run(point, &settings.refine)?;
    solution.refinement = Some(refinement);
    if refinement.accepted {
        take_point(solution, &point)?;
    }
    Ok(point)
}

/// The largest change of x, z and s relative to 1 + the start's largest entry.
pub(crate) fn distance(solution: &Solution, start: &Solution) -> f64 {
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

/// Refines a solution by semismooth Newton steps. The result's `refinement` says what happened; when the residual does not reach
/// the tolerance the point comes back as it was. Each step costs one projection, at most one factorization and its solves.
///
/// # Errors
/// [`Error::Setting`]; [`Error::Dimension`] and [`Error::NonFinite`] for a solution that does not fit the program.
pub fn refine(program: &ConeProgram, solution: &Solution, settings: &Settings) -> Result<Solution> {
    settings.validate()?;
    solution.check(program)?;
    let mut newton = Newton::new(&Arc::new(Structure::new(program)?), settings.linear);
    let mut refined = solution.clone();
    let point = point_of(program, solution)?;
    refine_at(&mut refined, point, settings, &mut newton)?;
    Ok(refined)
}
