//! Derivatives by re-solving at a finite step: differences of the optimal value's gradient (Lagrangian proximal gradients).

use crate::error::Result;
use crate::pattern::SparseMatrix;
use crate::program::ConeProgram;
use crate::refine::solve;
use crate::residual::for_each_entry;
use crate::settings::{Settings, check_positive};
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent, norm_max};

/// On which side of the data the optimal value's gradient is differenced.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Settings, SolutionTangent, lagrangian_vjp};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![0.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.0],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::Envelope;
/// // minimize 1/2 x^2 + q x subject to x <= 0 at its kink q = 0: x = min(-q, 0)
/// for (envelope, slope) in [(Envelope::Lower, -1.0), (Envelope::Upper, 0.0), (Envelope::Average, -0.5)] {
///     let gradient = lagrangian_vjp(&program, &seed, 1e-3, envelope, &Settings::default())?;
///     assert!((gradient.value.q[0] - slope).abs() < 1e-9);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Envelope {
    /// (grad V(tau) - grad V(0)) / tau: the solution moves so as to lower the loss. Bias O(tau).
    Lower,
    /// (grad V(0) - grad V(-tau)) / tau: the solution moves so as to raise the loss. Bias O(tau).
    Upper,
    /// (grad V(tau) - grad V(-tau)) / (2 tau), the mean of the two. The default: for the same two solves its bias is O(tau^2).
    #[default]
    Average,
}

/// What a difference of two solutions gave.
///
/// ```
/// # use conediff::{Cone, ConeProgram, DataTangent, Settings, SolutionTangent, lagrangian_jvp};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::Differenced;
/// // minimize 1/2 x^2 - x subject to x <= b: dx/db = 1, over a step of 1e-3
/// let db = DataTangent { b: vec![1.0], ..DataTangent::zeros(&program) };
/// let moved: Differenced<SolutionTangent> = lagrangian_jvp(&program, &db, 1e-3, &Settings::default())?;
/// assert!((moved.value.x[0] - 1.0).abs() < 1e-9);
/// // Both ends are refined, so rounding over the step is all that is lost.
/// assert!(moved.is_refined && moved.residuals.iter().all(|r| *r < 1e-12) && moved.tau == 1e-3);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Differenced<T> {
    /// The quotient.
    pub value: T,
    /// tau as given, relative to the data.
    #[serde(with = "crate::exact::number")]
    pub tau: f64,
    /// The absolute length of the move, for a seed (cotangent or tangent) of largest entry 1.
    #[serde(with = "crate::exact::number")]
    pub step: f64,
    /// Relative residuals of the two solutions, at the lower and the higher end. Rounding in the quotient is about these, times
    /// the solution's condition number, over tau.
    #[serde(with = "crate::exact::numbers")]
    pub residuals: [f64; 2],
    /// True if refinement accepted both solutions. Where not, their error of 1e-8 to 1e-4 over tau is in the quotient.
    pub is_refined: bool,
}

