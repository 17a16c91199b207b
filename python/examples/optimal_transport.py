"""Optimal transport in JAX: points moved by the gradient of the cost, and a metric learned from a plan.

    minimize  sum_ij C_ij X_ij + (epsilon/2) |X|^2   subject to  X 1 = a,  X' 1 = b,  X >= 0

1. The optimal value's gradient in C is X itself: points y_i follow it to a shape, in a lax.scan of solves.
2. The gradient of the plan X in C: from one plan seen, the metric M of C_ij = (y_i - t_j)' M (y_i - t_j) is learned.

The last column's sum follows from the other sums and is left out, else the multipliers would not be unique. The square
term makes the plan unique and, unlike an entropy, leaves most of it zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from figure import BLUE, GRAY, GREEN, ORANGE, arguments, panels, save
from tqdm import trange

import conediff.jax
from conediff import Nonnegative, Zero

jax.config.update("jax_enable_x64", True)


def transport_layer(count: int, epsilon: float) -> conediff.jax.ConicLayer:
    """Plans between two clouds of count points of weight one, by rows; the cost is given at each call."""
    row_sums = sp.kron(sp.eye(count), np.ones((1, count)))
    column_sums = sp.kron(np.ones((1, count)), sp.eye(count), format="csr")[:-1]
    A = sp.vstack([row_sums, column_sums, -sp.eye(count**2)], format="csc")
    b = np.repeat([1.0, 0.0], [2 * count - 1, count**2])
    cones = [Zero(2 * count - 1), Nonnegative(count**2)]
    return conediff.jax.ConicLayer(epsilon * sp.eye(count**2, format="csc"), A, cones, b=b)


def squared_distances(y: jax.Array, t: jax.Array, metric: jax.Array) -> jax.Array:
    difference = y[:, None] - t[None]
    return jnp.einsum("ijk,kl,ijl->ij", difference, metric, difference)


def heart(count: int) -> jax.Array:
    """Points on a closed curve, at equal distances along it."""
    angle = np.linspace(0.0, 2.0 * np.pi, 2000)
    x = 16.0 * np.sin(angle) ** 3
    y = 13.0 * np.cos(angle) - 5.0 * np.cos(2 * angle) - 2.0 * np.cos(3 * angle) - np.cos(4 * angle)
    length = np.r_[0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
    at = np.linspace(0.0, length[-1], count, endpoint=False)
    return jnp.stack([np.interp(at, length, x), np.interp(at, length, y)], axis=1) / 12.0


def flow(layer: conediff.jax.ConicLayer, start: jax.Array, target: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Points and transport costs along the flow."""

    def cost(y: jax.Array) -> jax.Array:
        return layer(q=squared_distances(y, target, jnp.eye(2)).ravel()).objective

    def step(y: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        value, gradient = jax.value_and_grad(cost)(y)
        return y - 0.1 * gradient, (y, value)

    _, (path, costs) = jax.lax.scan(step, start, length=steps)
    return path, costs


def learn_metric(layer: conediff.jax.ConicLayer, y: jax.Array, t: jax.Array, plan: jax.Array, steps: int) -> list[jax.Array]:
    """Metrics M = L L' while M is fitted to the plan."""

    @jax.jit
    @jax.grad
    def gradient(L: jax.Array) -> jax.Array:
        found = layer(q=squared_distances(y, t, L @ L.T).ravel()).x
        return jnp.sum((found - plan) ** 2) / len(y)

    L = jnp.eye(2)
    metrics = []
    for _ in trange(steps, desc="metric"):
        metrics.append(L @ L.T)
        L = L - 0.6 * gradient(L)
    return metrics


def main() -> None:
    args = arguments(__doc__, "optimal_transport")
    rng = np.random.default_rng(0)
    count = 20 if args.quick else 48
    target = heart(count)

    start = jnp.array(0.3 * rng.normal(size=(count, 2)) + np.array([2.2, -1.2]))
    path, costs = flow(transport_layer(count, epsilon=0.05), start, target, steps=25 if args.quick else 50)
    # From each point of the target, the distance to the nearest point of the flow.
    gaps = jnp.sqrt(squared_distances(target, path[-1], jnp.eye(2)).min(axis=1))
    print(f"flow of {count} points: transport cost {costs[0] / count:.3f} -> {costs[-1] / count:.3f} a point")
    print(f"from a point of the shape to the nearest point of the cloud: at most {gaps.max():.3f}")

    true = jnp.array([[1.0, 0.6], [0.6, 0.5]])
    y = jnp.array(rng.normal(size=(count, 2)))
    layer = transport_layer(count, epsilon=1.0)
    plan = layer(q=squared_distances(y, target, true).ravel()).x
    metrics = learn_metric(layer, y, target, plan, steps=60 if args.quick else 80)
    error = jnp.abs(metrics[-1] - true).max().item()
    print(f"plan with {(plan > 1e-9).sum()} of {plan.size} entries above zero: the metric's error is {error:.1e}")

    fig, (left, right) = panels()
    left.plot(path[..., 0], path[..., 1], color=GRAY, lw=0.6)
    left.plot(*target.T, "o", color=ORANGE, ms=9, mfc="none", mew=1.0, label="target")
    left.plot(*start.T, "o", color=GREEN, ms=4, label="start")
    left.plot(*path[-1].T, "o", color=BLUE, ms=4, label="end")
    left.set(aspect="equal", xticks=[], yticks=[], title="Points follow the plan to a shape")
    left.spines[:].set_visible(False)
    left.legend(loc="lower left", fontsize=9)
    for (i, j), color in zip(((0, 0), (0, 1), (1, 1)), (BLUE, GREEN, ORANGE), strict=True):
        right.plot([metric[i, j] for metric in metrics], color=color, label=f"$M_{{{i + 1}{j + 1}}}$")
        right.axhline(true[i, j], color=color, ls="--", lw=1.0)
    right.set(
        xlabel="step", ylabel="entry of the metric", title="The metric behind a plan (dashed: the true one)", ylim=(-0.05, 1.2)
    )
    right.legend(loc="lower right")
    save(fig, args.plot)

    assert costs[-1] < 0.01 * costs[0]
    assert gaps.max() < 0.15
    assert error < 0.03


if __name__ == "__main__":
    main()
