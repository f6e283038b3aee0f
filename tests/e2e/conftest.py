"""Services to call: one that the whole session shares, and fresh ones for tests that stop or kill theirs."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from running_service import RunningCommand, RunningService, environment, free_port

_Running = TypeVar("_Running", bound=RunningCommand)


class Launcher:
    """Starts commands, and ends those that still run when the test is over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()

    def serve(self, data_directory: Path, *arguments: str, **settings: object) -> RunningService:
        """A `serve` command that is ready for calls."""
        service = self.start_serving(data_directory, *arguments, **settings)
        service.await_serving()
        return service

    def start_serving(self, data_directory: Path, *arguments: str, **settings: object) -> RunningService:
        """A `serve` command that has just been started."""
        chosen = {"grpc_address": f"127.0.0.1:{free_port()}", **settings}
        return self._keep(RunningService(arguments, self.directory, environment(data_directory, **chosen)))

    def work(self, data_directory: Path, **settings: object) -> RunningCommand:
        """A `worker` command that takes jobs."""
        worker = self._keep(RunningCommand(("worker",), self.directory, environment(data_directory, **settings)))
        worker.await_output("worker started")
        worker.look()
        return worker

    def close(self) -> None:
        """Ends what still runs."""
        self._stack.close()

    def _keep(self, running: _Running) -> _Running:
        self._stack.callback(running.clean_up)
        return running


@pytest.fixture(scope="session")
def filled_directory(open_directory: Path) -> Path:
    """A data directory that holds the sample data set. It is not running, so it can be copied."""
    directory = open_directory / "filled"
    launcher = Launcher(open_directory)
    try:
        assert launcher.serve(directory, workers=1).stop() == 0
    finally:
        launcher.close()
    return directory


@pytest.fixture
def data_directory(filled_directory: Path) -> Path:
    """A data directory of the test's own that holds the sample data set."""
    return copy_directory(filled_directory)


def copy_directory(filled: Path) -> Path:
    """A copy of a data directory, beside it."""
    target = filled.with_name(uuid.uuid4().hex[:8])
    # The owner must stay: as root, PostgreSQL runs as another user.
    subprocess.run(["cp", "-a", str(filled), str(target)], check=True)
    return target


@pytest.fixture(scope="session")
def service(open_directory: Path, filled_directory: Path) -> Iterator[RunningService]:
    """The service that tests share which only call it."""
    launcher = Launcher(open_directory)
    try:
        metrics = f"127.0.0.1:{free_port()}"
        service = launcher.serve(copy_directory(filled_directory), metrics_address=metrics, max_message_megabytes=1)
        yield service
        assert service.stop() == 0
    finally:
        launcher.close()


@pytest.fixture
def launcher(open_directory: Path) -> Iterator[Launcher]:
    """Starts commands of the test's own."""
    launcher = Launcher(open_directory)
    yield launcher
    launcher.close()


@pytest.fixture
def command_environment(open_directory: Path) -> dict[str, str]:
    """The environment of a command that is not to find a database."""
    return environment(open_directory / uuid.uuid4().hex[:8])
