//! The design matrix X, dense or sparse.

use crate::error::Result;
use crate::jacobian::DenseMatrix;
use crate::pattern::{SparseMatrix, check_finite, gather, inner, scatter};
use crate::program::check_length;
use std::sync::Arc;

/// A design matrix X, n x p: a row for each sample, a column for each feature. Cloning shares the values.
///
/// ```
/// use conediff::DenseMatrix;
/// use conediff::systems::lasso::Design;
/// let dense = Design::dense(DenseMatrix { rows: 2, cols: 1, data: vec![1.0, 2.0] })?;
/// let sparse = Design::sparse(&sprs::TriMat::from_triplets((2, 1), vec![0, 1], vec![0, 0], vec![1.0, 2.0]).to_csc())?;
/// assert_eq!(dense.multiply(&[3.0])?, vec![3.0, 6.0]);
/// assert_eq!(sparse.multiply(&[3.0])?, vec![3.0, 6.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Design {
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Dense(Arc<DenseMatrix>),
    Sparse(SparseMatrix),
}

impl Design {
    /// A dense matrix, column by column. Its stored values are all of them, in that order.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] unless it holds rows * cols values; [`crate::Error::NonFinite`].
    pub fn dense(x: DenseMatrix) -> Result<Self> {
        check_length("values of X", x.rows.saturating_mul(x.cols), x.data.len())?;
        check_finite("X", &x.data)?;
        Ok(Self {
            values: Values::Dense(Arc::new(x)),
        })
    }

    /// A sparse matrix, by columns or by rows. Its stored values keep the caller's order.
    ///
    /// # Errors
    /// [`crate::Error::Pattern`], [`crate::Error::NonFinite`]; [`crate::Error::TooLarge`] for more columns than memory.
    pub fn sparse(x: &sprs::CsMat<f64>) -> Result<Self> {
        Ok(Self {
            values: Values::Sparse(SparseMatrix::from_sprs("X", x)?),
        })
    }

    /// n, the number of samples.
    pub fn rows(&self) -> usize {
        match &self.values {
            Values::Dense(x) => x.rows,
            Values::Sparse(x) => x.rows(),
        }
    }

    /// p, the number of features.
    pub fn columns(&self) -> usize {
        match &self.values {
            Values::Dense(x) => x.cols,
            Values::Sparse(x) => x.cols(),
        }
    }

    /// Stored values: n p if dense.
    pub fn nnz(&self) -> usize {
        match &self.values {
            Values::Dense(x) => x.data.len(),
            Values::Sparse(x) => x.nnz(),
        }
    }

    /// The stored values, in the caller's order.
    pub fn stored_values(&self) -> Vec<f64> {
        match &self.values {
            Values::Dense(x) => x.data.clone(),
            Values::Sparse(x) => x.stored_values(),
        }
    }

    /// The same structure with other values, in the caller's order.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`].
    pub fn with_values(&self, stored: Vec<f64>) -> Result<Self> {
        match &self.values {
            Values::Dense(x) => Self::dense(DenseMatrix {
                rows: x.rows,
                cols: x.cols,
                data: stored,
            }),
            Values::Sparse(x) => Ok(Self {
                values: Values::Sparse(x.with_values("X", &stored)?),
            }),
        }
    }

    /// X beta, n.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`].
    pub fn multiply(&self, beta: &[f64]) -> Result<Vec<f64>> {
        check_length("beta", self.columns(), beta.len())?;
        Ok(self.product(beta))
    }

    /// X'v, p.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`].
    pub fn multiply_transpose(&self, v: &[f64]) -> Result<Vec<f64>> {
        check_length("v", self.rows(), v.len())?;
        Ok(self.correlations(v))
    }

    /// The rows listed, in that order; a row may be listed more than once.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] for a row that is not below n.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&row) = rows.iter().find(|&&i| i >= self.rows()) {
            return Err(crate::Error::Dimension {
                what: "row (must be below the expected length)",
                expected: self.rows(),
                found: row,
            });
        }
        Ok(match &self.values {
            Values::Dense(x) => {
                let column = |j: usize| rows.iter().map(move |i| x.data[j * x.rows + i]);
                Self {
                    values: Values::Dense(Arc::new(DenseMatrix {
                        rows: rows.len(),
                        cols: x.cols,
                        data: (0..x.cols).flat_map(column).collect(),
                    })),
                }
            }
            Values::Sparse(x) => {
                let mut places = vec![Vec::new(); x.rows()];
                for (new, &old) in rows.iter().enumerate() {
                    places[old].push(new);
                }
                let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
                let mut column: Vec<(usize, f64)> = Vec::new();
                for j in 0..x.cols() {
                    column.clear();
                    let (old, entries) = x.column(j);
                    for (&i, &v) in old.iter().zip(entries) {
                        column.extend(places[i].iter().map(|&new| (new, v)));
                    }
                    column.sort_unstable_by_key(|e| e.0);
                    indices.extend(column.iter().map(|e| e.0));
                    values.extend(column.iter().map(|e| e.1));
                    indptr.push(indices.len());
                }
                let kept = SparseMatrix::from_parts(rows.len(), x.cols(), indptr, indices, values);
                Self {
                    values: Values::Sparse(kept),
                }
            }
        })
    }

    /// X_j'v.
    pub(super) fn gather(&self, j: usize, v: &[f64]) -> f64 {
        match &self.values {
            Values::Dense(x) => inner(&x.data[j * x.rows..(j + 1) * x.rows], v),
            Values::Sparse(x) => {
                let (rows, values) = x.column(j);
                gather(rows, values, v)
            }
        }
    }

    /// v += alpha X_j.
    pub(super) fn scatter(&self, j: usize, alpha: f64, v: &mut [f64]) {
        match &self.values {
            Values::Dense(x) => {
                let column = &x.data[j * x.rows..(j + 1) * x.rows];
                v.iter_mut().zip(column).for_each(|(v, x)| *v += alpha * x);
            }
            Values::Sparse(x) => {
                let (rows, values) = x.column(j);
                scatter(rows, values, alpha, v);
            }
        }
    }

    /// f(i, X_ij) for the stored entries of column j.
    pub(super) fn for_each(&self, j: usize, mut f: impl FnMut(usize, f64)) {
        match &self.values {
            Values::Dense(x) => {
                let column = &x.data[j * x.rows..(j + 1) * x.rows];
                column.iter().enumerate().for_each(|(i, x)| f(i, *x));
            }
            Values::Sparse(x) => {
                let (rows, values) = x.column(j);
                rows.iter().zip(values).for_each(|(i, x)| f(*i, *x));
            }
        }
    }

    /// f(i, k) for the stored entries of column j, k their position in the caller's order.
    pub(super) fn for_each_position(&self, j: usize, mut f: impl FnMut(usize, usize)) {
        match &self.values {
            Values::Dense(x) => (0..x.rows).for_each(|i| f(i, j * x.rows + i)),
            Values::Sparse(x) => {
                let pattern = x.pattern();
                let range = pattern.indptr()[j]..pattern.indptr()[j + 1];
                for c in range {
                    f(pattern.indices()[c], pattern.stored_position(c));
                }
            }
        }
    }

    /// X beta.
    pub(super) fn product(&self, beta: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.rows()];
        for (j, b) in beta.iter().enumerate().filter(|(_, b)| **b != 0.0) {
            self.scatter(j, *b, &mut out);
        }
        out
    }

    /// X'v.
    pub(super) fn correlations(&self, v: &[f64]) -> Vec<f64> {
        (0..self.columns()).map(|j| self.gather(j, v)).collect()
    }
}
