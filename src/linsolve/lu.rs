//! LU with partial pivoting, sparse or of a matrix with few zeros dense, rows and columns scaled to unit largest entry.

use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::residual::ResidualJacobian;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::solvers::{PartialPivLu, SolveCore};
use faer::sparse::linalg::lu::{
    LuRef, LuSymbolicParams, NumericLu, SymbolicLu, factorize_symbolic_lu,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, Mat, MatMut, Par};

const BREAKDOWN: Error = Error::Factorization { method: "LU" };

/// A Jacobian with more entries than this is not assembled.
const MAX_ENTRIES: usize = 100_000_000;

/// A square matrix other than J is factored dense up to this order if a quarter of its entries is stored.
const DENSE: usize = 2000;

enum Factors {
    Sparse {
        symbolic: SymbolicLu<usize>,
        numeric: Box<NumericLu<usize, f64>>,
    },
    Dense(PartialPivLu<f64>),
}

pub(super) struct Lu {
    factors: Factors,
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
        Self::of(&jacobian.to_sparse(), Some(jacobian))
    }

    /// Of a square matrix. If it holds J of a residual map, that J tells which of its terms are rounded.
    pub(super) fn of(matrix: &SparseMatrix, jacobian: Option<&ResidualJacobian>) -> Result<Self> {
        let dim = matrix.cols();
        let (row_scale, column_scale, values, norm) = scaled(matrix, jacobian);
        let factors = if jacobian.is_none() && dim <= DENSE && 4 * matrix.nnz() >= dim * dim {
            Factors::Dense(dense(matrix, &values))
        } else {
            sparse(matrix, &values)?
        };
        Ok(Self {
            factors,
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
        match &self.factors {
            Factors::Sparse { symbolic, .. } => symbolic
                .solve_in_place_scratch::<f64>(1, Par::Seq)
                .or(symbolic.solve_transpose_in_place_scratch::<f64>(1, Par::Seq)),
            Factors::Dense(_) => StackReq::EMPTY,
        }
    }

    fn solve_scaled(&self, y: &mut [f64], transpose: bool, memory: &mut MemBuffer) {
        if y.is_empty() {
            return;
        }
        let len = y.len();
        let y = MatMut::from_column_major_slice_mut(y, len, 1);
        match &self.factors {
            Factors::Sparse { symbolic, numeric } => {
                let lu = LuRef::new_unchecked(symbolic, numeric);
                let stack = MemStack::new(memory);
                if transpose {
                    lu.solve_transpose_in_place_with_conj(Conj::No, y, Par::Seq, stack);
                } else {
                    lu.solve_in_place_with_conj(Conj::No, y, Par::Seq, stack);
                }
            }
            Factors::Dense(lu) if transpose => lu.solve_transpose_in_place_with_conj(Conj::No, y),
            Factors::Dense(lu) => lu.solve_in_place_with_conj(Conj::No, y),
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

fn dense(matrix: &SparseMatrix, values: &[f64]) -> PartialPivLu<f64> {
    let dim = matrix.cols();
    let mut full = Mat::<f64>::zeros(dim, dim);
    for j in 0..dim {
        let range = matrix.pattern().indptr()[j]..matrix.pattern().indptr()[j + 1];
        for (&i, &v) in matrix.pattern().indices()[range.clone()]
            .iter()
            .zip(&values[range])
        {
            full[(i, j)] = v;
        }
    }
    full.partial_piv_lu()
}

fn sparse(matrix: &SparseMatrix, values: &[f64]) -> Result<Factors> {
    let dim = matrix.cols();
    let view = SparseColMatRef::new(
        SymbolicSparseColMatRef::new_checked(
            dim,
            dim,
            matrix.pattern().indptr(),
            None,
            matrix.pattern().indices(),
        ),
        values,
    );
    let symbolic = factorize_symbolic_lu(view.symbolic(), LuSymbolicParams::default())
        .map_err(|_| BREAKDOWN)?;
    let mut numeric = Box::new(NumericLu::new());
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
    Ok(Factors::Sparse { symbolic, numeric })
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
    jacobian: Option<&ResidualJacobian>,
) -> (Vec<f64>, Vec<f64>, Vec<f64>, f64) {
    let dim = matrix.cols();
    let invert = |x: f64| if x > 0.0 { 1.0 / x } else { 1.0 };
    let mut row = vec![0.0_f64; dim];
    for (&i, &v) in matrix.pattern().indices().iter().zip(matrix.values()) {
        row[i] = row[i].max(v.abs());
    }
    // The least size of each column's largest entry, in scaled rows.
    let mut least = vec![0.0_f64; dim];
    if let Some(jacobian) = jacobian {
        let n = jacobian.program().n();
        let a = jacobian.program().effective_a();
        let block_of = curved_blocks(jacobian);
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
        for (least, block) in least[n..].iter_mut().zip(&block_of) {
            *least = block.map_or(0.0, |block| terms[block]);
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
        *scale = invert(entries.iter().fold(least[j], |m, v| m.max(v.abs())));
        let mut sum = 0.0;
        for v in entries {
            *v *= *scale;
            sum += v.abs();
        }
        norm = norm.max(sum);
    }
    (row, column, values, norm)
}

/// The curved block of each row, if it lies in one.
fn curved_blocks(jacobian: &ResidualJacobian) -> Vec<Option<usize>> {
    use crate::projection::Block;
    let mut block_of = vec![None; jacobian.program().m()];
    for (index, (block, rows)) in jacobian.projection().iter().enumerate() {
        if let Block::SecondOrder(_) | Block::Psd(_) | Block::Spectral(_) = block {
            block_of[rows].fill(Some(index));
        }
    }
    block_of
}
