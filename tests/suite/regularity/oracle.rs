//! Degenerate programs with known solutions, and every element of the conservative Jacobian there, dense and naive.

use crate::support::Random;
use conediff::{Cone, ConeProgram, Projection, Solution};
use faer::Mat;

/// A program with its solution, and how to draw D.
pub struct Degenerate {
    pub program: ConeProgram,
    pub solution: Solution,
    p: Mat<f64>,
    a: Mat<f64>,
    blocks: Vec<Place>,
}

/// A block at its solution: what D is made of.
pub enum Place {
    /// 1, 0 or None for a weakly active row.
    Orthant(Vec<Option<bool>>),
    /// With the unit vector w.
    SecondOrder(Corner, Vec<f64>),
    /// Eigenvectors and eigenvalues of v.
    Psd(Mat<f64>, Vec<f64>),
    /// An exponential or power cone, with a pair (z, s) on the curved boundaries.
    Curved(Cone, Corner, Vec<f64>, Vec<f64>),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Corner {
    Interior,
    Polar,
    Middle(f64),
    ZeroSlack,
    ZeroDual,
    Apex,
}

/// A random orthogonal matrix, by Gram and Schmidt.
pub fn orthogonal(k: usize, rng: &mut Random) -> Mat<f64> {
    let mut q = Mat::from_fn(k, k, |_, _| rng.normal());
    for j in 0..k {
        for i in 0..j {
            let dot: f64 = (0..k).map(|r| q[(r, i)] * q[(r, j)]).sum();
            for r in 0..k {
                q[(r, j)] -= dot * q[(r, i)];
            }
        }
        let norm = (0..k).map(|r| q[(r, j)].powi(2)).sum::<f64>().sqrt();
        for r in 0..k {
            q[(r, j)] /= norm;
        }
    }
    q
}

fn unit(len: usize, rng: &mut Random) -> Vec<f64> {
    let u: Vec<f64> = (0..len).map(|_| rng.normal()).collect();
    let norm = u.iter().map(|x| x * x).sum::<f64>().sqrt();
    u.iter().map(|x| x / norm).collect()
}

fn svec(m: &Mat<f64>) -> Vec<f64> {
    let mut out = Vec::new();
    for j in 0..m.ncols() {
        for i in 0..=j {
            let scale = if i == j { 1.0 } else { 2.0_f64.sqrt() };
            out.push(scale * m[(i, j)]);
        }
    }
    out
}

fn smat(k: usize, u: &[f64]) -> Mat<f64> {
    let at = |i: usize, j: usize| i.min(j) + i.max(j) * (i.max(j) + 1) / 2;
    Mat::from_fn(k, k, |i, j| {
        let scale = if i == j { 1.0 } else { 0.5_f64.sqrt() };
        scale * u[at(i, j)]
    })
}

impl Place {
    fn rows(&self) -> usize {
        match self {
            Place::Orthant(rows) => rows.len(),
            Place::SecondOrder(_, w) => w.len() + 1,
            Place::Psd(q, _) => q.nrows() * (q.nrows() + 1) / 2,
            Place::Curved(cone, ..) => cone.rows(),
        }
    }

    pub fn cone(&self) -> Cone {
        match self {
            Place::Orthant(rows) => Cone::Nonnegative(rows.len()),
            Place::SecondOrder(_, w) => Cone::SecondOrder(w.len() + 1),
            Place::Psd(q, _) => Cone::PsdTriangle(q.nrows()),
            Place::Curved(cone, ..) => cone.clone(),
        }
    }

