"""Generated requests of all kinds: whatever is asked, the service answers, and says what is wrong with the request."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from portfolio_optimization.v1 import (
    common_pb2,
    estimation_pb2,
    factors_pb2,
    frontier_pb2,
    optimization_calls_pb2,
    rebalancing_pb2,
)
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server.answer_checks import check_weights, relaxed
from tests.integration.server.factor_model_examples import Example, benchmark_weights, time_series
from tests.integration.server.message_strategies import NAMES, hostile, plausible, spoiled
from tests.integration.server.open_service import OpenService, violations, violations_of
from tests.integration.server.request_strategies import (
    by_factors,
    by_method,
    constrained,
    extreme,
    with_factor_budgets,
)
from tests.integration.server.sample_market import load_market

INSIDE = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED}
ENDED = {"completed", "infeasible", "unbounded", "ill_posed", "numerical_failure", "failed"}
STREAMS = ("WatchOptimization", "StreamEfficientFrontier")

OPTIMIZATION = pb.CreateOptimizationRequest(
    portfolio_id="sample-growth", optimization_type="mean_variance", objective="maximize_sharpe"
)
FRONTIER = frontier_pb2.EfficientFrontierRequest(portfolio_id="sample-growth")
# A request of every call, most of them in order as they are.
REQUESTS: dict[str, Message] = {
    "CreateOptimization": OPTIMIZATION,
    "GetOptimization": pb.GetOptimizationRequest(),
    "ListOptimizations": optimization_calls_pb2.ListOptimizationsRequest(),
    "GetLatestOptimization": optimization_calls_pb2.GetLatestOptimizationRequest(portfolio_id="sample-growth"),
    "WatchOptimization": optimization_calls_pb2.WatchOptimizationRequest(),
    "CancelOptimization": optimization_calls_pb2.CancelOptimizationRequest(),
    "Optimize": optimization_calls_pb2.OptimizeRequest(optimization=OPTIMIZATION),
    "BatchCreateOptimizations": optimization_calls_pb2.BatchCreateOptimizationsRequest(
        optimizations=[OPTIMIZATION, OPTIMIZATION]
    ),
    "GenerateEfficientFrontier": FRONTIER,
    "StreamEfficientFrontier": frontier_pb2.StreamEfficientFrontierRequest(frontier=FRONTIER),
    "GenerateRebalancePlan": rebalancing_pb2.RebalancePlanRequest(
        portfolio_id="sample-growth", target_type="equal_weight"
    ),
    "AnalyzeFactorExposures": factors_pb2.FactorExposureRequest(portfolio_id="sample-growth"),
}


def examples(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same examples at every run; nothing is shrunk, as every example is a call."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def model(service: OpenService) -> Example:
    return time_series(service, load_market(service))


def changed(request: Message) -> st.SearchStrategy[Message]:
    """The request with plausible or hostile changes, and hostile requests."""

    def merged(other: Message) -> Message:
        whole = type(request)()
        whole.CopyFrom(request)
        whole.MergeFrom(other)
        return whole

    mild = plausible(type(request)).map(merged)
    return st.one_of(spoiled(mild), spoiled(st.builds(merged, st.just(type(request)()))), mild, hostile(type(request)))


def judge(service: OpenService, method: str, request: Message) -> Any:
    """The answer, or None for a refusal that tells the caller what to do."""
    try:
        return service.stream(method, request) if method in STREAMS else service.call(method, request)
    except grpc.aio.AioRpcError as error:
        check_refusal(error)
        return None


def check_refusal(error: grpc.aio.AioRpcError) -> None:
    assert error.code() not in INSIDE, error.details()
    assert error.details()
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        check_violations(violations(error))


def check_violations(found: dict[str, str]) -> None:
    assert found
    assert all(field and description for field, description in found.items())


def check_ended(answer: Any) -> None:
    assert answer.status in ENDED
    assert "internal error" not in answer.outcome.message
    if answer.status == "failed":
        assert answer.outcome.message
    if answer.status == "infeasible":
        assert answer.infeasibility.sentence
    if answer.status == "completed":
        assert sum(answer.target_allocation.values()) == pytest.approx(1.0, abs=1e-8)


def check_answer(service: OpenService, method: str, answer: Any) -> None:
    """What was accepted comes to an end."""
    if method == "Optimize" and answer.optimization.optimization_id:
        check_ended(answer.optimization)
    if method == "CreateOptimization" and answer.optimization_id:
        watched = service.stream(
            "WatchOptimization", optimization_calls_pb2.WatchOptimizationRequest(optimization_id=answer.optimization_id)
        )
        check_ended(watched[-1].optimization)
    if method == "BatchCreateOptimizations":
        for result in answer.results:
            assert result.error.code not in {code.value[0] for code in INSIDE}
            if result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
                check_violations(violations_of(result.error))


@pytest.mark.parametrize("method", REQUESTS)
def test_no_request_breaks_a_call(service: OpenService, method: str) -> None:
    @examples(30)
    @given(changed(REQUESTS[method]))
    def each(request: Message) -> None:
        answer = judge(service, method, request)
        if answer is not None:
            check_answer(service, method, answer)

    each()


def test_extreme_moments_and_views_end_honestly(service: OpenService) -> None:
    @examples(40)
    @given(extreme())
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = judge(service, "Optimize", optimization_calls_pb2.OptimizeRequest(optimization=request))
        if answer is not None:
            check_ended(answer.optimization)

    each()


def test_limits_hold_or_are_shown_to_conflict(service: OpenService) -> None:
    @examples(60)
    @given(constrained())
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = service.optimize(request)
        assert answer.status in {"completed", "infeasible", "ill_posed"}
        if answer.status == "completed":
            check_weights(request, answer)
        elif answer.status == "infeasible":
            check_explanation(service, request, answer.infeasibility)
        else:
            check_ill_posed(service, request, answer.outcome)

    each()


def test_limits_hold_or_are_shown_to_conflict_beside_every_method(service: OpenService) -> None:
    @examples(20)
    @given(by_method(constrained()))
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = service.optimize(request)
        assert answer.status in {"completed", "infeasible"}, answer.outcome.message
        if answer.status == "completed":
            check_weights(request, answer)
        else:
            check_explanation(service, request, answer.infeasibility)

    each()


def test_methods_on_extreme_moments_end_honestly(service: OpenService) -> None:
    @examples(20)
    @given(by_method(extreme()))
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = judge(service, "Optimize", optimization_calls_pb2.OptimizeRequest(optimization=request))
        if answer is not None:
            check_ended(answer.optimization)

    each()


def test_limits_by_a_factor_model_hold_or_are_shown_to_conflict(service: OpenService, model: Example) -> None:
    @examples(25)
    @given(by_factors(model.id))
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = service.optimize(request)
        assert answer.status in {"completed", "infeasible", "ill_posed"}, answer.outcome.message
        if answer.status == "completed":
            check_weights(request, answer)
            check_exposures(service, model, request, answer)
        elif answer.status == "infeasible":
            check_explanation(service, request, answer.infeasibility)
        else:
            check_ill_posed(service, request, answer.outcome)

    each()


def check_exposures(service: OpenService, model: Example, request: pb.CreateOptimizationRequest, answer: Any) -> None:
    """Exposures keep their limits, and risk is that of the model where it is asked for."""
    w, v = (
        np.array([weights.get(name, 0.0) for name in model.names])
        for weights in (dict(answer.target_allocation), benchmark_weights(service))
    )
    absolute, active = model.exposures(w), model.exposures(w - v)
    for limit in request.constraints.factor_limits:
        found = (active if limit.relative_to_benchmark else absolute)[limit.factor]
        assert limit.minimum - 1e-7 <= found <= limit.maximum + 1e-7
    if request.risk_model.factor_model_id:
        assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-10)
        assert answer.active_factor_risk.volatility == pytest.approx(answer.metrics.tracking_error, rel=1e-9, abs=1e-12)


def test_shares_of_factors_end_honestly(service: OpenService, model: Example) -> None:
    @examples(12)
    @given(st.one_of(with_factor_budgets(model.id), spoiled(with_factor_budgets(model.id))))
    def each(request: pb.CreateOptimizationRequest) -> None:
        answer = judge(service, "Optimize", optimization_calls_pb2.OptimizeRequest(optimization=request))
        if answer is not None and answer.optimization.optimization_id:
            check_ended(answer.optimization)
            check_shares(request, answer.optimization)

    each()


def check_shares(request: pb.CreateOptimizationRequest, answer: Any) -> None:
    shares = {part.factor: part.percent / 100.0 for part in answer.factor_risk.factors}
    for budget in request.constraints.risk_budgets if answer.status == "completed" else ():
        assert shares[budget.factor] <= budget.max_share + 1e-7


def check_explanation(service: OpenService, request: pb.CreateOptimizationRequest, explanation: Any) -> None:
    """The limits that it names are the caller's, and once changed as it proposes they hold together."""
    assert explanation.conflicting_constraints
    assert explanation.relaxations
    names = {relaxation.name for relaxation in explanation.relaxations} | set(explanation.conflicting_constraints)
    assert not names & {"long_only", "no_leverage", "budget"}
    assert service.optimize(relaxed(request, explanation)).status == "completed"


