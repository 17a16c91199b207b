//! H = X_E'WX_E + ridge I on a set of columns E: its factorization, solves with their evidence, and the columns that depend on each other.

use crate::error::{Error, Result};
use crate::linsolve::{Evidence, Method, StopReason};
use crate::pattern::inner;
use crate::tangent::norm_max;
use std::sync::OnceLock;

/// A relative pivot this small is the rounding of a zero: the squared distance of a unit column from the ones before it.
const SINGULAR: f64 = 1e-13;

/// A coefficient this small beside the largest one takes no part in a dependency.
const DEPENDENT: f64 = 1e-6;

/// The relative residual at which a solve counts as converged.
pub(super) const TOLERANCE: f64 = 1e-10;

/// Steps of refinement: the first one or two reach rounding.
const REFINEMENT: usize = 3;

/// A symmetric matrix, lower triangle row by row.
#[derive(Debug, Clone)]
pub(super) struct Symmetric {
    order: usize,
    values: Vec<f64>,
}

fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Symmetric {
    /// From its entries (i, j), i >= j.
    pub(super) fn new(order: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        let rows = (0..order).flat_map(|i| (0..=i).map(move |j| (i, j)));
        Self {
            order,
            values: rows.map(|(i, j)| entry(i, j)).collect(),
        }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.values[start(i)..start(i + 1)]
    }

    pub(super) fn multiply(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.order];
        for i in 0..self.order {
            let (row, xi) = (self.row(i), x[i]);
            for (j, h) in row[..i].iter().enumerate() {
                out[j] += h * xi;
            }
            out[i] += inner(row, &x[..=i]);
        }
        out
    }

    /// The principal part on some of the indices.
    fn part(&self, kept: &[usize]) -> Self {
        Self::new(kept.len(), |i, j| {
            let (a, b) = (kept[i].max(kept[j]), kept[i].min(kept[j]));
            self.values[start(a) + b]
        })
    }
}

/// H = D L L'D with D the root of H's diagonal: its condition does not depend on the columns' units.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    matrix: Symmetric,
    /// 1/D.
    scale: Vec<f64>,
    /// L, row by row.
    factor: Vec<f64>,
    /// Estimated when it is first asked for.
    condition: OnceLock<f64>,
}

/// A null vector of a matrix, as nearly as its rows depend on each other.
#[derive(Debug)]
pub(super) struct Dependency {
    /// Rows and their coefficients.
    pub(super) null: Vec<(usize, f64)>,
    /// Squared relative distance of the last row from the others.
    pivot: f64,
}

impl Dependency {
    /// The error that names the columns of X which the rows belong to.
    pub(super) fn error(&self, columns: &[usize]) -> Error {
        let mut named: Vec<usize> = self.null.iter().map(|e| columns[e.0]).collect();
        named.sort_unstable();
        Error::DependentColumns {
            columns: named,
            pivot: self.pivot,
        }
    }
}

impl Cholesky {
    /// Factors H, or finds rows that depend on each other.
    pub(super) fn new(matrix: Symmetric) -> std::result::Result<Self, Dependency> {
        let k = matrix.order;
        let scale: Vec<f64> = (0..k)
            .map(|i| 1.0 / matrix.values[start(i) + i].sqrt())
            .collect();
        let mut factor = vec![0.0; start(k)];
        for i in 0..k {
            let (done, rest) = factor.split_at_mut(start(i));
            let row = &mut rest[..=i];
            for j in 0..i {
                let above = &done[start(j)..start(j + 1)];
                let h = matrix.values[start(i) + j] * scale[i] * scale[j];
                row[j] = (h - inner(&row[..j], &above[..j])) / above[j];
            }
            let pivot = 1.0 - inner(&row[..i], &row[..i]);
            if pivot.is_nan() || pivot <= SINGULAR {
                let mut x = row[..i].to_vec();
                back_substitute(&factor, &mut x);
                let largest = norm_max(&x);
                let others = (0..i).filter(|j| x[*j].abs() > DEPENDENT * largest);
                let mut null: Vec<(usize, f64)> = others.map(|j| (j, -x[j] * scale[j])).collect();
                null.push((i, scale[i]));
                return Err(Dependency { null, pivot });
            }
            row[i] = pivot.sqrt();
        }
        Ok(Self {
            matrix,
            scale,
            factor,
            condition: OnceLock::new(),
        })
    }

    /// That of the principal part on some of the rows. Always regular.
    ///
    /// # Errors
    /// [`Error::DependentColumns`], by rounding only.
    pub(super) fn part(&self, kept: &[usize], columns: &[usize]) -> Result<Self> {
        let names: Vec<usize> = kept.iter().map(|&k| columns[k]).collect();
        Self::new(self.matrix.part(kept)).map_err(|found| found.error(&names))
    }

    /// That of the principal part plus a diagonal, nothing of it negative.
    ///
    /// # Errors
    /// Those of [`Cholesky::part`].
    pub(super) fn part_plus(
        &self,
        kept: &[usize],
        added: &[f64],
        columns: &[usize],
    ) -> Result<Self> {
        let names: Vec<usize> = kept.iter().map(|&k| columns[k]).collect();
        let mut matrix = self.matrix.part(kept);
        for (i, d) in added.iter().enumerate() {
            matrix.values[start(i) + i] += d;
        }
        Self::new(matrix).map_err(|found| found.error(&names))
    }

    pub(super) fn matrix(&self) -> &Symmetric {
        &self.matrix
    }

