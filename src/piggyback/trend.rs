//! Whether a sequence settles, and at what rate, from the sizes of its changes.

/// Changes below this, relative to 1 + the size of what changes, are rounding.
const ROUNDING: f64 = 1e-13;

/// So many changes at least make a rate.
const FEWEST: usize = 8;

/// The rate is fitted to this many changes at most, evenly spaced: the median of 45,000 slopes.
const MOST: usize = 300;

/// Where the changes of a sequence are going.
///
/// ```
/// use conediff::piggyback::{Tendency, Trend};
/// let tendency = |rate: f64, steps| Trend::of(&(0..steps).map(|k| rate.powi(k)).collect::<Vec<f64>>()).tendency;
/// assert_eq!(tendency(0.9, 100), Tendency::Converging);
/// assert_eq!(tendency(1.0, 100), Tendency::Stalled);
/// assert_eq!(tendency(1.1, 100), Tendency::Diverging);
/// assert_eq!(tendency(0.9, 5), Tendency::TooShort);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tendency {
    /// They fall: the sequence settles.
    Converging,
    /// They neither fall nor grow over the second half of the run: the sequence does not settle, or so slowly that the run does not show it.
    Stalled,
    /// They at least double over the second half of the run.
    Diverging,
    /// Too few changes to tell.
    TooShort,
}

/// How a sequence settles, measured.
///
/// ```text
/// |c_k| ~ rate^k,   rate = exp(the median over i < j of (log |c_j| - log |c_i|) / (j - i))
/// ```
///
/// The median of all slopes over the second half of the changes above rounding: single steps and the dips of oscillations do not
/// move it. Changes that fall like k^-a have a convergent sum for a > 1, that is if they fall to less than a half over
/// the second half of the run: derivatives must, to count as converging. Iterates may come in from two sides in turn; a > 1/2 is asked
/// of them.
///
/// ```
/// use conediff::piggyback::{Tendency, Trend};
/// let changes: Vec<f64> = (0..60).map(|k| 3.0 * 0.8f64.powi(k) * (1.0 + 0.5 * f64::from(k).cos())).collect();
/// let trend = Trend::of(&changes);
/// assert_eq!(trend.tendency, Tendency::Converging);
/// assert!((trend.rate - 0.8).abs() < 0.01);
/// ```
///
/// # References
/// Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Trend {
    /// Where the changes are going.
    pub tendency: Tendency,
    /// The factor from one change to the next: below 1 for linear convergence, near 1 for slower ones, above 1 for divergence; 0 if
    /// nothing changed, NaN if too short.
    #[serde(with = "crate::exact::number")]
    pub rate: f64,
    /// The last change.
    #[serde(with = "crate::exact::number")]
    pub last: f64,
    /// last rate / (1 - rate): about how far the limit is, if converging; else infinite.
    #[serde(with = "crate::exact::number")]
    pub remaining: f64,
    /// Changes the rate was fitted to.
    pub steps: usize,
}

impl Trend {
    /// The trend of a sequence whose changes have these sizes, as it is asked of derivatives.
    pub fn of(changes: &[f64]) -> Self {
        Self::new(changes, &[], 0.5)
    }

    /// `sizes` are those of the sequence itself, which tell what is rounding, 0 where there are none; `required` is the fall over the second
    /// half.
    pub(super) fn new(changes: &[f64], sizes: &[f64], required: f64) -> Self {
        let sizes = sizes.iter().copied().chain(std::iter::repeat(0.0));
        let is_clear: Vec<bool> = changes
            .iter()
            .zip(sizes)
            .map(|(c, size)| *c > ROUNDING * (1.0 + size))
            .collect();
        let last = changes.last().copied().unwrap_or(0.0);
        let end = is_clear.iter().rposition(|c| *c).map_or(0, |k| k + 1);
        let start = end / 2;
        let points: Vec<(f64, f64)> = changes
            .iter()
            .zip(&is_clear)
            .enumerate()
            .take(end)
            .skip(start)
            .filter(|(_, (_, clear))| **clear)
            .map(|(k, (c, _))| (k as f64, c.ln()))
            .collect();
        let rate = if points.len() >= FEWEST {
            slope(&points).exp()
        } else {
            f64::NAN
        };
        let factor = rate.powf((end - start) as f64);
        let has_settled = changes.len() >= end + 3;
        let tendency = if has_settled || factor <= required {
            Tendency::Converging
        } else if rate.is_nan() {
            Tendency::TooShort
        } else if factor >= 2.0 {
            Tendency::Diverging
        } else {
            Tendency::Stalled
        };
        // Settled in a few steps: nothing to fit, and nothing left.
        let rate = if has_settled && rate.is_nan() {
            0.0
        } else {
            rate
        };
        let remaining = if tendency == Tendency::Converging && rate < 1.0 {
            last * rate / (1.0 - rate)
        } else {
            f64::INFINITY
        };
        Self {
            tendency,
            rate,
            last,
            remaining,
            steps: points.len(),
        }
    }

    /// True if the changes fall.
    pub fn is_converging(&self) -> bool {
        self.tendency == Tendency::Converging
    }
}

/// The median of the slopes between all pairs of points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let every = points.len().div_ceil(MOST).max(1);
    let points: Vec<(f64, f64)> = points.iter().rev().step_by(every).copied().collect();
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * points.len() / 2);
    for (i, (x, y)) in points.iter().enumerate() {
        slopes.extend(points.iter().skip(i + 1).map(|(u, v)| (v - y) / (u - x)));
    }
    let middle = slopes.len() / 2;
    if slopes.is_empty() {
        return f64::NAN;
    }
    *slopes.select_nth_unstable_by(middle, f64::total_cmp).1
}
