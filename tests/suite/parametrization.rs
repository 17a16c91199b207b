//! Affine maps from parameters to data: values, adjoint, mistakes, and gradients of solutions in the parameters.

use conediff::{
    Cone, ConeProgram, DataTangent, Derivative, Error, Generator, Parametrization, Settings,
    SolutionTangent, SparseMatrix, Wanted, solve,
};
use sprs::{CsMat, TriMat};

use crate::support::{ALGEBRA, DIFFERENCES, Random, norm, relative};

const PARAMETERS: usize = 6;

fn by_rows(matrix: &SparseMatrix) -> CsMat<f64> {
    let pattern = matrix.pattern();
    CsMat::new_csc(
        (matrix.rows(), matrix.cols()),
        pattern.indptr().to_vec(),
        pattern.indices().to_vec(),
        matrix.values().to_vec(),
    )
    .to_csr()
}

/// Given by rows, so that the stored order is not that of the columns.
fn program() -> ConeProgram {
    let cones = vec![Cone::Zero(2), Cone::Nonnegative(6), Cone::SecondOrder(4)];
    let generated = Generator::new(7, cones.clone())
        .with_density(0.6)
        .generate();
    let program = generated.unwrap().program().clone();
    let (q, b) = (program.q().to_vec(), program.b().to_vec());
    let (p, a) = (by_rows(program.p()), by_rows(program.a()));
    ConeProgram::new(&p, q, &a, b, cones).unwrap()
}

/// A third of the entries, of size 0.05: P stays definite for theta of order one.
fn map(rows: usize, random: &mut Random) -> CsMat<f64> {
    let mut triplets = TriMat::new((rows, PARAMETERS));
    for i in 0..rows {
        for j in 0..PARAMETERS {
            if random.below(3) == 0 {
                triplets.add_triplet(i, j, 0.05 * random.normal());
            }
        }
    }
    if random.below(2) == 0 {
        triplets.to_csc()
    } else {
        triplets.to_csr()
    }
}

/// Every part, and some of them.
fn parametrizations(program: &ConeProgram) -> Vec<(Parametrization, Wanted)> {
    let mut random = Random::new(1);
    let maps = [
        map(program.p().nnz(), &mut random),
        map(program.n(), &mut random),
        map(program.a().nnz(), &mut random),
        map(program.m(), &mut random),
    ];
    (1..16)
        .map(|parts| {
            let [p, q, a, b] = [0, 1, 2, 3].map(|k| (parts >> k & 1 == 1).then_some(&maps[k]));
            let wanted = Wanted {
                p: p.is_some(),
                q: q.is_some(),
                a: a.is_some(),
                b: b.is_some(),
            };
            (Parametrization::new(program, p, q, a, b).unwrap(), wanted)
        })
        .collect()
}

fn join(data: &DataTangent) -> Vec<f64> {
    [data.p.as_slice(), &data.q, &data.a, &data.b].concat()
}

/// The program with the parts that are not empty.
fn moved(program: &ConeProgram, data: &DataTangent) -> ConeProgram {
    let part = |new: &[f64], old: Vec<f64>| if new.is_empty() { old } else { new.to_vec() };
    let p = part(&data.p, program.p().stored_values());
    let a = part(&data.a, program.a().stored_values());
    let with_values = program.with_values(&p, &a).unwrap();
    let with_q = with_values.with_q(part(&data.q, program.q().to_vec()));
    with_q
        .unwrap()
        .with_b(part(&data.b, program.b().to_vec()))
        .unwrap()
}

#[test]
fn data_are_affine_and_push_forward_is_their_slope() {
    let program = program();
    let mut random = Random::new(2);
    for (parametrization, wanted) in parametrizations(&program) {
        assert_eq!(parametrization.parameters(), PARAMETERS);
        assert_eq!(parametrization.wanted(), wanted);
        let evaluate = |theta: &[f64]| {
            // What was there before must not matter.
            let mut data = DataTangent::random(&program, 3);
            parametrization.evaluate_into(theta, &mut data).unwrap();
            data
        };
        let constants = evaluate(&[0.0; PARAMETERS]);
        let expected = |wanted: bool, v: Vec<f64>| if wanted { v } else { Vec::new() };
        assert_eq!(constants.p, expected(wanted.p, program.p().stored_values()));
        assert_eq!(constants.q, expected(wanted.q, program.q().to_vec()));
        assert_eq!(constants.a, expected(wanted.a, program.a().stored_values()));
        assert_eq!(constants.b, expected(wanted.b, program.b().to_vec()));

        let (theta, step) = (random.normal_vec(PARAMETERS), random.normal_vec(PARAMETERS));
        let mut slope = DataTangent::random(&program, 4);
        parametrization
            .push_forward_into(&step, &mut slope)
            .unwrap();
        let there: Vec<f64> = theta.iter().zip(&step).map(|(t, s)| t + 2.0 * s).collect();
        let (here, there) = (evaluate(&theta), evaluate(&there));
        for (here, there, slope, len) in [
            (&here.p, &there.p, &slope.p, program.p().nnz()),
            (&here.q, &there.q, &slope.q, program.n()),
            (&here.a, &there.a, &slope.a, program.a().nnz()),
            (&here.b, &there.b, &slope.b, program.m()),
        ] {
            assert_eq!(slope.len(), len);
            if here.is_empty() {
                assert_eq!(norm(slope), 0.0);
            }
            for ((h, t), s) in here.iter().zip(there).zip(slope) {
                assert!((t - h - 2.0 * s).abs() <= ALGEBRA);
            }
        }
    }
}

