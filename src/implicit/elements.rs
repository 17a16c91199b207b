//! What is known of all elements B beside the one given, and what follows from it.

use super::family::{Decomposed, FamilyCertificate, SINGULAR, SelectionFamily, SingularElement};
use crate::error::Result;
use crate::jacobian::DenseMatrix;
use crate::limit;
use crate::linsolve::Square;
use crate::program::check_length;
use crate::settings::check_positive;
use crate::spectrum::{least_eigenvalue, singular_values, spectral_norm, to_mat};
use faer::Mat;
use faer::linalg::solvers::Solve;

/// Above this order no dense eigenvalues are computed.
const DENSE: usize = 2000;

/// A monotonicity bound below this share of the matrix's size is rounding.
const ROUNDING: f64 = 1e-10;

/// A null vector that leaves more than this is none.
const NULL: f64 = 1e-10;

/// The elements B that the conservative Jacobian of F has at a point.
///
/// ```
/// # use conediff::{DenseMatrix, ImplicitFunction, Linearization, Settings};
/// # let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// # let at = Linearization { y: vec![0.0], f: vec![0.0], a: scalar(-1.0), b: scalar(1.0).to_sparse("B")? };
/// use conediff::{Elements, Invertibility};
/// // F(x, y) = y + max(y, 0) - x at its kink: B is in [1, 2], so F is strongly monotone in y
/// let elements = Elements::StronglyMonotone { modulus: 1.0 };
/// let function = ImplicitFunction::new(at.clone(), &elements, &Settings::default())?;
/// assert_eq!(function.invertibility(), &Invertibility::Bounded { least_singular_value: 1.0 });
/// // One of several elements is flagged; said to be the only one, it is taken for the derivative.
/// assert!(!function.jvp(&[1.0])?.trusted);
/// assert!(ImplicitFunction::new(at, &Elements::Single, &Settings::default())?.jvp(&[1.0])?.trusted);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Elements {
    /// One: F is continuously differentiable there.
    Single,
    /// A box of rank-one terms, bounds of entries among them ([`SelectionFamily::between`]). Decided exactly, by determinants.
    Family(SelectionFamily),
    /// The convex hull of these (n x n) and the one given. Certified if S B + (S B)' is positive definite at each of them, and so on
    /// their hull, for S = I, -I or the inverse of their mean; refuted if two determinants have opposite signs. Vertices that are
    /// merely invertible certify nothing.
    Hull(Vec<DenseMatrix>),
    /// A monotone splitting B = I - D (I - M) with this M and any D with <Dw, w - Dw> >= 0 (symmetric, 0 <= D <= I): F(x, y) =
    /// y - prox(y - M y + ...) for a proximal map. With <My, y> >= mu |y|^2, mu > 0, the least singular value is at least
    /// mu / (1 + |M|).
    Splitting(DenseMatrix),
    /// <By, y> >= mu |y|^2 for every element: F is strongly monotone in y with this modulus, as the caller knows.
    StronglyMonotone {
        /// mu, positive.
        modulus: f64,
    },
}

/// Whether every element B is invertible.
///
/// ```
/// # use conediff::{DenseMatrix, ImplicitFunction, Linearization, SelectionFamily, Settings};
/// # let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// # let at = Linearization { y: vec![0.0], f: vec![0.0], a: scalar(1.0), b: scalar(1.0).to_sparse("B")? };
/// use conediff::{Elements, Invertibility};
/// // F(x, y) = x + |y| at 0: B is in [-1, 1], and x > 0 has no y at all
/// let elements = Elements::Family(SelectionFamily::between(&scalar(-1.0), &scalar(1.0))?);
/// let function = ImplicitFunction::new(at, &elements, &Settings::default())?;
/// assert!(matches!(function.invertibility(), Invertibility::Refuted(found) if found.null_vector == [1.0]));
/// assert!(!function.invertibility().is_certified());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Invertibility {
    /// The only element is.
    Single,
    /// All are: their determinants have one sign.
    Determinants {
        /// The smallest over the largest.
        #[serde(with = "crate::exact::number")]
        ratio: f64,
    },
    /// All are: two rank tests hold, of a variational inequality's symmetric part.
    RankTests,
    /// All are: no singular value is smaller than this.
    Bounded {
        /// The bound, positive.
        #[serde(with = "crate::exact::number")]
        least_singular_value: f64,
    },
    /// One is singular. For a hull, `lambda` are its weights, that of the element given the last.
    Refuted(SingularElement),
    /// Not certified.
    Unknown {
        /// What is in the way.
        reason: &'static str,
    },
}

