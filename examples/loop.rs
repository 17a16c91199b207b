//! A controller in closed loop: the same small program solved and differentiated 10,000 times, each from the last solution.
//!
//!     minimize sum_t 1/2 ((position_t - target)^2 + 0.1 velocity_t^2 + 0.5 force_t^2)
//!     subject to  a cart's dynamics from the measured position and velocity,  |force| <= 1
//!
//! theta = (position, velocity, target). The gradient says what the next force owes to each.

use conediff::{
    ConeProgram, LayerSettings, Parametrization, ParametrizedLayer, ProgramBuilder, Result,
    SolutionTangent, WarmStart,
};
use indicatif::ProgressIterator;
use std::time::Instant;

const STEPS: u64 = 10_000;
const HORIZON: usize = 20;
/// Seconds between the plan's steps, and between plans.
const DT: f64 = 0.2;
const PERIOD: f64 = 0.02;

/// The program at theta = 0, and how q and b depend on theta. Stage t has position, velocity, force at 3t, 3t + 1, 3t + 2.
fn controller() -> Result<(ConeProgram, Parametrization)> {
    let n = 3 * HORIZON;
    let mut builder = ProgramBuilder::new(n);
    (0..n).for_each(|j| builder.quadratic(j, j, [1.0, 0.1, 0.5][j % 3]));
    let start = builder.equality(&[(0, 1.0)], 0.0).start;
    builder.equality(&[(1, 1.0)], 0.0);
    for x in (0..n - 3).step_by(3) {
        let (v, f) = (x + 1, x + 2);
        let moves = [(x + 3, 1.0), (x, -1.0), (v, -DT), (f, -DT * DT / 2.0)];
        builder.equality(&moves, 0.0);
        builder.equality(&[(v + 3, 1.0), (v, -1.0), (f, -DT)], 0.0);
    }
    builder.bounds((0..HORIZON).map(|t| 3 * t + 2), -1.0, 1.0);
    let program = builder.build()?;
    let mut q = sprs::TriMat::new((n, 3));
    (0..HORIZON).for_each(|t| q.add_triplet(3 * t, 2, -1.0));
    let mut b = sprs::TriMat::new((program.m(), 3));
    (0..2).for_each(|k| b.add_triplet(start + k, k, 1.0));
    let map = Parametrization::new(&program, None, Some(&q.to_csc()), None, Some(&b.to_csc()))?;
    Ok((program, map))
}

fn main() -> Result<()> {
    let (program, map) = controller()?;
    let settings = LayerSettings::default();
    let mut cold = ParametrizedLayer::new(&program, map.clone(), settings.clone())?;
    let settings = settings.with_warm_start(WarmStart::Previous);
    let mut warm = ParametrizedLayer::new(&program, map, settings)?;
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[2] = 1.0;
    let (mut position, mut velocity, mut worst, mut doubtful) = (0.0, 0.0, 0.0_f64, 0);
    let mut seconds = [0.0; 3];
    for k in (0..STEPS).progress_count(STEPS) {
        let time = PERIOD * k as f64;
        let target = 2.0 * (0.3 * time).sin() + (0.71 * time).cos();
        let (theta, start) = ([position, velocity, target], Instant::now());
        let solution = warm.forward(&theta)?;
        seconds[0] += start.elapsed().as_secs_f64();
        let force = solution.x[2];
        worst = worst.max(solution.refinement.map_or(f64::INFINITY, |r| r.after));

        let start = Instant::now();
        let gain = warm.backward(&seed)?;
        seconds[1] += start.elapsed().as_secs_f64();
        doubtful += u64::from(!gain.trusted);
        // The further ahead the cart is, the less it is pushed.
        assert!(gain.value[0] <= 1e-12 || !gain.trusted);

        // One plan in a hundred again from scratch.
        if k % 100 == 1 {
            let start = Instant::now();
            let again = cold.forward(&theta)?.x[2];
            seconds[2] += 100.0 * start.elapsed().as_secs_f64();
            assert!((again - force).abs() <= 1e-9);
        }
        position += PERIOD * (velocity + PERIOD * force / 2.0);
        velocity += PERIOD * force;
    }
    let [forward, backward, fresh] = seconds.map(|s| 1e6 * s / STEPS as f64);
    let counts = warm.layer().counts();
    println!("a step: {forward:.0} us warm, {fresh:.0} us cold, {backward:.0} us backward");
    println!("{counts:?}, residual at most {worst:.0e}, {doubtful} not trusted");
    assert!(worst <= 1e-9 && doubtful <= STEPS / 1000);
    assert!(counts.warm >= STEPS / 100 * 95 && counts.full == 0 && counts.failed == 0);
    Ok(())
}
