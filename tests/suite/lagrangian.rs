//! Differences of the optimal value's gradient against derivatives, and what they see where there is none.

use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Envelope, Error, Generator, Settings,
    SolutionTangent, lagrangian_jvp, lagrangian_vjp, solve,
};

use crate::support::{norm, relative};

fn derivative(program: &ConeProgram) -> Derivative {
    let settings = Settings::default();
    Derivative::new(program, &solve(program, &settings).unwrap(), &settings).unwrap()
}

fn data(t: &DataTangent) -> Vec<f64> {
    [t.p.as_slice(), &t.q, &t.a, &t.b].concat()
}

fn joined(t: &SolutionTangent) -> Vec<f64> {
    [t.x.as_slice(), &t.z, &t.s].concat()
}

fn generated(cones: Vec<Cone>, seed: u64) -> ConeProgram {
    let generator = Generator::new(6, cones).with_seed(seed).with_margin(0.3);
    generator.generate().unwrap().program().clone()
}

fn programs() -> Vec<ConeProgram> {
    vec![
        generated(vec![Cone::Zero(2), Cone::Nonnegative(6)], 1),
        generated(vec![Cone::Nonnegative(3), Cone::SecondOrder(4)], 2),
        generated(vec![Cone::Nonnegative(2), Cone::PsdTriangle(3)], 3),
        generated(vec![Cone::Exponential, Cone::Nonnegative(3)], 4),
        generated(vec![Cone::Power(0.3), Cone::SecondOrder(3)], 5),
    ]
}

#[test]
fn gradients_approach_the_vjp_like_the_square_of_the_step() {
    let settings = Settings::default();
    for (k, program) in programs().iter().enumerate() {
        let seed = SolutionTangent::random(program, 7);
        let exact = derivative(program).vjp(&seed).unwrap().value;
        let at = |tau: f64, envelope| {
            let found = lagrangian_vjp(program, &seed, tau, envelope, &settings).unwrap();
            assert!(found.is_refined && found.residuals.iter().all(|r| *r < 1e-12));
            assert_eq!(found.tau, tau);
            found.value
        };
        let errors: Vec<f64> = [1e-2, 1e-3, 1e-4]
            .map(|tau| relative(&data(&at(tau, Envelope::Average)), &data(&exact)))
            .to_vec();
        // On one active set of a quadratic program the gradient of V is quadratic along the step: rounding alone is left.
        assert!((k == 0) == (errors[0] <= 1e-12), "{k}: {errors:?}");
        let lower = relative(&data(&at(1e-4, Envelope::Lower)), &data(&exact));
        let upper = relative(&data(&at(1e-4, Envelope::Upper)), &data(&exact));
        println!("program {k}: {errors:?}, one side {lower:.1e} {upper:.1e}");
        assert!(
            errors[1] <= 0.02 * errors[0] + 1e-11 && errors[1] <= 1e-3,
            "{k}: {errors:?}"
        );
        assert!(errors[2] <= 0.02 * errors[1] + 1e-10, "{k}: {errors:?}");
        assert!(errors[2] <= 1e-2 * lower.max(upper) && lower.max(upper) <= 1e-2);
        // Every part by itself, and the mean of the two sides is the average.
        let (found, mean) = (at(1e-4, Envelope::Average), at(1e-4, Envelope::Lower));
        let mut mean = data(&mean);
        for (m, u) in mean.iter_mut().zip(data(&at(1e-4, Envelope::Upper))) {
            *m = 0.5 * (*m + u);
        }
        assert!(relative(&data(&found), &mean) <= 1e-6);
        for (part, expected) in [
            (&found.p, &exact.p),
            (&found.q, &exact.q),
            (&found.a, &exact.a),
            (&found.b, &exact.b),
        ] {
            assert!(relative(part, expected) <= 1e-4, "{k}");
        }
    }
}

