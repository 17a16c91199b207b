//! Derivatives of the equilibrium, column by column, on the rows where the activation moves.
//!
//! With S the rows of nonzero slope, dz vanishes off S and
//!
//! ```text
//! dz_S = (I - D W)_SS^-1 D_S r_S,   r = dW z + dU x + db + U dx
//! h_S  = D_S (I - D W)_SS^-T g_S,   then the gradients h z' (W), h x' (U), h (b), U'h (x)
//! ```
//!
//! # References
//! Winston, Kolter, Monotone operator equilibrium networks, 2020, Theorem 2.

use super::column::{At, Column};
use super::forward::Equilibrium;
use super::layer::{EquilibriumLayer, to_dense};
use crate::chain::DerivativeMap;
use crate::derivative::{Checked, Standing};
use crate::error::Result;
use crate::jacobian::DenseMatrix;
use crate::kink::{Kink, Warning};
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::projection::KinkKind;
use crate::random::Random;
use crate::settings::{Selection, Settings};
use crate::spectrum::to_mat;
use crate::tangent::{dot, norm_max};
use faer::Mat;

/// Newton steps from the equilibrium given: the map is piecewise affine, one is enough unless a row changes sides.
const STEPS: usize = 5;

/// A direction, or a gradient, in the parameters and inputs of an [`EquilibriumLayer`].
///
/// ```
/// # use conediff::{DenseMatrix, Settings};
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer, EquilibriumSettings, MonotoneWeights};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// # let weights = MonotoneWeights { m: 0.5, a: dense(0, 1, &[]), b: dense(1, 1, &[0.0]) };
/// # let layer = EquilibriumLayer::new(weights, dense(1, 1, &[1.0]), vec![0.0], Activation::Relu)?;
/// # let x = dense(1, 1, &[3.0]);
/// # let derivative = layer.derivative(&x, &layer.forward(&x, &EquilibriumSettings::default())?, &Settings::default())?;
/// use conediff::systems::equilibrium::EquilibriumTangent;
/// // z = relu((1 - m) z + x) = x / m at m = 1/2, x = 3: dz/dm = -x / m^2
/// let dm = EquilibriumTangent { m: 1.0, ..layer.zero_tangent(&x) };
/// assert!((derivative.jvp(&dm)?.value.data[0] + 12.0).abs() < 1e-12);
/// // The same from the gradient.
/// let gradient: EquilibriumTangent = derivative.vjp(&dense(1, 1, &[1.0]))?.value;
/// assert!((gradient.dot(&dm) + 12.0).abs() < 1e-12 && (gradient.x.data[0] - 2.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EquilibriumTangent {
    /// In m; 0 for a layer with its own W.
    pub m: f64,
    /// In A, k x n; empty for a layer with its own W.
    pub a: DenseMatrix,
    /// In B, n x n; empty for a layer with its own W.
    pub b: DenseMatrix,
    /// In W, n x n; empty for a layer with A, B and m.
    pub w: DenseMatrix,
    /// In U, n x p.
    pub u: DenseMatrix,
    /// In the bias, n.
    pub bias: Vec<f64>,
    /// In x, p x columns.
    pub x: DenseMatrix,
}

