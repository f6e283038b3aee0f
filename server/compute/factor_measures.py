"""Exposures of a portfolio and its benchmark under a factor model, and how well they are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.factors.regression import TimeSeriesSettings, regress
from kernel.factors.window import FactorHistory
from server.compute.factor_models import time_series_settings
from server.compute.inputs import PERIODS_PER_YEAR, FactorModelInputs, Floats
from server.errors import NotReady
from server.factor_specs import TimeSeriesSpec

_NEWEY_WEST = "newey_west"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Returns that an analysis measures, on days of the model.

    Attributes:
        rows: (T,) places of the days among the model's.
        portfolio: (T,) of the weights of today.
        invested: Sum of the weights, without cash.
        benchmark: (T,) of the benchmark; None without one.
        benchmark_invested: The same of the benchmark.
    """

    rows: np.ndarray
    portfolio: Floats
    invested: float
    benchmark: Floats | None = None
    benchmark_invested: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Exposures, and how well the model fits.

    Attributes:
        portfolio: (k,) B'w.
        benchmark: (k,) by its weights or by regression; None without one.
        errors: (k,) standard errors of the portfolio's; None where exposures are given.
        benchmark_errors, active_errors: The same of the benchmark and of the difference.
        r_squared: Share of the variance of the portfolio's return that the factors explain, 0 to 1.
        specific_volatility: Of what they leave, annual.
        method: Of the standard errors, ``newey_west`` or ``classical``; empty where there are none.
        lags: Of Newey and West.
    """

    portfolio: Floats
    benchmark: Floats | None
    errors: Floats | None
    benchmark_errors: Floats | None
    active_errors: Floats | None
    r_squared: float
    specific_volatility: float
    method: str = ""
    lags: int = 0


def measure(
    model: FactorModelInputs, series: Series, x: Floats, b: Floats | None, estimator: TimeSeriesSpec | None
) -> Measured:
    """Exposures with the standard errors that the model's own estimator gives for the series.

    Every estimator but Huber's is linear in the returns, so that the series has the exposures B'w as well; Huber's
    weighs the days of each series by itself, so that its standard errors are those of a slightly different fit.

    Args:
        model: The model.
        series: Returns on its days.
        x: (k,) B'w of the portfolio.
        b: (k,) B'v of the benchmark; None = by regression on its series, if there is one.
        estimator: Of the model; None for models of other kinds.

    Raises:
        NotReady: There are too few days for standard errors.
        ProblemError: A factor is constant or a combination of others on these days.
    """
    F = model.F[series.rows]
    columns = _excess(model, series)
    if model.standard_errors is None:
        residual = columns[:, 0] - F @ x
        return Measured(x, b, None, None, None, _explained(columns[:, 0], residual), _annual(residual))
    needed = F.shape[1] + 2
    if len(F) < needed:
        raise NotReady(f"portfolio and factors have {len(F)} days in common, {needed} are needed")
    settings = TimeSeriesSettings() if estimator is None else time_series_settings(estimator)
    fit = regress(columns, FactorHistory(model.model.factors, F), settings)
    compared = series.benchmark is not None
    return Measured(
        portfolio=x,
        benchmark=fit.betas[1] if compared and b is None else b,
        errors=fit.standard_errors[0],
        benchmark_errors=fit.standard_errors[1] if compared else None,
        active_errors=fit.standard_errors[2] if compared else None,
        r_squared=float(np.clip(fit.r_squared[0], 0.0, 1.0)),
        specific_volatility=float(np.sqrt(PERIODS_PER_YEAR * fit.residual_variances[0])),
        method=_method(settings),
        lags=fit.lags if _method(settings) == _NEWEY_WEST else 0,
    )


def _excess(model: FactorModelInputs, series: Series) -> Floats:
    """(T, 1 or 3) returns that the factors have to explain: of the portfolio, the benchmark and the difference."""
    riskless = np.zeros(len(series.rows)) if model.risk_free is None else model.risk_free[series.rows]
    portfolio = series.portfolio - series.invested * riskless
    if series.benchmark is None:
        return portfolio[:, None]
    benchmark = series.benchmark - series.benchmark_invested * riskless
    return np.column_stack([portfolio, benchmark, portfolio - benchmark])


def _method(settings: TimeSeriesSettings) -> str:
    """The errors of the Kalman filter rest on independent residuals of one variance."""
    return "classical" if settings.estimator == "kalman" else settings.standard_errors


def _explained(returns: Floats, residual: Floats) -> float:
    total, left = float(np.var(returns)), float(np.var(residual))
    return min(max(1.0 - left / total, 0.0), 1.0) if total > 0.0 else 0.0


def _annual(residual: Floats) -> float:
    return float(np.sqrt(PERIODS_PER_YEAR) * np.std(residual, ddof=1)) if len(residual) > 1 else 0.0
