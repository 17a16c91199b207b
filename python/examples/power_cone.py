"""What households cannot do without, learned from what they buy, while some goods are rationed.

    maximize  prod_i (x_i - g_i)^a_i   subject to  p'x <= income,  x <= ration      (x - g, u) in the generalized power cone

Without rations the demand is Stone and Geary's, x_i = g_i + a_i (income - p'g) / p_i, and so are its derivatives. With
rations there is no such formula, and the layer's derivatives are there all the same. Exponents belong to the cone and
are constants; prices, incomes, rations and the least amounts g are data, and g is fitted to what was bought.
"""

from collections.abc import Callable

import numpy as np
import torch
from figure import BLUE, GRAY, GREEN, ORANGE, arguments, panels, save
from tqdm import trange

import conediff.torch
from conediff import GeneralizedPower, Nonnegative

GOODS = ["bread", "rent", "fuel", "other"]
SHARES = np.array([0.2, 0.35, 0.15, 0.3])
NEEDS = torch.tensor([1.2, 0.8, 0.9, 0.1], dtype=torch.float64)
N = len(GOODS)


def demand_layer() -> conediff.torch.ConicLayer:
    """Variables x and the utility u. Rows: the budget, the rations, (x - g, u)."""
    budget = np.r_[np.ones(N), 0.0][None]
    A = np.vstack([budget, np.eye(N, N + 1), -np.eye(N + 1)])
    return conediff.torch.ConicLayer(None, A, [Nonnegative(1 + N), GeneralizedPower(SHARES)], q=-np.eye(N + 1)[N], threads=2)


def demand(
    layer: conediff.torch.ConicLayer, prices: torch.Tensor, income: torch.Tensor, ration: torch.Tensor, needs: torch.Tensor
) -> torch.Tensor:
    """x (..., N) for prices (..., N), incomes (...) and rations (..., N); an infinite ration is none."""
    budget = torch.cat([prices, torch.zeros_like(prices[..., :1])], dim=-1)[..., None, :]
    fixed = torch.tensor(np.vstack([np.eye(N, N + 1), -np.eye(N + 1)])).expand(*prices.shape[:-1], -1, -1)
    needs = torch.cat([-needs, torch.zeros(1)]).expand(*prices.shape[:-1], -1)
    b = torch.cat([income[..., None], ration, needs], dim=-1)
    return layer(A=torch.cat([budget, fixed], dim=-2), b=b).x[..., :N]


def stone_geary(prices: torch.Tensor, income: torch.Tensor, needs: torch.Tensor) -> torch.Tensor:
    """The demand without rations."""
    return needs + torch.tensor(SHARES) * (income - prices @ needs)[..., None] / prices


def fit(model: Callable[[torch.Tensor], torch.Tensor], observed: torch.Tensor, steps: int, name: str) -> list[torch.Tensor]:
    """The path of needs that minimize the squared error of a model of demand."""
    needs = torch.zeros(N, requires_grad=True)
    optimizer = torch.optim.Adam([needs], lr=0.05)
    path = [needs.detach().clone()]
    for _ in trange(steps, desc=name):
        optimizer.zero_grad()
        (model(needs) - observed).square().mean().backward()
        optimizer.step()
        path.append(needs.detach().clone())
    return path


def main() -> None:
    args = arguments(__doc__, "power_cone")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    layer = demand_layer()

    # Derivatives against the closed form, without rations.
    prices, income = torch.tensor([1.0, 2.0, 1.5, 0.8]), torch.tensor(8.0)
    free = torch.full((N,), torch.inf)
    inputs = (prices, income, NEEDS)
    found = torch.autograd.functional.jacobian(lambda p, m, g: demand(layer, p, m, free, g), inputs)
    exact = torch.autograd.functional.jacobian(stone_geary, inputs)
    worst = max((f - e).abs().max().item() for f, e in zip(found, exact, strict=True))
    print(f"derivatives of demand in prices, income and needs: at most {worst:.1e} from the closed form's")

    # Markets with fuel and bread rationed, demands seen with errors.
    generator = torch.Generator().manual_seed(0)
    count = 20 if args.quick else 60
    prices = 0.5 + 1.5 * torch.rand(count, N, generator=generator)
    income = 6.0 + 6.0 * torch.rand(count, generator=generator)
    ration = torch.full((count, N), torch.inf)
    ration[:, 0], ration[:, 2] = 2.0, 1.3
    observed = demand(layer, prices, income, ration, NEEDS)
    rationed = (observed > ration - 1e-6).double().mean(0)
    observed = observed + 0.05 * torch.randn(count, N, generator=generator)
    steps = 120 if args.quick else 200
    paths = {
        "closed form, no rations": fit(lambda g: stone_geary(prices, income, g), observed, steps, "closed form"),
        "layer, rations known": fit(lambda g: demand(layer, prices, income, ration, g), observed, steps, "layer"),
    }
    estimates = {name: path[-1] for name, path in paths.items()}
    print(f"rationed: {rationed[0]:.0%} of the markets in {GOODS[0]}, {rationed[2]:.0%} in {GOODS[2]}")
    print("least amounts            " + "".join(f"{good:>8}" for good in GOODS))
    for name, needs in {"true": NEEDS, **estimates}.items():
        print(f"{name:<25}" + "".join(f"{value:8.2f}" for value in needs))

    fig, (left, right) = panels()
    # Demand while the first price changes, with and without the rations of the markets.
    price = torch.linspace(0.4, 3.0, 14 if args.quick else 53)
    moved = torch.tensor([1.0, 2.0, 1.5, 0.8]).repeat(len(price), 1)
    moved[:, 0] = price
    limits = torch.tensor([2.0, torch.inf, 1.3, torch.inf]).expand(len(price), -1)
    incomes = torch.full((len(price),), 8.0)
    with torch.no_grad():
        bought = demand(layer, moved, incomes, limits, NEEDS)
    for k, color in enumerate((BLUE, GREEN, ORANGE, GRAY)):
        left.plot(price, bought[:, k], color=color, label=GOODS[k])
        left.plot(price, stone_geary(moved, incomes, NEEDS)[:, k], color=color, lw=1.0, ls="--")
    left.set(xlabel=f"price of {GOODS[0]}", ylabel="demand", ylim=(0.5, 3.6), title="With rations (solid) and without (dashed)")
    left.legend(ncols=2, fontsize=9)
    for (name, path), style in zip(paths.items(), ("--", "-"), strict=True):
        for k, color in enumerate((BLUE, GREEN, ORANGE, GRAY)):
            right.plot(
                torch.stack(path)[:, k], color=color, ls=style, lw=2.0 if style == "-" else 1.0, label=name if k == 3 else None
            )
    right.plot(np.full(N, steps), NEEDS, "o", color="black", ms=5, clip_on=False, label="true")
    right.set(xlabel="step", ylabel="least amount", title="Learned from rationed demand", ylim=(-0.7, 2.2))
    right.legend(fontsize=9, loc="upper left")
    save(fig, args.plot)

    errors = {name: (needs - NEEDS).abs().max().item() for name, needs in estimates.items()}
    assert worst < 1e-8
    assert errors["layer, rations known"] < (0.2 if args.quick else 0.1)
    assert errors["closed form, no rations"] > 0.4


if __name__ == "__main__":
    main()
