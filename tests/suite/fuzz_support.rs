//! How the fuzz tests run: a small fixed budget of the same cases in every run, or fresh ones for as long as CONEDIFF_FUZZ_SECONDS says.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// No case may take longer: each is small and has limits of its own, so that this is a hang and not a slow machine.
const HANG: Duration = Duration::from_secs(30);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs the check on `cases` values of the strategy. A panic or a case of half a minute fails like a false assertion, and is shrunk.
///
/// CONEDIFF_FUZZ_SECONDS: fresh cases for that many seconds. CONEDIFF_FUZZ_SEED: the first round's seed, printed with a failure.
pub fn fuzz<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seconds = number("CONEDIFF_FUZZ_SECONDS");
    let first = number("CONEDIFF_FUZZ_SEED").unwrap_or(match seconds {
        None => 1,
        Some(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs()),
    });
    let start = Instant::now();
    for round in 0.. {
        let seed = first.wrapping_add(round);
        let config = Config {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_time: 60_000,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&strategy, |value| {
            let begun = Instant::now();
            let checked = catch_unwind(AssertUnwindSafe(|| check(value)));
            let took = begun.elapsed();
            match checked {
                Ok(result) => result?,
                Err(_) => return Err(TestCaseError::fail("panicked")),
            }
            prop_assert!(took < HANG, "took {took:?}");
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("CONEDIFF_FUZZ_SEED={seed}: {failure}");
        }
        if seconds.is_none_or(|s| start.elapsed() >= Duration::from_secs(s)) {
            let inputs = (round + 1) * u64::from(cases);
            println!("{inputs} inputs in {:.0} s", start.elapsed().as_secs_f64());
            break;
        }
    }
}

/// Numbers that break arithmetic: zeros of both signs, the smallest and largest, the bound of no bound, what is no number.
pub const HOSTILE: [f64; 24] = [
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    2.2e-308,
    1e-308,
    1e-200,
    -1e-100,
    1e-20,
    -1e-8,
    1e8,
    -1e8,
    1e19,
    9.999_999_999_999_999e19,
    1e20,
    -1e20,
    1e100,
    -1e200,
    1e308,
    -1e308,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// A number that is harmful once in `every` draws, else a small integer or one of order one.
pub fn any_number(every: u32) -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        1 => prop::sample::select(&HOSTILE[..]),
        every => prop_oneof![
            1 => (-2..=2_i32).prop_map(f64::from),
            2 => -3.0..3.0_f64,
        ],
    ]
}
