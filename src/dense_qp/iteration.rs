//! Mehrotra's predictor-corrector iteration on dense data.
//!
//! One step from (x, y, z, s) with weights W = Z/S solves
//!
//! ```text
//! P dx + E'dy + G'dz = -(P x + q + E'y + G'z)
//! E dx               = -(E x - e)
//! G dx + ds          = -(G x + s - h)
//! S dz + Z ds        = -c
//! ```
//!
//! twice with one factorization: the predictor with c = s z; the corrector with c = s z + ds dz - sigma mu, where mu = s'z / rows,
//! sigma = (mu after the predictor's longest step / mu)^3. x, y, z and s move by one step length, chosen by Mehrotra's rule.

use super::data::Data;
use super::kkt::Kkt;
use crate::tangent::{dot, norm_max};

/// Where a step goes to the boundary, the least and the largest share of the way.
const SHARE: (f64, f64) = (0.9, 0.9999);

/// The share between them aims at this part of the complementarity at the boundary.
const AIM: f64 = 0.1;

/// 946 random programs of condition up to 1e6 took at most 22 iterations; what takes more is no program for this method.
const MAX_ITERATIONS: u32 = 60;

/// A step below this is no progress.
const SHORTEST: f64 = 1e-6;

/// Steps of refinement of one direction.
const MAX_REFINEMENT: usize = 3;

/// A direction is refined where it misses the linear equations by more than this part of their residual.
const MISSED: f64 = 0.1;

/// Relative size of a certificate's residual at which a program is given up.
const CERTIFICATE: f64 = 1e-7;

/// A point, or a direction, with its products.
#[derive(Debug)]
pub(super) struct Iterate {
    /// n.
    pub(super) x: Vec<f64>,
    /// Multipliers of the equalities.
    pub(super) y: Vec<f64>,
    /// Multipliers of the inequalities, positive.
    pub(super) z: Vec<f64>,
    /// Slacks of the inequalities, positive.
    pub(super) s: Vec<f64>,
    /// P x.
    px: Vec<f64>,
    /// E'y + G'z.
    az: Vec<f64>,
    /// E x.
    ex: Vec<f64>,
    /// G x.
    gx: Vec<f64>,
}

impl Iterate {
    fn with_capacity(n: usize, equalities: usize, inequalities: usize) -> Self {
        let zeros = |len| vec![0.0; len];
        Self {
            x: zeros(n),
            y: zeros(equalities),
            z: zeros(inequalities),
            s: zeros(inequalities),
            px: zeros(n),
            az: zeros(n),
            ex: zeros(equalities),
            gx: zeros(inequalities),
        }
    }

    fn resize(&mut self, equalities: usize, inequalities: usize) {
        for v in [&mut self.y, &mut self.ex] {
            v.resize(equalities, 0.0);
        }
        for v in [&mut self.z, &mut self.s, &mut self.gx] {
            v.resize(inequalities, 0.0);
        }
    }

    /// P x, E x and E'y + G'z.
    fn multiply(&mut self, data: &Data) {
        data.p_times(&self.x, &mut self.px);
        data.e_times(&self.x, &mut self.ex);
        self.az.fill(0.0);
        data.e_transpose_add(&self.y, &mut self.az);
        data.g_transpose_add(&self.z, &mut self.az);
    }

    fn advance(&mut self, step: f64, d: &Self) {
        for (v, d) in [
            (&mut self.x, &d.x),
            (&mut self.y, &d.y),
            (&mut self.z, &d.z),
            (&mut self.s, &d.s),
            (&mut self.px, &d.px),
            (&mut self.az, &d.az),
            (&mut self.ex, &d.ex),
            (&mut self.gx, &d.gx),
        ] {
            add(step, d, v);
        }
    }

    /// (s + step ds)'(z + step dz).
    fn gap_after(&self, step: f64, d: &Self) -> f64 {
        let s = self.s.iter().zip(&d.s).map(|(s, d)| s + step * d);
        let z = self.z.iter().zip(&d.z).map(|(z, d)| z + step * d);
        s.zip(z).map(|(s, z)| s * z).sum()
    }
}

