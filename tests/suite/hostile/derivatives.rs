//! Seeds, scales, orders and settings of derivatives: right or flagged, never silently wrong.

use super::support::{
    REGULAR_A, REGULAR_P, assert_near, csc, dense_vjp, derivative, error, flat, flat_solution,
    norm, program, regular,
};
use conediff::{
    Cone, ConeProgram, DataCoordinate, DataTangent, Derivative, Error, LinearSolver, Settings,
    SolutionCoordinate, SolutionTangent, Wanted, Warning, solve,
};
use sprs::CsMat;
use std::sync::Arc;

const EYE: [(usize, usize, f64); 2] = [(0, 0, 1.0), (1, 1, 1.0)];

fn every_solver() -> [Settings; 4] {
    [
        LinearSolver::Auto,
        LinearSolver::Ldl,
        LinearSolver::Lu,
        LinearSolver::Lsqr,
    ]
    .map(|solver| Settings::default().with_linear_solver(solver))
}

fn with_settings(program: &ConeProgram, settings: &Settings) -> Derivative {
    Derivative::new(program, &solve(program, settings).unwrap(), settings).unwrap()
}

fn scaled(t: &SolutionTangent, by: f64) -> SolutionTangent {
    let times = |x: &[f64]| x.iter().map(|x| x * by).collect();
    SolutionTangent {
        x: times(&t.x),
        z: times(&t.z),
        s: times(&t.s),
    }
}

/// Every kind of cone, far from every kink.
fn all_cones() -> ConeProgram {
    let cones = [
        Cone::Zero(1),
        Cone::Nonnegative(2),
        Cone::SecondOrder(3),
        Cone::PsdTriangle(2),
        Cone::Exponential,
        Cone::Power(0.4),
        Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2),
    ];
    let v = [
        0.5, 1.0, -0.75, 0.25, 1.0, -0.5, 1.0, 0.5, -1.5, -1.0, 0.5, 0.25, 0.5, -0.25, 1.5, 0.5,
        -0.5, 0.25, 1.0, -0.75,
    ];
    let n = 12;
    let p: Vec<_> = (0..n).map(|k| (k, k, 1.0 + 0.25 * k as f64)).collect();
    let a: Vec<_> = (0..v.len())
        .flat_map(|i| (0..n).map(move |j| (i, j)))
        .filter(|(i, j)| (i + 2 * j) % 3 != 0)
        .map(|(i, j)| {
            (
                i,
                j,
                (1.0 + 3.7 * (i * j) as f64 + 0.3 * (j * j) as f64).sin(),
            )
        })
        .collect();
    let x: Vec<f64> = (0..n).map(|j| (1.0 + 2.3 * j as f64).cos()).collect();
    super::support::around(&p, &a, &cones, &x, &v).0
}

#[test]
fn derivative_and_program_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Derivative>();
    shared::<ConeProgram>();
    shared::<conediff::Projection>();
    shared::<conediff::Prepared>();
    shared::<conediff::Solution>();
    shared::<Error>();
    fn sent<T: Send>() {}
    sent::<conediff::DerivativeWorkspace>();
}

#[test]
fn a_seed_of_any_size_gives_a_gradient_of_its_size() {
    for program in [regular(), all_cones()] {
        for settings in every_solver() {
            let d = with_settings(&program, &settings);
            let seed = SolutionTangent::random(&program, 5);
            let direction = DataTangent::random(&program, 6);
            let (base, forward) = (d.vjp(&seed).unwrap(), d.jvp(&direction).unwrap());
            assert!(base.trusted && forward.trusted, "{:?}", base.warnings);
            for scale in [1e-12, 1e-150, 1e-290, 1e-300, 1e12, 1e150, 1e300, -1.0] {
                let times = |x: &[f64]| x.iter().map(|x| x * scale).collect::<Vec<f64>>();
                let g = d.vjp(&scaled(&seed, scale)).unwrap();
                assert!(g.trusted);
                assert_near(&flat(&g.value), &times(&flat(&base.value)), 1e-10);
                let small = DataTangent {
                    p: times(&direction.p),
                    q: times(&direction.q),
                    a: times(&direction.a),
                    b: times(&direction.b),
                };
                let t = d.jvp(&small).unwrap();
                assert!(t.trusted);
                assert_near(
                    &flat_solution(&t.value),
                    &times(&flat_solution(&forward.value)),
                    1e-10,
                );
            }
        }
    }
}

