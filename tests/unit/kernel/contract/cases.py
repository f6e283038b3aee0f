"""One problem of the zoo: a market, an objective, a measure and families of limits, and the kernel's problem of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kernel.constraints import (
    Constraint,
    ExposureBudget,
    FixedExposures,
    LinearLimit,
    NetReturnFloor,
    NumberOfPositions,
    RiskLimit,
    SmallestPosition,
    TradeLimits,
    TurnoverLimit,
    WeightBounds,
    WholeLots,
    budget,
)
from kernel.costs import TradingCost
from kernel.measures import RiskMeasure
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError
from kernel.methods.custom import MaximizeTerms, WeightedTerm
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Moments, Problem
from kernel.scenarios import Scenarios
from kernel.terms import Concentration, CostTerm, LinearTerm, RiskTerm
from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.markets import LOT, PERIODS_PER_YEAR, Market, market

OBJECTIVES = ("risk", "return", "utility", "ratio", "terms")
MEASURES = definitions.MEASURES
COSTS = ("proportional costs", "impact", "fixed charge")
INTEGER = ("fixed charge", "positions", "smallest position", "lots")
FAMILIES = (
    "none",
    "groups",
    "turnover one-way",
    "turnover two-way",
    "trades",
    "proportional costs",
    "impact",
    "tracking error",
    "leverage",
    "neutrality",
    "linear",
    "return floor",
    "risk limit",
    "fixed charge",
    "positions",
    "smallest position",
    "lots",
)
SMALLEST_POSITION = 0.08
MOST_POSITIONS = 5
# What is asked of the custom terms beside return, risk and cost, as a part of the return at w0.
_CONCENTRATION = 0.1
# Pairs of scenarios, or a search over exempt ones.
_NEED_FEW_SCENARIOS = ("gini", "var")


@dataclass(frozen=True)
class Case:
    """A problem in words and plain numbers; `limits_at` says at which portfolio risk limits just hold."""

    market_name: str
    objective: str
    measure: str
    families: tuple[str, ...]

    @property
    def id(self) -> str:
        return " | ".join((self.market_name, self.objective, self.measure, "+".join(self.families)))

    @cached_property
    def market(self) -> Market:
        words = (self.measure, self.other_measure) if "risk limit" in self.families else (self.measure,)
        small = self.is_integer or any(word in _NEED_FEW_SCENARIOS for word in words)
        found = market(self.market_name, small=small)
        if "leverage" not in self.families:
            return found
        return replace(found, lower=np.full(found.n, -0.15))

    @property
    def is_integer(self) -> bool:
        return any(family in INTEGER for family in self.families)

    @property
    def has_cost(self) -> bool:
        return any(family in COSTS for family in self.families)

    @property
    def other_measure(self) -> str:
        """The measure of the family "risk limit"."""
        return MEASURES[(MEASURES.index(self.measure) + 4) % len(MEASURES)]

    @property
    def reference(self) -> float:
        """What the ratio's return is counted from: for the information ratio the benchmark's return."""
        if self.measure == "tracking_error":
            return float(self.market.mu @ self.market.benchmark)
        return self.market.risk_free

    def typical_risk(self, word: str) -> float:
        """Of the current portfolio; of one that tracks its benchmark exactly a part of the volatility."""
        volatility = definitions.risk("volatility", self.market, self.market.w0)
        at_w0 = definitions.risk(word, self.market, self.market.w0)
        return 0.05 * volatility if word == "tracking_error" and at_w0 < 1e-9 * volatility else at_w0

    def risk_limit(self, word: str) -> float:
        """A little more than w0 has."""
        return definitions.risk(word, self.market, self.market.w0) + 0.02 * self.typical_risk(word)

    @property
    def aversion(self) -> float:
        """Such that risk counts for half the return at w0."""
        size = abs(float(self.market.mu @ self.market.w0))
        return 0.5 * size / definitions.penalty(self.measure, self.typical_risk(self.measure))

    @property
    def dislike(self) -> dict[str, float]:
        """The custom terms' coefficients of risk and concentration."""
        size = abs(float(self.market.mu @ self.market.w0))
        return {"risk": 0.5 * size / self.typical_risk(self.measure), "concentration": _CONCENTRATION * size}

    def problem(self) -> Problem:
        """The same in the kernel's terms."""
        market = self.market
        constraints: list[Constraint] = [budget(market.n), bounds(market)]
        for family in self.families:
            constraints += _LIMITS[family](self) if family in _LIMITS else []
        measure = kernel_measure(self.measure, market)
        if self.objective == "return":
            constraints.append(RiskLimit("risk", measure, self.risk_limit(self.measure)))
        return Problem(moments(market), self._objective(), measure, tuple(constraints), self.cost())

    def cost(self) -> TradingCost | None:
        if not self.has_cost:
            return None
        market, zero = self.market, np.zeros(self.market.n)
        proportional, fixed = "proportional costs" in self.families, "fixed charge" in self.families
        return TradingCost(
            market.rates if proportional else zero,
            market.w0,
            market.sale_rates if proportional else None,
            market.impact if "impact" in self.families else None,
            market.charges if fixed else None,
            np.maximum(market.upper - market.w0, market.w0 - market.lower) if fixed else None,
        )

    def _objective(self) -> Objective:
        match self.objective:
            case "risk":
                return MinimizeRisk(self.aversion)
            case "return":
                return MaximizeReturn()
            case "utility":
                return MaximizeUtility(self.aversion)
            case "ratio":
                return MaximizeRatio(self.reference)
        return self._terms()

    def _terms(self) -> MaximizeTerms:
        market, dislike, cost = self.market, self.dislike, self.cost()
        members = np.ones(market.n, dtype=bool)
        terms = [
            WeightedTerm(LinearTerm("return", market.mu), 1.0),
            WeightedTerm(RiskTerm("risk", kernel_measure(self.measure, market)), -dislike["risk"]),
            WeightedTerm(Concentration("concentration", members), -dislike["concentration"]),
        ]
        if cost is not None:
            terms.append(WeightedTerm(CostTerm("cost", cost), -1.0))
        return MaximizeTerms(tuple(terms))


