//! One choice of relu'(0) turns gradient descent on a strongly convex function into the Lorenz attractor.
//!
//!     minimize l(theta, s)   where s solves relu(s - theta) - relu(theta - s) = 0, that is s = theta
//!     l(theta, s) = -<theta, V(s)> + 30 |s|^2,   V the Lorenz field with parameters 10, 28, 8/3
//!
//! With both factors relu'(0) = c the implicit equation is B ds = B dtheta, B = 2c. For c > 0 that is ds = dtheta, right, and descent
//! goes to the minimum 0. For c = 0, the usual choice, B = 0 and the least-norm ds is 0: the formal gradient is d l/d theta = -V(s),
//! and theta - h (-V(theta)) is an Euler step of the Lorenz equations.
//!
//! The family of all B, from 0 to 2, holds a singular element: it is not certified, whatever the choice.
//!
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021.

mod figure;

use conediff::{DenseMatrix, FamilyCertificate, SelectionFamily};
use figure::{BLUE, INK, ORANGE, Result};
use plotters::prelude::*;

type Point = [f64; 3];
const STEP: f64 = 1e-3;
/// Distance of the two trajectories whose separation is measured.
const APART: f64 = 1e-8;

fn field([x, y, z]: Point) -> Point {
    [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]
}

fn dot(a: Point, b: Point) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// l(theta, theta) = theta' M theta with M positive definite, its eigenvalues from 15.9 to 55.1.
fn objective(theta: Point) -> f64 {
    -dot(theta, field(theta)) + 30.0 * dot(theta, theta)
}

/// The gradient of l by implicit differentiation, with c for relu'(0).
fn gradient(theta: Point, c: f64) -> Point {
    let s @ [x, y, z] = theta;
    let [a, b, d] = theta;
    // Both arguments of relu are zero at the solution; the pseudo-inverse of B = 0 is 0.
    let jacobian = c + c;
    let ds = if jacobian == 0.0 {
        0.0
    } else {
        (c + c) / jacobian
    };
    let pulled = [
        -10.0 * a + (28.0 - z) * b + y * d,
        10.0 * a - b + x * d,
        -x * b - 8.0 / 3.0 * d,
    ];
    let v = field(s);
    [0, 1, 2].map(|k| -v[k] + ds * (60.0 * s[k] - pulled[k]))
}

fn step(theta: Point, c: f64) -> Point {
    let g = gradient(theta, c);
    [0, 1, 2].map(|k| theta[k] - STEP * g[k])
}

/// Every B in one coordinate: B = c_1 + c_2, each factor between the slopes 0 and 1 of relu.
fn selections() -> Result<FamilyCertificate> {
    let zero = DenseMatrix {
        rows: 1,
        cols: 1,
        data: vec![0.0],
    };
    let one = [1.0];
    let family = SelectionFamily::new(zero)?.with_term(&one, &one, 0.0, 1.0)?;
    Ok(family.with_term(&one, &one, 0.0, 1.0)?.certify()?)
}

fn main() -> Result<()> {
    let certificate = selections()?;
    println!("{certificate:?}");
    let (mut theta, mut twin) = ([1.0; 3], [1.0 + APART, 1.0, 1.0]);
    let (mut growth, mut switches) = (0.0, 0);
    let mut wings = vec![theta];
    for k in 0..1_000_000 {
        let next = step(theta, 0.0);
        switches += u32::from(k < 200_000 && (next[0] > 0.0) != (theta[0] > 0.0));
        theta = next;
        twin = step(twin, 0.0);
        let apart: Point = [0, 1, 2].map(|j| twin[j] - theta[j]);
        let distance = dot(apart, apart).sqrt();
        growth += (distance / APART).ln();
        twin = [0, 1, 2].map(|j| theta[j] + apart[j] * APART / distance);
        if k < 25_000 {
            wings.push(theta);
        }
    }
    let exponent = growth / (1_000_000.0 * STEP);
    // The other choice, from where the first had got to.
    let mut path = wings[wings.len() - 1..].to_vec();
    for k in 0..2_000 {
        path.push(step(path[k], 0.5));
    }
    let end = objective(path[path.len() - 1]);
    println!(
        "relu'(0) = 0:   Lyapunov exponent {exponent:.3}, {switches} switches in 200 time units"
    );
    println!("relu'(0) = 1/2: objective {end:.1e} after 2 time units");

    figure::draw("chaos", |area| {
        let (left, right) = area.split_horizontally(950);
        let title = "The same descent, two choices of relu'(0)";
        let labels = ["first coordinate", "third coordinate"];
        let mut chart = figure::axes(&left, title, labels, -20.0..22.0, -5.0..60.0)?;
        let plane = |path: &[Point]| -> Vec<(f64, f64)> {
            path.iter().step_by(10).map(|p| (p[0], p[2])).collect()
        };
        figure::line(&mut chart, plane(&wings), ORANGE, 2, "relu'(0) = 0")?;
        figure::line(&mut chart, plane(&path), BLUE, 6, "relu'(0) = 1/2")?;
        figure::discs(&mut chart, [(0.0, 0.0)], INK, 9, "minimum")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        let title = "The objective, strongly convex";
        let labels = ["time (sum of steps)", "log10 of the objective"];
        let mut chart = figure::axes(&right, title, labels, 0.0..28.0, -16.0..8.0)?;
        let heights = |start: f64, path: &[Point]| -> Vec<(f64, f64)> {
            let thinned = path.iter().enumerate().step_by(10);
            thinned
                .map(|(k, p)| (start + STEP * k as f64, objective(*p).log10()))
                .collect()
        };
        figure::line(&mut chart, heights(0.0, &wings), ORANGE, 5, "relu'(0) = 0")?;
        figure::line(&mut chart, heights(25.0, &path), BLUE, 5, "relu'(0) = 1/2")?;
        figure::legend(&mut chart, SeriesLabelPosition::LowerLeft)
    })?;

    // The one singular element is the choice that fails.
    let FamilyCertificate::NotCertified(singular) = certificate else {
        return Err("certified".into());
    };
    assert_eq!(singular.lambda, [0.0, 0.0]);
    assert!((exponent - 0.92).abs() < 0.05 && switches > 100);
    assert!(end <= 1e-12);
    Ok(())
}
