//! Blocks with any eigenvalues in [0, 1]: D against a dense matrix built from its parts, and LDL' against dense LU of J.

use super::structure::Form;
use super::{Prepared, Structure};
use crate::cone::Cone;
use crate::program::ConeProgram;
use crate::projection::{Block, Diagonal, Projection, Psd, SecondOrder, Spectral};
use crate::random::Random;
use crate::residual::ResidualJacobian;
use crate::settings::{LinearBackend, LinearSettings, LinearSolver};
use crate::svec::{smat, svec};
use faer::Mat;
use faer::linalg::solvers::Solve;

const ALGEBRA: f64 = 1e-13;

/// A cone with a block and the dense matrix it stands for.
struct Sample {
    cone: Cone,
    block: Block,
    dense: Mat<f64>,
}

/// An eigenvalue with its complement: in one case of five each exactly 0, exactly 1, tiny.
fn eigenvalue(random: &mut Random) -> (f64, f64) {
    match random.below(5) {
        0 => (0.0, 1.0),
        1 => (1.0, 0.0),
        2 => (1e-9, 1.0 - 1e-9),
        _ => {
            let x = random.uniform();
            (x, 1.0 - x)
        }
    }
}

fn orthonormal(order: usize, random: &mut Random) -> Mat<f64> {
    let entries = Mat::from_fn(order, order, |_, _| random.normal());
    entries.qr().compute_thin_Q()
}

fn spectral(vectors: &Mat<f64>, values: &[f64]) -> Mat<f64> {
    let scaled = Mat::from_fn(values.len(), values.len(), |i, j| {
        vectors[(i, j)] * values[j]
    });
    &scaled * vectors.transpose()
}

fn orthant(rows: usize, random: &mut Random) -> Sample {
    let values: Vec<(f64, f64)> = (0..rows).map(|_| eigenvalue(random)).collect();
    Sample {
        cone: Cone::Nonnegative(rows),
        dense: Mat::from_fn(rows, rows, |i, j| if i == j { values[i].0 } else { 0.0 }),
        block: Block::Diagonal(Diagonal {
            lambda: values.iter().map(|v| v.0).collect(),
            colambda: values.iter().map(|v| v.1).collect(),
        }),
    }
}

fn second_order(rows: usize, random: &mut Random) -> Sample {
    let mut values = [eigenvalue(random), eigenvalue(random), eigenvalue(random)];
    values.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Equal pairs too.
    match random.below(4) {
        0 => values[1] = values[0],
        1 => values[1] = values[2],
        _ => {}
    }
    let [one, middle, zero] = values;
    let w = random.direction(rows - 1);
    let direction = |sign: f64| {
        let entry = |i: usize| if i == 0 { 1.0 } else { sign * w[i - 1] };
        (0..rows)
            .map(|i| entry(i) / 2.0_f64.sqrt())
            .collect::<Vec<f64>>()
    };
    let (u1, u0) = (direction(1.0), direction(-1.0));
    let dense = Mat::from_fn(rows, rows, |i, j| {
        let rest = if i == j { middle.0 } else { 0.0 };
        rest + (one.0 - middle.0) * u1[i] * u1[j] + (zero.0 - middle.0) * u0[i] * u0[j]
    });
    Sample {
        cone: Cone::SecondOrder(rows),
        block: Block::SecondOrder(SecondOrder::from_parts(w, one, middle, zero)),
        dense,
    }
}

fn psd(order: usize, positive: usize, random: &mut Random) -> Sample {
    let vectors = orthonormal(order, random);
    let mut weights = Mat::<f64>::zeros(order, order);
    for j in 0..order {
        for i in 0..=j.min(positive - 1) {
            let (weight, _) = eigenvalue(random);
            weights[(i, j)] = weight;
            weights[(j, i)] = weight;
        }
    }
    let rows = order * (order + 1) / 2;
    let mut dense = Mat::<f64>::zeros(rows, rows);
    for column in 0..rows {
        let mut unit = vec![0.0; rows];
        unit[column] = 1.0;
        let full = smat(&unit).unwrap();
        let h = Mat::from_fn(order, order, |i, j| full[j * order + i]);
        let rotated = vectors.transpose() * &h * &vectors;
        let weighted = Mat::from_fn(order, order, |i, j| weights[(i, j)] * rotated[(i, j)]);
        let back = &vectors * &weighted * vectors.transpose();
        let entries: Vec<f64> = (0..order * order)
            .map(|k| back[(k % order, k / order)])
            .collect();
        for (row, value) in svec(&entries, order).unwrap().into_iter().enumerate() {
            dense[(row, column)] = value;
        }
    }
    let weight = |i: usize, j: usize| (weights[(i, j)], 1.0 - weights[(i, j)]);
    Sample {
        cone: Cone::PsdTriangle(order),
        block: Block::Psd(Psd::from_parts(positive, vectors, weight)),
        dense,
    }
}

