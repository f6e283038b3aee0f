"""What methods say beside their weights, to the wire."""

from __future__ import annotations

from portfolio_optimization.v1 import optimization_pb2 as pb

from kernel.methods.diversification import DiversificationEvidence
from kernel.methods.projection import ReferenceEvidence
from server.compute.multi_period import PlanEvidence
from server.compute.optimization import OptimizationAnswer
from server.compute.risk_parity import RiskParityEvidence
from server.compute.robust import RobustEvidence
from server.convert.hierarchy import write_reference
from server.convert.multi_period import write_plan
from server.convert.risk_budgeting import write_risk_budgeting
from server.convert.robustness import write_robust
from server.method_specs import RobustSpec
from server.preparing import Prepared


def write_evidence(message: pb.GetOptimizationResponse, answer: OptimizationAnswer, prepared: Prepared) -> None:
    """The part of the answer that belongs to the type's own method."""
    match answer.evidence:
        case ReferenceEvidence() as reference:
            message.reference.CopyFrom(write_reference(reference, answer.names))
        case DiversificationEvidence(ratio):
            if ratio is not None:
                message.diversification_ratio = ratio
        case RobustEvidence() as robust if isinstance(prepared.spec.method, RobustSpec):
            message.robust.CopyFrom(write_robust(robust, prepared.spec.method))
        case PlanEvidence() as plan:
            message.multi_period.CopyFrom(write_plan(plan, answer.names))
        case RiskParityEvidence() as shares:
            message.risk_budgeting.CopyFrom(write_risk_budgeting(shares))
        case _:
            return
