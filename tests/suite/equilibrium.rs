//! Monotone equilibrium layers: iterations as counted elsewhere, derivatives against differences and against the variational
//! inequality they are.

use conediff::systems::equilibrium::{
    Activation, Equilibrium, EquilibriumLayer, EquilibriumSettings, EquilibriumTangent, Iteration,
    MonotoneWeights,
};
use conediff::{
    Chain, Cone, DenseMatrix, DerivativeMap, Error, Invertibility, LinearOperator, Meaning,
    Selection, Settings, Smooth, VariationalDerivative, VariationalInequality, Warning,
};

use crate::support::{ALGEBRA, Random, norm, relative};

fn dense(rows: usize, cols: usize, data: Vec<f64>) -> DenseMatrix {
    DenseMatrix { rows, cols, data }
}

fn random_dense(rows: usize, cols: usize, scale: f64, random: &mut Random) -> DenseMatrix {
    let data = random.normal_vec(rows * cols);
    dense(rows, cols, data.iter().map(|v| scale * v).collect())
}

const ACTIVATIONS: [Activation; 3] = [
    Activation::Relu,
    Activation::Clamp,
    Activation::SoftThreshold { threshold: 0.3 },
];

/// Weights of size 1/sqrt(n), all of them free.
struct Parameters {
    weights: MonotoneWeights,
    u: DenseMatrix,
    bias: Vec<f64>,
    x: DenseMatrix,
    activation: Activation,
}

impl Parameters {
    fn new(n: usize, p: usize, columns: usize, m: f64, activation: Activation, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let scale = 1.0 / (n as f64).sqrt();
        Self {
            weights: MonotoneWeights {
                m,
                a: random_dense(n, n, scale, &mut random),
                b: random_dense(n, n, scale, &mut random),
            },
            u: random_dense(n, p, 1.0 / (p as f64).sqrt(), &mut random),
            bias: random.normal_vec(n),
            x: random_dense(p, columns, 1.0, &mut random),
            activation,
        }
    }

    fn layer(&self) -> EquilibriumLayer {
        let (weights, u) = (self.weights.clone(), self.u.clone());
        EquilibriumLayer::new(weights, u, self.bias.clone(), self.activation).unwrap()
    }

    /// Moved by h along a tangent.
    fn moved(&self, t: &EquilibriumTangent, h: f64) -> Self {
        let add = |a: &DenseMatrix, d: &DenseMatrix| {
            let data = a.data.iter().zip(&d.data).map(|(a, d)| a + h * d);
            dense(a.rows, a.cols, data.collect())
        };
        Self {
            weights: MonotoneWeights {
                m: self.weights.m + h * t.m,
                a: add(&self.weights.a, &t.a),
                b: add(&self.weights.b, &t.b),
            },
            u: add(&self.u, &t.u),
            bias: self
                .bias
                .iter()
                .zip(&t.bias)
                .map(|(b, d)| b + h * d)
                .collect(),
            x: add(&self.x, &t.x),
            activation: self.activation,
        }
    }

    fn tangent(&self, seed: u64) -> EquilibriumTangent {
        let mut random = Random::new(seed);
        let mut t = self.layer().zero_tangent(&self.x);
        t.m = random.normal();
        for part in [&mut t.a, &mut t.b, &mut t.u, &mut t.x] {
            part.data = random.normal_vec(part.data.len());
        }
        t.bias = random.normal_vec(t.bias.len());
        t
    }

    /// z to the last digits.
    fn solve(&self) -> DenseMatrix {
        let layer = self.layer();
        let settings = EquilibriumSettings {
            tolerance: 1e-13,
            ..EquilibriumSettings::default()
        };
        let found = layer.forward(&self.x, &settings).unwrap();
        layer
            .derivative(&self.x, &found, &Settings::default())
            .unwrap()
            .z()
    }

    /// The least distance of a pre-activation to its kink.
    fn margin(&self) -> f64 {
        let (layer, z) = (self.layer(), self.solve());
        let w = layer.operator();
        let mut least = f64::INFINITY;
        for j in 0..z.cols {
            let (mut t, mut ux) = (vec![0.0; z.rows], vec![0.0; z.rows]);
            w.apply(z.column(j).unwrap(), &mut t).unwrap();
            self.u.apply(self.x.column(j).unwrap(), &mut ux).unwrap();
            for i in 0..z.rows {
                let t = t[i] + ux[i] + self.bias[i];
                least = least.min(match self.activation {
                    Activation::Clamp => t.abs().min((t - 1.0).abs()),
                    Activation::SoftThreshold { threshold } => (t.abs() - threshold).abs(),
                    _ => t.abs(),
                });
            }
        }
        least
    }
}

