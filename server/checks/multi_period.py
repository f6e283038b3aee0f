"""What multi_period asks of a universe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.compute.inputs import Asset
from server.errors import Fault
from server.specs import OptimizationSpec


def multi_period_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Faults of a request that asks for it."""
    del assets, spec
    yield from ()
