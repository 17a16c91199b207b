//! Problems in Clarabel's JSON: {"P", "q", "A", "b", "cones"}, matrices as {"m", "n", "colptr", "rowval", "nzval"}, cones as
//! {"ZeroConeT": 5}; other keys, such as "settings", are ignored.
//!
//! A [`ConeProgram`] serializes in the same form with two additions that Clarabel does not read, so that it comes back bit for bit and
//! with its stored order: an infinite b is `"Infinity"`, and a matrix given by rows is {"m", "n", "rowptr", "colval", "nzval"}.

use crate::cone::{Cone, summing_to_one};
use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::program::{ConeProgram, NO_BOUND};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Entries {
    m: usize,
    n: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    colptr: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rowval: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rowptr: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    colval: Option<Vec<usize>>,
    #[serde(with = "crate::exact::numbers")]
    nzval: Vec<f64>,
}

/// Entries of which it is known whether they go by columns or by rows.
#[derive(Deserialize)]
#[serde(try_from = "Entries")]
struct Matrix {
    m: usize,
    n: usize,
    is_by_rows: bool,
    pointers: Vec<usize>,
    indices: Vec<usize>,
    values: Vec<f64>,
}

impl TryFrom<Entries> for Matrix {
    type Error = &'static str;

    fn try_from(e: Entries) -> std::result::Result<Self, Self::Error> {
        let (is_by_rows, pointers, indices) = match (e.colptr, e.rowval, e.rowptr, e.colval) {
            (Some(pointers), Some(indices), None, None) => (false, pointers, indices),
            (None, None, Some(pointers), Some(indices)) => (true, pointers, indices),
            _ => {
                return Err(
                    "a matrix has either the fields `colptr` and `rowval`, by columns, or `rowptr` and `colval`, by rows",
                );
            }
        };
        Ok(Self {
            m: e.m,
            n: e.n,
            is_by_rows,
            pointers,
            indices,
            values: e.nzval,
        })
    }
}

impl Matrix {
    fn read(&self, name: &'static str) -> Result<SparseMatrix> {
        let make = if self.is_by_rows {
            SparseMatrix::from_csr
        } else {
            SparseMatrix::from_csc
        };
        make(
            name,
            self.m,
            self.n,
            &self.pointers,
            &self.indices,
            &self.values,
        )
    }
}

impl Entries {
    fn by_columns(matrix: &SparseMatrix) -> Self {
        Self {
            m: matrix.rows(),
            n: matrix.cols(),
            colptr: Some(matrix.pattern().indptr().to_vec()),
            rowval: Some(matrix.pattern().indices().to_vec()),
            rowptr: None,
            colval: None,
            nzval: matrix.values().to_vec(),
        }
    }

    fn as_stored(matrix: &SparseMatrix) -> Self {
        match matrix.pattern().by_rows() {
            None => Self::by_columns(matrix),
            Some((pointers, columns)) => Self {
                m: matrix.rows(),
                n: matrix.cols(),
                colptr: None,
                rowval: None,
                rowptr: Some(pointers),
                colval: Some(columns),
                nzval: matrix.stored_values(),
            },
        }
    }
}

#[derive(Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the names of the file format")]
enum JsonCone {
    ZeroConeT(usize),
    NonnegativeConeT(usize),
    SecondOrderConeT(usize),
    PSDTriangleConeT(usize),
    /// `[]` in the file. A variant of no fields would do for text, but not for a `serde_json::Value`, which makes of `[]` a unit.
    ExponentialConeT([u8; 0]),
    PowerConeT(f64),
    GenPowerConeT(Vec<f64>, usize),
}

impl From<JsonCone> for Cone {
    fn from(cone: JsonCone) -> Self {
        match cone {
            JsonCone::ZeroConeT(d) => Cone::Zero(d),
            JsonCone::NonnegativeConeT(d) => Cone::Nonnegative(d),
            JsonCone::SecondOrderConeT(d) => Cone::SecondOrder(d),
            JsonCone::PSDTriangleConeT(k) => Cone::PsdTriangle(k),
            JsonCone::ExponentialConeT([]) => Cone::Exponential,
            JsonCone::PowerConeT(a) => Cone::Power(a),
            JsonCone::GenPowerConeT(a, d) => Cone::GeneralizedPower(a, d),
        }
    }
}

