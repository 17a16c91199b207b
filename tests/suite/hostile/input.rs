//! Data that is no program: the error names the place and the numbers.

use super::support::{build, csc, error, program, regular};
use conediff::{
    Cone, ConeProgram, DataCoordinate, DataTangent, Derivative, Error, GradcheckSettings,
    LinearSettings, Prepared, Projection, ResidualJacobian, Settings, Solution, SolutionCoordinate,
    SolutionTangent, SparseMatrix, embedding_residual, gradcheck_function, interior_point, refine,
    residual, row_ranges, solve,
};
use sprs::CsMat;

const EYE: [(usize, usize, f64); 2] = [(0, 0, 1.0), (1, 1, 1.0)];

fn half_line(rows: usize) -> Vec<Cone> {
    vec![Cone::Nonnegative(rows)]
}

#[track_caller]
fn assert_dimension<T>(result: conediff::Result<T>, expected: usize, found: usize) {
    match error(result) {
        Error::Dimension {
            expected: e,
            found: f,
            ..
        } => assert_eq!((e, f), (expected, found)),
        other => panic!("{other}"),
    }
}

#[test]
fn matrices_and_vectors_of_the_wrong_size_are_refused_with_both_sizes() {
    let eye = |n| CsMat::<f64>::eye_csc(n);
    let new = |p: usize, q: usize, a: &CsMat<f64>, b: usize| {
        ConeProgram::new(&eye(p), vec![0.0; q], a, vec![0.0; b], half_line(b))
    };
    assert_dimension(new(3, 2, &eye(2), 2), 2, 3);
    assert_dimension(new(2, 2, &CsMat::zero((2, 3)), 2), 2, 3);
    assert_dimension(new(2, 2, &eye(2), 5), 5, 2);
    let wide: CsMat<f64> = CsMat::zero((2, 3));
    assert_dimension(
        ConeProgram::from_symmetric(&wide, vec![0.0; 2], &eye(2), vec![0.0; 2], half_line(2)),
        2,
        3,
    );
    let good = csc(2, &EYE);
    let from = |p: (&[usize], &[usize], &[f64])| {
        ConeProgram::from_csc(
            p,
            vec![0.0; 2],
            (&good.0, &good.1, &good.2),
            vec![1.0; 2],
            half_line(2),
        )
    };
    assert_dimension(from((&[0, 1], &[0], &[1.0])), 3, 2);
    assert_dimension(from((&[0, 1, 2, 2], &[0, 1], &[1.0, 1.0])), 3, 4);
    assert_dimension(from((&[], &[], &[])), 3, 0);
    assert_dimension(from((&[0, 1, 2], &[0, 1], &[1.0])), 2, 1);
    assert_dimension(from((&[0, 1, 2], &[0, 1], &[1.0; 3])), 2, 3);
}

#[test]
fn changed_data_of_the_wrong_size_is_refused() {
    let program = regular();
    assert_dimension(program.with_q(vec![0.0; 3]), 4, 3);
    assert_dimension(program.with_b(vec![0.0; 8]), 7, 8);
    assert_dimension(program.with_values(&[1.0; 5], &[1.0; 14]), 6, 5);
    assert_dimension(
        program.with_values(program.p().values(), &[1.0; 15]),
        14,
        15,
    );
    assert_dimension(program.objective(&[0.0; 5]), 4, 5);
}