/// y += alpha x.
fn add(alpha: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += alpha * x;
    }
}

/// Workspaces of the iteration.
pub(super) struct InteriorPoint {
    pub(super) point: Iterate,
    direction: Iterate,
    kkt: Kkt,
    /// z / s.
    weights: Vec<f64>,
    /// P x + q + E'y + G'z.
    dual: Vec<f64>,
    /// E x - e.
    equality: Vec<f64>,
    /// G x + s - h.
    inequality: Vec<f64>,
    /// What z ds + s dz shall cancel: s z, then s z + ds dz - sigma mu.
    complementarity: Vec<f64>,
    /// complementarity / s - weights inequality.
    shift: Vec<f64>,
    /// Right-hand sides of the refinement.
    missed: (Vec<f64>, Vec<f64>),
}

impl InteriorPoint {
    /// For data of these capacities.
    pub(super) fn new(data: &Data) -> Self {
        let (n, equalities) = (data.n(), data.e.ncols());
        let inequalities = data.g.ncols() + data.bounds.capacity();
        let zeros = |len| vec![0.0; len];
        Self {
            point: Iterate::with_capacity(n, equalities, inequalities),
            direction: Iterate::with_capacity(n, equalities, inequalities),
            kkt: Kkt::new(data),
            weights: zeros(inequalities),
            dual: zeros(n),
            equality: zeros(equalities),
            inequality: zeros(inequalities),
            complementarity: zeros(inequalities),
            shift: zeros(inequalities),
            missed: (zeros(n), zeros(equalities)),
        }
    }

    /// Iterations until `point` solves the program; `None` if it does not get there.
    pub(super) fn run(
        &mut self,
        data: &Data,
        tolerance: f64,
        max_iterations: u32,
        is_late: impl Fn() -> bool,
    ) -> Option<u32> {
        self.resize(data.equalities.len(), data.inequalities.len());
        self.kkt.load(data);
        self.start(data)?;
        for iteration in 0..=max_iterations.min(MAX_ITERATIONS) {
            if self.measure(data, tolerance)? {
                // The products were carried along: now they are made anew.
                self.point.multiply(data);
                data.g_times(&self.point.x, &mut self.point.gx);
                if self.measure(data, tolerance)? {
                    return Some(iteration);
                }
            }
            if is_late() {
                return None;
            }
            self.step(data, tolerance)?;
        }
        None
    }

    fn resize(&mut self, equalities: usize, inequalities: usize) {
        self.point.resize(equalities, inequalities);
        self.direction.resize(equalities, inequalities);
        for v in [
            &mut self.weights,
            &mut self.inequality,
            &mut self.complementarity,
            &mut self.shift,
        ] {
            v.resize(inequalities, 0.0);
        }
        for v in [&mut self.equality, &mut self.missed.1] {
            v.resize(equalities, 0.0);
        }
    }

    /// minimize 1/2 x'Px + q'x + 1/2 |Gx - h|^2 subject to Ex = e, then s = h - Gx and z = -s moved inside.
    fn start(&mut self, data: &Data) -> Option<()> {
        self.weights.fill(1.0);
        self.kkt.factor(data, &self.weights)?;
        let p = &mut self.point;
        for (x, q) in p.x.iter_mut().zip(&data.q) {
            *x = -q;
        }
        data.g_transpose_add(&data.inequalities.rhs, &mut p.x);
        p.y.copy_from_slice(&data.equalities.rhs);
        self.kkt.solve(data, &mut p.x, &mut p.y);
        data.g_times(&p.x, &mut p.gx);
        for (i, h) in data.inequalities.rhs.iter().enumerate() {
            p.s[i] = h - p.gx[i];
            p.z[i] = -p.s[i];
        }
        for v in [&mut p.s, &mut p.z] {
            let least = v.iter().fold(0.0, |m: f64, x| m.min(*x));
            v.iter_mut().for_each(|x| *x -= 1.5 * least);
        }
        let (gap, sum_s, sum_z) = (
            dot(&p.s, &p.z),
            p.s.iter().sum::<f64>(),
            p.z.iter().sum::<f64>(),
        );
        let (more_s, more_z) = if gap > 0.0 {
            (0.5 * gap / sum_z, 0.5 * gap / sum_s)
        } else {
            (1.0, 1.0)
        };
        p.s.iter_mut().for_each(|s| *s += more_s);
        p.z.iter_mut().for_each(|z| *z += more_z);
        p.multiply(data);
        Some(())
    }

