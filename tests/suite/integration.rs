//! The layers on other frameworks' tensors: one table of checks, a row for each framework.

#[cfg(feature = "burn")]
mod burn;
#[cfg(feature = "candle")]
mod candle;

use crate::support::{Random, norm, relative};
use conediff::integration::OnFailure;
use conediff::{
    Checked, Cone, ConeProgram, ConicLayer, Derivative, Error, Generator, LayerData, LayerSettings,
    Settings, SolutionTangent, SparseMatrix, solve,
};

/// A parameter's rows, each of the same length; one row is every item's.
type Rows = Vec<Vec<f64>>;

/// One forward and backward pass.
struct Call<'a> {
    program: &'a ConeProgram,
    settings: LayerSettings,
    on_failure: OnFailure,
    /// P, q, A, b, of which some are tensors.
    data: [Option<Rows>; 4],
    /// A row of weights w for each item: the loss is the sum of w (y + y^2 / 2) over y = (x, z, s).
    weights: Rows,
    single: bool,
}

/// What came of it.
struct Outcome {
    /// A row (x, z, s) for each item.
    answer: Rows,
    loss: f64,
    /// Each parameter's, in its own shape.
    gradients: [Option<Rows>; 4],
    errors: Vec<Option<Error>>,
    verdicts: Vec<conediff::Result<Checked<()>>>,
}

trait Framework {
    /// Whether a backward pass can return an error.
    const HAS_BACKWARD_ERRORS: bool;
    fn run(call: &Call<'_>) -> Result<Outcome, String>;
    /// The forward pass, with a given P as dense matrices: x, and the gradient of its sum in P.
    fn dense(program: &ConeProgram, p: &[f64], a: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>);
}

fn families() -> Vec<(&'static str, Vec<Cone>)> {
    vec![
        ("zero", vec![Cone::Zero(2)]),
        ("nonnegative", vec![Cone::Nonnegative(6)]),
        (
            "second-order",
            vec![Cone::SecondOrder(4), Cone::SecondOrder(3)],
        ),
        ("PSD", vec![Cone::PsdTriangle(3)]),
        ("exponential", vec![Cone::Exponential, Cone::Exponential]),
        ("power", vec![Cone::Power(0.3), Cone::Power(0.6)]),
        (
            "generalized power",
            vec![Cone::GeneralizedPower(vec![0.5, 0.3, 0.2], 2)],
        ),
        (
            "all",
            vec![
                Cone::Zero(1),
                Cone::Nonnegative(3),
                Cone::SecondOrder(3),
                Cone::PsdTriangle(2),
                Cone::Exponential,
                Cone::Power(0.4),
            ],
        ),
    ]
}

/// A program whose data are numbers of single precision, away from kinks.
fn program(cones: &[Cone]) -> ConeProgram {
    let generator = Generator::new(5, cones.to_vec())
        .with_seed(3)
        .with_margin(0.3);
    let generated = generator.generate().unwrap();
    let single = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| *v as f32 as f64).collect() };
    let p = generated.program();
    let [a, b, c, d] = [p.p().values(), p.q(), p.a().values(), p.b()].map(single);
    p.with_data(Some(&a), Some(&b), Some(&c), Some(&d)).unwrap()
}

fn own(program: &ConeProgram) -> [Vec<f64>; 4] {
    [
        program.p().values(),
        program.q(),
        program.a().values(),
        program.b(),
    ]
    .map(<[f64]>::to_vec)
}

/// Four items' data: the program's own, and a little away from them, in single precision.
fn batch(program: &ConeProgram, count: usize) -> [Rows; 4] {
    let mut random = Random::new(8);
    own(program).map(|values| {
        (0..count)
            .map(|_| {
                let moved = values.iter().map(|v| v * (1.0 + 1e-3 * random.normal()));
                moved.map(|v| v as f32 as f64).collect()
            })
            .collect()
    })
}

