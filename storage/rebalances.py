"""Rebalance plans."""

from __future__ import annotations

from storage.records import RebalanceRequest, RebalanceResult
from storage.request_repository import RequestRepository
from storage.statements import load_statements


class RebalanceRepository(RequestRepository[RebalanceRequest, RebalanceResult]):
    """Keeps rebalance plans."""

    _noun = "rebalance plan"
    _sql = load_statements("rebalances")
    _request_type = RebalanceRequest
    _result_type = RebalanceResult
