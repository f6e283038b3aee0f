"""Validations outlive what runs them: followed, cancelled, interrupted, and each answered once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from conftest import Launcher
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1 import validation_pb2 as v
from running_service import PATIENCE_SECONDS, RunningService, await_that
from sample_calls import GROWTH, OPEN, optimize, sharpe_request

# Of the whole history every few days: some seconds.
_EVERY_DAYS = 10
# On all that came before, every other day: minutes.
_FOR_EVER = {"window": v.WINDOW_KIND_EXPANDING, "rebalance_days": 2}


def create(service: RunningService, **fields: Any) -> str:
    asked = pb.CreateOptimizationRequest(portfolio_id=GROWTH, optimization_type="minimum_variance")
    request = v.CreateValidationRequest(**{"optimization": asked, "rebalance_days": _EVERY_DAYS, **fields})
    return service.optimization.CreateValidation(request, timeout=PATIENCE_SECONDS).validation_id


def find(service: RunningService, validation_id: str) -> v.GetValidationResponse:
    return service.optimization.GetValidation(
        v.GetValidationRequest(validation_id=validation_id), timeout=PATIENCE_SECONDS
    )


def await_progress(service: RunningService, validation_id: str) -> None:
    """Waits until some windows are done."""
    await_that(lambda: find(service, validation_id).windows_done > 0, f"windows are done:\n{service.output}")
    assert find(service, validation_id).status == "running"


def completed_once(service: RunningService, validation_id: str) -> v.GetValidationResponse:
    """A validation that has ended with exactly one result, and no job that would go on."""
    await_that(lambda: find(service, validation_id).status not in OPEN, f"it ends:\n{service.output}")
    found = find(service, validation_id)
    assert found.status == "completed", found.message
    assert found.windows_done == found.windows == len(found.report.windows)
    results = "SELECT COUNT(*) FROM validation_results WHERE validation_id = %s"
    assert service.count(results, validation_id) == 1
    jobs = "SELECT COUNT(*) FROM procrastinate_jobs WHERE args->>'validation_id' = %s AND status IN ('todo', 'doing')"
    await_that(lambda: service.count(jobs, validation_id) == 0, f"its job is done:\n{service.output}")
    return found


def test_a_validation_is_followed_while_optimizations_go_on(service: RunningService) -> None:
    validation_id = create(service)
    steps = service.optimization.WatchValidation(
        v.WatchValidationRequest(validation_id=validation_id), timeout=PATIENCE_SECONDS
    )
    done = []
    for step in steps:
        done.append(step.validation.windows_done)
        if len(done) == 3:
            assert optimize(service, sharpe_request()).status == "completed"
            assert find(service, validation_id).status == "running"
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert done[-1] == len(completed_once(service, validation_id).report.windows)


def test_cancelling_stops_the_solver_and_nothing_else(service: RunningService) -> None:
    service.await_idle_solvers()
    validation_id = create(service, **_FOR_EVER)
    solver = service.await_busy_solver()
    await_progress(service, validation_id)
    request = v.CancelValidationRequest(validation_id=validation_id)
    assert service.optimization.CancelValidation(request, timeout=PATIENCE_SECONDS).status == "cancelled"
    await_that(lambda: solver not in service.solvers(), "the solver that worked on it is gone")
    found = find(service, validation_id)
    assert (found.status, found.HasField("report")) == ("cancelled", False)
    assert optimize(service, sharpe_request()).status == "completed"
    assert service.count("SELECT COUNT(*) FROM validation_results WHERE validation_id = %s", validation_id) == 0


def test_what_is_killed_in_the_middle_costs_a_retry(launcher: Launcher, data_directory: Path) -> None:
    first = launcher.serve(data_directory, workers=1, drain_seconds=0.5)
    validation_id = create(first, request_id="once")
    await_progress(first, validation_id)
    os.kill(first.await_busy_solver(), signal.SIGKILL)
    again = "SELECT COUNT(*) FROM procrastinate_jobs WHERE args->>'validation_id' = %s AND attempts > 0"
    await_that(lambda: first.count(again, validation_id) == 1, f"it is tried again:\n{first.output}")
    await_progress(first, validation_id)
    first.stop(signal.SIGKILL)
    second = launcher.serve(data_directory, workers=1, drain_seconds=0.5)
    interrupted = completed_once(second, validation_id)
    assert create(second, request_id="once") == validation_id
    undisturbed = completed_once(second, create(second))
    assert interrupted.report == undisturbed.report


def test_a_service_that_stops_leaves_a_validation_to_the_next(
    launcher: Launcher, open_directory: Path, database_url: str
) -> None:
    unused = open_directory / "unused"
    service = launcher.serve(unused, "--no-worker", database_url=database_url, workers=1)
    validation_id = create(service)
    assert find(service, validation_id).status == "pending"
    worker = launcher.work(unused, database_url=database_url, workers=1, drain_seconds=0.5)
    await_progress(service, validation_id)
    assert worker.stop() == 0
    assert find(service, validation_id).status == "running"
    other = launcher.work(unused, database_url=database_url, workers=1)
    completed_once(service, validation_id)
    assert [running.stop() for running in (other, service)] == [0, 0]


def test_a_validation_beyond_its_limit_fails_and_says_so(launcher: Launcher, data_directory: Path) -> None:
    service = launcher.serve(data_directory, workers=1, validation_limit_seconds=1)
    validation_id = create(service, **_FOR_EVER)
    await_that(lambda: find(service, validation_id).status not in OPEN, f"it ends:\n{service.output}")
    found = find(service, validation_id)
    assert (found.status, found.HasField("report")) == ("failed", False)
    assert "second" in found.message
