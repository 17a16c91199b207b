//! The program builder: rows, signs and scalings of every block, and the mistakes it reports.

use conediff::{Affine, Cone, ConeProgram, Error, ProgramBuilder, Settings, solve, svec};
use std::f64::consts::SQRT_2;

/// b - Ax, without going through the solver.
fn slack(program: &ConeProgram, x: &[f64]) -> Vec<f64> {
    let mut s = program.b().to_vec();
    let a = program.a();
    for (j, xj) in x.iter().enumerate() {
        for k in a.pattern().indptr()[j]..a.pattern().indptr()[j + 1] {
            s[a.pattern().indices()[k]] -= a.values()[k] * xj;
        }
    }
    s
}

fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= tolerance, "{actual:?} is not {expected:?}");
    }
}

fn var(j: usize) -> Affine {
    Affine::variable(j)
}

fn num(value: f64) -> Affine {
    Affine::constant(value)
}

#[test]
fn every_block_puts_its_expressions_in_the_slack_of_its_rows() {
    let x = [0.3, -0.7, 1.1];
    let mut builder = ProgramBuilder::new(3);
    let g = sprs::TriMat::from_triplets((2, 3), vec![0, 1], vec![2, 0], vec![4.0, 5.0]);
    let rows = [
        builder.equality(&[(0, 2.0), (1, 1.0), (0, 1.0)], 0.5),
        builder.equality_matrix(&g.to_csr(), &[1.0, 2.0]),
        builder.inequality(&[(2, -1.0)], 3.0),
        builder.inequality_matrix(&g.to_csc(), &[1.0, f64::INFINITY]),
        builder.bounds(0..2, -1.0, 2.0),
        builder.bounds([2], f64::NEG_INFINITY, f64::INFINITY),
        builder.norm(&[Affine::new(&[(1, 2.0)], 1.0), var(2)], &num(9.0)),
        builder.rotated_norm(&[var(0)], &Affine::new(&[(2, 1.0)], 1.0), &num(0.5)),
        builder.psd(2, &[num(1.0), var(1), Affine::new(&[(0, 1.0)], 2.0)]),
        builder.exponential(&var(0), &num(1.0), &var(2)),
        builder.power(0.3, &var(2), &num(1.0), &var(0)),
        builder.generalized_power(&[0.25, 0.75], &[var(2), num(2.0)], &[var(0), var(1)]),
    ];
    let expected = [
        vec![0.5 - 0.9 + 0.7],
        vec![1.0 - 4.4, 2.0 - 1.5],
        vec![3.0 + 1.1],
        vec![1.0 - 4.4, f64::INFINITY],
        vec![1.3, 0.3, 1.7, 2.7],
        vec![],
        vec![9.0, -0.4, 1.1],
        vec![2.6 / SQRT_2, 1.6 / SQRT_2, 0.3],
        vec![1.0, -0.7 * SQRT_2, 2.3],
        vec![0.3, 1.0, 1.1],
        vec![1.1, 1.0, 0.3],
        vec![1.1, 2.0, 0.3, -0.7],
    ];
    let program = builder.build().unwrap();
    let s = slack(&program, &x);
    let mut next = 0;
    for (rows, expected) in rows.into_iter().zip(&expected) {
        assert_eq!((rows.start, rows.len()), (next, expected.len()));
        next = rows.end;
        let finite = |v: &[f64]| {
            v.iter()
                .copied()
                .filter(|v| v.is_finite())
                .collect::<Vec<_>>()
        };
        assert_close(&finite(&s[rows]), &finite(expected), 1e-14);
    }
    assert_eq!(next, program.m());
    assert_eq!(
        program.cones(),
        [
            Cone::Zero(3),
            Cone::Nonnegative(7),
            Cone::SecondOrder(3),
            Cone::SecondOrder(3),
            Cone::PsdTriangle(2),
            Cone::Exponential,
            Cone::Power(0.3),
            Cone::GeneralizedPower(vec![0.25, 0.75], 2),
        ]
    );
    assert_eq!(program.unbounded(), [5]);
}

