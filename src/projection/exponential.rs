//! The exponential cone `K = cl{(x, y, z): y > 0, y exp(x/y) <= z}`, in Clarabel's order of coordinates.
//!
//! Its dual is `K* = cl{(u, v, w): u < 0, -u exp(v/u - 1) <= w}`. The curved boundaries of both are swept by one
//! parameter, `s = sigma (rho, 1, e^rho)` and `z = tau (-1, rho - 1, e^-rho)`, and `<s, z> = 0` for the same rho.
//!
//! # References
//! Friberg, Projection onto the exponential cone: a univariate root-finding problem, Optim. Methods Softw., 2023.
//! Parikh and Boyd, Proximal algorithms, 2014, section 6.3.4.

use super::Block;
use super::kink::{BlockKink, KinkKind, Shape};
use super::numeric::{
    APEX, Probe, dual_interior, fractions, increasing_root, largest_feasible, max_abs, norm,
    polar_interior, power_of_two_scale,
};
use super::spectral::{Piece, Spectral};

/// `z = Pi_{K*}(v)` and `s = Pi_K(-v) = z - v`; all three have 3 values.
///
/// The piece is decided by exact comparisons, without tolerance. With p = -v: `PolarInterior` if p is in K, else
/// `DualInterior` if v is in K*, else `Face` if p_x <= 0 and p_y <= 0, else `Curved`. A vector with a NaN or an
/// infinity gives NaN and `Curved`; a v below 1e-290 counts as zero. What z and s hold on entry, those of a point nearby or
/// zeros, is where the search for rho starts.
pub fn project(v: &[f64], z: &mut [f64], s: &mut [f64]) -> Piece {
    let scale = power_of_two_scale(v);
    if !scale.is_finite() {
        z.fill(f64::NAN);
        s.fill(f64::NAN);
        return Piece::Curved;
    }
    if scale < APEX {
        return polar_interior(v, z, s);
    }
    let p = [-v[0] / scale, -v[1] / scale, -v[2] / scale];
    if in_primal(p) {
        return polar_interior(v, z, s);
    }
    if in_dual(p.map(|x| -x)) {
        return dual_interior(v, z, s);
    }
    if p[0] <= 0.0 && p[1] <= 0.0 {
        s.copy_from_slice(&[-v[0], 0.0, (-v[2]).max(0.0)]);
        z.copy_from_slice(&[0.0, v[1], v[2].max(0.0)]);
        return Piece::Face;
    }

    let rho = tangent_parameter(p, start(z, s));
    let (sigma, tau) = multipliers(rho, p);
    // Of the two multipliers of the exponentially large entries, the third equation gives the accurate one.
    let (s_length, z_length) = if rho > 0.0 {
        (p[2] + tau * (-rho).exp(), tau)
    } else {
        (sigma, sigma * rho.exp() - p[2])
    };
    // Closer to a boundary than rounding can tell.
    if z_length <= 0.0 {
        return polar_interior(v, z, s);
    }
    if s_length <= 0.0 {
        return dual_interior(v, z, s);
    }
    let (s_ray, z_ray) = rays(rho);
    for i in 0..3 {
        s[i] = s_length * s_ray[i] * scale;
        z[i] = z_length * z_ray[i] * scale;
    }
    Piece::Curved
}

/// An element D of the Clarke Jacobian of `Pi_{K*}` at v, with z, s and the piece from [`project`].
///
/// Curved: eigenvectors `z/|z|` (1), `s/|s|` (0), and their cross product with, rho being the boundary parameter,
/// ```text
/// 1/lambda - 1 = (sigma / tau) (1 + e^{2 rho} (1 + (1 - rho)^2)) / (1 + rho^2 + e^{2 rho})
/// ```
/// whose terms are all positive. Face: `diag(0, 1, [v_z > 0])`.
///
/// At a kink it is the formula of the piece that [`project`] chose: D = 0 for v = 0 and for -v on the boundary of K
/// (z = 0), D = I for v on the boundary of K* (s = 0), the face's formula where a face begins, and 0 for v_z = 0 on it.
pub fn element(piece: Piece, v: &[f64], z: &[f64], s: &[f64], out: &mut Spectral) {
    match piece {
        Piece::DualInterior => out.set_identity(),
        Piece::PolarInterior => out.set_zero(),
        Piece::Face => {
            out.set_zero();
            out.set_value(1, (1.0, 0.0));
            if v[2] > 0.0 {
                out.set_value(2, (1.0, 0.0));
            }
        }
        Piece::Curved => {
            let rho = parameter(z, s);
            let (s_ray, z_ray) = rays(rho);
            let (s_norm, z_norm) = (norm(&s_ray), norm(&z_ray));
            let s_hat = s_ray.map(|x| x / s_norm);
            let z_hat = z_ray.map(|x| x / z_norm);
            out.vector_mut(0).copy_from_slice(&z_hat);
            out.vector_mut(1).copy_from_slice(&s_hat);
            out.vector_mut(2).copy_from_slice(&cross(s_hat, z_hat));
            out.set_value(0, (1.0, 0.0));
            out.set_value(1, (0.0, 1.0));
            out.set_value(2, curvature(rho, z, s));
        }
    }
}

