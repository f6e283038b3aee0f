"""What entropy_pooling asks of a universe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.listing import listed
from server.specs import OptimizationSpec


def pooling_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Views on instruments that the universe does not have."""
    known = {asset.id for asset in assets}
    for view in spec.model.distribution_views:
        if strangers := sorted({*view.weights, *view.instruments} - known):
            reason = f"names {listed(strangers)}, which the universe does not have"
            yield Fault(f"entropy_pooling.views[{view.name}]", reason)
