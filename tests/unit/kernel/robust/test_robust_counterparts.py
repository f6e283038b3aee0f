"""Robust optimization against cvxpy on the written-out counterpart, its limits, and what it does as sets grow."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import NetReturnFloor, RiskLimit
from kernel.costs import TradingCost
from kernel.frontier import FrontierRequest, efficient_frontier
from kernel.measures.deviations import MeanAbsoluteDeviation
from kernel.measures.tails import ConditionalValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Problem
from kernel.robust.counterpart import UncertaintySets, counterpart, optimize_robust
from kernel.robust.covariances import BoxOfCovariances, EllipsoidOfCovariances
from kernel.robust.distributions import WassersteinBall
from kernel.robust.evidence import worst_case
from kernel.robust.factor_covariances import FactorCovariances
from kernel.robust.means import BoxOfMeans, EllipsoidOfMeans
from kernel.status import Status
from tests.unit.kernel.robust.robust_markets import PERIODS, SETTINGS, Market, factor_moments, market, root, solved

LONG, SHORT = market(0), market(3, lower=-0.3)
RATE, LEVEL, EPS = 0.02, 0.9, 0.0001


def mean_sets(which: Market) -> dict[str, tuple[object, object]]:
    """Sets small enough for ratios to exist, and what they take off the return in cvxpy's words."""
    sample = which.sample()
    box = BoxOfMeans(0.2 * BoxOfMeans.of_sample(sample).half_widths)
    ball = EllipsoidOfMeans.of_sample(sample, 0.3)
    return {
        "none": (None, lambda y: 0.0),
        "box": (box, lambda y: box.half_widths @ cp.abs(y)),
        "ellipsoid": (ball, lambda y: 0.3 * cp.norm(root(sample.errors) @ y)),
    }


def covariance_sets(which: Market) -> dict[str, tuple[object, object]]:
    """Sets and their worst volatility in cvxpy's words."""
    sample, moments, R = which.sample(), which.moments, root(which.Sigma)
    balls = {m: EllipsoidOfCovariances.of_sample(moments, sample, m) for m in ("sampling", "variances", "identity")}
    box, relative = (
        BoxOfCovariances.of_sample(moments, sample),
        BoxOfCovariances.relative(moments, which.uncertain, 0.3),
    )
    factor = FactorCovariances.of_regressions(factor_moments(which), which.uncertain, len(which.R), 0.9)
    X = factor.moments.quadratic.factor

    def of_ball(ball):
        M = which.Sigma if ball.variances is None else np.diag(ball.variances)
        return lambda y: cp.norm(cp.hstack([R @ y, np.sqrt(ball.radius) * root(M) @ y]))

    def of_box(box):
        return lambda y: cp.norm(cp.hstack([R @ y, root(box.D) @ above(cp.abs(y))]))

    return {
        "none": (None, lambda y: cp.norm(R @ y)),
        **{name: (ball, of_ball(ball)) for name, ball in balls.items()},
        "box": (box, of_box(box)),
        "relative box": (relative, of_box(relative)),
        "factor": (
            factor,
            lambda y: cp.norm(
                cp.hstack([above(cp.norm(X @ y) + factor.reach @ cp.abs(y)), cp.multiply(np.sqrt(factor.specific), y)])
            ),
        ),
    }


ROWS: list = []


def above(convex):
    """A variable above a convex expression, its row in `ROWS`: cvxpy's rules know no norm of a convex expression."""
    t = cp.Variable(convex.shape, nonneg=True)
    ROWS.append(t >= convex)
    return t


def posed(which: Market, name: str, objective, measure=None) -> Problem:
    problem = which.problem(objective, measure)
    if name != "factor":
        return problem
    moments = factor_moments(which)
    return replace(problem, moments=moments, measure=type(problem.measure)(moments))


def judged(goal, limits) -> float:
    rows = [*limits, *ROWS]
    ROWS.clear()
    return solved(goal, rows)


