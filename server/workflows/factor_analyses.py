"""Finding factor analyses that were made before."""

from __future__ import annotations

from storage.database import Database
from storage.factor_analyses import FactorAnalysisRepository, StoredAnalysis
from storage.portfolios import PortfolioRepository
from storage.records import Cursor


class FactorAnalysisFinder:
    """Finds factor analyses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, analysis_id: str) -> StoredAnalysis:
        """One analysis.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return await FactorAnalysisRepository(connection).find(analysis_id)

    async def latest(self, portfolio_id: str) -> StoredAnalysis:
        """The latest analysis of a portfolio.

        Raises:
            NotFound: It has none.
        """
        async with self._database.transaction() as connection:
            return await FactorAnalysisRepository(connection).latest(portfolio_id)

    async def page(self, portfolio_id: str, limit: int, before: Cursor | None) -> tuple[StoredAnalysis, ...]:
        """The analyses of a portfolio without their instruments, newest first.

        Raises:
            NotFound: There is no such portfolio.
        """
        async with self._database.transaction() as connection:
            rows = await FactorAnalysisRepository(connection).page_without_instruments(portfolio_id, limit, before)
            if not rows:
                await PortfolioRepository(connection).find(portfolio_id)
            return rows
