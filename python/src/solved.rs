//! The answers of a batch, and their derivatives.

use crate::budget::within_budget;
use crate::bundle;
use crate::error::exception;
use crate::evidence::{Evidence, sentences};
use crate::matrix::Triangle;
use crate::pool::Pool;
use conediff::{
    Checked, ConeProgram, DataTangent, Derivative, DerivativeWorkspace, Error, ForwardPath,
    LayerSettings, Meaning, Result, Solution, SolutionTangent, Wanted,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A batch of answers.
#[pyclass(frozen, module = "conediff._core")]
pub struct Solved {
    /// Where it was solved; else the error is there.
    derivatives: Vec<Option<Derivative>>,
    /// Where not zero, data that may move; without, all that a gradient is wanted in.
    moving: Option<Arc<DataTangent>>,
    errors: Vec<Option<Error>>,
    /// The programs of items that were not solved.
    failed: Vec<Option<ConeProgram>>,
    settings: LayerSettings,
    paths: Vec<Option<ForwardPath>>,
    triangle: Arc<Triangle>,
    lengths: [usize; 4],
    n: usize,
    m: usize,
    pool: Pool,
    /// Seconds of each call.
    time_limit: Option<Duration>,
    /// (batch, n).
    #[pyo3(get)]
    x: Py<PyArray2<f64>>,
    /// (batch, m).
    #[pyo3(get)]
    z: Py<PyArray2<f64>>,
    /// (batch, m).
    #[pyo3(get)]
    s: Py<PyArray2<f64>>,
    /// (batch,).
    #[pyo3(get)]
    objective: Py<PyArray1<f64>>,
}

/// Seeds or directions, one a row.
type Rows<'py> = Option<PyReadonlyArray2<'py, f64>>;

/// Rows as numbers, with their length.
#[derive(Clone, Copy)]
struct Slices<'a> {
    data: &'a [f64],
    length: usize,
}

impl<'a> Slices<'a> {
    fn row(&self, k: usize) -> &'a [f64] {
        &self.data[k * self.length..(k + 1) * self.length]
    }
}

/// The rows, checked against the shape they must have.
fn slices<'a>(
    py: Python<'_>,
    what: &'static str,
    rows: &'a Rows<'_>,
    count: usize,
    length: usize,
) -> PyResult<Option<Slices<'a>>> {
    let Some(rows) = rows else { return Ok(None) };
    let shape = rows.as_array().dim();
    for (expected, found) in [(length, shape.1), (count, shape.0)] {
        if expected != found {
            let error = Error::Dimension {
                what,
                expected,
                found,
            };
            return Err(exception(py, &error));
        }
    }
    let data = rows.as_slice()?;
    Ok(Some(Slices { data, length }))
}

fn copy(to: &mut Vec<f64>, from: Option<&[f64]>, length: usize) {
    to.clear();
    match from {
        Some(from) => to.extend_from_slice(from),
        None => to.resize(length, 0.0),
    }
}

/// One thread's memory.
#[derive(Default)]
struct Memory {
    work: Option<DerivativeWorkspace>,
    seed: SolutionTangent,
    direction: DataTangent,
}

impl Memory {
    fn work(&mut self, derivative: &Derivative) -> &mut DerivativeWorkspace {
        self.work.get_or_insert_with(|| derivative.workspace())
    }
}

/// A row's outcome.
type Outcome<T> = Result<Checked<T>>;

