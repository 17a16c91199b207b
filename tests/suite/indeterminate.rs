//! What singular points leave open, and the derivatives that are there all the same.

use conediff::{
    Affine, Cone, ConeProgram, DataTangent, Derivative, ProgramBuilder, Settings, SolutionTangent,
    Wanted, solve,
};

use crate::support::relative;

fn derivative(program: &ConeProgram) -> Derivative {
    let settings = Settings::default();
    let solution = solve(program, &settings).unwrap();
    Derivative::new(program, &solution, &settings).unwrap()
}

/// minimize 1/2 |x - c|^2 subject to |x| <= t, t <= bound, and x1 + x2 = 1; t is variable 3.
fn ball(bound: f64) -> ConeProgram {
    let mut builder = ProgramBuilder::new(4);
    for (j, c) in [1.0, -0.5, 0.25].into_iter().enumerate() {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -c);
    }
    let x: Vec<Affine> = (0..3).map(Affine::variable).collect();
    builder.norm(&x, &Affine::variable(3));
    builder.bounds([3], f64::NEG_INFINITY, bound);
    builder.equality(&[(0, 1.0), (1, 1.0)], 1.0);
    builder.build().unwrap()
}

#[test]
fn the_bound_of_a_slack_norm_is_open_and_the_rest_is_right() {
    let program = ball(100.0);
    let derivative = derivative(&program);
    let open = derivative.indeterminate().unwrap().unwrap();
    assert_eq!((open.variables.as_slice(), open.rows.len()), (&[3][..], 0));
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[..3].copy_from_slice(&[1.0, 2.0, -1.0]);
    let gradient = derivative.vjp(&seed).unwrap();
    assert!(!gradient.trusted && gradient.evidence.converged);
    // (x1, x2) moves along (1, -1) by half the difference of the costs, x3 by its own.
    assert!(relative(&gradient.value.q, &[0.5, -0.5, 1.0, 0.0]) < 1e-12);
    // The costs of x move, t's cost and the bound on x do not touch the same.
    let mut moving = DataTangent::zeros(&program);
    moving.q[..3].fill(1.0);
    moving.b.fill(1.0);
    assert!(open.is_untouched_by(&program, &moving));
    moving.q[3] = 1.0;
    assert!(!open.is_untouched_by(&program, &moving));
    let only = |b, q| Wanted {
        b,
        q,
        p: false,
        a: false,
    };
    assert!(
        open.is_untouched_by_parts(only(true, false))
            && !open.is_untouched_by_parts(only(false, true))
    );
    // Entries of A in t's column, and no others.
    let column = program
        .a()
        .pattern()
        .position(0, 3)
        .or(program.a().pattern().position(4, 3));
    moving.q[3] = 0.0;
    moving.a[column.unwrap()] = 1.0;
    assert!(!open.is_untouched_by(&program, &moving));
    // A cotangent that asks for t itself is not in the range.
    seed.x[3] = 1.0;
    assert!(!derivative.vjp(&seed).unwrap().evidence.converged);
}

#[test]
fn nothing_is_open_at_a_regular_point() {
    for bound in [0.8, 0.5_f64.sqrt() + 1e-3] {
        assert!(derivative(&ball(bound)).indeterminate().unwrap().is_none());
    }
}

#[test]
fn many_free_variables_are_found_at_once() {
    // |x_j| <= t_j, t_j <= 10, each by two rows.
    let n = 5;
    let mut builder = ProgramBuilder::new(2 * n);
    for j in 0..n {
        builder.quadratic(j, j, 1.0 + j as f64);
        builder.linear(j, 1.0);
        for sign in [1.0, -1.0] {
            builder.inequality(&[(j, sign), (n + j, -1.0)], 0.0);
        }
    }
    builder.bounds(n..2 * n, f64::NEG_INFINITY, 10.0);
    let program = builder.build().unwrap();
    let derivative = derivative(&program);
    let open = derivative.indeterminate().unwrap().unwrap();
    assert_eq!(open.variables, (n..2 * n).collect::<Vec<_>>());
    let mut direction = DataTangent::zeros(&program);
    direction.q[..n].fill(1.0);
    assert!(open.is_untouched_by(&program, &direction));
    let tangent = derivative.jvp(&direction).unwrap();
    assert!(tangent.evidence.converged);
    for j in 0..n {
        assert!((tangent.value.x[j] + 1.0 / (1.0 + j as f64)).abs() < 1e-12);
    }
}

#[test]
fn rows_that_depend_on_each_other_leave_the_derivative_in_the_cost() {
    // x1 + x2 = 1 twice beside a row of its own: x = 1/2 + (q2 - q1)/2 (1, -1), x3 <= 0.25.
    let a: (&[usize], &[usize], &[f64]) =
        (&[0, 2, 4, 5], &[0, 1, 0, 1, 2], &[1.0, 2.0, 1.0, 2.0, 1.0]);
    let program = ConeProgram::from_csc(
        (&[0, 1, 2, 3], &[0, 1, 2], &[1.0, 1.0, 1.0]),
        vec![-0.2, 0.4, -1.0],
        a,
        vec![1.0, 2.0, 0.25],
        vec![Cone::Zero(2), Cone::Nonnegative(1)],
    )
    .unwrap();
    let derivative = derivative(&program);
    let open = derivative.indeterminate().unwrap().unwrap();
    assert_eq!(
        (open.variables.len(), open.rows.as_slice()),
        (0, &[0, 1][..])
    );
    let seed = SolutionTangent {
        x: vec![1.0, 0.0, 1.0],
        ..SolutionTangent::zeros(&program)
    };
    let gradient = derivative.vjp(&seed).unwrap();
    assert!(gradient.evidence.converged);
    assert!(relative(&gradient.value.q, &[-0.5, 0.5, 0.0]) < 1e-12);
    let mut moving = DataTangent::zeros(&program);
    moving.q.fill(1.0);
    moving.p.fill(1.0);
    moving.b[2] = 1.0;
    assert!(open.is_untouched_by(&program, &moving));
    moving.b[0] = 1.0;
    assert!(!open.is_untouched_by(&program, &moving));
    // z of the two rows is not unique: a cotangent that asks for one has no answer.
    let seed = SolutionTangent {
        z: vec![1.0, 0.0, 0.0],
        ..SolutionTangent::zeros(&program)
    };
    assert!(!derivative.vjp(&seed).unwrap().evidence.converged);
}

#[test]
fn what_cannot_be_told_apart_is_not_said_to_be() {
    // Two variables of which only the difference is held: neither is free by itself.
    let program = ConeProgram::from_csc(
        (&[0, 0, 0], &[], &[]),
        vec![0.0, 0.0],
        (&[0, 1, 2], &[0, 0], &[1.0, -1.0]),
        vec![1.0],
        vec![Cone::Zero(1)],
    )
    .unwrap();
    assert!(derivative(&program).indeterminate().unwrap().is_none());
    // The same ball twice: z may lie on either, and with it the curvature.
    let mut builder = ProgramBuilder::new(2);
    for j in 0..2 {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -2.0);
        builder.linear(j, if j == 0 { -1.0 } else { 0.0 });
    }
    let x: Vec<Affine> = (0..2).map(Affine::variable).collect();
    builder.norm(&x, &Affine::constant(1.0));
    builder.norm(&x, &Affine::constant(1.0));
    let program = builder.build().unwrap();
    assert!(derivative(&program).indeterminate().unwrap().is_none());
}
