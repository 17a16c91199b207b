//! The Jacobian of the solution in the data, whole or by the columns and rows asked for.

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::linsolve::{Evidence, Method, StopReason};
use crate::memory::check_dense;
use crate::residual::Wanted;
use crate::tangent::{DataTangent, SolutionTangent};

/// One number of the data.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::DataCoordinate;
/// // minimize 1/2 x^2 - x subject to a x <= 1/4 at a = 1: x = 1/(4 a), z = (1 - x)/a, s = 0
/// let column = derivative.jacobian_columns(&[DataCoordinate::A(0)])?.value;
/// let expected = [-0.25, -0.5, 0.0];
/// assert!(column.data.iter().zip(expected).all(|(found, known)| (found - known).abs() < 1e-12));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataCoordinate {
    /// Stored entry of P, in the caller's order.
    P(usize),
    /// Entry of q.
    Q(usize),
    /// Stored entry of A, in the caller's order.
    A(usize),
    /// Entry of b.
    B(usize),
}

/// One number of the solution.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::SolutionCoordinate;
/// // minimize p/2 x^2 + q x subject to x <= b at p = 1, q = -1, b = 1/4: z = -p b - q
/// let z = derivative.jacobian_rows(&[SolutionCoordinate::Z(0)])?.value;
/// let (dp, dq, db) = (z.data[0], z.data[1], z.data[3]);
/// assert!((dp + 0.25).abs() < 1e-12 && (dq + 1.0).abs() < 1e-12 && (db + 1.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SolutionCoordinate {
    /// Entry of x.
    X(usize),
    /// Entry of z.
    Z(usize),
    /// Entry of s.
    S(usize),
}

/// A dense matrix, column-major.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DenseMatrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// rows * cols values, column by column.
    #[serde(with = "crate::exact::numbers")]
    pub data: Vec<f64>,
}

impl DenseMatrix {
    /// Column j; `None` beyond the last, and beyond the data where they are not rows * cols values.
    ///
    /// ```
    /// use conediff::DenseMatrix;
    /// let matrix = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 2.0, 3.0, 4.0] };
    /// assert_eq!((matrix.column(1), matrix.column(2)), (Some(&[3.0, 4.0][..]), None));
    /// ```
    pub fn column(&self, j: usize) -> Option<&[f64]> {
        if j >= self.cols {
            return None;
        }
        let start = j.checked_mul(self.rows)?;
        self.data.get(start..start.checked_add(self.rows)?)
    }
}

impl Derivative {
    /// Columns of the Jacobian of (x, z, s) stacked, n + 2m rows: one JVP each.
    ///
    /// ```
    /// use conediff::{Cone, ConeProgram, DataCoordinate, Derivative, Settings, SolutionCoordinate, solve};
    /// # let program = ConeProgram::from_csc(
    /// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    /// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
    /// #     vec![Cone::Nonnegative(1)],
    /// # )?;
    /// # let settings = Settings::default();
    /// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    ///
    /// // minimize 1/2 x^2 - x subject to x <= b: x = b, z = 1 - b, s = 0
    /// let column = derivative.jacobian_columns(&[DataCoordinate::B(0)])?.value;
    /// let expected = [1.0, -1.0, 0.0];
    /// assert!(column.data.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
    /// // The row of x: its gradient in P, q, A and b.
    /// let row = derivative.jacobian_rows(&[SolutionCoordinate::X(0)])?.value;
    /// assert!((row.data[3] - 1.0).abs() < 1e-12 && row.rows == 4);
    /// # Ok::<(), conediff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Dimension`] for a coordinate out of range; [`Error::NotTrusted`] under `strict`.
    pub fn jacobian_columns(&self, columns: &[DataCoordinate]) -> Result<Checked<DenseMatrix>> {
        let program = self.program();
        let rows = program.n() + 2 * program.m();
        self.check_size("the Jacobian", rows, columns.len())?;
        let mut tangent = DataTangent::zeros(program);
        let mut out = SolutionTangent::zeros(program);
        let mut work = self.workspace();
        let mut data = Vec::with_capacity(rows * columns.len());
        let mut worst = None;
        for &coordinate in columns {
            *data_entry(&mut tangent, coordinate)? = 1.0;
            let evidence = self.jvp_into(&tangent, &mut out, &mut work)?;
            *data_entry(&mut tangent, coordinate)? = 0.0;
            worst = Some(worse(worst, evidence));
            data.extend_from_slice(&out.x);
            data.extend_from_slice(&out.z);
            data.extend_from_slice(&out.s);
        }
        let value = DenseMatrix {
            rows,
            cols: columns.len(),
            data,
        };
        Ok(self.checked(value, worst.unwrap_or(self.nothing())))
    }

