//! The residual map whose zeros are the solutions, its Jacobian, and its derivative in the data.
//!
//! With v = z - s, z = Pi(v), s = Pi(v) - v:
//!
//! ```text
//! F(x, v) = [ Px + A'Pi(v) + q ;  -Ax + b - (Pi(v) - v) ] = 0
//! J       = [ P    A'D   ]
//!           [ -A   I - D ]
//! ```
//!
//! The homogeneous embedding adds tau: N(x, v, tau) = [Px + A'z + q tau ; -Ax + b tau - s ; -q'x - b'z - x'Px/tau - kappa]. It is
//! positively homogeneous, so its Jacobian is singular at every solution, the solution itself being the null vector.
//!
//! # References
//! Busseti, Moursi, Boyd, Solution refinement at regular points of conic problems, 2019, eq. (5).
//! Healey, Nobel, Boyd, Differentiating through a quadratic cone program, 2025, section 3 (the term x'Px/tau).

use crate::error::Result;
use crate::pattern::SparseMatrix;
use crate::program::{ConeProgram, check_length};
use crate::projection::{Block, Projection};
use crate::tangent::{DataTangent, dot, norm_max};
use std::sync::Arc;

/// F at (x, v), n + m values.
///
/// # Errors
/// [`crate::Error::Dimension`] unless x has n and v has m entries.
pub fn residual(program: &ConeProgram, x: &[f64], v: &[f64]) -> Result<Vec<f64>> {
    check_length("x", program.n(), x.len())?;
    check_length("v", program.m(), v.len())?;
    let projection = Projection::new(program.cones(), v)?;
    Ok(residual_and_size(program, x, projection.z(), projection.s()).0)
}

/// The root of the sum of squared terms of each row of F, n + m: rounding errors grow with it.
pub(crate) fn residual_terms(program: &ConeProgram, x: &[f64], z: &[f64], s: &[f64]) -> Vec<f64> {
    let square = |t: f64| t * t;
    let squares = |v: &[f64]| v.iter().map(|v| v * v).collect::<Vec<f64>>();
    let (mut terms, mut bottom) = (squares(program.q()), squares(program.effective_b()));
    program.p().sum_terms_symmetric(x, &mut terms, square);
    let a = program.effective_a();
    a.sum_terms_transpose(z, &mut terms, square);
    a.sum_terms(x, &mut bottom, square);
    for (terms, s) in bottom.iter_mut().zip(s) {
        *terms += s * s;
    }
    terms.append(&mut bottom);
    for t in &mut terms {
        *t = t.sqrt();
    }
    terms
}

/// F from x, z and s, with its relative residual: the larger over the two rows of |row| / (min(1, data) + largest term), in the
/// largest entry. The data are q above (P if q = 0) and b below (A if b = 0): without them, data of size 1e-8 would have no
/// residual to speak of.
pub(crate) fn residual_and_size(
    program: &ConeProgram,
    x: &[f64],
    z: &[f64],
    s: &[f64],
) -> (Vec<f64>, f64) {
    let (n, m) = (program.n(), program.m());
    let mut f = vec![0.0; n + m];
    program.p().multiply_symmetric_add(1.0, x, &mut f);
    residual_and_size_with(program, program.p(), f, x, z, s)
}

/// The same with any P in place of the program's, its product Px in the first n of the n + m entries of f.
pub(crate) fn residual_and_size_with(
    program: &ConeProgram,
    p: &SparseMatrix,
    mut f: Vec<f64>,
    x: &[f64],
    z: &[f64],
    s: &[f64],
) -> (Vec<f64>, f64) {
    let (q, b) = (program.q(), program.effective_b());
    let a = program.effective_a();
    let mut az = vec![0.0; program.n()];
    let (top, bottom) = f.split_at_mut(program.n());
    a.multiply_transpose_add(1.0, z, &mut az);
    a.multiply_add(1.0, x, bottom);
    let floor = |vector: f64, matrix: &SparseMatrix| {
        if vector > 0.0 {
            return vector.min(1.0);
        }
        let size = norm_max(matrix.values());
        if size > 0.0 { size.min(1.0) } else { 1.0 }
    };
    let (size_q, size_b) = (norm_max(q), norm_max(b));
    let largest_top = norm_max(top).max(norm_max(&az)).max(size_q) + floor(size_q, p);
    let largest_bottom = norm_max(bottom).max(norm_max(s)).max(size_b) + floor(size_b, a);
    for ((top, az), q) in top.iter_mut().zip(&az).zip(q) {
        *top += az + q;
    }
    for ((bottom, b), s) in bottom.iter_mut().zip(b).zip(s) {
        *bottom = b - s - *bottom;
    }
    let (above, below) = (
        norm_max(top) / largest_top,
        norm_max(bottom) / largest_bottom,
    );
    let relative = if above.is_nan() || below.is_nan() {
        f64::NAN
    } else {
        above.max(below)
    };
    (f, relative)
}

