"""Records that the storage tests write and expect to read again, and the four kinds of requests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import numpy as np

from storage.factor_analyses import FactorAnalysisRepository
from storage.frontiers import FrontierRepository
from storage.optimizations import OptimizationRepository
from storage.rebalances import RebalanceRepository
from storage.records import (
    Benchmark,
    FactorAnalysisRequest,
    FactorAnalysisResult,
    FrontierRequest,
    FrontierResult,
    Holding,
    Instrument,
    OptimizationRequest,
    OptimizationResult,
    Portfolio,
    PriceTable,
    RebalanceRequest,
    RebalanceResult,
    Request,
    Result,
    TaxLot,
)
from storage.request_repository import RequestRepository

INSTRUMENTS = (
    Instrument(id="BOND", name="A bond fund", asset_class="bond", sector="", lot_size=Decimal("0.000001")),
    Instrument(
        id="STOCK",
        name="A stock ü",
        asset_class="equity",
        sector="Energy",
        country="US",
        quality_score=Decimal("71.5"),
        average_daily_volume=Decimal(1234567),
        market_cap=Decimal("2.5e12"),
        status="halted",
        source="annual report, 2022-12-31",
    ),
)

BENCHMARK = Benchmark(
    id="half-half",
    name="Half and half",
    weights={"BOND": Decimal("0.5"), "STOCK": Decimal("0.5")},
    index_instrument_id="STOCK",
    source="by definition",
)

PORTFOLIO = Portfolio(
    id="savings",
    name="Savings",
    cash=Decimal("1234.56"),
    benchmark_id="half-half",
    short_term_tax_rate=Decimal("0.408"),
    long_term_tax_rate=Decimal("0.238"),
    account={"margin": False, "do_not_buy": ["BOND"]},
    preferences={"risk_aversion": 2.5},
    holdings=(Holding("BOND", Decimal("10.123456")), Holding("STOCK", Decimal(30))),
    lots=(
        TaxLot(
            id="lot-1",
            instrument_id="STOCK",
            quantity=Decimal(10),
            acquired_on=date(2021, 3, 1),
            cost_per_share=Decimal("99.999999999"),
        ),
        TaxLot(id="lot-2", instrument_id="STOCK", quantity=Decimal(15)),
        TaxLot(
            id="lot-3",
            instrument_id="STOCK",
            quantity=Decimal(5),
            acquired_on=date(2022, 12, 1),
            cost_per_share=Decimal(7),
            held_since=date(2022, 1, 31),
            replaced_loss=True,
        ),
    ),
    updated_at=datetime(2022, 12, 28, 21, 0, 0, 123456, tzinfo=UTC),
)


def prices(days: int = 3) -> PriceTable:
    """Closes of the two instruments, one of which begins a day late."""
    closes = np.arange(1.0, 2 * days + 1).reshape(days, 2)
    closes[0, 0] = np.nan
    return PriceTable(("STOCK", "BOND"), np.datetime64("2022-12-26") + np.arange(days), closes)


@dataclass(frozen=True)
class Kind:
    """One kind of request: its repository, an example of it, its result, and its table for queries."""

    repository: type[RequestRepository]
    request: Callable[..., Request]
    result: Callable[[str], Result]
    read_table: str
    key: str


def optimization(**changes: object) -> OptimizationRequest:
    plain = {"optimization_type": "mean_variance", "objective": "maximize_sharpe", "risk_measure": "volatility"}
    return OptimizationRequest(**_common() | plain | {"constraints": {"max_weight": 0.3}} | changes)


def optimization_result(identifier: str) -> OptimizationResult:
    return OptimizationResult(
        optimization_id=identifier,
        metrics={"expected_return": 0.1 + 0.2, "sharpe_ratio": 1e-300},
        current_allocation={"STOCK": 1.0},
        target_allocation={"STOCK": 0.3, "BOND": 0.7},
        trades=[{"instrument_id": "STOCK", "quantity": "-21"}],
        details={"outcome": "OPTIMAL", "constraints": []},
        solve_seconds=0.0125,
    )


def frontier(**changes: object) -> FrontierRequest:
    plain = {"risk_measure": "volatility", "points": 20, "min_return": Decimal("0.01"), "constraints": {"a": [1]}}
    return FrontierRequest(**_common() | plain | changes)


def frontier_result(identifier: str) -> FrontierResult:
    return FrontierResult(
        frontier_id=identifier,
        frontier_points=[{"risk": 0.1, "expected_return": 0.05}],
        current_portfolio={"risk": 0.2},
        optimal_portfolio={"risk": 0.3},
        min_risk_portfolio={"risk": 0.05},
        max_return_portfolio={"risk": 0.4},
    )


def rebalance(**changes: object) -> RebalanceRequest:
    return RebalanceRequest(**_common() | {"target_type": "equal_weight"} | changes)


def rebalance_result(identifier: str) -> RebalanceResult:
    return RebalanceResult(
        rebalance_id=identifier,
        current_allocation=[{"instrument_id": "STOCK", "weight": 1.0}],
        target_allocation=[{"instrument_id": "STOCK", "weight": 0.5}],
        trades=[],
        metrics={"turnover": 0.5},
    )


def analysis(**changes: object) -> FactorAnalysisRequest:
    return FactorAnalysisRequest(**_common() | {"factors": ["value", "momentum"]} | changes)


def analysis_result(identifier: str) -> FactorAnalysisResult:
    return FactorAnalysisResult(
        analysis_id=identifier,
        as_of=datetime(2022, 12, 28, tzinfo=UTC),
        exposures={"value": 0.4},
        attribution={"specific": 0.01},
    )


def _common() -> dict[str, object]:
    return {"id": str(uuid4()), "portfolio_id": PORTFOLIO.id, "specification": {"as": "sent"}}


KINDS = {
    "optimization": Kind(
        OptimizationRepository, optimization, optimization_result, "portfolio_optimizations", "optimization_id"
    ),
    "frontier": Kind(FrontierRepository, frontier, frontier_result, "efficient_frontiers", "frontier_id"),
    "rebalance": Kind(RebalanceRepository, rebalance, rebalance_result, "rebalance_plans", "rebalance_id"),
    "factor analysis": Kind(FactorAnalysisRepository, analysis, analysis_result, "factor_exposures", "analysis_id"),
}
