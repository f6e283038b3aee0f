"""The gRPC server: services, health, reflection, limits, and an end that loses no call."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from portfolio_optimization.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    factor_model_service_pb2,
    factor_model_service_pb2_grpc,
    portfolio_data_service_pb2,
    portfolio_data_service_pb2_grpc,
    portfolio_optimization_service_pb2,
    portfolio_optimization_service_pb2_grpc,
    rebalancing_service_pb2,
    rebalancing_service_pb2_grpc,
)

from server.application import Application
from server.interceptors import CallInterceptor
from server.services.data import DataService
from server.services.events import EventService
from server.services.factor_models import FactorModelService
from server.services.optimization import OptimizationService
from server.services.rebalancing import RebalancingService
from server.settings import Settings

_PREFIX = "/portfolio_optimization."
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_MEGABYTE = 1 << 20

SERVICES: tuple[str, ...] = tuple(
    service.full_name
    for module in (
        portfolio_optimization_service_pb2,
        rebalancing_service_pb2,
        portfolio_data_service_pb2,
        event_service_pb2,
        factor_model_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


class AddressInUseError(Exception):
    """Somebody else listens where the service should."""


class GrpcServer:
    """The server of one process."""

    def __init__(self, application: Application) -> None:
        settings = application.settings
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(_PREFIX)],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
        )
        self._health = health.aio.HealthServicer()
        self._address = settings.grpc_address
        self.port = 0
        self._add_services(application)

    async def start(self) -> None:
        """Serve.

        Raises:
            AddressInUseError: The address cannot be listened on.
        """
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise AddressInUseError(f"cannot listen on {self._address}: is another service running there?") from error
        await self._server.start()
        for name in SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Tell health watchers, take no new calls, and give running ones `grace_seconds`."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)

    def _add_services(self, application: Application) -> None:
        optimization = OptimizationService(
            application.optimizations(),
            application.frontiers(),
            application.rebalances(),
            application.factors(),
            application.validations(),
        )
        portfolio_optimization_service_pb2_grpc.add_PortfolioOptimizationServiceServicer_to_server(
            optimization, self._server
        )
        rebalancing = RebalancingService(application)
        rebalancing_service_pb2_grpc.add_RebalancingServiceServicer_to_server(rebalancing, self._server)
        data = DataService(application.database, application.settings)
        portfolio_data_service_pb2_grpc.add_PortfolioDataServiceServicer_to_server(data, self._server)
        events = EventService(application.database, application.events, application.webhooks())
        event_service_pb2_grpc.add_EventServiceServicer_to_server(events, self._server)
        models = FactorModelService(application.factor_models(), application.factor_analyses())
        factor_model_service_pb2_grpc.add_FactorModelServiceServicer_to_server(models, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        _add_reflection(self._server)


def _options(settings: Settings) -> list[tuple[str, Any]]:
    largest = settings.max_message_megabytes * _MEGABYTE
    return [
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        # A second server on the same port must fail, not share it.
        ("grpc.so_reuseport", 0),
    ]


def _add_reflection(server: grpc.aio.Server) -> None:
    """Reflection under both of its names; the messages are the same."""
    names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME, _REFLECTION_V1)
    reflection.enable_server_reflection(names, server)
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_REFLECTION_V1, handlers),))
