//! A failure written, read and computed again gives the same bits, and what is no bundle is refused with words that say why.

use conediff::{
    Bundle, Cone, ConeProgram, ConicLayer, DataTangent, Derivative, Error, LayerSettings,
    LinearBackend, LinearSolver, Policy, Replay, Selection, Settings, Solution, SolutionTangent,
    Wanted, WarmStart, interior_point, solve,
};
use serde_json::{Value, json};

use crate::families;
use crate::layer::support::{INFEASIBLE, UNBOUNDED, small, untimed};

/// Through a file's text; the replay of what came back.
#[track_caller]
fn replay(bundle: &Bundle) -> Replay {
    let text = bundle.to_json();
    let back = Bundle::from_json(&text).unwrap();
    assert_eq!(back.to_json(), text, "a bundle returns as it was");
    let replay = back.replay();
    assert!(replay.is_same_build());
    replay
}

/// The replay gives the bits recorded, and those are what the caller saw.
#[track_caller]
fn assert_replays(bundle: &Bundle) {
    let replay = replay(bundle);
    assert!(replay.matches_bits(), "{replay}");
    assert!(replay.history.is_empty(), "{replay}");
}

/// minimize 1/2 x^2 subject to x <= 0: a kink.
fn kink() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![0.0],
        (&[0, 1], &[0], &[1.0]),
        vec![0.0],
        vec![Cone::Nonnegative(1)],
    )
    .unwrap()
}

/// minimize 0 subject to x <= 1 and a row without a bound: singular.
fn singular() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 0], &[], &[]),
        vec![0.0],
        (&[0, 2], &[0, 1], &[1.0, 1.0]),
        vec![1.0, f64::INFINITY],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap()
}

fn file(bundle: &Bundle) -> Value {
    serde_json::from_str(&bundle.to_json()).unwrap()
}

#[test]
fn a_failed_solve_fails_again_with_the_same_bits() {
    let mut hasty = Settings::default();
    hasty.solve.max_iterations = 2;
    let mut invalid = Settings::default();
    invalid.solve.tolerance = f64::NAN;
    let base = small();
    for (program, settings, kind) in [
        (
            base.with_b(INFEASIBLE.to_vec()).unwrap(),
            Settings::default(),
            "primal_infeasible",
        ),
        (
            base.with_q(UNBOUNDED.to_vec()).unwrap(),
            Settings::default(),
            "dual_infeasible",
        ),
        (families::entropy(10, 3, 0).program, hasty, "not_solved"),
        (families::lmi(5, 4, 0).program, hasty, "not_solved"),
        (base, invalid, "setting"),
    ] {
        let error = solve(&program, &settings).unwrap_err();
        let bundle = Bundle::failed_solve(&program, &settings, &error);
        assert_replays(&bundle);
        let file = file(&bundle);
        assert_eq!(file["outcome"]["error"]["kind"], kind);
        assert_eq!(file["outcome"]["message"], error.to_string());
        assert_eq!(bundle.task(), "solve");
        if let Error::NotSolved { last, .. } = error {
            let recorded = file["outcome"]["error"]["last"]["x"][0].as_f64().unwrap();
            assert_eq!(recorded.to_bits(), last.x[0].to_bits());
        }
    }
}

#[test]
fn a_reached_time_limit_is_recorded_as_it_was() {
    let mut settings = Settings::default();
    settings.solve.time_limit = 1e-9;
    let program = families::lmi(6, 5, 0).program;
    let error = solve(&program, &settings).unwrap_err();
    let bundle = Bundle::failed_solve(&program, &settings, &error);
    let file = file(&bundle);
    assert_eq!(file["outcome"]["error"]["status"], "max_time");
    assert_eq!(file["again"], Value::Null);
    assert_eq!(file["settings"]["solve"]["time_limit"], 1e-9);
}

/// Programs of every kind at which a derivative is untrusted, and regular ones.
fn programs() -> Vec<(&'static str, ConeProgram)> {
    let mut programs = vec![
        ("kink", kink()),
        ("singular", singular()),
        ("lp", families::lp(12, 0).program),
        ("qp", families::qp_dense(12, 3, 9, 0).program),
        ("second-order", families::ball(6, 3, 0).program),
        ("exponential", families::entropy(9, 3, 0).program),
        ("power", families::power(4, 0).program),
        ("psd", families::lmi(5, 4, 0).program),
        ("correlation", families::nearest_correlation(4, 0).program),
    ];
    let by_rows = sprs::CsMat::new((2, 1), vec![0, 1, 2], vec![0, 0], vec![1.0, -1.0]);
    let p = sprs::CsMat::new_csc((1, 1), vec![0, 1], vec![0], vec![1.0]);
    let cones = vec![Cone::Nonnegative(2)];
    let program = ConeProgram::new(&p, vec![0.0], &by_rows, vec![0.0, 1.0], cones);
    programs.push(("by rows", program.unwrap()));
    programs
}

