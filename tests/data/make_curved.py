"""Golden values of the projections on the exponential, power and generalized power cones.

Run in this directory: python make_curved.py  (mpmath). Writes exponential.csv, power.csv and generalized_power.csv,
one point per line, fields separated by commas and their entries by spaces:

    piece, exponents, v, z, s, upper triangle of D row by row, middle eigenvalues of D, the same of I - D

Independent of the library: the projection is a bisection at 250 digits, checked by its optimality conditions, and D is
its central difference with a step of 1e-80. Middle eigenvalues are those strictly between 0 and 1.
"""
import random
from mpmath import mp, mpf, exp, log, sqrt

mp.dps = 250
STEP = mpf(10) ** -80
rng = random.Random(20240611)


def bisect(f, lo, hi):
    """Root of an increasing function."""
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if f(mid) < 0 else (lo, mid)
    a, b = lo, hi
    fa, fb = f(a), f(b)
    for _ in range(900):  # Illinois
        if fa == 0 or fb == 0 or abs(b - a) < mpf(10) ** -245 * abs(b):
            break
        c = (a * fb - b * fa) / (fb - fa)
        fc = f(c)
        if fc * fb < 0:
            a, fa = b, fb
        else:
            fa /= 2
        b, fb = c, fc
    return a if fa == 0 else b


def exponential(p):
    x, y, z = p
    if (y > 0 and y * exp(x / y) <= z) or (y == 0 and x <= 0 and z >= 0):
        return "polar", p
    if (x > 0 and x * exp(y / x - 1) <= -z) or (x == 0 and y <= 0 and z <= 0):
        return "dual", [mpf(0)] * 3
    if x <= 0 and y <= 0:
        return "face", [x, mpf(0), max(z, mpf(0))]
    lo = 1 - y / x if x > 0 else None
    hi = x / y if y > 0 else None
    lo = hi - 3000 if lo is None else max(lo, -3000)
    hi = lo + 3000 if hi is None else min(hi, max(lo, 0) + 3000)

    def parts(rho):
        d = rho * rho - rho + 1
        return ((rho - 1) * x + y) / d, (x - rho * y) / d

    def h(rho):
        sigma, tau = parts(rho)
        return (sigma - tau * exp(-2 * rho) - z * exp(-rho)) if rho > 0 else (sigma * exp(2 * rho) - tau - z * exp(rho))

    rho = bisect(h, lo, hi)
    sigma, tau = parts(rho)
    assert abs(h(rho)) < mpf(10) ** -200 * max(map(abs, p))
    # One of them can be exp(-1e12), which 250 digits do not see.
    sigma, tau = max(sigma, mpf(0)), max(tau, mpf(0))
    return "curved", [sigma * rho, sigma, sigma * exp(rho) if rho < 0 else z + tau * exp(-rho)]


def power(alphas, p):
    n = len(alphas)
    u, w = p[:n], p[n:]
    length = sqrt(sum(x * x for x in w))
    product = lambda c: exp(sum(a * log(x) for a, x in zip(alphas, c))) if all(x > 0 for x in c) else mpf(0)
    if all(x >= 0 for x in u) and product(u) >= length:
        return "polar", p
    if all(x <= 0 for x in u) and product([-x / a for a, x in zip(alphas, u)]) >= length:
        return "dual", [mpf(0)] * len(p)
    if length == 0:
        return "face", [max(x, mpf(0)) for x in p]

    def parts(theta):
        r, m = length / (1 + exp(-theta)), length / (1 + exp(theta))
        root = [sqrt(x * x + 4 * a * r * m) for a, x in zip(alphas, u)]
        return r, [(x + t) / 2 if x > 0 else 2 * a * r * m / (t - x) for a, x, t in zip(alphas, u, root)]

    def f(theta):
        r, us = parts(theta)
        return log(r) - sum(a * log(x) for a, x in zip(alphas, us))

    lo, hi = mpf(-1), mpf(1)
    while f(lo) > 0:
        lo *= 4
    while f(hi) < 0:
        hi *= 4
    r, us = parts(bisect(f, lo, hi))
    assert abs(product(us) / r - 1) < mpf(10) ** -200
    return "curved", us + [r / length * x for x in w]


