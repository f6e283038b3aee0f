"""The zoo's problems in the weights themselves, for cvxpy: each measure and limit as the textbooks write it.

No ratio is homogenised here: it is found by Dinkelbach's iteration. Integers are searched depth first over cvxpy's
relaxations. What a measure or limit is at given weights comes from `definitions`, or from cvxpy's own evaluation.

References: Dinkelbach (1967).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import cvxpy as cp
import numpy as np

from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import LOT, MOST_POSITIONS, SMALLEST_POSITION, Case
from tests.unit.kernel.contract.markets import PERIODS_PER_YEAR, Market

_ROOT_OF_YEAR = np.sqrt(PERIODS_PER_YEAR)
_INTEGRAL = 1e-6
# What a node must promise beyond the best so far; values are of the size 0.01 to 1.
_WORTHWHILE = 1e-9
_HELD = 1e-8
_OPTIONS = {
    "ECOS": {"abstol": 1e-11, "reltol": 1e-11, "feastol": 1e-11, "max_iters": 200},
    "CLARABEL": {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12},
    "HIGHS": {"mip_rel_gap": 1e-9, "mip_abs_gap": 1e-10, "mip_feasibility_tolerance": 1e-9},
}


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


class NoAnswerError(Exception):
    """The solver came to no conclusion."""


@dataclass
class Search:
    """The greatest value of a goal: one solve, or over whole expressions HiGHS where all is linear, else depth first.

    Attributes:
        known: A value that feasible weights have: only better ones are searched for.
    """

    model: Model
    goal: cp.Expression
    solver: str
    known: float = -np.inf
    best: float = -np.inf
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        model = self.model
        constraints = [row.left <= row.limit for row in model.rows if row.left is not None]
        constraints += model.definitions
        self._whole = cp.hstack(model.whole) if model.whole else None
        self._linear = None
        if self._whole is not None:
            size = self._whole.size
            if self.goal.is_pwl() and all(constraint.is_dcp() and _is_linear(constraint) for constraint in constraints):
                integers = [*constraints, self._whole == cp.Variable(size, integer=True)]
                self._linear = cp.Problem(cp.Maximize(self.goal), integers)
            self._low, self._high = cp.Parameter(size), cp.Parameter(size)
            constraints += [self._whole >= self._low, self._whole <= self._high]
        self._program = cp.Problem(cp.Maximize(self.goal), constraints)

    def run(self) -> float:
        """The greatest value; -inf where nothing is feasible."""
        self.best, self.weights = self.known, None
        if self._whole is None:
            if self._relax(self._program, self.solver):
                self._keep()
        elif self._linear is not None:
            if self._relax(self._linear, "HIGHS"):
                self._settle(np.round(self._whole.value))
        else:
            size = self._whole.size
            self._branch(np.full(size, -1e3), np.full(size, 1e3))
        return self.best

    def _branch(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low.value, self._high.value = low, high
        if not self._relax(self._program, self.solver) or self._program.value <= self.best + _WORTHWHILE:
            return
        values = self._whole.value
        distance = np.abs(values - np.round(values))
        k = int(np.argmax(distance))
        if distance[k] < _INTEGRAL:
            self._settle(np.round(values))
            return
        below, above = high.copy(), low.copy()
        below[k], above[k] = np.floor(values[k]), np.ceil(values[k])
        branches = [(low, below), (above, high)]
        for branch in branches if values[k] % 1.0 < 0.5 else reversed(branches):
            self._branch(*branch)

    def _settle(self, values: np.ndarray) -> None:
        """Exactly whole, so that big coefficients do not profit from what is nearly so."""
        self._low.value = self._high.value = values
        if self._relax(self._program, self.solver):
            self._keep()

    def _keep(self) -> None:
        if self._program.value > self.best:
            self.best, self.weights = float(self._program.value), np.array(self.model.w.value)

    def _relax(self, program: cp.Problem, solver: str) -> bool:
        """Solve; whether there is a solution."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            # cvxpy's own bounds of expressions multiply nothing by infinity.
            warnings.filterwarnings("ignore", message="invalid value encountered in matmul")
            try:
                program.solve(solver=solver, **_OPTIONS[solver])
            except cp.SolverError as error:
                raise NoAnswerError(str(error)) from error
        if program.status in ("infeasible", "infeasible_inaccurate"):
            return False
        if program.status not in ("optimal", "optimal_inaccurate"):
            raise NoAnswerError(program.status)
        return True


def _is_linear(constraint: cp.Constraint) -> bool:
    return isinstance(constraint, cp.constraints.Inequality) and constraint.expr.is_pwl()


def optimum(case: Case, solver: str, feasible: np.ndarray | None = None) -> float | None:
    """The best value of a case's objective; None for a ratio without a positive excess.

    Args:
        case: Of returns of the usual size.
        solver: For cvxpy.
        feasible: (n,) weights that meet all limits, from which a search over integers may begin.
    """
    model = pose(case)
    goal = _goal(model)
    known = -np.inf
    if feasible is not None and model.whole:
        known = value(case, feasible) * (-1.0 if case.objective == "risk" else 1.0)
    if case.objective == "ratio":
        return _best_ratio(model, goal, solver, max(known, 0.0))
    best = Search(model, goal, solver, known).run()
    return -best if case.objective == "risk" else best


def _goal(model: Model) -> cp.Expression:
    """What is maximised; of a ratio the excess return."""
    case = model.case
    charge = cost(model)
    net = case.market.mu @ model.w - charge
    if case.objective == "return":
        return net
    if case.objective == "ratio":
        return net - case.reference
    found = risk(model, case.measure)
    penalty = 0.5 * found if case.measure == "variance" else found
    if case.measure in definitions.QUADRATIC:
        penalty = 0.5 * cp.square(found)
    if case.objective == "risk":
        return -case.aversion * penalty - charge if case.has_cost else -found
    if case.objective == "utility":
        return net - case.aversion * penalty
    dislike = case.dislike
    return net - dislike["risk"] * found - dislike["concentration"] * cp.sum_squares(model.w)


def value(case: Case, w: np.ndarray) -> float:
    """The objective at w by the definitions."""
    found, charge = definitions.risk(case.measure, case.market, w), cost_of(case, w)
    penalty = definitions.penalty(case.measure, found)
    net = float(case.market.mu @ w) - charge
    match case.objective:
        case "risk":
            return case.aversion * penalty + charge if case.has_cost else found
        case "return":
            return net
        case "utility":
            return net - case.aversion * penalty
        case "ratio":
            return (net - case.reference) / found if found else 0.0
    return net - case.dislike["risk"] * found - case.dislike["concentration"] * float(w @ w)


def _best_ratio(model: Model, excess: cp.Expression, solver: str, known: float) -> float | None:
    """The theta at which the best of ``excess - theta risk`` is zero: each one's optimum gives the next."""
    case = model.case
    theta = cp.Parameter(nonneg=True, value=known)
    search = Search(model, excess - theta * risk(model, case.measure), solver, 0.0 if known else -np.inf)
    if search.run() <= _WORTHWHILE:
        return known or None
    for _ in range(50):
        found = value(case, search.weights)
        if found <= theta.value * (1.0 + 1e-9):
            return float(theta.value)
        theta.value, search.known = found, 0.0
        if search.run() <= 1e-12:
            return found
    raise NoAnswerError("the ratio has not settled")
