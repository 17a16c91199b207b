//! Known solutions, degenerate and impossible programs, and what one `DenseQp` carries from call to call: nothing.

use super::DenseQp;
use super::kernel::{multiply, solve_lower, solve_lower_transpose};
use crate::random::Random;
use crate::residual::residual_and_size;
use crate::tangent::norm_max;
use crate::{Cone, ConeProgram, Generated, Generator, Settings, Solution, SparseMatrix, refine};
use faer::{Accum, Mat};

fn solve(program: &ConeProgram) -> Option<Solution> {
    DenseQp::new(program)?.solve(program, 1e-8, 200, f64::INFINITY)
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    norm_max(&d)
}

/// The largest part of the optimality conditions, relative to its terms.
fn residual_of(program: &ConeProgram, solution: &Solution) -> f64 {
    let Solution { x, z, s, .. } = solution;
    assert!(z.iter().zip(s).all(|(z, s)| z * s <= 1e-6));
    residual_and_size(program, x, z, s).1
}

/// The error of x and z before and after refinement.
fn errors(generated: &Generated, solution: &Solution) -> (f64, f64) {
    let refined = refine(generated.program(), solution, &Settings::default()).unwrap();
    let error = |s: &Solution| {
        let (x, z) = (generated.x(), generated.z());
        largest_difference(&s.x, x).max(largest_difference(&s.z, z))
            / (1.0 + norm_max(x).max(norm_max(z)))
    };
    (error(solution), error(&refined))
}

/// Checks the programs a generator has; there is none at some densities. `loss` is what a gap of 1e-8 may cost before refinement.
fn assert_known(generators: impl Iterator<Item = Generator>, loss: f64) {
    let (mut tried, mut checked) = (0, 0);
    for generator in generators {
        tried += 1;
        let Ok(generated) = generator.generate() else {
            continue;
        };
        checked += 1;
        let solution = solve(generated.program()).unwrap_or_else(|| panic!("{generator:?}"));
        let (before, after) = errors(&generated, &solution);
        assert!(
            before <= loss,
            "before refinement {before:e}: {generator:?}"
        );
        assert!(after <= 1e-9, "after refinement {after:e}: {generator:?}");
    }
    assert!(checked > tried / 2, "{checked} of {tried}");
}

/// Variables, and cones without, with few and with many equalities, first and in between.
fn shapes() -> impl Iterator<Item = (usize, Vec<Cone>)> {
    [1, 2, 5, 20, 50].into_iter().flat_map(|n| {
        let without = [
            vec![],
            vec![Cone::Nonnegative(n)],
            vec![Cone::Nonnegative(2 * n)],
        ];
        let with = [1, n / 5, n / 2].into_iter().flat_map(move |equalities| {
            let zero = Cone::Zero(equalities);
            [
                vec![zero.clone()],
                vec![zero.clone(), Cone::Nonnegative(n)],
                vec![Cone::Nonnegative(n / 2), zero, Cone::Nonnegative(1)],
            ]
        });
        without.into_iter().chain(with).map(move |cones| (n, cones))
    })
}

#[test]
fn known_solutions_are_found() {
    // Where P's least eigenvalue is 1e-4 the gap says less about x.
    for (condition, loss) in [(1e1, 1e-4), (1e4, 1e-2)] {
        for density in [1.0, 0.1] {
            let generators = shapes().flat_map(|(n, cones)| {
                let generator = Generator::new(n, cones)
                    .with_condition(condition)
                    .with_density(density);
                (0..3).map(move |seed| generator.clone().with_seed(seed))
            });
            assert_known(generators, loss);
        }
    }
}

#[test]
fn linear_programs_are_solved() {
    let generators = [1, 2, 5, 20].into_iter().flat_map(|n| {
        [0, n / 4, n / 2].into_iter().flat_map(move |equalities| {
            let cones = vec![Cone::Zero(equalities), Cone::Nonnegative(3 * n)];
            let generator = Generator::new(n, cones).with_rank(0);
            (0..5).map(move |seed| generator.clone().with_seed(seed))
        })
    });
    assert_known(generators, 1e-4);
}

