//! The power cone.

use proptest::prelude::*;

use crate::projection::spectral::Piece;

use super::golden::{golden, golden_errors};
use super::support::*;

fn cones() -> Vec<Cone> {
    [0.05, 0.2, 0.5, 0.8, 0.95].map(Cone::Power).to_vec()
}

/// With exponents too extreme for differences near an edge.
fn all_cones() -> Vec<Cone> {
    let extreme = [1e-6, 1e-3, 0.01, 0.99, 0.999].map(Cone::Power);
    cones().into_iter().chain(extreme).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn power_identities_hold(
        which in any::<prop::sample::Index>(),
        kind in 0_u8..4,
        seed in any::<u64>(),
        exponent in 0.0..16.0,
        scale in -12.0..12.0,
    ) {
        let cone = which.get(&all_cones()).clone();
        let v = point(&cone, kind, seed, exponent, scale);
        check_identities(&cone, &v).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn power_special_values_do_no_harm(which in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let cone = which.get(&cones()).clone();
        check_special(&cone, &special(cone.dim(), seed)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn power_pieces_last_within_the_margin(
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
fn power_elements_equal_central_differences() {
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
fn power_golden_values_are_met() {
    let errors = golden_errors(&golden(include_str!("../../../tests/data/power.csv")));
    println!("power: {errors:?}");
    assert!(errors.z <= 1e-14 && errors.s <= 1e-14, "{errors:?}");
    assert!(errors.d <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues_from_exact <= 1e-13, "{errors:?}");
}

#[test]
fn power_interior_margins_bound_the_distance_within_sqrt_3() {
    for alpha in [0.05, 0.3, 0.5, 0.95] {
        let cone = Cone::Power(alpha);
        let (mut primal, mut dual) = (vec![], vec![]);
        for i in -40_000..=40_000 {
            // x/y = exp(t) on the boundary of K, with w = 1 or -1.
            let t = 1e-3 * f64::from(i);
            let (x, y) = (((1.0 - alpha) * t).exp(), (-alpha * t).exp());
            for w in [1.0, -1.0] {
                primal.push(vec![x, y, w]);
                dual.push(vec![alpha * x, (1.0 - alpha) * y, w]);
            }
        }
        let mut random = Random(11);
        for _ in 0..100 {
            let v = random.normals(3);
            match cone.project(&v).piece {
                Piece::DualInterior => check_interior_margin(&cone, &v, &primal, 3.0_f64.sqrt()),
                Piece::PolarInterior => check_interior_margin(&cone, &v, &dual, 3.0_f64.sqrt()),
                _ => {}
            }
        }
    }
}

#[test]
fn power_edges_take_the_limit_of_the_curved_piece() {
    // At alpha = 1/2: 1/(1 + c), sqrt c = sqrt(0.5 * 0.7 / 1.3) ; otherwise 1 or 0 by the weight of the zero coordinate.
    for (alpha, expected) in [(0.7, 1.0), (0.3, 0.0), (0.5, 1.0 / (1.0 + 0.5 * 0.7 / 1.3))] {
        let cone = Cone::Power(alpha);
        let edge = cone.element_at(&[1.3, -0.7, 0.0]);
        assert!((edge.lambda[2] - expected).abs() < 1e-15);
        let near = dense(&cone.element_at(&[1.3, -0.7, 1e-12]));
        assert!((near[8] - expected).abs() < 1e-8, "{alpha} {}", near[8]);
    }
}
