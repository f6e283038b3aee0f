"""The accounts whose purchases and sales count together for wash sales, and what has happened in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from kernel.errors import ProblemError
from kernel.rebalancing.lots import TaxLot, Term
from kernel.rebalancing.money import ZERO, require_amount


class SamePurchase(StrEnum):
    """Whether shares left from the purchase that is sold count as its own replacement."""

    EXEMPT = "exempt"
    """They do not (Rev. Rul. 56-602)."""
    LITERAL = "literal"
    """They do when bought within the window, by the letter of 26 USC 1091(a)."""


class HoldingPeriod(StrEnum):
    """How a replacement takes over the holding period of the shares sold (26 USC 1223(3))."""

    ADD_DAYS = "add_days"
    """The days for which the shares sold were held are added to its own."""
    COPY_DATE = "copy_date"
    """The day from which the shares sold were held is taken over, where it is the earlier one."""


@dataclass(frozen=True, slots=True)
class WashPolicies:
    """How the wash-sale rule is read where sources differ.

    Attributes:
        same_purchase: Shares left from the purchase that is sold.
        holding_period: Holding period of the replacement.
        count_sold_replacements: Whether shares that were bought within the window and sold again before the loss count
            as replacements. The loss they take over is then recognised with their own sale, and not tested again.
    """

    same_purchase: SamePurchase = SamePurchase.EXEMPT
    holding_period: HoldingPeriod = HoldingPeriod.ADD_DAYS
    count_sold_replacements: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the household.

    Attributes:
        account_id: Unique in the household.
        retirement: Whether its sales are not taxed; a replacement bought in it loses the loss for good.
    """

    account_id: str
    retirement: bool = False


@dataclass(frozen=True, slots=True)
class HouseholdLot:
    """Shares held in an account.

    Attributes:
        account_id: Where they are held.
        instrument_id: What they are of.
        lot: How many, since when and at what cost.
    """

    account_id: str
    instrument_id: str
    lot: TaxLot

    @property
    def lot_id(self) -> str:
        """Id of the lot."""
        return self.lot.lot_id

    @property
    def quantity(self) -> Decimal:
        """Shares."""
        return self.lot.quantity

    @property
    def acquired_on(self) -> date:
        """Trade date of the purchase."""
        return self.lot.acquired_on

    @property
    def held_from(self) -> date:
        """Day from which the holding period counts."""
        return self.lot.held_from


@dataclass(frozen=True, slots=True)
class WashMatch:
    """Shares sold at a loss and the shares that replace them.

    Attributes:
        sale_id: Sale at a loss.
        sold_lot_id: Lot that was sold.
        account_id: Account that holds the replacement.
        lot_id: The replacement: the part of the purchase that was split off, where only a part replaces.
        instrument_id: What was bought.
        acquired_on: Trade date of the purchase.
        quantity: Shares matched, > 0.
        disallowed: Loss that they disallow, money, >= 0.
        lost: Whether no basis takes the loss over, because the replacement is in a retirement account.
        holding_from: Day from which the replacement's holding period counts now; None where the loss is lost.
        replacement_sale_id: Sale in which the replacement was sold before the loss; empty where it is still held.
        sale_account_id: Account of the sale at a loss.
    """

    sale_id: str
    sold_lot_id: str
    account_id: str
    lot_id: str
    instrument_id: str
    acquired_on: date
    quantity: Decimal
    disallowed: Decimal
    lost: bool
    holding_from: date | None
    replacement_sale_id: str = ""
    sale_account_id: str = ""


@dataclass(frozen=True, slots=True)
class SettledSale:
    """The part of a sale that one lot fills, with what the wash-sale rule makes of it.

    A line with no shares is a correction: the loss that shares sold before took over from a later sale.

    Attributes:
        account_id: Account.
        sale_id: Sale.
        instrument_id: What was sold.
        lot_id: Lot that was sold.
        quantity: Shares, > 0; zero for a correction.
        proceeds: Money, to the cent; the parts of a sale add up to its rounded value exactly.
        cost_basis: Money, to the cent; the parts of a lot add up to its basis exactly.
        gain: proceeds - cost_basis, before any wash sale.
        term: Short or long.
        sold_on: Trade date of the sale.
        acquired_on: Trade date of the purchase.
        held_since: Day from which the holding period counted, where a wash sale moved it.
        disallowed: Part of the loss that may not be used, money, >= 0.
        lost: Part of `disallowed` that no basis takes over.
        matches: The replacements, in the order of their purchases.
        retirement: Whether the sale has no tax effect.
        dated, priced: Whether date and cost of the purchase are known.
    """

    account_id: str
    sale_id: str
    instrument_id: str
    lot_id: str
    quantity: Decimal
    proceeds: Decimal
    cost_basis: Decimal
    gain: Decimal
    term: Term
    sold_on: date
    acquired_on: date
    held_since: date | None = None
    disallowed: Decimal = ZERO
    lost: Decimal = ZERO
    matches: tuple[WashMatch, ...] = ()
    retirement: bool = False
    dated: bool = True
    priced: bool = True

    @property
    def recognised(self) -> Decimal:
        """Gain that counts for tax: what is disallowed does not, and nothing does in a retirement account."""
        return ZERO if self.retirement else self.gain + self.disallowed


