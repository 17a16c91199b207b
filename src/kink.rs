//! Kinks within the error of a point, and the warnings a derivative carries.

use crate::cone::{Cone, row_ranges};
use crate::program::ConeProgram;
use crate::projection::{Block, BlockKink, KinkKind, Projection, edge_change};
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::norm_max;
use std::fmt;

/// Within this factor of the ambiguity threshold a margin is worth a remark.
const NEAR: f64 = 1e3;

/// A block whose point cannot be told from one where its projection has a kink: there the solution map need not be
/// differentiable.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![1.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{Kink, KinkKind};
/// // minimize 1/2 x^2 - x subject to x <= 1: the row is active, with multiplier 0
/// let Kink { cone, kind, at, rows, margin } = &derivative.kinks()[0];
/// assert_eq!((*cone, *kind, *at, rows.as_slice()), (0, "nonnegative", KinkKind::WeaklyActive, &[0][..]));
/// assert!(*margin < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Kink {
    /// Position of the cone.
    pub cone: usize,
    /// The cone's name.
    pub kind: &'static str,
    /// What the block is doing there.
    pub at: KinkKind,
    /// The rows concerned: for a nonnegative cone the weakly active ones, otherwise the block's.
    pub rows: Vec<usize>,
    /// The least distance to the kink.
    #[serde(with = "crate::exact::number")]
    pub margin: f64,
}

/// What a row is doing at the solution.
///
/// ```
/// # use conediff::{Derivative, ProgramBuilder, Settings, solve};
/// # let mut builder = ProgramBuilder::new(2);
/// # for j in 0..2 {
/// #     builder.quadratic(j, j, 1.0);
/// # }
/// # builder.linear(0, -2.0);
/// # builder.linear(1, -1.0);
/// # builder.inequality(&[(0, 1.0)], 1.0);
/// # builder.inequality(&[(1, 1.0)], 1.0);
/// # builder.inequality(&[(1, -1.0)], 1.0);
/// # let program = builder.build()?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::RowState;
/// // The point nearest to (2, 1) with x_0 <= 1, x_1 <= 1 and x_1 >= -1
/// let states: Vec<RowState> = derivative.row_states();
/// assert_eq!(states, [RowState::Active, RowState::Ambiguous, RowState::Inactive]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowState {
    /// The slack is frozen, s = 0 to first order, and z moves: D = I there.
    Active,
    /// The dual is frozen, z = 0 to first order, and s moves: D = 0 there.
    Inactive,
    /// On the curved piece of its cone: s and z move together.
    Curved,
    /// At a kink, within the error of the point: any of the above.
    Ambiguous,
}

/// The state of every row, m of them.
pub(crate) fn row_states(projection: &Projection, kinks: &[Kink]) -> Vec<RowState> {
    let mut states = Vec::new();
    for block in projection.blocks() {
        match block {
            Block::Identity(d) => states.extend(std::iter::repeat_n(RowState::Active, *d)),
            Block::Vanishing(d) => states.extend(std::iter::repeat_n(RowState::Inactive, *d)),
            Block::Orthant(active) => states.extend(active.iter().map(|a| {
                if *a {
                    RowState::Active
                } else {
                    RowState::Inactive
                }
            })),
            Block::Diagonal(b) => {
                states.extend(b.lambda.iter().zip(&b.colambda).map(|x| match x {
                    (_, 0.0) => RowState::Active,
                    (0.0, _) => RowState::Inactive,
                    _ => RowState::Curved,
                }))
            }
            _ => states.extend(std::iter::repeat_n(RowState::Curved, block.rows())),
        }
    }
    for &row in kinks.iter().flat_map(|k| &k.rows) {
        states[row] = RowState::Ambiguous;
    }
    states
}

