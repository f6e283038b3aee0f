"""Volatilities and tracking errors taken apart, to the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import factor_attribution_pb2 as pb

from kernel.factors.return_attribution import OTHER_FACTORS
from kernel.factors.risk_attribution import RiskAttribution
from server.compute.inputs import Floats


def write_factor_risk(
    found: RiskAttribution, factors: Sequence[str], ids: Sequence[str], weights: Floats, wanted: Sequence[int] = ()
) -> pb.FactorRiskAttribution:
    """A volatility, or a tracking error, with its parts.

    Args:
        found: The parts.
        factors: (k,) names.
        ids: (n,) instruments, in the order of the model that was taken apart.
        weights: (n,) what was taken apart.
        wanted: Places of the factors to show; all others are summed. Empty = all.
    """
    message = pb.FactorRiskAttribution(
        volatility=found.volatility,
        factor_contribution=found.factor_contribution,
        specific_contribution=found.specific_contribution,
        factors=_factor_parts(found, factors, wanted or range(len(factors))),
        residual=found.residual,
    )
    whole = found.asset_parts
    for k, name in enumerate(ids):
        if weights[k] != 0.0:
            message.instruments.add(
                instrument_id=name,
                weight=float(weights[k]),
                factor_contribution=float(found.asset_factor_parts[k]),
                specific_contribution=float(found.asset_specific_parts[k]),
                contribution=float(whole[k]),
                percent=percent(float(whole[k]), found.volatility),
            )
    return message


def percent(part: float, total: float) -> float:
    """100 times the share of a part; 0 where there is no total."""
    return 100.0 * part / total if total else 0.0


def _factor_parts(found: RiskAttribution, factors: Sequence[str], shown: Iterable[int]) -> list[pb.FactorRiskPart]:
    places = list(shown)
    parts = [
        pb.FactorRiskPart(
            factor=factors[k],
            exposure=float(found.exposures[k]),
            factor_volatility=float(found.factor_volatilities[k]),
            correlation=float(found.correlations[k]),
            contribution=float(found.factor_parts[k]),
            percent=percent(float(found.factor_parts[k]), found.volatility),
        )
        for k in places
    ]
    if len(places) < len(factors):
        rest = math.fsum(found.factor_parts[k] for k in set(range(len(factors))) - set(places))
        parts.append(
            pb.FactorRiskPart(factor=OTHER_FACTORS, contribution=rest, percent=percent(rest, found.volatility))
        )
    return parts
