//! Each family: Clarabel alone, a cold forward and its backward, a warm forward.

use crate::families::{self, Family};
use crate::format::{against, at_least, at_most, error, shape, short};
use crate::support::{Bare, Quality, STEP, Values, median, timed};
use crate::{Run, Times, cold_step, is_enough};
use conediff::{ConeProgram, ConicLayer, DataTangent, Error, LayerSettings, WarmStart};
use std::time::Instant;

/// What a family's ratios are read against: backward / Clarabel, (forward + backward) / Clarabel, cold / warm.
fn targets(name: &str) -> (Option<f64>, f64, Option<f64>) {
    let starts = |beginnings: &[&str]| beginnings.iter().any(|b| name.starts_with(b));
    let backward = match name {
        "psd-40" | "nearest-40" | "lmi-40" => Some(0.01),
        _ if starts(&["qp-dense", "optnet"]) => Some(0.02),
        _ if starts(&["markowitz", "lasso"]) => Some(0.05),
        _ if starts(&["soc"]) => Some(0.07),
        _ if starts(&["mpc", "exp", "power", "genpower"]) => Some(0.08),
        _ => None,
    };
    let both = match name {
        "optnet" => 0.08,
        "qp-dense-200" => 0.10,
        "qp-dense-50" => 0.35,
        "psd-40" => 0.5,
        _ => 0.8,
    };
    let has_warm = starts(&["qp", "optnet", "mpc", "markowitz", "exp"]);
    (backward, both, has_warm.then_some(5.0))
}

pub fn table(run: &mut Run, names: &[&str]) {
    run.line(
        "| family | n; rows | Clarabel, ms | forward, ms | backward, ms | backward / Clarabel | both / Clarabel \
         | warm step, ms | cold / warm | full, warm missed | gradient error | residual | item, kB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for name in names {
        run.bar.set_message((*name).to_string());
        let family = families::named(name).expect("a name of the list");
        let row = row(&family);
        run.row(name, row);
    }
    run.line("");
}

fn row(family: &Family) -> Result<(String, Quality), Error> {
    let settings = LayerSettings::default();
    let mut cold = ConicLayer::new(&family.program, settings.clone())?;
    let warm_settings = settings.with_warm_start(WarmStart::Previous);
    let mut warm = ConicLayer::new(&family.program, warm_settings)?;
    let mut gradient = DataTangent::default();

    // Not counted: the first forwards, on what comes before the path's step 1.
    let first = family.path(0, STEP);
    let values = Values::new(&first, family.moving);
    let (bare_time, _) = timed(|| Bare::new(&first).solve());
    let mut quality = cold_step(
        &mut cold,
        &values.data(),
        &mut gradient,
        &mut Times::default(),
    )?;
    warm.forward(&values.data())?;
    let item_bytes = cold.item_bytes(0);

    let mut times = Times::default();
    let block = ((0.5 / bare_time) as usize).clamp(1, crate::REPETITIONS);
    let (start, mut step, mut unsolved) = (Instant::now(), 1, 0);
    loop {
        if is_enough(start, times.bare.len()) {
            break;
        }
        let items: Vec<ConeProgram> = (step..step + block).map(|k| family.path(k, STEP)).collect();
        step += block;
        let bare: Vec<Bare> = items.iter().map(Bare::new).collect();
        let values: Vec<Values> = items
            .iter()
            .map(|i| Values::new(i, family.moving))
            .collect();
        for bare in &bare {
            let (time, solved) = timed(|| bare.solve());
            times.bare.push(time);
            unsolved += usize::from(!solved);
        }
        for values in &values {
            let found = cold_step(&mut cold, &values.data(), &mut gradient, &mut times)?;
            quality = quality.worst(found);
        }
        let mut answers = Vec::new();
        for values in &values {
            let data = values.data();
            let (time, solved) = timed(|| warm.forward(&data).map(|_| ()));
            solved?;
            times.warm.push(time);
            answers.push(Quality::of(warm.derivative()?));
        }
        quality = answers.into_iter().fold(quality, Quality::worst);
    }

    let program = &family.program;
    let (bare, forward) = (median(&times.bare), median(&times.forward));
    let (backward, step) = (median(&times.backward), median(&times.warm));
    let targets = targets(family.name);
    let (cold, warm) = (cold.counts(), warm.counts());
    let gradients = (cold.forwards + warm.forwards) as usize;
    let mut error = error(&quality, gradients);
    if unsolved > 0 {
        error += &format!(", Clarabel alone failed {unsolved} of {}", times.bare.len());
    }
    let row = format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}/{}, {}/{} | {error} | {:.0e} | {:.0} |",
        family.name,
        shape(program),
        short(1e3 * bare),
        short(1e3 * forward),
        short(1e3 * backward),
        against(backward / bare, targets.0, at_most),
        against((forward + backward) / bare, Some(targets.1), at_most),
        short(1e3 * step),
        against(forward / step, targets.2, at_least),
        cold.full,
        cold.forwards,
        warm.warm_missed,
        warm.forwards,
        quality.residual,
        item_bytes as f64 / 1e3,
    );
    Ok((row, quality))
}
