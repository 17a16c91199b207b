//! Derivatives along the central path: against differences of the path itself, their rate to the exact ones, and at kinks.

use crate::support::{norm, relative};
use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Error, Generator, Projection, Settings, Solution,
    SolutionTangent, Warning, solve,
};

/// Fourth-order differences of points known to rounding.
const DIFFERENCES: f64 = 1e-7;

/// Each cone with its barrier's degree.
fn families() -> Vec<(&'static str, Vec<Cone>, f64)> {
    vec![
        ("orthant", vec![Cone::Nonnegative(5)], 5.0),
        (
            "second-order",
            vec![Cone::SecondOrder(3), Cone::SecondOrder(6)],
            2.0,
        ),
        ("psd", vec![Cone::PsdTriangle(3)], 3.0),
        ("exponential", vec![Cone::Exponential; 2], 6.0),
        ("power", vec![Cone::Power(0.3), Cone::Power(0.6)], 6.0),
        (
            "generalized power",
            vec![Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2)],
            4.0,
        ),
        (
            "mixed",
            vec![
                Cone::Zero(2),
                Cone::Nonnegative(3),
                Cone::SecondOrder(4),
                Cone::PsdTriangle(2),
                Cone::Exponential,
                Cone::Power(0.4),
            ],
            12.0,
        ),
    ]
}

fn family(cones: &[Cone], seed: u64) -> (ConeProgram, Solution) {
    let rows: usize = cones.iter().map(Cone::rows).sum();
    let generated = Generator::new(rows + 1, cones.to_vec())
        .with_seed(seed)
        .generate()
        .unwrap();
    let solution = solve(generated.program(), &Settings::default()).unwrap();
    (generated.program().clone(), solution)
}

fn moved(program: &ConeProgram, tangent: &DataTangent, step: f64) -> ConeProgram {
    let add =
        |x: &[f64], d: &[f64]| -> Vec<f64> { x.iter().zip(d).map(|(x, d)| x + step * d).collect() };
    program
        .with_data(
            Some(&add(program.p().values(), &tangent.p)),
            Some(&add(program.q(), &tangent.q)),
            Some(&add(program.a().values(), &tangent.a)),
            Some(&add(program.b(), &tangent.b)),
        )
        .unwrap()
}

/// x, z and s as one vector.
fn stacked(x: &[f64], z: &[f64], s: &[f64]) -> Vec<f64> {
    [x, z, s].concat()
}

fn path_point(program: &ConeProgram, solution: &Solution, mu: f64) -> Vec<f64> {
    let d = Derivative::smoothed(program, solution, mu, &Settings::default()).unwrap();
    stacked(&d.solution().x, &d.solution().z, &d.solution().s)
}

fn jvp(derivative: &Derivative, tangent: &DataTangent) -> Vec<f64> {
    let jvp = derivative.jvp(tangent).unwrap();
    assert!(jvp.trusted, "{:?} {:?}", jvp.evidence, jvp.warnings);
    stacked(&jvp.value.x, &jvp.value.z, &jvp.value.s)
}

#[test]
fn the_point_of_the_path_satisfies_its_equations() {
    for (name, cones, degree) in families() {
        for (seed, mu) in [(1, 1e-8), (2, 1e-4), (3, 1.0), (4, 1e3)] {
            let (program, solution) = family(&cones, seed);
            let derivative =
                Derivative::smoothed(&program, &solution, mu, &Settings::default()).unwrap();
            assert!(derivative.warnings().is_empty() && derivative.kinks().is_empty());
            let point = derivative.solution();
            let v: Vec<f64> = point.z.iter().zip(&point.s).map(|(z, s)| z - s).collect();
            let projection = Projection::smoothed(program.cones(), &v, mu).unwrap();
            let error = relative(projection.z(), &point.z);
            assert!(error <= 1e-9, "{name} {mu:e}: z off by {error:e}");
            let product: f64 = point.z.iter().zip(&point.s).map(|(z, s)| z * s).sum();
            let terms = norm(&point.z) * norm(&point.s);
            let error = (product - degree * mu).abs();
            assert!(
                error <= 1e-11 * terms.max(degree * mu),
                "{name} {mu:e}: <s, z> off by {error:e}"
            );
            let residual = point.refinement.unwrap().after;
            assert!(residual <= 1e-12, "{name} {mu:e}: residual {residual:e}");
        }
    }
}

