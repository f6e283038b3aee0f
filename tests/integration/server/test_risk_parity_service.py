"""Risk parity and budgets of risk through the service: shares met or proven out of reach, and every refusal named."""

from __future__ import annotations

import math
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1.risk_budgeting_pb2 import RiskBudgeting

from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
Constraints, Preferences = pb.OptimizationConstraints, pb.OptimizationPreferences


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def request(**fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "risk_parity",
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def completed(service: OpenService, **fields: Any) -> Any:
    """An answer whose certificate holds, and whose limits do."""
    answer = service.optimize(request(**fields))
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.max_violation <= 1e-8
    assert answer.certificate.duality_gap <= 1e-8
    assert sum(answer.target_allocation.values()) == pytest.approx(1.0, abs=1e-9)
    return answer


def refused(service: OpenService, **fields: Any) -> dict[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        service.optimize(request(**fields))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return violations(error.value)


def shares_of_variance(market: Market, answer: Any) -> Floats:
    w = market.vector(answer.target_allocation)
    parts = w * (market.Sigma @ w)
    return np.asarray(parts / parts.sum())


def each(market: Market, value: float = 1.0) -> dict[str, float]:
    return dict.fromkeys(market.names, value)


def test_equal_shares_are_the_default(service: OpenService, market: Market) -> None:
    answer = completed(service)
    np.testing.assert_allclose(shares_of_variance(market, answer), 0.05, rtol=1e-10)
    result = answer.risk_budgeting
    assert result.attained
    assert result.largest_error <= 1e-10
    assert result.distance == pytest.approx(0.0, abs=1e-12)
    assert result.distance_bound == 0.0
    assert [(report.name, report.budget) for report in result.budgets] == [(name, 0.05) for name in market.names]
    assert dict(result.unconstrained_weights) == pytest.approx(dict(answer.target_allocation), rel=1e-12)


def test_a_cap_leaves_a_proven_distance(service: OpenService, market: Market) -> None:
    answer = completed(service, constraints=Constraints(max_position_size=0.055))
    y, k = cp.Variable(20), cp.Variable(nonneg=True)
    root = np.linalg.cholesky(market.Sigma).T
    goal = cp.norm(root @ y) - cp.sum(cp.log(y)) / 20.0
    program: Any = cp.Problem(cp.Minimize(goal), [cp.sum(y) == k, y <= 0.055 * k])
    program.solve(solver=cp.CLARABEL)
    assert answer.certificate.objective_value == pytest.approx(math.exp(program.value - 1.0), rel=1e-6)
    result = answer.risk_budgeting
    assert not result.attained
    assert 0.0 < result.distance_bound <= result.distance
    assert max(answer.target_allocation.values()) <= 0.055 + 1e-8
    assert max(result.unconstrained_weights.values()) > 0.055


def test_budgets_of_instruments(service: OpenService, market: Market) -> None:
    asked = {name: float(k % 4) for k, name in enumerate(market.names)}
    answer = completed(service, risk_budgeting=RiskBudgeting(instrument_budgets=asked))
    budgets = np.array(list(asked.values()))
    np.testing.assert_allclose(shares_of_variance(market, answer), budgets / budgets.sum(), atol=1e-11)
    assert set(answer.target_allocation) == {name for name, budget in asked.items() if budget}


def test_budgets_of_sectors_are_divided_equally(service: OpenService, market: Market) -> None:
    sectors = sorted(set(market.sectors.values()))
    asked = {sector: 1.0 + k for k, sector in enumerate(sectors)}
    answer = completed(service, risk_budgeting=RiskBudgeting(sector_budgets=asked))
    shares = dict(zip(market.names, shares_of_variance(market, answer).tolist(), strict=True))
    for sector in sectors:
        inside = [shares[name] for name in market.names if market.sectors[name] == sector]
        assert sum(inside) == pytest.approx(asked[sector] / sum(asked.values()), rel=1e-10)
        assert max(inside) == pytest.approx(min(inside), rel=1e-10)


def test_budgets_of_asset_classes(service: OpenService, market: Market) -> None:
    answer = completed(service, risk_budgeting=RiskBudgeting(asset_class_budgets={"equity": 3.0}))
    np.testing.assert_allclose(shares_of_variance(market, answer), 0.05, rtol=1e-10)


def exposures(market: Market) -> Floats:
    rng = np.random.default_rng(7)
    return np.round(np.vstack([rng.uniform(0.5, 1.5, 20), rng.normal(0.2, 0.6, 20)]), 4)


def test_budgets_of_factors(service: OpenService, market: Market) -> None:
    A = exposures(market)
    given = {
        factor: constraints_pb2.InstrumentValues(values=dict(zip(market.names, row.tolist(), strict=True)))
        for factor, row in zip(("market", "value"), A, strict=True)
    }
    budgets = RiskBudgeting(factor_budgets={"market": 3.0, "value": 1.0})
    free = completed(service, risk_budgeting=budgets, constraints=Constraints(factor_exposures=given, allow_short=True))
    w = market.vector(free.target_allocation)
    slopes = np.linalg.lstsq(A.T, market.Sigma @ w, rcond=None)[0]
    shares = {report.name: report.share for report in free.risk_budgeting.budgets}
    expected = (A @ w) * slopes / (w @ market.Sigma @ w)
    assert [shares["market"], shares["value"]] == pytest.approx(expected.tolist(), rel=1e-9)
    assert [shares["market"], shares["value"]] == pytest.approx([0.75, 0.25], rel=1e-9)
    long_only = completed(service, risk_budgeting=budgets, constraints=Constraints(factor_exposures=given))
    assert long_only.risk_budgeting.distance_bound > 0.0
    assert refused(service, risk_budgeting=budgets).keys() == {
        "risk_budgeting.factor_budgets[market]",
        "risk_budgeting.factor_budgets[value]",
    }


def test_shorts(service: OpenService, market: Market) -> None:
    short = ["AAPL", "KO"]
    answer = completed(
        service,
        risk_budgeting=RiskBudgeting(short_instrument_ids=short),
        constraints=Constraints(allow_short=True),
    )
    np.testing.assert_allclose(shares_of_variance(market, answer), 0.05, rtol=1e-9)
    assert {name for name, weight in answer.target_allocation.items() if weight < 0.0} == set(short)


@pytest.mark.parametrize("word", ["semi_deviation", "mad", "cvar", "worst_realization", "cdar", "variance"])
def test_other_measures(service: OpenService, word: str) -> None:
    free = completed(service, risk_measure=word)
    assert free.risk_budgeting.attained
    capped = completed(service, risk_measure=word, constraints=Constraints(max_position_size=0.055))
    assert capped.risk_budgeting.distance_bound > 0.0
    assert capped.risk_budgeting.distance - capped.risk_budgeting.distance_bound <= 1e-7


def test_cash_makes_room_and_is_kept_small(service: OpenService, market: Market) -> None:
    room = completed(service, constraints=Constraints(max_position_size=0.055, max_cash_weight=0.5))
    assert room.risk_budgeting.attained
    assert max(room.target_allocation.values()) == room.target_allocation["CASH"] or max(
        weight for name, weight in room.target_allocation.items() if name != "CASH"
    ) == pytest.approx(0.055, abs=1e-9)
    idle = completed(service, constraints=Constraints(max_cash_weight=0.5))
    assert "CASH" not in idle.target_allocation
    less = completed(service, constraints=Constraints(max_cash_weight=0.9, target_volatility=0.04))
    assert less.risk_budgeting.attained
    assert less.metrics.expected_volatility == pytest.approx(0.04, abs=1e-8)


def test_costs_and_turnover(service: OpenService) -> None:
    preferences = Preferences(include_transaction_costs=True, transaction_cost_model=0.01, risk_aversion=2.0)
    dear = completed(service, preferences=preferences)
    assert 0.0 < dear.risk_budgeting.distance_bound <= dear.risk_budgeting.distance
    near = completed(service, constraints=Constraints(max_turnover=0.1))
    assert near.risk_budgeting.distance_bound > 0.0


def test_conflicts_are_explained(service: OpenService, market: Market) -> None:
    asked = each(market) | {"KO": 0.0}
    answer = service.optimize(
        request(
            risk_budgeting=RiskBudgeting(instrument_budgets=asked), constraints=Constraints(min_weights={"KO": 0.1})
        )
    )
    assert answer.status == "infeasible"
    assert set(answer.infeasibility.conflicting_constraints) == {
        "min_weights[KO]",
        "risk_budgeting.instrument_budgets[KO]",
    }


def budgets(**fields: Any) -> dict[str, Any]:
    return {"risk_budgeting": RiskBudgeting(**fields)}


def limits(**fields: Any) -> dict[str, Any]:
    return {"constraints": Constraints(**fields)}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (budgets(instrument_budgets={"KO": 1.0}), "risk_budgeting.instrument_budgets"),
    (budgets(instrument_budgets={"CASH": 1.0}), "risk_budgeting.instrument_budgets"),
    (budgets(instrument_budgets={"KO": math.nan}), "risk_budgeting.instrument_budgets[KO]"),
    (budgets(instrument_budgets={"KO": -1.0}), "risk_budgeting.instrument_budgets[KO]"),
    (budgets(instrument_budgets={"KO": 1e300}), "risk_budgeting.instrument_budgets[KO]"),
    (budgets(instrument_budgets={"": 1.0}), "risk_budgeting.instrument_budgets[]"),
    (budgets(instrument_budgets={"KO": 0.0}), "risk_budgeting.instrument_budgets"),
    (budgets(sector_budgets={"Energy": 1.0}), "risk_budgeting.sector_budgets"),
    (budgets(sector_budgets={"Nothing": 1.0}), "risk_budgeting.sector_budgets"),
    (budgets(asset_class_budgets={"bond": 1.0}), "risk_budgeting.asset_class_budgets"),
    (budgets(factor_budgets={"beta": 0.0}), "risk_budgeting.factor_budgets[beta]"),
    (budgets(factor_budgets={"beta": 1.0}), "risk_budgeting.factor_budgets[beta]"),
    (budgets(instrument_budgets={"KO": 1.0}, factor_budgets={"beta": 1.0}), "risk_budgeting"),
    (budgets(short_instrument_ids=["KO"]), "risk_budgeting.short_instrument_ids"),
    ({**budgets(short_instrument_ids=["KO", "KO"]), **limits(allow_short=True)}, "risk_budgeting.short_instrument_ids"),
    ({**budgets(short_instrument_ids=["NONE"]), **limits(allow_short=True)}, "risk_budgeting.short_instrument_ids"),
    (
        {**budgets(short_instrument_ids=["KO"]), **limits(allow_short=True, min_weights={"KO": 0.0})},
        "risk_budgeting.short_instrument_ids",
    ),
    ({"risk_measure": "var"}, "risk_measure"),
    (limits(whole_lots=True, max_cash_weight=0.1), "constraints.whole_lots"),
    (limits(max_positions=5), "constraints.max_positions"),
    (limits(min_positions=5), "constraints.min_positions"),
    (limits(risk_budgets=[constraints_pb2.RiskBudget(instrument_id="KO", max_share=0.1)]), "constraints.risk_budgets"),
    (limits(risk_limits=constraints_pb2.RiskLimits(max_var=0.1)), "constraints.risk_limits.max_var"),
    (
        {"preferences": Preferences(include_transaction_costs=True, commission_per_trade_amount="1.00")},
        "preferences.commission_per_trade_amount",
    ),
]


@pytest.mark.parametrize(("fields", "field"), REFUSALS)
def test_refusals_name_their_field(service: OpenService, fields: dict[str, Any], field: str) -> None:
    assert field in refused(service, **fields)


def test_budgets_that_the_limits_exclude(service: OpenService, market: Market) -> None:
    faults = refused(
        service, **budgets(instrument_budgets=each(market)), constraints=Constraints(max_weights={"KO": 0.0})
    )
    assert faults == {"risk_budgeting.instrument_budgets[KO]": "is 1, but constraints.max_weights[KO] is 0"}
    small = each(market) | {"KO": 1e-7}
    assert "KO" in refused(service, **budgets(instrument_budgets=small))["risk_budgeting.instrument_budgets"]


def test_what_may_not_be_held_has_no_share_by_default(service: OpenService, market: Market) -> None:
    answer = completed(service, constraints=Constraints(max_weights={"KO": 0.0}))
    assert len(answer.risk_budgeting.budgets) == 19
    assert answer.risk_budgeting.attained
    assert "KO" not in answer.target_allocation


def test_the_same_request_gives_the_same_answer(service: OpenService) -> None:
    first, second = (completed(service, constraints=Constraints(max_position_size=0.055)) for _ in range(2))
    assert dict(first.target_allocation) == dict(second.target_allocation)
