//! Whether a derivative is trusted, and why not.

use super::Derivative;
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::projection::Projection;
use crate::settings::Settings;

/// A derivative with what is known about it.
///
/// ```
/// # use conediff::{Cone, ConeProgram, DataCotangent, Derivative, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![1.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::{Checked, Meaning, Warning};
/// // minimize 1/2 x^2 - x subject to x <= 1, at its kink
/// let gradient: Checked<DataCotangent> = derivative.vjp(&seed)?;
/// assert!(!gradient.trusted && matches!(gradient.warnings[..], [Warning::AtKink(_)]));
/// // What comes back all the same: an element of the conservative Jacobian, computed to rounding.
/// assert!(matches!(gradient.meaning, Meaning::Element { .. }) && gradient.evidence.converged);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Checked<T> {
    /// The derivative.
    pub value: T,
    /// What it is.
    pub meaning: Meaning,
    /// How well its linear system was solved.
    pub evidence: Evidence,
    /// False whenever the residual missed its tolerance, the point is ambiguous or singular, or refinement failed.
    pub trusted: bool,
    /// Every reason for doubt.
    pub warnings: Vec<Warning>,
}

impl<T> Checked<T> {
    /// The same verdict on another form of the value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Checked<U> {
        Checked {
            value: f(self.value),
            meaning: self.meaning,
            evidence: self.evidence,
            trusted: self.trusted,
            warnings: self.warnings,
        }
    }
}

impl Derivative {
    /// True if a derivative with this evidence is trusted.
    pub fn is_trusted(&self, evidence: &Evidence) -> bool {
        evidence.converged && self.is_accurate(evidence) && self.is_trusted_point()
    }

    fn is_accurate(&self, evidence: &Evidence) -> bool {
        evidence.error <= self.settings.accuracy
    }

    /// A value of the `*_into` forms with everything that is known about it: its evidence, the verdict, and every reason for doubt.
    pub fn checked<T>(&self, value: T, evidence: Evidence) -> Checked<T> {
        Checked {
            value,
            meaning: self.meaning(),
            evidence,
            trusted: self.is_trusted(&evidence),
            warnings: self.all_warnings(&evidence),
        }
    }

    fn all_warnings(&self, evidence: &Evidence) -> Vec<Warning> {
        all_warnings(
            &self.warnings,
            evidence,
            &self.settings,
            self.prepared.is_singular(),
        )
    }

    pub(super) fn strictly(&self, evidence: Evidence) -> Result<Evidence> {
        if self.settings.strict && !self.is_trusted(&evidence) {
            return Err(self.not_trusted(&self.all_warnings(&evidence), evidence.residual));
        }
        Ok(evidence)
    }

    pub(super) fn not_trusted(&self, warnings: &[Warning], residual: f64) -> Error {
        not_trusted(warnings, residual, least_margin(self.projection()))
    }
}

/// The point's own reasons for doubt, and those an answer's evidence adds.
fn all_warnings(
    of_point: &[Warning],
    evidence: &Evidence,
    settings: &Settings,
    is_singular: bool,
) -> Vec<Warning> {
    let mut warnings = of_point.to_vec();
    if !evidence.converged {
        warnings.push(Warning::LinearResidual {
            residual: evidence.residual,
            tolerance: settings.linear.tolerance,
        });
    }
    // A singular or unsolved system has said what there is to say.
    let is_accurate = evidence.error <= settings.accuracy;
    if evidence.converged && !is_singular && !is_accurate {
        warnings.push(Warning::Inaccurate {
            error: evidence.error,
            accuracy: settings.accuracy,
        });
    }
    warnings
}

fn not_trusted(warnings: &[Warning], residual: f64, margin: f64) -> Error {
    let fatal = warnings.iter().filter(|w| w.is_fatal()).cloned();
    let fatal: Vec<Warning> = fatal.collect();
    Error::NotTrusted {
        reasons: Warning::sentences(&fatal).join("; "),
        residual,
        margin,
    }
}

/// The least distance of any block to its kink.
pub(crate) fn least_margin(projection: &Projection) -> f64 {
    let margins = projection.margins().iter();
    margins.fold(f64::INFINITY, |m, x| m.min(x.margin))
}

/// What is known of a point before any solve, for derivatives other than a program's.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) meaning: Meaning,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) is_singular: bool,
    /// The least distance to a kink, infinite where there is none to speak of.
    pub(crate) margin: f64,
    pub(crate) settings: Settings,
}

impl Standing {
    /// Under `strict`, an error if the point itself rules out trust.
    pub(crate) fn strictly(self) -> Result<Self> {
        if self.settings.strict && self.warnings.iter().any(Warning::is_fatal) {
            return Err(not_trusted(&self.warnings, 0.0, self.margin));
        }
        Ok(self)
    }

    /// A derivative with the verdict on it; under `strict`, an error if it is not trusted.
    pub(crate) fn checked<T>(&self, value: T, evidence: Evidence) -> Result<Checked<T>> {
        let settings = &self.settings;
        let warnings = all_warnings(&self.warnings, &evidence, settings, self.is_singular);
        let trusted = !warnings.iter().any(Warning::is_fatal);
        if settings.strict && !trusted {
            return Err(not_trusted(&warnings, evidence.residual, self.margin));
        }
        Ok(Checked {
            value,
            meaning: self.meaning,
            evidence,
            trusted,
            warnings,
        })
    }
}
