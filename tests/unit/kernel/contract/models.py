"""The zoo's problems in the weights themselves, for cvxpy: each measure and limit as the textbooks write it.

What a measure or limit is at given weights comes from `definitions`, or from cvxpy's own evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import cvxpy as cp
import numpy as np

from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import LOT, MOST_POSITIONS, SMALLEST_POSITION, Case
from tests.unit.kernel.contract.markets import PERIODS_PER_YEAR, Market

_ROOT_OF_YEAR = np.sqrt(PERIODS_PER_YEAR)
_HELD = 1e-8


@dataclass(frozen=True)
class Row:
    """left <= limit; of a limit from below both stand with the other sign.

    Attributes:
        measured: Gives the left side at weights where cvxpy's own evaluation would not.
        unit: What one means at returns of the usual size.
    """

    name: str
    left: cp.Expression | None
    limit: float
    measured: Callable[[np.ndarray], float] | None = None
    sign: float = 1.0
    unit: float = 1.0


@dataclass
class Model:
    """A case in cvxpy's terms: named rows, what defines auxiliaries, and expressions that must be whole."""

    case: Case
    w: cp.Variable
    rows: list[Row] = field(default_factory=list)
    definitions: list[cp.Constraint] = field(default_factory=list)
    whole: list[cp.Expression] = field(default_factory=list)

    @property
    def market(self) -> Market:
        return self.case.market

    def violation(self, w: np.ndarray) -> float:
        """The largest, in weights or returns of the usual size."""
        self.w.value = w
        return max(self._excess(row, w) for row in self.rows)

    def _excess(self, row: Row, w: np.ndarray) -> float:
        left = row.left.value if row.measured is None else row.measured(w)
        return float(left - row.limit) / row.unit


def pose(case: Case) -> Model:
    """Budget, bounds and the families' limits."""
    model = Model(case, cp.Variable(case.market.n))
    w, market = model.w, case.market
    _equal(model, "budget", cp.sum(w), 1.0)
    for i, name in enumerate(market.names):
        model.rows += [_at_least(f"min {name}", w[i], market.lower[i]), Row(f"max {name}", w[i], market.upper[i])]
    for family in case.families:
        if family in _LIMITS:
            _LIMITS[family](model)
    if case.objective == "return":
        limit_risk(model, "risk", case.measure)
    return model


def limit_risk(model: Model, name: str, word: str) -> None:
    """A risk limit a little above the current portfolio's risk."""
    market = model.market
    left = risk(model, word)
    unit = market.scale ** (2 if word == "variance" else 1)
    measured = partial(definitions.risk, word, market)
    model.rows.append(Row(name, left, model.case.risk_limit(word), measured, unit=unit))


def risk(model: Model, word: str) -> cp.Expression:
    """A measure of the model's weights."""
    market = model.market
    r = market.R @ model.w
    match word:
        case "volatility":
            return cp.norm(market.centred @ model.w)
        case "variance":
            return cp.sum_squares(market.centred @ model.w)
        case "tracking_error":
            return cp.norm(market.centred @ (model.w - market.benchmark))
        case "cvar":
            return _mean_of_worst(-r, market.p, market.confidence)
        case "evar":
            return _entropic(model, -r[market.p > 0])
        case "var":
            return _value_at_risk(model, -r)
        case "worst_realization":
            return cp.max(-r[market.p > 0])
    return _of_drawdowns(word, market, r) if word in definitions.PATHS else _of_deviations(model, word, r)


def _of_deviations(model: Model, word: str, r: cp.Expression) -> cp.Expression:
    market, p = model.market, model.market.p
    match word:
        case "semi_deviation":
            return _ROOT_OF_YEAR * cp.norm(cp.multiply(np.sqrt(p), cp.neg(r - p @ r)))
        case "semi_deviation below target":
            return _ROOT_OF_YEAR * cp.norm(cp.multiply(np.sqrt(p), cp.neg(r - market.target)))
        case "mad":
            return _ROOT_OF_YEAR * (p @ cp.abs(r - p @ r))
    assert word == "gini", word
    i, j = np.triu_indices(market.days, k=1)
    return _ROOT_OF_YEAR * 2.0 * ((p[i] * p[j]) @ cp.abs((market.R[i] - market.R[j]) @ model.w))


