//! The generalized power cone with the barrier -log phi - sum (1 - alpha_i) log u_i, phi = prod u_i^(2 alpha_i) - |w|^2.
//!
//! With k = 2 mu / phi and p = -v, w of z is -k times w of s, so that r = |w of s| = |p_w| / (1 + k), and
//!
//! ```text
//! u_i - c_i / u_i = p_i,   c_i = alpha_i k r^2 + mu (1 + alpha_i),      prod u_i^(2 alpha_i) = P = r^2 + 2 mu / k
//! ```
//!
//! one equation in log k, increasing. With a = alpha/u and w^ = w/|w|, mu H is k across w and in (u, w^) the sum of
//! k P (diag(alpha/u^2) - a a'), mu diag((1 - alpha)/u^2) and, in (a, w^) with h = mu/k,
//!
//! ```text
//! (k^2/mu) [ P (r^2 + h)   -P r    ]     determinant of the brackets: P h^2
//!          [ -P r          r^2 + h ]
//! ```
//!
//! The exponents are taken to sum to 1: 1 - alpha_i is the sum of the others.
//!
//! # References
//! Chares, Cones and interior-point algorithms for structured convex optimization involving powers and exponentials, 2009, section 3.1.
//! Roy, Xiao, On self-concordant barriers for generalized power cones, Optim. Lett. 16, 2022.

use super::{pair, spectral_of_sum};
use crate::projection::Block;
use crate::projection::generalized_power::{embed, perpendicular};
use crate::projection::numeric::{Probe, fractions, increasing_root, norm};
use crate::projection::spectral::Spectral;

/// Beyond this |log k| k is no number.
const LARGEST_LOG: f64 = 700.0;

pub(super) fn smooth(alphas: &[f64], v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Block {
    let n = alphas.len();
    let p: Vec<f64> = v[..n].iter().map(|x| -x).collect();
    let length = norm(&v[n..]);
    let theta = increasing_root(-LARGEST_LOG, LARGEST_LOG, 0.0, |theta| {
        balance(theta.exp(), alphas, &p, length, mu)
    });
    let mut k = theta.exp();
    // theta has rounding errors relative to itself: finish on k.
    for _ in 0..2 {
        let Probe { value, slope, .. } = balance(k, alphas, &p, length, mu);
        let step = value / slope;
        if step.abs() < 1e-6 {
            k *= 1.0 - step;
        }
    }
    let r = length / (1.0 + k);
    for i in 0..n {
        (s[i], z[i]) = pair(p[i], weight(alphas[i], k, r, mu));
    }
    let (of_z, of_s) = fractions(k, 1.0);
    for i in n..v.len() {
        s[i] = -v[i] * of_s;
        z[i] = v[i] * of_z;
    }

    let direction: Vec<f64> = if length > 0.0 {
        v[n..].iter().map(|x| -x / length).collect()
    } else {
        // Any direction: all have the same eigenvalue.
        (n..v.len()).map(|i| f64::from(u8::from(i == n))).collect()
    };
    let inner = spectral_of_sum(n + 1, columns(alphas, &s[..n], r, k, mu));
    let mut out = Spectral::new(v.len());
    for l in 0..=n {
        embed(inner.vector(l), &direction, out.vector_mut(l));
        out.set_value(l, (inner.lambda[l], inner.colambda[l]));
    }
    for l in 1..direction.len() {
        let vector = out.vector_mut(n + l);
        vector[..n].fill(0.0);
        perpendicular(&direction, l, &mut vector[n..]);
        out.set_value(n + l, (of_z, of_s));
    }
    Block::Spectral(out)
}

/// c_i, so that z_i u_i = c_i.
fn weight(alpha: f64, k: f64, r: f64, mu: f64) -> f64 {
    alpha * (k * r) * r + mu * (1.0 + alpha)
}

/// sum alpha_i log u_i^2 - log P, whose slope in log k lies between 0 and 2.
fn balance(k: f64, alphas: &[f64], p: &[f64], length: f64, mu: f64) -> Probe {
    let r = length / (1.0 + k);
    // The two terms of P.
    let (barrier, square) = (2.0 * mu / k, r * r);
    let (share_r, share_z) = fractions(1.0, k);
    let (mut value, mut size) = (-(barrier + square).ln(), (barrier + square).ln().abs());
    let mut slope = (barrier + 2.0 * square * share_z) / (barrier + square);
    for (&alpha, &p) in alphas.iter().zip(p) {
        let (u, z) = pair(p, weight(alpha, k, r, mu));
        let log = 2.0 * alpha * u.ln();
        value += log;
        size += log.abs();
        slope += 2.0 * alpha * (alpha * (k * r) * r) / (u * (u + z)) * (share_r - share_z);
    }
    Probe {
        value,
        slope,
        noise: f64::EPSILON * size,
    }
}

/// Columns whose outer products add up to mu H in (u, w/|w|).
fn columns(alphas: &[f64], u: &[f64], r: f64, k: f64, mu: f64) -> Vec<Vec<f64>> {
    let n = alphas.len();
    let (square, half) = (r * r, mu / k);
    let product = square + 2.0 * half;
    let mut columns = Vec::with_capacity(2 * n + 2);
    // diag(alpha/u^2) - a a' is the sum of alpha_i (e_i/u_i - a)(e_i/u_i - a)'.
    for i in 0..n {
        let root = (k * product * alphas[i]).sqrt();
        let rest: f64 = (0..n).filter(|&j| j != i).map(|j| alphas[j]).sum();
        let mut spread: Vec<f64> = (0..n).map(|j| -root * alphas[j] / u[j]).collect();
        spread[i] = root * rest / u[i];
        spread.push(0.0);
        columns.push(spread);
        let mut own = vec![0.0; n + 1];
        own[i] = (mu * rest).sqrt() / u[i];
        columns.push(own);
    }
    // The factor of the 2 x 2 matrix in (a, w/|w|).
    let scale = k / mu.sqrt();
    let first = (product * (square + half)).sqrt();
    let mut along: Vec<f64> = (0..n).map(|i| scale * first * alphas[i] / u[i]).collect();
    along.push(-scale * product * r / first);
    columns.push(along);
    let mut last = vec![0.0; n + 1];
    last[n] = scale * half / (square + half).sqrt();
    columns.push(last);
    columns
}
