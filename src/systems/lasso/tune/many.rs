//! Several parameters: BFGS with backtracking.

use super::{TuneSettings, TuneStep, TuneStop, Tuned};
use crate::error::Result;
use crate::hull::least_norm_in_hull;
use crate::systems::lasso::criterion::{Criterion, Evaluation};
use crate::systems::lasso::penalty::Penalty;
use crate::tangent::{dot, norm, norm_max};

/// The part of the promised descent that is asked for.
const DESCENT: f64 = 1e-4;

/// No logarithm moves by more than this in a step.
const LONGEST: f64 = 2.0;

/// Below this step in the logarithms nothing descends any more.
const SHORT: f64 = 1e-10;

/// Pairs of steps and changes of the gradient that BFGS keeps, and gradients for the hull.
const MEMORY: usize = 10;

/// A step s and the change y of the gradient along it.
type Pair = (Vec<f64>, Vec<f64>);

pub(super) fn descend(
    criterion: &mut dyn Criterion,
    start: &Penalty,
    settings: &TuneSettings,
    on_step: &mut dyn FnMut(&TuneStep),
) -> Result<Tuned> {
    let mut evaluations = 0;
    let mut evaluate = |logs: &[f64], ceiling: f64| -> Result<(Evaluation, bool)> {
        let found = criterion.evaluate(&start.with_logs(logs)?)?;
        evaluations += 1;
        let accepted = found.value <= ceiling;
        on_step(&TuneStep {
            evaluations,
            penalty: found.penalty.clone(),
            value: found.value,
            gradient: found.gradient.value.clone(),
            one_sided: None,
            accepted,
        });
        Ok((found, accepted))
    };
    let mut logs = start.logs();
    let (mut current, _) = evaluate(&logs, f64::INFINITY)?;
    let first = current.value;
    let mut used = 1;
    let mut pairs: Vec<Pair> = Vec::new();
    let done = |best: Evaluation, stop: TuneStop, evaluations: usize| Tuned {
        best,
        stop,
        evaluations,
    };
    loop {
        let gradient = current.gradient.value.clone();
        if norm_max(&gradient) <= settings.small(current.value, first) {
            return Ok(done(current, TuneStop::Stationary, used));
        }
        let mut direction = two_loops(&gradient, &pairs);
        if dot(&direction, &gradient) >= 0.0 {
            pairs.clear();
            direction = gradient.iter().map(|g| -g).collect();
        }
        let longest = if pairs.is_empty() {
            settings.first_step
        } else {
            LONGEST
        };
        let mut t = (longest / norm_max(&direction)).min(if pairs.is_empty() {
            f64::INFINITY
        } else {
            1.0
        });
        let mut met = vec![gradient.clone()];
        let (next, found) = loop {
            if used >= settings.max_evaluations {
                return Ok(done(current, TuneStop::Limit, used));
            }
            if t * norm_max(&direction) < SHORT {
                let hull = least_norm_in_hull(&met)?.norm;
                return Ok(done(current, TuneStop::Stalled { hull }, used));
            }
            let moved = logs.iter().zip(&direction).map(|(x, d)| x + t * d);
            let next: Vec<f64> = moved.collect();
            let ceiling = current.value + DESCENT * t * dot(&direction, &gradient);
            let (found, accepted) = evaluate(&next, ceiling)?;
            used += 1;
            if accepted {
                break (next, found);
            }
            if met.len() == MEMORY {
                met.remove(1);
            }
            met.push(found.gradient.value.clone());
            t *= 0.5;
        };
        let step: Vec<f64> = next.iter().zip(&logs).map(|(a, b)| a - b).collect();
        let new = &found.gradient.value;
        let change: Vec<f64> = new.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&step, &change) > 1e-12 * norm(&step) * norm(&change) {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((step, change));
        }
        (logs, current) = (next, found);
    }
}

/// Minus the inverse BFGS matrix times the gradient (Nocedal, Wright, Numerical optimization, 2006, algorithm 7.4).
fn two_loops(gradient: &[f64], pairs: &[Pair]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for (s, y) in pairs.iter().rev() {
        let factor = dot(s, &q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= factor * y);
        factors.push(factor);
    }
    if let Some((s, y)) = pairs.last() {
        let scale = dot(s, y) / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y), factor) in pairs.iter().zip(factors.iter().rev()) {
        let correction = factor - dot(y, &q) / dot(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += correction * s);
    }
    q
}
