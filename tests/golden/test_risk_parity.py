"""Published portfolios of given shares of the risk: Maillard, Roncalli & Teiletche (2010); Bruder & Roncalli (2012)."""

import numpy as np
import pytest

from kernel.methods.budgets import asset_budgets
from kernel.methods.risk_parity import risk_parity
from kernel.problem import Settings
from tests.golden.papers import moments_of, paper, problem_of

# S. Maillard, T. Roncalli, J. Teiletche, The properties of equally weighted risk contribution portfolios, Journal of
# Portfolio Management 36(4), 2010, p. 65: volatilities of 10% to 40%, and weights in percent as printed.
VOLATILITIES = [0.1, 0.2, 0.3, 0.4]
EXAMPLES = [
    (np.eye(4), [48.0, 24.0, 16.0, 12.0], 0.01),
    (
        [[1.0, 0.8, 0.0, 0.0], [0.8, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -0.5], [0.0, 0.0, -0.5, 1.0]],
        [38.4, 19.2, 24.3, 18.2],
        0.051,
    ),
]
# B. Bruder, T. Roncalli, Managing risk exposures using the risk budgeting approach, 2012, the example of three assets;
# T. Roncalli, Introduction to Risk Parity and Budgeting, 2013, section 2.1.2: budgets and weights in percent.
THREE_VOLATILITIES = [0.3, 0.2, 0.15]
THREE_CORRELATIONS = [[1.0, 0.8, 0.5], [0.8, 1.0, 0.3], [0.5, 0.3, 1.0]]
THREE_ASSETS = [
    ([50.0, 20.0, 30.0], [31.15, 21.90, 46.96]),
    ([1.0, 1.0, 1.0], [19.69, 32.44, 47.87]),
]


def weights(Sigma, budgets):
    moments = moments_of([0.0] * len(budgets), Sigma)
    found = risk_parity(problem_of(moments), asset_budgets(moments.names, np.array(budgets)), Settings())
    assert found.attained, found.solution.message
    return found.solution.weights


@pytest.mark.parametrize(("correlations", "percent", "rounding"), EXAMPLES)
def test_four_assets_of_maillard_roncalli_and_teiletche(correlations, percent, rounding):
    Sigma = np.array(correlations) * np.outer(VOLATILITIES, VOLATILITIES)
    np.testing.assert_allclose(100.0 * weights(Sigma, [1.0] * 4), percent, atol=rounding)


def test_the_shared_transcription_of_the_same():
    content = paper("maillard_roncalli_teiletche_2010")
    for example, rounding in (("example1", 0.01), ("example2", 0.051)):
        found = 100.0 * weights(np.array(content["inputs"][f"{example}_cov"]), [1.0] * 4)
        np.testing.assert_allclose(found, content["published"][f"{example}_erc_pct"], atol=rounding)


@pytest.mark.parametrize(("budgets", "percent"), THREE_ASSETS)
def test_three_assets_of_bruder_and_roncalli(budgets, percent):
    Sigma = np.array(THREE_CORRELATIONS) * np.outer(THREE_VOLATILITIES, THREE_VOLATILITIES)
    np.testing.assert_allclose(100.0 * weights(Sigma, budgets), percent, atol=0.0051)