def check_ill_posed(service: OpenService, request: pb.CreateOptimizationRequest, outcome: Any) -> None:
    """Nothing feasible earns more than the risk-free rate, or than the benchmark."""
    highest = pb.CreateOptimizationRequest()
    highest.CopyFrom(request)
    highest.objective = "maximize_return"
    best = service.optimize(highest)
    assert best.certificate.objective_value == pytest.approx(outcome.numbers["best_expected_return"], abs=1e-7)
    reference = "benchmark_return" if request.objective == "maximize_information_ratio" else "risk_free_rate"
    assert best.certificate.objective_value <= outcome.numbers[reference] + 1e-7


@pytest.mark.parametrize(
    "constraints",
    [
        pb.OptimizationConstraints(max_weights={f"name {k}": math.nan for k in range(2000)}),
        pb.OptimizationConstraints(max_weights={"é" * 100_000: 2.0}),
    ],
    ids=["many faults", "a long name"],
)
def test_a_refusal_reaches_the_caller_however_much_is_wrong(service: OpenService, constraints: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", merged_with(constraints=constraints))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    check_violations(violations(caught.value))


def merged_with(**fields: Any) -> pb.CreateOptimizationRequest:
    request = pb.CreateOptimizationRequest(**fields)
    request.MergeFrom(OPTIMIZATION)
    return request


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GenerateEfficientFrontier", {"min_return": 1e300}, "min_return"),
        ("GenerateEfficientFrontier", {"max_risk": 150.0}, "max_risk"),
        ("GenerateRebalancePlan", {"reason": "a\x00b"}, "reason"),
        (
            "GenerateRebalancePlan",
            {"constraints": rebalancing_pb2.RebalanceConstraints(market_impact_bps=10_000.0)},
            "constraints.market_impact_bps",
        ),
        ("ListOptimizations", {"page_token": "MjAyMC0wMS0wMVQwMDowMDowMCAA"}, "page_token"),
    ],
)
def test_values_that_cannot_be_kept_are_refused_by_field(
    service: OpenService, method: str, request_: dict[str, Any], field: str
) -> None:
    request = type(REQUESTS[method])(**request_)
    request.MergeFrom(REQUESTS[method])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call(method, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violations(caught.value)) == [field]


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x0a\x02\xc3\x28", b"\x0a\x7f"], ids=["tag", "text", "length"])
def test_bytes_that_are_no_message_are_refused(service: OpenService, data: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call_with("CreateOptimization", data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    check_violations(violations(caught.value))


def test_the_name_of_a_view_is_kept_or_refused(service: OpenService) -> None:
    view = estimation_pb2.View(name="a\x00b", weights={"AAPL": 1.0}, expected_return=0.1)
    request = merged_with(black_litterman=estimation_pb2.BlackLitterman(views=[view]))
    request.optimization_type = "black_litterman"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request)
    assert any(field.startswith("black_litterman.views[") for field in violations(caught.value))


def test_a_long_list_of_instruments_is_read_in_one_pass(service: OpenService) -> None:
    """Names that repeat are found among many thousands without comparing each with each."""
    request = merged_with(instrument_ids=[f"n{k}" for k in range(20_000)] * 2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request)
    assert "instrument_ids" in violations(caught.value)


def test_a_negative_zero_is_a_zero_when_a_request_is_repeated(service: OpenService) -> None:
    request = merged_with(request_id="zero", constraints=pb.OptimizationConstraints(max_turnover=-0.0))
    first, again = (service.call("CreateOptimization", request) for _ in range(2))
    assert first.optimization_id == again.optimization_id


def test_a_floor_and_a_smallest_position_combine_with_a_ratio(service: OpenService) -> None:
    constraints = pb.OptimizationConstraints(min_position_size=0.05, min_weights={NAMES[0]: 0.02})
    answer = service.optimize(merged_with(constraints=constraints))
    assert answer.outcome.status == common_pb2.OUTCOME_STATUS_OPTIMAL
    check_weights(merged_with(constraints=constraints), answer)


def test_a_sector_with_an_exact_weight_that_cannot_be_had(service: OpenService) -> None:
    """The limit gives way as a whole: neither a lower maximum nor a higher minimum would help the caller."""
    exact = common_pb2.WeightRange(minimum=0.0875, maximum=0.0875)
    constraints = pb.OptimizationConstraints(max_weights={"GE": 0.0}, sector_limits={"Industrials": exact})
    answer = service.optimize(merged_with(constraints=constraints))
    assert set(answer.infeasibility.conflicting_constraints) == {"max_weights[GE]", "sector_limits[Industrials]"}
