"""Plans: trades over several periods, by one convex program that keeps its block structure.

    maximise  sum_h tau_h V_h (mu_h'w_h - A penalty_h(risk_h(w_h)))  -  sum_h cost_h
    subject to  every limit in every period, and of the last the terminal weights

over the weights of all periods together. Weights change by trades alone, as the drift within a plan is not known; the
return counts by the length of a period, while trades are paid once. With one period of a year it is the problem of a
single period.

References: Boyd, Busseti, Diamond, Kahn, Koh, Nystrup & Speth (2017), Multi-period trading via convex optimization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import (
    Constraint,
    NetReturnFloor,
    NumberOfPositions,
    RiskBudgets,
    RiskLimit,
    SmallestPosition,
    WholeLots,
)
from kernel.costs import Deductions, TradingCost
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure
from kernel.methods.mean_risk import optimize
from kernel.multi_period.costs import NO_RATES, HoldingRates, PeriodCost
from kernel.multi_period.evidence import PlannedPeriod
from kernel.multi_period.limits import InPeriod, PeriodTradeLimits, PeriodTurnover, TerminalWeights, turnover
from kernel.multi_period.risk import PlanRisk
from kernel.multi_period.timeline import Timeline
from kernel.objectives import Objective
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Quadratic
from kernel.solution import ConstraintReport, Solution

_SINGLE_PERIOD = (NumberOfPositions, RiskBudgets, SmallestPosition, WholeLots)
_ROUNDING = 1e-8


@dataclass(frozen=True, slots=True)
class Period:
    """What is expected and asked of one period.

    Attributes:
        years: Its length tau.
        moments: Annual, cash last.
        measure: Of its risk.
        constraints: Limits on its weights alone.
        cash_flow: Paid in at its start, a fraction of the present value.
        max_turnover: As a fraction of the value in the period; None = no limit.
        target_return: Least annual return after the period's own costs; None = no limit.
    """

    years: float
    moments: Moments
    measure: RiskMeasure
    constraints: tuple[Constraint, ...]
    cash_flow: float = 0.0
    max_turnover: float | None = None
    target_return: float | None = None


@dataclass(frozen=True)
class Plan:
    """A plan to be found.

    Attributes:
        periods: In the order of time.
        w0: (n,) current weights.
        objective: `MinimizeRisk`, `MaximizeReturn` or `MaximizeUtility`.
        trading: What trades cost in every period, without impact of cash; its tax on sales counts in the first alone.
            None = nothing.
        turnover_factor: 1/2 for the one-way definition, 1 for the two-way.
        largest_trades: (n,) in every period as fractions of its value, each under its name; None = no limit.
        terminal: (n,) weights that the last period must end with; None = free.

    Raises:
        ProblemError: It cannot be posed.
    """

    periods: tuple[Period, ...]
    w0: Vector
    objective: Objective
    trading: TradingCost | None = None
    holding: HoldingRates = NO_RATES
    turnover_factor: float = 0.5
    largest_trades: tuple[tuple[str, ...], Vector] | None = None
    terminal: Vector | None = None

    def __post_init__(self) -> None:
        if not self.periods:
            raise ProblemError("periods", "must be at least one")
        if self.objective.homogeneous:
            raise ProblemError("objective", "is a ratio, which periods cannot share: a plan needs a sum over them")
        if self.trading is not None and self.trading.fixed is not None and self.trading.fixed.any():
            raise ProblemError("cost.fixed", "cannot be kept by a plan: charges for trading at all are not convex")
        if self.trading is not None and self.trading.impact is not None and self.trading.impact[-1] != 0.0:
            raise ProblemError("cost.impact", f"of cash, which is last, must be 0, not {self.trading.impact[-1]:g}")
        for h, period in enumerate(self.periods):
            _check(h, period, self.periods[0])
        if self.terminal is not None and not abs(float(self.terminal.sum()) - 1.0) <= _ROUNDING:
            raise ProblemError("terminal_weights", f"must add up to 1, not {float(self.terminal.sum()):.10g}")

    @cached_property
    def timeline(self) -> Timeline:
        """Where the weights of each period stand."""
        years = np.array([period.years for period in self.periods])
        return Timeline(self.w0, years, np.array([period.cash_flow for period in self.periods]))

    def cost(self, h: int, scale: float = 1.0) -> PeriodCost | None:
        """What period h costs; None where nothing ever does."""
        if self.trading is None and self.holding == NO_RATES:
            return None
        return PeriodCost(self.timeline, h, self.trading, self.holding, scale)


@dataclass(frozen=True, slots=True)
class PlanSolution:
    """The weights of the first period, certified by the whole plan, and the periods; empty without weights."""

    solution: Solution
    periods: tuple[PlannedPeriod, ...] = ()


def solve_plan(plan: Plan, settings: Settings) -> PlanSolution:
    """The best plan.

    Args:
        plan: What is asked.
        settings: How far to go.

    Returns:
        The solution of the whole plan with the first period's weights, and what is planned for every period.

    Raises:
        ProblemError: The plan cannot be posed.
    """
    solution = optimize(plan_problem(plan), settings)
    W = solution.weights
    if W is None:
        return PlanSolution(solution)
    first = replace(solution, weights=W[plan.timeline.place(0)], constraints=_tightest(solution.constraints))
    return PlanSolution(first, tuple(_planned(plan, W, h) for h in range(len(plan.periods))))


def plan_problem(plan: Plan) -> Problem:
    """The plan as one problem over the weights of all periods."""
    timeline = plan.timeline
    costs = [cost for h in range(timeline.count) if (cost := plan.cost(h)) is not None]
    return Problem(
        moments=_moments(plan),
        objective=plan.objective,
        measure=PlanRisk(tuple(period.measure for period in plan.periods), timeline),
        constraints=tuple(_constraints(plan)),
        cost=Deductions(tuple(costs)) if costs else None,
    )


def _check(h: int, period: Period, first: Period) -> None:
    if period.moments.names != first.moments.names:
        raise ProblemError(f"periods[{h}]", "has other assets than the first")
    if period.measure.name != first.measure.name:
        raise ProblemError(f"periods[{h}]", f"has the risk measure {period.measure.name}, not {first.measure.name}")
    measures = [limit.measure_of_risk for limit in period.constraints if isinstance(limit, RiskLimit)]
    if any(measure.name == "var" for measure in (period.measure, *measures)):
        raise ProblemError("risk_measure", "var is not convex and cannot be planned over periods")
    if any(isinstance(limit, _SINGLE_PERIOD) for limit in period.constraints):
        raise ProblemError("constraints", "that are not convex cannot be planned over periods")
    asked = period.max_turnover
    if asked is not None and not (np.isfinite(asked) and asked >= 0.0):
        raise ProblemError("max_turnover", f"must be finite and not negative, not {asked}")


def _moments(plan: Plan) -> Moments:
    """Returns by length and value; the covariance tells sizes alone."""
    timeline, periods = plan.timeline, plan.periods
    names = [f"{name}{timeline.suffix(h)}" for h, p in enumerate(periods) for name in p.moments.names]
    mu = [share * p.moments.mu for p, share in zip(periods, timeline.shares.tolist(), strict=True)]
    blocks = {timeline.place(h).start: p.moments.quadratic for h, p in enumerate(periods)}
    return Moments(tuple(names), np.concatenate(mu), Quadratic.along_diagonal(blocks))


def _constraints(plan: Plan) -> Iterator[Constraint]:
    """The limits of each period, bounds first as they come; then those on trades and on returns after costs."""
    timeline = plan.timeline
    for h, period in enumerate(plan.periods):
        yield from (InPeriod(constraint, timeline, h) for constraint in period.constraints)
        if period.max_turnover is not None:
            yield PeriodTurnover("max_turnover", period.max_turnover, timeline, h, plan.turnover_factor)
        if plan.largest_trades is not None:
            yield PeriodTradeLimits(*plan.largest_trades, timeline, h)
        if period.target_return is not None:
            yield _return_floor(plan, h, period.target_return)
    if plan.terminal is not None:
        names = tuple(f"terminal_weights[{name}]" for name in plan.periods[0].moments.names)
        yield TerminalWeights(names, plan.terminal, timeline)


def _return_floor(plan: Plan, h: int, floor: float) -> NetReturnFloor:
    """The annual return of period h less its costs, spread over its length."""
    timeline = plan.timeline
    mu = np.zeros(timeline.n * timeline.count)
    mu[timeline.place(h)] = plan.periods[h].moments.mu
    name = f"target_return{timeline.suffix(h)}"
    return NetReturnFloor(name, mu, floor, plan.cost(h, 1.0 / float(timeline.shares[h])))


def _tightest(reports: tuple[ConstraintReport, ...]) -> tuple[ConstraintReport, ...]:
    """Of limits of one name, such as the budget of every period, the one with the least room."""
    tightest: dict[str, ConstraintReport] = {}
    for report in reports:
        known = tightest.setdefault(report.name, report)
        if report.slack < known.slack:
            tightest[report.name] = report
    return tuple(tightest.values())


def _planned(plan: Plan, W: Vector, h: int) -> PlannedPeriod:
    timeline, moments = plan.timeline, plan.periods[h].moments
    w, cost = W[timeline.place(h)], plan.cost(h)
    return PlannedPeriod(
        weights=w,
        trades=timeline.trades(W, h),
        value=float(timeline.values[h]),
        expected_return=float(moments.mu @ w),
        volatility=moments.volatility(w),
        turnover=turnover(PeriodTurnover("", 0.0, timeline, h, plan.turnover_factor), W),
        trading_cost=0.0 if cost is None else cost.trading_of(W),
        holding_cost=0.0 if cost is None else cost.holding_of(W),
    )
