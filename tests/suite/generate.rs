//! Generated programs: their solution is found, their derivatives are reproduced, for every cone and condition.

use conediff::{
    Affine, Block, Cone, ConeProgram, DataTangent, Derivative, Error, Generated, Generator,
    LinearSolver, ProgramBuilder, Settings, SolutionTangent, residual, solve,
};

/// Seeds tried for every family and condition.
const SEEDS: u64 = 4;

/// Largest |actual - expected| relative to the largest entry expected.
fn error(actual: &[&[f64]], expected: &[&[f64]]) -> f64 {
    let (mut largest, mut difference) = (0.0_f64, 0.0_f64);
    for (a, e) in actual.iter().zip(expected) {
        assert_eq!(a.len(), e.len());
        for (a, e) in a.iter().zip(*e) {
            difference = difference.max((a - e).abs());
            largest = largest.max(e.abs());
        }
    }
    difference / largest.max(1.0)
}

fn solution_error(a: &SolutionTangent, e: &SolutionTangent) -> f64 {
    error(&[&a.x, &a.z, &a.s], &[&e.x, &e.z, &e.s])
}

fn data_error(a: &DataTangent, e: &DataTangent) -> f64 {
    error(&[&a.p, &a.q, &a.a, &a.b], &[&e.p, &e.q, &e.a, &e.b])
}

fn check(name: &str, generator: Generator, condition: f64, settings: &Settings) {
    // What the data's condition leaves of double precision.
    let tolerance = if condition > 1e4 { 1e-6 } else { 1e-8 };
    for seed in 0..SEEDS {
        let generator = generator.clone().with_seed(seed).with_condition(condition);
        let generated = generator.generate().unwrap();
        let program = generated.program();
        let solution = solve(program, settings).unwrap();
        let found = SolutionTangent::from(&solution);
        let point = SolutionTangent {
            x: generated.x().to_vec(),
            z: generated.z().to_vec(),
            s: generated.s().to_vec(),
        };
        let solved = solution_error(&found, &point);

        let derivative = Derivative::new(program, &solution, settings).unwrap();
        let (tangent, expected) = generated.known_jvp(seed + 100);
        let jvp = derivative.jvp(&tangent).unwrap();
        let forward = solution_error(&jvp.value, &expected);
        let (cotangent, expected) = generated.known_vjp(seed + 200);
        let vjp = derivative.vjp(&cotangent).unwrap();
        let backward = data_error(&vjp.value, &expected);
        assert!(
            solved <= 1e-7,
            "{name} at {condition:.0e}: solution off by {solved:.0e}"
        );
        assert!(
            forward <= tolerance && backward <= tolerance,
            "{name} at {condition:.0e}: {forward:.0e} {backward:.0e}"
        );
        assert!(jvp.trusted && vjp.trusted);
        assert!(jvp.evidence.residual <= 1e-12 && vjp.evidence.residual <= 1e-12);
    }
}

/// Each family with a number of variables that leaves room for all pieces.
fn families() -> Vec<(&'static str, usize, Vec<Cone>)> {
    let powers = |a: f64| vec![Cone::Power(a); 4];
    vec![
        ("zero", 8, vec![Cone::Zero(5)]),
        ("nonnegative", 10, vec![Cone::Nonnegative(12)]),
        ("second order 3", 10, vec![Cone::SecondOrder(3); 4]),
        ("second order 20", 40, vec![Cone::SecondOrder(20); 3]),
        ("psd 3", 12, vec![Cone::PsdTriangle(3); 3]),
        ("psd 8", 40, vec![Cone::PsdTriangle(8); 2]),
        ("exponential", 10, vec![Cone::Exponential; 4]),
        ("power .05", 10, powers(0.05)),
        ("power .2", 10, powers(0.2)),
        ("power .5", 10, powers(0.5)),
        ("power .8", 10, powers(0.8)),
        ("power .95", 10, powers(0.95)),
        (
            "generalized power",
            14,
            vec![
                Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2),
                Cone::GeneralizedPower(vec![0.6, 0.4], 1),
                Cone::GeneralizedPower(vec![0.25; 4], 3),
            ],
        ),
        (
            "mixture",
            40,
            vec![
                Cone::Zero(4),
                Cone::Nonnegative(10),
                Cone::SecondOrder(6),
                Cone::PsdTriangle(4),
                Cone::Exponential,
                Cone::Power(0.3),
                Cone::GeneralizedPower(vec![0.5, 0.2, 0.3], 2),
                Cone::Zero(2),
                Cone::Exponential,
            ],
        ),
    ]
}

