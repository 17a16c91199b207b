//! Criteria: gradients against differences, one-sided derivatives, sums of folds.

use super::support::{ROUTES, assert_close, labels, random, settings, sparse};
use conediff::systems::lasso::{
    Criterion, CrossValidation, FitSettings, Folds, HoldOut, Penalty, SparseRegression, Sure,
};

fn check_gradient(criterion: &mut dyn Criterion, penalty: &Penalty) {
    let found = criterion.evaluate(penalty).unwrap();
    assert!(found.gradient.trusted, "{:?}", found.gradient.warnings);
    let logs = penalty.logs();
    for k in 0..logs.len() {
        let mut at = |step: f64| {
            let mut moved = logs.clone();
            moved[k] += step;
            let moved = penalty.with_logs(&moved).unwrap();
            criterion.evaluate(&moved).unwrap().value
        };
        let quotient = (at(1e-5) - at(-1e-5)) / 2e-5;
        let error = (quotient - found.gradient.value[k]).abs();
        assert!(
            error < 1e-7 * (1.0 + found.value.abs()),
            "{error:e}, parameter {k}"
        );
    }
    let [left, right] = found.one_sided().unwrap();
    let sum: f64 = found.gradient.value.iter().sum();
    assert!(
        (left - sum).abs() < 1e-9 * (1.0 + sum.abs())
            && (right - left).abs() < 1e-9 * (1.0 + sum.abs())
    );
}

#[test]
fn every_criterion_has_the_gradient_of_its_differences() {
    let (x, y) = random(40, 12, 0.6, 9);
    let squares = SparseRegression::least_squares(sparse(&x), y.clone()).unwrap();
    let logistic = SparseRegression::logistic(sparse(&x), labels(&y)).unwrap();
    let folds = Folds::shuffled(40, 4, 3).unwrap();
    let rows: Vec<usize> = (0..40).step_by(3).collect();
    let settings = FitSettings::default();
    for regression in [&squares, &logistic] {
        let t = 0.11 * regression.lambda_max();
        let weights: Vec<f64> = (0..12).map(|j| t * (1.0 + 0.1 * j as f64)).collect();
        for penalty in [
            Penalty::lasso(t),
            Penalty::elastic_net(t, 0.5),
            Penalty::weighted(weights),
        ] {
            check_gradient(
                &mut HoldOut::split(regression, &rows, settings).unwrap(),
                &penalty,
            );
            for scaled in [false, true] {
                let mut cv = CrossValidation::new(regression, &folds, scaled, settings).unwrap();
                check_gradient(&mut cv, &penalty);
            }
            if regression.loss() == conediff::systems::lasso::Loss::Squares {
                check_gradient(
                    &mut Sure::new(regression.clone(), 0.2, 5, settings).unwrap(),
                    &penalty,
                );
            }
        }
    }
}

#[test]
fn cross_validation_is_the_mean_of_its_folds_by_both_routes() {
    let (x, y) = random(20, 6, 0.8, 10);
    let regression = SparseRegression::least_squares(sparse(&x), y).unwrap();
    let penalty = Penalty::lasso(0.2 * regression.lambda_max());
    let folds = Folds::in_order(20, 3).unwrap();
    assert_eq!(
        folds.parts().iter().map(Vec::len).collect::<Vec<_>>(),
        [7, 7, 6]
    );
    let found = ROUTES.map(|route| {
        let mut cv = CrossValidation::new(&regression, &folds, false, settings(route)).unwrap();
        let all = cv.evaluate(&penalty).unwrap();
        let (mut value, mut slope) = (0.0, 0.0);
        for part in folds.parts() {
            let one = HoldOut::split(&regression, part, settings(route))
                .unwrap()
                .evaluate(&penalty)
                .unwrap();
            value += one.value / 3.0;
            slope += one.gradient.value[0] / 3.0;
        }
        assert!((all.value - value).abs() < 1e-14 && (all.gradient.value[0] - slope).abs() < 1e-13);
        assert_eq!(all.fits().count(), 3);
        [all.value, slope]
    });
    assert_close(&found[0], &found[1], 1e-12);
}

#[test]
fn a_criterion_at_a_knot_has_two_derivatives_and_says_so() {
    let (x, y) = random(30, 8, 1.0, 11);
    let regression = SparseRegression::least_squares(sparse(&x), y).unwrap();
    let mut criterion =
        HoldOut::split(&regression, &[0, 5, 9, 20, 21], FitSettings::default()).unwrap();
    let near = criterion
        .evaluate(&Penalty::lasso(0.3 * regression.lambda_max()))
        .unwrap();
    let [below, above] = near.reach().unwrap();
    for distance in [-below, above] {
        let penalty = Penalty::lasso(near.penalty.parameters()[0] * distance.exp());
        let at = criterion.evaluate(&penalty).unwrap();
        assert!(at.is_at_knot() && !at.gradient.trusted);
        let [left, right] = at.one_sided().unwrap();
        assert!((left - right).abs() > 1e-6 * left.abs());
        let mut quotient = |step: f64| {
            let moved = penalty.with_logs(&[penalty.logs()[0] + step]).unwrap();
            (criterion.evaluate(&moved).unwrap().value - at.value) / step
        };
        let error = [quotient(-1e-6) - left, quotient(1e-6) - right];
        assert!(
            error.iter().all(|e| e.abs() < 1e-5 * (1.0 + left.abs())),
            "{error:?}"
        );
    }
}
