//! Stationarity at a kink: the least-norm element of the convex hull of several gradients.

use crate::cone::Cone;
use crate::error::{Error, Iterate, Result, Status};
use crate::limit;
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::{ConeProgram, check_length};
use crate::refine::solve;
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{dot, norm};

/// The largest optimality gap of an answer, relative to the square of the longest gradient: |e - e*| <= 3e-6 of it then. Only
/// clusters of gradients that agree to about ten digits come near.
const GAP: f64 = 1e-11;

/// A gap this small is rounding. Most answers have it at once.
const PRECISE: f64 = 1e-15;

/// Where e is small beside the gradients, the solver's tolerance is large beside |e|^2: e is then measured in units of these
/// powers of its norm. At the whole norm the program is so badly scaled that it is often not solved.
const FINER: [f64; 2] = [0.5, 0.75];

/// Exchanges of weight for each gradient: about the time of a solve.
const EXCHANGES: usize = 10;

/// The least-norm element e* of a convex hull, as found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HullElement {
    /// e = sum_k w_k g_k, as many entries as a gradient.
    #[serde(with = "crate::exact::numbers")]
    pub element: Vec<f64>,
    /// w >= 0 with sum 1, one for each gradient. Not unique where the gradients are dependent.
    #[serde(with = "crate::exact::numbers")]
    pub weights: Vec<f64>,
    /// |e|, Euclidean.
    #[serde(with = "crate::exact::number")]
    pub norm: f64,
    /// A bound on |e - e*|: the root of |e|^2 - min_k g_k'e. Rounding hides what is below 1.5e-8 of the longest gradient, the least value
    /// given; most answers are right to 1e-15.
    #[serde(with = "crate::exact::number")]
    pub error: f64,
}

impl HullElement {
    /// True if 0 cannot be told from an element of the hull: |e| <= tolerance times the longest gradient, of those given before.
    ///
    /// ```
    /// use conediff::least_norm_in_hull;
    /// // |x - y| + |x + y| at 0: four gradients, none of them small
    /// let gradients: Vec<Vec<f64>> = [[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]].map(Vec::from).into();
    /// assert!(least_norm_in_hull(&gradients)?.is_stationary(&gradients, 1e-9));
    /// assert!(!least_norm_in_hull(&gradients[..2])?.is_stationary(&gradients[..2], 1e-9));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn is_stationary(&self, gradients: &[Vec<f64>], tolerance: f64) -> bool {
        self.norm <= tolerance * longest(gradients)
    }
}

/// The least-norm element of the convex hull of k gradients in d dimensions.
///
/// ```text
/// minimize 1/2 |e|^2   subject to   e = sum_k w_k g_k,   w >= 0,   sum_k w_k = 1
/// ```
///
/// At a kink a function has many gradients, and none of them need be small where the function is least. What is small there is
/// the least-norm element of their hull: 0 in the hull of elements of a conservative field means stationary for that field, and
/// -e is otherwise a direction in which every one of the gradients descends, g_k'(-e) <= -|e|^2. Take the gradients of all
/// selections at a kink, or of points sampled near it.
///
/// The gradients are scaled to length 1 of the longest, and the program is solved and refined by this crate; again in finer units
/// of e if that is not precise; weight is then exchanged between gradients the solver could not tell apart. The answer is checked
/// by its own optimality condition g_k'e >= |e|^2, which every e in the hull violates by at least |e - e*|^2. Errors are relative
/// to the longest gradient. O(d k^2 + k^3) time for each of about ten steps.
///
/// ```
/// // One-sided derivatives of a cross-validation curve at its least value: neither is small, and 0 lies between.
/// use conediff::{HullElement, least_norm_in_hull};
/// let gradients = [vec![-11.18], vec![6.09]];
/// let hull: HullElement = least_norm_in_hull(&gradients)?;
/// assert!(hull.norm < 1e-12 && hull.is_stationary(&gradients, 1e-9));
/// assert!((hull.weights[0] - 6.09 / 17.27).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] without a gradient; [`Error::Dimension`] if their lengths differ; [`Error::NonFinite`]; [`Error::NotSolved`]
/// if the answer fails its check.
///
/// # References
/// Clarke, Optimization and nonsmooth analysis, 1983, section 2.3. Burke, Lewis, Overton, A robust gradient sampling algorithm
/// for nonsmooth, nonconvex optimization, 2005, section 2, step 2.
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
    let length = longest(gradients);
    let scale = if length > 0.0 { length } else { 1.0 };
    let scaled: Vec<Vec<f64>> = gradients
        .iter()
        .map(|g| g.iter().map(|x| x / scale).collect())
        .collect();
    let mut found = solve_hull(&scaled, first.len(), 1.0)?;
    for power in FINER {
        if found.gap <= PRECISE {
            break;
        }
        let unit = found.norm.max(found.gap.sqrt()).powf(power);
        if let Ok(again) = solve_hull(&scaled, first.len(), unit)
            && again.gap < found.gap
        {
            found = again;
        }
    }
    limit::check("the use of the hull's answer")?;
    if found.gap.is_nan() || found.gap > GAP {
        return Err(Error::NotSolved {
            status: Status::InsufficientProgress,
            iterations: found.solution.iterations,
            primal_residual: 0.0,
            dual_residual: found.gap,
            last: Box::new(Iterate {
                x: found.solution.x,
                z: found.solution.z,
                s: found.solution.s,
            }),
        });
    }
    Ok(HullElement {
        element: found.element.iter().map(|e| e * scale).collect(),
        weights: found.weights,
        norm: found.norm * scale,
        error: found.gap.max(f64::EPSILON).sqrt() * length,
    })
}

