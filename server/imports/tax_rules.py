"""Import of tax rules with the days from which they hold."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from server.imports.problems import Problems
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, TableLayout, TableOptions, TableRow, read_rows
from storage.database import Database
from storage.records import TaxRule
from storage.tax_rules import TaxRuleRepository

RULES_TABLE = TableLayout(
    required=(
        "jurisdiction",
        "valid_from",
        "long_term_months",
        "wash_sale_days",
        "yearly_loss_limit",
        "separate_loss_limit",
    ),
    optional=("source",),
)
MOST_MONTHS = 1200
MOST_DAYS = 366
ZERO = Decimal(0)


async def import_tax_rules(
    database: Database, path: Path, options: TableOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads tax rules; those of a known name and first day are replaced by what the file says.

    Raises:
        ImportRefusedError: Any row is bad; nothing is stored.
    """
    rules = await asyncio.to_thread(parse_tax_rules, path, options, progress)
    async with database.transaction() as connection:
        await TaxRuleRepository(connection).put(rules)
    names = sorted({rule.jurisdiction for rule in rules})
    return ImportReport(noun="tax rules", file=path.name, rows=len(rules), identifier=", ".join(names))


def parse_tax_rules(path: Path, options: TableOptions, progress: ProgressCallback = no_progress) -> tuple[TaxRule, ...]:
    """Reads tax rules.

    Columns: jurisdiction, valid_from (first day), long_term_months (whole months), wash_sale_days (whole days),
    yearly_loss_limit and separate_loss_limit (money); source (the file's name).

    Raises:
        ImportRefusedError: Any row is bad.
    """
    problems = Problems(path.name)
    seen: set[tuple[str, object]] = set()
    rules = []
    for row in read_rows(path, RULES_TABLE, options, problems, progress):
        if not row.cells.get("valid_from"):
            row.refuse("valid_from", "is empty")
        rule = _rule(row, path.name)
        if (rule.jurisdiction, rule.valid_from) in seen:
            row.refuse("valid_from", "appears twice")
        seen.add((rule.jurisdiction, rule.valid_from))
        rules.append(rule)
    problems.raise_if_any()
    return tuple(rules)


def _rule(row: TableRow, file: str) -> TaxRule:
    return TaxRule(
        jurisdiction=row.text("jurisdiction", limit=MAX_ID, required=True),
        valid_from=row.day("valid_from"),  # type: ignore[arg-type]
        long_term_months=_whole(row, "long_term_months", MOST_MONTHS),
        wash_sale_days=_whole(row, "wash_sale_days", MOST_DAYS),
        yearly_loss_limit=row.needed_decimal("yearly_loss_limit", minimum=ZERO),
        separate_loss_limit=row.needed_decimal("separate_loss_limit", minimum=ZERO),
        source=row.text("source") or file,
    )


def _whole(row: TableRow, column: str, most: int) -> int:
    number = row.needed_decimal(column, minimum=ZERO)
    if number > most or number != int(number):
        row.refuse(column, f"is not a whole number of at most {most}")
        return 0
    return int(number)
