//! The derivative of the solution map: JVP, VJP and Jacobian on one factorization, each with its evidence.
//!
//! ```text
//! JVP   J (dx; dv) = -( dP x + dA'z + dq ; -dA x + db ),   dz = D dv,   ds = -(I - D) dv
//! VJP   J'w = -( gx ; D gz - (I - D) gs ),   then w against the same right-hand side
//! ```

use crate::certificate::Extremes;
use crate::error::{Error, Result};
use crate::kink::{Classified, Kink, RowState, Warning, classify, row_states};
use crate::linsolve::{Evidence, Prepared, Structure, Workspace};
use crate::meaning::Meaning;
use crate::newton::{Newton, Point};
use crate::pattern::check_finite;
use crate::point::{Moved, PreparedPoint, point_of, take_point};
use crate::program::ConeProgram;
use crate::projection::{BlockKink, Element, Projection};
use crate::refine::refine_at;
use crate::residual::{
    ResidualJacobian, Wanted, data_cotangent_into, data_tangent_into, for_each_entry,
};
use crate::selection::{Selected, select};
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent, norm_max};
use std::sync::Arc;

/// Above this an unrefined point is no solution: v = z - s of an interior-point answer stays below 1e-4.
const UNREFINED_RESIDUAL: f64 = 1e-3;

/// A derivative with what is known about it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Checked<T> {
    /// The derivative.
    pub value: T,
    /// What it is.
    pub meaning: Meaning,
    /// How well its linear system was solved.
    pub evidence: Evidence,
    /// False whenever the residual missed its tolerance, the point is ambiguous or singular, or refinement failed.
    pub trusted: bool,
    /// Every reason for doubt.
    pub warnings: Vec<Warning>,
}

/// The derivative of (x, z, s) in (P, q, A, b) at a solution.
///
/// Preparing costs a refinement (one to three factorizations), one factorization and a condition estimate; each JVP or VJP then one solve per
/// refinement step. It owns what it needs and is `Send + Sync`: one `Derivative` can serve many threads, each with its own
/// [`Workspace`].
///
/// ```
/// use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// // minimize 1/2 x^2 - x subject to x <= b: at b = 1/4, dx/db = 1
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let settings = Settings::default();
/// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// let mut seed = SolutionTangent::zeros(&program);
/// seed.x[0] = 1.0;
/// let gradient = derivative.vjp(&seed)?;
/// assert!(gradient.trusted);
/// assert!((gradient.value.b[0] - 1.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct Derivative {
    jacobian: ResidualJacobian,
    prepared: Prepared,
    solution: Solution,
    settings: Settings,
    /// How far from a kink each row counts as at it, m.
    pub(crate) radius: Vec<f64>,
    /// The kinks, as (cone, kink).
    pub(crate) blocks: Vec<(usize, BlockKink)>,
    kinks: Vec<Kink>,
    warnings: Vec<Warning>,
    point_error: f64,
    /// The point one Newton step on, where the derivative's error has to be estimated.
    moved: Option<Moved>,
    meaning: Meaning,
    /// The element taken at the kinks.
    pub(crate) element: Option<Element>,
}

/// Where condition times the point's error stays below this, it bounds the derivative's error well enough; above, each derivative
/// estimates its own by one more solve.
const HARMLESS: f64 = 1e-8;

impl Derivative {
    /// Prepares the derivative at a solution, refining it first unless that was done or is switched off.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::Setting`], [`Error::Factorization`], [`Error::TooLarge`]; under `strict`,
    /// [`Error::NotTrusted`] if the point itself rules out trust.
    pub fn new(program: &ConeProgram, solution: &Solution, settings: &Settings) -> Result<Self> {
        settings.validate()?;
        solution.check(program)?;
        let mut solution = solution.clone();
        solution.free_rows(program);
        let mut point = point_of(program, &solution)?;
        let mut newton = Newton::new(&Arc::new(Structure::new(program)), settings.linear);
        if settings.refine.enabled && solution.refinement.is_none() {
            point = refine_at(&mut solution, point, settings, &mut newton)?;
        }
        Self::at(point, newton, solution, settings)
    }

