"""Ratios beside cash that earns the reference: any amount of it is as good, so the least that is allowed is held."""

import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, WeightBounds, budget
from kernel.measures.volatility import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio
from kernel.problem import Moments, Problem, Settings
from kernel.status import Status

RATE = 0.02
NAMES = ("A", "B", "C", "CASH")


def problem_of(*more, seed=0, least_cash=0.0, largest_cash=1.0, mu=None):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(8, 3)) * 0.1
    Sigma = np.pad(F.T @ F + 0.01 * np.eye(3), (0, 1))
    mu = np.append(rng.uniform(0.03, 0.12, 3), RATE) if mu is None else np.array([*mu, RATE])
    moments = Moments(NAMES, mu, Sigma)
    lower, upper = np.array([0.0, 0.0, 0.0, least_cash]), np.array([1.0, 1.0, 1.0, largest_cash])
    bounds = WeightBounds(lower, upper, ("floor",) * 4, ("cap",) * 4)
    return Problem(moments, MaximizeRatio(RATE), Volatility(moments), (bounds, budget(4), *more))


def tangency(problem):
    """Long-only tangency weights by enumeration of the assets held."""
    mu, Sigma = problem.moments.mu[:3] - RATE, problem.moments.Sigma[:3, :3]
    best, weights = -np.inf, None
    for code in range(1, 8):
        held = [i for i in range(3) if code >> i & 1]
        part = np.linalg.solve(Sigma[np.ix_(held, held)], mu[held])
        if (part > 0).all():
            w = np.zeros(3)
            w[held] = part / part.sum()
            ratio = mu @ w / np.sqrt(w @ Sigma @ w)
            if ratio > best:
                best, weights = ratio, w
    return weights, best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("least", [0.0, 0.1])
def test_least_cash_and_the_tangency_portfolio(seed, least):
    problem = problem_of(seed=seed, least_cash=least)
    solution = optimize(problem, Settings())
    weights, ratio = tangency(problem)
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.weights[3] == pytest.approx(least, abs=1e-7)
    np.testing.assert_allclose(solution.weights[:3], (1.0 - least) * weights, atol=1e-6)
    assert solution.certificate.objective == pytest.approx(ratio, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_limit_on_the_volatility_keeps_the_cash_that_it_needs(seed):
    free = problem_of(seed=seed)
    weights, ratio = tangency(free)
    full = free.measure.of(np.append(weights, 0.0))
    limited = problem_of(RiskLimit("target_volatility", free.measure, 0.5 * full), seed=seed)
    solution = optimize(limited, Settings())
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert solution.certificate.objective == pytest.approx(ratio, rel=1e-6)
    assert limited.measure.of(solution.weights) == pytest.approx(0.5 * full, abs=1e-7)
    np.testing.assert_allclose(solution.weights[:3], 0.5 * weights, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_limits_on_the_assets_stop_the_way(seed):
    free = problem_of(seed=seed)
    weights, ratio = tangency(free)
    first = int(weights.argmax())
    row = np.eye(4)[first]
    capped = problem_of(LinearLimit(row, -np.inf, 0.5 * weights[first], "sum", "sum"), seed=seed)
    solution = optimize(capped, Settings())
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.certificate.objective == pytest.approx(ratio, rel=1e-8)
    np.testing.assert_allclose(solution.weights[:3], 0.5 * weights, atol=1e-6)


def test_no_excess_is_ill_posed():
    solution = optimize(problem_of(mu=(0.01, 0.0, -0.02)), Settings())
    assert solution.status is Status.ILL_POSED, solution.message


@pytest.mark.parametrize("seed", range(4))
def test_assets_that_are_short_on_balance_are_not_levered_for_the_sake_of_cash(seed):
    free = problem_of(seed=seed, mu=(-0.03, -0.05, -0.02), largest_cash=5.0)
    bounds = WeightBounds(np.array([-1.0, -1.0, -1.0, 0.0]), np.full(4, 5.0), ("floor",) * 4, ("cap",) * 4)
    problem = Problem(free.moments, free.objective, free.measure, (bounds, budget(4)))
    solution = optimize(problem, Settings())
    assert solution.status is Status.OPTIMAL, solution.message
    mu, Sigma = problem.moments.mu[:3] - RATE, problem.moments.Sigma[:3, :3]
    tangency_ratio = float(np.sqrt(mu @ np.linalg.solve(Sigma, mu)))
    assert solution.certificate.objective == pytest.approx(tangency_ratio, rel=1e-8)
    assert solution.weights[:3].min() > -1.0 + 1e-6  # the bound of -1 is not driven at
