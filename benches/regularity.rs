//! What the report costs beside one more factorization of the derivative, at regular points and with weakly active rows.

#[path = "../tests/suite/families.rs"]
mod families;
mod support;

use conediff::{ConeProgram, Derivative, Selection, Settings, Solution, solve};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Sizes of the programs, in variables.
const SIZES: [usize; 3] = [100, 1000, 10_000];

/// The program with some of its inactive rows moved to the solution: z_i = s_i = 0 there, and the solution stays.
fn weakened(program: &ConeProgram, solution: &Solution, rows: usize) -> (ConeProgram, Solution) {
    let (mut b, mut s) = (program.b().to_vec(), solution.s.clone());
    let inactive: Vec<usize> = (0..b.len())
        .filter(|&i| solution.z[i] == 0.0 && s[i] > 1e-3)
        .collect();
    for &i in inactive
        .iter()
        .step_by((inactive.len() / rows.max(1)).max(1))
        .take(rows)
    {
        b[i] -= s[i];
        s[i] = 0.0;
    }
    let program = program.with_b(b).expect("finite");
    let (x, z) = (solution.x.clone(), solution.z.clone());
    let solution = Solution::given(&program, x, z, s).expect("fits");
    (program, solution)
}

fn report(c: &mut Criterion) {
    let settings = Settings::default();
    for (name, sized) in support::SIZED {
        let mut group = c.benchmark_group(format!("report {name}"));
        group.sample_size(10);
        for n in SIZES {
            let family = sized(n);
            let program = &family.program;
            let solution = solve(program, &settings).expect("solvable");
            for rows in [0, 1, 10, 100] {
                let (program, solution) = weakened(program, &solution, rows);
                let derivative = Derivative::new(&program, &solution, &settings).expect("a point");
                let kinks: usize = derivative.kinks().iter().map(|k| k.rows.len()).sum();
                let certified = derivative.regularity().expect("a report").is_certified();
                println!("{name} {n}: {kinks} weakly active rows, certified: {certified}");
                let id =
                    |what: &str| BenchmarkId::new(what.to_string(), format!("{n}, {rows} weak"));
                group.bench_function(id("report"), |b| {
                    b.iter(|| black_box(&derivative).regularity());
                });
                // The same structure, one factorization and its condition estimate.
                group.bench_function(id("one more factorization"), |b| {
                    b.iter(|| black_box(&derivative).with_selection(Selection::Inactive));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, report);
criterion_main!(benches);
