"""A judge of derivatives: the solution of a program and its derivatives in fifty digits, by mpmath.

    minimize 1/2 x'Px + q'x   subject to   Ax + s = b,  s in K        (dual: z in K*, Px + A'z + q = 0)

Data in doubles are exact numbers, and so the program has one true solution and true derivatives, which :func:`judge` finds to
all digits asked for. P is the whole symmetric matrix, as the package takes it, and gradients in P are symmetric. Rows are in
Clarabel's order: exponential (x, y, w) with y exp(x/y) <= w; power (u, w) with prod u_i^a_i >= |w|; PSD the upper triangle column
by column, entries off the diagonal times sqrt 2.

On which smooth piece of its cone each block of the solution lies is read off the package's z and s. On a piece, z and s are
functions of unknowns y:

    piece                          y          z                      s                      equation
    row that is active             z          y                      0
    row that is not                s          0                      y
    curved boundary h = 0          (s, l)     l grad h(s)            s                      h(s) = 0
    PSD matrices                   z - s      the part of y >= 0     minus the part <= 0

Newton's method in (x, y) solves Px + A'z(y) + q = 0, Ax + s(y) = b and h(y) = 0 from the package's point, and the inverse of
its last Jacobian is the derivative, by the implicit function theorem. Nothing else is taken from the package, and nothing is
believed: a piece that was read wrongly, a kink, a singular system or another point than the package's raise :class:`Unjudged`.

:func:`compare` holds derivatives of the package against the true ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mpmath
import numpy as np
from support import relative

from conediff.cones import Cone, Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero

#: Arithmetic of its own precision; twice the digits promised, since differences and ill-conditioned systems take some.
MP = mpmath.MPContext()
MP.dps = 100

#: The step of the central differences of a piece: their error is of the order of its square, and of rounding divided by it.
STEP = MP.mpf(10) ** -32
#: Newton's method has ended where its step is below this, relative to 1 and the largest unknown.
LAST_STEP = MP.mpf(10) ** -30
#: No residual of the optimality conditions may be larger.
RESIDUAL = MP.mpf(10) ** -35
#: How far z and s may lie outside their cones.
OUTSIDE = MP.mpf(10) ** -20
#: How far from the truth the package's point may lie, relative to 1 and the largest entry; beyond, it is another point.
POINT = MP.mpf(10) ** -5
#: A block this near to the edge of its piece is at a kink.
KINK = MP.mpf(10) ** -12
#: The largest entry of the inverse of a regular Jacobian.
REGULAR = MP.mpf(10) ** 25
#: Newton steps; quadratic convergence from a point good to 1e-5 takes five.
MOST_STEPS = 12

#: An array of mpmath's numbers.
Array = np.ndarray


class Unjudged(Exception):
    """The judge found no solution it can vouch for, or none that has derivatives."""


class Data(Protocol):
    """A program: dense data of doubles, or of mpmath's numbers."""

    P: Any
    q: Any
    A: Any
    b: Any
    cones: Sequence[Cone]


class Point(Protocol):
    """The package's answer to it."""

    x: Any
    z: Any
    s: Any


def exact(values: Any) -> Array:
    """The same numbers, in the judge's arithmetic."""
    return np.vectorize(MP.mpf, otypes=[object])(np.asarray(values))


def zeros(*shape: int) -> Array:
    """Zeros in the judge's arithmetic."""
    return np.full(shape, MP.zero, dtype=object)


def largest(*arrays: Array) -> Any:
    """The largest absolute value."""
    return max((abs(a) for array in arrays for a in array.flat), default=MP.zero)


# Cones


def norm(values: Array) -> Any:
    """The Euclidean norm."""
    return MP.sqrt(sum((a * a for a in values), MP.zero))


