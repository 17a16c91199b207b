//! Projections smoothed along the central path.
//!
//! With a barrier f of K and p = -v, s = argmin 1/2 |s - p|^2 + mu f(s) lies inside K, z = s + v = -mu grad f(s) inside K*, and
//!
//! ```text
//! D = dz/dv = mu H (I + mu H)^-1,   H = hess f(s):   symmetric, 0 < D < I
//! ```
//!
//! As mu -> 0, z tends to the projection of v onto K*, with an error of at most mu times the barrier's degree over |s - s_mu|.
//! Barriers are logarithmically homogeneous: scaling v by c and mu by c^2 scales s and z by c, and <s, z> = mu times the degree.
//!
//! # References
//! Chen, Mangasarian, A class of smoothing functions for nonlinear and mixed complementarity problems, 1996 (orthant).
//! Fukushima, Luo, Tseng, Smoothing functions for second-order-cone complementarity problems, 2002 (symmetric cones).
//! Nesterov, Nemirovskii, Interior-point polynomial algorithms in convex programming, 1994 (the other barriers).

mod exponential;
mod generalized_power;
mod orthant;
mod psd;
mod second_order;
#[cfg(test)]
mod tests;

use super::numeric::{fractions, norm, orthogonalize_columns, power_of_two_scale};
use super::spectral::Spectral;
use super::{Block, Margin, Projection, check_cones};
use crate::cone::{self, Cone, row_ranges};
use crate::error::{Error, Result};
use crate::pattern::check_finite;
use crate::settings::check_positive;

/// mu beside |v|^2 counts as this at least: its root and the quotients by it must be numbers.
const LEAST_RATIO: f64 = 1e-250;

impl Projection {
    /// The smoothed projection of v (m values in the cones' row order) with barrier weight mu > 0, and its exact derivative D, which is
    /// nonsingular and so is I - D (but for the zero cone, where z = v). s lies inside K, z = s + v inside K*, and
    /// <s, z> = mu times the degree: 1 a row of an orthant, 1 for a second-order cone, k for a PSD cone of order k, 3 for exponential and
    /// power cones, the number of exponents plus one for a generalized power cone.
    ///
    /// | cone | barrier f(s) |
    /// |---|---|
    /// | orthant | -sum log s_i |
    /// | second-order | -1/2 log(t^2 - \|u\|^2) |
    /// | PSD | -log det S |
    /// | exponential | -log(y log(z/y) - x) - log y - log z |
    /// | power, generalized power | -log(prod u_i^(2 a_i) - \|w\|^2) - sum (1 - a_i) log u_i |
    ///
    /// The first three have closed forms in the eigenvalues l_i of v: those of z are (l_i + sqrt(l_i^2 + 4 mu))/2. The others take one
    /// monotone equation. Eigenvalues of D and of I - D keep their relative accuracy: 3e-14 for exponential and power cones against 60
    /// digits, with mu / |v|^2 from 1e-16 to 1e8. There is no kink: all margins are infinite. O(m) and, for a PSD cone of order k, O(k^3).
    ///
    /// ```
    /// use conediff::{Cone, Projection};
    /// let p = Projection::smoothed(&[Cone::Nonnegative(2)], &[1.5, 0.0], 1.0)?;
    /// assert_eq!(p.z(), &[2.0, 1.0]);
    /// assert_eq!(p.s(), &[0.5, 1.0]);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] unless mu is positive and finite; [`Error::Cone`], [`Error::ConeRows`], [`Error::NonFinite`];
    /// [`Error::Factorization`] if an eigenvalue iteration fails.
    ///
    /// # References
    /// Fukushima, Luo, Tseng, Smoothing functions for second-order-cone complementarity problems, 2002, section 5. Nesterov,
    /// Nemirovskii, Interior-point polynomial algorithms in convex programming, 1994, section 5.
    pub fn smoothed(cones: &[Cone], v: &[f64], mu: f64) -> Result<Self> {
        check_positive("mu", mu)?;
        cone::validate(cones, v.len())?;
        check_finite("v", v)?;
        check_cones(cones)?;
        let (mut z, mut s) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        let mut blocks = Vec::with_capacity(cones.len());
        let mut margins = Vec::with_capacity(cones.len());
        for (index, (cone, rows)) in cones.iter().zip(row_ranges(cones)).enumerate() {
            let (z, s) = (&mut z[rows.clone()], &mut s[rows.clone()]);
            let block =
                smooth_block(cone, &v[rows.clone()], mu, z, s).ok_or(Error::Factorization {
                    method: "eigenvalues of a PSD block",
                })?;
            blocks.push(block);
            check_finite("smoothed projection of v, z", z)?;
            check_finite("smoothed projection of v, s", s)?;
            margins.push(Margin {
                cone: index,
                kind: cone.name(),
                rows,
                margin: f64::INFINITY,
            });
        }
        Ok(Self {
            z,
            s,
            blocks,
            margins,
        })
    }
}

