//! Derivatives along iterations: as fast as the iterates where steps contract, and diverging at a kink where they do not.
//!
//!     x_{k+1} = G(x_k, theta),   J_{k+1} = A_k J_k + B_k,   [A_k B_k] an element of the conservative Jacobian of G at (x_k, theta)
//!
//! Left: the Lasso by forward-backward splitting, and a sparse inverse covariance by Douglas-Rachford splitting. Each J_k settles at
//! the rate of x_k, the spectral radius of A at the limit, and the limit is the implicit derivative (I - A)^-1 B.
//!
//! Right: the heavy ball on x^2/2 (x >= 0), x^2/8 (x < 0) with step 1 and momentum 3/4. Both matrices A at the kink x = 0 have the
//! spectral radius 0.866, but the product of two of each has the eigenvalue -9/8: derivatives that take the selections in turn
//! diverge although x_k = 0 throughout. Any one selection converges.
//!
//! Bolte, Pauwels, Vaiter, Automatic differentiation of nonsmooth iterative algorithms, 2022.

mod figure;

use conediff::piggyback::{
    AsymmetricSquares, DouglasRachford, ForwardBackward, HeavyBall, KinkWeight, LeastSquares,
    LogDetProx, ParametricMap, Piggyback, PiggybackSettings, Propagated, SoftThreshold, Verdict,
};
use conediff::{SparseMatrix, svec};
use figure::{BLUE, GREEN, INK, ORANGE, Result};
use plotters::prelude::*;

const ROWS: usize = 50;
const COLUMNS: usize = 80;
const ORDER: usize = 8;

