//! The eight BLAS and LAPACK routines that Clarabel needs for semidefinite cones, on faer.
//!
//! Clarabel calls `dgemm_`, `dsyrk_`, `dsyr2k_`, `dpotrf_`, `dpotrs_`, `dsyevr_`, `dgesdd_` and
//! `dgesvd_` through `blas-sys` and `lapack-sys`, and leaves it to the final program to link a
//! library that defines them. Defining them here makes semidefinite cones work without a system
//! BLAS, a Fortran or a C compiler. Another BLAS or LAPACK in the same program would define the
//! symbols twice.
//!
//! The compiled Clarabel 0.11.1 also refers to `dgemv_`, `dsymv_`, `dgesv_` and the single
//! precision twins of all eleven, but only from functions that a solver in `f64` does not reach.
//! The linker discards those (`--gc-sections`, which rustc sets in every profile), so they are not
//! defined here. Tested with GNU ld and lld, in debug and release builds; a link that keeps dead
//! code asks for all of them.
//!
//! # Contract
//!
//! That of the reference implementation (E. Anderson et al., *LAPACK Users' Guide*, 3rd edition,
//! SIAM 1999): column-major arrays with leading dimensions, flags in either case, only the named
//! triangle read and written, `C` not read for `beta = 0`, `info = -i` if argument `i` is illegal.
//! An illegal argument of a BLAS routine, which has no `info`, is reported on standard error and
//! leaves `C` as it was. The differences:
//!
//! - No workspace is used: a query answers 1, and any `lwork >= 1` and `liwork >= 1` will do.
//! - `dsyevr_`, `dgesdd_` and `dgesvd_` return `info = 1` if an entry of `A` is not finite.
//! - `dpotrf_` leaves `A` as it was if a leading minor is not positive definite.
//!
//! # Safety
//!
//! The same for all routines, as in Fortran: arrays have the extents that the sizes and leading
//! dimensions say, and an array that is written overlaps no other argument. Scalars are Rust
//! references, which have the ABI of the pointers in `blas-sys` and `lapack-sys`: never null.
//! Arrays that a job does not use are not touched and may be null.
#![allow(unsafe_code, reason = "foreign symbols take raw pointers")]
#![allow(clippy::missing_safety_doc, reason = "one contract, stated above")]

use std::ffi::{c_char, c_int};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// `Err(info)`: `-i` if argument `i` is illegal, positive if the computation failed.
type Status = Result<(), c_int>;

/// The `info` of a panic, which must not unwind into the caller.
const PANICKED: c_int = c_int::MAX;

/// Runs a routine and gives its `info`.
fn run(routine: impl FnOnce() -> Status) -> c_int {
    match catch_unwind(AssertUnwindSafe(routine)) {
        Ok(Ok(())) => 0,
        Ok(Err(info)) => info,
        Err(_) => PANICKED,
    }
}

