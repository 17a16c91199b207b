"""The JAX layer: every transformation against the NumPy layer, central differences and closed forms."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from support import PRODUCTS, program, relative

import conediff
from conediff import Exponential, Nonnegative, Zero, errors

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import conediff.jax  # noqa: E402

# Linear algebra at one point, and derivatives at the points of two solves of the same data.
ALGEBRA = 1e-10
REFINED = 1e-7
SINGLE = 1e-5


@pytest.fixture(autouse=True)
def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def layer_and_data(name, **settings):
    made = program(name)
    shapes = np.ones(made.P.shape, dtype=bool), np.ones(made.A.shape, dtype=bool)
    return conediff.jax.ConicLayer(*shapes, made.cones, **settings), [jnp.asarray(d) for d in made.data]


def batch(name, size, seed=0):
    """Data of items near a program's."""
    rng = np.random.default_rng(seed)
    P, q, A, b = program(name).data
    q, b = (v + 0.02 * rng.standard_normal((size, v.size)) for v in (q, b))
    A = A + 0.02 * rng.standard_normal((size, *A.shape))
    P = P * rng.uniform(0.9, 1.1, (size, 1, 1))
    return [jnp.asarray(d) for d in (P, q, A, b)]


def weights(layer):
    """One number for each entry of a solution."""
    rng = np.random.default_rng(7)
    n, m = layer.layer.n, layer.layer.m
    return conediff.jax.Solution(*(jnp.asarray(rng.standard_normal(k)) for k in (n, m, m)), jnp.asarray(0.7))


def loss(layer, *data):
    """A weighted sum of all of a solution, over a batch if it is one."""
    return sum((value * weight).sum() for value, weight in zip(layer(*data), weights(layer), strict=True))


def expected_gradient(layer, *data):
    """The NumPy layer's gradient of the loss."""
    solution = layer.layer.solve(*map(np.asarray, data))
    x, z, s, objective = (np.broadcast_to(w, solution.shape + w.shape) for w in weights(layer))
    found = solution.vjp(x, z, s, objective)
    return found.P, found.q, found.A, found.b


def assert_close(actual, expected, tolerance=ALGEBRA):
    for a, e in zip(actual, expected, strict=True):
        assert np.shape(a) == np.shape(e)
        assert relative(a, e) < tolerance


# Derivatives of one program


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("argument", range(4), ids=list("PqAb"))
def test_central_differences_agree_in_both_modes(name, argument):
    layer, data = layer_and_data(name)

    def solve(value):
        return layer(*data[:argument], value, *data[argument + 1 :])

    check_grads(solve, (data[argument],), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


def test_central_differences_agree_on_batches_that_broadcast():
    layer, _ = layer_and_data("second-order")
    P, q, A, b = batch("second-order", 3)
    data = (P[0], q[:, None], A[:1], b[:2])
    assert layer(*data).x.shape == (3, 2, q.shape[-1])
    check_grads(layer, data, order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["orthant", "all"])
def test_jacobians_agree_forward_and_reverse_and_with_numpy(name):
    layer, data = layer_and_data(name)
    expected = layer.layer.solve(*map(np.asarray, data)).jacobian()
    for jacobian in (jax.jacfwd, jax.jacrev):
        found = jacobian(layer, argnums=(0, 1, 2, 3))(*data)
        for of in "xzs":
            for wrt, block in zip("PqAb", getattr(found, of), strict=True):
                reference = expected[of, wrt]
                assert relative(block.reshape(reference.shape), reference) < ALGEBRA


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_jitted_gradient_is_the_numpy_layers(name):
    layer, data = layer_and_data(name)
    expected = expected_gradient(layer, *data)
    gradient = jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1, 2, 3))
    assert_close(gradient(*data), expected)
    assert_close(jax.jit(gradient)(*data), expected)


def test_linearize_and_vjp_can_be_used_many_times():
    layer, (P, q, A, b) = layer_and_data("exponential")
    jacobian = layer.layer.solve(*map(np.asarray, (P, q, A, b))).jacobian("x", "q")["x", "q"]
    x, forward = jax.linearize(lambda q: layer(P, q, A, b).x, q)
    _, reverse = jax.vjp(lambda q: layer(P, q, A, b).x, q)
    assert relative(x, layer(P, q, A, b).x) == 0
    for k, unit in enumerate(jnp.eye(q.size)):
        assert relative(forward(unit), jacobian[:, k]) < ALGEBRA
        assert relative(reverse(unit)[0], jacobian[k]) < ALGEBRA