fn weights(program: &ConeProgram, count: usize) -> Rows {
    let mut random = Random::new(9);
    let height = program.n() + 2 * program.m();
    let single = |v: f64| v as f32 as f64;
    (0..count)
        .map(|_| (0..height).map(|_| single(random.normal())).collect())
        .collect()
}

impl<'a> Call<'a> {
    fn new(program: &'a ConeProgram, data: [Option<Rows>; 4]) -> Self {
        let rows = data.iter().flatten().map(Vec::len);
        let count = rows.max().unwrap_or(1);
        Self {
            program,
            settings: LayerSettings::default(),
            on_failure: OnFailure::Error,
            data,
            weights: weights(program, count),
            single: false,
        }
    }
}

/// The derivative of the loss along `direction`, of the parameter with this number, by differences of the fourth order.
fn difference<F: Framework>(call: &Call<'_>, k: usize, direction: &Rows) -> f64 {
    let step = 1e-4;
    let at = |t: f64| {
        let mut data = call.data.clone();
        for (row, d) in data[k].iter_mut().flatten().zip(direction) {
            row.iter_mut().zip(d).for_each(|(v, d)| *v += t * step * d);
        }
        let moved = Call {
            data,
            weights: call.weights.clone(),
            settings: call.settings.clone(),
            ..*call
        };
        F::run(&moved).unwrap().loss
    };
    (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step)
}

/// Gradients in f64 against differences: 1e-8; in f32 against those in f64: 1e-5.
fn gradients_agree_with_differences<F: Framework>() {
    let (mut worst, mut worst_single) = (0.0_f64, 0.0_f64);
    for (name, cones) in families() {
        let program = program(&cones);
        let data = batch(&program, 3).map(Some);
        let mut call = Call::new(&program, data);
        let double = F::run(&call).unwrap();
        assert!(
            double.verdicts.iter().all(|v| v.as_ref().unwrap().trusted),
            "{name}"
        );
        let mut random = Random::new(11);
        for k in 0..4 {
            let gradient = double.gradients[k].clone().unwrap();
            let direction: Rows = gradient
                .iter()
                .map(|row| random.normal_vec(row.len()))
                .collect();
            let found: f64 = gradient
                .iter()
                .flatten()
                .zip(direction.iter().flatten())
                .map(|(g, d)| g * d)
                .sum();
            let scale = norm(&gradient.concat()) * norm(&direction.concat());
            let expected = difference::<F>(&call, k, &direction);
            let off = (found - expected).abs() / scale;
            assert!(off <= 1e-8, "{name}, parameter {k}: off by {off:.1e}");
            worst = worst.max(off);
        }
        call.single = true;
        let single = F::run(&call).unwrap();
        assert!(relative(&single.answer.concat(), &double.answer.concat()) <= 1e-6);
        for k in 0..4 {
            let [s, d] = [&single, &double].map(|o| o.gradients[k].clone().unwrap().concat());
            let off = relative(&s, &d);
            assert!(
                off <= 1e-5,
                "{name}, parameter {k} in f32: off by {off:.1e}"
            );
            worst_single = worst_single.max(off);
        }
    }
    println!("gradients off by {worst:.1e} in f64, {worst_single:.1e} in f32");
}

