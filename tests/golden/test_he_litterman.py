"""Black-Litterman on the seven countries of He and Litterman.

G. He, R. Litterman, The intuition behind Black-Litterman model portfolios, Goldman Sachs, 1999. The figures of tables
1, 2, 4 and 6 stand here; all tables are checked where the shared transcription is at hand. The paper prints 0.1
percentage points, so agreement is to half a unit of the last digit.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from kernel.estimation.expected_returns import equilibrium
from kernel.estimation.views import BlackLittermanInput, View, black_litterman

SHARED = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "papers" / "he_litterman_1999.json"
PRINTED_PCT = 0.051
PRINTED_LAMBDA = 0.00051

# Australia, Canada, France, Germany, Japan, UK, USA (tables 1 and 2)
CORRELATION = np.array(
    [
        [1.000, 0.488, 0.478, 0.515, 0.439, 0.512, 0.491],
        [0.488, 1.000, 0.664, 0.655, 0.310, 0.608, 0.779],
        [0.478, 0.664, 1.000, 0.861, 0.355, 0.783, 0.668],
        [0.515, 0.655, 0.861, 1.000, 0.354, 0.777, 0.653],
        [0.439, 0.310, 0.355, 0.354, 1.000, 0.405, 0.306],
        [0.512, 0.608, 0.783, 0.777, 0.405, 1.000, 0.652],
        [0.491, 0.779, 0.668, 0.653, 0.306, 0.652, 1.000],
    ]
)
VOLATILITY = np.array([0.160, 0.203, 0.248, 0.271, 0.210, 0.200, 0.187])
MARKET = np.array([0.016, 0.022, 0.052, 0.055, 0.116, 0.124, 0.615])
DELTA, TAU = 2.5, 0.05
SIGMA = CORRELATION * np.outer(VOLATILITY, VOLATILITY)

GERMANY = View("Germany over the rest of Europe", np.array([0, 0, -52 / 176, 1, 0, -124 / 176, 0]), 0.05)
CANADA = View("Canada over the USA", np.array([0, 1, 0, 0, 0, 0, -1.0]), 0.04)


def optimal_weights(result):
    """Unconstrained weights (delta Sigma_posterior)^-1 mu."""
    return np.linalg.solve(DELTA * result.Sigma_posterior, result.posterior)


def posterior(*views):
    return black_litterman(BlackLittermanInput(SIGMA, MARKET, DELTA, TAU, views))


def test_table_2_equilibrium():
    printed = [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6]
    np.testing.assert_allclose(100 * equilibrium(SIGMA, MARKET, DELTA), printed, atol=PRINTED_PCT)


def test_table_4_one_view():
    result = posterior(GERMANY)
    np.testing.assert_allclose(100 * result.posterior, [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1], atol=PRINTED_PCT)
    weights = optimal_weights(result)
    np.testing.assert_allclose(100 * weights, [1.5, 2.1, -4.0, 35.4, 11.0, -9.5, 58.6], atol=PRINTED_PCT)
    deviation = weights - MARKET / (1 + TAU)
    np.testing.assert_allclose(100 * deviation, [0, 0, -8.9, 30.2, 0, -21.3, 0], atol=PRINTED_PCT)
    assert result.views[0].variance / TAU == pytest.approx(0.021, abs=PRINTED_LAMBDA)


def test_table_6_two_views():
    result = posterior(GERMANY, CANADA)
    np.testing.assert_allclose(100 * result.posterior, [4.4, 9.1, 9.5, 11.3, 4.6, 7.0, 7.3], atol=PRINTED_PCT)
    weights = optimal_weights(result)
    np.testing.assert_allclose(100 * weights, [1.5, 53.3, -3.3, 33.1, 11.0, -7.8, 7.3], atol=PRINTED_PCT)
    tilt = (1 + TAU) * weights - MARKET
    np.testing.assert_allclose([tilt[3], tilt[1]], [0.292, 0.538], atol=PRINTED_LAMBDA)
    assert [r.variance / TAU for r in result.views] == pytest.approx([0.021, 0.017], abs=PRINTED_LAMBDA)


def shared():
    if not SHARED.exists():
        pytest.skip("the shared transcription of the paper is not beside the project")
    return json.loads(SHARED.read_text())


def transcribed(golden, table):
    inputs, published = golden["inputs"], golden["published"]["tables"][table]
    vol = np.array(inputs["vol"])
    Sigma = np.array(inputs["corr"]) * np.outer(vol, vol)
    rows = zip(published["P"], published["Q"], published["omega_diag"], strict=True)
    views = tuple(View(f"view {i}", np.array(p), q, variance=omega) for i, (p, q, omega) in enumerate(rows))
    problem = BlackLittermanInput(Sigma, np.array(inputs["w_eq"]), inputs["delta"], inputs["tau"], views)
    return black_litterman(problem), published


@pytest.mark.parametrize("table", ["table4", "table5", "table6", "table7", "table8"])
def test_transcribed_tables(table):
    golden = shared()
    result, published = transcribed(golden, table)
    # The transcription repeats table 7's returns under table 8 and marks that column as not reproducing.
    atol = PRINTED_PCT if golden["verification"][f"{table}_expected_returns_pct"]["reproduces"] else 0.1
    np.testing.assert_allclose(100 * result.posterior, published["expected_returns_pct"], atol=atol)
    weights = optimal_weights(result)
    np.testing.assert_allclose(100 * weights, published["weights_pct"], atol=PRINTED_PCT)
    deviation = published["deviation_from_scaled_equilibrium_pct"]
    if deviation is not None:
        np.testing.assert_allclose(100 * (weights - MARKET / (1 + TAU)), deviation, atol=PRINTED_PCT)


@pytest.mark.parametrize("table", ["table6", "table7", "table8"])
def test_transcribed_lambdas(table):
    """(1 + tau) w* - w_eq = P' lambda."""
    result, published = transcribed(shared(), table)
    tilt = (1 + TAU) * optimal_weights(result) - MARKET
    lam, *_ = np.linalg.lstsq(np.array(published["P"]).T, tilt, rcond=None)
    np.testing.assert_allclose(lam, published["lam"], atol=PRINTED_LAMBDA)


@pytest.mark.parametrize("table", ["table4", "table5", "table6", "table7", "table8"])
def test_reported_tilts_are_the_lambdas(table):
    """Each view's reported tilt is lambda / (1 + tau), and the tilts alone lead from the market to the portfolio.

    Table 4 prints the tilt itself, 0.302, which is Germany's deviation in the same table.
    """
    result, published = transcribed(shared(), table)
    tilts = np.array([report.tilt for report in result.views])
    if published.get("lam") is not None:
        scale = 1.0 if table == "table4" else 1 + TAU
        np.testing.assert_allclose(scale * tilts, published["lam"], atol=PRINTED_LAMBDA)
    weights = MARKET / (1 + TAU) + np.array(published["P"]).T @ tilts
    np.testing.assert_allclose(100 * weights, published["weights_pct"], atol=PRINTED_PCT)


def test_table_6_tilts_without_the_transcription():
    germany, canada = posterior(GERMANY, CANADA).views
    assert (1 + TAU) * germany.tilt == pytest.approx(0.292, abs=PRINTED_LAMBDA)
    assert (1 + TAU) * canada.tilt == pytest.approx(0.538, abs=PRINTED_LAMBDA)
