"""What methods say beside their weights, to the wire."""

from __future__ import annotations

from portfolio_optimization.v1 import optimization_pb2 as pb

from server.compute.optimization import OptimizationAnswer
from server.preparing import Prepared


def write_evidence(message: pb.GetOptimizationResponse, answer: OptimizationAnswer, prepared: Prepared) -> None:
    """The part of the answer that belongs to the type's own method."""
    del prepared
    match answer.evidence:
        case _:
            return