#[test]
fn a_seed_near_the_largest_number_gives_an_error_or_the_right_gradient() {
    let program = regular();
    let d = derivative(&program);
    let mut unit = SolutionTangent::zeros(&program);
    unit.x[0] = 1.0;
    let base = flat(&d.vjp(&unit).unwrap().value);
    for size in [
        1e308,
        f64::MAX,
        f64::MIN,
        f64::MAX / 2.0,
        5e-324,
        f64::MIN_POSITIVE,
    ] {
        let seed = scaled(&unit, size);
        match d.vjp(&seed) {
            Ok(g) if g.trusted => {
                for (g, e) in flat(&g.value).iter().zip(&base) {
                    // Subnormal numbers have an absolute spacing.
                    let wrong = (g / 4.0 - e * (size / 4.0)).abs();
                    assert!(
                        wrong <= 1e-10 * (size / 4.0).abs() + 1e-322,
                        "{size:e}: {g:e}"
                    );
                }
            }
            Ok(g) => assert!(!g.warnings.is_empty()),
            Err(e) => assert!(matches!(e, Error::NonFinite { .. }), "{e}"),
        }
    }
    let mut all = SolutionTangent::zeros(&program);
    for part in [&mut all.x, &mut all.z, &mut all.s] {
        part.fill(f64::MAX);
    }
    match d.vjp(&all) {
        Ok(g) => assert!(!g.trusted || norm(&flat(&g.value)).is_finite()),
        Err(e) => assert!(matches!(e, Error::NonFinite { .. }), "{e}"),
    }
    let mut all = DataTangent::zeros(&program);
    for part in [&mut all.p, &mut all.q, &mut all.a, &mut all.b] {
        part.fill(f64::MAX);
    }
    match d.jvp(&all) {
        Ok(t) => assert!(!t.trusted || norm(&flat_solution(&t.value)).is_finite()),
        Err(e) => assert!(matches!(e, Error::NonFinite { .. }), "{e}"),
    }
}

#[test]
fn a_seed_of_mixed_sizes_loses_no_part_that_the_large_one_does_not_cover() {
    // Two independent problems in one: a seed of 1 in the first and of 1e-200 in the second.
    let program = program(
        &EYE,
        &[-1.0, -1.0],
        &EYE,
        &[0.25, 0.5],
        &[Cone::Nonnegative(2)],
    );
    let mut seed = SolutionTangent::zeros(&program);
    (seed.x[0], seed.x[1]) = (1.0, 1e-200);
    for settings in &every_solver()[..3] {
        let g = with_settings(&program, settings).vjp(&seed).unwrap();
        assert!(
            (g.value.b[1] / 1e-200 - 1.0).abs() < 1e-10,
            "{:e}",
            g.value.b[1]
        );
    }
}

#[test]
fn a_zero_seed_gives_zeros() {
    for settings in every_solver() {
        let d = with_settings(&all_cones(), &settings);
        let g = d.vjp(&SolutionTangent::zeros(d.program())).unwrap();
        assert!(g.trusted);
        assert_eq!(g.value, DataTangent::zeros(d.program()));
        let t = d.jvp(&DataTangent::zeros(d.program())).unwrap();
        assert!(t.trusted);
        assert_eq!(t.value, SolutionTangent::zeros(d.program()));
    }
}

/// The program with P, q times `objective`, A and b times `rows`: z is multiplied by objective / rows, s by rows.
fn rescaled(program: &ConeProgram, objective: f64, rows: f64) -> ConeProgram {
    let times = |x: &[f64], by: f64| x.iter().map(|x| x * by).collect::<Vec<f64>>();
    program
        .with_values(
            &times(program.p().values(), objective),
            &times(program.a().values(), rows),
        )
        .and_then(|p| p.with_q(times(program.q(), objective)))
        .and_then(|p| p.with_b(times(program.b(), rows)))
        .unwrap()
}

#[test]
fn data_of_any_scale_gives_the_right_gradient_or_a_flagged_one() {
    for (name, base) in [("regular", regular()), ("all cones", all_cones())] {
        let seed = SolutionTangent {
            x: SolutionTangent::random(&base, 7).x,
            ..SolutionTangent::zeros(&base)
        };
        let expected = derivative(&base).vjp(&seed).unwrap().value;
        let mut trusted = Vec::new();
        for (objective, rows) in [
            (1e-8, 1e-8),
            (1e8, 1e8),
            (1e-8, 1.0),
            (1e8, 1.0),
            (1.0, 1e-8),
            (1.0, 1e8),
            (1e-4, 1e-4),
            (1e4, 1e4),
            (1e-12, 1e-12),
            (1e12, 1e12),
        ] {
            let program = rescaled(&base, objective, rows);
            let settings = Settings::default();
            let Ok(solution) = solve(&program, &settings) else {
                continue;
            };
            let g = Derivative::new(&program, &solution, &settings)
                .unwrap()
                .vjp(&seed)
                .unwrap();
            if !g.trusted {
                continue;
            }
            trusted.push((objective, rows));
            let times = |x: &[f64], by: f64| x.iter().map(|x| x * by).collect::<Vec<f64>>();
            let back = DataTangent {
                p: times(&g.value.p, objective),
                q: times(&g.value.q, objective),
                a: times(&g.value.a, rows),
                b: times(&g.value.b, rows),
            };
            for (back, expected) in [
                (&back.p, &expected.p),
                (&back.q, &expected.q),
                (&back.a, &expected.a),
                (&back.b, &expected.b),
            ] {
                let wrong = back
                    .iter()
                    .zip(expected)
                    .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()))
                    / norm(expected);
                assert!(
                    wrong <= 1e-6,
                    "{name} times {objective:e}, {rows:e}: off by {wrong:e}"
                );
            }
        }
        assert!(
            trusted.contains(&(1e-4, 1e-4)) && trusted.contains(&(1e4, 1e4)),
            "{trusted:?}"
        );
    }
}

