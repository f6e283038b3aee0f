"""Every family of limits and costs that a request can have, each with its own measure of how far weights miss it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from portfolio_optimization.v1 import common_pb2, constraints_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server.sample_market import Floats, Market

BENCHMARK = "sample-sp500"
TECHNOLOGY = ("AAPL", "AMD", "MSFT")
CRASH = {"AAPL": -0.5, "MSFT": -0.4, "AMD": -0.7, "XOM": 0.1}
QUALITY = 5.0
Constraints = pb.OptimizationConstraints
Preferences = pb.OptimizationPreferences


@dataclass(frozen=True)
class Weights:
    """Target and current weights in the order of the market's names, cash apart."""

    market: Market
    w: Floats
    cash: float
    w0: Floats
    cash0: float

    @property
    def trades(self) -> Floats:
        return np.abs(np.append(self.w - self.w0, self.cash - self.cash0))

    @property
    def volatility(self) -> float:
        return float(np.sqrt(self.w @ self.market.Sigma @ self.w))

    def of(self, *names: str) -> float:
        return sum(float(self.w[self.market.names.index(name)]) for name in names)

    def sector(self, sector: str) -> float:
        return self.of(*(name for name in self.market.names if self.market.sectors[name] == sector))


def scores(market: Market) -> Floats:
    """The quality scores that `test_*` modules state: 0, 1, ... 9 and again."""
    return np.arange(len(market.names)) % 10.0


def _nothing(weights: Weights) -> float:
    return 0.0


@dataclass(frozen=True)
class Family:
    """Limits, other fields of the request, and by how much weights miss them at most; limits in words of the market."""

    constraints: Callable[[Market], Constraints] = lambda market: Constraints()
    fields: Mapping[str, Any] = field(default_factory=dict)
    missed: Callable[[Weights], float] = _nothing


def _is(**limits: Any) -> Callable[[Market], Constraints]:
    return lambda market: Constraints(**limits)


def _costs(**preferences: Any) -> dict[str, Any]:
    return {"preferences": Preferences(include_transaction_costs=True, risk_aversion=3.0, **preferences)}


def _values(market: Market, numbers: Floats) -> constraints_pb2.InstrumentValues:
    return constraints_pb2.InstrumentValues(values=dict(zip(market.names, numbers.tolist(), strict=True)))


def _momentum(market: Market) -> Floats:
    return np.round(market.R.mean(axis=0) / market.R.std(axis=0) * 100.0, 3)


def _factor(market: Market) -> Constraints:
    limit = constraints_pb2.FactorLimit(factor="momentum", minimum=1.0, maximum=1.0)
    return Constraints(factor_limits=[limit], factor_exposures={"momentum": _values(market, _momentum(market))})


def _linear(market: Market) -> Constraints:
    limit = constraints_pb2.LinearConstraint(name="tech", coefficients=dict.fromkeys(TECHNOLOGY, 1.0), minimum=0.35)
    return Constraints(linear_constraints=[limit])


def _stress(market: Market) -> Constraints:
    return Constraints(stress_scenarios=[constraints_pb2.StressScenario(name="crash", returns=CRASH, min_return=-0.03)])


def _gross(weights: Weights) -> float:
    w = weights.w
    return max(float(np.abs(w).sum()) - 1.4, float(np.maximum(-w, 0.0).sum()) - 0.2, float(np.abs(w).max()) - 0.3)


def _counted(weights: Weights) -> float:
    return float((np.abs(weights.w) > 1e-8).sum() - 6)


def _held(weights: Weights) -> float:
    held = weights.w[weights.w > 1e-8]
    return float(0.04 - held.min())


def _budget(weights: Weights) -> float:
    market, w = weights.market, weights.w
    shares = w * (market.Sigma @ w) / weights.volatility**2
    return float(shares[market.names.index("AMD")] - 0.02)


def _beyond(word: str, limit: float) -> Callable[[Weights], float]:
    def missed(weights: Weights) -> float:
        r = weights.market.R @ weights.w + weights.cash * 0.02 / 252.0
        losses = np.sort(-r)[::-1]
        tail = 0.05 * len(losses)
        whole = int(tail)
        cvar = (losses[:whole].sum() + (tail - whole) * losses[whole]) / tail
        return float({"cvar": cvar, "mad": np.sqrt(252.0) * np.abs(r - r.mean()).mean()}[word] - limit) / limit

    return missed


