//! Golden values of the three curved cones, made by tests/data/make_curved.py.

use crate::projection::spectral::{Piece, Spectral};

use super::support::{Cone, Projected, dense, distance, norm};

pub struct Golden {
    pub cone: Cone,
    pub v: Vec<f64>,
    pub z: Vec<f64>,
    pub s: Vec<f64>,
    /// Upper triangle row by row.
    pub d: Vec<f64>,
    /// Eigenvalues strictly between 0 and 1, ascending.
    pub lambda: Vec<f64>,
    pub colambda: Vec<f64>,
    pub piece: Piece,
}

pub fn golden(text: &str) -> Vec<Golden> {
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let numbers = |k: usize| -> Vec<f64> {
                fields[k]
                    .split_whitespace()
                    .map(|x| x.parse().unwrap())
                    .collect()
            };
            let (alphas, v) = (numbers(1), numbers(2));
            let cone = match alphas.len() {
                0 => Cone::Exponential,
                n => Cone::GeneralizedPower(alphas, v.len() - n),
            };
            let piece = match fields[0] {
                "polar" => Piece::PolarInterior,
                "dual" => Piece::DualInterior,
                "face" => Piece::Face,
                _ => Piece::Curved,
            };
            Golden {
                cone,
                v,
                z: numbers(3),
                s: numbers(4),
                d: numbers(5),
                lambda: numbers(6),
                colambda: numbers(7),
                piece,
            }
        })
        .collect()
}

#[derive(Debug, Default)]
pub struct GoldenErrors {
    /// |z - exact| / |v|, the same for s.
    pub z: f64,
    pub s: f64,
    /// Largest entry of D - exact.
    pub d: f64,
    /// Relative error of lambda and 1 - lambda from the computed z and s, times min(|z|, |s|) / |v|: near a boundary
    /// the small one of z and s is only known to rounding errors of v.
    pub eigenvalues: f64,
    /// The same from the exact z and s rounded to double, without that factor.
    pub eigenvalues_from_exact: f64,
}

pub fn golden_errors(points: &[Golden]) -> GoldenErrors {
    let mut worst = GoldenErrors::default();
    for g in points {
        let size = norm(&g.v);
        let Projected { piece, z, s } = g.cone.project(&g.v);
        assert_eq!(piece, g.piece, "{:?} {:?}", g.cone, g.v);
        worst.z = worst.z.max(distance(&z, &g.z) / size);
        worst.s = worst.s.max(distance(&s, &g.s) / size);
        let computed = g.cone.element(piece, &g.v, &z, &s);
        let full = dense(&computed);
        let n = g.v.len();
        let upper = (0..n).flat_map(|i| (i..n).map(move |j| i * n + j));
        for (k, exact) in upper.zip(&g.d) {
            worst.d = worst.d.max((full[k] - exact).abs());
        }
        if piece != Piece::Curved {
            continue;
        }
        let small = norm(&g.z).min(norm(&g.s)) / size;
        worst.eigenvalues = worst
            .eigenvalues
            .max(small * eigenvalue_error(&computed, g));
        let exact = g.cone.element(piece, &g.v, &g.z, &g.s);
        worst.eigenvalues_from_exact = worst
            .eigenvalues_from_exact
            .max(eigenvalue_error(&exact, g));
    }
    worst
}

/// Worst relative error of the eigenvalues between 0 and 1 and of their complements, above 1e-30.
fn eigenvalue_error(spectral: &Spectral, g: &Golden) -> f64 {
    let mut pairs: Vec<(f64, f64)> = (2..spectral.dim)
        .map(|k| (spectral.lambda[k], spectral.colambda[k]))
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    // The file leaves out eigenvalues within 1e-60 of 0 and 1.
    pairs.retain(|&(l, c)| l > 1e-60 && c > 1e-60);
    let relative = |actual: f64, exact: f64| {
        if exact > 1e-30 {
            (actual - exact).abs() / exact
        } else {
            0.0
        }
    };
    if pairs.len() != g.lambda.len() {
        return f64::INFINITY;
    }
    pairs
        .iter()
        .zip(g.lambda.iter().zip(&g.colambda))
        .map(|(&(l, c), (&exact_l, &exact_c))| relative(l, exact_l).max(relative(c, exact_c)))
        .fold(0.0, f64::max)
}
