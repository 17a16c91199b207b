"""Cone programs as PyTorch modules.

The layer works with ``backward()``, with ``torch.func`` (grad, vmap, jvp, jacrev, jacfwd) and with forward-mode automatic
differentiation. All is computed on the CPU in float64: tensors of another dtype or device are converted there and back, which
for CUDA tensors is one copy and one synchronization for each call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from . import layer as _layer
from ._data import Shape
from .cones import Cone
from .errors import warn_untrusted
from .result import Solution as _Solution

__all__ = ["ConicLayer", "Solution", "solve"]


class Solution(NamedTuple):
    """x (..., n), z and s (..., m), objective (...): differentiable tensors of the data's dtype, on its device."""

    x: torch.Tensor
    z: torch.Tensor
    s: torch.Tensor
    objective: torch.Tensor


class ConicLayer(torch.nn.Module):
    """Solves and differentiates programs that share their patterns and cones.

    ``ConicLayer(P, A, cones, q=None, b=None, upper=False, on_error="raise", **settings)``: parameters, shapes and settings are
    those of :class:`conediff.ConicLayer`; P, A, q and b may be tensors, and are constants: give what is learned at each call. A
    gradient that is not trusted (a kink, a singular system) is an :class:`conediff.UntrustedDerivativeWarning`; with
    ``strict=True`` an error. With ``on_error="nan"`` or ``"zero"`` a failed item of a batch has such values and gradients.

    Differentiating twice is an error: second derivatives of solutions are not there.

    Examples
    --------
    >>> import torch, conediff, conediff.torch
    >>> layer = conediff.torch.ConicLayer(torch.eye(2), torch.ones(1, 2), [conediff.Nonnegative(1)])
    >>> q = torch.tensor([-1.0, -2.0], requires_grad=True)
    >>> layer(q=q, b=torch.tensor([1.0])).x[0].backward()
    >>> q.grad
    tensor([-0.5000,  0.5000])
    """

    def __init__(self, P: Any, A: Any, cones: Sequence[Cone], *, q: Any = None, b: Any = None, **settings: Any) -> None:
        super().__init__()
        P, A, q, b = (_plain(value) for value in (P, A, q, b))
        #: The layer below: counts, patterns.
        self.layer = _layer.ConicLayer(P, A, cones, q=q, b=b, **settings)
        #: The last call's solution: statuses, errors, ``regularity()``, ``info()``. Under vmap it has vmap's dimensions first.
        self.solution: _Solution | None = None

    @torch.compiler.disable
    def forward(
        self,
        P: torch.Tensor | None = None,
        q: torch.Tensor | None = None,
        A: torch.Tensor | None = None,
        b: torch.Tensor | None = None,
    ) -> Solution:
        """Solves for the data given; what is None is the layer's own.

        Shapes are those of :meth:`conediff.ConicLayer.solve`: P (..., n, n), A (..., m, n), or (..., nnz) values in stored order
        for a layer on sparse matrices; q (..., n), b (..., m)."""
        call = _Call(self.layer)
        *values, _ = _Solve.apply(call, *_tensors(P, q, A, b))
        self.solution = call.solution
        return Solution(*values)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the last solution does not come along."""
        return {**self.__dict__, "solution": None}

    def extra_repr(self) -> str:
        return f"n={self.layer.n}, m={self.layer.m}, cones={list(self.layer.cones)}"


def solve(P: Any, q: Any, A: Any, b: Any, cones: Sequence[Cone], **settings: Any) -> Solution:
    """Solves programs given by dense tensors, batched by leading dimensions, differentiably in all of them. P or A may be None.

    For many calls with one structure make a :class:`ConicLayer`: it keeps what depends on the structure alone.
    """
    P, q, A, b = _tensors(P, q, A, b)
    structures = [None if M is None else np.ones(M.shape[-2:], dtype=bool) for M in (P, A)]
    call = _Call(_layer.ConicLayer(*structures, cones, **settings), once=True)
    *values, _ = _Solve.apply(call, P, q, A, b)
    return Solution(*values)


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def _tensors(*values: Any) -> list[torch.Tensor | None]:
    return [None if value is None else torch.as_tensor(value) for value in values]


def _array(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().to("cpu", torch.float64).numpy()


class _Call:
    """One call of a layer: what its forward found, for its derivatives."""

    def __init__(self, layer: _layer.ConicLayer, once: bool = False) -> None:
        self.layer, self.once = layer, once
        self.solution: _Solution | None = None
        self.kind: dict[str, Any] = {}

    def forward(self, data: Sequence[torch.Tensor | None]) -> tuple[torch.Tensor, ...]:
        """x, z, s, objective, and the number of each item, which follows it through vmap."""
        given = [tensor for tensor in data if tensor is not None]
        dtypes = [t.dtype for t in given if t.dtype.is_floating_point]
        dtype = torch.get_default_dtype()
        for k, other in enumerate(dtypes):
            dtype = torch.promote_types(dtype, other) if k else other
        self.kind = {"dtype": dtype, "device": given[0].device if given else None}
        solution = self.layer._solve(*(_array(tensor) for tensor in data), once=self.once)
        self.solution = solution
        values = (solution.x, solution.z, solution.s, np.asarray(solution.objective))
        items = torch.arange(math.prod(solution.shape), device=self.kind["device"]).reshape(solution.shape)
        return *(torch.as_tensor(v).to(**self.kind) for v in values), items

    def rows(self, shape: Shape, values: Sequence[torch.Tensor | None], events: Sequence[Shape]) -> list[Any]:
        """Tensors as the compiled part's rows, one for each number in ``shape``."""
        rows = []
        for value, event in zip(values, events, strict=True):
            array = _array(value)
            if array is not None:
                length = math.prod(event)
                flat = array.reshape(array.shape[: array.ndim - len(event)] + (length,))
                array = np.ascontiguousarray(np.broadcast_to(flat, (*shape, length))).reshape(-1, length)
            rows.append(array)
        return rows

    def tensors(self, arrays: Sequence[np.ndarray], shape: Shape, events: Sequence[Shape]) -> tuple[torch.Tensor, ...]:
        """Rows as tensors."""
        return tuple(torch.as_tensor(a.reshape(shape + e)).to(**self.kind) for a, e in zip(arrays, events, strict=True))

    @property
    def data_events(self) -> list[Shape]:
        """Shapes of P, q, A, b."""
        return [argument.event for argument in self.layer._arguments]

    @property
    def solution_events(self) -> list[Shape]:
        """Shapes of x, z, s, objective."""
        n, m = self.layer.n, self.layer.m
        return [(n,), (m,), (m,), ()]


