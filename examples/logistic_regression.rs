//! Logistic regression with exponential cones, and the gradient of the validation loss in the regularization weight.
//!
//!     minimize sum_i log(1 + exp(-y_i x_i'w)) + lambda/2 |w|^2
//!
//! log(1 + exp u) <= t  is  exp(u - t) + exp(-t) <= 1: two exponential cones and one inequality for each point.

use conediff::{
    Affine, ConeProgram, Derivative, ProgramBuilder, Result, Settings, SolutionTangent, solve,
};

const TRAINING: usize = 50;
const VALIDATION: usize = 30;

/// y_i x_i of overlapping classes on both sides of a line, by a fixed recipe.
fn point(i: usize) -> [f64; 2] {
    let i = i as f64;
    let (a, b, noise) = ((1.7 * i).sin(), (2.9 * i).cos(), (5.3 * i).sin());
    let y = (a - 0.5 * b + 0.7 * noise).signum();
    [y * a, y * b]
}

/// Variables: w, then t_i, p_i, r_i for each point.
fn regression(lambda: f64) -> Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(2 + 3 * TRAINING);
    builder.quadratic(0, 0, lambda);
    builder.quadratic(1, 1, lambda);
    let one = Affine::constant(1.0);
    for i in 0..TRAINING {
        let (t, p, r) = (2 + 3 * i, 3 + 3 * i, 4 + 3 * i);
        let x = point(i);
        builder.linear(t, 1.0);
        let margin = Affine::new(&[(0, -x[0]), (1, -x[1]), (t, -1.0)], 0.0);
        builder.exponential(&margin, &one, &Affine::variable(p));
        builder.exponential(&Affine::new(&[(t, -1.0)], 0.0), &one, &Affine::variable(r));
        builder.inequality(&[(p, 1.0), (r, 1.0)], 1.0);
    }
    builder.build()
}

/// The gradient in w of the logistic loss summed over points, and its Hessian.
fn loss_derivatives(points: std::ops::Range<usize>, w: &[f64]) -> ([f64; 2], [[f64; 2]; 2]) {
    let (mut gradient, mut hessian) = ([0.0; 2], [[0.0; 2]; 2]);
    for x in points.map(point) {
        let wrong = 1.0 / (1.0 + (w[0] * x[0] + w[1] * x[1]).exp());
        for i in 0..2 {
            gradient[i] -= wrong * x[i];
            for j in 0..2 {
                hessian[i][j] += wrong * (1.0 - wrong) * x[i] * x[j];
            }
        }
    }
    (gradient, hessian)
}

fn main() -> Result<()> {
    let (settings, lambda) = (Settings::default(), 1.0);
    let program = regression(lambda)?;
    let solution = solve(&program, &settings)?;
    let w = &solution.x[..2];
    println!("n = {}, m = {}, w = {w:.4?}", program.n(), program.m());

    // Validation loss -> w -> lambda, which stands twice on P's diagonal.
    let (outer, _) = loss_derivatives(TRAINING..TRAINING + VALIDATION, w);
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[..2].copy_from_slice(&outer);
    let gradient = Derivative::new(&program, &solution, &settings)?.vjp(&seed)?;
    let in_lambda: f64 = gradient.value.p.iter().sum();
    println!(
        "d(validation loss)/d(lambda) = {in_lambda:.6}, trusted: {}",
        gradient.trusted
    );

    // Without cones: dw/dlambda = -(H + lambda I)^-1 w.
    let (_, h) = loss_derivatives(0..TRAINING, w);
    let (a, b, d) = (h[0][0] + lambda, h[0][1], h[1][1] + lambda);
    let inverse = 1.0 / (a * d - b * b);
    let dw = [
        -(d * w[0] - b * w[1]) * inverse,
        -(a * w[1] - b * w[0]) * inverse,
    ];
    let expected = outer[0] * dw[0] + outer[1] * dw[1];
    assert!(gradient.trusted && (in_lambda - expected).abs() < 1e-9);
    Ok(())
}
