//! A layer's choices, each with its default and the reason for it.

use crate::error::{Error, Result};
use crate::settings::{ClarabelLinearSolver, Settings};
use crate::solution::Solution;

/// Who makes the point that Newton refines.
///
/// ```
/// # use conediff::{Cone, ConeProgram, ConicLayer, ForwardPath, LayerData, LayerSettings};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::ForwardSolver;
/// // minimize 1/2 x^2 - x subject to x <= b
/// for (solver, path) in [(ForwardSolver::DenseQp, ForwardPath::DenseQp), (ForwardSolver::Clarabel, ForwardPath::Cheap)] {
///     let mut layer = ConicLayer::new(&program, LayerSettings::default().with_forward(solver))?;
///     let x = layer.forward(&LayerData::default().with_b(&[0.5]))?.x[0];
///     assert!((x - 0.5).abs() < 1e-12 && layer.path(0) == Some(path));
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardSolver {
    /// Where all cones are zero or nonnegative and the system is small, the dense interior-point method and Clarabel are timed on the
    /// first forward and the faster one is kept; elsewhere Clarabel.
    #[default]
    Auto,
    /// Clarabel.
    Clarabel,
    /// The dense interior-point method; Clarabel for programs with other cones, and for what it does not finish.
    DenseQp,
}

/// Where a forward starts.
///
/// A start is a guess: Newton's method on the new data's F either takes the residual to the tolerance, which proves the answer, or
/// the program is solved afresh. The first step from the previous solution, with the previous factorization, is the prediction by
/// the derivative: F of the new data there is the derivative of F along the data's change.
///
/// ```
/// # use conediff::{Cone, ConeProgram, ConicLayer, ForwardPath, LayerData, LayerSettings, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::WarmStart;
/// // minimize 1/2 x^2 - x subject to x <= b, every item from one solution made beforehand
/// let start = Box::new(solve(&program, &Settings::default())?);
/// let settings = LayerSettings::default().with_warm_start(WarmStart::Given(start));
/// let mut layer = ConicLayer::new(&program, settings)?;
/// let x = layer.forward(&LayerData::default().with_b(&[0.3]))?.x[0];
/// assert!((x - 0.3).abs() < 1e-12 && layer.path(0) == Some(ForwardPath::Warm));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmStart {
    /// Every forward for itself. Answers do not depend on what was solved before, to the last bit.
    #[default]
    Off,
    /// The item's previous solution.
    Previous,
    /// This solution, for every item.
    Given(Box<Solution>),
}

/// Everything there is to choose for a layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerSettings {
    /// Those of a single solve and its derivative. They rule every answer: the cheap forward is accepted by `refine.tolerance`, and
    /// what it misses is solved with `solve`. The time limit is that of each solver's run; for a call or
    /// an item see [`crate::Budget`].
    pub settings: Settings,
    /// Who makes the point that Newton refines. Default `Auto`.
    pub forward: ForwardSolver,
    /// Clarabel's own factorization. Default `Auto`: timed once, with its inner refinement and its tolerance. What is timed differs from
    /// run to run in rounding: where runs must agree bit for bit, choose this, `forward` and `settings.linear.backend`.
    pub clarabel: ClarabelLinearSolver,
    /// Tolerance of the cheap forward. Default 1e-6: Newton does the rest; at 1e-4 linear programs end at wrong vertices. Where Clarabel
    /// is timed, 1e-8 and, with curved cones, 1e-4 are timed beside it.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Default `Off`.
    pub warm_start: WarmStart,
    /// Threads of a batch, one item each; the linear algebra inside is sequential. Default 1. 0 means one for each processor.
    pub threads: usize,
}

impl Default for LayerSettings {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            forward: ForwardSolver::Auto,
            clarabel: ClarabelLinearSolver::Auto,
            tolerance: 1e-6,
            warm_start: WarmStart::Off,
            threads: 1,
        }
    }
}

impl LayerSettings {
    /// The same settings with another start.
    pub fn with_warm_start(self, warm_start: WarmStart) -> Self {
        Self { warm_start, ..self }
    }

    /// The same settings with another number of threads.
    ///
    /// ```
    /// use conediff::{ForwardSolver, LayerSettings, WarmStart};
    /// let settings = LayerSettings::default()
    ///     .with_forward(ForwardSolver::Clarabel)
    ///     .with_warm_start(WarmStart::Previous)
    ///     .with_threads(2);
    /// assert!(settings.validate().is_ok() && settings.threads == 2);
    /// ```
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The same settings with another forward solver.
    pub fn with_forward(self, forward: ForwardSolver) -> Self {
        Self { forward, ..self }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        if self.tolerance > 0.0 && self.tolerance < 1.0 {
            return Ok(());
        }
        Err(Error::Setting {
            name: "layer.tolerance",
            value: self.tolerance,
            allowed: "in (0, 1)",
        })
    }
}
