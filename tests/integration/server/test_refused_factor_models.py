"""Requests that use factor models wrongly are refused under the field, with the names concerned."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from portfolio_optimization.v1 import (
    constraints_pb2,
    entropy_pooling_pb2,
    estimation_pb2,
    frontier_pb2,
    multi_period_pb2,
    objectives_pb2,
    risk_budgeting_pb2,
    robustness_pb2,
    validation_pb2,
)
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, RETURNS, RISK, Example, request
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import PORTFOLIO, Market, load_market

Constraints, RiskBudget = pb.OptimizationConstraints, constraints_pb2.RiskBudget
FactorLimit, Term = constraints_pb2.FactorLimit, objectives_pb2.ObjectiveTerm
RiskModel, ReturnsModel = estimation_pb2.RiskModel, estimation_pb2.ExpectedReturnsModel
SAMPLE, MEAN = estimation_pb2.RISK_MODEL_METHOD_SAMPLE, estimation_pb2.EXPECTED_RETURNS_METHOD_HISTORICAL_MEAN
UNKNOWN = "fm-" + "0" * 32


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module")
def models(service: OpenService, market: Market) -> dict[str, Example]:
    """One of all stocks, one without two of them, and one of given exposures."""
    return {
        "whole": examples.time_series(service, market),
        "part": examples.time_series(service, market, without=("KO", "XOM")),
        "given": examples.by_style(service, market),
    }


def refused(service: OpenService, asked: Any, method: str = "CreateOptimization") -> dict[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call(method, asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return violations(caught.value)


def limited(model: Example, *limits: constraints_pb2.FactorLimit, **fields: Any) -> pb.OptimizationConstraints:
    return Constraints(factor_model_id=model.id, factor_limits=limits, **fields)


def budgeted(**fields: Any) -> pb.OptimizationConstraints:
    return Constraints(risk_budgets=[RiskBudget(**{"factor": "size", "max_share": 0.2, **fields})])


Models = dict[str, Example]
# What is asked for, the field that is at fault, and words of the reason.
WRONG: dict[str, tuple[Callable[[Models], dict[str, Any]], str, tuple[str, ...]]] = {
    "a model for another method of risk": (
        lambda m: {"risk_model": RiskModel(method=SAMPLE, factor_model_id=m["whole"].id)},
        "risk_model.factor_model_id",
        ("FACTOR_MODEL",),
    ),
    "a model for another method of returns": (
        lambda m: {"expected_returns": ReturnsModel(method=MEAN, factor_model_id=m["whole"].id)},
        "expected_returns.factor_model_id",
        ("FACTOR_MODEL",),
    ),
    "a model and a set of risk": (
        lambda m: {"risk_model": RiskModel(method=RISK, factor_model_id=m["whole"].id, factor_set_id="fs-1")},
        "risk_model.factor_model_id",
        ("factor_set_id",),
    ),
    "a model and a set of returns": (
        lambda m: {"expected_returns": ReturnsModel(method=RETURNS, factor_model_id="fm-1", factor_set_id="fs-1")},
        "expected_returns.factor_model_id",
        ("factor_set_id",),
    ),
    "an id that is too long": (
        lambda m: {"risk_model": RiskModel(method=RISK, factor_model_id="f" * 37)},
        "risk_model.factor_model_id",
        ("36",),
    ),
    "instruments that the risk model lacks": (
        lambda m: {"risk_model": m["part"].risk},
        "risk_model.factor_model_id",
        ("KO, XOM",),
    ),
    "instruments that the returns model lacks": (
        lambda m: {"expected_returns": m["part"].returns()},
        "expected_returns.factor_model_id",
        ("KO, XOM",),
    ),
    "instruments that the exposures lack": (
        lambda m: {
            "constraints": limited(
                m["part"], FactorLimit(factor="size", maximum=0), FactorLimit(factor="quality", maximum=0)
            )
        },
        "constraints.factor_model_id",
        ("exposure", "KO, XOM"),
    ),
    "a factor that the model does not have": (
        lambda m: {"constraints": limited(m["whole"], FactorLimit(factor="carry", maximum=0.0))},
        "constraints.factor_limits[carry]",
        ("has no exposures in factor model fm-", "momentum"),
    ),
    "a term of a factor that the model does not have": (
        lambda m: {
            "optimization_type": "custom",
            "objective": "",
            "constraints": Constraints(factor_model_id=m["whole"].id),
            "terms": [Term(kind="factor_exposure", factor="carry", coefficient=1.0)],
        },
        "terms[factor_exposure].factor",
        ("has no exposures in factor model fm-",),
    ),
    "a budget of a factor that the exposures do not have": (
        lambda m: {
            "optimization_type": "risk_parity",
            "objective": "",
            "constraints": Constraints(factor_model_id=m["whole"].id),
            "risk_budgeting": risk_budgeting_pb2.RiskBudgeting(factor_budgets={"carry": 1.0}),
        },
        "risk_budgeting.factor_budgets[carry]",
        ("has no exposures in factor model fm-",),
    ),
    "exposures of the caller beside a model": (
        lambda m: {
            "constraints": limited(
                m["whole"], factor_exposures={"size": constraints_pb2.InstrumentValues(values={"KO": 1.0})}
            )
        },
        "constraints.factor_model_id",
        ("factor_exposures are given",),
    ),
    "stored exposures beside a model": (
        lambda m: {"constraints": limited(m["whole"], factor_exposures_id="fe-1")},
        "constraints.factor_model_id",
        ("factor_exposures_id is given",),
    ),
    "a limit without a number": (
        lambda m: {"constraints": limited(m["whole"], FactorLimit(factor="size"))},
        "constraints.factor_limits[size]",
        ("minimum or a maximum",),
    ),
    "a limit that is no number": (
        lambda m: {"constraints": limited(m["whole"], FactorLimit(factor="size", maximum=math.nan))},
        "constraints.factor_limits[size].maximum",
        ("nan",),
    ),
    "a limit that contradicts itself": (
        lambda m: {"constraints": limited(m["whole"], FactorLimit(factor="size", minimum=0.2, maximum=0.1))},
        "constraints.factor_limits[size]",
        ("0.2", "0.1"),
    ),
    "a premium of an unknown factor": (
        lambda m: {"expected_returns": m["whole"].returns(carry=0.1)},
        "expected_returns.factor_premia",
        ("carry", "factor model", "momentum"),
    ),
    "a premium of a factor that is not in the set": (
        lambda m: {"expected_returns": ReturnsModel(method=RETURNS, factor_premia={"carry": 0.1})},
        "expected_returns.factor_premia",
        ("carry", "factor set", "momentum"),
    ),
    "a premium that is no number": (
        lambda m: {"expected_returns": m["whole"].returns(size=math.inf)},
        "expected_returns.factor_premia[size]",
        ("inf",),
    ),
    "a share without a model of factors": (
        lambda m: {"constraints": budgeted()},
        "constraints.risk_budgets[size]",
        ("FACTOR_MODEL",),
    ),
    "a share of an unknown factor": (
        lambda m: {"constraints": budgeted(factor="carry"), "risk_model": m["whole"].risk},
        "constraints.risk_budgets[carry]",
        ("momentum",),
    ),
    "a share of a factor of the limits, not of the risk": (
        lambda m: {
            "risk_model": m["whole"].risk,
            "constraints": limited(m["given"], risk_budgets=[RiskBudget(factor="style", max_share=0.5)]),
        },
        "constraints.risk_budgets[style]",
        ("no factor of the risk_model",),
    ),
    "a share of no size": (
        lambda m: {"constraints": budgeted(max_share=0.0), "risk_model": m["whole"].risk},
        "constraints.risk_budgets[size].max_share",
        ("above 0",),
    ),
    "a share that is no number": (
        lambda m: {"constraints": budgeted(max_share=math.nan), "risk_model": m["whole"].risk},
        "constraints.risk_budgets[size].max_share",
        ("nan",),
    ),
    "a share of nothing": (
        lambda m: {"constraints": Constraints(risk_budgets=[RiskBudget(max_share=0.2)]), "risk_model": m["whole"].risk},
        "constraints.risk_budgets[0]",
        ("a factor",),
    ),
    "a share of a factor without a name": (
        lambda m: {"constraints": budgeted(factor=""), "risk_model": m["whole"].risk},
        "constraints.risk_budgets[0].factor",
        ("empty",),
    ),
    "a share beside views": (
        lambda m: {
            "optimization_type": "black_litterman",
            "black_litterman": estimation_pb2.BlackLitterman(
                views=[estimation_pb2.View(name="KO", weights={"KO": 1.0})]
            ),
            "risk_model": m["whole"].risk,
            "constraints": budgeted(),
        },
        "constraints.risk_budgets[size]",
        ("black_litterman",),
    ),
    "a share beside entropy pooling": (
        lambda m: {
            "entropy_pooling": entropy_pooling_pb2.EntropyPooling(
                views=[
                    entropy_pooling_pb2.DistributionView(
                        name="KO", mean=entropy_pooling_pb2.CombinationView(weights={"KO": 1.0}, value=0.05)
                    )
                ]
            ),
            "constraints": budgeted(),
        },
        "constraints.risk_budgets[size]",
        ("FACTOR_MODEL",),
    ),
    "a share over periods": (
        lambda m: {
            "optimization_type": "multi_period",
            "multi_period": multi_period_pb2.MultiPeriod(periods=[multi_period_pb2.PlanPeriod()]),
            "risk_model": m["whole"].risk,
            "constraints": budgeted(),
        },
        "constraints.risk_budgets",
        ("not convex",),
    ),
    "errors of exposures that are given": (
        lambda m: {
            "optimization_type": "robust",
            "robustness": robustness_pb2.Robustness(
                covariance=robustness_pb2.CovarianceUncertainty(shape=robustness_pb2.UNCERTAINTY_SHAPE_FACTOR)
            ),
            "risk_model": m["given"].risk,
        },
        "robustness.covariance.shape",
        ("cross_sectional",),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_by_field_and_name(service: OpenService, models: Models, what: str) -> None:
    make, field, words = WRONG[what]
    found = refused(service, request(**make(models)))
    assert set(found) == {field}
    for word in words:
        assert word in found[field]


def test_relative_limits_need_the_benchmark_in_the_model(service: OpenService, models: Models) -> None:
    """The universe is in the model, but two members of the benchmark are not; an absolute limit needs them not."""
    portfolio_id = examples.put_portfolio(service, {"AAPL": 10, "MSFT": 20})
    relative = FactorLimit(factor="size", maximum=0.0, relative_to_benchmark=True)
    fields = {"portfolio_id": portfolio_id, "benchmark_id": BENCHMARK}
    found = refused(service, request(constraints=limited(models["part"], relative), **fields))
    assert set(found) == {"constraints.factor_model_id"}
    assert found["constraints.factor_model_id"].endswith("for KO, XOM")
    relative.relative_to_benchmark = False
    relative.maximum = 2.0
    allowed = request(constraints=limited(models["part"], relative), validate_only=True, **fields)
    assert service.call("CreateOptimization", allowed).status == "validated"
    without = request(constraints=limited(models["whole"], relative), portfolio_id=portfolio_id)
    without.constraints.factor_limits[0].relative_to_benchmark = True
    assert set(refused(service, without)) == {"constraints.factor_limits[size].relative_to_benchmark"}


@pytest.mark.parametrize("where", ["risk_model", "expected_returns", "constraints"])
def test_a_model_that_is_not_stored_is_not_found(service: OpenService, where: str) -> None:
    parts: dict[str, Any] = {
        "risk_model": RiskModel(method=RISK, factor_model_id=UNKNOWN),
        "expected_returns": ReturnsModel(method=RETURNS, factor_model_id=UNKNOWN),
        "constraints": Constraints(factor_model_id=UNKNOWN),
    }
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request(**{where: parts[where]}))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert UNKNOWN in str(caught.value.details())


def test_all_faults_come_at_once(service: OpenService, models: Models) -> None:
    limits = limited(models["part"], FactorLimit(factor="carry", maximum=0.0), FactorLimit(factor="size", maximum=0.0))
    limits.risk_budgets.add(factor="growth", max_share=0.1)
    asked = request(
        risk_model=models["part"].risk, expected_returns=models["part"].returns(carry=0.1), constraints=limits
    )
    assert set(refused(service, asked)) == {
        "risk_model.factor_model_id",
        "expected_returns.factor_model_id",
        "expected_returns.factor_premia",
        "constraints.factor_limits[carry]",
        "constraints.factor_model_id",
        "constraints.risk_budgets[growth]",
    }


def test_a_frontier_keeps_no_shares(service: OpenService, models: Models) -> None:
    asked = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=PORTFOLIO, points=5, risk_model=models["whole"].risk, constraints=budgeted()
    )
    assert "constraints.risk_budgets" in refused(service, asked, "GenerateEfficientFrontier")


def test_a_validation_refuses_what_was_estimated_from_all_of_the_past(service: OpenService, models: Models) -> None:
    model = models["whole"]
    asked = request(
        risk_model=model.risk,
        expected_returns=model.returns(),
        constraints=limited(model, FactorLimit(factor="size", maximum=0.0)),
    )
    asked.lookback_days = 0
    validation = validation_pb2.CreateValidationRequest(optimization=asked, first_date="2022-01-03")
    assert set(refused(service, validation, "CreateValidation")) == {
        "optimization.risk_model.factor_model_id",
        "optimization.expected_returns.factor_model_id",
        "optimization.constraints.factor_model_id",
    }


def test_checking_alone_checks_models_too(service: OpenService, models: Models) -> None:
    asked = request(risk_model=models["part"].risk, validate_only=True)
    assert set(refused(service, asked)) == {"risk_model.factor_model_id"}
    asked.risk_model.CopyFrom(models["whole"].risk)
    assert service.call("CreateOptimization", asked).status == "validated"


def test_the_same_request_again_is_the_same_optimization(service: OpenService, models: Models) -> None:
    asked = request(risk_model=models["whole"].risk, request_id="with-a-factor-model")
    first, second = (service.call("CreateOptimization", asked) for _ in range(2))
    assert first.optimization_id == second.optimization_id
    asked.risk_model.CopyFrom(models["given"].risk)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", asked)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