#[test]
fn points_and_directions_of_the_wrong_size_are_refused() {
    let program = regular();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let given = |x: usize, z: usize, s: usize| {
        Solution::given(&program, vec![0.0; x], vec![0.0; z], vec![0.0; s])
    };
    assert_dimension(given(3, 7, 7), 4, 3);
    assert_dimension(given(4, 6, 7), 7, 6);
    assert_dimension(given(4, 7, 8), 7, 8);
    for part in 0..3 {
        let mut short = solution.clone();
        let (vector, expected) = match part {
            0 => (&mut short.x, 4),
            1 => (&mut short.z, 7),
            _ => (&mut short.s, 7),
        };
        vector.pop();
        assert_dimension(
            Derivative::new(&program, &short, &settings),
            expected,
            expected - 1,
        );
        assert_dimension(refine(&program, &short, &settings), expected, expected - 1);
    }
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    for part in 0..3 {
        let mut seed = SolutionTangent::zeros(&program);
        let (vector, expected) = match part {
            0 => (&mut seed.x, 4),
            1 => (&mut seed.z, 7),
            _ => (&mut seed.s, 7),
        };
        vector.push(0.0);
        assert_dimension(derivative.vjp(&seed), expected, expected + 1);
    }
    for part in 0..4 {
        let mut tangent = DataTangent::zeros(&program);
        let (vector, expected) = match part {
            0 => (&mut tangent.p, 6),
            1 => (&mut tangent.q, 4),
            2 => (&mut tangent.a, 14),
            _ => (&mut tangent.b, 7),
        };
        vector.pop();
        assert_dimension(derivative.jvp(&tangent), expected, expected - 1);
    }
    assert_dimension(derivative.jacobian_columns(&[DataCoordinate::P(6)]), 6, 6);
    assert_dimension(
        derivative.jacobian_rows(&[SolutionCoordinate::S(usize::MAX)]),
        7,
        usize::MAX,
    );
    assert_dimension(residual(&program, &[0.0; 3], &[0.0; 7]), 4, 3);
    assert_dimension(residual(&program, &[0.0; 4], &[0.0; 6]), 7, 6);
    assert_dimension(
        embedding_residual(&program, &[0.0; 4], &[0.0; 6], 1.0),
        7,
        6,
    );
    let jacobian = ResidualJacobian::new(&program, &[1.0; 7]).unwrap();
    assert_dimension(ResidualJacobian::new(&program, &[1.0; 8]), 7, 8);
    assert_dimension(jacobian.apply(&[0.0; 10], &mut [0.0; 11]), 11, 10);
    assert_dimension(jacobian.apply_transpose(&[0.0; 11], &mut [0.0; 12]), 11, 12);
    assert_dimension(jacobian.embedding_to_sparse(&[0.0; 5]), 4, 5);
    assert_dimension(jacobian.projection().apply(&[0.0; 6], &mut [0.0; 7]), 7, 6);
    assert_dimension(
        jacobian
            .projection()
            .apply_complement(&[0.0; 7], &mut [0.0; 6]),
        7,
        6,
    );
    let prepared = Prepared::new(&jacobian, LinearSettings::default()).unwrap();
    let mut work = prepared.workspace(&jacobian);
    assert_dimension(
        prepared.solve(&jacobian, &[1.0; 10], &mut [0.0; 11], &mut work),
        11,
        10,
    );
    assert_dimension(
        gradcheck_function(
            |_| Ok(0.0),
            &[1.0],
            &[1.0, 2.0],
            1,
            &GradcheckSettings::default(),
        ),
        2,
        1,
    );
}

#[test]
fn malformed_sparse_structures_are_refused_with_the_column_and_the_indices() {
    let make = |indptr: &[usize], indices: &[usize]| {
        let data = vec![1.0; indices.len()];
        let csc = SparseMatrix::from_csc("A", 3, 2, indptr, indices, &data);
        let csr = SparseMatrix::from_csr("A", 2, 3, indptr, indices, &data);
        let (csc, csr) = (error(csc), error(csr));
        assert_eq!(csc.to_string(), csr.to_string());
        csc
    };
    for (indptr, indices, column, words) in [
        (
            &[0usize, 2, 2][..],
            &[2usize, 1][..],
            0,
            "index 1 follows 2",
        ),
        (&[0, 0, 2], &[1, 1], 1, "index 1 appears twice"),
        (&[0, 1, 2], &[0, 3], 1, "index 3 is not below 3"),
        (&[0, 1, 2], &[0, usize::MAX], 1, "is not below 3"),
        (&[0, 2, 1], &[0, 1], 1, "indptr goes from 2 to 1"),
        (
            &[0, 3, 2],
            &[0, 1],
            0,
            "indptr goes from 0 to 3 with 2 indices",
        ),
        (&[1, 1, 2], &[0, 1], 0, "indptr starts at 1"),
        (&[0, 1, 1], &[0, 1], 2, "indptr ends at 1 with 2 indices"),
        (&[0, usize::MAX, 2], &[0, 1], 0, "with 2 indices"),
    ] {
        let e = make(indptr, indices);
        assert!(e.to_string().contains(words), "{e}");
        assert!(
            matches!(e, Error::Pattern { matrix: "A", outer, .. } if outer == column),
            "{e}"
        );
    }
}

