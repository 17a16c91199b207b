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
use crate::tangent::{dot, norm_max};

/// A point with a smaller estimated error is not polished.
const POLISHED: f64 = 1e-11;

/// Newton steps taken with the derivative's own factorization.
const POLISHING_STEPS: usize = 3;

/// Up to this condition number an unrefined solve estimates to two digits, and one right-hand side tells.
pub(crate) const UNREFINED: f64 = 1e4;

/// The rounding error of a sum relative to the root of its squared terms, with some care: of 7,506 derivatives of ill-conditioned programs,
/// judged in fifty digits, no estimate that follows from it was more than four times too small.
const ROUNDING: f64 = 2.5 * f64::EPSILON;

/// The directions J's inverse makes largest: J^-1 takes `left` to a multiple of `right`, J'^-1 the other way round. n + m each, of unit
/// length; empty where J is well-conditioned enough not to ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Worst {
    pub(crate) left: Vec<f64>,
    pub(crate) right: Vec<f64>,
}

/// Makes each value at least its row's rounding: a number from 1/2 to 3/2 of that with a sign drawn, since rounding that is alike in
/// rows that nearly depend on each other would excite nothing of what they make large. Nor may the draw be lucky: along `worst` it is
/// moved to the size that independent errors have there on average, |rounding o worst|. Zeroes the rounding of rows beyond it.
pub(crate) fn draw_rounding(values: &mut [f64], rounding: &mut [f64], worst: &[f64]) {
    let mut random = Random::new(0);
    let (mut along, mut size) = (0.0, 0.0);
    for (i, (value, floor)) in values.iter_mut().zip(&mut *rounding).enumerate() {
        let (share, sign) = (0.5 + random.uniform(), random.uniform() - 0.5);
        let direction = worst.get(i).copied().unwrap_or(0.0);
        if value.abs() < *floor {
            *value = (share * *floor).copysign(sign);
            size += (*floor * direction).powi(2);
        } else {
            *floor = 0.0;
        }
        along += *value * direction;
    }
    let average = size.sqrt();
    if along.abs() < average {
        let by = (average.copysign(along) - along) / size;
        for ((value, floor), direction) in values.iter_mut().zip(rounding).zip(worst) {
            *value += by * floor.powi(2) * direction;
        }
    }
}

/// J at a point, prepared, with the Newton step from there: an estimate of the point's error.
pub(crate) struct PreparedPoint {
    pub(crate) point: Point,
    pub(crate) prepared: Prepared,
    /// (dx, dv), n + m; zero at a singular point.
    pub(crate) error: Vec<f64>,
    pub(crate) worst: Worst,
    /// Newton steps taken here.
    pub(crate) polished: usize,
}

impl PreparedPoint {
    /// Takes over the factorization of Newton's method. Where the linear system is so ill-conditioned that Newton with a fixed
    /// regularization stopped early, the certified factorization takes the last steps, if `polish` allows.
    pub(crate) fn new(mut point: Point, newton: Newton, polish: bool) -> Result<Self> {
        let (prepared, mut work) = newton.into_prepared(&point)?;
        let (mut error, mut worst) = estimate(&point, &prepared, &mut work)?;
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
            (error, worst) = estimate(&point, &prepared, &mut work)?;
        }
        Ok(Self {
            point,
            prepared,
            error,
            worst,
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
        let worst = self.worst.clone();
        Some(Moved { x, jacobian, worst })
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
/// system is ill-conditioned, [`estimate_twice`]. Zero at a singular point, where the step says nothing about the error.
pub(crate) fn estimate(
    point: &Point,
    prepared: &Prepared,
    work: &mut Workspace,
) -> Result<(Vec<f64>, Worst)> {
    let jacobian = &point.jacobian;
    let mut error = vec![0.0; jacobian.dim()];
    if prepared.is_singular() {
        return Ok((error, Worst::default()));
    }
    let projection = jacobian.projection();
    let terms = residual_terms(jacobian.program(), &point.x, projection.z(), projection.s());
    if prepared.condition() <= UNREFINED {
        prepared.estimate(&floored(&point.residual, &terms), &mut error, work);
        // LSQR may have been interrupted.
        limit::check("the use of the point's error")?;
        return Ok((error, Worst::default()));
    }
    estimate_twice(&point.residual, &terms, |rhs, transpose| {
        let solve = if transpose {
            Prepared::solve_transpose
        } else {
            Prepared::solve
        };
        let mut answer = vec![0.0; rhs.len()];
        solve(prepared, jacobian, rhs, &mut answer, work)?;
        Ok(answer)
    })
}

/// -F, each row at least the rounding of its terms.
pub(crate) fn floored(residual: &[f64], terms: &[f64]) -> Vec<f64> {
    let floored = |(f, t): (&f64, &f64)| f.abs().max(ROUNDING * t).copysign(-*f);
    residual.iter().zip(terms).map(floored).collect()
}

/// J^-1 of [`floored`], and of the residual with rounding drawn: entry by entry the larger. J'^-1 (if told to transpose) of the first
/// is the direction in which a draw counts: one step of inverse iteration.
pub(crate) fn estimate_twice(
    residual: &[f64],
    terms: &[f64],
    mut solve: impl FnMut(&[f64], bool) -> Result<Vec<f64>>,
) -> Result<(Vec<f64>, Worst)> {
    let mut error = solve(&floored(residual, terms), false)?;
    if !norm_max(&error).is_finite() {
        return Ok((error, Worst::default()));
    }
    let right = unit(&error);
    let left = unit(&solve(&right, true)?);
    let mut drawn: Vec<f64> = residual.iter().map(|f| -f).collect();
    let mut rounding: Vec<f64> = terms.iter().map(|t| ROUNDING * t).collect();
    draw_rounding(&mut drawn, &mut rounding, &left);
    for (e, other) in error.iter_mut().zip(solve(&drawn, false)?) {
        if other.abs() > e.abs() || other.is_nan() {
            *e = other;
        }
    }
    Ok((error, Worst { left, right }))
}

/// v at unit length; as it is if it has none.
fn unit(v: &[f64]) -> Vec<f64> {
    let largest = norm_max(v);
    let scaled: Vec<f64> = v.iter().map(|v| v / largest).collect();
    let norm = dot(&scaled, &scaled).sqrt();
    if largest > 0.0 && norm.is_finite() {
        scaled.iter().map(|v| v / norm).collect()
    } else {
        v.to_vec()
    }
}

/// J and x at a point beside the one a derivative is taken at; its z is the projection's.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) x: Vec<f64>,
    pub(crate) jacobian: ResidualJacobian,
    /// Of J at the point itself.
    pub(crate) worst: Worst,
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