#[test]
fn the_smoothed_derivative_is_that_of_the_path_in_all_data() {
    let mut worst = 0.0_f64;
    for (name, cones, _) in families() {
        for (seed, mu) in [(1, 1e-1), (2, 1e-2)] {
            let (program, solution) = family(&cones, seed);
            let derivative =
                Derivative::smoothed(&program, &solution, mu, &Settings::default()).unwrap();
            let all = DataTangent::random(&program, seed);
            let none = DataTangent::zeros(&program);
            for tangent in [
                DataTangent {
                    p: all.p.clone(),
                    ..none.clone()
                },
                DataTangent {
                    q: all.q.clone(),
                    ..none.clone()
                },
                DataTangent {
                    a: all.a.clone(),
                    ..none.clone()
                },
                DataTangent {
                    b: all.b.clone(),
                    ..none.clone()
                },
            ] {
                let at = |t: f64| path_point(&moved(&program, &tangent, t), &solution, mu);
                let h = 1e-3 * mu.sqrt();
                let [a, b, c, e] = [2.0, 1.0, -1.0, -2.0].map(|k| at(k * h));
                let slope: Vec<f64> = (0..a.len())
                    .map(|i| (8.0 * (b[i] - c[i]) - (a[i] - e[i])) / (12.0 * h))
                    .collect();
                let error = relative(&jvp(&derivative, &tangent), &slope);
                worst = worst.max(error);
                assert!(error <= DIFFERENCES, "{name} {mu:e}: {error:e}");
                // The gradient is the transpose.
                let seed = SolutionTangent::random(&program, 7);
                let vjp = derivative.vjp(&seed).unwrap();
                let forward = derivative.jvp(&tangent).unwrap().value.dot(&seed);
                let backward = vjp.value.dot(&tangent);
                assert!(
                    (forward - backward).abs() <= 1e-10 * norm(&slope),
                    "{name}: {forward} {backward}"
                );
            }
        }
    }
    println!("largest error of the smoothed derivatives: {worst:.1e}");
}

#[test]
fn at_regular_points_the_smoothed_derivative_tends_to_the_exact_one_like_mu() {
    for (name, cones, _) in families() {
        let (mut rates, mut constants) = (Vec::new(), Vec::new());
        for seed in 1..6 {
            let (program, solution) = family(&cones, seed);
            let exact = Derivative::new(&program, &solution, &Settings::default()).unwrap();
            let tangent = DataTangent::random(&program, 3);
            let expected = jvp(&exact, &tangent);
            let error = |mu: f64| {
                let smooth =
                    Derivative::smoothed(&program, &solution, mu, &Settings::default()).unwrap();
                relative(&jvp(&smooth, &tangent), &expected)
            };
            // A block near an edge of its cone comes to its rate late.
            let (far, near) = (error(1e-9), error(1e-11));
            rates.push((far / near).ln() / 100f64.ln());
            constants.push(near / 1e-11);
        }
        println!("{name:>18}: rates {rates:.3?}, error / mu {constants:.1?}");
        for rate in rates {
            assert!((0.9..1.1).contains(&rate), "{name}: {rate}");
        }
    }
}

/// min 1/2 |x - c|^2 over x in K: x is the projection of c.
fn nearest_point(cone: &Cone, c: &[f64]) -> ConeProgram {
    let n = c.len();
    let (ptr, idx): (Vec<usize>, Vec<usize>) = ((0..=n).collect(), (0..n).collect());
    ConeProgram::from_csc(
        (&ptr, &idx, &vec![1.0; n]),
        c.iter().map(|c| -c).collect(),
        (&ptr, &idx, &vec![-1.0; n]),
        vec![0.0; n],
        vec![cone.clone()],
    )
    .unwrap()
}

/// dx/dt of the nearest point to c0 + t d at evenly spaced t in [-0.4, 0.4], none of them 0; mu = 0 is the exact derivative.
fn along(cone: &Cone, c0: &[f64], d: &[f64], count: usize, mu: f64) -> Vec<Vec<f64>> {
    let settings = Settings::default();
    (0..count)
        .map(|k| {
            let t = 0.8 * (k as f64 + 0.5) / count as f64 - 0.4;
            let c: Vec<f64> = c0.iter().zip(d).map(|(c, d)| c + t * d).collect();
            let program = nearest_point(cone, &c);
            let solution = solve(&program, &settings).unwrap();
            let derivative = if mu > 0.0 {
                Derivative::smoothed(&program, &solution, mu, &settings).unwrap()
            } else {
                Derivative::new(&program, &solution, &settings).unwrap()
            };
            let tangent = DataTangent {
                q: d.iter().map(|d| -d).collect(),
                ..DataTangent::zeros(&program)
            };
            derivative.jvp(&tangent).unwrap().value.x
        })
        .collect()
}

fn largest_jump(derivatives: &[Vec<f64>]) -> f64 {
    let jump = |w: &[Vec<f64>]| {
        let d: Vec<f64> = w[0].iter().zip(&w[1]).map(|(a, b)| a - b).collect();
        norm(&d)
    };
    derivatives.windows(2).map(jump).fold(0.0, f64::max)
}

