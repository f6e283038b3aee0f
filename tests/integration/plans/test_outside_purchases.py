"""Shares that a plan sold at a loss and that somebody buys back outside of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from plan_examples import (
    TODAY,
    Order,
    approved,
    find_portfolio,
    lot,
    portfolio,
    propose,
    report,
    reports,
    store_portfolio,
)
from portfolio_optimization.v1 import portfolio_data_pb2, taxes_pb2

from server.convert.portfolios import write_portfolio
from server.outside_purchases import OutsideWashSales
from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from server.workflows.portfolios import PortfolioWorkflow
from server.workflows.tax_data import TaxDataWorkflow
from storage.database import Database
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.records import Portfolio, TaxLot

# 40 * (110 - 120), held from 2026-09-01 on: 80 days.
LOSS = Order("sell", "XOM", "40", (("x2", "40"),))
HOME = {"household_id": "home"}
IRA = {**HOME, "account_type": "ACCOUNT_TYPE_TAX_DEFERRED"}


async def sell_at_a_loss(plans: PlanWorkflow, database: Database) -> None:
    """The account `one` realises a loss of 400; the IRA of its household holds nothing."""
    await store_portfolio(database, portfolio(account=HOME))
    await store_portfolio(database, portfolio("ira", account=IRA, lots=(), cash=Decimal(9000)))
    plan = await propose(database, [LOSS])
    await approved(plans, plan)
    await plans.record(reports(plan, report("1", LOSS, cost_amount="0")), "oms")
    assert realised(await find_portfolio(database)) == Decimal("-400.00")


def realised(stored: Portfolio) -> Decimal:
    """The short-term gain of the year."""
    return Decimal(stored.account.get("tax", {}).get("realized_short_term_amount", "0"))


async def note(
    database: Database, portfolio_id: str = "one", quantity: str = "40", **changes: Any
) -> tuple[int, OutsideWashSales]:
    plain = {
        "transaction_id": "back",
        "instrument_id": "XOM",
        "action": "buy",
        "quantity": quantity,
        "price_amount": "111",
        "traded_on": TODAY.isoformat(),
        "lot_id": "back",
    }
    row = taxes_pb2.PortfolioTransaction(**{**plain, **changes})
    request = taxes_pb2.RecordTransactionsRequest(portfolio_id=portfolio_id, transactions=[row])
    return await TaxDataWorkflow(database, Settings()).record(request)


async def put_with(database: Database, bought: TaxLot | None, portfolio_id: str = "one") -> Portfolio:
    """Puts what is stored together with a lot, as a caller who has read it does."""
    message = write_portfolio(await find_portfolio(database, portfolio_id))
    if bought is not None:
        held = {holding.instrument_id: holding for holding in message.holdings}
        if bought.instrument_id not in held:
            held[bought.instrument_id] = message.holdings.add(instrument_id=bought.instrument_id, quantity="0")
        holding = held[bought.instrument_id]
        holding.quantity = f"{Decimal(holding.quantity) + bought.quantity:f}"
        message.lots.add(
            lot_id=bought.id,
            instrument_id=bought.instrument_id,
            quantity=f"{bought.quantity:f}",
            acquired_on=str(bought.acquired_on),
            cost_per_share_amount=f"{bought.cost_per_share:f}",
            replaced_loss=bought.replaced_loss,
        )
    request = portfolio_data_pb2.PutPortfolioRequest(portfolio=message)
    return (await PortfolioWorkflow(database, Settings()).put(request))[0]


def bought_lots(stored: Portfolio) -> list[tuple[str, Decimal, Decimal | None, date | None, bool]]:
    return [
        (each.id, each.quantity, each.cost_per_share, each.held_since, each.replaced_loss)
        for each in stored.lots
        if each.id.startswith("back")
    ]


def told(found: Sequence[Any]) -> list[tuple[str, str, Decimal, Decimal, bool]]:
    return [(each.account_id, each.lot_id, each.quantity, each.disallowed, each.lost) for each in found]


BACK = lot("back", "XOM", "40", TODAY, "111")
SINCE = TODAY - timedelta(days=80)
TAKEN_OVER = [("back", Decimal(40), Decimal(121), SINCE, True)]


@pytest.mark.parametrize("named", [True, False])
async def test_a_purchase_that_is_noted_first_is_settled_when_its_lot_is_put(
    plans: PlanWorkflow, database: Database, *, named: bool
) -> None:
    await sell_at_a_loss(plans, database)
    changes = {} if named else {"lot_id": ""}
    for recorded in (1, 0):
        count, found = await note(database, **changes)
        assert count == recorded
        assert told(found.pending) == [("one", "back" if named else "", 40, Decimal(400), False)]
        assert found.booked == []
    # Until then the loss stays where it is.
    assert realised(await find_portfolio(database)) == -400
    stored = await put_with(database, BACK)
    assert realised(stored) == 0
    assert bought_lots(stored) == TAKEN_OVER
    # Once settled nothing is settled again, whatever is called.
    assert (await note(database, **changes))[1] == OutsideWashSales()
    assert bought_lots(await put_with(database, None)) == TAKEN_OVER
    assert realised(await find_portfolio(database)) == 0


async def test_a_purchase_whose_lot_is_there_is_settled_at_once(plans: PlanWorkflow, database: Database) -> None:
    await sell_at_a_loss(plans, database)
    # A lot alone says nothing of a purchase.
    assert realised(await put_with(database, BACK)) == -400
    _, found = await note(database)
    assert told(found.booked) == [("one", "back", 40, Decimal(400), False)]
    assert found.pending == []
    stored = await find_portfolio(database)
    assert (realised(stored), bought_lots(stored)) == (0, TAKEN_OVER)


async def test_a_part_of_the_shares_takes_back_a_part_of_the_loss(plans: PlanWorkflow, database: Database) -> None:
    await sell_at_a_loss(plans, database)
    await note(database, quantity="10")
    stored = await put_with(database, lot("back", "XOM", "10", TODAY, "111"))
    assert (realised(stored), bought_lots(stored)) == (-300, [("back", 10, 121, SINCE, True)])
    more = {"transaction_id": "more", "lot_id": "back2"}
    _, found = await note(database, quantity="50", **more)
    assert told(found.pending) == [("one", "back2", 30, Decimal(300), False)]
    stored = await put_with(database, lot("back2", "XOM", "50", TODAY, "111"))
    assert realised(stored) == 0
    assert bought_lots(stored)[1:] == [("back2", 20, 111, None, False), ("back2~1", 30, 121, SINCE, True)]


@pytest.mark.parametrize("put_first", [True, False])
async def test_a_purchase_in_a_retirement_account_loses_the_loss(
    plans: PlanWorkflow, database: Database, *, put_first: bool
) -> None:
    await sell_at_a_loss(plans, database)
    if put_first:
        await put_with(database, BACK, "ira")
        found = (await note(database, "ira"))[1].booked
    else:
        found = (await note(database, "ira"))[1].pending
        await put_with(database, BACK, "ira")
    assert told(found) == [("ira", "back", 40, Decimal(400), True)]
    assert realised(await find_portfolio(database)) == 0
    # No basis takes it over.
    assert bought_lots(await find_portfolio(database, "ira")) == [("back", 40, 111, None, True)]
    assert realised(await find_portfolio(database, "ira")) == 0


@pytest.mark.parametrize("identical", [True, False])
async def test_other_shares_replace_only_what_they_are_identical_to(
    plans: PlanWorkflow, database: Database, *, identical: bool
) -> None:
    await sell_at_a_loss(plans, database)
    if identical:
        async with database.transaction() as connection:
            await IdenticalInstrumentRepository(connection).replace("PEP", ["XOM"])
    await note(database, instrument_id="PEP")
    stored = await put_with(database, lot("back", "PEP", "40", TODAY, "111"))
    assert realised(stored) == (0 if identical else -400)


@pytest.mark.parametrize(
    ("bought", "changes"),
    [
        # Whoever has settled it in the lot already has done so in the figures, too.
        (replace(BACK, cost_per_share=Decimal(121), replaced_loss=True), {}),
        (lot("back", "XOM", "40", TODAY - timedelta(days=31), "111"), {"traded_on": "2026-10-20"}),
        (lot("back", "KO", "40", TODAY, "111"), {"instrument_id": "KO"}),
        # A lot that is not the one bought.
        (lot("another", "XOM", "40", TODAY, "111"), {}),
    ],
)
async def test_what_replaces_nothing_changes_nothing(
    plans: PlanWorkflow, database: Database, bought: TaxLot, changes: dict[str, Any]
) -> None:
    await sell_at_a_loss(plans, database)
    await note(database, **changes)
    stored = await put_with(database, bought)
    assert realised(stored) == -400
    kept = next(each for each in stored.lots if each.id == bought.id)
    assert kept == bought


async def test_sales_and_old_transactions_settle_nothing(plans: PlanWorkflow, database: Database) -> None:
    await sell_at_a_loss(plans, database)
    sale = {"transaction_id": "s", "action": "sell", "acquired_on": "2026-11-19", "gain_amount": "5"}
    assert (await note(database, **sale))[1] == OutsideWashSales()
    old = {"transaction_id": "o", "traded_on": "1975-03-03"}
    assert (await note(database, **old))[1] == OutsideWashSales()
    assert realised(await find_portfolio(database)) == -400
