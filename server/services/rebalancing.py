"""RebalancingService: in the contract, served by a later version; every call answers UNIMPLEMENTED by name."""

from __future__ import annotations

from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceServicer


class RebalancingService(RebalancingServiceServicer):
    """The generated servicer raises NotImplementedError, which the interceptor makes a clear UNIMPLEMENTED."""
