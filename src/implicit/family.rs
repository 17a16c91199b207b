//! Families of matrices that a box of numbers runs through: is every one invertible?

use crate::error::{Error, Result};
use crate::jacobian::DenseMatrix;
use crate::limit;
use crate::pattern::check_finite;
use crate::program::check_length;
use faer::Mat;

/// A relative singular value or determinant this small is not told from 0: rounding in products of up to [`LIMIT`] pivots stays
/// well below.
pub(super) const SINGULAR: f64 = 1e-12;

/// The largest number of ambiguous terms: 2^20 vertices take about a tenth of a second.
const LIMIT: usize = 20;

/// A family of matrices with independent rank-one terms:
///
/// ```text
/// B(lambda) = B0 + sum_k lambda_k u_k v_k',   lower_k <= lambda_k <= upper_k
/// ```
///
/// B0 is n x n, u_k and v_k have n entries. Such is the y-part of a conservative Jacobian of F(x, y) built from scalar kinks:
/// each relu, absolute value or projection onto an interval at its kink contributes one term whose factor may be anything between
/// its two slopes. For z = relu(Wz + x), F = z - relu(Wz + x) and rows i at the kink, u = e_i and v = -(row i of W), lambda in
/// [0, 1].
///
/// The nonsmooth implicit function theorem asks that every element be invertible, not only the vertices:
///
/// ```
/// use conediff::{DenseMatrix, FamilyCertificate, SelectionFamily, SingularElement};
/// // F(x, y) = |x| - |y| at 0: -lambda with lambda in [-1, 1]. Both ends are invertible and y(x) has two branches.
/// let zero = DenseMatrix { rows: 1, cols: 1, data: vec![0.0] };
/// let family = SelectionFamily::new(zero)?.with_term(&[1.0], &[-1.0], -1.0, 1.0)?;
/// let FamilyCertificate::NotCertified(witness) = family.certify()? else { panic!() };
/// let SingularElement { lambda, null_vector, .. } = witness;
/// assert_eq!((lambda, null_vector), (vec![0.0], vec![1.0]));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Theorem 2.
#[derive(Debug, Clone)]
pub struct SelectionFamily {
    base: DenseMatrix,
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    u: Vec<f64>,
    v: Vec<f64>,
    lower: f64,
    upper: f64,
}

impl Term {
    /// True if the term moves B at all.
    fn is_ambiguous(&self) -> bool {
        let is_zero = |v: &[f64]| v.iter().all(|v| *v == 0.0);
        self.upper > self.lower && !is_zero(&self.u) && !is_zero(&self.v)
    }
}

/// Whether every element of a [`SelectionFamily`] is invertible.
///
/// ```
/// # use conediff::{DenseMatrix, SelectionFamily};
/// # let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// use conediff::FamilyCertificate;
/// // All numbers in [1, 2], and all in [-1, 2]
/// let certified = SelectionFamily::between(&scalar(1.0), &scalar(2.0))?.certify()?;
/// assert_eq!(certified, FamilyCertificate::Certified { ratio: 0.5 });
/// let refuted = SelectionFamily::between(&scalar(-1.0), &scalar(2.0))?.certify()?;
/// assert!(matches!(refuted, FamilyCertificate::NotCertified(_)) && !refuted.is_certified());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FamilyCertificate {
    /// Every element is invertible: the implicit function is path differentiable, and -B^-1 A over all elements is a conservative
    /// Jacobian of it.
    Certified {
        /// The smallest determinant of the family over the largest, both at vertices; 1 without ambiguous terms. It does not
        /// depend on the units of F and y.
        #[serde(with = "crate::exact::number")]
        ratio: f64,
    },
    /// There is a singular element.
    NotCertified(SingularElement),
    /// The test takes 2^ambiguous determinants.
    TooMany {
        /// Terms whose factor is not fixed.
        ambiguous: usize,
        /// How many of them may be.
        limit: usize,
    },
}

impl FamilyCertificate {
    /// True if every element is invertible.
    pub fn is_certified(&self) -> bool {
        matches!(self, Self::Certified { .. })
    }
}

