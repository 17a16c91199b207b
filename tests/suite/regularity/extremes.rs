//! Empty programs, numbers at the ends of the range, many kinks: no panic, no wrong certainty.

use super::support::{at, corners, program_at};
use crate::support::relative;
use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Error, LinearSolver, Meaning, Policy,
    ProgramBuilder, Selection, Settings, Solution, SolutionTangent, solve,
};

fn policies() -> Vec<Policy> {
    let mut all = vec![Policy::Flag, Policy::MinimumNorm];
    for size in [1e-300, 1e-12, 1e-3, 1.0, 1e12, 1e300] {
        all.push(Policy::Tikhonov { rho: size });
        all.push(Policy::Smoothing { mu: size });
        all.push(Policy::Lagrangian { tau: size });
    }
    all
}

fn selections() -> [Selection; 6] {
    [
        Selection::Active,
        Selection::Inactive,
        Selection::Half,
        Selection::Random(u64::MAX),
        Selection::NonsingularFirst,
        Selection::MinimumNorm,
    ]
}

/// Everything there is to ask; what comes back is a number or an error, and no surrogate is trusted.
fn ask(name: &str, program: &ConeProgram, solution: &Solution, settings: &Settings) -> usize {
    let mut asked = 0;
    let derivative = match Derivative::new(program, solution, settings) {
        Ok(derivative) => derivative,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return 1;
        }
    };
    let tangent = DataTangent::random(program, 1);
    let seed = SolutionTangent::random(program, 2);
    let mut see = |meaning: Meaning, trusted: bool, values: &[&Vec<f64>]| {
        asked += 1;
        assert!(
            !(trusted && meaning.is_surrogate()),
            "{name}: {meaning} is trusted"
        );
        assert!(
            values.iter().all(|v| v.iter().all(|x| x.is_finite())),
            "{name}"
        );
    };
    let mut all = vec![Ok(derivative)];
    for selection in selections() {
        all.push(all[0].as_ref().unwrap().with_selection(selection));
    }
    for derivative in all.into_iter().filter_map(Result::ok) {
        if let Ok(found) = derivative.jvp(&tangent) {
            let v = &found.value;
            see(found.meaning, found.trusted, &[&v.x, &v.z, &v.s]);
        }
        if let Ok(found) = derivative.vjp(&seed) {
            let v = &found.value;
            see(found.meaning, found.trusted, &[&v.p, &v.q, &v.a, &v.b]);
        }
        if let Ok(found) = derivative.directional(&tangent) {
            let v = &found.value;
            see(found.meaning, found.trusted, &[&v.x, &v.z, &v.s]);
        }
        let _ = derivative.vjp_ambiguity(&seed);
        let _ = derivative.jvp_ambiguity(&tangent);
        for eps in [0.0, 1e-300, 1e-3, 1.0, 1e300, f64::MAX] {
            let report = derivative.regularity_within(eps).unwrap();
            assert!(!report.to_string().is_empty());
        }
        assert!(derivative.regularity_within(f64::INFINITY).is_err());
        for bad in [f64::NAN, f64::INFINITY] {
            if program.n() > 0 {
                let mut tangent = tangent.clone();
                tangent.q[0] = bad;
                assert!(derivative.jvp(&tangent).is_err(), "{name}");
                assert!(derivative.directional(&tangent).is_err(), "{name}");
                let mut seed = seed.clone();
                seed.x[0] = bad;
                assert!(derivative.vjp(&seed).is_err(), "{name}");
                assert!(derivative.vjp_ambiguity(&seed).is_err(), "{name}");
            }
        }
    }
    asked
}

fn program(n: usize, b: Vec<f64>, cones: Vec<Cone>) -> ConeProgram {
    // P = 0; rows of A are cycled unit vectors.
    let m = b.len();
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for j in 0..n {
        indices.extend((0..m).filter(|i| i % n == j));
        indptr.push(indices.len());
    }
    let values = vec![1.0; indices.len()];
    ConeProgram::from_csc(
        (&vec![0; n + 1], &[], &[]),
        vec![0.0; n],
        (&indptr, &indices, &values),
        b,
        cones,
    )
    .unwrap()
}

/// Small programs at their worst, solved by zeros.
fn zeros() -> Vec<(&'static str, ConeProgram)> {
    let all = vec![
        Cone::Zero(1),
        Cone::Nonnegative(2),
        Cone::SecondOrder(3),
        Cone::PsdTriangle(2),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::GeneralizedPower(vec![0.2, 0.8], 2),
    ];
    vec![
        ("nothing", program(0, vec![], vec![])),
        (
            "no variable",
            program(0, vec![0.0; 3], vec![Cone::Nonnegative(3)]),
        ),
        ("no row", program(2, vec![], vec![])),
        (
            "cones without rows",
            program(
                1,
                vec![0.0],
                vec![
                    Cone::Zero(0),
                    Cone::Nonnegative(0),
                    Cone::SecondOrder(0),
                    Cone::PsdTriangle(0),
                    Cone::Nonnegative(1),
                ],
            ),
        ),
        (
            "cones of one row",
            program(
                2,
                vec![0.0; 3],
                vec![
                    Cone::SecondOrder(1),
                    Cone::PsdTriangle(1),
                    Cone::Nonnegative(1),
                ],
            ),
        ),
        (
            "no bound",
            program(
                1,
                vec![1e20, f64::INFINITY, 0.0],
                vec![Cone::Nonnegative(3)],
            ),
        ),
        (
            "no bound alone",
            program(1, vec![1e20], vec![Cone::Nonnegative(1)]),
        ),
        ("every cone's apex", program(9, vec![0.0; 19], all.clone())),
        (
            "every cone's apex, one variable",
            program(1, vec![0.0; 19], all),
        ),
    ]
}

