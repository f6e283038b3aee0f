"""Drift against the shared known answers."""

from decimal import Decimal

from kernel.rebalancing.drift import DriftMeasure, band_edge, measure_drift
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("drift")


def allocation(numbers):
    return {str(i): Decimal(number) for i, number in enumerate(numbers)}


def measure(case):
    inputs = CASES[case]["inputs"]
    targets = inputs.get("target", inputs.get("targets"))
    return measure_drift(allocation(inputs["current"]), allocation(targets)), CASES[case]["expected"]


def test_half_the_sum_of_deviations():
    report, expected = measure("drift-01")
    assert report.half_l1 == expected["portfolio_drift"]
    assert report.max_absolute == expected["max_abs_drift"]


def test_decision_at_the_threshold():
    inputs = CASES["drift-02"]["inputs"]
    report = measure_drift({"A": Decimal(inputs["current"])}, {"A": Decimal(inputs["target"])})
    assert (DriftMeasure.MAX_ABSOLUTE in report.breaches) is CASES["drift-02"]["expected"]["breach"]


def test_absolute_and_relative_bands():
    for case, width in (("drift-03", lambda t: Decimal("0.03")), ("drift-04", lambda t: Decimal("0.2") * t)):
        for target, (low, high) in zip(
            CASES[case]["inputs"]["targets"], CASES[case]["expected"]["ranges"], strict=True
        ):
            assert band_edge(Decimal(0), target, width(target)) == low
            assert band_edge(Decimal(1), target, width(target)) == high


def test_five_twenty_five():
    report, expected = measure("drift-05")
    assert [item.band for item in report.items] == expected["bands"]
    assert [DriftMeasure.BAND_5_25 in item.breaches for item in report.items] == expected["breach"]


def test_euclidean_case_does_not_reach_the_absolute_band():
    report, expected = measure("drift-06")
    assert report.half_l1 == expected["portfolio_drift"]
    assert DriftMeasure.MAX_ABSOLUTE not in report.breaches


def test_to_target_or_to_the_band():
    inputs, expected = CASES["drift-08"]["inputs"], CASES["drift-08"]["expected"]
    edge = band_edge(inputs["current"], inputs["target"], inputs["band_abs"])
    assert (inputs["current"] - inputs["target"]) * inputs["portfolio"] == expected["best_fit_sell"]
    assert (inputs["current"] - edge) * inputs["portfolio"] == expected["min_transaction_sell"]
