"""Requests for diversification as a goal, and for weights by a rule that needs no program."""

from __future__ import annotations

from dataclasses import replace

from kernel.canonical import Mask
from kernel.methods.diversification import (
    DiversificationEvidence,
    decorrelate,
    diversification_ratio,
    equal_weights,
    inverse_risk_weights,
    maximize_diversification,
)
from kernel.methods.mean_risk import optimize
from kernel.methods.projection import Displacement, ReferenceEvidence, project
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status
from server.compute.bounds import holdable, weight_bounds
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.compute.measures import measure_of_instruments
from server.compute.problem import build_problem
from server.compute.solved import Solved
from server.specs import OptimizationSpec


def solve_diversification(
    inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings
) -> Solved:
    """The highest diversification ratio, or the least mean correlation.

    Raises:
        ProblemError: An instrument that can be held has no risk, or something asked for cannot be posed.
    """
    problem = build_problem(inputs, estimated, spec)
    measure, members = measure_of_instruments(estimated, spec), holdable(inputs, spec.constraints)
    if not members.any():
        return Solved(problem, _without_instruments(problem, settings))
    solution = _solve(replace(problem, measure=measure), members, spec, settings)
    if solution.weights is None:
        return Solved(problem, solution)
    return Solved(problem, solution, DiversificationEvidence(diversification_ratio(measure, members, solution.weights)))


def _solve(problem: Problem, members: Mask, spec: OptimizationSpec, settings: Settings) -> Solution:
    if spec.optimization_type == "most_decorrelated":
        return decorrelate(problem, members, settings, risk_aversion=spec.risk_aversion)
    cash = len(members) - 1
    return maximize_diversification(problem, members, settings, risk_aversion=spec.risk_aversion, cash=cash)


def solve_simple_rule(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """Equal weights, or weights by the inverse of each instrument's own risk, brought within the limits.

    Raises:
        ProblemError: An instrument has no risk to weigh it by, or something asked for cannot be posed.
    """
    problem = build_problem(inputs, estimated, spec)
    members = weight_bounds(inputs, spec.constraints).upper > 0.0
    members[-1] = False
    if not members.any():
        return Solved(problem, _without_instruments(problem, settings))
    by_risk = spec.optimization_type == "inverse_volatility"
    target = inverse_risk_weights(problem.measure, inputs.names, members) if by_risk else equal_weights(members)
    solution = project(problem, target, settings, risk_aversion=spec.risk_aversion)
    if solution.weights is None:
        return Solved(problem, solution)
    return Solved(problem, solution, ReferenceEvidence(Displacement.between(target, solution.weights)))


def _without_instruments(problem: Problem, settings: Settings) -> Solution:
    """Why there are no weights where no instrument can have one: limits that conflict, or nothing but cash."""
    found = optimize(replace(problem, objective=MinimizeRisk(), cost=None), settings)
    if found.weights is None:
        return found
    message = "the limits leave no instrument that can be held, so that there is nothing to spread"
    return Solution(Status.ILL_POSED, message)
