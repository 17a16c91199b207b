//! What is iterated: a map with parameters and an element of its conservative Jacobian.

use crate::error::{Error, Result};
use crate::program::check_length;

/// A path-differentiable map G(x, theta) from n numbers to n numbers, with p parameters.
///
/// ```text
/// value: G(x, theta),   apply: A dx + B dtheta,   apply_transpose: A'w and B'w,   [A B] in the conservative Jacobian of G
/// ```
///
/// One trait for all that is put together here: a step of an algorithm, the gradient of a loss (x: the point, theta: its data) and
/// a proximal map (x: the point, theta: its weight).
///
/// ```
/// use conediff::piggyback::{ParametricMap, Piggyback, PiggybackSettings};
/// use conediff::{Error, Result};
///
/// /// x+ = (x + theta / x) / 2, the square root of theta by Newton's method.
/// struct Heron;
///
/// impl ParametricMap for Heron {
///     type Element = [f64; 2];
///     fn dimension(&self) -> usize { 1 }
///     fn parameters(&self) -> usize { 1 }
///     fn value(&self, _: usize, x: &[f64], theta: &[f64], out: &mut [f64]) -> Result<[f64; 2]> {
///         out[0] = (x[0] + theta[0] / x[0]) / 2.0;
///         Ok([(1.0 - theta[0] / x[0].powi(2)) / 2.0, 0.5 / x[0]])
///     }
///     fn apply(&self, [a, b]: &[f64; 2], dx: &[f64], dtheta: &[f64], out: &mut [f64]) -> Result<()> {
///         out[0] = a * dx[0] + b * dtheta[0];
///         Ok(())
///     }
///     fn apply_transpose(&self, [a, b]: &[f64; 2], w: &[f64], dx: &mut [f64], dtheta: &mut [f64]) -> Result<()> {
///         (dx[0], dtheta[0]) = (a * w[0], b * w[0]);
///         Ok(())
///     }
/// }
///
/// let run = Piggyback::new(&Heron, &[1.0], &[2.0], PiggybackSettings::default())?;
/// let root = run.jacobian()?;
/// assert!((root.jacobian.data[0] - 0.5 / 2f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), conediff::Error>(())
/// ```
pub trait ParametricMap {
    /// What an element [A B] is made of besides the map itself: slopes, projections, factors.
    type Element: std::fmt::Debug;

    /// n.
    fn dimension(&self) -> usize;

    /// p.
    fn parameters(&self) -> usize;

    /// Writes G(x, theta), n numbers, and returns an element of the Jacobian there. `number` counts the steps from 0, for maps and
    /// selections that change from step to step; the same arguments must give the same result again.
    ///
    /// # Errors
    /// [`Error::Dimension`] for wrong lengths; the map's own.
    fn value(
        &self,
        number: usize,
        x: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<Self::Element>;

    /// out = A dx + B dtheta.
    ///
    /// # Errors
    /// [`Error::Dimension`] for wrong lengths; the map's own.
    fn apply(
        &self,
        element: &Self::Element,
        dx: &[f64],
        dtheta: &[f64],
        out: &mut [f64],
    ) -> Result<()>;

    /// dx = A'w and dtheta = B'w.
    ///
    /// # Errors
    /// [`Error::Dimension`] for wrong lengths; the map's own.
    fn apply_transpose(
        &self,
        element: &Self::Element,
        w: &[f64],
        dx: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()>;
}

/// Checks the lengths given to `value` or `apply`.
pub(super) fn check<M: ParametricMap>(
    map: &M,
    x: &[f64],
    theta: &[f64],
    out: &[f64],
) -> Result<()> {
    check_length("x", map.dimension(), x.len())?;
    check_length("theta", map.parameters(), theta.len())?;
    check_length("out", map.dimension(), out.len())
}

/// Checks the lengths given to `apply_transpose`.
pub(super) fn check_transpose<M: ParametricMap>(
    map: &M,
    w: &[f64],
    dx: &[f64],
    dtheta: &[f64],
) -> Result<()> {
    check_length("w", map.dimension(), w.len())?;
    check_length("dx", map.dimension(), dx.len())?;
    check_length("dtheta", map.parameters(), dtheta.len())
}

const NO_LAMBDA: Error = Error::Dimension {
    what: "theta",
    expected: 1,
    found: 0,
};

/// theta = (lambda, y).
pub(super) fn split(theta: &[f64]) -> Result<(f64, &[f64])> {
    theta.split_first().map(|(l, y)| (*l, y)).ok_or(NO_LAMBDA)
}

/// The same to write to.
pub(super) fn split_mut(theta: &mut [f64]) -> Result<(&mut f64, &mut [f64])> {
    theta.split_first_mut().ok_or(NO_LAMBDA)
}

/// [`Error::Setting`] unless the number is positive and finite.
pub(super) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "positive and finite",
    })
}

/// a + c b, entry by entry.
pub(super) fn sum(a: &[f64], c: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + c * b).collect()
}