/// The proof that a family is not certified.
///
/// ```
/// # use conediff::{DenseMatrix, FamilyCertificate, SelectionFamily};
/// # let zero = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, -1.0] };
/// use conediff::SingularElement;
/// // diag(1, lambda - 1) for lambda in [0, 4] has two signs: it is singular at lambda = 1, along the second axis
/// let family = SelectionFamily::new(zero)?.with_term(&[0.0, 1.0], &[0.0, 1.0], 0.0, 4.0)?;
/// let FamilyCertificate::NotCertified(found) = family.certify()? else { panic!() };
/// let SingularElement { lambda, null_vector, opposite, .. } = found;
/// assert!((lambda[0] - 1.0).abs() < 1e-12 && null_vector[0].abs() < 1e-12);
/// assert_eq!(opposite, Some([vec![0.0], vec![4.0]]));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SingularElement {
    /// The factors of a singular element, one for each term.
    #[serde(with = "crate::exact::numbers")]
    pub lambda: Vec<f64>,
    /// A unit vector y with B(lambda) y = 0, n.
    #[serde(with = "crate::exact::numbers")]
    pub null_vector: Vec<f64>,
    /// The largest of |B y|_i / (T |y|)_i, where T = |B0| + sum_k |lambda_k u_k| |v_k|': the relative change of B0, u and v that
    /// makes B(lambda) y = 0 exact. Rounding if all is well.
    #[serde(with = "crate::exact::number")]
    pub residual: f64,
    /// Where vertices are invertible with determinants of opposite sign: two of them, lambda lying on the edge between. `None`
    /// where a vertex itself is singular.
    pub opposite: Option<[Vec<f64>; 2]>,
}

impl SelectionFamily {
    /// The family of one element, B0.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless B0 is square and holds rows * cols values; [`Error::NonFinite`].
    pub fn new(base: DenseMatrix) -> Result<Self> {
        check_length("columns of B0", base.rows, base.cols)?;
        base.check("values of B0")?;
        Ok(Self {
            base,
            terms: Vec::new(),
        })
    }

    /// With one more term, lambda u v' for lambda in [lower, upper]. A term with lower = upper is fixed.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::Setting`] if lower is above upper.
    pub fn with_term(mut self, u: &[f64], v: &[f64], lower: f64, upper: f64) -> Result<Self> {
        check_length("u", self.base.rows, u.len())?;
        check_length("v", self.base.cols, v.len())?;
        check_finite("u", u)?;
        check_finite("v", v)?;
        check_finite("bounds of lambda", &[lower, upper])?;
        if lower > upper {
            return Err(Error::Setting {
                name: "lower",
                value: lower,
                allowed: "at most upper",
            });
        }
        self.terms.push(Term {
            u: u.to_vec(),
            v: v.to_vec(),
            lower,
            upper,
        });
        Ok(self)
    }

    /// Every matrix whose entries lie between those of two, bounds of a conservative Jacobian: one term for each entry they differ in.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::Setting`] if an entry of the first is above the second's.
    pub fn between(lower: &DenseMatrix, upper: &DenseMatrix) -> Result<Self> {
        let mut family = Self::new(lower.clone())?;
        check_length("rows of the upper bound", lower.rows, upper.rows)?;
        check_length("columns of the upper bound", lower.cols, upper.cols)?;
        upper.check("upper bound of B")?;
        let unit = |k: usize| {
            let mut unit = vec![0.0; lower.rows];
            unit.iter_mut().skip(k).take(1).for_each(|u| *u = 1.0);
            unit
        };
        for (k, (l, u)) in lower.data.iter().zip(&upper.data).enumerate() {
            if l != u {
                let (i, j) = (k % lower.rows, k / lower.rows);
                family = family.with_term(&unit(i), &unit(j), 0.0, u - l)?;
            }
        }
        Ok(family)
    }

