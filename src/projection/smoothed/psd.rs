//! The PSD cone, by the eigenvalues l_i of v: z_i - s_i = l_i, z_i s_i = mu, and D has the divided differences
//! W_ij = (z_i + z_j) / (z_i + z_j + s_i + s_j) on all pairs.

use super::pair;
use crate::projection::numeric::fractions;
use crate::projection::psd::{compose, eigen_decreasing};
use crate::projection::{Block, Psd};

/// For orders of at least two.
pub(super) fn smooth(k: usize, v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Option<Block> {
    let (values, vectors) = eigen_decreasing(k, v)?;
    let pairs: Vec<(f64, f64)> = values.iter().map(|l| pair(*l, mu)).collect();
    let above: Vec<f64> = pairs.iter().map(|p| p.0).collect();
    let below: Vec<f64> = pairs.iter().map(|p| p.1).collect();
    compose(vectors.as_ref(), &above, z);
    compose(vectors.as_ref(), &below, s);
    let weight = |i: usize, j: usize| fractions(above[i] + above[j], below[i] + below[j]);
    Some(Block::Psd(Psd::from_parts(k, vectors, weight)))
}