def matrix_of(rows: Array) -> Any:
    """The symmetric matrix behind rows of a PSD block."""
    order = next(k for k in range(len(rows) + 1) if k * (k + 1) // 2 == len(rows))
    matrix, entries = MP.matrix(order), iter(rows)
    for j in range(order):
        for i in range(j + 1):
            matrix[i, j] = matrix[j, i] = next(entries) / (1 if i == j else MP.sqrt(2))
    return matrix


def rows_of(matrix: Any) -> Array:
    """The rows of a PSD block behind a symmetric matrix."""
    order = matrix.rows
    return np.array([matrix[i, j] * (1 if i == j else MP.sqrt(2)) for j in range(order) for i in range(j + 1)], dtype=object)


def eigenvalues(rows: Array) -> list[Any]:
    """Those of the matrix behind rows of a PSD block."""
    return list(MP.eigsy(matrix_of(rows), eigvals_only=True))


def positive_part(rows: Array) -> Array:
    """The nearest positive semidefinite matrix, in rows."""
    values, vectors = MP.eigsy(matrix_of(rows))
    part = MP.matrix(vectors.rows)
    for k in range(vectors.rows):
        if values[k] > 0:
            part += values[k] * vectors[:, k] * vectors[:, k].T
    return rows_of(part)


def exponents(cone: Power | GeneralizedPower) -> list[Any]:
    """A power cone's exponents, whose sum is 1 to the last digit: doubles may miss it by their rounding."""
    if isinstance(cone, Power):
        return [MP.mpf(cone.exponent), 1 - MP.mpf(cone.exponent)]
    given = [MP.mpf(a) for a in cone.exponents]
    return [a / MP.fsum(given) for a in given]


def product(bases: Sequence[Any], powers: Sequence[Any]) -> Any:
    """prod u_i^a_i."""
    return MP.fprod(u**a for u, a in zip(bases, powers, strict=True))


def depth(cone: Cone, s: Array) -> Any:
    """How far s fulfils what defines K: positive inside, zero on the boundary, negative outside."""
    match cone:
        case Zero():
            return -largest(s)
        case Nonnegative():
            return min(s)
        case SecondOrder():
            return s[0] - norm(s[1:])
        case PsdTriangle():
            return min(eigenvalues(s))
        case Exponential():
            x, y, w = s
            return w - y * MP.exp(x / y) if y > 0 else min(-x, y, w)
        case Power() | GeneralizedPower():
            a = exponents(cone)
            u, w = s[: len(a)], s[len(a) :]
            return min(u) if min(u) < 0 else product(u, a) - norm(w)


def dual_depth(cone: Cone, z: Array) -> Any:
    """The same for z and K*."""
    match cone:
        case Zero():
            return MP.inf
        case Exponential():
            u, v, w = z
            return MP.e * w + u * MP.exp(v / u) if u < 0 else min(-u, v, w) if u > 0 else min(v, w)
        case Power() | GeneralizedPower():
            a = exponents(cone)
            u, w = z[: len(a)], z[len(a) :]
            return min(u) if min(u) < 0 else product([t / p for t, p in zip(u, a, strict=True)], a) - norm(w)
    return depth(cone, z)


# Boundaries h = 0 of curved cones, h positive inside: h and its gradient at s. Each raises where h is not smooth.


def smooth_where(holds: bool) -> None:
    """Raises where a boundary's function has no derivative, or no real value."""
    if not holds:
        raise Unjudged("Newton's method leaves the smooth part of a boundary")


def second_order_boundary(s: Array) -> tuple[Any, Array]:
    """h = t - |u|."""
    size = norm(s[1:])
    smooth_where(size > 0)
    return s[0] - size, np.array([MP.one, *(-u / size for u in s[1:])], dtype=object)


def exponential_boundary(s: Array) -> tuple[Any, Array]:
    """h = w - y exp(x/y)."""
    x, y, w = s
    smooth_where(y > 0)
    e = MP.exp(x / y)
    return w - y * e, np.array([-e, -e * (1 - x / y), MP.one], dtype=object)


def power_boundary(a: Sequence[Any]) -> Callable[[Array], tuple[Any, Array]]:
    """h = prod u_i^a_i - |w|."""

    def boundary(s: Array) -> tuple[Any, Array]:
        u, w = s[: len(a)], s[len(a) :]
        smooth_where(min(u) > 0 and norm(w) > 0)
        height, size = product(u, a), norm(w)
        along = [p * height / t for t, p in zip(u, a, strict=True)]
        return height - size, np.array([*along, *(-t / size for t in w)], dtype=object)

    return boundary


# Pieces


@dataclass
class Flat:
    """Rows of which each has s = 0 (active) or z = 0."""

    active: Array

    def start(self, z: Array, s: Array) -> Array:
        """The unknowns of a point."""
        return np.where(self.active, z, s)

    def values(self, y: Array) -> tuple[Array, Array, Array]:
        """z, s and the equation's residual."""
        return np.where(self.active, y, MP.zero), np.where(self.active, MP.zero, y), zeros(0)

    def margin(self, cone: Cone, y: Array) -> Any:
        """How far the unknowns are from the piece's edge."""
        z, s, _ = self.values(y)
        if all(self.active):
            return dual_depth(cone, z)
        if not any(self.active):
            return depth(cone, s)
        # A face of the exponential cone in its plane y = 0, on which only x is negative; or half-lines.
        return min(-y[0], *y[1:]) if isinstance(cone, Exponential) else min(y)


@dataclass
class Curved:
    """A boundary h = 0."""

    boundary: Callable[[Array], tuple[Any, Array]]

    def start(self, z: Array, s: Array) -> Array:
        """The unknowns of a point."""
        _, gradient = self.boundary(s)
        return np.append(s, (z @ gradient) / (gradient @ gradient))

    def values(self, y: Array) -> tuple[Array, Array, Array]:
        """z, s and the equation's residual."""
        s, multiplier = y[:-1], y[-1]
        height, gradient = self.boundary(s)
        return multiplier * gradient, s, np.array([height], dtype=object)

    def margin(self, cone: Cone, y: Array) -> Any:
        """How far the unknowns are from the piece's edge: a multiplier of zero, the apex, and where h is not smooth."""
        s, multiplier = y[:-1], y[-1]
        match cone:
            case Exponential():
                return min(multiplier, s[1])
            case Power() | GeneralizedPower():
                count = len(exponents(cone))
                return min(multiplier, *s[:count], norm(s[count:]))
        return min(multiplier, s[0])


@dataclass
class Semidefinite:
    """PSD matrices, at any rank."""

    def start(self, z: Array, s: Array) -> Array:
        """The unknowns of a point."""
        return z - s

    def values(self, y: Array) -> tuple[Array, Array, Array]:
        """z, s and the equation's residual."""
        z = positive_part(y)
        return z, z - y, zeros(0)

    def margin(self, cone: Cone, y: Array) -> Any:
        """How far the unknowns are from the piece's edge."""
        return min(abs(e) for e in eigenvalues(y))


Piece = Flat | Curved | Semidefinite


def piece_of(cone: Cone, z: Array, s: Array) -> Piece:
    """The piece a point seems to lie on. Projections have exact zeros where they end in an apex or on a flat face."""
    match cone:
        case Zero():
            return Flat(np.full(len(s), True))
        case Nonnegative():
            return Flat((z > s).astype(bool))
        case PsdTriangle():
            return Semidefinite()
    if largest(s) == 0 or largest(z) == 0:
        return Flat(np.full(len(s), largest(s) == 0))
    match cone:
        case SecondOrder():
            return Curved(second_order_boundary)
        case Exponential():
            return Flat(np.array([False, True, z[2] > s[2]])) if s[1] == 0 else Curved(exponential_boundary)
        case Power() | GeneralizedPower():
            return Curved(power_boundary(exponents(cone)))


def differences(piece: Piece, y: Array) -> tuple[Array, Array, Array]:
    """The Jacobians of z, s and the equation in the unknowns."""
    columns: list[list[Array]] = []
    for k in range(len(y)):
        step = zeros(len(y))
        step[k] = STEP
        ends = zip(piece.values(y + step), piece.values(y - step), strict=True)
        columns.append([(there - back) / (2 * STEP) for there, back in ends])
    return tuple(np.array(part, dtype=object).reshape(len(y), -1).T for part in zip(*columns, strict=True))


# The system


@dataclass
class Block:
    """A cone, its rows, the piece its part of the solution lies on, and where its unknowns and its equation are."""

    cone: Cone
    rows: slice
    piece: Piece
    unknowns: slice
    equation: slice


class System:
    """The optimality conditions on given pieces, as equations in u = (x, y)."""

    def __init__(self, program: Data, point: Point) -> None:
        self.P, self.q, self.A, self.b = (exact(d) for d in (program.P, program.q, program.A, program.b))
        if largest(self.P - self.P.T) != 0:
            raise ValueError("P must be symmetric to the last bit")
        self.m, self.n = self.A.shape
        x, z, s = (exact(part) for part in (point.x, point.z, point.s))
        self.blocks, starts = [], [x]
        row, unknown, equation = 0, self.n, self.n + self.m
        for cone in program.cones:
            rows = slice(row, row + cone.rows)
            row = rows.stop
            if cone.rows == 0:
                continue
            piece = piece_of(cone, z[rows], s[rows])
            starts.append(piece.start(z[rows], s[rows]))
            size, equations = len(starts[-1]), len(starts[-1]) - cone.rows
            self.blocks.append(Block(cone, rows, piece, slice(unknown, unknown + size), slice(equation, equation + equations)))
            unknown, equation = unknown + size, equation + equations
        self.start = np.concatenate(starts)

    def parts(self, u: Array) -> tuple[Array, Array, Array, Array]:
        """x, z, s and the residuals of the boundaries' equations."""
        z, s, equations = zeros(self.m), zeros(self.m), zeros(len(u) - self.n - self.m)
        for block in self.blocks:
            at = slice(block.equation.start - self.n - self.m, block.equation.stop - self.n - self.m)
            z[block.rows], s[block.rows], equations[at] = block.piece.values(u[block.unknowns])
        return u[: self.n], z, s, equations

    def residual(self, u: Array) -> Array:
        """What the equations leave."""
        x, z, s, equations = self.parts(u)
        return np.concatenate([self.P @ x + self.A.T @ z + self.q, self.A @ x + s - self.b, equations])

    def jacobian(self, u: Array) -> tuple[Array, Array, Array]:
        """That of the residual, and those of z and s, all in u. Only pieces are differenced: the rest is linear."""
        n, m = self.n, self.m
        J, Z, S = zeros(len(u), len(u)), zeros(m, len(u)), zeros(m, len(u))
        J[:n, :n], J[n : n + m, :n] = self.P, self.A
        for block in self.blocks:
            at = block.unknowns
            Z[block.rows, at], S[block.rows, at], J[block.equation, at] = differences(block.piece, u[at])
            J[:n, at] = self.A[block.rows].T @ Z[block.rows, at]
        J[n : n + m] += S
        return J, Z, S

    def solve(self) -> Array:
        """Newton's method."""
        u = self.start
        for _ in range(MOST_STEPS):
            try:
                step = MP.lu_solve(MP.matrix(self.jacobian(u)[0].tolist()), MP.matrix((-self.residual(u)).tolist()))
            except ZeroDivisionError:
                raise Unjudged("the system is singular") from None
            step = np.array(list(step), dtype=object)
            u = u + step
            if largest(step) < LAST_STEP * (1 + largest(u)):
                return u
        raise Unjudged("Newton's method does not end: the pieces may be wrong ones")

    def check(self, u: Array, point: Point) -> None:
        """Raises if u is no solution, is at a kink, or is another point than the package's."""
        x, z, s, _ = self.parts(u)
        residuals = [self.P @ x + self.A.T @ z + self.q, self.A @ x + s - self.b]
        residuals += [np.array([z[b.rows] @ s[b.rows] for b in self.blocks], dtype=object)]
        if not largest(*residuals) < RESIDUAL * (1 + largest(u)):
            raise Unjudged(f"the optimality conditions hold to {MP.nstr(largest(*residuals), 3)} only")
        for block in self.blocks:
            inside = min(depth(block.cone, s[block.rows]), dual_depth(block.cone, z[block.rows]))
            if not inside > -OUTSIDE:
                raise Unjudged(f"{block.cone}: outside by {MP.nstr(-inside, 3)}")
            margin = block.piece.margin(block.cone, u[block.unknowns])
            if not margin > KINK:
                raise Unjudged(f"{block.cone}: {MP.nstr(margin, 3)} from a kink")
        for name, true, found in (("x", x, point.x), ("z", z, point.z), ("s", s, point.s)):
            if not largest(true - exact(found)) < POINT * (1 + largest(true)):
                raise Unjudged(f"{name} is off by {MP.nstr(largest(true - exact(found)), 3)}: another point than the package's")


# Derivatives


@dataclass
class Direction:
    """The directional derivative of a solution."""

    x: Array
    z: Array
    s: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.x, self.z, self.s))


