"""What happens in other accounts of a household, and which plans it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from plan_examples import (
    TODAY,
    Order,
    approved,
    changed,
    find_portfolio,
    lot,
    portfolio,
    propose,
    report,
    reports,
    store_portfolio,
    word,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.errors import Conflict
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.records import Holding, Transaction
from storage.transactions import TransactionRepository

LOSS, BACK, LIKE = Order("sell", "XOM", "40", (("x2", "40"),)), Order("buy", "XOM", "10"), Order("buy", "PEP", "10")


async def store_household(database: Database) -> None:
    """A taxable account and a retirement account of one household."""
    home = {"household_id": "home"}
    await store_portfolio(database, portfolio(account=home))
    ira = {**home, "account_type": "ACCOUNT_TYPE_TAX_DEFERRED"}
    await store_portfolio(database, portfolio("ira", account=ira, lots=(), cash=Decimal(9000)))


async def make_identical(database: Database, one: str, other: str) -> None:
    async with database.transaction() as connection:
        await IdenticalInstrumentRepository(connection).replace(one, [other])


async def execute(plans: PlanWorkflow, plan: str, *items: pb.ExecutionReport) -> None:
    await approved(plans, plan)
    await plans.record(reports(plan, *items), "oms")


@pytest.mark.parametrize(
    ("order", "identical", "price", "lapses"),
    [
        (BACK, False, "110", True),
        (LIKE, True, "110", True),
        (LIKE, False, "110", False),
        # Sold at a gain there is no loss that a purchase could disallow.
        (BACK, False, "130", False),
    ],
)
async def test_a_loss_of_the_household_ends_a_plan_that_would_buy_the_shares_back(
    plans: PlanWorkflow, database: Database, order: Order, price: str, *, identical: bool, lapses: bool
) -> None:
    await store_household(database)
    if identical:
        await make_identical(database, "PEP", "XOM")
    waiting = await propose(database, [order], "ira")
    await execute(plans, await propose(database, [LOSS]), report("1", LOSS, price_amount=price))
    workflow = (await plans.find(waiting)).workflow
    assert word(workflow) == ("expired" if lapses else "proposed")
    if lapses:
        assert (
            "XOM was sold at a loss, and the plan buys it or its like: portfolio one"
            in workflow.transitions[-1].comment
        )


@pytest.mark.parametrize(("gain", "lapses"), [("-400.00", True), ("400.00", False), ("", False)])
async def test_a_purchase_of_the_household_ends_a_plan_that_would_sell_at_a_loss(
    plans: PlanWorkflow, database: Database, gain: str, *, lapses: bool
) -> None:
    await store_household(database)
    waiting = await propose(database, [replace(LOSS, gain=gain)])
    await plans.submit(waiting, "", "maker")
    await execute(plans, await propose(database, [BACK], "ira"), report("1", BACK))
    workflow = (await plans.find(waiting)).workflow
    assert word(workflow) == ("expired" if lapses else "approved")
    if lapses:
        comment = workflow.transitions[-1].comment
        assert "XOM was bought, and the plan sells it or its like at a loss: portfolio ira" in comment


@pytest.mark.parametrize("step", ["submit", "record"])
async def test_a_loss_that_is_noted_from_elsewhere_ends_a_plan_at_its_next_step(
    plans: PlanWorkflow, database: Database, step: str
) -> None:
    await store_household(database)
    waiting = await propose(database, [BACK], "ira")
    if step == "record":
        await plans.submit(waiting, "", "maker")
    async with database.transaction() as connection:
        await TransactionRepository(connection).append([elsewhere(TODAY)])
    if step == "submit":
        assert word(await plans.submit(waiting, "", "maker")) == "expired"
    else:
        with pytest.raises(Conflict, match="has lapsed before its first execution"):
            await plans.record(reports(waiting, report("1", BACK)), "oms")
    assert "portfolio one, transaction noted" in (await plans.find(waiting)).workflow.transitions[-1].comment


def elsewhere(day: date) -> Transaction:
    """A sale at a loss that happened outside of the service."""
    return Transaction(
        portfolio_id="one",
        id="noted",
        instrument_id="XOM",
        action="sell",
        quantity=Decimal(1),
        price=Decimal(1),
        traded_on=day,
        gain=Decimal(-9),
    )


SINCE = date(2026, 11, 2)
PURCHASES = {
    "the same shares": (lot("n", "XOM", "100", SINCE, "100"), False, "account ira holds 100 of XOM bought within"),
    "identical shares": (lot("n", "PEP", "7.5", SINCE, "100"), True, "account ira holds 7.5 of PEP bought within"),
    "other shares": (lot("n", "PEP", "100", SINCE, "100"), False, ""),
    "too old": (lot("n", "XOM", "100", TODAY - timedelta(days=31), "100"), False, ""),
}


@pytest.mark.parametrize("name", PURCHASES)
@pytest.mark.parametrize("step", ["approve", "record", "look"])
async def test_a_replacement_that_another_account_is_put_with_ends_a_plan_that_sells_at_a_loss(
    plans: PlanWorkflow, database: Database, name: str, step: str
) -> None:
    bought, identical, reason = PURCHASES[name]
    await store_household(database)
    if identical:
        await make_identical(database, "PEP", "XOM")
    waiting = await propose(database, [replace(LOSS, gain="-400.00"), Order("buy", "KO", "100")])
    await plans.submit(waiting, "", "maker")
    if step == "record":
        await plans.approve(waiting, "", "boss")
    else:
        await plans.find(waiting)
    ira = await find_portfolio(database, "ira")
    held = (Holding(bought.instrument_id, bought.quantity),)
    await store_portfolio(database, changed(ira, lots=(bought,), holdings=held))
    if step == "look":
        assert await plans.look_at_all() == bool(reason)
    elif step == "approve":
        assert word(await plans.approve(waiting, "", "boss")) == ("expired" if reason else "approved")
    elif reason:
        with pytest.raises(Conflict, match="has lapsed before its first execution"):
            await plans.record(reports(waiting, report("1", LOSS)), "oms")
    else:
        await plans.record(reports(waiting, report("1", LOSS)), "oms")
    workflow = (await plans.find(waiting)).workflow
    assert (word(workflow) == "expired") == bool(reason)
    assert reason in workflow.transitions[-1].comment


@pytest.mark.parametrize("side", ["sell", "buy"])
async def test_instruments_that_become_identical_end_a_plan_that_they_touch(
    plans: PlanWorkflow, database: Database, side: str
) -> None:
    await store_household(database)
    if side == "sell":
        ira = await find_portfolio(database, "ira")
        young = (lot("n", "PEP", "30", SINCE, "100"),)
        await store_portfolio(database, changed(ira, lots=young, holdings=(Holding("PEP", Decimal(30)),)))
    else:
        await execute(plans, await propose(database, [LOSS]), report("1", LOSS, price_amount="110"))
    order = replace(LOSS, gain="-400.00") if side == "sell" else LIKE
    waiting = await propose(database, [order], "one" if side == "sell" else "ira")
    await plans.submit(waiting, "", "maker")
    await make_identical(database, "PEP", "XOM")
    with pytest.raises(Conflict, match="has lapsed before its first execution"):
        await plans.record(reports(waiting, report("2", order)), "oms")
    comment = (await plans.find(waiting)).workflow.transitions[-1].comment
    if side == "sell":
        assert "sells XOM at a loss, and account ira holds 30 of PEP" in comment
    else:
        assert "buys PEP, and account one has sold 40 of XOM at a loss" in comment


async def test_an_account_that_loses_its_replacements_ends_no_plan(plans: PlanWorkflow, database: Database) -> None:
    await store_household(database)
    ira = await find_portfolio(database, "ira")
    young = (lot("n", "XOM", "30", SINCE, "100"),)
    await store_portfolio(database, changed(ira, lots=young, holdings=(Holding("XOM", Decimal(30)),)))
    waiting = await propose(database, [replace(LOSS, gain="-400.00")])
    await store_portfolio(database, changed(ira, lots=(), holdings=()))
    assert word(await plans.submit(waiting, "", "maker")) == "approved"
    assert word(await plans.record(reports(waiting, report("1", LOSS)), "oms")) == "executed"


async def test_old_trades_and_other_trades_of_the_household_end_no_plan(
    plans: PlanWorkflow, database: Database
) -> None:
    await store_household(database)
    waiting = await propose(database, [BACK], "ira")
    async with database.transaction() as connection:
        await TransactionRepository(connection).append([elsewhere(TODAY - timedelta(days=31))])
    await execute(plans, await propose(database, [LIKE]), report("1", LIKE))
    assert word(await plans.submit(waiting, "", "maker")) == "approved"
