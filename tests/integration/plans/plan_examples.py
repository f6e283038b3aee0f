"""Plans made by hand on a small market, so that their way can be tested without making them by optimization."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from portfolio_optimization.v1 import plan_workflow_pb2, rebalancing_calls_pb2, trade_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.answers import timestamp, to_json
from server.households import load_household
from server.plans.exposure import exposed_trades, exposure_of
from server.plans.hash import plan_hash
from server.plans.opening import NewPlan, open_plan
from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.events import EventRepository
from storage.instruments import InstrumentRepository
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.rebalances import RebalanceRepository
from storage.records import (
    Holding,
    Instrument,
    Portfolio,
    PriceTable,
    RebalanceRequest,
    RebalanceResult,
    TaxLot,
    Transaction,
)
from storage.transactions import TransactionRepository

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
TODAY = date(2026, 11, 20)
PRICES = {"KO": 60.0, "PEP": 170.0, "XOM": 110.0}


class Clock:
    """A moment that tests move."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


def lot(lot_id: str, instrument_id: str, quantity: str, acquired_on: date, cost: str) -> TaxLot:
    return TaxLot(
        id=lot_id,
        instrument_id=instrument_id,
        quantity=Decimal(quantity),
        acquired_on=acquired_on,
        cost_per_share=Decimal(cost),
    )


LOTS = (
    lot("x1", "XOM", "60", date(2021, 3, 1), "50"),
    lot("x2", "XOM", "40", date(2026, 9, 1), "120"),
    lot("k1", "KO", "100", date(2024, 5, 6), "55"),
)


def portfolio(portfolio_id: str = "one", **changes: Any) -> Portfolio:
    plain: dict[str, Any] = {
        "id": portfolio_id,
        "name": "One",
        "cash": Decimal("1000.00"),
        "short_term_tax_rate": Decimal("0.4"),
        "long_term_tax_rate": Decimal("0.2"),
        "lots": LOTS,
    }
    lots = changes.get("lots", LOTS)
    held: dict[str, Decimal] = {}
    for each in lots:
        held[each.instrument_id] = held.get(each.instrument_id, Decimal(0)) + each.quantity
    plain["holdings"] = tuple(Holding(name, quantity) for name, quantity in held.items())
    return Portfolio(**{**plain, **changes})


def preferences(**changes: Any) -> dict[str, Any]:
    """Rebalancing preferences as storage keeps them."""
    return {"rebalancing": changes}


async def store_market(database: Database, prices: Mapping[str, float] = PRICES) -> str:
    """Stores instruments and a pack of prices of two days; returns the pack's id."""
    names = tuple(sorted(prices))
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(
            [
                Instrument(id=name, name=name, asset_class="equity", sector="x", lot_size=Decimal("0.000001"))
                for name in names
            ]
        )
    return await store_prices(database, prices, TODAY)


async def store_prices(database: Database, prices: Mapping[str, float], as_of: date) -> str:
    names = tuple(sorted(prices))
    closes = np.array([[prices[name] for name in names]] * 2)
    days = np.datetime64(as_of - timedelta(days=1)) + np.arange(2)
    async with database.transaction() as connection:
        return (await PricingPackRepository(connection).store(PriceTable(names, days, closes), "by hand")).id


async def store_portfolio(database: Database, stored: Portfolio) -> None:
    async with database.transaction() as connection:
        await PortfolioRepository(connection).put(stored)


async def find_portfolio(database: Database, portfolio_id: str = "one") -> Portfolio:
    async with database.transaction() as connection:
        return await PortfolioRepository(connection).find(portfolio_id)


@dataclass(frozen=True)
class Order:
    """A trade of a plan; lots are those that the plan chose for a sale, each with this gain."""

    action: str
    instrument_id: str
    quantity: str
    lots: tuple[tuple[str, str], ...] = ()
    gain: str = ""


SALE = Order("sell", "XOM", "100", (("x2", "40"), ("x1", "60")))
PURCHASE = Order("buy", "PEP", "60")


async def propose(
    database: Database,
    orders: Iterable[Order] = (SALE, PURCHASE),
    portfolio_id: str = "one",
    *,
    prices: Mapping[str, float] = PRICES,
    at: datetime = NOW,
    settings: Settings | None = None,
) -> str:
    """Stores a plan of these orders with its proposal; returns its id."""
    async with database.transaction() as connection:
        held = await PortfolioRepository(connection).find(portfolio_id)
        pack = await PricingPackRepository(connection).latest(list(prices))
    money = {name: Decimal(repr(price)) for name, price in prices.items()}
    request = RebalanceRequest(
        id=str(uuid.uuid4()), portfolio_id=portfolio_id, target_type="custom", pricing_pack_id=pack.id, created_at=at
    )
    response = _response(request, list(orders), money)
    async with database.transaction() as connection:
        household = await load_household(connection, portfolio_id, at.date(), held)
    exposure = exposure_of(household.household, exposed_trades(response, held.id, at.date()), household.rules)
    hashed = plan_hash(held, money, {"tax_rules": "US/1989-01-01"}, {}, pack.id, exposure=exposure)
    response.input_hash = hashed.value
    content = to_json(response)
    result = RebalanceResult(
        rebalance_id=request.id,
        current_allocation={},
        target_allocation={},
        trades=content.pop("trades", []),
        metrics=content.pop("metrics", {}),
        details=content,
    )
    async with database.transaction() as connection:
        repository = RebalanceRepository(connection)
        await repository.create(request)
        await repository.complete(request.id, "completed", result, None)
        members = await PortfolioRepository(connection).household(portfolio_id)
        last = await PlanRepository(connection).last_transaction(members)
        event = await open_plan(
            connection, NewPlan(response, held, money, hashed, settings or Settings(), exposure, last), "maker"
        )
        await EventRepository(connection).append(event)
    return request.id


