//! What can be seen of trouble while training, at next to no cost: kinks, jumps, rows about to switch, failing certificates, cycles.

use crate::cone::Cone;
use crate::cycle::{Cycle, CycleReturn, distance};
use crate::derivative::Derivative;
use crate::error::{Error, Result};
use crate::kink::RowState;
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::tangent::{norm, norm_max};
use std::collections::VecDeque;
use std::fmt;

/// A move of the solution below this, relative to 1 + its largest entry, is rounding; and so is one below ten times the points'
/// errors.
const ROUNDING: f64 = 1e-12;

/// Choices of a [`Monitor`].
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![1.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{Monitor, MonitorSettings};
/// // minimize 1/2 x^2 - x subject to x <= 1, at its kink: without the certificate nothing is factored
/// let settings = MonitorSettings { certify: false, ..MonitorSettings::default() };
/// let seen = Monitor::new(settings)?.observe(&[1.0], &derivative)?;
/// assert!(seen.at_kink && seen.certified.is_none());
/// let error = Monitor::new(MonitorSettings { jump: 1.0, ..settings }).err().map(|e| e.to_string());
/// assert_eq!(error.as_deref(), Some("setting monitor.jump = 1: must be above 1"));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorSettings {
    /// A solution that moves this many times as far for its step as the median of the steps before has jumped. Default 100: kinks
    /// change the rate by the ratio of two slopes, a jump by one over the step.
    #[serde(with = "crate::exact::number")]
    pub jump: f64,
    /// How many rates the median is taken over. Default 101; memory, and time for each observation, grow with it.
    pub window: usize,
    /// How near the parameters must come to where they were, and how equal two turns must be, relative to how far they went in
    /// between. Default 1e-2. A path that closes in on a point by less than this in a turn counts as a cycle.
    #[serde(with = "crate::exact::number")]
    pub tolerance: f64,
    /// Parameters that moved less than this, relative to 1 + their norm, have not left where they were. Default 1e-8: below is
    /// the noise of a run that has converged.
    #[serde(with = "crate::exact::number")]
    pub resolution: f64,
    /// Test the hypothesis of the implicit function theorem at every observation. Default true: it is known without work away from kinks;
    /// at a kink it takes a factorization, and where rows are about to switch, two.
    pub certify: bool,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            jump: 100.0,
            window: 101,
            tolerance: 1e-2,
            resolution: 1e-8,
            certify: true,
        }
    }
}

impl MonitorSettings {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn validate(&self) -> Result<()> {
        let is_fraction = |x: f64| x > 0.0 && x < 1.0;
        for (is_right, name, value, allowed) in [
            (self.jump > 1.0, "monitor.jump", self.jump, "above 1"),
            (
                self.window > 0,
                "monitor.window",
                self.window as f64,
                "at least 1",
            ),
            (
                is_fraction(self.tolerance),
                "monitor.tolerance",
                self.tolerance,
                "in (0, 1)",
            ),
            (
                is_fraction(self.resolution),
                "monitor.resolution",
                self.resolution,
                "in (0, 1)",
            ),
        ] {
            if !is_right {
                return Err(Error::Setting {
                    name,
                    value,
                    allowed,
                });
            }
        }
        Ok(())
    }
}

/// One step of a training run as a [`Monitor`] saw it.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// use conediff::{Monitor, MonitorSettings, Observation};
/// // minimize 1/2 x^2 - x subject to x <= b: x = b with multiplier 1 - b, which is 0 at b = 1
/// let mut monitor = Monitor::new(MonitorSettings::default())?;
/// for b in [0.5, 0.8] {
///     let program = program.with_b(vec![b])?;
///     monitor.observe(&[b], &Derivative::new(&program, &solve(&program, &settings)?, &settings)?)?;
/// }
/// let Some(Observation { step, rate, margin, approaching, .. }) = monitor.last() else { panic!() };
/// // x and z moved by 0.3 each. Once more, and the row would let go.
/// assert!((step - 0.3).abs() < 1e-12 && (rate - 2.0_f64.sqrt()).abs() < 1e-9);
/// assert!((margin - 0.2).abs() < 1e-12 && approaching == &[0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Observation {
    /// Its number, from 1.
    pub number: u64,
    /// |d theta| since the last observation, Euclidean; 0 at the first.
    #[serde(with = "crate::exact::number")]
    pub step: f64,
    /// |d(x, z, s)| / |d theta|, a secant of the solution map; 0 at the first, and infinite if the solution moved and theta did not.
    #[serde(with = "crate::exact::number")]
    pub rate: f64,
    /// The rate over the median of earlier ones that were not 0; where there are none, over (1 + |(x, z, s)|) / (1 + |theta|). So
    /// a flat piece does not make a jump of the slope after it.
    #[serde(with = "crate::exact::number")]
    pub relative_rate: f64,
    /// True if `relative_rate` exceeds [`MonitorSettings::jump`].
    pub is_jump: bool,
    /// The least distance of a cone's v = z - s to a kink of its projection.
    #[serde(with = "crate::exact::number")]
    pub margin: f64,
    /// Rows whose state changed since the last observation.
    pub changed: Vec<usize>,
    /// Rows that reach their kink if v moves once more as it did in the last step: on a nonnegative cone v_i changes its sign, on
    /// curved cones (all rows of the block) the margin shrinks and is less than the move.
    pub approaching: Vec<usize>,
    /// True if the point is within its error of a kink.
    pub at_kink: bool,
    /// [`Derivative::is_trusted_point`].
    pub trusted: bool,
    /// Whether the hypothesis of nonsmooth implicit differentiation holds here and, where rows are `approaching`, everywhere within the reach of
    /// their last move; `None` if that was not tested.
    pub certified: Option<bool>,
    /// Set when the parameters have come back for the second time to where they were.
    pub returned: Option<CycleReturn>,
}

