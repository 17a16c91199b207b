//! Calls without end: no memory is kept, and no answer drifts.
//!
//! What is measured is a whole process, so the work runs in one of its own: this binary with the ignored test `the_work` alone.

use crate::support::Random;
use conediff::{
    ClarabelLinearSolver, Cone, ConicLayer, DataTangent, ForwardSolver, Generated, Generator,
    LayerData, LayerSettings, LinearBackend, SolutionTangent,
};
use std::time::Instant;

/// Threads of the second half.
const THREADS: usize = 8;

/// How much the resident memory may grow, in bytes, over any number of calls: what allocators of many threads and lazily mapped pages
/// take. A leak of 420 bytes a call is seen in the short run, one of 21 in 100,000 calls.
const GROWTH: u64 = 1 << 21;

/// Of the short run in the suite; CONEDIFF_SOAK_CALLS changes it in `the_work`.
const CALLS: usize = 5_000;

/// The process's resident memory in bytes, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(4096 * pages)
}

/// Nothing timed: two runs take the same way and give the same bits.
fn settings() -> LayerSettings {
    let mut settings = LayerSettings {
        forward: ForwardSolver::Clarabel,
        clarabel: ClarabelLinearSolver::Qdldl,
        ..LayerSettings::default()
    };
    settings.settings.linear.backend = LinearBackend::Dense;
    settings
}

fn known() -> Generated {
    let cones = vec![
        Cone::Zero(1),
        Cone::Nonnegative(6),
        Cone::SecondOrder(4),
        Cone::PsdTriangle(2),
        Cone::Exponential,
    ];
    Generator::new(8, cones).generate().unwrap()
}

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|x| x.to_bits()).collect()
}

/// x, z, s and the gradient in every number, as bits.
fn answer(
    layer: &mut ConicLayer,
    data: &LayerData<'_>,
    seed: &SolutionTangent,
) -> Option<Vec<u64>> {
    let solution = layer.forward(data).ok()?;
    let mut found = [bits(&solution.x), bits(&solution.z), bits(&solution.s)].concat();
    let gradient = layer.backward(seed).ok()?;
    let DataTangent { p, q, a, b } = &gradient.value;
    for part in [p, q, a, b] {
        found.extend(bits(part));
    }
    Some(found)
}

/// So many calls: moving q and b, now and then data without a solution or no data at all; a JVP and a report from time to time.
fn calls(layer: &mut ConicLayer, known: &Generated, count: usize, seed: u64) {
    let program = known.program();
    let mut random = Random::new(seed);
    let cotangent = SolutionTangent::random(program, seed);
    let tangent = DataTangent::random(program, seed);
    for call in 0..count {
        let mut moved =
            |v: &[f64]| -> Vec<f64> { v.iter().map(|x| x + 0.01 * random.normal()).collect() };
        let (mut q, b) = (moved(program.q()), moved(program.b()));
        match call % 50 {
            10 => q[0] = f64::NAN,
            20 => {
                q.pop();
            }
            _ => {}
        }
        let data = LayerData::default().with_q(&q).with_b(&b);
        let is_solved = answer(layer, &data, &cotangent).is_some();
        assert!(
            is_solved || call % 50 == 10 || call % 50 == 20,
            "call {call}"
        );
        if is_solved && call % 25 == 0 {
            layer.jvp(&tangent).unwrap();
            layer.derivative().unwrap().regularity().unwrap();
        }
    }
}

/// The calls from one layer, from a layer for each of the threads, and in batches over them.
fn round(layer: &mut ConicLayer, batches: &mut ConicLayer, known: &Generated, count: usize) {
    calls(layer, known, count / 2, 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut own = ConicLayer::new(known.program(), settings()).unwrap();
                calls(&mut own, known, count / 4 / THREADS, 2 + thread as u64);
            });
        }
    });
    let data = vec![LayerData::default(); THREADS];
    let seeds = vec![SolutionTangent::random(known.program(), 3); THREADS];
    for _ in 0..count / 4 / THREADS {
        assert!(batches.forward_batch(&data).iter().all(Result::is_ok));
        assert!(
            batches
                .backward_batch(&seeds)
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
    }
}

#[test]
#[ignore = "runs in a process of its own; by hand for a long soak"]
fn the_work() {
    let count = std::env::var("CONEDIFF_SOAK_CALLS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(CALLS);
    let known = known();
    let mut layer = ConicLayer::new(known.program(), settings()).unwrap();
    let mut batches = ConicLayer::new(known.program(), settings().with_threads(THREADS)).unwrap();
    let seed = SolutionTangent::random(known.program(), 1);
    let first = answer(&mut layer, &LayerData::default(), &seed).unwrap();
    round(&mut layer, &mut batches, &known, 1_000);

    let (before, start) = (resident(), Instant::now());
    round(&mut layer, &mut batches, &known, count);
    let after = resident();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{count} calls, half of them in one loop, a quarter from {THREADS} threads, a quarter in batches over {THREADS}: \
         {seconds:.1} s, resident {before:?} bytes before and {after:?} after"
    );
    assert!(
        answer(&mut layer, &LayerData::default(), &seed).unwrap() == first,
        "the first answer has drifted"
    );
    if let (Some(before), Some(after)) = (before, after) {
        assert!(
            after <= before + GROWTH,
            "resident memory grew from {before} to {after}"
        );
    }
}

#[test]
fn thousands_of_calls_keep_no_memory_and_do_not_drift() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::the_work", "--ignored", "--nocapture"])
        .env("CONEDIFF_SOAK_CALLS", CALLS.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}
