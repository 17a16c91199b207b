//! What a replay found.

use super::difference::{self, Difference, short};
use super::{Build, Bundle};
use serde_json::Value;
use std::fmt;

/// What the table shows, where there is one.
const SHOWN: [&str; 17] = [
    "message",
    "error.status",
    "error.iterations",
    "error.primal_residual",
    "error.dual_residual",
    "trusted",
    "point_error",
    "regularity.certificate.verdict",
    "meaning.kind",
    "evidence.method",
    "evidence.residual",
    "evidence.condition",
    "evidence.error",
    "solution.objective",
    "point.trusted",
    "point.point_error",
    "point.regularity.certificate.verdict",
];

/// As much of a message as the table has room for, and differences that are printed.
const WIDTH: usize = 30;
const LISTED: usize = 12;

/// A bundle's task, recorded and computed now.
///
/// ```
/// use conediff::{Build, Bundle, Cone, ConeProgram, Difference, Replay, Settings, solve};
/// // x <= -1 and x >= 1
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     (&[0, 2], &[0, 1], &[1.0, -1.0]), vec![-1.0, -1.0],
///     vec![Cone::Nonnegative(2)],
/// )?;
/// let settings = Settings::default();
/// let error = solve(&program, &settings).unwrap_err();
/// let replay: Replay = Bundle::failed_solve(&program, &settings, &error).replay();
/// let (here, differences): (&Build, &[Difference]) = (&replay.replayed_by, &replay.differences);
/// assert!(replay.recorded_by == *here && differences.is_empty());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replay {
    /// "solve", "derivative", "vjp" or "jvp".
    pub task: &'static str,
    /// Variables and rows.
    pub size: (usize, usize),
    /// The build that made the bundle.
    pub recorded_by: Build,
    /// This build.
    pub replayed_by: Build,
    /// Where the replay differs from what was recorded: none if it is the same to the last bit.
    pub differences: Vec<Difference>,
    /// Where what the caller saw (recorded) differs from what the same task gave when the bundle was made (now): the rounding that a
    /// layer's item owes to its history, or more if something is wrong there. The replay is compared with the latter.
    pub history: Vec<Difference>,
    /// The numbers to look at first: name, recorded, now.
    #[serde(skip)]
    table: Vec<[String; 3]>,
}

impl Replay {
    pub(super) fn new(bundle: &Bundle, recorded: &Value, now: &Value) -> Self {
        let history = match &bundle.again {
            Some(again) => difference::all(&bundle.outcome, again),
            None => Vec::new(),
        };
        let row = |name: &&str| {
            let pointer = format!("/{}", name.replace('.', "/"));
            let at = |x: &Value| x.pointer(&pointer).map(|x| clipped(&short(Some(x))));
            let (a, b) = (at(recorded), at(now));
            let or_none = |x: Option<String>| x.unwrap_or_else(|| "-".into());
            (a.is_some() || b.is_some()).then(|| [(*name).to_string(), or_none(a), or_none(b)])
        };
        Self {
            task: bundle.task(),
            size: (bundle.program.n(), bundle.program.m()),
            recorded_by: bundle.build.clone(),
            replayed_by: Build::this(),
            differences: difference::all(recorded, now),
            history,
            table: SHOWN.iter().filter_map(row).collect(),
        }
    }

    /// True if the replay gave what was recorded, to the last bit.
    pub fn matches_bits(&self) -> bool {
        self.differences.is_empty()
    }

    /// True if the bundle was made by a build like this one on a machine like this one.
    pub fn is_same_build(&self) -> bool {
        self.recorded_by == self.replayed_by
    }
}

fn clipped(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_string();
    }
    let head: String = text.chars().take(WIDTH - 3).collect();
    head + "..."
}

fn list(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    for difference in differences.iter().take(LISTED) {
        writeln!(f, "  {difference}")?;
    }
    match differences.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more parts"),
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, m) = self.size;
        writeln!(f, "{} with {n} variables and {m} rows", self.task)?;
        writeln!(f, "recorded by {}", self.recorded_by)?;
        writeln!(f, "replayed by {}", self.replayed_by)?;
        writeln!(f, "{:<37} {:<WIDTH$} now", "", "recorded")?;
        for [name, recorded, now] in &self.table {
            writeln!(f, "{name:<37} {recorded:<WIDTH$} {now}")?;
        }
        if !self.history.is_empty() {
            writeln!(
                f,
                "the caller's answer differed from a computation by itself when this was recorded:"
            )?;
            list(f, &self.history)?;
        }
        if self.matches_bits() {
            return write!(f, "equal bit for bit");
        }
        writeln!(f, "DIFFERENT:")?;
        list(f, &self.differences)?;
        if self.is_same_build() {
            write!(
                f,
                "the builds are alike: a time limit or a changed file explains this, anything else is a fault"
            )
        } else {
            write!(f, "the builds differ: rounding may, too")
        }
    }
}
