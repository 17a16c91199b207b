//! Sparse LU with partial pivoting of the unreduced Jacobian, rows and columns scaled to unit largest entry.

use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::residual::ResidualJacobian;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::sparse::linalg::lu::{
    LuRef, LuSymbolicParams, NumericLu, SymbolicLu, factorize_symbolic_lu,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, MatMut, Par};

const BREAKDOWN: Error = Error::Factorization { method: "LU" };

/// A Jacobian with more entries than this is not assembled.
const MAX_ENTRIES: usize = 100_000_000;

pub(super) struct Lu {
    symbolic: SymbolicLu<usize>,
    numeric: NumericLu<usize, f64>,
    row_scale: Vec<f64>,
    column_scale: Vec<f64>,
    norm: f64,
}

impl std::fmt::Debug for Lu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lu")
            .field("dim", &self.row_scale.len())
            .finish_non_exhaustive()
    }
}

impl Lu {
    pub(super) fn new(jacobian: &ResidualJacobian) -> Result<Self> {
        let entries = dense_entries(jacobian);
        if entries > MAX_ENTRIES {
            return Err(Error::TooLarge {
                what: "the unreduced Jacobian",
                bytes: 16 * entries as u128,
                limit: 16 * MAX_ENTRIES as u128,
            });
        }
        let matrix = jacobian.to_sparse();
        let dim = matrix.cols();
        let (row_scale, column_scale, values, norm) = scaled(&matrix, jacobian);
        let view = SparseColMatRef::new(
            SymbolicSparseColMatRef::new_checked(
                dim,
                dim,
                matrix.pattern().indptr(),
                None,
                matrix.pattern().indices(),
            ),
            values.as_slice(),
        );
        let symbolic = factorize_symbolic_lu(view.symbolic(), LuSymbolicParams::default())
            .map_err(|_| BREAKDOWN)?;
        let mut numeric = NumericLu::new();
        let mut memory = MemBuffer::try_new(
            symbolic.factorize_numeric_lu_scratch::<f64>(Par::Seq, Default::default()),
        )
        .map_err(|_| BREAKDOWN)?;
        symbolic
            .factorize_numeric_lu(
                &mut numeric,
                view,
                Par::Seq,
                MemStack::new(&mut memory),
                Default::default(),
            )
            .map_err(|_| BREAKDOWN)?;
        Ok(Self {
            symbolic,
            numeric,
            row_scale,
            column_scale,
            norm,
        })
    }

    /// Bytes held beside faer's factorization, which does not tell its own.
    pub(super) fn bytes(&self) -> usize {
        16 * self.row_scale.len()
    }

    pub(super) fn scratch(&self) -> StackReq {
        self.symbolic
            .solve_in_place_scratch::<f64>(1, Par::Seq)
            .or(self
                .symbolic
                .solve_transpose_in_place_scratch::<f64>(1, Par::Seq))
    }

    fn solve_scaled(&self, y: &mut [f64], transpose: bool, memory: &mut MemBuffer) {
        if y.is_empty() {
            return;
        }
        let len = y.len();
        let lu = LuRef::new_unchecked(&self.symbolic, &self.numeric);
        let y = MatMut::from_column_major_slice_mut(y, len, 1);
        let stack = MemStack::new(memory);
        if transpose {
            lu.solve_transpose_in_place_with_conj(Conj::No, y, Par::Seq, stack);
        } else {
            lu.solve_in_place_with_conj(Conj::No, y, Par::Seq, stack);
        }
    }

    /// y <- J^-1 y, or J^-T y.
    pub(super) fn solve_in_place(&self, y: &mut [f64], transpose: bool, memory: &mut MemBuffer) {
        let (before, after) = if transpose {
            (&self.column_scale, &self.row_scale)
        } else {
            (&self.row_scale, &self.column_scale)
        };
        for (y, s) in y.iter_mut().zip(before) {
            *y *= s;
        }
        self.solve_scaled(y, transpose, memory);
        for (y, s) in y.iter_mut().zip(after) {
            *y *= s;
        }
    }

