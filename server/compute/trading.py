"""From a rebalance request and the portfolio's universe to the trading problem of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from kernel.problem import Moments
from kernel.quadratic import Quadratic
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, TradeRequest, WeightLimit
from server.compute.inputs import Asset, Floats, MarketInputs
from server.rebalance_specs import PositionLimits, RebalanceSpec

# A little less than the smallest eigenvalue, so that what is left stays positive semidefinite in floating point.
_SPECIFIC_SHARE = 0.999


def with_universe(trading: TradeRequest, spec: RebalanceSpec, market: MarketInputs) -> TradeRequest:
    """The trading problem with the limits that need the universe: on positions and sectors, and relative ones.

    Args:
        trading: Holdings, cash, prices and the limits of the request and the account.
        spec: The request.
        market: The universe.
    """
    smallest = max(trading.limits.min_trade_value, spec.min_trade_fraction * market.value)
    limits = (*trading.limits.weights, *position_limits(spec.positions, market.assets))
    return replace(trading, limits=replace(trading.limits, min_trade_value=smallest, weights=limits))


def position_limits(asked: PositionLimits, assets: Sequence[Asset]) -> tuple[WeightLimit, ...]:
    """Limits on every instrument and every sector, by name."""
    found = []
    if asked.max_position is not None:
        one = Decimal(1)
        found += [WeightLimit(f"max_position[{a.id}]", {a.id: one}, maximum=asked.max_position) for a in assets]
    if asked.max_sector is not None:
        for sector in sorted({asset.sector for asset in assets if asset.sector}):
            members = {asset.id: Decimal(1) for asset in assets if asset.sector == sector}
            found.append(WeightLimit(f"max_sector[{sector}]", members, maximum=asked.max_sector))
    return tuple(found)


def needs_risk(distance: TradeDistance, limits: TradeLimits) -> bool:
    """Whether the trading problem has a covariance in it."""
    return distance is TradeDistance.TRACKING_RISK or limits.max_tracking_error is not None


def tracking_risk(moments: Moments, reference: Mapping[str, Decimal], aversion: float) -> TrackingRisk:
    """The covariance of the universe as factors and specific variances, with the weights it is measured against.

    A covariance without factors is split at its smallest eigenvalue: that much of it is specific to every instrument.

    Args:
        moments: n + 1 assets, cash last.
        reference: Weights; what is left is cash.
        aversion: Weight of the variance.
    """
    names = moments.names[:-1]
    factors, specific = _split(moments, len(names))
    weights = np.array([float(reference.get(name, Decimal(0))) for name in names])
    return TrackingRisk(names, factors, specific, weights, aversion)


def _split(moments: Moments, count: int) -> tuple[Floats, Floats]:
    kept = np.arange(count)
    covariance = moments.covariance
    if isinstance(covariance, Quadratic) and covariance.factor is not None and not covariance.parts:
        diagonal = np.zeros(covariance.size) if covariance.diagonal is None else covariance.diagonal
        return covariance.factor[:, kept].T.copy(), diagonal[kept].copy()
    eigenvalues, vectors = np.linalg.eigh(moments.Sigma[np.ix_(kept, kept)])
    least = _SPECIFIC_SHARE * max(float(eigenvalues[0]), 0.0)
    factors = vectors * np.sqrt(np.maximum(eigenvalues - least, 0.0))
    return factors, np.full(count, least)
