//! Variational inequalities: solutions by their conditions, derivatives against differences and against programs with symmetric P.

use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, DerivativeMap, Error, Invertibility, Meaning,
    Projection, Selection, Settings, SolutionTangent, SparseMatrix, SplittingSettings, Status,
    VariationalDerivative, VariationalInequality, Warning,
};

use crate::support::{ALGEBRA, DIFFERENCES, Random, norm, relative};

fn dense(rows: usize, cols: usize, data: &[f64]) -> SparseMatrix {
    let indptr: Vec<usize> = (0..=cols).map(|j| j * rows).collect();
    let indices: Vec<usize> = (0..cols).flat_map(|_| 0..rows).collect();
    SparseMatrix::from_csc("M", rows, cols, &indptr, &indices, data).unwrap()
}

fn all_cones() -> Vec<Cone> {
    vec![
        Cone::Zero(1),
        Cone::Nonnegative(4),
        Cone::SecondOrder(4),
        Cone::PsdTriangle(3),
        Cone::Exponential,
        Cone::Power(0.4),
        Cone::GeneralizedPower(vec![0.3, 0.7], 2),
    ]
}

struct Known {
    inequality: VariationalInequality,
    x: Vec<f64>,
    v: Vec<f64>,
    margin: f64,
}

/// A random inequality whose solution (x, v) is chosen first: P = G G' / n + skew parts, q and b follow.
fn known(cones: Vec<Cone>, n: usize, skew: f64, seed: u64) -> Known {
    let m: usize = cones.iter().map(Cone::rows).sum();
    let mut random = Random::new(seed);
    let (g, k) = (random.normal_vec(n * n), random.normal_vec(n * n));
    let mut p = vec![0.0; n * n];
    for (e, p) in p.iter_mut().enumerate() {
        let (i, j) = (e % n, e / n);
        let gram: f64 = (0..n).map(|l| g[l * n + i] * g[l * n + j]).sum();
        *p = gram / n as f64 + skew * (k[j * n + i] - k[i * n + j]);
    }
    let a = random.normal_vec(m * n);
    let (x, v) = (random.normal_vec(n), random.normal_vec(m));
    let projection = Projection::new(&cones, &v).unwrap();
    let (z, s) = (projection.z(), projection.s());
    let q = (0..n)
        .map(|i| {
            let px: f64 = (0..n).map(|j| p[j * n + i] * x[j]).sum();
            let az: f64 = (0..m).map(|r| a[i * m + r] * z[r]).sum();
            -px - az
        })
        .collect();
    let b = (0..m)
        .map(|r| s[r] + (0..n).map(|j| a[j * m + r] * x[j]).sum::<f64>())
        .collect();
    let margins = projection.margins().iter();
    let margin = margins.fold(f64::INFINITY, |m, x| m.min(x.margin));
    let (p, a) = (dense(n, n, &p), dense(m, n, &a));
    Known {
        inequality: VariationalInequality::new(p, q, a, b, cones).unwrap(),
        x,
        v,
        margin,
    }
}

impl Known {
    fn derivative(&self, settings: &Settings) -> VariationalDerivative {
        let projection = Projection::new(self.inequality.cones(), &self.v).unwrap();
        let (z, s) = (projection.z().to_vec(), projection.s().to_vec());
        let solution = self.inequality.given(self.x.clone(), z, s).unwrap();
        VariationalDerivative::new(&self.inequality, &solution, settings).unwrap()
    }
}

fn random_tangent(inequality: &VariationalInequality, seed: u64) -> DataTangent {
    let mut random = Random::new(seed);
    let zero = inequality.zero_tangent();
    DataTangent {
        p: random.normal_vec(zero.p.len()),
        q: random.normal_vec(zero.q.len()),
        a: random.normal_vec(zero.a.len()),
        b: random.normal_vec(zero.b.len()),
    }
}

