//! Verifying derivatives against finite differences, the right way.
//!
//! A difference quotient of solutions solved to 1e-8 is off by 1e-4 in x and 1e-2 in z whatever the step. Here both ends are refined
//! to rounding before differencing, the step is chosen by the quotients' own agreement and never by agreement with the
//! derivative, and a disagreement is blamed on the quotient when the quotients disagree among themselves.

use crate::derivative::Derivative;
use crate::error::{Error, Result};
use crate::kink::Warning;
use crate::limit;
use crate::program::ConeProgram;
use crate::random::Random;
use crate::refine::{refine, solve};
use crate::settings::Settings;
use crate::solution::Solution;
use crate::tangent::{DataTangent, SolutionTangent, dot};

/// How to check.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Settings, gradcheck};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::GradcheckSettings;
/// // minimize 1/2 x^2 - x subject to x <= 1/4, along one direction of another seed, to a narrower tolerance
/// let check = GradcheckSettings { seed: 1, tolerance: 1e-7, by_block: false };
/// let report = gradcheck(&program, &Settings::default(), &check)?;
/// assert!(report.passed() && report.blocks.len() == 1 && report.blocks[0].error() <= 1e-7);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradcheckSettings {
    /// Seed of the random directions. Default 0.
    pub seed: u64,
    /// Relative error up to which derivative and quotient agree. Default 1e-5: what central differences can show on data of any
    /// scale.
    pub tolerance: f64,
    /// One random direction for each of P, q, A and b (the default) or a single one in all of them.
    pub by_block: bool,
}

impl Default for GradcheckSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            tolerance: 1e-5,
            by_block: true,
        }
    }
}

/// What a comparison says.
///
/// ```
/// use conediff::{GradcheckSettings, Verdict, gradcheck_function};
/// // The gradient of x^2 at 3 is 6. A wrong one is seen; with noise in the function nothing can be.
/// let verdict = |gradient, noise: f64| {
///     let function = |x: &[f64]| Ok(x[0] * x[0] + noise * (1e9 * x[0]).sin());
///     gradcheck_function(function, &[gradient], &[3.0], 2, &GradcheckSettings::default()).map(|check| check.verdict)
/// };
/// assert_eq!(verdict(6.0, 0.0)?, Verdict::Agrees);
/// assert_eq!(verdict(6.001, 0.0)?, Verdict::Disagrees);
/// assert_eq!(verdict(6.0, 1e-3)?, Verdict::Inconclusive);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Derivative and quotient agree.
    Agrees,
    /// The quotients agree among themselves, and not with the derivative.
    Disagrees,
    /// The quotients do not settle (a kink within the step, or noise), or the problem could not be solved beside the point.
    Inconclusive,
}

/// One direction's comparison. Errors are |difference| / (|derivative| + 1e-3 |solution|), in the 2-norm, for x, z and s.
///
/// ```
/// # use conediff::{Cone, ConeProgram, GradcheckSettings, Settings, gradcheck};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::BlockCheck;
/// // minimize 1/2 x^2 - x subject to x <= 1/4
/// let report = gradcheck(&program, &Settings::default(), &GradcheckSettings::default())?;
/// let names: Vec<&str> = report.blocks.iter().map(|check| check.block).collect();
/// assert_eq!(names, ["P", "q", "A", "b"]);
/// // Of dx, dz and ds along a direction in b.
/// let of_b: &BlockCheck = &report.blocks[3];
/// assert!(of_b.errors.iter().all(|error| *error < 1e-6) && of_b.spread < 1e-6);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BlockCheck {
    /// "P", "q", "A", "b", or "all".
    pub block: &'static str,
    /// Errors of dx, dz, ds.
    #[serde(with = "crate::exact::numbers")]
    pub errors: [f64; 3],
    /// The step chosen, relative to the data.
    #[serde(with = "crate::exact::number")]
    pub step: f64,
    /// How far the two best quotients are apart, in the same measure.
    #[serde(with = "crate::exact::number")]
    pub spread: f64,
    /// The verdict.
    pub verdict: Verdict,
}

