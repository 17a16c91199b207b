//! What the reduced system owes to structure alone: its pattern, where each number of the data goes, and its orderings.
//!
//! The pattern holds every row of every cone, so that it does not change with the active set: a row that drops out has zeros
//! beside a pivot of -1. Variables are the n columns, then one slot or more for each row:
//!
//! | block | slots |
//! |---|---|
//! | zero, nonnegative | its rows of A as they are |
//! | second-order, small | eigenbasis rows, each on every column the block touches |
//! | second-order | one zeta a row, alpha, and a last one: eta, or the explicit row u1'A |
//! | PSD, exponential, powers | eigenbasis rows, each on every column the block touches |
//! | PSD whose matrix is the variable | eigenbasis rows on the variables in that basis: one entry each |
//!
//! In the last form a PSD block's rows of A have one entry each, in columns that the other curved blocks leave alone and where P is a
//! multiple of the identity or nothing. With s = -S x for those columns, x = S^-1 U xi turns the block's rows into multiples of
//! the identity and the other rows E x into (E S^-1 U) xi.

use super::Backend;
use crate::cone::{Cone, row_ranges};
use crate::error::{Error, Result};
use crate::memory::{MOST_FACTOR_BYTES, check_bytes};
use crate::program::ConeProgram;
use crate::projection::{check_cones, is_small};
use crate::settings::LinearBackend;
use faer::sparse::SymbolicSparseColMatRef;
use faer::sparse::linalg::SupernodalThreshold;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, SymbolicCholesky, SymmetricOrdering, factorize_symbolic_cholesky,
};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub(super) const NONE: usize = usize::MAX;

/// The entries of A that hold a PSD block's variables may differ by this factor: x = S^-1 U xi loses as many digits.
const SPREAD: f64 = 1e4;

/// P's entries on a PSD block's variables count as a multiple of the identity, which no rotation changes, if they are equal to this.
const EVEN: f64 = 1e-9;

/// The reduced system's pattern for one structure of programs (patterns of P and A, cones), shared by every factorization of it.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(super) n: usize,
    pub(super) m: usize,
    pub(super) slots: Vec<Slots>,
    /// Upper triangle by columns, rows sorted, every diagonal entry stored (the last of its column).
    pub(super) indptr: Vec<usize>,
    pub(super) indices: Vec<usize>,
    /// The sign of each pivot.
    pub(super) signs: Vec<i8>,
    /// Position in the pattern of each entry of P.
    pub(super) p_entry: Vec<usize>,
    /// Position of each entry of A that is an entry of the system as it is; `NONE` for the others.
    pub(super) a_entry: Vec<usize>,
    simplicial: OnceLock<Option<Arc<SymbolicCholesky<usize>>>>,
    supernodal: OnceLock<Option<Arc<SymbolicCholesky<usize>>>>,
    /// The back end found fastest, once that was measured.
    pub(super) fastest: OnceLock<Backend>,
    /// The regularization found best, once that was measured.
    regularization: OnceLock<f64>,
}

/// What a layer measures once for a structure, where [`LinearBackend::Auto`] leaves it open; nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calibration {
    /// The back end of LDL' found fastest.
    pub(crate) backend: Option<LinearBackend>,
    /// The regularization found best.
    pub(crate) regularization: Option<f64>,
}

/// One cone's slots.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) first: usize,
    pub(super) rows: Range<usize>,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    Rows,
    SecondOrder { columns: Vec<Part> },
    Rotated { columns: Vec<Part> },
    Variable(Variable),
}

/// The entries of one column of A in one block's rows.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) column: usize,
    pub(super) entries: Range<usize>,
}

/// A PSD block whose matrix is the variable.
#[derive(Debug)]
pub(super) struct Variable {
    /// For each row of the block its variable and its entry of A.
    pub(super) columns: Vec<usize>,
    pub(super) entries: Vec<usize>,
    pub(super) others: Vec<Other>,
}

