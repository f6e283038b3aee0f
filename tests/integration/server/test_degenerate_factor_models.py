"""Stored factor models at the edge: nothing specific, factors without risk, no risk at all, one factor, one stock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, Example, request
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import Floats, Market, load_market

Constraints = pb.OptimizationConstraints


def draws(*shape: int) -> Floats:
    """The same normal numbers at every call."""
    return np.asarray(np.random.default_rng(12).normal(size=shape))


NOISE = 0.01 * draws(60, 3)


def example(market: Market, **changes: Any) -> Example:
    """Three factors on the sample stocks, with changes."""
    n = len(market.names)
    plain = {
        "B": 1.0 + 0.3 * draws(n, 3),
        "Phi": np.diag([0.04, 0.02, 0.01]),
        "specific": np.full(n, 0.03),
        "F": NOISE,
        "factors": ("one", "two", "three"),
    }
    return Example(id="", kind="time_series", names=market.names, **{**plain, **changes})


EDGES: dict[str, Callable[[int], dict[str, Any]]] = {
    "nothing specific": lambda n: {"specific": np.zeros(n)},
    "half of the stocks without anything specific": lambda n: {"specific": np.where(np.arange(n) % 2, 0.0, 0.05)},
    "factors that move together": lambda n: {"Phi": np.full((3, 3), 0.04)},
    "factors without risk": lambda n: {"Phi": np.zeros((3, 3))},
    "no exposures": lambda n: {"B": np.zeros((n, 3))},
    "no risk at all": lambda n: {"Phi": np.zeros((3, 3)), "specific": np.zeros(n)},
    "one factor": lambda n: {
        "B": np.ones((n, 1)),
        "Phi": np.full((1, 1), 0.04),
        "F": NOISE[:, :1],
        "factors": ("one",),
    },
    "more factors than stocks": lambda n: {
        "B": draws(n, 30),
        "Phi": 0.01 * np.eye(30),
        "F": 0.01 * draws(60, 30),
        "factors": tuple(f"f{k}" for k in range(30)),
    },
    "tiny and huge variances": lambda n: {"specific": np.geomspace(1e-9, 1e2, n)},
}


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.mark.parametrize("edge", EDGES)
def test_the_least_risk_of_a_model_at_the_edge(service: OpenService, market: Market, edge: str) -> None:
    """The answer has the risk that the model says, no other portfolio of a sample has less, and the parts add up."""
    model = examples.keep(service, example(market, **EDGES[edge](len(market.names))))
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    limits.factor_limits.add(factor=model.factors[0], minimum=-10.0, maximum=10.0)
    answer = service.optimize(request(risk_model=model.risk, constraints=limits, benchmark_id=BENCHMARK))
    assert answer.status == "completed", answer.outcome.message
    w = market.vector(dict(answer.target_allocation))
    risk = float(np.sqrt(w @ model.Sigma @ w))
    assert answer.metrics.expected_volatility == pytest.approx(risk, rel=1e-8, abs=1e-9)
    assert answer.factor_risk.volatility == pytest.approx(risk, rel=1e-8, abs=1e-9)
    assert sum(part.contribution for part in answer.factor_risk.instruments) == pytest.approx(
        answer.factor_risk.volatility, rel=1e-12
    )
    others = np.minimum(np.random.default_rng(3).dirichlet(np.ones(len(w)), 500), 0.2)
    others /= others.sum(axis=1, keepdims=True)
    inside = others[others.max(axis=1) <= 0.2]
    assert len(inside) > 100
    assert risk <= np.sqrt(np.einsum("ij,jk,ik->i", inside, model.Sigma, inside)).min() + 1e-7
    for name in ("volatility", "factor_contribution", "specific_contribution", "residual"):
        assert np.isfinite(getattr(answer.active_factor_risk, name))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("objective", ["maximize_sharpe", "maximize_utility", "maximize_information_ratio"])
def test_other_goals_end_honestly(service: OpenService, market: Market, edge: str, objective: str) -> None:
    model = examples.keep(service, example(market, **EDGES[edge](len(market.names))))
    asked = request(objective, risk_model=model.risk, expected_returns=model.returns(), benchmark_id=BENCHMARK)
    answer = service.optimize(asked)
    assert answer.status in {"completed", "ill_posed", "unbounded"}, answer.outcome.message
    if answer.status == "completed":
        w = market.vector(dict(answer.target_allocation))
        assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-8, abs=1e-9)


def test_a_share_that_no_portfolio_keeps_is_explained(service: OpenService, market: Market) -> None:
    """With nothing specific and one factor, the factor has all of the variance."""
    n = len(market.names)
    model = examples.keep(service, example(market, **EDGES["one factor"](n) | {"specific": np.zeros(n)}))
    limits = Constraints(risk_budgets=[constraints_pb2.RiskBudget(factor="one", max_share=0.5)])
    answer = service.optimize(request(risk_model=model.risk, constraints=limits))
    assert answer.status in {"infeasible", "numerical_failure"}
    assert not answer.target_allocation
    assert answer.outcome.message


def test_one_stock(service: OpenService, market: Market) -> None:
    model = examples.keep(service, example(market))
    portfolio = examples.put_portfolio(service, {"KO": 10})
    answer = service.optimize(request(portfolio_id=portfolio, risk_model=model.risk, constraints=Constraints()))
    assert answer.status == "completed", answer.outcome.message
    variance = float(model.Sigma[market.names.index("KO"), market.names.index("KO")])
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert [part.instrument_id for part in answer.factor_risk.instruments] == ["KO"]
