"""Diversification, rules, and every limit beside them, through the service: against independent models."""

from __future__ import annotations

import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import estimation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.vocabulary import HIERARCHIES
from storage.instruments import InstrumentRepository
from tests.integration.server.limit_families import FAMILIES, Weights, scores
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
CASH = "CASH"
TYPES = (
    "maximum_diversification",
    "most_decorrelated",
    "equal_weight",
    "inverse_volatility",
)
RULES = ("equal_weight", "inverse_volatility")
# Every type that is not one mean-risk program.
METHODS = (*TYPES, *HIERARCHIES, "risk_parity")
Constraints = pb.OptimizationConstraints


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    """The market, with quality scores and volumes stated for every instrument."""
    found = load_market(service)
    service.run(state_facts(service, found))
    return found


async def state_facts(service: OpenService, market: Market) -> None:
    async with service.application.database.transaction() as connection:
        repository = InstrumentRepository(connection)
        known = await repository.find(list(market.names))
        stated = zip(known, scores(market).tolist(), strict=True)
        await repository.put(
            [
                replace(instrument, quality_score=Decimal(str(score)), average_daily_volume=Decimal(50_000))
                for instrument, score in stated
            ]
        )


def request(kind: str, **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": kind,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def completed(service: OpenService, asked: pb.CreateOptimizationRequest) -> Any:
    answer = service.optimize(asked)
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.max_violation <= 1e-8
    return answer


def volatilities(market: Market) -> Floats:
    return np.asarray(np.sqrt(np.diag(market.Sigma)))


def solved(problem: Any) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


def held_against(market: Market, answer: Any) -> Weights:
    current, target = dict(answer.current_allocation), dict(answer.target_allocation)
    return Weights(market, market.vector(target), target.get(CASH, 0.0), market.vector(current), current.get(CASH, 0.0))


class TestMaximumDiversification:
    def test_the_highest_ratio(self, service: OpenService, market: Market) -> None:
        answer = completed(service, request("maximum_diversification", constraints=Constraints(max_position_size=0.2)))
        y, kappa = cp.Variable(len(market.names), nonneg=True), cp.Variable(nonneg=True)
        rows = [cp.norm(np.linalg.cholesky(market.Sigma).T @ y) <= 1, cp.sum(y) == kappa, y <= 0.2 * kappa]
        best = solved(cp.Problem(cp.Maximize(volatilities(market) @ y), rows))
        assert answer.certificate.objective_value == pytest.approx(best, rel=1e-7)
        assert answer.certificate.duality_gap <= 1e-8
        assert answer.diversification_ratio == pytest.approx(best, rel=1e-7)
        w = market.vector(dict(answer.target_allocation))
        ratio = volatilities(market) @ w / np.sqrt(w @ market.Sigma @ w)
        assert answer.diversification_ratio == pytest.approx(ratio, rel=1e-10)
        assert not answer.HasField("reference")

    def test_of_a_tail(self, service: OpenService, market: Market) -> None:
        answer = completed(service, request("maximum_diversification", risk_measure="cvar", confidence_level=0.9))
        tail = 0.1 * DAYS

        def cvar(losses: Any) -> Any:
            return cp.sum_largest(losses, tail) / tail

        alone = np.array([float(cvar(-column).value) for column in market.R.T])
        y = cp.Variable(len(market.names), nonneg=True)
        best = solved(cp.Problem(cp.Maximize(alone @ y / alone.mean()), [cvar(-market.R @ y) / alone.mean() <= 1]))
        assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
        assert answer.diversification_ratio == pytest.approx(best, rel=1e-6)

    def test_costs_keep_it_near_the_present(self, service: OpenService, market: Market) -> None:
        free = held_against(market, completed(service, request("maximum_diversification")))
        costs = pb.OptimizationPreferences(include_transaction_costs=True, transaction_cost_model=0.02)
        answer = completed(service, request("maximum_diversification", preferences=costs))
        charged = held_against(market, answer)
        assert charged.trades.sum() < free.trades.sum() - 0.05
        y, kappa = cp.Variable(len(market.names), nonneg=True), cp.Variable(nonneg=True)
        cost = 0.02 * cp.norm1(y - charged.w0 * kappa)
        rows = [cp.norm(np.linalg.cholesky(market.Sigma).T @ y) + cost <= 1, cp.sum(y) == kappa]
        best = solved(cp.Problem(cp.Maximize(volatilities(market) @ y), rows))
        assert answer.certificate.objective_value == pytest.approx(best, rel=1e-7)
        assert answer.diversification_ratio > answer.certificate.objective_value

    def test_a_limit_says_what_it_costs(self, service: OpenService, market: Market) -> None:
        answer = completed(service, request("maximum_diversification", constraints=Constraints(max_position_size=0.1)))
        (report,) = [r for r in answer.constraints if r.name == "max_position_size"]
        assert report.binding
        assert report.sentence.endswith("of the diversification ratio")


def test_the_least_correlated(service: OpenService, market: Market) -> None:
    answer = completed(service, request("most_decorrelated", constraints=Constraints(max_position_size=0.2)))
    w = cp.Variable(len(market.names), nonneg=True)
    C = np.corrcoef(market.R, rowvar=False)
    best = solved(cp.Problem(cp.Minimize(cp.sum_squares(np.linalg.cholesky(C).T @ w)), [cp.sum(w) == 1, w <= 0.2]))
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-7)
    x = market.vector(dict(answer.target_allocation))
    ratio = volatilities(market) @ x / np.sqrt(x @ market.Sigma @ x)
    assert answer.diversification_ratio == pytest.approx(ratio, rel=1e-10)


