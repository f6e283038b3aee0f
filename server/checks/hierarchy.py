"""What hierarchical methods ask of a universe: something to arrange, and no more clusters than there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.limit_specs import ConstraintSpec
from server.method_specs import HierarchySpec
from server.specs import OptimizationSpec


def hierarchy_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Faults of a request whose weights come from a tree."""
    if not isinstance(spec.method, HierarchySpec):
        return
    held = sum(_may_be_held(asset, spec.constraints) for asset in assets)
    if held == 0:
        yield Fault("instrument_ids", "leave nothing to arrange: the limits let no instrument be held")
    elif spec.method.clusters > held:
        reason = f"is {spec.method.clusters}, but only {held} instruments may be held"
        yield Fault("hierarchy.clusters", reason)


def _may_be_held(asset: Asset, limits: ConstraintSpec) -> bool:
    scored = limits.min_quality_score is None or (asset.quality_score or 0.0) >= limits.min_quality_score
    return asset.candidate and scored and limits.max_weights.get(asset.id, 1.0) > 0.0
