"""Import of a whole portfolio from a JSON file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from server.imports.known import known_instruments
from server.imports.positions import PositionReader, Positions
from server.imports.problems import Problems, refusal
from server.imports.progress import Progress, ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, TableRow
from storage.database import Database
from storage.portfolios import PortfolioRepository
from storage.records import Json, Portfolio

_LOT_METHODS = ("fifo", "lifo", "hifo", "least_tax")

EXAMPLE = """{
  "id": "family", "name": "Family account", "base_currency": "USD", "cash": "10500.25", "benchmark_id": "sample-sp500",
  "short_term_tax_rate": 0.408, "long_term_tax_rate": 0.238, "lot_method": "fifo", "account": {}, "preferences": {},
  "holdings": [{"instrument_id": "KO", "quantity": "120"}],
  "lots": [{"id": "1", "instrument_id": "KO", "quantity": "120", "acquired_on": "2021-06-14", "cost_per_share": 52.33}]
}"""
SCALARS = (
    "id",
    "name",
    "base_currency",
    "cash",
    "benchmark_id",
    "short_term_tax_rate",
    "long_term_tax_rate",
    "lot_method",
)
OBJECTS = ("account", "preferences")
HOLDING_FIELDS = {"instrument_id": "instrument_id", "quantity": "quantity"}
LOT_FIELDS = HOLDING_FIELDS | {
    "id": "lot_id",
    "acquired_on": "acquired_on",
    "cost_per_share": "cost_per_share",
    "held_since": "held_since",
    "replaced_loss": "replaced_loss",
}
_FLAGS = ("replaced_loss",)
LISTS = {"holdings": HOLDING_FIELDS, "lots": LOT_FIELDS}
ZERO = Decimal(0)


async def import_portfolio(database: Database, path: Path, progress: ProgressCallback = no_progress) -> ImportReport:
    """Loads a portfolio, replacing the one of that id.

    Raises:
        ImportRefusedError: Anything in the file is wrong; nothing is stored.
        NotFound: The benchmark is not known.
    """
    known = await known_instruments(database)
    portfolio = await asyncio.to_thread(parse_portfolio, path, known)
    async with database.transaction() as connection:
        await PortfolioRepository(connection).put(portfolio)
    counts = {"holdings": len(portfolio.holdings), "lots": len(portfolio.lots)}
    rows = sum(counts.values())
    progress(Progress(path.name, rows, 1.0))
    return ImportReport(noun="portfolio", file=path.name, rows=rows, identifier=portfolio.id, counts=counts)


def parse_portfolio(path: Path, known: frozenset[str]) -> Portfolio:
    """Reads a portfolio as in `EXAMPLE`; all but the id may be left out, numbers may be text to keep them exact.

    An instrument with lots and no holding is held as the sum of its lots.

    Args:
        path: A JSON file.
        known: The instruments that may appear.

    Raises:
        ImportRefusedError: With every fault, each under the path of its field.
    """
    content, exact = _load(path)
    problems = Problems(path.name)
    for name in sorted(exact.keys() - {*SCALARS, *OBJECTS, *LISTS}):
        problems.add(None, "is no field of a portfolio", value=name)
    row = _row(exact, {name: name for name in SCALARS}, "", problems)
    reader = PositionReader(known, problems)
    for item in _rows(exact, "holdings", problems):
        reader.take_holding(item)
    for item in _rows(exact, "lots", problems):
        reader.take_lot(item)
    portfolio = _portfolio(row, {name: _object(content, name, problems) for name in OBJECTS}, reader.positions())
    problems.raise_if_any()
    return portfolio


def _load(path: Path) -> tuple[Json, Json]:
    """The file's object twice: as JSON values, and with every number as its text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, parse_constant=_no_constant)
        exact = json.loads(text, parse_float=str, parse_int=str)
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(path.name, f"cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise refusal(path.name, "does not hold one JSON object")
    return content, exact


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _portfolio(row: TableRow, objects: Mapping[str, Json], positions: Positions) -> Portfolio:
    portfolio_id = row.text("id", limit=MAX_ID, required=True)
    return Portfolio(
        id=portfolio_id,
        name=row.text("name") or portfolio_id,
        base_currency=row.text("base_currency", limit=3) or "USD",
        cash=row.decimal("cash") or ZERO,
        benchmark_id=row.text("benchmark_id", limit=MAX_ID) or None,
        short_term_tax_rate=_rate(row, "short_term_tax_rate"),
        long_term_tax_rate=_rate(row, "long_term_tax_rate"),
        lot_method=_lot_method(row),
        account=objects["account"],
        preferences=objects["preferences"],
        holdings=positions.holdings,
        lots=positions.lots,
    )


def _lot_method(row: TableRow) -> str:
    method = row.text("lot_method") or "fifo"
    if method not in _LOT_METHODS:
        row.refuse("lot_method", f"is not one of {', '.join(_LOT_METHODS)}")
    return method


def _rate(row: TableRow, name: str) -> Decimal:
    rate = row.decimal(name, minimum=ZERO) or ZERO
    if rate > 1:
        row.refuse(name, "is above 1")
    return rate


def _object(content: Json, name: str, problems: Problems) -> Json:
    value = content.get(name)
    if isinstance(value, dict):
        return value
    if value is not None:
        problems.add(None, "is not an object", column=name)
    return {}


def _rows(content: Json, name: str, problems: Problems) -> list[TableRow]:
    values = content.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        problems.add(None, "is not a list of objects", column=name)
        return []
    rows = []
    for place, value in enumerate(values):
        for unknown in sorted(value.keys() - LISTS[name].keys()):
            problems.add(None, "is no field here", column=f"{name}[{place}]", value=unknown)
        rows.append(_row(value, LISTS[name], f"{name}[{place}].", problems))
    return rows


def _row(values: Mapping[str, Any], fields: Mapping[str, str], path: str, problems: Problems) -> TableRow:
    """An object as a row: field -> known column, with the field's path as its heading."""
    cells = {}
    for name, column in fields.items():
        value = values.get(name)
        if isinstance(value, bool) and column in _FLAGS:
            cells[column] = str(value).lower()
        elif isinstance(value, str):
            cells[column] = value.strip()
        elif value is not None:
            problems.add(None, "is neither text nor number", column=f"{path}{name}")
    return TableRow(None, cells, {column: f"{path}{name}" for name, column in fields.items()}, problems)
