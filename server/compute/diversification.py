"""Solves diversification requests."""

from __future__ import annotations

from kernel.methods.mean_risk import optimize
from kernel.problem import Settings
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.compute.problem import build_problem
from server.compute.solved import Solved
from server.specs import OptimizationSpec


def solve_diversification(
    inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings
) -> Solved:
    """Solve."""
    problem = build_problem(inputs, estimated, spec)
    return Solved(problem, optimize(problem, settings))


def solve_simple_rule(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """Solve."""
    problem = build_problem(inputs, estimated, spec)
    return Solved(problem, optimize(problem, settings))
