//! Derivatives of the implicit function y(x) at a zero of F.

use super::elements::{Elements, Invertibility};
use crate::chain::DerivativeMap;
use crate::derivative::{Checked, Standing};
use crate::error::Result;
use crate::kink::Warning;
use crate::linsolve::{Evidence, Square};
use crate::meaning::Meaning;
use crate::operator::{LinearOperator, product};
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::check_length;
use crate::settings::Settings;
use crate::tangent::norm_max;

/// The rounding of a sum relative to its terms.
const ROUNDING: f64 = 2.5 * f64::EPSILON;

/// F: R^p x R^n -> R^n near a point, with one element [A B] of its conservative Jacobian there.
///
/// ```
/// # use conediff::{DenseMatrix, Elements, ImplicitFunction, Settings};
/// # let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// use conediff::Linearization;
/// // F(x, y) = y^2 - x at x = 4, for a y = 2.1 that is known to one digit
/// let y = 2.1_f64;
/// let at = Linearization { y: vec![y], f: vec![y * y - 4.0], a: scalar(-1.0), b: scalar(2.0 * y).to_sparse("B")? };
/// let function = ImplicitFunction::new(at, &Elements::Single, &Settings::default())?;
/// // F is not 0 there, and the Newton step has the next digits.
/// assert!(!function.jvp(&[1.0])?.trusted && (y + function.newton_step()[0] - 2.0).abs() < 3e-3);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linearization<A> {
    /// The point's y, n.
    pub y: Vec<f64>,
    /// F at the point, n: zero up to what y was solved to.
    pub f: Vec<f64>,
    /// dF/dx, n x p: a matrix or an operator.
    pub a: A,
    /// dF/dy, n x n.
    pub b: SparseMatrix,
}

/// The derivative of y(x) where F(x, y(x)) = 0.
///
/// ```text
/// jvp   dy = -B^-1 A dx            vjp   gx = -A' B^-T gy
/// ```
///
/// Preparing costs a factorization of B, dense or sparse; each derivative one solve for each step of refinement and one product with A.
///
/// A derivative is trusted if F is zero to [`crate::RefineSettings::tolerance`], B nonsingular and the only element, the linear residual
/// within its tolerance, and the estimated error within [`Settings::accuracy`]. That error is the condition number times the point's own,
/// |B^-1 F| / (1 + |y|), since B changes along it; how much B really changes, [`ImplicitFunction::with_neighbour`] can say. Where B is
/// singular the answers are those of least squares. With several elements the derivative is that of the one given, flagged, and
/// [`ImplicitFunction::invertibility`] says whether it is an element of a conservative Jacobian of y.
///
/// ```
/// use conediff::{DenseMatrix, Elements, ImplicitFunction, Linearization, Settings};
/// // F(x, y) = y^3 + y - x at x = 2, y = 1: dy/dx = 1 / (3 y^2 + 1)
/// let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// let at = Linearization { y: vec![1.0], f: vec![0.0], a: scalar(-1.0), b: scalar(4.0).to_sparse("B")? };
/// let function = ImplicitFunction::new(at, &Elements::Single, &Settings::default())?;
/// let dy = function.jvp(&[1.0])?;
/// assert!(dy.trusted && (dy.value[0] - 0.25).abs() < 1e-15);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Theorem 2.
#[derive(Debug)]
pub struct ImplicitFunction<A> {
    a: A,
    b: Square,
    invertibility: Invertibility,
    newton_step: Vec<f64>,
    point_error: f64,
    neighbour: Option<(A, SparseMatrix)>,
    standing: Standing,
}

