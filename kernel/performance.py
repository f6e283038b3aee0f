"""What a weight vector promises and what it would have done: return, risk, ratios, tails and risk contributions.

Conventions: ``mu`` (n) and ``Sigma`` (n, n) are annual, ``R`` (T, n) holds simple returns per period, losses and
drawdowns are positive numbers, and a ratio whose denominator vanishes is ``None``, never infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernel.errors import ProblemError
from kernel.problem import Moments
from kernel.quadratic import Quadratic

FloatArray = NDArray[np.float64]

# An annual deviation below this is rounding noise of a riskless portfolio; a ratio over it would be meaningless.
_VANISHING_DEVIATION = 1e-12
# Lifts products such as 0.57 * 100 = 56.99999999999999 back to the integer they stand for.
_COUNT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the portfolio is compared with; exactly one of the two is given.

    Attributes:
        returns: (T,) simple returns per period, on the dates of the history: the comparison is ex post.
        weights: (n,) weights on the portfolio's own assets: the comparison is ex ante, by the moments.
    """

    returns: FloatArray | None = None
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.returns is None) == (self.weights is None):
            raise ProblemError("benchmark", "give either its returns or its weights, and only one of them")


@dataclass(frozen=True, slots=True)
class PerformanceSettings:
    """The conventions of a report.

    Attributes:
        risk_free_rate: Per year, as a fraction.
        confidence_level: Of the tail measures, strictly between 0 and 1.
        periods_per_year: Periods of the history in a year.
        target_return: Per period, the return below which a period counts as downside; None takes
            ``risk_free_rate / periods_per_year``.
    """

    risk_free_rate: float = 0.0
    confidence_level: float = 0.95
    periods_per_year: int = 252
    target_return: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.confidence_level < 1.0:
            raise ProblemError("confidence_level", f"must lie strictly between 0 and 1, got {self.confidence_level}")
        if self.periods_per_year < 1:
            raise ProblemError("periods_per_year", f"must be at least 1, got {self.periods_per_year}")

    @property
    def target_per_period(self) -> float:
        """The downside target per period."""
        return self.risk_free_rate / self.periods_per_year if self.target_return is None else self.target_return


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """One portfolio, measured.

    Attributes:
        expected_return: w'mu, per year.
        volatility: sqrt(w'Sigma w), per year; the exact sum of ``risk_contributions``.
        sharpe_ratio: (w'mu - risk free) / volatility, or None for a riskless portfolio.
        sortino_ratio: (w'mu - annual target) / annual downside deviation, or None without downside.
        maximum_drawdown: Of the constant-mix path, in [0, 1].
        value_at_risk: Loss per period at the confidence level (negative if even that quantile is a gain).
        conditional_value_at_risk: Mean loss per period of the tail, never below ``value_at_risk``.
        confidence_level: Of the two tail measures.
        tracking_error: Annual deviation from the benchmark, or None without one.
        information_ratio: Annual active return / tracking error, or None where undefined.
        effective_number_of_assets: 1 / sum w^2, or None for the empty portfolio.
        risk_contributions: (n,) Euler contributions to the volatility, per year.
    """

    expected_return: float
    volatility: float
    sharpe_ratio: float | None
    sortino_ratio: float | None
    maximum_drawdown: float
    value_at_risk: float
    conditional_value_at_risk: float
    confidence_level: float
    tracking_error: float | None
    information_ratio: float | None
    effective_number_of_assets: float | None
    risk_contributions: FloatArray


def portfolio_returns(R: FloatArray, w: FloatArray) -> FloatArray:
    """Returns per period of the mix ``w`` rebalanced every period.

        r = R w

    Args:
        R: (T, n) simple returns per period.
        w: (n,) weights.

    Returns:
        (T,) simple returns per period.
    """
    return np.asarray(R @ w, dtype=np.float64)


def risk_contributions(w: FloatArray, covariance: FloatArray | Quadratic) -> FloatArray:
    """Euler contributions to the volatility.

        c_i = w_i (Sigma w)_i / sqrt(w'Sigma w),  sum_i c_i = sqrt(w'Sigma w)

    Args:
        w: (n,) weights.
        covariance: (n, n) Sigma per year, symmetric PSD, as a matrix or as factors.

    Returns:
        (n,) contributions per year; all zero for a riskless portfolio.

    References:
        Litterman (1996), "Hot spots and hedges"; Tasche (1999), Euler allocation.
    """
    marginal = covariance.times(w) if isinstance(covariance, Quadratic) else covariance @ w
    products = np.asarray(w * marginal, dtype=np.float64)
    variance = math.fsum(products)
    if variance <= _VANISHING_DEVIATION**2:
        return np.zeros_like(products)
    return products / math.sqrt(variance)


def downside_deviation(returns: FloatArray, target: float, periods_per_year: int) -> float:
    """Annual downside deviation.

        sqrt(periods) * sqrt(1/T sum_t min(r_t - target, 0)^2)

    Args:
        returns: (T,) simple returns per period, T >= 1.
        target: Per period.
        periods_per_year: Periods in a year.

    Returns:
        Per year, >= 0.

    References:
        Sortino & van der Meer (1991): the mean runs over all T periods, not over the losing ones.
    """
    shortfall = np.minimum(returns - target, 0.0)
    return math.sqrt(periods_per_year * float(np.mean(shortfall**2)))


