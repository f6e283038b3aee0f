"""What a day's trades meet in the wash-sale window: replacements already bought, losses already sold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kernel.rebalancing.money import ZERO


@dataclass(frozen=True, slots=True)
class OpenLoss:
    """Shares sold at a loss within the window, as far as nothing replaces them yet: a purchase now would.

    Attributes:
        quantity: Shares.
        loss_per_share: Money, > 0.
        short_term: Whether the loss is a short-term one.
        until: First day on which a purchase does not disallow it any more.
    """

    quantity: Decimal
    loss_per_share: Decimal
    short_term: bool
    until: date


@dataclass(frozen=True, slots=True)
class WashExposure:
    """What a purchase or a sale of an instrument meets, in all accounts of the household.

    Attributes:
        replacements: Shares bought within the window before the day, still held and not matched yet: as many shares
            sold at a loss now are disallowed. Lots of the account's own that are sold first do not count against
            themselves; `own` says which of them are its own.
        own: Shares per lot id of the account's own among `replacements`: they replace other lots, and themselves only
            by the literal reading.
        retirement: Shares among `replacements` that are in retirement accounts: the loss is lost for good.
        open_losses: In the order of the sales.
        identical: Other instruments of the request that are substantially identical: buying them replaces, too.
    """

    replacements: Decimal = ZERO
    own: tuple[tuple[str, Decimal], ...] = ()
    retirement: Decimal = ZERO
    open_losses: tuple[OpenLoss, ...] = ()
    identical: frozenset[str] = frozenset()
