"""The process between the service and PostgreSQL. Runs as a script on the standard library alone.

It starts ``postgres`` as its child, starts it again when it dies, and shuts it down when the service goes: the service
holds the other end of the guardian's standard input, which ends with the service in whatever way that ends. A process
of its own does this rather than a thread, because the service must not fork once its gRPC server has started.

The service's one message, any byte, says that the database has answered. Until then a dying ``postgres`` ends the
guardian too: the service then reads the reason from the log.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 10.0
_FAST_SHUTDOWN_SECONDS = 10.0
_IMMEDIATE_SHUTDOWN_SECONDS = 5.0


@dataclass(frozen=True)
class Orders:
    """What to run and as whom. ``uid`` and ``gid`` are None where the user stays the same."""

    command: list[str]
    directory: str
    uid: int | None
    gid: int | None


class Guardian:
    """Keeps one ``postgres`` alive as long as the service lives."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._answered = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._wakeup, writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer)

    def run(self) -> int:
        """Returns when the service has gone, or when the database has failed before it ever answered."""
        while True:
            started = time.monotonic()
            server = self._spawn()
            if self._watch(server):
                shut_down(server)
                return 0
            if not self._answered:
                return 1
            if time.monotonic() - started > _STEADY_SECONDS:
                self._pause = _FIRST_PAUSE_SECONDS
            if self._wait(self._pause):
                return 0
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes]:
        orders = self._orders
        guardian = os.getpid()
        prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

        def die_with_guardian() -> None:
            if prctl is not None:
                prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
                if os.getppid() != guardian:
                    os._exit(1)

        return subprocess.Popen(  # noqa: S603 - the command is the launcher's own
            orders.command,
            cwd=orders.directory,
            stdin=subprocess.DEVNULL,
            user=orders.uid,
            group=orders.gid,
            extra_groups=None if orders.uid is None else [],
            # This process has a single thread, so code between fork and exec is safe here.
            preexec_fn=die_with_guardian,  # noqa: PLW1509
        )

    def _watch(self, server: subprocess.Popen[bytes]) -> bool:
        """Waits for the end of the service (True) or of the server (False)."""
        while server.poll() is None:
            if self._wait(None):
                return True
        return False

    def _wait(self, seconds: float | None) -> bool:
        """Waits for a message, a dead child or the time. Returns whether the service has gone."""
        readable, _, _ = select.select([0, self._wakeup], [], [], seconds)
        if self._wakeup in readable:
            os.read(self._wakeup, 4096)
        if 0 in readable:
            if not os.read(0, 4096):
                return True
            self._answered = True
        return False


def shut_down(server: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; immediate if that takes too long; none of them loses what was committed."""
    endings = (
        (signal.SIGINT, _FAST_SHUTDOWN_SECONDS),
        (signal.SIGQUIT, _IMMEDIATE_SHUTDOWN_SECONDS),
        (signal.SIGKILL, _IMMEDIATE_SHUTDOWN_SECONDS),
    )
    for ending, patience in endings:
        server.send_signal(ending)
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return


def main() -> int:
    """Runs the orders given as JSON in the first argument."""
    # A signal to the whole group is for the service to act on: the database ends after it.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    return Guardian(Orders(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    sys.exit(main())