fn random_seed(inequality: &VariationalInequality, seed: u64) -> SolutionTangent {
    let mut random = Random::new(seed);
    let (n, m) = (inequality.n(), inequality.m());
    SolutionTangent {
        x: random.normal_vec(n),
        z: random.normal_vec(m),
        s: random.normal_vec(m),
    }
}

fn stacked(t: &SolutionTangent) -> Vec<f64> {
    [t.x.clone(), t.z.clone(), t.s.clone()].concat()
}

/// The solution with data moved along a tangent, by Newton's method from the point given.
fn moved(known: &Known, derivative: &VariationalDerivative, t: &DataTangent, h: f64) -> Vec<f64> {
    let vi = &known.inequality;
    let add =
        |a: &[f64], d: &[f64]| -> Vec<f64> { a.iter().zip(d).map(|(a, d)| a + h * d).collect() };
    let (p, q) = (add(&vi.p().stored_values(), &t.p), add(vi.q(), &t.q));
    let (a, b) = (add(&vi.a().stored_values(), &t.a), add(vi.b(), &t.b));
    let next = vi
        .with_data(Some(&p), Some(&q), Some(&a), Some(&b))
        .unwrap();
    let solution = derivative.solution();
    let start = next.given(solution.x.clone(), solution.z.clone(), solution.s.clone());
    let refined = next.refine(&start.unwrap(), &Settings::default()).unwrap();
    assert!(refined.refinement.unwrap().accepted);
    stacked(&SolutionTangent::from(&refined))
}

#[test]
fn derivatives_are_those_of_differences_over_every_cone() {
    let settings = Settings::default();
    let (mut checked, mut largest) = (0, 0.0_f64);
    for seed in 0..40 {
        let cones = if seed % 2 == 0 {
            all_cones()
        } else {
            vec![
                all_cones()[seed as usize / 2 % 7].clone(),
                Cone::Nonnegative(3),
            ]
        };
        let n = if seed % 2 == 0 { 16 } else { 6 };
        let known = known(cones, n, 1.0, seed);
        let derivative = known.derivative(&settings);
        if known.margin < 2e-2 || derivative.condition() > 1e4 {
            continue;
        }
        checked += 1;
        let tangent = random_tangent(&known.inequality, seed);
        let dy = derivative.jvp(&tangent).unwrap();
        assert!(dy.trusted, "{:?}", dy.warnings);
        assert!(dy.evidence.residual <= 1e-14 && dy.meaning == Meaning::Derivative);
        let h = 1e-6 / (1.0 + norm(&stacked(&dy.value)));
        let up = moved(&known, &derivative, &tangent, h);
        let down = moved(&known, &derivative, &tangent, -h);
        let difference: Vec<f64> = up
            .iter()
            .zip(&down)
            .map(|(u, d)| (u - d) / (2.0 * h))
            .collect();
        let error = relative(&stacked(&dy.value), &difference);
        largest = largest.max(error);
        assert!(error <= DIFFERENCES, "seed {seed}: {error:e}");
        let seed = random_seed(&known.inequality, seed + 100);
        let gradient = derivative.vjp(&seed).unwrap();
        let (left, right) = (seed.dot(&dy.value), gradient.value.dot(&tangent));
        assert!((left - right).abs() <= ALGEBRA * (1.0 + left.abs()) * derivative.condition());
        assert!(derivative.invertibility().unwrap().is_certified());
    }
    println!("{checked} points, largest error {largest:.1e}");
    assert!(checked >= 12);
}

