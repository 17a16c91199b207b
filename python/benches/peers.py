"""Measures conediff beside its peers: forward, backward and the gradient's error on families of cone programs.

    python peers.py                                    # all families, all peers that are installed
    python peers.py --quick --families "small QP" PSD
    python peers.py --markdown peers.md --plot peers.png

One process, repetitions of the layers taken in turn, medians. Every layer gets the same data and the same random cotangent of x;
backward is the gradient in all of P, q, A and b.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
PACKAGES = "conediff moreau diffcp diffqcp lineax qpth cvxpylayers cvxpy clarabel scs numpy scipy torch jax".split()


@dataclass
class Row:
    """What one layer did on one family."""

    family: str
    layer: str
    beside: str
    batch: int
    #: Seconds of each turn.
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    error: tuple[float, float] | None = None
    failure: str | None = None
    complaint: str = ""

    def milliseconds(self) -> tuple[float, float, float]:
        """Medians for an item: forward, backward, both."""
        import numpy as np

        times = np.array([self.forward, self.backward])
        return tuple(1e3 / self.batch * float(np.median(v)) for v in (times[0], times[1], times.sum(0)))

    def processor_milliseconds(self) -> float:
        """The median for an item, both, summed over threads."""
        import numpy as np

        return 1e3 / self.batch * float(np.median(self.processor))

    def ratio(self, other: Row) -> float:
        """The median over turns of this layer's time over another's in the same turn."""
        import numpy as np

        turns = min(len(self.forward), len(other.forward))
        mine, others = (np.add(row.forward[:turns], row.backward[:turns]) for row in (self, other))
        return float(np.median(mine / others)) * other.batch / self.batch


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="batches of 8, three repetitions")
    parser.add_argument("--families", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--layers", nargs="+", metavar="NAME", help="default: all installed; conediff's always")
    parser.add_argument("--batch", type=int, help="items of a batch; default: the family's own, 64 or 128")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=40.0, help="of a layer on a family, after which it repeats no more")
    parser.add_argument("--items", type=int, default=16, help="of a batch whose gradients are compared with the reference")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keeps each family's numbers; those in it are not measured again"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


def machine() -> str:
    """Processor, cores, system, versions, date."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    python = f"Python {platform.python_version()} on {platform.system()}"
    return f"{os.cpu_count()} x {model}, {python}, {date.today().isoformat()}; {', '.join(versions)}."


def run(family: str, options: argparse.Namespace, names: list[str] | None) -> list[Row]:
    """All layers on one family."""
    import numpy as np
    from layers import LAYERS, Unsupported
    from problems import FAMILIES, Reference
    from tqdm import tqdm

    make, usual = FAMILIES[family]
    problem = make(options.batch or usual)
    dx = np.random.default_rng(7).standard_normal(problem.q.shape)
    reference = Reference(problem, dx, items=options.items)
    rows, made = [], {}

    def attempt(row: Row, act) -> bool:
        """Whether it worked; the layer is out if not."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                act()
            return True
        except Unsupported as reason:
            row.failure = f"not supported: {reason}"
        except Exception as error:
            row.failure = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:90] if str(error) else ''}"
        made.pop(row.layer, None)
        return False

    def once(row: Row, is_measured: bool = True):
        layer = made[row.layer]
        processor, start = time.process_time(), time.perf_counter()
        layer.forward()
        middle = time.perf_counter()
        gradient = layer.backward(dx[: row.batch])
        end = time.perf_counter()
        if is_measured:
            row.forward.append(middle - start)
            row.backward.append(end - middle)
            row.processor.append(time.process_time() - processor)
        else:
            errors = reference.errors(layer.parts(gradient))
            row.error = float(np.median(errors)), float(np.max(errors))
            row.complaint = layer.complaint(gradient)

    for kind in tqdm(LAYERS, desc=f"{family}: first calls", leave=False):
        if kind.missing() or (names and kind.name not in names and not kind.name.startswith("conediff")):
            continue
        part = problem.first(kind.most)
        row = Row(family, kind.name, kind.beside, part.batch)
        rows.append(row)

        def prepare(kind=kind, row=row, part=part):
            made[kind.name] = kind(part, options.threads)
            once(row, is_measured=False)

        attempt(row, prepare)
    for turn in tqdm(range(options.repeat), desc=f"{family}: measuring", leave=False):
        for row in rows:
            is_due = turn == 0 or sum(row.forward) + sum(row.backward) < options.seconds
            if row.layer in made and is_due:
                attempt(row, lambda row=row: once(row))
    return rows


def table(rows: list[Row]) -> list[str]:
    """One family in Markdown."""
    by_name = {row.layer: row for row in rows}
    lines = [
        "| layer | forward | backward | both | items/s | / conediff's | processor | error, median | error, max |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row.failure:
            lines.append(f"| {row.layer} | {row.failure} | | | | | | | |")
            continue
        forward, backward, both = row.milliseconds()
        ratio = f"{row.ratio(by_name[row.beside]):.3g}"
        times = f"{forward:.3g} | {backward:.3g} | {both:.3g} | {1e3 / both:.3g} | {ratio} | {row.processor_milliseconds():.3g}"
        name = row.layer + (f" ({row.complaint})" if row.complaint else "")
        lines.append(f"| {name} | {times} | {row.error[0]:.0e} | {row.error[1]:.0e} |")
    return lines


def summary(rows: list[Row]) -> list[str]:
    """All families: time over conediff's, and the median error."""
    by_name = {(row.family, row.layer): row for row in rows}
    families = list(dict.fromkeys(row.family for row in rows))
    lines = ["| time / conediff's, error | " + " | ".join(families) + " |", "|---|" + "---|" * len(families)]
    for layer in dict.fromkeys(row.layer for row in rows):
        cells = []
        for family in families:
            row = by_name[family, layer]
            text = (row.failure or "").split(":")[0]
            cells.append(text or f"{row.ratio(by_name[family, row.beside]):.2g}, {row.error[0]:.0e}")
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    return lines


