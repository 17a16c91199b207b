//! The elements of the conservative Jacobian at a kink of the projection, block by block.
//!
//! At v within `radius` of a kink, U spans the directions in which both z and s vanish. Every element is D = D0 + U M U' with D0 fixed,
//! D0 U = 0, and M an element of the projection onto the dual of a small cone at its apex, 0 <= M <= I: [0, 1] on each weakly
//! active row, on the normal of a second-order, exponential or power cone's boundary; the whole cone at its apex; a PSD cone of the
//! order of the zero eigenvalues. The lower element M = 0 has the largest eigenspace for 0, the upper one M = I the largest for 1.
//!
//! # References
//! Bonnans, Ramirez, Perturbation analysis of second-order cone programming problems, 2005. Malick, Sendov, Clarke generalized
//! Jacobian of the projection onto the cone of positive semidefinite matrices, 2006, Thm 3.7.

use super::diagonal::Diagonal;
use super::psd::Psd;
use super::psd_kink::{self, Eigen};
use super::second_order::SecondOrder;
use super::spectral::Spectral;
use super::{Block, Projection, exponential, generalized_power, power, second_order};
use crate::cone::Cone;
use crate::random::Random;
use crate::tangent::dot;
use faer::Mat;
use std::fmt;

/// What a block is doing at its kink.
///
/// ```
/// # use conediff::{Affine, Derivative, ProgramBuilder, Settings, solve};
/// use conediff::KinkKind;
/// // The point of the cone |(x_1, x_2)| <= x_0 nearest to c: at the apex, and on the boundary
/// for (c, kind) in [([0.0, 0.0, 0.0], KinkKind::Apex), ([5.0, 3.0, 4.0], KinkKind::ZeroDual)] {
/// #   let mut builder = ProgramBuilder::new(3);
/// #   for (j, c) in c.iter().enumerate() {
/// #       builder.quadratic(j, j, 1.0);
/// #       builder.linear(j, -c);
/// #   }
/// #   builder.norm(&[Affine::variable(1), Affine::variable(2)], &Affine::variable(0));
/// #   let (program, settings) = (builder.build()?, Settings::default());
///     let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
///     assert_eq!(derivative.kinks()[0].at, kind);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KinkKind {
    /// Rows of a nonnegative cone with z_i = s_i = 0.
    WeaklyActive,
    /// s = 0 and z on the boundary of K*.
    ZeroSlack,
    /// z = 0 and s on the boundary of K.
    ZeroDual,
    /// z = s = 0.
    Apex,
    /// A PSD block with zero eigenvalues of z - s.
    ZeroEigenvalues,
    /// On an edge of an exponential or power cone, where a face meets the curved boundary or another face.
    Edge,
}

impl fmt::Display for KinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KinkKind::WeaklyActive => "weakly active",
            KinkKind::ZeroSlack => "s = 0, z on the boundary",
            KinkKind::ZeroDual => "z = 0, s on the boundary",
            KinkKind::Apex => "z = s = 0",
            KinkKind::ZeroEigenvalues => "zero eigenvalues",
            KinkKind::Edge => "on an edge",
        })
    }
}

/// Which element of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// M = 0.
    Lower,
    /// M = I.
    Upper,
    /// M = I/2.
    Half,
    /// Drawn with a seed; the element at a random smooth point nearby, or between two of them.
    Random(u64),
}

/// One block's kink.
#[derive(Debug, Clone)]
pub(crate) struct BlockKink {
    pub(crate) kind: KinkKind,
    /// False where the elements known here are only a superset of the Jacobian's: edges of several coordinates.
    pub(crate) is_exact: bool,
    pub(super) shape: Shape,
}

/// The directions in which both z and s vanish.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// Rows of an orthant, within the block.
    Rows(Vec<usize>),
    /// One unit vector: D0 = 0 (zero dual) or I - uu' (zero slack).
    Ray(Vec<f64>),
    /// Eigenvectors `positive..positive + zero` of a PSD block, whose eigenvalues are set to zero.
    Eigenvalues {
        eigen: Eigen,
        positive: usize,
        zero: usize,
    },
    /// Coordinates of a diagonal D.
    Axes {
        active: Vec<bool>,
        ambiguous: Vec<usize>,
    },
    /// All of them.
    Apex(usize),
}

