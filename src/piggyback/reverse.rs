//! The gradient of a function of the last iterate, backward through the steps kept.

use super::forward::{Piggyback, Stop, Walk};
use super::map::ParametricMap;
use super::settings::Storage;
use super::trend::Trend;
use crate::error::Result;
use crate::limit;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::tangent::norm;

/// A run whose steps are kept, for gradients in reverse.
///
/// ```text
/// w_K = grad l(x_K);   for k = K - 1, ..., 0:   g += B_k'w_{k+1},   w_k = A_k'w_{k+1};   then g += J_0'w_0
/// ```
///
/// Memory: K elements, or K n numbers with [`Storage::Iterates`], which computes each step again and takes about twice the time.
/// One tape serves any number of gradients.
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{ForwardBackward, LeastSquares, Piggyback, PiggybackSettings, SoftThreshold, Storage};
/// let loss = LeastSquares::new(SparseMatrix::from_csc("X", 2, 2, &[0, 1, 2], &[0, 1], &[1.0, 1.0])?);
/// let lasso = ForwardBackward::new(loss, SoftThreshold::new(vec![1.0; 2])?, 0.5)?;
/// let settings = PiggybackSettings { storage: Storage::Iterates, ..PiggybackSettings::default() };
/// let tape = Piggyback::new(&lasso, &[0.0; 2], &[1.0, 3.0, 0.5], settings)?.tape()?;
/// // l = x_1 + x_2 at x = (y_1 - lambda, 0)
/// let gradient = tape.gradient(&[1.0, 1.0])?;
/// assert!((gradient.theta[0] + 1.0).abs() < 1e-9 && (gradient.theta[1] - 1.0).abs() < 1e-9);
/// assert_eq!(gradient.theta[2], 0.0);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022. Christianson, Reverse accumulation
/// and attractive fixed points, 1994.
#[derive(Debug)]
pub struct Tape<'a, M: ParametricMap> {
    run: Piggyback<'a, M>,
    kept: Kept<M::Element>,
    x: Vec<f64>,
    moves: Vec<f64>,
    iterates: Trend,
    stop: Stop,
}

#[derive(Debug)]
enum Kept<E> {
    Elements(Vec<E>),
    /// x_0, ..., x_{K-1}, one after the other.
    Iterates(Vec<f64>),
}

/// A gradient taken through a [`Tape`].
///
/// ```
/// # use conediff::SparseMatrix;
/// # use conediff::piggyback::{GradientDescent, LeastSquares, Piggyback, PiggybackSettings};
/// # let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// use conediff::piggyback::ReverseGradient;
/// // x+ = x - 0.4 (x - y + lambda x) = 0.2 x + 0.4 y at lambda = 1: two steps from x_0 = 0
/// let descent = GradientDescent::new(loss, 0.4)?;
/// let settings = PiggybackSettings { max_iterations: 2, ..PiggybackSettings::default() };
/// let tape = Piggyback::new(&descent, &[0.0], &[1.0, 3.0], settings)?.tape()?;
/// let ReverseGradient { theta, start, contributions, .. } = tape.gradient(&[1.0])?;
/// // x_2 = 0.04 x_0 + (0.2 + 1) 0.4 y
/// assert!((start[0] - 0.04).abs() < 1e-14 && (theta[1] - 0.48).abs() < 1e-14);
/// // The last step first, and the one before it adds less.
/// assert!(contributions.len() == 2 && contributions[1] < contributions[0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ReverseGradient {
    /// J_K'w: the gradient in theta, p, the start's dependence on theta included.
    #[serde(with = "crate::exact::numbers")]
    pub theta: Vec<f64>,
    /// The gradient in x_0, n.
    #[serde(with = "crate::exact::numbers")]
    pub start: Vec<f64>,
    /// |B_k'w_{k+1}|, in the order of the sweep: k = K - 1, ..., 0.
    #[serde(with = "crate::exact::numbers")]
    pub contributions: Vec<f64>,
    /// How the sum of the contributions settles: converging where early steps no longer matter. It cannot see derivatives that
    /// change from one K to the next; forward runs can.
    pub trend: Trend,
}

