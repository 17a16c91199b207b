//! What the tests of the three curved cones share: one cone as a value, and the checks as functions of it.

use crate::projection::spectral::{Piece, Spectral};
use crate::projection::{exponential, generalized_power, power};

/// Exact algebra in double precision: a few hundred rounding errors.
pub const ALGEBRA: f64 = 1e-13;
/// Central differences of an exact projection.
pub const DIFFERENCES: f64 = 1e-7;

#[derive(Clone, Debug)]
pub enum Cone {
    Exponential,
    Power(f64),
    GeneralizedPower(Vec<f64>, usize),
}

pub struct Projected {
    pub piece: Piece,
    pub z: Vec<f64>,
    pub s: Vec<f64>,
}

impl Cone {
    pub fn dim(&self) -> usize {
        match self {
            Cone::Exponential | Cone::Power(_) => 3,
            Cone::GeneralizedPower(alphas, d) => alphas.len() + d,
        }
    }

    fn alphas(&self) -> Vec<f64> {
        match self {
            Cone::Exponential => vec![],
            Cone::Power(alpha) => vec![*alpha, 1.0 - alpha],
            Cone::GeneralizedPower(alphas, _) => alphas.clone(),
        }
    }

    pub fn project(&self, v: &[f64]) -> Projected {
        let (mut z, mut s) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        let piece = match self {
            Cone::Exponential => exponential::project(v, &mut z, &mut s),
            Cone::Power(alpha) => power::project(*alpha, v, &mut z, &mut s),
            Cone::GeneralizedPower(alphas, _) => {
                generalized_power::project(alphas, v, &mut z, &mut s)
            }
        };
        Projected { piece, z, s }
    }

    pub fn element(&self, piece: Piece, v: &[f64], z: &[f64], s: &[f64]) -> Spectral {
        let mut out = Spectral::new(v.len());
        match self {
            Cone::Exponential => exponential::element(piece, v, z, s, &mut out),
            Cone::Power(alpha) => power::element(*alpha, piece, v, z, s, &mut out),
            Cone::GeneralizedPower(alphas, _) => {
                generalized_power::element(alphas, piece, v, z, s, &mut out)
            }
        }
        out
    }

    pub fn element_at(&self, v: &[f64]) -> Spectral {
        let Projected { piece, z, s } = self.project(v);
        self.element(piece, v, &z, &s)
    }

    pub fn margin(&self, v: &[f64]) -> f64 {
        let Projected { piece, z, s } = self.project(v);
        match self {
            Cone::Exponential => exponential::margin(piece, v, &z, &s),
            Cone::Power(alpha) => power::margin(*alpha, piece, v, &z, &s),
            Cone::GeneralizedPower(alphas, _) => {
                generalized_power::margin(alphas, piece, v, &z, &s)
            }
        }
    }

    /// An upper bound on the distance of s to K, to first order.
    pub fn primal_violation(&self, s: &[f64]) -> f64 {
        if let Cone::Exponential = self {
            return exponential_violation(s[0], s[1], s[2]);
        }
        let alphas = self.alphas();
        power_violation(&alphas, &s[..alphas.len()], &s[alphas.len()..])
    }

    /// An upper bound on the distance of z to K*, to first order.
    pub fn dual_violation(&self, z: &[f64]) -> f64 {
        if let Cone::Exponential = self {
            // (u, v, w) in K* iff (u - v, -u, w) in K; this linear map stretches distances by at most 2.
            return 2.0 * exponential_violation(z[0] - z[1], -z[0], z[2]);
        }
        let alphas = self.alphas();
        let (u, w) = z.split_at(alphas.len());
        let weighted: Vec<f64> = u.iter().zip(&alphas).map(|(x, a)| x / a).collect();
        power_violation(&alphas, &weighted, w)
    }
}

/// Violation of `y exp(x/y) <= z` divided by the size of its gradient, multiplied through by exp(-max(x/y, 0)).
fn exponential_violation(x: f64, y: f64, z: f64) -> f64 {
    if y <= 0.0 {
        return x.max(0.0).max(-y).max(-z);
    }
    let rho = x / y;
    let (up, down) = if rho > 0.0 {
        (1.0, (-rho).exp())
    } else {
        (rho.exp(), 1.0)
    };
    let gradient = up.hypot(up * (1.0 - rho)).hypot(down);
    (y * up - z * down).max(0.0) / gradient
}

/// The least 2^-k |x| that, added to every u and taken off |w|, makes `prod u_i^alpha_i >= |w|` hold.
fn power_violation(alphas: &[f64], u: &[f64], w: &[f64]) -> f64 {
    let length = norm(w);
    let holds = |t: f64| {
        let product: f64 = u
            .iter()
            .zip(alphas)
            .map(|(x, &a)| (x + t).powf(a))
            .product();
        product >= length - t && u.iter().all(|x| x + t >= 0.0)
    };
    let mut t = 2.0 * norm(u).max(length);
    while t > 1e-300 && holds(0.5 * t) {
        t *= 0.5;
    }
    t
}

