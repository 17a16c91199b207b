//! The choice at a kink: other elements at the same point, and how much a gradient depends on them.

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::linsolve::Prepared;
use crate::meaning::Meaning;
use crate::projection::Element;
use crate::selection::{Selected, candidates, jacobian_at, select};
use crate::settings::Selection;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};

/// What the two extreme elements give, and how far apart they are.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![0.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{Ambiguity, DataTangent, SolutionTangent};
/// // minimize 1/2 x^2 + q x subject to x <= 0 at q = 0: the row holds x, or lets it follow -q
/// let dq = DataTangent { q: vec![1.0], ..DataTangent::zeros(&program) };
/// let both: Ambiguity<SolutionTangent> = derivative.jvp_ambiguity(&dq)?;
/// assert!((both.inactive.value.x[0] + 1.0).abs() < 1e-12 && both.active.value.x[0].abs() < 1e-12);
/// assert!((both.difference - 1.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Ambiguity<T> {
    /// With the weakly active rows let go.
    pub inactive: Checked<T>,
    /// With the weakly active rows held.
    pub active: Checked<T>,
    /// The largest difference of two entries relative to the largest entry of both; 0 without a kink.
    #[serde(with = "crate::exact::number")]
    pub difference: f64,
}

impl Derivative {
    /// The same point with another element of the conservative Jacobian at its kinks; without a kink, the same derivative. One
    /// factorization, up to four for [`Selection::NonsingularFirst`].
    ///
    /// # Errors
    /// [`Error::Factorization`], [`Error::TooLarge`]; under `strict`, [`Error::NotTrusted`].
    pub fn with_selection(&self, selection: Selection) -> Result<Self> {
        let (structure, settings) = (self.structure(), self.settings().linear);
        let jacobian = self.residual_jacobian();
        let selected = if self.blocks.is_empty() {
            let prepared = Prepared::with_structure(structure, jacobian, settings)?;
            Selected::smooth(jacobian.clone(), prepared)
        } else {
            select(structure, jacobian, &self.blocks, selection, settings)?
        };
        self.with_selected(selected)
    }

    /// The same point with an element chosen for each kink by its cone; kinks not named are inactive.
    ///
    /// # Errors
    /// [`Error::Selection`] for a cone without a kink, and for `NonsingularFirst` and `MinimumNorm`, which choose for all kinks
    /// together; those of [`Derivative::with_selection`].
    pub fn with_kink_selections(&self, choices: &[(usize, Selection)]) -> Result<Self> {
        let mut elements = vec![Element::Lower; self.blocks.len()];
        for &(cone, selection) in choices {
            let misfit = |reason| Error::Selection {
                cone,
                selection: selection.to_string(),
                reason,
            };
            let at = self.blocks.iter().position(|b| b.0 == cone);
            let at = at.ok_or_else(|| misfit("the cone has no kink here"))?;
            elements[at] = match candidates(selection)[..] {
                [(_, element)] if selection != Selection::MinimumNorm => element,
                _ => return Err(misfit("it chooses for all kinks together, not for one")),
            };
        }
        let jacobian = jacobian_at(self.residual_jacobian(), &self.blocks, &elements);
        let settings = self.settings().linear;
        let prepared = Prepared::with_structure(self.structure(), &jacobian, settings)?;
        let meaning = match prepared.is_singular() {
            true => Meaning::LeastSquares,
            false if elements.is_empty() => Meaning::Derivative,
            false => Meaning::Chosen,
        };
        self.with_selected(Selected {
            jacobian,
            prepared,
            meaning,
            element: None,
        })
    }

    /// The gradient by the two extreme elements at the kinks: two factorizations.
    ///
    /// ```
    /// use conediff::{Ambiguity, Cone, ConeProgram, DataCotangent, Derivative, Settings, SolutionTangent, solve};
    /// // minimize 1/2 x^2 - x subject to x <= b at b = 1: x = min(b, 1) has a kink
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![1.0],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let settings = Settings::default();
    /// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    /// let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
    /// let both: Ambiguity<DataCotangent> = derivative.vjp_ambiguity(&seed)?;
    /// assert!(both.inactive.value.b[0].abs() < 1e-9 && (both.active.value.b[0] - 1.0).abs() < 1e-9);
    /// assert!((both.difference - 1.0).abs() < 1e-9);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Derivative::vjp`] and [`Derivative::with_selection`].
    pub fn vjp_ambiguity(&self, cotangent: &SolutionCotangent) -> Result<Ambiguity<DataCotangent>> {
        let inactive = self.with_selection(Selection::Inactive)?.vjp(cotangent)?;
        let active = self.with_selection(Selection::Active)?.vjp(cotangent)?;
        let (a, b) = (&inactive.value, &active.value);
        let difference =
            relative_difference(&[(&a.p, &b.p), (&a.q, &b.q), (&a.a, &b.a), (&a.b, &b.b)]);
        Ok(Ambiguity {
            inactive,
            active,
            difference,
        })
    }

    /// The tangent by the two extreme elements at the kinks: two factorizations.
    ///
    /// # Errors
    /// Those of [`Derivative::jvp`] and [`Derivative::with_selection`].
    pub fn jvp_ambiguity(&self, tangent: &DataTangent) -> Result<Ambiguity<SolutionTangent>> {
        let inactive = self.with_selection(Selection::Inactive)?.jvp(tangent)?;
        let active = self.with_selection(Selection::Active)?.jvp(tangent)?;
        let (a, b) = (&inactive.value, &active.value);
        let difference = relative_difference(&[(&a.x, &b.x), (&a.z, &b.z), (&a.s, &b.s)]);
        Ok(Ambiguity {
            inactive,
            active,
            difference,
        })
    }
}

/// The largest difference of two entries relative to the largest of all.
fn relative_difference(pairs: &[(&Vec<f64>, &Vec<f64>)]) -> f64 {
    let (mut difference, mut size) = (0.0_f64, 0.0_f64);
    for (a, b) in pairs {
        for (a, b) in a.iter().zip(b.iter()) {
            difference = difference.max((a - b).abs());
            size = size.max(a.abs()).max(b.abs());
        }
    }
    if difference == 0.0 {
        0.0
    } else {
        difference / size
    }
}
