//! A point with J prepared there, and an estimate of the point's own error: the Newton step from it.

use crate::error::Result;
use crate::kink::point_error;
use crate::limit;
use crate::linsolve::{Prepared, Workspace};
use crate::newton::{Newton, Point};
use crate::program::ConeProgram;
use crate::projection::{BlockKink, Projection};
use crate::random::Random;
use crate::residual::{ResidualJacobian, residual_terms};
use crate::solution::Solution;

/// A point with a smaller estimated error is not polished.
const POLISHED: f64 = 1e-11;

/// Newton steps taken with the derivative's own factorization.
const POLISHING_STEPS: usize = 3;

/// Up to this condition number an unrefined solve estimates to two digits.
const UNREFINED: f64 = 1e4;

/// The rounding error of a sum relative to the root of its squared terms, with some care: of 785 hostile derivatives no estimate that
/// follows from it was more than five times too small.
const ROUNDING: f64 = 2.5 * f64::EPSILON;

/// A row's value, or the floor that rounding sets it, times a number from 1/2 to 3/2 and with a sign drawn: rounding that is alike in
/// rows that nearly depend on each other would excite nothing of what they make large.
pub(crate) fn at_least_rounding(value: f64, floor: f64, random: &mut Random) -> f64 {
    let (share, sign) = (0.5 + random.uniform(), random.uniform() - 0.5);
    if value.abs() < floor {
        (share * floor).copysign(sign)
    } else {
        value
    }
}

/// J at a point, prepared, with the Newton step from there: an estimate of the point's error.
pub(crate) struct PreparedPoint {
    pub(crate) point: Point,
    pub(crate) prepared: Prepared,
    /// (dx, dv), n + m; zero at a singular point.
    pub(crate) error: Vec<f64>,
    /// Newton steps taken here.
    pub(crate) polished: usize,
}

impl PreparedPoint {
    /// Takes over the factorization of Newton's method. Where the linear system is so ill-conditioned that Newton with a fixed
    /// regularization stopped early, the certified factorization takes the last steps, if `polish` allows.
    pub(crate) fn new(mut point: Point, newton: Newton, polish: bool) -> Result<Self> {
        let (prepared, mut work) = newton.into_prepared(&point)?;
        let mut error = estimate(&point, &prepared, &mut work)?;
        let mut polished = 0;
        while polish && polished < POLISHING_STEPS && !prepared.is_singular() {
            let size = relative_error(&point, &error, &[]);
            if size <= POLISHED || size.is_nan() {
                break;
            }
            let rhs: Vec<f64> = point.residual.iter().map(|f| -f).collect();
            let mut step = vec![0.0; rhs.len()];
            prepared.solve(&point.jacobian, &rhs, &mut step, &mut work)?;
            let Ok(next) = point.moved(&step) else { break };
            if next.relative.is_nan() || next.relative > 0.5 * point.relative {
                break;
            }
            point = next;
            polished += 1;
            error = estimate(&point, &prepared, &mut work)?;
        }
        Ok(Self {
            point,
            prepared,
            error,
            polished,
        })
    }

    /// The relative size of the estimated error, given the kinks.
    pub(crate) fn relative_error(&self, kinks: &[(usize, BlockKink)]) -> f64 {
        relative_error(&self.point, &self.error, kinks)
    }

    /// J and (x, z) one Newton step on: what the derivative would be taken at if the point were as wrong as that step. `None` where
    /// the projection overflows.
    pub(crate) fn moved(&self) -> Option<Moved> {
        let (dx, dv) = self.error.split_at(self.point.x.len());
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + d).collect::<Vec<f64>>();
        let x = add(&self.point.x, dx);
        let program = self.point.jacobian.program();
        let here = self.point.jacobian.projection();
        let (z, s) = (here.z().to_vec(), here.s().to_vec());
        let there = Projection::near(program.cones(), &add(&self.point.v, dv), z, s).ok()?;
        let jacobian = ResidualJacobian::from_parts(program.clone(), there);
        Some(Moved { x, jacobian })
    }
}

fn relative_error(point: &Point, error: &[f64], kinks: &[(usize, BlockKink)]) -> f64 {
    let projection = point.jacobian.projection();
    point_error(
        point.jacobian.program(),
        &point.x,
        &point.v,
        error,
        projection,
        kinks,
    )
}

/// J^-1 of the residual, each row at least the rounding of its terms: the residual may be smaller than that by luck. Where the
/// system is ill-conditioned, the larger of that and of the same with signs drawn, entry by entry. Zero at a singular point, where the step
/// says nothing about the error.
pub(crate) fn estimate(
    point: &Point,
    prepared: &Prepared,
    work: &mut Workspace,
) -> Result<Vec<f64>> {
    let jacobian = &point.jacobian;
    let mut error = vec![0.0; jacobian.dim()];
    if prepared.is_singular() {
        return Ok(error);
    }
    let projection = jacobian.projection();
    let terms = residual_terms(jacobian.program(), &point.x, projection.z(), projection.s());
    let floored = |(f, t): (&f64, &f64)| f.abs().max(ROUNDING * t).copysign(-*f);
    let rhs: Vec<f64> = point.residual.iter().zip(&terms).map(floored).collect();
    if prepared.condition() <= UNREFINED {
        prepared.estimate(&rhs, &mut error, work);
        // LSQR may have been interrupted.
        limit::check("the use of the point's error")?;
        return Ok(error);
    }
    prepared.solve(jacobian, &rhs, &mut error, work)?;
    let mut random = Random::new(0);
    let rows = point.residual.iter().zip(&terms);
    let rhs: Vec<f64> = rows
        .map(|(f, t)| at_least_rounding(-f, ROUNDING * t, &mut random))
        .collect();
    let mut other = vec![0.0; error.len()];
    prepared.solve(jacobian, &rhs, &mut other, work)?;
    for (e, o) in error.iter_mut().zip(other) {
        if o.abs() > e.abs() || o.is_nan() {
            *e = o;
        }
    }
    Ok(error)
}

/// J and x at a point beside the one a derivative is taken at; its z is the projection's.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) x: Vec<f64>,
    pub(crate) jacobian: ResidualJacobian,
}

/// The point of a solution.
pub(crate) fn point_of(program: &ConeProgram, solution: &Solution) -> Result<Point> {
    let near = (solution.z.clone(), solution.s.clone());
    Point::new(program, solution.x.clone(), solution.v(program), near)
}

/// Moves a solution to a point.
pub(crate) fn take_point(solution: &mut Solution, point: &Point) -> Result<()> {
    let (program, projection) = (point.jacobian.program(), point.jacobian.projection());
    solution.objective = program.objective(&point.x)?;
    solution.x.clone_from(&point.x);
    solution.z.clear();
    solution.z.extend_from_slice(projection.z());
    solution.s.clear();
    solution.s.extend_from_slice(projection.s());
    solution.free_rows(program);
    Ok(())
}
