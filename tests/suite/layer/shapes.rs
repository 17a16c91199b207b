//! Programs of unusual shape, stored orders, threads, and rows without a bound that come and go.

use conediff::{
    Cone, ConeProgram, ConicLayer, ForwardSolver, Generator, LayerData, LayerSettings, Solution,
    SolutionTangent, SparseMatrix, WarmStart,
};
use sprs::CsMat;

use super::support::{Data, KNOWN, Known, distance, small, solve_default, untimed};
use crate::families;

#[test]
fn the_smallest_programs_are_solved_and_differentiated() {
    for cones in [
        vec![],
        vec![Cone::Zero(1)],
        vec![Cone::Zero(0), Cone::Nonnegative(1)],
        vec![Cone::Nonnegative(3)],
        vec![
            Cone::SecondOrder(0),
            Cone::SecondOrder(1),
            Cone::PsdTriangle(1),
        ],
        vec![Cone::Exponential],
        vec![Cone::GeneralizedPower(vec![1.0], 1)],
    ] {
        for n in [1, 2] {
            for seed in 0..5 {
                let generator = Generator::new(n, cones.clone()).with_seed(seed);
                let generated = generator.generate().unwrap();
                let program = generated.program();
                for warm_start in [WarmStart::Off, WarmStart::Previous] {
                    let settings = LayerSettings::default().with_warm_start(warm_start);
                    let mut layer = ConicLayer::new(program, settings).unwrap();
                    for _ in 0..2 {
                        let solution = layer.forward(&LayerData::default()).unwrap().clone();
                        let error = Known::at(program, &solution).error(&mut layer);
                        assert!(error <= KNOWN, "{cones:?} {n} {seed}: {error:e}");
                        assert!(distance(&solution, &solve_default(program)) <= KNOWN);
                    }
                }
            }
        }
    }
}

#[test]
fn a_program_without_variables_is_solved() {
    let cones = vec![Cone::Nonnegative(2)];
    let none: (&[usize], &[usize], &[f64]) = (&[0], &[], &[]);
    let program = ConeProgram::from_csc(none, vec![], none, vec![1.0, 2.0], cones).unwrap();
    let mut layer = ConicLayer::new(&program, LayerSettings::default()).unwrap();
    for b in [[1.0, 2.0], [3.0, 0.5]] {
        let solution = layer.forward(&LayerData::default().with_b(&b)).unwrap();
        assert_eq!(
            (solution.s.as_slice(), solution.z.as_slice()),
            (&b[..], &[0.0; 2][..])
        );
        let seed = SolutionTangent {
            x: vec![],
            z: vec![0.0; 2],
            s: vec![1.0, -2.0],
        };
        assert_eq!(layer.backward(&seed).unwrap().value.b, [1.0, -2.0]);
    }
    assert!(
        layer
            .forward(&LayerData::default().with_b(&[1.0, -1.0]))
            .is_err()
    );
}

fn by_rows(matrix: &SparseMatrix) -> CsMat<f64> {
    let pattern = matrix.pattern();
    CsMat::new_csc(
        (matrix.rows(), matrix.cols()),
        pattern.indptr().to_vec(),
        pattern.indices().to_vec(),
        matrix.values().to_vec(),
    )
    .to_csr()
}

#[test]
fn values_are_read_and_gradients_given_in_the_callers_stored_order() {
    let cones = vec![Cone::Zero(3), Cone::Nonnegative(9), Cone::SecondOrder(5)];
    let generated = Generator::new(10, cones.clone())
        .with_density(0.4)
        .generate();
    let columns = generated.unwrap().program().clone();
    let (p, a) = (by_rows(columns.p()), by_rows(columns.a()));
    let (q, b) = (columns.q().to_vec(), columns.b().to_vec());
    let rows = ConeProgram::new(&p, q, &a, b, cones).unwrap();
    assert_ne!(rows.a().stored_values(), columns.a().stored_values());
    // What moves must arrive where it belongs.
    let mut moved = Data::of(&rows);
    moved
        .a
        .iter_mut()
        .enumerate()
        .for_each(|(k, a)| *a *= 1.0 + 0.01 * (k % 5) as f64);
    let expected = rows.with_values(&moved.p, &moved.a).unwrap();
    let mut layer = ConicLayer::new(&rows, LayerSettings::default()).unwrap();
    let solution = layer.forward(&moved.all()).unwrap().clone();
    assert!(distance(&solution, &solve_default(&expected)) <= KNOWN);
    let error = Known::at(&expected, &solution).error(&mut layer);
    assert!(error <= KNOWN, "{error:e}");
}

