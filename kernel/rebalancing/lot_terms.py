"""Tax lots and the wash-sale window in the program of a trade plan.

Per instrument, in steps: s_j sold from lot j, S its sale, o_j whether lot j is open to a sale in the method's order

    sum_j s_j = S,   s_j <= q_j z;   in an order: s_j <= q_j o_j, s_{j-1} >= q_{j-1} o_j
    gains of a term = sum_j gain_j s_j + losses disallowed

Where wash sales are priced, D_j is the number of shares at a loss up to lot j, in the order of purchase, that
replacements R_j disallow:  D_j = max(D_{j-1}, min(R_j, D_{j-1} + s_j)).  The tax grows with every share disallowed, so
that lower bounds hold it, with one flag per lot for the minimum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kernel.rebalancing.curves import Affine, Terms
from kernel.rebalancing.lot_book import LotBook, SaleLot
from kernel.rebalancing.lots import Term
from kernel.rebalancing.mixed_integer import Order
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.sides import Frame, Side

GAIN_MEASURES = ("max_tax_amount", "max_realized_gain_amount", "short_term_gains")


@dataclass(frozen=True, slots=True)
class LotColumn:
    """Steps sold from a lot.

    Attributes:
        lot: The lot.
        column: Its variable.
        most: Most steps.
    """

    lot: SaleLot
    column: int
    most: float


def counts_gains(frame: Frame) -> bool:
    """Whether gains enter the objective or a limit of the program."""
    tax, limits = frame.book.tax, frame.book.limits
    if tax is None:
        return False
    limited = limits.max_tax is not None or limits.max_realized_gain is not None
    return tax.weight > ZERO or limited or tax.avoid_short_term_gains or frame.scope.measure in GAIN_MEASURES


class LotTerms:
    """The lots of all sales in one program.

    Attributes:
        short: Net short-term gains of the trades in units, disallowed losses left out.
        long: Net long-term gains likewise.
        short_term: Sum of the short-term gains of lots.
        columns: By instrument, the lots that a sale may be filled from.
    """

    def __init__(self, frame: Frame) -> None:
        """Adds lots where the program needs them."""
        self._frame, self._assembly = frame, frame.assembly
        tax = frame.book.tax
        assert tax is not None
        self._tax = tax
        self.short, self.long, self.short_term = Affine(), Affine(), Affine()
        self.columns: dict[str, tuple[LotColumn, ...]] = {}
        every = counts_gains(frame)
        for side in frame.sides:
            name = frame.book.positions[side.index].instrument_id
            lots = frame.book.lots.get(name)
            if lots is None:
                continue
            if side.sign > 0.0:
                self._add_purchase(side, lots)
            elif lots.lots and (every or self._restricts(lots, side)):
                self.columns[name] = self._add_sale(side, lots)
        self._exclude_identical()

    @property
    def sold(self) -> list[LotColumn]:
        """All lots that sales may be filled from."""
        return [lot for columns in self.columns.values() for lot in columns]

    def _restricts(self, lots: LotBook, side: Side) -> bool:
        """Whether not every sale may be filled in the order of the lots."""
        available = sum((lot.available for lot in lots.lots), ZERO) / side.scale.shares
        washes = any(lot.is_loss for lot in lots.lots) and self._watches(lots)
        return washes or float(available) < side.most

    def _watches(self, lots: LotBook) -> bool:
        return bool(lots.replacements or lots.identical or lots.replacing)

    def _add_sale(self, side: Side, lots: LotBook) -> tuple[LotColumn, ...]:
        columns = self._add_lots(side, lots)
        sold = Affine(dict.fromkeys((lot.column for lot in columns), 1.0))
        sold.add(side.quantity, -1.0)
        self._assembly.equal(sold.terms, 0.0)
        if not lots.free:
            self._keep_order(side, columns)
        self._cap_losses(side, columns)
        for lot in columns:
            gain = {lot.column: self._gain(lot.lot, side)}
            (self.short if lot.lot.term is Term.SHORT else self.long).add(gain)
            if lot.lot.is_short_term_gain:
                self.short_term.add(gain)
        if self._tax.price_wash_sales:
            self._price_losses(side, lots, columns)
        else:
            self._avoid_losses(side, lots, columns)
        return columns

    def _add_lots(self, side: Side, lots: LotBook) -> tuple[LotColumn, ...]:
        """Columns of the lots that a sale can reach."""
        columns: list[LotColumn] = []
        before = 0.0
        for lot in lots.lots:
            most = min(float(lot.available / side.scale.shares), side.most)
            barred = lot.is_short_term_gain and not self._frame.scope.short_term_gains
            barred = barred or (lot.is_loss and self._is_barred(lot, lots))
            if not lots.free and (barred or before >= side.most):
                break
            before += most
            if barred:
                continue
            column = self._assembly.column(most)
            self._assembly.at_least({side.flag: most, column: -1.0}, 0.0)
            columns.append(LotColumn(lot, column, most))
        return tuple(columns)

    def _is_barred(self, lot: SaleLot, lots: LotBook) -> bool:
        """Whether every sale of a lot at a loss is a wash sale that the plan must not make."""
        if self._tax.price_wash_sales:
            return False
        others = (other for other in lots.replacing if lots.replaces(other, lot))
        return bool(lots.replacements) or any(other.available < other.lot.quantity for other in others)

    def _keep_order(self, side: Side, columns: Sequence[LotColumn]) -> None:
        level = 0.0
        for before, lot in pairwise(columns):
            level += before.most
            opened = self._assembly.flag()
            self._assembly.orders.append(Order(opened, side.quantity, level))
            self._assembly.at_least({opened: lot.most, lot.column: -1.0}, 0.0)
            self._assembly.at_least({before.column: 1.0, opened: -before.most}, 0.0)

    def _cap_losses(self, side: Side, columns: Sequence[LotColumn]) -> None:
        """Without harvesting, shares at a loss are sold as far as the target calls for."""
        book = self._frame.book
        if not self._tax.weight or self._tax.harvest_losses or self._frame.scope.past_target or book.is_short_of_cash:
            return
        called = 0.0 if side.aim <= 0.0 else math.floor(side.aim) + 1.0 if side.scale.whole else side.aim
        losses = dict.fromkeys((lot.column for lot in columns if lot.lot.is_loss), 1.0)
        if losses and called < side.most:
            self._assembly.at_most(losses, called)

    def _gain(self, lot: SaleLot, side: Side) -> float:
        return self._frame.units(lot.gain * side.scale.shares)

    def _avoid_losses(self, side: Side, lots: LotBook, columns: Sequence[LotColumn]) -> None:
        """A lot is sold at a loss only when all others that replace it are sold off."""
        sold = {lot.lot.lot.lot_id: lot.column for lot in columns}
        for loss in columns:
            others = [lot for lot in lots.replacing if lots.replaces(lot, loss.lot)]
            if not loss.lot.is_loss or not others:
                continue
            flag = self._assembly.flag()
            self._assembly.at_most({loss.column: 1.0, flag: -loss.most}, 0.0)
            for other in others:
                everything = float(other.lot.quantity / side.scale.shares)
                column = sold.get(other.lot.lot_id)
                stays = {} if column is None else {column: 1.0}
                self._assembly.at_least({**stays, flag: -everything}, 0.0)

    def _price_losses(self, side: Side, lots: LotBook, columns: Sequence[LotColumn]) -> None:
        """Shares disallowed add their loss back to the gains."""
        losses = sorted(
            (lot for lot in columns if lot.lot.is_loss), key=lambda lot: (lot.lot.lot.acquired_on, lot.lot.lot.lot_id)
        )
        if not losses or not (lots.replacements or lots.replacing):
            return
        remaining = [(lot, self._remaining(lot, columns, side)) for lot in lots.replacing]
        before = Affine()
        reached = 0.0
        for lot in losses:
            reached += lot.most
            replacing = Affine(constant=float(lots.replacements / side.scale.shares))
            for other, rest in remaining:
                if lots.replaces(other, lot.lot):
                    replacing.add(rest.terms, 1.0, rest.constant)
            before = self._disallow(side, lot, before, (replacing, reached))

    def _disallow(self, side: Side, lot: LotColumn, before: Affine, cap: tuple[Affine, float]) -> Affine:
        """Shares disallowed up to a lot; the loss of those that it adds is added back."""
        replacing, reached = cap
        upto = Affine(dict(before.terms), before.constant)
        upto.add({lot.column: 1.0})
        column = self._assembly.column(reached)
        self._at_least_the_smaller(column, replacing, (upto, reached))
        added = Affine({column: 1.0})
        added.add(before.terms, -1.0)
        self._assembly.at_least(added.terms, 0.0)
        part = dict(added.terms)
        part[lot.column] = part.get(lot.column, 0.0) - 1.0
        self._assembly.at_most(part, 0.0)
        account = self.short if lot.lot.term is Term.SHORT else self.long
        account.add(added.terms, -self._gain(lot.lot, side))
        return Affine({column: 1.0})

    def _remaining(self, lot: SaleLot, columns: Sequence[LotColumn], side: Side) -> Affine:
        """Replacing shares of a lot that stay: the smaller of their number and of what stays of the lot."""
        own, everything = (float(amount / side.scale.shares) for amount in (lot.own, lot.lot.quantity))
        sold = [column.column for column in columns if column.lot is lot]
        if not sold:
            return Affine(constant=min(own, everything))
        rest = Affine({sold[0]: -1.0}, everything)
        if own >= everything:
            return rest
        column = self._assembly.column(own)
        self._at_least_the_smaller(column, Affine(constant=own), (rest, everything))
        return Affine({column: 1.0})

    def _at_least_the_smaller(self, column: int, first: Affine, second: tuple[Affine, float]) -> None:
        """Column >= min(first, second), where the first is largest at its bounds and the second has a largest value."""
        other, largest = second
        most = first.constant + sum(
            max(factor * self._assembly.upper[k], factor * self._assembly.lower[k]) for k, factor in first.terms.items()
        )
        # Where the flag is set the first is the smaller and holds, else the second.
        flag = self._assembly.flag()
        row = Affine({column: 1.0, flag: -most})
        row.add(first.terms, -1.0)
        self._assembly.at_least(row.terms, first.constant - most)
        row = Affine({column: 1.0, flag: largest})
        row.add(other.terms, -1.0)
        self._assembly.at_least(row.terms, other.constant)

    def _add_purchase(self, side: Side, lots: LotBook) -> None:
        """Purchases take back losses of earlier sales, in their order, where wash sales are priced."""
        before: Terms = {}
        limit = 0.0
        for loss in lots.open_losses if self._tax.price_wash_sales else ():
            limit += float(loss.quantity / side.scale.shares)
            most = min(limit, side.most)
            column = self._assembly.column(most)
            self._assembly.at_most({column: 1.0, **{k: -v for k, v in side.quantity.items()}}, 0.0)
            if limit < side.most:
                self._at_least_the_smaller(column, Affine(constant=limit), (Affine(dict(side.quantity)), side.most))
            else:
                self._assembly.at_least({column: 1.0, **{k: -v for k, v in side.quantity.items()}}, 0.0)
            taken = Affine({column: 1.0})
            taken.add(before, -1.0)
            self._assembly.at_least(taken.terms, 0.0)
            per_step = self._frame.units(loss.loss_per_share * side.scale.shares)
            (self.short if loss.short_term else self.long).add(taken.terms, per_step)
            before = {column: 1.0}

    def _exclude_identical(self) -> None:
        """Nothing is bought that is identical to what is sold at a loss."""
        positions = self._frame.book.positions
        bought = {positions[side.index].instrument_id: side.flag for side in self._frame.sides if side.sign > 0.0}
        for name, columns in self.columns.items():
            flags = [bought[other] for other in sorted(self._frame.book.lots[name].identical & bought.keys())]
            losses = {lot.column: 1.0 for lot in columns if lot.lot.is_loss}
            if not flags or not losses:
                continue
            flag = self._assembly.flag()
            most = sum(lot.most for lot in columns if lot.lot.is_loss)
            self._assembly.at_most({**losses, flag: -most}, 0.0)
            for other in flags:
                self._assembly.at_most({other: 1.0, flag: 1.0}, 1.0)
