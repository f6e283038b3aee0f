"""The wire form of robustness."""

from __future__ import annotations

from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.method_specs import RobustSpec


def read_robustness(message: CreateOptimizationRequest, faults: Faults) -> RobustSpec:
    """What is asked for."""
    del message, faults
    return RobustSpec()
