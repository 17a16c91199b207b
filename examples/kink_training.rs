//! Training whose optimum lies at kinks: mini-batch descent with vanishing steps gets there, with a constant step it does not.
//!
//!     minimize over theta   costs'theta + mean over days of (orders D - deliveries x(theta, D))
//!     x(theta, D) minimizes 1/2 |x - D|^2   subject to  x >= 0,  x_1 + x_2 <= theta_1,  x_3 + x_4 <= theta_2,  x_5 + x_6 <= theta_3,
//!                                                       sum x <= theta_4
//!
//! The sizes of three depots and of the fleet that serves them, six customers who order whole units. As with the newsvendor, the best
//! size is one that some days need exactly: a row begins to hold, and the layer has a kink. There is a kink too whenever a customer
//! orders nothing, one that the loss does not see. At kinks a gradient is an element of a conservative field, and is not trusted as
//! a derivative; every point met is certified, and bounded iterates of mini-batch descent with steps a_k = o(1/log k) and
//! sum a_k = infinity accumulate at critical points, whichever element is taken.
//!
//! The optimum is that of a linear program over all days. It is also found by what does not know it: no gradient near it is small,
//! and 0 is in the hull of those around it.
//!
//! Bolte, Pauwels, Conservative set valued fields, automatic differentiation, stochastic gradient methods and deep learning, 2021
//! (mini-batches). Burke, Lewis, Overton, A robust gradient sampling algorithm, 2005.

mod figure;
mod training;

use conediff::{
    DataTangent, Derivative, Monitor, MonitorSettings, MonitorTotals, Parametrization,
    ParametrizedLayer, ProgramBuilder, Selection, SolutionTangent, least_norm_in_hull, solve,
};
use figure::{BLUE, GREEN, GREY, INK, ORANGE, Result};
use plotters::prelude::*;
use training::Random;

const DEPOTS: usize = 3;
/// Two customers of each depot.
const CUSTOMERS: usize = 2 * DEPOTS;
/// The depots' sizes, then the fleet's.
const SIZES: usize = DEPOTS + 1;
const NAMES: [&str; SIZES] = ["depot 1", "depot 2", "depot 3", "fleet"];
/// A unit of each, a day; an order lost costs 1.
const COSTS: Sizes = [0.125, 0.125, 0.125, 0.25];
/// Mean order of each depot's customers.
const MEANS: [f64; DEPOTS] = [1.0, 2.0, 3.0];
const DAYS: usize = 96;
const BATCH: usize = 4;
const STEPS: usize = 2500;
const START: Sizes = [4.0, 4.0, 4.0, 16.0];

type Sizes = [f64; SIZES];
type Orders = [f64; CUSTOMERS];

/// Poisson, by counting.
fn orders(random: &mut Random) -> Orders {
    std::array::from_fn(|j| {
        let (least, mut product, mut count) = ((-MEANS[j / 2]).exp(), random.uniform(), 0.0);
        while product > least {
            product *= random.uniform();
            count += 1.0;
        }
        count
    })
}

