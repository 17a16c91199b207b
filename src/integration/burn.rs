//! A conic layer on burn's tensors (feature `burn`; burn 0.22, which needs Rust 1.95).
//!
//! Tensors may live on any of burn's devices: the programs are solved on the processor, on its backend Flex, and the answers go back to
//! the parameters' device; both ways are part of the graph.
//!
//! burn's backward pass has no way to return an error. A gradient that could not be formed is NaN, never left out, and
//! [`GradientReport`] has the error; with [`OnFailure::Zero`] it is zero.
//!
//! # References
//!
//! The Burn Book, Custom operations and backend extension.

use super::rows::{NAMES, Solver, Tape, wanted};
pub use super::{GradientReport, OnFailure};
use crate::{ConeProgram, Error, LayerSettings, Result};
use ::burn::backend::autodiff::checkpoint::base::Checkpointer;
use ::burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use ::burn::backend::autodiff::grads::Gradients;
use ::burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use ::burn::backend::tensor::FloatTensor;
use ::burn::backend::{Autodiff, Backend, Dispatch, ExecutionError, Flex, TensorMetadata};
use ::burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use std::sync::Arc;

/// The gradient of the input's values for a gradient of the output's, both in row-major order.
type Vjp = dyn Fn(&[f64]) -> Result<Vec<f64>> + Send + Sync;

/// The parameters of a call that are tensors, one row an item; what is `None` is the layer's program's own. A tensor of one row is every
/// item's. Shapes, for a batch of B: p [B, nnz of P's stored triangle], q [B, n], a [B, nnz of A], b [B, m]; p and a in stored order.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use conediff::{Cone, ConeProgram, LayerSettings};
/// # use conediff::integration::burn::Layer;
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let layer = Layer::new(&program, LayerSettings::default())?;
/// # let device = Device::flex().autodiff();
/// use conediff::integration::burn::Parameters;
/// // minimize 1/2 x^2 + q x subject to x <= b: one q for every item, P and A are the program's
/// let q = Tensor::<2>::from_data([[-2.0]], &device);
/// let b = Tensor::<2>::from_data([[0.5], [4.0]], &device);
/// let answer = layer.forward(Parameters::default().with_q(q).with_b(b))?;
/// assert_eq!(answer.x.into_data().to_vec::<f32>()?, [0.5, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// Values of P.
    pub p: Option<Tensor<2>>,
    /// q.
    pub q: Option<Tensor<2>>,
    /// Values of A.
    pub a: Option<Tensor<2>>,
    /// b.
    pub b: Option<Tensor<2>>,
}

impl Parameters {
    /// With these values of P.
    pub fn with_p(self, p: Tensor<2>) -> Self {
        Self { p: Some(p), ..self }
    }
    /// With this q.
    pub fn with_q(self, q: Tensor<2>) -> Self {
        Self { q: Some(q), ..self }
    }
    /// With these values of A.
    pub fn with_a(self, a: Tensor<2>) -> Self {
        Self { a: Some(a), ..self }
    }
    /// With this b.
    pub fn with_b(self, b: Tensor<2>) -> Self {
        Self { b: Some(b), ..self }
    }
}

/// A batch's solutions as tensors, on the device and of the type of its parameters.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use conediff::{Cone, ConeProgram, LayerSettings};
/// # use conediff::integration::burn::{Layer, Parameters};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let layer = Layer::new(&program, LayerSettings::default())?;
/// # let b = Tensor::<2>::from_data([[0.25], [2.0]], &Device::flex().autodiff());
/// use conediff::integration::burn::Answer;
/// // minimize 1/2 x^2 - x subject to x <= b, for b = 1/4 and b = 2
/// let Answer { x, z, s, errors, .. } = layer.forward(Parameters::default().with_b(b))?;
/// assert_eq!((x.dims(), errors.len()), ([2, 1], 2));
/// assert_eq!(z.into_data().to_vec::<f32>()?, [0.75, 0.0]); // the price of the bound
/// assert_eq!(s.into_data().to_vec::<f32>()?, [0.0, 1.0]); // what it leaves
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    /// Primal, [B, n].
    pub x: Tensor<2>,
    /// Dual, [B, m].
    pub z: Tensor<2>,
    /// Slack, [B, m].
    pub s: Tensor<2>,
    /// Each item's error: `None` for every item, unless the layer's [`OnFailure`] lets failed ones pass.
    pub errors: Vec<Option<Error>>,
    /// What is known of the gradients, after a backward pass.
    pub report: GradientReport,
}

