"""Expected returns of a stored factor model: the risk-free rate counts once, whatever returns the model explains."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from kernel.factors.model import FactorModel
from server.compute.estimate import estimate
from server.compute.inputs import Asset, FactorModelInputs, MarketInputs
from server.specs import ModelSpec, ReturnsSpec, RiskSpec

Floats = npt.NDArray[np.float64]
NAMES, FACTORS, RATE = ("A", "B", "C", "D"), ("one", "two"), 0.03
# The columns add up to one for every asset: together they hold all the money.
SPANNING = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [1.4, -0.4]])
APART = np.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.1], [0.7, 0.4]])


def stored(kind: str, B: Floats, kinds: tuple[str, str], risk_free: Floats | None = None) -> FactorModelInputs:
    """Of four assets, beside a fifth one that the universe does not have."""
    rng = np.random.default_rng(3)
    days = np.datetime64("2020-01-02") + np.arange(50)
    whole = np.vstack([[0.5, 0.5], B])
    model = FactorModel(FACTORS, ("0", *NAMES), whole, np.diag([0.04, 0.01]), np.full(5, 0.02))
    F = rng.normal(0.0004, 0.01, (50, 2))
    evidence = (None, np.full(5, 0.5), 1.0, np.ones(2))
    return FactorModelInputs("fm-1", kind, model, kinds, ("", ""), days, F, risk_free, *evidence)


def expected(model: FactorModelInputs, **premia: float) -> Floats:
    days = np.datetime64("2021-01-01") + np.arange(5)
    closes = 100.0 * np.cumprod(np.full((5, 4), 1.001), axis=0) + np.arange(5)[:, None] % 2
    assets = tuple(Asset(id=name, sector="S", asset_class="C", market_cap=None) for name in NAMES)
    inputs = MarketInputs(
        *("p", "pp-1", assets, days, closes, np.full(4, 0.25), 0.0, Decimal(100)), factor_models={"fm-1": model}
    )
    spec = ModelSpec(
        RATE,
        returns=ReturnsSpec("factor_model", factor_model_id="fm-1", factor_premia=premia),
        risk=RiskSpec("factor_model", factor_model_id="fm-1"),
    )
    return np.asarray(estimate(inputs, spec).moments.mu[:-1])


def past(model: FactorModelInputs) -> Floats:
    return np.asarray(252.0 * model.F.mean(axis=0))


@pytest.mark.parametrize("B", [SPANNING, APART])
@pytest.mark.parametrize("kind", ["time_series", "cross_sectional"])
def test_factors_above_the_risk_free_rate_are_premia_as_they_are(kind: str, B: Floats) -> None:
    """Given factor returns, and those of a model of returns in excess of the risk-free one."""
    risk_free = None if kind == "time_series" else np.full(50, RATE / 252.0)
    model = stored(kind, B, ("given", "given"), risk_free)
    np.testing.assert_allclose(expected(model), RATE + B @ past(model), rtol=1e-12)


@pytest.mark.parametrize("kind", ["cross_sectional", "statistical"])
def test_factors_that_hold_all_the_money_explain_total_returns(kind: str) -> None:
    model = stored(kind, SPANNING, ("statistical", "statistical"))
    np.testing.assert_allclose(expected(model), SPANNING @ past(model), rtol=1e-9)


def test_what_factors_do_not_hold_earns_the_risk_free_rate() -> None:
    """The least-squares share of the money, over all assets of the model."""
    model = stored("statistical", APART, ("statistical", "statistical"))
    held = APART @ np.linalg.pinv(model.model.B) @ np.ones(5)
    np.testing.assert_allclose(expected(model), APART @ past(model) + RATE * (1.0 - held), rtol=1e-9)


def test_the_market_holds_the_money_where_it_is_a_factor() -> None:
    B = np.column_stack([np.ones(4), APART[:, 1]])
    model = stored("cross_sectional", B, ("market", "style"))
    np.testing.assert_allclose(expected(model), B @ past(model), rtol=1e-9)
    premia = np.array([0.05, past(model)[1]])
    np.testing.assert_allclose(expected(model, one=0.05), RATE + B @ premia, rtol=1e-12)
