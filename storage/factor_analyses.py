"""Factor analyses."""

from __future__ import annotations

from typing import TypeAlias

from storage.errors import NotFound
from storage.records import Cursor, FactorAnalysisRequest, FactorAnalysisResult, Stored
from storage.repository import page_parameters
from storage.request_repository import RequestRepository
from storage.statements import load_statements

StoredAnalysis: TypeAlias = Stored[FactorAnalysisRequest, FactorAnalysisResult]


class FactorAnalysisRepository(RequestRepository[FactorAnalysisRequest, FactorAnalysisResult]):
    """Keeps factor exposures with their attribution."""

    _noun = "factor analysis"
    _sql = load_statements("factor_analyses")
    _request_type = FactorAnalysisRequest
    _result_type = FactorAnalysisResult

    async def latest(self, portfolio_id: str) -> StoredAnalysis:
        """The newest completed analysis of a portfolio.

        Raises:
            NotFound: It has none.
        """
        rows = await self._rows(self._sql["latest"], {"portfolio_id": portfolio_id})
        if not rows:
            raise NotFound("factor analysis of portfolio", portfolio_id)
        return self._stored(rows[0])

    async def page_without_instruments(
        self, portfolio_id: str, limit: int, before: Cursor | None = None
    ) -> tuple[StoredAnalysis, ...]:
        """As `page`, but without what the details say of single instruments."""
        parameters = {"portfolio_id": portfolio_id, **page_parameters(limit, before)}
        rows = await self._rows(self._sql["page_without_instruments"], parameters)
        return tuple(self._stored(row) for row in rows)