impl BlockCheck {
    /// The largest of the three errors.
    pub fn error(&self) -> f64 {
        largest(&self.errors)
    }
}

/// The report of [`gradcheck`].
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GradcheckReport {
    /// One comparison for each direction.
    pub blocks: Vec<BlockCheck>,
    /// |<vjp(g), d> - <g, jvp(d)>| relative to the terms of both sums.
    #[serde(with = "crate::exact::number")]
    pub adjoint_error: f64,
    /// The optimal value's gradient by the envelope theorem against its difference quotient, relative.
    #[serde(with = "crate::exact::number")]
    pub objective_error: f64,
    /// Relative residual of the derivative's linear solve, the largest seen.
    #[serde(with = "crate::exact::number")]
    pub residual: f64,
    /// True if the derivative itself claims to be right.
    pub trusted: bool,
    /// The derivative's warnings.
    pub warnings: Vec<Warning>,
    /// Disagrees if any comparison does, else inconclusive if any is.
    pub verdict: Verdict,
}

impl GradcheckReport {
    /// True if every comparison agrees and VJP and JVP are adjoint to 1e-9.
    ///
    /// ```
    /// use conediff::{Generator, Cone, GradcheckSettings, Settings, gradcheck};
    /// let generated = Generator::new(4, vec![Cone::Nonnegative(2), Cone::SecondOrder(3)]).generate()?;
    /// let report = gradcheck(generated.program(), &Settings::default(), &GradcheckSettings::default())?;
    /// assert!(report.passed() && report.trusted, "{report}");
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Agrees && self.adjoint_error <= 1e-9
    }
}

impl std::fmt::Display for GradcheckReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<5} {:>9} {:>9} {:>9} {:>9} {:>9}  verdict",
            "block", "dx", "dz", "ds", "step", "spread"
        )?;
        for b in &self.blocks {
            writeln!(
                f,
                "{:<5} {:>9.1e} {:>9.1e} {:>9.1e} {:>9.1e} {:>9.1e}  {}",
                b.block,
                b.errors[0],
                b.errors[1],
                b.errors[2],
                b.step,
                b.spread,
                match b.verdict {
                    Verdict::Agrees => "agrees",
                    Verdict::Disagrees => "DISAGREES",
                    Verdict::Inconclusive => "inconclusive",
                }
            )?;
        }
        writeln!(
            f,
            "adjoint identity {:.1e}, optimal value {:.1e}, linear residual {:.1e}, {}",
            self.adjoint_error,
            self.objective_error,
            self.residual,
            if self.trusted {
                "trusted"
            } else {
                "not trusted"
            }
        )?;
        for w in Warning::sentences(&self.warnings) {
            writeln!(f, "warning: {w}")?;
        }
        Ok(())
    }
}

/// Steps tried, relative to the data: the quotients' truncation error falls with the step, their rounding error grows.
const STEPS: [f64; 6] = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8];

/// Solves from scratch allowed for one direction, where Newton from the point checked does not arrive.
const COLD_SOLVES: usize = 4;

