//! A failure as one JSON file: what was computed from what, with what outcome, to be computed again elsewhere.
//!
//! ```text
//! (program, settings, task: solve | derivative | vjp | jvp, outcome)   ->   file   ->   the same task again   ->   equal, or where not
//! ```
//!
//! A bundle holds everything its task depends on, so the same build on the same kind of machine gives the same bits. Two things are not
//! in the arguments of a call and are kept beside them: the solution a derivative was made from, where refinement moved it, and what a
//! layer timed (back end and regularization of the linear step). What a layer's item owes to the history of its Newton steps is not
//! kept: the task is done once more when the bundle is made, and where that differs from what the caller saw, both are recorded.

mod build;
mod difference;
mod file;
mod replay;
mod task;

pub use build::Build;
pub use difference::Difference;
pub use replay::Replay;

use crate::derivative::{Checked, Derivative, Origin};
use crate::error::{Error, Result, Status};
use crate::layer::LayerSettings;
use crate::linsolve::Calibration;
use crate::program::ConeProgram;
use crate::residual::Wanted;
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};
use serde_json::Value;
use task::Task;

/// A failure, or any derivative worth sending, with all that it takes to compute it again.
///
/// ```
/// use conediff::{Bundle, Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// // minimize 1/2 x^2 subject to x <= 0: at a kink, so the derivative is not trusted
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let settings = Settings::default();
/// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// let seed = SolutionTangent { x: vec![1.0], z: vec![0.0], s: vec![0.0] };
/// let outcome = derivative.vjp(&seed);
/// assert!(!outcome.as_ref().is_ok_and(|gradient| gradient.trusted));
///
/// let sent = Bundle::vjp(&derivative, &seed, &outcome)?.to_json();
/// let replay = Bundle::from_json(&sent)?.replay();
/// assert!(replay.matches_bits(), "{replay}");
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    build: Build,
    program: ConeProgram,
    settings: Settings,
    /// Of the layer it came from.
    layer: Option<LayerSettings>,
    calibration: Calibration,
    task: Task,
    /// What the caller saw.
    outcome: Value,
    /// What the task gave when the bundle was made, where that is not the same to the last bit.
    again: Option<Value>,
}

impl Bundle {
    /// A solve that failed: the error of [`crate::solve`], or of a layer's forward with its item's program. The solve is done once more,
    /// to record what it gives from the bundle's contents alone; not where the time limit was reached.
    pub fn failed_solve(program: &ConeProgram, settings: &Settings, error: &Error) -> Self {
        let outcome = task::failure(error);
        let is_timed = matches!(
            error,
            Error::NotSolved {
                status: Status::MaxTime,
                ..
            }
        );
        let mut bundle = Self::unchecked(program, settings, Task::Solve, outcome);
        if !is_timed {
            bundle.check();
        }
        bundle
    }

    /// A derivative that could not be made: the error of [`Derivative::new`].
    pub fn failed_derivative(
        program: &ConeProgram,
        solution: &Solution,
        settings: &Settings,
        error: &Error,
    ) -> Self {
        let solution = Box::new(solution.clone());
        let task = Task::Derivative { solution };
        let mut bundle = Self::unchecked(program, settings, task, task::failure(error));
        bundle.check();
        bundle
    }

    /// The point of a derivative: its warnings, margins and regularity report.
    ///
    /// # Errors
    /// [`Error::Bundle`] for a derivative that no settings make: [`Derivative::with_selection`], [`Derivative::with_kink_selections`],
    /// [`Derivative::smoothed`], [`Derivative::tikhonov`].
    pub fn derivative(derivative: &Derivative) -> Result<Self> {
        let solution = start(derivative)?;
        let outcome = task::point(derivative);
        Ok(Self::at(derivative, Task::Derivative { solution }, outcome))
    }

    /// A VJP with its cotangent and what came of it, as [`Derivative::vjp`], [`Derivative::vjp_wanted`] or a layer's backward gave it
    /// (parts of the gradient that were not wanted are empty). The point's regularity report is added, and the task is done once more:
    /// two or three factorizations.
    ///
    /// # Errors
    /// Those of [`Bundle::derivative`].
    pub fn vjp(
        derivative: &Derivative,
        cotangent: &SolutionCotangent,
        outcome: &Result<Checked<DataCotangent>>,
    ) -> Result<Self> {
        let solution = start(derivative)?;
        let wanted = match outcome {
            Ok(gradient) => Wanted {
                p: !gradient.value.p.is_empty(),
                q: !gradient.value.q.is_empty(),
                a: !gradient.value.a.is_empty(),
                b: !gradient.value.b.is_empty(),
            },
            Err(_) => Wanted::default(),
        };
        let task = Task::Vjp {
            solution,
            cotangent: cotangent.clone(),
            wanted,
        };
        Ok(Self::at(derivative, task, task::of(outcome, derivative)))
    }

