"""SCS's cones: their names, symmetric matrices as their vectors, and projections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ...cones import Cone, Exponential, Power
from ...errors import InputError
from ...layer import solve

__all__ = [
    "CONES",
    "EQ_DIM",
    "EXP",
    "EXP_DUAL",
    "POS",
    "POW",
    "PSD",
    "SOC",
    "ZERO",
    "parse_cone_dict",
    "pi",
    "psd_dim",
    "unvec_symm",
    "vec_psd_dim",
    "vec_symm",
]

ZERO = EQ_DIM = "z"
POS = "l"
SOC = "q"
PSD = "s"
EXP = "ep"
EXP_DUAL = "ed"
POW = "p"

#: The order of the rows, SCS's.
CONES = [ZERO, POS, SOC, PSD, EXP, EXP_DUAL, POW]
#: The zero cone's name before SCS 3.
LEGACY_ZERO = "f"


def parse_cone_dict(cone_dict: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The cones and their sizes in the order of the rows. "f", the zero cone's old name, counts as "z".

    Raises
    ------
    InputError
        A cone that is not one of these seven, unless it is empty.
    """
    sizes = dict(cone_dict)
    legacy = sizes.pop(LEGACY_ZERO, 0)
    if legacy:
        sizes[ZERO] = sizes.get(ZERO, 0) + legacy
    for key, size in sizes.items():
        if key not in CONES and np.any(size):
            known = ", ".join(map(repr, (*CONES, LEGACY_ZERO)))
            raise InputError(f"cone {key!r} is none of {known}")
    return [(cone, sizes[cone]) for cone in CONES if cone in sizes]


def numbers(size: Any) -> tuple[float, ...]:
    """A cone's size, a number or several, as a tuple."""
    return tuple(np.atleast_1d(size).tolist())


def vec_psd_dim(dim: int) -> int:
    """Rows of a PSD cone of order ``dim``: dim(dim + 1)/2."""
    return dim * (dim + 1) // 2


def psd_dim(size: int) -> int:
    """The order of a PSD cone of ``size`` rows."""
    return math.isqrt(2 * size)


def lower_triangle(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle, column by column."""
    column, row = np.triu_indices(dim)
    return row, column


def vec_symm(X: np.ndarray) -> np.ndarray:
    """(k, k) symmetric -> (k(k+1)/2,): the lower triangle column by column, off-diagonal entries times sqrt 2."""
    X = np.asarray(X)
    row, column = lower_triangle(X.shape[0])
    return X[row, column] * np.where(row == column, 1.0, math.sqrt(2.0))


def unvec_symm(x: np.ndarray, dim: int) -> np.ndarray:
    """(k(k+1)/2,) -> (k, k), the inverse of :func:`vec_symm`."""
    row, column = lower_triangle(dim)
    X = np.zeros((dim, dim))
    X[row, column] = X[column, row] = np.asarray(x) / np.where(row == column, 1.0, math.sqrt(2.0))
    return X


def pi(x: ArrayLike, cones: Sequence[tuple[str, Any]], dual: bool = False) -> np.ndarray:
    """The projection of x (m,) onto a product of cones or, with ``dual``, onto the product of their duals.

    ``cones`` is what :func:`parse_cone_dict` gives.
    """
    x = np.asarray(x, dtype=np.float64)
    projection = np.zeros_like(x)
    curved: list[tuple[slice, Cone, bool]] = []
    start = 0
    for name, size in cones:
        for rows, parameter in _blocks(name, size):
            block = slice(start, start + rows)
            start += rows
            if name == ZERO:
                projection[block] = x[block] if dual else 0.0
            elif name == POS:
                projection[block] = np.maximum(x[block], 0.0)
            elif name == SOC:
                projection[block] = _second_order(x[block])
            elif name == PSD:
                values, vectors = np.linalg.eigh(unvec_symm(x[block], int(parameter)))
                projection[block] = vec_symm((vectors * np.maximum(values, 0.0)) @ vectors.T)
            elif name == POW:
                curved.append((block, Power(abs(parameter)), dual != (parameter < 0)))
            else:
                curved.append((block, Exponential(), dual != (name == EXP_DUAL)))
    if curved:
        _curved(x, curved, projection)
    return projection


def _blocks(name: str, size: Any) -> Iterable[tuple[int, float]]:
    """Rows and parameter of each cone of a name."""
    for number in numbers(size):
        if name == PSD:
            yield vec_psd_dim(int(number)), number
        elif name == POW:
            yield 3, number
        elif name in (EXP, EXP_DUAL):
            yield from [(3, number)] * int(number)
        else:
            yield int(number), number


def _second_order(x: np.ndarray) -> np.ndarray:
    """The projection onto (t, u), t >= |u|."""
    if x.size == 0:
        return x
    t, u = x[0], x[1:]
    norm = np.linalg.norm(u)
    if norm <= t:
        return x
    if norm <= -t:
        return np.zeros_like(x)
    half = (norm + t) / 2.0
    return np.concatenate([[half], (half / norm) * u])


def _curved(x: np.ndarray, blocks: list[tuple[slice, Cone, bool]], projection: np.ndarray) -> None:
    """Exponential and power cones: minimize 1/2 |w - v|^2 over K gives Pi_K(v) as its slack, and Pi_K*(-v) as its dual."""
    # A projection onto a cone scales with the point.
    sizes = [np.abs(x[block]).max() or 1.0 for block, _, _ in blocks]
    signs = [-1.0 if onto_dual else 1.0 for _, _, onto_dual in blocks]
    points = np.concatenate([sign * x[block] / size for (block, _, _), size, sign in zip(blocks, sizes, signs, strict=True)])
    identity = sp.eye_array(points.size, format="csc")
    cones = [cone for _, cone, _ in blocks]
    solution = solve(identity, -points, -identity, np.zeros_like(points), cones)
    for k, (block, _, onto_dual) in enumerate(blocks):
        found = solution.z if onto_dual else solution.s
        projection[block] = sizes[k] * found[3 * k : 3 * k + 3]
