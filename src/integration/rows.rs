//! What the frameworks' layers share: a batch of parameters as rows of f64, solved, and the rows of its gradients.
//!
//! A row of parameters is those of p, q, a, b that are tensors, in this order; a row of the answer is x, z, s.

use super::{Failure, GradientReport, OnFailure};
use crate::{
    Budget, Checked, ConeProgram, ConicLayer, DataCotangent, Derivative, DerivativeWorkspace,
    Error, LayerData, LayerSettings, Result, SolutionTangent, SparseMatrix, Wanted,
};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The layer, and its threads for backward passes.
#[derive(Debug)]
pub(super) struct Solver {
    layer: Mutex<ConicLayer>,
    pool: Option<Arc<rayon::ThreadPool>>,
    /// Lengths of p, q, a, b.
    pub lengths: [usize; 4],
    pub n: usize,
    pub m: usize,
}

/// What the backward pass of one answer needs.
#[derive(Debug)]
pub(super) struct Tape {
    derivatives: Vec<Option<Derivative>>,
    pub errors: Vec<Option<Error>>,
    wanted: Wanted,
    width: usize,
    n: usize,
    m: usize,
    on_failure: OnFailure,
    pool: Option<Arc<rayon::ThreadPool>>,
    pub report: GradientReport,
}

/// The names of p, q, a, b in errors.
pub(super) const NAMES: [&str; 4] = ["P", "q", "A", "b"];

pub(super) fn wanted(parts: [bool; 4]) -> Wanted {
    let [p, q, a, b] = parts;
    Wanted { p, q, a, b }
}

/// Positions in dense row-major matrices, in stored order: of P's entries, of their mirror images, of A's entries.
pub(super) fn dense_places(program: &ConeProgram) -> [Vec<i64>; 3] {
    let n = program.n();
    let places = |matrix: &SparseMatrix, place: &dyn Fn(usize, usize) -> usize| {
        let pattern = matrix.pattern();
        let mut places = vec![0; pattern.nnz()];
        for j in 0..pattern.cols() {
            for &i in &pattern.indices()[pattern.indptr()[j]..pattern.indptr()[j + 1]] {
                if let Some(k) = pattern.position(i, j) {
                    places[k] = place(i, j) as i64;
                }
            }
        }
        places
    };
    [
        places(program.p(), &|i, j| i * n + j),
        places(program.p(), &|i, j| j * n + i),
        places(program.a(), &|i, j| i * n + j),
    ]
}

fn parts(wanted: Wanted) -> [bool; 4] {
    [wanted.p, wanted.q, wanted.a, wanted.b]
}

impl Solver {
    pub fn new(program: &ConeProgram, settings: LayerSettings) -> Result<Self> {
        let layer = ConicLayer::new(program, settings)?;
        let pool = layer.pool();
        Ok(Self {
            layer: Mutex::new(layer),
            pool,
            lengths: [
                program.p().nnz(),
                program.n(),
                program.a().nnz(),
                program.m(),
            ],
            n: program.n(),
            m: program.m(),
        })
    }

    /// The answer's rows, `batch` of them, and what gradients need. `rows` holds the parameters that are wanted.
    pub fn forward(
        &self,
        rows: &[f64],
        batch: usize,
        wanted: Wanted,
        on_failure: OnFailure,
    ) -> std::result::Result<(Vec<f64>, Tape), Failure> {
        let lengths = self.lengths;
        let widths = parts(wanted).map(usize::from);
        let width = (0..4).map(|k| widths[k] * lengths[k]).sum();
        let data = |item: usize| {
            let mut row = &rows[item * width..(item + 1) * width];
            let mut next = |k: usize| {
                let (part, rest) = row.split_at(widths[k] * lengths[k]);
                row = rest;
                (widths[k] == 1).then_some(part)
            };
            let [p, q, a, b] = [next(0), next(1), next(2), next(3)];
            LayerData {
                p,
                q,
                a,
                b,
                ..LayerData::default()
            }
        };
        let data: Vec<LayerData<'_>> = (0..batch).map(data).collect();
        let mut layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        let solutions = layer.forward_batch(&data);
        let derivatives = layer.take_derivatives();
        drop(layer);

        let mut answer = Vec::with_capacity(batch * (self.n + 2 * self.m));
        let mut errors = Vec::with_capacity(batch);
        for (item, solution) in solutions.into_iter().enumerate() {
            match solution {
                Ok(solution) => {
                    for part in [&solution.x, &solution.z, &solution.s] {
                        answer.extend_from_slice(part);
                    }
                    errors.push(None);
                }
                Err(error) if on_failure == OnFailure::Error => {
                    return Err(Failure { item, error });
                }
                Err(error) => {
                    let filling = on_failure.filling();
                    answer.extend(std::iter::repeat_n(filling, self.n + 2 * self.m));
                    errors.push(Some(error));
                }
            }
        }
        let tape = Tape {
            derivatives,
            errors,
            wanted,
            width,
            n: self.n,
            m: self.m,
            on_failure,
            pool: self.pool.clone(),
            report: GradientReport::default(),
        };
        Ok((answer, tape))
    }
}

