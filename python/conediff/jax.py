"""Cone programs for JAX: the solution as a function of the data, under jit, vmap, grad, jvp and lax.scan.

Two primitives run on the host. ``solve`` gives the solution and, where it is differentiated, a token for each item: the number
under which the host keeps the solution with its factorization, and the item's place in it. ``derivative`` takes tokens; it is
linear in the tangents or cotangents, and its own transpose: from P, q, A, b to x, z, s, objective, or back.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import secrets
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike

from . import layer as _layer
from ._data import Shape, dimension_error
from .cones import Cone
from .errors import Error, InputError, warn_untrusted
from .result import Solution as _Solution

__all__ = ["ConicLayer", "Solution", "solve"]

_DATA = ("P", "q", "A", "b")
_PARTS = ("x", "z", "s", "objective")

# Solutions kept after a derivative has read them: another derivative may follow, as in a Jacobian by rows.
_KEPT_AFTER_USE = 2


class Solution(NamedTuple):
    """x (..., n), z and s (..., m), objective (...): primal variables, duals, slacks, and 1/2 x'Px + q'x."""

    x: jax.Array
    z: jax.Array
    s: jax.Array
    objective: jax.Array


@jax.tree_util.register_static
class ConicLayer:
    """Solves and differentiates programs that share their patterns and cones; see :class:`conediff.ConicLayer`.

    Parameters
    ----------
    P, A, cones, q, b, upper, **settings : as in :class:`conediff.ConicLayer`. Values are constants, without gradients: give what
        is differentiated at each call.
    on_error : "raise", so that a failure is never silent, raises the first failed item's error on the host: conediff's exception,
        and under jit the runtime's with its message (``jax.errors.JaxRuntimeError``, in some versions ``ValueError``), when a
        result is read. JAX promises nothing about exceptions on the host: on accelerators, and where items of a batch may fail,
        take "nan" or "zero", which fill the failed item's solution and derivatives.
    cache_size : 1024; how many items' factorizations wait for their derivatives. Beyond it the oldest are dropped, and solved
        again if a derivative asks for them. The last call's are always kept.

    A gradient that is not trusted (a kink, a singular system) is an :class:`conediff.UntrustedDerivativeWarning`; with
    ``strict=True`` an error. A layer is a pytree without leaves: close over it, or pass it to jitted functions.

    Attributes
    ----------
    layer : the :class:`conediff.ConicLayer` inside, for reports on a point and for the stored order of sparse values
        (``layer.A.data``)

    Examples
    --------
    >>> import jax, jax.numpy as jnp, conediff
    >>> # the projection of c onto the simplex
    >>> A, cones = jnp.vstack([jnp.ones((1, 3)), -jnp.eye(3)]), [conediff.Zero(1), conediff.Nonnegative(3)]
    >>> layer = ConicLayer(jnp.eye(3), A, cones, b=jnp.eye(4)[0])
    >>> project = lambda c: layer(q=-c).x
    >>> jax.jit(jax.jacobian(project))(jnp.array([1.0, 0.5, -2.0]))[:2, :2].round(3)
    Array([[ 0.5, -0.5],
           [-0.5,  0.5]], dtype=float32)
    """

    def __init__(
        self,
        P: Any,
        A: Any,
        cones: Sequence[Cone],
        *,
        q: ArrayLike | None = None,
        b: ArrayLike | None = None,
        upper: bool = False,
        on_error: _layer.OnError = "raise",
        cache_size: int = 1024,
        **settings: Any,
    ) -> None:
        P, A = (np.asarray(M) if isinstance(M, jax.Array) else M for M in (P, A))
        self.layer = _layer.ConicLayer(P, A, cones, q=q, b=b, upper=upper, on_error=on_error, **settings)
        n, m = self.layer.n, self.layer.m
        self._arguments = dict(zip(_DATA, self.layer._arguments, strict=True))
        self._shapes: dict[str, Shape] = {name: (a.length,) for name, a in self._arguments.items()}
        self._shapes |= {"x": (n,), "z": (m,), "s": (m,), "objective": ()}
        self._cache = _Cache(cache_size)
        self._once = False

    def __call__(
        self,
        P: ArrayLike | None = None,
        q: ArrayLike | None = None,
        A: ArrayLike | None = None,
        b: ArrayLike | None = None,
    ) -> Solution:
        """Solves for the data given; what is None is the layer's own.

        Shapes: P (..., n, n) or, on a pattern, (..., nnz) values in stored order; A likewise; q (..., n); b (..., m). Leading
        dimensions broadcast against each other and are those of the solution. The solution's dtype is float64 if an array given
        is (integers count as JAX's default float), else float32; inside all is float64.

        Raises
        ------
        InputError
            A shape is wrong or a value is missing.
        SolveError, InputError; NotTrustedError under ``strict``
            From the host: see ``on_error``.
        NotImplementedError
            From JAX's differentiation, if it is done twice.
        """
        arrays: dict[str, jax.Array] = {}
        leads: list[Shape] = []
        for (name, argument), value in zip(self._arguments.items(), (P, q, A, b), strict=True):
            if value is None:
                if argument.default is None and argument.length > 0:
                    raise InputError(f"{name} has no value: give it here or to the layer")
                continue
            array = _real(name, value)
            split = array.ndim - len(argument.event)
            if split < 0 or array.shape[split:] != argument.event:
                expected = f"(..., {', '.join(map(str, argument.event))})"
                raise dimension_error(f"{name}'s shape", expected, array.shape)
            arrays[name] = array
            leads.append(array.shape[:split])
        try:
            rank = len(np.broadcast_shapes(*leads))
        except ValueError:
            found = dict(zip(arrays, leads, strict=True))
            raise dimension_error("leading dimensions", "shapes that broadcast", found) from None
        dtype = np.dtype(jnp.result_type(np.float32, *arrays.values()) if arrays else jnp.result_type(float))
        rows = []
        for (name, array), lead in zip(arrays.items(), leads, strict=True):
            shape = (1,) * (rank - len(lead)) + lead + self._shapes[name]
            array = array if array.shape == shape else array.reshape(shape)
            rows.append(array if array.dtype == dtype else array.astype(dtype))
        return Solution(*_solve_p.bind(*rows, layer=self, given=tuple(arrays), keep=False, dtype=dtype))

    def _solve(self, rows: dict[str, np.ndarray]) -> _Solution:
        """On the host, for rows of values."""
        events = {name: array.reshape(array.shape[:-1] + self._arguments[name].event) for name, array in rows.items()}
        return self.layer._solve(*(events.get(name) for name in _DATA), once=self._once)

    def __repr__(self) -> str:
        return f"conediff.jax.{self.layer!r}"


def solve(
    P: ArrayLike | None, q: ArrayLike, A: ArrayLike | None, b: ArrayLike, cones: Sequence[Cone], **settings: Any
) -> Solution:
    """Solves programs given by dense arrays, batched by leading dimensions, differentiably in all of them. P or A may be None.

    Each call or trace makes a :class:`ConicLayer`, with these settings; for many of one structure make it once.
    """
    structures = [None if M is None else np.ones(jnp.shape(M)[-2:], dtype=bool) for M in (P, A)]
    layer = ConicLayer(*structures, cones, **settings)
    layer._once = True
    return layer(P, q, A, b)


def _real(name: str, value: ArrayLike) -> jax.Array:
    """A floating-point array."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, np.complexfloating):
        raise InputError(f"{name}: real numbers wanted, found dtype {array.dtype}")
    return array if jnp.issubdtype(array.dtype, np.floating) else array.astype(float)


class _Cache:
    """Solutions that wait for their derivatives, by number, and the last that were read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: dict[int, _Solution] = {}
        self._used: dict[int, _Solution] = {}
        self._count = 0
        # Where the numbers start differs, so that a token from another process is not taken for one of this.
        self._numbers = itertools.count(secrets.randbits(31))
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are empty."""
        return _Cache, (self._size,)

    def add(self, solution: _Solution) -> int:
        """Keeps a solution, and returns its number."""
        with self._lock:
            number = next(self._numbers) % 2**31
            while len(self._used) > _KEPT_AFTER_USE:
                del self._used[next(iter(self._used))]
            self._waiting[number] = solution
            self._count += solution.objective.size
            while self._count > self._size and len(self._waiting) > 1:
                self._take(next(iter(self._waiting)))
            return number

    def find(self, number: int) -> _Solution | None:
        """The solution of that number, None if it was dropped."""
        with self._lock:
            solution = self._take(number) or self._used.pop(number, None)
            if solution is not None:
                self._used[number] = solution
            return solution

    def _take(self, number: int) -> _Solution | None:
        solution = self._waiting.pop(number, None)
        if solution is not None:
            self._count -= solution.objective.size
        return solution


# On the host


def _solve(*arrays: np.ndarray, layer: ConicLayer, given: Sequence[str], keep: bool, dtype: np.dtype) -> list[Any]:
    """x, z, s, objective, and the tokens if the solution is kept."""
    try:
        solution = layer._solve(dict(zip(given, map(np.asarray, arrays), strict=True)))
    except Error as error:
        raise _at(error, error.item) from None
    found = [np.asarray(getattr(solution, name), dtype=dtype) for name in _PARTS]
    if keep:
        token = np.empty((*solution.shape, 2), dtype=np.int32)
        token[..., 0] = layer._cache.add(solution)
        token[..., 1] = np.arange(solution.objective.size).reshape(solution.shape)
        found.append(token)
    return found


def _differentiate(
    token: np.ndarray,
    *arrays: np.ndarray,
    layer: ConicLayer,
    given: Sequence[str],
    ins: Sequence[str],
    outs: Sequence[str],
    batch: Shape,
    leads: Sequence[Shape],
) -> list[np.ndarray]:
    """The derivative of the items at the tokens, applied to ``ins``: ``outs``, summed to their leading shapes."""
    data = dict(zip(given, arrays[: len(given)], strict=True))
    inputs = {name: np.asarray(array) for name, array in zip(ins, arrays[len(given) :], strict=True)}
    shapes, on_error = layer._shapes, layer.layer.on_error
    axes = batch or (1,)
    active = np.zeros(axes, dtype=bool)
    for name, array in inputs.items():
        active |= (array != 0).any(axis=-1) if shapes[name] else array != 0
    # What is zero stays zero, also where the solve failed: so a failed item that is masked does not spoil the others' sum.
    places = np.nonzero(active)
    tokens = np.broadcast_to(token, (*axes, 2))[places]
    results = {name: np.zeros(axes + shapes[name]) for name in outs}
    doubt = None
    for number in sorted(set(tokens[:, 0].tolist())):
        chosen = tokens[:, 0] == number
        items, at = tokens[chosen, 1].astype(np.int64), tuple(k[chosen] for k in places)
        solution = layer._cache.find(number)
        if solution is None:
            _, first, items = np.unique(items, return_index=True, return_inverse=True)
            again = tuple(k[first] for k in at)
            solution = layer._solve({name: np.broadcast_to(a, axes + shapes[name])[again] for name, a in data.items()})
        seeds = {
            name: np.asarray(np.broadcast_to(a, axes + shapes[name])[at], dtype=np.float64, order="C")
            for name, a in inputs.items()
        }
        found, evidence = _apply(solution, items, seeds, outs)
        if on_error == "raise" and (failure := evidence.failure()) is not None:
            row, _, error = failure
            place = tuple(int(k[row]) for k in at)
            raise _at(error, (place if len(place) > 1 else place[0]) if batch else None)
        if doubt is None and (doubted := evidence.doubt()) is not None:
            row, _, reasons = doubted
            doubt = (row, int(np.ravel_multi_index([k[row] for k in at], axes)), reasons)
        for name in outs:
            results[name][at] = found[name]
    warn_untrusted(doubt, active.size)
    return [_sum_to(results[name], lead, shapes[name], arrays[-1].dtype) for name, lead in zip(outs, leads, strict=True)]


def _apply(
    solution: _Solution, items: np.ndarray, seeds: dict[str, np.ndarray], outs: Sequence[str]
) -> tuple[dict[str, Any], Any]:
    """Rows of a solution's derivative, and what is known about them."""
    core, fill = solution._core, solution._fill()
    if not seeds.keys() <= set(_DATA):
        wanted = [name in outs for name in _DATA]
        parts, evidence = core.vjp(items, *(seeds.get(name) for name in _PARTS), wanted, fill)
        return dict(zip(_DATA, parts, strict=True)), evidence
    if tuple(outs) == ("objective",):
        # By its gradient, which needs no linear solve and is in no doubt at a kink.
        wanted = [name in seeds for name in _DATA]
        parts, evidence = core.vjp(items, None, None, None, np.ones(len(items)), wanted, fill)
        gradient = dict(zip(_DATA, parts, strict=True))
        slope = sum(np.einsum("ij,ij->i", gradient[name], seed) for name, seed in seeds.items())
        return {"objective": slope}, evidence
    parts, objective, evidence = core.jvp(items, *(seeds.get(name) for name in _DATA), fill)
    return dict(zip(_PARTS, (*parts, objective), strict=True)), evidence


def _sum_to(array: np.ndarray, lead: Shape, shape: Shape, dtype: np.dtype) -> np.ndarray:
    """A batch summed over the axes along which the leading shape is 1."""
    axes = tuple(k for k, size in enumerate(lead) if size != array.shape[k])
    array = array.sum(axis=axes) if axes else array
    return array.reshape(lead + shape).astype(dtype, copy=False)


def _at(error: Error, item: Any) -> Error:
    """The error with the item in its message: under jit nothing else of it is left."""
    error.item = item
    if item is not None:
        error.args = (f"item {item}: {error}",)
    return error


# The primitives. All arrays have the leading axes of the batch, each of the batch's size or of size 1, where it is shared.

# Whether this version of JAX can lower to a callback on NumPy arrays; else it goes by jax.pure_callback.
_CAN_EMIT = "returns_token" in inspect.signature(getattr(mlir, "emit_python_callback", len)).parameters


def _primitive(name: str, host: Any, shapes: Any) -> Primitive:
    """A primitive that runs on the host, and has results of those shapes."""
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(shapes)

    @primitive.def_impl
    def run(*args: Any, **params: Any) -> list[jax.Array]:
        return jax.device_put(host(*map(np.asarray, args), **params))

    def by_callback(*args: Any, **params: Any) -> list[jax.Array]:
        outputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in shapes(*args, **params)]
        return jax.pure_callback(functools.partial(host, **params), outputs, *args)

    general = mlir.lower_fun(by_callback, multiple_results=True)

    def on_cpu(ctx: mlir.LoweringRuleContext, *args: Any, **params: Any) -> Any:
        if getattr(ctx.module_context.axis_context, "num_devices", None) != 1:
            return general(ctx, *args, **params)
        # Without a tenth of a millisecond for JAX arrays in between, as pure_callback makes them.
        values, _, _ = mlir.emit_python_callback(
            ctx,
            functools.partial(host, **params),
            None,
            list(args),
            ctx.avals_in,
            ctx.avals_out,
            has_side_effect=False,
            returns_token=False,
        )
        return values

    mlir.register_lowering(primitive, general)
    if _CAN_EMIT:
        mlir.register_lowering(primitive, on_cpu, platform="cpu")
    return primitive


