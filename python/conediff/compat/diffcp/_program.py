"""Cone programs as diffcp's callers give them, and their solutions by conediff: one batch for each structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from ..._data import canonical, dimension_error
from ...errors import SolveError
from ...layer import solve
from ...result import Solution
from ._rows import Rows, Sizes, rows, sizes
from .cones import ZERO


class SolverError(SolveError):
    """A program was not solved: it is infeasible or unbounded, or the solver failed. ``__cause__`` is conediff's error with
    its numbers, ``item`` the position in a batch."""


@dataclass(frozen=True)
class Program:
    """minimize 1/2 x'Px + c'x subject to Ax + s = b, s in SCS's cones; A (m, n) and P (n, n), or None, in canonical form.
    With ``upper`` P is its upper triangle alone."""

    A: sp.csc_array
    b: np.ndarray
    c: np.ndarray
    P: sp.csc_array | None
    upper: bool
    cones: Sizes

    @classmethod
    def read(cls, A: Any, b: Any, c: Any, cone_dict: Mapping[str, Any], P: Any = None) -> Program:
        """The caller's data, copied. P is an upper triangle if nothing is stored below its diagonal."""
        if not sp.issparse(A):
            raise TypeError("A is required to be a sparse matrix")
        of = sizes(cone_dict)
        matrix = canonical(A, "csc").astype(np.float64)
        offset, cost = np.array(b, dtype=np.float64), np.array(c, dtype=np.float64)
        m, n = rows(of).to.shape[0], cost.size
        for what, expected, found in (
            ("A's shape", (m, n), matrix.shape),
            ("b's shape", (m,), offset.shape),
            ("c's shape", (n,), cost.shape),
        ):
            if expected != found:
                raise dimension_error(what, expected, found)
        if P is None:
            return cls(matrix, offset, cost, None, True, of)
        if not sp.issparse(P):
            raise TypeError("P is required to be a sparse matrix")
        quadratic = canonical(P, "csc").astype(np.float64)
        return cls(matrix, offset, cost, quadratic, sp.tril(quadratic, -1).nnz == 0, of)

    @property
    def structure(self) -> tuple[Any, ...]:
        """Equal for programs that one layer can solve."""
        patterns = [(M.shape, M.indptr.tobytes(), M.indices.tobytes()) for M in (self.A, self.P) if M is not None]
        return (*patterns, self.upper, self.cones)

    def times_P(self, P: Any, x: np.ndarray) -> np.ndarray:
        """Px for a matrix read as this program's P is: by its upper triangle, or by its symmetric part."""
        if self.upper:
            return sp.triu(P) @ x + sp.triu(P, 1).T @ x
        return (P @ x + P.T @ x) / 2.0

    def on_A(self, *pairs: tuple[np.ndarray, np.ndarray]) -> sp.csc_matrix:
        """The sum of uv' over pairs (u, v), on A's pattern."""
        return _sum_of_products(self.A, pairs)

    def on_P(self, *pairs: tuple[np.ndarray, np.ndarray]) -> sp.csc_matrix:
        """The gradient in P's stored values of half the sum of u'Pv over pairs (u, v), whose sum of uv' is symmetric. An
        entry of a triangle stands for both mirrored ones."""
        if self.P is None:
            raise ValueError("P must be provided if return_dP is True.")
        gradient = _sum_of_products(self.P, pairs)
        is_pair = self.upper & (gradient.indices != columns(gradient))
        gradient.data[~is_pair] /= 2.0
        return gradient

    def moved(self, dA: Any, db: Any, dc: Any, dP: Any, step: float) -> Program:
        """The program at data + step * direction; a direction of None is zero."""

        def at(value: Any, direction: Any) -> Any:
            return value if direction is None else value + step * direction

        return replace(
            self,
            A=self.A if dA is None else canonical(at(self.A, dA), "csc"),
            b=at(self.b, db),
            c=at(self.c, dc),
            P=self.P if dP is None else canonical(at(self.P, dP), "csc"),
        )

    def with_proximity(self, rho: float, center: np.ndarray) -> Program:
        """rho/2 |x - center|^2 more in the objective."""
        if rho == 0.0:
            return self
        ridge = rho * sp.eye_array(self.c.size, format="csc")
        P = ridge if self.P is None else canonical(self.P + ridge, "csc")
        return replace(self, P=P, c=self.c - rho * center)

    def with_slack_as_variable(self) -> Program:
        """The program in (x, s): Ax + s = b, -s + s' = 0, s' in K."""
        m = self.b.size
        identity = sp.eye_array(m, format="csc")
        cones = dict(self.cones)
        cones = {ZERO: (m + sum(cones.pop(ZERO, ())),), **cones}
        return replace(
            self,
            A=canonical(sp.block_array([[self.A, identity], [None, -identity]]), "csc"),
            b=np.concatenate([self.b, np.zeros(m)]),
            c=np.concatenate([self.c, np.zeros(m)]),
            P=None if self.P is None else canonical(sp.block_diag([self.P, sp.csc_array((m, m))]), "csc"),
            cones=tuple(cones.items()),
        )