#[test]
fn known_solutions_and_derivatives_are_found_at_condition_1e1() {
    for (name, n, cones) in families() {
        check(name, Generator::new(n, cones), 1e1, &Settings::default());
    }
}

#[test]
fn known_solutions_and_derivatives_are_found_at_condition_1e3() {
    for (name, n, cones) in families() {
        check(name, Generator::new(n, cones), 1e3, &Settings::default());
    }
}

#[test]
fn known_solutions_and_derivatives_are_found_at_condition_1e5() {
    for (name, n, cones) in families() {
        check(name, Generator::new(n, cones), 1e5, &Settings::default());
    }
}

#[test]
fn known_solutions_and_derivatives_are_found_for_sparse_data() {
    for (name, n, cones) in families() {
        let generator = Generator::new(n, cones).with_density(0.3);
        check(name, generator, 1e1, &Settings::default());
    }
}

#[test]
fn known_solutions_and_derivatives_are_found_where_p_is_singular() {
    for (name, n, cones) in families() {
        let generator = Generator::new(n, cones).with_rank(n - 1);
        check(name, generator, 1e1, &Settings::default());
    }
}

#[test]
fn known_solutions_and_derivatives_are_found_for_linear_programs() {
    let cones = vec![Cone::Zero(4), Cone::Nonnegative(25)];
    check(
        "linear",
        Generator::new(12, cones).with_rank(0),
        1e1,
        &Settings::default(),
    );
}

#[test]
fn known_derivatives_are_found_by_lu_too() {
    let settings = Settings::default().with_linear_solver(LinearSolver::Lu);
    for (name, n, cones) in families() {
        check(name, Generator::new(n, cones), 1e1, &settings);
    }
}

fn mixture() -> Generator {
    let (_, n, cones) = families().pop().unwrap();
    Generator::new(n, cones)
}

fn values(program: &ConeProgram) -> Vec<f64> {
    [
        program.p().values(),
        program.q(),
        program.a().values(),
        program.b(),
    ]
    .concat()
}

#[test]
fn most_blocks_lie_between_and_some_in_either_interior() {
    let mut count = [0, 0, 0];
    for seed in 0..60 {
        let generated = mixture().with_seed(seed).generate().unwrap();
        for (block, cone) in generated
            .projection()
            .blocks()
            .iter()
            .zip(generated.program().cones())
        {
            match (cone, block) {
                (Cone::Zero(_) | Cone::Nonnegative(_), _) => {}
                (_, Block::Identity(_)) => count[0] += 1,
                (_, Block::Vanishing(_)) => count[1] += 1,
                _ => count[2] += 1,
            }
        }
    }
    assert!(
        count[0] >= 20 && count[1] >= 20 && count[2] >= 180,
        "{count:?}"
    );
}

#[test]
fn the_chosen_point_solves_the_program() {
    let generated = mixture().generate().unwrap();
    let f = residual(generated.program(), generated.x(), generated.v()).unwrap();
    assert!(f.iter().all(|f| f.abs() < 1e-12));
}

