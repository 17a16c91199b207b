//! Gradient descent through a linear program that never stops, because the layer's answer jumps.
//!
//!     minimize (x - a)^2 + 4 (y - b)^2   where (a, b) maximizes (a + b) t over [0, 3] x [0, 5],   t = -3x + y + 2
//!
//! The inner answer is the corner (0, 0) or (3, 5) by the sign of t, constant on either side: its derivative is 0 there, and descent
//! goes towards whichever corner is current, across the line t = 0 and back, although the optimum is 0. With a ridge, rho/2 (a^2 + b^2)
//! in the inner problem, the answer follows t continuously and descent stops: at the optimum, or at another stationary point.
//!
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021.

mod figure;

use conediff::{
    ConicLayer, ForwardSolver, LayerData, LayerSettings, LinearBackend, Monitor, MonitorSettings,
    MonitorTotals, ProgramBuilder, SolutionTangent,
};
use figure::{BLUE, GREEN, GREY, INK, ORANGE, Result};
use indicatif::ProgressIterator;
use plotters::prelude::*;

/// The inner problem in (a, b); its rows are a >= 0, a <= 3, b >= 0, b <= 5.
fn inner(ridge: f64) -> Result<ConicLayer> {
    let mut builder = ProgramBuilder::new(2);
    for (j, upper) in [(0, 3.0), (1, 5.0)] {
        builder.bounds([j], 0.0, upper);
    }
    // Solvers fixed, not timed: the same numbers in every run.
    let mut settings = LayerSettings::default().with_forward(ForwardSolver::DenseQp);
    settings.settings.linear.backend = LinearBackend::Dense;
    let program = builder.build()?.with_ridge(ridge)?;
    Ok(ConicLayer::new(&program, settings)?)
}

fn side([x, y]: [f64; 2]) -> f64 {
    -3.0 * x + y + 2.0
}

/// The objective and its gradient in (x, y), through the layer.
fn outer(layer: &mut ConicLayer, [x, y]: [f64; 2]) -> Result<(f64, [f64; 2])> {
    let t = side([x, y]);
    let answer = layer.forward(&LayerData::default().with_q(&[-t, -t]))?;
    let (dx, dy) = (x - answer.x[0], y - answer.x[1]);
    let mut seed = SolutionTangent::zeros(layer.program());
    seed.x = vec![-2.0 * dx, -8.0 * dy];
    let q = layer.backward(&seed)?.value.q;
    let dt = -(q[0] + q[1]);
    let gradient = [2.0 * dx - 3.0 * dt, 8.0 * dy + dt];
    Ok((dx * dx + 4.0 * dy * dy, gradient))
}

/// A step of descent: the time, the sum of the steps so far; the point; the gradient's norm there.
struct Visit {
    time: f64,
    point: [f64; 2],
    slope: f64,
}

/// All visits, and what a monitor saw of them.
fn descend(
    layer: &mut ConicLayer,
    mut point: [f64; 2],
    steps: impl ExactSizeIterator<Item = f64>,
) -> Result<(Vec<Visit>, MonitorTotals)> {
    let mut monitor = Monitor::new(MonitorSettings::default())?;
    let (mut time, mut path) = (0.0, Vec::new());
    for step in steps.progress() {
        let (_, g) = outer(layer, point)?;
        monitor.observe(&point, layer.derivative()?)?;
        let slope = g[0].hypot(g[1]);
        path.push(Visit { time, point, slope });
        time += step;
        point = [point[0] - step * g[0], point[1] - step * g[1]];
    }
    Ok((path, monitor.totals()))
}

/// Where and when a path crosses t = 0, by linear interpolation; the point before, and how far its step takes t.
struct Crossing {
    time: f64,
    point: [f64; 2],
    before: [f64; 2],
    reach: f64,
}

fn crossings(path: &[Visit]) -> Vec<Crossing> {
    let mut found = Vec::new();
    for step in path.windows(2) {
        let (a, b) = (side(step[0].point), side(step[1].point));
        if (a > 0.0) != (b > 0.0) {
            let between = |p: f64, q: f64| p + (q - p) * a / (a - b);
            found.push(Crossing {
                time: between(step[0].time, step[1].time),
                point: [0, 1].map(|k| between(step[0].point[k], step[1].point[k])),
                before: step[0].point,
                reach: (a - b).abs(),
            });
        }
    }
    found
}

