//! The layer's weights and activation, validated.

use super::derivative::EquilibriumTangent;
use crate::error::{Error, Result};
use crate::implicit::Invertibility;
use crate::jacobian::DenseMatrix;
use crate::memory::check_room;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::settings::check_positive;
use crate::spectrum::{least_eigenvalue, spectral_norm, to_mat};
use faer::Mat;

/// The proximal map of each entry.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// max(t, 0), the projection onto t >= 0.
    Relu,
    /// min(max(t, 0), 1), the projection onto [0, 1].
    Clamp,
    /// t moved towards 0 by the threshold and not beyond: the proximal map of threshold * |t|.
    SoftThreshold {
        /// At least 0.
        #[serde(with = "crate::exact::number")]
        threshold: f64,
    },
}

impl Activation {
    /// Its name, for messages.
    ///
    /// ```
    /// use conediff::systems::equilibrium::Activation;
    /// assert_eq!(Activation::SoftThreshold { threshold: 0.1 }.name(), "soft threshold");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Clamp => "clamp",
            Activation::SoftThreshold { .. } => "soft threshold",
        }
    }

    /// The proximal map of `step` times its function; `step` = 1 is the activation itself.
    pub(super) fn prox(self, t: f64, step: f64) -> f64 {
        match self {
            Activation::Relu => t.max(0.0),
            Activation::Clamp => t.clamp(0.0, 1.0),
            Activation::SoftThreshold { threshold } => {
                (t.abs() - step * threshold).max(0.0).copysign(t)
            }
        }
    }

    /// Its slope at t, 0 or 1, and the distance from t to the nearest kink.
    pub(super) fn slope(self, t: f64) -> (f64, f64) {
        let (is_moving, distance) = match self {
            Activation::Relu => (t > 0.0, t.abs()),
            Activation::Clamp => (t > 0.0 && t < 1.0, t.abs().min((t - 1.0).abs())),
            // Without a threshold it is the identity.
            Activation::SoftThreshold { threshold: 0.0 } => (true, f64::INFINITY),
            Activation::SoftThreshold { threshold } => {
                (t.abs() > threshold, (t.abs() - threshold).abs())
            }
        };
        (f64::from(u8::from(is_moving)), distance)
    }

    fn validate(self) -> Result<()> {
        match self {
            Activation::SoftThreshold { threshold }
                if !(threshold >= 0.0 && threshold.is_finite()) =>
            {
                Err(Error::Setting {
                    name: "threshold",
                    value: threshold,
                    allowed: "at least 0 and finite",
                })
            }
            _ => Ok(()),
        }
    }
}

/// W = (1 - m) I - A'A + B - B', by free A and B: every W with W + W' <= 2 (1 - m) I has this form.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::equilibrium::{Activation, EquilibriumLayer};
/// # let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// use conediff::systems::equilibrium::MonotoneWeights;
/// // m = 1/2, no A, and B with one entry above the diagonal: W = [1/2 1; -1 1/2]
/// let weights = MonotoneWeights { m: 0.5, a: dense(0, 2, &[]), b: dense(2, 2, &[0.0, 0.0, 1.0, 0.0]) };
/// let layer = EquilibriumLayer::new(weights, dense(2, 1, &[1.0, 1.0]), vec![0.0; 2], Activation::Relu)?;
/// assert_eq!(layer.operator().data, [0.5, -1.0, 1.0, 0.5]);
/// // Whatever A and B, the equilibrium is unique and its derivatives are certified.
/// assert!((layer.modulus() - 0.5).abs() < 1e-12 && layer.invertibility().is_certified());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MonotoneWeights {
    /// The margin, positive.
    pub m: f64,
    /// k x n, any k.
    pub a: DenseMatrix,
    /// n x n.
    pub b: DenseMatrix,
}