impl Solved {
    pub fn new(
        py: Python<'_>,
        results: Vec<Result<Solution>>,
        derivatives: Vec<Option<Derivative>>,
        paths: Vec<Option<ForwardPath>>,
        triangle: Arc<Triangle>,
        lengths: [usize; 4],
        moving: Option<Arc<DataTangent>>,
        pool: Pool,
        time_limit: Option<Duration>,
        failed: Vec<Option<ConeProgram>>,
        settings: LayerSettings,
    ) -> PyResult<Self> {
        let (batch, n, m) = (results.len(), lengths[1], lengths[3]);
        let mut x = Vec::with_capacity(batch * n);
        let (mut z, mut s) = (Vec::with_capacity(batch * m), Vec::with_capacity(batch * m));
        let mut objective = Vec::with_capacity(batch);
        let mut errors = Vec::with_capacity(batch);
        for (k, result) in results.into_iter().enumerate() {
            match result {
                Ok(solution) => {
                    x.extend_from_slice(&solution.x);
                    z.extend_from_slice(&solution.z);
                    s.extend_from_slice(&solution.s);
                    objective.push(solution.objective);
                    errors.push(None);
                }
                Err(error) => {
                    x.resize((k + 1) * n, f64::NAN);
                    z.resize((k + 1) * m, f64::NAN);
                    s.resize((k + 1) * m, f64::NAN);
                    objective.push(f64::NAN);
                    errors.push(Some(error));
                }
            }
        }
        let rows = |values: Vec<f64>, length: usize| -> PyResult<Py<PyArray2<f64>>> {
            let array = PyArray1::from_vec(py, values).reshape([batch, length])?;
            Ok(array.unbind())
        };
        Ok(Self {
            moving,
            derivatives,
            errors,
            failed,
            settings,
            paths,
            triangle,
            lengths,
            n,
            m,
            pool,
            time_limit,
            x: rows(x, n)?,
            z: rows(z, m)?,
            s: rows(s, m)?,
            objective: PyArray1::from_vec(py, objective).unbind(),
        })
    }

    /// The derivative of an item, or the error it ended with.
    fn derivative(&self, item: usize) -> Result<&Derivative> {
        match (self.errors.get(item), self.derivatives.get(item)) {
            (Some(Some(error)), _) => Err(error.clone()),
            (_, Some(Some(derivative))) => Ok(derivative),
            _ => Err(Error::NoForward { item }),
        }
    }

    /// A gradient that only the point's singularity makes untrusted is right where no data move that what is not unique there sees.
    fn settle(
        &self,
        derivative: &Derivative,
        gradient: &mut Checked<DataTangent>,
        wanted: Wanted,
    ) -> Result<()> {
        derivative.settle(gradient, |open| match &self.moving {
            Some(moving) => open.is_untouched_by(derivative.program(), moving),
            None => open.is_untouched_by_parts(wanted),
        })
    }

    /// The items of the rows; without any, row k is item k.
    fn items(&self, items: Option<&PyReadonlyArray1<'_, i64>>) -> PyResult<Vec<usize>> {
        let batch = self.errors.len();
        let Some(items) = items else {
            return Ok((0..batch).collect());
        };
        let find = |&item: &i64| match usize::try_from(item) {
            Ok(item) if item < batch => Ok(item),
            _ => Err(PyIndexError::new_err(format!("item {item} of {batch}"))),
        };
        items.as_slice()?.iter().map(find).collect()
    }

    /// The item a call is for.
    fn at(&self, py: Python<'_>, item: usize) -> PyResult<&Derivative> {
        self.derivative(item).map_err(|e| exception(py, &e))
    }
}

#[pymethods]
impl Solved {
    /// The number of items.
    fn __len__(&self) -> usize {
        self.errors.len()
    }

    /// How each item ended, as a word.
    fn statuses(&self) -> Vec<String> {
        let of = |item: usize| match (&self.errors[item], &self.derivatives[item]) {
            (None, Some(derivative)) => derivative.solution().status.to_string(),
            (Some(Error::PrimalInfeasible { .. }), _) => "primal infeasible".into(),
            (Some(Error::DualInfeasible { .. }), _) => "dual infeasible".into(),
            (Some(Error::NotSolved { status, .. }), _) => status.to_string(),
            (Some(Error::NotTrusted { .. }), _) => "not trusted".into(),
            (Some(Error::TimeLimit { .. }), _) => "time limit reached".into(),
            (Some(Error::Cancelled { .. }), _) => "cancelled".into(),
            (Some(Error::Solver { .. }), _) => "solver failed".into(),
            _ => "wrong data".into(),
        };
        (0..self.errors.len()).map(of).collect()
    }

