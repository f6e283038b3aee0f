"""For how long and within which limits a plan holds: preferences, and defaults where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from portfolio_optimization.v1 import policies_pb2, portfolio_data_pb2

from server.convert.accounts import from_json
from server.convert.text_values import shortest_decimal
from server.settings import Settings
from storage.records import Portfolio

_LATEST = datetime.max.year


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """The limits of an approval.

    Attributes:
        approval_limit: Gross value of purchases and sales above which an approval is needed.
        validity_hours: Hours after which a plan or its approval lapses.
        max_price_move: Fraction, above 0.
        max_weight_move: Fraction of the portfolio, above 0.
    """

    approval_limit: Decimal
    validity_hours: float
    max_price_move: Decimal
    max_weight_move: Decimal


def read_terms(preferences: policies_pb2.RebalancingPreferences, settings: Settings) -> PlanTerms:
    """The limits that the preferences set, and the service's defaults for the others."""
    limit = preferences.approval_limit_amount
    return PlanTerms(
        approval_limit=Decimal(limit) if limit else settings.approval_limit,
        validity_hours=preferences.approval_validity_hours or settings.approval_validity_hours,
        max_price_move=shortest_decimal(preferences.max_price_move or settings.max_price_move),
        max_weight_move=shortest_decimal(preferences.max_weight_move or settings.max_weight_move),
    )


def terms_of(portfolio: Portfolio, settings: Settings) -> PlanTerms:
    """The limits that hold for the plans of a portfolio.

    Raises:
        NotReady: Its preferences were brought in by a file and are not what the contract says.
    """
    stored = from_json(
        portfolio.preferences, portfolio_data_pb2.PortfolioPreferences(), f"preferences of portfolio {portfolio.id}"
    )
    return read_terms(stored.rebalancing, settings)


def lapses_at(begin: datetime, validity_hours: float) -> datetime | None:
    """When something that begins now is too old; None for beyond all calendars."""
    try:
        end = begin + timedelta(hours=validity_hours)
    except OverflowError:
        return None
    # The wire and the database end before the calendar does.
    return end if end.year < _LATEST else None
