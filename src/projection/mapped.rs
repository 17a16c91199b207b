//! The same eigenvectors with other eigenvalues.

use super::diagonal::Diagonal;
use super::kink::multiple;
use super::{Block, Projection};
use crate::cone::Cone;

/// An eigenvalue of D with that of I - D.
type Pair = (f64, f64);

impl Projection {
    /// D (I + rho D)^-1 in place of D, rho >= 0: the proximal program's.
    pub(crate) fn proximal(&self, cones: &[Cone], rho: f64) -> Self {
        let map = |(lambda, colambda): Pair| {
            let whole = 1.0 + rho * lambda;
            (lambda / whole, (colambda + rho * lambda) / whole)
        };
        let mut out = self.clone();
        for (block, cone) in out.blocks.iter_mut().zip(cones) {
            *block = mapped(block, cone, map);
        }
        out
    }
}

/// The block with f of every eigenvalue; f is increasing and leaves 0 at 0.
fn mapped(block: &Block, cone: &Cone, f: impl Fn(Pair) -> Pair) -> Block {
    match block {
        Block::Identity(_) => multiple(cone, f((1.0, 0.0))),
        Block::Vanishing(d) => Block::Vanishing(*d),
        Block::Orthant(active) => {
            let value = |a: &bool| if *a { f((1.0, 0.0)) } else { (0.0, 1.0) };
            let (lambda, colambda) = active.iter().map(value).unzip();
            Block::Diagonal(Diagonal { lambda, colambda })
        }
        Block::Diagonal(d) => {
            let pairs = d.lambda.iter().copied().zip(d.colambda.iter().copied());
            let (lambda, colambda) = pairs.map(f).unzip();
            Block::Diagonal(Diagonal { lambda, colambda })
        }
        Block::SecondOrder(b) => Block::SecondOrder(b.mapped(f)),
        Block::Psd(b) => Block::Psd(b.mapped(f)),
        Block::Spectral(b) => {
            let mut out = b.clone();
            for k in 0..b.dim {
                out.set_value(k, f((b.lambda[k], b.colambda[k])));
            }
            Block::Spectral(out)
        }
    }
}
