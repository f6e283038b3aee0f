"""Policies and preferences as plans need them: a policy with its limits, and requests filled from what is preferred."""

from __future__ import annotations

from portfolio_optimization.v1 import policies_pb2, portfolio_data_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.policy_case import OnConflict, PolicyLimits
from server.compute.policy import PolicyInputs
from server.convert.accounts import from_json
from server.errors import Fault, InvalidRequest, NotReady
from server.loading import Holdings
from server.rebalance_specs import PolicySpec, RebalanceSpec
from storage.database import Database
from storage.policies import Policy, PolicyRepository
from storage.records import Portfolio


async def load_policy(database: Database, spec: PolicySpec) -> Policy:
    """The version of a policy that a request names.

    Raises:
        NotFound: There is no such policy, or it has no such version.
    """
    async with database.transaction() as connection:
        return await PolicyRepository(connection).find(spec.policy_id, spec.version)


def policy_inputs(policy: Policy, spec: RebalanceSpec, holdings: Holdings) -> PolicyInputs:
    """A policy with what it needs to know of instruments and request.

    Raises:
        InvalidRequest: The request and the policy both limit the tracking error.
        NotReady: The policy limits the tracking error of a portfolio without a benchmark.
    """
    assert spec.policy is not None
    if policy.max_tracking_error is not None and spec.limits.max_tracking_error is not None:
        reason = f"cannot stand beside that of policy {policy.id}, {policy.max_tracking_error}"
        raise InvalidRequest([Fault("constraints.max_tracking_error", reason)])
    positions = spec.positions
    own = PolicyLimits(
        max_single_position=positions.max_position,
        max_sector=positions.max_sector,
        max_turnover=spec.limits.max_turnover,
    )
    return plain_inputs(policy, spec.policy, holdings, own, benchmark_id=spec.benchmark_id)


def plain_inputs(
    policy: Policy,
    choice: PolicySpec,
    holdings: Holdings,
    own: PolicyLimits | None = None,
    *,
    benchmark_id: str = "",
) -> PolicyInputs:
    """A policy with what it needs to know of instruments.

    Args:
        policy: The version that is applied.
        choice: What happens when its limits contradict each other.
        holdings: The portfolio and its instruments.
        own: Limits beside the policy's.
        benchmark_id: In place of the portfolio's own.

    Raises:
        NotReady: The policy limits the tracking error of a portfolio without a benchmark.
    """
    portfolio = holdings.portfolio
    if policy.max_tracking_error is not None and not (benchmark_id or portfolio.benchmark_id):
        text = f"policy {policy.id} limits the tracking error to {policy.max_tracking_error}"
        raise NotReady(f"{text}, but portfolio {portfolio.id} has no benchmark")
    return PolicyInputs(
        policy_id=policy.id,
        version=policy.version,
        limits=limits_of(policy),
        scores={instrument.id: instrument.quality_score for instrument in holdings.instruments},
        own=own or PolicyLimits(),
        on_conflict=OnConflict(choice.on_conflict),
        relax_order=choice.relax_order,
    )


def limits_of(policy: Policy) -> PolicyLimits:
    """The limits of a stored policy."""
    return PolicyLimits(
        min_quality_score=policy.min_quality_score,
        max_single_position=policy.max_single_position,
        max_sector=policy.max_sector,
        max_tracking_error=policy.max_tracking_error,
        max_turnover=policy.max_turnover,
    )


def stored_preferences(portfolio: Portfolio) -> policies_pb2.RebalancingPreferences:
    """How the portfolio is to be rebalanced, as it was stored.

    Raises:
        NotReady: The preferences were brought in by a file and are not what the contract says.
    """
    what = f"preferences of portfolio {portfolio.id}"
    return from_json(portfolio.preferences, portfolio_data_pb2.PortfolioPreferences(), what).rebalancing


def with_preferences(message: pb.RebalancePlanRequest, portfolio: Portfolio) -> pb.RebalancePlanRequest:
    """The request with the portfolio's preferences where it says nothing itself.

    Limits are taken as a whole, where the request has none. What belongs to a target type, a strategy or a way out of
    conflicts is taken only with it.

    Args:
        message: A request for a plan.
        portfolio: Whose plan.

    Returns:
        A copy.

    Raises:
        NotReady: The preferences were brought in by a file and are not what the contract says.
    """
    filled, preferred = pb.RebalancePlanRequest(), stored_preferences(portfolio)
    filled.CopyFrom(message)
    filled.target_type = message.target_type or preferred.target_type
    if preferred.HasField("constraints") and not message.HasField("constraints"):
        filled.constraints.CopyFrom(preferred.constraints)
    _fill_target(filled, preferred)
    _fill_strategy(filled, preferred)
    return filled


def _fill_target(filled: pb.RebalancePlanRequest, preferred: policies_pb2.RebalancingPreferences) -> None:
    match filled.target_type:
        case "custom" if preferred.target_type == "custom" and not filled.custom_target:
            filled.custom_target.update(preferred.custom_target)
        case "optimization":
            filled.optimization_id = filled.optimization_id or preferred.optimization_id
        case "policy":
            _fill_policy(filled, preferred)


def _fill_policy(filled: pb.RebalancePlanRequest, preferred: policies_pb2.RebalancingPreferences) -> None:
    filled.policy_id = filled.policy_id or preferred.policy_id
    if preferred.HasField("on_conflict") and not filled.HasField("on_conflict"):
        filled.on_conflict = preferred.on_conflict
    if filled.on_conflict == pb.POLICY_CONFLICT_HANDLING_RELAX and not filled.relax_order:
        filled.relax_order.extend(preferred.relax_order)


def _fill_strategy(filled: pb.RebalancePlanRequest, preferred: policies_pb2.RebalancingPreferences) -> None:
    """A preferred cash-flow strategy needs a flow; a flow without a strategy is one for it."""
    flow = filled.cash_flow_amount != ""
    if not filled.HasField("strategy"):
        if flow:
            filled.strategy = pb.REBALANCE_STRATEGY_CASH_FLOW
        elif preferred.HasField("strategy") and preferred.strategy != pb.REBALANCE_STRATEGY_CASH_FLOW:
            filled.strategy = preferred.strategy
    threshold = filled.strategy == pb.REBALANCE_STRATEGY_THRESHOLD
    if threshold and preferred.HasField("drift") and not filled.HasField("drift"):
        filled.drift.CopyFrom(preferred.drift)
