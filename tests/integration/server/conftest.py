"""A running service on a database of its own, and a channel to it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import grpc
import pytest
from data_examples import benchmark, store_instruments
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from portfolio_optimization.v1.portfolio_data_pb2 import PutBenchmarkRequest
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from server.application import Application, open_application
from server.grpc_server import GrpcServer
from server.settings import Settings
from storage.embedded import EmbeddedServer
from tests.integration.server.open_service import OpenService, sample_service


@pytest.fixture(scope="module")
def service(postgres_server: EmbeddedServer, template_database: str) -> Iterator[OpenService]:
    """The service with the sample data, for all tests of a module."""
    with sample_service(postgres_server, template_database) as service:
        yield service


@pytest.fixture
async def application(database_url: str) -> AsyncIterator[Application]:
    """The application on an empty database. Its solver processes start with the first solve, so not in most tests."""
    settings = Settings(database_url=database_url, grpc_address="127.0.0.1:0", metrics_address="", load_sample=False)
    async with open_application(settings) as application:
        yield application


@pytest.fixture
async def channel(application: Application) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    async with AsyncExitStack() as stack:
        server = GrpcServer(application)
        await server.start()
        stack.push_async_callback(server.stop, 0.0)
        yield await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))


@pytest.fixture
def data(channel: grpc.aio.Channel) -> PortfolioDataServiceStub:
    """The data service."""
    return PortfolioDataServiceStub(channel)


@pytest.fixture
def rebalancing(channel: grpc.aio.Channel) -> RebalancingServiceStub:
    """The rebalancing service."""
    return RebalancingServiceStub(channel)


@pytest.fixture
def events(channel: grpc.aio.Channel) -> EventServiceStub:
    """The event service."""
    return EventServiceStub(channel)


@pytest.fixture
async def stocked(data: PortfolioDataServiceStub) -> PortfolioDataServiceStub:
    """The data service with three instruments and a benchmark."""
    await store_instruments(data, "AAPL", "KO", "XOM")
    await data.PutBenchmark(PutBenchmarkRequest(benchmark=benchmark()))
    return data
