"""How far a plan goes: all the way, to the edge of a band, or only as far as a flow of cash makes necessary.

Each strategy turns a trade request with its full target into one with the target of the trades:

- FULL leaves it as it is.
- THRESHOLD trades nothing while the drift is below its threshold. Else each item outside of its band goes to the
  band's edge and everything else stays; by the measure half-L1 all weights go the same part of the way to the target,
  c + (1 - threshold / drift) (t - c), which moves as little as any way to that drift can. Cash is an item like the
  others. What the moves leave in cash above its band buys what is furthest below its target; what they lack is sold
  of what is furthest above.
- CASH_FLOW sells nothing on a deposit, whose money buys what is furthest below its target, and buys nothing on a
  withdrawal, which is raised from what is furthest above. The targets are fractions of the value with the flow.

"Furthest first" is water-filling: the largest differences in money are levelled until the amount is used up, which
leaves the smallest largest difference that the amount can buy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from kernel.errors import ProblemError
from kernel.rebalancing.drift import DriftMeasure, DriftReport, DriftThresholds, band_edge, measure_drift
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.remarks import Remark, percent, present_values, present_weights, total_value
from kernel.rebalancing.request import CASH, TradeRequest
from kernel.rebalancing.trades import TradePlan

_ONE = Decimal(1)


class StrategyKind(StrEnum):
    """How far a plan goes."""

    FULL = "full"
    THRESHOLD = "threshold"
    CASH_FLOW = "cash_flow"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy with its numbers.

    Attributes:
        kind: Which one.
        cash_flow: Of CASH_FLOW: the deposit (positive) or withdrawal (negative), money.
        measure: Of THRESHOLD.
        threshold: Of THRESHOLD, fraction above 0; the 5/25 band has none.
    """

    kind: StrategyKind = StrategyKind.FULL
    cash_flow: Decimal = ZERO
    measure: DriftMeasure = DriftMeasure.MAX_ABSOLUTE
    threshold: Decimal = Decimal("0.05")

    @property
    def thresholds(self) -> DriftThresholds:
        """The threshold for each measure that has one."""
        return DriftThresholds(self.threshold, self.threshold, self.threshold)


@dataclass(frozen=True, slots=True)
class StrategyOutcome:
    """The request that is left to plan.

    Attributes:
        request: With the target of the trades; after a deposit with its money in cash.
        fired: Whether anything is to be traded for the strategy's sake.
        remarks: What the strategy decided.
    """

    request: TradeRequest
    fired: bool = True
    remarks: tuple[Remark, ...] = ()


def apply_strategy(request: TradeRequest, strategy: Strategy) -> StrategyOutcome:
    """Turns the full target of a request into that of its trades.

    Args:
        request: With the full target.
        strategy: How far to go.

    Returns:
        The request to plan.

    Raises:
        ProblemError: A flow of nothing or of no finite amount, or a withdrawal of all there is and more.
    """
    match strategy.kind:
        case StrategyKind.THRESHOLD:
            return _to_band(request, strategy)
        case StrategyKind.CASH_FLOW:
            _require_flow(request, strategy.cash_flow)
            return _deposit(request, strategy.cash_flow) if strategy.cash_flow > ZERO else _withdraw(request, strategy)
        case _:
            return StrategyOutcome(request)


