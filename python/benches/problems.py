"""Families of random, regular cone programs, each a batch of perturbed copies, and accurate gradients of their solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

import conediff
from conediff import Exponential, Nonnegative, Power, PsdTriangle, SecondOrder, Zero

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
SPREAD = 0.02


@dataclass(frozen=True)
class Problem:
    """A batch of programs in dense arrays: P (batch, n, n), q (batch, n), A (batch, m, n), b (batch, m).

    ``P_pattern`` and ``A_pattern`` tell which entries are data. Parts (a gradient, a direction) are P's entries on the pattern
    row by row, q, A's entries and b, each with the batch first.
    """

    name: str
    P: np.ndarray
    q: np.ndarray
    A: np.ndarray
    b: np.ndarray
    cones: list[conediff.cones.Cone]
    P_pattern: np.ndarray
    A_pattern: np.ndarray

    @property
    def batch(self) -> int:
        return self.q.shape[0]

    @property
    def n(self) -> int:
        return self.q.shape[1]

    @property
    def m(self) -> int:
        return self.b.shape[1]

    @property
    def is_dense(self) -> bool:
        return bool(self.P_pattern.all() and self.A_pattern.all())

    @property
    def is_qp(self) -> bool:
        return self.P_pattern.any() and all(isinstance(cone, Zero | Nonnegative) for cone in self.cones)

    def rows(self, kind: type) -> int:
        """Rows in cones of a kind."""
        return sum(cone.rows for cone in self.cones if isinstance(cone, kind))

    def first(self, items: int) -> Problem:
        """The first items of the batch."""
        return replace(self, **{name: getattr(self, name)[:items] for name in "PqAb"})

    @cached_property
    def parts(self) -> Parts:
        """The data as parts."""
        return self.on_pattern(self.P, self.q, self.A, self.b)

    def on_pattern(self, P: np.ndarray, q: np.ndarray, A: np.ndarray, b: np.ndarray) -> Parts:
        """Dense arrays as parts."""
        return P[:, self.P_pattern], q, A[:, self.A_pattern], b

    def moved(self, direction: Parts, step: float) -> Parts:
        """Dense data a step along a direction."""
        P, A = self.P.copy(), self.A.copy()
        P[:, self.P_pattern] += step * direction[0]
        A[:, self.A_pattern] += step * direction[2]
        return P, self.q + step * direction[1], A, self.b + step * direction[3]


def make(name: str, P: np.ndarray, q: np.ndarray, A: np.ndarray, b: np.ndarray, cones: list) -> Problem:
    return Problem(name, P, q, A, b, cones, (P != 0).any(0), (A != 0).any(0))


def _near(rng: np.random.Generator, value: np.ndarray, batch: int) -> np.ndarray:
    """Copies with each entry changed by a few percent."""
    return value * (1.0 + SPREAD * rng.standard_normal((batch, *value.shape)))


def _at(name: str, P: np.ndarray, A: np.ndarray, x: np.ndarray, s: np.ndarray, z: np.ndarray, cones: list) -> Problem:
    """The batch whose solutions are x, s, z."""
    q = -np.einsum("kij,kj->ki", P, x) - np.einsum("kij,ki->kj", A, z)
    return make(name, P, q, A, np.einsum("kij,kj->ki", A, x) + s, cones)


def dense_qp(name: str, n: int, equal: int, unequal: int, batch: int, seed: int = 0) -> Problem:
    """OptNet's: P = LL' + I/10, a feasible point by construction."""
    rng = np.random.default_rng(seed)
    L = _near(rng, rng.standard_normal((n, n)) / np.sqrt(n), batch)
    A = _near(rng, rng.standard_normal((equal + unequal, n)) / np.sqrt(n), batch)
    x, q = _near(rng, rng.standard_normal(n), batch), _near(rng, rng.standard_normal(n), batch)
    s = _near(rng, np.concatenate([np.zeros(equal), rng.uniform(0.0, 1.0, unequal)]), batch)
    P = L @ L.transpose(0, 2, 1) + 0.1 * np.eye(n)
    return make(name, P, q, A, np.einsum("kij,kj->ki", A, x) + s, [Zero(equal), Nonnegative(unequal)])


def portfolio(name: str, assets: int, factors: int, batch: int, seed: int = 1) -> Problem:
    """minimize 1/2 (x'Dx + y'y) - r'x subject to y = F'x, 1'x = 1, x >= 0."""
    rng = np.random.default_rng(seed)
    n, m = assets + factors, factors + 1 + assets
    P, A, b = np.eye(n), np.zeros((m, n)), np.zeros(m)
    P[:assets, :assets] = np.diag(rng.uniform(0.2, 1.0, assets))
    A[:factors, :assets] = rng.standard_normal((factors, assets)) * (rng.random((factors, assets)) < 0.5)
    A[:factors, assets:] = -np.eye(factors)
    A[factors, :assets] = 1.0
    A[factors + 1 :, :assets] = -np.eye(assets)
    b[factors] = 1.0
    q = np.concatenate([-0.1 * rng.standard_normal(assets), np.zeros(factors)])
    data = [_near(rng, value, batch) for value in (P, q, A, b)]
    return make(name, *data, [Zero(factors + 1), Nonnegative(assets)])