/// Every subset of the parameters has the gradients that the derivative itself gives; what is no tensor has none.
fn every_subset_of_parameters_can_be_tensors<F: Framework>() {
    let program = program(&families()[7].1);
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let weights = &weights(&program, 1)[0];
    let point: Vec<f64> = [&solution.x[..], &solution.z, &solution.s].concat();
    let seed: Vec<f64> = point
        .iter()
        .zip(weights)
        .map(|(y, w)| w * (1.0 + y))
        .collect();
    let (n, m) = (program.n(), program.m());
    let expected = derivative
        .vjp(&SolutionTangent {
            x: seed[..n].to_vec(),
            z: seed[n..n + m].to_vec(),
            s: seed[n + m..].to_vec(),
        })
        .unwrap()
        .value;
    let expected = [expected.p, expected.q, expected.a, expected.b];
    for subset in 1..16 {
        let mut data = own(&program).map(|values| Some(vec![values]));
        for (k, part) in data.iter_mut().enumerate() {
            if subset >> k & 1 == 0 {
                *part = None;
            }
        }
        let outcome = F::run(&Call::new(&program, data)).unwrap();
        for (k, found) in outcome.gradients.iter().enumerate() {
            match found {
                Some(found) => assert!(relative(&found[0], &expected[k]) <= 1e-9, "{subset} {k}"),
                None => assert!(subset >> k & 1 == 0),
            }
        }
        assert!(relative(&outcome.answer[0], &point) <= 1e-10);
    }
}

/// A batch is its items one by one; the gradient of a row that all share is the sum of theirs; threads change nothing.
fn a_batch_is_its_items<F: Framework>() {
    let program = program(&families()[7].1);
    let [p, q, a, b] = batch(&program, 4);
    let shared = [
        Some(vec![p[0].clone()]),
        Some(q),
        Some(vec![a[0].clone()]),
        Some(b),
    ];
    let call = Call::new(&program, shared);
    let together = F::run(&call).unwrap();
    let mut sums = [vec![0.0; p[0].len()], vec![0.0; a[0].len()]];
    for item in 0..4 {
        let data = call.data.clone().map(|rows| {
            let rows = rows.unwrap();
            Some(vec![rows[item.min(rows.len() - 1)].clone()])
        });
        let mut alone = Call::new(&program, data);
        alone.weights = vec![call.weights[item].clone()];
        let alone = F::run(&alone).unwrap();
        assert!(relative(&together.answer[item], &alone.answer[0]) <= 1e-12);
        for k in [1, 3] {
            let [t, o] = [&together, &alone].map(|o| o.gradients[k].clone().unwrap());
            assert!(relative(&t[item], &o[0]) <= 1e-9);
        }
        for (sum, k) in sums.iter_mut().zip([0, 2]) {
            let row = &alone.gradients[k].as_ref().unwrap()[0];
            sum.iter_mut().zip(row).for_each(|(s, g)| *s += g);
        }
    }
    for (sum, k) in sums.iter().zip([0, 2]) {
        assert!(relative(&together.gradients[k].as_ref().unwrap()[0], sum) <= 1e-9);
    }
    let mut threaded = Call::new(&program, call.data.clone());
    threaded.settings = threaded.settings.with_threads(2);
    let threaded = F::run(&threaded).unwrap();
    assert!(relative(&threaded.answer.concat(), &together.answer.concat()) <= 1e-12);
    let [t, o] = [&threaded, &together].map(|o| o.gradients[2].clone().unwrap().concat());
    assert!(relative(&t, &o) <= 1e-9);
}

/// minimize 1/2 x^2 + q x subject to x <= b1, x >= b2.
fn interval() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![-2.0],
        (&[0, 2], &[0, 1], &[1.0, -1.0]),
        vec![1.0, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap()
}

