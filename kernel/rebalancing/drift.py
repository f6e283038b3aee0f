"""Drift of current against target weights by four named measures, decided exactly on Decimals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from kernel.errors import ProblemError

_ZERO = Decimal(0)


class DriftMeasure(StrEnum):
    """What is compared with the threshold."""

    MAX_ABSOLUTE = "max_absolute"
    """max_i |c_i - t_i|"""
    RELATIVE = "relative"
    """max_i |c_i - t_i| / t_i"""
    HALF_L1 = "half_l1"
    """1/2 sum_i |c_i - t_i|"""
    BAND_5_25 = "band_5_25"
    """any i with |c_i - t_i| >= min(5 points, 25% of t_i)"""


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """Where each measure fires; a measure equal to its threshold fires.

    Attributes:
        max_absolute: Weight fraction.
        relative: Fraction of the target weight.
        half_l1: Weight fraction.
        band_absolute: Of the 5/25 rule, weight fraction.
        band_relative: Of the 5/25 rule, fraction of the target weight.
    """

    max_absolute: Decimal = Decimal("0.05")
    relative: Decimal = Decimal("0.05")
    half_l1: Decimal = Decimal("0.05")
    band_absolute: Decimal = Decimal("0.05")
    band_relative: Decimal = Decimal("0.25")

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= _ZERO:
                raise ProblemError(f"thresholds.{name}", f"must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class ItemDrift:
    """The drift of one instrument or class.

    Attributes:
        key: Instrument or class.
        current: Weight now.
        target: Weight wanted.
        difference: current - target.
        relative: |difference| / target, None for a target of zero.
        band: Half-width of the 5/25 band, min(absolute, relative * target).
        breaches: The per-item measures that fire on this item.
    """

    key: str
    current: Decimal
    target: Decimal
    difference: Decimal
    relative: Decimal | None
    band: Decimal
    breaches: frozenset[DriftMeasure]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The drift of a whole allocation.

    Attributes:
        items: One per key of either allocation, sorted by key.
        max_absolute: Largest absolute difference.
        max_relative: Largest relative difference among positive targets, None if no target is positive.
        half_l1: Half the sum of absolute differences.
        breaches: The measures that fire.
    """

    items: tuple[ItemDrift, ...]
    max_absolute: Decimal
    max_relative: Decimal | None
    half_l1: Decimal
    breaches: frozenset[DriftMeasure]


def measure_drift(
    current: Mapping[str, Decimal],
    target: Mapping[str, Decimal],
    thresholds: DriftThresholds | None = None,
    *,
    residual: str = "",
) -> DriftReport:
    """Measures drift by all four measures; a key absent from one side has weight zero there.

    A holding whose target is zero has no relative drift; it counts as outside every relative band.

    Args:
        current: Weights now, cash included under its own key.
        target: Weights wanted.
        thresholds: Where the measures fire; 5 points, 5%, and 5/25 if None.
        residual: Key of what only is left over, such as cash: without a target it has no relative band either.

    Returns:
        The report. Comparisons are >= on Decimals: 0.30 against 0.25 does reach a threshold of 0.05.

    Raises:
        ProblemError: A target weight is negative.
    """
    thresholds = thresholds or DriftThresholds()
    keys = sorted(current.keys() | target.keys())
    pairs = ((key, current.get(key, _ZERO), target.get(key, _ZERO)) for key in keys)
    items = tuple(_item(*pair, thresholds, banded=pair[0] != residual or pair[2] > _ZERO) for pair in pairs)
    sizes = [abs(item.difference) for item in items]
    half_l1 = sum(sizes, _ZERO) / 2
    breaches = frozenset[DriftMeasure]().union(*(item.breaches for item in items))
    if half_l1 >= thresholds.half_l1:
        breaches |= {DriftMeasure.HALF_L1}
    return DriftReport(
        items=items,
        max_absolute=max(sizes, default=_ZERO),
        max_relative=max((item.relative for item in items if item.relative is not None), default=None),
        half_l1=half_l1,
        breaches=breaches,
    )


def group_weights(weights: Mapping[str, Decimal], groups: Mapping[str, str]) -> dict[str, Decimal]:
    """Adds weights up by class, so that drift can be measured per class.

    Args:
        weights: Weight per instrument.
        groups: Class per instrument.

    Returns:
        Weight per class.

    Raises:
        ProblemError: An instrument has no class.
    """
    totals: dict[str, Decimal] = {}
    for key, weight in weights.items():
        if key not in groups:
            raise ProblemError(f"groups[{key}]", "has no class")
        totals[groups[key]] = totals.get(groups[key], _ZERO) + weight
    return totals


def band_edge(current: Decimal, target: Decimal, width: Decimal) -> Decimal:
    """The weight nearest to the current one inside the band around the target.

        min(max(current, target - width), target + width)

    Args:
        current: Weight now.
        target: Weight wanted.
        width: Half-width of the band, >= 0.

    Returns:
        The weight to trade to when only the band has to be met.
    """
    return min(max(current, target - width), target + width)


def _item(key: str, current: Decimal, target: Decimal, thresholds: DriftThresholds, *, banded: bool) -> ItemDrift:
    if target < _ZERO:
        raise ProblemError(f"target[{key}]", f"must not be negative, got {target}")
    size = abs(current - target)
    band = min(thresholds.band_absolute, thresholds.band_relative * target)
    limits = {DriftMeasure.MAX_ABSOLUTE: thresholds.max_absolute}
    if banded:
        limits |= {DriftMeasure.RELATIVE: thresholds.relative * target, DriftMeasure.BAND_5_25: band}
    return ItemDrift(
        key=key,
        current=current,
        target=target,
        difference=current - target,
        relative=size / target if target > _ZERO else None,
        band=band,
        breaches=frozenset(measure for measure, limit in limits.items() if size > _ZERO and size >= limit),
    )
