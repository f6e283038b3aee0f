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
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as PoolTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from server.compute.channel import Channel, open_channel
from server.compute.tasks import ready
from server.errors import Busy, OutOfTime, WorkerLost
from server.metrics import SOLVES, SOLVES_WAITING

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_WATCH_SECONDS = 0.5
# BLAS threads of several solver processes would fight over the cores.
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a call sends before it ends."""

    value: Any


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """What a call returns."""

    value: T


class SolverPool:
    """Runs functions in processes of their own.

    Args:
        processes: How many solve at a time.
        max_waiting: How many may wait beyond that before `Busy` is raised.
    """

    def __init__(self, processes: int, max_waiting: int) -> None:
        for variable in _THREAD_VARIABLES:
            os.environ.setdefault(variable, "1")
        self._processes = processes
        self._pool = _start_pool(processes)
        self._capacity = processes + max_waiting
        self._running = 0
        self._stopped = False

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
        future = self._schedule(function, args, timeout)
        self._running += 1
        SOLVES_WAITING.set(self._running)
        try:
            answer = await asyncio.wrap_future(future)
        except PoolTimeoutError as error:
            raise OutOfTime(f"no answer within {timeout:.3g} seconds; the solver was stopped") from error
        except (ProcessExpired, BrokenProcessPool) as error:
            raise WorkerLost("the solver process died; try again") from error
        finally:
            future.cancel()
            self._running -= 1
            SOLVES_WAITING.set(self._running)
        SOLVES.labels(function.__name__).inc()
        return answer

    async def stream(
        self, function: Callable[..., T], *args: object, timeout: float | None = None
    ) -> AsyncGenerator[Found | Ended[T], None]:
        """Call `function` as `run` does, with the address of a channel as its last argument.

        Yields what it sends, as it sends it, and at last what it returns. Ending the iteration kills the process.

        Raises:
            Busy, OutOfTime, WorkerLost: As `run`.
        """
        async with open_channel() as channel:
            answer = asyncio.create_task(self.run(function, *args, channel.address, timeout=timeout))
            try:
                async for found in _until_ended(channel, answer):
                    yield Found(found)
                yield Ended(await answer)
            finally:
                answer.cancel()
                await asyncio.wait({answer})

    def stop(self) -> None:
        """Kill all processes; calls under way fail."""
        self._stopped = True
        _end_pool(self._pool)

    def _schedule(self, function: Callable[..., T], args: tuple[object, ...], timeout: float | None) -> Future[T]:
        """Hand over to the pool. One that broke, because a process died that had nothing to do, is replaced."""
        if not (self._stopped or self._pool.active):
            threading.Thread(target=_end_pool, args=[self._pool], daemon=True).start()
            self._pool = _start_pool(self._processes)
        return self._pool.schedule(function, args=list(args), timeout=timeout)


async def _until_ended(channel: Channel, answer: asyncio.Task[T]) -> AsyncIterator[object]:
    """What comes through the channel; a worker that fails before it connects ends the wait."""
    while True:
        found = asyncio.create_task(channel.receive())
        try:
            await asyncio.wait({found, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not found.done() and (answer.cancelled() or answer.exception() is not None):
                return
            value = await found
        finally:
            found.cancel()
        if value is None:
            return
        yield value


def _start_pool(processes: int) -> ProcessPool:
    return ProcessPool(
        max_workers=processes,
        context=multiprocessing.get_context("spawn"),
        initializer=_enter_worker,
        initargs=[os.getpid()],
    )


def _end_pool(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


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
