"""The days of a factor analysis, its prices, and the benchmark that can be used on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.compute.holdings import Prices
from server.compute.inputs import BenchmarkInputs, Floats, MarketInputs
from server.errors import NotReady
from server.factor_specs import FactorSpec
from server.listing import listed

Days = npt.NDArray[np.datetime64]

WEIGHTS, SERIES = "weights", "series"

# Weights of a benchmark that add up to one but for the rounding of their decimals.
_ROUNDED = 1e-6


@dataclass(frozen=True, slots=True)
class Remark:
    """Something noticed that a reader of the answer should know."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """A benchmark as an analysis can use it.

    Attributes:
        weights: By instrument; None where its price series is used.
        closes: On the market's days; None where its weights are used.
    """

    id: str
    weights: dict[str, float] | None = None
    closes: Floats | None = None

    @property
    def basis(self) -> str:
        """``weights`` or ``series``."""
        return SERIES if self.weights is None else WEIGHTS

    @property
    def names(self) -> tuple[str, ...]:
        """Its instruments."""
        return tuple(self.weights or ())

    def vector(self, names: Sequence[str]) -> Floats:
        """Its weights in an order; what it does not hold has none."""
        weights = self.weights or {}
        return np.array([weights.get(name, 0.0) for name in names])

    def returns(self, market: MarketInputs, days: Days) -> Floats:
        """(T,) simple returns of its price series.

        Raises:
            NotReady: It has no price on some of the days.
        """
        assert self.closes is not None
        rows = np.searchsorted(market.dates, days)
        found = np.asarray(self.closes[rows] / self.closes[rows - 1] - 1.0)
        if not (whole := np.isfinite(found)).all():
            missing = days[~whole]
            raise NotReady(
                f"benchmark {self.id} has no return on {len(missing)} days of the window, first {missing[0]}"
            )
        return found


def days_with_returns(market: MarketInputs, names: Iterable[str]) -> Days:
    """Days on which every one of the instruments has a price, and had one the day before."""
    closes = market.closes[:, _columns(market, names)]
    there = np.asarray(np.isfinite(closes).all(axis=1))
    return market.dates[1:][there[1:] & there[:-1]]


def prices_on(market: MarketInputs, names: Sequence[str], days: Days) -> Prices:
    """Prices around days on which every one of the instruments has a return."""
    closes, rows = market.closes[:, _columns(market, names)], np.searchsorted(market.dates, days)
    return Prices(tuple(names), days, market.dates[rows - 1], closes[rows - 1], closes[rows])


def within(days: Days, spec: FactorSpec) -> Days:
    """Those of the days that a request asks for."""
    if spec.first_date:
        days = days[days >= np.datetime64(spec.first_date)]
    if spec.last_date:
        days = days[days <= np.datetime64(spec.last_date)]
    return days[-spec.lookback_days :] if spec.lookback_days else days


def weighted_benchmark(
    given: BenchmarkInputs, market: MarketInputs, known: Iterable[str], days: Days
) -> tuple[Benchmark | None, str]:
    """The benchmark by its weights, where all are among the known instruments and have returns on all days.

    Returns:
        The benchmark or None, and why there is none.
    """
    weights = {name: weight for name, weight in (given.weights or {}).items() if weight}
    if not weights:
        return None, "has no weights"
    if missing := sorted(set(weights) - set(known)):
        return None, f"has weights in instruments that the model does not have: {listed(missing)}"
    if holes := without_returns(market, sorted(weights), days):
        return None, f"has weights in instruments without a price on every day: {listed(holes)}"
    total = sum(weights.values())
    if abs(total - 1.0) <= _ROUNDED:
        weights = {name: weight / total for name, weight in weights.items()}
    return Benchmark(given.id, weights=weights), ""


def without_returns(market: MarketInputs, names: Sequence[str], days: Days) -> list[str]:
    """Those of the instruments that lack a return on some of the days."""
    rows, there = np.searchsorted(market.dates, days), np.isfinite(market.closes[:, _columns(market, names)])
    whole = np.all(there[rows] & there[rows - 1], axis=0)
    return [name for name, complete in zip(names, np.atleast_1d(whole), strict=True) if not complete]


def _columns(market: MarketInputs, names: Iterable[str]) -> list[int]:
    place = {name: k for k, name in enumerate(market.ids)}
    return [place[name] for name in names]