    /// Condition number of the scaled Jacobian by inverse iteration on J'J; infinity if a solve is not finite.
    pub(super) fn condition(&self, memory: &mut MemBuffer) -> f64 {
        let mut y = super::probe_vector(self.row_scale.len());
        let mut inverse = 0.0_f64;
        for pass in 0..6 {
            let size = y.iter().map(|x| x * x).sum::<f64>().sqrt();
            for x in &mut y {
                *x /= size;
            }
            self.solve_scaled(&mut y, pass % 2 == 1, memory);
            let grown = y.iter().map(|x| x * x).sum::<f64>().sqrt();
            if !grown.is_finite() {
                return f64::INFINITY;
            }
            inverse = inverse.max(grown);
        }
        (inverse * self.norm).max(1.0)
    }
}

/// Upper bound on the entries of J, dense blocks of D included.
pub(super) fn dense_entries(jacobian: &ResidualJacobian) -> usize {
    let program = jacobian.program();
    let mut total = 2 * program.p().nnz() + program.effective_a().nnz();
    for (block, rows) in jacobian.projection().iter() {
        use crate::projection::Block;
        let d = rows.len();
        total = total.saturating_add(match block {
            Block::Identity(_) | Block::Vanishing(_) | Block::Orthant(_) | Block::Diagonal(_) => d,
            _ => d.saturating_mul(d.saturating_add(program.n().min(d.saturating_mul(8)))),
        });
    }
    total
}

/// Row scale, column scale, scaled values and their largest column sum.
///
/// In a curved block D is rounded, so that A'D may hold nothing but rounding where it should vanish: rows and columns are scaled by the
/// size of their terms, or the scaling would hide that J is singular.
fn scaled(
    matrix: &SparseMatrix,
    jacobian: &ResidualJacobian,
) -> (Vec<f64>, Vec<f64>, Vec<f64>, f64) {
    use crate::projection::Block;
    let (n, dim) = (jacobian.program().n(), matrix.cols());
    let a = jacobian.program().effective_a();
    // The curved block of each row, if it lies in one.
    let mut block_of = vec![None; dim - n];
    for (index, (block, rows)) in jacobian.projection().iter().enumerate() {
        if let Block::SecondOrder(_) | Block::Psd(_) | Block::Spectral(_) = block {
            block_of[rows].fill(Some(index));
        }
    }
    let invert = |x: f64| if x > 0.0 { 1.0 / x } else { 1.0 };
    let mut row = vec![0.0_f64; dim];
    for (&i, &v) in matrix.pattern().indices().iter().zip(matrix.values()) {
        row[i] = row[i].max(v.abs());
    }
    for (row, block) in row[n..].iter_mut().zip(&block_of) {
        // D and I - D are of size 1.
        *row = row.max(if block.is_some() { 1.0 } else { 0.0 });
    }
    let mut terms = vec![0.0_f64; jacobian.projection().blocks().len()];
    for (j, row) in row[..n].iter_mut().enumerate() {
        let (rows, values) = a.column(j);
        let entries = || rows.iter().zip(values);
        let curved = || entries().filter_map(|(&i, v)| Some((block_of[i]?, v.abs())));
        *row = curved().fold(*row, |m, x| m.max(x.1));
        for (block, v) in curved() {
            terms[block] = terms[block].max(v * invert(*row));
        }
    }
    let row: Vec<f64> = row.into_iter().map(invert).collect();
    let mut column = vec![1.0; dim];
    let mut values = matrix.values().to_vec();
    let mut norm = 0.0_f64;
    for (j, scale) in column.iter_mut().enumerate() {
        let range = matrix.pattern().indptr()[j]..matrix.pattern().indptr()[j + 1];
        let rows = &matrix.pattern().indices()[range.clone()];
        let entries = &mut values[range];
        for (v, &i) in entries.iter_mut().zip(rows) {
            *v *= row[i];
        }
        let block = j.checked_sub(n).and_then(|i| block_of[i]);
        let size = block.map_or(0.0, |block| terms[block]);
        *scale = invert(entries.iter().fold(size, |m, v| m.max(v.abs())));
        let mut sum = 0.0;
        for v in entries {
            *v *= *scale;
            sum += v.abs();
        }
        norm = norm.max(sum);
    }
    (row, column, values, norm)
}