    /// True if every item was solved.
    fn is_complete(&self) -> bool {
        self.errors.iter().all(Option::is_none)
    }

    /// The exceptions of the items that failed, None for the others.
    fn errors(&self, py: Python<'_>) -> Vec<Option<Py<PyAny>>> {
        let of = |error: &Option<Error>| {
            let error = error.as_ref()?;
            Some(exception(py, error).into_value(py).into_any())
        };
        self.errors.iter().map(of).collect()
    }

    /// What is known about an item: iterations, refinement, warnings, kinks, as JSON.
    fn info(&self, py: Python<'_>, item: usize) -> PyResult<String> {
        let derivative = self.at(py, item)?;
        let solution = derivative.solution();
        let info = serde_json::json!({
            "status": solution.status,
            "iterations": solution.iterations,
            "refinement": solution.refinement,
            "path": self.paths.get(item),
            "condition": derivative.condition(),
            "point_error": derivative.point_error(),
            "margins": derivative.projection().margins(),
            "kinks": derivative.kinks(),
            "rows": derivative.row_states(),
            "meaning": derivative.meaning(),
            "trusted": derivative.is_trusted_point(),
            "warnings": sentences(derivative.warnings()),
        });
        Ok(info.to_string())
    }

    /// The report on an item (within a distance), as JSON and as text.
    fn regularity(
        &self,
        py: Python<'_>,
        item: usize,
        within: Option<f64>,
    ) -> PyResult<(String, String)> {
        let derivative = self.at(py, item)?;
        let report = within_budget(py, self.time_limit, || match within {
            None => derivative.regularity(),
            Some(within) => derivative.regularity_within(within),
        })?;
        let report = report.map_err(|e| exception(py, &e))?;
        let mut json = serde_json::to_value(&report).unwrap_or_default();
        json["certified"] = report.is_certified().into();
        json["margin"] = serde_json::json!(report.margin());
        Ok((json.to_string(), report.to_string()))
    }

