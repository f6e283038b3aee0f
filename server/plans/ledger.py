"""Fills entered into the lots of a household: which lots they take, and what they realise."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from kernel.errors import ProblemError
from kernel.rebalancing.household import Household, HouseholdLot, RealizedLoss, SettledSale, WashMatch, WashPolicies
from kernel.rebalancing.lots import GainRates, LotMethod, Sale, TaxLot, Term, select_lots
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import is_part_of
from kernel.rebalancing.wash_sales import (
    AccountPurchase,
    AccountSale,
    record_purchase,
    record_replacements,
    record_sale,
)
from storage.plan_records import PlanExecution
from storage.records import Transaction

# Short enough for the marks of the parts into which a wash sale splits a lot.
_ID_DIGITS = 24


@dataclass(frozen=True, slots=True)
class PlannedLot:
    """Shares of a lot that the plan chose to sell."""

    lot_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class OpenSale:
    """What a plan still sells of an instrument.

    Attributes:
        quantity: Shares that no fill has taken and whose order is open.
        price: Of the plan, per share.
        lots: The plan's choice of lots, without those that fills took.
    """

    quantity: Decimal
    price: Decimal
    lots: tuple[PlannedLot, ...]


_NO_SALES: Mapping[str, OpenSale] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LedgerRules:
    """What sales are settled by.

    Attributes:
        rules: Of the day.
        policies: How the wash-sale rule is read.
        method: How lots are chosen where the plan's own do not suffice.
        rates: For the method of the least tax.
    """

    rules: TaxRuleSet
    policies: WashPolicies
    method: LotMethod
    rates: GainRates


@dataclass
class Ledger:
    """The household of a portfolio while fills of one day are entered.

    Attributes:
        portfolio_id: Where the fills happened.
        household: With the fills entered so far.
        terms: What sales are settled by.
        transactions: What the fills are, in order.
        matches: Wash sales that they settled; sales by the ids of their transactions.
        gains: Recognised gains of the year by account and term, negative for losses.
        amended: The same of sales in earlier years, whose returns are to be amended: losses that purchases take back.
    """

    portfolio_id: str
    household: Household
    terms: LedgerRules
    transactions: list[Transaction] = field(default_factory=list)
    matches: list[WashMatch] = field(default_factory=list)
    gains: dict[str, dict[Term, Decimal]] = field(default_factory=dict)
    amended: dict[str, dict[Term, Decimal]] = field(default_factory=dict)
    _sold: dict[tuple[str, str], str] = field(default_factory=dict)

    def enter(
        self,
        execution: PlanExecution,
        held: Decimal,
        planned: Sequence[PlannedLot],
        open_sales: Mapping[str, OpenSale] = _NO_SALES,
    ) -> None:
        """Enter a fill.

        Args:
            execution: With a quantity above zero.
            held: Shares of the instrument before it.
            planned: For a sale: lots that the plan chose and that no fill has taken yet, in order.
            open_sales: What the plan still sells after it, by instrument: it is taken as sold on the same day, so that
                tax does not depend on how orders are cut into fills.

        Raises:
            ProblemError: The lots do not hold what was sold.
        """
        lots = self.household.lots_of(self.portfolio_id, execution.instrument_id)
        if execution.action == "buy":
            # Shares beside others without lots stay without one: lots add up to the holding or are not there.
            has_lots = held == sum((lot.quantity for lot in lots), ZERO)
            self._buy(execution, has_lot=has_lots)
        elif lots:
            self._sell(execution, lots, planned, open_sales)
        else:
            self._note(execution)

    def _buy(self, execution: PlanExecution, *, has_lot: bool) -> None:
        identifier = fill_id(execution)
        self._note(execution, lot_id=identifier if has_lot else None)
        if not has_lot:
            return
        value = to_cents(execution.quantity * _price(execution)) + execution.cost
        purchase = AccountPurchase(
            self.portfolio_id,
            identifier,
            execution.instrument_id,
            execution.quantity,
            value / execution.quantity,
            execution.traded_on,
        )
        open_losses = self.household.losses
        self.household, matches = record_purchase(self.household, purchase, self.terms.rules, self.terms.policies)
        self.matches += [self._named(match) for match in matches]
        for match in matches:
            self._take_back(match, open_losses, execution.traded_on)

    def replace_losses(self, day: date, losses: Sequence[RealizedLoss], lots: Collection[str]) -> None:
        """Match losses with lots that a plan did not sell after all on the day of the losses.

        Args:
            day: On which this is known.
            losses: Of the plan's sales, as far as nothing replaces them.
            lots: What the plan was to sell.
        """
        kept: list[HouseholdLot] = []
        apart: list[HouseholdLot] = []
        for held in self.household.lots:
            is_kept = held.account_id == self.portfolio_id and (
                held.lot_id in lots or any(is_part_of(held.lot_id, name) for name in lots)
            )
            (kept if is_kept else apart).append(held)
        part = replace(self.household, lots=tuple(kept), losses=tuple(losses), sold=())
        after, matches = record_replacements(part, self.terms.rules, self.terms.policies)
        self.household = replace(self.household, lots=(*apart, *after.lots))
        self.matches += matches
        for match in matches:
            self._take_back(match, losses, day)

    def _sell(
        self,
        execution: PlanExecution,
        lots: Sequence[TaxLot],
        planned: Sequence[PlannedLot],
        open_sales: Mapping[str, OpenSale],
    ) -> None:
        value = to_cents(execution.quantity * _price(execution))
        # A sale that brings less than it costs realises nothing: the tax is then not understated.
        price = max(value - execution.cost, ZERO) / execution.quantity
        wanted = Sale(execution.quantity, price, execution.traded_on, self.terms.rules.long_term_months)
        taken = lots_to_sell(lots, planned, wanted, self.terms)
        sale = AccountSale(
            self.portfolio_id, fill_id(execution), execution.instrument_id, taken, price, execution.traded_on
        )
        leaving = self._leaving(sale, open_sales)
        self.household, settled = record_sale(
            self.household, sale, self.terms.rules, self.terms.policies, leaving=leaving
        )
        parts = [part for part in settled if part.quantity]
        for k, (part, cost) in enumerate(zip(parts, _shares_of_cost(execution, parts), strict=True)):
            identifier = f"{sale.sale_id}-{k}"
            self._sold[sale.sale_id, part.lot_id] = identifier
            self.transactions.append(_sale_transaction(execution, part, identifier, cost, self.portfolio_id))
        for part in settled:
            self._recognise(part, part.recognised, execution.traded_on)
        self.matches += [self._named(match) for part in parts for match in part.matches]

    def _leaving(self, sale: AccountSale, open_sales: Mapping[str, OpenSale]) -> dict[tuple[str, str], Decimal]:
        """Shares by instrument and lot that the plan still sells."""
        found: dict[tuple[str, str], Decimal] = {}
        taken = dict(sale.lots)
        for name, still in open_sales.items():
            own = name == sale.instrument_id
            lots = [
                replace(lot, quantity=left)
                for lot in self.household.lots_of(self.portfolio_id, name)
                if lot.acquired_on <= sale.sold_on
                and (left := lot.quantity - (taken.get(lot.lot_id, ZERO) if own else ZERO)) > ZERO
            ]
            shares = min(still.quantity, sum((lot.quantity for lot in lots), ZERO))
            if shares > ZERO:
                wanted = Sale(shares, still.price, sale.sold_on, self.terms.rules.long_term_months)
                found |= {(name, lot_id): part for lot_id, part in lots_to_sell(lots, still.lots, wanted, self.terms)}
        return found

    def _note(self, execution: PlanExecution, lot_id: str | None = None) -> None:
        self.transactions.append(
            Transaction(
                portfolio_id=self.portfolio_id,
                id=fill_id(execution),
                instrument_id=execution.instrument_id,
                action=execution.action,
                quantity=execution.quantity,
                price=_price(execution),
                traded_on=execution.traded_on,
                cost=execution.cost,
                lot_id=lot_id,
                rebalance_id=execution.rebalance_id,
            )
        )

    def _named(self, match: WashMatch) -> WashMatch:
        """The match with the id of its sale's transaction: a sale from several lots has several."""
        return replace(match, sale_id=self._sold.get((match.sale_id, match.sold_lot_id), match.sale_id))

    def _take_back(self, match: WashMatch, losses: Iterable[RealizedLoss], day: date) -> None:
        """A loss that was recognised before counts no more."""
        for loss in losses:
            key = (loss.account_id, loss.sale_id, loss.lot_id)
            if key == (match.sale_account_id, match.sale_id, match.sold_lot_id):
                self._recognise(loss, match.disallowed, day)
                return

    def _recognise(self, sold: SettledSale | RealizedLoss, gain: Decimal, day: date) -> None:
        # What an earlier year recognised is not this year's.
        gains = self.gains if sold.sold_on.year >= day.year else self.amended
        of_account = gains.setdefault(sold.account_id, {})
        of_account[sold.term] = of_account.get(sold.term, ZERO) + gain


