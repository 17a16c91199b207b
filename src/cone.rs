//! Cones and the rows they take.

use crate::error::{Error, Result};
use std::ops::Range;

/// A cone K; s in K is the slack's constraint, z lives in the dual cone K*.
///
/// A program's rows are the cones' rows in order. Cones of zero length are allowed and take no row.
/// A second-order or PSD cone of one row is the half-line s >= 0.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Cone {
    /// {0}: equality rows. The dual is free.
    Zero(usize),
    /// s >= 0 in each row.
    Nonnegative(usize),
    /// (t, u) with t >= |u|; the argument is the number of rows, t included.
    SecondOrder(usize),
    /// Symmetric positive semidefinite matrices of the given order k: k(k+1)/2 rows, the upper triangle column by
    /// column, off-diagonal entries times sqrt 2 (see [`crate::svec`]).
    PsdTriangle(usize),
    /// (x, y, z) with y exp(x/y) <= z, y > 0, closed: three rows.
    Exponential,
    /// (x, y, z) with x^a y^(1-a) >= |z|, x, y >= 0: three rows. The exponent a lies in (0, 1).
    Power(#[serde(with = "crate::exact::number")] f64),
    /// (u, w) with prod u_i^a_i >= |w|, u >= 0: the exponents a (positive, summing to 1) and the length of w (at least 1).
    GeneralizedPower(#[serde(with = "crate::exact::numbers")] Vec<f64>, usize),
}

impl Cone {
    /// The number of rows.
    ///
    /// ```
    /// use conediff::Cone;
    /// // A cone's rows are counted by its own parameter: 3 x 3 matrices are 6 rows.
    /// let cones = [Cone::Zero(2), Cone::SecondOrder(4), Cone::PsdTriangle(3), Cone::Power(0.3)];
    /// assert_eq!(cones.each_ref().map(Cone::rows), [2, 4, 6, 3]);
    /// assert_eq!(Cone::GeneralizedPower(vec![0.5, 0.5], 2).rows(), 4);
    /// ```
    pub fn rows(&self) -> usize {
        match self {
            Cone::Zero(d) | Cone::Nonnegative(d) | Cone::SecondOrder(d) => *d,
            Cone::PsdTriangle(k) => triangular(*k),
            Cone::Exponential | Cone::Power(_) => 3,
            Cone::GeneralizedPower(a, d) => a.len().saturating_add(*d),
        }
    }

    /// The cone's name, for tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Cone::Zero(_) => "zero",
            Cone::Nonnegative(_) => "nonnegative",
            Cone::SecondOrder(_) => "second-order",
            Cone::PsdTriangle(_) => "psd",
            Cone::Exponential => "exponential",
            Cone::Power(_) => "power",
            Cone::GeneralizedPower(..) => "generalized power",
        }
    }

    fn validate(&self, index: usize) -> Result<()> {
        let fail = |reason: String| Err(Error::Cone { index, reason });
        match self {
            Cone::Power(a) if !(*a > 0.0 && *a < 1.0) => {
                fail(format!("power exponent {a} is not inside (0, 1)"))
            }
            Cone::GeneralizedPower(a, d) => {
                if a.is_empty() || *d == 0 {
                    return fail(format!(
                        "generalized power cone with {} exponents and {d} norm rows; both must be at least 1",
                        a.len()
                    ));
                }
                if let Some(x) = a.iter().find(|x| !(**x > 0.0 && **x <= 1.0)) {
                    return fail(format!("generalized power exponent {x} is not in (0, 1]"));
                }
                let sum: f64 = a.iter().sum();
                if (sum - 1.0).abs() > 1e-9 {
                    return fail(format!(
                        "generalized power exponents sum to {sum}, not to 1"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// k(k+1)/2 without overflow.
pub(crate) fn triangular(k: usize) -> usize {
    let (a, b) = if k.is_multiple_of(2) {
        (k / 2, k.saturating_add(1))
    } else {
        (k, k / 2 + 1)
    };
    a.saturating_mul(b)
}

/// Checks every cone and that their rows add up to `m`.
pub(crate) fn validate(cones: &[Cone], m: usize) -> Result<()> {
    let mut rows = 0usize;
    for (index, cone) in cones.iter().enumerate() {
        cone.validate(index)?;
        rows = rows.saturating_add(cone.rows());
    }
    if rows != m {
        return Err(Error::ConeRows {
            cones: rows,
            rows: m,
        });
    }
    Ok(())
}

/// The row range of each cone. Rows beyond the largest index are cut off there.
pub fn row_ranges(cones: &[Cone]) -> Vec<Range<usize>> {
    let mut start = 0usize;
    cones
        .iter()
        .map(|c| {
            let r = start..start.saturating_add(c.rows());
            start = r.end;
            r
        })
        .collect()
}

/// Exponents of a generalized power cone as Clarabel takes them: it panics unless they sum to 1 within half a rounding error each.
pub(crate) fn summing_to_one(exponents: &[f64]) -> Vec<f64> {
    let sum: f64 = exponents.iter().sum();
    let mut out: Vec<f64> = exponents.iter().map(|x| x / sum).collect();
    // What rounding leaves goes to the largest, where it is relatively least.
    for _ in 0..4 {
        let excess = out.iter().sum::<f64>() - 1.0;
        if excess == 0.0 {
            break;
        }
        if let Some(largest) = out.iter_mut().max_by(|a, b| a.total_cmp(b)) {
            *largest -= excess;
        }
    }
    out
}
