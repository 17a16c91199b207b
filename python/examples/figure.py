"""What the examples share: the command line and the look of the figures."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, ORANGE, GREEN, GRAY, INK = "#0072b2", "#d55e00", "#009070", "#999999", "#333333"

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GRAY,
        "axes.labelcolor": INK,
        "axes.titlesize": 11,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "axes.axisbelow": True,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
    }
)


def arguments(doc: str, name: str) -> argparse.Namespace:
    """``--quick`` and ``--plot``; the first line of the docstring is the description."""
    parser = argparse.ArgumentParser(description=doc.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds: fewer steps and items")
    parser.add_argument(
        "--plot", type=Path, default=Path(f"{name}.png"), metavar="FILE", help="the figure (default: %(default)s)"
    )
    return parser.parse_args()


def panels(columns: int = 2, **keywords):
    """A row of panels, 900 by 400 pixels in all."""
    return plt.subplots(1, columns, figsize=(9, 4), **keywords)


def save(fig, path: Path) -> None:
    """Writes the figure and says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path)
    print(f"figure: {path}")
