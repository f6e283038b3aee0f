"""Small markets to arrange, and each step of the literature written plainly: the judge of the kernel's hierarchies."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from kernel.hierarchy.universe import Universe
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.problem import Moments
from kernel.scenarios import Scenarios

PERIODS = 252.0


def names_of(n):
    return tuple(f"A{i:02d}" for i in range(n))


def returns(seed, T=60, n=7, groups=3):
    """Returns with a market, groups, and different sizes."""
    rng = np.random.default_rng(seed)
    market, common = rng.normal(0.001, 0.01, T), rng.normal(0.0, 0.01, (T, groups))
    member = rng.integers(0, groups, n)
    own = rng.normal(0.0, 0.01, (T, n)) * rng.uniform(0.5, 2.0, n)
    return 0.6 * market[:, None] + common[:, member] + own


def universe_of(R, measure="volatility", p=None, Sigma=None, mu=None, level=0.9):
    T, n = R.shape
    p = np.full(T, 1.0 / T) if p is None else p
    scenarios = Scenarios(names_of(n), R, p, PERIODS)
    Sigma = PERIODS * np.cov(R, rowvar=False).reshape(n, n) if Sigma is None else Sigma
    moments = Moments(names_of(n), PERIODS * scenarios.mean if mu is None else mu, Sigma)
    return Universe(moments, scenarios, measure, MeasureSettings(level))


def of_covariance(Sigma, measure="volatility", mu=None):
    """A universe of which only the covariance counts."""
    n = len(Sigma)
    R = np.random.default_rng(0).normal(0.0, 0.01, (10, n))
    return universe_of(R, measure, Sigma=np.array(Sigma, dtype=float), mu=mu)


def agglomerate(D, linkage):
    """The joins by the definition of each linkage: (set, set, height) from the nearest pair on."""
    clusters, joins = [(i,) for i in range(len(D))], []
    while len(clusters) > 1:
        height, a, b = min((_between(D, a, b, linkage), a, b) for a, b in combinations(clusters, 2))
        clusters = [c for c in clusters if c not in (a, b)] + [tuple(sorted(a + b))]
        joins.append((frozenset(a), frozenset(b), height))
    return joins


def _between(D, a, b, linkage):
    pairs = D[np.ix_(a, b)]
    match linkage:
        case "single":
            return pairs.min()
        case "complete":
            return pairs.max()
        case "average":
            return pairs.mean()
    # Ward: the rise of the sum of squares, from the squared distances within and between.
    squares = D**2
    rise = (squares[np.ix_(a, b)].sum() / (len(a) * len(b))) * 2.0
    rise -= squares[np.ix_(a, a)].sum() / len(a) ** 2 + squares[np.ix_(b, b)].sum() / len(b) ** 2
    return np.sqrt(max(rise, 0.0) * len(a) * len(b) / (len(a) + len(b)))


def orders(tree):
    """Every order of leaves that the tree allows."""
    of = {i: [[i]] for i in range(tree.n)}
    for k, (left, right) in enumerate(tree.joins.tolist()):
        both = [(a, b) for a in of[left] for b in of[right]]
        of[tree.n + k] = [a + b for a, b in both] + [b + a for a, b in both]
    return of[2 * tree.n - 2]


def length(order, D):
    return sum(D[a, b] for a, b in pairwise(order))


def risk(universe, w):
    return make_measure(universe.risk_measure, universe.moments, universe.scenarios, universe.settings).of(w)


def naive(universe, members):
    """Weights by inverse risk of some assets, and their risk."""
    n = len(universe.names)
    own = np.array([risk(universe, np.eye(n)[i]) for i in members])
    w = np.zeros(n)
    w[members] = 1.0 / own / (1.0 / own).sum()
    return w, risk(universe, w)


def bisection(universe, order):
    """Lopez de Prado (2016), getRecBipart, with the measure of the universe."""
    w = np.ones(len(order))
    clusters = [list(order)]
    while clusters:
        halves = [c[j:k] for c in clusters for j, k in ((0, len(c) // 2), (len(c) // 2, len(c))) if len(c) > 1]
        for first, second in zip(halves[::2], halves[1::2], strict=True):
            one, two = naive(universe, first)[1], naive(universe, second)[1]
            alpha = 1.0 - one / (one + two)
            w[first] *= alpha
            w[second] *= 1.0 - alpha
        clusters = halves
    return w


def equal_risk(universe, joins, k):
    """Raffinot (2018): the last k - 1 joins split the tree, a side's risk is the sum of its clusters'."""
    n = len(universe.names)
    clusters = [frozenset({i}) for i in range(n)]
    for a, b, _ in joins[: n - k]:
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
    risks = {c: naive(universe, sorted(c)) for c in clusters}
    w = sum(weights for weights, _ in risks.values())
    for a, b, _ in joins[n - k :]:
        one, two = (sum(risks[c][1] for c in clusters if c <= side) for side in (a, b))
        alpha = 1.0 - one / (one + two)
        w[sorted(a)] *= alpha
        w[sorted(b)] *= 1.0 - alpha
    return w
