//! JVPs and VJPs on the factorization at hand.

use super::policy::Substitute;
use super::{Checked, Derivative};
use crate::error::Result;
use crate::linsolve::{Evidence, Prepared, Workspace};
use crate::pattern::check_finite;
use crate::point::{Moved, Worst, draw_rounding};
use crate::program::ConeProgram;
use crate::residual::{
    ResidualJacobian, Wanted, data_cotangent_into, data_tangent_into, for_each_entry,
};
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent, norm_max};

impl Derivative {
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
    ///
    /// ```
    /// use conediff::{
    ///     Cone, ConeProgram, DataCotangent, Derivative, DerivativeWorkspace, Settings, SolutionCotangent, Wanted, solve,
    /// };
    /// # let program = ConeProgram::from_csc(
    /// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    /// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
    /// #     vec![Cone::Nonnegative(1)],
    /// # )?;
    /// # let settings = Settings::default();
    /// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    ///
    /// // minimize 1/2 x^2 - x subject to x <= 1/4, again and again: memory and gradient are reused, and only db is formed.
    /// let mut work: DerivativeWorkspace = derivative.workspace();
    /// let mut gradient = DataCotangent::default();
    /// let wanted = Wanted { p: false, q: false, a: false, b: true };
    /// for weight in [1.0, 2.0] {
    ///     let seed = SolutionCotangent { x: vec![weight], ..SolutionCotangent::zeros(&program) };
    ///     let evidence = derivative.vjp_into(&seed, wanted, &mut gradient, &mut work)?;
    ///     assert!(derivative.is_trusted(&evidence) && gradient.q.is_empty());
    ///     assert!((gradient.b[0] - weight).abs() < 1e-12);
    /// }
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn workspace(&self) -> DerivativeWorkspace {
        let dim = self.jacobian.dim();
        DerivativeWorkspace {
            linear: self.prepared.workspace(&self.jacobian),
            rhs: vec![0.0; dim],
            answer: vec![0.0; dim],
            product: vec![0.0; dim],
            scratch: vec![0.0; self.scratch_len()],
            masked: vec![0.0; self.program().m()],
            terms: vec![0.0; dim],
        }
    }

    /// Directional derivative of the solution along a data tangent (values in stored order).
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; [`crate::Error::NotTrusted`] under `strict`.
    pub fn jvp(&self, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        let mut value = SolutionTangent::zeros(self.program());
        let evidence = self.jvp_into(tangent, &mut value, &mut self.workspace())?;
        Ok(self.checked(value, evidence))
    }

