//! Products and triangular solves with one vector, in the widest vector instructions the machine has.

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::traits::ComplexField;
use faer::{Accum, ColMut, ColRef, MatRef, Par};

/// out = M x, or out += M x.
pub(super) fn multiply(m: MatRef<'_, f64>, x: &[f64], accumulate: Accum, out: &mut [f64]) {
    if m.ncols() == 0 {
        if accumulate == Accum::Replace {
            out.fill(0.0);
        }
        return;
    }
    let (x, out) = (ColRef::from_slice(x), ColMut::from_slice_mut(out));
    matmul(out.as_mat_mut(), accumulate, m, x.as_mat(), 1.0, Par::Seq);
}

/// out = M'x.
pub(super) fn multiply_transpose(m: MatRef<'_, f64>, x: &[f64], out: &mut [f64]) {
    if m.ncols() == 0 {
        return;
    }
    let (x, out) = (ColRef::from_slice(x), ColMut::from_slice_mut(out));
    let (m, replace) = (m.transpose(), Accum::Replace);
    matmul(out.as_mat_mut(), replace, m, x.as_mat(), 1.0, Par::Seq);
}

/// Columns taken together: each pass over x then does that much more work.
const BLOCK: usize = 4;

/// x = L^-1 x, four columns at a time; faer's recursion is for many right-hand sides.
pub(super) fn solve_lower(l: MatRef<'_, f64>, x: &mut [f64]) {
    let Some(l) = l.try_as_col_major() else {
        let x = ColMut::from_slice_mut(x).as_mat_mut();
        return solve_lower_triangular_in_place(l, x, Par::Seq);
    };
    let column = |j: usize| l.col(j).as_slice();
    let arch = <f64 as ComplexField>::Arch::default();
    arch.dispatch(
        #[inline(always)]
        || {
            let n = x.len();
            let mut j = 0;
            while j + BLOCK <= n {
                let (head, tail) = x.split_at_mut(j + BLOCK);
                let c: [&[f64]; BLOCK] = std::array::from_fn(|k| column(j + k));
                for k in 0..BLOCK {
                    head[j + k] /= c[k][j + k];
                    for i in k + 1..BLOCK {
                        head[j + i] -= c[k][j + i] * head[j + k];
                    }
                }
                let (a, b, d, e) = (head[j], head[j + 1], head[j + 2], head[j + 3]);
                let rest = j + BLOCK..n;
                let columns = c[0][rest.clone()]
                    .iter()
                    .zip(&c[1][rest.clone()])
                    .zip(c[2][rest.clone()].iter().zip(&c[3][rest]));
                for (x, ((c0, c1), (c2, c3))) in tail.iter_mut().zip(columns) {
                    *x -= (c0 * a + c1 * b) + (c2 * d + c3 * e);
                }
                j += BLOCK;
            }
            for k in j..n {
                let c = column(k);
                x[k] /= c[k];
                for i in k + 1..n {
                    x[i] -= c[i] * x[k];
                }
            }
        },
    );
}

/// Partial sums of a dot product.
const LANES: usize = 8;

/// x = L'^-1 x.
pub(super) fn solve_lower_transpose(l: MatRef<'_, f64>, x: &mut [f64]) {
    let Some(l) = l.try_as_col_major() else {
        let x = ColMut::from_slice_mut(x).as_mat_mut();
        return solve_upper_triangular_in_place(l.transpose(), x, Par::Seq);
    };
    let column = |j: usize| l.col(j).as_slice();
    let arch = <f64 as ComplexField>::Arch::default();
    arch.dispatch(
        #[inline(always)]
        || {
            let n = x.len();
            let whole = n - n % BLOCK;
            for k in (whole..n).rev() {
                let c = column(k);
                for i in k + 1..n {
                    x[k] -= c[i] * x[i];
                }
                x[k] /= c[k];
            }
            let mut j = whole;
            while j >= BLOCK {
                let (head, tail) = x.split_at_mut(j);
                j -= BLOCK;
                let c: [&[f64]; BLOCK] = std::array::from_fn(|k| column(j + k));
                let mut sums = [[0.0; LANES]; BLOCK];
                let rest = j + BLOCK..n;
                let parts: [_; BLOCK] =
                    std::array::from_fn(|k| c[k][rest.clone()].as_chunks::<LANES>());
                let (tail, last) = tail.as_chunks::<LANES>();
                for (t, x) in tail.iter().enumerate() {
                    for k in 0..BLOCK {
                        let c = &parts[k].0[t];
                        for lane in 0..LANES {
                            sums[k][lane] += c[lane] * x[lane];
                        }
                    }
                }
                for k in (0..BLOCK).rev() {
                    let mut sum: f64 = sums[k].iter().sum();
                    for (c, x) in parts[k].1.iter().zip(last) {
                        sum += c * x;
                    }
                    for i in k + 1..BLOCK {
                        sum += c[k][j + i] * head[j + i];
                    }
                    head[j + k] = (head[j + k] - sum) / c[k][j + k];
                }
            }
        },
    );
}