def dual_projection(slack, v):
    piece, s = slack([-x for x in v])
    return piece, [a + b for a, b in zip(s, v)], s


def line(exponents, slack, v):
    v = [mpf(x) for x in v]
    n = len(v)
    piece, z, s = dual_projection(slack, v)
    h = STEP * max(abs(x) for x in v)
    d = mp.matrix(n, n)
    for j in range(n):
        plus, minus = list(v), list(v)
        plus[j] += h
        minus[j] -= h
        column = zip(dual_projection(slack, plus)[1], dual_projection(slack, minus)[1])
        for i, (a, b) in enumerate(column):
            d[i, j] = (a - b) / (2 * h)
    d = (d + d.T) / 2
    middle = [x for x in mp.eigsy(d, eigvals_only=True) if mpf(10) ** -60 < x < 1 - mpf(10) ** -60]
    middle.sort()
    tiny = lambda x: mpf(0) if abs(x) < mpf(10) ** -60 else x
    upper = [tiny(d[i, j]) for i in range(n) for j in range(i, n)]
    number = lambda x: repr(float(x)).replace(".0e", "e").removesuffix(".0")
    fields = [exponents, v, z, s, upper, middle, [1 - x for x in middle]]
    return piece + "," + ",".join(" ".join(number(x) for x in field) for field in fields)


def spread(dim, decades):
    return [rng.choice([-1, 1]) * 10 ** rng.uniform(-decades, decades) for _ in range(dim)]


def near(slack, v, ratio):
    """A point whose z (ratio < 1) or s (ratio > 1) is small, made of the projections of v."""
    _, z, s = dual_projection(slack, [mpf(x) for x in v])
    a, b = (ratio, 1) if ratio < 1 else (1, 1 / ratio)
    return [float(a * x - b * y) for x, y in zip(z, s)]


def write(name, rows):
    with open(name, "w") as file:
        file.write("\n".join(rows) + "\n")


def main():
    ratios = [1e-12, 1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9, 1e12]

    points = [spread(3, k) for k in (0.3, 1, 3, 6, 12) for _ in range(6)]
    points += [near(exponential, [-0.7, 0.4, -0.5], r) for r in ratios]
    for rho in (-50, -8, -2, 0, 1, 3, 12, 40):
        s, z = [rho, 1, exp(rho)], [-1, rho - 1, exp(-rho)]
        points.append([float(a / max(1, exp(-rho)) - b / max(1, exp(rho))) for a, b in zip(z, s)])
    points += [[1, 2, -3], [1, 2, 3], [2e12, 1e-12, 1], [-1, 5, -1e-3], [-1e-3, 2, -0.5], [0, -1, -1e-9]]
    write("exponential.csv", [line([], exponential, v) for v in points])

    rows = []
    for a in (0.5, 0.3, 0.05, 0.95, 0.001):
        slack = lambda p, a=a: power([mpf(a), 1 - mpf(a)], p)
        points = [spread(3, k) for k in (0.3, 1, 3, 6, 12)] + [[1, -2, 0]]
        points += [near(slack, [0.6, -0.3, 1.1], r) for r in rng.sample(ratios, 3)]
        rows += [line([a, 1 - a], slack, v) for v in points if a >= 0.05 or max(map(abs, v)) < 1e3]
    write("power.csv", rows)

    rows = []
    cases = [([0.25, 0.25, 0.5], 1), ([0.2, 0.3, 0.5], 2), ([0.7, 0.05, 0.125, 0.125], 1), ([0.4, 0.6], 2), ([1.0], 2)]
    for alphas, d in cases:
        exact = [mpf(a) for a in alphas[:-1]]
        exact.append(1 - sum(exact))
        slack = lambda p, exact=exact: power(exact, p)
        n = len(alphas)
        points = [spread(n + d, k) for k in (0.3, 1, 3, 6)]
        if n > 2:
            points.append([-1, 2, -0.5, 0.7][:n] + [0] * d)
            points += [near(slack, [0.6, -0.3, 1.1, 0.5][:n] + [0.8, -1.0][:d], r) for r in rng.sample(ratios, 2)]
        rows += [line(alphas, slack, v) for v in points]
    write("generalized_power.csv", rows)


main()