def fill_id(execution: PlanExecution) -> str:
    """The id of a fill's transaction and lot: the same whenever the fill is entered."""
    text = f"{execution.rebalance_id}/{execution.execution_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def left_of_plan(planned: Iterable[PlannedLot], sold: Decimal) -> tuple[PlannedLot, ...]:
    """The plan's choice of lots for one instrument, without the shares that were sold already."""
    left = []
    for lot in planned:
        gone = min(sold, lot.quantity)
        sold -= gone
        if lot.quantity > gone:
            left.append(replace(lot, quantity=lot.quantity - gone))
    return tuple(left)


def lots_to_sell(
    lots: Sequence[TaxLot], planned: Iterable[PlannedLot], sale: Sale, terms: LedgerRules
) -> tuple[tuple[str, Decimal], ...]:
    """The lots that a sale takes: those of the plan first, then others by the portfolio's method.

    A lot that a wash sale has split since stands for all its parts, first for what has replaced nothing.

    Args:
        lots: What is held.
        planned: What the plan chose, as far as it is left.
        sale: What is sold.
        terms: Method and rates.

    Returns:
        Lot ids, each once, with quantities that add up to the sale's.

    Raises:
        ProblemError: The lots that were bought on or before the day hold less.
    """
    left = {lot.lot_id: lot.quantity for lot in lots if lot.acquired_on <= sale.sold_on}
    taken: dict[str, Decimal] = {}
    wanted = sale.quantity
    for choice in planned:
        amount = min(choice.quantity, wanted)
        parts = [name for name in left if is_part_of(name, choice.lot_id)]
        for lot_id in [choice.lot_id, *parts] if choice.lot_id in left else parts:
            part = min(amount, left[lot_id])
            taken[lot_id] = taken.get(lot_id, ZERO) + part
            left[lot_id] -= part
            amount, wanted = amount - part, wanted - part
    if wanted:
        rest = [replace(lot, quantity=left[lot.lot_id]) for lot in lots if left.get(lot.lot_id)]
        for sold in _rest_by_method(rest, replace(sale, quantity=wanted), terms):
            taken[sold.lot_id] = taken.get(sold.lot_id, ZERO) + sold.quantity
    return tuple((lot_id, quantity) for lot_id, quantity in taken.items() if quantity)


