//! Solving by operator splitting, with Newton steps from its points.
//!
//! With u = (x, z) the conditions are 0 in Mu + (q, b) + N(u), M = [P A'; -A 0] monotone and N the normal cone of R^n x K*.
//! Douglas and Rachford's method in the metric R = diag(sigma, 1/tau):
//!
//! ```text
//! u~ = (R + M)^-1 (R w - (q, b)),   u = Pi(2 u~ - w),   w <- w + u - u~
//! ```
//!
//! R + M is factored once for each tau. It converges from anywhere, slowly; Newton's method at once, from nearby. Newton is tried
//! after 25, 50, 100, ... iterations, and the residual decides.
//!
//! # References
//! Lions, Mercier, Splitting algorithms for the sum of two nonlinear operators, 1979. O'Donoghue, Operator splitting for a homogeneous
//! embedding of the linear complementarity problem, 2021 (the metric).

use super::VariationalInequality;
use super::point::{Point, newton};
use crate::error::{Error, Iterate, Result, Status};
use crate::limit;
use crate::linsolve::Square;
use crate::pattern::SparseMatrix;
use crate::projection::Projection;
use crate::settings::{Settings, check_positive};
use crate::solution::Solution;
use crate::tangent::norm_max;

/// sigma: as good as none, and enough for M to be regular.
const PROXIMAL: f64 = 1e-6;

/// Iterations between two looks at the residual.
const LOOK: u32 = 25;

/// How unequal the two residuals may be before tau is changed.
const UNEQUAL: f64 = 5.0;

/// Newton's point may lie this much further out than its start: where there is no solution points run away, and any residual is small
/// beside them.
const RUN_AWAY: f64 = 1e3;

/// How a variational inequality is solved.
///
/// ```
/// # use conediff::{Cone, Settings, SparseMatrix};
/// # let p = SparseMatrix::from_csc("P", 1, 1, &[0, 1], &[0], &[1.0])?;
/// # let a = SparseMatrix::from_csc("A", 2, 1, &[0, 2], &[0, 1], &[1.0, -1.0])?;
/// use conediff::{Error, SplittingSettings, VariationalInequality};
/// // x <= -1 and x >= 1: without a solution it ends at the limit
/// let inequality = VariationalInequality::new(p, vec![0.0], a, vec![-1.0; 2], vec![Cone::Nonnegative(2)])?;
/// let splitting = SplittingSettings { max_iterations: 100, ..SplittingSettings::default() };
/// let outcome = inequality.solve(&splitting, &Settings::default());
/// assert!(matches!(outcome, Err(Error::NotSolved { iterations: 100, .. })));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplittingSettings {
    /// The relative residual at which the splitting stops by itself. Default 1e-6: Newton steps do the rest.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Default 20000: well-scaled problems take tens to hundreds, and Newton is there before.
    pub max_iterations: u32,
}

impl Default for SplittingSettings {
    fn default() -> Self {
        Self {
            tolerance: 1e-6,
            max_iterations: 20_000,
        }
    }
}