#[test]
fn entries_follow_the_callers_order() {
    // P = [1 2; 2 9] by rows: the stored order is (0,0), (0,1), (1,1); A = [1 2; 3 4] by rows.
    let p = CsMat::new((2, 2), vec![0, 2, 3], vec![0, 1, 1], vec![1.0, 2.0, 9.0]);
    let a = CsMat::new(
        (2, 2),
        vec![0, 2, 4],
        vec![0, 1, 0, 1],
        vec![1.0, 2.0, 3.0, 4.0],
    );
    let cones = vec![Cone::Nonnegative(2)];
    let program = ConeProgram::new(&p, vec![0.0; 2], &a, vec![1.0, f64::INFINITY], cones).unwrap();
    let second = |rows| TriMat::from_triplets((rows, 1), vec![1], vec![0], vec![10.0]).to_csr();
    let (p, a, b) = (second(3), second(4), second(2));
    let parametrization =
        Parametrization::new(&program, Some(&p), None, Some(&a), Some(&b)).unwrap();
    let mut data = DataTangent::default();
    parametrization.evaluate_into(&[0.5], &mut data).unwrap();
    assert_eq!(data.p, [1.0, 7.0, 9.0]);
    assert!(data.q.is_empty());
    assert_eq!(data.a, [1.0, 7.0, 3.0, 4.0]);
    assert_eq!(data.b, [1.0, f64::INFINITY], "no bound stays none");
}

#[test]
fn pull_back_is_the_adjoint_of_push_forward() {
    let program = program();
    let mut random = Random::new(5);
    for (parametrization, wanted) in parametrizations(&program) {
        let step = random.normal_vec(PARAMETERS);
        let mut gradient = DataTangent::random(&program, 6);
        let (mut forward, mut back) = (DataTangent::default(), vec![7.0; 2]);
        parametrization
            .push_forward_into(&step, &mut forward)
            .unwrap();
        parametrization
            .pull_back_into(&gradient, &mut back)
            .unwrap();
        let (left, right) = (
            forward.dot(&gradient),
            back.iter().zip(&step).map(|(b, s)| b * s).sum::<f64>(),
        );
        assert!((left - right).abs() <= ALGEBRA * (norm(&join(&forward)) * norm(&join(&gradient))));

        // Parts that do not depend on theta may be left out.
        for (wanted, part) in [
            (wanted.p, &mut gradient.p),
            (wanted.q, &mut gradient.q),
            (wanted.a, &mut gradient.a),
            (wanted.b, &mut gradient.b),
        ] {
            if !wanted {
                part.clear();
            }
        }
        let mut again = Vec::new();
        parametrization
            .pull_back_into(&gradient, &mut again)
            .unwrap();
        assert_eq!(again, back);
    }
}

