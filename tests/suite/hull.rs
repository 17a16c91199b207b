//! The least-norm element of a hull, against the enumeration of all faces.

use conediff::{Error, HullElement, least_norm_in_hull};

use crate::support::{Random, norm};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Gaussian elimination with complete pivoting; `None` if singular.
fn gauss(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    let mut columns: Vec<usize> = (0..n).collect();
    for k in 0..n {
        let places = (k..n).flat_map(|i| (k..n).map(move |j| (i, j)));
        let (i, j) = places.max_by(|x, y| a[x.0][x.1].abs().total_cmp(&a[y.0][y.1].abs()))?;
        if a[i][j].abs() < 1e-12 {
            return None;
        }
        a.swap(i, k);
        b.swap(i, k);
        columns.swap(j, k);
        for row in &mut a {
            row.swap(j, k);
        }
        for i in k + 1..n {
            let (above, below) = a.split_at_mut(i);
            let (pivot, row) = (&above[k][k..], &mut below[0][k..]);
            let factor = row[0] / pivot[0];
            row.iter_mut()
                .zip(pivot)
                .for_each(|(x, p)| *x -= factor * p);
            b[i] -= factor * b[k];
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| a[k][j] * x[columns[j]]).sum();
        x[columns[k]] = (b[k] - known) / a[k][k];
    }
    Some(x)
}

/// The least norm over all faces with affinely independent vertices: on each the least-norm point of the affine hull, where its
/// weights are nonnegative.
fn least_norm_over_faces(gradients: &[Vec<f64>]) -> Vec<f64> {
    let mut best: Option<Vec<f64>> = None;
    for face in 1..1usize << gradients.len() {
        let chosen: Vec<&Vec<f64>> = (0..gradients.len())
            .filter(|k| face >> k & 1 == 1)
            .map(|k| &gradients[k])
            .collect();
        let c = chosen.len();
        // [G'G 1; 1' 0] (w; mu) = (0; 1)
        let mut system = vec![vec![0.0; c + 1]; c + 1];
        for i in 0..c {
            for j in 0..c {
                system[i][j] = dot(chosen[i], chosen[j]);
            }
            system[i][c] = 1.0;
            system[c][i] = 1.0;
        }
        let mut right = vec![0.0; c + 1];
        right[c] = 1.0;
        let Some(w) = gauss(system, right) else {
            continue;
        };
        if w[..c].iter().any(|w| *w < -1e-12) {
            continue;
        }
        let mut e = vec![0.0; chosen[0].len()];
        for (g, w) in chosen.iter().zip(&w) {
            e.iter_mut().zip(*g).for_each(|(e, g)| *e += w * g);
        }
        if best.as_ref().is_none_or(|b| norm(&e) < norm(b)) {
            best = Some(e);
        }
    }
    best.unwrap()
}

/// Weights, element, norm and optimality within the error reported, relative to the longest gradient.
fn assert_is_least(gradients: &[Vec<f64>], hull: &HullElement) {
    let scale = gradients.iter().map(|g| norm(g)).fold(0.0, f64::max);
    let scale = if scale > 0.0 { scale } else { 1.0 };
    assert!(hull.weights.iter().all(|w| *w >= 0.0));
    assert!((hull.weights.iter().sum::<f64>() - 1.0).abs() <= 1e-15 * gradients.len() as f64);
    let e: Vec<f64> = hull.element.iter().map(|e| e / scale).collect();
    for (i, e) in e.iter().enumerate() {
        let sum: f64 = gradients
            .iter()
            .zip(&hull.weights)
            .map(|(g, w)| w * (g[i] / scale))
            .sum();
        assert!((sum - e).abs() <= 1e-14);
    }
    assert!((norm(&e) - hull.norm / scale).abs() <= 1e-14);
    for g in gradients {
        let g: Vec<f64> = g.iter().map(|g| g / scale).collect();
        assert!(dot(&g, &e) >= dot(&e, &e) - (hull.error / scale).powi(2) - 1e-15);
    }
    assert!(hull.error <= 4e-6 * scale, "{:e}", hull.error / scale);
}

