//! Small dense quadratic programs: a primal-dual interior-point method on dense matrices.
//!
//! minimize 1/2 x'Px + q'x subject to Ex = e, Gx + s = h, s >= 0. Each iteration factors H = P + G'WG and E H^-1 E', or H alone on
//! E's kernel where that is less work. On dense data this takes a fortieth (n = 100, 50 equalities, 100 inequalities) to a sixth
//! (n = 600) of the time of Clarabel's sparse factorization. What it does not solve is for Clarabel: it has no certificates, and gives
//! up rather than go on.
//!
//! A solution holds to the tolerance like Clarabel's: residuals relative to 1 + their largest term, the gap relative to 1 + the
//! objective, where q and b are first scaled up to unit size if they are smaller.
//!
//! Cost of one solve: about ten times n^2 rows + n^3 / 3 multiplications. Rows with one entry (bounds) are free unless E is
//! eliminated.
//!
//! # References
//! Mehrotra, On the implementation of a primal-dual interior point method, 1992. Nocedal, Wright, Numerical Optimization, 2nd
//! edition, 2006, section 16.6.

mod data;
mod iteration;
mod kernel;
mod kkt;
mod reduction;
#[cfg(test)]
mod tests;

use crate::limit;
use crate::program::ConeProgram;
use crate::solution::Solution;
use data::{Data, Loader};
use iteration::InteriorPoint;
use reduction::Reduction;
use std::time::Instant;

/// The most variables and equalities: beyond, memory grows without a gain in time.
const MOST: usize = 1000;

/// The most entries of G.
const MOST_ENTRIES: usize = 1 << 22;

/// A solver for one structure, with the memory it needs: no solve but the first allocates anything but its solution. The result
/// depends on the program alone, not on what was solved before.
pub(crate) struct DenseQp {
    loader: Loader,
    data: Data,
    whole: InteriorPoint,
    /// Without the equalities, where that is faster and they are independent.
    reduced: Option<(Reduction, InteriorPoint)>,
}

impl std::fmt::Debug for DenseQp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseQp").finish_non_exhaustive()
    }
}

impl DenseQp {
    /// For programs with this one's patterns and cones. `None` unless every cone is zero or nonnegative, and for a program without
    /// variables or a large one.
    ///
    /// Memory: 3 n^2 and 2 n rows numbers; about twice that where the equalities are eliminated.
    pub(crate) fn new(program: &ConeProgram) -> Option<Self> {
        let n = program.n();
        let loader = Loader::new(program)?;
        let [equalities, dense, bounds] = loader.counts();
        let is_large = n + equalities > MOST || n * (dense + bounds) > MOST_ENTRIES;
        if n == 0 || is_large {
            return None;
        }
        let data = Data::with_capacity(n, equalities, dense, bounds);
        let reduction = Reduction::new(n, [equalities, dense, bounds]);
        Some(Self {
            whole: InteriorPoint::new(&data),
            reduced: reduction.map(|reduction| {
                let method = InteriorPoint::new(&reduction.data);
                (reduction, method)
            }),
            loader,
            data,
        })
    }

    /// The solution, with status `Solved`, if the method reaches the tolerance; `None` for anything else: the iteration or time
    /// limit, no progress, numerical trouble, no solution, another structure than that given to [`DenseQp::new`].
    pub(crate) fn solve(
        &mut self,
        program: &ConeProgram,
        tolerance: f64,
        max_iterations: u32,
        time_limit_seconds: f64,
    ) -> Option<Solution> {
        let start = Instant::now();
        let is_late = || start.elapsed().as_secs_f64() > time_limit_seconds || limit::is_over();
        self.loader.load(program, &mut self.data)?;
        let whole = &mut self.whole.point;
        if let Some((reduction, method)) = &mut self.reduced
            && reduction.load(&self.data).is_some()
        {
            let iterations = method.run(&reduction.data, tolerance, max_iterations, is_late)?;
            let found = &method.point;
            whole.y.resize(self.data.equalities.len(), 0.0);
            reduction.expand(&self.data, &found.x, &found.z, &mut whole.x, &mut whole.y);
            return unpack(
                program,
                &self.data,
                [&whole.x, &whole.y, &found.z, &found.s],
                iterations,
            );
        }
        let iterations = self
            .whole
            .run(&self.data, tolerance, max_iterations, is_late)?;
        let found = &self.whole.point;
        unpack(
            program,
            &self.data,
            [&found.x, &found.y, &found.z, &found.s],
            iterations,
        )
    }
}

/// The solution in the program's own rows.
fn unpack(
    program: &ConeProgram,
    data: &Data,
    [x, y, multipliers, slacks]: [&[f64]; 4],
    iterations: u32,
) -> Option<Solution> {
    let mut z = vec![0.0; program.m()];
    let mut s = program.effective_b().to_vec();
    let rows = &data.equalities;
    for (k, &i) in rows.row.iter().enumerate() {
        z[i] = data.unit * y[k] / rows.scale[k];
        s[i] = 0.0;
    }
    let rows = &data.inequalities;
    for (k, &i) in rows.row.iter().enumerate() {
        z[i] = data.unit * multipliers[k] / rows.scale[k];
        s[i] = data.unit * slacks[k] * rows.scale[k];
    }
    let x = x.iter().map(|x| data.unit * x).collect();
    let mut solution = Solution::given(program, x, z, s).ok()?;
    solution.iterations = iterations;
    Some(solution)
}
