//! What serializes comes back bit for bit, no invalid program comes back at all, and Clarabel reads its own format.

use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, SolverJSONReadWrite, SolverStatus,
};
use conediff::{
    ClarabelLinearSolver, Cone, ConeProgram, DataTangent, Derivative, Error, ForwardSolver,
    LayerSettings, LinearBackend, LinearSettings, LinearSolver, Policy, RefineSettings, Refinement,
    Selection, Settings, Solution, SolutionTangent, SolveSettings, SparseMatrix, Status, WarmStart,
    solve,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::io::{Seek, SeekFrom, Write};

use crate::families;
use crate::hostile::support::cases;

/// Any number: every bit pattern, and those of note.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => any::<u64>().prop_map(f64::from_bits),
        2 => -2.0..2.0f64,
        1 => prop::sample::select(vec![
            0.0, -0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, f64::INFINITY,
            f64::NEG_INFINITY, f64::NAN, 1e20, 0.1 + 0.2, 1e22, 1e23,
        ]),
    ]
}

fn finite() -> impl Strategy<Value = f64> {
    number().prop_map(|x| if x.is_finite() { x } else { -0.0 })
}

fn list(len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(number(), len)
}

/// Debug prints the shortest digits that tell a number from every other one, and the sign of 0: equal texts are equal bits, but for the
/// payload of a NaN.
#[track_caller]
fn assert_returns<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(format!("{back:?}"), format!("{value:?}"), "{text}");
    // A value in between, as formats with tags make, changes nothing.
    let between: Value = serde_json::from_str(&text).unwrap();
    let back: T = serde_json::from_value(between).unwrap();
    assert_eq!(format!("{back:?}"), format!("{value:?}"), "{text}");
}

/// Compressed rows or columns with some entries of a dense matrix.
fn compressed(
    outer: usize,
    inner: usize,
    is_kept: impl Fn(usize, usize) -> bool,
    values: &[f64],
) -> (Vec<usize>, Vec<usize>, Vec<f64>) {
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for k in 0..outer {
        indices.extend((0..inner).filter(|&i| is_kept(k, i)));
        indptr.push(indices.len());
    }
    let data = (0..indices.len())
        .map(|k| values[k % values.len()])
        .collect();
    (indptr, indices, data)
}