#[test]
fn with_a_symmetric_p_it_is_the_program_s_derivative() {
    let settings = Settings::default();
    let (mut checked, mut largest) = (0, 0.0_f64);
    for seed in 0..30 {
        let known = known(all_cones(), 16, 0.0, seed);
        let derivative = known.derivative(&settings);
        if known.margin < 1e-3 || derivative.condition() > 1e4 {
            continue;
        }
        checked += 1;
        let vi = &known.inequality;
        let (n, m) = (vi.n(), vi.m());
        // The upper triangle, by columns.
        let full = vi.p().values();
        let entries: Vec<(usize, usize)> =
            (0..n).flat_map(|j| (0..=j).map(move |i| (i, j))).collect();
        let p: Vec<f64> = entries.iter().map(|(i, j)| full[j * n + i]).collect();
        let indptr: Vec<usize> = (0..=n).map(|j| j * (j + 1) / 2).collect();
        let indices: Vec<usize> = entries.iter().map(|e| e.0).collect();
        let program = ConeProgram::from_matrices(
            SparseMatrix::from_csc("P", n, n, &indptr, &indices, &p).unwrap(),
            vi.q().to_vec(),
            vi.a().clone(),
            vi.b().to_vec(),
            vi.cones().to_vec(),
        )
        .unwrap();
        let own = derivative.solution();
        let solution =
            conediff::Solution::given(&program, own.x.clone(), own.z.clone(), own.s.clone());
        let other = Derivative::new(&program, &solution.unwrap(), &settings).unwrap();
        let seed = random_seed(vi, seed);
        let (ours, theirs) = (derivative.vjp(&seed).unwrap(), other.vjp(&seed).unwrap());
        // Both copies of an entry off the diagonal move together there.
        let folded: Vec<f64> = entries
            .iter()
            .map(|&(i, j)| {
                let g = &ours.value.p;
                g[j * n + i] + if i == j { 0.0 } else { g[i * n + j] }
            })
            .collect();
        let mut error = relative(&folded, &theirs.value.p);
        error = error.max(relative(&ours.value.q, &theirs.value.q));
        error = error.max(relative(&ours.value.a, &theirs.value.a));
        error = error.max(relative(&ours.value.b, &theirs.value.b));
        let tangent = DataTangent::random(&program, 7);
        let mut spread = vec![0.0; n * n];
        for (&(i, j), d) in entries.iter().zip(&tangent.p) {
            (spread[j * n + i], spread[i * n + j]) = (*d, *d);
        }
        let dy = derivative
            .jvp(&DataTangent {
                p: spread,
                ..tangent.clone()
            })
            .unwrap();
        let theirs = other.jvp(&tangent).unwrap();
        error = error.max(relative(&stacked(&dy.value), &stacked(&theirs.value)));
        largest = largest.max(error);
        assert!(error <= 1e-12, "{error:e}");
        assert_eq!(m, other.program().m());
    }
    println!("{checked} points, largest difference {largest:.1e}");
    assert!(checked >= 8);
}

#[test]
fn solving_finds_the_solution_from_nowhere() {
    let (settings, splitting) = (Settings::default(), SplittingSettings::default());
    let mut iterations = Vec::new();
    for seed in 0..24 {
        let cones = if seed % 2 == 0 {
            all_cones()
        } else {
            vec![Cone::Nonnegative(10), Cone::SecondOrder(4)]
        };
        let known = known(cones, 16, [0.0, 1.0, 5.0][seed as usize % 3], seed);
        let vi = &known.inequality;
        let solution = vi.solve(&splitting, &settings).unwrap();
        let refinement = solution.refinement.unwrap();
        assert!(
            refinement.accepted && refinement.after <= 1e-9,
            "seed {seed}"
        );
        let v: Vec<f64> = solution
            .z
            .iter()
            .zip(&solution.s)
            .map(|(z, s)| z - s)
            .collect();
        assert!(norm(&vi.residual(&solution.x, &v).unwrap()) <= 1e-8);
        if known.derivative(&settings).condition() < 1e5 {
            assert!(relative(&solution.x, &known.x) <= 1e-7, "seed {seed}");
        }
        iterations.push(solution.iterations);
    }
    println!("iterations {iterations:?}");
}