/// Runs a BLAS routine. It has no `info`: illegal arguments are printed, as `XERBLA` does.
fn run_blas(name: &str, routine: impl FnOnce() -> Status) {
    match run(routine) {
        0 => {}
        // The caller would go on with a half-written `C`.
        PANICKED => std::process::abort(),
        info => {
            let text = format!("{name}: argument {} had an illegal value", -info);
            // Unlike `eprintln!`, this cannot panic.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// A flag in upper case, if it is one of `accepted`.
fn flag(value: &c_char, accepted: &[u8], number: c_int) -> Result<u8, c_int> {
    let letter = (*value as u8).to_ascii_uppercase();
    accepted.contains(&letter).then_some(letter).ok_or(-number)
}

/// The triangle that `uplo` names.
fn triangle(uplo: &c_char, number: c_int) -> Result<BlockStructure, c_int> {
    Ok(match flag(uplo, b"LU", number)? {
        b'L' => BlockStructure::TriangularLower,
        _ => BlockStructure::TriangularUpper,
    })
}

/// A number of rows or columns.
fn size(value: &c_int, number: c_int) -> Result<usize, c_int> {
    usize::try_from(*value).map_err(|_| -number)
}

/// A length or leading dimension that must be at least `least`, and at least 1.
fn at_least(least: usize, value: &c_int, number: c_int) -> Result<usize, c_int> {
    let value = size(value, number)?;
    (value >= least.max(1)).then_some(value).ok_or(-number)
}

/// A column-major matrix with leading dimension `ld`.
///
/// # Safety
/// `data` holds such a matrix, which nobody writes to while the view lives.
unsafe fn view<'a>(data: *const f64, rows: usize, cols: usize, ld: usize) -> MatRef<'a, f64> {
    // SAFETY: the caller's promise; the stride of a `c_int` leading dimension fits.
    unsafe { MatRef::from_raw_parts(data, rows, cols, 1, ld as isize) }
}

/// The mutable twin of [`view`].
///
/// # Safety
/// `data` holds such a matrix, which nobody else reads or writes while the view lives.
unsafe fn view_mut<'a>(data: *mut f64, rows: usize, cols: usize, ld: usize) -> MatMut<'a, f64> {
    // SAFETY: the caller's promise; the stride of a `c_int` leading dimension fits.
    unsafe { MatMut::from_raw_parts_mut(data, rows, cols, 1, ld as isize) }
}

/// The `rows` x `cols` matrix `op(A)`, where `op` is the transpose or nothing.
///
/// # Safety
/// As for [`view`], of `A`.
unsafe fn operand<'a>(
    transposed: bool,
    data: *const f64,
    rows: usize,
    cols: usize,
    ld: usize,
) -> MatRef<'a, f64> {
    if transposed {
        // SAFETY: the caller's promise.
        unsafe { view(data, cols, rows, ld) }.transpose()
    } else {
        // SAFETY: the caller's promise.
        unsafe { view(data, rows, cols, ld) }
    }
}

/// The rows of column `j` that lie in the part of an `n`-row matrix.
fn rows(part: BlockStructure, j: usize, n: usize) -> std::ops::Range<usize> {
    match part {
        BlockStructure::TriangularLower => j..n,
        BlockStructure::TriangularUpper => 0..j + 1,
        _ => 0..n,
    }
}

/// `C := beta C` on a part of `C`, without reading it for `beta = 0`.
fn scale(mut c: MatMut<'_, f64>, part: BlockStructure, beta: f64) {
    if beta == 1.0 {
        return;
    }
    for j in 0..c.ncols() {
        for i in rows(part, j, c.nrows()) {
            c[(i, j)] = if beta == 0.0 { 0.0 } else { beta * c[(i, j)] };
        }
    }
}

/// `C := alpha A B + C` on a part of `C`.
fn add_product(
    c: MatMut<'_, f64>,
    part: BlockStructure,
    alpha: f64,
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
) {
    let all = BlockStructure::Rectangular;
    matmul(c, part, Accum::Add, a, all, b, all, alpha, Par::Seq);
}

/// The power of two that brings the largest entry of a part of `A` near 1. `Err(1)` if an entry is
/// not finite: the iterations of faer assume that all are.
fn normalizer(a: MatRef<'_, f64>, part: BlockStructure) -> Result<f64, c_int> {
    let mut largest = 0.0_f64;
    for j in 0..a.ncols() {
        for i in rows(part, j, a.nrows()) {
            let entry = a[(i, j)].abs();
            if !entry.is_finite() {
                return Err(1);
            }
            largest = largest.max(entry);
        }
    }
    // The bounds keep the power normal; they give the zero matrix an exponent, too.
    let exponent = largest.log2().clamp(-1022.0, 1022.0);
    Ok(2.0_f64.powi(-exponent as i32))
}

/// `C := alpha op(A) op(B) + beta C`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgemm_(
    transa: &c_char,
    transb: &c_char,
    m: &c_int,
    n: &c_int,
    k: &c_int,
    alpha: &f64,
    a: *const f64,
    lda: &c_int,
    b: *const f64,
    ldb: &c_int,
    beta: &f64,
    c: *mut f64,
    ldc: &c_int,
) {
    run_blas("DGEMM", || {
        let transa = flag(transa, b"NTC", 1)? != b'N';
        let transb = flag(transb, b"NTC", 2)? != b'N';
        let (m, n, k) = (size(m, 3)?, size(n, 4)?, size(k, 5)?);
        let lda = at_least(if transa { k } else { m }, lda, 8)?;
        let ldb = at_least(if transb { n } else { k }, ldb, 10)?;
        let ldc = at_least(m, ldc, 13)?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let part = BlockStructure::Rectangular;
        // SAFETY: `C` is `m` x `n`, and overlaps no other argument.
        let mut c = unsafe { view_mut(c, m, n, ldc) };
        scale(c.rb_mut(), part, *beta);
        if *alpha != 0.0 && k > 0 {
            // SAFETY: `op(A)` is `m` x `k`, `op(B)` is `k` x `n`, and neither is written.
            let (a, b) = unsafe { (operand(transa, a, m, k, lda), operand(transb, b, k, n, ldb)) };
            add_product(c, part, *alpha, a, b);
        }
        Ok(())
    });
}

