"""Portfolios with their holdings and tax lots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import starmap
from typing import Any

from psycopg.types.json import Jsonb

from storage.errors import Conflict, NotFound
from storage.instruments import InstrumentRepository
from storage.records import Holding, Json, Portfolio, TaxLot
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


class PortfolioRepository(Repository):
    """Keeps portfolios, each written and read as a whole."""

    _sql = load_statements("portfolios")

    async def put(self, portfolio: Portfolio) -> None:
        """Inserts the portfolio, or replaces it with all its holdings and lots.

        Raises:
            NotFound: Names the instruments that do not exist, or the benchmark.
            Conflict: Names the instruments whose lots do not add up to the holding, or that are held twice.
        """
        _check_holdings(portfolio)
        instruments = [holding.instrument_id for holding in portfolio.holdings]
        await InstrumentRepository(self._connection).require(instruments)
        await self._run(self._sql["put"], as_parameters(portfolio))
        await self._run(self._sql["delete_lots"], {"id": portfolio.id})
        await self._run(self._sql["delete_holdings"], {"id": portfolio.id})
        quantities = [holding.quantity for holding in portfolio.holdings]
        holdings = {"id": portfolio.id, "instrument_ids": instruments, "quantities": quantities}
        await self._run(self._sql["insert_holdings"], holdings)
        await self._run(self._sql["insert_lots"], {"id": portfolio.id, **_lot_columns(portfolio.lots)})

    async def set_preferences(self, identifier: str, preferences: Json, updated_at: datetime) -> None:
        """Replaces the preferences alone.

        Raises:
            NotFound: There is no portfolio of this id.
        """
        parameters = {"id": identifier, "preferences": Jsonb(preferences), "updated_at": updated_at}
        if await self._run(self._sql["set_preferences"], parameters) == 0:
            raise NotFound("portfolio", identifier)

    async def lock(self, identifier: str) -> bool:
        """Keeps others from changing the portfolio until the transaction ends, and returns whether it exists."""
        return bool(await self._scalars(self._sql["lock"], {"id": identifier}))

    async def find(self, identifier: str) -> Portfolio:
        """The portfolio; holdings in the order of their instruments, lots in the order of their ids.

        Raises:
            NotFound: There is none of this id.
        """
        return (await self.find_all([identifier]))[0]

    async def find_all(self, identifiers: Sequence[str]) -> tuple[Portfolio, ...]:
        """The portfolios, in the order asked for, as they are at one moment.

        Raises:
            NotFound: Names all that are missing.
        """
        rows = await self._rows(self._sql["find"], {"ids": list(identifiers)})
        found = {row["id"]: _portfolio(row) for row in rows}
        if missing := [identifier for identifier in identifiers if identifier not in found]:
            raise NotFound("portfolio", *missing)
        return tuple(found[identifier] for identifier in identifiers)

    async def household(self, identifier: str) -> tuple[str, ...]:
        """The ids of all portfolios of the portfolio's household, its own among them, in order.

        Raises:
            NotFound: There is no portfolio of this id.
        """
        members: list[str] = await self._scalars(self._sql["household"], {"id": identifier})
        if not members:
            raise NotFound("portfolio", identifier)
        return tuple(members)

    async def lock_household(self, identifier: str) -> tuple[str, ...]:
        """Keeps others from changing any portfolio of the household until the transaction ends, and returns their ids.

        Rows are locked in the order of their ids, so that two callers wait for each other and never both: a caller
        that needs this lock takes it before any lock on a single portfolio.

        Raises:
            NotFound: There is no portfolio of this id.
        """
        members: list[str] = []
        # Who has joined while this waited is locked too.
        while (found := await self._scalars(self._sql["lock_household"], {"id": identifier})) != members:
            members = found
        if not members:
            raise NotFound("portfolio", identifier)
        return tuple(members)

    async def page(self, limit: int, after: str = "") -> tuple[Portfolio, ...]:
        """At most ``limit`` portfolios in the order of their ids, beginning behind the id ``after``."""
        return tuple(_portfolio(row) for row in await self._rows(self._sql["page"], {"limit": limit, "after": after}))


def _check_holdings(portfolio: Portfolio) -> None:
    held = Counter(holding.instrument_id for holding in portfolio.holdings)
    if twice := sorted(name for name, count in held.items() if count > 1):
        raise Conflict(f"portfolio {portfolio.id} holds {', '.join(twice)} more than once")
    if differences := _lot_differences(portfolio):
        raise Conflict(f"portfolio {portfolio.id}: lots do not add up to holdings: {'; '.join(differences)}")


def _lot_differences(portfolio: Portfolio) -> list[str]:
    """One phrase for each instrument that has lots and whose lots do not add up to what is held."""
    in_lots: dict[str, Decimal] = {}
    for lot in portfolio.lots:
        in_lots[lot.instrument_id] = in_lots.get(lot.instrument_id, Decimal(0)) + lot.quantity
    held = {holding.instrument_id: holding.quantity for holding in portfolio.holdings}
    return [
        f"{name} has {held.get(name, Decimal(0))} in holdings and {quantity} in lots"
        for name, quantity in sorted(in_lots.items())
        if held.get(name) != quantity
    ]


def _lot_columns(lots: Iterable[TaxLot]) -> dict[str, list[Any]]:
    rows = tuple(lots)
    return {
        "lot_ids": [lot.id for lot in rows],
        "instrument_ids": [lot.instrument_id for lot in rows],
        "quantities": [lot.quantity for lot in rows],
        "acquired_on": [lot.acquired_on for lot in rows],
        "costs": [lot.cost_per_share for lot in rows],
        "held_since": [lot.held_since for lot in rows],
        "replaced": [lot.replaced_loss for lot in rows],
    }


_PLAIN = (
    "id",
    "name",
    "base_currency",
    "cash",
    "benchmark_id",
    "short_term_tax_rate",
    "long_term_tax_rate",
    "lot_method",
    "account",
    "preferences",
    "updated_at",
)


_LOT_ARRAYS = {
    "id": "lot_ids",
    "instrument_id": "lot_instrument_ids",
    "quantity": "lot_quantities",
    "acquired_on": "lot_dates",
    "cost_per_share": "lot_costs",
    "held_since": "lot_held_since",
    "replaced_loss": "lot_replaced",
}


def _columns(row: Mapping[str, Any], *names: str) -> Iterable[tuple[Any, ...]]:
    """The arrays of a row side by side; an array without elements comes as NULL."""
    return zip(*(row[name] or () for name in names), strict=True)


def _portfolio(row: Mapping[str, Any]) -> Portfolio:
    lots = _columns(row, *_LOT_ARRAYS.values())
    return Portfolio(
        **{name: row[name] for name in _PLAIN},
        holdings=tuple(starmap(Holding, _columns(row, "holding_ids", "holding_quantities"))),
        lots=tuple(TaxLot(**dict(zip(_LOT_ARRAYS, lot, strict=True))) for lot in lots),
    )