FAMILIES: Mapping[str, Family] = {
    "none": Family(),
    "position limit": Family(_is(max_position_size=0.06), missed=lambda x: x.w.max() - 0.06),
    "limits of instruments": Family(
        _is(min_weights={"KO": 0.11}, max_weights={"AAPL": 0.01, "XOM": 0.0}),
        missed=lambda x: max(0.11 - x.of("KO"), x.of("AAPL") - 0.01, x.of("XOM")),
    ),
    "cash": Family(_is(min_cash_weight=0.05, max_cash_weight=0.2), missed=lambda x: max(0.05 - x.cash, x.cash - 0.2)),
    "sectors": Family(
        _is(max_sector_exposure=0.2, sector_limits={"Energy": common_pb2.WeightRange(minimum=0.25, maximum=0.3)}),
        missed=lambda x: max(0.25 - x.sector("Energy"), x.sector("Energy") - 0.3, x.sector("Health Care") - 0.2),
    ),
    "asset classes": Family(
        _is(max_asset_class_exposure=0.8, max_cash_weight=0.5), missed=lambda x: float(x.w.sum()) - 0.8
    ),
    "turnover": Family(_is(max_turnover=0.1), missed=lambda x: 0.5 * float(x.trades.sum()) - 0.1),
    "two-way turnover": Family(
        _is(max_turnover=0.15, turnover_definition=common_pb2.TURNOVER_DEFINITION_TWO_WAY),
        missed=lambda x: float(x.trades.sum()) - 0.15,
    ),
    "trade size": Family(
        _is(max_trade_size=0.03, max_cash_weight=0.3), missed=lambda x: float(x.trades[:-1].max()) - 0.03
    ),
    "proportional costs": Family(fields=_costs(transaction_cost_model=0.01)),
    "impact": Family(fields=_costs(market_impact=pb.MarketImpact(coefficient=0.8))),
    "commission": Family(fields={**_costs(commission_per_trade_amount="2000"), "time_limit_seconds": 1.0}),
    "tax": Family(fields={"preferences": Preferences(consider_tax_implications=True)}),
    "target volatility": Family(
        _is(target_volatility=0.12, max_cash_weight=0.9), missed=lambda x: x.volatility / 0.12 - 1.0
    ),
    "target return": Family(
        _is(target_return=0.25), missed=lambda x: 1.0 - float(x.market.mu @ x.w + 0.02 * x.cash) / 0.25
    ),
    "tracking error": Family(_is(max_tracking_error=0.15), {"benchmark_id": BENCHMARK}),
    "leverage": Family(
        _is(allow_short=True, max_gross_leverage=1.4, max_short_exposure=0.2, max_position_size=0.3), missed=_gross
    ),
    "borrowing": Family(
        _is(min_cash_weight=-0.3, max_cash_weight=-0.3, max_position_size=0.2),
        missed=lambda x: max(abs(x.cash + 0.3), x.w.max() - 0.2),
    ),
    "factor exposure": Family(_factor, missed=lambda x: abs(float(_momentum(x.market) @ x.w) - 1.0)),
    "linear": Family(_linear, missed=lambda x: 0.35 - x.of(*TECHNOLOGY)),
    "stress": Family(_stress, missed=lambda x: -0.03 - sum(r * x.of(name) for name, r in CRASH.items())),
    "few positions": Family(_is(max_positions=6, max_position_size=0.5), {"time_limit_seconds": 1.0}, _counted),
    "many positions": Family(
        _is(min_positions=15, min_position_size=0.02),
        {"time_limit_seconds": 1.0},
        lambda x: 15.0 - float((x.w >= 0.02 - 1e-8).sum()),
    ),
    "smallest position": Family(_is(min_position_size=0.04), {"time_limit_seconds": 1.0}, _held),
    "whole lots": Family(_is(whole_lots=True, max_cash_weight=0.05), {"time_limit_seconds": 1.0}),
    "quality": Family(_is(min_quality_score=3.0), missed=lambda x: float(np.abs(x.w[scores(x.market) < 3.0]).max())),
    "average quality": Family(
        _is(min_average_quality=QUALITY), missed=lambda x: QUALITY - float(scores(x.market) @ x.w)
    ),
    "risk budget": Family(
        _is(risk_budgets=[constraints_pb2.RiskBudget(instrument_id="AMD", max_share=0.02)]), missed=_budget
    ),
    "cvar limit": Family(
        _is(risk_limits=constraints_pb2.RiskLimits(max_cvar=0.015), max_cash_weight=0.9),
        missed=_beyond("cvar", 0.015),
    ),
    "mad limit": Family(
        _is(risk_limits=constraints_pb2.RiskLimits(max_mad=0.1), max_cash_weight=0.9), missed=_beyond("mad", 0.1)
    ),
    "drawdown limit": Family(
        _is(risk_limits=constraints_pb2.RiskLimits(max_drawdown=0.1), max_cash_weight=0.9),
    ),
    "all together": Family(
        _is(
            max_position_size=0.15,
            max_sector_exposure=0.3,
            max_turnover=0.4,
            max_cash_weight=0.1,
            target_volatility=0.25,
            min_quality_score=1.0,
        ),
        _costs(transaction_cost_model=0.002),
        lambda x: max(x.w.max() - 0.15, 0.5 * float(x.trades.sum()) - 0.4, x.cash - 0.1, x.volatility / 0.25 - 1.0),
    ),
}