/// `C := alpha op(A) op(A)' + beta C` on a triangle of the symmetric `C`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dsyrk_(
    uplo: &c_char,
    trans: &c_char,
    n: &c_int,
    k: &c_int,
    alpha: &f64,
    a: *const f64,
    lda: &c_int,
    beta: &f64,
    c: *mut f64,
    ldc: &c_int,
) {
    run_blas("DSYRK", || {
        let part = triangle(uplo, 1)?;
        let trans = flag(trans, b"NTC", 2)? != b'N';
        let (n, k) = (size(n, 3)?, size(k, 4)?);
        let lda = at_least(if trans { k } else { n }, lda, 7)?;
        let ldc = at_least(n, ldc, 10)?;
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `C` is `n` x `n`, and overlaps no other argument.
        let mut c = unsafe { view_mut(c, n, n, ldc) };
        scale(c.rb_mut(), part, *beta);
        if *alpha != 0.0 && k > 0 {
            // SAFETY: `op(A)` is `n` x `k` and is not written.
            let a = unsafe { operand(trans, a, n, k, lda) };
            add_product(c, part, *alpha, a, a.transpose());
        }
        Ok(())
    });
}

/// `C := alpha (op(A) op(B)' + op(B) op(A)') + beta C` on a triangle of the symmetric `C`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dsyr2k_(
    uplo: &c_char,
    trans: &c_char,
    n: &c_int,
    k: &c_int,
    alpha: &f64,
    a: *const f64,
    lda: &c_int,
    b: *const f64,
    ldb: &c_int,
    beta: &f64,
    c: *mut f64,
    ldc: &c_int,
) {
    run_blas("DSYR2K", || {
        let part = triangle(uplo, 1)?;
        let trans = flag(trans, b"NTC", 2)? != b'N';
        let (n, k) = (size(n, 3)?, size(k, 4)?);
        let lda = at_least(if trans { k } else { n }, lda, 7)?;
        let ldb = at_least(if trans { k } else { n }, ldb, 9)?;
        let ldc = at_least(n, ldc, 12)?;
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `C` is `n` x `n`, and overlaps no other argument.
        let mut c = unsafe { view_mut(c, n, n, ldc) };
        scale(c.rb_mut(), part, *beta);
        if *alpha != 0.0 && k > 0 {
            // SAFETY: `op(A)` and `op(B)` are `n` x `k` and are not written.
            let (a, b) = unsafe { (operand(trans, a, n, k, lda), operand(trans, b, n, k, ldb)) };
            add_product(c.rb_mut(), part, *alpha, a, b.transpose());
            add_product(c, part, *alpha, b, a.transpose());
        }
        Ok(())
    });
}

