"""The service's commands as real processes: started, watched and ended as an operator would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc
from portfolio_optimization.v1.portfolio_optimization_service_pb2_grpc import PortfolioOptimizationServiceStub

from storage.embedded import EmbeddedServer

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_SOLVER = "spawn_main"
_QUIET_LOOKS = 3


def await_that(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds; fails, saying what did not come to pass, when it does not for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"in {PATIENCE_SECONDS:g} seconds it did not happen that {what}"
        time.sleep(_POLL_SECONDS)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A living process."""

    pid: int
    parent: int
    busy: bool
    command: str


def processes() -> dict[int, ProcessLine]:
    """All processes that live; zombies do not."""
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=True
    ).stdout
    lines = (line.split(None, 3) for line in listed.splitlines())
    return {
        int(fields[0]): ProcessLine(int(fields[0]), int(fields[1]), fields[2][0] in "RD", fields[3])
        for fields in lines
        if len(fields) == 4 and not fields[2].startswith("Z")
    }


def descendants(pid: int) -> dict[int, ProcessLine]:
    """The children of a process, their children, and so on."""
    table = processes()
    found: dict[int, ProcessLine] = {}
    parents = {pid}
    while parents:
        children = {line.pid: line for line in table.values() if line.parent in parents and line.pid not in found}
        found |= children
        parents = set(children)
    return found


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has come to its end."""

    code: int
    output: str


def environment(data_directory: Path, **settings: object) -> dict[str, str]:
    """The environment of a command: ours, without settings of the service but those named here."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTFOLIO_")}
    chosen = {"data_dir": data_directory, "metrics_address": "", **settings}
    return inherited | {f"PORTFOLIO_{name.upper()}": str(value) for name, value in chosen.items()}


def run_command(*arguments: str, environment: Mapping[str, str]) -> Finished:
    """Runs a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Finished(done.returncode, done.stdout)


class RunningCommand:
    """A command that runs until it is stopped. What it prints is kept in a file.

    Attributes:
        data_directory: Where its embedded database is, if it has one.
        ours: It and its descendants, when it was last looked at.
    """

    def __init__(self, arguments: tuple[str, ...], directory: Path, environment: Mapping[str, str]) -> None:
        self.data_directory = Path(environment["PORTFOLIO_DATA_DIR"])
        self._output = directory / f"output-{time.monotonic_ns()}.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", *arguments],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.ours: set[int] = {self.pid}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def await_output(self, text: str) -> None:
        """Waits until it has printed a text."""
        await_that(lambda: text in self.output or not self.alive, f"{text!r} is printed:\n{self.output}")
        assert text in self.output, f"it ended with {self._process.returncode}:\n{self.output}"

    def look(self) -> dict[int, ProcessLine]:
        """Its descendants now."""
        now = descendants(self.pid)
        self.ours = {self.pid, *now}
        return now

    def solvers(self) -> set[int]:
        """The processes that solve."""
        return {pid for pid, line in self.look().items() if _SOLVER in line.command}

    def await_busy_solver(self) -> int:
        """Waits until one solver process works, and returns it. For a service whose solvers had nothing to do."""
        found: set[int] = set()

        def one_works() -> bool:
            found.clear()
            found.update(pid for pid, line in self.look().items() if _SOLVER in line.command and line.busy)
            return len(found) == 1

        await_that(one_works, f"a solver works:\n{self.output}")
        return found.pop()

    def await_idle_solvers(self) -> None:
        """Waits until no solver process works, those that have just been started included."""
        quiet = 0

        def none_works() -> bool:
            nonlocal quiet
            busy = any(_SOLVER in line.command and line.busy for line in self.look().values())
            quiet = 0 if busy else quiet + 1
            return quiet >= _QUIET_LOOKS

        await_that(none_works, "no solver works")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to it alone."""
        self.look()
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it and all its descendants are gone."""
        code = self._process.wait(PATIENCE_SECONDS)
        await_that(lambda: not self.survivors(), f"nothing of {self.pid} is left; it printed:\n{self.output}")
        return code

    def survivors(self) -> dict[int, ProcessLine]:
        """What lives of it."""
        return {pid: line for pid, line in processes().items() if pid in self.ours}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signals it and waits for its end; returns its exit code."""
        self.send(number)
        return self.wait()

    def clean_up(self) -> None:
        """Ends it by force, when a test has left it running."""
        if self.alive:
            self.stop(signal.SIGKILL)
        self._process.wait()


class RunningService(RunningCommand):
    """A `serve` command with a channel to it."""

    def __init__(self, arguments: tuple[str, ...], directory: Path, environment: Mapping[str, str]) -> None:
        super().__init__(("serve", *arguments), directory, environment)
        self.address = environment["PORTFOLIO_GRPC_ADDRESS"]
        self.metrics_address = environment["PORTFOLIO_METRICS_ADDRESS"]
        self._database_url = environment.get("PORTFOLIO_DATABASE_URL", "")
        self.channel = grpc.insecure_channel(self.address, options=[("grpc.max_reconnect_backoff_ms", 500)])
        self.optimization = PortfolioOptimizationServiceStub(self.channel)

    def await_serving(self) -> None:
        """Waits until its health says SERVING and all its solver processes are there."""
        await_that(lambda: not self.alive or self._serves(), f"it serves:\n{self.output}")
        self.await_output("Try:")
        self.look()

    def _serves(self) -> bool:
        try:
            answer = self.health(timeout=1.0)
        except grpc.RpcError:
            return False
        return answer == health_pb2.HealthCheckResponse.SERVING

    def health(self, service: str = "", timeout: float = PATIENCE_SECONDS) -> int:
        """The health status of a service; empty = of all."""
        request = health_pb2.HealthCheckRequest(service=service)
        return int(health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=timeout).status)

    @property
    def database_url(self) -> str:
        """The connection string of its database, while it runs."""
        return self._database_url or EmbeddedServer.start(self.data_directory, attach=True).connection_string

    def count(self, statement: str, *parameters: object) -> int:
        """The number that a statement selects from its database."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(statement.encode(), parameters).fetchone()
        assert row is not None
        return int(row[0])

    def postmaster(self) -> int:
        """The process id of its PostgreSQL."""
        return int((self.data_directory / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])

    def clean_up(self) -> None:
        self.channel.close()
        super().clean_up()
