//! How the linear system answers along the directions of the kinks.
//!
//! With U the directions in which z and s vanish and J0 the Jacobian at the lower element, J0 V = (A'U; 0) and S = U'V is symmetric and
//! positive semidefinite: what holding those directions costs, the Schur complement of the upper element's system in the
//! lower one's. The upper element is singular iff S is: S zeta = 0 gives y = U zeta - D0 V zeta with A'y = 0.

use crate::cone::Cone;
use crate::error::Result;
use crate::linsolve::Prepared;
use crate::projection::BlockKink;
use crate::residual::ResidualJacobian;
use crate::tangent::{dot, norm_max};
use faer::Mat;

/// One direction in which z and s vanish.
pub(crate) struct Direction {
    /// Where its block's rows start among the m, and the unit vector on them.
    pub(crate) start: usize,
    pub(crate) unit: Vec<f64>,
    /// J0^-1 (A'u; 0), n + m.
    pub(crate) response: Vec<f64>,
}

impl Direction {
    /// u'v for m values.
    pub(crate) fn dot(&self, v: &[f64]) -> f64 {
        dot(&self.unit, &v[self.start..self.start + self.unit.len()])
    }
}

/// The directions of every kink, and for each kink the cone the slack's change lies in along its own.
pub(crate) struct Responses {
    pub(crate) directions: Vec<Direction>,
    pub(crate) cones: Vec<Cone>,
    n: usize,
}

impl Responses {
    /// One solve to a relative residual of `target` for each direction; `None` where a kink's critical cone is not known.
    pub(crate) fn new(
        jacobian: &ResidualJacobian,
        prepared: &Prepared,
        kinks: &[(usize, BlockKink)],
        target: f64,
    ) -> Result<Option<Self>> {
        let program = jacobian.program();
        let (n, m) = (program.n(), program.m());
        let margins = jacobian.projection().margins();
        let (mut directions, mut cones) = (Vec::new(), Vec::new());
        let mut work = prepared.workspace(jacobian);
        for (index, kink) in kinks {
            let Some(critical) = kink.critical(&program.cones()[*index]) else {
                return Ok(None);
            };
            let start = margins[*index].rows.start;
            cones.push(critical.cone);
            for unit in critical.directions {
                let mut u = vec![0.0; m];
                u[start..start + unit.len()].copy_from_slice(&unit);
                let mut rhs = vec![0.0; n + m];
                program
                    .effective_a()
                    .multiply_transpose_add(1.0, &u, &mut rhs[..n]);
                let mut response = vec![0.0; n + m];
                prepared.solve_to(target, jacobian, &rhs, &mut response, &mut work)?;
                directions.push(Direction {
                    start,
                    unit,
                    response,
                });
            }
        }
        Ok(Some(Self {
            directions,
            cones,
            n,
        }))
    }

    /// S.
    pub(crate) fn schur(&self) -> Mat<f64> {
        let k = self.directions.len();
        let entry = |i: usize, j: usize| {
            let response = &self.directions[j].response;
            self.directions[i].dot(&response[self.n..])
        };
        Mat::from_fn(k, k, |i, j| 0.5 * (entry(i, j) + entry(j, i)))
    }

    /// The largest move of v that a direction's push makes.
    pub(crate) fn size(&self, k: usize) -> f64 {
        norm_max(&self.directions[k].response[self.n..]).max(f64::MIN_POSITIVE)
    }

    /// (dx, dv) = V zeta.
    pub(crate) fn combine(&self, zeta: &[f64]) -> Vec<f64> {
        let mut out = Vec::new();
        for (direction, zeta) in self.directions.iter().zip(zeta) {
            out.resize(direction.response.len(), 0.0);
            for (o, r) in out.iter_mut().zip(&direction.response) {
                *o += zeta * r;
            }
        }
        out
    }

    /// v += U zeta, m values.
    pub(crate) fn add_directions(&self, zeta: &[f64], v: &mut [f64]) {
        for (direction, zeta) in self.directions.iter().zip(zeta) {
            let rows = direction.start..direction.start + direction.unit.len();
            for (v, u) in v[rows].iter_mut().zip(&direction.unit) {
                *v += zeta * u;
            }
        }
    }
}