#[test]
fn no_threads_means_one_for_each_processor() {
    let costs = [[-1.0, -1.0], [-2.0, -0.5], [0.3, -0.4]];
    let data = costs.each_ref().map(|q| LayerData::default().with_q(q));
    let run = |threads: usize| -> Vec<Solution> {
        let mut layer = ConicLayer::new(&small(), untimed().with_threads(threads)).unwrap();
        let found = layer.forward_batch(&data);
        found.into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(run(0), run(1));
}

#[test]
fn more_threads_than_items_do_no_harm() {
    let mut layer = ConicLayer::new(&small(), untimed().with_threads(5)).unwrap();
    for count in [1, 2, 7] {
        let found = layer.forward_batch(&vec![LayerData::default(); count]);
        let expected = solve_default(&small());
        assert_eq!(found.len(), count);
        for solution in found {
            assert!(distance(&solution.unwrap(), &expected) <= KNOWN);
        }
    }
}

/// b with a value at some rows.
fn with_rows(program: &ConeProgram, rows: &[usize], value: f64) -> ConeProgram {
    let mut b = program.b().to_vec();
    rows.iter().for_each(|&i| b[i] = value);
    program.with_b(b).unwrap()
}

#[test]
fn rows_without_a_bound_may_change_from_item_to_item() {
    let cones = vec![Cone::Zero(2), Cone::Nonnegative(12), Cone::SecondOrder(4)];
    let curved = Generator::new(10, cones).generate().unwrap();
    let linear = Generator::new(10, vec![Cone::Zero(2), Cone::Nonnegative(16)]);
    let linear = linear.generate().unwrap();
    for base in [curved.program(), linear.program()] {
        let active = |is: bool| -> Vec<usize> {
            let z = solve_default(base).z;
            (2..14).filter(|&i| (z[i] > 0.0) == is).collect()
        };
        let (active, inactive) = (active(true), active(false));
        assert!(active.len() >= 2 && inactive.len() >= 2);
        let mut items = vec![base.clone()];
        for value in [1e20, 1e300, f64::INFINITY] {
            items.push(with_rows(base, &active[..1], value));
            items.push(with_rows(base, &[active[1], inactive[0]], value));
            items.push(base.clone());
        }
        let unbounded = with_rows(base, &[active[0], inactive[1]], f64::INFINITY);
        let given = |program: &ConeProgram| WarmStart::Given(Box::new(solve_default(program)));
        for first in [base, &unbounded] {
            for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
                for start in [
                    WarmStart::Off,
                    WarmStart::Previous,
                    given(base),
                    given(&items[1]),
                    given(&unbounded),
                ] {
                    let settings = untimed().with_forward(forward).with_warm_start(start);
                    let mut layer = ConicLayer::new(first, settings).unwrap();
                    for item in &items {
                        let data = Data::of(item);
                        let data = LayerData::default().with_b(&data.b);
                        let solution = layer.forward(&data).unwrap().clone();
                        let expected = solve_default(item);
                        for &i in item.unbounded() {
                            assert_eq!((solution.z[i], solution.s[i]), (0.0, item.b()[i]));
                        }
                        // Where s is infinite, a norm says nothing.
                        let finite = |s: &Solution| {
                            let mut s = s.clone();
                            item.unbounded().iter().for_each(|&i| s.s[i] = 0.0);
                            s
                        };
                        let error = distance(&finite(&solution), &finite(&expected));
                        assert!(error <= KNOWN, "{error:e}");
                        let error = Known::at(item, &solution).error(&mut layer);
                        assert!(error <= KNOWN, "{error:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_layer_may_be_made_for_a_template_of_zeros() {
    for name in [
        "qp-dense-20",
        "mpc-20",
        "markowitz-200",
        "exp-200",
        "power-30",
        "psd-10",
        "nearest-10",
        "lmi-10",
    ] {
        let family = families::named(name).unwrap();
        let program = &family.program;
        let zeros = |len: usize| vec![0.0; len];
        let template = program
            .with_values(&zeros(program.p().nnz()), &zeros(program.a().nnz()))
            .and_then(|t| t.with_q(zeros(program.n())))
            .and_then(|t| t.with_b(zeros(program.m())))
            .unwrap();
        for forward in [ForwardSolver::Clarabel, ForwardSolver::DenseQp] {
            let settings = untimed().with_forward(forward);
            let mut layer = ConicLayer::new(&template, settings).unwrap();
            for item in [family.item(0, 0.01), family.item(1, 0.01)] {
                let solution = layer.forward(&Data::of(&item).all()).unwrap().clone();
                let off = distance(&solution, &solve_default(&item));
                let error = Known::at(&item, &solution).error(&mut layer);
                assert!(off <= KNOWN && error <= KNOWN, "{name}: {off:e} {error:e}");
            }
        }
    }
}

#[test]
fn a_layer_can_be_moved_to_another_thread() {
    let mut layer = ConicLayer::new(&small(), LayerSettings::default()).unwrap();
    layer.forward(&LayerData::default()).unwrap();
    let thread = std::thread::spawn(move || {
        let seed = SolutionTangent::random(&small(), 1);
        let here = layer.backward(&seed).unwrap().value;
        layer.forward(&LayerData::default()).unwrap();
        here == layer.backward(&seed).unwrap().value
    });
    assert!(thread.join().unwrap());
}
