"""AAPL, JNJ and XOM as in the example of the quality policy, on two years of prices made for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import Message
from portfolio_optimization.v1 import instruments_pb2, market_data_pb2, portfolio_data_pb2
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from tests.integration.server.data_examples import price_block, price_header
from tests.integration.server.open_service import OpenService

LAST = {"AAPL": 232.50, "JNJ": 165.80, "XOM": 112.30, "LOWQ": 232.50, "NOSCORE": 50.0, "IDX": 1000.0}
SCORES = {"AAPL": 9.2, "JNJ": 9.0, "XOM": 4.5, "LOWQ": 5.0, "NOSCORE": None, "IDX": None}
SECTORS = {"AAPL": "Technology", "JNJ": "Health Care", "XOM": "Energy", "LOWQ": "Technology", "NOSCORE": "", "IDX": ""}
SHARES = {"AAPL": 100, "JNJ": 150, "XOM": 200}
BENCHMARK, WEIGHTS = "three", {"AAPL": 0.3, "JNJ": 0.4, "XOM": 0.3}


def price_history() -> tuple[list[str], dict[str, np.ndarray]]:
    """Two years of weekdays that end with the prices of the example; the index is nearly its benchmark's weights."""
    rng = np.random.default_rng(20241231)
    days = np.arange("2023-01-02", "2025-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    market = rng.normal(0.0003, 0.009, len(days))
    steps = {name: market + rng.normal(0.0, 0.008, len(days)) for name in LAST}
    steps["IDX"] = sum(weight * steps[name] for name, weight in WEIGHTS.items()) + rng.normal(0.0, 0.0002, len(days))
    closes = {}
    for name, last in LAST.items():
        path = np.cumsum(steps[name])
        closes[name] = np.round(last * np.exp(path - path[-1]), 4)
        closes[name][-1] = last
    return [str(day) for day in days], closes


class PolicyDesk:
    """A service with this market, called one call at a time."""

    def __init__(self, service: OpenService) -> None:
        self.service = service
        self.rebalancing: Any = RebalancingServiceStub(service.channel)
        self.data: Any = PortfolioDataServiceStub(service.channel)
        self.days, self.closes = price_history()
        service.run(self._stock())

    def ask(self, method: str, request: Message) -> Any:
        """The answer of a call of the rebalancing service."""
        return self.service.run(self._call(self.rebalancing, method, request))

    def plan(self, request: Message) -> Any:
        """A plan."""
        return self.service.call("GenerateRebalancePlan", request)

    def put(self, portfolio_id: str, shares: dict[str, int], **changes: Any) -> None:
        """A portfolio of whole shares."""
        holdings = [portfolio_data_pb2.Holding(instrument_id=n, quantity=str(q)) for n, q in shares.items()]
        plain = {"base_currency": "USD", "benchmark_id": BENCHMARK, "cash_amount": "0.00", "holdings": holdings}
        portfolio = portfolio_data_pb2.Portfolio(portfolio_id=portfolio_id, **{**plain, **changes})
        request = portfolio_data_pb2.PutPortfolioRequest(portfolio=portfolio)
        self.service.run(self._call(self.data, "PutPortfolio", request))

    async def _call(self, stub: Any, method: str, request: Any) -> Any:
        return await getattr(stub, method)(request, timeout=120.0)

    async def _stock(self) -> None:
        instruments = [
            instruments_pb2.Instrument(
                instrument_id=name,
                name=name,
                asset_class="equity",
                sector=SECTORS[name],
                currency="USD",
                lot_size="1",
                quality_score=SCORES[name],
                average_daily_volume=5e6,
                status=instruments_pb2.INSTRUMENT_STATUS_ACTIVE,
            )
            for name in LAST
        ]
        await self.data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=instruments))
        blocks: list[market_data_pb2.LoadPricingPackRequest] = [price_header(self.days)]
        blocks += [price_block(**{name: closes.tolist()}) for name, closes in self.closes.items()]
        await self.data.LoadPricingPack(iter(blocks))
        benchmark = portfolio_data_pb2.Benchmark(benchmark_id=BENCHMARK, weights=WEIGHTS, index_instrument_id="IDX")
        await self.data.PutBenchmark(portfolio_data_pb2.PutBenchmarkRequest(benchmark=benchmark))

    def tracking_error(self, weights: dict[str, float]) -> float:
        """Of weights against the index, annual, from the prices alone."""
        names = [name for name in weights if name in self.closes]
        returns = {name: self.closes[name][1:] / self.closes[name][:-1] - 1.0 for name in [*names, "IDX"]}
        own = sum(weights[name] * returns[name] for name in names)
        return float(np.std(own - returns["IDX"], ddof=1) * np.sqrt(252.0))
