"""Loads what the tax of a portfolio's trades depends on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.tax import TaxRules
from kernel.rebalancing.tax_rules import DatedRates, TaxRuleSet, rates_on
from kernel.rebalancing.tax_years import TaxYear
from server.compute.tax_context import TaxContext
from server.convert.text_values import shortest_decimal
from server.errors import NotReady
from server.households import LoadedHousehold, is_retirement, load_household, tax_settings
from server.tax_figures import figures_by, loss_limit
from storage.database import Connection
from storage.records import Portfolio

_ZERO = Decimal(0)
_NO_TAX = TaxRules(GainRates(_ZERO, _ZERO))


async def load_taxes(connection: Connection, portfolio: Portfolio, day: date) -> TaxContext:
    """What the tax of trades on a day depends on; the portfolio's lots are those of `portfolio`, not newer ones.

    Args:
        connection: Of a transaction.
        portfolio: As it was read for the trades.
        day: Day of the trades.

    Raises:
        NotFound: The portfolio is gone, or no tax rules of the name that it has hold on the day.
        NotReady: Its settings are not what the contract says.
    """
    loaded = await load_household(connection, portfolio.id, day, portfolio)
    return await as_context(connection, portfolio, loaded, day)


async def as_context(connection: Connection, portfolio: Portfolio, loaded: LoadedHousehold, day: date) -> TaxContext:
    """The context of a portfolio's trades within its household.

    Figures of a year before that of the trades are carried over; of one after it nothing is known of the trades' own.

    Raises:
        NotReady: Its settings are not what the contract says.
    """
    retirement = is_retirement(portfolio)
    settings = tax_settings(portfolio)
    try:
        terms = _NO_TAX if retirement else _terms(portfolio, settings, loaded.rules, day)
        figures = TaxYear(day.year)
        if not retirement:
            figures = await figures_by(connection, settings, loaded.rules, day.year)
    except (ProblemError, ArithmeticError, ValueError) as error:
        raise NotReady(f"tax settings of portfolio {portfolio.id}: store them again: {error}") from None
    return TaxContext(
        portfolio_id=portfolio.id,
        household=loaded.household,
        rules=loaded.rules,
        policies=loaded.policies,
        terms=terms,
        figures=figures if figures.year == day.year else TaxYear(day.year),
        method=LotMethod(portfolio.lot_method),
        sold_on=day,
        retirement=retirement,
    )


def _terms(portfolio: Portfolio, settings: pb.TaxSettings, rules: TaxRuleSet, day: date) -> TaxRules:
    """Rates of the day, and the yearly loss limit."""
    ordinary = settings.ordinary_rate if settings.HasField("ordinary_rate") else None
    return TaxRules(
        rates=_rates(portfolio, settings, day),
        loss_limit=loss_limit(settings, rules),
        ordinary_rate=None if ordinary is None else shortest_decimal(ordinary),
        carried_loss_value=shortest_decimal(settings.carried_loss_value),
    )


def _rates(portfolio: Portfolio, settings: pb.TaxSettings, day: date) -> GainRates:
    usual = GainRates(portfolio.short_term_tax_rate, portfolio.long_term_tax_rate)
    dated = [
        DatedRates(
            date.fromisoformat(entry.from_date),
            GainRates(shortest_decimal(entry.short_term_rate), shortest_decimal(entry.long_term_rate)),
        )
        for entry in settings.dated_rates
    ]
    begun = [entry for entry in dated if entry.from_date <= day]
    return rates_on(begun, day) if begun else usual