/// A kink's directions, each as long as the block, with the cone that the slack's change along them lies in.
pub(crate) struct CriticalDirections {
    pub(crate) directions: Vec<Vec<f64>>,
    pub(crate) cone: Cone,
}

impl BlockKink {
    pub(super) fn new(kind: KinkKind, shape: Shape) -> Self {
        let is_exact = match &shape {
            Shape::Axes { ambiguous, .. } => ambiguous.len() == 1,
            _ => true,
        };
        Self {
            kind,
            is_exact,
            shape,
        }
    }

    /// The rows concerned, within the block.
    pub(crate) fn rows(&self, dim: usize) -> Vec<usize> {
        match &self.shape {
            Shape::Rows(rows) => rows.clone(),
            _ => (0..dim).collect(),
        }
    }

    /// D there; `block` is that of any element.
    fn element(&self, cone: &Cone, block: &Block, element: Element, random: &mut Random) -> Block {
        let mut share = || match element {
            Element::Lower => (0.0, 1.0),
            Element::Upper => (1.0, 0.0),
            Element::Half => (0.5, 0.5),
            Element::Random(_) => {
                let share = random.uniform();
                (share, 1.0 - share)
            }
        };
        match &self.shape {
            Shape::Rows(rows) => {
                let (mut lambda, mut colambda) = match block {
                    Block::Orthant(active) => {
                        let active = active.iter().map(|a| f64::from(u8::from(*a)));
                        let lambda: Vec<f64> = active.collect();
                        let colambda = lambda.iter().map(|l| 1.0 - l).collect();
                        (lambda, colambda)
                    }
                    Block::Diagonal(d) => (d.lambda.clone(), d.colambda.clone()),
                    _ => return block.clone(),
                };
                for &row in rows {
                    (lambda[row], colambda[row]) = share();
                }
                if lambda.iter().zip(&colambda).all(|(l, c)| l * c == 0.0) {
                    Block::Orthant(lambda.iter().map(|l| *l > 0.0).collect())
                } else {
                    Block::Diagonal(Diagonal { lambda, colambda })
                }
            }
            Shape::Ray(unit) => ray_block(cone, unit, self.kind, share()),
            Shape::Eigenvalues {
                eigen,
                positive,
                zero,
            } => psd_kink::at_zeros(eigen, *positive, *zero, element, random),
            Shape::Axes { active, ambiguous } => {
                let mut spectral = Spectral::new(active.len());
                for (k, active) in active.iter().enumerate() {
                    let value = match (ambiguous.contains(&k), active) {
                        (true, _) => share(),
                        (false, true) => (1.0, 0.0),
                        (false, false) => (0.0, 1.0),
                    };
                    spectral.set_value(k, value);
                }
                Block::Spectral(spectral)
            }
            Shape::Apex(d) => match element {
                Element::Lower => Block::Vanishing(*d),
                Element::Upper => Block::Identity(*d),
                Element::Half => multiple(cone, (0.5, 0.5)),
                // The projection is positively homogeneous: its Jacobian anywhere is an element at the apex.
                Element::Random(_) => {
                    Projection::new(std::slice::from_ref(cone), &random.normals(*d))
                        .ok()
                        .and_then(|mut p| p.blocks.pop())
                        .unwrap_or(Block::Vanishing(*d))
                }
            },
        }
    }

    /// The number of directions.
    pub(crate) fn directions(&self) -> usize {
        match &self.shape {
            Shape::Rows(rows) => rows.len(),
            Shape::Ray(_) => 1,
            Shape::Eigenvalues { zero, .. } => zero * (zero + 1) / 2,
            Shape::Axes { ambiguous, .. } => ambiguous.len(),
            Shape::Apex(d) => *d,
        }
    }

