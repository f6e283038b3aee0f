"""Figures of the tax year: carried into later years by the rules of each, and never mixed with those of another."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from refusals import refused
from tax_examples import Data, Rebalancing, preview, put_account, sale, tax_lot

from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_years import TaxYear
from server.application import Application
from server.households import rules_of
from server.tax_figures import figures_after, figures_by
from storage.tax_rules import TaxRuleRepository

STORED = pb.TaxSettings(
    short_term_rate=0.4,
    long_term_rate=0.2,
    realized_short_term_amount="-5000",
    realized_long_term_amount="500",
    carried_long_term_loss_amount="6500",
    realized_year=2026,
)


def gains(short: int, long: int) -> NetGains:
    return NetGains(Decimal(short), Decimal(long))


def changed(**changes: object) -> pb.TaxSettings:
    message = pb.TaxSettings()
    message.CopyFrom(STORED)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("year", "settings", "carried"),
    [
        # - 5000 short-term and 500 - 6500 long-term: 3000 reduce other income, short-term first.
        (2027, STORED, (-2000, -6000)),
        (2028, STORED, (0, -5000)),
        (2030, STORED, (0, 0)),
        (2200, STORED, (0, 0)),
        (2027, changed(files_separately=True), (-3500, -6000)),
        (2027, changed(yearly_loss_limit_amount="0"), (-5000, -6000)),
        (2200, changed(yearly_loss_limit_amount="0"), (-5000, -6000)),
        # Of the year before all rules those of the trades' day hold.
        (1990, changed(realized_year=1988), (0, -5000)),
    ],
)
async def test_older_years_are_carried_over(
    application: Application, year: int, settings: pb.TaxSettings, carried: tuple[int, int]
) -> None:
    async with application.database.transaction() as connection:
        rules = await rules_of(connection, "", date(2026, 1, 2))
        assert await figures_by(connection, settings, rules, year) == TaxYear(year, carried=gains(*carried))


@pytest.mark.parametrize("stored_year", [0, 2026])
async def test_figures_of_the_year_itself_stay(application: Application, stored_year: int) -> None:
    async with application.database.transaction() as connection:
        rules = await rules_of(connection, "", date(2026, 1, 2))
        found = await figures_by(connection, changed(realized_year=stored_year), rules, 2026)
    assert found == TaxYear(2026, gains(-5000, 500), gains(0, -6500))


async def test_the_limit_is_that_of_the_year_that_is_left(application: Application) -> None:
    async with application.database.transaction() as connection:
        first = await TaxRuleRepository(connection).find_on("US", date(2026, 1, 2))
        later = replace(first, valid_from=date(2027, 1, 1), yearly_loss_limit=Decimal(4000))
        await TaxRuleRepository(connection).put([later])
        rules = await rules_of(connection, "", date(2028, 1, 2))
        assert (await figures_by(connection, STORED, rules, 2027)).carried == gains(-2000, -6000)
        assert (await figures_by(connection, STORED, rules, 2028)).carried == gains(0, -4000)


@pytest.mark.parametrize(
    ("year", "earlier", "expected"),
    [
        (2026, (0, 0), TaxYear(2026, gains(-4900, 300), gains(0, -6500))),
        (2026, (0, 700), TaxYear(2026, gains(-4900, 300), gains(0, -5800))),
        (2027, (0, 0), TaxYear(2027, gains(100, -200), gains(-2000, -6000))),
        (2027, (2500, 0), TaxYear(2027, gains(100, -200), gains(0, -5500))),
        # An execution of the year before is not mixed with the stored year.
        (2025, (0, 0), TaxYear(2026, gains(-5000, 500), gains(0, -6600))),
    ],
)
async def test_figures_after_executions(
    application: Application, year: int, earlier: tuple[int, int], expected: TaxYear
) -> None:
    async with application.database.transaction() as connection:
        rules = await rules_of(connection, "", date(2026, 1, 2))
        found = await figures_after(connection, STORED, rules, year, gains=gains(100, -200), earlier=gains(*earlier))
    assert found == expected


@pytest.mark.parametrize(
    ("day", "before"),
    [
        ("2026-12-31", "-1200.00"),
        ("2027-01-04", "-1200.00"),
        ("2031-01-02", "0.00"),
        ("2025-12-31", "0.00"),
    ],
)
async def test_a_preview_in_another_year(stocked: Data, rebalancing: Rebalancing, day: str, before: str) -> None:
    """A gain of 9000: it meets 11000 of losses in 2026, 8000 in 2027 and none in 2031 or of 2025."""
    await put_account(stocked, [tax_lot("1", 100, 10, "2020-01-02")], tax=STORED)
    summary = (await preview(rebalancing, sale(100, 100), sale_date=day)).chosen.summary
    assert summary.tax_before_amount == before
    after = {"2026-12-31": -2000 * 0.4, "2027-01-04": 1000 * 0.2}.get(day, 9000 * 0.2)
    assert float(summary.tax_after_amount) == pytest.approx(after)


@pytest.mark.parametrize("year", [-1, 1899, 2201, 2**31 - 1])
async def test_a_year_outside_of_the_calendar(stocked: Data, year: int) -> None:
    portfolio = pb.Portfolio(portfolio_id="a", base_currency="USD", tax=pb.TaxSettings(realized_year=year))
    faults = await refused(stocked.PutPortfolio(pb.PutPortfolioRequest(portfolio=portfolio)))
    (field,) = faults
    assert field.endswith("tax.realized_year")