fn exponential(random: &mut Random) -> Sample {
    let vectors = orthonormal(3, random);
    let values: Vec<(f64, f64)> = (0..3).map(|_| eigenvalue(random)).collect();
    let lambda: Vec<f64> = values.iter().map(|v| v.0).collect();
    Sample {
        cone: Cone::Exponential,
        dense: spectral(&vectors, &lambda),
        block: Block::Spectral(Spectral {
            dim: 3,
            vectors: (0..9).map(|k| vectors[(k % 3, k / 3)]).collect(),
            lambda,
            colambda: values.iter().map(|v| v.1).collect(),
        }),
    }
}

fn equalities(rows: usize) -> Sample {
    Sample {
        cone: Cone::Zero(rows),
        block: Block::Identity(rows),
        dense: Mat::identity(rows, rows),
    }
}

/// Each kind of block, of many sizes.
fn samples(random: &mut Random) -> Vec<Sample> {
    let mut samples = vec![orthant(4, random), exponential(random), equalities(2)];
    for rows in [2, 3, 4, 5, 12] {
        samples.push(second_order(rows, random));
    }
    for order in [2, 3, 6] {
        for positive in [1, order - 1, order] {
            samples.push(psd(order, positive, random));
        }
    }
    samples
}

fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, x| m.max(x.abs()))
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    largest(&d)
}

fn multiply(a: &Mat<f64>, u: &[f64]) -> Vec<f64> {
    (0..a.nrows())
        .map(|i| (0..a.ncols()).map(|j| a[(i, j)] * u[j]).sum())
        .collect()
}

#[test]
fn blocks_are_the_matrices_of_their_eigenvalues() {
    let mut random = Random::new(3);
    for _ in 0..40 {
        for Sample { cone, block, dense } in samples(&mut random) {
            let rows = cone.rows();
            assert_eq!(block.rows(), rows);
            let u = random.normals(rows);
            let mut scratch = vec![0.0; 3 * rows * rows];
            let (mut out, mut rest) = (vec![0.0; rows], vec![0.0; rows]);
            block.apply(&u, &mut out, &mut scratch);
            block.apply_complement(&u, &mut rest, &mut scratch);
            let error = difference(&out, &multiply(&dense, &u));
            assert!(error <= 10.0 * ALGEBRA, "{cone:?}: D off by {error:e}");
            let sum: Vec<f64> = out.iter().zip(&rest).map(|(a, b)| a + b).collect();
            let error = difference(&sum, &u);
            assert!(
                error <= 10.0 * ALGEBRA,
                "{cone:?}: D + (I - D) off by {error:e}"
            );
        }
    }
}

/// The program min 1/2 x'Px with rows A in the samples' cones, and J with the samples' blocks.
fn jacobian(p: &Mat<f64>, a: &Mat<f64>, samples: &[Sample]) -> ResidualJacobian {
    let csc = |a: &Mat<f64>| {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for j in 0..a.ncols() {
            for i in (0..a.nrows()).filter(|&i| a[(i, j)] != 0.0) {
                indices.push(i);
                values.push(a[(i, j)]);
            }
            indptr.push(indices.len());
        }
        (indptr, indices, values)
    };
    let (n, m) = (a.ncols(), a.nrows());
    let upper = Mat::from_fn(n, n, |i, j| if i <= j { p[(i, j)] } else { 0.0 });
    let (p, a) = (csc(&upper), csc(a));
    let cones: Vec<Cone> = samples.iter().map(|s| s.cone.clone()).collect();
    let program = ConeProgram::from_csc(
        (&p.0, &p.1, &p.2),
        vec![0.0; n],
        (&a.0, &a.1, &a.2),
        vec![0.0; m],
        cones,
    )
    .unwrap();
    let blocks = samples.iter().map(|s| s.block.clone()).collect();
    let projection = Projection::new(program.cones(), &vec![1.0; m]).unwrap();
    ResidualJacobian::from_parts(program, projection.with_blocks(blocks))
}

