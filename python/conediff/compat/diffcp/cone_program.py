"""Solving cone programs and differentiating the solutions: diffcp's functions.

::

    minimize 1/2 x'Px + c'x   subject to   Ax + s = b,  s in K        (dual: y in K*, Px + A'y + c = 0)

All functions take A (m, n) as a SciPy sparse matrix, b (m,), c (n,), K as a dictionary of sizes with SCS's keys and order,
and P as None, a symmetric sparse matrix or its upper triangle. Zeros stored in A are eliminated, in the caller's A, except by
:func:`solve_internal`; so the gradient in A is on A's nonzeros.

There is one solver, and a solution is right to about rounding whatever tolerances are given: see ``solve_method`` and
``kwargs`` of :func:`solve_and_derivative`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._exact import Exact
from ._lpgd import SIDES, Lpgd
from ._program import Answers, Program, SolverError, solve_all

__all__ = [
    "SolverError",
    "solve_and_derivative",
    "solve_and_derivative_batch",
    "solve_and_derivative_internal",
    "solve_internal",
    "solve_only",
    "solve_only_batch",
]

Arrays = list[np.ndarray]

EXACT_MODES = ("dense", "lsqr", "lsmr")
SOLVE_METHODS = (None, "SCS", "ECOS", "Clarabel", "CLARABEL")

#: Options of SCS, ECOS and Clarabel about work that is not done here.
OTHER_SOLVERS_OPTIONS = frozenset(
    """
    verbose
    eps eps_abs eps_rel eps_infeas alpha rho_x adaptive_scale scale normalize max_iters acceleration_lookback
    acceleration_interval write_data_filename log_csv_filename linear_solver use_indirect gpu mkl
    abstol reltol feastol abstol_inacc reltol_inacc feastol_inacc
    max_iter max_step_fraction tol_gap_abs tol_gap_rel tol_feas tol_infeas_abs tol_infeas_rel tol_ktratio reduced_tol_gap_abs
    reduced_tol_gap_rel reduced_tol_feas reduced_tol_infeas_abs reduced_tol_infeas_rel reduced_tol_ktratio equilibrate_enable
    equilibrate_max_iter equilibrate_min_scaling equilibrate_max_scaling linesearch_backtrack_step min_switch_step_length
    min_terminate_step_length max_threads direct_kkt_solver direct_solve_method static_regularization_enable
    static_regularization_constant static_regularization_proportional dynamic_regularization_enable dynamic_regularization_eps
    dynamic_regularization_delta iterative_refinement_enable iterative_refinement_reltol iterative_refinement_abstol
    iterative_refinement_max_iter iterative_refinement_stop_ratio presolve_enable input_sparse_dropzeros
    chordal_decomposition_enable chordal_decomposition_merge_method chordal_decomposition_compact
    chordal_decomposition_complete_dual pardiso_iparm pardiso_verbose
    """.split()
)


def solve_and_derivative(
    A: Any,
    b: np.ndarray,
    c: np.ndarray,
    cone_dict: Mapping[str, Any],
    warm_start: Any = None,
    mode: str = "lsqr",
    solve_method: str | None = "SCS",
    P: Any = None,
    **kwargs: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Callable[..., Any], Callable[..., Any]]:
    """Solves a cone program and gives its derivative and the adjoint as functions.

    Parameters
    ----------
    A, b, c, cone_dict, P : the program, see the module. Quadratic programs work in every mode.
    warm_start : accepted and not used: it would change the time, not the answer
    mode : "lsqr", "lsmr" and "dense" all mean the derivative itself, by one factorization and refined solves. "lpgd",
        "lpgd_right" and "lpgd_left" mean differences of solutions at a finite step: tau and rho in ``derivative_kwargs`` or
    at each call. solve_method : "SCS", "ECOS", "Clarabel", "CLARABEL" or None: one solver, conediff's, stands for all
    derivative_kwargs : a dictionary of tau and rho for LPGD
    raise_on_error : True; with False a program that is not solved has NaN and None in place of the two functions
    **kwargs : settings of :class:`conediff.ConicLayer` are used, ``strict=True`` for one, and ``time_limit_secs`` is its
        time_limit. The other options of SCS, ECOS and Clarabel are accepted and not used.

    Returns
    -------
    x (n,), y (m,), s (m,)
    D : ``D(dA, db, dc, dP=None)`` gives dx, dy, ds. dA and dP may have any pattern.
    DT : ``DT(dx, dy, ds, return_dP=False)`` gives dA, db, dc and, if wanted, dP: matrices by columns, on the nonzeros of A
        and the stored entries of P. An entry of an upper triangle stands for both mirrored ones.

    A derivative that is not trusted (a kink, a singular system) is an :class:`conediff.UntrustedDerivativeWarning`.

    Raises
    ------
    SolverError
        The program is infeasible or unbounded, or the solver failed.
    RuntimeError
        A has a NaN.
    ValueError
        An unknown mode or solve_method, or other wrong data.
    """
    result = solve_and_derivative_internal(
        A, b, c, cone_dict, solve_method=solve_method, warm_start=warm_start, mode=mode, P=P, **kwargs
    )
    return result["x"], result["y"], result["s"], result["D"], result["DT"]


def solve_and_derivative_internal(
    A: Any,
    b: np.ndarray,
    c: np.ndarray,
    cone_dict: Mapping[str, Any],
    solve_method: str | None = None,
    warm_start: Any = None,
    mode: str = "lsqr",
    raise_on_error: bool = True,
    P: Any = None,
    derivative_kwargs: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """:func:`solve_and_derivative` with its results in a dictionary: x, y, s, D, DT and info, see :func:`solve_internal`."""
    _check_mode(mode)
    _drop_zeros(A)
    answers, result = _solve_one(A, b, c, cone_dict, P, solve_method, raise_on_error, kwargs)
    result["D"] = result["DT"] = None
    if answers.errors[0] is None:
        maps = _maps(answers, mode, 1, kwargs, derivative_kwargs)

        def derivative(dA: Any, db: np.ndarray, dc: np.ndarray, dP: Any = None, **kwargs: Any) -> tuple[np.ndarray, ...]:
            dPs = None if dP is None else [dP]
            return tuple(values[0] for values in maps.derivative([dA], [db], [dc], dPs, **kwargs))

        def adjoint_derivative(
            dx: np.ndarray, dy: np.ndarray, ds: np.ndarray, return_dP: bool = False, **kwargs: Any
        ) -> tuple[Any, ...]:
            return tuple(values[0] for values in maps.adjoint([dx], [dy], [ds], return_dP, **kwargs))

        result["D"], result["DT"] = derivative, adjoint_derivative
    return result


def solve_and_derivative_batch(
    As: Sequence[Any],
    bs: Sequence[np.ndarray],
    cs: Sequence[np.ndarray],
    cone_dicts: Sequence[Mapping[str, Any]],
    n_jobs_forward: int = -1,
    n_jobs_backward: int = -1,
    mode: str = "lsqr",
    warm_starts: Sequence[Any] | None = None,
    Ps: Sequence[Any] | None = None,
    solve_method: str | None = "SCS",
    raise_on_error: bool = True,
    derivative_kwargs: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> tuple[Arrays, Arrays, Arrays, Callable[..., Any], Callable[..., Any]]:
    """:func:`solve_and_derivative` for lists of programs. Those of one pattern and one cone dictionary are one batch of a
    layer.
        Parameters
        ----------
        n_jobs_forward : -1; threads of the solves, -1 for one for each processor. The exact modes' derivatives use the same
        threads. n_jobs_backward : -1; threads of LPGD's solves
        raise_on_error : True; with False a program that is not solved has NaN in its solution and its derivatives, and leaves the
            others alone

        Returns
        -------
        xs, ys, ss : lists
        D_batch : ``D_batch(dAs, dbs, dcs, dPs=None)`` gives lists dxs, dys, dss
        DT_batch : ``DT_batch(dxs, dys, dss, return_dP=False)`` gives lists dAs, dbs, dcs and, if wanted, dPs
    """
    _check_mode(mode)
    for A in As:
        _drop_zeros(A)
    answers = _solve_many(As, bs, cs, cone_dicts, Ps, n_jobs_forward, solve_method, raise_on_error, kwargs)
    maps = _maps(answers, mode, _threads(n_jobs_backward), kwargs, derivative_kwargs)

    def derivative_batch(
        dAs: Sequence[Any], dbs: Sequence[np.ndarray], dcs: Sequence[np.ndarray], dPs: Any = None, **kwargs: Any
    ) -> tuple[Arrays, ...]:
        return maps.derivative(dAs, dbs, dcs, dPs, **kwargs)

    def adjoint_derivative_batch(
        dxs: Sequence[np.ndarray],
        dys: Sequence[np.ndarray],
        dss: Sequence[np.ndarray],
        return_dP: bool = False,
        **kwargs: Any,
    ) -> tuple[list[Any], ...]:
        return maps.adjoint(dxs, dys, dss, return_dP, **kwargs)

    return *answers.copies(), derivative_batch, adjoint_derivative_batch


def solve_only(
    A: Any,
    b: np.ndarray,
    c: np.ndarray,
    cone_dict: Mapping[str, Any],
    warm_start: Any = None,
    solve_method: str | None = "SCS",
    P: Any = None,
    **kwargs: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, s of :func:`solve_and_derivative`."""
    _drop_zeros(A)
    result = solve_internal(A, b, c, cone_dict, solve_method=solve_method, P=P, **kwargs)
    return result["x"], result["y"], result["s"]


