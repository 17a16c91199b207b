//! Random programs whose solution, margins and derivatives are known.
//!
//! The program is built around a chosen point: x and v are drawn first, then z = Pi(v), s = z - v, b = Ax + s and
//! q = -(Px + A'z), so that F(x, v) = 0 by construction. Derivatives are known the same way: a direction of the solution is
//! drawn first and the data are moved so as to cause it. No linear system is solved anywhere.

mod dense;
mod known;

use crate::cone::{self, Cone};
use crate::error::{Error, Result};
use crate::memory::{MOST_DENSE_BYTES, check_dense};
use crate::program::ConeProgram;
use crate::projection::{Block, Projection};
use crate::random::Random;
use crate::tangent::dot;
use dense::{Dense, identity};
pub use known::Generated;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// Programs drawn before giving up on a regular one.
const ATTEMPTS: usize = 50;

/// Points drawn for one curved cone before the wanted piece is given up, and after that before giving up altogether.
const DRAWS: usize = 100;

/// An eigenvalue of D this close to 1 makes its direction a hard row.
const HARD: f64 = 1e-6;

/// Recipe for a random program around a chosen solution.
///
/// Some blocks of v lie in the interior of K*, some in its polar, most on the curved piece between. The eigenvalues of P run from
/// 1 to 1/condition and the singular values of A from 1 to 1/sqrt(condition), both evenly in the logarithm: the residual map's
/// Jacobian, whose inverse holds the square of A's, then has a condition number of that order. The program is regular: D has at most 3/4 n
/// eigenvalues 1 (more if there are more equality rows, or where the rank of P asks for them) and A'y is far from zero on their eigenspace; with P of lower
/// rank, D A w is far from zero on P's null space. Everything follows from the seed.
///
/// Matrices are worked on as dense ones: O((m + n) max(m, n)) memory, O((m + n)^2) time for each attempt.
///
/// ```
/// use conediff::{Cone, Derivative, Generator, Settings, solve};
/// let cones = vec![Cone::Nonnegative(4), Cone::SecondOrder(4), Cone::Exponential];
/// let generated = Generator::new(8, cones).with_seed(7).with_condition(100.0).generate()?;
///
/// let settings = Settings::default();
/// let solution = solve(generated.program(), &settings)?;
/// assert!((solution.x[0] - generated.x()[0]).abs() < 1e-9);
///
/// let (tangent, expected) = generated.known_jvp(1);
/// let jvp = Derivative::new(generated.program(), &solution, &settings)?.jvp(&tangent)?;
/// assert!((jvp.value.x[0] - expected.x[0]).abs() < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Generator {
    n: usize,
    cones: Vec<Cone>,
    seed: u64,
    condition: f64,
    margin: f64,
    density: f64,
    rank: usize,
}

impl Generator {
    /// A program in n variables with the given cones; seed 0, condition 10, margin 0.1, dense, P of full rank.
    pub fn new(n: usize, cones: Vec<Cone>) -> Self {
        Self {
            n,
            cones,
            seed: 0,
            condition: 10.0,
            margin: 0.1,
            density: 1.0,
            rank: n,
        }
    }

    /// With another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// With another condition number, at least 1: P's, and the square of A's.
    pub fn with_condition(self, condition: f64) -> Self {
        Self { condition, ..self }
    }

    /// With another least distance of each block to its nearest kink, positive. Distances are drawn from here to 1, or to ten times
    /// the margin if that is more.
    pub fn with_margin(self, margin: f64) -> Self {
        Self { margin, ..self }
    }

    /// With another density of A and P, in (0, 1]: a little more than this share of the entries is nonzero. No row of A is empty.
    pub fn with_density(self, density: f64) -> Self {
        Self { density, ..self }
    }

    /// With P of another rank, at most n.
    pub fn with_rank(self, rank: usize) -> Self {
        Self { rank, ..self }
    }

