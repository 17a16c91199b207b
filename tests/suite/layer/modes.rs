//! Every family in every mode: the solution is that of `solve`, the derivatives are the known ones.

use conediff::{
    Cone, ConeProgram, ConicLayer, ForwardPath, ForwardSolver, LayerData, LayerSettings, Solution,
    WarmStart,
};

use super::support::{Data, KNOWN, Known, distance, solve_default};
use crate::families::{self, Family};

/// The relative size of a move.
const MOVE: f64 = 0.01;

/// The largest figures seen in a mode.
#[derive(Default)]
struct Worst {
    solution: f64,
    residual: f64,
    derivative: f64,
    name: &'static str,
}

impl Worst {
    fn see(&mut self, name: &'static str, solution: f64, residual: f64, derivative: f64) {
        if derivative > self.derivative {
            self.name = name;
        }
        self.solution = self.solution.max(solution);
        self.residual = self.residual.max(residual);
        self.derivative = self.derivative.max(derivative);
        assert!(solution <= KNOWN, "{name}: solution off by {solution:e}");
        assert!(residual <= KNOWN, "{name}: residual {residual:e}");
        assert!(
            derivative <= KNOWN,
            "{name}: derivative off by {derivative:e}"
        );
    }

    fn print(&self, mode: &str) {
        println!(
            "{mode}: solution {:.1e}, residual {:.1e}, derivative {:.1e} ({})",
            self.solution, self.residual, self.derivative, self.name
        );
    }
}

fn residual(solution: &Solution) -> f64 {
    let refinement = solution.refinement.unwrap();
    assert!(refinement.accepted);
    refinement.after
}

/// Forward, JVP and VJP on each program, one after the other, given as a program, which shares what does not move, and as values.
fn one_by_one(
    family: &Family,
    programs: &[ConeProgram],
    settings: LayerSettings,
    worst: &mut Worst,
) -> ConicLayer {
    let shared = ConicLayer::new(&family.program, settings.clone()).unwrap();
    let layer = ConicLayer::new(&family.program, settings).unwrap();
    run(family, programs, shared, worst, |layer, program| {
        layer.forward_program(program).unwrap().clone()
    });
    run(family, programs, layer, worst, |layer, program| {
        layer.forward(&Data::of(program).all()).unwrap().clone()
    })
}

fn run(
    family: &Family,
    programs: &[ConeProgram],
    mut layer: ConicLayer,
    worst: &mut Worst,
    forward: impl Fn(&mut ConicLayer, &ConeProgram) -> Solution,
) -> ConicLayer {
    for program in programs {
        let solution = forward(&mut layer, program);
        let error = Known::at(program, &solution).error(&mut layer);
        worst.see(
            family.name,
            distance(&solution, &solve_default(program)),
            residual(&solution),
            error,
        );
    }
    layer
}

fn items(family: &Family) -> Vec<ConeProgram> {
    (0..2).map(|k| family.item(k, MOVE)).collect()
}

fn is_polyhedral(family: &Family) -> bool {
    let is_polyhedral = |c: &Cone| matches!(c, Cone::Zero(_) | Cone::Nonnegative(_));
    family.program.cones().iter().all(is_polyhedral)
}

#[test]
fn a_cold_layer_is_right_on_every_family() {
    let mut worst = Worst::default();
    for family in families::all() {
        one_by_one(
            &family,
            &items(&family),
            LayerSettings::default(),
            &mut worst,
        );
    }
    worst.print("cold");
}

#[test]
fn a_layer_on_clarabel_alone_is_right_on_every_family() {
    let mut worst = Worst::default();
    let settings = LayerSettings::default().with_forward(ForwardSolver::Clarabel);
    for family in families::all() {
        let layer = one_by_one(&family, &items(&family), settings.clone(), &mut worst);
        // Without Clarabel's inner refinement a portfolio misses now and then.
        let counts = layer.counts();
        assert_eq!(counts.cheap + counts.full, 2, "{}", family.name);
        assert_eq!(counts.dense_qp, 0, "{}", family.name);
    }
    worst.print("Clarabel");
}

