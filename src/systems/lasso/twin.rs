//! The same regression as a cone program, solved and differentiated by the crate's own route.
//!
//! ```text
//! squares    minimize 1/2 |r|^2 + sum lambda (b+ + b-) + ridge/2 |b+ - b-|^2   subject to  X (b+ - b-) - r = y,  b+, b- >= 0
//! logistic   minimize sum t + ...   subject to  p + q <= 1,  exp(-y x'(b+ - b-) - t) <= p,  exp(-t) <= q,  b+, b- >= 0
//! ```
//!
//! Its data are affine in (penalty parameters, y, values of X), so that a [`Parametrization`] carries the derivatives.

use super::loss::Loss;
use super::penalty::Penalty;
use super::regression::SparseRegression;
use crate::builder::{Affine, ProgramBuilder};
use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::parametrization::Parametrization;
use crate::program::ConeProgram;
use crate::refine::solve;
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataTangent, SolutionTangent};
use std::ops::Range;

/// The program of one regression and penalty, and how it depends on their numbers.
#[derive(Debug)]
pub(super) struct Twin {
    program: ConeProgram,
    parametrization: Parametrization,
    columns: usize,
    /// Rows of b+, b- >= 0.
    signs: Range<usize>,
}

/// A solved twin.
#[derive(Debug)]
pub(super) struct ConicFit {
    twin: Twin,
    pub(super) derivative: Derivative,
}

/// Entries of a map from parameters to a part of the data: rows, columns, values.
type Entries = (Vec<usize>, Vec<usize>, Vec<f64>);

fn push(entries: &mut Entries, row: usize, column: usize, value: f64) {
    entries.0.push(row);
    entries.1.push(column);
    entries.2.push(value);
}

fn map(rows: usize, columns: usize, entries: Entries) -> sprs::CsMat<f64> {
    let (i, j, values) = entries;
    sprs::TriMat::from_triplets((rows, columns), i, j, values).to_csc()
}

fn missing() -> Error {
    Error::PatternMismatch {
        what: "the cone program of a regression",
    }
}

impl Twin {
    pub(super) fn new(regression: &SparseRegression, penalty: &Penalty) -> Result<Self> {
        let (design, y) = (regression.design(), regression.y());
        let (n, p) = (design.rows(), design.columns());
        let is_squares = regression.loss() == Loss::Squares;
        // A row of X (b+ - b-), with zeros in the values' places: the program at parameters zero.
        let mut rows = vec![Vec::new(); n];
        for j in 0..p {
            design.for_each(j, |i, _| rows[i].extend([(j, 0.0), (p + j, 0.0)]));
        }
        let mut builder = ProgramBuilder::new(2 * p + if is_squares { n } else { 3 * n });
        if penalty.ridge_parameter().is_some() {
            for j in 0..p {
                builder.quadratic(j, j, 0.0);
                builder.quadratic(p + j, p + j, 0.0);
                builder.quadratic(j, p + j, 0.0);
            }
        }
        // The row of A that holds x_i'(b+ - b-), and the sign it has there.
        let mut place = Vec::with_capacity(n);
        for (i, terms) in rows.iter_mut().enumerate() {
            if is_squares {
                let r = 2 * p + i;
                builder.quadratic(r, r, 1.0);
                terms.push((r, -1.0));
                place.push((builder.equality(terms, 0.0).start, 1.0));
            } else {
                let (t, a, b) = (2 * p + 3 * i, 2 * p + 3 * i + 1, 2 * p + 3 * i + 2);
                builder.linear(t, 1.0);
                terms.push((t, -1.0));
                let (margin, one) = (Affine::new(terms, 0.0), Affine::constant(1.0));
                let block = builder.exponential(&margin, &one, &Affine::variable(a));
                // A holds minus the coefficients of -y x'b - t.
                place.push((block.start, y[i]));
                let zero = Affine::new(&[(t, -1.0)], 0.0);
                builder.exponential(&zero, &one, &Affine::variable(b));
                builder.inequality(&[(a, 1.0), (b, 1.0)], 1.0);
            }
        }
        let signs = builder.bounds(0..2 * p, 0.0, f64::INFINITY);
        let base = builder.build()?;

        let of_y = if is_squares { n } else { 0 };
        let first_value = penalty.count() + of_y;
        let count = first_value + design.nnz();
        let mut to_q: Entries = Default::default();
        for j in 0..p {
            push(&mut to_q, j, penalty.parameter_of(j), 1.0);
            push(&mut to_q, p + j, penalty.parameter_of(j), 1.0);
        }
        let mut to_p: Entries = Default::default();
        if let Some(ridge) = penalty.ridge_parameter() {
            let pattern = base.p().pattern();
            for j in 0..p {
                for (row, column, value) in [(j, j, 1.0), (p + j, p + j, 1.0), (j, p + j, -1.0)] {
                    let at = pattern.position(row, column).ok_or_else(missing)?;
                    push(&mut to_p, at, ridge, value);
                }
            }
        }
        let mut to_b: Entries = Default::default();
        for (i, (row, _)) in place.iter().enumerate().take(of_y) {
            push(&mut to_b, *row, penalty.count() + i, 1.0);
        }
        let mut to_a: Entries = Default::default();
        let pattern = base.a().pattern();
        for j in 0..p {
            let mut found = Ok(());
            design.for_each_position(j, |i, k| {
                let (row, sign) = place[i];
                for (column, value) in [(j, sign), (p + j, -sign)] {
                    match pattern.position(row, column) {
                        Some(at) => push(&mut to_a, at, first_value + k, value),
                        None => found = Err(missing()),
                    }
                }
            });
            found?;
        }
        let (q, a) = (base.q().len(), base.a().nnz());
        let parametrization = Parametrization::new(
            &base,
            Some(&map(base.p().nnz(), count, to_p)),
            Some(&map(q, count, to_q)),
            Some(&map(a, count, to_a)),
            Some(&map(base.m(), count, to_b)),
        )?;
        let mut theta = penalty.parameters();
        if is_squares {
            theta.extend_from_slice(y);
        }
        theta.extend(design.stored_values());
        let mut data = DataTangent::default();
        parametrization.evaluate_into(&theta, &mut data)?;
        let program = base.with_data(Some(&data.p), Some(&data.q), Some(&data.a), Some(&data.b))?;
        Ok(Self {
            program,
            parametrization,
            columns: p,
            signs,
        })
    }

