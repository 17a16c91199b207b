"""conediff as a solver of CVXPY, beside CLARABEL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

cp = pytest.importorskip("cvxpy")

import conediff  # noqa: E402
from conediff.cvxpy import ConeDiff  # noqa: E402

#: At its default tolerances Clarabel is off by up to 1e-4 on curved cones; here it goes on as long as it can.
TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def linear_program() -> Any:
    A, x = rng().normal(size=(6, 3)), cp.Variable(3)
    return cp.Problem(cp.Minimize(-A.sum(axis=0) @ x), [A @ x <= 1, x <= 1])


def linear_program_without_bounds() -> Any:
    x = cp.Variable(2)
    return cp.Problem(cp.Minimize(x[0] + 2 * x[1]), [x >= 1, x <= np.array([np.inf, 3.0])])


def quadratic_program() -> Any:
    A, x = rng().normal(size=(5, 4)), cp.Variable(4)
    constraints = [cp.sum(x) == 1, x >= 0.05]
    return cp.Problem(cp.Minimize(cp.sum_squares(A @ x - 1) + cp.quad_form(x, np.diag(range(4)))), constraints)


def unconstrained_quadratic() -> Any:
    A, x = rng().normal(size=(5, 4)), cp.Variable(4)
    return cp.Problem(cp.Minimize(cp.quad_form(x, A.T @ A) - 2 * (A.T @ np.ones(5)) @ x + 3))


def maximized_concave_quadratic() -> Any:
    x = cp.Variable(3)
    return cp.Problem(cp.Maximize(x @ [1, 2, 3] - cp.sum_squares(x)), [cp.sum(x) <= 1])


def least_absolute_deviations() -> Any:
    generator, x = rng(), cp.Variable(2)
    A, y = generator.normal(size=(7, 2)), generator.normal(size=7)
    return cp.Problem(cp.Minimize(cp.norm1(A @ x - y) + 0.1 * cp.sum_squares(x)))


def second_order_cone() -> Any:
    A, x = rng().normal(size=(4, 3)), cp.Variable(3)
    return cp.Problem(cp.Minimize(np.array([1.0, -2.0, 0.5]) @ x), [cp.SOC(2 + x[0], A @ x), cp.norm(x) <= 0.8])


def second_order_cones_in_one_constraint() -> Any:
    X, t = cp.Variable((2, 3)), cp.Variable(3)
    target = rng().normal(size=(2, 3))
    return cp.Problem(cp.Minimize(cp.sum_squares(X - target) + t @ [0.5, 1.0, 0.25]), [cp.SOC(t, X)])


def semidefinite_program() -> Any:
    C, X = rng().normal(size=(4, 4)), cp.Variable((4, 4), symmetric=True)
    return cp.Problem(cp.Minimize(cp.trace((C + C.T) @ X)), [X >> 0, cp.trace(X) == 2, X[0, 1] >= 0.1])


def semidefinite_program_with_quadratic_objective() -> Any:
    C, X = rng().normal(size=(3, 3)), cp.Variable((3, 3), symmetric=True)
    return cp.Problem(cp.Minimize(cp.sum_squares(X - C - C.T)), [X >> np.eye(3), cp.diag(X) <= 3])


def largest_eigenvalue() -> Any:
    A, x = rng().normal(size=(4, 4)), cp.Variable(4)
    return cp.Problem(cp.Minimize(cp.lambda_max(A + A.T + cp.diag(x))), [cp.sum(x) == 0])


def entropy() -> Any:
    x = cp.Variable(4)
    return cp.Problem(cp.Maximize(cp.sum(cp.entr(x)) + x @ [1.0, -1.0, 0.5, 0.2]), [cp.sum(x) == 1])


def exponential_cones() -> Any:
    x, y = cp.Variable(2), cp.Variable(2)
    constraints = [cp.ExpCone(x, np.array([1.0, 2.0]), y), cp.sum(x) >= 1]
    return cp.Problem(cp.Minimize(y @ [1.0, 0.7] + 0.1 * cp.sum_squares(x)), constraints)


def power_cones() -> Any:
    x, y, w = cp.Variable(2), cp.Variable(2), cp.Variable(2)
    constraints = [cp.PowCone3D(x, y, w, np.array([0.3, 0.6])), x + 2 * y <= [1.0, 2.0]]
    return cp.Problem(cp.Maximize(cp.sum(w) - 0.1 * cp.sum_squares(x)), constraints)


def generalized_power_cone() -> Any:
    u, w = cp.Variable(3), cp.Variable()
    constraints = [cp.constraints.PowConeND(u, w, np.array([0.2, 0.3, 0.5])), cp.sum(u) <= 2, u[0] <= 0.3]
    return cp.Problem(cp.Maximize(w), constraints)


def all_cones() -> Any:
    x, w = cp.Variable(3), cp.Variable()
    constraints = [
        cp.sum(x) == 2,
        x >= 0.1,
        cp.norm(x - 1) <= 0.7,
        cp.bmat([[x[0] + 1, w], [w, x[1] + 0.5]]) >> 0,
        cp.ExpCone(w, cp.Constant(1.0), x[2] + 2),
        cp.PowCone3D(x[0], x[1], w, 0.4),
    ]
    return cp.Problem(cp.Maximize(w - 0.2 * cp.sum_squares(x)), constraints)


PROBLEMS: list[Callable[[], Any]] = [
    linear_program,
    linear_program_without_bounds,
    quadratic_program,
    unconstrained_quadratic,
    maximized_concave_quadratic,
    least_absolute_deviations,
    second_order_cone,
    second_order_cones_in_one_constraint,
    semidefinite_program,
    semidefinite_program_with_quadratic_objective,
    largest_eigenvalue,
    entropy,
    exponential_cones,
    power_cones,
    generalized_power_cone,
    all_cones,
]


def found_by(problem: Any, solver: Any, **options: Any) -> list[np.ndarray]:
    """Value, variables and duals after a solve."""
    value = problem.solve(solver=solver, **options)
    variables = [*problem.variables()]
    for constraint in problem.constraints:
        variables += constraint.dual_variables
    return [np.asarray(value), *(np.asarray(variable.value) for variable in variables)]


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("make", PROBLEMS)
def test_value_primal_and_dual_variables_are_clarabels(make: Callable[[], Any]) -> None:
    problem = make()
    expected = found_by(problem, cp.CLARABEL, **TIGHT)
    found = found_by(problem, ConeDiff())
    assert problem.status == cp.OPTIMAL
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_quadratic_objectives_are_kept_and_can_be_given_up() -> None:
    problem = quadratic_program()
    assert "P" in problem.get_problem_data(ConeDiff())[0]
    kept = problem.solve(solver=ConeDiff())
    given_up = problem.solve(solver=ConeDiff(), use_quad_obj=False)
    np.testing.assert_allclose(given_up, kept, atol=1e-6)


def test_statistics_are_those_of_the_solve() -> None:
    problem = quadratic_program()
    problem.solve(solver=ConeDiff())
    stats = problem.solver_stats
    assert stats.solver_name == "CONEDIFF"
    assert stats.num_iters > 0
    assert stats.solve_time > 0.0
    assert stats.extra_stats["status"] == "solved"


def test_infeasible_and_unbounded_problems_have_their_status() -> None:
    x = cp.Variable(2)
    infeasible = cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.sum(x) >= 1, x <= 0])
    assert infeasible.solve(solver=ConeDiff()) == np.inf
    assert infeasible.status == cp.INFEASIBLE
    assert x.value is None
    unbounded = cp.Problem(cp.Maximize(x[0]), [x[1] >= 0])
    assert unbounded.solve(solver=ConeDiff()) == np.inf
    assert unbounded.status == cp.UNBOUNDED


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_an_iteration_limit_gives_the_last_point() -> None:
    problem = entropy()
    problem.solve(solver=ConeDiff(), max_iterations=3)
    assert problem.status == cp.USER_LIMIT
    assert problem.solver_stats.num_iters == 3
    assert np.all(np.isfinite(problem.variables()[0].value))
    assert abs(problem.value - problem.objective.value) < 0.1


def test_options_of_a_solve_come_before_the_solvers() -> None:
    problem = entropy()
    problem.solve(solver=ConeDiff(max_iterations=3), max_iterations=100)
    assert problem.status == cp.OPTIMAL


def test_unknown_options_are_errors() -> None:
    problem = quadratic_program()
    with pytest.raises(TypeError, match="unknown setting 'max_iters'"):
        problem.solve(solver=ConeDiff(), max_iters=10)
    with pytest.raises(conediff.errors.SettingError, match="tolerance"):
        problem.solve(solver=ConeDiff(), tolerance=-1.0)
    with pytest.raises(TypeError, match="'on_error' is no setting"):
        ConeDiff(on_error="nan")


def test_warm_starts_and_verbosity_change_nothing() -> None:
    problem = semidefinite_program()
    expected = found_by(problem, ConeDiff())
    for options in ({"warm_start": True}, {"warm_start": False}, {"verbose": True}):
        for ours, theirs in zip(found_by(problem, ConeDiff(), **options), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_mixed_integer_problem_is_refused_by_cvxpy() -> None:
    x = cp.Variable(integer=True)
    with pytest.raises(cp.SolverError):
        cp.Problem(cp.Minimize(cp.square(x - 0.3))).solve(solver=ConeDiff())


def test_a_parametrized_problem_is_compiled_once_and_solved_anew() -> None:
    x, a, radius = cp.Variable(2), cp.Parameter(2), cp.Parameter(nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [cp.norm(x) <= radius])
    chains = set()
    for k in range(1, 4):
        a.value, radius.value = np.array([3.0, 4.0]) * k, 2.5
        problem.solve(solver=ConeDiff())
        np.testing.assert_allclose(x.value, [1.5, 2.0], atol=1e-7)
        chains.add(id(problem._cache.solving_chain))
    assert len(chains) == 1
    assert ConeDiff() == ConeDiff() != ConeDiff(refine=False)


def test_a_geometric_program_is_solved() -> None:
    x, y = cp.Variable(pos=True), cp.Variable(pos=True)
    problem = cp.Problem(cp.Minimize(x * y), [x * y**2 >= 8, y <= 2])
    np.testing.assert_allclose(problem.solve(solver=ConeDiff(), gp=True), 4.0, atol=1e-6)