fn main() -> Result<()> {
    let mut lp = inner(0.0)?;
    let steps = std::iter::repeat_n(1e-4, 60_000);
    let (path, seen) = descend(&mut lp, [1.5, 4.0], steps)?;
    let found = crossings(&path);
    let last = &found[found.len() - 3..];
    let period = last[2].time - last[0].time;
    let cycle: Vec<&Visit> = path.iter().filter(|v| v.time >= last[0].time).collect();
    let least = cycle.iter().fold(f64::INFINITY, |m, v| m.min(v.slope));
    println!("the monitor: {seen:?}");
    // The certificate fails within reach of the next step before each jump, and nowhere else.
    assert!(seen.jumps == found.len() as u64 && seen.uncertified == seen.jumps);
    println!("period {period:.6}, least gradient norm on the cycle {least:.4}");
    for crossing in &last[..2] {
        outer(&mut lp, crossing.before)?;
        let report = lp.derivative()?.regularity_within(crossing.reach)?;
        let rows: Vec<usize> = report.kinks.iter().flat_map(|k| k.rows.clone()).collect();
        println!(
            "crossing at {:.6?}; one step before it:\n{report}",
            crossing.point
        );
        // The two rows that hold the corner, about to let go.
        let held = if side(crossing.before) > 0.0 {
            [1, 3]
        } else {
            [0, 2]
        };
        assert!(!report.is_certified() && rows == held);
    }
    let vanishing = (0..40_000).map(|k| 0.02 / f64::from(k + 1).powf(0.55));
    let (vanishing, _) = descend(&mut lp, [1.5, 4.0], vanishing)?;
    let again = crossings(&vanishing);

    let mut ridge = inner(1.0)?;
    let steps = || std::iter::repeat_n(4e-4, 20_000);
    let (good, settled) = descend(&mut ridge, [3.0, 5.0], steps())?;
    let (best, _) = outer(&mut ridge, good[good.len() - 1].point)?;
    let (other, _) = descend(&mut ridge, [1.5, 4.0], steps())?;
    let (stuck, _) = outer(&mut ridge, other[other.len() - 1].point)?;
    println!("with a ridge of 1: objective {best:.1e} from (3, 5), {stuck:.4} from (1.5, 4)");

    figure::draw("cycle", |area| {
        let (left, right) = area.split_horizontally(950);
        let labels = ["x", "y"];
        let title = "Descent through a jump goes round";
        let mut chart = figure::axes(&left, title, labels, -0.5..3.5, -0.5..6.5)?;
        let points = |path: &[Visit]| -> Vec<(f64, f64)> {
            path.iter().step_by(50).map(|v| v.point.into()).collect()
        };
        let jump = [(0.5, -0.5), (2.75, 6.25)];
        figure::line(&mut chart, jump, INK, 3, "t = 0: the answer jumps")?;
        figure::line(&mut chart, points(&path[..4_000]), GREY, 3, "")?;
        let cycle = &path[path.len() - 13_000..];
        figure::line(&mut chart, points(cycle), ORANGE, 5, "the cycle")?;
        figure::line(&mut chart, points(&good), GREEN, 5, "ridge, from (3, 5)")?;
        figure::line(&mut chart, points(&other), BLUE, 5, "ridge, from (1.5, 4)")?;
        let crossed = last[..2].iter().map(|v| v.point.into());
        figure::discs(&mut chart, crossed, INK, 9, "crossings")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperLeft)?;

        let labels = ["time (sum of steps)", "log10 |gradient|"];
        let title = "Only with a ridge does the gradient vanish";
        let mut chart = figure::axes(&right, title, labels, 0.0..4.0, -6.0..2.0)?;
        let slopes = |path: &[Visit]| -> Vec<(f64, f64)> {
            let thinned = path.iter().step_by(10);
            thinned.map(|v| (v.time, v.slope.log10())).collect()
        };
        let vanishing = slopes(&vanishing);
        figure::line(&mut chart, slopes(&path), ORANGE, 5, "fixed steps")?;
        figure::line(&mut chart, vanishing, GREY, 3, "vanishing steps")?;
        figure::line(&mut chart, slopes(&good), GREEN, 5, "ridge, from (3, 5)")?;
        figure::line(&mut chart, slopes(&other), BLUE, 5, "ridge, from (1.5, 4)")?;
        figure::legend(&mut chart, SeriesLabelPosition::LowerRight)
    })?;

    let upper = [2.321236203, 4.963708609];
    let lower = [0.678763797, 0.036291391];
    let is_near = |p: [f64; 2], q: [f64; 2]| (0..2).all(|k| (p[k] - q[k]).abs() < 1e-3);
    for found in [&last[..2], &again[again.len() - 2..]] {
        // Either may come first.
        let [a, b] = [found[0].point, found[1].point];
        assert!(is_near(a, upper) && is_near(b, lower) || is_near(a, lower) && is_near(b, upper));
    }
    assert!(seen.jumps == found.len() as u64 && seen.returns > 0 && settled.returns == 0);
    assert!((period - 1.229581970).abs() < 1e-4 && least > 1.388);
    assert!(best < 1e-8 && (stuck - 5.2973).abs() < 1e-4);
    Ok(())
}
