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


#: Small products of cones, by name, for the judge of derivatives.
SMALL = {
    "orthant": [Zero(1), Nonnegative(5)],
    "second-order": [SecondOrder(3), SecondOrder(4)],
    "psd": [PsdTriangle(3)],
    "exponential": [Exponential(), Exponential()],
    "power": [Power(0.3), Power(0.5)],
    "generalized power": [GeneralizedPower((0.2, 0.3, 0.5), 2)],
    "all": [
        Zero(1),
        Nonnegative(2),
        SecondOrder(3),
        PsdTriangle(2),
        Exponential(),
        Power(0.6),
        GeneralizedPower((0.4, 0.6), 1),
    ],
}


def conditioned(name: str, condition: float, seed: int, n: int = 8) -> Program:
    """A program as the crate's ``Generator`` makes them: a solution drawn first, at 0.05 or more from each kink, P's eigenvalues
    from 1 to 1/condition, and A's singular values from 1 to the root of that, evenly in the logarithm."""
    cones = SMALL[name]
    rng = np.random.default_rng([seed, list(SMALL).index(name)])
    z, s, hard = _point(cones, n // 2 + 1, rng)
    m = len(z)
    Q = _orthonormal(n, n, rng)
    P = Q * np.geomspace(1.0, 1.0 / condition, n) @ Q.T
    P = (P + P.T) / 2.0
    while True:
        values = np.geomspace(1.0, condition**-0.5, min(m, n))
        A = _orthonormal(m, len(values), rng) * values @ _orthonormal(n, len(values), rng).T
        # The rows that hold x are independent, with a distance from failing.
        if np.linalg.svd(A.T @ hard, compute_uv=False).min(initial=1.0) >= 0.02 * condition**-0.5:
            break
    x = rng.standard_normal(n)
    return Program(P, -P @ x - A.T @ z, A, A @ x + s, cones)


def with_near_rows(name: str, apart: float, seed: int, n: int = 8) -> Program:
    """A program of condition 10 with two equalities more, whose rows are this far from each other."""
    made = conditioned(name, 10.0, seed, n)
    rng = np.random.default_rng([seed, 7])
    first, direction = rng.standard_normal((2, n))
    rows = np.stack([first, first + apart * direction])
    x = conediff.solve(*made.data, made.cones).x
    return Program(
        made.P,
        made.q - rows.T @ [1.0, -0.5],
        np.vstack([made.A, rows]),
        np.append(made.b, rows @ x),
        [*made.cones, Zero(2)],
    )


def _point(cones: list[conediff.cones.Cone], most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, s and a basis of the directions in which s cannot move, at most so many, off kinks."""
    m = sum(cone.rows for cone in cones)
    while True:
        v = 2.0 * rng.standard_normal(m)
        projection = conediff.solve(np.eye(m), v, -np.eye(m), np.zeros(m), cones)
        values, vectors = np.linalg.eigh(-projection.jacobian("x", "q")["x", "q"])
        hard = vectors[:, values < 1e-6]
        if hard.shape[1] <= most and projection.regularity().margin > 5e-2:
            return projection.x + v, projection.x, hard


def _orthonormal(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Random orthonormal columns."""
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]
