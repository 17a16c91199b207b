//! Running an iteration, its derivatives carried along.

use super::limit::LimitDerivative;
use super::map::ParametricMap;
use super::settings::PiggybackSettings;
use super::trend::{Tendency, Trend};
use crate::cycle::distance;
use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use crate::limit;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::tangent::norm;

/// Small changes in so many steps, one after the other, end a run: a single one may be a turning point.
const QUIET: usize = 3;

/// An iteration x_{k+1} = G(x_k, theta) from a start x_0, ready to be run and differentiated.
///
/// ```text
/// forward:  J_{k+1} = A_k J_k + B_k,   J_0 = 0 or given                                (n x p, or J d for directions d)
/// reverse:  w_k = A_k'w_{k+1},   gradient of l(x_K) = sum_k B_k'w_{k+1},   w_K = grad l(x_K)
/// ```
///
/// Forward costs one `apply` for each step and parameter (or direction) and keeps nothing; reverse costs one
/// `apply_transpose` for each step whatever the number of parameters, and keeps every step ([`Piggyback::tape`]).
///
/// ```
/// use conediff::SparseMatrix;
/// use conediff::piggyback::{
///     GradientDescent, LeastSquares, Piggyback, PiggybackSettings, Propagated, ReverseGradient, Stop, Verdict,
/// };
/// let x = SparseMatrix::from_csc("X", 2, 2, &[0, 2, 3], &[0, 1, 1], &[1.0, 0.5, 1.0])?;
/// let descent = GradientDescent::new(LeastSquares::new(x), 0.5)?;
/// let theta = [0.1, 1.0, 2.0];
/// let run = Piggyback::new(&descent, &[0.0; 2], &theta, PiggybackSettings::default())?;
///
/// let forward: Propagated = run.jacobian()?;
/// assert_eq!((forward.stop, forward.verdict()), (Stop::Settled, Verdict::Converging));
/// // The implicit derivative at the limit is the same.
/// let limit = run.limit(&forward.x)?;
/// assert!(forward.distance_to(&limit)? < 1e-9);
/// // The gradient of x_1 in reverse is the first row.
/// let gradient: ReverseGradient = run.tape()?.gradient(&[1.0, 0.0])?;
/// assert!((gradient.theta[1] - forward.jacobian.data[2]).abs() < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022.
#[derive(Debug)]
pub struct Piggyback<'a, M> {
    pub(super) map: &'a M,
    pub(super) start: Vec<f64>,
    pub(super) theta: Vec<f64>,
    pub(super) settings: PiggybackSettings,
    start_jacobian: Option<DenseMatrix>,
}

/// Why a run ended.
///
/// ```
/// # use conediff::SparseMatrix;
/// # use conediff::piggyback::{GradientDescent, LeastSquares, Piggyback, PiggybackSettings};
/// # let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// # let descent = GradientDescent::new(loss, 0.4)?;
/// use conediff::piggyback::Stop;
/// // x+ = 0.2 x + 0.4 y: each change is a fifth of the one before
/// for (max_iterations, stop) in [(5, Stop::IterationLimit), (500, Stop::Settled)] {
///     let settings = PiggybackSettings { max_iterations, ..PiggybackSettings::default() };
///     let run = Piggyback::new(&descent, &[0.0], &[1.0, 3.0], settings)?.jacobian()?;
///     assert!(run.stop == stop && run.iterations <= max_iterations);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The changes met their tolerances.
    Settled,
    /// [`PiggybackSettings::max_iterations`] came first.
    IterationLimit,
    /// The derivatives grew beyond [`PiggybackSettings::divergence`].
    DerivativeDiverged,
}

