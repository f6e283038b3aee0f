"""Rules and rates with dates."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates
from kernel.rebalancing.tax_rules import DatedRates, TaxRuleSet, rates_on, rules_on


def rules(year, months=12, jurisdiction="US", **changes):
    values = {"wash_sale_days": 30, "loss_limit": Decimal(3000), "separate_loss_limit": Decimal(1500), **changes}
    return TaxRuleSet(jurisdiction, dt.date(year, 1, 1), months, **values)


def rates(year, short, long="0.2"):
    return DatedRates(dt.date(year, 1, 1), GainRates(Decimal(short), Decimal(long)))


@pytest.mark.parametrize(
    ("day", "months"), [("1984-12-31", 12), ("1985-01-01", 6), ("1987-12-31", 6), ("1988-01-01", 12)]
)
def test_the_set_that_began_last_holds(day, months):
    sets = [rules(1985, 6), rules(1988), rules(1978)]
    assert rules_on(sets, dt.date.fromisoformat(day)).long_term_months == months


def test_before_the_first_set_nothing_holds():
    with pytest.raises(ProblemError, match=r"none holds on 1977-12-31: the first begins on 1978-01-01"):
        rules_on([rules(1988), rules(1978)], dt.date(1977, 12, 31))
    with pytest.raises(ProblemError, match="there are none"):
        rules_on([], dt.date(2025, 1, 1))


def test_contradictions_are_refused():
    with pytest.raises(ProblemError, match="two begin on 1988-01-01"):
        rules_on([rules(1988), rules(1988, 6)], dt.date(2025, 1, 1))
    with pytest.raises(ProblemError, match="must be one, got DE, US"):
        rules_on([rules(1988), rules(1990, jurisdiction="DE")], dt.date(2025, 1, 1))
    with pytest.raises(ProblemError, match=r"dated_rates: two begin on 2025-01-01"):
        rates_on([rates(2025, "0.3"), rates(2025, "0.3")], dt.date(2025, 6, 1))


def test_rates_change_on_their_day():
    dated = [rates(2026, "0.408"), rates(2024, "0.37")]
    assert rates_on(dated, dt.date(2025, 12, 31)).short_term == Decimal("0.37")
    assert rates_on(dated, dt.date(2026, 1, 1)).short_term == Decimal("0.408")
    with pytest.raises(ProblemError, match=r"dated_rates: none holds on 2023-12-31"):
        rates_on(dated, dt.date(2023, 12, 31))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"months": -1}, "long_term_months"),
        ({"wash_sale_days": -1}, "wash_sale_days"),
        ({"loss_limit": Decimal("NaN")}, "loss_limit"),
        ({"separate_loss_limit": Decimal(-1)}, "separate_loss_limit"),
    ],
)
def test_malformed_rules_are_refused(changes, field):
    with pytest.raises(ProblemError, match=rf"tax_rules\.{field}"):
        rules(1988, **changes)
