//! A linear program inside a loss never learns; with a small ridge it does, and the linear program can take over afterwards.
//!
//!     x(c) maximizes c'x - ridge/2 |x|^2   subject to  sum x = 4,  0 <= x <= 1:   pick the 4 best of 12 items
//!
//! Scores c = F w are linear in 5 features of each item; w is learned from the picks that hidden weights make, by descent on the mean
//! of |x(F w) - picks|^2. Without the ridge x is a corner, constant in w almost everywhere: every gradient is 0. With it x is the
//! projection of c / ridge onto the same polytope, and moves with w. It is also biased: not all of its entries are 0 or 1.

mod figure;

use conediff::{
    ConicLayer, ForwardSolver, LayerData, LayerSettings, LinearBackend, ProgramBuilder,
    SolutionTangent,
};
use figure::{BLUE, GREEN, GREY, ORANGE, Result};
use indicatif::ProgressIterator;
use plotters::prelude::*;

const ITEMS: usize = 12;
const PICKS: f64 = 4.0;
const LISTS: usize = 10;
const HIDDEN: [f64; 5] = [1.0, -0.5, 0.3, 0.8, -1.0];
const STEPS: u32 = 120;
const RATE: f64 = 0.3;

fn top(ridge: f64) -> Result<ConicLayer> {
    let mut builder = ProgramBuilder::new(ITEMS);
    let all: Vec<(usize, f64)> = (0..ITEMS).map(|j| (j, 1.0)).collect();
    builder.equality(&all, PICKS);
    builder.bounds(0..ITEMS, 0.0, 1.0);
    // Solvers fixed, not timed: the same numbers in every run.
    let mut settings = LayerSettings::default().with_forward(ForwardSolver::DenseQp);
    settings.settings.linear.backend = LinearBackend::Dense;
    let program = builder.build()?.with_ridge(ridge)?;
    Ok(ConicLayer::new(&program, settings)?)
}

/// Features in [-1, 1], different for every list and item.
fn features(list: usize, item: usize) -> [f64; 5] {
    let at = (ITEMS * list + item) as f64;
    [2.3, 3.7, 5.1, 7.9, 9.7].map(|k| (k * at + 0.1 * k).sin())
}

fn scores(list: usize, w: &[f64; 5]) -> Vec<f64> {
    let dot = |f: [f64; 5]| f.iter().zip(w).map(|(f, w)| f * w).sum();
    (0..ITEMS).map(|item| dot(features(list, item))).collect()
}

/// The layer's answer to -scores.
fn picks(layer: &mut ConicLayer, scores: &[f64]) -> Result<Vec<f64>> {
    let q: Vec<f64> = scores.iter().map(|c| -c).collect();
    Ok(layer.forward(&LayerData::default().with_q(&q))?.x.clone())
}

fn distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// What descent with one ridge did: after each step the loss through the layer and the share of wrong picks of the linear program
/// with the same weights; the gradient's norm at the start; the ridge's bias, the loss with the hidden weights themselves.
struct Run {
    losses: Vec<f64>,
    wrong: Vec<f64>,
    first: f64,
    bias: f64,
}

fn learn(ridge: f64) -> Result<Run> {
    let mut exact = top(0.0)?;
    let mut layer = top(ridge)?;
    let (mut target, mut bias) = (Vec::new(), 0.0);
    for list in 0..LISTS {
        let c = scores(list, &HIDDEN);
        target.push(picks(&mut exact, &c)?);
        bias += distance(&picks(&mut layer, &c)?, &target[list]) / LISTS as f64;
    }
    let (mut losses, mut wrong, mut first) = (Vec::new(), Vec::new(), None);
    let mut w = [-0.3, 0.5, 0.5, 0.1, 0.4];
    for _ in 0..STEPS {
        let (mut loss, mut misses, mut gradient) = (0.0, 0.0, [0.0; 5]);
        for (list, target) in target.iter().enumerate() {
            let c = scores(list, &w);
            misses += distance(&picks(&mut exact, &c)?, target) / (2.0 * PICKS);
            let x = picks(&mut layer, &c)?;
            loss += distance(&x, target) / LISTS as f64;
            let mut seed = SolutionTangent::zeros(layer.program());
            let toward = x.iter().zip(target).map(|(x, y)| 2.0 * (x - y));
            seed.x = toward.map(|d| d / LISTS as f64).collect();
            let q = layer.backward(&seed)?.value.q;
            for (item, q) in q.iter().enumerate() {
                let f = features(list, item);
                (0..5).for_each(|k| gradient[k] -= q * f[k]);
            }
        }
        losses.push(loss);
        wrong.push(100.0 * misses / LISTS as f64);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        first.get_or_insert(norm);
        (0..5).for_each(|k| w[k] -= RATE * gradient[k]);
    }
    Ok(Run {
        losses,
        wrong,
        first: first.unwrap_or(0.0),
        bias,
    })
}

fn main() -> Result<()> {
    let ridges = [0.0, 0.1, 0.3, 3.0];
    let mut runs = Vec::new();
    for ridge in ridges.into_iter().progress() {
        runs.push(learn(ridge)?);
    }
    println!("ridge   first gradient   last loss   bias      wrong picks of the linear program");
    let end = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
    for (ridge, run) in ridges.iter().zip(&runs) {
        let (loss, wrong) = (end(&run.losses), end(&run.wrong));
        let Run { first, bias, .. } = run;
        println!("{ridge:<7} {first:<16.1e} {loss:<11.1e} {bias:<9.1e} {wrong:.0} %");
    }

    figure::draw("lp_layer", |area| {
        let (left, right) = area.split_horizontally(950);
        let colors = [GREY, ORANGE, GREEN, BLUE];
        let (steps, labels) = (0.0..f64::from(STEPS), ["step", "log10 of the loss"]);
        let title = "Loss through the layer: a large ridge leaves a bias";
        let mut chart = figure::axes(&left, title, labels, steps, -4.0..1.5)?;
        for ((ridge, run), color) in ridges.iter().zip(&runs).zip(colors) {
            let points = run.losses.iter().enumerate();
            let points = points.map(|(k, loss)| (k as f64, loss.log10()));
            figure::line(&mut chart, points, color, 5, &format!("ridge {ridge}"))?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::LowerLeft)?;

        let labels = ["step", "wrong picks, %"];
        let title = "The linear program with the same weights";
        let mut chart = figure::axes(&right, title, labels, 0.0..40.0, 0.0..110.0)?;
        for ((ridge, run), color) in ridges.iter().zip(&runs).zip(colors) {
            let points = run.wrong.iter().take(41).enumerate();
            let points = points.map(|(k, wrong)| (k as f64, *wrong));
            figure::line(&mut chart, points, color, 5, &format!("ridge {ridge}"))?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)
    })?;

    // Nothing moves without a ridge; a good one learns every pick; a large one too, but its own answers stay off.
    assert!(runs[0].first < 1e-12 && runs[0].wrong[0] == end(&runs[0].wrong));
    assert!(end(&runs[2].losses) < 2e-2 && end(&runs[2].wrong) < 1e-9);
    assert!(runs.windows(2).all(|pair| pair[0].bias < pair[1].bias));
    assert!(end(&runs[3].losses) > 0.1 && end(&runs[3].wrong) < 1e-9);
    Ok(())
}