def maximum_drawdown(returns: FloatArray) -> float:
    """Largest fall from a peak of the compounded path.

        max_t 1 - W_t / max_{s <= t} W_s,  W_0 = 1

    Args:
        returns: (T,) simple returns per period. A return of -1 or less ruins the path for good.

    Returns:
        A fraction in [0, 1].
    """
    wealth = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + returns, 0.0))))
    return float(np.max(1.0 - wealth / np.maximum.accumulate(wealth)))


def value_at_risk(returns: FloatArray, confidence_level: float) -> float:
    """Historical value at risk: the smallest loss x with F(x) >= confidence.

        L_(ceil(confidence T)), L = -r sorted

    Args:
        returns: (T,) simple returns per period, T >= 1.
        confidence_level: Strictly between 0 and 1.

    Returns:
        The loss per period.
    """
    rank = max(1, math.ceil(confidence_level * returns.size - _COUNT_TOLERANCE))
    return float(np.partition(-returns, rank - 1)[rank - 1])


def conditional_value_at_risk(returns: FloatArray, confidence_level: float) -> float:
    """Historical expected shortfall.

        VaR + sum_t max(-r_t - VaR, 0) / ((1 - confidence) T)

    Exact when (1 - confidence) T is no whole number: the loss at the quantile then counts with the missing fraction.

    Args:
        returns: (T,) simple returns per period, T >= 1.
        confidence_level: Strictly between 0 and 1.

    Returns:
        The mean loss per period of the worst (1 - confidence) of the distribution.

    References:
        Rockafellar & Uryasev (2002), theorem 10 and proposition 8.
    """
    threshold = value_at_risk(returns, confidence_level)
    excess = float(np.sum(np.maximum(-returns - threshold, 0.0)))
    return threshold + excess / ((1.0 - confidence_level) * returns.size)


def effective_number_of_assets(w: FloatArray) -> float | None:
    """Inverse Herfindahl index.

        1 / sum_i w_i^2

    Args:
        w: (n,) weights.

    Returns:
        Between 1 and n for long-only weights of sum 1; None when all weights are zero.
    """
    concentration = float(w @ w)
    return 1.0 / concentration if concentration > 0.0 else None


def measure(
    weights: FloatArray,
    moments: Moments,
    history: FloatArray,
    benchmark: Benchmark | None = None,
    settings: PerformanceSettings | None = None,
) -> PerformanceReport:
    """Measures a portfolio with annual moments (return, risk, ratios) and with its history (tails, drawdown).

    Args:
        weights: (n,) fractions of total value, cash included as an asset where held.
        moments: Annual moments of the same n assets.
        history: (T, n) simple returns per period, T >= 2.
        benchmark: The comparison, if any.
        settings: Conventions; the defaults of PerformanceSettings if None.

    Returns:
        The report; no field is infinite or NaN.

    Raises:
        ProblemError: A shape does not fit, or a number is not finite.
    """
    settings = settings or PerformanceSettings()
    _check_inputs(weights, moments, history, benchmark)
    returns = portfolio_returns(history, weights)
    contributions = risk_contributions(weights, moments.quadratic)
    expected, volatility = float(weights @ moments.mu), math.fsum(contributions)
    target, periods = settings.target_per_period, settings.periods_per_year
    tracking_error, information_ratio = _compare(weights, moments, returns, benchmark, periods)
    return PerformanceReport(
        expected_return=expected,
        volatility=volatility,
        sharpe_ratio=_ratio(expected - settings.risk_free_rate, volatility),
        sortino_ratio=_ratio(expected - target * periods, downside_deviation(returns, target, periods)),
        maximum_drawdown=maximum_drawdown(returns),
        value_at_risk=value_at_risk(returns, settings.confidence_level),
        conditional_value_at_risk=conditional_value_at_risk(returns, settings.confidence_level),
        confidence_level=settings.confidence_level,
        tracking_error=tracking_error,
        information_ratio=information_ratio,
        effective_number_of_assets=effective_number_of_assets(weights),
        risk_contributions=contributions,
    )


def _ratio(reward: float, deviation: float) -> float | None:
    return reward / deviation if deviation > _VANISHING_DEVIATION else None


def _compare(
    w: FloatArray, moments: Moments, returns: FloatArray, benchmark: Benchmark | None, periods: int
) -> tuple[float | None, float | None]:
    """Tracking error and information ratio, ex post for a benchmark series, ex ante for benchmark weights."""
    if benchmark is None:
        return None, None
    if benchmark.returns is not None:
        active = returns - benchmark.returns
        error = math.sqrt(periods) * float(np.std(active, ddof=1))
        return error, _ratio(periods * float(np.mean(active)), error)
    bets = w - np.asarray(benchmark.weights, dtype=np.float64)
    error = math.fsum(risk_contributions(bets, moments.quadratic))
    return error, _ratio(float(bets @ moments.mu), error)


def _check_inputs(w: FloatArray, moments: Moments, history: FloatArray, benchmark: Benchmark | None) -> None:
    n = w.shape[0]
    periods = history.shape[0]
    if periods < 2:
        raise ProblemError("history", f"needs at least 2 periods, has {periods}")
    _check_array("weights", w, (n,))
    if moments.n != n:
        raise ProblemError("moments", f"are of {moments.n} assets, the weights of {n}")
    _check_array("history", history, (periods, n))
    if benchmark is not None and benchmark.returns is not None:
        _check_array("benchmark.returns", benchmark.returns, (periods,))
    if benchmark is not None and benchmark.weights is not None:
        _check_array("benchmark.weights", benchmark.weights, (n,))


def _check_array(field: str, values: FloatArray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ProblemError(field, f"has shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        raise ProblemError(field, "contains a number that is not finite")
