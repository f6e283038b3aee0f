"""What a plan still sells while its fills come in, and what of it is held after all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.household import Household, RealizedLoss
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.wash_parts import is_part_of
from server.households import LoadedHousehold
from server.plans.ledger import OpenSale, PlannedLot, left_of_plan
from server.plans.progress import progress_of
from server.tax_history import History, window_of, with_history
from storage.database import Connection
from storage.plan_records import PlanExecution
from storage.transactions import TransactionRepository

_SELL = "sell"


@dataclass(frozen=True, slots=True)
class StillSold:
    """What a plan still sells when a fill comes in.

    Attributes:
        lots: For a sale: the lots that the plan chose for it and that no earlier fill has taken.
        others: What is sold on the same day after the fill, by instrument.
    """

    lots: tuple[PlannedLot, ...]
    others: dict[str, OpenSale]


def still_sold(
    made: pb.RebalancePlanResponse,
    done: Sequence[PlanExecution],
    fill: PlanExecution,
    coming: Sequence[PlanExecution],
) -> StillSold:
    """What a plan still sells on the day of a fill: by fills that are known, and by orders that stay open.

    Args:
        made: The plan.
        done: Reports before the fill.
        fill: The fill.
        coming: Reports that are known and not entered yet.
    """
    others: dict[str, OpenSale] = {}
    upto = [*done, fill]
    prices = {trade.instrument_id: Decimal(trade.price_amount or "0") for trade in made.trades}
    for (name, action), trade in progress_of(made.trades, [*upto, *coming]).items():
        if action == _SELL:
            key = (name, action, fill.traded_on)
            known = [one.quantity for one in coming if (one.instrument_id, one.action, one.traded_on) == key]
            quantity = sum(known, ZERO if trade.closed else trade.planned - trade.filled)
            if quantity > ZERO:
                others[name] = OpenSale(quantity, prices[name], _planned(made.tax.sales, upto, name))
    return StillSold(_planned(made.tax.sales, done, fill.instrument_id), others)


def _planned(
    chosen: Iterable[trade_pb2.TaxLotSale], done: Iterable[PlanExecution], name: str
) -> tuple[PlannedLot, ...]:
    """The lots that a plan chose for a sale, without those that went with earlier fills."""
    own = [PlannedLot(sale.lot_id, Decimal(sale.quantity)) for sale in chosen if sale.instrument_id == name]
    return left_of_plan(
        own, sum((one.quantity for one in done if (one.instrument_id, one.action) == (name, _SELL)), ZERO)
    )


def sales_are_closed(made: pb.RebalancePlanResponse, reports: Iterable[PlanExecution]) -> bool:
    """Whether the plan sells nothing more."""
    return all(trade.closed for (_, action), trade in progress_of(made.trades, reports).items() if action == _SELL)


async def executed_losses(
    connection: Connection, loaded: LoadedHousehold, day: date, rebalance_id: str = ""
) -> tuple[RealizedLoss, ...]:
    """The losses that plans have realised within the window of a day, as far as no wash sale is settled of them.

    Args:
        connection: Of the transaction.
        loaded: The household of the plan's portfolio.
        day: The day.
        rebalance_id: The plan; empty = all.
    """
    ids, window = [portfolio.id for portfolio in loaded.portfolios], window_of(day, loaded.rules)
    repository = TransactionRepository(connection)
    rows = await repository.between(ids, *window)
    own = tuple(
        row
        for row in rows
        if row.action == _SELL and row.rebalance_id is not None and rebalance_id in ("", row.rebalance_id)
    )
    # Without lots nothing is taken as replaced: what the service has sold it has matched itself.
    bare = replace(loaded.household, lots=(), losses=(), sold=())
    return with_history(
        bare, History(own, await repository.matches(ids, *window)), loaded.rules, loaded.policies
    ).losses


def as_stored(loaded: LoadedHousehold, account_id: str, lots: Collection[str]) -> Household:
    """The household in which lots of a portfolio are not taken as replacements of losses recorded since.

    Args:
        loaded: The household.
        account_id: The portfolio.
        lots: Lots of it, with the parts that were split off them.
    """
    portfolio = next(portfolio for portfolio in loaded.portfolios if portfolio.id == account_id)
    replaced = {lot.id: lot.replaced_loss for lot in portfolio.lots}
    return replace(
        loaded.household,
        lots=tuple(
            replace(held, lot=replace(held.lot, replaced_loss=replaced[held.lot_id]))
            if held.account_id == account_id
            and held.lot_id in replaced
            and any(held.lot_id == name or is_part_of(held.lot_id, name) for name in lots)
            else held
            for held in loaded.household.lots
        ),
    )
