//! Programs at kinks, and differences on one side.

use crate::support::{Random, norm};
use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, ProgramBuilder, Settings, Solution,
    SolutionTangent, solve,
};

/// The derivative at a given solution.
pub fn at(program: &ConeProgram, solution: &Solution) -> Derivative {
    Derivative::new(program, solution, &Settings::default()).unwrap()
}

/// minimize 1/2 |x|^2 subject to x1 >= 0 and x1 + x2 <= 1: the first row is weakly active.
pub fn weakly_active() -> (ConeProgram, Derivative) {
    let mut builder = ProgramBuilder::new(2);
    builder.quadratic(0, 0, 1.0);
    builder.quadratic(1, 1, 1.0);
    builder.bounds([0], 0.0, f64::INFINITY);
    builder.inequality(&[(0, 1.0), (1, 1.0)], 1.0);
    let program = builder.build().unwrap();
    let solution = solve(&program, &Settings::default()).unwrap();
    let derivative = at(&program, &solution);
    (program, derivative)
}

/// A block (z, s) at a kink, and its cone.
pub struct Corner {
    pub name: &'static str,
    pub cone: Cone,
    pub z: Vec<f64>,
    pub s: Vec<f64>,
}

/// Every kind of kink whose critical cone is known.
pub fn corners() -> Vec<Corner> {
    let corner = |name, cone, z: &[f64], s: &[f64]| Corner {
        name,
        cone,
        z: z.to_vec(),
        s: s.to_vec(),
    };
    let (e, root) = (std::f64::consts::E, 0.5_f64.sqrt());
    let power = |a: f64| {
        // u_i(s) u_i(z) = alpha_i |w(s)| |w(z)| at u(s) = (2, 1).
        let w = 2.0_f64.powf(a);
        let s = vec![2.0, 1.0, w];
        let z = vec![a * w / 2.0, (1.0 - a) * w, -1.0];
        (z, s)
    };
    let (z_power, s_power) = power(0.3);
    vec![
        corner(
            "orthant",
            Cone::Nonnegative(3),
            &[1.0, 0.0, 0.0],
            &[0.0, 0.0, 2.0],
        ),
        corner(
            "second-order, s = 0",
            Cone::SecondOrder(3),
            &[1.0, 0.6, 0.8],
            &[0.0; 3],
        ),
        corner(
            "second-order, z = 0",
            Cone::SecondOrder(3),
            &[0.0; 3],
            &[1.0, -0.6, 0.8],
        ),
        corner(
            "second-order, apex",
            Cone::SecondOrder(3),
            &[0.0; 3],
            &[0.0; 3],
        ),
        corner(
            "second-order of 6, s = 0",
            Cone::SecondOrder(6),
            &[1.0, 0.6, 0.0, 0.8, 0.0, 0.0],
            &[0.0; 6],
        ),
        corner(
            "psd, one zero",
            Cone::PsdTriangle(3),
            &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 2.0],
        ),
        corner(
            "psd, two zeros",
            Cone::PsdTriangle(3),
            &[0.0; 6],
            &[0.5, root, 0.5, 0.0, 0.0, 0.0],
        ),
        corner("psd, apex", Cone::PsdTriangle(2), &[0.0; 3], &[0.0; 3]),
        corner(
            "exponential, z = 0",
            Cone::Exponential,
            &[0.0; 3],
            &[1.0, 1.0, e],
        ),
        corner(
            "exponential, s = 0",
            Cone::Exponential,
            &[-1.0, 0.0, 1.0 / e],
            &[0.0; 3],
        ),
        corner("exponential, apex", Cone::Exponential, &[0.0; 3], &[0.0; 3]),
        corner(
            "exponential, edge",
            Cone::Exponential,
            &[0.0, 2.0, 0.0],
            &[-1.0, 0.0, 0.0],
        ),
        corner("power, z = 0", Cone::Power(0.3), &[0.0; 3], &s_power),
        corner("power, s = 0", Cone::Power(0.3), &z_power, &[0.0; 3]),
        corner("power, apex", Cone::Power(0.3), &[0.0; 3], &[0.0; 3]),
        corner(
            "generalized power, apex",
            Cone::GeneralizedPower(vec![0.2, 0.8], 2),
            &[0.0; 4],
            &[0.0; 4],
        ),
    ]
}

