//! The BLAS and LAPACK routines of `conediff` against their definitions.

use std::f64::consts::{PI, SQRT_2};
use std::ffi::{c_char, c_int};
use std::ptr::{null, null_mut};

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT, SupportedConeT::*,
};
// Nothing else here would link the crate that defines the symbols.
use conediff as _;

#[rustfmt::skip]
unsafe extern "C" {
    fn dgemm_(
        transa: *const c_char, transb: *const c_char, m: *const c_int, n: *const c_int,
        k: *const c_int, alpha: *const f64, a: *const f64, lda: *const c_int, b: *const f64,
        ldb: *const c_int, beta: *const f64, c: *mut f64, ldc: *const c_int,
    );
    fn dsyrk_(
        uplo: *const c_char, trans: *const c_char, n: *const c_int, k: *const c_int,
        alpha: *const f64, a: *const f64, lda: *const c_int, beta: *const f64, c: *mut f64,
        ldc: *const c_int,
    );
    fn dsyr2k_(
        uplo: *const c_char, trans: *const c_char, n: *const c_int, k: *const c_int,
        alpha: *const f64, a: *const f64, lda: *const c_int, b: *const f64, ldb: *const c_int,
        beta: *const f64, c: *mut f64, ldc: *const c_int,
    );
    fn dpotrf_(
        uplo: *const c_char, n: *const c_int, a: *mut f64, lda: *const c_int, info: *mut c_int,
    );
    fn dpotrs_(
        uplo: *const c_char, n: *const c_int, nrhs: *const c_int, a: *const f64,
        lda: *const c_int, b: *mut f64, ldb: *const c_int, info: *mut c_int,
    );
    fn dsyevr_(
        jobz: *const c_char, range: *const c_char, uplo: *const c_char, n: *const c_int,
        a: *mut f64, lda: *const c_int, vl: *const f64, vu: *const f64, il: *const c_int,
        iu: *const c_int, abstol: *const f64, m: *mut c_int, w: *mut f64, z: *mut f64,
        ldz: *const c_int, isuppz: *mut c_int, work: *mut f64, lwork: *const c_int,
        iwork: *mut c_int, liwork: *const c_int, info: *mut c_int,
    );
    fn dgesdd_(
        jobz: *const c_char, m: *const c_int, n: *const c_int, a: *mut f64, lda: *const c_int,
        s: *mut f64, u: *mut f64, ldu: *const c_int, vt: *mut f64, ldvt: *const c_int,
        work: *mut f64, lwork: *const c_int, iwork: *mut c_int, info: *mut c_int,
    );
    fn dgesvd_(
        jobu: *const c_char, jobvt: *const c_char, m: *const c_int, n: *const c_int,
        a: *mut f64, lda: *const c_int, s: *mut f64, u: *mut f64, ldu: *const c_int,
        vt: *mut f64, ldvt: *const c_int, work: *mut f64, lwork: *const c_int, info: *mut c_int,
    );
}

/// What fills everything that must not be read, and is checked where nothing may be written.
/// One fixed bit pattern of NaN.
const JUNK: f64 = f64::NAN;

/// Uniform numbers in (-1, 1): xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn number(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn matrix(&mut self, rows: usize, cols: usize, ld: usize) -> Matrix {
        Matrix::new(rows, cols, ld, |_, _| self.number())
    }
}

/// A column-major matrix with junk below its last row.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    cols: usize,
    ld: usize,
    data: Vec<f64>,
}

impl Matrix {
    fn new(
        rows: usize,
        cols: usize,
        ld: usize,
        mut entry: impl FnMut(usize, usize) -> f64,
    ) -> Self {
        let mut data = vec![JUNK; ld * cols];
        for j in 0..cols {
            for i in 0..rows {
                data[i + j * ld] = entry(i, j);
            }
        }
        Self {
            rows,
            cols,
            ld,
            data,
        }
    }

    fn junk(rows: usize, cols: usize, ld: usize) -> Self {
        Self::new(rows, cols, ld, |_, _| JUNK)
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        assert!(i < self.rows && j < self.cols);
        self.data[i + j * self.ld]
    }

    fn op(&self, transposed: bool, i: usize, j: usize) -> f64 {
        if transposed {
            self.at(j, i)
        } else {
            self.at(i, j)
        }
    }

    fn ptr(&self) -> *const f64 {
        self.data.as_ptr()
    }

    fn mut_ptr(&mut self) -> *mut f64 {
        self.data.as_mut_ptr()
    }

    fn ld(&self) -> c_int {
        self.ld as c_int
    }

    /// The symmetric matrix whose triangle `uplo` is in `self`, with junk in the other one.
    fn keep(&self, uplo: u8) -> Self {
        Self::new(self.rows, self.cols, self.ld, |i, j| {
            if within(uplo, i, j) {
                self.at(i, j)
            } else {
                JUNK
            }
        })
    }

