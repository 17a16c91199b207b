//! Rounding at the tip of a second-order cone makes a gradient wrong by a factor of two, one time in eleven.
//!
//!     minimize t^2   subject to |s - theta| <= t,   s and theta in R^3:   t = 0, s = theta, d s / d theta = I
//!
//! The slack and the multiplier are both zero: v = z - s stands at the tip, where the projection's Jacobian D has many values. A
//! solver returns v with an error of 1e-9, and D is that of the side the error points to. In nearly all of them J is invertible and
//! gives the right gradient. In the negative cone, t <= -|u|, D = 0 and J is singular: its pseudo-inverse gives half the gradient.
//! That cone holds 1/4 - 1/(2 pi) = 9.1 % of all directions in R^4.

mod figure;

use conediff::{
    Affine, Cone, ConeProgram, Derivative, ProgramBuilder, Projection, Selection, Settings,
    Solution, SolutionTangent,
};
use faer::Mat;
use figure::{BLUE, INK, ORANGE, Result};
use plotters::prelude::*;

const NOISE: f64 = 1e-9;

/// Variables t, s; rows (t, s - theta).
fn tip(theta: [f64; 3]) -> Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(4);
    builder.quadratic(0, 0, 2.0);
    let u = [1, 2, 3].map(|j| Affine::new(&[(j, 1.0)], -theta[j - 1]));
    builder.norm(&u, &Affine::variable(0));
    Ok(builder.build()?)
}

/// d s_1 / d theta_1 by the pseudo-inverse of J = [[P, A'D], [-A, I - D]] at v, with A = -I and D column by column.
fn by_pseudo_inverse(v: &[f64]) -> Result<f64> {
    let projection = Projection::new(&[Cone::SecondOrder(4)], v)?;
    let mut j = Mat::<f64>::zeros(8, 8);
    j[(0, 0)] = 2.0;
    for k in 0..4 {
        let (mut unit, mut d) = ([0.0; 4], [0.0; 4]);
        unit[k] = 1.0;
        projection.apply(&unit, &mut d)?;
        for i in 0..4 {
            j[(i, 4 + k)] = -d[i];
            j[(4 + i, 4 + k)] = unit[i] - d[i];
        }
        j[(4 + k, k)] = 1.0;
    }
    // Row 1 of the cone is s_1 - theta_1: db = -dtheta, and the right-hand side of a JVP is -(0; db).
    let mut rhs = Mat::<f64>::zeros(8, 1);
    rhs[(5, 0)] = 1.0;
    let svd = j.svd().map_err(|_| "no singular values")?;
    Ok((svd.pseudoinverse() * rhs)[(1, 0)])
}

/// Noise of norm at most NOISE, no direction preferred.
fn noise(program: &ConeProgram, seed: u64) -> Option<Vec<f64>> {
    let v = SolutionTangent::random(program, seed).z;
    let inside = v.iter().map(|x| x * x).sum::<f64>() <= 1.0;
    inside.then(|| v.iter().map(|x| NOISE * x).collect())
}

fn main() -> Result<()> {
    let theta = [0.3, -0.5, 0.8];
    let program = tip(theta)?;
    // The point is to stay where the noise puts it.
    let mut settings = Settings::default().with_selection(Selection::NonsingularFirst);
    settings.refine.enabled = false;
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[1] = 1.0;
    let x = vec![0.0, theta[0], theta[1], theta[2]];

    // For every draw |u| and t, the naive gradient and the library's.
    let (mut places, mut naive, mut library) = (Vec::new(), Vec::new(), Vec::new());
    for v in (0..30_000).filter_map(|k| noise(&program, k)) {
        let solution = Solution::given(&program, x.clone(), v.clone(), vec![0.0; 4])?;
        let derivative = Derivative::new(&program, &solution, &settings)?;
        let gradient = derivative.vjp(&seed)?;
        if places.is_empty() {
            println!("{}", derivative.regularity()?);
        }
        // Right, and yet not to be relied on: the report says why.
        assert!(!gradient.trusted && derivative.kinks().len() == 1);
        assert!(!derivative.regularity()?.is_certified());
        let u = v[1..].iter().map(|x| x * x).sum::<f64>().sqrt();
        places.push((u / NOISE, v[0] / NOISE));
        naive.push(by_pseudo_inverse(&v)?);
        library.push(-gradient.value.b[1]);
    }
    let share = |gradients: &[f64], value: f64| {
        let close = gradients.iter().filter(|g| (**g - value).abs() < 1e-6);
        100.0 * close.count() as f64 / gradients.len() as f64
    };
    let (half, one) = (share(&naive, 0.5), share(&naive, 1.0));
    let right = share(&library, 1.0);
    println!(
        "{} draws: pseudo-inverse {half:.1} % gradients of 1/2, {one:.1} % of 1",
        naive.len()
    );
    println!("nonsingular first {right:.1} % of 1");

    figure::draw("apex_noise", |area| {
        let (left, right) = area.split_horizontally(950);
        let title = "Where an error of 1e-9 puts v = (t, u)";
        let labels = ["|u| / 1e-9", "t / 1e-9"];
        let mut chart = figure::axes(&left, title, labels, 0.0..1.05, -1.05..1.05)?;
        let of = |below: bool| {
            let some = places.iter().step_by(8).copied();
            some.filter(move |(u, t)| (*t <= -u) == below)
        };
        figure::discs(&mut chart, of(false), BLUE, 4, "J invertible")?;
        figure::discs(&mut chart, of(true), ORANGE, 4, "J singular, D = 0")?;
        figure::line(&mut chart, [(0.0, 0.0), (1.05, -1.05)], INK, 3, "")?;
        figure::line(&mut chart, [(0.0, 0.0), (1.05, 1.05)], INK, 3, "")?;
        figure::legend(&mut chart, SeriesLabelPosition::LowerRight)?;

        let title = "The gradient of s1 in theta1, exactly 1";
        let labels = ["gradient", "share of the draws, %"];
        let mut chart = figure::axes(&right, title, labels, 0.0..1.25, 0.0..120.0)?;
        let histogram = |gradients: &[f64], shift: f64| -> Vec<(f64, f64)> {
            let mut counts = [0_usize; 26];
            for g in gradients {
                counts[(g / 0.05).round().clamp(0.0, 25.0) as usize] += 1;
            }
            let all = 0.01 * gradients.len() as f64;
            let bars = counts.iter().enumerate().filter(|c| *c.1 > 0);
            bars.map(|(k, c)| (0.05 * k as f64 + shift, *c as f64 / all))
                .collect()
        };
        let naive = histogram(&naive, -0.02);
        figure::bars(&mut chart, naive, 0.036, ORANGE, "pseudo-inverse of J")?;
        let library = histogram(&library, 0.02);
        figure::bars(&mut chart, library, 0.036, BLUE, "nonsingular first")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })?;

    assert!((half - 9.08).abs() < 1.0 && (half + one - 100.0).abs() < 1e-9);
    assert!(right == 100.0);
    Ok(())
}
