//! Derivatives along iterations: against differences, reverse against forward, against the implicit derivative, and where they fail.

use conediff::piggyback::{
    AsymmetricSquares, BoxProjection, ForwardBackward, GradientDescent, HeavyBall, KinkWeight,
    LeastSquares, ParametricMap, Piggyback, PiggybackSettings, SoftThreshold, Stop, Storage,
    Tendency, Trend, Verdict,
};
use conediff::{
    Cone, ConeProgram, DataTangent, DenseMatrix, Derivative, Error, Settings, SparseMatrix, solve,
};

use crate::piggyback_problems::{
    Visitor, dense, every_step, identity, inner, lasso, regression, stacked,
};
use crate::support::{ALGEBRA, DIFFERENCES, Random, norm, relative};

/// So many steps, however small.
fn exactly(steps: usize) -> PiggybackSettings {
    PiggybackSettings {
        max_iterations: steps,
        iterate_tolerance: 0.0,
        derivative_tolerance: 0.0,
        ..PiggybackSettings::default()
    }
}

fn tight() -> PiggybackSettings {
    PiggybackSettings {
        max_iterations: 100_000,
        iterate_tolerance: 3e-15,
        derivative_tolerance: 1e-14,
        ..PiggybackSettings::default()
    }
}

fn moved(x: &[f64], t: f64, d: &[f64]) -> Vec<f64> {
    x.iter().zip(d).map(|(x, d)| x + t * d).collect()
}

/// (f(t) - f(-t)) / 2 t, t = 1e-6.
fn difference(f: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let (up, down) = (f(1e-6), f(-1e-6));
    up.iter().zip(&down).map(|(u, d)| (u - d) / 2e-6).collect()
}

fn column(j: usize, p: usize) -> DenseMatrix {
    let mut data = vec![0.0; p];
    data[j] = 1.0;
    DenseMatrix {
        rows: p,
        cols: 1,
        data,
    }
}

struct Elements(usize);

impl Visitor for Elements {
    fn visit<M: ParametricMap>(&mut self, name: &str, map: &M, start: &[f64], theta: &[f64]) {
        self.0 += 1;
        let (n, p) = (start.len(), theta.len());
        let mut random = Random::new(11);
        let x = moved(start, 0.7, &random.normal_vec(n));
        let (dx, w) = (random.normal_vec(n), random.normal_vec(n));
        let dtheta: Vec<f64> = random.normal_vec(p).iter().map(|d| 0.1 * d).collect();
        let value = |t: f64| {
            let mut out = vec![0.0; n];
            let (x, theta) = (moved(&x, t, &dx), moved(theta, t, &dtheta));
            map.value(0, &x, &theta, &mut out).unwrap();
            out
        };
        let mut out = vec![0.0; n];
        let element = map.value(0, &x, theta, &mut out).unwrap();
        map.apply(&element, &dx, &dtheta, &mut out).unwrap();
        let error = relative(&out, &difference(value));
        assert!(error <= DIFFERENCES, "{name}: {error:e}");

        let (mut to_x, mut to_theta) = (vec![0.0; n], vec![0.0; p]);
        map.apply_transpose(&element, &w, &mut to_x, &mut to_theta)
            .unwrap();
        let gap = inner(&w, &out) - inner(&to_x, &dx) - inner(&to_theta, &dtheta);
        let scale = norm(&w) * norm(&out) + norm(&to_x) * norm(&dx) + norm(&to_theta);
        assert!(gap.abs() <= ALGEBRA * scale, "{name}: {gap:e}");
    }
}

#[test]
fn elements_of_every_step_are_derivatives_off_kinks_and_their_transposes_adjoint() {
    let mut all = Elements(0);
    every_step(&mut all);
    assert_eq!(all.0, 10);
}

struct Runs;

