//! Projections onto the symmetric cones: identities, closed forms, and D against differences. The curved cones' own tests stand
//! beside them in src/projection/tests; here they are checked through the public product.

use conediff::{Cone, Projection, row_ranges, svec};
use proptest::prelude::*;

use crate::support::{ALGEBRA, DIFFERENCES, Random, norm};

fn all_cones() -> Vec<Vec<Cone>> {
    vec![
        vec![Cone::Zero(4)],
        vec![Cone::Nonnegative(5)],
        vec![Cone::SecondOrder(2)],
        vec![Cone::SecondOrder(3)],
        vec![Cone::SecondOrder(12)],
        vec![Cone::PsdTriangle(2)],
        vec![Cone::PsdTriangle(3)],
        vec![Cone::PsdTriangle(7)],
        vec![Cone::Exponential],
        vec![Cone::Power(0.05)],
        vec![Cone::Power(0.2)],
        vec![Cone::Power(0.5)],
        vec![Cone::Power(0.8)],
        vec![Cone::Power(0.95)],
        vec![Cone::GeneralizedPower(vec![0.2, 0.5, 0.3], 2)],
        vec![
            Cone::Zero(2),
            Cone::SecondOrder(1),
            Cone::Nonnegative(0),
            Cone::PsdTriangle(1),
            Cone::Nonnegative(3),
            Cone::SecondOrder(4),
            Cone::PsdTriangle(3),
            Cone::Exponential,
            Cone::Power(0.3),
        ],
    ]
}

fn rows(cones: &[Cone]) -> usize {
    cones.iter().map(Cone::rows).sum()
}

/// Points on every piece: random, and random near the boundary pieces through a projection of a random point.
fn point(cones: &[Cone], random: &mut Random) -> Vec<f64> {
    let m = rows(cones);
    let mut v = random.normal_vec(m);
    for range in row_ranges(cones) {
        if range.is_empty() {
            continue;
        }
        // Shift the leading coordinate so that the interiors of K* and of its polar are reached too.
        let shift = [0.0, 0.0, 2.0, -2.0][random.below(4)];
        v[range.start] += shift * norm(&[1.0, range.len() as f64]);
    }
    v
}

fn apply(p: &Projection, u: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; u.len()];
    p.apply(u, &mut out).unwrap();
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn moreau_symmetry_spectrum_and_fixed_point_hold_at_every_scale() {
    let mut random = Random::new(1);
    let mut worst = [0.0_f64; 5];
    for cones in all_cones() {
        for k in 0..400 {
            let scale = 10f64.powi((k % 25) - 12);
            let v: Vec<f64> = point(&cones, &mut random)
                .iter()
                .map(|x| scale * x)
                .collect();
            let size = norm(&v);
            let p = Projection::new(&cones, &v).unwrap();
            let moreau: Vec<f64> = (0..v.len()).map(|i| v[i] - p.z()[i] + p.s()[i]).collect();
            worst[0] = worst[0].max(norm(&moreau) / size);
            worst[1] = worst[1].max(dot(p.z(), p.s()).abs() / (size * size));
            let (a, b) = (random.normal_vec(v.len()), random.normal_vec(v.len()));
            let (da, db) = (apply(&p, &a), apply(&p, &b));
            let sizes = norm(&a) * norm(&b);
            worst[2] = worst[2].max((dot(&da, &b) - dot(&a, &db)).abs() / sizes);
            // 0 <= D <= I: <a, Da> >= |Da|^2 says both for a symmetric D.
            worst[3] = worst[3].max((dot(&da, &da) - dot(&a, &da)) / dot(&a, &a));
            let dv = apply(&p, &v);
            let fixed: Vec<f64> = dv.iter().zip(p.z()).map(|(x, y)| x - y).collect();
            worst[4] = worst[4].max(norm(&fixed) / size);
        }
    }
    println!("Moreau, complementarity, symmetry, spectrum, Dv = z: {worst:?}");
    assert!(worst.iter().all(|w| *w <= ALGEBRA), "{worst:?}");
}