    /// The program and its solution.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number out of range, for more equality rows than variables, and where no regular program was found at
    /// this density and rank; [`Error::Cone`]; [`Error::TooLarge`] above 4 GiB; [`Error::Factorization`] if an eigenvalue iteration
    /// fails.
    pub fn generate(&self) -> Result<Generated> {
        self.validate()?;
        let mut random = Random::new(self.seed);
        for _ in 0..ATTEMPTS {
            let (v, hard) = self.point(&mut random)?;
            let projection = Projection::new(&self.cones, &v)?;
            // Directions without cost need rows to hold them.
            let held: usize = projection.blocks().iter().map(Block::reduced_len).sum();
            if held < self.n - self.rank {
                continue;
            }
            let (p, null) = self.quadratic(&mut random);
            let a = self.constraints(v.len(), &hard, &mut random);
            if self.is_regular(&a, &hard, &null, &projection)? {
                return self.assemble(p, &a, v, projection, &mut random);
            }
        }
        let (name, value) = if self.rank < self.n {
            ("rank", self.rank as f64)
        } else {
            ("density", self.density)
        };
        Err(Error::Setting {
            name,
            value,
            allowed: "larger: no regular program was found",
        })
    }

    fn validate(&self) -> Result<()> {
        let rows = rows_of(self.cones.iter());
        cone::validate(&self.cones, rows)?;
        let equalities = rows_of(self.cones.iter().filter(|c| matches!(c, Cone::Zero(_))));
        let (n, density, rank) = (self.n as f64, self.density, self.rank as f64);
        for (is_right, name, value, allowed) in [
            (self.n >= 1, "n", n, "at least 1"),
            (
                equalities <= self.n,
                "n",
                n,
                "at least the number of equality rows",
            ),
            (
                self.condition >= 1.0 && self.condition.is_finite(),
                "condition",
                self.condition,
                "at least 1",
            ),
            (
                self.margin > 0.0 && self.margin.is_finite(),
                "margin",
                self.margin,
                "positive",
            ),
            (
                density > 0.0 && density <= 1.0,
                "density",
                density,
                "in (0, 1]",
            ),
            (self.rank <= self.n, "rank", rank, "at most n"),
        ] {
            if !is_right {
                return Err(Error::Setting {
                    name,
                    value,
                    allowed,
                });
            }
        }
        // P, A and the bases of the cones' blocks.
        let all = self.n.saturating_add(rows);
        check_dense(
            "the random program",
            all,
            self.n.max(rows),
            MOST_DENSE_BYTES,
        )
    }

    /// v and, for each direction of D's eigenspace for 1, its first row and its values.
    fn point(&self, random: &mut Random) -> Result<(Vec<f64>, Vec<Direction>)> {
        let is_curved = |c: &&Cone| !matches!(c, Cone::Zero(_) | Cone::Nonnegative(_));
        let is_zero = |c: &&Cone| matches!(c, Cone::Zero(_));
        let equalities: usize = self.cones.iter().filter(is_zero).map(Cone::rows).sum();
        let mut curved = self.cones.iter().filter(is_curved).count();
        let most = (self.n - self.n / 4).max(self.n - self.rank);
        let mut room = most.saturating_sub(equalities);
        let (mut v, mut hard) = (Vec::new(), Vec::new());
        for cone in &self.cones {
            if is_curved(&cone) {
                curved -= 1;
            }
            // One hard row is kept for each curved block to come: most of them shall be on their curved piece.
            let sample = self.block(cone, room.saturating_sub(curved), random)?;
            if !matches!(cone, Cone::Zero(_)) {
                room -= sample.hard.len();
            }
            let start = v.len();
            v.extend(sample.v);
            hard.extend(
                sample
                    .hard
                    .into_iter()
                    .map(|values| Direction { start, values }),
            );
        }
        Ok((v, hard))
    }

    /// A distance to a kink.
    fn distance(&self, random: &mut Random) -> f64 {
        let most = (10.0 * self.margin).max(1.0);
        self.margin * (most / self.margin).powf(random.uniform())
    }

