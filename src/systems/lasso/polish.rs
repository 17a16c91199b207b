//! The exact solution by an active set: Newton on the support, one column in or out at a time.
//!
//! ```text
//! (X_S'WX_S + ridge I) d = X_S'r - ridge b_S - lambda_S sign_S,   b_S += t d
//! ```
//!
//! with t <= 1 the step at which a first coefficient reaches 0 and leaves S; at the minimum over S the column that violates
//! |c_j| <= lambda_j most enters. From coordinate descent's point few do. Where columns of S depend on each other, a step along their
//! null vector changes no fitted value: it goes to where a coefficient reaches 0, downhill in sum_j lambda_j |b_j|.

use super::cholesky::{Cholesky, Dependency};
use super::descent::Point;
use super::gram::Gram;
use super::penalty::Penalty;
use super::regression::SparseRegression;
use crate::tangent::norm_max;
use std::sync::Arc;

/// Newton steps on one support: the logistic loss takes four or five.
const NEWTON: usize = 30;

/// Rounding of a correlation, in units of the size of its terms.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// How far a correlation may pass its bound, relative to it.
const BEYOND: f64 = 1e-12;

/// An exact solution, and H on its support for squares.
pub(super) struct Polished {
    pub(super) point: Point,
    pub(super) factor: Option<Factored>,
}

/// Columns and the factorization of H on them.
pub(super) type Factored = (Vec<usize>, Arc<Cholesky>);

/// The exact solution near a point, or `None` if it takes more than `limit` changes of the support.
pub(super) fn polish(
    regression: &SparseRegression,
    penalty: &Penalty,
    start: &Point,
    limit: usize,
) -> Option<Polished> {
    let mut beta = start.beta.clone();
    let mut support: Vec<usize> = (0..beta.len()).filter(|&j| beta[j] != 0.0).collect();
    let mut signs: Vec<f64> = support.iter().map(|&j| beta[j].signum()).collect();
    let mut cache = regression
        .loss()
        .curvature(&[], &[])
        .is_none()
        .then(|| Gram::new(regression, None));
    for _ in 0..=limit {
        match minimize(
            regression,
            penalty,
            &mut beta,
            &support,
            &signs,
            cache.as_mut(),
        ) {
            Outcome::Reached(k) => {
                support.remove(k);
                signs.remove(k);
            }
            Outcome::Stalled => return None,
            Outcome::Minimum(factor) => {
                let point = Point::new(regression, penalty, beta.clone());
                let rounding = Rounding::new(regression, penalty, &point);
                let excess = |j: usize| {
                    let (c, lambda) = (point.correlations[j].abs(), penalty.lambda(j));
                    (c - lambda - (BEYOND * lambda).max(rounding.of(j))) / lambda
                };
                let outside = (0..beta.len()).filter(|j| support.binary_search(j).is_err());
                let worst = outside
                    .map(|j| (j, excess(j)))
                    .max_by(|a, b| a.1.total_cmp(&b.1));
                match worst.filter(|w| w.1 > 0.0) {
                    None => {
                        let factor = factor.map(|f| (support, Arc::new(f)));
                        return Some(Polished { point, factor });
                    }
                    Some((j, _)) => {
                        let at = support.partition_point(|k| *k < j);
                        support.insert(at, j);
                        signs.insert(at, point.correlations[j].signum());
                    }
                }
            }
        }
    }
    None
}

/// The size of the correlations' rounding at a point.
pub(super) struct Rounding<'a> {
    regression: &'a SparseRegression,
    penalty: &'a Penalty,
    point: &'a Point,
    /// A bound on |y| + |X b|.
    size: f64,
}

impl<'a> Rounding<'a> {
    pub(super) fn new(
        regression: &'a SparseRegression,
        penalty: &'a Penalty,
        point: &'a Point,
    ) -> Self {
        let largest = norm_max(regression.y()).max(norm_max(&point.fitted));
        Self {
            regression,
            penalty,
            point,
            size: largest * (regression.y().len() as f64).sqrt(),
        }
    }

    pub(super) fn of(&self, j: usize) -> f64 {
        let terms = self.regression.square(j).sqrt() * self.size;
        let ridge = self.penalty.ridge() * self.point.beta[j].abs();
        ROUNDING * (terms + ridge + self.penalty.lambda(j))
    }
}

enum Outcome {
    /// Every coefficient keeps its sign. With the factorization, where it does not depend on the point.
    Minimum(Option<Cholesky>),
    /// The coefficient at this place of the support reached 0.
    Reached(usize),
    /// Newton made no progress.
    Stalled,
}

