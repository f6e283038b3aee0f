"""What multi_period asks of a universe, and limits that a plan cannot keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.listing import MOST_LISTED, listed
from server.method_specs import MOST_PERIODS, MultiPeriodSpec, PeriodSpec
from server.specs import CASH, OptimizationSpec

_AT = "multi_period"
# Entries of all covariances together: what is solved in about a minute.
_LARGEST = 3_000_000
_COVARIANCE_MEASURES = ("volatility", "variance")


def multi_period_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Faults of a request that asks for it."""
    asked = spec.method
    if not isinstance(asked, MultiPeriodSpec):
        return
    ids = {asset.id for asset in assets}
    yield from _limit_faults(spec, len(asked.periods))
    yield from _unknown(f"{_AT}.terminal_weights", set(asked.terminal_weights) - {*ids, CASH})
    if len(asked.periods) > MOST_PERIODS:
        yield Fault(f"{_AT}.forecast_id", f"has {len(asked.periods)} periods; a plan has at most {MOST_PERIODS}")
    entries = len(asked.periods) * (len(ids) + 1) ** 2
    if entries > _LARGEST:
        most = max(1, _LARGEST // (len(ids) + 1) ** 2)
        reason = f"must be at most {most} with {len(ids)} instruments, not {len(asked.periods)}"
        yield Fault(f"{_AT}.periods", reason)
    for k, period in enumerate(asked.periods):
        at = f"{_AT}.periods[{k}]"
        if not asked.forecast_id:
            yield from _unknown(f"{at}.expected_returns", set(period.expected_returns) - ids)
        yield from _covariance_faults(at, period, ids, spec)


def _limit_faults(spec: OptimizationSpec, periods: int) -> Iterator[Fault]:
    """What is not convex, or belongs to one period."""
    limits, cost = spec.constraints, spec.cost
    discrete = {
        "constraints.min_position_size": limits.min_position_size is not None,
        "constraints.max_positions": limits.max_positions is not None,
        "constraints.min_positions": bool(limits.min_positions),
        "constraints.whole_lots": limits.whole_lots,
        "constraints.risk_budgets": bool(limits.risk_budgets),
        "constraints.risk_limits.max_var": "max_var" in limits.risk_limits,
        "risk_measure": spec.risk_measure == "var",
        "preferences.commission_per_trade_amount": bool(cost.commission),
    }
    for field, present in discrete.items():
        if present:
            what = "var " if field == "risk_measure" else ""
            yield Fault(field, f"{what}cannot be planned over periods: it is not convex")
    if cost.include_tax and periods > 1:
        reason = "needs a plan of one period: what later sales realise depends on the lots bought in between"
        yield Fault("preferences.consider_tax_implications", reason)


def _covariance_faults(at: str, period: PeriodSpec, ids: set[str], spec: OptimizationSpec) -> Iterator[Fault]:
    given = period.Sigma is not None
    if given and (missing := sorted(ids - set(period.names))):
        yield Fault(f"{at}.covariance.instrument_ids", f"has no row for {listed(missing)}")
    if not given and period.covariance_scale == 1.0:
        return
    field, measure = "covariance" if given else "covariance_scale", spec.risk_measure
    if measure not in _COVARIANCE_MEASURES:
        reason = f"needs the risk_measure volatility or variance, not {measure!r}, which is measured on scenarios"
        yield Fault(f"{at}.{field}", reason)
    for name in spec.constraints.risk_limits:
        if name.removeprefix("max_") not in _COVARIANCE_MEASURES:
            reason = f"cannot be beside constraints.risk_limits.{name}, which is measured on scenarios"
            yield Fault(f"{at}.{field}", reason)


def _unknown(field: str, strangers: set[str]) -> Iterator[Fault]:
    for name in sorted(strangers)[:MOST_LISTED]:
        yield Fault(f"{field}[{name}]", "is not in the universe")