impl Variable {
    /// P's diagonal entry of a row's variable in the block's own coordinates: P_jj over the square of A's entry.
    pub(super) fn curvature(&self, program: &ConeProgram, row: usize) -> f64 {
        let column = self.columns[row];
        let (rows, values) = program.p().column(column);
        let diagonal = rows.iter().position(|&i| i == column);
        let scale = program.effective_a().values()[self.entries[row]];
        diagonal.map_or(0.0, |k| values[k] / (scale * scale))
    }
}

/// Another row of A on the variables of a PSD block.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) row: usize,
    /// Position in the pattern of its coefficient on each rotated variable.
    pub(super) places: Vec<usize>,
    /// Its entries as (row of the block, entry of A), ascending.
    pub(super) entries: Vec<(usize, usize)>,
}

impl Slots {
    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        let extra = match self.form {
            Form::SecondOrder { .. } => 2,
            _ => 0,
        };
        self.rows.len() + extra
    }
}

impl Structure {
    /// # Errors
    /// [`Error::TooLarge`] if the pattern has too many entries.
    pub(crate) fn new(program: &ConeProgram) -> Result<Self> {
        let structure = Self::with_variables(program, true)?;
        if structure.suits(program) {
            Ok(structure)
        } else {
            Self::with_variables(program, false)
        }
    }

    /// With PSD blocks taken as the variable wherever the patterns allow it, or nowhere, which suits any values.
    ///
    /// # Errors
    /// Those of [`Structure::new`].
    pub(crate) fn with_variables(program: &ConeProgram, are_sought: bool) -> Result<Self> {
        check_cones(program.cones())?;
        let (n, m) = (program.n(), program.m());
        let (p, a) = (program.p().pattern(), program.effective_a().pattern());
        let ranges = row_ranges(program.cones());
        let mut block_of = vec![0; m];
        for (index, rows) in ranges.iter().enumerate() {
            block_of[rows.clone()].fill(index);
        }
        let is_direct =
            |c: &Cone| matches!(c, Cone::Zero(_) | Cone::Nonnegative(_)) || c.rows() <= 1;

        // The parts of each curved block, column after column.
        let mut parts: Vec<Vec<Part>> = program.cones().iter().map(|_| Vec::new()).collect();
        for j in 0..n {
            let (mut k, end) = (a.indptr()[j], a.indptr()[j + 1]);
            while k < end {
                let index = block_of[a.indices()[k]];
                let rows = &a.indices()[k..end];
                let next = k + rows.partition_point(|&i| i < ranges[index].end);
                if !is_direct(&program.cones()[index]) {
                    parts[index].push(Part {
                        column: j,
                        entries: k..next,
                    });
                }
                k = next;
            }
        }

        // Columns that P couples to others.
        let mut in_p = vec![false; n];
        for j in 0..n {
            for &i in &p.indices()[p.indptr()[j]..p.indptr()[j + 1]] {
                in_p[i] |= i != j;
                in_p[j] |= i != j;
            }
        }
        let mut signs = vec![1i8; n];
        let mut slots: Vec<Slots> = Vec::with_capacity(ranges.len());
        // The PSD block a column is the variable of.
        let mut variable_of = vec![NONE; n];
        for (index, (cone, rows)) in program.cones().iter().zip(&ranges).enumerate() {
            let first = signs.len();
            let columns = std::mem::take(&mut parts[index]);
            signs.extend(std::iter::repeat_n(-1, rows.len()));
            let form = match cone {
                _ if is_direct(cone) => Form::Rows,
                Cone::SecondOrder(d) if !is_small(*d) => {
                    signs.extend([1, -1]);
                    Form::SecondOrder { columns }
                }
                Cone::PsdTriangle(_) => {
                    let is_free = |part: &Part| {
                        let range = a.indptr()[part.column]..a.indptr()[part.column + 1];
                        let mut others = range.filter(|k| !part.entries.contains(k));
                        part.entries.len() == 1
                            && !in_p[part.column]
                            && others.all(|k| is_direct(&program.cones()[block_of[a.indices()[k]]]))
                    };
                    let mut variable = vec![NONE; rows.len()];
                    let mut entries = variable.clone();
                    if are_sought && columns.len() == rows.len() && columns.iter().all(is_free) {
                        for part in &columns {
                            let row = a.indices()[part.entries.start] - rows.start;
                            variable[row] = part.column;
                            entries[row] = part.entries.start;
                        }
                    }
                    if variable.contains(&NONE) {
                        Form::Rotated { columns }
                    } else {
                        for &j in &variable {
                            variable_of[j] = index;
                        }
                        Form::Variable(Variable {
                            columns: variable,
                            entries,
                            others: Vec::new(),
                        })
                    }
                }
                _ => Form::Rotated { columns },
            };
            slots.push(Slots {
                first,
                rows: rows.clone(),
                form,
            });
        }

        let mut structure = Self {
            n,
            m,
            slots,
            indptr: vec![0],
            indices: Vec::new(),
            signs,
            p_entry: vec![NONE; p.nnz()],
            a_entry: vec![NONE; a.nnz()],
            simplicial: OnceLock::new(),
            supernodal: OnceLock::new(),
            fastest: OnceLock::new(),
            regularization: OnceLock::new(),
        };
        for j in 0..n {
            for k in p.indptr()[j]..p.indptr()[j + 1] {
                structure.p_entry[k] = structure.indices.len();
                structure.indices.push(p.indices()[k]);
            }
            structure.close(j);
        }
        structure.check_entries(program, &variable_of)?;
        structure.rows(program, &variable_of);
        Ok(structure)
    }

