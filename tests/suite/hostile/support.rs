//! Small programs, dense algebra and a dense derivative that shares no code with the library's.

use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Error, Projection, Result, Settings, Solution,
    SolutionTangent, solve,
};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// As many cases, the same in every run unless HOSTILE_SEED says otherwise.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: match std::env::var("HOSTILE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
        {
            Some(seed) => RngSeed::Fixed(seed),
            None => RngSeed::Fixed(1),
        },
        ..ProptestConfig::default()
    }
}

/// (row, column, value).
pub type Entry = (usize, usize, f64);
/// Column pointers, row indices, values.
pub type Columns = (Vec<usize>, Vec<usize>, Vec<f64>);

/// Compressed columns from entries in any order; explicit zeros stay.
pub fn csc(cols: usize, entries: &[Entry]) -> Columns {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|e| (e.1, e.0));
    let indptr = (0..=cols)
        .map(|j| sorted.iter().filter(|e| e.1 < j).count())
        .collect();
    (
        indptr,
        sorted.iter().map(|e| e.0).collect(),
        sorted.iter().map(|e| e.2).collect(),
    )
}

pub fn build(
    p: &[Entry],
    q: &[f64],
    a: &[Entry],
    b: &[f64],
    cones: &[Cone],
) -> Result<ConeProgram> {
    let (p, a) = (csc(q.len(), p), csc(q.len(), a));
    ConeProgram::from_csc(
        (&p.0, &p.1, &p.2),
        q.to_vec(),
        (&a.0, &a.1, &a.2),
        b.to_vec(),
        cones.to_vec(),
    )
}

pub fn program(p: &[Entry], q: &[f64], a: &[Entry], b: &[f64], cones: &[Cone]) -> ConeProgram {
    build(p, q, a, b, cones).expect("a valid program")
}

/// The error of a call that must fail.
pub fn error<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this call should have failed"),
        Err(error) => error,
    }
}

pub fn norm(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, v| {
        if v.is_nan() {
            f64::INFINITY
        } else {
            m.max(v.abs())
        }
    })
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub fn assert_near(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let scale = norm(expected).max(norm(actual));
    for (k, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance * scale,
            "entry {k}: {a:e} instead of {e:e} (largest {scale:e})\n{actual:?}\n{expected:?}"
        );
    }
}

pub fn flat(g: &DataTangent) -> Vec<f64> {
    [&g.p[..], &g.q, &g.a, &g.b].concat()
}

pub fn flat_solution(t: &SolutionTangent) -> Vec<f64> {
    [&t.x[..], &t.z, &t.s].concat()
}

pub fn derivative(program: &ConeProgram) -> Derivative {
    let settings = Settings::default();
    let solution = solve(program, &settings).expect("a solution");
    Derivative::new(program, &solution, &settings).expect("a derivative")
}

/// A program with a known solution: P, A and the cones are given, (x, v) chosen.
pub fn around(
    p: &[Entry],
    a: &[Entry],
    cones: &[Cone],
    x: &[f64],
    v: &[f64],
) -> (ConeProgram, Solution) {
    let projection = Projection::new(cones, v).expect("a projection");
    let (z, s) = (projection.z(), projection.s());
    let mut q = vec![0.0; x.len()];
    for &(i, j, value) in p {
        q[i] -= value * x[j];
        if i != j {
            q[j] -= value * x[i];
        }
    }
    let mut b = s.to_vec();
    for &(i, j, value) in a {
        q[j] -= value * z[i];
        b[i] += value * x[j];
    }
    let program = program(p, &q, a, &b, cones);
    let solution = Solution::given(&program, x.to_vec(), z.to_vec(), s.to_vec()).expect("fits");
    (program, solution)
}

pub const REGULAR_P: [Entry; 6] = [
    (0, 0, 2.0),
    (0, 1, 0.5),
    (1, 1, 1.5),
    (1, 3, -0.25),
    (2, 2, 1.0),
    (3, 3, 0.75),
];

