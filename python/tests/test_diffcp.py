"""conediff.compat.diffcp: diffcp's programs run unchanged, and the derivatives are right."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import conediff
import conediff.compat.diffcp as ours

#: Central differences of refined solutions: rounding over the step and the step squared.
DIFFERENCES = 1e-6
STEP = 1e-5


@dataclass
class Case:
    """A program with a known solution away from kinks, a direction in its data and weights on its solution."""

    A: sp.csc_matrix
    b: np.ndarray
    c: np.ndarray
    cones: dict[str, Any]
    P: sp.csc_matrix | None
    solution: np.ndarray
    direction: tuple[Any, ...]
    weights: tuple[np.ndarray, ...]

    @property
    def data(self) -> tuple[Any, ...]:
        return self.A.copy(), self.b, self.c, self.cones

    def solve(self, module: Any = ours, **options: Any) -> tuple[Any, ...]:
        return module.solve_and_derivative(*self.data, P=self.P, **options)

    def difference(self) -> np.ndarray:
        """The derivative of (x, y, s) along the direction by central differences."""

        def at(step: float) -> np.ndarray:
            dA, db, dc, dP = self.direction
            P = None if self.P is None else self.P + step * dP
            data = self.A + step * dA, self.b + step * db, self.c + step * dc, self.cones
            return np.concatenate(ours.solve_only(*data, P=P))

        return (at(STEP) - at(-STEP)) / (2.0 * STEP)

    def along(self, gradient: tuple[Any, ...]) -> float:
        """A gradient in the data times the direction."""
        dA, db, dc, dP = self.direction
        value = gradient[0].multiply(dA).sum() + gradient[1] @ db + gradient[2] @ dc
        return value if len(gradient) == 3 else value + gradient[3].multiply(dP).sum()


def rows(cones: dict[str, Any]) -> int:
    sizes = dict(ours.cones.parse_cone_dict(cones))
    matrices = sum(ours.cones.vec_psd_dim(k) for k in sizes.get("s", []))
    threes = 3 * (sizes.get("ep", 0) + sizes.get("ed", 0) + len(sizes.get("p", [])))
    return sizes.get("z", 0) + sizes.get("l", 0) + sum(sizes.get("q", [])) + matrices + threes


def variables(v: np.ndarray, cones: dict[str, Any]) -> int:
    """A number of variables for which a linear program with y - s = v has one solution, which depends smoothly on the data."""
    sizes = ours.cones.parse_cone_dict(cones)
    steps = 1e-6 * np.eye(v.size)
    jacobian = [(ours.cones.pi(v + e, sizes, dual=True) - ours.cones.pi(v - e, sizes, dual=True)) / 2e-6 for e in steps]
    eigenvalues = np.linalg.eigvalsh(np.array(jacobian))
    fixed, moving = np.sum(eigenvalues > 1.0 - 1e-4), np.sum(eigenvalues > 1e-4)
    return int(fixed + moving) // 2


def make(cones: dict[str, Any], seed: int, P: str | None = None) -> Case:
    """A random program whose solution is chosen first."""
    random = np.random.default_rng(seed)
    m = rows(cones)
    v = random.normal(size=m)
    n = variables(v, cones)
    y = ours.cones.pi(v, ours.cones.parse_cone_dict(cones), dual=True)
    s = y - v
    # Sparse but for the diagonal, so that no pattern is full by accident.
    mask = (random.random((m, n)) < 0.8) | np.eye(m, n, dtype=bool)
    A = sp.csc_matrix(random.normal(size=(m, n)) * mask)
    x = random.normal(size=n)
    factor = random.normal(size=(n, n))
    quadratic = None if P is None else sp.csc_matrix(factor @ factor.T + np.eye(n))
    c = -A.T @ y - (0.0 if quadratic is None else quadratic @ x)
    stored = sp.csc_matrix(sp.triu(quadratic)) if P == "upper" else quadratic
    dA = ours.utils.get_random_like(A, lambda count: random.normal(size=count))
    dP = None
    if stored is not None:
        dP = ours.utils.get_random_like(stored, lambda count: random.normal(size=count))
        dP = dP if P == "upper" else sp.csc_matrix(dP + dP.T)
    weights = tuple(random.normal(size=size) for size in (n, m, m))
    direction = dA, random.normal(size=m), random.normal(size=n), dP
    return Case(A, A @ x + s, c, cones, stored, np.concatenate([x, y, s]), direction, weights)


MIXED = {"z": 2, "l": 3, "q": [4, 3], "s": [3, 1, 2], "ep": 2, "ed": 1, "p": [0.3, -0.6]}
#: Cones, a seed of a program with moderate derivatives, and how P is given.
CASES = {
    "linear": ({"z": 1, "l": 8}, 25, None),
    "second_order": ({"z": 1, "l": 2, "q": [4, 3]}, 4, None),
    "semidefinite": ({"z": 1, "s": [4, 2]}, 39, None),
    "exponential": ({"z": 1, "ep": 3}, 23, None),
    "dual_exponential": ({"z": 1, "ed": 3}, 12, None),
    "power": ({"z": 1, "p": [0.3, 0.6]}, 26, None),
    "dual_power": ({"l": 1, "p": [-0.3, -0.75]}, 30, None),
    "mixed": (MIXED, 23, None),
    "quadratic_by_its_triangle": ({"z": 1, "l": 5, "q": [3]}, 17, "upper"),
    "quadratic_in_full": ({"z": 1, "l": 5, "q": [3]}, 17, "full"),
    "mixed_quadratic": (MIXED, 26, "upper"),
}
#: What diffcp itself can differentiate, and gets right.
SHARED = ["linear", "second_order", "semidefinite", "exponential", "dual_exponential"]

case_names = pytest.mark.parametrize("name", CASES)


def case(name: str) -> Case:
    return make(*CASES[name])


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Relative to the largest entry of what is expected."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


# The solution and its derivatives


@case_names
def test_the_solution_is_the_chosen_one(name):
    program = case(name)
    x, y, s, *_ = program.solve()
    assert_close(np.concatenate([x, y, s]), program.solution, 1e-8)


@case_names
def test_the_derivative_is_that_of_central_differences(name):
    program = case(name)
    *_, D, _ = program.solve()
    assert_close(np.concatenate(D(*program.direction)), program.difference(), DIFFERENCES)


@case_names
def test_the_adjoint_is_that_of_central_differences(name):
    program = case(name)
    *_, DT = program.solve()
    gradient = DT(*program.weights, return_dP=program.P is not None)
    weights, difference = np.concatenate(program.weights), program.difference()
    scale = np.linalg.norm(weights) * np.linalg.norm(difference)
    assert abs(program.along(gradient) - weights @ difference) <= DIFFERENCES * scale


@case_names
def test_the_adjoint_is_the_derivative_transposed(name):
    program = case(name)
    *_, D, DT = program.solve()
    along = np.concatenate(D(*program.direction))
    weights = np.concatenate(program.weights)
    found = program.along(DT(*program.weights, return_dP=program.P is not None))
    assert abs(found - weights @ along) <= 1e-10 * np.linalg.norm(weights) * np.linalg.norm(along)


@case_names
def test_small_right_hand_sides_are_scaled_exactly(name):
    program = case(name)
    *_, D, DT = program.solve()
    for small in (1e-12, 1e-100):
        for found, unit in zip(DT(*(small * w for w in program.weights)), DT(*program.weights), strict=True):
            found, unit = (v.data if sp.issparse(v) else v for v in (found, unit))
            assert_close(found, small * unit, 1e-9)
        direction = [None if d is None else small * d for d in program.direction]
        for found, unit in zip(D(*direction), D(*program.direction), strict=True):
            assert_close(found, small * unit, 1e-9)


def test_the_gradient_of_the_objective_in_b_is_minus_the_dual():
    program = case("mixed")
    _, y, s, _, DT = program.solve()
    _, db, _ = DT(program.c, np.zeros_like(y), np.zeros_like(s))
    assert_close(db, -y, 1e-9)


def test_a_program_about_to_be_infeasible_has_its_derivative():
    # minimize x over 1 <= x <= 1 + 1e-7: x is the lower bound.
    A = sp.csc_matrix([[-1.0], [1.0]])
    _, _, _, D, DT = ours.solve_and_derivative(A, np.array([-1.0, 1.0 + 1e-7]), np.ones(1), {"l": 2})
    zero = np.zeros(2)
    assert_close(DT(np.ones(1), zero, zero)[1], [-1.0, 0.0], 1e-9)
    assert_close(D(0.0 * A, np.array([1.0, 1.0]), np.zeros(1))[0], [-1.0], 1e-9)


def test_directions_in_the_matrices_may_have_any_pattern():
    program = case("quadratic_by_its_triangle")
    *_, D, _ = program.solve()
    dA, db, dc, dP = program.direction
    wide = sp.csc_matrix(np.ones(program.A.shape))
    sum_of_both = np.concatenate(D(dA + wide, db, dc, dP))
    only_wide = np.concatenate(D(wide, 0.0 * db, 0.0 * dc))
    assert_close(sum_of_both, np.concatenate(D(dA, db, dc, dP)) + only_wide, 1e-10)


def test_a_triangle_and_the_whole_of_P_are_one_program():
    triangle, full = case("quadratic_by_its_triangle"), case("quadratic_in_full")
    (*first, _, DT_triangle), (*second, _, DT_full) = triangle.solve(), full.solve()
    for left, right in zip(first[:3], second[:3], strict=True):
        assert_close(left, right, 1e-10)
    of_triangle, of_full = (DT(*full.weights, True)[3].toarray() for DT in (DT_triangle, DT_full))
    assert_close(of_full, of_full.T, 1e-14)
    assert_close(of_triangle, np.triu(of_full) + np.triu(of_full, 1), 1e-10)


def test_gradients_are_on_the_patterns_of_A_and_P():
    program = case("quadratic_by_its_triangle")
    *_, DT = program.solve()
    dA, _, _, dP = DT(*program.weights, return_dP=True)
    for found, given in ((dA, program.A), (dP, program.P)):
        assert isinstance(found, sp.csc_matrix)
        assert np.array_equal(found.indices, given.indices) and np.array_equal(found.indptr, given.indptr)


def test_derivatives_stay_right_when_the_callers_arrays_change():
    program = case("quadratic_by_its_triangle")
    A, b, c, cones = program.data
    P = program.P.copy()
    x, y, s, D, DT = ours.solve_and_derivative(A, b.copy(), c.copy(), cones, P=P)
    before = D(*program.direction), DT(*program.weights, return_dP=True)
    for array in (A.data, P.data, x, y, s):
        array[:] = 7.0
    after = D(*program.direction), DT(*program.weights, return_dP=True)
    for old, new in zip((*before[0], *before[1]), (*after[0], *after[1]), strict=True):
        assert np.array_equal(*(v.data if sp.issparse(v) else v for v in (old, new)))


def test_zeros_stored_in_A_are_eliminated_where_diffcp_does():
    A = sp.csc_matrix([[-1.0, 2.0], [3.0, -1.0], [4.0, 5.0]])
    A.data[1] = 0.0
    kept = A.copy()
    ours.solve_internal(kept, np.ones(3), -np.ones(2), {"l": 3}, solve_method="SCS", P=sp.eye(2, format="csc"))
    assert kept.nnz == 6
    *_, DT = ours.solve_and_derivative(A, np.ones(3), -np.ones(2), {"l": 3}, P=sp.eye(2, format="csc"))
    assert A.nnz == 5 and DT(np.ones(2), np.zeros(3), np.zeros(3))[0].nnz == 5


# Beside diffcp


@pytest.mark.parametrize("name", SHARED)
def test_solutions_are_diffcps(name):
    theirs = pytest.importorskip("diffcp")
    program = case(name)
    expected = program.solve(theirs, eps=1e-11, max_iters=1_000_000)
    for found, wanted in zip(program.solve()[:3], expected[:3], strict=True):
        assert np.abs(found - wanted).max() <= 1e-6


@pytest.mark.parametrize("name", ["linear", "second_order", "semidefinite"])
def test_derivatives_are_diffcps_where_it_is_right(name):
    theirs = pytest.importorskip("diffcp")
    program = case(name)
    *_, D, DT = program.solve()
    *_, their_D, their_DT = program.solve(theirs, eps=1e-11, max_iters=1_000_000, mode="dense")
    dA, db, dc, _ = program.direction
    assert_close(np.concatenate(D(dA, db, dc)), np.concatenate(their_D(dA, db, dc)), 1e-5)
    for found, wanted in zip(DT(*program.weights), their_DT(*program.weights), strict=True):
        found, wanted = (v.toarray() if sp.issparse(v) else v for v in (found, wanted))
        assert_close(found, wanted, 1e-5)


def test_the_readme_of_diffcp_runs_and_agrees():
    results = []
    for module in (ours, pytest.importorskip("diffcp")):
        random = np.random.RandomState(28)
        cones = {module.ZERO: 3, module.POS: 3, module.SOC: [5]}
        z = random.randn(11)
        s = module.cones.pi(z, module.cones.parse_cone_dict(cones), dual=False)
        A = sp.csc_matrix(random.randn(11, 5))
        b, c = A @ random.randn(5) + s, -A.T @ (s - z)
        x, y, s, D, DT = module.solve_and_derivative(A, b, c, cones, eps=1e-11)
        dA = sp.csc_matrix((random.randn(A.size), A.nonzero()), shape=A.shape)
        adjoint = DT(c, np.zeros(11), np.zeros(11), atol=1e-10, btol=1e-10)
        results.append([x, y, s, *D(dA, b, c, atol=1e-10, btol=1e-10), adjoint[0].toarray(), *adjoint[1:]])
    for found, wanted in zip(*results, strict=True):
        assert np.abs(found - wanted).max() <= 1e-6


def test_signatures_are_diffcps_with_more_keywords_at_the_end():
    theirs = pytest.importorskip("diffcp")
    functions = [name for name, value in vars(theirs).items() if inspect.isfunction(value)]
    assert len(functions) == 6
    for name in functions:
        mine, other = (inspect.signature(getattr(module, name)).parameters for module in (ours, theirs))
        shared = [p for p in other if p != "kwargs"]
        assert list(mine)[: len(shared)] == shared
        assert [mine[p].default for p in shared] == [other[p].default for p in shared]


def test_names_are_diffcps():
    theirs = pytest.importorskip("diffcp")
    assert ours.__version__ == "1.1.9"
    for name, module in (("cones", theirs.cones), ("", theirs)):
        for constant, value in vars(module).items():
            if isinstance(value, str) and not constant.startswith("_"):
                assert getattr(getattr(ours, name, ours), constant) == value
    # Their parts with a compiled type, and those of the method itself, are left out.
    inner = {"parse_cone_dict_cpp", "regularize_P", "embed_problem"}
    inner |= {"compute_perturbed_solution", "compute_adjoint_perturbed_solution"}
    for name in ("cones", "utils"):
        module = getattr(theirs, name)
        own = {key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
        public = {key for key in own if not key.startswith("_")}
        assert public - inner <= vars(getattr(ours, name)).keys()


# Batches


def batch_of(cases: list[Case]) -> tuple[list[Any], ...]:
    return tuple(list(values) for values in zip(*(c.data for c in cases), strict=True))


@pytest.mark.parametrize("jobs", [1, -1])
def test_a_batch_is_the_loop(jobs):
    cases = [make(MIXED, seed, "upper") for seed in (20, 21)] + [make({"z": 1, "l": 8}, seed, "full") for seed in (22, 23, 24)]
    order = [0, 2, 1, 3, 4]
    cases = [cases[k] for k in order]
    xs, ys, ss, D, DT = ours.solve_and_derivative_batch(
        *batch_of(cases), n_jobs_forward=jobs, n_jobs_backward=jobs, Ps=[c.P for c in cases]
    )
    dxs, dys, dss = D(*zip(*(c.direction for c in cases), strict=True))
    gradients = zip(*DT(*zip(*(c.weights for c in cases), strict=True), return_dP=True), strict=True)
    for k, (program, gradient) in enumerate(zip(cases, gradients, strict=True)):
        x, y, s, single_D, single_DT = program.solve()
        for found, wanted in zip((xs[k], ys[k], ss[k]), (x, y, s), strict=True):
            assert_close(found, wanted, 1e-9)
        for found, wanted in zip((dxs[k], dys[k], dss[k]), single_D(*program.direction), strict=True):
            assert_close(found, wanted, 1e-8)
        for found, wanted in zip(gradient, single_DT(*program.weights, return_dP=True), strict=True):
            found, wanted = (v.data if sp.issparse(v) else v for v in (found, wanted))
            assert_close(found, wanted, 1e-8)
    again = ours.solve_only_batch(*batch_of(cases), n_jobs_forward=jobs, Ps=[c.P for c in cases])
    for found, wanted in zip(again, (xs, ys, ss), strict=True):
        assert_close(np.concatenate(found), np.concatenate(wanted), 1e-9)


def test_a_batch_without_P_has_three_gradients():
    cases = [make({"l": 6}, seed) for seed in (30, 31)]
    *_, DT = ours.solve_and_derivative_batch(*batch_of(cases))
    weights = list(zip(*(c.weights for c in cases), strict=True))
    assert len(DT(*weights)) == 3
    with pytest.raises(ValueError, match="P must be provided"):
        DT(*weights, return_dP=True)


# What is not solved

INFEASIBLE = (sp.csc_matrix([[1.0], [1.0]]), np.array([1.0, -1.0]), np.ones(1))
UNBOUNDED = (sp.csc_matrix([[1.0], [1.0]]), np.array([1.0, 1.0]), np.ones(1))


@pytest.mark.parametrize("solve_method", ["SCS", "ECOS", "CLARABEL", None])
def test_an_infeasible_program_is_a_solver_error(solve_method):
    for solve in (ours.solve_and_derivative, ours.solve_only, ours.solve_internal):
        with pytest.raises(ours.SolverError, match="returned status primal infeasible") as caught:
            solve(*INFEASIBLE, {"z": 2}, solve_method=solve_method)
        assert isinstance(caught.value.__cause__, conediff.errors.PrimalInfeasibleError)
        assert isinstance(caught.value, conediff.Error) and caught.value.item is None


def test_an_unbounded_program_is_a_solver_error():
    with pytest.raises(ours.SolverError, match="dual infeasible") as caught:
        ours.solve_and_derivative(*UNBOUNDED, {"l": 2})
    assert isinstance(caught.value.__cause__, conediff.errors.DualInfeasibleError)


def test_without_raising_a_failure_is_a_status():
    for data, cones, status, number in ((INFEASIBLE, {"z": 2}, "infeasible", -2), (UNBOUNDED, {"l": 2}, "unbounded", -1)):
        result = ours.solve_and_derivative_internal(*data, cones, solve_method="SCS", raise_on_error=False)
        assert result["D"] is None and result["DT"] is None and np.isnan(result["x"]).all()
        assert (result["info"]["status"], result["info"]["status_val"]) == (status, number)
        result = ours.solve_internal(*data, cones, solve_method="Clarabel", raise_on_error=False)
        assert result["info"]["status"] == status.capitalize() and result["D"] is None


def test_a_failed_item_fails_the_batch_and_is_named():
    A = sp.csc_matrix([[-1.0], [1.0]])
    bs = [np.array([-1.0, 2.0]), np.array([-1.0, 0.0])]
    for solve in (ours.solve_and_derivative_batch, ours.solve_only_batch):
        with pytest.raises(ours.SolverError) as caught:
            solve([A, A], bs, [np.ones(1)] * 2, [{"l": 2}] * 2)
        assert caught.value.item == 1


@pytest.mark.parametrize("options", [{}, {"mode": "lpgd", "derivative_kwargs": {"tau": 1e-4, "rho": 0.0}}])
def test_without_raising_a_failed_item_of_a_batch_leaves_the_others_alone(options):
    A = sp.csc_matrix([[-1.0], [1.0]])
    bs = [np.array([-1.0, 2.0]), np.array([-1.0, 0.0]), np.array([-3.0, 4.0])]
    xs, _, _, D, DT = ours.solve_and_derivative_batch(
        [A] * 3, bs, [np.ones(1)] * 3, [{"l": 2}] * 3, raise_on_error=False, **options
    )
    assert_close([xs[0][0], xs[2][0]], [1.0, 3.0], 1e-9)
    assert np.isnan(xs[1]).all()
    dxs, _, _ = D([0.0 * A] * 3, [np.array([1.0, 0.0])] * 3, [np.zeros(1)] * 3)
    _, dbs, _ = DT([np.ones(1)] * 3, [np.zeros(2)] * 3, [np.zeros(2)] * 3)
    for k in (0, 2):
        assert_close(dxs[k], [-1.0], 1e-8)
        assert_close(dbs[k], [-1.0, 0.0], 1e-8)
    assert np.isnan(dxs[1]).all() and np.isnan(dbs[1]).all()


# Arguments


def test_the_dictionary_of_a_solve_has_what_cvxpy_reads():
    program = case("linear")
    result = ours.solve_and_derivative_internal(*program.data)
    assert {"x", "y", "s", "info", "D", "DT"} <= result.keys()
    info = result["info"]
    assert info["status"] == "Solved" and info["status_val"] == 1 and info["iter"] > 0
    assert_close(info["pobj"], program.c @ result["x"], 1e-12)
    assert info["solve_time"] == pytest.approx(1e3 * info["solveTime"])


@pytest.mark.parametrize("mode", ["lsqr", "lsmr", "dense"])
def test_exact_modes_are_one_derivative(mode):
    program = case("quadratic_by_its_triangle")
    *_, D, _ = program.solve(mode=mode)
    assert_close(np.concatenate(D(*program.direction)), program.difference(), DIFFERENCES)


def test_unknown_modes_and_solvers_raise_as_in_diffcp():
    program = case("linear")
    with pytest.raises(ValueError, match="Unsupported mode bisection; the supported modes are 'dense', 'lsqr'"):
        program.solve(mode="bisection")
    with pytest.raises(ValueError, match="Unsupported mode"):
        ours.solve_and_derivative_batch(*batch_of([program]), mode="bisection")
    with pytest.raises(ValueError, match="Solver GLPK not supported"):
        program.solve(solve_method="GLPK")


def test_the_zero_cones_old_key_means_the_same():
    program = case("second_order")
    legacy = {("f" if key == "z" else key): size for key, size in program.cones.items()}
    x, _, _, _, DT = ours.solve_and_derivative(program.A.copy(), program.b, program.c, legacy)
    x2, _, _, _, DT2 = program.solve()
    assert_close(x, x2, 1e-12)
    assert_close(DT(*program.weights)[1], DT2(*program.weights)[1], 1e-10)


def test_sizes_may_be_numbers_lists_and_arrays_and_empty():
    program = case("exponential")
    n = program.c.size
    sizes = {"z": np.int64(1), "l": 0, "q": [], "s": (), "ep": [1, 2], "ed": 0, "p": np.zeros(0), "pnd": []}
    x, *_ = ours.solve_only(program.A, program.b, program.c, sizes)
    assert_close(x, program.solution[:n], 1e-8)


def test_a_cone_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="cone 'bsize' is none of 'z', 'l'"):
        ours.solve_only(*UNBOUNDED, {"bsize": 2})


def test_sizes_that_do_not_match_are_errors():
    A, b, c = UNBOUNDED
    for data in ((A, b, c, {"l": 3}), (A, b[:1], c, {"l": 2}), (A, b, np.ones(2), {"l": 2})):
        with pytest.raises(ValueError, match="shape: expected"):
            ours.solve_only(*data)


def test_a_nan_in_A_is_diffcps_error():
    A = sp.csc_matrix([[np.nan], [1.0]])
    for solve in (ours.solve_and_derivative, ours.solve_only):
        with pytest.raises(RuntimeError, match="Found a NaN in A"):
            solve(A, *UNBOUNDED[1:], {"l": 2})


def test_a_direction_in_P_needs_a_P():
    program = case("linear")
    *_, D, DT = program.solve()
    with pytest.raises(ValueError, match="P must be provided if dP is not None"):
        D(*program.direction[:3], dP=sp.eye(program.c.size))
    with pytest.raises(ValueError, match="P must be provided"):
        DT(*program.weights, return_dP=True)


def test_warm_starts_and_options_of_other_solvers_change_nothing():
    program = case("second_order")
    x, y, s, _, _ = program.solve()
    options = [
        {"warm_start": (x, y, s), "max_iters": 1, "eps": 1e-9, "acceleration_lookback": 0, "verbose": False},
        {"solve_method": "ECOS", "abstol": 1e-3, "feastol": 1e-3},
        {"solve_method": "Clarabel", "tol_gap_abs": 1e-3, "equilibrate_enable": False, "max_iter": 2},
        {"time_limit_secs": 60.0},
    ]
    for some in options:
        assert_close(program.solve(**some)[0], x, 1e-9)


def test_settings_of_conediff_are_used_and_others_are_errors():
    # |x| at its kink.
    data = sp.csc_matrix([[-1.0], [1.0]]), np.zeros(2), np.zeros(1), {"l": 2}
    with pytest.raises(conediff.errors.NotTrustedError):
        ours.solve_and_derivative(*data, P=sp.eye(1, format="csc"), strict=True)
    with pytest.raises(TypeError, match="unknown setting 'epsilon'"):
        case("linear").solve(epsilon=1e-3)


def test_a_derivative_that_is_not_trusted_is_one_warning_where_it_is_taken():
    data = sp.csc_matrix([[-1.0], [1.0]]), np.zeros(2), np.zeros(1), {"l": 2}
    P, zero = sp.eye(1, format="csc"), np.zeros(2)
    good = np.ones(2)
    *_, D, DT = ours.solve_and_derivative(*data, P=P)
    *_, D_batch, DT_batch = ours.solve_and_derivative_batch(
        [data[0]] * 3, [good, zero, zero], [data[2]] * 3, [data[3]] * 3, Ps=[P] * 3
    )
    calls = [
        (lambda: D(data[0], zero, np.ones(1)), "derivative not trusted: "),
        (lambda: DT(np.ones(1), zero, zero), "derivative not trusted: "),
        (lambda: D_batch([data[0]] * 3, [zero] * 3, [np.ones(1)] * 3), "item 1 of 3"),
        (lambda: DT_batch([np.ones(1)] * 3, [zero] * 3, [zero] * 3), "item 1 of 3"),
    ]
    for call, words in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert len(caught) == 1 and caught[0].category is conediff.UntrustedDerivativeWarning
        assert re.search(words, str(caught[0].message)) and caught[0].filename == __file__


# LPGD


@pytest.mark.parametrize("name", ["second_order", "mixed_quadratic"])
def test_lpgd_tends_to_the_derivative(name):
    program = case(name)
    has_P = program.P is not None
    *_, D, DT = program.solve()
    for mode, tolerance in (("lpgd", 1e-6), ("lpgd_left", 1e-3), ("lpgd_right", 1e-3)):
        *_, step_D, step_DT = program.solve(mode=mode, derivative_kwargs={"tau": 1e-5, "rho": 0.0})
        assert_close(np.concatenate(step_D(*program.direction)), np.concatenate(D(*program.direction)), tolerance)
        for found, wanted in zip(step_DT(*program.weights, has_P), DT(*program.weights, has_P), strict=True):
            found, wanted = (v.toarray() if sp.issparse(v) else v for v in (found, wanted))
            assert_close(found, wanted, tolerance)


@pytest.mark.parametrize("mode", ["lpgd", "lpgd_left", "lpgd_right"])
def test_lpgd_is_diffcps(mode):
    theirs = pytest.importorskip("diffcp")
    pytest.importorskip("clarabel")
    program = case("quadratic_by_its_triangle")
    tight = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}
    for steps in ({"tau": 0.05, "rho": 0.1}, {"tau": 0.02, "rho": 0.0}):
        *_, D, DT = program.solve(mode=mode, derivative_kwargs=steps)
        *_, their_D, their_DT = program.solve(theirs, mode=mode, derivative_kwargs=steps, solve_method="Clarabel", **tight)
        dx, dy, ds = program.weights
        results = [(D(*program.direction), their_D(*program.direction))]
        results += [(DT(dx, dy, weight), their_DT(dx, dy, weight)) for weight in (ds, 0.0 * ds)]
        for found, wanted in results:
            for left, right in zip(found, wanted, strict=True):
                left, right = (v.toarray() if sp.issparse(v) else v for v in (left, right))
                assert_close(left, right, 1e-4)


def test_lpgd_sees_past_the_jump_of_a_linear_program():
    # minimize c x over 0 <= x <= 1 at c = 0.5: x = 0, and its derivative is zero.
    A = sp.csc_matrix([[-1.0], [1.0]])
    data = A, np.array([0.0, 1.0]), np.array([0.5]), {"l": 2}
    *_, DT = ours.solve_and_derivative(*data)
    assert abs(DT(np.ones(1), np.zeros(2), np.zeros(2))[2]) <= 1e-12
    *_, DT = ours.solve_and_derivative(*data, mode="lpgd")
    _, _, dc = DT(np.ones(1), np.zeros(2), np.zeros(2), tau=2.0)
    # x falls from 1 at c = -1.5 to 0 at c = 2.5.
    assert_close(dc, [-0.25], 1e-9)


def test_lpgd_needs_a_step():
    program = case("linear")
    *_, D, DT = program.solve(mode="lpgd")
    with pytest.raises(ValueError, match="tau > 0, got tau=None"):
        DT(*program.weights)
    with pytest.raises(ValueError, match="rho >= 0, got rho=-1"):
        D(*program.direction, tau=0.1, rho=-1)
    with pytest.raises(TypeError, match="atol"):
        DT(*program.weights, tau=0.1, atol=1e-3)
    with pytest.raises(ValueError, match="P must be provided if dP is not None"):
        D(*program.direction[:3], sp.eye(program.c.size), tau=0.1)


def test_a_failed_step_of_lpgd_names_the_side():
    # 1 <= x <= 2: lowering b by a long step leaves nothing.
    data = sp.csc_matrix([[-1.0], [1.0]]), np.array([-1.0, 2.0]), np.ones(1), {"l": 2}
    *_, D, _ = ours.solve_and_derivative(*data, mode="lpgd")
    for sign, side, other in ((1.0, "right", "left"), (-1.0, "left", "right")):
        with pytest.raises(ours.SolverError, match=f"{side}-perturbed problem failed.*switching to 'lpgd_{other}' mode"):
            D(0.0 * data[0], np.array([0.0, -sign]), np.zeros(1), tau=5.0)


# Cones


def test_symmetric_matrices_and_vectors_convert_both_ways():
    random = np.random.default_rng(50)
    for k in (1, 2, 5):
        x = random.normal(size=ours.cones.vec_psd_dim(k))
        X = ours.cones.unvec_symm(x, k)
        assert np.array_equal(X, X.T)
        assert_close(ours.cones.vec_symm(X), x, 1e-15)
        assert_close(np.sum(X * X), x @ x, 1e-14)
    lower = ours.cones.vec_symm(np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]]))
    assert_close(lower, [1.0, 2.0 * np.sqrt(2.0), 4.0 * np.sqrt(2.0), 3.0, 5.0 * np.sqrt(2.0), 6.0], 1e-15)


def test_orders_and_rows_of_matrices_convert_both_ways():
    assert ours.cones.vec_psd_dim(10) == 55
    for k in (0, 1, 2, 3, 4096):
        assert ours.cones.psd_dim(ours.cones.vec_psd_dim(k)) == k


def test_cones_are_parsed_in_the_order_of_the_rows():
    parsed = ours.cones.parse_cone_dict({"p": [0.5], "q": [3], "f": 2, "z": 1, "ep": 1})
    assert parsed == [("z", 3), ("q", [3]), ("ep", 1), ("p", [0.5])]


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_projections_satisfy_moreau(size):
    random = np.random.default_rng(51)
    cones = [("z", 3), ("l", 4), ("q", [1, 4, 0, 3]), ("s", [3, 1]), ("ep", 20), ("ed", [4, 16]), ("p", [0.3, -0.6] * 10)]
    m = 3 + 4 + 8 + 7 + 120 + 60
    x = size * random.normal(size=m)
    primal, dual = ours.cones.pi(x, cones), ours.cones.pi(-x, cones, dual=True)
    assert_close(primal - dual, x, 1e-12)
    assert abs(primal @ dual) <= 1e-12 * size**2 * m
    assert_close(ours.cones.pi(primal, cones), primal, 1e-9)
    assert_close(ours.cones.pi(2.0 * x, cones), 2.0 * primal, 1e-10)


def test_projections_lie_in_the_cones_as_defined():
    random = np.random.default_rng(52)
    x = random.normal(size=300)
    slack = 1e-12
    u, v, w = ours.cones.pi(x, [("ep", 100)]).reshape(-1, 3).T
    inside = v > slack
    assert np.all(v[inside] * np.exp(u[inside] / v[inside]) <= w[inside] + slack)
    assert np.all(u[~inside] <= slack) and np.all(w >= -slack) and np.all(v >= -slack)
    u, v, w = ours.cones.pi(x, [("ed", 100)]).reshape(-1, 3).T
    inside = u < -slack
    assert np.all(-u[inside] * np.exp(v[inside] / u[inside]) <= np.e * w[inside] + slack)
    assert np.all(v[~inside] >= -slack) and np.all(w >= -slack) and np.all(u <= slack)
    a = 0.3
    u, v, w = ours.cones.pi(x, [("p", [a] * 100)]).reshape(-1, 3).T
    assert np.all(np.abs(w) <= np.maximum(u, 0.0) ** a * np.maximum(v, 0.0) ** (1 - a) + 1e-10)
    u, v, w = ours.cones.pi(x, [("p", [-a] * 100)]).reshape(-1, 3).T
    assert np.all(np.abs(w) <= np.maximum(u / a, 0.0) ** a * np.maximum(v / (1 - a), 0.0) ** (1 - a) + 1e-10)


def test_projections_of_simple_cones_are_diffcps():
    theirs = pytest.importorskip("diffcp")
    x = np.random.default_rng(53).normal(size=30)
    cones = [("z", 3), ("l", 4), ("q", [5, 3]), ("s", [3, 2]), ("ep", 2)]
    for dual in (False, True):
        assert_close(ours.cones.pi(x, cones, dual), theirs.cones.pi(x, cones, dual), 1e-7)


def test_a_projection_at_zero_is_zero():
    cones = [("z", 1), ("l", 1), ("q", [3]), ("s", [2]), ("ep", 1), ("ed", 1), ("p", [0.5])]
    for dual in (False, True):
        assert_close(ours.cones.pi(np.zeros(17), cones, dual) + 1.0, np.ones(17), 1e-12)


# Test problems and CVXPY


def test_random_matrices_are_on_the_nonzeros():
    A = sp.csc_matrix([[1.0, 0.0], [2.0, 3.0]])
    A.data[0] = 0.0
    found = ours.utils.get_random_like(A, np.ones)
    assert_close(found.toarray(), [[0.0, 0.0], [1.0, 1.0]], 1e-15)


def test_test_problems_are_diffcps():
    theirs = pytest.importorskip("diffcp")
    pytest.importorskip("cvxpy")
    (A, b, c, cones), (A2, b2, c2, cones2) = (module.utils.least_squares_eq_scs_data(20, 10) for module in (ours, theirs))
    assert abs(A - A2).max() == 0.0 and np.array_equal(b, b2) and np.array_equal(c, c2)
    assert cones == {key: cones2[key] for key in cones}


def test_a_least_absolute_deviations_problem_moves_as_predicted():
    pytest.importorskip("cvxpy")
    A, b, c, cones = ours.utils.least_squares_eq_scs_data(20, 10)
    random = np.random.default_rng(54)
    x, y, s, D, DT = ours.solve_and_derivative(A, b, c, cones)
    dA = 1e-6 * ours.utils.get_random_like(A, lambda count: random.normal(size=count))
    db, dc = 1e-6 * random.normal(size=b.size), 1e-6 * random.normal(size=c.size)
    moved = ours.solve_only(A + dA, b + db, c + dc, cones)
    for found, before, after in zip(D(dA, db, dc), (x, y, s), moved, strict=True):
        assert np.abs(before + found - after).max() <= 1e-9
    dA, db, dc = DT(c, 0.0 * y, 0.0 * s)
    x_moved, *_ = ours.solve_only(A + 1e-6 * dA, b + 1e-6 * db, c + 1e-6 * dc, cones)
    predicted = 1e-6 * (dA.multiply(dA).sum() + db @ db + dc @ dc)
    assert abs(c @ x_moved - c @ x - predicted) <= 1e-8


def test_an_entropy_program_of_cvxpy_moves_as_predicted():
    cp = pytest.importorskip("cvxpy")
    p = cp.Variable(10)
    problem = cp.Problem(cp.Minimize(-cp.sum(cp.entr(p))), [cp.sum(p) == 1])
    A, b, c, cones = ours.utils.scs_data_from_cvxpy_problem(problem)
    random = np.random.default_rng(55)
    x, y, s, D, _ = ours.solve_and_derivative(A, b, c, cones)
    dA = 1e-6 * ours.utils.get_random_like(A, lambda count: random.normal(size=count))
    db, dc = 1e-6 * random.normal(size=b.size), 1e-6 * random.normal(size=c.size)
    for found, before, after in zip(D(dA, db, dc), (x, y, s), ours.solve_only(A + dA, b + db, c + dc, cones), strict=True):
        assert np.abs(before + found - after).max() <= 1e-8


def test_a_quadratic_problem_of_cvxpy_becomes_cones():
    cp = pytest.importorskip("cvxpy")
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - np.arange(3.0)) + cp.max(x)), [x[0] >= 0.5])
    found, *_ = ours.solve_only(*ours.utils.scs_data_from_cvxpy_problem(problem))
    problem.solve(solver=cp.CLARABEL)
    assert np.abs(np.sort(found)[:, None] - np.sort(x.value)).min(axis=0).max() <= 1e-6


@pytest.mark.parametrize("solve_method", ["SCS", "ECOS", "CLARABEL"])
def test_cvxpy_differentiates_with_it_in_diffcps_place(solve_method, monkeypatch):
    pytest.importorskip("diffcp")
    cp = pytest.importorskip("cvxpy")
    monkeypatch.setitem(sys.modules, "diffcp", ours)
    # x = p / |p|
    x, p = cp.Variable(2), cp.Parameter(2)
    p.value = np.array([3.0, 4.0])
    problem = cp.Problem(cp.Minimize(-p @ x), [cp.norm(x) <= 1])
    problem.solve(solver=cp.DIFFCP, requires_grad=True, solve_method=solve_method)
    assert_close(x.value, [0.6, 0.8], 1e-8)
    x.gradient = np.array([1.0, 0.0])
    problem.backward()
    assert_close(p.gradient, [0.128, -0.096], 1e-8)
    problem = cp.Problem(cp.Minimize(-p @ x), [x >= 1, x <= 0])
    problem.solve(solver=cp.DIFFCP, requires_grad=True)
    assert problem.status == cp.INFEASIBLE
