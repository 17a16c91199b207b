//! The factorization's back ends agree, and so do the two forms of a PSD block whose matrix is the variable.

use conediff::{
    Checked, Cone, ConeProgram, ConicLayer, DataTangent, Derivative, LinearBackend, LinearSolver,
    Method, Projection, Settings, Solution, SolutionTangent, WarmStart,
};
use std::f64::consts::SQRT_2;

use super::random::recipes;
use super::support::{KNOWN, Known, join, join_data, solve_default, untimed};
use crate::support::{Random, norm, relative};

/// How far two factorizations' answers may be from each other, each with a residual of 1e-12 or less.
const AGREE: f64 = 1e-11;

const BACKENDS: [LinearBackend; 3] = [
    LinearBackend::Dense,
    LinearBackend::Simplicial,
    LinearBackend::Supernodal,
];

/// Generic JVP and VJP at a solution.
fn derivatives(
    program: &ConeProgram,
    solution: &Solution,
    settings: &Settings,
) -> (Checked<SolutionTangent>, Checked<DataTangent>) {
    let derivative = Derivative::new(program, solution, settings).unwrap();
    let jvp = derivative.jvp(&DataTangent::random(program, 1)).unwrap();
    let vjp = derivative
        .vjp(&SolutionTangent::random(program, 2))
        .unwrap();
    assert!(jvp.trusted && vjp.trusted, "{:?}", jvp.warnings);
    (jvp, vjp)
}

fn with_backend(backend: LinearBackend) -> Settings {
    let mut settings = Settings::default().with_linear_solver(LinearSolver::Ldl);
    settings.linear.backend = backend;
    settings
}

#[test]
fn the_back_ends_of_the_factorization_agree_on_every_cone() {
    let mut worst = 0.0_f64;
    for condition in [1e1, 1e3] {
        for (name, recipe) in recipes() {
            for seed in 0..3 {
                let recipe = recipe.clone().with_seed(seed).with_condition(condition);
                let generated = recipe.generate().unwrap();
                let program = generated.program();
                let solution = solve_default(program);
                let [dense, simplicial, supernodal] =
                    BACKENDS.map(|b| derivatives(program, &solution, &with_backend(b)));
                for (jvp, vjp) in [simplicial, supernodal] {
                    assert_eq!(jvp.evidence.method, Method::Ldl);
                    let forward = relative(&join(&jvp.value), &join(&dense.0.value));
                    let backward = relative(&join_data(&vjp.value), &join_data(&dense.1.value));
                    let error = forward.max(backward);
                    assert!(
                        error <= AGREE,
                        "{name} {seed} at {condition:.0e}: {error:e}"
                    );
                    worst = worst.max(error);
                }
            }
        }
    }
    println!("back ends: {worst:.1e}");
}

#[test]
fn a_layer_on_each_back_end_is_right() {
    for (name, recipe) in recipes() {
        let generated = recipe.generate().unwrap();
        for backend in BACKENDS {
            let mut settings = untimed();
            settings.settings.linear.backend = backend;
            let mut layer = ConicLayer::new(generated.program(), settings).unwrap();
            // Twice: the second forward starts from the first one's memory.
            for _ in 0..2 {
                layer.forward_program(generated.program()).unwrap();
                let error = Known::of(&generated).error(&mut layer);
                assert!(error <= 1e-8, "{name} {backend:?}: {error:e}");
            }
        }
    }
}

#[test]
fn a_layer_with_each_method_is_right_cold_and_from_the_item_before() {
    for (name, recipe) in recipes() {
        let generated = recipe.generate().unwrap();
        let program = generated.program();
        for solver in [
            LinearSolver::Auto,
            LinearSolver::Ldl,
            LinearSolver::Lu,
            LinearSolver::Lsqr,
        ] {
            for start in [WarmStart::Off, WarmStart::Previous] {
                let mut settings = untimed().with_warm_start(start);
                settings.settings.linear.solver = solver;
                let mut layer = ConicLayer::new(program, settings).unwrap();
                for factor in [1.0, 1.0 + 1e-5, 1.01, 1e4, 1.0] {
                    let q: Vec<f64> = program.q().iter().map(|q| factor * q).collect();
                    let b: Vec<f64> = program.b().iter().map(|b| factor * b).collect();
                    let moved = program.with_data(None, Some(&q), None, Some(&b)).unwrap();
                    let solution = layer.forward_program(&moved).unwrap().clone();
                    let error = Known::at(&moved, &solution).error(&mut layer);
                    assert!(error <= KNOWN, "{name} {solver:?} {factor}: {error:e}");
                    let error = relative(
                        &solution.x,
                        &generated
                            .x()
                            .iter()
                            .map(|x| factor * x)
                            .collect::<Vec<f64>>(),
                    );
                    assert!(error <= KNOWN, "{name} {solver:?} {factor}: {error:e}");
                }
            }
        }
    }
}

