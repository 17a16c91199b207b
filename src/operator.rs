//! Linear maps known by what they do to vectors.

use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use crate::memory::check_room;
use crate::parametrization::Parametrization;
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::check_length;
use crate::residual::ResidualJacobian;
use crate::tangent::{DataTangent, dot};

/// A linear map M, rows x cols, with its transpose: a matrix, or whatever can be applied to a vector.
///
/// ```
/// use conediff::{DenseMatrix, LinearOperator};
/// let m = DenseMatrix { rows: 1, cols: 2, data: vec![3.0, 4.0] };
/// let (mut y, mut x) = ([0.0], [0.0; 2]);
/// m.apply(&[1.0, 1.0], &mut y)?;
/// m.apply_transpose(&[2.0], &mut x)?;
/// assert_eq!((y, x), ([7.0], [6.0, 8.0]));
/// # Ok::<(), conediff::Error>(())
/// ```
pub trait LinearOperator {
    /// Length of M u.
    fn rows(&self) -> usize;
    /// Length of u.
    fn cols(&self) -> usize;
    /// out = M u; u: cols, out: rows.
    ///
    /// # Errors
    /// [`Error::Dimension`], and whatever goes wrong in the map.
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()>;
    /// out = M'w; w: rows, out: cols.
    ///
    /// # Errors
    /// Those of [`LinearOperator::apply`].
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()>;
}

/// [`Error::Dimension`] unless u and out fit a rows x cols map.
fn check(rows: usize, cols: usize, u: &[f64], out: &[f64]) -> Result<()> {
    check_length("vector", cols, u.len())?;
    check_length("out", rows, out.len())
}

impl<T: LinearOperator + ?Sized> LinearOperator for &T {
    fn rows(&self) -> usize {
        (**self).rows()
    }
    fn cols(&self) -> usize {
        (**self).cols()
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        (**self).apply(u, out)
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        (**self).apply_transpose(w, out)
    }
}

impl LinearOperator for SparseMatrix {
    fn rows(&self) -> usize {
        self.rows()
    }
    fn cols(&self) -> usize {
        self.cols()
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check(self.rows(), self.cols(), u, out)?;
        out.fill(0.0);
        self.multiply_add(1.0, u, out);
        Ok(())
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        check(self.cols(), self.rows(), w, out)?;
        out.fill(0.0);
        self.multiply_transpose_add(1.0, w, out);
        Ok(())
    }
}

impl LinearOperator for DenseMatrix {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        self.check("the matrix")?;
        check(self.rows, self.cols, u, out)?;
        out.fill(0.0);
        for (column, u) in self.data.chunks(self.rows.max(1)).zip(u) {
            for (out, m) in out.iter_mut().zip(column) {
                *out += m * u;
            }
        }
        Ok(())
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        self.check("the matrix")?;
        check(self.cols, self.rows, w, out)?;
        out.fill(0.0);
        for (column, out) in self.data.chunks(self.rows.max(1)).zip(out) {
            *out = dot(column, w);
        }
        Ok(())
    }
}

impl DenseMatrix {
    /// [`Error::Dimension`] unless it holds rows * cols values, [`Error::NonFinite`]; [`Error::TooLarge`] for more columns or rows than
    /// memory, of which nothing need be stored.
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        let entries = self.rows.saturating_mul(self.cols);
        check_length(what, entries, self.data.len())?;
        check_room(
            what,
            8 * self.rows.max(1) as u128 * self.cols.max(1) as u128,
        )?;
        check_finite(what, &self.data)
    }

    /// The same matrix by compressed columns, every entry stored. `name` is used in errors.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn to_sparse(&self, name: &'static str) -> Result<SparseMatrix> {
        self.check(name)?;
        let indptr = (0..=self.cols).map(|j| j * self.rows).collect();
        let indices = (0..self.cols).flat_map(|_| 0..self.rows).collect();
        let data = self.data.clone();
        Ok(SparseMatrix::from_parts(
            self.rows, self.cols, indptr, indices, data,
        ))
    }
}