/// One item infeasible, one with NaN: their errors, and the others exact.
fn a_failed_item_spoils_only_itself<F: Framework>() {
    let program = interval();
    let bounds = vec![
        vec![1.0, 0.0],
        vec![-1.0, -1.0], // x <= -1 and x >= 1
        vec![f64::NAN, 0.0],
        vec![3.0, 0.0],
    ];
    let mut call = Call::new(&program, [None, None, None, Some(bounds)]);
    call.weights = vec![vec![1.0, 0.0, 0.0, 0.0, 0.0]; 4];
    let message = F::run(&call).err().expect("item 1 is infeasible");
    assert!(message.contains("item 1"), "{message}");
    for (on_failure, filling) in [(OnFailure::Nan, f64::NAN), (OnFailure::Zero, 0.0)] {
        call.on_failure = on_failure;
        let outcome = F::run(&call).unwrap();
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        for item in [1, 2] {
            assert!(outcome.answer[item].iter().all(|v| same(*v, filling)));
            let gradient = &outcome.gradients[3].as_ref().unwrap()[item];
            assert!(gradient.iter().all(|v| same(*v, filling)), "{gradient:?}");
        }
        assert!(matches!(
            outcome.errors[..],
            [
                None,
                Some(Error::PrimalInfeasible { .. }),
                Some(Error::NonFinite { .. }),
                None
            ]
        ));
        assert!(outcome.verdicts[0].is_ok() && outcome.verdicts[1].is_err());
        assert!((outcome.answer[0][0] - 1.0).abs() <= 1e-12);
        assert!((outcome.answer[3][0] - 2.0).abs() <= 1e-12);
        let gradient = outcome.gradients[3].as_ref().unwrap();
        // d (x + x^2 / 2) / d b1 = 1 + x at the bound, 0 inside.
        assert!((gradient[0][0] - 2.0).abs() <= 1e-12 && gradient[3][0].abs() <= 1e-12);
    }
}

/// At a kink the gradient says so; under `strict` the forward is an error.
fn a_kink_is_reported<F: Framework>() {
    let program = interval();
    let bounds = vec![vec![2.0, 0.0], vec![1.0, 0.0]]; // the bound meets the minimizer of the first
    let mut call = Call::new(&program, [None, None, None, Some(bounds)]);
    call.weights = vec![vec![1.0, 0.0, 0.0, 0.0, 0.0]; 2];
    let outcome = F::run(&call).unwrap();
    let trusted: Vec<bool> = outcome
        .verdicts
        .iter()
        .map(|v| v.as_ref().unwrap().trusted)
        .collect();
    assert_eq!(trusted, [false, true]);

    call.settings.settings.strict = true;
    let message = F::run(&call).err().expect("item 0 is at a kink");
    assert!(message.contains("item 0"), "{message}");
    call.on_failure = OnFailure::Zero;
    let outcome = F::run(&call).unwrap();
    assert!(matches!(outcome.errors[0], Some(Error::NotTrusted { .. })));
    let gradient = outcome.gradients[3].as_ref().unwrap();
    assert!(gradient[0] == [0.0, 0.0] && (gradient[1][0] - 2.0).abs() <= 1e-12);
}

/// A NaN that comes in the backward pass: an error where the framework has one, a NaN for that item elsewhere.
fn a_nan_in_the_backward_pass_spoils_one_item<F: Framework>() {
    let program = interval();
    let bounds = vec![vec![1.0, 0.0], vec![1.0, 0.0]];
    let mut call = Call::new(&program, [None, None, None, Some(bounds)]);
    call.weights = vec![
        vec![f64::NAN, 0.0, 0.0, 0.0, 0.0],
        vec![1.0, 0.0, 0.0, 0.0, 0.0],
    ];
    if F::HAS_BACKWARD_ERRORS {
        let message = F::run(&call).err().expect("item 0 has no gradient");
        assert!(message.contains("item 0"), "{message}");
        call.on_failure = OnFailure::Nan;
    }
    let outcome = F::run(&call).unwrap();
    assert!(matches!(outcome.verdicts[0], Err(Error::NonFinite { .. })));
    let gradient = outcome.gradients[3].as_ref().unwrap();
    assert!(gradient[0].iter().all(|v| v.is_nan()));
    assert!((gradient[1][0] - 2.0).abs() <= 1e-12);
}