def test_the_gradient_in_a_whole_matrix_is_symmetric_and_in_a_triangle_stands_for_both_copies():
    layer, (P, q, A, b) = layer_and_data("orthant")
    whole = jax.grad(lambda P: loss(layer, P, q, A, b))(P)
    assert relative(whole, whole.T) < ALGEBRA
    upper = conediff.jax.ConicLayer(sp.triu(np.asarray(P)), np.asarray(A), layer.layer.cones, upper=True)
    stored = upper.layer.P
    half = jax.grad(lambda values: loss(upper, values, q, A, b))(jnp.asarray(stored.data))
    row, column = stored.tocoo().row, stored.tocoo().col
    doubled = np.where(row == column, 1.0, 2.0) * np.asarray(whole)[row, column]
    assert relative(half, doubled) < REFINED


def test_gradients_of_sparse_matrices_are_on_their_stored_values():
    made = program("all")
    pattern = np.abs(made.A) > 0.4
    A = sp.csr_array(np.where(pattern, made.A, 0.0))
    layer = conediff.jax.ConicLayer(sp.csc_array(made.P), A, made.cones)
    data = [layer.layer.P.data, made.q, layer.layer.A.data, made.b]
    gradient = jax.jit(jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1, 2, 3)))(*data)
    assert gradient[2].shape == (A.nnz,)
    assert_close(gradient, expected_gradient(layer, *data))


def test_values_of_the_layer_stand_in_for_what_is_not_given():
    made = program("orthant")
    layer = conediff.jax.ConicLayer(made.P, made.A, made.cones, q=made.q, b=made.b)
    expected = expected_gradient(layer, *made.data)
    assert_close(layer(), [layer.layer.solve().x, layer.layer.solve().z, layer.layer.solve().s, layer.layer.solve().objective])
    assert_close(jax.jit(layer)(), layer())
    gradient = jax.grad(lambda q, b: loss(layer, None, q, None, b), argnums=(0, 1))(*map(jnp.asarray, (made.q, made.b)))
    assert_close(gradient, (expected[1], expected[3]))


def test_a_program_without_constraints_is_a_linear_system():
    P = np.array([[2.0, 0.5], [0.5, 1.0]])
    layer = conediff.jax.ConicLayer(P, None, [])
    q = jnp.array([1.0, -1.0])
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert relative(jax.jit(jacobian(lambda q: layer(q=q).x))(q), -np.linalg.inv(P)) < ALGEBRA
    assert layer(q=q).z.shape == (0,)


def test_the_function_solves_and_differentiates_without_a_layer():
    made = program("all")
    layer, data = layer_and_data("all")

    def function(*data):
        solution = conediff.jax.solve(*data, made.cones)
        return sum((value * weight).sum() for value, weight in zip(solution, weights(layer), strict=True))

    expected = expected_gradient(layer, *data)
    for gradient in (jax.grad(function, argnums=(0, 1, 2, 3)), jax.jit(jax.grad(function, argnums=(0, 1, 2, 3)))):
        assert_close(gradient(*data), expected, REFINED)


def test_softmax_is_an_exponential_cone_program_with_its_known_jacobian():
    # maximize <theta, x> + sum t subject to sum x = 1 and t_i <= -x_i log x_i.
    n = 4
    A = np.zeros((1 + 3 * n, 2 * n))
    b = np.zeros(1 + 3 * n)
    A[0, :n] = b[0] = 1.0
    for i in range(n):
        A[1 + 3 * i, n + i] = A[2 + 3 * i, i] = -1.0
        b[3 + 3 * i] = 1.0
    layer = conediff.jax.ConicLayer(None, sp.csc_array(A), [Zero(1), *[Exponential()] * n], b=b)

    def softmax(theta):
        return layer(q=jnp.concatenate([-theta, -jnp.ones(n)])).x[:n]

    theta = jnp.array([0.3, -1.0, 0.8, 0.1])
    x = jax.nn.softmax(theta)
    assert relative(softmax(theta), x) < REFINED
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert relative(jax.jit(jacobian(softmax))(theta), jnp.diag(x) - jnp.outer(x, x)) < REFINED


