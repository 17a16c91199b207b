//! Problems of the kinds people differentiate, each at sizes of its own choosing, for tests and benchmarks. It needs the crate alone.
//!
//! A family is a program and what of its data moves from item to item in a batch, or from step to step in a loop. Everything
//! follows from the seed. At seed 0 the solutions are unique and off every kink.

#![allow(dead_code)] // Each of its users needs a part of it.

use conediff::{Affine, Cone, ConeProgram, ProgramBuilder};
use std::f64::consts::{SQRT_2, TAU};
use std::ops::Range;

/// A program with neighbours of the same structure.
pub struct Family {
    pub name: &'static str,
    pub program: ConeProgram,
    pub moving: Moving,
    /// How far a move of size one takes each entry of q, and of b; zero where the entry belongs to the structure.
    reach: (Vec<f64>, Vec<f64>),
}

/// Which data move from item to item in a batch or loop: what a user of this family varies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moving {
    pub p: bool,
    pub q: bool,
    pub a: bool,
    pub b: bool,
}

impl Family {
    /// A family of which the given entries of q and of b move, by their mean size times the size of the move.
    fn new(
        name: &'static str,
        program: ConeProgram,
        costs: Range<usize>,
        rows: Range<usize>,
    ) -> Self {
        let moving = Moving {
            p: false,
            q: !costs.is_empty(),
            a: false,
            b: !rows.is_empty(),
        };
        let reach = (reach(program.q(), costs), reach(program.b(), rows));
        Self {
            name,
            program,
            moving,
            reach,
        }
    }

    /// The same family with P or A moving too.
    fn with_matrices(mut self, p: bool, a: bool) -> Self {
        (self.moving.p, self.moving.a) = (p, a);
        self
    }

