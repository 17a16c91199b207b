//! Degenerate shapes, programs without a solution, limits, and rows that mean "no bound".

use super::support::{
    REGULAR_A, REGULAR_P, around, assert_near, derivative, dot, error, flat, norm, p_product,
    product, program, regular, transpose_product,
};
use crate::support::relative;
use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Error, Generator, Projection, Settings, Solution,
    SolutionTangent, Status, solve,
};

const EYE: [(usize, usize, f64); 2] = [(0, 0, 1.0), (1, 1, 1.0)];

/// Solves, differentiates both ways and checks the adjoint identity and the optimality conditions.
fn exercise(program: &ConeProgram) -> Derivative {
    let derivative = derivative(program);
    let seed = SolutionTangent::random(program, 1);
    let direction = DataTangent::random(program, 2);
    let (reverse, forward) = (
        derivative.vjp(&seed).unwrap(),
        derivative.jvp(&direction).unwrap(),
    );
    let (left, right) = (seed.dot(&forward.value), reverse.value.dot(&direction));
    let terms = norm(&flat(&reverse.value)).max(1.0);
    assert!((left - right).abs() <= 1e-9 * terms, "{left:e} {right:e}");
    let solution = derivative.solution();
    let dual: Vec<f64> = p_product(program, &solution.x)
        .iter()
        .zip(transpose_product(program, &solution.z))
        .zip(program.q())
        .map(|((p, a), q)| p + a + q)
        .collect();
    assert!(norm(&dual) < 1e-7, "{dual:?}");
    derivative
}

#[test]
fn a_row_with_an_infinite_bound_is_no_constraint() {
    let cones = [Cone::Zero(1), Cone::Nonnegative(3), Cone::SecondOrder(3)];
    let without = regular();
    let base = derivative(&without);
    for bound in [1e20, 1e25, 1e300, f64::INFINITY] {
        // A new row 2 with entries in A, in the middle of the nonnegative cone.
        let shift = |i: usize| if i < 2 { i } else { i + 1 };
        let mut a: Vec<_> = REGULAR_A.iter().map(|e| (shift(e.0), e.1, e.2)).collect();
        a.extend([(2, 0, 3.0), (2, 3, -2.0)]);
        let mut b = without.b().to_vec();
        b.insert(2, bound);
        let cones = [cones[0].clone(), Cone::Nonnegative(4), cones[2].clone()];
        let with = program(&REGULAR_P, without.q(), &a, &b, &cones);
        assert_eq!(with.unbounded(), &[2]);
        let free = derivative(&with);
        let solution = free.solution();
        assert_eq!((solution.z[2], solution.s[2]), (0.0, bound));
        let drop = |x: &[f64]| {
            let mut x = x.to_vec();
            x.remove(2);
            x
        };
        assert_near(&solution.x, &base.solution().x, 1e-12);
        assert_near(&drop(&solution.z), &base.solution().z, 1e-12);
        assert_near(&drop(&solution.s), &base.solution().s, 1e-12);

        let seed = SolutionTangent::random(&with, 3);
        let small = SolutionTangent {
            x: seed.x.clone(),
            z: drop(&seed.z),
            s: drop(&seed.s),
        };
        let (g, expected) = (free.vjp(&seed).unwrap(), base.vjp(&small).unwrap());
        assert!(g.trusted, "{:?}", g.warnings);
        assert_near(&g.value.p, &expected.value.p, 1e-11);
        assert_near(&g.value.q, &expected.value.q, 1e-11);
        assert_eq!(g.value.b[2], 0.0);
        assert_near(&drop(&g.value.b), &expected.value.b, 1e-11);
        let rows = with.a().pattern().indices();
        let (mine, rest): (Vec<_>, Vec<_>) = g.value.a.iter().zip(rows).partition(|x| *x.1 == 2);
        assert_eq!(mine.len(), 2);
        assert!(mine.iter().all(|x| *x.0 == 0.0));
        let rest: Vec<f64> = rest.into_iter().map(|x| *x.0).collect();
        assert_near(&rest, &expected.value.a, 1e-11);

        let mut direction = DataTangent::zeros(&with);
        direction.b[2] = 1.0;
        for (k, _) in rows.iter().enumerate().filter(|x| *x.1 == 2) {
            direction.a[k] = -7.0;
        }
        let moved = free.jvp(&direction).unwrap().value;
        assert_eq!(moved, SolutionTangent::zeros(&with));
        // The point of another solver may carry anything on that row.
        let mut z = solution.z.clone();
        z[2] = 5.0;
        let mut s = solution.s.clone();
        s[2] = 1.0;
        let given = Solution::given(&with, solution.x.clone(), z, s).unwrap();
        for enabled in [true, false] {
            let mut settings = Settings::default();
            settings.refine.enabled = enabled;
            let other = Derivative::new(&with, &given, &settings).unwrap();
            assert_eq!(
                other.jvp(&direction).unwrap().value,
                SolutionTangent::zeros(&with)
            );
            assert_near(
                &flat(&other.vjp(&seed).unwrap().value),
                &flat(&g.value),
                1e-9,
            );
            assert_eq!(other.objective_gradient().b[2], 0.0);
        }
    }
}

