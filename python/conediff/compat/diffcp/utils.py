"""Test problems: cone programs of CVXPY problems, random matrices on a pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from .cones import EXP, POS, POW, PSD, SOC, ZERO

__all__ = ["get_random_like", "least_squares_eq_scs_data", "scs_data_from_cvxpy_problem"]

Data = tuple[Any, np.ndarray, np.ndarray, dict[str, Any]]


def scs_data_from_cvxpy_problem(problem: Any) -> Data:
    """A, b, c and the cones of a CVXPY problem. Quadratic terms become cones: there is no P."""
    data = problem.get_problem_data("SCS", solver_opts={"use_quad_obj": False})[0]
    dims = data["dims"]
    cones = {ZERO: dims.zero, POS: dims.nonneg, SOC: dims.soc, PSD: dims.psd, EXP: dims.exp, POW: dims.p3d}
    return data["A"], data["b"], data["c"], cones


def least_squares_eq_scs_data(m: int, n: int, seed: int = 0) -> Data:
    """minimize the sum of absolute residuals of m random equations over the simplex of R^n, m >= n, as a cone program. It has
    one solution."""
    import cvxpy as cp

    random = np.random.RandomState(seed)
    b, A = random.randn(m), random.randn(m, n)
    x = cp.Variable(n)
    problem = cp.Problem(cp.Minimize(cp.pnorm(A @ x - b, 1)), [x >= 0, cp.sum(x) == 1.0])
    return scs_data_from_cvxpy_problem(problem)


def get_random_like(A: Any, randomness: Callable[[int], np.ndarray]) -> sp.csc_matrix:
    """A random matrix on the nonzeros of A; ``randomness(k)`` gives k values."""
    rows, columns = A.nonzero()
    return sp.csc_matrix((randomness(rows.size), (rows, columns)), shape=A.shape)
