"""The active return by sector: which sectors were weighted, and what was chosen within them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import BoolArray, FloatArray
from kernel.factors.linking import LARGEST_GROWTH, active_linking
from kernel.factors.return_attribution import CASH, cash_weights

TRADING = "trading"

# Long and short positions that cancel to less than this share of their size have no return per unit of weight.
_SMALLEST_NET_WEIGHT = 1e-3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SectorMarket:
    """What instruments and cash earned, and the sectors of instruments.

    Attributes:
        days: (T,) names of the days.
        sectors: (n,) sectors of the instruments; empty = none.
        R: (T, n) simple returns per day.
        cash_rate: (T,) simple return of cash per day.
        trading: (T,) what the portfolio's trades of the day added to the return of its weights; None = nothing.
    """

    days: tuple[str, ...]
    sectors: tuple[str, ...]
    R: FloatArray
    cash_rate: FloatArray
    trading: FloatArray | None = None

    def __post_init__(self) -> None:
        periods, n = len(self.days), len(self.sectors)
        given = [("returns", self.R, (periods, n)), ("cash_rate", self.cash_rate, (periods,))]
        if self.trading is not None:
            given.append(("trading", self.trading, (periods,)))
        for field, array, shape in given:
            if array.shape != shape or not np.isfinite(array).all():
                raise ProblemError(field, f"must be {shape} finite numbers; the shape is {array.shape}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorEffect:
    """Effects of one sector.

    Attributes:
        sector: Its name; ``cash`` for cash, ``trading`` for trades within the day, empty for instruments without one.
        portfolio_weight: Mean over the days.
        benchmark_weight: Mean over the days.
        portfolio_return: Compounded return of the portfolio's part; None where it had none on some day.
        benchmark_return: The same of the benchmark's part.
        allocation: Effect of weighting the sector, a part of the compounded active return.
        selection: Effect of choosing within the sector.
        interaction: Effect of both together.
    """

    sector: str
    portfolio_weight: float
    benchmark_weight: float
    portfolio_return: float | None
    benchmark_return: float | None
    allocation: float
    selection: float
    interaction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorAttribution:
    """An active return by sector.

    Attributes:
        sectors: In the order of their names.
        allocation, selection, interaction: Sums over the sectors.
        active_return: Compounded return of the portfolio less that of the benchmark.
        residual: active_return less the three sums.
    """

    sectors: tuple[SectorEffect, ...]
    allocation: float
    selection: float
    interaction: float
    active_return: float
    residual: float


@dataclass(frozen=True, slots=True, eq=False)
class _Sectors:
    """One side by sector: (T, s) weights, parts of the return, returns, and where there is such a return."""

    weights: FloatArray
    parts: FloatArray
    returns: FloatArray
    defined: BoolArray

    @property
    def total(self) -> FloatArray:
        """(T,) returns of the whole side."""
        return np.asarray(self.parts.sum(axis=1))


def brinson_fachler(market: SectorMarket, W: FloatArray, V: FloatArray) -> SectorAttribution:
    """Takes the compounded active return apart by sector.

        allocation (w-v)(s-b), selection v(r-s), interaction (w-v)(r-s) of every day, linked by Carino's coefficients

    with weights w and returns r of the portfolio's sectors, v and s of the benchmark's and b of the benchmark. A sector
    that one side does not hold earns there what it earns on the other. Where long and short positions cancel, a sector
    has a part of the return, but no return per unit of weight: it is taken to earn what the other side's earns, and
    what its part is beyond that counts as selection; so does what trades within the day added, in a row of its own.

    Args:
        market: What was earned.
        W: (T, n) weights of the portfolio at the start of each day, or (n,) the same on all days; the rest is cash.
        V: Those of the benchmark.

    Returns:
        Effects that add up to the compounded active return, up to rounding.

    Raises:
        ProblemError: Weights do not fit or are not finite, or a return loses everything; it names the day.

    References:
        Brinson & Fachler (1985), Measuring non-US equity portfolio performance, JPM 11(3); Carino (1999), Combining
        attribution effects over time, Journal of Performance Measurement 3(4).
    """
    names, portfolio, benchmark = _both_sides(market, W, V)
    r = np.where(portfolio.defined, portfolio.returns, benchmark.returns)
    s = np.where(benchmark.defined, benchmark.returns, r)
    active = portfolio.weights - benchmark.weights
    undefined = (portfolio.parts - portfolio.weights * r) - (benchmark.parts - benchmark.weights * s)
    linking = active_linking(portfolio.total, benchmark.total, market.days)
    allocation = linking.link(active * (s - benchmark.total[:, None])).tolist()
    selection = linking.link(benchmark.weights * (r - s) + undefined).tolist()
    interaction = linking.link(active * (r - s)).tolist()
    rows = tuple(
        SectorEffect(
            sector=name,
            portfolio_weight=float(portfolio.weights[:, place].mean()),
            benchmark_weight=float(benchmark.weights[:, place].mean()),
            portfolio_return=_compounded(portfolio, place),
            benchmark_return=_compounded(benchmark, place),
            allocation=allocation[place],
            selection=selection[place],
            interaction=interaction[place],
        )
        for place, name in enumerate(names)
    )
    sums = [math.fsum(effects) for effects in (allocation, selection, interaction)]
    return SectorAttribution(
        sectors=rows,
        allocation=sums[0],
        selection=sums[1],
        interaction=sums[2],
        active_return=linking.total,
        residual=math.fsum([linking.total, *(-value for value in sums)]),
    )


def _both_sides(market: SectorMarket, W: FloatArray, V: FloatArray) -> tuple[list[str], _Sectors, _Sectors]:
    """The sectors by name, and what each side held and earned in them."""
    given = [_per_day(market, array, field) for field, array in (("weights", W), ("benchmark_weights", V))]
    rests = [cash_weights(array) for array in given]
    further = {CASH: any(rest.any() for rest in rests), TRADING: market.trading is not None}
    names = sorted({*market.sectors, *(name for name, there in further.items() if there)})
    place = {name: column for column, name in enumerate(names)}
    member = np.zeros((len(market.sectors), len(names)))
    member[np.arange(len(market.sectors)), [place[name] for name in market.sectors]] = 1.0
    sides = [_by_sector(market, array, member) for array in given]
    if further[CASH]:
        for (weights, parts, gross), rest in zip(sides, rests, strict=True):
            weights[:, place[CASH]] += rest
            parts[:, place[CASH]] += rest * market.cash_rate
            gross[:, place[CASH]] += np.abs(rest)
    if market.trading is not None:
        sides[0][1][:, place[TRADING]] += market.trading
    portfolio, benchmark = (_sectors(*side) for side in sides)
    return names, portfolio, benchmark


def _per_day(market: SectorMarket, weights: FloatArray, field: str) -> FloatArray:
    """(T, n) weights, a view where they are the same on all days."""
    shape = market.R.shape
    if weights.shape not in (shape, shape[1:]) or not np.isfinite(weights).all():
        raise ProblemError(field, f"must be finite numbers for {shape[1]} instruments; the shape is {weights.shape}")
    return np.broadcast_to(weights, shape)


def _by_sector(market: SectorMarket, W: FloatArray, member: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(T, s) weights, parts of the return and absolute weights, by sector."""
    return W @ member, (W * market.R) @ member, np.abs(W) @ member


def _sectors(weights: FloatArray, parts: FloatArray, gross: FloatArray) -> _Sectors:
    defined = np.abs(weights) > _SMALLEST_NET_WEIGHT * gross
    returns = np.where(defined, parts / np.where(defined, weights, 1.0), 0.0)
    return _Sectors(weights, parts, returns, defined)


def _compounded(side: _Sectors, place: int) -> float | None:
    """Return of a sector that had one on every day; positions of both signs can lose more than everything.

    None beyond all numbers, too: a sector of next to no weight can grow so without the portfolio.
    """
    returns = side.returns[:, place]
    if not side.defined[:, place].all() or (returns <= -1.0).any():
        return None
    growth = math.fsum(np.log1p(returns).tolist())
    return math.expm1(growth) if growth <= LARGEST_GROWTH else None
