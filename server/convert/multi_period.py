"""The wire form of multi_period."""

from __future__ import annotations

from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.method_specs import MultiPeriodSpec


def read_multi_period(message: CreateOptimizationRequest, faults: Faults) -> MultiPeriodSpec:
    """What is asked for."""
    del message, faults
    return MultiPeriodSpec()
