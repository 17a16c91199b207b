//! What does not depend on time, threads or what was solved before does not, to the last bit.

use conediff::{
    Cone, ConeProgram, ConicLayer, DataTangent, ForwardSolver, Generator, LayerData, LayerSettings,
    LinearBackend, LinearSolver, ProgramBuilder, Solution, SolutionTangent, WarmStart,
};

use super::random::recipes;
use super::support::{Data, INFEASIBLE, UNBOUNDED, small, untimed};
use crate::families::{self, Family};

const MOVE: f64 = 0.01;

/// Families of every kind, small ones.
fn families() -> [Family; 10] {
    [
        families::qp_dense(20, 5, 20, 0),
        families::mpc(5, 6, 2, 0),
        families::markowitz(30, 5, 0),
        families::entropy(30, 5, 0),
        families::power(5, 0),
        families::generalized_power(3, 4, 2, 0),
        families::max_cut(6, 0),
        families::nearest_correlation(6, 0),
        families::lmi(6, 6, 0),
        families::lp(60, 0),
    ]
}

/// Everything an item gives.
#[derive(Debug, PartialEq)]
struct Answer {
    solution: Solution,
    jvp: SolutionTangent,
    gradient: DataTangent,
}

/// `None` without a solution.
fn answer(layer: &mut ConicLayer, program: &ConeProgram) -> Option<Answer> {
    let solution = layer.forward_program(program).ok()?.clone();
    let tangent = DataTangent::random(program, 1);
    let cotangent = SolutionTangent::random(program, 2);
    Some(Answer {
        solution,
        jvp: layer.jvp(&tangent).unwrap().value,
        gradient: layer.backward(&cotangent).unwrap().value,
    })
}

fn batch(layer: &mut ConicLayer, programs: &[ConeProgram]) -> Vec<Answer> {
    let data: Vec<Data> = programs.iter().map(Data::of).collect();
    let data: Vec<LayerData<'_>> = data.iter().map(Data::all).collect();
    let solutions = layer.forward_batch(&data);
    let tangents = vec![DataTangent::random(&programs[0], 1); programs.len()];
    let cotangents = vec![SolutionTangent::random(&programs[0], 2); programs.len()];
    let jvps = layer.jvp_batch(&tangents).unwrap();
    let gradients = layer.backward_batch(&cotangents).unwrap();
    let parts = solutions.into_iter().zip(jvps).zip(gradients);
    parts
        .map(|((solution, jvp), gradient)| Answer {
            solution: solution.unwrap(),
            jvp: jvp.unwrap().value,
            gradient: gradient.unwrap().value,
        })
        .collect()
}

#[test]
fn a_batch_is_the_loop_whatever_the_threads() {
    for family in families() {
        let programs: Vec<ConeProgram> = (0..5).map(|k| family.item(k, MOVE)).collect();
        let layer = |threads: usize| {
            ConicLayer::new(&family.program, untimed().with_threads(threads)).unwrap()
        };
        let mut one = layer(1);
        let alone: Option<Vec<Answer>> = programs.iter().map(|p| answer(&mut one, p)).collect();
        let alone = alone.unwrap();
        for threads in [1, 2, 3] {
            let mut layer = layer(threads);
            // The second time every item has memory, made by whichever thread.
            for _ in 0..2 {
                assert!(
                    batch(&mut layer, &programs) == alone,
                    "{}, {threads} threads",
                    family.name
                );
            }
        }
    }
}

/// Solves A, B, A, C, A in one layer: every answer is that of a layer that solved nothing before.
fn history_is_nothing(
    name: &str,
    settings: &LayerSettings,
    a: &ConeProgram,
    others: &[ConeProgram],
) {
    let fresh = || ConicLayer::new(a, settings.clone()).unwrap();
    let mut layer = fresh();
    let first = answer(&mut layer, a);
    assert!(first.is_some(), "{name}");
    for (k, other) in others.iter().enumerate() {
        let found = answer(&mut layer, other);
        assert!(found == answer(&mut fresh(), other), "{name}, {k} after A");
        assert!(answer(&mut layer, a) == first, "{name}, A after {k}");
    }
}

/// Settings that time nothing with each solver and each back end.
fn all_untimed() -> Vec<(String, LayerSettings)> {
    let mut all = Vec::new();
    for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
        for backend in [
            LinearBackend::Dense,
            LinearBackend::Simplicial,
            LinearBackend::Supernodal,
        ] {
            let mut settings = untimed().with_forward(forward);
            settings.settings.linear.backend = backend;
            all.push((format!("{forward:?} {backend:?}"), settings));
        }
    }
    let mut unrefined = untimed();
    unrefined.settings.refine.enabled = false;
    all.push(("unrefined".to_string(), unrefined));
    for solver in [LinearSolver::Ldl, LinearSolver::Lu] {
        let mut settings = untimed();
        settings.settings.linear.solver = solver;
        all.push((format!("{solver:?}"), settings));
    }
    all
}

