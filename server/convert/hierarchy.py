"""The wire form of hierarchy."""

from __future__ import annotations

from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.method_specs import HierarchySpec


def read_hierarchy(message: CreateOptimizationRequest, faults: Faults) -> HierarchySpec:
    """What is asked for."""
    del message, faults
    return HierarchySpec()
