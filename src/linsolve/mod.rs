//! The linear step: J u = r and J'w = g, prepared once and solved many times, with evidence.
//!
//! Whatever the method, its answer is corrected by iterative refinement against the unreduced, unregularized J, and the relative
//! residual reported is that of J: the largest entry of each block row of r - J u over the largest sum of absolute
//! terms in that block row (a normwise backward error by blocks).
//!
//! # References
//! Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 7.1 (backward error), chapter 12 (refinement).

mod evidence;
mod ldl;
mod lsqr;
mod lu;
mod reduced;
mod structure;

pub use evidence::{Evidence, Method, StopReason};
use ldl::Backend;
pub use lsqr::{LsqrReport, LsqrSettings, LsqrStop, lsqr};
pub(crate) use structure::Structure;

use crate::error::{Error, Result};
use crate::random::Random;
use crate::residual::ResidualJacobian;
use crate::settings::{LinearBackend, LinearSettings, LinearSolver};
use crate::tangent::norm_max;
use faer::dyn_stack::{MemBuffer, StackReq};
use ldl::{Ldl, SolveMemory};
use lu::Lu;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Static regularizations tried in turn: the first that refines to the tolerance is kept. 1e-6 is safe against growth with P = 0;
/// smaller ones contract on nearly singular systems.
const REGULARIZATIONS: [f64; 3] = [1e-6, 1e-8, 1e-10];
/// The regularization of the minimum-norm iteration: its error is rounding over this, its speed this over the least singular value.
const MINIMUM_NORM_REGULARIZATION: f64 = 1e-6;
/// A relative residual at the level of rounding.
const ROUNDING: f64 = 4.0 * f64::EPSILON;
/// A condition number above this counts as singular: its solutions keep fewer than three digits.
const SINGULAR: f64 = 1e13;
/// The share of |u2| that counts as a term of A'D u2: times the tolerance of 1e-12 it is four rounding errors.
const ROUNDED_SHARE: f64 = 1e-3;
/// `Auto` does not try LU above this many unknowns.
const LU_MAX_DIM: usize = 20_000;

#[derive(Debug)]
enum Factors {
    Ldl(Box<Ldl>),
    MinimumNorm(Box<Ldl>),
    Lu(Box<Lu>),
    Lsqr,
}

/// J prepared for many solves. Memory: the factor, or nothing for LSQR.
#[derive(Debug)]
pub struct Prepared {
    factors: Factors,
    /// The J that was factored.
    base: ResidualJacobian,
    structure: Arc<Structure>,
    condition: f64,
    settings: LinearSettings,
}

/// Memory of a solve, reused from one to the next. One made for another factorization is made anew by the first solve.
pub struct Workspace {
    residual: Vec<f64>,
    correction: Vec<f64>,
    rhs: Vec<f64>,
    bound: Vec<f64>,
    scratch: Vec<f64>,
    reduced: [Vec<f64>; 4],
    memory: SolveMemory,
    shape: Shape,
}

/// What a solve needs of its memory.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    dim: usize,
    scratch: usize,
    reduced: usize,
    memory: StackReq,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace")
            .field("dim", &self.residual.len())
            .finish_non_exhaustive()
    }
}

impl Workspace {
    /// Bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        8 * (4 * self.shape.dim + self.shape.scratch + 5 * self.shape.reduced)
    }
}

/// A fixed vector without structure, for condition estimates.
fn probe_vector(len: usize) -> Vec<f64> {
    Random::new(1).symmetric(len)
}

impl Prepared {
    /// Factors J for derivatives: chooses the method, estimates the condition.
    ///
    /// # Errors
    /// [`Error::Factorization`] if the method asked for breaks down, [`Error::TooLarge`] if it would need too much memory.
    /// `Auto` falls back to the next method instead.
    pub fn new(jacobian: &ResidualJacobian, settings: LinearSettings) -> Result<Self> {
        let structure = Arc::new(Structure::new(jacobian.program()));
        Self::with_structure(&structure, jacobian, settings)
    }

