"""Risk budgets, which are not convex: a sequence of convex programs, with the bound of the problem without budgets.

From the optimum without budgets the shares are first brought within their limits by a growing penalty on what exceeds
them; where that ends nowhere, from other places, such as the least exposures to the factors. Then every step solves the
problem with the budgets' tangents, which are stricter, so that every step is feasible and none is worse than the one
before. What the sequence ends in is a local optimum; it is the optimum only where it meets the bound.

References: Lipp & Boyd (2016), variations and extension of the convex-concave procedure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Program, Vector
from kernel.constraints.risk_budgets import FactorPart, RiskBudgets, TangentBudgets
from kernel.errors import ProblemError
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.solvers import RawStatus, solve_convex
from kernel.status import Status

Optimize = Callable[[Problem, Settings], Solution]
RelativeGap = Callable[[float, float], float]

_STEPS = 60
# A step that brings less, in tolerances of the objective, is the last.
_PROGRESS = 0.1
_GROWTH = 4.0
# Of the penalty in all; beyond it the objective is lost in rounding.
_LARGEST_GROWTH = 1e12
_KEPT = 1e-9
# Places to start from: assets that are tried, and how many of them are followed.
_CORNERS = 100
_BEST_CORNERS = 3


def has_risk_budgets(problem: Problem) -> bool:
    """Whether some limit is a risk budget."""
    return any(isinstance(constraint, RiskBudgets) for constraint in problem.constraints)


def optimize_risk_budgets(
    problem: Problem, settings: Settings, optimize: Optimize, relative_gap: RelativeGap
) -> Solution:
    """Solve a problem with risk budgets.

    Args:
        problem: What is asked; all other limits are convex.
        settings: How far to go.
        optimize: Solves convex problems.
        relative_gap: Of an objective and its bound.

    Returns:
        The best portfolio found and the bound of the problem without budgets. OPTIMAL only where the two meet;
        otherwise LIMIT_REACHED.

    Raises:
        ProblemError: Another limit, a cost or the measure needs an integer search.
    """
    budgets = _only(problem)
    free = replace(problem, constraints=tuple(c for c in problem.constraints if not isinstance(c, RiskBudgets)))
    _require_convex(free, budgets)
    relaxed = optimize(free, settings)
    if relaxed.weights is None or budgets.excess(relaxed.weights) <= _KEPT:
        return _with_reports(relaxed, free, budgets, settings, optimize)
    starts = itertools.chain([relaxed.weights], _elsewhere(free, budgets, settings))
    found = (_within(free, budgets, w, settings) for w in starts)
    start = next((w for w in found if w is not None), None)
    best = None if start is None else _descend(free, budgets, start, settings, optimize)
    return _concluded(best, relaxed, settings, relative_gap)


def _only(problem: Problem) -> RiskBudgets:
    """All budgets of the problem in one, by the covariance of the first."""
    found = [constraint for constraint in problem.constraints if isinstance(constraint, RiskBudgets)]
    names = tuple(name for budgets in found for name in budgets.names)
    parts = tuple(part for budgets in found for part in budgets.parts)
    if any(budgets.moments is not found[0].moments for budgets in found):
        raise ProblemError(names[0], "all risk budgets must be shares in the same variance")
    return RiskBudgets(names, parts, np.concatenate([budgets.shares for budgets in found]), found[0].moments)


def _require_convex(problem: Problem, budgets: RiskBudgets) -> None:
    program = _posed(problem)
    rules = [v.name for v in program.integral] + [v.name for v in program.semicontinuous]
    if rules:
        reason = f"cannot be combined with {rules[0]}, which needs an integer search"
        raise ProblemError(budgets.names[0], reason)


def _posed(problem: Problem, softened: TangentBudgets | None = None, penalty: float = 0.0) -> Program:
    builder = ProgramBuilder(problem.moments.n, homogeneous=problem.objective.homogeneous)
    for constraint in problem.constraints:
        constraint.add_to(builder)
    problem.objective.add_to(builder, problem)
    if softened is not None:
        slack = softened.add_softened_to(builder)
        builder.minimize_linear(slack, np.full(len(softened.budgets.names), penalty))
    return builder.build()


def _within(problem: Problem, budgets: RiskBudgets, w: Vector, settings: Settings) -> Vector | None:
    """Weights near w that keep the budgets; None when none are found."""
    if budgets.excess(w) <= _KEPT:
        return w
    penalty = max(abs(problem.objective.value(problem, w)), _KEPT)
    largest = _LARGEST_GROWTH * penalty
    for _ in range(_STEPS):
        if settings.clock() > settings.deadline:
            return None
        program = _posed(problem, TangentBudgets(budgets, w), penalty)
        raw = solve_convex(program, settings)
        if raw.status is not RawStatus.SOLVED:
            return None
        w = raw.x[: problem.moments.n] / (1.0 if program.kappa is None else raw.x[program.kappa])
        if budgets.excess(w) <= _KEPT:
            return w
        penalty = min(penalty * _GROWTH, largest)
    return None


def _elsewhere(problem: Problem, budgets: RiskBudgets, settings: Settings) -> Iterator[Vector]:
    """Other places to start from, without the objective.

    Where the factors' parts are small; then, of those with the most of a single asset, the ones that exceed least.
    """
    factors = [part for part in budgets.parts if isinstance(part, FactorPart)]
    squares = [part.squares for part in factors]
    for rows in (
        [p for p, _ in filter(None, squares)],
        [part.exposures for part in factors],
        [part.covariances for part in factors],
    ):
        if rows:
            w = _feasible(problem, settings, squares=np.array(rows))
            yield from () if w is None else (w,)
    corners = []
    for i in range(min(problem.moments.n, _CORNERS)):
        if settings.clock() > settings.deadline:
            return
        w = _feasible(problem, settings, most=i)
        corners += [] if w is None else [w]
    yield from sorted(corners, key=budgets.excess)[:_BEST_CORNERS]


def _feasible(
    problem: Problem, settings: Settings, squares: Vector | None = None, most: int | None = None
) -> Vector | None:
    """Weights within all other limits with the least squares of some sums, or the most of an asset."""
    builder = ProgramBuilder(problem.moments.n)
    for constraint in problem.constraints:
        constraint.add_to(builder)
    if squares is not None:
        builder.minimize_square(squares, np.zeros(len(squares)), 1.0)
    if most is not None:
        builder.minimize_linear(slice(most, most + 1), np.array([-1.0]))
    raw = solve_convex(builder.build(), settings)
    return raw.x[: problem.moments.n] if raw.status is RawStatus.SOLVED else None


def _descend(
    problem: Problem, budgets: RiskBudgets, w: Vector, settings: Settings, optimize: Optimize
) -> Solution | None:
    """The best of a sequence of feasible steps, with the iterations of them all."""
    best: Solution | None = None
    iterations = 0
    sign = 1.0 if problem.objective.maximizes else -1.0
    for _ in range(_STEPS):
        constraints = (*problem.constraints, TangentBudgets(budgets, w))
        found = optimize(replace(problem, constraints=constraints), settings)
        if found.certificate is None or found.weights is None:
            break
        iterations += found.certificate.iterations
        risen = np.inf
        if best is not None and best.certificate is not None:
            risen = sign * (found.certificate.objective - best.certificate.objective)
        if risen > 0.0:
            best = found
        smallest = _PROGRESS * settings.tolerance * max(abs(found.certificate.objective), _KEPT)
        if risen <= smallest or settings.clock() > settings.deadline:
            break
        w = found.weights
    if best is None or best.certificate is None:
        return None
    return replace(best, certificate=replace(best.certificate, iterations=iterations))


def _with_reports(
    relaxed: Solution, problem: Problem, budgets: RiskBudgets, settings: Settings, optimize: Optimize
) -> Solution:
    """The optimum without budgets, which keeps them: once more with them, for the report on each."""
    if relaxed.weights is None:
        return relaxed
    around = TangentBudgets(budgets, relaxed.weights)
    return optimize(replace(problem, constraints=(*problem.constraints, around)), settings)


def _concluded(best: Solution | None, relaxed: Solution, settings: Settings, relative_gap: RelativeGap) -> Solution:
    assert relaxed.certificate is not None
    bound = relaxed.certificate.bound
    if best is None or best.certificate is None:
        message = f"no portfolio within the risk budgets was found; without them none is better than {bound:.6g}"
        return Solution(Status.LIMIT_REACHED, message, numbers={"bound": bound})
    gap = relative_gap(best.certificate.objective, bound)
    solver = f"convex-concave procedure over {best.certificate.solver}"
    certificate = replace(best.certificate, bound=bound, gap=gap, solver=solver)
    found = f"best found {certificate.objective:.6g}, without the risk budgets none is better than {bound:.6g}"
    if gap > settings.tolerance:
        message = f"a local optimum under risk budgets, which are not convex: {found}"
        return replace(best, status=Status.LIMIT_REACHED, message=message, certificate=certificate)
    return replace(best, certificate=certificate)