/// Cholesky factor of a symmetric matrix: `A = L L'` or `A = U' U`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpotrf_(
    uplo: &c_char,
    n: &c_int,
    a: *mut f64,
    lda: &c_int,
    info: &mut c_int,
) {
    *info = run(|| {
        let part = triangle(uplo, 1)?;
        let n = size(n, 2)?;
        let lda = at_least(n, lda, 4)?;
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `A` is `n` x `n`, and overlaps no other argument.
        let a = unsafe { view_mut(a, n, n, lda) };
        let mut a = if part.is_upper() {
            a.transpose_mut()
        } else {
            a
        };
        // In place, faer would write to the other triangle, too.
        let mut l = Mat::<f64>::zeros(n, n);
        l.copy_from_triangular_lower(a.rb());
        let params = Default::default();
        let scratch = llt::factor::cholesky_in_place_scratch::<f64>(n, Par::Seq, params);
        llt::factor::cholesky_in_place(
            l.as_mut(),
            Default::default(),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            params,
        )
        .map_err(|llt::factor::LltError::NonPositivePivot { index }| index as c_int + 1)?;
        a.copy_from_triangular_lower(&l);
        Ok(())
    });
}

/// Solves `A X = B` with the Cholesky factor of `A` from [`dpotrf_`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpotrs_(
    uplo: &c_char,
    n: &c_int,
    nrhs: &c_int,
    a: *const f64,
    lda: &c_int,
    b: *mut f64,
    ldb: &c_int,
    info: &mut c_int,
) {
    *info = run(|| {
        let part = triangle(uplo, 1)?;
        let (n, nrhs) = (size(n, 2)?, size(nrhs, 3)?);
        let lda = at_least(n, lda, 5)?;
        let ldb = at_least(n, ldb, 7)?;
        if n == 0 || nrhs == 0 {
            return Ok(());
        }
        // SAFETY: `A` is `n` x `n` and is not written; `B` is `n` x `nrhs`, and overlaps nothing.
        let (l, b) = unsafe {
            let l = operand(part.is_upper(), a, n, n, lda);
            (l, view_mut(b, n, nrhs, ldb))
        };
        llt::solve::solve_in_place(l, b, Par::Seq, MemStack::new(&mut []));
        Ok(())
    });
}

