"""Published efficient portfolios: Bailey & Lopez de Prado, Roncalli, Markowitz, and maximum-Sharpe examples."""

import numpy as np
import pytest

from kernel.constraints import LinearLimit
from kernel.errors import ProblemError
from kernel.frontier import FrontierRequest, efficient_frontier
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio
from kernel.problem import Settings
from kernel.status import Status
from tests.golden.papers import moments_of, paper, problem_of
from tests.unit.kernel.zoo import BAILEY

SETTINGS = Settings()

# D.H. Bailey, M. Lopez de Prado, An open-source implementation of the critical-line algorithm for portfolio
# optimization, Algorithms 6(1), 2013, table of turning points: return, risk, lambda (three decimals).
BAILEY_TABLE = [
    (1.190, 0.952, 58.303),
    (1.180, 0.546, 4.174),
    (1.160, 0.417, 1.946),
    (1.111, 0.267, 0.165),
    (1.108, 0.265, 0.147),
    (1.022, 0.230, 0.056),
    (1.015, 0.228, 0.052),
    (0.973, 0.220, 0.037),
    (0.950, 0.216, 0.031),
    (0.803, 0.205, 0.000),
]

RONCALLI_MEAN = [0.05, 0.03, 0.07, 0.07]
RONCALLI_SIGMA = [
    [0.0225, 0.003, 0.015, 0.0225],
    [0.003, 0.04, 0.035, 0.024],
    [0.015, 0.035, 0.0625, 0.06],
    [0.0225, 0.024, 0.06, 0.09],
]


def frontier_of(moments, risk_free=0.0, points=20):
    return efficient_frontier(problem_of(moments), FrontierRequest(points, risk_free), SETTINGS)


def least_risk_at(moments, target, **bounds):
    exactly = LinearLimit(moments.mu, target, target, "target return", "target return", unit="return")
    solution = optimize(problem_of(moments, None, exactly, **bounds), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    return solution.weights


class TestBailey:
    @pytest.fixture
    def frontier(self):
        return frontier_of(moments_of(BAILEY["mean"], BAILEY["cov"]))

    def test_turning_points_as_printed(self, frontier):
        corners = frontier.turning_points[::-1]
        found = [(c.expected_return, c.risk, c.multiplier) for c in corners]
        np.testing.assert_allclose(found, BAILEY_TABLE, atol=6e-4)
        assert all(c.gap <= SETTINGS.tolerance for c in corners)

    def test_turning_points_to_the_last_digit(self, frontier):
        published = paper("bailey_lopezdeprado_2013_cla")["published"]["turning_points"]
        corners = frontier.turning_points[::-1]
        assert len(corners) == len(published)
        for corner, row in zip(corners, published, strict=True):
            np.testing.assert_allclose(corner.weights, row["weights"], atol=1e-12)
            assert corner.multiplier == pytest.approx(row["lam"], rel=1e-11, abs=1e-13)
            assert corner.expected_return == pytest.approx(row["ret"], abs=6e-8)
            assert corner.risk**2 == pytest.approx(row["variance"], abs=6e-8)

    def test_highest_sharpe_ratio(self, frontier):
        # Figure 7 of the paper prints 4.4535.
        assert frontier.optimal.sharpe == pytest.approx(4.4535334766464025, rel=1e-13)
        published = paper("bailey_lopezdeprado_2013_cla")["published"]
        np.testing.assert_allclose(frontier.optimal.weights, published["max_sharpe_weights"], atol=1e-13)
        solved = optimize(problem_of(moments_of(BAILEY["mean"], BAILEY["cov"]), MaximizeRatio(0.0)), SETTINGS)
        np.testing.assert_allclose(solved.weights, published["max_sharpe_weights"], atol=1e-10)

    def test_least_risk(self, frontier):
        published = paper("bailey_lopezdeprado_2013_cla")["published"]
        np.testing.assert_allclose(frontier.minimum_risk.weights, published["gmv_weights"], atol=1e-12)


class TestRoncalli:
    """T. Roncalli, Understanding the impact of weights constraints in portfolio theory, 2010, four assets."""

    @pytest.mark.parametrize(
        ("bounds", "printed"),
        [
            ({}, [0.65487, 0.34513, 0, 0]),
            ({"lower": 0.1}, [0.56195, 0.23805, 0.1, 0.1]),
            ({"lower": 0.2}, [0.4, 0.2, 0.2, 0.2]),
            ({"upper": 0.5}, [0.5, 0.5, 0, 0]),
        ],
    )
    def test_least_variance(self, bounds, printed):
        solution = optimize(problem_of(moments_of(RONCALLI_MEAN, RONCALLI_SIGMA), **bounds), SETTINGS)
        np.testing.assert_allclose(solution.weights, printed, atol=5.1e-6)
        frontier = efficient_frontier(
            problem_of(moments_of(RONCALLI_MEAN, RONCALLI_SIGMA), **bounds), FrontierRequest(5, 0.0), SETTINGS
        )
        np.testing.assert_allclose(frontier.minimum_risk.weights, printed, atol=5.1e-6)

    def test_target_return(self):
        weights = least_risk_at(moments_of(RONCALLI_MEAN, RONCALLI_SIGMA), 0.06, upper=0.4)
        np.testing.assert_allclose(weights, [0.4, 0.05, 0.4, 0.15], atol=1e-9)

    def test_as_transcribed(self):
        content = paper("roncalli_2010_weight_constraints")
        assert content["inputs"]["cov"] == RONCALLI_SIGMA
        assert content["inputs"]["mean"] == RONCALLI_MEAN
        assert content["published"]["gmv_max50"] == [0.5, 0.5, 0, 0]


class TestMarkowitz:
    """H. Markowitz, Portfolio selection, 1959, chapter II: nine securities and cash, a covariance of rank nine."""

    # The book prints to 0.005 or 0.01, and rounds some weights wrongly.
    PRINTED = 0.0125

    def test_portfolios_of_the_book(self):
        content = paper("markowitz_1959_ch2")
        moments = moments_of(content["inputs"]["mean"], content["inputs"]["cov"])
        for target, printed in content["published"]["book_weights_by_target_return"].items():
            np.testing.assert_allclose(least_risk_at(moments, float(target)), printed, atol=self.PRINTED)

    def test_the_frontier_passes_through_them(self):
        content = paper("markowitz_1959_ch2")
        moments = moments_of(content["inputs"]["mean"], content["inputs"]["cov"])
        frontier = frontier_of(moments, points=21)
        assert frontier.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), frontier.message
        for target, printed in content["published"]["book_weights_by_target_return"].items():
            request = FrontierRequest(2, 0.0, min_return=float(target))
            weights = efficient_frontier(problem_of(moments), request, SETTINGS).points[0].weights
            np.testing.assert_allclose(weights, printed, atol=self.PRINTED)
        np.testing.assert_allclose(frontier.minimum_risk.weights, np.eye(10)[9], atol=1e-4)
        assert frontier.minimum_risk.risk == pytest.approx(0.0, abs=1e-5)
        assert frontier.maximum_return.expected_return == pytest.approx(max(content["inputs"]["mean"]), rel=1e-9)