    /// Counts the entries of the slots' columns before they are made: a curved block has its rows times the columns it touches.
    fn check_entries(&self, program: &ConeProgram, variable_of: &[usize]) -> Result<()> {
        let mut entries = (self.signs.len() + program.a().nnz()) as u128;
        for block in &self.slots {
            let rows = block.rows.len() as u128;
            entries += match &block.form {
                Form::Rotated { columns } => rows * columns.len() as u128,
                Form::Rows | Form::SecondOrder { .. } | Form::Variable(_) => 3 * rows,
            };
        }
        // A row on some variables of a PSD block has an entry for each of them.
        let a = program.effective_a().pattern();
        let mut touching: Vec<(usize, usize)> = Vec::new();
        for (j, &block) in variable_of.iter().enumerate().filter(|v| *v.1 != NONE) {
            let rows = &a.indices()[a.indptr()[j]..a.indptr()[j + 1]];
            let others = rows.iter().filter(|i| !self.slots[block].rows.contains(*i));
            touching.extend(others.map(|&i| (block, i)));
        }
        touching.sort_unstable();
        touching.dedup();
        let own = |block: usize| self.slots[block].rows.len() as u128;
        entries += touching.iter().map(|t| own(t.0)).sum::<u128>();
        // An index and a value each.
        check_bytes("the reduced linear system", 16, entries, MOST_FACTOR_BYTES)
    }

    /// Ends a column with its diagonal entry.
    fn close(&mut self, column: usize) {
        let start = self.indptr[column];
        if self.indices[start..].last() != Some(&column) {
            self.indices.push(column);
        }
        self.indptr.push(self.indices.len());
    }

