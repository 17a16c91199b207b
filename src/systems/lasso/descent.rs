//! Coordinate descent on a working set, to a duality gap.
//!
//! A sweep minimizes over one coefficient after the other, b_j <- soft(b_j + g_j/L_j, lambda_j/L_j), on the loss itself for squares
//! and on its second-order model for the logistic loss, followed by a line search (proximal Newton).
//!
//! # References
//! Friedman, Hastie, Tibshirani, Regularization paths for generalized linear models via coordinate descent, 2010. Massias, Gramfort,
//! Salmon, Celer: a fast solver for the Lasso with dual extrapolation, 2018 (working sets by distance to the dual constraints).

use super::loss::Loss;
use super::penalty::Penalty;
use super::regression::SparseRegression;
use crate::limit::is_over;
use crate::tangent::dot;

/// The least working set beside the support.
const EXTRA: usize = 10;

/// A point b with what the optimality conditions need.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) beta: Vec<f64>,
    /// X b, n.
    pub(super) fitted: Vec<f64>,
    /// r = -f'(X b), n.
    pub(super) residual: Vec<f64>,
    /// c = X'r - ridge b, p: in [-lambda_j, lambda_j] at a solution.
    pub(super) correlations: Vec<f64>,
}

impl Point {
    pub(super) fn new(regression: &SparseRegression, penalty: &Penalty, beta: Vec<f64>) -> Self {
        let fitted = regression.design().product(&beta);
        let residual = regression.loss().residual(&fitted, regression.y());
        let mut correlations = regression.design().correlations(&residual);
        for (c, b) in correlations.iter_mut().zip(&beta) {
            *c -= penalty.ridge() * b;
        }
        Self {
            beta,
            fitted,
            residual,
            correlations,
        }
    }

    /// The objective.
    pub(super) fn value(&self, regression: &SparseRegression, penalty: &Penalty) -> f64 {
        regression.loss().value(&self.fitted, regression.y()) + penalty.value(&self.beta)
    }

    /// The gap between the objective and the dual one at t (r, -sqrt(ridge) b), with t <= 1 the largest factor that makes it feasible;
    /// and t.
    pub(super) fn gap(&self, regression: &SparseRegression, penalty: &Penalty) -> (f64, f64) {
        let all = self.correlations.iter().enumerate();
        let t = all.fold(1.0_f64, |t, (j, c)| t.min(penalty.lambda(j) / c.abs()));
        let of_ridge = -0.5 * t * t * penalty.ridge() * dot(&self.beta, &self.beta);
        let dual = regression.loss().dual(&self.residual, regression.y(), t) + of_ridge;
        (self.value(regression, penalty) - dual, t)
    }
}

/// soft(x, by): x moved towards 0.
fn soft(x: f64, by: f64) -> f64 {
    x.signum() * (x.abs() - by).max(0.0)
}

/// Columns to work on: the support, and as many again of those nearest to their bound.
pub(super) fn working_set(
    regression: &SparseRegression,
    penalty: &Penalty,
    point: &Point,
    t: f64,
) -> Vec<usize> {
    let (mut set, others): (Vec<usize>, Vec<usize>) = (0..point.beta.len())
        .filter(|&j| regression.square(j) > 0.0)
        .partition(|&j| point.beta[j] != 0.0);
    let distance = |&j: &usize| {
        let room = penalty.lambda(j) - t * point.correlations[j].abs();
        room / regression.square(j).sqrt()
    };
    let mut others: Vec<(f64, usize)> = others.iter().map(|j| (distance(j), *j)).collect();
    let count = (EXTRA + set.len()).min(others.len());
    if count < others.len() {
        others.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
    }
    set.extend(others[..count].iter().map(|o| o.1));
    set.sort_unstable();
    set
}

/// Sweeps over the working set until no coefficient changes its correlation by more than `tolerance` of its lambda, at most `limit`
/// times. The sweeps taken. Correlations are left as they were.
pub(super) fn descend(
    regression: &SparseRegression,
    penalty: &Penalty,
    point: &mut Point,
    set: &[usize],
    tolerance: f64,
    limit: usize,
) -> usize {
    match regression.loss().curvature(&point.fitted, regression.y()) {
        None => {
            let Point { beta, residual, .. } = point;
            let lengths: Vec<f64> = set.iter().map(|&j| regression.square(j)).collect();
            let sweeps = sweep_until(
                regression, penalty, beta, residual, None, set, &lengths, tolerance, limit,
            );
            let y = regression.y();
            let fit = y.iter().zip(residual.iter()).map(|(y, r)| y - r);
            point.fitted = fit.collect();
            sweeps
        }
        Some(weights) => {
            let length = |&j: &usize| {
                let mut sum = 0.0;
                regression
                    .design()
                    .for_each(j, |i, x| sum += weights[i] * x * x);
                sum
            };
            let lengths: Vec<f64> = set.iter().map(length).collect();
            let mut model = point.residual.clone();
            let mut beta = point.beta.clone();
            let sweeps = sweep_until(
                regression,
                penalty,
                &mut beta,
                &mut model,
                Some(&weights),
                set,
                &lengths,
                tolerance,
                limit,
            );
            line_search(regression, penalty, point, &beta);
            sweeps
        }
    }
}

/// Sweeps on the model with residual m = r - W X (b - b_0).
#[allow(clippy::too_many_arguments)] // The parts of one loop.
fn sweep_until(
    regression: &SparseRegression,
    penalty: &Penalty,
    beta: &mut [f64],
    model: &mut [f64],
    weights: Option<&[f64]>,
    set: &[usize],
    lengths: &[f64],
    tolerance: f64,
    limit: usize,
) -> usize {
    let (design, ridge) = (regression.design(), penalty.ridge());
    for sweep in 1..=limit {
        if is_over() {
            return sweep - 1;
        }
        let mut largest = 0.0_f64;
        for (&j, length) in set.iter().zip(lengths) {
            let (length, old) = (length + ridge, beta[j]);
            if length <= 0.0 {
                continue;
            }
            let lambda = penalty.lambda(j);
            let gradient = design.gather(j, model) - ridge * old;
            let change = soft(old + gradient / length, lambda / length) - old;
            if change != 0.0 {
                beta[j] = old + change;
                match weights {
                    None => design.scatter(j, -change, model),
                    Some(w) => design.for_each(j, |i, x| model[i] -= change * w[i] * x),
                }
                largest = largest.max(change.abs() * length / lambda);
            }
        }
        if largest <= tolerance {
            return sweep;
        }
    }
    limit
}

/// Halves the step from the point to `target` until the objective falls.
fn line_search(
    regression: &SparseRegression,
    penalty: &Penalty,
    point: &mut Point,
    target: &[f64],
) {
    let (loss, y) = (regression.loss(), regression.y());
    let before = point.value(regression, penalty);
    let moved = regression.design().product(target);
    let mut step = 1.0;
    for _ in 0..30 {
        let between = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| a + step * (b - a)).collect()
        };
        let (beta, fitted) = if step == 1.0 {
            (target.to_vec(), moved.clone())
        } else {
            (between(&point.beta, target), between(&point.fitted, &moved))
        };
        if loss.value(&fitted, y) + penalty.value(&beta) <= before {
            point.residual = Loss::residual(loss, &fitted, y);
            (point.beta, point.fitted) = (beta, fitted);
            return;
        }
        step *= 0.5;
    }
}
