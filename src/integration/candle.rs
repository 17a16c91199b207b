//! A conic layer on candle's tensors (feature `candle`; candle 0.11).
//!
//! Tensors may live on any of candle's devices: the programs are solved on the processor, and the answers go back to the parameters'
//! device; both ways are part of the graph. Errors are candle's, of the solve and of the backward pass alike; their source is this crate's
//! [`Error`] with the item it belongs to.

use super::rows::{NAMES, Solver, Tape, wanted};
pub use super::{GradientReport, OnFailure};
use crate::{ConeProgram, Error, LayerSettings};
use candle_core::{
    CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor, WithDType,
};
use std::sync::Arc;

/// The gradient of the input's values for a gradient of the output's, both in row-major order.
type Vjp = dyn Fn(&[f64]) -> Result<Vec<f64>> + Send + Sync;

/// The parameters of a call that are tensors; what is `None` is the layer's program's own. Shapes, for a batch of B: p [B, nnz of P's
/// stored triangle], q [B, n], a [B, nnz of A], b [B, m]; p and a in stored order. Without the first dimension, or with one row, a
/// tensor is every item's.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use conediff::{Cone, ConeProgram, LayerSettings};
/// # use conediff::integration::candle::Layer;
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let layer = Layer::new(&program, LayerSettings::default())?;
/// use conediff::integration::candle::Parameters;
/// // minimize 1/2 x^2 + q x subject to x <= b: one q for every item, P and A are the program's
/// let q = Tensor::new(&[-2.0_f32], &Device::Cpu)?;
/// let b = Tensor::new(&[[0.5_f32], [4.0]], &Device::Cpu)?;
/// let answer = layer.forward(Parameters::default().with_q(&q).with_b(&b))?;
/// assert_eq!(answer.x.to_vec2::<f32>()?, [[0.5], [2.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Parameters<'a> {
    /// Values of P.
    pub p: Option<&'a Tensor>,
    /// q.
    pub q: Option<&'a Tensor>,
    /// Values of A.
    pub a: Option<&'a Tensor>,
    /// b.
    pub b: Option<&'a Tensor>,
}

impl<'a> Parameters<'a> {
    /// With these values of P.
    pub fn with_p(self, p: &'a Tensor) -> Self {
        Self { p: Some(p), ..self }
    }
    /// With this q.
    pub fn with_q(self, q: &'a Tensor) -> Self {
        Self { q: Some(q), ..self }
    }
    /// With these values of A.
    pub fn with_a(self, a: &'a Tensor) -> Self {
        Self { a: Some(a), ..self }
    }
    /// With this b.
    pub fn with_b(self, b: &'a Tensor) -> Self {
        Self { b: Some(b), ..self }
    }
}

/// A batch's solutions as tensors, on the device and of the type of its parameters.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use conediff::{Cone, ConeProgram, LayerSettings};
/// # use conediff::integration::candle::{Layer, Parameters};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let layer = Layer::new(&program, LayerSettings::default())?;
/// # let b = Tensor::new(&[[0.25_f32], [2.0]], &Device::Cpu)?;
/// use conediff::integration::candle::Answer;
/// // minimize 1/2 x^2 - x subject to x <= b, for b = 1/4 and b = 2 in single precision
/// let Answer { x, z, s, errors, .. } = layer.forward(Parameters::default().with_b(&b))?;
/// assert_eq!((x.dims2()?, x.dtype(), errors.len()), ((2, 1), b.dtype(), 2));
/// assert_eq!(z.to_vec2::<f32>()?, [[0.75], [0.0]]); // the price of the bound
/// assert_eq!(s.to_vec2::<f32>()?, [[0.0], [1.0]]); // what it leaves
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    /// Primal, [B, n]; B = 1 if no parameter has more rows.
    pub x: Tensor,
    /// Dual, [B, m].
    pub z: Tensor,
    /// Slack, [B, m].
    pub s: Tensor,
    /// Each item's error: `None` for every item, unless the layer's [`OnFailure`] lets failed ones pass.
    pub errors: Vec<Option<Error>>,
    /// What is known of the gradients, after a backward pass.
    pub report: GradientReport,
}