    /// A point for one cone, with at most `room` hard rows.
    fn block(&self, cone: &Cone, room: usize, random: &mut Random) -> Result<Sample> {
        let rows = cone.rows();
        let place = match random.uniform() {
            u if u < 0.15 && rows <= room => Place::DualInterior,
            u if u < 0.3 || room == 0 => Place::Polar,
            _ => Place::Between,
        };
        Ok(match cone {
            Cone::Zero(_) => Sample {
                v: random.normals(rows),
                hard: (0..rows).map(|i| unit(rows, i)).collect(),
            },
            Cone::Nonnegative(_) => self.signs(rows, room, random),
            Cone::SecondOrder(_) | Cone::PsdTriangle(_) if rows <= 1 => {
                self.signs(rows, room, random)
            }
            Cone::SecondOrder(_) => self.second_order(rows, place, random),
            Cone::PsdTriangle(k) => self.psd(*k, place, room, random),
            Cone::Exponential | Cone::Power(_) | Cone::GeneralizedPower(..) => {
                self.curved(cone, place, room, random)?
            }
        })
    }

    /// Half-lines: a positive v is a hard row, every second one, or more where P leaves directions without cost.
    fn signs(&self, rows: usize, room: usize, random: &mut Random) -> Sample {
        let share = 1.0 - self.rank as f64 / (2 * self.n) as f64;
        let mut sample = Sample::default();
        for i in 0..rows {
            let distance = self.distance(random);
            if random.uniform() < share && sample.hard.len() < room {
                sample.v.push(distance);
                sample.hard.push(unit(rows, i));
            } else {
                sample.v.push(-distance);
            }
        }
        sample
    }

    /// (t, u) at chosen distances from the two boundaries: |t - |u|| = sqrt 2 a, |t + |u|| = sqrt 2 b.
    fn second_order(&self, rows: usize, place: Place, random: &mut Random) -> Sample {
        let (a, b) = (self.distance(random), self.distance(random));
        let (t, norm) = match place {
            Place::DualInterior => (SQRT_2 * a + b, b),
            Place::Polar => (-SQRT_2 * a - b, b),
            Place::Between => ((b - a) * FRAC_1_SQRT_2, (b + a) * FRAC_1_SQRT_2),
        };
        let w = random.direction(rows - 1);
        let along = |first: f64, scale: f64| -> Vec<f64> {
            std::iter::once(first)
                .chain(w.iter().map(|w| scale * w))
                .collect()
        };
        Sample {
            v: along(t, norm),
            hard: match place {
                Place::DualInterior => (0..rows).map(|i| unit(rows, i)).collect(),
                Place::Polar => Vec::new(),
                Place::Between => vec![along(FRAC_1_SQRT_2, FRAC_1_SQRT_2)],
            },
        }
    }

    /// Q diag(l) Q' with chosen eigenvalues; the hard directions are the products of positive eigenvectors.
    fn psd(&self, k: usize, place: Place, room: usize, random: &mut Random) -> Sample {
        let fits = (1..k).take_while(|&r| cone::triangular(r) <= room).count();
        let positive = match place {
            Place::DualInterior => k,
            Place::Polar => 0,
            Place::Between => 1 + random.below(fits.max(1)),
        };
        let mut q = identity(k);
        for _ in 0..4 * k {
            q.rotate_columns(random);
        }
        let rows = cone::triangular(k);
        let mut v = vec![0.0; rows];
        for l in 0..k {
            let distance = self.distance(random);
            let eigenvalue = if l < positive { distance } else { -distance };
            let product = symmetric_product(q.column(l), q.column(l));
            for (v, e) in v.iter_mut().zip(product) {
                *v += eigenvalue * e;
            }
        }
        let hard = (0..positive)
            .flat_map(|j| (0..=j).map(move |i| (i, j)))
            .map(|(i, j)| symmetric_product(q.column(i), q.column(j)))
            .collect();
        Sample { v, hard }
    }

