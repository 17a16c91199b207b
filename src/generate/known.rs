//! A generated program with what is known about it.

use crate::error::Result;
use crate::program::ConeProgram;
use crate::projection::Projection;
use crate::random::Random;
use crate::residual::for_each_entry;
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};

/// A program with its solution, made by a [`crate::Generator`] or from a solution found.
#[derive(Debug, Clone)]
pub struct Generated {
    pub(super) program: ConeProgram,
    pub(super) x: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) projection: Projection,
}

impl Generated {
    /// A program with a refined solution of it, so that any program has derivatives known without a linear solve.
    ///
    /// v = z - s, and z and s are its projections. The derivatives are those of the residual map at (x, v), whose residual is
    /// taken to be zero: at a point that was not refined they differ from the solution's by as much as the point does. They are
    /// unique only at a regular solution. On rows without a bound v is -1 and s is 1, and no derivative depends on their data.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Derivative, Generated, Settings, solve};
    /// // minimize 1/2 x^2 - x subject to x <= 1/4
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.25],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let settings = Settings::default();
    /// let solution = solve(&program, &settings)?;
    /// let (tangent, expected) = Generated::from_solution(&program, &solution)?.known_jvp(0);
    /// let jvp = Derivative::new(&program, &solution, &settings)?.jvp(&tangent)?;
    /// assert!((jvp.value.x[0] - expected.x[0]).abs() < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] and [`crate::Error::NonFinite`] for a solution that is not one of this program;
    /// [`crate::Error::Factorization`] if an eigenvalue iteration fails.
    pub fn from_solution(program: &ConeProgram, solution: &Solution) -> Result<Self> {
        solution.check(program)?;
        let v = solution.v(program);
        Ok(Self {
            projection: Projection::new(program.cones(), &v)?,
            program: program.clone(),
            x: solution.x.clone(),
            v,
        })
    }

    /// The program.
    pub fn program(&self) -> &ConeProgram {
        &self.program
    }
    /// Its primal solution, n.
    pub fn x(&self) -> &[f64] {
        &self.x
    }
    /// Its dual solution, m.
    pub fn z(&self) -> &[f64] {
        self.projection.z()
    }
    /// Its slack, m.
    pub fn s(&self) -> &[f64] {
        self.projection.s()
    }
    /// z - s, m, as it was drawn or found.
    pub fn v(&self) -> &[f64] {
        &self.v
    }
    /// The projection of v, with its margins.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// A random data tangent and the solution tangent it causes.
    ///
    /// dx, dv, dP and dA are drawn; then dz = D dv, ds = dz - dv, dq = -(P dx + A'dz + dP x + dA'z) and db = A dx + ds + dA x.
    pub fn known_jvp(&self, seed: u64) -> (DataTangent, SolutionTangent) {
        let mut random = Random::new(seed);
        let (program, n, m) = (&self.program, self.x.len(), self.v.len());
        let (dx, mut dv) = (random.normals(n), random.normals(m));
        self.free_rows(&mut dv);
        let mut data = DataTangent {
            p: random.normals(program.p().nnz()),
            q: vec![0.0; n],
            a: random.normals(program.a().nnz()),
            b: vec![0.0; m],
        };
        let (dz, complement) = self.split(&dv);
        let ds: Vec<f64> = complement.iter().map(|s| -s).collect();
        program.p().multiply_symmetric_add(-1.0, &dx, &mut data.q);
        program.a().multiply_transpose_add(-1.0, &dz, &mut data.q);
        for_each_entry(program.p(), |k, i, j| {
            data.q[i] -= data.p[k] * self.x[j];
            if i != j {
                data.q[j] -= data.p[k] * self.x[i];
            }
        });
        program.a().multiply_add(1.0, &dx, &mut data.b);
        for_each_entry(program.a(), |k, i, j| {
            data.q[j] -= data.a[k] * self.z()[i];
            data.b[i] += data.a[k] * self.x[j];
        });
        for (b, s) in data.b.iter_mut().zip(&ds) {
            *b += s;
        }
        let solution = SolutionTangent {
            x: dx,
            z: dz,
            s: ds,
        };
        (data, solution)
    }

    /// A random solution cotangent and its gradient in the data.
    ///
    /// w = (w1, w2) and u are drawn; then gx = -(P w1 - A'w2), gz = -A w1 + (I - D) u and gs = w2 + D u satisfy
    /// J'w = -(gx; D gz - (I - D) gs), so that the gradient is dq = w1, db = w2, dA_ij = z_i w1_j - w2_i x_j,
    /// dP_ij = w1_i x_j + w1_j x_i (i < j), w1_i x_i (i = j).
    pub fn known_vjp(&self, seed: u64) -> (SolutionCotangent, DataCotangent) {
        let mut random = Random::new(seed);
        let (program, x, z) = (&self.program, &self.x, self.z());
        let (w1, mut w2) = (random.normals(x.len()), random.normals(z.len()));
        self.free_rows(&mut w2);
        let (du, complement) = self.split(&random.normals(z.len()));
        let mut gx = vec![0.0; x.len()];
        program.p().multiply_symmetric_add(-1.0, &w1, &mut gx);
        program.a().multiply_transpose_add(1.0, &w2, &mut gx);
        let mut gz = complement;
        program.a().multiply_add(-1.0, &w1, &mut gz);
        let gs = w2.iter().zip(&du).map(|(w, d)| w + d).collect();

        let mut data = DataTangent::zeros(program);
        for_each_entry(program.p(), |k, i, j| {
            data.p[k] = if i == j {
                w1[i] * x[i]
            } else {
                w1[i] * x[j] + w1[j] * x[i]
            };
        });
        for_each_entry(program.a(), |k, i, j| {
            data.a[k] = z[i] * w1[j] - w2[i] * x[j];
        });
        data.q = w1;
        data.b = w2;
        let cotangent = SolutionTangent {
            x: gx,
            z: gz,
            s: gs,
        };
        (cotangent, data)
    }

    /// Zero on rows without a bound: nothing moves there.
    fn free_rows(&self, rows: &mut [f64]) {
        for &i in self.program.unbounded() {
            rows[i] = 0.0;
        }
    }

    /// D u and (I - D) u.
    fn split(&self, u: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut inside, mut outside) = (vec![0.0; u.len()], vec![0.0; u.len()]);
        let mut scratch = vec![0.0; self.projection.scratch_len()];
        self.projection.apply_into(u, &mut inside, &mut scratch);
        self.projection
            .apply_complement_into(u, &mut outside, &mut scratch);
        (inside, outside)
    }
}
