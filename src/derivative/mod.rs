//! The derivative of the solution map: JVP, VJP and Jacobian on one factorization, each with its evidence.
//!
//! ```text
//! JVP   J (dx; dv) = -( dP x + dA'z + dq ; -dA x + db ),   dz = D dv,   ds = -(I - D) dv
//! VJP   J'w = -( gx ; D gz - (I - D) gs ),   then w against the same right-hand side
//! ```

mod apply;
mod indeterminate;
mod policy;
mod verdict;

pub use apply::DerivativeWorkspace;
pub(crate) use apply::cotangent_rhs;
pub use indeterminate::Indeterminate;
pub use verdict::Checked;
pub(crate) use verdict::{Standing, least_margin};

use crate::certificate::Extremes;
use crate::error::Result;
use crate::kink::{Classified, Kink, RowState, Warning, classify, row_states};
use crate::limit;
use crate::linsolve::{Calibration, Prepared, Structure};
use crate::meaning::Meaning;
use crate::newton::{Newton, Point};
use crate::point::{Moved, PreparedPoint, point_of, take_point};
use crate::program::ConeProgram;
use crate::projection::{BlockKink, Element, Projection};
use crate::refine::refine_at;
use crate::residual::ResidualJacobian;
use crate::selection::{Selected, at_hand, select};
use crate::settings::{LinearSolver, Settings};
use crate::solution::Solution;
use policy::Substitute;
use std::sync::{Arc, OnceLock};

/// Above this an unrefined point is no solution: v = z - s of an interior-point answer stays below 1e-4.
const UNREFINED_RESIDUAL: f64 = 1e-3;

/// The derivative of (x, z, s) in (P, q, A, b) at a solution.
///
/// Preparing costs a refinement (one to three factorizations), one factorization and a condition estimate; each JVP or VJP then one solve per
/// refinement step. It owns what it needs and is `Send + Sync`: one `Derivative` can serve many threads, each with its own
/// [`DerivativeWorkspace`].
///
/// ```
/// use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// // minimize 1/2 x^2 - x subject to x <= b: at b = 1/4, dx/db = 1
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let settings = Settings::default();
/// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// let mut seed = SolutionTangent::zeros(&program);
/// seed.x[0] = 1.0;
/// let gradient = derivative.vjp(&seed)?;
/// assert!(gradient.trusted);
/// assert!((gradient.value.b[0] - 1.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct Derivative {
    program: ConeProgram,
    jacobian: ResidualJacobian,
    prepared: Prepared,
    solution: Solution,
    settings: Settings,
    /// How far from a kink each row counts as at it, m.
    pub(crate) radius: Vec<f64>,
    /// The kinks, as (cone, kink).
    pub(crate) blocks: Vec<(usize, BlockKink)>,
    kinks: Vec<Kink>,
    warnings: Vec<Warning>,
    point_error: f64,
    /// The point one Newton step on, where the derivative's error has to be estimated.
    moved: Option<Moved>,
    meaning: Meaning,
    /// The element taken at the kinks.
    pub(crate) element: Option<Element>,
    /// The weight of proximal terms in J, 0 for none.
    proximal: f64,
    /// What a policy put in the derivative's place.
    substitute: Option<Substitute>,
    /// Once asked for, what is not unique at a singular point.
    open: OnceLock<Option<Indeterminate>>,
    origin: Origin,
}

/// How a derivative came to its point: what it takes to make it again.
#[derive(Debug)]
pub(crate) enum Origin {
    /// [`Derivative::new`], from this solution; `None` if it is the one it ended at.
    Given(Option<Box<Solution>>),
    /// A layer's forward.
    Layer,
    /// Another element than the settings', the central path, proximal terms.
    Varied,
}

/// Where condition times the point's error stays below this, it bounds the derivative's error well enough; above, each derivative
/// estimates its own by one more solve.
const HARMLESS: f64 = 1e-8;

impl Derivative {
    /// Prepares the derivative at a solution, refining it first unless that was done or is switched off.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`], [`crate::Error::Setting`], [`crate::Error::Factorization`], [`crate::Error::TooLarge`]; under `strict`,
    /// [`crate::Error::NotTrusted`] if the point itself rules out trust.
    pub fn new(program: &ConeProgram, solution: &Solution, settings: &Settings) -> Result<Self> {
        Self::calibrated(program, solution, settings, Calibration::default())
    }