    /// A JVP with its tangent and what came of it, as [`Derivative::jvp`] or a layer gave it; otherwise like [`Bundle::vjp`].
    ///
    /// # Errors
    /// Those of [`Bundle::derivative`].
    pub fn jvp(
        derivative: &Derivative,
        tangent: &DataTangent,
        outcome: &Result<Checked<SolutionTangent>>,
    ) -> Result<Self> {
        let solution = start(derivative)?;
        let task = Task::Jvp {
            solution,
            tangent: tangent.clone(),
        };
        Ok(Self::at(derivative, task, task::of(outcome, derivative)))
    }

    /// With the settings of the layer it came from, for whoever reads the bundle; replaying needs only those of an item, which are
    /// there already.
    pub fn with_layer_settings(self, settings: &LayerSettings) -> Self {
        Self {
            layer: Some(settings.clone()),
            ..self
        }
    }

    fn at(derivative: &Derivative, task: Task, outcome: Value) -> Self {
        let mut bundle =
            Self::unchecked(derivative.program(), derivative.settings(), task, outcome);
        bundle.calibration = derivative.structure().calibration();
        bundle.check();
        bundle
    }

    fn unchecked(program: &ConeProgram, settings: &Settings, task: Task, outcome: Value) -> Self {
        Self {
            build: Build::this(),
            program: program.clone(),
            settings: *settings,
            layer: None,
            calibration: Calibration::default(),
            task,
            outcome,
            again: None,
        }
    }

    /// Does the task once more.
    fn check(&mut self) {
        let again = self.compute();
        if !difference::all(&self.outcome, &again).is_empty() {
            self.again = Some(again);
        }
    }

    fn compute(&self) -> Value {
        self.task
            .run(&self.program, &self.settings, self.calibration)
    }

    /// Computes the task again and compares every number with the one recorded, bit for bit (a NaN equals a NaN, -0 is not 0).
    ///
    /// Where the time limit stopped a solve, or another build or another kind of processor made the bundle, differences are to be
    /// expected: [`Replay::is_same_build`].
    pub fn replay(&self) -> Replay {
        let recorded = self.again.as_ref().unwrap_or(&self.outcome);
        Replay::new(self, recorded, &self.compute())
    }

    /// The program.
    pub fn program(&self) -> &ConeProgram {
        &self.program
    }
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// Those of the layer it came from, if it did and they were given.
    pub fn layer_settings(&self) -> Option<&LayerSettings> {
        self.layer.as_ref()
    }
    /// The solution a derivative was made from; `None` for a failed solve.
    pub fn solution(&self) -> Option<&Solution> {
        self.task.solution()
    }
    /// The seed of a VJP.
    pub fn cotangent(&self) -> Option<&SolutionCotangent> {
        match &self.task {
            Task::Vjp { cotangent, .. } => Some(cotangent),
            _ => None,
        }
    }
    /// The direction of a JVP.
    pub fn tangent(&self) -> Option<&DataTangent> {
        match &self.task {
            Task::Jvp { tangent, .. } => Some(tangent),
            _ => None,
        }
    }
    /// "solve", "derivative", "vjp" or "jvp".
    pub fn task(&self) -> &'static str {
        self.task.name()
    }
    /// The build it was made by.
    pub fn build(&self) -> &Build {
        &self.build
    }
}

/// The solution to make a derivative from again.
fn start(derivative: &Derivative) -> Result<Box<Solution>> {
    match derivative.origin() {
        Origin::Given(Some(solution)) => Ok(solution.clone()),
        Origin::Given(None) | Origin::Layer => Ok(Box::new(derivative.solution().clone())),
        Origin::Varied => Err(Error::Bundle {
            reason: format!(
                "this derivative ({}) was varied after Derivative::new, and no settings make it; bundle the one it came from, or choose by Settings::selection and Settings::policy",
                derivative.meaning()
            ),
        }),
    }
}
