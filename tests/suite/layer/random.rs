//! Random programs of every cone: known solutions and derivatives, data of any size.

use conediff::{Cone, ConeProgram, ConicLayer, Generated, Generator, LayerSettings, Solution};

use super::support::{Data, KNOWN, Known, distance, solve_default, untimed};
use crate::support::relative;

/// Every cone alone and all together, with a number of variables between 10 and 40.
pub fn recipes() -> Vec<(&'static str, Generator)> {
    let mixture = vec![
        Cone::Zero(4),
        Cone::Nonnegative(10),
        Cone::SecondOrder(6),
        Cone::PsdTriangle(4),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::GeneralizedPower(vec![0.5, 0.2, 0.3], 2),
    ];
    vec![
        ("zero", Generator::new(10, vec![Cone::Zero(6)])),
        (
            "linear",
            Generator::new(12, vec![Cone::Zero(4), Cone::Nonnegative(25)]).with_rank(0),
        ),
        (
            "quadratic",
            Generator::new(40, vec![Cone::Zero(8), Cone::Nonnegative(50)]),
        ),
        (
            "second-order",
            Generator::new(20, vec![Cone::SecondOrder(3); 6]),
        ),
        (
            "long second-order",
            Generator::new(40, vec![Cone::SecondOrder(20); 3]),
        ),
        (
            "psd",
            Generator::new(30, vec![Cone::PsdTriangle(3), Cone::PsdTriangle(7)]),
        ),
        (
            "exponential",
            Generator::new(15, vec![Cone::Exponential; 5]),
        ),
        (
            "power",
            Generator::new(15, [0.05, 0.2, 0.5, 0.8, 0.95].map(Cone::Power).to_vec()),
        ),
        (
            "generalized power",
            Generator::new(20, vec![Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2); 4]),
        ),
        (
            "sparse mixture",
            Generator::new(40, mixture.clone()).with_density(0.3),
        ),
        ("mixture", Generator::new(40, mixture)),
    ]
}

fn generated(recipe: &Generator, seed: u64, condition: f64) -> Generated {
    let recipe = recipe.clone().with_seed(seed).with_condition(condition);
    recipe.generate().unwrap()
}

/// The distance of a solution from the chosen one.
fn from_chosen(solution: &Solution, generated: &Generated, unit: f64) -> f64 {
    let parts = [
        (&solution.x, generated.x()),
        (&solution.z, generated.z()),
        (&solution.s, generated.s()),
    ];
    parts.into_iter().fold(0.0, |m, (found, chosen)| {
        let chosen: Vec<f64> = chosen.iter().map(|c| unit * c).collect();
        m.max(relative(found, &chosen))
    })
}

#[test]
fn known_solutions_and_derivatives_of_random_programs_are_found() {
    for condition in [1e1, 1e3] {
        let (mut solution_error, mut derivative_error) = (0.0_f64, 0.0_f64);
        for (name, recipe) in recipes() {
            // The patterns of sparse ones depend on the seed: a layer each.
            for seed in 0..4 {
                let generated = generated(&recipe, seed, condition);
                let mut layer =
                    ConicLayer::new(generated.program(), LayerSettings::default()).unwrap();
                let data = Data::of(generated.program());
                let solution = layer.forward(&data.all()).unwrap().clone();
                let refinement = solution.refinement.unwrap();
                assert!(refinement.accepted && refinement.after <= KNOWN, "{name}");
                let solved = from_chosen(&solution, &generated, 1.0);
                // At the point found, so that the point's own error is not counted twice.
                let error = Known::at(generated.program(), &solution).error(&mut layer);
                assert!(
                    solved <= KNOWN && error <= KNOWN,
                    "{name} {seed} at {condition:.0e}: {solved:e} {error:e}"
                );
                solution_error = solution_error.max(solved);
                derivative_error = derivative_error.max(error);
            }
        }
        println!("condition {condition:.0e}: {solution_error:.1e}, {derivative_error:.1e}");
    }
}

/// The program with q and b times `unit`.
fn times(program: &ConeProgram, unit: f64) -> ConeProgram {
    let times = |v: &[f64]| v.iter().map(|x| unit * x).collect();
    let program = program.with_q(times(program.q())).unwrap();
    program.with_b(times(program.b())).unwrap()
}

#[test]
fn solutions_scale_with_q_and_b() {
    for unit in [1e6, 1e-6] {
        let (mut worst, mut total, mut cheap) = (0.0_f64, 0, 0);
        for (name, recipe) in recipes() {
            for seed in 0..3 {
                let generated = generated(&recipe, seed, 1e1);
                let mut layer = ConicLayer::new(generated.program(), untimed()).unwrap();
                let program = times(generated.program(), unit);
                let solution = layer.forward_program(&program);
                let solution = solution.unwrap_or_else(|e| panic!("{name} {seed}, {unit:e}: {e}"));
                let error = from_chosen(solution, &generated, unit);
                assert!(error <= KNOWN, "{name} {seed}, {unit:e}: {error:e}");
                let error = from_chosen(&solve_default(&program), &generated, unit);
                assert!(error <= KNOWN, "{name} {seed}, {unit:e}, solve: {error:e}");
                worst = worst.max(error);
                total += 1;
                cheap += layer.counts().cheap;
            }
        }
        println!("unit {unit:e}: {worst:.1e}, {cheap} of {total} cheap");
        assert_eq!(cheap, total);
    }
}

/// The program with x <= most beside its own constraints.
fn with_bounds(program: &ConeProgram, most: f64) -> ConeProgram {
    let (n, m, p, a) = (program.n(), program.m(), program.p(), program.a());
    let (mut starts, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        let column = a.pattern().indptr()[j]..a.pattern().indptr()[j + 1];
        rows.extend_from_slice(&a.pattern().indices()[column.clone()]);
        values.extend_from_slice(&a.values()[column]);
        rows.push(m + j);
        values.push(1.0);
        starts.push(rows.len());
    }
    ConeProgram::from_csc(
        (p.pattern().indptr(), p.pattern().indices(), p.values()),
        program.q().to_vec(),
        (&starts, &rows, &values),
        [program.b(), &vec![most; n]].concat(),
        [program.cones(), &[Cone::Nonnegative(n)]].concat(),
    )
    .unwrap()
}

#[test]
fn bounds_far_away_leave_the_cheap_forward_and_the_solution() {
    for (name, recipe) in recipes() {
        let generated = generated(&recipe, 0, 1e1);
        for most in [1e3, 1e6] {
            let program = with_bounds(generated.program(), most);
            let mut layer = ConicLayer::new(&program, untimed()).unwrap();
            let found = layer.forward_program(&program).unwrap();
            let error = relative(&found.x, generated.x());
            assert!(error <= KNOWN, "{name}, {most:e}: {error:e}");
            assert_eq!(layer.counts().cheap, 1, "{name}, {most:e}");
        }
    }
}

#[test]
fn a_layer_made_for_data_of_another_size_gives_the_same_solution() {
    for (name, recipe) in recipes() {
        let generated = generated(&recipe, 1, 1e1);
        let program = generated.program();
        let mut layer = ConicLayer::new(program, untimed()).unwrap();
        let expected = layer.forward_program(program).unwrap().clone();
        for unit in [1e4, 1e-4] {
            let mut layer = ConicLayer::new(&times(program, unit), untimed()).unwrap();
            let found = layer.forward_program(program).unwrap();
            let error = distance(found, &expected);
            assert!(error <= KNOWN, "{name}, {unit:e}: {error:e}");
        }
    }
}
