"""Execution reports of a plan, taken in within one transaction: the reports, the books, and what follows for plans."""

from __future__ import annotations

from collections.abc import Sequence

from server.convert.faults import Faults
from server.convert.plan_events import rebalance_execution_recorded
from server.convert.plan_workflow import CLOCK_DIFFERENCE, Report, as_report
from server.plans.books import close_books, enter_fills
from server.plans.changes import LockedPlan
from server.plans.lapse import differences, may_lapse
from server.plans.positions import from_stored, position_of, to_stored
from server.plans.progress import TradeKey, TradeProgress, advanced, all_closed, check_fits, progress_of, summary
from server.plans.states import SERVICE, PlanAction, PlanStatus, require_possible
from server.plans.terms import lapses_at
from server.plans.trade_days import trade_day
from storage.database import Connection
from storage.errors import Conflict
from storage.plan_records import PlanExecution
from storage.plans import PlanRepository

_INTERRUPTED = (PlanStatus.EXPIRED, PlanStatus.CANCELLED)


async def record_reports(
    connection: Connection, plan: LockedPlan, reports: Sequence[Report], actor: str
) -> Conflict | None:
    """Take in reports, all or none; those that are known already are left out.

    Args:
        connection: Of the transaction.
        plan: The plan, locked with its household.
        reports: In the order in which things happened.
        actor: Who reports.

    Returns:
        A refusal that is to be raised after the commit: the plan lapsed before its first execution.

    Raises:
        Conflict: The plan cannot be executed now, or a report is known with another content.
        InvalidRequest: Reports do not fit the plan or what is held.
    """
    plans = PlanRepository(connection)
    known = await plans.executions(plan.state.rebalance_id)
    new = _unknown(plan, reports, known)
    if not new:
        return None
    if refusal := await _refusal(plans, plan, reports, new):
        return refusal
    executions = [await _execution(plan, report, len(known) + k, actor) for k, report in enumerate(new, 1)]
    progress = await _progress(plan, known, executions, reports)
    # An order that ended without a fill has moved nothing: the plan may lapse still.
    has_begun = plan.state.position_after is not None or _has_moved(executions)
    if has_begun:
        await _remark_changes(plan)
    for execution in executions:
        await plans.add_execution(execution)
    await _keep_books(connection, plan, known, executions)
    if has_begun:
        await plans.set_position_after(plan.state.rebalance_id, to_stored(position_of(plan.portfolio)))
        await plan.refresh()
    plan.note([rebalance_execution_recorded(plan.state, execution) for execution in executions])
    if all_closed(progress) and plan.status is PlanStatus.APPROVED:
        filled = any(trade.filled for trade in progress.values())
        target = PlanStatus.EXECUTED if filled else PlanStatus.CANCELLED
        await plan.take(PlanAction.RECORD, target, actor, summary(progress))
    if _has_moved(executions):
        await _let_others_lapse(connection, plan)
    return None


async def _refusal(
    plans: PlanRepository, plan: LockedPlan, reports: Sequence[Report], new: Sequence[Report]
) -> Conflict | None:
    """Why the plan has lapsed now and new reports come too late; None where they are taken.

    Raises:
        Conflict: The plan cannot be executed.
        InvalidRequest: A report is of a time before the plan.
    """
    if await _was_in_time(plans, plan, new):
        return None
    require_possible(plan.state.rebalance_id, plan.status, PlanAction.RECORD)
    _check_moments(plan, reports, new)
    if await plan.look(PlanAction.RECORD) and not await _was_in_time(plans, plan, new):
        return _lapsed(plan)
    return None


async def _was_in_time(plans: PlanRepository, plan: LockedPlan, reports: Sequence[Report]) -> bool:
    """Whether all reports are of what was executed while a plan was approved that has lapsed or is cancelled since.

    Such fills have happened: books without them would be wrong.
    """
    if plan.status not in _INTERRUPTED:
        return False
    way = await plans.transitions(plan.state.rebalance_id)
    begin = next((step.at for step in way if step.status == PlanStatus.APPROVED), None)
    if begin is None:
        return False
    end = next(step.at for step in way if step.status == plan.status)
    if plan.status is PlanStatus.EXPIRED:
        # Its time may have been over before anybody looked.
        end = min(end, lapses_at(begin, plan.state.validity_hours) or end)
    return all(report.executed_at is not None and begin <= report.executed_at < end for report in reports)


