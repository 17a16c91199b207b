//! One item of each fault in one batch: its own error and status; the others as if they were alone, to the last bit, in order, whatever
//! the threads; forward, backward and along tangents.

use conediff::{
    Budget, Cancel, Checked, ClarabelLinearSolver, Cone, ConeProgram, ConicLayer, DataTangent,
    Error, ForwardSolver, LayerData, LayerSettings, LinearBackend, Result, Solution,
    SolutionTangent,
};
use std::time::Duration;

/// minimize x1^2 / 2 + q'x subject to x1 + x2 <= b1, x1 <= b2, -x1 <= b3.
fn program() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 0.0]),
        vec![-1.0, -1.0],
        (&[0, 3, 4], &[0, 1, 2, 0], &[1.0, 1.0, -1.0, 1.0]),
        vec![1.0, 2.0, 1.0],
        vec![Cone::Nonnegative(3)],
    )
    .unwrap()
}

/// Nothing is timed.
fn settings(forward: ForwardSolver) -> LayerSettings {
    let mut settings = LayerSettings {
        forward,
        clarabel: ClarabelLinearSolver::Qdldl,
        ..LayerSettings::default()
    };
    settings.settings.linear.backend = LinearBackend::Dense;
    settings
}

const INFEASIBLE: [f64; 3] = [1.0, -3.0, 1.0];
const UNBOUNDED: [f64; 2] = [0.0, 1.0];
const NOT_A_NUMBER: [f64; 2] = [0.0, f64::NAN];

/// What an item of the batch is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Good,
    Infeasible,
    Unbounded,
    NotANumber,
    Late,
    Cancelled,
}

/// Faults among good ones, the first and the last item among them.
const BATCH: [Kind; 13] = [
    Kind::Late,
    Kind::Good,
    Kind::Infeasible,
    Kind::Good,
    Kind::NotANumber,
    Kind::Good,
    Kind::Good,
    Kind::Cancelled,
    Kind::Good,
    Kind::Unbounded,
    Kind::Late,
    Kind::Good,
    Kind::Cancelled,
];

fn is_right(kind: Kind, error: &Error) -> bool {
    match kind {
        Kind::Good => false,
        Kind::Infeasible => matches!(error, Error::PrimalInfeasible { .. }),
        Kind::Unbounded => matches!(error, Error::DualInfeasible { .. }),
        Kind::NotANumber => matches!(
            error,
            Error::NonFinite {
                what: "q",
                index: 1,
                ..
            }
        ),
        Kind::Late => matches!(error, Error::TimeLimit { limit, .. } if *limit == 1e-9),
        Kind::Cancelled => matches!(error, Error::Cancelled { .. }),
    }
}

/// Costs of the good items.
fn costs() -> Vec<[f64; 2]> {
    (0..BATCH.len())
        .map(|k| [-1.0 - 0.1 * k as f64, -0.5 - 0.03 * k as f64])
        .collect()
}

struct Faults {
    costs: Vec<[f64; 2]>,
    late: Budget,
    cancelled: Budget,
}

impl Faults {
    fn new() -> Self {
        let stop = Cancel::new();
        stop.cancel();
        Self {
            costs: costs(),
            late: Budget::default().with_time_limit(Duration::from_nanos(1)),
            cancelled: Budget::default().with_cancel(&stop),
        }
    }

    fn data(&self) -> Vec<LayerData<'_>> {
        let item = |(k, kind): (usize, &Kind)| {
            let good = LayerData::default().with_q(&self.costs[k]);
            match kind {
                Kind::Good => good,
                Kind::Infeasible => good.with_b(&INFEASIBLE),
                Kind::Unbounded => good.with_q(&UNBOUNDED),
                Kind::NotANumber => good.with_q(&NOT_A_NUMBER),
                Kind::Late => good.with_budget(&self.late),
                Kind::Cancelled => good.with_budget(&self.cancelled),
            }
        };
        BATCH.iter().enumerate().map(item).collect()
    }
}

fn seeds() -> Vec<SolutionTangent> {
    let program = program();
    let seed = |k| SolutionTangent::random(&program, k as u64);
    (0..BATCH.len()).map(seed).collect()
}

fn tangents() -> Vec<DataTangent> {
    let program = program();
    let tangent = |k| DataTangent::random(&program, 100 + k as u64);
    (0..BATCH.len()).map(tangent).collect()
}

type Item = (Solution, Checked<DataTangent>, Checked<SolutionTangent>);

/// A good item by itself in a fresh layer.
fn alone(forward: ForwardSolver, k: usize) -> Item {
    let mut layer = ConicLayer::new(&program(), settings(forward)).unwrap();
    let cost = costs()[k];
    let solution = layer.forward(&LayerData::default().with_q(&cost));
    (
        solution.unwrap().clone(),
        layer.backward(&seeds()[k]).unwrap(),
        layer.jvp(&tangents()[k]).unwrap(),
    )
}