/// A conic layer on candle's tensors: one structure, many data.
///
/// Clones share one layer. Forwards take turns; the threads of [`LayerSettings::threads`] are those of a batch.
///
/// ```
/// use candle_core::{Device, Var};
/// use conediff::integration::candle::{Answer, GradientReport, Layer, OnFailure, Parameters};
/// use conediff::{Cone, ConeProgram, LayerSettings};
///
/// // minimize 1/2 x^2 - x subject to x <= b, for three b
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let layer = Layer::new(&program, LayerSettings::default())?.with_on_failure(OnFailure::Nan);
///
/// let b = Var::new(&[[0.25], [0.5], [2.0]], &Device::Cpu)?;
/// let answer: Answer = layer.forward(Parameters::default().with_b(&b))?;
/// assert!(answer.errors.iter().all(Option::is_none));
/// let gradients = answer.x.sum_all()?.backward()?;
///
/// let gradient = gradients.get(&b).unwrap().to_vec2::<f64>()?;
/// assert_eq!(gradient, [[1.0], [1.0], [0.0]]); // the third bound is not active
/// let report: GradientReport = answer.report;
/// assert_eq!(report.is_trusted(), Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Layer {
    solver: Arc<Solver>,
    on_failure: OnFailure,
    /// Positions of P's and A's entries in dense matrices, P's mirrored ones too.
    dense: Arc<[Vec<i64>; 3]>,
}

impl Layer {
    /// A layer for the program's patterns and cones; its values are those of parameters that are not tensors.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Threads`].
    pub fn new(program: &ConeProgram, settings: LayerSettings) -> crate::Result<Self> {
        Ok(Self {
            dense: Arc::new(super::rows::dense_places(program)),
            solver: Arc::new(Solver::new(program, settings)?),
            on_failure: OnFailure::default(),
        })
    }

    /// The same layer with another treatment of items that fail.
    pub fn with_on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// P's stored values out of dense symmetric matrices [B, n, n] or [n, n]; of a matrix that is not symmetric those of its symmetric part.
    /// Entries that the layer's program does not store are not looked at.
    ///
    /// # Errors
    /// candle's, for another shape.
    pub fn p_from_dense(&self, p: &Tensor) -> Result<Tensor> {
        let upper = self.entries(p, 0, self.solver.n)?;
        let lower = self.entries(p, 1, self.solver.n)?;
        (upper + lower)? * 0.5
    }

    /// A's stored values out of dense matrices [B, m, n] or [m, n]; entries that the layer's program does not store are not looked at.
    ///
    /// # Errors
    /// candle's, for another shape.
    pub fn a_from_dense(&self, a: &Tensor) -> Result<Tensor> {
        self.entries(a, 2, self.solver.m)
    }

    fn entries(&self, matrices: &Tensor, of: usize, rows: usize) -> Result<Tensor> {
        let columns = self.solver.n;
        let shape = matrices.dims();
        if !(2..=3).contains(&shape.len()) || shape[shape.len() - 2..] != [rows, columns] {
            candle_core::bail!(
                "dense matrices of shape {shape:?}: the layer's are [B, {rows}, {columns}] or [{rows}, {columns}]"
            );
        }
        let places = self.dense[of].as_slice();
        let places = Tensor::from_slice(places, places.len(), matrices.device())?;
        let flat = matrices.flatten(D::Minus2, D::Minus1)?.contiguous()?;
        flat.index_select(&places, D::Minus1)
    }

