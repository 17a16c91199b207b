//! Projection onto the dual cone K*, with an element of its conservative Jacobian and the distance to the nearest kink.
//!
//! For v in R^m: z = Pi(v) in K*, s = Pi(v) - v in K (Moreau), D in the Clarke Jacobian of Pi at v: symmetric, 0 <= D <= I,
//! D v = z. A product of Clarke Jacobians is conservative for the product map.
//!
//! The reduced symmetric system of the linear step needs D only through C and E, block by block: dz = C'w where
//! C r2 = C A dx - E w (all with the signs of [`crate::residual`]). For an eigenbasis C = L^(1/2) U_a' and E = I - L.

mod diagonal;
mod exponential;
mod generalized_power;
mod kink;
mod mapped;
mod numeric;
mod power;
mod power_curvature;
mod power_root;
mod psd;
mod psd_kink;
mod second_order;
mod smoothed;
mod spectral;
#[cfg(test)]
mod tests;

pub use diagonal::Diagonal;
pub use kink::KinkKind;
pub(crate) use kink::{BlockKink, Element, cone_turn, edge_change};
pub use psd::Psd;
pub(crate) use psd::{compose, eigen_decreasing};
pub use second_order::SecondOrder;
pub(crate) use second_order::is_small;
use spectral::Piece;
pub use spectral::Spectral;

use crate::cone::{Cone, row_ranges};
use crate::error::{Error, Result};
use crate::memory::{MOST_DENSE_BYTES, check_bytes};
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::tangent::norm_max;
use std::ops::Range;

/// D on one cone's rows.
///
/// ```
/// use conediff::{Block, Cone, Projection};
/// let cones = [Cone::Zero(1), Cone::Nonnegative(2), Cone::SecondOrder(2)];
/// let projection = Projection::new(&cones, &[1.0, 2.0, -1.0, -2.0, 1.0])?;
/// // The rows on which z moves as v does: the equality, and the active inequality.
/// let held = projection.blocks().iter().map(|block| match block {
///     Block::Identity(rows) => *rows,
///     Block::Orthant(active) => active.iter().filter(|a| **a).count(),
///     _ => 0,
/// });
/// assert_eq!(held.sum::<usize>(), 2);
/// assert!(matches!(projection.blocks()[2], Block::Vanishing(2)));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum Block {
    /// D = I: the zero cone's free dual, or v in the interior of K*.
    Identity(usize),
    /// D = 0: v in the polar of K*.
    Vanishing(usize),
    /// Diagonal of zeros and ones.
    Orthant(Vec<bool>),
    /// Diagonal with any eigenvalues in [0, 1].
    Diagonal(Diagonal),
    /// A second-order cone between D = 0 and D = I.
    SecondOrder(SecondOrder),
    /// A PSD cone between D = 0 and D = I.
    Psd(Psd),
    /// A small dense eigendecomposition: exponential and power cones.
    Spectral(Spectral),
}

/// The distance from v to the nearest point where one cone's projection is not differentiable.
///
/// ```
/// use conediff::{Cone, Margin, Projection};
/// let projection = Projection::new(&[Cone::Nonnegative(2), Cone::SecondOrder(3)], &[2.0, -0.5, 0.0, 3.0, 4.0])?;
/// // The cone nearest to a kink: v[1] = -0.5, where the other is 5 / sqrt(2) away from t = |u| and from t = -|u|.
/// let near: Vec<&Margin> = projection.margins().iter().filter(|m| m.margin < 1.0).collect();
/// assert_eq!((near.len(), near[0].kind, near[0].margin), (1, "nonnegative", 0.5));
/// assert!((projection.margins()[1].margin - 5.0 / 2.0_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Margin {
    /// Position of the cone.
    pub cone: usize,
    /// Its name.
    pub kind: &'static str,
    /// Its rows.
    pub rows: Range<usize>,
    /// The distance, absolute; infinity for the zero cone.
    #[serde(with = "crate::exact::number")]
    pub margin: f64,
}

