"""Drift measures by their definitions, and exactness at the threshold."""

from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.drift import DriftMeasure, DriftThresholds, band_edge, group_weights, measure_drift


def weights(*numbers):
    return {f"a{i}": Decimal(number) for i, number in enumerate(numbers)}


def test_all_four_measures():
    report = measure_drift(weights("0.56", "0.13", "0.31"), weights("0.60", "0.10", "0.30"))
    assert report.max_absolute == Decimal("0.04")
    assert report.max_relative == Decimal("0.3")
    assert report.half_l1 == Decimal("0.04")
    assert report.breaches == {DriftMeasure.RELATIVE, DriftMeasure.BAND_5_25}


def test_exactly_at_the_threshold_fires():
    assert 0.30 - 0.25 < 0.05
    report = measure_drift(weights("0.30", "0.70"), weights("0.25", "0.75"))
    assert report.breaches == set(DriftMeasure)
    below = measure_drift(weights("0.2999999999", "0.7000000001"), weights("0.25", "0.75"))
    assert DriftMeasure.MAX_ABSOLUTE not in below.breaches
    assert DriftMeasure.HALF_L1 not in below.breaches


def test_nothing_drifts_at_the_target():
    report = measure_drift(weights("0.5", "0.5", "0"), weights("0.5", "0.5", "0"))
    assert (report.max_absolute, report.half_l1, report.breaches) == (0, 0, frozenset())


def test_a_holding_without_target_leaves_every_relative_band():
    report = measure_drift({"A": Decimal("0.999"), "B": Decimal("0.001")}, {"A": Decimal(1)})
    stray = report.items[1]
    assert (stray.key, stray.relative, stray.band) == ("B", None, 0)
    assert stray.breaches == {DriftMeasure.RELATIVE, DriftMeasure.BAND_5_25}


def test_what_is_left_over_has_no_relative_band_without_a_target():
    current = {"A": Decimal("0.94"), "CASH": Decimal("0.06")}
    report = measure_drift(current, {"A": Decimal(1)}, residual="CASH")
    assert report.items[1].breaches == {DriftMeasure.MAX_ABSOLUTE}
    wanted = measure_drift(current, {"A": Decimal("0.9"), "CASH": Decimal("0.1")}, residual="CASH")
    assert wanted.items[1].breaches == {DriftMeasure.RELATIVE, DriftMeasure.BAND_5_25}


def test_an_empty_allocation_has_no_drift():
    report = measure_drift({}, {})
    assert (report.items, report.max_relative, report.breaches) == ((), None, frozenset())


def test_drift_per_class_nets_inside_the_class():
    groups = {"a0": "stocks", "a1": "stocks", "a2": "bonds"}
    current = group_weights(weights("0.40", "0.20", "0.40"), groups)
    assert current == {"stocks": Decimal("0.60"), "bonds": Decimal("0.40")}
    assert measure_drift(current, group_weights(weights("0.30", "0.30", "0.40"), groups)).half_l1 == 0
    with pytest.raises(ProblemError, match=r"groups\[a0\]"):
        group_weights(weights("1"), {})


def test_band_edge_moves_only_what_is_outside():
    assert band_edge(Decimal("0.58"), Decimal("0.50"), Decimal("0.05")) == Decimal("0.55")
    assert band_edge(Decimal("0.42"), Decimal("0.50"), Decimal("0.05")) == Decimal("0.45")
    assert band_edge(Decimal("0.52"), Decimal("0.50"), Decimal("0.05")) == Decimal("0.52")


def test_malformed_input_is_refused():
    with pytest.raises(ProblemError, match=r"target\[a0\]"):
        measure_drift({}, weights("-0.1"))
    with pytest.raises(ProblemError, match=r"thresholds\.half_l1"):
        DriftThresholds(half_l1=Decimal(0))
