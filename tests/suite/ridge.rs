//! A ridge bounds the objective's loss and turns a jump into a slope.

use conediff::{Cone, ConeProgram, Derivative, Error, Generator, Settings, SolutionTangent, solve};

use crate::support::{norm, relative};

/// minimize -t (x + y) over [0, 3] x [0, 5].
fn choice(t: f64) -> ConeProgram {
    ConeProgram::from_csc(
        (&[0; 3], &[], &[]),
        vec![-t; 2],
        (&[0, 2, 4], &[0, 2, 1, 3], &[1.0, -1.0, 1.0, -1.0]),
        vec![3.0, 5.0, 0.0, 0.0],
        vec![Cone::Nonnegative(4)],
    )
    .unwrap()
}

#[test]
fn a_linear_program_at_a_jump_becomes_continuous_and_piecewise_linear() {
    let (settings, rho) = (Settings::default(), 0.1);
    for k in -20..=80 {
        // Off the kinks at t = 0, 0.3 and 0.5.
        let t = 0.01 * f64::from(k) + 0.003;
        let program = choice(t).with_ridge(rho).unwrap();
        let solution = solve(&program, &settings).unwrap();
        for (x, most) in solution.x.iter().zip([3.0, 5.0]) {
            assert!((x - (t / rho).clamp(0.0, most)).abs() <= 1e-12, "{t}: {x}");
        }
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        let mut seed = SolutionTangent::zeros(&program);
        seed.x[0] = 1.0;
        let gradient = derivative.vjp(&seed).unwrap();
        let slope = if t > 0.0 && t < 0.3 { -1.0 / rho } else { 0.0 };
        assert!(gradient.trusted && (gradient.value.q[0] - slope).abs() <= 1e-9);
    }
    // Without it the solution is a corner on either side.
    for (t, expected) in [(-1e-3, [0.0, 0.0]), (1e-3, [3.0, 5.0])] {
        let x = solve(&choice(t), &settings).unwrap().x;
        assert!(norm(&[x[0] - expected[0], x[1] - expected[1]]) <= 1e-9);
    }
}

#[test]
fn the_objective_lost_is_within_its_bound() {
    let settings = Settings::default();
    let cones = vec![Cone::Zero(1), Cone::Nonnegative(8), Cone::SecondOrder(4)];
    for seed in 0..10 {
        // P of rank 3 of 8: not every program would have a unique solution.
        let generator = Generator::new(8, cones.clone())
            .with_rank(3)
            .with_seed(seed);
        let program = generator.generate().unwrap().program().clone();
        let x = solve(&program, &settings).unwrap().x;
        let f = |x: &[f64]| program.objective(x).unwrap();
        let mut previous = 0.0;
        for rho in [1e-6, 1e-4, 1e-2, 1.0, 100.0] {
            let ridged = solve(&program.with_ridge(rho).unwrap(), &settings).unwrap();
            let lost = f(&ridged.x) - f(&x);
            let bound = 0.5 * rho * (norm(&x).powi(2) - norm(&ridged.x).powi(2));
            let rounding = 1e-11 * (1.0 + f(&x).abs());
            assert!(lost >= previous - rounding, "{seed} {rho}: {lost:e}");
            assert!(lost <= bound + rounding, "{seed} {rho}: {lost:e} {bound:e}");
            previous = lost;
        }
        assert!(previous > 1e-6);
    }
}

#[test]
fn the_diagonal_is_added_where_it_is_missing_and_the_pattern_kept_where_not() {
    let part = (
        &[0usize, 1, 2, 3][..],
        &[0usize, 0, 2][..],
        &[1.0, 0.5, 2.0][..],
    );
    let free = (&[0usize; 4][..], &[][..], &[][..]);
    let indefinite = ConeProgram::from_csc(part, vec![0.0; 3], free, Vec::new(), Vec::new());
    assert!(matches!(indefinite, Err(Error::NotConvex { .. })));
    let part = (part.0, part.1, &[1.0, 0.0, 2.0][..]);
    let program = ConeProgram::from_csc(part, vec![1.0; 3], free, Vec::new(), Vec::new()).unwrap();
    let with = program.with_ridge(0.5).unwrap();
    assert_eq!(with.p().pattern().indices(), [0, 0, 1, 2]);
    assert_eq!(with.p().values(), [1.5, 0.0, 0.5, 2.5]);
    assert!(with.has_structure_of(&program.with_ridge(0.0).unwrap()));
    // Stored by rows, the order stays.
    let rows = sprs::CsMat::new((2, 2), vec![0, 2, 3], vec![0, 1, 1], vec![2.0, 0.5, 1.0]);
    let a = sprs::CsMat::<f64>::zero((0, 2)).to_csc();
    let program = ConeProgram::new(&rows, vec![0.0; 2], &a, Vec::new(), Vec::new()).unwrap();
    let with = program.with_ridge(1.0).unwrap();
    assert!(with.has_structure_of(&program));
    assert!(relative(&with.p().stored_values(), &[3.0, 0.5, 2.0]) == 0.0);
    // Rows without a bound stay without one.
    let program = choice(1.0)
        .with_b(vec![3.0, 5.0, 0.0, f64::INFINITY])
        .unwrap();
    assert_eq!(program.with_ridge(1.0).unwrap().unbounded(), [3]);
}

#[test]
fn a_ridge_that_is_none_is_refused() {
    for rho in [-1.0, f64::NAN, f64::INFINITY] {
        let refused = choice(1.0).with_ridge(rho);
        assert!(matches!(refused, Err(Error::Setting { name: "rho", .. })));
    }
}
