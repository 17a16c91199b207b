//! Linear rates of iterates and derivatives, against the spectral radius at the limit.
//!
//! The published figures are for data that are not given; here are seeded data of the same kinds and sizes.

use conediff::DenseMatrix;
use conediff::piggyback::{ParametricMap, Piggyback, PiggybackSettings, Propagated, Verdict};

use crate::piggyback_problems::{
    inverse_covariance, lasso, regression, ridge_descent, trend_filtering,
};
use crate::support::Random;

/// Derivatives in lambda and in a direction of y; both rates within 2 % of the spectral radius, and of what is left of 1 where they are slow.
fn assert_rates<M: ParametricMap>(
    name: &str,
    reference: &str,
    map: &M,
    start: &[f64],
    theta: &[f64],
) -> Propagated {
    let p = theta.len();
    let mut data = vec![0.0; 2 * p];
    data[0] = 1.0;
    data[p + 1..].copy_from_slice(&Random::new(1).normal_vec(p - 1));
    let directions = DenseMatrix {
        rows: p,
        cols: 2,
        data,
    };
    let settings = PiggybackSettings {
        max_iterations: 50_000,
        iterate_tolerance: 1e-13,
        derivative_tolerance: 1e-13,
        ..PiggybackSettings::default()
    };
    let run = Piggyback::new(map, start, theta, settings).unwrap();
    let forward = run.along(&directions).unwrap();
    let limit = run.limit_along(&forward.x, &directions).unwrap();
    let (iterates, derivative) = (forward.iterates.rate, forward.derivative.rate);
    let radius = limit.spectral_radius;
    println!(
        "{name}: {iterates:.5} / {derivative:.5}, spectral radius {radius:.5}, reference {reference}; K {}, error {:.1e}",
        forward.iterations,
        forward.distance_to(&limit).unwrap()
    );
    assert_eq!(forward.verdict(), Verdict::Converging);
    for rate in [iterates, derivative] {
        assert!(
            (rate / radius - 1.0).abs() <= 0.02,
            "{name}: {rate} {radius}"
        );
        let left = (1.0 - rate) / (1.0 - radius);
        assert!((left - 1.0).abs() <= 0.15, "{name}: {rate} {radius}");
    }
    assert!(forward.distance_to(&limit).unwrap() <= 1e-9);
    forward
}

#[test]
fn ridge_gradient_descent_converges_at_its_spectral_radius() {
    let r = regression(100, 20, 20, 1);
    let (map, theta) = ridge_descent(&r);
    assert_rates("ridge", ".794/.803", &map, &[0.0; 20], &theta);
}

#[test]
fn the_lasso_converges_at_the_spectral_radius_of_its_active_set() {
    let r = regression(100, 20, 5, 1);
    let (map, theta) = lasso(&r, 0.1);
    let run = assert_rates("Lasso 100 x 20", ".5668/.5670", &map, &[0.0; 20], &theta);
    let zeros = run.x[..20].iter().filter(|x| **x == 0.0).count();
    println!("{zeros} zeros");
    assert!((5..20).contains(&zeros));
}

#[test]
fn a_lasso_with_more_coefficients_than_rows_converges_once_its_active_set_is_found() {
    let r = regression(50, 100, 5, 1);
    let (map, theta) = lasso(&r, 0.1);
    let run = assert_rates("Lasso 50 x 100", ".93227/.93228", &map, &[0.0; 100], &theta);
    let zeros = run.x.iter().filter(|x| **x == 0.0).count();
    println!("{zeros} zeros");
    assert!(zeros > 50);
}

#[test]
fn sparse_inverse_covariance_by_douglas_rachford_converges_at_its_spectral_radius() {
    let (map, start, theta) = inverse_covariance(8, 0.1, 1);
    assert_rates("inverse covariance", ".769/.774", &map, &start, &theta);
}

#[test]
fn trend_filtering_by_admm_converges_at_its_spectral_radius() {
    let (map, theta) = trend_filtering(40, 0.5, 0.01, 1);
    let state = [0.0; 116];
    let name = "trend filtering";
    assert_rates(name, ".99616/.99616", &map, &state, &theta);
}
