"""Efficient frontiers."""

from __future__ import annotations

from storage.records import FrontierRequest, FrontierResult
from storage.request_repository import RequestRepository
from storage.statements import load_statements


class FrontierRepository(RequestRepository[FrontierRequest, FrontierResult]):
    """Keeps efficient frontiers."""

    _noun = "efficient frontier"
    _sql = load_statements("frontiers")
    _request_type = FrontierRequest
    _result_type = FrontierResult
