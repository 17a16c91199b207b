"""CvxpyLayer with conediff: gradients against central differences of the same layer, and failures that users reported."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

cp = pytest.importorskip("cvxpy")
torch = pytest.importorskip("torch")
pytest.importorskip("cvxpylayers", minversion="1.2")

from cvxpylayers.torch import CvxpyLayer  # noqa: E402
from support import central, relative  # noqa: E402

import conediff  # noqa: E402
from conediff.cvxpylayers import ConeDiff  # noqa: E402

#: Central differences with this step are right to about 1e-8 on the models below.
STEP = 2e-5
#: The default backend solves to 1e-4 or so; only a wrong convention is farther off.
LOOSE = 0.05


class Model(NamedTuple):
    """A parametrized problem, the variables (primal and dual) a layer returns, and values of the parameters."""

    problem: Any
    parameters: list[Any]
    variables: list[Any]
    values: list[np.ndarray]


def duals(*constraints: Any) -> list[Any]:
    return [variable for constraint in constraints for variable in constraint.dual_variables]


def quadratic() -> Model:
    rng = np.random.default_rng(0)
    x, F, a, h = cp.Variable(4), cp.Parameter((5, 4)), cp.Parameter(5), cp.Parameter(3)
    constraints = [rng.normal(size=(3, 4)) @ x <= h, cp.sum(x) == 1]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(F @ x - a) + 0.1 * cp.sum_squares(x)), constraints)
    values = [rng.normal(size=(5, 4)), rng.normal(size=5), np.array([-0.5, 0.2, 3.0])]
    return Model(problem, [F, a, h], [x, *duals(*constraints)], values)


def quadratic_form() -> Model:
    rng = np.random.default_rng(1)
    x, Q, c = cp.Variable(3), cp.Parameter((3, 3), PSD=True), cp.Parameter(3)
    constraints = [x >= 0.1, cp.sum(x) == 1]
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, Q) + c @ x), constraints)
    root = rng.normal(size=(3, 3))
    return Model(problem, [Q, c], [x, *duals(*constraints)], [root @ root.T + np.eye(3), rng.normal(size=3)])


def second_order() -> Model:
    rng = np.random.default_rng(2)
    x, c, B, r = cp.Variable(3), cp.Parameter(3), cp.Parameter((4, 3)), cp.Parameter()
    constraints = [cp.SOC(r + 0.2 * x[0], B @ x), cp.norm(x - 1) <= 1.0]
    problem = cp.Problem(cp.Minimize(c @ x + 0.05 * cp.sum_squares(x)), constraints)
    values = [rng.normal(size=3), rng.normal(size=(4, 3)), np.array(1.5)]
    return Model(problem, [c, B, r], [x, *duals(*constraints)], values)


def semidefinite() -> Model:
    rng = np.random.default_rng(3)
    X, C, t = cp.Variable((3, 3), symmetric=True), cp.Parameter((3, 3), symmetric=True), cp.Parameter()
    constraints = [X >> 0, cp.trace(X) == t, X[0, 1] >= 0.1]
    problem = cp.Problem(cp.Minimize(cp.trace(C @ X) + 0.2 * cp.sum_squares(X)), constraints)
    root = rng.normal(size=(3, 3))
    return Model(problem, [C, t], [X, *duals(*constraints)], [root + root.T, np.array(1.0)])


def exponential() -> Model:
    x, y, w, a, b = cp.Variable(3), cp.Variable(), cp.Variable(), cp.Parameter(3), cp.Parameter()
    constraints = [cp.sum(x) == 1, cp.ExpCone(y, cp.Constant(1.5), w), y + w >= b]
    problem = cp.Problem(cp.Minimize(-cp.sum(cp.entr(x)) - a @ x + w), constraints)
    return Model(problem, [a, b], [x, y, w, *duals(*constraints)], [np.array([0.5, -1.0, 0.3]), np.array(3.0)])


def power() -> Model:
    x, y, w, c = cp.Variable(), cp.Variable(), cp.Variable(), cp.Parameter(2, pos=True)
    constraints = [cp.PowCone3D(x, y, w, 0.3), c[0] * x + c[1] * y <= 1]
    problem = cp.Problem(cp.Maximize(w - 0.1 * cp.square(x)), constraints)
    return Model(problem, [c], [x, y, w, *duals(*constraints)], [np.array([0.7, 1.2])])


def generalized_power() -> Model:
    u, w, t, c = cp.Variable(3), cp.Variable(), cp.Parameter(), cp.Parameter(3)
    constraints = [cp.sum(u) <= t, u[0] <= 0.3]
    cone = cp.constraints.PowConeND(u, w, np.array([0.2, 0.3, 0.5]))
    problem = cp.Problem(cp.Maximize(w - c @ u), [*constraints, cone])
    values = [np.array(2.0), np.array([0.1, -0.2, 0.15])]
    return Model(problem, [t, c], [u, w, *duals(*constraints)], values)


MODELS: list[Callable[[], Model]] = [
    quadratic,
    quadratic_form,
    second_order,
    semidefinite,
    exponential,
    power,
    generalized_power,
]
#: diffcp has no parametrized quadratic forms, no generalized power cone, and fails in the derivative of a power cone.
SHARED_MODELS = [quadratic, second_order, semidefinite, exponential]
#: At its default tolerances Clarabel is off by up to 1e-4 on curved cones; here it goes on as long as it can.
TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}


def torch_layer(model: Model, solver: Any) -> Any:
    return CvxpyLayer(model.problem, model.parameters, model.variables, solver=solver)


def tensors(values: Sequence[np.ndarray], requires_grad: bool = False) -> list[Any]:
    return [torch.tensor(value, dtype=torch.float64, requires_grad=requires_grad) for value in values]


def directions(values: list[np.ndarray], count: int = 4) -> list[list[np.ndarray]]:
    """Random directions in the parameters; square matrices are symmetric here, and theirs too."""
    rng = np.random.default_rng(10)
    found = []
    for _ in range(count):
        direction = [rng.normal(size=value.shape) for value in values]
        found.append([d + d.T if d.ndim == 2 and d.shape[0] == d.shape[1] else d for d in direction])
    return found


def weights(outputs: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [rng.normal(size=tuple(output.shape)) for output in outputs]


def differences(layer: Any, model: Model) -> np.ndarray:
    """Central differences of the weighted sum of a layer's outputs along the directions."""

    def value(*values: np.ndarray) -> list[float]:
        with torch.no_grad():
            outputs = [output.numpy() for output in layer(*tensors(values))]
        return [sum(float(np.sum(w * output)) for w, output in zip(weights(outputs), outputs, strict=True))]

    return np.array([central(value, model.values, direction, STEP)[0] for direction in directions(model.values)])


