//! The generalized power cone `K = {(u, w): prod u_i^alpha_i >= |w|, u >= 0}`, `sum alpha_i = 1`, alpha_i > 0.
//!
//! Its dual is `K* = {(u, w): prod (u_i / alpha_i)^alpha_i >= |w|, u >= 0}`. On the curved boundaries, with
//! `r = |w of s|` and `m = |w of z|`: `u_i(s) u_i(z) = alpha_i r m`, and the two w point in opposite directions.
//!
//! # References
//! Hien, Differential properties of Euclidean projection onto power cone, Math. Methods Oper. Res. 82, 2015.
//! Parikh and Boyd, Proximal algorithms, 2014, section 2.5 (Moreau decomposition).

use super::Block;
use super::kink::{BlockKink, KinkKind, Shape};
use super::numeric::{
    APEX, dual_interior, fractions, largest_feasible, max_abs, norm, polar_interior,
    power_of_two_scale,
};
use super::power_curvature::{pair_curvature, plane_curvatures};
use super::power_root::{split, split_length};
use super::spectral::{Piece, Spectral};

/// |w| below this fraction of max |v_i|, and r or m below this fraction of |w|, count as zero: powers would underflow.
const NEGLIGIBLE: f64 = 1e-100;

/// Above this share of the largest entry w is away from the edges.
const NEAR_EDGE: f64 = 1e-3;

/// `z = Pi_{K*}(v)` and `s = Pi_K(-v) = z - v`; all have d = `alphas.len()` + dim(w) values.
///
/// The piece is decided without tolerance. With p = -v: `PolarInterior` if p is in K, else `DualInterior` if v is in
/// K*, else `Face` if w = 0 (below 1e-100 max |v_i|), else `Curved`: one equation in `theta = log(r/m)`, `r + m = |w|`,
/// ```text
/// sum_i alpha_i log(u_i / r) = 0,    u_i = (p_i + sqrt(p_i^2 + 4 alpha_i r m)) / 2
/// ```
/// If r or m is below 1e-100 |w| there, the result is its limit, a `Face`. A NaN or an infinity in v gives NaN and
/// `Curved`; a v below 1e-290 counts as zero. What z and s hold on entry, those of a point nearby or zeros, is where the search
/// for theta starts.
pub fn project(alphas: &[f64], v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    let n = alphas.len();
    let scale = power_of_two_scale(v);
    if !scale.is_finite() {
        z.fill(f64::NAN);
        s.fill(f64::NAN);
        return Piece::Curved;
    }
    if scale < APEX {
        return polar_interior(v, z, s);
    }
    let p: Vec<f64> = v[..n].iter().map(|x| -x / scale).collect();
    let length = norm(&v[n..]) / scale;
    if in_primal(alphas, p.iter().copied(), length) {
        return polar_interior(v, z, s);
    }
    if in_dual(alphas, p.iter().map(|x| -x), length) {
        return dual_interior(v, z, s);
    }
    if length < NEGLIGIBLE {
        let share = edge_curvature(alphas, v);
        return edge(n, share, v, z, s);
    }

    let (r, m) = (norm(&s[n..]), norm(&z[n..]));
    let start = Some((r / m).ln()).filter(|theta| theta.is_finite());
    let (r, m) = split_length(alphas, &p, length, start);
    if m <= NEGLIGIBLE * length {
        let inside = p.iter().all(|&x| x >= 0.0);
        return if inside {
            polar_interior(v, z, s)
        } else {
            edge(n, (0.0, 1.0), v, z, s)
        };
    }
    if r <= NEGLIGIBLE * length {
        let inside = p.iter().all(|&x| x <= 0.0);
        return if inside {
            dual_interior(v, z, s)
        } else {
            edge(n, (1.0, 0.0), v, z, s)
        };
    }
    for i in 0..n {
        let (ui, zi) = split(p[i], alphas[i], r, m);
        s[i] = ui * scale;
        z[i] = zi * scale;
    }
    for i in n..v.len() {
        s[i] = -v[i] * (r / length);
        z[i] = v[i] * (m / length);
    }
    Piece::Curved
}