/// The projection of a point and an element of the conservative Jacobian there.
///
/// ```
/// use conediff::{Cone, Projection};
/// let p = Projection::new(&[Cone::Nonnegative(2), Cone::SecondOrder(3)], &[2.0, -1.0, 0.0, 3.0, 4.0])?;
/// assert_eq!(p.z(), &[2.0, 0.0, 2.5, 1.5, 2.0]);
/// assert_eq!(p.s(), &[0.0, 1.0, 2.5, -1.5, -2.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Projection {
    z: Vec<f64>,
    s: Vec<f64>,
    blocks: Vec<Block>,
    margins: Vec<Margin>,
}

impl Projection {
    /// Projects v (m values in the cones' row order) onto K*. O(m) and, for a PSD cone of order k, O(k^3).
    ///
    /// # Errors
    /// [`Error::Cone`], [`Error::ConeRows`], [`Error::NonFinite`]; [`Error::Factorization`] if an eigenvalue iteration fails;
    /// [`Error::TooLarge`] for a generalized power cone of more than 23,170 rows, whose eigenvectors take more than 4 GiB.
    pub fn new(cones: &[Cone], v: &[f64]) -> Result<Self> {
        crate::cone::validate(cones, v.len())?;
        Self::near(cones, v, vec![0.0; v.len()], vec![0.0; v.len()])
    }

    /// Like [`Projection::new`] for valid cones, given z and s of a point nearby: the curved cones' searches start there.
    pub(crate) fn near(
        cones: &[Cone],
        v: &[f64],
        mut z: Vec<f64>,
        mut s: Vec<f64>,
    ) -> Result<Self> {
        check_finite("v", v)?;
        check_cones(cones)?;
        let mut blocks = Vec::with_capacity(cones.len());
        let mut margins = Vec::with_capacity(cones.len());
        for (index, (cone, rows)) in cones.iter().zip(row_ranges(cones)).enumerate() {
            let (block, margin) = project_block(
                cone,
                &v[rows.clone()],
                &mut z[rows.clone()],
                &mut s[rows.clone()],
            )
            .ok_or(Error::Factorization {
                method: "eigenvalues of a PSD block",
            })?;
            blocks.push(block);
            // The projection of numbers near the largest need not be representable.
            check_finite("projection of v, z", &z[rows.clone()])?;
            check_finite("projection of v, s", &s[rows.clone()])?;
            margins.push(Margin {
                cone: index,
                kind: cone.name(),
                rows,
                margin,
            });
        }
        Ok(Self {
            z,
            s,
            blocks,
            margins,
        })
    }

