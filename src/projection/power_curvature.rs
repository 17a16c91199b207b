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
/// M is a variance: `e'Me = m r Var_alpha(e_i/u_i)`. Its square root is formed in a basis adapted to its scales,
/// then diagonalised by the one-sided Jacobi method, so that a huge curvature does not spoil a small one.
pub(super) fn plane_curvatures(
    alphas: &[f64],
    z_hat: &[f64],
    s_hat: &[f64],
    ratio: f64,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = alphas.len();
    let root = (-z_hat[n] * s_hat[n] * ratio).sqrt();
    let Some(z_pivot) = largest(z_hat, None) else {
        return (Vec::new(), Vec::new());
    };
    // The reflection that maps z_hat to its largest axis: its other columns differ little from the axes, so each
    // belongs to one curvature; y are the coordinates of s_hat in them.
    let z_sign = z_hat[z_pivot].signum();
    let z_factor = 1.0 / (1.0 + z_hat[z_pivot].abs());
    let reflected = |k: usize| {
        let mut column: Vec<f64> = z_hat.iter().map(|x| -z_hat[k] * z_factor * x).collect();
        column[z_pivot] = -z_hat[k] * z_sign;
        column[k] += 1.0;
        column
    };
    let y: Vec<f64> = (0..=n)
        .map(|k| s_hat[k] - z_hat[k] * z_factor * z_sign * s_hat[z_pivot])
        .collect();
    let Some(s_pivot) = largest(&y, Some(z_pivot)) else {
        return (Vec::new(), Vec::new());
    };
    let pivot_column: Vec<f64> = reflected(s_pivot)
        .iter()
        .map(|x| x * y[s_pivot].signum())
        .collect();

    // The second reflection, which maps y to its largest axis, leaves n - 1 columns.
    let mut vectors = Vec::with_capacity(n - 1);
    let mut factors = Vec::with_capacity(n - 1);
    for k in (0..=n).filter(|&k| k != z_pivot && k != s_pivot) {
        let column = reflected(k);
        let t = y[k] / (1.0 + y[s_pivot].abs());
        // Quotients e_i/u_i up to a common shift, which the variance ignores; u_i may have underflowed.
        let quotients: Vec<f64> = (0..n)
            .map(|i| {
                let e = column[i] - t * pivot_column[i];
                root * e / s_hat[i].max(f64::MIN_POSITIVE)
            })
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

/// The index of the entry largest in absolute value, leaving out `skip`.
fn largest(x: &[f64], skip: Option<usize>) -> Option<usize> {
    (0..x.len())
        .filter(|&k| Some(k) != skip)
        .max_by(|&a, &b| x[a].abs().total_cmp(&x[b].abs()))
}
