//! The implicit function theorem for a user's own equation: derivatives against differences, the hypothesis against what is known.

use conediff::{
    Chain, Cone, ConeProgram, DataTangent, DenseMatrix, Derivative, DerivativeMap, Elements, Error,
    FnOperator, ImplicitFunction, Invertibility, LinearOperator, Linearization, Meaning, Method,
    Parametrization, SelectionFamily, Settings, Smooth, SolutionTangent, SparseMatrix, Warning,
    solve,
};

use crate::support::{ALGEBRA, DIFFERENCES, Random, norm, relative};

fn dense(rows: usize, cols: usize, data: Vec<f64>) -> DenseMatrix {
    DenseMatrix { rows, cols, data }
}

fn scalar(v: f64) -> DenseMatrix {
    dense(1, 1, vec![v])
}

fn sparse(m: &DenseMatrix) -> SparseMatrix {
    m.to_sparse("B").unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// F(x, y) = C y + y^3 / 3 + tanh(E x) - 1/2 in n unknowns, C a random nonsymmetric matrix near a multiple of the identity.
struct Cubic {
    c: DenseMatrix,
    e: DenseMatrix,
}

impl Cubic {
    fn new(n: usize, p: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut c: Vec<f64> = random
            .normal_vec(n * n)
            .iter()
            .map(|v| v / (n as f64).sqrt())
            .collect();
        (0..n).for_each(|i| c[i * n + i] += 3.0);
        Self {
            c: dense(n, n, c),
            e: dense(n, p, random.normal_vec(n * p)),
        }
    }

    fn value(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        let n = y.len();
        let (mut f, mut ex) = (vec![0.0; n], vec![0.0; n]);
        self.c.apply(y, &mut f).unwrap();
        self.e.apply(x, &mut ex).unwrap();
        let rest = ex.iter().zip(y);
        f.iter_mut()
            .zip(rest)
            .for_each(|(f, (e, y))| *f += y.powi(3) / 3.0 + e.tanh() - 0.5);
        f
    }

    fn at(&self, x: &[f64], y: &[f64]) -> Linearization<DenseMatrix> {
        let n = y.len();
        let mut ex = vec![0.0; n];
        self.e.apply(x, &mut ex).unwrap();
        let (mut a, mut b) = (self.e.clone(), self.c.clone());
        for (k, a) in a.data.iter_mut().enumerate() {
            *a *= 1.0 - ex[k % n].tanh().powi(2);
        }
        (0..n).for_each(|i| b.data[i * n + i] += y[i] * y[i]);
        Linearization {
            y: y.to_vec(),
            f: self.value(x, y),
            a,
            b: sparse(&b),
        }
    }

    /// Newton's method with the library's own steps.
    fn solve(&self, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.c.rows];
        for _ in 0..30 {
            let settings = Settings::default();
            let function =
                ImplicitFunction::new(self.at(x, &y), &Elements::Single, &settings).unwrap();
            let step = function.newton_step();
            y.iter_mut().zip(step).for_each(|(y, s)| *y += s);
            if norm(step) <= 1e-15 {
                break;
            }
        }
        y
    }
}