/// A reason for doubt. All but `NearKink`, `NearKnot` and `Unrefined` mean that the derivative is not trusted.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// The linear residual missed its tolerance.
    LinearResidual {
        /// Relative residual.
        #[serde(with = "crate::exact::number")]
        residual: f64,
        /// Tolerance.
        #[serde(with = "crate::exact::number")]
        tolerance: f64,
    },
    /// The derivative's own estimated error is too large: the linear system is ill-conditioned for the accuracy of the solution.
    Inaccurate {
        /// Estimated relative error.
        #[serde(with = "crate::exact::number")]
        error: f64,
        /// The accuracy asked for.
        #[serde(with = "crate::exact::number")]
        accuracy: f64,
    },
    /// The point is at a kink.
    AtKink(Kink),
    /// The point is close to a kink: the derivative is right here, and another one a little further.
    NearKink(Kink),
    /// The linear system is singular: the solution is not unique, or its derivative does not exist.
    Singular {
        /// Condition estimate.
        #[serde(with = "crate::exact::number")]
        condition: f64,
    },
    /// Refinement did not reach its tolerance; the solver's own point was kept.
    NotRefined {
        /// Relative residual of the point kept.
        #[serde(with = "crate::exact::number")]
        residual: f64,
    },
    /// The solution itself is not known well enough: see [`crate::Derivative::point_error`].
    PointError {
        /// Estimated error.
        #[serde(with = "crate::exact::number")]
        error: f64,
    },
    /// Refinement was switched off.
    Unrefined,
    /// F at the point given is not zero.
    NotAZero {
        /// The relative residual.
        #[serde(with = "crate::exact::number")]
        residual: f64,
        /// Tolerance.
        #[serde(with = "crate::exact::number")]
        tolerance: f64,
    },
    /// The conservative Jacobian has more elements than the one taken.
    SeveralElements,
    /// Not every element of the conservative Jacobian is known to be invertible.
    NotCertified {
        /// What is in the way.
        reason: &'static str,
    },
    /// A sparse regression is at a knot of its path: the coefficients of some columns are 0 and their correlations at their bounds.
    AtKnot(Knot),
    /// It is close to one: the derivative is right here, and another one a little further.
    NearKnot(Knot),
}

/// Columns of a sparse regression that are about to enter or leave its support.
///
/// ```
/// # use conediff::DenseMatrix;
/// # use conediff::systems::lasso::{Design, FitSettings, Penalty, SparseRegression};
/// # let x = DenseMatrix { rows: 2, cols: 2, data: vec![1.0, 0.0, 0.0, 1.0] };
/// # let regression = SparseRegression::least_squares(Design::dense(x)?, vec![3.0, 1.0])?;
/// use conediff::Knot;
/// // beta = (3 - lambda, max(1 - lambda, 0)): the second column leaves at lambda = 1
/// let at = |lambda| regression.fit(&Penalty::lasso(lambda), &FitSettings::default());
/// assert_eq!(at(1.0)?.knot(), Some(&Knot { columns: vec![1], margin: 0.0 }));
/// assert_eq!(at(0.9)?.knot(), None);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Knot {
    /// The columns, in increasing order.
    pub columns: Vec<usize>,
    /// The least relative distance to the knot: of a correlation to its bound lambda_j, as a part of lambda_j; of a coefficient to 0, as
    /// what it changes its correlation by.
    #[serde(with = "crate::exact::number")]
    pub margin: f64,
}

impl Warning {
    /// True if the derivative is not to be trusted.
    ///
    /// ```
    /// use conediff::Warning;
    /// let warning = Warning::Singular { condition: f64::INFINITY };
    /// assert!(warning.is_fatal() && !Warning::Unrefined.is_fatal());
    /// assert!(warning.to_string().starts_with("the linear system is singular"));
    /// ```
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Warning::NearKink(_) | Warning::NearKnot(_) | Warning::Unrefined
        )
    }
}

