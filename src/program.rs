//! The problem: minimize 1/2 x'Px + q'x subject to Ax + s = b, s in K.

use crate::cone::{self, Cone};
use crate::error::{Error, Result};
use crate::memory::{MOST_FACTOR_BYTES, check_bytes};
use crate::pattern::{SparseMatrix, check_finite};
use faer::linalg::cholesky::llt;
use faer::sparse::linalg::cholesky::{CholeskySymbolicParams, SymmetricOrdering};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use std::sync::Arc;

/// A right-hand side of this size or more on an inequality row means "no bound", as in Clarabel.
pub const NO_BOUND: f64 = 1e20;

/// How negative an eigenvalue of P, scaled to unit diagonal, may be and still count as rounding.
const CONVEXITY_SLACK: f64 = 1e-10;

/// Up to this order a P with few zeros is checked as a dense matrix.
const DENSE_CHECK: usize = 4096;

/// Compressed columns as plain slices: column pointers, row indices, values.
///
/// ```
/// use conediff::{Cone, ConeProgram, Csc};
/// // P = [2 1; 1 3] by its upper triangle; A = [1 1]
/// let p: Csc<'_> = (&[0, 1, 3], &[0, 0, 1], &[2.0, 1.0, 3.0]);
/// let a: Csc<'_> = (&[0, 1, 2], &[0, 0], &[1.0, 1.0]);
/// let program = ConeProgram::from_csc(p, vec![0.0, 0.0], a, vec![1.0], vec![Cone::Zero(1)])?;
/// assert_eq!((program.n(), program.m(), program.p().nnz()), (2, 1, 3));
/// # Ok::<(), conediff::Error>(())
/// ```
pub type Csc<'a> = (&'a [usize], &'a [usize], &'a [f64]);

/// A cone program. Immutable; copies and the `with_*` forms share what they do not change.
///
/// P is n x n, positive semidefinite, its upper triangle stored; A is m x n; the cones' rows add up to m. A row of a
/// nonnegative cone with b >= 1e20 (or infinity) is no constraint: its z is 0, its s is b, and every derivative
/// with respect to its data is zero.
///
/// ```
/// use conediff::{Cone, ConeProgram};
/// // minimize 1/2 x^2 - x subject to x <= 3
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![3.0],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// assert_eq!((program.n(), program.m()), (1, 1));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConeProgram {
    p: SparseMatrix,
    q: Arc<[f64]>,
    a: SparseMatrix,
    b: Arc<[f64]>,
    cones: Arc<[Cone]>,
    /// Rows without a bound, ascending.
    unbounded: Arc<[usize]>,
    /// A and b with those rows replaced by 0'x + s = 1; the same objects as `a`, `b` if there are none.
    effective_a: SparseMatrix,
    effective_b: Arc<[f64]>,
}

impl ConeProgram {
    /// From sprs matrices, each by columns or by rows. `p` holds the upper triangle of P.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::Pattern`], [`Error::NotUpperTriangular`], [`Error::NotConvex`],
    /// [`Error::NonFinite`], [`Error::Bound`], [`Error::Cone`], [`Error::ConeRows`].
    pub fn new(
        p: &sprs::CsMat<f64>,
        q: Vec<f64>,
        a: &sprs::CsMat<f64>,
        b: Vec<f64>,
        cones: Vec<Cone>,
    ) -> Result<Self> {
        Self::from_matrices(
            SparseMatrix::from_sprs("P", p)?,
            q,
            SparseMatrix::from_sprs("A", a)?,
            b,
            cones,
        )
    }