class TestHighestSharpe:
    def test_kopman_liu(self):
        """L. Kopman, S. Liu, Maximizing the Sharpe ratio and information ratio in the Barra optimizer, MSCI 2009.

        Two assets, both held: w is proportional to Sigma^-1 mu = (0.0015, 0.004)/0.0031, so w = (3, 8)/11.
        """
        moments = moments_of([0.05, 0.1], [[0.05, 0.02], [0.02, 0.07]])
        solution = optimize(problem_of(moments, MaximizeRatio(0.0)), SETTINGS)
        np.testing.assert_allclose(solution.weights, [3 / 11, 8 / 11], atol=1e-10)
        np.testing.assert_allclose(solution.weights, [0.2727, 0.7273], atol=5.1e-5)

    def test_chen_tsai_lin(self):
        """W. Chen, H. Tsai, H. Lin, Optimal mean-variance portfolio selection, Applied Economics 2011 (recomputed)."""
        content = paper("max_sharpe_examples")
        inputs = content["inputs"]["chen_tsai_lin"]
        moments = moments_of(inputs["mean"], inputs["cov"])
        solution = optimize(problem_of(moments, MaximizeRatio(inputs["rf"])), SETTINGS)
        published = content["published"]["chen_tsai_lin_source_recomputed"]
        np.testing.assert_allclose(solution.weights, published, atol=5.1e-5)
        on_path = frontier_of(moments, inputs["rf"]).optimal
        np.testing.assert_allclose(on_path.weights, solution.weights, atol=1e-9)

    def test_kwan_yuan_printed_no_covariance(self):
        """C. Kwan, Y. Yuan 1993: the matrix as printed is indefinite, so nothing may be called optimal on it."""
        inputs = paper("max_sharpe_examples")["inputs"]["kwan_yuan"]
        try:
            moments = moments_of(inputs["mean"], inputs["cov"])
            solution = optimize(problem_of(moments, MaximizeRatio(inputs["rf"])), SETTINGS)
        except ProblemError:
            return
        assert solution.status not in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE)
