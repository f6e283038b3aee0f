"""The wash-sale engine: purchases and sales of a household, one after the other, with exact matches and bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from kernel.errors import ProblemError
from kernel.rebalancing.household import (
    Account,
    HoldingPeriod,
    Household,
    HouseholdLot,
    RealizedLoss,
    SamePurchase,
    SettledSale,
    SoldPurchase,
    WashMatch,
    WashPolicies,
)
from kernel.rebalancing.lots import LotSale, Sale, TaxLot, holding_term, sell_from
from kernel.rebalancing.money import ZERO, require_amount, to_cents
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import (
    is_same_purchase,
    open_loss,
    part_id,
    sold_purchase,
    unit_cost,
    with_matches,
)

_NONE: Mapping[tuple[str, str], Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AccountSale:
    """A sale in an account.

    Attributes:
        account_id: Account.
        sale_id: Unique in the account.
        instrument_id: What is sold.
        lots: Lot ids with the shares taken from each, in their order.
        price: Money per share, selling expenses taken off.
        sold_on: Trade date.
    """

    account_id: str
    sale_id: str
    instrument_id: str
    lots: tuple[tuple[str, Decimal], ...]
    price: Decimal
    sold_on: date

    @property
    def quantity(self) -> Decimal:
        """Shares sold."""
        return sum((quantity for _, quantity in self.lots), ZERO)


@dataclass(frozen=True, slots=True)
class AccountPurchase:
    """A purchase in an account.

    Attributes:
        account_id: Account.
        lot_id: Lot that it opens; unique among the lots of the account.
        instrument_id: What is bought.
        quantity: Shares, > 0.
        unit_cost: Money per share, buying expenses included.
        acquired_on: Trade date.
    """

    account_id: str
    lot_id: str
    instrument_id: str
    quantity: Decimal
    unit_cost: Decimal
    acquired_on: date


def record_sale(
    household: Household,
    sale: AccountSale,
    rules: TaxRuleSet,
    policies: WashPolicies,
    *,
    leaving: Mapping[tuple[str, str], Decimal] = _NONE,
) -> tuple[Household, tuple[SettledSale, ...]]:
    """Takes a sale from its lots and matches its losses with shares bought before it.

    A loss is disallowed as far as substantially identical shares that are held after the sale were bought within the
    window, in any account of the household. Losses are taken in the order of the lots' purchases, replacements in the
    order of their own; a share replaces once. The replacement's basis takes over the loss and its holding period that
    of the shares sold; in a retirement account it takes over nothing and the loss is lost for good. What is not matched
    stays open for purchases after the sale.

    Args:
        household: State before.
        sale: The sale.
        rules: Rules that hold on its day.
        policies: How the rule is read.
        leaving: Shares of the account by instrument and lot that are sold on the same day, too, and not yet recorded:
            they are not held after it, so they replace nothing.

    Returns:
        State after, and the parts of the sale in its order; with WashPolicies.count_sold_replacements followed by the
        corrections of sales before it.

    Raises:
        ProblemError: An account or a lot is not known, a lot holds fewer shares than are sold or was bought later, or
            a number is out of range.

    References:
        26 USC 1091, 1223(3); 26 CFR 1.1091-1, 1.1091-2; Rev. Rul. 2008-5.
    """
    books = _Books(household, rules, policies)
    settled = books.sell(sale, leaving)
    return books.household(), settled


def record_purchase(
    household: Household, purchase: AccountPurchase, rules: TaxRuleSet, policies: WashPolicies
) -> tuple[Household, tuple[WashMatch, ...]]:
    """Opens a lot and matches it with losses within the window that nothing replaces yet.

    Losses are taken in the order of disposition; those of the same day in the order of original acquisition. A lot of
    which a part replaces is split: the parts that replace take ids of their own, the rest keeps the id.

    Args:
        household: State before.
        purchase: The purchase.
        rules: Rules that hold on its day.
        policies: How the rule is read.

    Returns:
        State after, and the matches in the order of the losses.

    Raises:
        ProblemError: The account is not known, the lot is, or a number is out of range.

    References:
        26 USC 1091, 1223(3); 26 CFR 1.1091-1, 1.1091-2; Rev. Rul. 2008-5.
    """
    books = _Books(household, rules, policies)
    matches = books.buy(purchase)
    return books.household(), matches


def record_replacements(
    household: Household, rules: TaxRuleSet, policies: WashPolicies
) -> tuple[Household, tuple[WashMatch, ...]]:
    """Matches open losses with shares that are held after all: not sold as was planned, or heard of late.

    Args:
        household: State before, with the losses and the lots that can replace.
        rules: Rules that hold on the days of the losses.
        policies: How the rule is read.

    Returns:
        State after, and the matches in the order of the losses.

    References:
        26 USC 1091, 1223(3); 26 CFR 1.1091-1, 1.1091-2; Rev. Rul. 2008-5.
    """
    books = _Books(household, rules, policies)
    matches = books.match_held()
    return books.household(), matches


_Replacement = HouseholdLot | SoldPurchase


class _Books:
    """A household that changes while one event is recorded."""

    def __init__(self, household: Household, rules: TaxRuleSet, policies: WashPolicies) -> None:
        self._household = household
        self._rules = rules
        self._policies = policies
        self._lots = list(household.lots)
        self._losses = list(household.losses)
        self._sold = list(household.sold)
        self._leaving: dict[tuple[str, str, str], Decimal] = {}

    def household(self) -> Household:
        """The state now."""
        return replace(self._household, lots=tuple(self._lots), losses=tuple(self._losses), sold=tuple(self._sold))

    def sell(self, sale: AccountSale, leaving: Mapping[tuple[str, str], Decimal]) -> tuple[SettledSale, ...]:
        """Takes all the shares first: shares of one sale do not replace each other."""
        account = self._household.account(sale.account_id)
        self._leaving = {(sale.account_id, *key): shares for key, shares in leaving.items()}
        _check_sale(sale)
        taken = self._take(sale, account)
        parts = [part for part, _ in taken]
        corrections: list[SettledSale] = []
        for at in sorted(range(len(parts)), key=lambda at: parts[at].acquired_on):
            if parts[at].gain < ZERO and not account.retirement:
                parts[at] = self._settle(parts[at], corrections)
        self._sold += [sold_purchase(part) for part, lot in taken if self._may_replace_later(part, lot)]
        return (*parts, *corrections)

    def buy(self, purchase: AccountPurchase) -> tuple[WashMatch, ...]:
        """Opens the lot and matches the losses before it."""
        self._household.account(purchase.account_id)
        if any(held.lot.lot_id == purchase.lot_id and held.account_id == purchase.account_id for held in self._lots):
            raise ProblemError(f"lots[{purchase.lot_id}]", f"is a lot of account {purchase.account_id} already")
        lot = TaxLot(purchase.lot_id, purchase.quantity, purchase.unit_cost, purchase.acquired_on)
        self._lots.append(HouseholdLot(purchase.account_id, purchase.instrument_id, lot))
        matches: list[WashMatch] = []
        for loss in sorted(self._losses, key=lambda loss: (loss.sold_on, loss.acquired_on)):
            left = self._lots[-1]
            if left.lot.replaced_loss:
                break
            if self._is_replaced_by(loss, left):
                match, rest = self._match(loss, left)
                matches.append(match)
                at = self._losses.index(loss)
                self._losses[at : at + 1] = [] if rest is None else [rest]
        return tuple(matches)

    def match_held(self) -> tuple[WashMatch, ...]:
        """Matches the open losses, in the order of disposition, with lots bought before or after them."""
        matches: list[WashMatch] = []
        for loss in sorted(self._losses, key=lambda loss: (loss.sold_on, loss.acquired_on)):
            rest: RealizedLoss | None = loss
            for replacement in self._replacements(loss):
                if rest is None:
                    break
                if isinstance(replacement, HouseholdLot):
                    match, rest = self._match(rest, replacement)
                    matches.append(match)
            at = self._losses.index(loss)
            self._losses[at : at + 1] = [] if rest is None else [rest]
        return tuple(matches)

    def _take(self, sale: AccountSale, account: Account) -> list[tuple[SettledSale, TaxLot]]:
        """The parts of a sale, each with its lot as it was before."""
        terms = Sale(sale.quantity, sale.price, sale.sold_on, self._rules.long_term_months)
        taken: list[tuple[SettledSale, TaxLot]] = []
        filled = ZERO
        for lot_id, quantity in sale.lots:
            at = self._find(sale, lot_id)
            held = self._lots[at]
            _check_part(sale, held.lot, quantity)
            taken.append((_part(sale, account, sell_from(held.lot, quantity, filled, terms)), held.lot))
            filled += quantity
            left = held.quantity - quantity
            self._lots[at : at + 1] = [replace(held, lot=replace(held.lot, quantity=left))] if left else []
        return taken

    def _find(self, sale: AccountSale, lot_id: str) -> int:
        place = (sale.account_id, sale.instrument_id)
        for at, held in enumerate(self._lots):
            if held.lot.lot_id == lot_id and (held.account_id, held.instrument_id) == place:
                return at
        raise ProblemError(f"sale.lots[{lot_id}]", f"is not a lot of {sale.instrument_id} in account {sale.account_id}")

    def _settle(self, part: SettledSale, corrections: list[SettledSale]) -> SettledSale:
        """Matches a loss with what was bought before it; the rest stays open."""
        loss: RealizedLoss | None = open_loss(part)
        matches: list[WashMatch] = []
        for replacement in self._replacements(part):
            if loss is None:
                break
            match, loss = self._match(loss, replacement)
            matches.append(match)
            if isinstance(replacement, SoldPurchase) and not match.lost:
                corrections.append(self._correction(replacement, match))
        if loss is not None:
            self._losses.append(loss)
        return with_matches(part, matches)

    def _replacements(self, part: SettledSale | RealizedLoss) -> list[_Replacement]:
        """What was bought within the window, in the order of purchase."""
        literal = self._policies.same_purchase is SamePurchase.LITERAL
        found: list[_Replacement] = [
            sold
            for sold in self._sold
            if self._policies.count_sold_replacements
            and sold.sold_on <= part.sold_on
            and self._is_replaced_by(part, sold)
            and not is_same_purchase(part, sold)
        ]
        found += [
            held
            for held in self._lots
            if not held.lot.replaced_loss
            and held.lot.dated
            and self._free(held) > ZERO
            and self._is_replaced_by(part, held)
            and (literal or not is_same_purchase(part, held))
        ]
        return sorted(found, key=lambda replacement: replacement.acquired_on)

    def _is_replaced_by(self, loss: SettledSale | RealizedLoss, bought: _Replacement) -> bool:
        """Whether a purchase is of the same or an identical instrument and within the window, both ends included."""
        days = abs((bought.acquired_on - loss.sold_on).days)
        identical = self._household.identical
        return days <= self._rules.wash_sale_days and identical.are_identical(loss.instrument_id, bought.instrument_id)

    def _match(self, loss: RealizedLoss, bought: _Replacement) -> tuple[WashMatch, RealizedLoss | None]:
        """Matches as many shares as both have; answers with what is left of the loss."""
        quantity = min(loss.quantity, self._free(bought))
        rest = to_cents(loss.loss * (loss.quantity - quantity) / loss.quantity)
        lost = self._household.account(bought.account_id).retirement
        match = WashMatch(
            loss.sale_id,
            loss.lot_id,
            bought.account_id,
            bought.lot_id,
            bought.instrument_id,
            bought.acquired_on,
            quantity,
            loss.loss - rest,
            lost,
            None if lost else self._holding_from(loss, bought),
            sale_account_id=loss.account_id,
        )
        if isinstance(bought, SoldPurchase):
            self._use(bought, quantity)
            match = replace(match, replacement_sale_id=bought.sale_id)
        else:
            match = replace(match, lot_id=self._split(bought, match))
        return match, replace(loss, quantity=loss.quantity - quantity, loss=rest) if rest else None

    def _free(self, bought: _Replacement) -> Decimal:
        """Shares that can replace others."""
        key = (bought.account_id, bought.instrument_id, bought.lot_id)
        return bought.quantity - (self._leaving.get(key, ZERO) if isinstance(bought, HouseholdLot) else ZERO)

    def _holding_from(self, loss: RealizedLoss, bought: _Replacement) -> date:
        if self._policies.holding_period is HoldingPeriod.COPY_DATE:
            return min(bought.held_from, loss.held_from)
        days = (loss.sold_on - loss.held_from).days
        return date.fromordinal(max(1, bought.held_from.toordinal() - days))

    def _split(self, held: HouseholdLot, match: WashMatch) -> str:
        """Parts a lot into the shares that replace, which take over the loss, and the rest; id of the former."""
        lot, at = held.lot, self._lots.index(held)
        basis = lot.basis_of(match.quantity) + (ZERO if match.lost else match.disallowed)
        left = lot.quantity - match.quantity
        taken = {other.lot_id for other in self._lots if other.account_id == held.account_id}
        lot_id = part_id(lot.lot_id, taken) if left else lot.lot_id
        part = replace(
            lot,
            lot_id=lot_id,
            quantity=match.quantity,
            unit_cost=unit_cost(lot, match.quantity, basis),
            held_since=lot.held_since if match.lost else match.holding_from,
            replaced_loss=True,
        )
        rest = [replace(held, lot=replace(lot, quantity=left))] if left else []
        self._lots[at : at + 1] = [replace(held, lot=part), *rest]
        return lot_id

    def _use(self, sold: SoldPurchase, quantity: Decimal) -> None:
        at, left = self._sold.index(sold), sold.quantity - quantity
        self._sold[at : at + 1] = [replace(sold, quantity=left)] if left else []

    def _correction(self, sold: SoldPurchase, match: WashMatch) -> SettledSale:
        """The loss that shares sold before take over, recognised with their own sale."""
        assert match.holding_from is not None
        return SettledSale(
            sold.account_id,
            sold.sale_id,
            sold.instrument_id,
            sold.lot_id,
            ZERO,
            ZERO,
            match.disallowed,
            -match.disallowed,
            holding_term(match.holding_from, sold.sold_on, self._rules.long_term_months),
            sold.sold_on,
            sold.acquired_on,
            match.holding_from,
        )

    def _may_replace_later(self, part: SettledSale, lot: TaxLot) -> bool:
        held_for = (part.sold_on - part.acquired_on).days
        return lot.dated and not lot.replaced_loss and held_for <= self._rules.wash_sale_days


def _part(sale: AccountSale, account: Account, sold: LotSale) -> SettledSale:
    return SettledSale(
        account.account_id,
        sale.sale_id,
        sale.instrument_id,
        sold.lot.lot_id,
        sold.quantity,
        sold.proceeds,
        sold.cost_basis,
        sold.gain,
        sold.term,
        sale.sold_on,
        sold.lot.acquired_on,
        sold.lot.held_since,
        retirement=account.retirement,
        dated=sold.lot.dated,
        priced=sold.lot.priced,
    )


def _check_sale(sale: AccountSale) -> None:
    require_amount("sale.price", sale.price)
    names = [lot_id for lot_id, _ in sale.lots]
    if not names:
        raise ProblemError("sale.lots", f"sale {sale.sale_id} takes from no lot")
    if len(set(names)) < len(names):
        raise ProblemError("sale.lots", f"sale {sale.sale_id} names a lot twice")


def _check_part(sale: AccountSale, lot: TaxLot, quantity: Decimal) -> None:
    field = f"sale.lots[{lot.lot_id}]"
    require_amount(f"{field}.quantity", quantity, positive=True)
    if quantity > lot.quantity:
        raise ProblemError(
            f"{field}.quantity", f"the lot of {sale.instrument_id} holds {lot.quantity} shares, fewer than {quantity}"
        )
    if lot.acquired_on > sale.sold_on:
        raise ProblemError(
            f"{field}.acquired_on", f"{lot.acquired_on.isoformat()} is after the sale on {sale.sold_on.isoformat()}"
        )