    /// Like [`ConeProgram::new`] with all of P given. It must be symmetric to 1e-12 relative to its largest entry;
    /// the upper triangle is kept, and P's gradient comes back on that triangle, by columns.
    ///
    /// # Errors
    /// [`Error::NotSymmetric`] and those of [`ConeProgram::new`].
    pub fn from_symmetric(
        p: &sprs::CsMat<f64>,
        q: Vec<f64>,
        a: &sprs::CsMat<f64>,
        b: Vec<f64>,
        cones: Vec<Cone>,
    ) -> Result<Self> {
        let full = SparseMatrix::from_sprs("P", p)?;
        Self::from_matrices(
            upper_triangle(&full)?,
            q,
            SparseMatrix::from_sprs("A", a)?,
            b,
            cones,
        )
    }

    /// From compressed columns as plain slices; n and m are the lengths of `q` and `b`. `p` holds the upper triangle.
    ///
    /// # Errors
    /// Those of [`ConeProgram::new`].
    pub fn from_csc(
        p: Csc<'_>,
        q: Vec<f64>,
        a: Csc<'_>,
        b: Vec<f64>,
        cones: Vec<Cone>,
    ) -> Result<Self> {
        let (n, m) = (q.len(), b.len());
        Self::from_matrices(
            SparseMatrix::from_csc("P", n, n, p.0, p.1, p.2)?,
            q,
            SparseMatrix::from_csc("A", m, n, a.0, a.1, a.2)?,
            b,
            cones,
        )
    }

    /// From validated matrices. `p` holds the upper triangle.
    ///
    /// # Errors
    /// Those of [`ConeProgram::new`].
    pub fn from_matrices(
        p: SparseMatrix,
        q: Vec<f64>,
        a: SparseMatrix,
        b: Vec<f64>,
        cones: Vec<Cone>,
    ) -> Result<Self> {
        let (n, m) = (q.len(), b.len());
        for (what, expected, found) in [
            ("rows of P", n, p.rows()),
            ("columns of P", n, p.cols()),
            ("columns of A", n, a.cols()),
            ("rows of A", m, a.rows()),
        ] {
            if expected != found {
                return Err(Error::Dimension {
                    what,
                    expected,
                    found,
                });
            }
        }
        cone::validate(&cones, m)?;
        check_upper(&p)?;
        check_convex(&p)?;
        check_finite("q", &q)?;
        let unbounded = unbounded_rows(&b, &cones)?;
        let b: Arc<[f64]> = b.into();
        let (effective_a, effective_b) = effective(&a, &b, &unbounded);
        Ok(Self {
            p,
            q: q.into(),
            a,
            b,
            cones: cones.into(),
            unbounded: unbounded.into(),
            effective_a,
            effective_b,
        })
    }

