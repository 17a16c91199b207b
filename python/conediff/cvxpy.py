"""A solver for CVXPY: ``problem.solve(solver=conediff.cvxpy.ConeDiff())``.

The solver keeps quadratic objectives and takes every cone that CVXPY makes: zero, nonnegative, second-order, positive
semidefinite, exponential, power and generalized power.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import cvxpy.settings as s
import numpy as np
import scipy.sparse as sp
from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import CLARABEL

from . import layer as _layer
from .cones import Cone, Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero
from .errors import DualInfeasibleError, NotSolvedError, PrimalInfeasibleError, SolveError, TimeLimitError

__all__ = ["ConeDiff"]

#: Arguments of :class:`conediff.ConicLayer` that are data: CVXPY gives them.
DATA = frozenset({"q", "b", "upper"})


@dataclass(frozen=True)
class Answer:
    """What a solve found, under the names by which CVXPY's interface of Clarabel reads it."""

    status: str
    x: np.ndarray | None
    z: np.ndarray | None
    obj_val: float
    iterations: int | None
    solve_time: float
    info: dict[str, Any]


class ConeDiff(CLARABEL):
    """conediff as a solver of CVXPY.

    Duals have CVXPY's signs and shapes, as those of CLARABEL. Newton steps refine an answer: on curved cones an interior-point
    method alone is off by 1e-5 or so in x where its residual is 1e-8. A problem without a solution has the status that says so,
    and no exception. ``problem.solver_stats`` has the iterations and the time, and as ``extra_stats`` what is known about the
    point (:meth:`conediff.Solution.info`: kinks, margins, refinement).

    CVXPY's ``warm_start`` and ``verbose`` are accepted and change nothing: every solve starts anew and prints nothing of its own.

    Parameters
    ----------
    **settings : those of :class:`conediff.ConicLayer`, for every solve; keyword arguments of ``problem.solve`` come before them

    Examples
    --------
    >>> import cvxpy as cp, conediff.cvxpy
    >>> x = cp.Variable(2)
    >>> problem = cp.Problem(cp.Minimize(cp.sum_squares(x - [1, 2])), [cp.sum(x) <= 1])
    >>> value = problem.solve(solver=conediff.cvxpy.ConeDiff(), max_iterations=50)
    >>> round(value, 9), problem.status
    (2.0, 'optimal')
    """

    STATUS_MAP = {  # noqa: RUF012
        "solved": s.OPTIMAL,
        # Refinement brought its residual down to that of a solved one; without, it is an error.
        "almost solved": s.OPTIMAL,
        "stopped almost solved": s.OPTIMAL_INACCURATE,
        "primal infeasible": s.INFEASIBLE,
        "dual infeasible": s.UNBOUNDED,
        "iteration limit reached": s.USER_LIMIT,
        "time limit reached": s.USER_LIMIT,
    }

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = checked(settings, DATA | {"on_error"})

    def name(self) -> str:
        """CONEDIFF."""
        return "CONEDIFF"

    def import_solver(self) -> None:
        """Nothing is missing once this module is imported."""

    def __eq__(self, other: object) -> bool:
        # CVXPY keeps a problem's canonical form as long as it is solved with an equal solver.
        return type(other) is type(self) and other.settings == self.settings

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.settings))))

    def __repr__(self) -> str:
        return f"ConeDiff({', '.join(f'{name}={value!r}' for name, value in self.settings.items())})"

    def solve_via_data(
        self,
        data: dict[str, Any],
        warm_start: bool,
        verbose: bool,
        solver_opts: dict[str, Any],
        solver_cache: dict[str, Any] | None = None,
    ) -> Answer:
        """Solves the canonical program.

        Raises
        ------
        TypeError, SettingError
            An option that conediff does not have, or has not with this value.
        cvxpy.SolverError
            The method broke down numerically.
        """
        # CVXPY's own option, already obeyed.
        options = {name: value for name, value in solver_opts.items() if name != "use_quad_obj"}
        settings = checked({**self.settings, **options}, DATA | {"on_error"})
        start = time.perf_counter()
        P, q, A, b = data.get(s.P), data[s.C], data[s.A], data[s.B]
        solution = _layer.solve(P, q, A, b, cones_of(data[self.DIMS]), on_error="nan", **settings)
        elapsed = time.perf_counter() - start
        match solution.errors:
            case None:
                x, z, value, info = solution.x, solution.z, float(solution.objective), solution.info()
                return Answer(solution.status, x, z, value, info["iterations"], elapsed, info)
            case PrimalInfeasibleError() as error:
                # CVXPY keeps the certificate as the constraints' duals.
                return Answer("primal infeasible", None, error.certificate, np.inf, None, elapsed, {})
            case DualInfeasibleError():
                return Answer("dual infeasible", None, None, -np.inf, None, elapsed, {})
            case NotSolvedError(status="almost solved" | "iteration limit reached" | "time limit reached") as error:
                status = "stopped almost solved" if error.status == "almost solved" else error.status
                value = float(q @ error.x) + (0.0 if P is None else 0.5 * float(error.x @ (P @ error.x)))
                return Answer(status, error.x, error.z, value, error.iterations, elapsed, {})
            case TimeLimitError(x=np.ndarray()) as error:
                value = float(q @ error.x) + (0.0 if P is None else 0.5 * float(error.x @ (P @ error.x)))
                return Answer(error.status, error.x, error.z, value, None, elapsed, {})
            case SolveError() as error:
                raise cp.SolverError(str(error)) from error
            case error:
                raise error

    def invert(self, solution: Answer, inverse_data: Any) -> Any:
        """The solution of CVXPY's problem."""
        found = super().invert(solution, inverse_data)
        found.attr[s.EXTRA_STATS] = solution.info
        return found


def cones_of(dims: Any) -> list[Cone]:
    """The cones of a program as CVXPY orders its rows."""
    return [
        Zero(dims.zero),
        Nonnegative(dims.nonneg),
        *map(SecondOrder, dims.soc),
        *map(PsdTriangle, dims.psd),
        *[Exponential()] * dims.exp,
        *map(Power, dims.p3d),
        *map(GeneralizedPower, getattr(dims, "pnd", [])),
    ]


def checked(settings: Mapping[str, Any], reserved: Set[str] = DATA) -> dict[str, Any]:
    """The settings, if a layer has them and none is reserved."""
    for name in settings.keys() & reserved:
        raise TypeError(f"{name!r} is no setting here")
    _layer.ConicLayer(None, sp.csc_array((0, 1)), [], **settings)
    return dict(settings)