impl Tape {
    /// The parameters' gradients for the answer's, and the first item that failed. A failed item's row is NaN, or zero where that was
    /// asked for.
    pub fn backward(&self, cotangents: &[f64]) -> (Vec<f64>, Option<Failure>) {
        let count = self.derivatives.len();
        let rows: Vec<Result<Checked<Vec<f64>>>> = match &self.pool {
            Some(pool) if count > 1 => {
                let running = Budget::running();
                pool.install(|| {
                    let items = (0..count).into_par_iter();
                    let row =
                        |work: &mut _, item| running.run(|| self.item(item, cotangents, work));
                    items.map_init(|| None, row).collect()
                })
            }
            _ => {
                let mut work = None;
                let row = |item| self.item(item, cotangents, &mut work);
                (0..count).map(row).collect()
            }
        };
        let mut gradients = Vec::with_capacity(count * self.width);
        let mut failure = None;
        let mut verdicts = Vec::with_capacity(count);
        for (item, row) in rows.into_iter().enumerate() {
            verdicts.push(match row {
                Ok(found) => {
                    gradients.extend(found.value);
                    Ok(Checked {
                        value: (),
                        meaning: found.meaning,
                        evidence: found.evidence,
                        trusted: found.trusted,
                        warnings: found.warnings,
                    })
                }
                Err(error) => {
                    let filling = self.on_failure.filling();
                    gradients.extend(std::iter::repeat_n(filling, self.width));
                    failure.get_or_insert_with(|| Failure {
                        item,
                        error: error.clone(),
                    });
                    Err(error)
                }
            });
        }
        self.report.set(verdicts);
        (gradients, failure)
    }

    fn item(
        &self,
        item: usize,
        cotangents: &[f64],
        work: &mut Option<DerivativeWorkspace>,
    ) -> Result<Checked<Vec<f64>>> {
        let derivative = match (&self.errors[item], &self.derivatives[item]) {
            (Some(error), _) => return Err(error.clone()),
            (None, Some(derivative)) => derivative,
            (None, None) => return Err(Error::NoForward { item }),
        };
        let height = self.n + 2 * self.m;
        let row = &cotangents[item * height..(item + 1) * height];
        let (x, rest) = row.split_at(self.n);
        let (z, s) = rest.split_at(self.m);
        let seed = SolutionTangent {
            x: x.to_vec(),
            z: z.to_vec(),
            s: s.to_vec(),
        };
        let work = work.get_or_insert_with(|| derivative.workspace());
        let mut out = DataCotangent::default();
        let evidence = derivative.vjp_into(&seed, self.wanted, &mut out, work)?;
        let mut value = Vec::with_capacity(self.width);
        for (part, is_wanted) in [out.p, out.q, out.a, out.b].iter().zip(parts(self.wanted)) {
            if is_wanted {
                value.extend_from_slice(part);
            }
        }
        let mut gradient = derivative.checked(value, evidence);
        derivative.settle(&mut gradient, |open| {
            open.is_untouched_by_parts(self.wanted)
        })?;
        Ok(gradient)
    }
}
