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
//! eigenvalue in (0, 1]. K is then equilibrated symmetrically. Which slot a row of K has, the structure says.
//!
//! # References
//! Vanderbei, Symmetric quasidefinite matrices, 1995. Ruiz, A scaling algorithm to equilibrate both rows and columns norms in
//! matrices, 2001, Algorithm 1.

use super::structure::{Form, NONE, Slots, Structure, Variable};
use crate::pattern::{contiguous, gather, scatter, scatter_absolute, sum_absolute};
use crate::projection::{Block, Psd};
use crate::residual::ResidualJacobian;
use crate::tangent::norm_max;
use std::sync::Arc;

const EQUILIBRATION_PASSES: usize = 10;

/// Rows whose largest entries lie within this factor of each other, squared, are equilibrated.
const EQUILIBRATED: f64 = 2.0;

/// The scaled reduced matrix S K S on its structure's pattern.
#[derive(Debug)]
pub(super) struct Reduced {
    pub(super) structure: Arc<Structure>,
    pub(super) values: Vec<f64>,
    /// The size of the terms behind each value, while it is scaled.
    sizes: Vec<f64>,
    scale: Vec<f64>,
    /// The slots that take part: the others are zero beside their pivots.
    pub(super) is_active: Vec<bool>,
    /// Largest entries and scaling steps.
    work: [Vec<f64>; 2],
    /// What each row of A is multiplied by where it is a row of K as it is.
    row_factor: Vec<f64>,
}

impl Reduced {
    pub(super) fn new(structure: Arc<Structure>) -> Self {
        let (len, entries) = (structure.len(), structure.indices.len());
        Self {
            values: vec![0.0; entries],
            sizes: vec![0.0; entries],
            scale: vec![1.0; len],
            is_active: vec![true; len],
            work: [vec![0.0; len], vec![0.0; len]],
            row_factor: vec![0.0; structure.m],
            structure,
        }
    }

    /// Takes the values of another Jacobian of the same structure.
    pub(super) fn fill(&mut self, jacobian: &ResidualJacobian) {
        let structure = Arc::clone(&self.structure);
        let (program, projection) = (jacobian.program(), jacobian.projection());
        self.values.fill(0.0);
        self.sizes.fill(0.0);
        self.is_active.fill(true);
        for (&k, &v) in structure.p_entry.iter().zip(program.p().values()) {
            self.values[k] = v;
        }
        for (slots, block) in structure.slots.iter().zip(projection.blocks()) {
            match &slots.form {
                Form::Rows => self.fill_rows(slots, block),
                Form::SecondOrder { columns } => {
                    let (factor, complement) = match block {
                        Block::SecondOrder(b) => (b.row_scale(), None),
                        Block::Identity(_) => (1.0, Some(0.0)),
                        _ => (0.0, Some(1.0)),
                    };
                    self.row_factor[slots.rows.clone()].fill(factor);
                    let extra = slots.first + slots.rows.len();
                    match complement {
                        Some(complement) => {
                            for slot in slots.first..extra {
                                self.set_pivot(slot, -complement);
                                self.is_active[slot] = complement == 0.0;
                            }
                            self.set_pivot(extra, 1.0);
                            self.set_pivot(extra + 1, -1.0);
                            self.is_active[extra..extra + 2].fill(false);
                        }
                        None => {
                            self.couple(slots, block, columns.len());
                            for (t, part) in columns.iter().enumerate() {
                                self.fill_part(jacobian, slots, block, t, part.entries.clone());
                            }
                        }
                    }
                }
                Form::Rotated { columns } => {
                    self.couple(slots, block, 0);
                    for (t, part) in columns.iter().enumerate() {
                        self.fill_part(jacobian, slots, block, t, part.entries.clone());
                    }
                }
                Form::Variable(_) => {}
            }
        }
        // These take the factors of the other rows.
        for (slots, block) in structure.slots.iter().zip(projection.blocks()) {
            if let Form::Variable(variable) = &slots.form {
                self.fill_variable(jacobian, slots, block, variable);
            }
        }
        let a = program.effective_a();
        for ((&k, &i), &v) in structure
            .a_entry
            .iter()
            .zip(a.pattern().indices())
            .zip(a.values())
        {
            if k != NONE {
                self.values[k] = self.row_factor[i] * v;
            }
        }
        // Where nothing cancels, the terms are the entry.
        for (size, v) in self.sizes.iter_mut().zip(&self.values) {
            *size = size.max(v.abs());
        }
        self.equilibrate();
    }