    /// Pi(v), m.
    pub fn z(&self) -> &[f64] {
        &self.z
    }
    /// Pi(v) - v, m.
    pub fn s(&self) -> &[f64] {
        &self.s
    }
    /// D, one block per cone.
    ///
    /// ```
    /// use conediff::{Block, Cone, Projection, svec};
    /// let cones = [Cone::Zero(1), Cone::Nonnegative(2), Cone::SecondOrder(3), Cone::PsdTriangle(2), Cone::Exponential];
    /// let matrix = svec::svec(&[2.0, 0.0, 0.0, -1.0], 2)?;
    /// let v = [vec![1.0], vec![2.0, -1.0], vec![0.0, 3.0, 4.0], matrix, vec![-1.0, 1.0, -1.0]].concat();
    /// let projection = Projection::new(&cones, &v)?;
    /// let blocks = projection.blocks();
    /// assert!(matches!(&blocks[0], Block::Identity(1)));
    /// assert!(matches!(&blocks[1], Block::Orthant(active) if active == &[true, false]));
    /// assert!(matches!(&blocks[2], Block::SecondOrder(_)));
    /// assert!(matches!(&blocks[3], Block::Psd(_)));
    /// // Exponential and power cones give their eigenvalues: 1 along z, 0 along s, one between.
    /// let Block::Spectral(spectral) = &blocks[4] else { panic!() };
    /// let between = spectral.lambda.iter().filter(|l| 0.0 < **l && **l < 1.0).count();
    /// assert_eq!((spectral.dim, between), (3, 1));
    /// // Smoothed projections have every eigenvalue between.
    /// let smoothed = Projection::smoothed(&[Cone::Nonnegative(1)], &[1.0], 0.1)?;
    /// assert!(matches!(&smoothed.blocks()[0], Block::Diagonal(_)));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
    /// One margin per cone.
    ///
    /// ```
    /// use conediff::{Cone, Margin, Projection};
    /// let projection = Projection::new(&[Cone::Zero(1), Cone::Nonnegative(2)], &[5.0, 2.0, -0.5])?;
    /// let margins: &[Margin] = projection.margins();
    /// assert_eq!((margins[0].margin, margins[1].margin), (f64::INFINITY, 0.5));
    /// assert_eq!((margins[1].kind, margins[1].rows.clone()), ("nonnegative", 1..3));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn margins(&self) -> &[Margin] {
        &self.margins
    }

    /// The same point with other elements of the Jacobian, one block per cone with that cone's rows.
    #[cfg(test)]
    pub(crate) fn with_blocks(self, blocks: Vec<Block>) -> Self {
        Self { blocks, ..self }
    }

    /// Blocks with their rows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Block, Range<usize>)> {
        self.blocks
            .iter()
            .zip(self.margins.iter().map(|m| m.rows.clone()))
    }

    /// out = D u.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless both have m entries.
    pub fn apply(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check_length("u", self.z.len(), u.len())?;
        check_length("out", self.z.len(), out.len())?;
        self.apply_into(u, out, &mut vec![0.0; self.scratch_len()]);
        Ok(())
    }

    /// out = (I - D) u, without cancellation.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless both have m entries.
    pub fn apply_complement(&self, u: &[f64], out: &mut [f64]) -> Result<()> {
        check_length("u", self.z.len(), u.len())?;
        check_length("out", self.z.len(), out.len())?;
        self.apply_complement_into(u, out, &mut vec![0.0; self.scratch_len()]);
        Ok(())
    }

    /// Entries of scratch memory the operations on blocks need (PSD blocks of order k: 3 k^2).
    pub(crate) fn scratch_len(&self) -> usize {
        let of = |b: &Block| match b {
            Block::Psd(b) => b.scratch_len(),
            _ => 0,
        };
        self.blocks.iter().map(of).max().unwrap_or(0)
    }

    pub(crate) fn apply_into(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        for (block, rows) in self.iter() {
            block.apply(&u[rows.clone()], &mut out[rows], scratch);
        }
    }

    pub(crate) fn apply_complement_into(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        for (block, rows) in self.iter() {
            block.apply_complement(&u[rows.clone()], &mut out[rows], scratch);
        }
    }
}

/// [`Error::TooLarge`] for a block whose eigenvectors are: those of a generalized power cone are dense.
pub(crate) fn check_cones(cones: &[Cone]) -> Result<()> {
    for cone in cones
        .iter()
        .filter(|c| matches!(c, Cone::GeneralizedPower(..)))
    {
        let entries = (cone.rows() as u128).pow(2);
        let what = "the eigenvectors of a generalized power block";
        check_bytes(what, 8, entries, MOST_DENSE_BYTES)?;
    }
    Ok(())
}

/// Sizes between which the curved cones' projections neither underflow nor overflow inside.
const SAFE: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

/// An entry this small beside the block's largest is zero to them: ratios and squares would overflow.
const LOST: f64 = 1e-150;

fn project_block(cone: &Cone, v: &[f64], z: &mut [f64], s: &mut [f64]) -> Option<(Block, f64)> {
    let is_curved = matches!(
        cone,
        Cone::Exponential | Cone::Power(_) | Cone::GeneralizedPower(..)
    );
    let size = norm_max(v);
    let is_lost = |x: &f64| *x != 0.0 && x.abs() < size * LOST;
    if is_curved && size > 0.0 && (!SAFE.contains(&size) || v.iter().any(is_lost)) {
        return project_at_unit_size(cone, v, size, z, s);
    }
    let curved = |piece: Piece, margin: f64, element: &dyn Fn(Piece, &mut Spectral)| {
        let block = match piece {
            Piece::DualInterior => Block::Identity(v.len()),
            Piece::PolarInterior => Block::Vanishing(v.len()),
            Piece::Face | Piece::Curved => {
                let mut spectral = Spectral::new(v.len());
                element(piece, &mut spectral);
                Block::Spectral(spectral)
            }
        };
        Some((block, margin))
    };
    match cone {
        Cone::Zero(d) => {
            z.copy_from_slice(v);
            s.fill(0.0);
            Some((Block::Identity(*d), f64::INFINITY))
        }
        Cone::Nonnegative(_) => {
            let mut margin = f64::INFINITY;
            let mut active = Vec::with_capacity(v.len());
            for i in 0..v.len() {
                active.push(v[i] > 0.0);
                z[i] = v[i].max(0.0);
                s[i] = (-v[i]).max(0.0);
                margin = margin.min(v[i].abs());
            }
            Some((Block::Orthant(active), margin))
        }
        Cone::SecondOrder(_) => Some(second_order::project(v, z, s)),
        Cone::PsdTriangle(k) => psd::project(*k, v, z, s),
        Cone::Exponential => {
            let piece = exponential::project(v, z, s);
            curved(piece, exponential::margin(piece, v, z, s), &|p, out| {
                exponential::element(p, v, z, s, out)
            })
        }
        Cone::Power(a) => {
            let piece = power::project(*a, v, z, s);
            curved(piece, power::margin(*a, piece, v, z, s), &|p, out| {
                power::element(*a, p, v, z, s, out)
            })
        }
        Cone::GeneralizedPower(a, _) => {
            let piece = generalized_power::project(a, v, z, s);
            curved(
                piece,
                generalized_power::margin(a, piece, v, z, s),
                &|p, out| generalized_power::element(a, p, v, z, s, out),
            )
        }
    }
}

