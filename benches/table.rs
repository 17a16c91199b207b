//! The tables of README.md, each in one run: `cargo bench --bench table`.
//!
//! Arguments select: names of families or their beginnings, `batch`, `size`; none means all of these. `--problems DIR` adds the
//! public problems found in DIR/maros and DIR/cblib, in Clarabel's JSON. Ends with status 1 if a gradient or a solution is wrong.
//!
//! What is compared runs side by side: a block of items with Clarabel alone, then the same items cold, then warm, and again with the
//! next block. Times are medians. A layer's first forward, in which it times its solvers, is not among them.

#[path = "../tests/suite/families.rs"]
mod families;
mod support;

use conediff::{
    ConeProgram, ConicLayer, DataTangent, Error, LayerData, LayerSettings, SolutionCotangent,
    WarmStart,
};
use families::Family;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Bare, Quality, SIZED, STEP, Values, everything, known, median, timed};

/// Repetitions of each measurement, and seconds after which fewer must do.
const REPETITIONS: usize = 15;
const SECONDS: f64 = 10.0;
/// Small families are repeated for this long.
const AT_LEAST: f64 = 2.0;
/// Sizes from here on are fitted: below, what a call costs whatever the size is most of it.
const FITTED_FROM: usize = 1000;
/// Public problems that take Clarabel longer are left out.
const SLOW: f64 = 2.0;

/// Public problems of middle size with trusted derivatives (docs/problems.md).
const PROBLEMS: [&str; 16] = [
    "maros/AUG2DC",
    "maros/CONT-050",
    "maros/CONT-100",
    "maros/DPKLO1",
    "maros/DUAL1",
    "maros/GOULDQP3",
    "maros/HUES-MOD",
    "maros/KSIP",
    "maros/LASER",
    "maros/MOSARQP2",
    "maros/PRIMAL1",
    "maros/PRIMALC1",
    "maros/STCQP2",
    "cblib/LogExpCR-n20-m400",
    "cblib/chainsing_1000_3",
    "cblib/demb761",
];

/// What a family's ratios are read against: backward / Clarabel, (forward + backward) / Clarabel, cold / warm.
fn targets(name: &str) -> (Option<f64>, f64, Option<f64>) {
    let starts = |beginnings: &[&str]| beginnings.iter().any(|b| name.starts_with(b));
    let backward = match name {
        "psd-40" | "nearest-40" | "lmi-40" => Some(0.01),
        _ if starts(&["qp-dense", "optnet"]) => Some(0.02),
        _ if starts(&["markowitz", "lasso"]) => Some(0.05),
        _ if starts(&["soc"]) => Some(0.07),
        _ if starts(&["mpc", "exp", "power", "genpower"]) => Some(0.08),
        _ => None,
    };
    let both = match name {
        "optnet" => 0.08,
        "qp-dense-200" => 0.10,
        "qp-dense-50" => 0.35,
        "psd-40" => 0.5,
        _ => 0.8,
    };
    let has_warm = starts(&["qp", "optnet", "mpc", "markowitz", "exp"]);
    (backward, both, has_warm.then_some(5.0))
}

/// What runs the tables share: a progress line, and whether anything was wrong.
struct Run {
    bar: ProgressBar,
    wrong: Vec<String>,
}

impl Run {
    fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// A row, or why there is none.
    fn row(&mut self, name: &str, row: Result<(String, Quality), Error>) {
        match row {
            Ok((row, quality)) => {
                self.line(&row);
                if !quality.is_right() {
                    self.wrong.push(format!("{name}: {quality:?}"));
                }
            }
            Err(error) => {
                self.line(&format!("| {name} | {error} |"));
                self.wrong.push(format!("{name}: {error}"));
            }
        }
    }
}

fn main() -> ExitCode {
    let mut problems = None;
    let mut selected = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--problems" => problems = arguments.next(),
            _ => selected.push(argument),
        }
    }
    let all = selected.is_empty() && problems.is_none();
    let wants = |table: &str| all || selected.iter().any(|s| s == table);
    let chosen = |name: &&&str| all || selected.iter().any(|s| name.starts_with(s.as_str()));
    let names: Vec<&str> = families::NAMES.iter().filter(chosen).copied().collect();

    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("a template");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut run = Run {
        bar,
        wrong: Vec::new(),
    };
    if !names.is_empty() {
        family_table(&mut run, &names);
    }
    if let Some(folder) = problems {
        problem_table(&mut run, Path::new(&folder));
    }
    if wants("batch") {
        batch_table(&mut run);
    }
    if wants("size") {
        size_table(&mut run);
    }
    run.bar.finish_and_clear();
    for wrong in &run.wrong {
        eprintln!("wrong: {wrong}");
    }
    ExitCode::from(u8::from(!run.wrong.is_empty()))
}

