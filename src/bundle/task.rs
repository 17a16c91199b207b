//! What a bundle computes, and the outcome as JSON: every number of it, bit for bit.

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::exact::Number;
use crate::linsolve::Calibration;
use crate::program::ConeProgram;
use crate::refine::solve;
use crate::residual::Wanted;
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataTangent, SolutionTangent};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Task {
    Solve,
    Derivative {
        solution: Box<Solution>,
    },
    Vjp {
        solution: Box<Solution>,
        cotangent: SolutionTangent,
        wanted: Wanted,
    },
    Jvp {
        solution: Box<Solution>,
        tangent: DataTangent,
    },
}

impl Task {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Task::Solve => "solve",
            Task::Derivative { .. } => "derivative",
            Task::Vjp { .. } => "vjp",
            Task::Jvp { .. } => "jvp",
        }
    }

    pub(super) fn solution(&self) -> Option<&Solution> {
        match self {
            Task::Solve => None,
            Task::Derivative { solution }
            | Task::Vjp { solution, .. }
            | Task::Jvp { solution, .. } => Some(solution),
        }
    }

    /// The outcome.
    pub(super) fn run(
        &self,
        program: &ConeProgram,
        settings: &Settings,
        calibration: Calibration,
    ) -> Value {
        let prepare =
            |solution: &Solution| Derivative::calibrated(program, solution, settings, calibration);
        match self {
            Task::Solve => match solve(program, settings) {
                Ok(solution) => json!({ "solution": value(&solution) }),
                Err(error) => failure(&error),
            },
            Task::Derivative { solution } => match prepare(solution) {
                Ok(derivative) => point(&derivative),
                Err(error) => failure(&error),
            },
            Task::Vjp {
                solution,
                cotangent,
                wanted,
            } => match prepare(solution) {
                Ok(derivative) => of(&derivative.vjp_wanted(cotangent, *wanted), &derivative),
                Err(error) => failure(&error),
            },
            Task::Jvp { solution, tangent } => match prepare(solution) {
                Ok(derivative) => of(&derivative.jvp(tangent), &derivative),
                Err(error) => failure(&error),
            },
        }
    }
}

/// Nothing that is serialized here can fail: string keys, and numbers that fit.
fn value(x: &impl Serialize) -> Value {
    serde_json::to_value(x).unwrap_or(Value::Null)
}

pub(super) fn failure(error: &Error) -> Value {
    json!({ "error": value(error), "message": error.to_string() })
}

/// An answer with its point.
pub(super) fn of<T: Serialize>(outcome: &Result<Checked<T>>, derivative: &Derivative) -> Value {
    let mut out = match outcome {
        Ok(checked) => value(checked),
        Err(error) => failure(error),
    };
    out["point"] = point(derivative);
    out
}

/// What is known of the point before any seed.
pub(super) fn point(derivative: &Derivative) -> Value {
    json!({
        "solution": value(derivative.solution()),
        "trusted": derivative.is_trusted_point(),
        "warnings": value(&derivative.warnings()),
        "meaning": value(&derivative.meaning()),
        "point_error": value(&Number(derivative.point_error())),
        "condition": value(&Number(derivative.condition())),
        "regularity": match derivative.regularity() {
            Ok(report) => value(&report),
            Err(error) => failure(&error),
        },
    })
}
