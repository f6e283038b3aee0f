"""The past returns of a factor analysis, taken apart by factor and by sector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kernel.factors.brinson import SectorAttribution, SectorMarket, brinson_fachler
from kernel.factors.return_attribution import (
    FactorPeriod,
    LinkedAttribution,
    MeanAttribution,
    Side,
    attribute_mean,
    attribute_returns,
    held,
    series,
)
from server.compute.factor_periods import Remark
from server.compute.holdings import Account, HeldDays, Prices, current_shares, current_weights, recorded_shares
from server.compute.inputs import PERIODS_PER_YEAR, FactorModelInputs, Floats

CURRENT_WEIGHTS, CURRENT_SHARES, RECORDED = "current_weights", "current_shares", "recorded_transactions"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Past:
    """What is needed of the period whose returns are taken apart.

    Attributes:
        prices: Of its n instruments.
        sectors: (n,) empty = none.
        rows: (T,) places of its days among the model's.
        w: (n,) weights of today.
        account: Holdings of today on the same instruments.
        basis: Which holdings earned the returns.
        v: (n,) weights of the benchmark; None without them.
        benchmark: (T,) returns of its price series; None without them.
        benchmark_exposures: (k,) None without a benchmark.
        cash_rate: Return of cash per day, where the model has no risk-free returns.
    """

    prices: Prices
    sectors: tuple[str, ...]
    rows: np.ndarray
    w: Floats
    account: Account
    basis: str
    v: Floats | None
    benchmark: Floats | None
    benchmark_exposures: Floats | None
    cash_rate: float


@dataclass(frozen=True, slots=True, eq=False)
class PastReturns:
    """The mean and the compounded return taken apart, and the active one by sector where the benchmark has weights."""

    mean: MeanAttribution
    linked: LinkedAttribution
    sectors: SectorAttribution | None
    remarks: tuple[Remark, ...]


def past_returns(past: Past, model: FactorModelInputs, B: Floats) -> PastReturns:
    """Take the returns of a period apart.

    Args:
        past: The period.
        model: Has returns of its factors on all days of the period.
        B: (n, k) exposures of the period's instruments.

    Raises:
        NotReady: What was held has no weights on a day.
        ProblemError: A return loses everything; the day is named.
    """
    period, R = _period(past, model), past.prices.R
    days = _held_days(past)
    side = held(days.W, R, B, period.cash_rate)
    portfolio = Side(side.returns + days.trading, side.exposures, side.cash)
    benchmark, sectors = None, None
    if past.v is not None:
        benchmark = held(past.v, R, B, period.cash_rate)
        sectors = _by_sector(past, period, days, R)
    elif past.benchmark is not None and past.benchmark_exposures is not None:
        benchmark = series(past.benchmark, past.benchmark_exposures)
    return PastReturns(
        attribute_mean(period, portfolio, PERIODS_PER_YEAR),
        attribute_returns(period, portfolio, benchmark),
        sectors,
        tuple(_remarks(past, days)),
    )


def _period(past: Past, model: FactorModelInputs) -> FactorPeriod:
    """A model of excess returns says what cash earned on each day; else it is the service's risk-free rate."""
    riskless = None if model.risk_free is None else model.risk_free[past.rows]
    return FactorPeriod(
        days=_names(past),
        factors=model.model.factors,
        F=model.F[past.rows],
        cash_rate=np.full(len(past.rows), past.cash_rate) if riskless is None else riskless,
        risk_free=riskless,
    )


def _held_days(past: Past) -> HeldDays:
    if past.basis == CURRENT_SHARES:
        return current_shares(past.prices, past.account)
    if past.basis == RECORDED:
        return recorded_shares(past.prices, past.account)
    return current_weights(past.w, len(past.rows))


def _by_sector(past: Past, period: FactorPeriod, days: HeldDays, R: Floats) -> SectorAttribution:
    """The active return by sector; what trades earned within their day is a sector of its own."""
    assert past.v is not None
    market = SectorMarket(
        days=period.days,
        sectors=past.sectors,
        R=R,
        cash_rate=period.cash_rate,
        trading=days.trading if days.trading.any() else None,
    )
    return brinson_fachler(market, days.W, past.v)


def _remarks(past: Past, days: HeldDays) -> Iterator[Remark]:
    if past.basis == RECORDED:
        first = past.prices.before[0]
        counted = sum(np.datetime64(trade.day) > first for trade in past.account.trades)
        yield Remark(
            "recorded_holdings",
            f"holdings were walked back through the recorded transactions since {first}, {counted} in number; "
            "deposits, withdrawals, dividends, splits and interest are not recorded, and count as if there were none",
        )
    if days.owed:
        yield Remark(
            "negative_cash",
            f"by today's cash and the recorded transactions, cash was negative on {len(days.owed)} days, "
            f"first {days.owed[0]}; it pays the risk-free rate there",
        )


def _names(past: Past) -> tuple[str, ...]:
    return tuple(map(str, past.prices.days))