def columns(matrix: Any) -> np.ndarray:
    """The column of each stored entry of a matrix by columns."""
    return np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))


def _sum_of_products(pattern: sp.csc_array, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> sp.csc_matrix:
    i, j = pattern.indices, columns(pattern)
    values = sum((u[i] * v[j] for u, v in pairs), start=np.zeros(pattern.nnz))
    return sp.csc_matrix((values, i.copy(), pattern.indptr.copy()), shape=pattern.shape)


@dataclass(frozen=True)
class Group:
    """Programs of one structure: their positions, their rows and the solution of their batch."""

    items: list[int]
    rows: Rows
    solution: Solution


@dataclass(frozen=True)
class Answers:
    """Solutions of programs, in SCS's rows. A program that was not solved has an error, and NaN."""

    programs: Sequence[Program]
    groups: list[Group]
    x: list[np.ndarray]
    y: list[np.ndarray]
    s: list[np.ndarray]
    errors: list[Exception | None]

    def copies(self) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """x, y and s for the caller to change: derivatives go on from these here."""
        x, y, s = ([value.copy() for value in part] for part in (self.x, self.y, self.s))
        return x, y, s


def solve_all(programs: Sequence[Program], jobs: int, settings: Mapping[str, Any], raise_on_error: bool = True) -> Answers:
    """Solves the programs with at most ``jobs`` threads.

    Raises
    ------
    SolverError
        If a program is not solved, unless ``raise_on_error`` is False.
    """
    positions: dict[tuple[Any, ...], list[int]] = {}
    for item, program in enumerate(programs):
        positions.setdefault(program.structure, []).append(item)

    def attempt(items: list[int]) -> Group:
        own = [programs[item] for item in items]
        of = rows(own[0].cones)
        try:
            solution = solve(
                None if own[0].P is None else [program.P for program in own],
                np.stack([program.c for program in own]),
                [of.to @ program.A for program in own],
                np.stack([program.b for program in own]) @ of.to.T,
                of.cones,
                upper=own[0].upper,
                on_error="raise" if raise_on_error else "nan",
                threads=max(1, min(len(own), jobs * len(own) // len(programs))),
                **settings,
            )
        except SolveError as error:
            failed = SolverError(f"Solver conediff returned status {error}")
            failed.item = items[cast(int, error.item)] if len(programs) > 1 else None
            raise failed from error
        return Group(items, of, solution)

    workers = min(jobs, len(positions))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            groups = list(pool.map(attempt, positions.values()))
    else:
        groups = [attempt(items) for items in positions.values()]
    x, y, s, errors = (places(len(programs)) for _ in range(4))
    for group in groups:
        of, found = group.rows, group.solution
        scatter(group.items, (x, found.x), (y, found.z @ of.to), (s, found.s @ of.back.T), (errors, found.errors))
    return Answers(programs, groups, x, y, s, errors)


def places(count: int) -> list[Any]:
    """A list to be filled by :func:`scatter`."""
    return [None] * count


def scatter(items: list[int], *pairs: tuple[list[Any], Any]) -> None:
    """Rows of a group to the places of its items."""
    for place, values in pairs:
        for item, value in zip(items, values, strict=True):
            place[item] = value
