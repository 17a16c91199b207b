//! Validated compressed sparse matrices whose structure is shared.
//!
//! Inside, every matrix is compressed by columns with sorted rows. A matrix given by rows keeps the map from its stored
//! order, so that gradients go back in the order the caller used.

use crate::error::{Error, Result};
use crate::memory::check_room;
use std::ops::Range;
use std::sync::Arc;

/// Positions of the stored entries, compressed by columns, rows sorted and unique in each column.
///
/// ```
/// use conediff::{Pattern, SparseMatrix};
/// // [1 2; 0 3] by rows: gradients come back as stored there, (0, 0), (0, 1), (1, 1)
/// let a = SparseMatrix::from_csr("A", 2, 2, &[0, 2, 3], &[0, 1, 1], &[1.0, 2.0, 3.0])?;
/// let pattern: &Pattern = a.pattern();
/// let gradient = [10.0, 20.0, 30.0];
/// assert_eq!(pattern.position(0, 1).map(|k| gradient[k]), Some(20.0));
/// assert_eq!(pattern.position(1, 0), None);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, PartialEq)]
pub struct Pattern {
    rows: usize,
    cols: usize,
    indptr: Vec<usize>,
    indices: Vec<usize>,
    /// `slot[k]` is the position by columns of the caller's k-th entry; `None` when the orders agree.
    slot: Option<Vec<usize>>,
    /// The inverse of `slot`.
    stored: Option<Vec<usize>>,
}

impl Pattern {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Column pointers, cols + 1.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }
    /// Row indices, one per entry.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
    /// Stored entries, explicit zeros included.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Copies values in column order to the caller's stored order.
    pub(crate) fn to_stored(&self, by_column: &[f64], stored: &mut [f64]) {
        match &self.slot {
            None => stored.copy_from_slice(by_column),
            Some(slot) => {
                for (out, &k) in stored.iter_mut().zip(slot) {
                    *out = by_column[k];
                }
            }
        }
    }

    /// Copies values in the caller's stored order to column order.
    pub(crate) fn to_columns(&self, stored: &[f64], by_column: &mut [f64]) {
        match &self.slot {
            None => by_column.copy_from_slice(stored),
            Some(slot) => {
                for (x, &k) in stored.iter().zip(slot) {
                    by_column[k] = *x;
                }
            }
        }
    }

    /// Row pointers and columns in the caller's stored order, of a matrix given by rows.
    pub(crate) fn by_rows(&self) -> Option<(Vec<usize>, Vec<usize>)> {
        let slot = self.slot.as_ref()?;
        let mut pointers = vec![0usize; self.rows + 1];
        for &i in &self.indices {
            pointers[i + 1] += 1;
        }
        for i in 0..self.rows {
            pointers[i + 1] += pointers[i];
        }
        let mut column = Vec::with_capacity(self.nnz());
        for j in 0..self.cols {
            column.extend(std::iter::repeat_n(j, self.indptr[j + 1] - self.indptr[j]));
        }
        Some((pointers, slot.iter().map(|&k| column[k]).collect()))
    }

    /// Position in the caller's stored order of entry (row, column), for reading one entry's gradient; `None` if it is not
    /// stored.
    pub fn position(&self, row: usize, column: usize) -> Option<usize> {
        let range = *self.indptr.get(column)?..*self.indptr.get(column + 1)?;
        let at = self.indices[range.clone()].binary_search(&row).ok()?;
        Some(self.stored_position(range.start + at))
    }

    /// Position in the caller's order of the entry at position `c` by columns.
    pub(crate) fn stored_position(&self, c: usize) -> usize {
        self.stored.as_ref().map_or(c, |stored| stored[c])
    }
}

/// A sparse matrix: a shared [`Pattern`] and one finite value per entry.
#[derive(Debug, Clone)]
pub struct SparseMatrix {
    pattern: Arc<Pattern>,
    /// By columns.
    values: Arc<[f64]>,
}

