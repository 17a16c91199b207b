//! The reduced symmetric quasidefinite system and its map to and from the unreduced one.
//!
//! With dz = C'w, where C and E come block by block from the projection,
//!
//! ```text
//! J (dx, dv) = (r1, r2)    <=>   [ P   (CA)' ] [dx]   [  r1   ]     dv = C'w + r2 + A dx
//!                                [ CA   -E   ] [ w] = [ -C r2 ]
//! J'(w1, w2) = (g1, g2)    <=>   K (w1, y) = (g1 + A'g2, C g2),     w2 = g2 - C'y
//! ```
//!
//! For an eigenbasis D = U L U' the rows are C = L^(1/2) U_a' and E = I - L: every entry is bounded by the data for any
//! eigenvalue in (0, 1]. K is then equilibrated symmetrically.
//!
//! # References
//! Vanderbei, Symmetric quasidefinite matrices, 1995. Ruiz, A scaling algorithm to equilibrate both rows and columns norms in
//! matrices, 2001, Algorithm 1.

use crate::projection::Block;
use crate::residual::ResidualJacobian;
use crate::tangent::norm_max;

const NONE: usize = usize::MAX;
const EQUILIBRATION_PASSES: usize = 10;

/// The scaled reduced matrix S K S, upper triangle by columns, every diagonal entry stored.
#[derive(Debug)]
pub(super) struct Reduced {
    n: usize,
    /// First reduced variable of each block, counted from n.
    first: Vec<usize>,
    pub(super) indptr: Vec<usize>,
    pub(super) indices: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// +1 or -1: the sign of each pivot, and of its regularization.
    pub(super) signs: Vec<i8>,
    scale: Vec<f64>,
}

impl Reduced {
    pub(super) fn new(jacobian: &ResidualJacobian) -> Self {
        let (program, projection) = (jacobian.program(), jacobian.projection());
        let (p, a) = (program.p(), program.effective_a());
        let n = program.n();

        let mut first = Vec::with_capacity(projection.blocks().len());
        let mut signs = vec![1i8; n];
        let mut coupling: Vec<(usize, usize, f64)> = Vec::new();
        // Rows of A that are rows of K as they are, and the block of the others.
        let mut direct = vec![NONE; program.m()];
        let mut block_of = vec![NONE; program.m()];
        for (index, (block, rows)) in projection.iter().enumerate() {
            let start = signs.len();
            first.push(start);
            block.signs(&mut signs);
            block.coupling(|row, column, value| {
                coupling.push((start + column, start + row, value));
            });
            match block {
                Block::Identity(_) => {
                    for (k, row) in rows.enumerate() {
                        direct[row] = start + k;
                    }
                }
                Block::Orthant(active) => {
                    let rows = rows.zip(active).filter(|x| *x.1);
                    for (k, (row, _)) in rows.enumerate() {
                        direct[row] = start + k;
                    }
                }
                Block::Vanishing(_) => {}
                _ => {
                    for row in rows {
                        block_of[row] = index;
                    }
                }
            }
        }
        let len = signs.len();

        // (CA)' by reduced column, collected column of A by column of A so that rows come out sorted.
        let mut entries: Vec<(usize, usize, f64, f64)> = Vec::new();
        let mut local: Vec<usize> = Vec::new();
        for j in 0..n {
            let (rows, values) = a.column(j);
            let mut k = 0;
            while k < rows.len() {
                let row = rows[k];
                if block_of[row] == NONE {
                    if direct[row] != NONE {
                        entries.push((direct[row], j, values[k], values[k].abs()));
                    }
                    k += 1;
                    continue;
                }
                let index = block_of[row];
                let range = projection.margins()[index].rows.clone();
                let end = k + rows[k..].partition_point(|&i| i < range.end);
                local.clear();
                local.extend(rows[k..end].iter().map(|i| i - range.start));
                let start = first[index];
                projection.blocks()[index].column(&local, &values[k..end], |r, value, size| {
                    entries.push((start + r, j, value, size));
                });
                k = end;
            }
        }

        let mut start = vec![0usize; len + 1];
        for &(column, ..) in &entries {
            start[column + 1] += 1;
        }
        for column in 0..len {
            start[column + 1] += start[column];
        }
        let mut sorted = vec![(0usize, 0.0, 0.0); entries.len()];
        let mut next = start.clone();
        for (column, row, value, size) in entries {
            sorted[next[column]] = (row, value, size);
            next[column] += 1;
        }
        coupling.sort_unstable_by_key(|x| (x.0, x.1));

        let mut indptr = Vec::with_capacity(len + 1);
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        let mut sizes: Vec<f64> = Vec::new();
        indptr.push(0);
        let mut coupled = coupling.into_iter().peekable();
        for column in 0..len {
            if column < n {
                let (rows, entries) = p.column(column);
                indices.extend_from_slice(rows);
                values.extend_from_slice(entries);
                sizes.extend(entries.iter().map(|v| v.abs()));
            } else {
                for &(row, value, size) in &sorted[start[column]..start[column + 1]] {
                    indices.push(row);
                    values.push(value);
                    sizes.push(size);
                }
                while let Some((_, row, value)) = coupled.next_if(|x| x.0 == column) {
                    indices.push(row);
                    values.push(value);
                    sizes.push(value.abs());
                }
            }
            if indices.len() == indptr[column] || indices.last() != Some(&column) {
                indices.push(column);
                values.push(0.0);
                sizes.push(0.0);
            }
            indptr.push(indices.len());
        }

        let mut reduced = Self {
            n,
            first,
            indptr,
            indices,
            values,
            signs,
            scale: vec![1.0; len],
        };
        reduced.equilibrate(sizes);
        reduced
    }

