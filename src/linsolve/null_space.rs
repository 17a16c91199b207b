//! Whether J is singular, and a vector that says so.

use super::ldl::SolveMemory;
use super::{Factors, LinearSettings, LinearSolver, Prepared, Structure, probe_vector};
use crate::error::Result;
use crate::residual::ResidualJacobian;
use crate::tangent::dot;
use std::sync::Arc;

/// Inverse iterations: each multiplies what is not in the null space by the regularization over its singular value.
const ITERATIONS: usize = 5;

/// A vector of J's null space, split: J (w; v) = 0 with z-part y = D v. Both parts are null vectors by themselves: Pw = 0 and
/// D A w = 0; A'y = 0 and D y = y.
pub(crate) struct NullVector {
    /// n.
    pub(crate) w: Vec<f64>,
    /// m.
    pub(crate) y: Vec<f64>,
}

impl Prepared {
    /// J factored, or `None` where it is singular: one LDL' and a condition estimate, without the search for a better method that
    /// [`Prepared::new`] makes.
    pub(crate) fn if_nonsingular(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Option<Self>> {
        let prepared = match settings.solver {
            LinearSolver::Auto | LinearSolver::Ldl => {
                let regularization = structure.regularization();
                let made = Self::for_newton(structure, jacobian, regularization, settings);
                let Ok(mut prepared) = made else {
                    return Ok(None);
                };
                prepared.certify();
                prepared
            }
            LinearSolver::Lu | LinearSolver::Lsqr => {
                Self::with_structure(structure, jacobian, settings)?
            }
        };
        Ok((!prepared.is_singular()).then_some(prepared))
    }

    /// An estimate of |J^-1| in the 2-norm, from below: three steps of power iteration on J^-1 J^-T, six solves.
    pub(crate) fn inverse_norm(&self, jacobian: &ResidualJacobian) -> Result<f64> {
        let mut work = self.workspace(jacobian);
        let mut u = probe_vector(jacobian.dim());
        let mut back = vec![0.0; u.len()];
        let mut estimate = 0.0_f64;
        for _ in 0..3 {
            let size = dot(&u, &u).sqrt();
            for u in &mut u {
                *u /= size;
            }
            self.solve_transpose(jacobian, &u, &mut back, &mut work)?;
            self.solve(jacobian, &back, &mut u, &mut work)?;
            estimate = estimate.max(dot(&u, &u).sqrt().sqrt());
        }
        Ok(estimate)
    }

    /// A vector of the null space of the J that was factored, if it is singular; generic there, so that no part of it is missed. Five
    /// solves. `None` for methods other than LDL'.
    pub(crate) fn null_vector(&self) -> Option<NullVector> {
        let (Factors::Ldl(f) | Factors::MinimumNorm(f)) = &self.factors else {
            return None;
        };
        let mut memory = SolveMemory::new(f);
        let mut y = probe_vector(f.reduced.len());
        for _ in 0..ITERATIONS {
            f.solve_in_place(&mut y, &mut memory);
            let size = y.iter().map(|x| x * x).sum::<f64>().sqrt();
            if !size.is_finite() || size == 0.0 {
                return None;
            }
            for y in &mut y {
                *y /= size;
            }
        }
        let jacobian = &self.base;
        let n = jacobian.program().n();
        let zeros = vec![0.0; jacobian.dim()];
        let mut out = zeros.clone();
        let mut scratch = vec![0.0; jacobian.scratch_len() + self.structure.scratch_len()];
        f.reduced
            .unload(jacobian, &zeros, &mut y, &mut out, &mut scratch);
        let (w, v) = out.split_at_mut(n);
        // v = C'y + A w.
        jacobian.program().effective_a().multiply_add(-1.0, w, v);
        Some(NullVector {
            w: w.to_vec(),
            y: v.to_vec(),
        })
    }
}
