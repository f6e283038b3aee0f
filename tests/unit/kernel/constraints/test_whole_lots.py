"""Whole lots against the enumeration of every count of lots, whose objective is a formula, and against SciPy's milp."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize as scipy_optimize

from kernel.constraints import NumberOfPositions, TurnoverLimit, WeightBounds, WholeLots, budget
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.status import Status
from tests.unit.kernel.zoo import OBJECTIVES, RISK_FREE, SETTINGS, factor_moments

STEPS = np.array([0.07, 0.11, 0.053, 1.0])
LOTTED = (0, 1, 2)
CASH = 3


def with_cash(risky: Moments) -> Moments:
    n = risky.n
    Sigma = np.zeros((n + 1, n + 1))
    Sigma[:n, :n] = risky.Sigma
    return Moments((*risky.names, "CASH"), np.append(risky.mu, RISK_FREE), Sigma)


MOMENTS = with_cash(factor_moments(61, 3))
W0 = np.array([0.35, 0.33, 0.3, 0.02])
NO_CASH_LIMIT = np.array([0.9, 0.9, 0.9, 1.0])
RATE = 0.02


def posed(objective, upper, *constraints, lower=0.0, cost=None):
    n = MOMENTS.n
    low = np.append(np.full(n - 1, lower), 0.0)
    box = WeightBounds(low, upper, ("min",) * n, ("max",) * n)
    limits = (budget(n), box, WholeLots("lots", STEPS, LOTTED), *constraints)
    return Problem(MOMENTS, objective, Volatility(MOMENTS), limits, cost)


def solved(problem):
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8
    return solution


def portfolios(upper, lower=0.0):
    """All portfolios of whole lots within the bounds, cash taking the rest."""
    counts = [np.arange(np.ceil(lower / STEPS[i]), np.floor(upper[i] / STEPS[i]) + 1) for i in LOTTED]
    risky = np.array(list(product(*counts))) * STEPS[list(LOTTED)]
    w = np.column_stack([risky, 1 - risky.sum(axis=1)])
    return w[(w[:, CASH] >= -1e-12) & (w[:, CASH] <= upper[CASH] + 1e-12)]


def values(objective, w, charge=None):
    charged = np.zeros(len(w)) if charge is None else charge(w)
    variance = np.einsum("ki,ij,kj->k", w, MOMENTS.Sigma, w)
    net = w @ MOMENTS.mu - charged
    match objective:
        case MinimizeRisk(aversion):
            return np.sqrt(variance) if charge is None else aversion / 2 * variance + charged
        case MaximizeReturn():
            return net
        case MaximizeUtility(aversion):
            return net - aversion / 2 * variance
        case MaximizeRatio(reference):
            return (net - reference) / np.sqrt(np.maximum(variance, 1e-300))


def enumerated(objective, w, charge=None):
    found = values(objective, w, charge)
    return found.min() if isinstance(objective, MinimizeRisk) else found.max()


TIGHT_CASH = np.array([0.9, 0.9, 0.9, 0.03])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equals_the_enumeration(objective):
    expected = enumerated(OBJECTIVES[objective], portfolios(TIGHT_CASH))
    solution = solved(posed(OBJECTIVES[objective], TIGHT_CASH))
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-7)
    lots = solution.weights[list(LOTTED)] / STEPS[list(LOTTED)]
    np.testing.assert_allclose(lots, np.round(lots), atol=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_shorts(objective):
    expected = enumerated(OBJECTIVES[objective], portfolios(TIGHT_CASH, -0.25))
    solution = solved(posed(OBJECTIVES[objective], TIGHT_CASH, lower=-0.25))
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_turnover_costs_and_few_positions(objective):
    posing = MinimizeRisk(20.0) if objective == "risk" else OBJECTIVES[objective]
    rates = np.array([RATE, RATE, RATE, 0.0])
    limits = (
        TurnoverLimit("turnover", 0.5, W0),
        NumberOfPositions("positions", 2, LOTTED, np.full(4, 0.9)),
    )
    solution = solved(posed(posing, NO_CASH_LIMIT, *limits, cost=TradingCost(rates, W0)))
    w = portfolios(NO_CASH_LIMIT)
    w = w[(0.5 * np.abs(w - W0).sum(axis=1) <= 0.5 + 1e-9) & ((np.abs(w[:, :CASH]) > 1e-9).sum(axis=1) <= 2)]
    expected = enumerated(posing, w, lambda held: np.abs(held - W0) @ rates)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-7)


def test_many_assets_agree_with_milp():
    n = 25
    risky = with_cash(factor_moments(62, n))
    steps = np.append(np.random.default_rng(3).uniform(0.01, 0.06, n), 1.0)
    box = WeightBounds(np.zeros(n + 1), np.append(np.full(n, 0.12), 0.004), ("min",) * (n + 1), ("max",) * (n + 1))
    limits = (budget(n + 1), box, WholeLots("lots", steps, tuple(range(n))))
    solution = optimize(Problem(risky, MaximizeReturn(), Volatility(risky), limits), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    expected = scipy_optimize.milp(
        -risky.mu * steps,
        integrality=np.append(np.ones(n), 0),
        bounds=scipy_optimize.Bounds(np.zeros(n + 1), box.upper / steps),
        constraints=scipy_optimize.LinearConstraint(steps[None, :], 1.0, 1.0),
        options={"mip_rel_gap": 0.0},
    )
    assert solution.certificate.objective == pytest.approx(-expected.fun, rel=1e-6)


def test_expiry_of_a_search_over_many_lots():
    """With cash to take what is left, rounding finds a portfolio at once, close to the bound."""
    n = 30
    moments = with_cash(factor_moments(63, n))
    steps = np.append(np.random.default_rng(4).uniform(0.001, 0.01, n), 1.0)
    box = WeightBounds(np.zeros(n + 1), np.append(np.full(n, 0.2), 0.02), ("min",) * (n + 1), ("max",) * (n + 1))
    limits = (budget(n + 1), box, WholeLots("lots", steps, tuple(range(n))))
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), limits)
    stopped = optimize(problem, Settings(node_limit=10))
    assert stopped.status is Status.LIMIT_REACHED
    assert stopped.certificate.bound <= stopped.certificate.objective
    assert stopped.certificate.gap < 0.01
    assert min(m.slack for m in measurements(problem, stopped.weights)) >= -1e-8


def test_lots_that_cannot_add_up():
    """Lots of 0.4 and 0.3 and cash below 0.05 never make 1; without a lot of one of them they do."""
    moments = with_cash(factor_moments(64, 2))
    box = WeightBounds(np.zeros(3), np.array([0.5, 0.35, 0.05]), ("min",) * 3, ("max a", "max b", "max cash"))
    lots = WholeLots("lots", np.array([0.4, 0.3, 1.0]), (0, 1))
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(3), box, lots))
    assert optimize(problem, SETTINGS).status is Status.INFEASIBLE


def test_lots_larger_than_any_position_are_not_held():
    moments = with_cash(factor_moments(65, 2))
    box = WeightBounds(np.zeros(3), np.array([0.5, 0.5, 1.0]), ("min",) * 3, ("max",) * 3)
    lots = WholeLots("lots", np.array([0.7, 0.1, 1.0]), (0, 1))
    problem = Problem(moments, MaximizeReturn(), Volatility(moments), (budget(3), box, lots))
    assert optimize(problem, SETTINGS).weights[0] == 0.0


def test_no_lots_at_all():
    limits = (
        budget(4),
        WeightBounds(np.zeros(4), np.ones(4), ("min",) * 4, ("max",) * 4),
        WholeLots("lots", STEPS, ()),
    )
    problem = Problem(MOMENTS, MinimizeRisk(), Volatility(MOMENTS), limits)
    assert optimize(problem, SETTINGS).weights[CASH] == pytest.approx(1.0)


@pytest.mark.parametrize("step", [0.0, -0.1, np.nan, np.inf])
def test_a_lot_without_a_weight_is_refused(step):
    with pytest.raises(ProblemError, match="lots: the lot of asset 0 must have a positive weight"):
        WholeLots("lots", np.array([step, 0.1]), (0, 1))
