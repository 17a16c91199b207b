//! Positive semidefinite cone in the scaled triangle, self-dual.
//!
//! With smat(v) = Q diag(l) Q' the projection keeps the positive eigenvalues, and D H = Q (W o (Q'HQ)) Q' with W = 1 on pairs of
//! positive, 0 on pairs of nonpositive eigenvalues and l_i / (l_i - l_j) for l_i > 0 >= l_j. At a zero eigenvalue this is
//! the element with W = 0 on the zero block. Elements inside the hull of the Jacobian, and smoothed projections, have weights W in
//! [0, 1] on the positive pairs too; with every eigenvector counted as positive, W is any symmetric matrix.
//!
//! # References
//! Malick, Sendov, Clarke generalized Jacobian of the projection onto the cone of positive semidefinite matrices, 2006, Thm 2.3.
//! Sun, Sun, Semismooth matrix-valued functions, 2002.

use super::numeric::{fractions, power_of_two_scale};
use super::{Block, rotated_terms};
use crate::svec::index;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// D between the cone and its polar, in the eigenbasis of v. Eigenvectors come with decreasing eigenvalue: the first `positive` ones
/// span the range of z.
///
/// ```
/// use conediff::{Block, Cone, Projection, svec};
/// // diag(2, -1): an entry off the diagonal goes to z by 2 / (2 + 1) of itself, the rest to -s
/// let projection = Projection::new(&[Cone::PsdTriangle(2)], &svec::svec(&[2.0, 0.0, 0.0, -1.0], 2)?)?;
/// assert!(matches!(projection.blocks()[0], Block::Psd(_)));
/// let mut dz = [0.0; 3];
/// projection.apply(&[0.0, 1.0, 0.0], &mut dz)?;
/// assert!((dz[1] - 2.0 / 3.0).abs() < 1e-14 && dz[0].abs() + dz[2].abs() < 1e-14);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Psd {
    k: usize,
    positive: usize,
    vectors: Mat<f64>,
    /// sqrt(W) for (i positive, j not): column j - positive.
    root: Mat<f64>,
    /// 1 - W there, without subtraction.
    complement: Mat<f64>,
    /// W on pairs of positive ones; `None` for 1.
    weights: Option<Weights>,
}

/// W on the pairs i <= j of positive eigenvalues, in svec's order.
#[derive(Debug, Clone, PartialEq)]
struct Weights {
    /// sqrt(W).
    root: Vec<f64>,
    /// 1 - W, without subtraction.
    complement: Vec<f64>,
}

/// The lower triangle mirrored: a full symmetric matrix written to `out`, k*k column-major.
fn smat(u: &[f64], k: usize, out: &mut [f64]) {
    for j in 0..k {
        for i in 0..j {
            let x = u[index(i, j)] * FRAC_1_SQRT_2;
            out[j * k + i] = x;
            out[i * k + j] = x;
        }
        out[j * k + j] = u[index(j, j)];
    }
}

/// Writes svec(G + G') for a column-major k x k matrix G.
pub(super) fn svec_sum(g: &[f64], k: usize, out: &mut [f64]) {
    for j in 0..k {
        for i in 0..j {
            out[index(i, j)] = (g[j * k + i] + g[i * k + j]) * SQRT_2;
        }
        out[index(j, j)] = 2.0 * g[j * k + j];
    }
}

/// out = a b, column-major.
fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>, out: &mut [f64]) {
    let out = MatMut::from_column_major_slice_mut(out, a.nrows(), b.ncols());
    matmul(out, Accum::Replace, a, b, 1.0, Par::Seq);
}

fn view(data: &[f64], rows: usize, cols: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(data, rows, cols)
}

/// Eigenvalues of smat(v), decreasing, and their eigenvectors; k >= 1. `None` if the iteration fails.
pub(crate) fn eigen_decreasing(k: usize, v: &[f64]) -> Option<(Vec<f64>, Mat<f64>)> {
    // faer 0.24's divide and conquer (orders above 128) is silently inaccurate away from norm 1: scale by a power of two.
    let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let unit = if largest > 0.0 {
        power_of_two_scale(v)
    } else {
        1.0
    };
    let mut full = vec![0.0; k * k];
    smat(v, k, &mut full);
    for x in &mut full {
        *x /= unit;
    }
    let eigen = view(&full, k, k)
        .self_adjoint_eigen(faer::Side::Lower)
        .ok()?;
    // faer sorts ascending; positive first is what every formula below wants.
    let scaled = eigen.S().column_vector();
    let values: Vec<f64> = scaled.iter().rev().map(|l| l * unit).collect();
    let vectors = Mat::from_fn(k, k, |i, j| eigen.U()[(i, k - 1 - j)]);
    Some((values, vectors))
}

