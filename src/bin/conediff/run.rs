//! Each command: read, solve, differentiate, say.

use crate::bundle;
use crate::output::{self, CheckRow};
use crate::{Choices, Command, One, Solver};
use conediff::{
    Budget, Bundle, ConeProgram, DataTangent, Derivative, Error, GradcheckSettings, LinearSolver,
    Settings, Solution, SolutionTangent, Status, Verdict, gradcheck_at, solve,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::{Duration, Instant};

pub const DONE: u8 = 0;
const NOT_SOLVED: u8 = 1;
pub const BAD_INPUT: u8 = 2;
const NOT_TRUSTED: u8 = 3;
pub const DIFFERENT: u8 = 4;

/// Why a command stopped early.
pub enum Failure {
    /// The library's error.
    Library(Error),
    /// A file that cannot be read or parsed.
    File(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

pub fn run(command: Command) -> u8 {
    let json = match &command {
        Command::Solve(one) => one.choices.json,
        Command::Vjp { one, .. } | Command::Jvp { one, .. } | Command::Report { one, .. } => {
            one.choices.json
        }
        Command::Check { choices, .. } => choices.json,
        Command::Replay { json, .. } => *json,
    };
    match dispatch(command) {
        Ok(code) => code,
        Err(failure) => {
            let (message, status, error) = match &failure {
                Failure::File(message) => (message.clone(), "error", None),
                Failure::Library(error) => (error.to_string(), status(error), Some(error)),
            };
            eprintln!("conediff: {message}");
            if json {
                say!("{}", output::failure(status, &message, error));
            }
            if status == "error" {
                BAD_INPUT
            } else {
                NOT_SOLVED
            }
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Solve(one) => solve_one(&one),
        Command::Vjp {
            one,
            cotangent,
            seed,
        } => {
            let (program, settings) = read_one(&one)?;
            let cotangent = match cotangent {
                Some(file) => {
                    let mut c: SolutionTangent = parse(&file)?;
                    fill(&mut c.x, program.n());
                    fill(&mut c.z, program.m());
                    fill(&mut c.s, program.m());
                    c
                }
                None => SolutionTangent::random(&program, seed),
            };
            let (derivative, outcome) =
                differentiate_one(&one, &program, &settings, |d| d.vjp(&cotangent))?;
            let trusted = outcome.as_ref().is_ok_and(|gradient| gradient.trusted);
            let kept = bundle::keep(&one, trusted, || {
                Bundle::vjp(&derivative, &cotangent, &outcome)
            });
            let gradient = outcome?;
            if one.choices.json {
                say!("{}", output::vjp_json(&derivative, &gradient));
            } else {
                output::vjp_table(&derivative, &gradient);
            }
            Ok(verdict(gradient.trusted, &one.choices).max(kept))
        }
        Command::Jvp { one, tangent, seed } => {
            let (program, settings) = read_one(&one)?;
            let tangent = match tangent {
                Some(file) => {
                    let mut t: DataTangent = parse(&file)?;
                    fill(&mut t.p, program.p().nnz());
                    fill(&mut t.q, program.n());
                    fill(&mut t.a, program.a().nnz());
                    fill(&mut t.b, program.m());
                    t
                }
                None => DataTangent::random(&program, seed),
            };
            let (derivative, outcome) =
                differentiate_one(&one, &program, &settings, |d| d.jvp(&tangent))?;
            let trusted = outcome.as_ref().is_ok_and(|tangent| tangent.trusted);
            let kept = bundle::keep(&one, trusted, || {
                Bundle::jvp(&derivative, &tangent, &outcome)
            });
            let result = outcome?;
            if one.choices.json {
                say!("{}", output::jvp_json(&derivative, &result));
            } else {
                output::jvp_table(&derivative, &result);
            }
            Ok(verdict(result.trusted, &one.choices).max(kept))
        }
        Command::Report { one, within } => {
            let (program, settings) = read_one(&one)?;
            let (derivative, reports) = differentiate_one(&one, &program, &settings, |d| {
                let regularity = d.regularity()?;
                let robust = within.map(|eps| d.regularity_within(eps)).transpose()?;
                Ok((regularity, robust))
            })?;
            let trusted = reports.is_ok() && derivative.is_trusted_point();
            let kept = bundle::keep(&one, trusted, || Bundle::derivative(&derivative));
            let (regularity, robust) = reports?;
            if one.choices.json {
                say!(
                    "{}",
                    output::regularity_json(&derivative, &regularity, robust.as_ref())
                );
            } else {
                output::report_table(&derivative);
                output::regularity_table(&regularity, robust.as_ref());
            }
            Ok(verdict(derivative.is_trusted_point(), &one.choices).max(kept))
        }
        Command::Replay { file, json } => bundle::replay(&file, json),
        Command::Check {
            files,
            choices,
            seed,
            tolerance,
            one_direction,
        } => {
            let check = GradcheckSettings {
                seed,
                tolerance,
                by_block: !one_direction,
            };
            if let [file] = files.as_slice() {
                return check_one(file, &choices, &check);
            }
            Ok(check_many(&files, &choices, &check))
        }
    }
}

fn solve_one(one: &One) -> Result<u8, Failure> {
    let (program, settings) = read_one(one)?;
    let start = Instant::now();
    let solution = solve_kept(one, &program, &settings)?;
    if !one.choices.json && one.bundle.is_none() {
        output::solution_table(&program, &solution);
        return Ok(DONE);
    }
    let derivative =
        rest(&one.choices, start.elapsed()).run(|| Derivative::new(&program, &solution, &settings));
    let trusted = derivative.as_ref().is_ok_and(Derivative::is_trusted_point);
    let kept = bundle::keep(one, trusted, || match &derivative {
        Ok(derivative) => Bundle::derivative(derivative),
        Err(error) => Ok(Bundle::failed_derivative(
            &program, &solution, &settings, error,
        )),
    });
    if one.choices.json {
        say!("{}", output::solve_json(&solution, derivative));
    } else {
        output::solution_table(&program, &solution);
    }
    Ok(kept)
}

/// Solves; a failure goes into the bundle that was asked for.
fn solve_kept(one: &One, program: &ConeProgram, settings: &Settings) -> Result<Solution, Failure> {
    let outcome = rest(&one.choices, Duration::ZERO).run(|| solve(program, settings));
    if let Err(error) = &outcome {
        bundle::keep(one, false, || {
            Ok(Bundle::failed_solve(program, settings, error))
        });
    }
    Ok(outcome?)
}

/// Solves, differentiates and goes on with the derivative, within the time limit; failures of the first two likewise.
fn differentiate_one<R>(
    one: &One,
    program: &ConeProgram,
    settings: &Settings,
    work: impl FnOnce(&Derivative) -> conediff::Result<R>,
) -> Result<(Derivative, conediff::Result<R>), Failure> {
    let start = Instant::now();
    let solution = solve_kept(one, program, settings)?;
    let outcome = rest(&one.choices, start.elapsed()).run(|| {
        let derivative = Derivative::new(program, &solution, settings)?;
        let found = work(&derivative);
        Ok((derivative, found))
    });
    if let Err(error) = &outcome {
        bundle::keep(one, false, || {
            Ok(Bundle::failed_derivative(
                program, &solution, settings, error,
            ))
        });
    }
    Ok(outcome?)
}

/// What is left of the time limit.
fn rest(choices: &Choices, spent: Duration) -> Budget {
    match choices.time_limit.map(Duration::try_from_secs_f64) {
        Some(Ok(limit)) => Budget::default().with_time_limit(limit.saturating_sub(spent)),
        // Infinity.
        _ => Budget::default(),
    }
}

fn check_one(file: &Path, choices: &Choices, check: &GradcheckSettings) -> Result<u8, Failure> {
    let (program, settings) = read(file, choices)?;
    let (derivative, report) = within(&program, &settings, choices, |d| {
        let report = gradcheck_at(&d, &settings, check)?;
        Ok((d, report))
    })?;
    if choices.json {
        say!("{}", output::check_json(&derivative, &report));
    } else {
        output::solution_table(&program, derivative.solution());
        say!("{}", report.to_string().trim_end());
    }
    if report.trusted && report.verdict == Verdict::Disagrees {
        eprintln!("conediff: finite differences contradict the derivative");
        return Ok(NOT_TRUSTED);
    }
    Ok(verdict(report.trusted, choices))
}

/// A table with one line for each problem; a problem that fails takes its own line and spoils no other.
fn check_many(files: &[std::path::PathBuf], choices: &Choices, check: &GradcheckSettings) -> u8 {
    let bar = ProgressBar::new(files.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut rows = Vec::with_capacity(files.len());
    let mut code = DONE;
    for file in files {
        let name = file
            .file_stem()
            .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        bar.set_message(name.clone());
        let start = Instant::now();
        let mut row = CheckRow::new(name);
        if let Err(failure) = check_into(file, choices, check, &mut row) {
            let (message, this) = match failure {
                Failure::File(message) => (message, BAD_INPUT),
                Failure::Library(error) if status(&error) == "error" => {
                    (error.to_string(), BAD_INPUT)
                }
                Failure::Library(error) => {
                    row.status = status(&error);
                    (error.to_string(), NOT_SOLVED)
                }
            };
            row.note = message;
            code = code.max(this);
        }
        if row.contradicted() || (choices.strict && row.trusted == Some(false)) {
            code = code.max(NOT_TRUSTED);
        }
        row.seconds = start.elapsed().as_secs_f64();
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if choices.json {
        say!("{}", output::rows_json(&rows));
    } else {
        output::rows_table(&rows);
    }
    code
}

fn check_into(
    file: &Path,
    choices: &Choices,
    check: &GradcheckSettings,
    row: &mut CheckRow,
) -> Result<(), Failure> {
    let (program, settings) = read(file, choices)?;
    row.program(&program);
    within(&program, &settings, choices, |derivative| {
        let report = gradcheck_at(&derivative, &settings, check)?;
        let evidence = derivative
            .vjp(&SolutionTangent::random(&program, check.seed))?
            .evidence;
        row.fill(&derivative, &report, evidence);
        Ok(())
    })
}

/// Solves, differentiates and goes on with the derivative, within the time limit.
fn within<R>(
    program: &ConeProgram,
    settings: &Settings,
    choices: &Choices,
    work: impl FnOnce(Derivative) -> conediff::Result<R>,
) -> Result<R, Failure> {
    let found = rest(choices, Duration::ZERO).run(|| {
        let solution = solve(program, settings)?;
        work(Derivative::new(program, &solution, settings)?)
    });
    Ok(found?)
}

fn verdict(trusted: bool, choices: &Choices) -> u8 {
    if choices.strict && !trusted {
        eprintln!("conediff: the derivative is not trusted; see the warnings");
        NOT_TRUSTED
    } else {
        DONE
    }
}

/// The status of the JSON output.
pub fn status(error: &Error) -> &'static str {
    match error {
        Error::PrimalInfeasible { .. } => "primal_infeasible",
        Error::DualInfeasible { .. } => "dual_infeasible",
        Error::NotSolved { status, .. } => match status {
            Status::Solved => "solved",
            Status::AlmostSolved => "almost_solved",
            Status::PrimalInfeasible => "primal_infeasible",
            Status::DualInfeasible => "dual_infeasible",
            Status::MaxIterations => "max_iterations",
            Status::MaxTime => "max_time",
            Status::NumericalError => "numerical_error",
            Status::InsufficientProgress => "insufficient_progress",
        },
        Error::TimeLimit { .. } => "max_time",
        Error::Solver { .. } | Error::Factorization { .. } => "numerical_error",
        _ => "error",
    }
}

fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::File(format!("{}: {e}", file.display())))
}

fn parse<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    serde_json::from_str(&read_text(file)?)
        .map_err(|e| Failure::File(format!("{}: {e}", file.display())))
}

/// A missing part is zero.
fn fill(part: &mut Vec<f64>, len: usize) {
    if part.is_empty() {
        part.resize(len, 0.0);
    }
}

/// [`read`]; what is refused here has computed nothing that could be replayed.
fn read_one(one: &One) -> Result<(ConeProgram, Settings), Failure> {
    read(&one.file, &one.choices).inspect_err(|_| {
        if one.bundle.is_some() {
            eprintln!("conediff: no bundle: the input itself is refused");
        }
    })
}

/// Reads the problem, and the settings from the file and the command line, the latter winning.
fn read(file: &Path, choices: &Choices) -> Result<(ConeProgram, Settings), Failure> {
    let text = read_text(file)?;
    let program = ConeProgram::from_json(&text)?;
    let mut settings = Settings::default();
    file_settings(&text, &mut settings)
        .map_err(|e| Failure::File(format!("{}: settings: {e}", file.display())))?;
    if let Some(tolerance) = choices.solve_tolerance {
        settings.solve.tolerance = tolerance;
    }
    if let Some(limit) = choices.max_iterations {
        settings.solve.max_iterations = limit;
    }
    if let Some(limit) = choices.time_limit {
        settings.solve.time_limit = limit;
    }
    settings.refine.enabled = !choices.no_refine;
    settings.linear.solver = match choices.linear_solver {
        Solver::Auto => LinearSolver::Auto,
        Solver::Ldl => LinearSolver::Ldl,
        Solver::Lu => LinearSolver::Lu,
        Solver::Lsqr => LinearSolver::Lsqr,
    };
    settings.selection = choices.selection;
    settings.policy = choices.policy;
    settings.validate()?;
    Ok((program, settings))
}

/// Clarabel's settings in the file that have a counterpart here: the limits, and the least of the gap and feasibility tolerances.
fn file_settings(text: &str, settings: &mut Settings) -> serde_json::Result<()> {
    #[derive(serde::Deserialize)]
    struct File {
        settings: Option<FileSettings>,
    }
    #[derive(serde::Deserialize)]
    struct FileSettings {
        max_iter: Option<u32>,
        time_limit: Option<f64>,
        tol_gap_abs: Option<f64>,
        tol_gap_rel: Option<f64>,
        tol_feas: Option<f64>,
    }
    let Some(s) = serde_json::from_str::<File>(text)?.settings else {
        return Ok(());
    };
    if let Some(limit) = s.max_iter {
        settings.solve.max_iterations = limit;
    }
    if let Some(limit) = s.time_limit.filter(|t| *t < f64::MAX) {
        settings.solve.time_limit = limit;
    }
    let tolerances = [s.tol_gap_abs, s.tol_gap_rel, s.tol_feas];
    if let Some(least) = tolerances.into_iter().flatten().reduce(f64::min) {
        settings.solve.tolerance = least;
    }
    Ok(())
}
