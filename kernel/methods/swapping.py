"""A problem with other measures of risk in the places of its own: how methods pose approximations of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kernel.constraints import Constraint, RiskLimit
from kernel.constraints.term_limit import TermLimit
from kernel.measures.base import RiskMeasure
from kernel.methods.custom import MaximizeTerms
from kernel.objectives import Objective
from kernel.problem import Problem
from kernel.terms import RiskTerm, Term

Swap = Callable[[RiskMeasure], RiskMeasure]


def measures_in(problem: Problem) -> tuple[tuple[RiskMeasure, ...], tuple[RiskMeasure, ...]]:
    """The measures of a problem's objective, and those of its limits."""
    limits = tuple(m for m in map(limited_measure, problem.constraints) if m is not None)
    if isinstance(problem.objective, MaximizeTerms):
        terms = [weighted.term for weighted in problem.objective.terms]
        return tuple(term.measure for term in terms if isinstance(term, RiskTerm)), limits
    return (problem.measure,), limits


def limited_measure(constraint: Constraint) -> RiskMeasure | None:
    """The measure that a constraint limits, if any."""
    if isinstance(constraint, RiskLimit):
        return constraint.measure_of_risk
    if isinstance(constraint, TermLimit) and isinstance(constraint.term, RiskTerm):
        return constraint.term.measure
    return None


def with_measures(problem: Problem, swap: Swap) -> Problem:
    """The problem with ``swap(measure)`` in place of every measure."""
    return replace(
        problem,
        measure=swap(problem.measure),
        objective=_in_objective(problem.objective, swap),
        constraints=tuple(_in_constraint(constraint, swap) for constraint in problem.constraints),
    )


def _in_constraint(constraint: Constraint, swap: Swap) -> Constraint:
    if isinstance(constraint, RiskLimit):
        return replace(constraint, measure_of_risk=swap(constraint.measure_of_risk))
    if isinstance(constraint, TermLimit):
        return replace(constraint, term=_in_term(constraint.term, swap))
    return constraint


def _in_objective(objective: Objective, swap: Swap) -> Objective:
    if not isinstance(objective, MaximizeTerms):
        return objective
    terms = tuple(replace(weighted, term=_in_term(weighted.term, swap)) for weighted in objective.terms)
    return replace(objective, terms=terms)


def _in_term(term: Term, swap: Swap) -> Term:
    return replace(term, measure=swap(term.measure)) if isinstance(term, RiskTerm) else term
