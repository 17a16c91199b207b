//! Gradients of losses, the smooth parts of an objective.

use super::kink_weight::KinkWeight;
use super::map::{ParametricMap, check, check_transpose};
use crate::error::Result;
use crate::pattern::{SparseMatrix, check_finite};

/// The gradient of least squares.
///
/// ```text
/// f(x; y) = 1/2 |X x - y|^2,   gradient X'(X x - y),   A = X'X,   B = -X'
/// ```
///
/// X: m x n, x: n, y: m, the parameters. O(nnz(X)) for each operation.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{LeastSquares, ParametricMap};
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 2, 1, &[0, 2], &[0, 1], &[1.0, 2.0])?);
/// let mut gradient = [0.0];
/// loss.value(0, &[3.0], &[1.0, 1.0], &mut gradient)?;
/// assert_eq!(gradient, [12.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LeastSquares {
    x: SparseMatrix,
}

impl LeastSquares {
    /// With the design matrix X, m x n.
    pub fn new(x: SparseMatrix) -> Self {
        Self { x }
    }

    /// X.
    pub fn design(&self) -> &SparseMatrix {
        &self.x
    }

    /// out = X'(X x - y).
    fn residual(&self, x: &[f64], y: &[f64], out: &mut [f64]) {
        let mut fitted: Vec<f64> = y.iter().map(|y| -y).collect();
        self.x.multiply_add(1.0, x, &mut fitted);
        out.fill(0.0);
        self.x.multiply_transpose_add(1.0, &fitted, out);
    }
}

impl ParametricMap for LeastSquares {
    type Element = ();

    fn dimension(&self) -> usize {
        self.x.cols()
    }
    fn parameters(&self) -> usize {
        self.x.rows()
    }

    fn value(&self, _number: usize, x: &[f64], y: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, x, y, out)?;
        self.residual(x, y, out);
        Ok(())
    }

    fn apply(&self, _element: &(), dx: &[f64], dy: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dx, dy, out)?;
        self.residual(dx, dy, out);
        Ok(())
    }

    fn apply_transpose(
        &self,
        _element: &(),
        w: &[f64],
        dx: &mut [f64],
        dy: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dx, dy)?;
        dy.fill(0.0);
        self.x.multiply_add(-1.0, w, dy);
        dx.fill(0.0);
        self.x.multiply_transpose_add(-1.0, dy, dx);
        Ok(())
    }
}

/// The gradient of asymmetric squares, the loss of expectiles.
///
/// ```text
/// f(x; y) = sum_i phi(x_i - y_i),   phi(r) = left r^2 / 2 (r < 0), right r^2 / 2 (r >= 0)
/// gradient phi'(x_i - y_i),   A = diag(c),   B = -diag(c),   c_i = left or right
/// ```
///
/// x, y: n. Its gradient has a kink at x_i = y_i, where c = (1 - w) left + w right with the weight w of [`KinkWeight`].
///
/// ```
/// use conediff::piggyback::{AsymmetricSquares, KinkWeight, ParametricMap};
/// let loss = AsymmetricSquares::new(3, 0.25, 1.0)?.with_kink(KinkWeight::Half)?;
/// let mut gradient = [0.0; 3];
/// let slopes = loss.value(0, &[-2.0, 0.0, 2.0], &[0.0; 3], &mut gradient)?;
/// assert_eq!((gradient, slopes), ([-0.5, 0.0, 2.0], vec![0.25, 0.625, 1.0]));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Newey, Powell, Asymmetric least squares estimation and testing, 1987.
#[derive(Debug, Clone)]
pub struct AsymmetricSquares {
    dimension: usize,
    left: f64,
    right: f64,
    kink: KinkWeight,
}

impl AsymmetricSquares {
    /// In n dimensions with both curvatures, of any sign.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite).
    pub fn new(dimension: usize, left: f64, right: f64) -> Result<Self> {
        check_finite("curvatures", &[left, right])?;
        Ok(Self {
            dimension,
            left,
            right,
            kink: KinkWeight::default(),
        })
    }

    /// With another weight of the right curvature at the kink.
    ///
    /// # Errors
    /// Those of [`KinkWeight::validate`].
    pub fn with_kink(mut self, kink: KinkWeight) -> Result<Self> {
        kink.validate()?;
        self.kink = kink;
        Ok(self)
    }
}

impl ParametricMap for AsymmetricSquares {
    type Element = Vec<f64>;

    fn dimension(&self) -> usize {
        self.dimension
    }
    fn parameters(&self) -> usize {
        self.dimension
    }

    fn value(&self, number: usize, x: &[f64], y: &[f64], out: &mut [f64]) -> Result<Vec<f64>> {
        check(self, x, y, out)?;
        let middle = self.left + self.kink.at(number) * (self.right - self.left);
        let mut slopes = Vec::with_capacity(self.dimension);
        for (out, (x, y)) in out.iter_mut().zip(x.iter().zip(y)) {
            let r = x - y;
            let slope = if r > 0.0 {
                self.right
            } else if r < 0.0 {
                self.left
            } else {
                middle
            };
            *out = slope * r;
            slopes.push(slope);
        }
        Ok(slopes)
    }

    fn apply(&self, slopes: &Vec<f64>, dx: &[f64], dy: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dx, dy, out)?;
        for (out, (c, (dx, dy))) in out.iter_mut().zip(slopes.iter().zip(dx.iter().zip(dy))) {
            *out = c * (dx - dy);
        }
        Ok(())
    }

    fn apply_transpose(
        &self,
        slopes: &Vec<f64>,
        w: &[f64],
        dx: &mut [f64],
        dy: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dx, dy)?;
        for ((dx, dy), (c, w)) in dx.iter_mut().zip(dy).zip(slopes.iter().zip(w)) {
            (*dx, *dy) = (c * w, -c * w);
        }
        Ok(())
    }
}
