//! Folds of the samples.

use crate::error::{Error, Result};
use crate::random::Random;

/// A division of the samples 0..n into the parts held out in turn.
///
/// ```
/// use conediff::systems::lasso::Folds;
/// let folds = Folds::in_order(5, 2)?;
/// assert_eq!(folds.parts(), [vec![0, 1, 2], vec![3, 4]]);
/// assert_eq!(Folds::shuffled(5, 2, 1)?.parts()[0].len(), 3);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Folds {
    samples: usize,
    parts: Vec<Vec<usize>>,
}

impl Folds {
    /// `count` runs of neighbours; the first n mod count of them have a sample more.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 2 <= count <= n.
    pub fn in_order(samples: usize, count: usize) -> Result<Self> {
        Self::dealt(&(0..samples).collect::<Vec<_>>(), count)
    }

    /// The same after a shuffle that depends on the seed alone.
    ///
    /// # Errors
    /// Those of [`Folds::in_order`].
    pub fn shuffled(samples: usize, count: usize, seed: u64) -> Result<Self> {
        Self::dealt(&Random::new(seed).permutation(samples), count)
    }

    /// The parts given. A sample may be in none (then it is always fitted), but not in two.
    ///
    /// # Errors
    /// [`Error::Fold`] for an empty or full part, a sample that is not below n, or one met before; [`Error::Empty`] without a part.
    pub fn given(samples: usize, parts: Vec<Vec<usize>>) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::Empty {
                what: "the list of folds",
            });
        }
        let mut is_met = vec![false; samples];
        for (fold, part) in parts.iter().enumerate() {
            let fail = |reason: String| Err(Error::Fold { fold, reason });
            if part.is_empty() {
                return fail("it holds no sample".to_owned());
            }
            for &i in part {
                match is_met.get_mut(i) {
                    None => return fail(format!("sample {i} is not below {samples}")),
                    Some(true) => return fail(format!("sample {i} was met before")),
                    Some(met) => *met = true,
                }
            }
            if part.len() == samples {
                return fail("it holds every sample, and leaves none to fit".to_owned());
            }
        }
        Ok(Self { samples, parts })
    }

    fn dealt(order: &[usize], count: usize) -> Result<Self> {
        let n = order.len();
        if count < 2 || count > n {
            return Err(Error::Setting {
                name: "count of folds",
                value: count as f64,
                allowed: "at least 2 and at most the number of samples",
            });
        }
        let mut at = 0;
        let part = |fold: usize| {
            let start = at;
            at += n / count + usize::from(fold < n % count);
            let mut part = order[start..at].to_vec();
            part.sort_unstable();
            part
        };
        Ok(Self {
            samples: n,
            parts: (0..count).map(part).collect(),
        })
    }

    /// n.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The samples of each fold.
    pub fn parts(&self) -> &[Vec<usize>] {
        &self.parts
    }
}
