"""Attribution of past returns to factors, risk-free rate, cash and what is specific.

Of a day, factor k earns x_k f_k with the exposures x = B'w of the weights at its start, a model of excess returns adds
the risk-free return of what is invested, cash earns its interest, and the rest is specific.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, checked_positive, read_only
from kernel.factors.linking import Linking, active_linking, single_linking

RISK_FREE, CASH, SPECIFIC = "risk_free", "cash", "specific"
# The sum of factors that are not shown one by one.
OTHER_FACTORS = "other_factors"

# A mean return smaller than this per year is rounding; a share of it would say nothing.
_VANISHING_TOTAL = 1e-12
# Weights that add up to one leave such a rest by rounding; it is no cash.
_NO_CASH = 1e-12


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FactorPeriod:
    """What factors and cash earned in a period.

    Attributes:
        days: (T,) names of the days.
        factors: (k,) names.
        F: (T, k) simple returns of the factors.
        cash_rate: (T,) simple return of cash per day.
        risk_free: (T,) return per day that the model takes from those of instruments; None = none.
    """

    days: tuple[str, ...]
    factors: tuple[str, ...]
    F: FloatArray
    cash_rate: FloatArray
    risk_free: FloatArray | None = None

    def __post_init__(self) -> None:
        periods = len(self.days)
        _check(self.F, (periods, len(self.factors)), "factors")
        _check(self.cash_rate, (periods,), "cash_rate")
        if self.risk_free is not None:
            _check(self.risk_free, (periods,), "risk_free")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A portfolio, or its benchmark, day by day.

    Attributes:
        returns: (T,) simple returns.
        exposures: (T, k) to the factors, at the start of the day.
        cash: (T,) weight of cash at the start of the day; with the weights of instruments it adds up to one.
    """

    returns: FloatArray
    exposures: FloatArray
    cash: FloatArray

    def __post_init__(self) -> None:
        periods = len(self.returns)
        _check(self.returns, (periods,), "returns")
        _check(self.exposures, (periods, *self.exposures.shape[1:2]), "exposures")
        _check(self.cash, (periods,), "cash")


@dataclass(frozen=True, slots=True, eq=False)
class LinkedParts:
    """A compounded return taken apart.

    Attributes:
        total: Of the period, a fraction, not annual.
        parts: (m,) one per source.
    """

    total: float
    parts: FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinkedAttribution:
    """The compounded returns of a portfolio, its benchmark and their difference, taken apart.

    Attributes:
        sources: (m,) the factors, then those of ``risk_free`` and ``cash`` that there are, then ``specific``.
        average_exposures: (m,) mean exposures of the portfolio over the days; 0 for all but factors.
        portfolio: Its parts.
        benchmark: Those of the benchmark; None without one.
        active: Those of the difference, linked for itself; None without a benchmark.
        residual: Largest difference between a total and the sum of its parts.
    """

    sources: tuple[str, ...]
    average_exposures: FloatArray
    portfolio: LinkedParts
    benchmark: LinkedParts | None
    active: LinkedParts | None
    residual: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MeanAttribution:
    """A mean return taken apart.

    Attributes:
        sources: (m,) as in LinkedAttribution.
        total: Annual arithmetic mean return.
        parts: (m,) annual; they add up to the total.
        fractions: (m,) of the total (1 = all of it); 0 where it vanishes.
        residual: Total less the sum of the parts: what rounding leaves.
    """

    sources: tuple[str, ...]
    total: float
    parts: FloatArray
    fractions: FloatArray
    residual: float


def held(W: FloatArray, R: FloatArray, B: FloatArray, cash_rate: FloatArray) -> Side:
    """A portfolio known by its weights; what they leave of one is cash.

        r_t = w_t'R_t + c_t * cash rate,  x_t = B'w_t,  c_t = 1 - sum w_t

    Args:
        W: (T, n) weights at the start of each day, or (n,) the same on all days.
        R: (T, n) simple returns of the instruments per day.
        B: (n, k) exposures.
        cash_rate: (T,) simple return of cash per day.

    Returns:
        The portfolio day by day.

    Raises:
        ProblemError: Shapes do not fit, or a number is not finite.
    """
    periods, n = R.shape
    _check(R, (periods, n), "returns")
    _check(B, (n, *B.shape[1:2]), "exposures")
    _check(cash_rate, (periods,), "cash_rate")
    _check(W, (n,) if W.ndim == 1 else (periods, n), "weights")
    cash = np.broadcast_to(cash_weights(W), (periods,))
    earned = R @ W if W.ndim == 1 else np.einsum("ti,ti->t", W, R)
    exposures = np.broadcast_to(W @ B, (periods, B.shape[1]))
    return Side(read_only(earned + cash * cash_rate), exposures, cash)


def cash_weights(W: FloatArray) -> FloatArray:
    """What weights leave of one, (T,) of (T, n) or () of (n,), without the rounding of full investment."""
    rest = np.asarray(1.0 - W.sum(axis=-1))
    return read_only(np.where(np.abs(rest) <= _NO_CASH, 0.0, rest))


