#!/usr/bin/env python3
"""Fits the polynomial of the rough GELU that encoders/src/compute/cpu/elementwise.rs evaluates.

The normal distribution function is 1/2 + x P(x^2) on [-LIMIT, LIMIT], P of degree DEGREE with LIMIT P(LIMIT^2) = 1/2, so
that it is 0 and 1 beyond. P is fitted to the absolute error of x times it, by linear least squares that is reweighted
until the largest error is about the smallest (Lawson 1961). Prints the coefficients and the largest absolute error of an
evaluation in f32.

    pip install numpy scipy && python3 scripts/fit_gelu.py
"""

import numpy as np
from scipy.special import ndtr

LIMIT, DEGREE = 4.2, 7

x = np.cos(np.linspace(0, np.pi / 2, 6001)) * LIMIT
x = x[x > 1e-4]
s = (x / LIMIT) ** 2
# P = 1 / 2 LIMIT + (s - 1) Q, both of s.
wanted = (ndtr(x) - 0.5) / x - 0.5 / LIMIT
columns = np.vander(s, DEGREE, increasing=True) * ((s - 1) * x * x)[:, None]
weight, best = np.ones_like(x), None
for _ in range(300):
    root = np.sqrt(weight)
    q = np.linalg.lstsq(columns * root[:, None], wanted * x * x * root, rcond=None)[0]
    error = np.abs(columns @ q - wanted * x * x)
    if best is None or error.max() < best[0]:
        best = error.max(), q
    weight *= error / error.mean() + 1e-3
    weight /= weight.mean()
q = best[1]
p = np.append(0, q) - np.append(q, 0)
p[0] += 0.5 / LIMIT
p = [np.float32(c / LIMIT ** (2 * i)) for i, c in enumerate(p)]

x = np.linspace(-9, 9, 900001).astype(np.float32)
bounded = np.maximum(x, -np.float32(LIMIT))
y = np.minimum(bounded, np.float32(LIMIT))
total = np.zeros_like(x)
for c in reversed(p):
    total = total * (y * y) + c
error = np.abs(bounded * (y * total + np.float32(0.5)) - x * ndtr(x.astype(np.float64)))
print("P", ", ".join(f"{c:.9g}" for c in p))
print(f"largest absolute error {error.max():.2g}")
