"""The caller's arrays and sparse matrices as rows of float64, and derivatives back in the form of what was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from .errors import DimensionError, InputError, PatternError

Shape = tuple[int, ...]


def dimension_error(what: str, expected: Any, found: Any) -> DimensionError:
    """A DimensionError with its numbers."""
    error = DimensionError(f"{what}: expected {expected}, found {found}")
    error.what, error.expected, error.found = what, expected, found
    return error


def pattern_error(matrix: str, reason: str) -> PatternError:
    """A PatternError with its reason."""
    error = PatternError(f"{matrix}: {reason}")
    error.matrix, error.outer, error.reason = matrix, None, reason
    return error


def to_float64(what: str, value: Any) -> tuple[np.ndarray, np.dtype]:
    """A C-contiguous float64 array, and the dtype derivatives have for it: float32 for float32 and float16, else float64."""
    array = np.asarray(value)
    if array.dtype == np.float64:
        return np.asarray(array, order="C"), array.dtype
    kind = array.dtype.kind
    if kind not in "fiub":
        raise InputError(f"{what}: real numbers wanted, found dtype {array.dtype}")
    dtype = np.dtype(np.float32 if kind == "f" and array.dtype.itemsize <= 4 else np.float64)
    return np.asarray(array, dtype=np.float64, order="C"), dtype


class Argument:
    """One of a layer's arguments: its shape, how it is stored, and its own values."""

    def __init__(self, name: str, event: Shape) -> None:
        self.name = name
        self.event = event
        self.length = math.prod(event)
        self.default: Any = None

    def rows(self, value: Any) -> tuple[Shape, np.ndarray, np.dtype]:
        """Leading shape, the rows (one for each item of that shape), and the caller's dtype."""
        array, dtype = to_float64(self.name, value)
        split = array.ndim - len(self.event)
        if split < 0 or array.shape[split:] != self.event:
            raise dimension_error(f"{self.name}'s shape", f"(..., {', '.join(map(str, self.event))})", array.shape)
        lead = array.shape[:split]
        return lead, array.reshape(math.prod(lead), self.length), dtype

    def core(self) -> Any:
        """The layer's own values, or zeros, as the compiled part reads them."""
        if self.default is None:
            return np.zeros(self.length)
        return self.rows(self.default)[1][0]

    def shaped(self, rows: np.ndarray, lead: Shape, value: Any) -> Any:
        """Rows with this leading shape, in the form of what was given."""
        return rows.reshape(lead + self.event)


class Matrix(Argument):
    """P or A, as a dense array or on a sparsity pattern."""

    def __init__(self, name: str, given: Any, shape: tuple[int, int] | None = None) -> None:
        self.pattern: sp.csc_array | sp.csr_array | None = None
        if given is None:
            assert shape is not None
            given = sp.csc_array(shape)
        has_values = given.dtype != bool if hasattr(given, "dtype") else True
        if sp.issparse(given):
            self.pattern = canonical(given)
            self.shape = self.pattern.shape
            super().__init__(name, (self.pattern.nnz,))
        else:
            array = np.asarray(given)
            if array.ndim < 2:
                raise dimension_error(f"{name}'s shape", "(rows, columns)", array.shape)
            self.shape = array.shape[-2:]
            has_values = has_values and array.ndim == 2
            super().__init__(name, self.shape)
        if has_values:
            self.default = given

    def rows(self, value: Any) -> tuple[Shape, np.ndarray, np.dtype]:
        if sp.issparse(value):
            return (), self._stored(value)[None, :], to_float64(self.name, value.data)[1]
        if isinstance(value, Sequence) and len(value) > 0 and all(sp.issparse(v) for v in value):
            data = np.stack([self._stored(v) for v in value])
            return (len(value),), data, to_float64(self.name, value[0].data)[1]
        return super().rows(value)

    def _stored(self, value: Any) -> np.ndarray:
        """A sparse matrix's values in the layer's stored order."""
        if value.shape != self.shape:
            raise dimension_error(f"{self.name}'s shape", self.shape, value.shape)
        if self.pattern is None:
            return np.ascontiguousarray(value.toarray(), dtype=np.float64).ravel()
        own = self.pattern
        value = canonical(value, own.format)
        same = np.array_equal(value.indptr, own.indptr) and np.array_equal(value.indices, own.indices)
        if not same:
            raise pattern_error(
                self.name,
                "its sparsity pattern is not the layer's; store an explicit zero for every entry that may become nonzero",
            )
        return to_float64(self.name, value.data)[0]

    def core(self) -> Any:
        rows, cols = self.shape
        if self.pattern is not None:
            pattern = self.pattern
            is_csc, indptr, indices = pattern.format == "csc", pattern.indptr, pattern.indices
        else:
            is_csc = False
            indptr = np.arange(rows + 1, dtype=np.int64) * cols
            indices = np.tile(np.arange(cols, dtype=np.int64), rows)
        indptr, indices = (np.ascontiguousarray(i, dtype=np.int64) for i in (indptr, indices))
        return rows, cols, is_csc, indptr, indices, np.ascontiguousarray(super().core())

    def shaped(self, rows: np.ndarray, lead: Shape, value: Any) -> Any:
        if sp.issparse(value) and lead == () and self.pattern is not None:
            own = self.pattern
            make = type(own) if isinstance(value, sp.sparray) else getattr(sp, f"{own.format}_matrix")
            return make((rows.reshape(-1), own.indices.copy(), own.indptr.copy()), shape=own.shape)
        return super().shaped(rows, lead, value)


def canonical(matrix: Any, format: str | None = None) -> Any:
    """By columns, or by rows if it is so, with sorted indices and duplicates summed; explicit zeros stay. A copy if it
    changes."""
    format = format or ("csr" if matrix.format == "csr" else "csc")
    made = matrix.asformat(format)
    made = sp.csr_array(made) if format == "csr" else sp.csc_array(made)
    if not made.has_canonical_format:
        made = made.copy()
        made.sum_duplicates()
    return made


def broadcast(argument: Argument, lead: Shape, rows: np.ndarray, batch: Shape) -> np.ndarray:
    """The rows as one for all items, or one for each item of the batch."""
    if lead == batch or rows.shape[0] == 1:
        return rows
    wide = np.broadcast_to(rows.reshape(lead + (argument.length,)), batch + (argument.length,))
    return np.ascontiguousarray(wide).reshape(math.prod(batch), argument.length)


def reduce(argument: Argument, rows: np.ndarray, extra: Shape, batch: Shape, lead: Shape) -> np.ndarray:
    """Gradients of all items summed over the items that shared a value: the transpose of :func:`broadcast`."""
    if lead == batch:
        return rows
    array = rows.reshape(extra + batch + (argument.length,))
    first = len(extra)
    missing = len(batch) - len(lead)
    axes = list(range(first, first + missing))
    for k, size in enumerate(lead):
        if size == 1 and batch[missing + k] != 1:
            axes.append(first + missing + k)
    return array.sum(axis=tuple(axes), keepdims=True).reshape(extra + lead + (argument.length,))
