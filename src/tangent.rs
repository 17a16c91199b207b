//! Directions in the data and in the solution. Cotangents have the same shapes.

use crate::error::Result;
use crate::pattern::check_finite;
use crate::program::{ConeProgram, check_length};
use crate::random::Random;
use crate::solution::Solution;

/// A direction (or a gradient) in the data.
///
/// Shapes: p: nnz of P's stored triangle, q: n, a: nnz of A, b: m; p and a in the caller's stored order. An entry of p
/// off the diagonal stands for both mirrored copies.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataTangent {
    /// Values on P's stored triangle.
    #[serde(rename = "P")]
    #[serde(with = "crate::exact::numbers")]
    pub p: Vec<f64>,
    /// n values.
    #[serde(with = "crate::exact::numbers")]
    pub q: Vec<f64>,
    /// Values on A's stored entries.
    #[serde(rename = "A")]
    #[serde(with = "crate::exact::numbers")]
    pub a: Vec<f64>,
    /// m values.
    #[serde(with = "crate::exact::numbers")]
    pub b: Vec<f64>,
}

/// A gradient with respect to the data.
pub type DataCotangent = DataTangent;

impl DataTangent {
    /// Zero, shaped for a program.
    pub fn zeros(program: &ConeProgram) -> Self {
        Self {
            p: vec![0.0; program.p().nnz()],
            q: vec![0.0; program.n()],
            a: vec![0.0; program.a().nnz()],
            b: vec![0.0; program.m()],
        }
    }

    /// Uniform numbers in [-1, 1), the same for the same seed on every machine.
    pub fn random(program: &ConeProgram, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            p: random.symmetric(program.p().nnz()),
            q: random.symmetric(program.n()),
            a: random.symmetric(program.a().nnz()),
            b: random.symmetric(program.m()),
        }
    }

    /// The lengths of p, q, a and b for a program.
    pub(crate) fn lengths(program: &ConeProgram) -> [usize; 4] {
        let (p, a) = (program.p().nnz(), program.a().nnz());
        [p, program.n(), a, program.m()]
    }

    /// From one vector that holds all four, which is long enough.
    pub(crate) fn from_stacked(all: &[f64], [p, q, a, b]: [usize; 4]) -> Self {
        let part = |start: usize, len: usize| all.iter().skip(start).take(len).copied().collect();
        Self {
            p: part(0, p),
            q: part(p, q),
            a: part(p + q, a),
            b: part(p + q + a, b),
        }
    }

    /// The inner product over stored values.
    ///
    /// ```
    /// use conediff::DataTangent;
    /// let db = DataTangent { b: vec![1.0, 2.0], ..DataTangent::default() };
    /// assert_eq!(db.dot(&db), 5.0);
    /// ```
    pub fn dot(&self, other: &Self) -> f64 {
        dot(&self.p, &other.p)
            + dot(&self.q, &other.q)
            + dot(&self.a, &other.a)
            + dot(&self.b, &other.b)
    }

    pub(crate) fn check(&self, program: &ConeProgram) -> Result<()> {
        self.check_lengths(Self::lengths(program))
    }

    pub(crate) fn check_lengths(&self, [p, q, a, b]: [usize; 4]) -> Result<()> {
        check_length("tangent P", p, self.p.len())?;
        check_length("tangent q", q, self.q.len())?;
        check_length("tangent A", a, self.a.len())?;
        check_length("tangent b", b, self.b.len())?;
        check_finite("tangent P", &self.p)?;
        check_finite("tangent q", &self.q)?;
        check_finite("tangent A", &self.a)?;
        check_finite("tangent b", &self.b)
    }
}

/// A direction (or a cotangent) in the solution. Shapes: x: n; z, s: m.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SolutionTangent {
    /// n values.
    #[serde(with = "crate::exact::numbers")]
    pub x: Vec<f64>,
    /// m values.
    #[serde(with = "crate::exact::numbers")]
    pub z: Vec<f64>,
    /// m values.
    #[serde(with = "crate::exact::numbers")]
    pub s: Vec<f64>,
}

/// A gradient with respect to the solution, the seed of a VJP.
pub type SolutionCotangent = SolutionTangent;

impl SolutionTangent {
    /// Zero, shaped for a program.
    pub fn zeros(program: &ConeProgram) -> Self {
        Self {
            x: vec![0.0; program.n()],
            z: vec![0.0; program.m()],
            s: vec![0.0; program.m()],
        }
    }

    /// Uniform numbers in [-1, 1), the same for the same seed on every machine.
    pub fn random(program: &ConeProgram, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            x: random.symmetric(program.n()),
            z: random.symmetric(program.m()),
            s: random.symmetric(program.m()),
        }
    }

    /// From one vector that holds x, z and s.
    pub(crate) fn from_stacked(all: &[f64], n: usize, m: usize) -> Self {
        let part = |start: usize, len: usize| all.iter().skip(start).take(len).copied().collect();
        Self {
            x: part(0, n),
            z: part(n, m),
            s: part(n + m, m),
        }
    }

    /// The inner product.
    ///
    /// ```
    /// use conediff::SolutionTangent;
    /// let dx = SolutionTangent { x: vec![3.0, 4.0], ..SolutionTangent::default() };
    /// assert_eq!(dx.dot(&dx), 25.0);
    /// ```
    pub fn dot(&self, other: &Self) -> f64 {
        dot(&self.x, &other.x) + dot(&self.z, &other.z) + dot(&self.s, &other.s)
    }

    pub(crate) fn check(&self, program: &ConeProgram) -> Result<()> {
        let (n, m) = (program.n(), program.m());
        check_length("cotangent x", n, self.x.len())?;
        check_length("cotangent z", m, self.z.len())?;
        check_length("cotangent s", m, self.s.len())?;
        check_finite("cotangent x", &self.x)?;
        check_finite("cotangent z", &self.z)?;
        check_finite("cotangent s", &self.s)
    }
}

impl From<&Solution> for SolutionTangent {
    fn from(solution: &Solution) -> Self {
        Self {
            x: solution.x.clone(),
            z: solution.z.clone(),
            s: solution.s.clone(),
        }
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The largest absolute entry; 0 for none, NaN if one is.
pub(crate) fn norm_max(a: &[f64]) -> f64 {
    let mut parts = [0.0_f64; 8];
    let mut is_nan = false;
    let (chunks, rest) = a.as_chunks::<8>();
    for chunk in chunks {
        for k in 0..8 {
            let x = chunk[k].abs();
            parts[k] = if x > parts[k] { x } else { parts[k] };
            is_nan |= x.is_nan();
        }
    }
    // f64::max drops a NaN.
    let rest = rest.iter().map(|x| x.abs());
    is_nan |= rest.clone().any(f64::is_nan);
    if is_nan {
        return f64::NAN;
    }
    parts.into_iter().chain(rest).fold(0.0, f64::max)
}

/// The Euclidean norm, scaled so that squares neither overflow nor vanish.
pub(crate) fn norm(v: &[f64]) -> f64 {
    let largest = norm_max(v);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let squares = v.iter().map(|v| (v / largest).powi(2));
    largest * squares.sum::<f64>().sqrt()
}
