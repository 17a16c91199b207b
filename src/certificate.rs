//! Is every element of the conservative Jacobian invertible? The hypothesis of the nonsmooth implicit function theorem.
//!
//! J(D) is singular iff some y != 0 with D y = y has A'y = 0, or some w != 0 with Pw = 0 has D A w = 0. Over all elements D the first
//! set is largest at the upper element of each kink, the second at the lower one:
//!
//! ```text
//! every J(D) invertible   <=>   J(upper) and J(lower) invertible
//! ```
//!
//! For orthants that is linear independence of the active gradients and the strong second-order condition; in general Robinson's
//! strong regularity. Without a kink the two coincide, and the derivative's own factorization is the test.
//!
//! # References
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Thm 2. Robinson,
//! Strongly regular generalized equations, 1980. Bonnans, Ramirez, Perturbation analysis of second-order cone programming problems,
//! 2005. Chan, Sun, Constraint nondegeneracy, strong regularity and nonsingularity in semidefinite programming, 2008.

use crate::cone::Cone;
use crate::error::{Error, Result};
use crate::linsolve::{Inspection, NullVector, Prepared, Structure};
use crate::program::ConeProgram;
use crate::projection::{BlockKink, Element, KinkKind, Projection};
use crate::residual::ResidualJacobian;
use crate::response::Responses;
use crate::selection::jacobian_at;
use crate::settings::LinearSettings;
use crate::tangent::norm_max;
use faer::{Mat, Side};
use std::sync::Arc;

/// A null vector's residual relative to the terms: above, it is none.
const NULL: f64 = 1e-7;

/// The part of a null vector below this share of the other is rounding.
const NEGLIGIBLE: f64 = 1e-6;

/// A vector's entries above this share of its largest are named.
const NAMED: f64 = 1e-6;

/// Steps along a witness relative to a block at a kink, and the share of a step by which rounding may leave the cone. A tangent
/// leaves a curved cone by about the square of the step, which is more.
const STEPS: [f64; 2] = [1e-2, 1e-4];
const LEAVES: f64 = 1e-9;

/// Why an element of the conservative Jacobian is singular.
///
/// ```
/// # use conediff::{Derivative, ProgramBuilder, Settings, solve};
/// # let mut builder = ProgramBuilder::new(2);
/// # builder.linear(0, -1.0);
/// # builder.bounds([0, 1], 0.0, 1.0);
/// # let program = builder.build()?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::Witness;
/// // minimize -x_0 over the unit square: nothing holds x_1
/// let report = derivative.regularity()?;
/// let Witness::Primal { direction, variables, residual } = &report.certificate.witnesses()[0] else { panic!() };
/// assert_eq!(variables, &[1]);
/// assert!(direction[0].abs() < 1e-9 && (direction[1].abs() - 1.0).abs() < 1e-9 && *residual < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Witness {
    /// w != 0 with Pw = 0 and s free along Aw: the objective is flat, to second order, in a direction that the active rows allow.
    Primal {
        /// w, n, largest entry 1.
        #[serde(with = "crate::exact::numbers")]
        direction: Vec<f64>,
        /// The variables that move, the largest first.
        variables: Vec<usize>,
        /// |Pw| and |D A w| relative to their terms.
        #[serde(with = "crate::exact::number")]
        residual: f64,
    },
    /// y != 0 with A'y = 0 on directions where s may be held: the active rows are dependent.
    Dual {
        /// y, m, largest entry 1.
        #[serde(with = "crate::exact::numbers")]
        direction: Vec<f64>,
        /// The rows that depend on each other, the largest first.
        rows: Vec<usize>,
        /// |A'y| and |y - D y| relative to their terms.
        #[serde(with = "crate::exact::number")]
        residual: f64,
    },
}

/// Kinks of up to this many directions are tested by solves instead of a factorization.
const FEW: usize = 4;

/// The relative residual of those solves, and the least eigenvalue of the scaled answers that leaves no doubt.
const RESPONSE: f64 = 1e-10;
const CLEAR: f64 = 1e-6;

