"""What budgets of risk cannot do is said, with the name of what is in the way."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kernel.constraints import (
    LinearLimit,
    NumberOfPositions,
    RiskBudgets,
    RiskLimit,
    SmallestPosition,
    WholeLots,
)
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError
from kernel.methods.budgets import asset_budgets, factor_budgets
from kernel.methods.risk_parity import risk_parity
from kernel.problem import Moments, Settings
from kernel.scenarios import Scenarios
from kernel.status import Status
from tests.unit.kernel.risk_parity.parity_cases import SETTINGS, covariance, equal_budgets, moments_of, problem_of

N = 5
MOMENTS = moments_of(covariance(40, N))
SCENARIOS = Scenarios.history(MOMENTS.names, np.random.default_rng(41).normal(0.0, 0.01, (60, N)))
ALL = tuple(range(N))
TWO = np.array([1.0, 1.0, 0.0, 0.0, 0.0])


def parity(*constraints, budgets=None, moments=MOMENTS, measure=None, **more):
    problem = problem_of(moments, *constraints, **more)
    if measure is not None:
        problem = replace(problem, measure=measure)
    return risk_parity(problem, equal_budgets(moments) if budgets is None else budgets, SETTINGS)


@pytest.mark.parametrize(
    ("shares", "field"),
    [
        ([1.0, -1.0, 1.0, 1.0, 1.0], "risk_budgeting.instrument_budgets[A1]"),
        ([1.0, 1.0, math.nan, 1.0, 1.0], "risk_budgeting.instrument_budgets[A2]"),
        ([1.0, 1.0, 1.0, math.inf, 1.0], "risk_budgeting.instrument_budgets[A3]"),
        ([0.0] * 5, "risk_budgeting.instrument_budgets"),
        ([1.0, 1.0, 1.0, 1.0, 1e-9], "risk_budgeting.instrument_budgets[A4]"),
    ],
)
def test_budgets_that_are_none(shares, field):
    with pytest.raises(ProblemError) as error:
        asset_budgets(MOMENTS.names, np.array(shares))
    assert error.value.field == field


def test_huge_budgets_are_divided_without_overflow():
    np.testing.assert_allclose(asset_budgets(MOMENTS.names, np.full(5, 1e308)).b, np.full(5, 0.2))


@pytest.mark.parametrize(
    ("shares", "exposures", "field"),
    [
        ([1.0, 0.0], np.eye(2, 5), "risk_budgeting.factor_budgets[b]"),
        ([1.0, 1.0], np.array([[1.0] * 5, [math.nan] * 5]), "risk_budgeting.factor_budgets[b]"),
        ([1.0, 1.0], np.ones((2, 5)), "risk_budgeting.factor_budgets"),
        ([1.0, 1.0], np.array([[1.0] * 5, [0.0] * 5]), "risk_budgeting.factor_budgets[b]"),
    ],
)
def test_budgets_of_factors_that_are_none(shares, exposures, field):
    with pytest.raises(ProblemError) as error:
        factor_budgets(("a", "b"), np.array(shares), exposures, np.ones(5, dtype=bool))
    assert error.value.field == field


@pytest.mark.parametrize(
    ("constraint", "field"),
    [
        (NumberOfPositions("positions", 3, ALL, np.ones(N)), "positions"),
        (NumberOfPositions("positions", N, ALL, np.ones(N), 2), "positions"),
        (WholeLots("lots", np.full(N, 0.01), ALL), "lots"),
        (RiskBudgets(("share",), ((0,),), np.array([0.5]), MOMENTS), "share"),
        (
            RiskLimit("var", make_measure("var", MOMENTS, SCENARIOS, MeasureSettings(0.9)), 0.1),
            "var",
        ),
    ],
)
def test_limits_that_need_another_search(constraint, field):
    with pytest.raises(ProblemError) as error:
        parity(constraint)
    assert error.value.field == field


@pytest.mark.parametrize(
    "constraint", [SmallestPosition("size", 0.1, ALL), NumberOfPositions("number", 3, ALL, np.ones(N))]
)
def test_positions_beside_budgets_of_factors(constraint):
    budgets = factor_budgets(("a",), np.ones(1), np.ones((1, N)), np.ones(N, dtype=bool))
    with pytest.raises(ProblemError, match=constraint.name):
        parity(constraint, budgets=budgets)


def test_charges_per_trade():
    cost = TradingCost(np.zeros(N), np.full(N, 0.2), fixed=np.full(N, 1e-4), largest=np.ones(N))
    with pytest.raises(ProblemError, match="trades"):
        parity(cost=cost)


@pytest.mark.parametrize(
    "measure",
    [
        make_measure("var", MOMENTS, SCENARIOS),
        make_measure("semi_deviation", MOMENTS, SCENARIOS, MeasureSettings(target=0.001)),
        TrackingError.against_weights(MOMENTS, np.full(N, 0.2)),
    ],
)
def test_measures_that_cannot_be_shared_out(measure):
    with pytest.raises(ProblemError) as error:
        parity(measure=measure)
    assert error.value.field == "risk_measure"


def test_limits_that_conflict_are_explained():
    solution = parity(upper=0.15).solution
    assert solution.status is Status.INFEASIBLE
    assert set(solution.explanation.conflicting) == {f"max A{i}" for i in range(N)}


def test_a_floor_under_an_asset_without_a_budget():
    lower = np.array([0.0, 0.0, 0.1, 0.0, 0.0])
    budgets = asset_budgets(MOMENTS.names, np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    solution = parity(budgets=budgets, lower=lower).solution
    assert solution.status is Status.INFEASIBLE
    assert set(solution.explanation.conflicting) == {"min A2", "risk_budgeting.instrument_budgets[A2]"}


@pytest.mark.parametrize(
    ("constraints", "upper", "lost"),
    [
        ([], np.array([0.0, 1.0, 1.0, 1.0, 1.0]), "A0"),
        ([LinearLimit(TWO, 0.0, 0.0, "pair", "pair")], 1.0, "A0, A1"),
    ],
)
def test_limits_that_leave_no_weight(constraints, upper, lost):
    found = parity(*constraints, upper=upper)
    assert found.solution.status is Status.ILL_POSED
    assert f"no weight in {lost}," in found.solution.message
    assert found.solution.weights is None
    assert found.shares is None
    assert not found.attained


def test_assets_without_risk_cannot_carry_a_share():
    Sigma = covariance(42, N)
    Sigma[0], Sigma[:, 0] = 0.0, 0.0
    solution = parity(moments=Moments(MOMENTS.names, np.zeros(N), Sigma)).solution
    assert solution.status is Status.ILL_POSED
    assert "only a risk above 0 can be shared out" in solution.message


def test_portfolios_that_only_gain_have_no_tail_to_share():
    R = np.abs(np.random.default_rng(43).normal(0.0, 0.01, (60, N)))
    measure = make_measure("cvar", MOMENTS, Scenarios.history(MOMENTS.names, R))
    solution = parity(measure=measure).solution
    assert solution.status is Status.ILL_POSED
    assert "the cvar of portfolios within the limits" in solution.message


def test_hedges_without_risk():
    """An asset held short against its copy."""
    Sigma = covariance(44, N)
    Sigma[1], Sigma[:, 1] = Sigma[0], Sigma[:, 0]
    Sigma[1, 1] = Sigma[0, 0]
    moments = Moments(MOMENTS.names, np.zeros(N), Sigma)
    budgets = asset_budgets(moments.names, np.ones(N), short=np.array([True, False, False, False, False]))
    found = parity(budgets=budgets, moments=moments, lower=-1.0, upper=np.full(N, 1.0))
    assert found.distance is None
    assert found.solution.certificate is None or found.solution.certificate.gap <= 1e-8


def test_shorts_without_end_are_unbounded():
    """All risk on the short side but for one asset: the budget is met only by ever larger weights."""
    short = np.array([True, True, True, True, False])
    budgets = asset_budgets(MOMENTS.names, np.ones(N), short=short)
    found = parity(budgets=budgets, lower=-np.inf, upper=np.inf)
    if found.solution.status is Status.OPTIMAL:
        assert found.attained
    else:
        assert found.solution.status is Status.UNBOUNDED
        assert "limit them, or the leverage" in found.solution.message


def test_a_deadline_stops_the_search():
    late = Settings(deadline=0.0, clock=lambda: 1.0)
    problem = problem_of(MOMENTS, RiskLimit("volatility", Volatility(MOMENTS), 0.5), upper=0.21)
    found = risk_parity(problem, equal_budgets(MOMENTS), late)
    assert found.solution.status is Status.LIMIT_REACHED
    assert found.solution.weights is None
