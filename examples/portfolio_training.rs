//! A portfolio trained on the returns it makes, against the best linear forecast of returns.
//!
//!     w(x) minimizes  1/2 w'S w - mu(x)'w   subject to  sum w = 1, w >= 0,      mu(x) = W (x, 1)
//!
//! The features x are news. Moderate news moves expected returns, more of it adds nothing, and after the worst there is a rebound: no
//! line has that shape. Two stages, least squares and then the program, bend the line to the few extremes. Trained end to end, by the
//! gradient of the decision loss 1/2 w'S w - r'w of realized returns r through the layer, the same line is a worse forecast and makes
//! a better portfolio.
//!
//! Elmachtoub, Grigas, Smart "predict, then optimize", 2022.

mod figure;
mod training;

use conediff::{ConeProgram, ConicLayer, LayerData, ProgramBuilder, SolutionTangent};
use figure::{BLUE, GREEN, GREY, ORANGE, Result};
use plotters::prelude::*;
use training::{Adam, Random};

const ASSETS: usize = 8;
/// News, and a one.
const FEATURES: usize = 4;
const RISK_AVERSION: f64 = 0.4;
const DAYS: usize = 1500;
const HELD_OUT: usize = 4000;
const EPOCHS: usize = 40;
const BATCH: usize = 100;

/// W, a row of features for each asset.
type Weights = [[f64; FEATURES]; ASSETS];

struct Day {
    news: [f64; FEATURES],
    expected: [f64; ASSETS],
    realized: [f64; ASSETS],
}

struct Market {
    /// What each asset's signal is made of.
    directions: [[f64; FEATURES - 1]; ASSETS],
    /// Two factors move all returns.
    loadings: [[f64; 2]; ASSETS],
    random: Random,
}

/// In percent, the same curve for each asset.
fn expected_return(signal: f64) -> f64 {
    3.0 * signal.clamp(-0.5, 0.5) + 2.0 * (-2.0 - signal).max(0.0)
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

impl Market {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let unit = ((FEATURES - 1) as f64).sqrt();
        Self {
            directions: [(); ASSETS].map(|()| [(); FEATURES - 1].map(|()| random.normal() / unit)),
            loadings: [(); ASSETS].map(|()| [(); 2].map(|()| random.normal())),
            random,
        }
    }

    /// News is heavy-tailed: Student's t with 3 degrees of freedom.
    fn day(&mut self) -> Day {
        let random = &mut self.random;
        let mut news = [1.0; FEATURES];
        for x in &mut news[..FEATURES - 1] {
            let square: f64 = (0..3).map(|_| random.normal().powi(2)).sum();
            *x = random.normal() / (square / 3.0).sqrt();
        }
        let expected = self.directions.map(|d| expected_return(dot(&d, &news)));
        let factors = [random.normal(), random.normal()];
        let realized = std::array::from_fn(|j| {
            expected[j] + dot(&self.loadings[j], &factors) + random.normal()
        });
        Day {
            news,
            expected,
            realized,
        }
    }

    fn days(&mut self, count: usize) -> Vec<Day> {
        (0..count).map(|_| self.day()).collect()
    }
}

fn forecast(weights: &Weights, news: &[f64; FEATURES]) -> [f64; ASSETS] {
    weights.map(|w| dot(&w, news))
}

/// Least squares of each asset's return on the news, by the layer without constraints: one X'X, many X'r.
fn least_squares(days: &[Day]) -> Result<Weights> {
    let mean = |f: &dyn Fn(&Day) -> f64| days.iter().map(f).sum::<f64>() / days.len() as f64;
    let mut builder = ProgramBuilder::new(FEATURES);
    for i in 0..FEATURES {
        (i..FEATURES).for_each(|j| builder.quadratic(i, j, mean(&|d| d.news[i] * d.news[j])));
    }
    let mut layer = ConicLayer::new(&builder.build()?, training::settings())?;
    let mut weights = [[0.0; FEATURES]; ASSETS];
    for (j, w) in weights.iter_mut().enumerate() {
        let q: [f64; FEATURES] = std::array::from_fn(|i| -mean(&|d| d.news[i] * d.realized[j]));
        w.copy_from_slice(&layer.forward(&LayerData::default().with_q(&q))?.x);
    }
    Ok(weights)
}

/// The risk S: the covariance of what a forecast leaves, times the risk aversion.
fn risk(days: &[Day], weights: &Weights) -> [[f64; ASSETS]; ASSETS] {
    let mut risk = [[0.0; ASSETS]; ASSETS];
    for day in days {
        let mu = forecast(weights, &day.news);
        let left: [f64; ASSETS] = std::array::from_fn(|j| day.realized[j] - mu[j]);
        for (row, x) in risk.iter_mut().zip(left) {
            let share = RISK_AVERSION / days.len() as f64;
            row.iter_mut()
                .zip(left)
                .for_each(|(s, y)| *s += share * x * y);
        }
    }
    risk
}

