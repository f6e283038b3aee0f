"""What each limit costs: the plan compared with the best one without this limit.

price = objective - objective without the limit,   certain within the gaps of both plans
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from kernel.rebalancing.limit_reports import Limit, limits_of, measured
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.money import CENT, ZERO, to_cents
from kernel.rebalancing.plan_search import Found, find_plan, remaining
from kernel.rebalancing.quality import LimitPrice
from kernel.rebalancing.settle import Trades

# Limits on weights are many: those nearest to binding are priced.
_MOST_WEIGHTS = 8
# A limit on a weight that is further away than this does not bind.
_NEAR = Decimal("0.05")


def price_limits(found: Found, search: SearchSettings) -> tuple[LimitPrice, ...]:
    """Finds what the limits of a plan cost, by searching again without each.

    Args:
        found: The plan.
        search: When the searches stop, all together.

    Returns:
        The limits that cost a cent or more, largest price first.
    """
    if found.trades is None:
        return ()
    limits = _candidates(found, found.trades)
    prices: list[LimitPrice] = []
    seconds = 0.0
    for k, limit in enumerate(limits):
        left = remaining(search, seconds)
        slice_ = replace(left, time_limit_seconds=left.time_limit_seconds / (len(limits) - k))
        book = found.book.within(limit.left_out_of(found.book.limits))
        other = find_plan(book, slice_)
        seconds += other.seconds
        if other.trades is not None:
            prices.append(_price(limit, found, other))
    return tuple(sorted((p for p in prices if p.price >= CENT), key=lambda p: (-p.price, p.name)))


def _candidates(found: Found, trades: Trades) -> tuple[Limit, ...]:
    """The limits that may cost something; the minimum cash alone only where it takes something away."""
    limits = limits_of(found.book)
    asked = found.book.limits
    plain = [limit for limit in limits if limit.weight is None and limit.left_out_of(asked) != asked]
    weights = [limit for limit in limits if limit.weight is not None]
    near = sorted(weights, key=lambda limit: (_slack(limit, found, trades), limit.name))
    return (*plain, *(limit for limit in near[:_MOST_WEIGHTS] if _slack(limit, found, trades) < _NEAR))


def _slack(limit: Limit, found: Found, trades: Trades) -> Decimal:
    assert limit.weight is not None
    value = measured(limit, found.book, trades.quantities, found.settlement)
    sides = (
        None if limit.weight.maximum is None else limit.weight.maximum - value,
        None if limit.weight.minimum is None else value - limit.weight.minimum,
    )
    return min((side for side in sides if side is not None), default=_NEAR)


def _price(limit: Limit, found: Found, other: Found) -> LimitPrice:
    """Parts of the price; where the plan without the limit is no better, its gap alone says how little is known."""
    mine, free = found.settlement, other.settlement
    better = free.objective < mine.objective
    gaps = sum((max(ZERO, plan.settlement.objective - plan.lower_bound) for plan in (found, other)), ZERO)
    weight = found.book.tax_weight
    parts = [
        to_cents(part) if better else ZERO
        for part in (weight * (mine.tax - free.tax), mine.unrounded_cost - free.unrounded_cost)
    ]
    price = to_cents(mine.objective - free.objective) if better else ZERO
    assert other.trades is not None
    has_number = limit.name not in ("do_not_buy", "do_not_sell", "min_trade_size")
    return LimitPrice(
        name=limit.name,
        unit=limit.unit,
        limit=limit.value,
        value=measured(limit, other.book, other.trades.quantities, free) if has_number else ZERO,
        price=price,
        tax=parts[0],
        cost=parts[1],
        distance=price - sum(parts),
        uncertainty=to_cents(gaps),
        sentence=_sentence(limit, price, (parts[0], parts[1], price - sum(parts))),
    )


def _sentence(limit: Limit, price: Decimal, parts: tuple[Decimal, Decimal, Decimal]) -> str:
    """The one part that is the price, or the price and its parts."""
    named = [(amount, word) for amount, word in zip(parts, ("tax", "trading cost", "distance"), strict=True) if amount]
    if len(named) == 1:
        return f"{limit} costs {price} of {named[0][1]}"
    listed = ", ".join(f"{amount} of {word}" for amount, word in named)
    return f"{limit} costs {price}: {listed}"
