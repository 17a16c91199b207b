//! Tables for people, JSON for programs.

use conediff::{
    Block, Checked, Cone, ConeProgram, DataTangent, Derivative, Error, Evidence, GradcheckReport,
    Iterate, Meaning, Regularity, RowState, Solution, SolutionTangent, Verdict, Warning,
};
use serde::Serialize;
use serde_json::{Value, json};

fn value(x: impl Serialize) -> Value {
    serde_json::to_value(x).unwrap_or(Value::Null)
}

/// JSON has no infinity and no NaN: strings, as in everything the library serializes.
fn number(x: f64) -> Value {
    if x.is_finite() {
        value(x)
    } else if x.is_nan() {
        "NaN".into()
    } else {
        (if x > 0.0 { "Infinity" } else { "-Infinity" }).into()
    }
}

fn sentences(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// "300 nonnegative, 2 x second-order".
fn cones(cones: &[Cone]) -> String {
    let mut parts: Vec<(&str, usize, usize)> = Vec::new();
    for cone in cones {
        match parts.iter_mut().find(|p| p.0 == cone.name()) {
            Some(part) => {
                part.1 += 1;
                part.2 += cone.rows();
            }
            None => parts.push((cone.name(), 1, cone.rows())),
        }
    }
    parts
        .into_iter()
        .map(|(name, count, rows)| {
            if count > 1 && !matches!(name, "zero" | "nonnegative") {
                format!("{count} {name} ({rows})")
            } else {
                format!("{name} {rows}")
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

pub fn failure(status: &str, message: &str, error: Option<&Error>) -> Value {
    let mut out = json!({"status": status, "message": message, "trusted": false, "warnings": []});
    match error {
        Some(
            Error::PrimalInfeasible { certificate, .. } | Error::DualInfeasible { certificate, .. },
        ) => out["certificate"] = value(certificate),
        Some(Error::NotSolved {
            last,
            iterations,
            primal_residual,
            dual_residual,
            ..
        }) => {
            point(&mut out, last);
            out["iterations"] = value(iterations);
            out["primal_residual"] = number(*primal_residual);
            out["dual_residual"] = number(*dual_residual);
        }
        Some(Error::TimeLimit {
            last: Some(last), ..
        }) => point(&mut out, last),
        _ => {}
    }
    out
}

/// The last iterate of a solve that did not finish.
fn point(out: &mut Value, last: &Iterate) {
    let last = value(last);
    for part in ["x", "z", "s"] {
        out[part] = last[part].clone();
    }
}

/// The solution, with what `report` says of derivatives there; a point whose linear system cannot be prepared is not trusted.
pub fn solve_json(solution: &Solution, derivative: conediff::Result<Derivative>) -> Value {
    match derivative {
        Ok(derivative) => report_json(&derivative),
        Err(error) => {
            let mut out = value(solution);
            out["trusted"] = value(false);
            out["warnings"] = value([error.to_string()]);
            out
        }
    }
}

fn derivative_json(
    derivative: &Derivative,
    evidence: Option<&Evidence>,
    trusted: bool,
    warnings: &[Warning],
) -> Value {
    let mut out = value(derivative.solution());
    out["margins"] = value(derivative.projection().margins());
    out["kinks"] = value(derivative.kinks());
    out["rows"] = value(derivative.row_states());
    out["condition"] = number(derivative.condition());
    out["meaning"] = value(derivative.meaning());
    out["trusted"] = value(trusted);
    out["warnings"] = value(sentences(warnings));
    if let Some(evidence) = evidence {
        out["evidence"] = value(evidence);
    }
    out
}

pub fn vjp_json(derivative: &Derivative, gradient: &Checked<DataTangent>) -> Value {
    let mut out = derivative_json(
        derivative,
        Some(&gradient.evidence),
        gradient.trusted,
        &gradient.warnings,
    );
    out["gradient"] = value(&gradient.value);
    out
}

pub fn jvp_json(derivative: &Derivative, tangent: &Checked<SolutionTangent>) -> Value {
    let mut out = derivative_json(
        derivative,
        Some(&tangent.evidence),
        tangent.trusted,
        &tangent.warnings,
    );
    out["tangent"] = value(&tangent.value);
    out
}

pub fn report_json(derivative: &Derivative) -> Value {
    derivative_json(
        derivative,
        None,
        derivative.is_trusted_point(),
        derivative.warnings(),
    )
}

/// The report, with that for all solutions within a radius if it was asked for.
pub fn regularity_json(
    derivative: &Derivative,
    regularity: &Regularity,
    robust: Option<&Regularity>,
) -> Value {
    let mut out = report_json(derivative);
    let verdict = |report: &Regularity| {
        let mut verdict = value(report);
        // Those of the projection are there already.
        if let Some(report) = verdict.as_object_mut() {
            for key in ["margins", "meaning", "condition"] {
                report.remove(key);
            }
        }
        verdict["certified"] = value(report.is_certified());
        verdict
    };
    out["regularity"] = verdict(regularity);
    if let Some(robust) = robust {
        out["regularity_within"] = verdict(robust);
    }
    out
}

pub fn regularity_table(regularity: &Regularity, robust: Option<&Regularity>) {
    say!("{regularity}");
    if let Some(robust) = robust {
        say!("{robust}");
    }
}

pub fn check_json(derivative: &Derivative, report: &GradcheckReport) -> Value {
    let mut out = derivative_json(derivative, None, report.trusted, &report.warnings);
    out["check"] = value(report);
    out
}

pub fn solution_table(program: &ConeProgram, solution: &Solution) {
    say!(
        "{} variables, {} rows: {}",
        program.n(),
        program.m(),
        cones(program.cones())
    );
    say!(
        "{} after {} iterations, objective {:.10e}",
        solution.status,
        solution.iterations,
        solution.objective
    );
    if let Some(r) = solution.refinement {
        say!(
            "refinement: residual {:.1e} -> {:.1e} in {} steps, {}",
            r.before,
            r.after,
            r.steps,
            if r.accepted {
                "accepted"
            } else {
                "not accepted: the solver's point is kept"
            }
        );
    }
}

fn evidence_table(meaning: Meaning, evidence: &Evidence, trusted: bool, warnings: &[Warning]) {
    say!("this is {meaning}");
    say!(
        "linear step: {}, residual {:.1e}, {} refinement steps, condition {:.1e}",
        value(evidence.method).as_str().unwrap_or("?"),
        evidence.residual,
        evidence.refinement_steps,
        evidence.condition
    );
    say!("{}", if trusted { "trusted" } else { "NOT TRUSTED" });
    for w in Warning::sentences(warnings) {
        say!("warning: {w}");
    }
}

fn vectors_table(title: &str, parts: &[(&str, &[f64])]) {
    say!(
        "{title:<10} {:>8} {:>14} {:>14} {:>9}",
        "entries",
        "2-norm",
        "largest",
        "at"
    );
    for (name, x) in parts {
        let at = (0..x.len()).max_by(|&i, &j| x[i].abs().total_cmp(&x[j].abs()));
        match at {
            Some(at) => say!(
                "{name:<10} {:>8} {:>14.6e} {:>14.6e} {:>9}",
                x.len(),
                norm(x),
                x[at],
                at
            ),
            None => say!("{name:<10} {:>8} {:>14} {:>14} {:>9}", 0, "-", "-", "-"),
        }
    }
}

pub fn vjp_table(derivative: &Derivative, gradient: &Checked<DataTangent>) {
    solution_table(derivative.program(), derivative.solution());
    let g = &gradient.value;
    vectors_table(
        "gradient",
        &[("P", &g.p), ("q", &g.q), ("A", &g.a), ("b", &g.b)],
    );
    evidence_table(
        gradient.meaning,
        &gradient.evidence,
        gradient.trusted,
        &gradient.warnings,
    );
}

pub fn jvp_table(derivative: &Derivative, tangent: &Checked<SolutionTangent>) {
    solution_table(derivative.program(), derivative.solution());
    let t = &tangent.value;
    vectors_table("tangent", &[("x", &t.x), ("z", &t.z), ("s", &t.s)]);
    evidence_table(
        tangent.meaning,
        &tangent.evidence,
        tangent.trusted,
        &tangent.warnings,
    );
}

/// More cones than this are shown by their least margin only.
const SHOWN_CONES: usize = 20;

pub fn report_table(derivative: &Derivative) {
    solution_table(derivative.program(), derivative.solution());
    say!(
        "{:>5} {:<18} {:>12} {:>10}  derivative of the projection",
        "cone",
        "kind",
        "rows",
        "margin"
    );
    let projection = derivative.projection();
    let mut order: Vec<usize> = (0..projection.margins().len()).collect();
    order.sort_by(|&i, &j| {
        let margin = |k: usize| projection.margins()[k].margin;
        margin(i).total_cmp(&margin(j))
    });
    for &k in order.iter().take(SHOWN_CONES) {
        let margin = &projection.margins()[k];
        let element = match &projection.blocks()[k] {
            Block::Identity(_) => "identity: every slack direction is frozen".to_string(),
            Block::Vanishing(_) => "zero: the dual is frozen".to_string(),
            Block::Orthant(active) => format!(
                "{} active of {}",
                active.iter().filter(|a| **a).count(),
                active.len()
            ),
            Block::Diagonal(_) | Block::SecondOrder(_) | Block::Psd(_) | Block::Spectral(_) => {
                "between: both move".to_string()
            }
        };
        say!(
            "{:>5} {:<18} {:>12} {:>10.1e}  {element}",
            margin.cone,
            margin.kind,
            format!("{}..{}", margin.rows.start, margin.rows.end),
            margin.margin
        );
    }
    if order.len() > SHOWN_CONES {
        say!(
            "      and {} cones with larger margins",
            order.len() - SHOWN_CONES
        );
    }
    let states = derivative.row_states();
    let count = |state: RowState| states.iter().filter(|s| **s == state).count();
    say!(
        "rows: {} active, {} inactive, {} curved, {} ambiguous",
        count(RowState::Active),
        count(RowState::Inactive),
        count(RowState::Curved),
        count(RowState::Ambiguous)
    );
    say!(
        "{}",
        if derivative.is_trusted_point() {
            "derivatives here are trusted"
        } else {
            "derivatives here are NOT TRUSTED"
        }
    );
    for w in Warning::sentences(derivative.warnings()) {
        say!("warning: {w}");
    }
}

/// One line of the check table.
#[derive(Serialize)]
pub struct CheckRow {
    problem: String,
    n: usize,
    m: usize,
    cones: String,
    pub status: &'static str,
    residual_before: f64,
    residual_after: f64,
    method: Value,
    linear_residual: f64,
    error: f64,
    verdict: Option<Verdict>,
    pub trusted: Option<bool>,
    pub seconds: f64,
    pub note: String,
}

impl CheckRow {
    pub fn new(problem: String) -> Self {
        Self {
            problem,
            n: 0,
            m: 0,
            cones: String::new(),
            status: "error",
            residual_before: f64::NAN,
            residual_after: f64::NAN,
            method: Value::Null,
            linear_residual: f64::NAN,
            error: f64::NAN,
            verdict: None,
            trusted: None,
            seconds: 0.0,
            note: String::new(),
        }
    }

    pub fn program(&mut self, program: &ConeProgram) {
        self.n = program.n();
        self.m = program.m();
        self.cones = cones(program.cones());
    }

    pub fn fill(&mut self, derivative: &Derivative, report: &GradcheckReport, evidence: Evidence) {
        let solution = derivative.solution();
        self.status = match solution.status {
            conediff::Status::AlmostSolved => "almost_solved",
            _ => "solved",
        };
        if let Some(r) = solution.refinement {
            self.residual_before = r.before;
            self.residual_after = r.after;
        }
        self.method = value(evidence.method);
        self.linear_residual = evidence.residual;
        self.error = report.blocks.iter().fold(0.0, |m: f64, b| {
            let e = b.error();
            if e.is_nan() || m.is_nan() {
                f64::NAN
            } else {
                m.max(e)
            }
        });
        self.verdict = Some(report.verdict);
        self.trusted = Some(report.trusted);
        let fatal: Vec<&str> = report
            .warnings
            .iter()
            .filter(|w| w.is_fatal())
            .map(|w| match w {
                Warning::Singular { .. } => "singular",
                Warning::AtKink(_) => "at a kink",
                Warning::NotRefined { .. } => "not refined",
                Warning::LinearResidual { .. } => "linear residual",
                Warning::PointError { .. } => "point error",
                Warning::Inaccurate { .. } => "inaccurate",
                _ => "other",
            })
            .collect();
        self.note = fatal.join(", ");
    }

    /// A trusted derivative that finite differences contradict.
    pub fn contradicted(&self) -> bool {
        self.trusted == Some(true) && self.verdict == Some(Verdict::Disagrees)
    }
}

pub fn rows_json(rows: &[CheckRow]) -> Value {
    json!({ "problems": rows })
}

/// A Markdown table, for a terminal and for docs/ alike.
pub fn rows_table(rows: &[CheckRow]) {
    say!(
        "| problem | n | m | cones | F before | F after | method | linear residual | against differences | seconds | derivative |"
    );
    say!("|---|---|---|---|---|---|---|---|---|---|---|");
    for r in rows {
        let number = |x: f64| {
            if x.is_nan() {
                "-".to_string()
            } else {
                format!("{x:.1e}")
            }
        };
        let difference = match r.verdict {
            Some(Verdict::Agrees) => number(r.error),
            Some(Verdict::Disagrees) => format!("{} disagrees", number(r.error)),
            Some(Verdict::Inconclusive) => "quotients do not settle".to_string(),
            None => "-".to_string(),
        };
        let state = match r.trusted {
            Some(true) => "trusted".to_string(),
            Some(false) => format!("not trusted: {}", r.note),
            None => format!("{}: {}", r.status, r.note),
        };
        say!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {difference} | {:.2} | {state} |",
            r.problem,
            r.n,
            r.m,
            r.cones,
            number(r.residual_before),
            number(r.residual_after),
            r.method.as_str().unwrap_or("-"),
            number(r.linear_residual),
            r.seconds,
        );
    }
    let count = |trusted: bool| rows.iter().filter(|r| r.trusted == Some(trusted)).count();
    let contradicted = rows.iter().filter(|r| r.contradicted()).count();
    say!(
        "\n{} problems: {} trusted ({contradicted} contradicted by differences), {} not trusted, {} not solved",
        rows.len(),
        count(true),
        count(false),
        rows.len() - count(true) - count(false)
    );
}