    /// The point's residuals. True if they and the gap are within the tolerance; `None` if they are not finite or the point
    /// shows that there is no solution.
    fn measure(&mut self, data: &Data, tolerance: f64) -> Option<bool> {
        let p = &self.point;
        for (j, r) in self.dual.iter_mut().enumerate() {
            *r = p.px[j] + data.q[j] + p.az[j];
        }
        let (equalities, inequalities) = (&data.equalities, &data.inequalities);
        for (i, r) in self.equality.iter_mut().enumerate() {
            *r = p.ex[i] - equalities.rhs[i];
        }
        for (i, r) in self.inequality.iter_mut().enumerate() {
            *r = p.gx[i] + p.s[i] - inequalities.rhs[i];
        }
        let primal = equalities.norm(&self.equality) + inequalities.norm(&self.inequality);
        let primal_size = equalities
            .norm(&p.ex)
            .max(equalities.norm(&equalities.rhs))
            .max(inequalities.norm(&p.gx))
            .max(inequalities.norm(&inequalities.rhs))
            .max(inequalities.norm(&p.s));
        let (px, az) = (norm_max(&p.px), norm_max(&p.az));
        let dual = norm_max(&self.dual);
        let dual_size = px.max(norm_max(&data.q)).max(az);
        let gap = dot(&p.s, &p.z);
        if !(primal + dual + gap).is_finite() {
            return None;
        }
        let (quadratic, linear) = (0.5 * dot(&p.x, &p.px), dot(&data.q, &p.x));
        let bound = dot(&equalities.rhs, &p.y) + dot(&inequalities.rhs, &p.z);
        let objective = (quadratic + linear).abs().min((quadratic + bound).abs());
        if primal <= tolerance * (1.0 + primal_size)
            && dual <= tolerance * (1.0 + dual_size)
            && gap <= tolerance * (1.0 + objective)
        {
            return Some(true);
        }
        // A'z = 0, z >= 0, b'z < 0; or Px = 0, Ex = 0, Gx <= 0, q'x < 0.
        let most = p.gx.iter().fold(norm_max(&p.ex).max(px), |m, x| m.max(*x));
        let is_hopeless = az < -CERTIFICATE * bound || most < -CERTIFICATE * linear;
        (!is_hopeless).then_some(false)
    }

    /// One predictor and one corrector. `None` without a usable direction.
    fn step(&mut self, data: &Data, tolerance: f64) -> Option<()> {
        let count = self.point.s.len();
        for (i, w) in self.weights.iter_mut().enumerate() {
            let (s, z) = (self.point.s[i], self.point.z[i]);
            *w = z / s;
            self.complementarity[i] = s * z;
        }
        self.kkt.factor(data, &self.weights)?;
        if count > 0 {
            self.solve(data);
            let (p, d) = (&self.point, &self.direction);
            let gap = dot(&p.s, &p.z);
            let reached = p.gap_after(boundary(p, d).step.min(1.0), d);
            let aim = (reached / gap).powi(3) * gap / count as f64;
            for (i, c) in self.complementarity.iter_mut().enumerate() {
                *c += d.s[i] * d.z[i] - aim;
            }
        }
        self.solve(data);
        self.direction.multiply(data);
        self.refine(data, tolerance);
        let step = step_length(&self.point, &self.direction);
        // A NaN is not above.
        (step >= SHORTEST).then(|| self.point.advance(step, &self.direction))
    }

