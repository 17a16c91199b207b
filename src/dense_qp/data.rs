//! minimize 1/2 x'Px + q'x subject to Ex = e, Gx + s = h, s >= 0: the program as dense matrices, every row with largest entry 1.

use super::kernel::{multiply, multiply_transpose};
use crate::cone::{self, Cone};
use crate::pattern::Pattern;
use crate::program::ConeProgram;
use crate::tangent::norm_max;
use faer::{Accum, Mat, MatRef};
use std::sync::Arc;

/// Rows of A that make up E or G, in their order there.
#[derive(Debug)]
pub(super) struct Rows {
    /// The row of A.
    pub(super) row: Vec<usize>,
    /// What the row was divided by: its largest entry.
    pub(super) scale: Vec<f64>,
    /// e or h: the right-hand side, divided too.
    pub(super) rhs: Vec<f64>,
}

impl Rows {
    fn with_capacity(rows: usize) -> Self {
        Self {
            row: Vec::with_capacity(rows),
            scale: Vec::with_capacity(rows),
            rhs: Vec::with_capacity(rows),
        }
    }

    fn clear(&mut self) {
        self.row.clear();
        self.scale.clear();
        self.rhs.clear();
    }

    fn push(&mut self, row: usize, scale: f64, rhs: f64) {
        self.row.push(row);
        self.scale.push(scale);
        self.rhs.push(rhs / scale);
    }

    /// The same rows, without an allocation.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.row.clone_from(&other.row);
        self.scale.clone_from(&other.scale);
        self.rhs.clone_from(&other.rhs);
    }

    pub(super) fn len(&self) -> usize {
        self.row.len()
    }

    /// The largest entry of a vector over these rows, in A's scaling.
    pub(super) fn norm(&self, v: &[f64]) -> f64 {
        // The sum carries a NaN, which `max` would drop.
        let (mut largest, mut sum) = (0.0_f64, 0.0);
        for (v, scale) in v.iter().zip(&self.scale) {
            largest = largest.max((v * scale).abs());
            sum += v;
        }
        largest + 0.0 * sum
    }
}

/// The numbers. What has a capacity holds it, so that loading allocates nothing.
#[derive(Debug)]
pub(super) struct Data {
    /// Both triangles, n x n.
    pub(super) p: Mat<f64>,
    /// n.
    pub(super) q: Vec<f64>,
    /// E' in its first columns.
    pub(super) e: Mat<f64>,
    /// The rows of G with more than one stored entry, transposed, in its first columns.
    pub(super) g: Mat<f64>,
    /// Column and value of the rows of G after them.
    pub(super) bounds: Vec<(usize, f64)>,
    pub(super) equalities: Rows,
    pub(super) inequalities: Rows,
    /// What q, e and h were divided by: x, y, z and s are homogeneous of degree one in them.
    pub(super) unit: f64,
}

impl Data {
    /// Room for n variables and so many rows.
    pub(super) fn with_capacity(n: usize, equalities: usize, dense: usize, bounds: usize) -> Self {
        Self {
            p: Mat::zeros(n, n),
            q: vec![0.0; n],
            e: Mat::zeros(n, equalities),
            g: Mat::zeros(n, dense),
            bounds: Vec::with_capacity(bounds),
            equalities: Rows::with_capacity(equalities),
            inequalities: Rows::with_capacity(dense + bounds),
            unit: 1.0,
        }
    }

    pub(super) fn n(&self) -> usize {
        self.q.len()
    }
    /// E', n x equalities.
    pub(super) fn e(&self) -> MatRef<'_, f64> {
        self.e.subcols(0, self.equalities.len())
    }
    /// Rows of G held as a matrix.
    pub(super) fn dense(&self) -> usize {
        self.inequalities.len() - self.bounds.len()
    }
    /// Those rows, transposed.
    pub(super) fn g(&self) -> MatRef<'_, f64> {
        self.g.subcols(0, self.dense())
    }

    /// out = P x.
    pub(super) fn p_times(&self, x: &[f64], out: &mut [f64]) {
        multiply(self.p.as_ref(), x, Accum::Replace, out);
    }
    /// out = E x.
    pub(super) fn e_times(&self, x: &[f64], out: &mut [f64]) {
        multiply_transpose(self.e(), x, out);
    }
    /// out = G x.
    pub(super) fn g_times(&self, x: &[f64], out: &mut [f64]) {
        let (dense, bounds) = out.split_at_mut(self.dense());
        multiply_transpose(self.g(), x, dense);
        for (out, &(j, a)) in bounds.iter_mut().zip(&self.bounds) {
            *out = a * x[j];
        }
    }
    /// out += E'y.
    pub(super) fn e_transpose_add(&self, y: &[f64], out: &mut [f64]) {
        multiply(self.e(), y, Accum::Add, out);
    }
    /// out += G'z.
    pub(super) fn g_transpose_add(&self, z: &[f64], out: &mut [f64]) {
        let (dense, bounds) = z.split_at(self.dense());
        multiply(self.g(), dense, Accum::Add, out);
        for (z, &(j, a)) in bounds.iter().zip(&self.bounds) {
            out[j] += a * z;
        }
    }
}