/// A conic layer on burn's tensors: one structure, many data.
///
/// Clones share one layer. Forwards take turns; the threads of [`LayerSettings::threads`] are those of a batch.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use conediff::integration::burn::{Answer, GradientReport, Layer, OnFailure, Parameters};
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
/// let device = Device::flex().autodiff();
/// let b = Tensor::<2>::from_data([[0.25], [0.5], [2.0]], &device).require_grad();
/// let answer: Answer = layer.forward(Parameters::default().with_b(b.clone()))?;
/// assert!(answer.errors.iter().all(Option::is_none));
/// let gradients = answer.x.sum().backward();
///
/// let gradient = b.grad(&gradients).unwrap().into_data();
/// assert_eq!(gradient.to_vec::<f32>()?, [1.0, 1.0, 0.0]); // the third bound is not active
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
    pub fn new(program: &ConeProgram, settings: LayerSettings) -> Result<Self> {
        Ok(Self {
            solver: Arc::new(Solver::new(program, settings)?),
            on_failure: OnFailure::default(),
            dense: Arc::new(super::rows::dense_places(program)),
        })
    }

    /// The same layer with another treatment of items that fail.
    pub fn with_on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// P's stored values out of dense symmetric matrices [B, n, n]; of a matrix that is not symmetric those of its symmetric part.
    /// Entries that the layer's program does not store are not looked at.
    ///
    /// # Errors
    /// [`ExecutionError`] for another shape.
    pub fn p_from_dense(&self, p: Tensor<3>) -> std::result::Result<Tensor<2>, ExecutionError> {
        let upper = self.entries(p.clone(), 0, self.solver.n)?;
        let lower = self.entries(p, 1, self.solver.n)?;
        Ok((upper + lower) * 0.5)
    }

    /// A's stored values out of dense matrices [B, m, n]; entries that the layer's program does not store are not looked at.
    ///
    /// # Errors
    /// [`ExecutionError`] for another shape.
    pub fn a_from_dense(&self, a: Tensor<3>) -> std::result::Result<Tensor<2>, ExecutionError> {
        self.entries(a, 2, self.solver.m)
    }

    fn entries(
        &self,
        matrices: Tensor<3>,
        of: usize,
        rows: usize,
    ) -> std::result::Result<Tensor<2>, ExecutionError> {
        let [batch, found, columns] = matrices.dims();
        if (found, columns) != (rows, self.solver.n) {
            return Err(error(format!(
                "dense matrices of {found} rows and {columns} columns: the layer's have {rows} and {}",
                self.solver.n
            )));
        }
        let places = self.dense[of].as_slice();
        let places = Tensor::<1, Int>::from_data(
            TensorData::new(places.to_vec(), [places.len()]),
            &matrices.device(),
        );
        Ok(matrices.reshape([batch, rows * columns]).select(1, places))
    }

    /// Solves for a batch; x, z, s carry the graph of every parameter that is a tensor.
    ///
    /// # Errors
    /// [`ExecutionError`] for tensors of wrong shapes, of several types or devices, or none at all; for an item that has no solution (unless
    /// [`OnFailure`] lets it pass), named, with the message of this crate's [`Error`].
    pub fn forward(&self, parameters: Parameters) -> std::result::Result<Answer, ExecutionError> {
        let Parameters { p, q, a, b } = parameters;
        let given = [p, q, a, b];
        let moving = given.each_ref().map(Option::is_some);
        let tensors: Vec<(usize, Tensor<2>)> = given
            .into_iter()
            .enumerate()
            .filter_map(|(k, tensor)| Some((k, tensor?)))
            .collect();
        let Some(batch) = tensors
            .iter()
            .map(|(_, t)| t.dims()[0])
            .find(|rows| *rows != 1)
        else {
            return match tensors.is_empty() {
                true => Err(error(
                    "none of P, q, A, b is a tensor: give at least one".into(),
                )),
                false => self.solve(tensors, 1, moving),
            };
        };
        self.solve(tensors, batch, moving)
    }

    fn solve(
        &self,
        tensors: Vec<(usize, Tensor<2>)>,
        batch: usize,
        moving: [bool; 4],
    ) -> std::result::Result<Answer, ExecutionError> {
        let (device, dtype) = (tensors[0].1.device(), tensors[0].1.dtype());
        let mut columns = Vec::with_capacity(tensors.len());
        for (k, tensor) in tensors {
            let (name, length) = (NAMES[k], self.solver.lengths[k]);
            let [rows, width] = tensor.dims();
            if width != length || (rows != 1 && rows != batch) {
                return Err(error(format!(
                    "{name} has shape [{rows}, {width}]: the layer needs [{batch}, {length}] or [1, {length}]"
                )));
            }
            if tensor.dtype() != dtype || tensor.device() != device {
                return Err(error(format!(
                    "{name} is {:?} on {:?}, other parameters are {dtype:?} on {device:?}: cast or move it first",
                    tensor.dtype(),
                    tensor.device(),
                )));
            }
            columns.push(tensor.expand([batch, length]));
        }
        let input = Tensor::cat(columns, 1);
        let rows: Vec<f64> = input.to_data().iter::<f64>().collect();
        let (n, m) = (self.solver.n, self.solver.m);
        let answer = self
            .solver
            .forward(&rows, batch, wanted(moving), self.on_failure);
        let (values, tape) = answer.map_err(|failure| error(failure.to_string()))?;
        let (errors, report) = (tape.errors.clone(), tape.report.clone());
        let height = n + 2 * m;
        let output = with_vjp(input, values, [batch, height], move |cotangents| {
            Ok(gradients(&tape, cotangents))
        })?;
        let part = |from: usize, length: usize| output.clone().narrow(1, from, length);
        Ok(Answer {
            x: part(0, n),
            z: part(n, m),
            s: part(n + m, m),
            errors,
            report,
        })
    }
}

