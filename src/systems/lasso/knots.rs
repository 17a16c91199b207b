//! What a derivative is at a knot: either side, the elements between, and how far the next knot is.

use super::derivative::{FitDerivative, FitTangent, Support, System};
use crate::derivative::Checked;
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::limit::check;
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::program::check_length;

/// A slack may be this much past its bound, relative to its terms.
const BEYOND: f64 = 1e-12;

impl FitDerivative<'_> {
    /// The one-sided derivative of beta, p, along a direction d: the limit of (beta(data + t d) - beta(data))/t as t falls to zero.
    /// `directional(-d)` is the other side. For the Lasso in the direction +1 of lambda it is the right derivative, minus that in
    /// the direction -1 the left one. At a knot where a coefficient enters as lambda falls the first is [`FitDerivative::element`] with
    /// k = 0 and the second that with k = 1.
    ///
    /// On E \ S the changes solve a linear complementarity problem, s db >= 0, s (t - H db) <= 0 with one of them zero in each column, s
    /// the sign of the correlation; Murty's principal pivoting, a factorization for each pivot.
    ///
    /// # Errors
    /// Those of [`FitDerivative::jvp`]; [`Error::NotConverged`] if pivoting fails by rounding.
    pub fn directional(&self, tangent: &FitTangent) -> Result<Checked<Vec<f64>>> {
        let tangent = self.complete(tangent)?;
        match &self.system {
            System::Conic(conic) => conic.push_forward(&self.theta(&tangent), true),
            System::Support(support) if support.active == support.columns.len() => {
                self.jvp(&tangent)
            }
            System::Support(support) => {
                let t = self.forcing(support, &tangent);
                let (v, evidence) = self.pivot(support, &t)?;
                let mut checked =
                    self.checked(self.spread(support, &v), evidence, Meaning::OneSided);
                // Either side is a derivative that is there.
                let is_knot = |w: &Warning| matches!(w, Warning::AtKnot(_));
                checked.warnings.retain(|w| !is_knot(w));
                checked.trusted = !checked.warnings.iter().any(Warning::is_fatal);
                Ok(checked)
            }
        }
    }

    /// The derivative of beta along a direction, for the element of the conservative Jacobian with factors k in [0, 1], one for each
    /// column of [`super::Fit::knot`]:
    ///
    /// ```text
    /// [I - diag(k)(I - H)] db = diag(k) t,   k = 1 on the support
    /// ```
    ///
    /// # Errors
    /// Those of [`FitDerivative::jvp`]; [`Error::Setting`] for a factor outside [0, 1]; [`Error::NotRegular`] by the conic route, where
    /// [`crate::Derivative::with_kink_selections`] does this.
    pub fn element(&self, k: &[f64], tangent: &FitTangent) -> Result<Checked<Vec<f64>>> {
        let tangent = self.complete(tangent)?;
        let System::Support(support) = &self.system else {
            return Err(Error::NotRegular {
                reason: "elements by factor are for the route of coordinate descent",
            });
        };
        check_length("k", support.columns.len() - support.active, k.len())?;
        if let Some(&value) = k.iter().find(|k| !(0.0..=1.0).contains(*k)) {
            return Err(Error::Setting {
                name: "k",
                value,
                allowed: "in [0, 1]",
            });
        }
        let t = self.forcing(support, &tangent);
        // Row j of it over k_j: H + diag(1/k - 1), without the columns whose k is 0.
        let factor = |i: usize| i.checked_sub(support.active).map_or(1.0, |z| k[z]);
        let kept: Vec<usize> = (0..support.columns.len())
            .filter(|i| factor(*i) > 0.0)
            .collect();
        let added: Vec<f64> = kept.iter().map(|&i| 1.0 / factor(i) - 1.0).collect();
        let system = support.all.part_plus(&kept, &added, &support.columns)?;
        let right: Vec<f64> = kept.iter().map(|&i| t[i]).collect();
        let (solved, evidence) = system.solve(&right);
        let mut v = vec![0.0; support.columns.len()];
        for (i, x) in kept.iter().zip(&solved) {
            v[*i] = *x;
        }
        let meaning = if k.is_empty() {
            Meaning::Derivative
        } else {
            Meaning::Chosen
        };
        Ok(self.checked(self.spread(support, &v), evidence, meaning))
    }

    /// How far the data can move along a direction until a coefficient of the support reaches 0 or a correlation its bound, to first
    /// order: exact in lambda and y for squares without a ridge, where the coefficients are piecewise linear. Infinite if nothing does.
    ///
    /// # Errors
    /// Those of [`FitDerivative::directional`].
    pub fn reach(&self, tangent: &FitTangent) -> Result<f64> {
        let moved = self.directional(tangent)?.value;
        let tangent = self.complete(tangent)?;
        let (fit, design, penalty) = (self.fit, self.fit.regression.design(), &self.fit.penalty);
        let weights = fit
            .regression
            .loss()
            .curvature(&fit.point.fitted, fit.regression.y());
        // dr = dy - W (dX b + X db).
        let mut change = design.product(&moved);
        if !tangent.x.is_empty() {
            for &j in fit.support() {
                design.for_each_position(j, |i, k| change[i] += tangent.x[k] * fit.beta()[j]);
            }
        }
        if let Some(w) = &weights {
            change.iter_mut().zip(w).for_each(|(d, w)| *d *= w);
        }
        let dy = |i: usize| tangent.y.get(i).copied().unwrap_or(0.0);
        let dr: Vec<f64> = change.iter().enumerate().map(|(i, d)| dy(i) - d).collect();
        let dridge = penalty
            .ridge_parameter()
            .map_or(0.0, |k| tangent.penalty[k]);
        let at_knot: &[usize] = fit.knot().map_or(&[], |k| &k.columns);
        let mut least = f64::INFINITY;
        let mut take = |distance: f64| {
            if distance > 0.0 && distance < least {
                least = distance;
            }
        };
        for (j, (&b, &db)) in fit.beta().iter().zip(&moved).enumerate() {
            if b != 0.0 {
                take(-b / db);
            } else if at_knot.binary_search(&j).is_err() {
                let mut dc = design.gather(j, &dr) - penalty.ridge() * db - dridge * b;
                if !tangent.x.is_empty() {
                    design.for_each_position(j, |i, k| dc += tangent.x[k] * fit.residual()[i]);
                }
                let (c, lambda) = (fit.correlations()[j], penalty.lambda(j));
                let dlambda = tangent.penalty[penalty.parameter_of(j)];
                take((lambda - c) / (dc - dlambda));
                take((lambda + c) / (-dc - dlambda));
            }
        }
        Ok(least)
    }

    /// The complementarity problem on E by least-index principal pivoting.
    fn pivot(&self, support: &Support, t: &[f64]) -> Result<(Vec<f64>, Evidence)> {
        let (columns, active) = (&support.columns, support.active);
        let sign = |i: usize| self.fit.correlations()[columns[i]].signum();
        let mut moves: Vec<bool> = (0..columns.len()).map(|i| i < active).collect();
        // Enough for the sequences met; in exact arithmetic it always ends.
        let limit = 100 + 20 * (columns.len() - active);
        for _ in 0..limit {
            check("a pivot of the one-sided derivative")?;
            let kept: Vec<usize> = (0..columns.len()).filter(|i| moves[*i]).collect();
            let system = support.all.part(&kept, columns)?;
            let right: Vec<f64> = kept.iter().map(|&i| t[i]).collect();
            let (solved, evidence) = system.solve(&right);
            let mut v = vec![0.0; columns.len()];
            for (i, x) in kept.iter().zip(&solved) {
                v[*i] = *x;
            }
            let product = support.all.matrix().multiply(&v);
            let is_wrong = |i: &usize| {
                if moves[*i] {
                    sign(*i) * v[*i] < 0.0
                } else {
                    let slack = sign(*i) * (t[*i] - product[*i]);
                    slack > BEYOND * (t[*i].abs() + product[*i].abs())
                }
            };
            match (active..columns.len()).find(is_wrong) {
                None => return Ok((v, evidence)),
                Some(i) => moves[i] = !moves[i],
            }
        }
        Err(Error::NotConverged {
            method: "the one-sided derivative's pivots",
            iterations: limit,
            reached: columns.len() as f64,
            tolerance: 0.0,
        })
    }
}