MARKETS = {"long": LONG, "short": SHORT}
COVARIANCES = tuple(covariance_sets(LONG))
MEANS = tuple(mean_sets(LONG))


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("where", MARKETS)
def test_the_least_worst_volatility(where: str, covariance: str) -> None:
    which = MARKETS[where]
    set_, worst = covariance_sets(which)[covariance]
    sets = UncertaintySets(which.uncertain, covariance=set_)
    found = optimize_robust(posed(which, covariance, MinimizeRisk()), sets, SETTINGS)
    y = cp.Variable(which.n)
    best = judged(cp.Minimize(worst(y)), which.limits(y))
    assert found.status is Status.OPTIMAL, found.message
    assert found.certificate.objective == pytest.approx(best, rel=1e-7)
    case = worst_case(posed(which, covariance, MinimizeRisk()), sets, found.weights)
    assert case.worst_risk == pytest.approx(found.certificate.objective, rel=1e-9)
    squared = posed(which, covariance, MinimizeRisk(), Variance(which.moments))
    assert optimize_robust(squared, sets, SETTINGS).certificate.objective == pytest.approx(best**2, rel=1e-7)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("where", MARKETS)
def test_the_highest_worst_utility_and_ratio(where: str, mean: str, covariance: str) -> None:
    which = MARKETS[where]
    taken, shortfall = mean_sets(which)[mean]
    set_, worst = covariance_sets(which)[covariance]
    sets = UncertaintySets(which.uncertain, mean=taken, covariance=set_)
    y = cp.Variable(which.n)
    best = judged(
        cp.Maximize(which.mu @ y - shortfall(y) - 2.0 * cp.square(worst(y))),
        which.limits(y),
    )
    utility = optimize_robust(posed(which, covariance, MaximizeUtility(4.0)), sets, SETTINGS)
    assert utility.status is Status.OPTIMAL, utility.message
    assert utility.certificate.objective == pytest.approx(best, rel=1e-6)
    ratio = optimize_robust(posed(which, covariance, MaximizeRatio(RATE)), sets, SETTINGS)
    scale = cp.Variable(nonneg=True)
    excess = which.mu @ y - RATE * scale - shortfall(y)
    highest = judged(cp.Maximize(excess), [*which.limits(y, scale), worst(y) <= 1])
    assert ratio.status is Status.OPTIMAL, ratio.message
    assert ratio.certificate.objective == pytest.approx(highest, rel=1e-6)
    case = worst_case(posed(which, covariance, MaximizeRatio(RATE)), sets, ratio.weights)
    assert (case.worst_return - RATE) / case.worst_risk == pytest.approx(ratio.certificate.objective, rel=1e-8)


