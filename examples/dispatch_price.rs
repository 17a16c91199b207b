//! What one more megawatt costs: the derivative of an optimal value needs no linear system, only the multipliers.
//!
//! Economic dispatch of three units, Wood and Wollenberg, Power Generation, Operation and Control, example 3A:
//!
//!     minimize sum_i a_i p_i^2 + b_i p_i   subject to  sum p = demand, low <= p <= high

use conediff::{ConeProgram, Derivative, ProgramBuilder, Result, Settings, SolutionTangent, solve};

/// Dollars per hour, MW.
const QUADRATIC: [f64; 3] = [0.001562, 0.00194, 0.00482];
const LINEAR: [f64; 3] = [7.92, 7.85, 7.97];
const LIMITS: [(f64, f64); 3] = [(150.0, 600.0), (100.0, 400.0), (50.0, 200.0)];
/// Powers in hundreds of MW: tolerances are meant for data of order one.
const UNIT: f64 = 100.0;

fn dispatch(demand: f64) -> Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(3);
    for (i, (low, high)) in LIMITS.into_iter().enumerate() {
        builder.quadratic(i, i, 2.0 * QUADRATIC[i] * UNIT);
        builder.linear(i, LINEAR[i]);
        builder.bounds([i], low / UNIT, high / UNIT);
    }
    builder.equality(&[(0, 1.0), (1, 1.0), (2, 1.0)], demand / UNIT);
    builder.build()
}

fn main() -> Result<()> {
    let settings = Settings::default();
    let program = dispatch(850.0)?;
    let solution = solve(&program, &settings)?;
    for (i, p) in solution.x.iter().enumerate() {
        println!("unit {i}: {:.1} MW", p * UNIT);
    }
    // Envelope theorem: dV/db = -z, dV/dq = x. The demand is the last row.
    let balance = program.m() - 1;
    let price = -solution.z[balance];
    println!("price of one more MWh: {price:.4} dollars");
    assert!((price - 9.148).abs() < 5e-4);
    assert!((solution.x[0] * UNIT - 393.2).abs() < 0.1);

    // The long way gives the same: the cost's gradient at the optimum, Px + q, through the solution map.
    let mut seed = SolutionTangent::zeros(&program);
    for i in 0..3 {
        seed.x[i] = 2.0 * QUADRATIC[i] * UNIT * solution.x[i] + LINEAR[i];
    }
    let gradient = Derivative::new(&program, &solution, &settings)?.vjp(&seed)?;
    assert!(gradient.trusted && (gradient.value.b[balance] - price).abs() < 1e-9);

    // And so does paying for one more kilowatt.
    let more = solve(&dispatch(850.001)?, &settings)?;
    let difference = (more.objective - solution.objective) * UNIT / 0.001;
    assert!((difference - price).abs() < 1e-5);
    Ok(())
}