    fn set_pivot(&mut self, slot: usize, value: f64) {
        self.values[self.structure.indptr[slot + 1] - 1] = value;
    }

    fn fill_rows(&mut self, slots: &Slots, block: &Block) {
        if let Block::Diagonal(b) = block {
            for (k, row) in slots.rows.clone().enumerate() {
                self.row_factor[row] = b.lambda[k].sqrt();
                self.set_pivot(slots.first + k, -b.colambda[k]);
                self.is_active[slots.first + k] = b.lambda[k] > 0.0;
            }
            return;
        }
        for (k, row) in slots.rows.clone().enumerate() {
            let is_active = match block {
                Block::Identity(_) => true,
                Block::Orthant(active) => active[k],
                _ => false,
            };
            self.row_factor[row] = f64::from(u8::from(is_active));
            self.is_active[slots.first + k] = is_active;
            if !is_active {
                self.set_pivot(slots.first + k, -1.0);
            }
        }
    }

    /// -E, and the pivots of the slots that take no part. `before` entries stand before the coupled ones in the last column of a
    /// second-order block.
    fn couple(&mut self, slots: &Slots, block: &Block, before: usize) {
        let (first, used) = (slots.first, block.reduced_len());
        for slot in first + used..first + slots.len() {
            self.set_pivot(slot, -1.0);
            self.is_active[slot] = false;
        }
        let (indptr, rows) = (&self.structure.indptr, slots.rows.len());
        let values = &mut self.values;
        block.coupling(|row, column, value| {
            let at = if row == column {
                indptr[first + column + 1] - 1
            } else if column == rows {
                indptr[first + column] + row
            } else {
                indptr[first + column] + before + row
            };
            values[at] = value;
        });
    }

    /// C a for the t-th column that touches the block.
    fn fill_part(
        &mut self,
        jacobian: &ResidualJacobian,
        slots: &Slots,
        block: &Block,
        t: usize,
        entries: std::ops::Range<usize>,
    ) {
        let a = jacobian.program().effective_a();
        let (rows, values) = (
            &a.pattern().indices()[entries.clone()],
            &a.values()[entries],
        );
        let (start, first) = (slots.rows.start, slots.first);
        if let Block::Identity(_) = block {
            for (&i, &v) in rows.iter().zip(values) {
                self.values[self.structure.indptr[first + i - start] + t] = v;
            }
            return;
        }
        let (indptr, out, sizes) = (&self.structure.indptr, &mut self.values, &mut self.sizes);
        block.column(rows, start, values, |row, value, size| {
            let at = indptr[first + row] + t;
            out[at] = value;
            sizes[at] = size;
        });
    }

