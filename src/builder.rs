//! Building a program block by block, without index arithmetic.

use crate::cone::{Cone, triangular};
use crate::error::{Error, Result};
use crate::memory::check_room;
use crate::pattern::SparseMatrix;
use crate::program::{ConeProgram, check_length};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::ops::Range;

/// How far a matrix of a PSD block may be from symmetric, relative to its largest entry.
const SYMMETRY: f64 = 1e-12;

/// An affine expression in the variables: sum of coefficient * x_j, plus a constant.
///
/// ```
/// use conediff::Affine;
/// let e = Affine::new(&[(0, 2.0), (3, -1.0)], 0.5); // 2 x_0 - x_3 + 1/2
/// assert_eq!(e.value(&[1.0, 0.0, 0.0, 4.0])?, -1.5);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Affine {
    terms: Vec<(usize, f64)>,
    constant: f64,
}

impl Affine {
    /// sum of coefficient * x_j over `terms` (variable, coefficient), plus `constant`. A variable may appear several times.
    pub fn new(terms: &[(usize, f64)], constant: f64) -> Self {
        Self {
            terms: terms.to_vec(),
            constant,
        }
    }

    /// x_j.
    pub fn variable(j: usize) -> Self {
        Self::new(&[(j, 1.0)], 0.0)
    }

    /// A number.
    pub fn constant(value: f64) -> Self {
        Self::new(&[], value)
    }

    /// The value at x.
    ///
    /// # Errors
    /// [`Error::Dimension`] if a variable is not below the length of x.
    pub fn value(&self, x: &[f64]) -> Result<f64> {
        let mut sum = self.constant;
        for &(j, coefficient) in &self.terms {
            let xj = x.get(j).ok_or(out_of_range(x.len(), j))?;
            sum += coefficient * xj;
        }
        Ok(sum)
    }

    fn scaled(&self, factor: f64) -> Self {
        Self {
            terms: self.terms.iter().map(|(j, c)| (*j, factor * c)).collect(),
            constant: factor * self.constant,
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self.constant += other.constant;
        self
    }
}

/// Builds a [`ConeProgram`]: minimize 1/2 x'Px + q'x over x in R^n, subject to one cone per block.
///
/// Every block says which affine expression must lie in its cone: s = expression = b - Ax, so a row of A holds minus the
/// coefficients and b the constant. Each call returns the rows of A, b, s and z it became; they are final. Blocks of
/// equalities (or of inequalities) that follow each other share one cone, which leaves their rows as they are.
///
/// Coefficients of one variable in one row are summed, and so are the entries of P. A coefficient of zero keeps its place
/// in the pattern, and with it its gradient. A mistake is remembered and reported by [`ProgramBuilder::build`];
/// the block that has it returns no rows.
///
/// ```
/// use conediff::{Affine, ProgramBuilder, Settings, solve};
/// // minimize (x0 - 3)^2 / 2 + (x1 - 1)^2 / 2 subject to x0 + x1 = 3, |(x0, x1)| <= 5, x1 <= 0.5
/// let mut builder = ProgramBuilder::new(2);
/// builder.quadratic(0, 0, 1.0);
/// builder.quadratic(1, 1, 1.0);
/// builder.linear(0, -3.0);
/// builder.linear(1, -1.0);
/// builder.equality(&[(0, 1.0), (1, 1.0)], 3.0);
/// builder.norm(&[Affine::variable(0), Affine::variable(1)], &Affine::constant(5.0));
/// let cap = builder.bounds([1], f64::NEG_INFINITY, 0.5);
/// let program = builder.build()?;
///
/// let solution = solve(&program, &Settings::default())?;
/// assert!((solution.x[0] - 2.5).abs() < 1e-9 && (solution.x[1] - 0.5).abs() < 1e-9);
/// assert_eq!((cap, solution.s.len()), (4..5, 5));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProgramBuilder {
    n: usize,
    /// (column, row, value) with row <= column; summed by `build`, like the others.
    p: Vec<(usize, usize, f64)>,
    q: Vec<(usize, f64)>,
    /// (column, row, value).
    a: Vec<(usize, usize, f64)>,
    b: Vec<f64>,
    cones: Vec<Cone>,
    mistake: Option<Error>,
}

impl ProgramBuilder {
    /// A program in n variables, without cost and constraints.
    pub fn new(n: usize) -> Self {
        Self {
            n,
            ..Self::default()
        }
    }

