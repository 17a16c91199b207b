//! Projections of points far out, close to boundaries, and not finite.

use super::support::{cases, dot, error, norm};
use conediff::{Cone, Error, Projection};
use proptest::prelude::*;

fn kinds() -> Vec<Cone> {
    vec![
        Cone::Zero(2),
        Cone::Nonnegative(3),
        Cone::SecondOrder(1),
        Cone::SecondOrder(2),
        Cone::SecondOrder(4),
        Cone::PsdTriangle(1),
        Cone::PsdTriangle(2),
        Cone::PsdTriangle(3),
        Cone::Exponential,
        Cone::Power(0.5),
        Cone::Power(0.01),
        Cone::Power(0.7),
        Cone::GeneralizedPower(vec![1.0], 1),
        Cone::GeneralizedPower(vec![1.0], 2),
        Cone::GeneralizedPower(vec![0.5, 0.5], 2),
        Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 1),
        Cone::GeneralizedPower(vec![0.05, 0.05, 0.9], 3),
    ]
}

/// Moreau: z - s = v, z's = 0, z in K*, s in K; D symmetric within [0, I] and D v = z.
fn check(cone: &Cone, v: &[f64]) {
    let cones = std::slice::from_ref(cone);
    let p = Projection::new(cones, v).unwrap();
    let (z, s) = (p.z(), p.s());
    let size = norm(v);
    for i in 0..v.len() {
        let wrong = (z[i] - s[i] - v[i]).abs();
        assert!(
            wrong <= 1e-13 * size + 1e-322,
            "{cone:?} {v:?}: {z:?} {s:?}"
        );
    }
    // The curved cones count smaller points as zero.
    if size < 1e-290 {
        return;
    }
    let unit = |x: &[f64]| x.iter().map(|x| x / size).collect::<Vec<f64>>();
    let inner = dot(&unit(z), &unit(s)).abs();
    assert!(inner <= 1e-13, "{cone:?} {v:?}: z's = {inner:e}");
    // z stays in K*, and s in K: v = -s projects to 0.
    let again = Projection::new(cones, z).unwrap();
    assert!(
        norm(again.s()) <= 1e-12 * size,
        "{cone:?} {v:?}: z leaves K* by {:?}",
        again.s()
    );
    let minus: Vec<f64> = s.iter().map(|x| -x).collect();
    let again = Projection::new(cones, &minus).unwrap();
    if !matches!(cone, Cone::Zero(_)) {
        assert!(
            norm(again.z()) <= 1e-12 * size,
            "{cone:?} {v:?}: s leaves K by {:?}",
            again.z()
        );
    }
    for margin in p.margins() {
        assert!(margin.margin >= 0.0, "{margin:?}");
    }
    let m = v.len();
    let (mut dv, mut cv) = (vec![0.0; m], vec![0.0; m]);
    p.apply(v, &mut dv).unwrap();
    p.apply_complement(v, &mut cv).unwrap();
    for i in 0..m {
        assert!(
            (dv[i] - z[i]).abs() <= 1e-11 * size,
            "{cone:?} {v:?}: D v = {dv:?}, z = {z:?}"
        );
        assert!(
            (cv[i] + s[i]).abs() <= 1e-11 * size,
            "{cone:?} {v:?}: (I - D) v = {cv:?}"
        );
    }
    let columns: Vec<Vec<f64>> = (0..m)
        .map(|k| {
            let mut unit = vec![0.0; m];
            let mut out = vec![0.0; m];
            unit[k] = 1.0;
            p.apply(&unit, &mut out).unwrap();
            out
        })
        .collect();
    for (i, column) in columns.iter().enumerate() {
        for (j, other) in columns.iter().enumerate() {
            let (a, b) = (column[j], other[i]);
            assert!(
                (a - b).abs() <= 1e-12 && a.abs() <= 1.0 + 1e-12,
                "{cone:?} {v:?}"
            );
        }
    }
}

#[test]
fn a_point_with_nan_or_infinity_is_refused() {
    for cone in kinds() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for k in 0..cone.rows() {
                let mut v = vec![0.5; cone.rows()];
                v[k] = bad;
                let e = error(Projection::new(std::slice::from_ref(&cone), &v));
                assert!(
                    matches!(e, Error::NonFinite { what: "v", index, .. } if index == k),
                    "{e}"
                );
            }
        }
    }
}

#[test]
fn the_corners_of_every_cone_are_projected() {
    let numbers = [
        0.0, -0.0, 1.0, -1.0, 1e-15, -1e-15, 1e-300, 5e-324, 1e300, -1e300,
    ];
    for cone in kinds() {
        let m = cone.rows();
        for a in numbers {
            for b in numbers {
                for place in 0..m {
                    let mut v = vec![a; m];
                    v[place] = b;
                    check(&cone, &v);
                }
            }
        }
    }
}

#[test]
fn points_near_the_largest_number_stay_finite_or_are_refused() {
    let numbers = [f64::MAX, f64::MIN, 1e308, -1e308, 0.0];
    for cone in kinds() {
        let m = cone.rows();
        for a in numbers {
            for b in numbers {
                for place in 0..m {
                    let mut v = vec![a; m];
                    v[place] = b;
                    match Projection::new(std::slice::from_ref(&cone), &v) {
                        Ok(p) => {
                            assert!(
                                norm(p.z()).is_finite() && norm(p.s()).is_finite(),
                                "{cone:?} {v:?}"
                            );
                            for ((z, s), v) in p.z().iter().zip(p.s()).zip(&v) {
                                assert!(
                                    (z / 4.0 - s / 4.0 - v / 4.0).abs() <= 1e-13 * (f64::MAX / 4.0),
                                    "{cone:?} {v:?}: {:?} {:?}",
                                    p.z(),
                                    p.s()
                                );
                            }
                        }
                        Err(e) => assert!(matches!(e, Error::NonFinite { .. }), "{e}"),
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn moreau_holds_at_every_scale(
        kind in 0..17usize,
        v in prop::collection::vec(-1.0..1.0f64, 6),
        exponents in prop::collection::vec(-12..=12i32, 6),
        common in prop::bool::ANY,
    ) {
        let cone = &kinds()[kind];
        let v: Vec<f64> = (0..cone.rows())
            .map(|k| v[k] * 10f64.powi(exponents[if common { 0 } else { k }]))
            .collect();
        check(cone, &v);
    }

    #[test]
    fn moreau_holds_next_to_every_boundary(
        kind in 0..17usize,
        v in prop::collection::vec(-1.0..1.0f64, 6),
        nudge in prop::collection::vec(-1.0..1.0f64, 6),
        side in 0..3usize,
        width in 14..18i32,
        exponent in -12..=12i32,
    ) {
        let cone = &kinds()[kind];
        let m = cone.rows();
        let p = Projection::new(std::slice::from_ref(cone), &v[..m]).unwrap();
        // On the boundary of K*, of the polar, or at the apex.
        let at: Vec<f64> = match side {
            0 => p.z().to_vec(),
            1 => p.s().iter().map(|x| -x).collect(),
            _ => vec![0.0; m],
        };
        let unit = 10f64.powi(exponent);
        let v: Vec<f64> = (0..m).map(|k| unit * (at[k] + 10f64.powi(-width) * nudge[k])).collect();
        check(cone, &v);
    }
}