    /// Gradient of <cotangent, (x, z, s)> in the data, on the stored patterns.
    ///
    /// ```
    /// use conediff::{
    ///     Checked, Cone, ConeProgram, DataCotangent, Derivative, Evidence, Meaning, Method, Settings, SolutionCotangent,
    ///     StopReason, solve,
    /// };
    /// # let program = ConeProgram::from_csc(
    /// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    /// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
    /// #     vec![Cone::Nonnegative(1)],
    /// # )?;
    /// # let settings = Settings::default();
    /// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    ///
    /// // minimize 1/2 x^2 - x subject to x <= 1/4: x follows the bound
    /// let seed = SolutionCotangent { x: vec![1.0], ..SolutionCotangent::zeros(&program) };
    /// let gradient: Checked<DataCotangent> = derivative.vjp(&seed)?;
    /// assert!((gradient.value.b[0] - 1.0).abs() < 1e-12 && gradient.value.q[0].abs() < 1e-12);
    /// // and this is how right that is.
    /// assert!(gradient.trusted && gradient.warnings.is_empty() && gradient.meaning == Meaning::Derivative);
    /// let Evidence { method, stop, residual, error, .. } = gradient.evidence;
    /// assert_eq!((method, stop), (Method::Ldl, StopReason::Converged));
    /// assert!(residual < 1e-14 && error < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; [`crate::Error::NotTrusted`] under `strict`.
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
        if let Some(substitute) = &self.substitute {
            let evidence = match substitute {
                Substitute::Derivative(other) => other.jvp_into(tangent, out, work)?,
                Substitute::Lagrangian { tau } => self.lagrangian_jvp(tangent, *tau, out)?,
            };
            return self.strictly(evidence);
        }
        let mut evidence = self.solve_tangent(tangent, work)?;
        self.solution_tangent(work, out)?;
        evidence.bias = self.bias(work, false)?;
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
            evidence.error = self.estimate_error(moved, work, false)?;
        } else {
            evidence.error = evidence.error.max(self.harmless_error());
        }
        Ok(evidence)
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
        for (s, z) in out.s.iter_mut().zip(&out.z) {
            *s = self.proximal * z - *s;
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
        if let Some(substitute) = &self.substitute {
            let evidence = match substitute {
                Substitute::Derivative(other) => other.vjp_into(cotangent, wanted, out, work)?,
                Substitute::Lagrangian { tau } => {
                    self.lagrangian_vjp(cotangent, *tau, wanted, out)?
                }
            };
            return self.strictly(evidence);
        }
        let program = self.program();
        cotangent.check(program)?;
        work.fit(self);
        let rho = self.proximal;
        let DerivativeWorkspace {
            rhs,
            masked,
            scratch,
            ..
        } = &mut *work;
        cotangent_rhs(&self.jacobian, rho, cotangent, rhs, masked, scratch);
        let mut evidence = self.prepared.solve_transpose(
            &self.jacobian,
            &work.rhs,
            &mut work.answer,
            &mut work.linear,
        )?;
        if let Some(moved) = &self.moved {
            let DerivativeWorkspace {
                rhs,
                masked,
                scratch,
                product,
                answer,
                ..
            } = &mut *work;
            cotangent_rhs(&moved.jacobian, rho, cotangent, rhs, masked, scratch);
            moved
                .jacobian
                .apply_transpose_into(answer, product, scratch);
            evidence.error = self.estimate_error(moved, work, true)?;
        } else {
            evidence.error = evidence.error.max(self.harmless_error());
        }
        evidence.bias = self.bias(work, true)?;
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
    /// and work.product the right-hand side and J times the answer there, J^-1 (rhs - product), each row at least the rounding of its terms.
    fn estimate_error(
        &self,
        moved: &Moved,
        work: &mut DerivativeWorkspace,
        transpose: bool,
    ) -> Result<f64> {
        let size = norm_max(&work.answer);
        self.answer_terms(work, size, transpose);
        for (r, p) in work.rhs.iter_mut().zip(&work.product) {
            *r -= p;
        }
        for t in &mut work.terms {
            *t = f64::EPSILON * size * t.sqrt();
        }
        let Worst { left, right } = &moved.worst;
        let worst = if transpose { right } else { left };
        draw_rounding(&mut work.rhs, &mut work.terms, worst);
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
        let change = norm_max(&work.product);
        let relative = if change == 0.0 { 0.0 } else { change / size };
        Ok(relative.max(self.point_error))
    }

    /// work.terms = the sums of the squared terms of J times the answer (of J' without its D, which makes no sum larger), the answer taken
    /// at unit size: seeds may be of any.
    fn answer_terms(&self, work: &mut DerivativeWorkspace, size: f64, transpose: bool) {
        work.terms.fill(0.0);
        if size == 0.0 {
            return;
        }
        let square = |t: f64| (t / size).powi(2);
        let n = self.program.n();
        let (top, bottom) = work.terms.split_at_mut(n);
        let (x, v) = work.answer.split_at(n);
        if transpose {
            work.masked.copy_from_slice(v);
        } else {
            let projection = self.jacobian.projection();
            projection.apply_into(v, &mut work.masked, &mut work.scratch);
        }
        self.program.p().sum_terms_symmetric(x, top, square);
        let a = self.program.effective_a();
        a.sum_terms_transpose(&work.masked, top, square);
        a.sum_terms(x, bottom, square);
        for ((terms, v), z) in bottom.iter_mut().zip(v).zip(&work.masked) {
            *terms += square(if transpose { *v } else { v - z });
        }
    }

    /// A bound on the 2-norm of A: the root of the product of its largest row and column sums.
    pub(crate) fn size_of_a(&self) -> f64 {
        let program = self.program();
        let a = program.effective_a();
        let (mut rows, mut columns) = (vec![0.0; program.m()], vec![0.0; program.n()]);
        a.absolute_multiply_add(&vec![1.0; program.n()], &mut rows);
        a.absolute_multiply_transpose_add(&vec![1.0; program.m()], &mut columns);
        (norm_max(&rows) * norm_max(&columns)).sqrt()
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
}

/// Memory for the `*_into` forms of [`Derivative`]. One made by another derivative is refitted, which allocates.
///
/// ```
/// # use conediff::{Cone, ConeProgram, DataTangent, Derivative, Settings, SolutionTangent, Wanted, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::DerivativeWorkspace;
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let (mut seed, mut gradient) = (SolutionTangent::zeros(&program), DataTangent::zeros(&program));
/// let mut work: DerivativeWorkspace = derivative.workspace();
/// // Nothing is allocated in the loop. With x = b, the gradient of c x in b is c.
/// for c in [1.0, 2.0, 3.0] {
///     seed.x[0] = c;
///     derivative.vjp_into(&seed, Wanted::default(), &mut gradient, &mut work)?;
///     assert!((gradient.b[0] - c).abs() < 1e-12);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct DerivativeWorkspace {
    pub(super) linear: Workspace,
    pub(super) rhs: Vec<f64>,
    pub(crate) answer: Vec<f64>,
    product: Vec<f64>,
    pub(super) scratch: Vec<f64>,
    masked: Vec<f64>,
    /// Squares of what rounds in each row.
    terms: Vec<f64>,
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
            &self.terms,
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
        self.terms.resize(dim, 0.0);
    }
}