    /// P_ij += value and, off the diagonal, P_ji += value: the cost grows by value x_i x_j, or value x_i^2 / 2 if i = j.
    pub fn quadratic(&mut self, i: usize, j: usize, value: f64) {
        let mistake = self.check_variable(i).or(self.check_variable(j));
        let mistake = mistake.or(check_number("entry of P", self.p.len(), value));
        if !self.has(mistake) {
            self.p.push((i.max(j), i.min(j), value));
        }
    }

    /// P += matrix, n x n: all of it, or its upper triangle only. A matrix with an entry below its diagonal is taken as all of
    /// it, and must be symmetric to 1e-12 relative to its largest entry.
    pub fn quadratic_matrix(&mut self, matrix: &sprs::CsMat<f64>) {
        let mistake = check_length("rows of P", self.n, matrix.rows())
            .and(check_length("columns of P", self.n, matrix.cols()))
            .err();
        if self.has(mistake) {
            return;
        }
        let is_full = matrix.iter().any(|(_, (i, j))| i > j);
        let largest = matrix.data().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (&value, (row, column)) in matrix {
            let mirror = matrix.get(column, row).copied().unwrap_or(0.0);
            if is_full && (value - mirror).abs() > SYMMETRY * largest {
                self.has(Some(Error::NotSymmetric {
                    row,
                    column,
                    value,
                    mirror,
                }));
                return;
            }
            if row <= column {
                self.quadratic(row, column, value);
            }
        }
    }

    /// q_j += value.
    pub fn linear(&mut self, j: usize, value: f64) {
        let mistake = self.check_variable(j);
        if !self.has(mistake) {
            self.q.push((j, value));
        }
    }

    /// One row g'x = rhs: s = rhs - g'x = 0. The multiplier z is free, with Px + g z + ... + q = 0.
    pub fn equality(&mut self, g: &[(usize, f64)], rhs: f64) -> Range<usize> {
        let row = Affine::new(g, -rhs).scaled(-1.0);
        self.block(Cone::Zero(1), vec![row])
    }

    /// Gx = h, one row for each of h: s = h - Gx = 0.
    pub fn equality_matrix(&mut self, g: &sprs::CsMat<f64>, h: &[f64]) -> Range<usize> {
        self.matrix_block(Cone::Zero(h.len()), g, h)
    }

    /// One row g'x <= rhs: s = rhs - g'x >= 0, z >= 0. A right-hand side of 1e20 or more, infinity included, is no constraint:
    /// its z is 0, and so are its derivatives.
    pub fn inequality(&mut self, g: &[(usize, f64)], rhs: f64) -> Range<usize> {
        let row = Affine::new(g, -rhs).scaled(-1.0);
        self.block(Cone::Nonnegative(1), vec![row])
    }

    /// Gx <= h, one row for each of h: s = h - Gx >= 0. For infinities in h see [`ProgramBuilder::inequality`].
    pub fn inequality_matrix(&mut self, g: &sprs::CsMat<f64>, h: &[f64]) -> Range<usize> {
        self.matrix_block(Cone::Nonnegative(h.len()), g, h)
    }

    /// lower <= x_j <= upper for each variable given: first a row s = x_j - lower >= 0 for each of them, then a row
    /// s = upper - x_j >= 0 for each. A lower bound of minus infinity or an upper one of infinity makes no rows. Two equal
    /// bounds make one equality row s = upper - x_j = 0 for each, since opposite inequalities would leave z undetermined.
    pub fn bounds(
        &mut self,
        variables: impl IntoIterator<Item = usize>,
        lower: f64,
        upper: f64,
    ) -> Range<usize> {
        let variables: Vec<usize> = variables.into_iter().collect();
        let below = variables.iter().map(|&j| Affine::new(&[(j, 1.0)], -lower));
        let above = variables.iter().map(|&j| Affine::new(&[(j, -1.0)], upper));
        if lower == upper {
            return self.block(Cone::Zero(variables.len()), above.collect());
        }
        let mut rows = Vec::new();
        if lower != f64::NEG_INFINITY {
            rows.extend(below);
        }
        if upper != f64::INFINITY {
            rows.extend(above);
        }
        self.block(Cone::Nonnegative(rows.len()), rows)
    }

    /// |u| <= t, the Euclidean norm of the expressions `u`: s = (t, u), one row more than there are expressions.
    pub fn norm(&mut self, u: &[Affine], t: &Affine) -> Range<usize> {
        let rows: Vec<Affine> = std::iter::once(t).chain(u).cloned().collect();
        self.block(Cone::SecondOrder(rows.len()), rows)
    }