#[test]
fn a_cost_of_lower_rank_is_no_obstacle() {
    let generators = [1, 5, 15].into_iter().flat_map(|rank| {
        let generator =
            Generator::new(20, vec![Cone::Zero(5), Cone::Nonnegative(40)]).with_rank(rank);
        (0..5).map(move |seed| generator.clone().with_seed(seed))
    });
    assert_known(generators, 1e-4);
}

#[test]
fn eliminating_the_equalities_changes_nothing_but_the_time() {
    for (n, equalities, rows) in [(20, 4, 20), (20, 19, 10), (30, 15, 0)] {
        let cones = vec![Cone::Zero(equalities), Cone::Nonnegative(rows)];
        let generated = Generator::new(n, cones).generate().unwrap();
        let mut qp = DenseQp::new(generated.program()).unwrap();
        assert!(qp.reduced.is_some());
        qp.reduced = None;
        let solution = qp
            .solve(generated.program(), 1e-8, 200, f64::INFINITY)
            .unwrap();
        let (before, after) = errors(&generated, &solution);
        assert!(before <= 1e-4 && after <= 1e-9, "{before:e} {after:e}");
    }
}

/// A program in two or more variables from dense rows.
fn program(p: f64, q: &[f64], rows: &[(&[f64], f64)], cones: Vec<Cone>) -> ConeProgram {
    let n = q.len();
    let indptr: Vec<usize> = (0..=rows.len()).map(|i| i * n).collect();
    let indices: Vec<usize> = rows.iter().flat_map(|_| 0..n).collect();
    let values: Vec<f64> = rows.iter().flat_map(|r| r.0.iter().copied()).collect();
    let diagonal: Vec<usize> = (0..n).collect();
    let pointers: Vec<usize> = (0..=n).collect();
    ConeProgram::from_matrices(
        SparseMatrix::from_csc("P", n, n, &pointers, &diagonal, &vec![p; n]).unwrap(),
        q.to_vec(),
        SparseMatrix::from_csr("A", rows.len(), n, &indptr, &indices, &values).unwrap(),
        rows.iter().map(|r| r.1).collect(),
        cones,
    )
    .unwrap()
}

#[test]
fn infeasible_and_unbounded_programs_have_no_solution() {
    let two = || vec![Cone::Nonnegative(2)];
    let up: &[f64] = &[1.0, 0.0];
    let down: &[f64] = &[-1.0, 0.0];
    for (p, q, rows, cones) in [
        // x1 <= -1 and x1 >= 1, with and without a cost
        (1.0, [0.0, 0.0], vec![(up, -1.0), (down, -1.0)], two()),
        (0.0, [1.0, 1.0], vec![(up, -1.0), (down, -1.0)], two()),
        // x1 = 0 and x1 = 1
        (
            1.0,
            [0.0, 0.0],
            vec![(up, 0.0), (up, 1.0)],
            vec![Cone::Zero(2)],
        ),
        // x1 = 1 and x1 <= 0
        (
            1.0,
            [0.0, 1.0],
            vec![(up, 1.0), (up, 0.0)],
            vec![Cone::Zero(1), Cone::Nonnegative(1)],
        ),
        // minimize -x1 with x1 >= 1; x2 goes anywhere
        (
            0.0,
            [-1.0, 0.0],
            vec![(down, -1.0), (&[0.0, 1.0], 1.0)],
            two(),
        ),
        // minimize x1 with x2 = 0
        (
            0.0,
            [1.0, 0.0],
            vec![(&[0.0, 1.0], 0.0)],
            vec![Cone::Zero(1)],
        ),
        (0.0, [1.0, 0.0], vec![], vec![]),
        // a row without an entry: 0 <= -1 and 0 = 1
        (
            1.0,
            [1.0, 0.0],
            vec![(&[0.0, 0.0], -1.0)],
            vec![Cone::Nonnegative(1)],
        ),
        (
            1.0,
            [1.0, 0.0],
            vec![(&[0.0, 0.0], 1.0)],
            vec![Cone::Zero(1)],
        ),
    ] {
        let program = program(p, &q, &rows, cones);
        assert_eq!(solve(&program), None, "{program:?}");
    }
    // The same with more around it.
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let n = 12;
        let mut rows: Vec<(Vec<f64>, f64)> = (0..10)
            .map(|_| (random.normals(n), random.uniform()))
            .collect();
        let row = random.normals(n);
        rows.push((row.clone(), -1.0));
        rows.push((row.iter().map(|x| -x).collect(), 0.9));
        let rows: Vec<(&[f64], f64)> = rows.iter().map(|r| (r.0.as_slice(), r.1)).collect();
        for zeros in [0, 3] {
            let cones = vec![Cone::Zero(zeros), Cone::Nonnegative(12 - zeros)];
            assert_eq!(solve(&program(1.0, &random.normals(n), &rows, cones)), None);
        }
        let cost = random.normals(n);
        assert_eq!(
            solve(&program(0.0, &cost, &rows[..5], vec![Cone::Nonnegative(5)])),
            None
        );
    }
}

