#!/usr/bin/env python3
"""Fits the rational approximation of erf that encoders/src/compute/cpu/elementwise.rs evaluates.

erf(x) = x P(x^2) / Q(x^2) on [0, LIMIT], P of degree 6 and Q of degree 4 with Q(0) = 1, fitted to the relative error by
linear least squares that is reweighted until the largest error is about the smallest (Loeb 1957; Lawson 1961).
Prints the coefficients, the largest relative error in f64 and the largest absolute error of an evaluation in f32.

    pip install numpy scipy && python3 scripts/fit_erf.py
"""

import numpy as np
from scipy.special import erf

LIMIT, DEGREE_P, DEGREE_Q = 3.92, 6, 4


def fit():
    x = np.cos(np.linspace(0, np.pi / 2, 20001)) * LIMIT
    x = x[x > 1e-6]
    s = (x / LIMIT) ** 2
    wanted = erf(x) / x
    weight, q, best = np.ones_like(x), np.ones_like(x), None
    for _ in range(200):
        columns = [np.vander(s, DEGREE_P + 1, increasing=True)]
        columns.append(-wanted[:, None] * np.vander(s, DEGREE_Q + 1, increasing=True)[:, 1:])
        scale = np.sqrt(weight) / (q * wanted)
        solution = np.linalg.lstsq(np.hstack(columns) * scale[:, None], wanted * scale, rcond=None)[0]
        p = np.polyval(solution[: DEGREE_P + 1][::-1], s)
        q = np.polyval(np.append(solution[DEGREE_P + 1 :][::-1], 1), s)
        error = np.abs(p / q / wanted - 1)
        if best is None or error.max() < best[0]:
            best = error.max(), solution
        weight *= error / error.mean() + 1e-3
        weight /= weight.mean()
    error, solution = best
    p = [solution[i] / LIMIT ** (2 * i) for i in range(DEGREE_P + 1)]
    q = [1.0] + [solution[DEGREE_P + 1 + i] / LIMIT ** (2 * i + 2) for i in range(DEGREE_Q)]
    return p, q, error


def horner(coefficients, t):
    total = np.zeros_like(t)
    for coefficient in reversed(coefficients):
        total = total * t + np.float32(coefficient)
    return total


p, q, error = fit()
x = np.linspace(-6, 6, 400001).astype(np.float32)
y = np.clip(x, -np.float32(LIMIT), np.float32(LIMIT))
value = y * horner(p, y * y) / horner(q, y * y)
for name, coefficients in (("P", p), ("Q", q)):
    print(name, ", ".join(f"{np.float32(coefficient):.9g}" for coefficient in coefficients))
print(f"largest relative error {error:.2g}; in f32, largest absolute error {np.abs(value - erf(x.astype(np.float64))).max():.2g}")
