//! Is every element of J invertible, where P need not be symmetric?
//!
//! J(D) is singular iff some (w, y) != 0 has Pw + A'y = 0 with D y = y and D A w = 0. Then w'Pw = -(Aw)'y = 0, hence (P + P')w = 0.
//! With P symmetric w and y part, and the two rank tests decide. Otherwise these remain exact:
//!
//! * the tests of the program with (P + P')/2 imply invertibility: no w != 0 is left, and then no y;
//! * at kinks of nonnegative rows alone J is affine in each of their factors: determinants decide.

use super::VariationalDerivative;
use crate::certificate::{Certificate, Extremes};
use crate::error::Result;
use crate::implicit::{FamilyCertificate, Invertibility, SelectionFamily};
use crate::jacobian::DenseMatrix;
use crate::linsolve::{Prepared, Structure};
use crate::pattern::SparseMatrix;
use crate::projection::{Element, KinkKind};
use crate::residual::{ResidualJacobian, transpose};
use crate::selection::jacobian_at;
use std::sync::Arc;

/// Up to this order J is made dense for the test of determinants.
const DENSE: usize = 500;

impl VariationalDerivative {
    /// Tests whether every element of J at the point is invertible, so that every selection's derivative is an element of a
    /// conservative Jacobian of the solution map.
    ///
    /// Without a kink there is one element. At kinks: [`Invertibility::RankTests`] if the program with (P + P')/2 passes them, which P
    /// monotone makes enough; else, at kinks of nonnegative rows, determinants, exactly. The rest is not certified.
    ///
    /// # Errors
    /// [`crate::Error::Factorization`], [`crate::Error::TooLarge`].
    pub fn invertibility(&self) -> Result<Invertibility> {
        if !self.is_solution() {
            return Ok(Invertibility::Unknown {
                reason: "not a solution to the accuracy asked for",
            });
        }
        if self.blocks.is_empty() {
            return Ok(if self.factored.is_singular() {
                Invertibility::Unknown {
                    reason: "the only one is singular",
                }
            } else {
                Invertibility::Single
            });
        }
        if self.symmetric_certificate()?.is_certified() {
            return Ok(Invertibility::RankTests);
        }
        match self.weakly_active_rows() {
            Some(rows) if self.frame.dim() <= DENSE => self.by_determinants(&rows),
            _ => Ok(Invertibility::Unknown {
                reason: "the rank tests of (P + P')/2 fail, which decides nothing about P",
            }),
        }
    }

    fn symmetric_certificate(&self) -> Result<Certificate> {
        let program = self.inequality.symmetric.clone();
        let structure = Arc::new(Structure::new(&program)?);
        let projection = self.frame.projection().clone();
        let here = ResidualJacobian::from_parts(program, projection);
        let lower = vec![Element::Lower; self.blocks.len()];
        let jacobian = jacobian_at(&here, &self.blocks, &lower);
        let settings = self.standing.settings.linear;
        let prepared = Prepared::with_structure(&structure, &jacobian, settings)?;
        let extremes = Extremes {
            structure: &structure,
            settings,
            jacobian: &jacobian,
            prepared: &prepared,
            element: Some(Element::Lower),
            kinks: &self.blocks,
        };
        Ok(extremes.examine()?.certificate)
    }

    /// The rows at kinks, if all of them are weakly active.
    fn weakly_active_rows(&self) -> Option<Vec<usize>> {
        let margins = self.frame.projection().margins();
        let mut all = Vec::new();
        for (cone, kink) in &self.blocks {
            if kink.kind != KinkKind::WeaklyActive {
                return None;
            }
            let rows = margins[*cone].rows.clone();
            all.extend(kink.rows(rows.len()).into_iter().map(|i| rows.start + i));
        }
        Some(all)
    }

    /// J = J(inactive) + sum_i lambda_i (A_i ; -e_i) e_(n+i)', lambda in [0, 1].
    fn by_determinants(&self, rows: &[usize]) -> Result<Invertibility> {
        let lower = vec![Element::Lower; self.blocks.len()];
        let inactive = jacobian_at(&self.frame, &self.blocks, &lower);
        let (n, dim) = (self.inequality.n(), self.frame.dim());
        let base = dense(&self.inequality.matrix(&inactive));
        let by_rows = transpose(self.inequality.frame.effective_a());
        let mut family = SelectionFamily::new(base)?;
        for &row in rows {
            let (mut u, mut v) = (vec![0.0; dim], vec![0.0; dim]);
            let (columns, entries) = by_rows.column(row);
            for (&j, a) in columns.iter().zip(entries) {
                u[j] = *a;
            }
            u[n + row] = -1.0;
            v[n + row] = 1.0;
            family = family.with_term(&u, &v, 0.0, 1.0)?;
        }
        Ok(match family.certify()? {
            FamilyCertificate::Certified { ratio } => Invertibility::Determinants { ratio },
            FamilyCertificate::NotCertified(found) => Invertibility::Refuted(found),
            FamilyCertificate::TooMany { .. } => Invertibility::Unknown {
                reason: "too many weakly active rows for the test of determinants",
            },
        })
    }
}

fn dense(matrix: &SparseMatrix) -> DenseMatrix {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let mut data = vec![0.0; rows * cols];
    for j in 0..cols {
        let (indices, values) = matrix.column(j);
        for (&i, v) in indices.iter().zip(values) {
            data[j * rows + i] = *v;
        }
    }
    DenseMatrix { rows, cols, data }
}