    /// The same program with another q.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn with_q(&self, q: Vec<f64>) -> Result<Self> {
        check_length("q", self.n(), q.len())?;
        check_finite("q", &q)?;
        Ok(Self {
            q: q.into(),
            ..self.clone()
        })
    }

    /// The same program with another b.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::Bound`].
    pub fn with_b(&self, b: Vec<f64>) -> Result<Self> {
        check_length("b", self.m(), b.len())?;
        let unbounded = unbounded_rows(&b, &self.cones)?;
        let b: Arc<[f64]> = b.into();
        let (effective_a, effective_b) = effective(&self.a, &b, &unbounded);
        Ok(Self {
            b,
            unbounded: unbounded.into(),
            effective_a,
            effective_b,
            ..self.clone()
        })
    }

    /// The same structure with other values of P and A, in the caller's stored order.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::NotConvex`].
    pub fn with_values(&self, p: &[f64], a: &[f64]) -> Result<Self> {
        let p = self.p.with_values("P", p)?;
        check_convex(&p)?;
        let a = self.a.with_values("A", a)?;
        let (effective_a, effective_b) = effective(&a, &self.b, &self.unbounded);
        Ok(Self {
            p,
            a,
            effective_a,
            effective_b,
            ..self.clone()
        })
    }

    /// The same structure with other values where they are given, in the caller's stored order. What stays is shared.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::NotConvex`], [`Error::Bound`].
    pub fn with_data(
        &self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<Self> {
        let mut program = self.clone();
        if let Some(p) = p {
            program.p = self.p.with_values("P", p)?;
            check_convex(&program.p)?;
        }
        if let Some(q) = q {
            check_length("q", self.n(), q.len())?;
            check_finite("q", q)?;
            program.q = q.into();
        }
        if let Some(b) = b {
            check_length("b", self.m(), b.len())?;
            program.unbounded = unbounded_rows(b, &self.cones)?.into();
            program.b = b.into();
        }
        if let Some(a) = a {
            program.a = self.a.with_values("A", a)?;
        }
        if a.is_some() || b.is_some() {
            let same_rows = program.unbounded == self.unbounded;
            let (effective_a, effective_b) = effective(&program.a, &program.b, &program.unbounded);
            program.effective_b = effective_b;
            if a.is_some() || !same_rows {
                program.effective_a = effective_a;
            }
        }
        Ok(program)
    }

    /// True if the other program has the same patterns and cones.
    pub fn has_structure_of(&self, other: &Self) -> bool {
        let same = |a: &SparseMatrix, b: &SparseMatrix| {
            Arc::ptr_eq(a.pattern(), b.pattern()) || a.pattern() == b.pattern()
        };
        same(&self.p, &other.p) && same(&self.a, &other.a) && self.cones == other.cones
    }

    /// The program moved by `step` along a data tangent in stored order, for difference quotients: P is not checked for
    /// convexity, since a small step may leave the cone of convex programs while the solution map goes on.
    pub(crate) fn moved(&self, step: f64, p: &[f64], q: &[f64], a: &[f64], b: &[f64]) -> Self {
        let shift = |matrix: &SparseMatrix, d: &[f64]| {
            let mut by_column = vec![0.0; d.len()];
            matrix.pattern().to_columns(d, &mut by_column);
            for (x, v) in by_column.iter_mut().zip(matrix.values()) {
                *x = v + step * *x;
            }
            matrix.with_column_values(by_column)
        };
        let b: Arc<[f64]> = self.b.iter().zip(b).map(|(x, d)| x + step * d).collect();
        let a = shift(&self.a, a);
        let (effective_a, effective_b) = effective(&a, &b, &self.unbounded);
        Self {
            p: shift(&self.p, p),
            q: self.q.iter().zip(q).map(|(x, d)| x + step * d).collect(),
            a,
            b,
            effective_a,
            effective_b,
            ..self.clone()
        }
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.q.len()
    }
    /// Number of rows.
    pub fn m(&self) -> usize {
        self.b.len()
    }
    /// The stored upper triangle of P.
    pub fn p(&self) -> &SparseMatrix {
        &self.p
    }
    /// The linear cost, n.
    pub fn q(&self) -> &[f64] {
        &self.q
    }
    /// The constraint matrix, m x n.
    pub fn a(&self) -> &SparseMatrix {
        &self.a
    }
    /// The right-hand side, m.
    pub fn b(&self) -> &[f64] {
        &self.b
    }
    /// The cones, in row order.
    pub fn cones(&self) -> &[Cone] {
        &self.cones
    }
    /// True if the other program shares P's and A's values, not only equal ones.
    pub(crate) fn has_matrices_of(&self, other: &Self) -> bool {
        self.p.is_same(&other.p) && self.effective_a.is_same(&other.effective_a)
    }

    /// Rows without a bound (b >= 1e20 on a nonnegative row), ascending.
    pub fn unbounded(&self) -> &[usize] {
        &self.unbounded
    }
    /// A with the unbounded rows zeroed.
    pub(crate) fn effective_a(&self) -> &SparseMatrix {
        &self.effective_a
    }
    /// b with the unbounded rows set to 1.
    pub(crate) fn effective_b(&self) -> &[f64] {
        &self.effective_b
    }

    /// 1/2 x'Px + q'x.
    ///
    /// # Errors
    /// [`Error::Dimension`] if `x` has not n entries.
    pub fn objective(&self, x: &[f64]) -> Result<f64> {
        check_length("x", self.n(), x.len())?;
        let mut px = vec![0.0; self.n()];
        self.p.multiply_symmetric_add(0.5, x, &mut px);
        Ok((0..self.n()).map(|j| (px[j] + self.q[j]) * x[j]).sum())
    }
}