#[test]
fn degenerate_programs_give_a_good_point_or_none() {
    let mut random = Random::new(3);
    let mut solved = 0;
    for case in 0..40 {
        let n = 2 + random.below(12);
        let zeros = random.below(n / 2 + 1);
        let mut rows: Vec<(Vec<f64>, f64)> = Vec::new();
        let inside = random.normals(n);
        for k in 0..zeros + 2 * n {
            let row = random.normals(n);
            let slack = if k < zeros || k % 3 == 0 {
                0.0
            } else {
                random.uniform()
            };
            let value = crate::tangent::dot(&row, &inside) + slack;
            rows.push((row, value));
        }
        // Every equality twice, every third inequality twice.
        let mut all: Vec<(&[f64], f64)> = Vec::new();
        for (row, b) in &rows[..zeros] {
            all.extend([(row.as_slice(), *b); 2]);
        }
        for (k, (row, b)) in rows[zeros..].iter().enumerate() {
            all.push((row, *b));
            if k % 3 == 0 {
                all.push((row, *b));
            }
        }
        let cones = vec![
            Cone::Zero(2 * zeros),
            Cone::Nonnegative(all.len() - 2 * zeros),
        ];
        let program = program(f64::from(case % 2), &random.normals(n), &all, cones);
        if let Some(solution) = solve(&program) {
            solved += 1;
            let residual = residual_of(&program, &solution);
            assert!(residual <= 1e-6, "{residual:e} in case {case}");
        }
    }
    assert!(solved >= 30, "{solved}");
}

#[test]
fn rows_without_a_bound_or_an_entry_are_no_constraint() {
    let generated = Generator::new(8, vec![Cone::Zero(2), Cone::Nonnegative(10)])
        .generate()
        .unwrap();
    let mut b = generated.program().b().to_vec();
    for (i, b) in b.iter_mut().enumerate() {
        // These held nothing at the solution.
        if i > 1 && generated.z()[i] == 0.0 {
            *b = if i % 2 == 0 { f64::INFINITY } else { 1e20 };
        }
    }
    let program = generated.program().with_b(b.clone()).unwrap();
    assert!(!program.unbounded().is_empty());
    let solution = solve(&program).unwrap();
    assert!(largest_difference(&solution.x, generated.x()) <= 1e-6);
    for &i in program.unbounded() {
        assert_eq!((solution.z[i], solution.s[i]), (0.0, b[i]));
    }

    // x1 free of rows, 0 <= 3, 0 = 0, x2 <= 1 as the only row with an entry
    let with_zeros = self::program(
        1.0,
        &[-1.0, -2.0],
        &[(&[0.0, 0.0], 0.0), (&[0.0, 0.0], 3.0), (&[0.0, 1.0], 1.0)],
        vec![Cone::Zero(1), Cone::Nonnegative(2)],
    );
    let solution = solve(&with_zeros).unwrap();
    assert!(largest_difference(&solution.x, &[1.0, 1.0]) <= 1e-7);
    assert!(largest_difference(&solution.z, &[0.0, 0.0, 1.0]) <= 1e-7);
}