impl Visitor for Runs {
    fn visit<M: ParametricMap>(&mut self, name: &str, map: &M, start: &[f64], theta: &[f64]) {
        let (n, p) = (start.len(), theta.len());
        let mut random = Random::new(12);
        let settings = exactly(60);
        // The start depends on theta too.
        let first = DenseMatrix {
            rows: n,
            cols: p,
            data: random.normal_vec(n * p).iter().map(|v| 0.1 * v).collect(),
        };
        let run = |settings| {
            Piggyback::new(map, start, theta, settings)
                .unwrap()
                .with_start_jacobian(first.clone())
                .unwrap()
        };
        let forward = run(settings).jacobian().unwrap();
        assert_eq!(
            (forward.iterations, forward.stop),
            (60, Stop::IterationLimit)
        );

        let d: Vec<f64> = random.normal_vec(p).iter().map(|d| 0.1 * d).collect();
        let product = |matrix: &DenseMatrix| {
            let mut out = vec![0.0; n];
            for (j, d) in d.iter().enumerate() {
                out = moved(&out, *d, matrix.column(j).unwrap());
            }
            out
        };
        let last = |t: f64| {
            let start = moved(start, t, &product(&first));
            let run = Piggyback::new(map, &start, &moved(theta, t, &d), settings).unwrap();
            run.tape().unwrap().x().to_vec()
        };
        let error = relative(&product(&forward.jacobian), &difference(last));
        assert!(error <= DIFFERENCES, "{name}, differences: {error:e}");

        let directions = DenseMatrix {
            rows: p,
            cols: 1,
            data: d.clone(),
        };
        let along = run(settings).along(&directions).unwrap();
        let error = relative(&along.jacobian.data, &product(&forward.jacobian));
        assert!(error <= ALGEBRA, "{name}, one direction: {error:e}");

        let w = random.normal_vec(n);
        let expected: Vec<f64> = (0..p)
            .map(|j| inner(forward.jacobian.column(j).unwrap(), &w))
            .collect();
        for storage in [Storage::Elements, Storage::Iterates] {
            let tape = run(PiggybackSettings {
                storage,
                ..settings
            })
            .tape()
            .unwrap();
            assert_eq!((tape.x(), tape.iterations()), (&*forward.x, 60));
            let gradient = tape.gradient(&w).unwrap();
            let error = relative(&gradient.theta, &expected);
            assert!(error <= ALGEBRA, "{name}, reverse: {error:e}");
        }
    }
}

#[test]
fn runs_agree_with_central_differences_and_reverse_with_forward() {
    every_step(&mut Runs);
}

struct Limits;

impl Visitor for Limits {
    fn visit<M: ParametricMap>(&mut self, name: &str, map: &M, start: &[f64], theta: &[f64]) {
        let run = Piggyback::new(map, start, theta, tight()).unwrap();
        let forward = run.jacobian().unwrap();
        let limit = run.limit(&forward.x).unwrap();
        let error = forward.distance_to(&limit).unwrap();
        println!(
            "{name:26} K {:5}  error {error:.1e}  rates {:.4} {:.4}  radius {:.4}  moved {:.0e}",
            forward.iterations,
            forward.iterates.rate,
            forward.derivative.rate,
            limit.spectral_radius,
            limit.moved
        );
        assert!(error <= 1e-9, "{name}: {error:e}");
        assert_eq!(forward.verdict(), Verdict::Converging, "{name}");
        assert!(limit.residual <= ALGEBRA && limit.spectral_radius < 1.0);

        // Reverse at the limit, and the limit in one direction.
        let w = Random::new(13).normal_vec(start.len());
        let expected: Vec<f64> = (0..theta.len())
            .map(|j| inner(limit.jacobian.column(j).unwrap(), &w))
            .collect();
        let along = run
            .limit_along(&forward.x, &column(1, theta.len()))
            .unwrap();
        assert_eq!(along.jacobian.data, limit.jacobian.column(1).unwrap());
        let gradient = run.tape().unwrap().gradient(&w).unwrap();
        assert!(relative(&gradient.theta, &expected) <= 1e-9, "{name}");
        assert!(gradient.trend.is_converging(), "{name}");
    }
}

#[test]
fn limits_off_kinks_are_the_implicit_derivative_to_nine_digits() {
    every_step(&mut Limits);
}

