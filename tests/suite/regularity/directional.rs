//! One-sided derivatives against one-sided differences of refined solutions.

use super::support::{
    at, corners, diabetes, difference, lasso, lasso_tangent, moved, one_sided, program_at,
    weakly_active,
};
use crate::support::Random;
use conediff::{
    ConeProgram, DataTangent, Derivative, Error, Meaning, ProgramBuilder, Selection, Settings,
    Solution, SolutionTangent, solve,
};

fn scaled(tangent: &DataTangent, factor: f64) -> DataTangent {
    let scale = |v: &[f64]| v.iter().map(|x| factor * x).collect();
    DataTangent {
        p: scale(&tangent.p),
        q: scale(&tangent.q),
        a: scale(&tangent.a),
        b: scale(&tangent.b),
    }
}

/// A direction in all data; P stays positive definite.
fn direction(program: &ConeProgram, seed: u64) -> DataTangent {
    DataTangent::random(program, seed)
}

#[test]
fn at_every_kind_of_kink_the_directional_derivative_is_the_one_sided_one() {
    let mut worst = 0.0_f64;
    for corner in corners() {
        for seed in 0..3 {
            let (program, solution) = program_at(&corner, 10 + seed);
            let derivative = at(&program, &solution);
            assert!(!derivative.kinks().is_empty(), "{}", corner.name);
            let report = derivative.regularity().unwrap();
            assert!(report.is_certified(), "{}: {report}", corner.name);
            let forward = direction(&program, seed);
            let mut sides = Vec::new();
            for sign in [1.0, -1.0] {
                let tangent = scaled(&forward, sign);
                let found = derivative.directional(&tangent).unwrap();
                assert!(found.trusted && found.meaning == Meaning::OneSided);
                let expected = one_sided(&program, derivative.solution(), &tangent, 2e-5);
                let error = difference(&found.value, &expected);
                assert!(error < 2e-5, "{} {sign}: {error:e}", corner.name);
                worst = worst.max(error);
                sides.push(found.value);
            }
            // Positive homogeneity, for tiny directions too.
            let tiny = derivative
                .directional(&scaled(&forward, 1e-150))
                .unwrap()
                .value;
            let back = SolutionTangent {
                x: tiny.x.iter().map(|x| 1e150 * x).collect(),
                z: tiny.z.iter().map(|x| 1e150 * x).collect(),
                s: tiny.s.iter().map(|x| 1e150 * x).collect(),
            };
            assert!(difference(&back, &sides[0]) < 1e-9, "{}", corner.name);
        }
    }
    println!("largest difference {worst:.1e}");
}

/// A quadratic program with given numbers of active, inactive and weakly active rows, and a direction in q and b.
pub fn quadratic(weak: usize, seed: u64) -> (ConeProgram, DataTangent) {
    let (n, active, inactive) = (6, 2, 3);
    let m = active + inactive + weak;
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new(n);
    let x = random.normal_vec(n);
    let rows: Vec<Vec<f64>> = (0..m).map(|_| random.normal_vec(n)).collect();
    for j in 0..n {
        builder.quadratic(j, j, 1.0 + j as f64);
        let pull: f64 = (0..active).map(|i| rows[i][j]).sum();
        builder.linear(j, -(1.0 + j as f64) * x[j] - pull);
    }
    for (i, row) in rows.iter().enumerate() {
        let entries: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
        let value: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
        let slack = f64::from(u8::from((active..active + inactive).contains(&i)));
        builder.inequality(&entries, value + slack);
    }
    let program = builder.build().unwrap();
    let mut tangent = DataTangent::random(&program, seed);
    tangent.p.fill(0.0);
    tangent.a.fill(0.0);
    (program, tangent)
}