/// An element D of the Clarke Jacobian of `Pi_{K*}` at v, with z, s and the piece from [`project`].
///
/// Curved: eigenvectors `z/|z|` (1), `s/|s|` (0), the w-directions perpendicular to w (`m/(m+r)`), and n - 1 more with
/// `lambda = kappa/(1+kappa)`, kappa the eigenvalues on the complement of z and s, in (u, w/|w|), of
/// ```text
/// M = m r (diag(alpha/u^2) - (alpha/u)(alpha/u)')
/// ```
/// For two exponents `kappa = (z_x/x) (z_y/y) (m/r) (|s|/|z|)^2`. Face: diagonal, 1 where `v_i > 0`, and for w, with a0
/// the sum of alpha over `v_i > 0`, 1 if a0 > 1/2, 0 if a0 < 1/2, and `1/(1 + c)` if a0 = 1/2, where
/// `sqrt c = prod_{v_i < 0} |v_i|^alpha_i prod_{v_i > 0} (alpha_i/v_i)^alpha_i`. D is continuous across such an edge
/// where all `v_i` are nonzero, but only Hoelder continuous.
///
/// At a kink it is the formula of the piece that [`project`] chose: D = 0 for v = 0 and for -v on the boundary of K
/// (z = 0), D = I for v on the boundary of K* (s = 0); on an edge, v_i = 0 counts as negative (a limit of smooth points).
pub fn element(alphas: &[f64], piece: Piece, v: &[f64], z: &[f64], s: &[f64], out: &mut Spectral) {
    let n = alphas.len();
    match piece {
        Piece::DualInterior => out.set_identity(),
        Piece::PolarInterior => out.set_zero(),
        Piece::Face => {
            out.set_zero();
            for i in (0..n).filter(|&i| v[i] > 0.0) {
                out.set_value(i, (1.0, 0.0));
            }
            let (m, r) = (max_abs(&z[n..]), max_abs(&s[n..]));
            let share = if m + r > 0.0 {
                fractions(m, r)
            } else {
                edge_curvature(alphas, v)
            };
            for i in n..v.len() {
                out.set_value(i, share);
            }
        }
        Piece::Curved => {
            let (z_norm, s_norm) = (norm(z), norm(s));
            let (m, r) = (norm(&z[n..]) / z_norm, norm(&s[n..]) / s_norm);
            let length = norm(&v[n..]);
            // -w / |w| of v: the direction of s's w.
            let direction: Vec<f64> = v[n..].iter().map(|x| -x / length).collect();
            // Unit vectors in (u, w/|w|).
            let z_hat: Vec<f64> = z[..n].iter().map(|x| x / z_norm).chain([-m]).collect();
            let s_hat: Vec<f64> = s[..n].iter().map(|x| x / s_norm).chain([r]).collect();

            embed(&z_hat, &direction, out.vector_mut(0));
            out.set_value(0, (1.0, 0.0));
            embed(&s_hat, &direction, out.vector_mut(1));
            out.set_value(1, (0.0, 1.0));
            let (vectors, kappas) = if n == 2 {
                pair_curvature(&z_hat, &s_hat, z_norm / s_norm)
            } else {
                plane_curvatures(alphas, &z_hat, &s_hat, z_norm / s_norm)
            };
            for (k, (vector, kappa)) in vectors.iter().zip(kappas).enumerate() {
                embed(vector, &direction, out.vector_mut(2 + k));
                out.set_value(2 + k, fractions(kappa, 1.0));
            }
            let share = fractions(m * (z_norm / s_norm), r);
            for k in 1..direction.len() {
                let vector = out.vector_mut(n + k);
                vector[..n].fill(0.0);
                perpendicular(&direction, k, &mut vector[n..]);
                out.set_value(n + k, share);
            }
        }
    }
}

/// Distance from v to the nearest point where `Pi_{K*}` is not differentiable.
///
/// These points are the boundaries of -K and K*, and w = 0 with some u_i = 0. Exact on the curved piece and on the
/// edges, `min(|s|, |z|, min_i |(v_i, w)|)`. In the interiors of K* and -K a lower bound, the largest t for which all
/// `(|u_i| - t, |w| + t)` stay in the cone: between 1/sqrt(n + 1) of the distance and the distance, n = `alphas.len()`.
/// Rounding errors are of the order of 1e-16 |v|.
pub fn margin(alphas: &[f64], piece: Piece, v: &[f64], z: &[f64], s: &[f64]) -> f64 {
    let (u, w) = v.split_at(alphas.len());
    let length = norm(w);
    match piece {
        Piece::DualInterior => largest_feasible(max_abs(v), |t| {
            in_dual(alphas, u.iter().map(|x| x - t), length + t)
        }),
        Piece::PolarInterior => largest_feasible(max_abs(v), |t| {
            in_primal(alphas, u.iter().map(|x| -x - t), length + t)
        }),
        Piece::Face | Piece::Curved => u
            .iter()
            .fold(norm(s).min(norm(z)), |least, x| least.min(x.hypot(length))),
    }
}