#[test]
fn zeros_under_every_setting_give_a_number_or_an_error() {
    let mut asked = 0;
    for (name, program) in zeros() {
        let x = vec![0.0; program.n()];
        let z = vec![0.0; program.m()];
        let s = program
            .b()
            .iter()
            .map(|b| if *b > 1.0 { 1.0 } else { 0.0 })
            .collect();
        let solution = Solution::given(&program, x, z, s).unwrap();
        for policy in policies() {
            for strict in [false, true] {
                let settings = Settings::default().with_policy(policy).with_strict(strict);
                asked += ask(
                    &format!("{name} {policy:?}"),
                    &program,
                    &solution,
                    &settings,
                );
            }
        }
        for solver in [LinearSolver::Ldl, LinearSolver::Lu, LinearSolver::Lsqr] {
            for policy in [
                Policy::Flag,
                Policy::MinimumNorm,
                Policy::Tikhonov { rho: 1e-3 },
                Policy::Smoothing { mu: 1e-3 },
            ] {
                let mut settings = Settings::default()
                    .with_policy(policy)
                    .with_linear_solver(solver);
                settings.refine.enabled = solver != LinearSolver::Lu;
                asked += ask(
                    &format!("{name} {solver:?}"),
                    &program,
                    &solution,
                    &settings,
                );
            }
        }
    }
    println!("{asked} answers");
}

#[test]
fn corners_under_every_setting_give_a_number_or_an_error() {
    let mut asked = 0;
    for corner in corners() {
        let (program, solution) = program_at(&corner, 3);
        for policy in policies() {
            let settings = Settings::default().with_policy(policy);
            asked += ask(corner.name, &program, &solution, &settings);
        }
        for solver in [LinearSolver::Ldl, LinearSolver::Lu, LinearSolver::Lsqr] {
            let mut settings = Settings::default().with_linear_solver(solver);
            settings.refine.enabled = false;
            asked += ask(corner.name, &program, &solution, &settings);
        }
    }
    println!("{asked} answers");
}

/// minimize 1/2 |x|^2 - sum x subject to x <= 1 in every entry: k weakly active rows.
fn many(k: usize) -> (ConeProgram, Solution) {
    let ends: Vec<usize> = (0..=k).collect();
    let ones = vec![1.0; k];
    let program = ConeProgram::from_csc(
        (&ends, &ends[..k], &ones),
        vec![-1.0; k],
        (&ends, &ends[..k], &ones),
        ones.clone(),
        vec![Cone::Nonnegative(k)],
    )
    .unwrap();
    let solution = Solution::given(&program, ones, vec![0.0; k], vec![0.0; k]).unwrap();
    (program, solution)
}

#[test]
fn hundreds_of_weakly_active_rows_have_one_sided_derivatives() {
    let k = 400;
    let (program, solution) = many(k);
    let derivative = at(&program, &solution);
    assert_eq!(derivative.kinks()[0].rows.len(), k);
    let mut tangent = DataTangent::zeros(&program);
    for (i, q) in tangent.q.iter_mut().enumerate() {
        *q = (i % 7) as f64 - 3.0;
    }

    let found = derivative.directional(&tangent).unwrap();

    for (x, q) in found.value.x.iter().zip(&tangent.q) {
        assert!((x - (-q).min(0.0)).abs() < 1e-9);
    }
    assert!(found.trusted);
}

#[test]
fn one_sided_derivatives_keep_to_the_memory_allowed() {
    let (program, solution) = many(50);
    let derivative = |bytes: u64| {
        let settings = Settings {
            max_dense_bytes: bytes,
            ..Settings::default()
        };
        Derivative::new(&program, &solution, &settings).unwrap()
    };
    let tangent = DataTangent::random(&program, 1);
    // 50 responses of 100 numbers, and S.
    let bytes = 8 * 50 * 150;
    let error = derivative(bytes - 1).directional(&tangent).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes: b, .. } if b == u128::from(bytes)),
        "{error}"
    );
    assert!(derivative(bytes).directional(&tangent).is_ok());
}

#[test]
fn one_sided_derivatives_do_not_depend_on_the_units_of_the_rows() {
    // Two weakly active bounds, one of them in units of 1e-6.
    let (program, solution) = many(2);
    let small = 1e-6;
    let a = [1.0, small];
    let scaled = program
        .with_data(None, None, Some(&a), Some(&[1.0, small]))
        .unwrap();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q = vec![-1.0, 2.0];
    for program in [&program, &scaled] {
        let found = at(program, &solution).directional(&tangent).unwrap().value;
        assert!(
            (found.x[0]).abs() < 1e-9 && (found.x[1] + 2.0).abs() < 1e-9,
            "{found:?}"
        );
    }
}

