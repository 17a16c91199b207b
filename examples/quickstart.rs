//! Project a point onto the probability simplex and differentiate the projection.
//!
//!     minimize 1/2 |x - c|^2   subject to  sum x = 1, x >= 0

use conediff::{Derivative, ProgramBuilder, Result, Settings, SolutionTangent, solve};

fn main() -> Result<()> {
    let c = [0.9, 0.5, -0.3];
    let mut builder = ProgramBuilder::new(3);
    for (j, c) in c.iter().enumerate() {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -c);
    }
    builder.equality(&[(0, 1.0), (1, 1.0), (2, 1.0)], 1.0);
    builder.bounds(0..3, 0.0, f64::INFINITY);
    let program = builder.build()?;

    let settings = Settings::default();
    let solution = solve(&program, &settings)?;
    println!("x = {:.4?}", solution.x);

    // The gradient of x_0 in all the data at once.
    let derivative = Derivative::new(&program, &solution, &settings)?;
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[0] = 1.0;
    let gradient = derivative.vjp(&seed)?;
    // q = -c.
    let in_c: Vec<f64> = gradient.value.q.iter().map(|q| -q).collect();
    println!("dx_0/dc = {in_c:.4?}, trusted: {}", gradient.trusted);

    // x_2 stays at its bound; the other two share what c_0 gains.
    assert!(gradient.trusted);
    for (found, expected) in in_c.iter().zip([0.5, -0.5, 0.0]) {
        assert!((found - expected).abs() < 1e-12);
    }
    Ok(())
}
