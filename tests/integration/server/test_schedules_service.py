"""Schedules and monitoring through the whole service: preferences set by call, looks and drift found by the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from portfolio_optimization.v1 import events_pb2, plan_workflow_pb2, policies_pb2, rebalancing_calls_pb2
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from server.trading_days import TradingDays
from storage.pricing_packs import PricingPackRepository
from tests.integration.server.many_portfolios import make_model, store_model, store_portfolios
from tests.integration.server.open_service import OpenService, copied_database, open_service

P = policies_pb2
MODEL = make_model(count=6, days=90)
WATCHED, DAILY = ("watched-1", "watched-2"), ("daily-alert", "daily-submit")
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTFOLIO_SCHEDULE_SCAN_SECONDS", "0.1")
        patch.setenv("PORTFOLIO_DRIFT_MONITOR_MINUTES", "0.002")
        with (
            copied_database(postgres_server, template_database) as url,
            open_service(url, load_sample=False) as service,
        ):
            service.run(_fill(service))
            yield service


async def _fill(service: OpenService) -> None:
    await store_model(service.application.database, MODEL)
    await store_portfolios(service.application.database, MODEL, (*WATCHED, *DAILY))


def rebalancing(service: OpenService) -> Any:
    return RebalancingServiceStub(service.channel)


async def prefer(service: OpenService, portfolio_id: str, threshold: float, **fields: Any) -> None:
    preferences = P.RebalancingPreferences(
        target_type="custom",
        custom_target=MODEL.weights,
        drift={"measure": "DRIFT_MEASURE_MAX_ABSOLUTE", "threshold": threshold},
        **fields,
    )
    request = P.SetRebalancingPreferencesRequest(portfolio_id=portfolio_id, preferences=preferences)
    await rebalancing(service).SetRebalancingPreferences(request)


async def drifts(service: OpenService, portfolio_id: str) -> list[events_pb2.Event]:
    request = events_pb2.ListEventsRequest(portfolio_id=portfolio_id, types=["drift_detected"], page_size=1000)
    return list((await EventServiceStub(service.channel).ListEvents(request)).events)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.05)


async def measured(service: OpenService, portfolio_id: str) -> None:
    """Waits until the drift is known as prices and the portfolio stand."""
    statement = b"""
        SELECT COUNT(*) FROM drift_states JOIN portfolios ON portfolios.id = drift_states.portfolio_id
        WHERE portfolio_id = %s AND portfolio_updated_at = updated_at
            AND packs = (SELECT COUNT(*) FROM pricing_packs)
    """

    async def known() -> bool:
        async with service.application.database.transaction() as connection:
            row = await (await connection.execute(statement, [portfolio_id])).fetchone()
        return row == (1,)

    await until(known)


async def new_prices(service: OpenService, factor: float) -> None:
    """A pack in which the first stock is worth `factor` times as much, and the others as before."""
    closes = MODEL.prices.closes.copy()
    closes[-1] = closes[-1] * np.where(np.arange(len(MODEL.names)) == 0, factor, 1.0)
    table = replace(MODEL, prices=replace(MODEL.prices, closes=closes)).prices
    async with service.application.database.transaction() as connection:
        await PricingPackRepository(connection).store(table, "a jump")


def test_a_crossing_is_told_once_however_often_prices_come(service: OpenService) -> None:
    async def follow() -> list[int]:
        await prefer(service, WATCHED[0], threshold=0.4)
        await prefer(service, WATCHED[1], threshold=0.9)
        counts = []
        for factor in (1.001, 20.0, 21.0, 1.002, 22.0):
            await new_prices(service, factor)
            for name in WATCHED:
                await measured(service, name)
            counts.append(len(await drifts(service, WATCHED[0])))
        return counts

    assert service.run(follow()) == [0, 1, 1, 1, 2]
    assert service.run(drifts(service, WATCHED[1])) == []
    told = service.run(drifts(service, WATCHED[0]))[0].drift_detected
    assert told.settings.threshold == 0.4
    assert told.measures.max_absolute >= 0.4


def test_a_look_measures_tells_plans_and_submits(service: OpenService) -> None:
    calendar, now = TradingDays("XNYS"), datetime.now(UTC)
    newest = calendar.last_on_or_before(now.date())
    newest = newest if calendar.opens_at(newest) <= now else calendar.last_before(newest)

    async def follow() -> list[Any]:
        for name, action in zip(DAILY, ("ALERT", "SUBMIT"), strict=True):
            await prefer(
                service,
                name,
                threshold=0.0001,
                schedule=P.REBALANCE_SCHEDULE_DAILY,
                scheduled_action=f"SCHEDULED_ACTION_{action}",
                approval_limit_amount="1.00",
            )
            await looked(service, name, newest)
        request = rebalancing_calls_pb2.ListRebalancePlansRequest(portfolio_id=DAILY[1])
        return list((await rebalancing(service).ListRebalancePlans(request)).plans)

    (plan,) = service.run(follow())
    assert plan.status == plan_workflow_pb2.REBALANCE_PLAN_STATUS_PENDING_APPROVAL
    request = rebalancing_calls_pb2.GetRebalancePlanRequest(rebalance_id=plan.rebalance_id)
    answer = service.run(_answer(rebalancing(service).GetRebalancePlan(request))).plan
    assert answer.reason == f"scheduled look of {newest.isoformat()}"
    assert [transition.actor for transition in answer.workflow.transitions] == ["schedule", "schedule"]
    assert [len(service.run(drifts(service, name))) for name in DAILY] == [1, 1]
    none = rebalancing_calls_pb2.ListRebalancePlansRequest(portfolio_id=DAILY[0])
    assert list(service.run(_answer(rebalancing(service).ListRebalancePlans(none))).plans) == []


async def _answer(call: Any) -> Any:
    return await call


async def looked(service: OpenService, portfolio_id: str, newest: date) -> None:
    """Sets the schedule back by some days, so that a session is due, and waits for its look."""
    async with service.application.database.transaction() as connection:
        await connection.execute(
            b"UPDATE portfolio_schedules SET since = since - %s WHERE portfolio_id = %s",
            [timedelta(days=9), portfolio_id],
        )

    async def is_done() -> bool:
        request = P.GetRebalancingPreferencesRequest(portfolio_id=portfolio_id)
        found = await rebalancing(service).GetRebalancingPreferences(request)
        assert found.next_look_on >= newest.isoformat()
        assert bool(found.last_look_note) == bool(found.last_look_on)
        return found.last_look_on == newest.isoformat()

    await until(is_done)
