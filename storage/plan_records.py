"""The frozen records of the way of a rebalance plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from storage.records import Json, utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    """Where a plan is, and what it holds for. Decimal numbers within JSON are text.

    Attributes:
        status: proposed, pending_approval, approved, rejected, expired, executed or cancelled.
        version: Number of the last transition, from 1.
        gross_amount: Sum of the values of purchases and sales.
        approval_limit: Gross amount above which an approval is needed.
        validity_hours: Hours after which a proposal or an approval lapses.
        expires_at: When that is; None where it does not lapse any more.
        max_price_move: Fraction of the plan's price beyond which it lapses.
        max_weight_move: Fraction of the portfolio beyond which it lapses.
        input_hash: Of ``input_parts``.
        input_parts: Hash by part: holdings, lots, cash, account, prices, rules, request, household.
        prices: Price per instrument that the plan was made with.
        position_before: Quantities and cash that the plan was made from.
        exposure: What the trades met in the household's wash-sale window when the plan was made; None = not known.
        last_transaction: Place of the household's last transaction that the plan's taxes were computed with.
        position_after: The same after the last execution; None before the first with shares or costs.
        seen_portfolio: ``updated_at`` of the portfolio at the last look; None = not looked at yet.
        seen_household: Its accounts with their ``updated_at`` at the last look.
        seen_packs: Number of pricing packs at the last look.
    """

    rebalance_id: str
    portfolio_id: str
    status: str
    version: int = 1
    gross_amount: Decimal
    approval_limit: Decimal
    validity_hours: float
    expires_at: datetime | None
    max_price_move: Decimal
    max_weight_move: Decimal
    input_hash: str
    input_parts: Json
    prices: Json
    position_before: Json
    exposure: Json | None = None
    last_transaction: int = 0
    position_after: Json | None = None
    seen_portfolio: datetime | None = None
    seen_household: str | None = None
    seen_packs: int = 0
    created_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTransition:
    """A change of status, or a note that keeps it.

    Attributes:
        number: Counts those of a plan from 1.
        action: The call that led to it; "note" for a note.
    """

    rebalance_id: str
    number: int
    action: str
    status: str
    at: datetime
    actor: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExecution:
    """What the order management service reports about an order of a plan.

    Attributes:
        number: Counts the reports of a plan from 1, in the order in which they came.
        action: buy or sell.
        status: partially_filled, filled, rejected or cancelled.
        quantity: Shares executed by this report, >= 0.
        price: Per share; None where nothing was executed.
        cost: Commission and fees, >= 0.
        traded_on: Day that counts for holding periods.
    """

    rebalance_id: str
    execution_id: str
    number: int
    instrument_id: str
    action: str
    status: str
    quantity: Decimal
    price: Decimal | None
    cost: Decimal
    executed_at: datetime | None
    traded_on: date
    comment: str
    recorded_at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterTrades:
    """What to look for among transactions.

    Attributes:
        portfolio_ids: Accounts of the household.
        after: Only transactions behind this place.
        since: Only those on or after this day.
        sold_at_loss: Sales of these at a loss, or with an unknown gain.
        bought: Purchases of these.
    """

    portfolio_ids: tuple[str, ...]
    after: int
    since: date
    sold_at_loss: tuple[str, ...]
    bought: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """A row of the list of plans. ``stale``: its portfolio, prices or time have moved on since the last look."""

    rebalance_id: str
    portfolio_id: str
    target_type: str
    status: str
    created_at: datetime
    trade_count: int
    metrics: Json
    stale: bool
