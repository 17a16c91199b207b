"""Lagrangian proximal gradient descent: differences of solutions at finite steps, for a batch.

With V(A, b, c, P) the optimal value, dV/dA = y x', dV/db = -y, dV/dc = x and dV/dP = 1/2 x x'. The adjoint is the change of
these over a step along the loss <dx, x> + <dy, y> + <ds, s>: tau dx in c, -tau dy in b, and tau ds as the cost of s.

References
----------
Paulus, Martius, Musil, LPGD: a general framework for backpropagation through embedded optimization layers, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from ._program import Answers, Program, SolverError, scatter, solve_all

#: x, y and s of each program.
Point = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]

#: The ends of the step in units of tau; 0 is the solution at hand.
SIDES = {"lpgd": (-1.0, 1.0), "lpgd_right": (0.0, 1.0), "lpgd_left": (-1.0, 0.0)}


class Lpgd:
    """Finite differences in place of the derivative. tau and rho are diffcp's: tau is the step itself, in the data's units;
    rho is the weight of |x - x*|^2/2 in the moved program, and of |s - s*|^2/2 where ds is not zero."""

    def __init__(self, answers: Answers, mode: str, jobs: int, settings: Mapping[str, Any], steps: Mapping[str, Any]) -> None:
        self._answers, self._sides, self._jobs, self._settings, self._steps = answers, SIDES[mode], jobs, settings, steps

    def derivative(self, dAs: Any, dbs: Any, dcs: Any, dPs: Any = None, **steps: Any) -> tuple[list[Any], ...]:
        """dx, dy, ds of each program: differences of solutions at data moved along a direction."""
        tau, rho = _check_steps(**{**self._steps, **steps})
        programs, centers = self._answers.programs, self._answers.x
        if dPs is None:
            dPs = [None] * len(programs)
        elif any(program.P is None for program in programs):
            raise ValueError("P must be provided if dP is not None.")

        def moved(item: int, step: float) -> Program:
            at = programs[item].moved(dAs[item], dbs[item], dcs[item], dPs[item], step)
            return at.with_proximity(rho, centers[item])

        low, high, width = self._ends(tau, moved)
        return tuple(
            [(above - below) / width for below, above in zip(*parts, strict=True)] for parts in zip(low, high, strict=True)
        )

    def adjoint(self, dxs: Any, dys: Any, dss: Any, return_dP: bool = False, **steps: Any) -> tuple[list[Any], ...]:
        """dA, db, dc and, if wanted, dP of each program: the change of the optimal value's gradient along the loss."""
        tau, rho = _check_steps(**{**self._steps, **steps})
        answers = self._answers

        def moved(item: int, step: float) -> Program:
            program, dx, dy, ds, center = answers.programs[item], dxs[item], dys[item], dss[item], answers.x[item]
            if np.any(ds):
                program, center = program.with_slack_as_variable(), np.concatenate([center, answers.s[item]])
                dx, dy = np.concatenate([dx, ds]), np.concatenate([dy, np.zeros_like(dy)])
            return program.moved(None, -np.asarray(dy), dx, None, step).with_proximity(rho, center)

        (x_low, y_low, _), (x_high, y_high, _), width = self._ends(tau, moved)
        dA, db, dc, dP = [], [], [], []
        for program, *ends in zip(answers.programs, x_low, y_low, x_high, y_high, strict=True):
            m, n = program.A.shape
            # With the slack as a variable, x and y of the program itself come first.
            x0, y0, x1, y1 = (end[:length] for end, length in zip(ends, (n, m, n, m), strict=True))
            dA.append(program.on_A((y1 / width, x1), (-y0 / width, x0)))
            db.append((y0 - y1) / width)
            dc.append((x1 - x0) / width)
            if return_dP:
                dP.append(program.on_P((x1 / width, x1), (-x0 / width, x0)))
        return (dA, db, dc, dP) if return_dP else (dA, db, dc)

    def _ends(self, tau: float, moved: Callable[[int, float], Program]) -> tuple[Point, Point, float]:
        """Solutions at the two ends of the step, and its length."""
        low, high = self._sides
        return self._at(low, tau, moved), self._at(high, tau, moved), tau * (high - low)

    def _at(self, side: float, tau: float, moved: Callable[[int, float], Program]) -> Point:
        """x, y and s at one end of the step; those of programs that were not solved stay NaN."""
        answers = self._answers
        x, y, s = list(answers.x), list(answers.y), list(answers.s)
        if side == 0.0:
            return x, y, s
        items = [item for item, error in enumerate(answers.errors) if error is None]
        try:
            found = solve_all([moved(item, side * tau) for item in items], self._jobs, self._settings)
        except SolverError as error:
            this, other = ("right", "left") if side > 0.0 else ("left", "right")
            failed = SolverError(
                f"Computation of {this}-perturbed problem failed: {error}. "
                f"Consider decreasing tau or switching to 'lpgd_{other}' mode."
            )
            failed.item = None if error.item is None else items[cast(int, error.item)]
            raise failed from error
        scatter(items, (x, found.x), (y, found.y), (s, found.s))
        return x, y, s


def _check_steps(tau: float | None = None, rho: float = 0.0) -> tuple[float, float]:
    if tau is None or tau <= 0:
        raise ValueError(f"LPGD mode requires tau > 0, got tau={tau}.")
    if rho < 0:
        raise ValueError(f"LPGD mode requires rho >= 0, got rho={rho}.")
    return tau, rho