#[test]
fn the_seed_decides_everything() {
    let make = |seed| -> Generated { mixture().with_seed(seed).generate().unwrap() };
    let (a, b, c) = (make(5), make(5), make(6));
    assert_eq!(values(a.program()), values(b.program()));
    assert_eq!(a.known_jvp(1), b.known_jvp(1));
    assert_eq!(a.known_vjp(1), b.known_vjp(1));
    assert_ne!(values(a.program()), values(c.program()));
    assert_ne!(a.known_jvp(1).0, a.known_jvp(2).0);
}

#[test]
fn margins_are_at_least_those_asked_for() {
    for margin in [1e-6, 1e-2, 0.5, 30.0] {
        for seed in 0..20 {
            let generator = mixture().with_margin(margin).with_seed(seed);
            let generated = generator.generate().unwrap();
            for m in generated.projection().margins() {
                assert!(m.margin >= 0.999_999 * margin, "{m:?} at {margin}");
            }
        }
    }
}

#[test]
fn known_directions_are_adjoint_to_each_other() {
    let generated = mixture().generate().unwrap();
    let (data, dsolution) = generated.known_jvp(1);
    let (cotangent, gradient) = generated.known_vjp(2);
    let (left, right) = (gradient.dot(&data), cotangent.dot(&dsolution));
    assert!(
        (left - right).abs() < 1e-9 * left.abs().max(1.0),
        "{left} {right}"
    );
}

#[test]
fn a_known_tangent_is_the_limit_of_difference_quotients() {
    // Independent of D and of any linear solve but Newton's own.
    let generated = mixture().with_seed(3).generate().unwrap();
    let program = generated.program();
    let (d, expected) = generated.known_jvp(1);
    let step = 1e-6;
    let moved = |t: f64| {
        let add = |a: &[f64], d: &[f64]| {
            a.iter()
                .zip(d)
                .map(|(a, d)| a + t * d)
                .collect::<Vec<f64>>()
        };
        let program = program
            .with_values(
                &add(program.p().values(), &d.p),
                &add(program.a().values(), &d.a),
            )
            .and_then(|p| p.with_q(add(program.q(), &d.q)))
            .and_then(|p| p.with_b(add(program.b(), &d.b)))
            .unwrap();
        SolutionTangent::from(&solve(&program, &Settings::default()).unwrap())
    };
    let (plus, minus) = (moved(step), moved(-step));
    let quotient = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b) / (2.0 * step))
            .collect()
    };
    let found = SolutionTangent {
        x: quotient(&plus.x, &minus.x),
        z: quotient(&plus.z, &minus.z),
        s: quotient(&plus.s, &minus.s),
    };
    let error = solution_error(&found, &expected);
    assert!(error < 1e-6, "{error:e}");
}

#[test]
fn density_and_rank_are_as_asked_for() {
    let cones = vec![Cone::Nonnegative(30), Cone::SecondOrder(10)];
    let sparse = Generator::new(30, cones)
        .with_density(0.1)
        .generate()
        .unwrap();
    let share = sparse.program().a().nnz() as f64 / (30.0 * 40.0);
    assert!((0.1..0.4).contains(&share), "{share}");

    // Programs without P: n rows must hold x.
    for cones in [
        vec![Cone::Zero(3), Cone::SecondOrder(8), Cone::SecondOrder(8)],
        vec![Cone::Zero(5), Cone::Nonnegative(20)],
    ] {
        for seed in 0..5 {
            let linear = Generator::new(12, cones.clone())
                .with_rank(0)
                .with_seed(seed);
            assert_eq!(linear.generate().unwrap().program().p().nnz(), 0);
        }
    }
}

