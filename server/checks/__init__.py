"""What methods ask of a universe: names that they use and it does not have, limits that they cannot keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.checks.entropy_pooling import pooling_faults
from server.checks.hierarchy import hierarchy_faults
from server.checks.multi_period import multi_period_faults
from server.checks.risk_budgeting import risk_budgeting_faults
from server.checks.robustness import robustness_faults
from server.compute.inputs import Asset
from server.errors import Fault
from server.specs import OptimizationSpec

__all__ = ["method_faults"]

_CHECKS = (pooling_faults, hierarchy_faults, multi_period_faults, risk_budgeting_faults, robustness_faults)


def method_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Every fault that a method finds in a request against its universe."""
    for check in _CHECKS:
        yield from check(assets, spec)
