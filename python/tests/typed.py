"""What a user's type checker sees of the public names: checked by mypy, not run."""

import numpy as np

import conediff


def simplex(y: np.ndarray) -> tuple[np.ndarray, bool]:
    """The projection onto the simplex and whether its derivative is trusted."""
    n = y.shape[-1]
    cones: list[conediff.cones.Cone] = [conediff.Zero(1), conediff.Nonnegative(n)]
    layer = conediff.ConicLayer(np.eye(n), np.vstack([np.ones((1, n)), -np.eye(n)]), cones, on_error="nan", threads=2)
    solution: conediff.Solution = layer.solve(q=-y, b=np.eye(n + 1)[0])
    gradient: conediff.Gradient = solution.vjp(dx=np.ones_like(y), wanted="q")
    tangent: conediff.Tangent = solution.jvp(q=y)
    report: conediff.Regularity = solution.regularity(within=1e-9, item=())
    assert report.certified and isinstance(tangent.x, np.ndarray)
    return solution.x, bool(np.all(gradient.trusted))


def failed(error: conediff.Error) -> float:
    """A number of an exception."""
    return float(error.value)
