//! Solving with a factorization: refinement against the J at hand, and the residual that is reported.
//!
//! # References
//! Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 7.1 (backward error), chapter 12 (refinement).

use super::{
    Evidence, Factors, LsqrReport, LsqrSettings, LsqrStop, Method, Prepared, ROUNDED_SHARE,
    ROUNDING, SINGULAR, StopReason, Workspace, lsqr,
};
use crate::error::{Error, Result};
use crate::limit;
use crate::residual::ResidualJacobian;
use crate::tangent::norm_max;

/// What a budget is asked before.
const STEP: &str = "a step of a linear solve";

impl Prepared {
    /// out = J^-1 rhs, both n + m, for the J this was prepared from or one near it: what the refinement is against is the J given
    /// here. One solve with the factor for each refinement step.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::PatternMismatch`] for a J of another shape.
    pub fn solve(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        out: &mut [f64],
        work: &mut Workspace,
    ) -> Result<Evidence> {
        self.refined(jacobian, rhs, out, false, ROUNDING, work)
    }

    /// out = J^-1 rhs to a relative residual of `target`, if that is more than rounding.
    pub(crate) fn solve_to(
        &self,
        target: f64,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        out: &mut [f64],
        work: &mut Workspace,
    ) -> Result<Evidence> {
        self.refined(jacobian, rhs, out, false, target.max(ROUNDING), work)
    }

    /// One application of the factor, without refinement: J^-1 rhs to a few digits, for estimates.
    pub(crate) fn estimate(&self, rhs: &[f64], out: &mut [f64], work: &mut Workspace) {
        self.fit(&self.base, work);
        work.residual.copy_from_slice(rhs);
        self.apply_inverse(false, f64::INFINITY, work);
        out.copy_from_slice(&work.correction);
    }

    /// out = J^-T rhs, both n + m.
    ///
    /// # Errors
    /// Those of [`Prepared::solve`].
    pub fn solve_transpose(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        out: &mut [f64],
        work: &mut Workspace,
    ) -> Result<Evidence> {
        self.refined(jacobian, rhs, out, true, ROUNDING, work)
    }

