"""Costs to the cent and the 3/2-power law."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel, power_law_impact, trade_cost

STANDARD = CostModel(Decimal("5.00"), Decimal(15))


def test_worked_example():
    cost = trade_cost(Decimal(100), Decimal("232.50"), STANDARD)
    assert (cost.commission, cost.impact, cost.total) == (Decimal("5.00"), Decimal("34.875"), Decimal("39.88"))
    assert f"{cost.fraction:.2%}" == "0.17%"


def test_halves_of_a_cent_are_rounded_away_from_zero():
    assert trade_cost(Decimal(1), Decimal("12.50"), CostModel(impact_bps=Decimal(4))).total == Decimal("0.01")
    assert trade_cost(Decimal(1), Decimal("62.50"), CostModel(impact_bps=Decimal(4))).total == Decimal("0.03")


def test_no_trade_costs_nothing():
    assert trade_cost(Decimal(0), Decimal(10), STANDARD).total == 0


@given(st.decimals("0.0001", "1e6", places=4), st.decimals("0.01", "1e4", places=2))
def test_total_is_within_half_a_cent_of_the_exact_cost(quantity, price):
    cost = trade_cost(quantity, price, STANDARD)
    assert abs(cost.total - cost.commission - cost.impact) <= Decimal("0.005")


def test_four_times_the_size_costs_eight_times_the_impact():
    base = power_law_impact(Decimal(1_000_000), Decimal("0.02"), Decimal(100_000_000))
    assert base == Decimal(2000)
    assert power_law_impact(Decimal(-4_000_000), Decimal("0.02"), Decimal(100_000_000)) == 8 * base


def test_impact_per_unit_is_a_square_root():
    volatility, daily = Decimal("0.02"), Decimal(10_000)
    assert power_law_impact(daily / 100, volatility, daily) == Decimal("0.0020") * daily / 100
    assert power_law_impact(daily / 25, volatility, daily, Decimal("0.5")) == Decimal("0.0020") * daily / 25


def test_malformed_input_is_refused():
    for raises in (
        lambda: CostModel(commission=Decimal(-1)),
        lambda: CostModel(impact_bps=Decimal(10_000)),
        lambda: trade_cost(Decimal(-1), Decimal(1), STANDARD),
        lambda: trade_cost(Decimal(1), Decimal("NaN"), STANDARD),
        lambda: power_law_impact(Decimal(1), Decimal(1), Decimal(0)),
    ):
        with pytest.raises(ProblemError):
            raises()
