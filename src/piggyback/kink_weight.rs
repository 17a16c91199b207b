//! Which element is taken exactly at a kink.

use crate::error::{Error, Result};

/// The weight w in [0, 1] of the second of two slopes at a kink: (1 - w) first + w second.
///
/// The conservative Jacobian at a kink holds every weight, and an iteration meets kinks exactly where it starts on one or is
/// projected there. Each map says which slope is the second.
///
/// ```
/// use conediff::piggyback::KinkWeight;
/// let weights = KinkWeight::Cycle(vec![1.0, 1.0, 0.25]);
/// assert_eq!((weights.at(0), weights.at(5), KinkWeight::Half.at(7)), (1.0, 0.25, 0.5));
/// ```
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KinkWeight {
    /// w = 0, the default: what most programs take.
    #[default]
    Inactive,
    /// w = 1.
    Active,
    /// w = 1/2.
    Half,
    /// w_k for step k, from the start again after the last: any choice of one's own.
    Cycle(#[serde(with = "crate::exact::numbers")] Vec<f64>),
}

impl KinkWeight {
    /// w in step `number`, from 0; 0 where a cycle is empty.
    pub fn at(&self, number: usize) -> f64 {
        match self {
            Self::Inactive => 0.0,
            Self::Active => 1.0,
            Self::Half => 0.5,
            Self::Cycle(weights) => {
                let at = number.checked_rem(weights.len());
                at.and_then(|k| weights.get(k)).copied().unwrap_or(0.0)
            }
        }
    }

    /// Checks every weight.
    ///
    /// # Errors
    /// [`Error::Empty`] for a cycle of none; [`Error::Setting`] for a weight outside [0, 1].
    pub fn validate(&self) -> Result<()> {
        let Self::Cycle(weights) = self else {
            return Ok(());
        };
        if weights.is_empty() {
            return Err(Error::Empty {
                what: "the cycle of weights at a kink",
            });
        }
        match weights.iter().find(|w| !(0.0..=1.0).contains(*w)) {
            Some(&value) => Err(Error::Setting {
                name: "weight at a kink",
                value,
                allowed: "in [0, 1]",
            }),
            None => Ok(()),
        }
    }
}