    /// True if it has more than one element.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.terms.iter().any(Term::is_ambiguous)
    }

    /// n.
    pub fn dim(&self) -> usize {
        self.base.rows
    }

    /// B(lambda), one factor for each term, within its bounds or not.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`].
    pub fn element(&self, lambda: &[f64]) -> Result<DenseMatrix> {
        check_length("lambda", self.terms.len(), lambda.len())?;
        check_finite("lambda", lambda)?;
        let b = self.sum(lambda, |x| x);
        check_finite("B", &b.data)?;
        Ok(b)
    }

    /// The sum of the base and the terms, f applied to every part of every entry.
    fn sum(&self, lambda: &[f64], f: impl Fn(f64) -> f64) -> DenseMatrix {
        let mut b = self.base.clone();
        b.data.iter_mut().for_each(|b| *b = f(*b));
        for (term, lambda) in self.terms.iter().zip(lambda) {
            let columns = b.data.chunks_mut(b.rows.max(1));
            for (column, v) in columns.zip(&term.v) {
                for (b, u) in column.iter_mut().zip(&term.u) {
                    *b += f(lambda * u * v);
                }
            }
        }
        b
    }

    fn decompose(&self, lambda: &[f64]) -> Result<Decomposed> {
        let sizes = self.sum(lambda, f64::abs);
        check_finite("B", &sizes.data)?;
        Decomposed::new(&self.element(lambda)?, &sizes)
    }

    /// Tests whether every element is invertible.
    ///
    /// The determinant is affine in each lambda_k, so over the whole box it keeps its sign exactly if all 2^k vertices have
    /// nonzero determinants of one sign. With B the vertex of all lower bounds and C = I + diag(upper - lower) V'B^-1 U, the
    /// determinant at the vertex where the terms of S are at their upper bounds is det B times the principal minor of C on S: the
    /// family is nonsingular exactly if B is and C is a P-matrix. The minors are products of pivots of Schur complements, one new
    /// pivot for each. On an edge where the sign changes the singular element follows in closed form.
    ///
    /// In double precision: a matrix counts as singular if its least singular value is below 1e-12, rows and columns scaled such
    /// that its terms are of size 1, or its determinant below 1e-12 of its neighbour's. O(n^3 + k n^2 + 2^k k) time, k <= 20.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if an element overflows; [`Error::Factorization`] if a singular value decomposition fails.
    ///
    /// # References
    /// Bolte, Le, Pauwels, Silveti-Falls, 2021, Theorem 2. Tsatsomeros, Li, A recursive test for P-matrices, 2000.
    pub fn certify(&self) -> Result<FamilyCertificate> {
        let lower: Vec<f64> = self.terms.iter().map(|t| t.lower).collect();
        let vertex = self.decompose(&lower)?;
        if vertex.is_singular() {
            return self.singular(lower, None);
        }
        let ambiguous: Vec<usize> = (0..self.terms.len())
            .filter(|k| self.terms.get(*k).is_some_and(Term::is_ambiguous))
            .collect();
        let terms: Vec<&Term> = self.terms.iter().filter(|t| t.is_ambiguous()).collect();
        let k = terms.len();
        if k > LIMIT {
            return Ok(FamilyCertificate::TooMany {
                ambiguous: k,
                limit: LIMIT,
            });
        }
        let mut minors = vec![0.0; k * k];
        for (column, from) in minors.chunks_mut(k.max(1)).zip(&terms) {
            let solved = vertex.solve(&from.u);
            for (c, to) in column.iter_mut().zip(&terms) {
                *c = (to.upper - to.lower) * crate::tangent::dot(&to.v, &solved);
            }
        }
        for diagonal in minors.iter_mut().step_by(k + 1) {
            *diagonal += 1.0;
        }
        check_finite("determinants", &minors)?;
        let mut walk = Walk::default();
        walk.run(&minors, k, 0.0)?;
        let Some(edge) = walk.found else {
            return Ok(FamilyCertificate::Certified {
                ratio: (walk.least - walk.most).exp(),
            });
        };
        // From the path, the terms at their upper bounds; the last one is the edge's own.
        let mut from = lower;
        let mut last = 0;
        for (&index, &is_upper) in ambiguous.iter().zip(&edge) {
            if let (true, Some(l), Some(t)) = (is_upper, from.get_mut(index), self.terms.get(index))
            {
                *l = t.upper;
            }
            last = index;
        }
        self.on_edge(from, last)
    }

    /// The singular element on the edge of term `last` whose upper end is given.
    fn on_edge(&self, upper: Vec<f64>, last: usize) -> Result<FamilyCertificate> {
        let Some(term) = self.terms.get(last) else {
            return self.singular(upper, None);
        };
        let at = |value: f64| {
            let mut lambda = upper.clone();
            lambda
                .iter_mut()
                .skip(last)
                .take(1)
                .for_each(|l| *l = value);
            lambda
        };
        let lower = at(term.lower);
        let start = self.decompose(&lower)?;
        if start.is_singular() {
            return self.singular(lower, None);
        }
        let width = term.upper - term.lower;
        let pivot = 1.0 + width * crate::tangent::dot(&term.v, &start.solve(&term.u));
        if pivot > 0.0 && pivot * SINGULAR >= 1.0 {
            return self.singular(lower, None);
        }
        if pivot >= -SINGULAR {
            return self.singular(upper, None);
        }
        // det = det(lower end) (1 + t (pivot - 1)) at lambda = lower + t width.
        let root = term.lower + width / (1.0 - pivot);
        self.singular(at(root), Some([lower, upper]))
    }

    fn singular(
        &self,
        lambda: Vec<f64>,
        opposite: Option<[Vec<f64>; 2]>,
    ) -> Result<FamilyCertificate> {
        let element = self.decompose(&lambda)?;
        let (null_vector, residual) = element.null_vector();
        Ok(FamilyCertificate::NotCertified(SingularElement {
            lambda,
            null_vector,
            residual,
            opposite,
        }))
    }
}