async def _progress(
    plan: LockedPlan, known: Sequence[PlanExecution], executions: Sequence[PlanExecution], reports: Sequence[Report]
) -> dict[TradeKey, TradeProgress]:
    """The progress of the trades after all reports.

    Raises:
        InvalidRequest: New ones do not fit the trades.
    """
    progress = progress_of((await plan.made()).trades, known)
    fields = {report.execution_id: f"reports[{k}]" for k, report in enumerate(reports)}
    faults = Faults()
    for execution in executions:
        if check_fits(fields[execution.execution_id], progress, execution, faults):
            key = (execution.instrument_id, execution.action)
            progress[key] = advanced(progress[key], execution)
    faults.check()
    return progress


async def _remark_changes(plan: LockedPlan) -> None:
    """Say in the history what was changed by others since the plan was made or last executed.

    What was held before, these changes and the executions give what is held.
    """
    state = plan.state
    last = from_stored(state.position_before if state.position_after is None else state.position_after)
    if found := differences(last, position_of(plan.portfolio)):
        await plan.remark(f"changed outside of the plan before the next execution was recorded: {', '.join(found)}")


async def _keep_books(
    connection: Connection, plan: LockedPlan, known: Sequence[PlanExecution], executions: Sequence[PlanExecution]
) -> None:
    """Enter executions into the books; those of a plan that has ended are all that it sells."""
    plan.portfolio = await enter_fills(connection, plan, known, executions)
    if plan.status in _INTERRUPTED:
        plan.portfolio = await close_books(connection, plan)


def _has_moved(executions: Sequence[PlanExecution]) -> bool:
    """Whether shares or money have changed hands."""
    return any(execution.quantity or execution.cost for execution in executions)


def _unknown(plan: LockedPlan, reports: Sequence[Report], known: Sequence[PlanExecution]) -> list[Report]:
    """The reports that are new."""
    stored = {execution.execution_id: as_report(execution) for execution in known}
    for report in reports:
        if (earlier := stored.get(report.execution_id, report)) != report:
            name = next(name for name in Report.__slots__ if getattr(earlier, name) != getattr(report, name))
            raise Conflict(
                f"execution {report.execution_id} of rebalance plan {plan.state.rebalance_id} is known with {name} "
                f"{getattr(earlier, name)}, not {getattr(report, name)}"
            )
    return [report for report in reports if report.execution_id not in stored]


def _check_moments(plan: LockedPlan, reports: Sequence[Report], new: Sequence[Report]) -> None:
    """An order cannot be executed before its plan was made: its day would give shares a wrong age."""
    faults, first = Faults(), plan.state.created_at - CLOCK_DIFFERENCE
    for k, report in enumerate(reports):
        if report in new and report.executed_at is not None and report.executed_at < first:
            made = plan.state.created_at.isoformat(timespec="seconds")
            faults.add(f"reports[{k}].executed_at", f"must not be before the plan was made, {made}")
    faults.check()


def _lapsed(plan: LockedPlan) -> Conflict:
    return Conflict(
        f"rebalance plan {plan.state.rebalance_id} has lapsed before its first execution was recorded, so it is "
        f"{plan.status}: its history says why; put the portfolio as it is held now and make a new plan"
    )


async def _execution(plan: LockedPlan, report: Report, number: int, actor: str) -> PlanExecution:
    return PlanExecution(
        rebalance_id=plan.state.rebalance_id,
        number=number,
        **{name: getattr(report, name) for name in Report.__slots__},
        traded_on=await trade_day(plan.portfolio, report.executed_at or plan.now),
        recorded_at=plan.now,
        actor=actor,
    )


async def _let_others_lapse(connection: Connection, plan: LockedPlan) -> None:
    """The other open plans of the portfolio were made from what is not held any more."""
    others = await PlanRepository(connection).others_open(plan.state.portfolio_id, plan.state.rebalance_id)
    for rebalance_id in others:
        other = LockedPlan(connection, plan.now, await PlanRepository(connection).lock(rebalance_id), plan.portfolio)
        if not may_lapse(other.state):
            continue
        reason = f"what the plan was made from has changed: plan {plan.state.rebalance_id} was executed"
        await other.take(PlanAction.LAPSE, PlanStatus.EXPIRED, SERVICE, reason)
        plan.note(other.take_events())
