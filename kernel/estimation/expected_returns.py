"""Expected returns from history, from exposure to the market, and from market equilibrium."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import (
    LARGEST_RETURN,
    FloatArray,
    at,
    centred,
    checked_finite,
    checked_positive,
    checked_returns,
    checked_vector,
    decay_weights,
    first_true,
    read_only,
)

# Weights that a caller printed to six digits still count as fully invested.
BUDGET_TOLERANCE = 1e-6
# A market that moves less than this fraction of its size is constant up to rounding.
_CONSTANT_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class MarketReturns:
    """Expected returns by the capital asset pricing model; arrays are read-only.

    Attributes:
        mu: (n,) annual expected returns, the risk-free rate included.
        betas: (n,) exposures to the market.
        premium: The market's expected annual return in excess of the risk-free rate.
    """

    mu: FloatArray
    betas: FloatArray
    premium: float


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


def exponentially_weighted_mean(R: FloatArray, half_life: float, periods_per_year: float = 252.0) -> FloatArray:
    """Mean of the past whose memory halves with every half-life, annualised.

    mu = periods_per_year * sum_t w_t r_t,  w_t proportional to 2^(-(T - t) / half_life), sum 1

    Args:
        R: (T, n) simple returns per period, the oldest first, T >= 1.
        half_life: Periods after which a return counts half, at least 0.1.
        periods_per_year: Periods in a year, > 0.

    Returns:
        (n,) annual expected returns, read-only.

    Raises:
        ProblemError: R is empty or not finite, half_life is too small, or periods_per_year is not positive.
    """
    table = checked_returns(R, minimum_periods=1)
    weights = decay_weights(len(table), half_life)
    return read_only((weights @ table) * checked_positive(periods_per_year, "periods_per_year"))


def market_series(R: FloatArray, weights: FloatArray) -> FloatArray:
    """Returns of the market from those of its parts, rebalanced to its weights every period.

    m_t = r_t'w

    Args:
        R: (T, n) simple returns per period.
        weights: (n,) market weights, fractions, sum 1.

    Returns:
        (T,) simple returns per period.

    Raises:
        ProblemError: R is empty or not finite, sizes differ, or the weights do not add up to 1.
    """
    table = checked_returns(R, minimum_periods=1)
    return np.asarray(table @ _fully_invested(weights, table.shape[1]), dtype=np.float64)


def capm(
    R: FloatArray,
    market: FloatArray,
    periods_per_year: float = 252.0,
    *,
    risk_free_rate: float = 0.0,
    premium: float | None = None,
) -> MarketReturns:
    """The capital asset pricing model: pay for exposure to the market alone.

    mu_i = r_f + beta_i premium,  beta_i = cov(r_i, m) / var(m),
    premium = periods_per_year * mean m - r_f unless given.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        market: (T,) the market's simple returns on the same dates; of market weights see market_series.
        periods_per_year: Periods in a year, > 0.
        risk_free_rate: r_f, annual.
        premium: The market's expected annual return in excess of r_f; from its past by default.

    Returns:
        The expected returns with the betas and the premium they come from. A premium below 0 is used as it is.

    Raises:
        ProblemError: R has fewer than two periods, the market does not fit it or never moves, or a number is not
            finite.

    References:
        Sharpe (1964), Capital asset prices: a theory of market equilibrium under conditions of risk.
    """
    X = centred(R)
    m = _checked_market(market, len(X))
    excess = m - m.mean()
    variation = float(excess @ excess)
    if variation <= _CONSTANT_TOLERANCE**2 * float(m @ m):
        raise ProblemError("market_returns", "never move, so that no asset has an exposure to them")
    rate = checked_finite(risk_free_rate, "risk_free_rate")
    annual = checked_positive(periods_per_year, "periods_per_year")
    pay = annual * float(m.mean()) - rate if premium is None else checked_finite(premium, "market_premium")
    betas = (excess @ X) / variation
    return MarketReturns(read_only(rate + betas * pay), read_only(betas), pay)


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
    w = _fully_invested(weights, len(Sigma))
    return read_only(checked_positive(risk_aversion, "risk_aversion") * (Sigma @ w))


def _fully_invested(weights: FloatArray, n: int) -> FloatArray:
    w = checked_vector(weights, n, "market_weights")
    if abs(w.sum() - 1.0) > BUDGET_TOLERANCE:
        raise ProblemError("market_weights", f"add up to {w.sum():.9g}; they must add up to 1")
    return w


def _checked_market(market: FloatArray, T: int) -> FloatArray:
    m = np.asarray(market, dtype=np.float64)
    if m.shape != (T,):
        raise ProblemError("market_returns", f"must be one for each of the {T} periods; the shape is {m.shape}")
    bad = first_true(~(np.abs(m) <= LARGEST_RETURN))
    if bad is not None:
        raise ProblemError(at("market_returns", bad), f"is {m[bad]:g}; it must be finite and within {LARGEST_RETURN:g}")
    return m
