"""Robust regressions: M-estimation that lets large residuals count less."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from kernel.errors import ProblemError
from kernel.estimation.arrays import BoolArray, FloatArray
from kernel.factors.fits import Fits, centred_series, explained_share, is_exact, sums_of_squares
from kernel.factors.standard_errors import bartlett_sums
from kernel.factors.window import FactorDesign

# Median of |u| for a standard normal u.
_NORMAL_MEDIAN = float(ndtri(0.75))
# Of the root mean square residual of least squares: the smallest scale, for a series that stands still on most days.
_SMALLEST_SCALE = 1e-3
# A step that moves the fit by less than this fraction of the residual's norm ends the search.
_STEP = 1e-12
# And so does one below the rounding of the series itself.
_ROUNDING = 1e-15
_MOST_STEPS = 5000
# Steps after which the inner products hardly change, and are renewed only so often.
_FIRST_STEPS, _RENEWAL = 5, 10
# Series in one block: its tables stay in the cache.
_BLOCK = 64
# A table of inner products with a larger condition number has lost a direction.
_SINGULAR = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class _Solution:
    """Coefficients G of m series in an orthonormal basis E, and the residuals they leave.

    Attributes:
        G: (p, m).
        residuals: (T, m) u = X - E G.
        scales: (m,) s.
        unsettled: Number of series that still moved after the last step.
    """

    G: FloatArray
    residuals: FloatArray
    scales: FloatArray
    unsettled: int


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Fits of some of the series.

    Attributes:
        centres: (m,) of the centred returns, at the factors' means.
        betas: (m, k).
        residuals: (T, m).
        errors: (m, 1 + k).
        unsettled: Number of series that still moved after the last step.
        outliers: Number of residuals beyond the threshold.
    """

    centres: FloatArray
    betas: FloatArray
    residuals: FloatArray
    errors: FloatArray
    unsettled: int
    outliers: int


def huber_regressions(R: FloatArray, design: FactorDesign, threshold: float, lags: int | None) -> Fits:
    """Regressions by Huber's M-estimator with a scale found along with it.

    sum_t psi(u_t / s) x_t = 0,  psi(v) = max(-c, min(c, v)),  s = median |u| / 0.6745, x_t = (1, f_t). Residual
    variance and R2 are those of all residuals, large ones too: what is discounted in the exposures still is risk.

    Args:
        R: (T, m) returns per period.
        design: The factorised window, all periods alike.
        threshold: c > 0.
        lags: Of the standard errors for residuals that depend on each other; None = errors for those that do not.

    Returns:
        The fits. Estimates are not linear in the returns.

    Raises:
        ProblemError: Half of the periods or more can be fitted exactly, so that their median has no scale.

    References:
        Huber (1964), Robust estimation of a location parameter; Huber & Ronchetti (2009), Robust statistics, sections
        7.6 (errors, equation 7.81) and 7.8 (iteration); Croux, Dhaene & Hoorelbeke (2003), Robust standard errors for
        robust estimators, section 2.
    """
    periods, k = design.Q.shape
    if periods <= 2 * (k + 1):
        needed = f"{k} factors and an intercept need at least {2 * k + 3} periods for huber, got {periods}"
        raise ProblemError("factors", f"{needed}; with fewer they fit half of them exactly")
    means, X = centred_series(R, design)
    blocks = [_fit(X[:, first : first + _BLOCK], design, threshold, lags) for first in range(0, X.shape[1], _BLOCK)]
    betas = np.concatenate([block.betas for block in blocks])
    residuals = np.concatenate([block.residuals for block in blocks], axis=1)
    squares = sums_of_squares(residuals)
    freedom = float(periods - k - 1)
    return Fits(
        alpha=means + np.concatenate([block.centres for block in blocks]) - betas @ design.means,
        betas=betas,
        errors=np.concatenate([block.errors for block in blocks]),
        r_squared=explained_share(squares, sums_of_squares(X)),
        residuals=residuals,
        residual_variances=squares / freedom,
        degrees_of_freedom=freedom,
        divisor=freedom,
        diagnostics={
            "not_converged": float(sum(block.unsettled for block in blocks)),
            "downweighted_share": sum(block.outliers for block in blocks) / X.size,
        },
    )


def _fit(X: FloatArray, design: FactorDesign, threshold: float, lags: int | None) -> _Block:
    """The fits of some series; exact ones by least squares."""
    T, m = X.shape
    E = np.column_stack([np.full(T, 1.0 / math.sqrt(T)), design.Q])
    G = E.T @ X
    residuals = X - E @ G
    moving = ~is_exact(sums_of_squares(residuals), sums_of_squares(X))
    residuals[:, ~moving] = 0.0
    errors = np.zeros((m, E.shape[1]))
    unsettled = outliers = 0
    if moving.any():
        found = _iterate(X[:, moving], E, G[:, moving], threshold)
        G[:, moving], residuals[:, moving], unsettled = found.G, found.residuals, found.unsettled
        errors[moving] = _errors(found, E, _to_coefficients(design), threshold, lags)
        outliers = int(np.sum(np.abs(found.residuals) > threshold * found.scales))
    return _Block(G[0] / math.sqrt(T), (design.R_inverse @ G[1:]).T, residuals, errors, unsettled, outliers)