def control(name: str, states: int, inputs: int, horizon: int, batch: int, seed: int = 2) -> Problem:
    """Model predictive control: linear dynamics, quadratic costs, bounds on states and inputs."""
    rng = np.random.default_rng(seed)
    step = states + inputs
    n, equal = horizon * step, horizon * states
    F = scipy.linalg.expm(0.1 * rng.standard_normal((states, states)))
    G = 0.3 * rng.standard_normal((states, inputs))
    E, b = np.zeros((equal, n)), np.zeros(equal + 2 * n)
    for t in range(horizon):
        row, at = t * states, t * step
        E[row : row + states, at : at + step] = np.hstack([-G, np.eye(states)])[:, : inputs + states]
        if t:
            E[row : row + states, at - states : at] = -F
    b[:states] = F @ rng.standard_normal(states)
    b[equal:] = np.tile(np.concatenate([np.full(inputs, 0.5), np.full(states, 3.0)]), 2 * horizon)
    P = np.diag(np.tile(np.concatenate([np.full(inputs, 0.1), np.full(states, 1.0)]), horizon))
    A = np.vstack([E, np.eye(n), -np.eye(n)])
    q = 0.1 * rng.standard_normal(n)
    data = [_near(rng, value, batch) for value in (P, q, A, b)]
    return make(name, *data, [Zero(equal), Nonnegative(2 * n)])


def second_order(name: str, n: int, count: int, size: int, batch: int, seed: int = 3) -> Problem:
    """A linear objective, and cones of which four in five are active at the solution."""
    rng = np.random.default_rng(seed)
    m = count * size
    w = _near(rng, rng.standard_normal((count, size - 1)), batch)
    r = np.linalg.norm(w, axis=2, keepdims=True)
    weight = rng.uniform(0.5, 2.0, count)[:, None]
    is_inner = (np.arange(count) % 5 == 4)[:, None]
    s = np.concatenate([r * np.where(is_inner, 1.5, 1.0), w], axis=2).reshape(batch, m)
    z = np.where(is_inner, 0.0, weight * np.concatenate([np.ones_like(r), -w / r], axis=2)).reshape(batch, m)
    A = _near(rng, rng.standard_normal((m, n)) / np.sqrt(n), batch)
    x = _near(rng, rng.standard_normal(n), batch)
    return _at(name, np.zeros((batch, n, n)), A, x, s, z, [SecondOrder(size)] * count)


def entropy(name: str, size: int, equal: int, batch: int, seed: int = 4) -> Problem:
    """minimize 1't + c'x subject to t >= x log x, Ex = d, x <= u."""
    rng = np.random.default_rng(seed)
    n, start = 2 * size, equal + size
    A, b = np.zeros((start + 3 * size, n)), np.zeros(start + 3 * size)
    x = rng.uniform(0.1, 0.6, size)
    A[:equal, :size] = rng.standard_normal((equal, size))
    b[:equal] = A[:equal, :size] @ x
    A[equal:start, :size] = np.eye(size)
    b[equal:start] = rng.uniform(0.6, 0.9, size)
    for i in range(size):
        row = start + 3 * i
        A[row, size + i], A[row + 1, i], b[row + 2] = 1.0, -1.0, 1.0
    q = np.concatenate([0.5 * rng.standard_normal(size), np.ones(size)])
    data = [_near(rng, value, batch) for value in (q, A, b)]
    return make(name, np.zeros((batch, n, n)), *data, [Zero(equal), Nonnegative(size)] + [Exponential()] * size)


