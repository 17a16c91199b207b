//! Batches on one thread and on two. The quickest repetitions count, not medians: other work on the machine takes a core now and then.

use crate::families;
use crate::format::{against, at_least, short};
use crate::support::{Bare, Quality, STEP, Values, known, timed};
use crate::{Run, SECONDS};
use conediff::{ConeProgram, ConicLayer, Error, LayerData, LayerSettings, SolutionCotangent};
use std::time::Instant;

/// Items of a batch.
const BATCH: u64 = 64;

pub fn table(run: &mut Run) {
    run.line(
        "| batch of 64 | Clarabel in a loop, items/s | 1 thread, items/s | 2 threads, items/s | 2 threads / 1 \
         | of plain arithmetic | gradient error | residual |",
    );
    run.line("|---|---|---|---|---|---|---|---|");
    for name in ["optnet", "mpc-20", "exp-200"] {
        run.bar.set_message(format!("batch, {name}"));
        let row = row(name);
        run.row(name, row);
    }
    run.line("");
}

fn row(name: &str) -> Result<(String, Quality), Error> {
    let family = families::named(name).expect("a name of the list");
    let items: Vec<ConeProgram> = (0..BATCH).map(|k| family.item(k, STEP)).collect();
    let bare: Vec<Bare> = items.iter().map(Bare::new).collect();
    let values: Vec<Values> = items
        .iter()
        .map(|i| Values::new(i, family.moving))
        .collect();
    let data: Vec<LayerData<'_>> = values.iter().map(Values::data).collect();
    let mut quality = Quality::default();
    let mut layers = Vec::new();
    let mut cotangents: Vec<SolutionCotangent> = Vec::new();
    for threads in [1, 2] {
        let settings = LayerSettings::default().with_threads(threads);
        let mut layer = ConicLayer::new(&family.program, settings)?;
        layer
            .forward_batch(&data)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        cotangents.clear();
        for k in 0..data.len() {
            quality = quality.worst(Quality::of(layer.item_derivative(k)?));
            cotangents.push(known(layer.item_derivative(k)?).0);
        }
        layers.push(layer);
    }
    let mut times = [f64::INFINITY; 5];
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < SECONDS {
        let [alone, one, two, plain_one, plain_two] = &mut times;
        quicker(alone, || bare.iter().all(Bare::solve));
        for (layer, time) in layers.iter_mut().zip([one, two]) {
            quicker(time, || {
                let solved = layer.forward_batch(&data);
                (solved, layer.backward_batch(&cotangents))
            });
        }
        quicker(plain_one, || (arithmetic(), arithmetic()));
        quicker(plain_two, || {
            std::thread::scope(|scope| {
                scope.spawn(arithmetic);
                arithmetic()
            })
        });
    }
    let rate = |k: usize| BATCH as f64 / times[k];
    let row = format!(
        "| {name} | {} | {} | {} | {} | {} | {:.0e} | {:.0e} |",
        short(rate(0)),
        short(rate(1)),
        short(rate(2)),
        against(rate(2) / rate(1), Some(1.7), at_least),
        short(times[3] / times[4]),
        quality.error,
        quality.residual,
    );
    Ok((row, quality))
}

/// Keeps the shorter time.
fn quicker<T>(time: &mut f64, act: impl FnOnce() -> T) {
    *time = time.min(timed(act).0);
}

/// Some milliseconds of arithmetic that touches no memory: what it gains from a second thread is what the machine has to give.
fn arithmetic() -> f64 {
    let step = |x: f64, k: u32| (x + f64::from(k)).sqrt();
    std::hint::black_box((0..5_000_000).fold(1.0, step))
}
