"""Tax previews: households, identical names, dated rates, recorded losses, and what cannot be asked."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest
from data_examples import prices
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1 import rebalancing_calls_pb2, taxes_pb2
from refusals import not_found, refused
from tax_examples import (
    FIFO,
    HIFO,
    IRA,
    LEAST_TAX,
    LIFO,
    SOLD_ON,
    SPECIFIC,
    TAXABLE,
    Data,
    Preview,
    Rebalancing,
    named,
    preview,
    put_account,
    sale,
    sold_by_lot,
    tax_lot,
    total,
)

from server.application import Application
from storage.portfolios import PortfolioRepository

OLD = tax_lot("old", 100, 50, "2020-01-02")
RECENT = tax_lot("recent", 100, 130, "2025-11-03")


def disallowed(answer: Preview) -> Decimal:
    return Decimal(answer.chosen.summary.disallowed_loss_amount)


async def test_all_of_a_preview(stocked: Data, rebalancing: Rebalancing) -> None:
    """150 shares at 100: FIFO takes all of the old lot and half of the recent one."""
    await put_account(stocked, [OLD, RECENT])
    answer = await preview(rebalancing, sale(150, 100))
    old, recent = answer.chosen.sales
    assert (old.lot_id, old.acquired_on, old.quantity, old.proceeds_amount) == ("old", "2020-01-02", "100", "10000.00")
    assert (old.cost_amount, old.gain_amount) == ("5000.00", "5000.00")
    assert (recent.quantity, recent.gain_amount) == ("50", "-1500.00")
    summary = answer.chosen.summary
    assert (summary.long_term_gain_amount, summary.short_term_gain_amount) == ("5000.00", "-1500.00")
    assert Decimal(summary.tax_amount) == (5000 - 1500) * Decimal("0.238")
    assert [estimate.lot_method for estimate in (answer.chosen, *answer.alternatives)] == [FIFO, FIFO, HIFO]
    assert sold_by_lot(answer.alternatives[1]) == {"recent": 100, "old": 50}
    # 3,000 of the loss nets the gain of 2,500; the rest of 500 saves tax at the short-term rate.
    assert Decimal(answer.alternatives[1].summary.tax_amount) == Decimal(2500 - 3000) * Decimal("0.408")
    assert not answer.pricing_pack_id


async def test_a_preview_writes_nothing(stocked: Data, rebalancing: Rebalancing, application: Application) -> None:
    await put_account(stocked, [OLD, RECENT])

    async def stored() -> Any:
        async with application.database.transaction() as connection:
            return await PortfolioRepository(connection).find("account")

    before = await stored()
    answers = [await preview(rebalancing, sale(150, 100)) for _ in range(2)]
    assert await stored() == before
    assert answers[0] == answers[1]
    listed = await stocked.ListTransactions(taxes_pb2.ListTransactionsRequest(portfolio_id="account"))
    assert not listed.transactions


async def test_prices_and_the_day_come_from_the_newest_pack(stocked: Data, rebalancing: Rebalancing) -> None:
    pack = (await stocked.LoadPricingPack(iter(prices()))).pricing_pack
    await put_account(stocked, [OLD])
    answer = await preview(rebalancing, sale(10), sale_date="")
    assert answer.pricing_pack_id == pack.pricing_pack_id
    assert answer.chosen.sales[0].proceeds_amount == "1260.40"
    named_pack = await preview(rebalancing, sale(10), sale_date="", pricing_pack_id=pack.pricing_pack_id)
    assert named_pack == answer
    faults = await refused(preview(rebalancing, sale(1, "", "XOM"), pricing_pack_id=pack.pricing_pack_id))
    assert faults == {"pricing_pack_id": f"{pack.pricing_pack_id} has no price of XOM"}
    assert "XOM" in await not_found(preview(rebalancing, sale(1, "", "XOM")))


async def test_a_lot_newer_than_the_prices_counts_as_bought_on_their_day(
    stocked: Data, rebalancing: Rebalancing
) -> None:
    await stocked.LoadPricingPack(iter(prices()))
    await put_account(stocked, [tax_lot("new", 10, 200, "2026-01-05")])
    answer = await preview(rebalancing, sale(10), sale_date="")
    assert answer.chosen.sales[0].acquired_on == "2022-12-28"
    faults = await refused(preview(rebalancing, sale(10, 1), sale_date="2022-12-28"))
    assert faults == {"sale_date": "only 0 shares of AAPL were bought by 2022-12-28"}


async def test_least_tax_is_never_more_than_any_order(stocked: Data, rebalancing: Rebalancing) -> None:
    """A short-term loss is worth more per share, but after netting the orders of single lots are not the best."""
    lots = [
        tax_lot("a", 100, 99, "2025-10-01"),
        tax_lot("b", 100, 60, "2020-01-02"),
        tax_lot("c", 100, 180, "2025-09-01"),
        tax_lot("d", 100, 101, "2019-05-06"),
        tax_lot("e", 100, 20, "2025-12-24"),
    ]
    tax = pb.TaxSettings(
        short_term_rate=0.408, long_term_rate=0.238, realized_long_term_amount="20000", yearly_loss_limit_amount="1500"
    )
    await put_account(stocked, lots, tax=tax)
    for quantity in (50, 150, 250, 333, 480):
        least, *others = [
            Decimal((await preview(rebalancing, sale(quantity, 100), lot_method=method)).chosen.summary.tax_amount)
            for method in (LEAST_TAX, FIFO, LIFO, HIFO)
        ]
        assert least <= min(others)


async def test_specific_lots_are_sold_in_their_order(stocked: Data, rebalancing: Rebalancing) -> None:
    await put_account(stocked, [OLD, RECENT, tax_lot("ko", 5, 60, "2021-01-04", instrument_id="KO")])
    chosen = [named("recent", 30), named("old")]
    sales = (sale(60, 100), sale(5, 50, "KO"))
    answer = await preview(rebalancing, *sales, lot_method=SPECIFIC, specific_lots=chosen)
    assert sold_by_lot(answer.chosen) == {"recent": 30, "old": 30, "ko": 5}
    backwards = await preview(rebalancing, *sales, lot_method=SPECIFIC, specific_lots=chosen[::-1])
    assert sold_by_lot(backwards.chosen) == {"old": 60, "ko": 5}


# --- households


async def test_a_purchase_in_an_ira_loses_the_loss_for_good(stocked: Data, rebalancing: Rebalancing) -> None:
    """Rev. Rul. 2008-5."""
    await put_account(stocked, [tax_lot("1", 100, 130, "2020-01-02")], account=TAXABLE)
    await put_account(stocked, [tax_lot("1", 40, 95, "2026-03-01")], portfolio_id="ira", account=IRA)
    answer = await preview(rebalancing, sale(100, 100))
    (part,) = answer.chosen.sales
    (match,) = part.wash_sales
    assert (match.portfolio_id, match.replacement_lot_id, match.quantity, match.lost) == ("ira", "1", "40", True)
    assert not match.holding_period_from
    assert (part.disallowed_loss_amount, part.lost_loss_amount) == ("1200.00", "1200.00")
    assert answer.chosen.summary.long_term_gain_amount == "-1800.00"


async def test_sales_in_an_ira_have_no_tax(stocked: Data, rebalancing: Rebalancing) -> None:
    await put_account(stocked, [tax_lot("1", 40, 195, "2026-03-01")], portfolio_id="ira", account=IRA)
    await put_account(stocked, [tax_lot("2", 100, 130, "2026-03-02")], account=TAXABLE)
    for price in (50, 500):
        answer = await preview(rebalancing, sale(10, price), portfolio_id="ira")
        assert answer.chosen.summary.tax_amount == "0.00"
        assert Decimal(answer.chosen.summary.disallowed_loss_amount) == 0
        assert Decimal(answer.chosen.sales[0].gain_amount) == 10 * (price - 195)


@pytest.mark.parametrize("household", ["", "elsewhere"])
async def test_accounts_of_other_households_do_not_count(
    stocked: Data, rebalancing: Rebalancing, household: str
) -> None:
    kind = pb.AccountSettings(household_id=household)
    await put_account(stocked, [tax_lot("1", 100, 130, "2020-01-02")], account=TAXABLE)
    await put_account(stocked, [tax_lot("1", 40, 95, "2026-03-01")], portfolio_id="stranger", account=kind)
    assert disallowed(await preview(rebalancing, sale(100, 100))) == 0


async def test_accounts_without_a_household_stand_alone(stocked: Data, rebalancing: Rebalancing) -> None:
    await put_account(stocked, [tax_lot("1", 100, 130, "2020-01-02")])
    await put_account(stocked, [tax_lot("1", 40, 95, "2026-03-01")], portfolio_id="other")
    assert disallowed(await preview(rebalancing, sale(100, 100))) == 0


async def test_identical_instruments_replace_both_ways(stocked: Data, rebalancing: Rebalancing) -> None:
    lots = [
        tax_lot("a", 100, 130, "2020-01-02"),
        tax_lot("k", 30, 60, "2026-03-02", instrument_id="KO"),
        tax_lot("x", 30, 60, "2026-03-02", instrument_id="XOM"),
    ]
    await put_account(stocked, lots)
    assert disallowed(await preview(rebalancing, sale(100, 100))) == 0
    for one, other in permutations(("AAPL", "KO")):
        relation = taxes_pb2.SetIdenticalInstrumentsRequest(instrument_id=one, identical_ids=[other])
        await stocked.SetIdenticalInstruments(relation)
        answer = await preview(rebalancing, sale(100, 100))
        assert [match.instrument_id for match in answer.chosen.sales[0].wash_sales] == ["KO"]
        assert disallowed(answer) == 30 * 30
        clear = taxes_pb2.SetIdenticalInstrumentsRequest(instrument_id=one)
        await stocked.SetIdenticalInstruments(clear)


# --- rates and rules with days


@pytest.mark.parametrize(
    ("day", "rate"), [("2025-12-31", "0.1"), ("2026-01-01", "0.2"), ("2026-06-30", "0.2"), ("2026-07-01", "0")]
)
async def test_rates_are_those_of_the_day(stocked: Data, rebalancing: Rebalancing, day: str, rate: str) -> None:
    dated = [
        taxes_pb2.DatedTaxRates(from_date="2026-01-01", short_term_rate=0.9, long_term_rate=0.2),
        taxes_pb2.DatedTaxRates(from_date="2026-07-01", short_term_rate=0.9),
    ]
    await put_account(stocked, [OLD], tax=pb.TaxSettings(long_term_rate=0.1, dated_rates=dated))
    answer = await preview(rebalancing, sale(1, 150), sale_date=day)
    assert Decimal(answer.chosen.summary.tax_amount) == 100 * Decimal(rate)


@pytest.mark.parametrize(
    ("changes", "deducted"),
    [
        ({}, "3000"),
        ({"files_separately": True}, "1500"),
        ({"files_separately": True, "yearly_loss_limit_amount": "700"}, "700"),
        ({"yearly_loss_limit_amount": "0"}, "0"),
    ],
)
async def test_the_yearly_loss_limit(
    stocked: Data, rebalancing: Rebalancing, changes: dict[str, Any], deducted: str
) -> None:
    await put_account(stocked, [RECENT], tax=pb.TaxSettings(short_term_rate=0.4, long_term_rate=0.2, **changes))
    summary = (await preview(rebalancing, sale(100, 50))).chosen.summary
    assert Decimal(summary.deducted_loss_amount) == Decimal(deducted)
    assert Decimal(summary.carried_short_term_loss_amount) == 8000 - Decimal(deducted)
    assert Decimal(summary.tax_amount) == -Decimal(deducted) * Decimal("0.4")


async def test_no_rules_hold_on_the_day(stocked: Data, rebalancing: Rebalancing) -> None:
    await put_account(stocked, [tax_lot("1", 1, 1, "1970-01-01")])
    said = await not_found(preview(rebalancing, sale(1, 2), sale_date="1980-01-01"))
    assert "US on 1980-01-01 (the first begin on 1989-01-01)" in said


# --- recorded transactions


def loss_sale(**changes: str) -> taxes_pb2.PortfolioTransaction:
    plain = {
        "transaction_id": "loss",
        "instrument_id": "AAPL",
        "action": "sell",
        "quantity": "100",
        "price_amount": "80",
        "traded_on": "2026-03-01",
        "lot_id": "gone",
        "acquired_on": "2025-01-02",
        "gain_amount": "-2000",
    }
    return taxes_pb2.PortfolioTransaction(**{**plain, **changes})


async def test_a_recorded_loss_uses_up_its_replacement(stocked: Data, rebalancing: Rebalancing) -> None:
    """The 100 shares of 5 March replaced those sold on 1 March, so they replace none of those sold now."""
    await put_account(stocked, [tax_lot("old", 100, 130, "2020-01-02"), tax_lot("new", 100, 95, "2026-03-05")])
    assert disallowed(await _sell_old(rebalancing)) == 3000
    request = taxes_pb2.RecordTransactionsRequest(portfolio_id="account", transactions=[loss_sale()])
    await stocked.RecordTransactions(request)
    assert disallowed(await _sell_old(rebalancing)) == 0


async def _sell_old(rebalancing: Rebalancing) -> Preview:
    return await preview(rebalancing, sale(100, 100), lot_method=SPECIFIC, specific_lots=[named("old")])


@pytest.mark.parametrize(
    ("day", "expected"), [("2026-02-18", 3000), ("2026-04-19", 3000), ("2026-02-17", 0), ("2026-04-20", 0)]
)
async def test_both_ends_of_the_window(stocked: Data, rebalancing: Rebalancing, day: str, expected: int) -> None:
    """30 days before and after 20 March 2026 are 18 February and 19 April."""
    await put_account(stocked, [tax_lot("old", 100, 130, "2020-01-02"), tax_lot("new", 100, 95, day)])
    assert disallowed(await _sell_old(rebalancing)) == expected


# --- what is not known


async def test_unknown_cost_and_date_never_understate_tax(stocked: Data, rebalancing: Rebalancing) -> None:
    lot = pb.TaxLot(lot_id="1", instrument_id="AAPL", quantity="10")
    await put_account(stocked, [lot])
    answer = await preview(rebalancing, sale(10, 100))
    assert Decimal(answer.chosen.summary.short_term_gain_amount) == 1000
    assert Decimal(answer.chosen.summary.tax_amount) == 408


# --- hostile requests


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"portfolio_id": ""}, ["portfolio_id"]),
        ({"portfolio_id": "x" * 37}, ["portfolio_id"]),
        ({"sales": []}, ["sales"]),
        ({"sales": [sale(1, 1)] * 10_001}, ["sales"]),
        ({"sales": [sale(1, 1), sale(2, 1)]}, ["sales"]),
        ({"sales": [sale("", 1)]}, ["sales[0].quantity"]),
        ({"sales": [sale(0, 1)]}, ["sales[0].quantity"]),
        ({"sales": [sale(-1, 1)]}, ["sales[0].quantity"]),
        ({"sales": [sale("nan", 1)]}, ["sales[0].quantity"]),
        ({"sales": [sale("9" * 13, 1)]}, ["sales[0].quantity"]),
        ({"sales": [sale(1, 0)]}, ["sales[0].price_amount"]),
        ({"sales": [sale(1, "Infinity")]}, ["sales[0].price_amount"]),
        ({"sales": [sale(1, 1, "")]}, ["sales[0].instrument_id"]),
        ({"sales": [sale(1, 1, "CASH")]}, ["sales[0].instrument_id"]),
        ({"sales": [sale(1, 1, "NEW")]}, ["sales[0].instrument_id"]),
        ({"sales": [sale(1, 1, "KO")]}, ["sales[0].instrument_id"]),
        ({"sales": [sale("200.000001", 1)]}, ["sales[0].quantity"]),
        ({"sale_date": "2026-13-01"}, ["sale_date"]),
        ({"sale_date": "2019-12-31"}, ["sale_date"]),
        ({"sale_date": "9999-12-31"}, ["sale_date"]),
        ({"sale_date": "0001-01-01"}, ["sale_date"]),
        ({"lot_method": 0}, ["lot_method"]),
        ({"lot_method": 99}, ["lot_method"]),
        ({"lot_method": SPECIFIC}, ["specific_lots"]),
        ({"specific_lots": [named("old")]}, ["specific_lots"]),
        ({"lot_method": FIFO, "specific_lots": [named("old")]}, ["specific_lots"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("")]}, ["specific_lots[0].lot_id"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("old"), named("old")]}, ["specific_lots[1].lot_id"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("old", "-1")]}, ["specific_lots[0].quantity"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("nowhere")]}, ["specific_lots[0].lot_id"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("old", 101)]}, ["specific_lots[0].quantity"]),
        ({"lot_method": SPECIFIC, "specific_lots": [named("old", 5)]}, ["specific_lots"]),
        (
            {"lot_method": SPECIFIC, "specific_lots": [named("recent")], "sale_date": "2024-01-02"},
            ["specific_lots[0].lot_id"],
        ),
        ({"rebalance_id": "r", "portfolio_id": ""}, ["sales"]),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    stocked: Data, rebalancing: Rebalancing, changes: dict[str, Any], fields: list[str]
) -> None:
    await put_account(stocked, [OLD, RECENT])
    plain = {"portfolio_id": "account", "sales": [sale(50, 100)], "sale_date": SOLD_ON}
    faults = await refused(rebalancing.PreviewTax(rebalancing_calls_pb2.PreviewTaxRequest(**{**plain, **changes})))
    assert list(faults) == fields


async def test_holdings_without_lots_and_short_positions(stocked: Data, rebalancing: Rebalancing) -> None:
    holdings = [pb.Holding(instrument_id="AAPL", quantity="10"), pb.Holding(instrument_id="KO", quantity="-5")]
    account = pb.Portfolio(portfolio_id="account", base_currency="USD", holdings=holdings)
    await stocked.PutPortfolio(pb.PutPortfolioRequest(portfolio=account))
    faults = await refused(preview(rebalancing, sale(1, 100), sale(1, 50, "KO")))
    assert faults == {
        "sales[0].instrument_id": "AAPL is held without lots, so its tax is not known",
        "sales[1].instrument_id": "KO is not held by portfolio account",
    }


async def test_what_does_not_exist_is_not_found(stocked: Data, rebalancing: Rebalancing) -> None:
    assert "nobody" in await not_found(preview(rebalancing, sale(1, 1), portfolio_id="nobody"))
    request = rebalancing_calls_pb2.PreviewTaxRequest(rebalance_id="no-plan")
    assert "no-plan" in await not_found(rebalancing.PreviewTax(request))
    await put_account(stocked, [OLD])
    assert "pp-0" in await not_found(preview(rebalancing, sale(1, 1), pricing_pack_id="pp-0"))


async def test_the_largest_numbers(stocked: Data, rebalancing: Rebalancing) -> None:
    quantity, price = "999999999999.999999999999", "999999999999999999.99"
    await put_account(stocked, [tax_lot("1", quantity, 0, "2020-01-02")])
    answer = await preview(rebalancing, sale(quantity, price))
    cents = round(Fraction(quantity) * Fraction(price) * 100)
    assert Fraction(answer.chosen.sales[0].proceeds_amount) * 100 == cents
    assert answer.chosen.sales[0].gain_amount == answer.chosen.summary.long_term_gain_amount


async def test_lots_add_up_to_the_cent(stocked: Data, rebalancing: Rebalancing) -> None:
    lots = [tax_lot(str(k), "33.333333", "33.3333", "2020-01-02") for k in range(3)]
    await put_account(stocked, lots)
    answer = await preview(rebalancing, sale("99.999999", "99.9999"))
    assert total(answer.chosen.sales, "proceeds_amount") == round(Decimal("99.999999") * Decimal("99.9999"), 2)
    summary = answer.chosen.summary
    assert total(answer.chosen.sales, "gain_amount") == Decimal(summary.long_term_gain_amount)
