"""From prices to moments: the window, its checks, and the estimators that the request names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.estimation.data_checks import CheckSettings, Finding, Severity, check_prices
from kernel.estimation.entropy_pooling import EntropyPosterior
from kernel.estimation.views import BlackLittermanPosterior
from kernel.factors.model import FactorModel
from kernel.problem import Moments
from kernel.quadratic import Quadratic
from kernel.scenarios import Scenarios
from server.compute.inputs import PERIODS_PER_YEAR, Floats, MarketInputs, Window
from server.compute.pooling import pooled
from server.compute.returns_models import ExpectedReturns, expected_returns, market_weights
from server.compute.risk_models import estimate_risk
from server.compute.views import black_litterman
from server.errors import NotReady
from server.specs import CASH, ModelSpec, ScenarioSpec

__all__ = ["PERIODS_PER_YEAR", "Estimate", "check_window", "estimate"]

_LISTED = 20
_LEAST_OBSERVATIONS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """Moments of the universe with cash last, the returns they come from, and how they were made.

    Attributes:
        moments: n + 1 assets, annual; cash earns the risk-free rate and has no risk.
        scenarios: Returns of the n + 1 assets: the window's history, or the caller's scenarios.
        shrinkage: Intensity of the covariance's shrinkage, None without.
        repair_distance: Relative distance by which the covariance was repaired.
        returns_shrinkage: Intensity of the expected returns' shrinkage, None without.
        factor_set_id: Of whose factors a model was estimated, empty without.
        factor_model: Whose covariance the moments have, of the assets but cash; None without.
        factor_model_ids: Of the stored models of risk and of expected returns; empty without.
        posterior: Of Black-Litterman, None without views.
        market_weights: (n,) of the equilibrium, None without one.
        pooling: What views on the distribution made of the scenarios' probabilities, None without views.
    """

    moments: Moments
    scenarios: Scenarios
    window: Window
    returns_method: str
    risk_method: str
    shrinkage: float | None = None
    repair_distance: float = 0.0
    returns_shrinkage: float | None = None
    factor_set_id: str = ""
    factor_model: FactorModel | None = None
    factor_model_ids: tuple[str, str] = ("", "")
    posterior: BlackLittermanPosterior | None = None
    market_weights: Floats | None = None
    pooling: EntropyPosterior | None = None

    @property
    def R(self) -> Floats:  # noqa: N802 - the literature's symbol
        """(T, n + 1) simple returns per period."""
        return self.scenarios.R


def estimate(inputs: MarketInputs, model: ModelSpec) -> Estimate:
    """Estimate the moments that `model` asks for, whose names were checked against the universe.

    Raises:
        NotReady: An asset has no complete history in the window; every one is named.
        ContradictoryViews: Views on the distribution cannot hold together.
        ProblemError: What the caller provided is no covariance, or its views on returns contradict each other.
    """
    if model.scenarios is not None:
        return _from_scenarios(inputs, model, model.scenarios)
    window = check_window(inputs, model)
    returns = inputs.closes[1:] / inputs.closes[:-1] - 1.0
    R = np.column_stack([returns, np.full(len(returns), model.risk_free_rate / PERIODS_PER_YEAR)])
    if model.distribution_views:
        return _by_probabilities(model, Scenarios.history(inputs.names, R, PERIODS_PER_YEAR), window)
    risk = estimate_risk(inputs, model, returns)
    posterior, covariance = None, risk.covariance
    if model.views is None:
        found = expected_returns(inputs, model, returns, risk)
    else:
        market = market_weights(inputs, model.views.market_caps)
        posterior = black_litterman(inputs, model, risk, market)
        covariance = posterior.Sigma_posterior
        found = ExpectedReturns(posterior.posterior + model.risk_free_rate, market_weights=market)
    return Estimate(
        moments=_with_cash(inputs, found.mu, covariance, model.risk_free_rate),
        scenarios=Scenarios.history(inputs.names, R, PERIODS_PER_YEAR),
        window=window,
        returns_method=model.returns.method if posterior is None else "black_litterman",
        risk_method=model.risk.method,
        shrinkage=risk.shrinkage,
        repair_distance=risk.repair_distance,
        returns_shrinkage=found.shrinkage,
        factor_set_id=found.factor_set_id or risk.factor_set_id,
        factor_model=risk.factor_model if posterior is None else None,
        factor_model_ids=(risk.factor_model_id, found.factor_model_id),
        posterior=posterior,
        market_weights=found.market_weights,
    )


def check_window(inputs: MarketInputs, model: ModelSpec) -> Window:
    """Check the prices; an asset that cannot be used stops the computation, by name."""
    provided = all(part.method == "provided" or part.factor_model_id for part in (model.returns, model.risk))
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


def _from_scenarios(inputs: MarketInputs, model: ModelSpec, spec: ScenarioSpec) -> Estimate:
    """Of prices only the last is used, to value the portfolio."""
    assert spec.R is not None
    assert spec.p is not None
    periods, place = PERIODS_PER_YEAR / spec.days, {name: k for k, name in enumerate(spec.names)}
    cash = np.full(len(spec.p), model.risk_free_rate / periods)
    R = np.column_stack([spec.R[:, [place[name] for name in inputs.ids]], cash])
    # Probabilities as text round to 1 within 1e-9; programs want it exact.
    scenarios = Scenarios(inputs.names, R, spec.p / spec.p.sum(), periods, spec.ordered)
    window = Window(str(inputs.dates[0]), str(inputs.dates[-1]), len(spec.p), ())
    return _by_probabilities(model, scenarios, window)


def _by_probabilities(model: ModelSpec, scenarios: Scenarios, window: Window) -> Estimate:
    """Means and covariance weighted by the probabilities, which views on the distribution change first."""
    method, posterior = "scenarios", None
    if model.distribution_views:
        method = "entropy_pooling"
        scenarios, posterior = pooled(scenarios, model.distribution_views)
    periods, centred = scenarios.periods_per_year, scenarios.R - scenarios.mean
    centred[:, -1] = 0.0
    factor = centred * np.sqrt(periods * scenarios.p)[:, None]
    covariance = Quadratic(factor=factor) if len(factor) < scenarios.n else factor.T @ factor
    mu = periods * scenarios.mean
    mu[-1] = model.risk_free_rate
    return Estimate(
        moments=Moments(scenarios.names, mu, covariance),
        scenarios=scenarios,
        window=window,
        returns_method=method,
        risk_method=method,
        pooling=posterior,
    )


def _with_cash(inputs: MarketInputs, mu: Floats, covariance: Floats | Quadratic, risk_free_rate: float) -> Moments:
    wide: Floats | Quadratic
    if isinstance(covariance, Quadratic):
        assert covariance.factor is not None
        factor = np.column_stack([covariance.factor, np.zeros(len(covariance.factor))])
        wide = Quadratic(None, factor, None if covariance.diagonal is None else np.append(covariance.diagonal, 0.0))
    else:
        wide = np.pad(covariance, (0, 1))
    return Moments((*inputs.ids, CASH), np.append(mu, risk_free_rate), wide)
