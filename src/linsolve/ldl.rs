//! LDL' of the reduced system with a static regularization, dense or sparse, corrected by refinement against the system itself.
//!
//! # References
//! Vanderbei, Symmetric quasidefinite matrices, 1995. Saunders, Cholesky-based methods for sparse least squares, 1996 (stability of
//! LDL' for quasidefinite systems).

use super::reduced::Reduced;
use super::structure::{NONE, Structure};
use crate::error::{Error, Result};
use crate::memory::{MOST_FACTOR_BYTES, check_bytes};
use crate::residual::ResidualJacobian;
use crate::settings::LinearBackend;
use crate::tangent::norm_max;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::ldlt;
use faer::sparse::linalg::cholesky::{LdltRef, SymbolicCholesky, SymbolicCholeskyRaw};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, MatMut, MatRef, Par};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BREAKDOWN: Error = Error::Factorization { method: "LDL'" };

/// Steps of refinement in the reduced system, between two looks at the unreduced one.
const INNER_STEPS: usize = 4;

/// Steps of the minimum-norm iteration.
const MINIMUM_NORM_STEPS: usize = 200;

/// Below this the regularized inverse is the inverse to a hundredth.
const RESOLVED: f64 = 1e-2;

/// Up to this many active slots the dense factorization needs no comparison.
const SMALL: usize = 60;
/// Above this many the dense one is not considered: 0.8 GiB.
const DENSE_LIMIT: usize = 10_000;
/// A matrix with more than this share of its triangle is dense.
const DENSE_SHARE: f64 = 0.3;
/// Multiply-adds a second, measured (benches/README.md): dense, by supernodes, by single entries; and what a factorization by
/// supernodes costs beside them.
const DENSE_SPEED: f64 = 1.5e10;
const SUPERNODAL_SPEED: f64 = 6e9;
const SIMPLICIAL_SPEED: f64 = 1e9;
const SUPERNODAL_OVERHEAD: f64 = 1e-4;
/// Back ends predicted to be slower than the best by more than this are not timed.
const WORTH_TIMING: f64 = 8.0;

/// How the factor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Dense,
    Simplicial,
    Supernodal,
}

#[derive(Debug)]
pub(super) struct Ldl {
    pub(super) reduced: Reduced,
    backend: Backend,
    symbolic: Option<Arc<SymbolicCholesky<usize>>>,
    /// The sparse factor's values, or the dense lower triangle by columns.
    factor: Vec<f64>,
    /// Dense: the active slots, which are the factor's rows.
    slots: Vec<usize>,
    /// Dense: the row of a slot, `NONE` for an inactive one. Sparse: unused.
    place: Vec<usize>,
    /// Sparse: the regularized values.
    regularized: Vec<f64>,
    regularization: f64,
    memory: Scratch,
}

/// Memory of a factorization, kept from one to the next.
struct Scratch {
    memory: MemBuffer,
    size: StackReq,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Scratch {
    fn stack(&mut self, needed: StackReq) -> Result<&mut MemStack> {
        if self.size.or(needed) != self.size {
            self.memory = MemBuffer::try_new(needed).map_err(|_| BREAKDOWN)?;
            self.size = needed;
        }
        Ok(MemStack::new(&mut self.memory))
    }
}

/// Memory of a solve.
pub(super) struct SolveMemory {
    stack: MemBuffer,
    compact: Vec<f64>,
}

impl SolveMemory {
    pub(super) fn new(ldl: &Ldl) -> Self {
        Self {
            stack: MemBuffer::new(ldl.scratch()),
            compact: vec![0.0; ldl.reduced.len()],
        }
    }

    /// For methods without a reduced system.
    pub(super) fn for_stack(stack: StackReq) -> Self {
        Self {
            stack: MemBuffer::new(stack),
            compact: Vec::new(),
        }
    }

    pub(super) fn stack(&mut self) -> &mut MemBuffer {
        &mut self.stack
    }
}

impl Ldl {
    /// Takes memory; `factor` must follow.
    pub(super) fn new(structure: &Arc<Structure>) -> Self {
        Self {
            reduced: Reduced::new(Arc::clone(structure)),
            backend: Backend::Dense,
            symbolic: None,
            factor: Vec::new(),
            slots: Vec::new(),
            place: Vec::new(),
            regularized: Vec::new(),
            regularization: 0.0,
            memory: Scratch {
                memory: MemBuffer::new(StackReq::EMPTY),
                size: StackReq::EMPTY,
            },
        }
    }

