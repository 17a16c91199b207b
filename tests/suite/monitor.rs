//! A training run seen through the monitor: the cycle of a jumping linear program, and convergence that is none.

use conediff::{
    Cone, ConeProgram, ConicLayer, Derivative, Error, LayerData, LayerSettings, Monitor,
    MonitorSettings, Observation, Settings, SolutionTangent, solve,
};

use crate::support::norm;

/// minimize q's over s in [0, 3] x [0, 5].
fn choice() -> ConeProgram {
    ConeProgram::from_csc(
        (&[0; 3], &[], &[]),
        vec![-1.0; 2],
        (&[0, 2, 4], &[0, 2, 1, 3], &[1.0, -1.0, 1.0, -1.0]),
        vec![3.0, 5.0, 0.0, 0.0],
        vec![Cone::Nonnegative(4)],
    )
    .unwrap()
}

/// Where a jump was seen: the parameters after it, the rows that approached before it, and those that changed.
#[derive(Debug)]
struct Crossing {
    at: Vec<f64>,
    approaching: Vec<usize>,
    changed: Vec<usize>,
}

/// Gradient descent on (x - s1)^2 + 4 (y - s2)^2 where s maximizes (-3x + y + 2)(s1 + s2) over the box; a ridge makes the choice
/// of s continuous. The number of observations, the crossings and the last return.
fn descend(
    program: &ConeProgram,
    step: f64,
    observations: usize,
) -> (Monitor, Vec<Crossing>, Option<f64>, Vec<f64>) {
    let mut layer = ConicLayer::new(program, LayerSettings::default()).unwrap();
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    let (mut crossings, mut period) = (Vec::new(), None);
    let mut theta = vec![1.0, 2.0];
    let mut last: Option<Observation> = None;
    for _ in 0..observations {
        let t = -3.0 * theta[0] + theta[1] + 2.0;
        let s = layer
            .forward(&LayerData::default().with_q(&[-t, -t]))
            .unwrap();
        let direct = [2.0 * (theta[0] - s.x[0]), 8.0 * (theta[1] - s.x[1])];
        let mut seed = SolutionTangent::zeros(program);
        seed.x = direct.iter().map(|d| -d).collect();
        let seen = monitor
            .observe(&theta, layer.derivative().unwrap())
            .unwrap();
        let gradient = layer.backward(&seed).unwrap().value.q;
        let through = -(gradient[0] + gradient[1]);
        if let (true, Some(last)) = (seen.is_jump, &last) {
            crossings.push(Crossing {
                at: theta.clone(),
                approaching: last.approaching.clone(),
                changed: seen.changed.clone(),
            });
        }
        period = seen.returned.map(|r| r.period).or(period);
        last = Some(seen);
        theta[0] -= step * (direct[0] - 3.0 * through);
        theta[1] -= step * (direct[1] + through);
    }
    (monitor, crossings, period, theta)
}

/// The crossings and the period of the cycle, computed elsewhere from its closed form.
const CROSSINGS: [[f64; 2]; 2] = [
    [0.678_763_797, 0.036_291_391],
    [2.321_236_203, 4.963_708_609],
];
const PERIOD: f64 = 1.229_581_970;

fn assert_is_the_cycle(step: f64, observations: usize, tolerance: f64) {
    let (monitor, crossings, period, _) = descend(&choice(), step, observations);
    let period = step * period.unwrap();
    println!("{monitor}\nperiod {period:.6}");
    assert!((period - PERIOD).abs() <= tolerance, "{period}");
    assert_eq!(monitor.totals().jumps as usize, crossings.len());
    let mut rest = crossings.iter().rev();
    for _ in 0..2 {
        let crossing = rest.next().unwrap();
        // Leaving (0, 0) its two lower bounds are about to switch, leaving (3, 5) the upper ones; all four do.
        let error = |k: usize| {
            let to = CROSSINGS[k];
            norm(&[crossing.at[0] - to[0], crossing.at[1] - to[1]])
        };
        let (nearest, rows) = if error(0) < error(1) {
            (0, [2, 3])
        } else {
            (1, [0, 1])
        };
        println!("{crossing:?}: error {:.1e}", error(nearest));
        assert!(error(nearest) <= tolerance);
        assert_eq!(crossing.approaching, rows);
        assert_eq!(crossing.changed, [0, 1, 2, 3]);
    }
    assert_eq!(monitor.totals().kinks + monitor.totals().untrusted, 0);
}