@dataclass
class Slopes:
    """The gradient in the data."""

    P: Array
    q: Array
    A: Array
    b: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.P, self.q, self.A, self.b))


class Truth:
    """The solution and, through it, its derivatives."""

    def __init__(self, system: System, u: Array) -> None:
        self.x, self.z, self.s, _ = system.parts(u)
        J, self._Z, self._S = system.jacobian(u)
        try:
            inverse = MP.inverse(MP.matrix(J.tolist()))
        except ZeroDivisionError:
            raise Unjudged("the system is singular") from None
        self._inverse = np.array(inverse.tolist(), dtype=object)
        if not largest(self._inverse) < REGULAR:
            raise Unjudged("the system is singular")

    def jvp(self, P: Any, q: Any, A: Any, b: Any) -> Direction:
        """The derivative of (x, z, s) along a direction in the data; one in P counts through its symmetric part."""
        P, q, A, b = (exact(d) for d in (P, q, A, b))
        moved = zeros(len(self._inverse))
        n, m = len(self.x), len(self.z)
        moved[:n] = -((P + P.T) @ self.x / 2 + A.T @ self.z + q)
        moved[n : n + m] = b - A @ self.x
        du = self._inverse @ moved
        return Direction(du[:n], self._Z @ du, self._S @ du)

    def vjp(self, dx: Any, dz: Any, ds: Any) -> Slopes:
        """The gradient of <dx, x> + <dz, z> + <ds, s> in the data."""
        seed = exact(dz) @ self._Z + exact(ds) @ self._S
        n, m = len(self.x), len(self.z)
        seed[:n] += exact(dx)
        w = seed @ self._inverse
        first, second = w[:n], w[n : n + m]
        P = -(np.outer(first, self.x) + np.outer(self.x, first)) / 2
        return Slopes(P, -first, -(np.outer(self.z, first) + np.outer(second, self.x)), second)


