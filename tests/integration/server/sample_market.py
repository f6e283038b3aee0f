"""The sample portfolio's market over a short window, for independent models beside the service."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.sample.facts import STOCKS
from storage.pricing_packs import PricingPackRepository
from tests.integration.server.open_service import OpenService

DAYS = 250
RISK_FREE = 0.02
PORTFOLIO = "sample-growth"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """Names without cash, and their last `DAYS` returns."""

    names: tuple[str, ...]
    R: Floats

    @property
    def mu(self) -> Floats:
        """Annual historical means."""
        return np.asarray(252.0 * self.R.mean(axis=0))

    @property
    def Sigma(self) -> Floats:  # noqa: N802
        """Annual sample covariance."""
        return np.asarray(252.0 * np.cov(self.R, rowvar=False))

    @property
    def sectors(self) -> dict[str, str]:
        """Sector of each name."""
        return {stock.id: stock.sector for stock in STOCKS}

    def vector(self, weights: dict[str, float]) -> Floats:
        """Weights in the order of the names; what is not named has none."""
        return np.array([weights.get(name, 0.0) for name in self.names])


def load_market(service: OpenService) -> Market:
    """The market of the newest pack."""
    return service.run(_load(service))


async def _load(service: OpenService) -> Market:
    names = tuple(sorted(stock.id for stock in STOCKS))
    async with service.application.database.transaction() as connection:
        packs = PricingPackRepository(connection)
        table = await packs.read((await packs.latest(names)).id)
    closes = table.closes[:, [table.instrument_ids.index(name) for name in names]]
    closes = closes[~np.isnan(closes).all(axis=1)]
    return Market(names, (closes[1:] / closes[:-1] - 1.0)[-DAYS:])