/// Three digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_string(),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.09995 => format!("{value:.3}").replacen("0.", ".", 1),
        _ => format!("{value:.4}").replacen("0.", ".", 1),
    }
}

fn milliseconds(times: &[f64]) -> String {
    short(1e3 * median(times))
}

/// A ratio, and what it is read against, marked where it is missed.
fn against(value: f64, target: Option<f64>, is_met: impl Fn(f64, f64) -> bool) -> String {
    match target {
        None => short(value),
        Some(target) if is_met(value, target) => format!("{} ({})", short(value), short(target)),
        Some(target) => format!("**{}** ({})", short(value), short(target)),
    }
}

fn at_most(value: f64, target: f64) -> bool {
    value <= target
}

fn at_least(value: f64, target: f64) -> bool {
    value >= target
}

fn shape(program: &ConeProgram) -> String {
    format!("{}; {}", program.n(), program.m())
}

/// Times of one subject, by mode.
#[derive(Default)]
struct Times {
    bare: Vec<f64>,
    forward: Vec<f64>,
    backward: Vec<f64>,
    warm: Vec<f64>,
}

/// A cold forward and its backward, timed; what they are worth.
fn cold_step(
    layer: &mut ConicLayer,
    data: &LayerData<'_>,
    gradient: &mut DataTangent,
    times: &mut Times,
) -> Result<Quality, Error> {
    let (time, solved) = timed(|| layer.forward(data).map(|_| ()));
    solved?;
    times.forward.push(time);
    let quality = Quality::of(layer.derivative()?);
    let (cotangent, _) = known(layer.derivative()?);
    let (time, done) = timed(|| layer.backward_into(&cotangent, everything(), gradient));
    done?;
    times.backward.push(time);
    Ok(quality)
}

fn family_table(run: &mut Run, names: &[&str]) {
    run.line(
        "| family | n; rows | Clarabel, ms | forward, ms | backward, ms | backward / Clarabel | both / Clarabel \
         | warm step, ms | cold / warm | full, warm missed | gradient error | residual | item, kB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for name in names {
        run.bar.set_message((*name).to_string());
        let family = families::named(name).expect("a name of the list");
        let row = family_row(&family);
        run.row(name, row);
    }
    run.line("");
}

fn family_row(family: &Family) -> Result<(String, Quality), Error> {
    let settings = LayerSettings::default();
    let mut cold = ConicLayer::new(&family.program, settings.clone())?;
    let warm_settings = settings.with_warm_start(WarmStart::Previous);
    let mut warm = ConicLayer::new(&family.program, warm_settings)?;
    let mut gradient = DataTangent::default();

    // Not counted: the first forwards, on what comes before the path's step 1.
    let first = family.path(0, STEP);
    let values = Values::new(&first, family.moving);
    let (bare_time, _) = timed(|| Bare::new(&first).solve());
    let mut quality = cold_step(
        &mut cold,
        &values.data(),
        &mut gradient,
        &mut Times::default(),
    )?;
    warm.forward(&values.data())?;
    let item_bytes = cold.item_bytes(0);

    let mut times = Times::default();
    let block = ((0.5 / bare_time) as usize).clamp(1, REPETITIONS);
    let (start, mut step, mut unsolved) = (Instant::now(), 1, 0);
    loop {
        let spent = start.elapsed().as_secs_f64();
        let count = times.bare.len();
        if spent > SECONDS && count >= 3 || spent > AT_LEAST && count >= REPETITIONS {
            break;
        }
        let items: Vec<ConeProgram> = (step..step + block).map(|k| family.path(k, STEP)).collect();
        step += block;
        let bare: Vec<Bare> = items.iter().map(Bare::new).collect();
        let values: Vec<Values> = items
            .iter()
            .map(|i| Values::new(i, family.moving))
            .collect();
        for bare in &bare {
            let (time, solved) = timed(|| bare.solve());
            times.bare.push(time);
            unsolved += usize::from(!solved);
        }
        for values in &values {
            let found = cold_step(&mut cold, &values.data(), &mut gradient, &mut times)?;
            quality = quality.worst(found);
        }
        let mut answers = Vec::new();
        for values in &values {
            let data = values.data();
            let (time, solved) = timed(|| warm.forward(&data).map(|_| ()));
            solved?;
            times.warm.push(time);
            answers.push(Quality::of(warm.derivative()?));
        }
        quality = answers.into_iter().fold(quality, Quality::worst);
    }

    let program = &family.program;
    let (bare, forward) = (median(&times.bare), median(&times.forward));
    let (backward, step) = (median(&times.backward), median(&times.warm));
    let targets = targets(family.name);
    let (cold, warm) = (cold.counts(), warm.counts());
    let mut notes = String::new();
    if quality.doubtful > 0 {
        notes += &format!(
            ", {} of {} not trusted",
            quality.doubtful,
            cold.forwards + warm.forwards
        );
    }
    if unsolved > 0 {
        notes += &format!(", Clarabel alone failed {unsolved} of {}", times.bare.len());
    }
    let row = format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}/{}, {}/{} | {:.0e}{notes} | {:.0e} | {:.0} |",
        family.name,
        shape(program),
        short(1e3 * bare),
        short(1e3 * forward),
        short(1e3 * backward),
        against(backward / bare, targets.0, at_most),
        against((forward + backward) / bare, Some(targets.1), at_most),
        short(1e3 * step),
        against(forward / step, targets.2, at_least),
        cold.full,
        cold.forwards,
        warm.warm_missed,
        warm.forwards,
        quality.error,
        quality.residual,
        item_bytes as f64 / 1e3,
    );
    Ok((row, quality))
}