    fn refined(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        out: &mut [f64],
        transpose: bool,
        target: f64,
        work: &mut Workspace,
    ) -> Result<Evidence> {
        let dim = jacobian.dim();
        crate::program::check_length("right-hand side", dim, rhs.len())?;
        crate::program::check_length("out", dim, out.len())?;
        if !self.structure.fits(jacobian.program()) {
            return Err(Error::PatternMismatch {
                what: "the Jacobian",
            });
        }
        self.fit(jacobian, work);
        let mut evidence = Evidence {
            method: match self.factors {
                Factors::Ldl(_) => Method::Ldl,
                Factors::MinimumNorm(_) => Method::MinimumNorm,
                Factors::Lu(_) => Method::Lu,
                Factors::Lsqr => Method::Lsqr,
            },
            residual: 0.0,
            converged: true,
            refinement_steps: 0,
            stop: StopReason::ZeroRightHandSide,
            condition: self.condition,
            correction: 0.0,
            error: 0.0,
            bias: 0.0,
            iterations: 0,
        };
        limit::check(STEP)?;
        out.fill(0.0);
        let size = norm_max(rhs);
        if size == 0.0 {
            return Ok(evidence);
        }
        if !size.is_finite() {
            return Err(Error::NonFinite {
                what: "right-hand side",
                index: rhs.iter().position(|x| !x.is_finite()).unwrap_or(0),
                value: size,
            });
        }
        // Scaled by a power of two so that a seed of any size is solved with the same digits.
        let unit = power_of_two(size);
        for (r, b) in work.rhs.iter_mut().zip(rhs) {
            *r = b / unit;
        }
        work.residual.copy_from_slice(&work.rhs);
        let singular = matches!(self.factors, Factors::MinimumNorm(_));
        let (mut previous, mut previous_blocks) = (f64::INFINITY, [f64::INFINITY; 2]);
        // The factorization of this very J can be refined in the reduced system, where a step costs least; one of a J nearby is as good
        // as it is.
        let inner_target = if self.base.is_near(jacobian, 0.0) {
            target
        } else {
            f64::INFINITY
        };
        evidence.stop = StopReason::StepLimit;
        for step in 0..=self.settings.max_refinement {
            if step > 0 {
                limit::check(STEP)?;
            }
            let inner = self.apply_inverse(transpose, inner_target, work);
            evidence.iterations += inner.map_or(0, |r| r.iterations);
            if let Some(report) = inner {
                evidence.condition = evidence.condition.max(report.condition);
            }
            let correction = norm_max(&work.correction);
            if !correction.is_finite() {
                evidence.stop = StopReason::NotFinite;
                break;
            }
            for (o, c) in out.iter_mut().zip(&work.correction) {
                *o += c;
            }
            // The terms change as much as the answer does.
            let is_settled = correction <= 0.1 * norm_max(out);
            let blocks = residual(jacobian, out, transpose, !is_settled || step == 0, work);
            let residual = larger(blocks);
            // A step can move the regularization's error from one block row to the other before it falls in both.
            let falling = (0..2)
                .any(|k| previous_blocks[k] > ROUNDING && blocks[k] < 0.5 * previous_blocks[k]);
            let helped = residual < previous || (falling && residual <= 2.0 * previous);
            if !helped {
                // The step did not help: take it back.
                for (o, c) in out.iter_mut().zip(&work.correction) {
                    *o -= c;
                }
                evidence.stop = if !residual.is_finite() && step == 0 {
                    StopReason::NotFinite
                } else {
                    StopReason::Stagnated
                };
                break;
            }
            evidence.refinement_steps = step;
            evidence.residual = residual;
            evidence.correction = correction / norm_max(out).max(f64::MIN_POSITIVE);
            let hopeless = if residual <= self.settings.tolerance {
                0.5
            } else {
                0.95
            };
            let limit = inner.is_some_and(|r| r.stop == LsqrStop::IterationLimit);
            if limit && residual > self.settings.tolerance && step > 0 {
                evidence.stop = StopReason::IterationLimit;
                break;
            }
            let stuck = residual > hopeless * previous && !falling;
            if residual <= target || stuck || singular {
                evidence.stop = StopReason::Stagnated;
                break;
            }
            (previous, previous_blocks) = (residual, blocks);
        }
        // LSQR may have been interrupted.
        if matches!(self.factors, Factors::Lsqr) {
            limit::check("the use of LSQR's answer")?;
        }
        if evidence.stop == StopReason::NotFinite {
            out.fill(0.0);
            evidence.residual = 1.0;
        }
        evidence.converged = evidence.residual <= self.settings.tolerance;
        if evidence.converged {
            evidence.stop = StopReason::Converged;
        }
        if singular && evidence.stop != StopReason::NotFinite {
            evidence.stop = StopReason::LeastSquares;
        }
        evidence.error = evidence.condition * evidence.residual.max(f64::EPSILON);
        for o in out.iter_mut() {
            *o *= unit;
        }
        Ok(evidence)
    }