/// Whether differentiating the iteration differentiates its limit.
///
/// ```
/// # use conediff::piggyback::{ParametricMap, Piggyback, PiggybackSettings};
/// # use conediff::Result;
/// use conediff::piggyback::Verdict;
/// /// x+ = (x + theta) / 2, whose derivative in x is 1/2 and is said to be what is given here.
/// struct Halving(f64);
/// # impl ParametricMap for Halving {
/// #     type Element = f64;
/// #     fn dimension(&self) -> usize { 1 }
/// #     fn parameters(&self) -> usize { 1 }
/// #     fn value(&self, _: usize, x: &[f64], theta: &[f64], out: &mut [f64]) -> Result<f64> {
/// #         out[0] = (x[0] + theta[0]) / 2.0;
/// #         Ok(self.0)
/// #     }
/// #     fn apply(&self, a: &f64, dx: &[f64], dtheta: &[f64], out: &mut [f64]) -> Result<()> {
/// #         out[0] = a * dx[0] + 0.5 * dtheta[0];
/// #         Ok(())
/// #     }
/// #     fn apply_transpose(&self, a: &f64, w: &[f64], dx: &mut [f64], dtheta: &mut [f64]) -> Result<()> {
/// #         (dx[0], dtheta[0]) = (a * w[0], 0.5 * w[0]);
/// #         Ok(())
/// #     }
/// # }
/// let settings = PiggybackSettings { max_iterations: 60, ..PiggybackSettings::default() };
/// let verdict = |a| Ok::<_, conediff::Error>(Piggyback::new(&Halving(a), &[1.0], &[0.0], settings)?.jacobian()?.verdict());
/// // The iterates settle whatever is said; the derivatives where it is a contraction.
/// assert_eq!((verdict(0.5)?, verdict(-1.5)?), (Verdict::Converging, Verdict::DerivativeFails));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Iterates and derivatives settle: the derivatives are close to an element of a conservative Jacobian of the limit.
    Converging,
    /// The iterates settle and the derivatives do not: they say nothing about the limit.
    DerivativeFails,
    /// The iterates do not settle, or too slowly to tell.
    IteratesFail,
    /// Too few steps to tell.
    TooShort,
}

/// The last iterate with its derivative, and how both came about.
///
/// ```
/// # use conediff::SparseMatrix;
/// # use conediff::piggyback::{GradientDescent, LeastSquares, Piggyback, PiggybackSettings};
/// # let loss = LeastSquares::new(SparseMatrix::from_csc("X", 1, 1, &[0, 1], &[0], &[1.0])?);
/// use conediff::piggyback::Propagated;
/// // x+ = x - 0.4 (x - y + lambda x) at lambda = 1, y = 3: x = y / (1 + lambda), and A = 0.2
/// let descent = GradientDescent::new(loss, 0.4)?;
/// let run: Propagated = Piggyback::new(&descent, &[0.0], &[1.0, 3.0], PiggybackSettings::default())?.jacobian()?;
/// assert!((run.x[0] - 1.5).abs() < 1e-12 && run.is_converging());
/// assert!((run.jacobian.data[0] + 0.75).abs() < 1e-9 && (run.jacobian.data[1] - 0.5).abs() < 1e-9);
/// // The first step goes from 0 to 0.4 y, and later ones are a fifth of the one before.
/// assert!((run.moves[0] - 1.2).abs() < 1e-12 && (run.moves[1] - 0.24).abs() < 1e-12);
/// assert_eq!(run.moves.len(), run.iterations);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Propagated {
    /// x_K, n.
    #[serde(with = "crate::exact::numbers")]
    pub x: Vec<f64>,
    /// J_K, n x p, or J_K d, n x directions.
    pub jacobian: DenseMatrix,
    /// K.
    pub iterations: usize,
    /// Why the run ended.
    pub stop: Stop,
    /// |x_{k+1} - x_k|, Euclidean, one for each step.
    #[serde(with = "crate::exact::numbers")]
    pub moves: Vec<f64>,
    /// |J_{k+1} - J_k|, Frobenius, one for each step.
    #[serde(with = "crate::exact::numbers")]
    pub changes: Vec<f64>,
    /// |J_{k+1}|, Frobenius, one for each step.
    #[serde(with = "crate::exact::numbers")]
    pub sizes: Vec<f64>,
    /// How the iterates settle.
    pub iterates: Trend,
    /// How the derivatives settle.
    pub derivative: Trend,
}

impl Propagated {
    /// Whether the derivative is that of the limit, by both trends.
    pub fn verdict(&self) -> Verdict {
        use Tendency::{Converging, TooShort};
        match (self.iterates.tendency, self.derivative.tendency) {
            (Converging, Converging) => Verdict::Converging,
            (TooShort, _) | (Converging, TooShort) => Verdict::TooShort,
            (Converging, _) => Verdict::DerivativeFails,
            _ => Verdict::IteratesFail,
        }
    }

