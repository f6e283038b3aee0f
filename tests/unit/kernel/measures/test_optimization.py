"""Every measure in every role, on every market, against cvxpy's textbook form of it."""

import warnings

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import RiskLimit
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Settings
from kernel.status import Status
from tests.unit.kernel.measures.markets import CONVEX, MARKETS, market, risk

SETTINGS = Settings()
FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
RELATIVE = {"evar": 1e-5}
AVERSION = 3.0


def solved(program: cp.Problem) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **FINE)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(program.value)


class Judge:
    """The problem in the market's unit of size, so that the judge's numbers are moderate whatever the market's are."""

    def __init__(self, market, word, *, homogeneous=False):
        n = market.n
        self.market = market
        self.y = cp.Variable(n)
        self.scale = cp.Variable(nonneg=True) if homogeneous else 1.0
        self.risk, rows = risk(market, word, self.y, self.scale)
        self.rows = [
            cp.sum(self.y) == self.scale,
            self.y >= market.lower * self.scale,
            self.y <= market.upper * self.scale,
            *rows,
        ]
        self.mean = (market.moments.mu / market.size) @ self.y
        self.cost = (market.cost.rates / market.size) @ cp.abs(self.y - market.w0 * self.scale)

    def best(self, goal, *extra) -> float:
        return self.market.size * solved(cp.Problem(goal, [*self.rows, *extra]))


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