/// A, B and c of tests/data/equilibrium.csv, n = 60.
fn golden(m: f64) -> (EquilibriumLayer, DenseMatrix) {
    let rows: Vec<Vec<f64>> = include_str!("../data/equilibrium.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').map(|v| v.parse().unwrap()).collect())
        .collect();
    let n = rows[0].len();
    let by_columns = |rows: &[Vec<f64>]| {
        let data = (0..n * n).map(|k| rows[k % n][k / n]).collect();
        dense(n, n, data)
    };
    let weights = MonotoneWeights {
        m,
        a: by_columns(&rows[..n]),
        b: by_columns(&rows[n..2 * n]),
    };
    let (u, bias) = (dense(n, 0, Vec::new()), rows[2 * n].clone());
    let layer = EquilibriumLayer::new(weights, u, bias, Activation::Relu).unwrap();
    (layer, dense(0, 1, Vec::new()))
}

#[test]
fn splittings_take_the_iterations_counted_elsewhere() {
    for (m, step, expected) in [(1.0, 0.3, (63, 28)), (0.1, 0.16, (219, 56))] {
        let (layer, x) = golden(m);
        let forward = |iteration| {
            let settings = EquilibriumSettings {
                iteration,
                ..EquilibriumSettings::default()
            };
            layer.forward(&x, &settings).unwrap()
        };
        let one = forward(Iteration::ForwardBackward { step: Some(step) });
        let other = forward(Iteration::PeacemanRachford { step: Some(0.5) });
        println!("m = {m}: {} and {}", one.iterations, other.iterations);
        for (found, expected) in [(one.iterations, expected.0), (other.iterations, expected.1)] {
            assert!(
                (found as f64 / f64::from(expected) - 1.0).abs() <= 0.1,
                "{found}"
            );
        }
        assert!(relative(&one.z.data, &other.z.data) <= 1e-8);
        // Without a step both find one that converges.
        for iteration in [
            Iteration::ForwardBackward { step: None },
            Iteration::PeacemanRachford { step: None },
        ] {
            let found = forward(iteration);
            println!("m = {m}: {} without a step", found.iterations);
            assert!(relative(&found.z.data, &other.z.data) <= 1e-6);
        }
    }
}

#[test]
fn the_jacobian_is_that_of_differences() {
    let settings = Settings::default();
    for m in [1.0, 0.1] {
        let (layer, x) = golden(m);
        let forward = |bias: Vec<f64>| {
            let w = layer.operator();
            let (u, zero) = (dense(60, 0, Vec::new()), dense(0, 1, Vec::new()));
            let layer = EquilibriumLayer::from_operator(w, u, bias, Activation::Relu).unwrap();
            let found = layer
                .forward(&zero, &EquilibriumSettings::default())
                .unwrap();
            layer.derivative(&zero, &found, &settings).unwrap().z().data
        };
        let found = layer.forward(&x, &EquilibriumSettings::default()).unwrap();
        let derivative = layer.derivative(&x, &found, &settings).unwrap();
        let (_, bias) = golden_bias();
        let mut largest = 0.0_f64;
        for i in 0..60 {
            let mut tangent = layer.zero_tangent(&x);
            tangent.bias[i] = 1.0;
            let dz = derivative.jvp(&tangent).unwrap();
            assert!(dz.trusted && dz.evidence.residual <= 1e-14);
            let h = 1e-5;
            let at = |h: f64| {
                let mut bias = bias.clone();
                bias[i] += h;
                forward(bias)
            };
            let (up, down) = (at(h), at(-h));
            for ((u, d), z) in up.iter().zip(&down).zip(&dz.value.data) {
                largest = largest.max(((u - d) / (2.0 * h) - z).abs());
            }
        }
        println!("m = {m}: largest difference {largest:.1e}");
        assert!(largest <= 1e-8);
    }
}

fn golden_bias() -> (usize, Vec<f64>) {
    let line = include_str!("../data/equilibrium.csv")
        .lines()
        .last()
        .unwrap();
    (60, line.split(',').map(|v| v.parse().unwrap()).collect())
}

#[test]
fn gradients_of_all_parameters_are_those_of_differences() {
    let settings = Settings::default();
    let mut checked = 0;
    for seed in 0..12 {
        let activation = ACTIVATIONS[seed as usize % 3];
        let parameters = Parameters::new(8, 3, 4, 0.5, activation, seed);
        if parameters.margin() < 1e-3 {
            continue;
        }
        checked += 1;
        let (layer, x) = (parameters.layer(), &parameters.x);
        let found = layer.forward(x, &EquilibriumSettings::default()).unwrap();
        let derivative = layer.derivative(x, &found, &settings).unwrap();
        let tangent = parameters.tangent(seed);
        let dz = derivative.jvp(&tangent).unwrap();
        assert!(dz.trusted && dz.meaning == Meaning::Derivative);
        let h = 1e-6;
        let (up, down) = (
            parameters.moved(&tangent, h).solve(),
            parameters.moved(&tangent, -h).solve(),
        );
        let difference: Vec<f64> = up
            .data
            .iter()
            .zip(&down.data)
            .map(|(u, d)| (u - d) / (2.0 * h))
            .collect();
        let error = relative(&dz.value.data, &difference);
        assert!(error <= 1e-8, "{activation:?} {error:e}");
        let mut random = Random::new(seed + 50);
        let gz = random_dense(8, 4, 1.0, &mut random);
        let gradient = derivative.vjp(&gz).unwrap();
        let left: f64 = gz.data.iter().zip(&dz.value.data).map(|(a, b)| a * b).sum();
        let right = gradient.value.dot(&tangent);
        assert!((left - right).abs() <= ALGEBRA * (norm(&gz.data) * norm(&dz.value.data)));
        assert!(gradient.trusted && gradient.value.w.data.is_empty());
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn it_is_the_variational_inequality_with_p_not_symmetric() {
    let settings = Settings::default();
    for seed in 0..6 {
        let parameters = Parameters::new(10, 2, 1, 0.4, Activation::Relu, seed);
        let layer = parameters.layer();
        let found = layer
            .forward(&parameters.x, &EquilibriumSettings::default())
            .unwrap();
        let derivative = layer.derivative(&parameters.x, &found, &settings).unwrap();
        let n = 10;
        let w = layer.operator();
        let mut p = w.clone();
        for (k, p) in p.data.iter_mut().enumerate() {
            *p = if k % n == k / n { 1.0 } else { 0.0 } - *p;
        }
        let mut minus = dense(n, n, vec![0.0; n * n]);
        (0..n).for_each(|i| minus.data[i * n + i] = -1.0);
        let mut q = vec![0.0; n];
        parameters.u.apply(&parameters.x.data, &mut q).unwrap();
        q.iter_mut()
            .zip(&parameters.bias)
            .for_each(|(q, b)| *q = -*q - b);
        let vi = VariationalInequality::new(
            p.to_sparse("P").unwrap(),
            q.clone(),
            minus.to_sparse("A").unwrap(),
            vec![0.0; n],
            vec![Cone::Nonnegative(n)],
        )
        .unwrap();
        let z = derivative.z().data;
        // The multiplier is Px + q.
        let mut y = q;
        let mut pz = vec![0.0; n];
        p.apply(&z, &mut pz).unwrap();
        y.iter_mut()
            .zip(&pz)
            .zip(&z)
            .for_each(|((y, p), z)| *y = if *z > 0.0 { 0.0 } else { *y + p });
        let solution = vi.given(z.clone(), y, z.clone()).unwrap();
        let other = VariationalDerivative::new(&vi, &solution, &settings).unwrap();
        let mut random = Random::new(seed);
        let gz = random.normal_vec(n);
        let mut seed = vi.zero_cotangent();
        seed.x.clone_from(&gz);
        let theirs = other.vjp(&seed).unwrap();
        let ours = derivative.vjp(&dense(n, 1, gz)).unwrap();
        // q = -(Ux + b): opposite signs; P = I - W the same.
        let of_q: Vec<f64> = theirs.value.q.iter().map(|g| -g).collect();
        assert!(relative(&ours.value.bias, &of_q) <= 1e-12);
        let w_layer = EquilibriumLayer::from_operator(
            w,
            parameters.u.clone(),
            parameters.bias.clone(),
            Activation::Relu,
        )
        .unwrap();
        let found = Equilibrium {
            z: dense(n, 1, z),
            ..found
        };
        let own = w_layer
            .derivative(&parameters.x, &found, &settings)
            .unwrap();
        let of_w = own.vjp(&dense(n, 1, seed.x.clone())).unwrap().value.w.data;
        let of_p: Vec<f64> = theirs.value.p.iter().map(|g| -g).collect();
        let error = relative(&of_w, &of_p);
        println!("difference {error:.1e}");
        assert!(error <= 1e-12);
    }
}

/// The least singular value of a small matrix, by inverse iteration on M'M with Gaussian elimination.
fn least_singular_value(n: usize, m: &[f64]) -> f64 {
    let mut gram = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            gram[i * n + j] = (0..n).map(|k| m[i * n + k] * m[j * n + k]).sum();
        }
    }
    let solve = |rhs: &[f64]| {
        let (mut a, mut y) = (gram.clone(), rhs.to_vec());
        for k in 0..n {
            for i in k + 1..n {
                let factor = a[i * n + k] / a[k * n + k];
                (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
                y[i] -= factor * y[k];
            }
        }
        for k in (0..n).rev() {
            let sum: f64 = (k + 1..n).map(|j| a[k * n + j] * y[j]).sum();
            y[k] = (y[k] - sum) / a[k * n + k];
        }
        y
    };
    let mut v: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
    for _ in 0..100 {
        let y = solve(&v);
        let size = norm(&y);
        v = y.iter().map(|y| y / size).collect();
    }
    let product: Vec<f64> = (0..n)
        .map(|i| (0..n).map(|j| m[j * n + i] * v[j]).sum())
        .collect();
    norm(&product)
}

#[test]
fn no_singular_value_is_below_the_bound() {
    let mut least = f64::INFINITY;
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let n = 1 + random.below(6);
        let m = 10.0_f64.powf(-3.0 * random.unit());
        let parameters = Parameters::new(n, 1, 1, m, Activation::Relu, seed);
        let layer = parameters.layer();
        let Invertibility::Bounded {
            least_singular_value: bound,
        } = layer.invertibility()
        else {
            panic!("{:?}", layer.invertibility());
        };
        assert!((bound - m / (1.0 + layer.lipschitz())).abs() <= 1e-15);
        let w = layer.operator().data;
        for kind in 0..3 {
            let d: Vec<f64> = (0..n)
                .map(|_| match kind {
                    0 => 1.0,
                    1 => random.unit().round(),
                    _ => random.unit(),
                })
                .collect();
            let element: Vec<f64> = (0..n * n)
                .map(|k| if k % n == k / n { 1.0 } else { 0.0 } - d[k % n] * w[k])
                .collect();
            let found = least_singular_value(n, &element);
            assert!(
                found >= bound * (1.0 - 1e-9),
                "seed {seed}: {found:e} {bound:e}"
            );
            least = least.min(found / bound);
        }
    }
    println!("least singular value over its bound: {least:.3}");
}

#[test]
fn kinks_are_flagged_and_their_elements_are_one_sided_derivatives() {
    let scalar = |v: f64| dense(1, 1, vec![v]);
    let settings = Settings::default();
    // W = -1: z = prox(-z + x), kinks at x = 0 (relu), x = 0 and 2 (clamp), x = +-1 (threshold 1).
    let soft = Activation::SoftThreshold { threshold: 1.0 };
    let cases = [
        (Activation::Relu, 0.0),
        (Activation::Clamp, 0.0),
        (Activation::Clamp, 2.0),
        (soft, 1.0),
        (soft, -1.0),
    ];
    for (activation, x) in cases {
        let layer =
            EquilibriumLayer::from_operator(scalar(-1.0), scalar(1.0), vec![0.0], activation);
        let layer = layer.unwrap();
        // A second column far from the kink.
        let x = dense(1, 2, vec![x, 1.5]);
        let found = layer.forward(&x, &EquilibriumSettings::default()).unwrap();
        let slope = |selection| {
            let settings = settings.with_selection(selection);
            let derivative = layer.derivative(&x, &found, &settings).unwrap();
            let gradient = derivative.vjp(&dense(1, 2, vec![1.0, 1.0])).unwrap();
            assert!(!gradient.trusted, "{activation:?}");
            assert_eq!(derivative.kinks().len(), 1);
            assert_eq!(
                (derivative.kinks()[0].cone, &derivative.kinks()[0].rows[..]),
                (0, &[0][..])
            );
            assert!(matches!(gradient.warnings[..], [Warning::AtKink(_)]));
            assert_eq!(gradient.meaning, Meaning::Element { selection });
            gradient.value.x.data
        };
        assert_eq!(slope(Selection::Inactive)[0], 0.0);
        assert!((slope(Selection::Active)[0] - 0.5).abs() <= 1e-15);
        // d / (1 + d) at d = 1/2.
        assert!((slope(Selection::Half)[0] - 1.0 / 3.0).abs() <= 1e-15);
        let random = slope(Selection::Random(3))[0];
        assert!(random > 0.0 && random < 0.5);
        assert!((slope(Selection::Half)[1] - 0.5).abs() <= 1e-15);
        let strict = layer.derivative(&x, &found, &settings.with_strict(true));
        assert!(matches!(strict, Err(Error::NotTrusted { margin, .. }) if margin <= 1e-9));
        assert!(layer.invertibility().is_certified());
    }
    // Without a threshold there is no kink.
    let identity = Activation::SoftThreshold { threshold: 0.0 };
    let layer = EquilibriumLayer::from_operator(scalar(-1.0), scalar(1.0), vec![0.0], identity);
    let layer = layer.unwrap();
    let x = scalar(0.0);
    let found = layer.forward(&x, &EquilibriumSettings::default()).unwrap();
    let derivative = layer.derivative(&x, &found, &settings).unwrap();
    let gradient = derivative.vjp(&scalar(1.0)).unwrap();
    assert!(gradient.trusted && gradient.value.x.data == [0.5]);
}

#[test]
fn a_loose_equilibrium_is_refined_and_one_that_is_none_is_not_trusted() {
    let parameters = Parameters::new(12, 2, 3, 0.3, Activation::Relu, 4);
    let layer = parameters.layer();
    let loose = EquilibriumSettings {
        tolerance: 1e-2,
        ..EquilibriumSettings::default()
    };
    let found = layer.forward(&parameters.x, &loose).unwrap();
    let exact = parameters.solve();
    assert!(relative(&found.z.data, &exact.data) >= 1e-5);
    let mut settings = Settings::default();
    let derivative = layer.derivative(&parameters.x, &found, &settings).unwrap();
    assert!(relative(&derivative.z().data, &exact.data) <= 1e-13);
    assert!(derivative.point_error() <= 1e-13 && derivative.warnings().is_empty());
    settings.refine.enabled = false;
    let derivative = layer.derivative(&parameters.x, &found, &settings).unwrap();
    assert!(matches!(
        derivative.warnings(),
        [.., Warning::NotAZero { .. }]
    ));
    assert!(!derivative.jvp(&parameters.tangent(1)).unwrap().trusted);
}

#[test]
fn layers_chain() {
    let first = Parameters::new(6, 2, 2, 0.5, Activation::Relu, 21);
    let second = Parameters {
        x: first.solve(),
        ..Parameters::new(4, 6, 2, 0.5, Activation::Clamp, 22)
    };
    let settings = Settings::default();
    let at = |p: &Parameters| {
        p.layer()
            .forward(&p.x, &EquilibriumSettings::default())
            .unwrap()
    };
    let (one, two) = (first.layer(), second.layer());
    let one = one.derivative(&first.x, &at(&first), &settings).unwrap();
    let two = two.derivative(&second.x, &at(&second), &settings).unwrap();
    let chain = Chain::new(vec![
        Box::new(Smooth(dense(4, 1, vec![1.0, -2.0, 0.5, 1.0]))),
        Box::new(&one),
        Box::new(&two),
    ])
    .unwrap();
    let dz = chain.push_forward(&[1.0]).unwrap();
    assert!(dz.trusted);
    let at = |h: f64| {
        let mut tangent = first.layer().zero_tangent(&first.x);
        tangent.x.data = vec![1.0, -2.0, 0.5, 1.0];
        let x = first.moved(&tangent, h).solve();
        let zero = second.layer().zero_tangent(&second.x);
        Parameters {
            x,
            ..second.moved(&zero, 0.0)
        }
        .solve()
        .data
    };
    let (up, down) = (at(1e-6), at(-1e-6));
    let difference: Vec<f64> = up.iter().zip(&down).map(|(u, d)| (u - d) / 2e-6).collect();
    assert!(relative(&dz.value, &difference) <= 1e-8);
    let gz = vec![1.0; 8];
    let gradient = chain.pull_back(&gz).unwrap().value[0];
    assert!((gradient - dz.value.iter().sum::<f64>()).abs() <= ALGEBRA);
}

#[test]
fn an_iteration_that_does_not_converge_says_so() {
    let (layer, x) = golden(0.1);
    let run = |iteration, max_iterations| {
        let settings = EquilibriumSettings {
            iteration,
            max_iterations,
            ..EquilibriumSettings::default()
        };
        layer.forward(&x, &settings).unwrap_err()
    };
    let short = run(Iteration::PeacemanRachford { step: Some(0.5) }, 10);
    assert!(matches!(
        short,
        Error::NotConverged { method: "Peaceman-Rachford", iterations: 10, reached, .. } if reached > 1e-10
    ));
    // A step far too long leaves the finite numbers.
    let error = run(Iteration::ForwardBackward { step: Some(50.0) }, 10_000);
    assert!(error.to_string().contains("forward-backward"), "{error}");
    assert!(matches!(error, Error::NotConverged { .. }));
    for step in [0.0, -1.0, f64::NAN] {
        let error = run(Iteration::ForwardBackward { step: Some(step) }, 10);
        assert!(matches!(error, Error::Setting { name: "step", .. }));
    }
}

#[test]
fn operators_that_are_not_monotone_are_named() {
    let square = |data: Vec<f64>| dense(2, 2, data);
    let make = |w: DenseMatrix| {
        EquilibriumLayer::from_operator(
            w,
            dense(2, 1, vec![1.0; 2]),
            vec![0.0; 2],
            Activation::Relu,
        )
    };
    // I - W = [0 1; -1 1/2]: not strongly monotone along the first axis.
    for (w, modulus) in [
        (square(vec![1.0, 1.0, -1.0, 0.5]), 0.0),
        (square(vec![0.0, 0.0, 0.0, 3.0]), -2.0),
    ] {
        let Err(Error::Setting { name, value, .. }) = make(w) else {
            panic!("not monotone");
        };
        assert!(name.contains("I - (W + W')/2") && (value - modulus).abs() <= 1e-15);
    }
    assert!(make(square(vec![0.9, 7.0, -7.0, -3.0])).is_ok());
    for m in [0.0, -0.5, f64::NAN, f64::INFINITY] {
        let weights = MonotoneWeights {
            m,
            a: square(vec![0.0; 4]),
            b: square(vec![0.0; 4]),
        };
        let u = dense(2, 1, vec![1.0; 2]);
        let error = EquilibriumLayer::new(weights, u, vec![0.0; 2], Activation::Relu).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "m", .. }));
    }
}