/// Wrong shapes, or nothing at all.
fn wrong_shapes_are_errors<F: Framework>() {
    let program = interval();
    let none = F::run(&Call::new(&program, [None, None, None, None]));
    assert!(none.err().expect("no tensor").contains("at least one"));
    let wide = [None, Some(vec![vec![1.0, 2.0]]), None, None];
    let message = F::run(&Call::new(&program, wide))
        .err()
        .expect("q is too wide");
    assert!(message.contains('q') && message.contains('2'), "{message}");
    let uneven = [
        None,
        Some(vec![vec![1.0]; 3]),
        None,
        Some(vec![vec![1.0, 0.0]; 2]),
    ];
    let message = F::run(&Call::new(&program, uneven))
        .err()
        .expect("3 and 2 rows");
    assert!(message.contains('b') && message.contains('3'), "{message}");
}

/// A small weight gives a small gradient, not zero.
fn small_weights_give_small_gradients<F: Framework>() {
    let program = interval();
    let mut call = Call::new(&program, [None, None, None, Some(vec![vec![1.0, 0.0]])]);
    call.weights = vec![vec![1e-12, 0.0, 0.0, 0.0, 0.0]];
    let outcome = F::run(&call).unwrap();
    let gradient = outcome.gradients[3].as_ref().unwrap()[0][0];
    assert!((gradient / 2e-12 - 1.0).abs() <= 1e-9);
}

/// The stored entries: row, column, value, in stored order.
fn entries(matrix: &SparseMatrix) -> Vec<(usize, usize, f64)> {
    let pattern = matrix.pattern();
    let mut entries = Vec::new();
    for j in 0..pattern.cols() {
        for k in pattern.indptr()[j]..pattern.indptr()[j + 1] {
            let i = pattern.indices()[k];
            entries.push((pattern.position(i, j).unwrap(), i, j, matrix.values()[k]));
        }
    }
    entries.sort_by_key(|e| e.0);
    entries.into_iter().map(|(_, i, j, v)| (i, j, v)).collect()
}

/// Dense matrices: the stored entries count, of P those of the symmetric part, whose gradient is symmetric. A is stored by rows here.
fn dense_matrices_are_taken<F: Framework>() {
    let generator = Generator::new(3, vec![Cone::Nonnegative(4)]).with_seed(5);
    let generated = generator.generate().unwrap();
    let found = generated.program();
    let (mut p, mut a) = (vec![0.0; 9], vec![0.0; 12]);
    for (i, j, v) in entries(found.a()) {
        a[i * 3 + j] = v;
    }
    let by_rows = SparseMatrix::from_csr("A", 4, 3, &[0, 3, 6, 9, 12], &[0, 1, 2].repeat(4), &a);
    let program = &ConeProgram::from_matrices(
        found.p().clone(),
        found.q().to_vec(),
        by_rows.unwrap(),
        found.b().to_vec(),
        found.cones().to_vec(),
    )
    .unwrap();
    for (i, j, v) in entries(program.p()) {
        // A quarter of an entry is in its mirror image: the symmetric part is the same.
        p[i * 3 + j] += if i == j { 0.5 * v } else { 0.75 * v };
        p[j * 3 + i] += if i == j { 0.5 * v } else { 1.25 * v };
    }
    let (x, dp, da) = F::dense(program, &p, &a);
    assert!(relative(&x, generated.x()) <= 1e-9);

    let mut layer = ConicLayer::new(program, LayerSettings::default()).unwrap();
    layer.forward(&LayerData::default()).unwrap();
    let mut seed = SolutionTangent::zeros(program);
    seed.x.fill(1.0);
    let expected = layer.backward(&seed).unwrap().value;
    for ((i, j, _), expected) in entries(program.p()).iter().zip(&expected.p) {
        // A stored value stands for both copies, each of which counts half.
        let mirrored = if i == j { 0.0 } else { dp[j * 3 + i] };
        assert!((dp[i * 3 + j] + mirrored - expected).abs() <= 1e-9);
        assert!((dp[i * 3 + j] - dp[j * 3 + i]).abs() <= 1e-12);
    }
    for ((i, j, _), expected) in entries(program.a()).iter().zip(&expected.a) {
        assert!((da[i * 3 + j] - expected).abs() <= 1e-9);
    }
}