def power(name: str, size: int, count: int, batch: int, seed: int = 5) -> Problem:
    """maximize sums of means u^a v^(1-a) of affine u, v, less c'x + 1/20 |x|^2, subject to 0 <= x, 1'x <= 10."""
    rng = np.random.default_rng(seed)
    n, start = size + count, size + 1
    A, b = np.zeros((start + 3 * count, n)), np.zeros(start + 3 * count)
    A[:size, :size] = -np.eye(size)
    A[size, :size], b[size] = 1.0, 10.0
    for k in range(count):
        row = start + 3 * k
        A[row : row + 2, :size] = -rng.uniform(0.1, 1.0, (2, size))
        b[row : row + 2] = rng.uniform(0.2, 1.0, 2)
        A[row + 2, size + k] = -1.0
    P = np.diag(np.concatenate([np.full(size, 0.1), np.zeros(count)]))
    q = np.concatenate([rng.uniform(5.0, 12.0, size), -np.ones(count)])
    data = [_near(rng, value, batch) for value in (P, q, A, b)]
    return make(name, *data, [Nonnegative(start)] + [Power(float(a)) for a in rng.uniform(0.2, 0.8, count)])


def semidefinite(name: str, order: int, n: int, batch: int, seed: int = 6) -> Problem:
    """A linear matrix inequality whose slack has half the rank at the solution."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(_near(rng, rng.standard_normal((order, order)), batch))[0]
    values = rng.uniform(0.5, 2.0, order)
    is_slack = np.arange(order) < order // 2
    s, z = (conediff.svec(Q * np.where(part, values, 0.0) @ Q.transpose(0, 2, 1)) for part in (is_slack, ~is_slack))
    A = _near(rng, rng.standard_normal((order * (order + 1) // 2, n)), batch)
    x = _near(rng, rng.standard_normal(n), batch)
    return _at(name, np.zeros((batch, n, n)), A, x, s, z, [PsdTriangle(order)])


def to_clarabel(cones: list[conediff.cones.Cone]) -> list:
    """The cones as Clarabel's Python package has them."""
    import clarabel

    made = {
        Zero: lambda cone: clarabel.ZeroConeT(cone.rows),
        Nonnegative: lambda cone: clarabel.NonnegativeConeT(cone.rows),
        SecondOrder: lambda cone: clarabel.SecondOrderConeT(cone.rows),
        PsdTriangle: lambda cone: clarabel.PSDTriangleConeT(cone.order),
        Exponential: lambda cone: clarabel.ExponentialConeT(),
        Power: lambda cone: clarabel.PowerConeT(cone.exponent),
    }
    return [made[type(cone)](cone) for cone in cones]


#: Name: maker of a batch, its usual size.
FAMILIES: dict[str, tuple[Callable[[int], Problem], int]] = {
    "OptNet QP": (lambda batch: dense_qp("OptNet QP", 100, 50, 100, batch), 128),
    "small QP": (lambda batch: dense_qp("small QP", 20, 5, 20, batch), 128),
    "portfolio": (lambda batch: portfolio("portfolio", 200, 15, batch), 64),
    "MPC": (lambda batch: control("MPC", 8, 4, 20, batch), 64),
    "second-order": (lambda batch: second_order("second-order", 60, 25, 5, batch), 64),
    "exponential": (lambda batch: entropy("exponential", 40, 8, batch), 64),
    "power": (lambda batch: power("power", 30, 20, batch), 64),
    "PSD": (lambda batch: semidefinite("PSD", 10, 20, batch), 64),
}


