//! The solution: both routes, dense and sparse, its optimality conditions, paths.

use super::support::{
    ROUTE, ROUTES, assert_close, columns, diabetes, labels, random, settings, sparse,
};
use crate::support::ALGEBRA;
use conediff::systems::lasso::{Fit, FitSettings, Penalty, Route, SparseRegression};

/// |c_j| <= lambda_j, with equality and the sign of b_j on the support, relative to lambda_j.
fn violation(fit: &Fit, lambda: impl Fn(usize) -> f64) -> f64 {
    let pairs = fit.correlations().iter().zip(fit.beta()).enumerate();
    pairs
        .map(|(j, (c, b))| {
            let lambda = lambda(j);
            if *b == 0.0 {
                (c.abs() - lambda).max(0.0) / lambda
            } else {
                (c - lambda * b.signum()).abs() / lambda
            }
        })
        .fold(0.0, f64::max)
}

#[test]
fn every_model_meets_its_optimality_conditions_to_rounding() {
    for seed in 0..5 {
        let (x, y) = random(30, 60, 0.4, seed);
        let squares = SparseRegression::least_squares(sparse(&x), y.clone()).unwrap();
        let logistic = SparseRegression::logistic(sparse(&x), labels(&y)).unwrap();
        for regression in [squares, logistic] {
            for share in [0.5, 0.1, 0.02] {
                let t = share * regression.lambda_max();
                let weights: Vec<f64> = (0..60)
                    .map(|j| t * (1.0 + 0.3 * (j as f64).sin()))
                    .collect();
                let penalties = [
                    Penalty::lasso(t),
                    Penalty::weighted(weights.clone()),
                    Penalty::elastic_net(t, 0.3 * t),
                    Penalty::weighted(weights.clone()).with_ridge(0.1),
                ];
                for (k, penalty) in penalties.iter().enumerate() {
                    let fit = regression.fit(penalty, &FitSettings::default()).unwrap();
                    let lambda = |j: usize| if k % 2 == 0 { t } else { weights[j] };
                    let found = violation(&fit, lambda);
                    assert!(fit.is_exact() && found < 1e-11, "{found:e} {penalty:?}");
                    assert!(fit.gap().abs() < ALGEBRA, "{:e}", fit.gap());
                }
            }
        }
    }
}

#[test]
fn dense_and_sparse_designs_and_both_routes_agree() {
    for seed in 0..3 {
        let (x, y) = random(20, 12, 0.5, seed);
        for ridge in [0.0, 0.2] {
            let t = 0.15
                * SparseRegression::least_squares(sparse(&x), y.clone())
                    .unwrap()
                    .lambda_max();
            let penalty = match ridge {
                0.0 => Penalty::lasso(t),
                ridge => Penalty::elastic_net(t, ridge),
            };
            let fits: Vec<Fit> = [columns(&x), sparse(&x)]
                .iter()
                .flat_map(|design| ROUTES.map(|route| (design.clone(), route)))
                .map(|(design, route)| {
                    let regression = SparseRegression::least_squares(design, y.clone()).unwrap();
                    regression.fit(&penalty, &settings(route)).unwrap()
                })
                .collect();
            for fit in &fits[1..] {
                assert_close(fit.beta(), fits[0].beta(), ROUTE);
                assert_eq!(fit.support(), fits[0].support());
            }
        }
    }
}

#[test]
fn a_path_is_its_fits_one_by_one_and_starts_at_nothing() {
    let (x, y) = diabetes();
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let grid = regression.lambda_grid(1e-4, 30).unwrap();
    let penalties: Vec<Penalty> = grid.iter().map(|t| Penalty::lasso(*t)).collect();
    let path = regression
        .path(&penalties, &FitSettings::default())
        .unwrap();
    assert!(path[0].support().is_empty() && path[29].support().len() == 10);
    for (fit, penalty) in path.iter().zip(&penalties) {
        let cold = regression.fit(penalty, &FitSettings::default()).unwrap();
        assert_close(fit.beta(), cold.beta(), 1e-9);
        assert!(fit.is_exact() && violation(fit, |_| penalty.parameters()[0]) < 1e-9);
    }
    let conic = regression
        .fit(&penalties[20], &settings(Route::Conic))
        .unwrap();
    let scale = path[20].beta().iter().fold(0.0_f64, |m, b| m.max(b.abs()));
    assert_close(path[20].beta(), conic.beta(), ROUTE * scale);
}

#[test]
fn a_column_twice_is_fitted_and_is_an_error_only_for_the_derivative() {
    let (mut x, y) = random(20, 6, 1.0, 1);
    x.iter_mut().for_each(|row| row[3] = row[0]);
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let penalty = Penalty::lasso(0.05 * regression.lambda_max());
    let fit = regression.fit(&penalty, &FitSettings::default()).unwrap();
    assert!(fit.gap() < 1e-9);
    let error = fit.derivative().unwrap_err().to_string();
    assert!(
        error.starts_with("columns [0, 3] of X are linearly dependent"),
        "{error}"
    );
    // From a start that uses both.
    let half: Vec<f64> = (0..6)
        .map(|j| {
            if j % 3 == 0 {
                0.5 * fit.beta()[0]
            } else {
                fit.beta()[j]
            }
        })
        .collect();
    let fit = regression
        .fit_from(&penalty, &FitSettings::default(), &half)
        .unwrap();
    assert!(fit.is_exact() && fit.gap() < 1e-12 && fit.derivative().is_err());
    // A ridge cures it.
    let fit = regression
        .fit(&penalty.with_ridge(0.1), &FitSettings::default())
        .unwrap();
    assert!(fit.derivative().unwrap().in_parameter(0).unwrap().trusted);
    assert!((fit.beta()[0] - fit.beta()[3]).abs() < 1e-12);
}

#[test]
fn near_interpolation_with_more_columns_than_samples_the_active_set_ends_it() {
    for seed in 0..4 {
        let (x, y) = random(15, 40, 0.8, seed);
        let squares = SparseRegression::least_squares(columns(&x), y.clone()).unwrap();
        let logistic = SparseRegression::logistic(columns(&x), labels(&y)).unwrap();
        for (regression, share) in [(squares, 1e-6), (logistic, 1e-3)] {
            let lambda = share * regression.lambda_max();
            let fit = regression
                .fit(&Penalty::lasso(lambda), &FitSettings::default())
                .unwrap();
            println!("{} sweeps, support {}", fit.sweeps(), fit.support().len());
            assert!(fit.is_exact() && violation(&fit, |_| lambda) < 1e-7);
            assert!(fit.support().len() <= 15);
        }
    }
}