/// The projection of v over a power of two near its size, lost entries left out: it is homogeneous, and D does not change.
fn project_at_unit_size(
    cone: &Cone,
    v: &[f64],
    size: f64,
    z: &mut [f64],
    s: &mut [f64],
) -> Option<(Block, f64)> {
    // Smaller powers are no normal numbers.
    let unit = 2f64.powi((size.log2() as i32).max(-1000));
    let mut scaled: Vec<f64> = v.iter().map(|x| x / unit).collect();
    // The largest is below 2.
    for x in scaled.iter_mut().filter(|x| x.abs() < 2.0 * LOST) {
        *x = 0.0;
    }
    z.iter_mut().chain(&mut *s).for_each(|x| *x /= unit);
    let (block, margin) = project_block(cone, &scaled, z, s)?;
    z.iter_mut().chain(s).for_each(|x| *x *= unit);
    Some((block, margin * unit))
}

impl Block {
    /// Rows.
    pub fn rows(&self) -> usize {
        match self {
            Block::Identity(d) | Block::Vanishing(d) => *d,
            Block::Orthant(active) => active.len(),
            Block::Diagonal(b) => b.rows(),
            Block::SecondOrder(b) => b.rows(),
            Block::Psd(b) => b.rows(),
            Block::Spectral(b) => b.dim,
        }
    }

    pub(crate) fn apply(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        match self {
            Block::Identity(_) => out.copy_from_slice(u),
            Block::Vanishing(_) => out.fill(0.0),
            Block::Orthant(active) => {
                for i in 0..u.len() {
                    out[i] = if active[i] { u[i] } else { 0.0 };
                }
            }
            Block::Diagonal(b) => b.apply(u, out),
            Block::SecondOrder(b) => b.apply(u, out),
            Block::Psd(b) => b.apply(u, out, scratch),
            Block::Spectral(b) => b.apply(u, out),
        }
    }

    pub(crate) fn apply_complement(&self, u: &[f64], out: &mut [f64], scratch: &mut [f64]) {
        match self {
            Block::Identity(_) => out.fill(0.0),
            Block::Vanishing(_) => out.copy_from_slice(u),
            Block::Orthant(active) => {
                for i in 0..u.len() {
                    out[i] = if active[i] { 0.0 } else { u[i] };
                }
            }
            Block::Diagonal(b) => b.apply_complement(u, out),
            Block::SecondOrder(b) => b.apply_complement(u, out),
            Block::Psd(b) => b.apply_complement(u, out, scratch),
            Block::Spectral(b) => b.apply_complement(u, out),
        }
    }

    /// Number of reduced variables w.
    pub(crate) fn reduced_len(&self) -> usize {
        match self {
            Block::Identity(d) => *d,
            Block::Vanishing(_) => 0,
            Block::Orthant(active) => active.iter().filter(|a| **a).count(),
            Block::Diagonal(b) => b.reduced_len(),
            Block::SecondOrder(b) => b.reduced_len(),
            Block::Psd(b) => b.reduced_len(),
            Block::Spectral(b) => b.lambda.iter().filter(|l| **l > 0.0).count(),
        }
    }

