"""Keeping a plan: request, result, workflow and event in one transaction."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.compute.rebalance import RebalanceAnswer
from server.convert.answers import timestamp, to_json
from server.convert.plans import life_of_plan
from server.plans.exposure import exposed_trades, exposure_of
from server.plans.hash import PlanHash, plan_hash
from server.plans.opening import NewPlan, open_plan
from server.plans.preparing import PreparedPlan
from server.plans.reading import workflow_message
from server.settings import Settings
from storage.database import Connection
from storage.rebalances import RebalanceRepository
from storage.records import COMPLETED, Event, Json, RebalanceRequest, RebalanceResult


@dataclass(frozen=True, slots=True)
class Finished:
    """A plan as it is kept: its request, what it was made from, and what its trades meet in the household."""

    request: RebalanceRequest
    input_hash: PlanHash
    exposure: Json


def finished(prepared: PreparedPlan, response: pb.RebalancePlanResponse) -> Finished:
    """Give the plan its time and the hash of what it was made from."""
    request, exposure = _request(prepared.message, response), _exposure(prepared, response)
    response.created_at.CopyFrom(timestamp(request.created_at))
    found = plan_hash(
        prepared.holdings.portfolio,
        prepared.holdings.prices,
        prepared.rules,
        to_json(prepared.message),
        response.pricing_pack_id,
        exposure=exposure,
    )
    response.input_hash = found.value
    return Finished(request, found, exposure)


@dataclass(frozen=True, slots=True)
class Keeping:
    """For whom a plan is kept, and by which defaults it is proposed."""

    settings: Settings
    actor: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What has come of keeping a plan.

    Attributes:
        created: Whether it is new.
        events: What is to be told, appended last in the transaction.
    """

    created: bool
    events: tuple[Event, ...] = ()


async def keep_plan(
    connection: Connection,
    prepared: PreparedPlan,
    response: pb.RebalancePlanResponse,
    answer: RebalanceAnswer,
    keeping: Keeping,
) -> Kept:
    """Keep a plan and propose it, unless its portfolio has one under the same request_id.

    Returns:
        What has come of it. `response` of a new plan has its id and its workflow.
    """
    found = finished(prepared, response)
    request = found.request
    response.rebalance_id = request.id
    repository = RebalanceRepository(connection)
    _, created = await repository.create(request)
    if not created:
        return Kept(created=False)
    life = life_of_plan(answer)
    await repository.complete(request.id, life, _result(response), None)
    if life == COMPLETED:
        plan = NewPlan(
            response,
            prepared.holdings.portfolio,
            prepared.holdings.prices,
            found.input_hash,
            keeping.settings,
            found.exposure,
            prepared.last_transaction,
        )
        proposed = await open_plan(connection, plan, keeping.actor)
        workflow = await workflow_message(connection, request.id)
        if workflow is not None:
            response.workflow.CopyFrom(workflow)
        return Kept(created=True, events=(proposed,))
    return Kept(created=True)


def _exposure(prepared: PreparedPlan, response: pb.RebalancePlanResponse) -> Json:
    """What the plan's trades meet in the household as it was read for them."""
    taxes = prepared.inputs.taxes
    return exposure_of(taxes.household, exposed_trades(response, taxes.portfolio_id, taxes.sold_on), taxes.rules)


def _request(message: pb.RebalancePlanRequest, response: pb.RebalancePlanResponse) -> RebalanceRequest:
    return RebalanceRequest(
        id=str(uuid.uuid4()),
        portfolio_id=message.portfolio_id,
        specification=to_json(message),
        request_id=message.request_id or None,
        pricing_pack_id=response.pricing_pack_id,
        target_type=response.target_type,
        constraints=to_json(message.constraints),
    )


def _result(response: pb.RebalancePlanResponse) -> RebalanceResult:
    content = to_json(response)
    return RebalanceResult(
        rebalance_id=response.rebalance_id,
        current_allocation=content.pop("current_allocation", {}),
        target_allocation=content.pop("target_allocation", {}),
        trades=content.pop("trades", []),
        metrics=content.pop("metrics", {}),
        details=content,
        solve_seconds=response.certificate.solve_seconds,
    )
