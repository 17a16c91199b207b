//! Every smoothed cone: the equations that define it, D against differences, the limit mu -> 0, and eigenvalues to relative accuracy.

use crate::cone::Cone;
use crate::projection::{Block, Projection};
use crate::random::Random;
use crate::tangent::{dot, norm_max};

/// Central differences of an exact map.
const DIFFERENCES: f64 = 1e-7;

/// The cones with the degree of their barrier.
fn cones() -> Vec<(Cone, f64)> {
    vec![
        (Cone::Zero(2), 0.0),
        (Cone::Nonnegative(3), 3.0),
        (Cone::SecondOrder(1), 1.0),
        (Cone::SecondOrder(2), 1.0),
        (Cone::SecondOrder(4), 1.0),
        (Cone::SecondOrder(7), 1.0),
        (Cone::PsdTriangle(1), 1.0),
        (Cone::PsdTriangle(2), 2.0),
        (Cone::PsdTriangle(4), 4.0),
        (Cone::Exponential, 3.0),
        (Cone::Power(0.5), 3.0),
        (Cone::Power(0.07), 3.0),
        (Cone::Power(0.8), 3.0),
        (Cone::GeneralizedPower(vec![1.0], 2), 2.0),
        (Cone::GeneralizedPower(vec![0.2, 0.5, 0.3], 1), 4.0),
        (Cone::GeneralizedPower(vec![0.1, 0.2, 0.3, 0.4], 3), 5.0),
    ]
}

fn smoothed(cone: &Cone, v: &[f64], mu: f64) -> Projection {
    Projection::smoothed(std::slice::from_ref(cone), v, mu).unwrap()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    norm_max(&d)
}

/// How far a point is outside a cone: |s - Pi_K(s)|, and of the dual.
fn violations(cone: &Cone, z: &[f64], s: &[f64]) -> f64 {
    let cones = std::slice::from_ref(cone);
    // -s in the polar of K* if and only if s in K.
    let negative: Vec<f64> = s.iter().map(|s| -s).collect();
    let of_s = norm(Projection::new(cones, &negative).unwrap().z());
    let of_z = norm(Projection::new(cones, z).unwrap().s());
    of_s.max(of_z)
}

#[test]
fn the_smoothed_projection_satisfies_its_equations_for_every_ratio_of_mu_to_v() {
    for (cone, degree) in cones() {
        let mut random = Random::new(11);
        for exponent in -16..=8 {
            for _ in 0..40 {
                let v = random.normals(cone.rows());
                let size = norm(&v);
                let mu = 10.0_f64.powi(exponent) * size * size;
                let p = smoothed(&cone, &v, mu);
                let (z, s) = (p.z(), p.s());
                let scale = norm(z).max(norm(s));
                let gap: Vec<f64> = z.iter().zip(s).map(|(z, s)| z - s).collect();
                let error = difference(&gap, &v) / scale;
                assert!(
                    error <= 1e-13,
                    "{cone:?} {v:?} {mu:e}: z - s off by {error:e}"
                );
                let error = violations(&cone, z, s) / scale;
                assert!(
                    error <= 1e-14,
                    "{cone:?} {v:?} {mu:e}: outside by {error:e}"
                );
                let error = (dot(z, s) - degree * mu).abs();
                // The terms of <z, s> are as large as |z| |s|.
                let tolerance = 1e-12 * degree * mu + 1e-14 * norm(z) * norm(s);
                assert!(
                    error <= tolerance,
                    "{cone:?} {v:?} {mu:e}: <z, s> off by {error:e}"
                );
            }
        }
    }
}