/// [`Error::Dimension`] unless the lengths agree.
pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Dimension {
            what,
            expected,
            found,
        })
    }
}

fn check_upper(p: &SparseMatrix) -> Result<()> {
    for column in 0..p.cols() {
        if let Some(&row) = p.column(column).0.iter().find(|&&i| i > column) {
            return Err(Error::NotUpperTriangular { row, column });
        }
    }
    Ok(())
}

/// The upper triangle of a full matrix, checked for symmetry.
fn upper_triangle(full: &SparseMatrix) -> Result<SparseMatrix> {
    check_length("columns of P", full.rows(), full.cols())?;
    let n = full.cols();
    let at = |i: usize, j: usize| {
        let (rows, values) = full.column(j);
        rows.binary_search(&i).map_or(0.0, |k| values[k])
    };
    let largest = full.values().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
    for column in 0..n {
        let (rows, values) = full.column(column);
        for (&row, &value) in rows.iter().zip(values) {
            let mirror = at(column, row);
            if (value - mirror).abs() > 1e-12 * largest {
                return Err(Error::NotSymmetric {
                    row,
                    column,
                    value,
                    mirror,
                });
            }
            if row <= column {
                indices.push(row);
                data.push(value);
            }
        }
        indptr.push(indices.len());
    }
    Ok(SparseMatrix::from_parts(n, n, indptr, indices, data))
}

/// Cholesky of P scaled to unit diagonal and shifted by a rounding allowance: fails exactly when P has an eigenvalue
/// below about -1e-10 in that scaling. O(fill) time, once for each P.
fn check_convex(p: &SparseMatrix) -> Result<()> {
    let n = p.cols();
    let mut diagonal = vec![0.0; n];
    for (j, d) in diagonal.iter_mut().enumerate() {
        let (rows, values) = p.column(j);
        if let Some(k) = rows.iter().position(|&i| i == j) {
            *d = values[k];
        }
        if *d < 0.0 {
            return Err(Error::NotConvex {
                index: j,
                value: *d,
                reason: "negative diagonal entry",
            });
        }
    }
    let mut indptr = vec![0];
    let (mut indices, mut data) = (Vec::new(), Vec::new());
    let mut off_diagonal = false;
    for j in 0..n {
        let (rows, values) = p.column(j);
        for (&i, &v) in rows.iter().zip(values) {
            if i == j || v == 0.0 {
                continue;
            }
            if diagonal[i] == 0.0 || diagonal[j] == 0.0 {
                return Err(Error::NotConvex {
                    index: if diagonal[j] == 0.0 { j } else { i },
                    value: v,
                    reason: "zero diagonal beside a nonzero entry",
                });
            }
            off_diagonal = true;
            indices.push(i);
            data.push(v / (diagonal[i].sqrt() * diagonal[j].sqrt()));
        }
        indices.push(j);
        data.push(1.0 + CONVEXITY_SLACK);
        indptr.push(indices.len());
    }
    if !off_diagonal {
        return Ok(());
    }
    let breakdown = Error::Factorization {
        method: "Cholesky of P",
    };
    if n <= DENSE_CHECK && 4 * data.len() > n * n {
        return check_convex_dense(n, &indptr, &indices, &data, &diagonal);
    }
    let matrix = SparseColMatRef::new(
        SymbolicSparseColMatRef::new_checked(n, n, &indptr, None, &indices),
        data.as_slice(),
    );
    let symbolic = faer::sparse::linalg::cholesky::factorize_symbolic_cholesky(
        matrix.symbolic(),
        faer::Side::Upper,
        SymmetricOrdering::Amd,
        CholeskySymbolicParams::default(),
    )
    .map_err(|_| breakdown)?;
    let entries = symbolic.len_val();
    check_bytes(
        "the Cholesky factor of P",
        8,
        entries as u128,
        MOST_FACTOR_BYTES,
    )?;
    let mut factor = vec![0.0; entries];
    let mut memory = faer::dyn_stack::MemBuffer::new(
        symbolic.factorize_numeric_llt_scratch::<f64>(faer::Par::Seq, Default::default()),
    );
    let outcome = symbolic.factorize_numeric_llt(
        &mut factor,
        matrix,
        faer::Side::Upper,
        Default::default(),
        faer::Par::Seq,
        faer::dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    );
    match outcome {
        Ok(_) => Ok(()),
        Err(llt::factor::LltError::NonPositivePivot { index }) => {
            let index = match symbolic.perm() {
                Some(perm) => perm.arrays().0.get(index).copied().unwrap_or(index),
                None => index,
            };
            Err(Error::NotConvex {
                index,
                value: diagonal.get(index).copied().unwrap_or(0.0),
                reason: "Cholesky factorization meets a negative pivot",
            })
        }
    }
}