def _leading(items: torch.Tensor, values: Sequence[torch.Tensor | None], events: Sequence[Shape]) -> Shape:
    """The shape that the items' numbers and the leading dimensions of all values broadcast to."""
    leads = [v.shape[: v.ndim - len(e)] for v, e in zip(values, events, strict=True) if v is not None]
    return tuple(torch.broadcast_shapes(items.shape, *leads))


class _Solve(torch.autograd.Function):
    """(P, q, A, b) -> (x, z, s, objective, items)."""

    @staticmethod
    def forward(call: _Call, *data: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return call.forward(data)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        call, *data = inputs
        ctx.call = call
        ctx.mark_non_differentiable(output[4])
        ctx.save_for_backward(output[4], *data)
        ctx.save_for_forward(output[4], *data)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[Any, ...]:
        items, *data = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[1:])
        seeds = cotangents[:4]
        if not any(wanted) or all(seed is None for seed in seeds):
            return None, None, None, None, None
        # Without a graph of the backward pass there is nothing to record, which costs more than a small program.
        act = _Gradient.apply if torch.is_grad_enabled() else _Gradient.forward
        found = iter(act(ctx.call, wanted, items, *seeds, *data))
        gradients = [
            next(found).sum_to_size(tensor.shape).to(tensor.dtype) if is_wanted else None
            for is_wanted, tensor in zip(wanted, data, strict=True)
        ]
        return None, *gradients

    @staticmethod
    def jvp(ctx: Any, _call: None, *tangents: torch.Tensor | None) -> tuple[Any, ...]:
        items, *data = ctx.saved_tensors
        return *_Tangent.apply(ctx.call, items, *tangents, *data), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: _Call, *data: torch.Tensor | None) -> tuple[Any, Any]:
        moved = _to_front(in_dims[1:], data, call.data_events)
        return _Solve.apply(call, *moved), (0, 0, 0, 0, 0)