impl<'a, M: ParametricMap> Piggyback<'a, M> {
    /// Runs the iteration until the iterates have settled or the limit of iterations, and keeps its steps.
    ///
    /// The derivatives come behind the iterates: with rate r at the end, gradients are off by about k r^k. A gradient's
    /// `trend` says whether the last steps are all that matters.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged) if the iterates do; [`Error::NonFiniteIterate`](crate::Error::NonFiniteIterate);
    /// [`Error::TooLarge`](crate::Error::TooLarge) if the iterates do not fit; those of the map.
    pub fn tape(self) -> Result<Tape<'a, M>> {
        let n = self.start.len();
        let mut kept = match self.settings.storage {
            Storage::Elements => Kept::Elements(Vec::new()),
            Storage::Iterates => Kept::Iterates(Vec::new()),
        };
        let mut walk = Walk::new(&self);
        let mut stop = Stop::IterationLimit;
        for number in 0..self.settings.max_iterations {
            if let Kept::Iterates(all) = &mut kept {
                self.settings
                    .check_size("the tape's iterates", number + 1, n)?;
                all.extend_from_slice(&walk.x);
            }
            let element = walk.step(&self)?;
            if let Kept::Elements(all) = &mut kept {
                all.push(element);
            }
            if walk.is_quiet() {
                stop = Stop::Settled;
                break;
            }
        }
        Ok(Tape {
            iterates: walk.trend(),
            run: self,
            kept,
            x: walk.x,
            moves: walk.moves,
            stop,
        })
    }
}

impl<M: ParametricMap> Tape<'_, M> {
    /// x_K, n.
    pub fn x(&self) -> &[f64] {
        &self.x
    }
    /// K.
    pub fn iterations(&self) -> usize {
        self.moves.len()
    }
    /// |x_{k+1} - x_k|, one for each step.
    pub fn moves(&self) -> &[f64] {
        &self.moves
    }
    /// How the iterates settle.
    pub fn iterates(&self) -> &Trend {
        &self.iterates
    }
    /// Why the run ended.
    pub fn stop(&self) -> Stop {
        self.stop
    }

    /// J_K'w for w = grad l(x_K), n. K `apply_transpose`.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension), [`Error::NonFinite`](crate::Error::NonFinite), also for a gradient that
    /// overflows; those of the map.
    pub fn gradient(&self, w: &[f64]) -> Result<ReverseGradient> {
        let (n, p) = (self.x.len(), self.run.theta.len());
        check_length("w", n, w.len())?;
        check_finite("w", w)?;
        let mut sweep = Sweep {
            w: w.to_vec(),
            next: vec![0.0; n],
            part: vec![0.0; p],
            theta: vec![0.0; p],
            contributions: Vec::with_capacity(self.moves.len()),
            sizes: Vec::with_capacity(self.moves.len()),
        };
        match &self.kept {
            Kept::Elements(all) => {
                for element in all.iter().rev() {
                    sweep.step(self.run.map, element)?;
                }
            }
            Kept::Iterates(all) => {
                let mut unused = vec![0.0; n];
                for number in (0..self.moves.len()).rev() {
                    let x = &all[number * n..(number + 1) * n];
                    let element = self
                        .run
                        .map
                        .value(number, x, &self.run.theta, &mut unused)?;
                    sweep.step(self.run.map, &element)?;
                }
            }
        }
        let start = self.run.start_gradient(&sweep.w);
        sweep
            .theta
            .iter_mut()
            .zip(&start)
            .for_each(|(t, s)| *t += s);
        check_finite("gradient in theta", &sweep.theta)?;
        check_finite("gradient in x_0", &sweep.w)?;
        Ok(ReverseGradient {
            trend: Trend::new(&sweep.contributions, &sweep.sizes, 0.5),
            theta: sweep.theta,
            start: sweep.w,
            contributions: sweep.contributions,
        })
    }
}

/// The way back.
struct Sweep {
    w: Vec<f64>,
    next: Vec<f64>,
    part: Vec<f64>,
    theta: Vec<f64>,
    contributions: Vec<f64>,
    sizes: Vec<f64>,
}

impl Sweep {
    fn step<M: ParametricMap>(&mut self, map: &M, element: &M::Element) -> Result<()> {
        limit::check("a step back along the iteration")?;
        map.apply_transpose(element, &self.w, &mut self.next, &mut self.part)?;
        for (theta, part) in self.theta.iter_mut().zip(&self.part) {
            *theta += part;
        }
        self.contributions.push(norm(&self.part));
        self.sizes.push(norm(&self.theta));
        std::mem::swap(&mut self.w, &mut self.next);
        Ok(())
    }
}