#[test]
fn the_complement_is_the_identity_minus_d() {
    let mut random = Random::new(2);
    for cones in all_cones() {
        for _ in 0..50 {
            let v = point(&cones, &mut random);
            let p = Projection::new(&cones, &v).unwrap();
            let u = random.normal_vec(v.len());
            let d = apply(&p, &u);
            let mut c = vec![0.0; u.len()];
            p.apply_complement(&u, &mut c).unwrap();
            let error: Vec<f64> = (0..u.len()).map(|i| u[i] - d[i] - c[i]).collect();
            assert!(norm(&error) <= ALGEBRA * norm(&u), "{cones:?}");
        }
    }
}

/// Central differences extrapolated once (Richardson), with a step chosen by their own agreement.
fn difference(cones: &[Cone], v: &[f64], u: &[f64]) -> Vec<f64> {
    let quotient = |h: f64| -> Vec<f64> {
        let at = |h: f64| {
            let moved: Vec<f64> = v.iter().zip(u).map(|(v, u)| v + h * u).collect();
            Projection::new(cones, &moved).unwrap().z().to_vec()
        };
        let (a, b) = (at(h), at(-h));
        a.iter().zip(&b).map(|(a, b)| (a - b) / (2.0 * h)).collect()
    };
    let mut best: Option<(f64, Vec<f64>)> = None;
    let mut last: Option<(Vec<f64>, Vec<f64>)> = None;
    for k in 0..14 {
        let coarse = quotient(4e-3 * 0.5f64.powi(k));
        if let Some((before, extrapolated)) = last.take() {
            let next: Vec<f64> = coarse
                .iter()
                .zip(&before)
                .map(|(f, c)| (4.0 * f - c) / 3.0)
                .collect();
            let apart: Vec<f64> = next.iter().zip(&extrapolated).map(|(a, b)| a - b).collect();
            if k > 1 && best.as_ref().is_none_or(|b| norm(&apart) < b.0) {
                best = Some((norm(&apart), next.clone()));
            }
            last = Some((coarse, next));
        } else {
            last = Some((coarse.clone(), coarse));
        }
    }
    best.unwrap().1
}

#[test]
fn d_agrees_with_differences_at_a_thousand_points_of_every_cone() {
    for cones in all_cones().into_iter().filter(|c| c.len() == 1) {
        let mut random = Random::new(3);
        let (mut worst, mut count, mut tries) = (0.0_f64, 0, 0);
        while count < 1000 && tries < 200_000 {
            tries += 1;
            let v = point(&cones, &mut random);
            let p = Projection::new(&cones, &v).unwrap();
            if p.margins().iter().any(|m| m.margin < 1e-2) {
                continue;
            }
            let mut u = random.normal_vec(v.len());
            let size = norm(&u);
            u.iter_mut().for_each(|x| *x /= size);
            let (d, q) = (apply(&p, &u), difference(&cones, &v, &u));
            let error: Vec<f64> = d.iter().zip(&q).map(|(a, b)| a - b).collect();
            worst = worst.max(norm(&error));
            count += 1;
        }
        println!("{cones:?}: {count} points, worst {worst:.1e}");
        assert_eq!(count, 1000, "{cones:?}");
        assert!(worst <= DIFFERENCES, "{cones:?}: {worst:e}");
    }
}

#[test]
fn the_psd_projection_is_right_above_the_divide_and_conquer_size_at_every_scale() {
    let k = 150;
    let mut random = Random::new(4);
    for scale in [1e-12, 1e-6, 1.0, 1e6, 1e12] {
        let v: Vec<f64> = random
            .normal_vec(k * (k + 1) / 2)
            .iter()
            .map(|x| scale * x)
            .collect();
        let p = Projection::new(&[Cone::PsdTriangle(k)], &v).unwrap();
        let moreau: Vec<f64> = (0..v.len()).map(|i| v[i] - p.z()[i] + p.s()[i]).collect();
        assert!(
            norm(&moreau) <= ALGEBRA * norm(&v),
            "{scale:e}: {:e}",
            norm(&moreau) / norm(&v)
        );
        assert!(dot(p.z(), p.s()).abs() <= ALGEBRA * norm(&v).powi(2));
    }
}