    /// |u|^2 <= 2 y w with y, w >= 0: s = ((y + w)/sqrt 2, (y - w)/sqrt 2, u), an orthonormal image of (y, w, u), so that norms
    /// and margins keep their meaning. Two rows more than there are expressions in `u`.
    ///
    /// For |u|^2 <= w take y = 1/2.
    pub fn rotated_norm(&mut self, u: &[Affine], y: &Affine, w: &Affine) -> Range<usize> {
        let (y, w) = (y.scaled(FRAC_1_SQRT_2), w.scaled(FRAC_1_SQRT_2));
        let mut rows = vec![y.clone().plus(w.clone()), y.plus(w.scaled(-1.0))];
        rows.extend_from_slice(u);
        self.block(Cone::SecondOrder(rows.len()), rows)
    }

    /// The symmetric k x k matrix S of affine entries is positive semidefinite. `entries` are the k(k+1)/2 entries of its upper
    /// triangle, column by column: S_00, S_01, S_11, S_02, ..., unscaled. s = svec(S), whose off-diagonal rows are
    /// sqrt 2 times the entry (see [`crate::svec`]); read Z from z with [`crate::svec::smat`].
    pub fn psd(&mut self, k: usize, entries: &[Affine]) -> Range<usize> {
        let mistake = check_length("entries of a PSD block", triangular(k), entries.len()).err();
        if self.has(mistake) {
            return self.nothing();
        }
        let mut rows = Vec::with_capacity(entries.len());
        for j in 0..k {
            let column = &entries[triangular(j)..=triangular(j) + j];
            rows.extend(column[..j].iter().map(|e| e.scaled(SQRT_2)));
            rows.push(column[j].clone());
        }
        self.block(Cone::PsdTriangle(k), rows)
    }

    /// F0 + sum x_j F_j is positive semidefinite. Every matrix is symmetric, k x k, column-major with k*k entries; `terms` pairs
    /// each variable with its matrix. Zeros in a matrix make no entry of A. Rows as in [`ProgramBuilder::psd`].
    pub fn psd_matrices(
        &mut self,
        k: usize,
        constant: &[f64],
        terms: &[(usize, &[f64])],
    ) -> Range<usize> {
        let all = std::iter::once(constant).chain(terms.iter().map(|t| t.1));
        let mistake = all
            .map(|matrix| check_symmetric(self.cones.len(), k, matrix))
            .find_map(Result::err);
        if self.has(mistake) {
            return self.nothing();
        }
        let mut entries = Vec::with_capacity(triangular(k));
        for j in 0..k {
            for i in 0..=j {
                let at = j * k + i;
                let mut entry = Affine::constant(constant[at]);
                let present = terms.iter().filter(|(_, matrix)| matrix[at] != 0.0);
                entry
                    .terms
                    .extend(present.map(|(x, matrix)| (*x, matrix[at])));
                entries.push(entry);
            }
        }
        self.psd(k, &entries)
    }

    /// y exp(x/y) <= z with y > 0, closed: s = (x, y, z), three rows. With y = 1: exp(x) <= z, or x <= log z.
    pub fn exponential(&mut self, x: &Affine, y: &Affine, z: &Affine) -> Range<usize> {
        self.block(Cone::Exponential, vec![x.clone(), y.clone(), z.clone()])
    }

    /// x^alpha y^(1-alpha) >= |z| with x, y >= 0 and alpha in (0, 1): s = (x, y, z), three rows.
    pub fn power(&mut self, alpha: f64, x: &Affine, y: &Affine, z: &Affine) -> Range<usize> {
        self.block(Cone::Power(alpha), vec![x.clone(), y.clone(), z.clone()])
    }

    /// prod u_i^alpha_i >= |w| with u >= 0; alpha is positive and sums to 1, one exponent for each u. s = (u, w).
    pub fn generalized_power(&mut self, alpha: &[f64], u: &[Affine], w: &[Affine]) -> Range<usize> {
        let mistake = check_length("exponents of a power block", u.len(), alpha.len()).err();
        if self.has(mistake) {
            return self.nothing();
        }
        let cone = Cone::GeneralizedPower(alpha.to_vec(), w.len());
        self.block(cone, u.iter().chain(w).cloned().collect())
    }

