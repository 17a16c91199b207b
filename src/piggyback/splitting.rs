//! Splitting methods with two parts: forward-backward and Douglas-Rachford.

use super::map::{ParametricMap, check, check_positive, check_transpose, split, split_mut, sum};
use super::smooth_prox::ProximalStep;
use crate::error::Result;
use crate::program::check_length;

/// Forward-backward splitting, the proximal gradient method (for the Lasso: iterative soft thresholding).
///
/// ```text
/// minimize f(x; y) + lambda g(x):   x+ = prox_{step lambda g}(x - step grad f(x; y))
/// A = D (I - step H),   B = [step d  -step D C],   [H C] for grad f at (x, y), [D d] for the proximal map
/// ```
///
/// x: n; theta = (lambda, y): 1 + the loss's parameters. For a Lasso with active set S and step < 2 / |X|^2 the spectral radius of A,
/// once S is found, is that of I - step X_S'X_S.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{ForwardBackward, LeastSquares, Piggyback, PiggybackSettings, SoftThreshold};
/// // minimize 1/2 |x - y|^2 + lambda |x|_1
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 2, 2, &[0, 1, 2], &[0, 1], &[1.0, 1.0])?);
/// let lasso = ForwardBackward::new(loss, SoftThreshold::new(vec![1.0; 2])?, 0.5)?;
/// let run = Piggyback::new(&lasso, &[0.0; 2], &[1.0, 3.0, 0.5], PiggybackSettings::default())?.jacobian()?;
/// assert!((run.x[0] - 2.0).abs() < 1e-11 && run.x[1] == 0.0);
/// assert!((run.jacobian.data[0] + 1.0).abs() < 1e-9 && (run.derivative.rate - 0.5).abs() < 1e-3);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022. Bertrand et al., Implicit
/// differentiation for fast hyperparameter selection in non-smooth convex learning, 2022.
#[derive(Debug, Clone)]
pub struct ForwardBackward<F, P> {
    gradient: F,
    prox: P,
    step: f64,
}

impl<F: ParametricMap, P: ParametricMap> ForwardBackward<F, P> {
    /// With the gradient of the loss, the proximal map and the step.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension) unless both have n coordinates and the proximal map one parameter;
    /// [`Error::Setting`](crate::Error::Setting) unless the step is positive and finite.
    pub fn new(gradient: F, prox: P, step: f64) -> Result<Self> {
        check_prox(gradient.dimension(), &prox)?;
        check_positive("step", step)?;
        Ok(Self {
            gradient,
            prox,
            step,
        })
    }
}

/// A proximal map has the loss's coordinates and one parameter, its weight.
pub(super) fn check_prox<P: ParametricMap>(dimension: usize, prox: &P) -> Result<()> {
    check_length(
        "coordinates of the proximal map",
        dimension,
        prox.dimension(),
    )?;
    check_length("parameters of the proximal map", 1, prox.parameters())
}

impl<F: ParametricMap, P: ParametricMap> ParametricMap for ForwardBackward<F, P> {
    type Element = (F::Element, P::Element);

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
        let forward = sum(x, -self.step, out);
        let prox = self
            .prox
            .value(number, &forward, &[self.step * lambda], out)?;
        Ok((gradient, prox))
    }

    fn apply(
        &self,
        (gradient, prox): &Self::Element,
        dx: &[f64],
        dtheta: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        check(self, dx, dtheta, out)?;
        let (dlambda, dy) = split(dtheta)?;
        self.gradient.apply(gradient, dx, dy, out)?;
        let forward = sum(dx, -self.step, out);
        self.prox.apply(prox, &forward, &[self.step * dlambda], out)
    }

    fn apply_transpose(
        &self,
        (gradient, prox): &Self::Element,
        w: &[f64],
        dx: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dx, dtheta)?;
        let (dlambda, dy) = split_mut(dtheta)?;
        let (mut back, mut weight) = (vec![0.0; w.len()], [0.0]);
        self.prox.apply_transpose(prox, w, &mut back, &mut weight)?;
        *dlambda = self.step * weight[0];
        let scaled: Vec<f64> = back.iter().map(|b| -self.step * b).collect();
        self.gradient.apply_transpose(gradient, &scaled, dx, dy)?;
        dx.iter_mut().zip(&back).for_each(|(dx, b)| *dx += b);
        Ok(())
    }
}

