//! Sizes are added and multiplied without overflow, and what is too large is refused with its bytes before memory is taken.

use conediff::{
    Cone, ConeProgram, ConicLayer, DenseMatrix, Derivative, Error, Generator, LayerSettings,
    LinearBackend, LinearOperator, LinearSolver, ProgramBuilder, Projection, Settings,
    interior_point, row_ranges, solve,
};
use std::time::{Duration, Instant};

const HUGE: usize = usize::MAX;

/// Lists of cones whose rows are more than can be counted, or than there are.
fn endless() -> Vec<Vec<Cone>> {
    vec![
        vec![Cone::Nonnegative(HUGE), Cone::Nonnegative(HUGE)],
        vec![Cone::Zero(HUGE), Cone::Zero(2)],
        vec![Cone::SecondOrder(HUGE), Cone::Exponential],
        vec![Cone::PsdTriangle(HUGE)],
        vec![Cone::PsdTriangle(HUGE - 1), Cone::PsdTriangle(1 << 32)],
        vec![Cone::GeneralizedPower(vec![0.5, 0.5], HUGE)],
        // 2^64 + 1 rows: without the overflow's check they are one.
        vec![Cone::Nonnegative(HUGE), Cone::Zero(2)],
    ]
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::ConeRows { cones: HUGE, .. })
}

#[test]
fn cones_of_endless_rows_are_refused_by_programs() {
    for cones in endless() {
        let with_rows = |rows: usize| {
            let end = [0, 0];
            let empty: (&[usize], &[usize], &[f64]) = (&end, &[], &[]);
            ConeProgram::from_csc(empty, vec![0.0], empty, vec![0.0; rows], cones.clone())
        };
        for rows in [0, 1, 3] {
            let error = with_rows(rows).unwrap_err();
            assert!(is_refused(&error), "{cones:?}: {error}");
        }
        let error = Projection::new(&cones, &[0.0]).unwrap_err();
        assert!(is_refused(&error), "{cones:?}: {error}");
        let ends: Vec<usize> = row_ranges(&cones).iter().map(|r| r.end).collect();
        assert!(ends.is_sorted() && ends.last() == Some(&HUGE), "{ends:?}");
    }
}

