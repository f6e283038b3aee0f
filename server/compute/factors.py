"""One factor analysis, from its inputs to exposures and attribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernel.factors.attribution import ReturnAttribution, attribute_return
from kernel.factors.exposures import ActiveExposures, FactorDesign, FactorFit, FactorHistory, factor_design
from server.compute.inputs import Floats, MarketInputs
from server.errors import NotReady


@dataclass(frozen=True, slots=True)
class FactorInputs:
    """Factor returns, and the portfolio's market around them.

    Attributes:
        names: The k factors.
        dates: (T,) days of the factor returns.
        F: (T, k) simple returns.
    """

    names: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    F: Floats
    market: MarketInputs


@dataclass(frozen=True, slots=True)
class FactorAnswer:
    """Exposures of the portfolio at its current weights, and what they earned in the window."""

    names: tuple[str, ...]
    first_date: str
    last_date: str
    portfolio: FactorFit
    comparison: ActiveExposures | None
    attribution: ReturnAttribution
    condition_number: float


def run_factors(inputs: FactorInputs) -> FactorAnswer:
    """Regress the returns of today's weights on the factors, over the days that all of them have.

    Raises:
        NotReady: They have too few days in common.
        ProblemError: A factor is constant or a combination of others.
    """
    days, asset_rows, factor_rows = _common_days(inputs)
    design = factor_design(FactorHistory(inputs.names, inputs.F[factor_rows]))
    returns = _returns(inputs.market.closes)[asset_rows]
    portfolio = returns @ inputs.market.w0
    comparison = _compare(inputs.market, design, asset_rows, portfolio)
    fit = design.fit(portfolio, "portfolio") if comparison is None else comparison.portfolio
    return FactorAnswer(
        names=inputs.names,
        first_date=str(days[0]),
        last_date=str(days[-1]),
        portfolio=fit,
        comparison=comparison,
        attribution=attribute_return(portfolio, design, fit),
        condition_number=design.condition_number,
    )


def _returns(closes: Floats) -> Floats:
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def _common_days(inputs: FactorInputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days on which every asset and every factor has a return, and their rows in both tables."""
    market_days = inputs.market.dates[1:]
    whole = np.isfinite(_returns(inputs.market.closes)).all(axis=1)
    complete = np.isfinite(inputs.F).all(axis=1)
    days, asset_rows, factor_rows = np.intersect1d(
        market_days[whole], inputs.dates[complete], assume_unique=True, return_indices=True
    )
    needed = len(inputs.names) + 2
    if len(days) < needed:
        raise NotReady(f"portfolio and factors have {len(days)} days in common, {needed} are needed")
    return days, np.flatnonzero(whole)[asset_rows], np.flatnonzero(complete)[factor_rows]


def _compare(
    market: MarketInputs, design: FactorDesign, asset_rows: np.ndarray, portfolio: Floats
) -> ActiveExposures | None:
    benchmark = _benchmark_returns(market, asset_rows)
    return None if benchmark is None else design.compare(portfolio, benchmark)


def _benchmark_returns(market: MarketInputs, asset_rows: np.ndarray) -> Floats | None:
    """Returns of the benchmark's own series, or of its weights where the universe has all of them."""
    given = market.benchmark
    if given is None:
        return None
    if given.closes is not None:
        returns = _returns(given.closes)[asset_rows]
        if not np.isfinite(returns).all():
            raise NotReady(f"benchmark {given.id} has no price on some days of the window")
        return np.asarray(returns)
    weights = given.weights or {}
    if not set(weights) <= set(market.ids):
        return None
    return np.asarray(_returns(market.closes)[asset_rows] @ np.array([weights.get(name, 0.0) for name in market.ids]))
