//! What a gradient means at a point: the report.

use crate::certificate::{Certificate, Uniqueness, Witness};
use crate::cone::Cone;
use crate::derivative::Derivative;
use crate::error::{Error, Result};
use crate::kink::{Kink, Warning, describe};
use crate::limit;
use crate::linsolve::Prepared;
use crate::meaning::Meaning;
use crate::program::ConeProgram;
use crate::projection::{Block, BlockKink, Element, Margin, cone_turn};
use crate::settings::Settings;
use crate::solution::Solution;
use std::fmt;

/// D of a second-order or PSD block changes by at most this times |dv| over the distance to its kinks.
const TURN: f64 = 4.0;

/// The largest estimate of |J^-1| from three steps of power iteration is at most this factor too small, with some care.
const ESTIMATE: f64 = 3.0;

/// Entries of a list that are printed.
const SHOWN: usize = 6;

/// The structure in which the program's projection is definable: path differentiability, and with it every statement of the report,
/// holds in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Definability {
    /// Zero, nonnegative, second-order and PSD cones, and powers with rational exponents of denominator up to 1000.
    Semialgebraic,
    /// Exponential cones and other powers: definable in the real field with the exponential function.
    RExp,
}

impl Definability {
    /// The class of a product of cones.
    ///
    /// ```
    /// use conediff::{Cone, Definability};
    /// assert_eq!(Definability::of(&[Cone::PsdTriangle(3), Cone::Power(0.25)]), Definability::Semialgebraic);
    /// assert_eq!(Definability::of(&[Cone::Exponential]), Definability::RExp);
    /// ```
    pub fn of(cones: &[Cone]) -> Self {
        let is_semialgebraic = |cone: &Cone| match cone {
            Cone::Exponential => false,
            Cone::Power(a) => is_rational(*a),
            Cone::GeneralizedPower(a, _) => a.iter().all(|a| is_rational(*a)),
            _ => true,
        };
        if cones.iter().all(is_semialgebraic) {
            Definability::Semialgebraic
        } else {
            Definability::RExp
        }
    }
}

/// Within rounding of a fraction with a denominator up to 1000.
fn is_rational(a: f64) -> bool {
    (1..=1000).any(|d| {
        let d = f64::from(d);
        (a * d - (a * d).round()).abs() <= 2.0 * f64::EPSILON * a * d
    })
}

/// What a gradient means at a point: kinks, uniqueness, and whether every element of the conservative Jacobian is invertible.
///
/// ```
/// use conediff::{Derivative, ProgramBuilder, Settings, solve};
/// // minimize 1/2 x^2 subject to x >= 0: the bound is active and its multiplier zero
/// let mut builder = ProgramBuilder::new(1);
/// builder.quadratic(0, 0, 1.0);
/// builder.bounds([0], 0.0, f64::INFINITY);
/// let program = builder.build()?;
/// let settings = Settings::default();
/// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// let report = derivative.regularity()?;
/// assert!(!report.strict_complementarity && report.kinks[0].rows == [0]);
/// // Not differentiable there, and yet every selection is an element of one conservative Jacobian.
/// assert!(report.is_certified());
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Thm 2.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Regularity {
    /// The report is for every solution whose v = z - s is within this distance, in each entry; 0 for the point itself, up to its error.
    #[serde(with = "crate::exact::number")]
    pub radius: f64,
    /// The distance of v to the nearest kink of each cone.
    pub margins: Vec<Margin>,
    /// Blocks that cannot be told from a kink, or may switch within the radius.
    pub kinks: Vec<Kink>,
    /// True if z and s do not vanish together along any direction: no kink.
    pub strict_complementarity: bool,
    /// Whether x (and s) are the only ones, at the worst point within the radius.
    pub primal: Uniqueness,
    /// Whether z is the only one, there.
    pub dual: Uniqueness,
    /// Whether every element of the conservative Jacobian is invertible.
    pub certificate: Certificate,
    /// Whether the point is a solution to the accuracy the settings ask for. Where it is not, nothing above holds for one.
    pub is_solution: bool,
    /// The estimated relative error of the point; NaN at a singular point, where no Newton step tells it.
    #[serde(with = "crate::exact::number")]
    pub point_error: f64,
    /// The condition estimate of the linear system at the element taken.
    #[serde(with = "crate::exact::number")]
    pub condition: f64,
    /// What the derivatives taken here are.
    pub meaning: Meaning,
    /// The class of the projection.
    pub definability: Definability,
}

impl Regularity {
    /// True if the point is a solution and every element of the conservative Jacobian is invertible there: the solution map is Lipschitz
    /// nearby, and what the derivatives give is conservative for it.
    pub fn is_certified(&self) -> bool {
        self.is_solution && self.certificate.is_certified()
    }

