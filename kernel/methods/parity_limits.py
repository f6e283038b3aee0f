"""Limits beside budgets of risk: how they are posed, and what is wrong where they leave no answer.

Who has a budget above zero is held, and who has none is not. So the smallest position when held is a floor, and a
number of positions is met or not, whatever the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints import (
    Constraint,
    NumberOfPositions,
    RiskBudgets,
    RiskLimit,
    SmallestPosition,
    WeightBounds,
    WholeLots,
)
from kernel.errors import ProblemError
from kernel.measures.value_at_risk import ValueAtRisk
from kernel.methods.budgets import Budgets
from kernel.methods.mean_risk import optimize
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

# Of what an exposure can be: less of it is none, and more than the second need not be looked for.
_NONE, _ENOUGH = 1e-9, 1e-4
# A risk this small against that of the assets is a solver's rounding of none.
_RISKLESS = 1e-6


def pose_limits(problem: Problem, budgets: Budgets) -> Problem:
    """The problem with what budgets mean for its limits.

    Raises:
        ProblemError: A limit cannot be combined with budgets of risk.
    """
    names = problem.moments.names
    constraints = [posed for c in problem.constraints for posed in _pose(c, names, budgets)]
    if not budgets.of_factors:
        constraints.append(_sides(names, budgets))
    return replace(problem, constraints=tuple(constraints))


def without_signs(constraints: Iterable[Constraint], budgets: Budgets) -> tuple[Constraint, ...]:
    """The limits without floors at zero for assets whose budgets keep them above it."""
    return tuple(
        replace(c, lower=np.where(budgets.long & (c.lower == 0.0), -np.inf, c.lower))
        if isinstance(c, WeightBounds)
        else c
        for c in constraints
    )


def _pose(constraint: Constraint, names: tuple[str, ...], budgets: Budgets) -> Iterator[Constraint]:
    match constraint:
        case WholeLots() | RiskBudgets():
            field = constraint.name if isinstance(constraint, WholeLots) else constraint.names[0]
            raise ProblemError(field, "cannot be kept by budgets of risk: it is not convex")
        case RiskLimit() if isinstance(constraint.measure_of_risk, ValueAtRisk):
            raise ProblemError(
                constraint.name, "cannot be kept by budgets of risk: it is not convex, as that of cvar is"
            )
        case SmallestPosition() | NumberOfPositions() if budgets.of_factors:
            raise ProblemError(constraint.name, "cannot be combined with budgets of factors, only with those of assets")
        case SmallestPosition():
            yield _floor(constraint, names, budgets)
        case NumberOfPositions():
            _require_number(constraint, budgets)
        case _:
            yield constraint


def _floor(constraint: SmallestPosition, names: tuple[str, ...], budgets: Budgets) -> WeightBounds:
    among = np.isin(np.arange(len(names)), constraint.indices) & budgets.members
    return WeightBounds(
        lower=np.where(among & budgets.long, constraint.threshold, -np.inf),
        upper=np.where(among & budgets.short, -constraint.threshold, np.inf),
        lower_names=(constraint.name,) * len(names),
        upper_names=(constraint.name,) * len(names),
    )


def _require_number(constraint: NumberOfPositions, budgets: Budgets) -> None:
    count = int(budgets.members[list(constraint.indices)].sum())
    if constraint.smallest:
        reason = "cannot be combined with budgets of risk: every asset with a budget above 0 is held, and no other"
        raise ProblemError(constraint.name, reason)
    if count > constraint.largest:
        reason = f"is {constraint.largest}, but {count} assets have a budget above 0 and so must be held"
        raise ProblemError(constraint.name, reason)


def _sides(names: tuple[str, ...], budgets: Budgets) -> WeightBounds:
    """Long or short what has a budget, nothing of what has none."""
    at = [f"{budgets.field}[{name}]" for name in names]
    floors = ["long_only" if long else own for long, own in zip(budgets.long.tolist(), at, strict=True)]
    ceilings = [
        f"risk_budgeting.short_instrument_ids[{name}]" if short else own
        for name, short, own in zip(names, budgets.short.tolist(), at, strict=True)
    ]
    return WeightBounds(
        lower=np.where(budgets.long | budgets.unheld, 0.0, -np.inf),
        upper=np.where(budgets.short | budgets.unheld, 0.0, np.inf),
        lower_names=tuple(floors),
        upper_names=tuple(ceilings),
    )


@dataclass(frozen=True, slots=True)
class ReachExposures:
    """Every exposure as large as `enough`, as nearly as limits let: least ``sum_j (1 - a_j'w / enough_j)+``."""

    budgets: Budgets
    enough: Vector
    homogeneous = False
    maximizes = False

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write what is missing as hinges."""
        rows = -self.budgets.exposures / self.enough[:, None]
        missing = builder.add_hinges([(builder.weights, rows)], -np.ones(len(rows)))
        builder.minimize_linear(missing, np.ones(len(rows)))

    def value(self, problem: Problem, w: Vector) -> float:
        """What is missing."""
        return float(np.maximum(1.0 - self.budgets.exposures @ w / self.enough, 0.0).sum())

    def from_program(self, problem: Problem, value: float) -> float:
        """The value itself."""
        return value

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """1."""
        return 1.0


def explain_failure(problem: Problem, budgets: Budgets, found: Solution, settings: Settings) -> Solution:
    """Why `found` has no weights: limits that conflict, that force an exposure to zero, or that let risk vanish.

    Args:
        problem: As `pose_limits` poses it.
        budgets: Of the risk.
        found: What the search for the optimum ended with.
        settings: How far to go.
    """
    if found.status is Status.LIMIT_REACHED:
        return found
    sizes = np.abs(budgets.exposures).max(axis=1)
    reached = optimize(replace(problem, objective=ReachExposures(budgets, _ENOUGH * sizes), cost=None), settings)
    if reached.weights is None:
        return reached
    exposed = budgets.exposures @ reached.weights
    lost = [name for name, e, size in zip(budgets.names, exposed, sizes, strict=True) if e <= _NONE * size]
    if lost:
        what = "exposure to" if budgets.of_factors else "weight in"
        message = f"the limits leave no {what} {', '.join(lost)}, so no share of the risk: a budget above 0 needs some"
        return Solution(Status.ILL_POSED, message)
    least = optimize(replace(problem, objective=MinimizeRisk(), cost=None), settings)
    return _explain_risk(problem, least, found)


def _explain_risk(problem: Problem, least: Solution, found: Solution) -> Solution:
    name, certificate = problem.measure.name.replace("_", " "), least.certificate
    endless = least.status is Status.UNBOUNDED
    if endless or (certificate is not None and certificate.objective <= _RISKLESS * problem.moments.typical_volatility):
        risk = "has no least value" if certificate is None else f"can be as low as {certificate.objective:.3g}"
        message = f"the {name} of portfolios within the limits {risk}: only a risk above 0 can be shared out"
        return Solution(Status.ILL_POSED, message)
    if found.status is Status.UNBOUNDED:
        message = "the shares come nearest to the budgets only as weights grow without end: limit them, or the leverage"
        return replace(found, message=message)
    return found