#[test]
fn a_program_whose_only_rows_have_no_bound_is_unconstrained() {
    let free = program(
        &EYE,
        &[1.0, -2.0],
        &EYE,
        &[f64::INFINITY, 1e20],
        &[Cone::Nonnegative(2)],
    );
    let d = exercise(&free);
    assert_near(&d.solution().x, &[-1.0, 2.0], 1e-12);
    assert_eq!(d.solution().z, [0.0, 0.0]);
    let bounded = free.with_b(vec![-2.0, 1e20]).unwrap();
    assert_eq!(bounded.unbounded(), &[1]);
    assert_near(&exercise(&bounded).solution().x, &[-2.0, 2.0], 1e-12);
}

#[test]
fn cones_without_rows_change_nothing() {
    let base = exercise(&regular());
    let empty = [
        Cone::Zero(0),
        Cone::Nonnegative(0),
        Cone::SecondOrder(0),
        Cone::PsdTriangle(0),
    ];
    for kind in 0..5 {
        let extra = if kind < 4 {
            &empty[kind..=kind]
        } else {
            &empty[..]
        };
        let mut cones = extra.to_vec();
        for cone in regular().cones() {
            cones.push(cone.clone());
            cones.extend_from_slice(extra);
        }
        let r = regular();
        let padded = program(&REGULAR_P, r.q(), &REGULAR_A, r.b(), &cones);
        let d = exercise(&padded);
        assert_near(&d.solution().x, &base.solution().x, 1e-12);
        let seed = SolutionTangent::random(&padded, 4);
        let (g, expected) = (d.vjp(&seed).unwrap(), base.vjp(&seed).unwrap());
        assert!(g.trusted);
        assert_near(&flat(&g.value), &flat(&expected.value), 1e-11);
        // Nothing but cones without rows.
        let alone = program(&EYE, &[1.0, 2.0], &[], &[], extra);
        assert_near(&exercise(&alone).solution().x, &[-1.0, -2.0], 1e-12);
    }
}

#[test]
fn cones_of_one_and_two_rows_work() {
    // minimize 1/2 |x - c|^2 over a cone: each small cone against its own projection.
    let c = [0.5, -1.25, 2.0];
    let halves = [
        Cone::Nonnegative(1),
        Cone::SecondOrder(1),
        Cone::PsdTriangle(1),
    ];
    for cone in halves
        .into_iter()
        .chain([Cone::SecondOrder(2), Cone::PsdTriangle(2)])
    {
        let m = cone.rows();
        for signs in 0..4 {
            let c: Vec<f64> = (0..m)
                .map(|k| {
                    if signs >> (k % 2) & 1 == 1 {
                        -c[k]
                    } else {
                        c[k]
                    }
                })
                .collect();
            let p: Vec<_> = (0..m).map(|k| (k, k, 1.0)).collect();
            let a: Vec<_> = (0..m).map(|k| (k, k, -1.0)).collect();
            let q: Vec<f64> = c.iter().map(|x| -x).collect();
            let d = exercise(&program(
                &p,
                &q,
                &a,
                &vec![0.0; m],
                std::slice::from_ref(&cone),
            ));
            let nearest = Projection::new(std::slice::from_ref(&cone), &c).unwrap();
            assert_near(&d.solution().x, nearest.z(), 1e-9);
            assert!(d.is_trusted_point(), "{cone:?} {c:?} {:?}", d.warnings());
        }
    }
}

