"""The estimators of risk, by the word that a request uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.estimation import covariance, low_rank
from kernel.estimation.denoising import denoised
from kernel.estimation.factor_model import factor_covariance
from kernel.estimation.gerber import gerber
from kernel.estimation.low_rank import LowRank
from kernel.factors.model import FactorModel
from kernel.quadratic import Quadratic
from server.compute.factor_window import factor_window
from server.compute.inputs import PERIODS_PER_YEAR, Floats, MarketInputs
from server.specs import ModelSpec, RiskSpec

# Estimates that are kept as factors where assets outnumber periods: the dense matrix has no more in it.
_FACTORS = {
    "sample": low_rank.sample_factor,
    "ledoit_wolf": low_rank.ledoit_wolf_factor,
    "oas": low_rank.oas_factor,
}


@dataclass(frozen=True, slots=True)
class Risk:
    """An annual covariance of the n assets, dense or as factors, and how it was made.

    Attributes:
        factor_set_id: Of whose factors a model was estimated; empty without.
        factor_model_id: Of the stored model; empty without.
        factor_model: Whose covariance it is; None without.
    """

    covariance: Floats | Quadratic
    shrinkage: float | None = None
    repair_distance: float = 0.0
    factor_set_id: str = ""
    factor_model_id: str = ""
    factor_model: FactorModel | None = None

    @property
    def Sigma(self) -> Floats:  # noqa: N802 - the literature's symbol
        """(n, n) the covariance, made dense where it came as factors."""
        return self.covariance.dense if isinstance(self.covariance, Quadratic) else self.covariance


def estimate_risk(inputs: MarketInputs, model: ModelSpec, returns: Floats) -> Risk:
    """The covariance by the method that the model names."""
    risk = model.risk
    if risk.method == "factor_model":
        return _stored_model(inputs, risk) if risk.factor_model_id else _by_factors(inputs, risk, returns)
    if risk.method in _FACTORS and returns.shape[1] > len(returns):
        kept = _FACTORS[risk.method](returns, PERIODS_PER_YEAR)
        return Risk(Quadratic(None, kept.factor, kept.diagonal if kept.diagonal.any() else None), kept.shrinkage)
    dense = _provided(inputs, risk) if risk.method == "provided" else _estimated(risk, returns)
    return Risk(dense.Sigma, dense.shrinkage, dense.repair_distance)


def _stored_model(inputs: MarketInputs, risk: RiskSpec) -> Risk:
    model = inputs.factor_models[risk.factor_model_id].model.restricted(inputs.ids)
    return Risk(_quadratic(model.low_rank()), factor_model_id=risk.factor_model_id, factor_model=model)


def _by_factors(inputs: MarketInputs, risk: RiskSpec, returns: Floats) -> Risk:
    window = factor_window(inputs, risk.factor_set_id, returns)
    model = factor_covariance(inputs.ids, window.R, window.design)
    return Risk(_quadratic(model.low_rank()), factor_set_id=window.set_id, factor_model=model)


def _quadratic(form: LowRank) -> Quadratic:
    return Quadratic(None, form.factor, form.diagonal)


def _estimated(risk: RiskSpec, returns: Floats) -> covariance.CovarianceEstimate:
    match risk.method:
        case "sample":
            return covariance.sample(returns, PERIODS_PER_YEAR)
        case "exponentially_weighted":
            return covariance.exponentially_weighted(returns, risk.half_life, PERIODS_PER_YEAR)
        case "oas":
            return covariance.oas(returns, PERIODS_PER_YEAR)
        case "denoised":
            return denoised(returns, PERIODS_PER_YEAR)
        case "gerber":
            return gerber(returns, risk.gerber_threshold, PERIODS_PER_YEAR)
        case _:
            return covariance.ledoit_wolf(returns, PERIODS_PER_YEAR)


def _provided(inputs: MarketInputs, risk: RiskSpec) -> covariance.CovarianceEstimate:
    place = {name: k for k, name in enumerate(risk.names)}
    assert risk.Sigma is not None
    order = [place[name] for name in inputs.ids]
    return covariance.provided(risk.Sigma[np.ix_(order, order)], max_distance=risk.max_repair_distance)
