"""What a plan still sells while its fills come in, and what of it is held after all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.household import Household, RealizedLoss
from kernel.rebalancing.money import ZERO
from server.households import LoadedHousehold, engine_lots
from server.plan_ledger import OpenSale, PlannedLot, left_of_plan
from server.plan_progress import progress_of
from server.tax_history import History, window_of, with_history
from storage.database import Connection
from storage.plan_records import PlanExecution
from storage.transactions import TransactionRepository

_SELL = "sell"


def planned_lots(
    chosen: Iterable[trade_pb2.TaxLotSale], done: Iterable[PlanExecution], instrument_id: str
) -> tuple[PlannedLot, ...]:
    """The lots that a plan chose for a sale, without those that went with earlier fills."""
    own = [PlannedLot(sale.lot_id, Decimal(sale.quantity)) for sale in chosen if sale.instrument_id == instrument_id]
    key = (instrument_id, _SELL)
    return left_of_plan(own, sum((one.quantity for one in done if (one.instrument_id, one.action) == key), ZERO))


def open_sales(
    made: pb.RebalancePlanResponse, done: Sequence[PlanExecution], coming: Sequence[PlanExecution], day: date
) -> dict[str, OpenSale]:
    """What else is sold on the day of a fill: by fills that are known, and by orders that are open still.

    Args:
        made: The plan.
        done: Reports up to the fill, itself among them.
        coming: Reports that are known and not entered yet.
        day: Of the fill.

    Returns:
        By instrument; those of which nothing more is sold are left out.
    """
    found: dict[str, OpenSale] = {}
    prices = {trade.instrument_id: Decimal(trade.price_amount or "0") for trade in made.trades}
    for (name, action), trade in progress_of(made.trades, [*done, *coming]).items():
        if action == _SELL:
            key = (name, action, day)
            known = sum(
                (one.quantity for one in coming if (one.instrument_id, one.action, one.traded_on) == key), ZERO
            )
            quantity = known if trade.closed else known + trade.planned - trade.filled
            if quantity > ZERO:
                found[name] = OpenSale(quantity, prices[name], planned_lots(made.tax.sales, done, name))
    return found


def sales_are_closed(made: pb.RebalancePlanResponse, reports: Iterable[PlanExecution]) -> bool:
    """Whether the plan sells nothing more."""
    return all(trade.closed for (_, action), trade in progress_of(made.trades, reports).items() if action == _SELL)


async def losses_of_plan(
    connection: Connection, loaded: LoadedHousehold, rebalance_id: str, day: date
) -> tuple[RealizedLoss, ...]:
    """The losses of a plan's sales within the window of a day, as far as no wash sale is settled of them.

    Args:
        connection: Of the transaction.
        loaded: The household of the plan's portfolio.
        rebalance_id: The plan.
        day: The day.
    """
    ids, window = [portfolio.id for portfolio in loaded.portfolios], window_of(day, loaded.rules)
    repository = TransactionRepository(connection)
    rows = await repository.between(ids, *window)
    own = tuple(row for row in rows if row.rebalance_id == rebalance_id and row.action == _SELL)
    # Without lots nothing is taken as replaced: what the service has sold it has matched itself.
    bare = replace(loaded.household, lots=(), losses=(), sold=())
    return with_history(
        bare, History(own, await repository.matches(ids, *window)), loaded.rules, loaded.policies
    ).losses


def without_presumption(loaded: LoadedHousehold, day: date) -> Household:
    """The household with its lots as they are stored, none of them taken as a replacement of a loss known since."""
    return replace(loaded.household, lots=engine_lots(loaded.portfolios, day))
