//! What a derivative costs beside the solve: Clarabel, refinement, preparation, one VJP, for each family in one run.

use conediff::{
    Budget, Cone, Derivative, Generator, LinearSolver, Settings, SolutionTangent, Wanted,
    interior_point, refine, solve,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

fn families() -> Vec<(&'static str, Generator)> {
    let cones = |n: usize, cones: Vec<Cone>| Generator::new(n, cones);
    vec![
        (
            "qp-dense-50",
            cones(50, vec![Cone::Zero(10), Cone::Nonnegative(50)]),
        ),
        (
            "qp-dense-200",
            cones(200, vec![Cone::Zero(50), Cone::Nonnegative(200)]),
        ),
        (
            "qp-sparse-300",
            cones(300, vec![Cone::Zero(60), Cone::Nonnegative(300)]).with_density(0.01),
        ),
        (
            "second-order-40x4",
            cones(160, vec![Cone::SecondOrder(4); 40]),
        ),
        (
            "second-order-200",
            cones(100, vec![Cone::SecondOrder(200), Cone::Nonnegative(50)]),
        ),
        ("psd-20", cones(60, vec![Cone::PsdTriangle(20)])),
        ("exponential-50", cones(100, vec![Cone::Exponential; 50])),
        ("power-50", cones(100, vec![Cone::Power(0.3); 50])),
    ]
}

fn derivative(c: &mut Criterion) {
    let settings = Settings::default();
    for (name, generator) in families() {
        let generated = generator.generate().expect("the recipe is valid");
        let program = generated.program();
        let raw = interior_point(program, &settings.solve).expect("solvable by construction");
        let solution = refine(program, &raw, &settings).expect("refines");
        let prepared = Derivative::new(program, &solution, &settings).expect("regular");
        let cotangent = SolutionTangent::random(program, 1);
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("1 interior point", |b| {
            b.iter(|| interior_point(black_box(program), &settings.solve));
        });
        group.bench_function("2 refine", |b| {
            b.iter(|| refine(program, black_box(&raw), &settings));
        });
        group.bench_function("3 prepare", |b| {
            b.iter(|| Derivative::new(program, black_box(&solution), &settings));
        });
        let mut work = prepared.workspace();
        let mut out = prepared.vjp(&cotangent).expect("fits").value;
        group.bench_function("4 vjp", |b| {
            b.iter(|| {
                prepared.vjp_into(
                    black_box(&cotangent),
                    Wanted::default(),
                    &mut out,
                    &mut work,
                )
            });
        });
        let lu = settings.with_linear_solver(LinearSolver::Lu);
        group.bench_function("3 prepare by LU", |b| {
            b.iter(|| Derivative::new(program, black_box(&solution), &lu));
        });
        group.finish();
    }
}

/// What a VJP costs where its error has to be estimated, and what a budget does, beside the same VJP.
fn estimated(c: &mut Criterion) {
    let settings = Settings::default();
    for (name, generator) in families() {
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        for condition in [1e3, 1e7] {
            let generated = generator.clone().with_condition(condition).generate();
            let generated = generated.expect("the recipe is valid");
            let program = generated.program();
            let solution = solve(program, &settings).expect("solvable by construction");
            let prepared = Derivative::new(program, &solution, &settings).expect("regular");
            let cotangent = SolutionTangent::random(program, 1);
            let mut work = prepared.workspace();
            let first = prepared.vjp(&cotangent).expect("fits");
            let (mut out, evidence) = (first.value, first.evidence);
            println!(
                "{name}: condition {:.1e}, {} refinement steps, error {:.1e}",
                evidence.condition, evidence.refinement_steps, evidence.error
            );
            let mut vjp = || {
                prepared.vjp_into(
                    black_box(&cotangent),
                    Wanted::default(),
                    &mut out,
                    &mut work,
                )
            };
            group.bench_function(format!("5 vjp, condition {condition:e}"), |b| {
                b.iter(&mut vjp);
            });
            if condition == 1e3 {
                let budget = Budget::default().with_time_limit(Duration::from_secs(3600));
                group.bench_function("6 vjp in a budget", |b| b.iter(|| budget.run(&mut vjp)));
            }
            group.bench_function(format!("7 prepare, condition {condition:e}"), |b| {
                b.iter(|| Derivative::new(program, black_box(&solution), &settings));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, derivative, estimated);
criterion_main!(benches);
