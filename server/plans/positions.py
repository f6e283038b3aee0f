"""What a portfolio holds at a moment, as far as plans and their executions are concerned: exact, and replayable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from kernel.rebalancing.money import ZERO, to_cents
from server.specs import CASH
from storage.plan_records import PlanExecution
from storage.records import Json, Portfolio

_WITH_FLOW = "cash_with_flow"


@dataclass(frozen=True, slots=True)
class Position:
    """Shares per instrument, never zero, and cash."""

    quantities: Mapping[str, Decimal]
    cash: Decimal


def position_of(portfolio: Portfolio) -> Position:
    """What a portfolio holds."""
    return Position({held.instrument_id: held.quantity for held in portfolio.holdings if held.quantity}, portfolio.cash)


def cash_effect(execution: PlanExecution) -> Decimal:
    """Change of cash by an execution, to the cent: its value rounded, less its costs."""
    value = to_cents(execution.quantity * (execution.price or ZERO))
    return (value if execution.action == "sell" else -value) - execution.cost


def after_execution(position: Position, execution: PlanExecution) -> Position:
    """What is held after one execution report."""
    sign = 1 if execution.action == "buy" else -1
    name = execution.instrument_id
    quantities = dict(position.quantities)
    quantities[name] = quantities.get(name, ZERO) + sign * execution.quantity
    return Position(
        {key: quantity for key, quantity in quantities.items() if quantity}, position.cash + cash_effect(execution)
    )


def replay(before: Position, executions: Iterable[PlanExecution]) -> Position:
    """What is held after all reports, from what was held before the first.

    Args:
        before: Holdings and cash.
        executions: In any order; sums do not depend on it.
    """
    for execution in executions:
        before = after_execution(before, execution)
    return before


def weights(position: Position, prices: Mapping[str, Decimal]) -> dict[str, float]:
    """Weights with cash, as fractions that add to 1; empty where something has no price or the sum is not positive."""
    if any(name not in prices for name in position.quantities):
        return {}
    values = {CASH: position.cash, **{name: held * prices[name] for name, held in position.quantities.items()}}
    total = sum(values.values(), ZERO)
    return {name: float(value / total) for name, value in values.items()} if total > 0 else {}


def to_stored(position: Position, flow: Decimal = ZERO) -> Json:
    """As storage keeps it.

    Args:
        position: Holdings and cash.
        flow: Cash that the plan counts and that has not come yet, negative for what is to go.
    """
    quantities = {name: f"{held:f}" for name, held in sorted(position.quantities.items())}
    rest = {_WITH_FLOW: f"{position.cash + flow:f}"} if flow else {}
    return {"quantities": quantities, "cash": f"{position.cash:f}", **rest}


def cash_with_flow(content: Json) -> Decimal | None:
    """The cash once the flow that the plan counts has come; None where it counts none."""
    return Decimal(content[_WITH_FLOW]) if _WITH_FLOW in content else None


def from_stored(content: Json) -> Position:
    """What storage kept; nothing where nothing was kept."""
    quantities = {name: Decimal(held) for name, held in content.get("quantities", {}).items()}
    return Position(quantities, Decimal(content.get("cash", "0")))