#[test]
fn a_small_solution_gives_the_right_gradient_or_a_flagged_one() {
    for (name, base) in [("regular", regular()), ("all cones", all_cones())] {
        let seed = SolutionTangent {
            x: SolutionTangent::random(&base, 7).x,
            ..SolutionTangent::zeros(&base)
        };
        let expected = derivative(&base).vjp(&seed).unwrap().value;
        for scale in [1e-6, 1e-8, 1e-9, 1e-10, 1e-12, 1e6, 1e9] {
            let times = |x: &[f64]| x.iter().map(|x| x * scale).collect::<Vec<f64>>();
            let program = base
                .with_q(times(base.q()))
                .unwrap()
                .with_b(times(base.b()))
                .unwrap();
            let settings = Settings::default();
            let Ok(solution) = solve(&program, &settings) else {
                continue;
            };
            let d = Derivative::new(&program, &solution, &settings).unwrap();
            let g = d.vjp(&seed).unwrap();
            if g.trusted {
                let both = |g: &DataTangent| [&g.q[..], &g.b].concat();
                let (actual, expected) = (both(&g.value), both(&expected));
                let wrong = actual
                    .iter()
                    .zip(&expected)
                    .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()))
                    / norm(&expected);
                assert!(wrong <= 1e-6, "{name} times {scale:e}: off by {wrong:e}");
            }
        }
    }
}

#[test]
fn a_kink_is_flagged_at_every_scale() {
    // minimize c (1/2 x^2 - x) subject to r x <= r: weakly active whatever c and r are.
    for c in [1e-8, 1e-4, 1.0, 1e4, 1e8] {
        for r in [1e-8, 1e-4, 1.0, 1e4, 1e8] {
            let program = program(
                &[(0, 0, c)],
                &[-c],
                &[(0, 0, r)],
                &[r],
                &[Cone::Nonnegative(1)],
            );
            let settings = Settings::default();
            let Ok(solution) = solve(&program, &settings) else {
                continue;
            };
            let d = Derivative::new(&program, &solution, &settings).unwrap();
            assert!(!d.is_trusted_point(), "{c:e} {r:e} {solution:?}");
        }
    }
}

#[test]
fn rows_of_different_scales_give_the_right_gradient_or_a_flagged_one() {
    let base = regular();
    let seed = SolutionTangent {
        x: SolutionTangent::random(&base, 8).x,
        ..SolutionTangent::zeros(&base)
    };
    let expected = derivative(&base).vjp(&seed).unwrap().value;
    for row in 0..4 {
        for scale in [1e-6, 1e6, 1e-10, 1e10] {
            let a: Vec<_> = REGULAR_A
                .iter()
                .map(|&(i, j, v)| (i, j, if i == row { v * scale } else { v }))
                .collect();
            let mut b = base.b().to_vec();
            b[row] *= scale;
            let program = program(&REGULAR_P, base.q(), &a, &b, base.cones());
            let settings = Settings::default();
            let Ok(solution) = solve(&program, &settings) else {
                continue;
            };
            let g = Derivative::new(&program, &solution, &settings)
                .unwrap()
                .vjp(&seed)
                .unwrap();
            if !g.trusted {
                continue;
            }
            let mut back = g.value.b.clone();
            back[row] *= scale;
            assert_near(&back, &expected.b, 1e-6);
            assert_near(&g.value.q, &expected.q, 1e-6);
            assert_near(&g.value.p, &expected.p, 1e-6);
        }
    }
}