#[test]
fn power_cones_of_the_smallest_and_odd_sizes_work() {
    for (alphas, d) in [
        (vec![1.0], 1),
        (vec![1.0], 3),
        (vec![0.5, 0.5], 1),
        (vec![1.0 / 3.0; 3], 2),
        (vec![0.1; 10], 1),
        (vec![0.333_333_333_3; 3], 1),
        (vec![1e-6, 1.0 - 1e-6], 1),
    ] {
        let cone = Cone::GeneralizedPower(alphas.clone(), d);
        let m = cone.rows();
        let c: Vec<f64> = (0..m).map(|k| 1.5 + (k as f64).sin()).collect();
        let p: Vec<_> = (0..m).map(|k| (k, k, 1.0)).collect();
        let a: Vec<_> = (0..m).map(|k| (k, k, -1.0)).collect();
        let mut q: Vec<f64> = c.iter().map(|x| -x).collect();
        // A long norm part, so that the cone binds.
        q[m - 1] = -7.0;
        let program = program(&p, &q, &a, &vec![0.0; m], &[cone]);
        let solution = solve(&program, &Settings::default()).unwrap();
        let d = Derivative::new(&program, &solution, &Settings::default()).unwrap();
        let g = d.vjp(&SolutionTangent::random(&program, 1)).unwrap();
        assert!(g.trusted, "{alphas:?} {:?}", g.warnings);
        let product: f64 = alphas
            .iter()
            .zip(&solution.x)
            .map(|(a, x)| x.powf(*a))
            .product();
        let w = &solution.x[alphas.len()..];
        assert!(
            (product - dot(w, w).sqrt()).abs() < 1e-8,
            "{alphas:?} {product}"
        );
    }
}

#[test]
fn a_program_without_rows_is_solved_where_it_has_a_solution() {
    let d = exercise(&program(
        &[(0, 0, 2.0), (0, 1, 0.5), (1, 1, 1.0)],
        &[1.0, -1.0],
        &[],
        &[],
        &[],
    ));
    assert!(d.is_trusted_point(), "{:?}", d.warnings());
    assert_near(
        &p_product(d.program(), &d.solution().x),
        &[-1.0, 1.0],
        1e-12,
    );
    // P singular, q in its range: a line of solutions, so no derivative.
    let line = [(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0)];
    let d = exercise(&program(&line, &[1.0, 1.0], &[], &[], &[]));
    assert!(!d.is_trusted_point());
    assert_near(
        &p_product(d.program(), &d.solution().x),
        &[-1.0, -1.0],
        1e-7,
    );
    // q out of its range: unbounded.
    let e = error(solve(
        &program(&line, &[1.0, 0.0], &[], &[], &[]),
        &Settings::default(),
    ));
    assert!(matches!(e, Error::DualInfeasible { .. }), "{e}");
    // No objective at all.
    let d = exercise(&program(&[], &[0.0, 0.0], &[], &[], &[]));
    assert!(!d.is_trusted_point());
}

#[test]
fn a_program_without_variables_asks_only_whether_b_lies_in_the_cone() {
    let cones = [
        Cone::Zero(1),
        Cone::Nonnegative(2),
        Cone::SecondOrder(2),
        Cone::Exponential,
    ];
    let b = [0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 1.0, 2.0];
    let inside = program(&[], &[], &[], &b, &cones);
    let d = exercise(&inside);
    assert_eq!(
        (&d.solution().s[..], d.solution().z.as_slice()),
        (&b[..], &[0.0; 8][..])
    );
    for (row, value) in [
        (0, 0.5),
        (0, -0.5),
        (1, -1.0),
        (3, -3.0),
        (3, 0.5),
        (7, 0.25),
    ] {
        let mut b = b;
        b[row] = value;
        match error(solve(
            &inside.with_b(b.to_vec()).unwrap(),
            &Settings::default(),
        )) {
            Error::PrimalInfeasible { certificate, value } => {
                assert!(value < 0.0);
                assert!((dot(&certificate, &b) - value).abs() <= 1e-12 * value.abs());
            }
            other => panic!("{other}"),
        }
    }
    let free = inside
        .with_b(vec![0.0, f64::INFINITY, 2.0, 3.0, -1.0, 0.5, 1.0, 2.0])
        .unwrap();
    assert_eq!(exercise(&free).solution().s[1], f64::INFINITY);
    let nothing = program(&[], &[], &[], &[], &[]);
    let d = exercise(&nothing);
    assert_eq!(d.solution().objective, 0.0);
    assert!(d.vjp(&SolutionTangent::zeros(&nothing)).unwrap().trusted);
    assert_eq!(d.jacobian().unwrap().value.data.len(), 0);
}