    /// Nothing outside the triangle `uplo` (`b'A'`: the whole matrix) differs from `before`.
    fn assert_rest_untouched(&self, before: &Self, uplo: u8) {
        for (index, (new, old)) in self.data.iter().zip(&before.data).enumerate() {
            let (i, j) = (index % self.ld, index / self.ld);
            if i >= self.rows || !within(uplo, i, j) {
                assert_eq!(new.to_bits(), old.to_bits(), "({i}, {j}) was written");
            }
        }
    }

    /// Largest difference to `expected` in the triangle `uplo`; NaN if there is one.
    fn error(&self, uplo: u8, expected: impl Fn(usize, usize) -> f64) -> f64 {
        let mut worst = 0.0;
        for j in 0..self.cols {
            for i in (0..self.rows).filter(|&i| within(uplo, i, j)) {
                let error = (self.at(i, j) - expected(i, j)).abs();
                if error > worst || error.is_nan() {
                    worst = error;
                }
                if worst.is_nan() {
                    return worst;
                }
            }
        }
        worst
    }

    /// Largest difference between the Gram matrix of the columns (or rows) and the identity.
    fn orthogonality(&self, of_rows: bool) -> f64 {
        let (order, inner) = if of_rows {
            (self.rows, self.cols)
        } else {
            (self.cols, self.rows)
        };
        let gram = Self::new(order, order, order.max(1), |i, j| {
            (0..inner)
                .map(|k| self.op(!of_rows, i, k) * self.op(!of_rows, j, k))
                .sum()
        });
        gram.error(b'A', |i, j| if i == j { 1.0 } else { 0.0 })
    }
}

fn within(uplo: u8, i: usize, j: usize) -> bool {
    match uplo.to_ascii_uppercase() {
        b'U' => i <= j,
        b'L' => i >= j,
        _ => true,
    }
}

fn sym(a: &Matrix, uplo: u8, i: usize, j: usize) -> f64 {
    if within(uplo, i, j) {
        a.at(i, j)
    } else {
        a.at(j, i)
    }
}

#[track_caller]
fn assert_small(error: f64, bound: f64, worst: &mut f64) {
    assert!(error <= bound, "error {error:e} > {bound:e}");
    *worst = worst.max(error);
}

fn ch(letter: u8) -> c_char {
    letter as c_char
}

const SIZES: [usize; 9] = [1, 2, 3, 4, 5, 8, 17, 33, 70];

#[test]
fn dgemm_multiplies() {
    let mut random = Random(1);
    let mut worst = 0.0;
    let call = |ta: u8,
                tb: u8,
                m: c_int,
                n: c_int,
                k: c_int,
                alpha: f64,
                a: &Matrix,
                b: &Matrix,
                beta: f64,
                c: &mut Matrix| {
        let (lda, ldb, ldc) = (a.ld(), b.ld(), c.ld());
        // SAFETY: the callers below pass matrices of these sizes.
        unsafe {
            dgemm_(
                &ch(ta),
                &ch(tb),
                &m,
                &n,
                &k,
                &alpha,
                a.ptr(),
                &lda,
                b.ptr(),
                &ldb,
                &beta,
                c.mut_ptr(),
                &ldc,
            );
        }
    };
    let sizes = [
        (1, 1, 1),
        (2, 3, 4),
        (7, 5, 0),
        (5, 1, 9),
        (1, 6, 3),
        (16, 16, 16),
        (33, 70, 41),
    ];
    for (m, n, k) in sizes {
        for (ta, tb) in [(b'N', b'N'), (b'N', b'T'), (b't', b'n'), (b'C', b'c')] {
            for (alpha, beta) in [(1.0, 0.0), (-0.7, 1.0), (2.0, 0.3), (0.0, 0.5), (0.0, 0.0)] {
                for pad in [0, 3] {
                    let (xa, xb) = (
                        !ta.eq_ignore_ascii_case(&b'N'),
                        !tb.eq_ignore_ascii_case(&b'N'),
                    );
                    let shape = |x: bool, r: usize, c: usize| if x { (c, r) } else { (r, c) };
                    let (ra, ca) = shape(xa, m, k);
                    let (rb, cb) = shape(xb, k, n);
                    let mut a = random.matrix(ra, ca, ra.max(1) + pad);
                    let b = random.matrix(rb, cb, rb.max(1) + pad);
                    if alpha == 0.0 {
                        a.data.fill(JUNK);
                    }
                    let old = if beta == 0.0 {
                        Matrix::junk(m, n, m + pad)
                    } else {
                        random.matrix(m, n, m + pad)
                    };
                    let mut c = old.clone();
                    call(
                        ta, tb, m as c_int, n as c_int, k as c_int, alpha, &a, &b, beta, &mut c,
                    );
                    let error = c.error(b'A', |i, j| {
                        let old = if beta == 0.0 {
                            0.0
                        } else {
                            beta * old.at(i, j)
                        };
                        let dot: f64 = (0..k).map(|l| a.op(xa, i, l) * b.op(xb, l, j)).sum();
                        if alpha == 0.0 { old } else { alpha * dot + old }
                    });
                    assert_small(error, 1e-13, &mut worst);
                    c.assert_rest_untouched(&old, b'A');
                }
            }
        }
    }
    println!("dgemm: {worst:e}");

    // Illegal arguments leave `C` alone; empty matrices, too.
    let (a, b) = (random.matrix(4, 4, 4), random.matrix(4, 4, 4));
    let old = random.matrix(4, 4, 4);
    let mut c = old.clone();
    call(b'X', b'N', 4, 4, 4, 1.0, &a, &b, 0.0, &mut c);
    call(b'N', b'N', -1, 4, 4, 1.0, &a, &b, 0.0, &mut c);
    call(b'N', b'N', 5, 4, 4, 1.0, &a, &b, 0.0, &mut c);
    call(b'N', b'N', 0, 4, 4, 1.0, &a, &b, 0.0, &mut c);
    call(b'N', b'N', 4, 0, 4, 1.0, &a, &b, 0.0, &mut c);
    assert_eq!(c.data, old.data);
    // NaN propagates.
    call(b'N', b'N', 4, 4, 4, f64::NAN, &a, &b, 0.0, &mut c);
    assert!(c.data.iter().all(|x| x.is_nan()));
}

