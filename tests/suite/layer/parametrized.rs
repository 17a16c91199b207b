//! The layer of parameters against the plain one with the map applied by hand, and against differences in the parameters.

use conediff::{
    Cone, ConeProgram, ConicLayer, DataTangent, Error, Generator, LayerData, LayerSettings,
    Parametrization, ParametrizedLayer, Solution, SolutionTangent, WarmStart,
};
use sprs::{CsMat, TriMat};

use super::support::{join, untimed};
use crate::support::{ALGEBRA, DIFFERENCES, Random, relative};

const PARAMETERS: usize = 5;

fn program() -> ConeProgram {
    let cones = vec![
        Cone::Zero(2),
        Cone::Nonnegative(6),
        Cone::SecondOrder(4),
        Cone::Exponential,
    ];
    let generated = Generator::new(9, cones).with_density(0.6).generate();
    generated.unwrap().program().clone()
}

/// A third of the entries, small enough to stay feasible and convex.
fn map(rows: usize, random: &mut Random) -> CsMat<f64> {
    let mut triplets = TriMat::new((rows, PARAMETERS));
    for i in 0..rows {
        for j in 0..PARAMETERS {
            if random.below(3) == 0 {
                triplets.add_triplet(i, j, 0.02 * random.normal());
            }
        }
    }
    triplets.to_csc()
}

/// Every choice of parts that depend on theta.
fn parametrizations(program: &ConeProgram) -> Vec<Parametrization> {
    let mut random = Random::new(1);
    let rows = [
        program.p().nnz(),
        program.n(),
        program.a().nnz(),
        program.m(),
    ];
    let maps = rows.map(|rows| map(rows, &mut random));
    (1..16)
        .map(|parts| {
            let [p, q, a, b] = [0, 1, 2, 3].map(|k| (parts >> k & 1 == 1).then_some(&maps[k]));
            Parametrization::new(program, p, q, a, b).unwrap()
        })
        .collect()
}

/// The parts of the data that are there.
fn layer_data(data: &DataTangent) -> LayerData<'_> {
    fn part(values: &[f64]) -> Option<&[f64]> {
        (!values.is_empty()).then_some(values)
    }
    LayerData {
        p: part(&data.p),
        q: part(&data.q),
        a: part(&data.a),
        b: part(&data.b),
        budget: None,
    }
}

#[test]
fn it_is_the_plain_layer_with_the_map_applied_by_hand() {
    let program = program();
    let mut random = Random::new(2);
    for map in parametrizations(&program) {
        let mut plain = ConicLayer::new(&program, untimed()).unwrap();
        let mut layer = ParametrizedLayer::new(&program, map.clone(), untimed()).unwrap();
        for seed in 0..3 {
            let theta = random.normal_vec(PARAMETERS);
            let mut data = DataTangent::default();
            map.evaluate_into(&theta, &mut data).unwrap();
            let expected = plain.forward(&layer_data(&data)).unwrap().clone();
            assert_eq!(layer.forward(&theta).unwrap(), &expected);

            let cotangent = SolutionTangent::random(&program, seed);
            let mut gradient = Vec::new();
            let by_hand = plain.backward(&cotangent).unwrap();
            map.pull_back_into(&by_hand.value, &mut gradient).unwrap();
            let found = layer.backward(&cotangent).unwrap();
            assert!(found.trusted && found.value.len() == PARAMETERS);
            let error = relative(&found.value, &gradient);
            assert!(error <= ALGEBRA, "{error:e}");

            let direction = random.normal_vec(PARAMETERS);
            let mut tangent = DataTangent::zeros(&program);
            let mut moved = DataTangent::default();
            map.push_forward_into(&direction, &mut moved).unwrap();
            for (to, from) in [
                (&mut tangent.p, &moved.p),
                (&mut tangent.q, &moved.q),
                (&mut tangent.a, &moved.a),
                (&mut tangent.b, &moved.b),
            ] {
                if !from.is_empty() {
                    to.copy_from_slice(from);
                }
            }
            let expected = plain.jvp(&tangent).unwrap().value;
            let found = layer.jvp(&direction).unwrap().value;
            let error = relative(&join(&found), &join(&expected));
            assert!(error <= ALGEBRA, "{error:e}");
        }
    }
}