impl VariationalInequality {
    /// Solves by splitting and Newton steps. The solution's `refinement` says whether it met [`crate::RefineSettings::tolerance`]; one that
    /// only the splitting found, to its own tolerance, has `accepted` false.
    ///
    /// # Errors
    /// [`Error::NotSolved`] with the residuals and the last point at the iteration limit, which is where problems without a solution
    /// end too; [`Error::Setting`].
    pub fn solve(&self, splitting: &SplittingSettings, settings: &Settings) -> Result<Solution> {
        settings.validate()?;
        check_positive("splitting.tolerance", splitting.tolerance)?;
        if splitting.max_iterations == 0 {
            return Err(Error::Setting {
                name: "splitting.max_iterations",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        let mut method = Splitting::new(self, settings)?;
        let mut next_attempt = LOOK;
        let mut iteration = 0;
        loop {
            limit::check("a step of the splitting")?;
            method.step()?;
            iteration += 1;
            let is_last = iteration >= splitting.max_iterations;
            if iteration % LOOK != 0 && !is_last {
                continue;
            }
            let point = method.point()?;
            let is_there = point.relative <= splitting.tolerance;
            if is_there || iteration >= next_attempt || is_last {
                while next_attempt <= iteration {
                    next_attempt = next_attempt.saturating_mul(2);
                }
                let reach = RUN_AWAY * (1.0 + norm_max(&point.x).max(norm_max(&point.v)));
                let (refined, mut refinement) = newton(self, point.clone(), settings)?;
                let is_near = norm_max(&refined.x).max(norm_max(&refined.v)) <= reach;
                refinement.accepted &= is_near;
                if refinement.accepted || is_there {
                    let found = if refinement.accepted { refined } else { point };
                    let mut solution = found.solution(self)?;
                    solution.iterations = iteration;
                    solution.refinement = Some(refinement);
                    return Ok(solution);
                }
            }
            if is_last {
                return Err(not_solved(&point, iteration));
            }
            method.balance(&point)?;
        }
    }
}

fn not_solved(point: &Point, iterations: u32) -> Error {
    let projection = point.frame.projection();
    let (dual, primal) = point.residual.split_at(point.x.len());
    Error::NotSolved {
        status: Status::MaxIterations,
        iterations,
        primal_residual: norm_max(primal),
        dual_residual: norm_max(dual),
        last: Box::new(Iterate {
            x: point.x.clone(),
            z: projection.z().to_vec(),
            s: projection.s().to_vec(),
        }),
    }
}

struct Splitting<'a> {
    inequality: &'a VariationalInequality,
    settings: &'a Settings,
    tau: f64,
    factored: Square,
    /// w, n + m.
    w: Vec<f64>,
    /// x~, and 2 z~ - w on the rows.
    x: Vec<f64>,
    reflected: Vec<f64>,
}

impl<'a> Splitting<'a> {
    fn new(inequality: &'a VariationalInequality, settings: &'a Settings) -> Result<Self> {
        let (n, m) = (inequality.n(), inequality.m());
        Ok(Self {
            inequality,
            settings,
            tau: 1.0,
            factored: factor(inequality, 1.0, settings)?,
            w: vec![0.0; n + m],
            x: vec![0.0; n],
            reflected: vec![0.0; m],
        })
    }

    fn step(&mut self) -> Result<()> {
        let (n, frame) = (self.inequality.n(), &self.inequality.frame);
        let mut rhs = self.w.clone();
        let (top, bottom) = rhs.split_at_mut(n);
        for (r, q) in top.iter_mut().zip(frame.q()) {
            *r = PROXIMAL * *r - q;
        }
        for (r, b) in bottom.iter_mut().zip(frame.effective_b()) {
            *r = *r / self.tau - b;
        }
        let (u, _) = self.factored.solve(&rhs, false)?;
        let (x, z) = u.split_at(n);
        let (w_x, w_z) = self.w.split_at_mut(n);
        for ((r, z), w) in self.reflected.iter_mut().zip(z).zip(w_z.iter()) {
            *r = 2.0 * z - w;
        }
        let projection = Projection::new(frame.cones(), &self.reflected)?;
        // Nothing is projected in x: 2 x~ - w + w - x~ = x~.
        w_x.copy_from_slice(x);
        for ((w, p), z) in w_z.iter_mut().zip(projection.z()).zip(z) {
            *w += p - z;
        }
        self.x.copy_from_slice(x);
        Ok(())
    }

    /// z and s of the last reflection z - tau s.
    fn rows(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let projection = Projection::new(self.inequality.cones(), &self.reflected)?;
        let s = projection.s().iter().map(|s| s / self.tau).collect();
        Ok((projection.z().to_vec(), s))
    }

    fn point(&self) -> Result<Point> {
        let (z, s) = self.rows()?;
        let v = z.iter().zip(&s).map(|(z, s)| z - s).collect();
        Point::new(self.inequality, self.x.clone(), v)
    }

    /// Changes tau where one of the two residuals is much larger than the other.
    fn balance(&mut self, point: &Point) -> Result<()> {
        let frame = &self.inequality.frame;
        let projection = point.frame.projection();
        let (dual, primal) = point.residual.split_at(frame.n());
        let primal = norm_max(primal) / (1.0 + norm_max(projection.s()));
        let dual = norm_max(dual) / (1.0 + norm_max(frame.q()));
        let ratio = primal / dual;
        if !ratio.is_finite() || (1.0 / UNEQUAL..=UNEQUAL).contains(&ratio) {
            return Ok(());
        }
        let (z, s) = self.rows()?;
        self.tau = (self.tau * ratio.sqrt().clamp(0.1, 10.0)).clamp(1e-6, 1e6);
        self.factored = factor(self.inequality, self.tau, self.settings)?;
        let rows = z.iter().zip(&s).map(|(z, s)| z + self.tau * s);
        let n = frame.n();
        self.w
            .iter_mut()
            .skip(n)
            .zip(rows)
            .for_each(|(w, r)| *w = r);
        Ok(())
    }
}

/// R + M.
fn factor(inequality: &VariationalInequality, tau: f64, settings: &Settings) -> Result<Square> {
    let (n, m) = (inequality.n(), inequality.m());
    let a = inequality.frame.effective_a();
    let by_rows = crate::residual::transpose(a);
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        let (rows, entries) = inequality.p.column(j);
        let mut has_diagonal = false;
        for (&i, &v) in rows.iter().zip(entries) {
            if i > j && !has_diagonal {
                indices.push(j);
                values.push(PROXIMAL);
                has_diagonal = true;
            }
            has_diagonal |= i == j;
            indices.push(i);
            values.push(if i == j { v + PROXIMAL } else { v });
        }
        if !has_diagonal {
            indices.push(j);
            values.push(PROXIMAL);
        }
        let (rows, entries) = a.column(j);
        indices.extend(rows.iter().map(|i| n + i));
        values.extend(entries.iter().map(|v| -v));
        indptr.push(indices.len());
    }
    for i in 0..m {
        let (columns, entries) = by_rows.column(i);
        indices.extend_from_slice(columns);
        values.extend_from_slice(entries);
        indices.push(n + i);
        values.push(1.0 / tau);
        indptr.push(indices.len());
    }
    let matrix = SparseMatrix::from_parts(n + m, n + m, indptr, indices, values);
    Square::new(matrix, None, settings.linear)
}
