"""What a solve returns: the solution, and through it every derivative with what is known about it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ._data import Shape, check_memory, dimension_error, reduce, to_float64
from .errors import SettingError, TooLargeError

if TYPE_CHECKING:
    from . import _core
    from .layer import ConicLayer

__all__ = ["Gradient", "Jacobian", "Regularity", "Solution", "Tangent"]


#: JSON has no infinities and no NaN: the strings that stand for them, and what null stands for where there is no string.
_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_NULLS = {"condition": math.inf, "error": math.inf, "point_error": math.inf, "margin": math.inf, "bias": math.nan}


def _numbers(found: str) -> Any:
    """JSON from the compiled part."""

    def restore(item: dict[str, Any]) -> dict[str, Any]:
        return {name: number(name, value) for name, value in item.items()}

    def number(name: str, value: Any) -> Any:
        if value is None:
            return _NULLS.get(name)
        return _NUMBERS.get(value, value) if isinstance(value, str) else value

    return json.loads(found, object_hook=restore)


class Checked:
    """What is known about derivatives. Arrays have the shape of the batch; for a single item they are numbers.

    Attributes
    ----------
    trusted : whether the linear solve met its tolerance, the estimated error is within ``accuracy``, and the solution map is
        differentiable at the point as far as is known
    residual, error, condition : relative residual of the linear step, estimated relative error, condition estimate
    warnings : every reason for doubt, in sentences (a list for each item of a batch)
    """

    def __init__(self, core: _core.Evidence, shape: Shape) -> None:
        self._evidence, self._shape = core, shape

    def _numbers(self, flat: np.ndarray) -> Any:
        return flat.reshape(self._shape) if self._shape else flat[0].item()

    def _each(self, of: Any) -> Any:
        flat = [of(row) for row in range(math.prod(self._shape))]
        return flat if self._shape else flat[0]

    @property
    def trusted(self) -> Any:
        """True where a derivative is trusted."""
        return self._numbers(self._evidence.trusted())

    @property
    def residual(self) -> Any:
        """Relative residual of the linear step."""
        return self._numbers(self._evidence.residual())

    @property
    def error(self) -> Any:
        """Estimated error relative to the largest entry of the answer, the uncertainty of the solution included."""
        return self._numbers(self._evidence.error())

    @property
    def condition(self) -> Any:
        """Condition estimate of the linear system, infinite if singular."""
        return self._numbers(self._evidence.condition())

    @property
    def warnings(self) -> Any:
        """Every reason for doubt, in sentences. For a batch a list for each item, flat."""
        return self._each(self._evidence.warnings)

    @property
    def meaning(self) -> Any:
        """What a derivative is, in words: the derivative, an element of the conservative Jacobian, what a policy put in its
        place."""
        return self._each(self._evidence.meaning)

    @property
    def evidence(self) -> Any:
        """Everything known of the linear step: method, residual, converged, refinement_steps, stop, condition, correction,
        error, bias, iterations. None for an item without a derivative. For a batch one for each item, flat."""
        return self._each(lambda row: _numbers(self._evidence.evidence(row)))

    def __repr__(self) -> str:
        names = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({names}, trusted={self.trusted!r})"


class Gradient(Checked):
    """A gradient in the data: P, q, A, b, each with the shape and form of what was given to the layer (values that items
    shared get the sum of their gradients). Parts that were not asked for are None. See :class:`Checked` for the rest."""

    def __init__(self, core: _core.Evidence, shape: Shape, P: Any, q: Any, A: Any, b: Any) -> None:
        super().__init__(core, shape)
        self.P, self.q, self.A, self.b = P, q, A, b


class Tangent(Checked):
    """Directional derivatives of x, z, s and the optimal value. See :class:`Checked` for the rest."""

    def __init__(self, core: _core.Evidence, shape: Shape, x: Any, z: Any, s: Any, objective: Any) -> None:
        super().__init__(core, shape)
        self.x, self.z, self.s, self.objective = x, z, s, objective


class Jacobian(Checked):
    """Blocks of the Jacobian: ``jacobian["x", "q"]`` has shape (batch..., n, n), those of P and A (batch..., rows, nnz) with
    columns in stored order (row by row for dense matrices). See :class:`Checked` for the rest; an item is trusted if all its
    rows are."""

    def __init__(self, core: _core.Evidence, shape: Shape, lines: int, blocks: dict[tuple[str, str], np.ndarray]) -> None:
        super().__init__(core, shape)
        self._lines, self.blocks = lines, blocks

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        return self.blocks[key]

    def _numbers(self, flat: np.ndarray) -> Any:
        worst = np.min if flat.dtype == bool else np.max
        flat = flat.reshape(-1, self._lines)
        # Nothing to differentiate is nothing to doubt.
        flat = worst(flat, axis=1) if self._lines else np.full(flat.shape[0], flat.dtype == bool)
        return super()._numbers(flat)

    def _each(self, of: Any) -> Any:
        flat = [[of(item * self._lines + line) for line in range(self._lines)] for item in range(math.prod(self._shape))]
        return flat if self._shape else flat[0]


@dataclass(frozen=True)
class Regularity:
    """What a gradient means at a point. ``str()`` of it is the report.

    ``certified``: every element of the conservative Jacobian is invertible, so the solution map is Lipschitz nearby and what the
    derivatives give is conservative for it. ``certificate``, ``kinks`` and ``margins`` are as in the command-line tool's JSON.
    """

    certified: bool
    is_solution: bool
    strict_complementarity: bool
    primal: str
    dual: str
    certificate: Any
    kinks: list[dict[str, Any]]
    margins: list[dict[str, Any]]
    margin: float
    radius: float
    point_error: float
    condition: float
    meaning: dict[str, Any]
    definability: str
    text: str

    def __str__(self) -> str:
        return self.text


class Solution:
    """x (..., n), z and s (..., m), objective (...) and status, for each item of the batch.

    Its derivatives stay valid whatever the layer solves next, and can be taken from many threads at once.

    Attributes
    ----------
    x, z, s : primal variables, duals and slacks, in the cones' row order; a row without a bound has z = 0 and s = b
    objective : 1/2 x'Px + q'x
    shape : of the batch, () for a single item
    """

    def __init__(
        self,
        layer: ConicLayer,
        core: _core.Solved,
        shape: Shape,
        leads: tuple[Shape, ...],
        given: tuple[Any, ...],
        dtype: np.dtype,
    ) -> None:
        self.layer, self.shape = layer, shape
        self._core, self._leads, self._given, self._dtype = core, leads, given, dtype
        arrays = [core.x, core.z, core.s, core.objective]
        if layer.on_error == "zero" and not core.is_complete():
            failed = np.array([e is not None for e in core.errors()])
            for array in arrays:
                array[failed] = 0.0
        if dtype != np.float64:
            arrays = [a.astype(dtype) for a in arrays]
        if len(shape) != 1:
            arrays = [a.reshape(shape + a.shape[1:]) for a in arrays]
        self.x, self.z, self.s, self.objective = arrays
        if not shape:
            self.objective = arrays[3][()]

    @property
    def status(self) -> Any:
        """How each item ended: "solved", "almost solved", "primal infeasible", ... A string, or an array of them."""
        statuses = self._core.statuses()
        return np.array(statuses, dtype=object).reshape(self.shape) if self.shape else statuses[0]

    @property
    def errors(self) -> Any:
        """The exception of each item that failed, None for the others: one, or an array of them."""
        errors = self._core.errors()
        if not self.shape:
            return errors[0]
        array = np.empty(len(errors), dtype=object)
        array[:] = errors
        return array.reshape(self.shape)

    def __repr__(self) -> str:
        statuses = self._core.statuses()
        found = ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))
        return f"Solution(n={self.layer.n}, m={self.layer.m}, shape={self.shape}, {found})"

    # Derivatives

    def vjp(self, dx: Any = None, dz: Any = None, ds: Any = None, dobjective: Any = None, *, wanted: str = "PqAb") -> Gradient:
        """The gradient of <dx, x> + <dz, z> + <ds, s> + <dobjective, objective> in the data.

        Shapes: (..., batch..., n) for dx, (..., batch..., m) for dz and ds, (..., batch...) for dobjective; None is zero. Leading
        dimensions beyond the batch's are many cotangents of the one solution, and come first in the gradient. Cost: one refined
        solve with the factorization at hand for each.

        A weight on ``dobjective`` alone solves nothing: the optimal value's gradient is 1/2 xx', x, zx', -z, kinks or not.

        ``wanted`` names the parts to form, and is what must be differentiable for the gradient to be trusted: where rows of A
        depend on each other x is differentiable in P and q, but not in A and b.

        Raises
        ------
        DimensionError, NonFiniteError; NotTrustedError under ``strict``.
        """
        sizes = {"dx": self.layer.n, "dz": self.layer.m, "ds": self.layer.m, "dobjective": None}
        values = (dx, dz, ds, dobjective)
        extra, rows = self._seeds(list(zip(sizes.items(), values, strict=True)))
        if rows[3] is not None:
            rows[3] = rows[3].reshape(-1)
        parts, evidence = self._core.vjp(self._items(extra), *rows, [name in wanted for name in "PqAb"], self._fill())
        self._check(evidence)
        gradients = []
        for argument, lead, given, part in zip(self.layer._arguments, self._leads, self._given, parts, strict=True):
            if part is not None:
                part = reduce(argument, part, extra, self.shape, lead)
                part = argument.shaped(self._cast(part), extra + lead, given)
            gradients.append(part)
        return Gradient(evidence, extra + self.shape, *gradients)

    def jvp(self, P: Any = None, q: Any = None, A: Any = None, b: Any = None) -> Tangent:
        """The directional derivative of x, z, s and the optimal value along a direction in the data; None is zero.

        Shapes: those of the data, or with the batch's leading dimensions, or with more before them for many directions at once. A
        direction in all of P counts through its symmetric part.

        Raises
        ------
        DimensionError, NonFiniteError; NotTrustedError under ``strict``.
        """
        leads, arrays = [], []
        for argument, value in zip(self.layer._arguments, (P, q, A, b), strict=True):
            lead, rows = ((), None) if value is None else argument.rows(value)[:2]
            leads.append(lead)
            arrays.append(rows)
        full = self._full(leads)
        extra = full[: len(full) - len(self.shape)]
        check_memory("the directions", math.prod(full) * (sum(a.shape[1] for a in arrays if a is not None) + 1))
        rows = [
            None
            if array is None
            else np.ascontiguousarray(np.broadcast_to(array.reshape((*lead, argument.length)), (*full, argument.length))).reshape(
                math.prod(full), argument.length
            )
            for argument, lead, array in zip(self.layer._arguments, leads, arrays, strict=True)
        ]
        (x, z, s), objective, evidence = self._core.jvp(self._items(extra), *rows, self._fill())
        self._check(evidence)
        shaped = [self._cast(a).reshape(full + a.shape[1:]) for a in (x, z, s, objective)]
        return Tangent(evidence, full, *shaped)

    def jacobian(self, of: str = "xzs", wrt: str = "PqAb") -> Jacobian:
        """The Jacobian of the parts of the solution in ``of`` in the parts of the data in ``wrt``, item by item, by rows or
        columns, whichever are fewer.

        Raises
        ------
        TooLargeError
            Above the layer's ``max_dense_bytes``.
        """
        layer = self.layer
        rows = {name: size for name, size in zip("xzs", (layer.n, layer.m, layer.m), strict=True) if name in of}
        columns = {a.name: a.length for a in layer._arguments if a.name in wrt}
        height, width = sum(rows.values()), sum(columns.values())
        count = math.prod(self.shape)
        limit = layer._max_dense_bytes
        if 8 * height * width * count > limit:
            needed = 8 * height * width * count
            error = TooLargeError(f"the Jacobian needs {needed} bytes, and there is room for {limit}; ask for parts of it")
            error.what, error.bytes, error.limit = "the Jacobian", needed, limit
            raise error
        by_columns = width <= height
        names = columns if by_columns else rows
        lines = sum(names.values())
        items = np.repeat(np.arange(count, dtype=np.int64), lines)
        units, start = {}, 0
        for name, size in names.items():
            unit = np.zeros((count, lines, size))
            unit[:, start : start + size] = np.eye(size)
            units[name] = unit.reshape(count * lines, size)
            start += size
        blocks = {}
        if by_columns:
            found, _, evidence = self._core.jvp(items, *(units.get(k) for k in "PqAb"), self._fill())
            for name, value in zip("xzs", found, strict=True):
                start = 0
                for other, size in columns.items():
                    block = value.reshape(count, lines, value.shape[1])[:, start : start + size]
                    if name in rows:
                        blocks[name, other] = self._block(np.swapaxes(block, 1, 2))
                    start += size
        else:
            wanted = [k in columns for k in "PqAb"]
            found, evidence = self._core.vjp(items, *(units.get(k) for k in "xzs"), None, wanted, self._fill())
            for name, value in zip("PqAb", found, strict=True):
                start = 0
                for other, size in rows.items():
                    if value is not None:
                        block = value.reshape(count, lines, value.shape[1])[:, start : start + size]
                        blocks[other, name] = self._block(block)
                    start += size
        self._check(evidence)
        return Jacobian(evidence, self.shape, lines, blocks)

    def objective_gradient(self) -> Gradient:
        """The gradient of the optimal value in the data, by the envelope theorem: no linear solve. It holds where z is unique,
        and elsewhere is a supergradient in q and a subgradient in b."""
        return self.vjp(dobjective=np.ones(self.shape))

    # What is known about a point

    def regularity(self, within: float | None = None, item: int | tuple[int, ...] = ()) -> Regularity:
        """The report on an item: kinks, uniqueness of x and z, and the exact certificate that every element of the conservative
        Jacobian is invertible. With ``within`` it holds for every solution whose z - s is that close."""
        if within is not None:
            try:
                within = float(within)
            except (TypeError, ValueError):
                error = SettingError(f"setting within = {within!r}: must be a nonnegative number")
                error.name, error.value, error.allowed = "within", within, "a nonnegative number"
                raise error from None
        found, text = self._core.regularity(self._flat(item), within)
        return Regularity(**_numbers(found), text=text)

    def info(self, item: int | tuple[int, ...] = ()) -> dict[str, Any]:
        """What is known about an item's point: status, iterations, refinement, path (which solver answered), margins, kinks,
        the state of every row, condition, point_error, trusted, warnings."""
        return _numbers(self._core.info(self._flat(item)))

    def bundle(
        self, path: str | os.PathLike[str], item: int | tuple[int, ...] = (), *, dx: Any = None, dz: Any = None, ds: Any = None
    ) -> None:
        """Writes an item to a file to be sent and replayed (:func:`conediff.replay`): the failed solve of one that has an error
        (of ``error.solution`` too), else its derivative, and if cotangents (n,), (m,), (m,) are given the gradient."""
        seeds = [("dx", dx, self.layer.n), ("dz", dz, self.layer.m), ("ds", ds, self.layer.m)]
        parts = []
        for name, seed, length in seeds:
            part = None if seed is None else np.ascontiguousarray(seed, dtype=np.float64)
            if part is not None and part.shape != (length,):
                raise dimension_error(name, (length,), part.shape)
            parts.append(part)
        self._core.bundle(os.fspath(path), self._flat(item), *parts)

    # Inside

    def _flat(self, item: int | tuple[int, ...]) -> int:
        try:
            index = (item,) if isinstance(item, (int, np.integer)) else tuple(item)
            if not index and math.prod(self.shape) == 1:
                return 0
            if len(index) == len(self.shape):
                return int(np.ravel_multi_index(index, self.shape)) if self.shape else 0
        except (TypeError, ValueError):
            pass
        raise dimension_error("item", f"an index into {self.shape}", item)

    def _fill(self) -> float:
        return 0.0 if self.layer.on_error == "zero" else math.nan

    def _cast(self, array: np.ndarray) -> np.ndarray:
        return array if self._dtype == np.float64 else array.astype(self._dtype)

    def _block(self, block: np.ndarray) -> np.ndarray:
        return self._cast(np.ascontiguousarray(block)).reshape(self.shape + block.shape[1:])

    def _items(self, extra: Shape) -> np.ndarray | None:
        """The item of each row, None if row k is item k."""
        if not extra:
            return None
        return np.tile(np.arange(math.prod(self.shape), dtype=np.int64), math.prod(extra))

    def _full(self, leads: list[Shape]) -> Shape:
        """The leading shape of many seeds: it ends with the batch's."""
        try:
            full = np.broadcast_shapes(self.shape, *leads)
        except ValueError:
            full = ()
        if full[len(full) - len(self.shape) :] != self.shape:
            raise dimension_error("leading dimensions", f"(..., {self.shape})", leads)
        return full

    def _seeds(self, seeds: list[tuple[tuple[str, int | None], Any]]) -> tuple[Shape, list[Any]]:
        """The extra leading shape of cotangents, and their rows."""
        leads, arrays = [], []
        for (name, size), value in seeds:
            if value is None:
                arrays.append(None)
                continue
            array = to_float64(name, value)[0]
            split = array.ndim - (size is not None)
            if split < 0 or (size is not None and array.shape[-1] != size):
                raise dimension_error(f"{name}'s shape", f"(..., {size})", array.shape)
            leads.append(array.shape[:split])
            arrays.append(array)
        full = self._full(leads)
        rows = []
        for ((name, size), _), array in zip(seeds, arrays, strict=True):
            if array is None:
                rows.append(None)
                continue
            event = () if size is None else (size,)
            check_memory(name, math.prod(full + event))
            wide = np.ascontiguousarray(np.broadcast_to(array, full + event))
            rows.append(wide.reshape((math.prod(full), *event)))
        return full[: len(full) - len(self.shape)], rows

    def _check(self, evidence: _core.Evidence) -> None:
        if self.layer.on_error != "raise":
            return
        failure = evidence.failure()
        if failure is not None:
            _, item, error = failure
            error.item = self._index(item)
            raise error

    def _index(self, item: int) -> int | tuple[int, ...] | None:
        if not self.shape:
            return None
        index = tuple(int(i) for i in np.unravel_index(item, self.shape))
        return index[0] if len(index) == 1 else index

    def _raise(self) -> NoReturn:
        """Raises the first failed item's error."""
        errors = self._core.errors()
        item = next(k for k, error in enumerate(errors) if error is not None)
        error = errors[item]
        error.item, error.solution = self._index(item), self
        raise error
