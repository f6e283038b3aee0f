"""The figures of a taxpayer's year in a portfolio's settings, and as they stand in another year."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.tax_years import TaxYear
from server.households import rules_of
from storage.database import Connection
from storage.errors import NotFound

_DECEMBER, _LAST_DAY = 12, 31


def loss_limit(settings: pb.TaxSettings, rules: TaxRuleSet) -> Decimal:
    """Net loss of a year that reduces other income: the portfolio's own, else that of the rules."""
    if settings.yearly_loss_limit_amount:
        return Decimal(settings.yearly_loss_limit_amount)
    return rules.separate_loss_limit if settings.files_separately else rules.loss_limit


def stored_figures(settings: pb.TaxSettings, year: int) -> TaxYear:
    """The figures as they are stored; those without a year are of `year`.

    Raises:
        ArithmeticError: An amount is not a number.
    """
    return TaxYear(
        year=settings.realized_year or year,
        realised=NetGains(_amount(settings.realized_short_term_amount), _amount(settings.realized_long_term_amount)),
        carried=NetGains(
            -_amount(settings.carried_short_term_loss_amount), -_amount(settings.carried_long_term_loss_amount)
        ),
    )


async def figures_by(connection: Connection, settings: pb.TaxSettings, rules: TaxRuleSet, year: int) -> TaxYear:
    """The figures as they stand in a year: what older years leave is carried in, less the loss limit of each of them.

    Args:
        connection: Of a transaction.
        settings: Of the portfolio.
        rules: For years that begin before all rules of their name.
        year: Calendar year of the trades.

    Returns:
        The figures of the year; those stored where they are of a later one.

    Raises:
        ArithmeticError: An amount is not a number.
    """
    figures = stored_figures(settings, year)
    while figures.year < year:
        if figures.net == NetGains():
            return TaxYear(year)
        try:
            of_year = await rules_of(connection, settings.jurisdiction, date(figures.year, _DECEMBER, _LAST_DAY))
        except NotFound:
            of_year = rules
        figures = figures.followed(loss_limit(settings, of_year))
    return figures


async def figures_after(
    connection: Connection,
    settings: pb.TaxSettings,
    rules: TaxRuleSet,
    year: int,
    *,
    gains: NetGains,
    earlier: NetGains,
) -> TaxYear:
    """The figures after trades of a year.

    Trades of an earlier year than the stored one are not mixed with it: they change the losses carried in alone.

    Args:
        connection: Of a transaction.
        settings: Of the portfolio, before the trades.
        rules: Rules of the day of the trades.
        year: Calendar year of the trades.
        gains: What they realise, by term.
        earlier: What they change in the returns of the years before, by term, as losses that they take back.

    Raises:
        ArithmeticError: An amount is not a number.
    """
    figures = await figures_by(connection, settings, rules, year)
    if figures.year > year:
        return figures.amended(gains.plus(earlier))
    return figures.amended(earlier).with_gains(gains)


def _amount(text: str) -> Decimal:
    return Decimal(text or "0")
