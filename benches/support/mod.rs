//! What the benchmarks share: Clarabel alone, items as a layer takes them, and what must hold for a time to count.

#![allow(dead_code)] // Each of its users needs a part of it.

use crate::families::{self, Family, Moving};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use conediff::{
    Cone, ConeProgram, Derivative, Generated, LayerData, SolutionCotangent, SparseMatrix, Wanted,
};
use std::time::Instant;

/// The relative size of a step from item to item.
pub const STEP: f64 = 0.01;

/// The largest residual of a solution, and error of a gradient.
pub const RIGHT: f64 = 1e-9;

/// A family of about n variables.
type Sized = fn(usize) -> Family;

/// Families that grow. The lasso has a fifth as many samples as features, a thousand at most.
pub const SIZED: [(&str, Sized); 2] = [
    ("mpc", |n| families::mpc(n.div_ceil(16), 12, 4, 0)),
    ("lasso", |n| {
        // n = 2 features + samples.
        let features = (5 * n / 11).max(n.saturating_sub(1000) / 2);
        families::lasso(features, (features / 5).min(1000), 0)
    }),
];

/// A program in Clarabel's own types, for Clarabel alone at its default settings.
pub struct Bare {
    p: CscMatrix<f64>,
    q: Vec<f64>,
    a: CscMatrix<f64>,
    b: Vec<f64>,
    cones: Vec<SupportedConeT<f64>>,
}

impl Bare {
    pub fn new(program: &ConeProgram) -> Self {
        assert!(program.unbounded().is_empty(), "every row has a bound");
        Self {
            p: csc(program.p()),
            q: program.q().to_vec(),
            a: csc(program.a()),
            b: program.b().to_vec(),
            cones: program.cones().iter().map(supported).collect(),
        }
    }

    /// Makes a solver and solves; true if it was solved. As the library runs it: one thread, no presolve, no chordal decomposition.
    pub fn solve(&self) -> bool {
        let settings = DefaultSettings {
            verbose: false,
            max_threads: 1,
            presolve_enable: false,
            chordal_decomposition_enable: false,
            ..DefaultSettings::default()
        };
        let made = DefaultSolver::new(&self.p, &self.q, &self.a, &self.b, &self.cones, settings);
        let mut solver = made.expect("valid");
        solver.solve();
        matches!(
            solver.solution.status,
            SolverStatus::Solved | SolverStatus::AlmostSolved
        )
    }
}

fn csc(matrix: &SparseMatrix) -> CscMatrix<f64> {
    let pattern = matrix.pattern();
    let (starts, rows) = (pattern.indptr().to_vec(), pattern.indices().to_vec());
    CscMatrix::new(
        matrix.rows(),
        matrix.cols(),
        starts,
        rows,
        matrix.values().to_vec(),
    )
}

fn supported(cone: &Cone) -> SupportedConeT<f64> {
    match cone {
        Cone::Zero(d) => SupportedConeT::ZeroConeT(*d),
        Cone::Nonnegative(d) => SupportedConeT::NonnegativeConeT(*d),
        Cone::SecondOrder(d) => SupportedConeT::SecondOrderConeT(*d),
        Cone::PsdTriangle(k) => SupportedConeT::PSDTriangleConeT(*k),
        Cone::Exponential => SupportedConeT::ExponentialConeT(),
        Cone::Power(a) => SupportedConeT::PowerConeT(*a),
        Cone::GeneralizedPower(a, d) => {
            // Clarabel wants a sum of 1 to the last bit or two.
            let mut a = a.clone();
            if let Some((last, others)) = a.split_last_mut() {
                *last = 1.0 - others.iter().sum::<f64>();
            }
            SupportedConeT::GenPowerConeT(a, *d)
        }
    }
}

/// An item's numbers, those that move.
pub struct Values {
    p: Option<Vec<f64>>,
    q: Option<Vec<f64>>,
    a: Option<Vec<f64>>,
    b: Option<Vec<f64>>,
}

impl Values {
    pub fn new(item: &ConeProgram, moving: Moving) -> Self {
        Self {
            p: moving.p.then(|| item.p().stored_values()),
            q: moving.q.then(|| item.q().to_vec()),
            a: moving.a.then(|| item.a().stored_values()),
            b: moving.b.then(|| item.b().to_vec()),
        }
    }

    pub fn data(&self) -> LayerData<'_> {
        LayerData {
            p: self.p.as_deref(),
            q: self.q.as_deref(),
            a: self.a.as_deref(),
            b: self.b.as_deref(),
            budget: None,
        }
    }
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quality {
    /// Relative residual of the solution.
    pub residual: f64,
    /// Error of the gradient where it is trusted: relative to the known one, all of dP, dq, dA, db in one vector.
    pub error: f64,
    /// Gradients that are not trusted.
    pub doubtful: usize,
}

impl Quality {
    /// Of a derivative's solution and of one VJP there.
    pub fn of(derivative: &Derivative) -> Self {
        let (cotangent, expected) = known(derivative);
        let found = derivative.vjp(&cotangent).expect("fits");
        let join = |t: &conediff::DataCotangent| [t.p.as_slice(), &t.q, &t.a, &t.b].concat();
        let error = relative(&join(&found.value), &join(&expected));
        Self {
            residual: residual(derivative),
            error: if found.trusted { error } else { 0.0 },
            doubtful: usize::from(!found.trusted),
        }
    }

    /// The worse of two.
    pub fn worst(self, other: Self) -> Self {
        Self {
            residual: self.residual.max(other.residual),
            error: self.error.max(other.error),
            doubtful: self.doubtful + other.doubtful,
        }
    }

    pub fn is_right(&self) -> bool {
        self.residual <= RIGHT && self.error <= RIGHT
    }

    /// What a benchmark asserts before it times anything.
    pub fn assert(&self, what: &str) {
        assert!(self.is_right() && self.doubtful == 0, "{what}: {self:?}");
    }
}

/// A cotangent at a derivative's solution and its gradient, known without a linear solve.
pub fn known(derivative: &Derivative) -> (SolutionCotangent, conediff::DataCotangent) {
    let known = Generated::from_solution(derivative.program(), derivative.solution());
    known.expect("a solution").known_vjp(1)
}

/// The relative residual of a derivative's solution; infinite if refinement was not accepted.
fn residual(derivative: &Derivative) -> f64 {
    let refinement = derivative.solution().refinement;
    let accepted = refinement.filter(|r| r.accepted);
    accepted.map_or(f64::INFINITY, |r| r.after)
}

/// |a - b| / |b|, with 0 / 0 = 0.
fn relative(a: &[f64], b: &[f64]) -> f64 {
    let square = |v: f64| v * v;
    let distance: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    let size: f64 = b.iter().copied().map(square).sum();
    if distance == 0.0 {
        0.0
    } else {
        (distance / size).sqrt()
    }
}

/// All parts of the gradient.
pub fn everything() -> Wanted {
    Wanted::default()
}

/// Seconds of one call, and what it gave.
pub fn timed<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = std::hint::black_box(act());
    (start.elapsed().as_secs_f64(), result)
}

/// The median; NaN of nothing.
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}
