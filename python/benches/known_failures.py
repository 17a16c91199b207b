"""Small programs with known derivatives on which users of differentiable solvers reported wrong ones: what each library returns.

    python known_failures.py

Cells are relative errors of the gradient in q unless the row says otherwise, with what the library itself says about the answer.
"-": not for this program (moreau auto is moreau ipm there, qpth takes QPs with positive definite P).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from layers import LAYERS, Conediff, Layer, Unsupported
from peers import machine
from problems import Parts, Problem, make

import conediff
from conediff import Exponential, Nonnegative, Zero


class Tolerant(Conediff):
    name = "conediff, on_error='nan'"
    settings: ClassVar[dict[str, str]] = {"on_error": "nan"}


NAMES = ["moreau auto", "moreau ipm", "diffcp lsqr", "diffcp dense", "diffqcp lsmr", "diffqcp lu", "qpth"]


@dataclass
class Case:
    """``read`` makes a number of a gradient's parts: an error, or the derivative where the row says so."""

    title: str
    problem: Problem
    dx: np.ndarray
    read: Callable[[Parts], float | str]
    form: str = "{:.0e}"


def error_in_q(exact: np.ndarray) -> Callable[[Parts], float]:
    return lambda parts: float(np.linalg.norm(parts[1] - exact) / np.linalg.norm(exact))


def one(P: np.ndarray, q: np.ndarray, A: np.ndarray, b: np.ndarray, cones: list) -> Problem:
    """A batch of one."""
    P, q, A, b = (np.asarray(v, dtype=float)[None] for v in (P, q, A, b))
    return make("one", P, q, A, b, cones)


def softmax() -> Case:
    """minimize -c'x + sum x log x, 1'x = 1: x = softmax(c)."""
    c = np.array([3.0, 1.0, 0.0, -2.0, -4.0])
    k = len(c)
    A, b = np.zeros((1 + 3 * k, 2 * k)), np.zeros(1 + 3 * k)
    A[0, :k], b[0] = 1.0, 1.0
    for i in range(k):
        A[1 + 3 * i, k + i], A[2 + 3 * i, i], b[3 + 3 * i] = 1.0, -1.0, 1.0
    x = np.exp(c) / np.exp(c).sum()
    dx = np.array([1.0, -1.0, 0.5, 2.0, -0.5])
    problem = one(np.zeros((2 * k, 2 * k)), np.concatenate([-c, np.ones(k)]), A, b, [Zero(1)] + [Exponential()] * k)
    exact = -(x * dx - x * (x @ dx))
    return Case(
        "softmax of (3, 1, 0, -2, -4), gradient in c",
        problem,
        np.concatenate([dx, np.zeros(k)]),
        lambda parts: float(np.linalg.norm(parts[1][0, :k] - exact) / np.linalg.norm(exact)),
    )


def log_barrier() -> Case:
    """maximize x + l (log(1 - x) + log(1 + x)) at l = 1."""
    A, b = np.zeros((6, 3)), np.zeros(6)
    for i, sign in enumerate((1.0, -1.0)):
        A[3 * i, 1 + i], A[3 * i + 2, 0], b[3 * i + 1 : 3 * i + 3] = -1.0, sign, 1.0
    problem = one(np.zeros((3, 3)), [-1.0, -1.0, -1.0], A, b, [Exponential()] * 2)
    return Case(
        "log barrier, dx/dl = -0.29289322",
        problem,
        np.array([1.0, 0.0, 0.0]),
        lambda parts: float(-parts[1][0, 1:].sum()),
        "{:.8f}",
    )


def conditioned(condition: float) -> Case:
    """A QP in 20 variables, P's eigenvalues from 1/condition to 1, ten bounds of which some are active."""
    rng = np.random.default_rng(3)
    n = 20
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    P = Q * np.geomspace(1.0 / condition, 1.0, n) @ Q.T
    A, x = rng.standard_normal((10, n)), rng.standard_normal(n)
    z = np.maximum(rng.standard_normal(10), 0.0)
    s = np.where(z > 0.0, 0.0, rng.uniform(0.1, 1.0, 10))
    problem = one(P, -P @ x - A.T @ z, A, A @ x + s, [Nonnegative(10)])
    dx, E = rng.standard_normal(n), A[z > 0.0]
    K = np.block([[P, E.T], [E, np.zeros((len(E), len(E)))]])
    exact = -np.linalg.solve(K, np.concatenate([dx, np.zeros(len(E))]))[:n]
    return Case(f"QP, condition of P {condition:.0e}", problem, dx, error_in_q(exact))