pub const REGULAR_A: [Entry; 14] = [
    (0, 0, 1.0),
    (0, 2, -0.5),
    (1, 1, 1.25),
    (2, 0, -1.0),
    (2, 3, 0.75),
    (3, 2, 1.5),
    (4, 0, 0.25),
    (4, 1, -1.0),
    (5, 1, 0.5),
    (5, 2, 1.0),
    (6, 3, 1.0),
    (6, 0, 0.5),
    (3, 1, 0.125),
    (1, 3, -0.5),
];

/// Equality, inequality and second-order rows, far from every kink: four variables, seven rows.
pub fn regular() -> ConeProgram {
    let cones = [Cone::Zero(1), Cone::Nonnegative(3), Cone::SecondOrder(3)];
    let x = [0.5, -1.0, 0.75, 0.25];
    let v = [0.5, 1.0, -0.75, -1.5, 0.25, 1.0, -0.5];
    around(&REGULAR_P, &REGULAR_A, &cones, &x, &v).0
}

/// A' y for the program's A.
pub fn transpose_product(program: &ConeProgram, y: &[f64]) -> Vec<f64> {
    let a = dense(program).1;
    (0..program.n())
        .map(|j| (0..program.m()).map(|i| a[i][j] * y[i]).sum())
        .collect()
}

pub fn product(program: &ConeProgram, x: &[f64]) -> Vec<f64> {
    dense(program).1.iter().map(|row| dot(row, x)).collect()
}

pub fn p_product(program: &ConeProgram, x: &[f64]) -> Vec<f64> {
    dense(program).0.iter().map(|row| dot(row, x)).collect()
}

type Dense = Vec<Vec<f64>>;

/// P whole and A.
pub fn dense(program: &ConeProgram) -> (Dense, Dense) {
    let (n, m) = (program.n(), program.m());
    let (mut p, mut a) = (vec![vec![0.0; n]; n], vec![vec![0.0; n]; m]);
    for j in 0..n {
        let pattern = program.p().pattern();
        for k in pattern.indptr()[j]..pattern.indptr()[j + 1] {
            p[pattern.indices()[k]][j] = program.p().values()[k];
            p[j][pattern.indices()[k]] = program.p().values()[k];
        }
        let pattern = program.a().pattern();
        for k in pattern.indptr()[j]..pattern.indptr()[j + 1] {
            a[pattern.indices()[k]][j] = program.a().values()[k];
        }
    }
    (p, a)
}

/// The derivative of the projection onto K* from its textbook formula: zero, nonnegative and second-order cones.
fn dense_projection(cones: &[Cone], v: &[f64]) -> Dense {
    let m = v.len();
    let mut d = vec![vec![0.0; m]; m];
    let mut start = 0;
    for cone in cones {
        let rows = start..start + cone.rows();
        start = rows.end;
        match cone {
            Cone::Zero(_) => rows.for_each(|i| d[i][i] = 1.0),
            Cone::Nonnegative(_) => rows.filter(|&i| v[i] > 0.0).for_each(|i| d[i][i] = 1.0),
            Cone::SecondOrder(_) if !rows.is_empty() => {
                let (t, u) = (v[rows.start], &v[rows.start + 1..rows.end]);
                let length = dot(u, u).sqrt();
                if t > length {
                    rows.for_each(|i| d[i][i] = 1.0);
                } else if t > -length {
                    let r = t / length;
                    let first = rows.start;
                    d[first][first] = 0.5;
                    for i in 0..u.len() {
                        let wi = u[i] / length;
                        d[first][first + 1 + i] = 0.5 * wi;
                        d[first + 1 + i][first] = 0.5 * wi;
                        for j in 0..u.len() {
                            let unit = if i == j { 1.0 + r } else { 0.0 };
                            d[first + 1 + i][first + 1 + j] = 0.5 * (unit - r * wi * u[j] / length);
                        }
                    }
                }
            }
            Cone::SecondOrder(_) => {}
            other => panic!("no dense formula for {other:?}"),
        }
    }
    d
}