impl EquilibriumTangent {
    fn parts(&self) -> [(&'static str, &DenseMatrix); 5] {
        [
            ("tangent A", &self.a),
            ("tangent B", &self.b),
            ("tangent W", &self.w),
            ("tangent U", &self.u),
            ("tangent x", &self.x),
        ]
    }

    /// The inner product.
    pub fn dot(&self, other: &Self) -> f64 {
        let parts = self.parts().into_iter().zip(other.parts());
        let sum: f64 = parts.map(|(a, b)| dot(&a.1.data, &b.1.data)).sum();
        sum + self.m * other.m + dot(&self.bias, &other.bias)
    }

    /// Shapes as of another, and finite numbers.
    fn check(&self, like: &Self) -> Result<()> {
        for ((what, own), (_, expected)) in self.parts().into_iter().zip(like.parts()) {
            check_length(what, expected.rows, own.rows)?;
            check_length(what, expected.cols, own.cols)?;
            own.check(what)?;
        }
        check_length("tangent bias", like.bias.len(), self.bias.len())?;
        check_finite("tangent bias", &self.bias)?;
        check_finite("tangent m", &[self.m])
    }
}

/// The derivative of the equilibrium in A, B, m (or W), U, b and x, all columns at once.
///
/// Preparing costs a factorization of order |S| for each column, refinement of z by Newton steps on the same factors, and a condition
/// estimate; each derivative a solve for each column and products with W and U. At kinks, pre-activations within
/// [`Settings::ambiguity`] of one, the slope is that of [`Settings::selection`] (0 by default), and the derivative flagged as an
/// element of a conservative Jacobian, which it always is: [`EquilibriumLayer::invertibility`].
///
/// ```
/// # use conediff::{DenseMatrix, Settings};
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer, EquilibriumSettings};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// # let layer = EquilibriumLayer::from_operator(dense(1, 1, &[0.5]), dense(1, 1, &[1.0]), vec![0.0], Activation::Relu)?;
/// use conediff::systems::equilibrium::EquilibriumDerivative;
/// // z = relu(z / 2 + x): 2 x for x = 3, and at its kink for x = 0
/// let x = dense(1, 2, &[3.0, 0.0]);
/// let equilibrium = layer.forward(&x, &EquilibriumSettings::default())?;
/// let derivative: EquilibriumDerivative = layer.derivative(&x, &equilibrium, &Settings::default())?;
/// let gradient = derivative.vjp(&dense(1, 2, &[1.0, 1.0]))?;
/// assert!((gradient.value.x.data[0] - 2.0).abs() < 1e-12 && gradient.value.x.data[1] == 0.0);
/// assert!(!gradient.trusted && derivative.kinks().len() == 1);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct EquilibriumDerivative<'a> {
    layer: &'a EquilibriumLayer,
    /// Zero, with the shapes of everything.
    zero: EquilibriumTangent,
    x: Mat<f64>,
    z: Mat<f64>,
    columns: Vec<Column>,
    kinks: Vec<Kink>,
    /// The largest of any column: condition times point error.
    error: f64,
    point_error: f64,
    standing: Standing,
}

