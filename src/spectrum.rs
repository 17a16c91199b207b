//! Extreme eigenvalues and singular values of dense matrices, computed at unit size: faer's iterations are inaccurate elsewhere.

use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use faer::{Mat, Side};

/// The same matrix for faer.
pub(crate) fn to_mat(matrix: &DenseMatrix) -> Mat<f64> {
    Mat::from_fn(matrix.rows, matrix.cols, |i, j| {
        matrix.data[j * matrix.rows + i]
    })
}

/// The matrix over its largest entry, and that entry; 1 for a matrix of zeros.
fn at_unit_size(matrix: &Mat<f64>) -> (Mat<f64>, f64) {
    let largest = matrix.norm_max();
    let size = if largest > 0.0 { largest } else { 1.0 };
    (faer::Scale(1.0 / size) * matrix, size)
}

/// The least eigenvalue of the symmetric part (M + M')/2; infinity without rows.
pub(crate) fn least_eigenvalue(matrix: &Mat<f64>) -> Result<f64> {
    let n = matrix.nrows();
    let (unit, size) = at_unit_size(matrix);
    let symmetric = Mat::from_fn(n, n, |i, j| 0.5 * (unit[(i, j)] + unit[(j, i)]));
    let failed = Error::Factorization {
        method: "eigenvalues",
    };
    let values = symmetric.self_adjoint_eigenvalues(Side::Lower);
    let values = values.map_err(|_| failed)?;
    Ok(size * values.iter().fold(f64::INFINITY, |m, x| m.min(*x)))
}

/// All of them, descending.
pub(crate) fn singular_values(matrix: &Mat<f64>) -> Result<Vec<f64>> {
    let (unit, size) = at_unit_size(matrix);
    let failed = Error::Factorization {
        method: "singular values",
    };
    let mut values = unit.singular_values().map_err(|_| failed)?;
    values.iter_mut().for_each(|v| *v *= size);
    Ok(values)
}

/// The largest singular value; 0 without rows.
pub(crate) fn spectral_norm(matrix: &Mat<f64>) -> Result<f64> {
    Ok(singular_values(matrix)?.first().copied().unwrap_or(0.0))
}