fn problem_table(run: &mut Run, folder: &Path) {
    run.line(
        "| problem | n; rows | Clarabel, ms | forward, ms | backward, ms | backward / Clarabel | both / Clarabel \
         | full | gradient error | residual | item, kB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|");
    for name in PROBLEMS {
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.json"))) else {
            continue;
        };
        run.bar.set_message(name);
        let row = ConeProgram::from_json(&text).and_then(|program| problem_row(name, &program));
        match row {
            Ok(None) => {}
            Ok(Some(row)) => run.row(name, Ok(row)),
            Err(error) => run.row(name, Err(error)),
        }
    }
    run.line("");
}

/// A problem with its own q and b each time; `None` if it is slow.
fn problem_row(name: &str, program: &ConeProgram) -> Result<Option<(String, Quality)>, Error> {
    let bare = Bare::new(program);
    if timed(|| bare.solve()).0 > SLOW {
        return Ok(None);
    }
    let mut layer = ConicLayer::new(program, LayerSettings::default())?;
    let data = LayerData::default().with_q(program.q()).with_b(program.b());
    let mut gradient = DataTangent::default();
    let mut quality = cold_step(&mut layer, &data, &mut gradient, &mut Times::default())?;
    let mut times = Times::default();
    let start = Instant::now();
    loop {
        let spent = start.elapsed().as_secs_f64();
        let count = times.bare.len();
        if spent > SECONDS && count >= 3 || spent > AT_LEAST / 2.0 && count >= REPETITIONS {
            break;
        }
        times.bare.push(timed(|| bare.solve()).0);
        quality = quality.worst(cold_step(&mut layer, &data, &mut gradient, &mut times)?);
    }
    let bare = median(&times.bare);
    let (forward, backward) = (median(&times.forward), median(&times.backward));
    let doubtful = if quality.doubtful > 0 {
        ", not trusted"
    } else {
        ""
    };
    let row = format!(
        "| {} | {} | {} | {} | {} | {} | {} | {}/{} | {:.0e}{doubtful} | {:.0e} | {:.0} |",
        name.split('/').next_back().unwrap_or(name),
        shape(program),
        short(1e3 * bare),
        short(1e3 * forward),
        short(1e3 * backward),
        short(backward / bare),
        short((forward + backward) / bare),
        layer.counts().full,
        layer.counts().forwards,
        quality.error,
        quality.residual,
        layer.item_bytes(0) as f64 / 1e3,
    );
    Ok(Some((row, quality)))
}

const BATCH: u64 = 64;

fn batch_table(run: &mut Run) {
    run.line(
        "| batch of 64 | Clarabel in a loop, items/s | 1 thread, items/s | 2 threads, items/s | 2 threads / 1 \
         | gradient error | residual |",
    );
    run.line("|---|---|---|---|---|---|---|");
    for name in ["optnet", "mpc-20", "exp-200"] {
        run.bar.set_message(format!("batch, {name}"));
        let row = batch_row(name);
        run.row(name, row);
    }
    run.line("");
}