    /// The size of what the directions turn with: they change by about |dv| over it.
    pub(crate) fn stiffness(&self, cone: &Cone, v: &[f64]) -> f64 {
        match &self.shape {
            Shape::Rows(_) | Shape::Apex(_) => f64::INFINITY,
            // Off its edge D turns with the ratio to the entries that stay.
            Shape::Axes { ambiguous, .. } => {
                let stay = (0..v.len()).filter(|k| !ambiguous.contains(k));
                stay.fold(f64::INFINITY, |least, k| least.min(v[k].abs()))
            }
            Shape::Ray(_) => dot(v, v).sqrt().min(match cone {
                Cone::Exponential => (-v[0]).max(0.0).hypot((-v[1]).max(0.0)),
                _ => cone_turn(cone, v),
            }),
            Shape::Eigenvalues { eigen, .. } => eigen.least(),
        }
    }

    /// U and the small cone; `None` where the critical cone is not known.
    pub(crate) fn critical(&self, cone: &Cone) -> Option<CriticalDirections> {
        let axis = |k: usize, d: usize| {
            let mut axis = vec![0.0; d];
            axis[k] = 1.0;
            axis
        };
        let d = cone.rows();
        let (directions, cone) = match &self.shape {
            Shape::Rows(rows) => (
                rows.iter().map(|&k| axis(k, d)).collect(),
                Cone::Nonnegative(rows.len()),
            ),
            Shape::Ray(unit) => (vec![unit.clone()], Cone::Nonnegative(1)),
            Shape::Eigenvalues {
                eigen,
                positive,
                zero,
            } => (
                eigen.pairs(*positive..positive + zero),
                Cone::PsdTriangle(*zero),
            ),
            Shape::Axes { ambiguous, .. } if self.is_exact => {
                let directions = ambiguous.iter().map(|&k| {
                    let mut axis = axis(k, d);
                    // On the exponential cone's face the first entries of z and s are at most 0.
                    if k == 0 && matches!(cone, Cone::Exponential) {
                        axis[k] = -1.0;
                    }
                    axis
                });
                (directions.collect(), Cone::Nonnegative(1))
            }
            Shape::Axes { .. } => return None,
            Shape::Apex(d) => ((0..*d).map(|k| axis(k, *d)).collect(), cone.clone()),
        };
        Some(CriticalDirections { directions, cone })
    }
}

/// By how much D changes within a distance beside what the margin says: on the edges of power cones.
pub(crate) fn edge_change(cone: &Cone, v: &[f64], distance: f64) -> f64 {
    match cone {
        Cone::Power(a) => generalized_power::edge_change(&[*a, 1.0 - a], v, distance),
        Cone::GeneralizedPower(a, _) => generalized_power::edge_change(a, v, distance),
        _ => 0.0,
    }
}

/// What D turns with on a power cone beside its margin: near w = 0 it is only Hoelder continuous, and the boundary bends the more the
/// smaller an exponent is. Infinite for other cones.
pub(crate) fn cone_turn(cone: &Cone, v: &[f64]) -> f64 {
    let (least, count) = match cone {
        Cone::Power(a) => (a.min(1.0 - a), 2),
        Cone::GeneralizedPower(a, _) => (a.iter().copied().fold(0.5, f64::min), a.len()),
        _ => return f64::INFINITY,
    };
    let (u, w) = v.split_at(count);
    let length = dot(w, w).sqrt();
    2.0 * least * u.iter().fold(length, |size, u| size.min(u.abs()))
}

/// lambda uu' at zero dual, I - (1 - lambda) uu' at zero slack.
fn ray_block(cone: &Cone, unit: &[f64], kind: KinkKind, share: (f64, f64)) -> Block {
    let is_slack = kind == KinkKind::ZeroSlack;
    match (is_slack, share) {
        (true, (1.0, _)) => return Block::Identity(unit.len()),
        (false, (0.0, _)) => return Block::Vanishing(unit.len()),
        _ => {}
    }
    let others = if is_slack { (1.0, 0.0) } else { (0.0, 1.0) };
    if let Cone::SecondOrder(_) = cone {
        // u1 = (1, w)/sqrt 2 at zero dual, u0 = (1, -w)/sqrt 2 at zero slack.
        let sign = if is_slack { -1.0 } else { 1.0 };
        let w = unit[1..].iter().map(|x| sign * x / unit[0]).collect();
        let (along, against) = if is_slack {
            (others, share)
        } else {
            (share, others)
        };
        return Block::SecondOrder(SecondOrder::from_parts(w, along, others, against));
    }
    let mut spectral = Spectral::around(unit);
    spectral.set_value(0, share);
    for k in 1..unit.len() {
        spectral.set_value(k, others);
    }
    Block::Spectral(spectral)
}

