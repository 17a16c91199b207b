//! The same input gives the same bits, whatever the number of threads, with the solvers fixed; and what may cross threads does.

use conediff::systems::{equilibrium, lasso};
use conediff::{
    ClarabelLinearSolver, Cone, ConeProgram, ConicLayer, DataTangent, ForwardSolver, Generator,
    LayerSettings, LinearBackend, SolutionTangent,
};

/// Every kind of cone in one program.
fn every_cone(seed: u64) -> ConeProgram {
    let cones = vec![
        Cone::Zero(3),
        Cone::Nonnegative(8),
        Cone::SecondOrder(3),
        Cone::SecondOrder(7),
        Cone::PsdTriangle(3),
        Cone::Exponential,
        Cone::Power(0.3),
        Cone::GeneralizedPower(vec![0.25, 0.35, 0.4], 2),
    ];
    let generator = Generator::new(24, cones).with_seed(seed);
    generator.generate().unwrap().program().clone()
}

/// Data that move all of q and b, on one structure.
fn items(program: &ConeProgram) -> Vec<ConeProgram> {
    let times = |v: &[f64], t: f64| v.iter().map(|x| x * t).collect::<Vec<f64>>();
    (0..12)
        .map(|k| {
            let t = 1.0 + 0.004 * f64::from(k);
            let moved = program.with_q(times(program.q(), t)).unwrap();
            moved.with_b(times(program.b(), 2.0 - t)).unwrap()
        })
        .collect()
}

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|x| x.to_bits()).collect()
}

/// Solutions, gradients and tangents of a batch, as bits.
fn batch(programs: &[ConeProgram], settings: LayerSettings) -> Vec<[Vec<u64>; 3]> {
    let mut layer = ConicLayer::new(&programs[0], settings).unwrap();
    let solutions = layer.forward_programs(programs);
    let seeds: Vec<_> = (0..programs.len() as u64)
        .map(|k| SolutionTangent::random(&programs[0], k))
        .collect();
    let tangents: Vec<_> = (0..programs.len() as u64)
        .map(|k| DataTangent::random(&programs[0], k))
        .collect();
    let gradients = layer.backward_batch(&seeds).unwrap();
    let jvps = layer.jvp_batch(&tangents).unwrap();
    let both = solutions.into_iter().zip(gradients).zip(jvps);
    both.map(|((solution, gradient), jvp)| {
        let (s, g, t) = (solution.unwrap(), gradient.unwrap(), jvp.unwrap());
        assert!(g.trusted && t.trusted, "{:?} {:?}", g.warnings, t.warnings);
        let (g, t) = (g.value, t.value);
        [
            bits(&[s.x, s.z, s.s].concat()),
            bits(&[g.p, g.q, g.a, g.b].concat()),
            bits(&[t.x, t.z, t.s].concat()),
        ]
    })
    .collect()
}

#[test]
fn one_two_and_eight_threads_give_the_same_bits_over_all_cones() {
    let programs = items(&every_cone(3));
    for clarabel in [ClarabelLinearSolver::Qdldl, ClarabelLinearSolver::Faer] {
        for backend in [
            LinearBackend::Dense,
            LinearBackend::Simplicial,
            LinearBackend::Supernodal,
        ] {
            let mut settings = LayerSettings {
                forward: ForwardSolver::Clarabel,
                clarabel,
                ..LayerSettings::default()
            };
            settings.settings.linear.backend = backend;
            let one = batch(&programs, settings.clone());
            // Different items have different answers: agreement below is no accident.
            assert!(one.windows(2).all(|w| w[0] != w[1]));
            for threads in [1, 2, 8] {
                let many = batch(&programs, settings.clone().with_threads(threads));
                assert!(many == one, "{clarabel:?} {backend:?}, {threads} threads");
            }
        }
    }
}

/// Compiles only for types that may cross threads and be shared by them.
fn crosses_threads<T: Send + Sync>() {}

macro_rules! all_cross_threads {
    ($($name:ty),* $(,)?) => {
        [$((crosses_threads::<$name> as fn(), stringify!($name))),*]
    };
}

#[test]
fn every_public_type_crosses_threads() {
    use conediff::*;
    let all = all_cross_threads![
        Affine,
        Ambiguity<DataTangent>,
        Block,
        BlockCheck,
        Budget,
        Cancel,
        Certificate,
        Checked<DataCotangent>,
        Cone,
        ConeProgram,
        ConicLayer,
        CycleReturn,
        DataCoordinate,
        DataTangent,
        Definability,
        DenseMatrix,
        Derivative,
        DerivativeWorkspace,
        Diagonal,
        Differenced<DataTangent>,
        Elements,
        Envelope,
        Error,
        Evidence,
        FamilyCertificate,
        FunctionCheck,
        Generated,
        Generator,
        GradcheckReport,
        GradcheckSettings,
        HullElement,
        ImplicitFunction<SparseMatrix>,
        Indeterminate,
        Invertibility,
        Iterate,
        Kink,
        KinkKind,
        Knot,
        LayerCounts,
        LayerData<'static>,
        LayerSettings,
        Linearization<SparseMatrix>,
        LsqrReport,
        LsqrSettings,
        Margin,
        Meaning,
        Method,
        Monitor,
        MonitorSettings,
        MonitorTotals,
        Observation,
        ParametrizedLayer,
        Parametrization,
        Pattern,
        Policy,
        Prepared,
        ProgramBuilder,
        Projection,
        Psd,
        Refinement,
        Regularity,
        ResidualJacobian,
        RowState,
        Running,
        SecondOrder,
        Selection,
        SelectionFamily,
        Settings,
        SingularElement,
        Solution,
        SolutionCoordinate,
        SolutionTangent,
        Spectral,
        SplittingSettings,
        SparseMatrix,
        Status,
        Uniqueness,
        VariationalDerivative,
        VariationalInequality,
        Verdict,
        Wanted,
        Warning,
        WarmStart,
        Witness,
        Workspace,
        piggyback::PiggybackSettings,
        piggyback::Propagated,
        piggyback::LimitDerivative,
        piggyback::Trend,
        equilibrium::EquilibriumLayer,
        equilibrium::EquilibriumDerivative<'static>,
        equilibrium::EquilibriumSettings,
        lasso::SparseRegression,
        lasso::Penalty,
        lasso::Fit,
        lasso::FitDerivative<'static>,
        lasso::FitSettings,
        lasso::TuneSettings,
        lasso::Tuned,
    ];
    // That the list compiles is the test.
    all.iter().for_each(|(check, _)| check());
    let stop = Cancel::new();
    let other = stop.clone();
    std::thread::spawn(move || other.cancel()).join().unwrap();
    assert!(stop.is_cancelled());
}