class Reference:
    """The gradient of <dx, x> for the first items of a batch, from other code than what is measured.

    QPs: Clarabel's solution to 1e-11 names the active rows; refined solves of their optimality conditions give the solution,
    whose signs prove the choice, and the gradient. Other cones: fourth-order central differences of conediff's refined solutions
    along random directions; a gradient's error is that of its products with the directions, relative to their norm.
    """

    def __init__(self, problem: Problem, dx: np.ndarray, items: int = 16, directions: int = 12) -> None:
        self.problem, self.items = problem, min(items, problem.batch)
        if problem.is_qp:
            self.gradients = [_qp_gradient(problem, k, dx[k]) for k in range(self.items)]
        else:
            self._difference(dx[: self.items], directions)

    def _difference(self, dx: np.ndarray, count: int) -> None:
        rng = np.random.default_rng(99)
        part = self.problem.first(self.items)
        layer = conediff.ConicLayer(np.ones_like(part.P_pattern), np.ones_like(part.A_pattern), part.cones)
        h = 2e-5
        self.directions, self.products = [], []
        for _ in range(count):
            dP, dq, dA, db = (np.abs(v) * rng.standard_normal(v.shape) for v in (part.P, part.q, part.A, part.b))
            direction = part.on_pattern(0.5 * (dP + dP.transpose(0, 2, 1)), dq, dA, db)
            x = {k: layer.solve(*part.moved(direction, k * h)).x for k in (-2, -1, 1, 2)}
            derivative = (8.0 * (x[1] - x[-1]) - (x[2] - x[-2])) / (12.0 * h)
            self.directions.append(direction)
            self.products.append(np.einsum("ki,ki->k", derivative, dx))

    def errors(self, gradient: Parts) -> np.ndarray:
        """The relative error of each item's gradient."""
        if self.problem.is_qp:
            flat = np.stack([np.concatenate([part[k].ravel() for part in gradient]) for k in range(self.items)])
            exact = np.stack([np.concatenate([part.ravel() for part in item]) for item in self.gradients])
        else:
            exact = np.stack(self.products, axis=1)
            pairs = (zip(gradient, direction, strict=True) for direction in self.directions)
            flat = np.stack([sum((g[: self.items] * d).sum(1) for g, d in pair) for pair in pairs], axis=1)
        return np.linalg.norm(flat - exact, axis=1) / np.linalg.norm(exact, axis=1)


def _qp_gradient(problem: Problem, k: int, dx: np.ndarray) -> Parts:
    import clarabel
    import scipy.sparse as sp

    P, q, A, b = problem.P[k], problem.q[k], problem.A[k], problem.b[k]
    n, equal = problem.n, problem.rows(Zero)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    cones = to_clarabel(problem.cones)
    found = clarabel.DefaultSolver(sp.triu(sp.csc_matrix(P), format="csc"), q, sp.csc_matrix(A), b, cones, settings).solve()
    active = np.concatenate([np.ones(equal, dtype=bool), (np.array(found.z) > np.array(found.s))[equal:]])
    E = A[active]
    K = np.block([[P, E.T], [E, np.zeros((len(E), len(E)))]])
    factors, wide = scipy.linalg.lu_factor(K), K.astype(np.longdouble)

    def solve(right: np.ndarray) -> np.ndarray:
        answer = np.zeros(len(K), dtype=np.longdouble)
        for _ in range(4):
            answer += scipy.linalg.lu_solve(factors, (right - wide @ answer).astype(float))
        return answer.astype(float)

    x, z = np.split(solve(np.concatenate([-q, b[active]])), [n])
    u, w = np.split(solve(np.concatenate([dx, np.zeros(len(E))])), [n])
    if (z[equal:] <= 0).any() or (A[~active] @ x >= b[~active]).any():
        raise RuntimeError(f"{problem.name}, item {k}: the reference's active rows are wrong")
    dA, db = np.zeros_like(A), np.zeros_like(b)
    dA[active], db[active] = -np.outer(z, u) - np.outer(w, x), w
    dP = -0.5 * (np.outer(u, x) + np.outer(x, u))
    return dP[problem.P_pattern], -u, dA[problem.A_pattern], db
