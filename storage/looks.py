"""Scheduled looks at portfolios, and what is known of their drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from storage.errors import NotFound
from storage.records import utc_now
from storage.repository import Repository, as_parameters
from storage.statements import load_statements

LOOK_DONE = "done"
LOOK_FAILED = "failed"
LOOK_PENDING = "pending"
LOOK_SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ScheduleGroup:
    """Portfolios that are looked at on the same days: by ``daily``, ``weekly``, ``monthly`` or ``quarterly``."""

    exchange: str
    schedule: str


@dataclass(frozen=True, slots=True)
class PortfolioSchedule:
    """The schedule of one portfolio; sessions that opened at or before ``since`` are not its business."""

    portfolio_id: str
    schedule: str
    exchange: str
    since: datetime


@dataclass(frozen=True, slots=True)
class WaitingPortfolio:
    """A portfolio that a session waits for. ``last_session`` is the newest that is dealt with, None without any."""

    portfolio_id: str
    since: datetime
    last_session: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledLook:
    """One look at a portfolio.

    Attributes:
        status: ``pending``, ``done``, ``failed`` or ``skipped``.
        reached: Whether the drift had reached its threshold, None until it is measured.
        note: What came of it, or why it was skipped.
        rebalance_id: The plan that it made, if any.
        ended_at: None while it is pending.
    """

    portfolio_id: str
    session: date
    status: str = LOOK_PENDING
    reached: bool | None = None
    note: str = ""
    rebalance_id: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LookedSessions:
    """The newest session of a portfolio with a look of any status, and with one that came to its end, and to which."""

    begun: date | None
    looked_at: date | None
    note: str


@dataclass(frozen=True, slots=True)
class MeasuredState:
    """What a measurement of drift was made on: the portfolio as it stood, and how many pricing packs there were."""

    portfolio_id: str
    portfolio_updated_at: datetime
    packs: int


@dataclass(frozen=True, slots=True)
class DriftState:
    """Whether the drift had reached its threshold, and the pack on which that was told last, of how many."""

    portfolio_id: str
    reached: bool
    told_pack_id: str | None
    packs: int


class LookRepository(Repository):
    """Keeps looks, each portfolio's at most once per session."""

    _sql = load_statements("looks")

    async def groups(self) -> tuple[ScheduleGroup, ...]:
        """All pairs of exchange and schedule that portfolios have."""
        return await self._records(ScheduleGroup, self._sql["groups"], {})

    async def find_schedule(self, portfolio_id: str) -> PortfolioSchedule | None:
        """The schedule of a portfolio, None where it is looked at by hand only."""
        found = await self._records(PortfolioSchedule, self._sql["find_schedule"], {"portfolio_id": portfolio_id})
        return found[0] if found else None

    async def waiting(
        self, group: ScheduleGroup, session: date, opened_at: datetime, limit: int
    ) -> tuple[WaitingPortfolio, ...]:
        """At most ``limit`` portfolios that the session is due for; others cannot take them until the transaction ends.

        Args:
            group: Exchange and schedule.
            session: The day.
            opened_at: When it opened; portfolios whose schedule is younger are left out.
            limit: Largest number.
        """
        parameters = {**as_parameters(group), "session": session, "opened_at": opened_at, "limit": limit}
        return await self._records(WaitingPortfolio, self._sql["waiting"], parameters)

    async def insert_pending(self, portfolio_ids: Sequence[str], session: date, moment: datetime) -> tuple[str, ...]:
        """Begins the looks, and returns the portfolios for which this call was the first."""
        parameters = {"portfolio_ids": list(portfolio_ids), "session": session, "moment": moment}
        await self._run(self._sql["set_last_session"], parameters)
        return tuple(await self._scalars(self._sql["insert_pending"], parameters))

    async def insert_skipped(self, missed: Mapping[str, Sequence[date]], note: str, moment: datetime) -> None:
        """Notes sessions per portfolio that nobody will look at any more, and why."""
        pairs = [(name, session) for name, sessions in missed.items() for session in sessions]
        parameters = {
            "portfolio_ids": [name for name, _ in pairs],
            "sessions": [session for _, session in pairs],
            "note": note,
            "moment": moment,
        }
        await self._run(self._sql["insert_skipped"], parameters)

    async def find(self, portfolio_id: str, session: date) -> ScheduledLook:
        """One look.

        Raises:
            NotFound: There is none.
        """
        parameters = {"portfolio_id": portfolio_id, "session": session}
        found = await self._records(ScheduledLook, self._sql["find"], parameters)
        if not found:
            raise NotFound("scheduled look", f"{portfolio_id} on {session}")
        return found[0]

    async def of_portfolio(self, portfolio_id: str) -> tuple[ScheduledLook, ...]:
        """All looks at a portfolio, oldest session first."""
        return await self._records(ScheduledLook, self._sql["of_portfolio"], {"portfolio_id": portfolio_id})

    async def set_reached(self, portfolio_id: str, session: date, *, reached: bool) -> bool:
        """Notes what was measured, and returns whether this call was the first to."""
        parameters = {"portfolio_id": portfolio_id, "session": session, "reached": reached}
        return await self._run(self._sql["set_reached"], parameters) == 1

    async def finish(self, look: ScheduledLook) -> bool:
        """Ends a pending look, and returns whether this call has: of concurrent ones one does."""
        return await self._run(self._sql["finish"], as_parameters(look)) == 1

    async def sessions(self, portfolio_id: str) -> LookedSessions:
        """The newest sessions of a portfolio that have a look."""
        return (await self._records(LookedSessions, self._sql["sessions"], {"portfolio_id": portfolio_id}))[0]


class DriftStateRepository(Repository):
    """Keeps whether the drift of a portfolio has reached its threshold, so that a crossing is told once."""

    _sql = load_statements("looks")

    async def unmeasured(self, limit: int, after: str = "") -> tuple[MeasuredState, ...]:
        """At most ``limit`` portfolios with preferences whose drift is not known as they and prices stand, by id."""
        return await self._records(MeasuredState, self._sql["unmeasured"], {"limit": limit, "after": after})

    async def place(self, portfolio_id: str) -> MeasuredState:
        """What a measurement that begins now is made on.

        Raises:
            NotFound: There is no such portfolio.
        """
        found = await self._records(MeasuredState, self._sql["place"], {"portfolio_id": portfolio_id})
        if not found:
            raise NotFound("portfolio", portfolio_id)
        return found[0]

    async def lock(self, portfolio_id: str) -> DriftState:
        """What is known, locked until the transaction ends; nothing reached before the first measurement."""
        await self._run(self._sql["open_state"], {"portfolio_id": portfolio_id})
        return (await self._records(DriftState, self._sql["lock_state"], {"portfolio_id": portfolio_id}))[0]

    async def put(self, state: DriftState, portfolio_updated_at: datetime, moment: datetime, note: str = "") -> None:
        """Writes down what a measurement has found; ``note`` says why there was nothing to measure."""
        parameters = {**as_parameters(state), "portfolio_updated_at": portfolio_updated_at, "moment": moment}
        await self._run(self._sql["put_state"], {**parameters, "note": note})
