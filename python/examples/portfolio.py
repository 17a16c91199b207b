"""A portfolio trained on the returns it makes, against the best linear forecast of returns.

    w(x) = argmin  (gamma/2) w'S w - mu(x)'w   subject to  sum w = 1, w >= 0,      mu(x) = W (x, 1)

The features x are news. Moderate news moves expected returns, more of it adds nothing, and after the worst there is a
rebound: no line has that shape. Least squares bends its line to the few extremes. Trained through the layer on the
decision loss (gamma/2) w'S w - r'w of realized returns r, the line is a worse forecast and makes a better portfolio.
"""

import numpy as np
import torch
from figure import BLUE, GRAY, GREEN, ORANGE, arguments, panels, save
from tqdm import trange

import conediff.torch
from conediff import Nonnegative, Zero

ASSETS, FEATURES, GAMMA = 8, 3, 0.4
DIRECTIONS = np.random.default_rng(0).normal(size=(FEATURES, ASSETS)) / np.sqrt(FEATURES)
LOADINGS = np.random.default_rng(1).normal(size=(2, ASSETS))


def expected_return(signal: np.ndarray) -> np.ndarray:
    """In percent a month, the same curve for each asset."""
    return 3.0 * np.clip(signal, -0.5, 0.5) + 2.0 * np.maximum(-2.0 - signal, 0.0)


def market(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features and a one, expected returns, realized returns."""
    x = rng.standard_t(3, size=(count, FEATURES))
    mean = expected_return(x @ DIRECTIONS)
    noise = rng.normal(size=(count, 2)) @ LOADINGS + rng.normal(size=(count, ASSETS))
    return torch.tensor(np.column_stack([x, np.ones(count)])), torch.tensor(mean), torch.tensor(mean + noise)


def main() -> None:
    args = arguments(__doc__, "portfolio")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(2)
    x, _, r = market(500 if args.quick else 1500, rng)
    x_test, mean_test, r_test = market(1000 if args.quick else 4000, rng)

    # Two stages: forecast, then optimize.
    least_squares = torch.linalg.lstsq(x, r).solution
    risk = GAMMA * torch.cov((r - x @ least_squares).T)
    rows = np.vstack([np.ones((1, ASSETS)), -np.eye(ASSETS)])
    layer = conediff.torch.ConicLayer(risk, rows, [Zero(1), Nonnegative(ASSETS)], b=np.eye(1 + ASSETS)[0])

    def decision_loss(mu: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        w = layer(q=-mu).x
        return (0.5 * ((w @ risk) * w).sum(-1) - (returns * w).sum(-1)).mean()

    # End to end: the same line, from the same start, by the gradient of the decision loss.
    W = least_squares.clone().requires_grad_()
    optimizer = torch.optim.Adam([W], lr=0.02)
    train, test = [], []
    for epoch in trange(13 if args.quick else 51, desc="epochs"):
        for batch in torch.randperm(len(x)).split(100) if epoch else []:
            optimizer.zero_grad()
            decision_loss(x[batch] @ W, r[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            train.append(decision_loss(x @ W, r).item())
            test.append(decision_loss(x_test @ W, r_test).item())

    forecasts = {"least squares": x_test @ least_squares, "end to end": x_test @ W.detach(), "true mean": mean_test}
    losses = {name: decision_loss(mu, r_test).item() for name, mu in forecasts.items()}
    print("forecast        decision loss   squared error   (test)")
    for name, mu in forecasts.items():
        print(f"{name:<15} {losses[name]:13.3f} {(mu - mean_test).square().mean():15.3f}")

    fig, (left, right) = panels()
    left.plot(train, color=BLUE, ls=":", label="end to end, training")
    left.plot(test, color=BLUE, label="end to end, test")
    left.axhline(losses["least squares"], color=ORANGE, label="least squares, test")
    left.axhline(losses["true mean"], color=GREEN, label="true mean, test")
    left.set(xlabel="epoch", ylabel="decision loss", title="Trained on the decision")
    left.legend(loc="upper right", bbox_to_anchor=(1.0, 0.82), fontsize=9)
    # Asset 1 along its own direction.
    signal = np.linspace(-4.0, 4.0, 200)
    direction = DIRECTIONS[:, 0]
    points = np.column_stack([np.outer(signal, direction / (direction @ direction)), np.ones_like(signal)])
    signals = np.clip(x_test[:, :-1].numpy() @ direction, -4.0, 4.0)
    right.hist(signals, bins=40, weights=np.full(len(signals), 20.0 / len(signals)), color=GRAY, alpha=0.3, label="how often")
    right.plot(signal, expected_return(signal), color=GREEN, label="true mean")
    right.plot(signal, points @ least_squares[:, 0].numpy(), color=ORANGE, label="least squares")
    right.plot(signal, points @ W[:, 0].detach().numpy(), color=BLUE, label="end to end")
    right.set(xlabel="signal of asset 1", ylabel="expected return, % a month", title="Two lines for one curve", ylim=(-4.0, 4.0))
    right.legend(fontsize=9)
    save(fig, args.plot)

    gap = (losses["least squares"] - losses["end to end"]) / (losses["least squares"] - losses["true mean"])
    print(f"end to end closes {gap:.0%} of the gap to the true mean")
    assert gap > 0.25


if __name__ == "__main__":
    main()