def test_a_tiny_cotangent_gives_the_gradient_in_proportion():
    layer, (P, q, A, b) = layer_and_data("second-order")
    gradient = jax.jit(lambda scale: jax.grad(lambda q: scale * layer(P, q, A, b).x[0])(q))
    for scale in (1e-12, 1e-100):
        assert relative(gradient(scale), scale * gradient(1.0)) < 1e-12


# Batches


@pytest.mark.parametrize("batched", range(1, 16))
def test_vmap_over_any_of_the_arguments_is_a_loop(batched):
    layer, data = layer_and_data("second-order")
    axes = [0 if batched >> k & 1 else None for k in range(4)]
    values = [many if axis == 0 else one for axis, many, one in zip(axes, batch("second-order", 3), data, strict=True)]
    gradient = jax.value_and_grad(lambda *d: loss(layer, *d), argnums=(0, 1, 2, 3))
    found, parts = jax.vmap(gradient, in_axes=axes)(*values)
    for item in range(3):
        value, expected = gradient(*(v[item] if axis == 0 else v for v, axis in zip(values, axes, strict=True)))
        assert relative(found[item], value) < REFINED
        assert_close([part[item] for part in parts], expected, REFINED)


def test_gradients_of_what_items_share_are_sums():
    layer, data = layer_and_data("orthant")
    q = batch("orthant", 3)[1]
    found = jax.grad(lambda P, A, b: jax.vmap(lambda q: loss(layer, P, q, A, b))(q).sum(), argnums=(0, 1, 2))
    P, _, A, b = expected_gradient(layer, data[0], q, data[2], data[3])
    assert_close(jax.jit(found)(data[0], data[2], data[3]), (P, A, b))


def test_vmap_axes_may_be_anywhere_and_nest_around_leading_dimensions():
    layer, _ = layer_and_data("orthant")
    P, q, A, b = batch("orthant", 24)
    q, b, A = q.reshape(2, 3, 4, -1), b.reshape(2, 3, 4, -1)[:, 0], A[:4]

    def inner(q, b, A):
        return loss(layer, P[0], q, A, b)

    # q (2, 3, 4, n), b (2, 4, m), A (4, m, n): of the axes (2, 3, 4) the last leads, the first two are mapped.
    gradient = jax.grad(inner, argnums=(0, 1, 2))
    mapped = jax.vmap(jax.vmap(gradient, in_axes=(2, None, None)), in_axes=(3, 2, None))
    found = jax.jit(mapped)(jnp.moveaxis(q, (0, 1), (3, 2)), jnp.moveaxis(b, 0, 2), A)
    wide = [jnp.broadcast_to(b[:, None], (2, 3, *b.shape[1:])), jnp.broadcast_to(A, (2, 3, *A.shape))]
    expected = expected_gradient(layer, P[0], q, wide[1], wide[0])
    assert_close(found, (expected[1], expected[3], expected[2]), REFINED)


def test_gradients_of_leading_dimensions_that_broadcast_are_the_numpy_layers():
    layer, data = layer_and_data("exponential")
    P, q, A, b = batch("exponential", 3)
    data = (P[:1, None], q[:, None], A[0], b[:2])
    gradient = jax.jit(jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1, 2, 3)))
    assert_close(gradient(*data), expected_gradient(layer, *data))


def test_jacobians_of_batches_solve_once():
    layer, (P, q, A, b) = layer_and_data("orthant")
    q = batch("orthant", 3)[1]
    before = layer.layer.counts["forwards"]
    jacobian = jax.jit(jax.jacrev(lambda q: layer(P, q, A, b).x))(q).block_until_ready()
    assert layer.layer.counts["forwards"] == before + 3
    expected = layer.layer.solve(*map(np.asarray, (P, q, A, b))).jacobian("x", "q")["x", "q"]
    for item in range(3):
        for other in range(3):
            block = jacobian[item, :, other]
            assert relative(block, expected[item]) < ALGEBRA if item == other else not block.any()


def test_an_empty_batch_is_no_error():
    layer, (P, q, A, b) = layer_and_data("orthant")
    gradient = jax.jit(jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1)))(P, jnp.zeros((0, q.size)), A, b)
    assert gradient[1].shape == (0, q.size)
    np.testing.assert_array_equal(gradient[0], np.zeros(P.shape))


