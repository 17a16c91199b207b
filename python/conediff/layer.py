"""The layer: one structure, many data; and a single solve.

::

    minimize 1/2 x'Px + q'x   subject to   Ax + s = b,  s in K        (dual: z in K*, Px + A'z + q = 0)
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from . import _core
from ._data import Argument, Matrix, Shape, broadcast, check_memory, dimension_error, to_array
from .cones import Cone, to_core, to_tuple
from .errors import InputError, SettingError
from .result import Solution

__all__ = ["ConicLayer", "solve"]

OnError = Literal["raise", "nan", "zero"]


class ConicLayer:
    """Solves and differentiates programs that share their patterns and cones.

    Parameters
    ----------
    P : (n, n) dense array, SciPy sparse matrix, or None for no quadratic term
        All of P by default; only its symmetric part (P + P')/2 matters and is used. A matrix further from symmetric than 1e-3
        of its largest entry is refused: a triangle given for the whole would be halved. With ``upper=True`` only the upper
        triangle is given, and gradients come back on it; an entry off the diagonal then stands for both mirrored copies.
    A : (m, n) dense array, SciPy sparse matrix, or None for no constraints
        Sparse matrices set the pattern: explicit zeros stay, unsorted or duplicate entries are sorted and summed (``layer.A``
        is the result, and its ``data`` the stored order). A dense array means that every entry may change. An array of dtype
        bool is a pattern without values: values must then be given at each call.
    cones : the cones of the m rows in order
    q, b : values for calls that do not give their own
    upper : whether P is its upper triangle alone
    on_error : "raise" the first failed item's error; or fill a failed item's solution and derivatives with "nan" or "zero",
        its error in ``Solution.errors``. The other items of a batch are right whatever happens to one.
    **settings : see below

    Settings (the library is unit-free: tolerances are relative to data of order one)
    --------
    threads : 1; threads of a batch, one item each. 0: one for each processor
    strict : False; make a derivative that is not trusted an error
    tolerance, max_iterations : 1e-8, 200; the interior-point method, whose answer is then refined
    time_limit : infinity; seconds each call may take (a solve of a whole batch, a vjp, a jvp, a report), looked at between steps.
        Items that did not get their turn have a ``TimeLimitError``. Ctrl-C stops a call the same way.
    refine, refine_tolerance, refine_max_steps : True, 1e-9, 40; semismooth Newton steps
    linear_solver : "auto", "ldl", "lu", "lsqr"
    linear_backend : "auto", "dense", "simplicial", "supernodal"
    linear_tolerance, max_refinement, lsqr_max_iterations : 1e-12, 30, 20000
    accuracy : 2e-6; the estimated relative error a derivative may have and still be trusted
    ambiguity : 1e-9; how close to a kink counts as at it
    selection : "nonsingular_first", "active", "inactive", "half", "minimum_norm", ("random", seed); the element taken at a kink
    policy : "flag", "minimum_norm", ("tikhonov", rho), ("smoothing", mu), ("lagrangian", tau); what a derivative is where the
        solution map is not certified differentiable
    forward_solver : "auto", "clarabel", "dense_qp"
    clarabel_solver : "auto", "qdldl", "faer"
    cheap_tolerance : 1e-6; the first solve's, before Newton steps
    warm_start : False; start from the previous call's solutions
    max_dense_bytes : 2**32, 4 GiB; the largest dense Jacobian: more is a ``TooLargeError`` before memory is taken

    Examples
    --------
    >>> import numpy as np, conediff
    >>> # minimize 1/2 |x|^2 - x1 - 2 x2 subject to x1 + x2 <= b
    >>> layer = conediff.ConicLayer(np.eye(2), np.ones((1, 2)), [conediff.Nonnegative(1)])
    >>> solution = layer.solve(q=[-1.0, -1.5], b=[1.0])
    >>> solution.x.round(9)
    array([0.25, 0.75])
    >>> gradient = solution.vjp(dx=[1.0, 0.0])       # of x1
    >>> gradient.b.round(9), gradient.trusted
    (array([0.5]), True)
    """

    def __init__(
        self,
        P: Any,
        A: Any,
        cones: Sequence[Cone],
        *,
        q: ArrayLike | None = None,
        b: ArrayLike | None = None,
        upper: bool = False,
        on_error: OnError = "raise",
        **settings: Any,
    ) -> None:
        if not isinstance(on_error, str) or on_error not in ("raise", "nan", "zero"):
            error = SettingError(f"setting on_error = {on_error!r}: must be 'raise', 'nan' or 'zero'")
            error.name, error.value, error.allowed = "on_error", on_error, "'raise', 'nan' or 'zero'"
            raise error
        keywords = {"q": q, "b": b, "upper": upper, "on_error": on_error, **settings}
        cones = to_tuple(cones)
        self._made = ((P, A, cones), keywords)
        if P is None and A is None:
            raise InputError("P and A are both None: there is no number of variables")
        A = None if A is None else Matrix("A", A)
        n = _columns(P) if A is None else A.shape[1]
        P = Matrix("P", P, (n, n))
        if P.shape != (n, n):
            raise dimension_error("P's shape", (n, n), P.shape)
        if A is None:
            A = Matrix("A", None, (0, n))
        self.n, self.m = n, A.shape[0]
        self.cones = cones
        self.upper, self.on_error = upper, on_error
        self._arguments = (P, Argument("q", (self.n,)), A, Argument("b", (self.m,)))
        for argument, value in ((self._arguments[1], q), (self._arguments[3], b)):
            argument.default = None if value is None else np.array(to_array(argument.name, value))
        self._settings = settings
        # Masks of P, q, A, b as stored: what may move at all, for layers whose data are functions of few parameters.
        self._moving: Sequence[np.ndarray] | None = None
        self._make()
        # The compiled part has read it as a number.
        self._max_dense_bytes = int(settings.get("max_dense_bytes", 2**32))

    def _make(self) -> None:
        p, q, a, b = (argument.core() for argument in self._arguments)
        moving = None if self._moving is None else [np.array(part, dtype=np.float64) for part in self._moving]
        self._layer = _core.Layer(p, self.upper, q, a, b, to_core(self.cones), moving, self._settings)
        self._process = os.getpid()

    @property
    def P(self) -> Any:
        """P as given, sparse ones in the stored order that values and gradients have."""
        return self._matrix(0)

    @property
    def A(self) -> Any:
        """A as given, sparse ones in the stored order that values and gradients have."""
        return self._matrix(2)

    def _matrix(self, k: int) -> Any:
        matrix = self._arguments[k]
        return matrix.default if matrix.pattern is None else matrix.pattern

    @property
    def counts(self) -> dict[str, int]:
        """How the forwards found their answers: forwards, warm, warm_missed, dense_qp, cheap, full, failed."""
        return json.loads(self._layer.counts())

    def solve(self, P: Any = None, q: Any = None, A: Any = None, b: Any = None) -> Solution:
        """Solves for the data given; what is None is the layer's own.

        Shapes: P (..., n, n) or, on a pattern, (..., nnz) values in stored order, a sparse matrix, or a list of them; A
        likewise; q (..., n); b (..., m). Leading dimensions broadcast against each other and are those of the solution. The
        solution's dtype is float32 if every array given is, else float64; inside all is float64.

        Raises
        ------
        InputError, SolveError
            Unless ``on_error`` is "nan" or "zero"; ``error.item`` is the first failed item, ``error.solution`` the others'
            solution.
        """
        return self._solve(P, q, A, b)

    __call__ = solve

    def _solve(self, P: Any, q: Any, A: Any, b: Any, once: bool = False) -> Solution:
        """``once``: no solvers are timed for later calls."""
        leads, rows, dtypes, given = [], [], [], []
        for argument, value in zip(self._arguments, (P, q, A, b), strict=True):
            if value is None:
                if argument.default is None and argument.length > 0:
                    raise InputError(f"{argument.name} has no value: give it here or to the layer")
                leads.append(())
                rows.append(None)
                given.append(argument.default)
                continue
            lead, array, dtype = argument.rows(value)
            leads.append(lead)
            rows.append(array)
            dtypes.append(dtype)
            given.append(value)
        batch = _batch(leads)
        # What each item takes beside its data and solution is more than this, but not by far.
        check_memory("the batch", math.prod(batch) * (sum(a.length for a in self._arguments) + self.n + 2 * self.m + 16))
        rows = [
            None if array is None else broadcast(argument, lead, array, batch)
            for argument, lead, array in zip(self._arguments, leads, rows, strict=True)
        ]
        if os.getpid() != self._process:
            # Threads do not survive a fork, and a lock may be held for ever.
            self._make()
        solved = self._layer.solve(math.prod(batch), *rows, once)
        if not dtypes:
            dtypes = [np.asarray(getattr(v, "data", v)).dtype for v in given if v is not None]
        dtype = np.float32 if dtypes and all(d == np.float32 for d in dtypes) else np.float64
        solution = Solution(self, solved, batch, tuple(leads), tuple(given), np.dtype(dtype))
        if self.on_error == "raise" and not solved.is_complete():
            solution._raise()
        return solution

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew from what the layer was made of: solutions do not come along."""
        return _remake, self._made

    def __repr__(self) -> str:
        return f"ConicLayer(n={self.n}, m={self.m}, cones={list(self.cones)})"


def _remake(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> ConicLayer:
    return ConicLayer(*arguments, **keywords)


def _columns(P: Any) -> int:
    """The number of variables of a P without an A."""
    shape = P.shape if sp.issparse(P) else to_array("P", P).shape
    if len(shape) < 2:
        raise dimension_error("P's shape", "(..., n, n)", shape)
    return shape[-1]


def _batch(leads: list[Shape]) -> Shape:
    """The shape all leading dimensions broadcast to."""
    first = leads[0]
    if all(lead == first for lead in leads):
        return first
    try:
        return np.broadcast_shapes(*leads)
    except ValueError:
        found = dict(zip("PqAb", leads, strict=True))
        raise dimension_error("leading dimensions", "shapes that broadcast", found) from None


def solve(
    P: Any,
    q: ArrayLike,
    A: Any,
    b: ArrayLike,
    cones: Sequence[Cone],
    *,
    upper: bool = False,
    on_error: OnError = "raise",
    **settings: Any,
) -> Solution:
    """Solves one program, or a batch of them by leading dimensions, and prepares the derivatives.

    Parameters, shapes and settings are those of :class:`ConicLayer` and :meth:`ConicLayer.solve`. For many programs of one
    structure make a layer: it times solvers once and keeps what depends on the structure alone.

    Examples
    --------
    >>> import numpy as np, conediff
    >>> # minimize x1 + x2 subject to |x| <= 1
    >>> A, b = np.vstack([np.zeros(2), -np.eye(2)]), np.array([1.0, 0.0, 0.0])
    >>> solution = conediff.solve(None, np.ones(2), A, b, [conediff.SecondOrder(3)])
    >>> solution.x.round(8)
    array([-0.70710678, -0.70710678])
    """
    matrices = [None if M is None else _structure(name, M) for name, M in (("P", P), ("A", A))]
    layer = ConicLayer(*matrices, cones, upper=upper, on_error=on_error, **settings)
    return layer._solve(P, q, A, b, once=True)


def _structure(name: str, value: Any) -> Any:
    """A matrix that has the structure of a batch of them."""
    if isinstance(value, Sequence) and len(value) > 0 and hasattr(value[0], "tocsc"):
        return value[0]
    if hasattr(value, "tocsc"):
        return value
    array = to_array(name, value)
    if array.ndim < 2:
        raise dimension_error(f"{name}'s shape", "(..., rows, columns)", array.shape)
    return np.ones(array.shape[-2:], dtype=bool)
