"""Execution reports: each counts once, none beyond the plan, and the books follow to the cent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from plan_examples import (
    CANCELLED,
    FILLED,
    LOTS,
    NOW,
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
    propose,
    ready,
    report,
    reports,
    store_portfolio,
    tax_of,
    transactions,
    word,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb

from server.convert.answers import timestamp
from server.errors import InvalidRequest
from server.plans.positions import position_of, replay
from server.workflows.plans import PlanWorkflow
from storage.database import Database
from storage.errors import Conflict
from storage.events import EventRepository
from storage.plans import PlanRepository
from storage.records import Holding

COUNTS = {"plan_executions": "rebalance_id", "portfolio_transactions": "rebalance_id"}


async def executed(database: Database) -> list[dict[str, Any]]:
    async with database.transaction() as connection:
        events = await EventRepository(connection).after(0, 1000, types=["rebalance_execution_recorded"])
    return [event.payload for event in events]


async def faults_of(plans: PlanWorkflow, plan: str, *items: pb.ExecutionReport) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        await plans.record(reports(plan, *items), "oms")
    return {fault.field: fault.description for fault in caught.value.faults}


async def test_fills_change_cash_holdings_lots_transactions_and_the_year(
    plans: PlanWorkflow, database: Database
) -> None:
    plan = await ready(plans, database)
    workflow = await plans.record(reports(plan, report("s1", SALE, "50", cost_amount="2.50")), "oms")
    assert word(workflow) == "approved"
    stored = await find_portfolio(database)
    # 50 * 110 - 2.50 = 5497.50, so 109.95 a share. The plan sells the 40 of lot x2 (cost 120, of September) first:
    # 4398.00 - 4800.00 = -402.00 short-term; then 10 of x1 (cost 50): 1099.50 - 500.00 = 599.50 long-term.
    assert stored.cash == Decimal("6497.50")
    assert tax_of(stored) == (Decimal("-402.00"), Decimal("599.50"))
    assert {each.id: each.quantity for each in stored.lots} == {"x1": 50, "k1": 100}
    sold = await transactions(database)
    assert [(each.lot_id, each.quantity, each.price, each.cost, each.gain) for each in sold] == [
        ("x2", 40, 110, Decimal("2.00"), Decimal("-402.00")),
        ("x1", 10, 110, Decimal("0.50"), Decimal("599.50")),
    ]
    assert {each.rebalance_id for each in sold} == {plan}
    workflow = await plans.record(
        reports(plan, report("s2", SALE, "50", price_amount="110.01"), report("b1", PURCHASE, price_amount="170.055")),
        "oms",
    )
    assert word(workflow) == "executed"
    stored = await find_portfolio(database)
    # + 50 * 110.01 - 1 = 5499.50; - 60 * 170.055 - 1 = 10204.30.
    assert stored.cash == Decimal("6497.50") + Decimal("5499.50") - Decimal("10204.30")
    assert stored.holdings == (Holding("KO", Decimal(100)), Holding("PEP", Decimal(60)))
    new = next(each for each in stored.lots if each.instrument_id == "PEP")
    assert (new.quantity, new.acquired_on) == (60, TODAY)
    assert new.cost_per_share is not None
    assert (new.cost_per_share * 60).quantize(Decimal("0.0001")) == Decimal("10204.30")
    assert tax_of(stored) == (Decimal("-402.00"), Decimal("599.50") + Decimal("5499.50") - 2500)
    assert len(await executed(database)) == 3


@pytest.mark.parametrize(
    ("year", "expected"),
    [
        # In 2026 the sale realises 10999.00 in all: 4399.60 - 4800.00 of x2 short-term, 6599.40 - 3000.00 of x1.
        (0, ("-5400.40", "3599.40", "", "1000", 2026)),
        (2026, ("-5400.40", "3599.40", "", "1000", 2026)),
        # - 5000 short-term and - 1000 long-term of 2025, of which 3000 reduce other income.
        (2025, ("-400.40", "3599.40", "2000", "1000", 2026)),
        # Those of 2027 stay: what 2026 gained more uses up the loss carried into it.
        (2027, ("-5000", "", "", "", 2027)),
    ],
)
async def test_a_fill_counts_in_its_own_year(
    plans: PlanWorkflow, database: Database, year: int, expected: tuple[object, ...]
) -> None:
    stored = {"realized_short_term_amount": "-5000", "carried_long_term_loss_amount": "1000", "realized_year": year}
    await store_portfolio(database, changed(portfolio(), account={"tax": stored}))
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("s", SALE)), "oms")
    tax = (await find_portfolio(database)).account["tax"]
    names = ("realized_short_term", "realized_long_term", "carried_short_term_loss", "carried_long_term_loss")
    assert (*(tax.get(f"{name}_amount", "") for name in names), tax["realized_year"]) == expected


async def test_the_answer_says_what_is_filled_and_held(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    fills = [report("a", SALE, "30"), report("b", SALE, "30", price_amount="112.5")]
    workflow = await plans.record(reports(plan, *fills), "oms")
    sale, purchase = workflow.progress
    # (30 * 110 + 30 * 112.5) / 60
    assert (sale.filled_quantity, sale.average_price_amount, sale.cost_amount) == ("60", "111.25000000", "2.00")
    assert (sale.closed, purchase.filled_quantity, purchase.average_price_amount) == (False, "0", "")
    assert workflow.after.cash_amount == "7673.00"
    assert dict(workflow.after.quantities) == {"XOM": "40", "KO": "100"}
    assert sum(workflow.after.weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert list(workflow.executions) == fills
    assert [pb.RebalancePlanStatus.Name(status)[22:] for status in workflow.possible] == ["EXECUTED", "CANCELLED"]


async def test_a_report_sent_again_counts_once(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    first = await plans.record(reports(plan, report("a", SALE, "30")), "oms")
    stored = await find_portfolio(database)
    for items in ([report("a", SALE, "30")], [report("a", SALE, "30.000")] * 3):
        assert await plans.record(reports(plan, *items), "another") == first
    assert await find_portfolio(database) == stored
    more = await plans.record(reports(plan, report("a", SALE, "30"), report("b", SALE, "5")), "oms")
    assert more.progress[0].filled_quantity == "35"
    assert len(await executed(database)) == 2


async def test_a_report_of_the_same_id_and_another_content_is_refused(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("a", SALE, "30")), "oms")
    others = {
        "quantity": report("a", SALE, "31"),
        "price": report("a", SALE, "30", price_amount="110.5"),
        "cost": report("a", SALE, "30", cost_amount="1.01"),
        "comment": report("a", SALE, "30", comment="no"),
        "executed_at": report("a", SALE, "30", executed_at=timestamp(NOW - timedelta(seconds=1))),
    }
    for name, item in others.items():
        with pytest.raises(Conflict, match=f"execution a of rebalance plan {plan} is known with {name}"):
            await plans.record(reports(plan, report("b", SALE, "1"), item), "oms")
    faults = await faults_of(plans, plan, report("c", SALE, "1"), report("c", SALE, "2"))
    assert "two different reports" in faults["reports[1].execution_id"]
    assert len(await executed(database)) == 1


async def test_a_repeated_report_is_answered_at_the_end_of_the_way_too(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    items = (report("a", SALE), report("b", PURCHASE))
    done = await plans.record(reports(plan, *items), "oms")
    assert word(done) == "executed"
    assert await plans.record(reports(plan, *items), "oms") == done
    with pytest.raises(Conflict, match="is executed: record executions is not possible; it is at the end of its way"):
        await plans.record(reports(plan, report("c", SALE, "1")), "oms")


async def test_what_does_not_fit_the_plan_is_refused_as_a_whole(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    before = await find_portfolio(database)
    faults = await faults_of(
        plans,
        plan,
        report("a", SALE, "60"),
        report("b", SALE, "40.000001"),
        report("c", Order("sell", "KO", "1")),
        report("d", PURCHASE, "59", status=FILLED),
    )
    assert set(faults) == {"reports[1].quantity", "reports[2].instrument_id", "reports[3].quantity"}
    assert (
        "40.000001 is more than is left of the sell of 100 XOM, of which 60 are filled" in faults["reports[1].quantity"]
    )
    assert "no sell of KO; it has sell XOM, buy PEP" in faults["reports[2].instrument_id"]
    assert await find_portfolio(database) == before
    assert await executed(database) == []
    assert not (await plans.find(plan)).workflow.HasField("after")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"execution_id": ""}, "execution_id"),
    "long id": ({"execution_id": "x" * 37}, "execution_id"),
    "no instrument": ({"instrument_id": ""}, "instrument_id"),
    "action": ({"action": "SELL"}, "action"),
    "status": ({"status": 0}, "status"),
    "unknown status": ({"status": 77}, "status"),
    "negative": ({"quantity": "-1"}, "quantity"),
    "NaN": ({"quantity": "NaN"}, "quantity"),
    "huge": ({"quantity": "1" * 13}, "quantity"),
    "exponent": ({"quantity": "1e2"}, "quantity"),
    "no quantity": ({"quantity": ""}, "quantity"),
    "zero": ({"quantity": "0", "price_amount": ""}, "quantity"),
    "no price": ({"price_amount": ""}, "price_amount"),
    "zero price": ({"price_amount": "0"}, "price_amount"),
    "huge value": ({"quantity": "1000000", "price_amount": "1000000000000"}, "price_amount"),
    "infinite price": ({"price_amount": "inf"}, "price_amount"),
    "negative cost": ({"cost_amount": "-0.01"}, "cost_amount"),
    "parts of a cent": ({"cost_amount": "0.005"}, "cost_amount"),
    "rejected with shares": ({"status": REJECTED}, "quantity"),
    "price of nothing": ({"status": REJECTED, "quantity": ""}, "price_amount"),
    "future": ({"executed_at": timestamp(NOW + timedelta(minutes=6))}, "executed_at"),
    "control character": ({"comment": "a\x00b"}, "comment"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_in_itself_is_named(plans: PlanWorkflow, database: Database, name: str) -> None:
    plan = await ready(plans, database)
    change, field = WRONG[name]
    assert list(await faults_of(plans, plan, report("a", SALE, "10", **change))) == [f"reports[0].{field}"]


async def test_a_moment_outside_of_the_calendar_is_refused(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    item = report("a", SALE, "10")
    item.executed_at.seconds = 2**62
    assert "no moment" in (await faults_of(plans, plan, item))["reports[0].executed_at"]


async def test_the_number_of_reports_is_limited(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    assert list(await faults_of(plans, plan)) == ["reports"]
    assert list(await faults_of(plans, plan, *[report("a", SALE, "1")] * 1001)) == ["reports"]


async def test_rejected_and_cancelled_orders_close_their_trades(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    workflow = await plans.record(reports(plan, report("a", SALE, "30"), ended("b", SALE, CANCELLED)), "oms")
    assert [trade.closed for trade in workflow.progress] == [True, False]
    faults = await faults_of(plans, plan, report("c", SALE, "1"))
    assert "nothing more is open of the sell of 100 XOM, of which 30 are filled" in faults["reports[0].instrument_id"]
    workflow = await plans.record(reports(plan, ended("d", PURCHASE, REJECTED, comment="no cash")), "oms")
    assert word(workflow) == "executed"
    assert workflow.transitions[-1].comment == "of 2 trades 0 filled, 1 filled in part, 1 not filled"
    assert workflow.executions[-1].comment == "no cash"


async def test_a_plan_of_which_nothing_was_filled_is_cancelled(plans: PlanWorkflow, database: Database) -> None:
    plan, other = await ready(plans, database), await propose(database)
    items = (ended("a", SALE, REJECTED), ended("b", PURCHASE, CANCELLED))
    before = await find_portfolio(database)
    workflow = await plans.record(reports(plan, *items), "oms")
    assert word(workflow) == "cancelled"
    assert workflow.transitions[-1].comment == "of 2 trades 0 filled, 0 filled in part, 2 not filled"
    assert not workflow.HasField("after")
    after = await find_portfolio(database)
    assert replace(after, updated_at=before.updated_at) == before
    assert word((await plans.find(other)).workflow) == "proposed"


async def test_a_fill_within_a_cancellation_counts(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database, SALE)
    workflow = await plans.record(reports(plan, report("a", SALE, "25", status=CANCELLED)), "oms")
    assert word(workflow) == "executed"
    assert workflow.after.quantities["XOM"] == "75"


async def test_fills_end_the_other_plans_of_the_portfolio(plans: PlanWorkflow, database: Database) -> None:
    plan, proposed, pending = await ready(plans, database), await propose(database), await propose(database)
    await plans.submit(pending, "", "maker")
    await plans.record(reports(plan, report("a", SALE, "1")), "oms")
    for other in (proposed, pending):
        last = (await plans.find(other)).workflow.transitions[-1]
        assert (last.status, last.actor) == (pb.REBALANCE_PLAN_STATUS_EXPIRED, "service")
        assert plan in last.comment


async def test_a_plan_can_be_cancelled_in_the_middle_and_what_was_filled_stays(
    plans: PlanWorkflow, database: Database
) -> None:
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("a", SALE, "30")), "oms")
    workflow = await plans.cancel(plan, "market closed", "boss")
    assert word(workflow) == "cancelled"
    assert workflow.after.quantities["XOM"] == "70"
    with pytest.raises(Conflict, match="is cancelled"):
        await plans.record(reports(plan, report("b", SALE, "1")), "oms")
    assert word(await plans.record(reports(plan, report("a", SALE, "30")), "oms")) == "cancelled"


async def test_many_reports_of_the_same_fill_at_once_count_once(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    answers = await asyncio.gather(
        *(plans.record(reports(plan, report("a", SALE, "30")), f"oms {k}") for k in range(20))
    )
    assert all(answer == answers[0] for answer in answers)
    assert len(await executed(database)) == 1
    assert (await find_portfolio(database)).cash == Decimal(1000) + 3300 - 1


async def test_different_fills_at_once_never_exceed_the_plan(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database, SALE)
    calls = [plans.record(reports(plan, report(f"{k}", SALE, "30")), "oms") for k in range(6)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, InvalidRequest)]
    assert len(refused) == 3
    assert (await find_portfolio(database)).cash == Decimal(1000) + 3 * (3300 - 1)


async def test_what_is_not_held_any_more_cannot_be_sold(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("a", SALE, "10")), "oms")
    held = await find_portfolio(database)
    kept = tuple(each for each in held.lots if each.instrument_id == "KO")
    await store_portfolio(database, changed(held, holdings=(Holding("KO", Decimal(100)),), lots=kept))
    faults = await faults_of(plans, plan, report("b", SALE, "1"))
    assert "portfolio one holds 0, fewer than the 1 sold" in faults["reports.quantity"]


async def test_a_sale_before_its_lots_were_bought_is_refused(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    # The lots are put again, as bought after the execution.
    young = tuple(replace(each, acquired_on=TODAY + timedelta(days=1)) for each in LOTS)
    await plans.record(reports(plan, report("a", SALE, "1")), "oms")
    held = await find_portfolio(database)
    await store_portfolio(database, changed(held, lots=young, holdings=portfolio().holdings))
    faults = await faults_of(plans, plan, report("b", SALE, "10"))
    assert "bought on or before 2026-11-20" in faults["reports.quantity"]
    assert "10 of the shares sold" in faults["reports.quantity"]


async def test_an_execution_before_the_plan_was_made_is_refused(plans: PlanWorkflow, database: Database) -> None:
    plan = await ready(plans, database)
    first = NOW - timedelta(minutes=5)
    items = [
        report("a", SALE, "10", executed_at=timestamp(first)),
        report("b", SALE, "10", executed_at=timestamp(first - timedelta(microseconds=1))),
        report("c", SALE, "10", executed_at=timestamp(datetime(2020, 6, 1, 15, tzinfo=UTC))),
    ]
    text = "must not be before the plan was made, 2026-11-20T15:00:00+00:00"
    assert await faults_of(plans, plan, *items) == {f"reports[{k}].executed_at": text for k in (1, 2)}
    assert word(await plans.record(reports(plan, items[0]), "oms")) == "approved"


async def test_the_trade_date_is_that_of_the_exchange(plans: PlanWorkflow, database: Database) -> None:
    # Half past eight in the evening of the 19th in New York.
    evening = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    plan = await propose(database, at=evening)
    await approved(plans, plan)
    await plans.record(reports(plan, report("a", SALE, "10", executed_at=timestamp(evening))), "oms")
    (sold,) = await transactions(database)
    assert sold.traded_on == date(2026, 11, 19)
    async with database.transaction() as connection:
        (stored,) = await PlanRepository(connection).executions(plan)
    assert stored.traded_on == date(2026, 11, 19)


async def test_a_report_without_a_moment_happened_now(plans: PlanWorkflow, database: Database, clock: Clock) -> None:
    plan = await ready(plans, database)
    clock.forward(hours=3)
    item = report("a", SALE, "10")
    item.ClearField("executed_at")
    workflow = await plans.record(reports(plan, item), "oms")
    assert not workflow.executions[0].HasField("executed_at")
    clock.forward(days=2)
    assert word(await plans.record(reports(plan, item), "oms")) == "approved"
    assert [each.traded_on for each in await transactions(database)] == [TODAY]


async def test_holdings_without_lots_stay_without(plans: PlanWorkflow, database: Database) -> None:
    bare = portfolio(lots=(), holdings=(Holding("XOM", Decimal(100)), Holding("PEP", Decimal(5))))
    await store_portfolio(database, bare)
    plan = await ready(plans, database, Order("sell", "XOM", "100"), PURCHASE, Order("buy", "KO", "10"))
    fills = [report("a", SALE), report("b", PURCHASE), report("c", Order("buy", "KO", "10"))]
    assert word(await plans.record(reports(plan, *fills), "oms")) == "executed"
    stored = await find_portfolio(database)
    assert stored.holdings == (Holding("KO", Decimal(10)), Holding("PEP", Decimal(65)))
    # Nothing was held of KO, so its purchase is a lot; the five PEP of before have none.
    assert [(each.instrument_id, each.quantity) for each in stored.lots] == [("KO", 10)]
    assert [(each.action, each.lot_id, each.gain) for each in await transactions(database)][:2] == [
        ("sell", None, None),
        ("buy", None, None),
    ]
    assert tax_of(stored) == (0, 0)


async def test_history_replayed_gives_the_holdings(plans: PlanWorkflow, database: Database) -> None:
    before = position_of(await find_portfolio(database))
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("a", SALE, "33.3"), report("b", PURCHASE, "0.000001")), "oms")
    await plans.record(reports(plan, report("c", SALE, "66.7"), ended("d", PURCHASE, CANCELLED)), "oms")
    async with database.transaction() as connection:
        history = await PlanRepository(connection).executions(plan)
    assert replay(before, history) == position_of(await find_portfolio(database))


@pytest.mark.parametrize("table", ["plan_executions", "plan_transitions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET comment = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_history_cannot_be_rewritten(plans: PlanWorkflow, database: Database, table: str, change: str) -> None:
    plan = await ready(plans, database)
    await plans.record(reports(plan, report("a", SALE, "1")), "oms")
    with pytest.raises(Conflict, match="is immutable"):
        async with database.transaction() as connection:
            await connection.execute(change.format(table).encode())


async def test_the_database_itself_keeps_one_approved_plan(plans: PlanWorkflow, database: Database) -> None:
    await ready(plans, database)
    other = await propose(database)
    with psycopg.connect(database.connection_string) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("UPDATE rebalance_workflows SET status = 'approved' WHERE rebalance_id = %s", [other])


async def test_fills_in_two_accounts_of_a_household_at_once_wait_for_each_other(
    plans: PlanWorkflow, database: Database
) -> None:
    home = {"household_id": "home"}
    for name in ("one", "two"):
        await store_portfolio(database, portfolio(name, account=home))
    made = {name: await ready(plans, database, SALE, portfolio_id=name) for name in ("one", "two")}
    calls = [
        plans.record(reports(plan, report(f"{k}", SALE, "5", cost_amount="0.01")), "oms")
        for k in range(12)
        for plan in made.values()
    ]
    await asyncio.gather(*calls)
    for name in made:
        stored = await find_portfolio(database, name)
        assert stored.cash == Decimal(1000) + 12 * (550 - Decimal("0.01"))
        assert {each.id: each.quantity for each in stored.lots} == {"x1": 40, "k1": 100}
        # 40 shares of a cost of 120 and 20 of 50.
        assert tax_of(stored) == (Decimal("-400.08"), Decimal("1199.96"))
