"""The NumPy layer: derivatives against differences, shapes, batches, patterns, dtypes, policies."""

import copy
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from support import PRODUCTS, central, program, relative

import conediff
from conediff import Exponential, Nonnegative, PsdTriangle, SecondOrder, Zero, errors

#: Central differences of step 1e-6 of refined solutions: truncation and rounding are both near 1e-9.
DIFFERENCE = 1e-6
#: Two ways of the same arithmetic.
ALGEBRA = 1e-10


def parts(solution):
    return solution.x, solution.z, solution.s, solution.objective


@pytest.mark.parametrize("name", PRODUCTS)
def test_directional_derivatives_agree_with_central_differences(name):
    made = program(name)
    layer, rng = made.layer(), np.random.default_rng(1)
    directions = [rng.standard_normal(d.shape) for d in made.data]
    tangent = layer.solve(*made.data).jvp(*directions)
    assert tangent.trusted
    expected = central(lambda *d: parts(layer.solve(*d)), made.data, directions)
    for found, wanted in zip(parts(tangent), expected, strict=True):
        assert relative(found, wanted) < DIFFERENCE


@pytest.mark.parametrize("name", PRODUCTS)
def test_gradients_are_the_adjoint_of_directional_derivatives(name):
    made = program(name)
    solution, rng = made.layer().solve(*made.data), np.random.default_rng(2)
    directions = [rng.standard_normal(d.shape) for d in made.data]
    seeds = [rng.standard_normal(np.shape(part)) for part in parts(solution)]
    gradient, tangent = solution.vjp(*seeds), solution.jvp(*directions)
    left = sum(np.vdot(s, t) for s, t in zip(seeds, parts(tangent), strict=True))
    right = sum(np.vdot(g, d) for g, d in zip((gradient.P, gradient.q, gradient.A, gradient.b), directions, strict=True))
    assert relative(left, right) < ALGEBRA
    assert np.array_equal(gradient.P, gradient.P.T)


@pytest.mark.parametrize("name", ["orthant", "all"])
def test_the_jacobian_is_made_of_directional_derivatives_whichever_way_it_goes(name):
    made = program(name)
    solution = made.layer().solve(*made.data)
    whole = solution.jacobian()
    assert whole.trusted and whole.residual < 1e-10
    by_columns = solution.jacobian(wrt="q")
    assert relative(by_columns["z", "q"], whole["z", "q"]) < ALGEBRA
    rng = np.random.default_rng(3)
    directions = {k: rng.standard_normal(d.shape) for k, d in zip("PqAb", made.data, strict=True)}
    tangent = solution.jvp(**directions)
    for name, expected in zip("xzs", (tangent.x, tangent.z, tangent.s), strict=True):
        found = sum(whole[name, k] @ d.ravel() for k, d in directions.items())
        assert relative(found, expected) < ALGEBRA


def test_the_gradient_of_the_optimal_value_needs_no_linear_solve():
    made = program("all")
    layer, rng = made.layer(), np.random.default_rng(4)
    solution = layer.solve(*made.data)
    gradient = solution.objective_gradient()
    directions = [rng.standard_normal(d.shape) for d in made.data]
    (expected,) = central(lambda *d: [layer.solve(*d).objective], made.data, directions)
    found = sum(np.vdot(g, d) for g, d in zip((gradient.P, gradient.q, gradient.A, gradient.b), directions, strict=True))
    assert relative(found, expected) < DIFFERENCE
    assert np.allclose(gradient.q, solution.x) and np.allclose(gradient.b, -solution.z)


def test_the_gradient_of_the_optimal_value_is_trusted_at_a_kink():
    # minimize 1/2 x^2 subject to x >= 0: weakly active.
    solution = conediff.solve(np.eye(1), [0.0], -np.eye(1), [0.0], [Nonnegative(1)])
    assert not solution.vjp(dx=[1.0]).trusted
    assert "kink" in " ".join(solution.vjp(dx=[1.0]).warnings)
    assert solution.objective_gradient().trusted
    report = solution.regularity()
    assert report.certified and not report.strict_complementarity and "kink" in str(report)


# Batches and broadcasting


