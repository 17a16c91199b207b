//! One parameter.

use super::{TuneSettings, TuneStep, TuneStop, Tuned};
use crate::error::Result;
use crate::systems::lasso::criterion::{Criterion, Evaluation};
use crate::systems::lasso::penalty::Penalty;

/// The part of the promised descent that is asked for.
const DESCENT: f64 = 1e-4;

/// A step is at most this many times the one before.
const GROWTH: f64 = 3.0;

/// Two knots this close, seen from both sides, are one.
const SAME: f64 = 1e-9;

/// An interval of log lambda this short holds no more.
const SHORT: f64 = 1e-13;

/// Rounding of the criterion, relative to it.
const ROUNDING: f64 = 1e-14;

/// A point of the line.
struct At {
    log: f64,
    found: Evaluation,
    left: f64,
    right: f64,
}

impl At {
    /// The derivative towards larger (1) or smaller (-1) lambda.
    fn slope(&self, side: f64) -> f64 {
        if side > 0.0 { self.right } else { -self.left }
    }

    /// The side that descends more steeply, if one does.
    fn downhill(&self) -> Option<f64> {
        let side = if self.slope(1.0) <= self.slope(-1.0) {
            1.0
        } else {
            -1.0
        };
        (self.slope(side) < 0.0).then_some(side)
    }

    /// log lambda of the next knot on a side.
    fn knot(&self, side: f64) -> Result<f64> {
        let [below, above] = self.found.reach()?;
        Ok(self.log + if side > 0.0 { above } else { -below })
    }

    fn stop(&self, settings: &TuneSettings, first: f64) -> Option<TuneStop> {
        let small = settings.small(self.found.value, first);
        let (left, right) = (self.left, self.right);
        if left.abs() <= small && right.abs() <= small {
            return Some(TuneStop::Stationary);
        }
        (left <= 0.0 && right >= 0.0 && self.found.is_at_knot())
            .then_some(TuneStop::Knot { left, right })
    }
}

/// Evaluates, and tells of it.
struct Line<'a> {
    criterion: &'a mut dyn Criterion,
    start: &'a Penalty,
    on_step: &'a mut dyn FnMut(&TuneStep),
    evaluations: usize,
}

impl Line<'_> {
    fn at(&mut self, log: f64, accept: impl FnOnce(&At) -> bool) -> Result<(At, bool)> {
        let found = self.criterion.evaluate(&self.start.with_logs(&[log])?)?;
        self.evaluations += 1;
        let slope = found.gradient.value[0];
        let [left, right] = if found.is_at_knot() {
            found.one_sided()?
        } else {
            [slope, slope]
        };
        let at = At {
            log,
            found,
            left,
            right,
        };
        let accepted = accept(&at);
        (self.on_step)(&TuneStep {
            evaluations: self.evaluations,
            penalty: at.found.penalty.clone(),
            value: at.found.value,
            gradient: at.found.gradient.value.clone(),
            one_sided: Some([at.left, at.right]),
            accepted,
        });
        Ok((at, accepted))
    }
}

pub(super) fn descend(
    criterion: &mut dyn Criterion,
    start: &Penalty,
    settings: &TuneSettings,
    on_step: &mut dyn FnMut(&TuneStep),
) -> Result<Tuned> {
    let mut line = Line {
        criterion,
        start,
        on_step,
        evaluations: 0,
    };
    let (mut current, _) = line.at(start.logs()[0], |_| true)?;
    let first = current.found.value;
    // The point before, for the secant; the end on the other side of the least value; the width at the last look.
    let mut before: Option<(f64, f64)> = None;
    let mut end: Option<At> = None;
    let mut step = settings.first_step / GROWTH;
    let mut width = f64::INFINITY;
    let done = |current: At, stop: TuneStop, evaluations: usize| Tuned {
        best: current.found,
        stop,
        evaluations,
    };
    loop {
        if let Some(stop) = current.stop(settings, first) {
            return Ok(done(current, stop, line.evaluations));
        }
        let Some(side) = current.downhill() else {
            return Ok(done(current, TuneStop::Stationary, line.evaluations));
        };
        if line.evaluations >= settings.max_evaluations {
            return Ok(done(current, TuneStop::Limit, line.evaluations));
        }
        let target = match &end {
            None => current.log + side * length(&current, side, before, step),
            Some(end) => {
                let reached = (end.log - current.log).abs();
                if reached <= SHORT * (1.0 + current.log.abs()) {
                    let stop = closed(&current, end);
                    return Ok(done(current, stop, line.evaluations));
                }
                let is_slow = reached > 0.5 * width;
                width = reached;
                between(&current, end, side, is_slow)?
            }
        };
        let promised = current.slope(side) * (target - current.log).abs();
        // Below its rounding the value says nothing, and the slopes have to do.
        let noise = ROUNDING * current.found.value.abs();
        let ceiling = current.found.value + DESCENT * promised + noise;
        let (trial, accepted) = line.at(target, |at| at.found.value <= ceiling)?;
        if let Some(stop) = trial.stop(settings, first)
            && trial.found.value <= current.found.value + noise
        {
            return Ok(done(trial, stop, line.evaluations));
        }
        if accepted {
            step = (trial.log - current.log).abs();
            before = Some((current.log, current.slope(side) * side));
            // Past the least value: the old point is the end on the other side.
            if trial.downhill() == Some(-side) {
                end = Some(std::mem::replace(&mut current, trial));
            } else {
                current = trial;
            }
        } else {
            end = Some(trial);
        }
    }
}

/// What is left of an interval that closed: a kink, if the slopes at its ends point at each other.
fn closed(current: &At, end: &At) -> TuneStop {
    let (lower, upper) = if current.log < end.log {
        (current, end)
    } else {
        (end, current)
    };
    let (left, right) = (lower.right, upper.left);
    if left <= 0.0 && right >= 0.0 {
        TuneStop::Knot { left, right }
    } else {
        let hull = left.abs().min(right.abs());
        TuneStop::Stalled { hull }
    }
}

/// The length of a step with nothing known on the far side: that of the secant if it curves upwards, three times the last one at most.
fn length(current: &At, side: f64, before: Option<(f64, f64)>, step: f64) -> f64 {
    let longest = GROWTH * step;
    let slope = side * current.slope(side);
    match before {
        Some((log, old)) => {
            let curvature = (slope - old) / (current.log - log);
            if curvature > 0.0 {
                (slope.abs() / curvature).min(longest)
            } else {
                longest
            }
        }
        None => longest,
    }
}

/// A point strictly between the current one and the end: the secant's zero, the knot where two pieces meet, or the middle.
fn between(current: &At, end: &At, side: f64, is_slow: bool) -> Result<f64> {
    let (a, b) = (current.log, end.log);
    // Within rounding of an end the secant would repeat it.
    let inside = |x: f64| (x - a) * side > SHORT && (b - x) * side > SHORT;
    let (slope, back) = (current.slope(side), end.slope(-side));
    let secant = a + (b - a) * slope / (slope + back);
    let (knot, other) = (current.knot(side)?, end.knot(-side)?);
    let is_one_piece = (b - knot) * side <= 0.0;
    if back < 0.0 && is_one_piece && inside(secant) {
        return Ok(secant);
    }
    let is_one_knot = (knot - other).abs() <= SAME;
    if inside(knot) && is_one_knot {
        return Ok(knot);
    }
    if back < 0.0 && inside(secant) && !is_slow {
        return Ok(secant);
    }
    Ok(a + 0.5 * (b - a))
}
