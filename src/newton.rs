//! Semismooth Newton on F(x, v) = 0, on as few factorizations as the points allow.
//!
//! Each step needs J^-1 F at its point. A factorization made at one point serves the next ones as long as no row has changed sides:
//! the solve is refined against the J at hand and contracts by about the relative change of v, and not at all in v for polyhedral
//! cones, whose J is constant between kinks. Steps are plain: a monotone safeguard stops steps that change the active set, which
//! are the useful ones. The point with the least residual is kept.
//!
//! # References
//! Qi, Sun, A nonsmooth version of Newton's method, 1993.

use crate::error::{Error, Result};
use crate::limit;
use crate::linsolve::{Prepared, Structure, Workspace};
use crate::program::ConeProgram;
use crate::projection::{Block, Projection};
use crate::residual::{ResidualJacobian, residual_and_size};
use crate::settings::{LinearBackend, LinearSettings, LinearSolver, RefineSettings};
use crate::solution::Refinement;
use crate::tangent::norm_max;
use std::sync::Arc;

/// Below this the residual is rounding.
const ROUNDING: f64 = 1e-15;

/// A Newton step solved to this relative residual is good; a worse one is tried again with less regularization.
const GOOD_STEP: f64 = 1e-8;

/// A Newton step whose relative residual is above this is not taken: the system was singular.
const USABLE_STEP: f64 = 1e-3;

/// Steps without a better point after which a guess is given up. A change of the active set takes one or two.
const FRUITLESS_STEPS: usize = 3;

/// Regularizations of a Newton step's factorization, after the structure's own.
const REGULARIZATIONS: [f64; 2] = [1e-6, 1e-9];

/// A step on curved blocks is solved to this times the residual it starts from: what the step leaves is quadratic in that.
const FORCING: f64 = 1e-2;

/// Relative change of a curved block's v up to which a factorization made before serves a Newton step.
const NEAR_FOR_STEP: f64 = 1e-3;
/// The same for a derivative, each with the condition number up to which its refinement takes a step or two.
const NEAR_FOR_DERIVATIVE: [(f64, f64); 2] = [(1e-6, f64::INFINITY), (1e-4, 1e3)];

/// A point with F and J there.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) x: Vec<f64>,
    pub(crate) v: Vec<f64>,
    pub(crate) jacobian: ResidualJacobian,
    /// F, n + m.
    pub(crate) residual: Vec<f64>,
    pub(crate) relative: f64,
}

impl Point {
    /// z and s are those of a point nearby, or zero.
    pub(crate) fn new(
        program: &ConeProgram,
        x: Vec<f64>,
        v: Vec<f64>,
        (z, s): (Vec<f64>, Vec<f64>),
    ) -> Result<Self> {
        let projection = Projection::near(program.cones(), &v, z, s)?;
        let (residual, relative) = residual_and_size(program, &x, projection.z(), projection.s());
        Ok(Self {
            x,
            v,
            jacobian: ResidualJacobian::from_parts(program.clone(), projection),
            residual,
            relative,
        })
    }

    /// The point a step further.
    pub(crate) fn moved(&self, step: &[f64]) -> Result<Self> {
        let (dx, dv) = step.split_at(self.x.len());
        let add = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + d).collect::<Vec<f64>>();
        let projection = self.jacobian.projection();
        let near = (projection.z().to_vec(), projection.s().to_vec());
        let (x, v) = (add(&self.x, dx), add(&self.v, dv));
        Self::new(self.jacobian.program(), x, v, near)
    }
}

/// While steps are larger than this, relative to the point, Newton's method goes on though the residual is small and falls slowly.
const STILL: f64 = 1e-4;

/// Newton's method with the factorization it carries from point to point.
#[derive(Debug)]
pub(crate) struct Newton {
    structure: Arc<Structure>,
    settings: LinearSettings,
    prepared: Option<Prepared>,
    /// How near the factorization at hand must have been made to serve the next step.
    near: f64,
    work: Option<Workspace>,
}

impl Newton {
    pub(crate) fn new(structure: &Arc<Structure>, settings: LinearSettings) -> Self {
        Self {
            structure: Arc::clone(structure),
            settings,
            prepared: None,
            near: NEAR_FOR_STEP,
            work: None,
        }
    }

