//! The generalized power cone.

use proptest::prelude::*;

use super::golden::{golden, golden_errors};
use super::support::*;

fn cones() -> Vec<Cone> {
    [
        (vec![0.25, 0.25, 0.5], 1),
        (vec![0.2, 0.3, 0.5], 3),
        (vec![0.6, 0.05, 0.125, 0.125, 0.1], 2),
        (vec![0.4, 0.6], 2),
        (vec![1.0], 2),
    ]
    .into_iter()
    .map(|(alphas, d)| Cone::GeneralizedPower(alphas, d))
    .collect()
}

/// With exponents too extreme for differences near an edge.
fn all_cones() -> Vec<Cone> {
    let extreme = [
        (vec![0.001, 0.499, 0.5], 2),
        (vec![0.997, 0.001, 0.001, 0.001], 1),
        (vec![0.1; 10], 2),
    ]
    .map(|(alphas, d)| Cone::GeneralizedPower(alphas, d));
    cones().into_iter().chain(extreme).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn generalized_power_identities_hold(
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
    fn generalized_power_special_values_do_no_harm(which in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let cone = which.get(&cones()).clone();
        check_special(&cone, &special(cone.dim(), seed)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn generalized_power_pieces_last_within_the_margin(
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
fn generalized_power_elements_equal_central_differences() {
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
fn generalized_power_golden_values_are_met() {
    let errors = golden_errors(&golden(include_str!(
        "../../../tests/data/generalized_power.csv"
    )));
    println!("generalized_power: {errors:?}");
    assert!(errors.z <= 1e-14 && errors.s <= 1e-14, "{errors:?}");
    assert!(errors.d <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues <= 1e-13, "{errors:?}");
    assert!(errors.eigenvalues_from_exact <= 1e-13, "{errors:?}");
}

#[test]
fn generalized_power_edges_take_the_limit_of_the_curved_piece() {
    let points = [
        [0.4, 2.0, -0.7],
        [0.4, -2.0, 0.7],
        [-0.4, 2.0, -0.7],
        [-0.4, -2.0, 0.7],
    ];
    for [a, b, c] in points {
        let cone = Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2);
        let edge = dense(&cone.element_at(&[a, b, c, 0.0, 0.0]));
        let near = dense(&cone.element_at(&[a, b, c, 6e-13, -8e-13]));
        assert!(distance(&edge, &near) < 1e-4, "{edge:?} {near:?}");
    }
}

#[test]
fn generalized_power_margin_vanishes_where_a_coordinate_of_an_edge_changes_sign() {
    let cone = Cone::GeneralizedPower(vec![0.25, 0.25, 0.5], 2);
    for t in [0.0, 1e-12, 1e-6, 1e-3] {
        let margin = cone.margin(&[1.0, -1.0, 0.6 * t, 0.8 * t, 0.0]);
        assert!((margin - t).abs() <= 1e-15);
    }
}

#[test]
fn generalized_power_of_one_exponent_is_the_second_order_cone() {
    let cone = Cone::GeneralizedPower(vec![1.0], 2);
    let mut random = Random(2);
    for _ in 0..200 {
        let v = random.normals(3);
        let (t, length) = (v[0], v[1].hypot(v[2]));
        if t.abs() >= length {
            continue;
        }
        let (w, r) = ([v[1] / length, v[2] / length], t / length);
        let d = dense(&cone.element_at(&v));
        for i in 0..2 {
            assert!((d[i + 1] - 0.5 * w[i]).abs() < 1e-14);
            for j in 0..2 {
                let identity = if i == j { 1.0 + r } else { 0.0 };
                let expected = 0.5 * (identity - r * w[i] * w[j]);
                assert!((d[3 * (i + 1) + j + 1] - expected).abs() < 1e-14);
            }
        }
    }
}
