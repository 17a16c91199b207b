"""The derivative of the solution map, and its adjoint, for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import warn_untrusted
from ...result import Checked
from ._program import Answers, Group, places, scatter


class Exact:
    """The derivative at solutions, by conediff's linear solve; what is not trusted is a warning.

    A direction in the data enters the derivative through db - dA x and dc + dA'y + dP x alone. So directions in A and P are
    moves of b and c, whatever their pattern, and gradients in A and P follow from those in b and c.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def derivative(self, dAs: Any, dbs: Any, dcs: Any, dPs: Any = None, **_: Any) -> tuple[list[Any], ...]:
        """dx, dy, ds of each program along a direction in its data. Keyword arguments, diffcp's for LSQR, are ignored."""
        answers = self._answers
        if dPs is None:
            dPs = [None] * len(answers.programs)
        moves = [self._move(*direction) for direction in zip(range(len(dPs)), dAs, dbs, dcs, dPs, strict=True)]
        dx, dy, ds = (places(len(moves)) for _ in range(3))
        checked = []
        for group in answers.groups:
            of = group.rows
            db, dc = (np.stack([moves[item][k] for item in group.items]) for k in range(2))
            tangent = group.solution.jvp(q=dc, b=db @ of.to.T)
            scatter(group.items, (dx, tangent.x), (dy, tangent.z @ of.to), (ds, tangent.s @ of.back.T))
            checked.append(tangent)
        self._warn(checked)
        return dx, dy, ds

    def _move(self, item: int, dA: Any, db: Any, dc: Any, dP: Any) -> tuple[np.ndarray, np.ndarray]:
        """The direction as moves of b and c."""
        answers = self._answers
        program = answers.programs[item]
        if dP is not None and program.P is None:
            raise ValueError("P must be provided if dP is not None.")
        if answers.errors[item] is not None:
            return db, dc
        db, dc = db - dA @ answers.x[item], dc + dA.T @ answers.y[item]
        return db, dc if dP is None else dc + program.times_P(dP, answers.x[item])

    def adjoint(self, dxs: Any, dys: Any, dss: Any, return_dP: bool = False, **_: Any) -> tuple[list[Any], ...]:
        """dA, db, dc and, if wanted, dP of each program: the gradient of <dx, x> + <dy, y> + <ds, s> in its data."""
        answers = self._answers
        db, dc = (places(len(answers.programs)) for _ in range(2))
        checked = []
        for group in answers.groups:
            of = group.rows
            dx, dy, ds = (np.stack([seeds[item] for item in group.items]) for seeds in (dxs, dys, dss))
            gradient = group.solution.vjp(dx=dx, dz=dy @ of.to.T, ds=ds @ of.back, wanted="qb")
            scatter(group.items, (db, gradient.b @ of.to), (dc, gradient.q))
            checked.append(gradient)
        self._warn(checked)
        points = list(zip(answers.programs, answers.x, answers.y, db, dc, strict=True))
        dA = [program.on_A((y, dc), (-db, x)) for program, x, y, db, dc in points]
        if not return_dP:
            return dA, db, dc
        return dA, db, dc, [program.on_P((x, dc), (dc, x)) for program, x, _, _, dc in points]

    def _warn(self, checked: Sequence[Checked]) -> None:
        """One warning for what is not trusted."""
        groups: Sequence[Group] = self._answers.groups
        for group, result in zip(groups, checked, strict=True):
            doubt = result._evidence.doubt()
            if doubt is not None:
                row, item, reasons = doubt
                warn_untrusted((row, group.items[item], reasons), len(self._answers.programs))
                return
