//! Programs of every cone, size and number into solve, derivatives and reports: never a panic or a hang, and where a derivative is
//! trusted it is the one known without a linear solve, and JVP and VJP are adjoint.

use crate::fuzz_support::{any_number, fuzz};
use conediff::{
    Cone, ConeProgram, ConicLayer, DataTangent, Derivative, Generated, LayerData, LayerSettings,
    Policy, Projection, Settings, Solution, SolutionTangent, SparseMatrix, solve,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// How far a trusted derivative may be from the known one, relative to the largest entry: five times `Settings::accuracy`, which
/// bounds an estimate.
const TRUSTED: f64 = 1e-5;

fn cone() -> impl Strategy<Value = Cone> {
    let exponent = prop_oneof![
        6 => prop::sample::select(&[0.5, 0.3, 0.25, 0.9][..]),
        1 => prop::sample::select(&[1e-300, 1e-9, 1.0 - 1e-9, 0.999_999_999_999_999_9][..]),
        1 => prop::sample::select(&[0.0, 1.0, -0.5, f64::NAN, f64::INFINITY][..]),
    ];
    prop_oneof![
        4 => (0..3_usize).prop_map(Cone::Zero),
        6 => (0..5_usize).prop_map(Cone::Nonnegative),
        4 => (0..5_usize).prop_map(Cone::SecondOrder),
        3 => (0..4_usize).prop_map(Cone::PsdTriangle),
        2 => Just(Cone::Exponential),
        2 => exponent.clone().prop_map(Cone::Power),
        2 => (prop::collection::vec(1..9_u8, 0..4), 0..3_usize).prop_map(|(weights, d)| {
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            Cone::GeneralizedPower(weights.iter().map(|w| f64::from(*w) / sum).collect(), d)
        }),
    ]
}

/// Cones that no machine has the rows for: refused before anything of their size is made.
fn absurd() -> impl Strategy<Value = Cone> {
    prop::sample::select(vec![
        Cone::Zero(usize::MAX),
        Cone::Nonnegative(1 << 60),
        Cone::SecondOrder(usize::MAX),
        Cone::PsdTriangle(usize::MAX),
        Cone::PsdTriangle(6_074_001_000),
        Cone::PsdTriangle(1 << 33),
        Cone::GeneralizedPower(vec![1.0], usize::MAX),
        Cone::GeneralizedPower(vec![f64::NAN; 2], 1),
    ])
}

/// Where q and b come from.
#[derive(Debug, Clone, Copy)]
enum Side {
    /// Drawn: mostly infeasible or unbounded.
    Any,
    /// Made so that a drawn point is the solution.
    Solved,
    /// Made so that a drawn point is the solution, at a kink of every cone whose v is drawn zero.
    Kinks,
}

#[derive(Debug, Clone)]
struct Recipe {
    n: usize,
    cones: Vec<Cone>,
    side: Side,
    /// For P: its rank as R'R; 5 takes entries as they come.
    rank: usize,
    numbers: Vec<f64>,
    /// Entry kept, explicit zero, or not stored.
    kept: Vec<u8>,
    policy: usize,
    seed: u64,
}

fn recipe(every: u32) -> impl Strategy<Value = Recipe> {
    let side = prop_oneof![Just(Side::Any), Just(Side::Solved), Just(Side::Kinks)];
    let cones = prop_oneof![
        30 => prop::collection::vec(cone(), 0..5),
        1 => (prop::collection::vec(cone(), 0..3), absurd()).prop_map(|(mut cones, cone)| {
            cones.push(cone);
            cones
        }),
    ];
    (
        0..6_usize,
        cones,
        side,
        0..6_usize,
        prop::collection::vec(any_number(every), 300),
        prop::collection::vec(0..8_u8, 200),
        0..8_usize,
        any::<u64>(),
    )
        .prop_map(
            |(n, cones, side, rank, numbers, kept, policy, seed)| Recipe {
                n,
                cones,
                side,
                rank,
                numbers,
                kept,
                policy,
                seed,
            },
        )
}

/// Compressed columns of the entries kept.
struct Columns(Vec<usize>, Vec<usize>, Vec<f64>);

impl Recipe {
    /// `None` where the cones' rows are beyond reason, after the library has refused them.
    fn program(&self) -> Result<Option<ConeProgram>, TestCaseError> {
        let rows = self
            .cones
            .iter()
            .fold(0, |m: usize, c| m.saturating_add(c.rows()));
        let mut numbers = self.numbers.iter().copied().cycle();
        let mut next = || numbers.next().unwrap_or(0.0);
        let n = self.n;
        if rows > 1000 {
            let empty = SparseMatrix::from_csc("A", 0, n, &vec![0; n + 1], &[], &[]).unwrap();
            let p = SparseMatrix::from_csc("P", n, n, &vec![0; n + 1], &[], &[]).unwrap();
            let made =
                ConeProgram::from_matrices(p, vec![0.0; n], empty, vec![], self.cones.clone());
            prop_assert!(made.is_err());
            prop_assert!(Projection::new(&self.cones, &[0.0]).is_err());
            return Ok(None);
        }
        let root: Vec<f64> = (0..5 * n).map(|_| next()).collect();
        let mut kept = self.kept.iter().copied().cycle();
        let mut columns = |rows: usize, upper: bool, entry: &mut dyn FnMut(usize, usize) -> f64| {
            let mut out = Columns(vec![0], vec![], vec![]);
            for j in 0..n {
                for i in 0..if upper { j + 1 } else { rows } {
                    // A product R'R keeps all its entries, else it would not be convex.
                    let keep = if upper && self.rank < 5 {
                        3
                    } else {
                        kept.next().unwrap_or(0)
                    };
                    if keep > 1 {
                        out.1.push(i);
                        out.2.push(if keep == 2 { 0.0 } else { entry(i, j) });
                    }
                }
                out.0.push(out.1.len());
            }
            out
        };
        let p = columns(n, true, &mut |i, j| {
            if self.rank == 5 {
                return next();
            }
            (0..self.rank)
                .map(|r| root[n * r + i] * root[n * r + j])
                .sum()
        });
        let mut numbers = self.numbers.iter().rev().copied().cycle();
        let mut next = || numbers.next().unwrap_or(0.0);
        let a = columns(rows, false, &mut |_, _| next());
        let (mut q, mut b) = (vec![0.0; n], vec![0.0; rows]);
        if let Side::Any = self.side {
            q.iter_mut().chain(&mut b).for_each(|x| *x = next());
        } else {
            let x: Vec<f64> = (0..n).map(|_| next()).collect();
            let is_kink = matches!(self.side, Side::Kinks);
            let v: Vec<f64> = (0..rows)
                .map(|i| if is_kink && i % 2 == 0 { 0.0 } else { next() })
                .collect();
            if let Ok(projection) = Projection::new(&self.cones, &v) {
                b.copy_from_slice(projection.s());
                for j in 0..n {
                    for k in a.0[j]..a.0[j + 1] {
                        b[a.1[k]] += a.2[k] * x[j];
                        q[j] -= a.2[k] * projection.z()[a.1[k]];
                    }
                    for k in p.0[j]..p.0[j + 1] {
                        q[j] -= p.2[k] * x[p.1[k]];
                        if p.1[k] != j {
                            q[p.1[k]] -= p.2[k] * x[j];
                        }
                    }
                }
            }
        }
        let made = ConeProgram::from_csc(
            (&p.0, &p.1, &p.2),
            q,
            (&a.0, &a.1, &a.2),
            b,
            self.cones.clone(),
        );
        match made {
            Ok(program) => Ok(Some(program)),
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                Ok(None)
            }
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.solve.max_iterations = 60;
        settings.solve.time_limit = 1.0;
        settings.with_policy(match self.policy {
            0 => Policy::MinimumNorm,
            1 => Policy::Tikhonov { rho: 1e-6 },
            2 => Policy::Smoothing { mu: 1e-6 },
            3 => Policy::Lagrangian { tau: 1e-4 },
            _ => Policy::Flag,
        })
    }
}

fn join(t: &SolutionTangent) -> Vec<f64> {
    [&t.x[..], &t.z, &t.s].concat()
}

fn join_data(t: &DataTangent) -> Vec<f64> {
    [&t.p[..], &t.q, &t.a, &t.b].concat()
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m, x| {
        if x.is_nan() {
            f64::INFINITY
        } else {
            m.max(x.abs())
        }
    })
}