#[test]
fn derivatives_of_a_smooth_equation_are_those_of_differences() {
    for (n, p, seed) in [(1, 1, 1), (6, 4, 2), (30, 7, 3)] {
        let cubic = Cubic::new(n, p, seed);
        let mut random = Random::new(seed);
        let (x, dx, gy) = (
            random.normal_vec(p),
            random.normal_vec(p),
            random.normal_vec(n),
        );
        let y = cubic.solve(&x);
        let function =
            ImplicitFunction::new(cubic.at(&x, &y), &Elements::Single, &Settings::default());
        let function = function.unwrap();
        let (dy, gx) = (function.jvp(&dx).unwrap(), function.vjp(&gy).unwrap());
        assert!(dy.trusted && gx.trusted && dy.meaning == Meaning::Derivative);
        assert!(dy.evidence.residual <= 1e-15 && dy.evidence.method == Method::Lu);
        let moved = |t: f64| {
            let x: Vec<f64> = x.iter().zip(&dx).map(|(x, d)| x + t * d).collect();
            cubic.solve(&x)
        };
        let (up, down) = (moved(1e-5), moved(-1e-5));
        let difference: Vec<f64> = up.iter().zip(&down).map(|(u, d)| (u - d) / 2e-5).collect();
        let error = relative(&dy.value, &difference);
        assert!(error <= DIFFERENCES, "{error:e}");
        let (left, right) = (dot(&gy, &dy.value), dot(&gx.value, &dx));
        assert!((left - right).abs() <= ALGEBRA * (norm(&gy) * norm(&dy.value)));
        assert_eq!(*function.invertibility(), Invertibility::Single);
    }
}

#[test]
fn sparse_matrices_operators_and_dense_ones_agree() {
    // A tridiagonal B of order 50 is factored sparse.
    let n = 50_usize;
    let mut random = Random::new(5);
    let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        for i in j.saturating_sub(1)..(j + 2).min(n) {
            indices.push(i);
            data.push(random.normal() + if i == j { 5.0 } else { 0.0 });
        }
        indptr.push(indices.len());
    }
    let b = SparseMatrix::from_csc("B", n, n, &indptr, &indices, &data).unwrap();
    let mut full = vec![0.0; n * n];
    for j in 0..n {
        (indptr[j]..indptr[j + 1]).for_each(|k| full[j * n + indices[k]] = data[k]);
    }
    let (y, f) = (random.normal_vec(n), vec![0.0; n]);
    let a = dense(n, 3, random.normal_vec(3 * n));
    let operator = FnOperator::new(
        n,
        3,
        |u: &[f64], out: &mut [f64]| a.apply(u, out).unwrap(),
        |w: &[f64], out: &mut [f64]| a.apply_transpose(w, out).unwrap(),
    );
    let settings = Settings::default();
    let (y2, f2) = (y.clone(), f.clone());
    let with_operator = Linearization {
        y,
        f,
        a: operator,
        b,
    };
    let with_matrix = Linearization {
        y: y2,
        f: f2,
        a: sparse(&a),
        b: sparse(&dense(n, n, full)),
    };
    let one = ImplicitFunction::new(with_operator, &Elements::Single, &settings).unwrap();
    let other = ImplicitFunction::new(with_matrix, &Elements::Single, &settings).unwrap();
    let (dx, gy) = (random.normal_vec(3), random.normal_vec(n));
    let pairs = [
        (one.jvp(&dx).unwrap(), other.jvp(&dx).unwrap()),
        (one.vjp(&gy).unwrap(), other.vjp(&gy).unwrap()),
    ];
    for (one, other) in pairs {
        assert!(one.trusted && other.trusted);
        assert!(relative(&one.value, &other.value) <= 1e-14);
    }
}

#[test]
fn a_point_that_is_no_zero_is_not_trusted() {
    let cubic = Cubic::new(4, 2, 7);
    let x = [0.3, -0.2];
    let mut y = cubic.solve(&x);
    let settings = Settings::default();
    y[1] += 1e-4;
    let function = ImplicitFunction::new(cubic.at(&x, &y), &Elements::Single, &settings).unwrap();
    assert!(
        matches!(function.warnings(), [Warning::NotAZero { residual, .. }] if *residual > 1e-6)
    );
    assert!(!function.jvp(&[1.0, 0.0]).unwrap().trusted);
    let strict = settings.with_strict(true);
    let refused = ImplicitFunction::new(cubic.at(&x, &y), &Elements::Single, &strict);
    assert!(matches!(refused, Err(Error::NotTrusted { .. })));
}