/// The verdict on all elements of the conservative Jacobian.
///
/// ```
/// # use conediff::{Derivative, ProgramBuilder, Settings, solve};
/// # let mut builder = ProgramBuilder::new(1);
/// # builder.quadratic(0, 0, 1.0);
/// # builder.linear(0, -2.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # let program = builder.build()?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{Certificate, Witness};
/// // minimize 1/2 x^2 - 2 x subject to x <= 1, twice: both rows are active
/// let certificate: Certificate = derivative.regularity()?.certificate;
/// let Certificate::Failed { witnesses } = &certificate else { panic!("{certificate:?}") };
/// let depends = |w: &Witness| matches!(w, Witness::Dual { rows, .. } if rows.len() == 2);
/// assert!(witnesses.iter().any(depends) && !certificate.is_certified());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Certificate {
    /// All are invertible: the solution map is Lipschitz near this point and path differentiable, and every selection's derivative is an
    /// element of one conservative Jacobian of it. Without a kink the map is differentiable.
    Certified,
    /// Some element is singular.
    Failed {
        /// Why: at least one of a primal and a dual vector, unless the linear solver keeps none.
        witnesses: Vec<Witness>,
    },
    /// On an edge of an exponential or power cone only a superset of the elements is known, and one in it is singular; or, within a
    /// radius, curved blocks may turn by more than the least singular value leaves room for.
    Unknown {
        /// What is singular there.
        witnesses: Vec<Witness>,
    },
}

impl Certificate {
    /// True if every element is invertible.
    pub fn is_certified(&self) -> bool {
        matches!(self, Certificate::Certified)
    }

    /// Why not.
    pub fn witnesses(&self) -> &[Witness] {
        match self {
            Certificate::Certified => &[],
            Certificate::Failed { witnesses } | Certificate::Unknown { witnesses } => witnesses,
        }
    }
}

/// What is known about a part of the solution being the only one.
///
/// ```
/// # use conediff::{Derivative, ProgramBuilder, Settings, solve};
/// # let mut builder = ProgramBuilder::new(2);
/// # builder.linear(0, -1.0);
/// # builder.bounds([0, 1], 0.0, 1.0);
/// # let program = builder.build()?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::Uniqueness;
/// // minimize -x_0 over the unit square: any x_1 will do, with the same multipliers
/// let report = derivative.regularity()?;
/// assert_eq!((report.primal, report.dual), (Uniqueness::NotUnique, Uniqueness::Unique));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Uniqueness {
    /// No other: the rank test that excludes one holds.
    Unique,
    /// There are others along the witness.
    NotUnique,
    /// The rank test fails only along directions of which the kinks allow at most a part.
    Unknown,
}

/// The certificate with what the two rank tests say by themselves.
#[derive(Debug, Clone)]
pub(crate) struct Examination {
    pub(crate) certificate: Certificate,
    pub(crate) primal: Uniqueness,
    pub(crate) dual: Uniqueness,
}

/// J at both extremes of the kinks, as far as they were factored.
pub(crate) struct Extremes<'a> {
    pub(crate) structure: &'a Arc<Structure>,
    pub(crate) settings: LinearSettings,
    /// J at some element, and its factorization.
    pub(crate) jacobian: &'a ResidualJacobian,
    pub(crate) prepared: &'a Prepared,
    /// The element the factorization is at, if it is one of the two.
    pub(crate) element: Option<Element>,
    pub(crate) kinks: &'a [(usize, BlockKink)],
}

/// A null vector's part, and the element it was found at; no part where a singular matrix keeps none.
struct Found {
    element: Element,
    witness: Option<Witness>,
}