def test_batches_broadcast_and_equal_the_loop():
    made = program("orthant")
    layer, rng = made.layer(threads=2), np.random.default_rng(5)
    q = made.q + 0.1 * rng.standard_normal((4, 1, 8))
    b = made.b + 0.1 * rng.standard_normal((3, 6))
    solution = layer.solve(made.P, q, made.A, b)
    assert solution.shape == (4, 3) and solution.z.shape == (4, 3, 6) and solution.objective.shape == (4, 3)
    seed = rng.standard_normal((4, 3, 8))
    gradient = solution.vjp(dx=seed)
    assert (gradient.P.shape, gradient.q.shape) == ((8, 8), (4, 1, 8))
    assert (gradient.A.shape, gradient.b.shape, gradient.trusted.shape) == ((6, 8), (3, 6), (4, 3))
    total = {"P": 0.0, "A": 0.0, "q": np.zeros((4, 1, 8)), "b": np.zeros((3, 6))}
    for i in range(4):
        for j in range(3):
            alone = layer.solve(made.P, q[i, 0], made.A, b[j])
            assert relative(solution.x[i, j], alone.x) < ALGEBRA
            own = alone.vjp(dx=seed[i, j])
            total["P"] = total["P"] + own.P
            total["A"] = total["A"] + own.A
            total["q"][i, 0] += own.q
            total["b"][j] += own.b
    for name, expected in total.items():
        assert relative(getattr(gradient, name), expected) < ALGEBRA


def test_many_cotangents_and_directions_of_one_batch_come_first():
    made = program("all")
    layer, rng = made.layer(), np.random.default_rng(6)
    q = made.q + 0.01 * rng.standard_normal((2, 22))
    solution = layer.solve(made.P, q, made.A, made.b)
    seeds = rng.standard_normal((7, 2, 22))
    gradient = solution.vjp(dx=seeds)
    assert gradient.q.shape == (7, 2, 22) and gradient.A.shape == (7, *made.A.shape)
    one = solution.vjp(dx=seeds[3])
    assert relative(gradient.A[3], one.A) < ALGEBRA and gradient.trusted.shape == (7, 2)
    tangent = solution.jvp(q=rng.standard_normal((7, 1, 22)), b=rng.standard_normal(made.b.shape))
    assert tangent.x.shape == (7, 2, 22) and tangent.objective.shape == (7, 2)


def test_an_empty_batch_has_empty_answers():
    made = program("orthant")
    solution = made.layer().solve(made.P, np.zeros((0, 8)), made.A, made.b)
    assert solution.x.shape == (0, 8) and solution.status.shape == (0,)
    assert solution.vjp(dx=np.zeros((0, 8))).q.shape == (0, 8)
    assert np.array_equal(solution.vjp(dx=np.zeros((0, 8))).P, np.zeros((8, 8)))


def test_a_solution_outlives_the_next_forward_and_serves_many_threads():
    made = program("all")
    layer = made.layer()
    solution = layer.solve(*made.data)
    expected = solution.vjp(dx=np.ones(made.q.shape)).q
    found = []

    def work(seed):
        q = made.q + 0.1 * np.random.default_rng(seed).standard_normal(22)
        own = layer.solve(made.P, q, made.A, made.b)
        found.append(
            np.array_equal(solution.vjp(dx=np.ones(made.q.shape)).q, expected) and own.vjp(dx=np.ones(made.q.shape)).trusted
        )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_the_interpreter_goes_on_while_a_program_is_solved():
    rng = np.random.default_rng(12)
    n = 120
    M = rng.standard_normal((n, n))
    layer = conediff.ConicLayer(M @ M.T + np.eye(n), np.eye(n), [Nonnegative(n)], b=np.ones(n))
    q = rng.standard_normal((64, n))
    thread = threading.Thread(target=layer.solve, kwargs={"q": q})
    thread.start()
    count = 0
    while thread.is_alive():
        count += 1
    assert count > 1000


