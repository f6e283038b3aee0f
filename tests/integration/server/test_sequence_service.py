"""Order, slices, settlement and cash of a plan, through the service."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import grpc
import pytest
from data_examples import instrument, price_block, price_header
from portfolio_optimization.v1 import instruments_pb2, policies_pb2, rebalancing_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.portfolio_optimization_service_pb2_grpc import PortfolioOptimizationServiceStub
from refusals import refused

DAYS = ("2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05", "2026-11-06")
PRICES = {"AAPL": [98.0, 99.0, 101.0, 99.5, 100.0], "KO": [50.0] * 5, "XOM": [25.0, 24.0, 25.5, 25.25, 25.0]}
VOLUMES = {"AAPL": 1000.0, "KO": 10_000.0, "XOM": 4000.0}
ACTIVE = instruments_pb2.INSTRUMENT_STATUS_ACTIVE
Execution = rebalancing_pb2.ExecutionSettings
Plan = rebalancing_pb2.RebalancePlanResponse


@pytest.fixture
async def optimizer(channel: grpc.aio.Channel, data: PortfolioDataServiceStub) -> PortfolioOptimizationServiceStub:
    """An account of 300 shares of AAPL, which trades 1000 a day: 6 November 2026, its last price, is a Friday."""
    stocks = [
        instrument(name, lot_size="1", status=ACTIVE, average_daily_volume=volume) for name, volume in VOLUMES.items()
    ]
    unknown = instrument("NEW", lot_size="1", status=ACTIVE)
    unknown.ClearField("average_daily_volume")
    await data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=[*stocks, unknown]))
    await data.LoadPricingPack(iter([price_header(DAYS), price_block(**PRICES, NEW=[10.0] * 5)]))
    await put(data)
    return PortfolioOptimizationServiceStub(channel)


async def put(data: PortfolioDataServiceStub, **changes: Any) -> None:
    plain = {
        "portfolio_id": "slow",
        "base_currency": "USD",
        "cash_amount": "0",
        "holdings": [pb.Holding(instrument_id="AAPL", quantity="300")],
    }
    await data.PutPortfolio(pb.PutPortfolioRequest(portfolio=pb.Portfolio(**{**plain, **changes})))


def asked(target: dict[str, float] | None = None, **constraints: Any) -> rebalancing_pb2.RebalancePlanRequest:
    limits = rebalancing_pb2.RebalanceConstraints(**{"max_participation": 0.1, **constraints})
    return rebalancing_pb2.RebalancePlanRequest(
        portfolio_id="slow",
        target_type="custom",
        custom_target={"KO": 0.5, "XOM": 0.5} if target is None else target,
        constraints=limits,
    )


def trade_of(plan: Plan, name: str) -> Any:
    (trade,) = [trade for trade in plan.trades if trade.instrument_id == name]
    return trade


def recompute_cash(plan: Plan) -> Decimal:
    """Cash after all trades, from the trades alone."""
    cash = Decimal(plan.cash_before_amount)
    for trade in plan.trades:
        value = Decimal(trade.exact_quantity) * Decimal(trade.price_amount)
        cash += (value if trade.action == "sell" else -value) - Decimal(trade.transaction_cost_amount)
    return cash


async def test_sale_over_three_days_pays_for_purchases(optimizer: PortfolioOptimizationServiceStub) -> None:
    """The sale ends on Veterans Day, when the banks are closed: its last two slices settle together."""
    plan = await optimizer.GenerateRebalancePlan(asked())
    assert [trade.action for trade in plan.trades] == ["sell", "buy", "buy"]
    assert [trade.priority for trade in plan.trades] == [1, 2, 3]
    sale = trade_of(plan, "AAPL")
    assert [(part.date, part.quantity) for part in sale.slices] == [
        ("2026-11-09", "100"),
        ("2026-11-10", "100"),
        ("2026-11-11", "100"),
    ]
    assert all(part.participation == 0.1 for part in sale.slices)
    for trade in plan.trades:
        assert sum(Decimal(part.quantity) for part in trade.slices) == Decimal(trade.exact_quantity)
        most = 0.1 * VOLUMES[trade.instrument_id]
        assert all(0 < float(part.quantity) <= most for part in trade.slices)
        assert list(trade.depends_on) == ([] if trade.action == "sell" else [1])
        assert trade.action == "sell" or trade.slices[0].date == "2026-11-11"
        assert Decimal(trade.expected_execution_cost_amount) > 0
    assert [entry.date for entry in plan.cash_projection][:2] == ["2026-11-10", "2026-11-12"]
    assert all(Decimal(entry.cash_amount) >= 0 for entry in plan.cash_projection)
    assert plan.cash_projection[-1].cash_amount == plan.cash_after_amount == f"{recompute_cash(plan):f}"
    assert plan.cash_projection[-1].date == max(trade.settlement_date for trade in plan.trades)
    assert "good_faith_violation" in {note.code for note in plan.notes}


async def test_without_participation(optimizer: PortfolioOptimizationServiceStub) -> None:
    plan = await optimizer.GenerateRebalancePlan(asked({"NEW": 0.5, "KO": 0.5}, max_participation=0.0))
    assert {trade.settlement_date for trade in plan.trades} == {"2026-11-10"}
    assert not any(trade.slices or trade.expected_execution_cost_amount for trade in plan.trades)
    assert [entry.date for entry in plan.cash_projection] == ["2026-11-10"]
    assert plan.cash_projection[0].cash_amount == plan.cash_after_amount


async def test_patience_and_days(optimizer: PortfolioOptimizationServiceStub) -> None:
    """Six days at will: equal slices cost least; with aversion to risk the first days take more, at more cost."""
    calm = await optimizer.GenerateRebalancePlan(asked(impact_coefficient=1.0, execution=Execution(days=6)))
    hurry = await optimizer.GenerateRebalancePlan(
        asked(impact_coefficient=1.0, execution=Execution(days=6, risk_aversion=0.001))
    )
    even, early = trade_of(calm, "AAPL"), trade_of(hurry, "AAPL")
    assert [part.quantity for part in even.slices] == ["50"] * 6
    assert float(early.slices[0].quantity) == 100.0
    assert float(early.slices[-1].quantity) < 50.0
    assert Decimal(early.expected_execution_cost_amount) > Decimal(even.expected_execution_cost_amount)
    assert Decimal(early.execution_risk_amount) < Decimal(even.execution_risk_amount)


async def test_start_on_a_closed_day(optimizer: PortfolioOptimizationServiceStub) -> None:
    plan = await optimizer.GenerateRebalancePlan(asked(execution=Execution(start_date="2026-11-26")))
    assert trade_of(plan, "AAPL").slices[0].date == "2026-11-27"
    (note,) = [note for note in plan.notes if note.code == "market_closed"]
    assert note.message == "XNYS does not trade on 2026-11-26; the trades start on 2026-11-27"


@pytest.mark.parametrize(
    ("constraints", "field"),
    [
        ({"execution": Execution(start_date="2026-11-05")}, "constraints.execution.start_date"),
        ({"execution": Execution(start_date="2027-11-08")}, "constraints.execution.start_date"),
        ({"execution": Execution(start_date="2026-11-31")}, "constraints.execution.start_date"),
        ({"execution": Execution(start_date="9999-12-31")}, "constraints.execution.start_date"),
        ({"execution": Execution(days=-1)}, "constraints.execution.days"),
        ({"execution": Execution(days=251)}, "constraints.execution.days"),
        ({"execution": Execution(risk_aversion=float("nan"))}, "constraints.execution.risk_aversion"),
        ({"execution": Execution(risk_aversion=-1.0)}, "constraints.execution.risk_aversion"),
        ({"execution": Execution(half_spread=1.5)}, "constraints.execution.half_spread"),
        ({"max_participation": 1.5}, "constraints.max_participation"),
        ({"max_participation": float("inf")}, "constraints.max_participation"),
        ({"max_participation": 0.0001}, "constraints.max_participation[AAPL]"),
        ({"max_participation": 0.001}, "constraints.max_participation[AAPL]"),
        ({"impact_coefficient": -1.0}, "constraints.impact_coefficient"),
    ],
)
async def test_refusals(optimizer: PortfolioOptimizationServiceStub, constraints: dict[str, Any], field: str) -> None:
    faults = await refused(optimizer.GenerateRebalancePlan(asked(**constraints)))
    assert list(faults) == [field]


async def test_unknown_volume(optimizer: PortfolioOptimizationServiceStub) -> None:
    faults = await refused(optimizer.GenerateRebalancePlan(asked({"NEW": 0.5, "KO": 0.5})))
    assert faults == {"constraints.max_participation[NEW]": "needs an average daily volume above 0, which is not known"}


async def test_the_exchange_of_the_preferences(
    optimizer: PortfolioOptimizationServiceStub, data: PortfolioDataServiceStub
) -> None:
    """London trades on Thanksgiving Day and settles two days later."""
    preferences = pb.PortfolioPreferences(rebalancing=policies_pb2.RebalancingPreferences(exchange="XLON"))
    await put(data, preferences=preferences)
    plan = await optimizer.GenerateRebalancePlan(asked(execution=Execution(start_date="2026-11-26")))
    sale = trade_of(plan, "AAPL")
    assert [part.date for part in sale.slices] == ["2026-11-26", "2026-11-27", "2026-11-30"]
    assert sale.settlement_date == "2026-12-02"


async def test_an_overdraft_is_met_first(
    optimizer: PortfolioOptimizationServiceStub, data: PortfolioDataServiceStub
) -> None:
    await put(data, cash_amount="-5000")
    plan = await optimizer.GenerateRebalancePlan(asked())
    amounts = [Decimal(entry.cash_amount) for entry in plan.cash_projection]
    assert amounts[-1] == recompute_cash(plan) >= 0
    assert amounts[0] > 0
    (note,) = [note for note in plan.notes if note.code == "negative_cash" and "settle on 2026-11-10" in note.message]
    assert note.message.startswith("cash of -5000")


async def test_the_stored_plan_has_it_all(optimizer: PortfolioOptimizationServiceStub) -> None:
    request = asked()
    request.request_id = "again"
    first = await optimizer.GenerateRebalancePlan(request)
    second = await optimizer.GenerateRebalancePlan(request)
    assert first == second
    assert second.cash_projection
    assert second.trades[0].slices
