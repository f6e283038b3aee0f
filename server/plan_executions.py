"""Execution reports of a plan, taken in within one transaction: the reports, the books, and what follows for plans."""

from __future__ import annotations

from collections.abc import Sequence

from server.convert.faults import Faults
from server.convert.plan_events import rebalance_execution_recorded
from server.convert.plan_workflow import CLOCK_DIFFERENCE, Report, as_report
from server.plan_books import enter_fills
from server.plan_changes import LockedPlan
from server.plan_positions import position_of, to_stored
from server.plan_progress import advanced, all_closed, check_fits, progress_of, summary
from server.plan_states import SERVICE, PlanAction, PlanStatus, require_possible
from server.trade_days import trade_day
from storage.database import Connection
from storage.errors import Conflict
from storage.plan_records import PlanExecution
from storage.plans import PlanRepository


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
    require_possible(plan.state.rebalance_id, plan.status, PlanAction.RECORD)
    _check_moments(plan, reports, new)
    if await plan.look(PlanAction.RECORD):
        return _lapsed(plan)
    executions = [await _execution(plan, report, len(known) + k, actor) for k, report in enumerate(new, 1)]
    progress = progress_of((await plan.made()).trades, known)
    fields = {report.execution_id: f"reports[{k}]" for k, report in enumerate(reports)}
    faults = Faults()
    for execution in executions:
        if check_fits(fields[execution.execution_id], progress, execution, faults):
            key = (execution.instrument_id, execution.action)
            progress[key] = advanced(progress[key], execution)
    faults.check()
    for execution in executions:
        await plans.add_execution(execution)
    plan.portfolio = await enter_fills(connection, plan, known, executions)
    await plans.set_position_after(plan.state.rebalance_id, to_stored(position_of(plan.portfolio)))
    await plan.refresh()
    plan.note([rebalance_execution_recorded(plan.state, execution) for execution in executions])
    if all_closed(progress):
        filled = any(trade.filled for trade in progress.values())
        target = PlanStatus.EXECUTED if filled else PlanStatus.CANCELLED
        await plan.take(PlanAction.RECORD, target, actor, summary(progress))
    if any(execution.quantity or execution.cost for execution in executions):
        await _let_others_lapse(connection, plan)
    return None


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
        reason = f"what the plan was made from has changed: plan {plan.state.rebalance_id} was executed"
        await other.take(PlanAction.LAPSE, PlanStatus.EXPIRED, SERVICE, reason)
        plan.note(other.take_events())