/// The rows of failed items are in the report and are NaN or zero.
fn gradients(tape: &Tape, cotangents: &[f64]) -> Vec<f64> {
    tape.backward(cotangents).0
}

fn error(reason: String) -> ExecutionError {
    ExecutionError::WithContext { reason }
}

/// A tensor of these values (row-major) whose backward pass is `vjp`: from the gradient of the values to that of the input's values, both
/// row-major. On the input's device and of its type. If `vjp` fails, or returns another number of values, the input's gradient is NaN: burn's
/// backward pass has no errors.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// // y = x^3 with its derivative by hand
/// let x = Tensor::<1>::from_data([2.0, -1.0], &Device::flex().autodiff()).require_grad();
/// let at: Vec<f64> = x.to_data().iter().collect();
/// let cubes = at.iter().map(|x| x.powi(3)).collect();
/// let y: Tensor<1> = conediff::integration::burn::with_vjp(x.clone(), cubes, [2], move |g| {
///     Ok(g.iter().zip(&at).map(|(g, x)| 3.0 * x * x * g).collect())
/// })?;
/// let gradients = y.sum().backward();
/// assert_eq!(x.grad(&gradients).unwrap().into_data().to_vec::<f32>()?, [12.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ExecutionError`] if the shape does not fit the number of values.
pub fn with_vjp<const D: usize, const E: usize>(
    input: Tensor<D>,
    values: Vec<f64>,
    shape: [usize; E],
    vjp: impl Fn(&[f64]) -> Result<Vec<f64>> + Send + Sync + 'static,
) -> std::result::Result<Tensor<E>, ExecutionError> {
    let (found, expected) = (values.len(), shape.iter().product::<usize>());
    if found != expected {
        return Err(error(format!(
            "{found} values do not fit the shape {shape:?} of {expected}"
        )));
    }
    let (device, dtype) = (input.device(), input.dtype());
    let processor = Device::flex();
    let values = TensorData::new(values, shape).convert_dtype(dtype);
    let output = Tensor::<E>::from_data(values, (&processor, dtype));
    let output = <Dispatch as CustomVjp>::attach(
        input.to_device(&processor).into_dispatch(),
        output.into_dispatch(),
        Recorded(Arc::new(vjp)),
    );
    Ok(Tensor::from_dispatch(output).to_device(&device))
}

mod extension {
    //! What the macro's expansion makes public is not part of the interface.
    use super::*;

    /// A backward pass in the graph.
    #[derive(Clone)]
    pub struct Recorded(pub(super) Arc<Vjp>);

    impl std::fmt::Debug for Recorded {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a backward pass")
        }
    }

    /// The output, as a function of the input with this backward pass.
    #[::burn::backend::backend_extension(Flex, Autodiff)]
    pub trait CustomVjp: Backend {
        /// Without autodiff: the output.
        fn attach(
            input: FloatTensor<Self>,
            output: FloatTensor<Self>,
            vjp: Recorded,
        ) -> FloatTensor<Self> {
            let _ = (input, vjp);
            output
        }
    }
}
use extension::{CustomVjp, Recorded};

impl CustomVjp for Flex {}

impl<B: Backend + CustomVjp, C: CheckpointStrategy> CustomVjp for Autodiff<B, C> {
    fn attach(
        input: FloatTensor<Self>,
        output: FloatTensor<Self>,
        vjp: Recorded,
    ) -> FloatTensor<Self> {
        let (primitive, node) = input.into_parts();
        let shape = primitive.shape();
        let output = output.into_primitive();
        let prepared = Step.prepare::<C>([node]).compute_bound().stateful();
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((vjp, shape), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

#[derive(Debug)]
struct Step;

impl<B: Backend> Backward<B, 1> for Step {
    type State = (Recorded, Shape);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [parent] = ops.parents;
        let (vjp, shape) = ops.state;
        let incoming = grads.consume::<B>(&ops.node);
        let Some(parent) = parent else { return };
        let (device, dtype) = (incoming.device(), incoming.dtype());
        let count = shape.num_elements();
        let incoming = ::burn::backend::try_read_sync(B::float_into_data(incoming));
        let found = match incoming {
            Some(Ok(data)) => vjp.0(&data.iter::<f64>().collect::<Vec<_>>()).ok(),
            _ => None,
        };
        let values = found
            .filter(|v| v.len() == count)
            .unwrap_or_else(|| vec![f64::NAN; count]);
        let values = TensorData::new(values, shape).convert_dtype(dtype);
        grads.register::<B>(parent.id, B::float_from_data(values, &device));
    }
}
