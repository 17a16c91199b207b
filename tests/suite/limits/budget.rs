//! Time and cancellation: every call stops, at a step, with an error that says where; what comes back is what would have come.

use conediff::piggyback::{ParametricMap, Piggyback, PiggybackSettings};
use conediff::systems::equilibrium::{
    Activation, EquilibriumLayer, EquilibriumSettings, MonotoneWeights,
};
use conediff::systems::lasso::{Design, FitSettings, Penalty, SparseRegression};
use conediff::{
    Budget, Cancel, ClarabelLinearSolver, Cone, ConeProgram, ConicLayer, DataTangent, DenseMatrix,
    Derivative, Error, FamilyCertificate, ForwardSolver, Generator, GradcheckSettings, LayerData,
    LayerSettings, LinearBackend, LinearSolver, LsqrSettings, LsqrStop, Policy, ProgramBuilder,
    Result, Selection, SelectionFamily, Settings, Solution, SolutionTangent, SplittingSettings,
    Status, VariationalDerivative, VariationalInequality, gradcheck, gradcheck_at,
    gradcheck_function, interior_point, least_norm_in_hull, lsqr, refine, regularity, solve,
};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::families::{self, Family};
use crate::support::Random;

/// One of the library's calls, its answer dropped.
type Call<'a> = Box<dyn Fn() -> Result<()> + 'a>;

fn cancelled() -> Budget {
    let stop = Cancel::new();
    stop.cancel();
    Budget::default().with_cancel(&stop)
}

fn at_once() -> Budget {
    Budget::default().with_time_limit(Duration::ZERO)
}

fn is_spent(error: &Error) -> bool {
    matches!(error, Error::TimeLimit { .. } | Error::Cancelled { .. })
}

fn square(n: usize, data: Vec<f64>) -> DenseMatrix {
    DenseMatrix {
        rows: n,
        cols: n,
        data,
    }
}

/// x / 2 + theta, and a look at each step.
struct Halving<F: Fn(usize)>(F);

impl<F: Fn(usize)> ParametricMap for Halving<F> {
    type Element = ();
    fn dimension(&self) -> usize {
        1
    }
    fn parameters(&self) -> usize {
        1
    }
    fn value(&self, number: usize, x: &[f64], theta: &[f64], out: &mut [f64]) -> Result<()> {
        (self.0)(number);
        out[0] = 0.5 * x[0] + theta[0];
        Ok(())
    }
    fn apply(&self, (): &(), dx: &[f64], dtheta: &[f64], out: &mut [f64]) -> Result<()> {
        out[0] = 0.5 * dx[0] + dtheta[0];
        Ok(())
    }
    fn apply_transpose(
        &self,
        (): &(),
        w: &[f64],
        dx: &mut [f64],
        dtheta: &mut [f64],
    ) -> Result<()> {
        (dx[0], dtheta[0]) = (0.5 * w[0], w[0]);
        Ok(())
    }
}

fn endless() -> PiggybackSettings {
    PiggybackSettings {
        max_iterations: usize::MAX,
        iterate_tolerance: 0.0,
        derivative_tolerance: 0.0,
        ..PiggybackSettings::default()
    }
}

/// A kink: the bound is active and its multiplier zero.
fn at_kink(settings: &Settings) -> Derivative {
    let mut builder = ProgramBuilder::new(2);
    for j in 0..2 {
        builder.quadratic(j, j, 1.0);
    }
    builder.bounds([0, 1], 0.0, f64::INFINITY);
    let program = builder.build().unwrap();
    Derivative::new(&program, &solve(&program, settings).unwrap(), settings).unwrap()
}

/// minimize x_0^2 / 2 subject to x_0 + x_1 >= 1, x_1 >= 0 and the first row twice: nothing is unique but x_0.
fn singular() -> ConeProgram {
    let mut builder = ProgramBuilder::new(2);
    builder.quadratic(0, 0, 1.0);
    for _ in 0..2 {
        builder.inequality(&[(0, -1.0), (1, -1.0)], -1.0);
    }
    builder.bounds([1], 0.0, 4.0);
    builder.build().unwrap()
}