impl Warning {
    /// A sentence for each, in order. Of more than five kinks of a sort the others are counted in a sentence at the end: degenerate programs
    /// have hundreds.
    ///
    /// ```
    /// use conediff::Warning;
    /// let warnings = [Warning::Unrefined, Warning::Singular { condition: f64::INFINITY }];
    /// assert_eq!(Warning::sentences(&warnings), warnings.map(|w| w.to_string()));
    /// ```
    pub fn sentences(warnings: &[Warning]) -> Vec<String> {
        const SHOWN: usize = 5;
        let (mut at, mut near) = (0, 0);
        let mut sentences = Vec::new();
        for warning in warnings {
            let count = match warning {
                Warning::AtKink(_) => &mut at,
                Warning::NearKink(_) => &mut near,
                _ => {
                    sentences.push(warning.to_string());
                    continue;
                }
            };
            *count += 1;
            if *count <= SHOWN {
                sentences.push(warning.to_string());
            }
        }
        for (count, place) in [(at, "at"), (near, "close to")] {
            if count > SHOWN {
                let more = count - SHOWN;
                sentences.push(format!("{more} more blocks are {place} a kink"));
            }
        }
        sentences
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |all: &[usize]| {
            let shown: Vec<String> = all.iter().take(5).map(ToString::to_string).collect();
            let more = if all.len() > 5 {
                format!(" and {} more", all.len() - 5)
            } else {
                String::new()
            };
            shown.join(", ") + &more
        };
        let place = |k: &Kink| {
            format!(
                "cone {} ({}), rows {}, {}, margin {:.1e}",
                k.cone,
                k.kind,
                few(&k.rows),
                k.at,
                k.margin
            )
        };
        let columns = |k: &Knot| format!("columns {}, margin {:.1e}", few(&k.columns), k.margin);
        match self {
            Warning::LinearResidual {
                residual,
                tolerance,
            } => write!(
                f,
                "the linear solve reached a relative residual of {residual:.1e}, above its tolerance {tolerance:.1e}"
            ),
            Warning::Inaccurate { error, accuracy } => write!(
                f,
                "the derivative's estimated relative error is {error:.1e}, above the accuracy {accuracy:.1e} asked for"
            ),
            Warning::AtKink(k) => write!(
                f,
                "the point is at a kink of the projection ({}); the derivative is one element of the conservative Jacobian",
                place(k)
            ),
            Warning::NearKink(k) => {
                write!(
                    f,
                    "the point is close to a kink of the projection ({})",
                    place(k)
                )
            }
            Warning::Singular { condition } => write!(
                f,
                "the linear system is singular (condition {condition:.1e}): the solution is not unique or not differentiable"
            ),
            Warning::NotRefined { residual } => write!(
                f,
                "refinement did not reach its tolerance; the solver's own point was kept, with residual {residual:.1e}"
            ),
            Warning::PointError { error } => write!(
                f,
                "the solution is known only to an estimated relative error of {error:.1e}, and the derivative no better"
            ),
            Warning::AtKnot(k) => write!(
                f,
                "the point is at a knot of the path ({}); the derivative is one element of the conservative Jacobian",
                columns(k)
            ),
            Warning::NearKnot(k) => write!(
                f,
                "the point is close to a knot of the path ({})",
                columns(k)
            ),
            Warning::Unrefined => f.write_str(
                "the solution was not refined: expect errors of 1e-8 to 1e-3 in the derivative",
            ),
            Warning::NotAZero {
                residual,
                tolerance,
            } => write!(
                f,
                "F at the point has a relative residual of {residual:.1e}, above {tolerance:.1e}: take Newton steps first"
            ),
            Warning::SeveralElements => f.write_str(
                "the conservative Jacobian has several elements at the point; the derivative is that of the one given",
            ),
            Warning::NotCertified { reason } => {
                write!(f, "not every element is known to be invertible: {reason}")
            }
        }
    }
}

/// The relative error of the point, given an estimate (dx, dv) of its absolute one: |(dx, dv)| / (1 + |(x, v)|), and on curved
/// blocks |dv| / margin, since D there changes by that much, or what it changes by on a power cone's edge. Blocks at a kink, whose margin is nothing, have their elements instead.
pub(crate) fn point_error(
    program: &ConeProgram,
    x: &[f64],
    v: &[f64],
    error: &[f64],
    projection: &Projection,
    kinks: &[(usize, BlockKink)],
) -> f64 {
    let (dx, dv) = error.split_at(x.len());
    let size = 1.0 + norm_max(x).max(norm_max(v));
    let mut largest = norm_max(dx).max(norm_max(dv)) / size;
    for (margin, cone) in projection.margins().iter().zip(program.cones()) {
        let block = norm_max(&dv[margin.rows.clone()]);
        let is_at_kink = kinks.iter().any(|k| k.0 == margin.cone);
        if !is_at_kink && !matches!(cone, Cone::Zero(_) | Cone::Nonnegative(_)) && block > 0.0 {
            largest = largest.max(block / margin.margin.max(f64::MIN_POSITIVE));
            if let Block::Spectral(_) = projection.blocks()[margin.cone] {
                largest = largest.max(edge_change(cone, &v[margin.rows.clone()], block));
            }
        }
    }
    largest
}

/// The kinks of a point.
pub(crate) struct Classified {
    /// How far from a kink each row or block still counts as at it, m: equal on the rows of a block.
    pub(crate) radius: Vec<f64>,
    pub(crate) blocks: Vec<(usize, BlockKink)>,
    pub(crate) kinks: Vec<Kink>,
    pub(crate) warnings: Vec<Warning>,
}

