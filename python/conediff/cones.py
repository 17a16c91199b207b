"""The cones of a program, in the order of its rows.

``s`` lies in K and ``z`` in the dual cone K*. Cones of zero rows are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import ConeError

__all__ = [
    "Cone",
    "Exponential",
    "GeneralizedPower",
    "Nonnegative",
    "Power",
    "PsdTriangle",
    "SecondOrder",
    "Zero",
]


@dataclass(frozen=True)
class Zero:
    """{0}: equality rows. The dual is free."""

    rows: int


@dataclass(frozen=True)
class Nonnegative:
    """s >= 0 in each row. A row with b >= 1e20 (or infinite) is no constraint."""

    rows: int


@dataclass(frozen=True)
class SecondOrder:
    """(t, u) with t >= |u|; ``rows`` counts t."""

    rows: int


@dataclass(frozen=True)
class PsdTriangle:
    """Symmetric positive semidefinite matrices of an order k: k(k+1)/2 rows.

    The rows are the upper triangle column by column, off-diagonal entries times sqrt 2 (:func:`conediff.svec`).
    """

    order: int

    @property
    def rows(self) -> int:
        """k(k+1)/2."""
        return self.order * (self.order + 1) // 2


@dataclass(frozen=True)
class Exponential:
    """(x, y, w) with y exp(x/y) <= w, y > 0, closed: three rows."""

    @property
    def rows(self) -> int:
        """3."""
        return 3


@dataclass(frozen=True)
class Power:
    """(x, y, w) with x^a y^(1-a) >= abs(w), x, y >= 0: three rows; a lies in (0, 1)."""

    exponent: float

    @property
    def rows(self) -> int:
        """3."""
        return 3


@dataclass(frozen=True)
class GeneralizedPower:
    """(u, w) with prod u_i^a_i >= |w|, u >= 0: the exponents a (positive, of sum 1) and the length of w."""

    exponents: tuple[float, ...]
    length: int = 1

    def __post_init__(self) -> None:
        try:
            exponents = tuple(float(a) for a in self.exponents)
        except (TypeError, ValueError):
            raise _error(None, f"{self.exponents!r} are no exponents") from None
        object.__setattr__(self, "exponents", exponents)

    @property
    def rows(self) -> int:
        """The number of exponents and the length of w."""
        return len(self.exponents) + self.length


Cone = Zero | Nonnegative | SecondOrder | PsdTriangle | Exponential | Power | GeneralizedPower


def _error(index: int | None, reason: str) -> ConeError:
    """A ConeError with its numbers."""
    error = ConeError(reason if index is None else f"cone {index}: {reason}")
    error.cone, error.reason = index, reason
    return error


def to_tuple(cones: Iterable[Cone]) -> tuple[Cone, ...]:
    """The cones as a tuple; ConeError if there is no going through them."""
    try:
        return tuple(cones)
    except TypeError:
        raise _error(None, f"cones: {cones!r} is no sequence of cones") from None


def to_core(cones: Iterable[Cone]) -> list[tuple]:
    """The cones as the compiled part reads them."""
    return [_to_core(index, cone) for index, cone in enumerate(cones)]


def _rows(index: int, value: int) -> int:
    """A number of rows or an order."""
    try:
        if not isinstance(value, bool) and int(value) == value and 0 <= value <= 2**53:
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _error(index, f"{value!r} is no number of rows")


def _to_core(index: int, cone: Cone) -> tuple:
    match cone:
        case Zero(rows):
            return ("zero", float(_rows(index, rows)))
        case Nonnegative(rows):
            return ("nonnegative", float(_rows(index, rows)))
        case SecondOrder(rows):
            return ("second_order", float(_rows(index, rows)))
        case PsdTriangle(order):
            return ("psd_triangle", float(_rows(index, order)))
        case Exponential():
            return ("exponential", 0.0)
        case Power(exponent):
            try:
                return ("power", float(exponent))
            except (TypeError, ValueError):
                raise _error(index, f"{exponent!r} is no exponent") from None
        case GeneralizedPower(exponents, length):
            return ("generalized_power", list(exponents), _rows(index, length))
    raise _error(index, f"{cone!r} is no cone; use those of conediff, such as conediff.Nonnegative(3)")