#[test]
fn a_purely_skew_operator_is_solved() {
    // A matrix game: players x, y on simplices, P = [0 G; -G' 0]; with rock, paper and scissors both play 1/3 each.
    let g = [[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]];
    let n = 6;
    let mut p = vec![0.0; 36];
    for i in 0..3 {
        for j in 0..3 {
            p[(3 + j) * n + i] = g[i][j] + 0.1 * (i as f64);
            p[i * n + 3 + j] = -g[i][j] - 0.1 * (i as f64);
        }
    }
    let m = 8;
    let mut a = vec![0.0; m * n];
    for j in 0..n {
        a[j * m + j / 3] = 1.0;
        a[j * m + 2 + j] = -1.0;
    }
    let mut b = vec![0.0; m];
    (b[0], b[1]) = (1.0, 1.0);
    let vi = VariationalInequality::new(
        dense(n, n, &p),
        vec![0.0; n],
        dense(m, n, &a),
        b,
        vec![Cone::Zero(2), Cone::Nonnegative(6)],
    )
    .unwrap();
    let settings = Settings::default();
    let solution = vi.solve(&SplittingSettings::default(), &settings).unwrap();
    let derivative = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
    let (mut sum_x, mut sum_y) = (0.0, 0.0);
    (0..3).for_each(|i| (sum_x, sum_y) = (sum_x + solution.x[i], sum_y + solution.x[3 + i]));
    assert!((sum_x - 1.0).abs() <= 1e-12 && (sum_y - 1.0).abs() <= 1e-12);
    let tangent = random_tangent(&vi, 3);
    let dy = derivative.jvp(&tangent).unwrap();
    assert!(dy.trusted, "{:?}", dy.warnings);
    println!("{:?} after {} iterations", solution.x, solution.iterations);
}

/// The complementarity problem x >= 0, Px + q >= 0, x'(Px + q) = 0.
fn complementarity(p: &[f64], q: Vec<f64>) -> VariationalInequality {
    let n = q.len();
    let mut a = vec![0.0; n * n];
    (0..n).for_each(|i| a[i * n + i] = -1.0);
    VariationalInequality::new(
        dense(n, n, p),
        q,
        dense(n, n, &a),
        vec![0.0; n],
        vec![Cone::Nonnegative(n)],
    )
    .unwrap()
}

#[test]
fn kinks_are_flagged_and_every_element_is_tested() {
    // P = [1 2; -2 1], q = (0, 1): x = 0 with Px + q = (0, 1), row 1 weakly active.
    let vi = complementarity(&[1.0, -2.0, 2.0, 1.0], vec![0.0, 1.0]);
    let settings = Settings::default();
    let solution = vi.solve(&SplittingSettings::default(), &settings).unwrap();
    assert!(norm(&solution.x) <= 1e-12);
    let at = |selection| {
        let settings = settings.with_selection(selection);
        VariationalDerivative::new(&vi, &solution, &settings).unwrap()
    };
    let mut tangent = vi.zero_tangent();
    tangent.q[0] = -1.0;
    let slope = |selection| at(selection).jvp(&tangent).unwrap().value.x[0];
    // Active rows hold x = 0; inactive ones let it follow -P^-1 dq.
    assert!((slope(Selection::Active) - 0.0).abs() <= 1e-14);
    assert!((slope(Selection::Inactive) - 1.0).abs() <= 1e-14);
    let derivative = at(Selection::NonsingularFirst);
    assert_eq!(derivative.kinks()[0].rows, [0]);
    let dy = derivative.jvp(&tangent).unwrap();
    assert!(!dy.trusted && matches!(dy.meaning, Meaning::Element { .. }));
    assert!(matches!(dy.warnings[..], [Warning::AtKink(_)]));
    assert_eq!(
        derivative.invertibility().unwrap(),
        Invertibility::RankTests
    );
    let strict = VariationalDerivative::new(&vi, &solution, &settings.with_strict(true));
    assert!(matches!(strict, Err(Error::NotTrusted { .. })));
}