impl Projection {
    /// Takes the barrier off rows of orthants: z = 0, s = 1 and D = 0 there, as where v = -1 without smoothing.
    pub(crate) fn free(&mut self, rows: &[usize]) {
        for &row in rows {
            for (block, margin) in self.blocks.iter_mut().zip(&self.margins) {
                if let (true, Block::Diagonal(b)) = (margin.rows.contains(&row), block) {
                    let place = row - margin.rows.start;
                    (self.z[row], self.s[row]) = (0.0, 1.0);
                    (b.lambda[place], b.colambda[place]) = (0.0, 1.0);
                }
            }
        }
    }
}

/// Writes z and s, and returns D; `None` if an eigenvalue iteration fails.
fn smooth_block(cone: &Cone, v: &[f64], mu: f64, z: &mut [f64], s: &mut [f64]) -> Option<Block> {
    if v.is_empty() {
        return Some(Block::Vanishing(0));
    }
    if let Cone::Zero(rows) = cone {
        z.copy_from_slice(v);
        return Some(Block::Identity(*rows));
    }
    // Scaled so that neither |v| nor sqrt(mu) is above 2; by a power of two, which is exact.
    let unit = power_of_two_scale(v).max(power_of_two_scale(&[mu.sqrt()]));
    let scaled: Vec<f64> = v.iter().map(|x| x / unit).collect();
    let mu = (mu / unit / unit).max(LEAST_RATIO);
    let block = match cone {
        Cone::Nonnegative(_) | Cone::Zero(_) => orthant::smooth(&scaled, mu, z, s),
        Cone::SecondOrder(_) | Cone::PsdTriangle(_) if v.len() == 1 => {
            orthant::smooth(&scaled, mu, z, s)
        }
        Cone::SecondOrder(_) => second_order::smooth(&scaled, mu, z, s),
        Cone::PsdTriangle(k) => psd::smooth(*k, &scaled, mu, z, s)?,
        Cone::Exponential => exponential::smooth(&scaled, mu, z, s),
        Cone::Power(a) => generalized_power::smooth(&[*a, 1.0 - a], &scaled, mu, z, s),
        Cone::GeneralizedPower(a, _) => generalized_power::smooth(a, &scaled, mu, z, s),
    };
    for x in z.iter_mut().chain(s) {
        *x *= unit;
    }
    Some(block)
}

/// (z, s), both positive, with z - s = v and z s = mu; neither by subtraction.
fn pair(v: f64, mu: f64) -> (f64, f64) {
    let big = 0.5 * (v.abs() + v.hypot(2.0 * mu.sqrt()));
    let small = mu / big;
    if v >= 0.0 { (big, small) } else { (small, big) }
}

/// D = M (I + M)^-1 for M the sum of a a' over the columns, each of `dim` values: one-sided Jacobi rotations keep the relative
/// accuracy of small eigenvalues beside large ones.
fn spectral_of_sum(dim: usize, mut columns: Vec<Vec<f64>>) -> Spectral {
    let mut none = vec![Vec::new(); columns.len()];
    orthogonalize_columns(&mut columns, &mut none);
    columns.sort_by(|a, b| norm(b).total_cmp(&norm(a)));
    let mut spectral = Spectral::new(dim);
    for k in 0..dim {
        let length = columns.get(k).map_or(0.0, |c| norm(c));
        let direction: Vec<f64> = match columns.get(k) {
            Some(column) if length > 0.0 => column.iter().map(|x| x / length).collect(),
            _ => perpendicular(&spectral, k),
        };
        spectral.vector_mut(k).copy_from_slice(&direction);
        spectral.set_value(k, fractions(length * length, 1.0));
    }
    spectral
}

/// A unit vector perpendicular to the first k eigenvectors, of the axes the one that keeps most of its length.
fn perpendicular(spectral: &Spectral, k: usize) -> Vec<f64> {
    let candidates = (0..spectral.dim).map(|axis| {
        let mut x = vec![0.0; spectral.dim];
        x[axis] = 1.0;
        for _ in 0..2 {
            for l in 0..k {
                let vector = spectral.vector(l);
                let along: f64 = vector.iter().zip(&x).map(|(a, b)| a * b).sum();
                for (x, a) in x.iter_mut().zip(vector) {
                    *x -= along * a;
                }
            }
        }
        x
    });
    let best = candidates.max_by(|a, b| norm(a).total_cmp(&norm(b)));
    let mut best = best.unwrap_or_default();
    let length = norm(&best);
    best.iter_mut().for_each(|x| *x /= length);
    best
}