class _Linear(torch.autograd.Function):
    """What the two linear maps share: their derivative in the data, which is second order, is an error."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        raise NotImplementedError(
            "conediff: differentiating twice is not supported; a solution has first derivatives only (use detach() on "
            "gradients that are to be constants)"
        )

    jvp = backward


class _Gradient(_Linear):
    """Cotangents of (x, z, s, objective) -> gradients in the parts of (P, q, A, b) that are wanted, for each item."""

    @staticmethod
    def forward(
        call: _Call, wanted: tuple[bool, ...], items: torch.Tensor, *rest: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        seeds, events = rest[:4], call.solution_events
        shape = _leading(items, seeds, events)
        *rows, weights = call.rows(shape, seeds, events)
        weights = None if weights is None else weights.reshape(-1)
        numbers = items.expand(shape).reshape(-1).cpu().numpy()
        solution = call.solution
        found, evidence = solution._core.vjp(np.ascontiguousarray(numbers), *rows, weights, wanted, solution._fill())
        solution._check(evidence)
        warn_untrusted(evidence.doubt(), math.prod(solution.shape))
        arrays, kept = zip(*((a, e) for a, e in zip(found, call.data_events, strict=True) if a is not None), strict=True)
        return call.tensors(arrays, shape, kept)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: _Call, wanted: Any, *rest: Any) -> tuple[Any, Any]:
        moved = _to_front(in_dims[2:7], rest[:5], [(), *call.solution_events])
        return _Gradient.apply(call, wanted, *moved, *rest[5:]), (0,) * sum(wanted)


class _Tangent(_Linear):
    """Tangents of (P, q, A, b) -> tangents of (x, z, s, objective), for each item."""

    @staticmethod
    def forward(call: _Call, items: torch.Tensor, *rest: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        tangents, events = rest[:4], call.data_events
        shape = _leading(items, tangents, events)
        numbers = items.expand(shape).reshape(-1).cpu().numpy()
        solution = call.solution
        rows = call.rows(shape, tangents, events)
        found, objective, evidence = solution._core.jvp(np.ascontiguousarray(numbers), *rows, solution._fill())
        solution._check(evidence)
        warn_untrusted(evidence.doubt(), math.prod(solution.shape))
        return call.tensors([*found, objective], shape, call.solution_events)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: _Call, *rest: Any) -> tuple[Any, Any]:
        moved = _to_front(in_dims[1:6], rest[:5], [(), *call.data_events])
        return _Tangent.apply(call, *moved, *rest[5:]), (0, 0, 0, 0)


def _to_front(
    dims: Sequence[int | None], tensors: Sequence[torch.Tensor | None], events: Sequence[Shape]
) -> list[torch.Tensor | None]:
    """vmap's dimension first, before all leading dimensions: those broadcast from the right, so shorter ones are filled up."""
    all_three = list(zip(tensors, dims, events, strict=True))
    ranks = [0 if t is None else t.ndim - len(event) - (dim is not None) for t, dim, event in all_three]
    moved = []
    for (tensor, dim, _), rank in zip(all_three, ranks, strict=True):
        if dim is not None:
            tensor = tensor.movedim(dim, 0)
            tensor = tensor.reshape(tensor.shape[:1] + (1,) * (max(ranks) - rank) + tensor.shape[1:])
        moved.append(tensor)
    return moved