#[test]
fn the_jacobian_is_its_rows_and_columns() {
    // Fewer columns than rows, and fewer rows than columns.
    let narrow = program(
        &[(0, 0, 1.0)],
        &[-1.0],
        &[(0, 0, 1.0)],
        &[0.25, 1.0, 2.0],
        &[Cone::Nonnegative(3)],
    );
    for program in [narrow, regular(), all_cones()] {
        let d = derivative(&program);
        let jacobian = d.jacobian().unwrap();
        assert!(jacobian.trusted);
        let (n, m) = (program.n(), program.m());
        let (np, na) = (program.p().nnz(), program.a().nnz());
        let value = &jacobian.value;
        assert_eq!((value.rows, value.cols), (n + 2 * m, np + n + na + m));
        let scale = norm(&value.data);
        for row in 0..value.rows {
            let mut seed = SolutionTangent::zeros(&program);
            let coordinate = if row < n {
                seed.x[row] = 1.0;
                SolutionCoordinate::X(row)
            } else if row < n + m {
                seed.z[row - n] = 1.0;
                SolutionCoordinate::Z(row - n)
            } else {
                seed.s[row - n - m] = 1.0;
                SolutionCoordinate::S(row - n - m)
            };
            let g = flat(&d.vjp(&seed).unwrap().value);
            let one = d.jacobian_rows(&[coordinate]).unwrap().value;
            assert_eq!(one.data, g);
            for (j, g) in g.iter().enumerate() {
                assert!((value.column(j).unwrap()[row] - g).abs() <= 1e-10 * scale);
            }
        }
        for column in 0..value.cols {
            let mut direction = DataTangent::zeros(&program);
            let coordinate = if column < np {
                direction.p[column] = 1.0;
                DataCoordinate::P(column)
            } else if column < np + n {
                direction.q[column - np] = 1.0;
                DataCoordinate::Q(column - np)
            } else if column < np + n + na {
                direction.a[column - np - n] = 1.0;
                DataCoordinate::A(column - np - n)
            } else {
                direction.b[column - np - n - na] = 1.0;
                DataCoordinate::B(column - np - n - na)
            };
            let t = flat_solution(&d.jvp(&direction).unwrap().value);
            let one = d.jacobian_columns(&[coordinate]).unwrap().value;
            assert_eq!(one.data, t);
            for (t, x) in t.iter().zip(value.column(column).unwrap()) {
                assert!((t - x).abs() <= 1e-10 * scale);
            }
        }
    }
}

#[test]
fn a_jacobian_too_large_is_refused_with_its_size() {
    let program = regular();
    let mut settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    // 18 rows, 6 + 4 + 14 + 7 columns, 8 bytes each.
    let size = 18 * 31 * 8;
    settings.max_dense_bytes = size;
    Derivative::new(&program, &solution, &settings)
        .unwrap()
        .jacobian()
        .unwrap();
    settings.max_dense_bytes = size - 1;
    let d = Derivative::new(&program, &solution, &settings).unwrap();
    let e = error(d.jacobian());
    assert!(
        matches!(e, Error::TooLarge { bytes, limit, .. } if bytes == u128::from(size) && limit == u128::from(size - 1)),
        "{e}"
    );
    assert!(
        e.to_string().contains("4464") && e.to_string().contains("4463"),
        "{e}"
    );
    let all = vec![DataCoordinate::Q(0); 1000];
    assert!(matches!(
        error(d.jacobian_columns(&all)),
        Error::TooLarge { bytes: 144_000, .. }
    ));
    assert_eq!(d.jacobian_columns(&[]).unwrap().value.data.len(), 0);
}

fn duplicated() -> ConeProgram {
    // x0 <= 1/4 twice.
    let a = [(0, 0, 1.0), (1, 0, 1.0), (2, 1, 1.0)];
    program(
        &EYE,
        &[-1.0, -1.0],
        &a,
        &[0.25, 0.25, 3.0],
        &[Cone::Nonnegative(3)],
    )
}

#[test]
fn duplicated_constraints_are_flagged_and_refused_under_strict() {
    let program = duplicated();
    for settings in every_solver() {
        let solution = solve(&program, &settings).unwrap();
        assert_near(&solution.x, &[0.25, 1.0], 1e-7);
        let d = match Derivative::new(&program, &solution, &settings) {
            // A method asked for by name may break down instead.
            Err(Error::Factorization { .. }) if settings.linear.solver == LinearSolver::Lu => {
                continue;
            }
            d => d.unwrap(),
        };
        let g = d.vjp(&SolutionTangent::random(&program, 1)).unwrap();
        assert!(!g.trusted, "{:?}", settings.linear.solver);
        let mut seed = SolutionTangent::zeros(&program);
        seed.x[0] = 1.0;
        let g = d.vjp(&seed).unwrap();
        assert!(!g.trusted, "{:?} {:?}", settings.linear.solver, g.warnings);
        assert!(
            g.warnings
                .iter()
                .any(|w| matches!(w, Warning::Singular { .. })),
            "{:?} {:?}",
            settings.linear.solver,
            g.warnings
        );
        match Derivative::new(&program, &solution, &settings.with_strict(true)) {
            Err(Error::NotTrusted { reasons, .. }) => {
                assert!(reasons.contains("singular"), "{reasons}")
            }
            other => panic!("{:?}: {other:?}", settings.linear.solver),
        }
    }
}