/// From this order on a budget is looked at: what is below takes microseconds.
const CHECKED: usize = 6;

/// The walk over all principal minors of a matrix, depth first.
#[derive(Debug)]
struct Walk {
    /// Which indices the minor at hand takes, as far as decided.
    path: Vec<bool>,
    /// Logarithms of the least and the largest minor.
    least: f64,
    most: f64,
    /// The path to a minor that is not positive, ending with the index that made it so.
    found: Option<Vec<bool>>,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            least: 0.0,
            most: 0.0,
            found: None,
        }
    }
}

impl Walk {
    /// `c` is what is left of the matrix, order k, column-major: the Schur complement of the indices taken, the others left out.
    /// Either index 0 is left out, or taken: the minor grows by the factor c_00.
    fn run(&mut self, c: &[f64], k: usize, logarithm: f64) -> Result<()> {
        let Some(&pivot) = c.first() else {
            self.least = self.least.min(logarithm);
            self.most = self.most.max(logarithm);
            return Ok(());
        };
        if k >= CHECKED {
            limit::check("the next minors")?;
        }
        self.path.push(true);
        // NaN is no evidence of anything.
        if !(pivot > SINGULAR && pivot * SINGULAR < 1.0) {
            self.found = Some(self.path.clone());
            return Ok(());
        }
        let below = k - 1;
        let mut next = vec![0.0; below * below];
        let (first, rest) = c.split_at(k);
        let column = |j: usize| rest.iter().skip(j * k);
        for (j, out) in next.chunks_mut(below.max(1)).enumerate() {
            let factor = column(j).next().map_or(0.0, |head| head / pivot);
            let old = column(j).zip(first).skip(1);
            for (out, (c, l)) in out.iter_mut().zip(old) {
                *out = c - l * factor;
            }
        }
        self.run(&next, below, logarithm + pivot.ln())?;
        if self.found.is_some() {
            return Ok(());
        }
        self.path.pop();
        self.path.push(false);
        for (j, out) in next.chunks_mut(below.max(1)).enumerate() {
            out.iter_mut()
                .zip(column(j).skip(1))
                .for_each(|(out, c)| *out = *c);
        }
        self.run(&next, below, logarithm)?;
        if self.found.is_none() {
            self.path.pop();
        }
        Ok(())
    }
}

/// The singular value decomposition of R B C, R and C diagonal, such that the sizes T of the terms B is the sum of have rows and
/// columns of largest entry about 1.
pub(super) struct Decomposed {
    matrix: DenseMatrix,
    sizes: DenseMatrix,
    rows: Vec<f64>,
    columns: Vec<f64>,
    left: Mat<f64>,
    values: Vec<f64>,
    right: Mat<f64>,
}