fn batch_row(name: &str) -> Result<(String, Quality), Error> {
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
    let mut times: [Vec<f64>; 3] = Default::default();
    let start = Instant::now();
    while times[0].len() < 3 || start.elapsed().as_secs_f64() < SECONDS {
        times[0].push(timed(|| bare.iter().all(Bare::solve)).0);
        for (layer, times) in layers.iter_mut().zip(&mut times[1..]) {
            let step = || {
                let solved = layer.forward_batch(&data);
                let gradients = layer.backward_batch(&cotangents);
                (solved, gradients)
            };
            times.push(timed(step).0);
        }
    }
    let rate = |k: usize| BATCH as f64 / median(&times[k]);
    let row = format!(
        "| {name} | {} | {} | {} | {} | {:.0e} | {:.0e} |",
        short(rate(0)),
        short(rate(1)),
        short(rate(2)),
        against(rate(2) / rate(1), Some(1.7), at_least),
        quality.error,
        quality.residual,
    );
    Ok((row, quality))
}

fn size_table(run: &mut Run) {
    run.line(
        "| kind | n; rows | nnz(A) | Clarabel, ms | forward, ms | backward, ms | first forward, ms | gradient error \
         | residual | item, MB | peak, MiB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut fits = Vec::new();
    for (kind, family) in SIZED {
        let mut measured = Vec::new();
        for n in [100, 300, 1000, 3000, 10_000, 30_000, 100_000] {
            run.bar.set_message(format!("{kind}, n = {n}"));
            let row = size_row(kind, &family(n), &mut measured);
            run.row(kind, row);
        }
        fits.push(exponents(kind, &measured));
    }
    run.line("");
    for fit in fits {
        run.line(&fit);
    }
    run.line("");
}

/// A measured size: n, then seconds of Clarabel, forward, backward.
type Sized = (usize, [f64; 3]);

fn size_row(
    kind: &str,
    family: &Family,
    measured: &mut Vec<Sized>,
) -> Result<(String, Quality), Error> {
    let program = &family.program;
    reset_peak();
    let mut layer = ConicLayer::new(program, LayerSettings::default())?;
    let data = LayerData::default().with_q(program.q()).with_b(program.b());
    let (first, solved) = timed(|| layer.forward(&data).map(|_| ()));
    solved?;
    let mut gradient = DataTangent::default();
    let mut times = Times::default();
    let start = Instant::now();
    let mut quality = cold_step(&mut layer, &data, &mut gradient, &mut times)?;
    while times.forward.len() < REPETITIONS && start.elapsed().as_secs_f64() < 1.0 {
        quality = quality.worst(cold_step(&mut layer, &data, &mut gradient, &mut times)?);
    }
    let peak = peak_kilobytes();
    let bytes = layer.item_bytes(0);
    drop(layer);
    let bare = Bare::new(program);
    let start = Instant::now();
    while times.bare.is_empty()
        || times.bare.len() < REPETITIONS && start.elapsed().as_secs_f64() < 1.0
    {
        times.bare.push(timed(|| bare.solve()).0);
    }
    measured.push((
        program.n(),
        [&times.bare, &times.forward, &times.backward].map(|t| median(t)),
    ));
    let doubtful = if quality.doubtful > 0 {
        ", not trusted"
    } else {
        ""
    };
    let row = format!(
        "| {kind} | {} | {} | {} | {} | {} | {} | {:.0e}{doubtful} | {:.0e} | {} | {} |",
        shape(program),
        program.a().nnz(),
        milliseconds(&times.bare),
        milliseconds(&times.forward),
        milliseconds(&times.backward),
        short(1e3 * first),
        quality.error,
        quality.residual,
        short(bytes as f64 / 1e6),
        peak.map_or_else(|| "-".to_string(), |p| format!("{}", p / 1024)),
    );
    Ok((row, quality))
}

/// Least squares of log time on log n.
fn exponents(kind: &str, measured: &[Sized]) -> String {
    let large = measured.iter().filter(|m| m.0 >= FITTED_FROM / 2);
    let points: Vec<(f64, [f64; 3])> = large.map(|m| ((m.0 as f64).ln(), m.1)).collect();
    let count = points.len() as f64;
    let mean = points.iter().map(|p| p.0).sum::<f64>() / count;
    let slope = |k: usize| -> f64 {
        let over: f64 = points.iter().map(|p| (p.0 - mean) * p.1[k].ln()).sum();
        over / points.iter().map(|p| (p.0 - mean).powi(2)).sum::<f64>()
    };
    format!(
        "Time as a power of n, {kind}, n >= {FITTED_FROM}: Clarabel {:.2}, forward {:.2}, backward {:.2}.",
        slope(0),
        slope(1),
        slope(2)
    )
}

/// Where /proc can: the peak counts from now.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The process's peak memory, where /proc tells.
fn peak_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