    /// L^(1/2) on the rotated variables of the block, and the other rows in its eigenbasis.
    fn fill_variable(
        &mut self,
        jacobian: &ResidualJacobian,
        slots: &Slots,
        block: &Block,
        variable: &Variable,
    ) {
        self.couple(slots, block, 0);
        let roots = match block {
            Block::Psd(b) => b.roots(),
            _ => vec![1.0; block.reduced_len()],
        };
        for (slot, root) in roots.into_iter().enumerate() {
            let at = self.structure.indptr[slots.first + slot];
            self.values[at] = root;
        }
        let curvature = variable.curvature(jacobian.program(), 0);
        for &column in &variable.columns {
            self.set_pivot(column, curvature);
        }
        let a = jacobian.program().effective_a().values();
        for other in &variable.others {
            let factor = self.row_factor[other.row];
            if factor == 0.0 {
                continue;
            }
            let rows: Vec<usize> = other.entries.iter().map(|e| e.0).collect();
            let values: Vec<f64> = other
                .entries
                .iter()
                .map(|&(row, k)| factor * a[k] / a[variable.entries[row]])
                .collect();
            match block {
                Block::Psd(b) => {
                    let (out, sizes) = (&mut self.values, &mut self.sizes);
                    b.rotated(&rows, &values, |row, value, size| {
                        out[other.places[row]] = value;
                        sizes[other.places[row]] = size;
                    });
                }
                _ => {
                    for (row, value) in rows.into_iter().zip(values) {
                        self.values[other.places[row]] = value;
                    }
                }
            }
        }
    }

    /// Bytes held, without the structure.
    pub(super) fn bytes(&self) -> usize {
        16 * self.values.len() + 25 * self.len() + 8 * self.row_factor.len()
    }

    pub(super) fn len(&self) -> usize {
        self.structure.len()
    }

    /// Scales by the size of the terms behind each entry, not by the entry: where terms cancel, what is left is rounding, and
    /// scaling it up would hide that K is singular.
    fn equilibrate(&mut self) {
        let len = self.len();
        let (indptr, indices) = (&self.structure.indptr, &self.structure.indices);
        let [largest, step] = &mut self.work;
        self.scale.fill(1.0);
        for pass in 0..=EQUILIBRATION_PASSES {
            largest.fill(0.0);
            for j in 0..len {
                // The diagonal, the last entry, stands apart: the others of a dense column are contiguous.
                let (above, diagonal) = (indptr[j]..indptr[j + 1] - 1, indptr[j + 1] - 1);
                let (rows, sizes) = (&indices[above.clone()], &self.sizes[above]);
                let own = largest_of(rows, sizes, largest).max(self.sizes[diagonal]);
                largest[j] = largest[j].max(own);
            }
            let is_equal = |&x: &f64| x == 0.0 || (x <= EQUILIBRATED && x * EQUILIBRATED >= 1.0);
            if pass == EQUILIBRATION_PASSES || largest.iter().all(is_equal) {
                break;
            }
            for (step, &x) in step.iter_mut().zip(largest.iter()) {
                *step = if x > 0.0 { 1.0 / x.sqrt() } else { 1.0 };
            }
            for j in 0..len {
                let range = indptr[j]..indptr[j + 1];
                scale_column(
                    &indices[range.clone()],
                    &mut self.sizes[range],
                    step,
                    step[j],
                );
                self.scale[j] *= step[j];
            }
        }
        for j in 0..len {
            let range = indptr[j]..indptr[j + 1];
            let (rows, own) = (&indices[range.clone()], self.scale[j]);
            scale_column(rows, &mut self.values[range], &self.scale, own);
        }
    }

    /// out = S K S y.
    pub(super) fn multiply(&self, y: &[f64], out: &mut [f64]) {
        let (indptr, indices) = (&self.structure.indptr, &self.structure.indices);
        out.fill(0.0);
        for j in 0..self.len() {
            let (above, diagonal) = (indptr[j]..indptr[j + 1] - 1, indptr[j + 1] - 1);
            let (rows, values) = (&indices[above.clone()], &self.values[above]);
            out[j] += gather(rows, values, y) + self.values[diagonal] * y[j];
            scatter(rows, values, y[j], out);
        }
    }