#[test]
fn recipes_that_make_no_sense_are_errors() {
    let base = || Generator::new(4, vec![Cone::Nonnegative(3)]);
    for generator in [
        Generator::new(0, vec![]),
        Generator::new(2, vec![Cone::Zero(3)]),
        base().with_condition(0.5),
        base().with_condition(f64::NAN),
        base().with_margin(0.0),
        base().with_margin(f64::INFINITY),
        base().with_density(0.0),
        base().with_density(1.5),
        base().with_rank(5),
        // Three inequalities cannot hold four variables without cost.
        base().with_rank(0),
    ] {
        let error = generator.generate().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
    let error = Generator::new(4, vec![Cone::Power(2.0)])
        .generate()
        .unwrap_err();
    assert!(matches!(error, Error::Cone { .. }));
}

#[test]
fn the_smallest_programs_are_made() {
    for cones in [
        vec![],
        vec![Cone::Zero(1)],
        vec![Cone::Zero(0), Cone::Nonnegative(1)],
        vec![
            Cone::SecondOrder(0),
            Cone::SecondOrder(1),
            Cone::PsdTriangle(1),
        ],
        vec![Cone::Exponential],
        vec![Cone::GeneralizedPower(vec![1.0], 1)],
    ] {
        for seed in 0..10 {
            let generator = Generator::new(1, cones.clone()).with_seed(seed);
            let generated = generator.generate().unwrap();
            let f = residual(generated.program(), generated.x(), generated.v()).unwrap();
            assert!(f.iter().all(|f| f.abs() < 1e-12));
        }
    }
}

/// A QP with an equality and a row without a bound, and a program with a second-order cone and a linear cost.
fn small_programs() -> [(&'static str, ConeProgram); 2] {
    let mut qp = ProgramBuilder::new(3);
    for (i, j, value) in [(0, 0, 2.0), (0, 1, 0.5), (1, 1, 1.0), (2, 2, 3.0)] {
        qp.quadratic(i, j, value);
    }
    qp.linear(0, -2.0);
    qp.linear(2, 1.0);
    qp.equality(&[(0, 1.0), (1, 2.0), (2, -1.0)], 0.5);
    qp.inequality(&[(0, 1.0), (1, 0.3)], 0.4);
    qp.inequality(&[(0, 2.0), (1, 1.0), (2, 1.0)], f64::INFINITY);
    qp.inequality(&[(1, -1.0), (2, 0.7)], 2.0);

    let mut ball = ProgramBuilder::new(3);
    for (j, cost) in [-1.0, 0.4, -0.3].into_iter().enumerate() {
        ball.linear(j, cost);
    }
    let row = |terms: &[(usize, f64)]| Affine::new(terms, 0.1);
    let norm = [
        row(&[(0, 1.0), (1, 0.5)]),
        row(&[(1, 2.0)]),
        row(&[(2, 1.5)]),
    ];
    ball.norm(&norm, &Affine::new(&[(1, 0.2)], 2.0));
    ball.inequality(&[(2, 1.0)], 0.25);
    [("QP", qp.build().unwrap()), ("ball", ball.build().unwrap())]
}

#[test]
fn derivatives_are_known_at_the_solution_of_any_program() {
    let settings = Settings::default();
    for (name, program) in small_programs() {
        let solution = solve(&program, &settings).unwrap();
        let known = Generated::from_solution(&program, &solution).unwrap();
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        for seed in 0..5 {
            let (tangent, expected) = known.known_jvp(seed);
            let forward = solution_error(&derivative.jvp(&tangent).unwrap().value, &expected);
            let (cotangent, expected) = known.known_vjp(seed);
            let backward = data_error(&derivative.vjp(&cotangent).unwrap().value, &expected);
            assert!(
                forward <= 1e-9 && backward <= 1e-9,
                "{name}: {forward:e} {backward:e}"
            );
        }
    }
}

#[test]
fn a_solution_of_another_program_is_refused() {
    let [(_, qp), (_, ball)] = small_programs();
    let mut solution = solve(&qp, &Settings::default()).unwrap();
    let error = Generated::from_solution(&ball, &solution).unwrap_err();
    assert!(matches!(error, Error::Dimension { .. }), "{error}");
    solution.x[1] = f64::NAN;
    let error = Generated::from_solution(&qp, &solution).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
}
