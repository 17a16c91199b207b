//! Derivatives of a variational inequality's solution.

use super::VariationalInequality;
use super::point::{Point, newton};
use crate::chain::DerivativeMap;
use crate::derivative::{Checked, Standing, cotangent_rhs, least_margin};
use crate::error::Result;
use crate::kink::{Classified, Kink, Warning, classify, point_error};
use crate::linsolve::{Evidence, Square};
use crate::meaning::Meaning;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::projection::{BlockKink, Projection};
use crate::residual::{
    ResidualJacobian, Wanted, data_cotangent_into, data_tangent_into, for_each_entry,
};
use crate::selection::{candidates, jacobian_at};
use crate::settings::{Selection, Settings};
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent, norm_max};

/// Above this an unrefined point is no solution.
const UNREFINED_RESIDUAL: f64 = 1e-3;

/// Where condition times the point's error stays below this, it bounds the derivative's error well enough.
const HARMLESS: f64 = 1e-8;

/// The derivative of (x, z, s) in (P, q, A, b) at a solution of a [`VariationalInequality`]. P is differentiated on every stored entry,
/// each by itself.
///
/// ```text
/// JVP   J (dx; dv) = -( dP x + dA'z + dq ; -dA x + db ),   dz = D dv,   ds = -(I - D) dv
/// VJP   J'w = -( gx ; D gz - (I - D) gs ),   dP_ij = w1_i x_j,   the rest as for a program
/// ```
///
/// J is factored by LU; preparing costs a refinement, one factorization and a condition estimate, each derivative one solve for each
/// refinement step. At kinks the element is that of [`Settings::selection`]; of the policies only the first two apply: a singular J
/// gives the least-squares answer of minimum norm.
#[derive(Debug)]
pub struct VariationalDerivative {
    pub(super) inequality: VariationalInequality,
    /// J without P at the element taken.
    pub(super) frame: ResidualJacobian,
    pub(super) factored: Square,
    pub(super) blocks: Vec<(usize, BlockKink)>,
    pub(super) standing: Standing,
    solution: Solution,
    kinks: Vec<Kink>,
    point_error: f64,
    /// x and J one Newton step on, where the error has to be estimated.
    moved: Option<(Vec<f64>, ResidualJacobian)>,
}

impl VariationalDerivative {
    /// Prepares the derivative at a solution, refining it first unless that was done or is switched off.
    ///
    /// ```
    /// use conediff::{Cone, Settings, SparseMatrix, SplittingSettings, VariationalDerivative, VariationalInequality};
    /// // Px + q = 0 with P = [1 2; -2 1] and no constraint that holds: dq = -P^-T gx
    /// let p = SparseMatrix::from_csc("P", 2, 2, &[0, 2, 4], &[0, 1, 0, 1], &[1.0, -2.0, 2.0, 1.0])?;
    /// let a = SparseMatrix::from_csc("A", 1, 2, &[0, 1, 1], &[0], &[1.0])?;
    /// let inequality = VariationalInequality::new(p, vec![1.0, 1.0], a, vec![9.0], vec![Cone::Nonnegative(1)])?;
    /// let settings = Settings::default();
    /// let solution = inequality.solve(&SplittingSettings::default(), &settings)?;
    /// let derivative = VariationalDerivative::new(&inequality, &solution, &settings)?;
    /// let mut seed = inequality.zero_cotangent();
    /// seed.x[0] = 1.0;
    /// let gradient = derivative.vjp(&seed)?;
    /// assert!(gradient.trusted);
    /// assert!((gradient.value.q[0] + 0.2).abs() < 1e-12 && (gradient.value.q[1] - 0.4).abs() < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`], [`crate::Error::Setting`]; under `strict`,
    /// [`crate::Error::NotTrusted`] if the point itself rules out trust.
    pub fn new(
        inequality: &VariationalInequality,
        solution: &Solution,
        settings: &Settings,
    ) -> Result<Self> {
        settings.validate()?;
        solution.check(&inequality.frame)?;
        let mut solution = solution.clone();
        solution.free_rows(&inequality.frame);
        let mut point = Point::of(inequality, &solution)?;
        if settings.refine.enabled && solution.refinement.is_none() {
            let (refined, refinement) = newton(inequality, point, settings)?;
            point = refined;
            if refinement.accepted {
                let (status, iterations) = (solution.status, solution.iterations);
                solution = point.solution(inequality)?;
                (solution.status, solution.iterations) = (status, iterations);
            }
            solution.refinement = Some(refinement);
        }
        let mut factored = inequality.factor(&point.frame, settings)?;
        let error = inequality.error(&point, &factored)?;
        // A singular system has no Newton step: what the residual says of v itself has to do.
        let of_v = if factored.is_singular() {
            &point.residual
        } else {
            &error
        };
        let projection = point.frame.projection();
        let (_, dv) = of_v.split_at(inequality.n());
        let Classified {
            blocks,
            kinks,
            mut warnings,
            ..
        } = classify(
            &inequality.symmetric,
            &solution,
            &point.v,
            dv,
            projection,
            settings,
        );
        let (x, v) = (&point.x, &point.v);
        let has_step = !factored.is_singular();
        let point_error = if has_step {
            point_error(&inequality.frame, x, v, &error, projection, &blocks)
        } else {
            f64::NAN
        };
        let is_harmless = factored.condition() * point_error.max(f64::EPSILON) <= HARMLESS;
        let moved = if is_harmless || !has_step || !blocks.is_empty() {
            None
        } else {
            let next = point.moved(inequality, &error).ok();
            next.map(|next| (next.x, next.frame))
        };
        let (mut frame, mut meaning) = (point.frame.clone(), Meaning::Derivative);
        if !blocks.is_empty() {
            let taken = select(inequality, &point.frame, &blocks, settings)?;
            let selection;
            (frame, factored, selection) = taken;
            meaning = Meaning::Element { selection };
        }
        if factored.is_singular() {
            meaning = Meaning::LeastSquares;
            warnings.push(Warning::Singular {
                condition: factored.condition(),
            });
        }
        let residual = point.relative;
        let is_solution = match solution.refinement {
            Some(r) => r.accepted && residual <= 2.0 * settings.refine.tolerance,
            None => residual <= UNREFINED_RESIDUAL,
        };
        if !is_solution {
            warnings.push(Warning::NotRefined { residual });
        } else if has_step && (point_error.is_nan() || point_error > settings.accuracy) {
            warnings.push(Warning::PointError { error: point_error });
        }
        if is_solution && solution.refinement.is_none() {
            warnings.push(Warning::Unrefined);
        }
        let standing = Standing {
            meaning,
            warnings,
            is_singular: factored.is_singular(),
            margin: least_margin(frame.projection()),
            settings: *settings,
        };
        Ok(Self {
            inequality: inequality.clone(),
            frame,
            factored,
            blocks,
            standing: standing.strictly()?,
            solution,
            kinks,
            point_error,
            moved,
        })
    }

