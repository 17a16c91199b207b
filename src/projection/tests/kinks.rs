//! The elements a kink stands for against those at smooth points around it: lower <= D <= upper, up to what D turns within the ball.

use super::support::{Random, axpy, norm};
use crate::cone::Cone;
use crate::projection::kink::{Element, cone_turn};
use crate::projection::{Block, Projection};
use faer::{Mat, Side};

/// D as a dense matrix.
fn dense(projection: &Projection) -> Mat<f64> {
    let m = projection.z().len();
    let mut out = Mat::zeros(m, m);
    for j in 0..m {
        let (mut axis, mut column) = (vec![0.0; m], vec![0.0; m]);
        axis[j] = 1.0;
        projection.apply(&axis, &mut column).unwrap();
        for i in 0..m {
            out[(i, j)] = column[i];
        }
    }
    out
}

fn least_eigenvalue(a: &Mat<f64>) -> f64 {
    // Denormal entries make the iteration fail.
    let a = Mat::from_fn(a.nrows(), a.ncols(), |i, j| {
        if a[(i, j)].abs() < 1e-200 {
            0.0
        } else {
            a[(i, j)]
        }
    });
    let values = a.self_adjoint_eigenvalues(Side::Lower).unwrap();
    values.into_iter().fold(f64::INFINITY, f64::min)
}

/// What is found around a point.
struct Around {
    /// True if a kink is within the radius.
    is_kink: bool,
    /// The size of what D turns with.
    size: f64,
    /// By how much elements within the radius leave the bounds of the kink or, without one, differ from D.
    violation: f64,
}

fn around(cone: &Cone, v: &[f64], radius: f64, count: usize, random: &mut Random) -> Around {
    let cones = std::slice::from_ref(cone);
    let here = Projection::new(cones, v).unwrap();
    let kinks = here.kinks_within(cones, v, &vec![radius; v.len()]);
    let at = |element| dense(&here.with_elements(cones, &kinks, &[element]));
    let (lower, upper) = match kinks.is_empty() {
        true => (dense(&here), dense(&here)),
        false => (at(Element::Lower), at(Element::Upper)),
    };
    let size = match (kinks.first(), &here.blocks()[0]) {
        (Some((_, kink)), _) => kink.stiffness(cone, v),
        (None, Block::Identity(_) | Block::Vanishing(_)) => f64::INFINITY,
        (None, _) => here.margins()[0].margin.min(cone_turn(cone, v)),
    };
    let mut violation = -least_eigenvalue(&(&upper - &lower));
    for k in 0..count {
        let direction = random.normals(v.len());
        // Half of the points on the sphere, the others at all scales inside.
        let share = [1.0, 10.0_f64.powf(-6.0 * random.unit())][k % 2];
        let there = axpy(v, share * radius / norm(&direction), &direction);
        let d = dense(&Projection::new(cones, &there).unwrap());
        let outside = least_eigenvalue(&(&d - &lower)).min(least_eigenvalue(&(&upper - &d)));
        violation = violation.max(-outside);
    }
    Around {
        is_kink: !kinks.is_empty(),
        size,
        violation,
    }
}

/// Points on the boundaries of pieces and where they meet, with a word on each.
fn exponential_points() -> Vec<(String, Vec<f64>)> {
    let mut points = Vec::new();
    for rho in [
        -8.0_f64, -3.0, -1.0, -0.3, 0.0, 0.4, 1.0, 1.7, 4.0, 9.0, 18.0,
    ] {
        let unit = |v: [f64; 3]| {
            let norm = super::support::norm(&v);
            v.iter().map(|x| x / norm).collect::<Vec<f64>>()
        };
        let s = unit([rho, 1.0, rho.exp()]);
        let z = unit([-1.0, rho - 1.0, (-rho).exp()]);
        points.push((
            format!("z = 0, rho = {rho}"),
            s.iter().map(|x| -x).collect(),
        ));
        points.push((format!("s = 0, rho = {rho}"), z));
    }
    for v in [
        [0.0, 1.0, 1.0],
        [0.0, 1.0, -1.0],
        [1.0, 0.0, 1.0],
        [1.0, 0.0, -1.0],
        [1.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, -1.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.01, 1.0],
        [0.01, 0.0, 1.0],
        [1.0, 0.01, 0.0],
        [0.01, 1.0, 0.0],
        [0.0, 1.0, 0.01],
        [0.0, 1.0, -0.01],
        [0.0, 0.01, -1.0],
        [0.01, 0.0, -1.0],
    ] {
        points.push((format!("edge {v:?}"), v.to_vec()));
    }
    points
}

