//! The small dense matrices programs are drawn with.

use super::Direction;
use crate::pattern::SparseMatrix;
use crate::random::Random;
use crate::tangent::dot;

/// A dense matrix under rotations, column-major.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) data: Vec<f64>,
}

pub(super) fn identity(n: usize) -> Dense {
    let mut matrix = Dense::zeros(n, n);
    (0..n).for_each(|i| matrix.set(i, i, 1.0));
    matrix
}

impl Dense {
    pub(super) fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            data: vec![0.0; rows * cols],
        }
    }

    pub(super) fn set(&mut self, i: usize, j: usize, value: f64) {
        self.data[j * self.rows + i] = value;
    }

    pub(super) fn column(&self, j: usize) -> &[f64] {
        &self.data[j * self.rows..(j + 1) * self.rows]
    }

    /// Rotates two entries into each other. Zeros stay zeros, exactly.
    pub(super) fn mix(&mut self, a: usize, b: usize, (c, s): (f64, f64)) {
        let (x, y) = (self.data[a], self.data[b]);
        self.data[a] = c * x - s * y;
        self.data[b] = s * x + c * y;
    }

    pub(super) fn rotate_rows(&mut self, (a, b): (usize, usize), turn: (f64, f64)) {
        for j in 0..self.cols {
            self.mix(j * self.rows + a, j * self.rows + b, turn);
        }
    }

    pub(super) fn rotate(&mut self, (a, b): (usize, usize), turn: (f64, f64)) {
        for i in 0..self.rows {
            self.mix(a * self.rows + i, b * self.rows + i, turn);
        }
    }

    pub(super) fn rotate_columns(&mut self, random: &mut Random) {
        if self.cols > 1 {
            self.rotate(random.pair(self.cols), random.turn());
        }
    }

    pub(super) fn density(&self) -> f64 {
        let nonzeros = self.data.iter().filter(|x| **x != 0.0).count();
        nonzeros as f64 / self.data.len().max(1) as f64
    }

    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.rows];
        for (j, x) in x.iter().enumerate() {
            for (out, a) in out.iter_mut().zip(self.column(j)) {
                *out += a * x;
            }
        }
        out
    }

    pub(super) fn transpose_times(&self, direction: &Direction) -> Vec<f64> {
        let rows = direction.start..direction.start + direction.values.len();
        let entry = |j: usize| dot(&self.column(j)[rows.clone()], &direction.values);
        (0..self.cols).map(entry).collect()
    }

    /// The nonzeros, or those of the upper triangle.
    pub(super) fn to_sparse(&self, upper: bool) -> SparseMatrix {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for j in 0..self.cols {
            for (i, &value) in self.column(j).iter().enumerate() {
                if value != 0.0 && (i <= j || !upper) {
                    indices.push(i);
                    values.push(value);
                }
            }
            indptr.push(indices.len());
        }
        SparseMatrix::from_parts(self.rows, self.cols, indptr, indices, values)
    }
}
