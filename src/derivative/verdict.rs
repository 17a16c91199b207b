//! Whether a derivative is trusted, and why not.

use super::Derivative;
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::linsolve::Evidence;
use crate::meaning::Meaning;

/// A derivative with what is known about it.
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
        let mut warnings = self.warnings.clone();
        if !evidence.converged {
            warnings.push(Warning::LinearResidual {
                residual: evidence.residual,
                tolerance: self.settings.linear.tolerance,
            });
        }
        // A singular or unsolved system has said what there is to say.
        if evidence.converged && !self.prepared.is_singular() && !self.is_accurate(evidence) {
            warnings.push(Warning::Inaccurate {
                error: evidence.error,
                accuracy: self.settings.accuracy,
            });
        }
        warnings
    }

    pub(super) fn strictly(&self, evidence: Evidence) -> Result<Evidence> {
        if self.settings.strict && !self.is_trusted(&evidence) {
            return Err(self.not_trusted(&self.all_warnings(&evidence), evidence.residual));
        }
        Ok(evidence)
    }

    pub(super) fn not_trusted(&self, warnings: &[Warning], residual: f64) -> Error {
        let reasons: Vec<String> = warnings
            .iter()
            .filter(|w| w.is_fatal())
            .map(ToString::to_string)
            .collect();
        Error::NotTrusted {
            reasons: reasons.join("; "),
            residual,
            margin: self
                .projection()
                .margins()
                .iter()
                .fold(f64::INFINITY, |m, x| m.min(x.margin)),
        }
    }
}
