//! Any point into any cone's projection: a projection that satisfies Moreau's identity, or an error; never a panic.

use crate::fuzz_support::{HOSTILE, fuzz};
use conediff::{Cone, Error, Projection};
use proptest::prelude::*;

/// Bound of |v - z + s| in each entry, relative to the block's largest |v|; one unit of the smallest number beside it.
const MOREAU: f64 = 1e-13;

/// Bound of |z's| relative to |v|^2.
const COMPLEMENTARITY: f64 = 1e-12;

/// The products of smaller points are below the smallest number.
const LEAST: f64 = 1e-290;

fn cones() -> impl Strategy<Value = Vec<Cone>> {
    let exponent = prop_oneof![
        0.01..0.99_f64,
        prop::sample::select(
            &[
                1e-300,
                1e-12,
                1e-3,
                0.5,
                1.0 - 1e-12,
                0.999_999_999_999_999_9
            ][..]
        ),
    ];
    let cone = prop_oneof![
        1 => (0..4_usize).prop_map(Cone::Zero),
        1 => (0..4_usize).prop_map(Cone::Nonnegative),
        1 => (0..6_usize).prop_map(Cone::SecondOrder),
        1 => (0..5_usize).prop_map(Cone::PsdTriangle),
        2 => Just(Cone::Exponential),
        2 => exponent.prop_map(Cone::Power),
        2 => (prop::collection::vec(1..1000_u16, 1..5), 1..4_usize).prop_map(|(weights, d)| {
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            Cone::GeneralizedPower(weights.iter().map(|w| f64::from(*w) / sum).collect(), d)
        }),
    ];
    prop::collection::vec(cone, 1..4)
}

/// Numbers of one size, of sizes far apart, or harmful ones among them.
fn point() -> impl Strategy<Value = Vec<f64>> {
    let scaled = |exponents: std::ops::RangeInclusive<i32>| {
        (-1.0..1.0_f64, exponents).prop_map(|(x, e)| x * 10f64.powi(e))
    };
    let number = prop_oneof![
        4 => -2.0..2.0_f64,
        2 => scaled(-20..=20),
        2 => scaled(-300..=300),
        1 => prop::sample::select(&[0.0, -0.0, 1.0, -1.0, 1e-16, -1e-16][..]),
        1 => prop::sample::select(&HOSTILE[..]),
    ];
    prop_oneof![
        2 => prop::collection::vec(number, 40),
        2 => (prop::collection::vec(-2.0..2.0_f64, 40), -305..=305_i32)
            .prop_map(|(v, e)| v.iter().map(|x| x * 10f64.powi(e)).collect()),
    ]
}

#[test]
fn any_point_is_projected_or_refused() {
    fuzz(6000, (cones(), point(), point()), |(cones, v, u)| {
        let rows: usize = cones.iter().map(Cone::rows).sum();
        let take = |v: &[f64]| v.iter().copied().cycle().take(rows).collect::<Vec<f64>>();
        let (v, u) = (take(&v), take(&u));
        let p = match Projection::new(&cones, &v) {
            Ok(p) => p,
            Err(error) => {
                // NaN and infinity are refused by name; the rest only where the answer is beyond the largest number.
                let bad = v.iter().position(|x| !x.is_finite());
                let is_named = match &error {
                    Error::NonFinite {
                        what: "v", index, ..
                    } => bad == Some(*index),
                    Error::NonFinite { .. } => {
                        bad.is_none() && v.iter().any(|x| x.abs() > f64::MAX / 16.0)
                    }
                    // The eigenvalue iteration may give up on a PSD block of numbers this far apart, and says so.
                    Error::Factorization { .. } => {
                        let sizes = || v.iter().map(|x| x.abs()).filter(|x| *x > 0.0);
                        sizes().fold(0.0, f64::max) / sizes().fold(f64::INFINITY, f64::min) > 1e150
                    }
                    _ => false,
                };
                prop_assert!(is_named, "{error} for {v:?}");
                return Ok(());
            }
        };
        prop_assert!(v.iter().all(|x| x.is_finite()));
        for margin in p.margins() {
            prop_assert!(margin.margin >= 0.0, "{margin:?}");
            let rows = margin.rows.clone();
            let size = v[rows.clone()].iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            let mut inner = 0.0;
            for i in rows {
                // Quarters: z - s of numbers near the largest may overflow.
                let wrong = 4.0 * (v[i] / 4.0 - p.z()[i] / 4.0 + p.s()[i] / 4.0).abs();
                prop_assert!(
                    wrong <= MOREAU * size + 1e-322,
                    "row {i} off by {wrong:e}: {:?} {:?}",
                    p.z(),
                    p.s()
                );
                if size >= LEAST {
                    inner += (p.z()[i] / size) * (p.s()[i] / size);
                }
            }
            prop_assert!(
                inner.abs() <= COMPLEMENTARITY,
                "z's = {inner:e}: {:?} {:?}",
                p.z(),
                p.s()
            );
        }
        // D is applied to any direction without a panic, and keeps 0 <= D <= I on finite ones of moderate size.
        let (mut inside, mut outside) = (vec![0.0; rows], vec![0.0; rows]);
        prop_assert!(
            p.apply(&u, &mut inside).is_ok() && p.apply_complement(&u, &mut outside).is_ok()
        );
        let most = u.iter().fold(0.0_f64, |m, x| {
            if x.is_finite() {
                m.max(x.abs())
            } else {
                f64::INFINITY
            }
        });
        if most < 1e150 && most > 1e-150 {
            for i in 0..rows {
                let wrong = (inside[i] + outside[i] - u[i]).abs();
                prop_assert!(wrong <= 1e-11 * most, "D + (I - D) off by {wrong:e} at {i}");
            }
        }
        Ok(())
    });
}

