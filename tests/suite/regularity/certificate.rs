//! The certificate against every element of the conservative Jacobian, enumerated or drawn, each dense and by its singular values.

use super::oracle::{Corner, Degenerate, Place, orthogonal};
use crate::support::Random;
use conediff::{Certificate, Derivative, Settings, Uniqueness};

/// Below this a relative singular value is rounding; above the second, none is.
const ZERO: f64 = 1e-11;
const NOT_ZERO: f64 = 1e-7;

/// What enumeration says: true if every element is invertible, `None` if that is within rounding.
fn every_element_is_invertible(
    problem: &Degenerate,
    choices: usize,
    random: &mut Random,
) -> Option<bool> {
    let k = problem.blocks();
    let mut least = f64::INFINITY;
    let mut see = |picks: &[usize], random: &mut Random| {
        least = least.min(problem.least_singular_value(picks, random));
    };
    // Every combination of extremes, then elements inside.
    for mask in 0..1usize << k {
        let picks: Vec<usize> = (0..k).map(|i| mask >> i & 1).collect();
        see(&picks, random);
    }
    for _ in 0..choices {
        let picks: Vec<usize> = (0..k).map(|_| random.below(6)).collect();
        see(&picks, random);
    }
    match least {
        _ if least >= NOT_ZERO => Some(true),
        _ if least < ZERO => Some(false),
        _ => None,
    }
}

/// Counts of certified and failed among `count` degenerate problems; panics at the first mismatch.
fn compare(
    count: usize,
    seed: u64,
    elements: usize,
    make: impl Fn(&mut Random) -> Degenerate,
) -> [usize; 2] {
    let mut random = Random::new(seed);
    let (mut counts, mut done, mut undecided) = ([0, 0], 0, 0);
    while done < count {
        let problem = make(&mut random);
        if !problem.is_degenerate() {
            continue;
        }
        let Some(expected) = every_element_is_invertible(&problem, elements, &mut random) else {
            undecided += 1;
            continue;
        };
        done += 1;
        let settings = Settings::default();
        let derivative = Derivative::new(&problem.program, &problem.solution, &settings).unwrap();
        let report = derivative.regularity().unwrap();
        assert!(report.is_solution, "problem {done}: {report}");
        let is_certified = report.certificate.is_certified();
        assert_eq!(
            is_certified, expected,
            "problem {done}: {report}\n{derivative:?}"
        );
        assert!(!report.strict_complementarity && !report.kinks.is_empty());
        match &report.certificate {
            Certificate::Certified => {
                counts[0] += 1;
                assert!(report.primal == Uniqueness::Unique && report.dual == Uniqueness::Unique);
                assert!(!derivative.meaning().is_surrogate());
            }
            Certificate::Failed { witnesses } => {
                counts[1] += 1;
                assert!(!witnesses.is_empty(), "problem {done}: {report}");
            }
            other => panic!("problem {done}: {other:?}"),
        }
    }
    println!("{count} problems: {counts:?} certified and not, {undecided} more undecided");
    assert!(undecided * 100 <= count);
    counts
}

fn orthant(random: &mut Random) -> Degenerate {
    let n = 1 + random.below(4);
    // One row a block, so that the extremes enumerate every vertex.
    let rows = 1 + random.below(5);
    let states = [Some(true), Some(false), None];
    let blocks = (0..rows)
        .map(|_| Place::Orthant(vec![states[random.below(3)]]))
        .collect();
    Degenerate::new(n, blocks, random)
}

fn direction(d: usize, random: &mut Random) -> Vec<f64> {
    let mut w = vec![0.0; d];
    match random.below(3) {
        0 => w[random.below(d)] = 1.0,
        1 if d > 1 => (w[0], w[1]) = (0.6, -0.8),
        _ => {
            let u = random.normal_vec(d);
            let norm = u.iter().map(|x| x * x).sum::<f64>().sqrt();
            w = u.iter().map(|x| x / norm).collect();
        }
    }
    w
}

fn second_order(random: &mut Random) -> Degenerate {
    let n = 1 + random.below(5);
    let corners = [
        Corner::Interior,
        Corner::Polar,
        Corner::Middle(0.5),
        Corner::ZeroSlack,
        Corner::ZeroDual,
        Corner::Apex,
    ];
    let count = 1 + random.below(3);
    let mut blocks: Vec<Place> = (0..count)
        .map(|_| {
            let d = 1 + random.below(5);
            let w = direction(d, random);
            Place::SecondOrder(corners[random.below(6)], w)
        })
        .collect();
    if random.below(2) == 0 {
        blocks.push(Place::Orthant(vec![[Some(true), None][random.below(2)]]));
    }
    Degenerate::new(n, blocks, random)
}

fn psd(random: &mut Random) -> Degenerate {
    let k = 2 + random.below(2);
    let n = 1 + random.below(k * (k + 1) / 2 + 1);
    let q = orthogonal(k, random);
    let values = (0..k)
        .map(|_| [2.0, 1.0, 0.0, 0.0, -1.0, -3.0][random.below(6)])
        .collect();
    let mut blocks = vec![Place::Psd(q, values)];
    if random.below(2) == 0 {
        blocks.push(Place::Orthant(vec![[Some(true), None][random.below(2)]]));
    }
    Degenerate::new(n, blocks, random)
}

#[test]
fn the_certificate_agrees_with_every_vertex_of_degenerate_orthants() {
    let counts = compare(1500, 1, 6, orthant);
    assert!(counts.iter().all(|c| *c >= 300), "{counts:?}");
}

#[test]
fn the_certificate_agrees_with_drawn_elements_of_degenerate_second_order_cones() {
    let counts = compare(1500, 2, 12, second_order);
    assert!(counts.iter().all(|c| *c >= 200), "{counts:?}");
}

#[test]
fn the_certificate_agrees_with_drawn_elements_of_degenerate_psd_cones() {
    let counts = compare(1200, 3, 12, psd);
    assert!(counts.iter().all(|c| *c >= 200), "{counts:?}");
}

#[test]
fn an_ill_conditioned_upper_element_is_not_taken_for_a_singular_one() {
    // Two weakly active rows at an angle: dependent only at angle 0.
    for (angle, expected) in [(1e-2, true), (1e-4, true), (1e-5, true), (0.0, false)] {
        for extra in [0, 6] {
            let n = 2 + extra;
            let mut builder = conediff::ProgramBuilder::new(n);
            for j in 0..n {
                builder.quadratic(j, j, 1.0);
            }
            builder.inequality(&[(0, 1.0)], 0.0);
            builder.inequality(&[(0, 1.0), (1, angle)], 0.0);
            // More weakly active rows than solves are worth.
            for j in 2..n {
                builder.inequality(&[(j, 1.0)], 0.0);
            }
            let program = builder.build().unwrap();
            let zeros = |len| vec![0.0; len];
            let solution =
                conediff::Solution::given(&program, zeros(n), zeros(n), zeros(n)).unwrap();
            let derivative = Derivative::new(&program, &solution, &Settings::default()).unwrap();
            let report = derivative.regularity().unwrap();
            assert_eq!(report.is_certified(), expected, "{angle} {extra}: {report}");
        }
    }
}