def test_layers_in_a_scan_differentiate():
    layer, (P, q, A, b) = layer_and_data("second-order", warm_start=True)

    def run(q, stepper):
        """Proximal steps: each program is centered on the solution before."""
        return stepper(lambda x, _: (layer(P, q - 0.1 * x, A, b).x, None), jnp.zeros_like(q), jnp.arange(5))[0].sum()

    def loop(step, x, xs):
        for k in xs:
            x, _ = step(x, k)
        return x, None

    expected = jax.grad(lambda q: run(q, loop))(q)
    assert relative(jax.jit(jax.grad(lambda q: run(q, jax.lax.scan)))(q), expected) < REFINED
    assert relative(jax.grad(lambda q: run(q, jax.lax.scan))(q), expected) < REFINED
    mapped = jax.jit(jax.vmap(jax.grad(lambda q: run(q, jax.lax.scan))))(jnp.stack([q, q + 0.01]))
    assert relative(mapped[0], expected) < REFINED
    check_grads(lambda q: run(q, jax.lax.scan), (q,), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


def test_checkpointed_layers_differentiate():
    layer, data = layer_and_data("orthant")
    gradient = jax.jit(jax.grad(jax.checkpoint(lambda *d: loss(layer, *d)), argnums=(0, 1, 2, 3)))
    assert_close(gradient(*data), expected_gradient(layer, *data), REFINED)


# What the host keeps


def test_a_solution_that_was_dropped_is_solved_again():
    layer, (P, _, A, b) = layer_and_data("all", cache_size=1)
    first, second = batch("all", 4)[1].reshape(2, 2, -1)
    expected = [layer.layer.solve(P, q, A, b).vjp(dx=np.ones(q.shape)) for q in (first, second)]
    pullbacks = [jax.vjp(lambda *d: layer(*d).x, P, q, A, b)[1] for q in (first, second)]
    forwards = []
    for pullback, gradient in zip(pullbacks, expected, strict=True):
        before = layer.layer.counts["forwards"]
        assert_close(pullback(jnp.ones(first.shape)), (gradient.P, gradient.q, gradient.A, gradient.b), REFINED)
        forwards.append(layer.layer.counts["forwards"] - before)
    assert forwards == [2, 0]


def test_a_scan_longer_than_the_cache_is_right():
    _, qs, _, _ = batch("exponential", 6)

    def gradient(cache_size):
        layer, (P, _, A, b) = layer_and_data("exponential", cache_size=cache_size)

        def total(b):
            return jax.lax.scan(lambda sum_, q: (sum_ + loss(layer, P, q, A, b), None), 0.0, qs)[0]

        return jax.jit(jax.grad(total))(b)

    assert relative(gradient(1), gradient(1024)) < REFINED


def test_training_keeps_few_solutions():
    layer, (P, q, A, b) = layer_and_data("orthant")
    gradient = jax.jit(jax.grad(lambda q: loss(layer, P, q, A, b)))
    for k in range(50):
        gradient(q + 1e-3 * k).block_until_ready()
    assert len(layer._cache._waiting) + len(layer._cache._used) < 5


def test_a_solution_alone_keeps_nothing():
    layer, data = layer_and_data("orthant")
    jax.block_until_ready((jax.jit(layer)(*data), layer(*data), jax.vmap(layer)(*(d[None] for d in data))))
    assert not layer._cache._waiting


def test_layers_are_pytrees_without_leaves_and_can_be_copied():
    layer, data = layer_and_data("orthant")
    assert jax.tree.leaves(layer) == []
    expected = jax.jit(lambda layer, *data: layer(*data))(layer, *data)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(other(*data), expected, REFINED)


# Precision


@pytest.mark.parametrize("name", ["orthant", "all"])
def test_single_precision_goes_in_and_comes_out(name):
    jax.config.update("jax_enable_x64", False)
    layer, data = layer_and_data(name)
    assert all(value.dtype == np.float32 for value in layer(*data))
    found = jax.jit(jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1, 2, 3)))(*data)
    assert all(part.dtype == np.float32 for part in found)
    assert_close(found, expected_gradient(layer, *data), SINGLE)
    assert relative(jax.jit(jax.jacfwd(layer, argnums=1))(*data).x, jax.jacrev(layer, argnums=1)(*data).x) < SINGLE