class TestRules:
    def test_equal_weights(self, service: OpenService, market: Market) -> None:
        names = market.names[:5]
        answer = completed(service, request("equal_weight", instrument_ids=names))
        assert dict(answer.target_allocation) == pytest.approx(dict.fromkeys(names, 0.2), abs=1e-15)
        assert dict(answer.reference.weights) == pytest.approx(dict.fromkeys(names, 0.2), abs=1e-15)
        assert (answer.reference.distance, answer.reference.moved) == (0.0, 0.0)
        assert not answer.reference.HasField("dendrogram")

    @pytest.mark.parametrize("word", ["", "variance"])
    def test_inverse_volatility(self, service: OpenService, market: Market, word: str) -> None:
        answer = completed(service, request("inverse_volatility", risk_measure=word))
        expected = 1.0 / volatilities(market)
        found = market.vector(dict(answer.target_allocation))
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-10)

    def test_by_another_measure(self, service: OpenService, market: Market) -> None:
        answer = completed(service, request("inverse_volatility", risk_measure="mad"))
        expected = 1.0 / np.abs(market.R - market.R.mean(axis=0)).mean(axis=0)
        found = market.vector(dict(answer.target_allocation))
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-10)

    @pytest.mark.parametrize("kind", RULES)
    def test_the_nearest_within_the_limits(self, service: OpenService, market: Market, kind: str) -> None:
        sector = "Health Care"
        limits = Constraints(max_turnover=0.3, min_weights={"GE": 0.1})
        limits.sector_limits[sector].maximum = 0.1
        answer = completed(service, request(kind, constraints=limits))
        held = held_against(market, answer)
        rule = np.ones(len(market.names)) if kind == "equal_weight" else 1.0 / volatilities(market)
        target = rule / rule.sum()
        w = cp.Variable(len(market.names), nonneg=True)
        inside = np.array([float(market.sectors[name] == sector) for name in market.names])
        rows = [
            cp.sum(w) == 1,
            w[market.names.index("GE")] >= 0.1,
            inside @ w <= 0.1,
            (cp.norm1(w - held.w0) + held.cash0) / 2 <= 0.3,
        ]
        best = solved(cp.Problem(cp.Minimize(cp.norm(w - target)), rows))
        assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
        assert answer.reference.distance == pytest.approx(np.linalg.norm(held.w - target), rel=1e-12)
        assert answer.reference.moved == pytest.approx(0.5 * np.abs(held.w - target).sum(), rel=1e-12)
        np.testing.assert_allclose(market.vector(dict(answer.reference.weights)), target, rtol=1e-12)

    def test_what_may_not_be_held_gets_no_weight(self, service: OpenService, market: Market) -> None:
        answer = completed(service, request("equal_weight", constraints=Constraints(max_weights={"KO": 0.0})))
        assert "KO" not in answer.target_allocation
        assert len(answer.target_allocation) == len(market.names) - 1
        assert answer.reference.distance == 0.0