    /// Starts with a factorization made before. Unless it is to be kept, it serves only where a new one would be the same to the last
    /// bit; its memory is used anyway.
    pub(crate) fn with_prepared(mut self, prepared: Prepared, keep: bool) -> Self {
        // At a hard point another method or regularization was the last: a new factorization would not begin with it.
        let is_first = keep || prepared.is_ldl_with(self.structure.regularization());
        if !is_first || !prepared.is_of(&self.structure) {
            return self;
        }
        self.prepared = Some(prepared);
        self.near = if keep { NEAR_FOR_STEP } else { 0.0 };
        self
    }

    /// Times the back ends of the factorization at a point, once for a structure, unless one is chosen.
    pub(crate) fn calibrate(&mut self, point: &Point) {
        if self.settings.backend != LinearBackend::Auto
            || self.structure.is_calibrated()
            || self.factor(&point.jacobian, REGULARIZATIONS[0]).is_err()
        {
            return;
        }
        if let Some(prepared) = &mut self.prepared
            && prepared.calibrate().is_err()
        {
            self.prepared = None;
        }
    }

    /// Steps from a point until the residual is rounding or no longer falls: the best point, and what happened. `accepted` is left to
    /// the caller's tolerance.
    pub(crate) fn run(
        &mut self,
        start: Point,
        settings: &RefineSettings,
    ) -> Result<(Point, Refinement)> {
        self.run_with(start, settings, true)
    }

    /// Like `run`, but gives up at the first system that is close to singular, and after a few steps without progress: from a guess
    /// that costs more than starting afresh.
    pub(crate) fn run_from_guess(
        &mut self,
        start: Point,
        settings: &RefineSettings,
    ) -> Result<(Point, Refinement)> {
        self.run_with(start, settings, false)
    }

    fn run_with(
        &mut self,
        start: Point,
        settings: &RefineSettings,
        is_patient: bool,
    ) -> Result<(Point, Refinement)> {
        limit::check("a Newton step")?;
        let before = start.relative;
        let mut best = None;
        let mut best_relative = before;
        let (mut steps, mut last_step, mut best_step) = (0, 0.0, 0.0);
        let mut point = start.clone();
        let mut since_best = 0;
        while steps < settings.max_steps && (best_relative.is_nan() || best_relative > ROUNDING) {
            let step = self.step(&point, is_patient);
            // A budget that ends within the step is no broken step.
            limit::check("the next Newton step")?;
            let Some(step) = step else { break };
            let size = 1.0 + norm_max(&point.x).max(norm_max(&point.v));
            last_step = norm_max(&step) / size;
            let Ok(next) = point.moved(&step) else {
                break;
            };
            steps += 1;
            // Where J is nearly singular a small residual does not make the point: it has to stop moving, too.
            let settled = point.relative <= settings.tolerance.min(1e-10)
                && next.relative > 0.1 * point.relative
                && last_step <= STILL;
            if next.relative < best_relative {
                best_relative = next.relative;
                best_step = last_step;
                best = Some(next.clone());
            }
            since_best = if next.relative == best_relative {
                0
            } else {
                since_best + 1
            };
            let is_lost = !is_patient && since_best >= FRUITLESS_STEPS;
            if settled || is_lost || !next.relative.is_finite() {
                break;
            }
            point = next;
        }
        let accepted = best_relative <= settings.tolerance;
        let refinement = Refinement {
            before,
            after: if accepted { best_relative } else { before },
            steps,
            last_step: if best.is_some() { best_step } else { last_step },
            accepted,
        };
        Ok((best.filter(|_| accepted).unwrap_or(start), refinement))
    }

