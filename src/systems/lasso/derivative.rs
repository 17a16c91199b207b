//! The derivative of the coefficients: forward, reverse, one-sided, and other elements at a knot.
//!
//! ```text
//! H = X_E'WX_E + ridge I,  W = f''(X b),  E = { j : |c_j| = lambda_j },  S = { j : b_j != 0 }
//! JVP   H_SS db_S = t_S,   t_j = -dlambda_j sign(c_j) - dridge b_j + X_j'dr + dX_j'r,   dr = dy - dX b  (-W dX b if logistic)
//! VJP   H_SS a = g_S,      dlambda_j = -sign(c_j) a_j,  dridge = -b'a,  dy = X_S a,  dX_ij = a_j r_i - (W X a)_i b_j
//! ```

use super::cholesky::Cholesky;
use super::fit::Fit;
use super::gram::Gram;
use super::loss::Loss;
use super::twin::ConicFit;
use crate::derivative::Checked;
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::settings::Selection;
use std::sync::Arc;

/// A direction in a regression's numbers. A part left empty is zero.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, Penalty, SparseRegression};
/// # let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// # let fit = regression.fit(&Penalty::lasso(2.0), &FitSettings::default())?;
/// use conediff::systems::lasso::FitTangent;
/// // beta = (y_0 - lambda, 0) at lambda = 2: lambda and y move together, X does not
/// let tangent = FitTangent { penalty: vec![1.0], y: vec![3.0, 1.0], ..FitTangent::default() };
/// assert_eq!(fit.derivative()?.jvp(&tangent)?.value, [2.0, 0.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FitTangent {
    /// In the penalty's parameters.
    pub penalty: Vec<f64>,
    /// In y, n. Empty for the logistic loss, whose labels do not move.
    pub y: Vec<f64>,
    /// In the stored values of X, in the caller's order.
    pub x: Vec<f64>,
}

/// A gradient in a regression's numbers, on the same parts.
pub type FitCotangent = FitTangent;

/// The derivative of a [`Fit`]'s coefficients.
///
/// At a knot (E larger than the support S) it is the element of the conservative Jacobian with the coefficients of E \ S held at 0, and
/// says so; [`FitDerivative::directional`] gives either side and [`FitDerivative::element`] the others. It is only made where H is
/// positive definite on E: then every element is invertible, and the solution is unique and locally Lipschitz.
///
/// For squares off knots it takes the factorization the fit ended with; otherwise making it costs |S| inner products for each column of the
/// support and a Cholesky factorization, |S|^3/3. A JVP or VJP in the penalty and y then costs one solve and a pass over the support's
/// columns.
///
/// ```
/// use conediff::{DenseMatrix, Meaning};
/// use conediff::systems::lasso::{Design, FitCotangent, FitSettings, FitTangent, Penalty, SparseRegression};
/// let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// // beta = (3 - lambda, max(1 - lambda, 0)): a kink at lambda = 1.
/// let fit = regression.fit(&Penalty::lasso(1.0), &FitSettings::default())?;
/// let derivative = fit.derivative()?;
/// let up = FitTangent { penalty: vec![1.0], ..FitTangent::default() };
/// let down = FitTangent { penalty: vec![-1.0], ..FitTangent::default() };
/// assert_eq!(derivative.directional(&up)?.value, [-1.0, 0.0]);
/// assert_eq!(derivative.directional(&down)?.value, [1.0, 1.0]);
/// let element = derivative.jvp(&up)?;
/// assert!(!element.trusted && matches!(element.meaning, Meaning::Element { .. }));
/// let gradient: FitCotangent = derivative.vjp(&[1.0, 0.0])?.value;
/// assert_eq!(gradient.penalty, [-1.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, section 4.2.
/// Bertrand et al., Implicit differentiation for fast hyperparameter selection in non-smooth convex learning, 2022.
#[derive(Debug)]
pub struct FitDerivative<'a> {
    pub(super) fit: &'a Fit,
    pub(super) system: System<'a>,
}

#[derive(Debug)]
pub(super) enum System<'a> {
    Support(Box<Support>),
    Conic(&'a ConicFit),
}

#[derive(Debug)]
pub(super) struct Support {
    /// E: the support, then the columns at the knot.
    pub(super) columns: Vec<usize>,
    /// |S|.
    pub(super) active: usize,
    /// H on E.
    pub(super) all: Arc<Cholesky>,
    /// H on S.
    pub(super) active_part: Arc<Cholesky>,
    /// W's diagonal; nothing for ones.
    weights: Option<Vec<f64>>,
}

