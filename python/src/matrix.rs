//! The caller's matrices: A as it is, P as the triangle the library keeps.

use crate::error::exception;
use conediff::{Error, Pattern, SparseMatrix};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use std::sync::Arc;

/// A compressed sparse matrix as Python hands it over: rows, columns, whether by columns, pointers, indices, values.
pub type Compressed<'py> = (
    usize,
    usize,
    bool,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, f64>,
);

/// The matrix, in the caller's stored order.
pub fn sparse(
    py: Python<'_>,
    name: &'static str,
    matrix: &Compressed<'_>,
) -> PyResult<SparseMatrix> {
    let (rows, cols, is_csc, indptr, indices, values) = matrix;
    let make = if *is_csc {
        SparseMatrix::from_csc
    } else {
        SparseMatrix::from_csr
    };
    let (indptr, indices) = (numbers(indptr)?, numbers(indices)?);
    make(name, *rows, *cols, &indptr, &indices, values.as_slice()?).map_err(|e| exception(py, &e))
}

/// Negative indices become numbers that no matrix has.
fn numbers(indices: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<usize>> {
    let numbers = indices.as_slice()?.iter();
    Ok(numbers
        .map(|i| usize::try_from(*i).unwrap_or(usize::MAX))
        .collect())
}

/// How far P may be from its mirror image, relative to its largest entry: x'Px is that of (P + P')/2 whatever the rest, but a triangle
/// given for the whole would be halved off its diagonal.
const ASYMMETRY: f64 = 1e-3;

/// From the caller's stored entries of P to the upper triangle, by columns: entry k of the triangle is the sum of weight times value
/// over its at most two sources.
#[derive(Debug)]
pub struct Triangle {
    /// The caller's structure.
    pattern: Arc<Pattern>,
    /// True if the caller's order is the triangle's.
    is_identity: bool,
    /// For each of the caller's entries its place in the triangle, and its weight.
    entries: Vec<(usize, f64)>,
    /// Entries off the diagonal with their mirror images, those without one with `None`: the values that must agree.
    pairs: Vec<(usize, Option<usize>)>,
    len: usize,
}

impl Triangle {
    /// The map, and P's upper triangle with the caller's values. `is_upper`: only the upper triangle is stored.
    pub fn new(p: &SparseMatrix, is_upper: bool) -> Result<(Self, SparseMatrix), Error> {
        let n = p.cols();
        let pattern = p.pattern();
        // By place in the triangle, (column, row).
        let mut found = Vec::with_capacity(p.nnz());
        for (row, column, position) in places(pattern) {
            if is_upper && row > column {
                return Err(Error::NotUpperTriangular { row, column });
            }
            found.push(((row.max(column), row.min(column)), position));
        }
        found.sort_unstable();
        let mut entries = vec![(0, 0.0); p.nnz()];
        let mut pairs = Vec::new();
        let (mut indptr, mut indices) = (vec![0; n + 1], Vec::new());
        for group in found.chunk_by(|a, b| a.0 == b.0) {
            let ((column, row), first) = group[0];
            let second = group.get(1).map(|g| g.1);
            let is_half = !is_upper && row != column;
            if is_half {
                pairs.push((first, second));
            }
            for position in [Some(first), second].into_iter().flatten() {
                entries[position] = (indices.len(), if is_half { 0.5 } else { 1.0 });
            }
            indices.push(row);
            indptr[column + 1] += 1;
        }
        for column in 0..n {
            indptr[column + 1] += indptr[column];
        }
        let is_identity = entries.iter().enumerate().all(|(k, e)| *e == (k, 1.0));
        let triangle = Self {
            pattern: Arc::clone(pattern),
            is_identity,
            entries,
            pairs,
            len: indices.len(),
        };
        let values = triangle.upper(&p.stored_values())?;
        let upper = SparseMatrix::from_csc("P", n, n, &indptr, &indices, &values)?;
        Ok((triangle, upper))
    }

    /// The caller's number of entries.
    pub fn stored(&self) -> usize {
        self.entries.len()
    }

    /// The triangle's values from the caller's: (P + P')/2.
    pub fn upper(&self, stored: &[f64]) -> Result<Vec<f64>, Error> {
        if self.is_identity {
            return Ok(stored.to_vec());
        }
        let mut upper = vec![0.0; self.len];
        let mut largest = 0.0_f64;
        for (&(k, weight), value) in self.entries.iter().zip(stored) {
            upper[k] += weight * value;
            largest = largest.max(value.abs());
        }
        let mirror = |second: Option<usize>| second.map_or(0.0, |k| stored[k]);
        let is_far =
            |first: usize, second| (stored[first] - mirror(second)).abs() > ASYMMETRY * largest;
        match self.pairs.iter().find(|pair| is_far(pair.0, pair.1)) {
            None => Ok(upper),
            Some(&(first, second)) => {
                let place = places(&self.pattern).find(|place| place.2 == first);
                let (row, column, _) = place.unwrap_or_default();
                Err(Error::NotSymmetric {
                    row,
                    column,
                    value: stored[first],
                    mirror: mirror(second),
                })
            }
        }
    }

    /// A direction's values in the triangle: [`Triangle::upper`] without its check.
    pub fn direction_into(&self, stored: &[f64], upper: &mut Vec<f64>) {
        upper.clear();
        upper.resize(self.len, 0.0);
        for (&(k, weight), value) in self.entries.iter().zip(stored) {
            upper[k] += weight * value;
        }
    }

    /// The gradient in the caller's entries from that in the triangle's: the transpose of [`Triangle::direction_into`].
    pub fn gradient_into(&self, upper: &[f64], stored: &mut [f64]) {
        for (&(k, weight), out) in self.entries.iter().zip(stored) {
            *out = weight * upper[k];
        }
    }
}

/// Row, column and the caller's position of every entry.
fn places(pattern: &Pattern) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..pattern.cols()).flat_map(move |column| {
        let range = pattern.indptr()[column]..pattern.indptr()[column + 1];
        pattern.indices()[range].iter().map(move |&row| {
            (
                row,
                column,
                pattern.position(row, column).unwrap_or_default(),
            )
        })
    })
}
