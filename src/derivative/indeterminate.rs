//! What a singular system leaves open, and the derivatives that are there all the same.

use super::{Checked, Derivative};
use crate::certificate::{Uniqueness, Witness};
use crate::error::Result;
use crate::kink::{RowState, Warning};
use crate::meaning::Meaning;
use crate::program::ConeProgram;
use crate::residual::{Wanted, for_each_entry};
use crate::tangent::DataTangent;

/// What is not unique at a singular point without a kink, where that can be told apart from all else.
///
/// With W and Y the null vectors' parts in x and z, J's null space is {(w, y)} and that of J' too. As long as no data move that the
/// variables of W or the rows of Y see, the objective and the active rows do not depend on x along W, the active rows stay consistent,
/// and the null spaces stay the same: on the quotient F has an invertible derivative, and what depends neither on the
/// choice of x along W nor of z along Y is differentiable. A cotangent asks for no more where the residual of its system
/// vanishes ([`crate::Evidence::converged`]), and the minimum-norm answer is then the derivative.
#[derive(Debug, Clone, PartialEq)]
pub struct Indeterminate {
    /// Variables that no active row, no curvature and no cost holds: bounds t on norms with room, |x| <= t <= 9.
    pub variables: Vec<usize>,
    /// Active rows, on flat pieces of their cones, that depend on each other: their z is not unique.
    pub rows: Vec<usize>,
    /// Estimated relative error of such derivatives: condition of J on the complement of its null space times the residual.
    pub error: f64,
}

impl Derivative {
    /// What is not unique at a singular point without a kink; `None` at other points, or where it has to do with the rest: variables that
    /// are held together only, rows on curved pieces, whose curvature depends on the choice of z.
    ///
    /// Cost: nothing at points that are not singular; else up to 200 solves, once.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, DataTangent, Derivative, Indeterminate, Settings, SolutionTangent, solve};
    /// // minimize 1/2 x^2 - x subject to x <= t, t <= 9: t is anything between 1 and 9
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1, 1], &[0], &[1.0]), vec![-1.0, 0.0],
    ///     (&[0, 1, 3], &[0, 0, 1], &[1.0, -1.0, 1.0]), vec![0.0, 9.0],
    ///     vec![Cone::Nonnegative(2)],
    /// )?;
    /// let settings = Settings::default();
    /// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    /// let seed = SolutionTangent { x: vec![1.0, 0.0], ..SolutionTangent::zeros(&program) };
    /// let gradient = derivative.vjp(&seed)?;
    /// assert!(!gradient.trusted && gradient.evidence.converged);
    ///
    /// // As far as q_0 alone moves it is the derivative.
    /// let open: &Indeterminate = derivative.indeterminate()?.expect("t is free");
    /// assert_eq!((open.variables.as_slice(), open.rows.len()), (&[1][..], 0));
    /// let moving = DataTangent { q: vec![1.0, 0.0], ..DataTangent::zeros(&program) };
    /// assert!(open.is_untouched_by(&program, &moving) && (gradient.value.q[0] + 1.0).abs() < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::Factorization`].
    pub fn indeterminate(&self) -> Result<Option<&Indeterminate>> {
        if let Some(found) = self.open.get() {
            return Ok(found.as_ref());
        }
        let found = self.find_indeterminate()?;
        Ok(self.open.get_or_init(|| found).as_ref())
    }

    /// Takes a gradient that only the point's singularity makes untrusted for the derivative, where no data move that what is not unique
    /// there sees; any other is left as it is.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, Wanted, solve};
    /// // minimize 1/2 x^2 - x subject to x <= t, t <= 9: t is anything between 1 and 9
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1, 1], &[0], &[1.0]), vec![-1.0, 0.0],
    ///     (&[0, 1, 3], &[0, 0, 1], &[1.0, -1.0, 1.0]), vec![0.0, 9.0],
    ///     vec![Cone::Nonnegative(2)],
    /// )?;
    /// let settings = Settings::default();
    /// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    /// let seed = SolutionTangent { x: vec![1.0, 0.0], ..SolutionTangent::zeros(&program) };
    /// let mut gradient = derivative.vjp(&seed)?;
    /// // P, q and A see t, b does not.
    /// derivative.settle(&mut gradient, |open| open.is_untouched_by_parts(Wanted::default()))?;
    /// assert!(!gradient.trusted);
    /// let only_b = Wanted { p: false, q: false, a: false, b: true };
    /// derivative.settle(&mut gradient, |open| open.is_untouched_by_parts(only_b))?;
    /// assert!(gradient.trusted && gradient.evidence.error < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Derivative::indeterminate`].
    pub fn settle<T>(
        &self,
        gradient: &mut Checked<T>,
        is_untouched: impl FnOnce(&Indeterminate) -> bool,
    ) -> Result<()> {
        if gradient.trusted || !gradient.evidence.converged {
            return Ok(());
        }
        if let Some(open) = self.indeterminate()?
            && is_untouched(open)
        {
            gradient.trusted = true;
            gradient.warnings.retain(|w| !w.is_fatal());
            gradient.meaning = Meaning::Derivative;
            gradient.evidence.error = open.error;
        }
        Ok(())
    }

    fn find_indeterminate(&self) -> Result<Option<Indeterminate>> {
        let is_explained = |w: &Warning| matches!(w, Warning::Singular { .. }) || !w.is_fatal();
        let is_singular = self.prepared().is_singular() && self.blocks.is_empty();
        if !is_singular || !self.warnings().iter().all(is_explained) {
            return Ok(None);
        }
        let examination = self.extremes(&self.blocks).examine()?;
        if [examination.primal, examination.dual].contains(&Uniqueness::Unknown) {
            return Ok(None);
        }
        let (mut variables, mut rows) = (Vec::new(), Vec::new());
        for witness in examination.certificate.witnesses() {
            match witness {
                Witness::Primal { variables: v, .. } => variables.extend_from_slice(v),
                Witness::Dual { rows: r, .. } => rows.extend_from_slice(r),
            }
        }
        variables.sort_unstable();
        rows.sort_unstable();
        let is_free = self.free_variables();
        let states = self.row_states();
        let is_apart = variables.iter().all(|j| is_free[*j])
            && rows.iter().all(|i| states[*i] == RowState::Active);
        if !is_apart || variables.len() + rows.len() == 0 {
            return Ok(None);
        }
        let condition = self.prepared().inverse_norm(&self.jacobian)? * (1.0 + self.size_of_a());
        let residual = self.solution().refinement.map_or(0.0, |r| r.after);
        let error = condition * residual.max(f64::EPSILON);
        Ok(
            (error <= self.settings().accuracy).then_some(Indeterminate {
                variables,
                rows,
                error,
            }),
        )
    }

    /// Whether a variable has no entry in P, no cost, and no entry of A in a row that is not inactive.
    fn free_variables(&self) -> Vec<bool> {
        let (program, states) = (self.program(), self.row_states());
        let mut is_free: Vec<bool> = program.q().iter().map(|q| *q == 0.0).collect();
        for (j, is_free) in is_free.iter_mut().enumerate() {
            let (rows, values) = program.effective_a().column(j);
            let mut entries = rows.iter().zip(values);
            *is_free &= entries.all(|(&i, v)| *v == 0.0 || states[i] == RowState::Inactive);
        }
        for j in 0..program.n() {
            let (rows, values) = program.p().column(j);
            for (&i, _) in rows.iter().zip(values).filter(|x| *x.1 != 0.0) {
                (is_free[i], is_free[j]) = (false, false);
            }
        }
        is_free
    }
}