#[test]
fn a_spent_budget_stops_every_call() {
    let family = families::ball(6, 6, 0);
    let program = &family.program;
    let settings = Settings::default();
    let solution = solve(program, &settings).unwrap();
    let derivative = Derivative::new(program, &solution, &settings).unwrap();
    let kink = at_kink(&settings);
    let (tangent, cotangent) = (
        DataTangent::random(program, 1),
        SolutionTangent::random(program, 2),
    );
    let kink_tangent = DataTangent::random(kink.program(), 3);
    // A point where the policies have something to do: a bound that nothing pushes against, x_1 free.
    let singular = singular();
    let singular_solution = solve(&singular, &settings).unwrap();
    let with = |policy| {
        let settings = settings.with_policy(policy);
        let (singular, solution) = (&singular, &singular_solution);
        move || Derivative::new(singular, solution, &settings).map(drop)
    };
    let map = Halving(|_| ());
    let run = Piggyback::new(&map, &[0.0], &[1.0], PiggybackSettings::default()).unwrap();
    let again = || Piggyback::new(&map, &[0.0], &[1.0], PiggybackSettings::default()).unwrap();
    let tape = again().tape().unwrap();
    let mut random = Random::new(1);
    let x = DenseMatrix {
        rows: 12,
        cols: 4,
        data: random.normal_vec(48),
    };
    let design = Design::dense(x).unwrap();
    let regression = SparseRegression::least_squares(design, random.normal_vec(12)).unwrap();
    let penalty = Penalty::lasso(0.5);
    let weights = MonotoneWeights {
        m: 1.0,
        a: square(3, random.normal_vec(9)),
        b: square(3, random.normal_vec(9)),
    };
    let u = DenseMatrix {
        rows: 3,
        cols: 1,
        data: vec![1.0; 3],
    };
    let equilibrium = EquilibriumLayer::new(weights, u, vec![0.5; 3], Activation::Relu).unwrap();
    let input = DenseMatrix {
        rows: 1,
        cols: 1,
        data: vec![1.0],
    };
    let fixed = equilibrium
        .forward(&input, &EquilibriumSettings::default())
        .unwrap();
    let inequality = variational();
    let found = inequality
        .solve(&SplittingSettings::default(), &settings)
        .unwrap();

    let calls: Vec<(&str, Call<'_>)> = vec![
        (
            "interior_point",
            Box::new(|| interior_point(program, &settings.solve).map(drop)),
        ),
        ("solve", Box::new(|| solve(program, &settings).map(drop))),
        (
            "refine",
            Box::new(|| {
                let rough = interior_point(program, &settings.solve);
                // The point is there before the budget: only its refinement is asked for.
                refine(program, rough.as_ref().unwrap_or(&solution), &settings).map(drop)
            }),
        ),
        (
            "Derivative::new",
            Box::new(|| Derivative::new(program, &solution, &settings).map(drop)),
        ),
        ("jvp", Box::new(|| derivative.jvp(&tangent).map(drop))),
        ("vjp", Box::new(|| derivative.vjp(&cotangent).map(drop))),
        (
            "jvp of zero",
            Box::new(|| derivative.jvp(&DataTangent::zeros(program)).map(drop)),
        ),
        (
            "jvp_many",
            Box::new(|| {
                derivative
                    .jvp_many(std::slice::from_ref(&tangent))
                    .map(drop)
            }),
        ),
        ("jacobian", Box::new(|| derivative.jacobian().map(drop))),
        ("regularity", Box::new(|| derivative.regularity().map(drop))),
        (
            "regularity at a kink",
            Box::new(|| kink.regularity_within(1e-3).map(drop)),
        ),
        (
            "regularity of a program",
            Box::new(|| regularity(program, &solution, &settings).map(drop)),
        ),
        (
            "directional",
            Box::new(|| kink.directional(&kink_tangent).map(drop)),
        ),
        (
            "with_selection",
            Box::new(|| kink.with_selection(Selection::Active).map(drop)),
        ),
        (
            "jvp_ambiguity",
            Box::new(|| kink.jvp_ambiguity(&kink_tangent).map(drop)),
        ),
        (
            "gradcheck",
            Box::new(|| gradcheck(program, &settings, &GradcheckSettings::default()).map(drop)),
        ),
        (
            "gradcheck_at",
            Box::new(|| {
                gradcheck_at(&derivative, &settings, &GradcheckSettings::default()).map(drop)
            }),
        ),
        (
            "gradcheck_function",
            Box::new(|| {
                let check = GradcheckSettings::default();
                gradcheck_function(|x| Ok(x[0]), &[1.0], &[1.0], 1, &check).map(drop)
            }),
        ),
        ("Tikhonov", Box::new(with(Policy::Tikhonov { rho: 1e-3 }))),
        ("smoothing", Box::new(with(Policy::Smoothing { mu: 1e-3 }))),
        ("piggyback", Box::new(|| run.jacobian().map(drop))),
        ("tape", Box::new(|| again().tape().map(drop))),
        (
            "tape's gradient",
            Box::new(|| tape.gradient(&[1.0]).map(drop)),
        ),
        ("limit", Box::new(|| run.limit(&[2.0]).map(drop))),
        (
            "lasso",
            Box::new(|| regression.fit(&penalty, &FitSettings::default()).map(drop)),
        ),
        (
            "equilibrium",
            Box::new(|| {
                equilibrium
                    .forward(&input, &EquilibriumSettings::default())
                    .map(drop)
            }),
        ),
        (
            "equilibrium's derivative",
            Box::new(|| equilibrium.derivative(&input, &fixed, &settings).map(drop)),
        ),
        (
            "variational",
            Box::new(|| {
                inequality
                    .solve(&SplittingSettings::default(), &settings)
                    .map(drop)
            }),
        ),
        (
            "variational derivative",
            Box::new(|| VariationalDerivative::new(&inequality, &found, &settings).map(drop)),
        ),
        (
            "hull",
            Box::new(|| least_norm_in_hull(&[vec![1.0, 2.0], vec![-1.0, 0.5]]).map(drop)),
        ),
        (
            "layer",
            Box::new(|| {
                let mut layer = ConicLayer::new(program, LayerSettings::default())?;
                layer.forward_program(program).map(drop)
            }),
        ),
    ];
    for (name, call) in &calls {
        assert!(call().is_ok(), "{name}: {:?}", call().unwrap_err());
        let outcome = cancelled().run(call);
        assert!(outcome.is_err(), "{name} does not look");
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{name}: {error}");
        let outcome = at_once().run(call);
        assert!(outcome.is_err(), "{name} does not look");
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, Error::TimeLimit { limit: 0.0, elapsed, .. } if elapsed >= 0.0),
            "{name}: {error}"
        );
        assert!(call().is_ok(), "{name}: the budget is still there");
    }
}