/// The embedding's map at (x, v, tau), n + m + 1 values. Unlike [`residual`] it takes the data as they are: give it programs whose
/// rows all have a bound.
///
/// # Errors
/// [`crate::Error::Dimension`]; [`crate::Error::Setting`] unless tau > 0.
pub fn embedding_residual(
    program: &ConeProgram,
    x: &[f64],
    v: &[f64],
    tau: f64,
) -> Result<Vec<f64>> {
    check_length("x", program.n(), x.len())?;
    check_length("v", program.m(), v.len())?;
    if tau.is_nan() || tau <= 0.0 {
        return Err(crate::Error::Setting {
            name: "tau",
            value: tau,
            allowed: "positive",
        });
    }
    let n = program.n();
    let projection = Projection::new(program.cones(), v)?;
    let (z, s) = (projection.z(), projection.s());
    let mut out = vec![0.0; n + program.m() + 1];
    let mut px = vec![0.0; n];
    program.p().multiply_symmetric_add(1.0, x, &mut px);
    let (top, rest) = out.split_at_mut(n);
    for j in 0..n {
        top[j] = px[j] + tau * program.q()[j];
    }
    program.effective_a().multiply_transpose_add(1.0, z, top);
    for i in 0..program.m() {
        rest[i] = tau * program.effective_b()[i] - s[i];
    }
    program.effective_a().multiply_add(-1.0, x, rest);
    rest[program.m()] = -dot(program.q(), x) - dot(program.effective_b(), z) - dot(x, &px) / tau;
    Ok(out)
}

/// J at a point, as an operator and as a sparse matrix. Copies share everything.
#[derive(Debug, Clone)]
pub struct ResidualJacobian {
    program: ConeProgram,
    projection: Arc<Projection>,
}

impl ResidualJacobian {
    /// J at v; it does not depend on x.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, ResidualJacobian};
    /// // P = 2, A = 1, and v > 0: D = 1, J = [2 1; -1 0]
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[2.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.25],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let jacobian = ResidualJacobian::new(&program, &[0.5])?;
    /// let (mut forward, mut back) = ([0.0; 2], [0.0; 2]);
    /// jacobian.apply(&[1.0, 3.0], &mut forward)?;
    /// jacobian.apply_transpose(&[1.0, 3.0], &mut back)?;
    /// assert_eq!((forward, back), ([5.0, -1.0], [-1.0, 1.0]));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Projection::new`].
    pub fn new(program: &ConeProgram, v: &[f64]) -> Result<Self> {
        check_length("v", program.m(), v.len())?;
        Ok(Self {
            program: program.clone(),
            projection: Arc::new(Projection::new(program.cones(), v)?),
        })
    }

    pub(crate) fn from_parts(program: ConeProgram, projection: Projection) -> Self {
        Self {
            program,
            projection: Arc::new(projection),
        }
    }

    /// n + m.
    pub fn dim(&self) -> usize {
        self.program.n() + self.program.m()
    }
    /// The program.
    pub fn program(&self) -> &ConeProgram {
        &self.program
    }
    /// The projection of v.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// True if a factorization of this J can be refined against the other: the same matrices, the same rows active, and v on curved
    /// blocks within a relative distance. At distance 0 the two are equal.
    pub(crate) fn is_near(&self, other: &Self, distance: f64) -> bool {
        if !self.program.has_matrices_of(&other.program) {
            return false;
        }
        let (from, to) = (&self.projection, &other.projection);
        let v = |p: &Projection, i: usize| p.z()[i] - p.s()[i];
        let is_close = |rows: std::ops::Range<usize>| {
            let (mut change, mut size) = (0.0_f64, 0.0_f64);
            for i in rows {
                change = change.max((v(from, i) - v(to, i)).abs());
                size = size.max(v(to, i).abs());
            }
            change <= distance * size
        };
        from.iter()
            .zip(to.blocks())
            .all(|((a, rows), b)| match (a, b) {
                (Block::Identity(_), Block::Identity(_))
                | (Block::Vanishing(_), Block::Vanishing(_)) => true,
                (Block::Orthant(a), Block::Orthant(b)) => a == b,
                (Block::Diagonal(a), Block::Diagonal(b)) => a == b,
                (Block::SecondOrder(a), Block::SecondOrder(b)) => {
                    a.is_like(b, distance) && is_close(rows)
                }
                (Block::Psd(a), Block::Psd(b)) => a.is_like(b, distance) && is_close(rows),
                (Block::Spectral(a), Block::Spectral(b)) => {
                    let is_same = |(a, b): (&f64, &f64)| (*a > 0.0) == (*b > 0.0);
                    // Of several elements at one point only the same one is equal.
                    let is_like = distance > 0.0 || a == b;
                    is_like && a.lambda.iter().zip(&b.lambda).all(is_same) && is_close(rows)
                }
                _ => false,
            })
    }