    /// The least margin over the cones; infinite without curved or inequality rows.
    pub fn margin(&self) -> f64 {
        let margins = self.margins.iter().map(|m| m.margin);
        margins.fold(f64::INFINITY, f64::min)
    }
}

impl Derivative {
    /// The report at the point.
    ///
    /// ```
    /// use conediff::{Certificate, Cone, ConeProgram, Definability, Derivative, Settings, Uniqueness, Witness, solve};
    /// // minimize 1/2 x^2 - x subject to x <= 1/2, twice: only the sum of the two multipliers is known
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 2], &[0, 1], &[1.0, 1.0]), vec![0.5, 0.5],
    ///     vec![Cone::Nonnegative(2)],
    /// )?;
    /// let settings = Settings::default();
    /// let report = Derivative::new(&program, &solve(&program, &settings)?, &settings)?.regularity()?;
    /// assert_eq!((report.primal, report.dual), (Uniqueness::Unique, Uniqueness::NotUnique));
    /// assert!(matches!(report.certificate, Certificate::Failed { .. }));
    /// let witness = &report.certificate.witnesses()[0];
    /// assert!(matches!(witness, Witness::Dual { rows, .. } if rows.len() == 2));
    /// assert_eq!(report.definability, Definability::Semialgebraic);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// Cost: O(m) without a kink. With one, for kinks of up to four directions together a solve each; beyond, a factorization and three
    /// solves without refinement, more where singular values as small as the regularization hide the null vector; a second factorization
    /// where the element taken is neither the inactive nor the active one.
    ///
    /// # Errors
    /// [`Error::Factorization`], [`Error::TooLarge`].
    pub fn regularity(&self) -> Result<Regularity> {
        self.report(0.0, &self.blocks)
    }

    /// The report for every solution within eps: its v = z - s differs by at most eps in each entry. Blocks that may switch within eps
    /// are taken as kinks. For polyhedral programs that is all; on curved blocks the eigenspaces turn, by at most 4 eps over the
    /// margin, and the certificate also asks that the least singular value leaves room for that (exact bounds for second-order and
    /// PSD cones; estimates for exponential and power cones, which on a power cone's edge w = 0 leave no room for any eps).
    ///
    /// # Errors
    /// [`Error::Setting`] unless eps >= 0; those of [`Derivative::regularity`].
    pub fn regularity_within(&self, eps: f64) -> Result<Regularity> {
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(Error::Setting {
                name: "eps",
                value: eps,
                allowed: "nonnegative and finite",
            });
        }
        // Radii of curved blocks are Euclidean.
        let mut radius = self.radius.clone();
        for margin in self.projection().margins() {
            let is_orthant = matches!(
                self.program().cones()[margin.cone],
                Cone::Zero(_) | Cone::Nonnegative(_)
            );
            let rows = margin.rows.clone();
            let norm = if is_orthant {
                eps
            } else {
                eps * (rows.len() as f64).sqrt()
            };
            for r in &mut radius[rows] {
                *r = r.max(norm);
            }
        }
        let kinks = self
            .projection()
            .kinks_within(self.program().cones(), &self.v(), &radius);
        let mut report = self.report(eps, &kinks)?;
        if report.certificate.is_certified() {
            let turn = self.turn(&kinks, eps);
            if turn > 0.0 && !self.leaves_room(&kinks, turn)? {
                report.certificate = Certificate::Unknown {
                    witnesses: Vec::new(),
                };
            }
        }
        Ok(report)
    }

    fn report(&self, radius: f64, kinks: &[(usize, BlockKink)]) -> Result<Regularity> {
        limit::check("the rank tests")?;
        let examination = self.extremes(kinks).examine()?;
        let is_doubtful =
            |w: &Warning| matches!(w, Warning::NotRefined { .. } | Warning::PointError { .. });
        Ok(Regularity {
            radius,
            margins: self.projection().margins().to_vec(),
            kinks: describe(kinks, &self.v(), self.projection()),
            strict_complementarity: kinks.is_empty(),
            primal: examination.primal,
            dual: examination.dual,
            certificate: examination.certificate,
            is_solution: !self.warnings().iter().any(is_doubtful),
            point_error: self.point_error(),
            condition: self.condition(),
            meaning: self.meaning(),
            definability: Definability::of(self.program().cones()),
        })
    }

    /// How far D can turn within eps, beside what the kinks allow it.
    fn turn(&self, kinks: &[(usize, BlockKink)], eps: f64) -> f64 {
        let (projection, v) = (self.projection(), self.v());
        let mut turn = 0.0_f64;
        for (block, margin) in projection.blocks().iter().zip(projection.margins()) {
            let is_curved = matches!(
                block,
                Block::SecondOrder(_) | Block::Psd(_) | Block::Spectral(_)
            );
            let kink = kinks.iter().find(|k| k.0 == margin.cone);
            let (cone, v) = (
                &self.program().cones()[margin.cone],
                &v[margin.rows.clone()],
            );
            let size = match kink {
                Some((_, kink)) => kink.stiffness(cone, v),
                None if is_curved => margin.margin.min(cone_turn(cone, v)),
                None => f64::INFINITY,
            };
            turn = turn.max(TURN * eps * (margin.rows.len() as f64).sqrt() / size);
        }
        turn
    }

    /// True if no change of D by `turn` makes J singular at either extreme: |J^-1| (1 + |A|) turn < 1.
    fn leaves_room(&self, kinks: &[(usize, BlockKink)], turn: f64) -> Result<bool> {
        let norm = self.size_of_a();
        let extremes = self.extremes(kinks);
        for element in [Element::Lower, Element::Upper] {
            let jacobian = extremes.jacobian_at(element);
            let settings = self.settings().linear;
            let prepared = Prepared::with_structure(self.structure(), &jacobian, settings)?;
            let inverse = prepared.inverse_norm(&jacobian)?;
            if prepared.is_singular() || ESTIMATE * inverse * (1.0 + norm) * turn >= 1.0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The report at a program's solution: [`Derivative::new`], then [`Derivative::regularity`].
///
/// # Errors
/// Those of the two.
pub fn regularity(
    program: &ConeProgram,
    solution: &Solution,
    settings: &Settings,
) -> Result<Regularity> {
    Derivative::new(program, solution, settings)?.regularity()
}

fn list(numbers: &[usize]) -> String {
    let shown: Vec<String> = numbers
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let rest = numbers.len().saturating_sub(SHOWN);
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{} and {rest} more", shown.join(", "))
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Primal {
                variables,
                residual,
                ..
            } => write!(
                f,
                "x can move along w with Pw = 0 and no active row in the way: variables {} (residual {residual:.0e})",
                list(variables)
            ),
            Witness::Dual { rows, residual, .. } => write!(
                f,
                "active rows are dependent, A'y = 0: rows {} (residual {residual:.0e})",
                list(rows)
            ),
        }
    }
}