/// Counts over a run.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// use conediff::{Monitor, MonitorSettings, MonitorTotals};
/// // minimize 1/2 x^2 - x subject to x <= b, before its kink b = 1, at it, and after it
/// let mut monitor = Monitor::new(MonitorSettings::default())?;
/// for b in [0.5, 1.0, 1.5] {
///     let program = program.with_b(vec![b])?;
///     monitor.observe(&[b], &Derivative::new(&program, &solve(&program, &settings)?, &settings)?)?;
/// }
/// let MonitorTotals { observations, switches, kinks, untrusted, jumps, .. } = monitor.totals();
/// assert_eq!((observations, switches, kinks, untrusted, jumps), (3, 2, 1, 1, 0));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct MonitorTotals {
    /// Observations.
    pub observations: u64,
    /// Observations at which a row changed its state.
    pub switches: u64,
    /// At a kink.
    pub kinks: u64,
    /// After a jump of the solution.
    pub jumps: u64,
    /// Whose point is not trusted.
    pub untrusted: u64,
    /// Whose point was tested and not certified.
    pub uncertified: u64,
    /// Turns of a cycle.
    pub returns: u64,
}

/// Watches a training run: give it the parameters and the derivative of every step.
///
/// A gradient that is right at every point seen can still lead in a circle: where the solution jumps, the test of the implicit
/// function theorem fails on a set that no iterate ever hits. What shows is a jump of the solution at a step, the rows that were
/// about to switch before it, and parameters that come back. Each observation compares the last two points, without a linear
/// solve: O(n + m + parameters) time and memory.
///
/// Cycles are found by Brent's method with a tolerance: the point at each observation 2, 4, 8, ... is an anchor until the next,
/// and a path that passes it twice in the same direction, with two turns of equal radius, has `returned`. On a cycle of period P
/// reached at observation c it takes at most 2 max(c, 2 P) + 2 P observations. Two turns must fit between an anchor and the next:
/// steps that shrink like 1/k may go around too slowly for that. Convergence to a point, straight or in a spiral, is not
/// reported.
///
/// Jumps are seen where one program follows the parameters. In mini-batch training, observe the same item each time: between two
/// items the solution moves without the parameters.
///
/// ```
/// use conediff::{
///     Cone, ConeProgram, CycleReturn, Derivative, Monitor, MonitorSettings, MonitorTotals, Observation, Settings, solve,
/// };
/// // maximize t x over [0, 1]: x jumps at t = 0.
/// let program = ConeProgram::from_csc(
///     (&[0, 0], &[], &[]), vec![0.0],
///     (&[0, 2], &[0, 1], &[1.0, -1.0]), vec![1.0, 0.0],
///     vec![Cone::Nonnegative(2)],
/// )?;
/// let settings = Settings::default();
/// let mut monitor = Monitor::new(MonitorSettings::default())?;
/// let mut about_to_switch = Vec::new();
/// for k in 0..100 {
///     let t = 0.5005 - 0.01 * f64::from(k);
///     let program = program.with_q(vec![-t])?;
///     let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
///     let seen: Observation = monitor.observe(&[t], &derivative)?;
///     if seen.is_jump {
///         assert!(t < 0.0 && t > -0.01);
///         assert_eq!((seen.changed, about_to_switch.clone()), (vec![0, 1], vec![0]));
///     }
///     // The parameters go one way: they never come back.
///     assert_eq!(seen.returned, None::<CycleReturn>);
///     about_to_switch = seen.approaching;
/// }
/// // Before the jump the certificate failed within reach of the next step.
/// let MonitorTotals { jumps, uncertified, .. } = monitor.totals();
/// assert_eq!((jumps, uncertified), (1, 1));
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, section 5
/// (a cycle of gradient descent). Brent, An improved Monte Carlo factorization algorithm, 1980, section 2 (anchors).
#[derive(Debug, serde::Serialize)]
pub struct Monitor {
    settings: MonitorSettings,
    totals: MonitorTotals,
    last: Option<Observation>,
    #[serde(skip)]
    rates: VecDeque<f64>,
    #[serde(skip)]
    previous: Option<Previous>,
    #[serde(skip)]
    cycle: Cycle,
}

