//! Batches with some items at kinks or singular points, under every selection and policy.

use conediff::{
    Checked, ConeProgram, ConicLayer, DataTangent, LayerData, LayerSettings, Parametrization,
    ParametrizedLayer, Policy, Selection, SolutionTangent, WarmStart,
};

use super::support::{Data, untimed};
use crate::support::relative;

/// minimize 1/2 h x1^2 + q'x subject to x1 + x2 <= b1, x1 <= b2, x2 <= b3, -x <= 1: at different data smooth, at a kink, and
/// with infinitely many solutions.
fn program(q: [f64; 2], b: [f64; 3]) -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 0.0]),
        q.to_vec(),
        (
            &[0, 3, 6],
            &[0, 1, 3, 0, 2, 4],
            &[1.0, 1.0, -1.0, 1.0, 1.0, -1.0],
        ),
        vec![b[0], b[1], b[2], 1.0, 1.0],
        vec![conediff::Cone::Nonnegative(5)],
    )
    .unwrap()
}

/// Smooth, at a kink, singular, smooth elsewhere, at the kink again.
fn items() -> Vec<ConeProgram> {
    vec![
        program([-0.5, -0.25], [2.0, 3.0, 1.0]),
        program([-1.0, -0.25], [3.0, 1.0, 1.0]),
        program([-0.5, 0.0], [2.0, 3.0, 1.0]),
        program([-2.0, -0.25], [2.0, 0.5, 1.0]),
        program([-1.0, -0.25], [3.0, 1.0, 1.0]),
    ]
}

fn settings(selection: Selection, policy: Policy, threads: usize) -> LayerSettings {
    let mut settings = untimed().with_threads(threads);
    settings.settings = settings
        .settings
        .with_selection(selection)
        .with_policy(policy);
    settings
}

fn choices() -> Vec<(Selection, Policy)> {
    let selections = [
        Selection::Active,
        Selection::Inactive,
        Selection::Half,
        Selection::Random(7),
        Selection::NonsingularFirst,
        Selection::MinimumNorm,
    ];
    let policies = [
        Policy::Flag,
        Policy::MinimumNorm,
        Policy::Tikhonov { rho: 1e-3 },
        Policy::Smoothing { mu: 1e-3 },
        Policy::Lagrangian { tau: 1e-3 },
    ];
    selections
        .into_iter()
        .flat_map(|s| policies.into_iter().map(move |p| (s, p)))
        .collect()
}

type Answers = Vec<(Checked<SolutionTangent>, Checked<DataTangent>)>;

/// P stays: a step along dP would leave the convex programs.
fn seeds(program: &ConeProgram) -> (DataTangent, SolutionTangent) {
    let mut tangent = DataTangent::random(program, 1);
    tangent.p.fill(0.0);
    (tangent, SolutionTangent::random(program, 2))
}

fn of_batch(layer: &mut ConicLayer, programs: &[ConeProgram]) -> Answers {
    let data: Vec<Data> = programs.iter().map(Data::of).collect();
    let data: Vec<LayerData<'_>> = data.iter().map(Data::all).collect();
    assert!(layer.forward_batch(&data).iter().all(Result::is_ok));
    let (tangent, seed) = seeds(&programs[0]);
    let jvps = layer.jvp_batch(&vec![tangent; programs.len()]).unwrap();
    let vjps = layer.backward_batch(&vec![seed; programs.len()]).unwrap();
    jvps.into_iter()
        .zip(vjps)
        .map(|(j, v)| (j.unwrap(), v.unwrap()))
        .collect()
}

fn of_loop(layer: &mut ConicLayer, programs: &[ConeProgram]) -> Answers {
    let (tangent, seed) = seeds(&programs[0]);
    programs
        .iter()
        .map(|program| {
            layer.forward_program(program).unwrap();
            (layer.jvp(&tangent).unwrap(), layer.backward(&seed).unwrap())
        })
        .collect()
}