    /// [`Derivative::new`] with what a layer measured for the structure.
    pub(crate) fn calibrated(
        program: &ConeProgram,
        given: &Solution,
        settings: &Settings,
        calibration: Calibration,
    ) -> Result<Self> {
        settings.validate()?;
        given.check(program)?;
        let mut solution = given.clone();
        solution.free_rows(program);
        let mut point = point_of(program, &solution)?;
        let structure = Structure::new(program)?.with_calibration(calibration);
        let mut newton = Newton::new(&Arc::new(structure), settings.linear);
        if settings.refine.enabled && solution.refinement.is_none() {
            point = refine_at(&mut solution, point, settings, &mut newton)?;
        }
        let mut derivative = Self::at(point, newton, solution, settings)?;
        let has_moved = derivative.solution != *given;
        derivative.origin = Origin::Given(has_moved.then(|| Box::new(given.clone())));
        Ok(derivative)
    }

    /// The derivative at a solution's point, on Newton's factorization.
    pub(crate) fn at(
        point: Point,
        newton: Newton,
        mut solution: Solution,
        settings: &Settings,
    ) -> Result<Self> {
        let is_refined = solution.refinement.is_some_and(|r| r.accepted);
        let prepared_point = PreparedPoint::new(point, newton, is_refined)?;
        if prepared_point.polished > 0 {
            take_point(&mut solution, &prepared_point.point)?;
        }
        let PreparedPoint { point, error, .. } = &prepared_point;
        let (program, projection) = (point.jacobian.program(), point.jacobian.projection());
        // A singular system has no Newton step: what the residual says of v itself has to do.
        let has_step = !prepared_point.prepared.is_singular();
        let error = if has_step { error } else { &point.residual };
        let (_, dv) = error.split_at(program.n());
        let Classified {
            radius,
            blocks,
            kinks,
            mut warnings,
        } = classify(program, &solution, &point.v, dv, projection, settings);
        let point_error = if has_step {
            prepared_point.relative_error(&blocks)
        } else {
            f64::NAN
        };
        if prepared_point.polished > 0
            && let Some(r) = &mut solution.refinement
        {
            r.after = prepared_point.point.relative;
            r.steps += prepared_point.polished;
            r.last_step = point_error;
        }
        let PreparedPoint {
            point, prepared, ..
        } = &prepared_point;
        let bound = prepared.condition() * point_error.max(f64::EPSILON);
        let moved = if bound > HARMLESS && !prepared.is_singular() && kinks.is_empty() {
            prepared_point.moved()
        } else {
            None
        };
        let residual = point.relative;
        let PreparedPoint {
            point, prepared, ..
        } = prepared_point;
        let Selected {
            jacobian,
            prepared,
            meaning,
            element,
        } = if blocks.is_empty() {
            let prepared = if prepared.is_singular() && settings.linear.solver == LinearSolver::Lu {
                // The error of the method asked for.
                Prepared::with_structure(prepared.structure(), &point.jacobian, settings.linear)?
            } else {
                prepared
            };
            Selected::smooth(point.jacobian, prepared)
        } else {
            let (choice, linear) = (settings.selection, settings.linear);
            match at_hand(&prepared, &point.jacobian, &blocks, choice) {
                Some(jacobian) => Selected::inactive(jacobian, prepared),
                None => {
                    let structure = Arc::clone(prepared.structure());
                    select(&structure, &point.jacobian, &blocks, choice, linear)?
                }
            }
        };
        // Whatever the solution says of itself, it may belong to other data.
        let is_solution = match solution.refinement {
            Some(r) => r.accepted && residual <= 2.0 * settings.refine.tolerance,
            None => residual <= UNREFINED_RESIDUAL,
        };
        if !is_solution {
            warnings.push(Warning::NotRefined { residual });
        } else if has_step && (point_error.is_nan() || point_error > settings.accuracy) {
            warnings.push(Warning::PointError { error: point_error });
        }
        if is_solution && solution.refinement.is_none() {
            warnings.push(Warning::Unrefined);
        }
        if prepared.is_singular() {
            warnings.push(Warning::Singular {
                condition: prepared.condition(),
            });
        }
        let derivative = Self {
            program: jacobian.program().clone(),
            jacobian,
            prepared,
            solution,
            settings: *settings,
            radius,
            blocks,
            kinks,
            warnings,
            point_error,
            moved,
            meaning,
            element,
            proximal: 0.0,
            substitute: None,
            open: OnceLock::new(),
            origin: Origin::Layer,
        };
        let derivative = derivative.strictly_at_point()?.under_policy()?;
        // What a spent budget cut short on the way is no derivative.
        limit::check("the use of the derivative")?;
        Ok(derivative)
    }