/// The last observation's point.
#[derive(Debug)]
struct Previous {
    parameters: Vec<f64>,
    /// x, z and s stacked.
    solution: Vec<f64>,
    margins: Vec<f64>,
    states: Vec<RowState>,
    /// Relative, as estimated.
    error: f64,
}

impl Monitor {
    /// A monitor that has seen nothing.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(settings: MonitorSettings) -> Result<Self> {
        settings.validate()?;
        Ok(Self {
            settings,
            totals: MonitorTotals::default(),
            last: None,
            rates: VecDeque::new(),
            previous: None,
            cycle: Cycle::default(),
        })
    }

    /// Takes the next parameters, as many as before, and the derivative there, of a program of the same shape.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], those of [`Derivative::regularity`]; nothing is counted then.
    pub fn observe(&mut self, parameters: &[f64], derivative: &Derivative) -> Result<Observation> {
        self.observe_with(parameters, derivative, None)
    }

    /// [`Monitor::observe`] with the result of a certificate at this point, which is not tested then.
    ///
    /// # Errors
    /// Those of [`Monitor::observe`].
    pub fn observe_with(
        &mut self,
        parameters: &[f64],
        derivative: &Derivative,
        certified: Option<bool>,
    ) -> Result<Observation> {
        check_finite("parameters", parameters)?;
        let projection = derivative.projection();
        let (x, z, s) = (&derivative.solution().x, projection.z(), projection.s());
        let now = Previous {
            parameters: parameters.to_vec(),
            solution: [x.as_slice(), z, s].concat(),
            margins: projection.margins().iter().map(|m| m.margin).collect(),
            states: derivative.row_states(),
            error: derivative.point_error(),
        };
        let (mut step, mut rate, mut relative_rate) = (0.0, 0.0, 0.0);
        let (mut changed, mut approaching, mut reach) = (Vec::new(), Vec::new(), 0.0);
        if let Some(before) = &self.previous {
            check_length("parameters", before.parameters.len(), parameters.len())?;
            check_length("solution", before.solution.len(), now.solution.len())?;
            check_length("rows", before.states.len(), now.states.len())?;
            check_length("cones", before.margins.len(), now.margins.len())?;
            step = distance(parameters, &before.parameters);
            rate = now.rate(before, step);
            let natural = (1.0 + norm(&now.solution)) / (1.0 + norm(parameters));
            relative_rate = rate / median(&self.rates).unwrap_or(natural);
            let states = now.states.iter().zip(&before.states).enumerate();
            changed.extend(states.filter(|(_, (a, b))| a != b).map(|(i, _)| i));
            approaching = now.approaching(before, derivative, x.len());
            reach = now.reach(before, &approaching, x.len());
        }
        let certified = match certified {
            None if self.settings.certify => Some(if approaching.is_empty() {
                derivative.regularity()?.is_certified()
            } else {
                derivative.regularity_within(reach)?.is_certified()
            }),
            given => given,
        };
        // Nothing fails from here on.
        if rate > 0.0 && rate.is_finite() {
            if self.rates.len() >= self.settings.window {
                self.rates.pop_front();
            }
            self.rates.push_back(rate);
        }
        let (tolerance, resolution) = (self.settings.tolerance, self.settings.resolution);
        let observation = Observation {
            number: self.totals.observations + 1,
            step,
            rate,
            relative_rate,
            is_jump: relative_rate > self.settings.jump,
            margin: now.margins.iter().copied().fold(f64::INFINITY, f64::min),
            changed,
            approaching,
            at_kink: !derivative.kinks().is_empty(),
            trusted: derivative.is_trusted_point(),
            certified,
            returned: self.cycle.observe(parameters, tolerance, resolution),
        };
        self.totals.add(&observation);
        self.previous = Some(now);
        self.last = Some(observation.clone());
        Ok(observation)
    }

    /// Its settings.
    pub fn settings(&self) -> &MonitorSettings {
        &self.settings
    }
    /// The counts so far.
    pub fn totals(&self) -> MonitorTotals {
        self.totals
    }
    /// The last observation.
    pub fn last(&self) -> Option<&Observation> {
        self.last.as_ref()
    }
}

