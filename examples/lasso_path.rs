//! The Lasso's path is piecewise linear: at its knots the derivative has a left and a right value, and leads from knot to knot.
//!
//!     minimize 1/2 |X beta - y|^2 + lambda |beta|_1,   beta = b+ - b-,   b+, b- >= 0
//!
//! At a knot a coefficient is about to enter: its bound is active with multiplier zero. The point is certified, so that the solution
//! is Lipschitz and has one-sided derivatives; the one towards smaller lambda gives the direction of the next piece, which ends
//! where a first bound or multiplier reaches zero.
//!
//! Efron, Hastie, Johnstone, Tibshirani, Least angle regression, 2004. Bertrand et al., Implicit differentiation for fast
//! hyperparameter selection in non-smooth convex learning, 2022.

mod figure;

use conediff::{ConeProgram, DataTangent, Derivative, ProgramBuilder, Selection, Settings, solve};
use figure::{BLUE, GREEN, GREY, ORANGE, Result};
use plotters::prelude::*;

const ROWS: usize = 24;
const P: usize = 8;

/// X and y of the reference problem.
fn data() -> (Vec<[f64; P]>, Vec<f64>) {
    let truth = [2.0, -1.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let row = |i: usize| {
        let i = i as f64;
        let x: [f64; P] = std::array::from_fn(|j| {
            let j = (j + 1) as f64;
            (1.0 + 3.7 * i * j + 0.3 * j * j).sin()
        });
        let fit: f64 = x.iter().zip(truth).map(|(x, b)| x * b).sum();
        (x, fit + 0.3 * (5.3 * i).cos())
    };
    (1..=ROWS).map(row).unzip()
}

/// Variables b+ and b-; q = lambda -/+ X'y is given with lambda.
fn lasso(x: &[[f64; P]], correlation: &[f64], lambda: f64) -> Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(2 * P);
    for j in 0..2 * P {
        let sign = |j: usize| if j < P { 1.0 } else { -1.0 };
        for i in 0..=j {
            let product: f64 = x.iter().map(|row| row[i % P] * row[j % P]).sum();
            builder.quadratic(i, j, sign(i) * sign(j) * product);
        }
        builder.linear(j, lambda - sign(j) * correlation[j % P]);
    }
    builder.bounds(0..2 * P, 0.0, f64::INFINITY);
    Ok(builder.build()?)
}

fn coefficients(x: &[f64]) -> Vec<f64> {
    (0..P).map(|j| x[j] - x[P + j]).collect()
}

/// A knot: lambda, the coefficients, and their derivatives in lambda on either side.
struct Knot {
    lambda: f64,
    beta: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
}

/// The knot there, and how far below it the next one is.
fn knot(derivative: &Derivative, lambda: f64) -> Result<(Knot, f64)> {
    let report = derivative.regularity()?;
    assert!(report.is_certified() && report.kinks.len() == 1, "{report}");
    let mut up = DataTangent::zeros(derivative.program());
    up.q.fill(1.0);
    let mut down = up.clone();
    down.q.fill(-1.0);
    let right = coefficients(&derivative.directional(&up)?.value.x);
    let below = derivative.directional(&down)?.value;
    let left: Vec<f64> = coefficients(&below.x).iter().map(|d| -d).collect();
    // A coefficient enters below: held at zero it has the right derivative, let go the left one.
    for (selection, side) in [(Selection::Active, &right), (Selection::Inactive, &left)] {
        let chosen = derivative.with_selection(selection)?.jvp(&up)?.value;
        assert!(is_close(&coefficients(&chosen.x), side, 1e-9));
    }
    // v = z - s changes sign where a multiplier or a coefficient reaches zero.
    let solution = derivative.solution();
    let distance = (0..2 * P)
        .map(|i| (solution.z[i] - solution.s[i], below.z[i] - below.s[i]))
        .filter(|(v, dv)| v.abs() > 1e-9 && v * dv < 0.0)
        .fold(lambda, |least, (v, dv)| least.min(-v / dv));
    let beta = coefficients(&solution.x);
    let knot = Knot {
        lambda,
        beta,
        left,
        right,
    };
    Ok((knot, distance))
}

fn is_close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

