"""Solve a real portfolio-type program (DUAL1 of the Maros-Meszaros set) and differentiate its solution.

minimize 1/2 x'Px + q'x subject to Ax + s = b, s in K; then the gradient of x[0] in every number of the problem.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import conediff

DEFAULT = Path(__file__).resolve().parents[2] / "tests" / "data" / "problems" / "DUAL1.json"
CONES = {"ZeroConeT": conediff.Zero, "NonnegativeConeT": conediff.Nonnegative, "SecondOrderConeT": conediff.SecondOrder}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", nargs="?", type=Path, default=DEFAULT, help="a problem in Clarabel's JSON")
    problem = json.loads(parser.parse_args().problem.read_text())
    P, A = (
        sp.csc_array((m["nzval"], m["rowval"], m["colptr"]), shape=(m["m"], m["n"]), dtype=float)
        for m in (problem["P"], problem["A"])
    )
    cones = [CONES[name](rows) for cone in problem["cones"] for name, rows in cone.items()]

    solution = conediff.solve(P, problem["q"], A, problem["b"], cones, upper=True)
    print(f"{len(solution.x)} variables, {len(solution.s)} rows: {solution.status}, optimal value {solution.objective:.8f}")

    seed = np.zeros_like(solution.x)
    seed[0] = 1.0
    gradient = solution.vjp(dx=seed)
    for name in "PqAb":
        values = getattr(gradient, name)
        print(f"gradient of x[0] in {name}: {values.size:5d} numbers, norm {np.linalg.norm(getattr(values, 'data', values)):.6e}")
    print(f"trusted: {gradient.trusted}, residual {gradient.residual:.1e}, estimated error {gradient.error:.1e}")
    print(solution.regularity())
    assert gradient.trusted


if __name__ == "__main__":
    main()