impl MonitorTotals {
    fn add(&mut self, seen: &Observation) {
        self.observations += 1;
        self.switches += u64::from(!seen.changed.is_empty());
        self.kinks += u64::from(seen.at_kink);
        self.jumps += u64::from(seen.is_jump);
        self.untrusted += u64::from(!seen.trusted);
        self.uncertified += u64::from(seen.certified == Some(false));
        self.returns += u64::from(seen.returned.is_some());
    }
}

impl Previous {
    /// How far the solution moved for a step.
    fn rate(&self, before: &Self, step: f64) -> f64 {
        let moved = distance(&self.solution, &before.solution);
        let error = ROUNDING.max(10.0 * self.error).max(10.0 * before.error);
        if moved <= error * (1.0 + norm_max(&self.solution)) {
            return 0.0;
        }
        moved / step
    }

    /// The largest move of v on some rows.
    fn reach(&self, before: &Self, rows: &[usize], n: usize) -> f64 {
        let m = self.states.len();
        let v = |point: &Self, i: usize| point.solution[n + i] - point.solution[n + m + i];
        let moves = rows.iter().map(|&i| (v(self, i) - v(before, i)).abs());
        moves.fold(0.0, f64::max)
    }

    /// Rows that switch if v moves once more as it did.
    fn approaching(&self, before: &Self, derivative: &Derivative, n: usize) -> Vec<usize> {
        let m = self.states.len();
        let v = |point: &Self| -> Vec<f64> {
            let (z, s) = point.solution.split_at(n).1.split_at(m);
            z.iter().zip(s).map(|(z, s)| z - s).collect()
        };
        let (v, old) = (v(self), v(before));
        let mut rows = Vec::new();
        let cones = derivative.program().cones();
        let margins = derivative.projection().margins().iter();
        for ((margin, cone), old_margin) in margins.zip(cones).zip(&before.margins) {
            let both = || v.iter().zip(&old).enumerate();
            let block = || both().skip(margin.rows.start).take(margin.rows.len());
            match cone {
                Cone::Zero(_) => {}
                Cone::Nonnegative(_) => {
                    let switches = |now: f64, old: f64| (2.0 * now - old) * now < 0.0;
                    let found = block().filter(|(_, (now, old))| switches(**now, **old));
                    rows.extend(found.map(|(i, _)| i));
                }
                _ => {
                    let moves = block().map(|(_, (now, old))| now - old);
                    let moved = norm(&moves.collect::<Vec<f64>>());
                    if margin.margin < *old_margin && margin.margin < moved {
                        rows.extend(margin.rows.clone());
                    }
                }
            }
        }
        rows
    }
}

/// The (upper) median; `None` of nothing.
fn median(rates: &VecDeque<f64>) -> Option<f64> {
    let mut rates: Vec<f64> = rates.iter().copied().collect();
    let middle = rates.len() / 2;
    if rates.is_empty() {
        return None;
    }
    Some(*rates.select_nth_unstable_by(middle, f64::total_cmp).1)
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: step {:.1e}, rate {:.1e} ({:.1e} of the median), margin {:.1e}",
            self.number, self.step, self.rate, self.relative_rate, self.margin
        )?;
        for (is_so, word) in [
            (self.is_jump, "jump"),
            (self.at_kink, "at a kink"),
            (!self.trusted, "not trusted"),
            (self.certified == Some(false), "not certified"),
        ] {
            if is_so {
                write!(f, ", {word}")?;
            }
        }
        for (rows, word) in [
            (&self.changed, "changed"),
            (&self.approaching, "approaching"),
        ] {
            if !rows.is_empty() {
                let shown: Vec<String> = rows.iter().take(5).map(ToString::to_string).collect();
                let more = rows.len() - shown.len();
                write!(f, ", {word} rows {}", shown.join(" "))?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
            }
        }
        match self.returned {
            Some(r) => write!(f, ", back after {:.1} observations", r.period),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.totals;
        write!(
            f,
            "{} observations: {} with switched rows, {} at kinks, {} jumps, {} untrusted, {} uncertified, {} returns",
            t.observations, t.switches, t.kinks, t.jumps, t.untrusted, t.uncertified, t.returns
        )?;
        match &self.last {
            Some(last) => write!(f, "\nlast {last}"),
            None => Ok(()),
        }
    }
}