    /// The derivative at a solution's point, on Newton's factorization.
    pub(crate) fn at(
        point: Point,
        newton: Newton,
        mut solution: Solution,
        settings: &Settings,
    ) -> Result<Self> {
        let is_refined = solution.refinement.is_some_and(|r| r.accepted);
        let prepared_point = PreparedPoint::new(point, newton, is_refined)?;
        if prepared_point.polished > 0 {
            take_point(&mut solution, &prepared_point.point)?;
        }
        let PreparedPoint { point, error, .. } = &prepared_point;
        let (program, projection) = (point.jacobian.program(), point.jacobian.projection());
        // A singular system has no Newton step: what the residual says of v itself has to do.
        let error = if prepared_point.prepared.is_singular() {
            &point.residual
        } else {
            error
        };
        let (_, dv) = error.split_at(program.n());
        let Classified {
            radius,
            blocks,
            kinks,
            mut warnings,
        } = classify(program, &solution, &point.v, dv, projection, settings);
        let point_error = prepared_point.relative_error(&blocks);
        if prepared_point.polished > 0
            && let Some(r) = &mut solution.refinement
        {
            r.after = prepared_point.point.relative;
            r.steps += prepared_point.polished;
            r.last_step = point_error;
        }
        let PreparedPoint {
            point, prepared, ..
        } = &prepared_point;
        let bound = prepared.condition() * point_error.max(f64::EPSILON);
        let moved = if bound > HARMLESS && !prepared.is_singular() && kinks.is_empty() {
            prepared_point.moved()
        } else {
            None
        };
        let residual = point.relative;
        let PreparedPoint {
            point, prepared, ..
        } = prepared_point;
        let Selected {
            jacobian,
            prepared,
            meaning,
            element,
        } = if blocks.is_empty() {
            Selected::smooth(point.jacobian, prepared)
        } else {
            let structure = Arc::clone(prepared.structure());
            let (choice, linear) = (settings.selection, settings.linear);
            select(&structure, &point.jacobian, &blocks, choice, linear)?
        };
        // Whatever the solution says of itself, it may belong to other data.
        let is_solution = match solution.refinement {
            Some(r) => r.accepted && residual <= 2.0 * settings.refine.tolerance,
            None => residual <= UNREFINED_RESIDUAL,
        };
        if !is_solution {
            warnings.push(Warning::NotRefined { residual });
        } else if point_error.is_nan() || point_error > settings.accuracy {
            warnings.push(Warning::PointError { error: point_error });
        }
        if is_solution && solution.refinement.is_none() {
            warnings.push(Warning::Unrefined);
        }
        if prepared.is_singular() {
            warnings.push(Warning::Singular {
                condition: prepared.condition(),
            });
        }
        let derivative = Self {
            jacobian,
            prepared,
            solution,
            settings: *settings,
            radius,
            blocks,
            kinks,
            warnings,
            point_error,
            moved,
            meaning,
            element,
        };
        derivative.strictly_at_point()
    }

    /// The same point with another J, factored.
    pub(crate) fn with_selected(&self, selected: Selected) -> Result<Self> {
        let mut warnings = self.warnings.clone();
        warnings.retain(|w| !matches!(w, Warning::Singular { .. }));
        if selected.prepared.is_singular() {
            warnings.push(Warning::Singular {
                condition: selected.prepared.condition(),
            });
        }
        Self {
            jacobian: selected.jacobian,
            prepared: selected.prepared,
            solution: self.solution.clone(),
            settings: self.settings,
            radius: self.radius.clone(),
            blocks: self.blocks.clone(),
            kinks: self.kinks.clone(),
            warnings,
            point_error: self.point_error,
            moved: None,
            meaning: selected.meaning,
            element: selected.element,
        }
        .strictly_at_point()
    }

    fn strictly_at_point(self) -> Result<Self> {
        if self.settings.strict && !self.is_trusted_point() {
            return Err(self.not_trusted(&self.warnings, 0.0));
        }
        Ok(self)
    }

    /// v = z - s, as projected.
    pub(crate) fn v(&self) -> Vec<f64> {
        let projection = self.projection();
        let both = projection.z().iter().zip(projection.s());
        both.map(|(z, s)| z - s).collect()
    }