impl EquilibriumLayer {
    /// The derivative at an equilibrium of this layer for the same x, refined first unless [`crate::RefineSettings::enabled`] is off.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`], [`crate::Error::Setting`]; under `strict`,
    /// [`crate::Error::NotTrusted`] at a kink or at a z that is no equilibrium.
    pub fn derivative<'a>(
        &'a self,
        x: &DenseMatrix,
        equilibrium: &Equilibrium,
        settings: &Settings,
    ) -> Result<EquilibriumDerivative<'a>> {
        settings.validate()?;
        let c = self.injected(x)?;
        let z = &equilibrium.z;
        check_length("rows of z", self.n(), z.rows)?;
        check_length("columns of z", x.cols, z.cols)?;
        z.check("z")?;
        let zero = self.zero_tangent(x);
        let x = to_mat(x);
        let mut refined = Mat::<f64>::zeros(self.n(), x.ncols());
        let (mut columns, mut kinks) = (Vec::new(), Vec::new());
        let (mut error, mut point_error, mut residual) = (0.0_f64, 0.0_f64, 0.0_f64);
        let (mut condition, mut margin) = (1.0_f64, f64::INFINITY);
        for j in 0..x.ncols() {
            let c: Vec<f64> = (0..self.n()).map(|i| c[(i, j)]).collect();
            let start = z.column(j).unwrap_or_default().to_vec();
            let inputs: Vec<f64> = (0..x.nrows()).map(|i| x[(i, j)].abs()).collect();
            let mut point = At::new(self, start, &c, &inputs);
            let mut column = Column::new(self, &point.slopes, settings)?;
            let limit = if settings.refine.enabled { STEPS } else { 0 };
            for _ in 0..limit {
                let step = column.newton(self, &point.residual)?;
                let next = point.z.iter().zip(&step).map(|(z, s)| z + s).collect();
                let next = At::new(self, next, &c, &inputs);
                // Within a piece one step arrives; another piece can be worse at first.
                if next.relative().is_nan() || next.relative() > point.relative() {
                    break;
                }
                let has_moved = next.slopes != point.slopes;
                let is_settled = next.relative() > 0.1 * point.relative();
                point = next;
                if has_moved {
                    column = Column::new(self, &point.slopes, settings)?;
                } else if is_settled {
                    break;
                }
            }
            residual = residual.max(point.relative());
            let dz = column.newton(self, &point.floored())?;
            let (found, slopes) = self.kinks_of(j, &point, &dz, settings);
            if let Some(kink) = found {
                margin = margin.min(kink.margin);
                kinks.push(kink);
                column = Column::new(self, &slopes, settings)?;
            }
            let of_point = norm_max(&dz) / (1.0 + norm_max(&point.z));
            point_error = point_error.max(of_point);
            error = error.max(column.factored.condition() * of_point);
            condition = condition.max(column.factored.condition());
            for (i, z) in point.z.iter().enumerate() {
                refined[(i, j)] = *z;
            }
            columns.push(column);
        }
        let is_singular = columns.iter().any(|c| c.factored.is_singular());
        let mut warnings: Vec<Warning> = kinks.iter().cloned().map(Warning::AtKink).collect();
        let tolerance = settings.refine.tolerance;
        if residual > tolerance {
            warnings.push(Warning::NotAZero {
                residual,
                tolerance,
            });
        } else if point_error > settings.accuracy {
            warnings.push(Warning::PointError { error: point_error });
        }
        if is_singular {
            warnings.push(Warning::Singular { condition });
        }
        let meaning = match taken(settings.selection) {
            _ if is_singular => Meaning::LeastSquares,
            selection if !kinks.is_empty() => Meaning::Element { selection },
            _ => Meaning::Derivative,
        };
        let standing = Standing {
            meaning,
            warnings,
            is_singular,
            margin,
            settings: *settings,
        };
        Ok(EquilibriumDerivative {
            layer: self,
            zero,
            x,
            z: refined,
            columns,
            kinks,
            error,
            point_error,
            standing: standing.strictly()?,
        })
    }

    /// The rows of a column that cannot be told from a kink, and all slopes with those of the selection there.
    fn kinks_of(
        &self,
        column: usize,
        point: &At,
        dz: &[f64],
        settings: &Settings,
    ) -> (Option<Kink>, Vec<f64>) {
        let mut slopes = point.slopes.clone();
        let (mut rows, mut margin) = (Vec::new(), f64::INFINITY);
        let seed = match settings.selection {
            Selection::Random(seed) => seed.wrapping_add(column as u64),
            _ => 0,
        };
        let mut random = Random::new(seed);
        for (i, slope) in slopes.iter_mut().enumerate() {
            let error: f64 = (0..dz.len()).map(|j| (self.w[(i, j)] * dz[j]).abs()).sum();
            let radius = (settings.ambiguity * (1.0 + point.terms[i])).max(10.0 * error);
            if point.distances[i] > radius {
                continue;
            }
            rows.push(i);
            margin = margin.min(point.distances[i]);
            *slope = match taken(settings.selection) {
                Selection::Active => 1.0,
                Selection::Half => 0.5,
                Selection::Random(_) => random.uniform(),
                _ => 0.0,
            };
        }
        let kink = Kink {
            cone: column,
            kind: self.activation.name(),
            at: KinkKind::WeaklyActive,
            rows,
            margin,
        };
        ((!kink.rows.is_empty()).then_some(kink), slopes)
    }
}

/// Every element is nonsingular: the first one will do.
fn taken(selection: Selection) -> Selection {
    match selection {
        Selection::NonsingularFirst | Selection::MinimumNorm => Selection::Inactive,
        other => other,
    }
}

