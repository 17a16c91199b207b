//! Sparse LDL' of the reduced system with a static regularization, corrected by refinement against the system itself.
//!
//! # References
//! Vanderbei, Symmetric quasidefinite matrices, 1995. Saunders, Cholesky-based methods for sparse least squares, 1996 (stability of
//! LDL' for quasidefinite systems).

use super::reduced::Reduced;
use crate::error::{Error, Result};
use crate::tangent::norm_max;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, LdltRef, SymbolicCholesky, SymmetricOrdering,
    factorize_symbolic_cholesky,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, MatMut, Par};

const BREAKDOWN: Error = Error::Factorization { method: "LDL'" };

/// Steps of the minimum-norm iteration.
const MINIMUM_NORM_STEPS: usize = 200;

/// More factor entries than this are refused: 8 GiB of values.
const MAX_FACTOR: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Ldl {
    pub(super) reduced: Reduced,
    symbolic: SymbolicCholesky<usize>,
    factor: Vec<f64>,
}

impl Ldl {
    /// Orders and allocates; `factor` must follow.
    pub(super) fn new(reduced: Reduced) -> Result<Self> {
        let len = reduced.len();
        let pattern =
            SymbolicSparseColMatRef::new_checked(len, len, &reduced.indptr, None, &reduced.indices);
        let symbolic = factorize_symbolic_cholesky(
            pattern,
            faer::Side::Upper,
            SymmetricOrdering::Amd,
            CholeskySymbolicParams::default(),
        )
        .map_err(|_| BREAKDOWN)?;
        let entries = symbolic.len_val();
        if entries > MAX_FACTOR {
            return Err(Error::TooLarge {
                what: "the LDL' factor",
                bytes: 8 * entries as u128,
                limit: 8 * MAX_FACTOR as u128,
            });
        }
        Ok(Self {
            reduced,
            factor: vec![0.0; entries],
            symbolic,
        })
    }

    /// Factors S K S + regularization * diag(signs).
    pub(super) fn factor(&mut self, regularization: f64) -> Result<()> {
        let reduced = &self.reduced;
        let len = reduced.len();
        let mut values = reduced.values.clone();
        for j in 0..len {
            // The diagonal is the last entry of its column.
            values[reduced.indptr[j + 1] - 1] += regularization * f64::from(reduced.signs[j]);
        }
        let matrix = SparseColMatRef::new(
            SymbolicSparseColMatRef::new_checked(len, len, &reduced.indptr, None, &reduced.indices),
            values.as_slice(),
        );
        let mut memory = MemBuffer::try_new(
            self.symbolic
                .factorize_numeric_ldlt_scratch::<f64>(Par::Seq, Default::default()),
        )
        .map_err(|_| BREAKDOWN)?;
        self.symbolic
            .factorize_numeric_ldlt(
                &mut self.factor,
                matrix,
                faer::Side::Upper,
                Default::default(),
                Par::Seq,
                MemStack::new(&mut memory),
                Default::default(),
            )
            .map_err(|_| BREAKDOWN)?;
        if self.factor.iter().all(|x| x.is_finite()) {
            Ok(())
        } else {
            Err(BREAKDOWN)
        }
    }

    pub(super) fn scratch(&self) -> StackReq {
        self.symbolic.solve_in_place_scratch::<f64>(1, Par::Seq)
    }

    /// y <- (S K S + regularization)^-1 y.
    pub(super) fn solve_in_place(&self, y: &mut [f64], memory: &mut MemBuffer) {
        if y.is_empty() {
            return;
        }
        let len = y.len();
        LdltRef::new(&self.symbolic, &self.factor).solve_in_place_with_conj(
            Conj::No,
            MatMut::from_column_major_slice_mut(y, len, 1),
            Par::Seq,
            MemStack::new(memory),
        );
    }

    /// Solves S K S y = rhs to a relative residual of `tolerance`; `None` if the refinement does not get there in `steps`.
    fn solve_refined(
        &self,
        rhs: &[f64],
        tolerance: f64,
        steps: usize,
        memory: &mut MemBuffer,
    ) -> Option<Vec<f64>> {
        let target = tolerance * norm_max(rhs);
        let mut y = vec![0.0; rhs.len()];
        let mut r = rhs.to_vec();
        for _ in 0..steps {
            self.solve_in_place(&mut r, memory);
            for (y, c) in y.iter_mut().zip(&r) {
                *y += c;
            }
            self.reduced.multiply(&y, &mut r);
            for (r, b) in r.iter_mut().zip(rhs) {
                *r = b - *r;
            }
            let size = norm_max(&r);
            if !size.is_finite() {
                return None;
            }
            if size <= target {
                return Some(y);
            }
        }
        None
    }

    /// Condition number of S K S by inverse iteration with refined solves; infinity if the regularized factor cannot resolve the
    /// smallest singular value, that is, if refinement does not contract. About six solves.
    pub(super) fn condition(&self, memory: &mut MemBuffer) -> f64 {
        let len = self.reduced.len();
        if len == 0 {
            return 1.0;
        }
        let mut y = super::probe_vector(len);
        let mut inverse = 0.0_f64;
        for pass in 0..4 {
            let size = y.iter().map(|x| x * x).sum::<f64>().sqrt();
            for x in &mut y {
                *x /= size;
            }
            // The first solve is the test that a generic right-hand side is reached; later ones need two digits.
            let (tolerance, steps) = if pass == 0 { (1e-9, 12) } else { (1e-2, 12) };
            match self.solve_refined(&y, tolerance, steps, memory) {
                Some(next) => y = next,
                None => return f64::INFINITY,
            }
            inverse = inverse.max(y.iter().map(|x| x * x).sum::<f64>().sqrt());
        }
        inverse * self.reduced.norm()
    }

    /// y <- the minimum-norm least-squares solution of S K S y = rhs, by y += M^-1 K M^-1 (rhs - K y) with M the regularized
    /// matrix: the null space of K splits along the signs, so M^-1 keeps it and K annihilates it.
    pub(super) fn solve_minimum_norm(
        &self,
        rhs: &[f64],
        y: &mut [f64],
        r: &mut [f64],
        product: &mut [f64],
        memory: &mut MemBuffer,
    ) -> usize {
        y.fill(0.0);
        let mut previous = f64::INFINITY;
        for step in 1..=MINIMUM_NORM_STEPS {
            self.reduced.multiply(y, r);
            for (r, b) in r.iter_mut().zip(rhs) {
                *r = b - *r;
            }
            self.solve_in_place(r, memory);
            self.reduced.multiply(r, product);
            self.solve_in_place(product, memory);
            let change = norm_max(product);
            if change.is_nan() || change >= 0.9 * previous {
                return step;
            }
            for (y, c) in y.iter_mut().zip(product.iter()) {
                *y += c;
            }
            if change <= 1e-14 * norm_max(y) {
                return step;
            }
            previous = change;
        }
        MINIMUM_NORM_STEPS
    }
}
