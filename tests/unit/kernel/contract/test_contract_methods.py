"""Methods beside the objectives, under every family of limits: judged by the zoo's own models and searches."""

import cvxpy as cp
import numpy as np
import pytest

from kernel.methods.diversification import maximize_diversification
from kernel.methods.projection import project
from kernel.problem import Settings
from kernel.status import Status
from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import FAMILIES, Case
from tests.unit.kernel.contract.models import cost, cost_of, pose, risk
from tests.unit.kernel.contract.searching import Search

SETTINGS = Settings()
AVERSION = 2.0
# Convex, of degree one, and not negative.
MEASURES = ("volatility", "mad", "semi_deviation", "max_drawdown")


def answer_of(case, solution):
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), (solution.status, solution.message)
    assert pose(case).violation(solution.weights) <= 1e-8
    return solution.certificate


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("market", ["well-posed", "degenerate"])
def test_no_portfolio_is_nearer(market, family):
    case = Case(market, "risk", "volatility", (family,))
    given = case.market
    target = np.linspace(1.0, 2.0, given.n) / np.linspace(1.0, 2.0, given.n).sum()
    certificate = answer_of(case, project(case.problem(), target, SETTINGS, risk_aversion=AVERSION))
    model = pose(case)
    charge = cost(model)
    goal = -AVERSION / 2 * cp.sum_squares(model.w - target) - charge if case.has_cost else -cp.norm(model.w - target)
    nearest = -Search(model, goal, "CLARABEL").run()
    assert certificate.objective == pytest.approx(nearest, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("market", ["well-posed", "weighted", "degenerate"])
def test_no_portfolio_is_more_diversified(market, family):
    """At the highest ratio the best of weighted risks less the ratio times risk and cost is zero (Dinkelbach 1967)."""
    case = Case(market, "risk", MEASURES[FAMILIES.index(family) % len(MEASURES)], (family,))
    given, everyone = case.market, np.ones(case.market.n, dtype=bool)
    solution = maximize_diversification(case.problem(), everyone, SETTINGS, risk_aversion=AVERSION)
    certificate = answer_of(case, solution)
    alone = np.array([definitions.risk(case.measure, given, row) for row in np.eye(given.n)])
    w, ratio = solution.weights, certificate.objective
    denominator = definitions.risk(case.measure, given, w) + cost_of(case, w) / AVERSION
    assert ratio == pytest.approx(alone @ w / denominator, rel=1e-9)
    model = pose(case)
    excess = alone @ model.w - ratio * (risk(model, case.measure) + cost(model) / AVERSION)
    assert Search(model, excess / alone.mean(), "CLARABEL", known=0.0).run() <= 1e-6