impl From<&Cone> for JsonCone {
    fn from(cone: &Cone) -> Self {
        match cone {
            Cone::Zero(d) => JsonCone::ZeroConeT(*d),
            Cone::Nonnegative(d) => JsonCone::NonnegativeConeT(*d),
            Cone::SecondOrder(d) => JsonCone::SecondOrderConeT(*d),
            Cone::PsdTriangle(k) => JsonCone::PSDTriangleConeT(*k),
            Cone::Exponential => JsonCone::ExponentialConeT([]),
            Cone::Power(a) => JsonCone::PowerConeT(*a),
            Cone::GeneralizedPower(a, d) => JsonCone::GenPowerConeT(a.clone(), *d),
        }
    }
}

#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the names of the file format")]
struct Problem {
    P: Matrix,
    #[serde(with = "crate::exact::numbers")]
    q: Vec<f64>,
    A: Matrix,
    #[serde(with = "crate::exact::numbers")]
    b: Vec<f64>,
    cones: Vec<JsonCone>,
}

impl TryFrom<Problem> for ConeProgram {
    type Error = Error;

    fn try_from(problem: Problem) -> Result<Self> {
        Self::from_matrices(
            problem.P.read("P")?,
            problem.q,
            problem.A.read("A")?,
            problem.b,
            problem.cones.into_iter().map(Cone::from).collect(),
        )
    }
}

#[derive(Serialize)]
#[allow(non_snake_case, reason = "the names of the file format")]
struct Written<'a> {
    P: Entries,
    #[serde(with = "crate::exact::numbers")]
    q: &'a [f64],
    A: Entries,
    #[serde(with = "crate::exact::numbers")]
    b: &'a [f64],
    cones: Vec<JsonCone>,
}

/// Bit for bit, in the caller's stored order: Clarabel's JSON, where an infinite b is `"Infinity"` and a matrix given by rows has
/// "rowptr" and "colval" in place of "colptr" and "rowval". [`ConeProgram::to_json`] writes what Clarabel reads.
impl Serialize for ConeProgram {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let written = Written {
            P: Entries::as_stored(self.p()),
            q: self.q(),
            A: Entries::as_stored(self.a()),
            b: self.b(),
            cones: self.cones().iter().map(JsonCone::from).collect(),
        };
        written.serialize(to)
    }
}

/// Every check of [`ConeProgram::new`] is made: no invalid program comes from a file. The error is that check's, as text.
impl<'de> Deserialize<'de> for ConeProgram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Self::try_from(Problem::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl ConeProgram {
    /// Reads a problem in Clarabel's JSON, or as a program serializes.
    ///
    /// # Errors
    /// [`Error::Json`] if the text is not of that form; those of [`ConeProgram::new`] if the problem is not valid.
    pub fn from_json(text: &str) -> Result<Self> {
        let problem: Problem = serde_json::from_str(text).map_err(|e| Error::Json {
            line: e.line(),
            column: e.column(),
            reason: e.to_string(),
        })?;
        Self::try_from(problem)
    }

    /// Writes the problem in Clarabel's JSON, which its `load_from_file` reads: by columns, an infinite b as 1e20, which means the same,
    /// and the exponents of a generalized power cone summing to 1 to the last bit, without which Clarabel panics. All other numbers
    /// come back bit for bit. To have everything back, serialize the program.
    pub fn to_json(&self) -> String {
        let b: Vec<f64> = self
            .b()
            .iter()
            .map(|b| if b.is_finite() { *b } else { NO_BOUND })
            .collect();
        let cones = self.cones().iter().map(|cone| match cone {
            Cone::GeneralizedPower(a, d) => JsonCone::GenPowerConeT(summing_to_one(a), *d),
            cone => JsonCone::from(cone),
        });
        let written = Written {
            P: Entries::by_columns(self.p()),
            q: self.q(),
            A: Entries::by_columns(self.a()),
            b: &b,
            cones: cones.collect(),
        };
        // Finite numbers and string keys only: serialization cannot fail.
        serde_json::to_string(&written).unwrap_or_default()
    }
}