    /// Emits (row, column, value) with row <= column of -E.
    pub(crate) fn coupling(&self, mut emit: impl FnMut(usize, usize, f64)) {
        match self {
            Block::Diagonal(b) => b.coupling(emit),
            Block::SecondOrder(b) => b.coupling(emit),
            Block::Psd(b) => b.coupling(emit),
            Block::Spectral(b) => {
                for (row, k) in spectral_active(b).enumerate() {
                    emit(row, row, -b.colambda[k]);
                }
            }
            Block::Identity(_) | Block::Vanishing(_) | Block::Orthant(_) => {}
        }
    }

    /// w = C u.
    pub(crate) fn compress(&self, u: &[f64], w: &mut [f64], scratch: &mut [f64]) {
        match self {
            Block::Identity(_) => w.copy_from_slice(u),
            Block::Vanishing(_) => {}
            Block::Orthant(active) => {
                for (w, (u, _)) in w.iter_mut().zip(u.iter().zip(active).filter(|x| *x.1)) {
                    *w = *u;
                }
            }
            Block::Diagonal(b) => b.compress(u, w),
            Block::SecondOrder(b) => b.compress(u, w),
            Block::Psd(b) => b.compress(u, w, scratch),
            Block::Spectral(b) => {
                for (w, k) in w.iter_mut().zip(spectral_active(b)) {
                    let column = &b.vectors[k * b.dim..(k + 1) * b.dim];
                    *w = b.lambda[k].sqrt() * crate::tangent::dot(column, u);
                }
            }
        }
    }

    /// u = C'w.
    pub(crate) fn expand(&self, w: &[f64], u: &mut [f64], scratch: &mut [f64]) {
        match self {
            Block::Identity(_) => u.copy_from_slice(w),
            Block::Vanishing(_) => u.fill(0.0),
            Block::Orthant(active) => {
                let mut next = w.iter();
                for (u, a) in u.iter_mut().zip(active) {
                    *u = if *a {
                        next.next().copied().unwrap_or(0.0)
                    } else {
                        0.0
                    };
                }
            }
            Block::Diagonal(b) => b.expand(w, u),
            Block::SecondOrder(b) => b.expand(w, u),
            Block::Psd(b) => b.expand(w, u, scratch),
            Block::Spectral(b) => {
                u.fill(0.0);
                for (w, k) in w.iter().zip(spectral_active(b)) {
                    let scale = b.lambda[k].sqrt() * w;
                    for (u, x) in u.iter_mut().zip(&b.vectors[k * b.dim..(k + 1) * b.dim]) {
                        *u += scale * x;
                    }
                }
            }
        }
    }

    /// Emits C a for one sparse column a of A restricted to this block, whose rows begin at `start`: row, value, and the size of
    /// the terms that make the value, which tells rounding from a small number. Rows that are multiples of A's own are left out.
    pub(crate) fn column(
        &self,
        rows: &[usize],
        start: usize,
        values: &[f64],
        mut emit: impl FnMut(usize, f64, f64),
    ) {
        match self {
            Block::Identity(_) | Block::Vanishing(_) | Block::Orthant(_) | Block::Diagonal(_) => {}
            Block::SecondOrder(b) => b.column(rows, start, values, emit),
            Block::Psd(b) => b.column(rows, start, values, emit),
            Block::Spectral(b) => {
                let least = rotated_terms(values);
                for (row, k) in spectral_active(b).enumerate() {
                    let column = &b.vectors[k * b.dim..(k + 1) * b.dim];
                    let terms = || rows.iter().zip(values).map(|(&i, v)| column[i - start] * v);
                    let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                    let root = b.lambda[k].sqrt();
                    emit(row, root * sum, root * size.max(least));
                }
            }
        }
    }
}

/// A rotated entry of A below this times its column is taken for rounding when the linear system is scaled: the rotation is known no
/// better than the point.
const ROTATED: f64 = 1e-4;

/// The size of the terms of a column's rotated entries at least. Entries much smaller than its norm may still be exact.
fn rotated_terms(values: &[f64]) -> f64 {
    ROTATED * values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Eigenvectors with lambda > 0.
fn spectral_active(b: &Spectral) -> impl Iterator<Item = usize> + '_ {
    (0..b.dim).filter(|&k| b.lambda[k] > 0.0)
}
