"""Portfolios over the wire: stored, checked, replaced and valued as a whole."""

import asyncio
import math
from dataclasses import replace

import grpc
import pytest
from data_examples import lot, portfolio, prices
from portfolio_optimization.v1 import optimization_pb2, trade_pb2
from portfolio_optimization.v1 import policies_pb2 as policies
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import not_found, refused

from server.application import Application
from storage.portfolios import PortfolioRepository

Data = PortfolioDataServiceStub


def put(message: pb.Portfolio, **options: bool) -> pb.PutPortfolioRequest:
    return pb.PutPortfolioRequest(portfolio=message, **options)


async def get_portfolio(data: Data, **request: str) -> pb.GetPortfolioResponse:
    return await data.GetPortfolio(pb.GetPortfolioRequest(**{"portfolio_id": "family", **request}))


async def test_a_portfolio_comes_back_as_it_was(stocked: Data) -> None:
    stored = await stocked.PutPortfolio(put(portfolio()))
    found = (await get_portfolio(stocked)).portfolio
    assert stored.created
    assert stored.portfolio == found
    assert found.HasField("updated_at")
    found.ClearField("updated_at")
    assert found == portfolio()


async def test_restrictions_stand_where_rebalancing_reads_them(stocked: Data, application: Application) -> None:
    await stocked.PutPortfolio(put(portfolio()))
    async with application.database.transaction() as connection:
        stored = await PortfolioRepository(connection).find("family")
    restrictions = [stored.account[name] for name in ("do_not_buy", "do_not_sell", "do_not_trade")]
    assert restrictions == [["KO"], ["XOM"], ["NOT-STORED"]]
    assert stored.account["tax"]["yearly_loss_limit_amount"] == "3000"
    assert (stored.lot_method, str(stored.short_term_tax_rate)) == ("least_tax", "0.408")


async def test_an_empty_portfolio_has_defaults(data: Data) -> None:
    await data.PutPortfolio(put(pb.Portfolio(portfolio_id="family", base_currency="CHF")))
    answer = await get_portfolio(data)
    answer.portfolio.ClearField("updated_at")
    assert answer.portfolio == pb.Portfolio(portfolio_id="family", base_currency="CHF", cash_amount="0")
    assert not answer.HasField("valuation")


async def test_a_portfolio_is_replaced_and_keeps_its_preferences(stocked: Data) -> None:
    await stocked.PutPortfolio(put(portfolio()))
    smaller = portfolio(
        preferences=None, holdings=[pb.Holding(instrument_id="XOM", quantity="1")], lots=[], account=None
    )
    stored = await stocked.PutPortfolio(put(smaller))
    assert not stored.created
    assert stored.portfolio.preferences == portfolio().preferences
    assert [holding.instrument_id for holding in stored.portfolio.holdings] == ["XOM"]
    assert not stored.portfolio.lots
    assert not stored.portfolio.HasField("account")
    emptied = await stocked.PutPortfolio(put(portfolio(preferences=pb.PortfolioPreferences())))
    assert not emptied.portfolio.HasField("preferences")


async def test_a_portfolio_can_be_checked_only(stocked: Data) -> None:
    answer = await stocked.PutPortfolio(put(portfolio(), validate_only=True))
    assert answer.created
    assert answer.portfolio == portfolio()
    await not_found(get_portfolio(stocked))