/// Checks pointers and indices of a compressed structure with `outer` vectors over `inner` positions.
fn check_compressed(
    matrix: &'static str,
    outer: usize,
    inner: usize,
    indptr: &[usize],
    indices: &[usize],
    data: &[f64],
) -> Result<()> {
    if indptr.len() != outer.saturating_add(1) {
        return Err(Error::Dimension {
            what: "indptr",
            expected: outer.saturating_add(1),
            found: indptr.len(),
        });
    }
    let fail = |outer: usize, reason: String| {
        Err(Error::Pattern {
            matrix,
            outer,
            reason,
        })
    };
    if indptr[0] != 0 {
        return fail(0, format!("indptr starts at {}, not at 0", indptr[0]));
    }
    for k in 0..outer {
        let (start, end) = (indptr[k], indptr[k + 1]);
        if end < start || end > indices.len() {
            return fail(
                k,
                format!(
                    "indptr goes from {start} to {end} with {} indices",
                    indices.len()
                ),
            );
        }
        for t in start..end {
            if indices[t] >= inner {
                return fail(k, format!("index {} is not below {inner}", indices[t]));
            }
            if t > start && indices[t] == indices[t - 1] {
                return fail(k, format!("index {} appears twice", indices[t]));
            }
            if t > start && indices[t] < indices[t - 1] {
                return fail(
                    k,
                    format!("index {} follows {}", indices[t], indices[t - 1]),
                );
            }
        }
    }
    if indptr[outer] != indices.len() {
        return fail(
            outer,
            format!(
                "indptr ends at {} with {} indices",
                indptr[outer],
                indices.len()
            ),
        );
    }
    if data.len() != indices.len() {
        return Err(Error::Dimension {
            what: "values",
            expected: indices.len(),
            found: data.len(),
        });
    }
    check_finite(matrix, data)
}

/// [`Error::NonFinite`] at the first NaN or infinity.
pub(crate) fn check_finite(what: &'static str, data: &[f64]) -> Result<()> {
    match data.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::NonFinite {
            what,
            index,
            value: data[index],
        }),
        None => Ok(()),
    }
}