struct Portfolio {
    layer: ConicLayer,
    risk: [[f64; ASSETS]; ASSETS],
    /// Gradients so far, and how many of them were not trusted.
    gradients: [u64; 2],
}

impl Portfolio {
    fn new(risk: [[f64; ASSETS]; ASSETS]) -> Result<Self> {
        Ok(Self {
            layer: ConicLayer::new(&Self::program(&risk)?, training::settings())?,
            risk,
            gradients: [0, 0],
        })
    }

    fn program(risk: &[[f64; ASSETS]; ASSETS]) -> conediff::Result<ConeProgram> {
        let mut builder = ProgramBuilder::new(ASSETS);
        for (i, row) in risk.iter().enumerate() {
            (i..ASSETS).for_each(|j| builder.quadratic(i, j, row[j]));
        }
        let all: Vec<(usize, f64)> = (0..ASSETS).map(|j| (j, 1.0)).collect();
        builder.equality(&all, 1.0);
        builder.bounds(0..ASSETS, 0.0, f64::INFINITY);
        builder.build()
    }

    /// The portfolios of forecasts.
    fn decide(&mut self, forecasts: &[[f64; ASSETS]]) -> Result<Vec<Vec<f64>>> {
        let costs: Vec<[f64; ASSETS]> = forecasts.iter().map(|mu| mu.map(|m| -m)).collect();
        let items: Vec<LayerData> = costs
            .iter()
            .map(|q| LayerData::default().with_q(q))
            .collect();
        let solutions = self.layer.forward_batch(&items).into_iter();
        Ok(solutions
            .map(|s| s.map(|s| s.x))
            .collect::<conediff::Result<_>>()?)
    }

    /// S w.
    fn marginal_risk(&self, w: &[f64]) -> [f64; ASSETS] {
        self.risk.map(|row| dot(&row, w))
    }

    /// The mean decision loss.
    fn loss(&mut self, days: &[Day], forecasts: &[[f64; ASSETS]]) -> Result<f64> {
        let mut loss = 0.0;
        for (w, day) in self.decide(forecasts)?.iter().zip(days) {
            loss += 0.5 * dot(&self.marginal_risk(w), w) - dot(&day.realized, w);
        }
        Ok(loss / days.len() as f64)
    }

    /// The gradient in W of a batch's mean decision loss.
    fn gradient(&mut self, batch: &[&Day], weights: &Weights) -> Result<Weights> {
        let forecasts: Vec<_> = batch.iter().map(|d| forecast(weights, &d.news)).collect();
        let mut seeds = Vec::new();
        for (w, day) in self.decide(&forecasts)?.iter().zip(batch) {
            let mut seed = SolutionTangent::zeros(self.layer.program());
            let slopes = self.marginal_risk(w).into_iter().zip(day.realized);
            seed.x = slopes.map(|(s, r)| (s - r) / batch.len() as f64).collect();
            seeds.push(seed);
        }
        let mut gradient = [[0.0; FEATURES]; ASSETS];
        for (answer, day) in self.layer.backward_batch(&seeds)?.into_iter().zip(batch) {
            let answer = answer?;
            self.gradients[0] += 1;
            self.gradients[1] += u64::from(!answer.trusted);
            for (row, q) in gradient.iter_mut().zip(&answer.value.q) {
                row.iter_mut().zip(day.news).for_each(|(g, x)| *g -= q * x);
            }
        }
        Ok(gradient)
    }
}

fn forecasts(days: &[Day], weights: &Weights) -> Vec<[f64; ASSETS]> {
    days.iter().map(|d| forecast(weights, &d.news)).collect()
}

/// Mean over days and assets, against the expected returns.
fn squared_error(days: &[Day], forecasts: &[[f64; ASSETS]]) -> f64 {
    let pairs = days.iter().zip(forecasts);
    let errors = pairs.flat_map(|(d, mu)| d.expected.iter().zip(mu).map(|(e, m)| (e - m).powi(2)));
    errors.sum::<f64>() / (days.len() * ASSETS) as f64
}