impl Extremes<'_> {
    /// The rank tests: at most two factorizations, none without a kink.
    pub(crate) fn examine(&self) -> Result<Examination> {
        let mut found = Vec::new();
        if self.kinks.is_empty() {
            self.add(Element::Lower, self.jacobian, self.prepared, &mut found)?;
            return Ok(self.conclude(&found));
        }
        for element in [Element::Lower, Element::Upper] {
            if self.element == Some(element) {
                self.add(element, self.jacobian, self.prepared, &mut found)?;
                continue;
            }
            if element == Element::Upper
                && let Some(witness) = self.by_responses()?
            {
                let element = Element::Upper;
                found.extend(witness.map(|w| Found {
                    element,
                    witness: Some(w),
                }));
                continue;
            }
            let jacobian = self.jacobian_at(element);
            let is_decided = match Prepared::inspect(self.structure, &jacobian, self.settings)? {
                Inspection::Regular => continue,
                // A vector that is null decides; without one a better method has to.
                Inspection::Null(vector) => add_vector(element, &jacobian, &vector, &mut found)?,
                Inspection::Unclear => false,
            };
            if !is_decided {
                match Prepared::with_structure(self.structure, &jacobian, self.settings) {
                    Ok(prepared) => self.add(element, &jacobian, &prepared, &mut found)?,
                    // LU breaks down at singular matrices, and keeps no vector.
                    Err(Error::Factorization { .. }) => found.push(Found {
                        element,
                        witness: None,
                    }),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.conclude(&found))
    }

    /// The upper element's test by the lower one's factorization, for kinks of few directions: `Some(None)` if it is invertible, a
    /// witness if it is singular, `None` if that is not clear or not worth its solves.
    fn by_responses(&self) -> Result<Option<Option<Witness>>> {
        let count: usize = self.kinks.iter().map(|(_, kink)| kink.directions()).sum();
        if count > FEW || self.element != Some(Element::Lower) || self.prepared.is_singular() {
            return Ok(None);
        }
        let responses = Responses::new(self.jacobian, self.prepared, self.kinks, RESPONSE)?;
        let Some(responses) = responses else {
            return Ok(None);
        };
        let schur = responses.schur();
        let n = self.jacobian.program().n();
        // Each direction's answer beside the largest of what it moves.
        let root: Vec<f64> = (0..count)
            .map(|k| responses.size(k).max(schur[(k, k)]).sqrt())
            .collect();
        let scaled = Mat::from_fn(count, count, |i, j| schur[(i, j)] / (root[i] * root[j]));
        let Ok(eigen) = scaled.self_adjoint_eigen(Side::Lower) else {
            return Ok(None);
        };
        // Ascending.
        if eigen.S().column_vector()[0] > CLEAR {
            return Ok(Some(None));
        }
        let zeta: Vec<f64> = (0..count).map(|i| eigen.U()[(i, 0)] / root[i]).collect();
        let mut y = vec![0.0; self.jacobian.program().m()];
        let combined = responses.combine(&zeta);
        self.jacobian.projection().apply(&combined[n..], &mut y)?;
        for y in &mut y {
            *y = -*y;
        }
        responses.add_directions(&zeta, &mut y);
        Ok(dual_witness(&self.jacobian_at(Element::Upper), &y)?.map(Some))
    }

    pub(crate) fn jacobian_at(&self, element: Element) -> ResidualJacobian {
        jacobian_at(self.jacobian, self.kinks, &vec![element; self.kinks.len()])
    }

    /// Adds what a singular matrix has to say.
    fn add(
        &self,
        element: Element,
        jacobian: &ResidualJacobian,
        prepared: &Prepared,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        if !prepared.is_singular() {
            return Ok(());
        }
        let is_told = match prepared.null_vector() {
            Some(vector) => add_vector(element, jacobian, &vector, found)?,
            None => false,
        };
        if !is_told {
            found.push(Found {
                element,
                witness: None,
            });
        }
        Ok(())
    }

    fn conclude(&self, found: &[Found]) -> Examination {
        let witnesses: Vec<Witness> = found.iter().filter_map(|f| f.witness.clone()).collect();
        let is_lost = witnesses.len() < found.len();
        let verdict = |is_primal: bool| {
            let is_own = |w: &&Witness| matches!(w, Witness::Primal { .. }) == is_primal;
            if witnesses
                .iter()
                .filter(is_own)
                .any(|w| self.moves_within_kinks(w))
            {
                Uniqueness::NotUnique
            } else if is_lost || witnesses.iter().any(|w| is_own(&w)) {
                Uniqueness::Unknown
            } else {
                Uniqueness::Unique
            }
        };
        let (primal, dual) = (verdict(true), verdict(false));
        // What is null at the smaller of the two eigenspaces is null for every element.
        let is_common = |f: &Found| match &f.witness {
            Some(Witness::Primal { .. }) => f.element == Element::Upper,
            Some(Witness::Dual { .. }) => f.element == Element::Lower,
            None => false,
        };
        let certificate = if found.is_empty() {
            Certificate::Certified
        } else if self.kinks.iter().all(|(_, kink)| kink.is_exact) || found.iter().any(is_common) {
            Certificate::Failed { witnesses }
        } else {
            Certificate::Unknown { witnesses }
        };
        Examination {
            certificate,
            primal,
            dual,
        }
    }

    /// True if solutions can move along a witness, one way or the other: at a kink only into the cone, and a tangent of a curved boundary
    /// leaves it.
    fn moves_within_kinks(&self, witness: &Witness) -> bool {
        let program = self.jacobian.program();
        let projection = self.jacobian.projection();
        let (change, is_primal) = match witness {
            Witness::Primal { direction, .. } => {
                let mut change = vec![0.0; program.m()];
                program
                    .effective_a()
                    .multiply_add(-1.0, direction, &mut change);
                (change, true)
            }
            Witness::Dual { direction, .. } => (direction.clone(), false),
        };
        let moving = if is_primal {
            projection.s()
        } else {
            projection.z()
        };
        let least = LEAVES * norm_max(&change);
        [1.0, -1.0].iter().any(|sign| {
            self.kinks.iter().all(|(index, kink)| {
                let rows = projection.margins()[*index].rows.clone();
                let (change, start) = (&change[rows.clone()], &moving[rows.clone()]);
                let cone = &program.cones()[*index];
                if let Cone::Nonnegative(d) = cone {
                    return kink.rows(*d).iter().all(|&i| sign * change[i] >= -least);
                }
                if norm_max(change) <= least {
                    return true;
                }
                let along = |from: f64, size: f64| {
                    let factor = sign * size / norm_max(change);
                    let both = start.iter().zip(change);
                    let there: Vec<f64> = both.map(|(a, c)| from * a + factor * c).collect();
                    is_in(cone, &there, is_primal, LEAVES * size)
                };
                if kink.kind == KinkKind::Apex {
                    return along(0.0, 1.0);
                }
                // What stays in the cone for one step does for shorter ones.
                let (z, s) = (&projection.z()[rows.clone()], &projection.s()[rows]);
                let size = norm_max(z).max(norm_max(s));
                STEPS.iter().any(|step| along(1.0, step * size))
            })
        })
    }
}

/// Adds the parts of a null vector that are null vectors of the largest eigenspaces, as both are; false if neither is.
fn add_vector(
    element: Element,
    jacobian: &ResidualJacobian,
    vector: &NullVector,
    found: &mut Vec<Found>,
) -> Result<bool> {
    let primal = primal_witness(jacobian, &vector.w)?;
    let dual = dual_witness(jacobian, &vector.y)?;
    if primal.is_none() && dual.is_none() {
        return Ok(false);
    }
    // Generic null vectors have both parts, if there are two: one that is no null vector and not small is one that rounding spoiled.
    let (of_w, of_y) = (norm_max(&vector.w), norm_max(&vector.y));
    let is_spoiled =
        |part: &Option<Witness>, size: f64, other: f64| part.is_none() && size > NEGLIGIBLE * other;
    let is_lost = is_spoiled(&primal, of_w, of_y) || is_spoiled(&dual, of_y, of_w);
    let mut parts = vec![primal, dual];
    parts.retain(Option::is_some);
    if is_lost {
        parts.push(None);
    }
    found.extend(parts.into_iter().map(|witness| Found { element, witness }));
    Ok(true)
}

/// True if a vector is in the cone (or in its dual) up to a tolerance.
fn is_in(cone: &Cone, u: &[f64], is_primal: bool, tolerance: f64) -> bool {
    // Projection is onto the dual: u in K* iff s = 0, and u in K iff -u projects to zero.
    let v: Vec<f64> = if is_primal {
        u.iter().map(|u| -u).collect()
    } else {
        u.to_vec()
    };
    let Ok(projection) = Projection::new(std::slice::from_ref(cone), &v) else {
        return false;
    };
    let outside = if is_primal {
        projection.z()
    } else {
        projection.s()
    };
    norm_max(outside) <= tolerance
}

/// The sizes of A's columns and, in units of those, of its rows: what a residual is small beside does not depend on units.
struct Sizes {
    columns: Vec<f64>,
    rows: Vec<f64>,
}

impl Sizes {
    fn of(program: &ConeProgram) -> Self {
        let (p, a) = (program.p(), program.effective_a());
        let mut columns = vec![0.0; program.n()];
        let mut rows = vec![0.0_f64; program.m()];
        for (j, size) in columns.iter_mut().enumerate() {
            *size = norm_max(a.column(j).1);
            if *size == 0.0 {
                // A variable of the objective alone; P's diagonal is the column's last entry.
                *size = norm_max(p.column(j).1).sqrt();
            }
            if *size == 0.0 {
                *size = 1.0;
            }
            let (indices, values) = a.column(j);
            for (&i, value) in indices.iter().zip(values) {
                rows[i] = rows[i].max(value.abs() / *size);
            }
        }
        for size in rows.iter_mut().filter(|size| **size == 0.0) {
            *size = 1.0;
        }
        Self { columns, rows }
    }
}

fn largest_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a * b).abs()))
}

