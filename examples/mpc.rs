//! Model predictive control of a cart: how the first force depends on the state measured and on the price of force.
//!
//!     minimize sum_t 1/2 (position_t^2 + 0.1 velocity_t^2 + r force_t^2)
//!     subject to  state_{t+1} = A state_t + B force_t,  state_0 measured,  |force| <= 1,  velocity >= -0.8

use conediff::{ConeProgram, Derivative, ProgramBuilder, Result, Settings, SolutionTangent, solve};

const HORIZON: usize = 20;
const DT: f64 = 0.2;

/// Stage t has position, velocity, force at 3t, 3t + 1, 3t + 2; a last state without force follows.
const VARIABLES: usize = 3 * HORIZON + 2;

/// The program and the first of the measured state's two rows.
fn controller(measured: [f64; 2], price: f64) -> Result<(ConeProgram, usize)> {
    let mut builder = ProgramBuilder::new(VARIABLES);
    for j in 0..VARIABLES {
        builder.quadratic(j, j, [1.0, 0.1, price][j % 3]);
    }
    let start = builder.equality(&[(0, 1.0)], measured[0]).start;
    builder.equality(&[(1, 1.0)], measured[1]);
    for t in 0..HORIZON {
        let (position, velocity, force) = (3 * t, 3 * t + 1, 3 * t + 2);
        builder.equality(
            &[
                (position + 3, 1.0),
                (position, -1.0),
                (velocity, -DT),
                (force, -DT * DT / 2.0),
            ],
            0.0,
        );
        builder.equality(&[(velocity + 3, 1.0), (velocity, -1.0), (force, -DT)], 0.0);
    }
    builder.bounds((0..HORIZON).map(|t| 3 * t + 2), -1.0, 1.0);
    // The measured velocity is what it is: only later ones are limited.
    builder.bounds((1..=HORIZON).map(|t| 3 * t + 1), -0.8, f64::INFINITY);
    Ok((builder.build()?, start))
}

fn main() -> Result<()> {
    let settings = Settings::default();
    let (measured, price) = ([1.5, -0.5], 0.5);
    let (program, start) = controller(measured, price)?;
    let solution = solve(&program, &settings)?;
    let slowest = (1..=HORIZON)
        .map(|t| solution.x[3 * t + 1])
        .fold(0.0, f64::min);
    println!(
        "force {:.4}, lowest velocity ahead {slowest:.4}",
        solution.x[2]
    );

    let mut seed = SolutionTangent::zeros(&program);
    seed.x[2] = 1.0;
    let gradient = Derivative::new(&program, &solution, &settings)?.vjp(&seed)?;
    let gain = &gradient.value.b[start..start + 2];
    // P is diagonal: its stored entries are the variables'.
    let in_price: f64 = (0..HORIZON).map(|t| gradient.value.p[3 * t + 2]).sum();
    println!(
        "d force / d position {:.4}, / d velocity {:.4}, / d price {in_price:.4}",
        gain[0], gain[1]
    );

    assert!(gradient.trusted);
    assert!(
        (slowest + 0.8).abs() < 1e-9,
        "the speed limit should be active"
    );
    let step = 1e-5;
    let force = |by: [f64; 3]| -> Result<f64> {
        let measured = [measured[0] + step * by[0], measured[1] + step * by[1]];
        Ok(solve(&controller(measured, price + step * by[2])?.0, &settings)?.x[2])
    };
    for (direction, expected) in [
        ([1.0, 0.0, 0.0], gain[0]),
        ([0.0, 1.0, 0.0], gain[1]),
        ([0.0, 0.0, 1.0], in_price),
    ] {
        let difference = (force(direction)? - force(direction.map(|d| -d))?) / (2.0 * step);
        assert!((difference - expected).abs() < 1e-7);
    }
    Ok(())
}
