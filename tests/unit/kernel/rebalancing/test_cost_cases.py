"""Costs against the shared known answers."""

from decimal import Decimal

from kernel.rebalancing.costs import CostModel, PowerImpact, power_law_impact, trade_cost
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("transaction_cost")


def test_linear_and_power_law():
    inputs, expected = CASES["tc-01"]["inputs"], CASES["tc-01"]["expected"]
    impact = power_law_impact(
        Decimal(inputs["trade_usd"]), inputs["daily_vol"], Decimal(inputs["adv_usd"]), inputs["b"]
    )
    linear = trade_cost(
        Decimal(inputs["trade_usd"]), Decimal(1), CostModel(impact_bps=inputs["half_spread"] * 10_000)
    ).impact
    assert (linear, impact, linear + impact) == (expected["linear"], expected["impact"], expected["total"])


def test_square_root_per_unit():
    inputs = CASES["tc-02"]["inputs"]
    daily = Decimal(10**6)
    traded = inputs["participation"] * daily
    impact = power_law_impact(traded, inputs["daily_vol"], daily, inputs["b"])
    assert 10_000 * impact / traded == CASES["tc-02"]["expected"]["impact_bps"]


def test_growth_with_size():
    multiple, expected = CASES["tc-03"]["inputs"]["size_multiple"], CASES["tc-03"]["expected"]
    small, large = (power_law_impact(Decimal(10**6 * k), Decimal("0.02"), Decimal(10**8)) for k in (1, multiple))
    assert large == expected["impact"]
    assert large / multiple / small == expected["bps_multiple"]


def test_slices_on_separate_days():
    inputs, expected = CASES["tc-04"]["inputs"], CASES["tc-04"]["expected"]
    count, value, volume = inputs["slices"], Decimal(inputs["trade_usd"]), Decimal(inputs["adv_usd"])
    sliced = count * power_law_impact(value / count, inputs["daily_vol"], volume, inputs["b"])
    assert abs(sliced - expected["total_impact"]) < Decimal("1e-5")
    assert abs(
        sliced / power_law_impact(value, inputs["daily_vol"], volume) - expected["ratio_to_one_slice"]
    ) < Decimal("1e-8")


def test_flat_commission_on_small_trades():
    inputs, expected = CASES["tc-06"]["inputs"], CASES["tc-06"]["expected"]
    model = CostModel(inputs["commission"], Decimal(inputs["spread_bps"]))
    costs = [trade_cost(Decimal(value), Decimal(1), model).total for value in inputs["trades_usd"]]
    assert costs == expected["cost"]
    assert sum(costs) == expected["total"]
    assert trade_cost(Decimal(sum(inputs["trades_usd"])), Decimal(1), model).total == expected["one_merged_trade"]


def test_both_parts_in_one_trade():
    inputs, expected = CASES["tc-01"]["inputs"], CASES["tc-01"]["expected"]
    power = PowerImpact(inputs["daily_vol"], Decimal(inputs["adv_usd"]), inputs["b"])
    model = CostModel(impact_bps=inputs["half_spread"] * 10_000)
    assert trade_cost(Decimal(inputs["trade_usd"]), Decimal(1), model, power).total == expected["total"]
