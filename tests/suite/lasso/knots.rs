//! Knots: where they are, both one-sided derivatives, and the elements between.

use super::support::{ROUTES, assert_close, columns, diabetes, random, settings};
use conediff::systems::lasso::{Fit, FitSettings, FitTangent, Penalty, Route, SparseRegression};
use conediff::{Meaning, Warning};

fn along(sign: f64) -> FitTangent {
    FitTangent {
        penalty: vec![sign],
        ..FitTangent::default()
    }
}

/// The knots of a Lasso path from lambda_max down, each from the fit at the one before.
fn knots(regression: &SparseRegression, settings: &FitSettings, count: usize) -> Vec<Fit> {
    let mut lambda = regression.lambda_max();
    let mut found: Vec<Fit> = Vec::new();
    while found.len() < count {
        let fit = regression.fit(&Penalty::lasso(lambda), settings).unwrap();
        let step = fit.derivative().unwrap().reach(&along(-1.0)).unwrap();
        found.push(fit);
        // With as many columns as samples every correlation is a multiple of lambda: no knot is left.
        let last = &found[found.len() - 1];
        let columns = last.support().len() + last.knot().map_or(0, |k| k.columns.len());
        if step >= lambda * (1.0 - 1e-9) || columns >= regression.y().len() {
            break;
        }
        lambda -= step;
    }
    found
}

/// Left and right derivative.
fn sides(fit: &Fit) -> [Vec<f64>; 2] {
    let derivative = fit.derivative().unwrap();
    let right = derivative.directional(&along(1.0)).unwrap();
    let left = derivative.directional(&along(-1.0)).unwrap();
    assert!(right.trusted && left.trusted && right.meaning == Meaning::OneSided);
    [left.value.iter().map(|v| -v).collect(), right.value]
}

fn one_sided_difference(fit: &Fit, step: f64) -> Vec<f64> {
    let lambda = fit.penalty().parameters()[0];
    let moved = fit
        .regression()
        .fit(&Penalty::lasso(lambda + step), &FitSettings::default())
        .unwrap();
    let pairs = moved.beta().iter().zip(fit.beta());
    pairs.map(|(a, b)| (a - b) / step).collect()
}

#[test]
fn the_fourth_knot_of_the_diabetes_path_has_two_derivatives() {
    let (x, y) = diabetes();
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let all = knots(&regression, &FitSettings::default(), 5);
    let lambdas: Vec<f64> = all.iter().map(|f| f.penalty().parameters()[0]).collect();
    println!("knots at {lambdas:?}");
    // lambda_max is the first.
    let fit = &all[4 - 1 + usize::from((lambdas[4] - 130.129537).abs() < 1e-5)];
    assert!((fit.penalty().parameters()[0] - 130.129537).abs() < 1e-6);
    let knot = fit.knot().unwrap();
    assert!(knot.columns.len() == 1 && knot.margin < 1e-12, "{knot:?}");
    let [left, right] = sides(fit);
    println!("left {left:?}, right {right:?}");
    assert_close(&left, &one_sided_difference(fit, -1e-3), 1e-8);
    assert_close(&right, &one_sided_difference(fit, 1e-3), 1e-8);
    assert!(super::support::largest_difference(&left, &right) > 0.1);

    // The coefficient enters below: held at 0 it is the right derivative, let go the left one.
    let derivative = fit.derivative().unwrap();
    assert_close(
        &derivative.element(&[0.0], &along(1.0)).unwrap().value,
        &right,
        1e-12,
    );
    assert_close(
        &derivative.element(&[1.0], &along(1.0)).unwrap().value,
        &left,
        1e-12,
    );
    let element = derivative.in_parameter(0).unwrap();
    assert!(!element.trusted && matches!(element.meaning, Meaning::Element { .. }));
    assert!(
        element
            .warnings
            .iter()
            .any(|w| matches!(w, Warning::AtKnot(_)))
    );
    assert_close(&element.value, &right, 1e-12);

    // The cone program's own one-sided derivatives.
    let conic = regression
        .fit(fit.penalty(), &settings(Route::Conic))
        .unwrap();
    assert!(derivative.is_certified().unwrap());
    assert!(conic.derivative().unwrap().is_certified().unwrap());
    let [other_left, other_right] = sides(&conic);
    assert_close(&left, &other_left, 1e-10);
    assert_close(&right, &other_right, 1e-10);
}