#[test]
fn determinants_decide_where_the_symmetric_part_does_not() {
    // P = [0 1; -1 0] + nothing: P + P' = 0, both rows weakly active at x = 0, q = 0. The element that lets both go is P itself,
    // invertible; that which lets one go has a zero pivot.
    let vi = complementarity(&[0.0, -1.0, 1.0, 0.0], vec![0.0, 0.0]);
    let settings = Settings::default();
    let solution = vi.given(vec![0.0; 2], vec![0.0; 2], vec![0.0; 2]).unwrap();
    let derivative = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
    assert!(matches!(
        derivative.invertibility().unwrap(),
        Invertibility::Refuted(_)
    ));
    // One row weakly active, the other strictly inactive: dx2 free only with x1; P = [0 1; -1 1], q = (-1, 1): x = (1, ...).
    // Row 1: x2 - 1 >= 0, row 2: -x1 + x2 + 1 >= 0: x = (2, 1) interior; with q = (-1, -1): x = (0, 1), row 1 weakly active.
    let vi = complementarity(&[0.0, -1.0, 1.0, 1.0], vec![-1.0, -1.0]);
    let solution = vi
        .given(vec![0.0, 1.0], vec![0.0; 2], vec![0.0, 1.0])
        .unwrap();
    let derivative = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
    assert_eq!(derivative.kinks()[0].rows, [0]);
    // (P + P')/2 is singular along e1, where s may move: only determinants see that P is not.
    assert!(matches!(
        derivative.invertibility().unwrap(),
        Invertibility::Determinants { ratio } if ratio > 0.0
    ));
}

#[test]
fn points_that_are_no_solutions_are_not_trusted() {
    let known = known(vec![Cone::Nonnegative(5)], 4, 1.0, 3);
    let vi = &known.inequality;
    let mut settings = Settings::default();
    settings.refine.enabled = false;
    let projection = Projection::new(vi.cones(), &known.v).unwrap();
    let mut x = known.x.clone();
    x[0] += 0.1;
    let off = vi
        .given(x, projection.z().to_vec(), projection.s().to_vec())
        .unwrap();
    let derivative = VariationalDerivative::new(vi, &off, &settings).unwrap();
    let dy = derivative.jvp(&vi.zero_tangent()).unwrap();
    let is_told = |w: &Warning| matches!(w, Warning::NotRefined { .. });
    assert!(!dy.trusted && dy.warnings.iter().any(is_told));
    assert!(!derivative.invertibility().unwrap().is_certified());
    // Refined, it is the solution again.
    let refined = vi.refine(&off, &Settings::default()).unwrap();
    assert!(relative(&refined.x, &known.x) <= 1e-12);
}