impl<'a> FitDerivative<'a> {
    pub(super) fn new(fit: &'a Fit) -> Result<Self> {
        if let Some(conic) = &fit.conic {
            return Ok(Self {
                fit,
                system: System::Conic(conic),
            });
        }
        let (regression, active) = (&fit.regression, fit.support().len());
        let mut columns = fit.support().to_vec();
        columns.extend(fit.knot().iter().flat_map(|k| &k.columns));
        let weights = regression
            .loss()
            .curvature(&fit.point.fitted, regression.y());
        let all = match &fit.factor {
            Some((of, factor)) if *of == columns => Arc::clone(factor),
            _ => {
                let mut gram = Gram::new(regression, weights.as_deref());
                Arc::new(gram.factor(&columns, fit.penalty.ridge())?)
            }
        };
        let active_part = if active == columns.len() {
            Arc::clone(&all)
        } else {
            let kept: Vec<usize> = (0..active).collect();
            Arc::new(all.part(&kept, &columns)?)
        };
        Ok(Self {
            fit,
            system: System::Support(Box::new(Support {
                columns,
                active,
                all,
                active_part,
                weights,
            })),
        })
    }

    /// The condition estimate of the linear system.
    pub fn condition(&self) -> f64 {
        match &self.system {
            System::Support(s) => s.all.condition(),
            System::Conic(c) => c.derivative.condition(),
        }
    }

    /// True if every element of the conservative Jacobian is invertible. By coordinate descent's route always: H is positive definite on
    /// E, or there is no derivative. By the conic route what [`crate::Derivative::regularity`] finds.
    ///
    /// # Errors
    /// Those of [`crate::Derivative::regularity`].
    pub fn is_certified(&self) -> Result<bool> {
        match &self.system {
            System::Support(_) => Ok(true),
            System::Conic(c) => Ok(c.derivative.regularity()?.is_certified()),
        }
    }

    /// Degrees of freedom of the fit for squares, the divergence of X b in y: |S| for the Lasso, |S| - ridge tr(H_SS^-1) with a ridge.
    /// For the logistic loss tr(W X_S H_SS^-1 X_S'), the same formula.
    pub fn degrees_of_freedom(&self) -> f64 {
        let ridge = self.fit.penalty.ridge();
        let count = self.fit.support().len() as f64;
        match &self.system {
            System::Support(s) if ridge > 0.0 => count - ridge * s.active_part.inverse_trace(),
            System::Conic(_) if ridge > 0.0 => f64::NAN,
            _ => count,
        }
    }

    /// The derivative of beta, p, in one parameter of the penalty. At a knot see [`FitDerivative::jvp`].
    ///
    /// # Errors
    /// [`Error::Dimension`] for a parameter that is not there.
    pub fn in_parameter(&self, parameter: usize) -> Result<Checked<Vec<f64>>> {
        let count = self.fit.penalty.count();
        if parameter >= count {
            return Err(Error::Dimension {
                what: "parameter (must be below the expected length)",
                expected: count,
                found: parameter,
            });
        }
        let mut penalty = vec![0.0; count];
        penalty[parameter] = 1.0;
        self.jvp(&FitTangent {
            penalty,
            ..FitTangent::default()
        })
    }