    /// True if both settle.
    pub fn is_converging(&self) -> bool {
        self.verdict() == Verdict::Converging
    }

    /// |J_K - J| / |J| with J the implicit derivative, Frobenius; 0 if both are 0.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the shapes differ, as those of a Jacobian and of directions.
    pub fn distance_to(&self, limit: &LimitDerivative) -> Result<f64> {
        check_length("rows", self.jacobian.rows, limit.jacobian.rows)?;
        check_length("columns", self.jacobian.cols, limit.jacobian.cols)?;
        let difference = distance(&self.jacobian.data, &limit.jacobian.data);
        Ok(if difference > 0.0 {
            difference / norm(&limit.jacobian.data)
        } else {
            difference
        })
    }
}

/// Iterates on the move: where the run is, and the sizes of its steps.
pub(super) struct Walk {
    pub(super) x: Vec<f64>,
    next: Vec<f64>,
    bound: f64,
    pub(super) moves: Vec<f64>,
    sizes: Vec<f64>,
    quiet: usize,
}

impl Walk {
    pub(super) fn new<M: ParametricMap>(run: &Piggyback<'_, M>) -> Self {
        Self {
            x: run.start.clone(),
            next: vec![0.0; run.start.len()],
            bound: run.settings.divergence * (1.0 + norm(&run.start)),
            moves: Vec::new(),
            sizes: Vec::new(),
            quiet: 0,
        }
    }

    /// One step; the element is that at the iterate left.
    pub(super) fn step<M: ParametricMap>(&mut self, run: &Piggyback<'_, M>) -> Result<M::Element> {
        limit::check("an iteration of the map")?;
        let number = self.moves.len();
        let element = run.map.value(number, &self.x, &run.theta, &mut self.next)?;
        check_iterate("the iterate", number + 1, &self.next)?;
        let moved = distance(&self.next, &self.x);
        let size = norm(&self.next);
        self.moves.push(moved);
        self.sizes.push(size);
        std::mem::swap(&mut self.x, &mut self.next);
        if size > self.bound {
            return Err(self.diverged());
        }
        self.quiet = if moved < run.settings.iterate_tolerance * (1.0 + size) {
            self.quiet + 1
        } else {
            0
        };
        Ok(element)
    }

    /// The error of iterates that grow.
    fn diverged(&self) -> Error {
        Error::Diverged {
            what: "the iterate",
            iterations: self.moves.len(),
            size: norm(&self.x),
            rate: self.trend().rate,
        }
    }

    /// Settled for long enough.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet >= QUIET
    }

    pub(super) fn trend(&self) -> Trend {
        // Alternating sums converge if their terms fall faster than k^-1/2.
        Trend::new(&self.moves, &self.sizes, std::f64::consts::FRAC_1_SQRT_2)
    }
}

fn check_iterate(what: &'static str, iterations: usize, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::NonFiniteIterate {
            what,
            iterations,
            index,
            value: values[index],
        }),
        None => Ok(()),
    }
}

/// The identity of order p.
pub(super) fn identity(p: usize) -> DenseMatrix {
    let mut data = vec![0.0; p * p];
    data.iter_mut().step_by(p + 1).for_each(|d| *d = 1.0);
    DenseMatrix {
        rows: p,
        cols: p,
        data,
    }
}

fn check_matrix(what: &'static str, rows: usize, matrix: &DenseMatrix) -> Result<()> {
    check_length(what, rows, matrix.rows)?;
    let entries = matrix.rows.saturating_mul(matrix.cols);
    check_length(what, entries, matrix.data.len())?;
    check_finite(what, &matrix.data)
}

/// The columns of a matrix, empty ones too.
pub(super) fn columns(matrix: &DenseMatrix) -> impl Iterator<Item = &[f64]> {
    (0..matrix.cols).map(|j| matrix.column(j).unwrap_or(&[]))
}

impl<'a, M: ParametricMap> Piggyback<'a, M> {
    /// From x_0 (n) at theta (p), with J_0 = 0: a start that does not depend on theta.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::Setting`].
    pub fn new(
        map: &'a M,
        start: &[f64],
        theta: &[f64],
        settings: PiggybackSettings,
    ) -> Result<Self> {
        settings.validate()?;
        check_length("start", map.dimension(), start.len())?;
        check_length("theta", map.parameters(), theta.len())?;
        check_finite("start", start)?;
        check_finite("theta", theta)?;
        Ok(Self {
            map,
            start: start.to_vec(),
            theta: theta.to_vec(),
            settings,
            start_jacobian: None,
        })
    }

