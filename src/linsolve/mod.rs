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
mod null_space;
mod reduced;
mod refined;
mod square;
mod structure;
#[cfg(test)]
mod tests;

pub use evidence::{Evidence, Method, StopReason};
use ldl::Backend;
pub use lsqr::{LsqrReport, LsqrSettings, LsqrStop, lsqr};
pub(crate) use null_space::{Inspection, NullVector};
pub(crate) use square::Square;
pub(crate) use structure::{Calibration, Structure};

use crate::error::{Error, Result};
use crate::limit;
use crate::random::Random;
use crate::residual::ResidualJacobian;
use crate::settings::{LinearBackend, LinearSettings, LinearSolver};
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
/// What a budget is asked before.
const FACTORIZATION: &str = "a factorization";
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
///
/// ```
/// # use conediff::{Cone, ConeProgram, LinearSettings, Prepared, ResidualJacobian};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let jacobian = ResidualJacobian::new(&program, &[0.75])?;
/// # let prepared = Prepared::new(&jacobian, LinearSettings::default())?;
/// use conediff::Workspace;
/// // J = [1 1; -1 0]: one memory for both directions
/// let (mut work, mut u): (Workspace, _) = (prepared.workspace(&jacobian), [0.0; 2]);
/// prepared.solve(&jacobian, &[3.0, -1.0], &mut u, &mut work)?;
/// assert!((u[0] - 1.0).abs() < 1e-14 && (u[1] - 2.0).abs() < 1e-14);
/// prepared.solve_transpose(&jacobian, &[1.0, 2.0], &mut u, &mut work)?;
/// assert!((u[0] - 2.0).abs() < 1e-14 && (u[1] - 1.0).abs() < 1e-14);
/// # Ok::<(), conediff::Error>(())
/// ```
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
    /// ```
    /// use conediff::{
    ///     Cone, ConeProgram, LinearSettings, LinearSolver, Method, Prepared, ResidualJacobian, Workspace,
    /// };
    /// // J = [1 1; -1 0]: one variable, one row with D = 1
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.25],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let jacobian = ResidualJacobian::new(&program, &[0.75])?;
    /// for (solver, method) in [(LinearSolver::Ldl, Method::Ldl), (LinearSolver::Lu, Method::Lu)] {
    ///     let settings = LinearSettings { solver, ..LinearSettings::default() };
    ///     let prepared = Prepared::new(&jacobian, settings)?;
    ///     let mut work: Workspace = prepared.workspace(&jacobian);
    ///     let mut u = [0.0; 2];
    ///     let evidence = prepared.solve(&jacobian, &[3.0, -1.0], &mut u, &mut work)?;
    ///     assert!((u[0] - 1.0).abs() < 1e-15 && (u[1] - 2.0).abs() < 1e-15);
    ///     assert!(evidence.method == method && evidence.converged);
    /// }
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Factorization`] if the method asked for breaks down, [`Error::TooLarge`] if it would need too much memory.
    /// `Auto` falls back to the next method instead.
    pub fn new(jacobian: &ResidualJacobian, settings: LinearSettings) -> Result<Self> {
        let structure = Arc::new(Structure::new(jacobian.program())?);
        Self::with_structure(&structure, jacobian, settings)
    }

    /// Like [`Prepared::new`] with the symbolic work shared.
    pub(crate) fn with_structure(
        structure: &Arc<Structure>,
        jacobian: &ResidualJacobian,
        settings: LinearSettings,
    ) -> Result<Self> {
        limit::check(FACTORIZATION)?;
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
        // An interrupted estimate is none.
        limit::check("the use of a factorization")?;
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
        limit::check(FACTORIZATION)?;
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

    /// Estimates the condition, which a Newton step's factorization lacks; false where LDL' is not enough for a derivative.
    pub(crate) fn certify(&mut self) -> bool {
        if let Factors::Ldl(f) = &self.factors
            && self.condition.is_nan()
        {
            self.condition = f.condition(&mut SolveMemory::new(f));
        }
        self.condition <= SINGULAR
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

    /// The symbolic work it was made on.
    pub(crate) fn structure(&self) -> &Arc<Structure> {
        &self.structure
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