fn power_points(alphas: &[f64], d: usize, random: &mut Random) -> Vec<(String, Vec<f64>)> {
    let n = alphas.len();
    let mut points = Vec::new();
    for spread in [0.0, 1.0, 3.0, 6.0] {
        let u: Vec<f64> = (0..n)
            .map(|_| (spread * (random.unit() - 0.5)).exp())
            .collect();
        let length: f64 = u.iter().zip(alphas).map(|(u, a)| u.powf(*a)).product();
        let w = random.normals(d);
        let size = super::support::norm(&w);
        let s: Vec<f64> = u
            .iter()
            .copied()
            .chain(w.iter().map(|w| w * length / size))
            .collect();
        let z: Vec<f64> = alphas
            .iter()
            .zip(&u)
            .map(|(a, u)| a * length / u)
            .chain(w.iter().map(|w| -w / size))
            .collect();
        for (name, sign, v) in [("z = 0", -1.0, s), ("s = 0", 1.0, z)] {
            let size = super::support::norm(&v);
            points.push((
                format!("{name}, spread {spread}"),
                v.iter().map(|x| sign * x / size).collect(),
            ));
        }
    }
    let states = 3_usize.pow(n as u32);
    for state in 0..states {
        let mut v: Vec<f64> = (0..n)
            .map(|i| (state / 3_usize.pow(i as u32) % 3) as f64 - 1.0)
            .collect();
        if !v.contains(&0.0) {
            continue;
        }
        v.extend(vec![0.0; d]);
        points.push((format!("edge {v:?}"), v));
    }
    points
}

#[test]
fn elements_around_every_border_and_corner_lie_between_the_extremes() {
    let mut random = Random(3);
    let mut points: Vec<(Cone, String, Vec<f64>)> = exponential_points()
        .into_iter()
        .map(|(name, v)| (Cone::Exponential, name, v))
        .collect();
    for alphas in [
        vec![0.5, 0.5],
        vec![0.3, 0.7],
        vec![0.05, 0.95],
        vec![0.2, 0.3, 0.5],
        vec![1.0],
    ] {
        for d in [1, 2] {
            let cone = match (d, &alphas[..]) {
                (1, [a, _]) => Cone::Power(*a),
                _ => Cone::GeneralizedPower(alphas.clone(), d),
            };
            let own = power_points(&alphas, d, &mut random);
            points.extend(own.into_iter().map(|(name, v)| (cone.clone(), name, v)));
        }
    }
    let mut worst = 0.0_f64;
    for (cone, name, v) in &points {
        for radius in [1e-9, 1e-6, 1e-3] {
            // On the border, and beside it.
            for offset in [0.0, 1e-12, 0.3 * radius] {
                let v = axpy(v, offset / (v.len() as f64), &random.normals(v.len()));
                let found = around(cone, &v, radius, 60, &mut random);
                assert!(found.is_kink, "{cone:?} {name} {radius:e} {offset:e}");
                let turn = 4.0 * radius / found.size;
                let outside = found.violation;
                assert!(
                    outside <= turn + 1e-9,
                    "{cone:?} {name} {radius:e} {offset:e}: {outside:e} {turn:e}"
                );
                if turn < 0.1 && outside > 1e-12 {
                    worst = worst.max(outside / turn);
                }
            }
        }
    }
    println!(
        "{} points, at most {worst:.2} of what is assumed",
        points.len()
    );
}

#[test]
fn elements_turn_no_faster_than_the_reports_within_a_distance_assume() {
    let mut random = Random(5);
    let cones = [
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::Power(0.5),
        Cone::Power(0.05),
        Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2),
        Cone::GeneralizedPower(vec![0.1, 0.1, 0.8], 1),
        Cone::SecondOrder(3),
        Cone::PsdTriangle(3),
    ];
    for cone in cones {
        let mut tried = 0;
        for k in 0..1500 {
            let mut v = random.normals(cone.rows());
            let here = Projection::new(std::slice::from_ref(&cone), &v).unwrap();
            let small = 10.0_f64.powf(-4.0 * random.unit());
            let both = here.z().iter().zip(here.s());
            // Random, near s = 0, near z = 0, with entries of mixed scales.
            match k % 4 {
                0 => {}
                1 => v = both.map(|(z, s)| z - small * s).collect(),
                2 => v = both.map(|(z, s)| small * z - s).collect(),
                _ => v
                    .iter_mut()
                    .for_each(|x| *x *= 10.0_f64.powf((-4.0 * random.unit()).min(0.0))),
            }
            let radius = 10.0_f64.powf(-4.0 * random.unit() - 1.0);
            let found = around(&cone, &v, radius, 12, &mut random);
            let turn = 4.0 * radius / found.size;
            if turn > 0.3 {
                continue;
            }
            tried += 1;
            assert!(
                found.violation <= turn + 1e-9,
                "{cone:?} {v:?} within {radius:e}: {:e} and {turn:e}",
                found.violation
            );
        }
        println!("{cone:?}: {tried}");
        assert!(tried >= 400);
    }
}
