"""The estimators of expected returns, by the word that a request uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernel.estimation import expected_returns as estimators
from kernel.estimation.factor_model import factor_expected_returns
from kernel.estimation.james_stein import james_stein
from server.compute.factor_window import factor_window
from server.compute.inputs import PERIODS_PER_YEAR, FactorModelInputs, Floats, MarketInputs
from server.compute.risk_models import Risk
from server.errors import NotReady
from server.specs import ModelSpec, ReturnsSpec


@dataclass(frozen=True, slots=True)
class ExpectedReturns:
    """(n,) annual expected returns, the risk-free rate included, and how they were made."""

    mu: Floats
    shrinkage: float | None = None
    market_weights: Floats | None = None
    factor_set_id: str = ""
    factor_model_id: str = ""


def expected_returns(inputs: MarketInputs, model: ModelSpec, returns: Floats, risk: Risk) -> ExpectedReturns:
    """Expected returns by the method that the model names."""
    match model.returns.method:
        case "equilibrium":
            market = market_weights(inputs, model.returns.market_caps)
            excess = estimators.equilibrium(risk.Sigma, market, model.returns.risk_aversion)
            return ExpectedReturns(excess + model.risk_free_rate, market_weights=market)
        case "capm":
            return _capm(inputs, model, returns)
        case "james_stein":
            shrunk = james_stein(returns, PERIODS_PER_YEAR)
            return ExpectedReturns(shrunk.mu, shrunk.intensity)
        case "factor_model":
            stored = bool(model.returns.factor_model_id)
            return _stored_model(inputs, model) if stored else _by_factors(inputs, model, returns)
        case _:
            return ExpectedReturns(_means(inputs, model.returns, returns))


def _means(inputs: MarketInputs, spec: ReturnsSpec, returns: Floats) -> Floats:
    match spec.method:
        case "provided":
            return np.array([spec.values[name] for name in inputs.ids])
        case "exponentially_weighted":
            return estimators.exponentially_weighted_mean(returns, spec.half_life, PERIODS_PER_YEAR)
        case _:
            return estimators.historical_mean(returns, PERIODS_PER_YEAR)


def market_weights(inputs: MarketInputs, overrides: Mapping[str, float]) -> Floats:
    """(n,) weights by capitalisation."""
    caps = [overrides.get(asset.id, asset.market_cap) for asset in inputs.assets]
    return estimators.market_weights(np.array(caps, dtype=float))


def _capm(inputs: MarketInputs, model: ModelSpec, returns: Floats) -> ExpectedReturns:
    spec, weights = model.returns, None
    if spec.market_benchmark_id:
        market = _market_series(inputs)
    else:
        weights = market_weights(inputs, spec.market_caps)
        market = estimators.market_series(returns, weights)
    found = estimators.capm(
        returns, market, PERIODS_PER_YEAR, risk_free_rate=model.risk_free_rate, premium=spec.market_premium
    )
    return ExpectedReturns(found.mu, market_weights=weights)


def _market_series(inputs: MarketInputs) -> Floats:
    given = inputs.market
    if given is None or given.closes is None or not np.isfinite(given.closes).all():
        name = "" if given is None else given.id
        raise NotReady(f"benchmark {name} has no price on some days of the window in {inputs.pricing_pack_id}")
    return np.asarray(given.closes[1:] / given.closes[:-1] - 1.0)


def _by_factors(inputs: MarketInputs, model: ModelSpec, returns: Floats) -> ExpectedReturns:
    window = factor_window(inputs, model.returns.factor_set_id, returns)
    design = window.design
    premia = _premia(model.returns, design.factors.names, design.means * design.factors.periods_per_year)
    found = factor_expected_returns(window.R, window.design, premia=premia, risk_free_rate=model.risk_free_rate)
    return ExpectedReturns(found.mu, factor_set_id=window.set_id)


def _stored_model(inputs: MarketInputs, model: ModelSpec) -> ExpectedReturns:
    """The risk-free rate plus B premia: exposures and past premia of the stored model."""
    stored = inputs.factor_models[model.returns.factor_model_id]
    past = stored.F.mean(axis=0) * PERIODS_PER_YEAR - _money_in_factors(stored) * model.risk_free_rate
    premia = _premia(model.returns, stored.model.factors, past)
    B = stored.model.restricted(inputs.ids).B
    return ExpectedReturns(model.risk_free_rate + B @ premia, factor_model_id=stored.id)


def _money_in_factors(stored: FactorModelInputs) -> Floats:
    """(k,) s, how much money the portfolios of the factors hold, on which they earn the risk-free rate.

    Given factor returns are in excess of it, or differences, and so are those of a model of excess returns. A model of
    total returns r = B f + u is one of excess returns r - r_f 1 = B (f - s r_f) + u with B s = 1: the market holds all
    the money where it is a factor; else s is the least-squares solution.
    """
    if stored.kind == "time_series" or stored.risk_free is not None:
        return np.zeros(len(stored.model.factors))
    if "market" in stored.factor_kinds:
        return np.array([float(kind == "market") for kind in stored.factor_kinds])
    return np.asarray(np.linalg.lstsq(stored.model.B, np.ones(len(stored.model.names)))[0])


def _premia(spec: ReturnsSpec, names: Sequence[str], past: Floats) -> Floats:
    """(k,) the caller's premia, and the past's for factors that are not named."""
    return np.array([spec.factor_premia.get(name, mean) for name, mean in zip(names, past.tolist(), strict=True)])
