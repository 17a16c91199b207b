"""Two weights of a logistic regression, l1 and l2, by the gradient of the hold-out loss.

    beta(lambda) = argmin  mean log(1 + exp(-y_i (x_i'beta + c))) + lambda_1 |beta|_1 + lambda_2 |beta|^2

CVXPY writes each logarithm with two exponential cones; a CvxpyLayer with conediff as its solver gives beta and c as
functions of the two weights. The gradient of the loss on hold-out data is one backward pass after each fit; a grid of
weights takes hundreds of fits.
"""

import cvxpy as cp
import numpy as np
import torch
from cvxpylayers.torch import CvxpyLayer
from figure import BLUE, GRAY, GREEN, ORANGE, arguments, panels, save
from sklearn.datasets import load_breast_cancer
from tqdm import tqdm, trange

from conediff.cvxpylayers import ConeDiff

#: Columns of pure noise beside the 30 features.
NOISE = 30


def main() -> None:
    args = arguments(__doc__, "logistic_regression")
    torch.set_num_threads(1)
    rng = np.random.default_rng(4)
    features, labels = load_breast_cancer(return_X_y=True)
    real = features.shape[1]
    features = np.hstack([features, rng.normal(size=(len(labels), NOISE))])
    order = rng.permutation(len(labels))
    features, labels = features[order], 2.0 * labels[order] - 1.0
    count = 80
    features = (features - features[:count].mean(axis=0)) / features[:count].std(axis=0)
    parts = {"training": slice(0, count), "hold-out": slice(count, 3 * count), "test": slice(3 * count, None)}
    X = {name: torch.tensor(features[part]) for name, part in parts.items()}
    y = {name: torch.tensor(labels[part]) for name, part in parts.items()}

    beta, c = cp.Variable(features.shape[1]), cp.Variable()
    l1, l2 = cp.Parameter(nonneg=True), cp.Parameter(nonneg=True)
    margins = cp.multiply(labels[:count], features[:count] @ beta + c)
    fit = cp.sum(cp.logistic(-margins)) / count + l1 * cp.norm1(beta) + l2 * cp.sum_squares(beta)
    layer = CvxpyLayer(cp.Problem(cp.Minimize(fit)), parameters=[l1, l2], variables=[beta, c], solver=ConeDiff(threads=2))

    def loss(log_lambda: torch.Tensor, part: str) -> torch.Tensor:
        """The mean logistic loss, of one pair of weights (2) or many (..., 2)."""
        beta, c = layer(*log_lambda.exp().unbind(-1))
        return torch.nn.functional.softplus(-y[part] * (beta @ X[part].T + c[..., None])).mean(-1)

    # The gradient against a difference.
    start = torch.tensor([-2.5, -2.5], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(start, "hold-out"), start)
    with torch.no_grad():
        steps = 1e-5 * torch.eye(2, dtype=torch.float64)
        difference = (loss(start + steps, "hold-out") - loss(start - steps, "hold-out")) / 2e-5
    print(f"gradient in (log l1, log l2) at the start: {gradient.numpy()}, by differences {difference.numpy()}")

    point = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([point], lr=0.25, betas=(0.7, 0.95))
    path, losses = [], {"hold-out": [], "test": []}
    for _ in trange(12 if args.quick else 40, desc="gradient steps"):
        optimizer.zero_grad()
        value = loss(point, "hold-out")
        value.backward()
        path.append(point.detach().numpy().copy())
        losses["hold-out"].append(value.item())
        with torch.no_grad():
            losses["test"].append(loss(point, "test").item())
        optimizer.step()
    path = np.array(path)

    # The landscape, a batch for each value of l1.
    size = 6 if args.quick else 21
    log_l1, log_l2 = torch.linspace(-7.0, -2.0, size).double(), torch.linspace(-8.0, -2.0, size).double()
    with torch.no_grad():
        rows = [loss(torch.stack([a.expand(size), log_l2], dim=-1), "hold-out") for a in tqdm(log_l1, desc="grid")]
    grid = torch.stack(rows, dim=1).numpy()

    best = int(np.argmin(losses["hold-out"]))
    (lambda_1, lambda_2), final = np.exp(path[best]), losses["hold-out"][best]
    with torch.no_grad():
        used = (layer(*torch.tensor([lambda_1, lambda_2]))[0].abs() > 1e-7).sum()
    print(f"l1 = {lambda_1:.1e}, l2 = {lambda_2:.1e}: {used} of {real + NOISE} coefficients are not zero")
    print(f"hold-out loss {losses['hold-out'][0]:.4f} -> {final:.4f} after {best} steps")
    print(f"the best of {grid.size} points of a grid: {grid.min():.4f}")
    print(f"test loss {losses['test'][0]:.4f} -> {losses['test'][best]:.4f}")

    fig, (left, right) = panels(width_ratios=[5, 4])
    levels = np.geomspace(grid.min(), grid.max(), 18)
    colors = left.contourf(log_l1, log_l2, grid, levels=levels, cmap="Blues_r")
    fig.colorbar(colors, ax=left, format="%.2f")
    left.plot(*path[: best + 1].T, "o-", color=ORANGE, ms=3.5, lw=1.2, label="gradient steps")
    left.plot(*path[best], "*", color=ORANGE, ms=14, mec="white")
    left.set(xlabel="log l1", ylabel="log l2", title="Hold-out loss")
    left.legend(loc="lower right", labelcolor="white")
    right.plot(losses["hold-out"], color=BLUE, label="hold-out")
    right.plot(losses["test"], color=GREEN, label="test")
    right.axhline(grid.min(), color=GRAY, ls="--", lw=1.5, label=f"hold-out, best of {grid.size} fits")
    right.set(xlabel="step", ylabel="mean logistic loss", title="Loss while descending")
    right.legend()
    save(fig, args.plot)

    assert torch.allclose(gradient, difference, rtol=1e-5)
    assert final < 0.7 * losses["hold-out"][0]
    assert args.quick or final < grid.min() + 0.002


if __name__ == "__main__":
    main()