pub fn norm(x: &[f64]) -> f64 {
    let scale = x.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
    if scale == 0.0 {
        return 0.0;
    }
    scale * x.iter().map(|e| (e / scale).powi(2)).sum::<f64>().sqrt()
}

pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    norm(&x.iter().zip(y).map(|(a, b)| a - b).collect::<Vec<_>>())
}

pub fn axpy(x: &[f64], t: f64, d: &[f64]) -> Vec<f64> {
    x.iter().zip(d).map(|(a, b)| a + t * b).collect()
}

/// D as a dense matrix, row by row (it is symmetric).
pub fn dense(spectral: &Spectral) -> Vec<f64> {
    let n = spectral.dim;
    let mut out = vec![0.0; n * n];
    for j in 0..n {
        let mut axis = vec![0.0; n];
        axis[j] = 1.0;
        spectral.apply(&axis, &mut out[j * n..(j + 1) * n]);
    }
    out
}

/// Splitmix64: the deterministic sampling of the loops that need counts proptest does not give.
pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal: the sum of twelve uniforms.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

/// Points of all pieces and scales, for proptest: `kind` 0 is random, 1 has entries of mixed scales, 2 and 3 are near
/// the boundaries, with |z|/|s| = 10^exponent, or its inverse.
pub fn point(cone: &Cone, kind: u8, seed: u64, exponent: f64, scale: f64) -> Vec<f64> {
    let mut random = Random(seed);
    let v: Vec<f64> = random.normals(cone.dim());
    let v = match kind {
        0 => v,
        1 => v
            .iter()
            .map(|x| x * 10.0_f64.powf(24.0 * random.unit() - 12.0))
            .collect(),
        _ => {
            let Projected { z, s, .. } = cone.project(&v);
            let t = 10.0_f64.powf(-exponent.abs());
            let (a, b) = if kind == 2 { (t, 1.0) } else { (1.0, t) };
            z.iter().zip(&s).map(|(z, s)| a * z - b * s).collect()
        }
    };
    v.iter().map(|x| x * 10.0_f64.powf(scale)).collect()
}

/// Vectors of special values: zeros, ones, huge, tiny and non-finite entries.
pub fn special(dim: usize, seed: u64) -> Vec<f64> {
    const VALUES: [f64; 16] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.0,
        -1.0,
        1e300,
        -1e300,
        1e-300,
        -1e-300,
        5e-324,
        -5e-324,
        1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let mut random = Random(seed);
    let finite = random.unit() < 0.8;
    let choices = if finite { 13.0 } else { 16.0 };
    (0..dim)
        .map(|_| VALUES[(random.unit() * choices) as usize])
        .collect()
}

/// Projection, element and margin end without a panic, and are finite for finite input.
pub fn check_special(cone: &Cone, v: &[f64]) -> Result<(), String> {
    let Projected { piece, z, s } = cone.project(v);
    let d = cone.element(piece, v, &z, &s);
    let margin = cone.margin(v);
    if v.iter().any(|x| !x.is_finite()) {
        return Ok(());
    }
    let all = z.iter().chain(&s).chain(&d.lambda).chain(&d.vectors);
    if all.chain([&margin]).all(|x| x.is_finite()) {
        Ok(())
    } else {
        Err(format!(
            "{cone:?} {v:?}: {piece:?} {z:?} {s:?} {d:?} {margin}"
        ))
    }
}

/// The identities that hold at every point; returns the worst relative error.
pub fn check_identities(cone: &Cone, v: &[f64]) -> Result<f64, String> {
    let n = cone.dim();
    let size = norm(v);
    let Projected { piece, z, s } = cone.project(v);
    let mut worst = 0.0_f64;
    let mut claim = |name: &str, error: f64, tolerance: f64| {
        worst = worst.max(error);
        if error <= tolerance {
            Ok(())
        } else {
            Err(format!(
                "{name}: {error:e} at {cone:?} {piece:?} v = {v:?}, z = {z:?}, s = {s:?}"
            ))
        }
    };
    if size == 0.0 {
        return claim("apex", norm(&z) + norm(&s), 0.0).map(|()| 0.0);
    }
    let difference = axpy(&z, -1.0, &s);
    claim("Moreau", distance(&difference, v) / size, ALGEBRA)?;
    let unit = |x: &[f64]| x.iter().map(|e| e / size).collect::<Vec<_>>();
    claim("complementarity", dot(&unit(&z), &unit(&s)).abs(), ALGEBRA)?;
    claim("s in K", cone.primal_violation(&s) / size, ALGEBRA)?;
    claim("z in K*", cone.dual_violation(&z) / size, ALGEBRA)?;

    let again = cone.project(&z);
    claim("idempotent", distance(&again.z, &z) / size, ALGEBRA)?;
    let polar = cone.project(&s.iter().map(|x| -x).collect::<Vec<_>>());
    claim("idempotent on K", distance(&polar.s, &s) / size, ALGEBRA)?;
    for factor in [3.7e-7, 2.9e5] {
        let scaled: Vec<f64> = v.iter().map(|x| x * factor).collect();
        let other = cone.project(&scaled);
        let expected: Vec<f64> = z.iter().map(|x| x * factor).collect();
        claim(
            "homogeneous",
            distance(&other.z, &expected) / (factor * size),
            ALGEBRA,
        )?;
    }

    let d = cone.element(piece, v, &z, &s);
    for k in 0..n {
        let (l, c) = (d.lambda[k], d.colambda[k]);
        let inside = (0.0..=1.0).contains(&l) && (0.0..=1.0).contains(&c);
        claim("eigenvalues in [0, 1]", if inside { 0.0 } else { 1.0 }, 0.0)?;
        claim("lambda + colambda", (l + c - 1.0).abs(), ALGEBRA)?;
        for j in 0..=k {
            let target = if j == k { 1.0 } else { 0.0 };
            let error = (dot(d.vector(j), d.vector(k)) - target).abs();
            claim("orthonormal", error, ALGEBRA)?;
        }
    }
    let mut image = vec![0.0; n];
    d.apply(v, &mut image);
    claim("D v = z", distance(&image, &z) / size, 10.0 * ALGEBRA)?;
    d.apply_complement(v, &mut image);
    let minus_s: Vec<f64> = s.iter().map(|x| -x).collect();
    claim(
        "(I - D) v = -s",
        distance(&image, &minus_s) / size,
        10.0 * ALGEBRA,
    )?;
    Ok(worst)
}

