"""What a validation refuses because the past did not know it."""

from __future__ import annotations

from typing import Any

import pytest
from portfolio_optimization.v1 import constraints_pb2, entropy_pooling_pb2, estimation_pb2, multi_period_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.convert.look_ahead import look_ahead_faults

E = estimation_pb2
Constraints, Preferences = pb.OptimizationConstraints, pb.OptimizationPreferences


def plan(**fields: Any) -> multi_period_pb2.MultiPeriod:
    return multi_period_pb2.MultiPeriod(periods=[multi_period_pb2.PlanPeriod(), multi_period_pb2.PlanPeriod(**fields)])


REFUSED: dict[str, dict[str, Any]] = {
    "lookback_days": {"lookback_days": 250},
    "request_id": {"request_id": "mine"},
    "validate_only": {"validate_only": True},
    "frontier_points": {"frontier_points": 10},
    "pareto_points": {"pareto_points": 10},
    "optimization_type": {"optimization_type": "black_litterman"},
    "entropy_pooling": {"entropy_pooling": entropy_pooling_pb2.EntropyPooling()},
    "expected_returns.method": {
        "expected_returns": E.ExpectedReturnsModel(method=E.EXPECTED_RETURNS_METHOD_PROVIDED, values={"KO": 0.1})
    },
    "expected_returns.market_premium": {"expected_returns": E.ExpectedReturnsModel(market_premium=0.0)},
    "expected_returns.factor_premia": {"expected_returns": E.ExpectedReturnsModel(factor_premia={"HML": 0.02})},
    "risk_model.method": {"risk_model": E.RiskModel(method=E.RISK_MODEL_METHOD_PROVIDED)},
    "constraints.min_quality_score": {"constraints": Constraints(min_quality_score=0.0)},
    "constraints.min_average_quality": {"constraints": Constraints(min_average_quality=5.0)},
    "constraints.factor_exposures": {
        "constraints": Constraints(factor_exposures={"size": constraints_pb2.InstrumentValues(values={"KO": 1.0})})
    },
    "constraints.factor_exposures_id": {"constraints": Constraints(factor_exposures_id="fe-1")},
    "constraints.factor_model_id": {"constraints": Constraints(factor_model_id="fm-1")},
    "expected_returns.factor_model_id": {
        "expected_returns": E.ExpectedReturnsModel(
            method=E.EXPECTED_RETURNS_METHOD_FACTOR_MODEL, factor_model_id="fm-1"
        )
    },
    "risk_model.factor_model_id": {
        "risk_model": E.RiskModel(method=E.RISK_MODEL_METHOD_FACTOR_MODEL, factor_model_id="fm-1")
    },
    "preferences.consider_tax_implications": {"preferences": Preferences(consider_tax_implications=True)},
    "preferences.market_impact": {
        "preferences": Preferences(include_transaction_costs=True, market_impact=pb.MarketImpact())
    },
    "multi_period.forecast_id": {"multi_period": multi_period_pb2.MultiPeriod(forecast_id="fc-1")},
    "multi_period.periods[1].expected_returns": {"multi_period": plan(expected_returns={"KO": 0.1})},
    "multi_period.periods[1].covariance": {"multi_period": plan(covariance=E.CovarianceMatrix())},
    "multi_period.periods[1].covariance_scale": {"multi_period": plan(covariance_scale=2.0)},
    "multi_period.periods[1].cash_flow": {"multi_period": plan(cash_flow=0.1)},
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_looks_ahead_is_refused_under_its_name(field: str) -> None:
    message = pb.CreateOptimizationRequest(**{"optimization_type": "minimum_variance", **REFUSED[field]})
    faults = list(look_ahead_faults(message))
    assert [fault.field for fault in faults] == [field]
    assert "would look ahead" in faults[0].description or "must be absent in a validation" in faults[0].description


@pytest.mark.parametrize("kind", ["scenario_based", "black_litterman"])
def test_types_made_of_forecasts_are_refused(kind: str) -> None:
    faults = list(look_ahead_faults(pb.CreateOptimizationRequest(optimization_type=kind)))
    assert [fault.field for fault in faults] == ["optimization_type"]


@pytest.mark.parametrize("method", [E.EXPECTED_RETURNS_METHOD_EQUILIBRIUM, E.EXPECTED_RETURNS_METHOD_CAPM])
def test_capitalisations_are_of_today(method: E.ExpectedReturnsMethod) -> None:
    message = pb.CreateOptimizationRequest(expected_returns=E.ExpectedReturnsModel(method=method))
    (fault,) = look_ahead_faults(message)
    assert fault.field == "expected_returns.method"
    assert "market capitalisations are today's" in fault.description


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "expected_returns": E.ExpectedReturnsModel(
                method=E.EXPECTED_RETURNS_METHOD_CAPM, market_benchmark_id="index"
            )
        },
        {"expected_returns": E.ExpectedReturnsModel(method=E.EXPECTED_RETURNS_METHOD_JAMES_STEIN)},
        {"risk_model": E.RiskModel(method=E.RISK_MODEL_METHOD_FACTOR_MODEL)},
        {"preferences": Preferences(include_transaction_costs=True, commission_per_trade_amount="5")},
        {"multi_period": plan(days=5, max_turnover=0.1, covariance_scale=1.0)},
        {"constraints": Constraints(max_turnover=0.2, max_tracking_error=0.05)},
    ],
    ids=str,
)
def test_what_prices_alone_tell_is_served(fields: dict[str, Any]) -> None:
    assert list(look_ahead_faults(pb.CreateOptimizationRequest(optimization_type="minimum_variance", **fields))) == []
