"""Storing and finding policies."""

from __future__ import annotations

from portfolio_optimization.v1 import policies_pb2 as pb

from server.convert.faults import checked
from server.convert.policies import read_new_policy
from server.settings import Settings
from storage.database import Database
from storage.policies import Policy, PolicyRepository


class PolicyWorkflow:
    """Policies and their versions."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def create(self, message: pb.CreatePolicyRequest) -> Policy:
        """Check and add a version.

        Raises:
            InvalidRequest: With every fault.
            Conflict: The version that it is to follow is not the newest.
        """
        policy = checked(read_new_policy, message, self._settings)
        async with self._database.transaction() as connection:
            repository = PolicyRepository(connection)
            await repository.add(policy)
            return await repository.find(policy.id, policy.version)

    async def find(self, policy_id: str, version: int) -> Policy:
        """A version of a policy; 0 = the newest.

        Raises:
            NotFound: There is no such policy, or it has no such version.
        """
        async with self._database.transaction() as connection:
            return await PolicyRepository(connection).find(policy_id, version)

    async def page(self, limit: int, after: tuple[str, int], *, older: bool) -> tuple[Policy, ...]:
        """Policies in the order of their ids and versions, behind `after`; only the newest of each unless `older`."""
        async with self._database.transaction() as connection:
            return await PolicyRepository(connection).page(limit, after, older=older)
