"""Calls of the factor model service, on a service of this process."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.message import Message
from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1.factor_model_service_pb2_grpc import FactorModelServiceStub

from tests.integration.server.open_service import OpenService, violations

Floats = npt.NDArray[np.float64]
LONGEST_SECONDS = 120.0


class ModelCalls:
    """The calls, one at a time."""

    def __init__(self, service: OpenService) -> None:
        self.service = service
        self.stub: Any = FactorModelServiceStub(service.channel)

    def call(self, method: str, request: Message) -> Any:
        """The answer of a call."""
        return self.service.run(self._call(method, request))

    def together(self, method: str, requests: list[Any]) -> list[Any]:
        """The answers of calls that are under way at once; an error is its own answer."""
        return self.service.run(self._together(method, requests))

    def refused(
        self, method: str, request: Message, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    ) -> grpc.aio.AioRpcError:
        """The error of a call that must be refused with this code."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            self.call(method, request)
        assert caught.value.code() is code, caught.value.details()
        return caught.value

    def faults(self, method: str, request: Message) -> dict[str, str]:
        """Field paths and descriptions of a call whose request is wrong."""
        return violations(self.refused(method, request))

    def create(self, name: str, specification: models_pb.FactorModelSpecification) -> models_pb.FactorModel:
        """A stored model."""
        return self.call("CreateFactorModel", creation(name, specification)).factor_model

    def whole(self, factor_model_id: str) -> models_pb.FactorModel:
        """A model with instruments and returns."""
        request = pb.GetFactorModelRequest(
            factor_model_id=factor_model_id, include_instruments=True, include_factor_returns=True
        )
        return self.call("GetFactorModel", request).factor_model

    async def _call(self, method: str, request: Message) -> Any:
        return await getattr(self.stub, method)(request, timeout=LONGEST_SECONDS)

    async def _together(self, method: str, requests: list[Any]) -> list[Any]:
        return await asyncio.gather(*(self._call(method, request) for request in requests), return_exceptions=True)


def creation(name: str, specification: models_pb.FactorModelSpecification, **fields: Any) -> Any:
    """A request for a model."""
    return pb.CreateFactorModelRequest(name=name, specification=specification, **fields)


def specification(kind: Any = None, **fields: Any) -> models_pb.FactorModelSpecification:
    """A specification of a kind; the time-series model by default."""
    names = {
        models_pb.TimeSeriesModel: "time_series",
        models_pb.CrossSectionalModel: "cross_sectional",
        models_pb.StatisticalModel: "statistical",
    }
    chosen = models_pb.TimeSeriesModel() if kind is None else kind
    return models_pb.FactorModelSpecification(**{names[type(chosen)]: chosen}, **fields)


def matrix(values: Any, columns: int) -> Floats:
    """Numbers that came row by row."""
    return np.array(values, dtype=np.float64).reshape(-1, columns)


def exposures(model: models_pb.FactorModel) -> Floats:
    """(n, k) of a whole model."""
    return np.array([row.exposures for row in model.instruments])
