//! The command-line tool: one JSON object on stdout, the message on stderr, the exit code.

use conediff::{Cone, Generator};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

pub const DONE: i32 = 0;
pub const NOT_SOLVED: i32 = 1;
pub const BAD_INPUT: i32 = 2;
pub const NOT_TRUSTED: i32 = 3;

/// A directory of its own for each test, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "conediff-cli-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    pub fn json(&self, name: &str, value: &Value) -> String {
        self.write(name, &value.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn problem(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/problems")
        .join(format!("{name}.json"))
        .to_string_lossy()
        .into_owned()
}

fn load(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(problem(name)).unwrap()).unwrap()
}

pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(arguments: &[&str]) -> Answer {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_conediff"))
        .args(arguments)
        .output()
        .unwrap();
    let answer = Answer {
        code: status.code().expect("an exit code"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    };
    assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    answer
}

/// Runs with --json; stdout must be exactly one JSON object.
#[track_caller]
pub fn run_json(code: i32, arguments: &[&str]) -> Value {
    let answer = run(&[arguments, &["--json"]].concat());
    assert_eq!(answer.code, code, "{}{}", answer.stdout, answer.stderr);
    let value: Value = serde_json::from_str(&answer.stdout).expect("one JSON value");
    assert!(value.is_object());
    value
}

#[track_caller]
fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no array: {value}"))
        .iter()
        .map(|x| x.as_f64().expect("a number"))
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// (nnz(P), n, nnz(A), m).
fn sizes(problem: &Value) -> [usize; 4] {
    let len = |v: &Value| v.as_array().unwrap().len();
    [
        len(&problem["P"]["nzval"]),
        len(&problem["q"]),
        len(&problem["A"]["nzval"]),
        len(&problem["b"]),
    ]
}

fn assert_derivative_keys(out: &Value, problem: &Value) {
    let [_, n, _, m] = sizes(problem);
    assert_eq!(out["status"], "solved");
    assert!(out["objective"].is_f64());
    for (part, len) in [("x", n), ("z", m), ("s", m)] {
        assert_eq!(numbers(&out[part]).len(), len, "{part}");
    }
    let cones = problem["cones"].as_array().unwrap().len();
    let margins = out["margins"].as_array().unwrap();
    assert_eq!(margins.len(), cones);
    for key in ["cone", "kind", "rows", "margin"] {
        assert!(margins[0].get(key).is_some(), "{key}");
    }
    for key in ["before", "after", "steps", "last_step", "accepted"] {
        assert!(out["refinement"].get(key).is_some(), "{key}");
    }
    assert!(out["trusted"].is_boolean());
    assert!(
        out["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .all(Value::is_string)
    );
}

fn assert_evidence(out: &Value) {
    for key in [
        "method",
        "residual",
        "converged",
        "refinement_steps",
        "stop",
        "condition",
    ] {
        assert!(out["evidence"].get(key).is_some(), "{key}");
    }
    assert!(out["evidence"]["residual"].as_f64().unwrap() <= 1e-12);
}

/// minimize 1/2 x^2 - x subject to x <= b.
fn scalar(b: f64) -> Value {
    json!({
        "P": {"m": 1, "n": 1, "colptr": [0, 1], "rowval": [0], "nzval": [1.0]},
        "q": [-1.0],
        "A": {"m": 1, "n": 1, "colptr": [0, 1], "rowval": [0], "nzval": [1.0]},
        "b": [b],
        "cones": [{"NonnegativeConeT": 1}],
    })
}

const REGULAR: [&str; 3] = ["HS21", "HS35", "HS118"];

#[test]
fn solve_prints_the_solution() {
    for (name, optimum) in [
        ("HS21", 0.04),
        ("HS35", -8.888_888_888_888_89),
        ("HS118", 664.820_45),
    ] {
        let out = run_json(DONE, &["solve", &problem(name)]);
        let [_, n, _, m] = sizes(&load(name));
        assert_eq!(out["status"], "solved");
        let objective = out["objective"].as_f64().unwrap();
        assert!(
            (objective - optimum).abs() < 1e-6 * (1.0 + optimum.abs()),
            "{name} {objective}"
        );
        for (part, len) in [("x", n), ("z", m), ("s", m)] {
            assert_eq!(numbers(&out[part]).len(), len);
        }
        assert!(out["refinement"]["accepted"].as_bool().unwrap());
        let table = run(&["solve", &problem(name)]);
        assert_eq!(table.code, DONE);
        assert!(table.stdout.contains("solved"), "{}", table.stdout);
        assert!(table.stderr.is_empty(), "{}", table.stderr);
    }
}

#[test]
fn vjp_prints_a_gradient_aligned_with_the_stored_entries() {
    for name in REGULAR {
        let problem_json = load(name);
        let out = run_json(DONE, &["vjp", &problem(name)]);
        assert_derivative_keys(&out, &problem_json);
        assert_evidence(&out);
        for (part, len) in ["P", "q", "A", "b"].into_iter().zip(sizes(&problem_json)) {
            assert_eq!(numbers(&out["gradient"][part]).len(), len, "{name} {part}");
        }
        let table = run(&["vjp", &problem(name)]);
        assert_eq!(table.code, DONE, "{}", table.stderr);
        assert!(table.stdout.contains("gradient") && table.stdout.contains("trusted"));
        // The seed is part of the answer and makes it repeatable.
        assert_eq!(out, run_json(DONE, &["vjp", &problem(name), "--seed", "0"]));
        assert_ne!(
            out["gradient"],
            run_json(DONE, &["vjp", &problem(name), "--seed", "1"])["gradient"]
        );
    }
}

#[test]
fn jvp_prints_a_tangent_of_the_solution() {
    for name in REGULAR {
        let problem_json = load(name);
        let out = run_json(DONE, &["jvp", &problem(name)]);
        assert_derivative_keys(&out, &problem_json);
        assert_evidence(&out);
        let [_, n, _, m] = sizes(&problem_json);
        for (part, len) in [("x", n), ("z", m), ("s", m)] {
            assert_eq!(numbers(&out["tangent"][part]).len(), len, "{name} {part}");
        }
        assert_eq!(run(&["jvp", &problem(name)]).code, DONE);
    }
}

#[test]
fn vjp_and_jvp_are_adjoint_for_given_files() {
    let folder = Folder::new();
    for name in ["HS21", "HS35", "HS118", "demb781"] {
        let [np, n, na, m] = sizes(&load(name));
        let wave = |len: usize, k: f64| {
            (0..len)
                .map(|i| (k + 1.7 * i as f64).sin())
                .collect::<Vec<f64>>()
        };
        let cotangent = json!({"x": wave(n, 0.1), "z": wave(m, 0.2), "s": wave(m, 0.3)});
        let tangent =
            json!({"P": wave(np, 0.4), "q": wave(n, 0.5), "A": wave(na, 0.6), "b": wave(m, 0.7)});
        let (c, t) = (
            folder.json("c.json", &cotangent),
            folder.json("t.json", &tangent),
        );
        let reverse = run_json(DONE, &["vjp", &problem(name), "--cotangent", &c]);
        let forward = run_json(DONE, &["jvp", &problem(name), "--tangent", &t]);
        let (mut left, mut right, mut size) = (0.0, 0.0, 0.0);
        for part in ["P", "q", "A", "b"] {
            let (g, d) = (numbers(&reverse["gradient"][part]), numbers(&tangent[part]));
            left += dot(&g, &d);
            size += g.iter().zip(&d).map(|(x, y)| (x * y).abs()).sum::<f64>();
        }
        for part in ["x", "z", "s"] {
            right += dot(
                &numbers(&forward["tangent"][part]),
                &numbers(&cotangent[part]),
            );
        }
        assert!(
            (left - right).abs() <= 1e-9 * (1.0 + size),
            "{name}: {left} {right}"
        );
    }
}

#[test]
fn the_gradient_agrees_with_solving_changed_files() {
    let folder = Folder::new();
    let base = load("HS35");
    let cotangent = json!({"x": [1.0, -0.5, 0.25], "z": [0.5, 0.0, 0.0, -1.0]});
    let file = folder.json("c.json", &cotangent);
    let out = run_json(DONE, &["vjp", &problem("HS35"), "--cotangent", &file]);
    assert_eq!(out["trusted"], true, "{}", out["warnings"]);
    let value = |changed: &Value| {
        let out = run_json(DONE, &["solve", &folder.json("p.json", changed)]);
        dot(&numbers(&out["x"]), &numbers(&cotangent["x"]))
            + dot(&numbers(&out["z"]), &numbers(&cotangent["z"]))
    };
    let h = 1e-5;
    for (part, pointer) in [
        ("P", "/P/nzval"),
        ("q", "/q"),
        ("A", "/A/nzval"),
        ("b", "/b"),
    ] {
        let gradient = numbers(&out["gradient"][part]);
        for (k, g) in gradient.iter().enumerate() {
            let moved = |h: f64| {
                let mut changed = base.clone();
                let entry = changed.pointer_mut(&format!("{pointer}/{k}")).unwrap();
                *entry = json!(entry.as_f64().unwrap() + h);
                value(&changed)
            };
            let quotient = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((quotient - g).abs() < 1e-6, "{part}[{k}]: {quotient} {g}");
        }
    }
}

#[test]
fn missing_parts_of_a_cotangent_or_tangent_are_zero() {
    let folder = Folder::new();
    let file = folder.json("p.json", &scalar(0.25));
    let only = |name: &str, value: Value| folder.json(name, &value);
    let full = only("full.json", json!({"x": [1.0], "z": [0.0], "s": [0.0]}));
    let part = only("part.json", json!({"x": [1.0]}));
    let one = run_json(DONE, &["vjp", &file, "--cotangent", &full]);
    let two = run_json(DONE, &["vjp", &file, "--cotangent", &part]);
    assert_eq!(one, two);
    assert!((numbers(&one["gradient"]["b"])[0] - 1.0).abs() < 1e-12);
    let nothing = only("nothing.json", json!({}));
    let out = run_json(DONE, &["vjp", &file, "--cotangent", &nothing]);
    for part in ["P", "q", "A", "b"] {
        assert_eq!(numbers(&out["gradient"][part]), [0.0]);
    }
    let b = only("b.json", json!({"b": [2.0]}));
    let out = run_json(DONE, &["jvp", &file, "--tangent", &b]);
    assert!((numbers(&out["tangent"]["x"])[0] - 2.0).abs() < 1e-12);
    let out = run_json(DONE, &["jvp", &file, "--tangent", &nothing]);
    assert_eq!(numbers(&out["tangent"]["x"]), [0.0]);
}

#[test]
fn a_bad_cotangent_or_tangent_is_bad_input_and_says_why() {
    let folder = Folder::new();
    let file = folder.json("p.json", &scalar(0.25));
    for (text, words) in [
        (r#"{"x": [1.0, 2.0]}"#, "expected length 1, found 2"),
        (r#"{"s": [1.0, 2.0, 3.0]}"#, "expected length 1, found 3"),
        (r#"{"y": [1.0]}"#, "unknown field `y`"),
        (r#"{"x": [1.0], "X": [1.0]}"#, "unknown field `X`"),
        (r#"{"x": [1.0]"#, "EOF"),
        (r#"{"x": 1.0}"#, "invalid type"),
        (r#"{"x": [null]}"#, "invalid type"),
        (r#"{"x": [1e999]}"#, "out of range"),
        (r#"{"x": [NaN]}"#, "expected"),
        ("", "EOF"),
    ] {
        let bad = folder.write("bad.json", text);
        for (command, option, text) in [
            ("vjp", "--cotangent", text.to_string()),
            (
                "jvp",
                "--tangent",
                text.replace("\"x\"", "\"q\"").replace("\"s\"", "\"b\""),
            ),
        ] {
            std::fs::write(&bad, &text).unwrap();
            let out = run_json(BAD_INPUT, &[command, &file, option, &bad]);
            assert_eq!(out["status"], "error");
            assert_eq!(out["trusted"], false);
            let message = out["message"].as_str().unwrap();
            assert!(message.contains(words), "{text}: {message}");
            let plain = run(&[command, &file, option, &bad]);
            assert_eq!(plain.code, BAD_INPUT);
            assert!(plain.stderr.contains(words), "{}", plain.stderr);
            assert!(plain.stdout.is_empty(), "{}", plain.stdout);
        }
    }
    let out = run_json(
        BAD_INPUT,
        &["vjp", &file, "--cotangent", "/nonexistent/c.json"],
    );
    assert!(
        out["message"]
            .as_str()
            .unwrap()
            .contains("/nonexistent/c.json")
    );
    // Both a file and a seed.
    assert_eq!(
        run(&["vjp", &file, "--cotangent", "x", "--seed", "1"]).code,
        BAD_INPUT
    );
}

#[test]
fn a_bad_problem_file_is_bad_input_and_says_why() {
    let folder = Folder::new();
    let with = |pointer: &str, value: Value| {
        let mut problem = scalar(0.25);
        *problem.pointer_mut(pointer).unwrap() = value;
        problem.to_string()
    };
    let mut without_b = scalar(0.25);
    without_b.as_object_mut().unwrap().remove("b");
    for (text, words) in [
        (String::new(), "EOF"),
        ("{".to_string(), "EOF"),
        ("[]".to_string(), "Clarabel"),
        ("\u{0}\u{1}".to_string(), "Clarabel"),
        (without_b.to_string(), "missing field `b`"),
        (
            with("/cones", json!([{"NonnegativeConeT": 2}])),
            "the cones have 2 rows",
        ),
        (with("/cones", json!([{"PowerConeT": 1.5}])), "1.5"),
        (with("/P/nzval/0", json!(-1.0)), "not positive semidefinite"),
        (with("/A/rowval/0", json!(7)), "index 7 is not below 1"),
        (with("/q", json!([0.0, 0.0])), "expected length 2, found 1"),
        (with("/b/0", json!(-1e20)), "no point satisfies"),
        (with("/b/0", Value::Null), "invalid type"),
    ] {
        let file = folder.write("bad.json", &text);
        for command in ["solve", "vjp", "jvp", "check", "report"] {
            let out = run_json(BAD_INPUT, &[command, &file]);
            assert_eq!(out["status"], "error", "{text}");
            let message = out["message"].as_str().unwrap();
            assert!(message.contains(words), "{text}: {message}");
            let plain = run(&[command, &file]);
            assert_eq!(plain.code, BAD_INPUT);
            assert!(plain.stderr.contains(words), "{}", plain.stderr);
        }
    }
    for missing in ["/nonexistent/p.json", folder.0.to_str().unwrap()] {
        let out = run_json(BAD_INPUT, &["solve", missing]);
        assert!(out["message"].as_str().unwrap().contains(missing));
    }
    std::fs::write(folder.0.join("latin.json"), [b'{', 0xff, b'}']).unwrap();
    let latin = folder.0.join("latin.json");
    run_json(BAD_INPUT, &["solve", latin.to_str().unwrap()]);
}

#[test]
fn bad_arguments_are_bad_input() {
    let file = problem("HS21");
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["solve"],
        &["check"],
        &["solve", &file, "--no-such-option"],
        &["solve", &file, "--linear-solver", "magic"],
        &["solve", &file, "--max-iterations", "-1"],
        &["solve", &file, "--max-iterations", "0"],
        &["solve", &file, "--solve-tolerance", "0"],
        &["solve", &file, "--solve-tolerance", "NaN"],
        &["solve", &file, "--solve-tolerance", "2"],
        &["solve", &file, "--time-limit", "-1"],
        &["solve", &file, "--time-limit", "0"],
        &["check", &file, "--tolerance", "0"],
        &["check", &file, "--tolerance", "NaN"],
        &["check", &file, &file, "--tolerance", "7"],
    ] {
        let answer = run(arguments);
        assert_eq!(answer.code, BAD_INPUT, "{arguments:?}: {}", answer.stdout);
        assert!(!answer.stderr.is_empty() || !answer.stdout.is_empty());
    }
}

#[test]
fn programs_without_a_solution_exit_with_one_and_their_certificate() {
    let folder = Folder::new();
    let mut infeasible = scalar(0.0);
    infeasible["A"] =
        json!({"m": 2, "n": 1, "colptr": [0, 2], "rowval": [0, 1], "nzval": [1.0, -1.0]});
    infeasible["b"] = json!([-1.0, -1.0]);
    infeasible["cones"] = json!([{"NonnegativeConeT": 2}]);
    let mut unbounded = scalar(1.0);
    unbounded["P"]["nzval"] = json!([0.0]);
    unbounded["q"] = json!([1.0]);
    for (problem, status, words) in [
        (infeasible, "primal_infeasible", "primal infeasible"),
        (unbounded, "dual_infeasible", "unbounded"),
    ] {
        let file = folder.json("p.json", &problem);
        for command in ["solve", "vjp", "jvp", "check", "report"] {
            let out = run_json(NOT_SOLVED, &[command, &file]);
            assert_eq!(out["status"], status);
            assert!(!numbers(&out["certificate"]).is_empty());
            assert_eq!(out["trusted"], false);
            let plain = run(&[command, &file]);
            assert_eq!(plain.code, NOT_SOLVED);
            assert!(plain.stderr.contains(words), "{}", plain.stderr);
        }
    }
    let out = run_json(NOT_SOLVED, &["solve", &problem("isil01")]);
    assert_eq!(out["status"], "primal_infeasible");
}

#[test]
fn limits_exit_with_one_and_the_last_point() {
    for command in ["solve", "vjp"] {
        let limited = |option, value| {
            let out = run_json(NOT_SOLVED, &[command, &problem("HS118"), option, value]);
            assert!(out["message"].as_str().unwrap().contains("limit"));
            out
        };
        let out = limited("--max-iterations", "1");
        assert_eq!(out["status"], "max_iterations");
        assert_eq!(numbers(&out["x"]).len(), 15);
        assert_eq!(numbers(&out["z"]).len(), 59);
        // Spent before there is a point.
        let out = limited("--time-limit", "1e-9");
        assert_eq!(out["status"], "max_time");
        assert!(out["x"].is_null());
    }
}

#[test]
fn a_solve_ended_by_the_time_limit_says_how_far_it_came() {
    // Half a second alone: a hundredth of that ends the solver, whatever the machine.
    let folder = Folder::new();
    let program = Generator::new(150, vec![Cone::PsdTriangle(40)]).generate();
    let file = folder.write("psd.json", &program.unwrap().program().to_json());
    let out = run_json(NOT_SOLVED, &["vjp", &file, "--time-limit", "5e-3"]);
    assert_eq!(out["status"], "max_time");
    let message = out["message"].as_str().unwrap();
    assert!(
        message.starts_with("time limit: ") && message.contains("5.000e-3 s"),
        "{message}"
    );
    if !out["x"].is_null() {
        assert_eq!(numbers(&out["x"]).len(), 150);
        assert_eq!(numbers(&out["s"]).len(), 820);
    }
}

#[test]
fn settings_in_the_file_are_honoured_and_the_command_line_wins() {
    let folder = Folder::new();
    let mut problem = load("HS118");
    let plain = run_json(DONE, &["solve", &folder.json("plain.json", &problem)]);
    problem["settings"] = json!({});
    assert_eq!(
        plain,
        run_json(DONE, &["solve", &folder.json("empty.json", &problem)])
    );
    problem["settings"] = Value::Null;
    assert_eq!(
        plain,
        run_json(DONE, &["solve", &folder.json("null.json", &problem)])
    );
    // Clarabel writes all of its settings.
    problem["settings"] = json!({
        "max_iter": 2, "time_limit": f64::MAX, "verbose": true, "tol_gap_abs": 1e-8,
        "tol_gap_rel": 1e-8, "tol_feas": 1e-8, "direct_solve_method": "qdldl",
    });
    let file = folder.json("limited.json", &problem);
    let out = run_json(NOT_SOLVED, &["solve", &file]);
    assert_eq!(
        (&out["status"], &out["iterations"]),
        (&json!("max_iterations"), &json!(2))
    );
    assert_eq!(
        plain,
        run_json(DONE, &["solve", &file, "--max-iterations", "200"])
    );
    problem["settings"] = json!({"time_limit": 1e-9});
    let out = run_json(NOT_SOLVED, &["solve", &folder.json("timed.json", &problem)]);
    assert_eq!(out["status"], "max_time");
    problem["settings"] = json!({"tol_gap_abs": 1e-3, "tol_gap_rel": 1e-3, "tol_feas": 1e-3});
    let loose = run_json(
        DONE,
        &["solve", &folder.json("loose.json", &problem), "--no-refine"],
    );
    assert!(loose["iterations"].as_u64() < plain["iterations"].as_u64());
    assert_eq!(loose["refinement"], Value::Null);
}

#[test]
fn settings_in_the_file_that_make_no_sense_are_bad_input() {
    let folder = Folder::new();
    let mut problem = scalar(0.25);
    for settings in [
        json!({"max_iter": 0}),
        json!({"max_iter": -5}),
        json!({"max_iter": "many"}),
        json!({"time_limit": -1.0}),
        json!({"tol_feas": 0.0}),
        json!({"tol_gap_abs": "small"}),
        json!([1, 2]),
        json!("fast"),
    ] {
        problem["settings"] = settings;
        let out = run_json(BAD_INPUT, &["solve", &folder.json("p.json", &problem)]);
        assert_eq!(out["status"], "error");
    }
}

#[test]
fn strict_exits_with_three_where_the_derivative_is_not_trusted() {
    let folder = Folder::new();
    // Weakly active at b = 1.
    let kink = folder.json("kink.json", &scalar(1.0));
    let good = folder.json("good.json", &scalar(0.25));
    for command in ["vjp", "jvp", "report", "check"] {
        let out = run_json(NOT_TRUSTED, &[command, &kink, "--strict"]);
        assert_eq!(out["trusted"], false);
        let warnings = out["warnings"].as_array().unwrap();
        assert!(
            warnings
                .iter()
                .any(|w| w.as_str().unwrap().contains("kink"))
        );
        assert_eq!(run_json(DONE, &[command, &kink])["trusted"], false);
        assert_eq!(
            run_json(DONE, &[command, &good, "--strict"])["trusted"],
            true
        );
        let plain = run(&[command, &kink, "--strict"]);
        assert_eq!(plain.code, NOT_TRUSTED);
        assert!(plain.stderr.contains("not trusted"), "{}", plain.stderr);
    }
    assert_eq!(run(&["check", &good, &kink, "--strict"]).code, NOT_TRUSTED);
    assert_eq!(run(&["check", &good, &kink]).code, DONE);
}

#[test]
fn check_agrees_on_regular_problems() {
    for name in REGULAR {
        let out = run_json(DONE, &["check", &problem(name)]);
        assert_derivative_keys(&out, &load(name));
        assert_eq!(out["trusted"], true, "{name} {}", out["warnings"]);
        assert_eq!(out["check"]["verdict"], "agrees", "{name} {}", out["check"]);
        assert!(out["check"]["adjoint_error"].as_f64().unwrap() < 1e-9);
        let one = run_json(DONE, &["check", &problem(name), "--one-direction"]);
        assert_eq!(one["check"]["blocks"].as_array().unwrap().len(), 1);
        let table = run(&["check", &problem(name)]);
        assert!(table.stdout.contains("agrees"), "{}", table.stdout);
    }
}

#[test]
fn check_of_many_files_gives_each_its_line_and_the_worst_exit_code() {
    let folder = Folder::new();
    let good = folder.json("good.json", &scalar(0.25));
    let bad = folder.write("bad.json", "{");
    let files = [problem("HS21"), good.clone(), problem("isil01")];
    let [a, b, c] = &files;
    let out = run_json(DONE, &["check", a, b]);
    let rows = out["problems"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["problem"], &rows[1]["problem"]),
        (&json!("HS21"), &json!("good"))
    );
    for row in rows {
        assert_eq!(
            (&row["status"], &row["verdict"]),
            (&json!("solved"), &json!("agrees"))
        );
        assert_eq!(row["trusted"], true);
    }
    let out = run_json(NOT_SOLVED, &["check", a, b, c]);
    assert_eq!(out["problems"][2]["status"], "primal_infeasible");
    assert_eq!(out["problems"][1]["verdict"], "agrees");
    let out = run_json(BAD_INPUT, &["check", &bad, c, a]);
    assert_eq!(out["problems"][0]["status"], "error");
    assert_eq!(out["problems"][2]["status"], "solved");
    let table = run(&["check", a, c, &bad, &good]);
    assert_eq!(table.code, BAD_INPUT);
    assert_eq!(
        table.stdout.lines().filter(|l| l.starts_with("| ")).count(),
        5
    );
    assert!(
        table.stdout.contains("4 problems: 2 trusted"),
        "{}",
        table.stdout
    );
}

#[test]
fn report_tells_what_is_known_about_the_point() {
    for name in ["HS21", "demb781", "sambal", "QAFIRO"] {
        let out = run_json(DONE, &["report", &problem(name)]);
        assert_derivative_keys(&out, &load(name));
        assert!(out.get("kinks").is_some() && out.get("condition").is_some());
        let table = run(&["report", &problem(name)]);
        assert!(table.stdout.contains("margin"), "{}", table.stdout);
    }
}

#[test]
fn report_certifies_and_names_what_fails() {
    let out = run_json(DONE, &["report", &problem("HS118"), "--within", "1e-5"]);
    for key in ["regularity", "regularity_within"] {
        assert_eq!(out[key]["certified"], true);
        assert_eq!(out[key]["primal"], "unique");
    }
    assert_eq!(out["meaning"]["kind"], "derivative");
    let out = run_json(DONE, &["report", &problem("QAFIRO")]);
    let certificate = &out["regularity"]["certificate"];
    assert_eq!(certificate["verdict"], "failed");
    let kinds: Vec<&str> = certificate["witnesses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["primal", "dual"]);
    let table = run(&["report", &problem("sambal")]).stdout;
    assert!(table.contains("x unique, z not unique"), "{table}");
    assert!(table.contains("rows are dependent"), "{table}");
    // Within a radius as large as the margin, rows may switch.
    let out = run_json(DONE, &["report", &problem("HS118"), "--within", "0.1"]);
    assert_eq!(out["regularity"]["strict_complementarity"], true);
    assert_eq!(out["regularity_within"]["strict_complementarity"], false);
    run_json(BAD_INPUT, &["report", &problem("HS118"), "--within", "-1"]);
}

#[test]
fn policies_and_selections_are_taken_from_the_command_line() {
    for (policy, kind) in [
        ("flag", "least_squares"),
        ("minimum-norm", "least_squares"),
        ("tikhonov:1e-4", "tikhonov"),
        ("lagrangian:1e-3", "lagrangian"),
    ] {
        let out = run_json(DONE, &["vjp", &problem("demb781"), "--policy", policy]);
        assert_eq!(out["meaning"]["kind"], kind);
        assert_eq!(out["trusted"], false);
    }
    for bad in [
        ["--policy", "tikhonov"],
        ["--policy", "tikhonov:x"],
        ["--policy", "none"],
        ["--selection", "random"],
        ["--selection", "some"],
    ] {
        let out = run(&["vjp", &problem("HS21"), bad[0], bad[1]]);
        assert_eq!(out.code, BAD_INPUT, "{bad:?}");
        assert!(out.stderr.contains("expected"), "{}", out.stderr);
    }
    let out = run(&["vjp", &problem("HS21"), "--policy", "tikhonov:-1"]);
    assert_eq!(out.code, BAD_INPUT);
    assert!(
        out.stderr.contains("policy.tikhonov.rho = -1"),
        "{}",
        out.stderr
    );
    for selection in [
        "active",
        "random:3",
        "half",
        "nonsingular-first",
        "minimum-norm",
    ] {
        let out = run_json(DONE, &["vjp", &problem("HS21"), "--selection", selection]);
        assert_eq!(out["meaning"]["kind"], "derivative");
    }
}

#[test]
fn a_singular_problem_keeps_its_gradient_and_says_that_it_is_not_trusted() {
    for name in ["demb781", "sambal"] {
        let out = run_json(DONE, &["vjp", &problem(name)]);
        assert_derivative_keys(&out, &load(name));
        assert_eq!(out["trusted"], false);
        assert!(out.to_string().contains("singular"));
        assert_eq!(out["condition"], "Infinity");
        run_json(NOT_TRUSTED, &["vjp", &problem(name), "--strict"]);
    }
}

#[test]
fn every_linear_solver_gives_the_same_gradient() {
    let base = run_json(DONE, &["vjp", &problem("HS35")]);
    for (solver, method) in [
        ("ldl", "ldl"),
        ("lu", "lu"),
        ("lsqr", "lsqr"),
        ("auto", "ldl"),
    ] {
        let out = run_json(DONE, &["vjp", &problem("HS35"), "--linear-solver", solver]);
        assert_eq!(out["evidence"]["method"], method);
        for part in ["P", "q", "A", "b"] {
            let (one, two) = (
                numbers(&out["gradient"][part]),
                numbers(&base["gradient"][part]),
            );
            for (a, b) in one.iter().zip(two) {
                assert!((a - b).abs() < 1e-9, "{solver} {part}");
            }
        }
    }
}

#[test]
fn an_unrefined_point_is_said_to_be_one() {
    let out = run_json(DONE, &["vjp", &problem("HS35"), "--no-refine"]);
    assert_eq!(out["refinement"], Value::Null);
    let warnings = out["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .any(|w| w.as_str().unwrap().contains("not refined"))
    );
}

#[test]
fn a_closed_output_is_no_panic() {
    use std::process::Stdio;
    for arguments in [
        &["solve"][..],
        &["solve", "--json"],
        &["vjp"],
        &["vjp", "--json"],
        &["check", "--json"],
        &["report"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_conediff"))
            .arg(arguments[0])
            .arg(problem("HS21"))
            .args(&arguments[1..])
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}
