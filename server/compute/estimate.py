"""From prices to moments: the window, its checks, and the estimators that the request names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernel.estimation import covariance, expected_returns, views
from kernel.estimation.data_checks import CheckSettings, Finding, Severity, check_prices
from kernel.problem import Moments
from server.compute.inputs import Floats, MarketInputs, Window
from server.errors import NotReady
from server.specs import CASH, ModelSpec, ViewSpec, ViewsSpec

PERIODS_PER_YEAR = 252.0
_LISTED = 20
_LEAST_OBSERVATIONS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """Moments of the universe with cash last, the returns they come from, and how they were made.

    Attributes:
        moments: n + 1 assets, annual; cash earns the risk-free rate and has no risk.
        R: (T, n + 1) simple returns per period.
        shrinkage: Intensity of the covariance's shrinkage, None without.
        repair_distance: Relative distance by which the covariance was repaired.
        posterior: Of Black-Litterman, None without views.
        market_weights: (n,) of the equilibrium, None without one.
    """

    moments: Moments
    R: Floats
    window: Window
    returns_method: str
    shrinkage: float | None
    repair_distance: float
    posterior: views.BlackLittermanPosterior | None = None
    market_weights: Floats | None = None


def estimate(inputs: MarketInputs, model: ModelSpec) -> Estimate:
    """Estimate the moments that `model` asks for, whose names were checked against the universe.

    Raises:
        NotReady: An asset has no complete history in the window; every one is named.
        ProblemError: What the caller provided is no covariance, or its views contradict each other.
    """
    window = check_window(inputs, model)
    returns = inputs.closes[1:] / inputs.closes[:-1] - 1.0
    R = np.column_stack([returns, np.full(len(returns), model.risk_free_rate / PERIODS_PER_YEAR)])
    risk = _covariance(inputs, model, returns)
    if model.views is not None:
        return _with_views(inputs, model, model.views, _Base(risk, R, window))
    mu, market = _expected_returns(inputs, model, returns, risk.Sigma)
    moments = _with_cash(inputs, mu, risk.Sigma, model.risk_free_rate)
    return Estimate(
        moments, R, window, model.returns.method, risk.shrinkage, risk.repair_distance, market_weights=market
    )


def check_window(inputs: MarketInputs, model: ModelSpec) -> Window:
    """Check the prices; an asset that cannot be used stops the computation, by name."""
    provided = model.returns.method == "provided" and model.risk.method == "provided"
    least = 3 if provided or model.lookback_days else _LEAST_OBSERVATIONS
    findings = check_prices(inputs.ids, inputs.dates, inputs.closes, CheckSettings(min_observations=least))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise NotReady(_unusable(inputs, errors))
    first, last = inputs.dates[0], inputs.dates[-1]
    return Window(str(first), str(last), len(inputs.dates) - 1, findings)


def _unusable(inputs: MarketInputs, errors: list[Finding]) -> str:
    listed = "; ".join(finding.message for finding in errors[:_LISTED])
    more = f"; and {len(errors) - _LISTED} more" if len(errors) > _LISTED else ""
    return f"prices in {inputs.pricing_pack_id} cannot be used: {listed}{more}"


def _covariance(inputs: MarketInputs, model: ModelSpec, returns: Floats) -> covariance.CovarianceEstimate:
    risk = model.risk
    if risk.method == "sample":
        return covariance.sample(returns, PERIODS_PER_YEAR)
    if risk.method == "ledoit_wolf":
        return covariance.ledoit_wolf(returns, PERIODS_PER_YEAR)
    place = {name: k for k, name in enumerate(risk.names)}
    assert risk.Sigma is not None
    order = [place[name] for name in inputs.ids]
    return covariance.provided(risk.Sigma[np.ix_(order, order)], max_distance=risk.max_repair_distance)


def _expected_returns(
    inputs: MarketInputs, model: ModelSpec, returns: Floats, Sigma: Floats
) -> tuple[Floats, Floats | None]:
    spec = model.returns
    if spec.method == "historical_mean":
        return expected_returns.historical_mean(returns, PERIODS_PER_YEAR), None
    if spec.method == "provided":
        return np.array([spec.values[name] for name in inputs.ids]), None
    market = _market_weights(inputs, spec.market_caps)
    return expected_returns.equilibrium(Sigma, market, spec.risk_aversion) + model.risk_free_rate, market


def _market_weights(inputs: MarketInputs, overrides: Mapping[str, float]) -> Floats:
    caps = [overrides.get(asset.id, asset.market_cap) for asset in inputs.assets]
    return expected_returns.market_weights(np.array(caps, dtype=float))


@dataclass(frozen=True, slots=True)
class _Base:
    """What does not depend on the model of returns."""

    risk: covariance.CovarianceEstimate
    R: Floats
    window: Window


def _with_views(inputs: MarketInputs, model: ModelSpec, spec: ViewsSpec, base: _Base) -> Estimate:
    risk = base.risk
    market = _market_weights(inputs, spec.market_caps)
    posterior = views.black_litterman(
        views.BlackLittermanInput(
            Sigma=risk.Sigma,
            market_weights=market,
            risk_aversion=spec.risk_aversion,
            tau=spec.tau,
            views=tuple(_view(inputs, view) for view in spec.views),
        )
    )
    mu = posterior.posterior + model.risk_free_rate
    moments = _with_cash(inputs, mu, posterior.Sigma_posterior, model.risk_free_rate)
    return Estimate(
        moments, base.R, base.window, "black_litterman", risk.shrinkage, risk.repair_distance, posterior, market
    )


def _view(inputs: MarketInputs, view: ViewSpec) -> views.View:
    weights = np.array([view.weights.get(name, 0.0) for name in inputs.ids])
    return views.View(view.name, weights, view.expected_return, view.confidence, view.variance)


def _with_cash(inputs: MarketInputs, mu: Floats, Sigma: Floats, risk_free_rate: float) -> Moments:
    n = len(mu)
    wide = np.zeros((n + 1, n + 1))
    wide[:n, :n] = Sigma
    return Moments((*inputs.ids, CASH), np.append(mu, risk_free_rate), wide)
