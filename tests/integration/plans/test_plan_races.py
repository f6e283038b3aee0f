"""What changes while a plan waits: households, limits, moments, instruments; and lists over plans that lapse."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from plan_examples import (
    NOW,
    PURCHASE,
    SALE,
    TODAY,
    Clock,
    Order,
    approved,
    changed,
    find_portfolio,
    lot,
    portfolio,
    preferences,
    propose,
    report,
    reports,
    store_portfolio,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.errors import NotReady
from server.households import load_household
from server.plans.states import PlanStatus
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.events import EventRepository
from storage.instruments import InstrumentRepository
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository

HOME = {"household_id": "home"}
PENDING, APPROVED, EXPIRED = (
    pb.REBALANCE_PLAN_STATUS_PENDING_APPROVAL,
    pb.REBALANCE_PLAN_STATUS_APPROVED,
    pb.REBALANCE_PLAN_STATUS_EXPIRED,
)
# 10 * 110.
SMALL = Order("sell", "XOM", "10", (("x1", "10"),))


async def join(database: Database, portfolio_id: str) -> None:
    """Put the portfolio into the household, as its owner does."""
    async with database.transaction() as connection:
        repository = PortfolioRepository(connection)
        await repository.lock(portfolio_id)
        await repository.put(changed(await repository.find(portfolio_id), account=HOME))


async def waits_for_lock(database: Database) -> None:
    """Until some connection waits for another."""
    async with asyncio.timeout(30):
        while True:
            async with database.transaction() as connection:
                rows = await connection.execute("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
                found: Any = await rows.fetchone()
            if next(iter(found.values() if isinstance(found, dict) else found)):
                return
            await asyncio.sleep(0.01)


async def test_who_joins_a_household_while_its_lock_is_waited_for_is_locked_too(
    plans: PlanWorkflow, database: Database
) -> None:
    await store_portfolio(database, portfolio("first", account=HOME))
    await store_portfolio(database, portfolio("second"))
    locked: list[tuple[str, ...]] = []

    async def lock_all() -> None:
        async with database.transaction() as connection:
            locked.append(await PortfolioRepository(connection).lock_household("first"))

    async with database.transaction() as holder:
        await PortfolioRepository(holder).lock("first")
        waiting = asyncio.create_task(lock_all())
        await waits_for_lock(database)
        await join(database, "second")
    await waiting
    assert locked == [("first", "second")]


async def test_who_joins_a_locked_household_is_not_of_it_yet(plans: PlanWorkflow, database: Database) -> None:
    await store_portfolio(database, portfolio("first", account=HOME))
    await store_portfolio(database, portfolio("second"))
    async with database.transaction() as connection:
        members = await PortfolioRepository(connection).lock_household("first")
        await join(database, "second")
        loaded = await load_household(connection, "first", TODAY, members=members)
        everybody = await load_household(connection, "first", TODAY)
    assert [one.id for one in loaded.portfolios] == ["first"]
    assert [one.id for one in everybody.portfolios] == ["first", "second"]


async def test_a_fill_writes_nobody_who_was_not_locked(
    plans: PlanWorkflow, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_portfolio(database, portfolio("first", account=HOME))
    # Its shares of today would replace the loss.
    young = (lot("n", "XOM", "40", TODAY, "110"),)
    await store_portfolio(database, portfolio("second", lots=young))
    loss = Order("sell", "XOM", "40", (("x2", "40"),))
    plan = await propose(database, [loss], "first")
    await approved(plans, plan)
    await plans.record(reports(plan, report("a", loss, "1")), "oms")
    lock = PortfolioRepository.lock_household

    async def lock_and_let_join(self: PortfolioRepository, identifier: str) -> tuple[str, ...]:
        members = await lock(self, identifier)
        await join(database, "second")
        return members

    monkeypatch.setattr(PortfolioRepository, "lock_household", lock_and_let_join)
    put: list[str] = []
    write = PortfolioRepository.put

    async def put_and_note(self: PortfolioRepository, stored: Any) -> None:
        put.append(stored.id)
        await write(self, stored)

    monkeypatch.setattr(PortfolioRepository, "put", put_and_note)
    await plans.record(reports(plan, report("b", loss, "39", status=pb.EXECUTION_STATUS_FILLED)), "oms")
    # The owner's own write, and none of the second by the fill.
    assert (put.count("second"), "first" in put) == (1, True)
    assert (await find_portfolio(database, "second")).lots == young


@pytest.mark.parametrize(
    ("made", "now", "expected", "limit"),
    [
        ({"approval_limit_amount": "5000"}, {"approval_limit_amount": "0"}, PENDING, "0"),
        ({"approval_limit_amount": "1000"}, {"approval_limit_amount": "5000"}, PENDING, "1000"),
        ({"approval_limit_amount": "5000"}, {"approval_limit_amount": "1100"}, APPROVED, "1100"),
        ({"approval_limit_amount": "100000"}, {}, APPROVED, "10000.00"),
    ],
)
async def test_of_two_limits_the_lower_holds(
    plans: PlanWorkflow, database: Database, made: dict[str, str], now: dict[str, str], expected: int, limit: str
) -> None:
    await store_portfolio(database, portfolio(preferences=preferences(**made)))
    plan = await propose(database, [SMALL])
    await store_portfolio(database, changed(await find_portfolio(database), preferences=preferences(**now)))
    workflow = await plans.submit(plan, "", "maker")
    assert (workflow.status, workflow.approval_limit_amount) == (expected, limit)
    assert workflow.approval_required == (expected == PENDING)
    assert (await plans.find(plan)).workflow == workflow


async def test_a_limit_that_cannot_be_read_lets_nothing_pass(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database, [SMALL])
    broken = {"rebalancing": {"approval_limit_amount": ["x"]}}
    await store_portfolio(database, changed(await find_portfolio(database), preferences=broken))
    with pytest.raises(NotReady, match="preferences of portfolio one"):
        await plans.submit(plan, "", "maker")


async def test_an_approval_that_waits_is_of_the_moment_when_it_happens(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan = await propose(database)
    await plans.submit(plan, "", "maker")
    clock.now = NOW + timedelta(hours=23, minutes=59)
    async with database.transaction() as holder:
        await PortfolioRepository(holder).lock("one")
        waiting = asyncio.create_task(plans.approve(plan, "", "boss"))
        await waits_for_lock(database)
        clock.forward(minutes=1)
    workflow = await waiting
    assert workflow.status == EXPIRED
    assert workflow.transitions[-1].at.ToDatetime(NOW.tzinfo) == clock.now


@pytest.mark.parametrize("status", ["halted", "delisted"])
@pytest.mark.parametrize("step", ["submit", "approve"])
async def test_an_instrument_that_is_not_traded_any_more_ends_the_plan(
    plans: PlanWorkflow, database: Database, status: str, step: str
) -> None:
    plan = await propose(database)
    if step == "approve":
        await plans.submit(plan, "", "maker")
    await set_status(database, "KO", status)
    # KO is held and not traded.
    assert not await plans.look(plan)
    await set_status(database, "PEP", status)
    workflow = await (plans.approve if step == "approve" else plans.submit)(plan, "", "boss")
    assert workflow.status == EXPIRED
    assert workflow.transitions[-1].comment == f"PEP is {status}, and the plan trades it"


async def test_an_instrument_that_is_only_held_may_be_halted(plans: PlanWorkflow, database: Database) -> None:
    plan = await propose(database)
    await set_status(database, "KO", "halted")
    await approved(plans, plan)
    assert (await plans.find(plan)).workflow.status == APPROVED


async def set_status(database: Database, instrument_id: str, status: str) -> None:
    async with database.transaction() as connection:
        repository = InstrumentRepository(connection)
        (found,) = await repository.find([instrument_id])
        await repository.put([replace(found, status=status)])


async def test_steps_that_were_taken_are_answered_as_the_plan_is(
    plans: PlanWorkflow, database: Database, clock: Clock
) -> None:
    plan = await propose(database)
    await approved(plans, plan)
    await plans.cancel(plan, "", "boss")
    before = await plans.find(plan)
    for step in (plans.submit, plans.approve, plans.cancel):
        assert await step(plan, "again", "x") == before.workflow
    # One that needed no approval is approved by its submission.
    small = await propose(database, [SMALL])
    await plans.submit(small, "", "maker")
    await plans.record(reports(small, report("1", SMALL)), "oms")
    assert (await plans.approve(small, "", "boss")).status == pb.REBALANCE_PLAN_STATUS_EXECUTED
    async with database.transaction() as connection:
        told = await EventRepository(connection).after(0, 100, types=["rebalance_plan_status_changed"])
    assert len(told) == 3 + 2


async def test_a_list_goes_on_behind_what_has_lapsed(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    old = [await propose(database, at=NOW + timedelta(seconds=k)) for k in range(5)]
    clock.forward(hours=25)
    assert await plans.page("one", PlanStatus.PROPOSED, 3, None) == ()
    rows = await plans.page("one", PlanStatus.EXPIRED, 3, None)
    assert [row.rebalance_id for row in rows] == old[:1:-1]


async def test_a_plan_that_cannot_be_looked_at_does_not_stop_the_list(
    plans: PlanWorkflow, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = [await propose(database, (SALE, PURCHASE), at=NOW + timedelta(seconds=k)) for k in range(2)]
    clock.forward(hours=25)
    lock = PlanRepository.lock

    async def lock_or_fail(self: PlanRepository, rebalance_id: str) -> Any:
        if rebalance_id == bad:
            raise NotReady("tax settings of portfolio one: store them again")
        return await lock(self, rebalance_id)

    monkeypatch.setattr(PlanRepository, "lock", lock_or_fail)
    rows = await plans.page("one", None, 10, None)
    assert [(row.rebalance_id, row.status) for row in rows] == [(good, "expired"), (bad, "proposed")]


async def test_cash_of_a_member_is_never_lost(plans: PlanWorkflow, database: Database) -> None:
    # Deposits into one account of a household while fills are entered into the other.
    for name in ("first", "second"):
        await store_portfolio(database, portfolio(name, account=HOME))
    plan = await propose(database, [SALE], "first")
    await approved(plans, plan)
    await plans.record(reports(plan, report("start", SALE, "1")), "oms")

    async def deposit() -> None:
        async with database.transaction() as connection:
            repository = PortfolioRepository(connection)
            await repository.lock("second")
            held = await repository.find("second")
            await repository.put(changed(held, cash=held.cash + 10))

    fills = (plans.record(reports(plan, report(f"f{k}", SALE, "1")), "oms") for k in range(10))
    await asyncio.gather(*fills, *(deposit() for _ in range(10)))
    assert (await find_portfolio(database, "second")).cash == Decimal(1100)
