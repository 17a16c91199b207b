"""conediff and its peers behind one interface: each a class, each told of in a sentence.

A layer is made for a :class:`problems.Problem`, with whatever it can prepare for a structure. ``forward()`` takes new values of
all of P, q, A, b; ``backward(dx)`` gives gradients in the layer's own form, which ``parts``, not timed, brings to the problem's.
"""

from __future__ import annotations

import importlib.util
import warnings
from multiprocessing.pool import ThreadPool
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from problems import Parts, Problem, to_clarabel

import conediff
from conediff import Exponential, Nonnegative, Power, PsdTriangle, SecondOrder, Zero


class Unsupported(Exception):
    """The layer has no means for the family."""


class Layer:
    """What all share."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    note: ClassVar[str]
    #: The layer of conediff's that a ratio is taken to.
    beside: ClassVar[str] = "conediff"
    #: The largest batch to measure.
    most: ClassVar[int] = 1024

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem, self.threads = problem, threads
        self.prepare()

    @classmethod
    def missing(cls) -> str | None:
        """The first package that is not installed."""
        return next((name for name in cls.packages if importlib.util.find_spec(name) is None), None)

    def prepare(self) -> None:
        raise NotImplementedError

    def forward(self) -> None:
        raise NotImplementedError

    def backward(self, dx: np.ndarray) -> Any:
        raise NotImplementedError

    def parts(self, gradient: Any) -> Parts:
        return gradient

    def complaint(self, gradient: Any) -> str:
        """What the library itself says is wrong with its answer."""
        return ""


def _pattern(pattern: np.ndarray) -> sp.csr_array:
    return sp.csr_array(pattern)


class Conediff(Layer):
    name = "conediff"
    note = "`conediff.ConicLayer`, default settings, dense arrays or CSR patterns as the data are."

    def prepare(self) -> None:
        p = self.problem
        patterns = [pattern if p.is_dense else _pattern(pattern) for pattern in (p.P_pattern, p.A_pattern)]
        P = patterns[0] if p.P_pattern.any() else None
        self.layer = self.make(P, patterns[1], p.cones, threads=self.threads, **self.settings)
        P, q, A, b = (p.P, p.q, p.A, p.b) if p.is_dense else p.parts
        self.data = (None if not p.P_pattern.any() else P, q, A, b)

    make = staticmethod(conediff.ConicLayer)
    settings: ClassVar[dict[str, Any]] = {}

    def forward(self) -> None:
        self.solution = self.layer.solve(*self.data)

    def backward(self, dx: np.ndarray) -> Any:
        return self.solution.vjp(dx)

    def complaint(self, gradient: Any) -> str:
        doubtful = np.count_nonzero(~gradient.trusted)
        return f"{doubtful} of {self.problem.batch} not trusted" if doubtful else ""

    def parts(self, gradient: Any) -> Parts:
        return self._parts(gradient.P, gradient.q, gradient.A, gradient.b)

    def _parts(self, P: Any, q: Any, A: Any, b: Any) -> Parts:
        batch = self.problem.batch
        P = np.asarray(P).reshape(batch, -1) if self.problem.P_pattern.any() else np.zeros((batch, 0))
        return P, np.asarray(q), np.asarray(A).reshape(batch, -1), np.asarray(b)


class ConediffTorch(Conediff):
    name = "conediff.torch"
    packages = ("torch",)
    note = "`conediff.torch.ConicLayer`, the same through `torch.autograd`."

    def prepare(self) -> None:
        import torch

        from conediff.torch import ConicLayer

        self.make = ConicLayer
        super().prepare()
        self.data = [None if v is None else torch.tensor(v, requires_grad=True) for v in self.data]

    def forward(self) -> None:
        self.x = self.layer(*self.data).x

    def backward(self, dx: np.ndarray) -> Any:
        import torch

        given = [v for v in self.data if v is not None]
        found = torch.autograd.grad(self.x, given, torch.from_numpy(dx))
        return found if len(found) == 4 else (None, *found)

    def complaint(self, gradient: Any) -> str:
        return ""

    def parts(self, gradient: Any) -> Parts:
        return self._parts(*gradient)


class Moreau(Layer):
    packages = ("moreau",)
    solver: ClassVar[str]

    def prepare(self) -> None:
        import moreau

        p = self.problem
        kinds = {kind: [cone for cone in p.cones if isinstance(cone, kind)] for kind in (SecondOrder, Power, PsdTriangle)}
        cones = moreau.Cones(
            num_zero_cones=p.rows(Zero),
            num_nonneg_cones=p.rows(Nonnegative),
            so_cone_dims=[cone.rows for cone in kinds[SecondOrder]],
            num_exp_cones=p.rows(Exponential) // 3,
            power_alphas=[cone.exponent for cone in kinds[Power]],
            psd_dims=[cone.order for cone in kinds[PsdTriangle]],
        )
        P, A = _pattern(p.P_pattern), _pattern(p.A_pattern)
        settings = moreau.Settings(solver=self.solver, device="cpu", batch_size=p.batch, enable_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            indices = P.indptr, P.indices, A.indptr, A.indices
            self.compiled = moreau.CompiledSolver(p.n, p.m, *indices, cones, settings)
        if self.solver == "auto" and (not p.is_qp or p.m > max(500, 2 * p.n)):
            raise Unsupported("is moreau ipm here")

    def forward(self) -> None:
        P, q, A, b = self.problem.parts
        self.compiled.setup(P, A)
        self.compiled.solve(q, b)

    def backward(self, dx: np.ndarray) -> Any:
        return self.compiled.backward(dx)

    def parts(self, gradient: Any) -> Parts:
        return tuple(np.asarray(gradient[name]) for name in ("dP_values", "dq", "dA_values", "db"))

    def complaint(self, gradient: Any) -> str:
        others = [str(status) for status in self.compiled.info.status if status != 1]
        return f"{len(others)} of {self.problem.batch} {others[0]}" if others else ""


class MoreauIpm(Moreau):
    name, solver = "moreau ipm", "ipm"
    note = "`moreau.CompiledSolver`, `Settings(solver='ipm', enable_grad=True)`, else defaults: an interior-point method."


class MoreauAuto(Moreau):
    name, solver = "moreau auto", "auto"
    note = "The same with `solver='auto'`: an active-set method for QPs with n <= 500 and m <= max(500, 2n), else `ipm`."


class Diffcp(Layer):
    """With P = F'F and a variable t: the rows (1 + t, 1 - t, sqrt(2) F x) in a second-order cone say 1/2 x'Px <= t."""

    packages = ("diffcp", "clarabel")
    most = 32
    mode: ClassVar[str]

    def prepare(self) -> None:
        p = self.problem
        if p.rows(Power):
            raise Unsupported("no power cone")
        A, b, q, self.order = p.A, p.b, p.q, _lower_order(p)
        self.cones = {"z": p.rows(Zero), "l": p.rows(Nonnegative), "q": [c.rows for c in p.cones if isinstance(c, SecondOrder)]}
        self.cones["s"] = [c.order for c in p.cones if isinstance(c, PsdTriangle)]
        self.cones["ep"] = p.rows(Exponential) // 3
        self.cones = {key: value for key, value in self.cones.items() if value}
        if p.P_pattern.any():
            self.F = np.linalg.cholesky(p.P).transpose(0, 2, 1)
            below = np.zeros((p.batch, p.n + 2, p.n + 1))
            below[:, 0, -1], below[:, 1, -1], below[:, 2:, :-1] = -1.0, 1.0, -np.sqrt(2.0) * self.F
            A = np.concatenate([np.pad(A, ((0, 0), (0, 0), (0, 1))), below], axis=1)
            b = np.concatenate([b, np.ones((p.batch, 2)), np.zeros((p.batch, p.n))], axis=1)
            q = np.concatenate([q, np.ones((p.batch, 1))], axis=1)
            self.cones["q"] = [p.n + 2]
        else:
            A, b = A[:, self.order], b[:, self.order]
        self.data = [sp.csc_matrix(a) for a in A], list(b), list(q)

    def forward(self) -> None:
        import diffcp

        jobs = dict(n_jobs_forward=self.threads, n_jobs_backward=self.threads)
        cones = [self.cones] * self.problem.batch
        # With Clarabel diffcp mixes up the rows of PSD cones of order above 3.
        solver = dict(solve_method="SCS", eps=1e-9, max_iters=100_000) if "s" in self.cones else dict(solve_method="Clarabel")
        found = diffcp.solve_and_derivative_batch(*self.data, cones, mode=self.mode, **solver, **jobs)
        self.solution, self.adjoint = found[:3], found[4]

    def backward(self, dx: np.ndarray) -> Any:
        rest = self.data[2][0].size - self.problem.n
        y = self.solution[1]
        zeros = [np.zeros_like(row) for row in y]
        return self.adjoint([np.concatenate([row, np.zeros(rest)]) for row in dx], zeros, zeros)

    def parts(self, gradient: Any) -> Parts:
        p = self.problem
        dA, db, dq = np.stack([a.toarray() for a in gradient[0]]), np.stack(gradient[1]), np.stack(gradient[2])[:, : p.n]
        if not p.P_pattern.any():
            back = np.argsort(self.order)
            return p.on_pattern(np.zeros_like(p.P), dq, dA[:, back], db[:, back])
        dP = _through_cholesky(self.F, -np.sqrt(2.0) * dA[:, p.m + 2 :, : p.n])
        return p.on_pattern(dP, dq, dA[:, : p.m, : p.n], db[:, : p.m])


class DiffcpLsqr(Diffcp):
    name, mode = "diffcp lsqr", "lsqr"
    note = (
        "`diffcp.solve_and_derivative_batch`, `mode='lsqr'`, its default, `solve_method='Clarabel'`. Exact modes have no "
        "quadratic term: QPs are given in second-order form with P's Cholesky factor, the gradient brought back to P outside the "
        "measured time. PSD: SCS, `eps=1e-9`; with Clarabel diffcp mixes up the rows of PSD cones of order above 3."
    )


class DiffcpDense(Diffcp):
    name, mode = "diffcp dense", "dense"
    note = "The same with `mode='dense'`."


class Diffqcp(Layer):
    name = "diffqcp lsmr"
    packages = ("diffqcp", "clarabel", "jax")
    note = (
        "`diffqcp.HostQCP.vjp`, `solve_method='jax-lsmr'`, its default, compiled and vectorized by `jax.jit(jax.vmap(...))`, "
        "float64, in batches of 16 (more take gigabytes). It has no solver: Clarabel solves, {threads} items at a time."
    )
    most = 16
    method: ClassVar[str] = "jax-lsmr"

    def prepare(self) -> None:
        import clarabel
        import jax

        jax.config.update("jax_enable_x64", True)
        import jax.numpy as jnp
        from diffqcp import HostQCP, QCPStructureCPU
        from jax.experimental.sparse import BCOO

        p = self.problem
        self.order = _lower_order(p)
        self.upper = np.triu(p.P_pattern) if p.P_pattern.any() else np.eye(p.n, dtype=bool)
        self.rows = p.A_pattern[self.order]
        places = [np.stack(np.nonzero(mask), axis=1) for mask in (self.upper, self.rows)]
        shapes = (p.n, p.n), (p.m, p.n)
        self.values = p.P[:, self.upper], p.A[:, self.order][:, self.rows], p.q, p.b[:, self.order]
        cones = {"z": p.rows(Zero), "l": p.rows(Nonnegative), "q": [c.rows for c in p.cones if isinstance(c, SecondOrder)]}
        cones |= {"s": [c.order for c in p.cones if isinstance(c, PsdTriangle)], "ep": p.rows(Exponential) // 3}
        cones["p"] = [c.exponent for c in p.cones if isinstance(c, Power)]
        cones = {key: value for key, value in cones.items() if value}
        matrices = [BCOO((v[0], at), shape=shape) for v, at, shape in zip(self.values, places, shapes, strict=False)]
        structure = QCPStructureCPU(*matrices, cones)

        def gradient(P, A, q, b, x, z, s, dx):
            matrices = [BCOO((v, at), shape=shape) for v, at, shape in zip((P, A), places, shapes, strict=True)]
            program = HostQCP(*matrices, q, b, x, z, s, structure)
            dP, dA, dq, db = program.vjp(dx, jnp.zeros(p.m), jnp.zeros(p.m), solve_method=self.method)
            return dP.data, dA.data, dq, db

        self.gradient = jax.jit(jax.vmap(gradient))
        self.settings = clarabel.DefaultSettings()
        self.settings.verbose = False
        self.settings.max_threads = 1
        self.pool = ThreadPool(self.threads)
        self.data = [(sp.csc_matrix(np.triu(P)), q, sp.csc_matrix(A), b) for P, q, A, b in zip(p.P, p.q, p.A, p.b, strict=True)]
        self.cones = to_clarabel(p.cones)

    def forward(self) -> None:
        import clarabel

        def solve(data: Any) -> Any:
            found = clarabel.DefaultSolver(*data, self.cones, self.settings).solve()
            return np.array(found.x), np.array(found.z), np.array(found.s)

        x, z, s = (np.stack(v) for v in zip(*self.pool.map(solve, self.data), strict=True))
        self.solution = x, z[:, self.order], s[:, self.order]

    def backward(self, dx: np.ndarray) -> Any:
        import jax

        return jax.block_until_ready(self.gradient(*self.values, *self.solution, dx))

    def parts(self, gradient: Any) -> Parts:
        p = self.problem
        dP, dA = np.zeros_like(p.P), np.zeros_like(p.A)
        dP[:, self.upper], dA[:, self.rows] = gradient[0], gradient[1]
        dP = dP + np.triu(dP, 1).transpose(0, 2, 1)
        back = np.argsort(self.order)
        return p.on_pattern(dP, np.asarray(gradient[2]), dA[:, back], np.asarray(gradient[3])[:, back])


class DiffqcpLu(Diffqcp):
    name, method = "diffqcp lu", "jax-lu"
    note = "The same with `solve_method='jax-lu'`."


class Qpth(Layer):
    name, packages, beside = "qpth", ("qpth", "torch"), "conediff.torch"
    note = (
        "`qpth.qp.QPFunction(verbose=-1, check_Q_spd=False)`, batched, float64; PyTorch with {threads} threads, and with one "
        "above 128 variables, where its batched LU factorization (PyTorch 2.15, oneMKL) hangs with two."
    )

    def prepare(self) -> None:
        import torch

        if not self.problem.is_qp:
            raise Unsupported("QPs only")
        from qpth.qp import QPFunction

        p, equal = self.problem, self.problem.rows(Zero)
        arrays = [p.P, p.q, p.A[:, equal:], p.b[:, equal:], p.A[:, :equal], p.b[:, :equal]]
        self.data = [torch.tensor(v, requires_grad=True) for v in arrays[: 6 if equal else 4]]
        self.rest = [] if equal else [torch.empty(0, dtype=torch.float64)] * 2
        self.layer = QPFunction(verbose=-1, check_Q_spd=False)

    def forward(self) -> None:
        import torch

        torch.set_num_threads(self.threads if self.problem.n <= 128 else 1)
        self.x = self.layer(*self.data, *self.rest)

    def backward(self, dx: np.ndarray) -> Any:
        import torch

        return torch.autograd.grad(self.x, self.data, torch.from_numpy(dx))

    def parts(self, gradient: Any) -> Parts:
        P, q, A, b = (np.asarray(v) for v in gradient[:4])
        if len(gradient) == 6:
            A, b = (np.concatenate([np.asarray(first), rest], axis=1) for first, rest in ((gradient[4], A), (gradient[5], b)))
        return self.problem.on_pattern(P, q, A, b)


class Cvxpylayers(Layer):
    name, packages, beside = "cvxpylayers", ("cvxpylayers", "cvxpy", "torch"), "conediff.torch"
    most = 32
    note = (
        "`cvxpylayers.torch.CvxpyLayer`, its default solver (diffcp), objective 1/2 |Fx|^2 + q'x with F, q, A, b as parameters, "
        "dense; the gradient brought from F to P outside the measured time."
    )

    def prepare(self) -> None:
        import cvxpy as cp
        import torch
        from cvxpylayers.torch import CvxpyLayer

        p, equal = self.problem, self.problem.rows(Zero)
        if not (p.is_qp and p.is_dense):
            raise Unsupported("the benchmark has a model of dense QPs only")
        x, F, q = cp.Variable(p.n), cp.Parameter((p.n, p.n)), cp.Parameter(p.n)
        A, b = cp.Parameter((p.m, p.n)), cp.Parameter(p.m)
        rows = [A[:equal] @ x == b[:equal], A[equal:] @ x <= b[equal:]]
        model = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(F @ x) + q @ x), rows)
        self.layer = CvxpyLayer(model, parameters=[F, q, A, b], variables=[x])
        self.F = np.linalg.cholesky(p.P).transpose(0, 2, 1)
        self.data = [torch.tensor(np.ascontiguousarray(v), requires_grad=True) for v in (self.F, p.q, p.A, p.b)]

    def forward(self) -> None:
        (self.x,) = self.layer(*self.data)

    def backward(self, dx: np.ndarray) -> Any:
        import torch

        return torch.autograd.grad(self.x, self.data, torch.from_numpy(dx))

    def parts(self, gradient: Any) -> Parts:
        F, q, A, b = (np.asarray(v) for v in gradient)
        return self.problem.on_pattern(_through_cholesky(self.F, np.triu(F)), q, A, b)


LAYERS: list[type[Layer]] = [
    Conediff,
    ConediffTorch,
    MoreauAuto,
    MoreauIpm,
    Qpth,
    DiffcpLsqr,
    DiffcpDense,
    Diffqcp,
    DiffqcpLu,
    Cvxpylayers,
]


def _lower_order(problem: Problem) -> np.ndarray:
    """Rows in SCS's order: the lower triangle of a PSD cone column by column instead of the upper one."""
    order, start = [], 0
    for cone in problem.cones:
        rows = np.arange(cone.rows)
        if isinstance(cone, PsdTriangle):
            column, row = np.triu_indices(cone.order)
            rows = row * (row + 1) // 2 + column
        order.append(start + rows)
        start += cone.rows
    return np.concatenate(order)


def _through_cholesky(F: np.ndarray, dF: np.ndarray) -> np.ndarray:
    """The gradient in P of a function of P's upper factor F, P = F'F."""
    answers = []
    for U, dU in zip(F, dF, strict=True):
        inner = np.tril(U @ dU.T)
        inner[np.diag_indices_from(inner)] *= 0.5
        left = scipy.linalg.solve_triangular(U, inner)
        whole = scipy.linalg.solve_triangular(U, left.T).T
        answers.append(0.5 * (whole + whole.T))
    return np.stack(answers)
