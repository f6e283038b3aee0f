"""The nearest portfolio to weights by a rule: closed forms, an independent model, every choice of positions."""

from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, NumberOfPositions, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.methods import projection
from kernel.methods.projection import Displacement, project
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.solution import Certificate, Solution
from kernel.status import Status
from tests.unit.kernel.hierarchy.trees import names_of

SETTINGS = Settings()
TARGET = np.array([0.05, 0.1, 0.4, 0.3, 0.15])


def problem(*limits, upper=1.0, cost=None):
    n = len(TARGET)
    moments = Moments(names_of(n), np.zeros(n), 0.04 * np.eye(n))
    bounds = WeightBounds(np.zeros(n), np.full(n, upper), ("long_only",) * n, ("cap",) * n)
    return Problem(moments, MinimizeRisk(), Volatility(moments), (budget(n), bounds, *limits), cost)


def test_weights_within_every_limit_stay_to_the_bit():
    found = project(problem(upper=0.4), TARGET, SETTINGS)
    np.testing.assert_array_equal(found.weights, TARGET)
    assert found.status is Status.OPTIMAL
    assert (found.certificate.objective, found.certificate.bound, found.certificate.gap) == (0.0, 0.0, 0.0)
    assert {report.name for report in found.constraints if report.binding} >= {"cap"}


def test_a_cap_moves_what_lies_above_it_evenly_to_the_others():
    found = project(problem(upper=0.25), TARGET, SETTINGS)
    # 0.2 lies above the cap: a third of it to each of the three others.
    np.testing.assert_allclose(found.weights, [0.35 / 3, 0.5 / 3, 0.25, 0.25, 0.65 / 3], atol=1e-12)
    displacement = Displacement.between(TARGET, found.weights)
    assert displacement.moved == pytest.approx(0.2, abs=1e-12)
    assert displacement.distance == pytest.approx(np.sqrt(0.15**2 + 0.05**2 + 3 * (0.2 / 3) ** 2), rel=1e-12)
    assert found.certificate.objective == pytest.approx(displacement.distance, rel=1e-12)
    assert found.certificate.gap <= SETTINGS.tolerance


@pytest.mark.parametrize("risk_aversion", [0.5, 5.0])
def test_with_costs_distance_and_cost_are_weighed(risk_aversion):
    n, w0 = len(TARGET), np.full(5, 0.2)
    cost = TradingCost(np.full(n, 0.02), w0)
    found = project(problem(upper=0.35, cost=cost), TARGET, SETTINGS, risk_aversion=risk_aversion)
    w = cp.Variable(n, nonneg=True)
    goal = risk_aversion / 2 * cp.sum_squares(w - TARGET) + 0.02 * cp.norm1(w - w0)
    best = cp.Problem(cp.Minimize(goal), [cp.sum(w) == 1, w <= 0.35])
    best.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert found.certificate.objective == pytest.approx(best.value, rel=1e-7)
    np.testing.assert_allclose(found.weights, w.value, atol=1e-6)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_with_few_positions_no_choice_of_them_is_nearer(most):
    positions = NumberOfPositions("max_positions", most, tuple(range(5)), np.ones(5))
    found = project(problem(positions), TARGET, SETTINGS)
    distances = []
    for held in combinations(range(5), most):
        w = np.zeros(5)
        w[list(held)] = TARGET[list(held)] + (1.0 - TARGET[list(held)].sum()) / most
        distances.append(np.linalg.norm(w - TARGET))
    assert found.status is Status.OPTIMAL
    assert found.certificate.objective == pytest.approx(min(distances), rel=1e-8)


def test_a_tighter_limit_is_never_nearer():
    distances = [
        project(problem(LinearLimit(np.eye(5)[2], 0.0, most, "floor", "ceiling")), TARGET, SETTINGS)
        for most in (0.4, 0.3, 0.2, 0.1, 0.0)
    ]
    found = [solution.certificate.objective for solution in distances]
    assert found == sorted(found)
    assert found[0] == 0.0


def test_where_nothing_was_proven_no_distance_is_below_zero(monkeypatch):
    nothing = Certificate(0.2, -np.inf, np.inf, 0.0, 1, "search")
    stopped = Solution(Status.LIMIT_REACHED, "stopped", TARGET, nothing)
    monkeypatch.setattr(projection, "optimize", lambda *_: stopped)
    found = project(problem(upper=0.25), TARGET, SETTINGS)
    assert (found.certificate.bound, found.certificate.gap) == (0.0, 1.0)
    assert found.message == "a limit was reached: best found 0.2, and no distance is below 0"