    /// Factors S K S + regularization * diag(signs) for K at a Jacobian.
    pub(super) fn prepare(
        &mut self,
        jacobian: &ResidualJacobian,
        regularization: f64,
        backend: LinearBackend,
    ) -> Result<()> {
        self.reduced.fill(jacobian);
        self.backend = self.choose(backend)?;
        self.factor(regularization)
    }

    /// The back end asked for, or the one found fastest, or the one predicted to be.
    fn choose(&self, backend: LinearBackend) -> Result<Backend> {
        match backend {
            LinearBackend::Dense => return Ok(Backend::Dense),
            LinearBackend::Simplicial => return Ok(Backend::Simplicial),
            LinearBackend::Supernodal => return Ok(Backend::Supernodal),
            LinearBackend::Auto => {}
        }
        if let Some(&fastest) = self.reduced.structure.fastest.get() {
            return Ok(fastest);
        }
        let costs = self.costs()?;
        let best = costs.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.map_or(Backend::Dense, |b| b.0))
    }

    /// Predicted seconds of each back end worth a thought.
    fn costs(&self) -> Result<Vec<(Backend, f64)>> {
        let structure = &self.reduced.structure;
        let active = self.reduced.is_active.iter().filter(|a| **a).count();
        let n = active as f64;
        let dense = n.powi(3) / 6.0 / DENSE_SPEED + n * n / 1e9;
        let share = structure.indices.len() as f64 / (0.5 * n * (n + 1.0)).max(1.0);
        if active <= SMALL || (active <= DENSE_LIMIT && share > DENSE_SHARE) {
            return Ok(vec![(Backend::Dense, dense)]);
        }
        let symbolic = structure.symbolic(false)?;
        let SymbolicCholeskyRaw::Simplicial(raw) = symbolic.raw() else {
            return Ok(vec![(Backend::Supernodal, 0.0)]);
        };
        let columns = raw.col_ptr().windows(2).map(|w| (w[1] - w[0]) as f64);
        let work: f64 = columns.map(|c| 0.5 * c * c).sum();
        let mut costs = vec![
            (Backend::Simplicial, work / SIMPLICIAL_SPEED),
            (
                Backend::Supernodal,
                SUPERNODAL_OVERHEAD + work / SUPERNODAL_SPEED,
            ),
        ];
        if active <= DENSE_LIMIT {
            costs.push((Backend::Dense, dense));
        }
        Ok(costs)
    }

    /// Times the back ends on the matrix at hand, a factorization and two solves each, and keeps the fastest for the structure.
    pub(super) fn calibrate(&mut self) -> Result<()> {
        if self.reduced.structure.fastest.get().is_some() {
            return Ok(());
        }
        let costs = self.costs()?;
        let least = costs.iter().fold(f64::INFINITY, |m, c| m.min(c.1));
        let mut best = (Duration::MAX, self.backend);
        if costs.len() > 1 {
            let probe = super::probe_vector(self.reduced.len());
            let mut y = probe.clone();
            for (backend, _) in costs.into_iter().filter(|c| c.1 <= WORTH_TIMING * least) {
                self.backend = backend;
                for _ in 0..2 {
                    let start = Instant::now();
                    if self.factor(super::REGULARIZATIONS[0]).is_err() {
                        break;
                    }
                    let mut memory = SolveMemory::new(self);
                    for _ in 0..2 {
                        y.copy_from_slice(&probe);
                        self.solve_in_place(&mut y, &mut memory);
                    }
                    let time = start.elapsed();
                    if time < best.0 {
                        best = (time, backend);
                    }
                }
            }
        }
        // Another thread may have measured too: the first verdict stands.
        let _ = self.reduced.structure.fastest.set(best.1);
        Ok(())
    }

    /// Factors what `prepare` filled in, with another regularization.
    pub(super) fn factor(&mut self, regularization: f64) -> Result<()> {
        self.regularization = regularization;
        let done = match self.backend {
            Backend::Dense => self.factor_dense(),
            Backend::Simplicial => self.factor_sparse(false),
            Backend::Supernodal => self.factor_sparse(true),
        };
        done?;
        if self.factor.iter().all(|x| x.is_finite()) {
            Ok(())
        } else {
            Err(BREAKDOWN)
        }
    }

    /// That of the factor at hand.
    pub(super) fn regularization(&self) -> f64 {
        self.regularization
    }

