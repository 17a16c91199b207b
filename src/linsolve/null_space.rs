//! Whether J is singular, and a vector that says so.

use super::ldl::{Ldl, SolveMemory};
use super::{Factors, LinearSettings, LinearSolver, Prepared, Structure, probe_vector};
use crate::error::{Error, Result};
use crate::residual::ResidualJacobian;
use crate::tangent::{dot, norm_max};
use std::sync::Arc;

/// Inverse iterations at most: each multiplies what is not in the null space by the regularization over its singular value.
const ITERATIONS: usize = 60;

/// A vector with K y below this times |K| |y| is null to rounding.
const NULL: f64 = 1e-14;

/// Above this it proves nothing: K may be ill-conditioned and no more.
const PROOF: f64 = 1e-12;

/// Inverse iterations whose growth is the inverse of the least singular value to a digit.
const GROWTH_STEPS: usize = 3;

/// That growth times the regularization is 1 for a singular matrix; one is regular below this.
const REGULAR: f64 = 1e-2;

/// A vector of J's null space, split: J (w; v) = 0 with z-part y = D v. Both parts are null vectors by themselves: Pw = 0 and
/// D A w = 0; A'y = 0 and D y = y.
pub(crate) struct NullVector {
    /// n.
    pub(crate) w: Vec<f64>,
    /// m.
    pub(crate) y: Vec<f64>,
}

/// What one factorization says of J.
pub(crate) enum Inspection {
    /// Nonsingular.
    Regular,
    /// Singular, if this is a null vector of it.
    Null(NullVector),
    /// Neither: to be prepared by a better method.
    Unclear,
}

impl Prepared {
    /// J factored, or `None` where it is singular: one LDL' and a condition estimate, without the search for a better method that
    /// [`Prepared::new`] makes.
    pub(crate) fn if_nonsingular(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Option<Self>> {
        let Some(mut prepared) = Self::at_once(structure, jacobian, settings)? else {
            return Ok(None);
        };
        prepared.certify();
        Ok((!prepared.is_singular()).then_some(prepared))
    }

    /// Whether J is singular, as far as one LDL' and a few solves without refinement tell.
    pub(crate) fn inspect(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Inspection> {
        let Some(prepared) = Self::at_once(structure, jacobian, settings)? else {
            return Ok(Inspection::Unclear);
        };
        let Factors::Ldl(f) = &prepared.factors else {
            return Ok(match prepared.is_singular() {
                true => Inspection::Unclear,
                false => Inspection::Regular,
            });
        };
        let mut y = probe_vector(f.reduced.len());
        let growth = inverse_iteration(f, &mut y, GROWTH_STEPS, &mut SolveMemory::new(f));
        if growth * f.regularization() <= REGULAR {
            return Ok(Inspection::Regular);
        }
        Ok(match prepared.null_vector_near(f, y) {
            Some((vector, residual)) if residual <= PROOF => Inspection::Null(vector),
            _ => Inspection::Unclear,
        })
    }

    fn at_once(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Option<Self>> {
        let made = match settings.solver {
            LinearSolver::Auto | LinearSolver::Ldl => {
                let regularization = structure.regularization();
                Self::for_newton(structure, jacobian, regularization, settings)
            }
            LinearSolver::Lu | LinearSolver::Lsqr => {
                Self::with_structure(structure, jacobian, settings)
            }
        };
        match made {
            Ok(prepared) => Ok(Some(prepared)),
            Err(Error::Factorization { .. }) => Ok(None),
            Err(error) => Err(error),
        }
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

    /// A vector of the null space of the J that was factored, if it is singular; generic there, so that no part of it is missed. Three
    /// solves, more where other singular values are as small as the regularization. `None` for methods other than LDL'.
    pub(crate) fn null_vector(&self) -> Option<NullVector> {
        let (Factors::Ldl(f) | Factors::MinimumNorm(f)) = &self.factors else {
            return None;
        };
        let found = self.null_vector_near(f, probe_vector(f.reduced.len()));
        found.map(|(vector, _)| vector)
    }

    /// The vector that inverse iteration from y ends at, and |K y| / (|K| |y|).
    fn null_vector_near(&self, f: &Ldl, mut y: Vec<f64>) -> Option<(NullVector, f64)> {
        let (mut r, mut memory) = (y.clone(), SolveMemory::new(f));
        let norm = f.reduced.norm();
        let mut residual = f64::INFINITY;
        for _ in 0..ITERATIONS {
            f.reduced.multiply(&y, &mut r);
            residual = norm_max(&r) / (norm * norm_max(&y));
            if residual <= NULL {
                break;
            }
            if !inverse_iteration(f, &mut y, 1, &mut memory).is_finite() {
                return None;
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
        let vector = NullVector {
            w: w.to_vec(),
            y: v.to_vec(),
        };
        Some((vector, residual))
    }
}

/// Steps y <- M^-1 y / |y| with the regularized factor M; the last growth. y ends with norm 1.
fn inverse_iteration(f: &Ldl, y: &mut [f64], steps: usize, memory: &mut SolveMemory) -> f64 {
    let mut growth = 0.0;
    for step in 0..=steps {
        let size = dot(y, y).sqrt();
        for y in y.iter_mut() {
            *y /= size;
        }
        growth = size;
        if step < steps {
            f.solve_in_place(y, memory);
        }
    }
    growth
}