@dataclass(frozen=True, slots=True)
class RealizedLoss:
    """Shares sold at a loss in a taxable account, as far as nothing replaces them yet.

    Attributes:
        account_id: Account.
        sale_id: Sale.
        instrument_id: What was sold.
        lot_id: Lot that was sold.
        quantity: Shares not matched yet, > 0.
        loss: Their loss, money, > 0.
        sold_on: Trade date of the sale.
        acquired_on: Trade date of the purchase.
        held_since: Day from which the holding period counted, where a wash sale moved it.
        term: Short or long.
    """

    account_id: str
    sale_id: str
    instrument_id: str
    lot_id: str
    quantity: Decimal
    loss: Decimal
    sold_on: date
    acquired_on: date
    held_since: date | None = None
    term: Term = Term.SHORT

    @property
    def held_from(self) -> date:
        """Day from which the holding period counted."""
        return self.held_since or self.acquired_on

    def __post_init__(self) -> None:
        require_amount(f"losses[{self.sale_id}].quantity", self.quantity, positive=True)
        require_amount(f"losses[{self.sale_id}].loss", self.loss, positive=True)


@dataclass(frozen=True, slots=True)
class SoldPurchase:
    """Shares that were sold soon after they were bought, as far as they have replaced no others.

    Attributes:
        account_id: Account.
        sale_id: Sale in which they were sold.
        instrument_id: What they were of.
        lot_id: Their lot.
        quantity: Shares, > 0.
        sold_on: Trade date of that sale.
        acquired_on: Trade date of the purchase.
        held_since: Day from which the holding period counted, where a wash sale moved it.
    """

    account_id: str
    sale_id: str
    instrument_id: str
    lot_id: str
    quantity: Decimal
    sold_on: date
    acquired_on: date
    held_since: date | None = None

    @property
    def held_from(self) -> date:
        """Day from which the holding period counted."""
        return self.held_since or self.acquired_on


@dataclass(frozen=True, slots=True)
class IdenticalInstruments:
    """Which instruments are substantially identical: symmetric, and not transitive unless the pairs say so.

    Attributes:
        pairs: Sets of two instruments.
    """

    pairs: frozenset[frozenset[str]] = frozenset()

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> IdenticalInstruments:
        """The relation given by pairs, in either order; an instrument with itself says nothing."""
        return cls(frozenset(frozenset(pair) for pair in pairs if pair[0] != pair[1]))

    def are_identical(self, one: str, other: str) -> bool:
        """Whether shares of one replace shares of the other; those of the same instrument always do."""
        return one == other or (bool(self.pairs) and frozenset((one, other)) in self.pairs)

    def to(self, instrument_id: str) -> frozenset[str]:
        """The instrument and all that are substantially identical to it."""
        return frozenset({instrument_id}).union(*(pair for pair in self.pairs if instrument_id in pair))


@dataclass(frozen=True, slots=True)
class Household:
    """Accounts that count together, and what of their history still matters.

    Attributes:
        accounts: All accounts.
        lots: What is held, in the order of purchase; of the same day in the order given.
        losses: Losses that a purchase may still disallow; older ones may stay.
        sold: Shares bought and sold again, for WashPolicies.count_sold_replacements; older ones may stay.
        identical: Which instruments replace each other.
    """

    accounts: tuple[Account, ...] = ()
    lots: tuple[HouseholdLot, ...] = ()
    losses: tuple[RealizedLoss, ...] = ()
    sold: tuple[SoldPurchase, ...] = ()
    identical: IdenticalInstruments = field(default_factory=IdenticalInstruments)

    def __post_init__(self) -> None:
        names = [account.account_id for account in self.accounts]
        if len(set(names)) < len(names):
            raise ProblemError("accounts", "an account id is given twice")
        keys = {(held.account_id, held.instrument_id, held.lot.lot_id) for held in self.lots}
        if len(keys) < len(self.lots):
            self._refuse_doubled_lots()
        used = {account_id for account_id, _, _ in keys} | {loss.account_id for loss in self.losses}
        for account_id in used | {sold.account_id for sold in self.sold}:
            self.account(account_id)

    def _refuse_doubled_lots(self) -> None:
        counts = Counter((held.account_id, held.instrument_id, held.lot.lot_id) for held in self.lots)
        (account, instrument, lot), _ = counts.most_common(1)[0]
        raise ProblemError(f"lots[{lot}]", f"is given twice for {instrument} in account {account}")

    def account(self, account_id: str) -> Account:
        """The account of an id.

        Raises:
            ProblemError: There is none.
        """
        for account in self.accounts:
            if account.account_id == account_id:
                return account
        raise ProblemError(f"accounts[{account_id}]", "is not an account of the household")

    def lots_of(self, account_id: str, instrument_id: str) -> tuple[TaxLot, ...]:
        """The lots of an instrument in an account, in the order of purchase."""
        return tuple(
            held.lot for held in self.lots if held.account_id == account_id and held.instrument_id == instrument_id
        )