/// out = svec(V diag(values) V') for the first eigenvectors.
pub(crate) fn compose(vectors: MatRef<'_, f64>, values: &[f64], out: &mut [f64]) {
    let k = vectors.nrows();
    let mut full = vec![0.0; k * k];
    // Half of everything, since svec_sum adds the transpose.
    let half = Mat::from_fn(k, values.len(), |i, j| 0.5 * values[j] * vectors[(i, j)]);
    product(half.as_ref(), vectors.transpose(), &mut full);
    svec_sum(&full, k, out);
}

/// Projects v; writes z and s and returns an element of the Jacobian and the margin. `None` if the eigenvalue iteration fails.
pub(super) fn project(k: usize, v: &[f64], z: &mut [f64], s: &mut [f64]) -> Option<(Block, f64)> {
    if k == 0 {
        return Some((Block::Vanishing(0), f64::INFINITY));
    }
    let (values, vectors) = eigen_decreasing(k, v)?;
    let margin = values.iter().fold(f64::INFINITY, |m, l| m.min(l.abs()));
    let positive = values.iter().take_while(|l| **l > 0.0).count();
    if positive == k {
        z.copy_from_slice(v);
        s.fill(0.0);
        return Some((Block::Identity(v.len()), margin));
    }
    if positive == 0 {
        z.fill(0.0);
        for (s, v) in s.iter_mut().zip(v) {
            *s = -v;
        }
        return Some((Block::Vanishing(v.len()), margin));
    }
    let (above, below) = values.split_at(positive);
    let below: Vec<f64> = below.iter().map(|l| -l).collect();
    compose(vectors.as_ref().subcols(0, positive), above, z);
    compose(vectors.as_ref().subcols(positive, k - positive), &below, s);
    let weight = |i: usize, j: usize| shares(values[i], -values[positive + j]);
    let root = Mat::from_fn(positive, k - positive, |i, j| weight(i, j).0.sqrt());
    let complement = Mat::from_fn(positive, k - positive, |i, j| weight(i, j).1);
    Some((
        Block::Psd(Psd {
            k,
            positive,
            vectors,
            root,
            complement,
            weights: None,
        }),
        margin,
    ))
}

/// (W, 1 - W) of a pair of eigenvalues, by their sizes; the sum of the largest numbers overflows.
pub(super) fn shares(above: f64, below: f64) -> (f64, f64) {
    let sum = above + below;
    if sum.is_finite() {
        (above / sum, below / sum)
    } else {
        fractions(above, below)
    }
}

impl Psd {
    /// From orthonormal eigenvectors (k x k) of which the first `positive` span the range of D, and the function that gives (W, 1 - W) for a
    /// pair i <= j, i < positive.
    pub(crate) fn from_parts(
        positive: usize,
        vectors: Mat<f64>,
        weight: impl Fn(usize, usize) -> (f64, f64),
    ) -> Self {
        let k = vectors.nrows();
        let mixed = |i: usize, j: usize| weight(i, positive + j);
        let (mut root, mut complement) = (Vec::new(), Vec::new());
        for j in 0..positive {
            for i in 0..=j {
                let (w, co) = weight(i, j);
                root.push(w.sqrt());
                complement.push(co);
            }
        }
        Self {
            k,
            positive,
            root: Mat::from_fn(positive, k - positive, |i, j| mixed(i, j).0.sqrt()),
            complement: Mat::from_fn(positive, k - positive, |i, j| mixed(i, j).1),
            vectors,
            weights: Some(Weights { root, complement }),
        }
    }

    /// With f of every eigenvalue.
    pub(super) fn mapped(&self, f: impl Fn((f64, f64)) -> (f64, f64)) -> Self {
        let weight = |i: usize, j: usize| {
            if j < self.positive {
                let root = self.positive_root(i, j);
                return f((root * root, self.positive_complement(i, j)));
            }
            let column = j - self.positive;
            let root = self.root[(i, column)];
            f((root * root, self.complement[(i, column)]))
        };
        Self::from_parts(self.positive, self.vectors.clone(), weight)
    }

