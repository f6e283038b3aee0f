"""The trades of a policy: whole shares within its limits, each trade with its reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.rebalancing.money import ZERO
from kernel.rebalancing.policy import PolicyTarget
from kernel.rebalancing.policy_case import PolicyLimits
from kernel.rebalancing.policy_limits import QUALITY
from kernel.rebalancing.remarks import Remark, percent, present_weights
from kernel.rebalancing.request import CASH, TradeRequest, WeightLimit
from kernel.rebalancing.trades import Trade, TradeAction, TradePlan, plan_trades
from kernel.solution import Relaxation

# Target and present weights this close are the same weight, once as a float and once exact.
_SAME = Decimal("1e-9")
# Of whole rebalances.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """A plan under a policy.

    Attributes:
        plan: With the reasons that the policy has for its trades.
        relaxations: Limits that were loosened, with the values used.
        remarks: What was excluded, loosened, staged or could not be judged.
    """

    plan: TradePlan
    relaxations: tuple[Relaxation, ...]
    remarks: tuple[Remark, ...]


def with_target(request: TradeRequest, target: PolicyTarget) -> TradeRequest:
    """The request with the policy's target; a weight that is not to change is exactly the present one.

    Args:
        request: Holdings, cash and prices.
        target: With weights.

    Returns:
        The request.
    """
    assert target.weights is not None
    present = present_weights(request)
    weights = {
        name: present[name] if abs(present.get(name, ZERO) - weight) < _SAME else weight
        for name, weight in target.weights.items()
    }
    return replace(request, target_weights=weights)


def plan_policy(request: TradeRequest, target: PolicyTarget, *, no_worse: bool = False) -> PolicyPlan:
    """Plans the trades towards the request's target within the limits of a policy.

    Where loosened limits leave no plan in whole shares, the plan nearest to the target without them says how far they
    have to give way.

    Args:
        request: With its target set, and its risk measured against the benchmark where the policy limits that.
        target: Of the policy.
        no_worse: Whether limits that are broken now may stay broken, as they may in a stage.

    Returns:
        The plan; not feasible where no trades keep the limits.
    """
    limits, loosened = target.limits, [relaxation.name for relaxation in target.relaxations]
    lenient = no_worse or target.no_worse
    plan = plan_trades(_limited(request, target, limits, lenient=lenient))
    if not plan.feasible and loosened:
        free = replace(limits, **dict.fromkeys(loosened))
        nearest = plan_trades(_limited(request, target, free, lenient=lenient))
        if nearest.feasible:
            plan, limits = nearest, _as_planned(nearest, target, loosened)
    relaxations = tuple(replace(r, relaxed_limit=float(getattr(limits, r.name))) for r in target.relaxations)
    trades = tuple(replace(trade, reason=_reason(trade, plan, target)) for trade in plan.trades)
    plan = replace(plan, trades=trades)
    remarks = (*policy_remarks(target), *_relaxed(relaxations), *_staged(plan, target, request))
    return PolicyPlan(plan, relaxations, remarks)


def _limited(request: TradeRequest, target: PolicyTarget, policy: PolicyLimits, *, lenient: bool) -> TradeRequest:
    """The request with the policy's limits beside its own; where both have one, the tighter counts."""
    own, present = request.limits, present_weights(request) if lenient else {}
    limits = replace(
        own,
        max_turnover=_tighter(own.max_turnover, policy.max_turnover),
        max_tracking_error=_tighter(own.max_tracking_error, _tracking_limit(policy, target, lenient=lenient)),
        weights=_tightest((*own.weights, *_weight_limits(request, target, policy, present))),
        do_not_buy=own.do_not_buy | target.case.excluded,
    )
    return replace(request, limits=limits)


def _tighter(own: Decimal | None, policy: Decimal | None) -> Decimal | None:
    return min((limit for limit in (own, policy) if limit is not None), default=None)


def _tightest(limits: Iterable[WeightLimit]) -> tuple[WeightLimit, ...]:
    """Of limits of one name, which a request and a policy may both have, the one that allows least."""
    found: dict[str, WeightLimit] = {}
    for limit in limits:
        known = found.get(limit.name)
        if known is None or (limit.maximum is not None and (known.maximum is None or limit.maximum < known.maximum)):
            found[limit.name] = limit
    return tuple(found.values())


def _tracking_limit(policy: PolicyLimits, target: PolicyTarget, *, lenient: bool) -> Decimal | None:
    limit, measure = policy.max_tracking_error, target.case.tracking
    if limit is None or measure is None or not lenient:
        return limit
    return max(limit, Decimal(repr(measure.of(target.case.w0))) + _SAME)


def _weight_limits(
    request: TradeRequest, target: PolicyTarget, policy: PolicyLimits, present: Mapping[str, Decimal]
) -> Iterator[WeightLimit]:
    names = sorted({*request.holdings, *request.target_weights} - {CASH})
    for name in sorted(target.case.excluded & request.holdings.keys()):
        if not request.target_weights.get(name, ZERO):
            # Nothing is kept of it, not even a share whose sale costs more than it is away from its target.
            yield WeightLimit(f"{QUALITY}[{name}]", {name: Decimal(1)}, maximum=ZERO)
    if policy.max_single_position is not None:
        for name in names:
            largest = max(policy.max_single_position, present.get(name, ZERO))
            yield WeightLimit(f"max_single_position[{name}]", {name: Decimal(1)}, maximum=largest)
    if policy.max_sector is not None:
        for sector, members in _by_sector(names, target.case.sectors):
            largest = max(policy.max_sector, sum((present.get(name, ZERO) for name in members), ZERO))
            yield WeightLimit(f"max_sector[{sector}]", dict.fromkeys(members, Decimal(1)), maximum=largest)


