"""The caller's arrays and sparse matrices as rows of float64, and derivatives back in the form of what was given."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from .errors import DimensionError, InputError, PatternError, TooLargeError

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


def check_memory(what: str, numbers: int) -> None:
    """TooLargeError for float64 numbers that take more than a quarter of the machine's memory: copies, solutions and derivatives
    take the rest. An array without memory of its own (a broadcast one) may stand for any number of them, and a system that
    promises memory it does not have kills the process."""
    needed, limit = 8 * numbers, _memory() // 4
    if needed <= limit:
        return
    error = TooLargeError(f"{what} needs {needed} bytes, more than {limit}, a quarter of the memory; split the batch")
    error.what, error.bytes, error.limit = what, needed, limit
    raise error


def _memory() -> int:
    """The machine's memory in bytes; where it does not tell, what addresses can reach."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**47


def to_array(what: str, value: Any) -> np.ndarray:
    """The value as NumPy sees it, without a copy if it can be; InputError if it is no array or has masked entries."""
    if np.ma.is_masked(value):
        raise InputError(f"{what}: masked entries have no value; fill them first")
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: an array of real numbers wanted: {error}") from None


def to_float64(what: str, value: Any) -> tuple[np.ndarray, np.dtype]:
    """A C-contiguous float64 array, and the dtype derivatives have for it: float32 for float32 and float16, else float64."""
    array = to_array(what, value)
    check_memory(what, array.size)
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
            array = to_array(name, given)
            if array.ndim < 2:
                raise dimension_error(f"{name}'s shape", "(rows, columns)", array.shape)
            self.shape = array.shape[-2:]
            has_values = has_values and array.ndim == 2
            super().__init__(name, self.shape)
        if has_values:
            self.default = given

    def rows(self, value: Any) -> tuple[Shape, np.ndarray, np.dtype]:
        if sp.issparse(value):
            return (), self._stored(value)[None, :], self._dtype(value)
        if isinstance(value, Sequence) and len(value) > 0 and all(sp.issparse(v) for v in value):
            data = np.stack([self._stored(v) for v in value])
            return (len(value),), data, self._dtype(value[0])
        return super().rows(value)

    def _dtype(self, value: Any) -> np.dtype:
        """The dtype derivatives have for a sparse matrix; not every format has its values in one array."""
        return to_float64(self.name, np.empty(0, dtype=value.dtype))[1]

    def _stored(self, value: Any) -> np.ndarray:
        """A sparse matrix's values in the layer's stored order."""
        if value.shape != self.shape:
            raise dimension_error(f"{self.name}'s shape", self.shape, value.shape)
        if self.pattern is None:
            return np.ascontiguousarray(_checked(value).toarray(), dtype=np.float64).ravel()
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


def _checked(matrix: Any) -> Any:
    """The matrix, by columns, rows or coordinates, once its indices are inside its shape: SciPy's conversions trust them."""
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"sparse matrix: real numbers wanted, found dtype {matrix.dtype}")
    try:
        if matrix.format in ("csc", "csr"):
            matrix.check_format(full_check=True)
            return matrix
        matrix = matrix.tocoo()
        for index, size in zip((matrix.row, matrix.col), matrix.shape, strict=True):
            if len(index) != len(matrix.data) or (len(index) > 0 and (index.min() < 0 or index.max() >= size)):
                raise ValueError(f"indices outside the shape {matrix.shape}")
    except (TypeError, ValueError, IndexError) as error:
        raise pattern_error("sparse matrix", str(error)) from None
    return matrix


def canonical(matrix: Any, format: str | None = None) -> Any:
    """By columns, or by rows if it is so, with sorted indices and duplicates summed; explicit zeros stay. A copy if it
    changes."""
    matrix = _checked(matrix)
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
