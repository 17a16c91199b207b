//! A bad item is that item's specific error and nobody else's.

use conediff::{
    Cone, ConeProgram, ConicLayer, DataTangent, Error, Generator, LayerData, LayerSettings, Result,
    Solution, SolutionTangent, WarmStart,
};

use super::support::{INFEASIBLE, KNOWN, UNBOUNDED, distance, small, solve_default, untimed};

type IsRight = fn(&Error) -> bool;

/// Values that make an item of [`small`] fail, and the error they must give.
fn faults() -> Vec<(&'static str, LayerData<'static>, IsRight)> {
    let data = LayerData::default();
    vec![
        (
            "infeasible",
            data.with_b(&INFEASIBLE),
            |e| matches!(e, Error::PrimalInfeasible { value, .. } if *value < 0.0),
        ),
        (
            "unbounded",
            data.with_q(&UNBOUNDED),
            |e| matches!(e, Error::DualInfeasible { value, .. } if *value < 0.0),
        ),
        ("NaN in q", data.with_q(&[0.0, f64::NAN]), |e| {
            matches!(
                e,
                Error::NonFinite {
                    what: "q",
                    index: 1,
                    ..
                }
            )
        }),
        (
            "infinity in A",
            data.with_a(&[1.0, 1.0, f64::INFINITY, 1.0]),
            |e| {
                matches!(
                    e,
                    Error::NonFinite {
                        what: "A",
                        index: 2,
                        ..
                    }
                )
            },
        ),
        ("short q", data.with_q(&[1.0]), |e| {
            matches!(
                e,
                Error::Dimension {
                    what: "q",
                    expected: 2,
                    found: 1
                }
            )
        }),
        ("long b", data.with_b(&[1.0; 4]), |e| {
            matches!(
                e,
                Error::Dimension {
                    what: "b",
                    expected: 3,
                    found: 4
                }
            )
        }),
        ("short P", data.with_p(&[1.0]), |e| {
            matches!(
                e,
                Error::Dimension {
                    expected: 2,
                    found: 1,
                    ..
                }
            )
        }),
        ("empty A", data.with_a(&[]), |e| {
            matches!(
                e,
                Error::Dimension {
                    expected: 4,
                    found: 0,
                    ..
                }
            )
        }),
        ("P not convex", data.with_p(&[-1.0, 0.0]), |e| {
            matches!(e, Error::NotConvex { index: 0, .. })
        }),
        ("b of -1e20", data.with_b(&[1.0, -1e20, 1.0]), |e| {
            matches!(e, Error::Bound { row: 1, .. })
        }),
    ]
}

fn seed() -> SolutionTangent {
    SolutionTangent::random(&small(), 1)
}

