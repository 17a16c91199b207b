//! Elimination of the equalities: x = x0 + Z w with Z an orthonormal basis of E's kernel.
//!
//! E' = Q [R; 0], Z the last columns of Q, x0 = Q [R'^-1 e; 0]. Then w minimizes 1/2 w'Z'PZ w + (Z'(q + P x0))'w subject to
//! GZ w + s = h - G x0, and R y = (Q'r) in its first entries, r = -(P x + q + G'z).
//!
//! # References
//! Nocedal, Wright, Numerical Optimization, 2nd edition, 2006, section 16.2 (null-space method).

use super::data::Data;
use super::kernel::{multiply, multiply_transpose};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply,
    apply_block_householder_sequence_transpose_on_the_left_in_place_scratch as transpose_scratch,
    apply_block_householder_sequence_transpose_on_the_left_in_place_with_conj as apply_transpose,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{Accum, ColMut, Conj, Mat, Par};

/// A diagonal entry of R this small beside the largest means that the equalities depend on one another.
const DEPENDENT: f64 = 1e-9;

/// Interior-point iterations that a decision counts on.
const EXPECTED_ITERATIONS: f64 = 10.0;

pub(super) struct Reduction {
    /// The reduced program.
    pub(super) data: Data,
    qr: Mat<f64>,
    coefficients: Mat<f64>,
    z: Mat<f64>,
    /// P Z.
    pz: Mat<f64>,
    x0: Vec<f64>,
    work: Vec<f64>,
    memory: MemBuffer,
}

impl Reduction {
    /// `None` where it saves no work: few equalities, or many bounds, which the reduction makes dense.
    pub(super) fn new(n: usize, [equalities, dense, bounds]: [usize; 3]) -> Option<Self> {
        if equalities == 0 || equalities >= n {
            return None;
        }
        let k = n - equalities;
        let [nf, ef, kf] = [n, equalities, k].map(|d| d as f64);
        let [df, rows] = [dense, dense + bounds].map(|d| d as f64);
        let whole = nf * nf * (df + nf / 3.0 + ef) + nf * ef * ef;
        let reduced = kf * kf * (rows + kf / 3.0);
        let once =
            nf * (2.0 * ef * ef + 4.0 * ef * kf + 2.0 * nf * kf + kf * kf) + 2.0 * nf * kf * rows;
        if EXPECTED_ITERATIONS * reduced + once > 0.9 * EXPECTED_ITERATIONS * whole {
            return None;
        }
        let block = recommended_block_size::<f64>(n, equalities);
        let scratch =
            qr_in_place_scratch::<f64>(n, equalities, block, Par::Seq, Default::default())
                .or(apply_scratch::<f64>(n, block, k))
                .or(transpose_scratch::<f64>(n, block, 1));
        Some(Self {
            data: Data::with_capacity(k, 0, dense + bounds, 0),
            qr: Mat::zeros(n, equalities),
            coefficients: Mat::zeros(block, equalities),
            z: Mat::zeros(n, k),
            pz: Mat::zeros(n, k),
            x0: vec![0.0; n],
            work: vec![0.0; n],
            memory: MemBuffer::new(scratch),
        })
    }

    /// Reduces the program. `None` if its equalities are not independent.
    pub(super) fn load(&mut self, whole: &Data) -> Option<()> {
        let (n, k) = (whole.n(), self.data.n());
        let equalities = whole.equalities.len();
        if equalities != n - k {
            return None;
        }
        self.qr.copy_from(whole.e());
        qr_in_place(
            self.qr.as_mut(),
            self.coefficients.as_mut(),
            Par::Seq,
            MemStack::new(&mut self.memory),
            Default::default(),
        );
        let diagonal = || (0..equalities).map(|i| self.qr[(i, i)].abs());
        let largest = diagonal().fold(0.0, f64::max);
        // A NaN is not above.
        if !diagonal().all(|d| d > DEPENDENT * largest) {
            return None;
        }
        self.z.as_mut().fill(0.0);
        for j in 0..k {
            self.z[(equalities + j, j)] = 1.0;
        }
        apply(
            self.qr.as_ref(),
            self.coefficients.as_ref(),
            Conj::No,
            self.z.as_mut(),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
        self.x0.fill(0.0);
        self.x0[..equalities].copy_from_slice(&whole.equalities.rhs);
        solve_lower_triangular_in_place(
            self.qr.get(..equalities, ..).transpose(),
            ColMut::from_slice_mut(&mut self.x0[..equalities]).as_mat_mut(),
            Par::Seq,
        );
        apply(
            self.qr.as_ref(),
            self.coefficients.as_ref(),
            Conj::No,
            ColMut::from_slice_mut(&mut self.x0).as_mat_mut(),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
        self.project(whole);
        Some(())
    }

    fn project(&mut self, whole: &Data) {
        let (data, z) = (&mut self.data, self.z.as_ref());
        let (zt, replace) = (z.transpose(), Accum::Replace);
        matmul(&mut self.pz, replace, &whole.p, z, 1.0, Par::Seq);
        matmul(&mut data.p, replace, zt, &self.pz, 1.0, Par::Seq);
        whole.p_times(&self.x0, &mut self.work);
        for (w, q) in self.work.iter_mut().zip(&whole.q) {
            *w += q;
        }
        multiply_transpose(z, &self.work, &mut data.q);

        let dense = whole.dense();
        let g = data.g.as_mut().subcols_mut(0, dense);
        matmul(g, replace, zt, whole.g(), 1.0, Par::Seq);
        for (c, &(j, a)) in whole.bounds.iter().enumerate() {
            for (out, z) in data.g.col_mut(dense + c).iter_mut().zip(z.row(j).iter()) {
                *out = a * z;
            }
        }
        data.inequalities.copy_from(&whole.inequalities);
        whole.g_times(&self.x0, &mut data.inequalities.rhs);
        let rhs = data.inequalities.rhs.iter_mut();
        for (out, h) in rhs.zip(&whole.inequalities.rhs) {
            *out = h - *out;
        }
    }

    /// x from w, and y from x and z.
    pub(super) fn expand(
        &mut self,
        whole: &Data,
        w: &[f64],
        z: &[f64],
        x: &mut [f64],
        y: &mut [f64],
    ) {
        x.copy_from_slice(&self.x0);
        multiply(self.z.as_ref(), w, Accum::Add, x);
        whole.p_times(x, &mut self.work);
        whole.g_transpose_add(z, &mut self.work);
        for (r, q) in self.work.iter_mut().zip(&whole.q) {
            *r = -(*r + q);
        }
        apply_transpose(
            self.qr.as_ref(),
            self.coefficients.as_ref(),
            Conj::No,
            ColMut::from_slice_mut(&mut self.work).as_mat_mut(),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
        y.copy_from_slice(&self.work[..y.len()]);
        solve_upper_triangular_in_place(
            self.qr.get(..y.len(), ..),
            ColMut::from_slice_mut(y).as_mat_mut(),
            Par::Seq,
        );
    }
}
