"""The compiled part. Arrays are float64 and C-contiguous; rows are one for each item, or one for all."""

from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

_Floats: TypeAlias = NDArray[np.float64]
_Rows: TypeAlias = _Floats | None
_Compressed: TypeAlias = tuple[int, int, bool, NDArray[np.int64], NDArray[np.int64], _Floats]

__all__ = ["Evidence", "Layer", "Solved", "__version__", "replay"]

__version__: str

@final
class Layer:
    def __new__(
        cls,
        p: _Compressed,
        upper: bool,
        q: _Floats,
        a: _Compressed,
        b: _Floats,
        cones: list[tuple[Any, ...]],
        moving: list[_Floats] | None,
        keywords: dict[str, Any],
    ) -> Layer: ...
    def solve(self, batch: int, p: _Rows, q: _Rows, a: _Rows, b: _Rows, once: bool) -> Solved: ...
    def counts(self) -> str: ...

@final
class Solved:
    x: _Floats
    z: _Floats
    s: _Floats
    objective: _Floats
    def __len__(self) -> int: ...
    def statuses(self) -> list[str]: ...
    def is_complete(self) -> bool: ...
    def errors(self) -> list[BaseException | None]: ...
    def info(self, item: int) -> str: ...
    def regularity(self, item: int, within: float | None) -> tuple[str, str]: ...
    def bundle(self, path: str, item: int, dx: _Floats | None, dz: _Floats | None, ds: _Floats | None) -> None: ...
    def vjp(
        self,
        items: NDArray[np.int64] | None,
        dx: _Rows,
        dz: _Rows,
        ds: _Rows,
        dobjective: _Floats | None,
        wanted: list[bool],
        fill: float,
    ) -> tuple[list[_Floats | None], Evidence]: ...
    def jvp(
        self,
        items: NDArray[np.int64] | None,
        dp: _Rows,
        dq: _Rows,
        da: _Rows,
        db: _Rows,
        fill: float,
    ) -> tuple[list[_Floats], _Floats, Evidence]: ...

def replay(path: str) -> tuple[bool, bool, str, str]: ...

@final
class Evidence:
    def trusted(self) -> NDArray[np.bool_]: ...
    def all_trusted(self) -> bool: ...
    def residual(self) -> _Floats: ...
    def error(self) -> _Floats: ...
    def condition(self) -> _Floats: ...
    def failure(self) -> tuple[int, int, BaseException] | None: ...
    def doubt(self) -> tuple[int, int, list[str]] | None: ...
    def warnings(self, row: int) -> list[str]: ...
    def evidence(self, row: int) -> str: ...
    def meaning(self, row: int) -> str: ...