#[test]
fn the_cycle_of_a_jumping_program_is_found_from_observations_alone() {
    assert_is_the_cycle(1e-2, 1_000, 2e-2);
}

#[test]
fn the_cycle_is_found_to_three_digits_at_a_fine_step() {
    assert_is_the_cycle(1e-4, 58_000, 1e-3);
}

#[test]
fn a_ridge_ends_the_cycle_and_no_return_is_reported() {
    let program = choice().with_ridge(1.0).unwrap();
    let (monitor, crossings, period, theta) = descend(&program, 1e-2, 3_000);
    println!("{monitor}\n{theta:?}");
    assert!(period.is_none() && crossings.is_empty());
    assert!(monitor.last().unwrap().step <= 1e-9);
}

/// minimize 1/2 x^2 + q x over x >= 0.
fn derivative(q: f64) -> Derivative {
    let program = ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![q],
        (&[0, 1], &[0], &[-1.0]),
        vec![0.0],
        vec![Cone::Nonnegative(1)],
    )
    .unwrap();
    let settings = Settings::default();
    Derivative::new(&program, &solve(&program, &settings).unwrap(), &settings).unwrap()
}

/// Feeds a path of parameters, the solution staying where it is.
fn returns(path: impl Iterator<Item = Vec<f64>>) -> Option<f64> {
    let derivative = derivative(-1.0);
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    let mut period = None;
    for theta in path {
        let seen = monitor.observe(&theta, &derivative).unwrap();
        period = seen.returned.map(|r| r.period).or(period);
    }
    period
}

#[test]
fn a_slope_after_a_flat_piece_is_no_jump_and_the_first_move_may_be_one() {
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    // Nothing moves for 150 steps, then z does.
    for k in 0..200 {
        let q = if k < 150 {
            0.5
        } else {
            0.5 - 1e-3 * f64::from(k - 150)
        };
        let seen = monitor
            .observe(&[1e-3 * f64::from(k)], &derivative(q))
            .unwrap();
        assert!(!seen.is_jump && seen.relative_rate < 5.0, "{seen}");
        assert_eq!(seen.rate == 0.0, k <= 150);
    }
    // The linear program's x and z are constant until it jumps.
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    let settings = Settings::default();
    for k in 0..20 {
        let sign = if k < 15 { -1.0 } else { 1.0 };
        let program = choice().with_q(vec![sign; 2]).unwrap();
        let solution = solve(&program, &settings).unwrap();
        let derivative = Derivative::new(&program, &solution, &settings).unwrap();
        let seen = monitor
            .observe(&[1e-3 * f64::from(k)], &derivative)
            .unwrap();
        assert_eq!(seen.is_jump, k == 15, "{seen}");
    }
}

#[test]
fn convergence_to_a_point_is_no_cycle() {
    let turn = |k: u32, shrink: f64, angle: f64| {
        let (r, a) = (shrink.powi(k as i32), angle * f64::from(k));
        vec![3.0 + r * a.cos(), r * a.sin(), 7.0]
    };
    // Spirals that lose from 2 % to 90 % of their radius in a turn, down to rounding.
    for loss in [0.02_f64, 0.1, 0.5, 0.9] {
        for steps in [12.0, 50.0, 400.0] {
            let shrink = (1.0 - loss).powf(1.0 / steps);
            let angle = std::f64::consts::TAU / (steps + 0.3);
            let path = (0..5_000).map(|k| turn(k, shrink, angle));
            assert_eq!(returns(path), None, "{loss} {steps}");
        }
    }
    // Damped swings of one parameter pass the same point again and again.
    for loss in [0.05_f64, 0.3] {
        let swing = |k: i32| (1.0 - loss).powf(f64::from(k) / 40.0) * (0.157 * f64::from(k)).cos();
        assert_eq!(returns((0..5_000).map(|k| vec![swing(k)])), None);
        assert_eq!(returns((0..500).map(|k| vec![(loss - 1.0).powi(k)])), None);
    }
    // Straight in, and then the noise of rounding.
    let noise = |k: i32| 1.0 + 0.9_f64.powi(k) + 1e-15 * f64::from(k % 7);
    assert_eq!(returns((0..5_000).map(|k| vec![noise(k), -noise(k)])), None);
    assert_eq!(returns((0..100).map(|_| vec![1.0])), None);
}