#[test]
fn active_and_inactive_are_the_two_sides_of_one_weakly_active_row() {
    for seed in 0..20 {
        let (program, tangent) = quadratic(1, seed);
        let solution = solve(&program, &Settings::default()).unwrap();
        let derivative = at(&program, &solution);
        assert!(derivative.regularity().unwrap().is_certified());
        let element = |selection| {
            let derivative = derivative.with_selection(selection).unwrap();
            assert_eq!(derivative.meaning(), Meaning::Element { selection });
            derivative.jvp(&tangent).unwrap().value
        };
        let elements = [element(Selection::Active), element(Selection::Inactive)];
        // Piecewise linear in q and b: the quotient is exact up to rounding.
        let right = one_sided(&program, derivative.solution(), &tangent, 1e-4);
        let back = scaled(&tangent, -1.0);
        let left = one_sided(&program, derivative.solution(), &back, 1e-4);
        let left = SolutionTangent {
            x: left.x.iter().map(|x| -x).collect(),
            z: left.z.iter().map(|x| -x).collect(),
            s: left.s.iter().map(|x| -x).collect(),
        };
        let errors = |a: &SolutionTangent, b: &SolutionTangent| {
            [
                difference(a, &right).max(difference(b, &left)),
                difference(b, &right).max(difference(a, &left)),
            ]
        };
        let [straight, crossed] = errors(&elements[0], &elements[1]);
        assert!(
            straight.min(crossed) < 1e-7,
            "{seed}: {straight:e} {crossed:e}"
        );
        let found = derivative.directional(&tangent).unwrap().value;
        assert!(difference(&found, &right) < 1e-7);
    }
}

#[test]
fn several_weakly_active_rows_split_as_the_critical_cone_says() {
    for seed in 0..20 {
        let (program, tangent) = quadratic(3, seed);
        let solution = solve(&program, &Settings::default()).unwrap();
        let derivative = at(&program, &solution);
        assert_eq!(derivative.kinks()[0].rows.len(), 3);
        let found = derivative.directional(&tangent).unwrap();
        let expected = one_sided(&program, derivative.solution(), &tangent, 1e-4);
        let error = difference(&found.value, &expected);
        assert!(found.trusted && error < 1e-7, "{seed}: {error:e}");
    }
}

/// The derivative exactly at the knot of the Lasso path where a variable enters, and the knot.
fn knot() -> (ConeProgram, Derivative, f64) {
    let (gram, c) = diabetes();
    let settings = Settings::default();
    let above = 131.0;
    let program = lasso(&gram, &c, above);
    let derivative = at(&program, &solve(&program, &settings).unwrap());
    let slope = derivative.jvp(&lasso_tangent(&program)).unwrap().value;
    // The multiplier of the next variable to enter reaches zero first; the path is linear up to there.
    let z = &derivative.solution().z;
    let step = (0..z.len())
        .filter(|&i| slope.z[i] > 1e-9 && z[i] > 1e-9)
        .map(|i| z[i] / slope.z[i])
        .fold(f64::INFINITY, f64::min);
    let lam = above - step;
    let program = lasso(&gram, &c, lam);
    let derivative = at(&program, &solve(&program, &settings).unwrap());
    (program, derivative, lam)
}

#[test]
fn at_a_knot_of_the_lasso_path_the_elements_are_the_two_slopes() {
    let (program, derivative, lam) = knot();
    assert!((lam - 130.129537).abs() < 1e-6, "{lam}");
    assert_eq!(derivative.kinks().len(), 1);
    assert_eq!(derivative.kinks()[0].rows.len(), 1);
    let report = derivative.regularity().unwrap();
    assert!(report.is_certified(), "{report}");
    let tangent = lasso_tangent(&program);
    let beta =
        |t: &SolutionTangent| -> Vec<f64> { (0..10).map(|j| t.x[j] - t.x[j + 10]).collect() };
    let element = |selection| {
        let derivative = derivative.with_selection(selection).unwrap();
        beta(&derivative.jvp(&tangent).unwrap().value)
    };
    let largest = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()))
    };
    let (active, inactive) = (element(Selection::Active), element(Selection::Inactive));
    let right = beta(&one_sided(&program, derivative.solution(), &tangent, 1e-2));
    let back = scaled(&tangent, -1.0);
    let left: Vec<f64> = beta(&one_sided(&program, derivative.solution(), &back, 1e-2))
        .iter()
        .map(|x| -x)
        .collect();
    // As lam grows the variable stays out: its bound holds.
    assert!(largest(&active, &right) < 1e-7, "{active:?} {right:?}");
    assert!(largest(&inactive, &left) < 1e-7, "{inactive:?} {left:?}");
    assert!(largest(&active, &inactive) > 1e-2);
    let found = beta(&derivative.directional(&tangent).unwrap().value);
    assert!(largest(&found, &right) < 1e-7);
    let found = beta(&derivative.directional(&back).unwrap().value);
    assert!(largest(&found, &left.iter().map(|x| -x).collect::<Vec<f64>>()) < 1e-7);
}

