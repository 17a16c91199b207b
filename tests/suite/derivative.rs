//! JVP, VJP and Jacobian: known derivatives, every method against every other, the embedding, ill-conditioned programs, small seeds.

use conediff::{
    Affine, Cone, ConeProgram, DataTangent, Derivative, Error, Generated, Generator,
    GradcheckSettings, LinearSettings, LinearSolver, Method, Prepared, ProgramBuilder,
    ResidualJacobian, RowState, Settings, SolutionTangent, SparseMatrix, Wanted,
    embedding_residual, gradcheck, residual, solve,
};

use crate::support::{Random, norm, relative};

fn solution_error(a: &SolutionTangent, b: &SolutionTangent) -> f64 {
    let join = |t: &SolutionTangent| [t.x.as_slice(), &t.z, &t.s].concat();
    relative(&join(a), &join(b))
}

fn data_error(a: &DataTangent, b: &DataTangent) -> f64 {
    let join = |t: &DataTangent| [t.p.as_slice(), &t.q, &t.a, &t.b].concat();
    relative(&join(a), &join(b))
}

fn families(n: usize) -> Vec<(&'static str, Vec<Cone>)> {
    vec![
        ("equality", vec![Cone::Zero(n / 3)]),
        ("nonnegative", vec![Cone::Nonnegative(n)]),
        ("second-order", vec![Cone::SecondOrder(5); n / 5]),
        (
            "large second-order",
            vec![Cone::SecondOrder(n), Cone::Nonnegative(n / 5)],
        ),
        (
            "psd",
            vec![Cone::PsdTriangle(((2 * n) as f64).sqrt() as usize)],
        ),
        ("exponential", vec![Cone::Exponential; n / 4]),
        (
            "power",
            [0.05, 0.2, 0.5, 0.8, 0.95]
                .into_iter()
                .cycle()
                .take(n / 4)
                .map(Cone::Power)
                .collect(),
        ),
        (
            "generalized power",
            vec![Cone::GeneralizedPower(vec![0.2, 0.3, 0.5], 2); n / 6],
        ),
        (
            "mixture",
            vec![
                Cone::Zero(n / 10),
                Cone::Nonnegative(n / 4),
                Cone::SecondOrder(n / 5),
                Cone::PsdTriangle(4),
                Cone::Exponential,
                Cone::Power(0.3),
                Cone::GeneralizedPower(vec![0.6, 0.4], 3),
            ],
        ),
    ]
}

struct Seen {
    forward: f64,
    backward: f64,
    adjoint: f64,
    residual: f64,
}

fn check(generated: &Generated, settings: &Settings, seed: u64) -> Seen {
    let program = generated.program();
    let solution = solve(program, settings).unwrap();
    let derivative = Derivative::new(program, &solution, settings).unwrap();
    let (tangent, expected) = generated.known_jvp(seed);
    let jvp = derivative.jvp(&tangent).unwrap();
    let (cotangent, gradient) = generated.known_vjp(seed + 1);
    let vjp = derivative.vjp(&cotangent).unwrap();
    assert!(
        jvp.trusted && vjp.trusted,
        "{:?} {:?}",
        jvp.warnings,
        vjp.warnings
    );
    let (left, right) = (vjp.value.dot(&tangent), cotangent.dot(&jvp.value));
    let size = norm(&[left, right]).max(
        (vjp.value.dot(&vjp.value) * tangent.dot(&tangent))
            .sqrt()
            .min((cotangent.dot(&cotangent) * jvp.value.dot(&jvp.value)).sqrt()),
    );
    Seen {
        forward: solution_error(&jvp.value, &expected),
        backward: data_error(&vjp.value, &gradient),
        adjoint: (left - right).abs() / size,
        residual: jvp.evidence.residual.max(vjp.evidence.residual),
    }
}