    /// Writes an item's failure, or its derivative with a cotangent if any of dx, dz, ds is given, to a file that can be replayed.
    fn bundle(
        &self,
        py: Python<'_>,
        path: PathBuf,
        item: usize,
        dx: Option<PyReadonlyArray1<'_, f64>>,
        dz: Option<PyReadonlyArray1<'_, f64>>,
        ds: Option<PyReadonlyArray1<'_, f64>>,
    ) -> PyResult<()> {
        let has_seed = dx.is_some() || dz.is_some() || ds.is_some();
        let part = |seed: &Option<PyReadonlyArray1<'_, f64>>, length: usize| match seed {
            Some(seed) => Ok(seed.as_slice()?.to_vec()),
            None => PyResult::Ok(vec![0.0; length]),
        };
        let cotangent = SolutionTangent {
            x: part(&dx, self.n)?,
            z: part(&dz, self.m)?,
            s: part(&ds, self.m)?,
        };
        let written = within_budget(py, None, || {
            let program = self.failed.get(item).and_then(Option::as_ref);
            let seed = has_seed.then_some(&cotangent);
            bundle::write(self.derivative(item), program, &self.settings, seed, &path)
        })?;
        written.map_err(|e| exception(py, &e))
    }

    /// Gradients in the caller's P, q, A, b, one a row: of <(dx, dz, ds), (x, z, s)> + dobjective times the optimal value at the row's item.
    /// Parts that are not wanted are None. A row that has none is `fill`.
    #[allow(clippy::type_complexity)]
    fn vjp<'py>(
        &self,
        py: Python<'py>,
        items: Option<PyReadonlyArray1<'py, i64>>,
        dx: Rows<'py>,
        dz: Rows<'py>,
        ds: Rows<'py>,
        dobjective: Option<PyReadonlyArray1<'py, f64>>,
        wanted: [bool; 4],
        fill: f64,
    ) -> PyResult<([Option<Bound<'py, PyArray2<f64>>>; 4], Evidence)> {
        let items = self.items(items.as_ref())?;
        let count = items.len();
        let seeds = [
            slices(py, "cotangent x", &dx, count, self.n)?,
            slices(py, "cotangent z", &dz, count, self.m)?,
            slices(py, "cotangent s", &ds, count, self.m)?,
        ];
        let dvalue = dobjective.as_ref().map(|d| d.as_slice()).transpose()?;
        if let Some(found) = dvalue.map(<[f64]>::len).filter(|found| *found != count) {
            let error = Error::Dimension {
                what: "cotangent objective",
                expected: count,
                found,
            };
            return Err(exception(py, &error));
        }
        let parts = Wanted {
            p: wanted[0],
            q: wanted[1],
            a: wanted[2],
            b: wanted[3],
        };
        let (values, evidence) = within_budget(py, self.time_limit, || {
            let rows = self.pool.map(count, Memory::default, |memory, row| {
                let derivative = self.derivative(items[row])?;
                let seed = &mut memory.seed;
                copy(&mut seed.x, seeds[0].map(|s| s.row(row)), self.n);
                copy(&mut seed.z, seeds[1].map(|s| s.row(row)), self.m);
                copy(&mut seed.s, seeds[2].map(|s| s.row(row)), self.m);
                let weight = dvalue.map_or(0.0, |d| d[row]);
                let mut checked = gradient(derivative, memory, weight, parts)?;
                self.settle(derivative, &mut checked, parts)?;
                Ok(checked)
            });
            let mut values: [Vec<f64>; 4] = Default::default();
            for (k, values) in values.iter_mut().enumerate().filter(|v| wanted[v.0]) {
                values.reserve_exact(count * self.lengths[k]);
                for row in &rows {
                    let length = self.lengths[k];
                    let start = values.len();
                    match row {
                        Err(_) => values.resize(start + length, fill),
                        Ok(row) if k == 0 => {
                            values.resize(start + length, 0.0);
                            let out = &mut values[start..];
                            self.triangle.gradient_into(&row.value.p, out);
                        }
                        Ok(row) => {
                            let value = &row.value;
                            values.extend_from_slice([&value.p, &value.q, &value.a, &value.b][k]);
                        }
                    }
                }
            }
            (values, Evidence::new(rows, &items))
        })?;
        let mut arrays = [const { None }; 4];
        for (k, values) in values.into_iter().enumerate().filter(|v| wanted[v.0]) {
            let array = PyArray1::from_vec(py, values);
            arrays[k] = Some(array.reshape([count, self.lengths[k]])?);
        }
        Ok((arrays, evidence))
    }

    /// Directional derivatives of x, z, s and the optimal value, one a row, along directions in the caller's P, q, A, b (None: zero).
    #[allow(clippy::type_complexity)]
    fn jvp<'py>(
        &self,
        py: Python<'py>,
        items: Option<PyReadonlyArray1<'py, i64>>,
        dp: Rows<'py>,
        dq: Rows<'py>,
        da: Rows<'py>,
        db: Rows<'py>,
        fill: f64,
    ) -> PyResult<(
        [Bound<'py, PyArray2<f64>>; 3],
        Bound<'py, PyArray1<f64>>,
        Evidence,
    )> {
        let items = self.items(items.as_ref())?;
        let count = items.len();
        let directions = [
            slices(py, "tangent P", &dp, count, self.lengths[0])?,
            slices(py, "tangent q", &dq, count, self.lengths[1])?,
            slices(py, "tangent A", &da, count, self.lengths[2])?,
            slices(py, "tangent b", &db, count, self.lengths[3])?,
        ];
        let (values, objective, evidence) = within_budget(py, self.time_limit, || {
            let rows = self.pool.map(count, Memory::default, |memory, row| {
                let derivative = match self.derivative(items[row]) {
                    Ok(derivative) => derivative,
                    Err(error) => return (Err(error), fill),
                };
                let direction = &mut memory.direction;
                let of = |k: usize| directions[k].map(|d| d.row(row));
                match of(0) {
                    Some(p) => self.triangle.direction_into(p, &mut direction.p),
                    None => copy(&mut direction.p, None, derivative.program().p().nnz()),
                }
                copy(&mut direction.q, of(1), self.lengths[1]);
                copy(&mut direction.a, of(2), self.lengths[2]);
                copy(&mut direction.b, of(3), self.lengths[3]);
                let along_value = derivative.objective_gradient().dot(direction);
                (tangent(derivative, memory), along_value)
            });
            let (rows, objective): (Vec<_>, Vec<f64>) = rows.into_iter().unzip();
            let lengths = [self.n, self.m, self.m];
            let mut values: [Vec<f64>; 3] = Default::default();
            for (k, values) in values.iter_mut().enumerate() {
                values.reserve_exact(count * lengths[k]);
                for row in &rows {
                    match row {
                        Err(_) => values.resize(values.len() + lengths[k], fill),
                        Ok(row) => {
                            let value = &row.value;
                            values.extend_from_slice([&value.x, &value.z, &value.s][k]);
                        }
                    }
                }
            }
            (values, objective, Evidence::new(rows, &items))
        })?;
        let [x, z, s] = values;
        let rows = |values: Vec<f64>, length: usize| {
            PyArray1::from_vec(py, values).reshape([count, length])
        };
        Ok((
            [rows(x, self.n)?, rows(z, self.m)?, rows(s, self.m)?],
            PyArray1::from_vec(py, objective),
            evidence,
        ))
    }
}

