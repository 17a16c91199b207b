//! Iterations on seeded data, one for every kind of step.

use conediff::piggyback::{
    Admm, AsymmetricSquares, BoxProjection, ConeProjection, DouglasRachford, ForwardBackward,
    GradientDescent, HeavyBall, LeastSquares, LeastSquaresProx, LogDetProx, ParametricMap,
    SoftThreshold,
};
use conediff::{Cone, SparseMatrix, svec};

use crate::support::Random;

/// Something to be done with every problem.
pub trait Visitor {
    fn visit<M: ParametricMap>(&mut self, name: &str, map: &M, start: &[f64], theta: &[f64]);
}

/// A dense matrix of any shape, column by column.
pub fn dense(rows: usize, cols: usize, data: &[f64]) -> SparseMatrix {
    let indptr: Vec<usize> = (0..=cols).map(|j| j * rows).collect();
    let indices: Vec<usize> = (0..rows * cols).map(|k| k % rows).collect();
    SparseMatrix::from_csc("X", rows, cols, &indptr, &indices, data).unwrap()
}

pub fn identity(n: usize) -> SparseMatrix {
    let indptr: Vec<usize> = (0..=n).collect();
    let indices: Vec<usize> = (0..n).collect();
    SparseMatrix::from_csc("I", n, n, &indptr, &indices, &vec![1.0; n]).unwrap()
}

/// (D x)_i = x_i - 2 x_{i+1} + x_{i+2}.
pub fn second_differences(n: usize) -> SparseMatrix {
    let indptr: Vec<usize> = (0..=n - 2).map(|i| 3 * i).collect();
    let indices: Vec<usize> = (0..3 * (n - 2)).map(|k| k / 3 + k % 3).collect();
    let data: Vec<f64> = (0..3 * (n - 2)).map(|k| [1.0, -2.0, 1.0][k % 3]).collect();
    SparseMatrix::from_csr("D", n - 2, n, &indptr, &indices, &data).unwrap()
}

/// Linear regression: X with normal entries, and y = X b + noise with few nonzeros in b.
pub struct Regression {
    pub x: SparseMatrix,
    pub y: Vec<f64>,
    /// X'y, largest entry: the l1 weight above which all coefficients are 0.
    pub largest: f64,
    /// The squared norm of X.
    pub lipschitz: f64,
}

pub fn regression(rows: usize, cols: usize, nonzeros: usize, seed: u64) -> Regression {
    let mut random = Random::new(seed);
    let data = random.normal_vec(rows * cols);
    let column = |j: usize| &data[j * rows..(j + 1) * rows];
    let mut y: Vec<f64> = random.normal_vec(rows).iter().map(|e| 0.5 * e).collect();
    for j in 0..nonzeros {
        let b = if j % 2 == 0 { 2.0 } else { -1.0 };
        y.iter_mut().zip(column(j)).for_each(|(y, x)| *y += b * x);
    }
    let correlate =
        |v: &[f64]| -> Vec<f64> { (0..cols).map(|j| inner(column(j), v)).collect::<Vec<_>>() };
    let largest = correlate(&y).iter().fold(0.0, |m: f64, c| m.max(c.abs()));
    let (mut v, mut lipschitz) = (vec![1.0; cols], 0.0);
    for _ in 0..2_000 {
        let size = inner(&v, &v).sqrt();
        v.iter_mut().for_each(|v| *v /= size);
        let mut image = vec![0.0; rows];
        for (j, v) in v.iter().enumerate() {
            image
                .iter_mut()
                .zip(column(j))
                .for_each(|(i, x)| *i += v * x);
        }
        lipschitz = inner(&image, &image);
        v = correlate(&image);
    }
    Regression {
        x: dense(rows, cols, &data),
        y,
        largest,
        lipschitz,
    }
}

pub fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn stacked(lambda: f64, y: &[f64]) -> Vec<f64> {
    [&[lambda], y].concat()
}

pub fn ridge_descent(r: &Regression) -> (GradientDescent<LeastSquares>, Vec<f64>) {
    let map = GradientDescent::new(LeastSquares::new(r.x.clone()), 1.0 / r.lipschitz).unwrap();
    (map, stacked(0.05 * r.lipschitz, &r.y))
}

pub type Lasso = ForwardBackward<LeastSquares, SoftThreshold>;

pub fn lasso(r: &Regression, share: f64) -> (Lasso, Vec<f64>) {
    let threshold = SoftThreshold::new(vec![1.0; r.x.cols()]).unwrap();
    let loss = LeastSquares::new(r.x.clone());
    let map = ForwardBackward::new(loss, threshold, 1.0 / r.lipschitz).unwrap();
    (map, stacked(share * r.largest, &r.y))
}

pub type InverseCovariance = DouglasRachford<LogDetProx, SoftThreshold>;