impl MonotoneWeights {
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::Setting`] unless W is what it should be.
    fn validate(&self) -> Result<()> {
        check_positive("m", self.m)?;
        let n = self.b.rows;
        check_length("columns of B", n, self.b.cols)?;
        check_length("columns of A", n, self.a.cols)?;
        self.a.check("A")?;
        self.b.check("B")
    }

    fn operator(&self) -> Mat<f64> {
        let (a, b) = (to_mat(&self.a), to_mat(&self.b));
        let gram = a.transpose() * &a;
        Mat::from_fn(b.nrows(), b.ncols(), |i, j| {
            let identity = if i == j { 1.0 - self.m } else { 0.0 };
            identity - gram[(i, j)] + (b[(i, j)] - b[(j, i)])
        })
    }

    /// dW = -dm I - dA'A - A'dA + dB - dB'.
    pub(super) fn push_forward(&self, dm: f64, da: &DenseMatrix, db: &DenseMatrix) -> Mat<f64> {
        let (da, db) = (to_mat(da), to_mat(db));
        let cross = to_mat(&self.a).transpose() * &da;
        Mat::from_fn(db.nrows(), db.ncols(), |i, j| {
            let identity = if i == j { dm } else { 0.0 };
            db[(i, j)] - db[(j, i)] - (cross[(i, j)] + cross[(j, i)]) - identity
        })
    }

    /// From G, the gradient in W: -trace G, -A (G + G'), G - G'.
    pub(super) fn pull_back(&self, g: &Mat<f64>) -> (f64, DenseMatrix, DenseMatrix) {
        let n = g.nrows();
        let sum = Mat::from_fn(n, n, |i, j| g[(i, j)] + g[(j, i)]);
        let of_a = to_mat(&self.a) * &sum;
        let of_b = Mat::from_fn(n, n, |i, j| g[(i, j)] - g[(j, i)]);
        let trace = (0..n).map(|i| g[(i, i)]).sum::<f64>();
        let mut of_a = to_dense(&of_a);
        of_a.data.iter_mut().for_each(|a| *a = -*a);
        (-trace, of_a, to_dense(&of_b))
    }
}

pub(super) fn to_dense(matrix: &Mat<f64>) -> DenseMatrix {
    let (rows, cols) = (matrix.nrows(), matrix.ncols());
    DenseMatrix {
        rows,
        cols,
        data: (0..cols)
            .flat_map(|j| (0..rows).map(move |i| (i, j)))
            .map(|(i, j)| matrix[(i, j)])
            .collect(),
    }
}

/// z = prox(Wz + Ux + b): z: n, x: p, several of them as columns. The solution z is unique, Lipschitz in all parameters, and
/// path differentiable.
///
/// ```
/// use conediff::systems::equilibrium::{
///     Activation, Equilibrium, EquilibriumDerivative, EquilibriumLayer, EquilibriumSettings, EquilibriumTangent, Iteration,
///     MonotoneWeights,
/// };
/// use conediff::{DenseMatrix, Settings};
/// let dense = |rows, cols, data: &[f64]| DenseMatrix { rows, cols, data: data.to_vec() };
/// // n = 1, m = 1, A = 1, B = 0: W = -1, and z = relu(-z + x) = relu(x) / 2.
/// let weights = MonotoneWeights { m: 1.0, a: dense(1, 1, &[1.0]), b: dense(1, 1, &[0.0]) };
/// let layer = EquilibriumLayer::new(weights, dense(1, 1, &[1.0]), vec![0.0], Activation::Relu)?;
/// let x = dense(1, 2, &[3.0, -1.0]);
/// let iteration = Iteration::ForwardBackward { step: None };
/// let settings = EquilibriumSettings { iteration, ..EquilibriumSettings::default() };
/// let equilibrium: Equilibrium = layer.forward(&x, &settings)?;
/// let derivative: EquilibriumDerivative = layer.derivative(&x, &equilibrium, &Settings::default())?;
/// let gradient = derivative.vjp(&dense(1, 2, &[1.0, 1.0]))?;
/// assert!(gradient.trusted);
/// let EquilibriumTangent { x: dx, .. } = gradient.value;
/// assert!((dx.data[0] - 0.5).abs() < 1e-14 && dx.data[1] == 0.0);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EquilibriumLayer {
    /// `None` for a W of the caller's own.
    pub(super) weights: Option<MonotoneWeights>,
    pub(super) w: Mat<f64>,
    pub(super) u: Mat<f64>,
    pub(super) bias: Vec<f64>,
    pub(super) activation: Activation,
    modulus: f64,
    lipschitz: f64,
}

impl EquilibriumLayer {
    /// From A, B and m; u is n x p, the bias n. O(n^3).
    ///
    /// # Errors
    /// [`Error::Setting`] unless m is positive and the threshold at least 0; [`Error::Dimension`], [`Error::NonFinite`].
    pub fn new(
        weights: MonotoneWeights,
        u: DenseMatrix,
        bias: Vec<f64>,
        activation: Activation,
    ) -> Result<Self> {
        weights.validate()?;
        let (w, modulus) = (weights.operator(), weights.m);
        Self::from_parts(Some(weights), w, modulus, u, bias, activation)
    }

