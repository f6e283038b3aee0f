"""The wire form of entropy pooling."""

from __future__ import annotations

from dataclasses import replace

from portfolio_optimization.v1 import entropy_pooling_pb2 as pb
from portfolio_optimization.v1.frontier_pb2 import EfficientFrontierRequest
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from kernel.estimation.arrays import LARGEST_RETURN
from server.compute.estimate import Estimate
from server.convert.faults import Bounds, Faults
from server.method_specs import DistributionViewSpec

MOST_VIEWS = 100
LONGEST_RANKING = 100
_NUMBER = Bounds(-LARGEST_RETURN, LARGEST_RETURN)
_POSITIVE = Bounds(0.0, LARGEST_RETURN, open_low=True)
_MARGIN = Bounds(0.0, LARGEST_RETURN)
_CORRELATION = Bounds(-1.0, 1.0)
_LEVEL = Bounds(0.0, 1.0, open_low=True, open_high=True)
_DEFAULT_LEVEL = 0.95
_SENSES = {
    pb.VIEW_SENSE_UNSPECIFIED: "=",
    pb.VIEW_SENSE_EQUAL: "=",
    pb.VIEW_SENSE_AT_MOST: "<=",
    pb.VIEW_SENSE_AT_LEAST: ">=",
}


def read_entropy_pooling(
    message: CreateOptimizationRequest | EfficientFrontierRequest, faults: Faults
) -> tuple[DistributionViewSpec, ...]:
    """The views on the distribution; none without entropy pooling."""
    if not message.HasField("entropy_pooling"):
        return ()
    present = {field.name for field, _ in message.ListFields()}
    for field in ("expected_returns", "risk_model"):
        if field in present:
            faults.add(field, "must be absent beside entropy_pooling, whose probabilities the moments are taken from")
    if isinstance(message, CreateOptimizationRequest) and message.optimization_type == "black_litterman":
        faults.add("entropy_pooling", "must be absent for black_litterman, which has views of its own")
    views = message.entropy_pooling.views
    if not 1 <= len(views) <= MOST_VIEWS:
        faults.add("entropy_pooling.views", f"must be 1 to {MOST_VIEWS} views, not {len(views)}")
    faults.distinct("entropy_pooling.views", [view.name for view in views])
    return tuple(_read_view(k, view, faults) for k, view in enumerate(views))


def _read_view(k: int, message: pb.DistributionView, faults: Faults) -> DistributionViewSpec:
    field, kind = f"entropy_pooling.views[{k}]", message.WhichOneof("view")
    faults.name(f"{field}.name", message.name)
    sense = _SENSES.get(message.sense)
    if sense is None:
        accepted = ", ".join(pb.ViewSense.Name(number) for number in _SENSES if number)
        faults.add(f"{field}.sense", f"must be one of {accepted}")
    match kind:
        case "mean":
            found = _read_combination(f"{field}.mean", message.mean, _NUMBER, faults)
        case "volatility":
            found = _read_combination(f"{field}.volatility", message.volatility, _POSITIVE, faults)
        case "cvar":
            found = _read_tail(f"{field}.cvar", message.cvar, faults)
        case "correlation":
            found = _read_correlation(f"{field}.correlation", message.correlation, faults)
        case "ranking":
            if message.sense:
                faults.add(f"{field}.sense", "must be absent for a ranking, which has no value")
            found, sense = _read_ranking(f"{field}.ranking", message.ranking, faults), ">="
        case None:
            faults.add(field, "must have one of mean, volatility, correlation, cvar and ranking")
            found = DistributionViewSpec("", "mean")
    return replace(found, name=message.name, kind=kind or found.kind, sense=sense or "=")


def _read_combination(
    field: str, message: pb.CombinationView | pb.TailView, bounds: Bounds, faults: Faults
) -> DistributionViewSpec:
    weights = faults.numbers(f"{field}.weights", message.weights, _NUMBER)
    if not any(weights.values()):
        faults.add(f"{field}.weights", "must have a weight other than zero")
    return DistributionViewSpec("", "mean", weights=weights, value=_value(field, message.value, bounds, faults))


def _read_tail(field: str, message: pb.TailView, faults: Faults) -> DistributionViewSpec:
    level = faults.limit(f"{field}.confidence_level", message.confidence_level, _LEVEL)
    return replace(_read_combination(field, message, _NUMBER, faults), confidence_level=level or _DEFAULT_LEVEL)


def _read_correlation(field: str, message: pb.CorrelationView, faults: Faults) -> DistributionViewSpec:
    pair = {"first": message.first_instrument_id, "second": message.second_instrument_id}
    for which, name in pair.items():
        faults.identifier(f"{field}.{which}_instrument_id", name)
    if message.first_instrument_id == message.second_instrument_id:
        faults.add(f"{field}.second_instrument_id", "must be another instrument than the first")
    value = _value(field, message.value, _CORRELATION, faults)
    return DistributionViewSpec("", "correlation", instruments=tuple(pair.values()), value=value)


def _read_ranking(field: str, message: pb.RankingView, faults: Faults) -> DistributionViewSpec:
    names = tuple(message.instrument_ids)
    if not 2 <= len(names) <= LONGEST_RANKING:
        faults.add(f"{field}.instrument_ids", f"must be 2 to {LONGEST_RANKING} instruments, not {len(names)}")
    for k, name in enumerate(names):
        faults.identifier(f"{field}.instrument_ids[{k}]", name)
    faults.distinct(f"{field}.instrument_ids", names)
    margin = faults.number(f"{field}.margin", message.margin, _MARGIN)
    return DistributionViewSpec("", "ranking", instruments=names, value=margin)


def _value(field: str, value: float, bounds: Bounds, faults: Faults) -> float:
    return faults.number(f"{field}.value", value, bounds)


def write_entropy_pooling(estimate: Estimate) -> pb.EntropyPoolingResult | None:
    """What the views made of the probabilities; None without views."""
    found = estimate.pooling
    if found is None:
        return None
    return pb.EntropyPoolingResult(
        relative_entropy=found.relative_entropy,
        effective_scenarios=found.effective_scenarios,
        scenarios=len(found.p),
        views=[
            pb.DistributionViewReport(
                name=report.name,
                value=report.value,
                prior_value=report.prior_value,
                posterior_value=report.posterior_value,
                entropy_without=report.entropy_without,
                multiplier=report.multiplier,
            )
            for report in found.views
        ],
        smallest_tilt=found.tilts[0],
        largest_tilt=found.tilts[1],
        duality_gap=found.gap,
        max_violation=found.violation,
    )