    /// Exponential and power cones: points drawn until one is in the place wanted and well inside, then scaled to its distance.
    fn curved(
        &self,
        cone: &Cone,
        place: Place,
        room: usize,
        random: &mut Random,
    ) -> Result<Sample> {
        let mut best: Option<(f64, Sample)> = None;
        for draw in 0..2 * DRAWS {
            let mut v = random.normals(cone.rows());
            if let (Cone::GeneralizedPower(alpha, _), true) = (cone, draw < DRAWS) {
                // Both interiors want one sign of all of u: too rare to wait for.
                let (u, w) = v.split_at_mut(alpha.len());
                match place {
                    Place::DualInterior => u.iter_mut().for_each(|u| *u = u.abs()),
                    Place::Polar => u.iter_mut().for_each(|u| *u = -u.abs()),
                    Place::Between => {}
                }
                if place != Place::Between {
                    w.iter_mut().for_each(|w| *w *= 0.3);
                }
            }
            let projection = Projection::new(std::slice::from_ref(cone), &v)?;
            let (found, hard) = match projection.blocks().first() {
                Some(Block::Identity(d)) => {
                    let all = (0..*d).map(|i| unit(*d, i)).collect();
                    (Place::DualInterior, all)
                }
                Some(Block::Spectral(d)) => {
                    let is_hard = |k: &usize| d.colambda[*k] < HARD;
                    let columns = (0..d.dim).filter(is_hard);
                    let vector = |k: usize| d.vectors[k * d.dim..(k + 1) * d.dim].to_vec();
                    (Place::Between, columns.map(vector).collect::<Vec<_>>())
                }
                _ => (Place::Polar, Vec::new()),
            };
            let margin = projection
                .margins()
                .iter()
                .fold(f64::INFINITY, |m, x| m.min(x.margin));
            let inside = margin / dot(&v, &v).sqrt();
            let is_wanted = found == place || draw >= DRAWS;
            if !is_wanted || hard.len() > room || best.as_ref().is_some_and(|b| b.0 >= inside) {
                continue;
            }
            let scale = (self.distance(random) * (1.0 + 1e-9) / margin).max(1.0);
            v.iter_mut().for_each(|v| *v *= scale);
            best = Some((inside, Sample { v, hard }));
            if inside > 0.05 {
                break;
            }
        }
        match best {
            Some((inside, sample)) if inside > 0.0 => Ok(sample),
            _ => Err(Error::Setting {
                name: "n",
                value: self.n as f64,
                allowed: "larger: no point of a curved cone has few enough hard rows",
            }),
        }
    }

    /// P with its eigenvalues and a basis of its null space, by symmetric rotations.
    fn quadratic(&self, random: &mut Random) -> (Dense, Dense) {
        let n = self.n;
        let order = random.permutation(n);
        let (mut p, mut null) = (Dense::zeros(n, n), Dense::zeros(n, n - self.rank));
        for (k, &j) in order.iter().enumerate() {
            if k < self.rank {
                p.set(j, j, spread(self.condition, k, self.rank));
            } else {
                null.set(j, k - self.rank, 1.0);
            }
        }
        let most = 20 * n;
        for step in 0..most {
            let is_mixed = self.density < 1.0 || step >= 8 * n;
            // Counting costs n rotations: not after each.
            let is_counted = is_mixed && step % (1 + n / 8) == 0;
            if n < 2 || (is_counted && p.density() >= self.density) {
                break;
            }
            let pair = random.pair(n);
            let turn = random.turn();
            p.rotate(pair, turn);
            p.rotate_rows(pair, turn);
            null.rotate_rows(pair, turn);
        }
        (p, null)
    }

    /// A with its singular values, by rotations of rows and of columns.
    fn constraints(&self, m: usize, hard: &[Direction], random: &mut Random) -> Dense {
        let n = self.n;
        let mut a = Dense::zeros(m, n);
        let (mut rows, columns) = (random.permutation(m), random.permutation(n));
        // Hard rows come first: each starts from a column of its own, so that few rotations leave them independent.
        let mut is_hard = vec![false; m];
        for direction in hard {
            if let Some(k) = direction.values.iter().position(|v| *v == 1.0) {
                is_hard[direction.start + k] = true;
            }
        }
        rows.sort_by_key(|&i| !is_hard[i]);
        let rank = m.min(n);
        let condition = self.condition.sqrt();
        for k in 0..rank {
            a.set(rows[k], columns[k], spread(condition, k, rank));
        }
        // No row stays empty.
        for k in rank..m {
            a.rotate_rows((rows[k], rows[k % rank]), (FRAC_1_SQRT_2, FRAC_1_SQRT_2));
        }
        for step in 0..20 * (m + n) {
            let is_mixed = self.density < 1.0 || step >= 8 * (m + n);
            let is_counted = is_mixed && step % (1 + (m + n) / 16) == 0;
            if is_counted && a.density() >= self.density {
                break;
            }
            if m > 1 {
                a.rotate_rows(random.pair(m), random.turn());
            }
            a.rotate_columns(random);
        }
        a
    }

