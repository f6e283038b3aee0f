"""Factor models of the sample stocks made by hand, with plain least squares, and kept as the service keeps its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from google.protobuf import json_format
from portfolio_optimization.v1 import estimation_pb2, factor_models_pb2, portfolio_data_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub

from server.specs import ModelSpec
from storage.benchmarks import BenchmarkRepository
from storage.factor_model_records import FactorModelHead, FactorModelNumbers, StoredFactorModel
from storage.factor_models import FactorModelRepository
from storage.factors import FactorRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Benchmark
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market

YEAR = 252.0
BENCHMARK = "sample-sp500"
RISK, RETURNS = estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL, estimation_pb2.EXPECTED_RETURNS_METHOD_FACTOR_MODEL


def request(objective: str = "minimize_risk", **fields: Any) -> pb.CreateOptimizationRequest:
    """An optimization of the sample portfolio."""
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "mean_variance",
        "objective": objective,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "constraints": pb.OptimizationConstraints(max_position_size=0.2),
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def completed(service: OpenService, asked: pb.CreateOptimizationRequest) -> Any:
    """Its answer, which has weights."""
    answer = service.optimize(asked)
    assert answer.status == "completed", answer.outcome.message
    return answer


def benchmark_weights(service: OpenService) -> dict[str, float]:
    """Of the sample's benchmark."""
    model = ModelSpec(RISK_FREE, benchmark_id=BENCHMARK)
    inputs, _ = service.run(service.application.loader.market(PORTFOLIO, model))
    assert inputs.benchmark is not None
    return dict(inputs.benchmark.weights or {})


def put_portfolio(service: OpenService, shares: Mapping[str, int]) -> str:
    """Stores a portfolio without a benchmark, and gives its id."""
    portfolio_id = "-".join(["of", *shares]).lower()
    holdings = [portfolio_data_pb2.Holding(instrument_id=name, quantity=str(q)) for name, q in shares.items()]
    portfolio = portfolio_data_pb2.Portfolio(portfolio_id=portfolio_id, base_currency="USD", holdings=holdings)
    portfolio.cash_amount = "0"
    service.run(_put(service, portfolio))
    return portfolio_id


async def _put(service: OpenService, portfolio: portfolio_data_pb2.Portfolio) -> None:
    stub: Any = PortfolioDataServiceStub(service.channel)
    await stub.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=portfolio))


def put_benchmark(service: OpenService, benchmark_id: str, weights: Mapping[str, float]) -> None:
    """Stores a benchmark that has no price series."""
    exact = {name: Decimal(repr(weight)) for name, weight in weights.items()}
    service.run(_put_benchmark(service, Benchmark(id=benchmark_id, name=benchmark_id, weights=exact)))


async def _put_benchmark(service: OpenService, benchmark: Benchmark) -> None:
    async with service.application.database.transaction() as connection:
        await BenchmarkRepository(connection).put(benchmark)


@dataclass(frozen=True)
class Example:
    """A model and its numbers, annual but `F`."""

    id: str
    kind: str
    factors: tuple[str, ...]
    names: tuple[str, ...]
    B: Floats
    Phi: Floats
    specific: Floats
    F: Floats

    @property
    def risk(self) -> estimation_pb2.RiskModel:
        """The model of risk in a request."""
        return estimation_pb2.RiskModel(method=RISK, factor_model_id=self.id)

    def returns(self, **premia: float) -> estimation_pb2.ExpectedReturnsModel:
        """The model of expected returns in a request."""
        return estimation_pb2.ExpectedReturnsModel(method=RETURNS, factor_model_id=self.id, factor_premia=premia)

    def exposures(self, w: Floats) -> dict[str, float]:
        """Of weights in the order of the names."""
        return dict(zip(self.factors, (self.B.T @ w).tolist(), strict=True))

    @property
    def Sigma(self) -> Floats:  # noqa: N802
        """The dense covariance."""
        return np.asarray(self.B @ self.Phi @ self.B.T + np.diag(self.specific))


