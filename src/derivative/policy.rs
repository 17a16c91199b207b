//! What takes the derivative's place at points that are not certified.

use super::{Derivative, DerivativeWorkspace, Origin};
use crate::error::Result;
use crate::kink::Warning;
use crate::lagrangian::{Envelope, lagrangian_jvp, lagrangian_vjp};
use crate::linsolve::{Evidence, Method, Prepared, StopReason, Structure};
use crate::meaning::Meaning;
use crate::point::{Moved, PreparedPoint, take_point};
use crate::program::ConeProgram;
use crate::projection::Element;
use crate::residual::{ResidualJacobian, Wanted};
use crate::selection::jacobian_at;
use crate::settings::{Policy, Settings, check_positive};
use crate::smoothing::{central_path, moved};
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent, norm_max};
use std::sync::{Arc, OnceLock};

/// What a policy put in the derivative's place.
#[derive(Debug)]
pub(super) enum Substitute {
    /// Another linear map.
    Derivative(Box<Derivative>),
    /// Perturbed solves.
    Lagrangian { tau: f64 },
}

impl Substitute {
    pub(super) fn meaning(&self) -> Meaning {
        match self {
            Substitute::Derivative(other) => other.meaning,
            Substitute::Lagrangian { tau } => Meaning::Lagrangian { tau: *tau },
        }
    }
}

impl Derivative {
    /// The derivative of the central path's point (x_mu, z_mu, s_mu) for the barrier weight mu > 0, found from a solution. It is smooth in
    /// the data where the solution itself has kinks, and off them it differs from the solution's derivative by O(mu), once mu
    /// is small beside the squared distance to the next kink or edge; across a kink it goes from one side's to the other's over a
    /// width of about sqrt(mu) in v. mu has the unit of s times z: 1e-4 is a mild smoothing of data of order one.
    ///
    /// [`Derivative::solution`] is the path's point, [`Derivative::projection`] the smoothed projection there, and
    /// [`Derivative::objective_gradient`] the gradient of the barrier problem's optimal value. Costs a
    /// factorization for each Newton step, four on average, and two solves for each JVP or VJP.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
    /// // minimize 1/2 x^2 subject to x <= b: at b = 0 x(b) = min(b, 0) has a kink
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![0.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.0],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let settings = Settings::default();
    /// let solution = solve(&program, &settings)?;
    /// let derivative = Derivative::smoothed(&program, &solution, 1e-6, &settings)?;
    /// let mut seed = SolutionTangent::zeros(&program);
    /// seed.x[0] = 1.0;
    /// let gradient = derivative.vjp(&seed)?;
    /// assert!(gradient.trusted && (gradient.value.b[0] - 0.5).abs() < 1e-9);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Setting`] unless mu is positive and finite; [`crate::Error::NotSolved`] if no point of the path is found, as where the feasible set
    /// of the program or of its dual has no interior; [`crate::Error::Dimension`], [`crate::Error::NonFinite`], [`crate::Error::Factorization`],
    /// [`crate::Error::TooLarge`]; under `strict`, [`crate::Error::NotTrusted`].
    ///
    /// # References
    /// Nesterov, Nemirovskii, Interior-point polynomial algorithms in convex programming, 1994, section 3.
    pub fn smoothed(
        program: &ConeProgram,
        solution: &Solution,
        mu: f64,
        settings: &Settings,
    ) -> Result<Self> {
        settings.validate()?;
        check_positive("mu", mu)?;
        solution.check(program)?;
        let path = central_path(program, solution, mu, settings)?;
        let mut solution = solution.clone();
        take_point(&mut solution, &path.place.point)?;
        solution.refinement = Some(path.refinement);
        let moved = moved(&path.place, mu);
        Self::on_path(path.place, moved, solution, mu, settings)
    }