#[test]
fn derivatives_are_computed_again_with_the_same_bits() {
    let mut unrefined = Settings::default();
    unrefined.refine.enabled = false;
    let mut hopeless = Settings::default();
    hopeless.refine.tolerance = 1e-30;
    let all = [
        Settings::default(),
        unrefined,
        hopeless,
        Settings::default().with_selection(Selection::Random(7)),
        Settings::default().with_linear_solver(LinearSolver::Lu),
        Settings::default().with_linear_solver(LinearSolver::Lsqr),
        Settings::default().with_policy(Policy::Tikhonov { rho: 1e-4 }),
        Settings::default().with_policy(Policy::Smoothing { mu: 1e-4 }),
        Settings::default().with_policy(Policy::Lagrangian { tau: 1e-3 }),
    ];
    let mut untrusted = 0;
    for (name, program) in programs() {
        for settings in all {
            // The solver's own point, which Derivative::new refines, and a refined one, which it takes or polishes.
            let raw = interior_point(&program, &settings.solve).unwrap();
            let starts = [raw, solve(&program, &Settings::default()).unwrap()];
            for solution in starts {
                let derivative = match Derivative::new(&program, &solution, &settings) {
                    Ok(derivative) => derivative,
                    Err(error) => {
                        let bundle =
                            Bundle::failed_derivative(&program, &solution, &settings, &error);
                        assert_replays(&bundle);
                        continue;
                    }
                };
                let cotangent = SolutionTangent::random(&program, 1);
                let outcome = derivative.vjp(&cotangent);
                untrusted += usize::from(!outcome.as_ref().is_ok_and(|g| g.trusted));
                let bundle = Bundle::vjp(&derivative, &cotangent, &outcome).unwrap();
                assert_eq!(bundle.cotangent(), Some(&cotangent), "{name}");
                assert_replays(&bundle);

                let tangent = DataTangent::random(&program, 2);
                let outcome = derivative.jvp(&tangent);
                let bundle = Bundle::jvp(&derivative, &tangent, &outcome).unwrap();
                assert_eq!(bundle.tangent(), Some(&tangent), "{name}");
                assert_replays(&bundle);
                assert_replays(&Bundle::derivative(&derivative).unwrap());
            }
        }
    }
    assert!(untrusted > 20, "{untrusted}");
}

#[test]
fn parts_of_a_gradient_and_errors_of_a_seed_are_computed_again() {
    let program = families::qp_dense(6, 2, 4, 0).program;
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let cotangent = SolutionTangent::random(&program, 0);
    let wanted = Wanted {
        p: false,
        a: false,
        ..Wanted::default()
    };
    let outcome = derivative.vjp_wanted(&cotangent, wanted);
    assert_replays(&Bundle::vjp(&derivative, &cotangent, &outcome).unwrap());

    let mut wrong = cotangent.clone();
    wrong.z.pop();
    let mut infinite = cotangent;
    infinite.x[1] = f64::NEG_INFINITY;
    for (seed, kind) in [(wrong, "dimension"), (infinite, "non_finite")] {
        let outcome = derivative.vjp(&seed);
        let bundle = Bundle::vjp(&derivative, &seed, &outcome).unwrap();
        assert_eq!(file(&bundle)["outcome"]["error"]["kind"], kind);
        assert_replays(&bundle);
    }
    // Strict: the point itself is the error.
    let (program, strict) = (kink(), settings.with_strict(true));
    let solution = solve(&program, &strict).unwrap();
    let error = Derivative::new(&program, &solution, &strict).unwrap_err();
    let bundle = Bundle::failed_derivative(&program, &solution, &strict, &error);
    assert_eq!(file(&bundle)["outcome"]["error"]["kind"], "not_trusted");
    assert_replays(&bundle);
}

