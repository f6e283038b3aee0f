"""Choueifaty & Coignard 2008, Choueifaty, Froidure & Reynier 2013, Roncalli 2010: most diversified portfolios."""

import numpy as np
import pytest

from kernel.methods.diversification import maximize_diversification
from kernel.problem import Settings
from kernel.status import Status
from tests.golden.papers import moments_of, paper, problem_of

EXAMPLES = {
    # Two assets of volatilities 20% and 10%, correlation 0.5: w = (1/3, 2/3).
    "two assets": ([[0.04, 0.01], [0.01, 0.01]], [0.33, 0.67]),
    # The first of them with a quarter of the leverage: the weights change, the exposures do not.
    "leverage": ([[0.0025, 0.0025], [0.0025, 0.01]], [0.67, 0.33]),
    "two alike and one apart": (
        [[0.01, 0.009, 0.001], [0.009, 0.01, 0.001], [0.001, 0.001, 0.01]],
        [0.257, 0.257, 0.486],
    ),
}
# Asset C holds a half of A, a quarter of B, and cash.
POLICO = [[0.04, 0.01, 0.0225], [0.01, 0.01, 0.0075], [0.0225, 0.0075, 0.013125]]

# T. Roncalli, Understanding the impact of weights constraints in portfolio theory, 2010, four assets.
RONCALLI = [
    [0.0225, 0.003, 0.015, 0.0225],
    [0.003, 0.04, 0.035, 0.024],
    [0.015, 0.035, 0.0625, 0.06],
    [0.0225, 0.024, 0.06, 0.09],
]


def most_diversified(cov, **bounds):
    moments = moments_of([0.0] * len(cov), cov)
    found = maximize_diversification(problem_of(moments, **bounds), np.ones(len(cov), dtype=bool), Settings())
    assert found.status is Status.OPTIMAL, found.message
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    cov, printed = EXAMPLES[name]
    np.testing.assert_allclose(most_diversified(cov).weights, printed, atol=5.1e-3)


def test_two_assets_to_the_last_digit():
    """Two assets are held by inverse volatility whatever their correlation; the ratio is sqrt(2 / (1 + rho))."""
    found = most_diversified(EXAMPLES["two assets"][0])
    np.testing.assert_allclose(found.weights, [1 / 3, 2 / 3], atol=1e-10)
    assert found.certificate.objective == pytest.approx(np.sqrt(2 / 1.5), rel=1e-12)


def test_a_portfolio_of_two_added_to_them_changes_nothing():
    """Polico invariance. The covariance is singular, so that only the exposures to A and B are unique."""
    found = most_diversified(POLICO)
    plain = most_diversified(EXAMPLES["two assets"][0])
    assert found.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-9)
    exposures = found.weights[:2] + found.weights[2] * np.array([0.5, 0.25])
    np.testing.assert_allclose(exposures / exposures.sum(), plain.weights, atol=1e-4)
    np.testing.assert_allclose(plain.weights, [0.33, 0.67], atol=5.1e-3)


def test_with_a_cap():
    np.testing.assert_allclose(most_diversified(RONCALLI, upper=0.4).weights, [0.4, 0.4, 0, 0.2], atol=1e-8)


def test_as_transcribed():
    content = paper("choueifaty_mdp")
    inputs, published = content["inputs"], content["published"]
    assert inputs["two_assets_cov"] == EXAMPLES["two assets"][0]
    assert inputs["leverage_cov"] == EXAMPLES["leverage"][0]
    assert inputs["example2_cov"] == EXAMPLES["two alike and one apart"][0]
    assert inputs["polico_cov"] == POLICO
    assert (published["two_assets"], published["leverage"]) == ([0.33, 0.67], [0.67, 0.33])
    assert published["example2_pct"] == [25.7, 25.7, 48.6]
    other = paper("roncalli_2010_weight_constraints")
    assert other["inputs"]["cov"] == RONCALLI
    assert other["published"]["mdp_max40"] == [0.4, 0.4, 0, 0.2]
