"""Schedules and their cost against the shared known answers."""

import math
from decimal import Decimal

import pytest

from kernel.rebalancing.almgren_chriss import LinearImpact, almgren_chriss
from kernel.rebalancing.execution import (
    ExecutionSettings,
    Liquidity,
    largest_slice,
    slice_trade,
    sliced_cost,
)
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("transaction_cost")
SCHEDULES = sorted(name for name in CASES if name.startswith("ac-") and name != "ac-linear")


def schedule_of(inputs):
    numbers = {name: float(value) for name, value in inputs.items()}
    impact = LinearImpact(
        volatility=numbers.get("sigma_abs", 0.0),
        half_spread=numbers["half_spread"],
        temporary=numbers["eta"],
        permanent=numbers["gamma"],
    )
    periods = int(numbers["periods"])
    tau = numbers.get("tau", numbers.get("days", 0.0) / periods)
    return almgren_chriss(numbers["shares"], periods, impact, numbers.get("risk_aversion", 0.0), tau)


@pytest.mark.parametrize("name", SCHEDULES)
def test_published_schedule(name):
    inputs, expected = CASES[name]["inputs"], CASES[name]["expected"]
    schedule = schedule_of(inputs)
    tolerance = float(CASES[name]["tolerance"])
    assert schedule.kappa == pytest.approx(float(expected["kappa"]), abs=5e-7)
    assert schedule.half_life == pytest.approx(float(expected["half_life"]), abs=5e-5)
    assert schedule.expected_cost == pytest.approx(float(expected["expected_cost"]), rel=tolerance / 100)
    assert schedule.variance == pytest.approx(float(expected["variance"]), rel=1e-12)
    assert schedule.trades == pytest.approx([float(trade) for trade in expected["trades"]], abs=0.05)
    assert math.fsum(schedule.trades) == pytest.approx(float(inputs["shares"]), rel=1e-14)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if "source_table" in CASES[name]["expected"]])
def test_digits_of_the_published_table(name):
    table, schedule = CASES[name]["expected"]["source_table"], schedule_of(CASES[name]["inputs"])
    assert f"{schedule.expected_cost / 1e6:.4f}" == f"{table['mean_millions']:.4f}"
    assert f"{schedule.variance / 1e12:.4f}" == f"{table['sigma2_1e12']:.4f}"
    assert f"{schedule.half_life:.2f}" == f"{table['half_life']:.2f}"


def test_equal_parts_cost_least():
    expected = CASES["ac-linear"]["expected"]
    schedule = schedule_of(CASES["ac-linear"]["inputs"])
    assert schedule.trades == tuple(map(float, expected["trades"]))
    assert schedule.expected_cost == pytest.approx(float(expected["expected_cost"]), rel=1e-14)
    assert (schedule.kappa, schedule.half_life, schedule.variance) == (0.0, math.inf, 0.0)


def test_cap_on_participation():
    inputs, expected = CASES["tc-05"]["inputs"], CASES["tc-05"]["expected"]
    liquidity = Liquidity(Decimal(50), Decimal(inputs["adv_shares"]))
    assert largest_slice(liquidity, Decimal(1), inputs["max_participation"]) == expected["max_per_slice"]
    settings = ExecutionSettings(max_participation=inputs["max_participation"])
    slices = slice_trade(Decimal(inputs["shares"]), Decimal(1), liquidity, settings)
    assert slices == (Decimal(expected["max_per_slice"]),) * expected["slices"]


def test_slices_each_against_a_day_of_volume():
    inputs, expected = CASES["tc-04"]["inputs"], CASES["tc-04"]["expected"]
    liquidity = Liquidity(Decimal(1), Decimal(inputs["adv_usd"]), inputs["daily_vol"])
    settings = ExecutionSettings(impact_coefficient=inputs["b"])
    part = Decimal(inputs["trade_usd"]) / inputs["slices"]
    sliced = sliced_cost((part,) * inputs["slices"], liquidity, settings).expected
    whole = sliced_cost((Decimal(inputs["trade_usd"]),), liquidity, settings).expected
    assert abs(sliced - expected["total_impact"]) < Decimal("1e-6")
    assert abs(sliced / whole - expected["ratio_to_one_slice"]) < Decimal("1e-9")


def test_spread_and_impact_of_one_slice():
    inputs, expected = CASES["tc-01"]["inputs"], CASES["tc-01"]["expected"]
    liquidity = Liquidity(Decimal(1), Decimal(inputs["adv_usd"]), inputs["daily_vol"])
    spread = ExecutionSettings(half_spread=inputs["half_spread"])
    both = ExecutionSettings(half_spread=inputs["half_spread"], impact_coefficient=inputs["b"])
    trade = (Decimal(inputs["trade_usd"]),)
    assert sliced_cost(trade, liquidity, spread).expected == expected["linear"]
    assert sliced_cost(trade, liquidity, both).expected == expected["total"]
    assert sliced_cost(trade, liquidity, both).risk == 0