#[test]
fn d_is_the_derivative_of_the_smoothed_projection() {
    for (cone, _) in cones() {
        let mut random = Random::new(5);
        for draw in 0..30 {
            let v = random.normals(cone.rows());
            let mu = [1e-4, 1e-2, 1.0, 1e2][draw % 4];
            let p = smoothed(&cone, &v, mu);
            for j in 0..v.len() {
                let mut unit = vec![0.0; v.len()];
                unit[j] = 1.0;
                let (mut d, mut rest) = (unit.clone(), unit.clone());
                p.apply(&unit, &mut d).unwrap();
                p.apply_complement(&unit, &mut rest).unwrap();
                let moved = |h: f64| {
                    let mut v = v.clone();
                    v[j] += h;
                    let p = smoothed(&cone, &v, mu);
                    (p.z().to_vec(), p.s().to_vec())
                };
                // Fourth order, with a step well below sqrt(mu).
                let h = 2e-3 * f64::sqrt(mu).min(1.0);
                let [(a, sa), (b, sb), (c, sc), (e, se)] =
                    [2.0, 1.0, -1.0, -2.0].map(|k| moved(k * h));
                let slope = |a: &[f64], b: &[f64], c: &[f64], e: &[f64], i: usize| {
                    (8.0 * (b[i] - c[i]) - (a[i] - e[i])) / (12.0 * h)
                };
                for i in 0..v.len() {
                    let error = (slope(&a, &b, &c, &e, i) - d[i]).abs();
                    assert!(
                        error <= DIFFERENCES,
                        "{cone:?} {v:?} {mu:e}: D off by {error:e}"
                    );
                    let error = (slope(&sa, &sb, &sc, &se, i) + rest[i]).abs();
                    assert!(
                        error <= DIFFERENCES,
                        "{cone:?} {v:?} {mu:e}: I - D off by {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_limit_is_the_projection() {
    for (cone, _) in cones() {
        let mut random = Random::new(2);
        for _ in 0..40 {
            let v = random.normals(cone.rows());
            let exact = Projection::new(std::slice::from_ref(&cone), &v).unwrap();
            let mut last = f64::INFINITY;
            for exponent in [-4, -8, -12, -16] {
                let mu = 10.0_f64.powi(exponent);
                let p = smoothed(&cone, &v, mu);
                let error = difference(p.z(), exact.z());
                // |s - s_mu|^2 is at most mu times the degree.
                assert!(error <= 3.0 * mu.sqrt(), "{cone:?} {v:?} {mu:e}: {error:e}");
                assert!(error <= last.max(1e-14), "{cone:?} {v:?} {mu:e}: {error:e}");
                last = error;
            }
        }
    }
}

/// Eigenvalues and their complements, whatever the block.
fn eigenvalues(block: &Block) -> Option<(Vec<f64>, Vec<f64>)> {
    match block {
        Block::Spectral(b) => Some((b.lambda.clone(), b.colambda.clone())),
        Block::Diagonal(b) => Some((b.lambda.clone(), b.colambda.clone())),
        _ => None,
    }
}

#[test]
fn eigenvalues_lie_inside_the_unit_interval_and_keep_their_relative_accuracy() {
    for (cone, _) in cones() {
        let mut random = Random::new(8);
        for exponent in [-16, -12, -8, -4, 0, 8] {
            for _ in 0..20 {
                let v = random.normals(cone.rows());
                let mu = 10.0_f64.powi(exponent);
                let p = smoothed(&cone, &v, mu);
                let Some((lambda, colambda)) = eigenvalues(&p.blocks()[0]) else {
                    continue;
                };
                for (l, c) in lambda.iter().zip(&colambda) {
                    assert!(*l > 0.0 && *c > 0.0, "{cone:?} {v:?} {mu:e}: {l:e} {c:e}");
                    assert!((l + c - 1.0).abs() <= 1e-14);
                }
                // z is homogeneous of degree one in (v, sqrt mu), and D of degree zero.
                let far: Vec<f64> = v.iter().map(|x| x * 1e3).collect();
                let again = smoothed(&cone, &far, mu * 1e6);
                let Some((other, coother)) = eigenvalues(&again.blocks()[0]) else {
                    continue;
                };
                for (a, b) in lambda
                    .iter()
                    .zip(&other)
                    .chain(colambda.iter().zip(&coother))
                {
                    assert!(
                        (a / b - 1.0).abs() <= 1e-11,
                        "{cone:?} {v:?} {mu:e}: {a:e} became {b:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_weight_that_is_not_positive_and_finite_is_refused() {
    for mu in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = Projection::smoothed(&[Cone::Nonnegative(1)], &[1.0], mu).unwrap_err();
        assert!(error.to_string().contains("setting mu"), "{error}");
    }
}

#[test]
fn exponential_and_power_cones_agree_with_sixty_digits() {
    let (mut points, mut values) = (0.0_f64, 0.0_f64);
    for line in include_str!("../../../tests/data/smoothed.csv").lines() {
        let fields: Vec<Vec<f64>> = line
            .split(',')
            .map(|f| f.split_whitespace().map(|x| x.parse().unwrap()).collect())
            .collect();
        let [alphas, mu, v, z, s, lambda, colambda] = fields.try_into().unwrap();
        let cone = match alphas.len() {
            0 => Cone::Exponential,
            2 => Cone::Power(alphas[0]),
            _ => Cone::GeneralizedPower(alphas, 1),
        };
        let p = smoothed(&cone, &v, mu[0]);
        let size = norm(&z).max(norm(&s));
        let error = difference(p.z(), &z).max(difference(p.s(), &s)) / size;
        points = points.max(error);
        let (mut own, mut coown) = eigenvalues(&p.blocks()[0]).unwrap();
        own.sort_by(f64::total_cmp);
        coown.sort_by(|a, b| b.total_cmp(a));
        for (a, b) in own.iter().zip(&lambda).chain(coown.iter().zip(&colambda)) {
            values = values.max((a / b - 1.0).abs());
        }
    }
    assert!(points <= 1e-14 && values <= 1e-12, "{points:e} {values:e}");
    println!("largest relative errors: points {points:.1e}, eigenvalues {values:.1e}");
}
