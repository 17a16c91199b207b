"""Failure bundles: a failed solve or a doubtful derivative as one file (:meth:`Solution.bundle`), computed again elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from . import _core

__all__ = ["Replay", "replay"]


@dataclass(frozen=True)
class Replay:
    """A bundle's task, computed again.

    Attributes
    ----------
    equal : True if every number has the bits that were recorded
    same_build : True if the build that made the file is this one; only then equal bits can be expected
    differences : where the numbers differ, with both values
    """

    equal: bool
    same_build: bool
    differences: list[dict[str, Any]]
    text: str = field(repr=False)

    def __str__(self) -> str:
        return self.text


def replay(path: str | os.PathLike[str]) -> Replay:
    """Computes the bundle in the file again, in this build.

    Raises
    ------
    Error
        For a file that cannot be read or is no bundle, with the reason.
    """
    equal, same_build, found, text = _core.replay(os.fspath(path))
    return Replay(equal, same_build, json.loads(found)["differences"], text)