    /// The (refined) solution the derivative is taken at.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }
    /// The projection of v = z - s, with the element of its Jacobian that is taken.
    pub fn projection(&self) -> &Projection {
        self.frame.projection()
    }
    /// Blocks whose point cannot be told from a kink.
    pub fn kinks(&self) -> &[Kink] {
        &self.kinks
    }
    /// What its derivatives are.
    pub fn meaning(&self) -> Meaning {
        self.standing.meaning
    }
    /// What is doubtful about the point, before any linear solve.
    pub fn warnings(&self) -> &[Warning] {
        &self.standing.warnings
    }
    /// Estimated relative error of the point; NaN at a singular point, where no Newton step tells it.
    pub fn point_error(&self) -> f64 {
        self.point_error
    }
    /// The condition estimate of J, rows and columns scaled; infinite if singular.
    pub fn condition(&self) -> f64 {
        self.factored.condition()
    }

    pub(super) fn is_solution(&self) -> bool {
        !self
            .standing
            .warnings
            .iter()
            .any(|w| matches!(w, Warning::NotRefined { .. } | Warning::PointError { .. }))
    }

    /// Directional derivative of the solution along a data tangent, its p on all of P (values in stored order).
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; [`crate::Error::NotTrusted`] under `strict`.
    pub fn jvp(&self, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        tangent.check_lengths(self.lengths())?;
        let rhs = self.tangent_rhs(&self.solution.x, &self.solution.z, tangent);
        let (answer, mut evidence) = self.factored.solve(&rhs, false)?;
        let left = self.moved.as_ref().map(|(x, frame)| {
            let mut left = self.tangent_rhs(x, frame.projection().z(), tangent);
            subtract(&mut left, &self.product(frame, &answer, false));
            left
        });
        evidence.error = self.error(&evidence, &answer, left, false)?;
        let (dx, dv) = answer.split_at(self.inequality.n());
        let mut value = self.inequality.zero_cotangent();
        value.x.copy_from_slice(dx);
        self.projection().apply(dv, &mut value.z)?;
        self.projection().apply_complement(dv, &mut value.s)?;
        value.s.iter_mut().for_each(|s| *s = -*s);
        check_finite("derivative of x", &value.x)?;
        check_finite("derivative of z", &value.z)?;
        check_finite("derivative of s", &value.s)?;
        self.standing.checked(value, evidence)
    }