def gradients(layer: Any, model: Model) -> np.ndarray:
    """The gradient of the same sum, along the same directions."""
    parameters = tensors(model.values, requires_grad=True)
    outputs = layer(*parameters)
    terms = [(torch.tensor(w) * output).sum() for w, output in zip(weights(outputs), outputs, strict=True)]
    torch.stack(terms).sum().backward()
    return np.array(
        [
            sum(float(np.sum(p.grad.numpy() * d)) for p, d in zip(parameters, direction, strict=True))
            for direction in directions(model.values)
        ]
    )


@pytest.mark.parametrize("make", MODELS)
def test_gradients_of_primal_and_dual_variables_match_central_differences(make: Callable[[], Model]) -> None:
    model = make()
    layer = torch_layer(model, ConeDiff())
    error = relative(gradients(layer, model), differences(layer, model))
    print(f"{make.__name__}: {error:.1e}")
    assert error < 1e-6


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("make", MODELS)
def test_primal_and_dual_values_are_those_of_cvxpy(make: Callable[[], Model]) -> None:
    model = make()
    for parameter, value in zip(model.parameters, model.values, strict=True):
        parameter.value = value
    model.problem.solve(solver=cp.CLARABEL, **TIGHT)
    outputs = torch_layer(model, ConeDiff())(*tensors(model.values))
    for variable, output in zip(model.variables, outputs, strict=True):
        value = np.reshape(variable.value, tuple(output.shape), order="F")
        np.testing.assert_allclose(output.numpy(), value, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("make", SHARED_MODELS)
def test_the_default_backend_agrees_loosely(make: Callable[[], Model]) -> None:
    model = make()
    layer = torch_layer(model, ConeDiff())
    expected = differences(layer, model)
    own = relative(gradients(layer, model), expected)
    default = relative(gradients(torch_layer(model, None), model), expected)
    print(f"{make.__name__}: conediff {own:.1e}, default backend {default:.1e}")
    assert own < 1e-6
    assert default < LOOSE


@pytest.fixture
def jax_in_double_precision() -> Iterator[Any]:
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("make", [quadratic, semidefinite])
def test_jax_gradients_match_central_differences(make: Callable[[], Model], jax_in_double_precision: Any) -> None:
    from cvxpylayers.jax import CvxpyLayer as JaxLayer

    jax, model = jax_in_double_precision, make()
    layer = JaxLayer(model.problem, model.parameters, model.variables, solver=ConeDiff())

    def loss(*values: Any) -> Any:
        outputs = layer(*values)
        return sum((w * output).sum() for w, output in zip(weights(outputs), outputs, strict=True))

    values = [jax.numpy.array(value) for value in model.values]
    found = jax.grad(loss, argnums=tuple(range(len(values))))(*values)
    along = [
        sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(found, direction, strict=True))
        for direction in directions(model.values)
    ]
    assert relative(along, differences(torch_layer(model, ConeDiff()), model)) < 1e-6