    /// z and s.
    fn point(&self, rng: &mut Random) -> (Vec<f64>, Vec<f64>) {
        match self {
            Place::Orthant(rows) => rows
                .iter()
                .map(|row| match row {
                    Some(true) => (1.0 + rng.below(2) as f64, 0.0),
                    Some(false) => (0.0, 1.0 + rng.below(2) as f64),
                    None => (0.0, 0.0),
                })
                .unzip(),
            Place::SecondOrder(corner, w) => {
                let ray = |length: f64, sign: f64| -> Vec<f64> {
                    let rest = w.iter().map(|x| sign * length * x);
                    std::iter::once(length).chain(rest).collect()
                };
                let zero = vec![0.0; w.len() + 1];
                let mut inside = ray(1.0, 1.0);
                inside[0] = 2.0;
                match corner {
                    Corner::Interior => (inside, zero),
                    Corner::Polar => (zero, inside),
                    Corner::Middle(ratio) => (ray(*ratio, 1.0), ray(1.0, -1.0)),
                    Corner::ZeroSlack => (ray(1.0, 1.0), zero),
                    Corner::ZeroDual => (zero, ray(1.0, -1.0)),
                    Corner::Apex => (zero.clone(), zero),
                }
            }
            Place::Psd(q, values) => {
                let part = |sign: f64| {
                    let k = values.len();
                    svec(&Mat::from_fn(k, k, |i, j| {
                        (0..k)
                            .map(|l| (sign * values[l]).max(0.0) * q[(i, l)] * q[(j, l)])
                            .sum()
                    }))
                };
                (part(1.0), part(-1.0))
            }
            Place::Curved(cone, corner, z, s) => {
                let zero = vec![0.0; z.len()];
                // Interior points of K* and K: the last coordinate of the one, the others' w, moved in.
                let inside = |v: &[f64]| {
                    let mut v = v.to_vec();
                    let first = match cone {
                        Cone::GeneralizedPower(alphas, _) => alphas.len(),
                        _ => 2,
                    };
                    for x in &mut v[first..] {
                        *x = match cone {
                            Cone::Exponential => *x + 1.0,
                            _ => 0.5 * *x,
                        };
                    }
                    v
                };
                match corner {
                    Corner::Interior => (inside(z), zero),
                    Corner::Polar => (zero, inside(s)),
                    Corner::Middle(ratio) => (z.iter().map(|z| ratio * z).collect(), s.clone()),
                    Corner::ZeroSlack => (z.clone(), zero),
                    Corner::ZeroDual => (zero, s.clone()),
                    Corner::Apex => (zero.clone(), zero),
                }
            }
        }
    }

