"""Reading and writing the columns of an immutable table, the same for prices and factor returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from storage.column_codec import Column, decode_columns
from storage.errors import NotFound
from storage.repository import Repository
from storage.tables import Dates, Floats


@dataclass(frozen=True, slots=True)
class Window:
    """The days from ``first`` to ``last``, both included."""

    first: date = date.min
    last: date = date.max


EVERYTHING = Window()


class ColumnRepository(Repository):
    """Moves whole columns, without touching single rows."""

    async def _copy(self, statement: bytes, chunks: Iterable[bytes]) -> None:
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for chunk in chunks:
                await copy.write(chunk)

    async def _read_columns(
        self, statement: bytes, identifier: str, names: Sequence[str], window: Window
    ) -> tuple[Dates, Floats]:
        """Days and values of the named columns within the window.

        Raises:
            NotFound: Names the columns that have no value there.
        """
        parameters = {"id": identifier, "names": list(names), "first": window.first, "last": window.last}
        async with self._connection.cursor(row_factory=class_row(Column), binary=True) as cursor:
            rows = await (await cursor.execute(statement, parameters)).fetchall()
        columns = {column.name: column for column in rows}
        if missing := [name for name in names if name not in columns]:
            raise NotFound(f"value in {identifier} between {window.first} and {window.last} for", *missing)
        return decode_columns(columns, names)