/// The kink within the radius of v. Where w = 0 and some u_i = 0, any D between 0 and 1 on those coordinates and w is taken for an
/// element, which may be more than there are. Elsewhere the kinks are z = 0, where D is 0 or zz'/|z|^2, and s = 0, where it is I or
/// I - ss'/|s|^2.
pub(super) fn kink(
    alphas: &[f64],
    block: &Block,
    v: &[f64],
    z: &[f64],
    s: &[f64],
    radius: f64,
) -> Option<BlockKink> {
    let n = alphas.len();
    if norm(v) <= radius {
        return Some(BlockKink::new(KinkKind::Apex, Shape::Apex(v.len())));
    }
    let mut ambiguous: Vec<usize> = (0..n).filter(|&i| v[i].abs() <= radius).collect();
    if norm(&v[n..]) <= radius && !ambiguous.is_empty() {
        ambiguous.extend(n..v.len());
        let active = v.iter().map(|x| *x > 0.0).collect();
        let shape = Shape::Axes { active, ambiguous };
        return Some(BlockKink::new(KinkKind::Edge, shape));
    }
    let is_zero = [
        matches!(block, Block::Vanishing(_)) || norm(z) <= radius,
        matches!(block, Block::Identity(_)) || norm(s) <= radius,
    ];
    // u_i(s) u_i(z) = alpha_i |w(s)| |w(z)|, the two w opposite.
    let opposite = |point: &[f64]| {
        let length = norm(&point[n..]);
        let u = alphas.iter().zip(point).map(|(a, u)| a * length / u);
        let w = point[n..].iter().map(|w| -w / length);
        let ray: Vec<f64> = u.chain(w).collect();
        let size = norm(&ray);
        let unit: Vec<f64> = ray.iter().map(|x| x / size).collect();
        unit.iter()
            .all(|x| x.is_finite())
            .then_some(Shape::Ray(unit))
    };
    match is_zero {
        [true, false] => Some(BlockKink::new(KinkKind::ZeroDual, opposite(s)?)),
        [false, true] => Some(BlockKink::new(KinkKind::ZeroSlack, opposite(z)?)),
        _ => None,
    }
}

/// By how much D changes on w when w grows by `distance`, near w = 0, where it is only Hoelder continuous; 0 elsewhere.
pub(super) fn edge_change(alphas: &[f64], v: &[f64], distance: f64) -> f64 {
    let n = alphas.len();
    let length = norm(&v[n..]);
    if length > NEAR_EDGE * max_abs(v) {
        return 0.0;
    }
    let share = |length: f64| {
        let mut there = v.to_vec();
        there[n..].fill(0.0);
        there[n] = length;
        let (mut z, mut s) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        project(alphas, &there, &mut z, &mut s);
        let (m, r) = (norm(&z[n..]), norm(&s[n..]));
        if m + r > 0.0 {
            fractions(m, r).0
        } else {
            edge_curvature(alphas, v).0
        }
    };
    (share(length + distance) - share(length)).abs()
}

/// s and z on the coordinate axes of u, with w shared out between them as (lambda, 1 - lambda).
fn edge(n: usize, share: (f64, f64), v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    for i in 0..n {
        z[i] = v[i].max(0.0);
        s[i] = (-v[i]).max(0.0);
    }
    for i in n..v.len() {
        z[i] = share.0 * v[i];
        s[i] = -share.1 * v[i];
    }
    Piece::Face
}

fn in_primal(alphas: &[f64], u: impl Iterator<Item = f64>, length: f64) -> bool {
    weighted_product(alphas, u, length).is_some_and(|product| product >= 1.0)
}

fn in_dual(alphas: &[f64], u: impl Iterator<Item = f64>, length: f64) -> bool {
    let weighted = u.zip(alphas).map(|(x, a)| x / a);
    weighted_product(alphas, weighted, length).is_some_and(|product| product >= 1.0)
}

/// `prod (u_i / length)^alpha_i`, infinite for length = 0; None if some u_i < 0.
fn weighted_product(alphas: &[f64], u: impl Iterator<Item = f64>, length: f64) -> Option<f64> {
    let mut product = 1.0;
    for (x, &alpha) in u.zip(alphas) {
        if x < 0.0 {
            return None;
        }
        product *= (x / length).powf(alpha);
    }
    Some(if length == 0.0 {
        f64::INFINITY
    } else {
        product
    })
}

/// (lambda, 1 - lambda) of the w-directions at w = 0: the limit of (m, r) / (m + r).
fn edge_curvature(alphas: &[f64], v: &[f64]) -> (f64, f64) {
    let mut zero_weight = 0.0;
    let mut product = 1.0;
    for (&alpha, &x) in alphas.iter().zip(v) {
        if x > 0.0 {
            zero_weight += alpha;
            product *= alpha.powf(alpha) / x.powf(alpha);
        } else {
            product *= x.abs().powf(alpha);
        }
    }
    // Sums of decimal exponents miss 1/2 by rounding.
    let excess = zero_weight - 0.5;
    if excess.abs() <= 8.0 * f64::EPSILON {
        fractions(1.0, product * product)
    } else if excess > 0.0 {
        (1.0, 0.0)
    } else {
        (0.0, 1.0)
    }
}

/// Writes a vector of (u, w/|w|) in all coordinates.
pub(super) fn embed(vector: &[f64], direction: &[f64], out: &mut [f64]) {
    let n = vector.len() - 1;
    out[..n].copy_from_slice(&vector[..n]);
    for (o, d) in out[n..].iter_mut().zip(direction) {
        *o = vector[n] * d;
    }
}

/// The k-th column, k >= 1, of the Householder reflection that maps the unit vector `w` to an axis.
pub(super) fn perpendicular(w: &[f64], k: usize, out: &mut [f64]) {
    let sign = if w[0] < 0.0 { -1.0 } else { 1.0 };
    let factor = w[k] / (1.0 + w[0].abs());
    for (o, x) in out.iter_mut().zip(w) {
        *o = -x * factor;
    }
    out[0] = -sign * w[k];
    out[k] += 1.0;
}
