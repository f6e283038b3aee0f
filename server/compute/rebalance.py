"""One rebalance plan, from its inputs to trades, their order, their tax, and what they improve."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from kernel import performance
from kernel.errors import ProblemError
from kernel.rebalancing.costs import PowerImpact
from kernel.rebalancing.policy import PolicyTarget
from kernel.rebalancing.policy_trades import PolicyPlan, plan_policy, policy_remarks
from kernel.rebalancing.remarks import Remark
from kernel.rebalancing.request import TradeRequest
from kernel.rebalancing.strategies import Strategy, StrategyKind, apply_strategy, strategy_remarks
from kernel.rebalancing.trades import TradePlan, plan_trades
from kernel.solution import Explanation, Solution
from kernel.status import Status
from server.compute.estimate import Estimate
from server.compute.inputs import Floats, MarketInputs
from server.compute.measures import tracking_error
from server.compute.memory import remembered_estimate
from server.compute.optimization import OptimizationAnswer, measure_weights, run_optimization
from server.compute.policy import PolicyInputs, against_benchmark, find_policy_target, policy_trading
from server.compute.sequence import SequenceContext, Sequenced, daily_volatilities, sequence_plan
from server.compute.tax_context import TaxContext
from server.compute.taxes import TaxAssessment, assess, trade_tax
from server.compute.trading import needs_risk, tracking_risk, with_universe
from server.compute.weights import exact_weights
from server.errors import InvalidRequest, NotReady
from server.listing import listed
from server.rebalance_specs import RebalanceSpec, StrategySpec
from server.specs import ModelSpec, OptimizationSpec

_DAYS_PER_YEAR = 252.0

Estimator = Callable[[MarketInputs, ModelSpec], Estimate]


@dataclass(frozen=True, slots=True)
class RebalanceInputs:
    """What a plan is made from.

    Attributes:
        market: The universe: holdings and targets.
        trading: Holdings, cash, prices and limits; the target is empty where it is found here.
        model: Estimators of the expected improvement.
        optimization: The optimization that finds the target, for the target type optimal.
        policy: The policy that finds it, for the target type policy.
        price_limits: Whether the price of each binding limit is found.
    """

    market: MarketInputs
    trading: TradeRequest
    spec: RebalanceSpec
    taxes: TaxContext
    sequence: SequenceContext
    model: ModelSpec
    optimization: OptimizationSpec | None = None
    policy: PolicyInputs | None = None
    price_limits: bool = True


@dataclass(frozen=True, slots=True)
class MissingTarget:
    """Why there is nothing to trade towards."""

    status: Status
    message: str
    explanation: Explanation | None = None
    solution: Solution | None = None


@dataclass(frozen=True, slots=True)
class RebalanceAnswer:
    """A plan with its tax and what it improves. `plan` is None when no target was found.

    Attributes:
        missing: Why there is no target, where there is none.
        before, after, estimate: None where prices do not serve for an estimate and nothing needs one.
        policy: The plan with what was loosened for it, for the target type policy.
        remarks: Of the strategy and of the estimate.
        processor_seconds: Of the whole plan.
    """

    target: Mapping[str, Decimal]
    plan: TradePlan | None
    taxes: TaxAssessment | None
    sequenced: Sequenced | None
    missing: MissingTarget | None
    before: performance.PerformanceReport | None
    after: performance.PerformanceReport | None
    estimate: Estimate | None
    policy: PolicyPlan | None
    remarks: tuple[Remark, ...]
    solve_seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class _Aim:
    """Where a plan is to lead: weights, or why there are none."""

    estimated: Estimate | None
    weights: Mapping[str, Decimal] | None
    missing: MissingTarget | None = None
    policy: PolicyTarget | None = None
    remarks: tuple[Remark, ...] = ()


def run_rebalance(inputs: RebalanceInputs, estimator: Estimator = remembered_estimate) -> RebalanceAnswer:
    """Find the target where it is to be found, then the trades, their order, their tax, and what they improve.

    Args:
        inputs: Of the plan.
        estimator: Makes the estimate of a market by a model.

    Raises:
        NotReady: A limit or the target needs an estimate, and prices do not serve for one.
    """
    started, worked = time.perf_counter(), time.process_time()
    aim = _aim(inputs, estimator)
    plan, policy, remarks = (None, None, ()) if aim.weights is None else _plan(inputs, aim, aim.weights)
    sequenced = None if plan is None else sequence_plan(plan, inputs.trading, inputs.market, inputs.sequence)
    return RebalanceAnswer(
        target=aim.weights or {},
        plan=plan,
        taxes=None if plan is None or sequenced is None else _assessed(inputs, plan, sequenced),
        sequenced=sequenced,
        missing=aim.missing,
        before=_measured(inputs, aim.estimated, inputs.market.weights_with_cash),
        after=None if plan is None else _measured(inputs, aim.estimated, _planned(inputs, plan)),
        estimate=aim.estimated,
        policy=policy,
        remarks=(*aim.remarks, *remarks),
        solve_seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - worked,
    )


def _aim(inputs: RebalanceInputs, estimator: Estimator) -> _Aim:
    if inputs.optimization is not None:
        optimized, remarks = _optimized(inputs, inputs.optimization)
        solution = optimized.solution
        if solution.weights is None:
            missing = MissingTarget(solution.status, solution.message, solution.explanation, solution)
            return _Aim(optimized.estimate, None, missing)
        named = dict(zip(optimized.names, solution.weights.tolist(), strict=True))
        return _Aim(optimized.estimate, exact_weights(named), remarks=remarks)
    if inputs.policy is not None:
        estimated = estimator(inputs.market, inputs.model)
        seconds = inputs.trading.search.time_limit_seconds
        policy = find_policy_target(inputs.policy, inputs.market, estimated, inputs.trading, seconds)
        if policy.weights is None:
            missing = MissingTarget(policy.status, policy.message, policy.explanation)
            return _Aim(estimated, None, missing, remarks=policy_remarks(policy))
        return _Aim(estimated, policy.weights, policy=policy)
    try:
        return _Aim(estimator(inputs.market, inputs.model), inputs.trading.target_weights)
    except NotReady as error:
        if needs_risk(inputs.spec.distance, inputs.trading.limits):
            raise
        remark = Remark("no_estimate", "", f"what the plan improves is not estimated: {error}")
        return _Aim(None, inputs.trading.target_weights, remarks=(remark,))


def _optimized(inputs: RebalanceInputs, asked: OptimizationSpec) -> tuple[OptimizationAnswer, tuple[Remark, ...]]:
    """The optimization without more of what may not be bought, and as asked where there is none like that."""
    barred = [name for name in inputs.market.ids if name in inputs.trading.limits.do_not_buy]
    if barred:
        try:
            found = run_optimization(inputs.market, _without_purchases(asked, inputs.market, barred))
        except (ProblemError, InvalidRequest):
            found = None
        if found is not None and found.solution.weights is not None:
            text = f"the target has no more than is held of {listed(barred)}, which may not be bought"
            return found, (Remark("restricted", "", text),)
    return run_optimization(inputs.market, asked), ()


def _without_purchases(asked: OptimizationSpec, market: MarketInputs, barred: Sequence[str]) -> OptimizationSpec:
    """The optimization with the present weights as the largest of what may not be bought."""
    limits, now = asked.constraints, dict(zip(market.ids, market.w0.tolist(), strict=True))
    usual = math.inf if limits.max_position_size is None else limits.max_position_size
    most = {name: min(max(now[name], 0.0), limits.max_weights.get(name, usual)) for name in barred}
    return replace(asked, constraints=replace(limits, max_weights={**limits.max_weights, **most}))


def _plan(
    inputs: RebalanceInputs, aim: _Aim, target: Mapping[str, Decimal]
) -> tuple[TradePlan, PolicyPlan | None, tuple[Remark, ...]]:
    strategy = _strategy(inputs.spec.strategy)
    trading = _trading(inputs, aim.estimated, target)
    if aim.policy is not None:
        trading = policy_trading(trading, aim.policy)
    outcome = apply_strategy(trading, strategy)
    partly = strategy.kind is not StrategyKind.FULL
    policy = None if aim.policy is None else plan_policy(outcome.request, aim.policy, no_worse=partly)
    plan = plan_trades(outcome.request) if policy is None else policy.plan
    said = () if policy is None else policy.remarks
    return plan, policy, (*outcome.remarks, *said, *strategy_remarks(plan, target, strategy))


def _measured(inputs: RebalanceInputs, estimated: Estimate | None, w: Floats) -> performance.PerformanceReport | None:
    return None if estimated is None else measure_weights(inputs.market, estimated, inputs.model, w)


def _strategy(spec: StrategySpec) -> Strategy:
    return Strategy(StrategyKind(spec.strategy), spec.cash_flow, spec.drift_measure, spec.threshold)


def _trading(inputs: RebalanceInputs, estimated: Estimate | None, target: Mapping[str, Decimal]) -> TradeRequest:
    """The trading problem with everything that the universe adds to it."""
    spec, market = inputs.spec, inputs.market
    trading = with_universe(replace(inputs.trading, target_weights=target), spec, market)
    risk = None
    if estimated is not None and needs_risk(spec.distance, trading.limits):
        risk = tracking_risk(estimated.moments, target, spec.risk_aversion)
        if spec.tracking_benchmark_id:
            risk = against_benchmark(tracking_error(market, estimated), market.ids)
    return replace(
        trading,
        costs=replace(trading.costs, power=_power_impacts(inputs)),
        distance=spec.distance,
        risk=risk,
        tax=trade_tax(inputs.taxes, spec.tax, [*trading.holdings, *target]),
        price_limits=inputs.price_limits,
    )


def _power_impacts(inputs: RebalanceInputs) -> dict[str, PowerImpact]:
    """The 3/2-power law of the instruments whose volume and volatility are known."""
    coefficient = inputs.spec.execution.impact_coefficient
    if coefficient is None:
        return {}
    volatilities = daily_volatilities(inputs.market)
    return {
        asset.id: PowerImpact(volatilities[asset.id], asset.daily_volume * asset.price, coefficient)
        for asset in inputs.market.assets
        if asset.daily_volume and asset.price and asset.id in volatilities
    }


def _assessed(inputs: RebalanceInputs, plan: TradePlan, sequenced: Sequenced) -> TaxAssessment:
    last_days = {order.instrument_id: order.slices[-1].day for order in sequenced.plan.orders}
    volatilities = _volatilities(inputs.market)
    return assess(inputs.taxes, inputs.spec.tax, plan, inputs.trading.prices, volatilities, last_days=last_days)


def _volatilities(market: MarketInputs) -> dict[str, float]:
    """Annual, by instrument."""
    return {name: float(value) * _DAYS_PER_YEAR**0.5 for name, value in daily_volatilities(market).items()}


def _planned(inputs: RebalanceInputs, plan: TradePlan) -> Floats:
    return np.array([float(plan.planned_allocation.get(name, Decimal(0))) for name in inputs.market.names])