/// The same for a P with few zeros, on a dense matrix.
fn check_convex_dense(
    n: usize,
    indptr: &[usize],
    indices: &[usize],
    data: &[f64],
    diagonal: &[f64],
) -> Result<()> {
    let mut lower = vec![0.0; n * n];
    for j in 0..n {
        for k in indptr[j]..indptr[j + 1] {
            lower[indices[k] * n + j] = data[k];
        }
    }
    let needed =
        llt::factor::cholesky_in_place_scratch::<f64>(n, faer::Par::Seq, Default::default());
    let mut memory = faer::dyn_stack::MemBuffer::new(needed);
    let outcome = llt::factor::cholesky_in_place(
        faer::MatMut::from_column_major_slice_mut(&mut lower, n, n),
        Default::default(),
        faer::Par::Seq,
        faer::dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    );
    match outcome {
        Ok(_) => Ok(()),
        Err(llt::factor::LltError::NonPositivePivot { index }) => Err(Error::NotConvex {
            index,
            value: diagonal.get(index).copied().unwrap_or(0.0),
            reason: "Cholesky factorization meets a negative pivot",
        }),
    }
}

/// Checks b and lists the rows of nonnegative cones that carry no bound.
fn unbounded_rows(b: &[f64], cones: &[Cone]) -> Result<Vec<usize>> {
    let mut rows = Vec::new();
    for (range, cone) in cone::row_ranges(cones).into_iter().zip(cones) {
        for row in range {
            let value = b[row];
            if matches!(cone, Cone::Nonnegative(_)) && value >= NO_BOUND {
                rows.push(row);
            } else if matches!(cone, Cone::Nonnegative(_)) && value <= -NO_BOUND {
                return Err(Error::Bound { row, value });
            } else if !value.is_finite() {
                return Err(Error::NonFinite {
                    what: "b",
                    index: row,
                    value,
                });
            }
        }
    }
    Ok(rows)
}

fn effective(a: &SparseMatrix, b: &Arc<[f64]>, unbounded: &[usize]) -> (SparseMatrix, Arc<[f64]>) {
    if unbounded.is_empty() {
        return (a.clone(), Arc::clone(b));
    }
    let is_free = |i: &usize| unbounded.binary_search(i).is_ok();
    let values = a
        .pattern()
        .indices()
        .iter()
        .zip(a.values())
        .map(|(i, &v)| if is_free(i) { 0.0 } else { v })
        .collect();
    let b = b
        .iter()
        .enumerate()
        .map(|(i, &v)| if is_free(&i) { 1.0 } else { v })
        .collect();
    (a.with_column_values(values), b)
}
