//! Small tools shared by the curved cones.

use super::spectral::Piece;

/// A function's value and slope at a point, and the size of the rounding errors in the value.
pub(super) struct Probe {
    pub value: f64,
    pub slope: f64,
    pub noise: f64,
}

/// The root of an increasing function in (lo, hi): Newton's method, with a bisection whenever the step leaves the
/// bracket or fails to halve. At most 200 evaluations.
pub(super) fn increasing_root(
    mut lo: f64,
    mut hi: f64,
    start: f64,
    probe: impl Fn(f64) -> Probe,
) -> f64 {
    let mut x = start.clamp(lo.min(hi), hi);
    let mut previous_step = f64::INFINITY;
    for _ in 0..200 {
        let Probe {
            value,
            slope,
            noise,
        } = probe(x);
        if value < 0.0 {
            lo = x;
        } else {
            hi = x;
        }
        let newton = x - value / slope;
        let inside = newton > lo && newton < hi;
        if value.abs() <= noise {
            return x;
        }
        let step = (newton - x).abs();
        let next = if inside && step <= 0.5 * previous_step {
            previous_step = step;
            newton
        } else {
            previous_step = 0.5 * (hi - lo);
            lo + 0.5 * (hi - lo)
        };
        if (next - x).abs() <= f64::EPSILON * x.abs() || next <= lo || next >= hi {
            return next;
        }
        x = next;
    }
    x
}

/// The largest m in [0, upper] with `feasible(m)`, to six digits from below; feasible must hold on an interval from 0.
///
/// Used for the largest cube inside a cone: halving first keeps the digits of a tiny m.
pub(super) fn largest_feasible(upper: f64, feasible: impl Fn(f64) -> bool) -> f64 {
    let (mut lo, mut hi) = (0.5 * upper, upper);
    // 2^-133 is about 1e-40.
    for _ in 0..133 {
        if feasible(lo) {
            break;
        }
        (lo, hi) = (0.5 * lo, lo);
    }
    if !feasible(lo) {
        return 0.0;
    }
    for _ in 0..20 {
        let mid = 0.5 * (lo + hi);
        if feasible(mid) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    lo
}

/// Rotates the columns of `a` (`rows` values each) until they are orthogonal, and those of `b` along with them: the
/// one-sided Jacobi method, which finds small singular values of a graded matrix to high relative accuracy.
///
/// # References
/// Demmel and Veselic, Jacobi's method is more accurate than QR, SIAM J. Matrix Anal. Appl. 13, 1992.
pub(super) fn orthogonalize_columns(a: &mut [Vec<f64>], b: &mut [Vec<f64>]) {
    for _ in 0..40 {
        let mut rotated = false;
        for q in 1..a.len() {
            for p in 0..q {
                let (np, nq) = (norm(&a[p]), norm(&a[q]));
                if np == 0.0 || nq == 0.0 {
                    continue;
                }
                let cosine: f64 = a[p]
                    .iter()
                    .zip(&a[q])
                    .map(|(x, y)| (x / np) * (y / nq))
                    .sum();
                if cosine.abs() <= 4.0 * f64::EPSILON {
                    continue;
                }
                rotated = true;
                let zeta = (nq / np - np / nq) / (2.0 * cosine);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                rotate(a, p, q, c, c * t);
                rotate(b, p, q, c, c * t);
            }
        }
        if !rotated {
            return;
        }
    }
}

fn rotate(columns: &mut [Vec<f64>], p: usize, q: usize, c: f64, s: f64) {
    let (left, right) = columns.split_at_mut(q);
    for (x, y) in left[p].iter_mut().zip(&mut right[0]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

/// max |x_i|; NaN if any entry is.
pub(super) fn max_abs(x: &[f64]) -> f64 {
    x.iter().fold(
        0.0,
        |m: f64, &e| if e.abs() <= m { m } else { e.abs() + 0.0 * m },
    )
}

/// A power of two within a factor 2 of max |x_i|, at least the least normal number: dividing by it is exact. NaN or
/// infinite if an entry is.
pub(super) fn power_of_two_scale(x: &[f64]) -> f64 {
    let largest = max_abs(x);
    if !largest.is_finite() {
        return largest;
    }
    f64::from_bits(largest.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE)
}

/// Below this, v counts as zero: the parts of it could not be represented.
pub(super) const APEX: f64 = 1e-290;

/// The result for -v in K: z = 0.
pub(super) fn polar_interior(v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    for (a, b) in s.iter_mut().zip(v) {
        *a = -b;
    }
    z.fill(0.0);
    Piece::PolarInterior
}

/// The result for v in K*: s = 0.
pub(super) fn dual_interior(v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    z.copy_from_slice(v);
    s.fill(0.0);
    Piece::DualInterior
}

/// Euclidean norm without overflow or underflow.
pub(super) fn norm(x: &[f64]) -> f64 {
    let scale = power_of_two_scale(x);
    if !scale.is_finite() {
        return scale;
    }
    scale * x.iter().map(|e| (e / scale).powi(2)).sum::<f64>().sqrt()
}

/// (lambda, 1 - lambda) for lambda = a / (a + b), a and b nonnegative; (0, 1) if both vanish.
pub(super) fn fractions(a: f64, b: f64) -> (f64, f64) {
    let (big, small) = if a > b { (a, b) } else { (b, a) };
    if big == 0.0 {
        return (0.0, 1.0);
    }
    // An infinite ratio is a limit too.
    let t = if big.is_infinite() { 0.0 } else { small / big };
    let (major, minor) = (1.0 / (1.0 + t), t / (1.0 + t));
    if a > b {
        (major, minor)
    } else {
        (minor, major)
    }
}
