//! A diagonal block with any eigenvalues in [0, 1]: elements inside the hull of an orthant's Jacobian, and smoothed orthants.

/// D = diag(lambda) with 0 <= lambda <= 1.
///
/// Both `lambda` and `colambda = 1 - lambda` are kept, each computed without subtraction, so that either keeps its
/// relative accuracy when it is tiny.
///
/// ```
/// use conediff::{Block, Cone, Diagonal, Projection};
/// // Smoothed, z - s = 3 and z s = 4: z = 4 moves by 4/5 as v does, s = 1 by the rest.
/// let projection = Projection::smoothed(&[Cone::Nonnegative(1)], &[3.0], 4.0)?;
/// let Block::Diagonal(Diagonal { lambda, colambda }) = &projection.blocks()[0] else { panic!() };
/// assert!((lambda[0] - 0.8).abs() < 1e-14 && (colambda[0] - 0.2).abs() < 1e-14);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    /// Diagonal of D.
    pub lambda: Vec<f64>,
    /// Diagonal of I - D.
    pub colambda: Vec<f64>,
}

impl Diagonal {
    pub(super) fn rows(&self) -> usize {
        self.lambda.len()
    }

    pub(super) fn apply(&self, u: &[f64], out: &mut [f64]) {
        multiply(&self.lambda, u, out);
    }

    pub(super) fn apply_complement(&self, u: &[f64], out: &mut [f64]) {
        multiply(&self.colambda, u, out);
    }

    /// Places with lambda > 0, which have reduced variables.
    fn active(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows()).filter(|&i| self.lambda[i] > 0.0)
    }

    pub(super) fn reduced_len(&self) -> usize {
        self.active().count()
    }

    pub(super) fn coupling(&self, mut emit: impl FnMut(usize, usize, f64)) {
        for (row, i) in self.active().enumerate() {
            emit(row, row, -self.colambda[i]);
        }
    }

    pub(super) fn compress(&self, u: &[f64], w: &mut [f64]) {
        for (w, i) in w.iter_mut().zip(self.active()) {
            *w = self.lambda[i].sqrt() * u[i];
        }
    }

    pub(super) fn expand(&self, w: &[f64], u: &mut [f64]) {
        u.fill(0.0);
        for (w, i) in w.iter().zip(self.active()) {
            u[i] = self.lambda[i].sqrt() * w;
        }
    }
}

fn multiply(diagonal: &[f64], u: &[f64], out: &mut [f64]) {
    for ((out, u), x) in out.iter_mut().zip(u).zip(diagonal) {
        *out = x * u;
    }
}