HOLDING = pb.Holding(instrument_id="AAPL", quantity="2")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"portfolio_id": ""}, ["portfolio_id"]),
        ({"portfolio_id": "x" * 37}, ["portfolio_id"]),
        ({"base_currency": ""}, ["base_currency"]),
        ({"base_currency": "Dollar"}, ["base_currency"]),
        ({"cash_amount": "nan"}, ["cash_amount"]),
        ({"cash_amount": "1,000"}, ["cash_amount"]),
        ({"cash_amount": "1_000"}, ["cash_amount"]),
        ({"cash_amount": " 1"}, ["cash_amount"]),
        ({"cash_amount": "١٢"}, ["cash_amount"]),
        ({"cash_amount": "9" * 19}, ["cash_amount"]),
        ({"holdings": [HOLDING, HOLDING], "lots": []}, ["holdings"]),
        ({"holdings": [pb.Holding(instrument_id="AAPL", quantity="0")], "lots": []}, ["holdings[0].quantity"]),
        ({"holdings": [pb.Holding(instrument_id="AAPL")], "lots": []}, ["holdings[0].quantity"]),
        ({"holdings": [pb.Holding(instrument_id="AAPL", quantity="1e3")], "lots": []}, ["holdings[0].quantity"]),
        ({"holdings": [pb.Holding(quantity="1")], "lots": []}, ["holdings[0].instrument_id"]),
        ({"holdings": [pb.Holding(instrument_id="CASH", quantity="1")], "lots": []}, ["holdings[0].instrument_id"]),
        ({"holdings": [pb.Holding(instrument_id="NEW", quantity="1")], "lots": []}, ["holdings"]),
        ({"holdings": [HOLDING], "lots": [lot("1")]}, ["lots[AAPL]"]),
        ({"holdings": [HOLDING], "lots": [lot("1"), lot("1")]}, ["lots"]),
        ({"holdings": [HOLDING], "lots": [lot("1", "KO")]}, ["lots[KO]"]),
        ({"holdings": [HOLDING], "lots": [lot("", quantity="2")]}, ["lots[0].lot_id"]),
        ({"holdings": [HOLDING], "lots": [lot("1", quantity="-2")]}, ["lots[0].quantity"]),
        ({"holdings": [HOLDING], "lots": [lot("1", quantity="")]}, ["lots[0].quantity"]),
        ({"holdings": [HOLDING], "lots": [lot("1", quantity="2", acquired_on="1.3.21")]}, ["lots[0].acquired_on"]),
        ({"holdings": [HOLDING], "lots": [lot("1", quantity="2", acquired_on="20210301")]}, ["lots[0].acquired_on"]),
        (
            {"holdings": [HOLDING], "lots": [lot("1", quantity="2", cost_per_share_amount="-1")]},
            ["lots[0].cost_per_share_amount"],
        ),
        ({"benchmark_id": "nowhere"}, ["benchmark_id"]),
        ({"account": pb.AccountSettings(account_type=0)}, ["account.account_type"]),
        ({"account": pb.AccountSettings(option_approval_level=6)}, ["account.option_approval_level"]),
        ({"account": pb.AccountSettings(do_not_buy=["KO", ""])}, ["account.do_not_buy[1]"]),
        ({"tax": pb.TaxSettings(short_term_rate=1.5)}, ["tax.short_term_rate"]),
        ({"tax": pb.TaxSettings(long_term_rate=math.nan)}, ["tax.long_term_rate"]),
        ({"tax": pb.TaxSettings(lot_method=trade_pb2.LOT_METHOD_SPECIFIC)}, ["tax.lot_method"]),
        ({"tax": pb.TaxSettings(lot_method=0)}, ["tax.lot_method"]),
        ({"tax": pb.TaxSettings(yearly_loss_limit_amount="-1")}, ["tax.yearly_loss_limit_amount"]),
        ({"tax": pb.TaxSettings(ordinary_rate=math.nan)}, ["tax.ordinary_rate"]),
        ({"tax": pb.TaxSettings(carried_loss_value=1.01)}, ["tax.carried_loss_value"]),
        ({"tax": pb.TaxSettings(jurisdiction="x" * 37)}, ["tax.jurisdiction"]),
        ({"tax": {"dated_rates": [{"short_term_rate": 0.1}]}}, ["tax.dated_rates[0].from_date"]),
        (
            {"tax": {"dated_rates": [{"from_date": "2024-01-01"}, {"from_date": "2024-01-01"}]}},
            ["tax.dated_rates[1].from_date"],
        ),
        (
            {"tax": {"dated_rates": [{"from_date": "2024-01-01", "long_term_rate": -0.1}]}},
            ["tax.dated_rates[0].long_term_rate"],
        ),
        ({"tax": {"wash_sale_policies": {"same_purchase": 9}}}, ["tax.wash_sale_policies.same_purchase"]),
        ({"tax": {"wash_sale_policies": {"holding_period": 9}}}, ["tax.wash_sale_policies.holding_period"]),
        ({"account": pb.AccountSettings(maintenance_margin=1.5)}, ["account.maintenance_margin"]),
        ({"account": pb.AccountSettings(maintenance_margin=math.nan)}, ["account.maintenance_margin"]),
        (
            {"holdings": [HOLDING], "lots": [lot("1", quantity="2", held_since="2020-01-01")]},
            ["lots[0].held_since"],
        ),
        (
            {
                "holdings": [HOLDING],
                "lots": [lot("1", quantity="2", acquired_on="2020-01-01", held_since="2020-01-02")],
            },
            ["lots[0].held_since"],
        ),
    ],
)
async def test_a_wrong_portfolio_is_named_and_not_kept(
    stocked: Data, changes: dict[str, object], fields: list[str]
) -> None:
    faults = await refused(stocked.PutPortfolio(put(portfolio(**changes))))
    assert list(faults) == [f"portfolio.{field}" for field in fields]
    assert not (await stocked.ListPortfolios(pb.ListPortfoliosRequest())).portfolios


