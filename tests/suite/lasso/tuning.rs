//! Descent on log lambda: to a smooth minimum, to a kink, in several parameters.

use super::make_regression::{make_regression, shuffled_folds};
use super::support::{columns, diabetes, random, sparse};
use conediff::least_norm_in_hull;
use conediff::systems::lasso::{
    Criterion, CrossValidation, FitSettings, Folds, HoldOut, Penalty, SparseRegression,
    TuneSettings, TuneStop, tune,
};

#[test]
fn the_diabetes_hold_out_error_is_least_after_a_few_steps() {
    let (x, y) = diabetes();
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let rows: Vec<usize> = (221..442).collect();
    let mut criterion = HoldOut::split(&regression, &rows, FitSettings::default()).unwrap();
    let largest = criterion.training().lambda_max();
    assert!((largest - 426.5910914).abs() < 1e-6);
    let mut reached = None;
    let found = tune(
        &mut criterion,
        &Penalty::lasso(largest / 5.0),
        &TuneSettings::default(),
        |step| {
            println!(
                "{} {:.9} {:.3e} {}",
                step.evaluations, step.value, step.gradient[0], step.accepted
            );
            if reached.is_none() && (step.value - 2926.568106).abs() < 1e-6 {
                reached = Some(step.evaluations - 1);
            }
        },
    )
    .unwrap();
    let ratio = found.best.penalty.parameters()[0] / largest;
    println!(
        "{:.9} at {ratio:.12}, {:?}, {reached:?} steps",
        found.best.value, found.stop
    );
    assert!(found.stop == TuneStop::Stationary && found.best.gradient.trusted);
    assert!((found.best.value - 2926.568106).abs() < 1e-6);
    assert!((ratio - 0.0326100835).abs() < 1e-9);
    assert!(reached.is_some_and(|steps| steps <= 10) && found.evaluations <= 11);
    let support = found.best.fits().next().unwrap().support().len();
    assert_eq!(support, 8);
}

#[test]
fn cross_validation_ends_at_the_kink_of_the_reference() {
    let (x, y) = make_regression(500, 1000, 40.0, 42);
    let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
    let folds = Folds::given(500, shuffled_folds(500, 5, 42)).unwrap();
    let mut criterion =
        CrossValidation::new(&regression, &folds, true, FitSettings::default()).unwrap();
    let largest = regression.lambda_max();
    let at = criterion
        .evaluate(&Penalty::lasso(0.0540264543 * largest))
        .unwrap();
    println!(
        "at the rounded reference: {:.8}, {:?}",
        at.value, at.gradient.value
    );
    assert!((at.value - 1925.39689309).abs() < 1e-6);

    let found = tune(
        &mut criterion,
        &Penalty::lasso(0.1 * largest),
        &TuneSettings::default(),
        |step| {
            let ratio = step.penalty.parameters()[0] / largest;
            println!(
                "{} {ratio:.12} {:.9} {:?} {}",
                step.evaluations, step.value, step.one_sided, step.accepted
            );
        },
    )
    .unwrap();
    let ratio = found.best.penalty.parameters()[0] / largest;
    let [left, right] = found.best.one_sided().unwrap();
    println!(
        "{:.8} at {ratio:.12}: {left:.4}, {right:.4}, {:?}",
        found.best.value, found.stop
    );
    assert!(matches!(found.stop, TuneStop::Knot { .. }) && found.best.is_at_knot());
    assert!(
        (found.best.value - 1925.39689309).abs() < 1e-7 && (ratio - 0.0540264543).abs() < 1e-10
    );
    assert!((left + 11.18).abs() < 0.005 && (right - 6.09).abs() < 0.005);
    let hull = least_norm_in_hull(&[vec![left], vec![right]]).unwrap();
    assert!(hull.is_stationary(&[vec![left], vec![right]], 1e-12));
    assert!(!found.best.gradient.trusted);
}

#[test]
fn from_either_side_of_many_problems_the_end_is_a_local_minimum() {
    let (mut smooth, mut kinks, mut most) = (0, 0, 0);
    for seed in 0..12 {
        let (x, y) = random(40, 30, 0.7, seed);
        let regression = SparseRegression::least_squares(columns(&x), y).unwrap();
        let folds = Folds::shuffled(40, 4, seed).unwrap();
        let mut criterion =
            CrossValidation::new(&regression, &folds, true, FitSettings::default()).unwrap();
        for share in [0.5, 0.01] {
            let start = Penalty::lasso(share * regression.lambda_max());
            let found = tune(&mut criterion, &start, &TuneSettings::default(), |_| {}).unwrap();
            assert!(found.is_converged(), "{seed} {share}: {:?}", found.stop);
            most = most.max(found.evaluations);
            match found.stop {
                TuneStop::Knot { left, right } => {
                    assert!(left <= 0.0 && right >= 0.0);
                    kinks += 1;
                }
                _ => smooth += 1,
            }
            let log = found.best.penalty.logs()[0];
            for step in [-1e-4, 1e-4] {
                let moved = found.best.penalty.with_logs(&[log + step]).unwrap();
                assert!(
                    criterion.evaluate(&moved).unwrap().value >= found.best.value * (1.0 - 1e-13)
                );
            }
        }
    }
    println!("{smooth} smooth, {kinks} at kinks, at most {most} evaluations");
    assert!(smooth > 0 && kinks > 0);
}

#[test]
fn an_elastic_net_and_a_weight_for_each_column_descend_to_a_stationary_point() {
    let (x, y) = random(60, 8, 0.8, 20);
    let regression = SparseRegression::least_squares(sparse(&x), y).unwrap();
    let rows: Vec<usize> = (0..60).step_by(2).collect();
    let t = 0.1 * regression.lambda_max();
    for start in [Penalty::elastic_net(t, 1.0), Penalty::weighted(vec![t; 8])] {
        let mut criterion = HoldOut::split(&regression, &rows, FitSettings::default()).unwrap();
        let first = criterion.evaluate(&start).unwrap();
        let settings = TuneSettings {
            max_evaluations: 300,
            tolerance: 1e-7,
            ..TuneSettings::default()
        };
        let found = tune(&mut criterion, &start, &settings, |_| {}).unwrap();
        let size = found
            .best
            .gradient
            .value
            .iter()
            .fold(0.0_f64, |m, g| m.max(g.abs()));
        println!(
            "{} from {}, {:?}, {} evaluations, gradient {size:.1e}",
            found.best.value, first.value, found.stop, found.evaluations
        );
        assert!(found.best.value < first.value);
        match found.stop {
            TuneStop::Stationary => assert!(size <= 1e-7 * found.best.value),
            TuneStop::Stalled { hull } => assert!(hull < 1e-3 * first.value, "{hull:e}"),
            stop => panic!("{stop:?}"),
        }
    }
}
