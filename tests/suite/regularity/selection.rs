//! Which element is taken at a kink, and what says so.

use super::support::{at, corners, jump, program_at, weakly_active};
use crate::support::relative;
use conediff::{
    DataTangent, Derivative, Error, Meaning, Method, Selection, Settings, Solution,
    SolutionTangent, Warning,
};

fn selections() -> Vec<Selection> {
    vec![
        Selection::Active,
        Selection::Inactive,
        Selection::Half,
        Selection::Random(7),
        Selection::NonsingularFirst,
        Selection::MinimumNorm,
    ]
}

#[test]
fn each_selection_takes_its_share_of_a_weakly_active_row() {
    let (program, _) = weakly_active();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q[0] = -1.0;
    // J at share a: x1 - z1 = 1 and -x1 + ... = 0, so dx1 = 1 - a.
    for (selection, expected) in [
        (Selection::Active, 0.0),
        (Selection::Inactive, 1.0),
        (Selection::Half, 0.5),
        (Selection::NonsingularFirst, 1.0),
        (Selection::MinimumNorm, 1.0),
    ] {
        let settings = Settings::default().with_selection(selection);
        let solution = conediff::solve(&program, &settings).unwrap();
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        let found = derivative.jvp(&tangent).unwrap();
        assert!((found.value.x[0] - expected).abs() < 1e-12, "{selection}");
        assert!(!found.trusted && matches!(found.warnings[0], Warning::AtKink(_)));
        let taken = match selection {
            Selection::NonsingularFirst | Selection::MinimumNorm => Selection::Inactive,
            other => other,
        };
        assert_eq!(found.meaning, Meaning::Element { selection: taken });
    }
}

#[test]
fn every_selection_solves_its_system_at_every_kind_of_kink() {
    for corner in corners() {
        let (program, solution) = program_at(&corner, 3);
        let derivative = at(&program, &solution);
        for selection in selections() {
            let chosen = derivative.with_selection(selection).unwrap();
            assert!(
                !chosen.meaning().is_surrogate(),
                "{} {selection}",
                corner.name
            );
            let tangent = DataTangent::random(&program, 1);
            let seed = SolutionTangent::random(&program, 2);
            let forward = chosen.jvp(&tangent).unwrap();
            let backward = chosen.vjp(&seed).unwrap();
            assert!(forward.evidence.residual < 1e-13 && backward.evidence.residual < 1e-13);
            let (f, b) = (&forward.value, &backward.value);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let left = dot(&f.x, &seed.x) + dot(&f.z, &seed.z) + dot(&f.s, &seed.s);
            let right = dot(&b.p, &tangent.p)
                + dot(&b.q, &tangent.q)
                + dot(&b.a, &tangent.a)
                + dot(&b.b, &tangent.b);
            assert!(
                (left - right).abs() < 1e-11 * (1.0 + left.abs()),
                "{} {selection}",
                corner.name
            );
        }
    }
}

#[test]
fn random_selections_repeat_with_their_seed_and_differ_between_seeds() {
    for corner in corners() {
        let (program, solution) = program_at(&corner, 4);
        let derivative = at(&program, &solution);
        let tangent = DataTangent::random(&program, 1);
        let draw = |seed| {
            let chosen = derivative.with_selection(Selection::Random(seed)).unwrap();
            chosen.jvp(&tangent).unwrap().value.x
        };
        assert_eq!(draw(5), draw(5), "{}", corner.name);
        let differ = (0..6).any(|seed| relative(&draw(seed), &draw(5)) > 1e-6);
        assert!(differ, "{}", corner.name);
    }
}

#[test]
fn the_extremes_bound_the_ambiguity_of_a_gradient() {
    let (program, derivative) = weakly_active();
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[0] = 1.0;
    let both = derivative.vjp_ambiguity(&seed).unwrap();
    assert!((both.inactive.value.q[0] + 1.0).abs() < 1e-12);
    assert!(both.active.value.q[0].abs() < 1e-12);
    assert!((both.difference - 1.0).abs() < 1e-12);
    // x2 does not care.
    let mut seed = SolutionTangent::zeros(&program);
    seed.x[1] = 1.0;
    assert!(derivative.vjp_ambiguity(&seed).unwrap().difference < 1e-12);
    let tangent = DataTangent::random(&program, 1);
    assert!(derivative.jvp_ambiguity(&tangent).unwrap().difference > 0.1);
}

