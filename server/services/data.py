"""PortfolioDataService."""

from __future__ import annotations

from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceServicer

from server.loading import MarketLoader
from server.settings import Settings
from storage.database import Database


class DataService(PortfolioDataServiceServicer):
    """Instruments, portfolios, benchmarks, prices and factor returns."""

    def __init__(self, database: Database, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._loader, self._settings = database, loader, settings
