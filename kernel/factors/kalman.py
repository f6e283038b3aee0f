"""Exposures that drift as random walks, found by the Kalman filter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from kernel.estimation.arrays import FloatArray
from kernel.factors.fits import Fits, centred_series, explained_share, is_exact, sums_of_squares
from kernel.factors.window import FactorDesign

# Powers of ten among which the likeliest drift is looked for; less cannot be told from none in 10,000 periods.
_POWERS = range(-9, 1)
_POWER_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """m series and k factors in the filter's form.

    Attributes:
        X: (T, m) centred returns.
        Z: (T, k) factors over their deviations.
        W: (T, 1 + k) regressors of the start: 1 and the centred Z.
    """

    X: FloatArray
    Z: FloatArray
    W: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Filtered:
    """The panel after the filter; everything is linear in the returns.

    Attributes:
        residuals: (T, m) of the whitened returns on the whitened regressors.
        start: (1 + k, m) intercept, and exposures on the first day.
        last: (k, m) exposures on the last day.
        log_determinant: log |V| + log |W'V^-1 W|.
        errors: (1 + k, 1 + k) covariance of intercept and last exposures over the residual variance.
    """

    residuals: FloatArray
    start: FloatArray
    last: FloatArray
    log_determinant: float
    errors: FloatArray


def kalman_regressions(R: FloatArray, design: FactorDesign, drift: float | None) -> Fits:
    """Exposures on the last day, given all days up to it.

    r_t = alpha + z_t'b_t + u_t,  b_t = b_(t-1) + e_t,  var u = s^2,  var e = drift s^2 I;  z = f over its root mean
    square deviation, beta = b_T over that deviation. Nothing is known of alpha and b_1 before. All series have the same
    drift, so the same gain, and the estimates are linear in the returns. With drift 0 they are those of least squares.

    The start is exact, not a large variance: the filter runs from b_1 = 0 known on the returns and on the regressors
    (1, z_t) alike; their innovations, divided by their relative deviations, are returns and regressors of independent
    errors, and least squares on them gives alpha and b_1, whose error is added to that of the walk since.

    Args:
        R: (T, m) returns per period.
        design: The factorised window, all periods alike.
        drift: 0 to 1; None = the one with the largest restricted likelihood, multiplied over the series, each with its
            own s^2.

    Returns:
        The fits; residuals are those of the whitened regression, s^2 their sum of squares over T - k - 1.

    References:
        Kalman (1960); Rosenberg (1973), Random coefficients models: the analysis of a cross section of time series by
        stochastically convergent parameter regression; de Jong (1991), The diffuse Kalman filter, section 2; Harville
        (1977) for the restricted likelihood.
    """
    means, X = centred_series(R, design)
    total = sums_of_squares(X)
    deviations = np.linalg.norm(design.factors.F - design.means, axis=0) / math.sqrt(len(X))
    Z = design.factors.F / deviations
    panel = _Panel(X, Z, np.column_stack([np.ones(len(X)), Z - design.means / deviations]))
    used = _likeliest_drift(panel) if drift is None else drift
    found = _filtered(panel, used)
    squares = sums_of_squares(found.residuals)
    exact = is_exact(squares, total)
    found.residuals[:, exact], squares[exact] = 0.0, 0.0
    freedom = float(len(X) - design.Q.shape[1] - 1)
    scales = np.concatenate([[1.0], deviations])
    return Fits(
        alpha=means + found.start[0] - (design.means / deviations) @ found.start[1:],
        betas=(found.last / deviations[:, None]).T,
        errors=np.sqrt(np.outer(squares / freedom, found.errors.diagonal())) / scales,
        r_squared=np.maximum(explained_share(squares, total), 0.0),
        residuals=found.residuals,
        residual_variances=squares / freedom,
        degrees_of_freedom=freedom,
        divisor=freedom,
        diagnostics={"drift": used},
    )


def _filtered(panel: _Panel, drift: float) -> _Filtered:
    m, k = panel.X.shape[1], panel.Z.shape[1]
    whitened, since, P, log_variance = _whiten(np.column_stack([panel.X, panel.W]), panel.Z, drift)
    X, W = whitened[:, :m], whitened[:, m:]
    Q, upper = np.linalg.qr(W)
    coordinates = Q.T @ X
    start = linalg.solve_triangular(upper, coordinates)
    # The walk since the first day starts at the exposures of that day, which the regressors' own filter carries along.
    carried = np.eye(k, k + 1, 1) - since[:, m:]
    root = np.vstack([np.eye(1, k + 1) - np.pad(_means(panel), (1, 0)), carried]) @ linalg.solve_triangular(
        upper, np.eye(k + 1)
    )
    errors = root @ root.T
    errors[1:, 1:] += P
    determinant = log_variance + 2.0 * float(np.log(np.abs(upper.diagonal())).sum())
    return _Filtered(X - Q @ coordinates, start, since[:, :m] + carried @ start, determinant, errors)


def _means(panel: _Panel) -> FloatArray:
    return np.asarray(panel.Z[0] - panel.W[0, 1:])


def _whiten(Y: FloatArray, Z: FloatArray, drift: float) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Innovations of each column of Y over their relative deviations, from a walk that is known to start at 0.

    Returns:
        (T, c) innovations; (k, c) the walk on the last day; (k, k) its relative variance; log |V|.
    """
    T, k = Z.shape
    if drift == 0.0:
        return Y, np.zeros((k, Y.shape[1])), np.zeros((k, k)), 0.0
    # Variance and walk side by side, so that a day is one product and one update.
    state = np.zeros((k, k + Y.shape[1]))
    variance = np.einsum("ii->i", state[:, :k])
    news, scales, change = np.pad(Y, ((0, 0), (k, 0))), np.empty(T), np.empty_like(state)
    for t in range(T):
        z, new = Z[t], news[t]
        new -= z @ state
        covariance = -new[:k]
        scales[t] = 1.0 + z @ covariance
        np.multiply((covariance / scales[t])[:, None], new, out=change)
        state += change
        if t < T - 1:
            variance += drift
    whitened = news[:, k:] / np.sqrt(scales)[:, None]
    return whitened, state[:, k:], state[:, :k], float(np.log(scales).sum())


def _likeliest_drift(panel: _Panel) -> float:
    """A search over powers of ten, then between the neighbours of the best of them."""
    total = sums_of_squares(panel.X)
    moving = ~is_exact(sums_of_squares(_filtered(panel, 0.0).residuals), total)
    if not moving.any():
        return 0.0
    kept = _Panel(panel.X[:, moving], panel.Z, panel.W)
    losses = [_loss(kept, 10.0**power) for power in _POWERS]
    best = _POWERS[int(np.argmin(losses))]
    bounds = (max(best - 1, _POWERS[0]), min(best + 1, _POWERS[-1]))
    found = optimize.minimize_scalar(
        lambda power: _loss(kept, 10.0**power), bounds=bounds, method="bounded", options={"xatol": _POWER_TOLERANCE}
    )
    candidates = [(_loss(kept, 0.0), 0.0), (min(losses), 10.0**best), (float(found.fun), 10.0 ** float(found.x))]
    return float(min(candidates)[1])


def _loss(panel: _Panel, drift: float) -> float:
    """-2 log of the restricted likelihood, its mean over the series, up to a constant."""
    found = _filtered(panel, drift)
    freedom = len(panel.X) - panel.W.shape[1]
    return float(freedom * np.log(sums_of_squares(found.residuals)).mean() + found.log_determinant)
