//! Cells.

use crate::support::{Quality, median};
use conediff::ConeProgram;

/// Three digits.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_string(),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.09995 => format!("{value:.3}").replacen("0.", ".", 1),
        _ => format!("{value:.4}").replacen("0.", ".", 1),
    }
}

pub fn milliseconds(times: &[f64]) -> String {
    short(1e3 * median(times))
}

/// A ratio, and what it is read against, marked where it is missed.
pub fn against(value: f64, target: Option<f64>, is_met: impl Fn(f64, f64) -> bool) -> String {
    match target {
        None => short(value),
        Some(target) if is_met(value, target) => format!("{} ({})", short(value), short(target)),
        Some(target) => format!("**{}** ({})", short(value), short(target)),
    }
}

pub fn at_most(value: f64, target: f64) -> bool {
    value <= target
}

pub fn at_least(value: f64, target: f64) -> bool {
    value >= target
}

pub fn shape(program: &ConeProgram) -> String {
    format!("{}; {}", program.n(), program.m())
}

/// The worst gradient error, and how many of the gradients are not trusted.
pub fn error(quality: &Quality, gradients: usize) -> String {
    match quality.doubtful {
        0 => format!("{:.0e}", quality.error),
        some => format!("{:.0e}, {some} of {gradients} not trusted", quality.error),
    }
}
