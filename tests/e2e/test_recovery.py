"""What is killed in the middle of an optimization costs a retry, never an answer, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launcher, copy_directory
from running_service import RunningService, await_that
from sample_calls import (
    await_status,
    check_completed_once,
    create,
    ended,
    find,
    optimize,
    sharpe_request,
    slow_request,
)

# Far beyond what a test waits for: only a service or a worker with a lower limit of its own ends it in time.
_FOR_EVER = 30.0
# Long enough for a solve of one second to end and to want its answer stored.
_SOLVE_AND_MORE_SECONDS = 2.0


@pytest.fixture(scope="module")
def steady(open_directory: Path, filled_directory: Path) -> Iterator[RunningService]:
    """A service that loses its database and its solvers again and again, and is never started anew."""
    launcher = Launcher(open_directory)
    try:
        service = launcher.serve(copy_directory(filled_directory))
        yield service
        assert service.stop() == 0
    finally:
        launcher.close()


def test_workers_elsewhere_share_the_work_and_one_that_is_killed_is_replaced(
    launcher: Launcher, open_directory: Path, database_url: str
) -> None:
    unused = open_directory / "unused"
    service = launcher.serve(unused, "--no-worker", database_url=database_url, workers=1)
    waiting = create(service, slow_request(_FOR_EVER))
    assert find(service, waiting).status == "pending"
    killed = launcher.work(unused, database_url=database_url, workers=1)
    await_status(service, waiting, "running")
    other = launcher.work(unused, database_url=database_url, workers=1, solve_limit_seconds=1)
    shared = create(service, sharpe_request())
    assert ended(service, shared).status == "completed"
    assert find(service, waiting).status == "running"
    killed.stop(signal.SIGKILL)
    for optimization_id in (shared, waiting):
        assert ended(service, optimization_id).status == "completed"
        check_completed_once(service, optimization_id)
    assert "stalled jobs taken up again" in other.output
    assert "your server" in service.output
    assert database_url not in service.output + killed.output + other.output
    assert [running.stop() for running in (other, service)] == [0, 0]
    assert not unused.exists()


def test_what_a_service_has_accepted_is_done_after_its_end(launcher: Launcher, data_directory: Path) -> None:
    first = launcher.serve(data_directory, workers=1, drain_seconds=0.5)
    accepted = [create(first, slow_request(2.0)), create(first, sharpe_request())]
    first.stop(signal.SIGKILL)
    second = launcher.serve(data_directory, workers=1, drain_seconds=0.5)
    for optimization_id in accepted:
        assert ended(second, optimization_id).status == "completed"
        check_completed_once(second, optimization_id)
    under_way = create(second, slow_request(_FOR_EVER))
    await_status(second, under_way, "running")
    assert second.stop() == 0
    third = launcher.serve(data_directory, workers=1, solve_limit_seconds=1)
    assert ended(third, under_way).status == "completed"
    check_completed_once(third, under_way)


def test_a_killed_database_comes_back_and_the_service_goes_on(steady: RunningService) -> None:
    accepted = [create(steady, slow_request(1.0)) for _ in range(3)]
    await_status(steady, accepted[0], "running")
    killed = steady.postmaster()
    os.kill(killed, signal.SIGKILL)
    await_that(lambda: steady.postmaster() != killed, "the database is started again")
    for optimization_id in accepted:
        assert ended(steady, optimization_id).status == "completed"
        check_completed_once(steady, optimization_id)
    check_completed_once(steady, optimize(steady, sharpe_request()).optimization_id)


def test_a_database_killed_when_an_answer_is_to_be_stored_costs_no_answer(steady: RunningService) -> None:
    optimization_id = create(steady, slow_request(1.0))
    await_status(steady, optimization_id, "running")
    postmaster = steady.postmaster()
    database = [postmaster, *(line.pid for line in steady.look().values() if line.parent == postmaster)]
    # Stopped, it answers nobody: the answer waits for a database that is then killed.
    for ending in (signal.SIGSTOP, signal.SIGKILL):
        for pid in database:
            os.kill(pid, ending)
        time.sleep(_SOLVE_AND_MORE_SECONDS if ending is signal.SIGSTOP else 0.0)
    assert ended(steady, optimization_id).status == "completed"
    check_completed_once(steady, optimization_id)


def test_a_solver_killed_in_the_middle_is_replaced(steady: RunningService) -> None:
    steady.await_idle_solvers()
    optimization_id = create(steady, slow_request(1.5))
    solver = steady.await_busy_solver()
    os.kill(solver, signal.SIGKILL)
    assert ended(steady, optimization_id).status == "completed"
    check_completed_once(steady, optimization_id)
    assert solver not in steady.solvers()


def test_solvers_killed_while_they_wait_are_replaced(steady: RunningService) -> None:
    steady.await_idle_solvers()
    killed = steady.solvers()
    for solver in killed:
        os.kill(solver, signal.SIGKILL)
    optimization_id = create(steady, sharpe_request())
    assert ended(steady, optimization_id).status == "completed"
    check_completed_once(steady, optimization_id)
    assert not killed & steady.solvers()
