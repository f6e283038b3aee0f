"""The risk measures that a request names, on the data of its estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.errors import ProblemError
from kernel.measures import RiskMeasure
from kernel.measures.registry import MEASURES, MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError
from kernel.performance import Benchmark
from server.compute.estimate import Estimate
from server.compute.inputs import BenchmarkInputs, Floats, MarketInputs
from server.compute.model_benchmark import (
    benchmark_weights,
    has_known_weights,
    is_known_to_model,
    tracking_error_by_model,
)
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
    """The deviation from the benchmark: by a stored factor model from its weights, else from its series if it has one.

    Raises:
        NotReady: The series has holes.
    """
    given = inputs.benchmark
    if given is None:
        raise ProblemError("benchmark_id", "is needed for a tracking error")
    if is_known_to_model(inputs, estimated, given):
        return tracking_error_by_model(inputs, estimated, given)
    if (series := benchmark_series(given, estimated)) is not None:
        return TrackingError.against_returns(estimated.R, series, estimated.scenarios.periods_per_year)
    return TrackingError.against_weights(estimated.moments, benchmark_weights(inputs, given))


def benchmark_of(inputs: MarketInputs, estimated: Estimate) -> Benchmark | None:
    """The benchmark of a performance report; None where a report cannot measure against it.

    Raises:
        NotReady: Its series has holes.
    """
    given = inputs.benchmark
    if given is None:
        return None
    inside, by_model = has_known_weights(given, inputs.names), is_known_to_model(inputs, estimated, given)
    series = None if by_model else benchmark_series(given, estimated)
    if series is not None:
        return Benchmark(returns=series)
    return Benchmark(weights=benchmark_weights(inputs, given)) if inside else None


def benchmark_return(inputs: MarketInputs, estimated: Estimate) -> float | None:
    """Expected annual return of the benchmark: its mean over the window, or that of its weights; None without both.

    Raises:
        NotReady: The series has holes.
    """
    given = inputs.benchmark
    assert given is not None
    inside = has_known_weights(given, inputs.names)
    first = inside and is_known_to_model(inputs, estimated, given)
    series = None if first else benchmark_series(given, estimated)
    if series is None and not inside:
        return None
    if series is not None:
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


def risk_values(estimated: Estimate, model: ModelSpec, w: Floats) -> dict[str, float]:
    """Every measure on the weights, by its word; left out where it has no meaning."""
    ordered = estimated.scenarios.ordered
    words = [word for word, definition in MEASURES.items() if ordered or not definition.needs_order]
    return {word: measure_of(word, estimated, model).of(w) for word in words}