/// Solutions and gradients of a batch.
fn run(layer: &mut ConicLayer, data: &[LayerData<'_>]) -> Vec<Result<(Solution, DataTangent)>> {
    let solutions = layer.forward_batch(data);
    let gradients = layer.backward_batch(&vec![seed(); data.len()]).unwrap();
    assert_eq!((solutions.len(), gradients.len()), (data.len(), data.len()));
    let both = solutions.into_iter().zip(gradients).enumerate();
    both.map(|(k, (solution, gradient))| match solution {
        Ok(solution) => Ok((solution, gradient.unwrap().value)),
        Err(error) => {
            let missing = gradient.unwrap_err();
            assert!(
                matches!(missing, Error::NoForward { item } if item == k),
                "{missing}"
            );
            Err(error)
        }
    })
    .collect()
}

#[test]
fn a_bad_item_of_a_batch_is_its_own_error_and_leaves_the_others_alone() {
    let program = small();
    let costs = [[-1.0, -1.0], [-2.0, -0.5], [0.3, -0.4], [-1.5, -2.0]];
    let good = costs.each_ref().map(|q| LayerData::default().with_q(q));
    for warm_start in [WarmStart::Off, WarmStart::Previous] {
        for threads in [1, 2, 3] {
            let settings = untimed()
                .with_threads(threads)
                .with_warm_start(warm_start.clone());
            let make = || ConicLayer::new(&program, settings.clone()).unwrap();
            let expected: Vec<_> = run(&mut make(), &good)
                .into_iter()
                .map(Result::unwrap)
                .collect();
            for (name, bad, is_right) in faults() {
                for place in 0..=good.len() {
                    let mut data = good.to_vec();
                    data.insert(place, bad);
                    let mut found = run(&mut make(), &data);
                    let error = found.remove(place).unwrap_err();
                    assert!(is_right(&error), "{name}: {error:?}");
                    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
                    assert!(found == expected, "{name} at {place}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn every_item_of_a_batch_may_be_bad() {
    let all = faults();
    let data: Vec<LayerData<'_>> = all.iter().map(|f| f.1).collect();
    for threads in [1, 2] {
        let mut layer = ConicLayer::new(&small(), untimed().with_threads(threads)).unwrap();
        for (found, (name, _, is_right)) in run(&mut layer, &data).into_iter().zip(&all) {
            let error = found.unwrap_err();
            assert!(is_right(&error), "{name}: {error:?}");
        }
        assert_eq!(layer.counts().failed, data.len() as u64);
        // It is none the worse for it.
        assert!(layer.forward(&LayerData::default()).is_ok());
    }
}

#[test]
fn a_bad_item_alone_is_the_same_error_and_leaves_nothing_to_differentiate() {
    for warm_start in [WarmStart::Off, WarmStart::Previous] {
        let settings = LayerSettings::default().with_warm_start(warm_start);
        let mut layer = ConicLayer::new(&small(), settings).unwrap();
        let expected = solve_default(&small());
        for (name, bad, is_right) in faults() {
            layer.forward(&LayerData::default()).unwrap();
            let error = layer.forward(&bad).unwrap_err();
            assert!(is_right(&error), "{name}: {error:?}");
            assert_eq!(layer.path(0), None);
            assert!(matches!(
                layer.derivative(),
                Err(Error::NoForward { item: 0 })
            ));
            let error = layer.backward(&seed()).unwrap_err();
            assert!(matches!(error, Error::NoForward { item: 0 }), "{error}");
            let error = layer.jvp(&DataTangent::random(&small(), 1)).unwrap_err();
            assert!(matches!(error, Error::NoForward { item: 0 }), "{error}");
            let again = layer.forward(&LayerData::default()).unwrap();
            assert!(distance(again, &expected) <= KNOWN, "{name}");
        }
    }
}

#[test]
fn nothing_can_be_differentiated_before_a_forward() {
    let mut layer = ConicLayer::new(&small(), LayerSettings::default()).unwrap();
    assert!(matches!(
        layer.derivative(),
        Err(Error::NoForward { item: 0 })
    ));
    assert!(matches!(
        layer.backward(&seed()),
        Err(Error::NoForward { item: 0 })
    ));
    assert!(matches!(
        layer.item_derivative(7),
        Err(Error::NoForward { item: 7 })
    ));
    assert_eq!((layer.path(0), layer.path(7)), (None, None));
    let found = layer.backward_batch(&[seed()]).unwrap();
    assert!(matches!(found[0], Err(Error::NoForward { item: 0 })));
}

#[test]
fn a_batch_wants_one_cotangent_and_one_tangent_for_each_item() {
    let mut layer = ConicLayer::new(&small(), LayerSettings::default()).unwrap();
    let tangent = DataTangent::random(&small(), 1);
    for count in [3, 1, 2] {
        layer.forward_batch(&vec![LayerData::default(); count]);
        for wrong in [0, count - 1, count + 1]
            .into_iter()
            .filter(|w| *w != count)
        {
            let error = layer.backward_batch(&vec![seed(); wrong]).unwrap_err();
            let is_right = |e: &Error, what: &str| {
                matches!(e, Error::Dimension { what: w, expected, found }
                    if *w == what && *expected == count && *found == wrong)
            };
            assert!(is_right(&error, "cotangents"), "{error}");
            let error = layer.jvp_batch(&vec![tangent.clone(); wrong]).unwrap_err();
            assert!(is_right(&error, "tangents"), "{error}");
        }
        assert_eq!(
            layer.backward_batch(&vec![seed(); count]).unwrap().len(),
            count
        );
        assert!(layer.item_derivative(count - 1).is_ok());
        // Items of a longer batch before are gone.
        assert!(layer.item_derivative(count).is_err());
    }
}

#[test]
fn an_empty_batch_has_no_results() {
    for threads in [1, 2] {
        let settings = LayerSettings::default().with_threads(threads);
        let mut layer = ConicLayer::new(&small(), settings).unwrap();
        for _ in 0..2 {
            assert!(layer.forward_batch(&[]).is_empty());
            assert!(layer.forward_programs(&[]).is_empty());
            assert!(layer.backward_batch(&[]).unwrap().is_empty());
            assert!(layer.jvp_batch(&[]).unwrap().is_empty());
            // After a batch of two as well.
            layer.forward_batch(&[LayerData::default(); 2]);
        }
    }
}

#[test]
fn directions_that_do_not_fit_are_errors_and_the_item_stays() {
    let mut layer = ConicLayer::new(&small(), LayerSettings::default()).unwrap();
    layer.forward(&LayerData::default()).unwrap();
    let expected = layer.backward(&seed()).unwrap().value;
    let mut short = seed();
    short.z.pop();
    let error = layer.backward(&short).unwrap_err();
    assert!(matches!(error, Error::Dimension { .. }), "{error}");
    let mut broken = seed();
    broken.x[1] = f64::NAN;
    let error = layer.backward(&broken).unwrap_err();
    assert!(
        matches!(error, Error::NonFinite { index: 1, .. }),
        "{error}"
    );
    let error = layer.jvp(&DataTangent::default()).unwrap_err();
    assert!(matches!(error, Error::Dimension { .. }), "{error}");
    let mixed = layer.backward_batch(&[short]).unwrap();
    assert!(matches!(mixed[0], Err(Error::Dimension { .. })));
    assert_eq!(layer.backward(&seed()).unwrap().value, expected);
}

#[test]
fn programs_of_another_structure_are_refused() {
    let program = small();
    let (p, a) = (
        ([0, 1, 2], [0, 1], [1.0, 0.0]),
        ([0, 3, 4], [0, 1, 2, 0], [1.0, 1.0, -1.0, 1.0]),
    );
    let make =
        |p: ([usize; 3], &[usize], &[f64]), a: ([usize; 3], &[usize], &[f64]), cones: Vec<Cone>| {
            let (q, b) = (program.q().to_vec(), program.b().to_vec());
            ConeProgram::from_csc((&p.0, p.1, p.2), q, (&a.0, a.1, a.2), b, cones).unwrap()
        };
    let same = |cones: Vec<Cone>| make((p.0, &p.1, &p.2), (a.0, &a.1, &a.2), cones);
    let others = [
        ("cones", same(vec![Cone::Zero(1), Cone::Nonnegative(2)])),
        (
            "split cones",
            same(vec![Cone::Nonnegative(1), Cone::Nonnegative(2)]),
        ),
        (
            "P",
            make(
                ([0, 1, 1], &[0], &[1.0]),
                (a.0, &a.1, &a.2),
                program.cones().to_vec(),
            ),
        ),
        (
            "A, of as many entries",
            make(
                (p.0, &p.1, &p.2),
                (a.0, &[0, 1, 2, 1], &a.2),
                program.cones().to_vec(),
            ),
        ),
        (
            "size",
            Generator::new(3, vec![Cone::Nonnegative(3)])
                .generate()
                .unwrap()
                .program()
                .clone(),
        ),
    ];
    let mut layer = ConicLayer::new(&program, untimed()).unwrap();
    for (name, other) in &others {
        layer.forward(&LayerData::default()).unwrap();
        let error = layer.forward_program(other).unwrap_err();
        assert!(
            matches!(error, Error::PatternMismatch { .. }),
            "{name}: {error}"
        );
        assert!(layer.derivative().is_err(), "{name}");
        let mut found = layer.forward_programs(&[program.clone(), other.clone(), program.clone()]);
        let error = found.remove(1).unwrap_err();
        assert!(
            matches!(error, Error::PatternMismatch { .. }),
            "{name}: {error}"
        );
        assert!(found.iter().all(Result::is_ok), "{name}");
    }
    // Made apart, but of the same structure.
    layer
        .forward_program(&same(program.cones().to_vec()))
        .unwrap();
}

#[test]
fn settings_out_of_range_are_refused() {
    for tolerance in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        let settings = LayerSettings {
            tolerance,
            ..LayerSettings::default()
        };
        let error = ConicLayer::new(&small(), settings).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Setting {
                    name: "layer.tolerance",
                    ..
                }
            ),
            "{error}"
        );
    }
    let mut settings = LayerSettings::default();
    settings.settings.refine.max_steps = 0;
    let error = ConicLayer::new(&small(), settings).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Setting {
                name: "refine.max_steps",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_start_of_another_program_is_an_error() {
    let other = Generator::new(4, vec![Cone::Nonnegative(3)])
        .generate()
        .unwrap();
    let start = WarmStart::Given(Box::new(solve_default(other.program())));
    let mut layer = ConicLayer::new(&small(), LayerSettings::default()).unwrap();
    layer.set_warm_start(start);
    let error = layer.forward(&LayerData::default()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Dimension {
                what: "x",
                expected: 2,
                found: 4
            }
        ),
        "{error}"
    );
    layer.set_warm_start(WarmStart::Previous);
    assert!(layer.forward(&LayerData::default()).is_ok());
}