impl Invertibility {
    /// True if every element is invertible.
    pub fn is_certified(&self) -> bool {
        matches!(
            self,
            Self::Single | Self::Determinants { .. } | Self::RankTests | Self::Bounded { .. }
        )
    }

    /// What is in the way.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        match self {
            Self::Refuted(_) => Some("one of them is singular"),
            Self::Unknown { reason } => Some(reason),
            _ => None,
        }
    }
}

const CONTRADICTION: Invertibility = Invertibility::Unknown {
    reason: "the element given contradicts the bound",
};

impl Elements {
    /// True if there is more than one.
    pub(super) fn are_several(&self) -> bool {
        match self {
            Self::Single => false,
            Self::Family(family) => family.is_ambiguous(),
            Self::Hull(vertices) => !vertices.is_empty(),
            Self::Splitting(_) | Self::StronglyMonotone { .. } => true,
        }
    }

    /// Tests all elements, given one of them. O(n^3), and what [`SelectionFamily::certify`] takes.
    pub(super) fn certify(&self, given: &Square) -> Result<Invertibility> {
        let n = given.dim();
        match self {
            Self::Single if given.is_singular() => Ok(Invertibility::Unknown {
                reason: "the only one is singular",
            }),
            Self::Single => Ok(Invertibility::Single),
            Self::Family(family) => {
                check_length("order of the family", n, family.dim())?;
                Ok(match family.certify()? {
                    FamilyCertificate::Certified { ratio } => Invertibility::Determinants { ratio },
                    FamilyCertificate::NotCertified(found) => Invertibility::Refuted(found),
                    FamilyCertificate::TooMany { .. } => Invertibility::Unknown {
                        reason: "too many terms for the test of determinants",
                    },
                })
            }
            Self::Hull(vertices) => {
                for vertex in vertices {
                    check_square(vertex, n)?;
                }
                if n > DENSE {
                    return Ok(TOO_LARGE);
                }
                let all: Vec<Mat<f64>> = vertices.iter().map(to_mat).chain([full(given)]).collect();
                hull(&all)
            }
            Self::Splitting(operator) => {
                check_square(operator, n)?;
                if n > DENSE {
                    return Ok(TOO_LARGE);
                }
                let operator = to_mat(operator);
                let (modulus, size) = (least_eigenvalue(&operator)?, spectral_norm(&operator)?);
                if modulus.is_nan() || modulus <= ROUNDING * size {
                    return Ok(Invertibility::Unknown {
                        reason: "the splitting's operator is not strongly monotone",
                    });
                }
                let bound = modulus / (1.0 + size);
                let least = singular_values(&full(given))?.last().copied();
                Ok(if least.is_some_and(|least| least < 0.999 * bound) {
                    CONTRADICTION
                } else {
                    bounded(bound)
                })
            }
            Self::StronglyMonotone { modulus } => {
                check_positive("modulus", *modulus)?;
                if n > DENSE {
                    return Ok(bounded(*modulus));
                }
                let given = full(given);
                let slack = ROUNDING * spectral_norm(&given)?;
                Ok(if n > 0 && least_eigenvalue(&given)? + slack < *modulus {
                    CONTRADICTION
                } else {
                    bounded(*modulus)
                })
            }
        }
    }
}

const TOO_LARGE: Invertibility = Invertibility::Unknown {
    reason: "more than 2000 unknowns",
};

fn bounded(least_singular_value: f64) -> Invertibility {
    Invertibility::Bounded {
        least_singular_value,
    }
}

fn check_square(matrix: &DenseMatrix, n: usize) -> Result<()> {
    check_length("rows of an element", n, matrix.rows)?;
    check_length("columns of an element", n, matrix.cols)?;
    matrix.check("an element")
}

fn full(square: &Square) -> Mat<f64> {
    let n = square.dim();
    let mut out = Mat::zeros(n, n);
    for j in 0..n {
        let (rows, values) = square.matrix().column(j);
        for (&i, &v) in rows.iter().zip(values) {
            out[(i, j)] = v;
        }
    }
    out
}