/// Numbers in [-1, 1) without a pattern (SplitMix64).
fn number(i: usize, j: usize) -> f64 {
    let mut z = (1000 * i as u64 + j as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// minimize 1/2 |X x - y|^2 + lambda |x|_1 with more coefficients than rows.
fn lasso() -> Result<(ForwardBackward<LeastSquares, SoftThreshold>, Vec<f64>)> {
    let entries = (0..ROWS * COLUMNS).map(|k| number(k % ROWS, k / ROWS));
    let data: Vec<f64> = entries.collect();
    let indptr: Vec<usize> = (0..=COLUMNS).map(|j| j * ROWS).collect();
    let indices: Vec<usize> = (0..ROWS * COLUMNS).map(|k| k % ROWS).collect();
    let x = SparseMatrix::from_csc("X", ROWS, COLUMNS, &indptr, &indices, &data)?;
    let fit = |i: usize| 2.0 * number(i, 0) - number(i, 1) + number(i, 2);
    let mut theta = vec![3.0];
    theta.extend((0..ROWS).map(|i| fit(i) + 0.3 * number(i, COLUMNS)));
    let loss = LeastSquares::new(x);
    // The largest eigenvalue of X'X, by powers.
    let (mut v, mut image) = (vec![1.0; COLUMNS], vec![0.0; COLUMNS]);
    let mut largest = 1.0;
    for _ in 0..200 {
        loss.apply(&(), &v, &[0.0; ROWS], &mut image)?;
        largest = image.iter().map(|x| x * x).sum::<f64>().sqrt();
        v = image.iter().map(|x| x / largest).collect();
    }
    let threshold = SoftThreshold::new(vec![1.0; COLUMNS])?;
    Ok((ForwardBackward::new(loss, threshold, 1.0 / largest)?, theta))
}

/// minimize -log det X + trace(S X) + lambda sum_ij |X_ij|.
fn inverse_covariance() -> Result<(DouglasRachford<LogDetProx, SoftThreshold>, Vec<f64>)> {
    let samples = 60;
    let mut covariance = vec![0.0; ORDER * ORDER];
    for i in 0..samples {
        let mut v: Vec<f64> = (0..ORDER).map(|j| 1.7 * number(i, j + 200)).collect();
        (1..ORDER).for_each(|j| v[j] += 0.6 * v[j - 1]);
        for (k, c) in covariance.iter_mut().enumerate() {
            *c += v[k / ORDER] * v[k % ORDER] / f64::from(samples as u32);
        }
    }
    let s = svec::svec(&covariance, ORDER)?;
    // Entries off the diagonal count twice and are stored times sqrt 2.
    let mut weights = vec![2f64.sqrt(); s.len()];
    (0..ORDER).for_each(|i| weights[svec::index(i, i)] = 1.0);
    let threshold = SoftThreshold::new(weights)?;
    let step = DouglasRachford::new(LogDetProx::new(ORDER, 1.0)?, threshold)?;
    Ok((step, [vec![0.1], s].concat()))
}

/// Runs with all derivatives, says how, and compares with the implicit derivative.
fn run<M: ParametricMap>(name: &str, map: &M, start: &[f64], theta: &[f64]) -> Result<Propagated> {
    let settings = PiggybackSettings {
        iterate_tolerance: 1e-13,
        derivative_tolerance: 1e-13,
        ..PiggybackSettings::default()
    };
    let run = Piggyback::new(map, start, theta, settings)?;
    let forward = run.jacobian()?;
    let limit = run.limit(&forward.x)?;
    let error = forward.distance_to(&limit)?;
    let rates = [forward.iterates.rate, forward.derivative.rate];
    println!(
        "{name}: rates {:.4} and {:.4}, spectral radius {:.4}; {} steps, {error:.0e} from the implicit derivative",
        rates[0], rates[1], limit.spectral_radius, forward.iterations
    );
    assert_eq!(forward.verdict(), Verdict::Converging);
    assert!(error < 1e-9);
    for rate in rates {
        assert!((rate / limit.spectral_radius - 1.0).abs() < 0.02);
    }
    Ok(forward)
}

/// The heavy ball from (x, x) for 200 steps, at theta = (ridge, y) = 0.
fn ball(kink: KinkWeight, x: f64) -> Result<Propagated> {
    let loss = AsymmetricSquares::new(1, 0.25, 1.0)?.with_kink(kink)?;
    let ball = HeavyBall::new(loss, 1.0, 0.75)?;
    let settings = PiggybackSettings {
        max_iterations: 200,
        iterate_tolerance: 0.0,
        ..PiggybackSettings::default()
    };
    Ok(Piggyback::new(&ball, &[x; 2], &[0.0; 2], settings)?.jacobian()?)
}

/// Decimal logarithms against the step.
fn logarithms(values: &[f64]) -> Vec<(f64, f64)> {
    let positive = values.iter().enumerate().filter(|(_, v)| **v > 0.0);
    positive.map(|(k, v)| (k as f64 + 1.0, v.log10())).collect()
}

fn main() -> Result<()> {
    let (map, theta) = lasso()?;
    let lasso = run("Lasso", &map, &[0.0; COLUMNS], &theta)?;
    let (map, theta) = inverse_covariance()?;
    let start = vec![0.0; map.dimension()];
    let covariance = run("sparse inverse covariance", &map, &start, &theta)?;

    let in_turn = ball(KinkWeight::Cycle(vec![1.0, 1.0, 0.0, 0.0]), 0.0)?;
    let single = ball(KinkWeight::Active, 0.0)?;
    let outside = ball(KinkWeight::Active, 1.0)?;
    println!(
        "heavy ball: |J| = {:.1} after 200 steps, growing {:.4}-fold in each; {:?}",
        in_turn.sizes[199],
        in_turn.derivative.rate,
        in_turn.verdict()
    );

    figure::draw("unrolled", |area| {
        let (left, right) = area.split_horizontally(960);
        let title = "Contractive steps: one rate for both";
        let labels = ["step", "log10 of the change"];
        let mut chart = figure::axes(&left, title, labels, 0.0..360.0, -14.0..2.0)?;
        for (run, color, name) in [
            (&lasso, BLUE, "J, Lasso"),
            (&covariance, GREEN, "J, inverse covariance"),
        ] {
            figure::line(&mut chart, logarithms(&run.changes), color, 9, name)?;
        }
        figure::line(&mut chart, logarithms(&lasso.moves), INK, 3, "x of each")?;
        figure::line(&mut chart, logarithms(&covariance.moves), INK, 3, "")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        let title = "Heavy ball at a kink";
        let labels = ["step", "log10 of the change"];
        let mut chart = figure::axes(&right, title, labels, 0.0..200.0, -14.0..4.0)?;
        let changes = logarithms(&in_turn.changes);
        figure::line(&mut chart, changes, ORANGE, 7, "J, selections in turn")?;
        let changes = logarithms(&single.changes);
        figure::line(&mut chart, changes, BLUE, 9, "J, one selection")?;
        let moves = logarithms(&outside.moves);
        figure::line(&mut chart, moves, INK, 3, "x, started at 1")?;
        figure::legend(&mut chart, SeriesLabelPosition::LowerLeft)
    })?;

    // The derivatives diverge while the iterates rest, as computed elsewhere: |J_200| = 509 for the derivative in y.
    assert_eq!(in_turn.x, [0.0; 2]);
    assert_eq!(in_turn.verdict(), Verdict::DerivativeFails);
    assert!((in_turn.sizes[199] - 509.0).abs() < 1.0);
    assert!((in_turn.derivative.rate - 1.125f64.powf(0.25)).abs() < 1e-3);
    assert_eq!(single.verdict(), Verdict::Converging);
    assert!(outside.iterates.is_converging());
    Ok(())
}