#[test]
fn a_system_that_is_singular_but_for_rounding_is_flagged() {
    // The ray A x = -t (1, w) of a second-order cone with q = 0: (1, -w)'A vanishes up to rounding, and z is any multiple of it.
    for k in 0..40 {
        let angle = 0.1 + 0.37 * f64::from(k);
        let (w1, w2) = (angle.cos(), angle.sin());
        for t in [0.1, 1.0, 3.0] {
            for z in [0.25, 1.0, 4.0] {
                let v = [z - t, -(z + t) * w1, -(z + t) * w2];
                let a = [(0, 0, -1.0), (1, 0, -w1), (2, 0, -w2)];
                let (program, given) =
                    super::support::around(&[], &a, &[Cone::SecondOrder(3)], &[t], &v);
                for settings in every_solver() {
                    let Ok(d) = Derivative::new(&program, &given, &settings) else {
                        continue;
                    };
                    let g = d.vjp(&SolutionTangent::random(&program, 1)).unwrap();
                    assert!(
                        !g.trusted,
                        "{:?} {v:?} {:?}",
                        settings.linear.solver, g.evidence
                    );
                }
            }
        }
    }
    // The same for matrices: x Q diag(0, 1) Q' with z = Q diag(1, 0) Q'.
    for k in 0..40 {
        let angle = 0.1 + 0.37 * f64::from(k);
        let (c, s) = (angle.cos(), angle.sin());
        let root = 2f64.sqrt();
        let (on, off) = ([c * c, root * c * s, s * s], [s * s, -root * c * s, c * c]);
        let v: Vec<f64> = (0..3).map(|i| on[i] - 0.5 * off[i]).collect();
        let a: Vec<_> = (0..3).map(|i| (i, 0, -off[i])).collect();
        let (program, given) = super::support::around(&[], &a, &[Cone::PsdTriangle(2)], &[0.5], &v);
        for settings in every_solver() {
            let Ok(d) = Derivative::new(&program, &given, &settings) else {
                continue;
            };
            let g = d.vjp(&SolutionTangent::random(&program, 1)).unwrap();
            assert!(
                !g.trusted,
                "psd {:?} {angle} {:?}",
                settings.linear.solver, g.evidence
            );
        }
    }
}

#[test]
fn strict_mode_refuses_a_kink_with_its_margin() {
    // minimize 1/2 x^2 - x subject to x <= 1: weakly active.
    let program = program(
        &[(0, 0, 1.0)],
        &[-1.0],
        &[(0, 0, 1.0)],
        &[1.0],
        &[Cone::Nonnegative(1)],
    );
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let d = Derivative::new(&program, &solution, &settings).unwrap();
    assert_eq!(d.kinks().len(), 1);
    assert_eq!(d.kinks()[0].rows, [0]);
    assert!(
        !d.vjp(&SolutionTangent::random(&program, 1))
            .unwrap()
            .trusted
    );
    match Derivative::new(&program, &solution, &settings.with_strict(true)) {
        Err(Error::NotTrusted {
            reasons, margin, ..
        }) => {
            assert!(reasons.contains("kink"), "{reasons}");
            assert!(margin < 1e-8);
        }
        other => panic!("{other:?}"),
    }
    let good = regular();
    let strict = settings.with_strict(true);
    let d = Derivative::new(&good, &solve(&good, &strict).unwrap(), &strict).unwrap();
    d.vjp(&SolutionTangent::random(&good, 1)).unwrap();
    d.jvp(&DataTangent::random(&good, 1)).unwrap();
    d.jacobian().unwrap();
}