/// Douglas-Rachford splitting.
///
/// ```text
/// minimize f(x; y) + lambda g(x):   x+ = prox_{step f}(z; y),   z+ = z + prox_{step lambda g}(2 x+ - z) - x+
/// with [H C] for prox_{step f} and [D d] for prox_{step lambda g}:
/// dx+ = H dz + C dy,   dz+ = dz + D (2 dx+ - dz) + step d dlambda - dx+
/// ```
///
/// The state is (x, z): 2 n, so that x is the solution in the limit; theta = (lambda, y): 1 + the parameters of f.
///
/// ```
/// use conediff::piggyback::{DouglasRachford, LogDetProx, Piggyback, PiggybackSettings, SoftThreshold};
/// // minimize -log x + s x + lambda |x|: x = 1 / (s + lambda)
/// let step = DouglasRachford::new(LogDetProx::new(1, 1.0)?, SoftThreshold::new(vec![1.0])?)?;
/// let run = Piggyback::new(&step, &[1.0, 1.0], &[0.5, 1.5], PiggybackSettings::default())?.jacobian()?;
/// assert!((run.x[0] - 0.5).abs() < 1e-10);
/// assert!((run.jacobian.data[0] + 0.25).abs() < 1e-8 && (run.jacobian.data[2] + 0.25).abs() < 1e-8);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022. Lions, Mercier, Splitting
/// algorithms for the sum of two nonlinear operators, 1979.
#[derive(Debug, Clone)]
pub struct DouglasRachford<F, P> {
    first: F,
    second: P,
}

impl<F: ProximalStep, P: ParametricMap> DouglasRachford<F, P> {
    /// With prox_{step f}, whose step is used for both, and prox_{t g}.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension) unless both have n coordinates and the second map one parameter.
    pub fn new(first: F, second: P) -> Result<Self> {
        check_prox(first.dimension(), &second)?;
        Ok(Self { first, second })
    }
}

impl<F: ProximalStep, P: ParametricMap> ParametricMap for DouglasRachford<F, P> {
    type Element = (F::Element, P::Element);

    fn dimension(&self) -> usize {
        self.first.dimension().saturating_mul(2)
    }
    fn parameters(&self) -> usize {
        1 + self.first.parameters()
    }

    fn value(
        &self,
        number: usize,
        state: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<Self::Element> {
        check(self, state, theta, out)?;
        let (lambda, y) = split(theta)?;
        let half = state.len() / 2;
        let z = &state[half..];
        let (x, next) = out.split_at_mut(half);
        let first = self.first.value(number, z, y, x)?;
        let reflected: Vec<f64> = x.iter().zip(z).map(|(x, z)| 2.0 * x - z).collect();
        let weight = [self.first.step() * lambda];
        let second = self.second.value(number, &reflected, &weight, next)?;
        for (next, (x, z)) in next.iter_mut().zip(x.iter().zip(z)) {
            *next += z - x;
        }
        Ok((first, second))
    }

    fn apply(
        &self,
        (first, second): &Self::Element,
        dstate: &[f64],
        dtheta: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        check(self, dstate, dtheta, out)?;
        let (dlambda, dy) = split(dtheta)?;
        let half = dstate.len() / 2;
        let dz = &dstate[half..];
        let (dx, next) = out.split_at_mut(half);
        self.first.apply(first, dz, dy, dx)?;
        let reflected: Vec<f64> = dx.iter().zip(dz).map(|(x, z)| 2.0 * x - z).collect();
        let weight = [self.first.step() * dlambda];
        self.second.apply(second, &reflected, &weight, next)?;
        for (next, (x, z)) in next.iter_mut().zip(dx.iter().zip(dz)) {
            *next += z - x;
        }
        Ok(())
    }

    fn apply_transpose(
        &self,
        (first, second): &Self::Element,
        w: &[f64],
        dstate: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dstate, dtheta)?;
        let (dlambda, dy) = split_mut(dtheta)?;
        let half = w.len() / 2;
        let (wx, wz) = w.split_at(half);
        let (dx, dz) = dstate.split_at_mut(half);
        let (mut back, mut weight) = (vec![0.0; half], [0.0]);
        self.second
            .apply_transpose(second, wz, &mut back, &mut weight)?;
        *dlambda = self.first.step() * weight[0];
        let to_x = sum(&sum(wx, -1.0, wz), 2.0, &back);
        self.first.apply_transpose(first, &to_x, dz, dy)?;
        for (dz, (w, b)) in dz.iter_mut().zip(wz.iter().zip(&back)) {
            *dz += w - b;
        }
        dx.fill(0.0);
        Ok(())
    }
}