/// minimize -log det X + trace(S X) + lambda sum_ij |X_ij|, S the covariance of normal samples of a chain; theta = (lambda, svec S).
pub fn inverse_covariance(
    order: usize,
    lambda: f64,
    seed: u64,
) -> (InverseCovariance, Vec<f64>, Vec<f64>) {
    let mut random = Random::new(seed);
    let samples = 10 * order;
    let mut covariance = vec![0.0; order * order];
    for _ in 0..samples {
        let mut v = random.normal_vec(order);
        for i in 1..order {
            v[i] += 0.5 * v[i - 1];
        }
        for (k, c) in covariance.iter_mut().enumerate() {
            *c += v[k / order] * v[k % order] / samples as f64;
        }
    }
    let s = svec::svec(&covariance, order).unwrap();
    let mut weights = vec![2f64.sqrt(); s.len()];
    (0..order).for_each(|i| weights[svec::index(i, i)] = 1.0);
    let first = LogDetProx::new(order, 1.0).unwrap();
    let map = DouglasRachford::new(first, SoftThreshold::new(weights).unwrap()).unwrap();
    let mut unit = vec![0.0; s.len()];
    (0..order).for_each(|i| unit[svec::index(i, i)] = 1.0);
    (map, [unit.clone(), unit].concat(), stacked(lambda, &s))
}

/// minimize 1/2 |x - y|^2 + lambda |D x|_1, y a noisy piecewise linear signal.
pub fn trend_filtering(
    n: usize,
    lambda: f64,
    noise: f64,
    seed: u64,
) -> (Admm<SoftThreshold>, Vec<f64>) {
    let mut random = Random::new(seed);
    let signal = |i: usize| {
        let t = i as f64 / n as f64;
        4.0 * (t - 0.3).abs() - 6.0 * (t - 0.7).max(0.0)
    };
    let y: Vec<f64> = (0..n)
        .map(|i| signal(i) + noise * random.normal())
        .collect();
    let threshold = SoftThreshold::new(vec![1.0; n - 2]).unwrap();
    let map = Admm::new(identity(n), second_differences(n), threshold, 1.0).unwrap();
    (map, stacked(lambda, &y))
}

/// Every kind of step, away from kinks of its limit.
pub fn every_step(visitor: &mut impl Visitor) {
    let r = regression(12, 5, 2, 3);
    let n = r.x.cols();
    let zeros = vec![0.0; 2 * n];
    let (map, theta) = ridge_descent(&r);
    visitor.visit("gradient descent", &map, &zeros[..n], &theta);

    let step = 1.0 / r.lipschitz;
    let map = HeavyBall::new(LeastSquares::new(r.x.clone()), step, 0.3).unwrap();
    visitor.visit("heavy ball", &map, &zeros, &theta);

    let loss = AsymmetricSquares::new(3, 0.5, 2.0).unwrap();
    let map = HeavyBall::new(loss, 0.4, 0.2).unwrap();
    let theta_of_squares = [0.3, 1.0, -2.0, 0.7];
    visitor.visit(
        "heavy ball on expectiles",
        &map,
        &[0.1; 6],
        &theta_of_squares,
    );

    let (map, theta) = lasso(&r, 0.3);
    visitor.visit("forward-backward, l1", &map, &zeros[..n], &theta);

    let bounds = BoxProjection::new(vec![-0.5; n], vec![1.0; n]).unwrap();
    let map = ForwardBackward::new(LeastSquares::new(r.x.clone()), bounds, step).unwrap();
    visitor.visit("forward-backward, box", &map, &zeros[..n], &theta);

    let cones = vec![Cone::SecondOrder(3), Cone::Nonnegative(2)];
    let cones = ConeProjection::new(cones).unwrap();
    let map = ForwardBackward::new(LeastSquares::new(r.x.clone()), cones, step).unwrap();
    visitor.visit("forward-backward, cones", &map, &zeros[..n], &theta);

    let r = regression(9, 6, 6, 4);
    let cones = ConeProjection::new(vec![Cone::PsdTriangle(3)]).unwrap();
    let loss = LeastSquares::new(r.x.clone());
    let map = ForwardBackward::new(loss, cones, 1.0 / r.lipschitz).unwrap();
    let start = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    visitor.visit("forward-backward, psd", &map, &start, &stacked(0.0, &r.y));

    let r = regression(12, 5, 2, 5);
    let first = LeastSquaresProx::new(r.x.clone(), 3.0 / r.lipschitz).unwrap();
    let map = DouglasRachford::new(first, SoftThreshold::new(vec![1.0; 5]).unwrap()).unwrap();
    let theta = stacked(0.3 * r.largest, &r.y);
    visitor.visit("Douglas-Rachford, l1", &map, &[0.0; 10], &theta);

    let (map, start, theta) = inverse_covariance(3, 0.1, 6);
    visitor.visit("Douglas-Rachford, log det", &map, &start, &theta);

    let (map, theta) = trend_filtering(8, 0.2, 0.3, 7);
    visitor.visit("ADMM", &map, &[0.0; 20], &theta);
}
