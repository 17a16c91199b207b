//! LSQR alone: right answers, and every stop reason with its cause.

use conediff::{LsqrReport, LsqrSettings, LsqrStop, lsqr};

use crate::support::{Random, norm, relative};

const SETTINGS: LsqrSettings = LsqrSettings {
    tolerance: 1e-13,
    max_iterations: 1000,
    max_condition: 1e13,
};

/// Runs LSQR on a dense matrix given by rows.
fn run(a: &[Vec<f64>], b: &[f64], settings: LsqrSettings) -> (LsqrReport, Vec<f64>) {
    let cols = a[0].len();
    let mut x = vec![0.0; cols];
    let report = lsqr(
        |u, out| {
            for (row, o) in a.iter().zip(out) {
                *o = row.iter().zip(u).map(|(a, u)| a * u).sum();
            }
        },
        |u, out| {
            out.fill(0.0);
            for (row, u) in a.iter().zip(u) {
                for (o, a) in out.iter_mut().zip(row) {
                    *o += a * u;
                }
            }
        },
        b,
        &mut x,
        settings,
    );
    (report, x)
}

fn random(rows: usize, cols: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(7);
    (0..rows).map(|_| random.normal_vec(cols)).collect()
}

fn diagonal(values: &[f64]) -> Vec<Vec<f64>> {
    (0..values.len())
        .map(|i| {
            (0..values.len())
                .map(|j| if i == j { values[i] } else { 0.0 })
                .collect()
        })
        .collect()
}

#[test]
fn a_square_system_is_solved_and_its_condition_estimated() {
    let a = random(20, 20);
    let expected: Vec<f64> = (0..20).map(|k| f64::from(k) - 7.5).collect();
    let b: Vec<f64> = a
        .iter()
        .map(|row| row.iter().zip(&expected).map(|(a, x)| a * x).sum())
        .collect();
    let (report, x) = run(&a, &b, SETTINGS);
    assert_eq!(report.stop, LsqrStop::Solved);
    assert!(
        relative(&x, &expected) <= 1e-9,
        "{:e}",
        relative(&x, &expected)
    );
    let (report, _) = run(&diagonal(&[1.0, 10.0, 100.0]), &[1.0; 3], SETTINGS);
    // The Frobenius-norm estimate lies between the condition number and sqrt(3) times as much again.
    assert!((100.0..=400.0).contains(&report.condition), "{report:?}");
}

#[test]
fn an_inconsistent_system_stops_at_least_squares_with_the_normal_equations_satisfied() {
    let a = random(30, 8);
    let b = Random::new(3).normal_vec(30);
    let (report, x) = run(&a, &b, SETTINGS);
    assert_eq!(report.stop, LsqrStop::LeastSquares);
    let r: Vec<f64> = a
        .iter()
        .zip(&b)
        .map(|(row, b)| b - row.iter().zip(&x).map(|(a, x)| a * x).sum::<f64>())
        .collect();
    for j in 0..8 {
        let gradient: f64 = a.iter().zip(&r).map(|(row, r)| row[j] * r).sum();
        assert!(gradient.abs() <= 1e-10 * norm(&b));
    }
    assert!((report.residual - norm(&r)).abs() <= 1e-10 * norm(&r));
}

#[test]
fn an_underdetermined_system_gets_its_shortest_solution() {
    let (report, x) = run(&[vec![3.0, 4.0]], &[25.0], SETTINGS);
    assert_eq!(report.stop, LsqrStop::Solved);
    assert!(relative(&x, &[3.0, 4.0]) <= 1e-12);
}

#[test]
fn every_other_stop_has_its_reason() {
    let stop = |a: &[Vec<f64>], b: &[f64], settings| run(a, b, settings).0.stop;
    let a = random(10, 10);
    assert_eq!(stop(&a, &[0.0; 10], SETTINGS), LsqrStop::ZeroRightHandSide);
    let few = LsqrSettings {
        max_iterations: 3,
        ..SETTINGS
    };
    let (report, _) = run(&a, &[1.0; 10], few);
    assert_eq!(
        (report.stop, report.iterations),
        (LsqrStop::IterationLimit, 3)
    );
    let strict = LsqrSettings {
        max_condition: 10.0,
        ..SETTINGS
    };
    assert_eq!(
        stop(&diagonal(&[1.0, 1e3, 1e6]), &[1.0; 3], strict),
        LsqrStop::ConditionLimit
    );
    assert_eq!(
        stop(&diagonal(&[1.0, f64::INFINITY]), &[1.0; 2], SETTINGS),
        LsqrStop::NotFinite
    );
    // b orthogonal to the range: zero is the answer.
    assert_eq!(
        stop(&[vec![1.0], vec![0.0]], &[0.0, 1.0], SETTINGS),
        LsqrStop::LeastSquares
    );
}