/// A gradient of <gx, x> + <gz, z> + <gs, s> in the data by a finite step instead of a derivative.
///
/// With V(P, q, A, b) the optimal value, dV/dq = x, dV/db = -z, and s = b - Ax, so the loss is itself a directional derivative of
/// V, along d = (gx - A'gs in q, -gz in b), plus <gs, b>. Its gradient is the change of V's gradient along d, here over a finite
/// step:
///
/// ```text
/// (grad V(data + h d) - grad V(data - h d)) / (2 h)  +  (gs in b, -gs x' in A)
/// dV/dP_ij = x_i x_j (i < j), 1/2 x_i^2 (i = j),   dV/dq = x,   dV/dA = z x',   dV/db = -z
/// ```
///
/// with grad V from the solutions there (x in the last term: their mean), on the stored patterns, P by the triangle rule of
/// [`crate::Derivative::vjp`].
///
/// Where the solution map is smooth the result is the VJP up to O(tau^2) (O(tau) for one side; nothing on one active set of a
/// quadratic program, where grad V is quadratic along the step). At a kink, or over one, it is the slope of a chord of grad V:
/// between the one-sided derivatives when the kink is the only one within the step. Where the derivative is zero and the solution
/// jumps from vertex to vertex, as in a linear program, a tau that reaches the jump still gives a descent direction: the jump
/// over the step. It is no derivative then: its length falls like 1/tau.
///
/// `tau` is relative to the data: the seed is scaled to largest entry 1 and the move of q and of b is at most tau times their own
/// largest entry (P's for q = 0, A's for b = 0, else 1), whichever binds. A small seed gives a proportionally small gradient,
/// never zero for being small. Good values are 1e-4 to 1e-3 for a derivative, 0.1 to 10 to see past a jump. Cost: two solves from
/// scratch.
///
/// ```
/// use conediff::{Cone, ConeProgram, DataCotangent, Differenced, Envelope, Settings, SolutionTangent, lagrangian_vjp};
/// // minimize -x subject to 0 <= x <= b: dx/db = 1
/// let program = ConeProgram::from_csc(
///     (&[0, 0], &[], &[]), vec![-1.0],
///     (&[0, 2], &[0, 1], &[1.0, -1.0]), vec![0.25, 0.0],
///     vec![Cone::Nonnegative(2)],
/// )?;
/// let mut seed = SolutionTangent::zeros(&program);
/// seed.x[0] = 1.0;
/// let settings = Settings::default();
/// let gradient: Differenced<DataCotangent> = lagrangian_vjp(&program, &seed, 1e-3, Envelope::Average, &settings)?;
/// assert!((gradient.value.b[0] - 1.0).abs() < 1e-9 && gradient.value.q[0].abs() < 1e-9);
/// // Over the jump at q = 0 the chord of x in q is seen: from 1/4 to 0 over 2 * 2.
/// let gradient = lagrangian_vjp(&program, &seed, 2.0, Envelope::Average, &Settings::default())?;
/// assert!((gradient.value.q[0] + 0.25 / 4.0).abs() < 1e-9);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Setting`] unless tau is positive and finite; [`crate::Error::Dimension`], [`crate::Error::NonFinite`] for the cotangent; those of
/// [`solve`] if a moved program is infeasible, unbounded or not solved: take a smaller tau.
///
/// # References
/// Paulus, Martius, Musil, LPGD: a general framework for backpropagation through embedded optimization layers, 2024, section 4
/// (lower, upper and average gradients).
pub fn lagrangian_vjp(
    program: &ConeProgram,
    cotangent: &SolutionCotangent,
    tau: f64,
    envelope: Envelope,
    settings: &Settings,
) -> Result<Differenced<DataCotangent>> {
    settings.validate()?;
    check_positive("tau", tau)?;
    cotangent.check(program)?;
    let size = size_of([&cotangent.x, &cotangent.z, &cotangent.s]);
    let unit = |v: &[f64], negate: f64| v.iter().map(|v| negate * v / size).collect::<Vec<f64>>();
    let (mut dq, mut db) = (unit(&cotangent.x, 1.0), unit(&cotangent.z, -1.0));
    let mut gs = unit(&cotangent.s, 1.0);
    for &i in program.unbounded() {
        (db[i], gs[i]) = (0.0, 0.0);
    }
    program
        .effective_a()
        .multiply_transpose_add(-1.0, &gs, &mut dq);
    let step = tau * longest(program, &[], &dq, &[], &db);
    let (low, high) = match envelope {
        Envelope::Lower => (0.0, 1.0),
        Envelope::Upper => (-1.0, 0.0),
        Envelope::Average => (-1.0, 1.0),
    };
    let at = |side: f64| {
        let q: Vec<f64> = moved(program.q(), side * step, &dq);
        let b: Vec<f64> = moved(program.b(), side * step, &db);
        solve(&program.with_q(q)?.with_b(b)?, settings)
    };
    let (low, high, width) = (at(low)?, at(high)?, (high - low) * step);
    let mut value = DataTangent::zeros(program);
    let quotient = |high: f64, low: f64| size * ((high - low) / width);
    for (j, out) in value.q.iter_mut().enumerate() {
        *out = quotient(high.x[j], low.x[j]);
    }
    for (i, out) in value.b.iter_mut().enumerate() {
        *out = size * gs[i] - quotient(high.z[i], low.z[i]);
    }
    for_each_entry(program.p(), |k, i, j| {
        let share = if i == j { 0.5 } else { 1.0 };
        value.p[k] = share * quotient(high.x[i] * high.x[j], low.x[i] * low.x[j]);
    });
    for_each_entry(program.a(), |k, i, j| {
        let direct = size * gs[i] * 0.5 * (high.x[j] + low.x[j]);
        value.a[k] = quotient(high.z[i] * high.x[j], low.z[i] * low.x[j]) - direct;
    });
    Ok(differenced(value, tau, step, &low, &high))
}