#[test]
fn the_golden_lasso_slopes_come_out() {
    // theory of the Lasso: n = 24, p = 8, X_ij = sin(1 + 3.7 i j + 0.3 j^2).
    let x = |i: usize, j: usize| {
        let (i, j) = (i as f64, j as f64);
        (1.0 + 3.7 * i * j + 0.3 * j * j).sin()
    };
    let truth = [2.0, -1.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let y: Vec<f64> = (1..=24)
        .map(|i| {
            (1..=8).map(|j| x(i, j) * truth[j - 1]).sum::<f64>() + 0.3 * (5.3 * i as f64).cos()
        })
        .collect();
    let gram: Vec<Vec<f64>> = (1..=8)
        .map(|a| {
            (1..=8)
                .map(|b| (1..=24).map(|i| x(i, a) * x(i, b)).sum())
                .collect()
        })
        .collect();
    let c: Vec<f64> = (1..=8)
        .map(|j| (1..=24).map(|i| x(i, j) * y[i - 1]).sum())
        .collect();
    let largest = c.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    assert!((largest - 25.321792545283).abs() < 1e-9);
    let program = lasso(&gram, &c, 0.1 * largest);
    let derivative = at(&program, &solve(&program, &Settings::default()).unwrap());
    let slope = derivative.directional(&lasso_tangent(&program)).unwrap();
    assert!(slope.trusted && slope.meaning == Meaning::Derivative);
    let solution = derivative.solution();
    for (j, beta, expected) in [
        (0, 1.784283883881, -0.079431123283),
        (1, -1.436150792536, 0.076851793918),
        (4, 0.772614992293, -0.079307653826),
    ] {
        assert!((solution.x[j] - solution.x[j + 8] - beta).abs() < 1e-9);
        assert!((slope.value.x[j] - slope.value.x[j + 8] - expected).abs() < 1e-9);
    }
}

#[test]
fn a_point_that_is_not_certified_has_no_directional_derivative() {
    // Both x1 >= 0 and 2 x1 >= 0 are weakly active: their gradients are dependent.
    let mut builder = ProgramBuilder::new(1);
    builder.quadratic(0, 0, 1.0);
    builder.inequality(&[(0, -1.0)], 0.0);
    builder.inequality(&[(0, -2.0)], 0.0);
    let program = builder.build().unwrap();
    let derivative = at(&program, &solve(&program, &Settings::default()).unwrap());
    let tangent = DataTangent::random(&program, 1);
    assert!(matches!(
        derivative.directional(&tangent),
        Err(Error::NotRegular { .. })
    ));
}

#[test]
fn a_weakly_active_row_that_repeats_an_active_one_has_no_directional_derivative() {
    for scale in [1e-3, 0.3, 1.0, 2.0, 7.7] {
        let mut builder = ProgramBuilder::new(3);
        for j in 0..3 {
            builder.quadratic(j, j, 1.0 + 0.1 * j as f64);
            builder.linear(j, -1.0);
        }
        let row = [(0, 0.7), (1, -0.2), (2, 1.3)];
        builder.inequality(&row, 0.5);
        builder.inequality(&row.map(|(j, a)| (j, scale * a)), scale * 0.5);
        let program = builder.build().unwrap();
        let solution = solve(&program, &Settings::default()).unwrap();
        // All of the multiplier on the first row.
        let z = vec![solution.z[0] + scale * solution.z[1], 0.0];
        let solution = Solution::given(&program, solution.x, z, vec![0.0; 2]).unwrap();
        let derivative = at(&program, &solution);
        assert_eq!(derivative.kinks()[0].rows, [1]);
        assert!(!derivative.regularity().unwrap().is_certified());
        let found = derivative.directional(&DataTangent::random(&program, 1));
        assert!(matches!(found, Err(Error::NotRegular { .. })), "{scale}");
    }
}

#[test]
fn the_two_sides_of_a_bound_are_zero_and_one() {
    let (program, derivative) = weakly_active();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q[0] = -1.0;
    // x1 follows -q1 where that is positive and stays at its bound where it is not.
    assert!((derivative.directional(&tangent).unwrap().value.x[0] - 1.0).abs() < 1e-12);
    let back = derivative
        .directional(&scaled(&tangent, -1.0))
        .unwrap()
        .value;
    assert!(back.x[0].abs() < 1e-12 && (back.z[0] - 1.0).abs() < 1e-12);
    let there = solve(&moved(&program, &tangent, -0.25), &Settings::default()).unwrap();
    assert!((there.z[0] - 0.25).abs() < 1e-12);
}