#[test]
fn dsyrk_and_dsyr2k_update_one_triangle() {
    let mut random = Random(2);
    let mut worst = 0.0;
    for n in SIZES {
        for k in [0, 1, 4, 37] {
            for (uplo, trans) in [(b'U', b'N'), (b'u', b'T'), (b'L', b'n'), (b'l', b'C')] {
                for (alpha, beta) in [(1.0, 0.0), (-0.7, 1.0), (2.0, 0.3), (0.0, 0.5)] {
                    for (pad, two) in [(0, true), (3, true), (0, false), (3, false)] {
                        let x = !trans.eq_ignore_ascii_case(&b'N');
                        let (r, c) = if x { (k, n) } else { (n, k) };
                        let a = random.matrix(r, c, r.max(1) + pad);
                        let b = random.matrix(r, c, r.max(1) + pad);
                        let old = if beta == 0.0 {
                            Matrix::junk(n, n, n + pad)
                        } else {
                            random.matrix(n, n, n + pad).keep(uplo)
                        };
                        let mut c = old.clone();
                        let (ni, ki, ld, ldc) = (n as c_int, k as c_int, a.ld(), c.ld());
                        let (u, t) = (ch(uplo), ch(trans));
                        // SAFETY: the matrices have these sizes.
                        unsafe {
                            if two {
                                dsyr2k_(
                                    &u,
                                    &t,
                                    &ni,
                                    &ki,
                                    &alpha,
                                    a.ptr(),
                                    &ld,
                                    b.ptr(),
                                    &ld,
                                    &beta,
                                    c.mut_ptr(),
                                    &ldc,
                                );
                            } else {
                                dsyrk_(
                                    &u,
                                    &t,
                                    &ni,
                                    &ki,
                                    &alpha,
                                    a.ptr(),
                                    &ld,
                                    &beta,
                                    c.mut_ptr(),
                                    &ldc,
                                );
                            }
                        }
                        let dot = |a: &Matrix, i, b: &Matrix, j| -> f64 {
                            (0..k).map(|l| a.op(x, i, l) * b.op(x, j, l)).sum()
                        };
                        let error = c.error(uplo, |i, j| {
                            let old = if beta == 0.0 {
                                0.0
                            } else {
                                beta * old.at(i, j)
                            };
                            let product = if two {
                                dot(&a, i, &b, j) + dot(&b, i, &a, j)
                            } else {
                                dot(&a, i, &a, j)
                            };
                            alpha * product + old
                        });
                        assert_small(error, 1e-13, &mut worst);
                        c.assert_rest_untouched(&old, uplo);
                    }
                }
            }
        }
    }
    println!("dsyrk, dsyr2k: {worst:e}");
}

fn potrf(uplo: u8, a: &mut Matrix) -> c_int {
    let (n, lda, mut info) = (a.cols as c_int, a.ld(), 77);
    // SAFETY: `a` has this size.
    unsafe { dpotrf_(&ch(uplo), &n, a.mut_ptr(), &lda, &mut info) };
    info
}