def judge(program: Data, point: Point) -> Truth:
    """The true solution of a program near the package's, and through it the true derivatives.

    Raises
    ------
    Unjudged
        Where Newton's last step is not below 1e-30, the optimality conditions are not met to 1e-35, z or s is not in its cone to
        1e-20, a block is within 1e-12 of a kink, the system is singular, or the package's point is not within 1e-5.
    """
    system = System(program, point)
    u = system.solve()
    system.check(u, point)
    return Truth(system, u)


# The package's derivatives beside the true ones


@dataclass
class Comparison:
    """One derivative of the package.

    Attributes
    ----------
    kind : JVP or VJP
    parts : the error in each part relative to the part's largest entry
    error : the error relative to the largest entry of the whole answer, (dx, dz, ds) or (dq, db): what the package estimates
    estimate, trusted : what the package says
    """

    kind: str
    parts: dict[str, float]
    error: float
    estimate: float
    trusted: bool

    @property
    def understated(self) -> float:
        """How many times too small the estimate is; below 1 where it is a bound."""
        return self.error / self.estimate


def compare_tangent(found: Any, true: Direction) -> Comparison:
    """A tangent of the package beside the true one."""
    parts = {name: relative(getattr(found, name), part) for name, part in zip("xzs", true, strict=True)}
    error = relative(np.concatenate([found.x, found.z, found.s]), np.concatenate(list(true)))
    return Comparison("JVP", parts, error, found.error, found.trusted)


def compare_gradient(found: Any, true: Slopes) -> Comparison:
    """A gradient of the package beside the true one."""
    parts = {name: relative(getattr(found, name), part) for name, part in zip("PqAb", true, strict=True)}
    error = relative(np.concatenate([found.q, found.b]), np.concatenate([true.q, true.b]))
    return Comparison("VJP", parts, error, found.error, found.trusted)


def compare(solution: Any, truth: Truth, seed: int, count: int = 1) -> list[Comparison]:
    """So many random JVPs and VJPs of a solution of the package beside the true ones."""
    rng = np.random.default_rng([seed, 11])
    n, m = len(truth.x), len(truth.z)
    found = []
    for _ in range(count):
        tangent = [rng.standard_normal(shape) for shape in ((n, n), n, (m, n), m)]
        found.append(compare_tangent(solution.jvp(*tangent), truth.jvp(*tangent)))
        cotangent = [rng.standard_normal(size) for size in (n, m, m)]
        found.append(compare_gradient(solution.vjp(*cotangent), truth.vjp(*cotangent)))
    return found
