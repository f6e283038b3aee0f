"""Pareto surfaces: efficiency and enclosures judged by cvxpy."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, SmallestPosition, budget
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.measures.volatility import Variance
from kernel.methods.multi_objective import Goal, pareto_surface
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem
from kernel.status import Status
from kernel.terms import Concentration, Entropy, LinearTerm, RiskTerm, TurnoverTerm
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import SETTINGS, bounds_of, universe


def goals_of(u, kinds):
    members = np.ones(u.n, dtype=bool)
    known = {
        "return": Goal(LinearTerm("return", u.moments.mu), maximize=True),
        "volatility": Goal(RiskTerm("volatility", Volatility(u.moments)), maximize=False),
        "turnover": Goal(TurnoverTerm("turnover", u.w0), maximize=False),
        "concentration": Goal(Concentration("concentration", members), maximize=False),
        "entropy": Goal(Entropy("entropy", members), maximize=True),
    }
    return tuple(known[kind] for kind in kinds)


def expression(u, kind, w):
    return {
        "return": lambda: u.moments.mu @ w,
        "volatility": lambda: cp.norm(root(u.moments.Sigma) @ w),
        "turnover": lambda: 0.5 * cp.norm1(w - u.w0),
        "concentration": lambda: cp.sum_squares(w),
        "entropy": lambda: cp.sum(cp.entr(w)),
    }[kind]()


def best_first(u, kinds, values):
    """The best value of the first goal with the others at least as good as `values`, by cvxpy."""
    w = cp.Variable(u.n)
    rows = [cp.sum(w) == 1, w >= u.lower, w <= u.upper]
    for kind, value in zip(kinds[1:], values, strict=True):
        term = expression(u, kind, w)
        rows.append(term >= value if kind in ("return", "entropy") else term <= value)
    first = expression(u, kinds[0], w)
    goal = cp.Maximize(first) if kinds[0] in ("return", "entropy") else cp.Minimize(first)
    return cp.Problem(goal, rows).solve(solver=cp.CLARABEL)


def posed(u, *more):
    return Problem(u.moments, MinimizeRisk(), Volatility(u.moments), (budget(u.n), bounds_of(u), *more))


TWO = [("return", "volatility"), ("volatility", "turnover"), ("return", "entropy"), ("volatility", "concentration")]


@pytest.mark.parametrize("kinds", TWO, ids="-".join)
@pytest.mark.parametrize("name", ["factor 30", "cash", "duplicates", "tied means"])
def test_points_of_two_goals_are_efficient(name, kinds):
    u = universe(name)
    surface = pareto_surface(posed(u), goals_of(u, kinds), 8, SETTINGS)
    assert surface.status.has_weights, surface.message
    assert 2 <= len(surface.points) <= 8
    for point in surface.points:
        sense = 1.0 if kinds[0] in ("return", "entropy") else -1.0
        limit = point.values[1:] * (1 + np.where(np.isin(kinds[1:], ["return", "entropy"]), -1e-7, 1e-7))
        # At a vertical end the smallest loosening of the limit is worth much, as the point's own price says.
        worth = 1.01 * float(point.prices @ np.abs(limit - point.values[1:]))
        better = sense * (best_first(u, kinds, limit) - point.values[0])
        assert better <= worth + 2e-5 * max(abs(point.values[0]), 1e-2)
        assert point.violation <= (1e-7 if "entropy" in kinds else 1e-8)
        assert u.n == len(point.weights)
    seconds = [point.values[1] for point in surface.points]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("kinds", TWO, ids="-".join)
def test_nothing_between_two_points_is_further_away_than_the_resolution(kinds):
    u = universe("factor 30")
    surface = pareto_surface(posed(u), goals_of(u, kinds), 9, SETTINGS)
    sense = 1.0 if kinds[0] in ("return", "entropy") else -1.0
    worst = 0.0
    for left, right in zip(surface.points, surface.points[1:], strict=False):
        for t in (0.25, 0.5, 0.75):
            between = (1 - t) * left.values + t * right.values
            worst = max(worst, sense * (best_first(u, kinds, between[1:]) - between[0]))
    assert worst <= surface.resolution + 1e-7
    assert surface.resolution <= 50 * max(worst, 1e-6), "the enclosure is not empty talk"


def test_more_points_enclose_more_closely():
    u = universe("factor 30")
    widths = [pareto_surface(posed(u), goals_of(u, TWO[0]), k, SETTINGS).resolution for k in (4, 8, 16)]
    assert widths == sorted(widths, reverse=True)


def test_three_goals():
    u = universe("factor 30")
    kinds = ("return", "volatility", "turnover")
    surface = pareto_surface(posed(u), goals_of(u, kinds), 16, SETTINGS)
    assert surface.status is Status.OPTIMAL
    assert len(surface.points) >= 8
    for point in surface.points:
        better = best_first(u, kinds, point.values[1:] * (1 + 1e-7)) - point.values[0]
        assert better <= 1e-6 + 1.01e-7 * float(point.prices @ point.values[1:])
    rng = np.random.default_rng(3)
    for _ in range(10):
        shares = rng.dirichlet(np.ones(len(surface.points)))
        inside = sum(share * point.values for share, point in zip(shares, surface.points, strict=True))
        w = sum(share * point.weights for share, point in zip(shares, surface.points, strict=True))
        assert u.moments.mu @ w == pytest.approx(inside[0])
    assert surface.ideal[0] == pytest.approx(best_first(u, kinds, [1e9, 1e9]), rel=1e-6)
    assert surface.resolution > 0


def test_integer_choices_leave_no_resolution_but_points():
    u = universe("bailey")
    smallest = SmallestPosition("min_position_size", 0.1, tuple(range(u.n)))
    variance = Goal(RiskTerm("variance", Variance(u.moments)), maximize=False)
    goals = (variance, *goals_of(u, ("return",)))
    surface = pareto_surface(posed(u, smallest), goals, 5, replace(SETTINGS, node_limit=300))
    assert len(surface.points) >= 3
    assert surface.resolution is None
    for point in surface.points:
        held = point.weights[point.weights > 0]
        assert held.min() >= 0.1 - 1e-8


def test_an_infeasible_problem_is_explained():
    u = universe("factor 30")
    impossible = LinearLimit(np.ones(u.n), 2.0, np.inf, "invest twice", "")
    surface = pareto_surface(posed(u, impossible), goals_of(u, TWO[0]), 5, SETTINGS)
    assert surface.status is Status.INFEASIBLE
    assert "invest twice" in surface.failure.explanation.conflicting


def test_what_is_no_surface_is_refused():
    u = universe("factor 30")
    with pytest.raises(ProblemError, match="two or three"):
        pareto_surface(posed(u), goals_of(u, ("return",)), 5, SETTINGS)
    with pytest.raises(ProblemError, match="repeat"):
        pareto_surface(posed(u), goals_of(u, ("return", "return")), 5, SETTINGS)
    with pytest.raises(ProblemError, match="at least 2"):
        pareto_surface(posed(u), goals_of(u, TWO[0]), 1, SETTINGS)
    with pytest.raises(ProblemError, match="convex"):
        Goal(RiskTerm("volatility", Volatility(u.moments)), maximize=True)