fn main() -> Result<()> {
    let (x, y) = data();
    let correlation: Vec<f64> = (0..P)
        .map(|j| x.iter().zip(&y).map(|(x, y)| x[j] * y).sum())
        .collect();
    let largest = correlation.iter().fold(0.0_f64, |m, c| m.max(c.abs()));
    let settings = Settings::default();
    let at = |lambda: f64| -> Result<Derivative> {
        let program = lasso(&x, &correlation, lambda)?;
        let solution = solve(&program, &settings)?;
        Ok(Derivative::new(&program, &solution, &settings)?)
    };

    let (mut lambda, mut knots) = (largest, Vec::new());
    while lambda > 1e-9 {
        let (knot, distance) = knot(&at(lambda)?, lambda)?;
        knots.push(knot);
        lambda -= distance;
    }
    println!("lambda      left and right derivatives of beta_1, beta_2, beta_5");
    for knot in &knots {
        let some = |d: &[f64]| [0, 1, 4].map(|j| d[j]);
        println!(
            "{:<11.6} {:8.4?} {:8.4?}",
            knot.lambda,
            some(&knot.left),
            some(&knot.right)
        );
    }
    let golden = at(0.1 * largest)?;
    let mut up = DataTangent::zeros(golden.program());
    up.q.fill(1.0);
    let slope = golden.jvp(&up)?;

    let names = [
        (0, BLUE, "beta_1"),
        (1, ORANGE, "beta_2"),
        (4, GREEN, "beta_5"),
    ];
    // One piece below each knot, down to the next.
    let ends: Vec<f64> = knots[1..].iter().map(|k| k.lambda).chain([0.0]).collect();
    figure::draw("lasso_path", |area| {
        let (left, right) = area.split_horizontally(950);
        let title = "The path, and both tangents at its knots";
        let labels = ["lambda", "coefficient"];
        let mut chart = figure::axes(&left, title, labels, 0.0..28.0, -2.0..2.5)?;
        for (j, color, name) in names {
            for knot in &knots[..3] {
                for slope in [knot.left[j], knot.right[j]] {
                    let tangent = |d: f64| (knot.lambda + d, knot.beta[j] + d * slope);
                    figure::line(&mut chart, [tangent(-4.0), tangent(2.5)], GREY, 3, "")?;
                }
            }
            let mut path = vec![(28.0, 0.0)];
            path.extend(knots.iter().map(|k| (k.lambda, k.beta[j])));
            figure::line(&mut chart, path, color, 6, name)?;
            let points = knots.iter().map(|k| (k.lambda, k.beta[j]));
            figure::discs(&mut chart, points, color, 8, "")?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        let title = "Its derivative in lambda has two values there";
        let labels = ["lambda", "derivative"];
        let mut chart = figure::axes(&right, title, labels, 0.0..28.0, -0.15..0.15)?;
        for (j, color, name) in names {
            for (knot, end) in knots.iter().zip(&ends) {
                let piece = [(*end, knot.left[j]), (knot.lambda, knot.left[j])];
                let name = if *end == 0.0 { name } else { "" };
                figure::line(&mut chart, piece, color, 6, name)?;
                let sides = [knot.left[j], knot.right[j]].map(|d| (knot.lambda, d));
                figure::discs(&mut chart, sides, color, 8, "")?;
            }
        }
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)
    })?;

    // Independent figures at a tenth of the largest lambda.
    let beta = [
        1.784283883881,
        -1.436150792536,
        0.0,
        0.0,
        0.772614992293,
        0.0,
        0.0,
        0.0,
    ];
    let dbeta = [
        -0.079431123283,
        0.076851793918,
        0.0,
        0.0,
        -0.079307653826,
        0.0,
        0.0,
        0.0,
    ];
    assert!((largest - 25.321792545283).abs() < 1e-9 && slope.trusted);
    assert!(is_close(&coefficients(&golden.solution().x), &beta, 1e-9));
    assert!(is_close(&coefficients(&slope.value.x), &dbeta, 1e-9));
    // Every piece starts where the last one ended, with its slope.
    for pair in knots.windows(2) {
        let step = pair[1].lambda - pair[0].lambda;
        let end: Vec<f64> = (0..P)
            .map(|j| pair[0].beta[j] + step * pair[0].left[j])
            .collect();
        assert!(
            is_close(&end, &pair[1].beta, 1e-9) && is_close(&pair[0].left, &pair[1].right, 1e-9)
        );
    }
    assert!(knots.len() == 8);
    Ok(())
}