#[test]
fn the_error_estimated_with_a_neighbour_is_the_error_there_is() {
    let cubic = Cubic::new(5, 3, 11);
    let x = [0.3, -0.2, 0.9];
    let exact = cubic.solve(&x);
    let mut settings = Settings::default();
    settings.refine.tolerance = 1e-3;
    settings.accuracy = 1e-2;
    let right = ImplicitFunction::new(cubic.at(&x, &exact), &Elements::Single, &settings).unwrap();
    let y: Vec<f64> = exact.iter().map(|y| y + 1e-5).collect();
    let function = ImplicitFunction::new(cubic.at(&x, &y), &Elements::Single, &settings).unwrap();
    let moved: Vec<f64> = y
        .iter()
        .zip(function.newton_step())
        .map(|(y, s)| y + s)
        .collect();
    let next = cubic.at(&x, &moved);
    let function = function.with_neighbour(next.a, next.b).unwrap();
    let (dx, gy) = ([1.0, 2.0, -1.0], [1.0, 0.0, 2.0, -1.0, 0.5]);
    let pairs = [
        (function.jvp(&dx).unwrap(), right.jvp(&dx).unwrap()),
        (function.vjp(&gy).unwrap(), right.vjp(&gy).unwrap()),
    ];
    for (found, right) in pairs {
        let error = relative(&found.value, &right.value);
        let estimate = found.evidence.error;
        assert!(
            error <= 3.0 * estimate && estimate <= 30.0 * error,
            "{error:e} {estimate:e}"
        );
    }
}

#[test]
fn a_singular_b_gives_least_squares_and_no_trust() {
    let b = dense(2, 2, vec![1.0, 2.0, 2.0, 4.0]);
    let at = || Linearization {
        y: vec![0.0; 2],
        f: vec![0.0; 2],
        a: dense(2, 1, vec![1.0, 2.0]),
        b: sparse(&b),
    };
    let settings = Settings::default();
    let function = ImplicitFunction::new(at(), &Elements::Single, &settings).unwrap();
    assert!(!function.invertibility().is_certified());
    let dy = function.jvp(&[-1.0]).unwrap();
    assert!(!dy.trusted && dy.meaning == Meaning::LeastSquares);
    // The answer of least norm of [1 2; 2 4] dy = (1, 2).
    assert!(relative(&dy.value, &[0.2, 0.4]) <= 1e-10);
    assert!(matches!(dy.warnings[..], [Warning::Singular { .. }]));
    // Nearly singular: the same verdict; and a row of zeros.
    for b in [
        vec![1.0, 2.0, 2.0, 4.0 + 1e-14],
        vec![0.0, 1.0, 0.0, 1.0],
        vec![0.0; 4],
    ] {
        let at = Linearization {
            b: sparse(&dense(2, 2, b)),
            ..at()
        };
        let function = ImplicitFunction::new(at, &Elements::Single, &settings).unwrap();
        assert!(!function.jvp(&[1.0]).unwrap().trusted);
    }
    let strict = settings.with_strict(true);
    let refused = ImplicitFunction::new(at(), &Elements::Single, &strict);
    assert!(matches!(refused, Err(Error::NotTrusted { .. })));
    // An ill-conditioned one is no singular one, but its derivatives are not known to six digits.
    let at = Linearization {
        y: vec![1.0; 2],
        b: sparse(&dense(2, 2, vec![1.0, 2.0, 2.0, 4.0 + 1e-9])),
        ..at()
    };
    let function = ImplicitFunction::new(at, &Elements::Single, &settings).unwrap();
    let dy = function.jvp(&[1.0]).unwrap();
    assert!(!dy.trusted && matches!(dy.warnings[..], [.., Warning::Inaccurate { .. }]));
}

/// F = |x| - |y| at 0, with an element and a description of all of them.
fn two_branches(elements: &Elements) -> ImplicitFunction<DenseMatrix> {
    let at = Linearization {
        y: vec![0.0],
        f: vec![0.0],
        a: scalar(1.0),
        b: sparse(&scalar(-1.0)),
    };
    ImplicitFunction::new(at, elements, &Settings::default()).unwrap()
}