    /// The largest row sum of |S K S|.
    pub(super) fn norm(&self) -> f64 {
        let (indptr, indices) = (&self.structure.indptr, &self.structure.indices);
        let mut sums = vec![0.0; self.len()];
        for j in 0..self.len() {
            let (above, diagonal) = (indptr[j]..indptr[j + 1] - 1, indptr[j + 1] - 1);
            let (rows, values) = (&indices[above.clone()], &self.values[above]);
            sums[j] += sum_absolute(values) + self.values[diagonal].abs();
            scatter_absolute(rows, values, 1.0, &mut sums);
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
        let (r1, r2) = rhs.split_at(self.structure.n);
        y[..r1.len()].copy_from_slice(r1);
        self.compress(jacobian, r2, y, scratch);
        for y in &mut y[r1.len()..] {
            *y = -*y;
        }
        self.rotate_variables(jacobian, y, scratch);
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
        let (g1, g2) = rhs.split_at(self.structure.n);
        let (top, _) = y.split_at_mut(g1.len());
        top.copy_from_slice(g1);
        jacobian
            .program()
            .effective_a()
            .multiply_transpose_add(1.0, g2, top);
        self.compress(jacobian, g2, y, scratch);
        self.rotate_variables(jacobian, y, scratch);
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
        self.recover_variables(jacobian, y, scratch);
        let (dx, dv) = out.split_at_mut(self.structure.n);
        dx.copy_from_slice(&y[..dx.len()]);
        self.expand(jacobian, y, dv, scratch);
        for (dv, r) in dv.iter_mut().zip(&rhs[dx.len()..]) {
            *dv += r;
        }
        jacobian.program().effective_a().multiply_add(1.0, dx, dv);
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
        self.recover_variables(jacobian, y, scratch);
        let (w1, w2) = out.split_at_mut(self.structure.n);
        w1.copy_from_slice(&y[..w1.len()]);
        self.expand(jacobian, y, w2, scratch);
        for (w, g) in w2.iter_mut().zip(&rhs[w1.len()..]) {
            *w = g - *w;
        }
    }

    fn rescale(&self, y: &mut [f64]) {
        for (y, s) in y.iter_mut().zip(&self.scale) {
            *y *= s;
        }
    }

    /// The slots of y become C u.
    fn compress(&self, jacobian: &ResidualJacobian, u: &[f64], y: &mut [f64], scratch: &mut [f64]) {
        for (slots, block) in self
            .structure
            .slots
            .iter()
            .zip(jacobian.projection().blocks())
        {
            let w = &mut y[slots.first..slots.first + slots.len()];
            let u = &u[slots.rows.clone()];
            match (&slots.form, block) {
                (Form::Rows, Block::Orthant(active)) => {
                    for ((w, u), active) in w.iter_mut().zip(u).zip(active) {
                        *w = if *active { *u } else { 0.0 };
                    }
                }
                (Form::Rows, Block::Diagonal(b)) => {
                    for ((w, u), lambda) in w.iter_mut().zip(u).zip(&b.lambda) {
                        *w = lambda.sqrt() * u;
                    }
                }
                _ => {
                    let (used, rest) = w.split_at_mut(block.reduced_len());
                    block.compress(u, used, scratch);
                    rest.fill(0.0);
                }
            }
        }
    }

    /// u = C'w for the slots w of y.
    fn expand(&self, jacobian: &ResidualJacobian, y: &[f64], u: &mut [f64], scratch: &mut [f64]) {
        for (slots, block) in self
            .structure
            .slots
            .iter()
            .zip(jacobian.projection().blocks())
        {
            let w = &y[slots.first..slots.first + slots.len()];
            let u = &mut u[slots.rows.clone()];
            match (&slots.form, block) {
                (Form::Rows, Block::Orthant(active)) => {
                    for ((w, u), active) in w.iter().zip(u).zip(active) {
                        *u = if *active { *w } else { 0.0 };
                    }
                }
                (Form::Rows, Block::Diagonal(b)) => {
                    for ((w, u), lambda) in w.iter().zip(u).zip(&b.lambda) {
                        *u = lambda.sqrt() * w;
                    }
                }
                _ => block.expand(&w[..block.reduced_len()], u, scratch),
            }
        }
    }

    /// A right-hand side of the variables x becomes one of xi: U'S^-1 r.
    fn rotate_variables(&self, jacobian: &ResidualJacobian, y: &mut [f64], scratch: &mut [f64]) {
        self.for_variables(
            jacobian,
            scratch,
            |variable, scale, psd, [from, to], rest| {
                for (row, (from, scale)) in from.iter_mut().zip(scale).enumerate() {
                    *from = y[variable.columns[row]] / scale;
                }
                match psd {
                    Some(psd) => psd.enter_eigenbasis(from, to, rest),
                    None => to.copy_from_slice(from),
                }
                for (&column, value) in variable.columns.iter().zip(to.iter()) {
                    y[column] = *value;
                }
            },
        );
    }

    /// xi becomes x = S^-1 U xi.
    fn recover_variables(&self, jacobian: &ResidualJacobian, y: &mut [f64], scratch: &mut [f64]) {
        self.for_variables(
            jacobian,
            scratch,
            |variable, scale, psd, [from, to], rest| {
                for (from, &column) in from.iter_mut().zip(&variable.columns) {
                    *from = y[column];
                }
                match psd {
                    Some(psd) => psd.leave_eigenbasis(from, to, rest),
                    None => to.copy_from_slice(from),
                }
                for ((&column, value), scale) in variable.columns.iter().zip(to.iter()).zip(scale) {
                    y[column] = value / scale;
                }
            },
        );
    }

    fn for_variables(
        &self,
        jacobian: &ResidualJacobian,
        scratch: &mut [f64],
        mut act: impl FnMut(
            &Variable,
            &mut dyn Iterator<Item = f64>,
            Option<&Psd>,
            [&mut [f64]; 2],
            &mut [f64],
        ),
    ) {
        let a = jacobian.program().effective_a().values();
        for (slots, block) in self
            .structure
            .slots
            .iter()
            .zip(jacobian.projection().blocks())
        {
            let Form::Variable(variable) = &slots.form else {
                continue;
            };
            let psd = match block {
                Block::Psd(b) => Some(b),
                _ => None,
            };
            let len = variable.columns.len();
            let (from, rest) = scratch.split_at_mut(len);
            let (to, rest) = rest.split_at_mut(len);
            let mut scale = variable.entries.iter().map(|&k| a[k]);
            act(variable, &mut scale, psd, [from, to], rest);
        }
    }
}

/// Raises the entries of `largest` at the rows to the sizes; the largest size.
fn largest_of(rows: &[usize], sizes: &[f64], largest: &mut [f64]) -> f64 {
    let larger = |a: f64, b: f64| if a > b { a } else { b };
    match contiguous(rows) {
        Some(range) => {
            for (l, &v) in largest[range].iter_mut().zip(sizes) {
                *l = larger(*l, v);
            }
            let mut parts = [0.0; 8];
            let (chunks, rest) = sizes.as_chunks::<8>();
            for chunk in chunks {
                for k in 0..8 {
                    parts[k] = larger(parts[k], chunk[k]);
                }
            }
            parts.iter().chain(rest).fold(0.0, |m, &v| larger(m, v))
        }
        None => rows.iter().zip(sizes).fold(0.0, |own, (&i, &v)| {
            largest[i] = larger(largest[i], v);
            larger(own, v)
        }),
    }
}

/// Multiplies each entry of a column by its row's scale and by `own`.
fn scale_column(rows: &[usize], values: &mut [f64], scale: &[f64], own: f64) {
    let above = values.len() - 1;
    values[above] *= scale[rows[above]] * own;
    match contiguous(&rows[..above]) {
        Some(range) => {
            for (v, s) in values[..above].iter_mut().zip(&scale[range]) {
                *v *= s * own;
            }
        }
        None => {
            for (v, &i) in values[..above].iter_mut().zip(rows) {
                *v *= scale[i] * own;
            }
        }
    }
}
