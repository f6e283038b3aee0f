"""Holdings and tax lots from rows or objects: read alike, reconciled alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from server.imports.instruments import CASH_ID
from server.imports.problems import Problems
from server.imports.rows import MAX_ID, TableRow
from storage.records import Holding, TaxLot

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Positions:
    """What a portfolio consists of beside cash; lots of an instrument add up to its holding."""

    holdings: tuple[Holding, ...]
    lots: tuple[TaxLot, ...]


@dataclass(slots=True)
class PositionReader:
    """Gathers holdings and lots and notes what is wrong with them.

    Attributes:
        known: The instruments that may appear.
        problems: Takes faults that concern no single row.
        quantities: Instrument -> shares, as stated by holdings.
        lots: Id -> lot.
    """

    known: frozenset[str]
    problems: Problems
    quantities: dict[str, Decimal] = field(default_factory=dict)
    lots: dict[str, TaxLot] = field(default_factory=dict)

    def instrument(self, row: TableRow) -> str:
        """The instrument of a row."""
        instrument_id = row.text("instrument_id", limit=MAX_ID, required=True)
        if instrument_id == CASH_ID:
            row.refuse("instrument_id", "is cash, which is an amount and not a holding here")
        elif instrument_id and instrument_id not in self.known:
            row.refuse("instrument_id", "is an unknown instrument")
        return instrument_id

    def take_holding(self, row: TableRow) -> None:
        """Takes columns instrument_id and quantity (shares, negative when short)."""
        instrument_id, quantity = self.instrument(row), row.needed_decimal("quantity")
        if instrument_id in self.quantities:
            row.refuse("instrument_id", "appears twice")
        self.quantities[instrument_id] = quantity

    def take_lot(self, row: TableRow) -> None:
        """Takes columns instrument_id, quantity and those of a lot; cost_per_share >= 0."""
        instrument_id = self.instrument(row)
        lot = TaxLot(
            id=row.text("lot_id", limit=MAX_ID) or self._new_lot_id(),
            instrument_id=instrument_id,
            quantity=row.needed_decimal("quantity"),
            acquired_on=row.day("acquired_on"),
            cost_per_share=row.decimal("cost_per_share", minimum=ZERO),
            held_since=row.day("held_since"),
            replaced_loss=_is_true(row, "replaced_loss"),
        )
        if lot.held_since is not None and (lot.acquired_on is None or lot.held_since > lot.acquired_on):
            row.refuse("held_since", "is after acquired_on, which it needs")
        if not lot.quantity:
            row.refuse("quantity", "is no lot")
        if lot.id in self.lots:
            row.refuse("lot_id", "appears twice")
        self.lots[lot.id] = lot

    def _new_lot_id(self) -> str:
        return f"lot-{len(self.lots) + 1}"

    def positions(self) -> Positions:
        """Holdings and lots; an instrument that has lots only is held as their sum."""
        sums = _sums(self.lots.values())
        for instrument_id in sums.keys() & self.quantities.keys():
            held = self.quantities[instrument_id]
            if held != sums[instrument_id]:
                self.problems.add(None, f"the lots of {instrument_id} add up to {sums[instrument_id]}, held are {held}")
        holdings = {name: quantity for name, quantity in self.quantities.items() if quantity} | sums
        return Positions(
            tuple(Holding(name, quantity) for name, quantity in sorted(holdings.items())), tuple(self.lots.values())
        )


def _is_true(row: TableRow, column: str) -> bool:
    text = row.text(column).lower()
    if text not in ("", "true", "false"):
        row.refuse(column, "is neither true nor false")
    return text == "true"


def _sums(lots: Iterable[TaxLot]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for lot in lots:
        sums[lot.instrument_id] = sums.get(lot.instrument_id, ZERO) + lot.quantity
    return sums