#[test]
fn a_layer_on_the_dense_method_is_right_on_polyhedral_families() {
    let mut worst = Worst::default();
    let settings = LayerSettings::default().with_forward(ForwardSolver::DenseQp);
    for family in families::all().into_iter().filter(is_polyhedral) {
        let layer = one_by_one(&family, &items(&family), settings.clone(), &mut worst);
        assert_eq!(layer.counts().dense_qp, 2, "{}", family.name);
    }
    worst.print("dense QP");
}

#[test]
fn warm_starts_along_a_path_are_right_on_every_family() {
    let mut worst = Worst::default();
    let settings = LayerSettings::default().with_warm_start(WarmStart::Previous);
    let (mut warm, mut steps) = (0, 0);
    for family in families::all() {
        let path: Vec<ConeProgram> = (0..4).map(|k| family.path(k, MOVE)).collect();
        let layer = one_by_one(&family, &path, settings.clone(), &mut worst);
        let counts = layer.counts();
        assert_eq!(counts.warm + counts.warm_missed, 3, "{}", family.name);
        (warm, steps) = (warm + counts.warm, steps + 3);
    }
    println!("warm on {warm} of {steps} steps");
    // A step of a hundredth stays within reach of Newton's method but for a few.
    assert!(10 * warm >= 9 * steps);
    worst.print("previous");
}

#[test]
fn warm_starts_from_a_given_solution_are_right_on_every_family() {
    let mut worst = Worst::default();
    for family in families::all() {
        let start = Box::new(solve_default(&family.program));
        let settings = LayerSettings::default().with_warm_start(WarmStart::Given(start));
        let layer = one_by_one(&family, &items(&family), settings, &mut worst);
        let counts = layer.counts();
        assert_eq!(counts.warm + counts.warm_missed, 2, "{}", family.name);
    }
    worst.print("given");
}

#[test]
fn a_given_start_that_is_the_solution_is_taken() {
    for family in families::all() {
        let solution = solve_default(&family.program);
        let start = WarmStart::Given(Box::new(solution.clone()));
        let settings = LayerSettings::default().with_warm_start(start);
        let mut layer = ConicLayer::new(&family.program, settings).unwrap();
        let found = layer.forward(&LayerData::default()).unwrap();
        assert!(distance(found, &solution) <= KNOWN, "{}", family.name);
        assert_eq!(layer.path(0), Some(ForwardPath::Warm), "{}", family.name);
    }
}

#[test]
fn batches_are_right_on_every_family_with_one_thread_and_with_two() {
    for threads in [1, 2] {
        let mut worst = Worst::default();
        for family in families::all() {
            let settings = LayerSettings::default().with_threads(threads);
            let mut layer = ConicLayer::new(&family.program, settings).unwrap();
            let programs: Vec<ConeProgram> = (0..3).map(|k| family.item(k, MOVE)).collect();
            let data: Vec<Data> = programs.iter().map(Data::of).collect();
            let data: Vec<LayerData<'_>> = data.iter().map(Data::all).collect();
            let found = layer.forward_batch(&data);
            let found: Vec<Solution> = found.into_iter().map(Result::unwrap).collect();
            let known: Vec<Known> = programs
                .iter()
                .zip(&found)
                .map(|(p, s)| Known::at(p, s))
                .collect();
            let tangents: Vec<_> = known.iter().map(|k| k.tangent.clone()).collect();
            let cotangents: Vec<_> = known.iter().map(|k| k.cotangent.clone()).collect();
            let jvps = layer.jvp_batch(&tangents).unwrap();
            let vjps = layer.backward_batch(&cotangents).unwrap();
            assert_eq!((jvps.len(), vjps.len()), (3, 3));
            for (k, (jvp, vjp)) in jvps.into_iter().zip(vjps).enumerate() {
                let forward = known[k].jvp_error(&jvp.unwrap());
                worst.see(
                    family.name,
                    distance(&found[k], &solve_default(&programs[k])),
                    residual(&found[k]),
                    forward.max(known[k].vjp_error(&vjp.unwrap())),
                );
            }
        }
        worst.print(&format!("batch, {threads} threads"));
    }
}