    fn factor_dense(&mut self) -> Result<()> {
        let Reduced {
            structure,
            values,
            is_active,
            ..
        } = &self.reduced;
        self.slots.clear();
        self.place.clear();
        for (slot, active) in is_active.iter().enumerate() {
            self.place
                .push(if *active { self.slots.len() } else { NONE });
            if *active {
                self.slots.push(slot);
            }
        }
        let len = self.slots.len();
        self.factor.clear();
        let entries = len as u128 * len as u128;
        check_bytes("the dense LDL' factor", 8, entries, MOST_FACTOR_BYTES)?;
        self.factor.resize(len * len, 0.0);
        for (row, &slot) in self.slots.iter().enumerate() {
            let range = structure.indptr[slot]..structure.indptr[slot + 1];
            for (&i, &v) in structure.indices[range.clone()].iter().zip(&values[range]) {
                let column = self.place[i];
                if column != NONE {
                    self.factor[column * len + row] = v;
                }
            }
            self.factor[row * len + row] += self.regularization * f64::from(structure.signs[slot]);
        }
        if len == 0 {
            return Ok(());
        }
        let needed =
            ldlt::factor::cholesky_in_place_scratch::<f64>(len, Par::Seq, Default::default());
        ldlt::factor::cholesky_in_place(
            MatMut::from_column_major_slice_mut(&mut self.factor, len, len),
            Default::default(),
            Par::Seq,
            self.memory.stack(needed)?,
            Default::default(),
        )
        .map_err(|_| BREAKDOWN)?;
        Ok(())
    }

    fn factor_sparse(&mut self, supernodal: bool) -> Result<()> {
        let structure = Arc::clone(&self.reduced.structure);
        let symbolic = structure.symbolic(supernodal)?;
        let len = structure.len();
        self.regularized.clear();
        self.regularized.extend_from_slice(&self.reduced.values);
        for (j, &sign) in structure.signs.iter().enumerate() {
            // The diagonal is the last entry of its column.
            self.regularized[structure.indptr[j + 1] - 1] += self.regularization * f64::from(sign);
        }
        self.factor.resize(symbolic.len_val(), 0.0);
        let needed = symbolic.factorize_numeric_ldlt_scratch::<f64>(Par::Seq, Default::default());
        let matrix = SparseColMatRef::new(
            SymbolicSparseColMatRef::new_checked(
                len,
                len,
                &structure.indptr,
                None,
                &structure.indices,
            ),
            self.regularized.as_slice(),
        );
        symbolic
            .factorize_numeric_ldlt(
                &mut self.factor,
                matrix,
                faer::Side::Upper,
                Default::default(),
                Par::Seq,
                self.memory.stack(needed)?,
                Default::default(),
            )
            .map_err(|_| BREAKDOWN)?;
        self.symbolic = Some(symbolic);
        Ok(())
    }

    /// Bytes held, without the structure.
    pub(super) fn bytes(&self) -> usize {
        let own = self.factor.len() + self.regularized.len() + self.slots.len() + self.place.len();
        8 * own + self.reduced.bytes() + self.memory.size.size_bytes()
    }

    pub(super) fn scratch(&self) -> StackReq {
        match (&self.backend, &self.symbolic) {
            (Backend::Dense, _) | (_, None) => StackReq::EMPTY,
            (_, Some(symbolic)) => symbolic.solve_in_place_scratch::<f64>(1, Par::Seq),
        }
    }

    /// y <- (S K S + regularization)^-1 y.
    pub(super) fn solve_in_place(&self, y: &mut [f64], memory: &mut SolveMemory) {
        if y.is_empty() {
            return;
        }
        match (&self.backend, &self.symbolic) {
            (Backend::Dense, _) | (_, None) => self.solve_dense(y, memory),
            (_, Some(symbolic)) => {
                let len = y.len();
                LdltRef::new(symbolic, &self.factor).solve_in_place_with_conj(
                    Conj::No,
                    MatMut::from_column_major_slice_mut(y, len, 1),
                    Par::Seq,
                    MemStack::new(&mut memory.stack),
                );
            }
        }
    }

    fn solve_dense(&self, y: &mut [f64], memory: &mut SolveMemory) {
        let len = self.slots.len();
        let compact = &mut memory.compact[..len];
        for (c, &slot) in compact.iter_mut().zip(&self.slots) {
            *c = y[slot];
        }
        if len < y.len() {
            let Reduced {
                structure, values, ..
            } = &self.reduced;
            for (slot, y) in y.iter_mut().enumerate() {
                let pivot = values[structure.indptr[slot + 1] - 1];
                *y /= pivot + self.regularization * f64::from(structure.signs[slot]);
            }
        }
        if len > 0 {
            let factor = MatRef::from_column_major_slice(&self.factor[..len * len], len, len);
            ldlt::solve::solve_in_place_with_conj(
                factor,
                factor.diagonal(),
                Conj::No,
                MatMut::from_column_major_slice_mut(compact, len, 1),
                Par::Seq,
                MemStack::new(&mut memory.stack),
            );
        }
        for (c, &slot) in compact.iter().zip(&self.slots) {
            y[slot] = *c;
        }
    }

