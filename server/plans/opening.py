"""The beginning of a plan's way: its proposal, in the transaction that stores the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.plan_events import rebalance_plan_proposed
from server.plans.hash import PlanHash
from server.plans.positions import position_of, to_stored
from server.plans.states import PlanStatus
from server.plans.terms import lapses_at, terms_of
from server.settings import Settings
from storage.database import Connection
from storage.plan_records import PlanState, PlanTransition
from storage.plans import PlanRepository
from storage.records import Event, Json, Portfolio

# What is called the first transition's action: nothing but the making of the plan leads there.
PROPOSE = "propose"


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan that is being stored.

    Attributes:
        response: The plan, with its id and time.
        portfolio: As it was read for the plan; its preferences say for how long the plan holds.
        prices: All prices used: of holdings and trades.
        input_hash: Of all that the plan was made from.
        settings: The service's defaults.
        exposure: What the trades meet in the wash-sale window of the household; None where that is not known.
    """

    response: pb.RebalancePlanResponse
    portfolio: Portfolio
    prices: Mapping[str, Decimal]
    input_hash: PlanHash
    settings: Settings
    exposure: Json | None = None
    last_transaction: int = 0


async def open_plan(connection: Connection, plan: NewPlan, actor: str) -> Event:
    """Propose a plan.

    What the plan was made from is what was read for it: where the portfolio has changed since, the first look finds
    that the plan does not hold.

    Returns:
        What is to be told. The order of events is that of commits: it is appended last in the transaction.

    Raises:
        NotReady: The preferences of the portfolio are not what the contract says.
        Conflict: The plan is open already.
    """
    plans, state = PlanRepository(connection), _state(plan)
    transition = PlanTransition(
        rebalance_id=state.rebalance_id,
        number=state.version,
        action=PROPOSE,
        status=state.status,
        at=state.created_at,
        actor=actor,
        comment=plan.response.reason,
    )
    await plans.insert(state, transition)
    required = state.gross_amount > state.approval_limit
    return rebalance_plan_proposed(plan.response, approval_required=required, expires_at=state.expires_at)


def _state(plan: NewPlan) -> PlanState:
    response, terms = plan.response, terms_of(plan.portfolio, plan.settings)
    created_at = response.created_at.ToDatetime(UTC)
    used = {held.instrument_id for held in plan.portfolio.holdings} | {trade.instrument_id for trade in response.trades}
    return PlanState(
        rebalance_id=response.rebalance_id,
        portfolio_id=response.portfolio_id,
        status=PlanStatus.PROPOSED,
        gross_amount=Decimal(response.metrics.gross_trade_amount or "0"),
        approval_limit=terms.approval_limit,
        validity_hours=terms.validity_hours,
        expires_at=lapses_at(created_at, terms.validity_hours),
        max_price_move=terms.max_price_move,
        max_weight_move=terms.max_weight_move,
        input_hash=plan.input_hash.value,
        input_parts=dict(plan.input_hash.parts),
        prices={name: f"{price:f}" for name, price in sorted(plan.prices.items()) if name in used},
        position_before=to_stored(position_of(plan.portfolio), _deposit(plan)),
        exposure=plan.exposure,
        last_transaction=plan.last_transaction,
        created_at=created_at,
    )


def _deposit(plan: NewPlan) -> Decimal:
    """Cash that the plan invests and that has not come yet."""
    if plan.response.strategy != pb.REBALANCE_STRATEGY_CASH_FLOW:
        return Decimal(0)
    return Decimal(plan.response.cash_before_amount) - plan.portfolio.cash