def _by_sector(names: Iterable[str], sectors: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        if sectors.get(name):
            groups.setdefault(sectors[name], []).append(name)
    yield from sorted(groups.items())


def _as_planned(plan: TradePlan, target: PolicyTarget, loosened: Iterable[str]) -> PolicyLimits:
    """The limits with each loosened one at what the plan has, where that is more."""
    # Limits are fractions of the value before trading, allocations of the value after costs.
    left = 1 - plan.total_cost / plan.total_value
    weights = {name: weight * left for name, weight in plan.planned_allocation.items() if name != CASH}
    sectors = [
        sum((weights.get(name, ZERO) for name in members), ZERO)
        for _, members in _by_sector(weights, target.case.sectors)
    ]
    reached: dict[str, Decimal] = {
        "max_single_position": max(weights.values(), default=ZERO),
        "max_sector": max(sectors, default=ZERO),
        "max_tracking_error": Decimal(repr(plan.tracking_error_after or 0.0)),
        "max_turnover": plan.turnover,
    }
    return replace(target.limits, **{name: max(getattr(target.limits, name), reached[name]) for name in loosened})


def _reason(trade: Trade, plan: TradePlan, target: PolicyTarget) -> str:
    """Why the policy trades, in the words of its limits; where it has no reason of its own, the trade's."""
    case, name = target.case, trade.instrument_id
    now = plan.current_allocation.get(name, ZERO)
    if trade.action is TradeAction.BUY:
        return f"Invest in proportion to present weights. {trade.reason}" if case.excluded else trade.reason
    if name in case.excluded:
        return f"Below min quality ({case.scores[name]} < {case.limits.min_quality_score})"
    if (most := case.limits.max_single_position) is not None and now > most:
        return f"Above max single position ({percent(now)} > {percent(most)})"
    sector = case.sectors.get(name)
    if sector and (most := case.limits.max_sector) is not None:
        members = (other for other in plan.current_allocation if case.sectors.get(other) == sector)
        weight = sum((plan.current_allocation[other] for other in members), ZERO)
        if weight > most:
            return f"Sector {sector} above max sector ({percent(weight)} > {percent(most)})"
    return trade.reason


def policy_remarks(target: PolicyTarget) -> tuple[Remark, ...]:
    """What a policy excludes, and what it cannot judge.

    Args:
        target: With or without weights.

    Returns:
        The remarks, by instrument.
    """
    case, remarks = target.case, []
    for name in sorted(case.excluded):
        text = f"{name} is excluded: its quality of {case.scores[name]} is below {case.limits.min_quality_score}"
        remarks.append(
            Remark("excluded", name, text + (", but it may not be sold" if name in case.do_not_sell else ""))
        )
    least = case.limits.min_quality_score
    if case.unscored:
        text = f"nobody has stated the quality of {', '.join(case.unscored)}: unknown does not count as below {least}"
        remarks.append(Remark("unknown_quality", _only(case.unscored), text))
    nowhere = [name for name in case.instruments if not case.sectors.get(name)]
    if case.limits.max_sector is not None and nowhere:
        text = f"max_sector leaves out what has no sector: {', '.join(nowhere)}"
        remarks.append(Remark("unknown_sector", _only(nowhere), text))
    return tuple(remarks)


def _only(names: Sequence[str]) -> str:
    """The instrument that a remark is about, where it is about one."""
    return names[0] if len(names) == 1 else ""


def _relaxed(relaxations: Iterable[Relaxation]) -> Iterator[Remark]:
    for relaxation in relaxations:
        limit, used = percent(relaxation.limit), percent(relaxation.relaxed_limit)
        yield Remark("relaxed", "", f"{relaxation.name} was loosened from {limit} to {used}")


def _staged(plan: TradePlan, target: PolicyTarget, request: TradeRequest) -> Iterator[Remark]:
    """What remains for the next rebalances, and what no number of them can reach."""
    if not target.goal:
        return
    if target.explanation is not None:
        text = f"no number of rebalances meets all limits: {target.explanation.sentence}"
        yield Remark("limits", "", text)
    left = {name: abs(float(plan.planned_allocation.get(name, ZERO)) - goal) for name, goal in target.goal.items()}
    total = float(plan.total_value)
    steps = {
        name: float(request.increments.get(name, Decimal(1)) * request.prices[name]) / total
        for name in left
        if name in request.prices
    }
    most = _tighter(request.limits.max_turnover, target.limits.max_turnover)
    if most is None or all(left[name] <= step for name, step in steps.items()):
        return
    moved, kept = 0.5 * sum(left.values()), sum(left[name] for name in target.case.excluded)
    more = max(math.ceil(moved / float(most) - _ROUNDING), 1)
    noun = "rebalance" if more == 1 else "rebalances"
    yield Remark(
        "staged",
        "",
        f"{percent(kept)} of the portfolio stays in excluded instruments and {percent(moved)} of turnover remains: "
        f"about {more} more {noun} at {percent(most)} each",
    )
