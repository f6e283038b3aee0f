"""The risk of weights taken apart by the factor model that an estimate rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.factors.model import FactorModel
from kernel.factors.risk_attribution import RiskAttribution, attribute_risk
from server.compute.estimate import Estimate
from server.compute.inputs import Floats, MarketInputs
from server.compute.model_benchmark import benchmark_weights, beyond, has_known_weights, is_known_to_model


@dataclass(frozen=True, slots=True)
class FactorRisk:
    """A volatility, or a tracking error, and its parts.

    Attributes:
        names: (n,) assets, cash left out; of a tracking error those of the benchmark, too.
        factors: (k,) names.
        w: (n,) weights, of a tracking error less the benchmark's.
    """

    names: tuple[str, ...]
    factors: tuple[str, ...]
    w: Floats
    parts: RiskAttribution


def factor_risk(estimated: Estimate, w: Floats) -> FactorRisk | None:
    """The volatility of weights with cash last, which has no risk; None without a model of factors."""
    model = estimated.factor_model
    if model is None:
        return None
    return FactorRisk(model.names, model.factors, w[:-1], attribute_risk(model, w[:-1]))


def active_factor_risk(inputs: MarketInputs, estimated: Estimate, w: Floats) -> FactorRisk | None:
    """Likewise of the weights less the benchmark's, where the model knows all of these."""
    given, model = inputs.benchmark, estimated.factor_model
    if given is None or model is None:
        return None
    active = w - benchmark_weights(inputs, given)
    if has_known_weights(given, inputs.names):
        return factor_risk(estimated, active)
    if not is_known_to_model(inputs, estimated, given):
        return None
    others, b = beyond(inputs, estimated, given)
    every = FactorModel(
        model.factors,
        (*model.names, *others.names),
        np.vstack([model.B, others.B]),
        model.Phi,
        np.append(model.specific, others.specific),
    )
    v = np.append(active[:-1], -b)
    return FactorRisk(every.names, every.factors, v, attribute_risk(every, v))
