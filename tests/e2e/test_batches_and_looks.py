"""Batches and scheduled looks outlive what runs them: killed in the middle, each portfolio is done once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from conftest import Launcher
from portfolio_optimization.v1 import rebalance_batches_pb2 as pb
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub
from running_service import PATIENCE_SECONDS, RunningService, await_that

from storage.database import Database
from tests.integration.server.many_portfolios import Model, make_model, store_model, store_portfolios

MODEL = make_model(count=10, days=90)
NAMES = tuple(f"account-{k:03d}" for k in range(150))


def fill(service: RunningService, names: Sequence[str], model: Model = MODEL) -> None:
    """Portfolios of the model in the service's database."""

    async def store() -> None:
        async with Database(service.database_url) as database:
            await store_model(database, model)
            await store_portfolios(database, model, names)

    asyncio.run(store())


def stub(service: RunningService) -> Any:
    return RebalancingServiceStub(service.channel)


def find(service: RunningService, batch_id: str) -> pb.RebalanceBatch:
    message = pb.GetRebalanceBatchRequest(batch_id=batch_id)
    return stub(service).GetRebalanceBatch(message, timeout=PATIENCE_SECONDS).batch


def create(service: RunningService, names: Sequence[str] = NAMES) -> pb.RebalanceBatch:
    template = {"target_type": "custom", "custom_target": MODEL.weights}
    message = pb.CreateRebalanceBatchRequest(template=template, portfolio_ids=names, request_id="once")
    return stub(service).CreateRebalanceBatch(message, timeout=PATIENCE_SECONDS).batch


def await_done(service: RunningService, batch_id: str, least: int) -> None:
    await_that(lambda: find(service, batch_id).done_count >= least, f"{least} are done:\n{service.output}")


def test_a_batch_that_is_killed_again_and_again_does_each_portfolio_once(
    launcher: Launcher, data_directory: Path
) -> None:
    settings = {"workers": 2, "batch_chunk_portfolios": 50, "drift_monitor_minutes": 0}
    service = launcher.serve(data_directory, **settings)
    fill(service, NAMES)
    batch_id = create(service).batch_id
    for least in (20, 70):
        await_done(service, batch_id, least)
        assert find(service, batch_id).status == "running"
        service.stop(signal.SIGKILL)
        service = launcher.serve(data_directory, **settings)
    await_done(service, batch_id, len(NAMES))
    batch = find(service, batch_id)
    assert (batch.status, batch.done_count, batch.failed_count, batch.done_chunk_count) == ("completed", 150, 0, 3)
    assert create(service).batch_id == batch_id
    for statement in (
        "SELECT COUNT(*) FROM rebalance_batch_items",
        "SELECT COUNT(DISTINCT rebalance_id) FROM rebalance_batch_items",
        "SELECT COUNT(*) FROM rebalance_requests WHERE portfolio_id LIKE 'account-%%'",
        "SELECT COUNT(DISTINCT portfolio_id) FROM events WHERE type = 'rebalance_plan_proposed'",
        "SELECT COUNT(*) FROM events WHERE type = 'rebalance_plan_proposed'",
    ):
        assert service.count(statement) == len(NAMES), statement
    jobs = "SELECT COUNT(*) FROM procrastinate_jobs WHERE queue_name = 'batches' AND status IN ('todo', 'doing')"
    await_that(lambda: service.count(jobs) == 0, f"its jobs are done:\n{service.output}")


def schedule(service: RunningService, names: Sequence[str], action: str) -> None:
    """A schedule of every trading day, set days ago: a session is due at once, and some are missed."""
    rebalancing = {
        "target_type": "custom",
        "custom_target": MODEL.weights,
        "schedule": "REBALANCE_SCHEDULE_DAILY",
        "scheduled_action": f"SCHEDULED_ACTION_{action}",
        "drift": {"measure": "DRIFT_MEASURE_MAX_ABSOLUTE", "threshold": 0.001},
        "approval_limit_amount": str(Decimal(10) ** 9),
    }
    moment = datetime.now(UTC) - timedelta(days=12)
    with psycopg.connect(service.database_url) as connection:
        connection.execute(
            "UPDATE portfolios SET preferences = %s, updated_at = %s WHERE id = ANY(%s)",
            (json.dumps({"rebalancing": rebalancing}), moment, list(names)),
        )


def test_looks_of_a_worker_that_is_killed_are_done_once(
    launcher: Launcher, open_directory: Path, database_url: str
) -> None:
    unused, names = open_directory / "unused", NAMES[:12]
    settings = {"database_url": database_url, "drift_monitor_minutes": 0, "schedule_scan_seconds": 0.2, "workers": 1}
    service = launcher.serve(unused, "--no-worker", load_sample=False, **settings)
    fill(service, names)
    schedule(service, names, "SUBMIT")
    worker = launcher.work(unused, load_sample=False, **settings)
    made = "SELECT COUNT(*) FROM rebalance_requests"
    await_that(lambda: service.count(made) > 2, f"plans are made:\n{worker.output}")
    worker.stop(signal.SIGKILL)
    others = [launcher.work(unused, load_sample=False, **settings) for _ in range(2)]
    done = "SELECT COUNT(*) FROM scheduled_looks WHERE status = 'done'"
    await_that(lambda: service.count(done) >= len(names), f"looks are done:\n{others[0].output}")
    for statement in (
        done,
        made,
        "SELECT COUNT(*) FROM events WHERE type = 'drift_detected'",
        "SELECT COUNT(*) FROM events WHERE type = 'rebalance_plan_proposed'",
        "SELECT COUNT(*) FROM events WHERE type = 'rebalance_plan_status_changed'",
        "SELECT COUNT(DISTINCT rebalance_id) FROM scheduled_looks WHERE status = 'done'",
        "SELECT COUNT(DISTINCT session) * 12 FROM scheduled_looks WHERE status = 'done'",
    ):
        assert service.count(statement) == len(names), statement
    assert service.count("SELECT COUNT(*) FROM scheduled_looks WHERE status = 'skipped'") > 4 * len(names)
    assert service.count("SELECT COUNT(*) FROM scheduled_looks WHERE status IN ('pending', 'failed')") == 0
    assert [running.stop() for running in (*others, service)] == [0, 0, 0]
