"""Plans over several periods through the service: against an independent model, explained, and refused."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2, model_data_pb2, multi_period_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub

from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
RATE = 0.002
Constraints, Period, Plan = pb.OptimizationConstraints, multi_period_pb2.PlanPeriod, multi_period_pb2.MultiPeriod
COSTS = pb.OptimizationPreferences(risk_aversion=4.0, include_transaction_costs=True, transaction_cost_model=RATE)


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def request(plan: Plan | None, objective: str = "maximize_utility", **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "multi_period",
        "objective": objective,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "preferences": COSTS,
        "multi_period": plan,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def decaying(market: Market, periods: int) -> list[Floats]:
    """Forecasts that fade, so that trading fast and slow differ."""
    signal = np.linspace(0.3, -0.1, len(market.names))
    return [0.05 + signal * 0.6**h for h in range(periods)]


def named(market: Market, values: Floats) -> dict[str, float]:
    return dict(zip(market.names, values.tolist(), strict=True))


def test_a_plan_against_an_independent_model(service: OpenService, market: Market) -> None:
    mus, scales, flows = decaying(market, 3), (1.0, 2.0, 0.0), (0.05, 0.0, -0.1)
    periods = [
        Period(days=21, expected_returns=named(market, mus[0]), cash_flow=flows[0]),
        Period(days=42, expected_returns=named(market, mus[1]), covariance_scale=2.0, max_turnover=0.1),
        Period(expected_returns=named(market, mus[2]), cash_flow=flows[2], max_volatility=0.18),
    ]
    limits = Constraints(max_turnover=0.3, max_position_size=0.4, max_cash_weight=0.2)
    answer = service.optimize(request(Plan(periods=periods, holding_cost=0.01), constraints=limits))
    assert answer.status == "completed", answer.outcome.message
    n, H = len(market.names), 3
    current = dict(answer.current_allocation)
    w0 = np.append(market.vector(current), current.get("CASH", 0.0))
    W, V, before, gain, rules = cp.Variable((H, n + 1)), 1.0, w0, 0.0, []
    for h, tau in enumerate((21 / 252, 42 / 252, 21 / 252)):
        V += flows[h]
        u, Sigma = V * W[h], market.Sigma * (scales[h] or 1.0)
        z = u - before - flows[h] * np.eye(n + 1)[n]
        risk = cp.sum_squares(np.linalg.cholesky(Sigma).T @ W[h, :n])
        gain += tau * V * (np.append(mus[h], RISK_FREE) @ W[h] - 2.0 * risk - 0.01 * cp.norm1(W[h, :n]))
        gain -= RATE * cp.norm1(z[:n])
        rules += [cp.sum(W[h]) == 1, W[h] >= 0, W[h, :n] <= 0.4, W[h, n] <= 0.2]
        rules.append(0.5 * cp.norm1(z) <= (0.3, 0.1, 0.3)[h] * V)
        if h == 2:
            rules.append(cp.norm(np.linalg.cholesky(Sigma).T @ W[h, :n]) <= 0.18)
        before = u
    best: Any = cp.Problem(cp.Maximize(gain), rules)
    best.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert answer.multi_period.objective_value == pytest.approx(best.value, rel=1e-6)
    assert answer.certificate.objective_value == answer.multi_period.objective_value
    assert answer.certificate.duality_gap <= 1e-8
    for h, period in enumerate(answer.multi_period.periods):
        planned = np.append(market.vector(dict(period.weights)), period.weights["CASH"])
        assert planned == pytest.approx(W.value[h], abs=1e-4)
        assert sum(period.trades.values()) == pytest.approx(0.0, abs=1e-9)
    assert dict(answer.target_allocation) == pytest.approx(dict(answer.multi_period.periods[0].weights))
    assert [period.value for period in answer.multi_period.periods] == pytest.approx([1.05, 1.05, 0.95])
    names = {report.name for report in answer.constraints}
    assert {"max_turnover in period 2", "max_volatility in period 3", "budget"} <= names
    assert min(report.slack for report in answer.constraints) >= -1e-8


def test_one_period_of_a_year_is_the_single_period(service: OpenService) -> None:
    limits = Constraints(max_turnover=0.4, max_position_size=0.3, max_sector_exposure=0.5, target_volatility=0.2)
    planned = service.optimize(request(Plan(periods=[Period(days=252)]), constraints=limits))
    single = service.optimize(request(None, optimization_type="mean_variance", constraints=limits))
    assert planned.certificate.objective_value == pytest.approx(single.certificate.objective_value, rel=1e-8)
    assert dict(planned.target_allocation) == pytest.approx(dict(single.target_allocation), abs=1e-6)
    assert {r.name for r in planned.constraints} == {r.name for r in single.constraints}


def test_an_end_out_of_reach_is_explained(service: OpenService, market: Market) -> None:
    plan = Plan(periods=[Period(), Period(max_turnover=0.02)], terminal_weights={market.names[0]: 1.0})
    answer = service.optimize(request(plan, constraints=Constraints(max_turnover=0.1)))
    assert answer.status == "infeasible"
    conflicting = set(answer.infeasibility.conflicting_constraints)
    assert {"max_turnover in period 1", "max_turnover in period 2"} <= conflicting
    assert any(name.startswith("terminal_weights[") for name in conflicting)
    assert not answer.multi_period.periods


def test_the_end_is_reached_in_time(service: OpenService, market: Market) -> None:
    end = dict.fromkeys(market.names[:5], 0.2)
    plan = Plan(periods=[Period() for _ in range(6)], terminal_weights=end)
    answer = service.optimize(request(plan, "minimize_risk", constraints=Constraints(max_turnover=0.25)))
    assert answer.status == "completed", answer.outcome.message
    assert dict(answer.multi_period.periods[-1].weights) == pytest.approx(end, abs=1e-9)
    assert max(period.turnover for period in answer.multi_period.periods) <= 0.25 + 1e-9


def test_shorts_pay_for_what_they_borrow(service: OpenService) -> None:
    limits = Constraints(allow_short=True, max_position_size=0.3, max_gross_leverage=1.6)
    shorts = []
    for rate in (0.0, 1.0):
        plan = Plan(periods=[Period(), Period()], borrow_cost=rate)
        answer = service.optimize(request(plan, constraints=limits, preferences=pb.OptimizationPreferences()))
        assert answer.status == "completed", answer.outcome.message
        first = answer.multi_period.periods[0]
        shorts.append(-sum(min(weight, 0.0) for weight in first.weights.values()))
        assert first.holding_cost == pytest.approx(rate * shorts[-1] * 21 / 252, abs=1e-8)
    assert shorts[0] > shorts[1] + 0.01


def test_periods_of_a_stored_forecast(service: OpenService, market: Market) -> None:
    days, mus = (10, 30), [named(market, mu) for mu in decaying(market, 2)]
    del mus[1][market.names[0]]
    forecast = [
        model_data_pb2.ForecastPeriod(days=length, expected_returns=mu) for length, mu in zip(days, mus, strict=True)
    ]
    message = model_data_pb2.LoadForecastRequest(source="test", as_of="2022-12-28", periods=forecast)
    stored = service.run(_load(service, message))
    given = [Period(days=length, expected_returns=mu) for length, mu in zip(days, mus, strict=True)]
    one = service.optimize(request(Plan(forecast_id=stored.forecast_id)))
    other = service.optimize(request(Plan(periods=given)))
    assert [period.days for period in one.multi_period.periods] == [10, 30]
    assert one.multi_period.objective_value == pytest.approx(other.multi_period.objective_value, rel=1e-9)


async def _load(service: OpenService, message: model_data_pb2.LoadForecastRequest) -> Any:
    stub: Any = PortfolioDataServiceStub(service.channel)
    return await stub.LoadForecast(message)


def covariance(market: Market, Sigma: Floats) -> estimation_pb2.CovarianceMatrix:
    return estimation_pb2.CovarianceMatrix(instrument_ids=market.names, values=Sigma.ravel())


def test_a_covariance_of_its_own_is_what_its_factor_says(service: OpenService, market: Market) -> None:
    own = Plan(periods=[Period(), Period(covariance=covariance(market, 3.0 * market.Sigma))])
    scaled = Plan(periods=[Period(), Period(covariance_scale=3.0)])
    one, other = service.optimize(request(own)), service.optimize(request(scaled))
    assert one.multi_period.objective_value == pytest.approx(other.multi_period.objective_value, rel=1e-7)
    assert dict(one.target_allocation) == pytest.approx(dict(other.target_allocation), abs=1e-5)


def test_a_matrix_that_is_no_covariance_is_named(service: OpenService, market: Market) -> None:
    Sigma = market.Sigma
    Sigma[0, 1] = Sigma[1, 0] = 10.0
    plan = Plan(periods=[Period(), Period(covariance=covariance(market, Sigma))])
    answer = service.optimize(request(plan))
    assert answer.status == "failed"
    assert "multi_period.periods[1].covariance" in answer.outcome.message


def test_measures_of_scenarios_hold_in_every_period(service: OpenService) -> None:
    limits = Constraints(risk_limits=constraints_pb2.RiskLimits(max_mad=0.2), max_turnover=0.2)
    plan = Plan(periods=[Period(), Period()])
    answer = service.optimize(request(plan, "minimize_risk", constraints=limits, risk_measure="cvar"))
    assert answer.status == "completed", answer.outcome.message
    assert "risk_limits.max_mad in period 2" in {report.name for report in answer.constraints}
    assert answer.certificate.max_violation <= 1e-8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no plan": ({"plan": None}, "multi_period"),
    "no periods": ({"plan": Plan()}, "multi_period.periods"),
    "too many": ({"plan": Plan(periods=[Period()] * 121)}, "multi_period.periods"),
    "both": ({"plan": Plan(periods=[Period()], forecast_id="fc-1")}, "multi_period.forecast_id"),
    "a ratio": ({"objective": "maximize_sharpe"}, "objective"),
    "days": ({"plan": Plan(periods=[Period(days=30_000)])}, "multi_period.periods[0].days"),
    "nan": (
        {"plan": Plan(periods=[Period(expected_returns={"AAPL": float("nan")})])},
        "multi_period.periods[0].expected_returns[AAPL]",
    ),
    "unknown": (
        {"plan": Plan(periods=[Period(expected_returns={"NOBODY": 0.1})])},
        "multi_period.periods[0].expected_returns[NOBODY]",
    ),
    "cash": (
        {"plan": Plan(periods=[Period(expected_returns={"CASH": 0.1})])},
        "multi_period.periods[0].expected_returns[CASH]",
    ),
    "all paid out": (
        {"plan": Plan(periods=[Period(cash_flow=-0.6), Period(cash_flow=-0.5)])},
        "multi_period.periods[1].cash_flow",
    ),
    "scale": ({"plan": Plan(periods=[Period(covariance_scale=-1.0)])}, "multi_period.periods[0].covariance_scale"),
    "size": (
        {
            "plan": Plan(
                periods=[
                    Period(covariance=estimation_pb2.CovarianceMatrix(instrument_ids=["AAPL", "KO"], values=[1.0]))
                ]
            )
        },
        "multi_period.periods[0].covariance.values",
    ),
    "rows": (
        {
            "plan": Plan(
                periods=[Period(covariance=estimation_pb2.CovarianceMatrix(instrument_ids=["AAPL"], values=[0.04]))]
            )
        },
        "multi_period.periods[0].covariance.instrument_ids",
    ),
    "volatility": (
        {"plan": Plan(periods=[Period(max_volatility=0.0)])},
        "multi_period.periods[0].max_volatility",
    ),
    "holding": ({"plan": Plan(periods=[Period()], holding_cost=1.5)}, "multi_period.holding_cost"),
    "borrow": ({"plan": Plan(periods=[Period()], borrow_cost=-0.1)}, "multi_period.borrow_cost"),
    "terminal sum": (
        {"plan": Plan(periods=[Period()], terminal_weights={"AAPL": 0.5})},
        "multi_period.terminal_weights",
    ),
    "terminal name": (
        {"plan": Plan(periods=[Period()], terminal_weights={"NOBODY": 1.0})},
        "multi_period.terminal_weights[NOBODY]",
    ),
    "positions": ({"constraints": Constraints(max_positions=5)}, "constraints.max_positions"),
    "lots": ({"constraints": Constraints(whole_lots=True)}, "constraints.whole_lots"),
    "var": ({"risk_measure": "var"}, "risk_measure"),
    "scenarios' risk": (
        {"risk_measure": "cvar", "plan": Plan(periods=[Period(covariance_scale=2.0)])},
        "multi_period.periods[0].covariance_scale",
    ),
    "limits on scenarios' risk": (
        {
            "constraints": Constraints(risk_limits=constraints_pb2.RiskLimits(max_cvar=0.05)),
            "plan": Plan(periods=[Period(covariance_scale=2.0)]),
        },
        "multi_period.periods[0].covariance_scale",
    ),
    "tax": (
        {
            "plan": Plan(periods=[Period(), Period()]),
            "preferences": pb.OptimizationPreferences(consider_tax_implications=True),
        },
        "preferences.consider_tax_implications",
    ),
    "frontier": ({"frontier_points": 5}, "frontier_points"),
    "another type": ({"optimization_type": "mean_variance"}, "multi_period"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_planned_is_refused(service: OpenService, name: str) -> None:
    fields, field = REFUSED[name]
    asked = request(**{"plan": Plan(periods=[Period()]), **fields})
    with pytest.raises(grpc.aio.AioRpcError) as error:
        service.optimize(asked)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in violations(error.value)