/// Newton on a support with given signs.
fn minimize(
    regression: &SparseRegression,
    penalty: &Penalty,
    beta: &mut [f64],
    support: &[usize],
    signs: &[f64],
    mut cache: Option<&mut Gram<'_>>,
) -> Outcome {
    if support.is_empty() {
        return Outcome::Minimum(None);
    }
    let (design, loss, y, ridge) = (
        regression.design(),
        regression.loss(),
        regression.y(),
        penalty.ridge(),
    );
    let mut factor = None;
    let mut last = f64::INFINITY;
    for _ in 0..NEWTON {
        let fitted = design.product(beta);
        let residual = loss.residual(&fitted, y);
        let gradient: Vec<f64> = support
            .iter()
            .zip(signs)
            .map(|(&j, sign)| {
                design.gather(j, &residual) - ridge * beta[j] - penalty.lambda(j) * sign
            })
            .collect();
        let made = match (&mut cache, factor.take()) {
            (Some(_), Some(kept)) => Ok(kept),
            (Some(gram), None) => gram.try_factor(support, ridge),
            (None, _) => {
                let weights = loss.curvature(&fitted, y);
                Gram::new(regression, weights.as_deref()).try_factor(support, ridge)
            }
        };
        let ready = match made {
            Ok(made) => &*factor.insert(made),
            Err(found) => return let_go(penalty, beta, support, signs, &found),
        };
        let (mut step, _) = ready.refined(&gradient);
        let size = relative_size(&step, beta, support);
        // At rounding, which grows with the condition, a step no longer gets much smaller than the one before.
        let is_last = size <= 4.0 * f64::EPSILON || (size < 1e-6 && size > 0.25 * last);
        if !size.is_finite() {
            return Outcome::Stalled;
        }
        if size > 1e-6 && cache.is_none() {
            damp(regression, penalty, beta, support, &mut step);
        }
        last = size;
        let reach = |k: usize| {
            let (b, d) = (beta[support[k]], step[k]);
            if signs[k] * (b + d) < 0.0 {
                -b / d
            } else {
                f64::INFINITY
            }
        };
        let first = (0..step.len()).min_by(|a, b| reach(*a).total_cmp(&reach(*b)));
        let t = first.map_or(1.0, |k| reach(k).min(1.0));
        for (&j, d) in support.iter().zip(&step) {
            beta[j] += t * d;
        }
        if let Some(k) = first.filter(|k| reach_was_first(*k, t, signs, &step)) {
            beta[support[k]] = 0.0;
            return Outcome::Reached(k);
        }
        if is_last {
            return Outcome::Minimum(factor.filter(|_| cache.is_some()));
        }
    }
    if last < 1e-8 {
        Outcome::Minimum(None)
    } else {
        Outcome::Stalled
    }
}

/// Along the null vector of dependent columns to the first coefficient that reaches 0.
fn let_go(
    penalty: &Penalty,
    beta: &mut [f64],
    support: &[usize],
    signs: &[f64],
    found: &Dependency,
) -> Outcome {
    let slope = |(k, v): &(usize, f64)| penalty.lambda(support[*k]) * signs[*k] * v;
    let uphill: f64 = found.null.iter().map(slope).sum();
    let side = if uphill > 0.0 { -1.0 } else { 1.0 };
    let reach = |(k, v): &(usize, f64)| {
        let ratio = -beta[support[*k]] / (side * v);
        // One that is 0 and would grow to its sign's side stays.
        let falls = signs[*k] * side * v < 0.0;
        if falls { ratio.max(0.0) } else { f64::INFINITY }
    };
    let first = found
        .null
        .iter()
        .min_by(|a, b| reach(a).total_cmp(&reach(b)));
    match first.map(|e| (e.0, reach(e))) {
        Some((k, t)) if t.is_finite() => {
            for (i, v) in &found.null {
                beta[support[*i]] += t * side * v;
            }
            beta[support[k]] = 0.0;
            Outcome::Reached(k)
        }
        _ => Outcome::Stalled,
    }
}

/// True if coefficient k ended the step before its full length.
fn reach_was_first(k: usize, t: f64, signs: &[f64], step: &[f64]) -> bool {
    t < 1.0 && signs[k] * step[k] < 0.0
}

/// The largest change relative to the largest coefficient.
fn relative_size(step: &[f64], beta: &[f64], support: &[usize]) -> f64 {
    let largest = support.iter().fold(0.0_f64, |m, &j| m.max(beta[j].abs()));
    let step = norm_max(step);
    if step == 0.0 {
        0.0
    } else {
        step / largest.max(step)
    }
}

/// Halves a step until the smooth objective falls along it.
fn damp(
    regression: &SparseRegression,
    penalty: &Penalty,
    beta: &[f64],
    support: &[usize],
    step: &mut [f64],
) {
    let value = |beta: &[f64]| {
        let fitted = regression.design().product(beta);
        regression.loss().value(&fitted, regression.y()) + penalty.value(beta)
    };
    let before = value(beta);
    for _ in 0..30 {
        let mut moved = beta.to_vec();
        for (&j, d) in support.iter().zip(step.iter()) {
            moved[j] += d;
        }
        if value(&moved) <= before {
            return;
        }
        step.iter_mut().for_each(|d| *d *= 0.5);
    }
}