def test_a_batch_in_jax_is_the_loop(jax_in_double_precision: Any) -> None:
    from cvxpylayers.jax import CvxpyLayer as JaxLayer

    jax, model = jax_in_double_precision, quadratic()
    layer = JaxLayer(model.problem, model.parameters, model.variables, solver=ConeDiff(threads=2))
    F, a, h = (jax.numpy.array(value) for value in model.values)
    batch = jax.numpy.stack([a, 2.0 * a, -a])

    def loss(F: Any, a: Any) -> Any:
        return sum((output**2).sum() for output in layer(F, a, h))

    in_F, in_a = jax.grad(loss, argnums=(0, 1))(F, batch)
    alone = [jax.grad(loss, argnums=(0, 1))(F, item) for item in batch]
    np.testing.assert_allclose(in_F, sum(g for g, _ in alone), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(in_a, np.stack([g for _, g in alone]), rtol=1e-9, atol=1e-10)


def test_tracing_a_jax_layer_is_refused_with_the_remedy() -> None:
    jax = pytest.importorskip("jax")
    from cvxpylayers.jax import CvxpyLayer as JaxLayer

    model = power()
    layer = JaxLayer(model.problem, model.parameters, model.variables, solver=ConeDiff())
    with pytest.raises(conediff.errors.InputError, match=r"use conediff\.jax"):
        jax.jit(layer)(*map(jax.numpy.array, model.values))


@pytest.mark.parametrize("make", [quadratic, quadratic_form, semidefinite])
def test_a_batch_with_some_parameters_shared_is_the_loop(make: Callable[[], Model]) -> None:
    model = make()
    layer = torch_layer(model, ConeDiff(threads=2))
    rng = np.random.default_rng(4)
    count = 5
    shared = tensors(model.values[1:], requires_grad=True)
    first = np.stack([model.values[0] * (1.0 + 0.1 * k) for k in range(count)])
    (batched,) = tensors([first], requires_grad=True)
    outputs = layer(batched, *shared)
    seeds = [torch.tensor(rng.normal(size=tuple(output.shape))) for output in outputs]
    torch.autograd.backward(outputs, seeds)
    alone = tensors(model.values[1:], requires_grad=True)
    (items,) = tensors([first], requires_grad=True)
    for item in range(count):
        single = layer(items[item], *alone)
        for output, value in zip(outputs, single, strict=True):
            assert torch.allclose(output[item], value, rtol=1e-10, atol=1e-12)
        torch.autograd.backward(single, [seed[item] for seed in seeds])
    for found, expected in zip([batched, *shared], [items, *alone], strict=True):
        assert torch.allclose(found.grad, expected.grad, rtol=1e-9, atol=1e-11)


def test_settings_of_a_call_come_before_the_solvers() -> None:
    model = quadratic()
    layer = torch_layer(model, ConeDiff(max_iterations=1, refine=False))
    parameters = tensors(model.values)
    with pytest.raises(conediff.errors.NotSolvedError):
        layer(*parameters)
    layer(*parameters, solver_args={"max_iterations": 100})
    with pytest.raises(TypeError, match="unknown setting 'max_iter'"):
        layer(*parameters, solver_args={"max_iter": 100})
    with pytest.raises(TypeError, match="unknown setting 'max_iter'"):
        ConeDiff(max_iter=100)
    with pytest.raises(conediff.errors.SettingError):
        ConeDiff(tolerance=-1.0)


def test_one_solver_serves_many_layers() -> None:
    solver = ConeDiff()
    models = [quadratic(), semidefinite()]
    layers = [torch_layer(model, solver) for model in models]
    for model, layer in zip(models, layers, strict=True):
        expected = torch_layer(model, ConeDiff())(*tensors(model.values))
        for output, value in zip(layer(*tensors(model.values)), expected, strict=True):
            assert torch.allclose(output, value, rtol=1e-10, atol=1e-12)


def test_single_precision_parameters_have_single_precision_gradients() -> None:
    model = quadratic()
    layer = torch_layer(model, ConeDiff())
    parameters = [torch.tensor(value, dtype=torch.float32, requires_grad=True) for value in model.values]
    outputs = layer(*parameters)
    outputs[0].sum().backward()
    for output, value in zip(outputs, layer(*tensors(model.values)), strict=True):
        assert torch.allclose(output.double(), value, atol=1e-5)
    assert all(p.grad.dtype == torch.float32 for p in parameters)


def test_a_problem_without_constraints_is_solved() -> None:
    x, a = cp.Variable(2), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, np.diag([1.0, 2.0])) + a @ x))
    layer = CvxpyLayer(problem, [a], [x], solver=ConeDiff())
    value = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (solution,) = layer(value)
    solution.sum().backward()
    np.testing.assert_allclose(solution.detach().numpy(), [-0.5, -0.25])
    np.testing.assert_allclose(value.grad.numpy(), [-0.5, -0.25])


