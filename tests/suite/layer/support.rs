//! What the layer's tests share: settings that time nothing, owned data, known derivatives.

use conediff::{
    Checked, ClarabelLinearSolver, Cone, ConeProgram, ConicLayer, DataTangent, ForwardSolver,
    Generated, LayerData, LayerSettings, LinearBackend, Settings, Solution, SolutionTangent, solve,
};

use crate::support::relative;

/// A derivative at a refined solution against the one known there.
pub const KNOWN: f64 = 1e-9;

/// Settings under which nothing is timed, so that two runs take the same way.
pub fn untimed() -> LayerSettings {
    let mut settings = LayerSettings {
        forward: ForwardSolver::Clarabel,
        clarabel: ClarabelLinearSolver::Qdldl,
        ..LayerSettings::default()
    };
    settings.settings.linear.backend = LinearBackend::Dense;
    settings
}

/// A program's values in stored order.
pub struct Data {
    pub p: Vec<f64>,
    pub q: Vec<f64>,
    pub a: Vec<f64>,
    pub b: Vec<f64>,
}

impl Data {
    pub fn of(program: &ConeProgram) -> Self {
        Self {
            p: program.p().stored_values(),
            q: program.q().to_vec(),
            a: program.a().stored_values(),
            b: program.b().to_vec(),
        }
    }

    pub fn all(&self) -> LayerData<'_> {
        LayerData {
            p: Some(&self.p),
            q: Some(&self.q),
            a: Some(&self.a),
            b: Some(&self.b),
            budget: None,
        }
    }
}

pub fn solve_default(program: &ConeProgram) -> Solution {
    solve(program, &Settings::default()).unwrap()
}

pub fn join(t: &SolutionTangent) -> Vec<f64> {
    [t.x.as_slice(), &t.z, &t.s].concat()
}

pub fn join_data(t: &DataTangent) -> Vec<f64> {
    [t.p.as_slice(), &t.q, &t.a, &t.b].concat()
}

/// The largest of the relative distances in x, z and s.
pub fn distance(a: &Solution, b: &Solution) -> f64 {
    let parts = [(&a.x, &b.x), (&a.z, &b.z), (&a.s, &b.s)];
    parts.iter().fold(0.0, |m, (a, b)| m.max(relative(a, b)))
}

/// Known derivatives at a solution, and how far others are from them.
pub struct Known {
    pub tangent: DataTangent,
    pub cotangent: SolutionTangent,
    dsolution: SolutionTangent,
    gradient: DataTangent,
}

impl Known {
    pub fn at(program: &ConeProgram, solution: &Solution) -> Self {
        Self::of(&Generated::from_solution(program, solution).unwrap())
    }

    pub fn of(generated: &Generated) -> Self {
        let (tangent, dsolution) = generated.known_jvp(1);
        let (cotangent, gradient) = generated.known_vjp(2);
        Self {
            tangent,
            cotangent,
            dsolution,
            gradient,
        }
    }

    pub fn jvp_error(&self, jvp: &Checked<SolutionTangent>) -> f64 {
        relative(&join(&jvp.value), &join(&self.dsolution))
    }

    pub fn vjp_error(&self, vjp: &Checked<DataTangent>) -> f64 {
        relative(&join_data(&vjp.value), &join_data(&self.gradient))
    }

    /// The larger error of the layer's JVP and VJP at its last forward.
    pub fn error(&self, layer: &mut ConicLayer) -> f64 {
        let jvp = self.jvp_error(&layer.jvp(&self.tangent).unwrap());
        jvp.max(self.vjp_error(&layer.backward(&self.cotangent).unwrap()))
    }
}

/// minimize x1^2 / 2 + q'x subject to x1 + x2 <= b1, x1 <= b2, -x1 <= b3, with an entry stored for x2's square: at the values
/// given, x = (0, 1) is the solution; [`INFEASIBLE`] and [`UNBOUNDED`] take it away.
pub fn small() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0, 1, 2], &[0, 1], &[1.0, 0.0]),
        vec![-1.0, -1.0],
        (&[0, 3, 4], &[0, 1, 2, 0], &[1.0, 1.0, -1.0, 1.0]),
        vec![1.0, 2.0, 1.0],
        vec![Cone::Nonnegative(3)],
    )
    .unwrap()
}

/// b of [`small`] without a feasible point.
pub const INFEASIBLE: [f64; 3] = [1.0, -3.0, 1.0];
/// q of [`small`] without a lower bound.
pub const UNBOUNDED: [f64; 2] = [-1.0, 1.0];
