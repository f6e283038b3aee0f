"""What is timed: each workload goes from the returns table in memory to certified weights in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from kernel.canonical import Quadratic, Vector
from kernel.constraints import Constraint, LinearLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.estimation.covariance import ledoit_wolf, sample
from kernel.estimation.expected_returns import historical_mean
from kernel.estimation.low_rank import sample_factor
from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from kernel.hierarchy.portfolio import HierarchyRequest, hierarchical_portfolio
from kernel.hierarchy.universe import Universe, in_order
from kernel.measures import Volatility
from kernel.measures.registry import make_measure
from kernel.methods.budgets import asset_budgets
from kernel.methods.mean_risk import optimize
from kernel.methods.projection import project
from kernel.methods.risk_parity import risk_parity
from kernel.multi_period.plan import Period, Plan, solve_plan
from kernel.objectives import MaximizeRatio, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Moments, Problem, Settings
from kernel.rebalancing.trades import plan_trades
from kernel.scenarios import Scenarios
from kernel.solution import Solution
from kernel.status import Status
from kernel.validation.report import Band
from kernel.validation.schedule import ScheduleSettings
from server.compute.inputs import Asset, MarketInputs
from server.compute.validation import conclude, run_windows
from server.specs import ModelSpec, OptimizationSpec
from server.validation_specs import ValidationSpec
from tests.benchmarks.factor_models import by_cvxpy, least_tracking_error
from tests.benchmarks.markets import Market, synthetic
from tests.benchmarks.taxable import taxable_account

CAP, SECTOR_CAP, RISK_FREE, FRONTIER_POINTS = 0.05, 0.30, 0.02, 20
PORTFOLIOS, PORTFOLIO_ASSETS = 10_000, 30
LARGEST_SHARE_ERROR, LARGEST_PLAN_GAP = 1e-8, 1e-6
PLAN_ASSETS = 100
FACTOR_ASSETS = 2_000
VALIDATED_ASSETS, VALIDATED_DAYS = 20, 2_520 + 504
# With more than this many times more returns than assets the dense matrix is the quicker one.
_FACTOR_FROM = 4


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table.

    Attributes:
        aim: How many times faster than the best peer, or than the row `beside`, it is meant to be.
        compared: Whether the peers' objective means the same as ours.
        error: What the objective is an error of, ours and the peers'; empty = it is none.
        peer_key: The peers' workload beside ours; empty = the same key.
        beside: Our own workload that it is held against; empty = the peers.
        pieces: Into how many equal tasks the time is divided; then it is processor time.
        runs: At most so many runs.
    """

    key: str
    title: str
    aim: str
    run: Callable[[Market], float]
    compared: bool = False
    error: str = ""
    peer_key: str = ""
    beside: str = ""
    pieces: int = 1
    runs: int = 100


def pose(market: Market, objective: Objective, *more: Constraint) -> Problem:
    """Moments from the returns, weights within the cap, fully invested; the covariance in its smaller form."""
    T, n = market.R.shape
    small = _FACTOR_FROM * n < T
    covariance = sample(market.R).Sigma if small else Quadratic(factor=sample_factor(market.R).factor)
    moments = Moments(market.names, historical_mean(market.R), covariance)
    return Problem(moments, objective, Volatility(moments), (*limits(len(market.names)), *more))


def pose_over(market: Market, word: str, cap: float = CAP, objective: Objective | None = None) -> Problem:
    """The same over a measure of scenarios."""
    problem = pose(market, objective or MinimizeRisk())
    measure = make_measure(word, problem.moments, Scenarios.history(market.names, market.R))
    return replace(problem, measure=measure, constraints=limits(len(market.names), cap))


def limits(n: int, cap: float = CAP) -> tuple[Constraint, ...]:
    """Fully invested, each weight between zero and the cap."""
    names = (("min_position_size",) * n, ("max_position_size",) * n)
    return budget(n), WeightBounds(np.zeros(n), np.full(n, cap), *names)


def solved(problem: Problem, start: Vector | None = None) -> Solution:
    """An answer that is certified optimal."""
    solution = optimize(problem, Settings(), start)
    if solution.status is not Status.OPTIMAL or solution.certificate is None:
        raise RuntimeError(solution.message)
    return solution


def certified(problem: Problem) -> float:
    """Its objective."""
    certificate = solved(problem).certificate
    assert certificate is not None
    return certificate.objective


def minimum_variance(market: Market) -> float:
    return certified(pose(market, MinimizeRisk()))


def maximum_sharpe(market: Market) -> float:
    labels = np.array(market.sectors)
    caps = [
        LinearLimit((labels == s).astype(float), -np.inf, SECTOR_CAP, f"{s} minimum", f"{s} maximum")
        for s in sorted(set(market.sectors))
    ]
    return certified(pose(market, MaximizeRatio(RISK_FREE), *caps))