/// Compares the derivative of a program's solution with central differences along random directions. Solves, refines, prepares, then
/// re-solves two to twelve times for each direction.
///
/// ```
/// use conediff::{Cone, ConeProgram, GradcheckSettings, Settings, gradcheck};
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[2.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let report = gradcheck(&program, &Settings::default(), &GradcheckSettings::default())?;
/// assert!(report.passed(), "{report}");
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// Those of [`solve`] and [`Derivative::new`]. A direction whose re-solves fail is reported as inconclusive, not as an error.
pub fn gradcheck(
    program: &ConeProgram,
    settings: &Settings,
    check: &GradcheckSettings,
) -> Result<GradcheckReport> {
    let settings = &settings.with_strict(false);
    let solution = solve(program, settings)?;
    gradcheck_at(
        &Derivative::new(program, &solution, settings)?,
        settings,
        check,
    )
}

/// [`gradcheck`] of a derivative that is at hand.
///
/// ```
/// use conediff::{
///     BlockCheck, Cone, ConeProgram, Derivative, GradcheckReport, GradcheckSettings, Settings, Verdict, gradcheck_at, solve,
/// };
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
///
/// // minimize 1/2 x^2 - x subject to x <= 1/4, along a single direction in all data
/// let check = GradcheckSettings { by_block: false, ..GradcheckSettings::default() };
/// let report: GradcheckReport = gradcheck_at(&derivative, &settings, &check)?;
/// let all: &BlockCheck = &report.blocks[0];
/// assert!(all.verdict == Verdict::Agrees && all.error() < 1e-6 && report.passed());
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for a tolerance outside (0, 1).
pub fn gradcheck_at(
    derivative: &Derivative,
    settings: &Settings,
    check: &GradcheckSettings,
) -> Result<GradcheckReport> {
    check_tolerance(check.tolerance)?;
    let program = derivative.program();
    let mut random = Random::new(check.seed);
    let whole = natural_direction(program, derivative.solution(), &mut random);
    let directions: Vec<(&'static str, DataTangent)> = if check.by_block {
        let zero = DataTangent::zeros(program);
        let mut list = vec![
            (
                "P",
                DataTangent {
                    p: whole.p.clone(),
                    ..zero.clone()
                },
            ),
            (
                "q",
                DataTangent {
                    q: whole.q.clone(),
                    ..zero.clone()
                },
            ),
            (
                "A",
                DataTangent {
                    a: whole.a.clone(),
                    ..zero.clone()
                },
            ),
            (
                "b",
                DataTangent {
                    b: whole.b.clone(),
                    ..zero.clone()
                },
            ),
        ];
        // A block without any change has nothing to compare.
        list.retain(|(_, d)| d.dot(d) > 0.0);
        list
    } else {
        vec![("all", whole.clone())]
    };
    let mut blocks = Vec::with_capacity(directions.len());
    let mut objective_error: f64 = 0.0;
    let value_gradient = derivative.objective_gradient();
    let mut residual: f64 = 0.0;
    let mut converged = true;
    for (block, direction) in directions {
        let tangent = derivative.jvp(&direction)?;
        residual = residual.max(tangent.evidence.residual);
        converged &= tangent.evidence.converged;
        let expected = Quotient {
            tangent: tangent.value,
            objective: value_gradient.dot(&direction),
        };
        let (comparison, objective) =
            compare(derivative, settings, &direction, &expected, block, check)?;
        objective_error = objective_error.max(objective);
        blocks.push(comparison);
    }
    let cotangent = SolutionTangent {
        x: random.symmetric(program.n()),
        z: random.symmetric(program.m()),
        s: random.symmetric(program.m()),
    };
    let forward = derivative.jvp(&whole)?;
    let reverse = derivative.vjp(&cotangent)?;
    residual = residual
        .max(forward.evidence.residual)
        .max(reverse.evidence.residual);
    converged &= forward.evidence.converged && reverse.evidence.converged;
    let (a, b) = (cotangent.dot(&forward.value), reverse.value.dot(&whole));
    let terms = absolute_dot(&forward.value, &cotangent)
        + dot_abs(&reverse.value.p, &whole.p)
        + dot_abs(&reverse.value.q, &whole.q)
        + dot_abs(&reverse.value.a, &whole.a)
        + dot_abs(&reverse.value.b, &whole.b);
    let verdict = [Verdict::Disagrees, Verdict::Inconclusive]
        .into_iter()
        .find(|v| blocks.iter().any(|b| b.verdict == *v))
        .unwrap_or(Verdict::Agrees);
    Ok(GradcheckReport {
        blocks,
        adjoint_error: if terms == 0.0 {
            0.0
        } else {
            (a - b).abs() / terms
        },
        objective_error,
        residual,
        trusted: derivative.is_trusted_point() && converged,
        warnings: reverse.warnings,
        verdict,
    })
}

/// The comparison of [`gradcheck_function`].
///
/// ```
/// use conediff::{FunctionCheck, GradcheckSettings, Verdict, gradcheck_function};
/// // The gradient of x^2 at 3 is 6, and not 5.
/// let settings = GradcheckSettings::default();
/// let check = |gradient| gradcheck_function(|x| Ok(x[0] * x[0]), &[gradient], &[3.0], 2, &settings);
/// let FunctionCheck { error, spread, verdict } = check(6.0)?;
/// assert!(error < 1e-8 && spread < 1e-8 && verdict == Verdict::Agrees);
/// assert!(check(5.0)?.error > 0.1);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FunctionCheck {
    /// |quotient - <gradient, direction>| relative to the sum of absolute terms, the largest over the directions.
    #[serde(with = "crate::exact::number")]
    pub error: f64,
    /// The spread of the quotients in the same measure.
    #[serde(with = "crate::exact::number")]
    pub spread: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Compares the gradient of a user's own scalar function of a vector, layers included, with central differences along
/// `directions` random directions. The function should solve with refinement on, or its noise makes the check inconclusive.
///
/// ```
/// use conediff::{FunctionCheck, GradcheckSettings, Verdict, gradcheck_function};
/// let at = [1.0, 2.0];
/// let settings = GradcheckSettings::default();
/// let check: FunctionCheck = gradcheck_function(|x| Ok(x[0] * x[1]), &[2.0, 1.0], &at, 3, &settings)?;
/// assert_eq!(check.verdict, Verdict::Agrees);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # Errors
/// [`Error::Dimension`] if gradient and point differ in length; the function's own errors.
pub fn gradcheck_function(
    mut function: impl FnMut(&[f64]) -> Result<f64>,
    gradient: &[f64],
    at: &[f64],
    directions: usize,
    check: &GradcheckSettings,
) -> Result<FunctionCheck> {
    crate::program::check_length("gradient", at.len(), gradient.len())?;
    check_tolerance(check.tolerance)?;
    let mut random = Random::new(check.seed);
    let scale = natural_scale(at);
    let (mut error, mut spread) = (0.0_f64, 0.0_f64);
    let mut verdict = Verdict::Agrees;
    for _ in 0..directions {
        let direction: Vec<f64> = scale
            .iter()
            .zip(random.symmetric(at.len()))
            .map(|(s, r)| s * r)
            .collect();
        let expected = dot(gradient, &direction);
        let terms = dot_abs(gradient, &direction).max(f64::MIN_POSITIVE);
        let mut best: Option<(f64, f64)> = None;
        let mut previous: Option<f64> = None;
        for step in STEPS {
            limit::check("a difference quotient")?;
            let moved = |h: f64| -> Vec<f64> {
                at.iter().zip(&direction).map(|(x, d)| x + h * d).collect()
            };
            let quotient = (function(&moved(step))? - function(&moved(-step))?) / (2.0 * step);
            if let Some(p) = previous {
                let apart = (quotient - p).abs() / terms;
                if best.is_none_or(|b| apart < b.1) {
                    best = Some((quotient, apart));
                }
            }
            previous = Some(quotient);
            if best.is_some_and(|b| b.1 <= 0.01 * check.tolerance) {
                break;
            }
        }
        let Some((quotient, apart)) = best else {
            continue;
        };
        let wrong = (quotient - expected).abs() / terms;
        error = error.max(wrong);
        spread = spread.max(apart);
        let this = judge(wrong, apart, check.tolerance);
        if this == Verdict::Disagrees || verdict == Verdict::Agrees {
            verdict = this;
        }
    }
    Ok(FunctionCheck {
        error,
        spread,
        verdict,
    })
}

fn check_tolerance(tolerance: f64) -> Result<()> {
    if tolerance > 0.0 && tolerance < 1.0 {
        Ok(())
    } else {
        Err(Error::Setting {
            name: "tolerance",
            value: tolerance,
            allowed: "in (0, 1)",
        })
    }
}

fn judge(error: f64, spread: f64, tolerance: f64) -> Verdict {
    if error <= tolerance {
        Verdict::Agrees
    } else if spread <= 0.1 * tolerance {
        Verdict::Disagrees
    } else {
        Verdict::Inconclusive
    }
}

struct Quotient {
    tangent: SolutionTangent,
    objective: f64,
}

fn compare(
    derivative: &Derivative,
    settings: &Settings,
    direction: &DataTangent,
    expected: &Quotient,
    block: &'static str,
    check: &GradcheckSettings,
) -> Result<(BlockCheck, f64)> {
    let base = derivative.solution();
    let measure = |a: &SolutionTangent, b: &SolutionTangent| -> [f64; 3] {
        let one = |a: &[f64], b: &[f64], expected: &[f64], base: &[f64]| {
            let difference: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
            // Rows without a bound carry an infinite s.
            let size: f64 = base
                .iter()
                .filter(|x| x.abs() < crate::program::NO_BOUND)
                .map(|x| x * x)
                .sum();
            let scale = dot(expected, expected).sqrt() + 1e-3 * size.sqrt();
            if difference == 0.0 {
                0.0
            } else {
                difference.sqrt() / scale.max(f64::MIN_POSITIVE)
            }
        };
        let e = &expected.tangent;
        [
            one(&a.x, &b.x, &e.x, &base.x),
            one(&a.z, &b.z, &e.z, &base.z),
            one(&a.s, &b.s, &e.s, &base.s),
        ]
    };
    let mut best: Option<(Quotient, f64, f64)> = None;
    let mut previous: Option<Quotient> = None;
    let mut cold_solves = COLD_SOLVES;
    // Where the point itself did not refine, no difference of refined points exists.
    let is_refined = base.refinement.is_none_or(|r| r.accepted);
    for step in STEPS.into_iter().filter(|_| is_refined) {
        let quotient = difference(derivative, settings, direction, step, &mut cold_solves);
        // A budget that ends in a solve says nothing about the quotient.
        limit::check("a difference quotient")?;
        let Some(quotient) = quotient else {
            previous = None;
            continue;
        };
        if let Some(p) = previous.take() {
            let spread = largest(&measure(&quotient.tangent, &p.tangent));
            // The larger step of the pair has less rounding error, the smaller less truncation: by then both are tiny.
            if best.as_ref().is_none_or(|b| spread < b.2) {
                best = Some((p, step, spread));
            }
        }
        previous = Some(quotient);
        if best.as_ref().is_some_and(|b| b.2 <= 0.01 * check.tolerance) {
            break;
        }
    }
    let Some((quotient, step, spread)) = best else {
        let nothing = BlockCheck {
            block,
            errors: [f64::NAN; 3],
            step: f64::NAN,
            spread: f64::NAN,
            verdict: Verdict::Inconclusive,
        };
        return Ok((nothing, f64::NAN));
    };
    let errors = measure(&quotient.tangent, &expected.tangent);
    let objective = (quotient.objective - expected.objective).abs()
        / (expected.objective.abs() + 1e-3 * (1.0 + base.objective.abs()));
    let comparison = BlockCheck {
        block,
        errors,
        step,
        spread,
        verdict: judge(largest(&errors), spread, check.tolerance),
    };
    Ok((comparison, objective))
}

/// The central difference quotient of refined solutions; `None` if either end does not solve.
fn difference(
    derivative: &Derivative,
    settings: &Settings,
    direction: &DataTangent,
    step: f64,
    cold_solves: &mut usize,
) -> Option<Quotient> {
    let mut end = |h: f64| {
        let d = direction;
        let moved = derivative.program().moved(h, &d.p, &d.q, &d.a, &d.b);
        let base = Solution {
            refinement: None,
            ..derivative.solution().clone()
        };
        // F = 0 with z in K* and s in K is optimality, however it was reached: start Newton at the base point.
        let near = refine(&moved, &base, settings).ok()?;
        if near.refinement.is_some_and(|r| r.accepted) {
            return Some(near);
        }
        *cold_solves = cold_solves.checked_sub(1)?;
        let far = solve(&moved, settings).ok()?;
        far.refinement.is_some_and(|r| r.accepted).then_some(far)
    };
    let (ahead, behind) = (end(step)?, end(-step)?);
    let quotient = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter()
            .zip(b)
            .map(|(a, b)| if a == b { 0.0 } else { (a - b) / (2.0 * step) })
            .collect()
    };
    let mut s = quotient(&ahead.s, &behind.s);
    for &i in derivative.program().unbounded() {
        s[i] = 0.0;
    }
    Some(Quotient {
        tangent: SolutionTangent {
            x: quotient(&ahead.x, &behind.x),
            z: quotient(&ahead.z, &behind.z),
            s,
        },
        objective: (ahead.objective - behind.objective) / (2.0 * step),
    })
}

