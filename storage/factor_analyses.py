"""Factor analyses."""

from __future__ import annotations

from storage.records import FactorAnalysisRequest, FactorAnalysisResult
from storage.request_repository import RequestRepository
from storage.statements import load_statements


class FactorAnalysisRepository(RequestRepository[FactorAnalysisRequest, FactorAnalysisResult]):
    """Keeps factor exposures with their attribution."""

    _noun = "factor analysis"
    _sql = load_statements("factor_analyses")
    _request_type = FactorAnalysisRequest
    _result_type = FactorAnalysisResult