/// How a row of A is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Equality,
    Dense,
    /// An inequality with one stored entry at most.
    Bound,
}

/// Where the numbers of a structure go.
#[derive(Debug)]
pub(super) struct Loader {
    pattern: Arc<Pattern>,
    cones: Vec<Cone>,
    kind: Vec<Kind>,
    /// Position of each row among its kind; `ABSENT` for one without a nonzero entry.
    position: Vec<usize>,
    /// The largest entry of each row, then one over it.
    scale: Vec<f64>,
    /// Equalities, dense rows, bounds.
    counts: [usize; 3],
}

const ABSENT: usize = usize::MAX;

impl Loader {
    /// `None` if a cone is neither zero nor nonnegative.
    pub(super) fn new(program: &ConeProgram) -> Option<Self> {
        let m = program.m();
        let mut entries = vec![0_usize; m];
        for &i in program.a().pattern().indices() {
            entries[i] += 1;
        }
        let mut kind = Vec::with_capacity(m);
        let mut counts = [0; 3];
        let ranges = cone::row_ranges(program.cones());
        for (range, cone) in ranges.into_iter().zip(program.cones()) {
            for i in range {
                let this = match cone {
                    Cone::Zero(_) => Kind::Equality,
                    Cone::Nonnegative(_) if entries[i] <= 1 => Kind::Bound,
                    Cone::Nonnegative(_) => Kind::Dense,
                    _ => return None,
                };
                counts[this as usize] += 1;
                kind.push(this);
            }
        }
        Some(Self {
            pattern: Arc::clone(program.a().pattern()),
            cones: program.cones().to_vec(),
            position: vec![ABSENT; m],
            scale: vec![0.0; m],
            kind,
            counts,
        })
    }

    /// Equalities, inequalities with more than one stored entry, and others.
    pub(super) fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// Takes over the numbers. `None` if the structure is another one, or a row without an entry cannot hold.
    pub(super) fn load(&mut self, program: &ConeProgram, data: &mut Data) -> Option<()> {
        let (a, b) = (program.effective_a(), program.effective_b());
        let is_same = Arc::ptr_eq(a.pattern(), &self.pattern) || **a.pattern() == *self.pattern;
        if !is_same || program.cones() != self.cones || program.n() != data.n() {
            return None;
        }
        let size = norm_max(program.q()).max(norm_max(b));
        // Tolerances are relative to data of order one: smaller ones are made larger.
        data.unit = if size > 0.0 { size.min(1.0) } else { 1.0 };
        for (scaled, q) in data.q.iter_mut().zip(program.q()) {
            *scaled = q / data.unit;
        }
        data.p.as_mut().fill(0.0);
        for j in 0..program.n() {
            let (rows, values) = program.p().column(j);
            for (&i, &v) in rows.iter().zip(values) {
                data.p[(i, j)] = v;
                data.p[(j, i)] = v;
            }
        }
        self.scale.fill(0.0);
        for (&i, &v) in a.pattern().indices().iter().zip(a.values()) {
            self.scale[i] = self.scale[i].max(v.abs());
        }
        self.place(b, data)?;
        for scale in &mut self.scale {
            *scale = scale.recip();
        }
        data.e.as_mut().fill(0.0);
        data.g.as_mut().fill(0.0);
        for j in 0..program.n() {
            let (rows, values) = a.column(j);
            for (&i, &v) in rows.iter().zip(values) {
                let k = self.position[i];
                if k == ABSENT {
                    continue;
                }
                let value = v * self.scale[i];
                match self.kind[i] {
                    Kind::Equality => data.e[(j, k)] = value,
                    Kind::Dense => data.g[(j, k)] = value,
                    Kind::Bound => data.bounds[k] = (j, value),
                }
            }
        }
        Some(())
    }

    /// Gives every row with a nonzero entry its place.
    fn place(&mut self, b: &[f64], data: &mut Data) -> Option<()> {
        data.equalities.clear();
        data.inequalities.clear();
        data.bounds.clear();
        // Dense rows come before bounds in G.
        for wanted in [Kind::Equality, Kind::Dense, Kind::Bound] {
            for (i, &kind) in self.kind.iter().enumerate() {
                let scale = self.scale[i];
                if kind != wanted {
                    continue;
                }
                if scale == 0.0 {
                    self.position[i] = ABSENT;
                    if b[i] < 0.0 || kind == Kind::Equality && b[i] != 0.0 {
                        return None;
                    }
                    continue;
                }
                let rows = match kind {
                    Kind::Equality => &mut data.equalities,
                    Kind::Dense | Kind::Bound => &mut data.inequalities,
                };
                self.position[i] = rows.len();
                rows.push(i, scale, b[i] / data.unit);
                if kind == Kind::Bound {
                    self.position[i] = data.bounds.len();
                    data.bounds.push((0, 0.0));
                }
            }
        }
        Some(())
    }
}
