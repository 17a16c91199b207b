//! The power cone `K = {(x, y, w): x^alpha y^(1-alpha) >= |w|, x, y >= 0}`, alpha in (0, 1).
//!
//! It is the generalized power cone with exponents (alpha, 1 - alpha) and one more coordinate; its middle eigenvalue
//! has a closed form there, so nothing is lost by sharing.
//!
//! # References
//! Hien, Differential properties of Euclidean projection onto power cone, Math. Methods Oper. Res. 82, 2015.

use super::Block;
use super::generalized_power;
use super::kink::BlockKink;
use super::spectral::{Piece, Spectral};

/// `z = Pi_{K*}(v)` and `s = Pi_K(-v) = z - v`; all three have 3 values. See [`generalized_power::project`].
pub fn project(alpha: f64, v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    generalized_power::project(&[alpha, 1.0 - alpha], v, z, s)
}

/// An element of the Clarke Jacobian of `Pi_{K*}` at v, of order 3. See [`generalized_power::element`].
pub fn element(alpha: f64, piece: Piece, v: &[f64], z: &[f64], s: &[f64], out: &mut Spectral) {
    generalized_power::element(&[alpha, 1.0 - alpha], piece, v, z, s, out);
}

/// Distance from v to the nearest kink, or a lower bound within a factor sqrt(3). See [`generalized_power::margin`].
pub fn margin(alpha: f64, piece: Piece, v: &[f64], z: &[f64], s: &[f64]) -> f64 {
    generalized_power::margin(&[alpha, 1.0 - alpha], piece, v, z, s)
}

/// The kink within the radius of v. See [`generalized_power::kink`].
pub(super) fn kink(
    alpha: f64,
    block: &Block,
    v: &[f64],
    z: &[f64],
    s: &[f64],
    radius: f64,
) -> Option<BlockKink> {
    generalized_power::kink(&[alpha, 1.0 - alpha], block, v, z, s, radius)
}