fn check(
    forward: ForwardSolver,
    solutions: &[Result<Solution>],
    gradients: &[Result<Checked<DataTangent>>],
    jvps: &[Result<Checked<SolutionTangent>>],
) {
    assert_eq!(
        [solutions.len(), gradients.len(), jvps.len()],
        [BATCH.len(); 3]
    );
    for (k, kind) in BATCH.into_iter().enumerate() {
        if kind == Kind::Good {
            let (solution, gradient, jvp) = alone(forward, k);
            assert_eq!(solutions[k].as_ref().unwrap(), &solution, "{k}");
            assert_eq!(gradients[k].as_ref().unwrap(), &gradient, "{k}");
            assert_eq!(jvps[k].as_ref().unwrap(), &jvp, "{k}");
            assert!(gradient.trusted && jvp.trusted);
            continue;
        }
        let error = solutions[k].as_ref().unwrap_err();
        assert!(is_right(kind, error), "{k} {kind:?}: {error}");
        for missing in [
            gradients[k].as_ref().map(drop).unwrap_err(),
            jvps[k].as_ref().map(drop).unwrap_err(),
        ] {
            assert!(matches!(missing, Error::NoForward { item } if *item == k));
        }
    }
}

#[test]
fn each_fault_is_its_items_own_in_every_direction_and_on_any_number_of_threads() {
    let faults = Faults::new();
    for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
        for threads in [1, 2, 8] {
            let settings = settings(forward).with_threads(threads);
            let mut layer = ConicLayer::new(&program(), settings).unwrap();
            // The second time the items have memory, and the solvers of the threads a past.
            for round in 1..=2 {
                let solutions = layer.forward_batch(&faults.data());
                let gradients = layer.backward_batch(&seeds()).unwrap();
                let jvps = layer.jvp_batch(&tangents()).unwrap();
                check(forward, &solutions, &gradients, &jvps);
                let counts = layer.counts();
                let bad = BATCH.iter().filter(|k| **k != Kind::Good).count() as u64;
                assert_eq!(counts.failed, round * bad);
                assert_eq!(counts.forwards, round * BATCH.len() as u64);
            }
        }
    }
}

#[test]
fn a_budget_of_the_whole_call_leaves_done_items_done() {
    let costs = costs();
    let data: Vec<LayerData<'_>> = (0..BATCH.len())
        .map(|k| LayerData::default().with_q(&costs[k]))
        .collect();
    let spent = Budget::default().with_time_limit(Duration::ZERO);
    for threads in [1, 2, 8] {
        let settings = settings(ForwardSolver::Clarabel).with_threads(threads);
        let mut layer = ConicLayer::new(&program(), settings).unwrap();
        // The backward's budget is the backward's: the items stay.
        let solutions = layer.forward_batch(&data);
        assert!(solutions.iter().all(Result::is_ok));
        let late = spent.run(|| layer.backward_batch(&seeds())).unwrap();
        let is_late = |e: Option<&Error>| matches!(e, Some(Error::TimeLimit { .. }));
        assert!(late.iter().all(|g| is_late(g.as_ref().err())));
        let late = spent.run(|| layer.jvp_batch(&tangents())).unwrap();
        assert!(late.iter().all(|g| is_late(g.as_ref().err())));
        let gradients = layer.backward_batch(&seeds()).unwrap();
        for (k, gradient) in gradients.iter().enumerate() {
            let expected = alone(ForwardSolver::Clarabel, k).1;
            assert_eq!(gradient.as_ref().unwrap(), &expected, "{k}");
        }
        let late = spent.run(|| layer.forward_batch(&data));
        assert!(late.iter().all(|s| is_late(s.as_ref().err())));
    }
}

#[test]
fn a_batch_that_is_cancelled_halfway_keeps_what_it_has() {
    // The item whose turn it is when the handle goes is stopped, or was done.
    let costs: Vec<[f64; 2]> = (0..4000)
        .map(|k| [-1.0 - 1e-4 * f64::from(k), -0.5])
        .collect();
    let data: Vec<LayerData<'_>> = costs
        .iter()
        .map(|q| LayerData::default().with_q(q))
        .collect();
    for threads in [1, 2, 8] {
        let settings = settings(ForwardSolver::DenseQp).with_threads(threads);
        let mut layer = ConicLayer::new(&program(), settings.clone()).unwrap();
        let stop = Cancel::new();
        let budget = Budget::default().with_cancel(&stop);
        let solutions = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(5));
                stop.cancel();
            });
            budget.run(|| layer.forward_batch(&data))
        });
        assert_eq!(solutions.len(), data.len());
        let mut fresh = ConicLayer::new(&program(), settings).unwrap();
        for (k, found) in solutions.iter().enumerate() {
            match found {
                Ok(found) if k % 50 == 0 => {
                    assert_eq!(found, fresh.forward(&data[k]).unwrap(), "{k}");
                }
                Ok(_) => {}
                Err(error) => assert!(matches!(error, Error::Cancelled { .. }), "{error}"),
            }
        }
        let done = solutions.iter().filter(|s| s.is_ok()).count();
        println!("{threads} threads: {done} of {} done", data.len());
        assert!(done < data.len(), "{threads} threads: all were done");
    }
}
