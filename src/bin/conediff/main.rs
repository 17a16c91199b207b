//! The command-line tool: solve, differentiate and check problems in Clarabel's JSON, and replay failures.

/// println! for a pipe that may be closed.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::write_line(format_args!($($words)*))
    };
}

mod bundle;
mod output;
mod run;

use clap::{Args, Parser, Subcommand, ValueEnum};
use conediff::{Policy, Selection};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Solve cone programs and differentiate their solutions.
///
/// minimize 1/2 x'Px + q'x subject to Ax + s = b, s in K; problems in Clarabel's JSON.
/// Exit code: 0 done, 1 not solved, 2 bad input, 3 derivative not trusted under --strict (or contradicted by check), 4 replay differs.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Solve and refine.
    Solve(One),
    /// Gradient of <cotangent, (x, z, s)> in P, q, A and b.
    Vjp {
        #[command(flatten)]
        one: One,
        /// Cotangent as JSON {"x": [...], "z": [...], "s": [...]}, missing parts zero; without it, a random one.
        #[arg(long, value_name = "FILE", conflicts_with = "seed")]
        cotangent: Option<PathBuf>,
        /// Seed of the random cotangent.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Derivative of (x, z, s) along a tangent of P, q, A and b.
    Jvp {
        #[command(flatten)]
        one: One,
        /// Tangent as JSON {"P": [...], "q": [...], "A": [...], "b": [...]} in stored order, missing parts zero; without
        /// it, a random one.
        #[arg(long, value_name = "FILE", conflicts_with = "seed")]
        tangent: Option<PathBuf>,
        /// Seed of the random tangent.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Compare the derivative with finite differences, for one problem or many.
    Check {
        /// Problems in Clarabel's JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        choices: Choices,
        /// Seed of the random directions.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Relative error up to which derivative and quotient agree.
        #[arg(long, default_value_t = 1e-5)]
        tolerance: f64,
        /// One direction in all the data instead of one for each of P, q, A and b.
        #[arg(long)]
        one_direction: bool,
    },
    /// What derivatives mean at the solution: margins, kinks, uniqueness, the certificate.
    Report {
        #[command(flatten)]
        one: One,
        /// Report on all solutions whose z - s is within this distance, too.
        #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
        within: Option<f64>,
    },
    /// Compute again what a failure bundle records, and compare bit for bit.
    Replay {
        /// A bundle, as --bundle writes it.
        file: PathBuf,
        /// One JSON object on stdout instead of a table.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct One {
    /// A problem in Clarabel's JSON.
    file: PathBuf,
    #[command(flatten)]
    choices: Choices,
    /// Where to write what it takes to replay a failure, if there is an error or the derivative is not trusted.
    #[arg(long, value_name = "OUT")]
    bundle: Option<PathBuf>,
}

#[derive(Args)]
struct Choices {
    /// One JSON object on stdout instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 3 if the derivative is not trusted.
    #[arg(long)]
    strict: bool,
    /// Method of the linear step.
    #[arg(long, value_enum, default_value_t = Solver::Auto)]
    linear_solver: Solver,
    /// The solver's tolerance [default: the file's, or 1e-8].
    #[arg(long, value_name = "TOLERANCE")]
    solve_tolerance: Option<f64>,
    /// Iteration limit [default: the file's, or 200].
    #[arg(long)]
    max_iterations: Option<u32>,
    /// Seconds for each problem, from the solver to the last derivative [default: none; the file's are the solver's alone].
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Differentiate at the solver's own point.
    #[arg(long)]
    no_refine: bool,
    /// The element taken at a kink: active, inactive, half, random:SEED, nonsingular-first or minimum-norm.
    #[arg(long, value_parser = parse_selection, default_value = "nonsingular-first")]
    selection: Selection,
    /// What a derivative is where the point is not certified: flag, minimum-norm, tikhonov:RHO, smoothing:MU or lagrangian:TAU.
    #[arg(long, value_parser = parse_policy, default_value = "flag")]
    policy: Policy,
}

fn parse_selection(text: &str) -> Result<Selection, String> {
    Ok(match text {
        "active" => Selection::Active,
        "inactive" => Selection::Inactive,
        "half" => Selection::Half,
        "nonsingular-first" => Selection::NonsingularFirst,
        "minimum-norm" => Selection::MinimumNorm,
        _ => match text.strip_prefix("random:").map(str::parse) {
            Some(Ok(seed)) => Selection::Random(seed),
            _ => return Err(
                "expected active, inactive, half, random:SEED, nonsingular-first or minimum-norm"
                    .into(),
            ),
        },
    })
}

fn parse_policy(text: &str) -> Result<Policy, String> {
    let number = |name: &str| {
        let value = text.strip_prefix(name)?.strip_prefix(':')?;
        value.parse::<f64>().ok()
    };
    Ok(match text {
        "flag" => Policy::Flag,
        "minimum-norm" => Policy::MinimumNorm,
        _ => {
            if let Some(rho) = number("tikhonov") {
                Policy::Tikhonov { rho }
            } else if let Some(mu) = number("smoothing") {
                Policy::Smoothing { mu }
            } else if let Some(tau) = number("lagrangian") {
                Policy::Lagrangian { tau }
            } else {
                return Err(
                    "expected flag, minimum-norm, tikhonov:RHO, smoothing:MU or lagrangian:TAU"
                        .into(),
                );
            }
        }
    })
}

#[derive(Clone, Copy, ValueEnum)]
enum Solver {
    Auto,
    Ldl,
    Lu,
    Lsqr,
}

/// Ends the process if nobody reads any more, or if the output cannot be written.
fn write_line(line: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("conediff: standard output: {error}");
        std::process::exit(2);
    }
}

fn main() -> ExitCode {
    ExitCode::from(run::run(Arguments::parse().command))
}
