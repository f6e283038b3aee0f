"""The demo against a service that answers from memory: all sections, the pictures, and every way to fail."""

# ruff: noqa: N802 - handlers carry the names of the contract

import ast
import sys
from pathlib import Path

import grpc
import pytest
from portfolio_optimization.v1 import optimization_calls_pb2, optimization_pb2
from portfolio_optimization.v1 import portfolio_optimization_service_pb2_grpc as service

from server.demo import run, run_demo
from tests.unit.server.demo import answers

PNG = b"\x89PNG\r\n\x1a\n"


class Answering(service.PortfolioOptimizationServiceServicer):
    """Answers every call of the demo."""

    status = "completed"

    def __init__(self):
        self.plans = []

    async def CreateOptimization(self, request, context):
        return optimization_pb2.CreateOptimizationResponse(optimization_id="an-optimization", status="pending")

    async def WatchOptimization(self, request, context):
        for status in ("pending", "running", self.status):
            yield optimization_calls_pb2.WatchOptimizationResponse(
                optimization_id=request.optimization_id, status=status
            )

    async def GetOptimization(self, request, context):
        return answers.optimization(self.status)

    async def GenerateEfficientFrontier(self, request, context):
        return answers.frontier()

    async def GenerateRebalancePlan(self, request, context):
        self.plans.append(request)
        return answers.plan()

    async def AnalyzeFactorExposures(self, request, context):
        return answers.factors()


class Refusing(Answering):
    """Refuses the first call."""

    def __init__(self, code, details):
        super().__init__()
        self.refusal = (code, details)

    async def CreateOptimization(self, request, context):
        await context.abort(*self.refusal)


class Infeasible(Answering):
    """Ends the optimization without an answer."""

    status = "infeasible"

    async def GetOptimization(self, request, context):
        answer = await super().GetOptimization(request, context)
        answer.infeasibility.sentence = "max_turnover and max_sector_exposure contradict each other"
        return answer


@pytest.fixture
async def serve():
    """Starts services; gives the address of each."""
    servers = []

    async def start(servicer):
        server = grpc.aio.server()
        service.add_PortfolioOptimizationServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        await server.stop(None)


async def test_all_sections_are_shown_and_the_pictures_are_drawn(serve, tmp_path, capsys):
    assert await run_demo(await serve(Answering()), tmp_path / "new" / "folder") == 0
    out, err = capsys.readouterr()
    titles = [line for line in out.splitlines() if line[:3] in ("1  ", "2  ", "3  ", "4  ")]
    assert len(titles) == 4
    assert "... running" in out
    assert "\x1b" not in out
    assert not err
    for name in (run.PICTURE_NAME, run.EXPOSURES_NAME, run.RISK_NAME):
        assert (tmp_path / "new" / "folder" / name).read_bytes().startswith(PNG)
        assert name in out


async def test_the_comparison_of_taxes_keeps_no_second_plan(serve, tmp_path):
    servicer = Answering()
    await run_demo(await serve(servicer), tmp_path)
    assert [plan.validate_only for plan in servicer.plans] == [False, True]
    assert {plan.optimization_id for plan in servicer.plans} == {"an-optimization"}


async def test_a_service_that_does_not_run_is_told_with_the_way_to_start_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "_CONNECT_SECONDS", 0.2)
    assert await run_demo("127.0.0.1:1", tmp_path) == 1
    err = capsys.readouterr().err
    assert "no service answers at 127.0.0.1:1" in err
    assert "make run" in err
    assert err.count("\n") == 1


async def test_a_missing_sample_is_told(serve, tmp_path, capsys):
    address = await serve(Refusing(grpc.StatusCode.NOT_FOUND, "portfolio not found: sample-growth"))
    assert await run_demo(address, tmp_path) == 1
    err = capsys.readouterr().err
    assert "has no portfolio sample-growth" in err
    assert "PORTFOLIO_LOAD_SAMPLE" in err


async def test_any_other_refusal_is_told_in_the_words_of_the_service(serve, tmp_path, capsys):
    address = await serve(Refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many solves are waiting"))
    assert await run_demo(address, tmp_path) == 1
    assert "RESOURCE_EXHAUSTED: too many solves are waiting" in capsys.readouterr().err


async def test_an_optimization_without_an_answer_is_told_with_its_reason(serve, tmp_path, capsys):
    assert await run_demo(await serve(Infeasible()), tmp_path) == 1
    assert "ended as infeasible: max_turnover and max_sector_exposure" in capsys.readouterr().err


async def test_without_the_drawing_library_all_but_the_pictures_are_shown(serve, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert await run_demo(await serve(Answering()), tmp_path) == 1
    out, err = capsys.readouterr()
    assert "4  Factor exposures" in out
    assert "matplotlib is not installed" in err
    assert not list(tmp_path.iterdir())


async def test_a_folder_that_cannot_be_written_is_told(serve, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert await run_demo(await serve(Answering()), tmp_path / "file") == 1
    assert "the picture can't be written" in capsys.readouterr().err


def test_the_demo_is_a_client():
    """It knows the contract, and nothing of the house behind it."""
    imported = {
        node.module
        for path in Path(run.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    house = {name for name in imported if name.split(".")[0] in ("kernel", "storage", "server")}
    assert all(name.startswith("server.demo") for name in house)