def time_series(service: OpenService, market: Market, *, without: Sequence[str] = ()) -> Example:
    """Least squares of the stocks' returns on the sample's factors over the days of `market`."""
    names = tuple(name for name in market.names if name not in without)
    factors, days, F = service.run(_sample_factors(service, len(market.R)))
    R = market.R[:, [market.names.index(name) for name in names]]
    design = np.column_stack([np.ones(len(F)), F])
    coefficients = np.linalg.lstsq(design, R)[0]
    residuals = R - design @ coefficients
    specific = YEAR * (residuals**2).sum(axis=0) / (len(F) - design.shape[1])
    kept = Example("", "time_series", factors, names, coefficients[1:].T, _covariance(F), specific, F)
    return _stored(service, kept, days)


def by_style(service: OpenService, market: Market, *, without: Sequence[str] = ()) -> Example:
    """The market and one style, cross-sectional: returns of the factors by least squares on every day."""
    names = tuple(name for name in market.names if name not in without)
    R = market.R[:, [market.names.index(name) for name in names]]
    style = np.linspace(-1.5, 1.5, len(names))
    B = np.column_stack([np.ones(len(names)), style])
    F = np.linalg.lstsq(B, R.T)[0].T
    specific = YEAR * (R - F @ B.T).var(axis=0, ddof=1)
    _, days, _ = service.run(_sample_factors(service, len(market.R)))
    kept = Example("", "cross_sectional", ("market", "style"), names, B, _covariance(F), specific, F)
    return _stored(service, kept, days)


def keep(service: OpenService, example: Example) -> Example:
    """A model of any numbers, as the days of its factors end."""
    _, days, _ = service.run(_sample_factors(service, len(example.F)))
    return _stored(service, example, days)


def _covariance(F: Floats) -> Floats:
    Phi = YEAR * np.cov(F, rowvar=False)
    return np.asarray(0.5 * (Phi + Phi.T))


async def _sample_factors(service: OpenService, last: int) -> tuple[tuple[str, ...], np.ndarray, Floats]:
    async with service.application.database.transaction() as connection:
        repository = FactorRepository(connection)
        table = await repository.read((await repository.latest()).id)
    return tuple(table.factors), table.dates[-last:], np.array(table.returns[-last:])


def _stored(service: OpenService, example: Example, days: np.ndarray) -> Example:
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (example.B, example.Phi, example.specific)))
    model_id = f"fm-{digest.hexdigest()[:32]}"
    service.run(_store(service, model_id, example, days))
    return replace(example, id=model_id)


async def _store(service: OpenService, model_id: str, example: Example, days: np.ndarray) -> None:
    n, k = example.B.shape
    first, last = (date.fromisoformat(str(day)) for day in (days[0], days[-1]))
    given = example.kind == "time_series"
    summary = factor_models_pb2.FactorModel(
        condition_number=float(np.linalg.cond(example.F)),
        factors=[factor_models_pb2.Factor(name=name, variance_inflation=1.0) for name in example.factors],
    )
    async with service.application.database.transaction() as connection:
        pack = await PricingPackRepository(connection).latest(example.names)
        head = FactorModelHead(
            id=model_id,
            name=f"{example.kind} {n}",
            version=1,
            created_at=pack.created_at,
            kind=example.kind,
            pricing_pack_id=pack.id,
            specification={},
            first_date=first,
            as_of=last,
            observations=len(example.F),
            factors=example.factors,
            factor_kinds=("given",) * k if given else ("market", *("style",) * (k - 1)),
            definitions=("by hand",) * k,
            instrument_ids=example.names,
            summary=json_format.MessageToDict(summary, preserving_proto_field_name=True),
        )
        numbers = FactorModelNumbers(
            B=example.B,
            Phi=example.Phi,
            specific=example.specific,
            unshrunk=example.specific,
            alpha=np.zeros(n),
            r_squared=np.full(n, 0.5),
            standard_errors=np.full((n, k), 0.1) if given else None,
            dates=days.astype("datetime64[D]"),
            F=example.F,
            risk_free=None,
        )
        await FactorModelRepository(connection).store(StoredFactorModel(head, numbers))