/// The text of a problem of one variable and one row.
fn json(cones: &str, a: &str) -> String {
    let p = r#"{"m": 1, "n": 1, "colptr": [0, 0], "rowval": [], "nzval": []}"#;
    format!(r#"{{"P": {p}, "q": [0.0], "A": {a}, "b": [0.0], "cones": [{cones}]}}"#)
}

const ROW: &str = r#"{"m": 1, "n": 1, "colptr": [0, 0], "rowval": [], "nzval": []}"#;

/// Problems with sizes near the largest, as text.
fn endless_texts() -> Vec<String> {
    let mut all: Vec<String> = [
        r#"{"NonnegativeConeT": 18446744073709551615}, {"ZeroConeT": 2}"#,
        r#"{"PSDTriangleConeT": 18446744073709551615}"#,
        r#"{"SecondOrderConeT": 18446744073709551615}, {"ExponentialConeT": []}"#,
        r#"{"GenPowerConeT": [[0.5, 0.5], 18446744073709551615]}"#,
    ]
    .iter()
    .map(|cones| json(cones, ROW))
    .collect();
    for a in [
        r#"{"m": 18446744073709551615, "n": 1, "colptr": [0, 0], "rowval": [], "nzval": []}"#,
        r#"{"m": 1, "n": 18446744073709551615, "colptr": [0, 0], "rowval": [], "nzval": []}"#,
        r#"{"m": 1, "n": 1, "colptr": [0, 18446744073709551615], "rowval": [0], "nzval": [1.0]}"#,
        r#"{"m": 1, "n": 1, "colptr": [0, 1], "rowval": [18446744073709551615], "nzval": [1.0]}"#,
    ] {
        all.push(json(r#"{"ZeroConeT": 1}"#, a));
    }
    all
}

#[test]
fn endless_sizes_in_json_are_refused() {
    assert!(ConeProgram::from_json(&json(r#"{"ZeroConeT": 1}"#, ROW)).is_ok());
    for text in endless_texts() {
        let error = ConeProgram::from_json(&text).unwrap_err();
        let is_specific = matches!(
            error,
            Error::ConeRows { .. } | Error::Dimension { .. } | Error::Pattern { .. }
        );
        assert!(is_specific, "{error}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn endless_sizes_in_a_file_are_bad_input_to_the_tool() {
    for (k, text) in endless_texts().iter().enumerate() {
        let name = format!("conediff-sizes-{}-{k}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let tool = std::process::Command::new(env!("CARGO_BIN_EXE_conediff"));
        let output = { tool }.arg("solve").arg(&path).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {words}");
        assert!(words.starts_with("conediff: ") && !words.contains("panicked"));
    }
}

/// A system that fits the library's limits and not the process's: an allocation that fails would end the process.
#[cfg(all(feature = "cli", unix))]
#[test]
fn what_the_process_cannot_have_is_an_error_of_the_tool() {
    // minimize x subject to x I - B in the PSD cone of order 161
    let order = 161;
    let rows = order * (order + 1) / 2;
    let diagonal: Vec<usize> = (0..order).map(|k| k * (k + 3) / 2).collect();
    let a =
        conediff::SparseMatrix::from_csc("A", rows, 1, &[0, order], &diagonal, &vec![-1.0; order]);
    let b: Vec<f64> = (0..rows).map(|i| -((i % 7) as f64)).collect();
    let p = conediff::SparseMatrix::from_csc("P", 1, 1, &[0, 0], &[], &[]).unwrap();
    let cones = vec![Cone::PsdTriangle(order)];
    let program = ConeProgram::from_matrices(p, vec![1.0], a.unwrap(), b, cones).unwrap();

    let path = std::env::temp_dir().join(format!("conediff-room-{}.json", std::process::id()));
    std::fs::write(&path, program.to_json()).unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -v 4000000; exec "$0" vjp "$1""#])
        .arg(env!("CARGO_BIN_EXE_conediff"))
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.starts_with("conediff: Clarabel's system needs 88") && words.contains("room for"),
        "{:?}: {words}",
        output.status
    );
    assert_eq!(output.status.code(), Some(2), "{words}");
}

#[test]
fn a_generator_of_endless_programs_is_refused_with_its_bytes() {
    for cones in endless() {
        // Equality rows are counted against n first.
        let error = Generator::new(HUGE, cones.clone()).generate().unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { .. }),
            "{cones:?}: {error}"
        );
        let error = Generator::new(3, cones).generate().unwrap_err();
        assert!(matches!(
            error,
            Error::TooLarge { .. } | Error::Setting { name: "n", .. }
        ));
    }
    let (n, rows) = (100_000, 100_000);
    let error = Generator::new(n, vec![Cone::Nonnegative(rows)])
        .generate()
        .unwrap_err();
    let wanted = 8 * (n + rows) as u128 * n as u128;
    assert!(
        matches!(error, Error::TooLarge { bytes, limit, .. } if bytes == wanted && limit == 1 << 32),
        "{error}"
    );
}

#[test]
fn builders_refuse_what_does_not_fit() {
    let error = |n: usize, block: &dyn Fn(&mut ProgramBuilder)| {
        let mut builder = ProgramBuilder::new(n);
        block(&mut builder);
        builder.build().unwrap_err()
    };
    assert!(matches!(error(HUGE, &|_| ()), Error::TooLarge { .. }));
    for k in [HUGE, HUGE - 1, 1 << 32] {
        let psd = error(1, &|b| _ = b.psd(k, &[]));
        assert!(matches!(psd, Error::Dimension { found: 0, .. }), "{psd}");
        let psd = error(1, &|b| _ = b.psd_matrices(k, &[], &[]));
        assert!(matches!(psd, Error::Dimension { found: 0, .. }), "{psd}");
    }
    let far = error(1, &|b| b.quadratic(HUGE, HUGE, 1.0));
    assert!(matches!(far, Error::Dimension { found: HUGE, .. }), "{far}");
}

#[test]
fn a_dense_matrix_that_claims_endless_sizes_has_no_columns_and_no_products() {
    for (rows, cols) in [(HUGE, HUGE), (HUGE, 2), (2, HUGE), (1 << 33, 1 << 33)] {
        let data = vec![1.0, 2.0];
        let matrix = DenseMatrix { rows, cols, data };
        let columns = [0, 1, 2, HUGE - 1, HUGE].map(|j| matrix.column(j));
        // Two rows are there for a first column of two.
        let is_there = |k: usize| rows == 2 && k == 0;
        for (k, column) in columns.iter().enumerate() {
            assert_eq!(column.is_some(), is_there(k), "{rows} x {cols}, {k}");
        }
        let (mut out, u) = ([0.0; 2], [1.0; 2]);
        assert!(matrix.apply(&u, &mut out).is_err());
        assert!(matrix.apply_transpose(&u, &mut out).is_err());
        assert!(matrix.to_sparse("M").is_err());
    }
}

/// minimize 1/2 |x|^2 - sum x subject to x <= 1/2.
fn separable(n: usize) -> ConeProgram {
    let (ends, all): (Vec<usize>, Vec<usize>) = ((0..=n).collect(), (0..n).collect());
    let identity: (&[usize], &[usize], &[f64]) = (&ends, &all, &vec![1.0; n]);
    let cones = vec![Cone::Nonnegative(n)];
    ConeProgram::from_csc(identity, vec![-1.0; n], identity, vec![0.5; n], cones).unwrap()
}

#[test]
fn a_jacobian_of_a_hundred_thousand_rows_and_columns_is_refused_not_attempted() {
    let n = 33_334;
    let program = separable(n);
    let mut settings = Settings::default();
    settings.linear.backend = LinearBackend::Simplicial;
    let derivative =
        Derivative::new(&program, &solve(&program, &settings).unwrap(), &settings).unwrap();
    let start = Instant::now();
    let error = derivative.jacobian().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    // (x, z, s) by (P, q, A, b).
    let wanted = 8 * (3 * n as u128) * (4 * n as u128);
    assert!(
        matches!(error, Error::TooLarge { bytes, limit, .. } if bytes == wanted && limit == 1 << 32),
        "{error}"
    );
    assert!(error.to_string().contains(&wanted.to_string()));
}

#[test]
fn a_dense_factor_that_is_asked_for_is_refused_above_its_limit() {
    // 32,768 active rows and columns are 8 GiB.
    let program = separable(33_000);
    let mut settings = Settings::default().with_linear_solver(LinearSolver::Ldl);
    settings.refine.enabled = false;
    let solution = solve(&program, &settings).unwrap();
    settings.linear.backend = LinearBackend::Dense;
    let error = Derivative::new(&program, &solution, &settings).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes, limit, .. }
            if bytes >= 8 * 33_000 * 33_000 && limit == 1 << 33),
        "{error}"
    );
}

/// n variables with one entry each, in turn over the rows of one cone.
fn scattered(n: usize, cone: Cone) -> ConeProgram {
    let rows = cone.rows();
    let ends: Vec<usize> = (0..=n).collect();
    let places: Vec<usize> = (0..n).map(|j| j % rows).collect();
    let nothing = vec![0; n + 1];
    ConeProgram::from_csc(
        (&nothing, &[], &[]),
        vec![0.0; n],
        (&ends, &places, &vec![1.0; n]),
        vec![1.0; rows],
        vec![cone],
    )
    .unwrap()
}

#[test]
fn cones_whose_systems_are_dense_are_refused_before_they_are_made() {
    let settings = Settings::default();
    let rows = |k: usize| (k * (k + 1) / 2) as u128;
    let cases = [
        // Eigenbasis rows on every column the block touches, an index and a value each.
        (27_000, Cone::PsdTriangle(201), 16 * rows(201) * 27_000),
        // Eigenvectors.
        (
            1,
            Cone::GeneralizedPower(vec![0.5, 0.5], 29_998),
            8 * 30_000 * 30_000,
        ),
    ];
    for (n, cone, least) in cases {
        let program = scattered(n, cone);
        let start = Instant::now();
        let errors = [
            solve(&program, &settings).unwrap_err(),
            ConicLayer::new(&program, LayerSettings::default()).unwrap_err(),
        ];
        assert!(start.elapsed() < Duration::from_secs(2));
        for error in errors {
            let is_right = matches!(error, Error::TooLarge { bytes, limit, .. }
                if bytes >= least && bytes <= 2 * least && bytes > limit);
            assert!(is_right, "{least}: {error}");
        }
    }
    // The interior-point method's own: rows by rows for each PSD cone, half of them.
    let program = scattered(1, Cone::PsdTriangle(257));
    let error = interior_point(&program, &settings.solve).unwrap_err();
    let wanted = 8 * rows(257) * (rows(257) + 1);
    assert!(
        matches!(error, Error::TooLarge { bytes, .. } if bytes == wanted),
        "{error}"
    );
}