    /// The derivative of beta, p, along a direction; at a knot that of the element with the coefficients there held at 0.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn jvp(&self, tangent: &FitTangent) -> Result<Checked<Vec<f64>>> {
        let tangent = self.complete(tangent)?;
        match &self.system {
            System::Conic(conic) => conic.push_forward(&self.theta(&tangent), false),
            System::Support(support) => {
                let t = self.forcing(support, &tangent);
                let (v, evidence) = support.active_part.solve(&t[..support.active]);
                Ok(self.checked(self.spread(support, &v), evidence, self.meaning()))
            }
        }
    }

    /// The gradient of <g, beta> in the penalty's parameters and y, g: p; that of X is left empty.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn vjp(&self, g: &[f64]) -> Result<Checked<FitCotangent>> {
        self.gradient(g, false)
    }

    /// The same with the gradient in the stored values of X, nnz(X) of them.
    ///
    /// # Errors
    /// Those of [`FitDerivative::vjp`].
    pub fn vjp_all(&self, g: &[f64]) -> Result<Checked<FitCotangent>> {
        self.gradient(g, true)
    }

    fn gradient(&self, g: &[f64], of_design: bool) -> Result<Checked<FitCotangent>> {
        let (fit, regression) = (self.fit, &self.fit.regression);
        let design = regression.design();
        check_length("g", design.columns(), g.len())?;
        check_finite("g", g)?;
        let support = match &self.system {
            System::Support(support) => support,
            System::Conic(conic) => {
                let found = conic.pull_back(g)?;
                let value = self.parts(&found.value, of_design);
                return Ok(Checked {
                    value,
                    meaning: found.meaning,
                    evidence: found.evidence,
                    trusted: found.trusted,
                    warnings: found.warnings,
                });
            }
        };
        let active = &support.columns[..support.active];
        let right: Vec<f64> = active.iter().map(|&j| g[j]).collect();
        let (a, evidence) = support.active_part.solve(&right);
        let (beta, penalty) = (fit.beta(), &fit.penalty);
        let mut value = FitTangent {
            penalty: vec![0.0; penalty.count()],
            ..FitTangent::default()
        };
        let mut moved = vec![0.0; design.rows()];
        for (&j, a) in active.iter().zip(&a) {
            value.penalty[penalty.parameter_of(j)] -= beta[j].signum() * a;
            if let Some(ridge) = penalty.ridge_parameter() {
                value.penalty[ridge] -= beta[j] * a;
            }
            design.scatter(j, *a, &mut moved);
        }
        if of_design {
            let r = fit.residual();
            let weighted: Vec<f64> = match &support.weights {
                None => moved.clone(),
                Some(w) => w.iter().zip(&moved).map(|(w, m)| w * m).collect(),
            };
            value.x = vec![0.0; design.nnz()];
            for (&j, a) in active.iter().zip(&a) {
                let b = beta[j];
                let out = &mut value.x;
                design.for_each_position(j, |i, k| out[k] = a * r[i] - weighted[i] * b);
            }
        }
        if regression.loss() == Loss::Squares {
            value.y = moved;
        }
        Ok(self.checked(value, evidence, self.meaning()))
    }

    fn meaning(&self) -> Meaning {
        match self.fit.knot() {
            None => Meaning::Derivative,
            // The bounds b+, b- >= 0 held.
            Some(_) => Meaning::Element {
                selection: Selection::Active,
            },
        }
    }

    pub(super) fn checked<T>(&self, value: T, evidence: Evidence, meaning: Meaning) -> Checked<T> {
        let mut warnings = self.fit.warnings();
        if !evidence.converged {
            warnings.push(Warning::LinearResidual {
                residual: evidence.residual,
                tolerance: super::cholesky::TOLERANCE,
            });
        } else if evidence.error > self.fit.settings.accuracy {
            warnings.push(Warning::Inaccurate {
                error: evidence.error,
                accuracy: self.fit.settings.accuracy,
            });
        }
        Checked {
            value,
            meaning,
            evidence,
            trusted: !warnings.iter().any(Warning::is_fatal),
            warnings,
        }
    }

    /// With zeros in the empty parts.
    pub(super) fn complete(&self, tangent: &FitTangent) -> Result<FitTangent> {
        let regression = &self.fit.regression;
        let part = |what: &'static str, given: &[f64], length: usize| -> Result<Vec<f64>> {
            if given.is_empty() {
                return Ok(vec![0.0; length]);
            }
            check_length(what, length, given.len())?;
            check_finite(what, given)?;
            Ok(given.to_vec())
        };
        let of_y = match regression.loss() {
            Loss::Squares => regression.y().len(),
            Loss::Logistic => 0,
        };
        let is_still = tangent.x.is_empty() && self.fit.conic.is_none();
        let of_x = if is_still {
            0
        } else {
            regression.design().nnz()
        };
        Ok(FitTangent {
            penalty: part(
                "tangent penalty",
                &tangent.penalty,
                self.fit.penalty.count(),
            )?,
            y: part("tangent y", &tangent.y, of_y)?,
            x: part("tangent X", &tangent.x, of_x)?,
        })
    }

    /// The parameters of the cone program.
    pub(super) fn theta(&self, tangent: &FitTangent) -> Vec<f64> {
        [&tangent.penalty[..], &tangent.y, &tangent.x].concat()
    }

    fn parts(&self, theta: &[f64], of_design: bool) -> FitCotangent {
        let (penalty, rest) = theta.split_at(self.fit.penalty.count());
        let nnz = self.fit.regression.design().nnz();
        let (y, x) = rest.split_at(rest.len() - nnz);
        FitTangent {
            penalty: penalty.to_vec(),
            y: y.to_vec(),
            x: if of_design { x.to_vec() } else { Vec::new() },
        }
    }

    /// t on E.
    pub(super) fn forcing(&self, support: &Support, tangent: &FitTangent) -> Vec<f64> {
        let (fit, design) = (self.fit, self.fit.regression.design());
        let (beta, penalty) = (fit.beta(), &fit.penalty);
        let mut dr = vec![0.0; design.rows()];
        if !tangent.x.is_empty() {
            for &j in &support.columns[..support.active] {
                design.for_each_position(j, |i, k| dr[i] -= tangent.x[k] * beta[j]);
            }
        }
        if let Some(w) = &support.weights {
            dr.iter_mut().zip(w).for_each(|(d, w)| *d *= w);
        }
        dr.iter_mut().zip(&tangent.y).for_each(|(d, y)| *d += y);
        let dridge = penalty
            .ridge_parameter()
            .map_or(0.0, |k| tangent.penalty[k]);
        let is_still = dr.iter().all(|d| *d == 0.0);
        let t = support.columns.iter().map(|&j| {
            let dlambda = tangent.penalty[penalty.parameter_of(j)];
            let mut t = -dlambda * fit.correlations()[j].signum() - dridge * beta[j];
            if !is_still {
                t += design.gather(j, &dr);
            }
            if !tangent.x.is_empty() {
                design.for_each_position(j, |i, k| t += tangent.x[k] * fit.residual()[i]);
            }
            t
        });
        t.collect()
    }

    /// p entries from those on E, or on S.
    pub(super) fn spread(&self, support: &Support, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.fit.beta().len()];
        for (&j, v) in support.columns.iter().zip(v) {
            out[j] = *v;
        }
        out
    }
}
