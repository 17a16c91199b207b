//! The exponential cone with the barrier -log psi - log y - log z, psi = y log(z/y) - x.
//!
//! With rho = log(z/y) and m = mu/psi, p = -v:
//!
//! ```text
//! s = (y rho - mu/m, y, y e^rho)      z = m (-1, rho - 1, e^-rho) + (0, mu/y, mu e^-rho / y)      s - z = p
//! mu H = (m^2/mu) g g' + (m/y) h h' + (mu/y^2) e_y e_y' + (mu/z^2) e_z e_z',   g = (-1, rho - 1, e^-rho), h = (0, 1, -e^-rho)
//! ```
//!
//! For a given rho the first two equations have one solution (y, m), itself the root of an increasing function, and what is left of the
//! third increases with rho: mu = 0 is Friberg's root-finding problem. psi is never formed by subtraction.
//!
//! # References
//! Friberg, Projection onto the exponential cone: a univariate root-finding problem, Optim. Methods Softw., 2023.
//! Nesterov, Nemirovskii, Interior-point polynomial algorithms in convex programming, 1994, section 5.3.

use super::{pair, spectral_of_sum};
use crate::projection::Block;
use crate::projection::numeric::{Probe, increasing_root, max_abs};

/// Beyond this |rho| exponentials are no numbers.
const LARGEST_RHO: f64 = 700.0;

/// Newton steps on all three equations at the end.
const POLISHING_STEPS: usize = 4;

/// rho, y and m.
#[derive(Clone, Copy)]
struct Parameters {
    rho: f64,
    y: f64,
    m: f64,
}

pub(super) fn smooth(v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Block {
    let p = [-v[0], -v[1], -v[2]];
    let rho = increasing_root(-LARGEST_RHO, LARGEST_RHO, 0.0, |rho| third(rho, p, mu));
    let (y, m) = first_two(rho, p, mu);
    let Parameters { rho, y, m } = polished(Parameters { rho, y, m }, p, mu);
    let decay = (-rho).exp();
    s.copy_from_slice(&[y * rho - mu / m, y, y * rho.exp()]);
    z.copy_from_slice(&[-m, m * (rho - 1.0) + mu / y, decay * (m + mu / y)]);
    let (root, curved) = (mu.sqrt(), (m / y).sqrt());
    let hard = m / root;
    Block::Spectral(spectral_of_sum(
        3,
        vec![
            vec![-hard, hard * (rho - 1.0), hard * decay],
            vec![0.0, curved, -curved * decay],
            vec![0.0, root / y, 0.0],
            vec![0.0, 0.0, root / y * decay],
        ],
    ))
}

/// x^2 / (x^2 + mu): the derivative of the positive root of x - mu/x = a in a.
fn slope(x: f64, mu: f64) -> f64 {
    x / (x + mu / x)
}

/// y and m from the first two equations: with a = m - mu/m, a + rho y(m) = p_x, whose slope in a is at least 3/4.
fn first_two(rho: f64, p: [f64; 3], mu: f64) -> (f64, f64) {
    let both = |a: f64| {
        let (m, _) = pair(a, mu);
        let (y, _) = pair(p[1] + m * (rho - 1.0), mu);
        (y, m)
    };
    let probe = |a: f64| {
        let (y, m) = both(a);
        Probe {
            value: a + rho * y - p[0],
            slope: 1.0 + rho * (rho - 1.0) * slope(y, mu) * slope(m, mu),
            noise: f64::EPSILON * (a.abs() + (rho * y).abs() + p[0].abs()),
        }
    };
    let start = p[0];
    let reach = probe(start).value / 0.75;
    let (lo, hi) = (start - reach.max(0.0), start - reach.min(0.0));
    // A little wider, for rounding.
    let wider = 1e-3 * reach.abs() + f64::EPSILON;
    both(increasing_root(lo - wider, hi + wider, start, probe))
}

/// The third equation along the solutions of the first two, times e^-|rho| so that nothing overflows.
fn third(rho: f64, p: [f64; 3], mu: f64) -> Probe {
    let (y, m) = first_two(rho, p, mu);
    let (ty, tm) = (slope(y, mu), slope(m, mu));
    let dm = -tm * (y + rho * ty * m) / (1.0 + rho * (rho - 1.0) * ty * tm);
    let dy = ty * ((rho - 1.0) * dm + m);
    let e = (-rho.abs()).exp();
    let (up, down) = if rho > 0.0 {
        (1.0, e * e)
    } else {
        (e * e, 1.0)
    };
    let dual = m + mu / y;
    Probe {
        value: y * up - dual * down - p[2] * e,
        slope: (y + dy) * up + (dual - dm + mu / y * (dy / y)) * down,
        noise: f64::EPSILON * (y * up + dual * down + (p[2] * e).abs()),
    }
}

/// Newton steps on the three equations in (rho, log y, log m), as long as they help: along the solutions of the first two, the
/// rounding of y and m is multiplied by e^|rho|.
fn polished(start: Parameters, p: [f64; 3], mu: f64) -> Parameters {
    let residual = |Parameters { rho, y, m }: Parameters| {
        [
            y * rho + m - mu / m - p[0],
            y - mu / y - m * (rho - 1.0) - p[1],
            y * rho.exp() - (-rho).exp() * (m + mu / y) - p[2],
        ]
    };
    let mut best = start;
    let mut left = residual(best);
    for _ in 0..POLISHING_STEPS {
        let Parameters { rho, y, m } = best;
        let (up, down) = (rho.exp(), (-rho).exp());
        let matrix = [
            [y, y * rho, m + mu / m],
            [-m, y + mu / y, -m * (rho - 1.0)],
            [
                y * up + down * (m + mu / y),
                y * up + down * mu / y,
                -down * m,
            ],
        ];
        let Some(step) = solve(matrix, left) else {
            break;
        };
        let next = Parameters {
            rho: rho - step[0],
            y: y * (-step[1]).exp(),
            m: m * (-step[2]).exp(),
        };
        let after = residual(next);
        let is_better = max_abs(&after) < max_abs(&left);
        if !is_better {
            break;
        }
        (best, left) = (next, after);
    }
    best
}

/// The solution of a 3 x 3 system by elimination with pivoting.
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> Option<[f64; 3]> {
    for k in 0..3 {
        let pivot = (k..3).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()))?;
        a.swap(k, pivot);
        b.swap(k, pivot);
        if a[k][k] == 0.0 || !a[k][k].is_finite() {
            return None;
        }
        let (row, right) = (a[k], b[k]);
        for i in k + 1..3 {
            let factor = a[i][k] / row[k];
            for (x, r) in a[i].iter_mut().zip(row) {
                *x -= factor * r;
            }
            b[i] -= factor * right;
        }
    }
    for k in (0..3).rev() {
        let known: f64 = (k + 1..3).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - known) / a[k][k];
    }
    Some(b)
}
