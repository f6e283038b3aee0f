"""Changes of a plan within one transaction, in which the plan and its portfolio are locked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from portfolio_optimization.v1 import plan_workflow_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.plan_events import rebalance_plan_status_changed
from server.convert.plan_workflow import write_workflow
from server.plans.lapse import Present, may_lapse, reason_to_lapse
from server.plans.reading import read_parts, stored_plan
from server.plans.states import (
    OPEN,
    SERVICE,
    PlanAction,
    PlanStatus,
    is_repeated,
    require_possible,
    require_target,
)
from server.plans.terms import lapses_at, terms_of
from server.plans.washes import later_wash_sale, worse_exposure
from server.settings import Settings
from storage.database import Connection
from storage.errors import Conflict, NotFound
from storage.events import EventRepository
from storage.instruments import InstrumentRepository
from storage.plan_records import PlanState, PlanTransition
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.rebalances import RebalanceRepository
from storage.records import Event, Portfolio

# What is called the entry of the history that says what was changed outside of the plan: no call leads there.
_NOTE = "note"
_TRADED = "active"


class LockedPlan:
    """A plan that nobody else changes meanwhile. Events wait until `tell`, which comes last.

    Attributes:
        state: Where it is, with the changes made so far.
        portfolio: Its portfolio, as it is stored.
        members: The accounts of its household that are locked; empty where only the portfolio is.
        now: The moment of all changes.
    """

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        state: PlanState,
        portfolio: Portfolio,
        members: tuple[str, ...] = (),
    ) -> None:
        self._connection, self._plans = connection, PlanRepository(connection)
        self.state, self.portfolio, self.now, self.members = state, portfolio, now, members
        self._made: pb.RebalancePlanResponse | None = None
        self._events: list[Event] = []

    @classmethod
    async def open(
        cls, connection: Connection, rebalance_id: str, clock: Callable[[], datetime], *, household: bool = False
    ) -> LockedPlan:
        """Lock a plan.

        Args:
            connection: Of the transaction.
            rebalance_id: The plan.
            clock: Says the moment, once nobody else holds the plan.
            household: Whether all accounts of the portfolio's household are locked with it.

        Raises:
            NotFound: There is no such plan.
            Conflict: It has no trades that could be carried out, so it never became a proposal.
        """
        portfolio_id = await _portfolio_of(connection, rebalance_id)
        portfolios = PortfolioRepository(connection)
        # The portfolio comes first: whoever changes it or one of its plans waits here.
        members: tuple[str, ...] = ()
        if household:
            members = await portfolios.lock_household(portfolio_id)
        else:
            await portfolios.lock(portfolio_id)
        state = await PlanRepository(connection).lock(rebalance_id)
        return cls(connection, clock(), state, await portfolios.find(portfolio_id), members)

    @property
    def status(self) -> PlanStatus:
        """Where the plan is."""
        return PlanStatus(self.state.status)

    async def made(self) -> pb.RebalancePlanResponse:
        """The plan as it was made."""
        if self._made is None:
            stored = await RebalanceRepository(self._connection).find(self.state.rebalance_id)
            self._made = stored_plan(stored)
        return self._made

    async def look(self, action: PlanAction) -> bool:
        """Let the plan lapse when it does not hold any more.

        Args:
            action: The call that looks.

        Returns:
            Whether it lapsed now.
        """
        if not may_lapse(self.state):
            return False
        packs = await self._plans.count_packs()
        reason = reason_to_lapse(self.state, await self._present()) or await self._wash_sale()
        if not reason and action in (PlanAction.SUBMIT, PlanAction.APPROVE):
            reason = await self._not_traded()
        if reason:
            await self.take(action, PlanStatus.EXPIRED, SERVICE, reason)
        await self._plans.set_seen(self.state.rebalance_id, self.portfolio.updated_at, packs)
        return bool(reason)

    async def step(self, action: PlanAction, actor: str, comment: str, settings: Settings) -> None:
        """Take a step that a caller asks for; one that was taken before changes nothing.

        Args:
            action: The step.
            actor: Who asks for it.
            comment: Why.
            settings: The service's defaults, for preferences that say nothing.

        Raises:
            Conflict: It is not possible from where the plan is.
            NotReady: The preferences of the portfolio are not what the contract says.
        """
        if await self._was_taken(action):
            return
        require_possible(self.state.rebalance_id, self.status, action)
        if action in (PlanAction.SUBMIT, PlanAction.APPROVE) and await self.look(action):
            return
        if action is PlanAction.SUBMIT:
            await self._lower_limit(terms_of(self.portfolio, settings).approval_limit)
        target = await self._target(action)
        if target is PlanStatus.APPROVED:
            await self._require_alone()
        await self.take(action, target, actor, comment)

    async def take(self, action: PlanAction, target: PlanStatus, actor: str, comment: str) -> None:
        """Change the status."""
        # A plan can be found lapsed, and can come to its end, whatever the caller wanted.
        require_target(self.status, PlanAction.LAPSE if target is PlanStatus.EXPIRED else action, target)
        before, expires_at = self.state, self._expires_at(target)
        transition = await self._advance(action, target, actor, comment, expires_at)
        self._events.append(rebalance_plan_status_changed(before, transition, expires_at))

    async def remark(self, comment: str) -> None:
        """Write into the history what happened outside of the plan; its status stays."""
        await self._advance(_NOTE, self.status, SERVICE, comment, self.state.expires_at)

    def note(self, events: Sequence[Event]) -> None:
        """Have more told about the plan."""
        self._events += events

    def take_events(self) -> list[Event]:
        """What is to be told, for another to tell."""
        events, self._events = self._events, []
        return events

    async def refresh(self) -> None:
        """Read the state again after it was changed in storage."""
        self.state = await self._plans.lock(self.state.rebalance_id)

    async def tell(self) -> None:
        """Append the events. Their order is that of commits, so nothing is done after this but reading."""
        await EventRepository(self._connection).append_all(self.take_events())

    async def message(self) -> plan_workflow_pb2.PlanWorkflow:
        """State and history as they are now."""
        return write_workflow(await read_parts(self._connection, self.state, await self.made()))

    async def _advance(
        self, action: str, target: PlanStatus, actor: str, comment: str, expires_at: datetime | None
    ) -> PlanTransition:
        transition = PlanTransition(
            rebalance_id=self.state.rebalance_id,
            number=self.state.version + 1,
            action=action,
            status=target,
            at=self.now,
            actor=actor,
            comment=comment,
        )
        await self._plans.advance(transition, expires_at)
        self.state = replace(self.state, status=target, version=transition.number, expires_at=expires_at)
        return transition

    async def _lower_limit(self, limit: Decimal) -> None:
        """A limit that was lowered since the plan was made holds for it; one that was raised does not."""
        if limit < self.state.approval_limit:
            await self._plans.set_approval_limit(self.state.rebalance_id, limit)
            self.state = replace(self.state, approval_limit=limit)

    async def _present(self) -> Present:
        names = list(self.state.prices)
        packs = PricingPackRepository(self._connection)
        try:
            pack = await packs.latest(names)
        except NotFound:
            return Present(self.now, self.portfolio, "", {})
        closes = await packs.last_closes(pack.id, names)
        prices = {name: Decimal(repr(close)) for name, close in closes.items()}
        return Present(self.now, self.portfolio, pack.id, prices)

    async def _wash_sale(self) -> str:
        """What of the household disallows a loss since the plan was made, in one sentence; empty where nothing does."""
        known = self._connection, self.state, self.portfolio, await self.made()
        members = await PortfolioRepository(self._connection).household(self.state.portfolio_id)
        if await self._plans.last_transaction(members) != self.state.last_transaction and (
            reason := await later_wash_sale(*known)
        ):
            return reason
        return await worse_exposure(*known)

    async def _not_traded(self) -> str:
        """Which of the plan's instruments is not traded any more, in one sentence; empty where all are."""
        names = sorted({trade.instrument_id for trade in (await self.made()).trades})
        found = await InstrumentRepository(self._connection).find(names)
        return next((f"{one.id} is {one.status}, and the plan trades it" for one in found if one.status != _TRADED), "")

    async def _was_taken(self, action: PlanAction) -> bool:
        """Whether the step is part of the way so far, also where it found the plan lapsed, whatever came after it."""
        taken = await self._plans.transitions(self.state.rebalance_id)
        return any(one.action == action or is_repeated(PlanStatus(one.status), action) for one in taken)

    async def _target(self, action: PlanAction) -> PlanStatus:
        match action:
            case PlanAction.SUBMIT:
                if not (await self.made()).trades:
                    raise Conflict(
                        f"rebalance plan {self.state.rebalance_id} has no trades: there is nothing to submit"
                    )
                needed = self.state.gross_amount > self.state.approval_limit
                return PlanStatus.PENDING_APPROVAL if needed else PlanStatus.APPROVED
            case PlanAction.APPROVE:
                return PlanStatus.APPROVED
            case PlanAction.REJECT:
                return PlanStatus.REJECTED
            case PlanAction.CANCEL:
                return PlanStatus.CANCELLED
            case _:
                raise ValueError(f"{action} is no step that a caller takes")

    def _expires_at(self, target: PlanStatus) -> datetime | None:
        if target is PlanStatus.APPROVED:
            return lapses_at(self.now, self.state.validity_hours)
        return self.state.expires_at if target in OPEN else None

    async def _require_alone(self) -> None:
        other = await self._plans.other_approved(self.state.portfolio_id, self.state.rebalance_id)
        if other is not None:
            raise Conflict(
                f"rebalance plan {other} of portfolio {self.state.portfolio_id} is approved and not yet executed: only "
                f"one plan of a portfolio can be; report its executions or cancel it before plan "
                f"{self.state.rebalance_id} is approved"
            )


async def _portfolio_of(connection: Connection, rebalance_id: str) -> str:
    try:
        return await PlanRepository(connection).portfolio_of(rebalance_id)
    except NotFound:
        # Says that there is no such plan, if that is so.
        request = (await RebalanceRepository(connection).find(rebalance_id)).request
        raise Conflict(
            f"rebalance plan {rebalance_id} is {request.status}: it has no trades to carry out and no workflow"
        ) from None