#[test]
fn directional_differences_approach_the_jvp_like_the_square_of_the_step() {
    let settings = Settings::default();
    for (k, program) in programs().iter().enumerate() {
        let tangent = DataTangent::random(program, 8);
        let exact = joined(&derivative(program).jvp(&tangent).unwrap().value);
        let errors = [1e-2, 1e-3, 1e-4].map(|tau| {
            let found = lagrangian_jvp(program, &tangent, tau, &settings).unwrap();
            relative(&joined(&found.value), &exact)
        });
        println!("program {k}: {errors:?}");
        assert!(
            errors[1] <= 0.02 * errors[0] && errors[1] <= 1e-3,
            "{k}: {errors:?}"
        );
        assert!(errors[2] <= 0.02 * errors[1] + 1e-10, "{k}: {errors:?}");
    }
}

/// minimize 1/2 |x|^2 - 2 x1 - x2 subject to x1 + x2 <= b and x1 >= 0: the first row is weakly active at b = 3.
fn kinked(b: f64) -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 1.0]),
        vec![-2.0, -1.0],
        (&[0, 2, 3], &[0, 1, 0], &[1.0, -1.0, 1.0]),
        vec![b, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap()
}

#[test]
fn at_a_kink_the_chord_lies_between_the_one_sided_derivatives() {
    let seed = SolutionTangent {
        x: vec![1.0, 0.5],
        z: vec![0.0; 2],
        s: vec![0.3, -0.2],
    };
    let gradient = |b: f64| data(&derivative(&kinked(b)).vjp(&seed).unwrap().value);
    let (active, inactive) = (gradient(3.0 - 1e-7), gradient(3.0 + 1e-7));
    let across: Vec<f64> = active.iter().zip(&inactive).map(|(a, i)| a - i).collect();
    assert!(norm(&across) > 0.5);
    for (tau, envelope) in [
        (1e-4, Envelope::Average),
        (1e-4, Envelope::Lower),
        (1e-4, Envelope::Upper),
        (1e-3, Envelope::Average),
    ] {
        let found = lagrangian_vjp(&kinked(3.0), &seed, tau, envelope, &Settings::default());
        let found = data(&found.unwrap().value);
        let from: Vec<f64> = found.iter().zip(&inactive).map(|(f, i)| f - i).collect();
        let products = from.iter().zip(&across).map(|(f, a)| f * a);
        let share = products.sum::<f64>() / norm(&across).powi(2);
        let rest: Vec<f64> = from
            .iter()
            .zip(&across)
            .map(|(f, a)| f - share * a)
            .collect();
        println!(
            "{envelope:?} {tau:e}: share {share:.3}, off {:.1e}",
            norm(&rest)
        );
        assert!(norm(&rest) <= 10.0 * tau);
        let expected = match envelope {
            Envelope::Average => 0.5,
            Envelope::Lower => 1.0,
            Envelope::Upper => 0.0,
        };
        // Either side may be the active one.
        let error = (share - expected).abs().min((share - 1.0 + expected).abs());
        assert!(error <= 10.0 * tau, "{share}");
    }
}

/// minimize q'x over the simplex.
fn simplex(q: &[f64]) -> ConeProgram {
    ConeProgram::from_csc(
        (&[0; 4], &[], &[]),
        q.to_vec(),
        (
            &[0, 2, 4, 6],
            &[0, 1, 0, 2, 0, 3],
            &[1.0, -1.0, 1.0, -1.0, 1.0, -1.0],
        ),
        vec![1.0, 0.0, 0.0, 0.0],
        vec![Cone::Zero(1), Cone::Nonnegative(3)],
    )
    .unwrap()
}

#[test]
fn a_linear_program_has_no_gradient_in_its_costs_until_the_step_reaches_a_jump() {
    let settings = Settings::default();
    let (q, loss) = ([1.0, 1.5, 2.0], [1.0, 0.0, -1.0]);
    let program = simplex(&q);
    let seed = SolutionTangent {
        x: loss.to_vec(),
        ..SolutionTangent::zeros(&program)
    };
    let exact = derivative(&program).vjp(&seed).unwrap().value;
    assert!(norm(&exact.q) <= 1e-12);
    let at = |tau| {
        let found = lagrangian_vjp(&program, &seed, tau, Envelope::Lower, &settings).unwrap();
        found.value.q
    };
    assert!(norm(&at(0.1)) <= 1e-12);
    let gradient = at(0.6);
    println!("{gradient:?}");
    // From (1, 0, 0) to (0, 0, 1) over a step of 0.6 times the largest cost.
    assert!(relative(&gradient, &[-1.0 / 1.2, 0.0, 1.0 / 1.2]) <= 1e-9);
    // Along its negative the loss falls from 1 to -1.
    let moved: Vec<f64> = q.iter().zip(&gradient).map(|(q, g)| q - g).collect();
    let x = solve(&simplex(&moved), &settings).unwrap().x;
    assert!((x[2] - 1.0).abs() <= 1e-9);
}

