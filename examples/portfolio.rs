//! A long-only portfolio under a factor risk model, and what its realized return owes to each return forecast.
//!
//!     maximize mu'w   subject to  sum w = 1, 0 <= w <= 0.4, |(F'w, d w)| <= risk
//!
//! F holds the factor loadings times the factors' volatilities, d the specific volatilities: the norm is the portfolio's own.

use conediff::{
    Affine, ConeProgram, Derivative, ProgramBuilder, Result, Settings, SolutionTangent, solve,
};

const ASSETS: [&str; 6] = ["tech", "health", "banks", "energy", "utilities", "bonds"];
/// Forecast and realized yearly returns.
const FORECAST: [f64; 6] = [0.095, 0.075, 0.08, 0.07, 0.05, 0.03];
const REALIZED: [f64; 6] = [0.14, 0.03, 0.09, -0.04, 0.06, 0.02];
/// Market and interest rate.
const LOADINGS: [[f64; 2]; 6] = [
    [0.19, 0.02],
    [0.12, 0.01],
    [0.17, -0.04],
    [0.15, -0.02],
    [0.08, 0.05],
    [0.00, 0.05],
];
const SPECIFIC: [f64; 6] = [0.10, 0.08, 0.09, 0.14, 0.07, 0.01];
const RISK: f64 = 0.12;

fn portfolio(forecast: &[f64]) -> Result<ConeProgram> {
    let n = forecast.len();
    let mut builder = ProgramBuilder::new(n);
    for (j, mu) in forecast.iter().enumerate() {
        builder.linear(j, -mu);
    }
    let all: Vec<(usize, f64)> = (0..n).map(|j| (j, 1.0)).collect();
    builder.equality(&all, 1.0);
    builder.bounds(0..n, 0.0, 0.4);
    let factor = |k: usize| -> Affine {
        let terms: Vec<(usize, f64)> = (0..n).map(|j| (j, LOADINGS[j][k])).collect();
        Affine::new(&terms, 0.0)
    };
    let mut exposures = vec![factor(0), factor(1)];
    exposures.extend((0..n).map(|j| Affine::new(&[(j, SPECIFIC[j])], 0.0)));
    builder.norm(&exposures, &Affine::constant(RISK));
    builder.build()
}

fn realized(weights: &[f64]) -> f64 {
    weights.iter().zip(REALIZED).map(|(w, r)| w * r).sum()
}

fn main() -> Result<()> {
    let settings = Settings::default();
    let program = portfolio(&FORECAST)?;
    let solution = solve(&program, &settings)?;
    let mut seed = SolutionTangent::zeros(&program);
    seed.x = REALIZED.to_vec();
    let gradient = Derivative::new(&program, &solution, &settings)?.vjp(&seed)?;

    println!("asset      weight   d(realized return)/d(forecast)");
    for (j, asset) in ASSETS.iter().enumerate() {
        println!(
            "{asset:<10} {:6.3} {:10.4}",
            solution.x[j], -gradient.value.q[j]
        );
    }
    println!("realized return {:.4}", realized(&solution.x));

    // The same amount on every forecast changes no decision.
    assert!(gradient.trusted);
    assert!(gradient.value.q.iter().sum::<f64>().abs() < 1e-9);
    // One forecast moved by a thousandth of a percent, both ways, against the gradient.
    let step = 1e-5;
    let moved = |by: f64| -> Result<f64> {
        let mut forecast = FORECAST;
        forecast[2] += by;
        Ok(realized(&solve(&portfolio(&forecast)?, &settings)?.x))
    };
    let difference = (moved(step)? - moved(-step)?) / (2.0 * step);
    assert!((difference + gradient.value.q[2]).abs() < 1e-4 * difference.abs());
    Ok(())
}