/// Largest entry of D minus central differences of z, extrapolated twice. The step is the one where two steps agree
/// best, chosen without looking at D.
pub fn difference_error(cone: &Cone, v: &[f64]) -> f64 {
    let n = cone.dim();
    let d = dense(&cone.element_at(v));
    let mut worst = 0.0_f64;
    for j in 0..n {
        let central = |h: f64| -> Vec<f64> {
            let (mut plus, mut minus) = (v.to_vec(), v.to_vec());
            plus[j] += h;
            minus[j] -= h;
            let width = plus[j] - minus[j];
            let (a, b) = (cone.project(&plus).z, cone.project(&minus).z);
            a.iter().zip(&b).map(|(x, y)| (x - y) / width).collect()
        };
        let extrapolated = |h: f64| -> Vec<f64> {
            let (a, b, c) = (central(4.0 * h), central(2.0 * h), central(h));
            (0..n)
                .map(|i| {
                    let (ab, bc) = ((4.0 * b[i] - a[i]) / 3.0, (4.0 * c[i] - b[i]) / 3.0);
                    (16.0 * bc - ab) / 15.0
                })
                .collect()
        };
        let (mut best, mut agreement) = (vec![], f64::INFINITY);
        let mut previous = extrapolated(1e-3);
        for h in [3e-4, 1e-4, 3e-5, 1e-5, 3e-6] {
            let current = extrapolated(h);
            let gap = distance(&current, &previous);
            if gap < agreement {
                (agreement, best) = (gap, current.clone());
            }
            previous = current;
        }
        for i in 0..n {
            worst = worst.max((best[i] - d[j * n + i]).abs());
        }
    }
    worst
}

/// Within 0.9 margin of v the piece stays and D is continuous; returns an error text otherwise.
pub fn check_margin(cone: &Cone, v: &[f64], random: &mut Random) -> Result<(), String> {
    let margin = cone.margin(v);
    if !(margin.is_finite() && margin >= 0.0) {
        return Err(format!("margin {margin} at {cone:?} {v:?}"));
    }
    let piece = cone.project(v).piece;
    let here = cone.element_at(v);
    for _ in 0..40 {
        let direction = random.normals(v.len());
        let t = 0.9 * margin / norm(&direction);
        let other = axpy(v, t, &direction);
        let found = cone.project(&other).piece;
        // Edges of the power cones (w = 0) are smooth points, and limits of the curved piece.
        let edge = |x: Piece| matches!(x, Piece::Face | Piece::Curved);
        let power = !matches!(cone, Cone::Exponential);
        let same = found == piece || (power && edge(piece) && edge(found));
        if !same {
            return Err(format!(
                "{piece:?} became {found:?} within {margin:e} of {v:?}, {cone:?}"
            ));
        }
        let constant = piece != Piece::Curved && found == piece && !power;
        if constant && cone.element_at(&other) != here {
            return Err(format!("D jumps within {margin:e} of {v:?}, {cone:?}"));
        }
    }
    Ok(())
}

/// In the interiors the margin is a lower bound of the distance to the boundary, by at most `factor`. The distance is
/// min <v, ray>/|ray| over the extreme rays of the other cone, sampled.
pub fn check_interior_margin(cone: &Cone, v: &[f64], rays: &[Vec<f64>], factor: f64) {
    let sampled = rays
        .iter()
        .map(|ray| dot(v, ray).abs() / norm(ray))
        .fold(f64::INFINITY, f64::min);
    let margin = cone.margin(v);
    assert!(
        margin <= sampled * (1.0 + 1e-9),
        "{cone:?} {v:?} {margin:e} {sampled:e}"
    );
    assert!(
        factor * margin >= 0.99 * sampled,
        "{cone:?} {v:?} {margin:e} {sampled:e}"
    );
}
