"""RebalancingService: its calls by subject."""

from __future__ import annotations

from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceServicer

from server.application import Application
from server.services.batch_calls import BatchCalls
from server.services.plan_calls import PlanCalls
from server.services.policy_calls import PolicyCalls
from server.services.tax_calls import TaxCalls


class RebalancingService(PlanCalls, PolicyCalls, TaxCalls, BatchCalls, RebalancingServiceServicer):
    """Plans on their way, policies and preferences, drift, tax previews, and batches."""

    def __init__(self, application: Application) -> None:
        PlanCalls.__init__(self, application.plans())
        PolicyCalls.__init__(self, application.policies(), application.preferences(), application.drifts())
        TaxCalls.__init__(self, application.taxes())
        BatchCalls.__init__(self, application.batches())
