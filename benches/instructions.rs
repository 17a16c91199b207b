//! Steps to count instructions of: callgrind.sh runs `instructions CASE STEPS` under valgrind.
//!
//! Everything that a timing would decide is fixed, so that a case does the same work in each run.

#[path = "../tests/suite/families.rs"]
mod families;
mod support;

use conediff::{
    ClarabelLinearSolver, ConicLayer, DataTangent, ForwardPath, ForwardSolver, LayerSettings,
    LinearBackend, WarmStart,
};
use support::{STEP, Values, everything, known};

/// Items the steps go through.
const ITEMS: usize = 8;

struct Case {
    family: &'static str,
    forward: ForwardSolver,
    backend: LinearBackend,
    warm: bool,
}

fn case(name: &str) -> Option<Case> {
    let cold = |family, forward, backend| Case {
        family,
        forward,
        backend,
        warm: false,
    };
    match name {
        "qp-dense-20-cold" => Some(cold(
            "qp-dense-20",
            ForwardSolver::DenseQp,
            LinearBackend::Dense,
        )),
        "mpc-20-warm" => Some(Case {
            warm: true,
            ..cold("mpc-20", ForwardSolver::Clarabel, LinearBackend::Simplicial)
        }),
        "exp-200-cold" => Some(cold(
            "exp-200",
            ForwardSolver::Clarabel,
            LinearBackend::Supernodal,
        )),
        _ => None,
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, steps] = arguments.as_slice() else {
        println!("instructions CASE STEPS: see callgrind.sh");
        return;
    };
    let case = case(name).expect("a case of callgrind.sh");
    let steps: usize = steps.parse().expect("a number of steps");
    let family = families::named(case.family).expect("a name of the list");
    let mut settings = LayerSettings {
        clarabel: ClarabelLinearSolver::Qdldl,
        warm_start: if case.warm {
            WarmStart::Previous
        } else {
            WarmStart::Off
        },
        ..LayerSettings::default().with_forward(case.forward)
    };
    settings.settings.linear.backend = case.backend;
    let mut layer = ConicLayer::new(&family.program, settings).expect("valid");
    // A path to walk to and fro, or items.
    let items = (0..ITEMS).map(|k| match case.warm {
        true => family.path(k.min(ITEMS - k), STEP),
        false => family.item(k as u64, STEP),
    });
    let items: Vec<Values> = items
        .map(|item| Values::new(&item, family.moving))
        .collect();
    layer.forward(&items[0].data()).expect("solvable");
    let (cotangent, _) = known(layer.derivative().expect("just solved"));
    let mut gradient = DataTangent::default();
    for k in 1..=steps {
        layer.forward(&items[k % ITEMS].data()).expect("solvable");
        let is_warm = layer.path(0) == Some(ForwardPath::Warm);
        assert_eq!(is_warm, case.warm, "step {k}: {:?}", layer.path(0));
        let evidence = layer.backward_into(&cotangent, everything(), &mut gradient);
        assert!(evidence.expect("fits").converged);
    }
}