def with_cash(target: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Target weights with what they leave for cash under its own key."""
    left = _ONE - sum((weight for name, weight in target.items() if name != CASH), ZERO)
    return {**{name: weight for name, weight in target.items() if name != CASH}, CASH: max(left, ZERO)}


def drift_from(weights: Mapping[str, Decimal], target: Mapping[str, Decimal], strategy: Strategy) -> DriftReport:
    """Drift of weights, cash included, from a target at the strategy's threshold."""
    return measure_drift(weights, with_cash(target), strategy.thresholds, residual=CASH)


# --- THRESHOLD


def _to_band(request: TradeRequest, strategy: Strategy) -> StrategyOutcome:
    current = present_weights(request)
    if not current:
        return StrategyOutcome(request)
    report = drift_from(current, request.target_weights, strategy)
    if strategy.measure not in report.breaches:
        text = f"no trade: {_stated(report, strategy)} is below its threshold"
        return StrategyOutcome(_standing(request, current), fired=False, remarks=(Remark("no_trades", "", text),))
    if strategy.measure is DriftMeasure.HALF_L1:
        edges = _part_of_the_way(report, strategy.threshold)
    else:
        edges = _edges(report, strategy)
    text = f"{_stated(report, strategy)} reaches its threshold: what is outside goes to the edge of its band"
    return StrategyOutcome(_standing(request, edges), remarks=(Remark("threshold", "", text),))


def _standing(request: TradeRequest, weights: Mapping[str, Decimal]) -> TradeRequest:
    """The request with such weights as its target; cash has none."""
    return replace(request, target_weights={name: w for name, w in weights.items() if name != CASH and w})


def _part_of_the_way(report: DriftReport, threshold: Decimal) -> dict[str, Decimal]:
    part = _ONE - threshold / report.half_l1
    return {item.key: item.current + part * (item.target - item.current) for item in report.items}


def _edges(report: DriftReport, strategy: Strategy) -> dict[str, Decimal]:
    """Every item outside at the edge of its band, and cash within its own."""
    widths = {item.key: _width(item.key, item.target, strategy) for item in report.items}
    outside = {item.key for item in report.items if strategy.measure in item.breaches}
    targets = {item.key: item.target for item in report.items}
    moved = {
        item.key: band_edge(item.current, item.target, widths[item.key]) if item.key in outside else item.current
        for item in report.items
        if item.key != CASH
    }
    cash = _ONE - sum(moved.values(), ZERO)
    if CASH not in outside and cash >= ZERO:
        now = next((item.current for item in report.items if item.key == CASH), ZERO)
        low, high = min(now, max(targets[CASH] - widths[CASH], ZERO)), max(now, targets[CASH] + widths[CASH])
    else:
        low, high = max(targets[CASH] - widths[CASH], ZERO), targets[CASH] + widths[CASH]
    if cash > high:
        gaps = {name: targets[name] - weight for name, weight in moved.items()}
        bought = level(gaps, {name: max(gap, ZERO) for name, gap in gaps.items()}, cash - high)
        return {name: weight + bought[name] for name, weight in moved.items()}
    if cash < low:
        excess = {name: weight - targets[name] for name, weight in moved.items()}
        sold = level(excess, {name: max(weight, ZERO) for name, weight in moved.items()}, low - cash)
        return {name: weight - sold[name] for name, weight in moved.items()}
    return moved


def _width(key: str, target: Decimal, strategy: Strategy) -> Decimal:
    """Half the width of an item's band; of cash without a target the absolute one."""
    absolute = strategy.thresholds.band_absolute
    match strategy.measure:
        case DriftMeasure.RELATIVE:
            return strategy.threshold * target if target or key != CASH else absolute
        case DriftMeasure.BAND_5_25:
            banded = min(absolute, strategy.thresholds.band_relative * target)
            return banded if target or key != CASH else absolute
        case _:
            return strategy.threshold


# --- CASH_FLOW


def _require_flow(request: TradeRequest, flow: Decimal) -> None:
    if not flow.is_finite() or not flow:
        raise ProblemError("cash_flow_amount", f"must be a deposit above or a withdrawal below 0, not {flow}")
    if total_value(request) + flow < ZERO:
        raise ProblemError("cash_flow_amount", f"is {flow}, but the portfolio is worth {total_value(request)}")


def _deposit(request: TradeRequest, amount: Decimal) -> StrategyOutcome:
    """The deposit into what is furthest below its target; cash that was there before stays."""
    funded = replace(request, cash=request.cash + amount)
    values, total = present_values(funded), total_value(funded)
    aims = {name: weight * total for name, weight in with_cash(request.target_weights).items()}
    wanted = (aims.keys() | values.keys()) - {CASH}
    gaps = {name: aims.get(name, ZERO) - values.get(name, ZERO) for name in wanted}
    needed = max(request.limits.min_cash, min(aims[CASH], funded.cash))
    room = {name: max(gap, ZERO) for name, gap in gaps.items()}
    spent = max(ZERO, min(amount, funded.cash - needed, sum(room.values(), ZERO)))
    bought = level(gaps, room, spent)
    kept = max(request.limits.min_cash, funded.cash - amount)
    limits = replace(
        request.limits,
        min_cash=min(kept, funded.cash),
        do_not_sell=request.limits.do_not_sell | request.holdings.keys(),
    )
    names = (values.keys() | bought.keys()) - {CASH}
    after = {name: (values.get(name, ZERO) + bought.get(name, ZERO)) / total for name in names}
    text = f"{to_cents(spent)} of the deposit of {amount} is to be invested in what is furthest below its target"
    remarks = [Remark("cash_flow", "", text)]
    if funded.cash < request.limits.min_cash:
        text = f"cash is {to_cents(funded.cash)} after the deposit, below the least of {request.limits.min_cash}"
        remarks.append(Remark("too_little_cash", "", f"{text}: a deposit sells nothing"))
    return StrategyOutcome(_standing(replace(funded, limits=limits), after), remarks=tuple(remarks))


def _withdraw(request: TradeRequest, strategy: Strategy) -> StrategyOutcome:
    """Cash for the withdrawal: what is there beyond the target of cash, then from what is furthest above its target."""
    amount = -strategy.cash_flow
    values, total = present_values(request), total_value(request)
    aims = {name: weight * (total - amount) for name, weight in with_cash(request.target_weights).items()}
    held = {name: value for name, value in values.items() if name != CASH}
    wanted = min(amount, amount + aims[CASH] - values[CASH])
    raised = max(ZERO, wanted, amount + request.limits.min_cash - values[CASH])
    salable = {name: max(value, ZERO) for name, value in held.items()}
    raised = min(raised, sum(salable.values(), ZERO))
    excess = {name: value - aims.get(name, ZERO) for name, value in held.items()}
    sold = level(excess, salable, raised)
    limits = replace(
        request.limits,
        min_cash=request.limits.min_cash + amount,
        do_not_buy=request.limits.do_not_buy | request.holdings.keys() | request.target_weights.keys(),
    )
    after = {name: (value - sold[name]) / total for name, value in held.items()} if total > ZERO else {}
    text = f"{to_cents(raised)} is to be raised by sales of what is furthest above its target, to withdraw {amount}"
    return StrategyOutcome(_standing(replace(request, limits=limits), after), remarks=(Remark("cash_flow", "", text),))


def level(differences: Mapping[str, Decimal], most: Mapping[str, Decimal], amount: Decimal) -> dict[str, Decimal]:
    """Takes an amount off the largest differences until they are level.

        x_i = min(max(d_i - l, 0), m_i)   with the level l for which they add up to the amount

    Args:
        differences: d_i by name.
        most: m_i >= 0 by name: no more is taken.
        amount: >= 0; at most the sum of all m_i is taken.

    Returns:
        x_i by name, whose sum is the amount up to the last digit.
    """
    names = sorted(differences)
    if amount <= ZERO or not names:
        return dict.fromkeys(names, ZERO)
    if amount >= sum((most[name] for name in names), ZERO):
        return {name: most[name] for name in names}
    corners = sorted({d for name in names for d in (differences[name], differences[name] - most[name])}, reverse=True)
    high = corners[0]
    for low in corners[1:]:
        if _taken(differences, most, low) >= amount:
            break
        high = low
    # Between two corners the sum grows by one unit for each difference that lies between.
    slope = sum(1 for name in names if differences[name] >= high and differences[name] - most[name] <= low)
    water = high - (amount - _taken(differences, most, high)) / slope
    return {name: min(max(differences[name] - water, ZERO), most[name]) for name in names}


def _taken(differences: Mapping[str, Decimal], most: Mapping[str, Decimal], water: Decimal) -> Decimal:
    return sum((min(max(d - water, ZERO), most[name]) for name, d in differences.items()), ZERO)


# --- What is left


def strategy_remarks(plan: TradePlan, target: Mapping[str, Decimal], strategy: Strategy) -> tuple[Remark, ...]:
    """What drift a plan leaves, where its strategy does not go all the way.

    Args:
        plan: The plan; money to be withdrawn is still in its cash.
        target: The full target.
        strategy: How far it went.

    Returns:
        One remark on the whole portfolio, or none.
    """
    if strategy.kind is StrategyKind.FULL or not plan.feasible or not plan.planned_allocation:
        return ()
    weights = dict(plan.planned_allocation)
    if strategy.kind is StrategyKind.CASH_FLOW and strategy.cash_flow < ZERO:
        weights = _without(weights, plan, -strategy.cash_flow)
    report = drift_from(weights, target, strategy)
    drifted = max(report.items, key=lambda item: (abs(item.difference), item.key), default=None)
    if drifted is None or not drifted.difference:
        return ()
    side = "above" if drifted.difference > ZERO else "below"
    text = (
        f"a drift of {percent(report.max_absolute)} (largest weight) and {percent(report.half_l1)} (half the sum) "
        f"remains; furthest from its target is {drifted.key}, {percent(abs(drifted.difference))} {side}"
    )
    return (Remark("drift_remains", "", text),)


def _without(weights: Mapping[str, Decimal], plan: TradePlan, amount: Decimal) -> dict[str, Decimal]:
    """Weights once an amount of cash is gone."""
    before = plan.total_value - plan.total_cost
    after = before - amount
    if after <= ZERO:
        return dict(weights)
    values = {name: weight * before for name, weight in weights.items()}
    values[CASH] = values.get(CASH, ZERO) - amount
    return {name: value / after for name, value in values.items()}


def _stated(report: DriftReport, strategy: Strategy) -> str:
    """The drift that counts, with its threshold."""
    threshold = percent(strategy.threshold)
    match strategy.measure:
        case DriftMeasure.HALF_L1:
            return f"half the sum of differences of {percent(report.half_l1)} (threshold {threshold})"
        case DriftMeasure.RELATIVE:
            return f"the largest relative difference of {percent(report.max_relative or ZERO)} (threshold {threshold})"
        case DriftMeasure.BAND_5_25:
            outside = sum(DriftMeasure.BAND_5_25 in item.breaches for item in report.items)
            return f"the number of {outside} instruments outside of their 5/25 band (threshold 1)"
        case _:
            return f"the largest difference of {percent(report.max_absolute)} (threshold {threshold})"
