//! Variational inequalities over cones: the optimality conditions of a cone program with any monotone P, symmetric or not.
//!
//! ```text
//! F(x, v) = [ Px + A'Pi(v) + q ;  -Ax + b - (Pi(v) - v) ] = 0,    J = [ P    A'D   ]
//!                                                                     [ -A   I - D ]
//! ```
//!
//! It is the residual of the program with P = 0 plus (Px ; 0), and J likewise: projection, D, the parts in A, b and q are the program's
//! own.
//!
//! # References
//! Facchinei, Pang, Finite-dimensional variational inequalities and complementarity problems, 2003, sections 1.1 and 1.5.

mod derivative;
mod hypothesis;
mod point;
mod splitting;

pub use derivative::VariationalDerivative;
pub use splitting::SplittingSettings;

use crate::cone::Cone;
use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::program::{ConeProgram, check_length};
use crate::projection::Projection;
use crate::residual::transpose;
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataTangent, SolutionTangent};
use point::Point;

/// Find x with Ax + s = b, s in K, such that <Px + q, x' - x> >= 0 for every other such x'; with a multiplier z:
///
/// ```text
/// Px + A'z + q = 0,   Ax + s = b,   s in K,  z in K*,  s'z = 0
/// ```
///
/// P is n x n, all of it stored, P + P' positive semidefinite; A is m x n; the cones' rows add up to m. With P symmetric these are the
/// optimality conditions of [`ConeProgram`]; otherwise of no program: linear complementarity problems, games, equilibria. Rows
/// without a bound (b >= 1e20) are as there.
///
/// ```
/// use conediff::{Cone, Settings, SparseMatrix, SplittingSettings, VariationalDerivative, VariationalInequality};
/// // The complementarity problem x >= 0, Px + q >= 0, x'(Px + q) = 0 for P = [1 2; -2 1] and q = (-1, 0): x = (1/5, 2/5).
/// let p = SparseMatrix::from_csc("P", 2, 2, &[0, 2, 4], &[0, 1, 0, 1], &[1.0, -2.0, 2.0, 1.0])?;
/// let a = SparseMatrix::from_csc("A", 2, 2, &[0, 1, 2], &[0, 1], &[-1.0, -1.0])?;
/// let inequality = VariationalInequality::new(p, vec![-1.0, 0.0], a, vec![0.0; 2], vec![Cone::Nonnegative(2)])?;
/// let settings = Settings::default();
/// let solution = inequality.solve(&SplittingSettings::default(), &settings)?;
/// assert!((solution.x[0] - 0.2).abs() < 1e-12 && (solution.x[1] - 0.4).abs() < 1e-12);
///
/// // dx = -P^-1 dq
/// let derivative = VariationalDerivative::new(&inequality, &solution, &settings)?;
/// let mut tangent = inequality.zero_tangent();
/// tangent.q[1] = 1.0;
/// let dx = derivative.jvp(&tangent)?;
/// assert!(dx.trusted && (dx.value.x[0] - 0.4).abs() < 1e-12 && (dx.value.x[1] + 0.2).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct VariationalInequality {
    p: SparseMatrix,
    /// The program with P = 0, whose J is this one's without P.
    frame: ConeProgram,
    /// The program with (P + P')/2: sizes of terms, and what its certificate implies.
    symmetric: ConeProgram,
}

impl VariationalInequality {
    /// From validated matrices, P with both triangles.
    ///
    /// # Errors
    /// [`Error::NotMonotone`] if P + P' has a negative direction; [`Error::Dimension`], [`Error::NonFinite`], [`Error::Bound`],
    /// [`Error::Cone`], [`Error::ConeRows`].
    pub fn new(
        p: SparseMatrix,
        q: Vec<f64>,
        a: SparseMatrix,
        b: Vec<f64>,
        cones: Vec<Cone>,
    ) -> Result<Self> {
        let n = q.len();
        check_length("rows of P", n, p.rows())?;
        check_length("columns of P", n, p.cols())?;
        let nothing =
            SparseMatrix::from_parts(n, n, vec![0; n.saturating_add(1)], Vec::new(), Vec::new());
        let frame =
            ConeProgram::from_matrices(nothing, q.clone(), a.clone(), b.clone(), cones.clone())?;
        let symmetric = ConeProgram::from_matrices(symmetric_part(&p), q, a, b, cones);
        let symmetric = symmetric.map_err(|error| match error {
            Error::NotConvex {
                index,
                value,
                reason,
            } => Error::NotMonotone {
                index,
                value,
                reason,
            },
            other => other,
        })?;
        Ok(Self {
            p,
            frame,
            symmetric,
        })
    }