def _solve_shapes(*avals: Any, layer: ConicLayer, given: Sequence[str], keep: bool, dtype: np.dtype) -> list[Any]:
    if any(_varies(aval) for aval in avals):
        raise NotImplementedError(
            "conediff.jax under shard_map needs check_vma=False: it does not track what varies over devices"
        )
    batch = np.broadcast_shapes(*(aval.shape[:-1] for aval in avals))
    shapes = [jax.core.ShapedArray(batch + layer._shapes[name], dtype) for name in _PARTS]
    return [*shapes, jax.core.ShapedArray((*batch, 2), np.dtype(np.int32))] if keep else shapes


def _varies(aval: Any) -> bool:
    """Whether shard_map keeps account of the devices over which this differs. The attribute's name depends on JAX's version."""
    return bool(getattr(aval, "vma", None) or getattr(getattr(aval, "mat", None), "varying", None))


def _derivative_shapes(*avals: Any, layer: ConicLayer, outs: Sequence[str], leads: Sequence[Shape], **params: Any) -> list[Any]:
    shapes = [lead + layer._shapes[name] for name, lead in zip(outs, leads, strict=True)]
    return [jax.core.ShapedArray(shape, avals[-1].dtype) for shape in shapes]


_solve_p = _primitive("conediff_solve", _solve, _solve_shapes)
_derivative_p = _primitive("conediff_derivative", _differentiate, _derivative_shapes)


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    values = _solve_p.bind(*primals, **params | {"keep": True})
    token = values[-1]
    batch = token.shape[:-1]
    moving = [(name, t) for name, t in zip(params["given"], tangents, strict=True) if type(t) is not ad.Zero]

    def derivative(outs: tuple[str, ...]) -> list[Any]:
        return _derivative_p.bind(
            token,
            *primals,
            *(t for _, t in moving),
            layer=params["layer"],
            given=params["given"],
            ins=tuple(name for name, _ in moving),
            outs=outs,
            batch=batch,
            leads=(batch,) * len(outs),
        )

    # Apart, because the optimal value's needs no linear solve: of the two what is not used is dropped.
    slopes = [*derivative(_PARTS[:3]), *derivative(_PARTS[3:])]
    if not params["keep"]:
        return values[:-1], slopes
    return values, [*slopes, ad.Zero(jax.core.ShapedArray(token.shape, jax.dtypes.float0))]