impl<A: LinearOperator> ImplicitFunction<A> {
    /// Factors B and tests the theorem's hypothesis as far as the elements' structure allows.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`], [`crate::Error::Setting`]; [`crate::Error::Factorization`] if
    /// an eigenvalue iteration fails; under `strict`, [`crate::Error::NotTrusted`] if the point itself rules out trust.
    pub fn new(at: Linearization<A>, elements: &Elements, settings: &Settings) -> Result<Self> {
        settings.validate()?;
        let Linearization { y, f, a, b } = at;
        let n = y.len();
        check_length("F", n, f.len())?;
        check_length("rows of A", n, a.rows())?;
        check_length("rows of B", n, b.rows())?;
        check_finite("y", &y)?;
        check_finite("F", &f)?;
        let b = Square::new(b, None, settings.linear)?;
        let invertibility = elements.certify(&b)?;
        let residual = relative_residual(&b, &y, &f);
        let (newton_step, point_error) = newton(&b, &y, &f)?;
        let mut warnings = Vec::new();
        let tolerance = settings.refine.tolerance;
        if residual.is_nan() || residual > tolerance {
            warnings.push(Warning::NotAZero {
                residual,
                tolerance,
            });
        } else if !b.is_singular() && (point_error.is_nan() || point_error > settings.accuracy) {
            warnings.push(Warning::PointError { error: point_error });
        }
        if b.is_singular() {
            warnings.push(Warning::Singular {
                condition: b.condition(),
            });
        }
        let are_several = elements.are_several();
        if are_several {
            warnings.push(Warning::SeveralElements);
        }
        if let (true, Some(reason)) = (are_several, invertibility.doubt()) {
            warnings.push(Warning::NotCertified { reason });
        }
        let meaning = if b.is_singular() {
            Meaning::LeastSquares
        } else if are_several {
            Meaning::Chosen
        } else {
            Meaning::Derivative
        };
        let standing = Standing {
            meaning,
            warnings,
            is_singular: b.is_singular(),
            margin: if are_several { 0.0 } else { f64::INFINITY },
            settings: *settings,
        };
        Ok(Self {
            a,
            b,
            invertibility,
            newton_step,
            point_error,
            neighbour: None,
            standing: standing.strictly()?,
        })
    }

    /// With [A B] at y plus the Newton step. Each derivative's error is then estimated as the change between the two, by one more
    /// solve, instead of being bounded by the condition number.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] unless both have the shapes of the first ones.
    pub fn with_neighbour(self, a: A, b: SparseMatrix) -> Result<Self> {
        check_length("rows of A", self.a.rows(), a.rows())?;
        check_length("columns of A", self.a.cols(), a.cols())?;
        check_length("rows of B", self.b.dim(), b.rows())?;
        check_length("columns of B", self.b.dim(), b.cols())?;
        Ok(Self {
            neighbour: Some((a, b)),
            ..self
        })
    }