/// An answer for gradients of length 1, and how far from optimal it is.
struct Found {
    element: Vec<f64>,
    weights: Vec<f64>,
    norm: f64,
    /// |e|^2 - min_k g_k'e.
    gap: f64,
    solution: Solution,
}

/// Solves with e measured in the given unit.
fn solve_hull(gradients: &[Vec<f64>], d: usize, unit: f64) -> Result<Found> {
    let solution = solve(&hull_program(gradients, d, unit)?, &Settings::default())?;
    // The slacks of w >= 0 are the weights, projected: no negative ones, and exact zeros.
    let slacks = solution.s.iter().skip(d + 1);
    let sum: f64 = slacks.clone().sum();
    let mut weights: Vec<f64> = slacks.map(|w| w / sum).collect();
    let mut element = vec![0.0; d];
    for (g, w) in gradients.iter().zip(&weights) {
        add(&mut element, *w, g);
    }
    let gap = exchange(gradients, &mut weights, &mut element);
    Ok(Found {
        norm: norm(&element),
        element,
        weights,
        gap,
        solution,
    })
}

/// Moves weight between pairs of gradients as long as that lowers |e|, at most [`EXCHANGES`] times for each gradient. Gradients
/// that agree to more digits than the solver's tolerance are told apart here. The gap left: |e|^2 - min_k g_k'e.
fn exchange(gradients: &[Vec<f64>], weights: &mut [f64], element: &mut [f64]) -> f64 {
    let mut products: Vec<f64> = Vec::new();
    let mut gap = 0.0;
    let steps = EXCHANGES * gradients.len();
    for step in 0..=steps {
        products.clear();
        products.extend(gradients.iter().map(|g| dot(g, element)));
        let all = products.iter().copied().enumerate();
        let held = all
            .clone()
            .filter(|(k, _)| weights.get(*k).is_some_and(|w| *w > 0.0));
        let by_product = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
        let (Some((to, least)), Some((from, most))) =
            (all.min_by(by_product), held.max_by(by_product))
        else {
            return gap;
        };
        gap = dot(element, element) - least;
        let (Some(g), Some(h)) = (gradients.get(to), gradients.get(from)) else {
            return gap;
        };
        let across: Vec<f64> = g.iter().zip(h).map(|(g, h)| g - h).collect();
        let length = dot(&across, &across);
        if most - least <= f64::EPSILON || length == 0.0 || step == steps {
            return gap;
        }
        // The least |e + t (g - h)| with the weight there is.
        let most_weight = weights.get(from).copied().unwrap_or(0.0);
        let t = ((most - least) / length).min(most_weight);
        for (index, change) in [(to, t), (from, -t)] {
            if let Some(w) = weights.get_mut(index) {
                *w += change;
            }
        }
        add(element, t, &across);
    }
    gap
}

/// y += c x.
fn add(y: &mut [f64], c: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += c * x);
}

fn longest(gradients: &[Vec<f64>]) -> f64 {
    gradients.iter().map(|g| norm(g)).fold(0.0, f64::max)
}

/// Variables (e / unit, w); rows unit e - Gw = 0, sum w = 1, w >= 0. With e kept as a variable the condition number is that of G,
/// not its square.
fn hull_program(gradients: &[Vec<f64>], d: usize, unit: f64) -> Result<ConeProgram> {
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
        values.push(unit);
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
