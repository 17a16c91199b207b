//! Forward against differences, reverse against forward, route against route.

use super::support::{
    ROUTES, assert_close, columns, difference, direction, dot, labels, random, settings, sparse,
};
use crate::support::Random;
use conediff::Meaning;
use conediff::systems::lasso::{Fit, FitTangent, Loss, Penalty, Route, SparseRegression};

/// Every loss and penalty, dense and sparse, away from knots.
fn fits(route: Route) -> Vec<Fit> {
    let mut all = Vec::new();
    for (seed, is_dense) in [(1, true), (2, false)] {
        let (x, y) = random(18, 10, if is_dense { 1.0 } else { 0.5 }, seed);
        let design = if is_dense { columns(&x) } else { sparse(&x) };
        let squares = SparseRegression::least_squares(design.clone(), y.clone()).unwrap();
        let logistic = SparseRegression::logistic(design, labels(&y)).unwrap();
        for regression in [squares, logistic] {
            let t = 0.13 * regression.lambda_max();
            let weights: Vec<f64> = (0..10)
                .map(|j| t * (1.0 + 0.2 * (j as f64).cos()))
                .collect();
            for penalty in [
                Penalty::lasso(t),
                Penalty::weighted(weights.clone()),
                Penalty::elastic_net(t, 0.4),
                Penalty::weighted(weights).with_ridge(0.4),
            ] {
                let fit = regression.fit(&penalty, &settings(route)).unwrap();
                assert!(fit.knot().is_none() && !fit.support().is_empty());
                all.push(fit);
            }
        }
    }
    all
}

#[test]
fn the_derivative_in_penalty_y_and_x_is_that_of_differences() {
    let mut worst = 0.0_f64;
    for (k, fit) in fits(Route::CoordinateDescent).iter().enumerate() {
        let derivative = fit.derivative().unwrap();
        let d = direction(fit, k as u64);
        let only = |penalty: bool, y: bool, x: bool| FitTangent {
            penalty: if penalty { d.penalty.clone() } else { vec![] },
            y: if y { d.y.clone() } else { vec![] },
            x: if x { d.x.clone() } else { vec![] },
        };
        for tangent in [
            only(true, false, false),
            only(false, true, false),
            only(false, false, true),
            d.clone(),
        ] {
            let found = derivative.jvp(&tangent).unwrap();
            assert!(
                found.trusted && found.meaning == Meaning::Derivative,
                "{found:?}"
            );
            let quotient = difference(fit, &tangent, 1e-5, &settings(Route::CoordinateDescent));
            let scale = 1.0 + found.value.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            assert_close(&found.value, &quotient, 1e-7 * scale);
            worst = worst.max(super::support::largest_difference(&found.value, &quotient) / scale);
        }
    }
    println!("largest difference {worst:.1e}");
}

#[test]
fn forward_and_reverse_are_adjoint_over_all_numbers() {
    for route in ROUTES {
        for (k, fit) in fits(route).iter().enumerate() {
            let derivative = fit.derivative().unwrap();
            let d = direction(fit, 7 + k as u64);
            let g = Random::new(k as u64).normal_vec(fit.beta().len());
            let forward = derivative.jvp(&d).unwrap();
            let reverse = derivative.vjp_all(&g).unwrap();
            assert!(forward.trusted && reverse.trusted);
            let c = &reverse.value;
            let sum = dot(&c.penalty, &d.penalty) + dot(&c.y, &d.y) + dot(&c.x, &d.x);
            let expected = dot(&g, &forward.value);
            let size = 1.0 + forward.value.iter().map(|v| v.abs()).sum::<f64>();
            assert!(
                (sum - expected).abs() < 1e-11 * size,
                "{sum} {expected} {route:?} {k}"
            );
            assert_eq!(derivative.vjp(&g).unwrap().value.penalty, c.penalty);
            assert_eq!(c.y.is_empty(), fit.regression().loss() == Loss::Logistic);
        }
    }
}

#[test]
fn both_routes_have_the_same_derivatives() {
    let (direct, conic) = (fits(Route::CoordinateDescent), fits(Route::Conic));
    for (k, (a, b)) in direct.iter().zip(&conic).enumerate() {
        let tolerance = match a.regression().loss() {
            Loss::Squares => 1e-12,
            // Exponential cones are solved to about 1e-11.
            Loss::Logistic => 1e-9,
        };
        assert_close(a.beta(), b.beta(), tolerance);
        let d = direction(a, 3 + k as u64);
        let [x, y] = [a, b].map(|fit| fit.derivative().unwrap().jvp(&d).unwrap().value);
        let size = 1.0 + x.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert_close(&x, &y, tolerance * size);
        let g = Random::new(50 + k as u64).normal_vec(10);
        let [x, y] = [a, b].map(|fit| fit.derivative().unwrap().vjp_all(&g).unwrap().value);
        for (x, y) in [(&x.penalty, &y.penalty), (&x.y, &y.y), (&x.x, &y.x)] {
            let size = 1.0 + x.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            assert_close(x, y, tolerance * size);
        }
    }
}

#[test]
fn degrees_of_freedom_are_the_divergence_in_y() {
    for fit in fits(Route::CoordinateDescent) {
        if fit.regression().loss() == Loss::Logistic {
            continue;
        }
        let derivative = fit.derivative().unwrap();
        let n = fit.regression().y().len();
        let along = |i: usize| {
            let mut y = vec![0.0; n];
            y[i] = 1.0;
            let tangent = FitTangent {
                y,
                ..FitTangent::default()
            };
            let db = derivative.jvp(&tangent).unwrap().value;
            fit.regression().design().multiply(&db).unwrap()[i]
        };
        let divergence: f64 = (0..n).map(along).sum();
        assert!((divergence - derivative.degrees_of_freedom()).abs() < 1e-11);
    }
}

#[test]
fn nearly_dependent_columns_lower_the_trust() {
    let (mut x, y) = random(20, 4, 1.0, 3);
    // The condition of H is about 4 / distance^2.
    for (distance, is_trusted) in [(1e-2, true), (3e-6, false)] {
        let extra: Vec<f64> = Random::new(8).normal_vec(20);
        x.iter_mut()
            .zip(&extra)
            .for_each(|(row, e)| row[1] = row[0] + distance * e);
        let regression = SparseRegression::least_squares(columns(&x), y.clone()).unwrap();
        // A tiny lambda, so that both are in the support.
        let fit = regression
            .fit(&Penalty::lasso(1e-9), &settings(Route::CoordinateDescent))
            .unwrap();
        let slope = fit.derivative().unwrap().in_parameter(0).unwrap();
        println!("distance {distance:e}: {:?}", slope.evidence);
        assert_eq!(slope.trusted, is_trusted, "{:?}", slope.warnings);
    }
}
