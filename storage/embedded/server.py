"""The embedded server: started with the service, gone with it, with nothing to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import psycopg
from psycopg import sql

from storage.embedded import guardian
from storage.embedded.binaries import programs_for
from storage.embedded.cluster import DATABASE, Cluster, make_data_directory
from storage.embedded.errors import AlreadyRunning, ServerNotStarted
from storage.embedded.processes import Lock, clear_stale_server
from storage.embedded.service_user import ServiceUser, clean_environment

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.3
_START_SECONDS = 120.0
_ANSWER_SECONDS = 5
_POLL_SECONDS = 0.02
_STOP_SECONDS = 25.0
_LOG_TAIL_BYTES = 2000
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def default_data_directory() -> Path:
    """Where the data are unless said otherwise: a system directory for root, the user's own for everybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/portfolio-optimization")
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home, "portfolio-optimization")


class EmbeddedServer:
    """A PostgreSQL of our own.

    While the process that started it lives, it is started again when it dies, on the same port. It ends with that
    process, in whatever way that ends. Start and stop block for up to seconds: call them in a thread from asyncio.

    Attributes:
        connection_string: Of the service's database, with the password: never to be logged.
    """

    def __init__(self, cluster: Cluster, lock: Lock | None, process: subprocess.Popen[bytes] | None) -> None:
        self._cluster = cluster
        self._lock = lock
        self._process = process
        self.connection_string = cluster.connection_string()

    @classmethod
    def start(
        cls,
        data_directory: Path,
        *,
        attach: bool = False,
        bin_directory: Path | None = None,
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> Self:
        """Starts the server of a data directory, which is made if it is not there.

        Args:
            data_directory: Where the data are.
            attach: Use the server that another process runs there, if one does.
            bin_directory: Programs of an installed PostgreSQL, in place of those that come with the package.
            settings: PostgreSQL's own parameters, by name.

        Raises:
            AlreadyRunning: Another process runs it, and ``attach`` is false.
            ServerNotStarted: It cannot run; the message says what to change.
        """
        cluster = Cluster(data_directory.resolve())
        user = ServiceUser.for_directory(cluster.directory)
        try:
            make_data_directory(cluster.directory, user)
            lock = _acquire(cluster, attach=attach)
        except OSError as error:
            raise ServerNotStarted(f"the data directory {cluster.directory} cannot be used: {error}") from error
        if lock is None:
            _await_answer(cluster, DATABASE, None)
            return cls(cluster, None, None)
        try:
            user.own(cluster.lock_file)
            programs = programs_for(user, cluster.directory, bin_directory)
            cluster.prepare(programs, user)
            process = _launch(Launch(cluster, programs, user, lock, settings))
        except BaseException:
            lock.close()
            raise
        return cls(cluster, lock, process)

    @property
    def attached(self) -> bool:
        """Whether another process runs the server. Then :meth:`stop` leaves it running."""
        return self._process is None

    def stop(self) -> None:
        """Shuts the server down: open transactions are rolled back, what is committed stays. May be called again."""
        if self._process is not None:
            _stop(self._process)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a start of the server needs."""

    cluster: Cluster
    programs: Path
    user: ServiceUser
    lock: Lock
    settings: Mapping[str, str]


def _acquire(cluster: Cluster, *, attach: bool) -> Lock | None:
    """The lock of the data directory; None when another process has it and we may attach.

    Raises:
        AlreadyRunning: Another process has it, and we may not.
        ServerNotStarted: The server of a process that has died does not come to its end.
    """
    lock = Lock(cluster.lock_file)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        if lock.acquire():
            return lock
        if (holder := lock.holder()) is not None:
            lock.close()
            if attach:
                return None
            raise AlreadyRunning(str(cluster.directory), holder)
        time.sleep(_POLL_SECONDS)
    lock.close()
    raise ServerNotStarted(f"an earlier server in {cluster.directory} is still stopping; see {cluster.log}")


def _launch(launch: Launch) -> subprocess.Popen[bytes]:
    """Starts guardian and server, and waits for an answer.

    Backends of a server that was killed may hold its memory for a moment, and a port may be taken between our look and
    the server's: so there is more than one attempt.

    Raises:
        ServerNotStarted: None of the attempts brought an answer; the message holds the end of the server's log.
    """
    cluster = launch.cluster
    for attempt in range(_ATTEMPTS):
        time.sleep(attempt * _PAUSE_SECONDS)
        clear_stale_server(cluster.directory)
        process = _spawn(launch)
        try:
            if _await_answer(cluster, "postgres", process):
                _create_database(cluster)
                _tell(process)
                return process
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    raise ServerNotStarted(f"PostgreSQL does not start in {cluster.directory}: {_log_tail(cluster)}")


def _spawn(launch: Launch) -> subprocess.Popen[bytes]:
    cluster, user = launch.cluster, launch.user
    port = cluster.choose_port(user)
    orders = {
        "command": cluster.command(launch.programs, port, launch.settings),
        "directory": str(cluster.directory),
        "uid": user.uid if user.switch else None,
        "gid": user.gid if user.switch else None,
    }
    with cluster.open_log() as log:
        return subprocess.Popen(  # noqa: S603 - the command is our own
            # Without site packages: the guardian is there in 20 ms.
            [sys.executable, "-I", "-S", guardian.__file__, json.dumps(orders)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=clean_environment(),
            # The guardian shares the lock, which so lasts until the server has ended, however we end.
            pass_fds=[launch.lock.descriptor],
            # Ctrl-C in a terminal is for us alone: the database ends last.
            start_new_session=True,
        )


def _tell(process: subprocess.Popen[bytes]) -> None:
    """Tells the guardian that the server has answered, and so is to be kept alive from now on."""
    assert process.stdin is not None
    process.stdin.write(b".")
    process.stdin.flush()


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    # A guardian that is gone leaves an unread byte behind.
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_answer(cluster: Cluster, database: str, process: subprocess.Popen[bytes] | None) -> bool:
    """Waits until the server answers; False when its guardian ends before.

    Raises:
        ServerNotStarted: Nothing of both has happened for long.
    """
    deadline = time.monotonic() + _START_SECONDS
    reason: Exception | None = None
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return False
        try:
            psycopg.connect(cluster.connection_string(database), connect_timeout=_ANSWER_SECONDS).close()
        except (psycopg.OperationalError, ServerNotStarted) as error:
            reason = error
            time.sleep(_POLL_SECONDS)
        else:
            return True
    raise ServerNotStarted(f"PostgreSQL in {cluster.directory} does not answer: {reason}")


def _create_database(cluster: Cluster) -> None:
    with psycopg.connect(cluster.connection_string("postgres"), autocommit=True) as connection:
        exists = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount
        if not exists:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _log_tail(cluster: Cluster) -> str:
    return cluster.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