#[test]
fn matrices_given_by_rows_get_gradients_in_their_order() {
    let base = regular();
    let by_columns = |rows: usize, entries: &[(usize, usize, f64)]| {
        let (indptr, indices, data) = csc(4, entries);
        CsMat::new_csc((rows, 4), indptr, indices, data)
    };
    let (p, a) = (by_columns(4, &REGULAR_P), by_columns(7, &REGULAR_A));
    let (pr, ar) = (p.to_csr(), a.to_csr());
    let (q, b, cones) = (base.q().to_vec(), base.b().to_vec(), base.cones().to_vec());
    let columns = ConeProgram::new(&p, q.clone(), &a, b.clone(), cones.clone()).unwrap();
    let rows = ConeProgram::new(&pr, q.clone(), &ar, b.clone(), cones.clone()).unwrap();
    assert_eq!(rows.a().stored_values(), ar.data());
    assert_eq!(rows.p().stored_values(), pr.data());
    let (dc, dr) = (derivative(&columns), derivative(&rows));
    let seed = SolutionTangent::random(&base, 9);
    let (gc, gr) = (dc.vjp(&seed).unwrap().value, dr.vjp(&seed).unwrap().value);
    // The same values placed in matrices of the caller's kind must agree entry by entry.
    let place = |like: &CsMat<f64>, values: &[f64]| {
        let (indptr, indices, _) = like.clone().into_raw_storage();
        let rebuilt = if like.is_csc() {
            CsMat::new_csc(like.shape(), indptr, indices, values.to_vec())
        } else {
            CsMat::new(like.shape(), indptr, indices, values.to_vec())
        };
        rebuilt.to_csc().to_dense()
    };
    for (one, other) in [
        (place(&p, &gc.p), place(&pr, &gr.p)),
        (place(&a, &gc.a), place(&ar, &gr.a)),
    ] {
        let (one, other): (Vec<f64>, Vec<f64>) = (
            one.iter().copied().collect(),
            other.iter().copied().collect(),
        );
        assert_near(&one, &other, 1e-12);
    }
    assert_ne!(gc.a, gr.a);
    // A tangent is read in that order too.
    let direction = DataTangent::random(&rows, 10);
    let (left, right) = (
        gr.dot(&direction),
        seed.dot(&dr.jvp(&direction).unwrap().value),
    );
    assert!((left - right).abs() < 1e-10);
    // And new values are taken in it.
    let doubled: Vec<f64> = ar.data().iter().map(|x| 2.0 * x).collect();
    let again = rows.with_values(pr.data(), &doubled).unwrap();
    assert_eq!(again.a().stored_values(), doubled);
    assert_eq!(
        again.a().values(),
        a.data().iter().map(|x| 2.0 * x).collect::<Vec<f64>>()
    );
    // All of P by rows.
    let full = by_columns(
        4,
        &REGULAR_P
            .iter()
            .flat_map(|&(i, j, v)| [(i, j, v), (j, i, v)])
            .take(12)
            .enumerate()
            .filter(|(k, e)| k % 2 == 0 || e.0 != e.1)
            .map(|(_, e)| e)
            .collect::<Vec<_>>(),
    )
    .to_csr();
    let whole = ConeProgram::from_symmetric(&full, q, &ar, b, cones).unwrap();
    let g = derivative(&whole).vjp(&seed).unwrap().value;
    assert_near(&g.p, &gc.p, 1e-12);
    assert_near(&g.a, &gr.a, 1e-12);
}

#[test]
fn changed_data_share_the_structure_and_give_the_answer_of_a_new_program() {
    let base = regular();
    let changed = |x: &[f64], by: f64| -> Vec<f64> {
        x.iter()
            .enumerate()
            .map(|(k, x)| x + by * (k as f64).sin() * x.abs())
            .collect()
    };
    let (p, q) = (changed(base.p().values(), 0.01), changed(base.q(), 0.1));
    let (a, b) = (changed(base.a().values(), 0.05), changed(base.b(), 0.1));
    let moved = base
        .with_q(q.clone())
        .and_then(|x| x.with_b(b.clone()))
        .and_then(|x| x.with_values(&p, &a))
        .unwrap();
    assert!(Arc::ptr_eq(moved.p().pattern(), base.p().pattern()));
    assert!(Arc::ptr_eq(moved.a().pattern(), base.a().pattern()));
    let (pp, ap) = (base.p().pattern(), base.a().pattern());
    let anew = ConeProgram::from_csc(
        (pp.indptr(), pp.indices(), &p),
        q,
        (ap.indptr(), ap.indices(), &a),
        b,
        base.cones().to_vec(),
    )
    .unwrap();
    let (one, two) = (derivative(&moved), derivative(&anew));
    assert_eq!(one.solution(), two.solution());
    let seed = SolutionTangent::random(&base, 11);
    assert_eq!(one.vjp(&seed).unwrap(), two.vjp(&seed).unwrap());
    // Rows may gain and lose their bound.
    let mut free = base.b().to_vec();
    free[2] = f64::INFINITY;
    let free = base.with_b(free).unwrap();
    assert_eq!(free.unbounded(), &[2]);
    let other = free
        .with_values(&p, &a)
        .unwrap()
        .with_b(base.b().to_vec())
        .unwrap();
    assert_eq!(other.unbounded(), &[] as &[usize]);
    let expected = base.with_values(&p, &a).unwrap();
    assert_eq!(
        derivative(&other).solution(),
        derivative(&expected).solution()
    );
    // An indefinite P is refused here as well.
    let mut indefinite = base.p().values().to_vec();
    indefinite[0] = -1.0;
    let e = error(base.with_values(&indefinite, base.a().values()));
    assert!(matches!(e, Error::NotConvex { index: 0, .. }), "{e}");
}