#[test]
fn without_a_kink_every_selection_is_the_derivative() {
    let (program, _) = weakly_active();
    let mut q = program.q().to_vec();
    q[0] = 1.0;
    let moved = program.with_q(q).unwrap();
    let solution = conediff::solve(&moved, &Settings::default()).unwrap();
    let derivative = at(&moved, &solution);
    assert_eq!(derivative.meaning(), Meaning::Derivative);
    let tangent = DataTangent::random(&moved, 1);
    let expected = derivative.jvp(&tangent).unwrap();
    for selection in selections() {
        let found = derivative.with_selection(selection).unwrap();
        let found = found.jvp(&tangent).unwrap();
        assert!(relative(&found.value.x, &expected.value.x) < 1e-13 && found.trusted);
    }
    assert_eq!(derivative.jvp_ambiguity(&tangent).unwrap().difference, 0.0);
}

#[test]
fn selections_can_be_made_kink_by_kink_and_must_fit() {
    let (program, derivative) = weakly_active();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q[0] = -1.0;
    let cone = derivative.kinks()[0].cone;
    let chosen = derivative
        .with_kink_selections(&[(cone, Selection::Half)])
        .unwrap();
    assert_eq!(chosen.meaning(), Meaning::Chosen);
    assert!((chosen.jvp(&tangent).unwrap().value.x[0] - 0.5).abs() < 1e-12);
    for (cone, selection, reason) in [
        (cone + 1, Selection::Half, "no kink"),
        (99, Selection::Active, "no kink"),
        (cone, Selection::NonsingularFirst, "all kinks together"),
        (cone, Selection::MinimumNorm, "all kinks together"),
    ] {
        let error = derivative
            .with_kink_selections(&[(cone, selection)])
            .unwrap_err();
        assert!(matches!(error, Error::Selection { .. }));
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn minimum_norm_answers_a_singular_system_and_says_so() {
    let program = jump();
    let settings = Settings::default().with_selection(Selection::MinimumNorm);
    let solution = conediff::solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let found = derivative.jvp(&DataTangent::random(&program, 1)).unwrap();
    assert_eq!(found.meaning, Meaning::LeastSquares);
    assert_eq!(found.evidence.method, Method::MinimumNorm);
    assert!(!found.trusted);
}

#[test]
fn at_the_apex_with_noise_the_nonsingular_element_is_taken() {
    // minimize t^2 subject to |s - theta| <= t: x = (t, s), v = 0 is the apex of the cone.
    let mut builder = conediff::ProgramBuilder::new(2);
    builder.quadratic(0, 0, 2.0);
    let theta = 0.7;
    let (t, s) = (
        conediff::Affine::variable(0),
        conediff::Affine::new(&[(1, 1.0)], -theta),
    );
    let rows = builder.norm(&[s], &t);
    let program = builder.build().unwrap();
    let mut tangent = DataTangent::zeros(&program);
    // Ax + s = b: the slack of the second row is s - theta, so b holds -theta there.
    tangent.b[rows.start + 1] = -1.0;
    let mut random = crate::support::Random::new(1);
    let mut settings = Settings::default();
    for refined in [false, true] {
        settings.refine.enabled = refined;
        let (mut wrong, mut naive_wrong) = (0, 0);
        for _ in 0..500 {
            let noise = |random: &mut crate::support::Random| 1e-9 * random.normal();
            let (z, slack): (Vec<f64>, Vec<f64>) = (0..2)
                .map(|_| (noise(&mut random), noise(&mut random)))
                .unzip();
            let solution = Solution::given(&program, vec![0.0, theta], z, slack).unwrap();
            let derivative = Derivative::new(&program, &solution, &settings).unwrap();
            let found = derivative.jvp(&tangent).unwrap();
            assert!(!found.trusted && !derivative.kinks().is_empty());
            assert!(!derivative.regularity().unwrap().certificate.is_certified());
            wrong += u32::from((found.value.x[1] - 1.0).abs() > 1e-6);
            let inactive = derivative.with_selection(Selection::Inactive).unwrap();
            let found = inactive.jvp(&tangent).unwrap();
            naive_wrong += u32::from((found.value.x[1] - 1.0).abs() > 1e-6);
        }
        assert_eq!(wrong, 0);
        assert_eq!(naive_wrong, 500, "the inactive element is singular");
    }
}