    /// True for two plain blocks with as many positive eigenvalues, and for weighted ones that differ by no more than `distance` in
    /// each number.
    pub(crate) fn is_like(&self, other: &Self, distance: f64) -> bool {
        if self.positive != other.positive {
            return false;
        }
        let is_close = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= distance)
        };
        let are_close = |a: &Mat<f64>, b: &Mat<f64>| {
            let columns = a.ncols().min(b.ncols());
            (0..columns).all(|j| is_close(a.col_as_slice(j), b.col_as_slice(j)))
        };
        match (&self.weights, &other.weights) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                is_close(&a.root, &b.root)
                    && is_close(&a.complement, &b.complement)
                    && are_close(&self.root, &other.root)
                    && are_close(&self.complement, &other.complement)
                    && are_close(&self.vectors, &other.vectors)
            }
            _ => false,
        }
    }

    /// sqrt(W) of a pair i <= j of positive eigenvalues.
    fn positive_root(&self, i: usize, j: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w.root[index(i, j)])
    }

    /// 1 - W of such a pair.
    fn positive_complement(&self, i: usize, j: usize) -> f64 {
        self.weights
            .as_ref()
            .map_or(0.0, |w| w.complement[index(i, j)])
    }

    pub(super) fn rows(&self) -> usize {
        self.k * (self.k + 1) / 2
    }

    /// Entries of scratch memory the operations below need.
    pub(super) fn scratch_len(&self) -> usize {
        3 * self.k * self.k
    }

    /// The three k x k parts of the scratch memory, which may be longer.
    fn parts<'a>(&self, scratch: &'a mut [f64]) -> [&'a mut [f64]; 3] {
        let square = self.k * self.k;
        let (first, rest) = scratch.split_at_mut(square);
        let (second, rest) = rest.split_at_mut(square);
        [first, second, &mut rest[..square]]
    }

    fn range(&self) -> MatRef<'_, f64> {
        self.vectors.as_ref().subcols(0, self.positive)
    }

    /// First part of scratch = Q'HQ's columns for the positive eigenvalues, k x positive.
    fn rotate(&self, u: &[f64], scratch: &mut [f64]) {
        let (k, p) = (self.k, self.positive);
        let [m, full, half] = self.parts(scratch);
        smat(u, k, full);
        product(view(full, k, k), self.range(), &mut half[..k * p]);
        product(
            self.vectors.transpose(),
            view(&half[..k * p], k, p),
            &mut m[..k * p],
        );
    }

    /// svec(Q M Q') for symmetric M that is zero on the nonpositive block, given M's first columns (k x positive) in the first
    /// part of scratch.
    fn rotate_back(&self, scratch: &mut [f64], u: &mut [f64]) {
        let (k, p) = (self.k, self.positive);
        let [m, full, left] = self.parts(scratch);
        // Half the positive block, since svec_sum adds the transpose.
        for j in 0..p {
            for i in 0..p {
                m[j * k + i] *= 0.5;
            }
        }
        product(
            self.vectors.as_ref(),
            view(&m[..k * p], k, p),
            &mut left[..k * p],
        );
        product(view(&left[..k * p], k, p), self.range().transpose(), full);
        svec_sum(full, k, u);
    }

    pub(super) fn apply(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        self.rotate(u, scratch);
        for j in 0..self.positive {
            if self.weights.is_some() {
                for i in 0..self.positive {
                    scratch[j * self.k + i] *= self.positive_root(i, j).powi(2);
                }
            }
            for i in self.positive..self.k {
                scratch[j * self.k + i] *= self.root[(j, i - self.positive)].powi(2);
            }
        }
        self.rotate_back(scratch, out);
    }

    pub(super) fn apply_complement(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        // I - D is 1 on the nonpositive block: build it whole rather than subtracting D u from u.
        let k = self.k;
        let [m, full, half] = self.parts(scratch);
        smat(u, k, full);
        product(view(full, k, k), self.vectors.as_ref(), half);
        product(self.vectors.transpose(), view(half, k, k), m);
        for j in 0..k {
            for i in 0..k {
                let (a, b) = (i.min(j), i.max(j));
                m[j * k + i] *= if b < self.positive {
                    0.5 * self.positive_complement(a, b)
                } else if a < self.positive {
                    0.5 * self.complement[(a, b - self.positive)]
                } else {
                    0.5
                };
            }
        }
        product(self.vectors.as_ref(), view(m, k, k), half);
        product(view(half, k, k), self.vectors.transpose(), full);
        svec_sum(full, k, out);
    }

    /// Reduced rows: pairs i <= j of positive eigenvalues by columns, then (positive, nonpositive) pairs by columns.
    pub(super) fn reduced_len(&self) -> usize {
        self.positive * (self.positive + 1) / 2 + self.positive * (self.k - self.positive)
    }

    pub(super) fn coupling(&self, mut emit: impl FnMut(usize, usize, f64)) {
        let hard = self.positive * (self.positive + 1) / 2;
        if let Some(weights) = &self.weights {
            for (row, complement) in weights.complement.iter().enumerate() {
                emit(row, row, -complement);
            }
        }
        for j in 0..self.k - self.positive {
            for i in 0..self.positive {
                let row = hard + j * self.positive + i;
                emit(row, row, -self.complement[(i, j)]);
            }
        }
    }

    /// Reads the reduced coordinates off M = Q'HQ's first columns.
    fn read(&self, m: &[f64], w: &mut [f64]) {
        let (k, p) = (self.k, self.positive);
        let hard = p * (p + 1) / 2;
        for j in 0..p {
            for i in 0..j {
                w[index(i, j)] = m[j * k + i] * SQRT_2;
            }
            w[index(j, j)] = m[j * k + j];
        }
        if let Some(weights) = &self.weights {
            for (w, root) in w.iter_mut().zip(&weights.root) {
                *w *= root;
            }
        }
        for j in 0..k - p {
            for i in 0..p {
                w[hard + j * p + i] = SQRT_2 * self.root[(i, j)] * m[i * k + p + j];
            }
        }
    }

    pub(super) fn compress(&self, u: &[f64], w: &mut [f64], scratch: &mut [f64]) {
        self.rotate(u, scratch);
        self.read(scratch, w);
    }

    pub(super) fn expand(&self, w: &[f64], u: &mut [f64], scratch: &mut [f64]) {
        let (k, p) = (self.k, self.positive);
        let hard = p * (p + 1) / 2;
        for j in 0..p {
            for i in 0..j {
                let x = self.positive_root(i, j) * w[index(i, j)] * FRAC_1_SQRT_2;
                scratch[j * k + i] = x;
                scratch[i * k + j] = x;
            }
            scratch[j * k + j] = self.positive_root(j, j) * w[index(j, j)];
        }
        for j in 0..k - p {
            for i in 0..p {
                scratch[i * k + p + j] = FRAC_1_SQRT_2 * self.root[(i, j)] * w[hard + j * p + i];
            }
        }
        self.rotate_back(scratch, u);
    }

    /// C a for one sparse column a.
    pub(super) fn column(
        &self,
        rows: &[usize],
        start: usize,
        values: &[f64],
        mut emit: impl FnMut(usize, f64, f64),
    ) {
        let m = self.rotate_sparse(rows, start, values, self.positive);
        let mut w = vec![0.0; self.reduced_len()];
        self.read(&m, &mut w);
        let size = rotated_terms(values);
        for (row, value) in w.into_iter().enumerate() {
            emit(row, value, size.max(value.abs()));
        }
    }

    /// The first `columns` columns of Q' smat(a) Q for a sparse a: only the touched rows of smat(a) enter the products.
    fn rotate_sparse(
        &self,
        rows: &[usize],
        start: usize,
        values: &[f64],
        columns: usize,
    ) -> Vec<f64> {
        let k = self.k;
        let mut m = vec![0.0; k * columns];
        if rows.len() > k {
            let mut full = vec![0.0; k * k];
            for (&r, &v) in rows.iter().zip(values) {
                let (i, j) = pair(r - start);
                let x = if i == j { v } else { v * FRAC_1_SQRT_2 };
                full[j * k + i] = x;
                full[i * k + j] = x;
            }
            let mut half = vec![0.0; k * columns];
            let some = self.vectors.as_ref().subcols(0, columns);
            product(view(&full, k, k), some, &mut half);
            product(self.vectors.transpose(), view(&half, k, columns), &mut m);
            return m;
        }
        let mut touched: Vec<usize> = Vec::new();
        let mut entries = Vec::with_capacity(rows.len());
        for (&r, &v) in rows.iter().zip(values) {
            let (i, j) = pair(r - start);
            entries.push((i, j, if i == j { v } else { v * FRAC_1_SQRT_2 }));
            touched.extend([i, j]);
        }
        touched.sort_unstable();
        touched.dedup();
        let place = |i: usize| touched.binary_search(&i).unwrap_or(0);
        let mut half = Mat::<f64>::zeros(touched.len(), columns);
        for (i, j, v) in entries {
            let (a, b) = (place(i), place(j));
            for c in 0..columns {
                half[(a, c)] += v * self.vectors[(j, c)];
                if i != j {
                    half[(b, c)] += v * self.vectors[(i, c)];
                }
            }
        }
        let gathered = Mat::from_fn(touched.len(), k, |t, c| self.vectors[(touched[t], c)]);
        product(gathered.transpose(), half.as_ref(), &mut m);
        m
    }

    /// L^(1/2) on the slots with a positive eigenvalue, in their order.
    pub(crate) fn roots(&self) -> Vec<f64> {
        let p = self.positive;
        let mut roots = match &self.weights {
            Some(weights) => weights.root.clone(),
            None => vec![1.0; p * (p + 1) / 2],
        };
        for j in 0..self.k - p {
            roots.extend((0..p).map(|i| self.root[(i, j)]));
        }
        roots
    }

    /// Emits U'a for one sparse a over all of the eigenbasis (slot, value, size of its terms): the slots of `column` without their
    /// scaling, then the pairs of nonpositive eigenvalues.
    pub(crate) fn rotated(
        &self,
        rows: &[usize],
        values: &[f64],
        mut emit: impl FnMut(usize, f64, f64),
    ) {
        let m = self.rotate_sparse(rows, 0, values, self.k);
        let size = rotated_terms(values);
        self.for_each_slot(|slot, i, j| {
            let x = m[j * self.k + i];
            let value = if i == j { x } else { x * SQRT_2 };
            emit(slot, value, size.max(value.abs()));
        });
    }

    /// out = U'u, all of the eigenbasis; the scratch memory holds 3 k^2 entries.
    pub(crate) fn enter_eigenbasis(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        let k = self.k;
        let [m, full, half] = self.parts(scratch);
        smat(u, k, full);
        product(view(full, k, k), self.vectors.as_ref(), half);
        product(self.vectors.transpose(), view(half, k, k), m);
        self.for_each_slot(|slot, i, j| {
            let x = m[j * k + i];
            out[slot] = if i == j { x } else { x * SQRT_2 };
        });
    }

    /// out = U w.
    pub(crate) fn leave_eigenbasis(&self, w: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        let k = self.k;
        let [m, full, half] = self.parts(scratch);
        self.for_each_slot(|slot, i, j| {
            // Half of everything, since svec_sum adds the transpose.
            let x = if i == j { 0.5 } else { 0.5 * FRAC_1_SQRT_2 } * w[slot];
            m[j * k + i] = x;
            m[i * k + j] = x;
        });
        product(self.vectors.as_ref(), view(m, k, k), half);
        product(view(half, k, k), self.vectors.transpose(), full);
        svec_sum(full, k, out);
    }

    /// Calls f(slot, i, j) for every pair i <= j of eigenvalues: positive pairs, mixed pairs, nonpositive pairs.
    fn for_each_slot(&self, mut f: impl FnMut(usize, usize, usize)) {
        let p = self.positive;
        let mut slot = 0;
        let mut next = |i, j| {
            f(slot, i, j);
            slot += 1;
        };
        for j in 0..p {
            for i in 0..=j {
                next(i, j);
            }
        }
        for j in p..self.k {
            for i in 0..p {
                next(i, j);
            }
        }
        for j in p..self.k {
            for i in p..=j {
                next(i, j);
            }
        }
    }
}

/// Row and column, i <= j, of a place in the triangle.
fn pair(r: usize) -> (usize, usize) {
    let j = ((((8 * r + 1) as f64).sqrt() - 1.0) / 2.0) as usize;
    // The square root may round across an integer.
    let j = if index(0, j) > r {
        j - 1
    } else if index(0, j + 1) <= r {
        j + 1
    } else {
        j
    };
    (r - index(0, j), j)
}
