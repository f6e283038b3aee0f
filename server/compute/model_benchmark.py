"""A benchmark whose weights a stored factor model of the risk knows, also beyond the universe."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from kernel.factors.model import FactorModel
from kernel.measures.volatility import TrackingError
from server.compute.estimate import Estimate
from server.compute.inputs import BenchmarkInputs, Floats, MarketInputs
from server.specs import CASH


def has_known_weights(given: BenchmarkInputs, names: Collection[str]) -> bool:
    """Whether a benchmark has weights, and all of them in names that are known."""
    return bool(given.weights) and set(given.weights or {}) <= set(names)


def benchmark_weights(inputs: MarketInputs, given: BenchmarkInputs) -> Floats:
    """(n + 1,) weights of a benchmark in the universe."""
    weights = given.weights or {}
    return np.array([weights.get(name, 0.0) for name in inputs.names])


def is_known_to_model(inputs: MarketInputs, estimated: Estimate, given: BenchmarkInputs) -> bool:
    """Whether the deviation from a benchmark is that of its weights by a stored factor model.

    Members beyond the universe need a covariance that is the model's own.
    """
    stored = estimated.factor_model_ids[0]
    if not stored:
        return False
    own = estimated.factor_model is not None
    known = (*inputs.factor_models[stored].model.names, CASH) if own else inputs.names
    return has_known_weights(given, known)


def beyond(inputs: MarketInputs, estimated: Estimate, given: BenchmarkInputs) -> tuple[FactorModel, Floats]:
    """The model of a benchmark's members that the universe does not have, and (m,) their weights."""
    weights = given.weights or {}
    names = sorted(set(weights) - set(inputs.names))
    stored = inputs.factor_models[estimated.factor_model_ids[0]]
    return stored.model.restricted(names), np.array([weights[name] for name in names])


def tracking_error_by_model(inputs: MarketInputs, estimated: Estimate, given: BenchmarkInputs) -> TrackingError:
    """sqrt((w - b)'Sigma (w - b)) over universe and benchmark together."""
    inside = benchmark_weights(inputs, given)
    if has_known_weights(given, inputs.names):
        return TrackingError.against_weights(estimated.moments, inside)
    model, b = beyond(inputs, estimated, given)
    common, own = model.low_rank().factor @ b, float(b**2 @ model.specific)
    return TrackingError.against_weights_beyond(estimated.moments, inside, common, own)
