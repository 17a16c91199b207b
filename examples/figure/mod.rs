//! What the figures share: where they go, one font, one palette, one style of axes.
//!
//! A figure is drawn at twice its size and averaged down, which smooths lines of any width; lengths are in pixels of the large one.

#![allow(dead_code)] // No figure uses all of it.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::path::PathBuf;

/// Errors of the library, of drawing and of files.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub type Chart<'a> =
    ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub const GREEN: RGBColor = RGBColor(0, 140, 100);
pub const INK: RGBColor = RGBColor(40, 40, 40);
pub const GREY: RGBColor = RGBColor(150, 150, 150);

const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
const TEXT: i32 = 28;

/// Draws to the path given as first argument, or to target/figures/NAME.png, and says where.
pub fn draw(name: &str, plot: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<()> {
    register_font(
        "sans-serif",
        FontStyle::Normal,
        epaint_default_fonts::UBUNTU_LIGHT,
    )
    .map_err(|_| "the font cannot be read")?;
    let path = std::env::args().nth(1).map_or_else(
        || PathBuf::from(format!("target/figures/{name}.png")),
        PathBuf::from,
    );
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let large = (2 * WIDTH, 2 * HEIGHT);
    let mut pixels = vec![255; 3 * (large.0 * large.1) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        plot(&area.margin(10, 10, 10, 30))?;
        area.present()?;
    }
    let file = BufWriter::new(File::create(&path)?);
    let encoder = PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&halved(&pixels), WIDTH, HEIGHT, ColorType::Rgb8)?;
    println!("drawn to {}", path.display());
    Ok(())
}

/// The mean of every square of four pixels.
fn halved(pixels: &[u8]) -> Vec<u8> {
    let row = 6 * WIDTH as usize;
    let mut small = Vec::with_capacity(pixels.len() / 4);
    for two in pixels.chunks_exact(2 * row) {
        for at in (0..row).step_by(6) {
            small.extend((at..at + 3).map(|k| {
                let sum: u32 = [k, k + 3, k + row, k + row + 3]
                    .map(|k| u32::from(two[k]))
                    .iter()
                    .sum();
                ((sum + 2) / 4) as u8
            }));
        }
    }
    small
}

/// Axes with a title, the labels of both and a light mesh. Empty labels leave the axis without a name.
pub fn axes<'a>(
    area: &Area<'a>,
    title: &str,
    labels: [&str; 2],
    x: Range<f64>,
    y: Range<f64>,
) -> Result<Chart<'a>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 34, &INK))
        .margin(14)
        .x_label_area_size(76)
        .y_label_area_size(110)
        .build_cartesian_2d(x, y)?;
    // No ".0" and no "-0".
    let number = |x: &f64| format!("{}", (1e6 * x).round() / 1e6 + 0.0);
    chart
        .configure_mesh()
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .x_desc(labels[0])
        .y_desc(labels[1])
        .x_labels(8)
        .y_labels(8)
        .label_style(("sans-serif", TEXT, &INK))
        .axis_desc_style(("sans-serif", TEXT + 2, &INK))
        .axis_style(GREY.stroke_width(2))
        .bold_line_style(INK.mix(0.1).stroke_width(2))
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(chart)
}

/// A line through points as far as they are inside the axes, with its name in the legend unless that is empty.
pub fn line<'a>(
    chart: &mut Chart<'a>,
    points: impl IntoIterator<Item = (f64, f64)>,
    color: RGBColor,
    width: u32,
    name: &str,
) -> Result<()> {
    let style = color.stroke_width(width);
    let points: Vec<(f64, f64)> = points.into_iter().collect();
    let (xs, ys) = (chart.x_range(), chart.y_range());
    let is_inside =
        |p: &(f64, f64)| (xs.start..=xs.end).contains(&p.0) && (ys.start..=ys.end).contains(&p.1);
    // Piece by piece, since a thick polyline grows spikes at sharp turns; what is outside would be drawn on the edge.
    let pieces = points.windows(2).filter(|w| w.iter().all(is_inside));
    let pieces = pieces.map(|w| PathElement::new(w, style));
    let drawn = chart.draw_series(pieces)?;
    if !name.is_empty() {
        drawn
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 36, y)], style.stroke_width(5)));
    }
    Ok(())
}

/// Discs, named likewise.
pub fn discs<'a>(
    chart: &mut Chart<'a>,
    points: impl IntoIterator<Item = (f64, f64)>,
    color: RGBColor,
    radius: i32,
    name: &str,
) -> Result<()> {
    let circles = points
        .into_iter()
        .map(|p| Circle::new(p, radius, color.filled()));
    let drawn = chart.draw_series(circles)?;
    if !name.is_empty() {
        drawn
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 18, y), radius.min(9), color.filled()));
    }
    Ok(())
}

/// Upright bars from 0, `width` wide around each x, named likewise.
pub fn bars<'a>(
    chart: &mut Chart<'a>,
    heights: impl IntoIterator<Item = (f64, f64)>,
    width: f64,
    color: RGBColor,
    name: &str,
) -> Result<()> {
    let bars = heights.into_iter().map(|(x, y)| {
        let corners = [(x - width / 2.0, 0.0), (x + width / 2.0, y)];
        Rectangle::new(corners, color.filled())
    });
    let drawn = chart.draw_series(bars)?;
    if !name.is_empty() {
        drawn
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 9), (x + 36, y + 9)], color.filled()));
    }
    Ok(())
}

/// The names given so far, in a corner.
pub fn legend(chart: &mut Chart<'_>, corner: SeriesLabelPosition) -> Result<()> {
    chart
        .configure_series_labels()
        .position(corner)
        .margin(16)
        .legend_area_size(50)
        .label_font(("sans-serif", TEXT, &INK))
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.5))
        .draw()?;
    Ok(())
}