#[test]
fn the_quadratic_cost_is_the_same_however_it_is_given() {
    // 1/2 x'Px with P = [[4, 1, 0], [1, 3, 0], [0, 0, 0]]
    let mut by_entries = ProgramBuilder::new(3);
    by_entries.quadratic(0, 0, 4.0);
    by_entries.quadratic(1, 0, 0.25);
    by_entries.quadratic(0, 1, 0.75);
    by_entries.quadratic(1, 1, 3.0);
    let mut full = sprs::TriMat::new((3, 3));
    let mut upper = sprs::TriMat::new((3, 3));
    for (i, j, v) in [(0, 0, 4.0), (0, 1, 1.0), (1, 1, 3.0)] {
        upper.add_triplet(i, j, v);
        full.add_triplet(i, j, v);
        if i != j {
            full.add_triplet(j, i, v);
        }
    }
    let mut programs = vec![by_entries.build().unwrap()];
    for matrix in [full.to_csc(), full.to_csr(), upper.to_csc(), upper.to_csr()] {
        let mut builder = ProgramBuilder::new(3);
        builder.quadratic_matrix(&matrix);
        programs.push(builder.build().unwrap());
    }
    for program in programs {
        let objective = program.objective(&[1.0, -2.0, 5.0]).unwrap();
        assert!((objective - (2.0 - 2.0 + 6.0)).abs() < 1e-14);
        assert_eq!(program.p().nnz(), 3);
    }
}

#[test]
fn linear_costs_are_summed_and_zero_coefficients_keep_their_place() {
    let mut builder = ProgramBuilder::new(2);
    builder.linear(1, 2.0);
    builder.linear(1, 0.5);
    builder.equality(&[(0, 0.0), (1, 1.0)], 1.0);
    let program = builder.build().unwrap();
    assert_eq!(program.q(), [0.0, 2.5]);
    assert_eq!(program.a().values(), [0.0, 1.0]);
}

#[test]
fn equal_bounds_are_an_equality() {
    let mut builder = ProgramBuilder::new(2);
    builder.linear(0, 1.0);
    builder.bounds([0, 1], 2.0, 2.0);
    let program = builder.build().unwrap();
    assert_eq!(program.cones(), [Cone::Zero(2)]);
    let solution = solve(&program, &Settings::default()).unwrap();
    assert_close(&solution.x, &[2.0, 2.0], 1e-12);
    // q + A'z = 0 with A = I.
    assert_close(&solution.z, &[-1.0, 0.0], 1e-12);
}

#[test]
fn a_rotated_norm_solves_to_its_closed_form() {
    // minimize w subject to |(3, 4)|^2 <= 2 * 1/2 * w
    let mut builder = ProgramBuilder::new(1);
    builder.linear(0, 1.0);
    builder.rotated_norm(&[num(3.0), num(4.0)], &num(0.5), &var(0));
    let solution = solve(&builder.build().unwrap(), &Settings::default()).unwrap();
    assert_close(&solution.x, &[25.0], 1e-9);
}

#[test]
fn both_forms_of_a_psd_block_agree_and_find_the_least_eigenvalue() {
    // maximize t subject to M - t I psd: t is M's least eigenvalue, here (5 - sqrt 5)/2.
    let m = [2.0, 1.0, 1.0, 3.0];
    let mut by_matrices = ProgramBuilder::new(1);
    by_matrices.linear(0, -1.0);
    by_matrices.psd_matrices(2, &m, &[(0, &[-1.0, 0.0, 0.0, -1.0])]);
    let mut by_entries = ProgramBuilder::new(1);
    by_entries.linear(0, -1.0);
    let diagonal = |c: f64| Affine::new(&[(0, -1.0)], c);
    by_entries.psd(2, &[diagonal(2.0), num(1.0), diagonal(3.0)]);
    for builder in [by_matrices, by_entries] {
        let program = builder.build().unwrap();
        assert_eq!(program.a().nnz(), 2);
        let solution = solve(&program, &Settings::default()).unwrap();
        assert_close(&solution.x, &[(5.0 - 5.0_f64.sqrt()) / 2.0], 1e-9);
        // Z is the projector on the eigenvector: trace 1.
        let z = svec::smat(&solution.z).unwrap();
        assert!((z[0] + z[3] - 1.0).abs() < 1e-9);
    }
}

