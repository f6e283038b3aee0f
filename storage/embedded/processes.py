"""Questions about other processes, and the lock beside the data directory."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from storage.embedded.errors import ServerNotStarted

_ORPHAN_SECONDS = 15.0


def command_of(pid: int) -> str | None:
    """The command line of a process that lives; None when there is none, or a zombie."""
    if sys.platform == "linux":
        return _command_from_proc(Path("/proc", str(pid)))
    listed = subprocess.run(  # noqa: S603 - fixed command, numeric argument
        ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    state, _, command = listed.strip().partition(" ")
    return None if not state or state.startswith("Z") else command.strip()


def _command_from_proc(process: Path) -> str | None:
    try:
        # The state follows the name, which may itself hold spaces and parentheses.
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        command = (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else command.replace(b"\0", b" ").decode(errors="replace").strip()


class Lock:
    """A lock file whose holder is known by its process id; the system releases it when the last holder is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acquire(self) -> bool:
        """Whether the lock is ours now."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def holder(self) -> int | None:
        """The living process that took the lock. None while a server whose process has died is still stopping."""
        written = os.pread(self.descriptor, 32, 0).decode().strip()
        return int(written) if written.isdigit() and command_of(int(written)) is not None else None

    def close(self) -> None:
        """Gives it back, unless another process shares it."""
        os.close(self.descriptor)


def clear_stale_server(data_directory: Path) -> None:
    """Makes room for a new server, where the last one has left its files. For the holder of the lock.

    A server that outlived its guardian is shut down. Process id files of a zombie, or of a number that another program
    has by now, are removed, as PostgreSQL would take either for a living server. That of a dead process is left to
    PostgreSQL, which looks for surviving children first; it does so again by the memory they share.

    Raises:
        ServerNotStarted: The old server does not end.
    """
    file = data_directory / "cluster" / "postmaster.pid"
    try:
        pid = int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        pid = None
    if pid is not None and _is_server_of(pid, data_directory):
        _end(pid)
    elif pid is not None and _exists(pid):
        file.unlink(missing_ok=True)
    for leftover in data_directory.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)


def _is_server_of(pid: int, data_directory: Path) -> bool:
    command = command_of(pid)
    return command is not None and f" -D {data_directory}/" in command


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(pid: int) -> None:
    deadline = time.monotonic() + _ORPHAN_SECONDS
    for ending in (signal.SIGINT, signal.SIGQUIT):
        with suppress(ProcessLookupError):
            os.kill(pid, ending)
        while time.monotonic() < deadline:
            if command_of(pid) is None:
                return
            time.sleep(0.02)
        deadline += _ORPHAN_SECONDS
    raise ServerNotStarted(f"an earlier server, process {pid}, does not end")