/// All or selected eigenvalues, and on request eigenvectors, of a symmetric matrix.
///
/// A selection saves no time: it is taken from the whole decomposition.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dsyevr_(
    jobz: &c_char,
    range: &c_char,
    uplo: &c_char,
    n: &c_int,
    a: *mut f64,
    lda: &c_int,
    vl: *const f64,
    vu: *const f64,
    il: *const c_int,
    iu: *const c_int,
    _abstol: *const f64,
    m: &mut c_int,
    w: *mut f64,
    z: *mut f64,
    ldz: &c_int,
    isuppz: *mut c_int,
    work: *mut f64,
    lwork: &c_int,
    iwork: *mut c_int,
    liwork: &c_int,
    info: &mut c_int,
) {
    *info = run(|| {
        let vectors = flag(jobz, b"NV", 1)? == b'V';
        let range = flag(range, b"AVI", 2)?;
        let part = triangle(uplo, 3)?;
        let n = size(n, 4)?;
        let lda = at_least(n, lda, 6)?;
        let (mut lower, mut upper) = (f64::NEG_INFINITY, f64::INFINITY);
        let (mut first, mut last) = (0, n);
        if range == b'V' {
            // SAFETY: `vl` and `vu` are scalars of a selection by value.
            (lower, upper) = unsafe { (*vl, *vu) };
            if n > 0 && upper <= lower {
                return Err(-8);
            }
        } else if range == b'I' {
            // SAFETY: `il` and `iu` are scalars of a selection by index.
            let (il, iu, n) = unsafe { (*il, *iu, n as c_int) };
            if il < 1 || il > n.max(1) {
                return Err(-9);
            } else if iu < il.min(n) || iu > n {
                return Err(-10);
            }
            (first, last) = (il as usize - 1, iu as usize);
        }
        let ldz = at_least(if vectors { n } else { 1 }, ldz, 15)?;
        let query = *lwork == -1 || *liwork == -1;
        if !query {
            at_least(1, lwork, 18)?;
            at_least(1, liwork, 20)?;
        }
        // SAFETY: both have an entry, even in a query.
        unsafe {
            *work = 1.0;
            *iwork = 1;
        }
        if query {
            return Ok(());
        }
        *m = 0;
        if n == 0 {
            return Ok(());
        }

        // SAFETY: `A` is `n` x `n`, `w` has `n` entries, and they overlap no other argument.
        let (mut a, w) = unsafe {
            let w = std::slice::from_raw_parts_mut(w, n);
            (view_mut(a, n, n, lda), w)
        };
        // As LAPACK does. Without, faer 0.24.4 is silently wrong above n = 128: the deflation
        // in its divide and conquer assumes a norm near 1.
        let factor = normalizer(a.rb(), part)?;
        scale(a.rb_mut(), part, factor);
        // faer reads the lower triangle.
        let a = if part.is_upper() {
            a.transpose_mut()
        } else {
            a
        };
        let mut v = Mat::<f64>::zeros(if vectors { n } else { 0 }, if vectors { n } else { 0 });
        let compute = if vectors {
            ComputeEigenvectors::Yes
        } else {
            ComputeEigenvectors::No
        };
        let params = Default::default();
        let scratch = self_adjoint_evd_scratch::<f64>(n, compute, Par::Seq, params);
        self_adjoint_evd(
            a.rb(),
            DiagMut::from_slice_mut(w),
            vectors.then(|| v.as_mut()),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            params,
        )
        .map_err(|_| 1)?;
        for value in w.iter_mut() {
            *value /= factor;
        }

        if range == b'V' {
            first = w.partition_point(|&value| value <= lower);
            last = w.partition_point(|&value| value <= upper).max(first);
        }
        let count = last - first;
        w.copy_within(first..last, 0);
        *m = count as c_int;
        if vectors && count > 0 {
            // SAFETY: `Z` has `n` rows and a column for each selected eigenvalue.
            unsafe { view_mut(z, n, count, ldz) }.copy_from(v.subcols(first, count));
            if count == n {
                // SAFETY: `isuppz` has two entries for each eigenvector. All rows are its support.
                let isuppz = unsafe { std::slice::from_raw_parts_mut(isuppz, 2 * n) };
                for pair in isuppz.chunks_exact_mut(2) {
                    pair.copy_from_slice(&[1, n as c_int]);
                }
            }
        }
        Ok(())
    });
}

/// Singular value decomposition `A = U diag(s) V'`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgesdd_(
    jobz: &c_char,
    m: &c_int,
    n: &c_int,
    a: *mut f64,
    lda: &c_int,
    s: *mut f64,
    u: *mut f64,
    ldu: &c_int,
    vt: *mut f64,
    ldvt: &c_int,
    work: *mut f64,
    lwork: &c_int,
    _iwork: *mut c_int,
    info: &mut c_int,
) {
    *info = run(|| {
        let jobs = match flag(jobz, b"ASON", 1)? {
            // The larger factor goes to `A`, the other one is square.
            b'O' if m >= n => (b'O', b'A'),
            b'O' => (b'A', b'O'),
            job => (job, job),
        };
        // SAFETY: the contract of this function.
        unsafe { gesvd(jobs, m, n, 2, a, lda, s, u, ldu, vt, ldvt, work, lwork) }
    });
}

