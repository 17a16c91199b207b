//! Curvature of the generalized power cone's projection in the plane of (u, w/|w|).
//!
//! `z_hat` and `s_hat` are orthonormal, n + 1 values each, with last entries `-m/|z|` and `r/|s|`; `ratio = |z|/|s|`.
//! Each function returns n - 1 orthonormal vectors that complete them, and the curvatures kappa along those.

use super::numeric::{norm, orthogonalize_columns};

/// Two exponents: the cross product, and kappa as a product of ratios, so with full relative accuracy.
pub(super) fn pair_curvature(
    z_hat: &[f64],
    s_hat: &[f64],
    ratio: f64,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (&[zx, zy, zw], &[x, y, r]) = (z_hat, s_hat) else {
        return (Vec::new(), Vec::new());
    };
    let m = -zw;
    let vector = vec![-(y * m + r * zy), r * zx + x * m, x * zy - y * zx];
    let kappa = (zx / x) * (zy / y) * (m / r) * ratio;
    (vec![vector], vec![kappa])
}

/// Any number of exponents: the eigenvalues of `M = m r (diag(alpha/u^2) - (alpha/u)(alpha/u)')` on the complement.
///
/// M is a variance: `e'Me = m r Var_alpha(e_i/u_i)`. Its square root is formed in a basis without cancellation, then
/// diagonalised by the one-sided Jacobi method, so that a huge curvature does not spoil a small one.
pub(super) fn plane_curvatures(
    alphas: &[f64],
    z_hat: &[f64],
    s_hat: &[f64],
    ratio: f64,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = alphas.len();
    let (m, r) = (-z_hat[n], s_hat[n]);
    // The reflection that maps z_hat to the last axis; y are the coordinates of s_hat in its first n columns.
    let reflected = |k: usize| {
        let mut column: Vec<f64> = (0..n)
            .map(|i| -z_hat[k] * z_hat[i] / (1.0 + m))
            .chain([z_hat[k]])
            .collect();
        let others: f64 = (0..n)
            .filter(|&i| i != k)
            .map(|i| z_hat[i] * z_hat[i])
            .sum();
        column[k] = (others + m * m + m) / (1.0 + m);
        column
    };
    let y: Vec<f64> = (0..n)
        .map(|k| s_hat[k] + z_hat[k] * r / (1.0 + m))
        .collect();
    let pivot = (0..n).fold(0, |best, k| if y[k] > y[best] { k } else { best });
    let pivot_column = reflected(pivot);

    // The second reflection, which maps y to the pivot's axis, leaves n - 1 columns.
    let root = (m * r * ratio).sqrt();
    let mut vectors = Vec::with_capacity(n.saturating_sub(1));
    let mut factors = Vec::with_capacity(n.saturating_sub(1));
    for k in (0..n).filter(|&k| k != pivot) {
        let column = reflected(k);
        let t = y[k] / (1.0 + y[pivot]);
        // Quotients e_i/u_i up to a common shift, which the variance ignores.
        let quotients: Vec<f64> = (0..n)
            .map(|i| root * (column[i] - t * pivot_column[i]) / s_hat[i])
            .collect();
        let spread = |i: usize| -> f64 {
            let differences = (0..n).map(|j| alphas[j] * (quotients[i] - quotients[j]));
            alphas[i].sqrt() * differences.sum::<f64>()
        };
        factors.push((0..n).map(spread).collect());
        let vector = (0..=n).map(|i| column[i] - t * (s_hat[i] + pivot_column[i]));
        vectors.push(vector.collect());
    }
    orthogonalize_columns(&mut factors, &mut vectors);
    let kappas = factors.iter().map(|f| norm(f).powi(2)).collect();
    (vectors, kappas)
}
