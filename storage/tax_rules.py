"""Tax rules with the days from which they hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from storage.errors import NotFound
from storage.records import TaxRule
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


class TaxRuleRepository(Repository):
    """Keeps tax rules."""

    _sql = load_statements("tax_rules")

    async def put(self, rules: Iterable[TaxRule]) -> None:
        """Inserts rules, or replaces those of the same name and first day."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(self._sql["put"], [as_parameters(rule) for rule in rules])

    async def find(self, jurisdiction: str) -> tuple[TaxRule, ...]:
        """All rules of a name, in the order of their first days.

        Raises:
            NotFound: There are none of this name.
        """
        rules = await self._records(TaxRule, self._sql["find"], {"jurisdiction": jurisdiction})
        if not rules:
            raise NotFound("tax rules", jurisdiction)
        return rules

    async def find_on(self, jurisdiction: str, day: date) -> TaxRule:
        """The rules of a name that hold on a day.

        Raises:
            NotFound: There are none of this name, or they begin later.
        """
        rules = await self.find(jurisdiction)
        begun = [rule for rule in rules if rule.valid_from <= day]
        if not begun:
            first = rules[0].valid_from.isoformat()
            raise NotFound("tax rules", f"{jurisdiction} on {day.isoformat()} (the first begin on {first})")
        return begun[-1]
