"""The search for the best trades: stage by stage, from what the target calls for to what only the limits ask for.

    1. trades that the target calls for, without short-term gains where these are avoided
    2. trades past their targets, where weights or tracking error are limited and stage 1 has no plan
    3. the least sum of short-term gains that keeps the limits, and the best plan with it

A later stage is entered only when the one before has no plan at all (lexicographic).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.rebalancing.book import Book
from kernel.rebalancing.mixed_integer import SearchEnd, SearchSettings
from kernel.rebalancing.money import CENT, ZERO
from kernel.rebalancing.program import SearchResult, TradeProgram, rounding_reserve
from kernel.rebalancing.quality import Concession
from kernel.rebalancing.repair import drop_least_useful
from kernel.rebalancing.settle import Settlement, Trades, settle
from kernel.rebalancing.sides import Scope

# The least short-term gain is kept up to this fraction: both searches round.
_SLACK = Decimal("1.000001")


@dataclass(frozen=True, slots=True)
class Found:
    """What the search leads to.

    Attributes:
        book: The problem.
        end: Why the search stopped.
        trades: Trades that keep every limit; None where none are known.
        settlement: What they lead to; of no trades where none are known.
        lower_bound: No trades have a smaller objective, money.
        relaxation: Bound before any search.
        nodes: Branch-and-bound nodes.
        seconds: Time in the solver.
        concessions: What only the limits made necessary.
        scope: Trades that were allowed.
    """

    book: Book
    end: SearchEnd
    trades: Trades | None
    settlement: Settlement
    lower_bound: Decimal
    relaxation: Decimal
    nodes: int
    seconds: float
    concessions: tuple[Concession, ...]
    scope: Scope


def no_trades(book: Book) -> Trades:
    """Nothing bought and nothing sold."""
    return Trades((ZERO,) * len(book.positions))


def remaining(search: SearchSettings, seconds: float) -> SearchSettings:
    """What is left of a time limit."""
    return replace(search, time_limit_seconds=max(0.0, search.time_limit_seconds - seconds))


def find_plan(book: Book, search: SearchSettings) -> Found:
    """Searches for the best trades that keep every limit.

    Args:
        book: The problem.
        search: When to stop.

    Returns:
        The trades, re-measured to the cent, with their bound.
    """
    spent = 0.0
    scope = Scope()
    result = SearchResult(SearchEnd.INFEASIBLE, None, ZERO, 0)
    for stage in _stages(book):
        scope, used = _with_least_gains(book, stage, remaining(search, spent))
        result = TradeProgram(book, scope=scope).closest_plan(remaining(search, spent + used))
        spent += used + result.seconds
        if result.end is not SearchEnd.INFEASIBLE:
            break
    trades, end = None, result.end
    if end not in (SearchEnd.INFEASIBLE, SearchEnd.FAILED):
        trades, end = _within_limits(book, result, scope, remaining(search, spent))
        trades = _better(book, trades, no_trades(book))
    return Found(
        book=book,
        end=end if trades is None else result.end,
        trades=trades,
        settlement=settle(book, trades or no_trades(book)),
        lower_bound=result.lower_bound,
        relaxation=result.relaxation,
        nodes=result.nodes,
        seconds=spent,
        concessions=_concessions(scope),
        scope=scope,
    )


def widest_scope(book: Book, measure: str = "") -> Scope:
    """All trades that the last stage allows."""
    return Scope(past_target=_may_pass(book), measure=measure)


def _may_pass(book: Book) -> bool:
    """Whether a limit may call for trades that the target does not."""
    return bool(book.limits.weights) or book.limits.max_tracking_error is not None


def _stages(book: Book) -> Iterator[Scope]:
    avoids = book.tax is not None and book.tax.avoid_short_term_gains
    yield Scope(short_term_gains=not avoids)
    if _may_pass(book):
        yield Scope(past_target=True, short_term_gains=not avoids)
    if avoids:
        yield Scope(past_target=_may_pass(book), most_short_term=ZERO)


def _with_least_gains(book: Book, scope: Scope, search: SearchSettings) -> tuple[Scope, float]:
    """Fills in the least sum of short-term gains where it is asked for; with the time that this took."""
    if scope.most_short_term is None:
        return scope, 0.0
    wanted = replace(scope, most_short_term=None, measure="short_term_gains")
    least = TradeProgram(book, scope=wanted).least("short_term_gains", search)
    if least.trades is None:
        return replace(scope, most_short_term=None), least.seconds
    gains = settle(book, least.trades).gains.short_term
    return replace(scope, most_short_term=gains * _SLACK + CENT), least.seconds


def _concessions(scope: Scope) -> tuple[Concession, ...]:
    made = (
        (scope.past_target, Concession.PAST_TARGET),
        (scope.most_short_term is not None, Concession.SHORT_TERM_GAINS),
    )
    return tuple(concession for is_made, concession in made if is_made)


def _within_limits(
    book: Book, result: SearchResult, scope: Scope, search: SearchSettings
) -> tuple[Trades | None, SearchEnd]:
    """Trades that still keep every limit after rounding, None if there are none near; and why the search stopped."""
    trades = result.trades or no_trades(book)
    if not settle(book, trades).violation:
        return trades, result.end
    exact = TradeProgram(book, ZERO, scope).closest_plan(search)
    if exact.trades is not None and not settle(book, exact.trades).violation:
        return exact.trades, exact.end
    narrowed = _same_directions(book, trades.quantities)
    left = remaining(search, exact.seconds)
    resized = TradeProgram(narrowed, rounding_reserve(narrowed), scope).closest_plan(left).trades
    candidates = (resized and drop_least_useful(book, resized), drop_least_useful(book, trades))
    valid = [candidate for candidate in candidates if candidate is not None and not settle(book, candidate).violation]
    best = min(valid, key=lambda candidate: settle(book, candidate).objective, default=None)
    return best, exact.end if exact.end is SearchEnd.INFEASIBLE else result.end


def _better(book: Book, trades: Trades | None, others: Trades) -> Trades | None:
    """The better of two sets of trades, where the others keep the limits: a stopped search may have missed them."""
    outcome = settle(book, others)
    if outcome.violation or (trades is not None and settle(book, trades).objective <= outcome.objective):
        return trades
    return others


def _same_directions(book: Book, quantities: tuple[Decimal, ...]) -> Book:
    """The problem narrowed to what is bought and sold already, where only the sizes are left to decide."""
    pairs = zip(book.positions, quantities, strict=True)
    positions = (replace(p, can_buy=p.can_buy and q > ZERO, can_sell=p.can_sell and q < ZERO) for p, q in pairs)
    return replace(book, positions=tuple(positions))
