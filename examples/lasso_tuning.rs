//! Choosing the Lasso's lambda by descent on log lambda, on the diabetes data.
//!
//! Half of the patients are fitted, the others judge: C(lambda) = 1/m |X_v beta(lambda) - y_v|^2. Its derivative in log lambda costs one
//! solve with the support's Gram matrix. It jumps at the knots of the path, where a coefficient enters or leaves; the least value
//! here lies between two of them. Cross-validation of the same data, with its knots from every fold, is tuned after it.
//!
//! Efron, Hastie, Johnstone, Tibshirani, Least angle regression, 2004 (the data). Bertrand et al., Implicit differentiation for fast
//! hyperparameter selection in non-smooth convex learning, 2022.

mod figure;

use conediff::DenseMatrix;
use conediff::systems::lasso::{
    Criterion, CrossValidation, Design, FitSettings, Folds, HoldOut, Penalty, SparseRegression,
    TuneSettings, TuneStop, Tuned, tune,
};
use figure::{BLUE, GREEN, GREY, ORANGE, Result};
use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;

const FEATURES: usize = 10;

/// Columns centered and of length 1, y centered: 442 patients.
fn data() -> Result<SparseRegression> {
    let text = include_str!("../tests/data/diabetes.csv");
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); FEATURES + 1];
    for line in text.lines().skip(1) {
        for (column, cell) in columns.iter_mut().zip(line.split(',')) {
            column.push(cell.parse()?);
        }
    }
    for column in &mut columns {
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        column.iter_mut().for_each(|x| *x -= mean);
    }
    let y = columns.pop().unwrap_or_default();
    for column in &mut columns {
        let length = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        column.iter_mut().for_each(|x| *x /= length);
    }
    let x = DenseMatrix {
        rows: y.len(),
        cols: FEATURES,
        data: columns.concat(),
    };
    Ok(SparseRegression::least_squares(Design::dense(x)?, y)?)
}

/// The descent, and the points (lambda, value) it took.
fn descend(
    name: &'static str,
    criterion: &mut dyn Criterion,
    start: f64,
) -> Result<(Tuned, Vec<(f64, f64)>)> {
    let bar = ProgressBar::new_spinner().with_prefix(name);
    bar.set_style(ProgressStyle::with_template(
        "{prefix} {spinner} step {pos}: {msg}",
    )?);
    let mut taken = Vec::new();
    let settings = TuneSettings::default();
    let found = tune(criterion, &Penalty::lasso(start), &settings, |step| {
        let lambda = step.penalty.parameters()[0];
        bar.inc(1);
        bar.set_message(format!("lambda {lambda:.6}, value {:.6}", step.value));
        if step.accepted {
            taken.push((lambda, step.value));
        }
    })?;
    bar.finish();
    Ok((found, taken))
}

/// A knot's lambda, and the derivative in log lambda on its left and right.
type Knot = (f64, [f64; 2]);

fn knots(criterion: &mut HoldOut, largest: f64, least: f64) -> Result<Vec<Knot>> {
    let (mut log, mut found) = (largest.ln(), Vec::new());
    while log > least.ln() {
        let at = criterion.evaluate(&Penalty::lasso(log.exp()))?;
        found.push((log.exp(), at.one_sided()?));
        log -= at.reach()?[0];
    }
    Ok(found)
}

fn main() -> Result<()> {
    let regression = data()?;
    let settings = FitSettings::default();
    let rows: Vec<usize> = (221..442).collect();
    let mut hold_out = HoldOut::split(&regression, &rows, settings)?;
    let largest = hold_out.training().lambda_max();
    let (found, taken) = descend("hold-out", &mut hold_out, largest / 5.0)?;
    let ratio = |lambda: f64| lambda / largest;
    let best = ratio(found.best.penalty.parameters()[0]);
    let fit = found.best.fits().next().ok_or("no fit")?;
    println!(
        "hold-out error {:.6} at lambda/lambda_max = {best:.10}, columns {:?}, after {} evaluations",
        found.best.value,
        fit.support(),
        found.evaluations
    );

    let folds = Folds::in_order(regression.y().len(), 5)?;
    let mut criterion = CrossValidation::new(&regression, &folds, true, settings)?;
    let (tuned, _) = descend("5 folds", &mut criterion, regression.lambda_max() / 5.0)?;
    let [left, right] = tuned.best.one_sided()?;
    println!(
        "5 folds: {:.6} at lambda/lambda_max = {:.10}, derivatives {left:.3e} and {right:.3e}, after {} evaluations",
        tuned.best.value,
        tuned.best.penalty.parameters()[0] / regression.lambda_max(),
        tuned.evaluations
    );

    let knots = knots(&mut hold_out, 0.999 * largest, 1e-3 * largest)?;
    let log10 = |lambda: f64| ratio(lambda).log10();
    let mut curve = Vec::new();
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for k in 0..=400 {
        let lambda = largest * 10f64.powf(-0.0075 * f64::from(k));
        // A knot between this point and the last ends a piece.
        if let Some((at, [left, right])) = knots.get(pieces.len())
            && lambda < *at
            && let Some(piece) = pieces.last_mut()
        {
            piece.push((log10(*at), *right));
            pieces.push(vec![(log10(*at), *left)]);
        }
        let at = hold_out.evaluate(&Penalty::lasso(lambda))?;
        curve.push((log10(lambda), at.value / 1e3));
        if let Some(piece) = pieces.last_mut() {
            piece.push((log10(lambda), at.gradient.value[0]));
        }
    }
    figure::draw("lasso_tuning", |area| {
        let (left, right) = area.split_horizontally(950);
        let title = "Hold-out error, and the steps taken";
        let labels = ["log10 of lambda / lambda_max", "error / 1000"];
        let mut chart = figure::axes(&left, title, labels, -2.75..-0.5, 2.9..3.5)?;
        figure::line(&mut chart, curve.clone(), BLUE, 6, "hold-out error")?;
        let steps = taken.iter().map(|(l, v)| (log10(*l), v / 1e3));
        figure::discs(&mut chart, steps, ORANGE, 9, "steps")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperLeft)?;

        let title = "Its derivative jumps at the knots";
        let labels = ["log10 of lambda / lambda_max", "derivative in log lambda"];
        let mut chart = figure::axes(&right, title, labels, -2.75..-0.5, -50.0..450.0)?;
        figure::line(&mut chart, [(-2.75, 0.0), (-0.5, 0.0)], GREY, 3, "")?;
        for (k, piece) in pieces.iter().enumerate() {
            let name = if k == 0 { "derivative" } else { "" };
            figure::line(&mut chart, piece.clone(), BLUE, 6, name)?;
        }
        let sides = knots
            .iter()
            .flat_map(|(l, sides)| sides.map(|s| (log10(*l), s)))
            .filter(|(_, s)| *s < 450.0);
        figure::discs(&mut chart, sides, GREEN, 7, "both sides of a knot")?;
        figure::discs(&mut chart, [(best.log10(), 0.0)], ORANGE, 9, "found")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })?;

    // Independent figures for the hold-out error.
    assert!(found.stop == TuneStop::Stationary && found.best.gradient.trusted);
    assert!((found.best.value - 2926.568106).abs() < 1e-6 && (best - 0.0326100835).abs() < 1e-8);
    assert!(found.evaluations <= 11 && fit.support().len() == 8);
    // 0 is the derivative, or between the one-sided ones.
    let small = 1e-8 * tuned.best.value;
    assert!(tuned.is_converged() && left <= small && right >= -small);
    Ok(())
}
