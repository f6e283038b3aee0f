"""What a request asks of its type's own method, from the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.convert.hierarchy import read_hierarchy
from server.convert.multi_period import read_multi_period
from server.convert.risk_budgeting import read_risk_budgeting
from server.convert.robustness import read_robustness
from server.method_specs import MethodSpec
from server.vocabulary import HIERARCHIES

_READERS: Mapping[str, Callable[[CreateOptimizationRequest, Faults], MethodSpec]] = MappingProxyType(
    {
        "risk_budgeting": read_risk_budgeting,
        "hierarchy": read_hierarchy,
        "robustness": read_robustness,
        "multi_period": read_multi_period,
    }
)
# The field that a type reads, and which types read it.
_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "risk_budgeting": ("risk_parity",),
        "hierarchy": HIERARCHIES,
        "robustness": ("robust",),
        "multi_period": ("multi_period",),
    }
)


def read_method(message: CreateOptimizationRequest, faults: Faults) -> MethodSpec | None:
    """What the type's own method is asked for; None for types without one. Fields of other types must be absent."""
    kind, found = message.optimization_type, None
    present = {field.name for field, _ in message.ListFields()}
    for field, types in _FIELDS.items():
        if kind in types:
            found = _READERS[field](message, faults)
        elif field in present:
            faults.add(field, f"belongs to the optimization_type {' or '.join(types)}")
    return found
