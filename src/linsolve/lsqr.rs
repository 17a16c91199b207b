//! LSQR: least squares by Golub-Kahan bidiagonalization, matrix-free.
//!
//! # References
//! Paige, Saunders, LSQR: An algorithm for sparse linear equations and sparse least squares, 1982, section 5 (the recurrences) and
//! section 6 (the stopping rules).

use crate::limit;

/// Why LSQR stopped.
///
/// ```
/// use conediff::{LsqrSettings, LsqrStop, lsqr};
/// // A = (1 ; 1): a right-hand side in its range, one that is not, and zero
/// let settings = LsqrSettings { tolerance: 1e-12, max_iterations: 10, max_condition: 1e12 };
/// let stop = |b: [f64; 2]| {
///     lsqr(|u, out| out.fill(u[0]), |u, out| out[0] = u[0] + u[1], &b, &mut [0.0], settings).stop
/// };
/// assert_eq!(stop([2.0, 2.0]), LsqrStop::Solved);
/// assert_eq!(stop([1.0, 3.0]), LsqrStop::LeastSquares);
/// assert_eq!(stop([0.0, 0.0]), LsqrStop::ZeroRightHandSide);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LsqrStop {
    /// The right-hand side is zero.
    ZeroRightHandSide,
    /// |r| is below the tolerance times |A||x| + |b|: a solution.
    Solved,
    /// |A'r| is below the tolerance times |A||r|: the least-squares solution of an inconsistent system.
    LeastSquares,
    /// The condition estimate passed its limit.
    ConditionLimit,
    /// The iteration limit came first.
    IterationLimit,
    /// A number stopped being finite.
    NotFinite,
    /// The budget was spent ([`crate::Budget`]).
    Interrupted,
}

/// What LSQR saw.
///
/// ```
/// use conediff::{LsqrReport, LsqrSettings, LsqrStop, lsqr};
/// // A = diag(1, 2): two different singular values take two iterations
/// let settings = LsqrSettings { tolerance: 1e-12, max_iterations: 10, max_condition: 1e12 };
/// let product = |u: &[f64], out: &mut [f64]| (out[0], out[1]) = (u[0], 2.0 * u[1]);
/// let mut x = [0.0; 2];
/// let LsqrReport { stop, iterations, residual, .. } = lsqr(product, product, &[1.0, 1.0], &mut x, settings);
/// assert_eq!((stop, iterations), (LsqrStop::Solved, 2));
/// assert!(residual < 1e-12 && (x[1] - 0.5).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LsqrReport {
    /// Why it stopped.
    pub stop: LsqrStop,
    /// Iterations.
    pub iterations: usize,
    /// Estimate of the condition number in the Frobenius norm.
    pub condition: f64,
    /// |b - A x|.
    pub residual: f64,
}

/// Limits of an LSQR call.
///
/// ```
/// use conediff::{LsqrSettings, LsqrStop, lsqr};
/// // A = diag(1, 2, 4) takes three iterations, and has a condition number of 4
/// let settings = LsqrSettings { tolerance: 1e-12, max_iterations: 10, max_condition: 1e12 };
/// let product = |u: &[f64], out: &mut [f64]| (0..3).for_each(|i| out[i] = f64::from(1 << i) * u[i]);
/// let stop = |settings| lsqr(product, product, &[1.0, 1.0, 1.0], &mut [0.0; 3], settings).stop;
/// assert_eq!(stop(settings), LsqrStop::Solved);
/// assert_eq!(stop(LsqrSettings { max_iterations: 2, ..settings }), LsqrStop::IterationLimit);
/// assert_eq!(stop(LsqrSettings { max_condition: 2.0, ..settings }), LsqrStop::ConditionLimit);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LsqrSettings {
    /// Relative tolerance of both stopping rules.
    pub tolerance: f64,
    /// Iteration limit.
    pub max_iterations: usize,
    /// Condition limit.
    pub max_condition: f64,
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn divide(x: &mut [f64], by: f64) {
    for v in x {
        *v /= by;
    }
}

