//! Handwritten digits with a monotone equilibrium network, trained in burn.
//!
//! z = relu(Wz + Ux + c), W = (1 - m) I - A'A + B - B', and the logits Vz + d. For every A and B the equilibrium exists, is unique, and every
//! element of its conservative Jacobian is invertible; conediff finds z by Peaceman-Rachford and gives the gradients in A, B, U and c by
//! one solve with the active block an image, as a backward pass of its own in burn's graph. Adam and the rest are burn's.
//!
//! The data: 1,797 images of 8 x 8 pixels in 17 grey levels, a fifth of them for testing (tests/data/digits.csv; the pixels of a line are
//! digits of base 17). Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY 4.0).
//!
//! Winston, Kolter, Monotone operator equilibrium networks, 2020.

mod figure;

use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use conediff::integration::burn::with_vjp;
use conediff::systems::equilibrium::{
    Activation, EquilibriumLayer, EquilibriumSettings, MonotoneWeights,
};
use conediff::{DenseMatrix, Settings};
use figure::{BLUE, INK, ORANGE, Result};
use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;

const PIXELS: usize = 64;
const UNITS: usize = 60;
const MARGIN: f64 = 1.0;
const BATCH: usize = 32;
const EPOCHS: usize = 15;
const RATE: f64 = 2e-2;

/// An image, its pixels in [0, 1], with its digit.
type Sample = (Vec<f64>, usize);

fn data() -> Result<(Vec<Sample>, Vec<Sample>)> {
    let mut samples = Vec::new();
    for line in include_str!("../tests/data/digits.csv").lines().skip(1) {
        let (digit, pixels) = line.split_once(',').ok_or("a line without a comma")?;
        let level = |c: char| c.to_digit(17).map(|v| f64::from(v) / 16.0);
        let pixels: Option<Vec<f64>> = pixels.chars().map(level).collect();
        samples.push((pixels.ok_or("a pixel that is none")?, digit.parse()?));
    }
    // Every fifth image is for testing.
    let (test, train): (Vec<_>, Vec<_>) = samples
        .into_iter()
        .enumerate()
        .partition(|(k, _)| k % 5 == 4);
    let strip = |samples: Vec<(usize, Sample)>| samples.into_iter().map(|s| s.1).collect();
    Ok((strip(train), strip(test)))
}

#[derive(Module, Debug)]
struct Network {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
    u: Param<Tensor<2>>,
    c: Param<Tensor<1>>,
    readout: Linear,
}

/// The logits and the iterations it took.
struct Output {
    logits: Tensor<2>,
    iterations: usize,
}

impl Network {
    fn new(device: &Device) -> Self {
        let matrix = |rows: usize, columns: usize| {
            let spread = 0.5 / (columns as f64).sqrt();
            let normal = Distribution::Normal(0.0, spread);
            Param::from_tensor(Tensor::random([rows, columns], normal, device))
        };
        Self {
            a: matrix(UNITS, UNITS),
            b: matrix(UNITS, UNITS),
            u: matrix(UNITS, PIXELS),
            c: Param::from_tensor(Tensor::zeros([UNITS], device)),
            readout: LinearConfig::new(UNITS, 10).init(device),
        }
    }

    fn forward(&self, samples: &[&Sample]) -> Result<Output> {
        let parameters = Tensor::cat(
            vec![
                self.a.val().flatten::<1>(0, 1),
                self.b.val().flatten(0, 1),
                self.u.val().flatten(0, 1),
                self.c.val(),
            ],
            0,
        );
        let values: Vec<f64> = parameters.to_data().iter().collect();
        let square = UNITS * UNITS;
        let weights = MonotoneWeights {
            m: MARGIN,
            a: by_columns(&values[..square], UNITS),
            b: by_columns(&values[square..2 * square], UNITS),
        };
        let u = by_columns(&values[2 * square..][..UNITS * PIXELS], PIXELS);
        let c = values[2 * square + UNITS * PIXELS..].to_vec();
        let layer = EquilibriumLayer::new(weights, u, c, Activation::Relu)?;
        let images = DenseMatrix {
            rows: PIXELS,
            cols: samples.len(),
            data: samples.iter().flat_map(|s| s.0.iter().copied()).collect(),
        };
        // The columns of z are the rows of the tensor.
        let equilibrium = layer.forward(&images, &EquilibriumSettings::default())?;
        let (z, iterations) = (equilibrium.z.data.clone(), equilibrium.iterations);
        let settings = Settings::default().with_strict(true);
        let vjp = move |cotangents: &[f64]| {
            let cotangents = DenseMatrix {
                rows: UNITS,
                cols: images.cols,
                data: cotangents.to_vec(),
            };
            let derivative = layer.derivative(&images, &equilibrium, &settings)?;
            let gradient = derivative.vjp(&cotangents)?.value;
            let parts = [&gradient.a, &gradient.b, &gradient.u];
            let mut flat: Vec<f64> = parts.into_iter().flat_map(by_rows).collect();
            flat.extend(gradient.bias);
            Ok(flat)
        };
        let z: Tensor<2> = with_vjp(parameters, z, [samples.len(), UNITS], vjp)?;
        let logits = self.readout.forward(z);
        Ok(Output { logits, iterations })
    }

    /// The digits it takes the images for.
    fn classify(&self, samples: &[&Sample]) -> Result<Vec<usize>> {
        let found = self.forward(samples)?.logits.argmax(1);
        Ok(found
            .into_data()
            .iter::<i64>()
            .map(|d| d as usize)
            .collect())
    }
}

