"""The same request on the same prices gives the same answer, to the bit, whoever computes it and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from portfolio_optimization.v1 import (
    common_pb2,
    estimation_pb2,
    factors_pb2,
    frontier_pb2,
    optimization_calls_pb2,
    rebalancing_pb2,
)
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.sample import files
from server.sample.files import SampleUnavailableError
from tests.integration.server.open_service import copied_database, open_service

# What belongs to the moment of the call and not to the answer.
MOMENTARY = {
    "optimization_id",
    "frontier_id",
    "rebalance_id",
    "analysis_id",
    "created_at",
    "completed_at",
    "solve_seconds",
    "expires_at",
    "at",
}
VIEW = estimation_pb2.View(name="apple", weights={"AAPL": 1.0, "KO": -1.0}, expected_return=0.05, confidence=0.6)
LIMITS = pb.OptimizationConstraints(max_position_size=0.15, max_sector_exposure=0.35, max_turnover=0.3)


def optimization(optimization_type: str = "mean_variance", **fields: Any) -> optimization_calls_pb2.OptimizeRequest:
    request = pb.CreateOptimizationRequest(portfolio_id="sample-growth", optimization_type=optimization_type, **fields)
    return optimization_calls_pb2.OptimizeRequest(optimization=request)


REQUESTS: dict[str, tuple[str, Message]] = {
    "ratio": ("Optimize", optimization(objective="maximize_sharpe", constraints=LIMITS, frontier_points=5)),
    "volatility limit": (
        "Optimize",
        optimization(
            objective="maximize_return",
            constraints=pb.OptimizationConstraints(target_volatility=0.18),
            preferences=pb.OptimizationPreferences(include_transaction_costs=True),
        ),
    ),
    "integers": (
        "Optimize",
        optimization(objective="minimize_risk", constraints=pb.OptimizationConstraints(min_position_size=0.06)),
    ),
    "views": (
        "Optimize",
        optimization(
            optimization_type="black_litterman",
            objective="maximize_sharpe",
            black_litterman=estimation_pb2.BlackLitterman(views=[VIEW]),
        ),
    ),
    "no answer": (
        "Optimize",
        optimization(objective="maximize_sharpe", constraints=pb.OptimizationConstraints(max_turnover=0.01)),
    ),
    "exact frontier": (
        "GenerateEfficientFrontier",
        frontier_pb2.EfficientFrontierRequest(portfolio_id="sample-growth", include_turning_points=True),
    ),
    "frontier under limits": (
        "GenerateEfficientFrontier",
        frontier_pb2.EfficientFrontierRequest(portfolio_id="sample-growth", points=5, constraints=LIMITS),
    ),
    "plan": (
        "GenerateRebalancePlan",
        rebalancing_pb2.RebalancePlanRequest(portfolio_id="sample-growth", target_type="optimal"),
    ),
    "factors": ("AnalyzeFactorExposures", factors_pb2.FactorExposureRequest(portfolio_id="sample-growth")),
}


@pytest.fixture(scope="module")
def database_of_module(postgres_server: Any, template_database: str) -> Iterator[str]:
    try:
        files.read_levels(files.INDEX_FILE)
    except SampleUnavailableError as error:
        pytest.skip(str(error))
    with copied_database(postgres_server, template_database) as url:
        yield url


@pytest.fixture(scope="module")
def answers(database_of_module: str) -> dict[str, list[Message]]:
    """Every request answered twice, and once more by a service that was opened anew."""
    found: dict[str, list[Message]] = {name: [] for name in REQUESTS}
    for rounds in (2, 1):
        with open_service(database_of_module) as service:
            for _ in range(rounds):
                for name, (method, request) in REQUESTS.items():
                    found[name].append(service.call(method, request))
    return found


def without_moments(message: Message) -> bytes:
    """The bytes of an answer, equal exactly when all its numbers are."""
    kept = type(message)()
    kept.CopyFrom(message)
    _clear(kept)
    return kept.SerializeToString(deterministic=True)


def _clear(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name in MOMENTARY or field.name == "optimization_metadata":
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else (value,):
                _clear(part)


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_is_the_same_to_the_bit(answers: dict[str, list[Message]], name: str) -> None:
    first, again, reopened = map(without_moments, answers[name])
    assert len(first) > 100
    assert again == first
    assert reopened == first


def test_an_answer_names_its_prices_models_and_versions(answers: dict[str, list[Any]]) -> None:
    ended = answers["ratio"][0].optimization
    origin = ended.provenance
    assert origin.pricing_pack_id.startswith("pp-")
    assert ended.request.pricing_pack_id == origin.pricing_pack_id
    assert {"kernel", "numpy", "scipy", "solver"} <= set(origin.versions)
    assert all(origin.versions.values())
    assert (origin.first_date, origin.as_of, origin.observations) == ("1990-01-02", "2022-12-28", 8312)
    assert origin.risk_model_method == estimation_pb2.RISK_MODEL_METHOD_LEDOIT_WOLF
    assert 0.0 < origin.shrinkage_intensity < 1.0
    assert ended.outcome.status == common_pb2.OUTCOME_STATUS_OPTIMAL
    for name in ("exact frontier", "plan"):
        assert answers[name][0].provenance.pricing_pack_id == origin.pricing_pack_id


def test_the_request_in_an_answer_gives_the_answer_again(
    answers: dict[str, list[Any]], database_of_module: str
) -> None:
    """What is stored with a result is enough to repeat it."""
    ended = answers["ratio"][0].optimization
    with open_service(database_of_module) as service:
        again = service.optimize(ended.request)
    assert dict(again.target_allocation) == dict(ended.target_allocation)
    assert again.certificate.objective_value == ended.certificate.objective_value


def test_reading_back_gives_what_was_answered(answers: dict[str, list[Any]], database_of_module: str) -> None:
    ended = answers["ratio"][0].optimization
    with open_service(database_of_module) as service:
        stored = service.call("GetOptimization", pb.GetOptimizationRequest(optimization_id=ended.optimization_id))
    assert stored == ended