    /// With J_0, n x p, for a start that depends on theta.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn with_start_jacobian(mut self, jacobian: DenseMatrix) -> Result<Self> {
        check_matrix("J_0", self.start.len(), &jacobian)?;
        check_length("columns of J_0", self.theta.len(), jacobian.cols)?;
        self.start_jacobian = Some(jacobian);
        Ok(self)
    }

    /// Runs the iteration with its whole Jacobian, n x p. K p `apply`, memory 2 n p.
    ///
    /// # Errors
    /// Those of [`Piggyback::along`].
    pub fn jacobian(&self) -> Result<Propagated> {
        let p = self.theta.len();
        self.settings.check_size("the directions", p, p)?;
        self.along(&identity(p))
    }

    /// Runs the iteration with the derivatives J d in the directions given, p x r. K r `apply`, memory 2 n r.
    ///
    /// Ends when iterates and derivatives have settled, at the limit of iterations, or where the derivatives outgrow
    /// [`PiggybackSettings::divergence`].
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::TooLarge`]; [`Error::Diverged`] if the iterates do;
    /// [`Error::NonFiniteIterate`]; those of the map.
    pub fn along(&self, directions: &DenseMatrix) -> Result<Propagated> {
        let n = self.start.len();
        check_matrix("directions", self.theta.len(), directions)?;
        self.settings
            .check_size("the derivatives", n, directions.cols)?;
        let mut jacobian = self.first(directions);
        let mut next = jacobian.clone();
        let mut walk = Walk::new(self);
        let (mut changes, mut sizes) = (Vec::new(), Vec::<f64>::new());
        let (mut stop, mut quiet) = (Stop::IterationLimit, 0);
        for number in 0..self.settings.max_iterations {
            let element = walk.step(self)?;
            let pairs = columns(&jacobian).zip(columns(directions));
            for (out, (dx, dtheta)) in next.data.chunks_mut(n.max(1)).zip(pairs) {
                limit::check("a column of the derivative")?;
                self.map.apply(&element, dx, dtheta, out)?;
            }
            check_iterate("the derivative", number + 1, &next.data)?;
            let (change, size) = (distance(&next.data, &jacobian.data), norm(&next.data));
            changes.push(change);
            sizes.push(size);
            std::mem::swap(&mut jacobian, &mut next);
            let first = sizes.first().copied().unwrap_or(0.0);
            if size > self.settings.divergence * (1.0 + first) {
                // Where both diverge it is the iterates' fault.
                if walk.trend().tendency == Tendency::Diverging {
                    return Err(walk.diverged());
                }
                stop = Stop::DerivativeDiverged;
                break;
            }
            quiet = if change < self.settings.derivative_tolerance * (1.0 + size) {
                quiet + 1
            } else {
                0
            };
            if walk.is_quiet() && quiet >= QUIET {
                stop = Stop::Settled;
                break;
            }
        }
        Ok(Propagated {
            iterations: walk.moves.len(),
            stop,
            iterates: walk.trend(),
            derivative: Trend::new(&changes, &sizes, 0.5),
            x: walk.x,
            jacobian,
            moves: walk.moves,
            changes,
            sizes,
        })
    }

    /// J_0 d.
    fn first(&self, directions: &DenseMatrix) -> DenseMatrix {
        let n = self.start.len();
        let mut data = vec![0.0; n * directions.cols];
        if let Some(start) = &self.start_jacobian {
            for (out, direction) in data.chunks_mut(n.max(1)).zip(columns(directions)) {
                for (column, d) in columns(start).zip(direction) {
                    out.iter_mut().zip(column).for_each(|(o, c)| *o += c * d);
                }
            }
        }
        DenseMatrix {
            rows: n,
            cols: directions.cols,
            data,
        }
    }

    /// J_0'w.
    pub(super) fn start_gradient(&self, w: &[f64]) -> Vec<f64> {
        match &self.start_jacobian {
            Some(start) => columns(start).map(|c| crate::tangent::dot(c, w)).collect(),
            None => vec![0.0; self.theta.len()],
        }
    }
}