    pub(super) fn solve(self, settings: &Settings) -> Result<ConicFit> {
        let solution = solve(&self.program, settings)?;
        let derivative = Derivative::new(&self.program, &solution, settings)?;
        Ok(ConicFit {
            twin: self,
            derivative,
        })
    }

    /// b = b+ - b-, from the slacks, which are exact zeros off the support.
    fn difference(&self, s: &[f64]) -> Vec<f64> {
        let (first, p) = (self.signs.start, self.columns);
        (0..p).map(|j| s[first + j] - s[first + p + j]).collect()
    }
}

impl ConicFit {
    pub(super) fn beta(&self) -> Vec<f64> {
        let solution: &Solution = self.derivative.solution();
        self.twin.difference(&solution.s)
    }

    /// The derivative of b along a direction in the parameters, one-sided if asked for.
    pub(super) fn push_forward(&self, theta: &[f64], one_sided: bool) -> Result<Checked<Vec<f64>>> {
        let mut data = DataTangent::zeros(&self.twin.program);
        self.twin
            .parametrization
            .push_forward_into(theta, &mut data)?;
        let moved = if one_sided {
            self.derivative.directional(&data)?
        } else {
            self.derivative.jvp(&data)?
        };
        let p = self.twin.columns;
        let value = (0..p).map(|j| moved.value.x[j] - moved.value.x[p + j]);
        Ok(Checked {
            value: value.collect(),
            meaning: moved.meaning,
            evidence: moved.evidence,
            trusted: moved.trusted,
            warnings: moved.warnings,
        })
    }

    /// The gradient of <g, b> in the parameters.
    pub(super) fn pull_back(&self, g: &[f64]) -> Result<Checked<Vec<f64>>> {
        let mut seed = SolutionTangent::zeros(&self.twin.program);
        for (j, g) in g.iter().enumerate() {
            seed.x[j] = *g;
            seed.x[self.twin.columns + j] = -g;
        }
        let wanted = self.twin.parametrization.wanted();
        let gradient = self.derivative.vjp_wanted(&seed, wanted)?;
        let mut theta = Vec::new();
        self.twin
            .parametrization
            .pull_back_into(&gradient.value, &mut theta)?;
        Ok(Checked {
            value: theta,
            meaning: gradient.meaning,
            evidence: gradient.evidence,
            trusted: gradient.trusted,
            warnings: gradient.warnings,
        })
    }
}