    /// The symbolic work.
    pub(crate) fn structure(&self) -> &Arc<Structure> {
        self.prepared.structure()
    }

    /// The rank tests at some kinks, its own or more.
    pub(crate) fn extremes<'a>(&'a self, kinks: &'a [(usize, BlockKink)]) -> Extremes<'a> {
        let is_own = std::ptr::eq(kinks, self.blocks.as_slice());
        Extremes {
            structure: self.structure(),
            settings: self.settings.linear,
            jacobian: &self.jacobian,
            prepared: &self.prepared,
            element: self.element.filter(|_| is_own),
            kinks,
        }
    }

    /// x, z and s (as projected) and the factorization.
    pub(crate) fn into_parts(self) -> (Vec<f64>, Vec<f64>, Vec<f64>, Prepared) {
        let projection = self.jacobian.projection();
        let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
        (self.solution.x, z, s, self.prepared)
    }

    /// The (refined) solution the derivative is taken at.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }
    /// The program.
    pub fn program(&self) -> &ConeProgram {
        self.jacobian.program()
    }
    /// The settings it was prepared with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// The residual map's Jacobian there.
    pub fn residual_jacobian(&self) -> &ResidualJacobian {
        &self.jacobian
    }
    /// The projection of v = z - s.
    pub fn projection(&self) -> &Projection {
        self.jacobian.projection()
    }
    /// Blocks whose point cannot be told from a kink.
    pub fn kinks(&self) -> &[Kink] {
        &self.kinks
    }
    /// The state of every row: active, inactive, curved or ambiguous. m of them.
    pub fn row_states(&self) -> Vec<RowState> {
        row_states(self.projection(), &self.kinks)
    }
    /// What its derivatives are: the derivative, an element of the conservative Jacobian, or what a policy put in their place.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }
    /// What is doubtful about the point, before any linear solve.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
    /// Estimated relative error of the point: the Newton step from it, |(dx, dv)| / (1 + |(x, v)|), and on curved blocks relative to the
    /// margin. Zero at a singular point, where the step says nothing.
    pub fn point_error(&self) -> f64 {
        self.point_error
    }
    /// The condition estimate of the linear system, infinite if singular.
    pub fn condition(&self) -> f64 {
        self.prepared.condition()
    }
    /// True unless the point itself is ambiguous, singular or not refined.
    pub fn is_trusted_point(&self) -> bool {
        !self.warnings.iter().any(Warning::is_fatal)
    }
    /// Makes memory fit for this derivative.
    pub(crate) fn fit(&self, work: &mut DerivativeWorkspace) {
        work.fit(self);
        self.prepared.fit(&self.jacobian, &mut work.linear);
    }