def _rest_by_method(lots: Sequence[TaxLot], sale: Sale, terms: LedgerRules) -> tuple[PlannedLot, ...]:
    held = sum((lot.quantity for lot in lots), ZERO)
    if held < sale.quantity:
        missing = f"{sale.quantity - held:f} of the shares sold"
        raise ProblemError("lots", f"lots bought on or before {sale.sold_on.isoformat()} do not hold {missing}")
    parts = select_lots(lots, sale, terms.method, terms.rates)
    return tuple(PlannedLot(part.lot.lot_id, part.quantity) for part in parts)


def _price(execution: PlanExecution) -> Decimal:
    assert execution.price is not None, "a fill has a price"
    return execution.price


def _shares_of_cost(execution: PlanExecution, parts: Sequence[SettledSale]) -> list[Decimal]:
    """The cost by lot, to the cent; the parts add up exactly."""
    shares, filled, charged = [], ZERO, ZERO
    for part in parts:
        filled += part.quantity
        upto = to_cents(execution.cost * filled / execution.quantity)
        shares.append(upto - charged)
        charged = upto
    return shares


def _sale_transaction(
    execution: PlanExecution, part: SettledSale, identifier: str, cost: Decimal, portfolio_id: str
) -> Transaction:
    return Transaction(
        portfolio_id=portfolio_id,
        id=identifier,
        instrument_id=part.instrument_id,
        action="sell",
        quantity=part.quantity,
        price=_price(execution),
        traded_on=part.sold_on,
        cost=cost,
        lot_id=part.lot_id,
        acquired_on=part.acquired_on if part.dated else None,
        held_since=part.held_since if part.dated else None,
        gain=part.gain,
        rebalance_id=execution.rebalance_id,
    )


def net_of(gains: Mapping[str, Mapping[Term, Decimal]], account_id: str) -> NetGains:
    """The gains of one account."""
    of_account = gains.get(account_id, {})
    return NetGains(of_account.get(Term.SHORT, ZERO), of_account.get(Term.LONG, ZERO))