#[test]
fn nonnegative_least_squares_has_the_derivative_of_its_cone_program() {
    let r = regression(12, 5, 2, 3);
    let bounds = BoxProjection::new(vec![0.0; 5], vec![f64::INFINITY; 5]).unwrap();
    let map = ForwardBackward::new(LeastSquares::new(r.x.clone()), bounds, 1.0 / r.lipschitz);
    let (map, theta) = (map.unwrap(), stacked(1.0, &r.y));
    let forward = Piggyback::new(&map, &[0.0; 5], &theta, tight())
        .unwrap()
        .jacobian()
        .unwrap();

    // minimize 1/2 x'X'Xx - (X'y)'x, x >= 0.
    let values = r.x.values();
    let rows = r.y.len();
    let of = |j: usize| &values[j * rows..(j + 1) * rows];
    let upper: Vec<f64> = (0..5)
        .flat_map(|j| (0..=j).map(move |i| (i, j)))
        .map(|(i, j)| inner(of(i), of(j)))
        .collect();
    let indptr: Vec<usize> = (0..=5).map(|j| j * (j + 1) / 2).collect();
    let indices: Vec<usize> = (0..5).flat_map(|j| 0..=j).collect();
    let units: Vec<usize> = (0..=5).collect();
    let program = ConeProgram::from_csc(
        (&indptr, &indices, &upper),
        (0..5).map(|j| -inner(of(j), &r.y)).collect(),
        (&units, &units[..5], &[-1.0; 5]),
        vec![0.0; 5],
        vec![Cone::Nonnegative(5)],
    )
    .unwrap();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    assert!(relative(&forward.x, &solution.x) <= 1e-9);
    assert!(forward.x.contains(&0.0) && forward.x.iter().any(|x| *x > 0.1));
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    for k in 0..rows {
        let mut tangent = DataTangent::zeros(&program);
        (0..5).for_each(|j| tangent.q[j] = -of(j)[k]);
        let known = derivative.jvp(&tangent).unwrap().value.x;
        assert!(relative(forward.jacobian.column(k + 1).unwrap(), &known) <= 1e-9);
    }
}

/// Curvatures 1 and 1/4, step 1, momentum 3/4, at rest on the kink; theta = (ridge, y).
fn ball(kink: KinkWeight, steps: usize) -> conediff::piggyback::Propagated {
    let loss = AsymmetricSquares::new(1, 0.25, 1.0)
        .unwrap()
        .with_kink(kink)
        .unwrap();
    let ball = HeavyBall::new(loss, 1.0, 0.75).unwrap();
    let run = Piggyback::new(&ball, &[0.0; 2], &[0.0; 2], exactly(steps)).unwrap();
    run.along(&column(1, 2)).unwrap()
}

#[test]
fn heavy_ball_derivatives_diverge_at_a_kink_though_the_iterates_rest() {
    let kink = KinkWeight::Cycle(vec![1.0, 1.0, 0.0, 0.0]);
    let run = ball(kink.clone(), 200);
    let known = [
        (40, 3.18),
        (80, 13.5),
        (120, 47.0),
        (160, 155.8),
        (200, 509.0),
    ];
    for (k, size) in known {
        println!("|J_{k}| = {:.4} (reference {size})", run.sizes[k - 1]);
        // As far as the reference has digits.
        assert!((run.sizes[k - 1] - size).abs() <= 5e-3 * size);
    }
    println!("{:?}", run.derivative);
    assert_eq!(run.x, [0.0; 2]);
    assert!(run.iterates.is_converging());
    assert_eq!(run.derivative.tendency, Tendency::Diverging);
    assert_eq!(run.verdict(), Verdict::DerivativeFails);
    assert!((run.derivative.rate / 1.125f64.powf(0.25) - 1.0).abs() <= 0.02);

    let long = ball(kink, 2_000);
    assert_eq!(long.stop, Stop::DerivativeDiverged);
    println!("stopped after {}", long.iterations);
}

#[test]
fn each_heavy_ball_matrix_contracts_and_their_product_does_not() {
    let loss = AsymmetricSquares::new(1, 0.25, 1.0).unwrap();
    let ball = HeavyBall::new(loss, 1.0, 0.75).unwrap();
    let matrix = |x: f64| {
        let mut out = [0.0; 2];
        let element = ball.value(0, &[x, x], &[0.0; 2], &mut out).unwrap();
        let mut apply = |d: [f64; 2]| {
            ball.apply(&element, &d, &[0.0; 2], &mut out).unwrap();
            out
        };
        [apply([1.0, 0.0]), apply([0.0, 1.0])]
    };
    let (m1, m2) = (matrix(1.0), matrix(-1.0));
    assert_eq!(m1, [[0.75, 1.0], [-0.75, 0.0]]);
    assert_eq!(m2, [[1.5, 1.0], [-0.75, 0.0]]);
    for x in [1.0, -1.0] {
        let run = Piggyback::new(&ball, &[x; 2], &[0.0; 2], exactly(1)).unwrap();
        let radius = run.limit(&[x; 2]).unwrap().spectral_radius;
        println!("spectral radius {radius:.4}");
        assert!((radius - 0.75f64.sqrt()).abs() <= ALGEBRA);
    }
    // Columns of a b.
    let times = |a: [[f64; 2]; 2], b: [[f64; 2]; 2]| {
        b.map(|c| [0, 1].map(|i| a[0][i] * c[0] + a[1][i] * c[1]))
    };
    let [[a, c], [b, d]] = times(times(m1, m1), times(m2, m2));
    let root = ((a - d) * (a - d) + 4.0 * b * c).sqrt();
    let eigenvalue = (a + d - root) / 2.0;
    println!("eigenvalue of M1 M1 M2 M2: {eigenvalue}");
    assert!((eigenvalue + 1.125).abs() <= ALGEBRA);
}

