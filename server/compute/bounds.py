"""The range of every weight, and the limit that each end comes from."""

from __future__ import annotations

import numpy as np

from kernel.canonical import Mask
from kernel.constraints import WeightBounds
from server.compute.inputs import Asset, Floats, MarketInputs
from server.limit_specs import ConstraintSpec


def weight_bounds(inputs: MarketInputs, spec: ConstraintSpec) -> WeightBounds:
    """Bounds of the n assets and of cash, last."""
    cash_floor = "min_cash_weight" if spec.min_cash_weight else "long_only"
    lower = [_floor(asset, spec) for asset in inputs.assets] + [(spec.min_cash_weight, cash_floor)]
    upper = [_ceiling(asset, spec) for asset in inputs.assets] + [(spec.max_cash_weight, "max_cash_weight")]
    return WeightBounds(
        lower=np.array([value for value, _ in lower]),
        upper=np.array([value for value, _ in upper]),
        lower_names=tuple(name for _, name in lower),
        upper_names=tuple(name for _, name in upper),
    )


def reach(bounds: WeightBounds, spec: ConstraintSpec) -> Floats:
    """(n + 1,) the largest absolute weight that bounds and leverage admit."""
    largest = np.maximum(np.abs(bounds.lower), np.abs(bounds.upper))
    if spec.leverage.gross is not None:
        largest = np.minimum(largest, spec.leverage.gross)
    return np.asarray(largest)


def _floor(asset: Asset, spec: ConstraintSpec) -> tuple[float, str]:
    value = spec.min_weights.get(asset.id)
    if value is not None:
        return value, f"min_weights[{asset.id}]"
    if not spec.allow_short:
        return 0.0, "long_only"
    if (excluded := _exclusion(asset, spec)) is not None:
        return 0.0, excluded
    return (
        (-np.inf, "allow_short") if spec.max_position_size is None else (-spec.max_position_size, "max_position_size")
    )


def _ceiling(asset: Asset, spec: ConstraintSpec) -> tuple[float, str]:
    if (excluded := _exclusion(asset, spec)) is not None:
        return 0.0, excluded
    value = spec.max_weights.get(asset.id)
    if value is not None:
        return value, f"max_weights[{asset.id}]"
    if spec.max_position_size is not None:
        return spec.max_position_size, "max_position_size"
    leveraged = spec.allow_short or spec.min_cash_weight < 0.0
    return (np.inf, "no_limit") if leveraged else (1.0, "no_leverage")


def _exclusion(asset: Asset, spec: ConstraintSpec) -> str | None:
    """The limit that keeps an asset from being held."""
    if not asset.candidate:
        return f"instrument_ids[{asset.id}]"
    if spec.min_quality_score is not None and (asset.quality_score or 0.0) < spec.min_quality_score:
        return f"min_quality_score[{asset.id}]"
    return None


def holdable(inputs: MarketInputs, spec: ConstraintSpec) -> Mask:
    """(n + 1,) the instruments that may have a weight other than 0; cash is none."""
    held = reach(weight_bounds(inputs, spec), spec) > 0.0
    held[-1] = False
    return np.asarray(held)
