//! What the counts say is what happened, and what misses is answered all the same.

use conediff::{
    Cone, ConeProgram, ConicLayer, ForwardPath, Generator, LayerCounts, LayerData, LayerSettings,
    WarmStart,
};

use super::random::recipes;
use super::support::{INFEASIBLE, KNOWN, Known, distance, small, solve_default, untimed};
use crate::families::{self, Family};

fn assert_they_add_up(counts: LayerCounts) {
    let paths = counts.warm + counts.dense_qp + counts.cheap + counts.full;
    assert_eq!(counts.forwards, paths + counts.failed, "{counts:?}");
}

#[test]
fn counts_add_up_and_agree_with_the_paths() {
    for warm_start in [WarmStart::Off, WarmStart::Previous] {
        let settings = LayerSettings::default().with_warm_start(warm_start.clone());
        let mut layer = ConicLayer::new(&small(), settings).unwrap();
        let mut expected = LayerCounts::default();
        let infeasible = LayerData::default().with_b(&INFEASIBLE);
        for data in [LayerData::default(), infeasible, LayerData::default()] {
            for _ in 0..2 {
                let _ = layer.forward(&data);
                expected.forwards += 1;
                match layer.path(0) {
                    Some(ForwardPath::Warm) => expected.warm += 1,
                    Some(ForwardPath::DenseQp) => expected.dense_qp += 1,
                    Some(ForwardPath::Cheap) => expected.cheap += 1,
                    Some(ForwardPath::Full) => expected.full += 1,
                    None => expected.failed += 1,
                }
            }
        }
        assert_eq!(expected.failed, 2);
        if warm_start == WarmStart::Previous {
            // The second and the last come from the ones before, the first infeasible one misses; the others have no start.
            assert_eq!(expected.warm, 2);
            expected.warm_missed = 1;
        }
        assert_eq!(layer.counts(), expected);
        assert_they_add_up(layer.counts());
    }
}

#[test]
fn a_batch_counts_what_the_loop_counts() {
    let good = LayerData::default();
    let infeasible = LayerData::default().with_b(&INFEASIBLE);
    let nan = LayerData::default().with_q(&[f64::NAN, 0.0]);
    let rounds = [
        [good, good, good],
        [good, infeasible, nan],
        [infeasible, good, good],
    ];
    let settings = untimed().with_warm_start(WarmStart::Previous);
    // One layer an item: the loop.
    let mut layers = [(); 3].map(|()| ConicLayer::new(&small(), settings.clone()).unwrap());
    let mut batch = ConicLayer::new(&small(), settings.clone().with_threads(2)).unwrap();
    for round in rounds {
        batch.forward_batch(&round);
        let mut sum = LayerCounts::default();
        for (layer, data) in layers.iter_mut().zip(round) {
            let _ = layer.forward(&data);
            let counts = layer.counts();
            sum.forwards += counts.forwards;
            sum.warm += counts.warm;
            sum.warm_missed += counts.warm_missed;
            sum.dense_qp += counts.dense_qp;
            sum.cheap += counts.cheap;
            sum.full += counts.full;
            sum.failed += counts.failed;
        }
        assert_eq!(batch.counts(), sum);
        assert_they_add_up(sum);
    }
    assert_eq!((batch.counts().failed, batch.counts().warm_missed), (3, 2));
}

type Make = fn(u64) -> Family;