/// A cone, a point of its boundary, and a direction out of it.
fn kinks() -> Vec<(Cone, Vec<f64>, Vec<f64>)> {
    let root = std::f64::consts::SQRT_2;
    vec![
        (Cone::Nonnegative(2), vec![0.0, 1.0], vec![-1.0, 0.3]),
        (
            Cone::SecondOrder(3),
            vec![1.0, 0.6, 0.8],
            vec![-1.0, 0.6, 0.8],
        ),
        (
            Cone::SecondOrder(6),
            vec![2.0, 2.0, 0.0, 0.0, 0.0, 0.0],
            vec![-1.0, 0.3, 0.0, 0.0, 0.0, 1.0],
        ),
        // diag(1, 0) along diag(0, -1) and its off-diagonal.
        (
            Cone::PsdTriangle(2),
            vec![1.0, 0.0, 0.0],
            vec![0.0, 0.1 * root, -1.0],
        ),
        (Cone::Exponential, vec![0.0, 1.0, 1.0], vec![1.0, 1.0, -1.0]),
        (Cone::Power(0.5), vec![1.0, 1.0, 1.0], vec![-0.5, -0.5, 1.0]),
        (
            Cone::GeneralizedPower(vec![0.25, 0.25, 0.5], 1),
            vec![1.0, 1.0, 1.0, 1.0],
            vec![-0.25, -0.25, -0.5, 1.0],
        ),
    ]
}

#[test]
fn through_a_kink_the_smoothed_derivative_is_continuous_and_the_exact_one_is_not() {
    for (cone, c0, d) in kinks() {
        let jumps = |mu: f64| [20, 40, 80].map(|n| largest_jump(&along(&cone, &c0, &d, n, mu)));
        let (exact, smooth) = (jumps(0.0), jumps(1e-2));
        println!(
            "{:>18}: exact {exact:.3?}, smoothed {smooth:.3?}",
            cone.name()
        );
        assert!(
            exact[2] >= 0.8 * exact[0] && exact[2] >= 0.3,
            "{cone:?}: {exact:?}"
        );
        for pair in smooth.windows(2) {
            let ratio = pair[0] / pair[1];
            assert!((1.6..2.4).contains(&ratio), "{cone:?}: {smooth:?}");
        }
    }
}

#[test]
fn at_a_kink_the_smoothed_derivative_is_trusted_where_the_exact_one_is_not() {
    let settings = Settings::default();
    for (cone, c0, d) in kinks() {
        let program = nearest_point(&cone, &c0);
        let solution = solve(&program, &settings).unwrap();
        let exact = Derivative::new(&program, &solution, &settings).unwrap();
        let is_kink = |w: &Warning| matches!(w, Warning::AtKink(_));
        assert!(exact.warnings().iter().any(is_kink), "{cone:?}");
        for mu in [1e-12, 1e-8, 1e-4] {
            let smooth = Derivative::smoothed(&program, &solution, mu, &settings).unwrap();
            let tangent = DataTangent {
                q: d.iter().map(|d| -d).collect(),
                ..DataTangent::zeros(&program)
            };
            let jvp = smooth.jvp(&tangent).unwrap();
            assert!(
                jvp.trusted,
                "{cone:?} {mu:e}: {:?} {:?}",
                jvp.evidence, jvp.warnings
            );
            let size = norm(&jvp.value.x) / norm(&d);
            assert!(size <= 1.0 + 1e-12, "{cone:?} {mu:e}: {size}");
        }
    }
}