#[test]
fn a_small_seed_gives_a_proportionally_small_gradient() {
    let program = &programs()[1];
    let seed = SolutionTangent::random(program, 3);
    let scaled = |c: f64| {
        let times = |v: &[f64]| v.iter().map(|v| c * v).collect::<Vec<f64>>();
        let seed = SolutionTangent {
            x: times(&seed.x),
            z: times(&seed.z),
            s: times(&seed.s),
        };
        let found = lagrangian_vjp(
            program,
            &seed,
            1e-3,
            Envelope::Average,
            &Settings::default(),
        );
        data(&found.unwrap().value)
    };
    let whole = scaled(1.0);
    for c in [1e-12, 1e-200, 1e12] {
        let part: Vec<f64> = scaled(c).iter().map(|v| v / c).collect();
        assert!(relative(&part, &whole) <= 1e-8, "{c:e}");
    }
    assert!(scaled(0.0).iter().all(|g| *g == 0.0));
}

#[test]
fn rows_without_a_bound_have_no_gradient() {
    let program = kinked(2.0).with_b(vec![2.0, f64::INFINITY]).unwrap();
    let settings = Settings::default();
    let seed = SolutionTangent::random(&program, 1);
    let found = lagrangian_vjp(&program, &seed, 1e-4, Envelope::Average, &settings).unwrap();
    let exact = derivative(&program).vjp(&seed).unwrap();
    assert!(relative(&data(&found.value), &data(&exact.value)) <= 1e-7);
    assert_eq!((found.value.b[1], found.value.a[1]), (0.0, 0.0));
    let tangent = DataTangent::random(&program, 1);
    let found = lagrangian_jvp(&program, &tangent, 1e-4, &settings).unwrap();
    let exact = derivative(&program).jvp(&tangent).unwrap();
    assert!(relative(&joined(&found.value), &joined(&exact.value)) <= 1e-7);
}

#[test]
fn wrong_steps_and_moved_programs_without_a_solution_are_errors() {
    let program = kinked(2.0);
    let settings = Settings::default();
    let (seed, tangent) = (
        SolutionTangent::random(&program, 1),
        DataTangent::random(&program, 1),
    );
    for tau in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let found = lagrangian_vjp(&program, &seed, tau, Envelope::Average, &settings);
        assert!(matches!(found, Err(Error::Setting { name: "tau", .. })));
        let found = lagrangian_jvp(&program, &tangent, tau, &settings);
        assert!(matches!(found, Err(Error::Setting { name: "tau", .. })));
    }
    let short = SolutionTangent::default();
    let found = lagrangian_vjp(&program, &short, 1.0, Envelope::Lower, &settings);
    assert!(matches!(found, Err(Error::Dimension { .. })));
    // minimize x subject to 0 <= x <= 1/4: no point is left when the bound falls below 0.
    let program = ConeProgram::from_csc(
        (&[0, 0], &[], &[]),
        vec![1.0],
        (&[0, 2], &[0, 1], &[1.0, -1.0]),
        vec![0.25, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap();
    let mut seed = SolutionTangent::zeros(&program);
    seed.z[0] = 1.0;
    let at = |side| lagrangian_vjp(&program, &seed, 2.0, side, &settings);
    assert!(matches!(
        at(Envelope::Lower),
        Err(Error::PrimalInfeasible { .. })
    ));
    assert!(at(Envelope::Upper).is_ok());
    // Along -P a large step leaves the convex programs.
    let mut tangent = DataTangent::zeros(&kinked(2.0));
    tangent.p[0] = 1.0;
    let found = lagrangian_jvp(&kinked(2.0), &tangent, 2.0, &settings);
    assert!(matches!(found, Err(Error::NotConvex { .. })));
}
