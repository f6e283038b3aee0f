"""Every measure in every role, on every market, against cvxpy's textbook form of it."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import RiskLimit
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Settings
from kernel.status import Status
from tests.unit.kernel.measures.markets import CONVEX, MARKETS, Judge, market

SETTINGS = Settings()
RELATIVE = {"evar": 1e-5}
AVERSION = 3.0


def check(problem, expected, word):
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    certificate, tolerance = solution.certificate, RELATIVE.get(word, 1e-6)
    size = max(abs(expected), 1e-6 * float(np.abs(problem.moments.mu).max()))
    assert certificate.objective == pytest.approx(expected, abs=tolerance * size)
    sign = 1.0 if problem.objective.maximizes else -1.0
    assert sign * (certificate.bound - expected) >= -1e-7 * size, "no bound lies beyond the optimum"
    assert certificate.objective == problem.objective.value(problem, solution.weights)
    for measured in measurements(problem, solution.weights):
        assert measured.slack >= -1e-7 * max(abs(measured.limit), 1e-9), measured
    return solution


@pytest.mark.parametrize("word", CONVEX)
@pytest.mark.parametrize("name", MARKETS)
def test_least_risk(name, word):
    judge = Judge(market(name), word)
    check(market(name).problem(MinimizeRisk(), word), judge.best(cp.Minimize(judge.risk)), word)


@pytest.mark.parametrize("word", CONVEX)
@pytest.mark.parametrize("name", MARKETS)
def test_least_risk_with_costs(name, word):
    judge = Judge(market(name), word)
    expected = judge.best(cp.Minimize(AVERSION * judge.risk + judge.cost))
    check(market(name).problem(MinimizeRisk(AVERSION), word, costs=True), expected, word)


@pytest.mark.parametrize("word", CONVEX)
@pytest.mark.parametrize("name", MARKETS)
def test_highest_utility(name, word):
    judge = Judge(market(name), word)
    expected = judge.best(cp.Maximize(judge.mean - 0.1 * judge.risk))
    check(market(name).problem(MaximizeUtility(0.1), word), expected, word)


@pytest.mark.parametrize("word", CONVEX)
@pytest.mark.parametrize("name", MARKETS)
def test_highest_return_within_a_limit(name, word):
    posed = market(name)
    easiest, judge = Judge(posed, word), Judge(posed, word)
    least = easiest.best(cp.Minimize(easiest.risk)) / posed.size
    limit = least + 0.2 * max(abs(least), 1e-3)
    expected = judge.best(cp.Maximize(judge.mean - judge.cost), judge.risk <= limit)
    cap = RiskLimit(f"max_{word}", posed.measure(word), limit * posed.size)
    check(posed.problem(MaximizeReturn(), word, cap, costs=True), expected, word)


@pytest.mark.parametrize("costs", [False, True])
@pytest.mark.parametrize("word", CONVEX)
@pytest.mark.parametrize("name", MARKETS)
def test_highest_ratio(name, word, costs):
    posed = market(name)
    judge = Judge(posed, word, homogeneous=True)
    net = judge.mean - (judge.cost if costs else 0.0)
    excess = net - posed.reference / posed.size * judge.scale
    expected = judge.best(cp.Maximize(excess), judge.risk <= 1.0) / posed.size
    solution = check(posed.problem(MaximizeRatio(posed.reference), word, costs=costs), expected, word)
    assert solution.certificate.objective > 0.0


@pytest.mark.parametrize("word", ["cvar", "evar", "worst_realization"])
def test_a_ratio_over_a_certain_gain_has_no_maximum(word):
    posed = market("plain")
    gaining = replace(posed, R=np.abs(posed.R))
    assert gaining.measure(word).of(gaining.w0) < 0.0
    solution = optimize(gaining.problem(MaximizeRatio(posed.reference), word), SETTINGS)
    assert solution.status is Status.UNBOUNDED, solution.message


@pytest.mark.parametrize("word", CONVEX)
def test_a_ratio_without_excess_is_ill_posed(word):
    posed = market("plain")
    solution = optimize(posed.problem(MaximizeRatio(0.5), word), SETTINGS)
    assert solution.status is Status.ILL_POSED, solution.message
    assert solution.numbers["best_excess_return"] == pytest.approx(0.14 - 0.5)


@pytest.mark.parametrize("word", CONVEX)
def test_shadow_prices_of_risk_limits_are_slopes(word):
    """One more unit of the limit brings as much return as its price says."""
    posed = market("cut tail")
    least = optimize(posed.problem(MinimizeRisk(), word), SETTINGS).certificate.objective
    limit, step = 1.003 * least, 1e-5 * least

    def within(level):
        return optimize(posed.problem(MaximizeReturn(), word, RiskLimit("cap", posed.measure(word), level)), SETTINGS)

    price = next(report.shadow_price for report in within(limit).constraints if report.name == "cap")
    slopes = [
        (within(limit + s).certificate.objective - within(limit).certificate.objective) / s for s in (-step, step)
    ]
    assert min(slopes) * (1.0 - 1e-3) <= price <= max(slopes) * (1.0 + 1e-3)
    assert price > 0.0