impl Decomposed {
    pub(super) fn new(matrix: &DenseMatrix, sizes: &DenseMatrix) -> Result<Self> {
        let n = matrix.rows;
        let t = |i: usize, j: usize| sizes.data[j * n + i];
        let (mut rows, mut columns) = (vec![1.0; n], vec![1.0; n]);
        // Powers of two, so that scaling does not round.
        let scale = |largest: f64| {
            if largest > 0.0 {
                (-largest.log2().round().clamp(-1000.0, 1000.0)).exp2()
            } else {
                1.0
            }
        };
        for _ in 0..2 {
            for (i, row) in rows.iter_mut().enumerate() {
                *row = scale((0..n).fold(0.0, |m: f64, j| m.max(t(i, j) * columns[j])));
            }
            for (j, column) in columns.iter_mut().enumerate() {
                *column = scale((0..n).fold(0.0, |m: f64, i| m.max(rows[i] * t(i, j))));
            }
        }
        let scaled = Mat::from_fn(n, n, |i, j| rows[i] * matrix.data[j * n + i] * columns[j]);
        let failed = Error::Factorization {
            method: "singular values",
        };
        let svd = scaled.svd().map_err(|_| failed)?;
        let values: Vec<f64> = (0..n).map(|i| svd.S().column_vector()[i]).collect();
        check_finite("singular values", &values)?;
        let (left, right) = (svd.U().to_owned(), svd.V().to_owned());
        Ok(Self {
            matrix: matrix.clone(),
            sizes: sizes.clone(),
            rows,
            columns,
            left,
            values,
            right,
        })
    }

    /// Beside entries of T of size 1.
    pub(super) fn is_singular(&self) -> bool {
        self.values.last().is_some_and(|least| *least <= SINGULAR)
    }

    /// The determinant's sign, 0 for a singular matrix.
    pub(super) fn orientation(&self) -> f64 {
        if self.is_singular() {
            return 0.0;
        }
        // Orthogonal factors: determinants of size 1, whatever the order.
        self.left.determinant().signum() * self.right.determinant().signum()
    }

    /// B^-1 u.
    fn solve(&self, u: &[f64]) -> Vec<f64> {
        let n = self.values.len();
        let mut out = vec![0.0; n];
        for (k, value) in self.values.iter().enumerate() {
            let product: f64 = (0..n)
                .map(|i| self.left[(i, k)] * self.rows[i] * u[i])
                .sum();
            for (i, out) in out.iter_mut().enumerate() {
                *out += self.right[(i, k)] * product / value;
            }
        }
        for (out, c) in out.iter_mut().zip(&self.columns) {
            *out *= c;
        }
        out
    }

    /// A unit vector y that B makes least, largest entry positive, and the largest |B y|_i / (T |y|)_i.
    pub(super) fn null_vector(&self) -> (Vec<f64>, f64) {
        let n = self.values.len();
        let Some(last) = n.checked_sub(1) else {
            return (Vec::new(), 0.0);
        };
        let y = (0..n).map(|i| self.right[(i, last)] * self.columns[i]);
        let largest = y
            .clone()
            .fold(0.0, |m: f64, y| if y.abs() > m.abs() { y } else { m });
        let y: Vec<f64> = y.map(|y| y / largest).collect();
        let length = crate::tangent::dot(&y, &y).sqrt();
        let y: Vec<f64> = y.iter().map(|y| y / length).collect();
        let product = |m: &DenseMatrix, y: &[f64], i: usize| {
            let row = m.data.iter().skip(i).step_by(n);
            row.zip(y).map(|(b, y)| b * y).sum::<f64>().abs()
        };
        let absolute: Vec<f64> = y.iter().map(|y| y.abs()).collect();
        let residual = (0..n).map(|i| {
            let by = product(&self.matrix, &y, i);
            if by > 0.0 {
                by / product(&self.sizes, &absolute, i)
            } else {
                0.0
            }
        });
        let residual = residual.fold(0.0, f64::max);
        (y, residual)
    }
}