/// rhs = -( dP x + dA'z + dq ; -dA x + db ).
fn jvp_rhs(program: &ConeProgram, x: &[f64], z: &[f64], tangent: &DataTangent, rhs: &mut [f64]) {
    data_tangent_into(program, x, z, tangent, rhs);
    for r in rhs {
        *r = -*r;
    }
}

/// rhs = -( gx ; D (gz + rho gs) - (I - D) gs ), rows without a bound left out; rho is the weight of proximal terms. `masked` has m
/// entries.
pub(crate) fn cotangent_rhs(
    jacobian: &ResidualJacobian,
    rho: f64,
    cotangent: &SolutionCotangent,
    rhs: &mut [f64],
    masked: &mut [f64],
    scratch: &mut [f64],
) {
    let (program, projection) = (jacobian.program(), jacobian.projection());
    let (top, bottom) = rhs.split_at_mut(program.n());
    for (t, g) in top.iter_mut().zip(&cotangent.x) {
        *t = -g;
    }
    let mask = |from: &[f64], to: &mut [f64]| {
        to.copy_from_slice(from);
        for &i in program.unbounded() {
            to[i] = 0.0;
        }
    };
    mask(&cotangent.s, masked);
    projection.apply_complement_into(masked, bottom, scratch);
    mask(&cotangent.z, masked);
    if rho > 0.0 {
        for (z, s) in masked.iter_mut().zip(&cotangent.s) {
            *z += rho * s;
        }
        for &i in program.unbounded() {
            masked[i] = 0.0;
        }
    }
    let (dz, rest) = scratch.split_at_mut(program.m());
    projection.apply_into(masked, dz, rest);
    for (b, d) in bottom.iter_mut().zip(dz.iter()) {
        *b -= d;
    }
}
