//! The smoothed program: derivatives of the central path's point, which have no kinks.
//!
//! With the smoothed projection Pi_mu ([`crate::Projection::smoothed`]) in place of the projection, the zero of
//!
//! ```text
//! F_mu(x, v) = [ Px + A'Pi_mu(v) + q ;  -Ax + b - (Pi_mu(v) - v) ]        J_mu = [ P    A'D_mu   ]
//!                                                                                [ -A   I - D_mu ]
//! ```
//!
//! is the central path's point: the solution of min 1/2 x'Px + q'x + mu f(s) with the barrier f of K. It exists for every mu > 0
//! if some x has s inside K and some z inside K* has Px + A'z + q = 0; the solution of the program itself is its limit as mu -> 0.
//!
//! # References
//! Nesterov, Nemirovskii, Interior-point polynomial algorithms in convex programming, 1994, section 3 (the path).
//! Chen, Mangasarian, A class of smoothing functions for nonlinear and mixed complementarity problems, 1996 (Newton on F_mu).

use crate::error::{Error, Iterate, Result, Status};
use crate::limit;
use crate::linsolve::{Prepared, Structure};
use crate::newton::Point;
use crate::point::{Moved, PreparedPoint, estimate};
use crate::program::ConeProgram;
use crate::projection::Projection;
use crate::residual::{ResidualJacobian, residual_and_size};
use crate::settings::Settings;
use crate::solution::{Refinement, Solution};
use crate::tangent::norm_max;
use std::sync::Arc;

/// The Newton step at a point of the path is no longer than this, relative to 1 + |(x, v)|. Where there is no path, points run
/// away: their residuals vanish beside them and their steps do not.
const CLOSE: f64 = 1e-6;

/// The relative residual to which a point is found where J_mu is singular, as with redundant equalities, and steps say nothing.
const EXACT: f64 = 1e-13;

/// A step as short as this is rounding.
const ROUNDING: f64 = 1e-13;

/// The relative residual to which points on the way are found.
const ROUGH: f64 = 1e-3;

/// Halvings of a step, and the share of its predicted decrease of |F_mu| a step must have.
const HALVINGS: usize = 40;
const SUFFICIENT: f64 = 1e-4;

/// A point of the central path.
pub(crate) struct PathPoint {
    pub(crate) place: PreparedPoint,
    pub(crate) refinement: Refinement,
}

/// The central path's point for a weight mu, from a solution: Newton's method on F_mu at once or, where that fails, by way of
/// points whose mu goes there from the size of |v|^2.
pub(crate) fn central_path(
    program: &ConeProgram,
    solution: &Solution,
    mu: f64,
    settings: &Settings,
) -> Result<PathPoint> {
    let structure = Arc::new(Structure::new(program)?);
    let start = point(program, solution.x.clone(), solution.v(program), mu)?;
    let before = start.relative;
    let newton = Newton {
        structure: &structure,
        settings,
    };
    let mut outcome = newton.run(start.clone(), mu, settings.refine.tolerance)?;
    let mut steps = outcome.steps;
    if !outcome.is_on_path {
        let size = 1.0 + norm_max(&start.v);
        let mut next = start;
        for weight in way(size * size, mu) {
            let target = if weight == mu {
                settings.refine.tolerance
            } else {
                ROUGH
            };
            let from = point(program, next.x, next.v, weight)?;
            outcome = newton.run(from, weight, target)?;
            steps += outcome.steps;
            if !outcome.is_on_path {
                break;
            }
            next = outcome.point.clone();
        }
    }
    let Outcome {
        point,
        prepared,
        last_step,
        is_on_path,
        ..
    } = outcome;
    let (top, bottom) = point.residual.split_at(program.n());
    let projection = point.jacobian.projection();
    if !is_on_path {
        return Err(Error::NotSolved {
            status: Status::InsufficientProgress,
            iterations: u32::try_from(steps).unwrap_or(u32::MAX),
            primal_residual: norm_max(bottom),
            dual_residual: norm_max(top),
            last: Box::new(Iterate {
                z: projection.z().to_vec(),
                s: projection.s().to_vec(),
                x: point.x,
            }),
        });
    }
    let refinement = Refinement {
        before,
        after: point.relative,
        steps,
        last_step,
        accepted: true,
    };
    let mut work = prepared.workspace(&point.jacobian);
    let (error, worst) = estimate(&point, &prepared, &mut work)?;
    Ok(PathPoint {
        place: PreparedPoint {
            point,
            prepared,
            error,
            worst,
            polished: 0,
        },
        refinement,
    })
}