/// Distance from v to the nearest point where `Pi_{K*}` is not differentiable.
///
/// Exact on the curved piece, `min(|s|, |z|, |max((p_x, p_y), 0)|)`, and on the face, `min |v_i|`. In the interiors of
/// K* and -K a lower bound, the half-width of the largest cube around v in the cone: between 1/sqrt(3) of the distance
/// and the distance. Rounding errors are of the order of 1e-16 |v|.
pub fn margin(piece: Piece, v: &[f64], z: &[f64], s: &[f64]) -> f64 {
    match piece {
        // The cone is convex and monotone in two coordinates: two corners of the cube decide.
        Piece::DualInterior => largest_feasible(max_abs(v), |m| {
            in_dual([v[0] - m, v[1] - m, v[2] - m]) && in_dual([v[0] + m, v[1] - m, v[2] - m])
        }),
        Piece::PolarInterior => largest_feasible(max_abs(v), |m| {
            in_primal([m - v[0], -v[1] - m, -v[2] - m])
                && in_primal([m - v[0], m - v[1], -v[2] - m])
        }),
        Piece::Face => v[0].abs().min(v[1].abs()).min(v[2].abs()),
        Piece::Curved => {
            let to_face = (-v[0]).max(0.0).hypot((-v[1]).max(0.0));
            norm(s).min(norm(z)).min(to_face)
        }
    }
}

/// The kink within the radius of v. On the face {p_x <= 0, p_y <= 0} D = diag(0, 1, [v_z > 0]); across its borders one coordinate of
/// that changes. Elsewhere the kinks are z = 0, where D is 0 or zz'/|z|^2, and s = 0, where it is I or I - ss'/|s|^2.
pub(super) fn kink(
    block: &Block,
    v: &[f64],
    z: &[f64],
    s: &[f64],
    radius: f64,
) -> Option<BlockKink> {
    if norm(v) <= radius {
        return Some(BlockKink::new(KinkKind::Apex, Shape::Apex(3)));
    }
    if -v[0] <= radius && -v[1] <= radius {
        let ambiguous: Vec<usize> = (0..3).filter(|&i| v[i].abs() <= radius).collect();
        if ambiguous.is_empty() {
            return None;
        }
        let active = vec![v[0] < 0.0, v[1] > 0.0, v[2] > 0.0];
        let shape = Shape::Axes { active, ambiguous };
        return Some(BlockKink::new(KinkKind::Edge, shape));
    }
    let is_zero = [
        matches!(block, Block::Vanishing(_)) || norm(z) <= radius,
        matches!(block, Block::Identity(_)) || norm(s) <= radius,
    ];
    let unit = |ray: [f64; 3]| {
        let length = norm(&ray);
        Shape::Ray(ray.iter().map(|x| x / length).collect())
    };
    match is_zero {
        [true, false] if s[1] > 0.0 => {
            let (_, ray) = rays(s[0] / s[1]);
            Some(BlockKink::new(KinkKind::ZeroDual, unit(ray)))
        }
        [false, true] if z[0] < 0.0 => {
            let (ray, _) = rays(1.0 - z[1] / z[0]);
            Some(BlockKink::new(KinkKind::ZeroSlack, unit(ray)))
        }
        _ => None,
    }
}

/// rho on the curved piece, by the formula whose denominator cannot underflow.
fn parameter(z: &[f64], s: &[f64]) -> f64 {
    if s[0] < 0.0 || (s[0] == 0.0 && s[1] > 0.0) {
        s[0] / s[1]
    } else {
        1.0 - z[1] / z[0]
    }
}

/// rho of a point nearby, if there is one on the curved piece.
fn start(z: &[f64], s: &[f64]) -> Option<f64> {
    (s[1] > 0.0 && z[0] < 0.0).then(|| parameter(z, s))
}