/// The worst relative error of LDL' on any back end, transposed or not, against LU of the dense matrix.
fn worst_error(p: &Mat<f64>, a: &Mat<f64>, samples: &[Sample], random: &mut Random) -> f64 {
    let (n, m) = (a.ncols(), a.nrows());
    let mut d = Mat::<f64>::zeros(m, m);
    let mut start = 0;
    for sample in samples {
        for i in 0..sample.cone.rows() {
            for j in 0..sample.cone.rows() {
                d[(start + i, start + j)] = sample.dense[(i, j)];
            }
        }
        start += sample.cone.rows();
    }
    let ad = a.transpose() * &d;
    let dense = Mat::from_fn(n + m, n + m, |i, j| match (i < n, j < n) {
        (true, true) => p[(i, j)],
        (true, false) => ad[(i, j - n)],
        (false, true) => -a[(i - n, j)],
        (false, false) => f64::from(u8::from(i == j)) - d[(i - n, j - n)],
    });
    let jacobian = jacobian(p, a, samples);
    let rhs = random.normals(n + m);
    let mut worst = 0.0_f64;
    for backend in [
        LinearBackend::Dense,
        LinearBackend::Simplicial,
        LinearBackend::Supernodal,
    ] {
        let settings = LinearSettings {
            solver: LinearSolver::Ldl,
            backend,
            ..LinearSettings::default()
        };
        let prepared = Prepared::new(&jacobian, settings).unwrap();
        let mut work = prepared.workspace(&jacobian);
        let mut out = vec![0.0; n + m];
        for transpose in [false, true] {
            let (evidence, matrix) = if transpose {
                (
                    prepared.solve_transpose(&jacobian, &rhs, &mut out, &mut work),
                    dense.transpose().to_owned(),
                )
            } else {
                (
                    prepared.solve(&jacobian, &rhs, &mut out, &mut work),
                    dense.clone(),
                )
            };
            assert!(evidence.unwrap().converged, "{backend:?}");
            let right = Mat::from_fn(n + m, 1, |i, _| rhs[i]);
            let expected = matrix.partial_piv_lu().solve(&right);
            let expected: Vec<f64> = (0..n + m).map(|i| expected[(i, 0)]).collect();
            worst = worst.max(difference(&out, &expected) / largest(&expected));
        }
    }
    worst
}

#[test]
fn ldl_solves_with_any_blocks_as_dense_lu_does() {
    let mut worst = 0.0_f64;
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut chosen = samples(&mut random);
        // A part of them, in any order.
        let order = random.permutation(chosen.len());
        let keep = 1 + random.below(4);
        let mut kept = Vec::new();
        for &k in order.iter().take(keep) {
            kept.push(std::mem::replace(&mut chosen[k], equalities(0)));
        }
        let m: usize = kept.iter().map(|s| s.cone.rows()).sum();
        // More variables than rows: A has full row rank, so that J is regular for any D.
        let n = m + 2;
        let half = Mat::from_fn(n, n, |_, _| random.normal());
        let p = half.transpose() * &half + Mat::<f64>::identity(n, n);
        let a = Mat::from_fn(m, n, |_, _| random.normal());
        worst = worst.max(worst_error(&p, &a, &kept, &mut random));
    }
    println!("largest relative error: {worst:.1e}");
    assert!(worst <= 1e-11, "{worst:e}");
}

#[test]
fn ldl_solves_with_each_large_second_order_block_as_dense_lu_does() {
    let mut worst = 0.0_f64;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let rows = [2, 3, 4, 5, 12][seed as usize % 5];
        let sample = second_order(rows, &mut random);
        let n = rows + 1;
        let a = Mat::from_fn(rows, n, |_, _| random.normal());
        let p = Mat::<f64>::identity(n, n);
        worst = worst.max(worst_error(&p, &a, &[sample], &mut random));
    }
    println!("largest relative error: {worst:.1e}");
    assert!(worst <= 1e-11, "{worst:e}");
}

#[test]
fn ldl_solves_with_a_weighted_matrix_variable_as_dense_lu_does() {
    let mut worst = 0.0_f64;
    for (seed, order) in (0..10).flat_map(|seed| [2, 3, 6].map(|order| (seed, order))) {
        let mut random = Random::new(seed);
        let positive = 1 + random.below(order);
        let matrix = psd(order, positive, &mut random);
        let rows = matrix.cone.rows();
        // The matrix, an equality and a weighted inequality in it, and a second-order cone in variables of its own.
        let others = [
            equalities(1),
            orthant(2, &mut random),
            second_order(5, &mut random),
        ];
        let (n, m) = (rows + 6, rows + 8);
        let mut a = Mat::<f64>::zeros(m, n);
        let is_first = seed % 2 == 0;
        let offset = if is_first { rows } else { 0 };
        for i in 0..rows {
            a[(if is_first { i } else { 8 + i }, i)] = -1.0;
        }
        for i in 0..8 {
            for j in (0..n).filter(|&j| i < 3 || j >= rows) {
                a[(offset + i, j)] = random.normal();
            }
        }
        let p = Mat::from_fn(n, n, |i, j| f64::from(u8::from(i == j)) * 0.5);
        let mut all: Vec<Sample> = others.into();
        all.insert(if is_first { 0 } else { 3 }, matrix);
        let structure = Structure::new(jacobian(&p, &a, &all).program()).unwrap();
        let is_variable = |slots: &super::structure::Slots| matches!(slots.form, Form::Variable(_));
        assert!(structure.slots.iter().any(is_variable));
        worst = worst.max(worst_error(&p, &a, &all, &mut random));
    }
    println!("largest relative error: {worst:.1e}");
    assert!(worst <= 1e-11, "{worst:e}");
}