#[test]
fn explicit_zeros_get_their_gradients() {
    let mut p = REGULAR_P.to_vec();
    p.extend([(0, 2, 0.0), (2, 3, 0.0)]);
    let mut a = REGULAR_A.to_vec();
    a.extend([
        (0, 3, 0.0),
        (1, 0, 0.0),
        (2, 2, 0.0),
        (4, 2, 0.0),
        (6, 1, 0.0),
    ]);
    let base = regular();
    let program = program(&p, base.q(), &a, base.b(), base.cones());
    let d = derivative(&program);
    assert_near(&d.solution().x, &derivative(&base).solution().x, 1e-12);
    let seed = SolutionTangent::random(&program, 12);
    let g = d.vjp(&seed).unwrap();
    assert!(g.trusted);
    assert_near(
        &flat(&g.value),
        &flat(&dense_vjp(&program, d.solution(), &seed).unwrap()),
        1e-10,
    );
    let value = |p: &[f64], a: &[f64]| {
        let moved = program.with_values(p, a).unwrap();
        let solution = solve(&moved, &Settings::default()).unwrap();
        assert!(solution.refinement.unwrap().accepted);
        seed.dot(&SolutionTangent::from(&solution))
    };
    let (p, a) = (program.p().values(), program.a().values());
    let bump = |x: &[f64], k: usize, h: f64| {
        let mut x = x.to_vec();
        x[k] += h;
        x
    };
    let h = 1e-5;
    let mut zeros = 0;
    for k in (0..p.len()).filter(|&k| p[k] == 0.0) {
        let quotient = (value(&bump(p, k, h), a) - value(&bump(p, k, -h), a)) / (2.0 * h);
        assert!(
            (quotient - g.value.p[k]).abs() < 1e-7,
            "P {k}: {quotient} {}",
            g.value.p[k]
        );
        assert!(g.value.p[k] != 0.0);
        zeros += 1;
    }
    for k in (0..a.len()).filter(|&k| a[k] == 0.0) {
        let quotient = (value(p, &bump(a, k, h)) - value(p, &bump(a, k, -h))) / (2.0 * h);
        assert!(
            (quotient - g.value.a[k]).abs() < 1e-7,
            "A {k}: {quotient} {}",
            g.value.a[k]
        );
        zeros += usize::from(g.value.a[k] != 0.0);
    }
    assert!(zeros >= 6, "the gradients of stored zeros must not vanish");
}

#[test]
fn the_parts_not_wanted_come_back_empty_and_the_others_alike() {
    let program = regular();
    let d = derivative(&program);
    let seed = SolutionTangent::random(&program, 13);
    let all = d.vjp(&seed).unwrap().value;
    for mask in 0..16 {
        let on = |k: usize| mask >> k & 1 == 1;
        let wanted = Wanted {
            p: on(0),
            q: on(1),
            a: on(2),
            b: on(3),
        };
        let g = d.vjp_wanted(&seed, wanted).unwrap().value;
        for (k, (part, whole)) in [
            (&g.p, &all.p),
            (&g.q, &all.q),
            (&g.a, &all.a),
            (&g.b, &all.b),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(part, if on(k) { whole } else { &[][..] });
        }
    }
}

#[test]
fn memory_of_another_derivative_does_not_panic_or_leak_into_the_answer() {
    let (small, large) = (derivative(&regular()), derivative(&all_cones()));
    let seed = SolutionTangent::random(large.program(), 14);
    let expected = large.vjp(&seed).unwrap().value;
    let mut out = DataTangent {
        p: vec![9.0; 100],
        q: vec![],
        a: vec![9.0; 3],
        b: vec![9.0; 50],
    };
    let mut work = large.workspace();
    large
        .vjp_into(&seed, Wanted::default(), &mut out, &mut work)
        .unwrap();
    assert_eq!(out, expected);
    let direction = DataTangent::random(large.program(), 15);
    let mut moved = SolutionTangent {
        x: vec![9.0; 100],
        z: vec![],
        s: vec![9.0; 3],
    };
    large.jvp_into(&direction, &mut moved, &mut work).unwrap();
    assert_eq!(moved, large.jvp(&direction).unwrap().value);
    // A workspace made for another derivative.
    let mut wrong = small.workspace();
    if large
        .vjp_into(&seed, Wanted::default(), &mut out, &mut wrong)
        .is_ok()
    {
        assert_eq!(out, expected);
    }
    let mut wrong = small.workspace();
    if large.jvp_into(&direction, &mut moved, &mut wrong).is_ok() {
        assert_eq!(moved, large.jvp(&direction).unwrap().value);
    }
}