    /// True if the Jacobian's blocks take the places of the one this was made for.
    pub(super) fn fits(&self, jacobian: &ResidualJacobian) -> bool {
        let mut next = self.n;
        let mut blocks = jacobian.projection().blocks().iter();
        jacobian.program().n() == self.n
            && self.first.len() == blocks.len()
            && self.first.iter().zip(&mut blocks).all(|(&first, block)| {
                let fits = first == next;
                next += block.reduced_len();
                fits
            })
            && next == self.len()
    }

    pub(super) fn len(&self) -> usize {
        self.signs.len()
    }

    /// Scales by the size of the terms behind each entry, not by the entry: where terms cancel, what is left is rounding, and
    /// scaling it up would hide that K is singular.
    fn equilibrate(&mut self, mut sizes: Vec<f64>) {
        let len = self.len();
        for _ in 0..EQUILIBRATION_PASSES {
            let mut largest = vec![0.0_f64; len];
            for j in 0..len {
                let range = self.indptr[j]..self.indptr[j + 1];
                for (&i, &v) in self.indices[range.clone()].iter().zip(&sizes[range]) {
                    largest[i] = largest[i].max(v);
                    largest[j] = largest[j].max(v);
                }
            }
            let step: Vec<f64> = largest
                .iter()
                .map(|&x| if x > 0.0 { 1.0 / x.sqrt() } else { 1.0 })
                .collect();
            for j in 0..len {
                for k in self.indptr[j]..self.indptr[j + 1] {
                    let by = step[self.indices[k]] * step[j];
                    self.values[k] *= by;
                    sizes[k] *= by;
                }
                self.scale[j] *= step[j];
            }
            if largest.iter().all(|&x| x == 0.0 || (x - 1.0).abs() < 1e-2) {
                break;
            }
        }
    }

    /// out = S K S y.
    pub(super) fn multiply(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for j in 0..self.len() {
            let mut sum = 0.0;
            for k in self.indptr[j]..self.indptr[j + 1] {
                let (i, v) = (self.indices[k], self.values[k]);
                sum += v * y[i];
                if i != j {
                    out[i] += v * y[j];
                }
            }
            out[j] += sum;
        }
    }

    /// The largest row sum of |S K S|.
    pub(super) fn norm(&self) -> f64 {
        let mut sums = vec![0.0; self.len()];
        for j in 0..self.len() {
            for k in self.indptr[j]..self.indptr[j + 1] {
                let (i, v) = (self.indices[k], self.values[k].abs());
                sums[i] += v;
                if i != j {
                    sums[j] += v;
                }
            }
        }
        norm_max(&sums)
    }

    /// y = S (r1, -C r2) for a right-hand side of J.
    pub(super) fn load(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        y: &mut [f64],
        scratch: &mut [f64],
    ) {
        let (r1, r2) = rhs.split_at(self.n);
        y[..self.n].copy_from_slice(r1);
        self.compress(jacobian, r2, y, scratch);
        for y in &mut y[self.n..] {
            *y = -*y;
        }
        self.rescale(y);
    }

    /// y = S (g1 + A'g2, C g2) for a right-hand side of J'.
    pub(super) fn load_transpose(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        y: &mut [f64],
        scratch: &mut [f64],
    ) {
        let (g1, g2) = rhs.split_at(self.n);
        y[..self.n].copy_from_slice(g1);
        jacobian
            .program()
            .effective_a()
            .multiply_transpose_add(1.0, g2, &mut y[..self.n]);
        self.compress(jacobian, g2, y, scratch);
        self.rescale(y);
    }

    /// (dx, dv) from the scaled solution y.
    pub(super) fn unload(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        y: &mut [f64],
        out: &mut [f64],
        scratch: &mut [f64],
    ) {
        self.rescale(y);
        let (dx, dv) = out.split_at_mut(self.n);
        dx.copy_from_slice(&y[..self.n]);
        self.expand(jacobian, y, dv, scratch);
        for (dv, r) in dv.iter_mut().zip(&rhs[self.n..]) {
            *dv += r;
        }
        jacobian
            .program()
            .effective_a()
            .multiply_add(1.0, &y[..self.n], dv);
    }

    /// (w1, w2) from the scaled solution y.
    pub(super) fn unload_transpose(
        &self,
        jacobian: &ResidualJacobian,
        rhs: &[f64],
        y: &mut [f64],
        out: &mut [f64],
        scratch: &mut [f64],
    ) {
        self.rescale(y);
        let (w1, w2) = out.split_at_mut(self.n);
        w1.copy_from_slice(&y[..self.n]);
        self.expand(jacobian, y, w2, scratch);
        for (w, g) in w2.iter_mut().zip(&rhs[self.n..]) {
            *w = g - *w;
        }
    }

    fn rescale(&self, y: &mut [f64]) {
        for (y, s) in y.iter_mut().zip(&self.scale) {
            *y *= s;
        }
    }

    fn compress(&self, jacobian: &ResidualJacobian, u: &[f64], y: &mut [f64], scratch: &mut [f64]) {
        for ((block, rows), &first) in jacobian.projection().iter().zip(&self.first) {
            let w = &mut y[first..first + block.reduced_len()];
            block.compress(&u[rows], w, scratch);
        }
    }

    fn expand(&self, jacobian: &ResidualJacobian, y: &[f64], u: &mut [f64], scratch: &mut [f64]) {
        for ((block, rows), &first) in jacobian.projection().iter().zip(&self.first) {
            let w = &y[first..first + block.reduced_len()];
            block.expand(w, &mut u[rows], scratch);
        }
    }
}