def test_double_precision_in_any_argument_is_double_precision_out():
    layer, (P, q, A, b) = layer_and_data("orthant")
    single = [d.astype(np.float32) for d in (P, q, A, b)]
    assert layer(*single).x.dtype == np.float32
    mixed = (single[0], q, single[2], single[3])
    assert layer(*mixed).x.dtype == np.float64
    gradient = jax.grad(lambda *d: loss(layer, *d), argnums=(0, 1))(*mixed)
    assert [part.dtype for part in gradient] == [np.float32, np.float64]
    half = [d.astype(jnp.bfloat16) for d in (q, b)]
    assert layer(single[0], half[0], single[2], half[1]).x.dtype == np.float32


def test_integers_are_numbers():
    layer = conediff.jax.ConicLayer(np.eye(2), np.ones((1, 2)), [Nonnegative(1)])
    solution = layer(q=jnp.array([-1, -2]), b=[1])
    assert solution.x.dtype == np.float64
    np.testing.assert_allclose(solution.x, [0.0, 1.0], atol=1e-12)


# Doubt and failure

# minimize 1/2 x^2 + q x subject to -b2 <= x <= b1, at a kink for q = 0, b = (0, 1), infeasible for b = (-1, -1).
INTERVAL = (np.eye(1), np.array([[1.0], [-1.0]]), [Nonnegative(2)])
GOOD, BAD = jnp.array([1.0, 1.0]), jnp.array([-1.0, -1.0])


def at_kink(layer, part):
    return lambda q: getattr(layer(q=q, b=jnp.array([0.0, 1.0])), part).sum()


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_derivative_at_a_kink_warns(wrap):
    layer = conediff.jax.ConicLayer(*INTERVAL)
    with pytest.warns(conediff.UntrustedDerivativeWarning, match="kink"):
        jax.block_until_ready(wrap(jax.grad(at_kink(layer, "x")))(jnp.zeros(1)))
    with pytest.warns(conediff.UntrustedDerivativeWarning, match="item 1 of 2"):
        jax.block_until_ready(wrap(jax.vmap(jax.grad(at_kink(layer, "x"))))(jnp.array([[3.0], [0.0]])))


def test_a_kink_is_an_error_under_strict():
    layer = conediff.jax.ConicLayer(*INTERVAL, strict=True)
    with pytest.raises(errors.NotTrustedError):
        jax.grad(at_kink(layer, "x"))(jnp.zeros(1))
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match="NotTrustedError"):
        jax.jit(jax.grad(at_kink(layer, "x")))(jnp.zeros(1)).block_until_ready()


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd, jax.jacrev])
def test_the_optimal_values_derivative_at_a_kink_is_trusted(derivative):
    layer = conediff.jax.ConicLayer(*INTERVAL)
    # Outside jit forward mode forms the solution's tangent too; under jit it is dropped.
    wrap = jax.jit if derivative is jax.jacfwd else lambda f: f
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(wrap(derivative(at_kink(layer, "objective")))(jnp.zeros(1)), [0.0], atol=1e-9)


def test_a_failed_program_raises_and_names_its_item():
    layer = conediff.jax.ConicLayer(*INTERVAL, q=[0.5])
    with pytest.raises(errors.PrimalInfeasibleError) as caught:
        layer(b=BAD)
    assert caught.value.item is None
    items = jnp.stack([GOOD, BAD, GOOD])
    with pytest.raises(errors.PrimalInfeasibleError, match="item 1: primal infeasible") as caught:
        layer(b=items)
    assert caught.value.item == 1
    solve = jax.jit(jax.vmap(lambda b: layer(b=b).x))
    for _ in range(2):
        assert relative(solve(items[::2]), [[-0.5], [-0.5]]) < REFINED
        with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match="item 1: primal infeasible"):
            solve(items).block_until_ready()


@pytest.mark.parametrize(("on_error", "fill"), [("nan", np.nan), ("zero", 0.0)])
def test_a_failed_item_is_filled_and_the_others_are_right(on_error, fill):
    layer = conediff.jax.ConicLayer(*INTERVAL, q=[-3.0], on_error=on_error)
    items = jnp.stack([GOOD, BAD, 2.0 * GOOD])

    def solve(b):
        return layer(b=b).x[0]

    for wrap in (lambda f: f, jax.jit):
        value, gradient = wrap(jax.vmap(jax.value_and_grad(solve)))(items)
        np.testing.assert_allclose(value, [1.0, fill, 2.0], atol=1e-9)
        np.testing.assert_allclose(gradient, [[1.0, 0.0], [fill, fill], [1.0, 0.0]], atol=1e-9)
        np.testing.assert_allclose(wrap(jax.vmap(jax.jacfwd(solve)))(items), gradient, atol=1e-9)


