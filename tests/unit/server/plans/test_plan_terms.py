"""The limits of an approval: the portfolio's, else the service's, and for how long they hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from portfolio_optimization.v1.policies_pb2 import RebalancingPreferences

from server.errors import NotReady
from server.plans.terms import PlanTerms, lapses_at, read_terms, terms_of
from server.settings import Settings
from storage.records import Portfolio

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DEFAULTS = PlanTerms(Decimal("10000.00"), 24.0, Decimal("0.02"), Decimal("0.01"))


def test_what_nobody_set_is_the_contract_s_default() -> None:
    assert read_terms(RebalancingPreferences(), Settings()) == DEFAULTS
    assert terms_of(Portfolio(id="one", name=""), Settings()) == DEFAULTS


def test_the_portfolio_s_preferences_come_first() -> None:
    stored = {
        "rebalancing": {
            "approval_limit_amount": "0",
            "approval_validity_hours": 0.5,
            "max_price_move": 0.1,
            "max_weight_move": 0.3,
        }
    }
    portfolio = Portfolio(id="one", name="", preferences=stored)
    # Decimals as they were written, not as binary fractions have them.
    assert terms_of(portfolio, Settings()) == PlanTerms(Decimal(0), 0.5, Decimal("0.1"), Decimal("0.3"))


def test_preferences_that_no_caller_could_have_set_are_named() -> None:
    portfolio = Portfolio(id="one", name="", preferences={"rebalancing": {"max_price_move": "much"}})
    with pytest.raises(NotReady, match="preferences of portfolio one"):
        terms_of(portfolio, Settings())


@pytest.mark.parametrize(
    ("hours", "end"),
    [(24.0, NOW + timedelta(days=1)), (0.001, NOW + timedelta(seconds=3.6)), (1e9, None), (1e300, None)],
)
def test_a_plan_lapses_after_its_hours_unless_the_calendar_ends_first(hours: float, end: datetime | None) -> None:
    assert lapses_at(NOW, hours) == end
