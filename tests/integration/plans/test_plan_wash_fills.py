"""Fills at a loss: what replaces them and whose books change, without a cent that is lost."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from plan_examples import (
    CANCELLED,
    SALE,
    TODAY,
    Clock,
    Order,
    ended,
    find_portfolio,
    lot,
    portfolio,
    ready,
    report,
    reports,
    store_portfolio,
    tax_of,
)

from server.convert.answers import timestamp
from server.workflows.plans import PlanWorkflow
from storage.database import Database


async def test_a_loss_is_disallowed_when_the_shares_are_bought_back_elsewhere(
    plans: PlanWorkflow, database: Database
) -> None:
    # A sale at a loss in a taxable account, and a purchase of the same shares in an IRA of the household days later.
    home = {"household_id": "home"}
    await store_portfolio(database, portfolio(account=home))
    ira = {**home, "account_type": "ACCOUNT_TYPE_TAX_DEFERRED"}
    await store_portfolio(database, portfolio("ira", account=ira, lots=(), cash=Decimal(9000)))
    loss = Order("sell", "XOM", "40", (("x2", "40"),))
    plan = await ready(plans, database, loss)
    await plans.record(reports(plan, report("a", loss, cost_amount="0")), "oms")
    # 40 * (110 - 120)
    assert tax_of(await find_portfolio(database)) == (Decimal("-400.00"), 0)
    back = Order("buy", "XOM", "10")
    again = await ready(plans, database, back, portfolio_id="ira")
    await plans.record(reports(again, report("a", back, cost_amount="0")), "oms")
    # A quarter of the shares is replaced, in a retirement account: 100 of the loss is lost for good.
    assert tax_of(await find_portfolio(database)) == (Decimal("-300.00"), 0)
    (kept,) = (await find_portfolio(database, "ira")).lots
    assert kept.cost_per_share == 110
    assert tax_of(await find_portfolio(database, "ira")) == (0, 0)


async def test_a_replacement_takes_the_loss_over(plans: PlanWorkflow, database: Database) -> None:
    loss, back = Order("sell", "XOM", "40", (("x2", "40"),)), Order("buy", "XOM", "10")
    plan = await ready(plans, database, loss)
    await plans.record(reports(plan, report("a", loss, cost_amount="0")), "oms")
    again = await ready(plans, database, back)
    await plans.record(reports(again, report("a", back, cost_amount="0")), "oms")
    stored = await find_portfolio(database)
    new = next(each for each in stored.lots if each.id not in {"x1", "k1"})
    # The ten shares that replace take over 100 of the loss, and the 80 days for which those sold were held.
    assert new.cost_per_share == 120
    assert new.held_since == TODAY - (TODAY - date(2026, 9, 1))
    assert new.replaced_loss
    assert tax_of(stored) == (Decimal("-300.00"), 0)


YOUNG_AND_OLD = (
    lot("x1", "XOM", "50", date(2024, 5, 3), "130"),
    lot("x2", "XOM", "50", date(2026, 11, 2), "120"),
)
BOTH = Order("sell", "XOM", "100", (("x1", "50"), ("x2", "50")))
CUTS = {
    "at once": [["100"]],
    "two fills": [["50", "50"]],
    "two reports": [["50"], ["50"]],
    "many": [["30"], ["30", "7"], ["0.5", "32.5"]],
}


@pytest.mark.parametrize("cut", CUTS)
async def test_tax_does_not_depend_on_how_an_order_is_cut_into_fills(
    plans: PlanWorkflow, database: Database, cut: str
) -> None:
    await store_portfolio(database, portfolio(lots=YOUNG_AND_OLD))
    plan = await ready(plans, database, BOTH)
    count = 0
    for part in CUTS[cut]:
        items = []
        for quantity in part:
            count += 1
            items.append(report(f"{count}", BOTH, quantity, cost_amount="0"))
        await plans.record(reports(plan, *items), "oms")
    stored = await find_portfolio(database)
    # 50 * (110 - 120) and 50 * (110 - 130): all is sold on one day, so nothing replaces anything.
    assert tax_of(stored) == (Decimal("-500.00"), Decimal("-1000.00"))
    assert stored.lots == ()


@pytest.mark.parametrize("end", ["order", "plan", "next day"])
async def test_shares_that_a_plan_did_not_sell_after_all_replace_those_that_it_sold(
    plans: PlanWorkflow, database: Database, clock: Clock, end: str
) -> None:
    await store_portfolio(database, portfolio(lots=YOUNG_AND_OLD))
    plan = await ready(plans, database, BOTH)
    await plans.record(reports(plan, report("1", BOTH, "50", cost_amount="0")), "oms")
    assert tax_of(await find_portfolio(database)) == (0, Decimal("-1000.00"))
    await plans.record(reports(plan, report("2", BOTH, "20", cost_amount="0")), "oms")
    assert tax_of(await find_portfolio(database)) == (Decimal("-200.00"), Decimal("-1000.00"))
    clock.forward(days=3)
    if end == "order":
        await plans.record(reports(plan, ended("3", BOTH, CANCELLED, executed_at=timestamp(clock.now))), "oms")
    elif end == "plan":
        await plans.cancel(plan, "", "boss")
        await plans.cancel(plan, "", "boss")
    else:
        late = report("3", BOTH, "1", executed_at=timestamp(clock.now), cost_amount="0")
        await plans.record(reports(plan, late), "oms")
    stored = await find_portfolio(database)
    kept = [(each.quantity, each.cost_per_share, each.replaced_loss) for each in stored.lots]
    if end == "next day":
        # Thirty shares were held after the day of the loss: each takes over 20, and one of them realises 110 - 140. Its
        # holding period is that of the old shares and its own, more than a year.
        assert tax_of(stored) == (Decimal("-200.00"), Decimal("-430.00"))
        assert kept == [(29, 140, True)]
    else:
        # Of the loss of 20 a share, that of the thirty shares held still is disallowed.
        assert tax_of(stored) == (Decimal("-200.00"), Decimal("-400.00"))
        assert kept == [(30, 140, True)]


async def test_a_sale_in_a_retirement_account_is_not_taxed(plans: PlanWorkflow, database: Database) -> None:
    await store_portfolio(database, portfolio(account={"account_type": "ACCOUNT_TYPE_TAX_EXEMPT"}))
    plan = await ready(plans, database, SALE)
    await plans.record(reports(plan, report("a", SALE)), "oms")
    assert tax_of(await find_portfolio(database)) == (0, 0)


async def test_a_lot_sold_in_many_parts_loses_no_cent(plans: PlanWorkflow, database: Database) -> None:
    only = lot("odd", "XOM", "100", date(2021, 1, 4), "33.333333")
    await store_portfolio(database, portfolio(lots=(only,)))
    sale = Order("sell", "XOM", "100", (("odd", "100"),))
    plan = await ready(plans, database, sale)
    parts = ["0.1"] * 7 + ["33.3", "33", "33"]
    for k, part in enumerate(parts):
        await plans.record(reports(plan, report(f"{k}", sale, part, price_amount="110.007", cost_amount="0.01")), "oms")
    stored = await find_portfolio(database)
    cash = sum(round(Decimal(part) * Decimal("110.007"), 2) - Decimal("0.01") for part in parts)
    assert stored.cash == Decimal(1000) + cash
    # All proceeds less all costs of the lot: 100 * 33.333333 = 3333.33.
    assert tax_of(stored) == (0, cash - Decimal("3333.33"))
    assert stored.lots == ()


async def test_a_cost_above_the_proceeds_is_paid_and_realises_no_more_than_nothing(
    plans: PlanWorkflow, database: Database
) -> None:
    sale = Order("sell", "XOM", "1", (("x1", "1"),))
    plan = await ready(plans, database, sale)
    await plans.record(reports(plan, report("a", sale, price_amount="0.50", cost_amount="5.00")), "oms")
    stored = await find_portfolio(database)
    assert stored.cash == Decimal("995.50")
    assert tax_of(stored) == (0, Decimal("-50.00"))