#[test]
fn two_branches_are_not_certified_from_either_description() {
    let family = SelectionFamily::between(&scalar(-1.0), &scalar(1.0)).unwrap();
    let descriptions = [
        Elements::Hull(vec![scalar(1.0)]),
        Elements::Hull(vec![scalar(-1.0), scalar(1.0)]),
        Elements::Family(family),
    ];
    for elements in descriptions {
        let function = two_branches(&elements);
        let Invertibility::Refuted(found) = function.invertibility() else {
            panic!("{:?}", function.invertibility());
        };
        assert_eq!(found.null_vector, [1.0]);
        assert!(found.opposite.is_some() && found.residual <= 1e-10);
        let dy = function.jvp(&[1.0]).unwrap();
        assert!(!dy.trusted && dy.meaning == Meaning::Chosen);
        assert!(matches!(
            dy.warnings[..],
            [Warning::SeveralElements, Warning::NotCertified { .. }]
        ));
    }
    // A promise that the element given breaks.
    for elements in [
        Elements::StronglyMonotone { modulus: 0.5 },
        Elements::Splitting(scalar(0.0)),
    ] {
        assert!(!two_branches(&elements).invertibility().is_certified());
    }
}

#[test]
fn vertices_alone_certify_nothing() {
    // Two rotations by +-100 degrees: both invertible, determinants 1, no singular element on the segment between them is shown by
    // signs; and their mean is a multiple of the identity that turns none of them into a monotone matrix.
    let turn = |degrees: f64| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        dense(2, 2, vec![cos, sin, -sin, cos])
    };
    let at = |degrees: f64| Linearization {
        y: vec![0.0; 2],
        f: vec![0.0; 2],
        a: dense(2, 1, vec![1.0, 0.0]),
        b: sparse(&turn(degrees)),
    };
    let certify = |degrees: f64| {
        let others = Elements::Hull(vec![turn(-degrees)]);
        let function = ImplicitFunction::new(at(degrees), &others, &Settings::default());
        function.unwrap().invertibility().clone()
    };
    // The hull of +-60 degrees is monotone; that of +-120 is -monotone; +-90 meet at 0.
    for degrees in [60.0, 120.0] {
        let Invertibility::Bounded {
            least_singular_value: bound,
        } = certify(degrees)
        else {
            panic!("{:?}", certify(degrees));
        };
        assert!((bound - 0.5).abs() <= 1e-12);
    }
    assert!(!certify(90.0).is_certified());
    // Three turns by 120 degrees: their hull contains 0.
    let others = Elements::Hull(vec![turn(120.0), turn(240.0)]);
    let function = ImplicitFunction::new(at(0.0), &others, &Settings::default()).unwrap();
    assert!(matches!(
        function.invertibility(),
        Invertibility::Unknown { .. }
    ));
}

#[test]
fn bounds_on_entries_are_decided_by_determinants() {
    // [1 .. 2, -1 .. 1; 0, 1 .. 3]: triangular, determinants from 1 to 6.
    let lower = dense(2, 2, vec![1.0, 0.0, -1.0, 1.0]);
    let upper = dense(2, 2, vec![2.0, 0.0, 1.0, 3.0]);
    let family = SelectionFamily::between(&lower, &upper).unwrap();
    let at = Linearization {
        y: vec![0.0; 2],
        f: vec![0.0; 2],
        a: dense(2, 1, vec![1.0, 1.0]),
        b: sparse(&lower),
    };
    let function =
        ImplicitFunction::new(at, &Elements::Family(family), &Settings::default()).unwrap();
    let Invertibility::Determinants { ratio } = *function.invertibility() else {
        panic!("{:?}", function.invertibility());
    };
    assert!((ratio - 1.0 / 6.0).abs() <= 1e-14);
    assert!(matches!(
        SelectionFamily::between(&upper, &lower),
        Err(Error::Setting { .. })
    ));
}

