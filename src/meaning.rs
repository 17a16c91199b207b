//! What a derivative is.

use crate::settings::Selection;
use std::fmt;

/// What a derivative is: the derivative itself, an element of a set, or what a policy put in its place.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Meaning {
    /// The projection is differentiable at the point and the linear system nonsingular: the derivative of the solution map.
    Derivative,
    /// At a kink, with a nonsingular system: the element of the conservative Jacobian that this selection takes. Where the point is
    /// certified, an element of a conservative Jacobian of the solution map.
    Element {
        /// Inactive, active, half or random: which one was taken.
        selection: Selection,
    },
    /// The same, with an element chosen for each kink.
    Chosen,
    /// The one-sided derivative in the direction asked for.
    OneSided,
    /// The least-squares answer of minimum norm of a singular system. In general no element of anything.
    LeastSquares,
    /// The derivative of the proximal program; [`crate::Evidence::bias`] bounds what that changes.
    Tikhonov {
        /// The proximal weight.
        #[serde(with = "crate::exact::number")]
        rho: f64,
    },
    /// The derivative of the central path.
    Smoothed {
        /// Its parameter.
        #[serde(with = "crate::exact::number")]
        mu: f64,
    },
    /// A chord of the optimal value's gradient over perturbed solves.
    Lagrangian {
        /// The perturbation relative to the data.
        #[serde(with = "crate::exact::number")]
        tau: f64,
    },
}

impl Meaning {
    /// True for what takes the place of a derivative that is not there.
    ///
    /// ```
    /// use conediff::{Meaning, Selection};
    /// assert!(!Meaning::Element { selection: Selection::Active }.is_surrogate());
    /// assert!(Meaning::Tikhonov { rho: 1e-4 }.is_surrogate());
    /// ```
    pub fn is_surrogate(&self) -> bool {
        !matches!(
            self,
            Meaning::Derivative | Meaning::Element { .. } | Meaning::Chosen | Meaning::OneSided
        )
    }

    /// What a product of two derivatives is: the lesser of what they are.
    pub(crate) fn worst(self, other: Self) -> Self {
        let rank = |meaning: &Self| match meaning {
            Meaning::Derivative => 0,
            Meaning::OneSided => 1,
            Meaning::Element { .. } => 2,
            Meaning::Chosen => 3,
            Meaning::Tikhonov { .. } | Meaning::Smoothed { .. } | Meaning::Lagrangian { .. } => 4,
            Meaning::LeastSquares => 5,
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Derivative => f.write_str("the derivative"),
            Meaning::Element { selection } => {
                write!(
                    f,
                    "the element of the conservative Jacobian selected by {selection}"
                )
            }
            Meaning::Chosen => {
                f.write_str("the element of the conservative Jacobian chosen kink by kink")
            }
            Meaning::OneSided => f.write_str("the one-sided derivative"),
            Meaning::LeastSquares => f.write_str("a least-squares answer of minimum norm"),
            Meaning::Tikhonov { rho } => {
                write!(f, "the derivative of the proximal program, rho = {rho:.1e}")
            }
            Meaning::Smoothed { mu } => {
                write!(f, "the derivative of the central path at mu = {mu:.1e}")
            }
            Meaning::Lagrangian { tau } => {
                write!(
                    f,
                    "a chord of the optimal value's gradient, tau = {tau:.1e}"
                )
            }
        }
    }
}