/// Gaussian elimination with complete pivoting; `None` if a pivot falls below 1e-13 of the first.
fn eliminate(mut a: Dense, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    let mut order: Vec<usize> = (0..n).collect();
    let mut first = 0.0;
    for k in 0..n {
        let (mut row, mut column) = (k, k);
        for i in k..n {
            for j in k..n {
                if a[i][j].abs() > a[row][column].abs() {
                    (row, column) = (i, j);
                }
            }
        }
        a.swap(k, row);
        b.swap(k, row);
        order.swap(k, column);
        for line in &mut a {
            line.swap(k, column);
        }
        if k == 0 {
            first = a[k][k].abs();
        }
        if a[k][k].abs() <= 1e-13 * first {
            return None;
        }
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            let pivot = a[k].clone();
            for (x, p) in a[i].iter_mut().zip(&pivot).skip(k) {
                *x -= factor * p;
            }
            b[i] -= factor * b[k];
        }
    }
    let mut y = vec![0.0; n];
    for k in (0..n).rev() {
        let rest: f64 = (k + 1..n).map(|j| a[k][j] * y[j]).sum();
        y[k] = (b[k] - rest) / a[k][k];
    }
    let mut x = vec![0.0; n];
    for (k, &place) in order.iter().enumerate() {
        x[place] = y[k];
    }
    Some(x)
}

/// The VJP at a solution by dense elimination of J'w = -(gx; D gz - (I - D) gs); `None` if J is singular.
pub fn dense_vjp(
    program: &ConeProgram,
    solution: &Solution,
    seed: &SolutionTangent,
) -> Option<DataTangent> {
    let (n, m) = (program.n(), program.m());
    let (p, a) = dense(program);
    let v: Vec<f64> = solution
        .z
        .iter()
        .zip(&solution.s)
        .map(|(z, s)| z - s)
        .collect();
    let d = dense_projection(program.cones(), &v);
    // J = [P, A'D; -A, I - D], transposed.
    let mut transposed = vec![vec![0.0; n + m]; n + m];
    let mut rhs = vec![0.0; n + m];
    for i in 0..n {
        transposed[i][..n].copy_from_slice(&p[i]);
        for k in 0..m {
            transposed[i][n + k] = -a[k][i];
            transposed[n + k][i] = (0..m).map(|l| d[k][l] * a[l][i]).sum();
        }
        rhs[i] = -seed.x[i];
    }
    for k in 0..m {
        for l in 0..m {
            transposed[n + k][n + l] = f64::from(u8::from(k == l)) - d[k][l];
        }
        rhs[n + k] = seed.s[k]
            - (0..m)
                .map(|l| d[k][l] * (seed.z[l] + seed.s[l]))
                .sum::<f64>();
    }
    let w = eliminate(transposed, rhs)?;
    let (x, z) = (&solution.x, &solution.z);
    let mut out = DataTangent::zeros(program);
    out.q.copy_from_slice(&w[..n]);
    out.b.copy_from_slice(&w[n..]);
    let entries = |matrix: &conediff::SparseMatrix| -> Vec<(usize, usize)> {
        let pattern = matrix.pattern();
        (0..matrix.cols())
            .flat_map(|j| (pattern.indptr()[j]..pattern.indptr()[j + 1]).map(move |k| (k, j)))
            .map(|(k, j)| (pattern.indices()[k], j))
            .collect()
    };
    for (k, (i, j)) in entries(program.p()).into_iter().enumerate() {
        out.p[k] = if i == j {
            w[i] * x[i]
        } else {
            w[i] * x[j] + w[j] * x[i]
        };
    }
    for (k, (i, j)) in entries(program.a()).into_iter().enumerate() {
        out.a[k] = z[i] * w[j] - w[n + i] * x[j];
    }
    Some(out)
}