@pytest.mark.parametrize("covariance", ["box", "factor"])
def test_a_ratio_over_the_worst_variance(covariance: str) -> None:
    """Dinkelbach: at the highest ratio the best of excess less ratio times variance is zero."""
    set_, worst = covariance_sets(SHORT)[covariance]
    problem = posed(SHORT, covariance, MaximizeRatio(RATE), Variance(SHORT.moments))
    found = optimize_robust(problem, UncertaintySets(SHORT.uncertain, covariance=set_), SETTINGS)
    assert found.status is Status.OPTIMAL, found.message
    y = cp.Variable(SHORT.n)
    goal = cp.Maximize(SHORT.mu @ y - RATE - found.certificate.objective * cp.square(worst(y)))
    assert judged(goal, SHORT.limits(y)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("mean", MEANS[1:])
@pytest.mark.parametrize("where", MARKETS)
def test_the_highest_worst_return(where: str, mean: str) -> None:
    which = MARKETS[where]
    taken, shortfall = mean_sets(which)[mean]
    found = optimize_robust(which.problem(MaximizeReturn()), UncertaintySets(which.uncertain, mean=taken), SETTINGS)
    y = cp.Variable(which.n)
    assert found.status is Status.OPTIMAL, found.message
    best = solved(cp.Maximize(which.mu @ y - shortfall(y)), which.limits(y))
    assert found.certificate.objective == pytest.approx(best, rel=1e-6)


DUALS = {"one": cp.norm_inf, "two": cp.norm2, "infinity": cp.norm1}


def tail(which: Market, y):
    x = cp.Variable()
    return x + cp.sum(cp.pos(-which.R @ y - x)) / len(which.R) / (1 - LEVEL)


@pytest.mark.parametrize("norm", DUALS)
@pytest.mark.parametrize("where", MARKETS)
def test_the_least_worst_tail_and_the_ratio_to_it(where: str, norm: str) -> None:
    which = MARKETS[where]
    ball = WassersteinBall(EPS, norm, which.uncertain, PERIODS)
    sets = UncertaintySets(which.uncertain, distribution=ball)
    nominal = ConditionalValueAtRisk(which.scenarios, LEVEL)
    y, scale = cp.Variable(which.n), cp.Variable(nonneg=True)
    dual = DUALS[norm](y[:-1])
    worst = tail(which, y) + EPS / (1 - LEVEL) * dual
    found = optimize_robust(which.problem(MinimizeRisk(), nominal), sets, SETTINGS)
    assert found.status is Status.OPTIMAL, found.message
    assert found.certificate.objective == pytest.approx(solved(cp.Minimize(worst), which.limits(y)), rel=1e-7)
    ratio = optimize_robust(which.problem(MaximizeRatio(RATE), nominal), sets, SETTINGS)
    excess = which.mu @ y - RATE * scale - PERIODS * EPS * dual
    highest = solved(cp.Maximize(excess), [*which.limits(y, scale), worst <= 1])
    assert ratio.status is Status.OPTIMAL, ratio.message
    assert ratio.certificate.objective == pytest.approx(highest, rel=1e-6)
    case = worst_case(which.problem(MaximizeRatio(RATE), nominal), sets, ratio.weights)
    assert (case.worst_return - RATE) / case.worst_risk == pytest.approx(ratio.certificate.objective, rel=1e-8)


def test_contributions_add_up_to_the_worst_risk() -> None:
    w = SHORT.weights(3)
    for name, (set_, _) in covariance_sets(SHORT).items():
        for word in ("volatility", "variance"):
            if set_ is not None:
                measure = set_.measure(word, long_only=False)
                assert measure.contributions(w).sum() == pytest.approx(measure.of(w), rel=1e-12), name
    problem = SHORT.problem(MinimizeRisk(), ConditionalValueAtRisk(SHORT.scenarios, LEVEL))
    for norm in DUALS:
        ball = WassersteinBall(EPS, norm, SHORT.uncertain, PERIODS)
        measure = counterpart(problem, UncertaintySets(SHORT.uncertain, distribution=ball)).measure
        assert measure.contributions(w).sum() == pytest.approx(measure.of(w), rel=1e-12)


def nothing_uncertain(which: Market) -> dict[str, UncertaintySets]:
    moments, none = which.moments, np.zeros(which.n)
    return {
        "mean box": UncertaintySets(which.uncertain, mean=BoxOfMeans(none)),
        "mean ellipsoid": UncertaintySets(which.uncertain, mean=EllipsoidOfMeans.of_sample(which.sample(), 0.0)),
        **{
            metric: UncertaintySets(
                which.uncertain,
                covariance=EllipsoidOfCovariances.of_sample(moments, which.sample(), metric, 0.0),
            )
            for metric in ("sampling", "variances", "identity")
        },
        "box": UncertaintySets(which.uncertain, covariance=BoxOfCovariances.relative(moments, which.uncertain, 0.0)),
        "ball": UncertaintySets(which.uncertain, distribution=WassersteinBall(0.0, "two", which.uncertain)),
    }


@pytest.mark.parametrize("name", nothing_uncertain(LONG))
@pytest.mark.parametrize("where", MARKETS)
def test_a_set_of_one_member_is_the_nominal_problem(where: str, name: str) -> None:
    which = MARKETS[where]
    measure = ConditionalValueAtRisk(which.scenarios, LEVEL) if name == "ball" else None
    for objective in (MinimizeRisk(), MaximizeRatio(RATE), MaximizeUtility(3.0)):
        problem = which.problem(objective, measure)
        nominal, robust = (
            optimize(problem, SETTINGS),
            optimize_robust(problem, nothing_uncertain(which)[name], SETTINGS),
        )
        assert robust.status is Status.OPTIMAL
        assert robust.weights == pytest.approx(nominal.weights, abs=1e-9)
        assert robust.certificate.objective == pytest.approx(nominal.certificate.objective, rel=1e-12)


@pytest.mark.parametrize("kind", ["mean", "sampling", "variances", "identity", "box", "distribution"])
def test_a_worst_case_never_improves_with_the_radius(kind: str) -> None:
    which, sample = SHORT, SHORT.sample()
    values = []
    for radius in (0.0, 0.1, 0.2, 0.4, 0.8):
        match kind:
            case "mean":
                sets = UncertaintySets(which.uncertain, mean=EllipsoidOfMeans.of_sample(sample, radius))
            case "distribution":
                sets = UncertaintySets(
                    which.uncertain, distribution=WassersteinBall(radius * 1e-3, "two", which.uncertain)
                )
            case "box":
                box = BoxOfCovariances.relative(which.moments, which.uncertain, radius)
                sets = UncertaintySets(which.uncertain, covariance=box)
            case _:
                ball = EllipsoidOfCovariances.of_sample(which.moments, sample, kind, radius)
                sets = UncertaintySets(which.uncertain, covariance=ball)
        measure = ConditionalValueAtRisk(which.scenarios, LEVEL) if kind == "distribution" else None
        problem = which.problem(MaximizeUtility(4.0), measure)
        values.append(optimize_robust(problem, sets, SETTINGS).certificate.objective)
    assert (np.diff(values) < 0.0).all()


def test_limits_hold_for_every_member() -> None:
    """A floor under the return and a limit on volatility are about the worst; the least risk is not about the means."""
    which = LONG
    set_, worst = covariance_sets(which)["variances"]
    taken, shortfall = mean_sets(which)["ellipsoid"]
    sets = UncertaintySets(which.uncertain, mean=taken, covariance=set_)
    floor, cap = 0.04, 0.22
    plain = which.problem(MinimizeRisk())
    limits = (
        *plain.constraints,
        NetReturnFloor("target_return", which.mu, floor),
        RiskLimit("target_volatility", Volatility(which.moments), cap),
    )
    y = cp.Variable(which.n)
    rows = [*which.limits(y), which.mu @ y - shortfall(y) >= floor, worst(y) <= cap]
    least = optimize_robust(replace(plain, constraints=limits), sets, SETTINGS)
    assert least.status is Status.OPTIMAL, least.message
    assert least.certificate.objective == pytest.approx(solved(cp.Minimize(worst(y)), rows), rel=1e-7)
    case = worst_case(plain, sets, least.weights)
    assert case.worst_return >= floor - 1e-8
    reports = {report.name: report for report in least.constraints}
    assert reports["target_return"].value == pytest.approx(case.worst_return, abs=1e-9)
    assert reports["target_volatility"].value == pytest.approx(case.worst_risk, rel=1e-9)
    highest = optimize_robust(replace(plain, objective=MaximizeReturn(), constraints=limits), sets, SETTINGS)
    best = solved(cp.Maximize(which.mu @ y - shortfall(y)), rows)
    assert highest.certificate.objective == pytest.approx(best, rel=1e-6)
    none = replace(plain, constraints=(*limits[:-2], NetReturnFloor("target_return", which.mu, 0.6)))
    assert optimize_robust(none, sets, SETTINGS).status is Status.INFEASIBLE


@pytest.mark.parametrize("objective", [MinimizeRisk(5.0), MaximizeUtility(5.0), MaximizeRatio(RATE)])
def test_costs_and_shortfalls_together(objective) -> None:
    which = SHORT
    set_, worst = covariance_sets(which)["box"]
    taken, shortfall = mean_sets(which)["box"]
    w0, rates = np.full(which.n, 1.0 / which.n), np.full(which.n, 0.01)
    sets = UncertaintySets(which.uncertain, mean=taken, covariance=set_)
    problem = replace(which.problem(objective), cost=TradingCost(rates, w0))
    found = optimize_robust(problem, sets, SETTINGS)
    assert found.status is Status.OPTIMAL, found.message
    y, scale = cp.Variable(which.n), cp.Variable(nonneg=True)
    match objective:
        case MinimizeRisk():
            goal = cp.Maximize(-2.5 * cp.square(worst(y)) - rates @ cp.abs(y - w0))
            best = -judged(goal, which.limits(y))
        case MaximizeUtility():
            left = which.mu @ y - shortfall(y) - rates @ cp.abs(y - w0)
            best = judged(cp.Maximize(left - 2.5 * cp.square(worst(y))), which.limits(y))
        case _:
            left = which.mu @ y - shortfall(y) - rates @ cp.abs(y - scale * w0) - RATE * scale
            best = judged(cp.Maximize(left), [*which.limits(y, scale), worst(y) <= 1])
    assert found.certificate.objective == pytest.approx(best, rel=1e-6)


def test_a_worst_case_ratio_exists_only_where_an_excess_does() -> None:
    """The nominal ratio exists and the worst-case one does not; the fallback is robust as well."""
    which = LONG
    taken = BoxOfMeans.of_sample(which.sample(0.999))
    sets = UncertaintySets(which.uncertain, mean=taken)
    problem = which.problem(MaximizeRatio(RATE))
    assert optimize(problem, SETTINGS).status is Status.OPTIMAL
    found = optimize_robust(problem, sets, SETTINGS)
    y = cp.Variable(which.n)
    best = solved(cp.Maximize(which.mu @ y - taken.half_widths @ cp.abs(y)), which.limits(y))
    assert found.status is Status.ILL_POSED
    assert found.weights is None
    assert found.numbers["best_expected_return"] == pytest.approx(best, rel=1e-7)
    assert "in the worst case" in found.message
    for fallback in (MinimizeRisk(), MaximizeReturn(), MaximizeUtility(2.0)):
        instead = optimize_robust(which.problem(MaximizeRatio(RATE, fallback)), sets, SETTINGS)
        alone = optimize_robust(which.problem(fallback), sets, SETTINGS)
        assert instead.certificate.objective == pytest.approx(alone.certificate.objective, rel=1e-12)
        assert "in the worst case" in instead.message


def test_uncertain_means_go_with_every_measure() -> None:
    which = LONG
    taken, shortfall = mean_sets(which)["ellipsoid"]
    measure = MeanAbsoluteDeviation(which.scenarios)
    problem = which.problem(MaximizeRatio(RATE), measure)
    found = optimize_robust(problem, UncertaintySets(which.uncertain, mean=taken), SETTINGS)
    y, scale = cp.Variable(which.n), cp.Variable(nonneg=True)
    centred = which.R - which.R.mean(axis=0)
    risk = np.sqrt(PERIODS) * cp.sum(cp.abs(centred @ y)) / len(which.R)
    best = solved(cp.Maximize(which.mu @ y - shortfall(y) - RATE * scale), [*which.limits(y, scale), risk <= 1])
    assert found.certificate.objective == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("covariance", ["sampling", "box", "factor"])
def test_the_frontier_of_the_worst_case(covariance: str) -> None:
    """Each point has the least worst risk at its worst return."""
    set_, worst = covariance_sets(SHORT)[covariance]
    taken, shortfall = mean_sets(SHORT)["box"]
    sets = UncertaintySets(SHORT.uncertain, mean=taken, covariance=set_)
    problem = counterpart(posed(SHORT, covariance, MinimizeRisk()), sets)
    frontier = efficient_frontier(problem, FrontierRequest(5, RATE), SETTINGS)
    assert len(frontier.points) >= 5, frontier.message
    y = cp.Variable(SHORT.n)
    for point in frontier.points[1:-1:2]:
        rows = [*SHORT.limits(y), SHORT.mu @ y - shortfall(y) >= point.expected_return]
        assert point.risk == pytest.approx(judged(cp.Minimize(worst(y)), rows), rel=1e-6)