#[test]
fn known_derivatives_of_every_cone_are_found_up_to_n_200() {
    for (condition, tolerance) in [(1e1, 1e-8), (1e3, 1e-8), (1e5, 1e-6)] {
        for n in [40, 200] {
            for (name, cones) in families(n) {
                let generated = Generator::new(n, cones)
                    .with_condition(condition)
                    .with_seed(n as u64)
                    .generate()
                    .unwrap();
                let seen = check(&generated, &Settings::default(), 5);
                println!(
                    "{name} n={n} condition {condition:.0e}: jvp {:.1e} vjp {:.1e} adjoint {:.1e} residual {:.1e}",
                    seen.forward, seen.backward, seen.adjoint, seen.residual
                );
                assert!(
                    seen.forward <= tolerance && seen.backward <= tolerance,
                    "{name}"
                );
                assert!(seen.adjoint <= 1e-11, "{name}: {:e}", seen.adjoint);
                assert!(seen.residual <= 1e-12, "{name}: {:e}", seen.residual);
            }
        }
    }
}

#[test]
fn ldl_lu_and_lsqr_agree_at_every_condition() {
    for condition in [1e1, 1e3, 1e5] {
        let mut worst = [0.0_f64; 2];
        for (name, cones) in families(30) {
            let generated = Generator::new(30, cones)
                .with_seed(3)
                .with_condition(condition)
                .generate()
                .unwrap();
            let program = generated.program();
            let solution = solve(program, &Settings::default()).unwrap();
            // Generic directions: their derivatives are of the size of J^-1, and the methods must agree in all of it.
            let tangent = DataTangent::random(program, 1);
            let cotangent = SolutionTangent::random(program, 2);
            let with = |solver: LinearSolver| {
                let settings = Settings::default().with_linear_solver(solver);
                let derivative = Derivative::new(program, &solution, &settings).unwrap();
                (
                    derivative.jvp(&tangent).unwrap(),
                    derivative.vjp(&cotangent).unwrap(),
                )
            };
            let (jvp, vjp) = with(LinearSolver::Ldl);
            for (k, (solver, method)) in [
                (LinearSolver::Lu, Method::Lu),
                (LinearSolver::Lsqr, Method::Lsqr),
            ]
            .into_iter()
            .enumerate()
            {
                let (j, v) = with(solver);
                assert_eq!(j.evidence.method, method);
                let error =
                    solution_error(&j.value, &jvp.value).max(data_error(&v.value, &vjp.value));
                worst[k] = worst[k].max(error);
                assert!(
                    error <= 1e-8,
                    "{name} at {condition:.0e} by {method:?}: {error:e}"
                );
                assert!(
                    j.evidence.residual <= 1e-12 && v.evidence.residual <= 1e-12,
                    "{name} at {condition:.0e} by {method:?}: {:?}",
                    j.evidence
                );
            }
        }
        println!(
            "condition {condition:.0e}: LDL' against LU {:.1e}, LSQR {:.1e}",
            worst[0], worst[1]
        );
    }
}

/// Dense columns of a sparse matrix.
fn dense(m: &SparseMatrix) -> Vec<Vec<f64>> {
    (0..m.cols())
        .map(|j| {
            let mut column = vec![0.0; m.rows()];
            for k in m.pattern().indptr()[j]..m.pattern().indptr()[j + 1] {
                column[m.pattern().indices()[k]] = m.values()[k];
            }
            column
        })
        .collect()
}

/// Solves the square system by Gaussian elimination with partial pivoting: the naive oracle.
fn gauss(columns: &[Vec<f64>], rhs: &[f64]) -> Vec<f64> {
    let n = rhs.len();
    let mut a: Vec<Vec<f64>> = (0..n)
        .map(|i| columns.iter().map(|c| c[i]).collect())
        .collect();
    let mut b = rhs.to_vec();
    for k in 0..n {
        let p = (k..n)
            .max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()))
            .unwrap();
        a.swap(k, p);
        b.swap(k, p);
        for i in k + 1..n {
            let f = a[i][k] / a[k][k];
            if f != 0.0 {
                let pivot = a[k].clone();
                for (x, p) in a[i].iter_mut().zip(&pivot).skip(k) {
                    *x -= f * p;
                }
                b[i] -= f * b[k];
            }
        }
    }
    for k in (0..n).rev() {
        for j in k + 1..n {
            b[k] -= a[k][j] * b[j];
        }
        b[k] /= a[k][k];
    }
    b
}