/// A rotation beside the identity: monotone, not symmetric.
fn variational() -> VariationalInequality {
    let p = square(2, vec![1.0, -2.0, 2.0, 1.0]).to_sparse("P").unwrap();
    let a = square(2, vec![-1.0, 0.0, 0.0, -1.0])
        .to_sparse("A")
        .unwrap();
    let cones = vec![Cone::Nonnegative(2)];
    VariationalInequality::new(p, vec![-1.0, 0.5], a, vec![0.0; 2], cones).unwrap()
}

/// Solution, gradient and tangent.
fn everything(
    family: &Family,
    settings: &Settings,
) -> Result<(Solution, DataTangent, SolutionTangent)> {
    let program = &family.program;
    let solution = solve(program, settings)?;
    let derivative = Derivative::new(program, &solution, settings)?;
    let gradient = derivative.vjp(&SolutionTangent::random(program, 1))?.value;
    let tangent = derivative.jvp(&DataTangent::random(program, 2))?.value;
    derivative.regularity()?;
    Ok((solution, gradient, tangent))
}

#[test]
fn whatever_the_time_limit_an_answer_is_an_error_or_the_answer_to_the_last_bit() {
    let mut steps = BTreeSet::new();
    for solver in [LinearSolver::Auto, LinearSolver::Lu, LinearSolver::Lsqr] {
        let settings = Settings::default().with_linear_solver(solver);
        for family in [
            families::qp_dense(20, 5, 20, 0),
            families::ball(8, 8, 0),
            families::power(4, 0),
            families::max_cut(5, 0),
        ] {
            let start = Instant::now();
            let expected = everything(&family, &settings).unwrap();
            let whole = start.elapsed();
            let (mut stopped, mut done) = (0, 0);
            for k in 0..40 {
                // Up to twice the time, more densely at its beginning.
                let share = 2.0 * (f64::from(k) / 39.0).powi(2);
                let budget = Budget::default().with_time_limit(whole.mul_f64(share));
                match budget.run(|| everything(&family, &settings)) {
                    Ok(found) => {
                        assert!(found == expected, "{}", family.name);
                        done += 1;
                    }
                    Err(Error::TimeLimit { step, .. }) => {
                        steps.insert(step);
                        stopped += 1;
                    }
                    Err(error) => panic!("{}: {error}", family.name),
                }
            }
            assert!(stopped > 0, "{}: {stopped} {done}", family.name);
        }
    }
    println!("{steps:?}");
    // Not the first step alone.
    assert!(steps.len() >= 3, "{steps:?}");
}

