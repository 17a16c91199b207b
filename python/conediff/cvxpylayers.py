"""A solver for cvxpylayers: ``CvxpyLayer(problem, parameters, variables, solver=conediff.cvxpylayers.ConeDiff())``.

It works with the layers of ``cvxpylayers.torch`` and ``cvxpylayers.jax`` (cvxpylayers 1.2 or later). Quadratic objectives stay
quadratic, and every cone that CVXPY makes is supported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from cvxpy.constraints import SOC, ExpCone, PowCone3D
from cvxpylayers.interfaces.base import SolverInterface

from . import layer as _layer
from .cones import PsdTriangle
from .cvxpy import checked, cones_of
from .errors import InputError, warn_untrusted
from .result import Solution

__all__ = ["ConeDiff"]


class ConeDiff(SolverInterface):
    """conediff as the solver of a CvxpyLayer.

    Gradients reach parameters through primal and dual variables alike. A batch is one call, on as many threads as ``threads``
    says. A gradient that is not trusted (a kink, a singular system) is an :class:`conediff.UntrustedDerivativeWarning`; with
    ``strict=True`` an error. All is computed on the CPU in float64.

    Parameters
    ----------
    on_error : "raise" the first failed item's error; or give a failed item of a batch "nan" or "zero" as solution and gradients
    **settings : those of :class:`conediff.ConicLayer`, for every call; ``solver_args`` of a call come before them. The
        ``solver_args`` that CvxpyLayer's constructor takes do not reach solvers of this kind: give them here

    One solver may serve many layers.

    Notes
    -----
    The JAX layer of cvxpylayers solves outside of JAX: ``jax.grad`` works, ``jax.jit`` and ``jax.vmap`` around a layer do not.
    Batch with a leading dimension, or use ``conediff.jax``.

    Examples
    --------
    >>> import cvxpy as cp, torch
    >>> from cvxpylayers.torch import CvxpyLayer
    >>> from conediff.cvxpylayers import ConeDiff
    >>> x, a = cp.Variable(2), cp.Parameter(2)
    >>> problem = cp.Problem(cp.Minimize(cp.sum_squares(x - a)), [cp.sum(x) <= 1])
    >>> layer = CvxpyLayer(problem, parameters=[a], variables=[x], solver=ConeDiff(threads=2))
    >>> value = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)   # two problems
    >>> (solution,) = layer(value)
    >>> solution[:, 0].sum().backward()
    >>> value.grad
    tensor([[ 0.5000, -0.5000],
            [ 1.0000,  0.0000]])
    """

    #: CVXPY canonicalizes for Clarabel: P and all cones, in conediff's order of the rows.
    canon_solver = "CLARABEL"
    supports_quad_obj = True

    def __init__(self, *, on_error: _layer.OnError = "raise", **settings: Any) -> None:
        self.settings = checked({"on_error": on_error, **settings})
        #: The last call's solution: statuses, errors, ``regularity(item)``, ``info(item)``.
        self.solution: Solution | None = None
        # The cone dimensions' identity is all that a call says about which layer makes it; kept here, it stays theirs.
        self._programs: dict[int, tuple[Any, _Program]] = {}

    def __repr__(self) -> str:
        return f"ConeDiff({', '.join(f'{name}={value!r}' for name, value in self.settings.items())})"

    def setup(self, ctx: Any) -> None:
        """Reads the structure of a layer's problem; CvxpyLayer calls it.

        Raises
        ------
        InputError
            A dual variable asked for is of a constraint that is several cones.
        """
        _refuse_interleaved_duals(ctx)
        dims = ctx.cone_dims
        self._programs[id(dims)] = dims, _Program(ctx)
        # The JAX layer asks this and not the solver.
        ctx.solver_ctx = _JaxContext(self, dims)

    # Shapes everywhere below: P (B, nnz) or None, q (B, n + 1), A (B, nnz + number of b's entries), dims the cones; primal
    # (B, n), dual (B, m) with PSD blocks in the order of SCS; gradients as the data.

    def solve_numpy_batch(
        self,
        P: np.ndarray | None,
        q: np.ndarray,
        A: np.ndarray,
        dims: Any,
        solver_args: dict[str, Any],
        needs_grad: bool,
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Solves a batch; the state is what :meth:`derivative_numpy_batch` takes.

        Raises
        ------
        InputError, SolveError
            Unless ``on_error`` is "nan" or "zero"; ``error.item`` is the first failed item, ``error.solution`` the others'.
        """
        if id(dims) not in self._programs:
            raise InputError("these cones are of no layer that this solver was set up for: call setup first")
        _, program = self._programs[id(dims)]
        self.solution = solution = program.solve({**self.settings, **solver_args}, P, q, A)
        return solution.x, solution.z[:, program.order], (program, solution) if needs_grad else None

    def derivative_numpy_batch(
        self, dprimal: np.ndarray, ddual: np.ndarray, saved_state: Any
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """The gradient of <dprimal, primal> + <ddual, dual>; zero in data that no parameter enters.

        Raises
        ------
        NotTrustedError under ``strict``.
        """
        program, solution = saved_state
        return program.gradient(solution, dprimal, ddual)

    def solve_torch_batch(
        self, P: Any, q: Any, A: Any, dims: Any, solver_args: dict[str, Any], needs_grad: bool
    ) -> tuple[Any, Any, Any]:
        """:meth:`solve_numpy_batch` on torch tensors."""
        P, q_, A = (_from_torch(value) for value in (P, q, A))
        primal, dual, state = self.solve_numpy_batch(P, q_, A, dims, solver_args, needs_grad)
        return _to_torch(primal, q), _to_torch(dual, q), state

    def derivative_torch_batch(self, dprimal: Any, ddual: Any, saved_state: Any) -> tuple[Any, Any, Any]:
        """:meth:`derivative_numpy_batch` on torch tensors."""
        parts = self.derivative_numpy_batch(_from_torch(dprimal), _from_torch(ddual), saved_state)
        dP, dq, dA = (_to_torch(part, dprimal) for part in parts)
        return dP, dq, dA

    def solve_jax_batch(
        self, P: Any, q: Any, A: Any, dims: Any, solver_args: dict[str, Any], needs_grad: bool
    ) -> tuple[Any, Any, Any]:
        """:meth:`solve_numpy_batch` on JAX arrays."""
        P, q, A = (_from_jax(value) for value in (P, q, A))
        primal, dual, state = self.solve_numpy_batch(P, q, A, dims, solver_args, needs_grad)
        return _to_jax(primal), _to_jax(dual), state

    def derivative_jax_batch(self, dprimal: Any, ddual: Any, saved_state: Any) -> tuple[Any, Any, Any]:
        """:meth:`derivative_numpy_batch` on JAX arrays."""
        parts = self.derivative_numpy_batch(_from_jax(dprimal), _from_jax(ddual), saved_state)
        dP, dq, dA = (_to_jax(part) for part in parts)
        return dP, dq, dA


class _Program:
    """What the programs of one CvxpyLayer share: patterns, cones, which data parameters enter, and layers for the settings used.

    cvxpylayers hands A over as the values of [-A b] by columns, and q with the objective's constant at its end.
    """

    def __init__(self, ctx: Any) -> None:
        self.n = ctx.q.shape[0] - 1
        self.cones = cones_of(ctx.cone_dims)
        nothing = np.zeros(0, dtype=np.int64), np.zeros(self.n + 2, dtype=np.int64), (0, self.n + 1)
        indices, starts, (m, _) = ctx.reduced_A.problem_data_index or nothing
        self.m, self.nnz = int(m), int(starts[-2])
        self.b_rows = indices[self.nnz :]
        self.A = _pattern(indices[: self.nnz], starts[:-1], (self.m, self.n))
        quadratic = ctx.reduced_P.problem_data_index
        self.P = None if quadratic is None else _pattern(quadratic[0], quadratic[1], (self.n, self.n))
        in_A = ctx.reduced_A.reduced_mat
        entering = {"P": ctx.reduced_P.reduced_mat, "q": ctx.q[:-1], "A": in_A[: self.nnz], "b": in_A[self.nnz :]}
        is_entered = {name: _entered(matrix) for name, matrix in entering.items()}
        #: The data that parameters enter.
        self.varying = "".join(name for name, entered in is_entered.items() if entered.any())
        b = np.zeros(self.m, dtype=bool)
        b[self.b_rows] = is_entered["b"]
        #: Which of P, q, A and b, as stored: the bounds CVXPY puts on norms and the like are not unique where they have room, and
        #: as long as no parameter reaches them all else is differentiable.
        self.moving = is_entered["P"], is_entered["q"], is_entered["A"], b
        #: SCS's order of the rows: PSD triangles by columns of the lower triangle, not of the upper one.
        self.order = _scs_order(self.cones)
        self._layers: dict[str, _layer.ConicLayer] = {}

    def layer(self, settings: dict[str, Any]) -> _layer.ConicLayer:
        """The layer for these settings."""
        key = repr(sorted(settings.items()))
        layer = self._layers.get(key)
        if layer is None:
            if len(self._layers) >= 8:
                # Settings that change at each call, as a random selection's seed, shall not pile up.
                self._layers.clear()
            layer = _layer.ConicLayer(self.P, self.A, self.cones, **settings)
            layer._moving = self.moving
            layer._make()
            layer = self._layers.setdefault(key, layer)
        return layer

    def solve(self, settings: dict[str, Any], P: np.ndarray | None, q: np.ndarray, A: np.ndarray) -> Solution:
        """The solutions of a batch."""
        b = np.zeros((len(A), self.m), dtype=A.dtype)
        b[:, self.b_rows] = A[:, self.nnz :]
        a = -A[:, : self.nnz]
        # What no parameter enters is the same for all items.
        P = P if P is None or "P" in self.varying else P[0]
        a = a if "A" in self.varying else a[0]
        return self.layer(settings).solve(P, q[:, :-1], a, b)

    def gradient(
        self, solution: Solution, dprimal: np.ndarray, ddual: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """The gradient in the values as cvxpylayers hands them over."""
        batch = len(dprimal)
        dz = np.empty_like(ddual)
        dz[:, self.order] = ddual
        gradient = solution.vjp(dx=dprimal, dz=dz, wanted=self.varying)
        warn_untrusted(gradient._evidence.doubt(), batch)
        dP = None if self.P is None else np.zeros((batch, self.P.nnz))
        dq = np.zeros((batch, self.n + 1))
        dA = np.zeros((batch, self.nnz + len(self.b_rows)))
        if gradient.P is not None:
            dP = gradient.P
        if gradient.q is not None:
            dq[:, :-1] = gradient.q
        if gradient.A is not None:
            dA[:, : self.nnz] = -gradient.A
        if gradient.b is not None:
            dA[:, self.nnz :] = gradient.b[:, self.b_rows]
        return dP, dq, dA


class _JaxContext:
    """What the JAX layer of cvxpylayers calls: arrays with the batch last, and one problem without a batch's dimension."""

    def __init__(self, solver: ConeDiff, dims: Any) -> None:
        self.solver, self.dims = solver, dims

    def jax_to_data(self, quad_obj_values: Any, lin_obj_values: Any, con_values: Any) -> _JaxData:
        """The data of a call."""
        return _JaxData(self, quad_obj_values, lin_obj_values, con_values)


class _JaxData:
    """The data of one call of the JAX layer."""

    def __init__(self, context: _JaxContext, P: Any, q: Any, A: Any) -> None:
        self.context = context
        self.is_single = q.ndim == 1
        self.P, self.q, self.A = (None if v is None else v[None] if self.is_single else v.T for v in (P, q, A))

    def jax_solve(self, solver_args: dict[str, Any] | None = None) -> tuple[Any, Any, Any]:
        """Primal, dual, and the state for derivatives."""
        return self._solve(solver_args, needs_grad=True)

    def jax_solve_only(self, solver_args: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Primal and dual."""
        return self._solve(solver_args, needs_grad=False)[:2]

    def jax_derivative(self, dprimal: Any, ddual: Any, adj_batch: Any) -> tuple[Any, Any, Any]:
        """The gradient, in the shape of the data."""
        parts = self.context.solver.derivative_jax_batch(dprimal, ddual, adj_batch)
        dP, dq, dA = (None if v is None else v[0] if self.is_single else v.T for v in parts)
        return dP, dq, dA

    def _solve(self, solver_args: dict[str, Any] | None, needs_grad: bool) -> tuple[Any, Any, Any]:
        solver, dims = self.context.solver, self.context.dims
        return solver.solve_jax_batch(self.P, self.q, self.A, dims, solver_args or {}, needs_grad)


def _pattern(indices: np.ndarray, starts: np.ndarray, shape: tuple[int, int]) -> sp.csc_array:
    """A sparsity pattern without values."""
    return sp.csc_array((np.ones(len(indices), dtype=bool), indices, starts), shape=shape)


def _entered(matrix: Any) -> np.ndarray:
    """Which of the values that are ``matrix`` times (parameters, 1) parameters enter."""
    if matrix is None:
        return np.zeros(0, dtype=bool)
    return abs(sp.csr_array(matrix)[:, :-1]).sum(axis=1) > 0


def _refuse_interleaved_duals(ctx: Any) -> None:
    """cvxpylayers takes the dual variables of a constraint to lie one after the other, but the rows of several cones in one
    constraint are cone by cone: it would return numbers of other cones."""
    asked = {variable.id for variable in ctx.variables}
    for constraint in ctx.problem.constraints:
        is_several = isinstance(constraint, (SOC, ExpCone, PowCone3D)) and constraint.num_cones() > 1
        if is_several and asked & {variable.id for variable in constraint.dual_variables}:
            raise InputError(
                f"cvxpylayers misreads the dual variables of {constraint.num_cones()} cones in one constraint, {constraint}: "
                "write a constraint for each cone"
            )


def _scs_order(cones: list[Any]) -> np.ndarray:
    """The row of conediff's in each place of SCS's order."""
    order, start = [], 0
    for cone in cones:
        rows = np.arange(start, start + cone.rows)
        if isinstance(cone, PsdTriangle):
            # The place in the upper triangle of each entry (j, i), i <= j, of the lower one, which is read by columns i.
            i, j = np.triu_indices(cone.order)
            rows = start + j * (j + 1) // 2 + i
        order.append(rows)
        start += cone.rows
    return np.concatenate(order)


def _from_torch(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy()


def _to_torch(array: np.ndarray | None, like: Any) -> Any:
    import torch

    return None if array is None else torch.from_numpy(array).to(dtype=like.dtype, device=like.device)


def _from_jax(array: Any) -> Any:
    import jax

    if isinstance(array, jax.core.Tracer):
        raise InputError(
            "cvxpylayers solves outside of JAX: call the layer without jax.jit and jax.vmap (batch with a leading dimension), "
            "or use conediff.jax"
        )
    return None if array is None else np.asarray(array)


def _to_jax(array: np.ndarray | None) -> Any:
    import jax.numpy as jnp

    return None if array is None else jnp.asarray(array)
