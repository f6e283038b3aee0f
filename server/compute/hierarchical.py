"""Solves hierarchical requests: weights by the tree, then the nearest portfolio that meets every limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.hierarchy.nested import Goal
from kernel.hierarchy.portfolio import HierarchicalPortfolio, HierarchyRequest, hierarchical_portfolio
from kernel.hierarchy.universe import Universe, in_order
from kernel.measures.registry import MeasureSettings
from kernel.methods.projection import Displacement, ReferenceEvidence, project
from kernel.problem import Settings
from kernel.quadratic import Indices
from server.compute.bounds import weight_bounds
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.compute.problem import build_problem
from server.compute.solved import Solved
from server.method_specs import HierarchySpec
from server.specs import OptimizationSpec


def solve_hierarchical(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """Weigh the instruments that may be held by their tree, and go to the nearest weights within the limits.

    Raises:
        ProblemError: An instrument has no risk, or something asked for cannot be posed.
    """
    problem = build_problem(inputs, estimated, spec)
    kept = in_order(estimated.moments, estimated.scenarios, _holdable(inputs, spec))
    found = _portfolio(estimated, spec, kept, settings)
    if found.weights is None:
        assert found.failure is not None
        return Solved(problem, found.failure)
    target = np.zeros(problem.moments.n)
    target[kept] = found.weights
    solution = project(problem, target, settings, risk_aversion=spec.risk_aversion)
    if found.note:
        solution = replace(solution, message=f"{solution.message}; {found.note}")
    if solution.weights is None:
        return Solved(problem, solution)
    displacement = Displacement.between(target, solution.weights)
    return Solved(problem, solution, ReferenceEvidence(displacement, found.tree, found.clusters))


def _holdable(inputs: MarketInputs, spec: OptimizationSpec) -> Indices:
    """The instruments whose limits admit a positive weight; cash is none."""
    return np.flatnonzero(weight_bounds(inputs, spec.constraints).upper[:-1] > 0.0)


def _portfolio(estimated: Estimate, spec: OptimizationSpec, kept: Indices, settings: Settings) -> HierarchicalPortfolio:
    assert isinstance(spec.method, HierarchySpec)
    asked, model = spec.method, spec.model
    universe = Universe(
        estimated.moments, estimated.scenarios, spec.risk_measure, MeasureSettings(model.confidence_level)
    )
    request = HierarchyRequest(
        method=spec.optimization_type,
        codependence=asked.codependence,
        linkage=asked.linkage,
        of_columns=asked.of_columns,
        clusters=asked.clusters,
        max_clusters=asked.max_clusters,
        goal=Goal(asked.nested_objective, model.risk_free_rate),
    )
    return hierarchical_portfolio(universe.of(kept), request, settings)