    /// y <- the solution of S K S y = rhs to a residual of `target` times the largest entry of rhs and y, or as near to it as a few steps
    /// of refinement go; y holds rhs on entry.
    pub(super) fn solve_to(
        &self,
        target: f64,
        rhs: &[f64],
        y: &mut [f64],
        r: &mut [f64],
        memory: &mut SolveMemory,
    ) {
        self.solve_in_place(y, memory);
        if target.is_infinite() {
            return;
        }
        let mut previous = f64::INFINITY;
        for _ in 0..INNER_STEPS {
            self.reduced.multiply(y, r);
            for (r, b) in r.iter_mut().zip(rhs) {
                *r = b - *r;
            }
            let size = norm_max(r);
            let enough = target * (norm_max(rhs) + norm_max(y));
            if size <= enough || size.is_nan() || size > 0.5 * previous {
                return;
            }
            previous = size;
            self.solve_in_place(r, memory);
            for (y, c) in y.iter_mut().zip(r.iter()) {
                *y += c;
            }
        }
    }

    /// Solves S K S y = rhs to a relative residual of `tolerance`; `None` if the refinement does not get there in `steps`.
    fn solve_refined(
        &self,
        rhs: &[f64],
        tolerance: f64,
        steps: usize,
        memory: &mut SolveMemory,
    ) -> Option<Vec<f64>> {
        let target = tolerance * norm_max(rhs);
        let mut y = vec![0.0; rhs.len()];
        let mut r = rhs.to_vec();
        for _ in 0..steps {
            self.solve_in_place(&mut r, memory);
            for (y, c) in y.iter_mut().zip(&r) {
                *y += c;
            }
            self.reduced.multiply(&y, &mut r);
            for (r, b) in r.iter_mut().zip(rhs) {
                *r = b - *r;
            }
            let size = norm_max(&r);
            if !size.is_finite() {
                return None;
            }
            if size <= target {
                return Some(y);
            }
        }
        None
    }

    /// Condition number of S K S by inverse iteration; infinity if the regularized factor cannot resolve the smallest singular value,
    /// that is, if refinement does not contract. About four solves.
    pub(super) fn condition(&self, memory: &mut SolveMemory) -> f64 {
        let len = self.reduced.len();
        if len == 0 {
            return 1.0;
        }
        let mut y = super::probe_vector(len);
        let mut inverse = 0.0_f64;
        for pass in 0..3 {
            let size = y.iter().map(|x| x * x).sum::<f64>().sqrt();
            for x in &mut y {
                *x /= size;
            }
            // The first solve is the test that a generic right-hand side is reached; later ones need two digits, which the
            // regularized factor has by itself unless the inverse is as large as the regularization is small.
            let (tolerance, steps) = if pass == 0 { (1e-9, 12) } else { (1e-2, 12) };
            if pass > 0 && inverse * self.regularization <= RESOLVED {
                self.solve_in_place(&mut y, memory);
            } else {
                match self.solve_refined(&y, tolerance, steps, memory) {
                    Some(next) => y = next,
                    None => return f64::INFINITY,
                }
            }
            inverse = inverse.max(y.iter().map(|x| x * x).sum::<f64>().sqrt());
        }
        inverse * self.reduced.norm()
    }

    /// y <- the minimum-norm least-squares solution of S K S y = rhs, by y += M^-1 K M^-1 (rhs - K y) with M the regularized
    /// matrix: the null space of K splits along the signs, so M^-1 keeps it and K annihilates it.
    pub(super) fn solve_minimum_norm(
        &self,
        rhs: &[f64],
        y: &mut [f64],
        r: &mut [f64],
        product: &mut [f64],
        memory: &mut SolveMemory,
    ) -> usize {
        y.fill(0.0);
        let mut previous = f64::INFINITY;
        for step in 1..=MINIMUM_NORM_STEPS {
            self.reduced.multiply(y, r);
            for (r, b) in r.iter_mut().zip(rhs) {
                *r = b - *r;
            }
            self.solve_in_place(r, memory);
            self.reduced.multiply(r, product);
            self.solve_in_place(product, memory);
            let change = norm_max(product);
            if change.is_nan() || change >= 0.9 * previous {
                return step;
            }
            for (y, c) in y.iter_mut().zip(product.iter()) {
                *y += c;
            }
            if change <= 1e-14 * norm_max(y) {
                return step;
            }
            previous = change;
        }
        MINIMUM_NORM_STEPS
    }
}