/// What each depot's customers order together.
fn totals(orders: &Orders) -> [f64; DEPOTS] {
    std::array::from_fn(|g| orders[2 * g] + orders[2 * g + 1])
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn difference(x: &Sizes, y: &Sizes) -> Sizes {
    std::array::from_fn(|k| x[k] - y[k])
}

/// The loss without the layer: of a day's orders as many are delivered as depots and fleet allow.
fn loss(sizes: &Sizes, days: &[Orders]) -> f64 {
    let lost = |orders: &Orders| {
        let at_depots = totals(orders)
            .into_iter()
            .zip(sizes)
            .map(|(t, s)| t.min(*s));
        orders.iter().sum::<f64>() - at_depots.sum::<f64>().min(sizes[DEPOTS])
    };
    dot(sizes, &COSTS) + days.iter().map(lost).sum::<f64>() / days.len() as f64
}

/// The linear program over all days; its variables are the sizes, what reaches each depot's customers and the deliveries of a day.
fn optimum(days: &[Orders]) -> Result<(Sizes, f64)> {
    let mut builder = ProgramBuilder::new(SIZES + SIZES * days.len());
    COSTS
        .iter()
        .enumerate()
        .for_each(|(k, c)| builder.linear(k, *c));
    for (day, orders) in days.iter().enumerate() {
        let first = SIZES * (day + 1);
        let delivered = first + DEPOTS;
        builder.linear(delivered, -1.0 / days.len() as f64);
        let mut sum = vec![(delivered, 1.0)];
        for (g, total) in totals(orders).into_iter().enumerate() {
            builder.inequality(&[(first + g, 1.0), (g, -1.0)], 0.0);
            builder.inequality(&[(first + g, 1.0)], total);
            sum.push((first + g, -1.0));
        }
        builder.inequality(&[(delivered, 1.0), (DEPOTS, -1.0)], 0.0);
        builder.inequality(&sum, 0.0);
    }
    let solution = solve(&builder.build()?, &Default::default())?;
    let ordered = days.iter().flatten().sum::<f64>() / days.len() as f64;
    let sizes = std::array::from_fn(|k| solution.x[k]);
    Ok((sizes, solution.objective + ordered))
}

/// The layer of a day, theta = (sizes, orders).
struct Deliveries {
    layer: ParametrizedLayer,
    /// Rows of the depots' sizes and of the fleet's.
    rows: [usize; SIZES],
}

impl Deliveries {
    fn new(selection: Selection) -> Result<Self> {
        let mut builder = ProgramBuilder::new(CUSTOMERS);
        (0..CUSTOMERS).for_each(|j| builder.quadratic(j, j, 1.0));
        builder.bounds(0..CUSTOMERS, 0.0, f64::INFINITY);
        let served = |k: usize| match k {
            DEPOTS => 0..CUSTOMERS,
            depot => 2 * depot..2 * depot + 2,
        };
        let rows: [usize; SIZES] = std::array::from_fn(|k| {
            let sum: Vec<(usize, f64)> = served(k).map(|j| (j, 1.0)).collect();
            builder.inequality(&sum, 0.0).start
        });
        let program = builder.build()?;
        let mut q = sprs::TriMat::new((CUSTOMERS, SIZES + CUSTOMERS));
        (0..CUSTOMERS).for_each(|j| q.add_triplet(j, SIZES + j, -1.0));
        let mut b = sprs::TriMat::new((program.m(), SIZES + CUSTOMERS));
        rows.iter()
            .enumerate()
            .for_each(|(k, row)| b.add_triplet(*row, k, 1.0));
        let map = Parametrization::new(&program, None, Some(&q.to_csc()), None, Some(&b.to_csc()))?;
        let mut settings = training::settings();
        settings.settings.selection = selection;
        let layer = ParametrizedLayer::new(&program, map, settings)?;
        Ok(Self { layer, rows })
    }

    /// An element of the conservative gradient of the mean loss.
    fn gradient(&mut self, sizes: &Sizes, days: &[Orders]) -> Result<Sizes> {
        let theta: Vec<Vec<f64>> = days.iter().map(|d| theta(sizes, d)).collect();
        for solution in self.layer.forward_batch(&theta) {
            solution?;
        }
        let seed = self.seed(days.len());
        let mut gradient = COSTS;
        for answer in self.layer.backward_batch(&vec![seed; days.len()])? {
            gradient
                .iter_mut()
                .zip(answer?.value)
                .for_each(|(g, x)| *g += x);
        }
        Ok(gradient)
    }

    fn seed(&self, days: usize) -> SolutionTangent {
        let mut seed = SolutionTangent::zeros(self.layer.layer().program());
        seed.x.fill(-1.0 / days as f64);
        seed
    }

    /// Does the loss of a day see which element is taken at its kink?
    fn is_ambiguous(&self, derivative: &Derivative) -> Result<bool> {
        let both = derivative.vjp_ambiguity(&self.seed(1))?;
        let [inactive, active] = [both.inactive.value.b, both.active.value.b];
        Ok(self
            .rows
            .iter()
            .any(|&row| (inactive[row] - active[row]).abs() > 1e-9))
    }

    /// The one-sided derivative of the mean loss, and on how many days it is at a kink.
    fn one_sided(
        &mut self,
        sizes: &Sizes,
        direction: &Sizes,
        days: &[Orders],
    ) -> Result<(f64, usize)> {
        let (mut slope, mut kinks) = (dot(&COSTS, direction), 0);
        for day in days {
            self.layer.forward(&theta(sizes, day))?;
            let derivative = self.layer.layer().derivative()?;
            let mut tangent = DataTangent::zeros(derivative.program());
            self.rows
                .iter()
                .zip(direction)
                .for_each(|(&row, d)| tangent.b[row] = *d);
            let along = derivative.directional(&tangent)?.value.x;
            slope -= along.iter().sum::<f64>() / days.len() as f64;
            kinks += usize::from(!derivative.kinks().is_empty());
        }
        Ok((slope, kinks))
    }
}

fn theta(sizes: &Sizes, orders: &Orders) -> Vec<f64> {
    [sizes.as_slice(), orders].concat()
}

/// A step rule and the element it takes at kinks.
struct Rule {
    name: &'static str,
    step: fn(f64) -> f64,
    selection: Selection,
    color: RGBColor,
}

struct Run {
    path: Vec<Sizes>,
    seen: MonitorTotals,
    /// Kinks at which the loss sees the choice.
    ambiguous: u64,
}

fn descend(rule: &Rule, days: &[Orders]) -> Result<Run> {
    let mut deliveries = Deliveries::new(rule.selection)?;
    let mut monitor = Monitor::new(MonitorSettings::default())?;
    let (mut random, mut sizes) = (Random::new(7), START);
    let (mut path, mut ambiguous) = (vec![START], 0);
    let bar = training::bar(STEPS as u64, rule.name)?;
    for k in 0..STEPS {
        let batch: [Orders; BATCH] = std::array::from_fn(|_| days[random.below(days.len())]);
        let gradient = deliveries.gradient(&sizes, &batch)?;
        for (item, orders) in batch.iter().enumerate() {
            let derivative = deliveries.layer.layer().item_derivative(item)?;
            // The orders are parameters too: the point moves with them from item to item, and is tested for itself.
            let certified = derivative.regularity()?.is_certified();
            let theta = theta(&sizes, orders);
            let at_kink = monitor
                .observe_with(&theta, derivative, Some(certified))?
                .at_kink;
            ambiguous += u64::from(at_kink && deliveries.is_ambiguous(derivative)?);
        }
        let step = (rule.step)(k as f64);
        // Sizes are not negative: the projection onto a simple set.
        sizes = std::array::from_fn(|j| (sizes[j] - step * gradient[j]).max(0.0));
        path.push(sizes);
        bar.inc(1);
    }
    bar.finish();
    Ok(Run {
        path,
        seen: monitor.totals(),
        ambiguous,
    })
}

/// The least norm in the hull of gradients of all days at points around, and the least norm of one of them.
fn criticality(center: &Sizes, radius: f64, days: &[Orders]) -> Result<[f64; 2]> {
    let mut deliveries = Deliveries::new(Selection::Inactive)?;
    let mut random = Random::new(11);
    let mut gradients = Vec::new();
    for _ in 0..40 {
        let point = std::array::from_fn(|k| center[k] + radius * (2.0 * random.uniform() - 1.0));
        gradients.push(deliveries.gradient(&point, days)?.to_vec());
    }
    let least = gradients
        .iter()
        .map(|g| norm(g))
        .fold(f64::INFINITY, f64::min);
    Ok([least_norm_in_hull(&gradients)?.norm, least])
}

/// All directions with entries -1, 0, 1 but 0.
fn directions() -> impl Iterator<Item = Sizes> {
    let entry = |code: usize, k: u32| (code / 3_usize.pow(k) % 3) as f64 - 1.0;
    let all = (0..3_usize.pow(SIZES as u32))
        .map(move |code| std::array::from_fn(|k| entry(code, k as u32)));
    all.filter(|d: &Sizes| norm(d) > 0.0)
}

fn main() -> Result<()> {
    let mut random = Random::new(3);
    let days: Vec<Orders> = (0..DAYS).map(|_| orders(&mut random)).collect();
    let (found, value) = optimum(&days)?;
    // Kinks are at whole numbers, and so is this corner of the loss.
    let best = found.map(f64::round);
    println!("best sizes {best:?}, loss {value:.6}");

    // One-sided derivatives at the optimum: by the layer, and by the loss, which is linear that far.
    let mut deliveries = Deliveries::new(Selection::Inactive)?;
    let (mut worst, mut lowest, mut at_kink) = (0.0_f64, f64::INFINITY, 0);
    for direction in directions() {
        let (slope, kinks) = deliveries.one_sided(&best, &direction, &days)?;
        let ahead = std::array::from_fn(|k| best[k] + 1e-3 * direction[k]);
        let secant = (loss(&ahead, &days) - loss(&best, &days)) / 1e-3;
        worst = worst.max((slope - secant).abs());
        lowest = lowest.min(slope / norm(&direction));
        at_kink = kinks;
    }
    println!(
        "at the optimum {at_kink} of {DAYS} days are at a kink; the least one-sided slope is {lowest:.4}"
    );

    let rules = [
        Rule {
            name: "constant 1/4",
            step: |_| 0.25,
            selection: Selection::Inactive,
            color: GREY,
        },
        Rule {
            name: "(k + 1)^-0.6",
            step: |k| (k + 1.0).powf(-0.6),
            selection: Selection::Inactive,
            color: BLUE,
        },
        Rule {
            name: "the same, active",
            step: |k| (k + 1.0).powf(-0.6),
            selection: Selection::Active,
            color: GREEN,
        },
        Rule {
            name: "8 / (k + 1)",
            step: |k| 8.0 / (k + 1.0),
            selection: Selection::Inactive,
            color: ORANGE,
        },
    ];
    let mut runs = Vec::new();
    for rule in &rules {
        runs.push(descend(rule, &days)?);
    }
    println!(
        "of {} gradients, kinks: met, seen by the loss, not certified",
        STEPS * BATCH
    );
    println!(
        "distance: root mean square over the last fifth; gradients of all days around the last point"
    );
    println!(
        "steps              distance    met   seen   not certified   least in the hull   least gradient"
    );
    let mut ends = Vec::new();
    for (rule, run) in rules.iter().zip(&runs) {
        let tail = &run.path[STEPS / 5 * 4..];
        let squares = tail.iter().map(|at| norm(&difference(at, &best)).powi(2));
        let distance = (squares.sum::<f64>() / tail.len() as f64).sqrt();
        let [hull, gradient] = criticality(&run.path[STEPS], 0.05, &days)?;
        println!(
            "{:<18} {distance:8.4} {:6} {:6} {:15} {hull:19.1e} {gradient:16.3}",
            rule.name, run.seen.kinks, run.ambiguous, run.seen.uncertified,
        );
        ends.push([distance, hull, gradient]);
    }

    figure::draw("kink_training", |area| {
        let (left, right) = area.split_horizontally(950);
        let end = (STEPS as f64).log10();
        let title = "Only vanishing steps arrive";
        let labels = [
            "log10 of the step's number",
            "log10 of the distance to the optimum",
        ];
        let mut chart = figure::axes(&left, title, labels, 0.0..end, -3.0..1.5)?;
        for (rule, run) in rules.iter().zip(&runs) {
            // Evenly on the logarithmic axis.
            let points = (0..=300).map(|at| {
                let step = 10f64.powf(end * f64::from(at) / 300.0);
                let far = norm(&difference(&run.path[step.round() as usize], &best));
                (step.log10(), far.log10())
            });
            figure::line(&mut chart, points, rule.color, 4, rule.name)?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::LowerLeft)?;

        let title = "The loss around the optimum";
        let labels = ["a size less the best one", "loss"];
        let mut chart = figure::axes(&right, title, labels, -3.0..3.0, 6.2..8.2)?;
        for (k, color) in [BLUE, ORANGE, GREEN, INK].into_iter().enumerate() {
            let points = (0..=120).map(|at| {
                let by = f64::from(at) / 20.0 - 3.0;
                let mut sizes = best;
                sizes[k] += by;
                (by, loss(&sizes, &days))
            });
            figure::line(&mut chart, points, color, 5, NAMES[k])?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)
    })?;

    // The optimum is a corner, found twice, and the layer's one-sided derivatives rise from it in every direction.
    assert!(difference(&found, &best).iter().all(|d| d.abs() < 1e-6));
    assert!((loss(&best, &days) - value).abs() < 1e-8);
    assert!(worst < 1e-9 && lowest > 0.03 && at_kink > DAYS / 2);
    for (run, [_, _, gradient]) in runs.iter().zip(&ends) {
        // Only kinks are not trusted, and all of them are certified.
        assert!(run.seen.kinks > 1000 && run.ambiguous > 0 && run.seen.uncertified == 0);
        assert!(run.seen.untrusted == run.seen.kinks);
        // No gradient is small, wherever the run ended.
        assert!(*gradient > 0.05);
    }
    let [constant, vanishing @ ..] = ends.as_slice() else {
        return Err("no run".into());
    };
    assert!(constant[0] > 0.2 && constant[1] > 0.01);
    assert!(
        vanishing
            .iter()
            .all(|[distance, hull, _]| *distance < 0.02 && *hull < 1e-9)
    );
    Ok(())
}