def test_a_geometric_program_is_differentiated() -> None:
    x, y, a = cp.Variable(pos=True), cp.Variable(pos=True), cp.Parameter(pos=True)
    problem = cp.Problem(cp.Minimize(1 / (x * y)), [a * x <= 2, y + x * y <= 1])
    layer = CvxpyLayer(problem, [a], [x, y], solver=ConeDiff(), gp=True)
    value = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    # x = 2/a and y = 1/(1 + x).
    x_found, y_found = layer(value)
    assert abs(x_found.item() - 0.5) < 1e-8
    assert abs(y_found.item() - 2.0 / 3.0) < 1e-8
    y_found.backward()
    assert abs(value.grad.item() - 0.5 / 4.0 / 1.5**2) < 1e-8


def test_duals_that_cvxpylayers_misreads_are_refused() -> None:
    x, y, a = cp.Variable(2), cp.Variable(2), cp.Parameter(2)
    cones = cp.ExpCone(x, np.ones(2), y)
    problem = cp.Problem(cp.Minimize(cp.sum(y) - a @ x), [cones])
    CvxpyLayer(problem, [a], [x], solver=ConeDiff())
    with pytest.raises(conediff.errors.InputError, match="a constraint for each cone"):
        CvxpyLayer(problem, [a], [x, *duals(cones)], solver=ConeDiff())