/// The convex hull of some matrices, the last of them given.
fn hull(all: &[Mat<f64>]) -> Result<Invertibility> {
    let n = all.first().map_or(0, Mat::nrows);
    if n == 0 {
        return Ok(Invertibility::Single);
    }
    for sign in [1.0, -1.0] {
        let signed: Vec<Mat<f64>> = all.iter().map(|v| faer::Scale(sign) * v).collect();
        if let Some(modulus) = common_modulus(&signed)? {
            return Ok(bounded(modulus));
        }
    }
    let weight = 1.0 / all.len() as f64;
    let mean = Mat::from_fn(n, n, |i, j| all.iter().map(|v| weight * v[(i, j)]).sum());
    let values = singular_values(&mean)?;
    let least = values.last().copied().unwrap_or(0.0);
    if least > SINGULAR * values.first().copied().unwrap_or(0.0) {
        let lu = mean.partial_piv_lu();
        let relative: Vec<Mat<f64>> = all.iter().map(|v| lu.solve(v)).collect();
        if let Some(modulus) = common_modulus(&relative)? {
            return Ok(bounded(modulus * least));
        }
    }
    opposite_signs(all)
}

/// The least eigenvalue of any symmetric part, if it is positive beyond rounding.
fn common_modulus(all: &[Mat<f64>]) -> Result<Option<f64>> {
    let mut least = f64::INFINITY;
    for matrix in all {
        limit::check("an eigenvalue decomposition")?;
        let modulus = least_eigenvalue(matrix)?;
        if modulus.is_nan() || modulus <= ROUNDING * matrix.norm_max() {
            return Ok(None);
        }
        least = least.min(modulus);
    }
    Ok(Some(least))
}

/// A singular element: a vertex, or on the segment between two vertices whose determinants have opposite signs.
fn opposite_signs(all: &[Mat<f64>]) -> Result<Invertibility> {
    let vertex = |k: usize| {
        let mut weights = vec![0.0; all.len()];
        weights[k] = 1.0;
        weights
    };
    let mut first: Option<(usize, f64)> = None;
    for k in 0..all.len() {
        let here = combination(all, &vertex(k))?;
        let sign = here.orientation();
        if sign == 0.0 {
            return Ok(refuted(vertex(k), None, &here));
        }
        let (start, of_start) = *first.get_or_insert((k, sign));
        if sign == of_start {
            continue;
        }
        // The determinant vanishes in between.
        let (mut low, mut high) = (0.0, 1.0);
        loop {
            let middle = 0.5 * (low + high);
            let mut weights = vertex(start);
            (weights[start], weights[k]) = (1.0 - middle, middle);
            let there = combination(all, &weights)?;
            let sign = there.orientation();
            if sign == 0.0 || high - low <= f64::EPSILON {
                return Ok(refuted(weights, Some([vertex(start), vertex(k)]), &there));
            }
            if sign == of_start {
                low = middle;
            } else {
                high = middle;
            }
        }
    }
    Ok(Invertibility::Unknown {
        reason: "the elements have no common structure that would cover their hull",
    })
}

fn combination(all: &[Mat<f64>], weights: &[f64]) -> Result<Decomposed> {
    limit::check("a singular value decomposition")?;
    let n = all.first().map_or(0, Mat::nrows);
    let sum = |f: fn(f64) -> f64| {
        let entry = |k: usize| {
            let parts = all.iter().zip(weights);
            parts.map(|(v, w)| w * f(v[(k % n, k / n)])).sum()
        };
        DenseMatrix {
            rows: n,
            cols: n,
            data: (0..n * n).map(entry).collect(),
        }
    };
    Decomposed::new(&sum(|x| x), &sum(f64::abs))
}

fn refuted(
    lambda: Vec<f64>,
    opposite: Option<[Vec<f64>; 2]>,
    element: &Decomposed,
) -> Invertibility {
    let (null_vector, residual) = element.null_vector();
    if residual > NULL {
        return Invertibility::Unknown {
            reason: "determinants of opposite signs, but no singular element was found",
        };
    }
    Invertibility::Refuted(SingularElement {
        lambda,
        null_vector,
        residual,
        opposite,
    })
}
