"""Mean-risk optimization: every objective that is one program over a convex risk measure.

    canonicalize(problem) -> program
    solve(program)        -> raw solution
    recover(...)          -> weights
    certify(...)          -> what is true of them

References: Markowitz (1952); Charnes & Cooper (1962) and Schaible (1974) for the ratio.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Program, Vector
from kernel.certificate import lower_bound, project_dual, reduced_costs
from kernel.constraints import Measurement
from kernel.diagnosis import explain, explain_unbounded, explain_unbounded_ratio
from kernel.methods.idle_cash import without_idle_cash
from kernel.methods.risk_budgets import has_risk_budgets, optimize_risk_budgets
from kernel.methods.supporting_planes import needs_planes, solve_with_planes
from kernel.methods.value_at_risk import has_value_at_risk, optimize_value_at_risk
from kernel.objectives import MaximizeRatio, MaximizeReturn, Objective
from kernel.problem import Problem, Settings
from kernel.solution import Certificate, ConstraintReport, Solution
from kernel.solvers import RawSolution, RawStatus, solve
from kernel.status import Status

_TIDY = 1e-10
_VANISHING = 1e-10
# A risk this small against that of the assets is a solver's rounding of none.
_RISKLESS = 1e-6
# A basis point: objectives below it are judged absolutely, since one that happens to be zero has no relative gap.
_SMALLEST_SIZE = 1e-4


def optimize(problem: Problem, settings: Settings, start: Vector | None = None) -> Solution:
    """Solve `problem` and certify the answer.

    Args:
        problem: What is asked.
        settings: How far to go.
        start: `Solution.x` of a problem of the same shape (other prices, limits or holdings): where to start from.

    Returns:
        A solution whose status is honest: weights come only with a certificate within the settings' tolerances.

    Raises:
        ProblemError: The problem cannot be posed.
    """
    objective = problem.objective
    if isinstance(objective, MaximizeRatio) and objective.fallback is not None:
        return _with_fallback(problem, objective, objective.fallback, settings)
    if has_risk_budgets(problem):
        return optimize_risk_budgets(problem, settings, optimize, relative_gap)
    if has_value_at_risk(problem):
        return optimize_value_at_risk(problem, settings, _optimize_program, relative_gap)
    return _optimize_program(problem, settings, start)


def _with_fallback(problem: Problem, ratio: MaximizeRatio, fallback: Objective, settings: Settings) -> Solution:
    """The highest ratio, or where it has no meaning the optimum of the fallback with the ratio's numbers beside it."""
    best = optimize(replace(problem, objective=replace(ratio, fallback=None)), settings)
    if best.status is not Status.ILL_POSED:
        return best
    found = optimize(replace(problem, objective=fallback), settings)
    message = f"{best.message}; the fallback instead: {found.message}"
    return replace(found, message=message, numbers={**found.numbers, **best.numbers})


def _optimize_program(problem: Problem, settings: Settings, start: Vector | None = None) -> Solution:
    """Solve a problem that is one program, written at once or plane by plane."""
    if needs_planes(problem):
        posed, program, raw = solve_with_planes(problem, canonicalize, settings)
    else:
        posed, program = problem, canonicalize(problem)
        raw = solve(program, settings, start)
    if raw.status is RawStatus.SOLVED or (raw.status is RawStatus.LIMIT and np.isfinite(raw.x).all()):
        return _certified(problem, program, without_idle_cash(problem, program, raw), settings)
    return _without_weights(posed, raw, settings)


def canonicalize(problem: Problem) -> Program:
    """The program whose solution is the problem's."""
    builder = ProgramBuilder(problem.moments.n, homogeneous=problem.objective.homogeneous)
    for constraint in problem.constraints:
        constraint.add_to(builder)
    problem.objective.add_to(builder, problem)
    return builder.build()


def recover(problem: Problem, program: Program, raw: RawSolution) -> Vector:
    """Weights from a program's variables: scaled back, and rounding-sized residues put on the bounds."""
    scale = 1.0 if program.kappa is None else raw.x[program.kappa]
    w = raw.x[: problem.moments.n] / scale
    return np.where(np.abs(w) < _TIDY, 0.0, w)


def objective_value(problem: Problem, w: Vector) -> float:
    """The caller's objective at w, in its own units."""
    return problem.objective.value(problem, w)


def measurements(problem: Problem, w: Vector) -> list[Measurement]:
    """Every limit of the problem, measured on w."""
    return [measured for constraint in problem.constraints for measured in constraint.measure(w)]


def _certified(problem: Problem, program: Program, raw: RawSolution, settings: Settings) -> Solution:
    if program.kappa is not None and raw.x[program.kappa] <= _VANISHING * float(np.abs(raw.x).max()):
        return explain_unbounded_ratio(problem, program, raw.x)
    w = recover(problem, program, raw)
    smallest = (_RISKLESS * problem.moments.typical_volatility) ** (2 if problem.measure.unit == "variance" else 1)
    riskless = problem.measure.of(w) <= smallest
    ratio = problem.objective
    # Shrunk to nothing along a certain asset that earns the reference, a portfolio has neither risk nor excess.
    if riskless and isinstance(ratio, MaximizeRatio) and problem.net_return(w) - ratio.reference > settings.tolerance:
        message = "a portfolio without risk earns more than the reference rate, so the ratio has no maximum"
        return Solution(Status.UNBOUNDED, message, numbers={"net_return": problem.net_return(w)})
    certificate = certify(problem, program, raw, w)
    status = _status(raw, certificate, settings)
    if not status.has_weights:
        return Solution(status, _describe(status, certificate), numbers=_numbers(certificate))
    reports = _reports(problem, program, raw, w)
    return Solution(status, _describe(status, certificate), w, certificate, reports, x=raw.x)


