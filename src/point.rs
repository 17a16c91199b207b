//! A point with J prepared there, and the Newton step from it: an estimate of the point's error, and the way to remove it.

use crate::error::Result;
use crate::linsolve::Prepared;
use crate::program::ConeProgram;
use crate::projection::Projection;
use crate::regularity::point_error;
use crate::residual::{
    ResidualJacobian, relative_residual, relative_residual_at, residual_into, residual_terms,
};
use crate::settings::Settings;
use crate::solution::Solution;

/// A point with a smaller estimated error is not polished.
const POLISHED: f64 = 1e-11;

/// J at a point, prepared, with the Newton step from there: an estimate of the point's error.
pub(crate) struct PreparedPoint {
    pub(crate) jacobian: ResidualJacobian,
    pub(crate) prepared: Prepared,
    pub(crate) v: Vec<f64>,
    /// Relative residual of F.
    pub(crate) residual: f64,
    /// (dx, dv), n + m; zero at a singular point.
    pub(crate) error: Vec<f64>,
}

impl PreparedPoint {
    pub(crate) fn new(
        program: &ConeProgram,
        solution: &Solution,
        settings: &Settings,
    ) -> Result<Self> {
        let v = solution.v(program);
        let projection = Projection::new(program.cones(), &v)?;
        let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
        let jacobian = ResidualJacobian::from_parts(program.clone(), projection);
        let prepared = Prepared::new(&jacobian, settings.linear)?;
        let mut f = vec![0.0; jacobian.dim()];
        residual_into(program, &solution.x, &z, &s, &mut f);
        let relative = relative_residual(program, &solution.x, &z, &s, &f);
        for f in &mut f {
            *f = -*f;
        }
        // The residual is known to the rounding of its terms, and may be smaller than that by luck.
        let terms = residual_terms(program, &solution.x, &z, &s);
        for (f, t) in f.iter_mut().zip(&terms) {
            *f = f.abs().max(f64::EPSILON * t).copysign(*f);
        }
        let mut error = vec![0.0; f.len()];
        // At a singular point the step says nothing about the error.
        if !prepared.is_singular() {
            let mut work = prepared.workspace(&jacobian);
            prepared.solve(&jacobian, &f, &mut error, &mut work)?;
        }
        Ok(Self {
            jacobian,
            prepared,
            v,
            residual: relative,
            error,
        })
    }

    /// J and (x, z) one Newton step on: what the derivative would be taken at if the point were as wrong as that step. `None` where
    /// the projection overflows.
    pub(crate) fn moved(&self, program: &ConeProgram, x: &[f64]) -> Option<Moved> {
        let (x, v) = self.step_on(x);
        let jacobian = ResidualJacobian::new(program, &v).ok()?;
        Some(Moved { x, jacobian })
    }

    /// (x, v) plus the Newton step.
    fn step_on(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (dx, dv) = self.error.split_at(x.len());
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + d).collect::<Vec<f64>>();
        (add(x, dx), add(&self.v, dv))
    }

    /// The solution one Newton step on, if there is a need for it and the residual at least halves.
    pub(crate) fn polish(
        &self,
        program: &ConeProgram,
        solution: &Solution,
    ) -> Result<Option<Solution>> {
        let (x, projection) = (&solution.x, self.jacobian.projection());
        let error = point_error(program, x, &self.v, &self.error, projection);
        if error <= POLISHED || error.is_nan() {
            return Ok(None);
        }
        let (x, v) = self.step_on(x);
        let Ok(projection) = Projection::new(program.cones(), &v) else {
            return Ok(None);
        };
        let relative = relative_residual_at(program, &x, &projection);
        if relative.is_nan() || relative > 0.5 * self.residual {
            return Ok(None);
        }
        let mut polished = solution.clone();
        polished.objective = program.objective(&x)?;
        polished.x = x;
        polished.z = projection.z().to_vec();
        polished.s = projection.s().to_vec();
        polished.free_rows(program);
        if let Some(r) = &mut polished.refinement {
            r.after = relative;
            r.steps += 1;
            r.last_step = error;
        }
        Ok(Some(polished))
    }
}

/// J and x at a point beside the one a derivative is taken at; its z is the projection's.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) x: Vec<f64>,
    pub(crate) jacobian: ResidualJacobian,
}
