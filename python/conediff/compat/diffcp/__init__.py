"""diffcp's functions on conediff: the names, signatures and conventions of diffcp 1.1.9.

::

    import conediff.compat.diffcp as diffcp

    x, y, s, D, DT = diffcp.solve_and_derivative(A, b, c, {diffcp.POS: 3, diffcp.SOC: [5]})
    dx, dy, ds = D(dA, db, dc)
    dA, db, dc = DT(dx, dy, ds)

    minimize 1/2 x'Px + c'x   subject to   Ax + s = b,  s in K        (dual: y in K*, Px + A'y + c = 0)

Rows are in SCS's order: zero, nonnegative, second-order, PSD (the lower triangle column by column, off-diagonal entries times
sqrt 2), exponential, dual exponential and power cones.

* ``cone_program``: solving and differentiating.
* ``cones``: names of cones, symmetric matrices as vectors, projections.
* ``utils``: test problems.
"""

from . import cone_program, cones, utils
from .cone_program import (
    SolverError,
    solve_and_derivative,
    solve_and_derivative_batch,
    solve_and_derivative_internal,
    solve_internal,
    solve_only,
    solve_only_batch,
)
from .cones import EXP, EXP_DUAL, POS, POW, PSD, SOC, ZERO

#: The version of diffcp whose interface this is.
__version__ = "1.1.9"

__all__ = [
    "EXP",
    "EXP_DUAL",
    "POS",
    "POW",
    "PSD",
    "SOC",
    "ZERO",
    "SolverError",
    "__version__",
    "cone_program",
    "cones",
    "solve_and_derivative",
    "solve_and_derivative_batch",
    "solve_and_derivative_internal",
    "solve_internal",
    "solve_only",
    "solve_only_batch",
    "utils",
]