#[test]
fn exponential_and_power_blocks_solve_to_their_closed_forms() {
    // minimize z subject to exp(1.5) <= z
    let mut builder = ProgramBuilder::new(1);
    builder.linear(0, 1.0);
    builder.exponential(&num(1.5), &num(1.0), &var(0));
    let solution = solve(&builder.build().unwrap(), &Settings::default()).unwrap();
    assert_close(&solution.x, &[1.5_f64.exp()], 1e-8);

    // maximize z subject to z <= 2^0.3 3^0.7, in both power cones
    let expected = 2.0_f64.powf(0.3) * 3.0_f64.powf(0.7);
    let mut power = ProgramBuilder::new(1);
    power.power(0.3, &num(2.0), &num(3.0), &var(0));
    let mut general = ProgramBuilder::new(1);
    general.generalized_power(&[0.3, 0.7], &[num(2.0), num(3.0)], &[var(0)]);
    for mut builder in [power, general] {
        builder.linear(0, -1.0);
        let solution = solve(&builder.build().unwrap(), &Settings::default()).unwrap();
        assert_close(&solution.x, &[expected], 1e-8);
    }
}

#[test]
fn mistakes_are_reported_by_build() {
    let error = |mistake: &dyn Fn(&mut ProgramBuilder)| {
        let mut builder = ProgramBuilder::new(2);
        mistake(&mut builder);
        builder.build().unwrap_err()
    };
    let not_symmetric = [1.0, 2.0, 3.0, 1.0];
    let matrix =
        |n: usize, v: f64| sprs::TriMat::from_triplets((n, n), vec![1], vec![0], vec![v]).to_csc();

    let dimension: [&dyn Fn(&mut ProgramBuilder); 8] = [
        &|b| b.quadratic(0, 2, 1.0),
        &|b| b.linear(2, 1.0),
        &|b| _ = b.equality(&[(2, 1.0)], 0.0),
        &|b| b.quadratic_matrix(&matrix(3, 1.0)),
        &|b| _ = b.inequality_matrix(&matrix(2, 1.0), &[1.0]),
        &|b| _ = b.psd(2, &[var(0)]),
        &|b| _ = b.psd_matrices(2, &[1.0], &[]),
        &|b| _ = b.generalized_power(&[1.0], &[var(0), var(1)], &[num(1.0)]),
    ];
    for mistake in dimension {
        assert!(matches!(error(mistake), Error::Dimension { .. }));
    }
    let not_finite: [&dyn Fn(&mut ProgramBuilder); 6] = [
        &|b| b.quadratic(0, 0, f64::NAN),
        &|b| b.linear(0, f64::INFINITY),
        &|b| _ = b.norm(&[Affine::new(&[(0, f64::NAN)], 0.0)], &num(1.0)),
        &|b| _ = b.equality(&[(0, 1.0)], f64::INFINITY),
        &|b| _ = b.bounds([0], f64::NAN, 1.0),
        &|b| _ = b.psd_matrices(2, &[1.0, f64::NAN, f64::NAN, 1.0], &[]),
    ];
    for mistake in not_finite {
        assert!(matches!(error(mistake), Error::NonFinite { .. }));
    }
    let symmetric = error(&|b| b.quadratic_matrix(&matrix(2, 1.0)));
    assert!(matches!(
        symmetric,
        Error::NotSymmetric {
            row: 1,
            column: 0,
            ..
        }
    ));
    let cone: [&dyn Fn(&mut ProgramBuilder); 3] = [
        &|b| _ = b.psd_matrices(2, &not_symmetric, &[]),
        &|b| _ = b.power(1.0, &var(0), &var(1), &num(1.0)),
        &|b| _ = b.generalized_power(&[0.5, 0.6], &[var(0), var(1)], &[num(1.0)]),
    ];
    for mistake in cone {
        assert!(matches!(error(mistake), Error::Cone { .. }));
    }
    let bound = error(&|b| _ = b.bounds([0], f64::INFINITY, f64::INFINITY));
    assert!(matches!(bound, Error::NonFinite { .. }));
    let bound = error(&|b| _ = b.bounds([0], 0.0, f64::NEG_INFINITY));
    assert!(matches!(bound, Error::Bound { row: 1, .. }));
    let convex = error(&|b| b.quadratic(0, 0, -1.0));
    assert!(matches!(convex, Error::NotConvex { .. }));
}

#[test]
fn the_first_mistake_is_the_one_reported() {
    let mut builder = ProgramBuilder::new(1);
    assert!(builder.equality(&[(7, 1.0)], 0.0).is_empty());
    builder.linear(0, f64::NAN);
    let message = builder.build().unwrap_err().to_string();
    assert!(message.contains("expected length 1, found 7"), "{message}");
}

#[test]
fn a_program_too_large_to_hold_is_an_error() {
    let error = ProgramBuilder::new(usize::MAX).build().unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }));
}