#[test]
fn one_changed_bit_is_found_and_named() {
    let program = families::qp_dense(6, 2, 4, 0).program;
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let cotangent = SolutionTangent::random(&program, 0);
    let outcome = derivative.vjp(&cotangent);
    let bundle = Bundle::vjp(&derivative, &cotangent, &outcome).unwrap();
    let changed = |pointer: &str, change: &dyn Fn(f64) -> f64| {
        let mut file = file(&bundle);
        let place = file.pointer_mut(pointer).unwrap();
        *place = json!(change(place.as_f64().unwrap()));
        Bundle::from_json(&file.to_string()).unwrap().replay()
    };
    let next = |x: f64| f64::from_bits(x.to_bits() + 1);
    // In the record.
    let found = changed("/outcome/value/q/0", &next);
    assert_eq!(found.differences.len(), 1, "{found}");
    let difference = &found.differences[0];
    assert_eq!(
        (difference.path.as_str(), difference.count),
        ("value.q[0]", 1)
    );
    assert!(difference.relative < 3e-16 && difference.relative > 0.0);
    assert!(found.to_string().contains("DIFFERENT"));
    let found = changed("/outcome/evidence/bias", &|x| -x);
    assert_eq!(found.differences[0].path, "evidence.bias", "0 is not -0");
    assert_eq!(found.differences[0].relative, 0.0);
    // In the data: everything that depends on them moves.
    let found = changed("/program/q/0", &|x| x + 1e-3);
    assert!(!found.matches_bits());
    assert!(
        found
            .differences
            .iter()
            .any(|d| d.path.starts_with("value."))
    );
    // In the settings.
    let found = changed("/settings/accuracy", &|_| 1e-300);
    assert!(
        found.differences.iter().any(|d| d.path == "trusted"),
        "{found}"
    );
    // Another build is told apart.
    let mut other = file(&bundle);
    other["build"]["vectors"] = json!("none");
    let other = Bundle::from_json(&other.to_string()).unwrap().replay();
    assert!(other.matches_bits() && !other.is_same_build());
}

/// The largest relative difference of the answer itself, as the layer gave it and as a computation by itself does.
fn history(replay: &Replay) -> f64 {
    let values = replay
        .history
        .iter()
        .filter(|d| d.path.starts_with("value"));
    values.fold(0.0, |m: f64, d| m.max(d.relative))
}

#[test]
fn items_of_a_layer_are_computed_again_with_what_it_measured() {
    for family in [
        families::qp_dense(60, 10, 60, 0),
        families::lp(40, 0),
        families::markowitz(30, 5, 0),
        families::entropy(20, 4, 0),
        families::lmi(6, 6, 0),
    ] {
        let name = family.name;
        // All that can be timed is.
        let settings = LayerSettings::default()
            .with_warm_start(WarmStart::Previous)
            .with_threads(2);
        let mut layer = ConicLayer::new(&family.program, settings).unwrap();
        let programs: Vec<ConeProgram> = (0..4).map(|k| family.item(k, 0.01)).collect();
        for _ in 0..2 {
            for result in layer.forward_programs(&programs) {
                result.unwrap();
            }
        }
        let cotangents: Vec<_> = (0..4)
            .map(|k| SolutionTangent::random(&programs[0], k))
            .collect();
        let outcomes = layer.backward_batch(&cotangents).unwrap();
        for (item, outcome) in outcomes.iter().enumerate() {
            let derivative = layer.item_derivative(item).unwrap();
            let bundle = Bundle::vjp(derivative, &cotangents[item], outcome)
                .unwrap()
                .with_layer_settings(layer.settings());
            let back = Bundle::from_json(&bundle.to_json()).unwrap();
            assert_eq!(back.layer_settings(), Some(layer.settings()));
            let file = file(&bundle);
            assert!(file["calibration"]["backend"].is_string(), "{name}");
            assert!(file["calibration"]["regularization"].is_f64(), "{name}");
            let replay = replay(&bundle);
            assert!(replay.matches_bits(), "{name}: {replay}");
            assert!(history(&replay) < 1e-6, "{name}: {replay}");
        }
    }
}

#[test]
fn an_item_of_a_layer_that_times_nothing_is_what_the_layer_gave_on_flat_cones() {
    let family = families::qp_dense(20, 5, 20, 0);
    for backend in [
        LinearBackend::Dense,
        LinearBackend::Simplicial,
        LinearBackend::Supernodal,
    ] {
        let mut settings = untimed();
        settings.settings.linear.backend = backend;
        let mut layer = ConicLayer::new(&family.program, settings).unwrap();
        let cotangent = SolutionTangent::random(&family.program, 0);
        for seed in 0..3 {
            layer.forward_program(&family.item(seed, 0.01)).unwrap();
            let outcome = layer.backward(&cotangent);
            let bundle = Bundle::vjp(layer.derivative().unwrap(), &cotangent, &outcome).unwrap();
            assert_eq!(file(&bundle)["calibration"]["backend"], Value::Null);
            let replay = replay(&bundle);
            assert!(replay.matches_bits(), "{replay}");
            let of_value = replay.history.iter().any(|d| d.path.starts_with("value"));
            assert!(!of_value, "{replay}");
        }
    }
}

