"""What is stored already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from storage.database import Database
from storage.errors import NotFound
from storage.instruments import InstrumentRepository

PAGE = 5000


async def known_instruments(database: Database) -> frozenset[str]:
    """The ids of all stored instruments."""
    known: list[str] = []
    async with database.transaction() as connection:
        instruments = InstrumentRepository(connection)
        while page := await instruments.page(PAGE, known[-1] if known else ""):
            known += [instrument.id for instrument in page]
    return frozenset(known)


async def is_stored(find: Callable[[str], Awaitable[object]], identifier: str) -> bool:
    """Whether a repository's `find` finds something of this id."""
    try:
        await find(identifier)
    except NotFound:
        return False
    return True
