"""Why no trades keep the limits: which contradict each other, and the least change of one that resolves it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from kernel.rebalancing.book import Book
from kernel.rebalancing.limit_reports import Limit, in_words, limits_of, measured
from kernel.rebalancing.mixed_integer import SearchEnd, SearchSettings
from kernel.rebalancing.money import CENT, ZERO, to_cents
from kernel.rebalancing.plan_search import remaining, widest_scope
from kernel.rebalancing.program import TradeProgram
from kernel.rebalancing.quality import LimitRelaxation, PlanConflict
from kernel.rebalancing.settle import Quantities, settle, weight_of

_WITHOUT_NUMBER = ("do_not_buy", "do_not_sell", "min_trade_size")
# More limits on weights than these are not tried one by one.
_MOST_WEIGHTS = 20


@dataclass(frozen=True, slots=True)
class _WayOut:
    """A limit and whether the others hold without it.

    Attributes:
        limit: The limit.
        relaxed: What the limit has to be for them; None for a list.
        seconds: Time in the solver.
        feasible: Whether trades keep all others.
        proven: Whether the answer is the end of a search.
    """

    limit: Limit
    relaxed: Decimal | None
    seconds: float
    feasible: bool
    proven: bool


def explain_conflict(book: Book, search: SearchSettings) -> PlanConflict:
    """Finds limits that contradict each other, and for each of them what the others leave it.

    Args:
        book: A problem that no trades solve.
        search: When the searches stop, all together.

    Returns:
        The conflict. Where no single limit resolves it, all limits that could take part are named.
    """
    limits = _candidates(book)
    ways: list[_WayOut] = []
    seconds = 0.0
    for limit in limits:
        ways.append(_without(book, limit, remaining(search, seconds)))
        seconds += ways[-1].seconds
    out = [way for way in ways if way.feasible]
    relaxations = tuple(
        LimitRelaxation(way.limit.name, way.limit.unit, way.limit.value, way.relaxed)
        for way in out
        if way.relaxed is not None
    )
    names = tuple(way.limit.name for way in out or ways)
    return PlanConflict(names, relaxations, _sentence(book, out, limits), all(way.proven for way in ways))


def _candidates(book: Book) -> tuple[Limit, ...]:
    """Limits that can be part of a conflict: a limit on a weight only where it is broken without trades."""
    limits = limits_of(book)
    idle = (ZERO,) * len(book.positions)
    broken = [limit for limit in limits if limit.weight is not None and _is_broken(limit, book, idle)]
    plain = [limit for limit in limits if limit.weight is None]
    return (*plain, *broken[:_MOST_WEIGHTS])


def _is_broken(limit: Limit, book: Book, quantities: Quantities) -> bool:
    assert limit.weight is not None
    weight = weight_of(limit.weight, book, quantities)
    low, high = limit.weight.minimum, limit.weight.maximum
    return (low is not None and weight < low) or (high is not None and weight > high)


def _without(book: Book, limit: Limit, search: SearchSettings) -> _WayOut:
    """The least of a limit's left-hand side while all others hold."""
    if limit.name in _WITHOUT_NUMBER:
        freed = book.within(limit.left_out_of(book.limits))
        found = TradeProgram(freed, ZERO, widest_scope(book)).closest_plan(search)
        return _WayOut(
            limit, None, found.seconds, feasible=found.trades is not None, proven=found.end is not SearchEnd.LIMIT
        )
    if limit.weight is not None or limit.name == "min_cash_amount":
        freed = book
    else:
        freed = book.within(limit.left_out_of(book.limits))
    found = TradeProgram(freed, ZERO, widest_scope(book, limit.name)).least(limit.name, search)
    if found.trades is None:
        return _WayOut(limit, None, found.seconds, feasible=False, proven=found.end is not SearchEnd.LIMIT)
    outcome = settle(freed, found.trades)
    relaxed = measured(limit, freed, found.trades.quantities, outcome)
    return _WayOut(limit, relaxed, found.seconds, feasible=True, proven=found.end is SearchEnd.SOLVED)


def _sentence(book: Book, out: list[_WayOut], limits: tuple[Limit, ...]) -> str:
    numbered = [way for way in out if way.relaxed is not None]
    cash = next((way for way in numbered if way.limit.name == "min_cash_amount"), None)
    if cash is not None and cash.relaxed is not None and len(numbered) == 1:
        reached = to_cents(cash.relaxed)
        return f"No trades within the limits raise cash to {book.limits.min_cash}; the most they reach is {reached}."
    if not out:
        names = ", ".join(str(limit) for limit in limits)
        return f"No trades keep the limits, and no single limit left out resolves it: {names}."
    names = " and ".join(str(way.limit) for way in out)
    if len(out) == 1:
        return f"{names} cannot be kept: while all other limits stay, {_way(out[0])} would do."
    if len(out) == 2 and len(numbered) == 2:
        first, second = (way.limit for way in out)
        extreme = "largest" if _is_least(second) else "least"
        return (
            f"{names} contradict each other: {second.name} of {in_words(second.value, second.unit)} needs "
            f"{_way(out[0])}; with {first.name} of {in_words(first.value, first.unit)} the {extreme} is {_way(out[1])}."
        )
    ways = " or ".join(_way(way) for way in out)
    return f"{names} contradict each other: while all other limits stay, {ways} would do."


def _is_least(limit: Limit) -> bool:
    """Whether a limit is one from below."""
    return limit.name == "min_cash_amount" or (limit.weight is not None and limit.weight.maximum is None)


def _way(way: _WayOut) -> str:
    """The value that would do, rounded to where it still does."""
    if way.relaxed is None:
        return f"no {way.limit.name}"
    digits = Decimal(1) if way.limit.unit == "positions" else CENT if way.limit.unit == "money" else CENT / 100
    rounding = ROUND_FLOOR if _is_least(way.limit) else ROUND_CEILING
    return f"{way.limit.name} of {in_words(way.relaxed.quantize(digits, rounding), way.limit.unit)}"
