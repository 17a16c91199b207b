//! Public problems, each with its own numbers every time.

use crate::format::{error, shape, short};
use crate::support::{Bare, Quality, median, timed};
use crate::{Run, Times, cold_step, is_enough};
use conediff::{ConeProgram, ConicLayer, DataTangent, Error, LayerData, LayerSettings};
use std::path::Path;
use std::time::Instant;

/// Public problems of middle size with trusted derivatives (docs/problems.md).
const PROBLEMS: [&str; 16] = [
    "maros/AUG2DC",
    "maros/CONT-050",
    "maros/CONT-100",
    "maros/DPKLO1",
    "maros/DUAL1",
    "maros/GOULDQP3",
    "maros/HUES-MOD",
    "maros/KSIP",
    "maros/LASER",
    "maros/MOSARQP2",
    "maros/PRIMAL1",
    "maros/PRIMALC1",
    "maros/STCQP2",
    "cblib/LogExpCR-n20-m400",
    "cblib/chainsing_1000_3",
    "cblib/demb761",
];

/// Public problems that take Clarabel longer are left out.
const SLOW: f64 = 2.0;

pub fn table(run: &mut Run, folder: &Path) {
    run.line(
        "| problem | n; rows | Clarabel, ms | forward, ms | backward, ms | backward / Clarabel | both / Clarabel \
         | full | gradient error | residual | item, kB |",
    );
    run.line("|---|---|---|---|---|---|---|---|---|---|---|");
    for name in PROBLEMS {
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.json"))) else {
            continue;
        };
        run.bar.set_message(name);
        let row = ConeProgram::from_json(&text).and_then(|program| row(name, &program));
        match row {
            Ok(None) => {}
            Ok(Some(row)) => run.row(name, Ok(row)),
            Err(error) => run.row(name, Err(error)),
        }
    }
    run.line("");
}

/// A problem with its own q and b each time; `None` if it is slow.
fn row(name: &str, program: &ConeProgram) -> Result<Option<(String, Quality)>, Error> {
    let bare = Bare::new(program);
    if timed(|| bare.solve()).0 > SLOW {
        return Ok(None);
    }
    let mut layer = ConicLayer::new(program, LayerSettings::default())?;
    let data = LayerData::default().with_q(program.q()).with_b(program.b());
    let mut gradient = DataTangent::default();
    let mut quality = cold_step(&mut layer, &data, &mut gradient, &mut Times::default())?;
    let mut times = Times::default();
    let start = Instant::now();
    loop {
        if is_enough(start, times.bare.len()) {
            break;
        }
        times.bare.push(timed(|| bare.solve()).0);
        quality = quality.worst(cold_step(&mut layer, &data, &mut gradient, &mut times)?);
    }
    let bare = median(&times.bare);
    let (forward, backward) = (median(&times.forward), median(&times.backward));
    let row = format!(
        "| {} | {} | {} | {} | {} | {} | {} | {}/{} | {} | {:.0e} | {:.0} |",
        name.split('/').next_back().unwrap_or(name),
        shape(program),
        short(1e3 * bare),
        short(1e3 * forward),
        short(1e3 * backward),
        short(backward / bare),
        short((forward + backward) / bare),
        layer.counts().full,
        layer.counts().forwards,
        error(&quality, times.forward.len() + 1),
        quality.residual,
        layer.item_bytes(0) as f64 / 1e3,
    );
    Ok(Some((row, quality)))
}
