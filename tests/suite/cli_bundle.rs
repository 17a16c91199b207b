//! The command-line tool writes a failure as a bundle, and replays it.

use crate::cli::{BAD_INPUT, DONE, Folder, NOT_SOLVED, NOT_TRUSTED, problem, run, run_json};
use serde_json::{Value, json};

const DIFFERENT: i32 = 4;

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn an_untrusted_derivative_is_written_and_replays() {
    let folder = Folder::new();
    let out = folder.write("bundle.json", "");
    for (command, task) in [
        ("vjp", "vjp"),
        ("jvp", "jvp"),
        ("report", "derivative"),
        ("solve", "derivative"),
    ] {
        let answer = run(&[command, &problem("demb781"), "--bundle", &out]);
        assert_eq!(answer.code, DONE, "{}", answer.stderr);
        assert!(
            answer.stderr.contains("conediff replay"),
            "{}",
            answer.stderr
        );
        let bundle = read(&out);
        assert_eq!(bundle["task"]["kind"], task);
        let replay = run(&["replay", &out]);
        assert_eq!(replay.code, DONE, "{}", replay.stdout);
        assert!(
            replay.stdout.contains("equal bit for bit"),
            "{}",
            replay.stdout
        );
        let replay = run_json(DONE, &["replay", &out]);
        assert_eq!(replay["equal"], true);
        assert_eq!(replay["same_build"], true);
        assert_eq!(replay["differences"], json!([]));
        assert_eq!(replay["history"], json!([]));
        assert_eq!(replay["task"], task);
    }
    // The exit code is that of the command.
    let answer = run(&["vjp", &problem("demb781"), "--strict", "--bundle", &out]);
    assert_eq!(answer.code, NOT_TRUSTED);
    // The command's own output is what it is without a bundle.
    let plain = run_json(DONE, &["vjp", &problem("sambal")]);
    let kept = run_json(DONE, &["vjp", &problem("sambal"), "--bundle", &out]);
    assert_eq!(plain, kept);
}

#[test]
fn a_failed_solve_is_written_and_replays() {
    let folder = Folder::new();
    let out = folder.write("bundle.json", "");
    let few = ["--max-iterations", "2", "--bundle", &out];
    for command in ["solve", "vjp", "jvp", "report"] {
        let answer = run(&[&[command, &problem("HS118")][..], &few].concat());
        assert_eq!(answer.code, NOT_SOLVED, "{}", answer.stderr);
        let bundle = read(&out);
        assert_eq!(bundle["task"]["kind"], "solve");
        assert_eq!(bundle["settings"]["solve"]["max_iterations"], 2);
        assert_eq!(bundle["outcome"]["error"]["status"], "max_iterations");
        let replay = run(&["replay", &out]);
        assert_eq!(replay.code, DONE, "{}", replay.stdout);
        assert!(
            replay.stdout.contains("error.iterations"),
            "{}",
            replay.stdout
        );
    }
}

#[test]
fn a_trusted_derivative_and_refused_input_write_nothing() {
    let folder = Folder::new();
    let out = folder.0.join("bundle.json").to_string_lossy().into_owned();
    let answer = run(&["vjp", &problem("HS35"), "--bundle", &out]);
    assert_eq!(answer.code, DONE);
    assert!(
        answer
            .stderr
            .contains("no bundle: the derivative is trusted")
    );
    let bad = folder.write("bad.json", "{");
    let answer = run(&["vjp", &bad, "--bundle", &out]);
    assert_eq!(answer.code, BAD_INPUT);
    assert!(
        answer
            .stderr
            .contains("no bundle: the input itself is refused")
    );
    assert!(!std::path::Path::new(&out).exists());
    // A place that cannot be written to is an error, after the answer.
    let answer = run(&["vjp", &problem("demb781"), "--bundle", "no/such/place.json"]);
    assert_eq!(answer.code, BAD_INPUT);
    assert!(
        answer.stderr.contains("no/such/place.json: "),
        "{}",
        answer.stderr
    );
    assert!(answer.stdout.contains("NOT TRUSTED"));
}

#[test]
fn a_replay_that_differs_says_where_and_has_its_own_code() {
    let folder = Folder::new();
    let out = folder.write("bundle.json", "");
    run(&["vjp", &problem("demb781"), "--bundle", &out]);
    let mut bundle = read(&out);
    let q = bundle["outcome"]["value"]["q"][0].as_f64().unwrap();
    bundle["outcome"]["value"]["q"][0] = json!(f64::from_bits(q.to_bits() ^ 1));
    let changed = folder.json("changed.json", &bundle);
    let replay = run(&["replay", &changed]);
    assert_eq!(replay.code, DIFFERENT, "{}", replay.stdout);
    assert!(
        replay.stdout.contains("value.q[0]: recorded"),
        "{}",
        replay.stdout
    );
    let replay = run_json(DIFFERENT, &["replay", &changed]);
    assert_eq!(replay["equal"], false);
    assert_eq!(replay["differences"][0]["path"], "value.q[0]");
    assert_eq!(replay["differences"][0]["count"], 1);
}

#[test]
fn bad_bundles_are_bad_input_with_the_reason() {
    let folder = Folder::new();
    let out = folder.write("bundle.json", "");
    run(&["vjp", &problem("demb781"), "--bundle", &out]);
    let text = std::fs::read_to_string(&out).unwrap();
    let mut newer = read(&out);
    newer["version"] = json!(9);
    for (file, words) in [
        (
            folder.write("cut.json", &text[..text.len() / 2]),
            "cut off at line 1",
        ),
        (folder.json("newer.json", &newer), "version 9 of the format"),
        (folder.write("other.json", "{\"x\": 1}"), "not a bundle"),
        (problem("HS35"), "not a bundle but a problem"),
        ("missing.json".to_string(), "missing.json: "),
    ] {
        let answer = run(&["replay", &file]);
        assert_eq!(answer.code, BAD_INPUT, "{}", answer.stderr);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
        assert!(answer.stdout.is_empty());
        let out = run_json(BAD_INPUT, &["replay", &file]);
        assert!(out["message"].as_str().unwrap().contains(words));
    }
}
