//! A path that comes back: one anchor, moved on at powers of two.

use crate::tangent::{dot, norm};

/// A path that came back twice to where it was.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{CycleReturn, Monitor, MonitorSettings};
/// // Twelve steps take the parameters around the unit circle.
/// let mut monitor = Monitor::new(MonitorSettings::default())?;
/// let mut found: Option<CycleReturn> = None;
/// for k in 0..72 {
///     let angle = std::f64::consts::TAU / 12.0 * f64::from(k);
///     found = found.or(monitor.observe(&[angle.cos(), angle.sin()], &derivative)?.returned);
/// }
/// assert!(found.is_some_and(|c| (c.period - 12.0).abs() < 1e-6 && (c.radius - 2.0).abs() < 1e-12 && c.distance < 1e-6));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct CycleReturn {
    /// Observations from the first return to the second, interpolated between two of them.
    #[serde(with = "crate::exact::number")]
    pub period: f64,
    /// How far from the anchor the second return passed.
    #[serde(with = "crate::exact::number")]
    pub distance: f64,
    /// How far from the anchor the path was in between.
    #[serde(with = "crate::exact::number")]
    pub radius: f64,
}

/// Brent's anchors: the point at observation 2, 4, 8, ... is kept until the next power of two, so that one anchor lies on the
/// cycle and is kept for two turns before four times their length has passed. Memory: three points.
#[derive(Debug, Default)]
pub(crate) struct Cycle {
    observations: u64,
    anchor: Option<Anchor>,
    previous: Vec<f64>,
}

#[derive(Debug)]
struct Anchor {
    point: Vec<f64>,
    /// The step that led to it.
    incoming: Vec<f64>,
    /// The largest distance from it since the last return.
    radius: f64,
    /// The closest approach of a return under way: distance and time.
    near: Option<(f64, f64)>,
    /// Time and radius of the last return.
    last: Option<(f64, f64)>,
}

impl Cycle {
    /// Takes the next point. A return is reported when the path leaves the anchor again.
    pub(crate) fn observe(
        &mut self,
        point: &[f64],
        tolerance: f64,
        resolution: f64,
    ) -> Option<CycleReturn> {
        self.observations += 1;
        let found = match &mut self.anchor {
            Some(anchor) => anchor.observe(
                &self.previous,
                point,
                self.observations as f64,
                tolerance,
                resolution,
            ),
            None => None,
        };
        if self.observations >= 2 && self.observations.is_power_of_two() {
            self.anchor = Some(Anchor {
                point: point.to_vec(),
                incoming: difference(point, &self.previous),
                radius: 0.0,
                near: None,
                last: None,
            });
        }
        self.previous.clear();
        self.previous.extend_from_slice(point);
        found
    }
}

impl Anchor {
    fn observe(
        &mut self,
        from: &[f64],
        to: &[f64],
        time: f64,
        tolerance: f64,
        resolution: f64,
    ) -> Option<CycleReturn> {
        let (step, offset) = (difference(to, from), difference(&self.point, from));
        let length = dot(&step, &step);
        let share = if length > 0.0 {
            (dot(&step, &offset) / length).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let closest: Vec<f64> = from.iter().zip(&step).map(|(x, d)| x + share * d).collect();
        let passed = distance(&closest, &self.point);
        let size = norm(&self.point);
        let has_left = self.radius > resolution * (1.0 + size);
        let is_closer = self.near.is_none_or(|(least, _)| passed < least);
        // The same way as before: a swing back through the anchor is half a turn.
        if has_left
            && passed <= tolerance * self.radius
            && is_closer
            && dot(&step, &self.incoming) > 0.0
        {
            self.near = Some((passed, time - 1.0 + share));
        }
        let away = distance(to, &self.point);
        let mut found = None;
        if let Some((least, at)) = self.near
            && away > tolerance * self.radius
        {
            let radius = self.radius;
            // A turn as wide as the one before: a path that closes in on a point narrows.
            found = self
                .last
                .filter(|(_, before)| (radius - before).abs() <= tolerance * before)
                .map(|(before, _)| CycleReturn {
                    period: at - before,
                    distance: least,
                    radius,
                });
            (self.last, self.near, self.radius) = (Some((at, radius)), None, 0.0);
        }
        self.radius = self.radius.max(away);
        found
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// |a - b|, Euclidean.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&difference(a, b))
}