    /// Entries of scratch memory of the `*_into` forms.
    pub(crate) fn scratch_len(&self) -> usize {
        self.program.m() + self.projection.scratch_len()
    }

    /// out = J u, both n + m.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`].
    pub fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check_length("u", self.dim(), u.len())?;
        check_length("out", self.dim(), out.len())?;
        self.apply_into(u, out, &mut vec![0.0; self.scratch_len()]);
        Ok(())
    }

    /// out = J'u, both n + m.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`].
    pub fn apply_transpose(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check_length("u", self.dim(), u.len())?;
        check_length("out", self.dim(), out.len())?;
        self.apply_transpose_into(u, out, &mut vec![0.0; self.scratch_len()]);
        Ok(())
    }

    pub(crate) fn apply_into(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        let (p, a) = (self.program.p(), self.program.effective_a());
        let (dx, dv) = u.split_at(self.program.n());
        let (top, bottom) = out.split_at_mut(self.program.n());
        let (dz, scratch) = scratch.split_at_mut(self.program.m());
        self.projection.apply_into(dv, dz, scratch);
        top.fill(0.0);
        p.multiply_symmetric_add(1.0, dx, top);
        a.multiply_transpose_add(1.0, dz, top);
        self.projection.apply_complement_into(dv, bottom, scratch);
        a.multiply_add(-1.0, dx, bottom);
    }

    pub(crate) fn apply_transpose_into(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        let (p, a) = (self.program.p(), self.program.effective_a());
        let (w1, w2) = u.split_at(self.program.n());
        let (top, bottom) = out.split_at_mut(self.program.n());
        let (work, scratch) = scratch.split_at_mut(self.program.m());
        top.fill(0.0);
        p.multiply_symmetric_add(1.0, w1, top);
        a.multiply_transpose_add(-1.0, w2, top);
        // D A w1 + (I - D) w2, summed block by block to keep one m-vector of scratch: first A w1 in `work`.
        work.fill(0.0);
        a.multiply_add(1.0, w1, work);
        self.projection.apply_into(work, bottom, scratch);
        self.projection.apply_complement_into(w2, work, scratch);
        for (b, w) in bottom.iter_mut().zip(work.iter()) {
            *b += w;
        }
    }

    /// J as a sparse matrix by columns; exact zeros of D are left out. Dense blocks of D (PSD) make it large.
    pub fn to_sparse(&self) -> SparseMatrix {
        let (n, m) = (self.program.n(), self.program.m());
        let a = self.program.effective_a();
        let by_rows = transpose(a);
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        let full = full_symmetric(self.program.p());
        for j in 0..n {
            let (rows, entries) = full.column(j);
            indices.extend_from_slice(rows);
            values.extend_from_slice(entries);
            let (rows, entries) = a.column(j);
            indices.extend(rows.iter().map(|i| n + i));
            values.extend(entries.iter().map(|v| -v));
            indptr.push(indices.len());
        }
        // Column n + i: A'(D e_i) above, (I - D) e_i below.
        let mut scratch = vec![0.0; self.projection.scratch_len()];
        let mut top = vec![0.0; n];
        for (block, rows) in self.projection.iter() {
            let d = rows.len();
            let (mut unit, mut de, mut ce) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
            for k in 0..d {
                unit[k] = 1.0;
                block.apply(&unit, &mut de, &mut scratch);
                block.apply_complement(&unit, &mut ce, &mut scratch);
                unit[k] = 0.0;
                let mut touched: Vec<usize> = Vec::new();
                for (l, &x) in de.iter().enumerate().filter(|x| *x.1 != 0.0) {
                    let (columns, entries) = by_rows.column(rows.start + l);
                    for (&j, &v) in columns.iter().zip(entries) {
                        touched.push(j);
                        top[j] += x * v;
                    }
                }
                touched.sort_unstable();
                touched.dedup();
                for j in touched {
                    indices.push(j);
                    values.push(top[j]);
                    top[j] = 0.0;
                }
                for (l, &x) in ce.iter().enumerate().filter(|x| *x.1 != 0.0) {
                    indices.push(n + rows.start + l);
                    values.push(x);
                }
                indptr.push(indices.len());
            }
        }
        SparseMatrix::from_parts(n + m, n + m, indptr, indices, values)
    }

    /// The last row of the embedding's Jacobian without its corner, (-q - 2Px ; -D b), and the corner x'Px.
    fn embedding_row(&self, x: &[f64]) -> (Vec<f64>, f64) {
        let n = self.program.n();
        let mut px = vec![0.0; n];
        self.program.p().multiply_symmetric_add(1.0, x, &mut px);
        let mut row = vec![0.0; self.dim()];
        let mut scratch = vec![0.0; self.projection.scratch_len()];
        self.projection
            .apply_into(self.program.effective_b(), &mut row[n..], &mut scratch);
        for (row, (q, px)) in row.iter_mut().zip(self.program.q().iter().zip(&px)) {
            *row = q + 2.0 * px;
        }
        row.iter_mut().for_each(|x| *x = -*x);
        (row, dot(x, &px))
    }

    /// out = N'(x, v, 1) u for the embedding's Jacobian, both n + m + 1; transposed if asked for.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`].
    pub fn embedding_apply(
        &self,
        x: &[f64],
        u: &[f64],
        out: &mut [f64],
        transpose: bool,
    ) -> Result<()> {
        check_length("x", self.program.n(), x.len())?;
        check_length("u", self.dim() + 1, u.len())?;
        check_length("out", self.dim() + 1, out.len())?;
        let (row, corner) = self.embedding_row(x);
        let column = || self.program.q().iter().chain(self.program.effective_b());
        let (inner, tau) = u.split_at(self.dim());
        let (top, last) = out.split_at_mut(self.dim());
        if transpose {
            self.apply_transpose(inner, top)?;
            for (t, r) in top.iter_mut().zip(&row) {
                *t += tau[0] * r;
            }
            last[0] = column().zip(inner).map(|(c, u)| c * u).sum::<f64>() + corner * tau[0];
        } else {
            self.apply(inner, top)?;
            for (t, c) in top.iter_mut().zip(column()) {
                *t += tau[0] * c;
            }
            last[0] = dot(&row, inner) + corner * tau[0];
        }
        Ok(())
    }

    /// The embedding's Jacobian at (x, v, 1) as a sparse matrix, n + m + 1 square. The point itself is its null vector.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] unless x has n entries.
    pub fn embedding_to_sparse(&self, x: &[f64]) -> Result<SparseMatrix> {
        check_length("x", self.program.n(), x.len())?;
        let (n, m) = (self.program.n(), self.program.m());
        let inner = self.to_sparse();
        let (last_row, corner) = self.embedding_row(x);
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for (j, last) in last_row.into_iter().enumerate() {
            let (rows, entries) = inner.column(j);
            indices.extend_from_slice(rows);
            values.extend_from_slice(entries);
            indices.push(n + m);
            values.push(last);
            indptr.push(indices.len());
        }
        indices.extend(0..=n + m);
        values.extend_from_slice(self.program.q());
        values.extend_from_slice(self.program.effective_b());
        values.push(corner);
        indptr.push(indices.len());
        Ok(SparseMatrix::from_parts(
            n + m + 1,
            n + m + 1,
            indptr,
            indices,
            values,
        ))
    }
}

