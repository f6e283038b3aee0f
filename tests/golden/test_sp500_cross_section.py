"""A model of market, styles and sectors on S&P 500 names: what is known of that market shows in it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import statsmodels.api as sm

from kernel.factors.cross_sectional_model import CrossSectional, CrossSectionSettings, cross_sectional_model
from kernel.factors.model import RiskSettings
from kernel.factors.panel import Panel
from kernel.factors.styles import style_exposures
from tests.sp500 import WRONG_SPLIT, complete_names, needs_prices

pytestmark = needs_prices


@cache
def panel() -> Panel:
    """Names with a close on every day."""
    found = complete_names(WRONG_SPLIT)
    return Panel(names=found.names, closes=found.closes, caps=found.caps, sectors=found.sectors)


@cache
def model() -> CrossSectional:
    return cross_sectional_model(panel(), CrossSectionSettings(), RiskSettings())


def caps_of_the_day_before() -> np.ndarray:
    data, days = panel(), len(model().estimated.F)
    assert data.caps is not None
    return (data.caps * data.closes / data.closes[-1])[-days - 1 : -1]


def test_the_model_has_eleven_sectors_and_all_styles_but_the_unknown_score() -> None:
    made = model()
    assert len(panel().names) == 469
    assert made.kinds == ("market",) + ("style",) * 4 + ("industry",) * 11
    assert made.styles == ("market_beta", "momentum", "volatility", "size")
    assert [name for name, _ in made.left_out] == ["quality"]
    assert made.estimated.F.shape == (1258 - 252, 16)


def test_the_market_factor_is_the_market() -> None:
    caps = caps_of_the_day_before()
    index = (caps / caps.sum(axis=1, keepdims=True) * panel().returns[252:]).sum(axis=1)
    market = model().estimated.F[:, 0]
    assert np.corrcoef(index, market)[0, 1] > 0.99
    assert np.polyfit(index, market, 1)[0] == pytest.approx(1.0, abs=0.03)
    assert 0.11 < np.sqrt(model().estimated.model.Phi[0, 0]) < 0.135


def test_sectors_by_capitalisation_add_up_to_zero() -> None:
    caps, sectors = caps_of_the_day_before(), np.array(panel().sectors)
    names = model().estimated.model.factors[5:]
    weights = np.column_stack([caps[:, sectors == name].sum(axis=1) for name in names]) / caps.sum(axis=1)[:, None]
    np.testing.assert_allclose((weights * model().estimated.F[:, 5:]).sum(axis=1), 0.0, atol=1e-16)


def test_styles_are_standardised_and_say_what_is_known_of_the_names() -> None:
    made, data = model(), panel()
    assert data.caps is not None
    X = made.estimated.model.B[:, 1:5]
    np.testing.assert_allclose(data.caps @ X / data.caps.sum(), 0.0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1.0, rtol=1e-12)
    exposure = {
        (name, style): X[i, s] for i, name in enumerate(data.names) for s, style in enumerate(made.styles)
    }  # fmt: skip
    # February 2018: the largest company, chip makers that had doubled, a water utility, a retailer in distress.
    assert exposure["AAPL", "size"] == X[:, 3].max()
    assert exposure["NVDA", "momentum"] > 1.5
    assert exposure["NVDA", "market_beta"] > 1.0
    assert exposure["AWK", "market_beta"] < -1.0
    assert exposure["CHK", "momentum"] < -1.5
    assert exposure["CHK", "volatility"] > 1.0


def test_a_day_is_the_constrained_least_squares_of_statsmodels() -> None:
    made, data = model(), panel()
    X = style_exposures(data, made.styles, 3.0).X
    factors = made.estimated.model.factors
    sectors, caps = np.array(data.sectors), caps_of_the_day_before()
    D = np.column_stack([(sectors == name).astype(float) for name in factors[5:]])
    for day in (0, 400, 1005):
        design = np.column_stack([np.ones(len(sectors)), X[:, day].T, D])
        row = np.concatenate([np.zeros(5), caps[day] @ D / caps[day].sum()])
        glm = sm.GLM(data.returns[252 + day], design, var_weights=np.sqrt(caps[day] / caps[day].mean()))
        expected = glm.fit_constrained((row[np.newaxis], np.zeros(1))).params
        np.testing.assert_allclose(made.estimated.F[day], expected, rtol=1e-9, atol=1e-13)


def test_risk_is_that_of_the_names_and_of_the_market() -> None:
    estimated, data = model().estimated, panel()
    risk = estimated.model
    total = np.einsum("ik,kl,il->i", risk.B, risk.Phi, risk.B) + risk.specific
    R = data.returns[252:]
    assert np.median(np.sqrt(total) / (R.std(axis=0) * np.sqrt(252.0))) == pytest.approx(1.0, abs=0.05)
    assert data.caps is not None
    w = data.caps / data.caps.sum()
    x = risk.B.T @ w
    model_volatility = np.sqrt(x @ risk.Phi @ x + np.sum(w * w * risk.specific))
    assert model_volatility == pytest.approx(np.std(R @ w) * np.sqrt(252.0), rel=0.03)
    # Utilities and energy move apart from the market more than industrials do.
    volatility = dict(zip(risk.factors, np.sqrt(np.diag(risk.Phi)), strict=True))
    assert volatility["Energy"] > 2.0 * volatility["Industrials"]
    assert volatility["Utilities"] > 1.5 * volatility["Industrials"]
    assert 0.3 < estimated.diagnostics["cross_section_r_squared"] < 0.5
    assert 1.0 < estimated.variance_inflation.max() < 5.0
    assert estimated.condition_number < 10.0
