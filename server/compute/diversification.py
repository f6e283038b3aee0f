"""Requests for diversification as a goal, and for weights by a rule that needs no program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.canonical import Mask
from kernel.methods.diversification import (
    DiversificationEvidence,
    decorrelate,
    diversification_ratio,
    equal_weights,
    inverse_risk_weights,
    maximize_diversification,
)
from kernel.methods.projection import Displacement, ReferenceEvidence, project
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from server.compute.bounds import reach, weight_bounds
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
    measure, members = measure_of_instruments(estimated, spec), _holdable(inputs, spec)
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
        ProblemError: There is nothing to hold, an instrument has no risk to weigh it by, or something asked for cannot
            be posed.
    """
    problem = build_problem(inputs, estimated, spec)
    members = weight_bounds(inputs, spec.constraints).upper > 0.0
    members[-1] = False
    by_risk = spec.optimization_type == "inverse_volatility"
    target = inverse_risk_weights(problem.measure, inputs.names, members) if by_risk else equal_weights(members)
    solution = project(problem, target, settings, risk_aversion=spec.risk_aversion)
    if solution.weights is None:
        return Solved(problem, solution)
    return Solved(problem, solution, ReferenceEvidence(Displacement.between(target, solution.weights)))


def _holdable(inputs: MarketInputs, spec: OptimizationSpec) -> Mask:
    """(n + 1,) the instruments that may have a weight other than 0; cash is none."""
    held = reach(weight_bounds(inputs, spec.constraints), spec.constraints) > 0.0
    held[-1] = False
    return np.asarray(held)
