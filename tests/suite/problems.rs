//! Real public problems kept in tests/data/problems: optimal values, refinement, and the derivative against differences.

use conediff::{ConeProgram, Derivative, Error, GradcheckSettings, Settings, gradcheck_at, solve};

fn read(name: &str) -> ConeProgram {
    let file = format!(
        "{}/tests/data/problems/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    ConeProgram::from_json(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Published or cross-checked optimal values (HiGHS for the quadratic programs, Clarabel and SCS for the others).
const VALUES: [(&str, f64, f64); 10] = [
    ("HS21", 0.04, 1e-9),
    ("HS35", -8.888_888_888_888_884, 1e-12),
    ("HS118", 664.820_45, 1e-9),
    ("DUAL1", 0.035_012_965_733_469, 1e-9),
    ("DUALC1", 6_155.250_829_462_686, 1e-9),
    ("QAFIRO", -1.590_781_793_891_763, 1e-9),
    ("demb781", 0.693_147_178_422, 1e-6),
    ("demb761", 183.491_819_914, 1e-6),
    ("beck751", 7.500_952_149_162, 1e-6),
    ("sambal", 3.968_220_609_652_8, 1e-6),
];

#[test]
fn optimal_values_are_the_published_ones() {
    for (name, value, tolerance) in VALUES {
        let solution = solve(&read(name), &Settings::default()).unwrap();
        let error = (solution.objective - value).abs() / value.abs().max(1.0);
        assert!(
            error <= tolerance,
            "{name}: {} against {value}",
            solution.objective
        );
        let r = solution.refinement.unwrap();
        assert!(r.accepted && r.after <= 1e-12, "{name}: {r:?}");
    }
}

#[test]
fn trusted_derivatives_agree_with_differences_and_the_others_are_named() {
    let settings = Settings::default();
    for (name, trusted) in [
        ("HS21", true),
        ("HS35", true),
        ("HS118", true),
        ("DUAL1", true),
        ("DUALC1", true),
        ("demb761", true),
        // Degenerate: more active rows than variables, or solutions that are not unique (their Jacobians have singular values of
        // 1e-16, by a dense decomposition elsewhere).
        ("QAFIRO", false),
        ("demb781", false),
        ("beck751", false),
        ("sambal", false),
    ] {
        let program = read(name);
        let solution = solve(&program, &settings).unwrap();
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        let report = gradcheck_at(&derivative, &settings, &GradcheckSettings::default()).unwrap();
        assert_eq!(report.trusted, trusted, "{name}\n{report}");
        if trusted {
            assert!(report.passed(), "{name}\n{report}");
            assert!(report.residual <= 1e-12, "{name}\n{report}");
        } else {
            assert!(!report.warnings.is_empty(), "{name}");
        }
    }
}

#[test]
fn an_infeasible_problem_comes_with_its_certificate() {
    let program = read("isil01");
    let Err(Error::PrimalInfeasible { certificate, value }) = solve(&program, &Settings::default())
    else {
        panic!("isil01 is primal infeasible");
    };
    assert!(value < 0.0);
    let mut az = vec![0.0; program.n()];
    let a = program.a();
    for (j, sum) in az.iter_mut().enumerate() {
        for k in a.pattern().indptr()[j]..a.pattern().indptr()[j + 1] {
            *sum += a.values()[k] * certificate[a.pattern().indices()[k]];
        }
    }
    let largest = |x: &[f64]| x.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    assert!(largest(&az) <= 1e-6 * value.abs() * largest(&certificate).max(1.0));
}

#[test]
fn writing_and_reading_a_problem_changes_nothing() {
    for (name, ..) in VALUES {
        let program = read(name);
        let again = ConeProgram::from_json(&program.to_json()).unwrap();
        assert_eq!(program.q(), again.q());
        assert_eq!(program.b(), again.b());
        assert_eq!(program.cones(), again.cones());
        assert_eq!(program.a().values(), again.a().values());
        assert_eq!(program.p().pattern(), again.p().pattern());
    }
}