/// The transpose, by columns.
pub(crate) fn transpose(a: &SparseMatrix) -> SparseMatrix {
    let mut start = vec![0usize; a.rows() + 1];
    for &i in a.pattern().indices() {
        start[i + 1] += 1;
    }
    for i in 0..a.rows() {
        start[i + 1] += start[i];
    }
    let mut next = start.clone();
    let mut indices = vec![0; a.nnz()];
    let mut values = vec![0.0; a.nnz()];
    for j in 0..a.cols() {
        let (rows, entries) = a.column(j);
        for (&i, &v) in rows.iter().zip(entries) {
            indices[next[i]] = j;
            values[next[i]] = v;
            next[i] += 1;
        }
    }
    SparseMatrix::from_parts(a.cols(), a.rows(), start, indices, values)
}

/// Both triangles from the upper one.
pub(crate) fn full_symmetric(upper: &SparseMatrix) -> SparseMatrix {
    let lower = transpose(upper);
    let n = upper.cols();
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        let (rows, entries) = upper.column(j);
        indices.extend_from_slice(rows);
        values.extend_from_slice(entries);
        let (rows, entries) = lower.column(j);
        for (&i, &v) in rows.iter().zip(entries).filter(|x| *x.0 != j) {
            indices.push(i);
            values.push(v);
        }
        indptr.push(indices.len());
    }
    SparseMatrix::from_parts(n, n, indptr, indices, values)
}