fn largest_quotient(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a / b).abs()))
}

/// w, if it is a null vector: |Pw| and |D A w| small beside their terms.
fn primal_witness(jacobian: &ResidualJacobian, w: &[f64]) -> Result<Option<Witness>> {
    let Some(w) = scaled(w) else { return Ok(None) };
    let program = jacobian.program();
    let (p, a) = (program.p(), program.effective_a());
    let sizes = Sizes::of(program);
    let mut pw = vec![0.0; program.n()];
    p.multiply_symmetric_add(1.0, &w, &mut pw);
    let mut aw = vec![0.0; program.m()];
    a.multiply_add(1.0, &w, &mut aw);
    let mut held = vec![0.0; program.m()];
    jacobian.projection().apply(&aw, &mut held)?;
    let mut size_of_p = 0.0_f64;
    for (j, size) in sizes.columns.iter().enumerate() {
        let (indices, values) = p.column(j);
        for (&i, value) in indices.iter().zip(values) {
            size_of_p = size_of_p.max(value.abs() / (size * sizes.columns[i]));
        }
    }
    let size = largest_product(&w, &sizes.columns);
    let residual = relative(largest_quotient(&pw, &sizes.columns), size * size_of_p)
        .max(relative(largest_quotient(&held, &sizes.rows), size));
    Ok((residual <= NULL).then(|| Witness::Primal {
        variables: named(&w),
        direction: w,
        residual,
    }))
}