# Reported failures


def test_the_softmax_layer_has_the_softmax_jacobian() -> None:
    x, theta = cp.Variable(4), cp.Parameter(4)
    problem = cp.Problem(cp.Minimize(-theta @ x - cp.sum(cp.entr(x))), [cp.sum(x) == 1])
    layer = CvxpyLayer(problem, [theta], [x], solver=ConeDiff())
    value = torch.tensor([0.3, -1.2, 2.0, 0.1], dtype=torch.float64)
    p = torch.softmax(value, 0)
    assert torch.allclose(layer(value)[0], p, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda t: layer(t)[0], value)
    assert torch.allclose(jacobian, torch.diag(p) - torch.outer(p, p), atol=1e-8)


def test_the_log_barrier_has_its_exact_derivative() -> None:
    x, weight = cp.Variable(), cp.Parameter(pos=True)
    problem = cp.Problem(cp.Maximize(x + weight * (cp.log(1 - x) + cp.log(1 + x))))
    layer = CvxpyLayer(problem, [weight], [x], solver=ConeDiff())
    value = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (solution,) = layer(value)
    solution.backward()
    assert abs(solution.item() - 0.41421356237) < 1e-9
    assert abs(value.grad.item() + 0.29289321881) < 1e-9


def test_a_quadratic_in_an_l1_ball_passes_gradcheck() -> None:
    x, a, radius = cp.Variable(4), cp.Parameter(4), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [cp.norm1(x) <= radius])
    layer = CvxpyLayer(problem, [a, radius], [x], solver=ConeDiff())
    # The projection is (0.75, -0.25, 0, 0): soft thresholding at 0.75.
    point = tensors([np.array([1.5, -1.0, 0.3, 0.1]), np.array(1.0)], requires_grad=True)
    np.testing.assert_allclose(layer(*point)[0].detach().numpy(), [0.75, -0.25, 0.0, 0.0], atol=1e-9)
    assert torch.autograd.gradcheck(lambda a, r: layer(a, r)[0], point, eps=1e-5, atol=1e-7, rtol=1e-6)


def test_a_duplicated_constraint_leaves_the_primal_gradient_right() -> None:
    x, a = cp.Variable(2), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [cp.sum(x) == 1, cp.sum(x) == 1])
    layer = CvxpyLayer(problem, [a], [x], solver=ConeDiff())
    value = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        # The multipliers are not unique: whether that is worth a warning is not the matter here.
        warnings.simplefilter("ignore", conediff.UntrustedDerivativeWarning)
        jacobian = torch.autograd.functional.jacobian(lambda a: layer(a)[0], value)
    np.testing.assert_allclose(jacobian.numpy(), [[0.5, -0.5], [-0.5, 0.5]], atol=1e-9)


def test_a_slack_norm_leaves_the_gradient_right() -> None:
    x, a = cp.Variable(3), cp.Parameter(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [cp.norm(x) <= 10, cp.abs(x) <= 5])
    layer = CvxpyLayer(problem, [a], [x], solver=ConeDiff())
    value = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    with warnings.catch_warnings():
        # CVXPY's bounds on the norms are variables that are not unique here.
        warnings.simplefilter("ignore", conediff.UntrustedDerivativeWarning)
        jacobian = torch.autograd.functional.jacobian(lambda a: layer(a)[0], value)
    np.testing.assert_allclose(jacobian.numpy(), np.eye(3), atol=1e-9)