    /// correction = (approximate inverse) residual. LSQR reports on itself.
    fn apply_inverse(
        &self,
        transpose: bool,
        target: f64,
        work: &mut Workspace,
    ) -> Option<LsqrReport> {
        let jacobian = &self.base;
        let Workspace {
            residual,
            correction,
            scratch,
            reduced: [y, loaded, r, product],
            memory,
            ..
        } = work;
        match &self.factors {
            Factors::Ldl(f) | Factors::MinimumNorm(f) => {
                if transpose {
                    f.reduced.load_transpose(jacobian, residual, y, scratch);
                } else {
                    f.reduced.load(jacobian, residual, y, scratch);
                }
                if matches!(self.factors, Factors::Ldl(_)) {
                    loaded.copy_from_slice(y);
                    f.solve_to(target, loaded, y, r, memory);
                } else {
                    loaded.copy_from_slice(y);
                    f.solve_minimum_norm(loaded, y, r, product, memory);
                }
                if transpose {
                    f.reduced
                        .unload_transpose(jacobian, residual, y, correction, scratch);
                } else {
                    f.reduced.unload(jacobian, residual, y, correction, scratch);
                }
                None
            }
            Factors::Lu(f) => {
                correction.copy_from_slice(residual);
                f.solve_in_place(correction, transpose, memory.stack());
                None
            }
            Factors::Lsqr => {
                let settings = LsqrSettings {
                    tolerance: 1e-14,
                    max_iterations: self.settings.lsqr_max_iterations,
                    max_condition: SINGULAR,
                };
                let mut second = vec![0.0; scratch.len()];
                let forward = |u: &[f64], out: &mut [f64], s: &mut [f64]| {
                    if transpose {
                        jacobian.apply_transpose_into(u, out, s);
                    } else {
                        jacobian.apply_into(u, out, s);
                    }
                };
                let backward = |u: &[f64], out: &mut [f64], s: &mut [f64]| {
                    if transpose {
                        jacobian.apply_into(u, out, s);
                    } else {
                        jacobian.apply_transpose_into(u, out, s);
                    }
                };
                Some(lsqr(
                    |u, out| forward(u, out, scratch),
                    |u, out| backward(u, out, &mut second),
                    residual,
                    correction,
                    settings,
                ))
            }
        }
    }
}

/// work.residual = rhs - J out (or J'), and its size relative to the terms; these anew if asked for.
fn residual(
    jacobian: &ResidualJacobian,
    out: &[f64],
    transpose: bool,
    with_terms: bool,
    work: &mut Workspace,
) -> [f64; 2] {
    let program = jacobian.program();
    let n = program.n();
    let Workspace {
        residual,
        bound,
        rhs,
        scratch,
        ..
    } = work;
    if transpose {
        jacobian.apply_transpose_into(out, residual, scratch);
    } else {
        jacobian.apply_into(out, residual, scratch);
    }
    for (r, b) in residual.iter_mut().zip(rhs.iter()) {
        *r = b - *r;
    }
    // The terms: |P||u1| + |A'||dz| or |A'||u2| above, |A||u1| + |u2| below.
    let (top, bottom) = bound.split_at_mut(n);
    if with_terms {
        let (u1, u2) = out.split_at(n);
        let (dz, rest) = scratch.split_at_mut(u2.len());
        if transpose {
            dz.copy_from_slice(u2);
        } else {
            jacobian.projection().apply_into(u2, dz, rest);
        }
        for (b, u) in bottom.iter_mut().zip(u2) {
            *b = u.abs();
        }
        for (x, u) in dz.iter_mut().zip(u2) {
            // Where D u2 vanishes it leaves rounding of u2, which must not be measured against itself.
            *x = x.abs() + ROUNDED_SHARE * u.abs();
        }
        top.fill(0.0);
        let (p, a) = (program.p(), program.effective_a());
        a.absolute_multiply_transpose_add(dz, top);
        p.absolute_multiply_symmetric_add(u1, top);
        a.absolute_multiply_add(u1, bottom);
    }
    let (size1, size2) = (norm_max(&rhs[..n]), norm_max(&rhs[n..]));
    let relative = |r: f64, terms: f64| if r == 0.0 { 0.0 } else { r / terms };
    let first = relative(norm_max(&residual[..n]), norm_max(top) + size1);
    let second = relative(norm_max(&residual[n..]), norm_max(bottom) + size2);
    [first, second]
}

/// The larger of two residuals, NaN if one is.
fn larger([a, b]: [f64; 2]) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// A power of two within a factor 2 of a normal number, without the rounding of a logarithm, which overflows near the largest.
fn power_of_two(size: f64) -> f64 {
    f64::from_bits(size.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE)
}