def test_a_failed_item_that_is_masked_does_not_spoil_shared_gradients():
    layer = conediff.jax.ConicLayer(*INTERVAL, on_error="nan")
    items = jnp.stack([GOOD, BAD, 2.0 * GOOD])

    def total(q):
        x = jax.vmap(lambda b: layer(q=q, b=b).x[0])(items)
        return jnp.where(jnp.isnan(x), 0.0, x).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(total))(jnp.array([0.5])), [-2.0], atol=1e-9)


def test_wrong_arguments_are_errors_when_traced():
    layer, (P, q, A, b) = layer_and_data("orthant")
    with pytest.raises(errors.InputError, match="b has no value"):
        jax.jit(lambda: layer(P, q, A))()
    with pytest.raises(errors.DimensionError, match="q's shape"):
        jax.jit(layer)(P, q[1:], A, b)
    with pytest.raises(errors.DimensionError, match="leading dimensions"):
        jax.jit(layer)(P, jnp.zeros((2, q.size)), A, jnp.zeros((3, b.size)))
    with pytest.raises(errors.InputError, match="real numbers"):
        layer(P, q + 1j, A, b)
    with pytest.raises(errors.SettingError, match="on_error"):
        conediff.jax.ConicLayer(*INTERVAL, on_error="ignore")


# Second derivatives


@pytest.mark.parametrize("part", ["x", "z", "objective"])
@pytest.mark.parametrize("first", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("second", [jax.jacfwd, jax.jacrev])
def test_second_derivatives_are_refused(part, first, second):
    layer, data = layer_and_data("orthant")

    def solve(*data):
        return getattr(layer(*data), part)

    for one, other, wrap in ((1, 1, jax.jit), (1, 3, lambda f: f), (0, 2, jax.jit)):
        with pytest.raises(NotImplementedError, match="double differentiation"):
            wrap(second(first(solve, argnums=one), argnums=other))(*data)


def test_second_derivatives_through_scan_are_refused():
    layer, (P, q, A, b) = layer_and_data("orthant")

    def run(q):
        return jax.lax.scan(lambda x, _: (layer(P, q + 0.1 * x, A, b).x, None), jnp.zeros_like(q), length=3)[0].sum()

    with pytest.raises(NotImplementedError, match="double differentiation"):
        jax.jit(jax.hessian(run))(q)


def test_the_hessian_of_the_optimal_value_is_the_jacobian_of_its_gradient():
    layer, (P, q, A, b) = layer_and_data("orthant")
    hessian = jax.jacfwd(lambda q: layer(P, q, A, b).x)(q)
    step = 1e-5
    value_gradient = jax.jit(jax.grad(lambda q: layer(P, q, A, b).objective))
    for k, unit in enumerate(step * jnp.eye(q.size)):
        assert relative((value_gradient(q + unit) - value_gradient(q - unit)) / (2 * step), hessian[k]) < 1e-5


def test_a_gradient_is_differentiable_in_its_cotangent():
    layer, (P, q, A, b) = layer_and_data("second-order")

    def gradient(w):
        return jax.grad(lambda q: w @ layer(P, q, A, b).x)(q)

    w = jnp.arange(1.0, q.size + 1)
    expected = jax.jacrev(lambda q: layer(P, q, A, b).x)(q)
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert relative(jax.jit(jacobian(gradient))(w), expected.T) < ALGEBRA


# Devices


def test_shard_map_that_tracks_devices_is_refused_and_without_is_right():
    shard_map = getattr(jax, "shard_map", None)
    if shard_map is None:
        pytest.skip("jax.shard_map is newer")
    layer = conediff.jax.ConicLayer(*INTERVAL)
    spec = jax.sharding.PartitionSpec("device")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("device",))
    items = jnp.stack([GOOD, 2.0 * GOOD])

    def gradient(q, check_vma):
        def solve(b):
            return layer(q=q, b=b).x.sum(axis=-1)

        mapped = shard_map(solve, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check_vma)
        return mapped(items).sum()

    with pytest.raises(NotImplementedError, match="check_vma=False"):
        jax.jit(jax.grad(gradient), static_argnums=1)(jnp.array([0.5]), True)
    found = jax.jit(jax.grad(gradient), static_argnums=1)(jnp.array([0.5]), False)
    np.testing.assert_allclose(found, [-2.0], atol=1e-9)
