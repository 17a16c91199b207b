//! The cost of a predictive controller, learned from an expert's actions.
//!
//!     minimize  sum_{t=1..N} 1/2 x_t' diag(w) x_t + sum_{t=0..N-1} 1/2 u_t^2
//!     subject to  x_{t+1} = A x_t + B u_t,  x_0 measured,  |u_t| <= 1
//!
//! Two carts joined by a spring, a bounded force on the first. The expert plans with weights w that the learner does not know; it sees
//! states and the expert's first actions, with noise. A cost times a constant gives the same plan, so w is known up to scale: the
//! force's weight is 1. The learner descends on the mean squared difference of actions in log w, which keeps w positive; states whose
//! action is at a bound tell it nothing.
//!
//! Amos, Jimenez, Sacks, Boots, Kolter, Differentiable MPC for end-to-end planning and control, 2018, section 5.2.

mod figure;
mod training;

use conediff::{ConeProgram, Parametrization, ParametrizedLayer, ProgramBuilder, SolutionTangent};
use figure::{BLUE, GREEN, GREY, INK, ORANGE, Result};
use plotters::prelude::*;
use training::{Adam, Random};

const HORIZON: usize = 12;
const DT: f64 = 0.3;
/// Positions of both carts, their velocities.
const STATES: usize = 4;
/// A stage: the state, then the force. A last state follows the stages.
const STAGE: usize = STATES + 1;
const NAMES: [&str; STATES] = ["position 1", "position 2", "velocity 1", "velocity 2"];
const EXPERT: [f64; STATES] = [0.5, 4.0, 0.2, 1.0];
const NOISE: f64 = 0.02;
const STEPS: usize = 150;

type State = [f64; STATES];

/// A and B: spring 1, damping 0.1, masses 1, to third order in the step.
fn dynamics() -> ([[f64; STATES]; STATES], State) {
    let rate = [
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [-1.0, 1.0, -0.1, 0.0],
        [1.0, -1.0, 0.0, -0.1],
    ];
    let apply = |x: State| rate.map(|row| (0..STATES).map(|j| row[j] * x[j]).sum());
    // The flow from a state under a constant force, by Taylor's series.
    let flow = |x: State, force: f64| {
        let mut term: State = apply(x);
        term[2] += force;
        let (mut end, mut factor) = (x, DT);
        for order in 2..=4 {
            (0..STATES).for_each(|j| end[j] += factor * term[j]);
            term = apply(term);
            factor *= DT / f64::from(order);
        }
        end
    };
    let columns: [State; STATES] =
        std::array::from_fn(|j| flow(std::array::from_fn(|i| f64::from(i == j)), 0.0));
    let a = std::array::from_fn(|i| columns.map(|column| column[i]));
    (a, flow([0.0; STATES], 1.0))
}

/// The program at w = 0 and x_0 = 0, and how P and b depend on theta = (w, x_0).
fn controller() -> Result<(ConeProgram, Parametrization)> {
    let (a, b) = dynamics();
    let n = STAGE * HORIZON + STATES;
    let mut builder = ProgramBuilder::new(n);
    for j in 0..n {
        // A weight that is learned is a stored zero.
        builder.quadratic(j, j, f64::from(j % STAGE == STATES));
    }
    for j in 0..STATES {
        builder.equality(&[(j, 1.0)], 0.0);
    }
    for t in 0..HORIZON {
        for (i, row) in a.iter().enumerate() {
            let mut terms: Vec<(usize, f64)> =
                (0..STATES).map(|j| (STAGE * t + j, -row[j])).collect();
            terms.extend([(STAGE * t + STATES, -b[i]), (STAGE * (t + 1) + i, 1.0)]);
            builder.equality(&terms, 0.0);
        }
    }
    builder.bounds((0..HORIZON).map(|t| STAGE * t + STATES), -1.0, 1.0);
    let program = builder.build()?;
    let mut weights = sprs::TriMat::new((program.p().nnz(), 2 * STATES));
    for j in (0..n).filter(|j| j % STAGE < STATES) {
        let at = program.p().pattern().position(j, j).ok_or("no diagonal")?;
        weights.add_triplet(at, j % STAGE, 1.0);
    }
    let mut start = sprs::TriMat::new((program.m(), 2 * STATES));
    (0..STATES).for_each(|j| start.add_triplet(j, STATES + j, 1.0));
    let (p, b) = (weights.to_csc(), start.to_csc());
    let map = Parametrization::new(&program, Some(&p), None, None, Some(&b))?;
    Ok((program, map))
}