    /// Gradient of <cotangent, (x, z, s)> in the data, on the stored patterns.
    ///
    /// # Errors
    /// Those of [`VariationalDerivative::jvp`].
    pub fn vjp(&self, cotangent: &SolutionCotangent) -> Result<Checked<DataCotangent>> {
        let program = &self.inequality.frame;
        cotangent.check(program)?;
        let rhs = self.seed_rhs(&self.frame, cotangent);
        let (w, mut evidence) = self.factored.solve(&rhs, true)?;
        let left = self.moved.as_ref().map(|(_, frame)| {
            let mut left = self.seed_rhs(frame, cotangent);
            subtract(&mut left, &self.product(frame, &w, true));
            left
        });
        evidence.error = self.error(&evidence, &w, left, true)?;
        let (x, z) = (&self.solution.x, &self.solution.z);
        let wanted = Wanted {
            p: false,
            ..Wanted::default()
        };
        let mut value = DataTangent::default();
        data_cotangent_into(program, x, z, &w, wanted, &mut value);
        value.p = vec![0.0; self.inequality.p.nnz()];
        for_each_entry(&self.inequality.p, |k, i, j| value.p[k] = w[i] * x[j]);
        check_finite("gradient of P", &value.p)?;
        check_finite("gradient of q", &value.q)?;
        check_finite("gradient of A", &value.a)?;
        check_finite("gradient of b", &value.b)?;
        self.standing.checked(value, evidence)
    }

    fn lengths(&self) -> [usize; 4] {
        let [_, q, a, b] = DataTangent::lengths(&self.inequality.frame);
        [self.inequality.p.nnz(), q, a, b]
    }

    /// -( dP x + dA'z + dq ; -dA x + db ).
    fn tangent_rhs(&self, x: &[f64], z: &[f64], tangent: &DataTangent) -> Vec<f64> {
        let mut rhs = vec![0.0; self.frame.dim()];
        data_tangent_into(&self.inequality.frame, x, z, tangent, &mut rhs);
        for_each_entry(&self.inequality.p, |k, i, j| {
            rhs[i] += tangent.p[k] * x[j];
        });
        rhs.iter_mut().for_each(|r| *r = -*r);
        rhs
    }

    fn seed_rhs(&self, frame: &ResidualJacobian, cotangent: &SolutionCotangent) -> Vec<f64> {
        let mut rhs = vec![0.0; frame.dim()];
        let mut masked = vec![0.0; self.inequality.m()];
        let mut scratch = vec![0.0; frame.scratch_len()];
        cotangent_rhs(frame, 0.0, cotangent, &mut rhs, &mut masked, &mut scratch);
        rhs
    }

    /// J u or J'u at another point.
    fn product(&self, frame: &ResidualJacobian, u: &[f64], transpose: bool) -> Vec<f64> {
        let mut out = vec![0.0; frame.dim()];
        let mut scratch = vec![0.0; frame.scratch_len()];
        let (head, _) = u.split_at(self.inequality.n());
        if transpose {
            frame.apply_transpose_into(u, &mut out, &mut scratch);
            let (top, _) = out.split_at_mut(head.len());
            self.inequality.p.multiply_transpose_add(1.0, head, top);
        } else {
            frame.apply_into(u, &mut out, &mut scratch);
            self.inequality.p.multiply_add(1.0, head, &mut out);
        }
        out
    }

    /// The answer's change if the point were one Newton step on, or what bounds it.
    fn error(
        &self,
        evidence: &Evidence,
        answer: &[f64],
        left: Option<Vec<f64>>,
        transpose: bool,
    ) -> Result<f64> {
        let Some(left) = left else {
            return Ok(evidence.error.max(self.condition() * self.point_error));
        };
        let change = norm_max(&self.factored.solve(&left, transpose)?.0);
        let relative = if change == 0.0 {
            0.0
        } else {
            change / norm_max(answer)
        };
        Ok(relative.max(self.point_error))
    }
}

/// From the stored values of (P, q, A, b) to (x, z, s), each stacked.
impl DerivativeMap for VariationalDerivative {
    fn inputs(&self) -> usize {
        self.lengths().iter().sum()
    }
    fn outputs(&self) -> usize {
        self.inequality.n() + 2 * self.inequality.m()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("dx", self.inputs(), dx.len())?;
        let tangent = DataTangent::from_stacked(dx, self.lengths());
        Ok(self.jvp(&tangent)?.map(|t| [t.x, t.z, t.s].concat()))
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("gradient in y", self.outputs(), gy.len())?;
        let seed = SolutionTangent::from_stacked(gy, self.inequality.n(), self.inequality.m());
        Ok(self.vjp(&seed)?.map(|t| [t.p, t.q, t.a, t.b].concat()))
    }
}

fn subtract(left: &mut [f64], product: &[f64]) {
    for (l, p) in left.iter_mut().zip(product) {
        *l -= p;
    }
}

/// J at the first of the selection's elements that is nonsingular, or at the first.
fn select(
    inequality: &VariationalInequality,
    frame: &ResidualJacobian,
    blocks: &[(usize, BlockKink)],
    settings: &Settings,
) -> Result<(ResidualJacobian, Square, Selection)> {
    let mut first = None;
    for (selection, element) in candidates(settings.selection) {
        let there = jacobian_at(frame, blocks, &vec![element; blocks.len()]);
        let factored = inequality.factor(&there, settings)?;
        if !factored.is_singular() {
            return Ok((there, factored, selection));
        }
        first.get_or_insert((there, factored, selection));
    }
    match first {
        Some(first) => Ok(first),
        None => {
            let factored = inequality.factor(frame, settings)?;
            Ok((frame.clone(), factored, settings.selection))
        }
    }
}