#[test]
fn closed_forms_of_the_second_order_and_psd_cones_hold() {
    let p = Projection::new(&[Cone::SecondOrder(3)], &[1.0, 3.0, 4.0]).unwrap();
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15);
    assert!(close(p.z(), &[3.0, 1.8, 2.4]));
    assert!((p.margins()[0].margin - 4.0 / 2f64.sqrt()).abs() < 1e-15);
    // diag(2, -3): the projection keeps 2; W between the signs is 2/5.
    let p = Projection::new(&[Cone::PsdTriangle(2)], &[2.0, 0.0, -3.0]).unwrap();
    assert!(close(p.z(), &[2.0, 0.0, 0.0]) && close(p.s(), &[0.0, 0.0, 3.0]));
    assert!(close(&apply(&p, &[1.0, 1.0, 1.0]), &[1.0, 0.4, 0.0]));
    assert_eq!(p.margins()[0].margin, 2.0);
}

proptest! {
    #[test]
    fn svec_and_smat_are_inverse_isometries(k in 0usize..7, seed in 0u64..1000) {
        let mut random = Random::new(seed);
        let v = random.normal_vec(k * (k + 1) / 2);
        let full = svec::smat(&v).unwrap();
        prop_assert!((norm(&full) - norm(&v)).abs() <= 1e-14 * (1.0 + norm(&v)));
        let back = svec::svec(&full, k).unwrap();
        for (a, b) in v.iter().zip(&back) {
            prop_assert!((a - b).abs() <= 1e-15 * (1.0 + a.abs()));
        }
    }

    #[test]
    fn projecting_twice_changes_nothing(seed in 0u64..10_000, which in 0usize..16) {
        let cones = &all_cones()[which];
        let v = point(cones, &mut Random::new(seed));
        let p = Projection::new(cones, &v).unwrap();
        let again = Projection::new(cones, p.z()).unwrap();
        let error: Vec<f64> = again.z().iter().zip(p.z()).map(|(a, b)| a - b).collect();
        prop_assert!(norm(&error) <= 1e-12 * (1.0 + norm(&v)), "{:?} {:?}", cones, v);
    }
}

#[test]
fn points_at_a_boundary_have_no_margin_and_a_valid_element() {
    for (cones, v) in [
        (Cone::Nonnegative(2), vec![0.0, 1.0]),
        (Cone::SecondOrder(3), vec![5.0, 3.0, 4.0]),
        (Cone::SecondOrder(3), vec![-5.0, 3.0, 4.0]),
        (Cone::SecondOrder(3), vec![0.0, 0.0, 0.0]),
        (Cone::PsdTriangle(2), vec![1.0, 0.0, 0.0]),
        (Cone::Exponential, vec![0.0, 0.0, 0.0]),
        (Cone::Power(0.4), vec![0.0, 0.0, 0.0]),
    ] {
        for noise in [0.0, 1e-16, -1e-16, 1e-15, -1e-15] {
            let moved: Vec<f64> = v.iter().map(|x| x + noise).collect();
            let p = Projection::new(std::slice::from_ref(&cones), &moved).unwrap();
            assert!(p.margins()[0].margin <= 1e-14, "{cones:?} {moved:?}");
            let z = apply(&p, &moved);
            let error: Vec<f64> = z.iter().zip(p.z()).map(|(a, b)| a - b).collect();
            assert!(norm(&error) <= 1e-14, "{cones:?} {moved:?}");
        }
    }
}
