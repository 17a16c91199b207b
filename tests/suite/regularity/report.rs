//! The report: uniqueness, witnesses, radii, words.

use super::support::{at, corners, jump, program_at, weakly_active};
use conediff::{
    Certificate, Cone, Definability, Error, KinkKind, ProgramBuilder, Settings, Uniqueness,
    Witness, regularity, solve,
};

#[test]
fn a_regular_point_is_certified_without_kinks() {
    let mut builder = ProgramBuilder::new(2);
    builder.quadratic(0, 0, 1.0);
    builder.quadratic(1, 1, 1.0);
    builder.linear(0, -1.0);
    builder.inequality(&[(0, 1.0)], 0.5);
    let program = builder.build().unwrap();
    let settings = Settings::default();
    let report = regularity(&program, &solve(&program, &settings).unwrap(), &settings).unwrap();
    assert!(report.is_certified() && report.strict_complementarity && report.kinks.is_empty());
    assert_eq!(
        (report.primal, report.dual),
        (Uniqueness::Unique, Uniqueness::Unique)
    );
    assert!((report.margin() - 0.5).abs() < 1e-9);
    assert_eq!(report.definability, Definability::Semialgebraic);
    let text = report.to_string();
    assert!(
        text.contains("differentiable") && text.contains("no kink"),
        "{text}"
    );
}

#[test]
fn the_report_names_the_kind_of_every_kink() {
    let kinds = [
        KinkKind::WeaklyActive,
        KinkKind::ZeroSlack,
        KinkKind::ZeroDual,
        KinkKind::Apex,
        KinkKind::ZeroSlack,
        KinkKind::ZeroEigenvalues,
        KinkKind::ZeroEigenvalues,
        KinkKind::Apex,
        KinkKind::ZeroDual,
        KinkKind::ZeroSlack,
        KinkKind::Apex,
        KinkKind::Edge,
        KinkKind::ZeroDual,
        KinkKind::ZeroSlack,
        KinkKind::Apex,
        KinkKind::Apex,
    ];
    for (corner, kind) in corners().iter().zip(kinds) {
        let (program, solution) = program_at(corner, 5);
        let report = at(&program, &solution).regularity().unwrap();
        assert_eq!(report.kinks[0].at, kind, "{}", corner.name);
        assert!(
            report
                .to_string()
                .contains("every selection is conservative"),
            "{report}"
        );
        if corner.name == "orthant" {
            assert_eq!(report.kinks[0].rows, [1]);
        }
    }
}

#[test]
fn a_flat_direction_is_found_and_named() {
    let program = jump();
    let report = at(&program, &solve(&program, &Settings::default()).unwrap())
        .regularity()
        .unwrap();
    assert_eq!(
        (report.primal, report.dual),
        (Uniqueness::NotUnique, Uniqueness::Unique)
    );
    let Certificate::Failed { witnesses } = &report.certificate else {
        panic!("{report}")
    };
    let [
        Witness::Primal {
            direction,
            variables,
            residual,
        },
    ] = &witnesses[..]
    else {
        panic!("{witnesses:?}")
    };
    assert_eq!((&direction[..], &variables[..]), (&[1.0][..], &[0][..]));
    assert!(*residual < 1e-12);
}

#[test]
fn dependent_rows_are_found_and_named() {
    // x1 + x2 = 1 twice, and a third row of its own.
    let mut builder = ProgramBuilder::new(3);
    for j in 0..3 {
        builder.quadratic(j, j, 1.0);
    }
    builder.equality(&[(0, 1.0), (1, 1.0)], 1.0);
    builder.equality(&[(2, 1.0)], 2.0);
    builder.equality(&[(0, 2.0), (1, 2.0)], 2.0);
    let program = builder.build().unwrap();
    let derivative = at(&program, &solve(&program, &Settings::default()).unwrap());
    let report = derivative.regularity().unwrap();
    assert_eq!(
        (report.primal, report.dual),
        (Uniqueness::Unique, Uniqueness::NotUnique)
    );
    let [
        Witness::Dual {
            direction, rows, ..
        },
    ] = report.certificate.witnesses()
    else {
        panic!("{report}")
    };
    assert_eq!(rows, &[0, 2]);
    assert!((direction[2] + 0.5 * direction[0]).abs() < 1e-9);
    assert!(report.to_string().contains("rows 0, 2"), "{report}");
}

#[test]
fn a_degenerate_vertex_is_not_certified_and_its_dual_may_not_be_unique() {
    // minimize x1 + x2 over x >= 0 and x1 + x2 >= 0: three rows meet at the origin.
    let mut builder = ProgramBuilder::new(2);
    builder.linear(0, 1.0);
    builder.linear(1, 2.0);
    builder.bounds(0..2, 0.0, f64::INFINITY);
    builder.inequality(&[(0, -1.0), (1, -1.0)], 0.0);
    let program = builder.build().unwrap();
    let report = at(&program, &solve(&program, &Settings::default()).unwrap())
        .regularity()
        .unwrap();
    assert_eq!(
        (report.primal, report.dual),
        (Uniqueness::Unique, Uniqueness::NotUnique)
    );
    assert!(!report.is_certified());
}

