"""The wire form of entropy pooling."""

from __future__ import annotations

from portfolio_optimization.v1.frontier_pb2 import EfficientFrontierRequest
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.method_specs import DistributionViewSpec


def read_entropy_pooling(
    message: CreateOptimizationRequest | EfficientFrontierRequest, faults: Faults
) -> tuple[DistributionViewSpec, ...]:
    """The views on the distribution."""
    del message, faults
    return ()
