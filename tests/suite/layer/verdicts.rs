//! What is said of programs that have no solution, of limits and of kinks, whatever was solved before.

use conediff::{
    Cone, ConeProgram, ConicLayer, Error, ForwardSolver, LayerData, LayerSettings, SolutionTangent,
    WarmStart,
};

use super::support::{KNOWN, distance, small, solve_default, untimed};

/// The program with two more rows, 1'x <= t + slack and -1'x <= -t + slack for t = 1'x at its solution.
fn between_two_rows(program: &ConeProgram, slack: f64) -> ConeProgram {
    let (n, m) = (program.n(), program.m());
    let pattern = program.a().pattern();
    let (mut starts, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        let range = pattern.indptr()[j]..pattern.indptr()[j + 1];
        rows.extend_from_slice(&pattern.indices()[range.clone()]);
        values.extend_from_slice(&program.a().values()[range]);
        rows.extend([m, m + 1]);
        values.extend([1.0, -1.0]);
        starts.push(rows.len());
    }
    let p = program.p().pattern();
    let mut cones = program.cones().to_vec();
    cones.push(Cone::Nonnegative(2));
    let t: f64 = solve_default(program).x.iter().sum();
    let mut b = program.b().to_vec();
    b.extend([t + slack, -t + slack]);
    ConeProgram::from_csc(
        (p.indptr(), p.indices(), program.p().values()),
        program.q().to_vec(),
        (&starts, &rows, &values),
        b,
        cones,
    )
    .unwrap()
}

#[test]
fn an_infeasible_program_after_a_feasible_one_is_infeasible_and_no_runaway_point() {
    let mut worst = 0.0_f64;
    for (name, recipe) in super::random::recipes() {
        let generated = recipe.generate().unwrap();
        let feasible = between_two_rows(generated.program(), 1.0);
        let m = feasible.m();
        for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
            let start = Box::new(solve_default(&feasible));
            for warm_start in [WarmStart::Off, WarmStart::Previous, WarmStart::Given(start)] {
                let settings = untimed().with_forward(forward).with_warm_start(warm_start);
                let mut layer = ConicLayer::new(&feasible, settings).unwrap();
                for gap in [1e-2, 1.0, 1e2, 1e5] {
                    let found = layer.forward_program(&feasible).unwrap();
                    worst = worst.max(distance(found, &solve_default(&feasible)));
                    let mut b = feasible.b().to_vec();
                    b[m - 2] -= 1.0 + gap;
                    b[m - 1] -= 1.0 + gap;
                    let error = layer.forward(&LayerData::default().with_b(&b));
                    let error = error.expect_err(name);
                    assert!(
                        matches!(error, Error::PrimalInfeasible { .. }),
                        "{name} {gap:e}: {error}"
                    );
                }
            }
        }
    }
    println!("feasible ones in between: {worst:.1e}");
    assert!(worst <= KNOWN);
}

#[test]
fn an_unbounded_program_after_a_bounded_one_is_unbounded() {
    let program = small();
    let expected = solve_default(&program);
    for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
        for warm_start in [WarmStart::Off, WarmStart::Previous] {
            let settings = untimed().with_forward(forward).with_warm_start(warm_start);
            let mut layer = ConicLayer::new(&program, settings).unwrap();
            for down in [1e-2, 1.0, 1e3] {
                let found = layer.forward(&LayerData::default()).unwrap();
                assert!(distance(found, &expected) <= KNOWN);
                let error = layer.forward(&LayerData::default().with_q(&[-1.0, down]));
                let error = error.unwrap_err();
                assert!(
                    matches!(error, Error::DualInfeasible { .. }),
                    "{down:e}: {error}"
                );
            }
        }
    }
}

#[test]
fn limits_that_come_first_are_errors_of_their_own() {
    let mut settings = untimed();
    settings.settings.solve.max_iterations = 1;
    let mut layer = ConicLayer::new(&small(), settings).unwrap();
    let error = layer.forward(&LayerData::default()).unwrap_err();
    assert!(matches!(error, Error::NotSolved { .. }), "{error}");
    assert_eq!(layer.counts().failed, 1);
}

#[test]
fn a_kink_is_an_error_under_strict_and_flagged_otherwise() {
    // minimize x^2 / 2 - x subject to x <= b: weakly active at b = 1.
    let program = ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![-1.0],
        (&[0, 1], &[0], &[1.0]),
        vec![1.0],
        vec![Cone::Nonnegative(1)],
    )
    .unwrap();
    let seed = SolutionTangent::random(&program, 1);
    for warm_start in [WarmStart::Off, WarmStart::Previous] {
        let settings = LayerSettings::default().with_warm_start(warm_start);
        let mut layer = ConicLayer::new(&program, settings.clone()).unwrap();
        let mut strict = settings;
        strict.settings = strict.settings.with_strict(true);
        let mut strict = ConicLayer::new(&program, strict).unwrap();
        for b in [0.5, 1.0, 2.0, 1.0] {
            let is_kink = b == 1.0;
            let b = [b];
            let data = LayerData::default().with_b(&b);
            let solution = layer.forward(&data).unwrap();
            assert!((solution.x[0] - b[0].min(1.0)).abs() <= KNOWN);
            assert_eq!(layer.derivative().unwrap().kinks().is_empty(), !is_kink);
            assert_eq!(layer.backward(&seed).unwrap().trusted, !is_kink);
            match strict.forward(&data) {
                Ok(_) => assert!(!is_kink),
                Err(error) => {
                    assert!(
                        is_kink && matches!(error, Error::NotTrusted { .. }),
                        "{error}"
                    );
                    assert!(matches!(strict.derivative(), Err(Error::NoForward { .. })));
                }
            }
            let found = strict.forward_batch(&[LayerData::default().with_b(&[0.5]), data]);
            assert!(found[0].is_ok());
            assert_eq!(matches!(found[1], Err(Error::NotTrusted { .. })), is_kink);
        }
    }
}