    /// The two rank conditions of a regular solution, with a distance from failing.
    fn is_regular(
        &self,
        a: &Dense,
        hard: &[Direction],
        null: &Dense,
        projection: &Projection,
    ) -> Result<bool> {
        let least = 0.02 / self.condition.sqrt();
        let rows = hard.iter().map(|d| a.transpose_times(d)).collect();
        if !is_independent(rows, least) {
            return Ok(false);
        }
        let mut columns = Vec::with_capacity(null.cols);
        for j in 0..null.cols {
            let mut image = vec![0.0; a.rows];
            projection.apply(&a.times(null.column(j)), &mut image)?;
            columns.push(image);
        }
        Ok(is_independent(columns, least))
    }

    fn assemble(
        &self,
        p: Dense,
        a: &Dense,
        v: Vec<f64>,
        projection: Projection,
        random: &mut Random,
    ) -> Result<Generated> {
        let p = p.to_sparse(true);
        let a = a.to_sparse(false);
        let x = random.normals(self.n);
        let mut b = projection.s().to_vec();
        a.multiply_add(1.0, &x, &mut b);
        let mut q = vec![0.0; self.n];
        p.multiply_symmetric_add(-1.0, &x, &mut q);
        a.multiply_transpose_add(-1.0, projection.z(), &mut q);
        Ok(Generated {
            program: ConeProgram::from_matrices(p, q, a, b, self.cones.clone())?,
            x,
            v,
            projection,
        })
    }
}

/// The cones' rows, as many as can be counted.
fn rows_of<'a>(cones: impl Iterator<Item = &'a Cone>) -> usize {
    cones.fold(0, |m, c| c.rows().saturating_add(m))
}

/// Where a block's v lies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    DualInterior,
    Polar,
    Between,
}

/// v on one cone's rows and a basis of D's eigenspace for 1 there.
#[derive(Debug, Default)]
struct Sample {
    v: Vec<f64>,
    hard: Vec<Vec<f64>>,
}

/// A vector over all rows that is zero outside one block.
struct Direction {
    start: usize,
    values: Vec<f64>,
}

/// The k-th of `count` numbers from 1 to 1/condition.
fn spread(condition: f64, k: usize, count: usize) -> f64 {
    condition.powf(-(k as f64) / (count.max(2) - 1) as f64)
}

fn unit(len: usize, i: usize) -> Vec<f64> {
    let mut e = vec![0.0; len];
    e[i] = 1.0;
    e
}

/// svec of (a b' + b a')/2, or of a a'; of unit length for orthonormal a and b but for a factor that does not matter here.
fn symmetric_product(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(cone::triangular(a.len()));
    for j in 0..a.len() {
        out.extend((0..j).map(|i| FRAC_1_SQRT_2 * (a[i] * b[j] + a[j] * b[i])));
        out.push(a[j] * b[j]);
    }
    out
}

/// True if Gram-Schmidt leaves of every vector at least `least`.
fn is_independent(vectors: Vec<Vec<f64>>, least: f64) -> bool {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors.len());
    for mut vector in vectors {
        // Twice is enough: once leaves rounding errors of the size of the vector removed.
        for b in basis.iter().chain(&basis) {
            let part = dot(b, &vector);
            vector.iter_mut().zip(b).for_each(|(v, b)| *v -= part * b);
        }
        let norm = dot(&vector, &vector).sqrt();
        if norm < least {
            return false;
        }
        vector.iter_mut().for_each(|v| *v /= norm);
        basis.push(vector);
    }
    true
}
