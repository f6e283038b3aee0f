"""Statistical factor models: the principal components of the returns themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, centred, read_only
from kernel.factors.factor_count import Spectrum, count_factors, explained
from kernel.factors.factor_moments import factor_covariance_of
from kernel.factors.model import EstimatedModel, FactorModel, RiskSettings
from kernel.factors.regression import TimeSeriesSettings, regress
from kernel.factors.specific_risk import specific_risk
from kernel.factors.window import FactorHistory

# Of the largest singular value, per row and column: what rounding leaves of one that is zero.
_ROUNDING = float(np.finfo(np.float64).eps)
# Exposures whose sum is smaller than this part of their absolute sum have no sign by it.
_NO_SIGN = 1e-9
# A residual below this fraction of an asset's returns is the rounding of an exact fit, and no risk.
_EXACT_FIT = 1e-12


@dataclass(frozen=True, slots=True)
class StatisticalSettings:
    """How many components, and of what.

    Attributes:
        count_rule: ``bai_ng``, ``fixed``, ``eigenvalue_ratio``, ``marchenko_pastur`` or ``explained_share``.
        factor_count: For ``fixed`` the number, otherwise the largest number; at least 1.
        explained_share: For ``explained_share``, above 0 and below 1.
        standardize: Whether returns are divided by their standard deviations first.
    """

    count_rule: str = "bai_ng"
    factor_count: int = 20
    explained_share: float = 0.5
    standardize: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """Centred returns, divided by `scale`, and their singular values and right vectors.

    Attributes:
        X: (T, n) centred returns.
        scale: (n,) 1, or the standard deviations.
        V: (n, min(n, T)) right singular vectors of X / scale.
        spectrum: Its eigenvalues.
    """

    X: FloatArray
    scale: FloatArray
    V: FloatArray
    spectrum: Spectrum


def statistical_model(
    names: Sequence[str], R: FloatArray, settings: StatisticalSettings, risk: RiskSettings
) -> EstimatedModel:
    """Principal components as factors.

    X / s = U S V', X the centred returns, s = 1 or their standard deviations. Component k has the exposures
    B_k = s sqrt(n) V_k / c_k and is the portfolio W_k = c_k sqrt(n) V_k / (n s), with c_k such that B_k has mean square
    1; for s = 1 c_k is 1, B'B = n I and W = B / n. Its return is f_t = W'r_t, which keeps the mean; B are the slopes of
    the returns on f. Components come by falling S; each has the sign that makes the sum of its exposures positive, or
    the largest of them where the sum vanishes. The residuals of all assets have (T - 1 - k)(n - k) degrees of freedom,
    so each is given (T - 1 - k)(1 - k / n). Standard errors are Newey and West's and take the components as given.

    Args:
        names: n assets.
        R: (T, n) simple returns per period, the oldest first, T >= 3.
        settings: Number of components.
        risk: How Phi and the specific variances are made.

    Returns:
        The model; its factors are ``statistical_1``, ``statistical_2``, ... In the diagnostics: explained_share,
        degrees_of_freedom, lags of the standard errors, and smallest_gap, the least distance of a component's variance
        to the next one's, relative to it; where that is nearly 0 the two cannot be told apart.

    Raises:
        ProblemError: A number that is not finite, a number of factors that the returns do not have, or no factor found.

    References:
        Bai & Ng (2002), section 3; Connor & Korajczyk (1986), Performance measurement with the arbitrage pricing
        theory; Jolliffe (2002), Principal component analysis, section 2.3.
    """
    panel = _panel(names, centred(R), settings)
    k = _count(panel, settings)
    B, W = _components(names, panel, k)
    F = R @ W
    T, n = panel.X.shape
    residuals = panel.X - (panel.X @ W) @ B.T
    unexplained, total = np.linalg.norm(residuals, axis=0), np.linalg.norm(panel.X, axis=0)
    residuals[:, unexplained <= _EXACT_FIT * total] = 0.0
    freedom = (T - 1 - k) * (1.0 - k / n)
    specific = specific_risk(residuals, freedom, risk)
    factors = tuple(f"statistical_{i + 1}" for i in range(k))
    slopes = regress(R, FactorHistory(factors, F), TimeSeriesSettings())
    return EstimatedModel(
        model=FactorModel(factors, tuple(names), B, factor_covariance_of(F, risk), specific.variances),
        F=read_only(F),
        alpha=read_only(risk.periods_per_year * (R.mean(axis=0) - B @ F.mean(axis=0))),
        standard_errors=slopes.standard_errors,
        r_squared=read_only(1.0 - np.square(np.divide(unexplained, total, out=np.ones(n), where=total > 0.0))),
        unshrunk=specific.unshrunk,
        shrinkage=specific.shrinkage,
        # Components are uncorrelated by construction.
        condition_number=1.0,
        variance_inflation=read_only(np.ones(k)),
        diagnostics={**_diagnostics(panel.spectrum, k, freedom), "lags": slopes.diagnostics["lags"]},
    )


def _panel(names: Sequence[str], X: FloatArray, settings: StatisticalSettings) -> _Panel:
    deviations = np.sqrt(np.mean(np.square(X), axis=0))
    if not deviations.any():
        raise ProblemError("returns", "no instrument moves over the window, so that they have no component")
    if settings.standardize and not deviations.all():
        still = [name for name, deviation in zip(names, deviations, strict=True) if deviation == 0.0]
        raise ProblemError("statistical.standardize", f"the returns of {', '.join(still)} are constant over the window")
    scale = deviations if settings.standardize else np.ones(X.shape[1])
    _, S, Vt = np.linalg.svd(X / scale, full_matrices=False)
    return _Panel(X, scale, Vt.T, _spectrum(S, X.shape))


def _spectrum(S: FloatArray, shape: tuple[int, ...]) -> Spectrum:
    T, n = shape
    squares = np.where(max(T, n) * _ROUNDING * S[0] < S, np.square(S), 0.0)
    return Spectrum(squares / (n * T), n, T)


def _count(panel: _Panel, settings: StatisticalSettings) -> int:
    spectrum = panel.spectrum
    if settings.count_rule == "marchenko_pastur" and not settings.standardize:
        moving = panel.X[:, panel.X.any(axis=0)]
        correlated = np.linalg.svd(moving / np.sqrt(np.mean(np.square(moving), axis=0)), compute_uv=False)
        spectrum = _spectrum(correlated, moving.shape)
    return count_factors(spectrum, settings.count_rule, settings.factor_count, settings.explained_share)


def _components(names: Sequence[str], panel: _Panel, k: int) -> tuple[FloatArray, FloatArray]:
    """Exposures (n, k) and portfolios (n, k) of the first k components."""
    B = panel.V[:, :k] * panel.scale[:, None]
    norms = np.sqrt(np.mean(np.square(B), axis=0))
    signs = np.array([_sign(names, column) for column in B.T])
    return B * (signs / norms), panel.V[:, :k] * (signs * norms) / panel.scale[:, None]


def _sign(names: Sequence[str], exposures: FloatArray) -> float:
    total, sizes = float(exposures.sum()), np.abs(exposures)
    if abs(total) > _NO_SIGN * float(sizes.sum()):
        return 1.0 if total > 0.0 else -1.0
    largest = np.flatnonzero(sizes >= (1.0 - _NO_SIGN) * sizes.max())
    first = min(largest, key=lambda i: names[int(i)])
    return 1.0 if exposures[first] > 0.0 else -1.0


def _diagnostics(spectrum: Spectrum, k: int, freedom: float) -> dict[str, float]:
    values = np.append(spectrum.eigenvalues, 0.0)[: k + 1]
    return {
        "explained_share": float(explained(spectrum)[k - 1]),
        "degrees_of_freedom": freedom,
        "smallest_gap": float(np.min(1.0 - values[1:] / values[:-1])),
    }