#[test]
fn every_knot_of_random_paths_has_the_derivatives_of_its_pieces() {
    let (mut entered, mut left_at) = (0, 0);
    for seed in 0..6 {
        let (x, y) = random(15, 20, 0.8, seed);
        let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
        let all = knots(&regression, &FitSettings::default(), 25);
        for pair in all.windows(2) {
            let [upper, lower] = [&pair[0], &pair[1]];
            assert!(upper.knot().is_some() && lower.knot().is_some());
            let step = lower.penalty().parameters()[0] - upper.penalty().parameters()[0];
            let [left, _] = sides(upper);
            let end: Vec<f64> = upper
                .beta()
                .iter()
                .zip(&left)
                .map(|(b, d)| b + step * d)
                .collect();
            assert_close(&end, lower.beta(), 1e-9);
            let [_, right] = sides(lower);
            assert_close(&left, &right, 1e-8);
            if lower.support().len() < upper.support().len() + 1 {
                left_at += 1
            } else {
                entered += 1
            }
        }
    }
    println!("{entered} knots where a coefficient entered, {left_at} where one left");
    assert!(entered > 50 && left_at > 3);
}

#[test]
fn between_the_extremes_the_elements_solve_their_own_equation() {
    let (x, y) = diabetes();
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let fit = &knots(&regression, &FitSettings::default(), 3)[2];
    let k = 0.4;
    let found = fit
        .derivative()
        .unwrap()
        .element(&[k], &along(1.0))
        .unwrap();
    assert_eq!(found.meaning, Meaning::Chosen);
    // [I - K (I - X'X)] v = -K sign(c), densely.
    let factor = |j: usize| {
        if fit.support().contains(&j) {
            1.0
        } else if fit.knot().unwrap().columns.contains(&j) {
            k
        } else {
            0.0
        }
    };
    let product = regression.design().multiply(&found.value).unwrap();
    let back = regression.design().multiply_transpose(&product).unwrap();
    for (j, back) in back.iter().enumerate() {
        let row = found.value[j] - factor(j) * (found.value[j] - back);
        let right = -factor(j) * fit.correlations()[j].signum();
        assert!((row - right).abs() < 1e-12);
    }
}

#[test]
fn two_columns_that_enter_at_once_are_told_apart_by_pivots() {
    // X'X = [1 a; a 1] and equal correlations: both at lambda_max.
    let a = 0.6_f64;
    let x = vec![vec![1.0, a], vec![0.0, (1.0 - a * a).sqrt()]];
    // X'y = (2, 2).
    let y = vec![2.0, 2.0 * (1.0 - a) / (1.0 - a * a).sqrt()];
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    for route in ROUTES {
        let fit = regression
            .fit(&Penalty::lasso(regression.lambda_max()), &settings(route))
            .unwrap();
        let [left, right] = sides(&fit);
        assert_close(&right, &[0.0, 0.0], 1e-12);
        assert_close(&left, &[-1.0 / (1.0 + a), -1.0 / (1.0 + a)], 1e-10);
        // Along y = y + t (0, 1): the second correlation grows, and carries the first below its bound.
        let tangent = FitTangent {
            y: vec![-0.75, 1.0],
            ..FitTangent::default()
        };
        let moved = fit.derivative().unwrap().directional(&tangent).unwrap();
        let correlation = -0.75 * a + (1.0 - a * a).sqrt();
        assert_close(&moved.value, &[0.0, correlation], 1e-10);
    }
}

#[test]
fn close_to_a_knot_the_derivative_is_trusted_and_says_so() {
    let (x, y) = diabetes();
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let fit = &knots(&regression, &FitSettings::default(), 2)[1];
    let lambda = fit.penalty().parameters()[0] * (1.0 + 1e-8);
    let near = regression
        .fit(&Penalty::lasso(lambda), &FitSettings::default())
        .unwrap();
    let slope = near.derivative().unwrap().in_parameter(0).unwrap();
    assert!(slope.trusted && slope.meaning == Meaning::Derivative);
    assert!(
        slope
            .warnings
            .iter()
            .any(|w| matches!(w, Warning::NearKnot(_))),
        "{:?}",
        slope.warnings
    );
}
