"""A hierarchical portfolio from its universe: the tree, the clusters where the method has them, and the weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel.canonical import Vector
from kernel.errors import ProblemError
from kernel.hierarchy.clustering import Dendrogram, join
from kernel.hierarchy.codependence import distances, distances_of_columns
from kernel.hierarchy.equal_risk import hierarchical_equal_risk
from kernel.hierarchy.gap_statistic import number_of_clusters
from kernel.hierarchy.leaf_order import in_optimal_order
from kernel.hierarchy.nested import Goal, nested_clusters
from kernel.hierarchy.risk_parity import hierarchical_risk_parity
from kernel.hierarchy.universe import Universe
from kernel.problem import Settings
from kernel.quadratic import Indices
from kernel.solution import Solution

METHODS = ("hierarchical_risk_parity", "hierarchical_equal_risk", "nested_clusters")


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """How a portfolio is built from a hierarchy.

    Attributes:
        method: A word of `METHODS`.
        codependence: A word of `kernel.hierarchy.codependence`.
        linkage: A word of `kernel.hierarchy.clustering`.
        of_columns: Whether assets are joined by the distances between their columns of distances.
        clusters: 0 = by the gap statistic, among at most `max_clusters`. Hierarchical risk parity has none.
        goal: Of nested clusters.
    """

    method: str = "hierarchical_risk_parity"
    codependence: str = "pearson"
    linkage: str = "single"
    of_columns: bool = True
    clusters: int = 0
    max_clusters: int = 10
    goal: Goal = field(default_factory=Goal)


@dataclass(frozen=True, slots=True)
class HierarchicalPortfolio:
    """Weights and the tree behind them.

    Attributes:
        weights: (n,) of the tree's assets, >= 0, sum 1; None where a nested part has no answer.
        tree: In optimal leaf order.
        clusters: (n,) of the tree's assets, 0 to k - 1 as drawn; None for hierarchical risk parity.
        failure: Of the nested part.
        note: What is to be known of the parts; empty for nothing.
    """

    weights: Vector | None
    tree: Dendrogram
    clusters: Indices | None = None
    failure: Solution | None = None
    note: str = ""


def hierarchical_portfolio(universe: Universe, request: HierarchyRequest, settings: Settings) -> HierarchicalPortfolio:
    """Arrange assets in a tree and weigh them by it.

    Args:
        universe: The assets, in the order of their names.
        request: How.
        settings: Of nested programs.

    Raises:
        ProblemError: A word is unknown, a number lies outside its range, or an asset has no risk where that counts.
    """
    if request.method not in METHODS:
        raise ProblemError("optimization_type", f"must be one of {', '.join(METHODS)}, not {request.method!r}")
    D = distances(request.codependence, universe)
    if request.of_columns:
        D = distances_of_columns(D)
    tree = in_optimal_order(join(universe.names, D, request.linkage), D)
    if request.method == "hierarchical_risk_parity":
        return HierarchicalPortfolio(hierarchical_risk_parity(universe, tree), tree)
    k = request.clusters or number_of_clusters(tree, D, request.max_clusters)
    labels = tree.labels(k)
    if request.method == "hierarchical_equal_risk":
        return HierarchicalPortfolio(hierarchical_equal_risk(universe, tree, k), tree, labels)
    found = nested_clusters(universe, tree, k, request.goal, settings)
    return HierarchicalPortfolio(found.weights, tree, labels, found.failure, found.note)
