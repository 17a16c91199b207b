//! Second-order cone {(t, u): t >= |u|}, self-dual.
//!
//! With w = u/|u| and r = t/|u| the projection is v for r >= 1, 0 for r <= -1 and otherwise
//! z = 1/2 (t + |u|) (1, w). There D = u1 u1' + beta (I - u1 u1' - u0 u0') with u1 = (1, w)/sqrt 2, u0 = (1, -w)/sqrt 2
//! and beta = (1 + r)/2. Elements inside the hull of the Jacobian, and smoothed projections, have three eigenvalues
//! lambda1 >= beta >= lambda0 along u1, across, and along u0.
//!
//! # References
//! Fukushima, Luo, Tseng, Smoothing functions for second-order-cone complementarity problems, 2002, Prop. 3.3.
//! Busseti, Moursi, Boyd, Solution refinement at regular points of conic problems, 2019, section 4.

use super::kink::{BlockKink, KinkKind, Shape};
use super::{Block, rotated_terms};
use std::f64::consts::FRAC_1_SQRT_2;

/// D = lambda1 u1 u1' + beta (I - u1 u1' - u0 u0') + lambda0 u0 u0'; on the middle piece lambda1 = 1 and lambda0 = 0.
///
/// The complements 1 - lambda are kept beside the eigenvalues, computed without subtraction.
///
/// ```
/// use conediff::{Block, Cone, Projection};
/// // v = (t, u) = (0, 3, 4): u1 = (1, 0.6, 0.8) / sqrt(2), and across it beta = (1 + t / |u|) / 2 = 1/2
/// let projection = Projection::new(&[Cone::SecondOrder(3)], &[0.0, 3.0, 4.0])?;
/// assert!(matches!(projection.blocks()[0], Block::SecondOrder(_)));
/// for (dv, eigenvalue) in [([1.0, 0.6, 0.8], 1.0), ([0.0, -0.8, 0.6], 0.5), ([1.0, -0.6, -0.8], 0.0)] {
///     let mut dz = [0.0; 3];
///     projection.apply(&dv, &mut dz)?;
///     assert!(dz.iter().zip(dv).all(|(dz, dv)| (dz - eigenvalue * dv).abs() < 1e-14));
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SecondOrder {
    /// Unit vector, rows - 1.
    w: Vec<f64>,
    beta: f64,
    cobeta: f64,
    lambda1: f64,
    colambda1: f64,
    lambda0: f64,
    colambda0: f64,
}

/// Projects v; writes z and s and returns an element of the Jacobian and the margin. At the kinks: t = |u| gives I - u0 u0',
/// t = -|u| and the apex give 0.
pub(super) fn project(v: &[f64], z: &mut [f64], s: &mut [f64]) -> (Block, f64) {
    let Some((&t, u)) = v.split_first() else {
        return (Block::Vanishing(0), f64::INFINITY);
    };
    let norm = norm(u);
    let margin = if u.is_empty() {
        t.abs()
    } else {
        (t - norm).abs().min((t + norm).abs()) * FRAC_1_SQRT_2
    };
    if t > norm {
        z.copy_from_slice(v);
        s.fill(0.0);
        return (Block::Identity(v.len()), margin);
    }
    if t <= -norm {
        z.fill(0.0);
        for (s, v) in s.iter_mut().zip(v) {
            *s = -v;
        }
        return (Block::Vanishing(v.len()), margin);
    }
    // Halved last: half of the smallest number is zero.
    let (beta, cobeta) = (0.5 * ((norm + t) / norm), 0.5 * ((norm - t) / norm));
    let w: Vec<f64> = u.iter().map(|x| x / norm).collect();
    z[0] = beta * norm;
    s[0] = cobeta * norm;
    for i in 0..u.len() {
        z[i + 1] = beta * u[i];
        s[i + 1] = -cobeta * u[i];
    }
    let block = SecondOrder::from_parts(w, (1.0, 0.0), (beta, cobeta), (0.0, 1.0));
    (Block::SecondOrder(block), margin)
}

/// a - b of two numbers with their complements, from whichever pair is smaller; 0 where rounding would make it negative.
fn difference((a, one_minus_a): (f64, f64), (b, one_minus_b): (f64, f64)) -> f64 {
    let gap = if b >= 0.5 {
        one_minus_b - one_minus_a
    } else {
        a - b
    };
    gap.max(0.0)
}

