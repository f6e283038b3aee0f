"""The wire form of risk_budgeting."""

from __future__ import annotations

from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import Faults
from server.method_specs import RiskBudgetingSpec


def read_risk_budgeting(message: CreateOptimizationRequest, faults: Faults) -> RiskBudgetingSpec:
    """What is asked for."""
    del message, faults
    return RiskBudgetingSpec()