/// The largest difference relative to the largest entry.
fn apart(actual: &[f64], expected: &[f64]) -> f64 {
    let d: Vec<f64> = actual.iter().zip(expected).map(|(a, e)| a - e).collect();
    let d = largest(&d);
    if d == 0.0 { 0.0 } else { d / largest(expected) }
}

/// Known tangents are sums of products with the data: beside numbers far from one, rounding leaves nothing of the others, and the
/// direction is another one than meant.
fn is_tame(derivative: &Derivative) -> bool {
    let (program, solution) = (derivative.program(), derivative.solution());
    let parts = [
        program.p().values(),
        program.q(),
        program.a().values(),
        &solution.x,
        &solution.z,
        &solution.s,
    ];
    let mut numbers = parts.into_iter().flatten();
    // A matrix of 1e-16 alone is as far from one as the other terms are.
    let mut entries = program.p().values().iter().chain(program.a().values());
    numbers.all(|x| x.abs() < 1e6) && entries.all(|x| *x == 0.0 || x.abs() > 1e-6)
}

/// Differentiates both ways. True if something was trusted and compared.
fn differentiate(derivative: &Derivative, seed: u64) -> Result<bool, TestCaseError> {
    let program = derivative.program();
    let (tangent, cotangent) = (
        DataTangent::random(program, seed),
        SolutionTangent::random(program, seed),
    );
    let (jvp, vjp) = (derivative.jvp(&tangent), derivative.vjp(&cotangent));
    let _ = derivative.objective_gradient();
    let _ = derivative.indeterminate();
    let _ = derivative.row_states();
    let _ = derivative.jacobian();
    let _ = derivative.directional(&tangent);
    let _ = derivative.vjp_ambiguity(&cotangent);
    for within in [0.0, 1e-9, 1e-3, 1e300] {
        let _ = derivative.regularity_within(within).map(|r| r.to_string());
    }
    // Derivatives of a finite step are not those of the point.
    if derivative.settings().policy != Policy::Flag {
        return Ok(false);
    }
    let Ok(known) = Generated::from_solution(program, derivative.solution()) else {
        return Ok(false);
    };
    let mut compared = false;
    if let (Ok(jvp), Ok(vjp)) = (&jvp, &vjp)
        && jvp.trusted
        && vjp.trusted
    {
        let (left, right) = (join(&jvp.value), join_data(&vjp.value));
        let terms = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum::<f64>();
        let size = largest(&left) * largest(&join(&cotangent))
            + largest(&right) * largest(&join_data(&tangent))
            + terms(&left, &join(&cotangent))
            + terms(&right, &join_data(&tangent));
        let gap = (cotangent.dot(&jvp.value) - vjp.value.dot(&tangent)).abs();
        prop_assert!(
            gap.is_nan() || gap <= TRUSTED * size,
            "adjoints apart by {gap:e} of {size:e}"
        );
        compared = true;
    }
    if !is_tame(derivative) {
        return Ok(compared);
    }
    let (tangent, expected) = known.known_jvp(seed);
    if let Ok(jvp) = derivative.jvp(&tangent)
        && jvp.trusted
    {
        let error = apart(&join(&jvp.value), &join(&expected));
        prop_assert!(
            error <= TRUSTED,
            "jvp off by {error:e}, said {:e}: {:?} {:?}",
            jvp.evidence.error,
            jvp,
            expected
        );
        compared = true;
    }
    let (cotangent, expected) = known.known_vjp(seed);
    if let Ok(vjp) = derivative.vjp(&cotangent)
        && vjp.trusted
    {
        let error = apart(&join_data(&vjp.value), &join_data(&expected));
        prop_assert!(
            error <= TRUSTED,
            "vjp off by {error:e}, said {:e}: {:?} {:?}",
            vjp.evidence.error,
            vjp,
            expected
        );
        compared = true;
    }
    Ok(compared)
}