@pytest.mark.parametrize(
    ("rebalancing", "field"),
    [
        ({"target_type": "best"}, "target_type"),
        ({"target_type": "custom"}, "custom_target"),
        ({"custom_target": {"KO": 0.7, "AAPL": 0.4}}, "custom_target"),
        ({"schedule": policies.REBALANCE_SCHEDULE_UNSPECIFIED}, "schedule"),
        ({"schedule": 77}, "schedule"),
        ({"approval_limit_amount": "-1"}, "approval_limit_amount"),
        ({"approval_validity_hours": -1.0}, "approval_validity_hours"),
        ({"max_price_move": math.nan}, "max_price_move"),
        ({"alert_emails": ["a@b", "x\0"]}, "alert_emails[1]"),
        ({"constraints": {"max_trades": -1}}, "constraints.max_trades"),
        ({"constraints": {"lot_method": 0}}, "constraints.lot_method"),
        (
            {"constraints": {"lot_method": trade_pb2.LOT_METHOD_SPECIFIC, "specific_lots": [{"quantity": "1"}]}},
            "constraints.specific_lots[0].lot_id",
        ),
    ],
)
async def test_wrong_preferences_are_refused(stocked: Data, rebalancing: dict[str, object], field: str) -> None:
    wrong = pb.PortfolioPreferences(rebalancing=policies.RebalancingPreferences(**rebalancing))
    faults = await refused(stocked.PutPortfolio(put(portfolio(preferences=wrong))))
    assert list(faults) == [f"portfolio.preferences.rebalancing.{field}"]


async def test_everything_wrong_with_a_portfolio_comes_at_once(stocked: Data) -> None:
    worst = portfolio(
        portfolio_id="",
        cash_amount="x",
        tax=pb.TaxSettings(long_term_rate=-1.0),
        preferences=pb.PortfolioPreferences(optimization=optimization_pb2.OptimizationPreferences(risk_aversion=-1.0)),
    )
    assert set(await refused(stocked.PutPortfolio(put(worst)))) == {
        "portfolio.portfolio_id",
        "portfolio.cash_amount",
        "portfolio.tax.long_term_rate",
        "portfolio.preferences.optimization.risk_aversion",
    }
    unknown = portfolio(holdings=[pb.Holding(instrument_id="N1", quantity="1")], lots=[], benchmark_id="N2")
    faults = await refused(stocked.PutPortfolio(put(unknown)))
    assert faults["portfolio.holdings"].startswith("names N1,")
    assert faults["portfolio.benchmark_id"].startswith("names N2,")
    assert await refused(stocked.PutPortfolio(pb.PutPortfolioRequest()))