#[test]
fn a_budget_without_limits_changes_no_bit() {
    let settings = Settings::default();
    let generous = Budget::default()
        .with_time_limit(Duration::from_secs(3600))
        .with_cancel(&Cancel::when(|| false));
    for family in [families::qp_dense(20, 5, 20, 0), families::power(4, 0)] {
        let expected = everything(&family, &settings).unwrap();
        for budget in [Budget::default(), generous.clone()] {
            assert!(budget.run(|| everything(&family, &settings)).unwrap() == expected);
        }
    }
}

#[test]
fn one_budget_holds_for_the_solve_and_the_derivative_together() {
    let family = families::qp_dense(20, 5, 20, 0);
    let settings = Settings::default();
    let stop = Cancel::new();
    let budget = Budget::default().with_cancel(&stop);
    let (solved, derived) = budget.run(|| {
        let solution = solve(&family.program, &settings).unwrap();
        stop.cancel();
        let derivative = Derivative::new(&family.program, &solution, &settings);
        (solution, derivative.map(drop))
    });
    assert_eq!(solved, solve(&family.program, &settings).unwrap());
    assert!(matches!(derived, Err(Error::Cancelled { .. })));
}

#[test]
fn budgets_nest_and_the_first_limit_counts() {
    let program = &families::qp_dense(10, 2, 10, 0).program;
    let settings = Settings::default();
    let long = Budget::default().with_time_limit(Duration::from_secs(3600));
    let inner = || solve(program, &settings);
    let found = at_once().run(|| long.run(inner));
    assert!(matches!(found, Err(Error::TimeLimit { limit: 0.0, .. })));
    let (within, after) = long.run(|| (at_once().run(inner), inner()));
    assert!(matches!(within, Err(Error::TimeLimit { .. })));
    assert_eq!(after.unwrap(), solve(program, &settings).unwrap());
}

#[test]
fn a_panic_inside_leaves_no_budget_behind() {
    let program = &families::qp_dense(10, 2, 10, 0).program;
    let outcome = std::panic::catch_unwind(|| cancelled().run(|| panic!("on purpose")));
    assert!(outcome.is_err());
    assert!(solve(program, &Settings::default()).is_ok());
}

#[test]
fn a_handle_stops_an_iteration_at_the_step_it_is_cancelled_in() {
    let stop = Cancel::new();
    let count = Cell::new(0);
    let map = Halving(|number| {
        count.set(count.get() + 1);
        if number == 41 {
            stop.cancel();
        }
    });
    let budget = Budget::default().with_cancel(&stop);
    let run = Piggyback::new(&map, &[0.0], &[1.0], endless()).unwrap();
    let error = budget.run(|| run.jacobian()).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert_eq!(count.get(), 42);
}

