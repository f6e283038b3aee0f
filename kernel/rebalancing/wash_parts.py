"""Parts of sales and purchases: what is open after a sale, what its matches disallow, what came from one purchase."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from itertools import count

from kernel.rebalancing.household import HouseholdLot, RealizedLoss, SettledSale, SoldPurchase, WashMatch
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.money import ZERO, to_cents

# Between the id of a lot and the number of a part that a wash sale split off.
_MARK = "~"
# An id has at most 36 characters: the stem leaves room for the mark and the number.
_LONGEST_STEM = 30
_DIGITS = 12


def with_matches(part: SettledSale, matches: Iterable[WashMatch]) -> SettledSale:
    """A part of a sale with more of its loss disallowed.

    Args:
        part: The part.
        matches: What replaces its shares.

    Returns:
        The part with the matches after those that it has.
    """
    new = tuple(matches)
    return replace(
        part,
        disallowed=part.disallowed + sum((match.disallowed for match in new), ZERO),
        lost=part.lost + sum((match.disallowed for match in new if match.lost), ZERO),
        matches=(*part.matches, *new),
    )


def open_loss(part: SettledSale) -> RealizedLoss:
    """The loss of a part while nothing replaces it.

    Args:
        part: A part sold at a loss.

    Returns:
        Its loss.
    """
    return RealizedLoss(
        part.account_id,
        part.sale_id,
        part.instrument_id,
        part.lot_id,
        part.quantity,
        -part.gain,
        part.sold_on,
        part.acquired_on,
        part.held_since,
        part.term,
    )


def sold_purchase(part: SettledSale) -> SoldPurchase:
    """The shares of a part as a purchase that was sold.

    Args:
        part: The part.

    Returns:
        Its shares.
    """
    return SoldPurchase(
        part.account_id,
        part.sale_id,
        part.instrument_id,
        part.lot_id,
        part.quantity,
        part.sold_on,
        part.acquired_on,
        part.held_since,
    )


def unit_cost(lot: TaxLot, quantity: Decimal, basis: Decimal) -> Decimal:
    """The cost per share of a basis; a lot's own where it gives the same cents.

    Args:
        lot: The lot.
        quantity: Shares of it, > 0.
        basis: Their cost, money to the cent.

    Returns:
        Money per share.
    """
    return lot.unit_cost if to_cents(quantity * lot.unit_cost) == basis else basis / quantity


def part_id(lot_id: str, taken: set[str]) -> str:
    """An id for a part that is split off a lot.

    Args:
        lot_id: The lot.
        taken: Ids in use.

    Returns:
        The stem of the lot's id with the first number that is free.
    """
    stem = stem_of(lot_id)
    return next(name for number in count(1) if (name := f"{stem}{_MARK}{number}") not in taken)


def stem_of(lot_id: str) -> str:
    """What the ids of all parts of a lot begin with: its own id, or a short one that no other lot has."""
    stem = _stem(lot_id) or lot_id
    if len(stem) <= _LONGEST_STEM:
        return stem
    return stem[: _LONGEST_STEM - _DIGITS] + sha256(stem.encode()).hexdigest()[:_DIGITS]


def is_part_of(lot_id: str, whole_id: str) -> bool:
    """Whether a lot was split off another one."""
    return _stem(lot_id) == stem_of(whole_id) and not _stem(whole_id)


def is_same_purchase(part: SettledSale | RealizedLoss, bought: HouseholdLot | SoldPurchase) -> bool:
    """Whether shares come from the purchase that is sold: parts of it that were split off have the stem of its id.

    Args:
        part: The part of a sale.
        bought: Other shares.

    Returns:
        True for the same account, instrument, day and id, up to the mark of parts.
    """
    place = (part.account_id, part.instrument_id, part.acquired_on)
    if (bought.account_id, bought.instrument_id, bought.acquired_on) != place:
        return False
    return are_parts_of_one(part.lot_id, bought.lot_id)


def are_parts_of_one(*ids: str) -> bool:
    """Whether lots bought on one day have ids of one purchase, up to the mark of parts.

    Args:
        ids: Of the lots.

    Returns:
        True for the same id, and for parts with the stem of the same.
    """
    return len({stem_of(lot_id) for lot_id in ids}) == 1


def _stem(lot_id: str) -> str:
    """What stands before the mark of a part; empty for a lot that is whole."""
    stem, mark, number = lot_id.rpartition(_MARK)
    return stem if mark and number.isdigit() else ""
