"""Cost weights of a predictive controller, tuned by the gradient of what happens in closed loop.

    minimize  sum_{t=1..N} 1/2 state_t' diag(w) state_t + r/2 torque_t^2
    subject to  state_{t+1} = A state_t + B torque_t,  state_0 measured,  |torque| <= 1

The plant is a pendulum to be held upright. The controller takes it to be linear and looks N steps ahead, so that the
weights that measure success are not the best ones to plan with. A simulation is a chain of solves, each from the state
the last one led to; backward() goes through all of them and the plant in between.
"""

import numpy as np
import scipy.sparse as sp
import torch
from figure import BLUE, ORANGE, arguments, panels, save
from tqdm import trange

import conediff.torch
from conediff import Nonnegative, Zero

HORIZON, STEPS, DT = 10, 60, 0.1
LINEAR = np.array([[1.0, DT], [DT, 1.0]])
INPUT = np.array([[0.0], [DT]])
#: Angle, rate, torque in the cost of the closed loop.
TASK = torch.tensor([1.0, 0.1, 0.5], dtype=torch.float64)
STARTS = torch.tensor([[0.6, 0.0], [-0.4, -0.3], [0.2, 0.6], [-0.7, 0.2]], dtype=torch.float64)


def controller() -> conediff.torch.ConicLayer:
    """Stage t has angle, rate, torque; a last state follows. P is diagonal, the measured state is in b's first two rows."""
    n = 3 * HORIZON + 2
    dynamics = np.zeros((2 * HORIZON, n))
    for t in range(HORIZON):
        dynamics[2 * t : 2 * t + 2, 3 * t : 3 * t + 5] = np.hstack([LINEAR, INPUT, -np.eye(2)])
    torques = sp.eye(n, format="csr")[2::3]
    A = sp.vstack([np.eye(2, n), dynamics, torques, -torques], format="csc")
    return conediff.torch.ConicLayer(sp.eye(n), A, [Zero(2 * HORIZON + 2), Nonnegative(2 * HORIZON)])


def plant(state: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
    angle, rate = state.unbind(-1)
    rate = rate + DT * (1.3 * torch.sin(angle) + torque - 0.1 * rate)
    return torch.stack([angle + DT * rate, rate], dim=-1)


def simulate(layer: conediff.torch.ConicLayer, weights: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The closed loop's cost, states and torques. Weights: angle, rate, torque, then angle and rate at the horizon's end."""
    P = torch.cat([weights[:3].repeat(HORIZON), weights[3:]])
    bounds = torch.cat([torch.zeros(2 * HORIZON), torch.ones(2 * HORIZON)]).to(P).expand(len(starts), -1)
    state, states, torques = starts, [starts], []
    for _ in range(STEPS):
        plan = layer(P=P, q=torch.zeros(3 * HORIZON + 2).to(P), b=torch.cat([state, bounds], dim=-1)).x
        torque = plan[:, 2]
        state = plant(state, torque)
        states.append(state)
        torques.append(torque)
    states, torques = torch.stack(states), torch.stack(torques)
    cost = (states.square() @ TASK[:2]).sum() + TASK[2] * torques.square().sum()
    return cost / len(starts), states, torques


def main() -> None:
    args = arguments(__doc__, "mpc")
    torch.set_num_threads(1)
    layer = controller()
    log_weights = torch.log(torch.cat([TASK, TASK[:2]])).requires_grad_()

    # The gradient through all solves, against a difference.
    direction = torch.tensor([1.0, -1.0, 0.5, 1.0, -0.5], dtype=torch.float64)
    cost, before, _ = simulate(layer, log_weights.exp(), STARTS)
    cost.backward()
    with torch.no_grad():
        ahead, back = (simulate(layer, (log_weights + h * direction).exp(), STARTS)[0] for h in (1e-5, -1e-5))
    slope, difference = (log_weights.grad @ direction).item(), (ahead - back).item() / 2e-5
    print(f"directional derivative {slope:.6f}, by differences {difference:.6f}")

    optimizer = torch.optim.Adam([log_weights], lr=0.05)
    costs, history = [], []
    for _ in trange(20 if args.quick else 60, desc="tuning"):
        optimizer.zero_grad()
        cost, *_ = simulate(layer, log_weights.exp(), STARTS)
        cost.backward()
        costs.append(cost.item())
        history.append(log_weights.detach().exp())
        optimizer.step()
    best = int(np.argmin(costs))
    with torch.no_grad():
        _, after, torques = simulate(layer, history[best], STARTS)
    print("weights         " + "  ".join(["angle", " rate", "torque", "last angle", "last rate"]))
    for name, w in (("the task's own", history[0]), ("tuned", history[best])):
        print(f"{name:<15} {w[0]:5.2f}  {w[1]:5.2f}  {w[2]:6.2f}  {w[3]:10.2f}  {w[4]:9.2f}")
    at_bound = (torques.abs() > 0.999).double().mean()
    print(f"closed-loop cost {costs[0]:.2f} -> {costs[best]:.2f}; torque at its bound {at_bound:.0%} of the time")

    fig, (left, right) = panels(width_ratios=[3, 2])
    time = DT * np.arange(STEPS + 1)
    left.plot(time, before[..., 0].detach(), color=ORANGE, lw=1.5, label="the task's own weights")
    left.plot(time, after[..., 0], color=BLUE, label="tuned weights")
    left.set(xlabel="time", ylabel="angle", title="Four starts, closed loop")
    handles, labels = left.get_legend_handles_labels()
    left.legend(handles[:: len(STARTS)], labels[:: len(STARTS)], loc="upper left")
    right.plot(costs, color=BLUE)
    right.plot(best, costs[best], "o", color=BLUE)
    right.set(xlabel="iteration", ylabel="closed-loop cost", title="Cost while tuning", ylim=(0.0, None))
    save(fig, args.plot)

    assert abs(slope - difference) < 1e-4 * abs(difference)
    assert costs[best] < 0.5 * costs[0]
    assert after[-1].abs().max() < 0.05, "the tuned controller holds the pendulum upright"


if __name__ == "__main__":
    main()