/// lambda I on the rows of a cone.
pub(super) fn multiple(cone: &Cone, share: (f64, f64)) -> Block {
    let d = cone.rows();
    match cone {
        Cone::SecondOrder(_) if d > 1 => {
            let mut w = vec![0.0; d - 1];
            w[0] = 1.0;
            Block::SecondOrder(SecondOrder::from_parts(w, share, share, share))
        }
        Cone::PsdTriangle(k) => {
            let vectors = Mat::identity(*k, *k);
            Block::Psd(Psd::from_parts(*k, vectors, |_, _| share))
        }
        Cone::Zero(_) | Cone::Nonnegative(_) | Cone::SecondOrder(_) => Block::Diagonal(Diagonal {
            lambda: vec![share.0; d],
            colambda: vec![share.1; d],
        }),
        Cone::Exponential | Cone::Power(_) | Cone::GeneralizedPower(..) => {
            let mut spectral = Spectral::new(d);
            for k in 0..d {
                spectral.set_value(k, share);
            }
            Block::Spectral(spectral)
        }
    }
}

/// The kink of one block within `radius` of v, one radius for each row (equal in all but an orthant); `margin` is the block's.
fn block_kink(
    cone: &Cone,
    block: &Block,
    (v, z, s): (&[f64], &[f64], &[f64]),
    margin: f64,
    radius: &[f64],
) -> Option<BlockKink> {
    if let Cone::Nonnegative(_) = cone {
        let is_within = |&k: &usize| v[k].abs() <= radius[k];
        let rows: Vec<usize> = (0..v.len()).filter(is_within).collect();
        return (!rows.is_empty())
            .then(|| BlockKink::new(KinkKind::WeaklyActive, Shape::Rows(rows)));
    }
    let radius = *radius.first()?;
    if margin.is_nan() || margin > radius {
        return None;
    }
    let at = match cone {
        Cone::Zero(_) | Cone::Nonnegative(_) => None,
        Cone::SecondOrder(_) => second_order::kink(v, radius),
        Cone::PsdTriangle(k) => psd_kink::kink(*k, v, radius),
        Cone::Exponential => exponential::kink(block, v, z, s, radius),
        Cone::Power(a) => power::kink(*a, block, v, z, s, radius),
        Cone::GeneralizedPower(a, _) => generalized_power::kink(a, block, v, z, s, radius),
    };
    at.or_else(|| Some(BlockKink::new(KinkKind::Apex, Shape::Apex(v.len()))))
}

impl Projection {
    /// The blocks within `radius` of a kink (m radii), as (cone, kink).
    pub(crate) fn kinks_within(
        &self,
        cones: &[Cone],
        v: &[f64],
        radius: &[f64],
    ) -> Vec<(usize, BlockKink)> {
        let mut kinks = Vec::new();
        for (index, (cone, margin)) in cones.iter().zip(&self.margins).enumerate() {
            let rows = margin.rows.clone();
            let point = (
                &v[rows.clone()],
                &self.z[rows.clone()],
                &self.s[rows.clone()],
            );
            let (block, radius) = (&self.blocks[index], &radius[rows]);
            if let Some(kink) = block_kink(cone, block, point, margin.margin, radius) {
                kinks.push((index, kink));
            }
        }
        kinks
    }

    /// The same projection with another element of its Jacobian at each kink, one for each.
    pub(crate) fn with_elements(
        &self,
        cones: &[Cone],
        kinks: &[(usize, BlockKink)],
        elements: &[Element],
    ) -> Self {
        let mut out = self.clone();
        for (k, ((index, kink), element)) in kinks.iter().zip(elements).enumerate() {
            let mut random = Random::new(match element {
                Element::Random(seed) => seed.wrapping_add(k as u64),
                _ => 0,
            });
            let block = &self.blocks[*index];
            out.blocks[*index] = kink.element(&cones[*index], block, *element, &mut random);
        }
        out
    }
}