    /// At a point of the central path, which is no solution of the program and at no kink.
    fn on_path(
        place: PreparedPoint,
        moved: Option<Moved>,
        solution: Solution,
        mu: f64,
        settings: &Settings,
    ) -> Result<Self> {
        let point_error = place.relative_error(&[]);
        let PreparedPoint {
            point, prepared, ..
        } = place;
        let mut warnings = Vec::new();
        if point_error.is_nan() || point_error > settings.accuracy {
            warnings.push(Warning::PointError { error: point_error });
        }
        if prepared.is_singular() {
            warnings.push(Warning::Singular {
                condition: prepared.condition(),
            });
        }
        Self {
            program: point.jacobian.program().clone(),
            radius: vec![0.0; point.v.len()],
            jacobian: point.jacobian,
            prepared,
            solution,
            settings: *settings,
            blocks: Vec::new(),
            kinks: Vec::new(),
            warnings,
            point_error,
            moved,
            meaning: Meaning::Smoothed { mu },
            element: None,
            proximal: 0.0,
            substitute: None,
            open: OnceLock::new(),
            origin: Origin::Varied,
        }
        .strictly_at_point()
    }

    /// Puts the settings' policy in force where the point is not certified.
    pub(super) fn under_policy(mut self) -> Result<Self> {
        let policy = self.settings.policy;
        if policy == Policy::Flag {
            return Ok(self);
        }
        let is_certified = if self.blocks.is_empty() {
            !self.prepared.is_singular()
        } else {
            let examination = self.extremes(&self.blocks).examine()?;
            examination.certificate.is_certified()
        };
        if is_certified {
            return Ok(self);
        }
        // Whatever doubts remain are this derivative's to report.
        let settings = Settings {
            strict: false,
            policy: Policy::Flag,
            ..self.settings
        };
        let other = match policy {
            Policy::Flag => return Ok(self),
            Policy::Lagrangian { tau } => {
                self.substitute = Some(Substitute::Lagrangian { tau });
                return Ok(self);
            }
            Policy::MinimumNorm => self.least_squares(settings)?,
            Policy::Tikhonov { rho } => self.proximal(rho, settings)?,
            Policy::Smoothing { mu } => {
                Self::smoothed(&self.program, &self.solution, mu, &settings)?
            }
        };
        self.substitute = Some(Substitute::Derivative(Box::new(other)));
        Ok(self)
    }

    /// The same point with another J, which has no kinks; doubts about the point itself stay.
    pub(super) fn linear(
        &self,
        jacobian: ResidualJacobian,
        prepared: Prepared,
        meaning: Meaning,
        proximal: f64,
        settings: Settings,
    ) -> Self {
        let is_of_j = |w: &Warning| {
            matches!(
                w,
                Warning::AtKink(_) | Warning::NearKink(_) | Warning::Singular { .. }
            )
        };
        let mut warnings = self.warnings.clone();
        warnings.retain(|w| !is_of_j(w));
        Self {
            program: self.program.clone(),
            jacobian,
            prepared,
            solution: self.solution.clone(),
            settings,
            radius: self.radius.clone(),
            blocks: Vec::new(),
            kinks: Vec::new(),
            warnings,
            point_error: self.point_error,
            moved: None,
            meaning,
            element: None,
            proximal,
            substitute: None,
            open: OnceLock::new(),
            origin: Origin::Varied,
        }
    }

    /// Least squares of minimum norm at the lower element.
    fn least_squares(&self, settings: Settings) -> Result<Self> {
        let lower = vec![Element::Lower; self.blocks.len()];
        let jacobian = jacobian_at(&self.jacobian, &self.blocks, &lower);
        let prepared = Prepared::for_singular_newton(self.structure(), &jacobian, settings.linear)?;
        Ok(self.linear(jacobian, prepared, Meaning::LeastSquares, 0.0, settings))
    }

    /// The derivative of the proximal program with weight rho around this point: rho/2 |x - x^|^2 added to the objective and rho (z - z^)
    /// taken from the constraints, Ax + s - rho (z - z^) = b. The terms leave the solution where it is, and its derivative
    /// exists at every point; [`crate::Evidence::bias`] says how far it is from the least-squares answer without them. One
    /// factorization, and two solves more for each derivative.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] unless rho is positive and finite; [`crate::Error::Factorization`], [`crate::Error::TooLarge`].
    ///
    /// # References
    /// Rockafellar, Monotone operators and the proximal point algorithm, 1976.
    pub fn tikhonov(&self, rho: f64) -> Result<Self> {
        check_positive("rho", rho)?;
        self.proximal(rho, self.settings)
    }

