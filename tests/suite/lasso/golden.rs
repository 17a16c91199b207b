//! Figures computed elsewhere (numpy, scipy, scikit-learn), by both routes.

use super::support::{
    GOLDEN, ROUTE, ROUTES, assert_close, columns, reference, reference_regression, settings,
};
use conediff::systems::lasso::{Criterion, Evaluation, HoldOut, Penalty, SparseRegression, Sure};

const BETA: [f64; 8] = [
    1.784283883881,
    -1.436150792536,
    0.0,
    0.0,
    0.772614992293,
    0.0,
    0.0,
    0.0,
];
const SLOPE: [f64; 8] = [
    -0.079431123283,
    0.076851793918,
    0.0,
    0.0,
    -0.079307653826,
    0.0,
    0.0,
    0.0,
];

#[test]
fn coefficients_and_their_derivative_are_the_reference_by_both_routes() {
    let regression = reference_regression();
    let largest = regression.lambda_max();
    assert!((largest - 25.321792545283).abs() < GOLDEN);
    let found = ROUTES.map(|route| {
        let fit = regression
            .fit(&Penalty::lasso(0.1 * largest), &settings(route))
            .unwrap();
        let slope = fit.derivative().unwrap().in_parameter(0).unwrap();
        assert!(slope.trusted && fit.is_exact(), "{slope:?}");
        assert_close(fit.beta(), &BETA, GOLDEN);
        assert_close(&slope.value, &SLOPE, GOLDEN);
        println!(
            "{route:?}: beta {:?}, dbeta/dlambda {:?}, gap {:.1e}",
            fit.beta(),
            slope.value,
            fit.gap()
        );
        (fit.beta().to_vec(), slope.value)
    });
    assert_close(&found[0].0, &found[1].0, ROUTE);
    assert_close(&found[0].1, &found[1].1, ROUTE);
}

fn agree(found: &[Evaluation; 2], value: f64, derivative: f64) {
    for e in found {
        let slope = e.gradient.value[0] / e.penalty.parameters()[0];
        println!("value {:.12}, derivative {slope:.12}", e.value);
        assert!(e.gradient.trusted, "{:?}", e.gradient.warnings);
        assert!((e.value - value).abs() < GOLDEN && (slope - derivative).abs() < GOLDEN);
    }
    let [a, b] = found;
    assert!((a.value - b.value).abs() < ROUTE);
    assert_close(&a.gradient.value, &b.gradient.value, ROUTE);
}

#[test]
fn the_hold_out_error_and_its_derivative_are_the_reference_by_both_routes() {
    let (x, y) = reference();
    let training = SparseRegression::least_squares(columns(&x[..16]), y[..16].to_vec()).unwrap();
    let found = ROUTES.map(|route| {
        let mut criterion = HoldOut::new(
            training.clone(),
            columns(&x[16..]),
            y[16..].to_vec(),
            settings(route),
        )
        .unwrap();
        criterion.evaluate(&Penalty::lasso(1.574276588463)).unwrap()
    });
    agree(&found, 0.136462149590, 0.108692044206);
}

#[test]
fn sure_its_degrees_of_freedom_and_its_derivative_are_the_reference_by_both_routes() {
    let regression = reference_regression();
    let d: Vec<f64> = (1..=24)
        .map(|i| 2.0_f64.sqrt() * (11.1 * f64::from(i)).sin())
        .collect();
    let found = ROUTES.map(|route| {
        let mut sure =
            Sure::with_direction(regression.clone(), 0.3, d.clone(), settings(route)).unwrap();
        let at = sure
            .evaluate(&Penalty::lasso(0.1 * regression.lambda_max()))
            .unwrap();
        let degrees = sure.degrees_of_freedom(&at).unwrap();
        println!("{degrees:?}");
        assert!((degrees.difference - 2.397768159774).abs() < GOLDEN && degrees.exact == 3.0);
        at
    });
    agree(&found, 0.612860628511, 0.231305329892);
}
