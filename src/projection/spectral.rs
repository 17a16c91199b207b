//! One block of the projection's conservative Jacobian, by its eigenvalues and eigenvectors.

/// Which formula of a curved cone's projection applies at v, with `z = Pi_{K*}(v)` and `s = z - v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// v in K*: `z = v`, `s = 0`, D = I.
    DualInterior,
    /// -v in K: `z = 0`, `s = -v`, D = 0. The apex v = 0 counts as this piece.
    PolarInterior,
    /// s lies on a flat face or edge of K and D is diagonal.
    Face,
    /// s and z are nonzero points of the curved boundaries of K and K*.
    Curved,
}

/// A symmetric matrix `D = U diag(lambda) U'` with `0 <= D <= I`, `U` orthonormal.
///
/// Both `lambda` and `colambda = 1 - lambda` are kept, each computed without subtraction, so that either keeps its
/// relative accuracy when it is tiny.
///
/// ```
/// use conediff::{Block, Cone, Projection, Spectral};
/// let v = [-1.0, 1.0, -1.0];
/// let projection = Projection::new(&[Cone::Exponential], &v)?;
/// let Block::Spectral(Spectral { dim, vectors, lambda, .. }) = &projection.blocks()[0] else { panic!() };
/// // D v = z, put together from the eigenvectors.
/// let mut z = [0.0; 3];
/// for (u, lambda) in vectors.chunks(*dim).zip(lambda) {
///     let along: f64 = u.iter().zip(v).map(|(u, v)| u * v).sum();
///     z.iter_mut().zip(u).for_each(|(z, u)| *z += lambda * along * u);
/// }
/// assert!(z.iter().zip(projection.z()).all(|(sum, z)| (sum - z).abs() < 1e-12));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spectral {
    /// Order of D.
    pub dim: usize,
    /// Eigenvectors, `dim * dim` values, column by column.
    pub vectors: Vec<f64>,
    /// Eigenvalues of D, `dim` values in [0, 1].
    pub lambda: Vec<f64>,
    /// Eigenvalues of I - D, in the same order.
    pub colambda: Vec<f64>,
}

impl Spectral {
    /// D = 0 of order `dim`.
    pub(super) fn new(dim: usize) -> Self {
        let mut spectral = Self {
            dim,
            vectors: vec![0.0; dim * dim],
            lambda: vec![0.0; dim],
            colambda: vec![1.0; dim],
        };
        spectral.set_axes();
        spectral
    }

    /// D = 0 with a unit vector as the first eigenvector: the columns of a Householder reflection.
    pub(super) fn around(unit: &[f64]) -> Self {
        let mut spectral = Self::new(unit.len());
        let Some(first) = unit.first() else {
            return spectral;
        };
        let sign = if *first < 0.0 { -1.0 } else { 1.0 };
        // |unit + sign e_0|^2 = 2 (1 + |first|).
        let entry = |i: usize| unit[i] + if i == 0 { sign } else { 0.0 };
        for k in 1..unit.len() {
            let factor = entry(k) / (1.0 + first.abs());
            for (i, x) in spectral.vector_mut(k).iter_mut().enumerate() {
                *x = f64::from(u8::from(i == k)) - factor * entry(i);
            }
        }
        spectral.vector_mut(0).copy_from_slice(unit);
        spectral
    }

    /// D = I.
    pub(super) fn set_identity(&mut self) {
        self.set_axes();
        self.lambda.fill(1.0);
        self.colambda.fill(0.0);
    }

    /// D = 0.
    pub(super) fn set_zero(&mut self) {
        self.set_axes();
        self.lambda.fill(0.0);
        self.colambda.fill(1.0);
    }

    /// Makes the coordinate axes the eigenvectors; the eigenvalues stay.
    pub(super) fn set_axes(&mut self) {
        self.vectors.fill(0.0);
        for k in 0..self.dim {
            self.vectors[k * self.dim + k] = 1.0;
        }
    }

    /// Sets the k-th eigenvalue of D and of I - D.
    pub(super) fn set_value(&mut self, k: usize, (lambda, colambda): (f64, f64)) {
        self.lambda[k] = lambda;
        self.colambda[k] = colambda;
    }

    /// The k-th eigenvector, `dim` values.
    pub(super) fn vector(&self, k: usize) -> &[f64] {
        &self.vectors[k * self.dim..(k + 1) * self.dim]
    }

    pub(super) fn vector_mut(&mut self, k: usize) -> &mut [f64] {
        &mut self.vectors[k * self.dim..(k + 1) * self.dim]
    }

    /// `out = D u`; both have `dim` values.
    pub(super) fn apply(&self, u: &[f64], out: &mut [f64]) {
        self.combine(&self.lambda, u, out);
    }

    /// `out = (I - D) u`; both have `dim` values.
    pub(super) fn apply_complement(&self, u: &[f64], out: &mut [f64]) {
        self.combine(&self.colambda, u, out);
    }

    fn combine(&self, values: &[f64], u: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (k, &value) in values.iter().enumerate() {
            if value == 0.0 {
                continue;
            }
            let vector = self.vector(k);
            let dot: f64 = vector.iter().zip(u).map(|(a, b)| a * b).sum();
            for (o, a) in out.iter_mut().zip(vector) {
                *o += value * dot * a;
            }
        }
    }
}