#[test]
fn a_warm_start_that_misses_is_counted_and_answered_right() {
    // Each seed is another program altogether, of the same structure.
    let makers: [(&str, Make); 6] = [
        ("qp-dense", |seed| families::qp_dense(20, 5, 20, seed)),
        ("optnet", |seed| families::optnet(20, 8, 20, seed)),
        ("entropy", |seed| families::entropy(30, 5, seed)),
        ("max-cut", |seed| families::max_cut(6, seed)),
        ("nearest", |seed| families::nearest_correlation(8, seed)),
        ("lmi", |seed| families::lmi(6, 8, seed)),
    ];
    let mut missed = 0;
    for (name, make) in makers {
        let settings = untimed().with_warm_start(WarmStart::Previous);
        let mut layer = ConicLayer::new(&make(0).program, settings).unwrap();
        for seed in 0..5 {
            let program = make(seed).program;
            let solution = layer.forward_program(&program).unwrap().clone();
            let off = distance(&solution, &solve_default(&program));
            let error = Known::at(&program, &solution).error(&mut layer);
            assert!(
                off <= KNOWN && error <= KNOWN,
                "{name} {seed}: {off:e} {error:e}"
            );
        }
        let counts = layer.counts();
        assert_they_add_up(counts);
        assert_eq!(counts.warm + counts.warm_missed, 4, "{name}");
        println!("{name}: {} warm starts of 4 missed", counts.warm_missed);
        missed += counts.warm_missed;
    }
    println!("{missed} warm starts missed");
    assert!(missed >= 5);
}

#[test]
fn a_cheap_forward_that_misses_is_answered_by_the_full_one() {
    let mut full = 0;
    for tolerance in [0.5, 1e-2] {
        for (name, recipe) in recipes() {
            for seed in 0..3 {
                let generated = recipe.clone().with_seed(seed).generate().unwrap();
                let settings = LayerSettings {
                    tolerance,
                    ..untimed()
                };
                let mut layer = ConicLayer::new(generated.program(), settings).unwrap();
                let solution = layer.forward_program(generated.program()).unwrap().clone();
                let off = distance(&solution, &solve_default(generated.program()));
                let error = Known::at(generated.program(), &solution).error(&mut layer);
                assert!(
                    off <= KNOWN && error <= KNOWN,
                    "{name} {seed}: {off:e} {error:e}"
                );
                full += layer.counts().full;
                let path = layer.path(0);
                assert!(
                    matches!(path, Some(ForwardPath::Cheap | ForwardPath::Full)),
                    "{path:?}"
                );
            }
        }
    }
    println!("{full} full forwards");
    assert!(full >= 1);
}

#[test]
fn a_linear_program_at_a_wrong_vertex_is_answered_by_the_full_forward() {
    let family = families::named("lp-500").unwrap();
    let settings = LayerSettings {
        tolerance: 0.5,
        ..untimed()
    };
    let mut layer = ConicLayer::new(&family.program, settings).unwrap();
    let solution = layer.forward(&LayerData::default()).unwrap().clone();
    assert_eq!(layer.path(0), Some(ForwardPath::Full));
    assert!(distance(&solution, &solve_default(&family.program)) <= KNOWN);
}

#[test]
fn without_refinement_every_forward_is_full() {
    let mut settings = untimed().with_warm_start(WarmStart::Previous);
    settings.settings.refine.enabled = false;
    let mut layer = ConicLayer::new(&small(), settings).unwrap();
    for _ in 0..2 {
        layer.forward(&LayerData::default()).unwrap();
    }
    let expected = LayerCounts {
        forwards: 2,
        full: 2,
        ..LayerCounts::default()
    };
    assert_eq!(layer.counts(), expected);
    assert!(!layer.derivative().unwrap().warnings().is_empty());
}

#[test]
fn an_item_holds_about_the_bytes_its_factor_takes() {
    let layer_of = |program: &ConeProgram| {
        let mut layer = ConicLayer::new(program, untimed()).unwrap();
        assert_eq!(layer.item_bytes(0), 0);
        layer.forward(&LayerData::default()).unwrap();
        layer
    };
    for n in [20, 40] {
        let generated = Generator::new(n, vec![Cone::Zero(n / 4), Cone::SecondOrder(n)]);
        let layer = layer_of(generated.generate().unwrap().program());
        // The dense factor of about n + n / 4 + n slots.
        let slots = (2 * n + n / 4) as f64;
        let bytes = layer.item_bytes(0) as f64;
        assert!(
            bytes > 4.0 * slots * slots && bytes < 40.0 * slots * slots,
            "{bytes}"
        );
        assert_eq!(layer.item_bytes(1), 0);
    }
}
