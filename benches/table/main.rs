//! The tables of README.md, each in one run: `cargo bench --bench table`.
//!
//! Arguments select: names of families or their beginnings, `batch`, `size`, and `--problems DIR` for the public problems found in
//! DIR/maros and DIR/cblib, in Clarabel's JSON. None means all but the last. Ends with status 1 if a gradient or a solution is wrong.
//!
//! What is compared runs side by side: a block of items with Clarabel alone, then the same items cold, then warm, and again with the
//! next block. Times are medians. A layer's first forward, in which it times its solvers, is not among them.

mod batch;
#[path = "../../tests/suite/families.rs"]
mod families;
mod family;
mod format;
mod problem;
mod size;
#[path = "../support/mod.rs"]
mod support;

use conediff::{ConicLayer, DataTangent, Error, LayerData};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Quality, everything, known, timed};

/// Repetitions of each measurement, and seconds after which three must do.
const REPETITIONS: usize = 15;
const SECONDS: f64 = 10.0;

/// True after enough repetitions: of small programs more, for about two seconds.
fn is_enough(start: Instant, repetitions: usize) -> bool {
    let spent = start.elapsed().as_secs_f64();
    spent > SECONDS && repetitions >= 3 || spent > 2.0 && repetitions >= REPETITIONS
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
            "--size" => return size::of_one(&arguments.collect::<Vec<_>>()),
            _ => selected.push(argument),
        }
    }
    let all = selected.is_empty() && problems.is_none();
    let wants = |table: &str| all || selected.iter().any(|s| s == table);
    let is_name = |s: &String| families::NAMES.contains(&s.as_str());
    let chosen = |name: &&&str| {
        let fits = |s: &String| s == **name || !is_name(s) && name.starts_with(s.as_str());
        all || selected.iter().any(fits)
    };
    let names: Vec<&str> = families::NAMES.iter().filter(chosen).copied().collect();

    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("a template");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut run = Run {
        bar,
        wrong: Vec::new(),
    };
    if !names.is_empty() {
        family::table(&mut run, &names);
    }
    if let Some(folder) = problems {
        problem::table(&mut run, Path::new(&folder));
    }
    if wants("batch") {
        batch::table(&mut run);
    }
    if wants("size") {
        size::table(&mut run);
    }
    run.bar.finish_and_clear();
    for wrong in &run.wrong {
        eprintln!("wrong: {wrong}");
    }
    ExitCode::from(u8::from(!run.wrong.is_empty()))
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