#[test]
fn splittings_are_certified_with_a_bound_that_holds() {
    let mut least = f64::INFINITY;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let n = 1 + random.below(5);
        // M = m I + G'G + skew.
        let (g, s) = (random.normal_vec(n * n), random.normal_vec(n * n));
        let m = 0.05 + random.unit();
        let entry = |k: usize| {
            let (i, j) = (k % n, k / n);
            let gram: f64 = (0..n).map(|l| g[i * n + l] * g[j * n + l]).sum();
            gram + s[i * n + j] - s[j * n + i] + if i == j { m } else { 0.0 }
        };
        let data: Vec<f64> = (0..n * n).map(entry).collect();
        let operator = dense(n, n, data.clone());
        let d: Vec<f64> = (0..n).map(|_| random.unit().round()).collect();
        let mut b = data;
        for (k, b) in b.iter_mut().enumerate() {
            let (i, j) = (k % n, k / n);
            let identity = if i == j { 1.0 } else { 0.0 };
            *b = identity - d[i] * (identity - *b);
        }
        let at = Linearization {
            y: vec![0.0; n],
            f: vec![0.0; n],
            a: dense(n, 1, vec![1.0; n]),
            b: sparse(&dense(n, n, b.clone())),
        };
        let elements = Elements::Splitting(operator);
        let function = ImplicitFunction::new(at, &elements, &Settings::default()).unwrap();
        let Invertibility::Bounded {
            least_singular_value: bound,
        } = *function.invertibility()
        else {
            panic!("{:?}", function.invertibility());
        };
        for _ in 0..20 {
            let u = random.normal_vec(n);
            let mut out = vec![0.0; n];
            dense(n, n, b.clone()).apply(&u, &mut out).unwrap();
            assert!(norm(&out) >= bound * norm(&u));
            least = least.min(norm(&out) / (bound * norm(&u)));
        }
    }
    println!("least ratio to the bound {least:.3}");
    // Not monotone: not certified.
    let at = Linearization {
        y: vec![0.0],
        f: vec![0.0],
        a: scalar(1.0),
        b: sparse(&scalar(1.0)),
    };
    let elements = Elements::Splitting(scalar(-0.1));
    let function = ImplicitFunction::new(at, &elements, &Settings::default()).unwrap();
    assert!(!function.invertibility().is_certified());
}

