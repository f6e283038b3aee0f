"""What operators and tools see: reflection, health, metrics, error details and limits."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
from conftest import Launcher
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from portfolio_optimization.v1 import optimization_calls_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1 import portfolio_optimization_service_pb2_grpc as stubs
from running_service import PATIENCE_SECONDS, RunningService, await_that
from sample_calls import GROWTH, cancel, create, optimize, sharpe_request, slow_request, violations

BUF = Path(sys.executable).with_name("buf")
SERVICE = "portfolio_optimization.v1.PortfolioOptimizationService"
SERVICES = (
    "grpc.health.v1.Health",
    SERVICE,
    "portfolio_optimization.v1.RebalancingService",
    "portfolio_optimization.v1.PortfolioDataService",
    "portfolio_optimization.v1.EventService",
    "portfolio_optimization.v1.FactorModelService",
)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_and_describes_the_services(service: RunningService, version: str) -> None:
    reflect = service.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = reflect(iter(requests), timeout=PATIENCE_SECONDS)
    assert {entry.name for entry in listed.list_services_response.service} >= set(SERVICES)
    file = descriptor_pb2.FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    assert "CreateOptimization" in {method.name for method in file.service[0].method}


def buf_curl(service: RunningService, method: str, content: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """One call from a command line that knows the service by reflection alone."""
    url = f"http://{service.address}/{SERVICE}/{method}"
    command = [str(BUF), "curl", "--http2-prior-knowledge", "--protocol", "grpc", "-d", json.dumps(content), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, cwd="/")


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed beside Python")
def test_a_command_line_client_needs_no_contract_file(service: RunningService) -> None:
    answered = buf_curl(service, "GenerateEfficientFrontier", {"portfolio_id": GROWTH, "points": 5})
    assert answered.returncode == 0, answered.stderr
    assert len(json.loads(answered.stdout)["efficientFrontier"]) == 5
    refused = buf_curl(service, "CreateOptimization", {})
    assert refused.returncode != 0
    assert "portfolio_id" in refused.stderr
    assert "invalid_argument" in refused.stderr


def test_health_is_known_per_service(service: RunningService) -> None:
    for name in ("", *SERVICES[1:]):
        assert service.health(name) == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        service.health("no.such.Service")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def metrics(service: RunningService) -> dict[str, float]:
    """The value of every metric by its name with labels."""
    with urllib.request.urlopen(f"http://{service.metrics_address}/metrics", timeout=PATIENCE_SECONDS) as page:
        lines = page.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_metrics_count_calls_solves_and_ends(service: RunningService) -> None:
    before = metrics(service)
    optimize(service, sharpe_request())
    with pytest.raises(grpc.RpcError):
        create(service, pb.CreateOptimizationRequest())
    counted = {
        'portfolio_calls_total{code="OK",method="CreateOptimization"}',
        'portfolio_calls_total{code="INVALID_ARGUMENT",method="CreateOptimization"}',
        'portfolio_solves_total{kind="run_optimization"}',
        'portfolio_jobs_total{status="completed"}',
    }

    def risen() -> set[str]:
        after = metrics(service)
        return {name for name in counted if after.get(name, 0.0) == before.get(name, 0.0) + 1}

    await_that(lambda: risen() == counted, "each has risen by one")


def test_all_faults_of_a_request_are_named_at_once(service: RunningService) -> None:
    constraints = pb.OptimizationConstraints(max_position_size=1.5, min_weights={"AAPL": -0.1})
    request = pb.CreateOptimizationRequest(
        portfolio_id=GROWTH, optimization_type="mean_varianz", objective="riches", constraints=constraints
    )
    with pytest.raises(grpc.RpcError) as refused:
        create(service, request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    faults = violations(refused.value)
    assert set(faults) == {
        "optimization_type",
        "objective",
        "constraints.max_position_size",
        "constraints.min_weights[AAPL]",
    }
    assert "maximize_sharpe" in faults["objective"]


def test_an_error_carries_the_callers_request_id(service: RunningService) -> None:
    request = pb.GetOptimizationRequest(optimization_id="none")
    sent = (("x-request-id", "mine-7"),)
    with pytest.raises(grpc.RpcError) as refused:
        service.optimization.GetOptimization(request, timeout=PATIENCE_SECONDS, metadata=sent)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert ("x-request-id", "mine-7") in refused.value.trailing_metadata()
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info = error_details_pb2.RequestInfo()
    assert status.details[-1].Unpack(info)
    assert info.request_id == "mine-7"
    await_that(lambda: "request_id=mine-7" in service.output, "the log names it")


def test_a_message_beyond_the_limit_is_refused(service: RunningService) -> None:
    request = pb.CreateOptimizationRequest(portfolio_id=GROWTH, instrument_ids=["X" * 36] * 40_000)
    with pytest.raises(grpc.RpcError) as refused:
        create(service, request)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert optimize(service, sharpe_request()).status == "completed"


def test_calls_and_solves_beyond_the_limits_are_refused_and_may_be_repeated(
    launcher: Launcher, data_directory: Path
) -> None:
    service = launcher.serve(data_directory, max_concurrent_calls=2, workers=1)
    running = create(service, slow_request(30.0))
    with grpc.insecure_channel(service.address) as channel:
        stub = stubs.PortfolioOptimizationServiceStub(channel)
        watched = optimization_calls_pb2.WatchOptimizationRequest(optimization_id=running)
        streams = [stub.WatchOptimization(watched, timeout=PATIENCE_SECONDS) for _ in range(2)]
        for stream in streams:
            assert next(stream).status in ("pending", "running")
        with pytest.raises(grpc.RpcError) as refused:
            create(service, sharpe_request())
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for stream in streams:
            stream.cancel()
    await_that(lambda: _accepted(service), "calls are accepted again")
    assert cancel(service, running) == "cancelled"


def _accepted(service: RunningService) -> bool:
    try:
        create(service, sharpe_request(validate_only=True))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True
