//! Problems, and differences.

use conediff::DenseMatrix;
use conediff::systems::lasso::{
    Design, Fit, FitSettings, FitTangent, Penalty, Route, SparseRegression,
};

use crate::support::Random;

pub const ROUTES: [Route; 2] = [Route::CoordinateDescent, Route::Conic];

/// Agreement of the two routes, and with figures computed elsewhere.
pub const ROUTE: f64 = 1e-12;
pub const GOLDEN: f64 = 1e-9;

pub fn settings(route: Route) -> FitSettings {
    FitSettings::default().with_route(route)
}

/// Rows to columns.
pub fn columns(rows: &[Vec<f64>]) -> Design {
    let cols = rows[0].len();
    let data = (0..cols).flat_map(|j| rows.iter().map(move |row| row[j]));
    Design::dense(DenseMatrix {
        rows: rows.len(),
        cols,
        data: data.collect(),
    })
    .unwrap()
}

/// The same matrix by rows, in sparse form.
pub fn sparse(rows: &[Vec<f64>]) -> Design {
    let mut triplets = sprs::TriMat::new((rows.len(), rows[0].len()));
    for (i, row) in rows.iter().enumerate() {
        for (j, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            triplets.add_triplet(i, j, *x);
        }
    }
    Design::sparse(&triplets.to_csr()).unwrap()
}

/// X and y of the reference problem, n = 24, p = 8.
pub fn reference() -> (Vec<Vec<f64>>, Vec<f64>) {
    let truth = [2.0, -1.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let row = |i: usize| {
        let i = i as f64;
        let x: Vec<f64> = (1..=8)
            .map(|j| (1.0 + 3.7 * i * j as f64 + 0.3 * (j * j) as f64).sin())
            .collect();
        let fit: f64 = x.iter().zip(truth).map(|(x, b)| x * b).sum();
        (x, fit + 0.3 * (5.3 * i).cos())
    };
    (1..=24).map(row).unzip()
}

pub fn reference_regression() -> SparseRegression {
    let (x, y) = reference();
    SparseRegression::least_squares(columns(&x), y).unwrap()
}

/// Columns centered and of length 1, y centered: 442 x 10.
pub fn diabetes() -> (Vec<Vec<f64>>, Vec<f64>) {
    let text = include_str!("../../data/diabetes.csv");
    let number = |cell: &str| cell.parse::<f64>().unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(number).collect())
        .collect();
    let n = rows.len() as f64;
    let centered = |j: usize| -> Vec<f64> {
        let mean = rows.iter().map(|r| r[j]).sum::<f64>() / n;
        rows.iter().map(|r| r[j] - mean).collect()
    };
    let features: Vec<Vec<f64>> = (0..10)
        .map(|j| {
            let column = centered(j);
            let length = column.iter().map(|x| x * x).sum::<f64>().sqrt();
            column.iter().map(|x| x / length).collect()
        })
        .collect();
    let x = (0..rows.len()).map(|i| features.iter().map(|c| c[i]).collect());
    (x.collect(), centered(10))
}

/// Normal X with a share of zeros and y = X b + noise, b with a few nonzeros.
pub fn random(n: usize, p: usize, fill: f64, seed: u64) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut random = Random::new(seed);
    let mut x = vec![vec![0.0; p]; n];
    for row in &mut x {
        for v in row.iter_mut() {
            if random.unit() < fill {
                *v = random.normal();
            }
        }
    }
    for j in 0..p {
        if x.iter().all(|row| row[j] == 0.0) {
            x[j % n][j] = 1.0;
        }
    }
    let truth: Vec<f64> = (0..p)
        .map(|j| if j % 7 == 0 { random.normal() } else { 0.0 })
        .collect();
    let y = x
        .iter()
        .map(|row| {
            let fit: f64 = row.iter().zip(&truth).map(|(x, b)| x * b).sum();
            fit + 0.1 * random.normal()
        })
        .collect();
    (x, y)
}

/// Labels of the signs of y.
pub fn labels(y: &[f64]) -> Vec<f64> {
    y.iter()
        .map(|y| if *y >= 0.0 { 1.0 } else { -1.0 })
        .collect()
}

/// The fit moved along a direction.
pub fn moved(fit: &Fit, tangent: &FitTangent, step: f64, settings: &FitSettings) -> Fit {
    let add = |a: &[f64], d: &[f64]| -> Vec<f64> {
        let at = |k: usize| d.get(k).copied().unwrap_or(0.0);
        a.iter()
            .enumerate()
            .map(|(k, a)| a + step * at(k))
            .collect()
    };
    let regression = fit.regression();
    let design = regression
        .design()
        .with_values(add(&regression.design().stored_values(), &tangent.x))
        .unwrap();
    let regression = match regression.loss() {
        conediff::systems::lasso::Loss::Squares => {
            SparseRegression::least_squares(design, add(regression.y(), &tangent.y)).unwrap()
        }
        conediff::systems::lasso::Loss::Logistic => {
            SparseRegression::logistic(design, regression.y().to_vec()).unwrap()
        }
    };
    let parameters = add(&fit.penalty().parameters(), &tangent.penalty);
    let penalty: Penalty = fit.penalty().with_parameters(&parameters).unwrap();
    regression.fit(&penalty, settings).unwrap()
}

/// The central difference of beta along a direction.
pub fn difference(fit: &Fit, tangent: &FitTangent, step: f64, settings: &FitSettings) -> Vec<f64> {
    let [up, down] = [step, -step].map(|s| moved(fit, tangent, s, settings));
    let pairs = up.beta().iter().zip(down.beta());
    pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect()
}

/// A random direction in everything the loss has.
pub fn direction(fit: &Fit, seed: u64) -> FitTangent {
    let mut random = Random::new(seed);
    let y = match fit.regression().loss() {
        conediff::systems::lasso::Loss::Squares => fit.regression().y().len(),
        conediff::systems::lasso::Loss::Logistic => 0,
    };
    FitTangent {
        penalty: random.normal_vec(fit.penalty().count()),
        y: random.normal_vec(y),
        x: random.normal_vec(fit.regression().design().nnz()),
    }
}

pub fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[track_caller]
pub fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    let found = largest_difference(a, b);
    assert!(
        found <= tolerance,
        "{found:e} above {tolerance:e}: {a:?} {b:?}"
    );
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
