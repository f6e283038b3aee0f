"""A running service in this process, called one call at a time: the tests stay ordinary functions.

The service lives on the event loop of a runner and moves on only while a call is under way, its worker included.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

import grpc
import psycopg
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from portfolio_optimization.v1 import optimization_calls_pb2, optimization_pb2
from portfolio_optimization.v1.portfolio_optimization_service_pb2_grpc import PortfolioOptimizationServiceStub
from psycopg import sql

from server.application import Application, open_application
from server.grpc_server import GrpcServer
from server.imports.prices import import_prices
from server.sample import files
from server.sample.files import SampleUnavailableError
from server.settings import Settings
from storage.embedded import EmbeddedServer
from tests.conftest import in_database
from tests.sp500 import FOLDER, OPTIONS

T = TypeVar("T")
SERVICE = "portfolio_optimization.v1.PortfolioOptimizationService"
_LONGEST_CALL_SECONDS = 120.0


class OpenService:
    """The calls of the optimization service, and the application behind them."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._stack = AsyncExitStack()
        self.application: Application
        self._channel: grpc.aio.Channel
        self._stub: Any

    def open(self, database_url: str, *, load_sample: bool) -> None:
        """Start everything."""
        self._runner.run(self._open(database_url, load_sample))

    def close(self) -> None:
        """Stop everything."""
        self._runner.run(self._stack.aclose())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the service's event loop."""
        return self._runner.run(work)

    def call(self, method: str, request: Message) -> Any:
        """The answer of a call with one answer."""
        return self._runner.run(self._call(method, request))

    def call_with(self, method: str, data: bytes) -> Any:
        """The answer to bytes that may be no message."""
        return self._runner.run(self._call_with(method, data))

    def stream(self, method: str, request: Message) -> list[Any]:
        """All answers of a streaming call."""
        return self._runner.run(self._stream(method, request))

    @property
    def stub(self) -> Any:
        """The calls themselves, for use on the service's event loop."""
        return self._stub

    @property
    def channel(self) -> grpc.aio.Channel:
        """To the other services beside this one."""
        return self._channel

    def optimize(self, request: optimization_pb2.CreateOptimizationRequest) -> Any:
        """What an optimization ended with."""
        return self.call("Optimize", optimization_calls_pb2.OptimizeRequest(optimization=request)).optimization

    async def _open(self, database_url: str, load_sample: bool) -> None:
        settings = Settings(
            database_url=database_url, grpc_address="127.0.0.1:0", metrics_address="", load_sample=load_sample
        )
        self.application = await self._stack.enter_async_context(open_application(settings))
        worker, server = self.application.worker(), GrpcServer(self.application)
        worker.start()
        self._stack.push_async_callback(worker.stop)
        await server.start()
        self._stack.push_async_callback(server.stop, 1.0)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        self._channel = await self._stack.enter_async_context(channel)
        self._stub = PortfolioOptimizationServiceStub(self._channel)

    async def _call(self, method: str, request: Message) -> Any:
        return await getattr(self._stub, method)(request, timeout=_LONGEST_CALL_SECONDS)

    async def _call_with(self, method: str, data: bytes) -> Any:
        path = f"/{SERVICE}/{method}"
        call: Any = self._channel.unary_unary(path)
        return await call(data, timeout=_LONGEST_CALL_SECONDS)

    async def _stream(self, method: str, request: Message) -> list[Any]:
        return [answer async for answer in getattr(self._stub, method)(request, timeout=_LONGEST_CALL_SECONDS)]


@contextmanager
def open_service(database_url: str, *, load_sample: bool = True) -> Iterator[OpenService]:
    """The service on a migrated database."""
    with asyncio.Runner() as runner:
        service = OpenService(runner)
        service.open(database_url, load_sample=load_sample)
        try:
            yield service
        finally:
            service.close()


@contextmanager
def copied_database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A fresh database that lives as long as a module's tests."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.connection_string, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield in_database(server.connection_string, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """Field paths and descriptions of a refusal; empty where it has none."""
    call: Any = error
    status = rpc_status.from_call(call)
    return {} if status is None else violations_of(status)


def violations_of(status: status_pb2.Status) -> dict[str, str]:
    """The same, of the status of one item of a batch."""
    found = {}
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            found.update({violation.field: violation.description for violation in bad.field_violations})
    return found


@contextmanager
def sample_service(server: EmbeddedServer, template: str) -> Iterator[OpenService]:
    """A service with the sample data on a copy of the template database; without the data the test is skipped."""
    try:
        files.read_levels(files.INDEX_FILE)
    except SampleUnavailableError as error:
        pytest.skip(str(error))
    with copied_database(server, template) as url, open_service(url) as service:
        yield service


@contextmanager
def sp500_service(server: EmbeddedServer, template: str) -> Iterator[OpenService]:
    """A service with the prices of the S&P 500 names instead of the sample."""
    with copied_database(server, template) as url, open_service(url, load_sample=False) as service:
        service.run(import_prices(service.application.database, FOLDER / "close.parquet", OPTIONS))
        yield service
