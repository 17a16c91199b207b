//! Verify the derivative of your own model, a layer inside a function, in one call.
//!
//! The model: a household spreads a budget over goods with target amounts, and pays a price; its regret is a smooth function of what
//! it buys. The gradient of the regret in the targets goes through the layer by one VJP.

use conediff::{
    Derivative, GradcheckSettings, ProgramBuilder, Result, Settings, SolutionTangent, Verdict,
    gradcheck, gradcheck_function, solve,
};

const PRICES: [f64; 4] = [1.0, 2.0, 0.5, 1.5];
const BUDGET: f64 = 3.0;
const WISH: [f64; 4] = [0.5, 0.4, 1.0, 0.2];

/// The layer: minimize 1/2 |x - target|^2 subject to prices'x <= budget, x >= 0.
fn purchase(target: &[f64]) -> Result<conediff::ConeProgram> {
    let mut builder = ProgramBuilder::new(4);
    for (j, t) in target.iter().enumerate() {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -t);
    }
    let terms: Vec<(usize, f64)> = PRICES.iter().copied().enumerate().collect();
    builder.inequality(&terms, BUDGET);
    builder.bounds(0..4, 0.0, f64::INFINITY);
    builder.build()
}

/// The regret, sum of (x - wish)^4, and its gradient in the targets.
fn regret(target: &[f64]) -> Result<(f64, Vec<f64>)> {
    let settings = Settings::default();
    let program = purchase(target)?;
    let solution = solve(&program, &settings)?;
    let value = solution
        .x
        .iter()
        .zip(WISH)
        .map(|(x, w)| (x - w).powi(4))
        .sum();
    let derivative = Derivative::new(&program, &solution, &settings)?;
    let mut seed = SolutionTangent::zeros(&program);
    for ((g, x), w) in seed.x.iter_mut().zip(&solution.x).zip(WISH) {
        *g = 4.0 * (x - w).powi(3);
    }
    let gradient = derivative.vjp(&seed)?.value;
    // The targets enter as q = -target.
    Ok((value, gradient.q.iter().map(|g| -g).collect()))
}

fn main() -> Result<()> {
    let target = [1.0, 1.2, -0.3, 0.9];
    let check = GradcheckSettings::default();

    let layer = gradcheck(&purchase(&target)?, &Settings::default(), &check)?;
    println!("the layer, in each block of its data:\n{layer}");
    assert!(layer.passed());

    let (value, gradient) = regret(&target)?;
    let whole = gradcheck_function(|t| Ok(regret(t)?.0), &gradient, &target, 5, &check)?;
    println!(
        "regret {value:.4}, gradient {gradient:.4?}: error {:.1e}",
        whole.error
    );
    assert_eq!(whole.verdict, Verdict::Agrees);
    Ok(())
}