#[test]
fn d_is_the_same_at_every_size() {
    // Beyond 1e-100 and 1e100 products inside underflow or overflow unless the point is taken at unit size.
    for (cone, v) in [
        (Cone::Power(0.001), [-1.0, 0.98, -0.82]),
        (Cone::Power(0.5), [0.3, -0.2, 1.0]),
        (Cone::Exponential, [0.4, 0.3, -0.5]),
        (
            Cone::GeneralizedPower(vec![0.25, 0.75], 1),
            [-0.4, 0.6, 0.9],
        ),
    ] {
        let apply = |unit: f64| {
            let v: Vec<f64> = v.iter().map(|x| x * unit).collect();
            let p = Projection::new(std::slice::from_ref(&cone), &v).unwrap();
            let mut out = vec![0.0; 3];
            p.apply(&[0.5, -0.25, 1.0], &mut out).unwrap();
            (out, p.margins()[0].margin / unit)
        };
        let (expected, margin) = apply(1.0);
        for exponent in [-900, -820, -400, -300, 300, 400, 820, 900] {
            let (out, scaled) = apply(2f64.powi(exponent));
            for (a, e) in out.iter().zip(&expected) {
                assert!(
                    (a - e).abs() <= 1e-12,
                    "{cone:?} at 2^{exponent}: {out:?} instead of {expected:?}"
                );
            }
            assert!(
                (scaled - margin).abs() <= 1e-12,
                "{cone:?} at 2^{exponent}: {scaled:e} instead of {margin:e}"
            );
        }
    }
}

#[test]
fn d_of_the_largest_psd_matrix_is_that_of_the_unit_one() {
    // Eigenvalues of both signs near the largest number: their difference overflows.
    let apply = |size: f64| {
        let p = Projection::new(&[Cone::PsdTriangle(3)], &[0.0, 0.0, 0.0, size, 0.0, 0.0]).unwrap();
        let (mut inside, mut outside) = (vec![0.0; 6], vec![0.0; 6]);
        p.apply(&[1.5, 0.5, -1.0, 2.0, 0.25, -0.5], &mut inside)
            .unwrap();
        p.apply_complement(&[1.5, 0.5, -1.0, 2.0, 0.25, -0.5], &mut outside)
            .unwrap();
        [inside, outside].concat()
    };
    let expected = apply(1.0);
    for size in [1e-320, 1e-300, 1e300, f64::MAX] {
        for (a, e) in apply(size).iter().zip(&expected) {
            assert!((a - e).abs() <= 1e-14, "{size:e}: {a:e} instead of {e:e}");
        }
    }
}

#[test]
fn d_is_finite_beside_entries_of_the_smallest_size() {
    for (cone, rows) in [
        (Cone::Exponential, 3),
        (Cone::Power(0.001), 3),
        (Cone::GeneralizedPower(vec![0.25, 0.75], 2), 4),
    ] {
        for large in [-1e-6, 1e-6, 1.0, -1e80] {
            for small in [5e-324, -5e-324, 1e-200, -1e-160] {
                for (place, other) in (0..rows).flat_map(|i| (0..rows).map(move |j| (i, j))) {
                    let mut v = vec![0.0; rows];
                    (v[other], v[place]) = (small, large);
                    let p = Projection::new(std::slice::from_ref(&cone), &v).unwrap();
                    let mut out = vec![0.0; rows];
                    p.apply(&vec![1.0; rows], &mut out).unwrap();
                    assert!(out.iter().all(|x| x.is_finite()), "{cone:?} {v:?}: {out:?}");
                }
            }
        }
    }
}

#[test]
fn d_of_a_second_order_cone_is_whole_at_the_smallest_number() {
    // v = (0, u, 0) with |u| the smallest number: D = 1/2 [1, 1, 0; 1, 1, 0; 0, 0, 1].
    for u in [5e-324, 1e-323, 2.2e-308, 1.0] {
        let p = Projection::new(&[Cone::SecondOrder(3)], &[0.0, u, 0.0]).unwrap();
        for (column, expected) in [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.5]]
            .iter()
            .enumerate()
        {
            let mut unit = vec![0.0; 3];
            unit[column] = 1.0;
            let (mut d, mut rest) = (vec![0.0; 3], vec![0.0; 3]);
            p.apply(&unit, &mut d).unwrap();
            p.apply_complement(&unit, &mut rest).unwrap();
            for i in 0..3 {
                assert!((d[i] - expected[i]).abs() < 1e-15, "{u:e}: {d:?}");
                assert!((d[i] + rest[i] - unit[i]).abs() < 1e-15, "{u:e}: {rest:?}");
            }
        }
    }
}
