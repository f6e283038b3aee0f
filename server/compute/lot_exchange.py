"""Lots of one sale exchanged for others where netting turns: what no order of lots finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import permutations

from kernel.rebalancing.lots import TaxLot, Term
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import NetGains
from server.compute.tax_context import TaxContext, Traded

# The smallest part of a share that is exchanged where lots are not of whole shares.
_PART = Decimal("0.000001")
_WHOLE = Decimal(1)

Pick = tuple[tuple[str, Decimal], ...]
# The tax of a choice of lots, and the year's net gains with it.
Outcome = tuple[Decimal, NetGains]


def exchange_lots(
    context: TaxContext, sell: Traded, lots: Sequence[TaxLot], start: Pick, outcome: Callable[[Pick], Outcome]
) -> Pick:
    """Exchanges shares of one lot for those of another while that lowers the tax.

    The tax is linear in the shares exchanged except where a net gain changes its sign or the loss limit is reached. So
    only all that can be exchanged, and the shares on both sides of these points, are tried.

    Args:
        context: Limit and terms.
        sell: The sale.
        lots: Lots that it can take.
        start: A choice of lots.
        outcome: What a choice leads to, wash sales included.

    Returns:
        The choice from which no exchange of two lots lowers the tax.
    """
    best, (least, gains) = start, outcome(start)
    improved = True
    while improved:
        improved = False
        for trial in _exchanges(context, sell, lots, best, gains):
            tax, reached = outcome(trial)
            if tax < least:
                best, least, gains, improved = trial, tax, reached, True
                break
    return best


def _exchanges(
    context: TaxContext, sell: Traded, lots: Sequence[TaxLot], pick: Pick, gains: NetGains
) -> Iterator[Pick]:
    taken = dict(pick)
    whole = all(quantity == int(quantity) for quantity in (sell.quantity, *(lot.quantity for lot in lots)))
    for source, other in permutations(lots, 2):
        most = min(taken.get(source.lot_id, ZERO), other.quantity - taken.get(other.lot_id, ZERO))
        if most <= 0:
            continue
        slope = _gain(context, sell, other).less(_gain(context, sell, source))
        turns = _turns(gains, slope, context.terms.loss_limit)
        near = {
            turn.quantize(_WHOLE if whole else _PART, way) for turn in turns for way in (ROUND_FLOOR, ROUND_CEILING)
        }
        for quantity in sorted({most, *(part for part in near if 0 < part < most)}, reverse=True):
            yield _moved(taken, source.lot_id, other.lot_id, quantity)


def _gain(context: TaxContext, sell: Traded, lot: TaxLot) -> NetGains:
    """Of one share of a lot."""
    price = sell.proceeds_per_share
    gain, term = price - lot.unit_cost, lot.term(price, context.sold_on, context.rules.long_term_months)
    return NetGains(gain, ZERO) if term is Term.SHORT else NetGains(ZERO, gain)


def _turns(gains: NetGains, slope: NetGains, limit: Decimal) -> Iterator[Decimal]:
    """Shares after which a net gain is zero, or the net loss the limit."""
    for now, step in (
        (gains.short_term, slope.short_term),
        (gains.long_term, slope.long_term),
        (gains.total, slope.total),
        (gains.total + limit, slope.total),
    ):
        if step and now / step < 0:
            yield -now / step


def _moved(taken: Mapping[str, Decimal], source: str, other: str, quantity: Decimal) -> Pick:
    after = {**taken, source: taken[source] - quantity, other: taken.get(other, ZERO) + quantity}
    return tuple((lot_id, part) for lot_id, part in after.items() if part)