def box() -> tuple[Any, list[Any]]:
    """x = a within [0, u], which has no point for u < 0."""
    x, a, u = cp.Variable(), cp.Parameter(), cp.Parameter()
    return cp.Problem(cp.Minimize(cp.square(x - a)), [x >= 0, x <= u]), [x, a, u]


def test_an_infeasible_item_of_a_batch_is_named() -> None:
    problem, (x, a, u) = box()
    layer = CvxpyLayer(problem, [a, u], [x], solver=ConeDiff())
    bounds = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    with pytest.raises(conediff.errors.PrimalInfeasibleError) as caught:
        layer(torch.tensor(0.5, dtype=torch.float64), bounds)
    assert caught.value.item == 2


@pytest.mark.parametrize(("on_error", "fill"), [("nan", np.nan), ("zero", 0.0)])
def test_an_infeasible_item_can_be_filled_and_leaves_the_others_right(on_error: str, fill: float) -> None:
    problem, (x, a, u) = box()
    layer = CvxpyLayer(problem, [a, u], [x], solver=ConeDiff(on_error=on_error))
    values = torch.tensor([0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    bounds = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    (solution,) = layer(values, bounds)
    solution.sum().backward()
    np.testing.assert_allclose(solution.detach().numpy(), [0.5, fill, 2.0], atol=1e-9)
    np.testing.assert_allclose(values.grad.numpy(), [1.0, fill, 0.0], atol=1e-9)
    np.testing.assert_allclose(bounds.grad.numpy(), [0.0, fill, 1.0], atol=1e-9)
    statuses = layer.ctx.solver.solution.status
    assert list(statuses) == ["solved", "primal infeasible", "solved"]


def test_tiny_cotangents_scale_the_gradient_exactly() -> None:
    model = quadratic()
    layer = torch_layer(model, ConeDiff())
    found = []
    for scale in (1.0, 1e-12):
        parameters = tensors(model.values, requires_grad=True)
        (scale * layer(*parameters)[0][0]).backward()
        found.append([p.grad for p in parameters])
    for one, tiny in zip(*found, strict=True):
        assert one.abs().max() > 1e-3
        assert torch.allclose(1e12 * tiny, one, rtol=1e-12, atol=0.0)


def kink() -> tuple[Any, Any]:
    """A layer and a parameter where its solution has a kink: max(a, 0) at a = 0."""
    x, a = cp.Variable(), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.square(x - a)), [x >= 0])
    make = lambda **settings: CvxpyLayer(problem, [a], [x], solver=ConeDiff(**settings))  # noqa: E731
    return make, torch.tensor(0.0, dtype=torch.float64, requires_grad=True)


def test_a_gradient_at_a_kink_is_warned_about() -> None:
    make, value = kink()
    (solution,) = make()(value)
    with pytest.warns(conediff.UntrustedDerivativeWarning):
        solution.backward()
    assert -1e-9 <= value.grad.item() <= 1.0 + 1e-9


def test_a_gradient_at_a_kink_is_an_error_under_strict() -> None:
    make, value = kink()
    with pytest.raises(conediff.errors.NotTrustedError):
        make(strict=True)(value)[0].backward()


@pytest.mark.parametrize("atom", [cp.norm, cp.norm1, cp.norm_inf, cp.max, cp.sum_squares, cp.log_sum_exp])
def test_slack_bounds_of_cvxpys_own_are_no_reason_for_doubt(atom):
    x, a, r = cp.Variable(3), cp.Parameter(3), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [atom(x) <= r])
    layer = CvxpyLayer(problem, parameters=[a, r], variables=[x], solver=ConeDiff())
    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([0.3, -0.2, 0.1], 50.0)]
    (found,) = layer(*values)
    # A warning would be an error.
    found[0].backward()
    assert torch.allclose(values[0].grad, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), atol=1e-9)
    assert values[1].grad.abs() < 1e-9
