"""Writes equilibrium.csv: a random equilibrium layer with the numbers of iterations that plain NumPy takes.

Rows 1 to 60 are A, rows 61 to 120 B, row 121 c, all with three decimals: W = (1 - m) I - A'A + B - B', z = relu(Wz + c). The
comment lines give iterations until |z+ - z| <= 1e-10 |z+|, from z = 0.

    python make_equilibrium.py > equilibrium.csv
"""

import numpy as np

N = 60
random = np.random.default_rng(0)
A = np.round(random.standard_normal((N, N)) / np.sqrt(N), 3)
B = np.round(random.standard_normal((N, N)) / np.sqrt(N), 3)
c = np.round(random.standard_normal(N), 3)


def count(step):
    z = np.zeros(N)
    for iteration in range(1, 10_000):
        new = step(z)
        change = np.linalg.norm(new - z) / np.linalg.norm(new)
        z = new
        if change <= 1e-10:
            return iteration


def iterations(m, forward_step, resolvent_step):
    M = m * np.eye(N) + A.T @ A - B + B.T
    inverse = np.linalg.inv(np.eye(N) + resolvent_step * M)
    u = np.zeros(N)

    def peaceman_rachford(z):
        nonlocal u
        half = 2 * z - u
        u = 2 * (inverse @ (half + resolvent_step * c)) - half
        return np.maximum(u, 0)

    forward = count(lambda z: np.maximum(z - forward_step * (M @ z - c), 0))
    return forward, count(peaceman_rachford)


for m, forward_step in ((1.0, 0.3), (0.1, 0.16)):
    forward, backward = iterations(m, forward_step, 0.5)
    print(f"# m={m} forward-backward a={forward_step} {forward} Peaceman-Rachford a=0.5 {backward}")
for row in (*A, *B, c):
    print(",".join(f"{v:g}" for v in row))
