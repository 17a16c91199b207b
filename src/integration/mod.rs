//! Layers on the tensors of Rust's machine learning frameworks, built on the crate's public parts alone.
//!
//! `burn` (feature `burn`) and `candle` (feature `candle`) each have a `Layer`: any of P, q, A, b are
//! tensors, one row an item, and x, z, s come back as tensors through which the framework's own backward pass flows. Tensors may be of any
//! float type; the program is solved and differentiated in f64, and the answer rounded to the tensors' type once.
//!
//! Both have `with_vjp`, too: a tensor with a backward of one's own, for every other derivative of this crate.
//!
//! A tensor of gradients cannot say how right it is. [`GradientReport`] does, for each item, after the backward pass.

mod rows;

#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "candle")]
pub mod candle;

use crate::{Checked, Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of an item that has no solution, or whose derivative fails (also one that is not trusted, under `strict`).
///
/// ```
/// # #[cfg(feature = "candle")] {
/// # use candle_core::{Device, Tensor};
/// # use conediff::{Error, LayerSettings, ProgramBuilder};
/// # let mut builder = ProgramBuilder::new(1);
/// # builder.quadratic(0, 0, 1.0);
/// # builder.linear(0, -1.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # builder.inequality(&[(0, -1.0)], 0.0);
/// # let program = builder.build()?;
/// use conediff::integration::candle::{Layer, OnFailure, Parameters};
/// // minimize 1/2 x^2 - x subject to x <= b and -x <= 0, for b = 1/2 and for b = -1, which leaves no x
/// let b = Tensor::new(&[[0.5_f32, 0.0], [-1.0, 0.0]], &Device::Cpu)?;
/// let layer = Layer::new(&program, LayerSettings::default())?;
/// assert!(layer.forward(Parameters::default().with_b(&b)).is_err());
/// let answer = layer.with_on_failure(OnFailure::Zero).forward(Parameters::default().with_b(&b))?;
/// assert_eq!(answer.x.to_vec2::<f32>()?, [[0.5], [0.0]]);
/// assert!(matches!(answer.errors[..], [None, Some(Error::PrimalInfeasible { .. })]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The first failed item's error is the batch's. The default: nobody overlooks it.
    #[default]
    Error,
    /// The item's solution and gradients are NaN, the others exact; errors are in the answer and in the report.
    Nan,
    /// The same with zeros: the item has no say in a sum over the batch.
    Zero,
}

impl OnFailure {
    /// What fills the rows of a failed item.
    fn filling(self) -> f64 {
        match self {
            OnFailure::Zero => 0.0,
            _ => f64::NAN,
        }
    }
}

/// What is known of the gradients that a backward pass took through a layer's answer: for each item the verdict, without the value,
/// or the error. One report for each answer; the last backward pass counts.
///
/// ```
/// # #[cfg(feature = "candle")] {
/// # use candle_core::{Device, Var};
/// # use conediff::{Cone, ConeProgram, LayerSettings};
/// # use conediff::integration::candle::{Layer, Parameters};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let layer = Layer::new(&program, LayerSettings::default())?;
/// use conediff::Warning;
/// use conediff::integration::GradientReport;
/// // minimize 1/2 x^2 - x subject to x <= b, before its kink b = 1 and at it
/// let b = Var::new(&[[0.5], [1.0]], &Device::Cpu)?;
/// let answer = layer.forward(Parameters::default().with_b(&b))?;
/// let report: GradientReport = answer.report.clone();
/// assert!(report.is_trusted().is_none()); // nothing went backward yet
/// answer.x.sum_all()?.backward()?;
/// assert_eq!(report.is_trusted(), Some(false));
/// let items = report.items().unwrap_or_default().into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert!(items[0].trusted && matches!(items[1].warnings[..], [Warning::AtKink(_)]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GradientReport(Arc<Mutex<Option<Verdicts>>>);

/// An item's verdict without the value, or its error.
type Verdicts = Vec<Result<Checked<()>>>;

impl GradientReport {
    /// The items, in order; `None` before a backward pass.
    pub fn items(&self) -> Option<Vec<Result<Checked<()>>>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// True if every item's gradient is trusted; `None` before a backward pass.
    pub fn is_trusted(&self) -> Option<bool> {
        let is_trusted = |item: &Result<Checked<()>>| item.as_ref().is_ok_and(|c| c.trusted);
        Some(self.items()?.iter().all(is_trusted))
    }

    fn set(&self, items: Vec<Result<Checked<()>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(items);
    }
}

/// An item's error.
#[derive(Debug, Clone)]
struct Failure {
    item: usize,
    error: Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "item {}: {}", self.item, self.error)
    }
}