/// A random direction in units of the data, so that a small step is small for every row: q_j moves by the size of the terms of its
/// row of Px + A'z + q = 0, b_i by that of Ax + s = b, entries of A by their own size and P by a random diagonal
/// congruence dP = EP + PE, which keeps it semidefinite to first order.
fn natural_direction(
    program: &ConeProgram,
    solution: &Solution,
    random: &mut Random,
) -> DataTangent {
    let mut direction = DataTangent::zeros(program);
    let e = random.symmetric(program.n());
    let mut q: Vec<f64> = program.q().iter().map(|x| x.abs()).collect();
    let mut b: Vec<f64> = program.effective_b().iter().map(|x| x.abs()).collect();
    let p = program.p().stored_values();
    let (x, z) = (&solution.x, &solution.z);
    crate::residual::for_each_entry(program.p(), |k, i, j| {
        direction.p[k] = p[k] * (e[i] + e[j]);
        q[i] += (p[k] * x[j]).abs();
        if i != j {
            q[j] += (p[k] * x[i]).abs();
        }
    });
    let a = program.a().stored_values();
    crate::residual::for_each_entry(program.a(), |k, i, j| {
        q[j] += (a[k] * z[i]).abs();
        b[i] += (a[k] * x[j]).abs();
    });
    for (out, sizes) in [
        (&mut direction.q, natural_scale(&q)),
        (&mut direction.a, natural_scale(&a)),
        (&mut direction.b, natural_scale(&b)),
    ] {
        let signs = random.symmetric(sizes.len());
        for ((x, scale), sign) in out.iter_mut().zip(sizes).zip(signs) {
            *x = scale * sign;
        }
    }
    for &i in program.unbounded() {
        direction.b[i] = 0.0;
    }
    direction
}

/// The size of each entry, at least a hundredth of the median of the nonzero ones; 1 if all are zero.
fn natural_scale(values: &[f64]) -> Vec<f64> {
    let mut sizes: Vec<f64> = values
        .iter()
        .map(|x| x.abs())
        .filter(|x| *x > 0.0)
        .collect();
    let middle = sizes.len() / 2;
    let floor = if sizes.is_empty() {
        1.0
    } else {
        0.01 * *sizes.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    values.iter().map(|x| x.abs().max(floor)).collect()
}

fn largest(errors: &[f64]) -> f64 {
    crate::tangent::norm_max(errors)
}

fn dot_abs(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum()
}

fn absolute_dot(a: &SolutionTangent, b: &SolutionTangent) -> f64 {
    dot_abs(&a.x, &b.x) + dot_abs(&a.z, &b.z) + dot_abs(&a.s, &b.s)
}