#[test]
fn refinement_goes_on_while_one_block_of_the_residual_falls() {
    // A binding row of size 4e-4: the regularization's error reaches the first block after the second.
    let (p, a, z) = (2.189_039_375_303_241, -4.038_621_307_796_831e-4, 0.05);
    let one = [(0, 0, p)];
    let program = program(
        &one,
        &[-a * z],
        &[(0, 0, a)],
        &[0.0],
        &[Cone::Nonnegative(1)],
    );
    let d = derivative(&program);
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[0] = 1.0;
    let g = d.vjp(&seed).unwrap();
    assert!(g.trusted);
    assert!(g.value.q[0].abs() < 1e-12, "{:e}", g.value.q[0]);
    assert!(
        (g.value.b[0] * a - 1.0).abs() < 1e-13,
        "{:e}",
        g.value.b[0] * a - 1.0
    );
    // ZECEVIC2 of Maros and Meszaros: along a change of b some of the terms vanish.
    let program = ConeProgram::from_json(
        r#"{"P":{"m":2,"n":2,"colptr":[0,0,1],"rowval":[1],"nzval":[4]},"q":[-2,-3],
        "A":{"m":6,"n":2,"colptr":[0,4,8],"rowval":[0,1,2,4,0,1,3,5],"nzval":[1,1,1,-1,1,4,1,-1]},
        "b":[2,4,10,10,0,0],"cones":[{"NonnegativeConeT":6}]}"#,
    )
    .unwrap();
    let d = derivative(&program);
    for k in 0..6 {
        let mut direction = DataTangent::zeros(&program);
        direction.b[k] = 1.0;
        let t = d.jvp(&direction).unwrap();
        assert!(t.trusted, "b[{k}]: {:?}", t.evidence);
        for g in [
            SolutionTangent::random(&program, 1),
            SolutionTangent::random(&program, 2),
        ] {
            let expected = dense_vjp(&program, d.solution(), &g).unwrap().b[k];
            assert!((g.dot(&t.value) - expected).abs() < 1e-13 * (1.0 + expected.abs()));
        }
    }
}

#[test]
fn hundreds_of_kinks_are_counted_in_sentences_and_all_there_in_warnings() {
    // minimize 1/2 |x|^2 subject to x >= 0, a cone for each
    let n = 300;
    let indptr: Vec<usize> = (0..=n).collect();
    let indices: Vec<usize> = (0..n).collect();
    let (ones, minus) = (vec![1.0; n], vec![-1.0; n]);
    let program = ConeProgram::from_csc(
        (&indptr, &indices, &ones),
        vec![0.0; n],
        (&indptr, &indices, &minus),
        vec![0.0; n],
        vec![Cone::Nonnegative(1); n],
    )
    .unwrap();
    let derivative = derivative(&program);
    assert_eq!(derivative.warnings().len(), n);
    let sentences = Warning::sentences(derivative.warnings());
    assert_eq!(sentences.len(), 6, "{sentences:?}");
    assert_eq!(sentences[5], "295 more blocks are at a kink");
    let strict = Settings::default().with_strict(true);
    let solution = solve(&program, &strict).unwrap();
    let error = Derivative::new(&program, &solution, &strict).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("; 295 more blocks are at a kink"),
        "{error}"
    );
}

#[test]
fn a_cone_met_in_one_line_of_its_boundary_leaves_z_open() {
    // (1, 1, b - a x, 0, ...) in the second-order cone: x = b/a alone, and z is any multiple of (1, -1, 0, ...).
    let (a, x) = (1.2106955148447238, -0.6230523347519437);
    for rows in [3, 4, 5, 8, 20] {
        for solver in every_solver() {
            let mut b = vec![0.0; rows];
            (b[0], b[1], b[2]) = (1.0, 1.0, a * x);
            let program = ConeProgram::from_csc(
                (&[0, 0], &[], &[]),
                vec![0.0],
                (&[0, 1], &[2], &[a]),
                b,
                vec![Cone::SecondOrder(rows)],
            )
            .unwrap();
            let Ok(solution) = solve(&program, &solver) else {
                continue;
            };
            let derivative = Derivative::new(&program, &solution, &solver).unwrap();
            let seed = SolutionTangent::random(&program, 1);
            let gradient = derivative.vjp(&seed).unwrap();
            assert!(
                !gradient.trusted,
                "{rows} rows, {solver:?}: {:?}",
                gradient.evidence
            );
            assert!(
                !derivative.regularity().unwrap().is_certified(),
                "{rows} rows"
            );
        }
    }
}
