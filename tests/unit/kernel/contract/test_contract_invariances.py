"""What must not change, and what must change in a known way, for every measure."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kernel.constraints import TurnoverLimit, budget
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeUtility
from kernel.problem import Problem
from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import MEASURES, OBJECTIVES, Case, bounds, kernel_measure, moments
from tests.unit.kernel.contract.design import is_posed
from tests.unit.kernel.contract.judging import SETTINGS, unit
from tests.unit.kernel.contract.markets import market

NESTED = (("none",), ("groups",), ("groups", "trades"), ("groups", "turnover one-way", "trades"))
every_measure = pytest.mark.parametrize("measure", MEASURES)


def permuted(data, order):
    per_asset = ("mu", "lower", "upper", "w0")
    return replace(data, R=data.R[:, order], **{field: getattr(data, field)[order] for field in per_asset})


def with_turnover(data, measure):
    posed = Case(data.name, "utility", measure, ("none",))
    constraints = (budget(data.n), bounds(data), TurnoverLimit("turnover", 0.4, data.w0))
    return Problem(moments(data), MaximizeUtility(posed.aversion), kernel_measure(measure, data), constraints)


@every_measure
def test_permuting_assets_permutes_weights(measure):
    data = market("well-posed", small=measure in ("gini", "var"))
    order = np.random.default_rng(3).permutation(data.n)
    plain = optimize(with_turnover(data, measure), SETTINGS)
    moved = optimize(with_turnover(permuted(data, order), measure), SETTINGS)
    np.testing.assert_allclose(moved.weights, plain.weights[order], atol=5e-5)
    assert moved.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-7)


@pytest.mark.parametrize("objective", ["risk", "utility", "ratio"])
@pytest.mark.parametrize("name", ["scaled down", "scaled up"])
@every_measure
def test_scaling_returns_scales_results(measure, name, objective):
    plain, scaled = (Case(m, objective, measure, ("turnover one-way",)) for m in ("well-posed", name))
    first, second = (optimize(case.problem(), SETTINGS).certificate for case in (plain, scaled))
    floor = 1e-2 * definitions.penalty(measure, plain.typical_risk(measure))
    assert second.objective / unit(scaled) == pytest.approx(first.objective, rel=1e-6, abs=1e-6 * floor)


@pytest.mark.parametrize("objective", OBJECTIVES)
@every_measure
def test_tightening_never_improves(measure, objective):
    if not is_posed(measure, objective):
        pytest.skip("refused before any solve")
    found = [optimize(Case("well-posed", objective, measure, families).problem(), SETTINGS) for families in NESTED]
    sign = 1.0 if objective == "risk" else -1.0
    values = [sign * solution.certificate.objective for solution in found]
    for wide, tight in pairwise(values):
        assert tight >= wide - 1e-6 * abs(wide) - 1e-10


@pytest.mark.parametrize("objective", OBJECTIVES)
@every_measure
def test_the_same_request_gives_the_same_bits(measure, objective):
    if not is_posed(measure, objective):
        pytest.skip("refused before any solve")
    case = Case("well-posed", objective, measure, ("groups", "proportional costs", "positions"))
    first, second = optimize(case.problem(), SETTINGS), optimize(case.problem(), SETTINGS)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.certificate == second.certificate
    assert first.constraints == second.constraints