#[test]
fn a_handle_stops_gradcheck_at_the_quotient_it_is_cancelled_in() {
    let stop = Cancel::new();
    let count = Cell::new(0);
    let function = |x: &[f64]| {
        count.set(count.get() + 1);
        if count.get() == 3 {
            stop.cancel();
        }
        Ok(x[0].sin())
    };
    let check = GradcheckSettings::default();
    let found = Budget::default()
        .with_cancel(&stop)
        .run(|| gradcheck_function(function, &[0.0], &[1.0], 5, &check));
    assert!(matches!(found, Err(Error::Cancelled { .. })));
    // A quotient is two evaluations.
    assert_eq!(count.get(), 4);
}

#[test]
fn a_handle_stops_lsqr_at_the_iteration_it_is_cancelled_in() {
    let stop = Cancel::new();
    let n = 200;
    let settings = LsqrSettings {
        tolerance: 1e-15,
        max_iterations: usize::MAX,
        max_condition: f64::INFINITY,
    };
    let mut products = 0;
    let mut apply = |u: &[f64], out: &mut [f64]| {
        products += 1;
        if products == 10 {
            stop.cancel();
        }
        for (i, (o, u)) in out.iter_mut().zip(u).enumerate() {
            *o = (i + 1) as f64 * u;
        }
    };
    let transpose = |u: &[f64], out: &mut [f64]| {
        for (i, (o, u)) in out.iter_mut().zip(u).enumerate() {
            *o = (i + 1) as f64 * u;
        }
    };
    let (b, mut x) = (vec![1.0; n], vec![0.0; n]);
    let report = Budget::default()
        .with_cancel(&stop)
        .run(|| lsqr(&mut apply, transpose, &b, &mut x, settings));
    assert_eq!(
        (report.stop, report.iterations),
        (LsqrStop::Interrupted, 10)
    );
    assert!(report.residual > 0.0 && report.condition > 1.0);
}

/// A family of 2^20 minors, all positive: the walk over them takes seconds.
fn exponential_family() -> SelectionFamily {
    let n = 20;
    let mut identity = vec![0.0; n * n];
    (0..n).for_each(|i| identity[i * n + i] = 1.0);
    let mut family = SelectionFamily::new(square(n, identity)).unwrap();
    for i in 0..n {
        let mut unit = vec![0.0; n];
        unit[i] = 1.0;
        family = family.with_term(&unit, &unit, 0.0, 1.0).unwrap();
    }
    family
}

#[test]
fn an_exponential_search_stops_in_time() {
    let family = exponential_family();
    let start = Instant::now();
    let certificate = family.certify().unwrap();
    let whole = start.elapsed();
    assert!(matches!(certificate, FamilyCertificate::Certified { .. }));
    let budget = Budget::default().with_time_limit(whole / 20);
    let start = Instant::now();
    let error = budget.run(|| family.certify()).unwrap_err();
    assert!(
        start.elapsed() < whole / 2,
        "{:?} of {whole:?}",
        start.elapsed()
    );
    assert!(
        matches!(error, Error::TimeLimit { elapsed, limit, step: "the next minors", .. }
            if elapsed >= limit && limit == (whole / 20).as_secs_f64()),
        "{error}"
    );
}