fn main() -> Result<()> {
    let mut market = Market::new(0);
    let (days, held_out) = (market.days(DAYS), market.days(HELD_OUT));
    let two_stage = least_squares(&days)?;
    let mut portfolio = Portfolio::new(risk(&days, &two_stage))?;

    // The gradient through the layer against a difference.
    let batch: Vec<&Day> = days.iter().take(BATCH).collect();
    let slope = portfolio.gradient(&batch, &two_stage)?[0][0];
    let mut shifted = |by: f64| {
        let mut weights = two_stage;
        weights[0][0] += by;
        portfolio.loss(&days[..BATCH], &forecasts(&days[..BATCH], &weights))
    };
    let difference = (shifted(1e-6)? - shifted(-1e-6)?) / 2e-6;
    println!("d loss / d W_00: {slope:.8}, by a difference {difference:.8}");

    let (mut weights, mut random) = (two_stage, Random::new(1));
    let mut adam = Adam::new(ASSETS * FEATURES, 0.02);
    let mut losses = Vec::new();
    let bar = training::bar(EPOCHS as u64, "epochs")?;
    for epoch in 0..=EPOCHS {
        let order = if epoch == 0 {
            Vec::new()
        } else {
            random.permutation(DAYS)
        };
        for batch in order.chunks(BATCH) {
            let batch: Vec<&Day> = batch.iter().map(|&k| &days[k]).collect();
            let gradient = portfolio.gradient(&batch, &weights)?;
            adam.step(weights.as_flattened_mut(), gradient.as_flattened());
        }
        if epoch % 2 == 0 {
            let train = portfolio.loss(&days, &forecasts(&days, &weights))?;
            let test = portfolio.loss(&held_out, &forecasts(&held_out, &weights))?;
            losses.push((epoch as f64, train, test));
            bar.set_message(format!("held-out loss {test:.3}"));
        }
        bar.set_position(epoch as u64);
    }
    bar.finish();

    let rows = [
        ("two stages", forecasts(&held_out, &two_stage)),
        ("end to end", forecasts(&held_out, &weights)),
        ("oracle", held_out.iter().map(|d| d.expected).collect()),
    ];
    let mut loss = [0.0; 3];
    let mut error = [0.0; 3];
    for (k, (_, mu)) in rows.iter().enumerate() {
        loss[k] = portfolio.loss(&held_out, mu)?;
        error[k] = squared_error(&held_out, mu);
    }
    let closed = loss.map(|l| (loss[0] - l) / (loss[0] - loss[2]));
    println!("held out     decision loss   gap closed   squared error of the forecast");
    for (k, (name, _)) in rows.iter().enumerate() {
        let share = 100.0 * closed[k];
        println!(
            "{name:<12} {:13.3} {share:10.0} % {:15.3}",
            loss[k], error[k]
        );
    }
    let [all, doubtful] = portfolio.gradients;
    println!("{all} gradients, {doubtful} of them not trusted");

    figure::draw("portfolio_training", |area| {
        let (left, right) = area.split_horizontally(950);
        let labels = ["epoch", "decision loss"];
        let title = "Trained on the decision";
        // Room for the legend above.
        let top = (10.0 * loss[0] + 4.0).ceil() / 10.0;
        let bottom = (10.0 * loss[2] - 1.0).floor() / 10.0;
        let mut chart = figure::axes(&left, title, labels, 0.0..EPOCHS as f64, bottom..top)?;
        let level = |y: f64| [(0.0, y), (EPOCHS as f64, y)];
        figure::line(
            &mut chart,
            level(loss[0]),
            ORANGE,
            5,
            "two stages, held out",
        )?;
        let train = losses.iter().map(|l| (l.0, l.1));
        figure::line(&mut chart, train, GREY, 5, "end to end, training")?;
        let test = losses.iter().map(|l| (l.0, l.2));
        figure::line(&mut chart, test, BLUE, 6, "end to end, held out")?;
        figure::line(&mut chart, level(loss[2]), GREEN, 5, "oracle, held out")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        // Asset 0 along its own direction.
        let labels = ["signal of asset 0", "expected return, %"];
        let title = "Two lines for one curve";
        let mut chart = figure::axes(&right, title, labels, -4.0..4.0, -4.0..4.0)?;
        let direction = market.directions[0];
        let signals = (0..=160).map(|k| -4.0 + 0.05 * f64::from(k));
        let along = |weights: &Weights| -> Vec<(f64, f64)> {
            let [slope, square] = [dot(&weights[0], &direction), dot(&direction, &direction)];
            let constant = weights[0][FEATURES - 1];
            let line = signals.clone();
            line.map(|s| (s, s * slope / square + constant)).collect()
        };
        let mut often = [0.0; 40];
        for day in &held_out {
            let bin = 5.0 * (dot(&direction, &day.news) + 4.0);
            if (0.0..40.0).contains(&bin) {
                often[bin as usize] += 15.0 / HELD_OUT as f64;
            }
        }
        let bars = often
            .iter()
            .enumerate()
            .map(|(k, h)| (0.2 * k as f64 - 3.9, *h));
        figure::bars(&mut chart, bars, 0.16, RGBColor(215, 215, 215), "how often")?;
        let curve = signals.clone().map(|s| (s, expected_return(s)));
        figure::line(&mut chart, curve, GREEN, 5, "true mean")?;
        figure::line(&mut chart, along(&two_stage), ORANGE, 5, "two stages")?;
        figure::line(&mut chart, along(&weights), BLUE, 6, "end to end")?;
        figure::legend(&mut chart, SeriesLabelPosition::LowerRight)
    })?;

    assert!((slope - difference).abs() < 1e-6 * difference.abs());
    // A better portfolio by a worse forecast.
    assert!(closed[1] > 0.3 && error[1] > 1.5 * error[0]);
    assert!(doubtful == 0);
    Ok(())
}