#[test]
fn malformed_layers_are_refused() {
    let weights = |k: usize, n: usize| MonotoneWeights {
        m: 1.0,
        a: dense(k, n, vec![0.0; k * n]),
        b: dense(n, n, vec![0.0; n * n]),
    };
    let u = |n: usize| dense(n, 1, vec![1.0; n]);
    let make = |weights: MonotoneWeights, u: DenseMatrix, bias: usize| {
        EquilibriumLayer::new(weights, u, vec![0.0; bias], Activation::Relu)
    };
    let wide = MonotoneWeights {
        a: dense(1, 3, vec![0.0; 3]),
        ..weights(1, 2)
    };
    let short = MonotoneWeights {
        b: dense(2, 2, vec![0.0; 3]),
        ..weights(1, 2)
    };
    for made in [
        make(wide, u(2), 2),
        make(short, u(2), 2),
        make(weights(1, 2), u(3), 2),
        make(weights(1, 2), u(2), 1),
    ] {
        assert!(matches!(made, Err(Error::Dimension { .. })));
    }
    let nan = make(weights(1, 2), dense(2, 1, vec![f64::NAN, 0.0]), 2);
    assert!(matches!(nan, Err(Error::NonFinite { .. })));
    let negative = Activation::SoftThreshold { threshold: -1.0 };
    let made = EquilibriumLayer::new(weights(1, 2), u(2), vec![0.0; 2], negative);
    assert!(matches!(
        made,
        Err(Error::Setting {
            name: "threshold",
            ..
        })
    ));
    let layer = make(weights(1, 2), u(2), 2).unwrap();
    let (forward, settings) = (EquilibriumSettings::default(), Settings::default());
    for x in [dense(2, 1, vec![0.0; 2]), dense(1, 2, vec![0.0])] {
        assert!(matches!(
            layer.forward(&x, &forward),
            Err(Error::Dimension { .. })
        ));
    }
    // Columns of nothing, as many as there are numbers.
    let endless = dense(0, usize::MAX, Vec::new());
    let weights = weights(0, 2);
    let fixed = EquilibriumLayer::new(
        weights,
        dense(2, 0, Vec::new()),
        vec![0.0; 2],
        Activation::Relu,
    );
    let found = fixed.unwrap().forward(&endless, &forward);
    assert!(matches!(found, Err(Error::TooLarge { .. })));
    let nan = layer.forward(&dense(1, 1, vec![f64::NAN]), &forward);
    assert!(matches!(nan, Err(Error::NonFinite { .. })));
    let x = dense(1, 1, vec![1.0]);
    let found = layer.forward(&x, &forward).unwrap();
    let two = dense(1, 2, vec![1.0; 2]);
    assert!(matches!(
        layer.derivative(&two, &found, &settings),
        Err(Error::Dimension { .. })
    ));
    let derivative = layer.derivative(&x, &found, &settings).unwrap();
    assert!(matches!(derivative.vjp(&two), Err(Error::Dimension { .. })));
    let tangent = layer.zero_tangent(&two);
    assert!(matches!(
        derivative.jvp(&tangent),
        Err(Error::Dimension { .. })
    ));
    let mut tangent = layer.zero_tangent(&x);
    tangent.m = f64::NAN;
    assert!(matches!(
        derivative.jvp(&tangent),
        Err(Error::NonFinite { .. })
    ));
}

