"""The long-running commands: serve and worker, from start to a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress

import structlog

from server.application import Application, open_application
from server.grpc_server import AddressInUseError, GrpcServer
from server.jobs.worker import Worker
from server.metrics import QUEUE, serve_metrics
from server.settings import Settings
from storage.errors import StorageError
from storage.optimizations import OptimizationRepository

_log = structlog.get_logger()
_OBSERVE_SECONDS = 2.0
_EXAMPLE = (
    'grpcurl -plaintext -d \'{"portfolio_id": "sample-growth", "points": 5}\' \\\n'
    "    %s portfolio_optimization.v1.PortfolioOptimizationService/GenerateEfficientFrontier"
)


async def serve(settings: Settings, *, with_worker: bool) -> None:
    """Serve calls until SIGINT or SIGTERM; then drain and stop everything."""
    stopping = _on_signal()
    async with open_application(settings) as application, AsyncExitStack() as stack:
        _serve_metrics(settings.metrics_address)
        server = GrpcServer(application)
        await server.start()
        worker = application.worker() if with_worker else None
        stack.push_async_callback(_drain, server, worker, settings.drain_seconds)
        if worker is not None:
            worker.start()
        observer = asyncio.create_task(_observe_queue(application))
        stack.callback(observer.cancel)
        await application.pool.warm(settings.workers)
        _announce(settings, with_worker=with_worker)
        await stopping.wait()
        _log.info("draining")


async def work(settings: Settings) -> None:
    """Work on the queue until SIGINT or SIGTERM."""
    stopping = _on_signal()
    async with open_application(settings, attach=True) as application:
        await application.pool.warm(settings.workers)
        worker = application.worker()
        worker.start()
        _log.info("worker started", workers=settings.workers, pid=os.getpid())
        await stopping.wait()
        _log.info("draining")
        await worker.stop()


async def _drain(server: GrpcServer, worker: Worker | None, seconds: float) -> None:
    """Calls and jobs drain at the same time."""
    await asyncio.gather(server.stop(seconds), *([] if worker is None else [worker.stop()]))


async def _observe_queue(application: Application) -> None:
    """Keep the metric of the queue's length fresh."""
    while True:
        with suppress(StorageError):
            async with application.database.transaction() as connection:
                QUEUE.set((await OptimizationRepository(connection).queue_estimate()).open_requests)
        await asyncio.sleep(_OBSERVE_SECONDS)


def _serve_metrics(address: str) -> None:
    try:
        serve_metrics(address)
    except (OSError, OverflowError) as error:
        raise AddressInUseError(f"cannot listen on {address}: is another service running there?") from error


def _on_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _announce(settings: Settings, *, with_worker: bool) -> None:
    """Say where everything is, in words that can be pasted."""
    database = "your server" if settings.database_url else f"embedded, in {settings.data_dir}"
    lines = [
        "",
        f"Portfolio optimization service on {settings.grpc_address} (gRPC, health, reflection)",
        f"  metrics   {'http://' + settings.metrics_address + '/metrics' if settings.metrics_address else 'off'}",
        f"  database  {database}",
        f"  worker    {'in this process' if with_worker else 'not here: start some with `worker`'}",
        "",
        "Try:",
        _EXAMPLE % settings.grpc_address,
        "",
    ]
    print("\n".join(lines), flush=True)