#[test]
fn another_thread_cancels_a_run_that_would_not_end() {
    let map = Halving(|_| ());
    // A tape would grow until it met its limit of memory.
    let settings = PiggybackSettings {
        divergence: f64::MAX,
        ..endless()
    };
    let run = Piggyback::new(&map, &[0.0], &[1.0], settings).unwrap();
    let stop = Cancel::new();
    let budget = Budget::default().with_cancel(&stop);
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            stop.cancel();
        });
        budget.run(|| run.jacobian()).unwrap_err()
    });
    assert!(
        matches!(error, Error::Cancelled { elapsed, .. } if elapsed >= 0.02),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_interior_point_methods_stop_within_their_iterations() {
    let family = families::qp_dense(120, 40, 120, 0);
    let settings = Settings::default();
    for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
        let mut fixed = LayerSettings {
            clarabel: ClarabelLinearSolver::Qdldl,
            ..LayerSettings::default().with_forward(forward)
        };
        fixed.settings.linear.backend = LinearBackend::Dense;
        let mut layer = ConicLayer::new(&family.program, fixed).unwrap();
        let start = Instant::now();
        let expected = layer.forward_program(&family.program).unwrap().clone();
        let whole = start.elapsed();
        for share in [0.05, 0.2, 0.4] {
            let budget = Budget::default().with_time_limit(whole.mul_f64(share));
            let data = LayerData::default().with_budget(&budget);
            match layer.forward(&data) {
                Ok(found) => assert!(*found == expected),
                Err(error) => assert!(is_spent(&error), "{error}"),
            }
            // What was interrupted leaves the next one alone.
            assert!(*layer.forward(&LayerData::default()).unwrap() == expected);
        }
    }
    // The solver's own limit is a solver's end, and says where the solver was.
    let mut limited = settings;
    limited.solve.time_limit = 1e-9;
    let error = solve(&family.program, &limited).unwrap_err();
    assert!(matches!(
        error,
        Error::NotSolved {
            status: Status::MaxTime,
            ..
        }
    ));
}

#[test]
fn a_handles_function_is_asked_on_the_thread_that_runs_the_budget() {
    let family = families::qp_dense(30, 5, 30, 0);
    // Seconds of work, of which the handle leaves some hundredths.
    let some: Vec<_> = (0..64).map(|k| family.item(k, 0.01)).collect();
    let programs: Vec<_> = some.iter().cycle().take(8192).cloned().collect();
    for threads in [1, 2, 8] {
        let settings = LayerSettings::default().with_threads(threads);
        let mut layer = ConicLayer::new(&family.program, settings).unwrap();
        let here = std::thread::current().id();
        static ASKED: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
        ASKED.lock().unwrap().clear();
        let stop = Cancel::when(move || {
            ASKED.lock().unwrap().push(std::thread::current().id());
            true
        });
        let results = Budget::default()
            .with_cancel(&stop)
            .run(|| layer.forward_programs(&programs));
        assert_eq!(results.len(), programs.len());
        let asked = ASKED.lock().unwrap();
        assert!(!asked.is_empty(), "{threads} threads");
        assert!(asked.iter().all(|id| *id == here), "{threads}: {asked:?}");
        assert!(stop.is_cancelled());
        let is_cancelled = |r: &Result<_>| matches!(r, Err(Error::Cancelled { .. }));
        assert!(results.iter().any(is_cancelled), "{threads} threads");
        assert!(results.iter().all(|r| r.is_ok() || is_cancelled(r)));
    }
}

#[test]
fn the_errors_say_how_long_how_much_and_where() {
    let late = Error::TimeLimit {
        elapsed: 0.25,
        limit: 0.125,
        step: "a Newton step",
        last: None,
    };
    assert_eq!(
        late.to_string(),
        "time limit: 2.500e-1 s of 1.250e-1 s are spent before a Newton step; give a larger budget, or look at the data's scale"
    );
    let stopped = Error::Cancelled {
        elapsed: 2.0,
        step: "an item",
    };
    assert_eq!(
        stopped.to_string(),
        "cancelled after 2.000e0 s, before an item; run it again with a fresh handle"
    );
}

#[test]
fn a_forward_that_is_stopped_leaves_the_layers_choices_open() {
    // The first forward times the solvers: a spent budget says nothing about them.
    let generated = Generator::new(12, vec![Cone::Zero(3), Cone::Nonnegative(12)]);
    let program = generated.generate().unwrap().program().clone();
    let mut layer = ConicLayer::new(&program, LayerSettings::default()).unwrap();
    let spent = at_once();
    let stopped = layer.forward(&LayerData::default().with_budget(&spent));
    assert!(matches!(stopped, Err(Error::TimeLimit { .. })));
    assert!(matches!(layer.derivative(), Err(Error::NoForward { .. })));
    layer.forward(&LayerData::default()).unwrap();
    layer.forward(&LayerData::default()).unwrap();
    let counts = layer.counts();
    assert_eq!((counts.failed, counts.full, counts.forwards), (1, 0, 3));
}