def frontier(problem: Problem) -> EfficientFrontier:
    found = efficient_frontier(problem, FrontierRequest(FRONTIER_POINTS, RISK_FREE), Settings())
    if found.status is not Status.OPTIMAL:
        raise RuntimeError(found.message)
    return found


def exact(market: Market) -> EfficientFrontier:
    problem = pose(market, MinimizeRisk())
    dense = Moments(market.names, problem.moments.mu, sample(market.R).Sigma)
    return frontier(replace(problem, moments=dense, measure=Volatility(dense)))


def minimum_cvar(market: Market) -> float:
    return certified(pose_over(market, "cvar"))


def cvar_frontier(market: Market) -> float:
    return float(len(frontier(pose_over(market, "cvar")).points))


_BEFORE: dict[tuple[str, ...], Vector] = {}


def warm_cvar(market: Market) -> float:
    """A lower cap, from the solution at the old one, which the first run finds."""
    if market.names not in _BEFORE:
        x = solved(pose_over(market, "cvar")).x
        assert x is not None
        _BEFORE[market.names] = x
    certificate = solved(pose_over(market, "cvar", 0.9 * CAP), _BEFORE[market.names]).certificate
    assert certificate is not None
    return certificate.objective


def minimum_variance_of(assets: int) -> float:
    return minimum_variance(synthetic(assets))


def factors_of(assets: int) -> float:
    return certified(least_tracking_error(assets))


def many_scenarios(market: Market) -> float:
    del market
    return certified(pose_over(synthetic(50, 100_000), "cvar", 0.2))


def minimum_gini(market: Market) -> float:
    del market
    return certified(pose_over(synthetic(100, 1_000), "gini"))


def many_portfolios(market: Market) -> float:
    """Utilities of many holders, who differ in their risk aversion and in their caps."""
    del market
    problem = pose(synthetic(PORTFOLIO_ASSETS), MinimizeRisk())
    draws = np.random.default_rng(1).uniform(size=(PORTFOLIOS, 2))
    total = 0.0
    for aversion, cap in draws.tolist():
        own = MaximizeUtility(1.0 + 9.0 * aversion)
        total += certified(replace(problem, objective=own, constraints=limits(PORTFOLIO_ASSETS, 0.1 + 0.2 * cap)))
    return total / PORTFOLIOS


def pose_risk(market: Market) -> Problem:
    """The covariance alone and no cap, for methods that look at risk only; as a matrix, whose entries they read."""
    n = len(market.names)
    moments = Moments(market.names, np.zeros(n), Quadratic(sample(market.R).Sigma))  # semidefinite by its making
    return Problem(moments, MinimizeRisk(), Volatility(moments), limits(n, 1.0))


def equal_contributions(market: Market) -> float:
    """The largest error of a share of the risk, relative."""
    budgets = asset_budgets(market.names, np.ones(len(market.names)))
    found = risk_parity(pose_risk(market), budgets, Settings())
    if found.solution.status is not Status.OPTIMAL or not found.largest_error < LARGEST_SHARE_ERROR:
        raise RuntimeError(f"{found.solution.message}; largest error of a share {found.largest_error:.1e}")
    return found.largest_error


def hierarchical(market: Market) -> float:
    """The volatility of hierarchical risk parity by single linkage, brought within the bounds."""
    n = len(market.names)
    problem, scenarios = pose_risk(market), Scenarios.history(market.names, market.R)
    order = in_order(problem.moments, scenarios, np.arange(n))
    found = hierarchical_portfolio(Universe(problem.moments, scenarios).of(order), HierarchyRequest(), Settings())
    assert found.weights is not None
    target = np.zeros(n)
    target[order] = found.weights
    solution = project(problem, target, Settings())
    if solution.status is not Status.OPTIMAL or solution.weights is None:
        raise RuntimeError(solution.message)
    return problem.moments.volatility(solution.weights)


def plan(periods: int) -> float:
    """The utility of a plan by months, with costs and impact, whose expected returns turn from month to month."""
    market = synthetic(PLAN_ASSETS)
    n, first = PLAN_ASSETS, pose(market, MinimizeRisk())
    w0, moments = np.full(n, 1.0 / n), first.moments
    priced = np.append(np.ones(n - 1), 0.0)  # the last stands for cash, which trades for nothing
    turned = [replace(moments, mu=np.roll(moments.mu, h)) for h in range(periods)]
    found = solve_plan(
        Plan(
            periods=tuple(Period(1.0 / 12.0, m, Volatility(m), limits(n, 0.1)) for m in turned),
            w0=w0,
            objective=MaximizeUtility(5.0),
            trading=TradingCost(0.001 * priced, w0, impact=0.05 * priced),
        ),
        Settings(),
    ).solution
    if found.certificate is None or not found.certificate.gap < LARGEST_PLAN_GAP:
        raise RuntimeError(found.message)
    return found.certificate.objective