def _derivative_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    fixed = 1 + len(params["given"])
    if any(type(t) is not ad.Zero for t in tangents[:fixed]):
        raise NotImplementedError(
            "double differentiation of a cone program: solutions have first derivatives only. For second derivatives of the "
            "optimal value differentiate its gradient, which is x in q and -z in b"
        )
    values = _derivative_p.bind(*primals, **params)
    moving = [(name, t) for name, t in zip(params["ins"], tangents[fixed:], strict=True) if type(t) is not ad.Zero]
    names, directions = zip(*moving, strict=True)
    return values, _derivative_p.bind(*primals[:fixed], *directions, **params | {"ins": names})


def _derivative_transpose(cotangents: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    fixed = 1 + len(params["given"])
    inputs = dict(zip(params["ins"], args[fixed:], strict=True))
    unknown = {name: x.aval for name, x in inputs.items() if ad.is_undefined_primal(x)}
    moving = [(name, c) for name, c in zip(params["outs"], cotangents, strict=True) if type(c) is not ad.Zero]
    if moving:
        names, directions = zip(*moving, strict=True)
        swapped = {
            "ins": names,
            "outs": tuple(unknown),
            "leads": tuple(x.shape[: x.ndim - len(params["layer"]._shapes[name])] for name, x in unknown.items()),
        }
        found = _derivative_p.bind(*args[:fixed], *directions, **params | swapped)
    else:
        found = [ad.Zero(aval) for aval in unknown.values()]
    gradients = dict(zip(unknown, found, strict=True))
    return [None] * fixed + [gradients.get(name) for name in inputs]


def _to_front(args: Sequence[Any], dims: Sequence[Any]) -> tuple[int, list[Any]]:
    """The size of the mapped axis, and the arguments with it, or an axis of 1, in front."""
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    moved = [jnp.expand_dims(x, 0) if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True)]
    return size, moved


def _solve_batch(args: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[list[Any], list[int]]:
    values = _solve_p.bind(*_to_front(args, dims)[1], **params)
    return values, [0] * len(values)


def _derivative_batch(args: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[list[Any], list[int]]:
    size, moved = _to_front(args, dims)
    leads = tuple((size, *lead) for lead in params["leads"])
    values = _derivative_p.bind(*moved, **params | {"batch": (size, *params["batch"]), "leads": leads})
    return values, [0] * len(values)


ad.primitive_jvps[_solve_p] = _solve_jvp
ad.primitive_jvps[_derivative_p] = _derivative_jvp
ad.primitive_transposes[_derivative_p] = _derivative_transpose
batching.primitive_batchers[_solve_p] = _solve_batch
batching.primitive_batchers[_derivative_p] = _derivative_batch