def _response(
    request: RebalanceRequest, orders: Sequence[Order], prices: Mapping[str, Decimal]
) -> pb.RebalancePlanResponse:
    gross = sum((Decimal(order.quantity) * prices[order.instrument_id] for order in orders), Decimal(0))
    response = pb.RebalancePlanResponse(
        portfolio_id=request.portfolio_id,
        rebalance_id=request.id,
        created_at=timestamp(request.created_at),
        pricing_pack_id=request.pricing_pack_id or "",
        target_type="custom",
        reason="a test",
        metrics=pb.RebalanceMetrics(gross_trade_amount=f"{gross:f}"),
    )
    for k, order in enumerate(orders, 1):
        response.trades.add(
            instrument_id=order.instrument_id,
            action=order.action,
            quantity=float(order.quantity),
            exact_quantity=order.quantity,
            priority=k,
            price_amount=f"{prices[order.instrument_id]:f}",
        )
        for lot_id, quantity in order.lots:
            response.tax.sales.append(
                trade_pb2.TaxLotSale(
                    lot_id=lot_id, instrument_id=order.instrument_id, quantity=quantity, gain_amount=order.gain
                )
            )
    return response


FILLED = plan_workflow_pb2.EXECUTION_STATUS_FILLED
PARTIALLY_FILLED = plan_workflow_pb2.EXECUTION_STATUS_PARTIALLY_FILLED
REJECTED = plan_workflow_pb2.EXECUTION_STATUS_REJECTED
CANCELLED = plan_workflow_pb2.EXECUTION_STATUS_CANCELLED


def report(execution_id: str, order: Order, quantity: str = "", /, **changes: Any) -> plan_workflow_pb2.ExecutionReport:
    """A fill of an order, whole unless a quantity is given."""
    plain = {
        "execution_id": execution_id,
        "instrument_id": order.instrument_id,
        "action": order.action,
        "status": PARTIALLY_FILLED if quantity else FILLED,
        "quantity": quantity or order.quantity,
        "price_amount": f"{PRICES.get(order.instrument_id, 1.0)}",
        "cost_amount": "1.00",
        "executed_at": timestamp(NOW),
    }
    return plan_workflow_pb2.ExecutionReport(**{**plain, **changes})


def ended(execution_id: str, order: Order, status: int, /, **changes: Any) -> plan_workflow_pb2.ExecutionReport:
    """An order that ended without being filled."""
    plain = {
        "execution_id": execution_id,
        "instrument_id": order.instrument_id,
        "action": order.action,
        "status": status,
        "executed_at": timestamp(NOW),
    }
    return plan_workflow_pb2.ExecutionReport(**{**plain, **changes})


def reports(
    rebalance_id: str, *items: plan_workflow_pb2.ExecutionReport
) -> rebalancing_calls_pb2.RecordExecutionRequest:
    return rebalancing_calls_pb2.RecordExecutionRequest(rebalance_id=rebalance_id, reports=items)


async def approved(plans: PlanWorkflow, rebalance_id: str) -> None:
    """Brings a proposal to its approval."""
    workflow = await plans.submit(rebalance_id, "", "maker")
    if workflow.status == plan_workflow_pb2.REBALANCE_PLAN_STATUS_PENDING_APPROVAL:
        await plans.approve(rebalance_id, "", "boss")


def changed(stored: Portfolio, **changes: Any) -> Portfolio:
    """The portfolio as somebody puts it now."""
    return replace(stored, updated_at=datetime.now(UTC), **changes)


def word(workflow: plan_workflow_pb2.PlanWorkflow) -> str:
    return plan_workflow_pb2.RebalancePlanStatus.Name(workflow.status).removeprefix("REBALANCE_PLAN_STATUS_").lower()


async def ready(plans: PlanWorkflow, database: Database, *orders: Order, portfolio_id: str = "one") -> str:
    """An approved plan."""
    plan = await propose(database, orders or (SALE, PURCHASE), portfolio_id)
    await approved(plans, plan)
    return plan


async def transactions(database: Database, portfolio_id: str = "one") -> tuple[Transaction, ...]:
    async with database.transaction() as connection:
        return await TransactionRepository(connection).page(portfolio_id, 1000)


def tax_of(stored: Portfolio) -> tuple[Decimal, Decimal]:
    """Short-term and long-term gains of the year so far."""
    tax = stored.account.get("tax", {})
    return Decimal(tax.get("realized_short_term_amount", "0")), Decimal(tax.get("realized_long_term_amount", "0"))