/// Everything that can be done with a program. True if a trusted derivative was compared.
fn exercise(recipe: &Recipe) -> Result<bool, TestCaseError> {
    let Some(program) = recipe.program()? else {
        return Ok(false);
    };
    let settings = recipe.settings();
    let mut compared = false;
    match solve(&program, &settings) {
        Ok(solution) => {
            let finite = |v: &[f64]| v.iter().all(|x| x.is_finite());
            prop_assert!(finite(&solution.x) && finite(&solution.z));
            if let Ok(derivative) = Derivative::new(&program, &solution, &settings) {
                compared = differentiate(&derivative, recipe.seed)?;
            }
        }
        Err(error) => prop_assert!(!error.to_string().is_empty()),
    }
    // The same program through a layer, after data that fit it and data that may not.
    let layer_settings = LayerSettings {
        settings,
        ..LayerSettings::default()
    };
    let Ok(mut layer) = ConicLayer::new(&program, layer_settings) else {
        return Ok(compared);
    };
    let q: Vec<f64> = recipe.numbers.iter().copied().take(program.n()).collect();
    for data in [
        LayerData::default(),
        LayerData::default().with_q(&q),
        LayerData::default(),
    ] {
        if layer.forward(&data).is_ok() {
            let _ = layer.backward(&SolutionTangent::random(&program, recipe.seed));
        }
    }
    Ok(compared)
}

#[test]
fn programs_of_hostile_numbers_never_panic_or_hang() {
    fuzz(1500, recipe(12), |recipe| exercise(&recipe).map(|_| ()));
}

#[test]
fn trusted_derivatives_of_any_program_are_the_known_ones() {
    let compared = std::sync::atomic::AtomicUsize::new(0);
    fuzz(1500, recipe(3000), |recipe| {
        if exercise(&recipe)? {
            compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    });
    let compared = compared.into_inner();
    // Programs that are all refused or flagged would compare nothing.
    assert!(compared >= 150, "{compared} programs compared");
}

#[test]
fn a_point_too_far_for_any_way_to_the_central_path_is_not_trusted_and_takes_no_time() {
    // x = 0 between two inequalities: no point inside, so no path, and the way there would begin at |v|^2.
    let program = ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![0.0],
        (&[0, 2], &[0, 1], &[1.0, -1.0]),
        vec![0.0, 0.0],
        vec![Cone::Nonnegative(2)],
    )
    .unwrap();
    for size in [1e150, 1e160, 1e300, f64::MAX] {
        let solution =
            Solution::given(&program, vec![0.0], vec![size, size], vec![0.0, 0.0]).unwrap();
        let begun = std::time::Instant::now();
        let derivative = Derivative::smoothed(&program, &solution, 1e-6, &Settings::default());
        assert!(!derivative.is_ok_and(|d| d.is_trusted_point()), "{size:e}");
        assert!(
            begun.elapsed().as_secs() < 20,
            "{size:e}: {:?}",
            begun.elapsed()
        );
    }
}
