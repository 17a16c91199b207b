"""What the tests share: programs of every cone with a known regular solution, and central differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import conediff
from conediff import Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero

#: Products of cones, by name.
PRODUCTS = {
    "orthant": [Zero(2), Nonnegative(4)],
    "second-order": [SecondOrder(3), SecondOrder(4)],
    "psd": [PsdTriangle(3)],
    "exponential": [Exponential(), Exponential()],
    "power": [Power(0.3), Power(0.5)],
    "generalized power": [GeneralizedPower((0.2, 0.3, 0.5), 2)],
    "all": [
        Zero(1),
        Nonnegative(3),
        SecondOrder(3),
        PsdTriangle(2),
        Exponential(),
        Power(0.6),
        GeneralizedPower((0.4, 0.6), 2),
    ],
}


@dataclass
class Program:
    """Dense data of one program."""

    P: np.ndarray
    q: np.ndarray
    A: np.ndarray
    b: np.ndarray
    cones: list[conediff.cones.Cone]

    @property
    def data(self) -> tuple[np.ndarray, ...]:
        """P, q, A, b."""
        return self.P, self.q, self.A, self.b

    def layer(self, **settings: object) -> conediff.ConicLayer:
        """A layer for dense data of this size."""
        return conediff.ConicLayer(np.ones(self.P.shape, dtype=bool), np.ones(self.A.shape, dtype=bool), self.cones, **settings)


def program(name: str, seed: int = 0) -> Program:
    """A strongly convex program whose solution is regular: made from a random v = z - s, split by the projection of a solve."""
    cones = PRODUCTS[name]
    m = sum(cone.rows for cone in cones)
    # More variables than rows that can be active, so that no data decide x alone.
    n = m + 2
    rng = np.random.default_rng(seed + 1000 * list(PRODUCTS).index(name))
    while True:
        v = 2.0 * rng.standard_normal(m)
        s = _project(-v, cones)
        z = s + v
        L, x, A = rng.standard_normal((n, n)), rng.standard_normal(n), rng.standard_normal((m, n))
        P = L @ L.T + np.eye(n)
        made = Program(P, -P @ x - A.T @ z, A, A @ x + s, cones)
        margin = made.layer().solve(*made.data).regularity().margin
        if margin > 5e-2:
            return made


def _project(point: np.ndarray, cones: list[conediff.cones.Cone]) -> np.ndarray:
    """The projection onto K: minimize 1/2 |s - point|^2 subject to s in K."""
    m = len(point)
    return conediff.solve(np.eye(m), -point, -np.eye(m), np.zeros(m), cones).x


def central(function, at: list[np.ndarray], directions: list[np.ndarray], step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of a function of arrays along directions."""
    there, back = (function(*(a + sign * step * d for a, d in zip(at, directions, strict=True))) for sign in (1.0, -1.0))
    return [(np.asarray(t) - np.asarray(b)) / (2.0 * step) for t, b in zip(there, back, strict=True)]


def relative(actual, expected) -> float:
    """The largest difference relative to the largest entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    return float(np.abs(actual - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-300))
