"""Expected returns from history and from market equilibrium."""

from __future__ import annotations

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import (
    FloatArray,
    at,
    checked_positive,
    checked_returns,
    checked_vector,
    first_true,
    read_only,
)

# Weights that a caller printed to six digits still count as fully invested.
BUDGET_TOLERANCE = 1e-6


def historical_mean(R: FloatArray, periods_per_year: float = 252.0) -> FloatArray:
    """Arithmetic mean of the past, annualised.

    mu = periods_per_year * 1'R / T

    Args:
        R: (T, n) simple returns per period, T >= 1.
        periods_per_year: Periods in a year, > 0.

    Returns:
        (n,) annual expected returns, read-only.

    Raises:
        ProblemError: R is empty or not finite, or periods_per_year is not positive.
    """
    table = checked_returns(R, minimum_periods=1)
    return read_only(table.mean(axis=0) * checked_positive(periods_per_year, "periods_per_year"))


def market_weights(capitalisations: FloatArray) -> FloatArray:
    """Weights of the market portfolio.

    w = c / 1'c

    Args:
        capitalisations: (n,) market values in one currency, >= 0, not all zero; cash counts 0.

    Returns:
        (n,) weights >= 0 with sum 1, read-only.

    Raises:
        ProblemError: An element is negative or not finite, or all are zero.
    """
    caps = checked_vector(capitalisations, np.size(capitalisations), "market_caps")
    bad = first_true(caps < 0)
    if bad is not None:
        raise ProblemError(at("market_caps", bad), f"is {caps[bad]:g}; a market value must be at least 0")
    largest = float(caps.max(initial=0.0))
    if largest == 0.0:
        raise ProblemError("market_caps", "at least one asset must have a market value above 0")
    shares = caps / largest  # the sum of huge values cannot overflow this way
    return read_only(shares / shares.sum())


def equilibrium(Sigma: FloatArray, weights: FloatArray, risk_aversion: float) -> FloatArray:
    """The excess returns that make the market portfolio optimal.

    pi = delta Sigma w; they solve max pi'w - delta/2 w'Sigma w at the given weights.

    Args:
        Sigma: (n, n) annual covariance, symmetric PSD.
        weights: (n,) market weights, fractions, sum 1.
        risk_aversion: delta > 0; the market's excess return over its variance.

    Returns:
        (n,) annual returns in EXCESS of the risk-free rate, read-only. Adding the rate is the caller's task.

    Raises:
        ProblemError: Sizes differ, the weights do not add up to 1, or delta is not positive.

    References:
        Black & Litterman (1992), Global portfolio optimization; He & Litterman (1999).
    """
    w = checked_vector(weights, len(Sigma), "market_weights")
    if abs(w.sum() - 1.0) > BUDGET_TOLERANCE:
        raise ProblemError("market_weights", f"add up to {w.sum():.9g}; they must add up to 1")
    return read_only(checked_positive(risk_aversion, "risk_aversion") * (Sigma @ w))
