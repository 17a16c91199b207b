//! A PSD block with zero eigenvalues: the elements of its Jacobian, and the directions in which both z and s vanish.
//!
//! # References
//! Malick, Sendov, Clarke generalized Jacobian of the projection onto the cone of positive semidefinite matrices, 2006, Thm 3.7.

use super::Block;
use super::kink::{BlockKink, Element, KinkKind, Shape};
use super::psd::{Psd, eigen_decreasing, shares, svec_sum};
use crate::random::Random;
use faer::Mat;
use std::f64::consts::FRAC_1_SQRT_2;

/// The eigenvalues, decreasing, and eigenvectors of a block at its kink.
#[derive(Debug, Clone)]
pub(super) struct Eigen {
    values: Vec<f64>,
    vectors: Mat<f64>,
}

impl Eigen {
    /// The least size of an eigenvalue that is not zero.
    pub(super) fn least(&self) -> f64 {
        let sizes = self.values.iter().map(|l| l.abs()).filter(|l| *l > 0.0);
        sizes.fold(f64::INFINITY, f64::min)
    }

    /// svec of q_i q_j' made symmetric, unit vectors, for the pairs i <= j of a range by columns.
    pub(super) fn pairs(&self, range: std::ops::Range<usize>) -> Vec<Vec<f64>> {
        let (k, q) = (self.values.len(), &self.vectors);
        let mut pairs = Vec::new();
        for j in range.clone() {
            for i in range.start..=j {
                let scale = if i == j { 0.5 } else { FRAC_1_SQRT_2 };
                let half: Vec<f64> = (0..k * k)
                    .map(|at| scale * q[(at % k, i)] * q[(at / k, j)])
                    .collect();
                let mut out = vec![0.0; k * (k + 1) / 2];
                svec_sum(&half, k, &mut out);
                pairs.push(out);
            }
        }
        pairs
    }
}

/// The kink at eigenvalues within the radius of zero.
pub(super) fn kink(k: usize, v: &[f64], radius: f64) -> Option<BlockKink> {
    let (mut values, vectors) = eigen_decreasing(k, v)?;
    let positive = values.iter().take_while(|l| **l > radius).count();
    let rest = &mut values[positive..];
    let zero = rest.iter().take_while(|l| l.abs() <= radius).count();
    if zero == 0 {
        return None;
    }
    if zero == k {
        return Some(BlockKink::new(KinkKind::Apex, Shape::Apex(v.len())));
    }
    rest[..zero].fill(0.0);
    let eigen = Eigen { values, vectors };
    Some(BlockKink::new(
        KinkKind::ZeroEigenvalues,
        Shape::Eigenvalues {
            eigen,
            positive,
            zero,
        },
    ))
}

/// D at a kink: W = 1 on pairs of a positive and a zero eigenvalue, 0 on a zero and a negative one, and on pairs of zero ones that of
/// an element at the apex of their own small cone.
pub(super) fn at_zeros(
    eigen: &Eigen,
    positive: usize,
    zero: usize,
    element: Element,
    random: &mut Random,
) -> Block {
    let Eigen {
        mut values,
        mut vectors,
    } = eigen.clone();
    let k = values.len();
    let rows = k * (k + 1) / 2;
    let (first, last) = (positive, positive + zero);
    match element {
        Element::Lower if first == 0 => return Block::Vanishing(rows),
        Element::Upper if last == k => return Block::Identity(rows),
        Element::Random(_) => {
            // The eigenvectors of a random point stand for any turn of the null space, its eigenvalues for any fractions.
            let point = random.normals(zero * (zero + 1) / 2);
            if let Some((turned, turn)) = eigen_decreasing(zero, &point) {
                let own = vectors.as_ref().subcols(first, zero).to_owned();
                let own = own * turn;
                vectors.as_mut().subcols_mut(first, zero).copy_from(own);
                values[first..last].copy_from_slice(&turned);
            }
        }
        _ => {}
    }
    let side = |i: usize| match i {
        _ if i < first => 1,
        _ if i >= last => -1,
        _ => 0,
    };
    let fraction = |i: usize, j: usize| shares(values[i].max(0.0), (-values[j]).max(0.0));
    let weight = |i: usize, j: usize| match (side(i), side(j), element) {
        (1, 1 | 0, _) | (0, 0, Element::Upper) => (1.0, 0.0),
        (1, ..) => fraction(i, j),
        (0, 0, Element::Half) => (0.5, 0.5),
        (0, 0, Element::Random(_)) if values[j] > 0.0 => (1.0, 0.0),
        (0, 0, Element::Random(_)) if values[i] > 0.0 => fraction(i, j),
        _ => (0.0, 1.0),
    };
    Block::Psd(Psd::from_parts(last, vectors, weight))
}