#[test]
fn gradients_in_theta_are_the_limits_of_difference_quotients() {
    let program = program();
    let step = 1e-5;
    let mut random = Random::new(3);
    for map in parametrizations(&program) {
        let mut layer = ParametrizedLayer::new(&program, map, LayerSettings::default()).unwrap();
        let theta = random.normal_vec(PARAMETERS);
        let cotangent = SolutionTangent::random(&program, 4);
        layer.forward(&theta).unwrap();
        let gradient = layer.backward(&cotangent).unwrap();
        assert!(gradient.trusted);
        let quotient: Vec<f64> = (0..PARAMETERS)
            .map(|k| {
                let mut value = |t: f64| {
                    let mut theta = theta.clone();
                    theta[k] += t;
                    cotangent.dot(&SolutionTangent::from(layer.forward(&theta).unwrap()))
                };
                (value(step) - value(-step)) / (2.0 * step)
            })
            .collect();
        let error = relative(&gradient.value, &quotient);
        assert!(error <= DIFFERENCES, "{error:e}");
    }
}

#[test]
fn a_batch_of_parameters_is_the_loop() {
    let program = program();
    let mut random = Random::new(5);
    let theta: Vec<Vec<f64>> = (0..4).map(|_| random.normal_vec(PARAMETERS)).collect();
    let cotangents: Vec<SolutionTangent> = (0..4)
        .map(|k| SolutionTangent::random(&program, k))
        .collect();
    for map in parametrizations(&program) {
        let mut alone = ParametrizedLayer::new(&program, map.clone(), untimed()).unwrap();
        let expected: Vec<(Solution, Vec<f64>)> = theta
            .iter()
            .zip(&cotangents)
            .map(|(theta, cotangent)| {
                let solution = alone.forward(theta).unwrap().clone();
                (solution, alone.backward(cotangent).unwrap().value)
            })
            .collect();
        for threads in [1, 2] {
            let settings = untimed().with_threads(threads);
            let mut layer = ParametrizedLayer::new(&program, map.clone(), settings).unwrap();
            let solutions = layer.forward_batch(&theta);
            let gradients = layer.backward_batch(&cotangents).unwrap();
            assert_eq!((solutions.len(), gradients.len()), (4, 4));
            for ((solution, gradient), expected) in
                solutions.into_iter().zip(gradients).zip(&expected)
            {
                assert_eq!(solution.unwrap(), expected.0);
                assert_eq!(gradient.unwrap().value, expected.1);
            }
        }
    }
}

#[test]
fn a_bad_theta_is_its_own_error() {
    let program = program();
    let map = parametrizations(&program).remove(9);
    let settings = untimed().with_warm_start(WarmStart::Previous);
    let mut layer = ParametrizedLayer::new(&program, map, settings).unwrap();
    let good = vec![0.1; PARAMETERS];
    let mut nan = good.clone();
    nan[3] = f64::NAN;
    let found = layer.forward_batch(&[good.clone(), vec![0.1; 2], good.clone(), nan.clone()]);
    assert!(found[0].is_ok() && found[2].is_ok());
    assert!(matches!(
        found[1],
        Err(Error::Dimension {
            expected: PARAMETERS,
            found: 2,
            ..
        })
    ));
    assert!(matches!(found[3], Err(Error::NonFinite { index: 3, .. })));
    let seeds = vec![SolutionTangent::random(&program, 1); 4];
    let gradients = layer.backward_batch(&seeds).unwrap();
    let is_there: Vec<bool> = gradients.iter().map(Result::is_ok).collect();
    assert_eq!(is_there, [true, false, true, false]);
    assert!(matches!(gradients[3], Err(Error::NoForward { item: 3 })));
    let error = layer.backward_batch(&seeds[..3]).unwrap_err();
    assert!(matches!(
        error,
        Error::Dimension {
            what: "cotangents",
            expected: 4,
            found: 3
        }
    ));

    assert!(layer.forward(&good).is_ok());
    assert!(layer.forward(&nan).is_err());
    // A theta that is refused leaves no derivative of the one before.
    let error = layer.backward(&seeds[0]).unwrap_err();
    assert!(matches!(error, Error::NoForward { item: 0 }), "{error}");
}