    /// Rows of the Jacobian, one column of the result each: the gradient of a solution coordinate in (P, q, A, b) stacked, nnz(P) + n +
    /// nnz(A) + m rows. One VJP each.
    ///
    /// # Errors
    /// Those of [`Derivative::jacobian_columns`].
    pub fn jacobian_rows(&self, rows: &[SolutionCoordinate]) -> Result<Checked<DenseMatrix>> {
        let program = self.program();
        let len = program.p().nnz() + program.n() + program.a().nnz() + program.m();
        self.check_size("the Jacobian", len, rows.len())?;
        let mut seed = SolutionTangent::zeros(program);
        let mut out = DataTangent::zeros(program);
        let mut work = self.workspace();
        let mut data = Vec::with_capacity(len * rows.len());
        let mut worst = None;
        for &coordinate in rows {
            *solution_entry(&mut seed, coordinate)? = 1.0;
            let evidence = self.vjp_into(&seed, Wanted::default(), &mut out, &mut work)?;
            *solution_entry(&mut seed, coordinate)? = 0.0;
            worst = Some(worse(worst, evidence));
            data.extend_from_slice(&out.p);
            data.extend_from_slice(&out.q);
            data.extend_from_slice(&out.a);
            data.extend_from_slice(&out.b);
        }
        let value = DenseMatrix {
            rows: len,
            cols: rows.len(),
            data,
        };
        Ok(self.checked(value, worst.unwrap_or(self.nothing())))
    }

    /// The whole Jacobian, n + 2m rows (x, z, s) by nnz(P) + n + nnz(A) + m columns (P, q, A, b), by rows or columns, whichever
    /// are fewer.
    ///
    /// # Errors
    /// Those of [`Derivative::jacobian_columns`].
    pub fn jacobian(&self) -> Result<Checked<DenseMatrix>> {
        let program = self.program();
        let (n, m) = (program.n(), program.m());
        let (np, na) = (program.p().nnz(), program.a().nnz());
        let (rows, cols) = (n + 2 * m, np + n + na + m);
        self.check_size("the Jacobian", rows, cols)?;
        if cols <= rows {
            let columns: Vec<DataCoordinate> = (0..np)
                .map(DataCoordinate::P)
                .chain((0..n).map(DataCoordinate::Q))
                .chain((0..na).map(DataCoordinate::A))
                .chain((0..m).map(DataCoordinate::B))
                .collect();
            return self.jacobian_columns(&columns);
        }
        let coordinates: Vec<SolutionCoordinate> = (0..n)
            .map(SolutionCoordinate::X)
            .chain((0..m).map(SolutionCoordinate::Z))
            .chain((0..m).map(SolutionCoordinate::S))
            .collect();
        let transposed = self.jacobian_rows(&coordinates)?;
        let mut data = vec![0.0; rows * cols];
        // One row of the Jacobian after the other.
        for (k, &x) in transposed.value.data.iter().enumerate() {
            data[(k % cols) * rows + k / cols] = x;
        }
        Ok(Checked {
            value: DenseMatrix { rows, cols, data },
            meaning: transposed.meaning,
            evidence: transposed.evidence,
            trusted: transposed.trusted,
            warnings: transposed.warnings,
        })
    }

    fn check_size(&self, what: &'static str, rows: usize, cols: usize) -> Result<()> {
        check_dense(what, rows, cols, self.settings().max_dense_bytes)
    }

    /// Evidence of having solved nothing.
    fn nothing(&self) -> Evidence {
        Evidence {
            method: Method::Ldl,
            residual: 0.0,
            converged: true,
            refinement_steps: 0,
            stop: StopReason::ZeroRightHandSide,
            condition: self.condition(),
            correction: 0.0,
            error: 0.0,
            bias: 0.0,
            iterations: 0,
        }
    }
}

fn worse(worst: Option<Evidence>, next: Evidence) -> Evidence {
    // The least trustworthy column speaks for all.
    worst.map_or(next, |worst| worst.worst(next))
}

fn data_entry(tangent: &mut DataTangent, coordinate: DataCoordinate) -> Result<&mut f64> {
    let (what, vector, k) = match coordinate {
        DataCoordinate::P(k) => ("coordinate of P", &mut tangent.p, k),
        DataCoordinate::Q(k) => ("coordinate of q", &mut tangent.q, k),
        DataCoordinate::A(k) => ("coordinate of A", &mut tangent.a, k),
        DataCoordinate::B(k) => ("coordinate of b", &mut tangent.b, k),
    };
    entry(what, vector, k)
}

fn solution_entry(
    tangent: &mut SolutionTangent,
    coordinate: SolutionCoordinate,
) -> Result<&mut f64> {
    let (what, vector, k) = match coordinate {
        SolutionCoordinate::X(k) => ("coordinate of x", &mut tangent.x, k),
        SolutionCoordinate::Z(k) => ("coordinate of z", &mut tangent.z, k),
        SolutionCoordinate::S(k) => ("coordinate of s", &mut tangent.s, k),
    };
    entry(what, vector, k)
}

fn entry<'a>(what: &'static str, vector: &'a mut [f64], k: usize) -> Result<&'a mut f64> {
    let expected = vector.len();
    vector.get_mut(k).ok_or(Error::Dimension {
        what,
        expected,
        found: k,
    })
}