#[test]
fn closed_paths_are_cycles_of_the_right_period() {
    for steps in [12.3, 100.0, 777.7] {
        let angle = std::f64::consts::TAU / steps;
        let path = (0..8_000).map(|k| {
            let a = angle * f64::from(k);
            // Drawn to the circle from outside.
            let r = 1.0 + 0.9_f64.powi(k / 10);
            vec![r * a.cos(), 2.0 * r * a.sin()]
        });
        let period = returns(path).unwrap();
        assert!((period / steps - 1.0).abs() <= 1e-2, "{period} {steps}");
    }
    let path = (0..100).map(|k| vec![f64::from(k % 2), 1.0]);
    assert_eq!(returns(path), Some(2.0));
    let path = (0..100).map(|k| vec![f64::from([0, 4, 1][k % 3])]);
    assert_eq!(returns(path), Some(3.0));
}

#[test]
fn kinks_states_and_certificates_are_counted() {
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    let mut seen = Vec::new();
    // x = max(-q, 0): the row's v = q goes through 0.
    for q in [-0.3, -0.2, -0.11, 0.0, 0.1] {
        let certified = (q == 0.0).then_some(false);
        let observed = monitor.observe_with(&[q], &derivative(q), certified);
        seen.push(observed.unwrap());
    }
    assert_eq!(
        (seen[0].step, seen[0].rate, seen[0].relative_rate),
        (0.0, 0.0, 0.0)
    );
    assert!((seen[1].step - 0.1).abs() <= 1e-15 && (seen[1].margin - 0.2).abs() <= 1e-12);
    // d(x, z, s) = (-1, 0, -1) dq.
    assert!((seen[1].rate - 2f64.sqrt()).abs() <= 1e-9);
    let approaching: Vec<usize> = seen.iter().map(|s| s.approaching.len()).collect();
    assert_eq!(approaching, [0, 0, 0, 0, 0]);
    let changed: Vec<usize> = seen.iter().map(|s| s.changed.len()).collect();
    assert_eq!(changed, [0, 0, 0, 1, 1]);
    assert!(seen[3].at_kink && !seen[3].trusted && seen[3].certified == Some(false));
    let totals = monitor.totals();
    assert_eq!((totals.observations, totals.switches), (5, 2));
    assert_eq!(
        (totals.kinks, totals.untrusted, totals.uncertified),
        (1, 1, 1)
    );
    assert_eq!((totals.jumps, totals.returns), (0, 0));
    assert_eq!(seen[4].to_string().lines().count(), 1);
    assert_eq!(monitor.to_string().lines().count(), 2);
    assert!(
        monitor
            .to_string()
            .starts_with("5 observations: 2 with switched rows, 1 at kinks")
    );
    let json = serde_json::to_value(&monitor).unwrap();
    assert_eq!(json["totals"]["kinks"], 1);
    assert_eq!(json["last"]["changed"][0], 0);
}

#[test]
fn what_cannot_be_observed_is_refused_and_not_counted() {
    let mut monitor = Monitor::new(MonitorSettings::default()).unwrap();
    monitor.observe(&[1.0], &derivative(-1.0)).unwrap();
    let longer = monitor.observe(&[1.0, 2.0], &derivative(-1.0));
    assert!(matches!(
        longer,
        Err(Error::Dimension {
            expected: 1,
            found: 2,
            ..
        })
    ));
    let nan = monitor.observe(&[f64::NAN], &derivative(-1.0));
    assert!(matches!(nan, Err(Error::NonFinite { .. })));
    let program = choice();
    let settings = Settings::default();
    let other = Derivative::new(&program, &solve(&program, &settings).unwrap(), &settings);
    let other = monitor.observe(&[1.0], &other.unwrap());
    assert!(matches!(other, Err(Error::Dimension { .. })));
    assert_eq!(monitor.totals().observations, 1);
    let defaults = MonitorSettings::default();
    for settings in [
        MonitorSettings {
            jump: f64::NAN,
            ..defaults
        },
        MonitorSettings {
            window: 0,
            ..defaults
        },
        MonitorSettings {
            tolerance: 0.0,
            ..defaults
        },
        MonitorSettings {
            resolution: 2.0,
            ..defaults
        },
    ] {
        assert!(matches!(Monitor::new(settings), Err(Error::Setting { .. })));
    }
}