#[test]
fn dpotrf_factors_and_dpotrs_solves() {
    let mut random = Random(3);
    let (mut factor, mut solution) = (0.0, 0.0);
    for n in SIZES.into_iter().chain([130, 200]) {
        for (uplo, pad) in [(b'U', 0), (b'L', 0), (b'u', 3), (b'l', 3)] {
            let g = random.matrix(n, n, n);
            let full = Matrix::new(n, n, n + pad, |i, j| {
                let dot: f64 = (0..n).map(|k| g.at(i, k) * g.at(j, k)).sum();
                dot / n as f64 + if i == j { 1.0 } else { 0.0 }
            });
            let old = full.keep(uplo);
            let mut l = old.clone();
            assert_eq!(potrf(uplo, &mut l), 0);
            l.assert_rest_untouched(&old, uplo);
            let lower = uplo.eq_ignore_ascii_case(&b'L');
            let error = full.error(b'A', |i, j| {
                (0..=i.min(j))
                    .map(|k| l.op(!lower, i, k) * l.op(!lower, j, k))
                    .sum()
            });
            assert_small(error, 1e-14, &mut factor);

            let x = random.matrix(n, 3, n);
            let old = Matrix::new(n, 3, n + pad, |i, j| {
                (0..n).map(|k| full.at(i, k) * x.at(k, j)).sum()
            });
            let mut b = old.clone();
            let (ni, nrhs, ld, mut info) = (n as c_int, 3, l.ld(), 77);
            // SAFETY: the matrices have these sizes.
            unsafe {
                dpotrs_(
                    &ch(uplo),
                    &ni,
                    &nrhs,
                    l.ptr(),
                    &ld,
                    b.mut_ptr(),
                    &ld,
                    &mut info,
                );
            }
            assert_eq!(info, 0);
            assert_small(b.error(b'A', |i, j| x.at(i, j)), 1e-12, &mut solution);
            b.assert_rest_untouched(&old, b'A');

            // The leading minor of order `bad` is the first that is not positive.
            for bad in [1, n / 3 + 1, n] {
                for value in [-1.0, 0.0, f64::NAN] {
                    let mut a = old_with(&full.keep(uplo), bad - 1, value);
                    assert_eq!(potrf(uplo, &mut a), bad as c_int, "n = {n}, value {value}");
                }
            }
        }
    }
    println!("dpotrf: {factor:e}, dpotrs: {solution:e}");

    let mut a = Matrix::junk(0, 0, 1);
    assert_eq!(potrf(b'U', &mut a), 0);
    let mut a = random.matrix(4, 4, 4);
    assert_eq!(potrf(b'X', &mut a), -1);
    a.ld = 3;
    assert_eq!(potrf(b'L', &mut a), -4);
}

fn old_with(a: &Matrix, index: usize, value: f64) -> Matrix {
    let mut a = a.clone();
    a.data[index + index * a.ld] = value;
    a
}

/// The arguments of `dsyevr_` that select eigenvalues.
#[derive(Clone, Copy)]
enum Range {
    All,
    Values(f64, f64),
    Indices(c_int, c_int),
}

/// `info`, the eigenvalues and the eigenvectors, after a workspace query.
fn syevr(
    jobz: u8,
    range: Range,
    uplo: u8,
    a: &mut Matrix,
    pad: usize,
) -> (c_int, Vec<f64>, Matrix) {
    let n = a.cols;
    let (letter, (vl, vu), (il, iu)) = match range {
        Range::All => (b'A', (JUNK, JUNK), (-9, -9)),
        Range::Values(vl, vu) => (b'V', (vl, vu), (-9, -9)),
        Range::Indices(il, iu) => (b'I', (JUNK, JUNK), (il, iu)),
    };
    let (ni, lda, abstol) = (n as c_int, a.ld(), -1.0);
    let mut z = Matrix::junk(n, n, n.max(1) + pad);
    let before = z.clone();
    let ldz = z.ld();
    let z_ptr = if jobz.eq_ignore_ascii_case(&b'V') {
        z.mut_ptr()
    } else {
        null_mut()
    };
    let mut w = vec![JUNK; n];
    let mut isuppz = vec![0; 2 * n.max(1)];
    let (mut m, mut info) = (77, 77);
    let (mut work, mut iwork) = (vec![JUNK], vec![0]);
    let (mut lwork, mut liwork) = (-1, -1);
    let old = a.clone();
    for _ in 0..2 {
        // SAFETY: the arrays have the documented sizes.
        unsafe {
            dsyevr_(
                &ch(jobz),
                &ch(letter),
                &ch(uplo),
                &ni,
                a.mut_ptr(),
                &lda,
                &vl,
                &vu,
                &il,
                &iu,
                &abstol,
                &mut m,
                w.as_mut_ptr(),
                z_ptr,
                &ldz,
                isuppz.as_mut_ptr(),
                work.as_mut_ptr(),
                &lwork,
                iwork.as_mut_ptr(),
                &liwork,
                &mut info,
            );
        }
        if info != 0 {
            return (info, vec![], z);
        }
        if lwork == -1 {
            assert!(w.iter().all(|x| x.is_nan()) && m == 77);
            (lwork, liwork) = (work[0] as c_int, iwork[0]);
            assert!(lwork >= 1 && liwork >= 1);
            work.resize(lwork as usize, JUNK);
            iwork.resize(liwork as usize, 0);
        }
    }
    a.assert_rest_untouched(&old, uplo);
    w.truncate(m as usize);
    if jobz.eq_ignore_ascii_case(&b'V') {
        let (inside, outside) = z.data.split_at(m as usize * z.ld);
        assert!(outside.iter().all(|x| x.is_nan()));
        z = Matrix {
            cols: m as usize,
            data: inside.to_vec(),
            ..z
        };
        z.assert_rest_untouched(&z.clone(), b'A');
        if m == ni {
            assert!(isuppz[..2 * n].chunks(2).all(|pair| pair == [1, ni]));
        }
    } else {
        z.assert_rest_untouched(&before, b'-');
    }
    (info, w, z)
}