/// Compares every block's margin with the rounding level of its rows' terms, |b_i| + sum_j |A_ij x_j|, and with ten times the
/// estimated error of v there.
pub(crate) fn classify(
    program: &ConeProgram,
    solution: &Solution,
    v: &[f64],
    error: &[f64],
    projection: &Projection,
    settings: &Settings,
) -> Classified {
    let radius = radii(program, solution, v, error, settings);
    let mut classified = Classified {
        blocks: Vec::new(),
        kinks: Vec::new(),
        warnings: Vec::new(),
        radius,
    };
    let wide: Vec<f64> = classified.radius.iter().map(|r| NEAR * r).collect();
    let near = projection.kinks_within(program.cones(), v, &wide);
    if near.is_empty() {
        return classified;
    }
    classified.blocks = projection.kinks_within(program.cones(), v, &classified.radius);
    let kinks = describe(&classified.blocks, v, projection);
    for kink in describe(&near, v, projection) {
        let own = kinks.iter().find(|k| k.cone == kink.cone);
        if let Some(own) = own {
            classified.warnings.push(Warning::AtKink(own.clone()));
        }
        let is_new = |i: &usize| own.is_none_or(|own| !own.rows.contains(i));
        let rows: Vec<usize> = kink.rows.iter().copied().filter(is_new).collect();
        if !rows.is_empty() {
            let margin = least_margin(&rows, kink.at, kink.margin, v);
            let kink = Kink {
                rows,
                margin,
                ..kink
            };
            classified.warnings.push(Warning::NearKink(kink));
        }
    }
    classified.kinks = kinks;
    classified
}

/// The kinks in the caller's terms.
pub(crate) fn describe(
    blocks: &[(usize, BlockKink)],
    v: &[f64],
    projection: &Projection,
) -> Vec<Kink> {
    let describe = |(cone, kink): &(usize, BlockKink)| {
        let margin = &projection.margins()[*cone];
        let start = margin.rows.start;
        let rows = kink.rows(margin.rows.len());
        let rows: Vec<usize> = rows.into_iter().map(|i| start + i).collect();
        Kink {
            cone: *cone,
            kind: margin.kind,
            at: kink.kind,
            margin: least_margin(&rows, kink.kind, margin.margin, v),
            rows,
        }
    };
    blocks.iter().map(describe).collect()
}

/// Each row of an orthant stands for itself; other blocks have one margin.
fn least_margin(rows: &[usize], kind: KinkKind, margin: f64, v: &[f64]) -> f64 {
    match kind {
        KinkKind::WeaklyActive => rows.iter().fold(f64::INFINITY, |m, &i| m.min(v[i].abs())),
        _ => margin,
    }
}

/// How far from a kink each row still counts as at it.
fn radii(
    program: &ConeProgram,
    solution: &Solution,
    v: &[f64],
    error: &[f64],
    settings: &Settings,
) -> Vec<f64> {
    let mut scale: Vec<f64> = program
        .effective_b()
        .iter()
        .map(|b| 1.0 + b.abs())
        .collect();
    let size: Vec<f64> = solution.x.iter().map(|x| x.abs()).collect();
    program
        .effective_a()
        .absolute_multiply_add(&size, &mut scale);
    let dual = dual_scale(program, &size, &solution.z);
    let mut radius = vec![0.0; v.len()];
    for (cone, rows) in program.cones().iter().zip(row_ranges(program.cones())) {
        if let Cone::Nonnegative(_) = cone {
            for i in rows {
                let size = if v[i] > 0.0 {
                    scale[i].max(dual[i])
                } else {
                    scale[i]
                };
                radius[i] = (settings.ambiguity * size).max(10.0 * error[i].abs());
            }
            continue;
        }
        let largest = scale[rows.clone()].iter().fold(0.0_f64, |m, x| m.max(*x));
        let least = dual[rows.clone()]
            .iter()
            .filter(|x| **x > 0.0)
            .fold(f64::INFINITY, |m, x| m.min(*x));
        let largest = if least.is_finite() {
            largest.max(least)
        } else {
            largest
        };
        let of_error = 10.0 * norm_max(&error[rows.clone()]);
        radius[rows].fill((settings.ambiguity * largest).max(of_error));
    }
    radius
}

/// For each row the size of z_i at which it would be as large as some row of Px + A'z + q: a z_i that is rounding beside the terms it is
/// added to says nothing about the row, however large it is itself. Zero for rows without entries.
fn dual_scale(program: &ConeProgram, x: &[f64], z: &[f64]) -> Vec<f64> {
    let a = program.effective_a();
    let mut terms: Vec<f64> = program.q().iter().map(|q| 1.0 + q.abs()).collect();
    program.p().absolute_multiply_symmetric_add(x, &mut terms);
    a.absolute_multiply_transpose_add(z, &mut terms);
    let mut scale = vec![f64::INFINITY; program.m()];
    for (j, terms) in terms.iter().enumerate() {
        let (rows, values) = a.column(j);
        for (&i, &value) in rows.iter().zip(values).filter(|x| *x.1 != 0.0) {
            scale[i] = scale[i].min(terms / value.abs());
        }
    }
    for scale in scale.iter_mut().filter(|s| s.is_infinite()) {
        *scale = 0.0;
    }
    scale
}
