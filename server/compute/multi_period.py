"""Solves multi_period requests: the limits of the request in every period, and a plan over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kernel.constraints import Constraint, RiskLimit, TradeLimits
from kernel.estimation.psd import repair
from kernel.multi_period import HoldingRates, Period, Plan, PlannedPeriod, solve_plan
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Matrix, Quadratic
from server.compute.estimate import PERIODS_PER_YEAR, Estimate
from server.compute.inputs import Floats, MarketInputs
from server.compute.limits import Ground, constraints
from server.compute.measures import measure_of, measure_of_request
from server.compute.problem import build_problem, trading_cost
from server.compute.solved import Solved
from server.method_specs import MultiPeriodSpec, PeriodSpec
from server.specs import OptimizationSpec

# A covariance that is farther from positive semidefinite is none.
_ROUNDING = 1e-8


@dataclass(frozen=True, slots=True)
class PlanEvidence:
    """A plan.

    Attributes:
        days: (H,) lengths of the periods.
        objective_value: Of the whole plan.
    """

    periods: tuple[PlannedPeriod, ...]
    days: tuple[int, ...]
    objective_value: float


def solve_multi_period(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """The best plan; its first period is the answer.

    Raises:
        ProblemError: The plan cannot be posed.
    """
    asked = spec.method
    assert isinstance(asked, MultiPeriodSpec)
    problem = build_problem(inputs, estimated, spec)
    plan = Plan(
        periods=tuple(
            _period(k, Ground(inputs, _in_period(k, inputs, estimated, period), spec.model, None), spec)
            for k, period in enumerate(asked.periods)
        ),
        w0=inputs.weights_with_cash,
        objective=problem.objective,
        trading=trading_cost(inputs, estimated, spec),
        holding=HoldingRates(asked.holding_cost, asked.borrow_cost),
        turnover_factor=1.0 if spec.constraints.two_way_turnover else 0.5,
        largest_trades=_largest_trades(problem),
        terminal=_terminal(inputs, asked),
    )
    found = solve_plan(plan, settings)
    if found.solution.certificate is None or not found.periods:
        return Solved(problem, found.solution)
    days = tuple(period.days for period in asked.periods)
    return Solved(problem, found.solution, PlanEvidence(found.periods, days, found.solution.certificate.objective))


def _in_period(k: int, inputs: MarketInputs, estimated: Estimate, period: PeriodSpec) -> Estimate:
    """The estimate with the moments of a period, whose covariance need not be that of a factor model any more."""
    known = estimated.moments
    own = period.expected_returns
    mu = np.array([own.get(name, mean) for name, mean in zip(inputs.ids, known.mu[:-1].tolist(), strict=True)])
    covariance: Matrix | Quadratic = known.covariance
    if period.Sigma is not None:
        covariance = _own_covariance(k, inputs, period, period.Sigma)
    elif period.covariance_scale != 1.0:
        covariance = known.quadratic.scaled(period.covariance_scale)
    moments = Moments(known.names, np.append(mu, known.mu[-1]), covariance)
    return replace(estimated, moments=moments, factor_model=None)


def _own_covariance(k: int, inputs: MarketInputs, period: PeriodSpec, Sigma: Floats) -> Matrix:
    place = {name: k for k, name in enumerate(period.names)}
    order = [place[name] for name in inputs.ids]
    field = f"multi_period.periods[{k}].covariance"
    return np.pad(repair(Sigma[np.ix_(order, order)], field=field, max_distance=_ROUNDING).Sigma, (0, 1))


def _period(k: int, ground: Ground, spec: OptimizationSpec) -> Period:
    assert isinstance(spec.method, MultiPeriodSpec)
    asked, limits = spec.method.periods[k], spec.constraints
    return Period(
        years=asked.days / PERIODS_PER_YEAR,
        moments=ground.estimated.moments,
        measure=measure_of_request(ground.inputs, ground.estimated, spec),
        constraints=tuple(_limits(ground, spec, asked)),
        cash_flow=asked.cash_flow,
        max_turnover=limits.max_turnover if asked.max_turnover is None else asked.max_turnover,
        target_return=limits.target_return,
    )


def _limits(ground: Ground, spec: OptimizationSpec, asked: PeriodSpec) -> Iterator[Constraint]:
    """The limits on a period's weights alone; the plan poses those on trades and on returns after costs."""
    own = replace(spec.constraints, max_turnover=None, max_trade_size=None, max_trade_sizes={}, target_return=None)
    if asked.max_volatility is not None:
        own = replace(own, target_volatility=None)
    yield from constraints(ground, own)
    if asked.max_volatility is not None:
        volatility = measure_of("volatility", ground.estimated, ground.model)
        yield RiskLimit("max_volatility", volatility, asked.max_volatility)


def _largest_trades(problem: Problem) -> tuple[tuple[str, ...], Floats] | None:
    """The largest trades of the request, which hold in every period."""
    for limit in problem.constraints:
        if isinstance(limit, TradeLimits):
            return limit.names, limit.limits
    return None


def _terminal(inputs: MarketInputs, asked: MultiPeriodSpec) -> Floats | None:
    if not asked.terminal_weights:
        return None
    return np.array([asked.terminal_weights.get(name, 0.0) for name in inputs.names])
