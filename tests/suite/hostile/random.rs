//! Random structures and random degenerate programs: never a panic, never a trusted wrong gradient.

use super::support::{cases, dense_vjp, flat, norm};
use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, LinearSolver, Settings, SolutionTangent,
    SparseMatrix, solve,
};
use proptest::prelude::*;

/// Numbers a careless caller produces, the harmful ones included.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -3.0..3.0f64,
        2 => Just(0.0),
        1 => Just(1e20),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NAN),
        1 => Just(1e-300),
        1 => Just(-1e300),
    ]
}

/// Small integers and zeros: exact ties, dependent and repeated rows.
fn coefficient() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => Just(0.0),
        3 => (-2..=2i32).prop_map(f64::from),
        2 => -1.0..1.0f64,
    ]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn random_compressed_structures_never_panic(
        rows in 0..5usize,
        cols in 0..5usize,
        indptr in prop::collection::vec(0..7usize, 0..7),
        indices in prop::collection::vec(0..6usize, 0..7),
        data in prop::collection::vec(number(), 0..7),
    ) {
        let _ = SparseMatrix::from_csc("A", rows, cols, &indptr, &indices, &data);
        let _ = SparseMatrix::from_csr("A", rows, cols, &indptr, &indices, &data);
        let _ = ConeProgram::from_csc(
            (&indptr, &indices, &data),
            vec![0.0; cols],
            (&indptr, &indices, &data),
            data.clone(),
            vec![Cone::Nonnegative(data.len())],
        );
    }

    #[test]
    fn random_well_formed_programs_with_any_numbers_never_panic(
        n in 0..4usize,
        entries in prop::collection::vec(number(), 16),
        a in prop::collection::vec(number(), 16),
        q in prop::collection::vec(number(), 4),
        b in prop::collection::vec(number(), 4),
        kind in 0..4usize,
    ) {
        let m = 4;
        let cone = [Cone::Zero(4), Cone::Nonnegative(4), Cone::SecondOrder(4), Cone::SecondOrder(4)][kind].clone();
        let indptr: Vec<usize> = (0..=n).map(|j| j * (j + 1) / 2).collect();
        let indices: Vec<usize> = (0..n).flat_map(|j| 0..=j).collect();
        let mut p = entries[..indices.len()].to_vec();
        for j in 0..n {
            // A dominant diagonal where the numbers allow one.
            p[indptr[j + 1] - 1] = 20.0;
        }
        let a_indptr: Vec<usize> = (0..=n).map(|j| m * j).collect();
        let a_indices: Vec<usize> = (0..n).flat_map(|_| 0..m).collect();
        let built = ConeProgram::from_csc(
            (&indptr, &indices, &p),
            q[..n].to_vec(),
            (&a_indptr, &a_indices, &a[..m * n]),
            b.clone(),
            vec![cone],
        );
        if let Ok(program) = built
            && let Ok(solution) = solve(&program, &Settings::default())
        {
            prop_assert!(norm(&solution.x).is_finite() && norm(&solution.z).is_finite());
            let d = Derivative::new(&program, &solution, &Settings::default());
            if let Ok(d) = d {
                let _ = d.vjp(&SolutionTangent::random(&program, 1));
                let _ = d.jvp(&DataTangent::random(&program, 1));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn trusted_gradients_of_random_degenerate_programs_are_right(
        n in 1..5usize,
        equalities in 0..3usize,
        inequalities in 0..5usize,
        second_order in prop::collection::vec(0..4usize, 0..3),
        root in prop::collection::vec(coefficient(), 16),
        rank in 0..5usize,
        entries in prop::collection::vec(coefficient(), 60),
        x in prop::collection::vec(coefficient(), 4),
        slack in prop::collection::vec(prop_oneof![1 => Just(0.0), 2 => 0.0..2.0f64], 15),
        dual in prop::collection::vec(prop_oneof![1 => Just(0.0), 2 => -1.0..1.0f64], 15),
        repeat in prop::option::of((0..15usize, 0..15usize)),
        solver in 0..4usize,
        seed in 0..1000u64,
    ) {
        let mut cones = vec![Cone::Zero(equalities), Cone::Nonnegative(inequalities)];
        cones.extend(second_order.iter().map(|d| Cone::SecondOrder(*d)));
        let m: usize = cones.iter().map(Cone::rows).sum();
        // P = R'R with `rank` rows.
        let (mut p, mut p_indices, mut p_indptr) = (vec![], vec![], vec![0]);
        for j in 0..n {
            for i in 0..=j {
                p.push((0..rank.min(4)).map(|r| root[4 * r + i] * root[4 * r + j]).sum::<f64>());
                p_indices.push(i);
            }
            p_indptr.push(p.len());
        }
        let mut rows: Vec<&[f64]> = (0..m).map(|i| &entries[4 * i..4 * i + 4]).collect();
        if let Some((from, to)) = repeat
            && from < m
            && to < m
        {
            rows[to] = rows[from];
        }
        // Feasible at x: the slack is in K. Bounded: q = -Px - A'z with z in K*, complementary or not.
        let mut s = slack[..m].to_vec();
        let mut z = dual[..m].to_vec();
        s[..equalities].fill(0.0);
        for i in equalities..equalities + inequalities {
            z[i] = if s[i] > 0.0 { 0.0 } else { z[i].abs() };
        }
        let mut start = equalities + inequalities;
        for &d in second_order.iter().filter(|d| **d > 0) {
            let length = |y: &[f64]| y[1..].iter().map(|x| x * x).sum::<f64>().sqrt();
            s[start] = s[start].max(length(&s[start..start + d]));
            z[start] = z[start].abs().max(length(&z[start..start + d]));
            start += d;
        }
        let b: Vec<f64> = (0..m)
            .map(|i| s[i] + (0..n).map(|j| rows[i][j] * x[j]).sum::<f64>())
            .collect();
        let whole = |i: usize, j: usize| p[p_indptr[i.max(j)] + i.min(j)];
        let q: Vec<f64> = (0..n)
            .map(|j| {
                -(0..n).map(|i| whole(j, i) * x[i]).sum::<f64>()
                    - (0..m).map(|i| rows[i][j] * z[i]).sum::<f64>()
            })
            .collect();
        let a: Vec<f64> = (0..n).flat_map(|j| rows.iter().map(move |r| r[j])).collect();
        let a_indptr: Vec<usize> = (0..=n).map(|j| m * j).collect();
        let a_indices: Vec<usize> = (0..n).flat_map(|_| 0..m).collect();
        let program = ConeProgram::from_csc(
            (&p_indptr, &p_indices, &p), q, (&a_indptr, &a_indices, &a), b, cones,
        ).unwrap();
        let linear = [LinearSolver::Auto, LinearSolver::Ldl, LinearSolver::Lu, LinearSolver::Lsqr][solver];
        let settings = Settings::default().with_linear_solver(linear);
        let Ok(solution) = solve(&program, &settings) else { return Ok(()); };
        let Ok(d) = Derivative::new(&program, &solution, &settings) else {
            prop_assert!(linear != LinearSolver::Auto);
            return Ok(());
        };
        let seed_x = SolutionTangent {
            x: SolutionTangent::random(&program, seed).x,
            ..SolutionTangent::zeros(&program)
        };
        for seed in [SolutionTangent::random(&program, seed), seed_x] {
            let g = d.vjp(&seed).unwrap();
            d.jvp(&DataTangent::random(&program, 1)).unwrap();
            if !g.trusted {
                continue;
            }
            let Some(expected) = dense_vjp(&program, d.solution(), &seed) else {
                prop_assert!(false, "trusted at a singular point ({linear:?}): {:?} {:?}", g.evidence, d.solution());
                return Ok(());
            };
            let (actual, expected) = (flat(&g.value), flat(&expected));
            let scale = norm(&expected).max(1.0);
            for (a, e) in actual.iter().zip(&expected) {
                prop_assert!((a - e).abs() <= 1e-6 * scale, "{a:e} instead of {e:e} ({linear:?}): {:?}", g.evidence);
            }
        }
    }
}