#[test]
fn a_linear_program_with_a_vertex_solution_is_trusted() {
    // minimize -x0 - 2 x1 in the triangle x >= 0, x0 + x1 <= 1.
    let a = [(0, 0, -1.0), (1, 1, -1.0), (2, 0, 1.0), (2, 1, 1.0)];
    let lp = program(
        &[],
        &[-1.0, -2.0],
        &a,
        &[0.0, 0.0, 1.0],
        &[Cone::Nonnegative(3)],
    );
    let d = exercise(&lp);
    assert_near(&d.solution().x, &[0.0, 1.0], 1e-12);
    assert!(d.is_trusted_point(), "{:?}", d.warnings());
    // Stored zeros of P instead of none.
    let lp = program(
        &[(0, 0, 0.0), (0, 1, 0.0), (1, 1, 0.0)],
        &[-1.0, -2.0],
        &a,
        &[0.0, 0.0, 1.0],
        &[Cone::Nonnegative(3)],
    );
    assert_near(&exercise(&lp).solution().x, &[0.0, 1.0], 1e-12);
}

#[test]
fn rows_and_columns_without_entries_are_kept() {
    // Row 1 reads s = 3; variable 1 appears in P alone; variable 2 nowhere, with q = 0.
    let p = [(0, 0, 1.0), (1, 1, 1.0)];
    let make = |n: usize, b: f64| {
        let q = &[-1.0, 2.0, 0.0][..n];
        program(&p, q, &[(0, 0, 1.0)], &[0.5, b], &[Cone::Nonnegative(2)])
    };
    let d = exercise(&make(2, 3.0));
    assert!(d.is_trusted_point(), "{:?}", d.warnings());
    assert_near(&d.solution().x, &[0.5, -2.0], 1e-12);
    assert_eq!(d.solution().s[1], 3.0);
    let mut seed = SolutionTangent::zeros(d.program());
    seed.s[1] = 1.0;
    assert_eq!(d.vjp(&seed).unwrap().value.b, [0.0, 1.0]);
    let d = exercise(&make(3, 3.0));
    assert!(!d.is_trusted_point(), "variable 2 is not determined");
    let e = error(solve(&make(2, -3.0), &Settings::default()));
    assert!(matches!(e, Error::PrimalInfeasible { .. }), "{e}");
    // An empty equality row.
    let zero_row = program(&EYE, &[1.0, 1.0], &[], &[0.0], &[Cone::Zero(1)]);
    assert!(
        !exercise(&zero_row).is_trusted_point(),
        "z is not determined"
    );
}

