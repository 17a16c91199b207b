//! The scaled triangle: symmetric matrices as vectors, with inner products kept.
//!
//! Clarabel's order: the upper triangle column by column, (0,0), (0,1), (1,1), (0,2), ...; off-diagonal entries times
//! sqrt 2, so that svec(X)'svec(Y) = trace(XY). SCS and diffcp use the lower triangle.

use crate::error::{Error, Result};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// Position of entry (i, j) in svec, the same as that of (j, i).
pub fn index(i: usize, j: usize) -> usize {
    let (i, j) = (i.min(j), i.max(j));
    crate::cone::triangular(j).saturating_add(i)
}

/// The order k of a matrix whose triangle has `len` entries.
///
/// # Errors
/// [`Error::Dimension`] if `len` is no triangular number.
pub fn order(len: usize) -> Result<usize> {
    let k = (((8.0 * len as f64 + 1.0).sqrt() - 1.0) / 2.0).round() as usize;
    if crate::cone::triangular(k) != len {
        return Err(Error::Dimension {
            what: "svec",
            expected: crate::cone::triangular(k),
            found: len,
        });
    }
    Ok(k)
}

/// Packs a symmetric k x k matrix, given column-major with k*k entries (its upper triangle is read).
///
/// # Errors
/// [`Error::Dimension`] if the matrix has not k*k entries.
pub fn svec(matrix: &[f64], k: usize) -> Result<Vec<f64>> {
    let expected = k.saturating_mul(k);
    if matrix.len() != expected {
        return Err(Error::Dimension {
            what: "matrix",
            expected,
            found: matrix.len(),
        });
    }
    let mut out = Vec::with_capacity(crate::cone::triangular(k));
    for j in 0..k {
        out.extend(matrix[j * k..j * k + j].iter().map(|x| x * SQRT_2));
        out.push(matrix[j * k + j]);
    }
    Ok(out)
}

/// Unpacks into a full symmetric column-major k x k matrix.
///
/// # Errors
/// [`Error::Dimension`] if the length is no triangular number.
pub fn smat(vector: &[f64]) -> Result<Vec<f64>> {
    let k = order(vector.len())?;
    let mut out = vec![0.0; k * k];
    for j in 0..k {
        for i in 0..j {
            let x = vector[index(i, j)] * FRAC_1_SQRT_2;
            out[j * k + i] = x;
            out[i * k + j] = x;
        }
        out[j * k + j] = vector[index(j, j)];
    }
    Ok(out)
}
