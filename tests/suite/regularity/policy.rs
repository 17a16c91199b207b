//! What takes the derivative's place where the point is not certified.

use super::support::{at, jump, weakly_active};
use crate::support::relative;
use conediff::{
    ConeProgram, DataTangent, Derivative, Error, Meaning, Method, Policy, ProgramBuilder, Settings,
    SolutionTangent, solve,
};

fn under(program: &ConeProgram, policy: Policy) -> Derivative {
    let settings = Settings::default().with_policy(policy);
    let solution = solve(program, &settings).unwrap();
    Derivative::new(program, &solution, &settings).unwrap()
}

fn policies() -> [Policy; 5] {
    [
        Policy::Flag,
        Policy::MinimumNorm,
        Policy::Tikhonov { rho: 1e-3 },
        Policy::Smoothing { mu: 1e-4 },
        Policy::Lagrangian { tau: 1e-3 },
    ]
}

/// The projection onto the simplex's plane x1 + x2 = 1, written twice: dx is well defined, dz is not unique.
fn redundant() -> ConeProgram {
    let mut builder = ProgramBuilder::new(2);
    for j in 0..2 {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -(j as f64));
    }
    builder.equality(&[(0, 1.0), (1, 1.0)], 1.0);
    builder.equality(&[(0, 2.0), (1, 2.0)], 2.0);
    builder.build().unwrap()
}

#[test]
fn at_certified_points_every_policy_gives_the_same() {
    let (program, derivative) = weakly_active();
    let tangent = DataTangent::random(&program, 1);
    let expected = derivative.jvp(&tangent).unwrap();
    for policy in policies() {
        let found = under(&program, policy).jvp(&tangent).unwrap();
        assert!(relative(&found.value.x, &expected.value.x) < 1e-12);
        assert_eq!(found.meaning, expected.meaning);
    }
}

#[test]
fn each_policy_says_what_it_gave_and_none_is_trusted() {
    let program = redundant();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q = vec![1.0, -1.0];
    let seed = SolutionTangent {
        x: vec![1.0, 0.0],
        z: vec![0.0; 2],
        s: vec![0.0; 2],
    };
    for policy in policies() {
        let derivative = under(&program, policy);
        let forward = derivative.jvp(&tangent).unwrap();
        let backward = derivative.vjp(&seed).unwrap();
        // d x / d q along (1, -1) is -(1, -1), whatever the multipliers.
        let error = relative(&forward.value.x, &[-1.0, 1.0]);
        let bias = match policy {
            Policy::Tikhonov { .. } => 2e-3,
            _ => 1e-6,
        };
        assert!(error < bias, "{policy:?}: {error:e}");
        assert!(
            relative(&backward.value.q, &[-0.5, 0.5]) < bias,
            "{policy:?}"
        );
        assert!(!forward.trusted && !backward.trusted, "{policy:?}");
        let expected = match policy {
            Policy::Tikhonov { rho } => Meaning::Tikhonov { rho },
            Policy::Smoothing { mu } => Meaning::Smoothed { mu },
            Policy::Lagrangian { tau } => Meaning::Lagrangian { tau },
            _ => Meaning::LeastSquares,
        };
        assert_eq!(
            (forward.meaning, derivative.meaning()),
            (expected, expected)
        );
        let report = derivative.regularity().unwrap();
        assert!(!report.is_certified() && report.meaning == expected);
        // The point is the solution itself, whatever the derivative is of.
        assert!(relative(&derivative.solution().x, &[0.0, 1.0]) < 1e-9);
        if let Policy::Lagrangian { .. } = policy {
            assert_eq!(forward.evidence.method, Method::Differences);
        }
        assert!(
            Derivative::new(
                &program,
                derivative.solution(),
                &Settings::default().with_policy(policy).with_strict(true)
            )
            .is_err()
        );
    }
}

#[test]
fn the_bias_of_tikhonov_is_estimated_and_falls_with_rho() {
    let program = redundant();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q = vec![1.0, -1.0];
    let mut last = f64::INFINITY;
    for rho in [1e-1, 1e-2, 1e-3, 1e-4] {
        let found = under(&program, Policy::Tikhonov { rho })
            .jvp(&tangent)
            .unwrap();
        let error = relative(&found.value.x, &[-1.0, 1.0]);
        let bias = found.evidence.bias;
        assert!(
            error <= 1.1 * bias && bias <= 10.0 * error,
            "{rho}: {error:e} {bias:e}"
        );
        assert!(error < 0.2 * last);
        last = error;
    }
}