#[test]
fn batches_with_items_at_kinks_are_the_loop_whatever_the_threads() {
    let programs = items();
    for (selection, policy) in choices() {
        let layer =
            |threads| ConicLayer::new(&programs[0], settings(selection, policy, threads)).unwrap();
        let alone = of_loop(&mut layer(1), &programs);
        // The items are what they are said to be.
        assert!(
            alone[0].0.trusted && alone[3].0.trusted,
            "{selection:?} {policy:?}"
        );
        assert!(!alone[1].0.trusted && !alone[2].0.trusted);
        assert_eq!(alone[1].0.value, alone[4].0.value);
        for threads in [1, 2, 3] {
            let mut layer = layer(threads);
            for _ in 0..2 {
                let found = of_batch(&mut layer, &programs);
                for (a, b) in alone.iter().zip(&found) {
                    let name = format!("{selection:?} {policy:?} {threads}");
                    assert!(a.0.value == b.0.value && a.1.value == b.1.value, "{name}");
                    assert!(
                        a.0.meaning == b.0.meaning && a.1.trusted == b.1.trusted,
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_item_at_a_kink_spoils_no_later_warm_start() {
    let programs = items();
    let order = [1, 0, 2, 0, 3, 1, 3, 2, 3, 4, 0];
    for (selection, policy) in choices() {
        let mut warm = ConicLayer::new(
            &programs[0],
            settings(selection, policy, 1).with_warm_start(WarmStart::Previous),
        )
        .unwrap();
        let mut cold = ConicLayer::new(&programs[0], settings(selection, policy, 1)).unwrap();
        for (step, k) in order.into_iter().enumerate() {
            let one = std::slice::from_ref(&programs[k]);
            let (a, b) = (of_loop(&mut warm, one), of_loop(&mut cold, one));
            let name = format!("{selection:?} {policy:?} step {step} item {k}");
            assert_eq!(a[0].0.trusted, b[0].0.trusted, "{name}");
            // Where the solution is not unique, a warm start may find another.
            if k != 2 {
                let near = |a: &[f64], b: &[f64]| relative(a, b) < 1e-8;
                assert!(near(&a[0].0.value.x, &b[0].0.value.x), "{name}");
                assert!(near(&a[0].1.value.b, &b[0].1.value.b), "{name}");
                assert_eq!(a[0].0.meaning, b[0].0.meaning, "{name}");
            }
        }
    }
}

#[test]
fn parametrized_batches_at_kinks_are_the_loop() {
    let base = items().remove(1);
    // theta moves q1 and b2: at 0 the program is at its kink.
    let one = |rows: usize, row: usize, column: usize, value: f64| {
        let mut triplets = sprs::TriMat::new((rows, 2));
        triplets.add_triplet(row, column, value);
        triplets.to_csc::<usize>()
    };
    let (q, b) = (one(2, 0, 0, -1.0), one(5, 1, 1, 1.0));
    let parametrization = Parametrization::new(&base, None, Some(&q), None, Some(&b)).unwrap();
    let theta = [
        vec![0.0, 0.0],
        vec![0.3, 0.0],
        vec![0.0, 0.5],
        vec![0.0, 0.0],
    ];
    let seed = SolutionTangent::random(&base, 2);
    for (selection, policy) in choices() {
        let layer = |threads| {
            ParametrizedLayer::new(
                &base,
                parametrization.clone(),
                settings(selection, policy, threads),
            )
            .unwrap()
        };
        let mut one = layer(1);
        let alone: Vec<Vec<f64>> = theta
            .iter()
            .map(|theta| {
                one.forward(theta).unwrap();
                one.backward(&seed).unwrap().value
            })
            .collect();
        for threads in [1, 2] {
            let mut layer = layer(threads);
            assert!(layer.forward_batch(&theta).iter().all(Result::is_ok));
            let found = layer
                .backward_batch(&vec![seed.clone(); theta.len()])
                .unwrap();
            for (a, b) in alone.iter().zip(found) {
                assert_eq!(*a, b.unwrap().value, "{selection:?} {policy:?}");
            }
        }
    }
}