/// How the rows of a PSD block hold its variables.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    /// -x, in svec's order.
    Plain,
    /// Each row times its own nonzero factor, and the variables in another order.
    Scaled,
    /// X itself as the variable: rows -x_ii and -sqrt 2 x_ij.
    Matrix,
}

/// What else touches the variables.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extra {
    Nothing,
    /// A cost of 0.35 |S x|^2, which no rotation of the block changes.
    EvenCost,
    /// A stored zero of P beside its diagonal.
    Coupling,
    /// An entry of P too small to matter.
    TinyCost,
    /// A second-order cone with stored zeros there.
    Cone,
}

/// Equalities, inequalities, a PSD block of the given order whose matrix is the variable, another one of order 2 whose matrix is
/// not, and three more variables with a cost, around a chosen solution. The variables of the PSD block are the first ones.
fn variable_block(
    order: usize,
    positive: usize,
    rows: Rows,
    extra: Extra,
    seed: u64,
) -> ConeProgram {
    let mut random = Random::new(seed);
    let block = order * (order + 1) / 2;
    let n = block + 3;
    let is_diagonal: Vec<bool> = (0..order)
        .flat_map(|j| (0..=j).map(move |i| i == j))
        .collect();
    let mut order_of: Vec<usize> = (0..block).collect();
    if rows == Rows::Scaled {
        for k in (1..block).rev() {
            order_of.swap(k, random.below(k + 1));
        }
    }
    let mut cones = vec![
        Cone::Zero(order),
        Cone::Nonnegative(6),
        Cone::PsdTriangle(order),
        Cone::PsdTriangle(2),
    ];
    let (top, first) = (order + 6, order + 6);
    // Column by column: (row, value).
    let mut columns: Vec<Vec<(usize, f64)>> = Vec::new();
    for j in 0..block + 3 {
        let mut column: Vec<(usize, f64)> = (0..top)
            .filter(|i| (i + j) % 3 != 0)
            .map(|i| (i, 0.5 * random.normal()))
            .collect();
        if let Some(&row) = order_of.get(j) {
            let factor = match rows {
                Rows::Plain => -1.0,
                Rows::Matrix if is_diagonal[row] => -1.0,
                Rows::Matrix => -SQRT_2,
                Rows::Scaled => {
                    (0.3 + random.unit()) * if random.below(2) == 0 { 1.0 } else { -1.0 }
                }
            };
            column.push((first + row, factor));
        } else {
            column.extend((0..3).map(|i| (first + block + i, random.normal())));
        }
        if extra == Extra::Cone && j < 3 {
            column.push((first + block + 3 + j, 0.0));
        }
        columns.push(column);
    }
    let m = first + block + 3 + if extra == Extra::Cone { 3 } else { 0 };

    // v: equalities anything, two inequalities active, the blocks with eigenvalues away from zero.
    let mut v = random.normal_vec(order);
    v.extend([0.6, 0.9, -0.7, -0.5, -0.8, -0.4]);
    v.extend(eigenvalues(order, positive, &mut random));
    v.extend(eigenvalues(2, 1, &mut random));
    if extra == Extra::Cone {
        cones.push(Cone::SecondOrder(3));
        v.extend([-1.0, 0.3, 0.2]);
    }
    let x = random.normal_vec(n);
    let projection = Projection::new(&cones, &v).unwrap();
    let (z, s) = (projection.z(), projection.s());

    let mut p: Vec<Vec<(usize, f64)>> = vec![Vec::new(); n];
    match extra {
        Extra::EvenCost => {
            for (j, column) in p.iter_mut().enumerate().take(block) {
                let own = |e: &&(usize, f64)| (first..first + block).contains(&e.0);
                let scale = columns[j].iter().find(own).unwrap().1;
                column.push((j, 0.7 * scale * scale));
            }
        }
        Extra::Coupling => p[1].push((0, 0.0)),
        Extra::TinyCost => p[0].push((0, 1e-30)),
        _ => {}
    }
    for (k, column) in p.iter_mut().enumerate().skip(block) {
        column.push((k, 0.5 + random.unit()));
    }
    let mut b = s.to_vec();
    let mut q = vec![0.0; n];
    for j in 0..n {
        for &(i, value) in &p[j] {
            assert!(i == j || value == 0.0);
            q[j] -= value * x[j];
        }
        for &(i, value) in &columns[j] {
            b[i] += value * x[j];
            q[j] -= value * z[i];
        }
    }
    let compress = |columns: &[Vec<(usize, f64)>]| {
        let mut starts = vec![0];
        for column in columns {
            starts.push(starts[starts.len() - 1] + column.len());
        }
        let (rows, values): (Vec<usize>, Vec<f64>) = columns.iter().flatten().copied().unzip();
        (starts, rows, values)
    };
    let (p, a) = (compress(&p), compress(&columns));
    assert_eq!(b.len(), m);
    ConeProgram::from_csc((&p.0, &p.1, &p.2), q, (&a.0, &a.1, &a.2), b, cones).unwrap()
}