#[test]
fn layers_without_rows_inputs_or_columns_are_layers() {
    let empty = || dense(0, 0, Vec::new());
    let (forward, settings) = (EquilibriumSettings::default(), Settings::default());
    let weights = MonotoneWeights {
        m: 1.0,
        a: empty(),
        b: empty(),
    };
    let nothing = EquilibriumLayer::new(
        weights,
        dense(0, 3, Vec::new()),
        Vec::new(),
        Activation::Relu,
    );
    let from_w = EquilibriumLayer::from_operator(
        empty(),
        dense(0, 3, Vec::new()),
        Vec::new(),
        Activation::Clamp,
    );
    for layer in [nothing.unwrap(), from_w.unwrap()] {
        let x = dense(3, 2, vec![1.0; 6]);
        let found = layer.forward(&x, &forward).unwrap();
        let derivative = layer.derivative(&x, &found, &settings).unwrap();
        let gradient = derivative.vjp(&dense(0, 2, Vec::new())).unwrap();
        assert_eq!(gradient.value.x.data, [0.0; 6]);
    }
    // No A, no inputs; and no columns.
    let weights = MonotoneWeights {
        m: 1.0,
        a: dense(0, 1, Vec::new()),
        b: dense(1, 1, vec![0.0]),
    };
    let layer = EquilibriumLayer::new(
        weights,
        dense(1, 0, Vec::new()),
        vec![2.0],
        Activation::Relu,
    )
    .unwrap();
    let found = layer.forward(&dense(0, 1, Vec::new()), &forward).unwrap();
    assert!((found.z.data[0] - 2.0).abs() <= 1e-9);
    let x = dense(0, 0, Vec::new());
    let found = layer.forward(&x, &forward).unwrap();
    let derivative = layer.derivative(&x, &found, &settings).unwrap();
    let gradient = derivative.vjp(&dense(1, 0, Vec::new())).unwrap();
    assert_eq!(gradient.value.bias, [0.0]);
}
