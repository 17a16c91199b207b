//! Stationarity at a kink: the least-norm element of the convex hull of several gradients.

use crate::cone::Cone;
use crate::error::{Error, Iterate, Result, Status};
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::{ConeProgram, check_length};
use crate::refine::solve;
use crate::settings::Settings;
use crate::tangent::{dot, norm_max};

/// The largest optimality gap of an answer, for gradients of largest entry 1: |e - e*| <= 1e-6 then. Refined answers have 1e-15.
const GAP: f64 = 1e-12;

/// The least-norm element e* of a convex hull, as found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HullElement {
    /// e = sum_k w_k g_k, as many entries as a gradient.
    pub element: Vec<f64>,
    /// w >= 0 with sum 1, one for each gradient. Not unique where the gradients are dependent.
    pub weights: Vec<f64>,
    /// |e|, Euclidean.
    pub norm: f64,
    /// A bound on |e - e*|: the root of |e|^2 - min_k g_k'e.
    pub error: f64,
}

impl HullElement {
    /// True if 0 cannot be told from an element of the hull: |e| <= tolerance times the largest entry of the gradients given.
    pub fn is_stationary(&self, gradients: &[Vec<f64>], tolerance: f64) -> bool {
        let largest = gradients.iter().map(|g| norm_max(g)).fold(0.0, f64::max);
        self.norm <= tolerance * largest
    }
}

/// The least-norm element of the convex hull of k gradients in d dimensions.
///
/// ```text
/// minimize 1/2 |e|^2   subject to   e = sum_k w_k g_k,   w >= 0,   sum_k w_k = 1
/// ```
///
/// At a kink a function has many gradients, and none of them need be small where the function is least. What is small there is the least-norm
/// element of their hull: 0 in the hull of elements of a conservative field means stationary for that field, and -e is otherwise a
/// direction in which every one of the gradients descends, g_k'(-e) <= -|e|^2. Take the gradients of all selections at a kink, or
/// of points sampled near it.
///
/// The gradients are scaled to largest entry 1 and the program is solved and refined by this crate. The answer is checked by its own
/// optimality condition g_k'e >= |e|^2, which every e in the hull violates by at least |e - e*|^2 if it is not the least. Errors are
/// relative to the largest gradient. O(d k^2 + k^3) time for each of about ten steps.
///
/// ```
/// // One-sided derivatives of a cross-validation curve at its least value: neither is small, and 0 lies between.
/// let hull = conediff::least_norm_in_hull(&[vec![-11.18], vec![6.09]])?;
/// assert!(hull.norm < 1e-12);
/// assert!((hull.weights[0] - 6.09 / 17.27).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] without a gradient; [`Error::Dimension`] if their lengths differ; [`Error::NonFinite`]; [`Error::NotSolved`] if the
/// answer fails its check.
///
/// # References
/// Clarke, Optimization and nonsmooth analysis, 1983, section 2.3. Burke, Lewis, Overton, A robust gradient sampling algorithm for
/// nonsmooth, nonconvex optimization, 2005, section 2, step 2.
pub fn least_norm_in_hull(gradients: &[Vec<f64>]) -> Result<HullElement> {
    let Some(first) = gradients.first() else {
        return Err(Error::Empty {
            what: "the list of gradients",
        });
    };
    for gradient in gradients {
        check_length("a gradient", first.len(), gradient.len())?;
        check_finite("gradient", gradient)?;
    }
    let largest = gradients.iter().map(|g| norm_max(g)).fold(0.0, f64::max);
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let scaled: Vec<Vec<f64>> = gradients
        .iter()
        .map(|g| g.iter().map(|x| x / scale).collect())
        .collect();
    let program = hull_program(&scaled, first.len())?;
    let solution = solve(&program, &Settings::default())?;
    // The slacks of w >= 0 are the weights, projected: no negative ones, and exact zeros.
    let slacks = solution.s.iter().skip(first.len() + 1);
    let sum: f64 = slacks.clone().sum();
    let weights: Vec<f64> = slacks.map(|w| w / sum).collect();
    let mut element = vec![0.0; first.len()];
    for (g, w) in scaled.iter().zip(&weights) {
        for (e, g) in element.iter_mut().zip(g) {
            *e += w * g;
        }
    }
    let norm = dot(&element, &element).sqrt();
    let least = scaled.iter().map(|g| dot(g, &element));
    let gap = norm * norm - least.fold(f64::INFINITY, f64::min);
    if gap.is_nan() || gap > GAP {
        return Err(Error::NotSolved {
            status: Status::InsufficientProgress,
            iterations: solution.iterations,
            primal_residual: 0.0,
            dual_residual: gap,
            last: Box::new(Iterate {
                x: solution.x,
                z: solution.z,
                s: solution.s,
            }),
        });
    }
    Ok(HullElement {
        element: element.iter().map(|e| e * scale).collect(),
        weights,
        norm: norm * scale,
        error: gap.max(0.0).sqrt() * scale,
    })
}

/// Variables (e, w); rows e - Gw = 0, sum w = 1, w >= 0. With e kept as a variable the condition number is that of G, not its square.
fn hull_program(gradients: &[Vec<f64>], d: usize) -> Result<ConeProgram> {
    let (k, n) = (gradients.len(), d + gradients.len());
    // The diagonal of e's block, and nothing for w.
    let pointers: Vec<usize> = (0..=n).map(|j| j.min(d)).collect();
    let p = SparseMatrix::from_csc(
        "P",
        n,
        n,
        &pointers,
        &(0..d).collect::<Vec<_>>(),
        &vec![1.0; d],
    )?;
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for i in 0..d {
        indices.push(i);
        values.push(1.0);
        indptr.push(indices.len());
    }
    for (j, gradient) in gradients.iter().enumerate() {
        indices.extend(0..=d);
        values.extend(gradient.iter().map(|g| -g));
        values.push(1.0);
        indices.push(d + 1 + j);
        values.push(-1.0);
        indptr.push(indices.len());
    }
    let a = SparseMatrix::from_csc("A", d + 1 + k, n, &indptr, &indices, &values)?;
    let mut b = vec![0.0; d + 1 + k];
    b[d] = 1.0;
    let cones = vec![Cone::Zero(d + 1), Cone::Nonnegative(k)];
    ConeProgram::from_matrices(p, vec![0.0; n], a, b, cones)
}
