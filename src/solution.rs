//! A solution (x, z, s), how it was found, and how far it was refined.

use crate::error::{Error, Result, Status};
use crate::pattern::check_finite;
use crate::program::{ConeProgram, check_length};

/// What refinement did to the solver's point. Residuals are relative: the larger of
/// |Px + A'z + q| / (1 + largest term) and |Ax + s - b| / (1 + largest term), in the largest entry.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Settings, Solution, refine};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::Refinement;
/// // minimize 1/2 x^2 - x subject to x <= 1/4, known to three digits
/// let rough = Solution::given(&program, vec![0.2501], vec![0.7498], vec![0.0])?;
/// let done: Option<Refinement> = refine(&program, &rough, &Settings::default())?.refinement;
/// assert!(done.is_some_and(|r| r.accepted && r.before > 1e-5 && r.after < 1e-14 && r.steps <= 2));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refinement {
    /// Residual of the solver's point.
    #[serde(with = "crate::exact::number")]
    pub before: f64,
    /// Residual of the point kept.
    #[serde(with = "crate::exact::number")]
    pub after: f64,
    /// Newton steps taken.
    pub steps: usize,
    /// Length of the last accepted step relative to 1 + |(x, v)|: an estimate of the error that was left before it.
    #[serde(with = "crate::exact::number")]
    pub last_step: f64,
    /// True if the refined point met the tolerance and was kept; false if the solver's own point was kept.
    pub accepted: bool,
}

/// A primal-dual solution. Shapes: x: n; z, s: m, in the cones' row order.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solution {
    /// Primal variables.
    #[serde(with = "crate::exact::numbers")]
    pub x: Vec<f64>,
    /// Dual variables, in K*.
    #[serde(with = "crate::exact::numbers")]
    pub z: Vec<f64>,
    /// Slacks, in K. On a row without a bound, its b.
    #[serde(with = "crate::exact::numbers")]
    pub s: Vec<f64>,
    /// 1/2 x'Px + q'x.
    #[serde(with = "crate::exact::number")]
    pub objective: f64,
    /// How the solver ended.
    pub status: Status,
    /// Interior-point iterations.
    pub iterations: u32,
    /// What refinement did; `None` if it did not run.
    pub refinement: Option<Refinement>,
}

impl Solution {
    /// A solution found elsewhere, to be refined and differentiated. On rows without a bound z and s are not read.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Settings, Solution, refine};
    /// // minimize 1/2 x^2 - x subject to x <= 1/4, known to three digits
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.25],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let rough = Solution::given(&program, vec![0.2501], vec![0.7498], vec![0.0])?;
    /// let solution = refine(&program, &rough, &Settings::default())?;
    /// assert!((solution.x[0] - 0.25).abs() < 1e-14 && solution.refinement.is_some_and(|r| r.accepted));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`].
    pub fn given(program: &ConeProgram, x: Vec<f64>, z: Vec<f64>, s: Vec<f64>) -> Result<Self> {
        let mut solution = Self {
            x,
            z,
            s,
            objective: 0.0,
            status: Status::Solved,
            iterations: 0,
            refinement: None,
        };
        solution.free_rows(program);
        solution.check(program)?;
        solution.objective = program.objective(&solution.x)?;
        Ok(solution)
    }

    /// Lengths, and finite numbers except in s on rows without a bound.
    pub(crate) fn check(&self, program: &ConeProgram) -> Result<()> {
        check_length("x", program.n(), self.x.len())?;
        check_length("z", program.m(), self.z.len())?;
        check_length("s", program.m(), self.s.len())?;
        check_finite("x", &self.x)?;
        check_finite("z", &self.z)?;
        let unbounded = program.unbounded();
        match (0..self.s.len())
            .find(|i| !self.s[*i].is_finite() && unbounded.binary_search(i).is_err())
        {
            Some(index) => Err(Error::NonFinite {
                what: "s",
                index,
                value: self.s[index],
            }),
            None => Ok(()),
        }
    }

    /// z = 0 and s = b on rows without a bound, whatever a solver left there.
    pub(crate) fn free_rows(&mut self, program: &ConeProgram) {
        for &i in program.unbounded() {
            if let (Some(z), Some(s)) = (self.z.get_mut(i), self.s.get_mut(i)) {
                (*z, *s) = (0.0, program.b()[i]);
            }
        }
    }

    /// v = z - s, with v = -1 on rows without a bound.
    pub(crate) fn v(&self, program: &ConeProgram) -> Vec<f64> {
        let mut v: Vec<f64> = self.z.iter().zip(&self.s).map(|(z, s)| z - s).collect();
        for &i in program.unbounded() {
            v[i] = -1.0;
        }
        v
    }
}
