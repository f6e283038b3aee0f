"""Random limits as plain data: the kernel's constraints on one side, cvxpy's on the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache

import cvxpy as cp
import numpy as np

from kernel.canonical import Vector
from kernel.constraints import Constraint, LinearLimit, NetReturnFloor, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.measures.volatility import TrackingError, Variance
from kernel.objectives import MinimizeRisk, Objective
from kernel.problem import Moments, Problem
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import factor_moments

# Further apart than this, two limits conflict for certain; closer, cvxpy's solver may not tell.
CLEAR = 1e-6
_FINE = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: `kind` says on what, `data` holds its vector (an asset, a membership, held or benchmark weights)."""

    name: str
    kind: str
    limit: float
    data: Vector

    @property
    def sense(self) -> str:
        return ">=" if self.kind in ("floor", "least", "return") else "=" if self.kind == "exactly" else "<="

    def loosened(self, change: float) -> Limit:
        return replace(self, limit=self.limit + (-change if self.sense == ">=" else change))


@dataclass(frozen=True, slots=True)
class Posed:
    """A problem: weights >= 0 that add up to 1, and its limits."""

    moments: Moments
    limits: tuple[Limit, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(limit.name for limit in self.limits)

    def with_limits(self, values: Mapping[str, float]) -> Posed:
        changed = tuple(replace(each, limit=values.get(each.name, each.limit)) for each in self.limits)
        return replace(self, limits=changed)

    def permuted(self, order: Vector) -> Posed:
        """The same with assets in another order, and the limits too."""
        m = self.moments
        moments = Moments(tuple(m.names[i] for i in order), m.mu[order], m.Sigma[np.ix_(order, order)].copy())
        limits = tuple(replace(each, data=each.data[order]) for each in reversed(self.limits))
        return Posed(moments, limits)

    def problem(self, objective: Objective | None = None) -> Problem:
        n = self.moments.n
        basic: list[Constraint] = [
            budget(n),
            WeightBounds(np.zeros(n), np.ones(n), ("long_only",) * n, ("no_leverage",) * n),
        ]
        own = [_constraint(self.moments, each) for each in self.limits]
        return Problem(self.moments, objective or MinimizeRisk(), Volatility(self.moments), (*basic, *own))

    def excess(self, held: Collection[str]) -> float:
        """The least t for which every limit in `held` holds but for t, by cvxpy."""
        w, t = cp.Variable(self.moments.n), cp.Variable()
        rows = [cp.sum(w) == 1, w >= 0]
        for each in self.limits:
            if each.name in held:
                value = _value(self.moments, each, w)
                rows.append(_row(each, value, t))
        program = cp.Problem(cp.Minimize(t), rows if len(rows) > 2 else [*rows, t >= 0])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            program.solve(solver=cp.CLARABEL, **_FINE)
        assert program.status in ("optimal", "optimal_inaccurate"), program.status
        return float(program.value)

    def least_total(self, elastic: Collection[str]) -> float:
        """The least sum of changes of the limits `elastic`, by cvxpy; a variance counts by its root."""
        w, e = cp.Variable(self.moments.n), cp.Variable(len(self.limits), nonneg=True)
        rows = [cp.sum(w) == 1, w >= 0]
        for k, each in enumerate(self.limits):
            rows.append(_row(each, _value(self.moments, each, w), e[k]))
            if each.name not in elastic:
                rows.append(e[k] == 0)
        program = cp.Problem(cp.Minimize(cp.sum(e)), rows)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            program.solve(solver=cp.CLARABEL, **_FINE)
        return float(program.value) if program.status.startswith("optimal") else np.inf


def _row(limit: Limit, value, room):
    bound = np.sqrt(limit.limit) if limit.kind == "variance" else limit.limit
    match limit.sense:
        case "<=":
            return value <= bound + room
        case ">=":
            return value >= bound - room
        case _:
            return cp.abs(value - bound) <= room


def _value(moments: Moments, limit: Limit, w):
    """What is limited; of the variance its root, so that it is a norm like the others."""
    match limit.kind:
        case "cap" | "floor" | "most" | "least" | "exactly":
            return limit.data @ w
        case "turnover":
            return 0.5 * cp.norm1(w - limit.data)
        case "return":
            return moments.mu @ w - 0.01 * cp.norm1(w - limit.data)
        case "volatility" | "variance":
            return cp.norm(root(moments.Sigma) @ w)
        case "tracking error":
            return cp.norm(root(moments.Sigma) @ (w - limit.data))
    raise AssertionError(limit.kind)


def _constraint(moments: Moments, limit: Limit) -> Constraint:
    name, n, bound, data = limit.name, moments.n, limit.limit, limit.data
    free, never = ("long_only",) * n, ("no_leverage",) * n
    own = tuple(
        name if held else other for held, other in zip(data, never if limit.kind == "cap" else free, strict=True)
    )
    risks = {"volatility": Volatility(moments), "variance": Variance(moments)}
    makers: dict[str, Callable[[], Constraint]] = {
        "cap": lambda: WeightBounds(np.zeros(n), np.where(data > 0, bound, 1.0), free, own),
        "floor": lambda: WeightBounds(np.where(data > 0, bound, 0.0), np.ones(n), own, never),
        "most": lambda: LinearLimit(data, -np.inf, bound, "none", name),
        "least": lambda: LinearLimit(data, bound, np.inf, name, "none"),
        "exactly": lambda: LinearLimit(data, bound, bound, name, name),
        "turnover": lambda: TurnoverLimit(name, bound, data),
        "return": lambda: NetReturnFloor(name, moments.mu, bound, TradingCost(np.full(n, 0.01), data)),
        "tracking error": lambda: RiskLimit(name, TrackingError.against_weights(moments, data), bound),
    }
    return RiskLimit(name, risks[limit.kind], bound) if limit.kind in risks else makers[limit.kind]()


_LINEAR = ("cap", "cap", "cap", "floor", "floor", "most", "most", "least", "least", "exactly", "turnover", "return")
_CONIC = ("cap", "cap", "floor", "most", "least", "turnover", "return", "volatility", "variance", "tracking error")


@cache
def infeasible(seed: int, *, conic: bool) -> Posed:
    """A random problem that cvxpy finds clearly infeasible."""
    rng = np.random.default_rng([seed, int(conic)])
    while True:
        posed = _drawn(rng, conic=conic)
        if posed.excess(posed.names) > 1e-3:
            return posed


def _drawn(rng: np.random.Generator, *, conic: bool) -> Posed:
    n = int(rng.integers(6, 10))
    moments = factor_moments(int(rng.integers(1000)), n)
    kinds = rng.choice(_CONIC if conic else _LINEAR, size=int(rng.integers(5, 9)))
    return Posed(moments, tuple(_limit(rng, moments, str(kind), k) for k, kind in enumerate(kinds)))


def _limit(rng: np.random.Generator, moments: Moments, kind: str, k: int) -> Limit:
    """A limit that is a little too tight for a portfolio of its own."""
    n = moments.n
    w, held = rng.dirichlet(np.full(n, 0.6)), rng.dirichlet(np.full(n, 0.6))
    member = np.zeros(n)
    member[rng.choice(n, size=1 if kind in ("cap", "floor") else 3, replace=False)] = 1.0
    match kind:
        case "cap" | "floor" | "most" | "least" | "exactly":
            data, value = member, float(member @ w)
        case "turnover":
            data, value = held, 0.5 * float(np.abs(w - held).sum())
        case "return":
            data, value = held, float(moments.mu @ w - 0.01 * np.abs(w - held).sum())
        case "volatility":
            data, value = held, moments.volatility(w)
        case "variance":
            data, value = held, moments.volatility(w) ** 2
        case _:
            data, value = held, moments.volatility(w - held)
    tightening = float(rng.uniform(0.9, 1.3)) if kind in ("floor", "least", "return") else float(rng.uniform(0.5, 1.0))
    return Limit(f"{kind} {k}", kind, tightening * value, data)