    /// The same point with another J, factored.
    pub(crate) fn with_selected(&self, selected: Selected) -> Result<Self> {
        let mut warnings = self.warnings.clone();
        warnings.retain(|w| !matches!(w, Warning::Singular { .. }));
        if selected.prepared.is_singular() {
            warnings.push(Warning::Singular {
                condition: selected.prepared.condition(),
            });
        }
        let Selected {
            jacobian,
            prepared,
            meaning,
            element,
        } = selected;
        Self {
            blocks: self.blocks.clone(),
            kinks: self.kinks.clone(),
            warnings,
            element,
            ..self.linear(jacobian, prepared, meaning, 0.0, self.settings)
        }
        .strictly_at_point()
    }

    fn strictly_at_point(self) -> Result<Self> {
        if self.settings.strict && !self.is_trusted_point() {
            return Err(self.not_trusted(&self.warnings, 0.0));
        }
        Ok(self)
    }

    /// v = z - s, as projected.
    pub(crate) fn v(&self) -> Vec<f64> {
        let projection = self.projection();
        let both = projection.z().iter().zip(projection.s());
        both.map(|(z, s)| z - s).collect()
    }

    /// How it came to its point.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The factorization.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The symbolic work.
    pub(crate) fn structure(&self) -> &Arc<Structure> {
        self.prepared.structure()
    }

    /// The rank tests at some kinks, its own or more.
    pub(crate) fn extremes<'a>(&'a self, kinks: &'a [(usize, BlockKink)]) -> Extremes<'a> {
        let is_own = std::ptr::eq(kinks, self.blocks.as_slice());
        Extremes {
            structure: self.structure(),
            settings: self.settings.linear,
            jacobian: &self.jacobian,
            prepared: &self.prepared,
            element: self.element.filter(|_| is_own),
            kinks,
        }
    }

    /// x, z and s (as projected) and the factorization.
    pub(crate) fn into_parts(self) -> (Vec<f64>, Vec<f64>, Vec<f64>, Prepared) {
        let projection = self.jacobian.projection();
        let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
        (self.solution.x, z, s, self.prepared)
    }

    /// The (refined) solution the derivative is taken at.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }
    /// The program.
    pub fn program(&self) -> &ConeProgram {
        &self.program
    }
    /// The settings it was prepared with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// The residual map's Jacobian there.
    pub fn residual_jacobian(&self) -> &ResidualJacobian {
        &self.jacobian
    }
    /// The projection of v = z - s.
    pub fn projection(&self) -> &Projection {
        self.jacobian.projection()
    }
    /// Blocks whose point cannot be told from a kink.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Derivative, Kink, KinkKind, RowState, Settings, solve};
    /// // minimize 1/2 x^2 subject to x >= 0: the bound is active without force
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![0.0],
    ///     (&[0, 1], &[0], &[-1.0]), vec![0.0],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let settings = Settings::default();
    /// let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    /// let kink: &Kink = &derivative.kinks()[0];
    /// assert_eq!((kink.at, kink.rows.as_slice()), (KinkKind::WeaklyActive, [0].as_slice()));
    /// assert_eq!(derivative.row_states(), [RowState::Ambiguous]);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn kinks(&self) -> &[Kink] {
        &self.kinks
    }
    /// The state of every row: active, inactive, curved or ambiguous. m of them.
    pub fn row_states(&self) -> Vec<RowState> {
        row_states(self.projection(), &self.kinks)
    }
    /// What its derivatives are: the derivative, an element of the conservative Jacobian, or what a policy put in their place.
    pub fn meaning(&self) -> Meaning {
        match &self.substitute {
            Some(substitute) => substitute.meaning(),
            None => self.meaning,
        }
    }
    /// What is doubtful about the point, before any linear solve.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
    /// Estimated relative error of the point: the Newton step from it, |(dx, dv)| / (1 + |(x, v)|), and on curved blocks relative to the
    /// margin. NaN at a singular point: there is no step to tell.
    pub fn point_error(&self) -> f64 {
        self.point_error
    }
    /// The condition estimate of the linear system, infinite if singular.
    pub fn condition(&self) -> f64 {
        self.prepared.condition()
    }
    /// True unless the point itself is ambiguous, singular or not refined.
    pub fn is_trusted_point(&self) -> bool {
        !self.warnings.iter().any(Warning::is_fatal)
    }
}
