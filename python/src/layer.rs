//! The layer: settings and structure in, batches of data to batches of solutions.

use crate::budget::within_budget;
use crate::error::{detached, exception};
use crate::matrix::{Compressed, Triangle, sparse};
use crate::pool::Pool;
use crate::settings::{ConeArgument, settings};
use crate::solved::Solved;
use conediff::{
    ConeProgram, ConicLayer, DataTangent, Derivative, Error, ForwardPath, LayerData, Solution,
};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One structure, many data.
#[pyclass(frozen, module = "conediff._core")]
pub struct Layer {
    /// Calls from several of Python's threads take turns.
    layer: Mutex<ConicLayer>,
    triangle: Arc<Triangle>,
    pool: Pool,
    /// Lengths of the caller's P, q, A, b.
    lengths: [usize; 4],
    /// Where not zero, data that may move, if that was said.
    moving: Option<Arc<DataTangent>>,
    /// Seconds of each call.
    time_limit: Option<Duration>,
}

/// An argument's rows: one for each item, or one for all.
type Rows<'py> = Option<PyReadonlyArray2<'py, f64>>;

#[pymethods]
impl Layer {
    #[new]
    fn new(
        py: Python<'_>,
        p: Compressed<'_>,
        upper: bool,
        q: PyReadonlyArray1<'_, f64>,
        a: Compressed<'_>,
        b: PyReadonlyArray1<'_, f64>,
        cones: Vec<ConeArgument>,
        moving: Option<[PyReadonlyArray1<'_, f64>; 4]>,
        keywords: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let (settings, time_limit) = settings(py, keywords)?;
        let (p, a) = (sparse(py, "P", &p)?, sparse(py, "A", &a)?);
        let (q, b) = (q.as_slice()?.to_vec(), b.as_slice()?.to_vec());
        let moving = match &moving {
            None => None,
            Some(parts) => {
                let [p, q, a, b] = parts.each_ref().map(|part| part.as_slice());
                let [p, q, a, b] = [p?, q?, a?, b?].map(<[f64]>::to_vec);
                Some(DataTangent { p, q, a, b })
            }
        };
        let made = detached(py, move || -> Result<Self, Error> {
            let lengths = [p.nnz(), q.len(), a.nnz(), b.len()];
            if p.rows() != p.cols() {
                return Err(Error::Dimension {
                    what: "rows of P",
                    expected: p.cols(),
                    found: p.rows(),
                });
            }
            let cones = cones.iter().enumerate().map(|(k, c)| c.cone(k));
            let cones = cones.collect::<Result<_, Error>>()?;
            let (triangle, p) = Triangle::new(&p, upper)?;
            let program = ConeProgram::from_matrices(p, q, a, b, cones)?;
            let pool = Pool::new(settings.threads)?;
            let moving = moving.map(|mut moving| {
                let stored = std::mem::take(&mut moving.p);
                triangle.direction_into(&stored, &mut moving.p);
                Arc::new(moving)
            });
            Ok(Self {
                layer: Mutex::new(ConicLayer::new(&program, settings)?),
                triangle: Arc::new(triangle),
                pool,
                lengths,
                moving,
                time_limit,
            })
        })?;
        made.map_err(|e| exception(py, &e))
    }

    /// Solves for `batch` items. What is None is the layer's own; rows are one for each item or one for all. `once`: a single item is
    /// solved without timing solvers for later ones.
    fn solve(
        &self,
        py: Python<'_>,
        batch: usize,
        p: Rows<'_>,
        q: Rows<'_>,
        a: Rows<'_>,
        b: Rows<'_>,
        once: bool,
    ) -> PyResult<Solved> {
        let names = ["P", "q", "A", "b"];
        let mut slices = [None; 4];
        for (k, rows) in [&p, &q, &a, &b].into_iter().enumerate() {
            if let Some(rows) = rows {
                let shape = rows.as_array().dim();
                if shape.1 != self.lengths[k] || (shape.0 != 1 && shape.0 != batch) {
                    let error = Error::Dimension {
                        what: names[k],
                        expected: self.lengths[k],
                        found: shape.1,
                    };
                    return Err(exception(py, &error));
                }
                slices[k] = Some((rows.as_slice()?, shape.0));
            }
        }
        let solved = within_budget(py, self.time_limit, || {
            let row = |k: usize, item: usize| {
                slices[k].map(|(data, rows)| {
                    let length = self.lengths[k];
                    let item = if rows == 1 { 0 } else { item };
                    &data[item * length..(item + 1) * length]
                })
            };
            let uppers = slices[0].map_or(0, |s| s.1);
            let uppers = self.pool.map(
                uppers,
                || (),
                |_, item| row(0, item).map_or(Ok(Vec::new()), |p| self.triangle.upper(p)),
            );
            // An item whose P is none is solved for the layer's own, and its error put in the place of the answer.
            let data: Vec<LayerData<'_>> = (0..batch)
                .map(|item| LayerData {
                    p: match uppers.get(if uppers.len() == 1 { 0 } else { item }) {
                        Some(Ok(p)) => Some(p),
                        _ => None,
                    },
                    q: row(1, item),
                    a: row(2, item),
                    b: row(3, item),
                    budget: None,
                })
                .collect();
            let mut layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut results, derivatives, paths) = if once && batch == 1 {
                alone(&layer, data[0])
            } else {
                let results = layer.forward_batch(&data);
                let paths = (0..batch).map(|item| layer.path(item)).collect();
                (results, layer.take_derivatives(), paths)
            };
            for (item, result) in results.iter_mut().enumerate() {
                if let Some(Err(error)) = uppers.get(if uppers.len() == 1 { 0 } else { item }) {
                    *result = Err(error.clone());
                }
            }
            let program = |(result, d): (&Result<Solution, Error>, &LayerData<'_>)| {
                let is_failed = result.is_err();
                is_failed.then(|| layer.program().with_data(d.p, d.q, d.a, d.b).ok())?
            };
            let failed = results.iter().zip(&data).map(program).collect();
            let settings = layer.settings().clone();
            (results, derivatives, paths, failed, settings)
        });
        let (results, derivatives, paths, failed, settings) = solved?;
        Solved::new(
            py,
            results,
            derivatives,
            paths,
            Arc::clone(&self.triangle),
            self.lengths,
            self.moving.clone(),
            self.pool.clone(),
            self.time_limit,
            failed,
            settings,
        )
    }

    /// How the forwards found their answers, as JSON.
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        let layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = serde_json::to_string(&layer.counts()).unwrap_or_default();
        PyString::new(py, &counts)
    }
}

/// Answers of a batch.
type Answers = (
    Vec<Result<Solution, Error>>,
    Vec<Option<Derivative>>,
    Vec<Option<ForwardPath>>,
);

/// One program by itself.
fn alone(layer: &ConicLayer, data: LayerData<'_>) -> Answers {
    let settings = &layer.settings().settings;
    let solve = || {
        let program = layer.program().with_data(data.p, data.q, data.a, data.b)?;
        let solution = conediff::solve(&program, settings)?;
        Derivative::new(&program, &solution, settings)
    };
    let (result, derivative) = match solve() {
        Ok(derivative) => (Ok(derivative.solution().clone()), Some(derivative)),
        Err(error) => (Err(error), None),
    };
    (
        vec![result],
        vec![derivative],
        vec![Some(ForwardPath::Full)],
    )
}
