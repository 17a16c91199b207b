//! What the training examples share: seeded random numbers, Adam, a progress bar, the settings of their layers.

#![allow(dead_code)] // No example uses all of it.

use conediff::{ForwardSolver, LayerSettings, LinearBackend};
use indicatif::{ProgressBar, ProgressStyle};
use std::f64::consts::TAU;

/// SplitMix64: the same seed gives the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Below `count`, which is positive.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// 0, 1, ..., count - 1 in random order.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for k in (1..count).rev() {
            order.swap(k, self.below(k + 1));
        }
        order
    }
}

/// Adam with the usual means, 0.9 and 0.999 (Kingma and Ba, Adam: a method for stochastic optimization, 2015).
pub struct Adam {
    rate: f64,
    step: i32,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Adam {
    pub fn new(parameters: usize, rate: f64) -> Self {
        Self {
            rate,
            step: 0,
            mean: vec![0.0; parameters],
            square: vec![0.0; parameters],
        }
    }

    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.step += 1;
        let (first, second) = (0.9_f64, 0.999_f64);
        let unbiased = |mean: f64, decay: f64| mean / (1.0 - decay.powi(self.step));
        let means = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(means) {
            *m = first * *m + (1.0 - first) * g;
            *v = second * *v + (1.0 - second) * g * g;
            *parameter -= self.rate * unbiased(*m, first) / (unbiased(*v, second).sqrt() + 1e-8);
        }
    }
}

/// A bar with a name before it and a message after it.
pub fn bar(steps: u64, name: &'static str) -> Result<ProgressBar, Box<dyn std::error::Error>> {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {elapsed}")?;
    let bar = ProgressBar::new(steps).with_prefix(name);
    Ok(bar.with_style(style))
}

/// One thread for each processor; solvers fixed, not timed: the same numbers in every run.
pub fn settings() -> LayerSettings {
    let mut settings = LayerSettings::default()
        .with_forward(ForwardSolver::DenseQp)
        .with_threads(0);
    settings.settings.linear.backend = LinearBackend::Dense;
    settings
}