def solve_only_batch(
    As: Sequence[Any],
    bs: Sequence[np.ndarray],
    cs: Sequence[np.ndarray],
    cone_dicts: Sequence[Mapping[str, Any]],
    n_jobs_forward: int = -1,
    warm_starts: Sequence[Any] | None = None,
    Ps: Sequence[Any] | None = None,
    solve_method: str | None = "SCS",
    raise_on_error: bool = True,
    **kwargs: Any,
) -> tuple[Arrays, Arrays, Arrays]:
    """xs, ys, ss of :func:`solve_and_derivative_batch`."""
    for A in As:
        _drop_zeros(A)
    answers = _solve_many(As, bs, cs, cone_dicts, Ps, n_jobs_forward, solve_method, raise_on_error, kwargs)
    return answers.copies()


def solve_internal(
    A: Any,
    b: np.ndarray,
    c: np.ndarray,
    cone_dict: Mapping[str, Any],
    solve_method: str | None = None,
    warm_start: Any = None,
    raise_on_error: bool = True,
    P: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Solves a cone program. The result has x, y, s and info; D and DT, None, if it was not solved.

    info has status and status_val ("solved" and 1, "infeasible" and -2, "unbounded" and -1, "failure" and -4; capitalized
    unless ``solve_method`` is "SCS"), iter, pobj, and the time in milliseconds as SCS has it (solve_time, setup_time) and in
    seconds as Clarabel has it (solveTime, setupTime).
    """
    answers, result = _solve_one(A, b, c, cone_dict, P, solve_method, raise_on_error, kwargs)
    if answers.errors[0] is not None:
        result["D"] = result["DT"] = None
    return result


def _check_mode(mode: str) -> None:
    if mode not in EXACT_MODES and mode not in SIDES:
        names = ", ".join(map(repr, (*EXACT_MODES, *SIDES)))
        raise ValueError(f"Unsupported mode {mode}; the supported modes are {names}")


def _check_method(solve_method: str | None) -> None:
    if solve_method not in SOLVE_METHODS:
        raise ValueError(f"Solver {solve_method} not supported.")


def _drop_zeros(A: Any) -> None:
    """Eliminates zeros stored in the caller's A, as diffcp does: callers use A.nonzero() for A's pattern."""
    if np.isnan(A.data).any():
        raise RuntimeError("Found a NaN in A.")
    A.eliminate_zeros()


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """conediff's settings among a caller's options."""
    settings = {name: value for name, value in options.items() if name not in OTHER_SOLVERS_OPTIONS}
    limit = settings.pop("time_limit_secs", 0.0)
    if limit > 0.0:
        settings["time_limit"] = limit
    return settings


def _threads(jobs: int) -> int:
    return (os.cpu_count() or 1) if jobs == -1 else jobs


def _maps(
    answers: Answers,
    mode: str,
    jobs: int,
    options: Mapping[str, Any],
    derivative_kwargs: Mapping[str, Any] | None,
) -> Exact | Lpgd:
    if mode in EXACT_MODES:
        return Exact(answers)
    return Lpgd(answers, mode, jobs, _settings(options), derivative_kwargs or {})


def _solve_one(
    A: Any,
    b: np.ndarray,
    c: np.ndarray,
    cone_dict: Mapping[str, Any],
    P: Any,
    solve_method: str | None,
    raise_on_error: bool,
    options: Mapping[str, Any],
) -> tuple[Answers, dict[str, Any]]:
    _check_method(solve_method)
    start = time.perf_counter()
    answers = solve_all([Program.read(A, b, c, cone_dict, P)], 1, _settings(options), raise_on_error)
    info = _info(answers, time.perf_counter() - start, solve_method)
    (x,), (y,), (s,) = answers.copies()
    return answers, {"x": x, "y": y, "s": s, "info": info}


def _solve_many(
    As: Sequence[Any],
    bs: Sequence[np.ndarray],
    cs: Sequence[np.ndarray],
    cone_dicts: Sequence[Mapping[str, Any]],
    Ps: Sequence[Any] | None,
    jobs: int,
    solve_method: str | None,
    raise_on_error: bool,
    options: Mapping[str, Any],
) -> Answers:
    _check_method(solve_method)
    Ps = [None] * len(As) if Ps is None else Ps
    programs = [Program.read(*data) for data in zip(As, bs, cs, cone_dicts, Ps, strict=True)]
    return solve_all(programs, _threads(jobs), _settings(options), raise_on_error)


def _info(answers: Answers, seconds: float, solve_method: str | None) -> dict[str, Any]:
    """What SCS, ECOS and Clarabel say of a solve, by their names."""
    solution = answers.groups[0].solution
    ends = {
        "primal infeasible": ("Infeasible", -2, np.inf),
        "dual infeasible": ("Unbounded", -1, -np.inf),
    }
    if answers.errors[0] is None:
        status, number, value = "Solved", 1, float(solution.objective[0])
        iterations = solution.info(0)["iterations"]
    else:
        status, number, value = ends.get(solution.status[0], ("Failure", -4, np.nan))
        iterations = getattr(answers.errors[0], "iterations", 0)
    return {
        "status": status.lower() if solve_method == "SCS" else status,
        "status_val": number,
        "iter": iterations,
        "pobj": value,
        "solve_time": 1e3 * seconds,
        "setup_time": 0.0,
        "solveTime": seconds,
        "setupTime": 0.0,
    }
