//! Bytes into the JSON reader and the command-line tool: an error that says why, or a program that keeps its own rules.

use crate::fuzz_support::fuzz;
use conediff::{
    Cone, ConeProgram, Derivative, Generator, GradcheckSettings, Settings, SolutionTangent,
    gradcheck_at, solve,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;
use std::sync::LazyLock;

/// Valid files to start from: two public problems and one of every cone.
static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/problems");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let cones = vec![
        Cone::Zero(1),
        Cone::Nonnegative(2),
        Cone::SecondOrder(3),
        Cone::PsdTriangle(2),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::GeneralizedPower(vec![0.4, 0.6], 1),
    ];
    let all = Generator::new(6, cones).generate().unwrap();
    vec![
        read("HS118.json"),
        read("HS21.json"),
        all.program().to_json(),
    ]
});

/// What an attacker or a broken writer puts in the place of a value.
const VALUES: [&str; 34] = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "3",
    "1.5",
    "1e-308",
    "1e308",
    "-1e308",
    "1e20",
    "-1e20",
    "1e999",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "\"NaN\"",
    "NaN",
    "Infinity",
    "[]",
    "{}",
    "[[]]",
    "[0]",
    "[0,1]",
    "\"\"",
    "\"\\ud800\"",
    "{\"ZeroConeT\":18446744073709551615}",
    "{\"PSDTriangleConeT\":6074001000}",
    "{\"GenPowerConeT\":[[],0]}",
    "{\"GenPowerConeT\":[[1.0],18446744073709551615]}",
    "{\"PowerConeT\":0}",
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Edit {
    Byte(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Truncate(usize),
    /// The value at a place replaced by one of `VALUES`; a number out of an array, or what a key holds.
    Value(usize, usize),
    Nest(usize, u16),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || any::<prop::sample::Index>().prop_map(|i| i.index(1 << 20));
    prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(i, b)| Edit::Byte(i, b)),
        1 => (at(), 1..20_usize).prop_map(|(i, n)| Edit::Remove(i, n)),
        1 => (at(), 1..20_usize).prop_map(|(i, n)| Edit::Repeat(i, n)),
        1 => at().prop_map(Edit::Truncate),
        12 => (at(), 0..VALUES.len()).prop_map(|(i, v)| Edit::Value(i, v)),
        1 => (at(), 1..400_u16).prop_map(|(i, n)| Edit::Nest(i, n)),
    ]
}

fn is_separator(byte: u8) -> bool {
    b"[]{},:".contains(&byte)
}

fn apply(text: &mut Vec<u8>, edit: &Edit) {
    let len = text.len().max(1);
    match edit {
        Edit::Byte(at, byte) => {
            if let Some(b) = text.get_mut(at % len) {
                *b = *byte;
            }
        }
        Edit::Remove(at, n) => {
            let from = (at % len).min(text.len());
            text.drain(from..(from + n).min(text.len()));
        }
        Edit::Repeat(at, n) => {
            let from = (at % len).min(text.len());
            let part = text[from..(from + n).min(text.len())].to_vec();
            text.splice(from..from, part);
        }
        Edit::Truncate(at) => text.truncate(at % len),
        Edit::Value(at, value) => {
            let from = (at % len).min(text.len());
            // From the next separator to the one after it: a number, a string, or nothing.
            let skip = |from: usize, is: bool| {
                let rest = text[from..].iter();
                from + rest.take_while(|b| is_separator(**b) == is).count()
            };
            let start = skip(skip(from, false), true);
            let end = skip(start, false);
            text.splice(start..end, VALUES[*value].bytes());
        }
        Edit::Nest(at, n) => {
            let from = (at % len).min(text.len());
            let n = usize::from(*n);
            text.splice(from..from, std::iter::repeat_n(b'[', n));
        }
    }
}

fn quick() -> Settings {
    let mut settings = Settings::default();
    settings.solve.max_iterations = 30;
    settings.solve.time_limit = 1.0;
    settings
}

