"""Nested clusters: optimal portfolios within clusters, and an optimal portfolio of these portfolios.

    V (n, k)  column c: the weights within cluster c        W (k,)  the weights of the columns as assets        w = V W

The moments of the columns are V'mu and V'Sigma V, their scenarios R V. All weights are long only and add up to 1.

References: Lopez de Prado (2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import WeightBounds, budget
from kernel.errors import ProblemError
from kernel.hierarchy.clustering import Dendrogram
from kernel.hierarchy.universe import Universe
from kernel.methods.balance_risk import BalanceRisk
from kernel.methods.equal_contributions import contribute
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MinimizeRisk, Objective
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

PROGRAMS = ("minimize_risk", "maximize_sharpe", "risk_parity")
OBJECTIVES = (*PROGRAMS, "equal_weight", "inverse_volatility")


@dataclass(frozen=True, slots=True)
class Goal:
    """What is best within and between clusters.

    Attributes:
        objective: A word of `OBJECTIVES`; ``inverse_volatility`` is by the risk measure, whichever it is.
        reference: Annual return that counts as nothing in ``maximize_sharpe``.
    """

    objective: str = "minimize_risk"
    reference: float = 0.0


@dataclass(frozen=True, slots=True)
class Nested:
    """Weights, or the part that has none.

    Attributes:
        weights: (n,) >= 0, sum 1; None where a part has no answer.
        failure: Of that part.
        note: Parts whose ratio has no meaning and that are of least risk instead; empty without.
    """

    weights: Vector | None
    failure: Solution | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """The weights of one program, or its failure."""

    weights: Vector | None
    fell_back: bool = False
    failure: Solution | None = None


def nested_clusters(universe: Universe, tree: Dendrogram, clusters: int, goal: Goal, settings: Settings) -> Nested:
    """Weights of nested clusters.

    Args:
        universe: The assets.
        tree: Of the same assets.
        clusters: Their number, 1 to n.
        goal: What is best.
        settings: Of the programs.

    Raises:
        ProblemError: The goal is unknown or does not go with the measure, an asset has no risk where that counts, or
            the number lies outside its range.
    """
    _require_goal(universe, goal)
    # The ratio and the contributions of the variance are those of the volatility.
    universe = replace(universe, risk_measure="volatility") if universe.of_covariance else universe
    labels = tree.labels(clusters)
    V, fallen = np.zeros((tree.n, clusters)), []
    for label in range(clusters):
        kept = np.flatnonzero(labels == label)
        part = _solve(universe.of(kept), goal, settings)
        if part.weights is None:
            return _failed(part, f"within cluster {label}")
        V[kept, label] = part.weights
        fallen += [f"cluster {label}"] if part.fell_back else []
    part = _solve(universe.held_as(V, tuple(f"cluster {label}" for label in range(clusters))), goal, settings)
    if part.weights is None:
        return _failed(part, "between clusters")
    fallen += ["the clusters together"] if part.fell_back else []
    w = V @ part.weights
    note = f"of least risk instead, as their ratio has no meaning: {', '.join(fallen)}" if fallen else ""
    return Nested(w / w.sum(), note=note)


def _require_goal(universe: Universe, goal: Goal) -> None:
    if goal.objective not in OBJECTIVES:
        reason = f"must be one of {', '.join(OBJECTIVES)}, not {goal.objective!r}"
        raise ProblemError("hierarchy.nested_objective", reason)
    if universe.risk_measure == "var" and goal.objective in PROGRAMS:
        raise ProblemError("risk_measure", f"var is not convex, so clusters cannot be nested by {goal.objective}")


def _failed(part: _Part, where: str) -> Nested:
    assert part.failure is not None
    status = part.failure.status
    return Nested(None, Solution(status, f"{where}: {part.failure.message}", numbers=part.failure.numbers))


def _solve(universe: Universe, goal: Goal, settings: Settings) -> _Part:
    n = len(universe.names)
    if n == 1 or goal.objective == "equal_weight":
        return _Part(np.full(n, 1.0 / n))
    match goal.objective:
        case "inverse_volatility":
            inverse = 1.0 / universe.own_risks
            return _Part(inverse / inverse.sum())
        case "risk_parity":
            return _equal_contributions(universe, settings)
        case "maximize_sharpe":
            return _highest_ratio(universe, goal.reference, settings)
        case _:
            return _program(universe, MinimizeRisk(), settings)


def _highest_ratio(universe: Universe, reference: float, settings: Settings) -> _Part:
    """Of the highest ratio, or where it has no meaning of least risk."""
    best = _program(universe, MaximizeRatio(reference), settings)
    if best.failure is None or best.failure.status not in (Status.ILL_POSED, Status.UNBOUNDED):
        return best
    return replace(_program(universe, MinimizeRisk(), settings), fell_back=True)


def _equal_contributions(universe: Universe, settings: Settings) -> _Part:
    """Of equal contributions to the risk: by Newton's method to the volatility, by a program to other measures.

    The program's logarithms are in units of the weights by inverse risk, scaled to unit risk.
    """
    n = len(universe.names)
    b, w = np.full(n, 1.0 / n), 1.0 / universe.own_risks
    found = contribute(universe.moments.quadratic, b) if universe.of_covariance else None
    if found is not None:
        return _Part(found.y / found.y.sum())
    risk = universe.measure.of(w)
    return _program(universe, BalanceRisk(b, np.eye(n), w / risk if risk > 0.0 else w / n), settings)


def _program(universe: Universe, objective: Objective, settings: Settings) -> _Part:
    n = len(universe.names)
    bounds = WeightBounds(np.zeros(n), np.ones(n), ("long_only",) * n, ("no_leverage",) * n)
    found = optimize(Problem(universe.moments, objective, universe.measure, (budget(n), bounds)), settings)
    if found.weights is None or found.status is Status.LIMIT_REACHED:
        return _Part(None, failure=found)
    w = np.maximum(found.weights, 0.0)
    return _Part(w / w.sum())
