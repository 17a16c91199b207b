//! What a Lasso hypergradient costs beside the solve: 10,000 sparse columns, a support of about 100.
//!
//! Both are asserted before they are timed: optimality to rounding, and the gradient against central differences.

use conediff::systems::lasso::{
    Criterion as _, Design, Fit, FitSettings, HoldOut, Penalty, SparseRegression,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

#[path = "../tests/suite/support.rs"]
#[allow(dead_code)] // Random numbers only.
mod random;

const COLUMNS: usize = 10_000;
const RELEVANT: usize = 100;

/// n samples of which a share of entries are normal, the others 0; y = X b + noise, b with 100 nonzeros.
fn problem(n: usize, fill: f64, seed: u64) -> (Design, Vec<f64>) {
    let mut random = random::Random::new(seed);
    let mut triplets = sprs::TriMat::new((n, COLUMNS));
    let mut y: Vec<f64> = (0..n).map(|_| 0.1 * random.normal()).collect();
    for j in 0..COLUMNS {
        let b = if j % (COLUMNS / RELEVANT) == 0 {
            1.0 + random.unit()
        } else {
            0.0
        };
        for (i, y) in y.iter_mut().enumerate() {
            if random.unit() < fill {
                let x = random.normal();
                triplets.add_triplet(i, j, x);
                *y += x * b;
            }
        }
    }
    let design = Design::sparse(&triplets.to_csc()).expect("a valid matrix");
    (design, y)
}

/// 2/m X_v'(X_v b - y_v).
fn outer_gradient(design: &Design, y: &[f64], fit: &Fit) -> Vec<f64> {
    let fitted = design.multiply(fit.beta()).expect("fits");
    let share = 2.0 / y.len() as f64;
    let r: Vec<f64> = fitted.iter().zip(y).map(|(u, y)| share * (u - y)).collect();
    design.multiply_transpose(&r).expect("fits")
}

fn lasso(c: &mut Criterion) {
    let settings = FitSettings::default();
    for (name, n, fill, share) in [
        ("sparse 1000x10000, 5 %", 1000, 0.05, 0.1),
        ("sparse 5000x10000, 1 %", 5000, 0.01, 0.1),
        ("sparse 1000x10000, 1 %", 1000, 0.01, 0.2),
    ] {
        let (design, y) = problem(n + n / 4, fill, 1);
        let (training, held): (Vec<usize>, Vec<usize>) = (0..y.len()).partition(|i| i % 5 != 0);
        let select = |rows: &[usize]| {
            let y: Vec<f64> = rows.iter().map(|&i| y[i]).collect();
            (design.select_rows(rows).expect("rows of it"), y)
        };
        let (validation, y_held) = select(&held);
        let (x, y_training) = select(&training);
        let regression = SparseRegression::least_squares(x, y_training).expect("valid");
        let penalty = Penalty::lasso(share * regression.lambda_max());
        let fit = regression.fit(&penalty, &settings).expect("solvable");
        let support = fit.support().len();
        assert!(fit.is_exact() && (60..160).contains(&support), "{support}");

        // The derivative of the hold-out error, against differences.
        let (held_x, held_y) = (validation.clone(), y_held.clone());
        let mut criterion =
            HoldOut::new(regression.clone(), held_x, held_y, settings).expect("valid");
        let mut value = |step: f64| {
            let moved = penalty.with_logs(&[penalty.logs()[0] + step]).expect("one");
            criterion.evaluate(&moved).expect("solvable")
        };
        let (at, quotient) = (value(0.0), (value(1e-6).value - value(-1e-6).value) / 2e-6);
        let error = (at.gradient.value[0] - quotient).abs() / quotient.abs();
        assert!(at.gradient.trusted && error < 1e-6, "{error:e}");
        println!("{name}: support {support}, {} sweeps", fit.sweeps());

        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("1 fit", |b| {
            b.iter(|| regression.fit(black_box(&penalty), &settings));
        });
        let near = Penalty::lasso(1.05 * penalty.parameters()[0]);
        let start = regression.fit(&near, &settings).expect("solvable");
        group.bench_function("2 warm fit, 5 % on", |b| {
            b.iter(|| regression.fit_from(black_box(&penalty), &settings, start.beta()));
        });
        group.bench_function("3 hypergradient", |b| {
            // A fresh fit each time: what a derivative leaves with it is not there yet.
            let fresh = || regression.fit(&penalty, &settings).expect("solvable");
            let gradient = |fit: Fit| {
                let g = outer_gradient(&validation, &y_held, &fit);
                fit.derivative().expect("regular").vjp(&g)
            };
            b.iter_batched(fresh, gradient, BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, lasso);
criterion_main!(benches);