/// svec of a random symmetric matrix with so many positive eigenvalues, all of size 0.5 to 1.5.
fn eigenvalues(order: usize, positive: usize, random: &mut Random) -> Vec<f64> {
    // Householder: I - 2 u u', twice.
    let mut q: Vec<Vec<f64>> = (0..order)
        .map(|i| (0..order).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for _ in 0..2 {
        let u = random.normal_vec(order);
        let size = norm(&u).powi(2);
        for row in &mut q {
            let along: f64 = row.iter().zip(&u).map(|(a, b)| a * b).sum();
            row.iter_mut()
                .zip(&u)
                .for_each(|(a, b)| *a -= 2.0 * along * b / size);
        }
    }
    let values: Vec<f64> = (0..order)
        .map(|k| (0.5 + random.unit()) * if k < positive { 1.0 } else { -1.0 })
        .collect();
    let mut out = Vec::new();
    for j in 0..order {
        for i in 0..=j {
            let entry: f64 = (0..order).map(|k| q[i][k] * values[k] * q[j][k]).sum();
            out.push(if i == j { entry } else { SQRT_2 * entry });
        }
    }
    out
}

/// Every shape of the block: its order and how many eigenvalues of v are positive, so that solutions are unique and regular.
const SHAPES: [(usize, usize); 4] = [(3, 2), (4, 2), (5, 2), (6, 3)];

#[test]
fn a_psd_block_that_is_the_variable_gives_the_derivatives_of_lu() {
    let mut worst = 0.0_f64;
    for (order, positive) in SHAPES {
        for (rows, extra) in [
            (Rows::Plain, Extra::Nothing),
            (Rows::Scaled, Extra::Nothing),
            (Rows::Matrix, Extra::Nothing),
            (Rows::Plain, Extra::EvenCost),
            (Rows::Scaled, Extra::EvenCost),
        ] {
            for seed in 0..3 {
                let program = variable_block(order, positive, rows, extra, seed);
                let solution = solve_default(&program);
                let lu = Settings::default().with_linear_solver(LinearSolver::Lu);
                let (jvp, vjp) = derivatives(&program, &solution, &lu);
                assert_eq!(jvp.evidence.method, Method::Lu);
                for backend in BACKENDS {
                    let (j, v) = derivatives(&program, &solution, &with_backend(backend));
                    assert_eq!(j.evidence.method, Method::Ldl);
                    let forward = relative(&join(&j.value), &join(&jvp.value));
                    let backward = relative(&join_data(&v.value), &join_data(&vjp.value));
                    let error = forward.max(backward);
                    assert!(
                        error <= AGREE,
                        "{order} {rows:?} {seed} {backend:?}: {error:e}"
                    );
                    worst = worst.max(error);
                }
            }
        }
    }
    println!("variable blocks against LU: {worst:.1e}");
}

#[test]
fn a_psd_block_has_the_same_derivatives_as_variable_and_as_rows() {
    let mut worst = 0.0_f64;
    for (order, positive) in SHAPES {
        for rows in [Rows::Plain, Rows::Scaled, Rows::Matrix] {
            let free = variable_block(order, positive, rows, Extra::Nothing, 7);
            let mut layer = ConicLayer::new(&free, untimed()).unwrap();
            let solution = layer.forward_program(&free).unwrap().clone();
            let bytes = layer.item_bytes(0);
            let cotangent = SolutionTangent::random(&free, 2);
            let expected = layer.backward(&cotangent).unwrap();
            let error = Known::at(&free, &solution).error(&mut layer);
            assert!(error <= KNOWN, "{order} {rows:?}: {error:e}");
            for extra in [Extra::Coupling, Extra::TinyCost, Extra::Cone] {
                let held = variable_block(order, positive, rows, extra, 7);
                let mut layer = ConicLayer::new(&held, untimed()).unwrap();
                let solution = layer.forward_program(&held).unwrap().clone();
                // The other form stores the block's rows on every column: it was really the other one.
                assert!(order < 5 || layer.item_bytes(0) > bytes + bytes / 20);
                let error = Known::at(&held, &solution).error(&mut layer);
                assert!(error <= KNOWN, "{order} {rows:?} {extra:?}: {error:e}");
                let mut longer = cotangent.clone();
                longer.z.resize(held.m(), 0.0);
                longer.s.resize(held.m(), 0.0);
                let found = layer.backward(&longer).unwrap();
                let error = relative(&found.value.q, &expected.value.q)
                    .max(relative(&found.value.b[..free.m()], &expected.value.b));
                assert!(error <= KNOWN, "{order} {rows:?} {extra:?}: {error:e}");
                worst = worst.max(error);
            }
        }
    }
    println!("variable blocks against rows: {worst:.1e}");
}

/// The program with the entry of A at a row and column set, and b with it so that its solution stays.
fn with_entry(
    program: &ConeProgram,
    row: usize,
    column: usize,
    value: f64,
    x: &[f64],
) -> ConeProgram {
    let pattern = program.a().pattern();
    let range = pattern.indptr()[column]..pattern.indptr()[column + 1];
    let k = range
        .into_iter()
        .find(|&k| pattern.indices()[k] == row)
        .unwrap();
    let (mut a, mut b) = (program.a().stored_values(), program.b().to_vec());
    b[row] += (value - a[k]) * x[column];
    a[k] = value;
    program.with_data(None, None, Some(&a), Some(&b)).unwrap()
}

#[test]
fn a_psd_block_that_is_the_variable_may_lose_an_entry() {
    let order = 4;
    let first = order + 6;
    let program = variable_block(order, 2, Rows::Plain, Extra::Nothing, 3);
    let x = solve_default(&program).x;
    for value in [1e-3, 2e-4, 1e-5, 1e-9, 0.0] {
        // Row (0, 1) of the block no longer depends on its variable, which other rows hold.
        let without = with_entry(&program, first + 1, 1, value, &x);
        assert!(solve_default(&without).refinement.unwrap().accepted);
        let mut layer = ConicLayer::new(&program, untimed()).unwrap();
        for _ in 0..2 {
            layer.forward_program(&program).unwrap();
            let solution = layer.forward_program(&without).unwrap().clone();
            assert!(solution.refinement.unwrap().accepted);
            let error = Known::at(&without, &solution).error(&mut layer);
            assert!(error <= KNOWN, "{value:e}: {error:e}");
        }
    }
}

#[test]
fn a_psd_block_that_is_the_variable_may_lose_all_entries() {
    // x fixed by three equalities, and -x + s = b for a PSD s; then s = b.
    let make = |factor: f64, b: [f64; 6]| {
        let (starts, rows) = ([0, 2, 4, 6], [0, 3, 1, 4, 2, 5]);
        let values = [1.0, factor, 2.0, factor, 1.0, factor];
        let cones = vec![Cone::Zero(3), Cone::PsdTriangle(2)];
        let none = (&[0, 0, 0, 0][..], &[][..], &[][..]);
        ConeProgram::from_csc(
            none,
            vec![1.0, -2.0, 0.5],
            (&starts, &rows, &values),
            b.to_vec(),
            cones,
        )
    };
    let b = [1.0, 0.5, 2.0, 1.0, 0.3, 2.0];
    let mut layer = ConicLayer::new(&make(-1.0, b).unwrap(), untimed()).unwrap();
    for factor in [-1.0, 0.0, -1.0, 0.0] {
        let program = make(factor, b).unwrap();
        let solution = layer.forward_program(&program).unwrap().clone();
        assert!(relative(&solution.x, &[1.0, 0.25, 2.0]) <= KNOWN);
        let error = Known::at(&program, &solution).error(&mut layer);
        assert!(error <= KNOWN, "{factor}: {error:e}");
    }
}
