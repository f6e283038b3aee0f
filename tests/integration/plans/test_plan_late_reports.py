"""Reports that come after a plan's end, without shares, or after somebody else changed what is held."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from plan_examples import (
    CANCELLED,
    PRICES,
    PURCHASE,
    REJECTED,
    SALE,
    TODAY,
    Clock,
    Order,
    approved,
    changed,
    ended,
    find_portfolio,
    lot,
    portfolio,
    propose,
    report,
    reports,
    store_portfolio,
    store_prices,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.convert.answers import timestamp
from server.plans.positions import Position, position_of, replay
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.errors import Conflict
from storage.plans import PlanRepository
from storage.records import Holding, Portfolio
from storage.transactions import TransactionRepository

EXPIRED, CANCELLED_PLAN = pb.REBALANCE_PLAN_STATUS_EXPIRED, pb.REBALANCE_PLAN_STATUS_CANCELLED
LOSS = Order("sell", "XOM", "40", (("x2", "40"),))


def fill(execution_id: str, order: Order, quantity: str, at: datetime) -> pb.ExecutionReport:
    return report(execution_id, order, quantity, executed_at=timestamp(at))


async def end(plans: PlanWorkflow, database: Database, clock: Clock, plan: str, how: str) -> None:
    """Bring an approved plan to its end, ten minutes after its approval or when its time is over."""
    clock.forward(minutes=10)
    if how == "cancelled":
        await plans.cancel(plan, "", "boss")
    elif how == "prices":
        await store_prices(database, {**PRICES, "KO": 66.0}, TODAY + timedelta(days=1))
        assert await plans.look(plan)
    else:
        clock.forward(hours=30)
        assert await plans.look(plan)


@pytest.mark.parametrize("how", ["cancelled", "prices", "time"])
async def test_a_fill_before_the_end_is_taken_after_it(
    plans: PlanWorkflow, database: Database, clock: Clock, how: str
) -> None:
    plan, begin = await propose(database), clock.now
    await approved(plans, plan)
    await end(plans, database, clock, plan, how)
    before = await plans.find(plan)
    workflow = await plans.record(reports(plan, fill("a", SALE, "30", begin + timedelta(minutes=9))), "oms")
    assert workflow.status == before.workflow.status == (CANCELLED_PLAN if how == "cancelled" else EXPIRED)
    assert workflow.transitions == before.workflow.transitions
    assert workflow.after.quantities["XOM"] == "70"
    held = await find_portfolio(database)
    # 30 * 110 and a cost of 1.
    assert held.cash == 1000 + 3299
    assert {each.id: each.quantity for each in held.lots} == {"x1": 60, "x2": 10, "k1": 100}
    async with database.transaction() as connection:
        (sold,) = await TransactionRepository(connection).page("one", 10)
    assert (sold.quantity, sold.rebalance_id) == (30, plan)
    assert await plans.record(reports(plan, fill("a", SALE, "30", begin + timedelta(minutes=9))), "oms") == workflow


@pytest.mark.parametrize("how", ["cancelled", "prices", "time"])
@pytest.mark.parametrize("moment", ["before the approval", "at the end", "unknown", "one of two late"])
async def test_a_fill_outside_of_the_approval_is_refused(
    plans: PlanWorkflow, database: Database, clock: Clock, how: str, moment: str
) -> None:
    plan = await propose(database)
    clock.forward(hours=1)
    await approved(plans, plan)
    begin = clock.now
    await end(plans, database, clock, plan, how)
    # An approval holds for a day, whenever it is looked at.
    last = begin + timedelta(hours=24) if how == "time" else clock.now
    at = begin - timedelta(microseconds=1) if moment == "before the approval" else last
    items = [fill("a", SALE, "30", at)]
    if moment == "unknown":
        items[0].ClearField("executed_at")
    elif moment == "one of two late":
        items.append(fill("b", SALE, "1", begin))
    with pytest.raises(Conflict, match="record executions is not possible"):
        await plans.record(reports(plan, *items), "oms")
    assert (await find_portfolio(database)).cash == 1000
    taken = await plans.record(reports(plan, fill("c", SALE, "1", last - timedelta(microseconds=1))), "oms")
    assert [one.execution_id for one in taken.executions] == ["c"]


async def test_a_plan_that_was_never_approved_takes_no_fill(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan = await propose(database)
    await plans.submit(plan, "", "maker")
    clock.forward(minutes=1)
    await plans.cancel(plan, "", "maker")
    with pytest.raises(Conflict, match="is cancelled"):
        await plans.record(reports(plan, report("a", SALE, "1")), "oms")


async def test_the_report_that_finds_a_plan_lapsed_is_taken_if_the_fill_was_in_time(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan, begin = await propose(database), clock.now
    await approved(plans, plan)
    clock.forward(hours=25)
    workflow = await plans.record(reports(plan, fill("a", SALE, "30", begin + timedelta(hours=23))), "oms")
    assert (workflow.status, workflow.after.quantities["XOM"]) == (EXPIRED, "70")
    with pytest.raises(Conflict, match="is expired"):
        await plans.record(reports(plan, fill("b", SALE, "30", begin + timedelta(hours=24))), "oms")


async def test_a_late_fill_replaces_losses_as_one_in_time_does(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    # What was held for two months and is sold at a loss is replaced by what was bought ten days ago, and stays.
    lots = (
        lot("old", "XOM", "40", TODAY - timedelta(days=60), "120"),
        lot("young", "XOM", "40", TODAY - timedelta(days=10), "100"),
    )
    both = Order("sell", "XOM", "80", (("old", "40"), ("young", "40")))
    books = []
    for name, is_late in (("in-time", False), ("late", True)):
        await store_portfolio(database, portfolio(name, lots=lots))
        plan, begin = await propose(database, [both], name, at=clock.now), clock.now
        await approved(plans, plan)
        clock.forward(minutes=2)
        item = fill("a", both, "40", begin + timedelta(minutes=1))
        if not is_late:
            await plans.record(reports(plan, item), "oms")
        await plans.cancel(plan, "", "boss")
        if is_late:
            await plans.record(reports(plan, item), "oms")
        held = await find_portfolio(database, name)
        tax = held.account.get("tax", {})
        books.append((held.cash, sorted((each.quantity, each.cost_per_share) for each in held.lots), tax))
    assert books[0] == books[1]
    # 40 * (110 - 120) less the cost of 1 is disallowed and raises the cost of the forty that are held.
    assert books[0][1] == [(40, Decimal("100") + Decimal("401") / 40)]


async def test_an_order_without_shares_does_not_keep_an_approval(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    workflow = await plans.record(reports(plan, ended("a", PURCHASE, REJECTED)), "oms")
    assert workflow.HasField("expires_at")
    assert not workflow.HasField("after")
    assert EXPIRED in workflow.possible
    await store_prices(database, {**PRICES, "KO": 66.0}, TODAY + timedelta(days=1))
    assert await plans.look_at_all() == 1
    assert (await plans.find(plan)).workflow.status == EXPIRED


async def test_an_order_without_shares_notes_no_change(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    clock.forward(minutes=5)
    await plans.cancel(plan, "", "boss")
    await put_more(database)
    item = ended("a", PURCHASE, REJECTED, executed_at=timestamp(clock.now - timedelta(minutes=1)))
    workflow = await plans.record(reports(plan, item), "oms")
    assert "outside of the plan" not in workflow.transitions[-1].comment
    workflow = await plans.record(reports(plan, fill("b", SALE, "1", clock.now - timedelta(minutes=1))), "oms")
    assert "XOM from 100 to 500" in workflow.transitions[-1].comment


async def test_an_order_that_cost_money_keeps_it(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    await plans.record(reports(plan, ended("a", PURCHASE, CANCELLED, cost_amount="2.50")), "oms")
    clock.forward(days=3)
    assert await plans.look_at_all() == 0
    assert (await plans.find(plan)).workflow.after.cash_amount == "997.50"


NOTE = re.compile(r"(\w+) from ([\d.]+) to ([\d.]+)")


def with_changes(position: Position, comments: list[str]) -> Position:
    """The position moved by what the comments say."""
    moves = {name: Decimal(to) - Decimal(since) for text in comments for name, since, to in NOTE.findall(text)}
    cash = position.cash + moves.pop("cash", Decimal(0))
    names = {*position.quantities, *moves}
    held = {name: position.quantities.get(name, Decimal(0)) + moves.get(name, Decimal(0)) for name in names}
    return Position({name: quantity for name, quantity in held.items() if quantity}, cash)


async def put_more(database: Database) -> Portfolio:
    held = await find_portfolio(database)
    more = {**position_of(held).quantities, "XOM": Decimal(500), "PEP": Decimal(7)}
    holdings = tuple(Holding(name, quantity) for name, quantity in more.items())
    put = changed(held, cash=held.cash + 25, holdings=holdings, lots=())
    await store_portfolio(database, put)
    return put


@pytest.mark.parametrize("is_over", [False, True])
async def test_what_others_changed_meanwhile_is_in_the_history(
    plans: PlanWorkflow, database: Database, clock: Clock, is_over: bool
) -> None:
    before = position_of(await find_portfolio(database))
    plan = await propose(database, (SALE,))
    await approved(plans, plan)
    clock.forward(minutes=5)
    await plans.record(reports(plan, report("a", SALE, "50")), "oms")
    if is_over:
        await plans.cancel(plan, "", "boss")
    await put_more(database)
    status = (await plans.find(plan)).workflow.status
    workflow = await plans.record(reports(plan, fill("b", SALE, "20", clock.now - timedelta(minutes=1))), "oms")
    note = workflow.transitions[-1]
    assert (note.status, note.actor) == (status, "service")
    assert "PEP from 0 to 7, XOM from 50 to 500, cash from 6499.00 to 6524.00" in note.comment
    async with database.transaction() as connection:
        executions = await PlanRepository(connection).executions(plan)
    held = position_of(await find_portfolio(database))
    comments = [step.comment for step in workflow.transitions if "outside of the plan" in step.comment]
    assert with_changes(replay(before, executions), comments) == held
    assert held.quantities["XOM"] == 480
    # It is said once.
    workflow = await plans.record(reports(plan, fill("c", SALE, "5", clock.now - timedelta(minutes=1))), "oms")
    assert workflow.transitions[-1] == note
    assert workflow.status == status