    /// Estimate of the condition of the scaled H in the 1-norm.
    pub(super) fn condition(&self) -> f64 {
        *self.condition.get_or_init(|| self.estimate_condition())
    }

    fn solve_scaled(&self, x: &mut [f64]) {
        for i in 0..x.len() {
            let row = &self.factor[start(i)..start(i + 1)];
            x[i] = (x[i] - inner(&row[..i], &x[..i])) / row[i];
        }
        back_substitute(&self.factor, x);
    }

    fn solve_once(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = b.iter().zip(&self.scale).map(|(b, s)| b * s).collect();
        self.solve_scaled(&mut x);
        x.iter_mut().zip(&self.scale).for_each(|(x, s)| *x *= s);
        x
    }

    /// H^-1 b, refined, and how right it is. In the scaled norm.
    pub(super) fn solve(&self, b: &[f64]) -> (Vec<f64>, Evidence) {
        let (x, mut evidence) = self.refined(b);
        evidence.condition = self.condition();
        evidence.error = evidence.condition * evidence.residual.max(f64::EPSILON);
        if evidence.stop == StopReason::ZeroRightHandSide {
            evidence.error = 0.0;
        }
        (x, evidence)
    }

    /// The same without condition and error.
    pub(super) fn refined(&self, b: &[f64]) -> (Vec<f64>, Evidence) {
        let size = |v: &[f64], by: &dyn Fn(f64, f64) -> f64| {
            let scaled = v.iter().zip(&self.scale).map(|(v, s)| by(*v, *s).abs());
            scaled.fold(0.0, f64::max)
        };
        let mut evidence = Evidence {
            method: Method::Ldl,
            residual: 0.0,
            converged: true,
            refinement_steps: 0,
            stop: StopReason::ZeroRightHandSide,
            condition: 0.0,
            correction: 0.0,
            error: 0.0,
            bias: 0.0,
            iterations: 0,
        };
        let right = size(b, &|b, s| b * s);
        let mut x = self.solve_once(b);
        if right == 0.0 {
            return (x, evidence);
        }
        let residual_of = |x: &[f64]| -> (Vec<f64>, f64) {
            let product = self.matrix.multiply(x);
            let residual: Vec<f64> = b.iter().zip(&product).map(|(b, h)| b - h).collect();
            let relative = size(&residual, &|r, s| r * s) / right;
            (residual, relative)
        };
        let (mut residual, mut relative) = residual_of(&x);
        for step in 1..=REFINEMENT {
            let correction = self.solve_once(&residual);
            let better: Vec<f64> = x.iter().zip(&correction).map(|(x, d)| x + d).collect();
            evidence.correction =
                size(&correction, &|x, s| x / s) / size(&x, &|x, s| x / s).max(f64::MIN_POSITIVE);
            let (next, reached) = residual_of(&better);
            if reached.is_nan() || reached >= relative {
                break;
            }
            evidence.refinement_steps = step;
            (x, residual, relative) = (better, next, reached);
        }
        evidence.residual = relative;
        evidence.converged = relative <= TOLERANCE;
        evidence.stop = if evidence.converged {
            StopReason::Converged
        } else if relative.is_finite() {
            StopReason::Stagnated
        } else {
            StopReason::NotFinite
        };
        (x, evidence)
    }

    /// Trace of H^-1.
    pub(super) fn inverse_trace(&self) -> f64 {
        // The squares of the entries of L^-1 D^-1, column by column.
        let k = self.matrix.order;
        let column = |j: usize| {
            let mut x = vec![0.0; k];
            x[j] = self.scale[j];
            for i in j..k {
                let row = &self.factor[start(i)..start(i + 1)];
                x[i] = (x[i] - inner(&row[j..i], &x[j..i])) / row[i];
            }
            inner(&x, &x)
        };
        (0..k).map(column).sum()
    }

    /// |S|_1 |S^-1|_1 of the scaled matrix S, the second by Hager's estimate.
    fn estimate_condition(&self) -> f64 {
        let k = self.matrix.order;
        if k == 0 {
            return 1.0;
        }
        let mut sums = vec![0.0; k];
        for i in 0..k {
            for (j, h) in self.matrix.row(i).iter().enumerate() {
                let h = (h * self.scale[i] * self.scale[j]).abs();
                sums[j] += h;
                if i != j {
                    sums[i] += h;
                }
            }
        }
        let mut x = vec![1.0 / k as f64; k];
        let mut estimate = 0.0;
        for _ in 0..5 {
            let mut y = x.clone();
            self.solve_scaled(&mut y);
            let norm: f64 = y.iter().map(|y| y.abs()).sum();
            if norm <= estimate {
                break;
            }
            estimate = norm;
            let mut z: Vec<f64> = y.iter().map(|y| y.signum()).collect();
            self.solve_scaled(&mut z);
            let at = (0..k).max_by(|a, b| z[*a].abs().total_cmp(&z[*b].abs()));
            match at {
                Some(at) if z[at].abs() > inner(&z, &x) => {
                    x.fill(0.0);
                    x[at] = 1.0;
                }
                _ => break,
            }
        }
        estimate * norm_max(&sums)
    }
}

/// x = L^-T x.
fn back_substitute(factor: &[f64], x: &mut [f64]) {
    for i in (0..x.len()).rev() {
        let row = &factor[start(i)..start(i + 1)];
        x[i] /= row[i];
        let xi = x[i];
        x[..i].iter_mut().zip(row).for_each(|(x, l)| *x -= l * xi);
    }
}
