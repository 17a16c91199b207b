//! One column of the equilibrium: its point, and its system on the rows where the activation moves.

use super::layer::EquilibriumLayer;
use crate::error::Result;
use crate::jacobian::DenseMatrix;
use crate::linsolve::{Evidence, Square};
use crate::settings::Settings;
use crate::tangent::norm_max;

/// The rounding of a sum relative to its terms.
const ROUNDING: f64 = 2.5 * f64::EPSILON;

/// One column's z with what follows from it.
pub(super) struct At {
    pub(super) z: Vec<f64>,
    pub(super) slopes: Vec<f64>,
    /// From each pre-activation to its nearest kink.
    pub(super) distances: Vec<f64>,
    /// prox(t) - z.
    pub(super) residual: Vec<f64>,
    /// The sizes of the terms of t.
    pub(super) terms: Vec<f64>,
}

impl At {
    pub(super) fn new(layer: &EquilibriumLayer, z: Vec<f64>, c: &[f64], inputs: &[f64]) -> Self {
        let n = z.len();
        let mut at = Self {
            slopes: Vec::with_capacity(n),
            distances: Vec::with_capacity(n),
            residual: Vec::with_capacity(n),
            terms: Vec::with_capacity(n),
            z,
        };
        for (i, c) in c.iter().enumerate() {
            let (mut t, mut terms) = (*c, layer.bias[i].abs());
            for (j, z) in at.z.iter().enumerate() {
                let term = layer.w[(i, j)] * z;
                t += term;
                terms += term.abs();
            }
            for (k, x) in inputs.iter().enumerate() {
                terms += (layer.u[(i, k)] * x).abs();
            }
            let (slope, distance) = layer.activation.slope(t);
            at.slopes.push(slope);
            at.distances.push(distance);
            at.residual.push(layer.activation.prox(t, 1.0) - at.z[i]);
            at.terms.push(terms);
        }
        at
    }

    pub(super) fn relative(&self) -> f64 {
        norm_max(&self.residual) / (1.0 + norm_max(&self.terms))
    }

    /// The residual, each row at least the rounding of its terms.
    pub(super) fn floored(&self) -> Vec<f64> {
        let rows = self.residual.iter().zip(&self.terms);
        rows.map(|(r, t)| r.abs().max(ROUNDING * t).copysign(*r))
            .collect()
    }
}

/// One column's system on the rows that move.
#[derive(Debug)]
pub(super) struct Column {
    rows: Vec<usize>,
    slopes: Vec<f64>,
    pub(super) factored: Square,
}

impl Column {
    /// At one slope for each row.
    pub(super) fn new(
        layer: &EquilibriumLayer,
        slopes: &[f64],
        settings: &Settings,
    ) -> Result<Self> {
        let rows: Vec<usize> = (0..slopes.len()).filter(|i| slopes[*i] != 0.0).collect();
        let slopes: Vec<f64> = rows.iter().map(|&i| slopes[i]).collect();
        let k = rows.len();
        let mut data = Vec::with_capacity(k * k);
        for &j in &rows {
            for (&i, d) in rows.iter().zip(&slopes) {
                data.push(if i == j { 1.0 } else { 0.0 } - d * layer.w[(i, j)]);
            }
        }
        let matrix = DenseMatrix {
            rows: k,
            cols: k,
            data,
        };
        Ok(Self {
            factored: Square::new(matrix.to_sparse("I - D W")?, None, settings.linear)?,
            rows,
            slopes,
        })
    }

    /// (I - D W)^-1 D r.
    pub(super) fn forward(&self, r: &[f64]) -> Result<(Vec<f64>, Evidence)> {
        let rhs: Vec<f64> = self
            .of_rows(r)
            .zip(&self.slopes)
            .map(|(r, d)| r * d)
            .collect();
        let (solved, evidence) = self.factored.solve(&rhs, false)?;
        Ok((self.spread(&solved, r.len()), evidence))
    }

    /// (I - D W)^-1 r for any r: u = r off the rows, and (I - D W)_SS u_S = r_S + D_S W u_rest on them.
    pub(super) fn newton(&self, layer: &EquilibriumLayer, r: &[f64]) -> Result<Vec<f64>> {
        let mut u = r.to_vec();
        for &i in &self.rows {
            u[i] = 0.0;
        }
        let from_rest = |i: usize| (0..u.len()).map(|j| layer.w[(i, j)] * u[j]).sum::<f64>();
        let rhs = self.rows.iter().zip(&self.slopes);
        let rhs: Vec<f64> = rhs.map(|(&i, d)| r[i] + d * from_rest(i)).collect();
        let (solved, _) = self.factored.solve(&rhs, false)?;
        for (&i, s) in self.rows.iter().zip(&solved) {
            u[i] = *s;
        }
        Ok(u)
    }

    /// D (I - D W)^-T g on the rows, 0 off them.
    pub(super) fn backward(&self, g: &[f64]) -> Result<(Vec<f64>, Evidence)> {
        let rhs: Vec<f64> = self.of_rows(g).collect();
        let (mut solved, evidence) = self.factored.solve(&rhs, true)?;
        solved
            .iter_mut()
            .zip(&self.slopes)
            .for_each(|(s, d)| *s *= d);
        Ok((self.spread(&solved, g.len()), evidence))
    }

    fn of_rows<'a>(&'a self, v: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.rows.iter().map(|&i| v[i])
    }

    fn spread(&self, v: &[f64], len: usize) -> Vec<f64> {
        let mut out = vec![0.0; len];
        for (&i, v) in self.rows.iter().zip(v) {
            out[i] = *v;
        }
        out
    }
}