def _in_child(layer, solution, queue):
    again = layer.solve(q=-np.ones((4, 2)))
    queue.put((again.x.sum(), solution.vjp(dx=np.ones((4, 2))).q.sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_layers_and_solutions_with_threads_work_after_a_fork():
    layer = conediff.ConicLayer(np.eye(2), np.eye(2), [Nonnegative(2)], b=[0.5, 2.0], threads=2)
    solution = layer.solve(q=-np.ones((4, 2)))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(layer, solution, queue))
    child.start()
    x, q = queue.get(timeout=60)
    child.join(timeout=60)
    assert x == pytest.approx(6.0) and q == pytest.approx(-4.0)


# Matrices


def test_sparse_layers_agree_with_dense_ones_in_every_format():
    made = program("orthant")
    P, A = made.P.copy(), made.A.copy()
    A[np.abs(A) < 0.5] = 0.0
    dense = conediff.solve(P, made.q, A, made.b, made.cones)
    expected = dense.vjp(dx=np.ones(made.q.shape))
    for make in (sp.csc_array, sp.csr_array, sp.coo_array, sp.csr_matrix, sp.csc_matrix):
        layer = conediff.ConicLayer(make(P), make(A), made.cones)
        solution = layer.solve(q=made.q, b=made.b)
        assert relative(solution.x, dense.x) < ALGEBRA
        gradient = solution.vjp(dx=np.ones(made.q.shape))
        assert sp.issparse(gradient.A) and isinstance(gradient.A, sp.sparray) == isinstance(make(A), sp.sparray)
        assert relative(gradient.A.toarray(), expected.A * (A != 0.0)) < ALGEBRA
        assert relative(gradient.P.toarray(), expected.P) < ALGEBRA
        # Values on the pattern, batched.
        values = np.stack([layer.A.data, 1.01 * layer.A.data])
        batch = layer.solve(q=made.q, A=values, b=made.b)
        assert batch.vjp(dx=np.ones((2, 8))).A.shape == values.shape
        assert relative(batch.x[0], dense.x) < ALGEBRA
        # Matrices on the pattern, one or many.
        again = layer.solve(q=made.q, A=make(1.01 * A), b=made.b)
        assert relative(again.x, batch.x[1]) < ALGEBRA
        both = layer.solve(q=made.q, A=[make(A), make(1.01 * A)], b=made.b)
        assert relative(both.x, batch.x) < ALGEBRA


def test_unsorted_and_duplicate_entries_are_sorted_and_summed():
    A = sp.coo_array(([1.0, 0.5, 2.0, 0.5], ([1, 0, 0, 0], [0, 1, 0, 1])), shape=(2, 2))
    layer = conediff.ConicLayer(sp.eye_array(2), A, [Nonnegative(2)])
    assert np.array_equal(layer.A.toarray(), [[2.0, 1.0], [1.0, 0.0]])
    solution = layer.solve(q=[-1.0, -1.0], b=[1.0, 1.0])
    dense = conediff.solve(np.eye(2), [-1.0, -1.0], layer.A.toarray(), [1.0, 1.0], [Nonnegative(2)])
    assert relative(solution.x, dense.x) < ALGEBRA


def test_the_upper_triangle_alone_gives_the_same_solution_and_stored_gradients():
    made = program("orthant")
    upper = sp.csc_array(np.triu(made.P))
    layer = conediff.ConicLayer(upper, made.A, made.cones, upper=True)
    solution = layer.solve(q=made.q, b=made.b)
    full = conediff.solve(made.P, made.q, made.A, made.b, made.cones)
    assert relative(solution.x, full.x) < ALGEBRA
    found, expected = solution.vjp(dx=np.ones(made.q.shape)).P.toarray(), full.vjp(dx=np.ones(made.q.shape)).P
    # An entry off the diagonal stands for both copies.
    assert relative(found, np.triu(expected) + np.triu(expected, 1)) < ALGEBRA
    with pytest.raises(errors.NotSymmetricError):
        conediff.ConicLayer(made.P, made.A, made.cones, upper=True)


def test_a_triangle_given_for_the_whole_is_refused():
    made = program("orthant")
    for P in (np.triu(made.P), sp.csc_array(np.triu(made.P)), np.tril(made.P)):
        with pytest.raises(errors.NotSymmetricError) as caught:
            conediff.solve(P, made.q, made.A, made.b, made.cones)
        assert caught.value.row != caught.value.column
    # Rounding in float32 is no asymmetry, and only the symmetric part counts.
    noise = 1e-7 * np.random.default_rng(0).standard_normal((8, 8))
    rough = conediff.solve(made.P + noise, made.q, made.A, made.b, made.cones)
    half = conediff.solve(made.P + (noise + noise.T) / 2, made.q, made.A, made.b, made.cones)
    assert relative(rough.x, half.x) < ALGEBRA


def test_patterns_without_values_need_values_at_each_call():
    made = program("orthant")
    layer = made.layer()
    with pytest.raises(errors.InputError, match="P has no value"):
        layer.solve(q=made.q, A=made.A, b=made.b)
    layer = conediff.ConicLayer(made.P, made.A, made.cones, q=made.q, b=made.b)
    assert relative(layer.solve().x, made.layer().solve(*made.data).x) < ALGEBRA


def test_missing_matrices_are_no_matrices():
    # minimize x subject to x >= b
    solution = conediff.solve(None, [1.0], -np.eye(1), [-2.0], [Nonnegative(1)])
    assert solution.x == pytest.approx(2.0) and solution.vjp(dx=[1.0]).b == pytest.approx(-1.0)
    # minimize 1/2 x'x - q'x
    free = conediff.ConicLayer(np.eye(2), None, []).solve(q=[-1.0, 2.0])
    assert free.x == pytest.approx([1.0, -2.0]) and free.z.shape == (0,)
    assert free.vjp(dx=[1.0, 0.0]).q == pytest.approx([-1.0, 0.0])
    with pytest.raises(errors.InputError):
        conediff.ConicLayer(None, None, [])


# dtypes


def test_float32_comes_back_as_float32_and_is_float64_inside():
    made = program("orthant")
    layer = made.layer()
    single = [d.astype(np.float32) for d in made.data]
    solution = layer.solve(*single)
    assert {part.dtype for part in parts(solution)} == {np.dtype(np.float32)}
    gradient = solution.vjp(dx=np.ones(8, dtype=np.float32))
    assert {g.dtype for g in (gradient.P, gradient.q, gradient.A, gradient.b)} == {np.dtype(np.float32)}
    double = layer.solve(*(d.astype(np.float64) for d in single))
    assert np.array_equal(solution.x, double.x.astype(np.float32))
    mixed = layer.solve(single[0], made.q, *single[2:])
    assert mixed.x.dtype == np.float64
    assert solution.jvp(q=np.ones(made.q.shape)).x.dtype == np.float32
    assert solution.jacobian("x", "q")["x", "q"].dtype == np.float32


def test_unusual_arrays_are_read_right():
    made = program("orthant")
    layer = made.layer()
    expected = layer.solve(*made.data).x
    P, q, A, b = made.data
    read_only = q.copy()
    read_only.setflags(write=False)
    for variant in (
        (np.asfortranarray(P), q[::-1][::-1], np.asfortranarray(A), list(b)),
        (P, read_only, np.repeat(A, 2, axis=1)[:, ::2], b.astype(">f8")),
        (P, q, A.T.copy().T, np.stack([b, b], axis=1)[:, 0]),
    ):
        assert np.array_equal(layer.solve(*variant).x, expected)
    assert layer.solve(P, np.zeros(8, dtype=np.int32), A, b).x.dtype == np.float64
    with pytest.raises(errors.InputError, match="complex"):
        layer.solve(P, q.astype(complex), A, b)
    with pytest.raises((errors.InputError, ValueError)):
        layer.solve(P, ["a"] * 8, A, b)


# Failures


def infeasible_second():
    """minimize x subject to b2 <= x <= b1 for two items, the second without a point."""
    layer = dict(P=np.eye(1), A=np.array([[1.0], [-1.0]]), cones=[Nonnegative(2)], q=[1.0])
    return layer, np.array([[1.0, 0.5], [1.0, -2.0], [2.0, 0.25]])


def test_a_failed_item_is_raised_with_its_place_and_the_others_are_kept():
    keywords, b = infeasible_second()
    with pytest.raises(errors.PrimalInfeasibleError) as caught:
        conediff.ConicLayer(**keywords).solve(b=b)
    error = caught.value
    assert error.item == 1 and error.value < 0 and error.certificate.shape == (2,)
    assert error.solution.status.tolist() == ["solved", "primal infeasible", "solved"]
    assert error.solution.x[2] == pytest.approx(-0.25)


@pytest.mark.parametrize(("policy", "value"), [("nan", np.nan), ("zero", 0.0)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failed_item_spoils_only_itself(policy, value, threads):
    keywords, b = infeasible_second()
    layer = conediff.ConicLayer(**keywords, on_error=policy, threads=threads)
    solution = layer.solve(b=b)
    assert isinstance(solution.errors[1], errors.PrimalInfeasibleError) and solution.errors[0] is None
    assert np.array_equal(solution.x[1], [value], equal_nan=True)
    gradient = solution.vjp(dx=np.ones((3, 1)))
    assert np.array_equal(gradient.b[1], [value, value], equal_nan=True)
    assert gradient.trusted.tolist() == [True, False, True]
    assert gradient.b[[0, 2]] == pytest.approx(np.array([[0.0, -1.0], [0.0, -1.0]]))
    tangent = solution.jvp(b=np.ones((3, 2)))
    assert np.array_equal(tangent.x[1], [value], equal_nan=True) and tangent.x[0] == pytest.approx(-1.0)
    assert gradient.evidence[1] is None and "infeasible" in gradient.warnings[1][0]
    assert np.array_equal(solution.jacobian("x", "b")["x", "b"][1], [[value, value]], equal_nan=True)


def test_wrong_data_are_specific_errors_with_their_numbers():
    made = program("orthant")
    layer = made.layer()
    P, q, A, b = made.data

    def fails(kind, *data, **attributes):
        with pytest.raises(kind) as caught:
            layer.solve(*data)
        for name, value in attributes.items():
            assert getattr(caught.value, name) == value, name
        assert isinstance(caught.value, conediff.Error)

    fails(errors.DimensionError, P, q[:4], A, b, found=(4,))
    fails(errors.DimensionError, P[:4, :4], q, A, b, found=(4, 4))
    fails(errors.DimensionError, P, np.zeros((2, 8)), A, np.zeros((3, 6)))
    fails(errors.NonFiniteError, P, np.where(np.arange(8) == 3, np.nan, q), A, b, what="q", index=3)
    fails(errors.NonFiniteError, P, q, np.full_like(A, np.inf), b, what="A", index=0)
    fails(errors.NotConvexError, -P, q, A, b, index=0)
    fails(errors.BoundError, P, q, A, np.where(np.arange(6) == 4, -np.inf, b), row=4)
    solution = layer.solve(*made.data)
    with pytest.raises(errors.DimensionError):
        solution.vjp(dx=np.ones(4))
    with pytest.raises(errors.NonFiniteError):
        solution.vjp(dx=np.full(8, np.nan))
    with pytest.raises(errors.DimensionError):
        solution.regularity(item=3)


@pytest.mark.parametrize(
    ("cones", "kind"),
    [
        ([Nonnegative(5)], errors.ConeError),
        ([Nonnegative(-6)], errors.ConeError),
        ([Nonnegative(2.5)], errors.ConeError),
        ([conediff.Power(1.0), Nonnegative(3)], errors.ConeError),
        ([conediff.GeneralizedPower((0.5, 0.4), 1), Nonnegative(3)], errors.ConeError),
        ([("nonnegative", 6)], errors.ConeError),
    ],
)
def test_wrong_cones_are_refused(cones, kind):
    with pytest.raises(kind):
        conediff.ConicLayer(np.eye(5), np.ones((6, 5)), cones)


@pytest.mark.parametrize(
    "settings",
    [
        {"tolerance": -1.0},
        {"tolerance": "small"},
        {"linear_solver": "qr"},
        {"policy": "tikhonov"},
        {"policy": ("tikhonov", -1.0)},
        {"selection": ("active", 3)},
        {"max_iterations": 0},
        {"on_error": "ignore"},
        {"threads": -1},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(errors.SettingError) as caught:
        conediff.ConicLayer(np.eye(1), np.eye(1), [Nonnegative(1)], **settings)
    assert caught.value.name is not None


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="unknown setting 'tolerence'"):
        conediff.ConicLayer(np.eye(1), np.eye(1), [Nonnegative(1)], tolerence=1e-6)


def test_every_setting_is_read():
    layer = conediff.ConicLayer(
        np.eye(1),
        np.eye(1),
        [Nonnegative(1)],
        tolerance=1e-7,
        max_iterations=50,
        time_limit=10.0,
        refine=True,
        refine_tolerance=1e-10,
        refine_max_steps=20,
        linear_solver="lu",
        linear_backend="dense",
        linear_tolerance=1e-11,
        max_refinement=10,
        lsqr_max_iterations=100,
        ambiguity=1e-8,
        accuracy=1e-5,
        selection=("random", 3),
        policy=("smoothing", 1e-3),
        strict=False,
        max_dense_bytes=1000,
        forward_solver="clarabel",
        clarabel_solver="qdldl",
        cheap_tolerance=1e-5,
        warm_start=True,
        threads=2,
    )
    solution = layer.solve(q=[-1.0], b=[0.5])
    assert solution.vjp(dx=[1.0]).evidence["method"] == "lu"
    layer.solve(q=[-1.0], b=[0.51])
    assert layer.counts["warm"] == 1
    with pytest.raises(errors.TooLargeError) as caught:
        layer.solve(q=[-1.0], b=np.full((100, 1), 0.5)).jacobian()
    assert caught.value.bytes > caught.value.limit == 1000


def test_strict_makes_a_kink_an_error():
    with pytest.raises(errors.NotTrustedError, match="kink"):
        conediff.solve(np.eye(1), [0.0], -np.eye(1), [0.0], [Nonnegative(1)], strict=True)


def test_limits_are_reported_with_the_last_point():
    made = program("exponential")
    with pytest.raises(errors.NotSolvedError) as caught:
        conediff.solve(*made.data, made.cones, max_iterations=1)
    assert caught.value.iterations == 1 and caught.value.x.shape == (8,)
    assert caught.value.status == "iteration limit reached"


def test_unbounded_programs_carry_their_direction():
    with pytest.raises(errors.DualInfeasibleError) as caught:
        conediff.solve(None, [1.0], np.eye(1), [1.0], [Nonnegative(1)])
    assert caught.value.certificate[0] < 0


# The failures users report of other layers


def test_small_cotangents_give_small_gradients_not_zero():
    made = program("all")
    solution = made.layer().solve(*made.data)
    seed = np.ones(made.q.shape)
    large = solution.vjp(dx=seed)
    for scale in (1e-12, 1e-30, 1e-200):
        small = solution.vjp(dx=scale * seed)
        assert small.trusted and relative(small.A / scale, large.A) < ALGEBRA


def test_the_softmax_layer_has_the_softmax_jacobian():
    # maximize theta'x + entropy(x) on the simplex: t_i <= -x_i log x_i, or (t_i, x_i, 1) in the exponential cone.
    k = 4
    A = np.zeros((1 + 3 * k, 2 * k))
    A[0, :k] = 1.0
    b = np.zeros(1 + 3 * k)
    b[0] = 1.0
    for i in range(k):
        A[1 + 3 * i, k + i], A[2 + 3 * i, i], b[3 + 3 * i] = -1.0, -1.0, 1.0
    layer = conediff.ConicLayer(None, A, [Zero(1), *[Exponential()] * k], b=b)
    theta = np.array([0.3, -1.0, 2.0, 0.5])
    solution = layer.solve(q=np.concatenate([-theta, -np.ones(k)]))
    x = np.exp(theta) / np.exp(theta).sum()
    assert relative(solution.x[:k], x) < 1e-9
    jacobian = solution.jacobian("x", "q")
    assert jacobian.trusted
    assert relative(-jacobian["x", "q"][:k, :k], np.diag(x) - np.outer(x, x)) < 1e-9


def test_the_log_barrier_has_its_exact_derivative():
    # maximize x + l (log(1 - x) + log(1 + x)): (u, 1, 1 - x) and (w, 1, 1 + x) in the exponential cone.
    A = np.zeros((6, 3))
    b = np.zeros(6)
    A[0, 1], b[1], A[2, 0], b[2] = -1.0, 1.0, 1.0, 1.0
    A[3, 2], b[4], A[5, 0], b[5] = -1.0, 1.0, -1.0, 1.0
    layer = conediff.ConicLayer(None, A, [Exponential(), Exponential()], b=b)
    solution = layer.solve(q=[-1.0, -1.0, -1.0])
    assert solution.x[0] == pytest.approx(0.41421356237, abs=1e-10)
    tangent = solution.jvp(q=[0.0, -1.0, -1.0])
    assert tangent.trusted and tangent.x[0] == pytest.approx(-0.29289321881, abs=1e-10)


def test_an_l1_constrained_program_passes_its_gradient_check():
    # minimize 1/2 |Mx - y|^2 subject to |x|_1 <= r, with t >= |x|.
    rng = np.random.default_rng(8)
    M, y, n = rng.standard_normal((8, 5)), rng.standard_normal(8), 5
    P = np.zeros((2 * n, 2 * n))
    P[:n, :n] = M.T @ M
    eye = np.eye(n)
    A = np.block([[eye, -eye], [-eye, -eye], [np.zeros((1, n)), np.ones((1, n))]])
    layer = conediff.ConicLayer(P, A, [Nonnegative(2 * n + 1)])

    def solve(y, r):
        q = np.concatenate([-M.T @ y, np.zeros(n)])
        return layer.solve(q=q, b=np.concatenate([np.zeros(2 * n), r]))

    solution = solve(y, np.array([0.7]))
    d = rng.standard_normal(8)
    tangent = solution.jvp(q=np.concatenate([-M.T @ d, np.zeros(n)]), b=np.eye(2 * n + 1)[-1])
    # x is differentiable though t, at which rows repeat each other where x = 0, may not be.
    (expected,) = central(lambda y, r: [solve(y, r).x[:n]], [y, np.array([0.7])], [d, np.array([1.0])])
    assert relative(tangent.x[:n], expected) < DIFFERENCE


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e6])
def test_ill_conditioned_quadratic_programs_have_right_gradients(condition):
    rng = np.random.default_rng(9)
    U, _ = np.linalg.qr(rng.standard_normal((10, 10)))
    P = U @ np.diag(np.geomspace(1.0, condition, 10)) @ U.T
    P = (P + P.T) / 2
    A = rng.standard_normal((3, 10))
    solution = conediff.solve(P, rng.standard_normal(10), A, np.zeros(3), [Zero(3)])
    gradient = solution.vjp(dx=np.ones(10))
    kkt = np.block([[P, A.T], [A, np.zeros((3, 3))]])
    w = np.linalg.solve(kkt, np.concatenate([-np.ones(10), np.zeros(3)]))
    assert gradient.trusted and relative(gradient.q, w[:10]) < 1e-9


def test_a_duplicated_constraint_leaves_the_derivatives_that_are_there():
    A = np.array([[1.0, 1.0], [1.0, 1.0]])
    solution = conediff.solve(np.eye(2), [-1.0, -2.0], A, [1.0, 1.0], [Zero(2)])
    # x is differentiable in P and q; in A and b only where the rows stay the same.
    assert solution.vjp(dx=[1.0, 0.0], wanted="Pq").trusted
    gradient = solution.vjp(dx=[1.0, 0.0])
    assert not gradient.trusted and "singular" in " ".join(gradient.warnings)
    # A tangent has a part in z, which is not unique.
    tangent = solution.jvp(q=[1.0, 0.0])
    assert not tangent.trusted and tangent.x == pytest.approx([-0.5, 0.5])
    assert not solution.vjp(dz=[1.0, 0.0], wanted="q").trusted
    report = solution.regularity()
    assert not report.certified and report.dual == "not_unique" and report.primal == "unique"
    assert report.condition == gradient.evidence["condition"] == solution.info()["condition"] == np.inf


def test_a_bound_with_room_leaves_the_derivatives_of_all_else():
    # minimize 1/2 |x - c|^2 subject to |x| <= t, t <= 9.
    A = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    P = np.diag([1.0, 1.0, 0.0])
    solution = conediff.solve(P, [-1.0, -2.0, 0.0], A, [0.0, 0.0, 0.0, 9.0], [SecondOrder(3), Nonnegative(1)])
    gradient = solution.vjp(dx=[1.0, 1.0, 0.0], wanted="b")
    assert gradient.trusted and gradient.error < 1e-9
    assert not solution.vjp(dx=[1.0, 1.0, 0.0], wanted="q").trusted
    assert not solution.vjp(dx=[0.0, 0.0, 1.0], wanted="b").trusted


# Rows and reports


def test_rows_without_a_bound_are_no_constraints():
    solution = conediff.solve(np.eye(1), [-1.0], np.ones((2, 1)), [np.inf, 0.5], [Nonnegative(2)])
    assert solution.x == pytest.approx(0.5) and solution.z[0] == 0.0
    assert solution.vjp(dx=[1.0]).b == pytest.approx([0.0, 1.0])


def test_what_is_known_about_a_point_can_be_read():
    made = program("all")
    batch = made.layer().solve(made.P, np.stack([made.q] * 2), made.A, made.b)
    info = batch.info(1)
    assert info["trusted"] and info["status"] == "solved" and len(info["rows"]) == len(made.b)
    assert batch.regularity(item=1).certified and batch.regularity(within=1e-9, item=0).radius == 1e-9
    gradient = batch.vjp(dx=np.ones((2, 22)))
    assert gradient.meaning == ["the derivative"] * 2 and gradient.warnings == [[], []]
    assert (gradient.residual < 1e-12).all() and (gradient.error < 2e-6).all() and (gradient.condition > 1).all()
    assert "trusted" in repr(gradient) and "2 solved" in repr(batch)


def test_only_wanted_parts_are_formed():
    made = program("orthant")
    gradient = made.layer().solve(*made.data).vjp(dx=np.ones(made.q.shape), wanted="qb")
    assert gradient.P is None and gradient.A is None and gradient.q.shape == (8,) and gradient.b.shape == (6,)


def test_layers_can_be_copied_and_pickled():
    made = program("second-order")
    layer = conediff.ConicLayer(sp.csc_array(made.P), made.A, made.cones, q=made.q, b=made.b, strict=True)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert relative(other.solve().x, layer.solve().x) < ALGEBRA


def test_svec_is_an_isometry_in_the_order_of_the_psd_cone():
    rng = np.random.default_rng(10)
    X, Y = (M + np.swapaxes(M, -1, -2) for M in rng.standard_normal((2, 3, 4, 4)))
    assert np.einsum("bi,bi->b", conediff.svec(X), conediff.svec(Y)) == pytest.approx(np.einsum("bij,bij->b", X, Y))
    assert conediff.smat(conediff.svec(X)) == pytest.approx(X)
    assert conediff.svec(np.arange(9.0).reshape(3, 3))[[0, 1, 2]] == pytest.approx([0.0, 2**0.5, 4.0])
    with pytest.raises(errors.DimensionError):
        conediff.smat(np.zeros(5))
    # The nearest positive semidefinite matrix.
    C = np.diag([1.0, -2.0, 3.0])
    solution = conediff.solve(np.eye(6), -conediff.svec(C), -np.eye(6), np.zeros(6), [PsdTriangle(3)])
    assert conediff.smat(solution.x) == pytest.approx(np.diag([1.0, 0.0, 3.0]), abs=1e-9)


def test_equal_settings_give_equal_bits_on_any_number_of_threads():
    made = program("second-order")
    fixed = dict(forward_solver="clarabel", clarabel_solver="qdldl", linear_backend="dense")
    q = made.q + 0.1 * np.random.default_rng(11).standard_normal((9, 9))
    found = []
    for threads in (1, 2, 3):
        solution = made.layer(threads=threads, **fixed).solve(made.P, q, made.A, made.b)
        found.append((solution.x, solution.vjp(dx=np.ones((9, 9))).A))
    for x, gradient in found[1:]:
        assert np.array_equal(x, found[0][0]) and np.array_equal(gradient, found[0][1])


def test_cones_of_no_rows_take_no_row():
    solution = conediff.solve(np.eye(1), [-1.0], np.eye(1), [0.5], [Zero(0), SecondOrder(0), PsdTriangle(0), Nonnegative(1)])
    assert solution.x == pytest.approx(0.5)
