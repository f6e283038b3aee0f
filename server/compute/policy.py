"""A stored policy applied to a loaded portfolio, in a solver process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from kernel.measures.volatility import TrackingError
from kernel.rebalancing.policy import PolicyTarget, policy_target
from kernel.rebalancing.policy_case import OnConflict, PolicyCase, PolicyLimits
from kernel.rebalancing.policy_trades import with_target
from kernel.rebalancing.request import TrackingRisk, TradeRequest
from server.compute.estimate import Estimate, estimate
from server.compute.inputs import MarketInputs
from server.compute.measures import tracking_error
from server.compute.optimization import solver_settings
from server.errors import NotReady
from server.listing import listed
from server.specs import CASH, ModelSpec

# Of the covariance in which the benchmark is one more instrument.
_BENCHMARK = "benchmark"
# Of a plan's time, what its target may take.
_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PolicyInputs:
    """What is applied.

    Attributes:
        limits: Of the policy.
        own: Of the request beside it, which are never loosened.
        scores: Quality by instrument, None where nobody has stated one.
    """

    policy_id: str
    version: int
    limits: PolicyLimits
    scores: Mapping[str, Decimal | None]
    own: PolicyLimits = field(default_factory=PolicyLimits)
    on_conflict: OnConflict = OnConflict.FAIL
    relax_order: tuple[str, ...] = ()


def find_policy_target(
    policy: PolicyInputs, market: MarketInputs, estimated: Estimate, trading: TradeRequest, time_limit_seconds: float
) -> PolicyTarget:
    """Where a policy leads a portfolio.

    Args:
        policy: What is applied.
        market: The universe, with the benchmark.
        estimated: Of the universe.
        trading: Names what may not be traded and how much cash has to stay.
        time_limit_seconds: Of the plan; half of it is for its target.

    Raises:
        NotReady: The policy limits the tracking error, and there is no benchmark that it can be measured against.
    """
    case = PolicyCase(
        names=market.names,
        w0=market.weights_with_cash,
        scores=policy.scores,
        sectors={asset.id: asset.sector for asset in market.assets},
        limits=policy.limits,
        own=policy.own,
        tracking=None if policy.limits.max_tracking_error is None else _tracking(policy, market, estimated),
        min_cash=max(float(trading.limits.min_cash / market.value), 0.0),
        do_not_buy=trading.limits.do_not_buy,
        do_not_sell=trading.limits.do_not_sell,
        on_conflict=policy.on_conflict,
        relax_order=policy.relax_order,
    )
    return policy_target(case, solver_settings(_SHARE * time_limit_seconds))


def _tracking(policy: PolicyInputs, market: MarketInputs, estimated: Estimate) -> TrackingError:
    given = market.benchmark
    if given is None:
        text = f"policy {policy.policy_id} limits the tracking error, but the portfolio has no benchmark"
        raise NotReady(text)
    outside = sorted(set(given.weights or {}) - {*market.ids, CASH})
    if given.closes is None and (outside or not given.weights):
        lacks = f"weights in {listed(outside)} outside of the universe" if outside else "no weights"
        text = f"policy {policy.policy_id} limits the tracking error, but benchmark {given.id} has {lacks}"
        raise NotReady(f"{text} and no price series in the pricing pack")
    return tracking_error(market, estimated)


def policy_trading(trading: TradeRequest, target: PolicyTarget) -> TradeRequest:
    """The trading problem towards a policy's target, with the covariance that its tracking error needs.

    Args:
        trading: Without target.
        target: With weights.
    """
    aimed = with_target(trading, target)
    measure = target.case.tracking
    if not isinstance(measure, TrackingError):
        return aimed
    risk = against_benchmark(measure, target.case.instruments)
    return replace(aimed, risk=risk if trading.risk is None else replace(risk, aversion=trading.risk.aversion))


def against_benchmark(measure: TrackingError, names: tuple[str, ...]) -> TrackingRisk:
    """||root w - shift|| as the risk of weights less those of one more instrument, the benchmark itself.

    So it is the same measure whether the benchmark is known by its weights or by its prices.

    Args:
        measure: Of weights (n,) or, with cash last, (n + 1,).
        names: (n,) instruments.
    """
    n = len(names)
    root = measure.root if isinstance(measure.root, np.ndarray) else measure.root.toarray()
    factors = np.vstack([root[:, :n].T, measure.shift])
    return TrackingRisk((*names, _BENCHMARK), factors, np.zeros(n + 1), np.append(np.zeros(n), 1.0))


@dataclass(frozen=True, slots=True)
class PolicyTargetInputs:
    """What the question where a policy leads a portfolio depends on."""

    policy: PolicyInputs
    market: MarketInputs
    trading: TradeRequest
    model: ModelSpec
    time_limit_seconds: float


def run_policy_target(inputs: PolicyTargetInputs) -> PolicyTarget:
    """Where the policy leads when turnover does not count: what drift is measured from."""
    policy = inputs.policy
    freely = replace(
        policy,
        limits=replace(policy.limits, max_turnover=None),
        own=replace(policy.own, max_turnover=None),
    )
    estimated = estimate(inputs.market, inputs.model)
    return find_policy_target(freely, inputs.market, estimated, inputs.trading, inputs.time_limit_seconds)