/// Row-major values with so many columns, as the library stores matrices.
fn by_columns(values: &[f64], cols: usize) -> DenseMatrix {
    let rows = values.len() / cols;
    let column = |j: usize| (0..rows).map(move |i| values[i * cols + j]);
    DenseMatrix {
        rows,
        cols,
        data: (0..cols).flat_map(column).collect(),
    }
}

/// The values of a matrix, row by row.
fn by_rows(matrix: &DenseMatrix) -> Vec<f64> {
    let entry = |i: usize, j: usize| matrix.data[j * matrix.rows + i];
    let row = |i: usize| (0..matrix.cols).map(move |j| entry(i, j));
    (0..matrix.rows).flat_map(row).collect()
}

/// A permutation by Fisher and Yates with a linear congruential generator.
fn shuffle<T>(items: &mut [T], state: &mut u64) {
    for k in (1..items.len()).rev() {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        items.swap(k, (*state >> 33) as usize % (k + 1));
    }
}

/// One line of the table.
struct Epoch {
    loss: f64,
    accuracy: f64,
    iterations: usize,
}

fn main() -> Result<()> {
    let (train, test) = data()?;
    let test: Vec<&Sample> = test.iter().collect();
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut network = Network::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let mut order: Vec<&Sample> = train.iter().collect();
    let mut state = 7;
    let batches = order.len().div_ceil(BATCH);

    let bar = ProgressBar::new((EPOCHS * batches) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} batches, {eta} left {msg}",
    )?);
    let mut epochs = Vec::new();
    for epoch in 0..EPOCHS {
        shuffle(&mut order, &mut state);
        let (mut loss_sum, mut most) = (0.0, 0);
        for batch in order.chunks(BATCH) {
            let output = network.forward(batch)?;
            let digits: Vec<i64> = batch.iter().map(|s| s.1 as i64).collect();
            let digits = TensorData::new(digits, [batch.len()]);
            let digits = Tensor::<1, Int>::from_data(digits, &device);
            let loss = CrossEntropyLossConfig::new()
                .init(&device)
                .forward(output.logits, digits);
            loss_sum += loss.to_data().iter::<f64>().sum::<f64>() * batch.len() as f64;
            most = most.max(output.iterations);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            // The rate falls to zero.
            let done = bar.position() as f64 / (EPOCHS * batches) as f64;
            network = optimizer.step(RATE * (1.0 - done), network, gradients);
            bar.inc(1);
        }
        let found = network.classify(&test)?;
        let right = found.iter().zip(&test).filter(|(f, s)| **f == s.1).count();
        epochs.push(Epoch {
            loss: loss_sum / train.len() as f64,
            accuracy: right as f64 / test.len() as f64,
            iterations: most,
        });
        let last = &epochs[epoch];
        bar.set_message(format!(
            "loss {:.3}, test accuracy {:.1} %",
            last.loss,
            100.0 * last.accuracy
        ));
    }
    bar.finish();

    println!("epoch   training loss   test accuracy   iterations (most)");
    for (k, epoch) in epochs.iter().enumerate() {
        println!(
            "{:5}   {:13.4}   {:11.2} %   {:17}",
            k + 1,
            epoch.loss,
            100.0 * epoch.accuracy,
            epoch.iterations
        );
    }
    let found = network.classify(&test)?;
    let wrong: Vec<(&Sample, usize)> = test
        .iter()
        .zip(found)
        .filter(|(sample, found)| sample.1 != *found)
        .map(|(sample, found)| (*sample, found))
        .collect();
    println!("{} of {} test images wrong", wrong.len(), test.len());
    plot(&epochs, &wrong)?;
    let accuracy = 1.0 - wrong.len() as f64 / test.len() as f64;
    assert!(accuracy >= 0.97, "test accuracy {accuracy}");
    Ok(())
}

fn plot(epochs: &[Epoch], wrong: &[(&Sample, usize)]) -> Result<()> {
    figure::draw("digits", |area| {
        let (left, right) = area.split_horizontally(1060);
        let title = "Digits by a monotone equilibrium network";
        let end = epochs.len() as f64;
        let mut chart = figure::axes(&left, title, ["epoch", "%"], 0.0..end, 0.0..100.0)?;
        let at = |k: usize| (k + 1) as f64;
        let accuracy = epochs.iter().enumerate();
        let accuracy = accuracy.map(|(k, e)| (at(k), 100.0 * e.accuracy));
        figure::line(&mut chart, accuracy, BLUE, 6, "test accuracy")?;
        let first = epochs[0].loss;
        let loss = epochs.iter().enumerate();
        let loss = loss.map(|(k, e)| (at(k), 100.0 * e.loss / first));
        figure::line(&mut chart, loss, ORANGE, 6, "loss, of the first epoch's")?;
        figure::legend(&mut chart, SeriesLabelPosition::MiddleRight)?;

        let text = ("sans-serif", 30).into_font().color(&INK);
        let title = ("sans-serif", 34).into_font().color(&INK);
        right.titled("Test images it gets wrong", title)?;
        for (cell, (sample, found)) in right
            .margin(70, 10, 30, 10)
            .split_evenly((3, 4))
            .iter()
            .zip(wrong)
        {
            for (k, level) in sample.0.iter().enumerate() {
                let (x, y) = (20 + 20 * (k % 8) as i32, 44 + 20 * (k / 8) as i32);
                let grey = (255.0 * (1.0 - level)) as u8;
                let color = RGBColor(grey, grey, grey).filled();
                cell.draw(&Rectangle::new([(x, y), (x + 20, y + 20)], color))?;
            }
            let names = format!("{}, taken for {found}", sample.1);
            cell.draw(&Text::new(names, (20, 8), text.clone()))?;
        }
        Ok(())
    })
}
