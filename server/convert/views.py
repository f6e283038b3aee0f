"""Black-Litterman's views, from the wire and back."""

from __future__ import annotations

from dataclasses import dataclass

from portfolio_optimization.v1 import estimation_pb2 as pb

from kernel.estimation.arrays import LARGEST_RETURN
from kernel.estimation.view_consistency import ViewConsistency
from kernel.estimation.views import LARGEST_VARIANCE, SMALLEST_CONFIDENCE, ViewReport
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.convert.faults import POSITIVE, Bounds, Faults
from server.specs import ModelSpec, ViewSpec, ViewsSpec

MOST_VIEWS = 200
_TAU = Bounds(1e-9, 1e6)
_NUMBER = Bounds(-LARGEST_RETURN, LARGEST_RETURN)
_VARIANCE = Bounds(0.0, LARGEST_VARIANCE)
_CONVENTIONS = {
    pb.RETURN_CONVENTION_UNSPECIFIED: "excess",
    pb.RETURN_CONVENTION_EXCESS: "excess",
    pb.RETURN_CONVENTION_TOTAL: "total",
}


@dataclass(frozen=True, slots=True)
class _Uncertainty:
    confidence: float | None
    variance: float | None


def read_views(message: pb.BlackLitterman, faults: Faults) -> ViewsSpec:
    """The views of a Black-Litterman optimization."""
    if not 1 <= len(message.views) <= MOST_VIEWS:
        faults.add("black_litterman.views", f"must be 1 to {MOST_VIEWS} views, not {len(message.views)}")
    tau = message.tau if message.HasField("tau") else 0.05
    aversion = message.risk_aversion if message.HasField("risk_aversion") else 2.5
    faults.number("black_litterman.tau", tau, _TAU)
    faults.number("black_litterman.risk_aversion", aversion, POSITIVE)
    caps = faults.numbers("black_litterman.market_caps", message.market_caps, POSITIVE)
    views = tuple(_read_view(k, view, faults) for k, view in enumerate(message.views))
    faults.distinct("black_litterman.views", [view.name for view in views])
    convention = _CONVENTIONS.get(message.convention)
    if convention is None:
        accepted = ", ".join(pb.ReturnConvention.Name(number) for number in _CONVENTIONS if number)
        faults.add("black_litterman.convention", f"must be one of {accepted}")
    return ViewsSpec(views, tau, aversion, caps, convention or "excess")


def _read_view(k: int, message: pb.View, faults: Faults) -> ViewSpec:
    name = message.name or f"view {k + 1}"
    field = f"black_litterman.views[{k}]"
    faults.name(f"{field}.name", name)
    weights = faults.numbers(f"{field}.weights", message.weights, _NUMBER)
    sectors = faults.numbers(f"{field}.sectors", message.sectors, _NUMBER)
    classes = faults.numbers(f"{field}.asset_classes", message.asset_classes, _NUMBER)
    if not any([*weights.values(), *sectors.values(), *classes.values()]):
        faults.add(f"{field}.weights", "must have a weight other than zero")
    expected = faults.number(f"{field}.expected_return", message.expected_return, _NUMBER)
    stated = _read_uncertainty(field, message, faults)
    return ViewSpec(name, weights, expected, stated.confidence, stated.variance, sectors, classes)


def _read_uncertainty(field: str, message: pb.View, faults: Faults) -> _Uncertainty:
    match message.WhichOneof("uncertainty"):
        case "confidence":
            bounds = Bounds(SMALLEST_CONFIDENCE, 1.0)
            return _Uncertainty(faults.number(f"{field}.confidence", message.confidence, bounds), None)
        case "variance":
            return _Uncertainty(None, faults.number(f"{field}.variance", message.variance, _VARIANCE))
        case _:
            return _Uncertainty(None, None)


def write_views(inputs: MarketInputs, estimate: Estimate, model: ModelSpec) -> pb.BlackLittermanResult | None:
    """Prior, posterior and views of a Black-Litterman estimate; None without views."""
    posterior = estimate.posterior
    if posterior is None or model.views is None or estimate.market_weights is None:
        return None
    return pb.BlackLittermanResult(
        prior_returns=dict(zip(inputs.ids, posterior.prior.tolist(), strict=True)),
        posterior_returns=dict(zip(inputs.ids, posterior.posterior.tolist(), strict=True)),
        market_weights=dict(zip(inputs.ids, estimate.market_weights.tolist(), strict=True)),
        risk_aversion=model.views.risk_aversion,
        tau=model.views.tau,
        views=[_write_report(report, inputs) for report in posterior.views],
        consistency=_write_consistency(posterior.consistency),
    )


def _write_report(report: ViewReport, inputs: MarketInputs) -> pb.ViewReport:
    return pb.ViewReport(
        name=report.name,
        net_weight=report.net_weight,
        expected_return=report.expected_return,
        prior_return=report.prior_return,
        posterior_return=report.posterior_return,
        variance=report.variance,
        confidence=report.confidence,
        return_changes=dict(zip(inputs.ids, report.return_changes.tolist(), strict=True)),
        tilt=report.tilt,
        standard_score=report.standard_score,
    )


def _write_consistency(consistency: ViewConsistency) -> pb.ViewConsistency:
    return pb.ViewConsistency(
        statistic=consistency.statistic,
        degrees_of_freedom=consistency.degrees_of_freedom,
        probability=consistency.probability,
        conflicts=[
            pb.ViewConflict(given=found.given, view=found.view, alone=found.alone, together=found.together)
            for found in consistency.conflicts
        ],
    )
