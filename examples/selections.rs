//! What each selection gives at a kink, and within rounding of it.
//!
//!     x(theta) = projection of theta c onto the simplex  {x >= 0, sum x = 1},   c = (1, 0.4, -0.5):   sparsemax
//!
//! At theta = 5/12 the third entry reaches zero and stays there: d x_1 / d theta is 0.7 before and 0.3 after. At the kink the bound of
//! x_3 is active with multiplier zero. Nearer to it than the solution is known, the sign of that number means nothing: there the
//! selection decides, the same way on both sides, and outside every selection gives the derivative.

mod figure;

use conediff::{DataTangent, Derivative, Meaning, ProgramBuilder, Selection, Settings, solve};
use figure::{BLUE, GREEN, GREY, INK, ORANGE, Result};
use plotters::prelude::*;

const C: [f64; 3] = [1.0, 0.4, -0.5];
const KINK: f64 = 5.0 / 12.0;

/// The derivative at theta, and its seed d/dtheta.
fn sparsemax(theta: f64, selection: Selection) -> Result<(Derivative, DataTangent)> {
    let mut builder = ProgramBuilder::new(3);
    for (j, c) in C.iter().enumerate() {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -theta * c);
    }
    builder.equality(&[(0, 1.0), (1, 1.0), (2, 1.0)], 1.0);
    builder.bounds(0..3, 0.0, f64::INFINITY);
    let program = builder.build()?;
    let settings = Settings::default().with_selection(selection);
    let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
    let mut tangent = DataTangent::zeros(&program);
    tangent.q = C.map(|c| -c).to_vec();
    Ok((derivative, tangent))
}

/// The derivative of x_1 at a distance from the kink, and whether it is a selection's element or the derivative.
struct Visit {
    distance: f64,
    slope: f64,
    is_element: bool,
}

fn main() -> Result<()> {
    let (derivative, up) = sparsemax(KINK, Selection::default())?;
    println!("{}", derivative.regularity()?);
    let mut down = up.clone();
    down.q.iter_mut().for_each(|q| *q = -*q);
    let after = derivative.directional(&up)?.value.x[0];
    let before = -derivative.directional(&down)?.value.x[0];
    println!("one-sided derivatives of x_1: {before:.4} before, {after:.4} after");

    // By distance to the kink in units of 1e-9.
    let sweep = |of: &dyn Fn(u64) -> Selection| -> Result<Vec<Visit>> {
        let visit = |k: u64| {
            let distance = 0.05 * k as f64 - 3.0;
            let (derivative, up) = sparsemax(KINK + 1e-9 * distance, of(k))?;
            Ok(Visit {
                distance,
                slope: derivative.jvp(&up)?.value.x[0],
                is_element: matches!(derivative.meaning(), Meaning::Element { .. }),
            })
        };
        (0..=120).map(visit).collect()
    };
    let fixed = [
        (Selection::Active, "active", BLUE, 0.3),
        (Selection::Inactive, "inactive", ORANGE, 0.7),
        (Selection::Half, "half", GREEN, 0.54),
        (Selection::NonsingularFirst, "nonsingular first", INK, 0.7),
    ];
    let mut slopes = Vec::new();
    for (selection, ..) in fixed {
        slopes.push(sweep(&|_| selection)?);
    }
    let random = sweep(&Selection::Random)?;

    figure::draw("selections", |area| {
        let (left, right) = area.split_horizontally(950);
        let title = "x(theta) on the simplex";
        let mut chart = figure::axes(&left, title, ["theta", "x"], 0.0..2.2, 0.0..1.1)?;
        for (j, (color, name)) in [(BLUE, "x_1"), (ORANGE, "x_2"), (GREEN, "x_3")]
            .iter()
            .enumerate()
        {
            let mut path = Vec::new();
            for k in 0..=110 {
                let theta = 0.02 * f64::from(k);
                let (derivative, _) = sparsemax(theta, Selection::default())?;
                path.push((theta, derivative.solution().x[j]));
            }
            figure::line(&mut chart, path, *color, 6, name)?;
        }
        let kink = derivative.solution().x.iter().map(|x| (KINK, *x));
        figure::discs(&mut chart, kink, INK, 9, "kink: x_3 = 0, z_3 = 0")?;
        figure::legend(&mut chart, SeriesLabelPosition::MiddleRight)?;

        let title = "d x_1 / d theta within rounding of the kink";
        let labels = ["(theta - 5/12) / 1e-9", "derivative"];
        let mut chart = figure::axes(&right, title, labels, -3.0..3.0, 0.2..1.05)?;
        let points = |visits: &[Visit], is_element: bool| -> Vec<(f64, f64)> {
            let some = visits.iter().filter(|v| v.is_element == is_element);
            some.map(|v| (v.distance, v.slope)).collect()
        };
        let (before, after): (Vec<_>, Vec<_>) =
            points(&random, false).into_iter().partition(|p| p.0 < 0.0);
        figure::line(&mut chart, before, GREY, 8, "all: the derivative")?;
        figure::line(&mut chart, after, GREY, 8, "")?;
        // Nonsingular first is inactive here: drawn below it, wider.
        for ((_, name, color, _), visits) in fixed.iter().zip(&slopes).rev() {
            let width = if *color == INK { 14 } else { 6 };
            figure::line(&mut chart, points(visits, true), *color, width, name)?;
        }
        let random = points(&random, true);
        figure::discs(&mut chart, random, INK, 4, "random, one seed a point")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)
    })?;

    assert!((before - 0.7).abs() < 1e-9 && (after - 0.3).abs() < 1e-9);
    assert!(derivative.regularity()?.is_certified());
    for visits in slopes.iter().chain([&random]) {
        for v in visits.iter().filter(|v| !v.is_element) {
            let exact = if v.distance < 0.0 { before } else { after };
            assert!((v.slope - exact).abs() < 1e-9 && v.distance.abs() > 1.0);
        }
    }
    for ((.., slope), visits) in fixed.iter().zip(&slopes) {
        let elements = visits.iter().filter(|v| v.is_element);
        assert!(elements.clone().count() > 40);
        assert!(elements.clone().all(|v| (v.slope - slope).abs() < 1e-9));
    }
    // Every element lies between the one-sided derivatives.
    assert!(
        random
            .iter()
            .all(|v| (after - 1e-9..before + 1e-9).contains(&v.slope))
    );
    Ok(())
}