#[test]
fn a_matrix_with_more_columns_than_memory_is_refused() {
    for cols in [usize::MAX, usize::MAX - 1, 1 << 60] {
        let e = error(SparseMatrix::from_csr("A", 0, cols, &[0], &[], &[]));
        assert!(matches!(e, Error::TooLarge { .. }), "{e}");
    }
}

#[test]
fn the_lower_triangle_of_p_is_refused_with_the_entry() {
    let e = error(build(
        &[(0, 0, 1.0), (1, 0, 0.5), (1, 1, 1.0)],
        &[0.0; 2],
        &[],
        &[],
        &[],
    ));
    assert!(
        matches!(e, Error::NotUpperTriangular { row: 1, column: 0 }),
        "{e}"
    );
    assert!(e.to_string().contains("row 1, column 0"), "{e}");
    // The same entry stored as an explicit zero is refused alike: its gradient would have no meaning.
    let e = error(build(&[(1, 0, 0.0)], &[0.0; 2], &[], &[], &[]));
    assert!(
        matches!(e, Error::NotUpperTriangular { row: 1, column: 0 }),
        "{e}"
    );
}

#[test]
fn an_asymmetric_full_p_is_refused_with_both_values() {
    let empty: CsMat<f64> = CsMat::zero((0, 2));
    let make = |entries: &[(usize, usize, f64)]| {
        let (indptr, indices, data) = csc(2, entries);
        let p = CsMat::new_csc((2, 2), indptr, indices, data);
        ConeProgram::from_symmetric(&p, vec![0.0; 2], &empty, vec![], vec![])
    };
    let e = error(make(&[(0, 0, 2.0), (0, 1, 0.5), (1, 0, 0.25), (1, 1, 2.0)]));
    assert!(matches!(e, Error::NotSymmetric { .. }), "{e}");
    let text = e.to_string();
    assert!(text.contains("0.5") && text.contains("0.25"), "{text}");
    // One side missing counts as zero.
    for one in [(0, 1, 0.5), (1, 0, 0.5)] {
        let e = error(make(&[(0, 0, 2.0), one, (1, 1, 2.0)]));
        assert!(matches!(e, Error::NotSymmetric { .. }), "{e}");
    }
    let good = make(&[(0, 0, 2.0), (0, 1, 0.5), (1, 0, 0.5), (1, 1, 2.0)]).unwrap();
    assert_eq!(good.p().values(), &[2.0, 0.5, 2.0]);
}