    /// The program.
    ///
    /// # Errors
    /// The first mistake made: [`Error::Dimension`] for a variable that is not below n or a list of the wrong length,
    /// [`Error::NonFinite`] for a coefficient (its index is the row's), [`Error::NotSymmetric`], [`Error::Cone`]. Then those of
    /// [`ConeProgram::new`].
    pub fn build(self) -> Result<ConeProgram> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let mut q = zeros(self.n)?;
        for (j, value) in self.q {
            q[j] += value;
        }
        let p = compress("P", self.n, self.n, self.p)?;
        let a = compress("A", self.b.len(), self.n, self.a)?;
        ConeProgram::from_matrices(p, q, a, self.b, self.cones)
    }

    /// Appends a cone whose slack is the given expressions.
    fn block(&mut self, cone: Cone, rows: Vec<Affine>) -> Range<usize> {
        let start = self.b.len();
        let mistake = rows.iter().enumerate().find_map(|(k, row)| {
            row.terms.iter().find_map(|&(j, c)| {
                self.check_variable(j)
                    .or(check_number("coefficient of row", start + k, c))
            })
        });
        if self.has(mistake) {
            return self.nothing();
        }
        for row in rows {
            let i = self.b.len();
            self.a.extend(row.terms.iter().map(|&(j, c)| (j, i, -c)));
            self.b.push(row.constant);
        }
        match (self.cones.last_mut(), cone) {
            (Some(Cone::Zero(d)), Cone::Zero(more)) => *d += more,
            (Some(Cone::Nonnegative(d)), Cone::Nonnegative(more)) => *d += more,
            (_, cone) => self.cones.push(cone),
        }
        start..self.b.len()
    }

    fn matrix_block(&mut self, cone: Cone, g: &sprs::CsMat<f64>, h: &[f64]) -> Range<usize> {
        let mistake = check_length("rows of G", h.len(), g.rows())
            .and(check_length("columns of G", self.n, g.cols()))
            .err();
        if self.has(mistake) {
            return self.nothing();
        }
        let mut rows: Vec<Affine> = h.iter().map(|&h| Affine::constant(h)).collect();
        for (&value, (i, j)) in g {
            rows[i].terms.push((j, -value));
        }
        self.block(cone, rows)
    }

    /// Keeps the first mistake; true if there is one here.
    fn has(&mut self, mistake: Option<Error>) -> bool {
        let found = mistake.is_some();
        self.mistake = self.mistake.take().or(mistake);
        found
    }

    fn nothing(&self) -> Range<usize> {
        self.b.len()..self.b.len()
    }

    fn check_variable(&self, j: usize) -> Option<Error> {
        (j >= self.n).then(|| out_of_range(self.n, j))
    }
}

fn out_of_range(n: usize, j: usize) -> Error {
    Error::Dimension {
        what: "variable (must be below the expected length)",
        expected: n,
        found: j,
    }
}

fn check_number(what: &'static str, index: usize, value: f64) -> Option<Error> {
    (!value.is_finite()).then_some(Error::NonFinite { what, index, value })
}

fn check_symmetric(cone: usize, k: usize, matrix: &[f64]) -> Result<()> {
    check_length("matrix of a PSD block", k.saturating_mul(k), matrix.len())?;
    let largest = matrix.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for j in 0..k {
        for i in 0..j {
            let (value, mirror) = (matrix[j * k + i], matrix[i * k + j]);
            if (value - mirror).abs() > SYMMETRY * largest {
                return Err(Error::Cone {
                    index: cone,
                    reason: format!(
                        "a matrix of the PSD block is not symmetric: entry ({i}, {j}) is {value} but its mirror is {mirror}"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// n zeros, or an error where the machine cannot hold them.
fn zeros(n: usize) -> Result<Vec<f64>> {
    check_room("the program", 8 * n as u128)?;
    Ok(vec![0.0; n])
}

/// Compressed columns from (column, row, value); values of the same place are summed in the order they came.
fn compress(
    name: &'static str,
    rows: usize,
    cols: usize,
    mut entries: Vec<(usize, usize, f64)>,
) -> Result<SparseMatrix> {
    entries.sort_by_key(|e| (e.0, e.1));
    let mut indptr = vec![0; cols + 1];
    let (mut indices, mut values): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut last = None;
    for (column, row, value) in entries {
        if last == Some((column, row)) {
            if let Some(sum) = values.last_mut() {
                *sum += value;
            }
            continue;
        }
        last = Some((column, row));
        indptr[column + 1] += 1;
        indices.push(row);
        values.push(value);
    }
    for j in 0..cols {
        indptr[j + 1] += indptr[j];
    }
    SparseMatrix::from_csc(name, rows, cols, &indptr, &indices, &values)
}
