//! Derivatives that outlive the layer's next forward.

use conediff::{ConicLayer, Error, ForwardPath, LayerData, SolutionTangent, Wanted, WarmStart};

use super::support::{Data, join_data, small, untimed};

#[test]
fn derivatives_handed_over_are_those_of_backward() {
    let program = small();
    let data = Data::of(&program);
    let mut layer = ConicLayer::new(&program, untimed().with_threads(2)).unwrap();
    let items = vec![data.all(); 3];
    layer.forward_batch(&items);
    let seed = SolutionTangent::random(&program, 7);
    let own = layer.backward_batch(&vec![seed.clone(); 3]).unwrap();
    let taken = layer.take_derivatives();
    // Another forward does not touch them.
    layer.forward_batch(&items[..1]);
    assert_eq!(taken.len(), 3);
    for (own, taken) in own.into_iter().zip(taken) {
        let (own, taken) = (own.unwrap(), taken.unwrap());
        let found = taken.vjp(&seed).unwrap();
        assert_eq!(join_data(&own.value), join_data(&found.value));
        let mut value = Default::default();
        let mut work = taken.workspace();
        let evidence = taken
            .vjp_into(&seed, Wanted::default(), &mut value, &mut work)
            .unwrap();
        assert_eq!(taken.checked(value, evidence), found);
    }
}

#[test]
fn a_layer_that_handed_over_has_nothing_to_differentiate() {
    let program = small();
    let mut layer = ConicLayer::new(&program, untimed()).unwrap();
    layer.forward(&LayerData::default()).unwrap();
    assert_eq!(layer.take_derivatives().len(), 1);
    let seed = SolutionTangent::zeros(&program);
    assert!(matches!(
        layer.backward(&seed),
        Err(Error::NoForward { item: 0 })
    ));
    assert!(layer.take_derivatives()[0].is_none());
    layer.forward(&LayerData::default()).unwrap();
    assert!(layer.backward(&seed).is_ok());
}

#[test]
fn items_that_failed_are_handed_over_as_none() {
    let program = small();
    let mut layer = ConicLayer::new(&program, untimed()).unwrap();
    let bad = vec![f64::NAN; program.n()];
    layer.forward_batch(&[LayerData::default(), LayerData::default().with_q(&bad)]);
    let taken = layer.take_derivatives();
    assert!(taken[0].is_some() && taken[1].is_none());
}

#[test]
fn warm_starts_go_on_after_a_hand_over() {
    let program = small();
    for warm_start in [WarmStart::Previous, WarmStart::Off] {
        let is_warm = warm_start == WarmStart::Previous;
        let mut layer = ConicLayer::new(&program, untimed().with_warm_start(warm_start)).unwrap();
        layer.forward(&LayerData::default()).unwrap();
        let first = layer.take_derivatives();
        let again = layer.forward(&LayerData::default()).unwrap().clone();
        assert_eq!(layer.path(0) == Some(ForwardPath::Warm), is_warm);
        let first = first[0].as_ref().unwrap().solution();
        assert!(super::support::distance(first, &again) < 1e-12);
    }
}