/// minimize 1/2 |x|^2 + q'x subject to x <= b, in two variables.
fn box_program() -> ConeProgram {
    let (indptr, indices, values) = ([0_usize, 1, 2], [0_usize, 1], [1.0, 1.0]);
    let identity = (&indptr[..], &indices[..], &values[..]);
    ConeProgram::from_csc(
        identity,
        vec![-1.0, 0.3],
        identity,
        vec![0.25, 1.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap()
}

#[test]
fn a_chain_of_layers_is_the_product_of_their_jacobians() {
    // theta -> (q, b) -> (x, z, s) -> x -> y with y^3 + y = E x.
    let program = box_program();
    let map = |rows: usize, entries: &[(usize, usize, f64)]| {
        let mut t = sprs::TriMat::new((rows, 2));
        entries.iter().for_each(|&(i, j, v)| t.add_triplet(i, j, v));
        t.to_csc::<usize>()
    };
    let q = map(2, &[(0, 0, 0.5), (1, 1, 2.0)]);
    let b = map(2, &[(0, 0, 0.25), (0, 1, -1.0)]);
    let parametrization = Parametrization::new(&program, None, Some(&q), None, Some(&b)).unwrap();
    let settings = Settings::default();
    let e = dense(2, 2, vec![1.0, -2.0, 0.5, 3.0]);
    let cubic_root = |t: f64| {
        (0..60).fold(t / (1.0 + t.abs()), |y: f64, _| {
            y - (y * y * y + y - t) / (3.0 * y * y + 1.0)
        })
    };
    let forward = |theta: &[f64]| {
        let mut data = DataTangent::default();
        parametrization.evaluate_into(theta, &mut data).unwrap();
        let moved = program.with_q(data.q).unwrap().with_b(data.b).unwrap();
        let solution = solve(&moved, &settings).unwrap();
        let mut ex = vec![0.0; 2];
        e.apply(&solution.x, &mut ex).unwrap();
        let y: Vec<f64> = ex.iter().map(|t| cubic_root(*t)).collect();
        (moved, solution, y)
    };
    let theta = [0.1, -0.2];
    let (moved, solution, y) = forward(&theta);
    let derivative = Derivative::new(&moved, &solution, &settings).unwrap();
    let select_x = FnOperator::new(
        2,
        6,
        |u: &[f64], out: &mut [f64]| out.copy_from_slice(&u[..2]),
        |w: &[f64], out: &mut [f64]| {
            out.fill(0.0);
            out[..2].copy_from_slice(w);
        },
    );
    let a = dense(2, 2, e.data.iter().map(|v| -v).collect());
    let slopes: Vec<f64> = y.iter().map(|y| 3.0 * y * y + 1.0).collect();
    let cubic = ImplicitFunction::new(
        Linearization {
            f: vec![0.0; 2],
            a,
            b: sparse(&dense(2, 2, vec![slopes[0], 0.0, 0.0, slopes[1]])),
            y,
        },
        &Elements::Single,
        &settings,
    )
    .unwrap();
    let chain = Chain::new(vec![
        Box::new(Smooth(&parametrization)),
        Box::new(&derivative),
        Box::new(Smooth(select_x)),
        Box::new(&cubic),
    ])
    .unwrap();
    assert_eq!((chain.inputs(), chain.outputs()), (2, 2));
    let (dtheta, gy) = ([0.7, -0.4], [1.0, 2.0]);
    let dy = chain.push_forward(&dtheta).unwrap();
    let gradient = chain.pull_back(&gy).unwrap();
    assert!(dy.trusted && gradient.trusted && dy.meaning == Meaning::Derivative);
    assert!(dy.evidence.residual <= 1e-12 && dy.evidence.error > 0.0);
    let at = |t: f64| forward(&[theta[0] + t * dtheta[0], theta[1] + t * dtheta[1]]).2;
    let (up, down) = (at(1e-5), at(-1e-5));
    let difference: Vec<f64> = up.iter().zip(&down).map(|(u, d)| (u - d) / 2e-5).collect();
    assert!(relative(&dy.value, &difference) <= DIFFERENCES);
    assert!((dot(&gy, &dy.value) - dot(&gradient.value, &dtheta)).abs() <= ALGEBRA);
}

#[test]
fn one_doubtful_map_makes_the_chain_doubtful() {
    let good = Smooth(scalar(2.0));
    let bad = two_branches(&Elements::Hull(vec![scalar(1.0)]));
    let chain = Chain::new(vec![Box::new(&good), Box::new(&bad), Box::new(&good)]).unwrap();
    let gradient = chain.pull_back(&[1.0]).unwrap();
    assert!(!gradient.trusted && gradient.meaning == Meaning::Chosen);
    assert_eq!(gradient.warnings.len(), 2);
    assert_eq!(gradient.value, [4.0]);
    assert!(matches!(Chain::new(Vec::new()), Err(Error::Empty { .. })));
    let wide = Smooth(dense(2, 1, vec![1.0, 1.0]));
    let mismatch = Chain::new(vec![Box::new(&wide), Box::new(&good)]);
    assert!(matches!(mismatch, Err(Error::Dimension { .. })));
}

#[test]
fn a_derivative_as_a_map_takes_stacked_vectors() {
    let program = box_program();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let tangent = DataTangent::random(&program, 3);
    let stacked = [
        tangent.p.clone(),
        tangent.q.clone(),
        tangent.a.clone(),
        tangent.b.clone(),
    ]
    .concat();
    let dy = derivative.push_forward(&stacked).unwrap().value;
    let own = derivative.jvp(&tangent).unwrap().value;
    assert_eq!(dy, [own.x, own.z, own.s].concat());
    let seed = SolutionTangent::random(&program, 4);
    let stacked = [seed.x.clone(), seed.z.clone(), seed.s.clone()].concat();
    let g = derivative.pull_back(&stacked).unwrap().value;
    let own = derivative.vjp(&seed).unwrap().value;
    assert_eq!(g, [own.p, own.q, own.a, own.b].concat());
    assert!(matches!(
        derivative.pull_back(&[1.0]),
        Err(Error::Dimension { .. })
    ));
}

#[test]
fn equations_that_are_none_are_refused() {
    let settings = Settings::default();
    let at = || Linearization {
        y: vec![0.0; 2],
        f: vec![0.0; 2],
        a: dense(2, 1, vec![1.0, 1.0]),
        b: sparse(&dense(2, 2, vec![1.0, 0.0, 0.0, 1.0])),
    };
    let refuse = |at: Linearization<DenseMatrix>| {
        ImplicitFunction::new(at, &Elements::Single, &settings).unwrap_err()
    };
    let wrong = [
        Linearization {
            f: vec![0.0],
            ..at()
        },
        Linearization {
            a: scalar(1.0),
            ..at()
        },
        Linearization {
            b: sparse(&scalar(1.0)),
            ..at()
        },
        Linearization {
            b: sparse(&dense(2, 1, vec![1.0; 2])),
            ..at()
        },
    ];
    for at in wrong {
        assert!(matches!(refuse(at), Error::Dimension { .. }));
    }
    for (y, f) in [(f64::NAN, 0.0), (0.0, f64::INFINITY)] {
        let at = Linearization {
            y: vec![y, 0.0],
            f: vec![f, 0.0],
            ..at()
        };
        assert!(matches!(refuse(at), Error::NonFinite { .. }));
    }
    assert!(dense(1, 1, vec![f64::NAN]).to_sparse("B").is_err());
    assert!(dense(2, 1, vec![1.0]).to_sparse("B").is_err());
    let endless = dense(0, usize::MAX, Vec::new()).to_sparse("B");
    assert!(matches!(endless, Err(Error::TooLarge { .. })));
    let function = ImplicitFunction::new(at(), &Elements::Single, &settings).unwrap();
    assert!(matches!(
        function.jvp(&[1.0, 2.0]),
        Err(Error::Dimension { .. })
    ));
    assert!(matches!(
        function.vjp(&[f64::NAN, 0.0]),
        Err(Error::NonFinite { .. })
    ));
    for elements in [
        Elements::Hull(vec![scalar(1.0)]),
        Elements::Splitting(scalar(1.0)),
        Elements::Family(SelectionFamily::new(scalar(1.0)).unwrap()),
    ] {
        let refused = ImplicitFunction::new(at(), &elements, &settings);
        assert!(matches!(refused, Err(Error::Dimension { .. })));
    }
    let refused = ImplicitFunction::new(
        at(),
        &Elements::StronglyMonotone { modulus: 0.0 },
        &settings,
    );
    assert!(matches!(refused, Err(Error::Setting { .. })));
    // Nothing at all is an equation too.
    let nothing = Linearization {
        y: Vec::new(),
        f: Vec::new(),
        a: dense(0, 3, Vec::new()),
        b: sparse(&dense(0, 0, Vec::new())),
    };
    let function = ImplicitFunction::new(nothing, &Elements::Single, &settings).unwrap();
    assert!(function.jvp(&[1.0; 3]).unwrap().value.is_empty());
    assert_eq!(function.vjp(&[]).unwrap().value, [0.0; 3]);
}