#[test]
fn gradients_in_the_parameters_agree_with_differences() {
    let program = program();
    let settings = Settings::default();
    let mut random = Random::new(8);
    for (parametrization, wanted) in parametrizations(&program) {
        let theta: Vec<f64> = random
            .normal_vec(PARAMETERS)
            .iter()
            .map(|t| 0.1 * t)
            .collect();
        let seed = SolutionTangent::random(&program, 9);
        let at = |theta: &[f64]| {
            let mut data = DataTangent::default();
            parametrization.evaluate_into(theta, &mut data).unwrap();
            moved(&program, &data)
        };
        let loss = |theta: &[f64]| {
            let solution = solve(&at(theta), &settings).unwrap();
            assert!(solution.refinement.unwrap().accepted);
            SolutionTangent::from(&solution).dot(&seed)
        };
        let here = at(&theta);
        let solution = solve(&here, &settings).unwrap();
        let derivative = Derivative::new(&here, &solution, &settings).unwrap();
        let gradient = derivative.vjp_wanted(&seed, wanted).unwrap();
        assert!(gradient.trusted);
        let mut exact = Vec::new();
        parametrization
            .pull_back_into(&gradient.value, &mut exact)
            .unwrap();
        let differences: Vec<f64> = (0..PARAMETERS)
            .map(|k| {
                let mut there = theta.clone();
                there[k] += 1e-4;
                let above = loss(&there);
                there[k] -= 2e-4;
                (above - loss(&there)) / 2e-4
            })
            .collect();
        let missed = relative(&exact, &differences);
        assert!(missed <= DIFFERENCES, "{missed:e} with {wanted:?}");

        // And forward: along e_0 the loss changes by the first entry.
        let (mut direction, mut unit) = (DataTangent::default(), vec![0.0; PARAMETERS]);
        unit[0] = 1.0;
        parametrization
            .push_forward_into(&unit, &mut direction)
            .unwrap();
        let jvp = derivative.jvp(&direction).unwrap();
        assert!((jvp.value.dot(&seed) - exact[0]).abs() <= 1e-10 * (1.0 + norm(&exact)));
    }
}

#[test]
fn without_maps_there_are_no_parameters() {
    let program = program();
    let parametrization = Parametrization::new(&program, None, None, None, None).unwrap();
    assert_eq!(parametrization.parameters(), 0);
    let mut data = DataTangent::random(&program, 1);
    parametrization.evaluate_into(&[], &mut data).unwrap();
    assert_eq!(data, DataTangent::default());
    parametrization.push_forward_into(&[], &mut data).unwrap();
    assert_eq!(data, DataTangent::zeros(&program));
    let mut theta = vec![1.0];
    parametrization.pull_back_into(&data, &mut theta).unwrap();
    assert!(theta.is_empty());
}

#[test]
fn mistakes_are_reported_with_their_numbers() {
    let program = program();
    let zeros = |rows, cols| CsMat::<f64>::zero((rows, cols));
    let (n, m, nnz) = (program.n(), program.m(), program.a().nnz());
    let message = |result: Result<Parametrization, Error>| result.unwrap_err().to_string();
    assert_eq!(
        message(Parametrization::new(
            &program,
            None,
            None,
            Some(&zeros(nnz + 1, 2)),
            None
        )),
        format!(
            "rows of the map to A: expected length {nnz}, found {}",
            nnz + 1
        )
    );
    assert_eq!(
        message(Parametrization::new(
            &program,
            None,
            Some(&zeros(n, 2)),
            None,
            Some(&zeros(m, 3))
        )),
        "columns of the map to b: expected length 2, found 3"
    );
    let infinite = TriMat::from_triplets((n, 2), vec![3], vec![1], vec![f64::NAN]).to_csc();
    let error = Parametrization::new(&program, None, Some(&infinite), None, None).unwrap_err();
    assert!(
        matches!(error, Error::NonFinite { what: "the map to q", index: 0, value } if value.is_nan()),
        "{error}"
    );

    let parametrization =
        Parametrization::new(&program, None, None, None, Some(&zeros(m, 3))).unwrap();
    let mut data = DataTangent::default();
    let mut out = Vec::new();
    for (error, expected) in [
        (
            parametrization.evaluate_into(&[1.0], &mut data),
            "theta: expected length 3, found 1",
        ),
        (
            parametrization.evaluate_into(&[1.0, f64::INFINITY, 0.0], &mut data),
            "theta[1] is inf; every entry must be finite",
        ),
        (
            parametrization.push_forward_into(&[0.0; 4], &mut data),
            "dtheta: expected length 3, found 4",
        ),
        (
            parametrization.push_forward_into(&[f64::NAN, 0.0, 0.0], &mut data),
            "dtheta[0] is NaN; every entry must be finite",
        ),
    ] {
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
    let full = DataTangent::zeros(&program);
    let mut wrong = full.clone();
    wrong.b.pop();
    let error = parametrization
        .pull_back_into(&wrong, &mut out)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cotangent b: expected length {m}, found {}", m - 1)
    );
    let mut wrong = full.clone();
    wrong.q.push(0.0);
    let error = parametrization
        .pull_back_into(&wrong, &mut out)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cotangent q: expected length {n}, found {}", n + 1)
    );
    let mut wrong = full;
    wrong.b[4] = f64::NAN;
    let error = parametrization
        .pull_back_into(&wrong, &mut out)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cotangent b[4] is NaN; every entry must be finite"
    );
}