/// A program whose solution has the block: P = I with full rows of A, so that it is certified.
pub fn program_at(corner: &Corner, seed: u64) -> (ConeProgram, Solution) {
    let mut random = Random::new(seed);
    let m = corner.z.len();
    let n = m + 2;
    let mut a = sprs::TriMat::new((m, n));
    let mut dense = vec![vec![0.0; n]; m];
    for (i, row) in dense.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry = 0.4 * random.normal() + f64::from(u8::from(i == j));
            a.add_triplet(i, j, *entry);
        }
    }
    let x = random.normal_vec(n);
    let q = (0..n)
        .map(|j| -x[j] - (0..m).map(|i| dense[i][j] * corner.z[i]).sum::<f64>())
        .collect();
    let b = (0..m)
        .map(|i| (0..n).map(|j| dense[i][j] * x[j]).sum::<f64>() + corner.s[i])
        .collect();
    let p = sprs::CsMat::eye_csc(n);
    let program = ConeProgram::new(&p, q, &a.to_csc(), b, vec![corner.cone.clone()]).unwrap();
    let solution = Solution::given(&program, x, corner.z.clone(), corner.s.clone()).unwrap();
    (program, solution)
}

/// The program a step along a tangent.
pub fn moved(program: &ConeProgram, tangent: &DataTangent, step: f64) -> ConeProgram {
    let add =
        |v: &[f64], d: &[f64]| -> Vec<f64> { v.iter().zip(d).map(|(v, d)| v + step * d).collect() };
    let p = add(&program.p().stored_values(), &tangent.p);
    let a = add(&program.a().stored_values(), &tangent.a);
    let (q, b) = (add(program.q(), &tangent.q), add(program.b(), &tangent.b));
    program
        .with_data(Some(&p), Some(&q), Some(&a), Some(&b))
        .unwrap()
}

/// (solution(data + step d) - solution) / step, extrapolated from step and step / 2.
pub fn one_sided(
    program: &ConeProgram,
    solution: &Solution,
    tangent: &DataTangent,
    step: f64,
) -> SolutionTangent {
    let quotient = |step: f64| {
        let there = solve(&moved(program, tangent, step), &Settings::default()).unwrap();
        let part = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| (a - b) / step).collect()
        };
        [
            part(&there.x, &solution.x),
            part(&there.z, &solution.z),
            part(&there.s, &solution.s),
        ]
    };
    let (whole, half) = (quotient(step), quotient(0.5 * step));
    let mut parts = whole.into_iter().zip(half).map(|(whole, half)| {
        let both = whole.iter().zip(&half);
        both.map(|(w, h)| 2.0 * h - w).collect::<Vec<f64>>()
    });
    let mut next = || parts.next().unwrap();
    SolutionTangent {
        x: next(),
        z: next(),
        s: next(),
    }
}

/// The largest of the three relative differences, each over the norm of all of the second.
pub fn difference(a: &SolutionTangent, b: &SolutionTangent) -> f64 {
    let size = norm(&[norm(&b.x), norm(&b.z), norm(&b.s)]);
    let part = |a: &[f64], b: &[f64]| {
        let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        norm(&d)
    };
    part(&a.x, &b.x).max(part(&a.z, &b.z)).max(part(&a.s, &b.s)) / size
}

/// The Lasso on the diabetes data, columns of norm 1 and y centred: G = X'X and c = X'y.
pub fn diabetes() -> (Vec<Vec<f64>>, Vec<f64>) {
    let text = include_str!("../../data/diabetes.csv");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|x| x.parse().unwrap()).collect())
        .collect();
    let count = rows.len() as f64;
    let columns: Vec<Vec<f64>> = (0..11)
        .map(|j| {
            let mean = rows.iter().map(|r| r[j]).sum::<f64>() / count;
            let column: Vec<f64> = rows.iter().map(|r| r[j] - mean).collect();
            let scale = if j < 10 { norm(&column) } else { 1.0 };
            column.iter().map(|x| x / scale).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let gram = (0..10)
        .map(|i| (0..10).map(|j| dot(&columns[i], &columns[j])).collect())
        .collect();
    let c = (0..10).map(|j| dot(&columns[j], &columns[10])).collect();
    (gram, c)
}

/// minimize 1/2 b'Gb - c'b + lam |b|_1 with b = u - w, u, w >= 0; x = (u, w).
pub fn lasso(gram: &[Vec<f64>], c: &[f64], lam: f64) -> ConeProgram {
    let p = c.len();
    let mut builder = ProgramBuilder::new(2 * p);
    for i in 0..2 * p {
        for j in i..2 * p {
            let sign = if (i < p) == (j < p) { 1.0 } else { -1.0 };
            builder.quadratic(i, j, sign * gram[i % p][j % p]);
        }
        let sign = if i < p { 1.0 } else { -1.0 };
        builder.linear(i, lam - sign * c[i % p]);
    }
    builder.bounds(0..2 * p, 0.0, f64::INFINITY);
    builder.build().unwrap()
}

/// The direction in which lam grows.
pub fn lasso_tangent(program: &ConeProgram) -> DataTangent {
    let mut tangent = DataTangent::zeros(program);
    tangent.q.fill(1.0);
    tangent
}

/// max t x over x in [0, 1] at t = 0: every x is a solution.
pub fn jump() -> ConeProgram {
    let mut builder = ProgramBuilder::new(1);
    builder.bounds([0], 0.0, 1.0);
    builder.build().unwrap()
}
