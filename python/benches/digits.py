"""Derivatives of ill-conditioned programs of every cone beside the true ones in fifty digits (tests/judge.py): a Markdown table.

    python digits.py --seeds 3

Each program has three random JVPs and three random VJPs. An error is the largest difference relative to the largest entry of the
whole answer, (dx, dz, ds) or (dq, db), which is what the package estimates. Under the table are the programs that were refused,
and those the judge has no truth for, with what the package says of its point there.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from judge import Comparison, Unjudged, compare, judge
from support import SMALL, Program, conditioned, with_near_rows

import conediff

#: The default of the setting ``accuracy``.
ACCURACY = 2e-6
#: JVPs of each program, and VJPs.
COUNT = 3

Maker = Callable[[str, int], Program]


def with_condition(condition: float) -> Maker:
    """Makes programs of a condition."""
    return lambda name, seed: conditioned(name, condition, seed)


def with_rows(apart: float) -> Maker:
    """Makes programs with two rows this far from each other."""
    return lambda name, seed: with_near_rows(name, apart, seed)


KINDS = {f"condition {text}": with_condition(float(text)) for text in ("1e4", "1e6", "1e8")}
KINDS |= {f"rows 2^-{e} apart": with_rows(2.0**-e) for e in (10, 13, 17)}


@dataclass
class Row:
    """What was found for one kind of program."""

    kind: str
    found: list[Comparison] = field(default_factory=list)

    def cells(self) -> str:
        """As a row of the table."""
        trusted = [f.error for f in self.found if f.trusted]
        silent = sum(not error <= ACCURACY for error in trusted)
        ratios = [f.understated for f in self.found]
        most, median = (np.max(ratios), np.median(ratios)) if ratios else (np.nan, np.nan)
        cells = [self.kind, len(self.found), len(trusted), f"{max(trusted, default=np.nan):.1e}", silent]
        return f"| {' | '.join(map(str, [*cells, f'{most:.2g}', f'{median:.1g}']))} |"


def gathered(kind: str, rows: list[Row]) -> Row:
    """Rows in one."""
    return Row(kind, [found for row in rows for found in row.found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="programs of each kind and product of cones")
    seeds = parser.parse_args().seeds
    rows = {(name, kind): Row(f"{name}, {kind}") for name in SMALL for kind in KINDS}
    refused, unjudged = [], []
    start, done, total = time.perf_counter(), 0, len(rows) * seeds
    for (name, kind), row in rows.items():
        for seed in range(seeds):
            program = KINDS[kind](name, seed)
            try:
                solution = conediff.solve(*program.data, program.cones)
                row.found += compare(solution, judge(program, solution), seed, COUNT)
            except conediff.Error as error:
                refused.append(f"{row.kind}, seed {seed}: {error}")
            except Unjudged as error:
                info = solution.info()
                said = f"{'trusted' if info['trusted'] else 'not trusted'}, estimated error {info['point_error']:.0e}"
                unjudged.append(f"{row.kind}, seed {seed}: {error} ({said})")
            done += 1
            progress = f"{done} of {total} programs, {time.perf_counter() - start:.0f} s: {row.kind}"
            print(f"\r{progress:78}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    heads = (
        "kind of program",
        "judged",
        "trusted",
        "largest error, trusted",
        "trusted beyond 2e-6",
        "largest true/estimated",
        "median",
    )
    print(f"| {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|")
    for name in SMALL:
        for text, first in (("condition 1e4 to 1e8", "condition"), ("rows 2^-10 to 2^-17 apart", "rows")):
            print(gathered(f"{name}, {text}", [rows[name, kind] for kind in KINDS if kind.startswith(first)]).cells())
    for kind in KINDS:
        print(gathered(f"every cone, {kind}", [rows[name, kind] for name in SMALL]).cells())
    print(f"\n{len(refused)} programs refused, {len(unjudged)} not judged.")
    for line in refused + unjudged:
        print(f"* {line}")


if __name__ == "__main__":
    main()
