//! Time and memory against size, each size in a process of its own, whose peak memory is that of its program and layer.

use crate::format::{error, milliseconds, shape, short};
use crate::support::{Bare, Quality, SIZED, median, timed};
use crate::{REPETITIONS, Run, Times, cold_step};
use conediff::{ConicLayer, DataTangent, Error, LayerData, LayerSettings};
use serde_json::{Value, json};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const SIZES: [usize; 7] = [100, 300, 1000, 3000, 10_000, 30_000, 100_000];
/// Sizes from here on are fitted: below, what a call costs whatever the size is most of it.
const FITTED_FROM: usize = 1000;

/// n, then seconds of Clarabel, forward, backward.
type Measured = (usize, [f64; 3]);

pub fn table(run: &mut Run) {
    run.line(
        "| kind | n; rows | nnz(A) | Clarabel, ms | forward, ms | backward, ms | first forward, ms | gradient error \
         | residual | item, MB | peak, MiB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut fits = Vec::new();
    for (kind, _) in SIZED {
        let mut measured = Vec::new();
        for n in SIZES {
            run.bar.set_message(format!("{kind}, n = {n}"));
            let row = elsewhere(kind, n);
            if let Some((times, ..)) = &row {
                measured.push((n, *times));
            }
            match row {
                Some((_, row, quality)) => run.row(kind, Ok((row, quality))),
                None => run.wrong.push(format!("{kind}, n = {n}: failed")),
            }
        }
        fits.push(exponents(kind, &measured));
    }
    run.line("");
    for fit in fits {
        run.line(&fit);
    }
    run.line("");
}

/// One size in another process: its times, its row and what it is worth.
fn elsewhere(kind: &str, n: usize) -> Option<([f64; 3], String, Quality)> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    let command = command.args(["--size", kind, &n.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    let said: Value = serde_json::from_slice(&output.stdout).ok()?;
    let number = |key: &str| said[key].as_f64();
    let times = [number("bare")?, number("forward")?, number("backward")?];
    let quality = Quality {
        residual: number("residual")?,
        error: number("error")?,
        doubtful: usize::try_from(said["doubtful"].as_u64()?).ok()?,
    };
    Some((times, said["row"].as_str()?.to_string(), quality))
}

/// What the other process does: measures one size and says so in JSON.
pub fn of_one(arguments: &[String]) -> ExitCode {
    let measured = match arguments {
        [kind, n] => measure(kind, n.parse().expect("a size")),
        _ => panic!("--size KIND N"),
    };
    match measured {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(kind: &str, n: usize) -> Result<Value, Error> {
    let sized = SIZED.iter().find(|s| s.0 == kind).expect("a kind");
    let program = &sized.1(n).program;
    let mut layer = ConicLayer::new(program, LayerSettings::default())?;
    let data = LayerData::default().with_q(program.q()).with_b(program.b());
    let (first, solved) = timed(|| layer.forward(&data).map(|_| ()));
    solved?;
    let mut gradient = DataTangent::default();
    let mut times = Times::default();
    let goes_on = |start: Instant, count: usize| {
        count == 0 || count < REPETITIONS && start.elapsed().as_secs_f64() < 1.0
    };
    let (start, mut quality) = (Instant::now(), Quality::default());
    while goes_on(start, times.forward.len()) {
        quality = quality.worst(cold_step(&mut layer, &data, &mut gradient, &mut times)?);
    }
    let (peak, bytes) = (peak_kilobytes(), layer.item_bytes(0));
    drop(layer);
    let bare = Bare::new(program);
    let start = Instant::now();
    while goes_on(start, times.bare.len()) {
        times.bare.push(timed(|| bare.solve()).0);
    }
    let row = format!(
        "| {kind} | {} | {} | {} | {} | {} | {} | {} | {:.0e} | {} | {} |",
        shape(program),
        program.a().nnz(),
        milliseconds(&times.bare),
        milliseconds(&times.forward),
        milliseconds(&times.backward),
        short(1e3 * first),
        error(&quality, times.forward.len()),
        quality.residual,
        short(bytes as f64 / 1e6),
        peak.map_or_else(|| "-".to_string(), |p| format!("{}", p / 1024)),
    );
    Ok(json!({
        "row": row,
        "bare": median(&times.bare),
        "forward": median(&times.forward),
        "backward": median(&times.backward),
        "residual": quality.residual,
        "error": quality.error,
        "doubtful": quality.doubtful,
    }))
}

/// Least squares of log time on log n.
fn exponents(kind: &str, measured: &[Measured]) -> String {
    let large = measured.iter().filter(|m| m.0 >= FITTED_FROM);
    let points: Vec<(f64, [f64; 3])> = large.map(|m| ((m.0 as f64).ln(), m.1)).collect();
    let mean = points.iter().map(|p| p.0).sum::<f64>() / points.len() as f64;
    let spread: f64 = points.iter().map(|p| (p.0 - mean).powi(2)).sum();
    let slope = |k: usize| -> f64 {
        let together = points.iter().map(|p| (p.0 - mean) * p.1[k].ln());
        together.sum::<f64>() / spread
    };
    format!(
        "Time as a power of n, {kind}, n >= {FITTED_FROM}: Clarabel {:.2}, forward {:.2}, backward {:.2}.",
        slope(0),
        slope(1),
        slope(2)
    )
}

/// The process's peak memory, where /proc tells.
fn peak_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