/// Minimizes |A x - b| from x = 0. `apply(u, out)` sets out = A u, `apply_transpose(u, out)` sets out = A'u; x has as many entries as
/// A has columns. Two products with A an iteration.
/// ```
/// use conediff::{LsqrReport, LsqrSettings, LsqrStop, lsqr};
/// // A = (1 ; 1) and b = (1, 3): the mean
/// let settings = LsqrSettings { tolerance: 1e-12, max_iterations: 10, max_condition: 1e12 };
/// let mut x = [0.0];
/// let report: LsqrReport = lsqr(
///     |u, out| out.fill(u[0]),
///     |u, out| out[0] = u[0] + u[1],
///     &[1.0, 3.0], &mut x, settings,
/// );
/// assert!((x[0] - 2.0).abs() < 1e-12 && report.stop == LsqrStop::LeastSquares);
/// assert!((report.residual - 2.0_f64.sqrt()).abs() < 1e-12);
/// ```
pub fn lsqr(
    mut apply: impl FnMut(&[f64], &mut [f64]),
    mut apply_transpose: impl FnMut(&[f64], &mut [f64]),
    b: &[f64],
    x: &mut [f64],
    settings: LsqrSettings,
) -> LsqrReport {
    x.fill(0.0);
    let mut u = b.to_vec();
    let mut beta = norm(&u);
    let b_norm = beta;
    let report = |stop, iterations, condition, residual| LsqrReport {
        stop,
        iterations,
        condition,
        residual,
    };
    if beta == 0.0 {
        return report(LsqrStop::ZeroRightHandSide, 0, 0.0, 0.0);
    }
    divide(&mut u, beta);
    let mut v = vec![0.0; x.len()];
    apply_transpose(&u, &mut v);
    let mut alpha = norm(&v);
    if alpha == 0.0 {
        return report(LsqrStop::LeastSquares, 0, 0.0, b_norm);
    }
    divide(&mut v, alpha);
    let mut w = v.clone();
    let (mut phi_bar, mut rho_bar) = (beta, alpha);
    let mut a_norm2 = 0.0_f64;
    let mut d_norm2 = 0.0_f64;
    let mut au = vec![0.0; b.len()];
    let mut av = vec![0.0; x.len()];
    for iteration in 1..=settings.max_iterations {
        if limit::is_over() {
            let condition = a_norm2.sqrt() * d_norm2.sqrt();
            return report(LsqrStop::Interrupted, iteration - 1, condition, phi_bar);
        }
        apply(&v, &mut au);
        for (u, a) in u.iter_mut().zip(&au) {
            *u = a - alpha * *u;
        }
        beta = norm(&u);
        a_norm2 += alpha * alpha + beta * beta;
        if beta > 0.0 {
            divide(&mut u, beta);
        }
        apply_transpose(&u, &mut av);
        for (v, a) in v.iter_mut().zip(&av) {
            *v = a - beta * *v;
        }
        alpha = norm(&v);
        if alpha > 0.0 {
            divide(&mut v, alpha);
        }
        let rho = rho_bar.hypot(beta);
        let (c, s) = (rho_bar / rho, beta / rho);
        let theta = s * alpha;
        rho_bar = -c * alpha;
        let phi = c * phi_bar;
        phi_bar *= s;
        d_norm2 += w.iter().map(|w| (w / rho) * (w / rho)).sum::<f64>();
        for i in 0..x.len() {
            x[i] += phi / rho * w[i];
            w[i] = v[i] - theta / rho * w[i];
        }
        let a_norm = a_norm2.sqrt();
        let condition = a_norm * d_norm2.sqrt();
        let gradient = phi_bar * alpha * c.abs();
        let stop = if !phi_bar.is_finite() || !condition.is_finite() {
            Some(LsqrStop::NotFinite)
        } else if phi_bar <= settings.tolerance * (a_norm * norm(x) + b_norm) {
            Some(LsqrStop::Solved)
        } else if gradient <= settings.tolerance * a_norm * phi_bar {
            Some(LsqrStop::LeastSquares)
        } else if condition >= settings.max_condition {
            Some(LsqrStop::ConditionLimit)
        } else if iteration == settings.max_iterations {
            Some(LsqrStop::IterationLimit)
        } else {
            None
        };
        if let Some(stop) = stop {
            return report(stop, iteration, condition, phi_bar);
        }
    }
    report(
        LsqrStop::IterationLimit,
        settings.max_iterations,
        a_norm2.sqrt() * d_norm2.sqrt(),
        phi_bar,
    )
}
