//! A ridge on the primal variables: the cure for a solution that jumps.

use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::program::ConeProgram;

impl ConeProgram {
    /// The program with P + rho I in place of P: rho/2 |x|^2 added to the objective f.
    ///
    /// With rho > 0 the primal solution is unique and x is 1/rho-Lipschitz in q, where that of a linear program jumps from vertex
    /// to vertex. In the other data it is locally Lipschitz where the active constraints are nondegenerate: P > 0 is then all the
    /// theorem of the crate's documentation asks. The price is a bias, bounded by
    ///
    /// ```text
    /// 0 <= f(x_rho) - f(x*) <= rho/2 (|x*|^2 - |x_rho|^2)
    /// ```
    ///
    /// for every solution x* of the program without the ridge (add f(x_rho) + rho/2 |x_rho|^2 <= f(x*) + rho/2 |x*|^2), and for
    /// small rho x_rho is near the x* of least norm. The dual solution may still not be unique.
    ///
    /// Diagonal entries that P lacks are added to its pattern, for rho = 0 too, so that all rho share one structure. P's gradient
    /// is then on the new pattern, by columns; with a full diagonal the pattern stays as it is. O(nnz(P) + n) and one check of
    /// convexity.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, Settings, solve};
    /// // maximize t x over [0, 1] jumps at t = 0; with a ridge x = t / rho between 0 and 1.
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 0], &[], &[]), vec![-0.05],
    ///     (&[0, 2], &[0, 1], &[1.0, -1.0]), vec![1.0, 0.0],
    ///     vec![Cone::Nonnegative(2)],
    /// )?;
    /// let x = solve(&program.with_ridge(0.1)?, &Settings::default())?.x[0];
    /// assert!((x - 0.5).abs() < 1e-12);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] unless rho is nonnegative and finite; [`Error::NonFinite`] if an entry overflows.
    ///
    /// # References
    /// Tikhonov, Arsenin, Solutions of ill-posed problems, 1977. Rockafellar, Monotone operators and the proximal point
    /// algorithm, 1976.
    pub fn with_ridge(&self, rho: f64) -> Result<Self> {
        if !(rho >= 0.0 && rho.is_finite()) {
            return Err(Error::Setting {
                name: "rho",
                value: rho,
                allowed: "nonnegative and finite",
            });
        }
        let (n, p) = (self.n(), self.p());
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for j in 0..n {
            let (rows, entries) = p.column(j);
            indices.extend_from_slice(rows);
            values.extend_from_slice(entries);
            // The diagonal is the last entry of a column of the upper triangle.
            match (rows.last() == Some(&j), values.last_mut()) {
                (true, Some(diagonal)) => *diagonal += rho,
                _ => {
                    indices.push(j);
                    values.push(rho);
                }
            }
            indptr.push(indices.len());
        }
        let p = if values.len() == p.nnz() {
            let with = p.with_column_values(values);
            p.with_values("P", &with.stored_values())?
        } else {
            SparseMatrix::from_csc("P", n, n, &indptr, &indices, &values)?
        };
        Self::from_matrices(
            p,
            self.q().to_vec(),
            self.a().clone(),
            self.b().to_vec(),
            self.cones().to_vec(),
        )
    }
}