#[test]
fn an_infeasible_program_carries_a_true_certificate() {
    let cases = [
        // x0 <= -1 and x0 >= 1, beside rows that are satisfied and one without a bound.
        (
            vec![
                (0, 0, 1.0),
                (1, 0, -1.0),
                (2, 1, 1.0),
                (3, 0, 1.0),
                (3, 1, 5.0),
            ],
            vec![-1.0, -1.0, 1.0, 1e20],
            vec![Cone::Nonnegative(4)],
        ),
        // Two equalities that contradict each other.
        (
            vec![(0, 0, 1.0), (0, 1, 2.0), (1, 0, 2.0), (1, 1, 4.0)],
            vec![1.0, 3.0],
            vec![Cone::Zero(2)],
        ),
        // |x0 - 3| <= x1 <= 1 and x0 <= 0.
        (
            vec![(0, 1, 1.0), (1, 1, -1.0), (2, 0, -1.0), (3, 0, 1.0)],
            vec![1.0, 0.0, -3.0, 0.0],
            vec![
                Cone::Nonnegative(1),
                Cone::SecondOrder(2),
                Cone::Nonnegative(1),
            ],
        ),
        // exp(x0) <= x1 <= 1/2 and x0 >= 0.
        (
            vec![(0, 0, -1.0), (2, 1, -1.0), (3, 1, 1.0), (4, 0, -1.0)],
            vec![0.0, 1.0, 0.0, 0.5, 0.0],
            vec![Cone::Exponential, Cone::Nonnegative(2)],
        ),
        // [x0 2; 2 x1] psd, x0 <= 1, x1 <= 1.
        (
            vec![(0, 0, -1.0), (2, 1, -1.0), (3, 0, 1.0), (4, 1, 1.0)],
            vec![0.0, 2.0 * 2f64.sqrt(), 0.0, 1.0, 1.0],
            vec![Cone::PsdTriangle(2), Cone::Nonnegative(2)],
        ),
    ];
    for (a, b, cones) in cases {
        // Without a cost the program is not unbounded as well.
        for (p, q) in [(&EYE[..], [0.5, -0.25]), (&[], [0.0, 0.0])] {
            let bad = program(p, &q, &a, &b, &cones);
            match error(solve(&bad, &Settings::default())) {
                Error::PrimalInfeasible { certificate, value } => {
                    let size = norm(&certificate);
                    assert!(value < 0.0, "{value:e}");
                    assert!((dot(&b, &certificate) - value).abs() <= 1e-9 * value.abs());
                    assert!(norm(&transpose_product(&bad, &certificate)) <= 1e-6 * size);
                    let nearest = Projection::new(&cones, &certificate).unwrap();
                    assert!(
                        norm(nearest.s()) <= 1e-7 * size,
                        "not in K*: {certificate:?}"
                    );
                }
                other => panic!("{a:?}: {other}"),
            }
        }
    }
}