#[test]
fn an_answer_does_not_depend_on_what_was_solved_before() {
    for family in families() {
        let items = [1, 2].map(|k| family.item(k, MOVE));
        for (name, settings) in all_untimed() {
            let name = format!("{} {name}", family.name);
            history_is_nothing(&name, &settings, &family.item(0, MOVE), &items);
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_solved_before_where_only_q_or_b_moves() {
    for family in families() {
        let a = &family.program;
        let times = |v: &[f64], t: f64| v.iter().map(|x| t * x).collect::<Vec<f64>>();
        // Near enough for the factorization to serve, and far from it.
        let others: Vec<ConeProgram> = [1.0 + 1e-9, 1.0 + 1e-5, 1.01, 1.5]
            .into_iter()
            .flat_map(|t| [a.with_q(times(a.q(), t)), a.with_b(times(a.b(), t))])
            .map(Result::unwrap)
            .collect();
        for (name, settings) in all_untimed() {
            history_is_nothing(&format!("{} {name}", family.name), &settings, a, &others);
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_solved_before_where_systems_are_ill_conditioned() {
    for (name, recipe) in recipes() {
        for condition in [1e5, 1e8] {
            for seed in 0..3 {
                let recipe = recipe.clone().with_condition(condition).with_seed(seed);
                // At 1e8 some recipes find no regular program.
                let Ok(generated) = recipe.generate() else {
                    continue;
                };
                let a = generated.program();
                let times = |v: &[f64], t: f64| v.iter().map(|x| t * x).collect::<Vec<f64>>();
                let others: Vec<ConeProgram> = [1.0 + 1e-9, 1.01, 0.5, 3.0]
                    .into_iter()
                    .flat_map(|t| [a.with_q(times(a.q(), t)), a.with_b(times(a.b(), t))])
                    .map(Result::unwrap)
                    .collect();
                let name = format!("{name} {seed} at {condition:.0e}");
                history_is_nothing(&name, &untimed(), a, &others);
            }
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_a_program_without_a_solution() {
    let a = small();
    let infeasible = a.with_b(INFEASIBLE.to_vec()).unwrap();
    let unbounded = a.with_q(UNBOUNDED.to_vec()).unwrap();
    let degenerate = a.with_b(vec![1.0, -1.0, 1.0]).unwrap();
    for (name, settings) in all_untimed() {
        let others = [infeasible.clone(), unbounded.clone(), degenerate.clone()];
        history_is_nothing(&name, &settings, &a, &others);
    }
}

#[test]
fn an_answer_does_not_depend_on_a_singular_program() {
    // Two equal rows: z is not unique where they are active.
    let mut builder = ProgramBuilder::new(2);
    for j in 0..2 {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -1.0);
    }
    builder.inequality(&[(0, 1.0), (1, 0.5)], 0.5);
    builder.inequality(&[(0, 1.0), (1, 0.5)], 0.5);
    let a = builder.build().unwrap();
    let others = [
        a.with_q(vec![-2.0, -1.0]).unwrap(),
        a.with_b(vec![0.5, 0.7]).unwrap(),
        a.with_q(vec![0.1, 0.1]).unwrap(),
    ];
    for (name, settings) in all_untimed() {
        history_is_nothing(&name, &settings, &a, &others);
        for other in &others {
            history_is_nothing(&name, &settings, other, std::slice::from_ref(&a));
        }
    }
}

#[test]
fn a_warm_start_given_to_all_gives_the_same_answers_whatever_the_order() {
    let cones = vec![Cone::Nonnegative(12), Cone::SecondOrder(5)];
    let generated = Generator::new(10, cones).generate().unwrap();
    let a = generated.program();
    let moved: Vec<ConeProgram> = (1..4)
        .map(|k| {
            let q = a.q().iter().map(|q| q * (1.0 + 0.01 * f64::from(k)));
            a.with_q(q.collect()).unwrap()
        })
        .collect();
    let mut layer = ConicLayer::new(a, untimed()).unwrap();
    let start = Box::new(layer.forward_program(a).unwrap().clone());
    layer.set_warm_start(WarmStart::Given(start));
    let there: Vec<Solution> = moved
        .iter()
        .map(|m| layer.forward_program(m).unwrap().clone())
        .collect();
    let back: Vec<Solution> = moved
        .iter()
        .rev()
        .map(|m| layer.forward_program(m).unwrap().clone())
        .collect();
    for (there, back) in there.iter().zip(back.iter().rev()) {
        assert!(super::support::distance(there, back) <= 1e-12);
    }
}