    fn with_name(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The program with every moving number moved at random by about `size`, relative to itself (A), to its kind's mean (q, b), or as
    /// DPD with D near the identity (P).
    pub fn item(&self, seed: u64, size: f64) -> ConeProgram {
        let mut random = Random::new(seed ^ 0x17e3);
        self.moved(|| size * random.normal())
    }

    /// A smooth and bounded path: items k and k + 1 differ by about `size`, all of them from the program by at most 0.2 or so.
    /// Every number goes up and down at a pace of its own.
    pub fn path(&self, step: usize, size: f64) -> ConeProgram {
        let mut random = Random::new(0x9a7);
        let amplitude = (7.0 * size).min(0.2);
        let pace = SQRT_2 * size / amplitude.max(f64::MIN_POSITIVE);
        self.moved(|| {
            let own = pace * (0.75 + 0.5 * random.uniform());
            amplitude * (own * step as f64 + TAU * random.uniform()).sin()
        })
    }

    /// The program moved by one draw for each number that moves.
    fn moved(&self, mut draw: impl FnMut() -> f64) -> ConeProgram {
        let (p, a) = (self.program.p(), self.program.a());
        let (mut p_values, mut a_values) = (p.stored_values(), a.stored_values());
        if self.moving.p {
            let d: Vec<f64> = (0..p.cols()).map(|_| 1.0 + draw()).collect();
            let (starts, rows) = (p.pattern().indptr(), p.pattern().indices());
            for j in 0..p.cols() {
                for k in starts[j]..starts[j + 1] {
                    p_values[k] *= d[rows[k]] * d[j];
                }
            }
        }
        if self.moving.a {
            a_values.iter_mut().for_each(|v| *v *= 1.0 + draw());
        }
        let mut shift = |values: &[f64], reach: &[f64]| -> Vec<f64> {
            let moved = values.iter().zip(reach);
            moved
                .map(|(v, r)| if *r == 0.0 { *v } else { v + r * draw() })
                .collect()
        };
        let q = shift(self.program.q(), &self.reach.0);
        let b = shift(self.program.b(), &self.reach.1);
        let mut moved = self.program.clone();
        if self.moving.p || self.moving.a {
            moved = moved.with_values(&p_values, &a_values).expect("convex");
        }
        moved.with_q(q).and_then(|m| m.with_b(b)).expect("finite")
    }
}

/// The mean size of the values in the range, there; zero elsewhere.
fn reach(values: &[f64], range: Range<usize>) -> Vec<f64> {
    let sum: f64 = values[range.clone()].iter().map(|v| v.abs()).sum();
    let mean = sum / range.len().max(1) as f64;
    let at = |i: usize| if range.contains(&i) { mean } else { 0.0 };
    (0..values.len()).map(at).collect()
}

/// Every name, large families last.
pub const NAMES: [&str; 24] = [
    "qp-dense-20",
    "qp-dense-50",
    "optnet",
    "mpc-20",
    "markowitz-200",
    "soc-100x4",
    "soc-500",
    "exp-200",
    "power-30",
    "genpower",
    "psd-10",
    "psd-20",
    "nearest-10",
    "nearest-20",
    "lmi-10",
    "lmi-20",
    "qp-sparse-500",
    "lp-500",
    "qp-dense-200",
    "markowitz-1000",
    "psd-40",
    "nearest-40",
    "lmi-40",
    "lasso-5000",
];

/// How many of the names are small or of middle size.
const MIDDLE: usize = 18;

/// The small families and those of middle size: each is solved within a second.
pub fn all() -> Vec<Family> {
    NAMES[..MIDDLE].iter().filter_map(|n| named(n)).collect()
}

/// One family by its name, large ones included.
pub fn named(name: &str) -> Option<Family> {
    let name = *NAMES.iter().find(|n| **n == name)?;
    let family = match name {
        "qp-dense-20" => qp_dense(20, 5, 20, 0),
        "qp-dense-50" => qp_dense(50, 10, 50, 0),
        "qp-dense-200" => qp_dense(200, 50, 200, 0),
        "optnet" => optnet(100, 50, 100, 0),
        "mpc-20" => mpc(20, 12, 4, 0),
        "markowitz-200" => markowitz(200, 10, 0),
        "markowitz-1000" => markowitz(1000, 50, 0),
        "soc-100x4" => landing(100, 0),
        "soc-500" => ball(500, 250, 0),
        "exp-200" => entropy(200, 20, 0),
        "power-30" => power(10, 0),
        "genpower" => generalized_power(5, 4, 2, 0),
        "psd-10" => max_cut(10, 0),
        "psd-20" => max_cut(20, 0),
        "psd-40" => max_cut(40, 0),
        "nearest-10" => nearest_correlation(10, 0),
        "nearest-20" => nearest_correlation(20, 0),
        "nearest-40" => nearest_correlation(40, 0),
        "lmi-10" => lmi(10, 10, 0),
        "lmi-20" => lmi(20, 20, 0),
        "lmi-40" => lmi(40, 40, 0),
        "qp-sparse-500" => qp_sparse(500, 100, 500, 5, 0),
        "lp-500" => lp(500, 0),
        "lasso-5000" => lasso(5000, 1000, 0),
        _ => return None,
    };
    Some(family.with_name(name))
}

/// A dense strictly convex QP around a chosen solution, half of its inequalities tight. Everything moves.
pub fn qp_dense(n: usize, equalities: usize, inequalities: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let factor: Vec<Vec<f64>> = (0..n).map(|_| random.normals(n)).collect();
    let mut p = Vec::new();
    for j in 0..n {
        for i in 0..=j {
            let ridge = if i == j { 0.1 } else { 0.0 };
            p.push((i, j, dot(&factor[i], &factor[j]) / n as f64 + ridge));
        }
    }
    let mut rows = |count: usize| -> Vec<Row> {
        (0..count)
            .map(|_| dense_row(&scaled(1.0 / (n as f64).sqrt(), random.normals(n))))
            .collect()
    };
    let (g, h) = (rows(equalities), rows(inequalities));
    let program = qp_around(&p, &g, &h, n, &mut random);
    Family::new("qp-dense", program, 0..n, 0..equalities + inequalities).with_matrices(true, true)
}

/// A sparse strictly convex QP around a chosen solution, half of its inequalities tight, `fill` entries in a row of A. Everything
/// moves.
pub fn qp_sparse(
    n: usize,
    equalities: usize,
    inequalities: usize,
    fill: usize,
    seed: u64,
) -> Family {
    let mut random = Random::new(seed);
    let mut p: Vec<(usize, usize, f64)> = (0..n).map(|j| (j, j, 0.1 + random.uniform())).collect();
    for _ in 0..n * fill / 2 {
        let pair = random.some_of(n, 2);
        let value = random.normal();
        p.push((pair[0], pair[1], value));
        // The diagonal outweighs its row.
        p.extend(pair.iter().map(|&j| (j, j, value.abs())));
    }
    let mut rows = |count: usize| -> Vec<Row> {
        (0..count)
            .map(|_| sparse_row(&mut random, n, fill))
            .collect()
    };
    let (g, h) = (rows(equalities), rows(inequalities));
    let program = qp_around(&p, &g, &h, n, &mut random);
    Family::new("qp-sparse", program, 0..n, 0..equalities + inequalities).with_matrices(true, true)
}

/// The layer of OptNet: dense equalities and inequalities feasible by construction, a small quadratic term, every constraint shared
/// by the batch. The cost, which comes from the layer before, moves, and the right-hand sides do.
///
/// # References
/// Amos, Kolter, OptNet: differentiable optimization as a layer in neural networks, 2017.
pub fn optnet(n: usize, equalities: usize, inequalities: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new(n);
    let inside = random.normals(n);
    for j in 0..n {
        builder.quadratic(j, j, 0.1);
        builder.linear(j, random.normal());
    }
    for k in 0..equalities + inequalities {
        let row = scaled(1.0 / (n as f64).sqrt(), random.normals(n));
        let value = dot(&row, &inside);
        if k < equalities {
            builder.equality(&dense_row(&row), value);
        } else {
            builder.inequality(&dense_row(&row), value + 1.0);
        }
    }
    let program = builder.build().expect("valid");
    Family::new("optnet", program, 0..n, 0..equalities + inequalities)
}

/// Linear model predictive control of lightly damped, coupled oscillators: states 1 to T after a measured state 0, inputs 0 to T - 1,
/// bounds on all of them. The measured state (b) and the reference (q) move.
///
/// # References
/// Stellato, Banjac, Goulart, Bemporad, Boyd, OSQP, 2020, appendix A.3 (the benchmark's shape).
pub fn mpc(horizon: usize, states: usize, inputs: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    // The dynamics: damped rotations in random planes, so that nothing grows.
    let mut dynamics: Vec<Vec<f64>> = (0..states).map(|i| unit(states, i, 0.97)).collect();
    for _ in 0..3 * states {
        let pair = random.some_of(states, 2);
        let (sin, cos) = (0.3 * random.normal()).sin_cos();
        for row in &mut dynamics {
            let (x, y) = (row[pair[0]], row[pair[1]]);
            (row[pair[0]], row[pair[1]]) = (cos * x - sin * y, sin * x + cos * y);
        }
    }
    let input: Vec<Vec<f64>> = (0..states)
        .map(|_| scaled(0.3, random.normals(inputs)))
        .collect();
    let weight: Vec<f64> = (0..states).map(|_| 0.5 + 1.5 * random.uniform()).collect();
    // Within the bounds' ball, which no rotation leaves: without any input the states are feasible.
    let direction = random.normals(states);
    let measured = scaled(STATE / dot(&direction, &direction).sqrt(), direction);
    let phase: Vec<f64> = (0..states).map(|_| TAU * random.uniform()).collect();

    // State t at states (t - 1), input t after all states.
    let state = |t: usize, i: usize| states * (t - 1) + i;
    let force = |t: usize, i: usize| states * horizon + inputs * t + i;
    let mut builder = ProgramBuilder::new((states + inputs) * horizon);
    for t in 1..=horizon {
        for i in 0..states {
            let reference = 3.0 * (phase[i] + 0.2 * t as f64).sin();
            builder.quadratic(state(t, i), state(t, i), weight[i]);
            builder.linear(state(t, i), -weight[i] * reference);
        }
        for i in 0..inputs {
            builder.quadratic(force(t - 1, i), force(t - 1, i), 0.1);
        }
    }
    for t in 1..=horizon {
        for i in 0..states {
            let mut row = vec![(state(t, i), 1.0)];
            row.extend((0..inputs).map(|k| (force(t - 1, k), -input[i][k])));
            let mut rhs = 0.0;
            if t == 1 {
                rhs = dot(&dynamics[i], &measured);
            } else {
                row.extend((0..states).map(|k| (state(t - 1, k), -dynamics[i][k])));
            }
            builder.equality(&row, rhs);
        }
    }
    let all = (states + inputs) * horizon;
    builder.bounds(0..states * horizon, -STATE, STATE);
    builder.bounds(states * horizon..all, -FORCE, FORCE);
    let program = builder.build().expect("valid");
    Family::new("mpc", program, 0..states * horizon, 0..states)
}

/// The bounds of a state and of an input of [`mpc`].
const STATE: f64 = 1.5;
const FORCE: f64 = 1.0;

/// A portfolio of largest return whose risk is at most that of equal shares: x >= 0, sum x = 1, |(F'x, D^(1/2) x)| <= sigma with
/// a few factors. In units of sigma. The returns (q), the budget and the risk (b) move.
pub fn markowitz(assets: usize, factors: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let exposure: Vec<Vec<f64>> = (0..factors)
        .map(|_| (0..assets).map(|_| sparse_normal(&mut random)).collect())
        .collect();
    let specific: Vec<f64> = (0..assets)
        .map(|_| (random.uniform() * (factors as f64).sqrt()).sqrt())
        .collect();
    let share = 1.0 / assets as f64;
    let factor_risk = exposure
        .iter()
        .map(|f| (share * f.iter().sum::<f64>()).powi(2))
        .sum::<f64>();
    let risk = (factor_risk + share * share * dot(&specific, &specific)).sqrt();

    let mut builder = ProgramBuilder::new(assets);
    for j in 0..assets {
        builder.linear(j, -(1.0 + 0.5 * random.normal()));
    }
    builder.equality(&dense_row(&vec![1.0; assets]), 1.0);
    let terms = |row: &[f64]| -> Affine {
        let present = row.iter().enumerate().filter(|(_, v)| **v != 0.0);
        let row: Row = present.map(|(j, v)| (j, v / risk)).collect();
        Affine::new(&row, 0.0)
    };
    let mut risks: Vec<Affine> = exposure.iter().map(|f| terms(f)).collect();
    risks.extend((0..assets).map(|j| Affine::new(&[(j, specific[j] / risk)], 0.0)));
    builder.norm(&risks, &Affine::constant(1.0));
    builder.bounds(0..assets, 0.0, f64::INFINITY);
    let program = builder.build().expect("valid");
    Family::new("markowitz", program, 0..assets, 0..2)
}

/// Powered descent with little fuel: thrusts u_k in space with |u_k| <= sigma_k <= 2, the end state given by six equalities, the
/// sum of sigma and of a small square paid. One cone of four rows a step. Fuel prices (q) and the end state (b) move.
pub fn landing(steps: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let (duration, gravity) = (10.0, [0.0, 0.0, -1.0]);
    let dt = duration / steps as f64;
    let (position, velocity) = ([4.0, -2.0, 10.0], [-0.5, 0.3, -1.0]);
    let thrust = |k: usize, axis: usize| 3 * k + axis;
    let size = |k: usize| 3 * steps + k;
    let mut builder = ProgramBuilder::new(4 * steps);
    for k in 0..steps {
        builder.linear(size(k), dt * (1.0 + 0.2 * random.uniform()));
        builder.quadratic(size(k), size(k), 0.02 * dt);
    }
    for axis in 0..3 {
        let row: Row = (0..steps).map(|k| (thrust(k, axis), dt)).collect();
        builder.equality(&row, -velocity[axis] - gravity[axis] * duration);
    }
    for axis in 0..3 {
        let lever = |k: usize| duration - dt * (k as f64 + 0.5);
        let row: Row = (0..steps)
            .map(|k| (thrust(k, axis), dt * lever(k) / duration))
            .collect();
        let drift = position[axis] / duration + velocity[axis] + gravity[axis] * duration / 2.0;
        builder.equality(&row, -drift);
    }
    for k in 0..steps {
        let u = [0, 1, 2].map(|axis| Affine::variable(thrust(k, axis)));
        builder.norm(&u, &Affine::variable(size(k)));
    }
    builder.bounds(3 * steps..4 * steps, f64::NEG_INFINITY, 2.0);
    let program = builder.build().expect("valid");
    Family::new("landing", program, 3 * steps..4 * steps, 0..6)
}

/// A linear cost over an ellipsoid cut by half-spaces: |Mx| <= sqrt n with M bidiagonal, sparse inequalities, of which about a third
/// are tight. One cone of n + 1 rows. The cost, the bounds and the radius move.
pub fn ball(n: usize, inequalities: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new(n);
    for j in 0..n {
        builder.linear(j, random.normal());
    }
    for _ in 0..inequalities {
        let row = sparse_row(&mut random, n, 3);
        builder.inequality(&row, 0.5 + random.uniform());
    }
    let image: Vec<Affine> = (0..n)
        .map(|j| match j {
            0 => Affine::variable(0),
            _ => Affine::new(&[(j, 1.0), (j - 1, -0.5)], 0.0),
        })
        .collect();
    builder.norm(&image, &Affine::constant((n as f64).sqrt()));
    let program = builder.build().expect("valid");
    Family::new("ball", program, 0..n, 0..inequalities + 1)
}

/// Counts p of largest entropy relative to a prior, with given total and moments: maximize sum t - p log(p / prior) as t <= -p log p,
/// one exponential cone a cell. The prior (q) and the moments (b) move.
pub fn entropy(cells: usize, moments: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let unit = 1.0 / (cells as f64).sqrt();
    let mut builder = ProgramBuilder::new(2 * cells);
    for j in 0..cells {
        builder.linear(j, 0.5 * random.normal());
        builder.linear(cells + j, -1.0);
    }
    let seen: Vec<f64> = (0..cells).map(|_| 0.5 + random.uniform()).collect();
    builder.equality(
        &dense_row(&vec![unit; cells]),
        unit * seen.iter().sum::<f64>(),
    );
    for _ in 0..moments {
        let row = scaled(unit, random.normals(cells));
        builder.equality(&dense_row(&row), dot(&row, &seen));
    }
    for j in 0..cells {
        let (p, t) = (Affine::variable(j), Affine::variable(cells + j));
        builder.exponential(&t, &p, &Affine::constant(1.0));
    }
    let program = builder.build().expect("valid");
    Family::new("entropy", program, 0..cells, 0..moments + 1)
}

/// Producers with two inputs each, z <= x^alpha y^(1 - alpha), quadratic revenue in z and two resources shared by all: one power cone
/// a producer. Prices (q) and resources (b) move.
pub fn power(producers: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new(3 * producers);
    let input = |i: usize, k: usize| producers + 2 * i + k;
    for i in 0..producers {
        builder.linear(i, -(1.0 + random.uniform()));
        builder.quadratic(i, i, 0.5 + random.uniform());
    }
    for k in 0..2 {
        let row: Row = (0..producers)
            .map(|i| (input(i, k), 0.5 + random.uniform()))
            .collect();
        builder.inequality(&row, 0.6 * producers as f64);
    }
    for i in 0..producers {
        let (x, y) = (Affine::variable(input(i, 0)), Affine::variable(input(i, 1)));
        let alpha = 0.2 + 0.6 * random.uniform();
        builder.power(alpha, &x, &y, &Affine::variable(i));
    }
    let program = builder.build().expect("valid");
    Family::new("power", program, 0..producers, 0..2)
}

/// Producers with several inputs and several outputs, |w| <= prod u_k^alpha_k, quadratic revenue in w and the inputs' resources shared
/// by all. Prices (q) and resources (b) move.
pub fn generalized_power(producers: usize, inputs: usize, outputs: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new((inputs + outputs) * producers);
    let output = |i: usize, k: usize| outputs * i + k;
    let input = |i: usize, k: usize| outputs * producers + inputs * i + k;
    for j in 0..outputs * producers {
        builder.linear(j, -(1.0 + random.uniform()));
        builder.quadratic(j, j, 0.5 + random.uniform());
    }
    for k in 0..inputs {
        let row: Row = (0..producers)
            .map(|i| (input(i, k), 0.5 + random.uniform()))
            .collect();
        builder.inequality(&row, producers as f64);
    }
    for i in 0..producers {
        let shares: Vec<f64> = (0..inputs).map(|_| 0.5 + random.uniform()).collect();
        let alpha = scaled(1.0 / shares.iter().sum::<f64>(), shares);
        let u: Vec<Affine> = (0..inputs).map(|k| Affine::variable(input(i, k))).collect();
        let w: Vec<Affine> = (0..outputs)
            .map(|k| Affine::variable(output(i, k)))
            .collect();
        builder.generalized_power(&alpha, &u, &w);
    }
    let program = builder.build().expect("valid");
    Family::new(
        "generalized-power",
        program,
        0..outputs * producers,
        0..inputs,
    )
}

/// The max-cut relaxation of a complete graph with random weights: minimize -<L, X>/4 over PSD X with unit diagonal. The matrix
/// is the variable, as svec. The weights (q) move.
///
/// # References
/// Goemans, Williamson, Improved approximation algorithms for maximum cut, 1995.
pub fn max_cut(order: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let n = order * (order + 1) / 2;
    let mut q = vec![0.0; n];
    for j in 0..order {
        for i in 0..j {
            let weight = random.uniform();
            q[triangle(i, j)] = SQRT_2 * weight / 4.0;
            q[triangle(i, i)] -= weight / 4.0;
            q[triangle(j, j)] -= weight / 4.0;
        }
    }
    Family::new("max-cut", correlation(order, false, q), 0..n, 0..0)
}

/// The correlation matrix nearest to a noisy one: minimize |X - G|^2 / 2 over PSD X with unit diagonal. G (q) moves.
///
/// # References
/// Higham, Computing the nearest correlation matrix, 2002.
pub fn nearest_correlation(order: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let n = order * (order + 1) / 2;
    let mut q = vec![0.0; n];
    for j in 0..order {
        q[triangle(j, j)] = -1.0;
        for i in 0..j {
            q[triangle(i, j)] = -SQRT_2 * 0.5 * random.normal();
        }
    }
    let program = correlation(order, true, q);
    Family::new("nearest-correlation", program, 0..n, 0..0)
}

/// Cost q'x, plus |x|^2 / 2 if `squares`, over the correlation matrices svec^-1(x).
fn correlation(order: usize, squares: bool, q: Vec<f64>) -> ConeProgram {
    let n = q.len();
    let (mut starts, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..order {
        for i in 0..=j {
            if i == j {
                rows.push(j);
                values.push(1.0);
            }
            rows.push(order + triangle(i, j));
            values.push(-1.0);
            starts.push(rows.len());
        }
    }
    let diagonal: Vec<usize> = if squares {
        (0..n).collect()
    } else {
        Vec::new()
    };
    let p_starts: Vec<usize> = (0..=n).map(|j| j.min(diagonal.len())).collect();
    let mut b = vec![1.0; order];
    b.resize(order + n, 0.0);
    ConeProgram::from_csc(
        (&p_starts, &diagonal, &vec![1.0; diagonal.len()]),
        q,
        (&starts, &rows, &values),
        b,
        vec![Cone::Zero(order), Cone::PsdTriangle(order)],
    )
    .expect("valid")
}

/// A linear matrix inequality: minimize c'x with sum x_i F_i - F_0 PSD, the matrices dense. Primal and dual have interior points by
/// construction. All of q, A and b moves.
pub fn lmi(order: usize, variables: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let size = 1.0 / (order as f64).sqrt();
    let matrices: Vec<Vec<f64>> = (0..variables)
        .map(|_| symmetric(&mut random, order, size))
        .collect();
    let factor = scaled(size, random.normals(order * order));
    let mut inside = vec![0.0; order * order];
    let mut multiplier = vec![0.0; order * order];
    for j in 0..order {
        inside[j * order + j] = 1.0;
        for i in 0..order {
            let (a, b) = (&factor[i * order..][..order], &factor[j * order..][..order]);
            multiplier[j * order + i] = dot(a, b);
        }
        multiplier[j * order + j] += 0.1;
    }
    let mut builder = ProgramBuilder::new(variables);
    for (i, matrix) in matrices.iter().enumerate() {
        let x = random.normal();
        inside.iter_mut().zip(matrix).for_each(|(s, f)| *s -= x * f);
        builder.linear(i, dot(matrix, &multiplier));
    }
    let terms: Vec<(usize, &[f64])> = matrices.iter().map(Vec::as_slice).enumerate().collect();
    builder.psd_matrices(order, &inside, &terms);
    let program = builder.build().expect("valid");
    let rows = 0..program.m();
    Family::new("lmi", program, 0..variables, rows).with_matrices(false, true)
}

/// A sparse LP in standard form around a chosen vertex: n/2 equalities, x >= 0, half of x positive. q, A and b move; the bounds'
/// rows, whose entries move too, stay bounds.
pub fn lp(n: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let rows = n / 2;
    let mut builder = ProgramBuilder::new(n);
    let mut cost = vec![0.0; n];
    let x: Vec<f64> = (0..n)
        .map(|j| {
            if j % 2 == 0 {
                0.5 + random.uniform()
            } else {
                0.0
            }
        })
        .collect();
    for i in 0..rows {
        // The basic column of its own keeps the basis well-conditioned.
        let mut row = sparse_row(&mut random, n, 5);
        row.push((2 * i, 2.0));
        let y = random.normal();
        row.iter().for_each(|&(j, v)| cost[j] -= y * v);
        builder.equality(&row, row.iter().map(|&(j, v)| v * x[j]).sum());
    }
    for (j, cost) in cost.into_iter().enumerate() {
        let is_basic = j % 2 == 0;
        let reduced = 0.2 + random.uniform();
        builder.linear(j, if is_basic { cost } else { cost + reduced });
    }
    builder.bounds(0..n, 0.0, f64::INFINITY);
    let program = builder.build().expect("valid");
    Family::new("lp", program, 0..n, 0..rows).with_matrices(false, true)
}

/// Lasso as a QP: minimize |y|^2 / 2 + lambda't with y = X beta - d and |beta_j| <= t_j; 2 features + samples variables and rows. X
/// has one entry in a hundred. The penalties (q) and the observations d (b) move.
pub fn lasso(features: usize, samples: usize, seed: u64) -> Family {
    let mut random = Random::new(seed);
    let fill = (features / 100).max(5);
    let unit = 1.0 / (samples as f64 * fill as f64 / features as f64).sqrt();
    let rows: Vec<Row> = (0..samples)
        .map(|_| scaled_row(unit, sparse_row(&mut random, features, fill)))
        .collect();
    let mut signal = vec![0.0; features];
    for j in random.some_of(features, samples / 20) {
        signal[j] = random.normal();
    }
    let observed: Vec<f64> = rows
        .iter()
        .map(|row| row.iter().map(|&(j, v)| v * signal[j]).sum::<f64>() + 0.1 * random.normal())
        .collect();
    let mut correlation = vec![0.0; features];
    for (row, d) in rows.iter().zip(&observed) {
        row.iter().for_each(|&(j, v)| correlation[j] += v * d);
    }
    let largest = correlation.iter().fold(0.0_f64, |m, c| m.max(c.abs()));

    let mut builder = ProgramBuilder::new(2 * features + samples);
    for j in features..2 * features {
        builder.linear(j, 0.1 * largest);
    }
    for (k, (row, &d)) in rows.into_iter().zip(&observed).enumerate() {
        let residual = 2 * features + k;
        builder.quadratic(residual, residual, 1.0);
        let row: Row = row.into_iter().chain([(residual, -1.0)]).collect();
        builder.equality(&row, d);
    }
    for sign in [1.0, -1.0] {
        for j in 0..features {
            builder.inequality(&[(j, sign), (features + j, -1.0)], 0.0);
        }
    }
    let program = builder.build().expect("valid");
    Family::new("lasso", program, features..2 * features, 0..samples)
}

/// Entries of a row: variable and coefficient.
type Row = Vec<(usize, f64)>;

/// The QP with the given P (upper triangle, entries summed), equalities and inequalities whose solution is a random x with random
/// multipliers, the first half of the inequalities tight.
fn qp_around(
    p: &[(usize, usize, f64)],
    equalities: &[Row],
    inequalities: &[Row],
    n: usize,
    random: &mut Random,
) -> ConeProgram {
    let x = random.normals(n);
    let mut builder = ProgramBuilder::new(n);
    let mut q = vec![0.0; n];
    for &(i, j, value) in p {
        builder.quadratic(i, j, value);
        q[i] -= value * x[j];
        if i != j {
            q[j] -= value * x[i];
        }
    }
    for (k, row) in equalities.iter().chain(inequalities).enumerate() {
        let value: f64 = row.iter().map(|&(j, v)| v * x[j]).sum();
        let distance = 0.2 + random.uniform();
        let (multiplier, slack) = if k < equalities.len() {
            (random.normal(), 0.0)
        } else if k - equalities.len() < inequalities.len() / 2 {
            (distance, 0.0)
        } else {
            (0.0, distance)
        };
        row.iter().for_each(|&(j, v)| q[j] -= multiplier * v);
        if k < equalities.len() {
            builder.equality(row, value);
        } else {
            builder.inequality(row, value + slack);
        }
    }
    for (j, q) in q.into_iter().enumerate() {
        builder.linear(j, q);
    }
    builder.build().expect("valid")
}

fn dense_row(values: &[f64]) -> Row {
    values.iter().copied().enumerate().collect()
}

fn scaled_row(factor: f64, row: Row) -> Row {
    row.into_iter().map(|(j, v)| (j, factor * v)).collect()
}

/// `fill` normal coefficients of different variables.
fn sparse_row(random: &mut Random, n: usize, fill: usize) -> Row {
    let columns = random.some_of(n, fill);
    columns.into_iter().map(|j| (j, random.normal())).collect()
}

/// Normal, or zero as often.
fn sparse_normal(random: &mut Random) -> f64 {
    let value = random.normal();
    if random.uniform() < 0.5 { value } else { 0.0 }
}

/// A random symmetric matrix, column-major.
fn symmetric(random: &mut Random, order: usize, size: f64) -> Vec<f64> {
    let mut matrix = vec![0.0; order * order];
    for j in 0..order {
        for i in 0..=j {
            let value = size * random.normal();
            matrix[j * order + i] = value;
            matrix[i * order + j] = value;
        }
    }
    matrix
}

/// The place of entry (i, j), i <= j, in svec.
fn triangle(i: usize, j: usize) -> usize {
    j * (j + 1) / 2 + i
}

fn unit(len: usize, i: usize, value: f64) -> Vec<f64> {
    let mut e = vec![0.0; len];
    e[i] = value;
    e
}

fn scaled(factor: f64, values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|v| factor * v).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// SplitMix64, kept here so that the library's may change and these problems stay.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// `count` different numbers below n, at most n of them.
    fn some_of(&mut self, n: usize, count: usize) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count.min(n) {
            let j = (self.next() % n as u64) as usize;
            if !chosen.contains(&j) {
                chosen.push(j);
            }
        }
        chosen
    }
}