def report(rows: list[Row], options: argparse.Namespace, missing: dict[str, str]) -> str:
    """Everything in Markdown."""
    from layers import LAYERS
    from problems import FAMILIES

    lines = [
        machine(),
        "",
        f"{options.threads} threads. Milliseconds for an item of the batch, medians of repetitions, all layers in turn.",
        "A time over conediff's (conediff.torch's for PyTorch layers) is the median ratio in a repetition; processor time",
        "is of all threads, and what else the machine does hardly changes it. Errors are relative,",
        f"of the gradients of the first {options.items} items.",
        "",
        *summary(rows),
    ]
    for name in dict.fromkeys(row.family for row in rows):
        part = [row for row in rows if row.family == name]
        problem = FAMILIES[name][0](1)
        lines += ["", f"**{name}**: {problem.n} variables, {problem.m} rows, batch {part[0].batch}.", "", *table(part)]
    lines += ["", "What was used:", ""]
    present = {row.layer for row in rows}
    lines += [f"* {kind.name}: {kind.note.format(threads=options.threads)}" for kind in LAYERS if kind.name in present]
    lines += [f"* {name}: not measured, {package} is not installed." for name, package in missing.items()]
    return "\n".join(lines) + "\n"


COLOURS = {
    "conediff": "#c0392b",
    "moreau auto": "#1f618d",
    "moreau ipm": "#7fb3d5",
    "qpth": "#239b56",
    "diffcp lsqr": "#6c3483",
    "diffcp dense": "#bb8fce",
    "diffqcp lsmr": "#7e5109",
    "diffqcp lu": "#d4ac0d",
    "cvxpylayers": "#5d6d7e",
}


def plot(rows: list[Row], path: Path) -> None:
    """Time ratios as bars, errors as dots."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    good = [row for row in rows if row.failure is None]
    drawn = [row for row in good if row.layer != "conediff.torch"]
    by_name = {(row.family, row.layer): row for row in good}
    families = list(dict.fromkeys(row.family for row in rows))
    layers = [name for name in COLOURS if any(row.layer == name for row in drawn)]
    places, ticks, y = {}, [], 0.0
    for family in families:
        here = [name for name in layers if (family, name) in by_name]
        for name in here:
            places[family, name] = y
            y += 1.0
        ticks.append(y - 0.5 * len(here) - 0.5)
        y += 1.0
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.15 * y + 1.4), sharey=True, layout="constrained")
    for row in drawn:
        at, colour = places[row.family, row.layer], COLOURS[row.layer]
        if row.layer != "conediff":
            ratio = row.ratio(by_name[row.family, row.beside])
            left.barh(at, ratio - 1.0, left=1.0, height=0.9, color=colour)
            left.annotate(f"{ratio:.3g}", (max(ratio, 1.0), at), (3, 0), textcoords="offset points", va="center", fontsize=7)
        median, worst = (max(value, 1e-16) for value in row.error)
        right.plot([median, worst], [at, at], "-", color=colour, linewidth=1.2)
        right.plot(median, at, "o", color=colour, markersize=4.5)
        right.plot(worst, at, "|", color=colour, markersize=6)
    left.axvline(1.0, color=COLOURS["conediff"], linewidth=1)
    left.set(xscale="log", xlabel="time / conediff's, forward and backward", yticks=ticks, yticklabels=families)
    left.set_xlim(right=3.0 * left.get_xlim()[1])
    left.set_ylim(y - 0.5, -1.0)
    right.set(xscale="log", xlabel="gradient's relative error: median (dot), largest (bar)")
    for axis in (left, right):
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", linewidth=0.4, alpha=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    handles = [plt.Line2D([], [], color=COLOURS[name], linewidth=6, label=name) for name in layers]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.savefig(path, dpi=160)


def main() -> None:
    options = parse()
    if options.quick:
        options.batch, options.repeat = options.batch or 8, min(options.repeat, 3)
    for name in THREADS:
        os.environ[name] = str(options.threads)
    # Waiting threads that spin would charge a busy machine to the layers that use OpenMP: tenfold for qpth.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    from layers import LAYERS
    from problems import FAMILIES

    unknown = set(options.families or []) - set(FAMILIES)
    if unknown:
        sys.exit(f"no family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    missing = {kind.name: package for kind in LAYERS if (package := kind.missing())}
    if "torch" not in missing.values():
        import torch

        torch.set_num_threads(options.threads)
    kept = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    rows = [Row(**fields) for fields in kept]
    for family in options.families or FAMILIES:
        if any(row.family == family for row in rows):
            continue
        new = run(family, options, options.layers)
        rows += new
        if options.json:
            options.json.write_text(json.dumps([asdict(row) for row in rows]))
        print(f"\n{family}, batch {new[0].batch}\n" + "\n".join(table(new)), flush=True)
    text = report(rows, options, missing)
    print("\n" + text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
