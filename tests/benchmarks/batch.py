"""Processor time per portfolio of a batch, through the whole service: database, queue, worker, solver processes.

Use:  python tests/benchmarks/batch.py [--portfolios 10000] [--names 30] [--workers 2] [--proposals] [--tax]

Portfolios, prices and lots are synthetic, the database is an embedded one that is thrown away. The time is never
asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from portfolio_optimization.v1 import rebalance_batches_pb2 as pb

from server.application import Application, open_application
from server.settings import Settings
from tests.integration.server.many_portfolios import Model, make_model, store_model, store_portfolios


def request(model: Model, ids: list[str], arguments: argparse.Namespace) -> pb.CreateRebalanceBatchRequest:
    """One custom target for all."""
    template: dict[str, Any] = {"target_type": "custom", "custom_target": model.weights}
    if arguments.tax:
        template["constraints"] = {"consider_tax_implications": True}
    return pb.CreateRebalanceBatchRequest(template=template, portfolio_ids=ids, summary_only=not arguments.proposals)


async def run(application: Application, arguments: argparse.Namespace) -> None:
    """Fill, work, print."""
    model = make_model(arguments.names)
    ids = [f"account-{k:06d}" for k in range(arguments.portfolios)]
    started = time.perf_counter()
    await store_model(application.database, model)
    await store_portfolios(application.database, model, ids)
    print(f"loaded {len(ids)} portfolios of {arguments.names} names in {time.perf_counter() - started:.1f} s")
    await application.pool.warm(arguments.workers)
    batches, started, used = application.batches(), time.perf_counter(), time.process_time()
    batch = await batches.create(request(model, ids, arguments), "benchmark")
    async for step in batches.watch(batch.id):
        batch = step
        print(f"\r{batch.done_count} done", end="", flush=True)
    seconds = time.perf_counter() - started
    print(f"\r{batch.status}: {batch.done_count} portfolios, {batch.failed_count} without a plan, in {seconds:.1f} s")
    each = 1000.0 / batch.portfolio_count
    print(f"processor time in the solvers   {each * batch.processor_seconds:8.2f} ms per portfolio")
    print(f"processor time of the service   {each * (time.process_time() - used):8.2f} ms per portfolio")
    print(f"from accepted to completed      {each * seconds:8.2f} ms per portfolio")


async def main(arguments: argparse.Namespace) -> None:
    """Open a service without its wire."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portfolio-bench-"))
        Path(folder).chmod(0o755)
        settings = Settings(
            data_dir=Path(folder) / "data",
            metrics_address="",
            load_sample=False,
            workers=arguments.workers,
            log_level="warning",
            drift_monitor_minutes=0,
        )
        application = await stack.enter_async_context(open_application(settings))
        worker = application.worker()
        worker.start()
        stack.push_async_callback(worker.stop)
        await run(application, arguments)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portfolios", type=int, default=10_000)
    parser.add_argument("--names", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--proposals", action="store_true", help="store every plan as a proposal")
    parser.add_argument("--tax", action="store_true", help="minimise tax too")
    asyncio.run(main(parser.parse_args()))