/// The kink within the radius of v.
pub(super) fn kink(v: &[f64], radius: f64) -> Option<BlockKink> {
    let (&t, u) = v.split_first()?;
    let norm = norm(u);
    if t.hypot(norm) <= radius || norm == 0.0 {
        return Some(BlockKink::new(KinkKind::Apex, Shape::Apex(v.len())));
    }
    let (kind, sign) = if (t - norm).abs() * FRAC_1_SQRT_2 <= radius {
        (KinkKind::ZeroSlack, -1.0)
    } else if (t + norm).abs() * FRAC_1_SQRT_2 <= radius {
        (KinkKind::ZeroDual, 1.0)
    } else {
        return None;
    };
    let axis = u.iter().map(|x| sign * FRAC_1_SQRT_2 * x / norm);
    let unit = std::iter::once(FRAC_1_SQRT_2).chain(axis).collect();
    Some(BlockKink::new(kind, Shape::Ray(unit)))
}

/// |u| without overflow or underflow.
fn norm(u: &[f64]) -> f64 {
    let largest = u.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    // A power of two, so that scaling is exact.
    let scale = largest.log2().floor().exp2();
    scale * u.iter().map(|x| (x / scale).powi(2)).sum::<f64>().sqrt()
}

/// Cones of up to this many rows go by their eigenbasis.
const SMALL: usize = 4;

/// True for the sizes whose reduced rows are those of the eigenbasis.
pub(crate) fn is_small(rows: usize) -> bool {
    rows <= SMALL
}

impl SecondOrder {
    /// From a unit vector w of at least one entry and the eigenvalues in [0, 1] with their complements, lambda1 >= beta >= lambda0.
    pub(crate) fn from_parts(
        w: Vec<f64>,
        (lambda1, colambda1): (f64, f64),
        (beta, cobeta): (f64, f64),
        (lambda0, colambda0): (f64, f64),
    ) -> Self {
        Self {
            w,
            beta,
            cobeta,
            lambda1,
            colambda1,
            lambda0,
            colambda0,
        }
    }

    /// With f of every eigenvalue.
    pub(super) fn mapped(&self, f: impl Fn((f64, f64)) -> (f64, f64)) -> Self {
        Self::from_parts(
            self.w.clone(),
            f((self.lambda1, self.colambda1)),
            f((self.beta, self.cobeta)),
            f((self.lambda0, self.colambda0)),
        )
    }

    /// True on the middle piece, where v alone gives D.
    fn is_plain(&self) -> bool {
        self.colambda1 == 0.0 && self.lambda0 == 0.0
    }

    /// True for two blocks of the middle piece, and for others that differ by no more than `distance` in each number.
    pub(crate) fn is_like(&self, other: &Self, distance: f64) -> bool {
        let values = |b: &Self| {
            [
                b.lambda1,
                b.colambda1,
                b.beta,
                b.cobeta,
                b.lambda0,
                b.colambda0,
            ]
        };
        let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= distance;
        if self.is_plain() || other.is_plain() {
            return self.is_plain() && other.is_plain();
        }
        values(self).iter().zip(&values(other)).all(is_close)
            && self.w.iter().zip(&other.w).all(is_close)
    }

    pub(super) fn rows(&self) -> usize {
        self.w.len() + 1
    }

    /// Components along u1 and u0.
    fn components(&self, u: &[f64]) -> (f64, f64) {
        let along: f64 = self.w.iter().zip(&u[1..]).map(|(w, u)| w * u).sum();
        (
            (u[0] + along) * FRAC_1_SQRT_2,
            (u[0] - along) * FRAC_1_SQRT_2,
        )
    }

    /// out = c1 u1 u1'u + c0 u0 u0'u + rest (u minus both components).
    fn spectral_apply(&self, c1: f64, c0: f64, rest: f64, u: &[f64], out: &mut [f64]) {
        let (a1, a0) = self.components(u);
        let (a1, a0) = (
            (c1 - rest) * a1 * FRAC_1_SQRT_2,
            (c0 - rest) * a0 * FRAC_1_SQRT_2,
        );
        out[0] = rest * u[0] + a1 + a0;
        for i in 0..self.w.len() {
            out[i + 1] = rest * u[i + 1] + (a1 - a0) * self.w[i];
        }
    }

