//! The checks on burn's tensors.

use super::*;
use ::burn::tensor::{DType, Device, Tensor, TensorData};
use conediff::integration::burn::{Layer, Parameters, with_vjp};

struct Burn;

fn tensor(rows: &Rows, single: bool) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    let dtype = if single { DType::F32 } else { DType::F64 };
    let device = Device::flex().autodiff();
    Tensor::from_data(data.convert_dtype(dtype), (&device, dtype))
}

fn rows<const D: usize>(tensor: Tensor<D>) -> Rows {
    let width = tensor.dims()[D - 1];
    let values: Vec<f64> = tensor.into_data().iter().collect();
    values.chunks(width.max(1)).map(<[f64]>::to_vec).collect()
}

impl Framework for Burn {
    const HAS_BACKWARD_ERRORS: bool = false;

    fn run(call: &Call<'_>) -> Result<Outcome, String> {
        let layer = Layer::new(call.program, call.settings.clone()).unwrap();
        let given = call.data.each_ref().map(|d| {
            d.as_ref()
                .map(|rows| tensor(rows, call.single).require_grad())
        });
        let [p, q, a, b] = given.clone();
        let answer = layer
            .with_on_failure(call.on_failure)
            .forward(Parameters { p, q, a, b })
            .map_err(|e| e.to_string())?;
        let y = Tensor::cat(vec![answer.x, answer.z, answer.s], 1);
        let weights = tensor(&call.weights, call.single);
        let loss = (weights * (y.clone() + y.clone() * y.clone() * 0.5)).sum();
        let gradients = loss.backward();
        Ok(Outcome {
            answer: rows(y),
            loss: loss.into_data().iter::<f64>().next().unwrap(),
            gradients: given.map(|t| t.map(|t| rows(t.grad(&gradients).unwrap()))),
            errors: answer.errors,
            verdicts: answer.report.items().unwrap(),
        })
    }

    fn dense(program: &ConeProgram, p: &[f64], a: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let layer = Layer::new(program, LayerSettings::default()).unwrap();
        let (n, m) = (program.n(), program.m());
        let p = tensor(&vec![p.to_vec()], false).require_grad();
        let a = tensor(&vec![a.to_vec()], false).require_grad();
        let values = layer.p_from_dense(p.clone().reshape([1, n, n])).unwrap();
        let entries = layer.a_from_dense(a.clone().reshape([1, m, n])).unwrap();
        let parameters = Parameters::default().with_p(values).with_a(entries);
        let x = layer.forward(parameters).unwrap().x;
        let gradients = x.clone().sum().backward();
        let gradient = |t: Tensor<2>| rows(t.grad(&gradients).unwrap()).concat();
        assert!(
            layer
                .a_from_dense(Tensor::zeros([1, n, m], &x.device()))
                .is_err()
        );
        (rows(x).concat(), gradient(p), gradient(a))
    }
}

#[test]
fn gradients_agree_with_differences() {
    super::gradients_agree_with_differences::<Burn>();
}
#[test]
fn every_subset_of_parameters_can_be_tensors() {
    super::every_subset_of_parameters_can_be_tensors::<Burn>();
}
#[test]
fn a_batch_is_its_items() {
    super::a_batch_is_its_items::<Burn>();
}
#[test]
fn a_failed_item_spoils_only_itself() {
    super::a_failed_item_spoils_only_itself::<Burn>();
}
#[test]
fn a_kink_is_reported() {
    super::a_kink_is_reported::<Burn>();
}
#[test]
fn a_nan_in_the_backward_pass_spoils_one_item() {
    super::a_nan_in_the_backward_pass_spoils_one_item::<Burn>();
}
#[test]
fn wrong_shapes_are_errors() {
    super::wrong_shapes_are_errors::<Burn>();
}
#[test]
fn small_weights_give_small_gradients() {
    super::small_weights_give_small_gradients::<Burn>();
}
#[test]
fn dense_matrices_are_taken() {
    super::dense_matrices_are_taken::<Burn>();
}

#[test]
fn types_are_not_mixed() {
    let layer = Layer::new(&interval(), LayerSettings::default()).unwrap();
    let q = tensor(&vec![vec![-2.0]], true);
    let b = tensor(&vec![vec![1.0, 0.0]], false);
    let error = layer
        .forward(Parameters::default().with_q(q).with_b(b))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("F32") && error.contains("F64"), "{error}");
}

#[test]
fn tensors_without_autodiff_are_solved() {
    let layer = Layer::new(&interval(), LayerSettings::default()).unwrap();
    let b = Tensor::<2>::from_data([[1.0, 0.0], [3.0, 0.0]], &Device::flex());
    let answer = layer.forward(Parameters::default().with_b(b)).unwrap();
    assert_eq!(rows(answer.x).concat(), [1.0, 2.0]);
    assert!(answer.report.is_trusted().is_none());
}

#[test]
fn a_backward_pass_that_fails_gives_nan() {
    let x = tensor(&vec![vec![1.0, 2.0]], false).require_grad();
    let lost = |_: &[f64]| Err(Error::NoForward { item: 0 });
    let short = |_: &[f64]| Ok(vec![1.0]);
    let failing: [Tensor<1>; 2] = [
        with_vjp(x.clone(), vec![1.0], [1], lost).unwrap(),
        with_vjp(x.clone(), vec![1.0], [1], short).unwrap(),
    ];
    for y in failing {
        let gradients = y.sum().backward();
        let gradient = rows(x.grad(&gradients).unwrap()).concat();
        assert!(gradient.len() == 2 && gradient.iter().all(|v| v.is_nan()));
    }
    assert!(with_vjp::<2, 1>(x, vec![1.0], [2], |g| Ok(g.to_vec())).is_err());
}