#[test]
fn one_solver_for_many_programs_gives_what_new_ones_give() {
    let cones = vec![Cone::Zero(3), Cone::Nonnegative(14)];
    let programs: Vec<ConeProgram> = (0..4)
        .map(|seed| {
            Generator::new(9, cones.clone())
                .with_seed(seed)
                .generate()
                .unwrap()
                .program()
                .clone()
        })
        .collect();
    let mut qp = DenseQp::new(&programs[0]).unwrap();
    let mut reused = |p: &ConeProgram| qp.solve(p, 1e-8, 200, f64::INFINITY);
    for p in &programs {
        assert!(reused(p).is_some());
        // An equality twice, a row without a bound, and no solution: none leaves a trace.
        let mut values = p.a().stored_values();
        for column in values.chunks_mut(17) {
            column[1] = column[0];
        }
        let mut b = p.b().to_vec();
        (b[1], b[5]) = (b[0], 1e30);
        let redundant = p
            .with_values(&p.p().stored_values(), &values)
            .unwrap()
            .with_b(b)
            .unwrap();
        let impossible = p
            .with_values(&p.p().stored_values(), &vec![0.0; values.len()])
            .unwrap();
        for p in [p, &redundant, &impossible, p] {
            assert_eq!(reused(p), solve(p));
        }
    }
}

#[test]
fn what_it_cannot_solve_is_none() {
    for cones in [
        vec![Cone::SecondOrder(3)],
        vec![Cone::Zero(1), Cone::Exponential],
    ] {
        let generated = Generator::new(4, cones).generate().unwrap();
        assert!(DenseQp::new(generated.program()).is_none());
    }
    let large = ConeProgram::from_csc(
        (&[0; 1002], &[], &[]),
        vec![0.0; 1001],
        (&[0; 1002], &[], &[]),
        vec![],
        vec![],
    );
    assert!(DenseQp::new(&large.unwrap()).is_none());
    let make = |n: usize, rows: usize| {
        Generator::new(n, vec![Cone::Nonnegative(rows)])
            .generate()
            .unwrap()
            .program()
            .clone()
    };
    let one = make(4, 6);
    let mut qp = DenseQp::new(&one).unwrap();
    for other in [make(5, 6), make(4, 7), make(3, 1)] {
        assert_eq!(qp.solve(&other, 1e-8, 200, f64::INFINITY), None);
    }
    assert_eq!(qp.solve(&one, 1e-8, 1, f64::INFINITY), None, "iterations");
    assert_eq!(qp.solve(&one, 1e-8, 200, 0.0), None, "time");
    assert!(qp.solve(&one, 1e-8, 200, f64::INFINITY).is_some());
}

#[test]
fn extreme_sizes_neither_panic_nor_give_anything_but_numbers() {
    let generated = Generator::new(6, vec![Cone::Zero(2), Cone::Nonnegative(8)])
        .generate()
        .unwrap();
    let p = generated.program();
    let scaled = |v: Vec<f64>, by: f64| -> Vec<f64> { v.iter().map(|x| x * by).collect() };
    for size in [1e-300, 1e-150, 1e-20, 1e20, 1e150, 1e290] {
        let (pv, av) = (p.p().stored_values(), p.a().stored_values());
        for program in [
            p.with_values(&scaled(pv.clone(), size), &av),
            p.with_values(&pv, &scaled(av.clone(), size)),
            p.with_values(&scaled(pv.clone(), size), &scaled(av.clone(), size)),
            p.with_q(scaled(p.q().to_vec(), size)),
        ]
        .into_iter()
        .flatten()
        {
            if let Some(solution) = solve(&program) {
                assert!(solution.check(&program).is_ok());
            }
        }
    }
}

#[test]
fn triangular_solves_invert_the_triangle() {
    let mut random = Random::new(1);
    for n in (0..20).chain([63, 64, 65]) {
        let entries = random.normals(n * n);
        let l = Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 2.0 + entries[i * n + j].abs(),
            std::cmp::Ordering::Greater => entries[i * n + j] / n as f64,
        });
        let x = random.normals(n);
        let mut b = vec![0.0; n];
        multiply(l.as_ref(), &x, Accum::Replace, &mut b);
        solve_lower(l.as_ref(), &mut b);
        assert!(largest_difference(&b, &x) <= 1e-13, "{n}");
        let transposed = l.transpose().to_owned();
        multiply(transposed.as_ref(), &x, Accum::Replace, &mut b);
        solve_lower_transpose(l.as_ref(), &mut b);
        assert!(largest_difference(&b, &x) <= 1e-13, "{n}");
    }
}