#[test]
fn the_embedding_gives_the_same_derivative_and_is_singular_along_its_solution() {
    for condition in [1e1, 1e3, 1e5] {
        let worst = families(24)
            .into_iter()
            .map(|(name, cones)| embedding_error(name, cones, condition))
            .fold(0.0, f64::max);
        println!("condition {condition:.0e}: embedding against reduced {worst:.1e}");
        assert!(worst <= 1e-8, "{worst:e}");
    }
}

fn embedding_error(name: &str, cones: Vec<Cone>, condition: f64) -> f64 {
    let generated = Generator::new(24, cones)
        .with_seed(4)
        .with_condition(condition)
        .generate()
        .unwrap();
    let program = generated.program();
    let (n, m) = (program.n(), program.m());
    let (x, v) = (generated.x(), generated.v());
    let point: Vec<f64> = [x, v, &[1.0]].concat();
    let at_point = embedding_residual(program, x, v, 1.0).unwrap();
    assert!(norm(&at_point) <= 1e-10, "{name}: {:e}", norm(&at_point));

    let solution = solve(program, &Settings::default()).unwrap();
    let derivative = Derivative::new(program, &solution, &Settings::default()).unwrap();
    let jacobian = dense(
        &derivative
            .residual_jacobian()
            .embedding_to_sparse(x)
            .unwrap(),
    );
    let null: Vec<f64> = (0..=n + m)
        .map(|i| (0..=n + m).map(|j| jacobian[j][i] * point[j]).sum())
        .collect();
    let u = Random::new(5).normal_vec(n + m + 1);
    for transpose in [false, true] {
        let mut by_operator = vec![0.0; n + m + 1];
        derivative
            .residual_jacobian()
            .embedding_apply(x, &u, &mut by_operator, transpose)
            .unwrap();
        let by_matrix: Vec<f64> = (0..=n + m)
            .map(|i| {
                let entry = |j: usize| {
                    if transpose {
                        jacobian[i][j]
                    } else {
                        jacobian[j][i]
                    }
                };
                (0..=n + m).map(|j| entry(j) * u[j]).sum()
            })
            .collect();
        assert!(relative(&by_operator, &by_matrix) <= 1e-13, "{name}");
    }
    assert!(
        norm(&null) <= 1e-10 * norm(&point),
        "{name}: {:e}",
        norm(&null)
    );

    // One direction: the embedding's own right-hand side, solved with the null vector pinned by an extra row.
    let t = DataTangent::random(program, 9);
    let mut dp = vec![0.0; n];
    let p = program.p().with_values("P", &t.p).unwrap();
    for j in 0..n {
        for k in p.pattern().indptr()[j]..p.pattern().indptr()[j + 1] {
            let i = p.pattern().indices()[k];
            dp[i] += p.values()[k] * x[j];
            if i != j {
                dp[j] += p.values()[k] * x[i];
            }
        }
    }
    let da = program.a().with_values("A", &t.a).unwrap();
    let mut rhs = vec![0.0; n + m + 1];
    for j in 0..n {
        rhs[j] = -(dp[j] + t.q[j]);
    }
    for i in 0..m {
        rhs[n + i] = -t.b[i];
    }
    for j in 0..n {
        for k in da.pattern().indptr()[j]..da.pattern().indptr()[j + 1] {
            let i = da.pattern().indices()[k];
            rhs[j] -= da.values()[k] * generated.z()[i];
            rhs[n + i] += da.values()[k] * x[j];
        }
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    rhs[n + m] = dot(&t.q, x) + dot(&t.b, generated.z()) + dot(x, &dp);
    // N + u u' is invertible where N has the null vector u on the right and its partner on the left.
    let left = gauss(
        &(0..=n + m)
            .map(|i| {
                let mut row: Vec<f64> = (0..=n + m).map(|j| jacobian[j][i]).collect();
                row[n + m] += 1.0;
                row
            })
            .collect::<Vec<_>>(),
        &{
            let mut e = vec![0.0; n + m + 1];
            e[n + m] = 1.0;
            e
        },
    );
    let bordered: Vec<Vec<f64>> = (0..=n + m)
        .map(|j| {
            (0..=n + m)
                .map(|i| jacobian[j][i] + left[i] * point[j] / norm(&point))
                .collect()
        })
        .collect();
    let du = gauss(&bordered, &rhs);
    let dtau = du[n + m];
    let dx: Vec<f64> = (0..n).map(|j| du[j] - x[j] * dtau).collect();
    let dv: Vec<f64> = (0..m).map(|i| du[n + i] - v[i] * dtau).collect();
    let mut dz = vec![0.0; m];
    derivative.projection().apply(&dv, &mut dz).unwrap();
    let jvp = derivative.jvp(&t).unwrap();
    relative(&dx, &jvp.value.x).max(relative(&dz, &jvp.value.z))
}

#[test]
fn the_reduced_system_agrees_with_gaussian_elimination_on_the_unreduced_one() {
    for (name, cones) in families(24) {
        let generated = Generator::new(24, cones).with_seed(6).generate().unwrap();
        let program = generated.program();
        let solution = solve(program, &Settings::default()).unwrap();
        let derivative = Derivative::new(program, &solution, &Settings::default()).unwrap();
        let jacobian = derivative.residual_jacobian();
        let columns = dense(&jacobian.to_sparse());
        let mut random = Random::new(1);
        // The sparse form is the operator.
        let u = random.normal_vec(jacobian.dim());
        let mut ju = vec![0.0; u.len()];
        jacobian.apply(&u, &mut ju).unwrap();
        let by_columns: Vec<f64> = (0..u.len())
            .map(|i| (0..u.len()).map(|j| columns[j][i] * u[j]).sum())
            .collect();
        assert!(relative(&ju, &by_columns) <= 1e-13, "{name}");
        let mut jtu = vec![0.0; u.len()];
        jacobian.apply_transpose(&u, &mut jtu).unwrap();
        let by_rows: Vec<f64> = columns
            .iter()
            .map(|c| c.iter().zip(&u).map(|(a, b)| a * b).sum())
            .collect();
        assert!(relative(&jtu, &by_rows) <= 1e-13, "{name}");

        let cotangent = SolutionTangent::random(program, 8);
        let (n, m) = (program.n(), program.m());
        let mut g = vec![0.0; n + m];
        let (mut dz, mut cs) = (vec![0.0; m], vec![0.0; m]);
        derivative
            .projection()
            .apply(&cotangent.z, &mut dz)
            .unwrap();
        derivative
            .projection()
            .apply_complement(&cotangent.s, &mut cs)
            .unwrap();
        for (g, x) in g.iter_mut().zip(&cotangent.x) {
            *g = -x;
        }
        for i in 0..m {
            g[n + i] = cs[i] - dz[i];
        }
        let rows: Vec<Vec<f64>> = (0..n + m)
            .map(|i| columns.iter().map(|c| c[i]).collect())
            .collect();
        let w = gauss(&rows, &g);
        let gradient = derivative.vjp(&cotangent).unwrap().value;
        assert!(relative(&gradient.q, &w[..n]) <= 1e-9, "{name}");
        assert!(relative(&gradient.b, &w[n..]) <= 1e-9, "{name}");
    }
}

#[test]
fn quadratic_programs_of_condition_1e5_are_right_and_say_so() {
    let mut worst = 0.0_f64;
    for seed in 0..10 {
        let generated = Generator::new(50, vec![Cone::Nonnegative(100)])
            .with_condition(1e5)
            .with_seed(seed)
            .generate()
            .unwrap();
        let seen = check(&generated, &Settings::default(), seed);
        worst = worst.max(seen.forward).max(seen.backward);
        assert!(seen.residual <= 1e-12, "{:e}", seen.residual);
        let report = gradcheck(
            generated.program(),
            &Settings::default(),
            &GradcheckSettings::default(),
        )
        .unwrap();
        assert!(report.passed(), "{report}");
    }
    println!("QP n=50 m=100 condition 1e5: worst {worst:.1e}");
    assert!(worst <= 1e-6);
}

/// theory.md 6.4: maximize x + l (log(1 - x) + log(1 + x)); at l = 1, x = sqrt 2 - 1 and dx/dl = -(1 - 1/sqrt 2).
#[test]
fn the_logarithmic_barrier_has_its_exact_solution_and_derivative() {
    let mut builder = ProgramBuilder::new(3);
    builder.linear(0, -1.0);
    builder.linear(1, -1.0);
    builder.linear(2, -1.0);
    // t1 <= log(1 - x), t2 <= log(1 + x)
    builder.exponential(
        &Affine::variable(1),
        &Affine::constant(1.0),
        &Affine::new(&[(0, -1.0)], 1.0),
    );
    builder.exponential(
        &Affine::variable(2),
        &Affine::constant(1.0),
        &Affine::new(&[(0, 1.0)], 1.0),
    );
    let program = builder.build().unwrap();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    let mut tangent = DataTangent::zeros(&program);
    tangent.q[1] = -1.0;
    tangent.q[2] = -1.0;
    let jvp = derivative.jvp(&tangent).unwrap();
    let (x, slope) = (solution.x[0], jvp.value.x[0]);
    println!("x = {x:.12}, dx/dl = {slope:.12}");
    assert!((x - 0.414_213_562_373_095).abs() <= 1e-9);
    assert!((slope + 0.292_893_218_813_452).abs() <= 1e-9);
    assert!(jvp.trusted);
}

#[test]
fn a_small_seed_gives_a_small_gradient_and_never_zero() {
    for (name, cones) in families(20) {
        let generated = Generator::new(20, cones).with_seed(2).generate().unwrap();
        let program = generated.program();
        for solver in [LinearSolver::Ldl, LinearSolver::Lu, LinearSolver::Lsqr] {
            let settings = Settings::default().with_linear_solver(solver);
            let solution = solve(program, &settings).unwrap();
            let derivative = Derivative::new(program, &solution, &settings).unwrap();
            let cotangent = SolutionTangent::random(program, 1);
            let gradient = derivative.vjp(&cotangent).unwrap().value;
            for scale in [1e-12, 1e-100, 1e100] {
                let times = |v: &[f64], s: f64| v.iter().map(|x| s * x).collect::<Vec<f64>>();
                let small = SolutionTangent {
                    x: times(&cotangent.x, scale),
                    z: times(&cotangent.z, scale),
                    s: times(&cotangent.s, scale),
                };
                let got = derivative.vjp(&small).unwrap().value;
                let back = DataTangent {
                    p: times(&got.p, 1.0 / scale),
                    q: times(&got.q, 1.0 / scale),
                    a: times(&got.a, 1.0 / scale),
                    b: times(&got.b, 1.0 / scale),
                };
                let error = data_error(&back, &gradient);
                assert!(
                    error <= 1e-10,
                    "{name} at {scale:e} by {solver:?}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn the_jacobian_is_made_of_its_columns_and_rows() {
    let generated = Generator::new(
        6,
        vec![Cone::Zero(1), Cone::SecondOrder(4), Cone::Exponential],
    )
    .generate()
    .unwrap();
    let program = generated.program();
    let solution = solve(program, &Settings::default()).unwrap();
    let derivative = Derivative::new(program, &solution, &Settings::default()).unwrap();
    let jacobian = derivative.jacobian().unwrap();
    assert!(jacobian.trusted);
    let (tangent, _) = generated.known_jvp(1);
    let d = [tangent.p.as_slice(), &tangent.q, &tangent.a, &tangent.b].concat();
    let j = &jacobian.value;
    let product: Vec<f64> = (0..j.rows)
        .map(|i| (0..j.cols).map(|k| j.data[k * j.rows + i] * d[k]).sum())
        .collect();
    let jvp = derivative.jvp(&tangent).unwrap().value;
    assert!(relative(&product, &[jvp.x, jvp.z, jvp.s].concat()) <= 1e-11);
}

#[test]
fn what_is_not_wanted_is_left_empty_and_the_rest_is_unchanged() {
    let generated = Generator::new(8, vec![Cone::Nonnegative(6)])
        .generate()
        .unwrap();
    let program = generated.program();
    let solution = solve(program, &Settings::default()).unwrap();
    let derivative = Derivative::new(program, &solution, &Settings::default()).unwrap();
    let cotangent = SolutionTangent::random(program, 1);
    let all = derivative.vjp(&cotangent).unwrap().value;
    let wanted = Wanted {
        p: false,
        q: true,
        a: false,
        b: false,
    };
    let some = derivative.vjp_wanted(&cotangent, wanted).unwrap().value;
    assert_eq!(some.q, all.q);
    assert!(some.p.is_empty() && some.a.is_empty() && some.b.is_empty());
}

#[test]
fn many_right_hand_sides_give_what_each_gives_alone() {
    let generated = Generator::new(12, vec![Cone::SecondOrder(6), Cone::Nonnegative(5)])
        .generate()
        .unwrap();
    let program = generated.program();
    let solution = solve(program, &Settings::default()).unwrap();
    let derivative = Derivative::new(program, &solution, &Settings::default()).unwrap();
    let seeds: Vec<SolutionTangent> = (0..4)
        .map(|k| SolutionTangent::random(program, k))
        .collect();
    let together = derivative.vjp_many(&seeds).unwrap();
    for (seed, many) in seeds.iter().zip(&together) {
        assert_eq!(derivative.vjp(seed).unwrap(), *many);
    }
    let tangents: Vec<DataTangent> = (0..4).map(|k| DataTangent::random(program, k)).collect();
    let together = derivative.jvp_many(&tangents).unwrap();
    for (tangent, many) in tangents.iter().zip(&together) {
        assert_eq!(derivative.jvp(tangent).unwrap(), *many);
    }
}

#[test]
fn the_optimal_values_gradient_is_its_difference_quotient() {
    for (name, cones) in families(20) {
        let generated = Generator::new(20, cones).with_seed(11).generate().unwrap();
        let report = gradcheck(
            generated.program(),
            &Settings::default(),
            &GradcheckSettings::default(),
        )
        .unwrap();
        assert!(report.passed(), "{name}\n{report}");
        assert!(report.objective_error <= 1e-6, "{name}\n{report}");
    }
}

/// A random program whose data are doubled: refinement takes the residual to rounding and says what it did.
#[test]
fn refinement_takes_the_residual_to_rounding_and_reports_it() {
    let mut worst = 0.0_f64;
    for (name, cones) in families(40) {
        let generated = Generator::new(40, cones).with_seed(1).generate().unwrap();
        let solution = solve(generated.program(), &Settings::default()).unwrap();
        let r = solution.refinement.unwrap();
        assert!(r.accepted && r.after <= 1e-13, "{name}: {r:?}");
        let v: Vec<f64> = solution
            .z
            .iter()
            .zip(&solution.s)
            .map(|(z, s)| z - s)
            .collect();
        let f = residual(generated.program(), &solution.x, &v).unwrap();
        worst = worst.max(norm(&f));
    }
    assert!(worst <= 1e-11, "{worst:e}");
}

#[test]
fn without_refinement_the_derivative_says_so() {
    let mut settings = Settings::default();
    settings.refine.enabled = false;
    let generated = Generator::new(10, vec![Cone::Nonnegative(8)])
        .generate()
        .unwrap();
    let solution = solve(generated.program(), &settings).unwrap();
    assert!(solution.refinement.is_none());
    let derivative = Derivative::new(generated.program(), &solution, &settings).unwrap();
    assert!(
        derivative
            .warnings()
            .iter()
            .any(|w| w.to_string().contains("not refined"))
    );
}

#[test]
fn a_weakly_active_row_is_reported_as_a_kink() {
    // minimize 1/2 x^2 subject to x <= 0: s = z = 0.
    let program = ConeProgram::from_csc(
        (&[0, 1], &[0], &[1.0]),
        vec![0.0],
        (&[0, 1], &[0], &[1.0]),
        vec![0.0],
        vec![Cone::Nonnegative(1)],
    )
    .unwrap();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    assert_eq!(derivative.kinks()[0].rows, vec![0]);
    assert_eq!(derivative.row_states(), [RowState::Ambiguous]);
    let gradient = derivative
        .vjp(&SolutionTangent::random(&program, 0))
        .unwrap();
    assert!(!gradient.trusted);
    let strict = settings.with_strict(true);
    let error = Derivative::new(&program, &solution, &strict).unwrap_err();
    assert!(error.to_string().contains("kink"), "{error}");
}

/// Hard points: margins down to 1e-9, conditions up to 1e12. A trusted derivative is right to 1e-5 of the exact one at the exact
/// solution; the others are flagged.
#[test]
fn whatever_is_trusted_is_right() {
    let settings = Settings::default();
    let (mut trusted, mut flagged, mut failed) = (0, 0, 0);
    let mut worst = 0.0_f64;
    for margin in [1e-1, 1e-3, 1e-5, 1e-7, 1e-9] {
        for condition in [1e1, 1e5, 1e9, 1e12] {
            for (name, cones) in families(20) {
                for seed in 0..3 {
                    let Ok(generated) = Generator::new(20, cones.clone())
                        .with_margin(margin)
                        .with_condition(condition)
                        .with_seed(seed)
                        .generate()
                    else {
                        continue;
                    };
                    let program = generated.program();
                    let Ok(solution) = solve(program, &settings) else {
                        failed += 1;
                        continue;
                    };
                    let derivative = Derivative::new(program, &solution, &settings).unwrap();
                    let (cotangent, gradient) = generated.known_vjp(seed);
                    let vjp = derivative.vjp(&cotangent).unwrap();
                    let (tangent, expected) = generated.known_jvp(seed);
                    let jvp = derivative.jvp(&tangent).unwrap();
                    let (mut error, mut forward) = (0.0, 0.0);
                    if vjp.trusted {
                        trusted += 1;
                        error = data_error(&vjp.value, &gradient);
                    } else {
                        flagged += 1;
                    }
                    if jvp.trusted {
                        trusted += 1;
                        forward = solution_error(&jvp.value, &expected);
                    } else {
                        flagged += 1;
                    }
                    let excess = (error / vjp.evidence.error).max(forward / jvp.evidence.error);
                    // Estimates may be a few times too small, never by orders of magnitude.
                    assert!(excess <= 10.0, "{name} {margin:e} {condition:e} {seed}");
                    if excess > 5.0 {
                        println!(
                            "{name} margin {margin:.0e} condition {condition:.0e} seed {seed}: vjp {error:.1e} ({:.1e}) jvp {forward:.1e} ({:.1e}) point {:.1e} cond {:.1e}",
                            vjp.evidence.error,
                            jvp.evidence.error,
                            derivative.point_error(),
                            derivative.condition()
                        );
                    }
                    worst = worst.max(error).max(forward);
                }
            }
        }
    }
    println!("{trusted} trusted, worst {worst:.1e}; {flagged} flagged; {failed} not solved");
    assert!(worst <= 1e-5, "{worst:e}");
    assert!(trusted > 200);
}

#[test]
fn rows_are_active_inactive_or_curved() {
    // minimize 1/2 |x|^2 - (2, 0, 0)'x subject to x0 <= 1, x1 <= 1, |(x0, x2 + 3)| <= 2
    let mut builder = ProgramBuilder::new(3);
    for j in 0..3 {
        builder.quadratic(j, j, 1.0);
    }
    builder.linear(0, -2.0);
    builder.bounds([0, 1], f64::NEG_INFINITY, 1.0);
    builder.norm(
        &[Affine::variable(0), Affine::new(&[(2, 1.0)], 3.0)],
        &Affine::constant(2.0),
    );
    let program = builder.build().unwrap();
    let settings = Settings::default();
    let solution = solve(&program, &settings).unwrap();
    let derivative = Derivative::new(&program, &solution, &settings).unwrap();
    assert!((solution.x[0] - 1.0).abs() < 1e-12, "{:?}", solution.x);
    assert_eq!(
        derivative.row_states(),
        [
            RowState::Active,
            RowState::Inactive,
            RowState::Curved,
            RowState::Curved,
            RowState::Curved
        ]
    );
}

/// A factorization serves the Jacobians near its own, is no good for one with other active rows and says so, and is refused for
/// another structure.
#[test]
fn a_factorization_is_refined_against_the_jacobian_it_is_given() {
    let make = |rows, seed| {
        let generated = Generator::new(8, vec![Cone::Nonnegative(rows), Cone::SecondOrder(4)])
            .with_seed(seed)
            .generate()
            .unwrap();
        let v = generated.v().to_vec();
        (generated.program().clone(), v)
    };
    let (program, v) = make(6, 1);
    let first = ResidualJacobian::new(&program, &v).unwrap();
    let prepared = Prepared::new(&first, LinearSettings::default()).unwrap();
    let mut work = prepared.workspace(&first);
    let (rhs, mut out) = (vec![1.0; 18], vec![0.0; 18]);

    let moved: Vec<f64> = v.iter().map(|v| v * (1.0 + 1e-4 * v)).collect();
    let near = ResidualJacobian::new(&program, &moved).unwrap();
    let evidence = prepared.solve(&near, &rhs, &mut out, &mut work).unwrap();
    assert!(evidence.converged, "{evidence:?}");
    let mut exact = vec![0.0; 18];
    let own = Prepared::new(&near, LinearSettings::default()).unwrap();
    own.solve(&near, &rhs, &mut exact, &mut own.workspace(&near))
        .unwrap();
    assert!(relative(&out, &exact) <= 1e-11);

    let flipped: Vec<f64> = v.iter().map(|v| -v).collect();
    let far = ResidualJacobian::new(&program, &flipped).unwrap();
    let evidence = prepared.solve(&far, &rhs, &mut out, &mut work).unwrap();
    assert!(!evidence.converged, "{evidence:?}");

    let (other, v) = make(5, 1);
    let other = ResidualJacobian::new(&other, &v).unwrap();
    let (rhs, mut out) = (vec![1.0; 17], vec![0.0; 17]);
    let error = prepared
        .solve(&other, &rhs, &mut out, &mut work)
        .unwrap_err();
    assert!(matches!(error, Error::PatternMismatch { .. }), "{error}");
}

/// Nearly and exactly infeasible programs never come back as solutions, however they are scaled.
#[test]
fn an_infeasible_program_is_never_rescued() {
    for scale in [1e-6, 1.0, 1e6, 1e12] {
        for gap in [1e-3, 1.0, 1e3] {
            // x <= 0 and x >= gap, x in the first row of a second-order cone with a free second entry.
            let mut builder = ProgramBuilder::new(2);
            builder.linear(1, scale);
            builder.inequality(&[(0, scale)], 0.0);
            builder.inequality(&[(0, -scale)], -gap * scale);
            builder.norm(&[Affine::variable(1)], &Affine::new(&[(0, scale)], 0.0));
            let program = builder.build().unwrap();
            let error = solve(&program, &Settings::default()).unwrap_err();
            // At 1e12 Clarabel sees the other infeasibility; what matters is that no solution is made up.
            let is_refusal = matches!(
                error,
                Error::PrimalInfeasible { .. }
                    | Error::DualInfeasible { .. }
                    | Error::NotSolved { .. }
            );
            assert!(is_refusal, "{scale:e} {gap:e}: {error}");
        }
    }
}