impl EquilibriumDerivative<'_> {
    /// z, refined, n x columns.
    pub fn z(&self) -> DenseMatrix {
        to_dense(&self.z)
    }
    /// One for each column with pre-activations at a kink; `cone` is the column, `rows` those entries of z.
    pub fn kinks(&self) -> &[Kink] {
        &self.kinks
    }
    /// What its derivatives are.
    pub fn meaning(&self) -> Meaning {
        self.standing.meaning
    }
    /// What is doubtful before any derivative is asked for.
    pub fn warnings(&self) -> &[Warning] {
        &self.standing.warnings
    }
    /// Estimated relative error of z: the Newton step from it, in the worst column.
    pub fn point_error(&self) -> f64 {
        self.point_error
    }

    /// dz, n x columns.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; [`crate::Error::NotTrusted`] under `strict`.
    pub fn jvp(&self, tangent: &EquilibriumTangent) -> Result<Checked<DenseMatrix>> {
        let layer = self.layer;
        tangent.check(&self.zero)?;
        let dw = match &layer.weights {
            Some(weights) => weights.push_forward(tangent.m, &tangent.a, &tangent.b),
            None => to_mat(&tangent.w),
        };
        let (of_w, of_u) = (&dw * &self.z, to_mat(&tangent.u) * &self.x);
        let of_x = &layer.u * to_mat(&tangent.x);
        let (n, count) = (layer.n(), self.x.ncols());
        let mut data = Vec::with_capacity(n * count);
        let mut worst = Evidence::of_product();
        for (j, column) in self.columns.iter().enumerate() {
            let r: Vec<f64> = (0..n)
                .map(|i| of_w[(i, j)] + of_u[(i, j)] + of_x[(i, j)] + tangent.bias[i])
                .collect();
            let (dz, evidence) = column.forward(&r)?;
            worst = worst.worst(evidence);
            data.extend_from_slice(&dz);
        }
        check_finite("derivative of z", &data)?;
        worst.error = worst.error.max(self.error);
        let value = DenseMatrix {
            rows: n,
            cols: count,
            data,
        };
        self.standing.checked(value, worst)
    }

    /// The gradient of <gz, z> in everything; gz: n x columns.
    ///
    /// # Errors
    /// Those of [`EquilibriumDerivative::jvp`].
    pub fn vjp(&self, gz: &DenseMatrix) -> Result<Checked<EquilibriumTangent>> {
        let layer = self.layer;
        let (n, count) = (layer.n(), self.x.ncols());
        check_length("rows of the gradient in z", n, gz.rows)?;
        check_length("columns of the gradient in z", count, gz.cols)?;
        gz.check("gradient in z")?;
        let mut h = Mat::<f64>::zeros(n, count);
        let mut worst = Evidence::of_product();
        for (j, column) in self.columns.iter().enumerate() {
            let (solved, evidence) = column.backward(gz.column(j).unwrap_or_default())?;
            worst = worst.worst(evidence);
            for (i, v) in solved.into_iter().enumerate() {
                h[(i, j)] = v;
            }
        }
        worst.error = worst.error.max(self.error);
        let mut value = self.zero.clone();
        let of_w = &h * self.z.transpose();
        match &layer.weights {
            Some(weights) => (value.m, value.a, value.b) = weights.pull_back(&of_w),
            None => value.w = to_dense(&of_w),
        }
        value.u = to_dense(&(&h * self.x.transpose()));
        for (i, bias) in value.bias.iter_mut().enumerate() {
            *bias = (0..count).map(|j| h[(i, j)]).sum();
        }
        value.x = to_dense(&(layer.u.transpose() * &h));
        // A large seed can overflow.
        value.check(&self.zero)?;
        self.standing.checked(value, worst)
    }
}

/// From x to z, each by columns.
impl DerivativeMap for EquilibriumDerivative<'_> {
    fn inputs(&self) -> usize {
        self.x.nrows() * self.x.ncols()
    }
    fn outputs(&self) -> usize {
        self.z.nrows() * self.z.ncols()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("dx", self.inputs(), dx.len())?;
        let mut tangent = self.zero.clone();
        tangent.x.data.copy_from_slice(dx);
        Ok(self.jvp(&tangent)?.map(|dz| dz.data))
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("gradient in y", self.outputs(), gy.len())?;
        let gz = DenseMatrix {
            rows: self.z.nrows(),
            cols: self.z.ncols(),
            data: gy.to_vec(),
        };
        Ok(self.vjp(&gz)?.map(|gradient| gradient.x.data))
    }
}