def _mean_of_worst(losses: cp.Expression, p: np.ndarray, c: float) -> cp.Expression:
    """Of equal probabilities the k largest, between whole k in proportion; else Rockafellar and Uryasev's minimum."""
    if np.ptp(p) > 0.0:
        x = cp.Variable()
        return x + p @ cp.pos(losses - x) / (1.0 - c)
    k = (1.0 - c) * len(p)
    if k <= 1.0:
        return cp.max(losses)
    whole, part = int(k), k - int(k)
    return ((1.0 - part) * cp.sum_largest(losses, whole) + part * cp.sum_largest(losses, whole + 1)) / k


def _entropic(model: Model, losses: cp.Expression) -> cp.Expression:
    """t - z ln(1 - c) with z ln E exp((L - t) / z) <= 0."""
    p = model.market.p[model.market.p > 0]
    t, z, u = cp.Variable(), cp.Variable(), cp.Variable(len(p))
    # In percent, so that the exponential cones see numbers around one.
    model.definitions += [cp.ExpCone(100.0 * losses - t, z * np.ones(len(p)), u), p @ u <= z]
    return (t - z * np.log(1.0 - model.market.confidence)) / 100.0


def _value_at_risk(model: Model, losses: cp.Expression) -> cp.Expression:
    """Losses above x only in scenarios of a probability up to 1 - c."""
    market = model.market
    x, z = cp.Variable(), cp.Variable(market.days)
    largest = 2.0 * np.abs(market.R).max() * np.maximum(np.abs(market.upper), np.abs(market.lower)).sum()
    reach = min(largest, 4.0 * np.abs(market.R).max())
    model.definitions += [losses - x <= reach * z, z >= 0, z <= 1, market.p @ z <= 1.0 - market.confidence + 1e-12]
    model.whole.append(z)
    return x


def _of_drawdowns(word: str, market: Market, r: cp.Expression) -> cp.Expression:
    wealth = cp.hstack([0.0, cp.cumsum(r)])
    d = cp.pos((cp.cummax(wealth) - wealth)[1:])  # their sign is not seen otherwise
    match word:
        case "max_drawdown":
            return cp.max(d)
        case "average_drawdown":
            return market.p @ d
        case "ulcer":
            return cp.norm(cp.multiply(np.sqrt(market.p), d))
    assert word == "cdar", word
    return _mean_of_worst(d, market.p, market.confidence)


def cost(model: Model) -> cp.Expression:
    """What trading to the model's weights costs."""
    market, families = model.market, model.case.families
    change = model.w - market.w0
    total = cp.Constant(0.0)
    if "proportional costs" in families:
        total += market.rates @ cp.abs(change) + market.sale_rates @ cp.neg(change)
    if "impact" in families:
        total += market.impact @ cp.power(cp.abs(change), 1.5)
    if "fixed charge" in families:
        z = cp.Variable(market.n)
        largest = np.maximum(market.upper - market.w0, market.w0 - market.lower)
        model.definitions += [cp.abs(change) <= cp.multiply(largest, z), z >= 0, z <= 1]
        model.whole.append(z)
        total += market.charges @ z
    return total


def cost_of(case: Case, w: np.ndarray) -> float:
    """The same of given weights."""
    market, families = case.market, case.families
    size, sold = np.abs(w - market.w0), np.maximum(market.w0 - w, 0.0)
    total = 0.0
    if "proportional costs" in families:
        total += market.rates @ size + market.sale_rates @ sold
    if "impact" in families:
        total += market.impact @ size**1.5
    if "fixed charge" in families:
        total += market.charges @ (size > _HELD)
    return float(total)


def _at_least(name: str, left: cp.Expression, limit: float) -> Row:
    return Row(name, -left, -limit, sign=-1.0)


def _equal(model: Model, name: str, left: cp.Expression, right: float) -> None:
    model.rows += [Row(name, left, right), _at_least(name, left, right)]


