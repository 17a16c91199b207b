//! The checks on candle's tensors.

use super::*;
use candle_core::{DType, Device, Tensor, Var};
use conediff::integration::candle::{Layer, Parameters, with_vjp};

struct Candle;

fn tensor(rows: &Rows, single: bool) -> Tensor {
    let shape = (rows.len(), rows[0].len());
    let tensor = Tensor::from_vec(rows.concat(), shape, &Device::Cpu).unwrap();
    let dtype = if single { DType::F32 } else { DType::F64 };
    tensor.to_dtype(dtype).unwrap()
}

fn rows(tensor: &Tensor) -> Rows {
    tensor.to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

fn try_run(call: &Call<'_>) -> candle_core::Result<Outcome> {
    let layer = Layer::new(call.program, call.settings.clone()).unwrap();
    let given = call.data.each_ref().map(|d| {
        d.as_ref()
            .map(|rows| Var::from_tensor(&tensor(rows, call.single)).unwrap())
    });
    let [p, q, a, b] = given.each_ref().map(|v| v.as_ref().map(Var::as_tensor));
    let answer = layer
        .with_on_failure(call.on_failure)
        .forward(Parameters { p, q, a, b })?;
    let y = Tensor::cat(&[answer.x, answer.z, answer.s], 1)?;
    let weights = tensor(&call.weights, call.single);
    let loss = (weights * (&y + (y.sqr()? * 0.5)?)?)?.sum_all()?;
    let gradients = loss.backward()?;
    Ok(Outcome {
        answer: rows(&y),
        loss: loss.to_dtype(DType::F64)?.to_scalar()?,
        gradients: given.map(|v| v.map(|v| rows(gradients.get(&v).unwrap()))),
        errors: answer.errors,
        verdicts: answer.report.items().unwrap(),
    })
}

impl Framework for Candle {
    const HAS_BACKWARD_ERRORS: bool = true;

    fn run(call: &Call<'_>) -> Result<Outcome, String> {
        try_run(call).map_err(|e| e.to_string())
    }

    fn dense(program: &ConeProgram, p: &[f64], a: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let layer = Layer::new(program, LayerSettings::default()).unwrap();
        let (n, m) = (program.n(), program.m());
        let matrix = |values: &[f64], rows: usize| {
            let tensor = Tensor::from_slice(values, (rows, n), &Device::Cpu).unwrap();
            Var::from_tensor(&tensor).unwrap()
        };
        let (p, a) = (matrix(p, n), matrix(a, m));
        let values = layer.p_from_dense(&p).unwrap();
        let entries = layer.a_from_dense(&a).unwrap();
        let parameters = Parameters::default().with_p(&values).with_a(&entries);
        let x = layer.forward(parameters).unwrap().x;
        let gradients = x.sum_all().unwrap().backward().unwrap();
        let gradient = |v: &Var| rows(gradients.get(v).unwrap()).concat();
        assert!(layer.a_from_dense(&p).is_err());
        (rows(&x).concat(), gradient(&p), gradient(&a))
    }
}

#[test]
fn gradients_agree_with_differences() {
    super::gradients_agree_with_differences::<Candle>();
}
#[test]
fn every_subset_of_parameters_can_be_tensors() {
    super::every_subset_of_parameters_can_be_tensors::<Candle>();
}
#[test]
fn a_batch_is_its_items() {
    super::a_batch_is_its_items::<Candle>();
}
#[test]
fn a_failed_item_spoils_only_itself() {
    super::a_failed_item_spoils_only_itself::<Candle>();
}
#[test]
fn a_kink_is_reported() {
    super::a_kink_is_reported::<Candle>();
}
#[test]
fn a_nan_in_the_backward_pass_spoils_one_item() {
    super::a_nan_in_the_backward_pass_spoils_one_item::<Candle>();
}
#[test]
fn wrong_shapes_are_errors() {
    super::wrong_shapes_are_errors::<Candle>();
}
#[test]
fn small_weights_give_small_gradients() {
    super::small_weights_give_small_gradients::<Candle>();
}
#[test]
fn dense_matrices_are_taken() {
    super::dense_matrices_are_taken::<Candle>();
}

#[test]
fn types_are_not_mixed() {
    let layer = Layer::new(&interval(), LayerSettings::default()).unwrap();
    let q = tensor(&vec![vec![-2.0]], true);
    let b = tensor(&vec![vec![1.0, 0.0]], false);
    let error = layer
        .forward(Parameters::default().with_q(&q).with_b(&b))
        .unwrap_err()
        .to_string();
    assert!(error.contains("F32") && error.contains("F64"), "{error}");
}

#[test]
fn a_row_without_a_batch_is_every_items() {
    let layer = Layer::new(&interval(), LayerSettings::default()).unwrap();
    let q = Tensor::new(&[-2.0], &Device::Cpu).unwrap();
    let b = tensor(&vec![vec![1.0, 0.0], vec![3.0, 0.0]], false);
    let answer = layer
        .forward(Parameters::default().with_q(&q).with_b(&b))
        .unwrap();
    assert_eq!(rows(&answer.x).concat(), [1.0, 2.0]);
}

#[test]
fn a_backward_pass_that_fails_is_an_error() {
    let x = Var::from_tensor(&tensor(&vec![vec![1.0, 2.0]], false)).unwrap();
    let lost = |_: &[f64]| candle_core::bail!("lost");
    let short = |_: &[f64]| Ok(vec![1.0]);
    let message = |y: Tensor| y.sum_all().unwrap().backward().unwrap_err().to_string();
    assert!(message(with_vjp(&x, vec![1.0], 1, lost).unwrap()).contains("lost"));
    assert!(message(with_vjp(&x, vec![1.0], 1, short).unwrap()).contains("1 values"));
    assert!(with_vjp(&x, vec![1.0], 2, |g| Ok(g.to_vec())).is_err());
}