    /// From any W (n x n) with I - W strongly monotone, whose gradient then is that of W itself. O(n^3).
    ///
    /// # Errors
    /// [`Error::Setting`] with the least eigenvalue of I - (W + W')/2 unless that is positive; otherwise those of
    /// [`EquilibriumLayer::new`].
    pub fn from_operator(
        w: DenseMatrix,
        u: DenseMatrix,
        bias: Vec<f64>,
        activation: Activation,
    ) -> Result<Self> {
        check_length("columns of W", w.rows, w.cols)?;
        w.check("W")?;
        let w = to_mat(&w);
        let modulus = least_eigenvalue(&complement(&w))?;
        if modulus.is_nan() || modulus <= 0.0 {
            return Err(Error::Setting {
                name: "least eigenvalue of I - (W + W')/2",
                value: modulus,
                allowed: "positive, or z is not unique; MonotoneWeights makes it so",
            });
        }
        Self::from_parts(None, w, modulus, u, bias, activation)
    }

    fn from_parts(
        weights: Option<MonotoneWeights>,
        w: Mat<f64>,
        modulus: f64,
        u: DenseMatrix,
        bias: Vec<f64>,
        activation: Activation,
    ) -> Result<Self> {
        let n = w.nrows();
        check_length("rows of U", n, u.rows)?;
        check_length("bias", n, bias.len())?;
        u.check("U")?;
        check_finite("bias", &bias)?;
        activation.validate()?;
        check_finite("W", &to_dense(&w).data)?;
        let lipschitz = spectral_norm(&complement(&w))?;
        Ok(Self {
            weights,
            u: to_mat(&u),
            w,
            bias,
            activation,
            // Without rows any number is a bound.
            modulus: if n == 0 { 1.0 } else { modulus },
            lipschitz,
        })
    }

    /// Length of z.
    pub fn n(&self) -> usize {
        self.w.nrows()
    }
    /// Length of x.
    pub fn inputs(&self) -> usize {
        self.u.ncols()
    }
    /// W, n x n.
    pub fn operator(&self) -> DenseMatrix {
        to_dense(&self.w)
    }
    /// The activation.
    pub fn activation(&self) -> Activation {
        self.activation
    }
    /// m: <(I - W) z, z> >= m |z|^2.
    pub fn modulus(&self) -> f64 {
        self.modulus
    }
    /// |I - W|, the largest singular value.
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }
    /// Every element I - D W is invertible, wherever the kinks: no singular value is below m / (1 + |I - W|).
    pub fn invertibility(&self) -> Invertibility {
        Invertibility::Bounded {
            least_singular_value: self.modulus / (1.0 + self.lipschitz),
        }
    }

    /// A zero direction in all parameters and in inputs x.
    pub fn zero_tangent(&self, x: &DenseMatrix) -> EquilibriumTangent {
        let zeros = |rows: usize, cols: usize| DenseMatrix {
            rows,
            cols,
            data: vec![0.0; rows.saturating_mul(cols)],
        };
        let n = self.n();
        let (a, b, w) = match &self.weights {
            Some(weights) => (zeros(weights.a.rows, n), zeros(n, n), zeros(0, 0)),
            None => (zeros(0, 0), zeros(0, 0), zeros(n, n)),
        };
        EquilibriumTangent {
            m: 0.0,
            a,
            b,
            w,
            u: zeros(n, self.inputs()),
            bias: vec![0.0; n],
            x: DenseMatrix {
                rows: x.rows,
                cols: x.cols,
                data: vec![0.0; x.data.len()],
            },
        }
    }

    /// Ux + b, one column for each of x's.
    pub(super) fn injected(&self, x: &DenseMatrix) -> Result<Mat<f64>> {
        check_length("rows of x", self.inputs(), x.rows)?;
        x.check("x")?;
        check_room("z", 8 * self.n().max(1) as u128 * x.cols as u128)?;
        let product = &self.u * to_mat(x);
        Ok(Mat::from_fn(self.n(), x.cols, |i, j| {
            product[(i, j)] + self.bias[i]
        }))
    }
}

/// I - W.
pub(super) fn complement(w: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(w.nrows(), w.ncols(), |i, j| {
        if i == j { 1.0 - w[(i, j)] } else { -w[(i, j)] }
    })
}
