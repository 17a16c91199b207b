//! Sparse logistic regression.

use super::support::{assert_close, difference, labels, random, settings, sparse};
use conediff::systems::lasso::{FitSettings, FitTangent, Penalty, Route, SparseRegression};

#[test]
fn a_sparse_logistic_fit_is_that_of_its_exponential_cones() {
    let (x, y) = random(25, 15, 0.6, 4);
    let regression = SparseRegression::logistic(sparse(&x), labels(&y)).unwrap();
    for share in [0.6, 0.2, 0.05] {
        let penalty = Penalty::lasso(share * regression.lambda_max());
        let [a, b] = [Route::CoordinateDescent, Route::Conic]
            .map(|route| regression.fit(&penalty, &settings(route)).unwrap());
        assert_close(a.beta(), b.beta(), 1e-9);
        assert_eq!(a.support(), b.support());
        let [x, y] = [&a, &b].map(|f| f.derivative().unwrap().in_parameter(0).unwrap());
        assert!(x.trusted, "{:?}", x.warnings);
        assert_close(&x.value, &y.value, 1e-8);
    }
}

#[test]
fn with_more_columns_than_samples_it_is_exact_and_differentiable() {
    let (x, y) = random(60, 300, 0.2, 5);
    let regression = SparseRegression::logistic(sparse(&x), labels(&y)).unwrap();
    let penalty = Penalty::lasso(0.1 * regression.lambda_max());
    let fit = regression.fit(&penalty, &FitSettings::default()).unwrap();
    assert!(fit.is_exact() && fit.gap().abs() < 1e-12 && fit.support().len() > 5);
    let up = FitTangent {
        penalty: vec![1.0],
        ..FitTangent::default()
    };
    let slope = fit.derivative().unwrap().jvp(&up).unwrap();
    let quotient = difference(&fit, &up, 1e-6, &FitSettings::default());
    let scale = slope.value.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    assert_close(&slope.value, &quotient, 1e-7 * scale);
}

#[test]
fn labels_far_from_the_boundary_do_not_overflow() {
    let (x, y) = random(20, 5, 1.0, 6);
    let scaled: Vec<Vec<f64>> = x
        .iter()
        .map(|r| r.iter().map(|v| 1e4 * v).collect())
        .collect();
    let regression = SparseRegression::logistic(sparse(&scaled), labels(&y)).unwrap();
    let fit = regression
        .fit(
            &Penalty::lasso(1e-3 * regression.lambda_max()),
            &FitSettings::default(),
        )
        .unwrap();
    assert!(fit.is_exact() && fit.objective().is_finite());
}