impl Indeterminate {
    /// True if no data move that its variables or rows see: of `moving`, in stored order, what is not zero moves.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, DataTangent, Indeterminate};
    /// // t of |x| <= t <= 9, the second variable of two, is open.
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1, 1], &[0], &[1.0]), vec![-1.0, 0.0],
    ///     (&[0, 1, 3], &[0, 0, 1], &[1.0, -1.0, 1.0]), vec![0.0, 9.0],
    ///     vec![Cone::Nonnegative(2)],
    /// )?;
    /// let open = Indeterminate { variables: vec![1], rows: vec![], error: 0.0 };
    /// let of_q = |q: [f64; 2]| DataTangent { q: q.to_vec(), ..DataTangent::zeros(&program) };
    /// assert!(open.is_untouched_by(&program, &of_q([1.0, 0.0])));
    /// assert!(!open.is_untouched_by(&program, &of_q([0.0, 1.0])));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn is_untouched_by(&self, program: &ConeProgram, moving: &DataTangent) -> bool {
        let is_variable = members(&self.variables, program.n());
        let is_row = members(&self.rows, program.m());
        let is_still = |values: &[f64], of: &[usize]| {
            let mut values = of.iter().filter_map(|k| values.get(*k));
            values.all(|v| *v == 0.0)
        };
        let mut is_untouched =
            is_still(&moving.q, &self.variables) && is_still(&moving.b, &self.rows);
        let mut see = |values: &[f64], k: usize, is_seen: bool| {
            is_untouched &= !is_seen || values.get(k).is_none_or(|v| *v == 0.0);
        };
        for_each_entry(program.p(), |k, i, j| {
            see(&moving.p, k, is_variable[i] || is_variable[j]);
        });
        for_each_entry(program.a(), |k, i, j| {
            see(&moving.a, k, is_row[i] || is_variable[j]);
        });
        is_untouched
    }

    /// The same for data of which whole parts move.
    pub fn is_untouched_by_parts(&self, parts: Wanted) -> bool {
        let by_variables = parts.p || parts.q || parts.a;
        let by_rows = parts.a || parts.b;
        (self.variables.is_empty() || !by_variables) && (self.rows.is_empty() || !by_rows)
    }
}

fn members(of: &[usize], len: usize) -> Vec<bool> {
    let mut is_member = vec![false; len];
    for k in of {
        is_member[*k] = true;
    }
    is_member
}
