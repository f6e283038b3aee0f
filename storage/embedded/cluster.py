"""A database cluster on disk: what is in a data directory, and how it is made.

A data directory::

    <data directory>/            owned by the server's user, closed to others
        cluster/                 PostgreSQL's own files
        password                 of the one role, random
        port                     on 127.0.0.1, kept from start to start
        server.log
        .s.PGSQL.<port>          unix socket, where the path is short enough
    <data directory>.lock        held while a server runs
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.embedded.errors import ServerNotStarted
from storage.embedded.service_user import ServiceUser

ROLE = "portfolio_optimization"
DATABASE = "portfolio_optimization"

_LONGEST_SOCKET_PATH = 103  # of macOS; Linux allows 107
_LARGEST_LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files below one data directory."""

    directory: Path

    @property
    def files(self) -> Path:
        """PostgreSQL's own directory."""
        return self.directory / "cluster"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "server.log"

    @property
    def lock_file(self) -> Path:
        """Beside the directory, so that it can be taken before anything is made."""
        return self.directory.with_name(f"{self.directory.name}.lock")

    def connection_string(self, database: str = DATABASE) -> str:
        """A connection string over TCP, with the password: never to be logged.

        Raises:
            ServerNotStarted: Nothing has run here yet.
        """
        try:
            password = (self.directory / "password").read_text().strip()
            port = int((self.directory / "port").read_text())
        except FileNotFoundError as error:
            raise ServerNotStarted(f"there is no database in {self.directory}") from error
        return f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{database}"

    def prepare(self, programs: Path, user: ServiceUser) -> None:
        """Makes what is missing. A cluster is there wholly or not at all, whenever this is interrupted.

        Raises:
            ServerNotStarted: ``initdb`` failed.
        """
        if self.files.exists():
            return
        unfinished = self.directory / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._write("password", f"{secrets.token_urlsafe(24)}\n", user)
        command = [str(programs / "initdb"), "--pgdata", str(unfinished), "--username", ROLE]
        command += ["--pwfile", str(self.directory / "password"), "--auth", "scram-sha-256", "--data-checksums"]
        user.run([*command, "--encoding", "UTF8", "--locale", "C", "--no-instructions"], self.directory)
        unfinished.rename(self.files)
        _sync_directory(self.directory)

    def choose_port(self, user: ServiceUser) -> int:
        """The port of last time, or another one where that is taken."""
        file = self.directory / "port"
        wanted = int(file.read_text()) if file.exists() else 0
        port = wanted if wanted and _free_port(wanted) else _free_port(0)
        self._write("port", f"{port}\n", user)
        return port

    def open_log(self) -> BinaryIO:
        """The log, to be written on at its end. A long one is set aside first, in place of the one before."""
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")

    def command(self, programs: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """The command line of the server. What it says here goes before the cluster's configuration file."""
        socket_path = self.directory / f".s.PGSQL.{port}"
        fits = len(os.fsencode(socket_path)) <= _LONGEST_SOCKET_PATH
        chosen = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": f'"{self.directory}"' if fits else "",
            "unix_socket_permissions": "0700",
            "log_timezone": "UTC",
            "max_connections": "200",
        } | dict(settings)
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        return [str(programs / "postgres"), "-D", str(self.files), *options]

    def _write(self, name: str, text: str, user: ServiceUser) -> None:
        """Writes a small file that only its owner reads; a reader sees the old content or the new one."""
        unfinished = self.directory / f"{name}.unfinished"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        user.own(unfinished)
        unfinished.replace(self.directory / name)


def make_data_directory(directory: Path, user: ServiceUser) -> None:
    """Makes the directory, closed to others, with the parents it needs. Directories that exist stay as they are.

    Raises:
        ServerNotStarted: It is a file, belongs to somebody else, or the user cannot reach it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    if closed := user.closed_parent(directory):
        raise ServerNotStarted(
            f"the data directory {directory} is out of reach: {closed} is closed to user {user.uid}, as which "
            "PostgreSQL runs; choose another data directory"
        )
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        _check_owner(directory, user)
    else:
        user.own(directory)


def _check_owner(directory: Path, user: ServiceUser) -> None:
    if not directory.is_dir():
        raise ServerNotStarted(f"{directory} is not a directory")
    if directory.stat().st_uid == user.uid:
        return
    if not user.switch or any(directory.iterdir()):
        raise ServerNotStarted(f"the data directory {directory} does not belong to user {user.uid}")
    user.own(directory)


def _sync_directory(directory: Path) -> None:
    """Makes a rename outlive a loss of power: the next start would take the old name for something unfinished."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_port(wanted: int) -> int:
    """The port if it is free, any free one for 0, and 0 if it is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As PostgreSQL does, so that connections of the last run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