    /// The same structure with other values where they are given, P's and A's in the caller's stored order.
    ///
    /// # Errors
    /// Those of [`VariationalInequality::new`].
    pub fn with_data(
        &self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<Self> {
        let with = |matrix: &SparseMatrix, name, values: Option<&[f64]>| match values {
            Some(values) => matrix.with_values(name, values),
            None => Ok(matrix.clone()),
        };
        Self::new(
            with(&self.p, "P", p)?,
            q.unwrap_or(self.q()).to_vec(),
            with(self.a(), "A", a)?,
            b.unwrap_or(self.b()).to_vec(),
            self.cones().to_vec(),
        )
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.frame.n()
    }
    /// Number of rows.
    pub fn m(&self) -> usize {
        self.frame.m()
    }
    /// P, n x n.
    pub fn p(&self) -> &SparseMatrix {
        &self.p
    }
    /// The constant of the operator, n.
    pub fn q(&self) -> &[f64] {
        self.frame.q()
    }
    /// The constraint matrix, m x n.
    pub fn a(&self) -> &SparseMatrix {
        self.frame.a()
    }
    /// The right-hand side, m.
    pub fn b(&self) -> &[f64] {
        self.frame.b()
    }
    /// The cones, in row order.
    pub fn cones(&self) -> &[Cone] {
        self.frame.cones()
    }

    /// A zero direction in the data: p: nnz of P, all of it; q: n; a: nnz of A; b: m; p and a in stored order.
    pub fn zero_tangent(&self) -> DataTangent {
        DataTangent {
            p: vec![0.0; self.p.nnz()],
            ..DataTangent::zeros(&self.frame)
        }
    }

    /// A zero cotangent of (x, z, s).
    pub fn zero_cotangent(&self) -> SolutionTangent {
        SolutionTangent::zeros(&self.frame)
    }

    /// F at (x, v), n + m values; x: n, v = z - s: m.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn residual(&self, x: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        check_length("x", self.n(), x.len())?;
        check_length("v", self.m(), v.len())?;
        let projection = Projection::new(self.cones(), v)?;
        Ok(self.residual_and_size(x, projection.z(), projection.s()).0)
    }

    /// A solution found elsewhere, to be refined and differentiated. Its objective is 1/2 x'Px + q'x, which nothing minimizes unless P
    /// is symmetric.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn given(&self, x: Vec<f64>, z: Vec<f64>, s: Vec<f64>) -> Result<Solution> {
        Solution::given(&self.symmetric, x, z, s)
    }

    /// Refines a solution by semismooth Newton steps with LU; what happened is in its `refinement`. A point that does not reach the
    /// tolerance comes back as it was.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Dimension`], [`Error::NonFinite`].
    pub fn refine(&self, solution: &Solution, settings: &Settings) -> Result<Solution> {
        settings.validate()?;
        solution.check(&self.frame)?;
        let start = Point::of(self, solution)?;
        let (point, refinement) = point::newton(self, start, settings)?;
        let mut refined = solution.clone();
        if refinement.accepted {
            refined = point.solution(self)?;
            refined.iterations = solution.iterations;
            refined.status = solution.status;
        }
        refined.refinement = Some(refinement);
        Ok(refined)
    }
}

/// The upper triangle of (P + P')/2.
fn symmetric_part(p: &SparseMatrix) -> SparseMatrix {
    let n = p.cols();
    let mirrored = transpose(p);
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    let mut sum = vec![0.0; n];
    for j in 0..n {
        let mut rows: Vec<usize> = Vec::new();
        for matrix in [p, &mirrored] {
            let (own, entries) = matrix.column(j);
            for (&i, v) in own.iter().zip(entries).filter(|x| *x.0 <= j) {
                rows.push(i);
                sum[i] += 0.5 * v;
            }
        }
        rows.sort_unstable();
        rows.dedup();
        for i in rows {
            // A skew pair leaves nothing.
            if sum[i] != 0.0 {
                indices.push(i);
                values.push(sum[i]);
            }
            sum[i] = 0.0;
        }
        indptr.push(indices.len());
    }
    SparseMatrix::from_parts(n, n, indptr, indices, values)
}