/// Largest entry of `A Z - Z diag(w)` relative to the largest one of `A`.
fn residual(a: &Matrix, uplo: u8, w: &[f64], z: &Matrix) -> f64 {
    let n = a.rows;
    let norm = (0..n * n).fold(0.0_f64, |x, p| x.max(sym(a, uplo, p / n, p % n).abs()));
    let norm = if norm == 0.0 { 1.0 } else { norm };
    let az = Matrix::new(n, w.len(), n, |i, j| {
        (0..n).map(|k| sym(a, uplo, i, k) / norm * z.at(k, j)).sum()
    });
    az.error(b'A', |i, j| z.at(i, j) * (w[j] / norm))
}

#[test]
fn dsyevr_decomposes() {
    let mut random = Random(4);
    let (mut equation, mut orthogonal, mut values) = (0.0, 0.0, 0.0);
    for n in SIZES.into_iter().chain([128, 150]) {
        let g = random.matrix(n, 2, n);
        for (kind, uplo, pad) in (0..7).flat_map(|kind| [(kind, b'U', 0), (kind, b'l', 3)]) {
            // Random; rank two; identity; zero; near overflow; near underflow; large.
            let a = Matrix::new(n, n, n + pad, |i, j| match kind {
                0 => random.number(),
                1 => g.at(i, 0) * g.at(j, 0) - g.at(i, 1) * g.at(j, 1),
                2 => f64::from(i == j),
                3 => 0.0,
                4 => 1e307 * random.number(),
                5 => 1e-305 * random.number(),
                _ => 1e6 * random.number(),
            })
            .keep(uplo);
            let scale = [1.0, 1.0, 1.0, 1.0, 1e307, 1e-305, 1e6][kind];
            let (info, w, z) = syevr(b'V', Range::All, uplo, &mut a.clone(), pad);
            assert_eq!(info, 0);
            assert_eq!(w.len(), n);
            assert!(w.windows(2).all(|w| w[0] <= w[1]));
            assert_small(residual(&a, uplo, &w, &z), 1e-12, &mut equation);
            assert_small(z.orthogonality(false), 1e-12, &mut orthogonal);
            let (info, only, _) = syevr(b'n', Range::All, uplo, &mut a.clone(), pad);
            assert_eq!((info, only.len()), (0, n));
            for (a, b) in only.iter().zip(&w) {
                assert_small((a / scale - b / scale).abs(), 1e-12, &mut values);
            }

            if kind == 0 {
                let (il, iu) = (n / 3 + 1, (2 * n) / 3 + 1);
                let range = Range::Indices(il as c_int, iu as c_int);
                for jobz in [b'V', b'N'] {
                    let (info, part, z) = syevr(jobz, range, uplo, &mut a.clone(), pad);
                    assert_eq!(info, 0);
                    assert_eq!(part.len(), iu - il + 1);
                    assert!(
                        part.iter()
                            .zip(&w[il - 1..])
                            .all(|(a, b)| (a - b).abs() < 1e-12)
                    );
                    if jobz == b'V' {
                        assert_small(residual(&a, uplo, &part, &z), 1e-12, &mut equation);
                    }
                }
                // The interval is open on the left.
                let (vl, vu) = (w[0], w[n - 1] + 1e-9);
                let (info, part, z) = syevr(b'V', Range::Values(vl, vu), uplo, &mut a.clone(), pad);
                assert_eq!((info, part.len()), (0, n - 1));
                assert_small(residual(&a, uplo, &part, &z), 1e-12, &mut equation);
                let range = Range::Values(vu + 1.0, vu + 2.0);
                assert_eq!(syevr(b'V', range, uplo, &mut a.clone(), pad).1.len(), 0);
            }
        }
    }
    println!("dsyevr: A Z - Z W {equation:e}, Z'Z - I {orthogonal:e}, N against V {values:e}");
}