    pub(super) fn apply(&self, u: &[f64], out: &mut [f64]) {
        self.spectral_apply(self.lambda1, self.lambda0, self.beta, u, out);
    }

    pub(super) fn apply_complement(&self, u: &[f64], out: &mut [f64]) {
        self.spectral_apply(self.colambda1, self.colambda0, self.cobeta, u, out);
    }

    /// True for cones so small that eigenbasis rows cost less than the sparse form: u1, rows - 2 directions across w, and u0 unless
    /// lambda0 = 0.
    fn is_small(&self) -> bool {
        is_small(self.rows())
    }

    /// The k-th direction across w, k >= 1: a column of the reflection that takes w to an axis.
    fn across(&self, k: usize, i: usize) -> f64 {
        let sign = if self.w[0] < 0.0 { -1.0 } else { 1.0 };
        let entry = |i: usize| self.w[i] + if i == 0 { sign } else { 0.0 };
        // |w + sign e0|^2 = 2 (1 + |w0|).
        let own = if i == k { 1.0 } else { 0.0 };
        own - entry(i) * entry(k) / (1.0 + self.w[0].abs())
    }

    /// Two forms of the reduced rows of larger cones, both sparse in A's rows. With C A = sqrt(beta) A on the zeta rows (one per row),
    ///
    /// ```text
    /// E = beta (1/D - I) = (1-beta) I - (1 - beta/lambda1) u1 u1' + (beta/lambda0 - 1) u0 u0'
    /// ```
    ///
    /// whose last term is a column -c u0 with pivot lambda0/beta, c^2 = 1 - lambda0/beta (alpha). For beta >= 1/2 the middle one
    /// is a column sqrt(1 - beta/lambda1) u1 with pivot -1 (eta); below, eta's place is taken by the multiplier t of an explicit
    /// row c u1'A with pivot -(1 - lambda1), c^2 = (lambda1 - beta)/(1 - beta): in the first form that direction would be
    /// scaled by sqrt(beta) and lost as beta -> 0.
    fn is_strong(&self) -> bool {
        self.beta >= 0.5
    }

    /// Of alpha: the size of its column and its pivot.
    fn alpha(&self) -> (f64, f64) {
        // Also for beta = 0, where the quotients have no limit and nothing of zeta is used.
        if self.lambda0 == 0.0 {
            return (1.0, 0.0);
        }
        let gap = difference((self.beta, self.cobeta), (self.lambda0, self.colambda0));
        ((gap / self.beta).sqrt(), self.lambda0 / self.beta)
    }

    /// The size of eta's column, in the strong form.
    fn eta(&self) -> f64 {
        let gap = difference((self.lambda1, self.colambda1), (self.beta, self.cobeta));
        (gap / self.lambda1).sqrt()
    }

    /// What u1'A is multiplied by in the weak form.
    fn explicit(&self) -> f64 {
        if self.colambda1 == 0.0 {
            return 1.0;
        }
        let gap = difference((self.lambda1, self.colambda1), (self.beta, self.cobeta));
        (gap / self.cobeta).sqrt()
    }

    pub(super) fn reduced_len(&self) -> usize {
        if self.is_small() {
            self.rows() - usize::from(self.lambda0 == 0.0)
        } else {
            self.rows() + 2
        }
    }

    pub(super) fn coupling(&self, mut emit: impl FnMut(usize, usize, f64)) {
        let d = self.rows();
        if self.is_small() {
            emit(0, 0, -self.colambda1);
            for k in 1..d - 1 {
                emit(k, k, -self.cobeta);
            }
            if self.lambda0 > 0.0 {
                emit(d - 1, d - 1, -self.colambda0);
            }
            return;
        }
        let (alpha, last) = (d, d + 1);
        let (column, pivot) = self.alpha();
        let root = self.eta() * FRAC_1_SQRT_2;
        for i in 0..d {
            let w = if i == 0 { 1.0 } else { self.w[i - 1] };
            let u0 = if i == 0 { w } else { -w } * FRAC_1_SQRT_2;
            emit(i, i, -self.cobeta);
            emit(i, alpha, -column * u0);
            if self.is_strong() {
                emit(i, last, root * w);
            }
        }
        emit(alpha, alpha, pivot);
        emit(
            last,
            last,
            if self.is_strong() {
                -1.0
            } else {
                -self.colambda1
            },
        );
    }

