"""The wire form of robustness: what is uncertain, and the worst of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from portfolio_optimization.v1 import estimation_pb2, robustness_pb2
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.compute.robust import RobustEvidence
from server.convert.faults import Bounds, Faults
from server.convert.objectives import OPEN_FRACTION
from server.method_specs import CovarianceSetSpec, DistributionSetSpec, MeanSetSpec, RobustSpec
from server.specs import CASH

_SHAPES: Mapping[int, str] = {
    robustness_pb2.UNCERTAINTY_SHAPE_BOX: "box",
    robustness_pb2.UNCERTAINTY_SHAPE_ELLIPSOID: "ellipsoid",
    robustness_pb2.UNCERTAINTY_SHAPE_FACTOR: "factor",
}
_METRICS: Mapping[int, str] = {
    robustness_pb2.COVARIANCE_METRIC_UNSPECIFIED: "sampling",
    robustness_pb2.COVARIANCE_METRIC_SAMPLING: "sampling",
    robustness_pb2.COVARIANCE_METRIC_VARIANCES: "variances",
    robustness_pb2.COVARIANCE_METRIC_IDENTITY: "identity",
}
_NORMS: Mapping[int, str] = {
    robustness_pb2.GROUND_NORM_UNSPECIFIED: "two",
    robustness_pb2.GROUND_NORM_ONE: "one",
    robustness_pb2.GROUND_NORM_TWO: "two",
    robustness_pb2.GROUND_NORM_INFINITY: "infinity",
}
_OBJECTIVES = ("minimize_risk", "maximize_return", "maximize_utility", "maximize_sharpe")
_MOMENT_MEASURES = ("volatility", "variance")
_DEFAULT_CONFIDENCE = 0.95
_HALF_WIDTH = Bounds(0.0, 99.0)
_RADIUS = Bounds(0.0, 1e6)
_FRACTION = Bounds(0.0, 1.0)


def read_robustness(message: CreateOptimizationRequest, faults: Faults) -> RobustSpec:
    """What is uncertain; what the objective or the measure cannot take is a fault."""
    asked = message.robustness
    has_mean, has_covariance = asked.HasField("mean"), asked.HasField("covariance")
    has_distribution = asked.HasField("distribution")
    if not (has_mean or has_covariance or has_distribution):
        faults.add("robustness", "must have mean, covariance or distribution for robust, and has none")
    if message.objective and message.objective not in _OBJECTIVES:
        faults.add("objective", f"must be {' or '.join(_OBJECTIVES)} for robust, not {message.objective!r}")
    measure = message.risk_measure or "volatility"
    if has_covariance and measure not in _MOMENT_MEASURES:
        faults.add("robustness.covariance", f"needs the risk_measure volatility or variance, not {measure!r}")
    if has_distribution and measure != "cvar":
        faults.add("robustness.distribution", f"needs the risk_measure cvar, not {measure!r}")
    if has_distribution and has_mean:
        faults.add("robustness.mean", "must be absent beside distribution, whose members have means of their own")
    if has_covariance and message.constraints.risk_budgets:
        reason = "have no meaning beside robustness.covariance: shares of an uncertain variance are uncertain"
        faults.add("constraints.risk_budgets", reason)
    return RobustSpec(
        mean=_read_mean(asked.mean, faults) if has_mean else None,
        covariance=_read_covariance(message, faults) if has_covariance else None,
        distribution=_read_distribution(asked.distribution, faults) if has_distribution else None,
    )


def write_robust(evidence: RobustEvidence, spec: RobustSpec) -> robustness_pb2.RobustResult:
    """The sets that were assumed, and the worst of them."""
    case = evidence.case
    message = robustness_pb2.RobustResult(
        worst_return=case.worst_return,
        worst_risk=case.worst_risk,
        nominal_return=case.nominal_return,
        nominal_risk=case.nominal_risk,
        radii=evidence.radii,
        observations=round(evidence.observations),
        rules=_rules(evidence, spec),
    )
    if case.mu is not None:
        message.worst_expected_returns.update(zip(evidence.names, case.mu.tolist(), strict=True))
    if case.Sigma is not None:
        held = [k for k in np.flatnonzero(evidence.weights).tolist() if evidence.names[k] != CASH]
        message.instrument_ids.extend(evidence.names[k] for k in held)
        message.worst_covariance.extend(case.Sigma[np.ix_(held, held)].ravel().tolist())
    return message


def _read_mean(message: robustness_pb2.MeanUncertainty, faults: Faults) -> MeanSetSpec:
    at = "robustness.mean"
    shape = _read_shape(f"{at}.shape", message.shape, ("box", "ellipsoid"), faults)
    given = {"half_widths": bool(message.half_widths), "radius": message.HasField("radius")}
    _check_places(at, shape, {"half_widths": "box", "radius": "ellipsoid"}, given, faults)
    return MeanSetSpec(
        shape=shape,
        confidence=_read_confidence(at, message.confidence, given, faults),
        half_widths=faults.numbers(f"{at}.half_widths", message.half_widths, _HALF_WIDTH),
        radius=faults.number(f"{at}.radius", message.radius, _RADIUS) if given["radius"] else None,
    )


def _read_covariance(request: CreateOptimizationRequest, faults: Faults) -> CovarianceSetSpec:
    message, at = request.robustness.covariance, "robustness.covariance"
    shape = _read_shape(f"{at}.shape", message.shape, ("box", "ellipsoid", "factor"), faults)
    sizes = {name: message.HasField(name) for name in ("relative_half_width", "radius")}
    given = {**sizes, "metric": bool(message.metric), "factor_set_id": bool(message.factor_set_id)}
    places = {"relative_half_width": "box", "radius": "ellipsoid", "metric": "ellipsoid", "factor_set_id": "factor"}
    _check_places(at, shape, places, given, faults)
    if message.metric not in _METRICS:
        known = ", ".join(robustness_pb2.CovarianceMetric.keys()[1:])
        faults.add(f"{at}.metric", f"must be one of {known}, not {message.metric}")
    if shape == "factor":
        _check_factor_model(request, faults)
    width = message.relative_half_width
    return CovarianceSetSpec(
        shape=shape,
        confidence=_read_confidence(at, message.confidence, sizes, faults),
        relative_half_width=faults.number(f"{at}.relative_half_width", width, _FRACTION)
        if sizes["relative_half_width"]
        else None,
        radius=faults.number(f"{at}.radius", message.radius, _RADIUS) if sizes["radius"] else None,
        metric=_METRICS.get(message.metric, "sampling"),
        factor_set_id=faults.identifier(f"{at}.factor_set_id", message.factor_set_id, required=False),
    )


def _check_factor_model(request: CreateOptimizationRequest, faults: Faults) -> None:
    """The set of factors is around the covariance of the factor model."""
    named, used = request.robustness.covariance.factor_set_id, request.risk_model.factor_set_id
    if request.risk_model.method != estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL:
        faults.add("robustness.covariance.shape", "FACTOR needs the risk_model FACTOR_MODEL, whose exposures may err")
    elif named and named != used:
        found = f"names {used}" if used else "names none"
        faults.add("robustness.covariance.factor_set_id", f"must be that of risk_model, which {found}")


def _read_distribution(message: robustness_pb2.DistributionUncertainty, faults: Faults) -> DistributionSetSpec:
    at, given = "robustness.distribution", message.HasField("radius")
    if message.norm not in _NORMS:
        known = ", ".join(robustness_pb2.GroundNorm.keys()[1:])
        faults.add(f"{at}.norm", f"must be one of {known}, not {message.norm}")
    return DistributionSetSpec(
        radius=faults.number(f"{at}.radius", message.radius, _HALF_WIDTH) if given else None,
        confidence=_read_confidence(at, message.confidence, {"radius": given}, faults),
        norm=_NORMS.get(message.norm, "two"),
    )


def _read_shape(field: str, number: int, served: tuple[str, ...], faults: Faults) -> str:
    shape = _SHAPES.get(number, "")
    if shape not in served:
        faults.add(field, f"must be {' or '.join(word.upper() for word in served)}")
    return shape


def _read_confidence(at: str, value: float, given: Mapping[str, bool], faults: Faults) -> float:
    """The confidence, which must be absent where a size is given."""
    field = f"{at}.confidence"
    if value != 0.0 and any(given.values()):
        beside = " and ".join(name for name, present in given.items() if present)
        faults.add(field, f"must be absent beside {beside}, which says how large the set is")
    return faults.limit(field, value, OPEN_FRACTION) or _DEFAULT_CONFIDENCE


def _check_places(at: str, shape: str, places: Mapping[str, str], given: Mapping[str, bool], faults: Faults) -> None:
    """Fields that belong to another shape must be absent."""
    for name, place in places.items():
        if given[name] and shape and shape != place:
            faults.add(f"{at}.{name}", f"belongs to the shape {place.upper()}")


def _rules(evidence: RobustEvidence, spec: RobustSpec) -> dict[str, str]:
    rules = {}
    T = f"{evidence.observations:.0f} returns"
    if spec.mean is not None:
        rules["mean"] = _mean_rule(spec.mean, T)
    if spec.covariance is not None:
        days = T if evidence.factor_days is None else f"{evidence.factor_days} days"
        rules["covariance"] = _covariance_rule(spec.covariance, days)
    if spec.distribution is not None:
        rules["distribution"] = _distribution_rule(spec.distribution, T)
    return rules


def _mean_rule(spec: MeanSetSpec, T: str) -> str:
    if spec.half_widths:
        return "box: the given half-widths; instruments not named are certain"
    if spec.radius is not None:
        return f"ellipsoid: the given radius, in standard errors sqrt(variance / T) of means of {T}"
    each = f"the true one with probability {spec.confidence:g}; standard error sqrt(variance / T) of a mean of {T}"
    if spec.shape == "box":
        return f"box: each interval holds {each}, normal quantile"
    return f"ellipsoid: all means together; it holds {each}, chi-square quantile"


def _covariance_rule(spec: CovarianceSetSpec, T: str) -> str:
    if spec.relative_half_width is not None:
        return f"box: every entry within {spec.relative_half_width:g} of the geometric mean of its two variances"
    if spec.radius is not None:
        return f"ellipsoid: the given radius in the metric {spec.metric}"
    each = f"with probability {spec.confidence:g}"
    match spec.shape:
        case "box":
            return f"box: each interval holds the true entry {each}; errors of a covariance of {T}, normal quantile"
        case "ellipsoid":
            errors = f"errors of a covariance of {T}, a chi-square of equal mean and variance"
            return f"ellipsoid in the metric {spec.metric}: holds the true covariance {each}; {errors}"
        case _:
            bounds = "F and chi-square quantiles with Bonferroni's bound"
            return f"factor: holds all exposures and specific variances {each}; regressions on {T}, {bounds}"


def _distribution_rule(spec: DistributionSetSpec, T: str) -> str:
    ball = f"Wasserstein ball of order 1 in the norm {spec.norm}"
    if spec.radius is not None:
        return f"{ball}: the given radius"
    return f"{ball}: reaches the true mean with probability {spec.confidence:g}; normal error of a mean of {T}"
