"""Questions about drift from the wire, and drift to the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portfolio_optimization.v1 import drift_pb2 as pb

from kernel.rebalancing.drift import DriftMeasure, DriftReport, ItemDrift
from server.convert.faults import FRACTION, Faults
from server.convert.strategies import DRIFT_MEASURES, read_drift_settings
from server.convert.text_values import shortest_decimal
from server.settings import Settings
from server.specs import CASH
from server.vocabulary import TARGET_TYPES, Vocabulary

# A target that is yet to be found by an optimization is nothing to drift from.
_TARGETS = Vocabulary(tuple(word for word in TARGET_TYPES.served if word != "optimal"))
_SUM_TOLERANCE = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """What is measured, and from where on it calls for a rebalance."""

    measure: DriftMeasure = DriftMeasure.MAX_ABSOLUTE
    threshold: Decimal = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """A question about drift, checked. Empty = what the preferences say.

    Attributes:
        settings: None = those of the preferences.
    """

    portfolio_id: str
    target_type: str = ""
    custom_target: Mapping[str, Decimal] = field(default_factory=dict)
    benchmark_id: str = ""
    optimization_id: str = ""
    policy_id: str = ""
    settings: DriftSettings | None = None
    pricing_pack_id: str = ""


def read_drift(message: pb.GetDriftRequest, _settings: Settings, faults: Faults) -> DriftSpec:
    """What is asked; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    if message.target_type:
        faults.word("target_type", message.target_type, _TARGETS)
    for target_type in ("benchmark", "optimization", "policy"):
        if getattr(message, f"{target_type}_id") and message.target_type != target_type:
            faults.add(f"{target_type}_id", f"belongs to the target type {target_type}")
    return DriftSpec(
        portfolio_id=message.portfolio_id,
        target_type=message.target_type,
        custom_target=_read_custom(message, faults),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        optimization_id=faults.identifier("optimization_id", message.optimization_id, required=False),
        policy_id=faults.identifier("policy_id", message.policy_id, required=False),
        settings=_read_settings(message, faults),
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
    )


def _read_custom(message: pb.GetDriftRequest, faults: Faults) -> dict[str, Decimal]:
    if message.target_type == "custom" and not message.custom_target:
        faults.add("custom_target", "is required for the target type custom")
    if message.target_type != "custom" and message.custom_target:
        faults.add("custom_target", "belongs to the target type custom")
    weights = faults.numbers("custom_target", message.custom_target, FRACTION)
    exact = {name: shortest_decimal(weight) for name, weight in weights.items()}
    if (total := sum(exact.values(), Decimal(0))) > 1 + _SUM_TOLERANCE:
        faults.add("custom_target", f"must add up to at most 1, not {total}")
    return {name: weight for name, weight in exact.items() if name != CASH}


def _read_settings(message: pb.GetDriftRequest, faults: Faults) -> DriftSettings | None:
    if not message.HasField("settings"):
        return None
    return DriftSettings(*read_drift_settings("settings", message.settings, faults))


def write_settings(settings: DriftSettings) -> pb.DriftSettings:
    """Measure and threshold."""
    return pb.DriftSettings(measure=DRIFT_MEASURES[settings.measure], threshold=float(settings.threshold))


def write_measures(report: DriftReport) -> pb.DriftMeasures:
    """All measures beside each other."""
    return pb.DriftMeasures(
        max_absolute=float(report.max_absolute),
        max_relative=float(report.max_relative or 0),
        half_l1=float(report.half_l1),
        outside_band_5_25=[item.key for item in report.items if DriftMeasure.BAND_5_25 in item.breaches],
    )


def write_items(report: DriftReport, settings: DriftSettings) -> list[pb.DriftItem]:
    """Every item, largest absolute difference first."""
    items: Iterable[ItemDrift] = sorted(report.items, key=lambda item: (-abs(item.difference), item.key))
    return [_write_item(item, settings) for item in items]


def _write_item(item: ItemDrift, settings: DriftSettings) -> pb.DriftItem:
    """An item alone is half of its difference in the sum of all."""
    alone = abs(item.difference) / 2 >= settings.threshold
    breached = alone if settings.measure is DriftMeasure.HALF_L1 else settings.measure in item.breaches
    return pb.DriftItem(
        name=item.key,
        current_weight=float(item.current),
        target_weight=float(item.target),
        difference=float(item.difference),
        relative_difference=None if not item.target else float(item.difference / item.target),
        breached=breached,
    )