    /// Like [`Prepared::new`] with the symbolic work shared.
    pub(crate) fn with_structure(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Self> {
        let (factors, condition) = match settings.solver {
            LinearSolver::Auto => auto(structure, jacobian, settings)?,
            LinearSolver::Ldl => ldl(structure, jacobian, settings)?,
            LinearSolver::Lu => {
                let lu = Lu::new(jacobian)?;
                let condition = lu.condition(&mut MemBuffer::new(lu.scratch()));
                (Factors::Lu(Box::new(lu)), condition)
            }
            LinearSolver::Lsqr => (Factors::Lsqr, lsqr_condition(jacobian, settings)),
        };
        Ok(Self::with_factors(
            structure, jacobian, factors, condition, settings,
        ))
    }

    /// Factors J for a Newton step: one LDL', no condition estimate.
    pub(crate) fn for_newton(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        regularization: f64,
        settings: LinearSettings,
    ) -> Result<Self> {
        let mut ldl = Ldl::new(structure);
        ldl.prepare(jacobian, regularization, settings.backend)?;
        let factors = Factors::Ldl(Box::new(ldl));
        Ok(Self::with_factors(
            structure,
            jacobian,
            factors,
            f64::NAN,
            settings,
        ))
    }

    /// Takes J at another point or of another program of the structure, for a Newton step. LDL' takes the memory it has.
    pub(crate) fn refactor(
        &mut self,
        jacobian: &ResidualJacobian,
        regularization: f64,
    ) -> Result<()> {
        match &mut self.factors {
            Factors::Ldl(f) => {
                f.prepare(jacobian, regularization, self.settings.backend)?;
                self.base = jacobian.clone();
                self.condition = f64::NAN;
            }
            _ => {
                *self = Self::for_newton(&self.structure, jacobian, regularization, self.settings)?;
            }
        }
        Ok(())
    }

    /// Measures on the matrix at hand, once for a structure: the fastest back end of LDL', and the regularization whose refinement takes
    /// the least time.
    pub(crate) fn calibrate(&mut self) -> Result<()> {
        let Factors::Ldl(f) = &mut self.factors else {
            return Ok(());
        };
        if self.settings.backend == LinearBackend::Auto {
            f.calibrate()?;
            f.prepare(&self.base, REGULARIZATIONS[0], LinearBackend::Auto)?;
        }
        let base = self.base.clone();
        let rhs = probe_vector(base.dim());
        let mut out = vec![0.0; rhs.len()];
        let mut best = (Duration::MAX, REGULARIZATIONS[0]);
        for regularization in REGULARIZATIONS {
            let Factors::Ldl(f) = &mut self.factors else {
                break;
            };
            if f.factor(regularization).is_err() {
                continue;
            }
            let mut work = self.workspace(&base);
            for _ in 0..3 {
                let start = Instant::now();
                let evidence = self.solve(&base, &rhs, &mut out, &mut work)?;
                let time = start.elapsed();
                if evidence.converged && time < best.0 {
                    best = (time, regularization);
                }
            }
        }
        self.structure.set_regularization(best.1);
        self.refactor(&base, best.1)
    }

    /// What a Newton step's factorization lacks for a derivative: the condition estimate, and another method where LDL' is not enough.
    pub(crate) fn certify(&mut self) -> Result<()> {
        if !self.condition.is_nan() {
            return Ok(());
        }
        if let (Factors::Ldl(f), LinearSolver::Auto | LinearSolver::Ldl) =
            (&self.factors, self.settings.solver)
        {
            let condition = f.condition(&mut SolveMemory::new(f));
            if condition <= SINGULAR {
                self.condition = condition;
                return Ok(());
            }
        }
        *self = Self::with_structure(&self.structure, &self.base, self.settings)?;
        Ok(())
    }

    /// The minimum-norm form of a Newton step at a singular point.
    pub(crate) fn for_singular_newton(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Self> {
        let mut ldl = Ldl::new(structure);
        ldl.prepare(jacobian, MINIMUM_NORM_REGULARIZATION, settings.backend)?;
        let factors = Factors::MinimumNorm(Box::new(ldl));
        Ok(Self::with_factors(
            structure,
            jacobian,
            factors,
            f64::INFINITY,
            settings,
        ))
    }

    fn with_factors(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        factors: Factors,
        condition: f64,
        settings: LinearSettings,
    ) -> Self {
        Self {
            factors,
            base: jacobian.clone(),
            structure: Arc::clone(structure),
            condition,
            settings,
        }
    }

    /// The J that was factored.
    pub(crate) fn base(&self) -> &ResidualJacobian {
        &self.base
    }

    /// True for LDL' with this regularization.
    pub(crate) fn is_ldl_with(&self, regularization: f64) -> bool {
        matches!(&self.factors, Factors::Ldl(f) if f.regularization() == regularization)
    }

    /// True if it was made on this structure.
    pub(crate) fn is_of(&self, structure: &Arc<Structure>) -> bool {
        Arc::ptr_eq(&self.structure, structure)
    }

    /// True if no method found J nonsingular.
    pub fn is_singular(&self) -> bool {
        self.condition > SINGULAR || matches!(self.factors, Factors::MinimumNorm(_))
    }

    /// The condition estimate of [`Evidence`].
    pub fn condition(&self) -> f64 {
        self.condition
    }

    /// Memory for solves with this factorization.
    pub fn workspace(&self, jacobian: &ResidualJacobian) -> Workspace {
        let shape = self.shape(jacobian);
        let zeros = || vec![0.0; shape.dim];
        Workspace {
            residual: zeros(),
            correction: zeros(),
            rhs: zeros(),
            bound: zeros(),
            scratch: vec![0.0; shape.scratch],
            reduced: std::array::from_fn(|_| vec![0.0; shape.reduced]),
            memory: match &self.factors {
                Factors::Ldl(f) | Factors::MinimumNorm(f) => SolveMemory::new(f),
                _ => SolveMemory::for_stack(shape.memory),
            },
            shape,
        }
    }

    /// Makes memory fit for solves with this factorization.
    pub(crate) fn fit(&self, jacobian: &ResidualJacobian, work: &mut Workspace) {
        if work.shape != self.shape(jacobian) {
            *work = self.workspace(jacobian);
        }
    }

    /// Bytes the factorization holds.
    pub(crate) fn bytes(&self) -> usize {
        match &self.factors {
            Factors::Ldl(f) | Factors::MinimumNorm(f) => f.bytes(),
            Factors::Lu(f) => f.bytes(),
            Factors::Lsqr => 0,
        }
    }

    fn shape(&self, jacobian: &ResidualJacobian) -> Shape {
        let (reduced, memory) = match &self.factors {
            Factors::Ldl(f) | Factors::MinimumNorm(f) => (f.reduced.len(), f.scratch()),
            Factors::Lu(f) => (0, f.scratch()),
            Factors::Lsqr => (0, StackReq::EMPTY),
        };
        Shape {
            dim: jacobian.dim(),
            scratch: jacobian.scratch_len().max(self.base.scratch_len())
                + self.structure.scratch_len(),
            reduced,
            memory,
        }
    }

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
            iterations: 0,
        };
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

/// LDL' with the first regularization whose refinement contracts.
fn ldl(
    structure: &Arc<Structure>,
    jacobian: &ResidualJacobian,
    settings: LinearSettings,
) -> Result<(Factors, f64)> {
    let mut ldl = Ldl::new(structure);
    let mut last = ldl.prepare(jacobian, REGULARIZATIONS[0], settings.backend);
    if let Err(Error::TooLarge { .. }) = last {
        return last.map(|()| (Factors::Lsqr, f64::INFINITY));
    }
    let mut memory = SolveMemory::new(&ldl);
    for regularization in REGULARIZATIONS {
        if regularization != REGULARIZATIONS[0] {
            last = ldl.factor(regularization);
        }
        if last.is_err() {
            continue;
        }
        let condition = ldl.condition(&mut memory);
        if condition.is_finite() {
            return Ok((Factors::Ldl(Box::new(ldl)), condition));
        }
    }
    last.map(|()| (Factors::Ldl(Box::new(ldl)), f64::INFINITY))
}

/// LSQR's condition estimate on a generic right-hand side; infinity if it does not reach one. A singular system can still have
/// solutions for the seeds of interest, and then nothing else tells that they are not unique.
fn lsqr_condition(jacobian: &ResidualJacobian, settings: LinearSettings) -> f64 {
    let dim = jacobian.dim();
    let mut scratch = vec![0.0; jacobian.scratch_len()];
    let mut second = scratch.clone();
    let report = lsqr(
        |u, out| jacobian.apply_into(u, out, &mut scratch),
        |u, out| jacobian.apply_transpose_into(u, out, &mut second),
        &probe_vector(dim),
        &mut vec![0.0; dim],
        LsqrSettings {
            tolerance: 1e-13,
            max_iterations: settings.lsqr_max_iterations,
            max_condition: SINGULAR,
        },
    );
    match report.stop {
        LsqrStop::Solved | LsqrStop::ZeroRightHandSide => report.condition.max(1.0),
        _ => f64::INFINITY,
    }
}

fn auto(
    structure: &Arc<Structure>,
    jacobian: &ResidualJacobian,
    settings: LinearSettings,
) -> Result<(Factors, f64)> {
    match ldl(structure, jacobian, settings) {
        Ok((factors, condition)) if condition <= SINGULAR => return Ok((factors, condition)),
        Err(Error::TooLarge { .. }) => {
            return Ok((Factors::Lsqr, lsqr_condition(jacobian, settings)));
        }
        _ => {}
    }
    if jacobian.dim() <= LU_MAX_DIM
        && lu::dense_entries(jacobian) <= 200 * jacobian.dim()
        && let Ok(lu) = Lu::new(jacobian)
    {
        let condition = lu.condition(&mut MemBuffer::new(lu.scratch()));
        if condition <= SINGULAR {
            return Ok((Factors::Lu(Box::new(lu)), condition));
        }
    }
    let mut ldl = Ldl::new(structure);
    ldl.prepare(jacobian, MINIMUM_NORM_REGULARIZATION, settings.backend)?;
    Ok((Factors::MinimumNorm(Box::new(ldl)), f64::INFINITY))
}