    pub(super) fn compress(&self, u: &[f64], w: &mut [f64]) {
        let d = self.rows();
        let sigma = self.beta.sqrt();
        if self.is_small() {
            let (along1, along0) = self.components(u);
            w[0] = self.lambda1.sqrt() * along1;
            if self.lambda0 > 0.0 {
                w[d - 1] = self.lambda0.sqrt() * along0;
            }
            for (k, w) in w.iter_mut().enumerate().take(d - 1).skip(1) {
                *w = sigma
                    * (0..d - 1)
                        .map(|i| self.across(k, i) * u[i + 1])
                        .sum::<f64>();
            }
            return;
        }
        for i in 0..d {
            w[i] = sigma * u[i];
        }
        w[d] = 0.0;
        w[d + 1] = if self.is_strong() {
            0.0
        } else {
            self.explicit() * self.components(u).0
        };
    }

    pub(super) fn expand(&self, w: &[f64], u: &mut [f64]) {
        let d = self.rows();
        let sigma = self.beta.sqrt();
        if self.is_small() {
            let along1 = FRAC_1_SQRT_2 * (self.lambda1.sqrt() * w[0]);
            let along0 = if self.lambda0 > 0.0 {
                FRAC_1_SQRT_2 * (self.lambda0.sqrt() * w[d - 1])
            } else {
                0.0
            };
            u[0] = along1 + along0;
            for i in 0..d - 1 {
                let across = (1..d - 1).map(|k| self.across(k, i) * w[k]).sum::<f64>();
                u[i + 1] = (along1 - along0) * self.w[i] + sigma * across;
            }
            return;
        }
        let t = if self.is_strong() {
            0.0
        } else {
            self.explicit() * w[d + 1] * FRAC_1_SQRT_2
        };
        u[0] = sigma * w[0] + t;
        for i in 1..d {
            u[i] = sigma * w[i] + t * self.w[i - 1];
        }
    }

    /// sqrt(beta): what the zeta rows are multiplied by.
    pub(crate) fn row_scale(&self) -> f64 {
        self.beta.sqrt()
    }

    /// All rows of a small cone; of a larger one the last only: the zeta rows are multiples of A's own.
    pub(super) fn column(
        &self,
        rows: &[usize],
        start: usize,
        values: &[f64],
        mut emit: impl FnMut(usize, f64, f64),
    ) {
        if self.is_small() {
            let d = self.rows();
            let sigma = self.beta.sqrt();
            let [along1, along0] = [self.lambda1, self.lambda0].map(|l| l.sqrt() * FRAC_1_SQRT_2);
            let least = rotated_terms(values);
            for row in 0..self.reduced_len() {
                let coefficient = |i: usize| match (row, i) {
                    (0, 0) => along1,
                    (0, i) => along1 * self.w[i - 1],
                    (k, 0) if k == d - 1 => along0,
                    (k, i) if k == d - 1 => -along0 * self.w[i - 1],
                    (_, 0) => 0.0,
                    (k, i) => sigma * self.across(k, i - 1),
                };
                let (mut sum, mut size) = (0.0, 0.0);
                for (&i, &v) in rows.iter().zip(values) {
                    let term = v * coefficient(i - start);
                    sum += term;
                    size += term.abs();
                }
                let factor = match row {
                    0 => along1,
                    k if k == d - 1 => along0,
                    _ => sigma,
                };
                emit(row, sum, size.max(factor * least));
            }
            return;
        }
        if self.is_strong() {
            return;
        }
        let (mut along, mut size) = (0.0, 0.0);
        for (&i, &v) in rows.iter().zip(values) {
            let term = v * if i == start {
                1.0
            } else {
                self.w[i - start - 1]
            };
            along += term;
            size += term.abs();
        }
        let factor = self.explicit() * FRAC_1_SQRT_2;
        let size = size.max(rotated_terms(values));
        emit(self.rows() + 1, along * factor, size * factor);
    }
}
