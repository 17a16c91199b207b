//! Bad input: specific errors, and no panic.

use super::support::{columns, random, reference_regression, sparse};
use conediff::systems::lasso::{
    CrossValidation, Design, FitSettings, FitTangent, Folds, HoldOut, Penalty, SparseRegression,
    Sure, TuneSettings, tune,
};
use conediff::{DenseMatrix, Error};

fn text<T>(result: Result<T, Error>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn every_mistake_in_the_data_has_its_own_error() {
    let (mut x, y) = random(6, 3, 1.0, 1);
    let make = |x: &[Vec<f64>], y: &[f64]| SparseRegression::least_squares(sparse(x), y.to_vec());
    assert_eq!(text(make(&x, &y[1..])), "y: expected length 6, found 5");
    let mut wrong = y.clone();
    wrong[2] = f64::NAN;
    assert_eq!(
        text(make(&x, &wrong)),
        "y[2] is NaN; every entry must be finite"
    );
    assert!(text(make(&x, &[0.0; 6])).contains("every coefficient is 0 for every lambda"));
    assert_eq!(
        text(SparseRegression::logistic(
            sparse(&x),
            vec![1.0, -1.0, 0.0, 1.0, 1.0, 1.0]
        )),
        "label 2 is 0; labels are -1 and 1"
    );
    let dense = |rows, cols, data: Vec<f64>| Design::dense(DenseMatrix { rows, cols, data });
    assert_eq!(
        text(dense(2, 2, vec![0.0; 3])),
        "values of X: expected length 4, found 3"
    );
    assert_eq!(
        text(dense(1, 2, vec![0.0, f64::INFINITY])),
        "X[1] is inf; every entry must be finite"
    );
    for (rows, cols) in [(0, 0), (0, 3), (3, 0)] {
        let design = dense(rows, cols, vec![]).unwrap();
        assert!(
            text(SparseRegression::least_squares(design, vec![1.0; rows])).contains("is empty")
        );
    }
    x.iter_mut().for_each(|row| row[1] = 0.0);
    assert_eq!(
        text(make(&x, &y)),
        "column 1 of X is zero: its coefficient is 0 for every lambda; leave the column out"
    );
}

#[test]
fn every_mistake_in_a_penalty_or_setting_has_its_own_error() {
    let regression = reference_regression();
    let fit = |penalty: Penalty| text(regression.fit(&penalty, &FitSettings::default()));
    for lambda in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let expected = format!(
            "penalty parameter 0 is {lambda}; every lambda and ridge must be positive and finite"
        );
        assert_eq!(fit(Penalty::lasso(lambda)), expected);
    }
    assert!(fit(Penalty::elastic_net(1.0, -2.0)).starts_with("penalty parameter 1 is -2"));
    assert_eq!(
        fit(Penalty::weighted(vec![1.0; 3])),
        "lambda: expected length 8, found 3"
    );
    assert!(
        text(Penalty::lasso(1.0).with_parameters(&[])).starts_with("parameters: expected length 1")
    );
    let settings = FitSettings {
        max_sweeps: 0,
        ..FitSettings::default()
    };
    assert!(
        text(regression.fit(&Penalty::lasso(1.0), &settings)).starts_with("setting max_sweeps")
    );
    assert!(
        text(regression.fit_from(&Penalty::lasso(1.0), &FitSettings::default(), &[0.0]))
            .starts_with("start")
    );
    assert!(text(regression.lambda_grid(2.0, 5)).starts_with("setting ratio"));
    assert!(text(regression.lambda_grid(0.1, 1)).starts_with("setting count"));
}

#[test]
fn a_solver_stopped_early_says_how_far_it_came() {
    let (x, y) = random(30, 80, 1.0, 2);
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let settings = FitSettings {
        max_sweeps: 1,
        ..FitSettings::default()
    };
    let error = text(regression.fit(&Penalty::lasso(1e-3), &settings));
    assert!(
        error.starts_with(
            "coordinate descent (relative duality gap): not converged after 1 iterations"
        ),
        "{error}"
    );
}