def _iterate(X: FloatArray, E: FloatArray, start: FloatArray, threshold: float) -> _Solution:
    """Iteratively reweighted least squares in an orthonormal basis, where inner products lose no digits.

    The weights of every step make its right side, so that the end does not depend on how old the inner products are.
    """
    G = start.copy()
    residuals = X - E @ G
    floor = _SMALLEST_SCALE * np.sqrt(sums_of_squares(residuals) / len(X))
    sizes = np.sqrt(sums_of_squares(X))
    active = np.arange(X.shape[1])
    table = np.empty((len(active), E.shape[1], E.shape[1]))
    for steps in range(_MOST_STEPS):
        u = residuals[:, active]
        weights = _weights(u, _scales(u, floor[active]), threshold)
        if steps < _FIRST_STEPS or steps % _RENEWAL == 0:
            table[active] = _inner_products(E, weights)
        step = np.linalg.solve(table[active], (E.T @ (weights * u)).T[:, :, None])[:, :, 0].T
        G[:, active] += step
        residuals[:, active] = X[:, active] - E @ G[:, active]
        near = _STEP * np.linalg.norm(residuals[:, active], axis=0) + _ROUNDING * sizes[active]
        active = active[np.linalg.norm(step, axis=0) > near]
        if not active.size:
            break
    return _Solution(G, residuals, _scales(residuals, floor), active.size)


def _scales(residuals: FloatArray, floor: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(np.median(np.abs(residuals), axis=0) / _NORMAL_MEDIAN, floor))


def _weights(residuals: FloatArray, scales: FloatArray, threshold: float) -> FloatArray:
    """(T, m) psi(u / s) / (u / s)."""
    limits = threshold * scales
    return np.asarray(limits / np.maximum(np.abs(residuals), limits))


def _inner_products(E: FloatArray, weights: FloatArray) -> FloatArray:
    """(m, p, p) E' diag(w_j) E for every series at once."""
    rows, columns = np.triu_indices(E.shape[1])
    products = weights.T @ (E[:, rows] * E[:, columns])
    table = np.empty((weights.shape[1], E.shape[1], E.shape[1]))
    table[:, rows, columns] = products
    table[:, columns, rows] = products
    return table


def _to_coefficients(design: FactorDesign) -> FloatArray:
    """(1 + k, 1 + k) from coordinates in E to alpha and betas."""
    k = design.Q.shape[1]
    C = np.zeros((k + 1, k + 1))
    C[1:, 1:] = design.R_inverse
    C[0, 0], C[0, 1:] = 1.0 / math.sqrt(len(design.Q)), -design.means @ design.R_inverse
    return C


def _errors(found: _Solution, E: FloatArray, C: FloatArray, threshold: float, lags: int | None) -> FloatArray:
    """(m, p) standard errors of alpha and betas."""
    limits = threshold * found.scales
    scores = np.clip(found.residuals, -limits, limits)
    inliers = np.abs(found.residuals) <= limits
    if lags is None:
        return _classical(scores, inliers, C)
    return _robust(scores, _curvature(E, inliers, found, threshold), E, C, lags)


def _classical(scores: FloatArray, inliers: BoolArray, C: FloatArray) -> FloatArray:
    """se^2 = K^2 [sum psi^2 s^2 / (T - p)] / mean(psi')^2 (X'X)^-1,  K = 1 + p/T var(psi') / mean(psi')^2."""
    T, p = len(scores), len(C)
    share = np.maximum(inliers.mean(axis=0), 1.0 / T)
    correction = 1.0 + p / T * (1.0 - share) / share
    deviations = correction * np.sqrt(sums_of_squares(scores) / (T - p)) / share
    return np.outer(deviations, np.sqrt(np.square(C).sum(axis=1)))


def _curvature(E: FloatArray, inliers: BoolArray, found: _Solution, threshold: float) -> FloatArray:
    """(m, p, p) sum of psi' e e'; where too few residuals are small to span the factors, psi' gives way to psi / v."""
    table = _inner_products(E, inliers.astype(np.float64))
    lost = ~(np.linalg.cond(table) < _SINGULAR)
    if lost.any():
        table[lost] = _inner_products(E, _weights(found.residuals[:, lost], found.scales[lost], threshold))
    return table


def _robust(scores: FloatArray, curvature: FloatArray, E: FloatArray, C: FloatArray, lags: int) -> FloatArray:
    """Sandwich of the scores' long-run variance, with weights of Bartlett and the correction T / (T - p)."""
    T, p = len(scores), len(C)
    directions = np.linalg.solve(curvature, np.broadcast_to(C.T, curvature.shape))
    columns = [bartlett_sums(E @ directions[:, :, i].T * scores, lags) for i in range(p)]
    return np.asarray(np.sqrt(np.column_stack(columns) * (T / (T - p))))