struct Controller {
    layer: ParametrizedLayer,
    seed: SolutionTangent,
    doubtful: u64,
}

impl Controller {
    fn new() -> Result<Self> {
        let (program, map) = controller()?;
        let seed = SolutionTangent::zeros(&program);
        let layer = ParametrizedLayer::new(&program, map, training::settings())?;
        Ok(Self {
            layer,
            seed,
            doubtful: 0,
        })
    }

    /// The first force planned from each state.
    fn act(&mut self, weights: &[f64; STATES], states: &[State]) -> Result<Vec<f64>> {
        let theta: Vec<Vec<f64>> = states.iter().map(|x| [*weights, *x].concat()).collect();
        let plans = self.layer.forward_batch(&theta).into_iter();
        Ok(plans
            .map(|p| p.map(|p| p.x[STATES]))
            .collect::<conediff::Result<_>>()?)
    }

    /// The mean squared difference of actions, and its gradient in w.
    fn loss(&mut self, weights: &[f64; STATES], seen: &Seen) -> Result<(f64, [f64; STATES])> {
        let count = seen.states.len() as f64;
        let actions = self.act(weights, &seen.states)?;
        let misses: Vec<f64> = actions
            .iter()
            .zip(&seen.actions)
            .map(|(u, v)| u - v)
            .collect();
        let mut seeds = vec![self.seed.clone(); misses.len()];
        for (seed, miss) in seeds.iter_mut().zip(&misses) {
            seed.x[STATES] = 2.0 * miss / count;
        }
        let mut gradient = [0.0; STATES];
        for answer in self.layer.backward_batch(&seeds)? {
            let answer = answer?;
            self.doubtful += u64::from(!answer.trusted);
            gradient
                .iter_mut()
                .zip(&answer.value)
                .for_each(|(g, x)| *g += x);
        }
        Ok((misses.iter().map(|m| m * m).sum::<f64>() / count, gradient))
    }

    /// The expert in closed loop from random starts: states and actions.
    fn demonstrate(&mut self, runs: usize, steps: usize, random: &mut Random) -> Result<Seen> {
        let (a, b) = dynamics();
        let mut states: Vec<State> = (0..runs)
            .map(|_| [(); STATES].map(|()| 1.5 * random.normal()))
            .collect();
        let mut seen = Seen {
            states: Vec::new(),
            actions: Vec::new(),
        };
        for _ in 0..steps {
            let actions = self.act(&EXPERT, &states)?;
            seen.states.extend(&states);
            seen.actions.extend(&actions);
            for (x, u) in states.iter_mut().zip(&actions) {
                let next = |i: usize| (0..STATES).map(|j| a[i][j] * x[j]).sum::<f64>() + b[i] * u;
                *x = std::array::from_fn(next);
            }
        }
        Ok(seen)
    }

    /// Root mean square.
    fn action_error(&mut self, weights: &[f64; STATES], seen: &Seen) -> Result<f64> {
        let actions = self.act(weights, &seen.states)?;
        let squares = actions
            .iter()
            .zip(&seen.actions)
            .map(|(u, v)| (u - v).powi(2));
        Ok((squares.sum::<f64>() / actions.len() as f64).sqrt())
    }
}

struct Seen {
    states: Vec<State>,
    actions: Vec<f64>,
}