def series(returns: FloatArray, exposures: FloatArray) -> Side:
    """A benchmark known by its returns and by the exposures of a regression.

    Args:
        returns: (T,) simple returns per day.
        exposures: (k,) the same on all days.

    Returns:
        The benchmark day by day, without cash.

    Raises:
        ProblemError: A number is not finite.
    """
    return Side(returns, np.broadcast_to(exposures, (len(returns), len(exposures))), np.zeros(len(returns)))


def attribute_returns(period: FactorPeriod, portfolio: Side, benchmark: Side | None = None) -> LinkedAttribution:
    """Takes compounded returns apart.

        part of source s = sum_t c_t part_st, with Carino's coefficients c

    Args:
        period: What factors and cash earned.
        portfolio: The portfolio on the same days.
        benchmark: The benchmark on the same days.

    Returns:
        Parts that add up to the compounded returns, up to rounding of about 1e-15 (1 + return).

    Raises:
        ProblemError: Days or factors do not fit, or a return loses everything; it names the day.

    References:
        Carino (1999), Combining attribution effects over time, Journal of Performance Measurement 3(4);
        Grinold & Kahn (2000), Active Portfolio Management, chapter 17.
    """
    sides = [portfolio] if benchmark is None else [portfolio, benchmark]
    sources, parts = _daily_parts(period, sides)
    linked = [_linked(single_linking(portfolio.returns, period.days, "portfolio"), parts[0])]
    if benchmark is not None:
        linked.append(_linked(single_linking(benchmark.returns, period.days, "benchmark"), parts[1]))
        active = active_linking(portfolio.returns, benchmark.returns, period.days)
        linked.append(_linked(active, parts[0] - parts[1]))
    means = np.zeros(len(sources))
    means[: len(period.factors)] = portfolio.exposures.mean(axis=0)
    return LinkedAttribution(
        sources=sources,
        average_exposures=read_only(means),
        portfolio=linked[0],
        benchmark=linked[1] if benchmark is not None else None,
        active=linked[2] if benchmark is not None else None,
        residual=max(abs(_residual(one.total, one.parts)) for one in linked),
    )


def attribute_mean(period: FactorPeriod, portfolio: Side, periods_per_year: float = 252.0) -> MeanAttribution:
    """Takes the arithmetic mean return apart.

        mean(r) = sum_k mean(x_k f_k) + risk-free + cash + specific, times periods per year

    With constant exposures from a regression over the same days, the specific part is the regression's alpha.

    Args:
        period: What factors and cash earned.
        portfolio: The portfolio on the same days.
        periods_per_year: Periods in a year, > 0.

    Returns:
        Annual parts that add up to the total, up to rounding.

    Raises:
        ProblemError: Days or factors do not fit, or there is no day.

    References:
        Grinold & Kahn (2000), Active Portfolio Management, chapter 17.
    """
    sources, (parts,) = _daily_parts(period, [portfolio])
    days = len(period.days)
    if not days:
        raise ProblemError("portfolio", "there is no day to take the mean of")
    scale = checked_positive(periods_per_year, "periods_per_year") / days
    means = np.array([scale * math.fsum(column) for column in parts.T.tolist()])
    total = scale * math.fsum(portfolio.returns.tolist())
    fractions = means / total if abs(total) > _VANISHING_TOTAL else np.zeros(len(means))
    return MeanAttribution(
        sources=sources,
        total=total,
        parts=read_only(means),
        fractions=read_only(fractions),
        residual=_residual(total, means),
    )


def _daily_parts(period: FactorPeriod, sides: list[Side]) -> tuple[tuple[str, ...], list[FloatArray]]:
    """The sources and, of each side, (T, m) parts of the daily returns."""
    with_cash = any(side.cash.any() for side in sides)
    given = {RISK_FREE: period.risk_free is not None, CASH: with_cash, SPECIFIC: True}
    sources = (*period.factors, *(name for name, there in given.items() if there))
    return sources, [_parts(period, side, with_cash=with_cash) for side in sides]


def _parts(period: FactorPeriod, side: Side, *, with_cash: bool) -> FloatArray:
    if side.exposures.shape != period.F.shape or len(side.returns) != len(period.days):
        raise ProblemError("returns", f"exposures of shape {side.exposures.shape} do not fit those of the factors")
    columns = [side.exposures * period.F]
    if period.risk_free is not None:
        columns.append(((1.0 - side.cash) * period.risk_free)[:, None])
    if with_cash:
        columns.append((side.cash * period.cash_rate)[:, None])
    explained = np.hstack(columns)
    return np.column_stack([explained, side.returns - explained.sum(axis=1)])


def _linked(linking: Linking, parts: FloatArray) -> LinkedParts:
    return LinkedParts(linking.total, linking.link(parts))


def _residual(total: float, parts: FloatArray) -> float:
    return math.fsum([total, *(-parts).tolist()])


def _check(array: FloatArray, shape: tuple[int, ...], field: str) -> None:
    if array.shape != shape:
        raise ProblemError(field, f"have shape {array.shape}, {shape} is needed")
    if not np.isfinite(array).all():
        raise ProblemError(field, "contain a number that is not finite")