#[test]
fn a_single_selection_lets_the_heavy_ball_converge() {
    for kink in [KinkWeight::Active, KinkWeight::Inactive, KinkWeight::Half] {
        let run = ball(kink, 400);
        assert_eq!(run.verdict(), Verdict::Converging);
        // The minimizer of phi(x - y) is y.
        assert!((run.jacobian.data[0] - 1.0).abs() <= 1e-12);
    }
}

#[test]
fn a_heavy_ball_from_outside_converges_to_the_minimizer() {
    let loss = AsymmetricSquares::new(1, 0.25, 1.0).unwrap();
    let ball = HeavyBall::new(loss, 1.0, 0.75).unwrap();
    let run = Piggyback::new(&ball, &[1.0, 1.0], &[0.0; 2], exactly(400)).unwrap();
    let tape = run.tape().unwrap();
    assert!(norm(tape.x()) <= 1e-12 && tape.iterates().is_converging());
}

/// x_k = sin(k theta) / k, k = 1, 2, ...
struct Sine;

impl ParametricMap for Sine {
    type Element = f64;
    fn dimension(&self) -> usize {
        1
    }
    fn parameters(&self) -> usize {
        1
    }
    fn value(
        &self,
        number: usize,
        _: &[f64],
        theta: &[f64],
        out: &mut [f64],
    ) -> Result<f64, Error> {
        let k = (number + 1) as f64;
        out[0] = (k * theta[0]).sin() / k;
        Ok((k * theta[0]).cos())
    }
    fn apply(&self, e: &f64, _: &[f64], dtheta: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out[0] = e * dtheta[0];
        Ok(())
    }
    fn apply_transpose(
        &self,
        e: &f64,
        w: &[f64],
        dx: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<(), Error> {
        (dx[0], dtheta[0]) = (0.0, e * w[0]);
        Ok(())
    }
}

#[test]
fn a_sequence_that_converges_without_its_derivatives_is_seen() {
    for theta in [0.3, 1.0, 2.0, 3.0] {
        for steps in [500, 2_000, 10_000] {
            let run = Piggyback::new(&Sine, &[0.0], &[theta], exactly(steps)).unwrap();
            let run = run.jacobian().unwrap();
            println!("{theta} {steps}: {:?} {:?}", run.iterates, run.derivative);
            assert!(run.x[0].abs() <= 1.0 / steps as f64);
            assert_eq!(run.verdict(), Verdict::DerivativeFails);
            assert_eq!(run.derivative.tendency, Tendency::Stalled);
            assert!((run.derivative.rate - 1.0).abs() <= 0.01);
        }
    }
}

#[test]
fn trends_tell_summable_changes_from_others() {
    let of =
        |f: &dyn Fn(f64) -> f64| Trend::of(&(1..400).map(|k| f(f64::from(k))).collect::<Vec<_>>());
    let geometric = of(&|k| 5.0 * 0.95f64.powf(k) * (1.2 + (0.7 * k).sin()));
    assert!(geometric.is_converging() && (geometric.rate - 0.95).abs() <= 0.01);
    let limit = geometric.last * 0.95 / 0.05;
    assert!((geometric.remaining / limit - 1.0).abs() <= 0.2);
    let single = of(&|k| 0.95f64.powf(k) * if k % 17.0 == 0.0 { 1e6 } else { 1.0 });
    assert!((single.rate - 0.95).abs() <= 1e-12);
    let rounding = of(&|k| 0.5f64.powf(k).max(1e-16));
    assert!(rounding.is_converging() && (rounding.rate - 0.5).abs() <= 1e-12);
    assert!(of(&|k| k.powi(-2)).is_converging());
    assert_eq!(of(&|k| k.powf(-0.7)).tendency, Tendency::Stalled);
    assert_eq!(of(&|k| 1.01f64.powf(k)).tendency, Tendency::Diverging);
    assert_eq!(of(&|_| 0.0).rate, 0.0);
    assert_eq!(Trend::of(&[1.0, 0.5]).tendency, Tendency::TooShort);
    assert_eq!(Trend::of(&[]).tendency, Tendency::TooShort);
    assert!(Trend::of(&[1.0, 0.0, 0.0, 0.0]).is_converging());
}

#[test]
fn selections_at_thresholds_and_bounds_are_the_weights_chosen() {
    let weights = [
        (KinkWeight::Inactive, 0.0),
        (KinkWeight::Active, 1.0),
        (KinkWeight::Half, 0.5),
        (KinkWeight::Cycle(vec![0.0, 0.25]), 0.25),
    ];
    for (kink, weight) in weights {
        let mut out = [0.0; 2];
        let soft = SoftThreshold::new(vec![1.0; 2]).unwrap();
        let soft = soft.with_kink(kink.clone()).unwrap();
        let e = soft.value(1, &[1.0, -1.0], &[1.0], &mut out).unwrap();
        assert_eq!(e.slopes, [weight; 2]);
        // A direction that stays on the threshold: dv = dt sign(v).
        soft.apply(&e, &[0.3, -0.3], &[0.3], &mut out).unwrap();
        assert_eq!(out, [0.0; 2]);
        let bounds = BoxProjection::new(vec![0.0, 1.0], vec![1.0, 1.0]).unwrap();
        let bounds = bounds.with_kink(kink).unwrap();
        let e = bounds.value(1, &[1.0, 1.0], &[1.0], &mut out).unwrap();
        assert_eq!(e.slopes, [weight, 0.0]);
    }
    let soft = SoftThreshold::new(vec![0.0]).unwrap();
    let e = soft.value(0, &[0.0], &[2.0], &mut [1.0]).unwrap();
    assert_eq!(e.slopes, [1.0]);
}

#[test]
fn a_step_too_long_is_a_divergence_with_numbers() {
    let loss = LeastSquares::new(dense(1, 1, &[1.0]));
    let map = GradientDescent::new(loss, 3.0).unwrap();
    let run = Piggyback::new(&map, &[0.0], &[0.0, 1.0], PiggybackSettings::default()).unwrap();
    let error = run.jacobian().unwrap_err();
    println!("{error}");
    let Error::Diverged {
        iterations,
        size,
        rate,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(iterations < 50 && size > 1e9 && (rate - 2.0).abs() < 1e-6);
    assert!(run.tape().is_err());
}

struct Poison;

impl ParametricMap for Poison {
    type Element = ();
    fn dimension(&self) -> usize {
        2
    }
    fn parameters(&self) -> usize {
        0
    }
    fn value(&self, k: usize, _: &[f64], _: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out[1] = if k == 4 { f64::NAN } else { 1.0 };
        Ok(())
    }
    fn apply(&self, _: &(), _: &[f64], _: &[f64], _: &mut [f64]) -> Result<(), Error> {
        Ok(())
    }
    fn apply_transpose(
        &self,
        _: &(),
        _: &[f64],
        _: &mut [f64],
        _: &mut [f64],
    ) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn nan_is_named_with_its_place_and_step() {
    let error = Piggyback::new(&Poison, &[0.0; 2], &[], exactly(9))
        .unwrap()
        .jacobian()
        .unwrap_err();
    println!("{error}");
    assert!(matches!(
        error,
        Error::NonFiniteIterate {
            iterations: 5,
            index: 1,
            ..
        }
    ));
}

#[test]
fn a_singular_limit_is_refused() {
    // |x_1 + x_2 - y|^2 / 2: the minimizer is not unique.
    let loss = LeastSquares::new(dense(1, 2, &[1.0, 1.0]));
    let map = GradientDescent::new(loss, 0.4).unwrap();
    let run = Piggyback::new(&map, &[0.0; 2], &[0.0, 1.0], PiggybackSettings::default()).unwrap();
    let error = run.limit(&[0.5, 0.5]).unwrap_err();
    println!("{error}");
    assert!(matches!(error, Error::Singular { what: "I - A", .. }));
}

#[test]
fn what_does_not_fit_is_refused() {
    let r = regression(6, 3, 1, 1);
    let (map, theta) = lasso(&r, 0.3);
    let settings = PiggybackSettings::default();
    let is_dimension = |e: Error| matches!(e, Error::Dimension { .. });
    let is_setting = |e: Error| matches!(e, Error::Setting { .. });
    let new = |start: &[f64], theta: &[f64]| Piggyback::new(&map, start, theta, settings);
    assert!(is_dimension(new(&[0.0; 2], &theta).unwrap_err()));
    assert!(is_dimension(new(&[0.0; 3], &[]).unwrap_err()));
    assert!(matches!(
        new(&[f64::NAN; 3], &theta).unwrap_err(),
        Error::NonFinite { .. }
    ));
    let run = new(&[0.0; 3], &theta).unwrap();
    assert!(is_dimension(run.along(&column(0, 3)).unwrap_err()));
    assert!(is_dimension(run.limit(&[0.0; 2]).unwrap_err()));
    assert!(is_dimension(
        run.limit_along(&[0.0; 3], &column(0, 2)).unwrap_err()
    ));
    let tape = run.tape().unwrap();
    assert!(is_dimension(tape.gradient(&[1.0]).unwrap_err()));
    let element = map.value(0, &[0.0; 3], &theta, &mut [0.0; 3]).unwrap();
    let wrong = map.apply(&element, &[0.0; 3], &theta, &mut [0.0; 4]);
    assert!(is_dimension(wrong.unwrap_err()));
    let wrong = map.apply_transpose(&element, &[0.0; 3], &mut [0.0; 3], &mut []);
    assert!(is_dimension(wrong.unwrap_err()));

    // A negative l1 weight comes with theta.
    let negative = stacked(-1.0, &r.y);
    assert!(is_setting(
        new(&[0.0; 3], &negative).unwrap().jacobian().unwrap_err()
    ));
    let small = PiggybackSettings {
        max_dense_bytes: 100,
        ..settings
    };
    let run = Piggyback::new(&map, &[0.0; 3], &theta, small).unwrap();
    assert!(matches!(
        run.jacobian().unwrap_err(),
        Error::TooLarge { .. }
    ));
    for bad in [
        PiggybackSettings {
            iterate_tolerance: f64::NAN,
            ..settings
        },
        PiggybackSettings {
            derivative_tolerance: -1.0,
            ..settings
        },
        PiggybackSettings {
            divergence: 0.5,
            ..settings
        },
    ] {
        assert!(is_setting(bad.validate().unwrap_err()));
    }
    assert!(is_setting(
        GradientDescent::new(LeastSquares::new(r.x.clone()), -1.0).unwrap_err()
    ));
    assert!(is_setting(
        HeavyBall::new(LeastSquares::new(r.x.clone()), 0.1, 1.0).unwrap_err()
    ));
    assert!(is_setting(SoftThreshold::new(vec![-1.0]).unwrap_err()));
    assert!(is_setting(
        BoxProjection::new(vec![1.0], vec![0.0]).unwrap_err()
    ));
    assert!(is_setting(
        KinkWeight::Cycle(vec![1.5]).validate().unwrap_err()
    ));
    assert!(matches!(
        KinkWeight::Cycle(vec![]).validate().unwrap_err(),
        Error::Empty { .. }
    ));
    let two = SoftThreshold::new(vec![1.0; 2]).unwrap();
    let loss = LeastSquares::new(r.x);
    assert!(is_dimension(
        ForwardBackward::new(loss, two.clone(), 0.1).unwrap_err()
    ));
    // X and D vanish on the same vector.
    let nothing = SparseMatrix::from_csc("X", 1, 2, &[0, 0, 0], &[], &[]).unwrap();
    let first = SparseMatrix::from_csc("D", 2, 2, &[0, 1, 1], &[0], &[1.0]).unwrap();
    let singular = conediff::piggyback::Admm::new(nothing, first, two, 1.0).unwrap_err();
    println!("{singular}");
    assert!(matches!(singular, Error::Singular { .. }));
}

#[test]
fn nothing_to_iterate_is_no_trouble() {
    let loss = LeastSquares::new(identity(0));
    let map = GradientDescent::new(loss, 1.0).unwrap();
    let run = Piggyback::new(&map, &[], &[1.0], PiggybackSettings::default()).unwrap();
    let forward = run.jacobian().unwrap();
    assert_eq!((forward.jacobian.rows, forward.jacobian.cols), (0, 1));
    assert_eq!(run.limit(&[]).unwrap().spectral_radius, 0.0);
    assert_eq!(run.tape().unwrap().gradient(&[]).unwrap().theta, [0.0]);
}
