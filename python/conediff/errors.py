"""What can go wrong: exceptions with the numbers they are about as attributes.

::

    Error
    +- InputError (a ValueError)        the data are wrong
    |  +- DimensionError                what, expected, found
    |  +- PatternError                  matrix, outer, reason
    |  +- NonFiniteError                what, index, value
    |  +- NotSymmetricError             row, column, value, mirror
    |  +- NotConvexError                index, value, reason
    |  +- BoundError                    row, value
    |  +- ConeError                     cone, reason
    |  +- SettingError                  name, value, allowed
    |  +- TooLargeError                 what, bytes, limit (a MemoryError too)
    +- SolveError                       there is no solution to give
    |  +- PrimalInfeasibleError         certificate, value
    |  +- DualInfeasibleError           certificate, value
    |  +- NotSolvedError                status, iterations, primal_residual, dual_residual, x, z, s
    |  +- TimeLimitError                elapsed, limit, step, status, x, z, s (a TimeoutError too)
    |  +- CancelledError                elapsed, step
    +- DerivativeError                  there is no derivative to give
    |  +- NotTrustedError               reasons, residual, margin (under ``strict=True``)
    |  +- FactorizationError            method
    +- InternalError                    a bug: please report it

In a batch ``item`` is the position (an index, or a tuple of indices) of the first item that failed; else it is None.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = [
    "BoundError",
    "CancelledError",
    "ConeError",
    "DerivativeError",
    "DimensionError",
    "DualInfeasibleError",
    "Error",
    "FactorizationError",
    "InputError",
    "InternalError",
    "NonFiniteError",
    "NotConvexError",
    "NotSolvedError",
    "NotSymmetricError",
    "NotTrustedError",
    "PatternError",
    "PrimalInfeasibleError",
    "SettingError",
    "SolveError",
    "TimeLimitError",
    "TooLargeError",
    "UntrustedDerivativeWarning",
]


class Error(Exception):
    """Everything conediff raises."""

    item: int | tuple[int, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        # The numbers are set on the instance; this is for type checkers and for clear messages.
        raise AttributeError(f"{type(self).__name__} has no number called {name!r}")


class InputError(Error, ValueError):
    """The data are wrong."""


class DimensionError(InputError):
    """A length or shape is wrong: ``what``, ``expected``, ``found``."""


class PatternError(InputError):
    """A sparse matrix is malformed, or has another pattern than the layer: ``matrix``, ``outer``, ``reason``."""


class NonFiniteError(InputError):
    """A number is NaN or infinite: ``what``, ``index``, ``value``."""


class NotSymmetricError(InputError):
    """P is not symmetric, or not an upper triangle: ``row``, ``column``, ``value``, ``mirror``."""


class NotConvexError(InputError):
    """P is not positive semidefinite: ``index``, ``value``, ``reason``."""


class BoundError(InputError):
    """An inequality that no point satisfies (b <= -1e20): ``row``, ``value``."""


class ConeError(InputError):
    """A cone's parameters make no sense, or the cones' rows are not b's: ``cone``, ``reason``."""


class SettingError(InputError):
    """A setting is out of range: ``name``, ``value``, ``allowed``."""


class TooLargeError(InputError, MemoryError):
    """A dense object would be too large: ``what``, ``bytes``, ``limit``."""


class SolveError(Error):
    """There is no solution to give."""


class PrimalInfeasibleError(SolveError):
    """No x satisfies the constraints: ``certificate`` z with A'z = 0, z in K*, ``value`` = b'z < 0."""


class DualInfeasibleError(SolveError):
    """The objective is unbounded below: ``certificate`` x with Px = 0, -Ax in K, ``value`` = q'x < 0."""


class NotSolvedError(SolveError):
    """The solver stopped early: ``status``, ``iterations``, residuals, and its last point ``x``, ``z``, ``s``."""


class TimeLimitError(SolveError, TimeoutError):
    """``time_limit`` seconds were over, in a solve or in a derivative: ``elapsed`` of ``limit``, and the ``step`` that was next.

    ``x``, ``z`` and ``s`` are the solver's last point where a single solve was stopped within the solver, else None.
    """


class CancelledError(SolveError):
    """The call was interrupted before this item: ``elapsed`` seconds, and the ``step`` that was next."""


class DerivativeError(Error):
    """There is no derivative to give."""


class NotTrustedError(DerivativeError):
    """A derivative is not trusted and ``strict=True``: ``reasons``, ``residual``, ``margin``."""


class FactorizationError(DerivativeError):
    """A matrix that must be factored is singular: ``method``."""


class InternalError(Error):
    """A bug in conediff. Please report it with the data that show it."""


class UntrustedDerivativeWarning(UserWarning):
    """A framework's gradient, which has no room for a verdict, is not trusted; the message says why."""


#: Packages between the caller and a warning.
_BETWEEN = frozenset({"conediff", "torch", "jax", "jaxlib", "cvxpylayers", "cvxpy"})


def warn_untrusted(doubt: tuple[int, int, list[str]] | None, count: int) -> None:
    """One warning for the rows of a backward pass that are not trusted, with the first one's reasons, at the caller's line."""
    if doubt is None:
        return
    _, item, reasons = doubt
    place = f"item {item} of {count}: " if count > 1 else ""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(f"derivative not trusted: {place}{'; '.join(reasons)}", UntrustedDerivativeWarning, stacklevel=level)