    /// The columns of the slots.
    fn rows(&mut self, program: &ConeProgram, variable_of: &[usize]) {
        let a = program.effective_a().pattern();
        // A by rows: (column, entry), columns ascending.
        let mut start = vec![0usize; self.m + 1];
        for &i in a.indices() {
            start[i + 1] += 1;
        }
        for i in 0..self.m {
            start[i + 1] += start[i];
        }
        let mut by_row = vec![(0, 0); a.nnz()];
        let mut next = start.clone();
        for j in 0..self.n {
            for k in a.indptr()[j]..a.indptr()[j + 1] {
                let i = a.indices()[k];
                by_row[next[i]] = (j, k);
                next[i] += 1;
            }
        }
        let mut slots = std::mem::take(&mut self.slots);
        // The row of its block a variable stands for.
        let mut row_of = vec![NONE; self.n];
        for block in &slots {
            if let Form::Variable(v) = &block.form {
                for (row, &j) in v.columns.iter().enumerate() {
                    row_of[j] = row;
                }
            }
        }
        // Which variable blocks a row touches, and where.
        let mut touching: Vec<(usize, Other)> = Vec::new();
        let mut wanted: Vec<usize> = Vec::new();
        for block in &slots {
            let first = block.first;
            match &block.form {
                Form::Rows => {
                    for (slot, row) in block.rows.clone().enumerate() {
                        let entries = &by_row[start[row]..start[row + 1]];
                        wanted.clear();
                        let mut seen: Vec<usize> = Vec::new();
                        for &(j, _) in entries {
                            match variable_of[j] {
                                NONE => wanted.push(j),
                                index if !seen.contains(&index) => {
                                    seen.push(index);
                                    if let Form::Variable(v) = &slots[index].form {
                                        wanted.extend_from_slice(&v.columns);
                                    }
                                }
                                _ => {}
                            }
                        }
                        wanted.sort_unstable();
                        let base = self.indices.len();
                        let place = |j: usize| base + wanted.partition_point(|&i| i < j);
                        for &(j, k) in entries {
                            if variable_of[j] == NONE {
                                self.a_entry[k] = place(j);
                            }
                        }
                        for index in seen {
                            let Form::Variable(v) = &slots[index].form else {
                                continue;
                            };
                            let mut own: Vec<(usize, usize)> = entries
                                .iter()
                                .filter(|e| variable_of[e.0] == index)
                                .map(|e| (row_of[e.0], e.1))
                                .collect();
                            own.sort_unstable();
                            touching.push((
                                index,
                                Other {
                                    row,
                                    places: v.columns.iter().map(|&j| place(j)).collect(),
                                    entries: own,
                                },
                            ));
                        }
                        self.indices.extend_from_slice(&wanted);
                        self.close(first + slot);
                    }
                }
                Form::SecondOrder { columns } => {
                    for (slot, row) in block.rows.clone().enumerate() {
                        for &(j, k) in &by_row[start[row]..start[row + 1]] {
                            self.a_entry[k] = self.indices.len();
                            self.indices.push(j);
                        }
                        self.close(first + slot);
                    }
                    let zeta = first..first + block.rows.len();
                    self.indices.extend(zeta.clone());
                    self.close(zeta.end);
                    self.indices.extend(columns.iter().map(|part| part.column));
                    self.indices.extend(zeta.clone());
                    self.close(zeta.end + 1);
                }
                Form::Rotated { columns } => {
                    for slot in 0..block.rows.len() {
                        self.indices.extend(columns.iter().map(|part| part.column));
                        self.close(first + slot);
                    }
                }
                Form::Variable(v) => {
                    for (slot, &column) in v.columns.iter().enumerate() {
                        self.indices.push(column);
                        self.close(first + slot);
                    }
                }
            }
        }
        for (index, other) in touching {
            if let Form::Variable(v) = &mut slots[index].form {
                v.others.push(other);
            }
        }
        self.slots = slots;
    }

    /// Order of the reduced system.
    pub(crate) fn len(&self) -> usize {
        self.signs.len()
    }

    /// True if the program has this structure, as far as sizes and counts tell.
    pub(crate) fn fits(&self, program: &ConeProgram) -> bool {
        program.n() == self.n
            && program.m() == self.m
            && program.p().nnz() == self.p_entry.len()
            && program.effective_a().nnz() == self.a_entry.len()
            && program.cones().len() == self.slots.len()
    }

