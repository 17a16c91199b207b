//! Gradient descent, with and without momentum.

use super::map::{ParametricMap, check, check_positive, check_transpose, split, split_mut, sum};
use crate::error::{Error, Result};

/// Gradient descent on a loss with a ridge.
///
/// ```text
/// minimize f(x; y) + lambda / 2 |x|^2:   x+ = x - step (grad f(x; y) + lambda x)
/// A = I - step (H + lambda I),   B = -step [x  C],   [H C] an element for grad f at (x, y)
/// ```
///
/// x: n; theta = (lambda, y): 1 + the loss's parameters. For an L-smooth and m-strongly convex objective and step < 2/L the spectral
/// radius of A is max(|1 - step m|, |1 - step L|) < 1.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{GradientDescent, LeastSquares, Piggyback, PiggybackSettings};
/// // minimize 1/2 (x - y)^2 + lambda / 2 x^2: x = y / (1 + lambda)
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// let descent = GradientDescent::new(loss, 0.4)?;
/// let run = Piggyback::new(&descent, &[0.0], &[1.0, 3.0], PiggybackSettings::default())?.jacobian()?;
/// assert!((run.jacobian.data[0] + 0.75).abs() < 1e-9 && (run.jacobian.data[1] - 0.5).abs() < 1e-9);
/// assert!((run.derivative.rate - 0.2).abs() < 0.03 && run.is_converging());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientDescent<F> {
    gradient: F,
    step: f64,
}

/// An element of a step of gradient descent.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{Descended, GradientDescent, LeastSquares, ParametricMap};
/// // x - a (x - y + lambda x) with a = 1/2, at x = 1, lambda = 1, y = 3
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// let descent = GradientDescent::new(loss, 0.5)?;
/// let mut out = [0.0];
/// let element: Descended<_> = descent.value(0, &[1.0], &[1.0, 3.0], &mut out)?;
/// assert_eq!(out, [1.5]);
/// // d/dx = 1 - a (1 + lambda) = 0, d/dlambda = -a x, d/dy = a
/// descent.apply(&element, &[1.0], &[1.0, 1.0], &mut out)?;
/// assert_eq!(out, [0.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Descended<E> {
    gradient: E,
    x: Vec<f64>,
    lambda: f64,
}

impl<F: ParametricMap> GradientDescent<F> {
    /// With the gradient of the loss and the step.
    ///
    /// # Errors
    /// [`Error::Setting`] unless the step is positive and finite.
    pub fn new(gradient: F, step: f64) -> Result<Self> {
        check_positive("step", step)?;
        Ok(Self { gradient, step })
    }
}

impl<F: ParametricMap> ParametricMap for GradientDescent<F> {
    type Element = Descended<F::Element>;

    fn dimension(&self) -> usize {
        self.gradient.dimension()
    }
    fn parameters(&self) -> usize {
        1 + self.gradient.parameters()
    }

    fn value(
        &self,
        number: usize,
        x: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<Self::Element> {
        check(self, x, theta, out)?;
        let (lambda, y) = split(theta)?;
        let gradient = self.gradient.value(number, x, y, out)?;
        for (out, x) in out.iter_mut().zip(x) {
            *out = x - self.step * (*out + lambda * x);
        }
        Ok(Descended {
            gradient,
            x: x.to_vec(),
            lambda,
        })
    }

    fn apply(&self, e: &Self::Element, dx: &[f64], dtheta: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dx, dtheta, out)?;
        let (dlambda, dy) = split(dtheta)?;
        self.gradient.apply(&e.gradient, dx, dy, out)?;
        for (out, (dx, x)) in out.iter_mut().zip(dx.iter().zip(&e.x)) {
            *out = dx - self.step * (*out + e.lambda * dx + dlambda * x);
        }
        Ok(())
    }

    fn apply_transpose(
        &self,
        e: &Self::Element,
        w: &[f64],
        dx: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dx, dtheta)?;
        let (dlambda, dy) = split_mut(dtheta)?;
        let scaled: Vec<f64> = w.iter().map(|w| -self.step * w).collect();
        self.gradient
            .apply_transpose(&e.gradient, &scaled, dx, dy)?;
        *dlambda = crate::tangent::dot(&scaled, &e.x);
        for (dx, (w, s)) in dx.iter_mut().zip(w.iter().zip(&scaled)) {
            *dx += w + e.lambda * s;
        }
        Ok(())
    }
}

