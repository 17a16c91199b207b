"""Symmetric matrices as the rows of a PSD cone: the upper triangle column by column, off-diagonal entries times sqrt 2."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ._data import dimension_error

__all__ = ["smat", "svec"]


@lru_cache(maxsize=64)
def _places(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and scale of each entry of the triangle."""
    # The lower triangle row by row is the upper one column by column, mirrored.
    column, row = np.tril_indices(order)
    return row, column, np.where(row == column, 1.0, math.sqrt(2.0))


def svec(matrix: np.ndarray) -> np.ndarray:
    """(..., k, k) symmetric, the upper triangle is read -> (..., k(k+1)/2). <svec A, svec B> = <A, B>."""
    matrix = np.asarray(matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise dimension_error("matrix's shape", "(..., k, k)", matrix.shape)
    row, column, scale = _places(matrix.shape[-1])
    return matrix[..., row, column] * scale


def smat(vector: np.ndarray) -> np.ndarray:
    """(..., k(k+1)/2) -> (..., k, k), the inverse of :func:`svec`."""
    vector = np.asarray(vector)
    length = vector.shape[-1] if vector.ndim else 0
    order = (math.isqrt(8 * length + 1) - 1) // 2
    if order * (order + 1) // 2 != length:
        raise dimension_error("vector's length", "k(k+1)/2", length)
    row, column, scale = _places(order)
    matrix = np.zeros((*vector.shape[:-1], order, order), dtype=np.result_type(vector, 0.0))
    matrix[..., row, column] = vector / scale
    matrix[..., column, row] = vector / scale
    return matrix
