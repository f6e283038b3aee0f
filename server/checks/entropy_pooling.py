"""What entropy_pooling asks of a universe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.specs import OptimizationSpec

_LISTED = 20


def pooling_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Views on instruments that the universe does not have."""
    known = {asset.id for asset in assets}
    for view in spec.model.distribution_views:
        if strangers := sorted({*view.weights, *view.instruments} - known):
            more = f" and {len(strangers) - _LISTED} more" if len(strangers) > _LISTED else ""
            named = f"names {', '.join(strangers[:_LISTED])}{more}, which the universe does not have"
            yield Fault(f"entropy_pooling.views[{view.name}]", named)