/// Gradient descent with momentum, Polyak's heavy ball, on a loss with a ridge.
///
/// ```text
/// x+ = x - step (grad f(x; y) + lambda x) + momentum (x - x_previous)
/// ```
///
/// The state is (x, x_previous): 2 n; theta = (lambda, y) as in [`GradientDescent`]. A = [[I - step (H + lambda I) + momentum I,
/// -momentum I], [I, 0]] may be a contraction for each H and a product of different ones none: at a kink of the gradient
/// the derivatives can diverge although the iterates converge.
///
/// ```
/// use conediff::piggyback::{AsymmetricSquares, HeavyBall, KinkWeight, Piggyback, PiggybackSettings, Verdict};
/// // Curvatures 1 and 1/4; at the kink two steps with the one, two with the other.
/// let loss = AsymmetricSquares::new(1, 0.25, 1.0)?.with_kink(KinkWeight::Cycle(vec![1.0, 1.0, 0.0, 0.0]))?;
/// let ball = HeavyBall::new(loss, 1.0, 0.75)?;
/// let settings = PiggybackSettings { max_iterations: 200, ..PiggybackSettings::default() };
/// let run = Piggyback::new(&ball, &[0.0, 0.0], &[0.0, 0.0], settings)?.jacobian()?;
/// assert_eq!(run.verdict(), Verdict::DerivativeFails);
/// assert!((run.derivative.rate - 1.125f64.powf(0.25)).abs() < 0.01);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022 (the divergence).
#[derive(Debug, Clone)]
pub struct HeavyBall<F> {
    descent: GradientDescent<F>,
    momentum: f64,
}

impl<F: ParametricMap> HeavyBall<F> {
    /// With the gradient of the loss, the step and the momentum.
    ///
    /// # Errors
    /// [`Error::Setting`] unless the step is positive and finite and the momentum in [0, 1).
    pub fn new(gradient: F, step: f64, momentum: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&momentum) {
            return Err(Error::Setting {
                name: "momentum",
                value: momentum,
                allowed: "in [0, 1)",
            });
        }
        Ok(Self {
            descent: GradientDescent::new(gradient, step)?,
            momentum,
        })
    }
}

impl<F: ParametricMap> ParametricMap for HeavyBall<F> {
    type Element = Descended<F::Element>;

    fn dimension(&self) -> usize {
        self.descent.dimension().saturating_mul(2)
    }
    fn parameters(&self) -> usize {
        self.descent.parameters()
    }

    fn value(
        &self,
        number: usize,
        state: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<Self::Element> {
        check(self, state, theta, out)?;
        let (x, previous) = state.split_at(state.len() / 2);
        let (next, kept) = out.split_at_mut(state.len() / 2);
        let element = self.descent.value(number, x, theta, next)?;
        for (next, (x, p)) in next.iter_mut().zip(x.iter().zip(previous)) {
            *next += self.momentum * (x - p);
        }
        kept.copy_from_slice(x);
        Ok(element)
    }

    fn apply(
        &self,
        e: &Self::Element,
        dstate: &[f64],
        dtheta: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        check(self, dstate, dtheta, out)?;
        let (dx, dprevious) = dstate.split_at(dstate.len() / 2);
        let (next, kept) = out.split_at_mut(dstate.len() / 2);
        self.descent.apply(e, dx, dtheta, next)?;
        for (next, (x, p)) in next.iter_mut().zip(dx.iter().zip(dprevious)) {
            *next += self.momentum * (x - p);
        }
        kept.copy_from_slice(dx);
        Ok(())
    }

    fn apply_transpose(
        &self,
        e: &Self::Element,
        w: &[f64],
        dstate: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dstate, dtheta)?;
        let (next, kept) = w.split_at(w.len() / 2);
        let (dx, dprevious) = dstate.split_at_mut(w.len() / 2);
        self.descent.apply_transpose(e, next, dx, dtheta)?;
        let added = sum(kept, self.momentum, next);
        dx.iter_mut().zip(&added).for_each(|(dx, a)| *dx += a);
        for (d, w) in dprevious.iter_mut().zip(next) {
            *d = -self.momentum * w;
        }
        Ok(())
    }
}
