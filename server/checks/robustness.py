"""What robustness asks of a universe: instruments that it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.method_specs import RobustSpec
from server.specs import CASH, OptimizationSpec


def robustness_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Faults of a request that asks for it."""
    if not isinstance(spec.method, RobustSpec) or spec.method.mean is None:
        return
    ids = {asset.id for asset in assets}
    for name in sorted(set(spec.method.mean.half_widths) - ids):
        reason = "is certain: it earns the risk-free rate" if name == CASH else "is not in the universe"
        yield Fault(f"robustness.mean.half_widths[{name}]", reason)