def tiny() -> Case:
    """The same as a well-conditioned QP, with a small cotangent as a small loss gives it."""
    case = conditioned(10.0)
    scale = 1e-9
    return replace(
        case,
        title="cotangent of size 1e-9",
        dx=scale * case.dx,
        read=lambda parts: case.read(tuple(part / scale for part in parts)),
    )


def duplicated(kind: str) -> Case:
    """An active row twice: its multiplier is not unique, the gradient in q is."""
    case = conditioned(10.0)
    p = case.problem
    row = int(np.argmin(p.b[0] - p.A[0] @ conediff.solve(p.P[0], p.q[0], p.A[0], p.b[0], p.cones).x))
    order = [row, row] + [i for i in range(p.m) if i != row]
    cones = [Zero(2), Nonnegative(9)] if kind == "equality" else [Nonnegative(11)]
    return replace(case, title=f"{kind} given twice", problem=one(p.P[0], p.q[0], p.A[0][order], p.b[0][order], cones))


def kink() -> Case:
    """minimize 1/2 (x - t)^2 subject to x <= 1 at t = 1: one-sided derivatives 1 and 0."""
    problem = one([[1.0]], [-1.0], [[1.0]], [1.0], [Nonnegative(1)])
    return Case(
        "kink of min(t, 1), its derivative (1 below, 0 above)",
        problem,
        np.ones(1),
        lambda parts: float(-parts[1][0, 0]),
        "{:.3g}",
    )


def linear() -> Case:
    """A linear program with a nondegenerate vertex: the gradient in b is (B')^-1 dx."""
    A = np.vstack([[1.0, 2.0], [3.0, 1.0], -np.eye(2)])
    problem = one(np.zeros((2, 2)), [-1.0, -1.0], A, [4.0, 6.0, 0.0, 0.0], [Nonnegative(4)])
    dx = np.array([1.0, -2.0])
    exact = np.concatenate([np.linalg.solve(A[:2].T, dx), np.zeros(2)])
    return Case(
        "linear program, gradient in b",
        problem,
        dx,
        lambda parts: float(np.linalg.norm(parts[3][0] - exact) / np.linalg.norm(exact)),
    )


def infeasible() -> Case:
    """A batch of three, the second infeasible: the error of the others."""
    case = conditioned(10.0)
    p = case.problem
    three = [np.repeat(v, 3, axis=0) for v in (p.P, p.q, p.A, p.b)]
    three[2][1, 1], three[3][1, :2] = -three[2][1, 0], -1.0
    problem = make("three", *three, p.cones)

    def read(parts: Parts) -> str:
        others = max(case.read(tuple(part[k : k + 1] for part in parts)) for k in (0, 2))
        return f"{others:.0e}, the infeasible item's {'numbers' if np.isfinite(parts[1][1]).all() else 'NaN'}"

    return Case("second of three infeasible, error of the others", problem, np.tile(case.dx, (3, 1)), read, "{}")


def outcome(case: Case, kind: type[Layer]) -> str:
    """One cell."""
    dx = np.broadcast_to(case.dx, case.problem.q.shape).copy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            layer = kind(case.problem, 1)
            layer.forward()
            gradient = layer.backward(dx)
            found = case.form.format(case.read(layer.parts(gradient)))
        except Unsupported:
            return "-"
        except Exception as error:
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:60]}"
    said = [layer.complaint(gradient)] + [
        str(w.message).splitlines()[0][:60] for w in caught if "inaccurate" in str(w.message).lower()
    ]
    return "; ".join([found, *dict.fromkeys(text for text in said if text)])


def main() -> None:
    kinds = [Conediff, Tolerant] + [kind for name in NAMES for kind in LAYERS if kind.name == name and not kind.missing()]
    cases = [softmax(), log_barrier(), *(conditioned(10.0**k) for k in (1, 2, 3, 6)), tiny(), duplicated("inequality")]
    cases += [duplicated("equality"), infeasible(), kink(), linear()]
    print(machine() + "\n")
    print("| program | " + " | ".join(kind.name for kind in kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    for case in cases:
        print(f"| {case.title} | " + " | ".join(outcome(case, kind) for kind in kinds) + " |", flush=True)


if __name__ == "__main__":
    main()