impl SparseMatrix {
    /// From compressed columns; rows sorted and unique in each column. Explicit zeros stay.
    ///
    /// `name` is used in errors ("P", "A").
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::Pattern`], [`Error::NonFinite`].
    pub fn from_csc(
        name: &'static str,
        rows: usize,
        cols: usize,
        indptr: &[usize],
        indices: &[usize],
        data: &[f64],
    ) -> Result<Self> {
        check_compressed(name, cols, rows, indptr, indices, data)?;
        Ok(Self {
            pattern: Arc::new(Pattern {
                rows,
                cols,
                indptr: indptr.to_vec(),
                indices: indices.to_vec(),
                slot: None,
                stored: None,
            }),
            values: data.into(),
        })
    }

    /// From compressed rows; columns sorted and unique in each row. Gradients come back in this order.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::Pattern`], [`Error::NonFinite`]; [`Error::TooLarge`] for more columns than memory.
    pub fn from_csr(
        name: &'static str,
        rows: usize,
        cols: usize,
        indptr: &[usize],
        indices: &[usize],
        data: &[f64],
    ) -> Result<Self> {
        check_compressed(name, rows, cols, indptr, indices, data)?;
        // Nothing in the input is as long as the columns: a number alone must not exhaust the memory.
        check_room("column pointers", 8 * (cols as u128 + 1))?;
        let mut start = vec![0usize; cols + 1];
        for &j in indices {
            start[j + 1] += 1;
        }
        for j in 0..cols {
            start[j + 1] += start[j];
        }
        let mut next = start.clone();
        let mut by_column = vec![0usize; indices.len()];
        let mut values = vec![0.0; indices.len()];
        let mut slot = vec![0usize; indices.len()];
        let mut stored = vec![0usize; indices.len()];
        for i in 0..rows {
            for t in indptr[i]..indptr[i + 1] {
                let c = next[indices[t]];
                next[indices[t]] += 1;
                by_column[c] = i;
                values[c] = data[t];
                slot[t] = c;
                stored[c] = t;
            }
        }
        Ok(Self {
            pattern: Arc::new(Pattern {
                rows,
                cols,
                indptr: start,
                indices: by_column,
                slot: Some(slot),
                stored: Some(stored),
            }),
            values: values.into(),
        })
    }

    /// From an sprs matrix, by columns or by rows.
    ///
    /// # Errors
    /// [`Error::Pattern`], [`Error::NonFinite`].
    pub fn from_sprs(name: &'static str, matrix: &sprs::CsMat<f64>) -> Result<Self> {
        let indptr = matrix.indptr().to_proper().to_vec();
        let make = if matrix.is_csc() {
            Self::from_csc
        } else {
            Self::from_csr
        };
        make(
            name,
            matrix.rows(),
            matrix.cols(),
            &indptr,
            matrix.indices(),
            matrix.data(),
        )
    }

    /// From parts made inside the crate, already in column order.
    pub(crate) fn from_parts(
        rows: usize,
        cols: usize,
        indptr: Vec<usize>,
        indices: Vec<usize>,
        values: Vec<f64>,
    ) -> Self {
        Self {
            pattern: Arc::new(Pattern {
                rows,
                cols,
                indptr,
                indices,
                slot: None,
                stored: None,
            }),
            values: values.into(),
        }
    }

    /// The structure.
    ///
    /// ```
    /// use conediff::{Pattern, SparseMatrix};
    /// let a = SparseMatrix::from_csr("A", 2, 2, &[0, 2, 3], &[0, 1, 1], &[1.0, 2.0, 3.0])?;
    /// let pattern: &Pattern = a.pattern();
    /// // By columns inside; the caller's order, here by rows, is kept for gradients.
    /// assert_eq!((pattern.indptr(), pattern.indices()), ([0, 1, 3].as_slice(), [0, 0, 1].as_slice()));
    /// assert_eq!((pattern.position(0, 1), pattern.position(1, 0)), (Some(1), None));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn pattern(&self) -> &Arc<Pattern> {
        &self.pattern
    }
    /// Rows.
    pub fn rows(&self) -> usize {
        self.pattern.rows
    }
    /// Columns.
    pub fn cols(&self) -> usize {
        self.pattern.cols
    }
    /// Stored entries.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }
    /// The values by columns (the caller's order if the matrix was given by columns).
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// The values in the caller's stored order.
    pub fn stored_values(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.nnz()];
        self.pattern.to_stored(&self.values, &mut out);
        out
    }

    /// The same structure with other values, given in the caller's stored order.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn with_values(&self, name: &'static str, stored: &[f64]) -> Result<Self> {
        if stored.len() != self.nnz() {
            return Err(Error::Dimension {
                what: name,
                expected: self.nnz(),
                found: stored.len(),
            });
        }
        check_finite(name, stored)?;
        let mut values = vec![0.0; stored.len()];
        self.pattern.to_columns(stored, &mut values);
        Ok(self.with_column_values(values))
    }

    /// The same structure with other values by columns.
    pub(crate) fn with_column_values(&self, values: Vec<f64>) -> Self {
        Self {
            pattern: Arc::clone(&self.pattern),
            values: values.into(),
        }
    }

    /// True if the other matrix is this one, not only an equal one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }

    /// The entries of column j: rows and values.
    #[inline]
    pub(crate) fn column(&self, j: usize) -> (&[usize], &[f64]) {
        let range = self.pattern.indptr[j]..self.pattern.indptr[j + 1];
        (&self.pattern.indices[range.clone()], &self.values[range])
    }

    /// y += alpha M x with the given values on this pattern.
    pub(crate) fn multiply_add(&self, alpha: f64, x: &[f64], y: &mut [f64]) {
        for (j, xj) in x.iter().enumerate() {
            let xj = alpha * xj;
            if xj != 0.0 {
                let (rows, values) = self.column(j);
                scatter(rows, values, xj, y);
            }
        }
    }

    /// y += alpha M'x.
    pub(crate) fn multiply_transpose_add(&self, alpha: f64, x: &[f64], y: &mut [f64]) {
        for (j, yj) in y.iter_mut().enumerate() {
            let (rows, values) = self.column(j);
            *yj += alpha * gather(rows, values, x);
        }
    }

    /// y += alpha S x where S is the symmetric matrix whose upper triangle this is.
    pub(crate) fn multiply_symmetric_add(&self, alpha: f64, x: &[f64], y: &mut [f64]) {
        for j in 0..self.cols() {
            let (rows, values) = self.column(j);
            scatter(rows, values, alpha * x[j], y);
            let above = rows.len() - usize::from(rows.last() == Some(&j));
            let sum = gather(&rows[..above], &values[..above], x);
            y[j] += alpha * sum;
        }
    }

    /// y += |M| |x|.
    pub(crate) fn absolute_multiply_add(&self, x: &[f64], y: &mut [f64]) {
        self.sum_terms(x, y, f64::abs);
    }

    /// y += |M'| |x|.
    pub(crate) fn absolute_multiply_transpose_add(&self, x: &[f64], y: &mut [f64]) {
        self.sum_terms_transpose(x, y, f64::abs);
    }

    /// y += |S| |x| where S is the symmetric matrix whose upper triangle this is.
    pub(crate) fn absolute_multiply_symmetric_add(&self, x: &[f64], y: &mut [f64]) {
        self.sum_terms_symmetric(x, y, f64::abs);
    }

    /// y_i += the sum over j of f(M_ij x_j).
    pub(crate) fn sum_terms(&self, x: &[f64], y: &mut [f64], f: impl Fn(f64) -> f64) {
        for (j, xj) in x.iter().enumerate() {
            let (rows, values) = self.column(j);
            for_each(rows, values, *xj, y, |y, v, x| *y += f(v * x));
        }
    }

    /// y_j += the sum over i of f(M_ij x_i).
    pub(crate) fn sum_terms_transpose(&self, x: &[f64], y: &mut [f64], f: impl Fn(f64) -> f64) {
        for (j, yj) in y.iter_mut().enumerate() {
            let (rows, values) = self.column(j);
            *yj += gather_terms(rows, values, x, &f);
        }
    }

    /// y_i += the sum over j of f(S_ij x_j) where S is the symmetric matrix whose upper triangle this is.
    pub(crate) fn sum_terms_symmetric(&self, x: &[f64], y: &mut [f64], f: impl Fn(f64) -> f64) {
        self.sum_terms(x, y, &f);
        for (j, yj) in y.iter_mut().enumerate() {
            let (rows, values) = self.column(j);
            let above = rows.len() - usize::from(rows.last() == Some(&j));
            *yj += gather_terms(&rows[..above], &values[..above], x, &f);
        }
    }
}