impl LinearOperator for ResidualJacobian {
    fn rows(&self) -> usize {
        self.dim()
    }
    fn cols(&self) -> usize {
        self.dim()
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        self.apply(u, out)
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        self.apply_transpose(w, out)
    }
}

/// From dtheta to the stored values of (P, q, A, b), one after the other.
impl LinearOperator for Parametrization {
    fn rows(&self) -> usize {
        self.lengths().iter().sum()
    }
    fn cols(&self) -> usize {
        self.parameters()
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check_length("out", LinearOperator::rows(self), out.len())?;
        let mut tangent = DataTangent::default();
        self.push_forward_into(u, &mut tangent)?;
        let parts = [&tangent.p, &tangent.q, &tangent.a, &tangent.b];
        for (out, value) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *out = *value;
        }
        Ok(())
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        check(self.parameters(), LinearOperator::rows(self), w, out)?;
        let gradient = DataTangent::from_stacked(w, self.lengths());
        let mut theta = Vec::new();
        self.pull_back_into(&gradient, &mut theta)?;
        out.copy_from_slice(&theta);
        Ok(())
    }
}

/// A linear map given by two closures, u -> M u and w -> M'w, each of which fills its second argument.
///
/// ```
/// use conediff::{FnOperator, LinearOperator};
/// // M = [2; 3]
/// let m = FnOperator::new(2, 1,
///     |u: &[f64], out: &mut [f64]| { out[0] = 2.0 * u[0]; out[1] = 3.0 * u[0]; },
///     |w: &[f64], out: &mut [f64]| out[0] = 2.0 * w[0] + 3.0 * w[1]);
/// let mut out = [0.0; 2];
/// m.apply(&[1.0], &mut out)?;
/// assert_eq!(out, [2.0, 3.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Clone)]
pub struct FnOperator<F, G> {
    rows: usize,
    cols: usize,
    forward: F,
    transpose: G,
}

impl<F, G> std::fmt::Debug for FnOperator<F, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FnOperator")
            .field("rows", &self.rows)
            .field("cols", &self.cols)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(&[f64], &mut [f64]), G: Fn(&[f64], &mut [f64])> FnOperator<F, G> {
    /// M is rows x cols; the closures get vectors of these lengths.
    pub fn new(rows: usize, cols: usize, forward: F, transpose: G) -> Self {
        Self {
            rows,
            cols,
            forward,
            transpose,
        }
    }
}

impl<F: Fn(&[f64], &mut [f64]), G: Fn(&[f64], &mut [f64])> LinearOperator for FnOperator<F, G> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check(self.rows, self.cols, u, out)?;
        (self.forward)(u, out);
        check_finite("M u", out)
    }
    fn apply_transpose(&self, w: &[f64], out: &mut [f64]) -> Result<()> {
        check(self.cols, self.rows, w, out)?;
        (self.transpose)(w, out);
        check_finite("M'w", out)
    }
}

/// The product of M with a vector, checked.
pub(crate) fn product<A: LinearOperator + ?Sized>(
    operator: &A,
    what: &'static str,
    u: &[f64],
    transpose: bool,
) -> Result<Vec<f64>> {
    let (rows, cols) = (operator.rows(), operator.cols());
    let (from, to) = if transpose {
        (rows, cols)
    } else {
        (cols, rows)
    };
    check_length(what, from, u.len())?;
    check_finite(what, u)?;
    check_room("product with the operator", 8 * to as u128)?;
    let mut out = vec![0.0; to];
    if transpose {
        operator.apply_transpose(u, &mut out)?;
    } else {
        operator.apply(u, &mut out)?;
    }
    match out.iter().position(|x| !x.is_finite()) {
        None => Ok(out),
        Some(index) => Err(Error::NonFinite {
            what: "product with the operator",
            index,
            value: out[index],
        }),
    }
}