#[test]
fn an_unbounded_program_carries_a_true_certificate() {
    let cases = [
        // x0 + x1 <= 1 alone; a row without a bound does not help.
        (
            vec![],
            vec![1.0, 2.0],
            vec![(0, 0, 1.0), (0, 1, 1.0), (1, 0, -1.0)],
            vec![1.0, 1e20],
            vec![Cone::Nonnegative(2)],
        ),
        // Flat along (1, -1).
        (
            vec![(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0)],
            vec![1.0, 0.0],
            vec![(0, 0, 1.0)],
            vec![1.0],
            vec![Cone::Nonnegative(1)],
        ),
        // x1 >= |x0| with cost -x1.
        (
            vec![],
            vec![0.0, -1.0],
            vec![(0, 1, -1.0), (1, 0, -1.0)],
            vec![0.0, 0.0],
            vec![Cone::SecondOrder(2)],
        ),
    ];
    for (p, q, a, b, cones) in cases {
        let bad = program(&p, &q, &a, &b, &cones);
        match error(solve(&bad, &Settings::default())) {
            Error::DualInfeasible { certificate, value } => {
                let size = norm(&certificate);
                assert!(value < 0.0, "{value:e}");
                assert!((dot(&q, &certificate) - value).abs() <= 1e-9 * value.abs());
                assert!(norm(&p_product(&bad, &certificate)) <= 1e-6 * size);
                // s = -A x must lie in K, that is -s in the polar: rows without a bound may be anything.
                let mut v = product(&bad, &certificate);
                for &i in bad.unbounded() {
                    v[i] = -1.0;
                }
                let nearest = Projection::new(&cones, &v).unwrap();
                assert!(
                    norm(nearest.z()) <= 1e-7 * size,
                    "not a direction: {certificate:?}"
                );
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_limit_that_comes_first_returns_the_last_point() {
    let program = regular();
    for (status, change) in [
        (
            Status::MaxIterations,
            Box::new(|s: &mut Settings| s.solve.max_iterations = 1) as Box<dyn Fn(&mut Settings)>,
        ),
        (
            Status::MaxTime,
            Box::new(|s: &mut Settings| s.solve.time_limit = 1e-9),
        ),
        (
            Status::MaxTime,
            Box::new(|s: &mut Settings| s.solve.time_limit = f64::MIN_POSITIVE),
        ),
    ] {
        let mut settings = Settings::default();
        change(&mut settings);
        match error(solve(&program, &settings)) {
            Error::NotSolved {
                status: found,
                iterations,
                primal_residual,
                dual_residual,
                last,
            } => {
                assert_eq!(found, status);
                assert!(iterations <= 1);
                assert!(primal_residual.is_finite() && dual_residual.is_finite());
                assert_eq!((last.x.len(), last.z.len(), last.s.len()), (4, 7, 7));
                assert!(
                    [&last.x, &last.z, &last.s]
                        .iter()
                        .all(|v| norm(v).is_finite())
                );
            }
            other => panic!("{other}"),
        }
    }
    let mut settings = Settings::default();
    settings.solve.max_iterations = u32::MAX;
    settings.solve.time_limit = f64::MAX;
    solve(&program, &settings).unwrap();
}

#[test]
fn the_last_point_keeps_the_meaning_of_rows_without_a_bound() {
    let mut settings = Settings::default();
    settings.solve.max_iterations = 1;
    let free = program(
        &EYE,
        &[1.0, 5.0],
        &EYE,
        &[1.0, 1e25],
        &[Cone::Nonnegative(2)],
    );
    match error(solve(&free, &settings)) {
        Error::NotSolved { last, .. } => assert_eq!((last.z[1], last.s[1]), (0.0, 1e25)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_solution_of_another_solver_is_refined_and_differentiated() {
    let cones = regular().cones().to_vec();
    let x = [0.5, -1.0, 0.75, 0.25];
    let v = [0.5, 1.0, -0.75, -1.5, 0.25, 1.0, -0.5];
    let (program, exact) = around(&REGULAR_P, &REGULAR_A, &cones, &x, &v);
    let noisy = |y: &[f64], seed: f64| -> Vec<f64> {
        y.iter()
            .enumerate()
            .map(|(k, y)| y + 1e-4 * (seed + 3.0 * k as f64).sin())
            .collect()
    };
    let rough = Solution::given(
        &program,
        noisy(&exact.x, 1.0),
        noisy(&exact.z, 2.0),
        noisy(&exact.s, 3.0),
    )
    .unwrap();
    let settings = Settings::default();
    let d = Derivative::new(&program, &rough, &settings).unwrap();
    assert_near(&d.solution().x, &exact.x, 1e-12);
    let seed = SolutionTangent::random(&program, 1);
    let (g, expected) = (
        d.vjp(&seed).unwrap(),
        derivative(&program).vjp(&seed).unwrap(),
    );
    assert!(g.trusted);
    assert_near(&flat(&g.value), &flat(&expected.value), 1e-10);
}

#[test]
fn a_point_that_solves_another_program_is_never_trusted() {
    let program = regular();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let mut unrefined = settings;
    unrefined.refine.enabled = false;
    let zeros = Solution::given(&program, vec![0.0; 4], vec![0.0; 7], vec![0.0; 7]).unwrap();
    let mut q = program.q().to_vec();
    q[0] += 0.25;
    let moved = program.with_q(q).unwrap();
    let seed = SolutionTangent::random(&program, 1);
    for (program, point, settings) in [
        (&program, &zeros, &unrefined),
        // Refined already, but for other data.
        (&moved, &solution, &settings),
        (&moved, &solution, &unrefined),
    ] {
        let g = Derivative::new(program, point, settings)
            .unwrap()
            .vjp(&seed)
            .unwrap();
        if g.trusted {
            // Trust is deserved only if the point was brought to this program's solution.
            let expected = derivative(program).vjp(&seed).unwrap();
            assert_near(&flat(&g.value), &flat(&expected.value), 1e-6);
        }
    }
}

/// A gap of 1e-8 does not tell the active set where margins are 1e-7: of 20 such programs Newton alone misses three.
#[test]
fn nearly_degenerate_programs_are_refined_from_a_tighter_solve() {
    let settings = Settings::default();
    for margin in [1e-6, 1e-7] {
        for seed in 0..20 {
            let generator = Generator::new(20, vec![Cone::Zero(2), Cone::Nonnegative(40)]);
            let known = generator.with_seed(seed).with_margin(margin).generate();
            let known = known.unwrap();
            let solution = solve(known.program(), &settings).unwrap();
            let refinement = solution.refinement.unwrap();
            assert!(
                refinement.accepted,
                "{margin:e}, seed {seed}: {refinement:?}"
            );
            assert!(relative(&solution.x, known.x()) < 1e-12, "seed {seed}");
        }
    }
}