/// Singular value decomposition `A = U diag(s) V'`, with a job for each factor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgesvd_(
    jobu: &c_char,
    jobvt: &c_char,
    m: &c_int,
    n: &c_int,
    a: *mut f64,
    lda: &c_int,
    s: *mut f64,
    u: *mut f64,
    ldu: &c_int,
    vt: *mut f64,
    ldvt: &c_int,
    work: *mut f64,
    lwork: &c_int,
    info: &mut c_int,
) {
    *info = run(|| {
        let jobs = (flag(jobu, b"ASON", 1)?, flag(jobvt, b"ASON", 2)?);
        if jobs == (b'O', b'O') {
            return Err(-2);
        }
        // SAFETY: the contract of this function.
        unsafe { gesvd(jobs, m, n, 3, a, lda, s, u, ldu, vt, ldvt, work, lwork) }
    });
}

/// What [`dgesdd_`] and [`dgesvd_`] share; `number` is that of the argument `m`.
///
/// # Safety
/// That of [`dgesvd_`].
#[expect(clippy::too_many_arguments, reason = "those of the routine")]
unsafe fn gesvd(
    (jobu, jobvt): (u8, u8),
    m: &c_int,
    n: &c_int,
    number: c_int,
    a: *mut f64,
    lda: &c_int,
    s: *mut f64,
    u: *mut f64,
    ldu: &c_int,
    vt: *mut f64,
    ldvt: &c_int,
    work: *mut f64,
    lwork: &c_int,
) -> Status {
    let (m, n) = (size(m, number)?, size(n, number + 1)?);
    let k = m.min(n);
    let lda = at_least(m, lda, number + 3)?;
    let ldu = at_least(
        if matches!(jobu, b'A' | b'S') { m } else { 1 },
        ldu,
        number + 6,
    )?;
    let rows = match jobvt {
        b'A' => n,
        b'S' => k,
        _ => 1,
    };
    let ldvt = at_least(rows, ldvt, number + 8)?;
    let query = *lwork == -1;
    if !query {
        at_least(1, lwork, number + 10)?;
    }
    // SAFETY: it has an entry, even in a query.
    unsafe { *work = 1.0 };
    if query || k == 0 {
        return Ok(());
    }

    // SAFETY: `A` is `m` x `n`, `s` has `k` entries, and they overlap no other argument.
    let (mut a, s) = unsafe {
        let s = std::slice::from_raw_parts_mut(s, k);
        (view_mut(a, m, n, lda), s)
    };
    let part = BlockStructure::Rectangular;
    // Keeps the squares of extreme entries from overflow and underflow, as LAPACK does.
    let factor = normalizer(a.rb(), part)?;
    scale(a.rb_mut(), part, factor);
    // Zeros, because faer does not write all of a full `U` if it starts with a QR decomposition.
    let vectors = |job, order| match job {
        b'N' => (ComputeSvdVectors::No, Mat::<f64>::zeros(0, 0)),
        b'A' => (ComputeSvdVectors::Full, Mat::zeros(order, order)),
        _ => (ComputeSvdVectors::Thin, Mat::zeros(order, k)),
    };
    let ((compute_u, mut left), (compute_v, mut right)) = (vectors(jobu, m), vectors(jobvt, n));
    let params = Default::default();
    let scratch = svd_scratch::<f64>(m, n, compute_u, compute_v, Par::Seq, params);
    svd(
        a.rb(),
        DiagMut::from_slice_mut(s),
        (jobu != b'N').then(|| left.as_mut()),
        (jobvt != b'N').then(|| right.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        params,
    )
    .map_err(|_| 1)?;
    for value in s.iter_mut() {
        *value /= factor;
    }

    match jobu {
        b'N' => {}
        b'O' => a.rb_mut().subcols_mut(0, k).copy_from(&left),
        // SAFETY: `U` is `m` x `left.ncols()`, and overlaps no other argument.
        _ => unsafe { view_mut(u, m, left.ncols(), ldu) }.copy_from(&left),
    }
    match jobvt {
        b'N' => {}
        b'O' => a.subrows_mut(0, k).copy_from(right.transpose()),
        // SAFETY: `VT` is `right.ncols()` x `n`, and overlaps no other argument.
        _ => unsafe { view_mut(vt, right.ncols(), n, ldvt) }.copy_from(right.transpose()),
    }
    Ok(())
}
