"""Golden values of the smoothed exponential and power cones, to 60 digits: writes smoothed.csv beside this file.

s minimizes 1/2 |s + v|^2 + mu f(s) by damped Newton steps, z = s + v, and lambda, colambda are the eigenvalues of
mu H (I + mu H)^-1 (ascending) and of its complement. Fields: exponents (none for the exponential cone), mu, v, z, s, lambda, colambda.
"""

import os
import random

import mpmath as mp

mp.mp.dps = 60


def inside(alphas, s):
    if not alphas:
        return s[1] > 0 and s[2] > 0 and s[1] * mp.log(s[2] / s[1]) > s[0]
    k = len(alphas)
    return min(s[:k]) > 0 and mp.fprod(u ** (2 * a) for a, u in zip(alphas, s)) > s[k] ** 2


def derivatives(alphas, s):
    """Gradient and Hessian of the barrier."""
    n = len(s)
    if not alphas:
        x, y, z = s
        rho = mp.log(z / y)
        psi = y * rho - x
        g, q = mp.matrix([-1, rho - 1, y / z]), mp.matrix([0, 1, -y / z])
        hessian = g * g.T / psi**2 + q * q.T / (psi * y)
        hessian[1, 1] += 1 / y**2
        hessian[2, 2] += 1 / z**2
        return -g / psi - mp.matrix([0, 1 / y, 1 / z]), hessian
    k = len(alphas)
    product = mp.fprod(u ** (2 * a) for a, u in zip(alphas, s))
    phi = product - s[k] ** 2
    g = mp.matrix([2 * a * product / u for a, u in zip(alphas, s)] + [-2 * s[k]])
    second = mp.matrix(n, n)
    for i in range(k):
        for j in range(k):
            second[i, j] = 4 * alphas[i] * alphas[j] * product / (s[i] * s[j])
        second[i, i] -= 2 * alphas[i] * product / s[i] ** 2
    second[k, k] = -2
    gradient, hessian = -g / phi, g * g.T / phi**2 - second / phi
    for i in range(k):
        gradient[i] -= (1 - alphas[i]) / s[i]
        hessian[i, i] += (1 - alphas[i]) / s[i] ** 2
    return gradient, hessian


def smoothed(alphas, v, mu):
    n = len(v)
    s = mp.matrix([-1, 1, 2] if not alphas else [1] * (n - 1) + [0])
    weight, last = max(mu, mp.mpf(1)), False
    while True:
        for _ in range(1000):
            gradient, hessian = derivatives(alphas, list(s))
            matrix = mp.eye(n) + weight * hessian
            step = -mp.lu_solve(matrix, s + v + weight * gradient)
            decrement = mp.sqrt((step.T * matrix * step)[0] / weight)
            s += step if decrement < 0.25 else step / (1 + decrement)
            assert inside(alphas, list(s))
            if decrement < (mp.mpf(10) ** -28 if last else 0.5):
                break
        else:
            raise RuntimeError("no convergence")
        if last:
            break
        weight = max(weight / 4, mu)
        last = weight == mu
    gradient, hessian = derivatives(alphas, list(s))
    values = mp.eigsy(mu * hessian, eigvals_only=True)
    values = sorted(values[i] for i in range(n))
    return -mu * gradient, s, [x / (1 + x) for x in values], [1 / (1 + x) for x in values]


def main():
    draw = random.Random(7)
    text = lambda values: " ".join(mp.nstr(mp.mpf(x), 25, strip_zeros=False) for x in values)
    lines = []
    for alphas in [[], [0.3, 0.7], [0.02, 0.98], [0.2, 0.3, 0.5]]:
        for exponent in [-16, -12, -8, -4, 0, 4, 8]:
            for _ in range(2):
                v = [draw.gauss(0, 1) for _ in range(len(alphas) + 1 if alphas else 3)]
                mu = 10.0**exponent
                # The smallest eigenvalues of D depend on sum alpha - 1 as much as on mu: the last exponent is what is left of 1.
                exact = [mp.mpf(a) for a in alphas]
                exact[-1:] = [1 - mp.fsum(exact[:-1])] if exact else []
                z, s, lam, colam = smoothed(exact, mp.matrix([mp.mpf(x) for x in v]), mp.mpf(mu))
                doubles = lambda values: " ".join(repr(x) for x in values)
                fields = [doubles(alphas), repr(mu), doubles(v), text(z), text(s), text(lam), text(colam)]
                lines.append(",".join(fields))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "smoothed.csv")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
