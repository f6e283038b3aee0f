"""An estimate is made once for the same data and model, and anew for any other."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kernel.factors.model import FactorModel
from server.compute import memory
from server.compute.inputs import Asset, FactorModelInputs, MarketInputs
from server.specs import ModelSpec, ReturnsSpec, RiskSpec


@pytest.fixture
def inputs():
    rng = np.random.default_rng(4)
    days = np.datetime64("2020-01-01") + np.arange(101)
    closes = 100.0 * np.cumprod(1.0 + rng.normal(0.0005, 0.01, (101, 3)), axis=0)
    assets = tuple(Asset(id=name, sector="S", asset_class="C", market_cap=1e9) for name in ("A", "B", "C"))
    return MarketInputs("p", "pp-of-this-test", assets, days, closes, np.full(3, 0.3), 0.1, Decimal(1000))


def factor_model(name):
    """One factor of volatility 1 or 2, by its id."""
    variance = np.array([[float(name[-1]) ** 2]])
    model = FactorModel(("F",), ("A", "B", "C"), np.ones((3, 1)), variance, np.ones(3))
    days = np.array(["2020-01-02"], dtype="datetime64[D]")
    given = ("given",), ("",), days, np.zeros((1, 1)), None, None, np.zeros(3), 1.0, np.ones(1)
    return FactorModelInputs(name, "time_series", model, *given)


@pytest.fixture
def made(monkeypatch):
    """The models for which an estimate was made."""
    calls = []
    real = memory.estimate

    def counted(inputs, model):
        calls.append(model)
        return real(inputs, model)

    monkeypatch.setattr(memory, "estimate", counted)
    monkeypatch.setattr(memory, "_estimates", type(memory._estimates)())
    return calls


def test_the_second_request_on_the_same_data_estimates_nothing(inputs, made):
    first = memory.remembered_estimate(inputs, ModelSpec(0.02))
    again = memory.remembered_estimate(replace(inputs, w0=np.full(3, 0.2)), ModelSpec(0.02))
    assert len(made) == 1
    assert again is first


def test_what_an_estimate_depends_on_makes_another(inputs, made):
    base = ModelSpec(0.02)
    modelled = replace(inputs, factor_models={name: factor_model(name) for name in ("fm-1", "fm-2")})
    memory.remembered_estimate(inputs, base)
    others = [
        (inputs, replace(base, risk_free_rate=0.03)),
        (inputs, replace(base, risk=RiskSpec("sample"))),
        (inputs, replace(base, returns=ReturnsSpec("exponentially_weighted"))),
        (modelled, replace(base, risk=RiskSpec("factor_model", factor_model_id="fm-1"))),
        (modelled, replace(base, risk=RiskSpec("factor_model", factor_model_id="fm-2"))),
        (replace(inputs, pricing_pack_id="another"), base),
        (replace(inputs, dates=inputs.dates[1:], closes=inputs.closes[1:]), base),
    ]
    for number, (data, model) in enumerate(others, start=2):
        memory.remembered_estimate(data, model)
        assert len(made) == number


def test_only_a_few_are_kept(inputs, made):
    for rate in (0.01, 0.02, 0.03, 0.04, 0.05, 0.01):
        memory.remembered_estimate(inputs, ModelSpec(rate))
    assert len(made) == 6
