//! One-sided directional derivatives at kinks.
//!
//! Where every element of the conservative Jacobian is invertible the solution map is Lipschitz and directionally differentiable, also
//! at a kink. Along the directions U in which z and s vanish there, their changes zeta and sigma are complementary on a small cone:
//!
//! ```text
//! J0 (dx; v) = r - (A'U; 0) zeta,    sigma = -U'v = sigma0 + S zeta,    zeta in C*,  sigma in C,  <zeta, sigma> = 0
//! dz = D0 v + U zeta,    ds = -(I - D0) v,    S = U'V,  J0 V = (A'U; 0)
//! ```
//!
//! with D0 the lower element and S symmetric positive definite: sigma minimizes 1/2 (sigma - sigma0)'S^-1 (sigma - sigma0) over C, a
//! program of the size of the kink which the library solves itself. Its cone C is a half-line for each weakly active row or smooth
//! boundary, a PSD cone for zero eigenvalues, the cone itself at its apex.
//!
//! # References
//! Robinson, Local structure of feasible sets in nonlinear programming III, 1987. Bonnans, Shapiro, Perturbation Analysis of Optimization
//! Problems, 2000, Thm 5.60 (the critical cone's quadratic program).

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::meaning::Meaning;
use crate::memory::check_dense;
use crate::program::ConeProgram;
use crate::projection::Element;
use crate::refine::solve;
use crate::response::Responses;
use crate::settings::{Selection, Settings};
use crate::tangent::{DataTangent, SolutionTangent, norm_max};
use faer::Side;
use faer::linalg::solvers::DenseSolveCore;

/// S with a pivot below this times its diagonal entry is singular: the upper element is.
const SINGULAR: f64 = 1e-11;

impl Derivative {
    /// The one-sided derivative of the solution along a data tangent d: the limit of (x(data + t d) - x(data))/t as t falls to zero, and
    /// those of z and s. Not linear in d at a kink; `directional(-d)` is the other side. Without a kink it is [`Derivative::jvp`].
    ///
    /// Cost: one solve for each direction in which z and s vanish, a small conic program, one more solve; a factorization where
    /// the derivative's own is at another element than the inactive one.
    ///
    /// # Errors
    /// Those of [`Derivative::jvp`]; [`Error::NotRegular`] where the point is not certified, or on an edge of an exponential or power
    /// cone where the critical cone is not known.
    pub fn directional(&self, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        if self.kinks().is_empty() {
            return self.jvp(tangent);
        }
        let lower;
        let base = if self.element == Some(Element::Lower) {
            self
        } else {
            lower = self.with_selection(Selection::Inactive)?;
            &lower
        };
        if base.meaning().is_surrogate() {
            return Err(Error::NotRegular {
                reason: "the linear system is singular with the weakly active rows let go",
            });
        }
        // S and the responses, before any of them is made.
        let k: usize = base.blocks.iter().map(|(_, kink)| kink.directions()).sum();
        let columns = k.saturating_add(self.residual_jacobian().dim());
        let limit = self.settings().max_dense_bytes;
        check_dense("the critical cone's program", k, columns, limit)?;
        let Some(responses) =
            Responses::new(base.residual_jacobian(), base.prepared(), &base.blocks, 0.0)?
        else {
            return Err(Error::NotRegular {
                reason: "on an edge of an exponential or power cone the critical cone is not known",
            });
        };
        let mut work = base.workspace();
        let mut evidence = base.solve_tangent(tangent, &mut work)?;
        let n = self.program().n();
        let sigma0: Vec<f64> = responses
            .directions
            .iter()
            .map(|u| -u.dot(&work.answer[n..]))
            .collect();
        let (zeta, is_refined) = complementary(&responses, &sigma0, self.settings())?;
        evidence.converged &= is_refined;
        for (a, r) in work.answer.iter_mut().zip(responses.combine(&zeta)) {
            *a -= r;
        }
        let mut value = SolutionTangent::zeros(self.program());
        base.solution_tangent(&mut work, &mut value)?;
        responses.add_directions(&zeta, &mut value.z);
        evidence.error = evidence.error.max(base.condition() * self.point_error());
        let mut checked = base.checked(value, evidence);
        checked.meaning = Meaning::OneSided;
        checked
            .warnings
            .retain(|w| !matches!(w, Warning::AtKink(_)));
        checked.trusted = !checked.warnings.iter().any(Warning::is_fatal);
        Ok(checked)
    }
}

/// zeta, the multiplier of the small program, and whether refinement accepted it.
fn complementary(
    responses: &Responses,
    sigma0: &[f64],
    settings: &Settings,
) -> Result<(Vec<f64>, bool)> {
    let k = sigma0.len();
    let s = responses.schur();
    let not_regular = Error::NotRegular {
        reason: "the gradients of the active rows are dependent",
    };
    let Ok(factor) = s.llt(Side::Lower) else {
        return Err(not_regular);
    };
    // Relative to its own diagonal entry a pivot does not depend on the rows' scales; that entry is rounding where the answer moves other
    // rows and not its own.
    let share = |i: usize| {
        let own = s[(i, i)] / responses.size(i);
        (factor.L()[(i, i)].powi(2) / s[(i, i)]).min(own)
    };
    let pivot = (0..k).fold(f64::INFINITY, |m, i| m.min(share(i)));
    if pivot.is_nan() || pivot <= SINGULAR {
        return Err(not_regular);
    }
    let size = norm_max(sigma0);
    if size == 0.0 {
        return Ok((vec![0.0; k], true));
    }
    // sigma is scaled to the size of sigma0: a small direction has a small derivative.
    let inverse = factor.inverse();
    let mut q = vec![0.0; k];
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..k {
        for i in 0..k {
            q[i] -= inverse[(i, j)] * sigma0[j] / size;
        }
        indices.extend(0..=j);
        values.extend((0..=j).map(|i| inverse[(i, j)]));
        indptr.push(indices.len());
    }
    let ends: Vec<usize> = (0..=k).collect();
    let program = ConeProgram::from_csc(
        (&indptr, &indices, &values),
        q,
        (&ends, &ends[..k], &vec![-1.0; k]),
        vec![0.0; k],
        responses.cones.clone(),
    )?;
    let settings = Settings {
        linear: settings.linear,
        ..Settings::default()
    };
    let solution = solve(&program, &settings)?;
    let is_refined = solution.refinement.is_some_and(|r| r.accepted);
    Ok((solution.z.iter().map(|z| z * size).collect(), is_refined))
}