#[test]
fn programs_without_an_interior_have_no_path() {
    let settings = Settings::default();
    let not_solved = |program: &ConeProgram, solution: &Solution, what: &str| {
        for mu in [1e-8, 1e-3, 1.0, 1e4] {
            let error = match Derivative::smoothed(program, solution, mu, &settings) {
                Err(e) => e,
                Ok(d) => panic!("{what} {mu:e} {:?}", d.solution()),
            };
            assert!(
                matches!(error, Error::NotSolved { .. }),
                "{what} {mu:e}: {error}"
            );
        }
    };
    // x >= 0 and x <= 0.
    let empty = ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![1.0],
        (&[0, 2], &[0, 1], &[-1.0, 1.0]),
        vec![0.0, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap();
    let solution = Solution::given(&empty, vec![0.0], vec![1.0, 0.0], vec![0.0, 0.0]).unwrap();
    not_solved(&empty, &solution, "x = 0 by inequalities");
    // min x0 over x >= 0: z1 = 0.
    let flat = ConeProgram::from_csc(
        (&[0, 0, 0], &[], &[]),
        vec![1.0, 0.0],
        (&[0, 1, 2], &[0, 1], &[-1.0, -1.0]),
        vec![0.0, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap();
    let solution = Solution::given(&flat, vec![0.0, 1.0], vec![1.0, 0.0], vec![0.0, 1.0]).unwrap();
    not_solved(&flat, &solution, "x1 free of cost");
}

#[test]
fn equalities_alone_and_rows_without_a_bound_are_not_smoothed() {
    let settings = Settings::default();
    let program = ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 2.0]),
        vec![1.0, -1.0],
        (&[0, 2, 4], &[0, 1, 0, 1], &[1.0, 3.0, 1.0, -1.0]),
        vec![1.0, 1e20],
        vec![Cone::Zero(1), Cone::Nonnegative(1)],
    )
    .unwrap();
    let solution = solve(&program, &settings).unwrap();
    let exact = Derivative::new(&program, &solution, &settings).unwrap();
    let smooth = Derivative::smoothed(&program, &solution, 0.1, &settings).unwrap();
    let tangent = DataTangent::random(&program, 1);
    let (a, b) = (exact.jvp(&tangent).unwrap(), smooth.jvp(&tangent).unwrap());
    assert!(a.trusted, "{:?} {:?}", a.evidence, a.warnings);
    assert!(b.trusted, "{:?} {:?}", b.evidence, b.warnings);
    assert!(relative(&b.value.x, &a.value.x) <= 1e-12);
    assert_eq!(
        (smooth.solution().z[1], smooth.solution().s[1]),
        (0.0, 1e20)
    );
    assert_eq!(b.value.s[1], 0.0);
}

#[test]
fn a_weight_that_is_not_positive_and_finite_is_refused() {
    let (program, solution) = family(&[Cone::Nonnegative(2)], 1);
    for mu in [0.0, -1e-3, f64::NAN, f64::INFINITY] {
        let error =
            Derivative::smoothed(&program, &solution, mu, &Settings::default()).unwrap_err();
        assert!(
            matches!(error, Error::Setting { name: "mu", .. }),
            "{error}"
        );
    }
}

#[test]
fn the_path_is_found_for_programs_of_any_condition_and_rank() {
    let settings = Settings::default();
    for (name, cones, _) in families() {
        let rows: usize = cones.iter().map(Cone::rows).sum();
        for seed in 1..13 {
            let generator = Generator::new(rows + 1, cones.clone())
                .with_seed(seed)
                .with_margin(1e-3)
                .with_condition(if seed % 2 == 0 { 1e6 } else { 10.0 })
                .with_rank(if seed % 3 == 0 {
                    rows / 2 + 1
                } else {
                    rows + 1
                });
            let generated = generator.generate().unwrap();
            let program = generated.program();
            let solution = solve(program, &settings).unwrap();
            for mu in [1e-16, 1e-12, 1e-8, 1e-4, 1.0] {
                let derivative = Derivative::smoothed(program, &solution, mu, &settings).unwrap();
                let jvp = derivative.jvp(&DataTangent::random(program, seed)).unwrap();
                assert!(jvp.trusted, "{name} {seed} {mu:e}: {:?}", jvp.warnings);
            }
        }
    }
}

#[test]
fn redundant_equalities_have_a_path_and_a_warning() {
    // min 1/2 |x|^2 - x0 over x >= 0 with x0 + x1 = 1 written twice.
    let program = ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 1.0]),
        vec![-1.0, 0.0],
        (
            &[0, 3, 6],
            &[0, 1, 2, 0, 1, 3],
            &[1.0, 1.0, -1.0, 1.0, 1.0, -1.0],
        ),
        vec![1.0, 1.0, 0.0, 0.0],
        vec![Cone::Zero(2), Cone::Nonnegative(2)],
    )
    .unwrap();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    for mu in [1e-8, 1e-2] {
        let derivative = Derivative::smoothed(&program, &solution, mu, &settings).unwrap();
        let is_singular = |w: &Warning| matches!(w, Warning::Singular { .. });
        assert!(derivative.warnings().iter().any(is_singular) && !derivative.is_trusted_point());
        // x0 - 1 - x1 + mu (1/x1 - 1/x0) = 0 with x1 = 1 - x0.
        let (x0, x1) = (derivative.solution().x[0], derivative.solution().x[1]);
        let residual = x0 - 1.0 - x1 + mu * (1.0 / x1 - 1.0 / x0);
        assert!(
            residual.abs() <= 1e-9 && (x0 + x1 - 1.0).abs() <= 1e-12,
            "{mu:e}: {x0} {x1}"
        );
    }
}