def taxable(names: int) -> float:
    """The gap of a plan for a taxable account, ten lots per name."""
    found = plan_trades(taxable_account(names))
    if not found.feasible:
        raise RuntimeError(found.message)
    return found.gap


def walk_forward(market: Market) -> float:
    """The share of months inside the band: minimum variance over ten years, from two years of days each."""
    del market
    history = synthetic(VALIDATED_ASSETS, VALIDATED_DAYS)
    n, growth = VALIDATED_ASSETS, np.vstack([np.ones(VALIDATED_ASSETS), np.cumprod(1.0 + history.R, axis=0)])
    inputs = MarketInputs(
        portfolio_id="bench",
        pricing_pack_id="bench",
        assets=tuple(Asset(name, "", "equity", None) for name in history.names),
        dates=np.busday_offset("2010-01-04", np.arange(len(growth))),
        closes=100.0 * growth,
        w0=np.full(n, 1.0 / n),
        cash_weight=0.0,
        value=Decimal(1_000_000),
    )
    asked = OptimizationSpec("bench", "mean_variance", "minimize_risk", "volatility", ModelSpec(RISK_FREE), 60.0)
    posed = ValidationSpec(asked, ScheduleSettings(), 0.001, Band())
    found = conclude(inputs, posed, run_windows(inputs, posed))
    if any(window.outcome != "optimal" for window in found.windows):
        raise RuntimeError("a window has no optimum")
    return found.report.share_inside or 0.0


def shrinkage(market: Market) -> float:
    return ledoit_wolf(market.R).shrinkage or 0.0


WORKLOADS = (
    Workload("min_variance", "minimum variance, cap 5%", ">= 8", minimum_variance, compared=True),
    Workload("max_sharpe_sectors", "maximum Sharpe, sector caps 30%", ">= 6", maximum_sharpe, compared=True),
    Workload("frontier_20", "frontier, 20 points", ">= 100", lambda m: float(len(exact(m).points))),
    # Beside the peers' 20 points: their own exact frontier takes minutes at this size.
    Workload(
        "frontier_exact",
        "exact frontier, all corners",
        ">= 100",
        lambda m: float(len(exact(m).turning_points)),
        peer_key="frontier_20",
    ),
    Workload("min_cvar", "minimum CVaR 95%", ">= 10", minimum_cvar, compared=True),
    Workload("cvar_frontier_20", "CVaR frontier, 20 points", ">= 40", cvar_frontier, runs=2),
    Workload("risk_parity", "equal risk contributions", ">= 60", equal_contributions, error="of a share"),
    Workload("hrp", "hierarchical risk parity", ">= 25", hierarchical),
    Workload("ledoit_wolf", "Ledoit-Wolf", "-", shrinkage),
    Workload("warm_cvar", "CVaR again, another cap, warm", "> 1", warm_cvar, beside="min_cvar"),
    Workload("variance_500", "minimum variance, 500 assets", "-", lambda _: minimum_variance_of(500)),
    Workload(
        "variance_2000",
        "minimum variance, 2,000 assets",
        "> 0.1",
        lambda _: minimum_variance_of(2_000),
        beside="variance_500",
    ),
    Workload("factors_dense", "CVXPY, 2,000 assets, 40 factors", "-", lambda _: by_cvxpy(FACTOR_ASSETS), runs=1),
    Workload(
        "factors",
        "tracking error, the same, by factors",
        ">= 10",
        lambda _: factors_of(FACTOR_ASSETS),
        compared=True,
        beside="factors_dense",
    ),
    Workload("many_scenarios", "minimum CVaR, 100,000 x 50", "seconds", many_scenarios, runs=2),
    Workload("gini", "minimum Gini, 1,000 x 100", "seconds", minimum_gini, runs=1),
    Workload("plan_3", "plan of 3 periods, 100 assets", "-", lambda _: plan(3)),
    Workload("plan_12", "plan of 12 periods, 100 assets", "> 0.2", lambda _: plan(12), beside="plan_3"),
    Workload("taxable_30", "plan 30x300, with taxes", "< 2 s", lambda _: taxable(30)),
    Workload("taxable_500", "plan 500x5000, with taxes", "< 30 s", lambda _: taxable(500), runs=1),
    Workload("validation", "walk-forward, 10 years, 20 assets", "seconds", walk_forward, runs=2),
    Workload("portfolios", "one of 10,000 portfolios of 30", "<= 1 ms", many_portfolios, pieces=PORTFOLIOS, runs=1),
)