/// out = dF for a data tangent: (dP x + dA'z + dq ; -dA x + db), zero on rows without a bound.
pub(crate) fn data_tangent_into(
    program: &ConeProgram,
    x: &[f64],
    z: &[f64],
    tangent: &DataTangent,
    out: &mut [f64],
) {
    let n = program.n();
    let (top, bottom) = out.split_at_mut(n);
    top.copy_from_slice(&tangent.q);
    bottom.copy_from_slice(&tangent.b);
    for_each_entry(program.p(), |k, i, j| {
        let d = tangent.p[k];
        top[j] += d * x[i];
        if i != j {
            top[i] += d * x[j];
        }
    });
    for_each_entry(program.a(), |k, i, j| {
        let d = tangent.a[k];
        top[j] += d * z[i];
        bottom[i] -= d * x[j];
    });
    for &i in program.unbounded() {
        bottom[i] = 0.0;
    }
}

/// Which of the data's gradients are wanted.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::Wanted;
/// // minimize 1/2 x^2 - x subject to x <= 1/4, where only q and b are learned
/// let gradient = derivative.vjp_wanted(&seed, Wanted { p: false, a: false, ..Wanted::default() })?.value;
/// assert!(gradient.p.is_empty() && gradient.a.is_empty());
/// assert!(gradient.q[0].abs() < 1e-12 && (gradient.b[0] - 1.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// P's.
    pub p: bool,
    /// q's.
    pub q: bool,
    /// A's.
    pub a: bool,
    /// b's.
    pub b: bool,
}

impl Default for Wanted {
    /// All of them.
    fn default() -> Self {
        Self {
            p: true,
            q: true,
            a: true,
            b: true,
        }
    }
}

/// The transpose of [`data_tangent_into`]: with w = (w1, w2), dq = w1, db = w2, dA_ij = z_i w1_j - w2_i x_j and
/// dP_ij = w1_i x_j + w1_j x_i (i < j), w1_i x_i (i = j). Unwanted parts are left empty.
pub(crate) fn data_cotangent_into(
    program: &ConeProgram,
    x: &[f64],
    z: &[f64],
    w: &[f64],
    wanted: Wanted,
    out: &mut DataTangent,
) {
    let (w1, w2) = w.split_at(program.n());
    let fit = |wanted: bool, len: usize, v: &mut Vec<f64>| {
        v.clear();
        v.resize(if wanted { len } else { 0 }, 0.0);
    };
    fit(wanted.p, program.p().nnz(), &mut out.p);
    fit(wanted.q, program.n(), &mut out.q);
    fit(wanted.a, program.a().nnz(), &mut out.a);
    fit(wanted.b, program.m(), &mut out.b);
    if wanted.q {
        out.q.copy_from_slice(w1);
    }
    if wanted.b {
        out.b.copy_from_slice(w2);
        for &i in program.unbounded() {
            out.b[i] = 0.0;
        }
    }
    if wanted.p {
        for_each_entry(program.p(), |k, i, j| {
            out.p[k] = if i == j {
                w1[i] * x[i]
            } else {
                w1[i] * x[j] + w1[j] * x[i]
            };
        });
    }
    if wanted.a {
        for_each_entry(program.a(), |k, i, j| {
            out.a[k] = z[i] * w1[j] - w2[i] * x[j];
        });
        if !program.unbounded().is_empty() {
            for_each_entry(program.a(), |k, i, _| {
                if program.unbounded().binary_search(&i).is_ok() {
                    out.a[k] = 0.0;
                }
            });
        }
    }
}

/// Calls f(position in stored order, row, column) for every entry.
pub(crate) fn for_each_entry(matrix: &SparseMatrix, mut f: impl FnMut(usize, usize, usize)) {
    let pattern = matrix.pattern();
    for j in 0..matrix.cols() {
        for c in pattern.indptr()[j]..pattern.indptr()[j + 1] {
            f(pattern.stored_position(c), pattern.indices()[c], j);
        }
    }
}
