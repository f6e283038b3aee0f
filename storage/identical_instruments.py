"""Which instruments are substantially identical to which, for wash sales."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.errors import NotFound
from storage.repository import Repository
from storage.statements import load_statements


class IdenticalInstrumentRepository(Repository):
    """Keeps a relation that holds both ways."""

    _sql = load_statements("identical_instruments")

    async def replace(self, instrument_id: str, identical_ids: Sequence[str]) -> None:
        """Makes these, and no others, the instruments that are substantially identical to one.

        Raises:
            NotFound: Names the instruments that do not exist.
        """
        wanted = [instrument_id, *identical_ids]
        known = await self._scalars(self._sql["lock"], {"ids": wanted})
        if missing := [name for name in wanted if name not in known]:
            raise NotFound("instrument", *missing)
        await self._run(self._sql["delete"], {"id": instrument_id})
        await self._run(self._sql["insert"], {"id": instrument_id, "others": list(identical_ids)})

    async def pairs(self, instrument_ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """The pairs that one of these instruments belongs to, each once, in order."""
        rows = await self._rows(self._sql["find"], {"ids": list(instrument_ids)})
        return tuple((row["first_id"], row["second_id"]) for row in rows)

    async def of(self, instrument_id: str) -> tuple[str, ...]:
        """The instruments that are substantially identical to one, in the order of their ids."""
        others = {name for pair in await self.pairs([instrument_id]) for name in pair}
        return tuple(sorted(others - {instrument_id}))