#[test]
fn nan_and_infinity_in_the_data_are_refused_with_their_place() {
    let base = regular();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let poison = |x: &[f64], k: usize| {
            let mut x = x.to_vec();
            x[k] = bad;
            x
        };
        let expect = |e: Error, name: &str, place: usize| match e {
            Error::NonFinite { what, index, value } => {
                assert_eq!((what, index), (name, place));
                assert_eq!(value.to_bits(), bad.to_bits());
            }
            other => panic!("{other}"),
        };
        let (p, a) = (base.p().values(), base.a().values());
        expect(error(base.with_values(&poison(p, 3), a)), "P", 3);
        expect(error(base.with_values(p, &poison(a, 13))), "A", 13);
        expect(error(base.with_q(poison(base.q(), 2))), "q", 2);
        // Row 0 is an equality, row 5 belongs to a second-order cone: no infinity there.
        expect(error(base.with_b(poison(base.b(), 0))), "b", 0);
        expect(error(base.with_b(poison(base.b(), 5))), "b", 5);
        let eye: Vec<(usize, usize, f64)> = EYE.to_vec();
        let spoiled = [(0, 0, 1.0), (1, 1, bad)];
        expect(
            error(build(&spoiled, &[0.0; 2], &eye, &[1.0; 2], &half_line(2))),
            "P",
            1,
        );
        expect(
            error(build(&eye, &[0.0; 2], &spoiled, &[1.0; 2], &half_line(2))),
            "A",
            1,
        );
        expect(
            error(build(&eye, &[0.0, bad], &eye, &[1.0; 2], &half_line(2))),
            "q",
            1,
        );
    }
    let e = error(base.with_b({
        let mut b = base.b().to_vec();
        b[2] = f64::NAN;
        b
    }));
    assert!(
        matches!(
            e,
            Error::NonFinite {
                what: "b",
                index: 2,
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn a_right_hand_side_that_no_point_satisfies_is_refused() {
    for value in [-1e20, -1e300, f64::NEG_INFINITY] {
        let e = error(build(&EYE, &[0.0; 2], &EYE, &[1.0, value], &half_line(2)));
        assert!(
            matches!(e, Error::Bound { row: 1, value: v } if v == value),
            "{e}"
        );
        let good = program(&EYE, &[0.0; 2], &EYE, &[1.0, 1.0], &half_line(2));
        assert!(matches!(
            error(good.with_b(vec![value, 1.0])),
            Error::Bound { row: 0, .. }
        ));
    }
}

#[test]
fn an_indefinite_p_is_refused() {
    let make = |n: usize, p: &[(usize, usize, f64)]| build(p, &vec![0.0; n], &[], &[], &[]);
    let reason = |n, p: &[(usize, usize, f64)]| match error(make(n, p)) {
        Error::NotConvex { index, reason, .. } => (index, reason),
        other => panic!("{other}"),
    };
    assert_eq!(
        reason(2, &[(0, 0, 1.0), (1, 1, -1e-300)]),
        (1, "negative diagonal entry")
    );
    let beside = "zero diagonal beside a nonzero entry";
    assert_eq!(reason(2, &[(0, 0, 1.0), (0, 1, 1e-3)]).1, beside);
    assert_eq!(
        reason(2, &[(0, 1, 1e-3), (1, 1, 1.0), (0, 0, 0.0)]).1,
        beside
    );
    let pivot = "Cholesky factorization meets a negative pivot";
    assert_eq!(
        reason(2, &[(0, 0, 1.0), (0, 1, 1.001), (1, 1, 1.0)]).1,
        pivot
    );
    for scale in [1e-150, 1e-8, 1e8, 1e150] {
        let p = [(0, 0, scale), (0, 1, 1.001 * scale), (1, 1, scale)];
        assert_eq!(reason(2, &p).1, pivot);
    }
    // Tridiagonal with -1 beside d has least eigenvalue d - 2 cos(pi/51).
    let tridiagonal = |d: f64| -> Vec<(usize, usize, f64)> {
        (0..50)
            .flat_map(|j| [(j, j, d), (j, (j + 1).min(49), -1.0)])
            .filter(|e| e.2 == d || e.0 < 49)
            .collect()
    };
    let least = 2.0 * (std::f64::consts::PI / 51.0).cos();
    assert_eq!(reason(50, &tridiagonal(least - 1e-6)).1, pivot);
    make(50, &tridiagonal(least + 1e-6)).unwrap();
}

#[test]
fn singular_semidefinite_p_are_accepted() {
    let make = |n: usize, p: &[(usize, usize, f64)]| build(p, &vec![0.0; n], &[], &[], &[]);
    make(2, &[(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0)]).unwrap();
    make(2, &[(0, 0, 4e-20), (0, 1, 2.0), (1, 1, 1e20)]).unwrap();
    make(3, &[(1, 1, 0.0), (2, 2, 0.0)]).unwrap();
    make(0, &[]).unwrap();
    let v: Vec<f64> = (0..100)
        .map(|k| (1.0 + 0.7 * k as f64).sin() * 10f64.powi(k % 7 - 3))
        .collect();
    let outer: Vec<(usize, usize, f64)> = (0..100)
        .flat_map(|j| (0..=j).map(move |i| (i, j)))
        .map(|(i, j)| (i, j, v[i] * v[j]))
        .collect();
    make(100, &outer).unwrap();
}

#[test]
fn cone_parameters_out_of_range_are_refused() {
    let refuse = |cone: Cone, words: &str| {
        let rows = cone.rows().min(5);
        let e = error(Projection::new(
            &[Cone::Zero(0), cone.clone()],
            &vec![1.0; rows],
        ));
        assert!(matches!(e, Error::Cone { index: 1, .. }), "{e}");
        assert!(e.to_string().contains(words), "{e}");
        let e = error(build(
            &[],
            &[0.0],
            &[],
            &vec![1.0; rows],
            &[Cone::Zero(0), cone],
        ));
        assert!(matches!(e, Error::Cone { index: 1, .. }), "{e}");
    };
    refuse(Cone::Power(0.0), "exponent 0 ");
    refuse(Cone::Power(1.0), "exponent 1 ");
    refuse(Cone::Power(-0.5), "exponent -0.5 ");
    refuse(Cone::Power(1.5), "exponent 1.5 ");
    refuse(Cone::Power(f64::NAN), "exponent NaN ");
    refuse(Cone::GeneralizedPower(vec![0.5, 0.4], 1), "sum to 0.9");
    refuse(Cone::GeneralizedPower(vec![0.75, 0.75], 1), "sum to 1.5");
    refuse(Cone::GeneralizedPower(vec![1.5, -0.5], 1), "exponent 1.5 ");
    refuse(
        Cone::GeneralizedPower(vec![0.5, f64::NAN, 0.5], 1),
        "exponent NaN ",
    );
    refuse(Cone::GeneralizedPower(vec![0.0, 1.0], 1), "exponent 0 ");
    refuse(
        Cone::GeneralizedPower(vec![], 2),
        "0 exponents and 2 norm rows",
    );
    refuse(
        Cone::GeneralizedPower(vec![0.5, 0.5], 0),
        "2 exponents and 0 norm rows",
    );
}

#[test]
fn cones_that_do_not_add_up_to_the_rows_are_refused() {
    let huge = usize::MAX;
    for (cones, rows) in [
        (vec![Cone::Nonnegative(1)], 1),
        (vec![Cone::Nonnegative(2), Cone::SecondOrder(1)], 3),
        (vec![], 0),
        (
            vec![Cone::Zero(huge), Cone::Zero(huge), Cone::Exponential],
            huge,
        ),
        (vec![Cone::PsdTriangle(huge)], huge),
        (
            vec![Cone::PsdTriangle(huge - 1), Cone::SecondOrder(1)],
            huge,
        ),
    ] {
        let e = error(build(&EYE, &[0.0; 2], &EYE, &[1.0; 2], &cones));
        assert!(
            matches!(e, Error::ConeRows { cones: c, rows: 2 } if c == rows),
            "{e}"
        );
        assert!(matches!(
            error(Projection::new(&cones, &[1.0; 2])),
            Error::ConeRows { .. }
        ));
        assert_eq!(row_ranges(&cones).len(), cones.len());
    }
}

#[test]
fn every_invalid_setting_is_refused_by_name() {
    let program = program(&EYE, &[0.0; 2], &EYE, &[1.0; 2], &half_line(2));
    let solution = solve(&program, &Settings::default()).unwrap();
    let refuse = |name: &str, change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        for e in [
            error(settings.validate()),
            error(solve(&program, &settings)),
            error(Derivative::new(&program, &solution, &settings)),
        ] {
            assert!(
                matches!(e, Error::Setting { name: n, .. } if n == name),
                "{e}"
            );
        }
    };
    for bad in [0.0, -1e-8, 1.0, 2.0, f64::INFINITY, f64::NAN] {
        refuse("solve.tolerance", &|s| s.solve.tolerance = bad);
        refuse("refine.tolerance", &|s| s.refine.tolerance = bad);
        refuse("linear.tolerance", &|s| s.linear.tolerance = bad);
        refuse("ambiguity", &|s| s.ambiguity = bad);
    }
    for bad in [0.0, -1.0, f64::NEG_INFINITY, f64::NAN] {
        refuse("solve.time_limit", &|s| s.solve.time_limit = bad);
    }
    refuse("solve.max_iterations", &|s| s.solve.max_iterations = 0);
    refuse("refine.max_steps", &|s| s.refine.max_steps = 0);
    refuse("linear.max_refinement", &|s| s.linear.max_refinement = 0);
    refuse("linear.lsqr_max_iterations", &|s| {
        s.linear.lsqr_max_iterations = 0
    });
    for bad in [0.0, 1.0, -1.0, f64::NAN] {
        let check = GradcheckSettings {
            tolerance: bad,
            ..GradcheckSettings::default()
        };
        let e = error(conediff::gradcheck(&program, &Settings::default(), &check));
        assert!(
            matches!(
                e,
                Error::Setting {
                    name: "tolerance",
                    ..
                }
            ),
            "{e}"
        );
    }
    for bad in [0.0, -1.0, f64::NAN] {
        let e = error(embedding_residual(&program, &[0.0; 2], &[0.0; 2], bad));
        assert!(matches!(e, Error::Setting { name: "tau", .. }), "{e}");
    }
    let mut settings = Settings::default().solve;
    settings.tolerance = f64::NAN;
    settings.time_limit = f64::NAN;
    // Unvalidated as it is, it comes back with some answer.
    let _ = interior_point(&program, &settings);
}

#[test]
fn points_and_directions_that_are_not_finite_are_refused() {
    let program = regular();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for part in 0..3 {
            let mut seed = SolutionTangent::zeros(&program);
            let mut point = SolutionTangent::from(&solution);
            let mut spoiled = solution.clone();
            match part {
                0 => (seed.x[1], point.x[1], spoiled.x[1]) = (bad, bad, bad),
                1 => (seed.z[1], point.z[1], spoiled.z[1]) = (bad, bad, bad),
                _ => (seed.s[1], point.s[1], spoiled.s[1]) = (bad, bad, bad),
            }
            let e = error(derivative.vjp(&seed));
            assert!(matches!(e, Error::NonFinite { index: 1, .. }), "{e}");
            let e = error(Solution::given(&program, point.x, point.z, point.s));
            assert!(matches!(e, Error::NonFinite { index: 1, .. }), "{e}");
            for enabled in [true, false] {
                for refinement in [solution.refinement, None] {
                    let mut settings = settings;
                    settings.refine.enabled = enabled;
                    spoiled.refinement = refinement;
                    let e = error(Derivative::new(&program, &spoiled, &settings));
                    assert!(matches!(e, Error::NonFinite { .. }), "{e}");
                    let e = error(refine(&program, &spoiled, &settings));
                    assert!(matches!(e, Error::NonFinite { .. }), "{e}");
                }
            }
        }
        for part in 0..4 {
            let mut tangent = DataTangent::zeros(&program);
            match part {
                0 => tangent.p[1] = bad,
                1 => tangent.q[1] = bad,
                2 => tangent.a[1] = bad,
                _ => tangent.b[1] = bad,
            }
            let e = error(derivative.jvp(&tangent));
            assert!(matches!(e, Error::NonFinite { index: 1, .. }), "{e}");
        }
    }
}

#[test]
fn malformed_json_is_refused_with_the_line() {
    let good = regular().to_json();
    assert_eq!(ConeProgram::from_json(&good).unwrap().b(), regular().b());
    for cut in 0..good.len() {
        let e = error(ConeProgram::from_json(&good[..cut]));
        assert!(matches!(e, Error::Json { line: 0..=1, .. }), "{cut}: {e}");
    }
    for (from, to) in [
        ("\"q\":[", "\"q\":[null,"),
        ("\"q\":[", "\"q\":[1e999,"),
        ("\"q\":[", "\"q\":[NaN,"),
        ("\"m\":7", "\"m\":-7"),
        ("\"m\":7", "\"m\":7.5"),
        ("\"m\":7", "\"m\":99999999999999999999"),
        ("ZeroConeT", "OneConeT"),
        ("{\"ZeroConeT\":1}", "{\"ZeroConeT\":-1}"),
        ("\"q\":[", "\"Q\":["),
        ("\"b\":[", "\"b\":[],\"b\":["),
    ] {
        assert!(good.contains(from));
        let e = error(ConeProgram::from_json(&good.replacen(from, to, 1)));
        assert!(matches!(e, Error::Json { line: 1, .. }), "{to}: {e}");
    }
    let e = error(ConeProgram::from_json(&good.replacen(
        "\"m\":7",
        "\"m\":18446744073709551615",
        1,
    )));
    assert!(matches!(e, Error::Dimension { .. }), "{e}");
    let e = error(ConeProgram::from_json(&good.replacen(
        "{\"ZeroConeT\":1}",
        "{\"ZeroConeT\":18446744073709551615}",
        1,
    )));
    assert!(matches!(e, Error::ConeRows { .. }), "{e}");
}

#[test]
fn triangles_of_absurd_size_are_refused() {
    use conediff::svec::{order, smat, svec};
    for len in [2, 4, 5, usize::MAX, usize::MAX / 8 + 1] {
        assert!(matches!(error(order(len)), Error::Dimension { found, .. } if found == len));
    }
    assert!(matches!(
        error(smat(&[0.0; 4])),
        Error::Dimension { found: 4, .. }
    ));
    for k in [0, 2, 1 << 32, usize::MAX] {
        assert!(matches!(
            error(svec(&[1.0], k)),
            Error::Dimension { found: 1, .. }
        ));
    }
}
