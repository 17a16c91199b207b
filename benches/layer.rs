//! The layer against Clarabel alone, the linear solvers against each other, batches, and cost against size.
//!
//! Every benchmark asserts its result before it is timed: residual and gradient error at most 1e-9, the gradient trusted.

#[path = "../tests/suite/families.rs"]
mod families;
mod support;

use conediff::{
    ConeProgram, ConicLayer, DataTangent, LayerSettings, LinearBackend, LinearSettings,
    LinearSolver, Prepared, ResidualJacobian, Settings, SolutionCotangent, WarmStart, solve,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use families::Family;
use std::time::Duration;
use support::{Bare, Quality, RIGHT, STEP, Values, everything, known, timed};

/// Items that forwards go through, and steps of a path that warm forwards walk to and fro.
const ITEMS: usize = 8;
const STEPS: usize = 64;

/// Item k of a walk to and fro: no step is longer than another.
fn to_and_fro(k: usize, len: usize) -> usize {
    let k = k % (2 * (len - 1));
    k.min(2 * (len - 1) - k)
}

/// Items of a family whose derivatives are trusted, each checked in this layer.
fn checked(
    family: &Family,
    layer: &mut ConicLayer,
    items: impl Iterator<Item = ConeProgram>,
) -> Vec<Values> {
    let values = items.map(|item| Values::new(&item, family.moving));
    let mut doubtful = 0;
    let good: Vec<Values> = values
        .filter(|values| {
            layer.forward(&values.data()).expect("solvable");
            let quality = Quality::of(layer.derivative().expect("just solved"));
            assert!(quality.is_right(), "{}: {quality:?}", family.name);
            doubtful += quality.doubtful;
            quality.doubtful == 0
        })
        .collect();
    assert!(doubtful <= good.len() / 4, "{}: {doubtful}", family.name);
    good
}

/// (1) Clarabel alone, a cold forward, the backward, a warm forward.
fn per_family(c: &mut Criterion) {
    for name in families::NAMES {
        let family = families::named(name).expect("a name of the list");
        let mut group = c.benchmark_group(name);
        group.sample_size(10);

        let items = (0..ITEMS as u64).map(|k| family.item(k, STEP));
        let bare: Vec<Bare> = items.clone().map(|item| Bare::new(&item)).collect();
        assert!(bare.iter().all(Bare::solve), "{name}");
        let mut k = 0;
        group.bench_function("bare Clarabel", |b| {
            b.iter(|| {
                k += 1;
                bare[k % bare.len()].solve()
            });
        });

        let settings = LayerSettings::default();
        let mut layer = ConicLayer::new(&family.program, settings.clone()).expect("valid");
        let cold = checked(&family, &mut layer, items);
        group.bench_function("forward", |b| {
            b.iter(|| {
                k += 1;
                layer.forward(&cold[k % cold.len()].data()).is_ok()
            });
        });

        layer.forward(&cold[0].data()).expect("solvable");
        let (cotangent, _) = known(layer.derivative().expect("just solved"));
        let mut gradient = DataTangent::default();
        group.bench_function("backward", |b| {
            b.iter(|| {
                layer
                    .backward_into(&cotangent, everything(), &mut gradient)
                    .is_ok()
            });
        });

        let warm = settings.with_warm_start(WarmStart::Previous);
        let mut layer = ConicLayer::new(&family.program, warm).expect("valid");
        let path = (0..STEPS).map(|k| family.path(k, STEP));
        let path = checked(&family, &mut layer, path);
        // From the last step back: the walk begins where the checks ended.
        k = path.len() - 1;
        group.bench_function("warm", |b| {
            b.iter(|| {
                k += 1;
                layer
                    .forward(&path[to_and_fro(k, path.len())].data())
                    .is_ok()
            });
        });
        group.finish();
    }
}

/// Settings of the linear step by name.
fn methods() -> [(&'static str, LinearSettings); 5] {
    let ldl = |backend| LinearSettings {
        solver: LinearSolver::Ldl,
        backend,
        ..LinearSettings::default()
    };
    let other = |solver| LinearSettings {
        solver,
        ..LinearSettings::default()
    };
    [
        ("LDL' dense", ldl(LinearBackend::Dense)),
        ("LDL' simplicial", ldl(LinearBackend::Simplicial)),
        ("LDL' supernodal", ldl(LinearBackend::Supernodal)),
        ("LU", other(LinearSolver::Lu)),
        ("LSQR", other(LinearSolver::Lsqr)),
    ]
}

/// Prepares, solves once, and gives the relative residual.
fn linear_step(jacobian: &ResidualJacobian, settings: LinearSettings, rhs: &[f64]) -> f64 {
    let prepared = Prepared::new(jacobian, settings).expect("regular");
    let mut work = prepared.workspace(jacobian);
    let mut out = vec![0.0; rhs.len()];
    let evidence = prepared.solve(jacobian, rhs, &mut out, &mut work);
    evidence.expect("fits").residual
}

/// (2) One factorization with its condition estimate and one refined solve, by method and size.
fn linear_solvers(c: &mut Criterion) {
    let settings = Settings::default();
    let qp = |n: usize| families::qp_sparse(n, n / 5, n, 5, 0).program;
    let mpc = |n: usize| families::mpc(n / 16, 12, 4, 0).program;
    let kinds: [(&str, &dyn Fn(usize) -> ConeProgram); 2] = [("sparse QP", &qp), ("MPC", &mpc)];
    for (kind, program) in kinds {
        let mut group = c.benchmark_group(format!("linear step, {kind}"));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        let mut methods = methods().to_vec();
        for n in [96, 320, 1008, 3200] {
            let program = program(n);
            let solution = solve(&program, &settings).expect("solvable");
            let v: Vec<f64> = solution
                .z
                .iter()
                .zip(&solution.s)
                .map(|(z, s)| z - s)
                .collect();
            let jacobian = ResidualJacobian::new(&program, &v).expect("fits");
            let seed = SolutionCotangent::random(&program, 1);
            let rhs = [seed.x, seed.z].concat();
            // A method drops out at the first size that takes it a second.
            methods.retain(|&(method, linear)| {
                let (time, residual) = timed(|| linear_step(&jacobian, linear, &rhs));
                assert!(residual <= RIGHT, "{kind} {n}, {method}: {residual:e}");
                if time > 1.0 {
                    return false;
                }
                group.bench_with_input(BenchmarkId::new(method, n), &linear, |b, linear| {
                    b.iter(|| linear_step(&jacobian, *linear, &rhs));
                });
                true
            });
        }
        group.finish();
    }
}

/// (3) Forward and backward of a batch, by its size and the threads.
fn batches(c: &mut Criterion) {
    for name in ["optnet", "mpc-20", "exp-200"] {
        let family = families::named(name).expect("a name of the list");
        let mut group = c.benchmark_group(format!("batch, {name}"));
        group.sample_size(10);
        for size in [1, 8, 64, 128] {
            group.throughput(Throughput::Elements(size));
            for threads in [1, 2] {
                let settings = LayerSettings::default().with_threads(threads);
                let mut layer = ConicLayer::new(&family.program, settings).expect("valid");
                let items = (0..size).map(|k| family.item(k, STEP));
                let values: Vec<Values> = items
                    .map(|item| Values::new(&item, family.moving))
                    .collect();
                let data: Vec<_> = values.iter().map(Values::data).collect();
                let solved = layer.forward_batch(&data);
                assert!(solved.iter().all(Result::is_ok), "{name}");
                let cotangents: Vec<SolutionCotangent> = (0..data.len())
                    .map(|k| {
                        let derivative = layer.item_derivative(k).expect("solved");
                        Quality::of(derivative).assert(name);
                        known(derivative).0
                    })
                    .collect();
                let id = BenchmarkId::new(format!("{threads} threads"), size);
                group.bench_function(id, |b| {
                    b.iter(|| {
                        let solved = layer.forward_batch(&data);
                        let gradients = layer.backward_batch(&cotangents).expect("as many");
                        (solved, gradients)
                    });
                });
            }
        }
        group.finish();
    }
}

/// (4) Forward and backward against size. The table goes on to n = 1e5.
fn sizes(c: &mut Criterion) {
    for (kind, family) in support::SIZED {
        let mut group = c.benchmark_group(format!("size, {kind}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        for n in [100, 1000, 10_000] {
            let program = family(n).program;
            let (q, b) = (program.q().to_vec(), program.b().to_vec());
            let data = conediff::LayerData::default().with_q(&q).with_b(&b);
            let mut layer = ConicLayer::new(&program, LayerSettings::default()).expect("valid");
            layer.forward(&data).expect("solvable");
            Quality::of(layer.derivative().expect("just solved")).assert(kind);
            group.bench_function(BenchmarkId::new("forward", n), |b| {
                b.iter(|| layer.forward(&data).is_ok());
            });
            let (cotangent, _) = known(layer.derivative().expect("just solved"));
            let mut gradient = DataTangent::default();
            group.bench_function(BenchmarkId::new("backward", n), |b| {
                b.iter(|| {
                    layer
                        .backward_into(&cotangent, everything(), &mut gradient)
                        .is_ok()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, per_family, linear_solvers, batches, sizes);
criterion_main!(benches);