    /// Whether every element B is invertible.
    ///
    /// ```
    /// use conediff::{DenseMatrix, Elements, ImplicitFunction, Invertibility, Linearization, Settings};
    /// // F(x, y) = y + max(y, 0) - x at 0: B is anything in [1, 2]
    /// let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
    /// let at = Linearization { y: vec![0.0], f: vec![0.0], a: scalar(-1.0), b: scalar(1.0).to_sparse("B")? };
    /// let hull = Elements::Hull(vec![scalar(2.0)]);
    /// let function = ImplicitFunction::new(at, &hull, &Settings::default())?;
    /// assert!(function.invertibility().is_certified());
    /// assert!(!matches!(function.invertibility(), Invertibility::Refuted(_)));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn invertibility(&self) -> &Invertibility {
        &self.invertibility
    }
    /// -B^-1 F, n: y plus this is the better y.
    pub fn newton_step(&self) -> &[f64] {
        &self.newton_step
    }
    /// The Newton step relative to 1 + |y|, rounding included; NaN where B is singular and there is none.
    pub fn point_error(&self) -> f64 {
        self.point_error
    }
    /// The condition estimate of B, rows and columns scaled; infinite if singular.
    pub fn condition(&self) -> f64 {
        self.b.condition()
    }
    /// What is doubtful before any derivative is asked for.
    pub fn warnings(&self) -> &[Warning] {
        &self.standing.warnings
    }

    /// dy = -B^-1 A dx; dx: p, dy: n.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; [`crate::Error::NotTrusted`] under `strict`.
    pub fn jvp(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        let rhs = negative(product(&self.a, "dx", dx, false)?);
        let (dy, mut evidence) = self.b.solve(&rhs, false)?;
        check_finite("derivative of y", &dy)?;
        let change = match &self.neighbour {
            Some((a, b)) => {
                let mut left = negative(product(a, "dx", dx, false)?);
                b.multiply_add(-1.0, &dy, &mut left);
                Some((norm_max(&self.b.solve(&left, false)?.0), norm_max(&dy)))
            }
            None => None,
        };
        evidence.error = self.error(&evidence, change);
        self.standing.checked(dy, evidence)
    }

    /// gx = -A' B^-T gy, the gradient of <gy, y> in x; gy: n, gx: p.
    ///
    /// # Errors
    /// Those of [`ImplicitFunction::jvp`].
    pub fn vjp(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("gradient in y", self.b.dim(), gy.len())?;
        check_finite("gradient in y", gy)?;
        let (w, mut evidence) = self.b.solve(gy, true)?;
        check_finite("B^-T gy", &w)?;
        let gx = negative(product(&self.a, "B^-T gy", &w, true)?);
        let change = match &self.neighbour {
            Some((a, b)) => {
                let mut left = gy.to_vec();
                let mut there = vec![0.0; gy.len()];
                b.multiply_transpose_add(1.0, &w, &mut there);
                left.iter_mut().zip(&there).for_each(|(l, t)| *l -= t);
                let (dw, _) = self.b.solve(&left, true)?;
                let moved: Vec<f64> = w.iter().zip(&dw).map(|(w, d)| w + d).collect();
                let there = product(a, "B^-T gy", &moved, true)?;
                let change: Vec<f64> = there.iter().zip(&gx).map(|(t, g)| t + g).collect();
                Some((norm_max(&change), norm_max(&gx)))
            }
            None => None,
        };
        evidence.error = self.error(&evidence, change);
        self.standing.checked(gx, evidence)
    }

    /// The larger of the solve's error and what the point's own amounts to.
    fn error(&self, evidence: &Evidence, change: Option<(f64, f64)>) -> f64 {
        let of_point = match change {
            Some((0.0, _)) => self.point_error,
            Some((change, size)) => (change / size).max(self.point_error),
            None => self.condition() * self.point_error,
        };
        evidence.error.max(of_point)
    }
}

impl<A: LinearOperator> DerivativeMap for ImplicitFunction<A> {
    fn inputs(&self) -> usize {
        self.a.cols()
    }
    fn outputs(&self) -> usize {
        self.b.dim()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        self.jvp(dx)
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        self.vjp(gy)
    }
}

fn negative(mut v: Vec<f64>) -> Vec<f64> {
    v.iter_mut().for_each(|v| *v = -*v);
    v
}

/// |F| relative to 1 + |B| |y|, rows in units of B's largest entry.
fn relative_residual(b: &Square, y: &[f64], f: &[f64]) -> f64 {
    let mut terms = vec![0.0; f.len()];
    b.matrix().absolute_multiply_add(y, &mut terms);
    let unit = |s: f64| if s > 0.0 { s } else { 1.0 };
    let scaled = |v: &[f64]| {
        let scaled: Vec<f64> = v
            .iter()
            .zip(b.row_scale())
            .map(|(v, s)| v * unit(*s))
            .collect();
        norm_max(&scaled)
    };
    scaled(f) / (1.0 + scaled(&terms))
}

/// The Newton step, and its relative size with each row of F at least the rounding of its terms.
fn newton(b: &Square, y: &[f64], f: &[f64]) -> Result<(Vec<f64>, f64)> {
    if b.is_singular() {
        return Ok((vec![0.0; f.len()], f64::NAN));
    }
    let step = negative(b.solve(f, false)?.0);
    let mut terms = vec![0.0; f.len()];
    b.matrix().absolute_multiply_add(y, &mut terms);
    let floored: Vec<f64> = f
        .iter()
        .zip(&terms)
        .map(|(f, t)| f.abs().max(ROUNDING * t).copysign(*f))
        .collect();
    let (error, _) = b.solve(&floored, false)?;
    Ok((step, norm_max(&error) / (1.0 + norm_max(y))))
}