#[test]
fn a_failed_forward_of_a_layer_is_computed_again() {
    let base = small();
    let mut layer = ConicLayer::new(&base, LayerSettings::default()).unwrap();
    layer.forward_program(&base).unwrap();
    for program in [
        base.with_b(INFEASIBLE.to_vec()).unwrap(),
        base.with_q(UNBOUNDED.to_vec()).unwrap(),
    ] {
        let error = layer.forward_program(&program).unwrap_err();
        let bundle = Bundle::failed_solve(&program, &layer.settings().settings, &error)
            .with_layer_settings(layer.settings());
        assert_replays(&bundle);
    }
}

#[test]
fn a_derivative_that_no_settings_make_is_refused() {
    let (program, settings) = (kink(), Settings::default());
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let seed = SolutionTangent::zeros(&program);
    for varied in [
        derivative.with_selection(Selection::Half).unwrap(),
        derivative
            .with_kink_selections(&[(0, Selection::Active)])
            .unwrap(),
        derivative.tikhonov(1e-3).unwrap(),
        Derivative::smoothed(&program, &solution, 1e-3, &settings).unwrap(),
    ] {
        let error = Bundle::vjp(&varied, &seed, &varied.vjp(&seed)).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("choose by Settings::selection"), "{words}");
    }
}

#[test]
fn what_is_no_bundle_is_refused_with_the_reason() {
    let (program, settings) = (singular(), Settings::default());
    let solution: Solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let seed = SolutionTangent::random(&program, 0);
    let bundle = Bundle::vjp(&derivative, &seed, &derivative.vjp(&seed)).unwrap();
    let text = bundle.to_json();
    let refused = |text: &str| match Bundle::from_json(text) {
        Err(Error::Bundle { reason }) => reason,
        other => panic!("{other:?}"),
    };
    for cut in 0..text.len() {
        let reason = refused(&text[..cut]);
        assert!(reason.contains("cut off"), "{cut}: {reason}");
    }
    assert!(refused("[1, 2]").contains("no object"));
    assert!(refused("{}").contains("lacks \"format\""));
    assert!(refused(&program.to_json()).contains("not a bundle but a problem"));
    assert!(refused("solved").contains("not JSON"));
    for word in ["NaN", "Infinity", "-Infinity"] {
        let bare = text.replacen("\"Infinity\"", word, 1);
        assert_ne!(bare, text);
        let reason = refused(&bare);
        assert!(
            reason.contains(&format!("a bare {word} at line 1")),
            "{reason}"
        );
    }
    let with = |pointer: &str, value: Value| {
        let mut file = file(&bundle);
        *file.pointer_mut(pointer).unwrap() = value;
        file.to_string()
    };
    for (pointer, value, words) in [
        (
            "/version",
            json!(2),
            "version 2 of the format, and this build reads 1",
        ),
        ("/version", json!("1"), "version \"1\""),
        ("/program/q/0", json!("NaN"), "program: q[0] is NaN"),
        ("/program/b/0", json!("-Infinity"), "program: b[0] is -inf"),
        (
            "/program/cones",
            json!([]),
            "program: the cones have 0 rows",
        ),
        ("/settings/accuracy", json!([]), "settings: invalid type"),
        (
            "/task/kind",
            json!("guess"),
            "task: unknown variant `guess`",
        ),
        ("/task/solution/status", json!(3), "task: "),
        (
            "/task/cotangent/x/0",
            json!("one"),
            "task: invalid value: string \"one\"",
        ),
        ("/outcome", json!(null), "outcome is no object"),
        ("/again", json!(3), "again is no object"),
        ("/build", json!({}), "build: missing field `version`"),
        (
            "/calibration/backend",
            json!("fast"),
            "calibration: unknown variant `fast`",
        ),
    ] {
        let reason = refused(&with(pointer, value));
        assert!(reason.contains(words), "{pointer}: {reason}");
    }
    for name in [
        "build",
        "task",
        "settings",
        "calibration",
        "program",
        "outcome",
    ] {
        let mut file = file(&bundle);
        file.as_object_mut().unwrap().remove(name);
        let reason = refused(&file.to_string());
        assert!(reason.starts_with(name), "{name}: {reason}");
    }
    // What may be what failed is replayed, not refused.
    let bad_seed = with("/task/cotangent/x/0", json!("NaN"));
    let replay = Bundle::from_json(&bad_seed).unwrap().replay();
    assert!(
        replay
            .differences
            .iter()
            .any(|d| d.path == "error" || d.path == "error.kind"),
        "{replay}"
    );
    let short = with("/task/solution/z", json!([]));
    assert!(!Bundle::from_json(&short).unwrap().replay().matches_bits());
    // Files.
    let missing = Bundle::read_from("no/such/file.json").unwrap_err();
    assert!(matches!(missing, Error::File { .. }), "{missing}");
    let unwritable = bundle.write_to("no/such/file.json").unwrap_err();
    assert!(unwritable.to_string().starts_with("no/such/file.json: "));
}