#[test]
fn a_margin_within_the_radius_makes_a_kink_and_may_break_the_certificate() {
    // The linear program of a cycle: max (a + b) t over a box, t = 1e-3.
    let mut builder = ProgramBuilder::new(2);
    builder.linear(0, -1e-3);
    builder.linear(1, -1e-3);
    builder.bounds([0], 0.0, 3.0);
    builder.bounds([1], 0.0, 5.0);
    let program = builder.build().unwrap();
    let derivative = at(&program, &solve(&program, &Settings::default()).unwrap());
    assert!(derivative.regularity().unwrap().is_certified());
    assert!(derivative.regularity_within(1e-4).unwrap().is_certified());
    let report = derivative.regularity_within(2e-3).unwrap();
    assert!(!report.is_certified() && report.radius == 2e-3);
    let rows: Vec<usize> = report.kinks.iter().flat_map(|k| k.rows.clone()).collect();
    let upper: Vec<usize> = (0..program.m())
        .filter(|&i| derivative.solution().z[i] > 0.0)
        .collect();
    assert_eq!(rows, upper);
    // At z = 0, which the radius allows, the whole box solves it.
    assert_eq!(report.primal, Uniqueness::NotUnique);
}

#[test]
fn a_radius_on_curved_blocks_leaves_room_for_the_turn_of_their_eigenspaces() {
    // The projection of c onto the unit ball.
    let mut builder = ProgramBuilder::new(2);
    for (j, c) in [3.0, 4.0].into_iter().enumerate() {
        builder.quadratic(j, j, 1.0);
        builder.linear(j, -c);
    }
    use conediff::Affine;
    builder.norm(
        &[Affine::variable(0), Affine::variable(1)],
        &Affine::constant(1.0),
    );
    let program = builder.build().unwrap();
    let derivative = at(&program, &solve(&program, &Settings::default()).unwrap());
    for (eps, expected) in [(0.0, true), (1e-6, true), (1e-4, true), (10.0, false)] {
        let report = derivative.regularity_within(eps).unwrap();
        assert_eq!(report.is_certified(), expected, "{eps}: {report}");
    }
    // Somewhere between, no room is left though no block may switch.
    let report = derivative.regularity_within(0.5).unwrap();
    assert!(
        matches!(report.certificate, Certificate::Unknown { .. }),
        "{report}"
    );
}

#[test]
fn a_radius_that_is_no_radius_is_an_error() {
    let (_, derivative) = weakly_active();
    for eps in [-1.0, f64::NAN, f64::INFINITY] {
        let error = derivative.regularity_within(eps).unwrap_err();
        assert!(
            matches!(error, Error::Setting { name: "eps", .. }),
            "{error}"
        );
    }
}

#[test]
fn a_solvers_own_point_is_classified_by_its_error() {
    // Weakly active rows stand at 1e-5 there, not at 1e-15.
    let mut settings = Settings::default();
    settings.refine.enabled = false;
    let mut coarse = 0;
    for seed in 0..20 {
        let (program, _) = super::directional::quadratic(2, seed);
        let refined = at(&program, &solve(&program, &Settings::default()).unwrap());
        let own = conediff::interior_point(&program, &settings.solve).unwrap();
        let report = regularity(&program, &own, &settings).unwrap();
        let rows = |kinks: &[conediff::Kink]| -> Vec<usize> {
            kinks.iter().flat_map(|k| k.rows.clone()).collect()
        };
        assert_eq!(
            rows(&report.kinks),
            rows(refined.kinks()),
            "{seed}: {report}"
        );
        coarse += usize::from(report.kinks.iter().any(|k| k.margin > 1e-8));
    }
    assert!(coarse >= 10, "{coarse}");
}

#[test]
fn a_point_that_is_no_solution_is_not_certified() {
    let (program, derivative) = weakly_active();
    let mut solution = derivative.solution().clone();
    solution.x[1] += 0.3;
    solution.refinement = None;
    let mut settings = Settings::default();
    settings.refine.enabled = false;
    let report = regularity(&program, &solution, &settings).unwrap();
    assert!(!report.is_solution && !report.is_certified());
    assert!(report.to_string().contains("not a solution"), "{report}");
}

#[test]
fn the_class_of_a_cone_is_what_its_exponents_allow() {
    let class = |cone| Definability::of(&[Cone::Nonnegative(2), cone]);
    assert_eq!(class(Cone::PsdTriangle(3)), Definability::Semialgebraic);
    assert_eq!(class(Cone::Exponential), Definability::RExp);
    assert_eq!(class(Cone::Power(0.3)), Definability::Semialgebraic);
    assert_eq!(class(Cone::Power(0.5_f64.sqrt())), Definability::RExp);
    let powers = vec![1.0 / 3.0, 2.0 / 3.0];
    assert_eq!(
        class(Cone::GeneralizedPower(powers, 1)),
        Definability::Semialgebraic
    );
}

#[test]
fn a_report_serializes_with_its_verdict() {
    let (_, derivative) = weakly_active();
    let value = serde_json::to_value(derivative.regularity().unwrap()).unwrap();
    assert_eq!(value["certificate"]["verdict"], "certified");
    assert_eq!(value["kinks"][0]["at"], "weakly_active");
    assert_eq!(value["primal"], "unique");
    assert_eq!(value["definability"], "semialgebraic");
    assert_eq!(value["meaning"]["kind"], "element");
    assert_eq!(value["meaning"]["selection"], "inactive");
}
