"""Transactions, identical instruments and tax rules over the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from data_examples import portfolio
from portfolio_optimization.v1 import portfolio_data_pb2, taxes_pb2
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import not_found, refused

Data = PortfolioDataServiceStub
Row = taxes_pb2.PortfolioTransaction


@pytest.fixture
async def family(stocked: Data) -> Data:
    await stocked.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=portfolio()))
    return stocked


def bought(transaction_id: str = "b1", **changes: Any) -> Row:
    plain = {
        "transaction_id": transaction_id,
        "instrument_id": "AAPL",
        "action": "buy",
        "quantity": "10.5",
        "price_amount": "126.04",
        "cost_amount": "4.95",
        "traded_on": "2022-12-01",
        "lot_id": "1",
    }
    return Row(**{**plain, **changes})


def sold(transaction_id: str = "s1", **changes: Any) -> Row:
    plain = {
        "action": "sell",
        "traded_on": "2022-12-05",
        "acquired_on": "2022-03-01",
        "held_since": "2021-12-31",
        "gain_amount": "-100.01",
    }
    return bought(transaction_id, **{**plain, **changes})


async def record(data: Data, *rows: Row, portfolio_id: str = "family") -> int:
    request = taxes_pb2.RecordTransactionsRequest(portfolio_id=portfolio_id, transactions=rows)
    return (await data.RecordTransactions(request)).recorded


async def listed(data: Data, **changes: Any) -> taxes_pb2.ListTransactionsResponse:
    return await data.ListTransactions(taxes_pb2.ListTransactionsRequest(**{"portfolio_id": "family", **changes}))


async def test_transactions_come_back_in_the_order_of_their_days(family: Data) -> None:
    later, earlier, same_day = sold(), bought(), bought("b0", traded_on="2022-12-05", cost_amount="0")
    assert await record(family, later, earlier, same_day) == 3
    assert list((await listed(family)).transactions) == [earlier, later, same_day]
    assert list((await listed(family, from_date="2022-12-05")).transactions) == [later, same_day]
    assert not (await listed(family, from_date="2022-12-06")).transactions


async def test_pages_show_every_transaction_once(family: Data) -> None:
    rows = [bought(f"t{k}", traded_on=f"2022-12-0{1 + k % 3}") for k in range(7)]
    await record(family, *rows)
    found: list[str] = []
    token = ""
    while True:
        page = await listed(family, page_size=2, page_token=token)
        found += [row.transaction_id for row in page.transactions]
        token = page.next_page_token
        if not token:
            break
    assert found == ["t0", "t3", "t6", "t1", "t4", "t2", "t5"]


async def test_the_same_again_is_one_transaction(family: Data) -> None:
    assert await record(family, bought(), sold()) == 2
    assert await record(family, sold(), bought(), bought("b2")) == 1
    assert len((await listed(family)).transactions) == 3


async def test_many_at_once_are_one_transaction(family: Data) -> None:
    counts = await asyncio.gather(*(record(family, bought(), sold()) for _ in range(8)))
    assert sorted(counts) == [0] * 7 + [2]


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "10.6"},
        {"price_amount": "126.05"},
        {"cost_amount": ""},
        {"traded_on": "2022-12-02"},
        {"lot_id": ""},
        {"instrument_id": "KO"},
    ],
)
async def test_something_else_under_the_same_id_is_refused(family: Data, changes: dict[str, str]) -> None:
    await record(family, bought())
    request = record(family, bought("new"), bought(**changes))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await request
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "transaction b1 of portfolio family is known with" in (caught.value.details() or "")
    assert [row.transaction_id for row in (await listed(family)).transactions] == ["b1"]


async def test_ids_belong_to_their_portfolio(family: Data) -> None:
    other = portfolio_data_pb2.Portfolio(portfolio_id="other", base_currency="USD")
    await family.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=other))
    await record(family, bought())
    assert await record(family, bought(quantity="1"), portfolio_id="other") == 1


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (bought(""), "transaction_id"),
        (bought("x" * 37), "transaction_id"),
        (bought(instrument_id=""), "instrument_id"),
        (bought(instrument_id="CASH"), "instrument_id"),
        (bought(action=""), "action"),
        (bought(action="BUY"), "action"),
        (bought(quantity=""), "quantity"),
        (bought(quantity="0"), "quantity"),
        (bought(quantity="-1"), "quantity"),
        (bought(quantity="NaN"), "quantity"),
        (bought(quantity="1e3"), "quantity"),
        (bought(price_amount=""), "price_amount"),
        (bought(price_amount="0"), "price_amount"),
        (bought(cost_amount="-0.01"), "cost_amount"),
        (bought(traded_on=""), "traded_on"),
        (bought(traded_on="2022-02-30"), "traded_on"),
        (bought(traded_on="9999-12-31"), "traded_on"),
        (bought(lot_id="x" * 37), "lot_id"),
        (bought(rebalance_id="r1"), "rebalance_id"),
        (bought(gain_amount="1"), "gain_amount"),
        (bought(acquired_on="2022-01-01"), "acquired_on"),
        (bought(held_since="2022-01-01"), "held_since"),
        (sold(acquired_on="2022-12-06"), "acquired_on"),
        (sold(held_since="2022-03-02"), "held_since"),
        (sold(acquired_on=""), "held_since"),
        (sold(gain_amount="inf"), "gain_amount"),
    ],
)
async def test_a_wrong_transaction_is_named_and_nothing_is_kept(family: Data, row: Row, field: str) -> None:
    faults = await refused(_recording(family, bought("good"), row))
    assert f"transactions[1].{field}" in faults
    assert not (await listed(family)).transactions


async def _recording(data: Data, *rows: Row) -> None:
    await record(data, *rows)


async def test_requests_that_cannot_be_meant(family: Data) -> None:
    assert list(await refused(_recording(family))) == ["transactions"]
    assert list(await refused(_recording(family, *[bought()] * 10_001))) == ["transactions"]
    assert list(await refused(_recording(family, bought(), bought()))) == ["transactions"]
    faults = await refused(_recording(family, bought(instrument_id="NEW")))
    assert faults == {"transactions": "names NEW, not known as an instrument"}
    unknown = taxes_pb2.RecordTransactionsRequest(portfolio_id="nobody", transactions=[bought()])
    assert "nobody" in await not_found(family.RecordTransactions(unknown))
    assert "nobody" in await not_found(listed(family, portfolio_id="nobody"))


@pytest.mark.parametrize(
    "changes",
    [{"portfolio_id": ""}, {"from_date": "yesterday"}, {"page_size": -1}, {"page_token": "bm8gZGF5"}],
)
async def test_lists_that_cannot_be_meant(family: Data, changes: dict[str, Any]) -> None:
    assert list(await refused(listed(family, **changes))) == list(changes)


async def identical(data: Data, instrument_id: str, *others: str) -> list[str]:
    request = taxes_pb2.SetIdenticalInstrumentsRequest(instrument_id=instrument_id, identical_ids=others)
    return list((await data.SetIdenticalInstruments(request)).identical_ids)


async def test_the_relation_holds_both_ways_and_is_replaced_as_a_whole(stocked: Data) -> None:
    assert await identical(stocked, "KO", "XOM", "AAPL") == ["AAPL", "XOM"]
    # Setting one side anew leaves what the other side has with a third.
    assert await identical(stocked, "AAPL", "KO") == ["KO"]
    assert await identical(stocked, "AAPL") == []
    assert await identical(stocked, "KO", "XOM") == ["XOM"]


async def test_concurrent_relations_wait_for_each_other(stocked: Data) -> None:
    pairs = [("KO", "XOM"), ("XOM", "KO"), ("AAPL", "KO"), ("KO", "AAPL")] * 3
    answers = await asyncio.gather(*(identical(stocked, one, other) for one, other in pairs))
    assert answers == [[other] for _, other in pairs]


@pytest.mark.parametrize(
    ("instrument_id", "others", "field"),
    [
        ("", ["KO"], "instrument_id"),
        ("CASH", ["KO"], "instrument_id"),
        ("NEW", ["KO"], "instrument_id"),
        ("KO", ["KO"], "identical_ids[0]"),
        ("KO", [""], "identical_ids[0]"),
        ("KO", ["NEW"], "identical_ids"),
        ("KO", ["XOM", "XOM"], "identical_ids"),
        ("KO", ["XOM"] * 1001, "identical_ids"),
    ],
)
async def test_wrong_relations_are_refused(stocked: Data, instrument_id: str, others: list[str], field: str) -> None:
    async def relate() -> None:
        await identical(stocked, instrument_id, *others)

    assert list(await refused(relate())) == [field]


async def rules(data: Data, **fields: str) -> taxes_pb2.GetTaxRulesResponse:
    return await data.GetTaxRules(taxes_pb2.GetTaxRulesRequest(**fields))


async def test_the_rules_of_the_united_states(data: Data) -> None:
    """26 USC 1091(a), 1211(b), 1222."""
    answer = await rules(data)
    assert (answer.jurisdiction, answer.long_term_months, answer.wash_sale_days) == ("US", 12, 30)
    assert (answer.yearly_loss_limit_amount, answer.separate_loss_limit_amount) == ("3000", "1500")
    assert answer == await rules(data, jurisdiction="US", date="1989-01-01")


@pytest.mark.parametrize(("fields", "said"), [({"date": "1988-12-31"}, "1989-01-01"), ({"jurisdiction": "UK"}, "UK")])
async def test_rules_that_are_not_there(data: Data, fields: dict[str, str], said: str) -> None:
    assert said in await not_found(rules(data, **fields))


@pytest.mark.parametrize("fields", [{"date": "01/01/2020"}, {"jurisdiction": "x" * 37}])
async def test_rules_that_cannot_be_meant(data: Data, fields: dict[str, str]) -> None:
    assert list(await refused(rules(data, **fields))) == list(fields)


async def test_a_portfolio_names_rules_that_are_there(stocked: Data) -> None:
    unknown = portfolio(tax=portfolio_data_pb2.TaxSettings(jurisdiction="UK"))
    faults = await refused(stocked.PutPortfolio(portfolio_data_pb2.PutPortfolioRequest(portfolio=unknown)))
    assert list(faults) == ["portfolio.tax.jurisdiction"]