def certify(problem: Problem, program: Program, raw: RawSolution, w: Vector) -> Certificate:
    """Objective and violation measured on w in the problem's own terms; the bound from weak duality."""
    program_bound = lower_bound(program, raw.x, raw.z) if raw.bound is None else raw.bound
    objective, bound = objective_value(problem, w), problem.objective.from_program(problem, program_bound)
    violation = max([0.0, *(measured.shortfall for measured in measurements(problem, w))])
    return Certificate(objective, bound, relative_gap(objective, bound), violation, raw.iterations, raw.solver)


def relative_gap(objective: float, bound: float) -> float:
    """|objective - bound| relative to the objective, or to a basis point where it is smaller than that."""
    return abs(objective - bound) / max(abs(objective), _SMALLEST_SIZE)


def _status(raw: RawSolution, certificate: Certificate, settings: Settings) -> Status:
    if raw.status is RawStatus.LIMIT:
        kept = certificate.violation <= settings.loose_tolerance
        return Status.LIMIT_REACHED if kept else Status.NUMERICAL_FAILURE
    worst = max(certificate.gap, certificate.violation)
    if worst <= settings.tolerance:
        return Status.OPTIMAL
    return Status.OPTIMAL_TO_TOLERANCE if worst <= settings.loose_tolerance else Status.NUMERICAL_FAILURE


def _describe(status: Status, certificate: Certificate) -> str:
    measured = f"relative gap {certificate.gap:.1e}, largest violation {certificate.violation:.1e}"
    match status:
        case Status.OPTIMAL:
            return f"optimal: {measured}"
        case Status.OPTIMAL_TO_TOLERANCE:
            return f"optimal to a tolerance of {max(certificate.gap, certificate.violation):.1e}: {measured}"
        case Status.LIMIT_REACHED:
            found = f"best found {certificate.objective:.6g}, none is better than {certificate.bound:.6g}"
            return f"a limit was reached: {found}"
        case _:
            return f"the solver's answer could not be confirmed: {measured}"


def _numbers(certificate: Certificate) -> dict[str, float]:
    return {"gap": certificate.gap, "violation": certificate.violation}


def _reports(problem: Problem, program: Program, raw: RawSolution, w: Vector) -> tuple[ConstraintReport, ...]:
    prices = _multipliers(program, raw)
    kappa = 1.0 if program.kappa is None else float(raw.x[program.kappa])
    scale = problem.objective.price_scale(problem, w, kappa)
    # Multipliers of an integer search belong to one of its convex sub-problems: they price nothing.
    known = program.is_convex
    return tuple(
        ConstraintReport.of(m, scale * prices.get(m.name, 0.0) if known else None) for m in measurements(problem, w)
    )


def _multipliers(program: Program, raw: RawSolution) -> dict[str, float]:
    """Multiplier per constraint name, over rows and bounds."""
    z = project_dual(program, raw.z)
    prices: dict[str, float] = {}
    for block in program.blocks:
        values = z[block.rows] if block.cone.is_linear else z[block.start : block.start + 1]
        for name, value in zip(block.names, values, strict=True):
            prices[name] = prices.get(name, 0.0) + float(value)
    r = reduced_costs(program, raw.x, raw.z)
    for names, multipliers in ((program.lower_names, np.maximum(r, 0.0)), (program.upper_names, np.maximum(-r, 0.0))):
        for i, name in names.items():
            prices[name] = prices.get(name, 0.0) + float(multipliers[i])
    return prices


def _without_weights(problem: Problem, raw: RawSolution, settings: Settings) -> Solution:
    if isinstance(problem.objective, MaximizeRatio):
        best = optimize(replace(problem, objective=MaximizeReturn()), settings)
        if best.certificate is None:
            return best
        excess = best.certificate.bound - problem.objective.reference
        if excess <= settings.tolerance:
            return _ill_posed(problem.objective, best.certificate)
    if raw.status is RawStatus.LIMIT:
        return Solution(Status.LIMIT_REACHED, "a limit was reached before any portfolio was found")
    return _explained(problem, raw, settings)


def _explained(problem: Problem, raw: RawSolution, settings: Settings) -> Solution:
    """Why there are no weights: limits that conflict, a direction without end, or a solver's failure."""
    explanation = explain(problem, settings, proven=raw.status is RawStatus.INFEASIBLE)
    if explanation is not None:
        return Solution(Status.INFEASIBLE, explanation.sentence, explanation=explanation)
    if raw.status is RawStatus.UNBOUNDED:
        return explain_unbounded(problem, canonicalize(problem), settings)
    if raw.status is RawStatus.INFEASIBLE and settings.seconds_left == 0.0:
        message = "no weights meet all limits; no time was left to find which of them conflict"
        return Solution(Status.INFEASIBLE, message)
    return Solution(Status.NUMERICAL_FAILURE, f"{raw.solver} ended without an answer")


def _ill_posed(objective: MaximizeRatio, best: Certificate) -> Solution:
    message = (
        f"no feasible portfolio has a positive excess return: the highest expected return is {best.bound:.4%}, "
        f"the reference {objective.reference:.4%}, so a ratio has no meaning"
    )
    numbers = {
        "best_expected_return": best.bound,
        "reference_return": objective.reference,
        "best_excess_return": best.bound - objective.reference,
    }
    return Solution(Status.ILL_POSED, message, numbers=numbers)