    /// Solves for a batch; x, z, s carry the graph of every parameter that is a tensor.
    ///
    /// # Errors
    /// candle's, for tensors of wrong shapes, of several types or devices, or none at all; for an item that has no solution (unless
    /// [`OnFailure`] lets it pass), named, this crate's [`Error`] inside.
    pub fn forward(&self, parameters: Parameters<'_>) -> Result<Answer> {
        let Parameters { p, q, a, b } = parameters;
        let given = [p, q, a, b];
        let mut rows = Vec::with_capacity(4);
        for (k, tensor) in given.iter().enumerate() {
            if let Some(tensor) = tensor {
                rows.push((k, self.as_rows(k, tensor)?));
            }
        }
        let Some((_, first)) = rows.first() else {
            candle_core::bail!("none of P, q, A, b is a tensor: give at least one");
        };
        let (device, dtype) = (first.device().clone(), first.dtype());
        let counts = rows.iter().map(|(_, t)| t.dims()[0]);
        let batch = counts.clone().find(|rows| *rows != 1).unwrap_or(1);
        let mut columns = Vec::with_capacity(rows.len());
        for (k, tensor) in &rows {
            let (name, length) = (NAMES[*k], self.solver.lengths[*k]);
            let found = tensor.dims()[0];
            if found != 1 && found != batch {
                candle_core::bail!(
                    "{name} has {found} rows, other parameters have {batch}: give as many, or one for all"
                );
            }
            if tensor.dtype() != dtype || !tensor.device().same_device(&device) {
                candle_core::bail!(
                    "{name} is {:?} on {:?}, other parameters are {dtype:?} on {device:?}: cast or move it first",
                    tensor.dtype(),
                    tensor.device()
                );
            }
            columns.push(tensor.broadcast_as((batch, length))?);
        }
        let input = Tensor::cat(&columns, 1)?;
        let values = to_f64(&input)?;
        let moving = given.map(|tensor| tensor.is_some());
        let answer = self
            .solver
            .forward(&values, batch, wanted(moving), self.on_failure);
        let (values, tape) = answer.map_err(candle_core::Error::wrap)?;
        let (errors, report) = (tape.errors.clone(), tape.report.clone());
        let (n, m) = (self.solver.n, self.solver.m);
        let on_failure = self.on_failure;
        let vjp = move |cotangents: &[f64]| gradients(&tape, cotangents, on_failure);
        let output = with_vjp(&input, values, (batch, n + 2 * m), vjp)?;
        Ok(Answer {
            x: output.narrow(1, 0, n)?,
            z: output.narrow(1, n, m)?,
            s: output.narrow(1, n + m, m)?,
            errors,
            report,
        })
    }

    /// A parameter with one row an item.
    fn as_rows(&self, k: usize, tensor: &Tensor) -> Result<Tensor> {
        let (name, length) = (NAMES[k], self.solver.lengths[k]);
        match tensor.dims() {
            [width] if *width == length => tensor.unsqueeze(0),
            [_, width] if *width == length => Ok(tensor.clone()),
            found => candle_core::bail!(
                "{name} has shape {found:?}: the layer needs [B, {length}] or [{length}]"
            ),
        }
    }
}

fn gradients(tape: &Tape, cotangents: &[f64], on_failure: OnFailure) -> Result<Vec<f64>> {
    match tape.backward(cotangents) {
        (_, Some(failure)) if on_failure == OnFailure::Error => {
            Err(candle_core::Error::wrap(failure))
        }
        (rows, _) => Ok(rows),
    }
}

/// The values in row-major order.
fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}

/// A tensor of these values (row-major) whose backward pass is `vjp`: from the gradient of the values to that of the input's values, both
/// row-major. On the input's device and of its type.
///
/// ```
/// use candle_core::{Device, Var};
/// // y = x^3 with its derivative by hand
/// let x = Var::new(&[2.0, -1.0], &Device::Cpu)?;
/// let at = x.to_vec1::<f64>()?;
/// let cubes = at.iter().map(|x| x.powi(3)).collect();
/// let y = conediff::integration::candle::with_vjp(&x, cubes, 2, move |g| {
///     Ok(g.iter().zip(&at).map(|(g, x)| 3.0 * x * x * g).collect())
/// })?;
/// let gradients = y.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f64>()?, [12.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// candle's, if the shape does not fit the number of values.
pub fn with_vjp(
    input: &Tensor,
    values: Vec<f64>,
    shape: impl Into<Shape>,
    vjp: impl Fn(&[f64]) -> Result<Vec<f64>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let (shape, found) = (shape.into(), values.len());
    if shape.elem_count() != found {
        candle_core::bail!(
            "{found} values do not fit the shape {shape:?} of {}",
            shape.elem_count()
        );
    }
    let (device, dtype) = (input.device().clone(), input.dtype());
    let operation = Recorded {
        values,
        shape,
        vjp: Box::new(vjp),
    };
    let input = input.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let output = input.apply_op1(operation)?;
    output.to_dtype(dtype)?.to_device(&device)
}

/// A function's values with its backward pass, in f64 on the processor.
struct Recorded {
    values: Vec<f64>,
    shape: Shape,
    vjp: Box<Vjp>,
}

impl CustomOp1 for Recorded {
    fn name(&self) -> &'static str {
        "conediff"
    }

    fn cpu_fwd(&self, _storage: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((f64::to_cpu_storage(&self.values), self.shape.clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let gradient = (self.vjp)(&to_f64(incoming)?)?;
        if gradient.len() != input.elem_count() {
            candle_core::bail!(
                "a backward pass gave {} values, its input has {}",
                gradient.len(),
                input.elem_count()
            );
        }
        Tensor::from_vec(gradient, input.shape(), input.device()).map(Some)
    }
}