async def test_a_refused_change_leaves_the_portfolio(stocked: Data) -> None:
    before = (await stocked.PutPortfolio(put(portfolio()))).portfolio
    await refused(stocked.PutPortfolio(put(portfolio(lots=[lot("1")]))))
    assert (await get_portfolio(stocked)).portfolio == before


async def test_concurrent_changes_leave_one_of_them(stocked: Data) -> None:
    names = [f"version {k}" for k in range(8)]
    answers = await asyncio.gather(*(stocked.PutPortfolio(put(portfolio(name=name))) for name in names))
    found = (await get_portfolio(stocked)).portfolio
    assert found in [answer.portfolio for answer in answers]
    assert len(found.lots) == 2


async def test_portfolios_are_listed_by_page(stocked: Data) -> None:
    for name in ("a", "c", "b"):
        await stocked.PutPortfolio(put(portfolio(portfolio_id=name)))
    first = await stocked.ListPortfolios(pb.ListPortfoliosRequest(page_size=2))
    rest = await stocked.ListPortfolios(pb.ListPortfoliosRequest(page_size=2, page_token=first.next_page_token))
    assert [row.portfolio_id for row in [*first.portfolios, *rest.portfolios]] == ["a", "b", "c"]
    assert not rest.next_page_token
    row = first.portfolios[0]
    assert (row.name, row.base_currency, row.holding_count, row.benchmark_id) == ("Family account", "USD", 3, "half")


async def test_a_portfolio_is_valued(stocked: Data) -> None:
    """KO 100 shares at 63.25, AAPL 50 at 126.04 and cash of 73.00 are worth 12,700."""
    pack = (await stocked.LoadPricingPack(iter(prices()))).pricing_pack
    holdings = [pb.Holding(instrument_id="KO", quantity="100"), pb.Holding(instrument_id="AAPL", quantity="50")]
    await stocked.PutPortfolio(put(portfolio(holdings=holdings, lots=[], cash_amount="73.00")))
    for asked in ({}, {"pricing_pack_id": pack.pricing_pack_id}):
        valuation = (await get_portfolio(stocked, **asked)).valuation
        assert (valuation.pricing_pack_id, valuation.as_of) == (pack.pricing_pack_id, "2022-12-28")
        assert valuation.value_amount == "12700.00"
        assert dict(valuation.weights) == pytest.approx(
            {"KO": 6325 / 12700, "AAPL": 6302 / 12700, "CASH": 73 / 12700}, rel=1e-15
        )
    assert "pp-0" in await not_found(get_portfolio(stocked, pricing_pack_id="pp-0"))


async def test_no_price_is_no_valuation(stocked: Data) -> None:
    pack = (await stocked.LoadPricingPack(iter(prices()))).pricing_pack
    await stocked.PutPortfolio(put(portfolio()))
    for asked in ({}, {"pricing_pack_id": pack.pricing_pack_id}):
        assert not (await get_portfolio(stocked, **asked)).HasField("valuation")


async def test_a_worthless_portfolio_has_no_weights(stocked: Data) -> None:
    await stocked.LoadPricingPack(iter(prices()))
    holdings = [pb.Holding(instrument_id="KO", quantity="-999999999999.999999999999")]
    await stocked.PutPortfolio(put(portfolio(holdings=holdings, lots=[], cash_amount="999999999999999999")))
    rich = (await get_portfolio(stocked)).valuation
    assert rich.value_amount == "999936749999999999.00"
    await stocked.PutPortfolio(put(portfolio(holdings=holdings, lots=[], cash_amount="-1")))
    poor = (await get_portfolio(stocked)).valuation
    assert poor.value_amount.startswith("-632")
    assert not poor.weights


async def test_what_a_file_brought_in_wrongly_is_said(stocked: Data, application: Application) -> None:
    await stocked.PutPortfolio(put(portfolio()))
    async with application.database.transaction() as connection:
        repository = PortfolioRepository(connection)
        stored = await repository.find("family")
        await repository.put(replace(stored, account={"margin_enabled": "perhaps"}))
    await refused(get_portfolio(stocked), grpc.StatusCode.FAILED_PRECONDITION)