#[test]
fn the_first_nonsingular_element_is_found_by_every_linear_solver() {
    // minimize 0 subject to x <= 0, weakly active: let go, J is singular; held, it is not.
    let mut builder = ProgramBuilder::new(1);
    builder.inequality(&[(0, 1.0)], 0.0);
    let program = builder.build().unwrap();
    let solution = Solution::given(&program, vec![0.0], vec![0.0], vec![0.0]).unwrap();
    for solver in [
        LinearSolver::Auto,
        LinearSolver::Ldl,
        LinearSolver::Lu,
        LinearSolver::Lsqr,
    ] {
        let settings = Settings::default().with_linear_solver(solver);
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        let expected = Meaning::Element {
            selection: Selection::Active,
        };
        assert_eq!(derivative.meaning(), expected, "{solver:?}");
        let report = derivative.regularity().unwrap();
        assert!(!report.is_certified(), "{solver:?}: {report}");
    }
}

#[test]
fn small_seeds_give_small_derivatives_whatever_the_policy() {
    let norm = |v: &[&Vec<f64>]| {
        v.iter()
            .flat_map(|v| v.iter())
            .fold(0.0_f64, |m, x| m.max(x.abs()))
    };
    let mut builder = ProgramBuilder::new(2);
    for j in 0..2 {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -(j as f64));
    }
    builder.equality(&[(0, 1.0), (1, 1.0)], 1.0);
    builder.equality(&[(0, 2.0), (1, 2.0)], 2.0);
    builder.bounds([0], 0.0, f64::INFINITY);
    let program = builder.build().unwrap();
    let solution = solve(&program, &Settings::default()).unwrap();
    let mut policies = policies();
    policies.retain(|p| !matches!(p, Policy::Smoothing { mu } if !(1e-12..=1.0).contains(mu)));
    policies.retain(|p| !matches!(p, Policy::Lagrangian { tau } if !(1e-6..=1.0).contains(tau)));
    let mut compared = 0;
    for policy in policies {
        let settings = Settings::default().with_policy(policy);
        let Ok(derivative) = Derivative::new(&program, &solution, &settings) else {
            println!("none under {policy:?}");
            continue;
        };
        let times = |v: &[f64], t: f64| v.iter().map(|x| t * x).collect::<Vec<f64>>();
        let seed = SolutionTangent::random(&program, 2);
        let small = SolutionTangent {
            x: times(&seed.x, 1e-150),
            z: times(&seed.z, 1e-150),
            s: times(&seed.s, 1e-150),
        };
        let (whole, part) = (derivative.vjp(&seed), derivative.vjp(&small));
        let (Ok(whole), Ok(part)) = (whole, part) else {
            println!("{policy:?} fails");
            continue;
        };
        let difference = |a: &[f64], b: &[f64]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| a - 1e150 * b)
                .collect::<Vec<f64>>()
        };
        let (a, b) = (&whole.value, &part.value);
        let parts = [
            difference(&a.q, &b.q),
            difference(&a.b, &b.b),
            difference(&a.a, &b.a),
            difference(&a.p, &b.p),
        ];
        let error = norm(&parts.iter().collect::<Vec<_>>()) / norm(&[&a.q, &a.b, &a.a, &a.p]);
        let tolerance = if matches!(policy, Policy::Lagrangian { .. }) {
            1e-6
        } else {
            1e-10
        };
        assert!(error <= tolerance, "{policy:?}: {error:e}");
        assert_eq!(whole.trusted, part.trusted);
        compared += 1;
    }
    println!("{compared} policies compared");
    assert!(compared >= 10);
}

#[test]
fn a_derivative_that_the_last_digit_decides_is_not_trusted() {
    // On the edge w = 0 of a power cone D is continuous and changes with a power of |w|, a tiny one for an exponent near 1/2.
    let x_at = |alpha: f64, w: f64| {
        let corner = super::support::Corner {
            name: "smooth edge",
            cone: Cone::Power(alpha),
            z: vec![1.0, 0.0, 0.0],
            s: vec![0.0, 1.0, -w],
        };
        let (program, solution) = program_at(&corner, 5);
        let derivative = at(&program, &solution);
        assert!(derivative.kinks().is_empty());
        let found = derivative.jvp(&DataTangent::random(&program, 1)).unwrap();
        (found.trusted, found.value.x)
    };
    for (alpha, is_steady) in [
        (0.49, false),
        (0.45, false),
        (0.3, true),
        (0.2, true),
        (0.8, true),
    ] {
        let ((trusted, here), (_, there)) = (x_at(alpha, 0.0), x_at(alpha, 1e-15));
        let change = relative(&here, &there);
        assert_eq!(change < 1e-6, is_steady, "{alpha}: {change:e}");
        assert_eq!(trusted, is_steady, "{alpha}: {change:e}");
    }
}
