"""The way of a plan up to its execution: every step from every state, at most once, lapsing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from plan_examples import (
    FILLED,
    NOW,
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
    portfolio,
    preferences,
    propose,
    report,
    reports,
    store_portfolio,
    store_prices,
    word,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.convert.answers import timestamp
from server.errors import InvalidRequest
from server.plans.states import PlanStatus
from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.events import EventRepository
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository
from storage.rebalances import RebalanceRepository
from storage.records import Event, RebalanceRequest

SMALL = Order("sell", "XOM", "10", (("x2", "10"),))
Step = Callable[[PlanWorkflow, str], Awaitable[Any]]

STEPS: dict[str, Step] = {
    "submit": lambda plans, plan: plans.submit(plan, "", "a"),
    "approve": lambda plans, plan: plans.approve(plan, "", "b"),
    "reject": lambda plans, plan: plans.reject(plan, "no", "c"),
    "cancel": lambda plans, plan: plans.cancel(plan, "", "d"),
    "record": lambda plans, plan: plans.record(reports(plan, report("late", SALE, "1")), "oms"),
}
# How a plan of a sale and a purchase comes to each state.
WAYS: dict[str, tuple[str, ...]] = {
    "proposed": (),
    "pending_approval": ("submit",),
    "approved": ("submit", "approve"),
    "rejected": ("submit", "reject"),
    "expired": ("lapse",),
    "executed": ("submit", "approve", "fill"),
    "cancelled": ("cancel",),
}
# What each step leads to, written out by hand; what is not here is refused.
LEADS: dict[tuple[str, str], str] = {
    ("proposed", "submit"): "pending_approval",
    ("proposed", "cancel"): "cancelled",
    ("pending_approval", "submit"): "pending_approval",
    ("pending_approval", "approve"): "approved",
    ("pending_approval", "reject"): "rejected",
    ("pending_approval", "cancel"): "cancelled",
    ("approved", "submit"): "approved",
    ("approved", "approve"): "approved",
    ("approved", "cancel"): "cancelled",
    ("approved", "record"): "approved",
    ("rejected", "reject"): "rejected",
    # Both were steps of its way.
    ("rejected", "submit"): "rejected",
    ("executed", "submit"): "executed",
    ("executed", "approve"): "executed",
    ("cancelled", "cancel"): "cancelled",
}


async def events_of(database: Database) -> list[Event]:
    async with database.transaction() as connection:
        return list(await EventRepository(connection).after(0, 1000))


async def changes_of(database: Database, rebalance_id: str) -> list[str]:
    """The statuses that the events of a plan tell of, in order."""
    found = [event.payload for event in await events_of(database) if event.type == "rebalance_plan_status_changed"]
    return [
        payload["transition"]["status"].removeprefix("REBALANCE_PLAN_STATUS_").lower()
        for payload in found
        if payload["rebalance_id"] == rebalance_id
    ]


async def bring(plans: PlanWorkflow, clock: Clock, rebalance_id: str, state: str) -> None:
    for step in WAYS[state]:
        if step == "lapse":
            clock.forward(hours=25)
            assert await plans.look(rebalance_id)
        elif step == "fill":
            fills = (report("1", SALE), report("2", PURCHASE))
            await plans.record(reports(rebalance_id, *fills), "oms")
        else:
            await STEPS[step](plans, rebalance_id)
    assert word((await plans.find(rebalance_id)).workflow) == state


@pytest.mark.parametrize(("state", "step"), list(product(WAYS, STEPS)))
async def test_every_step_from_every_state(
    plans: PlanWorkflow, database: Database, clock: Clock, state: str, step: str
) -> None:
    plan = await propose(database)
    await bring(plans, clock, plan, state)
    before = await plans.find(plan)
    told = len(await events_of(database))
    expected = LEADS.get((state, step))
    if expected is None:
        with pytest.raises(Conflict, match=f"{plan} is {state}: .* is not possible; "):
            await STEPS[step](plans, plan)
    else:
        assert word(await STEPS[step](plans, plan)) == expected
    after = await plans.find(plan)
    if expected is None or (expected == state and step != "record"):
        assert after == before
        assert len(await events_of(database)) == told
    elif expected != state:
        assert [word_of.status for word_of in after.workflow.transitions][:-1] == [
            word_of.status for word_of in before.workflow.transitions
        ]
        assert len(await events_of(database)) == told + 1


async def test_a_proposal_says_what_it_holds_for(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    found = await plans.find(plan)
    workflow = found.workflow
    assert word(workflow) == "proposed"
    assert (workflow.approval_required, workflow.approval_limit_amount) == (True, "10000.00")
    assert (workflow.max_price_move, workflow.max_weight_move) == (0.02, 0.01)
    assert workflow.expires_at.ToDatetime(NOW.tzinfo) == NOW + timedelta(hours=24)
    assert workflow.input_hash == found.input_hash
    assert len(workflow.input_hash) == 64
    assert dict(workflow.before.quantities) == {"XOM": "100", "KO": "100"}
    assert workflow.before.cash_amount == "1000.00"
    # 100 * 110 + 100 * 60 + 1000 = 18000.
    assert dict(workflow.before.weights) == pytest.approx({"XOM": 11 / 18, "KO": 6 / 18, "CASH": 1 / 18})
    assert not workflow.HasField("after")
    assert [item.planned_quantity for item in workflow.progress] == ["100", "60"]
    (made,) = workflow.transitions
    assert (made.actor, made.comment, made.at.ToDatetime(NOW.tzinfo)) == ("maker", "a test", NOW)
    (event,) = await events_of(database)
    assert (event.type, event.portfolio_id) == ("rebalance_plan_proposed", "one")
    # 100 * 110 + 60 * 170 = 21200.
    assert event.payload == {
        "rebalance_id": plan,
        "trade_count": 2,
        "gross_trade_amount": "21200.0",
        "approval_required": True,
        # A day after NOW.
        "expires_at": "2026-11-21T15:00:00Z",
    }


@pytest.mark.parametrize(("limit", "expected"), [("1100", "approved"), ("1099.99", "pending_approval")])
async def test_an_approval_is_needed_above_the_limit_only(
    plans: PlanWorkflow, database: Database, limit: str, expected: str
) -> None:
    terms = preferences(approval_limit_amount=limit, approval_validity_hours=2.0)
    await store_portfolio(database, portfolio(preferences=terms))
    plan = await propose(database, [SMALL])
    workflow = await plans.submit(plan, "go", "maker")
    assert word(workflow) == expected
    assert workflow.approval_required == (expected == "pending_approval")
    assert await changes_of(database, plan) == [expected]


async def test_who_and_why_and_when_are_kept(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await propose(database)
    clock.forward(hours=1)
    await plans.submit(plan, "looks good", "maker")
    clock.forward(hours=1)
    await plans.reject(plan, "too large", "boss")
    steps = (await plans.find(plan)).workflow.transitions
    assert [(step.actor, step.comment) for step in steps] == [
        ("maker", "a test"),
        ("maker", "looks good"),
        ("boss", "too large"),
    ]
    assert [step.at.ToDatetime(NOW.tzinfo) - NOW for step in steps] == [timedelta(hours=k) for k in range(3)]
    told = [event.payload["transition"]["comment"] for event in (await events_of(database))[1:]]
    assert told == ["looks good", "too large"]


async def test_an_approval_holds_for_its_own_time(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await propose(database)
    clock.forward(hours=23)
    await plans.submit(plan, "", "maker")
    clock.forward(minutes=59)
    workflow = await plans.approve(plan, "", "boss")
    assert workflow.expires_at.ToDatetime(NOW.tzinfo) == clock.now + timedelta(hours=24)
    clock.forward(hours=23, minutes=59)
    assert word((await plans.find(plan)).workflow) == "approved"
    clock.forward(minutes=1)
    assert word((await plans.find(plan)).workflow) == "expired"


@pytest.mark.parametrize("step", ["submit", "approve"])
async def test_a_step_that_finds_the_plan_lapsed_says_so_and_says_so_again(
    plans: PlanWorkflow, database: Database, clock: Clock, step: str
) -> None:
    plan = await propose(database)
    if step == "approve":
        await plans.submit(plan, "", "maker")
    clock.forward(hours=24)
    first = await STEPS[step](plans, plan)
    assert word(first) == "expired"
    assert not first.possible
    assert not first.HasField("expires_at")
    last = first.transitions[-1]
    assert (last.actor, "24 hours were over" in last.comment) == ("service", True)
    assert await STEPS[step](plans, plan) == first
    assert (await changes_of(database, plan))[-1:] == ["expired"]
    assert (await changes_of(database, plan)).count("expired") == 1
    with pytest.raises(Conflict, match="is expired"):
        await plans.cancel(plan, "", "x")


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ({"KO": 61.2}, ""),
        ({"KO": 61.21}, "price of KO moved from 60.0 to 61.21"),
        ({"PEP": 173.5}, "price of PEP moved from 170.0 to 173.5"),
        ({"XOM": 112.1, "KO": 58.9}, "weight of XOM moved"),
    ],
)
async def test_prices_that_move_too_far_end_an_approval(
    plans: PlanWorkflow, database: Database, prices: dict[str, float], reason: str
) -> None:
    await store_portfolio(database, portfolio(preferences=preferences(max_weight_move=0.008)))
    plan = await propose(database)
    await plans.submit(plan, "", "maker")
    await store_prices(database, {**PRICES, **prices}, TODAY + timedelta(days=1))
    # XOM at 112.1 and KO at 58.9 bring the weight of XOM from 11000 / 18000 to 11210 / 18100, by 0.82%.
    workflow = await plans.approve(plan, "", "boss")
    assert word(workflow) == ("expired" if reason else "approved")
    assert reason in workflow.transitions[-1].comment


async def test_prices_are_those_of_the_newest_pack_with_all_of_them(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    await store_prices(database, {"KO": 90.0}, TODAY + timedelta(days=2))
    await store_prices(database, {**PRICES, "KO": 80.0}, TODAY - timedelta(days=30))
    assert word(await plans.submit(plan, "", "maker")) == "pending_approval"


async def test_holdings_that_change_end_a_plan(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    held = await find_portfolio(database)
    await store_portfolio(database, changed(held, name="A new name"))
    assert word(await plans.submit(plan, "", "maker")) == "pending_approval"
    await store_portfolio(database, changed(held, cash=Decimal("999.99")))
    found = await plans.find(plan)
    assert word(found.workflow) == "expired"
    assert "cash from 1000.00 to 999.99" in found.workflow.transitions[-1].comment


async def test_plans_lapse_by_themselves_each_once(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    await store_portfolio(database, portfolio("two"))
    kept, moved, old = [await propose(database, portfolio_id=name) for name in ("one", "two", "one")]
    assert await plans.look_at_all() == 0
    await store_portfolio(database, changed(await find_portfolio(database, "two"), cash=Decimal(5)))
    looks = await asyncio.gather(*(PlanWorkflow(database, Settings(), clock).look_at_all() for _ in range(4)))
    assert sum(looks) == 1
    assert await changes_of(database, moved) == ["expired"]
    assert word((await plans.find(kept)).workflow) == "proposed"
    clock.forward(hours=24)
    assert await plans.look_at_all() == 2
    assert await plans.look_at_all() == 0
    for plan in (kept, moved, old):
        assert await changes_of(database, plan) == ["expired"]


async def test_only_what_has_moved_on_is_looked_at(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    async def stale() -> list[str]:
        async with database.transaction() as connection:
            return await PlanRepository(connection).stale(clock.now, 10)

    async def looked_at() -> bool:
        found = await stale()
        await plans.look_at_all()
        return found == [plan] and await stale() == []

    plan = await propose(database)
    assert await looked_at()
    await store_prices(database, {"KO": 60.0}, TODAY + timedelta(days=1))
    assert await looked_at()
    await store_portfolio(database, changed(await find_portfolio(database)))
    assert await looked_at()
    clock.forward(hours=23, minutes=59)
    assert await stale() == []
    clock.forward(minutes=1)
    assert await looked_at()
    assert await changes_of(database, plan) == ["expired"]


async def test_one_plan_of_a_portfolio_at_a_time_is_approved(plans: PlanWorkflow, database: Database) -> None:
    first, second, third = [await propose(database) for _ in range(3)]
    small = await propose(database, [SMALL])
    await approved(plans, first)
    await plans.submit(second, "", "maker")
    with pytest.raises(Conflict, match=f"{first} of portfolio one is approved and not yet executed.*{second}"):
        await plans.approve(second, "", "boss")
    with pytest.raises(Conflict, match="only one plan of a portfolio"):
        await plans.submit(small, "", "maker")
    assert word((await plans.find(small)).workflow) == "proposed"
    await plans.cancel(first, "", "maker")
    assert word(await plans.approve(second, "", "boss")) == "approved"
    assert word(await plans.submit(third, "", "maker")) == "pending_approval"


async def outcomes(*calls: Awaitable[Any]) -> list[str]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    return sorted(word(one) if isinstance(one, pb.PlanWorkflow) else type(one).__name__ for one in found)


async def test_two_approvals_at_once_give_one(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    await plans.submit(plan, "", "maker")
    assert await outcomes(*(plans.approve(plan, "", f"boss {k}") for k in range(8))) == ["approved"] * 8
    assert await changes_of(database, plan) == ["pending_approval", "approved"]
    assert len((await plans.find(plan)).workflow.transitions) == 3


async def test_of_two_plans_approved_at_once_one_is(plans: PlanWorkflow, database: Database) -> None:
    pair = [await propose(database) for _ in range(2)]
    for plan in pair:
        await plans.submit(plan, "", "maker")
    assert await outcomes(*(plans.approve(plan, "", "boss") for plan in pair)) == ["Conflict", "approved"]


@pytest.mark.parametrize("other", ["cancel", "reject"])
async def test_an_approval_and_its_opposite_at_once(plans: PlanWorkflow, database: Database, other: str) -> None:
    plan = await propose(database)
    await plans.submit(plan, "", "maker")
    await outcomes(plans.approve(plan, "", "boss"), STEPS[other](plans, plan))
    told = await changes_of(database, plan)
    steps = [PlanStatus(name) for name in told]
    # One after the other in either order, never both from the same state.
    possible = {
        "cancel": (["approved", "cancelled"], ["cancelled"]),
        "reject": (["approved"], ["rejected"]),
    }
    assert steps[1:] in possible[other]
    assert word((await plans.find(plan)).workflow) == steps[-1]


async def test_plans_are_listed_newest_first_by_pages(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    await store_portfolio(database, portfolio("two"))
    made = [
        await propose(database, portfolio_id=name, at=NOW + timedelta(minutes=k))
        for k, name in enumerate(("one", "two", "one", "one"))
    ]
    await plans.submit(made[2], "", "maker")
    rows = await plans.page("", None, 10, None)
    assert [row.rebalance_id for row in rows] == made[::-1]
    assert [(row.trade_count, row.metrics["gross_trade_amount"]) for row in rows] == [(2, "21200.0")] * 4
    assert [row.rebalance_id for row in await plans.page("two", None, 10, None)] == [made[1]]
    assert [row.rebalance_id for row in await plans.page("", PlanStatus.PENDING_APPROVAL, 10, None)] == [made[2]]
    clock.forward(hours=24, minutes=2)
    # Three of the four are a day old by now, and the list says so.
    assert [row.status for row in await plans.page("", None, 10, None)] == ["proposed", "expired", "expired", "expired"]
    assert [row.rebalance_id for row in await plans.page("", PlanStatus.PROPOSED, 10, None)] == [made[3]]


async def test_a_list_by_status_leaves_out_what_has_just_lapsed(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    await propose(database)
    clock.forward(hours=24)
    assert await plans.page("", PlanStatus.PROPOSED, 10, None) == ()


async def test_a_plan_without_trades_is_not_submitted(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database, [])
    with pytest.raises(Conflict, match="no trades: there is nothing to submit"):
        await plans.submit(plan, "", "maker")
    assert word(await plans.cancel(plan, "", "maker")) == "cancelled"


async def test_what_is_wrong_with_a_step_is_named(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    for step in (plans.submit, plans.approve, plans.cancel):
        with pytest.raises(InvalidRequest) as caught:
            await step("x" * 37, "y\n" * 2000, "maker")
        assert {fault.field for fault in caught.value.faults} == {"rebalance_id", "comment"}
    with pytest.raises(InvalidRequest, match="rebalance_id: is required"):
        await plans.find("")
    for comment in ("", "   "):
        with pytest.raises(InvalidRequest, match="comment: is required"):
            await plans.reject(plan, comment, "boss")
    for step in (plans.submit, plans.approve, plans.cancel):
        with pytest.raises(NotFound, match="nobody-knows-it"):
            await step("nobody-knows-it", "", "maker")
    with pytest.raises(NotFound, match="nobody-knows-it"):
        await plans.find("nobody-knows-it")


async def test_an_approval_that_lapses_before_its_execution_stays_lapsed(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    clock.forward(hours=24)
    late = report("1", SALE, executed_at=timestamp(clock.now))
    for _ in range(2):
        with pytest.raises(Conflict, match=r"lapsed|is expired"):
            await plans.record(reports(plan, late), "oms")
    assert (await changes_of(database, plan))[-1] == "expired"
    assert (await find_portfolio(database)).cash == Decimal("1000.00")


async def test_a_plan_under_execution_does_not_lapse(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    await plans.record(reports(plan, ended("0", PURCHASE, REJECTED), report("2", SALE, "1")), "oms")
    clock.forward(days=9)
    await store_prices(database, {**PRICES, "KO": 90.0}, TODAY + timedelta(days=9))
    assert await plans.look_at_all() == 0
    found = await plans.find(plan)
    assert word(found.workflow) == "approved"
    assert not found.workflow.HasField("expires_at")
    assert word(await plans.record(reports(plan, report("1", SALE, "99", status=FILLED)), "oms")) == "executed"


async def test_proposals_in_a_long_transaction_and_writers_of_their_portfolios_do_not_lock_each_other(
    plans: PlanWorkflow, database: Database
) -> None:
    # A batch that has told of one plan holds the lock on events, and goes on to a portfolio that somebody writes who
    # waits for that lock: adding a plan must not wait for the writer.
    await store_portfolio(database, portfolio("two"))
    is_locked = asyncio.Event()

    async def write() -> None:
        async with database.transaction() as connection:
            await PortfolioRepository(connection).lock_household("two")
            is_locked.set()
            await EventRepository(connection).append(Event(portfolio_id="two", type="drift_detected"))

    async with database.transaction() as connection:
        await EventRepository(connection).append(Event(portfolio_id="one", type="drift_detected"))
        writing = asyncio.create_task(write())
        await is_locked.wait()
        request = RebalanceRequest(id="p", portfolio_id="two", target_type="custom")
        assert await RebalanceRepository(connection).create(request) == (request, True)
    await writing
    assert [event.portfolio_id for event in await events_of(database)] == ["one", "two"]
