"""The wire form of hierarchical methods: how instruments are arranged, weights by a rule, and the tree behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portfolio_optimization.v1 import hierarchy_pb2 as pb
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from kernel.hierarchy.clustering import Dendrogram
from kernel.hierarchy.nested import OBJECTIVES, PROGRAMS
from kernel.methods.projection import ReferenceEvidence
from kernel.quadratic import Indices
from server.convert.faults import Faults
from server.convert.solution import allocation
from server.method_specs import HierarchySpec
from server.vocabulary import Vocabulary

_CODEPENDENCES: Mapping[int, str] = {
    pb.CODEPENDENCE_UNSPECIFIED: "pearson",
    pb.CODEPENDENCE_PEARSON: "pearson",
    pb.CODEPENDENCE_SPEARMAN: "spearman",
    pb.CODEPENDENCE_DISTANCE: "distance",
    pb.CODEPENDENCE_MUTUAL_INFORMATION: "mutual_information",
}
_LINKAGES: Mapping[int, str] = {
    pb.LINKAGE_SINGLE: "single",
    pb.LINKAGE_COMPLETE: "complete",
    pb.LINKAGE_AVERAGE: "average",
    pb.LINKAGE_WARD: "ward",
}
_NESTED = Vocabulary(served=OBJECTIVES)
_DEFAULT_MOST = 10


def read_hierarchy(message: CreateOptimizationRequest, faults: Faults) -> HierarchySpec:
    """How the instruments are arranged; an absent message is each method's default."""
    asked, kind = message.hierarchy, message.optimization_type
    bisected = kind == "hierarchical_risk_parity"
    linkages = {pb.LINKAGE_UNSPECIFIED: "single" if bisected else "ward", **_LINKAGES}
    spec = HierarchySpec(
        codependence=_read_word("codependence", asked.codependence, _CODEPENDENCES, pb.Codependence.keys(), faults),
        linkage=_read_word("linkage", asked.linkage, linkages, pb.Linkage.keys(), faults),
        clusters=asked.clusters,
        max_clusters=asked.max_clusters or _DEFAULT_MOST,
        nested_objective=_read_nested(message, faults),
        of_columns=asked.distances_of_columns if asked.HasField("distances_of_columns") else bisected,
    )
    for field in ("clusters", "max_clusters") if bisected else ():
        if getattr(asked, field):
            faults.add(f"hierarchy.{field}", f"has no meaning for {kind}, which forms no clusters")
    if not bisected and asked.clusters and asked.max_clusters:
        faults.add("hierarchy.max_clusters", "belongs to the gap statistic, so it must be absent beside clusters")
    return spec


def _read_word(field: str, value: int, words: Mapping[int, str], names: Sequence[str], faults: Faults) -> str:
    """The word of a value of an enum; a number that the contract does not have is noted."""
    if value not in words:
        faults.add(f"hierarchy.{field}", f"must be one of {', '.join(names)}, not {value}")
    return words.get(value, "")


def _read_nested(message: CreateOptimizationRequest, faults: Faults) -> str:
    word = message.hierarchy.nested_objective
    if message.optimization_type != "nested_clusters":
        if word:
            faults.add("hierarchy.nested_objective", "belongs to the optimization_type nested_clusters")
        return "minimize_risk"
    word = faults.word("hierarchy.nested_objective", word or "minimize_risk", _NESTED)
    if message.risk_measure == "var" and word in PROGRAMS:
        faults.add("risk_measure", f"var is not convex, so clusters cannot be nested by {word}")
    return word


def write_reference(evidence: ReferenceEvidence, names: Sequence[str]) -> pb.ReferencePortfolio:
    """Weights by a rule, how far the answer lies from them, and the tree.

    Args:
        evidence: What the rule said.
        names: (n + 1,) assets, cash last.
    """
    displacement, tree = evidence.displacement, evidence.dendrogram
    return pb.ReferencePortfolio(
        weights=allocation(names, displacement.target),
        distance=displacement.distance,
        moved=displacement.moved,
        dendrogram=None if tree is None else _write_dendrogram(tree, evidence.clusters),
    )


def _write_dendrogram(tree: Dendrogram, clusters: Indices | None) -> pb.Dendrogram:
    sizes = tree.sizes[tree.n :]
    nodes = zip(tree.joins.tolist(), tree.heights.tolist(), sizes.tolist(), strict=True)
    return pb.Dendrogram(
        leaves=[tree.names[leaf] for leaf in tree.leaves],
        nodes=[pb.DendrogramNode(left=left, right=right, height=h, size=size) for (left, right), h, size in nodes],
        clusters={} if clusters is None else dict(zip(tree.names, clusters.tolist(), strict=True)),
    )