#[test]
fn dsyevr_reports() {
    let mut a = Random(5).matrix(4, 4, 4);
    let all = Range::All;
    assert_eq!(syevr(b'X', all, b'U', &mut a, 0).0, -1);
    assert_eq!(syevr(b'N', all, b'X', &mut a, 0).0, -3);
    assert_eq!(syevr(b'N', Range::Values(1.0, 1.0), b'U', &mut a, 0).0, -8);
    assert_eq!(syevr(b'N', Range::Indices(0, 2), b'U', &mut a, 0).0, -9);
    assert_eq!(syevr(b'N', Range::Indices(5, 5), b'U', &mut a, 0).0, -9);
    assert_eq!(syevr(b'N', Range::Indices(3, 2), b'U', &mut a, 0).0, -10);
    assert_eq!(syevr(b'N', Range::Indices(3, 5), b'U', &mut a, 0).0, -10);
    assert_eq!(syevr(b'N', Range::Indices(0, -1), b'U', &mut a, 0).0, -9);
    for bad in [f64::NAN, f64::INFINITY] {
        for jobz in [b'N', b'V'] {
            let mut a = Matrix::new(150, 150, 150, |i, j| if i + j == 100 { bad } else { 1.0 });
            assert!(syevr(jobz, all, b'U', &mut a, 0).0 > 0);
        }
    }
    let (info, w, _) = syevr(b'V', all, b'U', &mut Matrix::junk(0, 0, 1), 0);
    assert_eq!((info, w.len()), (0, 0));
    a.ld = 3;
    assert_eq!(syevr(b'N', all, b'U', &mut a, 0).0, -6);
}

/// `info`, `s`, `U` and `V'` of `dgesdd_` (`None` for its second job) or `dgesvd_`.
fn svd(
    jobs: (u8, Option<u8>),
    a: &mut Matrix,
    pad: usize,
) -> (c_int, Vec<f64>, Option<Matrix>, Option<Matrix>) {
    let (m, n, k) = (a.rows, a.cols, a.rows.min(a.cols));
    let (jobu, jobvt) = match jobs {
        (u, Some(vt)) => (u, vt),
        (b'O', None) if m >= n => (b'O', b'A'),
        (b'O', None) => (b'A', b'O'),
        (job, None) => (job, job),
    };
    let count = |job, order| match job {
        b'A' => order,
        b'S' => k,
        _ => 0,
    };
    let mut u = Matrix::junk(m, count(jobu, m), m + pad);
    let mut vt = Matrix::junk(count(jobvt, n), n, n + pad);
    let (u_before, vt_before) = (u.clone(), vt.clone());
    let mut s = vec![JUNK; k];
    let mut work = vec![JUNK];
    let mut iwork = vec![0; 8 * k.max(1)];
    let (mi, ni, lda, ldu, ldvt) = (m as c_int, n as c_int, a.ld(), u.ld(), vt.ld());
    let u_ptr = if u.cols > 0 { u.mut_ptr() } else { null_mut() };
    let vt_ptr = if vt.rows > 0 {
        vt.mut_ptr()
    } else {
        null_mut()
    };
    let (mut lwork, mut info) = (-1, 77);
    let old = a.clone();
    for _ in 0..2 {
        // SAFETY: the arrays have the documented sizes.
        unsafe {
            match jobs {
                (jobu, Some(jobvt)) => dgesvd_(
                    &ch(jobu),
                    &ch(jobvt),
                    &mi,
                    &ni,
                    a.mut_ptr(),
                    &lda,
                    s.as_mut_ptr(),
                    u_ptr,
                    &ldu,
                    vt_ptr,
                    &ldvt,
                    work.as_mut_ptr(),
                    &lwork,
                    &mut info,
                ),
                (jobz, None) => dgesdd_(
                    &ch(jobz),
                    &mi,
                    &ni,
                    a.mut_ptr(),
                    &lda,
                    s.as_mut_ptr(),
                    u_ptr,
                    &ldu,
                    vt_ptr,
                    &ldvt,
                    work.as_mut_ptr(),
                    &lwork,
                    iwork.as_mut_ptr(),
                    &mut info,
                ),
            }
        }
        if info != 0 {
            return (info, vec![], None, None);
        }
        if lwork == -1 {
            assert!(s.iter().all(|x| x.is_nan()));
            lwork = work[0] as c_int;
            assert!(lwork >= 1);
            work.resize(lwork as usize, JUNK);
        }
    }
    a.assert_rest_untouched(&old, b'A');
    u.assert_rest_untouched(&u_before, b'A');
    vt.assert_rest_untouched(&vt_before, b'A');
    let overwritten = |rows, cols| {
        Some(Matrix {
            rows,
            cols,
            ..a.clone()
        })
    };
    let u = match jobu {
        b'N' => None,
        b'O' => overwritten(m, k),
        _ => Some(u),
    };
    let vt = match jobvt {
        b'N' => None,
        b'O' => overwritten(k, n),
        _ => Some(vt),
    };
    (info, s, u, vt)
}