/// The directional derivative of (x, z, s) along a data tangent by a finite step:
///
/// ```text
/// (solution(data + h d) - solution(data - h d)) / (2 h)
/// ```
///
/// A central difference of refined solutions: bias O(tau^2) where the solution map is smooth, the slope of a chord at a kink or a
/// jump. `tau` is relative to the data as in [`lagrangian_vjp`], P and A by their own largest entries. The two are adjoint up to
/// their biases, not exactly. Cost: two solves from scratch.
///
/// # Errors
/// Those of [`lagrangian_vjp`]; [`crate::Error::NotConvex`] if a step along dP leaves the convex programs.
pub fn lagrangian_jvp(
    program: &ConeProgram,
    tangent: &DataTangent,
    tau: f64,
    settings: &Settings,
) -> Result<Differenced<SolutionTangent>> {
    settings.validate()?;
    check_positive("tau", tau)?;
    tangent.check(program)?;
    let size = norm_max(&tangent.p).max(size_of([&tangent.q, &tangent.a, &tangent.b]));
    let unit = |v: &[f64]| v.iter().map(|v| v / size).collect::<Vec<f64>>();
    let (dp, dq) = (unit(&tangent.p), unit(&tangent.q));
    let (mut da, mut db) = (unit(&tangent.a), unit(&tangent.b));
    // A row without a bound stays one.
    for &i in program.unbounded() {
        db[i] = 0.0;
    }
    for_each_entry(program.a(), |k, i, _| {
        if program.unbounded().binary_search(&i).is_ok() {
            da[k] = 0.0;
        }
    });
    let step = tau * longest(program, &dp, &dq, &da, &db);
    let (p, a) = (program.p().stored_values(), program.a().stored_values());
    let at = |h: f64| {
        // Matrices that stay need no new check.
        let p = (norm_max(&dp) > 0.0).then(|| moved(&p, h, &dp));
        let a = (norm_max(&da) > 0.0).then(|| moved(&a, h, &da));
        let (q, b) = (moved(program.q(), h, &dq), moved(program.b(), h, &db));
        solve(
            &program.with_data(p.as_deref(), Some(&q), a.as_deref(), Some(&b))?,
            settings,
        )
    };
    let (low, high) = (at(-step)?, at(step)?);
    let quotient = |high: &[f64], low: &[f64]| {
        let both = high.iter().zip(low);
        both.map(|(high, low)| size * ((high - low) / (2.0 * step)))
            .collect::<Vec<f64>>()
    };
    let mut value = SolutionTangent {
        x: quotient(&high.x, &low.x),
        z: quotient(&high.z, &low.z),
        s: quotient(&high.s, &low.s),
    };
    for &i in program.unbounded() {
        value.s[i] = 0.0;
    }
    Ok(differenced(value, tau, step, &low, &high))
}

/// The largest entry of all parts, 1 if there is none but zeros.
fn size_of(parts: [&[f64]; 3]) -> f64 {
    let largest = parts.into_iter().map(norm_max).fold(0.0, f64::max);
    if largest > 0.0 { largest } else { 1.0 }
}

/// v + h d.
fn moved(v: &[f64], h: f64, d: &[f64]) -> Vec<f64> {
    v.iter().zip(d).map(|(v, d)| v + h * d).collect()
}

/// The longest step along a direction that moves no part of the data by more than its own largest entry. 1 along nothing.
fn longest(program: &ConeProgram, dp: &[f64], dq: &[f64], da: &[f64], db: &[f64]) -> f64 {
    let (p, a) = (program.p(), program.effective_a());
    let own = |vector: &[f64], matrix: &SparseMatrix| {
        let sizes = [norm_max(vector), norm_max(matrix.values())];
        sizes.into_iter().find(|s| *s > 0.0).unwrap_or(1.0)
    };
    let (size_q, size_b) = (own(program.q(), p), own(program.effective_b(), a));
    let (size_p, size_a) = (own(p.values(), p), own(a.values(), a));
    let step = [(dp, size_p), (dq, size_q), (da, size_a), (db, size_b)]
        .into_iter()
        .map(|(d, size)| size / norm_max(d))
        .fold(f64::INFINITY, f64::min);
    if step.is_finite() { step } else { 1.0 }
}

fn differenced<T>(
    value: T,
    tau: f64,
    step: f64,
    low: &Solution,
    high: &Solution,
) -> Differenced<T> {
    let residual = |s: &Solution| s.refinement.map_or(f64::NAN, |r| r.after);
    let is_refined = |s: &Solution| s.refinement.is_some_and(|r| r.accepted);
    Differenced {
        value,
        tau,
        step,
        residuals: [residual(low), residual(high)],
        is_refined: is_refined(low) && is_refined(high),
    }
}
