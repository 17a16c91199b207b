//! F and J at a point, and semismooth Newton steps from one to the next.

use super::VariationalInequality;
use crate::error::Result;
use crate::linsolve::Square;
use crate::pattern::SparseMatrix;
use crate::point::{UNREFINED, estimate_twice, floored};
use crate::projection::Projection;
use crate::residual::{ResidualJacobian, residual_and_size_with, residual_terms};
use crate::settings::Settings;
use crate::solution::{Refinement, Solution};
use crate::tangent::norm_max;

/// Below this the residual is rounding.
const ROUNDING: f64 = 1e-15;

/// A point with F there; its J is that of the program with P = 0.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) x: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) frame: ResidualJacobian,
    pub(super) residual: Vec<f64>,
    pub(super) relative: f64,
}

impl Point {
    pub(super) fn new(
        inequality: &VariationalInequality,
        x: Vec<f64>,
        v: Vec<f64>,
    ) -> Result<Self> {
        let projection = Projection::new(inequality.cones(), &v)?;
        let (residual, relative) = inequality.residual_and_size(&x, projection.z(), projection.s());
        let frame = ResidualJacobian::from_parts(inequality.frame.clone(), projection);
        Ok(Self {
            x,
            v,
            frame,
            residual,
            relative,
        })
    }

    pub(super) fn of(inequality: &VariationalInequality, solution: &Solution) -> Result<Self> {
        let mut solution = solution.clone();
        solution.free_rows(&inequality.frame);
        let v = solution.v(&inequality.frame);
        Self::new(inequality, solution.x, v)
    }

    /// The point a step (dx, dv) further.
    pub(super) fn moved(&self, inequality: &VariationalInequality, step: &[f64]) -> Result<Self> {
        let (dx, dv) = step.split_at(self.x.len());
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + d).collect();
        Self::new(inequality, add(&self.x, dx), add(&self.v, dv))
    }

    pub(super) fn solution(&self, inequality: &VariationalInequality) -> Result<Solution> {
        let projection = self.frame.projection();
        let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
        inequality.given(self.x.clone(), z, s)
    }
}

impl VariationalInequality {
    /// F and its relative size, as of a program.
    pub(super) fn residual_and_size(&self, x: &[f64], z: &[f64], s: &[f64]) -> (Vec<f64>, f64) {
        let mut f = vec![0.0; self.n() + self.m()];
        self.p.multiply_add(1.0, x, &mut f);
        residual_and_size_with(&self.frame, &self.p, f, x, z, s)
    }

    /// J at an element, n + m square.
    pub(super) fn matrix(&self, frame: &ResidualJacobian) -> SparseMatrix {
        let (n, dim) = (self.n(), frame.dim());
        let rest = frame.to_sparse();
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for j in 0..dim {
            let own = (j < n).then(|| self.p.column(j));
            for (rows, entries) in own.into_iter().chain([rest.column(j)]) {
                indices.extend_from_slice(rows);
                values.extend_from_slice(entries);
            }
            indptr.push(indices.len());
        }
        SparseMatrix::from_parts(dim, dim, indptr, indices, values)
    }

    /// J at an element, factored.
    pub(super) fn factor(&self, frame: &ResidualJacobian, settings: &Settings) -> Result<Square> {
        Square::new(self.matrix(frame), Some(frame), settings.linear)
    }

    /// J^-1 of the residual, each row at least the rounding of its terms, as at a program's point; zero where J is singular.
    pub(super) fn error(&self, point: &Point, factored: &Square) -> Result<Vec<f64>> {
        if factored.is_singular() {
            return Ok(vec![0.0; factored.dim()]);
        }
        let projection = point.frame.projection();
        let (z, s) = (projection.z(), projection.s());
        let mut terms = residual_terms(&self.frame, &point.x, z, s);
        let mut of_p = vec![0.0; self.n()];
        self.p.sum_terms(&point.x, &mut of_p, |t| t * t);
        for (t, p) in terms.iter_mut().zip(&of_p) {
            *t = t.hypot(p.sqrt());
        }
        if factored.condition() <= UNREFINED {
            return Ok(factored.solve(&floored(&point.residual, &terms), false)?.0);
        }
        let solve = |rhs: &[f64], transpose| Ok(factored.solve(rhs, transpose)?.0);
        Ok(estimate_twice(&point.residual, &terms, solve)?.0)
    }
}

/// Plain steps until the residual is rounding or no longer falls; the best point if it met the tolerance, the start otherwise.
///
/// # References
/// Qi, Sun, A nonsmooth version of Newton's method, 1993.
pub(super) fn newton(
    inequality: &VariationalInequality,
    start: Point,
    settings: &Settings,
) -> Result<(Point, Refinement)> {
    let before = start.relative;
    let mut best = start.clone();
    let mut point = start.clone();
    let (mut steps, mut last_step, mut best_step) = (0, 0.0, 0.0);
    while steps < settings.refine.max_steps && (best.relative.is_nan() || best.relative > ROUNDING)
    {
        let factored = inequality.factor(&point.frame, settings)?;
        let rhs: Vec<f64> = point.residual.iter().map(|f| -f).collect();
        let (step, _) = factored.solve(&rhs, false)?;
        let size = 1.0 + norm_max(&point.x).max(norm_max(&point.v));
        last_step = norm_max(&step) / size;
        // A step may overflow.
        let Ok(next) = point.moved(inequality, &step) else {
            break;
        };
        steps += 1;
        let is_settled = point.relative <= settings.refine.tolerance.min(1e-10)
            && next.relative > 0.1 * point.relative;
        if next.relative < best.relative {
            (best, best_step) = (next.clone(), last_step);
        }
        if is_settled || !next.relative.is_finite() {
            break;
        }
        point = next;
    }
    let accepted = best.relative <= settings.refine.tolerance;
    let refinement = Refinement {
        before,
        after: if accepted { best.relative } else { before },
        steps,
        last_step: if best_step > 0.0 {
            best_step
        } else {
            last_step
        },
        accepted,
    };
    Ok((if accepted { best } else { start }, refinement))
}