/// What the tool's commands do with a file, without printing.
fn use_file(text: &str) -> Result<bool, TestCaseError> {
    let program = match ConeProgram::from_json(text) {
        Ok(program) => program,
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            return Ok(false);
        }
    };
    let rows: usize = program.cones().iter().map(Cone::rows).sum();
    prop_assert_eq!(rows, program.m());
    prop_assert_eq!(
        (program.n(), program.n()),
        (program.p().rows(), program.p().cols())
    );
    prop_assert_eq!(
        (program.m(), program.n()),
        (program.a().rows(), program.a().cols())
    );
    let again = ConeProgram::from_json(&program.to_json());
    prop_assert!(again.is_ok_and(|a| a.has_structure_of(&program) && a.q() == program.q()));
    let settings = quick();
    let Ok(solution) = solve(&program, &settings) else {
        return Ok(true);
    };
    let Ok(derivative) = Derivative::new(&program, &solution, &settings) else {
        return Ok(true);
    };
    let _ = derivative.vjp(&SolutionTangent::random(&program, 1));
    let _ = derivative.regularity();
    let _ = derivative.regularity_within(1e-6);
    let _ = gradcheck_at(
        &derivative,
        &settings,
        &GradcheckSettings {
            by_block: false,
            ..GradcheckSettings::default()
        },
    );
    Ok(true)
}

#[test]
fn bytes_are_no_problem_file() {
    let tokens = prop::sample::select(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"P\"",
            "\"q\"",
            "\"A\"",
            "\"b\"",
            "\"cones\"",
            "\"m\"",
            "\"n\"",
            "\"colptr\"",
            "\"rowval\"",
            "\"nzval\"",
            "0",
            "1",
            "-1",
            "1e400",
            "null",
            "\u{feff}",
            "\0",
            "\\",
        ]
        .as_slice(),
    );
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        prop::collection::vec(tokens, 0..60).prop_map(|tokens| tokens.concat()),
    ];
    fuzz(2000, text, |text| use_file(&text).map(|_| ()));
}

#[test]
fn changed_problem_files_are_refused_or_used() {
    let used = std::sync::atomic::AtomicUsize::new(0);
    fuzz(
        1500,
        (0..3_usize, prop::collection::vec(edit(), 1..4)),
        |(file, edits)| {
            let mut text = FILES[file].clone().into_bytes();
            edits.iter().for_each(|edit| apply(&mut text, edit));
            if use_file(&String::from_utf8_lossy(&text))? {
                used.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        },
    );
    let used = used.into_inner();
    // Edits that no file survives would test the parser alone.
    assert!(used >= 75, "{used} changed files were programs");
}

#[cfg(feature = "cli")]
#[test]
fn the_tool_answers_changed_files_with_an_exit_code_and_one_json_object() {
    let folder = std::env::temp_dir().join(format!("conediff-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let problem = folder.join("problem.json");
    let seed = folder.join("seed.json");
    let commands: [&[&str]; 7] = [
        &["solve"],
        &["vjp"],
        &["jvp"],
        &["report", "--within", "1e-6"],
        &["check", "--one-direction"],
        &["vjp", "--cotangent"],
        &["jvp", "--tangent"],
    ];
    let seeds = [
        r#"{"x": [1, 2, 3, 4, 5, 6], "z": []}"#,
        r#"{"P": [1], "q": [1e308, -1e308], "b": null}"#,
        r#"{"x": [1e308, 0]}"#,
        r#"{"q": [0.5, 0.25]}"#,
    ];
    let case = (
        0..3_usize,
        prop::collection::vec(edit(), 0..3),
        0..commands.len(),
        0..seeds.len(),
        prop::collection::vec(edit(), 0..2),
        any::<bool>(),
    );
    fuzz(
        40,
        case,
        |(file, edits, command, given, seed_edits, json)| {
            let mut text = FILES[file].clone().into_bytes();
            edits.iter().for_each(|edit| apply(&mut text, edit));
            std::fs::write(&problem, &text).unwrap();
            let mut text = seeds[given].as_bytes().to_vec();
            seed_edits.iter().for_each(|edit| apply(&mut text, edit));
            std::fs::write(&seed, &text).unwrap();

            let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_conediff"));
            run.args(commands[command]);
            if commands[command].len() == 2 && commands[command][1].ends_with("tangent") {
                run.arg(&seed);
            }
            run.arg(&problem).args(["--time-limit", "2"]);
            if json {
                run.arg("--json");
            }
            let output = run.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            prop_assert!(
                code.is_some_and(|c| (0..=3).contains(&c)),
                "{code:?} {errors}"
            );
            prop_assert!(!errors.contains("panicked"), "{errors}");
            if code == Some(2) {
                prop_assert!(errors.starts_with("conediff: "), "{errors}");
            }
            if json {
                let value = serde_json::from_slice::<Value>(&output.stdout);
                prop_assert!(value.is_ok_and(|v| v.is_object()), "{:?}", output.stdout);
            }
            Ok(())
        },
    );
    let _ = std::fs::remove_dir_all(&folder);
}
