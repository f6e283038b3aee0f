"""What a day's trades meet in the wash-sale window: replacements already bought, losses already sold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from kernel.rebalancing.household import Household, HouseholdLot, RealizedLoss, SamePurchase, WashPolicies
from kernel.rebalancing.lots import Term
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax_rules import TaxRuleSet

_PartT = TypeVar("_PartT", HouseholdLot, RealizedLoss)


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
        own: Shares per lot id of the account's own among `replacements`, in the order of purchase: they replace other
            lots, and themselves only by the literal reading.
        retirement: Shares among `replacements` that are in retirement accounts: the loss is lost for good.
        open_losses: In the order of the sales.
        identical: Other instruments of the request that are substantially identical: buying them replaces, too.
        literal: Whether shares left of a lot replace those sold from it.
    """

    replacements: Decimal = ZERO
    own: tuple[tuple[str, Decimal], ...] = ()
    retirement: Decimal = ZERO
    open_losses: tuple[OpenLoss, ...] = ()
    identical: frozenset[str] = frozenset()
    literal: bool = False


@dataclass(frozen=True, slots=True)
class PurchaseLock:
    """Days on which a purchase of an instrument disallows a loss that was taken.

    Attributes:
        until: First day on which a purchase disallows none of the losses known now.
        loss_at_risk: Losses that a purchase now can disallow, money, > 0.
    """

    until: date
    loss_at_risk: Decimal


def wash_exposure(
    household: Household,
    account_id: str,
    day: date,
    instruments: Collection[str],
    rules: TaxRuleSet,
    *,
    policies: WashPolicies,
) -> dict[str, WashExposure]:
    """What trades of an account on a day meet in the wash-sale window.

    Args:
        household: All accounts that count together.
        account_id: The account that trades. Sales of a retirement account meet no replacements.
        day: The day of the trades.
        instruments: What may be traded.
        rules: Rules that hold on the day.
        policies: How the rule is read.

    Returns:
        By instrument; those that meet nothing are left out.

    Raises:
        ProblemError: The account is not one of the household.

    References:
        26 USC 1091(a); Rev. Rul. 2008-5.
    """
    sells_taxed = not household.account(account_id).retirement
    held = _by_instrument(_recent(household, day, rules) if sells_taxed else [])
    losses = _by_instrument(_open(household, day, rules))
    names = frozenset(instruments)
    found: dict[str, WashExposure] = {}
    for name in names:
        identical = household.identical.to(name)
        replacements = [lot for other in sorted(identical) for lot in held.get(other, ())]
        open_losses = [loss for other in sorted(identical) for loss in losses.get(other, ())]
        others = names & identical - {name}
        if replacements or open_losses or others:
            exposure = _replacing(household, account_id, sorted(replacements, key=lambda lot: lot.acquired_on))
            found[name] = replace(
                exposure,
                open_losses=tuple(_open_loss(loss, rules) for loss in sorted(open_losses, key=_disposition)),
                identical=others,
                literal=policies.same_purchase is SamePurchase.LITERAL,
            )
    return dict(sorted(found.items()))


def purchase_locks(household: Household, day: date, rules: TaxRuleSet) -> dict[str, PurchaseLock]:
    """What should not be bought on a day, in any account, because it would disallow a loss.

    The day that many days after the loss as the window has is still locked.

    Args:
        household: All accounts that count together.
        day: The day.
        rules: Rules that hold on the day.

    Returns:
        By instrument, those that are substantially identical to what was sold included, in the order of their ids.
    """
    locks: dict[str, PurchaseLock] = {}
    for loss in _open(household, day, rules):
        until = _free_on(loss, rules)
        for name in household.identical.to(loss.instrument_id):
            known = locks.get(name, PurchaseLock(until, ZERO))
            locks[name] = PurchaseLock(max(until, known.until), known.loss_at_risk + loss.loss)
    return dict(sorted(locks.items()))


def _recent(household: Household, day: date, rules: TaxRuleSet) -> list[HouseholdLot]:
    """Lots that replace what is sold on the day."""
    return [
        held
        for held in household.lots
        if held.lot.dated and not held.lot.replaced_loss and abs((held.acquired_on - day).days) <= rules.wash_sale_days
    ]


def _open(household: Household, day: date, rules: TaxRuleSet) -> list[RealizedLoss]:
    """Losses that a purchase on the day disallows."""
    return [loss for loss in household.losses if abs((loss.sold_on - day).days) <= rules.wash_sale_days]


def _disposition(loss: RealizedLoss) -> tuple[date, date]:
    """The order of disposition; within a day, that of original acquisition."""
    return loss.sold_on, loss.acquired_on


def _by_instrument(parts: Iterable[_PartT]) -> dict[str, list[_PartT]]:
    found: dict[str, list[_PartT]] = {}
    for part in parts:
        found.setdefault(part.instrument_id, []).append(part)
    return found


def _free_on(loss: RealizedLoss, rules: TaxRuleSet) -> date:
    return loss.sold_on + timedelta(days=rules.wash_sale_days + 1)


def _open_loss(loss: RealizedLoss, rules: TaxRuleSet) -> OpenLoss:
    return OpenLoss(loss.quantity, loss.loss / loss.quantity, loss.term is Term.SHORT, _free_on(loss, rules))


def _replacing(household: Household, account_id: str, replacements: list[HouseholdLot]) -> WashExposure:
    return WashExposure(
        replacements=sum((held.quantity for held in replacements), ZERO),
        own=tuple((held.lot_id, held.quantity) for held in replacements if held.account_id == account_id),
        retirement=sum((held.quantity for held in replacements if household.account(held.account_id).retirement), ZERO),
    )