def _groups(model: Model) -> None:
    for name, member, low, high in model.market.groups:
        left = member @ model.w
        model.rows += [_at_least(f"{name} min", left, low), Row(f"{name} max", left, high)]


def _trades(model: Model) -> None:
    market = model.market
    for i, name in enumerate(market.names):
        model.rows.append(Row(f"trade {name}", cp.abs(model.w[i] - market.w0[i]), market.trade_limits[i]))


def _leverage(model: Model) -> None:
    w = model.w
    model.rows += [
        Row("gross", cp.norm1(w), 1.4),
        Row("long", cp.sum(cp.pos(w)), 1.25),
        Row("short", cp.sum(cp.neg(w)), 0.22),
        Row("net max", cp.sum(w), 1.1),
        _at_least("net min", cp.sum(w), 0.8),
    ]


def _linear(model: Model) -> None:
    market = model.market
    exposure, stressed = float(market.style @ market.w0), float(market.stress @ market.w0)
    model.rows += [
        Row("style max", market.style @ model.w, exposure + 0.05),
        _at_least("style min", market.style @ model.w, exposure - 0.05),
        replace(_at_least("stress", market.stress @ model.w, stressed - 0.01 * market.scale), unit=market.scale),
    ]


def _return_floor(model: Model) -> None:
    market, case = model.market, model.case
    left = cost(model) - market.mu @ model.w
    limit = 0.005 * market.scale - float(market.mu @ market.w0)

    def measured(w: np.ndarray) -> float:
        return cost_of(case, w) - float(market.mu @ w)

    model.rows.append(Row("return floor", left, limit, measured, -1.0, market.scale))


def _positions(model: Model) -> None:
    market = model.market
    z = cp.Variable(market.n)
    reach = np.maximum(market.upper, -market.lower)
    model.definitions += [cp.abs(model.w) <= cp.multiply(reach, z), z >= 0, z <= 1]
    model.whole.append(z)
    model.rows.append(Row("positions", cp.sum(z), MOST_POSITIONS, lambda w: float((np.abs(w) > _HELD).sum())))


def _smallest(model: Model) -> None:
    """Zero, long from the threshold on, or short from it on."""
    market, w = model.market, model.w
    p, s = cp.Variable(market.n), cp.Variable(market.n)
    model.definitions += [p >= 0, s >= 0, p + s <= 1]
    model.definitions += [w <= cp.multiply(market.upper, p) - SMALLEST_POSITION * s]
    model.definitions += [w >= SMALLEST_POSITION * p - cp.multiply(-market.lower, s)]
    model.whole += [p, s]

    def distance(weights: np.ndarray) -> float:
        size = np.abs(weights)
        return float(np.minimum(size, np.maximum(SMALLEST_POSITION - size, 0.0)).max())

    model.rows.append(Row("smallest", None, 0.0, distance))


def _lots(model: Model) -> None:
    count = max(model.market.n - 1, 1)
    model.whole.append(model.w[:count] / LOT)

    def distance(weights: np.ndarray) -> float:
        return float(np.abs(weights[:count] - LOT * np.round(weights[:count] / LOT)).max())

    model.rows.append(Row("lots", None, 0.0, distance))


_LIMITS: dict[str, Callable[[Model], None]] = {
    "groups": _groups,
    "turnover one-way": lambda m: m.rows.append(Row("turnover", 0.5 * cp.norm1(m.w - m.market.w0), 0.15)),
    "turnover two-way": lambda m: m.rows.append(Row("turnover", cp.norm1(m.w - m.market.w0), 0.2)),
    "trades": _trades,
    "tracking error": lambda m: limit_risk(m, "tracking", "tracking_error"),
    "leverage": _leverage,
    "neutrality": lambda m: _equal(m, "neutral", m.market.neutral @ m.w, 0.0),
    "linear": _linear,
    "return floor": _return_floor,
    "risk limit": lambda m: limit_risk(m, "other risk", m.case.other_measure),
    "positions": _positions,
    "smallest position": _smallest,
    "lots": _lots,
}
