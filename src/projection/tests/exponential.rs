//! The exponential cone.

use proptest::prelude::*;

use crate::projection::spectral::Piece;

use super::golden::{golden, golden_errors};
use super::support::*;

fn cones() -> Vec<Cone> {
    vec![Cone::Exponential]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn exponential_identities_hold(
        which in any::<prop::sample::Index>(),
        kind in 0_u8..4,
        seed in any::<u64>(),
        exponent in 0.0..16.0,
        scale in -12.0..12.0,
    ) {
        let cone = which.get(&cones()).clone();
        let v = point(&cone, kind, seed, exponent, scale);
        check_identities(&cone, &v).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn exponential_special_values_do_no_harm(which in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let cone = which.get(&cones()).clone();
        check_special(&cone, &special(cone.dim(), seed)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn exponential_pieces_last_within_the_margin(
        which in any::<prop::sample::Index>(),
        kind in 0_u8..4,
        seed in any::<u64>(),
        exponent in 0.0..6.0,
    ) {
        let cone = which.get(&cones()).clone();
        let v = point(&cone, kind, seed, exponent, 0.0);
        check_margin(&cone, &v, &mut Random(seed ^ 1)).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn exponential_elements_equal_central_differences() {
    for cone in cones() {
        let mut random = Random(7);
        let mut counts = [0; 4];
        let (mut worst, mut tested) = (0.0_f64, 0);
        while tested < 1200 {
            let v = random.normals(cone.dim());
            if cone.margin(&v) < 1e-2 {
                continue;
            }
            tested += 1;
            counts[cone.project(&v).piece as usize] += 1;
            worst = worst.max(difference_error(&cone, &v));
        }
        println!("{cone:?}: differences {worst:e}, pieces {counts:?}");
        assert!(worst <= DIFFERENCES, "{cone:?} {worst:e}");
    }
}

#[test]
fn exponential_golden_values_are_met() {
    let errors = golden_errors(&golden(include_str!("../../../tests/data/exponential.csv")));
    println!("exponential: {errors:?}");
    assert!(errors.z <= 1e-14 && errors.s <= 1e-14, "{errors:?}");
    assert!(errors.d <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues_from_exact <= 1e-13, "{errors:?}");
}

#[test]
fn exponential_interior_margins_bound_the_distance_within_sqrt_3() {
    let cone = Cone::Exponential;
    let grid = (0..80_001).map(|i| f64::from(i - 40_000) * 1e-3);
    let mut primal = vec![vec![-1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]];
    let mut dual = vec![vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]];
    for rho in grid {
        primal.push(vec![rho, 1.0, rho.exp()]);
        dual.push(vec![-1.0, rho - 1.0, (-rho).exp()]);
    }
    let mut random = Random(11);
    for _ in 0..300 {
        let v = random.normals(3);
        match cone.project(&v).piece {
            Piece::DualInterior => check_interior_margin(&cone, &v, &primal, 3.0_f64.sqrt()),
            Piece::PolarInterior => check_interior_margin(&cone, &v, &dual, 3.0_f64.sqrt()),
            _ => {}
        }
    }
}

#[test]
fn exponential_margins_vanish_at_every_kink() {
    let cone = Cone::Exponential;
    let kinks = [
        [0.0, 0.0, 0.0],
        [0.0, 1.0, -2.0],
        [0.0, 1.0, 2.0],
        [1.0, 0.0, 2.0],
        [1.0, 0.0, -2.0],
        [1.0, 1.0, 0.0],
        // On the boundaries of -K and of K*.
        [-1.0, -1.0, -std::f64::consts::E],
        [-1.0, 0.0, (-1.0_f64).exp()],
    ];
    let mut random = Random(5);
    for kink in kinks {
        for t in [0.0, 1e-12, 1e-9, 1e-6, 1e-3] {
            let direction = random.normals(3);
            let margin = cone.margin(&axpy(&kink, t / norm(&direction), &direction));
            assert!(margin <= t + 1e-15, "{kink:?} {t} {margin}");
        }
    }
}