#[test]
fn the_bias_of_tikhonov_is_infinite_where_no_derivative_exists() {
    let program = jump();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q[0] = 1.0;
    let found = under(&program, Policy::Tikhonov { rho: 1e-3 })
        .jvp(&tangent)
        .unwrap();
    // x moves along the flat direction at the rate the proximal term allows.
    assert!((found.value.x[0] + 1e3).abs() < 1e-6, "{:?}", found.value);
    assert!(found.evidence.bias.is_infinite());
}

#[test]
fn tikhonov_derivatives_of_every_part_are_those_of_the_proximal_program() {
    use super::support::{corners, program_at};
    for corner in corners() {
        let (program, solution) = program_at(&corner, 6);
        let derivative = at(&program, &solution);
        let rho = 0.1;
        let proximal = derivative.tikhonov(rho).unwrap();
        let tangent = DataTangent::random(&program, 2);
        let found = proximal.jvp(&tangent).unwrap();
        // Its equations: P dx + A'dz + rho dx = -(dP x + dA'z + dq), A dx + ds - rho dz = db - dA x.
        let mut top = vec![0.0; program.n()];
        let p = program.p();
        let entries = |m: &conediff::SparseMatrix| {
            let pattern = m.pattern().clone();
            let mut out = Vec::new();
            for j in 0..m.cols() {
                for k in pattern.indptr()[j]..pattern.indptr()[j + 1] {
                    out.push((pattern.indices()[k], j, m.values()[k]));
                }
            }
            out
        };
        let (x, z) = (&derivative.solution().x, &derivative.solution().z);
        let (dx, dz, ds) = (&found.value.x, &found.value.z, &found.value.s);
        for (k, (i, j, value)) in entries(p).into_iter().enumerate() {
            top[i] += value * dx[j] + tangent.p[k] * x[j];
            if i != j {
                top[j] += value * dx[i] + tangent.p[k] * x[i];
            }
        }
        let mut bottom: Vec<f64> = (0..program.m())
            .map(|i| ds[i] - rho * dz[i] - tangent.b[i])
            .collect();
        for (k, (i, j, value)) in entries(program.a()).into_iter().enumerate() {
            top[j] += value * dz[i] + tangent.a[k] * z[i];
            bottom[i] += value * dx[j] + tangent.a[k] * x[j];
        }
        for j in 0..program.n() {
            top[j] += rho * dx[j] + tangent.q[j];
        }
        let largest = top
            .iter()
            .chain(&bottom)
            .fold(0.0_f64, |m, x| m.max(x.abs()));
        assert!(largest < 1e-11, "{}: {largest:e}", corner.name);
        // And its transpose.
        let seed = SolutionTangent::random(&program, 3);
        let back = proximal.vjp(&seed).unwrap().value;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let left = dot(dx, &seed.x) + dot(dz, &seed.z) + dot(ds, &seed.s);
        let right = dot(&back.p, &tangent.p)
            + dot(&back.q, &tangent.q)
            + dot(&back.a, &tangent.a)
            + dot(&back.b, &tangent.b);
        assert!(
            (left - right).abs() < 1e-11 * (1.0 + left.abs()),
            "{}",
            corner.name
        );
    }
}

#[test]
fn a_tikhonov_derivative_at_a_point_that_is_no_solution_is_not_trusted() {
    let program = redundant();
    let mut settings = Settings::default();
    settings.refine.enabled = false;
    let mut solution = solve(&program, &settings).unwrap();
    solution.x[0] += 0.3;
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let proximal = derivative.tikhonov(1e-3).unwrap();
    let found = proximal.jvp(&DataTangent::random(&program, 1)).unwrap();
    assert!(!found.trusted, "{:?}", found.warnings);
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = derivative.tikhonov(rho).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "rho", .. }));
    }
}

#[test]
fn policies_with_numbers_that_make_no_sense_are_refused() {
    for policy in [
        Policy::Tikhonov { rho: 0.0 },
        Policy::Tikhonov { rho: f64::NAN },
        Policy::Smoothing { mu: -1.0 },
        Policy::Smoothing { mu: f64::INFINITY },
        Policy::Lagrangian { tau: -1e-3 },
        Policy::Lagrangian { tau: f64::NAN },
    ] {
        let settings = Settings::default().with_policy(policy);
        assert!(
            matches!(settings.validate(), Err(Error::Setting { .. })),
            "{policy:?}"
        );
    }
}
