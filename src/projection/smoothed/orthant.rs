//! The nonnegative orthant: z_i s_i = mu and z_i - s_i = v_i in each row, lambda_i = z_i / (z_i + s_i).

use super::pair;
use crate::projection::numeric::fractions;
use crate::projection::{Block, Diagonal};

pub(super) fn smooth(v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Block {
    let mut diagonal = Diagonal {
        lambda: Vec::with_capacity(v.len()),
        colambda: Vec::with_capacity(v.len()),
    };
    for ((v, z), s) in v.iter().zip(z).zip(s) {
        (*z, *s) = pair(*v, mu);
        let (lambda, colambda) = fractions(*z, *s);
        diagonal.lambda.push(lambda);
        diagonal.colambda.push(colambda);
    }
    Block::Diagonal(diagonal)
}