    /// Bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let (n, m) = (self.program().n(), self.program().m());
        self.prepared.bytes() + 8 * (2 * n + 8 * m)
    }

    /// Memory for the `*_into` forms.
    pub fn workspace(&self) -> DerivativeWorkspace {
        let dim = self.jacobian.dim();
        DerivativeWorkspace {
            linear: self.prepared.workspace(&self.jacobian),
            rhs: vec![0.0; dim],
            answer: vec![0.0; dim],
            product: vec![0.0; dim],
            scratch: vec![0.0; self.scratch_len()],
            masked: vec![0.0; self.program().m()],
        }
    }

    /// Directional derivative of the solution along a data tangent (values in stored order).
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::NotTrusted`] under `strict`.
    pub fn jvp(&self, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        let mut value = SolutionTangent::zeros(self.program());
        let evidence = self.jvp_into(tangent, &mut value, &mut self.workspace())?;
        Ok(self.checked(value, evidence))
    }

    /// Gradient of <cotangent, (x, z, s)> in the data, on the stored patterns.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::NotTrusted`] under `strict`.
    pub fn vjp(&self, cotangent: &SolutionCotangent) -> Result<Checked<DataCotangent>> {
        self.vjp_wanted(cotangent, Wanted::default())
    }

    /// Like [`Derivative::vjp`], computing only the parts wanted; the others come back empty.
    ///
    /// # Errors
    /// Those of [`Derivative::vjp`].
    pub fn vjp_wanted(
        &self,
        cotangent: &SolutionCotangent,
        wanted: Wanted,
    ) -> Result<Checked<DataCotangent>> {
        let mut value = DataTangent::default();
        let evidence = self.vjp_into(cotangent, wanted, &mut value, &mut self.workspace())?;
        Ok(self.checked(value, evidence))
    }

    /// JVPs along many tangents on the one factorization.
    ///
    /// # Errors
    /// Those of [`Derivative::jvp`], at the first tangent that fails.
    pub fn jvp_many(&self, tangents: &[DataTangent]) -> Result<Vec<Checked<SolutionTangent>>> {
        let mut work = self.workspace();
        tangents
            .iter()
            .map(|tangent| {
                let mut value = SolutionTangent::zeros(self.program());
                let evidence = self.jvp_into(tangent, &mut value, &mut work)?;
                Ok(self.checked(value, evidence))
            })
            .collect()
    }

    /// VJPs of many cotangents on the one factorization.
    ///
    /// # Errors
    /// Those of [`Derivative::vjp`], at the first cotangent that fails.
    pub fn vjp_many(
        &self,
        cotangents: &[SolutionCotangent],
    ) -> Result<Vec<Checked<DataCotangent>>> {
        let mut work = self.workspace();
        cotangents
            .iter()
            .map(|cotangent| {
                let mut value = DataTangent::default();
                let evidence =
                    self.vjp_into(cotangent, Wanted::default(), &mut value, &mut work)?;
                Ok(self.checked(value, evidence))
            })
            .collect()
    }

    /// [`Derivative::jvp`] into the caller's memory; with a factorization (LSQR allocates) nothing is allocated once `out` has the right lengths.
    /// Whether the result is trusted:
    /// [`Derivative::is_trusted`].
    ///
    /// # Errors
    /// Those of [`Derivative::jvp`].
    pub fn jvp_into(
        &self,
        tangent: &DataTangent,
        out: &mut SolutionTangent,
        work: &mut DerivativeWorkspace,
    ) -> Result<Evidence> {
        let evidence = self.solve_tangent(tangent, work)?;
        self.solution_tangent(work, out)?;
        self.strictly(evidence)
    }

    /// work.answer = (dx, dv).
    pub(crate) fn solve_tangent(
        &self,
        tangent: &DataTangent,
        work: &mut DerivativeWorkspace,
    ) -> Result<Evidence> {
        let program = self.program();
        tangent.check(program)?;
        work.fit(self);
        jvp_rhs(
            program,
            &self.solution.x,
            &self.solution.z,
            tangent,
            &mut work.rhs,
        );
        let mut evidence = self.prepared.solve(
            &self.jacobian,
            &work.rhs,
            &mut work.answer,
            &mut work.linear,
        )?;
        if let Some(moved) = &self.moved {
            let z = moved.jacobian.projection().z();
            jvp_rhs(program, &moved.x, z, tangent, &mut work.rhs);
            let (product, scratch) = (&mut work.product, &mut work.scratch);
            moved.jacobian.apply_into(&work.answer, product, scratch);
            evidence.error = self.estimate_error(work, false)?;
        } else {
            evidence.error = evidence.error.max(self.harmless_error());
        }
        Ok(evidence)
    }

    /// work.answer = J^-1 of a right-hand side, n + m.
    pub(crate) fn solve_with(
        &self,
        rhs: &[f64],
        work: &mut DerivativeWorkspace,
    ) -> Result<Evidence> {
        work.fit(self);
        self.prepared
            .solve(&self.jacobian, rhs, &mut work.answer, &mut work.linear)
    }

    /// dx, dz = D dv and ds = -(I - D) dv from (dx, dv) = work.answer.
    pub(crate) fn solution_tangent(
        &self,
        work: &mut DerivativeWorkspace,
        out: &mut SolutionTangent,
    ) -> Result<()> {
        let program = self.program();
        let (n, m) = (program.n(), program.m());
        out.x.resize(n, 0.0);
        out.z.resize(m, 0.0);
        out.s.resize(m, 0.0);
        let (dx, dv) = work.answer.split_at(n);
        out.x.copy_from_slice(dx);
        let projection = self.jacobian.projection();
        projection.apply_into(dv, &mut out.z, &mut work.scratch);
        projection.apply_complement_into(dv, &mut out.s, &mut work.scratch);
        for s in &mut out.s {
            *s = -*s;
        }
        // A large seed can overflow.
        check_finite("derivative of x", &out.x)?;
        check_finite("derivative of z", &out.z)?;
        check_finite("derivative of s", &out.s)
    }

    /// [`Derivative::vjp_wanted`] into the caller's memory; with a factorization nothing is allocated once `out` has the right
    /// lengths.
    ///
    /// # Errors
    /// Those of [`Derivative::vjp`].
    pub fn vjp_into(
        &self,
        cotangent: &SolutionCotangent,
        wanted: Wanted,
        out: &mut DataCotangent,
        work: &mut DerivativeWorkspace,
    ) -> Result<Evidence> {
        let program = self.program();
        cotangent.check(program)?;
        work.fit(self);
        vjp_rhs(&self.jacobian, cotangent, work);
        let mut evidence = self.prepared.solve_transpose(
            &self.jacobian,
            &work.rhs,
            &mut work.answer,
            &mut work.linear,
        )?;
        if let Some(moved) = &self.moved {
            vjp_rhs(&moved.jacobian, cotangent, work);
            let (product, scratch) = (&mut work.product, &mut work.scratch);
            moved
                .jacobian
                .apply_transpose_into(&work.answer, product, scratch);
            evidence.error = self.estimate_error(work, true)?;
        } else {
            evidence.error = evidence.error.max(self.harmless_error());
        }
        data_cotangent_into(
            program,
            &self.solution.x,
            &self.solution.z,
            &work.answer,
            wanted,
            out,
        );
        // A large seed can overflow.
        check_finite("gradient of P", &out.p)?;
        check_finite("gradient of q", &out.q)?;
        check_finite("gradient of A", &out.a)?;
        check_finite("gradient of b", &out.b)?;
        self.strictly(evidence)
    }

    /// Gradient of the optimal value in the data, by the envelope theorem: no linear solve. It holds where z is unique.
    pub fn objective_gradient(&self) -> DataCotangent {
        let (program, x, z) = (self.program(), &self.solution.x, &self.solution.z);
        let mut out = DataTangent::zeros(program);
        out.q.copy_from_slice(x);
        for (b, z) in out.b.iter_mut().zip(z) {
            *b = -z;
        }
        for_each_entry(program.p(), |k, i, j| {
            out.p[k] = if i == j {
                0.5 * x[i] * x[i]
            } else {
                x[i] * x[j]
            };
        });
        for_each_entry(program.a(), |k, i, j| out.a[k] = z[i] * x[j]);
        out
    }

    /// The answer's change if the point were one Newton step on, relative to the answer, and the point's own error: with work.rhs
    /// and work.product the right-hand side and J times the answer there, J^-1 (rhs - product).
    fn estimate_error(&self, work: &mut DerivativeWorkspace, transpose: bool) -> Result<f64> {
        for (r, p) in work.rhs.iter_mut().zip(&work.product) {
            *r -= p;
        }
        let solve = if transpose {
            Prepared::solve_transpose
        } else {
            Prepared::solve
        };
        let (rhs, product) = (&work.rhs, &mut work.product);
        solve(
            &self.prepared,
            &self.jacobian,
            rhs,
            product,
            &mut work.linear,
        )?;
        let (change, size) = (norm_max(&work.product), norm_max(&work.answer));
        let relative = if change == 0.0 { 0.0 } else { change / size };
        Ok(relative.max(self.point_error))
    }

    /// The bound that made estimates unnecessary.
    fn harmless_error(&self) -> f64 {
        self.condition() * self.point_error
    }

    /// Entries of scratch memory J needs, here and one Newton step on.
    fn scratch_len(&self) -> usize {
        let moved = self.moved.as_ref().map_or(0, |m| m.jacobian.scratch_len());
        self.jacobian.scratch_len().max(moved)
    }

    /// True if a derivative with this evidence is trusted.
    pub fn is_trusted(&self, evidence: &Evidence) -> bool {
        evidence.converged && self.is_accurate(evidence) && self.is_trusted_point()
    }

    fn is_accurate(&self, evidence: &Evidence) -> bool {
        evidence.error <= self.settings.accuracy
    }

    pub(crate) fn checked<T>(&self, value: T, evidence: Evidence) -> Checked<T> {
        Checked {
            value,
            meaning: self.meaning,
            evidence,
            trusted: self.is_trusted(&evidence),
            warnings: self.all_warnings(&evidence),
        }
    }

    fn all_warnings(&self, evidence: &Evidence) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        if !evidence.converged {
            warnings.push(Warning::LinearResidual {
                residual: evidence.residual,
                tolerance: self.settings.linear.tolerance,
            });
        }
        // A singular or unsolved system has said what there is to say.
        if evidence.converged && !self.prepared.is_singular() && !self.is_accurate(evidence) {
            warnings.push(Warning::Inaccurate {
                error: evidence.error,
                accuracy: self.settings.accuracy,
            });
        }
        warnings
    }

    fn strictly(&self, evidence: Evidence) -> Result<Evidence> {
        if self.settings.strict && !self.is_trusted(&evidence) {
            return Err(self.not_trusted(&self.all_warnings(&evidence), evidence.residual));
        }
        Ok(evidence)
    }

    fn not_trusted(&self, warnings: &[Warning], residual: f64) -> Error {
        let reasons: Vec<String> = warnings
            .iter()
            .filter(|w| w.is_fatal())
            .map(ToString::to_string)
            .collect();
        Error::NotTrusted {
            reasons: reasons.join("; "),
            residual,
            margin: self
                .projection()
                .margins()
                .iter()
                .fold(f64::INFINITY, |m, x| m.min(x.margin)),
        }
    }
}

