"""Differentiable conic optimization: solve a cone program and differentiate its solution, with a verdict on every derivative.

* :func:`solve`, :class:`ConicLayer`: NumPy and SciPy.
* ``conediff.torch``, ``conediff.jax``: layers for PyTorch and JAX.
* ``conediff.cvxpylayers``: a solver for CvxpyLayer; ``conediff.cvxpy``: one for CVXPY.
* ``conediff.compat.diffcp``: diffcp's functions.
"""

from . import errors
from ._core import __version__
from .bundle import Replay, replay
from .cones import Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero
from .errors import Error, UntrustedDerivativeWarning
from .layer import ConicLayer, solve
from .result import Gradient, Jacobian, Regularity, Solution, Tangent
from .svec import smat, svec

__all__ = [
    "ConicLayer",
    "Error",
    "Exponential",
    "GeneralizedPower",
    "Gradient",
    "Jacobian",
    "Nonnegative",
    "Power",
    "PsdTriangle",
    "Regularity",
    "Replay",
    "SecondOrder",
    "Solution",
    "Tangent",
    "UntrustedDerivativeWarning",
    "Zero",
    "__version__",
    "errors",
    "replay",
    "smat",
    "solve",
    "svec",
]
