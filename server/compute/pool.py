"""The pool of solver processes: spawned, killable one by one, dying with their parent. The event loop never solves."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as PoolTimeoutError
from typing import ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from server.compute.tasks import ready
from server.errors import Busy, OutOfTime, WorkerLost
from server.metrics import SOLVES, SOLVES_WAITING

P = ParamSpec("P")
T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_WATCH_SECONDS = 0.5
# BLAS threads of several solver processes would fight over the cores.
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class SolverPool:
    """Runs functions in processes of their own.

    Args:
        processes: How many solve at a time.
        max_waiting: How many may wait beyond that before `Busy` is raised.
    """

    def __init__(self, processes: int, max_waiting: int) -> None:
        for variable in _THREAD_VARIABLES:
            os.environ.setdefault(variable, "1")
        self._pool = ProcessPool(
            max_workers=processes,
            context=multiprocessing.get_context("spawn"),
            initializer=_enter_worker,
            initargs=[os.getpid()],
        )
        self._capacity = processes + max_waiting
        self._running = 0

    async def warm(self, processes: int) -> None:
        """Start the processes and let them import what they need."""
        await asyncio.gather(*(self.run(ready, timeout=60.0) for _ in range(processes)))

    async def run(self, function: Callable[..., T], *args: object, timeout: float | None = None) -> T:
        """Call `function` in a solver process.

        Cancelling the call kills the process that works on it, and the pool starts another.

        Raises:
            Busy: Too many calls are waiting.
            OutOfTime: `timeout` seconds passed; the process was killed.
            WorkerLost: The process died.
        """
        if self._running >= self._capacity:
            raise Busy(f"{self._running} solves are waiting; try again")
        self._running += 1
        SOLVES_WAITING.set(self._running)
        future = self._pool.schedule(function, args=list(args), timeout=timeout)
        try:
            answer = await asyncio.wrap_future(future)
        except PoolTimeoutError as error:
            raise OutOfTime(f"no answer within {timeout:.3g} seconds; the solver was stopped") from error
        except ProcessExpired as error:
            raise WorkerLost("the solver process died; try again") from error
        finally:
            future.cancel()  # type: ignore[no-untyped-call]
            self._running -= 1
            SOLVES_WAITING.set(self._running)
        SOLVES.labels(function.__name__).inc()
        return answer

    def stop(self) -> None:
        """Kill all processes; calls under way fail."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _enter_worker(parent: int) -> None:
    """Die with the parent, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