    /// True if the program's values allow what the structure does with them: where a PSD block's matrix is the variable, the rows of
    /// A that say so must not vanish.
    pub(crate) fn suits(&self, program: &ConeProgram) -> bool {
        let a = program.effective_a().values();
        self.slots.iter().all(|slots| {
            let Form::Variable(v) = &slots.form else {
                return true;
            };
            let sizes = v.entries.iter().map(|&k| a[k].abs());
            let (least, largest) =
                sizes.fold((f64::INFINITY, 0.0_f64), |(l, g), x| (l.min(x), g.max(x)));
            let first = v.curvature(program, 0);
            let is_even = |row| (v.curvature(program, row) - first).abs() <= EVEN * first;
            least > 0.0 && largest <= SPREAD * least && (0..v.columns.len()).all(is_even)
        })
    }

    /// True once the factorization was measured.
    pub(crate) fn is_calibrated(&self) -> bool {
        self.regularization.get().is_some()
    }

    /// The regularization to start with.
    pub(crate) fn regularization(&self) -> f64 {
        *self
            .regularization
            .get()
            .unwrap_or(&super::REGULARIZATIONS[0])
    }

    /// What was measured on it.
    pub(crate) fn calibration(&self) -> Calibration {
        Calibration {
            backend: self.fastest.get().map(|backend| match backend {
                Backend::Dense => LinearBackend::Dense,
                Backend::Simplicial => LinearBackend::Simplicial,
                Backend::Supernodal => LinearBackend::Supernodal,
            }),
            regularization: self.regularization.get().copied(),
        }
    }

    /// With what was measured elsewhere.
    pub(crate) fn with_calibration(self, calibration: Calibration) -> Self {
        let backend = match calibration.backend {
            Some(LinearBackend::Dense) => Some(Backend::Dense),
            Some(LinearBackend::Simplicial) => Some(Backend::Simplicial),
            Some(LinearBackend::Supernodal) => Some(Backend::Supernodal),
            Some(LinearBackend::Auto) | None => None,
        };
        if let Some(backend) = backend {
            let _ = self.fastest.set(backend);
        }
        if let Some(regularization) = calibration.regularization {
            self.set_regularization(regularization);
        }
        self
    }

    /// Keeps a measured regularization. Another thread may have measured too: the first verdict stands.
    pub(super) fn set_regularization(&self, value: f64) {
        let _ = self.regularization.set(value);
    }

    /// Entries of memory that loads and unloads need beside the projection's.
    pub(super) fn scratch_len(&self) -> usize {
        let of = |slots: &Slots| match &slots.form {
            Form::Variable(v) => 2 * v.columns.len(),
            _ => 0,
        };
        self.slots.iter().map(of).max().unwrap_or(0)
    }

    /// The sparse symbolic factorization, by single entries or by supernodes; made once.
    pub(super) fn symbolic(&self, supernodal: bool) -> Result<Arc<SymbolicCholesky<usize>>> {
        let (own, other) = if supernodal {
            (&self.supernodal, &self.simplicial)
        } else {
            (&self.simplicial, &self.supernodal)
        };
        let symbolic = own
            .get_or_init(|| {
                let len = self.len();
                let pattern = SymbolicSparseColMatRef::new_checked(
                    len,
                    len,
                    &self.indptr,
                    None,
                    &self.indices,
                );
                let known = other.get().and_then(Option::as_ref).and_then(|s| s.perm());
                let ordering = match known {
                    Some(perm) => SymmetricOrdering::Custom(perm),
                    None => SymmetricOrdering::Amd,
                };
                let supernodal_flop_ratio_threshold = if supernodal {
                    SupernodalThreshold::FORCE_SUPERNODAL
                } else {
                    SupernodalThreshold::FORCE_SIMPLICIAL
                };
                factorize_symbolic_cholesky(
                    pattern,
                    faer::Side::Upper,
                    ordering,
                    CholeskySymbolicParams {
                        supernodal_flop_ratio_threshold,
                        ..CholeskySymbolicParams::default()
                    },
                )
                .ok()
                .map(Arc::new)
            })
            .clone()
            .ok_or(Error::Factorization { method: "LDL'" })?;
        let entries = symbolic.len_val() as u128;
        check_bytes("the LDL' factor", 8, entries, MOST_FACTOR_BYTES)?;
        Ok(symbolic)
    }
}