impl fmt::Display for Uniqueness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Uniqueness::Unique => "unique",
            Uniqueness::NotUnique => "not unique",
            Uniqueness::Unknown => "uniqueness unknown",
        })
    }
}

impl fmt::Display for Regularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.certificate {
            _ if !self.is_solution => {
                "not a solution to the accuracy asked for: nothing is certified"
            }
            Certificate::Certified if self.strict_complementarity => {
                "certified: the solution map is differentiable"
            }
            Certificate::Certified => {
                "certified: a kink of the solution map, every selection is conservative"
            }
            Certificate::Failed { .. } => {
                "NOT certified: some element of the conservative Jacobian is singular"
            }
            Certificate::Unknown { .. } => "not certified: the test is not exact here",
        };
        writeln!(f, "{verdict}")?;
        if self.radius > 0.0 {
            writeln!(f, "for every solution within {:.1e}", self.radius)?;
        }
        for witness in self.certificate.witnesses() {
            writeln!(f, "  {witness}")?;
        }
        let is_dual_only = self.primal == Uniqueness::Unique && self.dual == Uniqueness::NotUnique;
        if is_dual_only && self.strict_complementarity && self.is_solution {
            writeln!(
                f,
                "  x is differentiable in P and q all the same; in A and b only where the rows stay consistent"
            )?;
        }
        let definability = match self.definability {
            Definability::Semialgebraic => "semialgebraic",
            Definability::RExp => "definable with exp",
        };
        let point_error = match self.point_error {
            unknown if unknown.is_nan() => "unknown".into(),
            known => format!("{known:.1e}"),
        };
        writeln!(
            f,
            "x {}, z {}; margin {:.1e}, point error {}, condition {:.1e}, {definability}",
            self.primal,
            self.dual,
            self.margin(),
            point_error,
            self.condition
        )?;
        if self.kinks.is_empty() {
            writeln!(f, "no kink: strict complementarity holds")?;
        }
        for kink in self.kinks.iter().take(SHOWN) {
            writeln!(
                f,
                "kink: cone {} ({}), rows {}, {}, margin {:.1e}",
                kink.cone,
                kink.kind,
                list(&kink.rows),
                kink.at,
                kink.margin
            )?;
        }
        if self.kinks.len() > SHOWN {
            writeln!(f, "and {} more kinks", self.kinks.len() - SHOWN)?;
        }
        write!(f, "returned here: {}", self.meaning)
    }
}