/// Weights from one to another, each a tenth or ten times the one before, the last one exact. None from a weight beyond the largest
/// number.
fn way(from: f64, to: f64) -> Vec<f64> {
    if !from.is_finite() {
        return Vec::new();
    }
    let factor = if to < from { 0.1 } else { 10.0 };
    let count = (to / from).log10().abs().ceil() as i32;
    let mut weights: Vec<f64> = (0..count).map(|k| from * f64::powi(factor, k)).collect();
    weights.push(to);
    weights
}

/// F_mu and J_mu at (x, v).
fn point(program: &ConeProgram, x: Vec<f64>, v: Vec<f64>, mu: f64) -> Result<Point> {
    let mut projection = Projection::smoothed(program.cones(), &v, mu)?;
    projection.free(program.unbounded());
    let (residual, relative) = residual_and_size(program, &x, projection.z(), projection.s());
    Ok(Point {
        x,
        v,
        jacobian: ResidualJacobian::from_parts(program.clone(), projection),
        residual,
        relative,
    })
}

/// The point a multiple of a step further; `None` where it overflows.
fn stepped(point: &Point, factor: f64, step: &[f64], mu: f64) -> Option<Point> {
    let (dx, dv) = step.split_at(point.x.len());
    let add = |a: &[f64], d: &[f64]| {
        a.iter()
            .zip(d)
            .map(|(a, d)| a + factor * d)
            .collect::<Vec<f64>>()
    };
    let (x, v) = (add(&point.x, dx), add(&point.v, dv));
    self::point(point.jacobian.program(), x, v, mu).ok()
}

/// J_mu one Newton step on.
pub(crate) fn moved(place: &PreparedPoint, mu: f64) -> Option<Moved> {
    if place.prepared.is_singular() {
        return None;
    }
    let next = stepped(&place.point, 1.0, &place.error, mu)?;
    Some(Moved {
        x: next.x,
        jacobian: next.jacobian,
        worst: place.worst.clone(),
    })
}

fn norm(x: &[f64]) -> f64 {
    crate::tangent::dot(x, x).sqrt()
}

/// Newton's method on F_mu = 0 with a line search on |F_mu|. J_mu is nonsingular wherever the path's point is unique, so that
/// |F_mu| has no other stationary points.
struct Newton<'a> {
    structure: &'a Arc<Structure>,
    settings: &'a Settings,
}

/// Where Newton's method ended.
struct Outcome {
    point: Point,
    /// J_mu there.
    prepared: Prepared,
    /// The relative length of the last step.
    last_step: f64,
    steps: usize,
    is_on_path: bool,
}

impl Newton<'_> {
    fn run(&self, mut point: Point, mu: f64, tolerance: f64) -> Result<Outcome> {
        let mut steps = 0;
        loop {
            limit::check("a Newton step of the central path")?;
            let jacobian = &point.jacobian;
            let prepared =
                Prepared::with_structure(self.structure, jacobian, self.settings.linear)?;
            let rhs: Vec<f64> = point.residual.iter().map(|f| -f).collect();
            let mut step = vec![0.0; rhs.len()];
            let mut work = prepared.workspace(jacobian);
            prepared.solve(jacobian, &rhs, &mut step, &mut work)?;
            let size = 1.0 + norm_max(&point.x).max(norm_max(&point.v));
            let length = norm_max(&step) / size;
            let is_rough = tolerance >= ROUGH;
            let needed = if prepared.is_singular() && !is_rough {
                EXACT
            } else {
                tolerance
            };
            let is_on_path = point.relative <= needed && (is_rough || length <= CLOSE);
            let next = if (is_on_path && is_rough)
                || length <= ROUNDING
                || steps >= self.settings.refine.max_steps
            {
                None
            } else {
                search(&point, &step, mu)
            };
            // On the path, steps go on as long as they help much.
            let next = next.filter(|n| !is_on_path || n.relative <= 0.5 * point.relative);
            let Some(next) = next else {
                return Ok(Outcome {
                    point,
                    prepared,
                    last_step: length,
                    steps,
                    is_on_path,
                });
            };
            point = next;
            steps += 1;
        }
    }
}

/// The first of the steps 1, 1/2, 1/4, ... that decreases |F_mu| enough.
fn search(point: &Point, step: &[f64], mu: f64) -> Option<Point> {
    let here = norm(&point.residual);
    (0..HALVINGS).find_map(|k| {
        let factor = 0.5_f64.powi(k as i32);
        let next = stepped(point, factor, step, mu)?;
        let there = norm(&next.residual);
        (there <= (1.0 - SUFFICIENT * factor) * here).then_some(next)
    })
}
