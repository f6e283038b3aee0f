"""How alike assets are, and the distances that stand for it.

====================  =============================================================  ============================
word                  codependence                                                   distance d
====================  =============================================================  ============================
pearson               rho, correlation of the covariance                             sqrt((1 - rho) / 2)
spearman              rho, correlation of the ranks, ties in the middle              sqrt((1 - rho) / 2)
distance              R, distance correlation, 0 to 1                                sqrt(1 - R)
mutual_information    VI = 1 - I(x, y) / H(x, y), variation of information           VI
====================  =============================================================  ============================

All lie between 0 and 1 and are 0 between an asset and itself. Scenarios count by their probabilities: ranks are
``P(X < x) + P(X = x) / 2``, distance covariances are those of the discrete distribution, bins hold probability.

References: Lopez de Prado (2016) and (2020), section 3; Szekely, Rizzo & Bakirov (2007); Hacine-Gharbi & Ravier (2018)
for the number of bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.special import entr

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError
from kernel.hierarchy.universe import Universe
from kernel.quadratic import Indices
from kernel.scenarios import Scenarios

# Sums in another order differ by less; differences that mean something are larger.
_DECIMALS = 12
# Scenarios times assets; the work grows with the square.
_LARGEST_DISTANCES = 800_000
# Entries of a table of pairs that is held at once.
_BLOCK = 4_000_000


def distances(word: str, universe: Universe) -> Matrix:
    """(n, n) distances between the assets, symmetric, 0 on the diagonal, 0 to 1.

    Args:
        word: ``pearson``, ``spearman``, ``distance`` or ``mutual_information``.
        universe: The assets.

    Raises:
        ProblemError: The word is unknown, an asset never moves, or there is too much for distance correlations.
    """
    if word not in _DISTANCES:
        raise ProblemError("hierarchy.codependence", f"must be one of {', '.join(_DISTANCES)}, not {word!r}")
    D = _DISTANCES[word](universe)
    np.fill_diagonal(D, 0.0)
    return D


def distances_of_columns(D: Matrix) -> Matrix:
    """(n, n) Euclidean distances between the columns of D: assets are near that are alike in all their distances.

    References: Lopez de Prado (2016), stage 1.
    """
    X = D - D.mean(axis=0)
    G = X @ X.T
    size = np.diag(G)
    squares = np.maximum(size[:, None] + size - 2.0 * G, 0.0)
    # Short distances lose their digits in the difference of long ones.
    for i in np.flatnonzero((squares < 1e-4).sum(axis=1) > 1).tolist():
        near = np.flatnonzero(squares[i] < 1e-4)
        squares[i, near] = ((D[near] - D[i]) ** 2).sum(axis=1)
    return np.asarray(np.round(np.sqrt(squares), _DECIMALS - 2))


def _from_correlation(C: Matrix) -> Matrix:
    return np.asarray(np.sqrt(np.round(np.clip(1.0 - C, 0.0, 2.0), _DECIMALS) / 2.0))


def _pearson(universe: Universe) -> Matrix:
    Sigma = universe.moments.Sigma
    deviations = np.sqrt(np.diag(Sigma))
    _require_moves(universe, deviations)
    return _from_correlation(Sigma / deviations[:, None] / deviations)


def _spearman(universe: Universe) -> Matrix:
    scenarios = universe.scenarios.possible
    ranks = np.column_stack([_middle_ranks(x, scenarios.p) for x in scenarios.R.T])
    return _from_correlation(_correlation(universe, ranks, scenarios.p))


def _distance(universe: Universe) -> Matrix:
    scenarios = universe.scenarios.possible
    if scenarios.T * scenarios.n > _LARGEST_DISTANCES:
        size = f"{scenarios.T} scenarios of {scenarios.n} assets"
        raise ProblemError(
            "hierarchy.codependence", f"distance compares all pairs of scenarios: {size} exceed {_LARGEST_DISTANCES:,}"
        )
    covariances = distance_covariances(scenarios)
    deviations = np.sqrt(np.diag(covariances))
    _require_moves(universe, deviations)
    squares = np.clip(covariances / deviations[:, None] / deviations, 0.0, 1.0)
    return np.asarray(np.sqrt(np.round(1.0 - np.sqrt(squares), _DECIMALS)))


def _mutual_information(universe: Universe) -> Matrix:
    scenarios = universe.scenarios.possible
    C = np.clip(_correlation(universe, scenarios.R, scenarios.p), -1.0, 1.0)
    bins = number_of_bins(1.0 / float(scenarios.p @ scenarios.p), C)
    D = np.zeros_like(C)
    for count in np.unique(bins).tolist():
        places = _bins(scenarios.R, count)
        for i in range(scenarios.n - 1):
            others = i + 1 + np.flatnonzero(bins[i, i + 1 :] == count)
            if len(others):
                D[i, others] = D[others, i] = variation_of_information(places, scenarios.p, i, others)
    return np.asarray(np.round(np.clip(D, 0.0, 1.0), _DECIMALS))


_DISTANCES: Mapping[str, Callable[[Universe], Matrix]] = MappingProxyType(
    {
        "pearson": _pearson,
        "spearman": _spearman,
        "distance": _distance,
        "mutual_information": _mutual_information,
    }
)


def _require_moves(universe: Universe, deviations: Vector) -> None:
    for i in np.flatnonzero(~(deviations > 1e-12 * deviations.max())).tolist():
        raise ProblemError("hierarchy.codependence", f"{universe.names[i]} never moves: nothing is like it or unlike")


def _correlation(universe: Universe, X: Matrix, p: Vector) -> Matrix:
    """(n, n) correlation of the columns of X under the probabilities p."""
    centred = (X - p @ X) * np.sqrt(p)[:, None]
    covariance = centred.T @ centred
    deviations = np.sqrt(np.diag(covariance))
    _require_moves(universe, deviations)
    return np.asarray(covariance / deviations[:, None] / deviations)


def _middle_ranks(x: Vector, p: Vector) -> Vector:
    """(T,) P(X < x) + P(X = x) / 2."""
    _, places = np.unique(x, return_inverse=True)
    mass = np.bincount(places, weights=p)
    return np.asarray((np.cumsum(mass) - 0.5 * mass)[places])


def distance_covariances(scenarios: Scenarios) -> Matrix:
    """(n, n) squared distance covariances ``sum p_s p_t A_st B_st``, A and B the centred |x_s - x_t| and |y_s - y_t|.

    Pairs of scenarios are gone through in blocks of rows s, and of those only t from the block on: the tables are
    symmetric.

    References: Szekely, Rizzo & Bakirov (2007), definition 4.
    """
    R, p = scenarios.R, scenarios.p
    T, n = R.shape
    rows = _mean_distances(R, p)
    grand = p @ rows
    found = np.zeros((n, n))
    step = max(1, _BLOCK // (n * T))
    for first in range(0, T, step):
        last = min(first + step, T)
        weight = np.sqrt(p[first:last, None] * p[None, first:])
        weight[:, last - first :] *= np.sqrt(2.0)
        X, mean = R.T[:, first:], rows.T[:, first:]
        own = slice(0, last - first)
        table = np.abs(X[:, own, None] - X[:, None, :])
        table -= mean[:, own, None] - grand[:, None, None]
        table -= mean[:, None, :]
        table *= weight
        flat = table.reshape(n, -1)
        found += flat @ flat.T
    return found


def _mean_distances(R: Matrix, p: Vector) -> Matrix:
    """(T, n) sum_t p_t |x_s - x_t| by sorting."""
    found = np.empty_like(R)
    for i, x in enumerate(R.T):
        order = np.argsort(x, kind="stable")
        z, q = x[order], p[order]
        mass, moment = np.cumsum(q), np.cumsum(q * z)
        found[order, i] = z * (2.0 * mass - mass[-1]) + moment[-1] - 2.0 * moment
    return found


def number_of_bins(observations: float, correlation: Matrix) -> Indices:
    """Bins on each side of the joint histogram of two series, no more than one series alone would have, 2 at least.

        two series   round(sqrt((1 + sqrt(1 + 24 N / (1 - rho^2))) / 2))
        one series   round(z / 6 + 2 / (3 z) + 1 / 3),  z^3 = 8 + 324 N + 12 sqrt(36 N + 729 N^2)

    Args:
        observations: N; with unequal probabilities 1 / sum p^2.
        correlation: rho of each pair, -1 to 1.

    References: Hacine-Gharbi & Ravier (2018); Lopez de Prado (2020), snippet 3.3.
    """
    N = observations
    z = np.cbrt(8.0 + 324.0 * N + 12.0 * np.sqrt(36.0 * N + 729.0 * N**2))
    alone = round(float(z / 6.0 + 2.0 / (3.0 * z) + 1.0 / 3.0))
    unexplained = np.maximum(1.0 - correlation**2, 1e-12)
    together = np.round(np.sqrt((1.0 + np.sqrt(1.0 + 24.0 * N / unexplained)) / 2.0))
    return np.asarray(np.clip(together, 2, max(alone, 2)), dtype=np.intp)


def _bins(R: Matrix, count: int) -> Indices:
    """(T, n) bin of each return, 0 to count - 1: equal widths from the least to the largest, which the last one has."""
    low, high = R.min(axis=0), R.max(axis=0)
    edges = np.linspace(low, high, count + 1)
    places = np.column_stack([np.searchsorted(edge, x, side="right") for edge, x in zip(edges.T, R.T, strict=True)])
    return np.asarray(np.minimum(places - 1, count - 1), dtype=np.intp)


def variation_of_information(places: Indices, p: Vector, i: int, others: Indices) -> Vector:
    """(m,) ``(2 H(x, y) - H(x) - H(y)) / H(x, y)`` of series i against the others.

    Args:
        places: (T, n) bins.
        p: (T,) probabilities.
        i: The one series.
        others: (m,) the others.

    References: Lopez de Prado (2020), section 3.
    """
    count, m = int(places.max()) + 1, len(others)
    cells = (np.arange(m) * count + places[:, i, None]) * count + places[:, others]
    mass = np.bincount(cells.ravel(), weights=np.repeat(p, m), minlength=m * count**2)
    joint = mass.reshape(m, count, count)
    together = entr(joint).sum(axis=(1, 2))
    apart = entr(joint.sum(axis=1)).sum(axis=1) + entr(joint.sum(axis=2)).sum(axis=1)
    return np.asarray(2.0 - apart / together)