/// The range the sorted rows fill without a gap: columns of dense matrices, which run at the speed of dense ones.
#[inline]
pub(crate) fn contiguous(rows: &[usize]) -> Option<Range<usize>> {
    let (first, last) = (*rows.first()?, *rows.last()?);
    (last - first + 1 == rows.len() && rows.len() >= 4).then_some(first..last + 1)
}

/// y += alpha times one sparse column.
#[inline]
pub(crate) fn scatter(rows: &[usize], values: &[f64], alpha: f64, y: &mut [f64]) {
    for_each(rows, values, alpha, y, |y, v, alpha| *y += v * alpha);
}

/// y += alpha times the absolute values of one sparse column.
pub(crate) fn scatter_absolute(rows: &[usize], values: &[f64], alpha: f64, y: &mut [f64]) {
    for_each(rows, values, alpha, y, |y, v, alpha| *y += v.abs() * alpha);
}

#[inline]
fn for_each(
    rows: &[usize],
    values: &[f64],
    alpha: f64,
    y: &mut [f64],
    f: impl Fn(&mut f64, f64, f64),
) {
    match contiguous(rows) {
        Some(range) => {
            for (y, &v) in y[range].iter_mut().zip(values) {
                f(y, v, alpha);
            }
        }
        None => {
            for (&i, &v) in rows.iter().zip(values) {
                f(&mut y[i], v, alpha);
            }
        }
    }
}

/// The inner product of one sparse column with x.
#[inline]
pub(crate) fn gather(rows: &[usize], values: &[f64], x: &[f64]) -> f64 {
    match contiguous(rows) {
        Some(range) => sum(values, &x[range], |v, x| v * x),
        None => rows.iter().zip(values).map(|(&i, v)| v * x[i]).sum(),
    }
}

/// The sum of |v_i|.
pub(crate) fn sum_absolute(values: &[f64]) -> f64 {
    sum(values, values, |v, _| v.abs())
}

/// The sum over one sparse column of f(v_i x_i).
#[inline]
fn gather_terms(rows: &[usize], values: &[f64], x: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    match contiguous(rows) {
        Some(range) => sum(values, &x[range], |v, x| f(v * x)),
        None => rows.iter().zip(values).map(|(&i, v)| f(v * x[i])).sum(),
    }
}

/// The inner product of two vectors of one length, in eight sums that run side by side.
pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// The sum of f(a_i, b_i) in eight interleaved parts, which the compiler can vectorize.
fn sum(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut parts = [0.0; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for k in 0..8 {
            parts[k] += f(a[k], b[k]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
    parts.iter().sum::<f64>() + rest
}