def scenarios(market: Market) -> Scenarios:
    return Scenarios(market.names, market.R.copy(), market.p.copy(), PERIODS_PER_YEAR)


def kernel_measure(word: str, market: Market) -> RiskMeasure:
    """The kernel's measure of a word."""
    if word == "tracking_error":
        return TrackingError.against_weights(moments(market), market.benchmark)
    target = market.target if word == "semi_deviation below target" else None
    settings = MeasureSettings(market.confidence, target)
    return make_measure(word.removesuffix(" below target"), moments(market), scenarios(market), settings)


def moments(market: Market) -> Moments:
    return Moments(market.names, market.mu.copy(), market.covariance)


def bounds(market: Market) -> WeightBounds:
    names = market.names
    return WeightBounds(market.lower, market.upper, tuple(f"min {a}" for a in names), tuple(f"max {a}" for a in names))


def _groups(case: Case) -> list[Constraint]:
    return [LinearLimit(member, low, high, f"{g} min", f"{g} max") for g, member, low, high in case.market.groups]


def _leverage(case: Case) -> list[Constraint]:
    everyone = np.ones(case.market.n, dtype=bool)
    sides = {"gross": 1.4, "long": 1.25, "short": 0.22}
    net = LinearLimit(np.ones(case.market.n), 0.8, 1.1, "net min", "net max", "leverage")
    return [*(ExposureBudget(side, side, limit, everyone) for side, limit in sides.items()), net]


def _neutrality(case: Case) -> list[Constraint]:
    return [FixedExposures("neutral", case.market.neutral[:, None], np.zeros(1))]


def _linear(case: Case) -> list[Constraint]:
    """A factor's exposure between limits, and a floor under a stress scenario's return."""
    market = case.market
    exposure, stressed = float(market.style @ market.w0), float(market.stress @ market.w0)
    floor = stressed - 0.01 * market.scale
    return [
        LinearLimit(market.style, exposure - 0.05, exposure + 0.05, "style min", "style max", "exposure"),
        LinearLimit(market.stress, floor, np.inf, "stress", "no limit", "return"),
    ]


def _return_floor(case: Case) -> list[Constraint]:
    market = case.market
    floor = float(market.mu @ market.w0) - 0.005 * market.scale
    return [NetReturnFloor("return floor", market.mu, floor, case.cost())]


def _tracking(case: Case) -> list[Constraint]:
    return [RiskLimit("tracking", kernel_measure("tracking_error", case.market), case.risk_limit("tracking_error"))]


def _risk_limit(case: Case) -> list[Constraint]:
    word = case.other_measure
    return [RiskLimit("other risk", kernel_measure(word, case.market), case.risk_limit(word))]


def _positions(case: Case) -> list[Constraint]:
    market = case.market
    reach = np.maximum(market.upper, -market.lower)
    return [NumberOfPositions("positions", MOST_POSITIONS, tuple(range(market.n)), reach)]


def _smallest(case: Case) -> list[Constraint]:
    return [SmallestPosition("smallest", SMALLEST_POSITION, tuple(range(case.market.n)))]


def _lots(case: Case) -> list[Constraint]:
    """The last asset is cash-like: it takes any weight."""
    n = case.market.n
    return [WholeLots("lots", np.full(n, LOT), tuple(range(max(n - 1, 1))))]


_LIMITS = {
    "groups": _groups,
    "turnover one-way": lambda case: [TurnoverLimit("turnover", 0.15, case.market.w0)],
    "turnover two-way": lambda case: [TurnoverLimit("turnover", 0.2, case.market.w0, 1.0)],
    "trades": lambda case: [TradeLimits(_trade_names(case.market), case.market.trade_limits, case.market.w0)],
    "tracking error": _tracking,
    "leverage": _leverage,
    "neutrality": _neutrality,
    "linear": _linear,
    "return floor": _return_floor,
    "risk limit": _risk_limit,
    "positions": _positions,
    "smallest position": _smallest,
    "lots": _lots,
}


def _trade_names(market: Market) -> tuple[str, ...]:
    return tuple(f"trade {a}" for a in market.names)
