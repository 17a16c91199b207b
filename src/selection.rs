//! Takes an element of the conservative Jacobian at a point's kinks, and factors it.

use crate::error::Result;
use crate::linsolve::{Prepared, Structure};
use crate::meaning::Meaning;
use crate::projection::{BlockKink, Element};
use crate::residual::ResidualJacobian;
use crate::settings::{LinearSettings, Selection};
use std::sync::Arc;

/// J at the element taken.
pub(crate) struct Selected {
    pub(crate) jacobian: ResidualJacobian,
    pub(crate) prepared: Prepared,
    pub(crate) meaning: Meaning,
    pub(crate) element: Option<Element>,
}

impl Selected {
    /// Where there is no choice.
    pub(crate) fn smooth(jacobian: ResidualJacobian, prepared: Prepared) -> Self {
        let meaning = if prepared.is_singular() {
            Meaning::LeastSquares
        } else {
            Meaning::Derivative
        };
        Self {
            jacobian,
            prepared,
            meaning,
            element: None,
        }
    }

    /// At the inactive element.
    pub(crate) fn inactive(jacobian: ResidualJacobian, prepared: Prepared) -> Self {
        Self::new(jacobian, prepared, (Selection::Inactive, Element::Lower))
    }

    fn new(
        jacobian: ResidualJacobian,
        prepared: Prepared,
        (selection, element): (Selection, Element),
    ) -> Self {
        let meaning = if prepared.is_singular() {
            Meaning::LeastSquares
        } else {
            Meaning::Element { selection }
        };
        Self {
            jacobian,
            prepared,
            meaning,
            element: Some(element),
        }
    }
}

/// J at the inactive element, if that is what a selection begins with and what a factorization at hand was made of.
pub(crate) fn at_hand(
    prepared: &Prepared,
    jacobian: &ResidualJacobian,
    kinks: &[(usize, BlockKink)],
    selection: Selection,
) -> Option<ResidualJacobian> {
    let is_first = candidates(selection)
        .first()
        .is_some_and(|c| c.1 == Element::Lower);
    if !is_first || prepared.is_singular() {
        return None;
    }
    let there = jacobian_at(jacobian, kinks, &vec![Element::Lower; kinks.len()]);
    prepared.base().is_near(&there, 0.0).then_some(there)
}

/// What a selection takes, in the order in which it is tried.
pub(crate) fn candidates(selection: Selection) -> Vec<(Selection, Element)> {
    let inactive = (Selection::Inactive, Element::Lower);
    let active = (Selection::Active, Element::Upper);
    let half = (Selection::Half, Element::Half);
    match selection {
        Selection::Active => vec![active],
        Selection::Inactive | Selection::MinimumNorm => vec![inactive],
        Selection::Half => vec![half],
        Selection::Random(seed) => vec![(selection, Element::Random(seed))],
        Selection::NonsingularFirst => vec![inactive, active, half],
    }
}

/// J at one element for each kink.
pub(crate) fn jacobian_at(
    jacobian: &ResidualJacobian,
    kinks: &[(usize, BlockKink)],
    elements: &[Element],
) -> ResidualJacobian {
    let program = jacobian.program();
    let projection = jacobian.projection();
    let there = projection.with_elements(program.cones(), kinks, elements);
    ResidualJacobian::from_parts(program.clone(), there)
}

/// Takes the element at the kinks: one factorization where the first will do, at most four.
pub(crate) fn select(
    structure: &Arc<Structure>,
    jacobian: &ResidualJacobian,
    kinks: &[(usize, BlockKink)],
    selection: Selection,
    settings: LinearSettings,
) -> Result<Selected> {
    let at = |element| jacobian_at(jacobian, kinks, &vec![element; kinks.len()]);
    let candidates = candidates(selection);
    for &candidate in &candidates {
        let there = at(candidate.1);
        if let Some(prepared) = Prepared::if_nonsingular(structure, &there, settings)? {
            return Ok(Selected::new(there, prepared, candidate));
        }
    }
    // The first one by whatever method resolves it, or its least-squares answer.
    let first = candidates.first().copied();
    let first = first.unwrap_or((Selection::Inactive, Element::Lower));
    let there = at(first.1);
    let prepared = Prepared::with_structure(structure, &there, settings)?;
    Ok(Selected::new(there, prepared, first))
}