fn main() -> Result<()> {
    let mut controller = Controller::new()?;
    let mut random = Random::new(0);
    let mut seen = controller.demonstrate(8, 10, &mut random)?;
    let held_out = controller.demonstrate(40, 25, &mut random)?;
    let at_bound = seen.actions.iter().filter(|u| u.abs() > 1.0 - 1e-9).count();
    println!(
        "{} actions seen, {at_bound} of them at a bound",
        seen.actions.len()
    );
    seen.actions
        .iter_mut()
        .for_each(|u| *u += NOISE * random.normal());

    let start = [1.0; STATES];
    let (mut log_weights, mut weights) = ([0.0; STATES], start);
    let mut adam = Adam::new(STATES, 0.1);
    let (mut losses, mut path) = (Vec::new(), Vec::new());
    let bar = training::bar(STEPS as u64, "steps")?;
    for step in 0..=STEPS {
        let (loss, gradient) = controller.loss(&weights, &seen)?;
        losses.push(loss);
        path.push(weights);
        bar.set_message(format!("loss {loss:.2e}"));
        bar.set_position(step as u64);
        // dw = w d log w.
        let gradient: Vec<f64> = gradient.iter().zip(weights).map(|(g, w)| g * w).collect();
        adam.step(&mut log_weights, &gradient);
        weights = log_weights.map(f64::exp);
    }
    bar.finish();
    let learned = path[STEPS];

    println!("weight        expert     start   learned");
    println!(
        "force        {:7.3}   {:7.3}   {:7.3}   (the scale)",
        1.0, 1.0, 1.0
    );
    for (j, name) in NAMES.iter().enumerate() {
        println!(
            "{name:<12} {:7.3}   {:7.3}   {:7.3}",
            EXPERT[j], start[j], learned[j]
        );
    }
    let floor = controller.action_error(&EXPERT, &seen)?.powi(2);
    let errors = [start, learned].map(|w| controller.action_error(&w, &held_out));
    let [before, after] = errors;
    let (before, after) = (before?, after?);
    println!(
        "loss {:.2e} -> {:.2e}; with the expert's weights {floor:.2e}",
        losses[0], losses[STEPS]
    );
    println!("held-out action error (root mean square) {before:.4} -> {after:.4}");
    println!(
        "{} gradients, {} of them not trusted",
        seen.actions.len() * losses.len(),
        controller.doubtful
    );

    figure::draw("mpc_imitation", |area| {
        let (left, right) = area.split_horizontally(950);
        let steps = 0.0..STEPS as f64;
        let title = "The difference to the expert's actions";
        let labels = ["step", "log10 of the loss"];
        let mut chart = figure::axes(&left, title, labels, steps.clone(), -4.0..0.0)?;
        let level = [(0.0, floor.log10()), (STEPS as f64, floor.log10())];
        figure::line(&mut chart, level, GREY, 4, "the expert's weights: noise")?;
        let points = losses
            .iter()
            .enumerate()
            .map(|(k, l)| (k as f64, l.log10()));
        figure::line(&mut chart, points, BLUE, 6, "learned weights")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        let title = "Weights, and the expert's (thin)";
        let labels = ["step", "log10 of the weight"];
        let mut chart = figure::axes(&right, title, labels, steps, -1.5..1.5)?;
        for (j, color) in [BLUE, ORANGE, GREEN, INK].into_iter().enumerate() {
            let level = [(0.0, EXPERT[j].log10()), (STEPS as f64, EXPERT[j].log10())];
            figure::line(&mut chart, level, color, 2, "")?;
            let points = path
                .iter()
                .enumerate()
                .map(|(k, w)| (k as f64, w[j].log10()));
            figure::line(&mut chart, points, color, 6, NAMES[j])?;
        }
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)
    })?;

    assert!(controller.doubtful == 0);
    // Four numbers fitted: the loss is the noise's, or just below.
    assert!(losses[STEPS] < floor && losses[STEPS] > 0.5 * floor);
    for (w, expert) in learned.iter().zip(EXPERT) {
        assert!((w / expert - 1.0).abs() < 0.2, "a weight is off by a fifth");
    }
    assert!(after < NOISE / 2.0 && after < before / 20.0);
    Ok(())
}