/// Memory for the `*_into` forms of [`Derivative`]. One made by another derivative is refitted, which allocates.
#[derive(Debug)]
pub struct DerivativeWorkspace {
    linear: Workspace,
    rhs: Vec<f64>,
    pub(crate) answer: Vec<f64>,
    product: Vec<f64>,
    scratch: Vec<f64>,
    masked: Vec<f64>,
}

impl DerivativeWorkspace {
    /// Bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let own = [
            &self.rhs,
            &self.answer,
            &self.product,
            &self.scratch,
            &self.masked,
        ];
        self.linear.bytes() + 8 * own.iter().map(|v| v.len()).sum::<usize>()
    }

    /// Takes the lengths a derivative needs; nothing happens to a workspace made for it.
    fn fit(&mut self, derivative: &Derivative) {
        let dim = derivative.jacobian.dim();
        self.rhs.resize(dim, 0.0);
        self.answer.resize(dim, 0.0);
        self.product.resize(dim, 0.0);
        self.scratch.resize(derivative.scratch_len(), 0.0);
        self.masked.resize(derivative.program().m(), 0.0);
    }
}

/// rhs = -( dP x + dA'z + dq ; -dA x + db ).
fn jvp_rhs(program: &ConeProgram, x: &[f64], z: &[f64], tangent: &DataTangent, rhs: &mut [f64]) {
    data_tangent_into(program, x, z, tangent, rhs);
    for r in rhs {
        *r = -*r;
    }
}

/// work.rhs = -( gx ; D gz - (I - D) gs ), rows without a bound left out.
fn vjp_rhs(
    jacobian: &ResidualJacobian,
    cotangent: &SolutionCotangent,
    work: &mut DerivativeWorkspace,
) {
    let (program, projection) = (jacobian.program(), jacobian.projection());
    let (top, bottom) = work.rhs.split_at_mut(program.n());
    for (t, g) in top.iter_mut().zip(&cotangent.x) {
        *t = -g;
    }
    let mask = |from: &[f64], to: &mut [f64]| {
        to.copy_from_slice(from);
        for &i in program.unbounded() {
            to[i] = 0.0;
        }
    };
    mask(&cotangent.s, &mut work.masked);
    projection.apply_complement_into(&work.masked, bottom, &mut work.scratch);
    mask(&cotangent.z, &mut work.masked);
    let (dz, rest) = work.scratch.split_at_mut(program.m());
    projection.apply_into(&work.masked, dz, rest);
    for (b, d) in bottom.iter_mut().zip(dz.iter()) {
        *b -= d;
    }
}
