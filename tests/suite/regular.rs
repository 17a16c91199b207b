//! Every family of problems is regular at its solution, where its derivatives are known, and so are most of its items.

use conediff::{
    ConeProgram, DataTangent, Derivative, Generated, RowState, Settings, SolutionTangent,
    interior_point, solve,
};
use std::time::Instant;

use crate::families;
use crate::support::relative;

/// How far a derivative may be from the known one.
const KNOWN: f64 = 1e-9;

/// The relative size of a move.
const MOVE: f64 = 0.01;

fn derivative(program: &ConeProgram) -> conediff::Result<Derivative> {
    let settings = Settings::default();
    Derivative::new(program, &solve(program, &settings)?, &settings)
}

/// True if the program is solved and differentiable there.
fn is_regular(program: &ConeProgram) -> bool {
    derivative(program).is_ok_and(|d| d.is_trusted_point())
}

/// The larger of a JVP's and a VJP's error.
fn error(derivative: &Derivative) -> f64 {
    let known = Generated::from_solution(derivative.program(), derivative.solution()).unwrap();
    let (tangent, expected) = known.known_jvp(1);
    let found = derivative.jvp(&tangent).unwrap().value;
    let join = |t: &SolutionTangent| [t.x.as_slice(), &t.z, &t.s].concat();
    let forward = relative(&join(&found), &join(&expected));
    let (cotangent, expected) = known.known_vjp(2);
    let found = derivative.vjp(&cotangent).unwrap().value;
    let join = |t: &DataTangent| [t.p.as_slice(), &t.q, &t.a, &t.b].concat();
    forward.max(relative(&join(&found), &join(&expected)))
}

/// Rows that are active, inactive and curved.
fn states(derivative: &Derivative) -> [usize; 3] {
    let states = derivative.row_states();
    [RowState::Active, RowState::Inactive, RowState::Curved]
        .map(|state| states.iter().filter(|s| **s == state).count())
}

#[test]
fn derivatives_of_every_family_are_found_at_a_regular_solution() {
    for family in families::all() {
        let derivative = derivative(&family.program).unwrap();
        let error = error(&derivative);
        let [active, inactive, curved] = states(&derivative);
        println!(
            "{}: {error:.1e}, {active} + {inactive} + {curved} rows",
            family.name
        );
        assert!(derivative.is_trusted_point(), "{}", family.name);
        assert!(derivative.warnings().is_empty(), "{}", family.name);
        assert!(error <= KNOWN, "{}: {error:e}", family.name);
        // Something holds the solution, and something does not.
        assert!(active + curved > 0 && inactive + curved > 0);
    }
}

#[test]
fn items_and_steps_of_a_family_are_regular() {
    for family in families::all() {
        let items = (0..2).map(|k| family.item(k, MOVE));
        let steps = [3, 40].map(|k| family.path(k, MOVE));
        let regular = items.chain(steps).filter(is_regular).count();
        assert!(regular >= 3, "{}: {regular} of 4", family.name);
    }
}

/// P, q, A and b.
fn data(program: &ConeProgram) -> [Vec<f64>; 4] {
    [
        program.p().stored_values(),
        program.q().to_vec(),
        program.a().stored_values(),
        program.b().to_vec(),
    ]
}

#[test]
fn what_moves_from_item_to_item_is_what_a_family_says() {
    for family in families::all() {
        let (start, moving) = (data(&family.program), family.moving);
        let moves = [moving.p, moving.q, moving.a, moving.b];
        for moved in [family.item(1, MOVE), family.path(5, MOVE)].map(|m| data(&m)) {
            for ((from, to), moves) in start.iter().zip(&moved).zip(moves) {
                assert_eq!(from != to, moves, "{}", family.name);
            }
        }
        assert_eq!(data(&family.item(7, MOVE)), data(&family.item(7, MOVE)));
        assert_ne!(data(&family.item(7, MOVE)), data(&family.item(8, MOVE)));
    }
}

#[test]
fn steps_of_a_path_are_as_long_as_asked_for_and_stay_near() {
    let family = families::named("qp-dense-20").unwrap();
    let q = |k: usize, size: f64| family.path(k, size).q().to_vec();
    let start = family.program.q();
    let mean = start.iter().map(|q| q.abs()).sum::<f64>() / start.len() as f64;
    let distance = |a: &[f64], b: &[f64]| -> f64 {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (squares / a.len() as f64).sqrt() / mean
    };
    for size in [1e-4, 1e-2, 1e-1] {
        for k in [0, 10, 1000] {
            let step = distance(&q(k, size), &q(k + 1, size));
            assert!(step > 0.4 * size && step < 1.6 * size, "{size}: {step}");
            assert!(distance(&q(k, size), start) <= 0.2);
        }
    }
}

/// The table of every family, or of those whose name starts with $FAMILY:
/// `cargo test --release --test suite table_of_families -- --ignored --nocapture`.
#[test]
#[ignore = "takes two minutes in release"]
fn table_of_families() {
    let only = std::env::var("FAMILY").unwrap_or_default();
    println!("name | n | m | nnz(A) | ms | condition | kinks | error | rows | items");
    for name in families::NAMES.iter().filter(|n| n.starts_with(&only)) {
        let family = families::named(name).unwrap();
        let program = &family.program;
        let start = Instant::now();
        interior_point(program, &Settings::default().solve).unwrap();
        let time = start.elapsed().as_secs_f64() * 1e3;
        let (n, m, nnz) = (program.n(), program.m(), program.a().nnz());
        let derivative = derivative(program).unwrap();
        let (kinks, condition) = (derivative.kinks().len(), derivative.condition());
        let error = error(&derivative);
        let rows = states(&derivative);
        let regular = (0..20).filter(|&k| is_regular(&family.item(k, MOVE)));
        println!(
            "{name} | {n} | {m} | {nnz} | {time:.1} | {condition:.0e} | {kinks} | {error:.1e} | {rows:?} | {} of 20",
            regular.count()
        );
        assert!(derivative.is_trusted_point() && error <= KNOWN, "{name}");
    }
}