    /// -J^-1 F, or the least-squares step where J is singular; `None` if there is no usable one.
    fn step(&mut self, point: &Point, is_patient: bool) -> Option<Vec<f64>> {
        let rhs: Vec<f64> = point.residual.iter().map(|r| -r).collect();
        let jacobian = &point.jacobian;
        let mut step = vec![0.0; rhs.len()];
        let is_polyhedral = |b: &Block| {
            matches!(
                b,
                Block::Identity(_) | Block::Vanishing(_) | Block::Orthant(_)
            )
        };
        let target = if jacobian.projection().blocks().iter().all(is_polyhedral) {
            0.0
        } else {
            FORCING * point.relative
        };
        let good = target.max(GOOD_STEP);
        let is_near = |p: &Prepared| p.base().is_near(jacobian, self.near);
        if self.prepared.as_ref().is_some_and(is_near)
            && self.solve(target, jacobian, &rhs, &mut step)? <= good
        {
            return Some(step);
        }
        let mut best: Option<(f64, Vec<f64>)> = None;
        let own = self.structure.regularization();
        let others = REGULARIZATIONS.into_iter().filter(|r| *r != own);
        for regularization in std::iter::once(own).chain(others) {
            if self.factor(jacobian, regularization).is_err() {
                continue;
            }
            let missed = self.solve(target, jacobian, &rhs, &mut step)?;
            if missed <= good {
                return Some(step);
            }
            if !is_patient {
                break;
            }
            if missed <= USABLE_STEP && best.as_ref().is_none_or(|b| missed < b.0) {
                best = Some((missed, step.clone()));
            }
        }
        // A factorization that hardly refines is no start for another point.
        if !is_patient {
            self.near = 0.0;
            return None;
        }
        self.prepared = None;
        if let Some((_, step)) = best {
            return Some(step);
        }
        let prepared =
            Prepared::for_singular_newton(&self.structure, jacobian, self.settings).ok()?;
        let mut work = prepared.workspace(jacobian);
        prepared.solve(jacobian, &rhs, &mut step, &mut work).ok()?;
        norm_max(&step).is_finite().then_some(step)
    }

    /// Solves with the factorization at hand; the relative residual, `None` if there is no solving at all.
    fn solve(
        &mut self,
        target: f64,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        out: &mut [f64],
    ) -> Option<f64> {
        let prepared = self.prepared.as_ref()?;
        let work = self
            .work
            .get_or_insert_with(|| prepared.workspace(jacobian));
        let evidence = prepared.solve_to(target, jacobian, rhs, out, work).ok()?;
        Some(evidence.residual)
    }

    /// Factors J; without success nothing is left, since what was at hand has lost its memory to the attempt.
    fn factor(&mut self, jacobian: &ResidualJacobian, regularization: f64) -> Result<()> {
        self.near = NEAR_FOR_STEP;
        let prepared = match self.prepared.take() {
            Some(mut prepared) => {
                prepared.refactor(jacobian, regularization)?;
                prepared
            }
            None => {
                let (structure, settings) = (&self.structure, self.settings);
                Prepared::for_newton(structure, jacobian, regularization, settings)?
            }
        };
        self.prepared = Some(prepared);
        Ok(())
    }

    /// The factorization for derivatives at a point, with memory for its solves: the one at hand if it was made near enough for its
    /// condition.
    pub(crate) fn into_prepared(mut self, point: &Point) -> Result<(Prepared, Workspace)> {
        let prepared = self.certified(&point.jacobian)?;
        let mut work = match self.work {
            Some(work) => work,
            None => prepared.workspace(&point.jacobian),
        };
        prepared.fit(&point.jacobian, &mut work);
        Ok((prepared, work))
    }

    fn certified(&mut self, jacobian: &ResidualJacobian) -> Result<Prepared> {
        if let LinearSolver::Auto | LinearSolver::Ldl = self.settings.solver {
            if let Some(mut prepared) = self.prepared.take() {
                for (near, condition) in NEAR_FOR_DERIVATIVE {
                    if prepared.base().is_near(jacobian, self.near.min(near))
                        && prepared.certify()
                        && prepared.condition() <= condition
                    {
                        return Ok(prepared);
                    }
                }
                self.prepared = Some(prepared);
            }
            let regularization = self.structure.regularization();
            if self.factor(jacobian, regularization).is_ok()
                && let Some(mut prepared) = self.prepared.take()
                && prepared.certify()
            {
                return Ok(prepared);
            }
        }
        match Prepared::with_structure(&self.structure, jacobian, self.settings) {
            // At a kink another element may do.
            Err(Error::Factorization { .. }) if self.settings.solver == LinearSolver::Lu => {
                Prepared::for_singular_newton(&self.structure, jacobian, self.settings)
            }
            made => made,
        }
    }
}
