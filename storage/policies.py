"""Policies: sets of limits under a name, in versions that never change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from storage.errors import Conflict, NotFound
from storage.records import utc_now
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One version of a policy. A limit that is None is not set.

    Attributes:
        version: 1 for the first.
        min_quality_score: Instruments with a lower score are excluded, 0 to 10.
        max_single_position: Largest weight of an instrument, above 0 to 1.
        max_sector: Largest weight of a sector, above 0 to 1.
        max_tracking_error: Largest one against the portfolio's benchmark, annual fraction above 0.
        max_turnover: Largest one-way turnover of a rebalance, above 0 to 1.
        method_version: Of the method that applies the policy.
    """

    id: str
    version: int = 1
    name: str = ""
    min_quality_score: Decimal | None = None
    max_single_position: Decimal | None = None
    max_sector: Decimal | None = None
    max_tracking_error: Decimal | None = None
    max_turnover: Decimal | None = None
    method_version: str = "v1"
    created_at: datetime = field(default_factory=utc_now)


class PolicyRepository(Repository):
    """Keeps policies. Versions are only added."""

    _sql = load_statements("policies")

    async def add(self, policy: Policy) -> None:
        """Adds a version, which must follow the newest one: of two writers at once one is refused.

        Raises:
            Conflict: The policy's newest version is not the one before.
        """
        newest = await self.newest_version(policy.id)
        if newest != policy.version - 1:
            raise Conflict(_out_of_turn(policy, newest))
        if await self._run(self._sql["insert"], as_parameters(policy)) == 0:
            raise Conflict(_out_of_turn(policy, policy.version))

    async def newest_version(self, identifier: str) -> int:
        """The number of the newest version, 0 where there is none."""
        number: int = (await self._scalars(self._sql["newest_version"], {"id": identifier}))[0]
        return number

    async def find(self, identifier: str, version: int = 0) -> Policy:
        """A version of a policy; 0 = the newest.

        Raises:
            NotFound: There is no such policy, or it has no such version.
        """
        found = await self._records(Policy, self._sql["find"], {"id": identifier, "version": version})
        if not found:
            raise NotFound("policy", f"{identifier} version {version}" if version else identifier)
        return found[0]

    async def page(self, limit: int, after: tuple[str, int] = ("", 0), *, older: bool = False) -> tuple[Policy, ...]:
        """At most ``limit`` policies in the order of their ids and versions.

        Args:
            limit: Size of the page.
            after: Id and version to begin behind.
            older: Whether versions that have a newer one are listed too.
        """
        parameters = {"limit": limit, "after_id": after[0], "after_version": after[1], "older": older}
        return await self._records(Policy, self._sql["page"], parameters)


def _out_of_turn(policy: Policy, newest: int) -> str:
    what = f"its newest version is {newest}" if newest else "there is no policy of this id"
    return f"policy {policy.id}: previous_version is {policy.version - 1}, but {what}"
