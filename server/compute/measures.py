"""The risk measures that a request names, on the data of its estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.errors import ProblemError
from kernel.measures import RiskMeasure
from kernel.measures.registry import MEASURES, MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError
from server.compute.estimate import Estimate
from server.compute.inputs import BenchmarkInputs, Floats, MarketInputs
from server.errors import NotReady
from server.specs import ModelSpec, OptimizationSpec


def measure_of(
    word: str, estimated: Estimate, model: ModelSpec, confidence_level: float | None = None, target: float | None = None
) -> RiskMeasure:
    """The measure of a word; of tails at the request's confidence level unless another is given."""
    level = model.confidence_level if confidence_level is None else confidence_level
    return make_measure(word, estimated.moments, estimated.scenarios, MeasureSettings(level, target))


def measure_of_request(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec) -> RiskMeasure:
    """The measure that the objective is about."""
    if spec.objective == "maximize_information_ratio":
        return tracking_error(inputs, estimated)
    target = None
    if spec.objective == "maximize_sortino":
        target = spec.model.risk_free_rate / estimated.scenarios.periods_per_year
    return measure_of(spec.risk_measure, estimated, spec.model, target=target)


def measure_of_instruments(estimated: Estimate, spec: OptimizationSpec) -> RiskMeasure:
    """The measure of the request, on which the sure return of cash has no influence."""
    R = estimated.scenarios.R.copy()
    R[:, -1] = 0.0
    without = replace(estimated, scenarios=replace(estimated.scenarios, R=R))
    return measure_of(spec.risk_measure, without, spec.model)


def tracking_error(inputs: MarketInputs, estimated: Estimate) -> TrackingError:
    """The deviation from the benchmark: from its series where there is one, else from its weights.

    Raises:
        NotReady: The series has holes.
    """
    given = inputs.benchmark
    if given is None:
        raise ProblemError("benchmark_id", "is needed for a tracking error")
    periods = estimated.scenarios.periods_per_year
    if (series := benchmark_series(given, estimated)) is not None:
        return TrackingError.against_returns(estimated.R, series, periods)
    return TrackingError.against_weights(estimated.moments, benchmark_weights(inputs, given))


def benchmark_return(inputs: MarketInputs, estimated: Estimate) -> float:
    """Expected annual return of the benchmark: its mean over the window, or that of its weights."""
    given = inputs.benchmark
    assert given is not None
    if (series := benchmark_series(given, estimated)) is not None:
        return float(series.mean()) * estimated.scenarios.periods_per_year
    return float(estimated.moments.mu @ benchmark_weights(inputs, given))


def benchmark_series(given: BenchmarkInputs, estimated: Estimate) -> Floats | None:
    """(T,) returns of a benchmark's own series; None without, and beside scenarios and probabilities of their own.

    Raises:
        NotReady: The series has holes.
    """
    if given.closes is None or estimated.risk_method in ("scenarios", "entropy_pooling"):
        return None
    if not np.isfinite(given.closes).all():
        raise NotReady(f"benchmark {given.id} has no price on some days of the window")
    return np.asarray(given.closes[1:] / given.closes[:-1] - 1.0)


def benchmark_weights(inputs: MarketInputs, given: BenchmarkInputs) -> Floats:
    """(n + 1,) weights of a benchmark whose members were checked against the universe."""
    weights = given.weights or {}
    return np.array([weights.get(name, 0.0) for name in inputs.names])


def risk_values(estimated: Estimate, model: ModelSpec, w: Floats) -> dict[str, float]:
    """Every measure on the weights, by its word; left out where it has no meaning."""
    ordered = estimated.scenarios.ordered
    words = [word for word, definition in MEASURES.items() if ordered or not definition.needs_order]
    return {word: measure_of(word, estimated, model).of(w) for word in words}