#[test]
fn inequalities_without_a_solution_end_at_the_iteration_limit() {
    // x >= 1 and x <= 0.
    let a = dense(2, 1, &[-1.0, 1.0]);
    let cones = vec![Cone::Nonnegative(2)];
    let vi = VariationalInequality::new(dense(1, 1, &[1.0]), vec![0.0], a, vec![-1.0, 0.0], cones);
    let splitting = SplittingSettings {
        max_iterations: 500,
        ..SplittingSettings::default()
    };
    let error = vi
        .unwrap()
        .solve(&splitting, &Settings::default())
        .unwrap_err();
    let Error::NotSolved {
        status: Status::MaxIterations,
        iterations: 500,
        primal_residual,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert!(primal_residual > 0.1);
}

#[test]
fn operators_that_are_not_monotone_are_named() {
    let make = |p: &[f64], n: usize| {
        VariationalInequality::new(
            dense(n, n, p),
            vec![0.0; n],
            dense(0, n, &[]),
            Vec::new(),
            Vec::new(),
        )
    };
    // A negative diagonal entry, at its index.
    let Err(Error::NotMonotone { index, value, .. }) = make(&[1.0, 3.0, -3.0, -0.5], 2) else {
        panic!("a negative diagonal is monotone");
    };
    assert_eq!((index, value), (1, -0.5));
    // Off the diagonal the skew part cancels and the symmetric part counts.
    assert!(make(&[1.0, 5.0, -5.0, 1.0], 2).is_ok());
    assert!(make(&[1.0, 5.0, -3.0, 1.0], 2).is_ok());
    assert!(matches!(
        make(&[1.0, 5.0, -2.0, 1.0], 2),
        Err(Error::NotMonotone { .. })
    ));
    assert!(matches!(
        make(&[0.0, 5.0, -4.0, 1.0], 2),
        Err(Error::NotMonotone { .. })
    ));
    let error = make(&[1.0, 5.0, -2.0, 1.0], 2).unwrap_err().to_string();
    assert!(
        error.contains("P + P'") && error.contains("index"),
        "{error}"
    );
}

#[test]
fn malformed_inequalities_are_refused() {
    let cones = || vec![Cone::Nonnegative(1)];
    let make = |p: SparseMatrix, q: Vec<f64>, a: SparseMatrix, b: Vec<f64>| {
        VariationalInequality::new(p, q, a, b, cones())
    };
    let one = || dense(1, 1, &[1.0]);
    let wide = dense(1, 2, &[1.0, 1.0]);
    for made in [
        make(wide.clone(), vec![0.0], one(), vec![0.0]),
        make(one(), vec![0.0; 2], one(), vec![0.0]),
        make(one(), vec![0.0], wide, vec![0.0]),
        make(one(), vec![0.0], one(), vec![0.0; 2]),
    ] {
        assert!(matches!(made, Err(Error::Dimension { .. })));
    }
    let nan = make(one(), vec![f64::NAN], one(), vec![0.0]);
    assert!(matches!(nan, Err(Error::NonFinite { .. })));
    let bound = make(one(), vec![0.0], one(), vec![-1e20]);
    assert!(matches!(bound, Err(Error::Bound { .. })));
    let rows = VariationalInequality::new(one(), vec![0.0], one(), vec![0.0], Vec::new());
    assert!(matches!(rows, Err(Error::ConeRows { .. })));
    let vi = make(one(), vec![1.0], one(), vec![1.0]).unwrap();
    let settings = Settings::default();
    let solution = vi.solve(&SplittingSettings::default(), &settings).unwrap();
    let derivative = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
    let short = DataTangent {
        p: Vec::new(),
        ..vi.zero_tangent()
    };
    assert!(matches!(
        derivative.jvp(&short),
        Err(Error::Dimension { .. })
    ));
    let nan = DataTangent {
        p: vec![f64::NAN],
        ..vi.zero_tangent()
    };
    assert!(matches!(derivative.jvp(&nan), Err(Error::NonFinite { .. })));
    let short = SolutionTangent::default();
    assert!(matches!(
        derivative.vjp(&short),
        Err(Error::Dimension { .. })
    ));
    assert!(matches!(
        derivative.pull_back(&[0.0]),
        Err(Error::Dimension { .. })
    ));
    let none = SplittingSettings {
        max_iterations: 0,
        ..SplittingSettings::default()
    };
    assert!(matches!(
        vi.solve(&none, &settings),
        Err(Error::Setting { .. })
    ));
    let none = SplittingSettings {
        tolerance: f64::NAN,
        ..SplittingSettings::default()
    };
    assert!(matches!(
        vi.solve(&none, &settings),
        Err(Error::Setting { .. })
    ));
    // Nothing at all.
    let nothing = VariationalInequality::new(
        dense(0, 0, &[]),
        Vec::new(),
        dense(0, 0, &[]),
        Vec::new(),
        Vec::new(),
    )
    .unwrap();
    let solution = nothing
        .solve(&SplittingSettings::default(), &settings)
        .unwrap();
    let derivative = VariationalDerivative::new(&nothing, &solution, &settings).unwrap();
    assert!(
        derivative
            .jvp(&nothing.zero_tangent())
            .unwrap()
            .value
            .x
            .is_empty()
    );
}

#[test]
fn rows_without_a_bound_are_no_constraint() {
    let bounded = complementarity(&[1.0, -2.0, 2.0, 1.0], vec![-1.0, 0.3]);
    let a = dense(3, 2, &[-1.0, 0.0, 5.0, 0.0, -1.0, 7.0]);
    let vi = VariationalInequality::new(
        bounded.p().clone(),
        bounded.q().to_vec(),
        a,
        vec![0.0, 0.0, f64::INFINITY],
        vec![Cone::Nonnegative(3)],
    )
    .unwrap();
    let settings = Settings::default();
    let solve = |vi: &VariationalInequality| {
        let solution = vi.solve(&SplittingSettings::default(), &settings).unwrap();
        let derivative = VariationalDerivative::new(vi, &solution, &settings).unwrap();
        let mut seed = vi.zero_cotangent();
        seed.x = vec![1.0, -2.0];
        (solution, derivative.vjp(&seed).unwrap().value)
    };
    let ((free, gradient), (tight, expected)) = (solve(&vi), solve(&bounded));
    assert!(relative(&free.x, &tight.x) <= 1e-14);
    assert_eq!((free.z[2], free.s[2]), (0.0, f64::INFINITY));
    assert!(relative(&gradient.q, &expected.q) <= 1e-14);
    assert_eq!(
        (gradient.b[2], gradient.a[2], gradient.a[5]),
        (0.0, 0.0, 0.0)
    );
}

#[test]
fn the_splitting_alone_comes_to_its_tolerance() {
    let splitting = SplittingSettings::default();
    let mut settings = Settings::default();
    // One Newton step a try, and nothing is good enough for it.
    (settings.refine.max_steps, settings.refine.tolerance) = (1, 1e-300);
    let mut iterations = Vec::new();
    for seed in 0..12 {
        let cones = if seed % 2 == 0 {
            all_cones()
        } else {
            vec![Cone::Nonnegative(20), Cone::SecondOrder(4)]
        };
        let known = known(cones, 16, [0.0, 1.0, 5.0][seed as usize % 3], seed);
        let vi = &known.inequality;
        let solution = vi.solve(&splitting, &settings).unwrap();
        let v: Vec<f64> = solution
            .z
            .iter()
            .zip(&solution.s)
            .map(|(z, s)| z - s)
            .collect();
        let size = 1.0 + norm(vi.q()) + norm(vi.b()) + norm(&v) + norm(&solution.x);
        assert!(norm(&vi.residual(&solution.x, &v).unwrap()) <= 1e-5 * size);
        assert!(!solution.refinement.unwrap().accepted);
        iterations.push(solution.iterations);
        let derivative = VariationalDerivative::new(vi, &solution, &Settings::default()).unwrap();
        assert!(!derivative.jvp(&vi.zero_tangent()).unwrap().trusted);
    }
    println!("iterations {iterations:?}");
}

/// A point on kinks of two cones, P = G G' + skew with a G of few columns.
fn at_kinks(rank: usize, skew: f64, seed: u64) -> (VariationalInequality, conediff::Solution) {
    let cones = vec![Cone::Nonnegative(4), Cone::SecondOrder(3)];
    let (n, m) = (5, 7);
    let mut random = Random::new(seed);
    let (g, k) = (random.normal_vec(n * rank), random.normal_vec(n * n));
    let mut p = vec![0.0; n * n];
    for (e, p) in p.iter_mut().enumerate() {
        let (i, j) = (e % n, e / n);
        let gram: f64 = (0..rank).map(|l| g[l * n + i] * g[l * n + j]).sum();
        *p = gram + skew * (k[j * n + i] - k[i * n + j]);
    }
    let a = random.normal_vec(m * n);
    let x = random.normal_vec(n);
    let slope = [-1.0, 1.0][random.below(2)];
    let w = random.normal_vec(2);
    let mut v = vec![0.0, 0.0, 1.0, -1.0, slope * norm(&w), w[0], w[1]];
    if random.below(2) == 0 {
        v[4] += 0.5;
    }
    let projection = Projection::new(&cones, &v).unwrap();
    let (z, s) = (projection.z(), projection.s());
    let q = (0..n).map(|i| {
        let px: f64 = (0..n).map(|j| p[j * n + i] * x[j]).sum();
        -px - (0..m).map(|r| a[i * m + r] * z[r]).sum::<f64>()
    });
    let b = (0..m).map(|r| s[r] + (0..n).map(|j| a[j * m + r] * x[j]).sum::<f64>());
    let (q, b) = (q.collect(), b.collect());
    let vi = VariationalInequality::new(dense(n, n, &p), q, dense(m, n, &a), b, cones).unwrap();
    let solution = vi.given(x, z.to_vec(), s.to_vec()).unwrap();
    (vi, solution)
}

#[test]
fn at_kinks_a_symmetric_p_has_the_program_s_element_and_certificate() {
    let (mut certified, mut refuted) = (0, 0);
    for seed in 0..60 {
        let (vi, solution) = at_kinks(1 + seed as usize % 3, 0.0, seed);
        let n = vi.n();
        let full = vi.p().values();
        let entries: Vec<(usize, usize)> =
            (0..n).flat_map(|j| (0..=j).map(move |i| (i, j))).collect();
        let p: Vec<f64> = entries.iter().map(|(i, j)| full[j * n + i]).collect();
        let indptr: Vec<usize> = (0..=n).map(|j| j * (j + 1) / 2).collect();
        let indices: Vec<usize> = entries.iter().map(|e| e.0).collect();
        let program = ConeProgram::from_matrices(
            SparseMatrix::from_csc("P", n, n, &indptr, &indices, &p).unwrap(),
            vi.q().to_vec(),
            vi.a().clone(),
            vi.b().to_vec(),
            vi.cones().to_vec(),
        )
        .unwrap();
        for selection in [Selection::Inactive, Selection::Active, Selection::Half] {
            let settings = Settings::default().with_selection(selection);
            let ours = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
            let theirs = Derivative::new(&program, &solution, &settings).unwrap();
            assert_eq!(ours.kinks(), theirs.kinks());
            let is_certified = theirs.regularity().unwrap().is_certified();
            let verdict = ours.invertibility().unwrap();
            assert_eq!(
                verdict.is_certified(),
                is_certified,
                "seed {seed}: {verdict:?}"
            );
            certified += usize::from(is_certified);
            refuted += usize::from(matches!(verdict, Invertibility::Refuted(_)));
            if theirs.condition() > 1e6 || ours.condition() > 1e6 {
                continue;
            }
            let g = random_seed(&vi, seed);
            let (ours, theirs) = (ours.vjp(&g).unwrap(), theirs.vjp(&g).unwrap());
            assert!(!ours.trusted && ours.meaning == theirs.meaning);
            assert!(relative(&ours.value.a, &theirs.value.a) <= 1e-11);
            assert!(relative(&ours.value.b, &theirs.value.b) <= 1e-11);
        }
    }
    println!("{certified} certified, {refuted} refuted");
    assert!((30..=150).contains(&certified));
}

#[test]
fn what_is_certified_has_no_singular_element() {
    let mut counts = [0; 4];
    for seed in 0..80 {
        let (vi, solution) = at_kinks(1 + seed as usize % 4, 0.7, seed);
        let at = |selection| {
            let settings = Settings::default().with_selection(selection);
            VariationalDerivative::new(&vi, &solution, &settings).unwrap()
        };
        let verdict = at(Selection::Inactive).invertibility().unwrap();
        counts[match verdict {
            Invertibility::RankTests => 0,
            Invertibility::Determinants { .. } => 1,
            Invertibility::Refuted(_) => 2,
            _ => 3,
        }] += 1;
        if !verdict.is_certified() {
            continue;
        }
        let condition = |selection| at(selection).condition();
        let all = (0..10)
            .map(Selection::Random)
            .chain([Selection::Active, Selection::Half]);
        for selection in all {
            assert!(condition(selection) < 1e10, "seed {seed}: {selection}");
        }
    }
    println!("rank tests, determinants, refuted, unknown: {counts:?}");
    assert!(counts[0] > 0);
}