    /// The direction for the present residuals and complementarity.
    ///
    /// ds = -(inequality + G dx), dz = weights G dx - shift, and (P + G'WG) dx + E'dy = -dual + G'shift, E dx = -equality.
    fn solve(&mut self, data: &Data) {
        for (i, t) in self.shift.iter_mut().enumerate() {
            *t = self.complementarity[i] / self.point.s[i] - self.weights[i] * self.inequality[i];
        }
        let d = &mut self.direction;
        for (x, r) in d.x.iter_mut().zip(&self.dual) {
            *x = -r;
        }
        data.g_transpose_add(&self.shift, &mut d.x);
        for (y, r) in d.y.iter_mut().zip(&self.equality) {
            *y = -r;
        }
        self.kkt.solve(data, &mut d.x, &mut d.y);
        self.complete(data);
    }

    /// ds and dz from dx.
    fn complete(&mut self, data: &Data) {
        let d = &mut self.direction;
        data.g_times(&d.x, &mut d.gx);
        for i in 0..d.s.len() {
            d.s[i] = -(self.inequality[i] + d.gx[i]);
            d.z[i] = self.weights[i] * d.gx[i] - self.shift[i];
        }
    }

    /// Refines the direction where it misses the linear equations by more than matters.
    fn refine(&mut self, data: &Data, tolerance: f64) {
        let (dual, primal) = (norm_max(&self.dual), norm_max(&self.equality));
        for _ in 0..MAX_REFINEMENT {
            let d = &mut self.direction;
            let (f, g) = &mut self.missed;
            for (j, f) in f.iter_mut().enumerate() {
                *f = -(self.dual[j] + d.px[j] + d.az[j]);
            }
            for (i, g) in g.iter_mut().enumerate() {
                *g = -(self.equality[i] + d.ex[i]);
            }
            if norm_max(f) <= MISSED * dual.max(tolerance)
                && norm_max(g) <= MISSED * primal.max(tolerance)
            {
                return;
            }
            self.kkt.solve(data, f, g);
            add(1.0, f, &mut d.x);
            add(1.0, g, &mut d.y);
            self.complete(data);
            self.direction.multiply(data);
        }
    }
}

/// Where a direction leaves the positive orthant first.
struct Boundary {
    /// Infinite if it never does.
    step: f64,
    /// The row, and whether its slack or its multiplier vanishes there.
    row: usize,
    is_slack: bool,
}

fn boundary(p: &Iterate, d: &Iterate) -> Boundary {
    let mut first = Boundary {
        step: f64::INFINITY,
        row: 0,
        is_slack: true,
    };
    for (is_slack, v, d) in [(true, &p.s, &d.s), (false, &p.z, &d.z)] {
        for (row, (v, d)) in v.iter().zip(d).enumerate() {
            if *d < 0.0 && -v / d < first.step {
                first = Boundary {
                    step: -v / d,
                    row,
                    is_slack,
                };
            }
        }
    }
    first
}

/// Mehrotra's step: so far that the row that meets the boundary keeps a share of the complementarity there.
fn step_length(p: &Iterate, d: &Iterate) -> f64 {
    let Boundary {
        step,
        row,
        is_slack,
    } = boundary(p, d);
    if step.is_infinite() {
        return 1.0;
    }
    let aim = AIM * p.gap_after(step, d) / p.s.len() as f64;
    let kept = if is_slack {
        (p.s[row] - aim / (p.z[row] + step * d.z[row])) / -d.s[row]
    } else {
        (p.z[row] - aim / (p.s[row] + step * d.s[row])) / -d.z[row]
    };
    // `max` also takes care of 0 / 0.
    kept.max(SHARE.0 * step).min(SHARE.1 * step).min(1.0)
}