#[test]
fn dgesdd_and_dgesvd_decompose() {
    let mut random = Random(6);
    let (mut product, mut orthogonal, mut values) = (0.0, 0.0, 0.0);
    let small = [
        (1, 1),
        (1, 5),
        (5, 1),
        (2, 2),
        (3, 2),
        (2, 3),
        (9, 4),
        (4, 9),
        (30, 29),
        (20, 60),
    ];
    // Divide and conquer, without and with a QR decomposition first.
    let large = [(130, 130), (150, 129), (129, 150), (240, 130), (130, 240)];
    for (m, n) in small.into_iter().chain(large) {
        let k = m.min(n);
        let (x, y) = (random.matrix(m, 2, m), random.matrix(2, n, 2));
        let kinds = [(0, 0), (1, 3), (2, 3), (3, 0), (4, 0), (5, 3)];
        for (kind, pad) in kinds.into_iter().take(if k < 100 { 6 } else { 2 }) {
            // Random; rank two; identity; zero; near overflow; near underflow.
            let scale = [1.0, 1.0, 1.0, 1.0, 1e306, 1e-305][kind];
            let a = Matrix::new(m, n, m + pad, |i, j| match kind {
                0 | 4 | 5 => scale * random.number(),
                1 => x.at(i, 0) * y.at(0, j) + x.at(i, 1) * y.at(1, j),
                2 => f64::from(i == j),
                _ => 0.0,
            });
            let (_, reference, _, _) = svd((b'N', None), &mut a.clone(), pad);
            let letters = [b'A', b'S', b'O', b'N'];
            let pairs = letters.map(|u| letters.map(|vt| (u, Some(vt))));
            let jobs = letters
                .map(|job| (job, None))
                .into_iter()
                .chain(pairs.into_iter().flatten());
            // All combinations where it is cheap.
            let jobs = jobs.filter(|(u, vt)| k < 100 || vt.is_none() != (*u == b'N'));
            for job in jobs {
                let (info, s, u, vt) = svd(job, &mut a.clone(), pad);
                if job == (b'O', Some(b'O')) {
                    assert_eq!(info, -2);
                    continue;
                }
                assert_eq!(info, 0, "{m} x {n}, kind {kind}, jobs {job:?}");
                assert!(s.windows(2).all(|s| s[0] >= s[1]) && s[k - 1] >= 0.0);
                for (a, b) in s.iter().zip(&reference) {
                    assert_small((a / scale - b / scale).abs(), 1e-12, &mut values);
                }
                if let Some(u) = &u {
                    assert_small(u.orthogonality(false), 1e-12, &mut orthogonal);
                }
                if let Some(vt) = &vt {
                    assert_small(vt.orthogonality(true), 1e-12, &mut orthogonal);
                }
                if let (Some(u), Some(vt)) = (u, vt) {
                    let usv = Matrix::new(m, n, m, |i, j| {
                        (0..k)
                            .map(|l| u.at(i, l) * (s[l] / scale) * vt.at(l, j))
                            .sum()
                    });
                    assert_small(
                        usv.error(b'A', |i, j| a.at(i, j) / scale),
                        1e-12,
                        &mut product,
                    );
                }
            }
        }
    }
    println!("SVD: U S V' - A {product:e}, U'U - I {orthogonal:e}, s {values:e}");
}