#[test]
fn derivatives_and_criteria_check_what_they_are_given() {
    let regression = reference_regression();
    let fit = regression
        .fit(&Penalty::lasso(1.0), &FitSettings::default())
        .unwrap();
    let derivative = fit.derivative().unwrap();
    assert!(text(derivative.in_parameter(1)).starts_with("parameter"));
    let tangent = FitTangent {
        y: vec![1.0],
        ..FitTangent::default()
    };
    assert_eq!(
        text(derivative.jvp(&tangent)),
        "tangent y: expected length 24, found 1"
    );
    assert_eq!(
        text(derivative.vjp(&[1.0])),
        "g: expected length 8, found 1"
    );
    assert!(text(derivative.vjp(&[f64::NAN; 8])).starts_with("g[0] is NaN"));
    assert!(
        text(derivative.element(&[0.5], &FitTangent::default()))
            .starts_with("k: expected length 0")
    );
    let settings = FitSettings::default();
    assert!(text(HoldOut::split(&regression, &[24], settings)).starts_with("row (must be below"));
    assert!(text(HoldOut::split(&regression, &[], settings)).contains("is empty"));
    let all: Vec<usize> = (0..24).collect();
    assert!(text(HoldOut::split(&regression, &all, settings)).contains("is empty"));
    let folds = Folds::in_order(10, 2).unwrap();
    assert!(
        text(CrossValidation::new(&regression, &folds, true, settings))
            .starts_with("samples of the folds")
    );
    assert!(text(Folds::in_order(3, 4)).starts_with("setting count of folds"));
    assert_eq!(
        text(Folds::given(3, vec![vec![0], vec![0]])),
        "fold 1: sample 0 was met before"
    );
    assert_eq!(
        text(Folds::given(3, vec![vec![7]])),
        "fold 0: sample 7 is not below 3"
    );
    assert!(text(Folds::given(2, vec![vec![0, 1]])).contains("leaves none to fit"));
    assert!(text(Sure::new(regression.clone(), -1.0, 0, settings)).starts_with("setting sigma"));
    let (x, y) = random(10, 3, 1.0, 3);
    let logistic = SparseRegression::logistic(columns(&x), super::support::labels(&y)).unwrap();
    assert_eq!(
        text(Sure::new(logistic, 1.0, 0, settings)),
        "SURE needs the loss of squares"
    );
    let mut criterion = HoldOut::split(&regression, &[1], settings).unwrap();
    let wrong = TuneSettings {
        tolerance: 0.0,
        ..TuneSettings::default()
    };
    assert!(
        text(tune(&mut criterion, &Penalty::lasso(1.0), &wrong, |_| {}))
            .starts_with("setting tolerance")
    );
}

#[test]
fn numbers_of_any_size_end_in_a_fit_or_an_error() {
    for (of_x, of_y) in [
        (1.0, 1e200),
        (1e200, 1.0),
        (1.0, 1e-200),
        (1e-180, 1.0),
        (1e150, 1e150),
        (1e-3, 1e12),
    ] {
        let (mut x, mut y) = random(12, 20, 1.0, 7);
        x.iter_mut().flatten().for_each(|x| *x *= of_x);
        y.iter_mut().for_each(|y| *y *= of_y);
        let Ok(regression) = SparseRegression::least_squares(columns(&x), y) else {
            continue;
        };
        let settings = FitSettings {
            max_sweeps: 1000,
            ..FitSettings::default()
        };
        let fit = regression.fit(&Penalty::lasso(0.1 * regression.lambda_max()), &settings);
        println!(
            "{of_x:e} {of_y:e}: {:?}",
            fit.as_ref().map(|f| (f.gap(), f.support().len()))
        );
        if let Ok(fit) = fit {
            assert!(fit.gap() < 1e-9 && fit.beta().iter().all(|b| b.is_finite()));
            drop(fit.derivative().and_then(|d| d.in_parameter(0)));
        }
    }
}
