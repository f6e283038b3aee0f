"""The five frontiers of OR-Library: 2,000 published points each, for 31 to 225 assets.

T.-J. Chang, N. Meade, J. Beasley, Y. Sharaiha, Heuristics for cardinality constrained portfolio optimisation,
Computers & Operations Research 27 (2000) 1271-1302.
"""

import gzip

import numpy as np
import pytest

from kernel.constraints import LinearLimit
from kernel.frontier import FrontierPath, FrontierRequest, efficient_frontier
from kernel.methods.mean_risk import optimize
from kernel.problem import Settings
from tests.golden.papers import SHARED, moments_of, problem_of

DATA = SHARED / "data" / "orlib_portfolio"
SETTINGS = Settings()
# The published variances are rounded to 4e-7.
RELATIVE = 1e-6

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the OR-Library data are not beside the project")


def market(number):
    assets = np.genfromtxt(DATA / f"port{number}_assets.csv", delimiter=",", skip_header=1, usecols=(1, 2))
    with gzip.open(DATA / f"port{number}_corr.csv.gz", "rt") as file:
        correlation = np.genfromtxt(file, delimiter=",", skip_header=1)[:, 1:]
    deviation = assets[:, 1]
    return moments_of(assets[:, 0], correlation * np.outer(deviation, deviation))


def published(number):
    return np.genfromtxt(DATA / f"portef{number}.csv", delimiter=",", skip_header=1)


@pytest.mark.parametrize("number", range(1, 6))
def test_all_published_points_lie_on_the_exact_path(number):
    moments, points = market(number), published(number)
    assert points.shape == (2000, 2)
    path = FrontierPath.of(problem_of(moments), SETTINGS)
    weights = [path.at(path.place_of_return(value))[0][: moments.n] for value in points[:, 0]]
    variances = [w @ moments.Sigma @ w for w in weights]
    np.testing.assert_allclose(variances, points[:, 1], rtol=RELATIVE)
    # The lowest published return is rounded and may lie below the least-risk portfolio's.
    np.testing.assert_allclose([w @ moments.mu for w in weights], points[:, 0], atol=5.1e-7)


@pytest.mark.parametrize("number", range(1, 6))
def test_the_frontier_call_reads_the_same_path(number):
    moments, points = market(number), published(number)
    for value, variance in points[100::250]:
        frontier = efficient_frontier(problem_of(moments), FrontierRequest(2, 0.0, min_return=value), SETTINGS)
        assert frontier.points[0].expected_return == pytest.approx(value, abs=5.1e-7)
        assert frontier.points[0].risk ** 2 == pytest.approx(variance, rel=RELATIVE)
        assert max(p.gap for p in (*frontier.points, *frontier.turning_points)) <= SETTINGS.tolerance


@pytest.mark.parametrize("number", range(1, 6))
def test_single_points_solved_at_their_return(number):
    moments, points = market(number), published(number)
    for value, variance in points[[0, 1, 400, 1000, 1600, 1990]]:
        target = LinearLimit(moments.mu, value - 1e-12, np.inf, "target", "target", unit="return")
        solution = optimize(problem_of(moments, None, target), SETTINGS)
        assert solution.certificate.objective**2 == pytest.approx(variance, rel=RELATIVE)
