//! Problems in Clarabel's JSON: {"P", "q", "A", "b", "cones"}, matrices as {"m", "n", "colptr", "rowval", "nzval"}, cones as
//! {"ZeroConeT": 5}; other keys, such as "settings", are ignored.

use crate::cone::Cone;
use crate::error::{Error, Result};
use crate::pattern::SparseMatrix;
use crate::program::ConeProgram;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Matrix {
    m: usize,
    n: usize,
    colptr: Vec<usize>,
    rowval: Vec<usize>,
    nzval: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the names of the file format")]
enum JsonCone {
    ZeroConeT(usize),
    NonnegativeConeT(usize),
    SecondOrderConeT(usize),
    PSDTriangleConeT(usize),
    ExponentialConeT(),
    PowerConeT(f64),
    GenPowerConeT(Vec<f64>, usize),
}

#[derive(Serialize, Deserialize)]
#[allow(non_snake_case, reason = "the names of the file format")]
struct Problem {
    P: Matrix,
    q: Vec<f64>,
    A: Matrix,
    b: Vec<f64>,
    cones: Vec<JsonCone>,
}

impl ConeProgram {
    /// Reads a problem in Clarabel's JSON.
    ///
    /// # Errors
    /// [`Error::Json`] if the text is not of that form; those of [`ConeProgram::new`] if the problem is not valid.
    pub fn from_json(text: &str) -> Result<Self> {
        let problem: Problem = serde_json::from_str(text).map_err(|e| Error::Json {
            line: e.line(),
            column: e.column(),
            reason: e.to_string(),
        })?;
        let matrix = |name, m: &Matrix| {
            SparseMatrix::from_csc(name, m.m, m.n, &m.colptr, &m.rowval, &m.nzval)
        };
        let cones = problem.cones.into_iter().map(|cone| match cone {
            JsonCone::ZeroConeT(d) => Cone::Zero(d),
            JsonCone::NonnegativeConeT(d) => Cone::Nonnegative(d),
            JsonCone::SecondOrderConeT(d) => Cone::SecondOrder(d),
            JsonCone::PSDTriangleConeT(k) => Cone::PsdTriangle(k),
            JsonCone::ExponentialConeT() => Cone::Exponential,
            JsonCone::PowerConeT(a) => Cone::Power(a),
            JsonCone::GenPowerConeT(a, d) => Cone::GeneralizedPower(a, d),
        });
        Self::from_matrices(
            matrix("P", &problem.P)?,
            problem.q,
            matrix("A", &problem.A)?,
            problem.b,
            cones.collect(),
        )
    }

    /// Writes the problem in Clarabel's JSON, by columns. An infinite b is written as 1e20, which means the same.
    pub fn to_json(&self) -> String {
        let matrix = |m: &SparseMatrix| Matrix {
            m: m.rows(),
            n: m.cols(),
            colptr: m.pattern().indptr().to_vec(),
            rowval: m.pattern().indices().to_vec(),
            nzval: m.values().to_vec(),
        };
        let cones = self.cones().iter().map(|cone| match cone {
            Cone::Zero(d) => JsonCone::ZeroConeT(*d),
            Cone::Nonnegative(d) => JsonCone::NonnegativeConeT(*d),
            Cone::SecondOrder(d) => JsonCone::SecondOrderConeT(*d),
            Cone::PsdTriangle(k) => JsonCone::PSDTriangleConeT(*k),
            Cone::Exponential => JsonCone::ExponentialConeT(),
            Cone::Power(a) => JsonCone::PowerConeT(*a),
            Cone::GeneralizedPower(a, d) => JsonCone::GenPowerConeT(a.clone(), *d),
        });
        let problem = Problem {
            P: matrix(self.p()),
            q: self.q().to_vec(),
            A: matrix(self.a()),
            b: self
                .b()
                .iter()
                .map(|b| b.min(crate::program::NO_BOUND))
                .collect(),
            cones: cones.collect(),
        };
        // Finite numbers and string keys only: serialization cannot fail.
        serde_json::to_string(&problem).unwrap_or_default()
    }
}
