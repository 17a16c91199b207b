//! The scalar equation behind the generalized power cone's projection.
//!
//! For `p = s - z` with |w| = r + m it reads `sum_i alpha_i log(u_i / r) = 0`, monotone in `theta = log(r/m)`.

use super::numeric::{Probe, increasing_root};

/// Beyond this `|theta|`, min(r, m) is less than 1e-104 |w|, which the caller takes as zero.
const THETA_LIMIT: f64 = 240.0;

/// u and z of one coordinate: `u - z = p`, `u z = alpha r m`, without subtraction.
pub(super) fn split(p: f64, alpha: f64, r: f64, m: f64) -> (f64, f64) {
    let big = 0.5 * (p.abs() + p.hypot(2.0 * (alpha * r).sqrt() * m.sqrt()));
    let small = if big > 0.0 { alpha * r / big * m } else { 0.0 };
    if p >= 0.0 { (big, small) } else { (small, big) }
}

/// The (r, m) with `r + m = length` and `prod (u_i / r)^alpha_i = 1`; `start` is a theta nearby.
pub(super) fn split_length(
    alphas: &[f64],
    p: &[f64],
    length: f64,
    start: Option<f64>,
) -> (f64, f64) {
    // As a function of theta, increasing, with slope in (0, 1).
    let balance = |r: f64, m: f64| {
        let (mut product, mut z_part, mut u_part) = (1.0, 0.0, 0.0);
        for (&x, &alpha) in p.iter().zip(alphas) {
            let (u, z) = split(x, alpha, r, m);
            product *= (u / r).powf(alpha);
            z_part += alpha * (z / (u + z));
            u_part += alpha * (u / (u + z));
        }
        Probe {
            value: -f64::ln(product),
            slope: (r * z_part + m * u_part) / length,
            noise: 2.0 * f64::EPSILON,
        }
    };
    let parts = |theta: f64| {
        let (big, small) = (
            1.0 / (1.0 + (-theta.abs()).exp()),
            1.0 / (1.0 + theta.abs().exp()),
        );
        if theta > 0.0 {
            (length * big, length * small)
        } else {
            (length * small, length * big)
        }
    };
    let start = start.unwrap_or_else(|| first_guess(alphas, p, length));
    let theta = increasing_root(-THETA_LIMIT, THETA_LIMIT, start, |theta| {
        let (r, m) = parts(theta);
        balance(r, m)
    });
    let (mut r, mut m) = parts(theta);
    // theta has rounding errors relative to itself: finish with Newton steps on r and m, which keep r + m.
    for _ in 0..2 {
        let Probe { value, slope, .. } = balance(r, m);
        let step = -value / slope;
        if step.abs() < 1e-6 {
            (r, m) = (
                r * (1.0 + step * (m / length)),
                m * (1.0 - step * (r / length)),
            );
        }
    }
    (r, m)
}

/// theta near the boundaries of K and K*, where the small one of m and r is linear in the constraint's violation.
fn first_guess(alphas: &[f64], p: &[f64], length: f64) -> f64 {
    let positive = p.iter().all(|&x| x > 0.0);
    if !positive && p.iter().any(|&x| x >= 0.0) {
        return 0.0;
    }
    let (mut violation, mut slope) = (0.0, 1.0);
    for (x, &alpha) in p.iter().map(|x| x.abs() / length).zip(alphas) {
        violation += alpha * if positive { -x.ln() } else { (alpha / x).ln() };
        slope += (alpha / x).powi(2);
    }
    let guess = (violation / slope).ln();
    match guess.is_finite() {
        true if positive => -guess,
        true => guess,
        false => 0.0,
    }
}