#[test]
fn dgesdd_and_dgesvd_report() {
    let mut a = Random(7).matrix(4, 3, 4);
    assert_eq!(svd((b'X', None), &mut a, 0).0, -1);
    assert_eq!(svd((b'A', Some(b'X')), &mut a, 0).0, -2);
    for bad in [f64::NAN, f64::NEG_INFINITY] {
        for jobs in [
            (b'S', None),
            (b'N', None),
            (b'S', Some(b'S')),
            (b'N', Some(b'N')),
        ] {
            let mut a = Matrix::new(150, 140, 150, |i, j| if i + j == 90 { bad } else { 1.0 });
            assert!(svd(jobs, &mut a, 0).0 > 0);
        }
    }
    for (m, n) in [(0, 0), (0, 3), (3, 0)] {
        let mut a = Matrix::junk(m, n, m.max(1));
        a.ld = m.max(1);
        assert_eq!(svd((b'S', None), &mut a, 1).0, 0);
        assert_eq!(svd((b'A', Some(b'N')), &mut a, 1).0, 0);
    }
    a.ld = 3;
    assert_eq!(svd((b'N', None), &mut a, 0).0, -5);
    assert_eq!(svd((b'N', Some(b'N')), &mut a, 0).0, -6);

    let (n, one, zero, mut s, mut work, mut info) = (4, 1, 0, [0.0; 4], [0.0; 1], 0);
    let mut a = Random(8).matrix(4, 4, 4);
    // SAFETY: the arrays have the documented sizes; all of these calls are rejected.
    unsafe {
        let (a, s, w) = (a.mut_ptr(), s.as_mut_ptr(), work.as_mut_ptr());
        let (job, none) = (&ch(b'A'), null_mut());
        dgesdd_(
            job,
            &n,
            &n,
            a,
            &n,
            s,
            none,
            &one,
            none,
            &n,
            w,
            &one,
            null_mut(),
            &mut info,
        );
        assert_eq!(info, -8);
        dgesdd_(
            job,
            &n,
            &n,
            a,
            &n,
            s,
            none,
            &n,
            none,
            &one,
            w,
            &one,
            null_mut(),
            &mut info,
        );
        assert_eq!(info, -10);
        dgesdd_(
            job,
            &n,
            &n,
            a,
            &n,
            s,
            none,
            &n,
            none,
            &n,
            w,
            &zero,
            null_mut(),
            &mut info,
        );
        assert_eq!(info, -12);
        dgesvd_(
            job, job, &n, &n, a, &n, s, none, &one, none, &n, w, &one, &mut info,
        );
        assert_eq!(info, -9);
        dgesvd_(
            job, job, &n, &n, a, &n, s, none, &n, none, &one, w, &one, &mut info,
        );
        assert_eq!(info, -11);
        dgesvd_(
            job, job, &n, &n, a, &n, s, none, &n, none, &n, w, &zero, &mut info,
        );
        assert_eq!(info, -13);
        // Nothing is read of a product without entries.
        dgemm_(
            &ch(b'N'),
            &ch(b'N'),
            &zero,
            &n,
            &n,
            &1.0,
            null(),
            &n,
            null(),
            &n,
            &1.0,
            none,
            &n,
        );
    }
}

/// `svec` of a symmetric matrix: its upper triangle by columns, off-diagonals times sqrt(2).
fn svec(n: usize, entry: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..n)
        .flat_map(|j| (0..=j).map(move |i| (i, j)))
        .map(|(i, j)| {
            if i == j {
                entry(i, j)
            } else {
                SQRT_2 * entry(i, j)
            }
        })
        .collect()
}

/// Optimum of `min q'x` subject to `A x + s = b`, `s` in the cones, with `A` given by rows.
fn solve(q: &[f64], rows: &[Vec<f64>], b: &[f64], cones: &[SupportedConeT<f64>]) -> f64 {
    let (a, p) = (CscMatrix::from(rows), CscMatrix::zeros((q.len(), q.len())));
    let settings = DefaultSettings {
        verbose: false,
        ..DefaultSettings::default()
    };
    let mut solver = DefaultSolver::new(&p, q, &a, b, cones, settings).unwrap();
    solver.solve();
    assert_eq!(solver.solution.status, SolverStatus::Solved);
    solver.solution.obj_val
}

#[test]
fn clarabel_solves_semidefinite_programs() {
    // From 4 on: Clarabel has formulas of its own for smaller matrices.
    for n in [4, 8, 30] {
        // The largest t with C - t I in the cone is the least eigenvalue of C.
        let c = |i: usize, j: usize| [2.0, -1.0, 0.0][i.abs_diff(j).min(2)];
        let least = 2.0 - 2.0 * (PI / (n as f64 + 1.0)).cos();
        let column: Vec<_> = svec(n, |i, j| f64::from(i == j))
            .iter()
            .map(|&x| vec![x])
            .collect();
        let value = solve(&[-1.0], &column, &svec(n, c), &[PSDTriangleConeT(n)]);
        println!("least eigenvalue, n = {n}: {:e}", -value - least);
        assert!((-value - least).abs() < 1e-7);
    }
    for n in [5, 7, 11] {
        // Lovasz number of an odd cycle: the largest sum of X with trace 1 and zeros on the edges.
        let theta = n as f64 * (PI / n as f64).cos() / (1.0 + (PI / n as f64).cos());
        let q = svec(n, |_, _| -1.0);
        let mut rows = vec![svec(n, |i, j| f64::from(i == j))];
        for edge in 0..n {
            let (i, j) = (edge.min((edge + 1) % n), edge.max((edge + 1) % n));
            rows.push(svec(n, |k, l| f64::from((k, l) == (i, j))));
        }
        let mut b = vec![1.0];
        b.resize(n + 1 + q.len(), 0.0);
        for entry in 0..q.len() {
            rows.push(
                (0..q.len())
                    .map(|k| if k == entry { -1.0 } else { 0.0 })
                    .collect(),
            );
        }
        let value = solve(&q, &rows, &b, &[ZeroConeT(n + 1), PSDTriangleConeT(n)]);
        println!("Lovasz number, n = {n}: {:e}", -value - theta);
        assert!((-value - theta).abs() < 1e-7);
    }
}