fn in_primal([x, y, z]: [f64; 3]) -> bool {
    if y > 0.0 {
        y * (x / y).exp() <= z
    } else {
        y == 0.0 && x <= 0.0 && z >= 0.0
    }
}

fn in_dual([u, v, w]: [f64; 3]) -> bool {
    if u < 0.0 {
        -u * (v / u - 1.0).exp() <= w
    } else {
        u == 0.0 && v >= 0.0 && w >= 0.0
    }
}

/// Directions of s and z for a given rho, each divided by its exponentially large factor.
fn rays(rho: f64) -> ([f64; 3], [f64; 3]) {
    let e = (-rho.abs()).exp();
    if rho > 0.0 {
        ([rho * e, e, 1.0], [-1.0, rho - 1.0, e])
    } else {
        ([rho, 1.0, e], [-e, (rho - 1.0) * e, 1.0])
    }
}

/// The sigma and tau that solve the first two equations of `p = s - z` for a given rho.
fn multipliers(rho: f64, p: [f64; 3]) -> (f64, f64) {
    let (sigma, tau) = ((rho - 1.0) * p[0] + p[1], p[0] - rho * p[1]);
    if rho.abs() > 1.0 {
        // Dividing twice avoids the overflow of rho^2.
        let d = rho - 1.0 + 1.0 / rho;
        (sigma / rho / d, tau / rho / d)
    } else {
        let d = rho * (rho - 1.0) + 1.0;
        (sigma / d, tau / d)
    }
}

/// The root of `h(rho) = sigma e^rho - tau e^-rho - p_z`, increasing where sigma and tau are positive.
fn tangent_parameter(p: [f64; 3], start: Option<f64>) -> f64 {
    let [x, y, z] = p;
    // sigma > 0 and tau > 0 bound rho; beyond 800 the exponentials decide, except next to a bound.
    let bound = |b: f64| b.clamp(-1e300, 1e300);
    let lower = if x > 0.0 { bound(1.0 - y / x) } else { -1e300 };
    let upper = if y > 0.0 { bound(x / y) } else { 1e300 };
    let lo = lower.max(upper.min(0.0) - 1600.0);
    let hi = upper.min(lower.max(0.0) + 1600.0);
    let middle = 0.0_f64
        .max(lo + 1.0_f64.min(0.5 * (hi - lo)))
        .min(hi - 1.0_f64.min(0.5 * (hi - lo)));
    let start = start.filter(|rho| *rho > lo && *rho < hi).unwrap_or(middle);
    increasing_root(lo, hi, start, |rho| {
        let (sigma, tau) = multipliers(rho, p);
        let (d, dx, dy, c) = if rho.abs() > 1.0 {
            (rho - 1.0 + 1.0 / rho, x / rho, y / rho, 2.0 - 1.0 / rho)
        } else {
            (rho * (rho - 1.0) + 1.0, x, y, 2.0 * rho - 1.0)
        };
        let (dsigma, dtau) = ((dx - sigma * c) / d, (-dy - tau * c) / d);
        // Everything times e^-|rho|: nothing overflows and the Newton step is the same.
        let e = (-rho.abs()).exp();
        let (up, down) = if rho > 0.0 {
            (1.0, e * e)
        } else {
            (e * e, 1.0)
        };
        Probe {
            value: sigma * up - tau * down - z * e,
            slope: (sigma + dsigma) * up + (tau - dtau) * down,
            noise: 0.5 * f64::EPSILON * (sigma.abs() * up + tau.abs() * down + (z * e).abs()),
        }
    })
}

/// The middle eigenvalue, as (lambda, 1 - lambda).
fn curvature(rho: f64, z: &[f64], s: &[f64]) -> (f64, f64) {
    let e = (-rho.abs()).exp();
    // e^(-|rho|/2), squared with its factor, so that rho^2 e^-|rho| cannot become inf * 0.
    let half = (-0.5 * rho.abs()).exp();
    if rho > 0.0 {
        let co = s[2] * (e * (1.0 + e * e) + ((1.0 - rho) * half).powi(2));
        fractions(-z[0] * (1.0 + e * e + (rho * e).powi(2)), co)
    } else {
        let co = s[1] * (1.0 + e * e + ((1.0 - rho) * e).powi(2));
        fractions(z[2] * (e * (1.0 + e * e) + (rho * half).powi(2)), co)
    }
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}
