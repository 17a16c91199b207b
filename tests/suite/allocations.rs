//! The `*_into` forms allocate nothing.

use conediff::{
    Cone, ConicLayer, DataTangent, Derivative, Generator, LayerSettings, LinearBackend,
    LinearSolver, Parametrization, Settings, SolutionTangent, Wanted, WarmStart, solve,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::families;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn jvp_and_vjp_into_the_callers_memory_allocate_nothing() {
    for solver in [LinearSolver::Ldl, LinearSolver::Lu] {
        allocate_nothing(&Settings::default().with_linear_solver(solver));
    }
}

fn allocate_nothing(settings: &Settings) {
    for cones in [
        vec![Cone::Zero(3), Cone::Nonnegative(20)],
        vec![Cone::SecondOrder(12), Cone::Nonnegative(8)],
        vec![Cone::Exponential, Cone::Power(0.4), Cone::Exponential],
        vec![Cone::PsdTriangle(6), Cone::PsdTriangle(3)],
    ] {
        let generated = Generator::new(30, cones.clone()).generate().unwrap();
        let program = generated.program();
        let solution = solve(program, settings).unwrap();
        let derivative = Derivative::new(program, &solution, settings).unwrap();
        let mut work = derivative.workspace();
        let cotangent = SolutionTangent::random(program, 1);
        let tangent = DataTangent::random(program, 2);
        let mut gradient = DataTangent::zeros(program);
        let mut direction = SolutionTangent::zeros(program);
        let before = COUNT.with(Cell::get);
        let vjp = derivative.vjp_into(&cotangent, Wanted::default(), &mut gradient, &mut work);
        let jvp = derivative.jvp_into(&tangent, &mut direction, &mut work);
        let after = COUNT.with(Cell::get);
        assert!(vjp.unwrap().converged && jvp.unwrap().converged);
        assert_eq!(after - before, 0, "{cones:?} {:?}", settings.linear.solver);
    }
}

/// Allocations of a layer's JVP and VJP into memory that has its lengths.
fn allocations(
    layer: &mut ConicLayer,
    gradient: &mut DataTangent,
    direction: &mut SolutionTangent,
) -> usize {
    let cotangent = SolutionTangent::random(layer.program(), 1);
    let tangent = DataTangent::random(layer.program(), 2);
    let before = COUNT.with(Cell::get);
    let vjp = layer.backward_into(&cotangent, Wanted::default(), gradient);
    let jvp = layer.jvp_into(&tangent, direction);
    let after = COUNT.with(Cell::get);
    assert!(vjp.unwrap().converged && jvp.unwrap().converged);
    after - before
}

#[test]
fn a_layers_jvp_and_vjp_allocate_nothing_whatever_was_solved_last() {
    // Every kind of cone, and a PSD block that is the variable.
    let names = [
        "qp-dense-20",
        "mpc-20",
        "markowitz-200",
        "soc-100x4",
        "exp-200",
        "power-30",
        "genpower",
        "psd-10",
        "nearest-10",
        "lmi-10",
    ];
    for family in names.iter().filter_map(|n| families::named(n)) {
        for backend in [
            LinearBackend::Auto,
            LinearBackend::Dense,
            LinearBackend::Simplicial,
            LinearBackend::Supernodal,
        ] {
            let mut settings = LayerSettings::default();
            settings.settings = settings.settings.with_linear_solver(LinearSolver::Ldl);
            settings.settings.linear.backend = backend;
            let mut layer = ConicLayer::new(&family.program, settings).unwrap();
            layer.forward_program(&family.program).unwrap();
            let mut gradient = DataTangent::zeros(&family.program);
            let mut direction = SolutionTangent::zeros(&family.program);
            // The first one already: the forward made the memory.
            for (k, start) in [WarmStart::Off, WarmStart::Off, WarmStart::Previous]
                .into_iter()
                .enumerate()
            {
                let count = allocations(&mut layer, &mut gradient, &mut direction);
                assert_eq!(count, 0, "{} {backend:?}, {k}", family.name);
                // Moves of a tenth change the active set, and with it the sizes of what is in use.
                layer.set_warm_start(start);
                layer.forward_program(&family.item(k as u64, 0.1)).unwrap();
            }
            let count = allocations(&mut layer, &mut gradient, &mut direction);
            assert_eq!(count, 0, "{} {backend:?}, at last", family.name);
        }
    }
}

#[test]
fn a_parametrization_allocates_nothing_once_lengths_are_right() {
    let generated = Generator::new(10, vec![Cone::Nonnegative(8)])
        .generate()
        .unwrap();
    let program = generated.program();
    let map = |rows: usize| {
        sprs::TriMat::from_triplets((rows, 3), vec![0, 1], vec![2, 0], vec![1.0, 2.0]).to_csc()
    };
    let (p, q, b) = (map(program.p().nnz()), map(program.n()), map(program.m()));
    let parametrization =
        Parametrization::new(program, Some(&p), Some(&q), None, Some(&b)).unwrap();
    let (mut data, mut tangent) = (DataTangent::default(), DataTangent::default());
    let mut theta = vec![0.1, 0.2, 0.3];
    let mut run = || {
        parametrization.evaluate_into(&theta, &mut data).unwrap();
        parametrization
            .push_forward_into(&theta, &mut tangent)
            .unwrap();
        parametrization
            .pull_back_into(&tangent, &mut theta)
            .unwrap();
    };
    run();
    let before = COUNT.with(Cell::get);
    run();
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}