def answered(service: OpenService, asked: pb.CreateOptimizationRequest) -> Any:
    """The answer, or None where the request is refused with fields and reasons."""
    try:
        return service.optimize(asked)
    except grpc.aio.AioRpcError as error:
        found = violations(error)
        refused = error.code() is grpc.StatusCode.INVALID_ARGUMENT and found and all(found.values())
        if not refused:
            raise
        return None


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", METHODS)
def test_limits_hold_beside_every_method(service: OpenService, market: Market, kind: str, name: str) -> None:
    """An answer keeps them, measured on its weights; what cannot be combined is refused with field and reason."""
    family = FAMILIES[name]
    asked = request(kind, constraints=family.constraints(market), **family.fields)
    if (answer := answered(service, asked)) is None:
        return
    assert answer.status == "completed", answer.outcome.message
    held = held_against(market, answer)
    assert held.w.sum() + held.cash == pytest.approx(1.0, abs=1e-8)
    assert family.missed(held) <= 2e-8
    assert answer.certificate.max_violation <= 1e-8
    assert min(report.slack for report in answer.constraints) >= -1e-8
    assert np.isfinite(answer.certificate.objective_value)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a tail that is not convex": ("maximum_diversification", {"risk_measure": "var"}, "risk_measure"),
    "another type's field": (
        "equal_weight",
        {"risk_budgeting": pb.CreateOptimizationRequest().risk_budgeting},
        "risk_budgeting",
    ),
    "another objective": ("most_decorrelated", {"objective": "minimize_risk"}, "objective"),
    "scenarios": ("inverse_volatility", {"scenarios_id": "x"}, "scenarios_id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_field(service: OpenService, name: str) -> None:
    kind, fields, field = REFUSED[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request(kind, **fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in violations(caught.value)


@pytest.mark.parametrize("kind", TYPES)
def test_limits_that_conflict_are_explained(service: OpenService, kind: str) -> None:
    answer = service.optimize(request(kind, constraints=Constraints(max_position_size=0.04, max_weights={"KO": 0.01})))
    assert answer.status == "infeasible"
    assert "max_position_size" in answer.infeasibility.conflicting_constraints
    assert not answer.HasField("reference")
    assert not answer.HasField("diversification_ratio")


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_that_may_be_held(service: OpenService, market: Market, kind: str) -> None:
    """Without cash the limits conflict, and it is said how; beside cash there is nothing to spread."""
    nothing = dict.fromkeys(market.names, 0.0)
    answer = service.optimize(request(kind, constraints=Constraints(max_weights=nothing)))
    assert answer.status == "infeasible"
    assert {f"max_weights[{name}]" for name in market.names} <= set(answer.infeasibility.conflicting_constraints)
    answer = service.optimize(request(kind, constraints=Constraints(max_weights=nothing, max_cash_weight=1.0)))
    assert answer.status == "ill_posed"
    assert "no instrument" in answer.outcome.message


@pytest.mark.parametrize("kind", TYPES)
def test_the_same_request_gives_the_same_bits(service: OpenService, kind: str) -> None:
    asked = request(kind, constraints=Constraints(max_sector_exposure=0.2))
    first, again = (dict(service.optimize(asked).target_allocation) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("kind", ["maximum_diversification", "inverse_volatility", "most_decorrelated"])
def test_an_instrument_without_risk_is_named(service: OpenService, market: Market, kind: str) -> None:
    Sigma = market.Sigma.copy()
    Sigma[3, :] = Sigma[:, 3] = 0.0
    provided = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED)
    provided.covariance.instrument_ids.extend(market.names)
    provided.covariance.values.extend(Sigma.ravel().tolist())
    answer = service.optimize(request(kind, risk_model=provided))
    assert answer.status == "failed"
    assert f"volatility above 0 each, which is not so of {market.names[3]} (0)" in answer.outcome.message
    fields = {"constraints": Constraints(max_weights={market.names[3]: 0.0})}
    assert completed(service, request(kind, risk_model=provided, **fields)).status == "completed"
