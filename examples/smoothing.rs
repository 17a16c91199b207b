//! Derivatives along the central path: their distance from the exact ones, and what they do at a kink.
//!
//! Left: for a random program of each cone, the error of the smoothed derivative against mu. Right: the nearest point of the cone
//! t >= |u| to (t, 1) has kinks at t = -1 and t = 1, where its derivative jumps and the smoothed one does not.

use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Generator, Result, Settings, SolutionTangent, solve,
};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::ops::Range;

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Told apart by everyone (Okabe and Ito).
const COLORS: [RGBColor; 6] = [
    BLACK,
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// A name and points (x, y).
type Curve = (String, Vec<(f64, f64)>);

/// For mu = 1, 10^-0.5, ..., 10^-10 the decimal logarithms of mu and of a JVP's relative error.
fn errors(cone: Cone) -> Result<Vec<(f64, f64)>> {
    let settings = Settings::default();
    let generated = Generator::new(cone.rows() + 1, vec![cone])
        .with_seed(1)
        .generate()?;
    let program = generated.program();
    let solution = solve(program, &settings)?;
    let tangent = DataTangent::random(program, 1);
    let exact = Derivative::new(program, &solution, &settings)?.jvp(&tangent)?;
    let distance = |other: &SolutionTangent| {
        let squares =
            |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
        let x = squares(&exact.value.x, &other.x);
        (x + squares(&exact.value.z, &other.z) + squares(&exact.value.s, &other.s)).sqrt()
    };
    let size = distance(&SolutionTangent::zeros(program));
    (0..=20)
        .map(|k| {
            let exponent = -0.5 * f64::from(k);
            let mu = 10f64.powf(exponent);
            let smooth = Derivative::smoothed(program, &solution, mu, &settings)?;
            let error = distance(&smooth.jvp(&tangent)?.value) / size;
            Ok((exponent, error.log10()))
        })
        .collect()
}

/// (t, dx/dt) for the first coordinate of the nearest point to (t, 1); mu = 0 for the exact derivative.
fn staircase(mu: f64) -> Result<Vec<(f64, f64)>> {
    let settings = Settings::default();
    let unit: (&[usize], &[usize]) = (&[0, 1, 2], &[0, 1]);
    (0..=240)
        .map(|k| {
            let t = f64::from(k) / 60.0 - 2.0 + 1e-4;
            let program = ConeProgram::from_csc(
                (unit.0, unit.1, &[1.0, 1.0]),
                vec![-t, -1.0],
                (unit.0, unit.1, &[-1.0, -1.0]),
                vec![0.0, 0.0],
                vec![Cone::SecondOrder(2)],
            )?;
            let solution = solve(&program, &settings)?;
            let derivative = if mu > 0.0 {
                Derivative::smoothed(&program, &solution, mu, &settings)?
            } else {
                Derivative::new(&program, &solution, &settings)?
            };
            let mut tangent = DataTangent::zeros(&program);
            tangent.q[0] = -1.0;
            Ok((t, derivative.jvp(&tangent)?.value.x[0]))
        })
        .collect()
}

fn draw(
    panel: &DrawingArea<BitMapBackend, Shift>,
    [caption, x, y]: [&str; 3],
    [x_range, y_range]: [Range<f64>; 2],
    label: &dyn Fn(&f64) -> String,
    legend: SeriesLabelPosition,
    curves: &[Curve],
) -> Drawn {
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 21))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(x_range, y_range)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(label)
        .y_label_formatter(label)
        .label_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .draw()?;
    for (k, (name, points)) in curves.iter().enumerate() {
        let style = COLORS[k % COLORS.len()].stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

fn main() -> Drawn {
    let mut errors_of_cones: Vec<Curve> = Vec::new();
    for cone in [
        Cone::Nonnegative(6),
        Cone::SecondOrder(6),
        Cone::PsdTriangle(3),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2),
    ] {
        let name = cone.name();
        let points = errors(cone)?;
        let rate = (points[14].1 - points[20].1) / (points[14].0 - points[20].0);
        println!("{name}: error ~ mu^{rate:.3}");
        assert!((rate - 1.0).abs() < 0.05, "{name}");
        errors_of_cones.push((format!("{name}: mu^{rate:.2}"), points));
    }
    let mut stairs: Vec<Curve> = Vec::new();
    for mu in [0.0, 0.001, 0.01, 0.1] {
        let points = staircase(mu)?;
        let jumps = points.windows(2).map(|w| (w[1].1 - w[0].1).abs());
        let jump = jumps.fold(0.0, f64::max);
        println!("mu = {mu}: largest jump {jump:.3}");
        // Half the derivative at a kink; the smoothed one changes by the spacing over sqrt(mu).
        let is_right = if mu > 0.0 {
            jump < 0.25 / 60.0 / mu.sqrt()
        } else {
            (jump - 0.5).abs() < 1e-9
        };
        assert!(is_right, "mu = {mu}: {jump}");
        let name = if mu > 0.0 {
            format!("mu = {mu}")
        } else {
            "exact".to_string()
        };
        stairs.push((name, points));
    }

    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| "target/figures/smoothing.png".to_string());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder)?;
    }
    register_font(
        "sans-serif",
        FontStyle::Normal,
        epaint_default_fonts::UBUNTU_LIGHT,
    )
    .map_err(|_| "the font cannot be read")?;
    let root = BitMapBackend::new(&path, (1000, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(500);
    draw(
        &left,
        ["error of the smoothed derivative", "mu", "relative error"],
        [-10.0..0.0, -12.0..1.0],
        &|x| format!("1e{}", x.round() as i32),
        SeriesLabelPosition::LowerRight,
        &errors_of_cones,
    )?;
    draw(
        &right,
        ["a derivative through two kinks", "t", "dx/dt"],
        [-2.0..2.0, -0.05..1.05],
        &|x| format!("{x:.1}"),
        SeriesLabelPosition::UpperLeft,
        &stairs,
    )?;
    root.present()?;
    println!("{path}");
    Ok(())
}
