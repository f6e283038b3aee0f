"""The way of rebalance plans: their state, its changes, and what was executed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from storage.errors import NotFound
from storage.plan_records import LaterTrades, PlanExecution, PlanState, PlanSummary, PlanTransition
from storage.records import Cursor, Json, Transaction
from storage.repository import Repository, as_parameters, page_parameters
from storage.statements import load_statements


class PlanRepository(Repository):
    """Keeps where plans are. A writer locks first the portfolio, then the plan, and appends events last."""

    _sql = load_statements("plans")

    async def insert(self, state: PlanState, transition: PlanTransition) -> None:
        """Begins the way of a plan with its first transition.

        Raises:
            Conflict: It has one already (when the transaction is left).
        """
        await self._run(self._sql["insert"], as_parameters(state))
        await self._run(self._sql["insert_transition"], as_parameters(transition))

    async def portfolio_of(self, rebalance_id: str) -> str:
        """The portfolio of a plan, which never changes.

        Raises:
            NotFound: There is no such plan, or it never became a proposal.
        """
        found = await self._scalars(self._sql["portfolio_of"], {"rebalance_id": rebalance_id})
        if not found:
            raise NotFound("rebalance plan with a workflow", rebalance_id)
        return str(found[0])

    async def lock(self, rebalance_id: str) -> PlanState:
        """The state, kept from changes by others until the transaction ends.

        Raises:
            NotFound: There is none.
        """
        return await self._state("lock", rebalance_id)

    async def read(self, rebalance_id: str) -> PlanState:
        """The state, of one moment with its transitions and executions when they are read in the same transaction.

        Raises:
            NotFound: There is none.
        """
        return await self._state("read", rebalance_id)

    async def transitions(self, rebalance_id: str) -> tuple[PlanTransition, ...]:
        """All changes of status, oldest first."""
        return await self._records(PlanTransition, self._sql["transitions"], {"rebalance_id": rebalance_id})

    async def executions(self, rebalance_id: str) -> tuple[PlanExecution, ...]:
        """All execution reports, oldest first."""
        return await self._records(PlanExecution, self._sql["executions"], {"rebalance_id": rebalance_id})

    async def advance(self, transition: PlanTransition, expires_at: datetime | None) -> None:
        """Takes the next status.

        Args:
            transition: The change; its number is one more than the version.
            expires_at: When the new status lapses.

        Raises:
            Conflict: Another change came first, or another plan of the portfolio is approved.
        """
        await self._run(self._sql["insert_transition"], as_parameters(transition))
        parameters = {
            "rebalance_id": transition.rebalance_id,
            "status": transition.status,
            "version": transition.number,
            "expires_at": expires_at,
        }
        await self._run(self._sql["advance"], parameters)

    async def add_execution(self, execution: PlanExecution) -> None:
        """Adds a report.

        Raises:
            Conflict: One of this id is there already.
        """
        await self._run(self._sql["insert_execution"], as_parameters(execution))

    async def set_position_after(self, rebalance_id: str, position: Json) -> None:
        """Notes what is held after an execution; the plan lapses no more."""
        parameters = {"rebalance_id": rebalance_id, "position_after": Jsonb(position)}
        await self._run(self._sql["set_position_after"], parameters)

    async def set_approval_limit(self, rebalance_id: str, limit: Decimal) -> None:
        """Sets the gross amount above which an approval is needed."""
        await self._run(self._sql["set_approval_limit"], {"rebalance_id": rebalance_id, "approval_limit": limit})

    async def set_seen(self, rebalance_id: str, portfolio: datetime, packs: int) -> None:
        """Notes what a look has seen: ``updated_at`` of the portfolio, its household, the number of pricing packs."""
        parameters = {"rebalance_id": rebalance_id, "seen_portfolio": portfolio, "seen_packs": packs}
        await self._run(self._sql["set_seen"], parameters)

    async def count_packs(self) -> int:
        """How many pricing packs there are."""
        return int((await self._scalars(self._sql["count_packs"], {}))[0])

    async def last_transaction(self, portfolio_ids: Sequence[str]) -> int:
        """Place of the last transaction of the accounts of a household; 0 where there is none."""
        parameters = {"portfolio_ids": list(portfolio_ids)}
        return int((await self._scalars(self._sql["last_transaction"], parameters))[0])

    async def first_later_trade(self, wanted: LaterTrades) -> Transaction | None:
        """The first transaction of those looked for, or None."""
        parameters = {
            "portfolio_ids": list(wanted.portfolio_ids),
            "after": wanted.after,
            "since": wanted.since,
            "sold_at_loss": list(wanted.sold_at_loss),
            "bought": list(wanted.bought),
        }
        found = await self._records(Transaction, self._sql["first_later_trade"], parameters)
        return found[0] if found else None

    async def others_open(self, portfolio_id: str, rebalance_id: str) -> list[str]:
        """The other plans of a portfolio that are proposed, pending or approved."""
        parameters = {"portfolio_id": portfolio_id, "rebalance_id": rebalance_id}
        return await self._scalars(self._sql["others_open"], parameters)

    async def open_in_household(self, portfolio_id: str) -> list[str]:
        """The plans that may lapse of the other portfolios of a portfolio's household."""
        return await self._scalars(self._sql["open_in_household"], {"portfolio_id": portfolio_id})

    async def other_approved(self, portfolio_id: str, rebalance_id: str) -> str | None:
        """Another plan of the portfolio that is approved, if there is one."""
        parameters = {"portfolio_id": portfolio_id, "rebalance_id": rebalance_id}
        return next(iter(await self._scalars(self._sql["other_approved"], parameters)), None)

    async def stale(self, now: datetime, limit: int, after: str = "") -> list[str]:
        """At most ``limit`` open plans that may have lapsed since the last look, by id, behind the id ``after``."""
        parameters = {"now": now, "limit": limit, "after": after, "rebalance_id": None}
        return await self._scalars(self._sql["stale"], parameters)

    async def is_stale(self, rebalance_id: str, now: datetime) -> bool:
        """Whether the plan is open and may have lapsed since the last look."""
        parameters = {"now": now, "limit": 1, "after": "", "rebalance_id": rebalance_id}
        return bool(await self._scalars(self._sql["stale"], parameters))

    async def page(
        self, portfolio_id: str | None, status: str | None, now: datetime, limit: int, before: Cursor | None = None
    ) -> tuple[PlanSummary, ...]:
        """At most ``limit`` plans, newest first, behind ``before``; of one portfolio and status, or of all."""
        parameters = {"portfolio_id": portfolio_id, "status": status, "now": now, **page_parameters(limit, before)}
        return await self._records(PlanSummary, self._sql["page"], parameters)

    async def _state(self, statement: str, rebalance_id: str) -> PlanState:
        found = await self._records(PlanState, self._sql[statement], {"rebalance_id": rebalance_id})
        if not found:
            raise NotFound("rebalance plan with a workflow", rebalance_id)
        return found[0]
