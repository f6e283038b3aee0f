"""What all repositories are made of: named statements, records as parameters, records as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from storage.database import Connection
from storage.records import Cursor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowT = TypeVar("RowT")


def as_parameters(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a record by name. Dictionaries and lists are JSON; arrays are given to the driver by hand."""
    values = ((field.name, getattr(record, field.name)) for field in fields(record))
    return {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in values}


def from_row(record_type: type[RowT], row: Mapping[str, Any]) -> RowT:
    """The record whose fields stand in the row, perhaps among other columns."""
    return record_type(**{field.name: row[field.name] for field in fields(record_type)})  # type: ignore[arg-type]


def page_parameters(limit: int, before: Cursor | None) -> dict[str, Any]:
    """The parameters of a list that is ordered by creation, newest first, beginning behind ``before``."""
    moment, identifier = (None, None) if before is None else (before.created_at, before.id)
    return {"limit": limit, "before_moment": moment, "before_id": identifier}


class Repository:
    """A noun's statements on one connection, within the transaction its caller has opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _run(self, statement: bytes, parameters: Mapping[str, Any]) -> int:
        """Executes, and returns the number of rows touched."""
        return (await self._connection.execute(statement, parameters)).rowcount

    async def _scalars(self, statement: bytes, parameters: Mapping[str, Any]) -> list[Any]:
        async with self._connection.cursor(row_factory=scalar_row) as cursor:
            return await (await cursor.execute(statement, parameters)).fetchall()

    async def _rows(self, statement: bytes, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(statement, parameters)).fetchall()

    async def _records(
        self, record_type: type[RowT], statement: bytes, parameters: Mapping[str, Any]
    ) -> tuple[RowT, ...]:
        async with self._connection.cursor(row_factory=class_row(record_type)) as cursor:
            return tuple(await (await cursor.execute(statement, parameters)).fetchall())