/// The gradient of <seed, (x, z, s)> + weight times the optimal value. Where only the optimal value is asked for, no linear system is
/// solved and no kink is in the way: its gradient is trusted wherever the point is a solution.
fn gradient(
    derivative: &Derivative,
    memory: &mut Memory,
    weight: f64,
    wanted: Wanted,
) -> Outcome<DataTangent> {
    let seed = std::mem::take(&mut memory.seed);
    let mut value = DataTangent::default();
    let work = memory.work(derivative);
    let evidence = derivative.vjp_into(&seed, wanted, &mut value, work);
    let is_zero = [&seed.x, &seed.z, &seed.s]
        .iter()
        .all(|s| s.iter().all(|v| *v == 0.0));
    memory.seed = seed;
    let mut checked = derivative.checked(value, evidence?);
    if weight != 0.0 {
        if !weight.is_finite() {
            return Err(Error::NonFinite {
                what: "cotangent objective",
                index: 0,
                value: weight,
            });
        }
        let envelope = derivative.objective_gradient();
        let value = &mut checked.value;
        let parts = [
            (&mut value.p, envelope.p),
            (&mut value.q, envelope.q),
            (&mut value.a, envelope.a),
            (&mut value.b, envelope.b),
        ];
        for (to, from) in parts {
            for (to, from) in to.iter_mut().zip(from) {
                *to += weight * from;
            }
        }
        if is_zero {
            trust_of_value(&mut checked);
        }
    }
    Ok(checked)
}

/// The directional derivative of (x, z, s).
fn tangent(derivative: &Derivative, memory: &mut Memory) -> Outcome<SolutionTangent> {
    let direction = std::mem::take(&mut memory.direction);
    let mut value = SolutionTangent::default();
    let work = memory.work(derivative);
    let evidence = derivative.jvp_into(&direction, &mut value, work);
    memory.direction = direction;
    Ok(derivative.checked(value, evidence?))
}

/// Kinks and singular systems do not touch the gradient of the optimal value: only warnings about the point itself count.
fn trust_of_value<T>(checked: &mut Checked<T>) {
    use conediff::Warning;
    checked.warnings.retain(|w| {
        matches!(
            w,
            Warning::NotRefined { .. } | Warning::PointError { .. } | Warning::Unrefined
        )
    });
    checked.trusted = !checked.warnings.iter().any(Warning::is_fatal);
    checked.meaning = Meaning::Derivative;
}
