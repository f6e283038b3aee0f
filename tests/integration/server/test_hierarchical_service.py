"""Hierarchical methods through the service: the tree, the rule's weights, the nearest ones within limits, refusals."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2, hierarchy_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from server.vocabulary import HIERARCHIES, RISK_MEASURES
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
BISECTED, EQUAL, NESTED = HIERARCHIES
Constraints, Hierarchy = pb.OptimizationConstraints, hierarchy_pb2.Hierarchy
TOLERANCE = 1e-8


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def request(kind: str = BISECTED, **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": kind,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def distances(market: Market) -> Floats:
    C = np.corrcoef(market.R.T)
    np.fill_diagonal(C, 1.0)
    return np.asarray(np.sqrt((1.0 - C) / 2.0))


def bisection(market: Market, leaves: list[str]) -> dict[str, float]:
    """Lopez de Prado (2016), stage 3."""
    weights, clusters = dict.fromkeys(leaves, 1.0), [leaves]
    while clusters:
        halves = [(c[: len(c) // 2], c[len(c) // 2 :]) for c in clusters if len(c) > 1]
        for first, second in halves:
            one, two = variance(market, first), variance(market, second)
            for name in first:
                weights[name] *= 1.0 - one / (one + two)
            for name in second:
                weights[name] *= one / (one + two)
        clusters = [half for pair in halves for half in pair]
    return weights


def variance(market: Market, members: list[str]) -> float:
    places = [market.names.index(name) for name in members]
    Sigma = market.Sigma[np.ix_(places, places)]
    w = 1.0 / np.diag(Sigma) / (1.0 / np.diag(Sigma)).sum()
    return float(w @ Sigma @ w)


def leaves_below(tree: Any) -> list[set[str]]:
    below: list[set[str]] = [{name} for name in sorted(tree.leaves)]
    for node in tree.nodes:
        below.append(below[node.left] | below[node.right])
        assert node.size == len(below[-1]) == len(below[node.left]) + len(below[node.right])
    return below


def test_hierarchical_risk_parity_as_published(service: OpenService, market: Market) -> None:
    answer = service.optimize(request())
    tree = answer.reference.dendrogram
    assert answer.status == "completed", answer.outcome.message
    assert dict(answer.target_allocation) == pytest.approx(bisection(market, list(tree.leaves)), rel=1e-9)
    assert (answer.reference.distance, answer.reference.moved) == (0.0, 0.0)
    joins = hierarchy.linkage(pdist(distances(market)), "single")
    assert [node.height for node in tree.nodes] == pytest.approx(joins[:, 2].tolist(), rel=1e-8)
    assert not tree.clusters
    assert answer.certificate.max_violation <= TOLERANCE


@pytest.mark.parametrize("kind", HIERARCHIES)
def test_the_tree_can_be_drawn(service: OpenService, market: Market, kind: str) -> None:
    tree = service.optimize(request(kind)).reference.dendrogram
    below = leaves_below(tree)
    assert sorted(tree.leaves) == list(market.names)
    assert below[-1] == set(market.names)
    heights = [node.height for node in tree.nodes]
    assert heights == sorted(heights)
    place = {name: k for k, name in enumerate(tree.leaves)}
    for members in below:
        places = sorted(place[name] for name in members)
        assert places == list(range(places[0], places[0] + len(places)))


def test_equal_risk_over_the_clusters_of_the_tree(service: OpenService, market: Market) -> None:
    answer = service.optimize(request(EQUAL, hierarchy=Hierarchy(clusters=2)))
    labels = dict(answer.reference.dendrogram.clusters)
    expected = hierarchy.cut_tree(hierarchy.linkage(squareform(distances(market), checks=False), "ward"), 2).ravel()
    found = np.array([labels[name] for name in market.names])
    assert (found == expected).all() or (found == 1 - expected).all()
    w = market.vector(dict(answer.target_allocation))
    risks = [np.sqrt(v @ market.Sigma @ v) for v in (np.where(found == label, w, 0.0) for label in (0, 1))]
    assert risks[0] == pytest.approx(risks[1], rel=1e-9)


def test_nested_clusters_of_least_risk(service: OpenService, market: Market) -> None:
    answer = service.optimize(request(NESTED, hierarchy=Hierarchy(clusters=3)))
    labels = np.array([answer.reference.dendrogram.clusters[name] for name in market.names])
    V = np.zeros((len(labels), 3))
    for label in range(3):
        held = np.flatnonzero(labels == label)
        V[held, label] = least_risk(market.Sigma[np.ix_(held, held)])
    expected = V @ least_risk(V.T @ market.Sigma @ V)
    np.testing.assert_allclose(market.vector(dict(answer.target_allocation)), expected, atol=1e-6)


def least_risk(Sigma: Floats) -> Floats:
    w = cp.Variable(len(Sigma), nonneg=True)
    variance = cp.quad_form(w, cp.psd_wrap(Sigma / Sigma.max()))
    fine = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    cp.Problem(cp.Minimize(variance), [cp.sum(w) == 1]).solve(solver=cp.CLARABEL, **fine)
    return np.asarray(w.value)


@pytest.mark.parametrize("objective", ["maximize_sharpe", "risk_parity", "equal_weight", "inverse_volatility"])
def test_every_nested_objective(service: OpenService, objective: str) -> None:
    answer = service.optimize(request(NESTED, hierarchy=Hierarchy(nested_objective=objective)))
    assert answer.status == "completed", answer.outcome.message
    assert sum(answer.reference.weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert answer.certificate.max_violation <= TOLERANCE


@pytest.mark.parametrize("kind", HIERARCHIES[:2])
@pytest.mark.parametrize("measure", RISK_MEASURES.served)
def test_every_measure(service: OpenService, kind: str, measure: str) -> None:
    answer = service.optimize(request(kind, risk_measure=measure))
    assert answer.status == "completed", answer.outcome.message
    assert min(answer.reference.weights.values()) > 0.0


@pytest.mark.parametrize("word", ["SPEARMAN", "DISTANCE", "MUTUAL_INFORMATION"])
def test_every_codependence(service: OpenService, word: str) -> None:
    asked = Hierarchy(codependence=f"CODEPENDENCE_{word}", linkage="LINKAGE_AVERAGE", distances_of_columns=False)
    answer = service.optimize(request(hierarchy=asked))
    assert answer.status == "completed", answer.outcome.message
    assert 0.0 < answer.reference.dendrogram.nodes[-1].height <= 1.0


LIMITS: dict[str, Constraints] = {
    "position": Constraints(max_position_size=0.07),
    "sectors": Constraints(max_sector_exposure=0.2, min_weights={"AMD": 0.05}),
    "cash": Constraints(min_cash_weight=0.1, max_cash_weight=0.3),
    "turnover": Constraints(max_turnover=0.08),
    "linear": Constraints(
        linear_constraints=[
            constraints_pb2.LinearConstraint(name="tech", coefficients={"AAPL": 1, "AMD": 1, "MSFT": 1}, minimum=0.3)
        ]
    ),
}


def model(name: str, w: Any, market: Market, w0: Floats) -> list[Any]:
    n = len(market.names)
    stocks, cash = w[:n], w[n]
    held = lambda names: np.array([float(x in names) for x in market.names])  # noqa: E731 - a formula
    match name:
        case "position":
            return [stocks <= 0.07, cash == 0]
        case "sectors":
            groups = {
                sector: held([x for x in market.names if market.sectors[x] == sector])
                for sector in set(market.sectors.values())
            }
            return [cash == 0, held(["AMD"]) @ stocks >= 0.05, *(group @ stocks <= 0.2 for group in groups.values())]
        case "cash":
            return [cash >= 0.1, cash <= 0.3]
        case "turnover":
            return [cash == 0, cp.norm1(w - w0) / 2 <= 0.08]
        case _:
            return [cash == 0, held(["AAPL", "AMD", "MSFT"]) @ stocks >= 0.3]


@pytest.mark.parametrize("name", LIMITS)
def test_limits_hold_at_the_nearest_portfolio(service: OpenService, market: Market, name: str) -> None:
    answer = service.optimize(request(constraints=LIMITS[name]))
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.max_violation <= TOLERANCE
    names = (*market.names, "CASH")
    target, current, found = (
        np.array([dict(weights).get(x, 0.0) for x in names])
        for weights in (answer.reference.weights, answer.current_allocation, answer.target_allocation)
    )
    w = cp.Variable(len(names), nonneg=True)
    nearest = cp.Problem(cp.Minimize(cp.norm(w - target)), [cp.sum(w) == 1, *model(name, w, market, current)])
    nearest.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert answer.reference.distance == pytest.approx(nearest.value, rel=1e-6)
    assert answer.reference.distance == pytest.approx(np.linalg.norm(found - target), rel=1e-12)
    assert answer.reference.moved == pytest.approx(np.abs(found - target).sum() / 2, rel=1e-12)
    assert answer.certificate.objective_value == pytest.approx(answer.reference.distance, rel=1e-9)
    assert dict(answer.reference.weights) == dict(service.optimize(request()).reference.weights)


def test_what_may_not_be_held_has_no_part_in_the_tree(service: OpenService, market: Market) -> None:
    held = [name for name in market.names if name not in ("AMD", "RRC")]
    answer = service.optimize(request(instrument_ids=held, constraints=Constraints(max_weights={"KO": 0.0, "GE": 0.5})))
    tree = answer.reference.dendrogram
    assert sorted(tree.leaves) == sorted(set(held) - {"KO"})
    assert set(answer.target_allocation) <= set(tree.leaves)
    leaves = list(tree.leaves)
    assert dict(answer.target_allocation) == pytest.approx(bisection(market, leaves), rel=1e-9)


def test_one_instrument_is_all(service: OpenService) -> None:
    for kind in HIERARCHIES:
        answer = service.optimize(request(kind, instrument_ids=["KO"]))
        assert dict(answer.target_allocation) == {"KO": 1.0}
        assert list(answer.reference.dendrogram.leaves) == ["KO"]


def test_limits_that_conflict_are_explained(service: OpenService) -> None:
    answer = service.optimize(request(constraints=Constraints(max_position_size=0.04)))
    assert answer.status == "infeasible"
    assert "max_position_size" in answer.infeasibility.conflicting_constraints


def test_the_same_request_gives_the_same_answer(service: OpenService) -> None:
    one, other = (service.optimize(request(NESTED)) for _ in range(2))
    assert dict(one.target_allocation) == dict(other.target_allocation)
    assert one.reference == other.reference


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "clusters without meaning": (BISECTED, {"hierarchy": Hierarchy(clusters=3)}, "hierarchy.clusters"),
    "a most without meaning": (BISECTED, {"hierarchy": Hierarchy(max_clusters=3)}, "hierarchy.max_clusters"),
    "more clusters than instruments": (EQUAL, {"hierarchy": Hierarchy(clusters=21)}, "hierarchy.clusters"),
    "very many clusters": (NESTED, {"hierarchy": Hierarchy(clusters=2**32 - 1)}, "hierarchy.clusters"),
    "clusters given and sought": (
        EQUAL,
        {"hierarchy": Hierarchy(clusters=3, max_clusters=5)},
        "hierarchy.max_clusters",
    ),
    "a nested objective of another type": (
        EQUAL,
        {"hierarchy": Hierarchy(nested_objective="risk_parity")},
        "hierarchy.nested_objective",
    ),
    "an unknown nested objective": (
        NESTED,
        {"hierarchy": Hierarchy(nested_objective="maximize_return")},
        "hierarchy.nested_objective",
    ),
    "an unknown codependence": (BISECTED, {"hierarchy": Hierarchy(codependence=9)}, "hierarchy.codependence"),  # type: ignore[arg-type]
    "an unknown linkage": (EQUAL, {"hierarchy": Hierarchy(linkage=7)}, "hierarchy.linkage"),  # type: ignore[arg-type]
    "programs of a measure that is not convex": (NESTED, {"risk_measure": "var"}, "risk_measure"),
    "a tree for another type": ("minimum_variance", {"hierarchy": Hierarchy()}, "hierarchy"),
    "an objective of another type": (EQUAL, {"objective": "maximize_sharpe"}, "objective"),
    "nothing to hold": (
        BISECTED,
        {"instrument_ids": ["KO"], "constraints": Constraints(max_weights={"KO": 0.0}, max_cash_weight=1.0)},
        "instrument_ids",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(service: OpenService, name: str) -> None:
    kind, fields, at = REFUSED[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request(kind, **fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = violations(caught.value)
    assert found.get(at), found