#[test]
fn random_hulls_agree_with_the_enumeration_of_faces() {
    let mut worst = 0.0_f64;
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (count, dimension) = (1 + random.below(7), 1 + random.below(6));
        let size = 10f64.powf(24.0 * random.unit() - 12.0);
        // A common part moves 0 out of most hulls.
        let (center, shift) = (random.normal_vec(dimension), 2.0 * random.unit());
        let unit: Vec<Vec<f64>> = (0..count)
            .map(|_| {
                let own = random.normal_vec(dimension);
                own.iter()
                    .zip(&center)
                    .map(|(x, c)| x + shift * c)
                    .collect()
            })
            .collect();
        let gradients: Vec<Vec<f64>> = unit
            .iter()
            .map(|g| g.iter().map(|x| size * x).collect())
            .collect();
        let hull = least_norm_in_hull(&gradients).unwrap();
        assert_is_least(&gradients, &hull);
        let expected = least_norm_over_faces(&unit);
        let error = hull
            .element
            .iter()
            .zip(&expected)
            .map(|(a, b)| a / size - b);
        let error = norm(&error.collect::<Vec<f64>>());
        worst = worst.max(error);
        assert!(
            error <= 1e-9,
            "seed {seed}: {error:e}, {:e}",
            hull.error / size
        );
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn at_a_cross_validation_kink_zero_is_in_the_hull_and_neither_gradient_is_small() {
    let gradients = [vec![-11.18], vec![6.09]];
    let hull = least_norm_in_hull(&gradients).unwrap();
    assert!(hull.norm <= 1e-14 && hull.is_stationary(&gradients, 1e-12));
    assert!((hull.weights[0] - 6.09 / 17.27).abs() <= 1e-14);
    // Both on one side: the smaller one is the least.
    let gradients = [vec![11.18], vec![6.09]];
    let hull = least_norm_in_hull(&gradients).unwrap();
    assert!((hull.norm - 6.09).abs() <= 1e-13 && !hull.is_stationary(&gradients, 1e-3));
    assert_eq!(hull.weights, [0.0, 1.0]);
}

#[test]
fn single_zero_double_and_collinear_gradients_are_no_exception() {
    let g = vec![3.0, -4.0, 0.0];
    let times = |c: f64| g.iter().map(|x| c * x).collect::<Vec<f64>>();
    for (gradients, expected) in [
        (vec![g.clone()], 5.0),
        (vec![vec![0.0; 3]], 0.0),
        (vec![vec![0.0; 3]; 4], 0.0),
        (vec![g.clone(); 6], 5.0),
        (vec![times(3.0), times(2.0), times(7.0), times(2.0)], 10.0),
        (vec![times(-1.0), times(1.0), times(1.0)], 0.0),
        (vec![times(0.0), times(1.0), times(2.0)], 0.0),
        (vec![times(1e12), times(1e-12)], 5e-12),
        (vec![Vec::new(); 2], 0.0),
    ] {
        let hull = least_norm_in_hull(&gradients).unwrap();
        assert_is_least(&gradients, &hull);
        let scale = gradients.iter().map(|g| norm(g)).fold(0.0, f64::max);
        assert!(
            (hull.norm - expected).abs() <= 1e-14 * scale,
            "{gradients:?}: {hull:?}"
        );
    }
}

#[test]
fn many_gradients_in_few_dimensions_and_few_in_many() {
    for (count, dimension, shift) in [(200, 3, 0.0), (200, 3, 4.0), (12, 400, 0.0), (60, 60, 0.0)] {
        let mut random = Random::new(count as u64);
        let gradients: Vec<Vec<f64>> = (0..count)
            .map(|_| {
                random
                    .normal_vec(dimension)
                    .iter()
                    .map(|x| x + shift)
                    .collect()
            })
            .collect();
        let hull = least_norm_in_hull(&gradients).unwrap();
        assert_is_least(&gradients, &hull);
        println!(
            "{count} in {dimension}: norm {:.3e}, error {:.1e}",
            hull.norm, hull.error
        );
        assert_eq!(hull.norm < 1e-12, (count, shift) == (200, 0.0));
    }
}

#[test]
fn clusters_and_low_ranks_are_solved_within_the_error_reported() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (count, dimension) = (2 + random.below(150), 1 + random.below(40));
        let rank = 1 + random.below(3);
        let noise = 10f64.powf(-16.0 * random.unit());
        let shift = if seed % 2 == 0 { 0.0 } else { 3.0 };
        let basis: Vec<Vec<f64>> = (0..rank).map(|_| random.normal_vec(dimension)).collect();
        let gradients: Vec<Vec<f64>> = (0..count)
            .map(|_| {
                let mut g = random.normal_vec(dimension);
                g.iter_mut().for_each(|g| *g *= noise);
                for b in &basis {
                    let c = random.normal().signum() + shift;
                    g.iter_mut().zip(b).for_each(|(g, b)| *g += c * b);
                }
                g
            })
            .collect();
        let hull = least_norm_in_hull(&gradients).unwrap();
        assert_is_least(&gradients, &hull);
        println!(
            "{count} in {dimension}, noise {noise:.0e}: {:.1e} {:.1e}",
            hull.norm, hull.error
        );
    }
}

#[test]
fn gradients_that_are_none_are_refused() {
    let of = |g: &[Vec<f64>]| least_norm_in_hull(g).unwrap_err();
    assert!(matches!(of(&[]), Error::Empty { .. }));
    assert_eq!(
        of(&[]).to_string(),
        "the list of gradients is empty; give at least one"
    );
    assert!(matches!(
        of(&[vec![1.0], vec![1.0, 2.0]]),
        Error::Dimension {
            expected: 1,
            found: 2,
            ..
        }
    ));
    assert!(matches!(
        of(&[vec![1.0, f64::NAN]]),
        Error::NonFinite { index: 1, .. }
    ));
    assert!(matches!(
        of(&[vec![f64::INFINITY]]),
        Error::NonFinite { .. }
    ));
}