/// y, if it is a null vector: |A'y| and |y - D y| small beside their terms.
fn dual_witness(jacobian: &ResidualJacobian, y: &[f64]) -> Result<Option<Witness>> {
    let Some(y) = scaled(y) else { return Ok(None) };
    let program = jacobian.program();
    let sizes = Sizes::of(program);
    let mut ay = vec![0.0; program.n()];
    let a = program.effective_a();
    a.multiply_transpose_add(1.0, &y, &mut ay);
    let mut moving = vec![0.0; program.m()];
    jacobian.projection().apply_complement(&y, &mut moving)?;
    let size = largest_product(&y, &sizes.rows);
    let residual = relative(largest_quotient(&ay, &sizes.columns), size)
        .max(relative(largest_product(&moving, &sizes.rows), size));
    Ok((residual <= NULL).then(|| Witness::Dual {
        rows: named(&y),
        direction: y,
        residual,
    }))
}

fn relative(value: f64, size: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value / size }
}

/// Largest entry 1; `None` for zero or what is not finite.
fn scaled(u: &[f64]) -> Option<Vec<f64>> {
    let largest = u
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()))?;
    (largest != 0.0 && largest.is_finite()).then(|| u.iter().map(|x| x / largest).collect())
}

fn named(u: &[f64]) -> Vec<usize> {
    let mut named: Vec<usize> = (0..u.len()).filter(|&i| u[i].abs() > NAMED).collect();
    named.sort_by(|&i, &j| u[j].abs().total_cmp(&u[i].abs()));
    named
}
