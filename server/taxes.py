"""Loads what the tax of a portfolio's trades depends on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.tax_rules import DatedRates, TaxRuleSet, rates_on
from server.compute.tax_context import TaxContext
from server.convert.text_values import shortest_decimal
from server.errors import NotReady
from server.households import LoadedHousehold, is_retirement, load_household, tax_settings
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
    return as_context(portfolio, await load_household(connection, portfolio.id, day, portfolio), day)


def as_context(portfolio: Portfolio, loaded: LoadedHousehold, day: date) -> TaxContext:
    """The context of a portfolio's trades within its household.

    Raises:
        NotReady: Its settings are not what the contract says.
    """
    retirement = is_retirement(portfolio)
    settings = tax_settings(portfolio)
    try:
        terms = _NO_TAX if retirement else _terms(portfolio, settings, loaded.rules, day)
        year_to_date = NetGains() if retirement else _year_to_date(settings)
    except (ProblemError, ArithmeticError, ValueError) as error:
        raise NotReady(f"tax settings of portfolio {portfolio.id}: store them again: {error}") from None
    return TaxContext(
        portfolio_id=portfolio.id,
        household=loaded.household,
        rules=loaded.rules,
        policies=loaded.policies,
        terms=terms,
        year_to_date=year_to_date,
        method=LotMethod(portfolio.lot_method),
        sold_on=day,
        retirement=retirement,
    )


def _terms(portfolio: Portfolio, settings: pb.TaxSettings, rules: TaxRuleSet, day: date) -> TaxRules:
    """Rates of the day, and the yearly loss limit: the portfolio's own, else that of the rules."""
    limit = rules.separate_loss_limit if settings.files_separately else rules.loss_limit
    if settings.yearly_loss_limit_amount:
        limit = Decimal(settings.yearly_loss_limit_amount)
    ordinary = settings.ordinary_rate if settings.HasField("ordinary_rate") else None
    return TaxRules(
        rates=_rates(portfolio, settings, day),
        loss_limit=limit,
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


def _year_to_date(settings: pb.TaxSettings) -> NetGains:
    """Gains realised so far, less the losses carried over."""
    return NetGains(
        _amount(settings.realized_short_term_amount) - _amount(settings.carried_short_term_loss_amount),
        _amount(settings.realized_long_term_amount) - _amount(settings.carried_long_term_loss_amount),
    )


def _amount(text: str) -> Decimal:
    return Decimal(text or "0")
