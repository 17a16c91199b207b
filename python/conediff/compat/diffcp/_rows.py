"""SCS's rows and conediff's.

SCS has the lower triangle of a PSD cone where conediff has the upper one, and it has the duals of the exponential and power
cones, which are linear images of those::

    (u, v, w) in K_exp*        <=>  (-v, -u, e w) in K_exp
    (u, v, w) in K_pow(a)*     <=>  (u, v, a^a (1-a)^(1-a) w) in K_pow(a)

With s' = T s in conediff's cones the program is T A x + s' = T b, its dual is y = T'y'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...cones import Cone, Exponential, Nonnegative, Power, PsdTriangle, SecondOrder, Zero
from .cones import (
    EXP,
    EXP_DUAL,
    POS,
    PSD,
    SOC,
    ZERO,
    lower_triangle,
    numbers,
    parse_cone_dict,
    vec_psd_dim,
)

#: The cones of a program and their sizes, in order.
Sizes = tuple[tuple[str, tuple[float, ...]], ...]


def sizes(cone_dict: Mapping[str, Any]) -> Sizes:
    """The cones of a dictionary as a key."""
    return tuple((cone, numbers(size)) for cone, size in parse_cone_dict(cone_dict))


@dataclass(frozen=True)
class Rows:
    """conediff's cones, T (m, m) and its inverse. Each row of T has one entry."""

    cones: tuple[Cone, ...]
    to: sp.csr_array
    back: sp.csc_array


@lru_cache(maxsize=64)
def rows(of: Sizes) -> Rows:
    """The rows of a product of SCS's cones."""
    cones, sources, scales, start = [], [np.zeros(0, dtype=np.int64)], [np.zeros(0)], 0
    for cone, order, scale in _blocks(of):
        cones.append(cone)
        sources.append(start + order)
        scales.append(np.broadcast_to(scale, order.shape))
        start += cone.rows
    source, scale, each = np.concatenate(sources), np.concatenate(scales), np.arange(start + 1)
    return Rows(
        tuple(cones),
        sp.csr_array((scale, source, each), shape=(start, start)),
        sp.csc_array((1.0 / scale, source, each), shape=(start, start)),
    )


def _blocks(of: Sizes) -> Iterator[tuple[Cone, np.ndarray, Any]]:
    """Each cone, for each of its rows SCS's row counted from the cone's first, and the factor."""
    plain: dict[str, Callable[[int], Cone]] = {ZERO: Zero, POS: Nonnegative, SOC: SecondOrder}
    three = np.arange(3)
    for name, values in of:
        for value in values:
            if name in plain:
                count = int(value)
                yield plain[name](count), np.arange(count), 1.0
            elif name == PSD:
                yield PsdTriangle(int(value)), _upper_from_lower(int(value)), 1.0
            elif name == EXP:
                yield from [(Exponential(), three, 1.0)] * int(value)
            elif name == EXP_DUAL:
                yield from [(Exponential(), np.array([1, 0, 2]), [-1.0, -1.0, math.e])] * int(value)
            elif value < 0:
                a = -value
                yield Power(a), three, [1.0, 1.0, a**a * (1.0 - a) ** (1.0 - a)]
            else:
                yield Power(value), three, 1.0


def _upper_from_lower(order: int) -> np.ndarray:
    """For each entry of the upper triangle, column by column, its place in the lower one, column by column."""
    place = np.zeros((order, order), dtype=np.int64)
    place[lower_triangle(order)] = np.arange(vec_psd_dim(order))
    # The upper triangle column by column is the lower one row by row.
    return place[np.tril_indices(order)]
