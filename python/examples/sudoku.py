"""The rules of 4 x 4 sudoku, learned from solved puzzles.

    minimize  1/20 |x|^2 + 1/2 |e|^2 - clues'x   subject to  A x + e = A x0,  x >= 0

x holds 16 cells times 4 digits, clues is one where a digit is given. The rules A and a point x0 that satisfies them are
learned from solutions. Strict rules, A x = A x0, would be degenerate: at a solved puzzle more constraints hold with
equality than x has numbers, multipliers are not unique, and gradients are not trusted. The residual e, at its own
price, makes every program regular.

Reference: Amos and Kolter, OptNet: Differentiable optimization as a layer in neural networks, ICML 2017.
"""

import itertools

import numpy as np
import torch
from figure import BLUE, INK, ORANGE, arguments, panels, save
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from tqdm import trange

import conediff.torch
from conediff import Nonnegative, Zero

SIZE, RULES, CLUES = 64, 40, 7


def all_grids() -> np.ndarray:
    """The 288 solved grids."""
    rows = np.array(list(itertools.permutations(range(4))))
    grids = rows[np.array(list(itertools.product(range(24), repeat=4)))]
    digits = 1 << grids
    boxes = digits.reshape(-1, 2, 2, 2, 2).swapaxes(2, 3).reshape(-1, 4, 4)
    has_all = [(np.bitwise_or.reduce(group, axis=axis) == 15).all(axis=1) for group, axis in ((digits, 1), (boxes, 2))]
    return grids[has_all[0] & has_all[1]].reshape(-1, 16)


def make_puzzles(solutions: np.ndarray, grids: np.ndarray, count: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """Clues and solutions, one-hot; of the grids there are, only one has the clues."""
    clues, targets = [], []
    while len(clues) < count:
        solution = solutions[rng.integers(len(solutions))]
        cells = rng.choice(16, size=CLUES, replace=False)
        if (grids[:, cells] == solution[cells]).all(axis=1).sum() == 1:
            one_hot = np.eye(4)[solution]
            targets.append(one_hot.ravel())
            clues.append((one_hot * np.isin(np.arange(16), cells)[:, None]).ravel())
    return [torch.tensor(np.array(values)) for values in (clues, targets)]


class Sudoku(torch.nn.Module):
    """Clues (batch, 64) to x (batch, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.A = torch.nn.Parameter(torch.rand(RULES, SIZE))
        self.x0 = torch.nn.Parameter(torch.full((SIZE,), 0.25))
        weights = np.diag(np.repeat([0.1, 1.0], [SIZE, RULES]))
        pattern = np.ones((RULES + SIZE, SIZE + RULES), dtype=bool)
        self.layer = conediff.torch.ConicLayer(weights, pattern, [Zero(RULES), Nonnegative(SIZE)])

    def forward(self, clues: torch.Tensor) -> torch.Tensor:
        equalities = torch.cat([self.A, torch.eye(RULES)], dim=1)
        A = torch.cat([equalities, -torch.eye(SIZE, SIZE + RULES)])
        b = torch.cat([self.A @ self.x0, torch.zeros(SIZE)])
        q = torch.cat([-clues, torch.zeros(len(clues), RULES)], dim=1)
        return self.layer(q=q, A=A, b=b).x[:, :SIZE]


def solved(x: torch.Tensor, target: torch.Tensor) -> float:
    """The share of puzzles with all cells right."""
    digits, right = (value.reshape(-1, 16, 4).argmax(-1) for value in (x, target))
    return (digits == right).all(-1).double().mean().item()


def draw(axes: Axes, clues: torch.Tensor, x: torch.Tensor) -> None:
    """The grid: clues, and the solution's numbers as digits and bars."""
    axes.set(xlim=(0, 4), ylim=(4, 0), aspect="equal", xticks=[], yticks=[], title="A held-out puzzle: clues, and what x says")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for k in range(5):
        width = 2.0 if k % 2 == 0 else 0.7
        axes.plot([k, k], [0, 4], color=INK, lw=width, clip_on=False)
        axes.plot([0, 4], [k, k], color=INK, lw=width, clip_on=False)
    for cell in range(16):
        row, column = divmod(cell, 4)
        values = x.reshape(16, 4)[cell].clamp(0.0, 1.0)
        is_clue = bool(clues.reshape(16, 4)[cell].any())
        color = INK if is_clue else BLUE
        style = {"ha": "center", "va": "center", "fontsize": 18, "color": color, "weight": "bold" if is_clue else "normal"}
        axes.text(column + 0.5, row + 0.42, int(values.argmax()) + 1, **style)
        for digit, value in enumerate(values):
            axes.add_patch(
                Rectangle((column + 0.2 + 0.15 * digit, row + 0.93), 0.11, -0.25 * float(value), color=color, alpha=0.5)
            )


def main() -> None:
    args = arguments(__doc__, "sudoku")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(0)
    grids = rng.permutation(all_grids())
    # No solution of a held-out puzzle has been seen in training.
    clues, targets = make_puzzles(grids[:200], grids, 300 if args.quick else 1000, rng)
    test_clues, test_targets = make_puzzles(grids[200:], grids, 60 if args.quick else 200, rng)

    model = Sudoku()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses, accuracies = {"training": [], "held out": []}, []
    for _ in trange(7 if args.quick else 9, desc="epochs"):
        total = 0.0
        for batch in torch.randperm(len(clues)).split(15 if args.quick else 25):
            optimizer.zero_grad()
            loss = (model(clues[batch]) - targets[batch]).square().mean()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch) / len(clues)
        with torch.no_grad():
            x = model(test_clues)
        losses["training"].append(total)
        losses["held out"].append((x - test_targets).square().mean().item())
        accuracies.append(solved(x, test_targets))
    print(f"held-out puzzles solved: {accuracies[-1]:.1%}")

    fig, (left, right) = panels()
    epochs = np.arange(1, len(accuracies) + 1)
    left.semilogy(epochs, losses["training"], color=BLUE, ls=":", label="training loss")
    left.semilogy(epochs, losses["held out"], color=BLUE, label="held-out loss")
    left.set(xlabel="epoch", ylabel="mean squared error", title=f"{RULES} rules learned from {len(clues)} puzzles")
    twin = left.twinx()
    twin.plot(epochs, accuracies, color=ORANGE, label="held-out puzzles solved")
    twin.set(ylim=(-0.02, 1.02), ylabel="share solved")
    twin.grid(False)
    left.legend(handles=[*left.lines, *twin.lines], loc="center right", fontsize=9)
    draw(right, test_clues[0], x[0])
    save(fig, args.plot)

    assert accuracies[-1] > (0.5 if args.quick else 0.95)


if __name__ == "__main__":
    main()