    /// J of the proximal program: with P + rho I and D (I + rho D)^-1 in place of D, in the variable (I + rho D) dv,
    ///
    /// ```text
    /// [ P + rho I    A'D             ]
    /// [ -A           I - D + rho D   ]
    /// ```
    fn proximal(&self, rho: f64, settings: Settings) -> Result<Self> {
        let program = self.program.with_ridge(rho)?;
        let projection = self.projection().proximal(program.cones(), rho);
        let jacobian = ResidualJacobian::from_parts(program, projection);
        let structure = Arc::new(Structure::new(jacobian.program())?);
        let prepared = Prepared::with_structure(&structure, &jacobian, settings.linear)?;
        let meaning = Meaning::Tikhonov { rho };
        Ok(self.linear(jacobian, prepared, meaning, rho, settings))
    }

    /// What the policy's approximation changes, relative to the answer. The answer u of the proximal system leaves r - J u =
    /// rho (u1; D u2), which the next proximal step would correct: with the first two corrections c1 and c2,
    /// |c1| / (1 - |c2| / |c1|), and infinite where they do not fall, that is, where J is singular and r not in its range.
    pub(super) fn bias(&self, work: &mut DerivativeWorkspace, transpose: bool) -> Result<f64> {
        match self.meaning {
            Meaning::Tikhonov { .. } => {}
            Meaning::Smoothed { .. } => return Ok(f64::NAN),
            _ => return Ok(0.0),
        }
        let n = self.program.n();
        let size = norm_max(&work.answer);
        let mut u = work.answer.clone();
        let mut corrections = [0.0; 2];
        for correction in &mut corrections {
            let (top, bottom) = work.rhs.split_at_mut(n);
            self.projection()
                .apply_into(&u[n..], bottom, &mut work.scratch);
            for (top, u) in top.iter_mut().zip(&u) {
                *top = self.proximal * u;
            }
            for bottom in bottom {
                *bottom *= self.proximal;
            }
            let solve = if transpose {
                Prepared::solve_transpose
            } else {
                Prepared::solve
            };
            solve(
                &self.prepared,
                &self.jacobian,
                &work.rhs,
                &mut u,
                &mut work.linear,
            )?;
            *correction = norm_max(&u);
        }
        let [first, second] = corrections;
        Ok(match (first, second < first) {
            (0.0, _) => 0.0,
            (_, true) => first / (1.0 - second / first) / size,
            (_, false) => f64::INFINITY,
        })
    }

    pub(super) fn lagrangian_jvp(
        &self,
        tangent: &DataTangent,
        tau: f64,
        out: &mut SolutionTangent,
    ) -> Result<Evidence> {
        let found = lagrangian_jvp(&self.program, tangent, tau, &self.settings)?;
        *out = found.value;
        Ok(self.differenced(found.residuals, found.is_refined, tau))
    }

    pub(super) fn lagrangian_vjp(
        &self,
        cotangent: &SolutionCotangent,
        tau: f64,
        wanted: Wanted,
        out: &mut DataCotangent,
    ) -> Result<Evidence> {
        let envelope = Envelope::default();
        let found = lagrangian_vjp(&self.program, cotangent, tau, envelope, &self.settings)?;
        *out = found.value;
        for (part, is_wanted) in [
            (&mut out.p, wanted.p),
            (&mut out.q, wanted.q),
            (&mut out.a, wanted.a),
            (&mut out.b, wanted.b),
        ] {
            if !is_wanted {
                part.clear();
            }
        }
        Ok(self.differenced(found.residuals, found.is_refined, tau))
    }

    fn differenced(&self, residuals: [f64; 2], is_refined: bool, tau: f64) -> Evidence {
        let residual = residuals[0].max(residuals[1]);
        Evidence {
            method: Method::Differences,
            residual,
            converged: is_refined,
            refinement_steps: 0,
            stop: if is_refined {
                StopReason::Converged
            } else {
                StopReason::Stagnated
            },
            condition: self.condition(),
            correction: 0.0,
            error: residual / tau,
            bias: f64::NAN,
            iterations: 0,
        }
    }
}