    /// One element: `pick` 0 is the upper extreme, 1 the lower one, others are random.
    fn element(&self, pick: usize, rng: &mut Random) -> Mat<f64> {
        let d = self.rows();
        let share = |rng: &mut Random| match pick {
            0 => 1.0,
            1 => 0.0,
            _ if rng.below(2) == 0 => rng.below(2) as f64,
            _ => rng.unit(),
        };
        match self {
            Place::Orthant(rows) => {
                let diagonal: Vec<f64> = rows
                    .iter()
                    .map(|row| row.map_or_else(|| share(rng), |active| f64::from(u8::from(active))))
                    .collect();
                Mat::from_fn(d, d, |i, j| if i == j { diagonal[i] } else { 0.0 })
            }
            Place::SecondOrder(corner, w) => {
                let middle = |w: &[f64], ratio: f64| {
                    // 1/2 [[1, w'], [w, (1 + r) I - r ww']] with (1 + r)/2 = z0/(z0 + s0).
                    let r = 2.0 * ratio / (1.0 + ratio) - 1.0;
                    Mat::from_fn(d, d, |i, j| match (i, j) {
                        (0, 0) => 0.5,
                        (0, k) | (k, 0) => 0.5 * w[k - 1],
                        (i, j) => {
                            let eye = if i == j { 1.0 + r } else { 0.0 };
                            0.5 * (eye - r * w[i - 1] * w[j - 1])
                        }
                    })
                };
                let eye = |x: f64| Mat::from_fn(d, d, |i, j| if i == j { x } else { 0.0 });
                let ray = |sign: f64| {
                    let e: Vec<f64> = std::iter::once(1.0)
                        .chain(w.iter().map(|x| sign * x))
                        .map(|x| x * 0.5_f64.sqrt())
                        .collect();
                    Mat::from_fn(d, d, |i, j| e[i] * e[j])
                };
                match corner {
                    Corner::Interior => eye(1.0),
                    Corner::Polar => eye(0.0),
                    Corner::Middle(ratio) => middle(w, *ratio),
                    Corner::ZeroSlack => eye(1.0) - (1.0 - share(rng)) * ray(-1.0),
                    Corner::ZeroDual => share(rng) * ray(1.0),
                    Corner::Apex => match pick {
                        0 => eye(1.0),
                        1 => eye(0.0),
                        _ => {
                            let (a, b) = (rng.unit(), rng.unit());
                            let turned = unit(d - 1, rng);
                            let some = middle(&turned, 10.0_f64.powf(4.0 * b - 2.0));
                            if rng.below(2) == 0 {
                                some
                            } else {
                                a * b * eye(1.0) + (1.0 - a) * some
                            }
                        }
                    },
                }
            }
            Place::Psd(q, values) => {
                let k = values.len();
                let zero: Vec<usize> = (0..k).filter(|&i| values[i] == 0.0).collect();
                let (mut q, mut own) = (q.clone(), values.clone());
                if pick > 1 && !zero.is_empty() {
                    let turn = orthogonal(zero.len(), rng);
                    let old = q.clone();
                    for (b, &j) in zero.iter().enumerate() {
                        for r in 0..k {
                            q[(r, j)] = zero
                                .iter()
                                .enumerate()
                                .map(|(a, &i)| old[(r, i)] * turn[(a, b)])
                                .sum();
                        }
                        own[j] = rng.normal();
                    }
                }
                let weight = |i: usize, j: usize| match (values[i], values[j]) {
                    (0.0, 0.0) if pick == 0 => 1.0,
                    (0.0, 0.0) if pick == 1 => 0.0,
                    (0.0, 0.0) => {
                        (own[i].max(0.0) + own[j].max(0.0)) / (own[i].abs() + own[j].abs())
                    }
                    (a, b) => (a.max(0.0) + b.max(0.0)) / (a.abs() + b.abs()),
                };
                let mut out = Mat::zeros(d, d);
                for column in 0..d {
                    let mut e = vec![0.0; d];
                    e[column] = 1.0;
                    let turned = q.transpose() * smat(k, &e) * &q;
                    let scaled = Mat::from_fn(k, k, |i, j| weight(i, j) * turned[(i, j)]);
                    for (row, x) in svec(&(&q * scaled * q.transpose())).into_iter().enumerate() {
                        out[(row, column)] = x;
                    }
                }
                out
            }
            Place::Curved(cone, corner, z, s) => {
                let eye = |x: f64| Mat::from_fn(d, d, |i, j| if i == j { x } else { 0.0 });
                let ray = |u: &[f64]| {
                    let square: f64 = u.iter().map(|x| x * x).sum();
                    Mat::from_fn(d, d, |i, j| u[i] * u[j] / square)
                };
                let at = |v: &[f64]| {
                    let there = Projection::new(std::slice::from_ref(cone), v).unwrap();
                    let mut out = Mat::zeros(d, d);
                    for j in 0..d {
                        let (mut axis, mut column) = (vec![0.0; d], vec![0.0; d]);
                        axis[j] = 1.0;
                        there.apply(&axis, &mut column).unwrap();
                        for i in 0..d {
                            out[(i, j)] = column[i];
                        }
                    }
                    out
                };
                match corner {
                    Corner::Interior => eye(1.0),
                    Corner::Polar => eye(0.0),
                    Corner::Middle(ratio) => {
                        let v: Vec<f64> = z.iter().zip(s).map(|(z, s)| ratio * z - s).collect();
                        at(&v)
                    }
                    Corner::ZeroSlack => eye(1.0) - (1.0 - share(rng)) * ray(s),
                    Corner::ZeroDual => share(rng) * ray(z),
                    Corner::Apex => match pick {
                        0 => eye(1.0),
                        1 => eye(0.0),
                        _ => {
                            let a = rng.unit();
                            a * at(&rng.normal_vec(d)) + (1.0 - a) * at(&rng.normal_vec(d))
                        }
                    },
                }
            }
        }
    }

