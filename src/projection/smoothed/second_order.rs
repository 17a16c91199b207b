//! The second-order cone, by the eigenvalues t + |u| and t - |u| of v = (t, u).
//!
//! With z_i - s_i = l_i and z_i s_i = mu for each, D has the eigenvalues z_i / (z_i + s_i) along (1, w) and (1, -w), w = u/|u|,
//! and across them the divided difference (z_1 - z_0)/(l_1 - l_0) = (z_1 + z_0) / (z_1 + z_0 + s_1 + s_0).

use super::pair;
use crate::projection::numeric::{fractions, norm};
use crate::projection::{Block, SecondOrder};

/// For at least two rows.
pub(super) fn smooth(v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Block {
    let (t, u) = (v[0], &v[1..]);
    let length = norm(u);
    let w: Vec<f64> = if length > 0.0 {
        u.iter().map(|x| x / length).collect()
    } else {
        // Any direction: the two eigenvalues are equal.
        (0..u.len()).map(|i| f64::from(u8::from(i == 0))).collect()
    };
    let (z1, s1) = pair(t + length, mu);
    let (z0, s0) = pair(t - length, mu);
    for (out, a, b) in [(z, z1, z0), (s, s1, s0)] {
        out[0] = 0.5 * (a + b);
        for (out, w) in out[1..].iter_mut().zip(&w) {
            *out = 0.5 * (a - b) * w;
        }
    }
    Block::SecondOrder(SecondOrder::from_parts(
        w,
        fractions(z1, s1),
        fractions(z1 + z0, s1 + s0),
        fractions(z0, s0),
    ))
}