/// A program of every cone: n variables, A's pattern by bits, numbers of any size, rows without a bound.
fn program() -> impl Strategy<Value = ConeProgram> {
    let cones = vec![
        Cone::Zero(1),
        Cone::Nonnegative(3),
        Cone::SecondOrder(3),
        Cone::PsdTriangle(2),
        Cone::Exponential,
        Cone::Power(0.1 + 0.2),
        Cone::GeneralizedPower(vec![0.1, 0.2, 0.3, 0.4], 1),
        Cone::Zero(0),
    ];
    let m: usize = cones.iter().map(Cone::rows).sum();
    let parts = (
        1..5usize,
        any::<u64>(),
        any::<[bool; 2]>(),
        prop::collection::vec(finite(), 20),
        prop::collection::vec(finite(), 5),
        prop::collection::vec(finite(), m),
        any::<[bool; 3]>(),
    );
    parts.prop_map(move |(n, bits, by_rows, values, q, mut b, is_free)| {
        let diagonal: Vec<f64> = values.iter().map(|x| x.abs()).collect();
        let (p, a) = (
            compressed(n, n, |i, j| i == j && bits >> (40 + i) & 1 == 1, &diagonal),
            if by_rows[0] {
                compressed(m, n, |i, j| bits >> ((7 * i + j) % 61) & 1 == 1, &values)
            } else {
                compressed(n, m, |j, i| bits >> ((7 * i + j) % 61) & 1 == 1, &values)
            },
        );
        let make = |is_by_rows| {
            if is_by_rows {
                SparseMatrix::from_csr
            } else {
                SparseMatrix::from_csc
            }
        };
        for (row, is_free) in is_free.into_iter().enumerate() {
            // Between -1e20 and 1e20 a number is a bound.
            b[1 + row] = if is_free {
                f64::INFINITY
            } else {
                b[1 + row] % 1e20
            };
        }
        ConeProgram::from_matrices(
            make(by_rows[1])("P", n, n, &p.0, &p.1, &p.2).unwrap(),
            q[..n].to_vec(),
            make(by_rows[0])("A", m, n, &a.0, &a.1, &a.2).unwrap(),
            b,
            cones.clone(),
        )
        .unwrap()
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let choices = (
        prop::sample::select(vec![
            LinearSolver::Auto,
            LinearSolver::Ldl,
            LinearSolver::Lu,
            LinearSolver::Lsqr,
        ]),
        prop::sample::select(vec![
            LinearBackend::Auto,
            LinearBackend::Dense,
            LinearBackend::Simplicial,
            LinearBackend::Supernodal,
        ]),
        prop_oneof![
            Just(Selection::Active),
            Just(Selection::Half),
            any::<u64>().prop_map(Selection::Random),
            Just(Selection::NonsingularFirst),
        ],
        prop_oneof![
            Just(Policy::Flag),
            number().prop_map(|rho| Policy::Tikhonov { rho }),
            number().prop_map(|mu| Policy::Smoothing { mu }),
            number().prop_map(|tau| Policy::Lagrangian { tau }),
        ],
    );
    (
        list(6),
        choices,
        any::<[usize; 3]>(),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(
            |(x, (solver, backend, selection, policy), count, large, yes)| Settings {
                solve: SolveSettings {
                    tolerance: x[0],
                    max_iterations: count[0] as u32,
                    time_limit: x[1],
                },
                refine: RefineSettings {
                    enabled: yes,
                    tolerance: x[2],
                    max_steps: count[1],
                },
                linear: LinearSettings {
                    solver,
                    backend,
                    tolerance: x[3],
                    max_refinement: count[2],
                    lsqr_max_iterations: count[0],
                },
                ambiguity: x[4],
                accuracy: x[5],
                selection,
                policy,
                strict: yes,
                max_dense_bytes: large,
            },
        )
}

fn solution() -> impl Strategy<Value = Solution> {
    let refinement =
        (list(3), any::<usize>(), any::<bool>()).prop_map(|(x, steps, accepted)| Refinement {
            before: x[0],
            after: x[1],
            steps,
            last_step: x[2],
            accepted,
        });
    let status = prop::sample::select(vec![
        Status::Solved,
        Status::AlmostSolved,
        Status::PrimalInfeasible,
        Status::DualInfeasible,
        Status::MaxIterations,
        Status::MaxTime,
        Status::NumericalError,
        Status::InsufficientProgress,
    ]);
    let parts = (list(3), list(5), list(5), number(), status, any::<u32>());
    (parts, prop::option::of(refinement)).prop_map(
        |((x, z, s, objective, status, iterations), refinement)| Solution {
            x,
            z,
            s,
            objective,
            status,
            iterations,
            refinement,
        },
    )
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_program_returns_with_every_bit_and_its_stored_order(program in program()) {
        assert_returns(&program);
        let text = serde_json::to_string(&program).unwrap();
        let back = ConeProgram::from_json(&text).unwrap();
        prop_assert!(back.has_structure_of(&program));
        prop_assert_eq!(format!("{back:?}"), format!("{program:?}"));
    }

    #[test]
    fn clarabels_json_keeps_every_bit_but_infinity(program in program()) {
        let back = ConeProgram::from_json(&program.to_json()).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
        prop_assert_eq!(bits(back.p().values()), bits(program.p().values()));
        prop_assert_eq!(bits(back.a().values()), bits(program.a().values()));
        prop_assert_eq!(bits(back.q()), bits(program.q()));
        for (b, was) in back.b().iter().zip(program.b()) {
            prop_assert_eq!(b.to_bits(), if *was == f64::INFINITY { 1e20 } else { *was }.to_bits());
        }
        prop_assert_eq!(back.unbounded(), program.unbounded());
    }

    #[test]
    fn settings_return_with_every_bit(
        settings in settings(),
        tolerance in number(),
        start in solution(),
        threads in any::<usize>(),
        which in 0..3usize,
    ) {
        assert_returns(&settings);
        assert_returns(&LayerSettings {
            settings,
            forward: [ForwardSolver::Auto, ForwardSolver::Clarabel, ForwardSolver::DenseQp][which],
            clarabel: [
                ClarabelLinearSolver::Auto,
                ClarabelLinearSolver::Qdldl,
                ClarabelLinearSolver::Faer,
            ][which],
            tolerance,
            warm_start: match which {
                0 => WarmStart::Off,
                1 => WarmStart::Previous,
                _ => WarmStart::Given(Box::new(start)),
            },
            threads,
        });
    }

    #[test]
    fn solutions_and_directions_return_with_every_bit(
        solution in solution(),
        [p, q, a, b, x] in [list(4), list(2), list(3), list(0), list(6)],
        exponents in list(3),
    ) {
        assert_returns(&solution);
        assert_returns(&SolutionTangent { x, z: p.clone(), s: q.clone() });
        assert_returns(&DataTangent { p, q, a, b });
        assert_returns(&Cone::Power(exponents[0]));
        assert_returns(&Cone::GeneralizedPower(exponents, 2));
    }
}

#[test]
fn the_words_for_what_json_lacks_are_those_of_the_documentation() {
    let solution = Solution {
        x: vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0],
        z: vec![],
        s: vec![],
        objective: f64::NEG_INFINITY,
        status: Status::AlmostSolved,
        iterations: 3,
        refinement: None,
    };
    let json = serde_json::to_string(&solution).unwrap();
    assert!(
        json.starts_with(r#"{"x":["Infinity","-Infinity","NaN",-0.0]"#),
        "{json}"
    );
    assert!(json.contains(r#""objective":"-Infinity","status":"almost_solved""#));
    let e = serde_json::from_str::<SolutionTangent>(r#"{"x": ["inf"]}"#).unwrap_err();
    assert!(e.to_string().contains(r#""-Infinity" or "NaN""#), "{e}");
    let e = serde_json::from_str::<SolutionTangent>(r#"{"x": [null]}"#).unwrap_err();
    assert!(e.to_string().contains("invalid type: null"), "{e}");
    // No limit is what the default says, and it returns.
    let settings = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(settings["solve"]["time_limit"], "Infinity");
}

#[test]
fn reports_and_errors_serialize_with_their_numbers() {
    let singular = ConeProgram::from_csc(
        (&[0, 0], &[], &[]),
        vec![0.0],
        (&[0, 1], &[0], &[1.0]),
        vec![1.0],
        vec![Cone::Nonnegative(1)],
    )
    .unwrap();
    let settings = Settings::default();
    let solution = solve(&singular, &settings).unwrap();
    let derivative = Derivative::new(&singular, &solution, &settings).unwrap();
    let gradient = derivative
        .vjp(&SolutionTangent::random(&singular, 0))
        .unwrap();
    let json = serde_json::to_value(&gradient).unwrap();
    assert_eq!(json["trusted"], false);
    assert_eq!(json["evidence"]["condition"], "Infinity");
    assert_eq!(json["warnings"][0]["kind"], "singular");
    assert_eq!(json["value"]["q"].as_array().unwrap().len(), 1);
    let report = serde_json::to_value(derivative.regularity().unwrap()).unwrap();
    assert_eq!(report["condition"], "Infinity");
    assert_eq!(report["certificate"]["verdict"], "failed");

    let error = Error::NotSolved {
        status: Status::MaxIterations,
        iterations: 7,
        primal_residual: f64::NAN,
        dual_residual: 0.5,
        last: Box::new(conediff::Iterate {
            x: vec![f64::INFINITY],
            z: vec![],
            s: vec![],
        }),
    };
    assert_eq!(
        serde_json::to_value(error).unwrap(),
        json!({"kind": "not_solved", "status": "max_iterations", "iterations": 7, "primal_residual": "NaN", "dual_residual": 0.5,
            "last": {"x": ["Infinity"], "z": [], "s": []}})
    );
    let error = Error::TooLarge {
        what: "the Jacobian",
        bytes: u128::MAX,
        limit: 1 << 32,
    };
    let json = serde_json::to_value(error).unwrap();
    assert_eq!(json["limit"], 1_u64 << 32);
    assert_eq!(json["bytes"].as_f64(), Some(u128::MAX as f64));
}

/// minimize 1/2 |x|^2 subject to four rows, one of them of no bound.
fn small() -> Value {
    json!({
        "P": {"m": 2, "n": 2, "colptr": [0, 1, 2], "rowval": [0, 1], "nzval": [1.0, 1.0]},
        "q": [0.0, 0.0],
        "A": {"m": 4, "n": 2, "rowptr": [0, 1, 2, 3, 4], "colval": [0, 1, 0, 1], "nzval": [1.0, 1.0, 1.0, 1.0]},
        "b": [1.0, "Infinity", 2.0, 1.0],
        "cones": [{"NonnegativeConeT": 2}, {"SecondOrderConeT": 2}],
    })
}

#[test]
fn no_invalid_program_comes_from_json() {
    assert!(serde_json::from_value::<ConeProgram>(small()).is_ok());
    for (pointer, value, words) in [
        (
            "/q/1",
            json!("NaN"),
            "q[1] is NaN; every entry must be finite",
        ),
        ("/q", json!([0.0]), "rows of P: expected length 1, found 2"),
        (
            "/b/0",
            json!("-Infinity"),
            "b[0] is -inf: no point satisfies this row",
        ),
        (
            "/b/2",
            json!("Infinity"),
            "b[2] is inf; every entry must be finite",
        ),
        ("/b/2", json!("infinite"), "expected a number, \"Infinity\""),
        ("/A/nzval/3", json!("Infinity"), "A[3] is inf"),
        ("/A/colval/0", json!(2), "A: index 2 is not below 2"),
        (
            "/A/rowptr",
            json!([0, 1, 2, 3]),
            "indptr: expected length 5, found 4",
        ),
        (
            "/A/colptr",
            json!([0, 1]),
            "by columns, or `rowptr` and `colval`",
        ),
        ("/P/nzval/0", json!(-1.0), "P is not positive semidefinite"),
        ("/P/rowval/0", json!(1), "below the diagonal"),
        ("/P/m", json!(3), "rows of P: expected length 2, found 3"),
        (
            "/cones/0",
            json!({"NonnegativeConeT": 1}),
            "the cones have 3 rows, A and b have 4",
        ),
        ("/cones/0", json!({"PowerConeT": 1.5}), "power exponent 1.5"),
        ("/cones/0", json!({"Nonnegative": 2}), "unknown variant"),
    ] {
        let mut problem = small();
        match problem.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => problem["A"]["colptr"] = value,
        }
        let e = serde_json::from_value::<ConeProgram>(problem.clone()).unwrap_err();
        assert!(e.to_string().contains(words), "{pointer}: {e}");
        // With the library's own error where the text is well formed.
        let e = ConeProgram::from_json(&problem.to_string()).unwrap_err();
        assert!(e.to_string().contains(words), "{pointer}: {e}");
    }
}

/// Clarabel's solution of a problem file, by its own reader.
fn by_clarabel(text: &str) -> (SolverStatus, f64) {
    let path = std::env::temp_dir().join(format!("conediff-serde-{}.json", std::process::id()));
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let settings = DefaultSettings {
        verbose: false,
        ..DefaultSettings::default()
    };
    let mut solver = DefaultSolver::<f64>::load_from_file(&mut file, Some(settings)).unwrap();
    solver.solve();
    // What Clarabel writes is read here.
    file.set_len(0).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    solver.save_to_file(&mut file).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let written = std::io::read_to_string(&file).unwrap();
    ConeProgram::from_json(&written).unwrap();
    (solver.solution.status, solver.solution.obj_val)
}

#[test]
fn clarabels_own_reader_reads_what_is_written() {
    let unbounded_row = serde_json::from_value(small()).unwrap();
    // Exponents that sum to 1 only up to 1e-10: Clarabel by itself panics on them.
    let uneven = families::generalized_power(3, 2, 2, 0).program;
    let cones: Vec<Cone> = uneven
        .cones()
        .iter()
        .map(|cone| match cone {
            Cone::GeneralizedPower(a, d) => {
                let mut a = a.clone();
                a[0] += 1e-10;
                Cone::GeneralizedPower(a, *d)
            }
            cone => cone.clone(),
        })
        .collect();
    let uneven = ConeProgram::from_matrices(
        uneven.p().clone(),
        uneven.q().to_vec(),
        uneven.a().clone(),
        uneven.b().to_vec(),
        cones,
    )
    .unwrap();
    let programs = [
        ("a row without a bound", unbounded_row),
        ("uneven exponents", uneven),
        ("qp", families::qp_dense(10, 2, 8, 0).program),
        ("second-order", families::ball(5, 3, 0).program),
        ("exponential", families::entropy(8, 2, 0).program),
        ("power", families::power(3, 0).program),
        ("psd", families::lmi(4, 3, 0).program),
    ];
    for (name, program) in programs {
        let own = solve(&program, &Settings::default()).unwrap().objective;
        let (status, theirs) = by_clarabel(&program.to_json());
        assert_eq!(status, SolverStatus::Solved, "{name}");
        let error = (own - theirs).abs() / (1.0 + own.abs());
        assert!(error < 1e-6, "{name}: {own} against {theirs}");
    }
}