    fn has_choice(&self) -> bool {
        match self {
            Place::Orthant(rows) => rows.iter().any(Option::is_none),
            Place::SecondOrder(corner, _) | Place::Curved(_, corner, ..) => {
                matches!(corner, Corner::ZeroSlack | Corner::ZeroDual | Corner::Apex)
            }
            Place::Psd(_, values) => values.contains(&0.0),
        }
    }
}

/// The upper triangle by columns.
fn upper(p: &Mat<f64>) -> sprs::CsMat<f64> {
    let mut triplets = sprs::TriMat::new((p.nrows(), p.ncols()));
    for j in 0..p.ncols() {
        for i in (0..=j).filter(|&i| p[(i, j)] != 0.0) {
            triplets.add_triplet(i, j, p[(i, j)]);
        }
    }
    triplets.to_csc()
}

impl Degenerate {
    /// A program whose solution is at the blocks' places; small integers make dependent rows and flat directions frequent.
    pub fn new(n: usize, blocks: Vec<Place>, rng: &mut Random) -> Self {
        let m: usize = blocks.iter().map(Place::rows).sum();
        let small = |rng: &mut Random| [-1.0, 0.0, 0.0, 1.0, 2.0][rng.below(5)];
        let rank = if rng.below(2) == 0 {
            n + 1
        } else {
            rng.below(n + 1)
        };
        let g = Mat::from_fn(rank, n, |_, _| small(rng));
        let p = g.transpose() * &g;
        let mut a = Mat::from_fn(m, n, |_, _| small(rng));
        if m > 1 && rng.below(3) == 0 {
            let (from, to) = (rng.below(m), rng.below(m));
            for j in 0..n {
                a[(to, j)] = a[(from, j)];
            }
        }
        let x: Vec<f64> = (0..n).map(|_| rng.below(5) as f64 - 2.0).collect();
        let (mut z, mut s) = (Vec::new(), Vec::new());
        for block in &blocks {
            let (zb, sb) = block.point(rng);
            z.extend(zb);
            s.extend(sb);
        }
        let q = (0..n)
            .map(|j| {
                let px: f64 = (0..n).map(|i| p[(j, i)] * x[i]).sum();
                let az: f64 = (0..m).map(|i| a[(i, j)] * z[i]).sum();
                -px - az
            })
            .collect();
        let b = (0..m)
            .map(|i| (0..n).map(|j| a[(i, j)] * x[j]).sum::<f64>() + s[i])
            .collect();
        let mut rows = sprs::TriMat::new((m, n));
        for j in 0..n {
            for i in (0..m).filter(|&i| a[(i, j)] != 0.0) {
                rows.add_triplet(i, j, a[(i, j)]);
            }
        }
        let cones = blocks.iter().map(Place::cone).collect();
        let program = ConeProgram::new(&upper(&p), q, &rows.to_csc(), b, cones).unwrap();
        let solution = Solution::given(&program, x, z, s).unwrap();
        Self {
            program,
            solution,
            p,
            a,
            blocks,
        }
    }

    pub fn is_degenerate(&self) -> bool {
        self.blocks.iter().any(Place::has_choice)
    }

    /// The least singular value of J at one element relative to the largest. `picks` has one number for each block.
    pub fn least_singular_value(&self, picks: &[usize], rng: &mut Random) -> f64 {
        let (n, m) = (self.p.nrows(), self.a.nrows());
        let mut d = Mat::<f64>::zeros(m, m);
        let mut start = 0;
        for (block, &pick) in self.blocks.iter().zip(picks) {
            let rows = block.rows();
            d.as_mut()
                .submatrix_mut(start, start, rows, rows)
                .copy_from(block.element(pick, rng));
            start += rows;
        }
        let ad = self.a.transpose() * &d;
        let jacobian = Mat::from_fn(n + m, n + m, |i, j| match (i < n, j < n) {
            (true, true) => self.p[(i, j)],
            (true, false) => ad[(i, j - n)],
            (false, true) => -self.a[(i - n, j)],
            (false, false) => f64::from(u8::from(i == j)) - d[(i - n, j - n)],
        });
        let values = jacobian.singular_values().unwrap();
        values[n + m - 1] / values[0]
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }
}
